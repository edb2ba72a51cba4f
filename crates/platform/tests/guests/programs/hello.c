// A system call, and what it costs.
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/mman.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
int main(int argc, char **argv) {
    printf("hello from %d, parent %d\n", getpid(), getppid());
    double t = now();
    for (int i = 0; i < 20000; i++) syscall(SYS_getppid);
    printf("getppid %.0f ns\n", (now() - t) / 20000);
    t = now();
    for (int i = 0; i < 5000; i++) { void *m = mmap(0, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); munmap(m, 65536); }
    printf("mmap+munmap %.0f ns\n", (now() - t) / 5000);
    return 0;
}
