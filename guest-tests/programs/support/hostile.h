// The frame of a hostile program, which makes sense inside a sandbox only. Each case runs beside an innocent neighbour, which must finish its work right:
//
//     HOSTILE(name) { what the guest does against its kernel, in a PID namespace of its own; it may end in any way }
//     MAIN()
//
// When the hostile code has ended, or after HOSTILE_SECONDS, its namespace is killed; then nothing of it may be left, and the sandbox must still do all kinds of work.
#pragma once
#ifndef HOSTILE_SECONDS
#define HOSTILE_SECONDS 4
#endif
#define CASE_SECONDS (HOSTILE_SECONDS + 56)
#include "check.h"
#include <dirent.h>
#include <sys/signalfd.h>

// One round of an innocent process' work: each kind of thing that a wreck of the kernel would show in.
static void *innocent_thread(void *arg)
{
    for (int i = 0; i < 200; i++)
        __atomic_add_fetch((int *)arg, 1, __ATOMIC_RELAXED), i % 20 || sched_yield();
    return arg;
}
static volatile sig_atomic_t innocent_signals;
static void innocent_handler(int sig) { innocent_signals += sig == SIGUSR2; }
static inline void innocent_round(int round)
{
    int to[2], from[2];
    OK(pipe(to)), OK(pipe(from));
    pid_t echo = FORK({
        int number;
        close(to[1]);
        while (read(to[0], &number, sizeof number) == sizeof number)
            number = ~number, write(from[1], &number, sizeof number);
    });
    close(to[0]);
    for (int i = 0; i < 20; i++) {
        int sent = round * 1000 + i, got = 0;
        EQ(write(to[1], &sent, sizeof sent), sizeof sent);
        EQ(read(from[0], &got, sizeof got), sizeof got);
        EQ(got, ~sent);
    }
    close(to[1]), close(from[0]), close(from[1]);
    WAIT_OK(echo);

    int sum = 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ZERO(pthread_create(&threads[i], NULL, innocent_thread, &sum));
    for (int i = 0; i < 2; i++)
        ZERO(pthread_join(threads[i], NULL));
    EQ(sum, 400);

    char block[8192], back[8192];
    memset(block, round, sizeof block);
    int fd = OK(open("innocent", O_RDWR | O_CREAT | O_TRUNC, 0600));
    EQ(write(fd, block, sizeof block), sizeof block);
    EQ(pread(fd, back, sizeof back, 0), sizeof back);
    CHECK(!memcmp(block, back, sizeof block));
    unsigned char *map = OK(mmap(NULL, sizeof block, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    EQ(map[4096], round & 0xff);
    OK(munmap(map, sizeof block));
    close(fd);
    OK(unlink("innocent"));

    map = OK(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < 1 << 20; i += 4096) {
        CHECK(!map[i]);
        map[i] = i >> 12;
    }
    for (int i = 0; i < 1 << 20; i += 4096)
        EQ(map[i], (i >> 12) & 0xff);
    OK(munmap(map, 1 << 20));

    int before = innocent_signals;
    raise(SIGUSR2);
    EQ(innocent_signals, before + 1);
}
// Works until the pipe is closed, and then some more. Each round's end is told in `rounds`.
static inline void innocent(int until, volatile int *rounds)
{
    signal(SIGUSR2, innocent_handler);
    for (int left = 3; left > 0; ++*rounds) {
        innocent_round(*rounds);
        struct pollfd closed = {.fd = until};
        if (poll(&closed, 1, 0) > 0)
            left--;
    }
}
static inline int hostile_processes(void)
{
    int count = 0;
    DIR *dir = opendir("/proc");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
    closedir(dir);
    return count;
}
// Waits for a child, at most so many milliseconds.
static inline bool hostile_wait(pid_t child, long ms)
{
    int64_t until = now_ns(CLOCK_MONOTONIC) + ms * 1000000LL;
    for (int status; waitpid(child, &status, WNOHANG) != child; sleep_ms(2))
        if (now_ns(CLOCK_MONOTONIC) > until)
            return false;
    return true;
}
// What hostile code says where it got through: the case fails.
static volatile int *hostile_breach;
static inline void beside_innocent(void (*hostile)(void))
{
    int until[2];
    volatile int *rounds = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hostile_breach = rounds + 1;
    OK(pipe2(until, O_CLOEXEC));
    int before = hostile_processes();
    pid_t neighbour = FORK({
        close(until[1]);
        innocent(until[0], rounds);
    });
    close(until[0]);
    EVENTUALLY(*rounds > 0);
    pid_t init = OK((pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0));
    if (init == 0) {
        close(until[1]);
        // What it thinks of itself is nobody's business, and standard output is a file of the host's that it could make as long as the disk.
        int nothing = OK(open("/dev/null", O_RDWR));
        for (int fd = 0; fd < 3; fd++)
            dup2(nothing, fd);
        close(nothing), close(test_report);
        setsid();
        signal(SIGCHLD, SIG_DFL);
        pid_t child = fork();
        if (child == 0) {
            hostile();
            _exit(0);
        }
        while (waitpid(-1, NULL, 0) != child || errno == EINTR) {
        }
        _exit(0);
    }
    if (!hostile_wait(init, HOSTILE_SECONDS * 1000)) {
        kill(init, SIGKILL);
        CHECK(hostile_wait(init, 30000)); // the whole namespace dies, of thousands, on a machine that may be busy
    }
    close(until[1]);
    WAIT_OK(neighbour);
    EQ(*hostile_breach, 0);
    EVENTUALLY(hostile_processes() <= before);
}
#define HOSTILE(id)                                                                                                    \
    static void attack_##id(void);                                                                                    \
    TEST(id) { beside_innocent(attack_##id); }                                                                        \
    static void attack_##id(void)
// A try in a process of its own, which is given a moment and then killed. Says its wait status.
#define ATTEMPT(...)                                                                                                   \
    ({                                                                                                                 \
        pid_t pid_ = fork();                                                                                           \
        if (pid_ == 0) {                                                                                               \
            __VA_ARGS__;                                                                                               \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        hostile_attempt(pid_, 300);                                                                                    \
    })
static inline int hostile_attempt(pid_t pid, long ms)
{
    int status = 0;
    int64_t until = now_ns(CLOCK_MONOTONIC) + ms * 1000000LL;
    while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ns(CLOCK_MONOTONIC) > until)
            kill(pid, SIGKILL), until += 1000000000LL;
        usleep(200);
    }
    return status;
}
// FUZZ_SECONDS chooses how long, before any case begins, whose time depends on it.
#define FUZZ_SECONDS(variable)                                                                                         \
    __attribute__((constructor)) static void read_seconds(void)                                                       \
    {                                                                                                                  \
        const char *seconds = getenv("FUZZ_SECONDS");                                                                  \
        if (seconds)                                                                                                   \
            variable = atoi(seconds);                                                                                  \
    }
// A generator of one's own (xorshift), so that a seed means the same everywhere.
static uint64_t hostile_seed = 88172645463325252;
static inline uint64_t hostile_random(void)
{
    hostile_seed ^= hostile_seed << 13;
    hostile_seed ^= hostile_seed >> 7;
    return hostile_seed ^= hostile_seed << 17;
}
