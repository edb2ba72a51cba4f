// A system call, and what it costs.
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/mman.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
int main(int argc, char **argv) {
    printf("hello from %d, parent %d\n", getpid(), getppid());
    double t, best = 1e9;
    for (int r = 0; r < 40; r++) {
        t = now();
        for (int i = 0; i < 500; i++) syscall(SYS_getppid);
        t = (now() - t) / 500;
        if (t < best) best = t;
    }
    printf("getppid %.0f ns\n", best);
    t = now();
    for (int i = 0; i < 5000; i++) { void *m = mmap(0, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); munmap(m, 65536); }
    printf("mmap+munmap %.0f ns\n", (now() - t) / 5000);
    return 0;
}
