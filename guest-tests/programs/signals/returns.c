// Returns from handlers, many of them: mask, alternate stack and registers are the context's, whoever sends what meanwhile. sigreturn(2), sigaltstack(2), signal(7).
#include "check.h"
#include <sys/utsname.h>
#include <ucontext.h>
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { MANY = 300 };

static uint64_t bit(int sig) { return 1ull << (sig - 1); }
static uint64_t mask_now(void)
{
    uint64_t now;
    OK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8));
    return now;
}
static uint64_t mask_shown(void)
{
    char text[8192], *line;
    read_file("/proc/thread-self/status", text, sizeof text);
    CHECK((line = strstr(text, "SigBlk:")));
    return strtoull(line + 7, NULL, 16);
}
static void on(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    OK(sigaction(sig, &action, NULL));
}

static volatile int ran, depth, deepest;
static volatile uint64_t within;
static void nothing(int sig, siginfo_t *info, void *context) { (void)sig, (void)info, (void)context, ran++; }

TEST(the_mask_is_as_before)
{
    on(SIGUSR1, nothing, 0);
    for (int i = 0; i < MANY; i++) {
        uint64_t set = i % 3 ? bit(SIGUSR2) : 0;
        OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8));
        raise(SIGUSR1);
        EQ(mask_now(), set);
        if (i % 50 == 0)
            EQ(mask_shown(), set);
    }
    EQ(ran, MANY);
}

static void looks(int sig, siginfo_t *info, void *context)
{
    (void)info, (void)context, ran++;
    within = ran % 50 ? mask_now() : mask_shown();
    CHECK(within & bit(sig));
}
TEST(the_mask_within)
{
    on(SIGUSR1, looks, 0);
    for (int i = 0; i < MANY; i++) {
        raise(SIGUSR1);
        EQ(within, bit(SIGUSR1));
    }
}

static void changes(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, ran++;
    uint64_t mask = bit(SIGUSR2) | bit(SIGKILL) | bit(SIGSTOP);
    memcpy(&((ucontext_t *)context)->uc_sigmask, &mask, 8);
}
TEST(a_changed_mask_is_taken_but_for_kill_and_stop)
{
    on(SIGUSR1, changes, 0);
    on(SIGUSR2, nothing, 0);
    for (int i = 0; i < MANY; i++) {
        raise(SIGUSR1);
        ran = 0;
        raise(SIGUSR2);
        EQ(ran, 0);
        if (i % 50 == 0)
            EQ(mask_shown(), bit(SIGUSR2));
        uint64_t none = 0;
        OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
        EQ(ran, 1);
    }
}

// What came for the handler's own signal while it ran is handled after it.
static void again(int sig, siginfo_t *info, void *context)
{
    (void)info, (void)context, ran++;
    if (ran % 10)
        raise(sig);
    depth++;
    if (depth > deepest)
        deepest = depth;
    depth--;
}
TEST(one_after_the_other)
{
    on(SIGRTMIN, again, 0);
    for (int i = 1; i <= MANY / 10; i++) {
        raise(SIGRTMIN);
        EQ(ran, 10 * i);
    }
    EQ(deepest, 1);
}

// Two senders, two signals of which one interrupts the other's handler; none is lost and none comes while it is masked.
static volatile int counts[2], inside[2], wrong;
static void counted(int sig, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    int which = sig - SIGRTMIN;
    wrong += inside[which]++;
    counts[which]++;
    inside[which]--;
}
TEST(streams_of_signals)
{
    enum { SIGNALS = 1500 };
    on(SIGRTMIN, counted, 0);
    on(SIGRTMIN + 1, counted, 0);
    pid_t parent = getpid(), senders[2];
    for (int which = 0; which < 2; which++)
        senders[which] = FORK({
            for (int i = 0; i < SIGNALS; i++) {
                while (sigqueue(parent, SIGRTMIN + which, (union sigval){0}) < 0)
                    sched_yield();
                if (i % 16 == 0)
                    sched_yield();
            }
        });
    for (int which = 0; which < 2; which++) {
        int status;
        while (waitpid(senders[which], &status, 0) < 0)
            EQ(errno, EINTR);
        EQ(status, 0);
    }
    EQ(counts[0], SIGNALS);
    EQ(counts[1], SIGNALS);
    EQ(wrong, 0);
    EQ(mask_now(), 0);
}

// The stack of the context comes back, whatever the handler chose.
static char stacks[3][65536];
static void chooses(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context, ran++;
    stack_t other = {.ss_sp = stacks[1], .ss_size = sizeof stacks[1]}, none = {.ss_flags = SS_DISABLE};
    OK(sigaltstack(ran % 3 ? &other : &none, NULL));
    if (ran % 2)
        mask_now();
}
static void writes(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, ran++;
    ((ucontext_t *)context)->uc_stack = (stack_t){.ss_sp = stacks[2], .ss_size = sizeof stacks[2]};
}
TEST(the_alternate_stack_of_the_context)
{
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0]}, now;
    for (int i = 0; i < MANY; i++) {
        OK(sigaltstack(&first, NULL));
        on(SIGUSR1, chooses, 0);
        raise(SIGUSR1);
        OK(sigaltstack(NULL, &now));
        CHECK(now.ss_sp == stacks[0] && now.ss_size == sizeof stacks[0] && now.ss_flags == 0);
        on(SIGUSR1, nothing, SA_ONSTACK);
        raise(SIGUSR1);
        OK(sigaltstack(NULL, &now));
        CHECK(now.ss_sp == stacks[0] && now.ss_flags == 0);
        on(SIGUSR1, writes, 0);
        raise(SIGUSR1);
        OK(sigaltstack(NULL, &now));
        CHECK(now.ss_sp == stacks[2] && now.ss_size == sizeof stacks[2]);
    }
}

// What sigaltstack(2) would refuse in the handler is not taken from its frame either, and nobody is told.
static int asked;
static void asks(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, ran++;
    stack_t *stack = &((ucontext_t *)context)->uc_stack;
    switch (asked) {
    case 0:
        *stack = (stack_t){.ss_sp = stacks[2], .ss_size = sizeof stacks[2]};
        break;
    case 1:
        *stack = (stack_t){.ss_flags = SS_DISABLE};
        break;
    case 2:
        stack->ss_flags = 0x40;
        break;
    case 3:
        stack->ss_flags = SS_DISABLE | 0x40;
        break;
    case 4:
        *stack = (stack_t){.ss_sp = stacks[2], .ss_size = 100};
        break;
    }
}
TEST(a_stack_that_is_refused_is_not_taken)
{
    struct utsname name;
    int major = 0, minor = 0;
    OK(uname(&name));
    sscanf(name.release, "%d.%d", &major, &minor);
    if (major < 6 || (major == 6 && minor < 12))
        SKIP("before Linux 6.12 the stack pointer that is returned to decides");
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0]}, now;
    for (int onstack = 0; onstack < 2; onstack++)
        for (asked = 0; asked < 5; asked++) {
            OK(sigaltstack(&first, NULL));
            on(SIGUSR1, asks, onstack ? SA_ONSTACK : 0);
            raise(SIGUSR1);
            OK(sigaltstack(NULL, &now));
            if (onstack || asked > 1) // a thread cannot leave the stack that it is on
                CHECK(now.ss_sp == stacks[0] && now.ss_size == sizeof stacks[0] && now.ss_flags == 0);
            else if (asked == 0)
                CHECK(now.ss_sp == stacks[2] && now.ss_size == sizeof stacks[2] && now.ss_flags == 0);
            else
                EQ(now.ss_flags, SS_DISABLE);
        }
    EQ(ran, 10);
}
TEST(a_refused_stack_leaves_one_that_disarms_itself_disarmed)
{
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0], .ss_flags = SS_AUTODISARM}, now;
    for (int onstack = 0; onstack < 2; onstack++)
        for (asked = 0; asked < 5; asked++) {
            OK(sigaltstack(&first, NULL));
            on(SIGUSR1, asks, onstack ? SA_ONSTACK : 0);
            raise(SIGUSR1);
            OK(sigaltstack(NULL, &now));
            if (asked == 0)
                CHECK(now.ss_sp == stacks[2] && now.ss_flags == 0);
            else
                EQ(now.ss_flags, SS_DISABLE);
        }
}

// A handler of the outer frame sees another stack than the inner one's.
static void inner(int sig, siginfo_t *info, void *context) { (void)sig, (void)info, (void)context, ran++; }
static void outer(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    stack_t other = {.ss_sp = stacks[1], .ss_size = sizeof stacks[1]}, now;
    OK(sigaltstack(&other, NULL));
    raise(SIGUSR2);
    OK(sigaltstack(NULL, &now));
    CHECK(now.ss_sp == stacks[1]);
    EQ(mask_now(), bit(SIGUSR1));
}
TEST(nested_stacks)
{
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0]}, now;
    OK(sigaltstack(&first, NULL));
    on(SIGUSR1, outer, 0);
    on(SIGUSR2, inner, SA_ONSTACK);
    for (int i = 0; i < MANY; i++) {
        raise(SIGUSR1);
        OK(sigaltstack(NULL, &now));
        CHECK(now.ss_sp == stacks[0]);
        EQ(mask_now(), 0);
    }
    EQ(ran, MANY);
}

static void disarmed(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context, ran++;
    stack_t now;
    OK(sigaltstack(NULL, &now));
    EQ(now.ss_flags & SS_DISABLE, SS_DISABLE);
    mask_now();
}
TEST(a_stack_that_disarms_itself)
{
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0], .ss_flags = SS_AUTODISARM}, now;
    OK(sigaltstack(&first, NULL));
    on(SIGUSR1, disarmed, SA_ONSTACK);
    for (int i = 0; i < MANY; i++) {
        raise(SIGUSR1);
        OK(sigaltstack(NULL, &now));
        CHECK(now.ss_sp == stacks[0]);
        EQ((uint32_t)now.ss_flags, SS_AUTODISARM);
    }
}

HELPER(sees)
{
    (void)argc, (void)argv;
    stack_t now;
    OK(sigaltstack(NULL, &now));
    EQ(now.ss_flags, SS_DISABLE);
    EQ(mask_now(), bit(SIGUSR1));
    EQ(mask_shown(), bit(SIGUSR1));
    return 0;
}
static void starts(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    exec_self("sees", NULL);
}
static void forks(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    ran = OK(fork());
}
TEST(children_and_programs_out_of_handlers)
{
    stack_t first = {.ss_sp = stacks[0], .ss_size = sizeof stacks[0]};
    OK(sigaltstack(&first, NULL));
    on(SIGUSR1, starts, 0);
    for (int i = 0; i < 10; i++)
        WAIT_OK(FORK(raise(SIGUSR1)));
    on(SIGUSR1, forks, SA_ONSTACK);
    for (int i = 0; i < 10; i++) {
        raise(SIGUSR1);
        EQ(mask_now(), 0);
        if (ran == 0)
            _exit(mask_shown() != 0);
        WAIT_OK(ran);
    }
}

MAIN()
