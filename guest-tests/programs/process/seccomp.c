// Filters of system calls: seccomp(2), prctl(2) PR_SET_SECCOMP.
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/utsname.h>
#include <ucontext.h>

#define NR offsetof(struct seccomp_data, nr)
#define ARG(n) offsetof(struct seccomp_data, args[n])
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
// The next instruction counts only if the accumulator is `value`.
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define PROGRAM(...)                                                                                                   \
    (&(struct sock_fprog){.len = sizeof((struct sock_filter[]){__VA_ARGS__}) / sizeof(struct sock_filter),           \
                          .filter = (struct sock_filter[]){__VA_ARGS__}})
// `action` for one call, all others pass.
#define ONLY(call, action) PROGRAM(LOAD(NR), IF(call), RETURN(action), ALLOW)

static int seccomp(unsigned operation, unsigned flags, void *args) { return syscall(SYS_seccomp, operation, flags, args); }
static int filter(struct sock_fprog *program) { return seccomp(SECCOMP_SET_MODE_FILTER, 0, program); }
static void killed_by(pid_t pid, int sig)
{
    int status;
    EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    EQ(WTERMSIG(status), sig);
}
static long status_of(const char *name)
{
    static char text[8192];
    read_file("/proc/thread-self/status", text, sizeof text);
    char *at = strstr(text, name);
    CHECK(at);
    return strtol(at + strlen(name), NULL, 10);
}

TEST(errors_instead_of_calls)
{
    struct utsname name;
    OK(filter(ONLY(SYS_uname, SECCOMP_RET_ERRNO | EXDEV)));
    FAILS(EXDEV, uname(&name));
    OK(filter(ONLY(SYS_sync, SECCOMP_RET_ERRNO | 0xffff)));
    long raw;
    __asm__ volatile("syscall" : "=a"(raw) : "a"(SYS_sync) : "rcx", "r11", "memory");
    EQ(raw, -4095); // no larger
    OK(filter(ONLY(SYS_getppid, SECCOMP_RET_ERRNO)));
    EQ(getppid(), 0); // an error of 0
    FAILS(EXDEV, uname(&name));
}

TEST(arguments_are_seen_whole)
{
    OK(filter(PROGRAM(LOAD(NR), IF(SYS_lseek), BPF_STMT(BPF_JMP | BPF_JA, 1), ALLOW, LOAD(ARG(1)), IF(0x22222222),
                      BPF_STMT(BPF_JMP | BPF_JA, 1), ALLOW, LOAD(ARG(1) + 4), IF(0x11111111), RETURN(SECCOMP_RET_ERRNO | EDOM), ALLOW)));
    FAILS(EBADF, lseek(77, 0x22222222, SEEK_SET));
    FAILS(EDOM, lseek(77, 0x1111111122222222, SEEK_SET));
    FAILS(EBADF, lseek(77, 0x1111111122222223, SEEK_SET));
}

// Calls that a kernel may be tempted to answer elsewhere, hot ones too.
TEST(no_call_gets_around_it)
{
    sigset_t set;
    struct sigaction action;
    char byte;
    int zero = OK(open("/dev/zero", O_RDONLY));
    for (int i = 0; i < 200; i++) {
        syscall(SYS_getpid), syscall(SYS_gettid), getuid(), getegid();
        OK(sigprocmask(SIG_BLOCK, NULL, &set));
        OK(sigaction(SIGUSR1, NULL, &action));
        EQ(pread(zero, &byte, 1, 0), 1);
    }
    const int calls[] = {SYS_getpid, SYS_gettid, SYS_getuid, SYS_getegid, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_pread64};
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        OK(filter(ONLY(calls[i], SECCOMP_RET_ERRNO | EDOM)));
    for (int i = 0; i < 100; i++) {
        FAILS(EDOM, syscall(SYS_getpid));
        FAILS(EDOM, syscall(SYS_gettid));
        FAILS(EDOM, syscall(SYS_getuid));
        FAILS(EDOM, syscall(SYS_getegid));
        FAILS(EDOM, syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8));
        FAILS(EDOM, syscall(SYS_rt_sigaction, SIGUSR1, NULL, &action, 8));
        FAILS(EDOM, pread(zero, &byte, 1, 0));
    }
    _exit(0);
}

TEST(the_strictest_answer_counts)
{
    struct utsname name;
    OK(filter(ONLY(SYS_uname, SECCOMP_RET_ERRNO | EXDEV)));
    OK(filter(ONLY(SYS_uname, SECCOMP_RET_ERRNO | EDOM)));
    FAILS(EDOM, uname(&name)); // the newest of two
    OK(filter(ONLY(SYS_uname, SECCOMP_RET_LOG)));
    FAILS(EDOM, uname(&name));
    OK(filter(ONLY(SYS_sync, SECCOMP_RET_LOG)));
    sync(); // told, and allowed
    OK(filter(ONLY(SYS_getppid, SECCOMP_RET_TRACE)));
    FAILS(ENOSYS, syscall(SYS_getppid)); // by nobody
    OK(filter(ONLY(SYS_getsid, SECCOMP_RET_USER_NOTIF)));
    FAILS(ENOSYS, getsid(0));
    pid_t pid = FORK({
        filter(ONLY(SYS_uname, SECCOMP_RET_KILL_THREAD));
        uname(&name);
    });
    killed_by(pid, SIGSYS);
}

static void *makes_the_call(void *unused)
{
    struct utsname name;
    uname(&name);
    return unused;
}
TEST(a_process_is_killed_whole_and_a_thread_alone)
{
    pthread_t thread;
    killed_by(FORK({
                  filter(ONLY(SYS_uname, SECCOMP_RET_KILL_PROCESS));
                  signal(SIGSYS, SIG_IGN);
                  pthread_create(&thread, NULL, makes_the_call, NULL);
                  sleep(9);
              }),
              SIGSYS);
    WAIT_OK(FORK({
        OK(filter(ONLY(SYS_uname, SECCOMP_RET_KILL_THREAD)));
        ZERO(pthread_create(&thread, NULL, makes_the_call, NULL));
        ZERO(pthread_join(thread, NULL));
    }));
    // What is no action is the strictest.
    killed_by(FORK({
                  filter(ONLY(SYS_uname, 0x12340000));
                  makes_the_call(NULL);
              }),
              SIGSYS);
}

static volatile int trapped, code, number, arch, data;
static void *volatile call_addr;
static volatile unsigned long rip, rax;
static void emulate(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    trapped += sig == SIGSYS;
    code = info->si_code, number = info->si_syscall, arch = info->si_arch, data = info->si_errno, call_addr = info->si_call_addr;
    rip = uc->uc_mcontext.gregs[REG_RIP], rax = uc->uc_mcontext.gregs[REG_RAX];
    uc->uc_mcontext.gregs[REG_RAX] = 4242;
}
TEST(a_trap_emulates_calls)
{
    struct sigaction action = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGSYS, &action, NULL));
    OK(filter(ONLY(SYS_uname, SECCOMP_RET_TRAP | 0x123)));
    for (int i = 1; i < 100; i++) {
        EQ(syscall(SYS_uname, NULL), 4242);
        EQ(trapped, i);
        EQ(code, 1); // SYS_SECCOMP
        EQ(number, SYS_uname);
        EQ((unsigned)arch, AUDIT_ARCH_X86_64);
        EQ(data, 0x123);
        CHECK((unsigned long)call_addr == rip);
        EQ(rax, SYS_uname);
    }
    // Masked, it kills.
    killed_by(FORK({
                  sigset_t set;
                  sigfillset(&set);
                  sigprocmask(SIG_BLOCK, &set, NULL);
                  makes_the_call(NULL);
              }),
              SIGSYS);
    killed_by(FORK({
                  signal(SIGSYS, SIG_IGN);
                  makes_the_call(NULL);
              }),
              SIGSYS);
}

HELPER(after_exec)
{
    (void)argc, (void)argv;
    struct utsname name;
    return uname(&name) && errno == EDOM && status_of("\nSeccomp_filters:\t") == 1 ? 0 : 1;
}
TEST(children_and_programs_have_them)
{
    struct utsname name;
    EQ(status_of("\nSeccomp:\t"), 0);
    EQ(status_of("\nSeccomp_filters:\t"), 0);
    EQ(prctl(PR_GET_SECCOMP), 0);
    OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ONLY(SYS_uname, SECCOMP_RET_ERRNO | EDOM)));
    EQ(prctl(PR_GET_SECCOMP), 2);
    EQ(status_of("\nSeccomp:\t"), 2);
    EQ(status_of("\nSeccomp_filters:\t"), 1);
    WAIT_OK(FORK({
        FAILS(EDOM, uname(&name));
        OK(filter(ONLY(SYS_sync, SECCOMP_RET_ERRNO | EDOM)));
        EQ(status_of("\nSeccomp_filters:\t"), 2);
    }));
    EQ(status_of("\nSeccomp_filters:\t"), 1); // its own
    WAIT_OK(FORK(exec_self("after_exec", NULL)));
}

static sem_t go, done;
static void *waits_and_calls(void *own)
{
    struct utsname name;
    if (own)
        OK(filter(ONLY(SYS_sync, SECCOMP_RET_ERRNO | EDOM)));
    sem_post(&done);
    sem_wait(&go);
    errno = 0;
    uname(&name);
    return (void *)(long)errno;
}
TEST(all_threads_at_once)
{
    pthread_t thread[2];
    void *result;
    for (int i = 0; i < 2; i++) {
        ZERO(pthread_create(&thread[i], NULL, waits_and_calls, NULL));
        sem_wait(&done);
    }
    OK(seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ONLY(SYS_uname, SECCOMP_RET_ERRNO | EDOM)));
    for (int i = 0; i < 2; i++)
        sem_post(&go);
    for (int i = 0; i < 2; i++) {
        ZERO(pthread_join(thread[i], &result));
        EQ((long)result, EDOM);
    }
    // Not where one has a filter that the others lack.
    ZERO(pthread_create(&thread[0], NULL, waits_and_calls, thread));
    sem_wait(&done);
    int other = seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ONLY(SYS_getppid, SECCOMP_RET_ERRNO | EDOM));
    CHECK(other > 0 && other != getpid());
    FAILS(ESRCH, seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
                         ONLY(SYS_getppid, SECCOMP_RET_ERRNO | EDOM)));
    CHECK(getppid() > 0); // and nobody got it
    sem_post(&go);
    ZERO(pthread_join(thread[0], NULL));
}

static void *asks_until_it_fails(void *number)
{
    sigset_t set;
    long nr = (long)number, (*ask)(long, ...) = syscall;
    sem_post(&done);
    while (nr == SYS_getpid ? ask(nr) > 0 : !ask(nr, SIG_BLOCK, NULL, &set, 8))
        ;
    return (void *)(long)errno;
}
TEST(a_thread_that_runs_gets_it_too)
{
    const long calls[] = {SYS_getpid, SYS_rt_sigprocmask};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        void *result;
        ZERO(pthread_create(&thread, NULL, asks_until_it_fails, (void *)calls[i]));
        sem_wait(&done);
        sleep_ms(30);
        OK(seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ONLY(calls[i], SECCOMP_RET_ERRNO | EDOM)));
        ZERO(pthread_join(thread, &result));
        EQ((long)result, EDOM);
    }
    _exit(0);
}

TEST(strict_mode)
{
    int fds[2];
    char byte = 1;
    OK(pipe(fds));
    pid_t pid = FORK({
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        if (write(fds[1], &byte, 1) == 1 && read(fds[0], &byte, 1) == 1)
            syscall(SYS_exit, 0);
    });
    WAIT_OK(pid);
    killed_by(FORK({
                  seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL);
                  syscall(SYS_getpid);
              }),
              SIGKILL);
    OK(filter(PROGRAM(ALLOW)));
    FAILS(EINVAL, prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)); // once there are filters
}

TEST(who_may)
{
    struct sock_fprog *all = PROGRAM(ALLOW);
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EACCES, filter(all));
        FAILS(EINVAL, filter(PROGRAM(LOAD(1), ALLOW)) && errno == EACCES ? (errno = EINVAL, -1) : -1);
        OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        OK(filter(all));
    }));
}

TEST(what_is_no_filter)
{
    struct sock_filter end = ALLOW;
    FAILS(EFAULT, filter(NULL));
    FAILS(EINVAL, filter(&(struct sock_fprog){0, &end}));
    FAILS(EINVAL, filter(&(struct sock_fprog){1, NULL}));
    FAILS(EFAULT, filter(&(struct sock_fprog){1, (void *)8}));
    FAILS(EINVAL, filter(PROGRAM(LOAD(NR))));
    FAILS(EINVAL, filter(PROGRAM(LOAD(2), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(LOAD(64), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(BPF_STMT(BPF_LD | BPF_MEM, 0), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(BPF_STMT(BPF_JMP | BPF_JA, 1), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 2), ALLOW)));
    FAILS(EINVAL, filter(PROGRAM(BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ALLOW)));
    OK(filter(PROGRAM(BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LDX | BPF_MEM, 3), ALLOW)));
    FAILS(EINVAL, seccomp(99, 0, NULL));
    FAILS(EINVAL, seccomp(SECCOMP_SET_MODE_FILTER, 1 << 30, PROGRAM(ALLOW)));
    FAILS(EINVAL, seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL));
    FAILS(EINVAL, prctl(PR_SET_SECCOMP, 77));
    unsigned actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW};
    for (unsigned i = 0; i < sizeof actions / sizeof *actions; i++)
        OK(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]));
    unsigned other = 0x12340000;
    FAILS(EOPNOTSUPP, seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &other));
    FAILS(EFAULT, seccomp(SECCOMP_GET_ACTION_AVAIL, 0, NULL));
}

TEST(filters_have_an_end)
{
    static struct sock_filter long_one[4096];
    for (int i = 0; i < 4096; i++)
        long_one[i] = (struct sock_filter)ALLOW;
    struct sock_fprog program = {4096, long_one};
    int count = 0;
    while (!filter(&program))
        CHECK(++count < 10);
    EQ(errno, ENOMEM);
    CHECK(count >= 3); // Linux counts 32,768 instructions of its own, which are more than these
}
MAIN()
