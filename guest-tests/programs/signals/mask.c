// The signal mask, changed so often that its call site is rewritten: sigprocmask(2), and what a signal in the middle of it must find. signal(7), pthread_sigmask(3).
#include "check.h"

enum { HOT = 1000 };

static sigset_t set_of(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    if (signal)
        sigaddset(&set, signal);
    return set;
}
static uint64_t bits(const sigset_t *set)
{
    uint64_t word;
    memcpy(&word, set, 8);
    return word;
}
static uint64_t mask_now(void)
{
    sigset_t now;
    OK(sigprocmask(SIG_BLOCK, NULL, &now));
    return bits(&now);
}
// As /proc shows it.
static uint64_t mask_shown(void)
{
    char text[8192], *line;
    read_file("/proc/thread-self/status", text, sizeof text);
    CHECK((line = strstr(text, "SigBlk:")));
    return strtoull(line + 7, NULL, 16);
}
static uint64_t bit(int signal) { return 1ull << (signal - 1); }

TEST(each_way_to_change_it)
{
    sigset_t usr1 = set_of(SIGUSR1), usr2 = set_of(SIGUSR2), none = set_of(0), old;
    for (int i = 0; i < HOT; i++) {
        OK(sigprocmask(SIG_SETMASK, &usr1, &old));
        EQ(bits(&old), 0);
        OK(sigprocmask(SIG_BLOCK, &usr2, &old));
        EQ(bits(&old), bit(SIGUSR1));
        OK(sigprocmask(SIG_UNBLOCK, &usr1, &old));
        EQ(bits(&old), bit(SIGUSR1) | bit(SIGUSR2));
        EQ(mask_now(), bit(SIGUSR2));
        old = none;
        OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, &old, 8)); // one place for both
        EQ(bits(&old), bit(SIGUSR2));
    }
    EQ(mask_shown(), 0);
    OK(sigprocmask(SIG_SETMASK, &usr1, NULL));
    EQ(mask_shown(), bit(SIGUSR1));
}

TEST(kill_and_stop_cannot_be_masked)
{
    uint64_t all = ~0ull, old, kept = all & ~(bit(SIGKILL) | bit(SIGSTOP));
    for (int i = 0; i < HOT; i++) {
        OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
        OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){0}, &old, 8));
        EQ(old, kept);
    }
}

TEST(errors)
{
    uint64_t set = bit(SIGUSR1), old = 0;
    for (int i = 0; i < HOT; i++) {
        FAILS(EINVAL, syscall(SYS_rt_sigprocmask, 3, &set, NULL, 8));
        FAILS(EINVAL, syscall(SYS_rt_sigprocmask, -1, &set, NULL, 8));
        FAILS(EINVAL, syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 16));
        FAILS(EFAULT, syscall(SYS_rt_sigprocmask, SIG_SETMASK, 8, &old, 8));
        EQ(mask_now(), 0);
        OK(syscall(SYS_rt_sigprocmask, 77, NULL, &old, 8)); // without a set nobody asks how
        FAILS(EFAULT, syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, 8, 8));
        EQ(mask_now(), set); // it was set before the old one could not be told
        OK(syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, 8));
    }
}

static volatile int handled, masked, wrong;
static void handler(int signal)
{
    (void)signal;
    handled++;
    wrong += masked;
}

// Signals that another process sends at any moment: each is handled, none while it is masked.
TEST(a_stream_of_signals_meets_changes)
{
    enum { SIGNALS = 3000 };
    signal(SIGRTMIN, handler);
    sigset_t set = set_of(SIGRTMIN);
    pid_t parent = getpid();
    pid_t sender = FORK({
        for (int i = 0; i < SIGNALS; i++) {
            while (sigqueue(parent, SIGRTMIN, (union sigval){0}) < 0)
                sched_yield();
            if (i % 16 == 0)
                sched_yield();
        }
    });
    int status, ended = 0;
    while (!ended) {
        for (int i = 0; i < 50; i++) {
            OK(sigprocmask(SIG_BLOCK, &set, NULL));
            masked = 1;
            masked = 0;
            OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
        }
        ended = waitpid(sender, &status, WNOHANG);
        CHECK(ended >= 0 || errno == EINTR);
    }
    EQ(status, 0);
    EQ(handled, SIGNALS);
    EQ(wrong, 0);
}

// What is pending is handled before the call that lets it through returns.
TEST(an_unmasked_signal_comes_at_once)
{
    signal(SIGUSR1, handler);
    sigset_t set = set_of(SIGUSR1);
    for (int i = 0; i < HOT; i++) {
        handled = 0;
        OK(sigprocmask(SIG_BLOCK, &set, NULL));
        OK(raise(SIGUSR1));
        EQ(handled, 0);
        OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
        EQ(handled, 1);
    }
}

static volatile int stop;
static void *toggle(void *arg)
{
    sigset_t set = set_of(SIGRTMIN);
    while (!stop) {
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return arg;
}
static volatile int together;
static void count_together(int signal)
{
    (void)signal;
    __sync_fetch_and_add(&together, 1);
}

// A signal of the process that a thread was chosen for, which then masked it, goes to another one, even if that makes no call.
TEST(a_signal_of_the_process_finds_the_thread_that_lets_it)
{
    enum { SIGNALS = 500 };
    signal(SIGRTMIN, count_together);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ZERO(pthread_create(&threads[i], NULL, toggle, NULL));
    pid_t parent = getpid();
    pid_t sender = FORK({
        for (int i = 0; i < SIGNALS; i++)
            while (sigqueue(parent, SIGRTMIN, (union sigval){0}) < 0)
                sched_yield();
    });
    int status;
    while (waitpid(sender, &status, 0) < 0)
        EQ(errno, EINTR);
    stop = 1;
    for (int64_t end = now_ns(CLOCK_MONOTONIC) + 5000000000; together < SIGNALS && now_ns(CLOCK_MONOTONIC) < end;) {
    }
    EQ(together, SIGNALS);
    for (int i = 0; i < 2; i++)
        ZERO(pthread_join(threads[i], NULL));
}

HELPER(shows)
{
    (void)argc;
    EQ(mask_shown(), strtoull(argv[1], NULL, 16));
    EQ(mask_now(), strtoull(argv[1], NULL, 16));
    return 0;
}

TEST(children_and_programs_have_it)
{
    sigset_t set = set_of(SIGUSR1), none = set_of(0);
    for (int i = 0; i < HOT; i++) {
        OK(sigprocmask(SIG_SETMASK, &none, NULL));
        OK(sigprocmask(SIG_SETMASK, &set, NULL));
    }
    char word[20];
    snprintf(word, sizeof word, "%lx", bit(SIGUSR1));
    WAIT_OK(FORK({
        EQ(mask_now(), bit(SIGUSR1));
        EQ(mask_shown(), bit(SIGUSR1));
        for (int i = 0; i < 10; i++)
            OK(sigprocmask(SIG_SETMASK, &none, NULL));
        EQ(mask_shown(), 0);
    }));
    WAIT_OK(FORK(exec_self("shows", word, NULL)));
    pid_t child = vfork();
    if (child == 0)
        exec_self("shows", word, NULL);
    WAIT_OK(child);
    EQ(mask_now(), bit(SIGUSR1));
}

TEST(sigsuspend_and_ppoll_put_it_back)
{
    signal(SIGUSR1, handler);
    sigset_t usr1 = set_of(SIGUSR1), none = set_of(0);
    for (int i = 0; i < HOT / 4; i++) {
        OK(sigprocmask(SIG_SETMASK, &none, NULL));
        OK(sigprocmask(SIG_SETMASK, &usr1, NULL));
        OK(raise(SIGUSR1));
        FAILS(EINTR, sigsuspend(&none));
        EQ(mask_now(), bit(SIGUSR1));
        OK(ppoll(NULL, 0, &(struct timespec){0, 1000}, &none));
        EQ(mask_now(), bit(SIGUSR1));
    }
    EQ(handled, HOT / 4);
}

MAIN()
