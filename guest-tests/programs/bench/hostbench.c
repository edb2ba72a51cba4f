// hostbench: what this host charges for the mechanisms that a platform can be built of; prints "NAME NANOSECONDS" lines. Runs
// natively only, by `cargo xtask bench host`: figures of stockade are read beside these, because machines differ by five times.
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void report(const char *name, int64_t took, long count)
{
    printf("%s %.1f\n", name, took / (double)count);
    fflush(stdout);
}
#define MEASURE(name, times, ...)                                                                                      \
    do {                                                                                                               \
        for (long i = 0; i < (times) / 10; i++) {                                                                      \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        int64_t before_ = now();                                                                                       \
        for (long i = 0; i < (times); i++) {                                                                           \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        report(name, now() - before_, times);                                                                          \
    } while (0)
static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}
// A filter that answers the call 1000 with `action` and allows all others.
static int install(uint32_t action, int flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
static void on_sigsys(int signal, siginfo_t *info, void *context) { (void)signal, (void)info, (void)context; }

static void traps(void)
{
    if (fork() == 0) {
        struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
        sigaction(SIGSYS, &sa, NULL);
        install(SECCOMP_RET_TRAP, 0);
        MEASURE("trap by SIGSYS and sigreturn", 50000, syscall(1000));
        _exit(0);
    }
    wait(NULL);
}
static void send_fd(int to, int fd)
{
    char control[CMSG_SPACE(4)] = {0};
    struct iovec v = {"x", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(4);
    memcpy(CMSG_DATA(c), &fd, 4);
    sendmsg(to, &m, 0);
}
static int take_fd(int from)
{
    char control[CMSG_SPACE(4)], x;
    struct iovec v = {&x, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    recvmsg(from, &m, 0);
    int fd = -1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), 4);
    return fd;
}
static void notification(const char *name, int sync, int same_core)
{
    int s[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pid_t child = fork();
    if (child == 0) {
        pin(0);
        int listener = install(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        if (listener < 0)
            _exit(1);
        send_fd(s[1], listener);
        close(listener);
        MEASURE(name, 10000, syscall(1000));
        _exit(0);
    }
    int listener = take_fd(s[0]);
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    pin(same_core ? 0 : 1);
    if (sync && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP))
        printf("%s 0\n", name);
    for (int i = 0; i < 11000; i++) {
        struct seccomp_notif request = {0};
        struct seccomp_notif_resp answer = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request))
            break;
        answer.id = request.id;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    sched_setaffinity(0, sizeof all, &all);
    waitpid(child, NULL, 0);
    close(listener), close(s[0]), close(s[1]);
}
static volatile int *words;
static void futexes(const char *name, int same_core, int spin)
{
    words[0] = 0;
    pid_t child = fork();
    if (child == 0) {
        pin(same_core ? 0 : 1);
        for (;;) {
            while (words[0] != 1)
                if (!spin)
                    syscall(SYS_futex, words, FUTEX_WAIT, 0, NULL, NULL, 0);
            words[0] = 0;
            if (!spin)
                syscall(SYS_futex, words, FUTEX_WAKE, 1, NULL, NULL, 0);
        }
    }
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    pin(0);
    MEASURE(name, spin ? 100000 : 5000, {
        words[0] = 1;
        if (!spin)
            syscall(SYS_futex, words, FUTEX_WAKE, 1, NULL, NULL, 0);
        while (words[0] == 1)
            if (!spin)
                syscall(SYS_futex, words, FUTEX_WAIT, 1, NULL, NULL, 0);
    });
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
    static char buffer[65536], other[65536];
    int cores = sysconf(_SC_NPROCESSORS_ONLN);
    words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MEASURE("native call (getppid)", 500000, syscall(SYS_getppid));
    traps();
    notification("notification, one core, sync", 1, 1);
    notification("notification, one core", 0, 1);
    if (cores > 1) {
        notification("notification, two cores, sync", 1, 0);
        notification("notification, two cores", 0, 0);
        futexes("handoff by polling, two cores", 0, 1);
        futexes("futex ping-pong, two cores", 0, 0);
    }
    futexes("futex ping-pong, one core", 1, 0);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    size_t sizes[] = {4, 4096, 65536};
    for (int i = 0; i < 3; i++) {
        char name[60];
        struct iovec local = {buffer, sizes[i]}, remote = {other, sizes[i]};
        sprintf(name, "process_vm_readv %zu", sizes[i]);
        MEASURE(name, 20000, process_vm_readv(child, &local, 1, &remote, 1, 0));
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    int file = open("/proc/self/exe", O_RDONLY);
    MEASURE("pread 4096", 100000, pread(file, buffer, 4096, 0));
    MEASURE("pread 65536", 20000, pread(file, buffer, 65536, 0));
    MEASURE("first touch of 1024 pages", 20, {
        char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(p, 4 << 20, MADV_NOHUGEPAGE);
        for (int j = 0; j < 1024; j++)
            p[j * 4096] = 1;
        munmap(p, 4 << 20);
    });
    MEASURE("fork+exit+wait", 300, {
        pid_t c = fork();
        if (c == 0)
            _exit(0);
        waitpid(c, NULL, 0);
    });
    return 0;
}
