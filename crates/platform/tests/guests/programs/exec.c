// exec in fresh processes, again and again: from the zygote and from the pool, on all shards.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
int main(int argc, char **argv) {
    if (argc > 1) return atoi(argv[1]);
    int st, bad = 0;
    double s = now();
    for (int i = 0; i < 100; i++) {
        pid_t k = fork();
        if (!k) { syscall(SYS_execve, 40 + i % 8); _exit(1); }
        if (waitpid(k, &st, 0) != k || WEXITSTATUS(st) != 40 + i % 8) bad++;
    }
    printf("fork+exec+wait %.0f us, bad %d\n", (now() - s) / 100e3, bad);
    fflush(stdout);
    for (int i = 0; i < 30; i++) { pid_t k = fork(); if (!k) { syscall(SYS_execve, 7); _exit(1); } }
    for (int i = 0; i < 30; i++) if (wait(&st) < 0 || WEXITSTATUS(st) != 7) bad++;
    return bad;
}
