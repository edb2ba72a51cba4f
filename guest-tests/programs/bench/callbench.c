// callbench [FILTER [WAITING]]: measures single operations and prints "NAME NANOSECONDS" lines, the median of five rounds each; meanwhile WAITING threads of another process wait.
// Run natively, under runc and under stockade in turn by `cargo xtask bench`, which prints the ratios.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *filter = "";
static char buffer[65536], self[4096];
static int pair[2], pair2[2];

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static void die(const char *what)
{
    perror(what);
    exit(1);
}
// The body runs `count` times a round; rounds are cut to about 40 ms by a first trial.
#define BENCH(name, ...)                                                                                               \
    if (strstr(name, filter)) {                                                                                        \
        long count = 1;                                                                                                \
        for (;;) {                                                                                                     \
            int64_t before = now();                                                                                    \
            for (long i = 0; i < count; i++) {                                                                         \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
            int64_t took = now() - before;                                                                             \
            if (took > 5000000 || count > 1000000) {                                                                   \
                count = count * 40000000.0 / (took + 1) + 1;                                                           \
                break;                                                                                                 \
            }                                                                                                          \
            count *= 4;                                                                                                \
        }                                                                                                              \
        double rounds[5];                                                                                              \
        for (int r = 0; r < 5; r++) {                                                                                  \
            int64_t before = now();                                                                                    \
            for (long i = 0; i < count; i++) {                                                                         \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
            rounds[r] = (now() - before) / (double)count;                                                              \
        }                                                                                                              \
        qsort(rounds, 5, sizeof *rounds, compare);                                                                     \
        printf("%s %.1f\n", name, rounds[2]);                                                                          \
        fflush(stdout);                                                                                                \
    }

static void *nothing(void *arg) { return arg; }
static volatile int word;
static void *futex_partner(void *arg)
{
    for (;;) {
        while (word != 1)
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        word = 0;
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return arg;
}
static void handler(int signal) { (void)signal; }
static void fork_and(int how)
{
    pid_t child = how == 2 ? vfork() : fork();
    if (child == 0) {
        if (how) {
            char *argv[] = {self, "exit", NULL};
            execv(self, argv);
        }
        _exit(0);
    }
    if (child < 0)
        die("fork");
    waitpid(child, NULL, 0);
}

// What several at once do until they are told to stop: each counts in a line of its own.
static struct {
    _Alignas(64) volatile long calls;
} *counts;
static volatile int *running;
static void *count_calls(void *number)
{
    long calls = 0;
    while (!*running)
        ;
    for (; *running == 1; calls++)
        syscall(SYS_getppid);
    counts[(long)number].calls = calls;
    return NULL;
}
enum { THREADS, FORKED, EXECUTED };
// Wall-clock time for each call of all together.
static void parallel(const char *name, long many, int how)
{
    if (!strstr(name, filter))
        return;
    int shared = open("shared", O_RDWR | O_CREAT, 0600);
    if (shared < 0 || ftruncate(shared, 4096))
        die("shared");
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    running = (int *)((char *)counts + 4000);
    *running = 0;
    pthread_t threads[8];
    for (long i = 0; i < many; i++) {
        if (how == THREADS) {
            pthread_create(&threads[i], NULL, count_calls, (void *)i);
        } else if (fork() == 0) {
            char number[24];
            snprintf(number, sizeof number, "%ld", i);
            if (how == EXECUTED)
                execl(self, self, "count", number, NULL);
            count_calls((void *)i);
            _exit(0);
        }
    }
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    int64_t before = now();
    *running = 1;
    nanosleep(&(struct timespec){0, 500000000}, NULL);
    *running = 2;
    int64_t took = now() - before;
    long calls = 0;
    for (long i = 0; i < many; i++) {
        if (how == THREADS)
            pthread_join(threads[i], NULL);
        else
            wait(NULL);
        calls += counts[i].calls;
    }
    printf("%s %.1f\n", name, took / (double)calls);
    fflush(stdout);
    close(shared);
}
static void *wait_for_ever(void *fd)
{
    read((long)fd, buffer, 1);
    return NULL;
}
static pid_t waiting_threads(int many)
{
    int wait_for[2];
    if (pipe(wait_for))
        die("pipe");
    pid_t child = fork();
    if (child == 0) {
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 65536);
        for (int i = 0; i < many; i++) {
            pthread_t thread;
            if (pthread_create(&thread, &small, wait_for_ever, (void *)(long)wait_for[0]))
                die("pthread_create");
        }
        pause();
    }
    sleep(1);
    return child;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "exit"))
        _exit(0);
    if (argc > 2 && !strcmp(argv[1], "count")) {
        int shared = open("shared", O_RDWR);
        counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
        running = (int *)((char *)counts + 4000);
        count_calls((void *)atol(argv[2]));
        _exit(0);
    }
    if (argc > 1)
        filter = argv[1];
    char folder[] = "/tmp/callbench.XXXXXX";
    if (!mkdtemp(folder) || chdir(folder))
        die("no work folder in /tmp");
    self[readlink("/proc/self/exe", self, sizeof self - 1)] = 0;
    pid_t others = argc > 2 ? waiting_threads(atoi(argv[2])) : 0;
    int null = open("/dev/null", O_WRONLY), zero = open("/dev/zero", O_RDONLY), file = open("file", O_RDWR | O_CREAT, 0600);
    struct stat st;
    struct timespec t;
    for (int i = 0; i < 16; i++)
        if (write(file, buffer, sizeof buffer) < 0)
            die("write");

    BENCH("getppid", syscall(SYS_getppid));
    BENCH("getpid", syscall(SYS_getpid));
    BENCH("clock_gettime by call", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t));
    BENCH("clock_gettime", clock_gettime(CLOCK_MONOTONIC, &t));
    BENCH("read /dev/zero", read(zero, buffer, 1));
    BENCH("write /dev/null", write(null, buffer, 1));
    BENCH("stat", stat("/etc/passwd", &st));
    BENCH("fstat", fstat(file, &st));
    BENCH("open+close", close(open("/etc/passwd", O_RDONLY)));
    BENCH("pread 4k", pread(file, buffer, 4096, 0));
    BENCH("pread 64k", pread(file, buffer, 65536, 0));
    BENCH("pwrite 4k", pwrite(file, buffer, 4096, 0));
    BENCH("create+write+unlink", {
        int fd = open("new", O_CREAT | O_WRONLY, 0600);
        write(fd, buffer, 100);
        close(fd);
        unlink("new");
    });
    if (pipe(pair) || pipe(pair2))
        die("pipe");
    BENCH("pipe write+read", {
        write(pair[1], buffer, 1);
        read(pair[0], buffer, 1);
    });
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0}) == 0) {
        int s[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, s);
        BENCH("unix write+read", {
            write(s[1], buffer, 1);
            read(s[0], buffer, 1);
        });
    }
    pid_t partner = fork();
    if (partner == 0) {
        close(pair[1]), close(pair2[0]);
        while (read(pair[0], buffer, 1) == 1)
            write(pair2[1], buffer, 1);
        _exit(0);
    }
    BENCH("pipe ping-pong", {
        write(pair[1], buffer, 1);
        read(pair2[0], buffer, 1);
    });
    kill(partner, SIGKILL);
    waitpid(partner, NULL, 0);
    BENCH("thread create+join", {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL))
            die("pthread_create");
        pthread_join(thread, NULL);
    });
    pthread_t thread;
    pthread_create(&thread, NULL, futex_partner, NULL);
    BENCH("futex ping-pong", {
        word = 1;
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        while (word != 0)
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    });
    BENCH("fork+exit+wait", fork_and(0));
    BENCH("fork+exec+wait", fork_and(1));
    BENCH("vfork+exec+wait", fork_and(2));
    BENCH("mmap+munmap 64k", munmap(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536));
    BENCH("1024 page faults", {
        char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(p, 4 << 20, MADV_NOHUGEPAGE);
        for (int j = 0; j < 1024; j++)
            p[j * 4096] = 1;
        munmap(p, 4 << 20);
    });
    signal(SIGUSR1, handler);
    BENCH("signal to itself", raise(SIGUSR1));
    int e = epoll_create1(0), event_fd = eventfd(1, 0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(e, EPOLL_CTL_ADD, event_fd, &event);
    BENCH("epoll_wait, one ready", epoll_wait(e, &event, 1, 0));
    struct timespec one = {0, 1};
    BENCH("nanosleep 1 ns", nanosleep(&one, NULL));
    if (strstr("fork of 64 MiB", filter))
        memset(mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 64 << 20);
    BENCH("fork of 64 MiB", fork_and(0));
    parallel("getppid of 1 thread", 1, THREADS);
    parallel("getppid of 2 threads", 2, THREADS);
    parallel("getppid of 2 forked", 2, FORKED);
    parallel("getppid of 2 exec'd", 2, EXECUTED);
    if (others)
        kill(others, SIGKILL);
    unlink("shared");
    unlink("file");
    chdir("/");
    rmdir(folder);
    return 0;
}
