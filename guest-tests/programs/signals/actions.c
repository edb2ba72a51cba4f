// Questions for the action of a signal, asked so often that their call site is rewritten, as programs that start others do. sigaction(2), signal(7), vfork(2).
#include "check.h"

enum { HOT = 300 };

// As the system call has it.
struct action {
    uint64_t handler, flags, restorer, mask;
};
static long ask(int sig, const struct action *new, struct action *old) { return syscall(SYS_rt_sigaction, sig, new, old, 8); }
static bool untouched(int sig)
{
    struct action old;
    memset(&old, 0x55, sizeof old);
    OK(ask(sig, NULL, &old));
    return old.handler == 0 && old.flags == 0 && old.restorer == 0 && old.mask == 0;
}
static void make_hot(void)
{
    for (int i = 0; i < HOT; i++)
        CHECK(untouched(SIGXCPU));
}
static void handler(int sig) { (void)sig; }

TEST(what_nobody_has_set_is_zero)
{
    for (int i = 0; i < 5; i++)
        for (int sig = 1; sig <= 64; sig++)
            if (!untouched(sig)) { // ignored by whoever started this, or was, until check.h set it to its default
                struct action old;
                OK(ask(sig, NULL, &old));
                CHECK(old.handler <= 1);
            }
    CHECK(untouched(SIGKILL) && untouched(SIGSTOP) && untouched(64));
}

TEST(what_is_set_is_told_at_once)
{
    make_hot();
    for (int i = 0; i < HOT; i++) {
        struct action set = {(uintptr_t)handler, SA_NODEFER | 0x04000000, (uintptr_t)handler, 0x8000}, none = {0, 0, 0, 0}, old;
        int sig = 34 + i % 30;
        OK(ask(sig, &set, &old));
        CHECK(old.handler == 0 && old.flags == 0);
        OK(ask(sig, NULL, &old));
        CHECK(old.handler == set.handler && old.flags == set.flags && old.restorer == set.restorer && old.mask == set.mask);
        CHECK(untouched(SIGXCPU));
        OK(ask(sig, &none, &old));
        EQ(old.handler, set.handler);
        CHECK(untouched(sig));
        set = (struct action){1, 0, 0, 0}; // SIG_IGN
        OK(ask(sig, &set, NULL));
        OK(ask(sig, NULL, &old));
        EQ(old.handler, 1);
        set = (struct action){0, 0, 0, 0x8000}; // the default, with a mask
        OK(ask(sig, &set, NULL));
        OK(ask(sig, NULL, &old));
        EQ(old.mask, 0x8000);
        OK(ask(sig, &none, NULL));
    }
}

TEST(errors)
{
    make_hot();
    struct action old, set = {0, 0, 0, 0};
    for (int i = 0; i < 10; i++) {
        FAILS(EINVAL, ask(0, NULL, &old));
        FAILS(EINVAL, ask(-1, NULL, &old));
        FAILS(EINVAL, ask(65, NULL, &old));
        FAILS(EINVAL, syscall(SYS_rt_sigaction, SIGXCPU, NULL, &old, 16));
        FAILS(EFAULT, ask(SIGXCPU, NULL, (void *)8));
        FAILS(EFAULT, ask(SIGXCPU, NULL, (void *)0x8000000000000000));
        FAILS(EINVAL, ask(SIGKILL, &set, &old));
        OK(ask(SIGXCPU, NULL, NULL));
        EQ(untouched(SIGXCPU), true);
    }
    // Half of it is there.
    char *two = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(munmap(two + 4096, 4096));
    for (int i = 0; i < 10; i++)
        FAILS(EFAULT, ask(SIGXCPU, NULL, (void *)(two + 4096 - 16)));
}

static volatile int turn;
static void *watcher(void *arg)
{
    for (int i = 0; i < HOT; i++) {
        while (turn != 2 * i + 1)
            sched_yield();
        struct action old;
        OK(ask(SIGUSR2, NULL, &old));
        CHECK((old.handler != 0) == (i % 2 == 0));
        turn = 2 * i + 2;
    }
    return arg;
}

// One thread asks, the other one sets.
TEST(threads_have_one_table)
{
    make_hot();
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, watcher, NULL));
    for (int i = 0; i < HOT; i++) {
        struct action set = {i % 2 == 0 ? (uintptr_t)handler : 0, i % 2 == 0 ? 0x04000000 : 0, i % 2 == 0 ? (uintptr_t)handler : 0, 0};
        OK(ask(SIGUSR2, &set, NULL));
        turn = 2 * i + 1;
        while (turn != 2 * i + 2)
            sched_yield();
    }
    ZERO(pthread_join(thread, NULL));
}

HELPER(told)
{
    (void)argc, (void)argv;
    struct action old;
    make_hot();
    CHECK(untouched(SIGUSR1)); // a handler does not outlive its program
    OK(ask(SIGUSR2, NULL, &old));
    EQ(old.handler, 1);
    EQ(old.flags, 0);
    return 0;
}

TEST(children_and_programs_have_their_own)
{
    signal(SIGUSR1, handler);
    signal(SIGUSR2, SIG_IGN);
    make_hot();
    struct action old;
    for (int i = 0; i < 20; i++) {
        WAIT_OK(FORK({
            OK(ask(SIGUSR1, NULL, &old));
            EQ(old.handler, (uintptr_t)handler);
            CHECK(untouched(SIGXCPU));
            signal(SIGXCPU, handler);
            EQ(untouched(SIGXCPU), false);
        }));
        CHECK(untouched(SIGXCPU));
        pid_t child = OK(vfork());
        if (child == 0) {
            for (int sig = 1; sig <= 64; sig++)
                if (sig != SIGKILL && sig != SIGSTOP && ask(sig, NULL, &old) == 0 && old.handler > 1)
                    ask(sig, &(struct action){0, 0, 0, 0}, NULL);
            exec_self("told", NULL);
        }
        WAIT_OK(child);
        OK(ask(SIGUSR1, NULL, &old));
        EQ(old.handler, (uintptr_t)handler);
    }
}

TEST(a_handler_for_once)
{
    make_hot();
    for (int i = 0; i < HOT; i++) {
        struct sigaction once = {.sa_handler = handler, .sa_flags = SA_RESETHAND};
        struct action old;
        OK(sigaction(SIGUSR1, &once, NULL));
        raise(SIGUSR1);
        OK(ask(SIGUSR1, NULL, &old));
        EQ(old.handler, 0);
        EQ(old.flags & (uint32_t)SA_RESETHAND, (uint32_t)SA_RESETHAND);
        OK(ask(SIGUSR1, &(struct action){0, 0, 0, 0}, NULL));
    }
}

// Flags that a kernel does not know do not stay, SA_UNSUPPORTED least of all.
TEST(unknown_flags_go)
{
    struct sigaction sa = {.sa_handler = SIG_IGN, .sa_flags = SA_RESTART | 0x400 /* SA_UNSUPPORTED */ | 0x800 /* SA_EXPOSE_TAGBITS */ | 0x100}, is;
    OK(sigaction(SIGUSR1, &sa, NULL));
    OK(sigaction(SIGUSR1, NULL, &is));
    EQ(is.sa_flags & ~0x04000000, SA_RESTART | 0x800);
}

// To ignore a signal drops what is pending of it; SIGCONT is ignored by default, too.
TEST(the_default_action_drops_sigcont)
{
    sigset_t set, is;
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    sigaddset(&set, SIGCHLD);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    raise(SIGCONT), raise(SIGCHLD);
    OK(sigpending(&is));
    CHECK(sigismember(&is, SIGCONT) && sigismember(&is, SIGCHLD));
    signal(SIGCONT, SIG_DFL), signal(SIGCHLD, SIG_DFL);
    OK(sigpending(&is));
    CHECK(!sigismember(&is, SIGCONT) && !sigismember(&is, SIGCHLD));
}

MAIN()
