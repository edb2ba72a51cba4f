// Threads that make calls of every kind while others send them signals and fork: no result is lost or mixed up.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define N 6
static volatile long bad, calls, handled;
static volatile int stop;
static pthread_t t[N];
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void hit(int s) { __sync_fetch_and_add(&handled, 1); if (syscall(SYS_getppid) != 0) bad++; }
#define CHECK(x) do { if (!(x)) { __sync_fetch_and_add(&bad, 1); printf("line %d: %s\n", __LINE__, #x); } } while (0)
static void *work(void *a) {
    unsigned r = (long)a * 7919 + 1;
    long tid = syscall(SYS_gettid), n = 0;
    volatile int word = 0;
    while (!stop) {
        r = r * 1103515245 + 12345;
        switch (r >> 16 & 7) {
        case 0: CHECK(syscall(SYS_getppid) == 0); break;
        case 1: CHECK(syscall(SYS_gettid) == tid); break;
        case 2: { char *m = mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); CHECK(m != MAP_FAILED); m[4096] = 1; CHECK(!mprotect(m, 4096, 1)); CHECK(!munmap(m, 8192)); break; }
        case 3: { double d = r / 3.0; CHECK(syscall(1008, &word, 0, 0) == 0); CHECK(d == r / 3.0); break; }
        case 4: syscall(1005, 0L); break;
        case 5: CHECK(syscall(1003) != -1); break;
        case 6: for (volatile int i = 0; i < 500; i++) ; break;
        case 7: raise(SIGUSR2); break;
        }
        n++;
    }
    __sync_fetch_and_add(&calls, n);
    return 0;
}
static void *signaller(void *a) {
    unsigned r = 1;
    while (!stop) { r = r * 1103515245 + 12345; pthread_kill(t[(r >> 16) % N], SIGUSR1); if (!(r >> 16 & 63)) syscall(1005, 1L); }
    return 0;
}
static void *forker(void *a) {
    int st;
    while (!stop) { pid_t k = fork(); if (!k) { raise(SIGUSR2); _exit(handled ? 5 : 6); } CHECK(k > 0); CHECK(waitpid(k, &st, 0) == k && WIFEXITED(st) && WEXITSTATUS(st) == 5); }
    return 0;
}
int main(void) {
    struct sigaction a = { .sa_handler = hit };
    sigaction(SIGUSR1, &a, 0);
    sigaction(SIGUSR2, &a, 0);
    pthread_t s, f;
    for (long i = 0; i < N; i++) pthread_create(&t[i], 0, work, (void *)i);
    pthread_create(&s, 0, signaller, 0);
    pthread_create(&f, 0, forker, 0);
    double end = now() + 4;
    while (now() < end) syscall(1005, 50L);
    stop = 1;
    pthread_join(s, 0);
    for (int i = 0; i < N; i++) pthread_join(t[i], 0);
    pthread_join(f, 0);
    printf("%ld calls, %ld signals, %ld bad\n", calls, handled, bad);
    return bad != 0;
}
