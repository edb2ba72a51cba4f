// The frame of a guest test. A program holds cases:
//
//     TEST(name) { CHECK(x == 1); int fd = OK(open(...)); FAILS(ENOENT, open(...)); EQ(a, b); }
//     MAIN()
//
// Each case runs in a child of its own, in a folder of its own, as leader of a process group; one that takes longer than 10 s
// is killed. `PROGRAM CASE` runs one case in the process itself, for a debugger. `HELPER(name) {...}` is a part that a
// case runs by exec: exec_self("name", args...).
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <mntent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CASE_SECONDS
#define CASE_SECONDS 10
#endif
#define EXIT_SKIP 77

struct test_case {
    const char *name;
    int (*main)(int argc, char **argv);
    void (*run)(void);
    struct test_case *next;
};
static struct test_case *test_first, **test_last = &test_first;
static int test_report = 2; // where failures go: descriptor 2 of the program, duplicated so that cases may close their own

#define TEST(id)                                                                                                        \
    static void test_##id(void);                                                                                       \
    static struct test_case case_##id = {.name = #id, .run = test_##id};                                               \
    __attribute__((constructor)) static void add_##id(void) { *test_last = &case_##id, test_last = &case_##id.next; }  \
    static void test_##id(void)
#define HELPER(id)                                                                                                     \
    static int helper_##id(int argc, char **argv);                                                                     \
    static struct test_case case_helper_##id = {.name = "helper:" #id, .main = helper_##id};                           \
    __attribute__((constructor)) static void add_helper_##id(void)                                                     \
    {                                                                                                                  \
        *test_last = &case_helper_##id, test_last = &case_helper_##id.next;                                            \
    }                                                                                                                  \
    static int helper_##id(int argc, char **argv)

__attribute__((noreturn, format(printf, 3, 4))) static inline void test_fail(const char *file, int line, const char *form, ...)
{
    char text[600];
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    int used = snprintf(text, sizeof text, "at %s:%d: ", base, line);
    va_list args;
    va_start(args, form);
    used += vsnprintf(text + used, sizeof text - used - 1, form, args);
    va_end(args);
    if (used > (int)sizeof text - 2)
        used = sizeof text - 2;
    for (int i = 0; i < used; i++)
        if (text[i] == '\n')
            text[i] = ' ';
    text[used] = '\n';
    if (write(test_report, text, used + 1) < 0) {
    }
    _exit(1);
}
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            FAIL("%s is false (errno %d %s)", #condition, errno, strerror(errno));                                     \
    } while (0)
// The value of a call that must not return -1.
#define OK(call)                                                                                                       \
    ({                                                                                                                 \
        __auto_type value_ = (call);                                                                                   \
        if ((intptr_t)value_ == -1)                                                                                    \
            FAIL("%s fails: %s", #call, strerror(errno));                                                              \
        value_;                                                                                                        \
    })
// A call that must fail with this errno.
#define FAILS(wanted, call)                                                                                            \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long value_ = (long)(call);                                                                                    \
        int seen_ = errno;                                                                                             \
        if (value_ != -1)                                                                                              \
            FAIL("%s returns %ld instead of failing with %s", #call, value_, #wanted);                                 \
        if (seen_ != (wanted))                                                                                         \
            FAIL("%s fails with %d (%s) instead of %s", #call, seen_, strerror(seen_), #wanted);                       \
    } while (0)
#define EQ(a, b)                                                                                                       \
    do {                                                                                                               \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                            \
        if (a_ != b_)                                                                                                  \
            FAIL("%s is %lld (0x%llx), %s is %lld (0x%llx)", #a, a_, a_, #b, b_, b_);                                  \
    } while (0)
#define STREQ(a, b)                                                                                                    \
    do {                                                                                                               \
        const char *a_ = (a), *b_ = (b);                                                                               \
        if (strcmp(a_, b_))                                                                                            \
            FAIL("%s is \"%s\", not \"%s\"", #a, a_, b_);                                                              \
    } while (0)
// For calls that return an error number, as those of pthread do.
#define ZERO(call)                                                                                                     \
    do {                                                                                                               \
        int value_ = (call);                                                                                           \
        if (value_)                                                                                                    \
            FAIL("%s returns %d (%s)", #call, value_, strerror(value_));                                               \
    } while (0)
#define SKIP(why)                                                                                                      \
    do {                                                                                                               \
        dprintf(test_report, "%s\n", why);                                                                             \
        _exit(EXIT_SKIP);                                                                                              \
    } while (0)

// A child that runs the block and ends with status 0: pid_t child = FORK({ ... });
#define FORK(...)                                                                                                      \
    ({                                                                                                                 \
        pid_t pid_ = OK(fork());                                                                                       \
        if (pid_ == 0) {                                                                                               \
            __VA_ARGS__;                                                                                               \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        pid_;                                                                                                          \
    })
// Waits for a child; its wait status must be this.
#define WAIT_STATUS(pid, wanted)                                                                                       \
    do {                                                                                                               \
        int status_ = -1;                                                                                              \
        pid_t pid_ = (pid);                                                                                            \
        EQ(OK(waitpid(pid_, &status_, 0)), pid_);                                                                      \
        if (status_ != (wanted))                                                                                       \
            FAIL("wait status of %s is 0x%x, not %s", #pid, status_, #wanted);                                         \
    } while (0)
#define WAIT_OK(pid) WAIT_STATUS(pid, 0)
#define EXITED(code) ((code) << 8)
#define KILLED(signal) (signal)

static inline int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
// A clock's time, so many milliseconds later.
static inline struct timespec after(clockid_t clock, long ms)
{
    int64_t ns = now_ns(clock) + ms * 1000000LL;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}
static inline void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR) {
    }
}
// Waits until a condition holds, at most 5 seconds.
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        int64_t until_ = now_ns(CLOCK_MONOTONIC) + 5000000000LL;                                                       \
        while (!(condition)) {                                                                                         \
            if (now_ns(CLOCK_MONOTONIC) > until_)                                                                      \
                FAIL("%s did not become true", #condition);                                                            \
            sleep_ms(1);                                                                                               \
        }                                                                                                              \
    } while (0)
// The state letter of a task from /proc: 'S' when it sleeps, 'T' when it is stopped, 'Z' for a zombie.
static inline char state_in(const char *path)
{
    char text[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return '?';
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    char *end = strrchr(text, ')');
    return end ? end[2] : '?';
}
static inline char task_state(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return state_in(path);
}
// The same of a thread of this process.
static inline char thread_state(pid_t tid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    return state_in(path);
}
static inline void write_file(const char *path, const char *text)
{
    int fd = OK(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}
// The whole of a file, at most size - 1 bytes, ended by a 0.
static inline size_t read_file(const char *path, char *into, size_t size)
{
    int fd = OK(open(path, O_RDONLY | O_CLOEXEC));
    size_t used = 0;
    ssize_t n;
    while (used < size - 1 && (n = OK(read(fd, into + used, size - 1 - used))) > 0)
        used += n;
    close(fd);
    into[used] = 0;
    return used;
}
static inline void exec_self(const char *helper, ...)
{
    char name[80], *argv[16] = {(char *)"self", name};
    snprintf(name, sizeof name, "helper:%s", helper);
    va_list args;
    va_start(args, helper);
    for (int i = 2; i < 15 && (argv[i] = va_arg(args, char *)); i++) {
    }
    va_end(args);
    execv("/proc/self/exe", argv);
    FAIL("exec of /proc/self/exe: %s", strerror(errno));
}

// Takes away what a case left mounted below its folder, last first.
static inline void test_unmount(const char *folder)
{
    char at[64][256];
    int count = 0;
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    for (struct mntent *mount; mounts && count < 64 && (mount = getmntent(mounts));)
        if (!strncmp(mount->mnt_dir, folder, strlen(folder)) && strlen(mount->mnt_dir) < sizeof at[0])
            strcpy(at[count++], mount->mnt_dir);
    if (mounts)
        endmntent(mounts);
    while (count > 0)
        umount2(at[--count], MNT_DETACH);
}
static inline int test_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (kind == FTW_D || kind == FTW_DNR)
        chmod(path, 0700);
    return remove(path), 0;
}
// Waits for the case's child, at most CASE_SECONDS. True when it had to be killed.
static inline bool test_wait(pid_t child, int *status)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    int64_t until = now_ns(CLOCK_MONOTONIC) + CASE_SECONDS * 1000000000LL;
    for (;;) {
        pid_t gone = waitpid(child, status, WNOHANG);
        if (gone == child)
            return false;
        int64_t left = until - now_ns(CLOCK_MONOTONIC);
        if (left <= 0)
            break;
        struct timespec t = {left / 1000000000, left % 1000000000};
        if (sigtimedwait(&set, NULL, &t) < 0 && errno == ENOSYS)
            sleep_ms(5);
    }
    kill(-child, SIGKILL);
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    return true;
}
static inline int test_one(struct test_case *test)
{
    char folder[64];
    snprintf(folder, sizeof folder, "./%s.d", test->name);
    mkdir(folder, 0777);
    int pipe_[2];
    if (pipe2(pipe_, O_CLOEXEC)) {
        printf("FAIL %s: pipe: %s\n", test->name, strerror(errno));
        return 1;
    }
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t child = fork();
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        setpgid(0, 0);
        test_report = fcntl(pipe_[1], F_DUPFD_CLOEXEC, 200);
        fcntl(test_report, F_SETFD, 0); // helpers report too
        char number[16];
        snprintf(number, sizeof number, "%d", test_report);
        setenv("TEST_REPORT", number, 1);
        close(pipe_[0]), close(pipe_[1]);
        umask(022);
        if (chdir(folder))
            FAIL("chdir: %s", strerror(errno));
        test->run();
        _exit(0);
    }
    int status = 0;
    bool late = child < 0 || test_wait(child, &status);
    close(pipe_[1]);
    kill(-child, SIGKILL);
    char why[700] = "";
    fcntl(pipe_[0], F_SETFL, O_NONBLOCK); // what the case left behind may still hold the pipe
    ssize_t n = read(pipe_[0], why, sizeof why - 1);
    close(pipe_[0]);
    why[n > 0 ? n : 0] = 0;
    if (strchr(why, '\n'))
        *strchr(why, '\n') = 0;
    sigprocmask(SIG_SETMASK, &old, NULL);
    test_unmount(folder);
    nftw(folder, test_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); // what is mounted there still is others', too
    if (child < 0)
        printf("FAIL %s: cannot fork: %s\n", test->name, strerror(errno));
    else if (late)
        printf("FAIL %s: took longer than %d s; %s\n", test->name, CASE_SECONDS, why);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP)
        printf("skip %s: %s\n", test->name, why);
    else if (WIFSIGNALED(status))
        printf("FAIL %s: killed by signal %d; %s\n", test->name, WTERMSIG(status), why);
    else if (status || *why)
        printf("FAIL %s: status 0x%x %s\n", test->name, status, why);
    else
        return printf("ok %s\n", test->name), 0;
    return !(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP);
}
static inline int test_main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) {
        const char *number = getenv("TEST_REPORT");
        if (number)
            test_report = atoi(number);
        for (struct test_case *test = test_first; test; test = test->next)
            if (!strcmp(test->name, argv[1]))
                return test->main ? test->main(argc - 1, argv + 1) : (test->run(), 0);
        return 99;
    }
    struct sigaction is;
    for (int sig = 1; sig <= SIGRTMAX; sig++) // who started this may ignore some, as nohup and a shell's & do
        if (!sigaction(sig, NULL, &is) && is.sa_handler == SIG_IGN)
            signal(sig, SIG_DFL);
    int failed = 0;
    for (struct test_case *test = test_first; test; test = test->next)
        if (test->run)
            failed += test_one(test);
    printf("done\n");
    return failed ? 1 : 0;
}
#define MAIN()                                                                                                         \
    int main(int argc, char **argv) { return test_main(argc, argv); }
