// A program that notices what a pause must not show: an interrupted wait, a stopped child, a lost wake-up.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void tell(const char *what, long result)
{
    printf("%s %s\n", what, result < 0 ? strerror(errno) : "ok");
}
static void *spin(void *arg)
{
    for (;;)
        ++*(volatile unsigned long *)arg;
}
static void *poll_nothing(void *arg)
{
    struct epoll_event event;
    tell("epoll_wait", epoll_wait(epoll_create1(0), &event, 1, 1500));
    return arg;
}
static void *nap(void *arg)
{
    struct timespec time = {1, 500000000};
    tell("nanosleep", nanosleep(&time, NULL));
    return arg;
}
static void *futex(void *word)
{
    // Without a timeout: the host's own. As after any restart it may begin again when the word has changed already: EAGAIN.
    long result = syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    tell("futex", result < 0 && errno == EAGAIN ? 0 : result);
    return word;
}
int main(void)
{
    static unsigned long spins, before;
    static int word;
    pthread_t threads[4];
    setlinebuf(stdout);
    pthread_create(&threads[0], NULL, spin, &spins);
    pthread_create(&threads[1], NULL, poll_nothing, NULL);
    pthread_create(&threads[2], NULL, nap, NULL);
    pthread_create(&threads[3], NULL, futex, &word);
    pid_t child = fork();
    if (child == 0)
        _exit(nanosleep(&(struct timespec){1, 500000000}, NULL) != 0);
    printf("begun\n");
    int status;
    if (waitpid(child, &status, WUNTRACED | WCONTINUED) == child)
        printf("child %x\n", status);
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    *(volatile int *)&word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
    pthread_join(threads[3], NULL);
    do
        before = *(volatile unsigned long *)&spins;
    while (usleep(10000) == 0 && *(volatile unsigned long *)&spins == before);
    printf("done\n");
    pause();
}
