// Threads: create, join, computing on several cores, futexes, fork from several threads at once.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static long n, bad;
static void *add(void *a) { for (int i = 0; i < 10000; i++) { pthread_mutex_lock(&m); n++; pthread_mutex_unlock(&m); if (i % 100 == 0 && syscall(SYS_getppid) != 0) bad++; } return a; }
static void *id(void *a) { return a; }
static void *forker(void *a) {
    for (int i = 0; i < 20; i++) { int st; pid_t k = fork(); if (!k) _exit(7); if (k < 0) { __sync_fetch_and_add(&bad, 1); continue; } (void)st; }
    return a;
}
int main(void) {
    pthread_t t[8];
    void *v;
    for (long i = 0; i < 8; i++) if (pthread_create(&t[i], 0, add, (void *)i)) bad++;
    for (long i = 0; i < 8; i++) { pthread_join(t[i], &v); if ((long)v != i) bad++; }
    if (n != 80000) bad++;
    double s = now();
    for (int i = 0; i < 300; i++) { if (pthread_create(&t[0], 0, id, &n)) bad++; pthread_join(t[0], &v); if (v != &n) bad++; }
    printf("create+join %.0f us\n", (now() - s) / 300e3);
    static pthread_t many[500];
    for (int i = 0; i < 500; i++) if (pthread_create(&many[i], 0, id, &n)) bad++;
    for (int i = 0; i < 500; i++) pthread_join(many[i], &v);
    for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, forker, 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], &v);
    int st, kids = 0;
    while (wait(&st) > 0) { kids++; if (!WIFEXITED(st) || WEXITSTATUS(st) != 7) bad++; }
    printf("n %ld, children %d, bad %ld\n", n, kids, bad);
    return bad != 0 || kids != 80;
}
