// Blocked threads beyond the limit of open notifications are parked; all are answered, and calls stay fast meanwhile.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static volatile long sum;
static void *wait_(void *a) { long r = syscall(SYS_pause); __sync_fetch_and_add(&sum, r); return a; }
#define N 1000
int main(void) {
    static pthread_t t[N];
    pthread_attr_t at;
    pthread_attr_init(&at);
    pthread_attr_setstacksize(&at, 65536);
    for (int round = 0; round < 2; round++) {
        sum = 0;
        for (int i = 0; i < N; i++) if (pthread_create(&t[i], &at, wait_, 0)) return 1;
        while (syscall(1001) < N) ;
        double s = now();
        for (int i = 0; i < 2000; i++) syscall(SYS_getppid);
        printf("getppid with %d blocked: %.0f ns\n", N, (now() - s) / 2000);
        if (round) { s = now(); while (now() - s < 50e6) ; }
        if (syscall(1000) != N) return 2;
        for (int i = 0; i < N; i++) pthread_join(t[i], 0);
        printf("sum %ld\n", sum);
        if (sum != 7 * N) return 3;
    }
    return 0;
}
