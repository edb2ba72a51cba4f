// The first thread ends before the others; the process goes on.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
static void *rest(void *a) {
    pthread_join((pthread_t)a, 0);
    for (volatile int i = 0; i < 3000000; i++) ;
    if (syscall(SYS_getppid) != 0) _exit(3);
    write(1, "still here\n", 11); // reads guest memory by a thread that is not the leader
    _exit(0);
}
int main(void) {
    pthread_t t;
    pthread_create(&t, 0, rest, (void *)pthread_self());
    syscall(SYS_exit, 5); // not pthread_exit: that would run destructors
    return 4;
}
