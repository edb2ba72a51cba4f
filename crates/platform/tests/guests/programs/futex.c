// A signal interrupts a futex wait in the host; 4,000 threads wait in one process.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
static volatile int n, word, got;
static void hit(int s) { n++; }
static void *wait_(void *a) { long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0); got = r < 0 ? errno : 0; return 0; }
static void *nap(void *a) { while (!word) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0); return 0; }
int main(void) {
    struct sigaction a = { .sa_handler = hit };
    sigaction(SIGUSR1, &a, 0);
    pthread_t t;
    pthread_create(&t, 0, wait_, 0);
    for (volatile int i = 0; i < 30000000; i++) ;
    pthread_kill(t, SIGUSR1);
    pthread_join(t, 0);
    printf("handler %d, futex wait said %d\n", n, got);
    if (n != 1 || got != EINTR) return 1;
    static pthread_t many[4000];
    pthread_attr_t at;
    pthread_attr_init(&at);
    pthread_attr_setstacksize(&at, 32768);
    for (int i = 0; i < 4000; i++) if (pthread_create(&many[i], &at, nap, 0)) { printf("thread %d\n", i); return 2; }
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 4000, 0, 0, 0);
    for (int i = 0; i < 4000; i++) pthread_join(many[i], 0);
    return 0;
}
