// fork, wait, many children at once, memory is copied.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/wait.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static volatile int x = 1;
int main(void) {
    int st, bad = 0;
    pid_t k = fork();
    if (k == 0) { x = 2; _exit(x + 40); }
    if (waitpid(k, &st, 0) != k || WEXITSTATUS(st) != 42 || x != 1) { printf("first child: status %x, x %d\n", st, x); return 1; }
    double t = now();
    for (int i = 0; i < 300; i++) { k = fork(); if (!k) _exit(i & 63); if (k < 0 || waitpid(k, &st, 0) != k || WEXITSTATUS(st) != (i & 63)) bad++; }
    printf("fork+exit+wait %.0f us, bad %d\n", (now() - t) / 300e3, bad);
    fflush(stdout);
    for (int i = 0; i < 200; i++) { k = fork(); if (!k) { if (getppid() < 1) _exit(1); _exit(0); } if (k < 0) bad++; }
    for (int i = 0; i < 200; i++) if (wait(&st) < 0 || st) bad++;
    // a chain of processes
    for (int i = 0; i < 20; i++) { k = fork(); if (k) { if (waitpid(k, &st, 0) != k || st) _exit(1); _exit(0); } if (i == 0) continue; }
    if (getpid() < 20) bad++;
    return bad;
}
