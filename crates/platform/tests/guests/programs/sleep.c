// A host call that sleeps hands the listener over: neighbours go on.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static void *sleeper(void *a) { syscall(1005, (long)a); return 0; }
int main(void) {
    pthread_t t[8];
    double s = now(), worst = 0;
    for (int i = 0; i < 8; i++) pthread_create(&t[i], 0, sleeper, (void *)100L);
    for (int i = 0; i < 1000; i++) { double c = now(); syscall(SYS_getppid); c = now() - c; if (c > worst) worst = c; }
    double calls = now() - s;
    for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
    double all = now() - s;
    printf("1000 calls in %.1f ms, worst %.0f us; eight sleeps of 100 ms in %.0f ms\n", calls / 1e6, worst / 1e3, all / 1e6);
    s = now();
    for (int i = 0; i < 1000; i++) syscall(1005, 0L);
    printf("a call with a handover: %.0f ns\n", (now() - s) / 1000);
    return worst > 90e6 || all > 500e6;
}
