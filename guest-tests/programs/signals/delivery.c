// Sending, queueing, masking, delivery: signal(7), sigaction(2), sigqueue(3), sigprocmask(2), sigpending(2), sigsuspend(2).
#include "check.h"

static volatile int count, order[64], codes[64], values[64];
static void plain(int signal)
{
    order[count++] = signal;
}
static void detailed(int signal, siginfo_t *info, void *context)
{
    (void)context;
    order[count] = signal;
    codes[count] = info->si_code;
    values[count] = info->si_value.sival_int;
    count++;
}
static void handle(int signal, void (*with)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = with, .sa_flags = SA_SIGINFO | flags};
    OK(sigaction(signal, &sa, NULL));
}
static sigset_t set_of(int first, ...)
{
    sigset_t set;
    sigemptyset(&set);
    va_list args;
    va_start(args, first);
    for (int s = first; s; s = va_arg(args, int))
        sigaddset(&set, s);
    va_end(args);
    return set;
}

TEST(raise_runs_the_handler)
{
    signal(SIGUSR1, plain);
    EQ(raise(SIGUSR1), 0);
    EQ(count, 1);
    EQ(order[0], SIGUSR1);
    OK(kill(getpid(), SIGUSR1)); // delivered before kill returns
    EQ(count, 2);
}

TEST(standard_signals_do_not_queue)
{
    signal(SIGUSR1, plain);
    sigset_t set = set_of(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    for (int i = 0; i < 5; i++)
        raise(SIGUSR1);
    EQ(count, 0);
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
    EQ(count, 1);
}

TEST(real_time_signals_queue_in_order)
{
    handle(SIGRTMIN + 2, detailed, 0), handle(SIGRTMIN + 1, detailed, 0), handle(SIGUSR2, detailed, 0);
    sigset_t set = set_of(SIGRTMIN + 1, SIGRTMIN + 2, SIGUSR2, 0);
    // All handlers block all of them, so that deliveries do not nest.
    for (int s = SIGRTMIN + 1; s <= SIGRTMIN + 2; s++) {
        struct sigaction sa = {.sa_sigaction = detailed, .sa_flags = SA_SIGINFO, .sa_mask = set};
        OK(sigaction(s, &sa, NULL));
    }
    struct sigaction sa = {.sa_sigaction = detailed, .sa_flags = SA_SIGINFO, .sa_mask = set};
    OK(sigaction(SIGUSR2, &sa, NULL));
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    union sigval v;
    for (v.sival_int = 10; v.sival_int < 13; v.sival_int++)
        OK(sigqueue(getpid(), SIGRTMIN + 2, v));
    for (v.sival_int = 20; v.sival_int < 23; v.sival_int++)
        OK(sigqueue(getpid(), SIGRTMIN + 1, v));
    raise(SIGUSR2);
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
    EQ(count, 7);
    EQ(order[0], SIGUSR2); // standard signals first, then the lowest number, each queue in its order
    for (int i = 0; i < 3; i++) {
        EQ(order[1 + i], SIGRTMIN + 1);
        EQ(values[1 + i], 20 + i);
        EQ(codes[1 + i], SI_QUEUE);
        EQ(order[4 + i], SIGRTMIN + 2);
        EQ(values[4 + i], 10 + i);
    }
}

TEST(codes_of_senders)
{
    static volatile siginfo_t seen;
    void keep(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)context;
        seen = *info;
    }
    handle(SIGUSR1, keep, 0);
    kill(getpid(), SIGUSR1);
    EQ(seen.si_code, SI_USER);
    EQ(seen.si_pid, getpid());
    EQ(seen.si_uid, getuid());
    EQ(seen.si_signo, SIGUSR1);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    EQ(seen.si_code, SI_TKILL);
    pid_t parent = getpid();
    pid_t child = FORK({ kill(parent, SIGUSR1); });
    EVENTUALLY(seen.si_code == SI_USER && seen.si_pid == child);
    WAIT_OK(child);
    union sigval v = {.sival_ptr = (void *)0x1234567890ab};
    OK(sigqueue(getpid(), SIGUSR1, v));
    EQ((long)seen.si_value.sival_ptr, 0x1234567890ab);
}

TEST(rt_sigqueueinfo)
{
    static volatile siginfo_t seen;
    void keep(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)context;
        seen = *info;
    }
    handle(SIGUSR1, keep, 0);
    siginfo_t info = {.si_code = -60};
    info.si_pid = 77;
    OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    EQ(seen.si_code, -60);
    EQ(seen.si_pid, 77);
    info.si_code = SI_USER;
    pid_t child = FORK({ FAILS(EPERM, syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info)); }); // a lie about kill
    WAIT_OK(child);
}

TEST(errors_of_kill)
{
    FAILS(ESRCH, kill(999999, 0));
    FAILS(EINVAL, kill(getpid(), 65));
    FAILS(EINVAL, kill(getpid(), -1));
    OK(kill(getpid(), 0));
    FAILS(EINVAL, sigaction(SIGKILL, &(struct sigaction){.sa_handler = plain}, NULL));
    FAILS(EINVAL, sigaction(SIGSTOP, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    FAILS(EINVAL, sigaction(0, NULL, &(struct sigaction){}));
    FAILS(EINVAL, sigaction(65, NULL, &(struct sigaction){}));
    FAILS(EINVAL, syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    if (getuid() == 0) {
        pid_t child = FORK({
            OK(setresuid(1000, 1000, 1000));
            FAILS(EPERM, kill(getppid(), 0));
            FAILS(EPERM, kill(1, SIGTERM));
        });
        WAIT_OK(child);
    }
}

TEST(masks)
{
    sigset_t all, seen;
    sigfillset(&all);
    OK(sigprocmask(SIG_SETMASK, &all, NULL));
    OK(sigprocmask(SIG_BLOCK, NULL, &seen));
    EQ(sigismember(&seen, SIGKILL), 0); // these two stay unblocked
    EQ(sigismember(&seen, SIGSTOP), 0);
    EQ(sigismember(&seen, SIGTERM), 1);
    FAILS(EINVAL, syscall(SYS_rt_sigprocmask, 7, &all, NULL, 8));
    FAILS(EINVAL, syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 7));
    FAILS(EFAULT, syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8));
}

TEST(mask_while_the_handler_runs)
{
    static sigset_t inside;
    void look(int signal)
    {
        (void)signal;
        sigprocmask(SIG_BLOCK, NULL, &inside);
    }
    struct sigaction sa = {.sa_handler = look, .sa_mask = set_of(SIGUSR2, SIGRTMIN, 0)};
    OK(sigaction(SIGUSR1, &sa, NULL));
    raise(SIGUSR1);
    EQ(sigismember(&inside, SIGUSR1), 1);
    EQ(sigismember(&inside, SIGUSR2), 1);
    EQ(sigismember(&inside, SIGRTMIN), 1);
    EQ(sigismember(&inside, SIGHUP), 0);
    sigset_t after;
    sigprocmask(SIG_BLOCK, NULL, &after);
    EQ(sigismember(&after, SIGUSR1), 0);
    EQ(sigismember(&after, SIGUSR2), 0);
    sa.sa_flags = SA_NODEFER;
    OK(sigaction(SIGUSR1, &sa, NULL));
    raise(SIGUSR1);
    EQ(sigismember(&inside, SIGUSR1), 0);
}

TEST(reset_hand)
{
    struct sigaction sa = {.sa_handler = plain, .sa_flags = SA_RESETHAND}, now;
    OK(sigaction(SIGUSR1, &sa, NULL));
    raise(SIGUSR1);
    EQ(count, 1);
    OK(sigaction(SIGUSR1, NULL, &now));
    CHECK(now.sa_handler == SIG_DFL);
    pid_t child = FORK({ raise(SIGUSR1); });
    WAIT_STATUS(child, KILLED(SIGUSR1));
}

TEST(nested_handlers)
{
    static volatile int depth, deepest;
    void nest(int signal)
    {
        if (++depth > deepest)
            deepest = depth;
        if (depth < 20)
            raise(signal);
        depth--;
    }
    struct sigaction sa = {.sa_handler = nest, .sa_flags = SA_NODEFER};
    OK(sigaction(SIGUSR1, &sa, NULL));
    raise(SIGUSR1);
    EQ(deepest, 20);
    EQ(depth, 0);
}

TEST(default_actions)
{
    int dies[] = {SIGHUP, SIGINT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGPOLL, SIGPROF, SIGVTALRM, SIGSTKFLT, SIGPWR};
    for (size_t i = 0; i < sizeof dies / sizeof *dies; i++) {
        pid_t child = FORK({
            raise(dies[i]);
            pause();
        });
        WAIT_STATUS(child, KILLED(dies[i]));
    }
    int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        EQ(raise(ignored[i]), 0);
    int rt = SIGRTMIN + 3;
    pid_t child = FORK({ raise(rt); });
    WAIT_STATUS(child, KILLED(rt));
}

TEST(core_signals)
{
    int cores[] = {SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++) {
        pid_t child = FORK({
            struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            kill(getpid(), cores[i]);
            pause();
        });
        int status;
        OK(waitpid(child, &status, 0));
        EQ(status & 0x7f, cores[i]);
    }
}

TEST(ignored_signals_are_dropped)
{
    signal(SIGUSR1, SIG_IGN);
    sigset_t set = set_of(SIGUSR1, SIGUSR2, 0), pending;
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    raise(SIGUSR1);
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN); // setting to ignore drops what is pending
    OK(sigpending(&pending));
    EQ(sigismember(&pending, SIGUSR2), 0);
}

TEST(sigsuspend)
{
    signal(SIGUSR1, plain);
    signal(SIGUSR2, plain);
    sigset_t set = set_of(SIGUSR1, SIGUSR2, 0), only2 = set_of(SIGUSR2, 0), seen;
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    raise(SIGUSR1);
    raise(SIGUSR2);
    FAILS(EINTR, sigsuspend(&only2));
    EQ(count, 1);
    EQ(order[0], SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, NULL, &seen)); // the old mask is back
    EQ(sigismember(&seen, SIGUSR1), 1);
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
    });
    FAILS(EINTR, sigsuspend(&only2));
    EQ(count, 2);
    WAIT_OK(child);
}

TEST(sigtimedwait)
{
    sigset_t set = set_of(SIGUSR1, SIGRTMIN, 0);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    struct timespec none = {0, 0}, some = {0, 20000000};
    siginfo_t info;
    FAILS(EAGAIN, sigtimedwait(&set, &info, &none));
    int64_t before = now_ns(CLOCK_MONOTONIC);
    FAILS(EAGAIN, sigtimedwait(&set, &info, &some));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 20000000);
    union sigval v = {.sival_int = 5};
    sigqueue(getpid(), SIGRTMIN, v);
    raise(SIGUSR1);
    EQ(sigtimedwait(&set, &info, &none), SIGUSR1);
    EQ(sigwaitinfo(&set, &info), SIGRTMIN);
    EQ(info.si_value.sival_int, 5);
    FAILS(EAGAIN, sigtimedwait(&set, &info, &none));
    struct timespec bad = {0, -1};
    FAILS(EINVAL, sigtimedwait(&set, &info, &bad));
    // another signal with a handler interrupts it
    signal(SIGUSR2, plain);
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR2);
        sleep_ms(5);
        kill(parent, SIGUSR1);
    });
    FAILS(EINTR, sigwaitinfo(&set, &info));
    EQ(sigwaitinfo(&set, &info), SIGUSR1);
    EQ(info.si_pid, child);
    WAIT_OK(child);
}

TEST(stop_and_continue)
{
    static volatile int conts;
    void on_cont(int signal) { conts += signal == SIGCONT; }
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        signal(SIGCONT, on_cont);
        raise(SIGSTOP);
        EQ(conts, 1);
        EQ(write(report[1], "c", 1), 1);
        pause();
    });
    int status;
    OK(waitpid(child, &status, WUNTRACED));
    CHECK(WIFSTOPPED(status));
    EQ(task_state(child), 'T');
    OK(kill(child, SIGCONT));
    char c;
    EQ(read(report[0], &c, 1), 1);
    // a stop signal drops a pending SIGCONT and the other way round
    OK(kill(child, SIGTSTP));
    OK(waitpid(child, &status, WUNTRACED));
    EQ(WSTOPSIG(status), SIGTSTP);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(stop_reaches_all_threads)
{
    static volatile long *ticks;
    ticks = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = FORK({
        pthread_t t;
        ZERO(pthread_create(&t, NULL, ({
            void *tick(void *arg) {
                for (;;)
                    (*ticks)++;
                return arg;
            }
            tick;
        }), NULL));
        pause();
    });
    EVENTUALLY(*ticks > 0);
    int status;
    OK(kill(child, SIGSTOP));
    OK(waitpid(child, &status, WUNTRACED));
    sleep_ms(5);
    long before = *ticks;
    sleep_ms(10);
    EQ(*ticks, before);
    OK(kill(child, SIGCONT));
    EVENTUALLY(*ticks > before);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(no_cld_stop)
{
    struct sigaction sa = {.sa_handler = plain, .sa_flags = SA_NOCLDSTOP};
    OK(sigaction(SIGCHLD, &sa, NULL));
    pid_t child = FORK({ for (;;) pause(); });
    int status;
    OK(kill(child, SIGSTOP));
    while (waitpid(child, &status, WUNTRACED) != child) {
    }
    sleep_ms(3);
    EQ(count, 0);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) != child) {
    }
    EVENTUALLY(count == 1);
}

TEST(sigchld_on_stop)
{
    static volatile siginfo_t seen;
    void keep(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)context;
        seen = *info;
    }
    handle(SIGCHLD, keep, SA_RESTART);
    pid_t child = FORK({ for (;;) pause(); });
    kill(child, SIGSTOP);
    EVENTUALLY(seen.si_code == CLD_STOPPED && seen.si_pid == child && seen.si_status == SIGSTOP);
    kill(child, SIGCONT);
    EVENTUALLY(seen.si_code == CLD_CONTINUED);
    kill(child, SIGKILL);
    EVENTUALLY(seen.si_code == CLD_KILLED && seen.si_status == SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(process_signal_goes_to_a_thread_that_lets_it)
{
    static pthread_t taker;
    static volatile int taken;
    void take(int signal)
    {
        (void)signal;
        taken = pthread_equal(pthread_self(), taker) ? 1 : 2;
    }
    signal(SIGUSR1, take);
    sigset_t set = set_of(SIGUSR1, 0);
    ZERO(pthread_create(&taker, NULL, ({
        void *run(void *arg) {
            while (!taken)
                usleep(500);
            return arg;
        }
        run;
    }), NULL));
    ZERO(pthread_sigmask(SIG_BLOCK, &set, NULL));
    kill(getpid(), SIGUSR1);
    ZERO(pthread_join(taker, NULL));
    EQ(taken, 1);
}

TEST(sigpending_counts_both)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2, 0), pending;
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR2);
    OK(sigpending(&pending));
    EQ(sigismember(&pending, SIGUSR1), 1);
    EQ(sigismember(&pending, SIGUSR2), 1);
    EQ(sigismember(&pending, SIGHUP), 0);
    char text[4096];
    read_file("/proc/self/status", text, sizeof text);
    CHECK(strstr(text, "SigBlk:\t0000000000000a00\n"));
    CHECK(strstr(text, "ShdPnd:\t0000000000000200\n"));
    CHECK(strstr(text, "SigPnd:\t0000000000000800\n"));
}

TEST(queue_limit)
{
    struct rlimit l = {10, 10};
    OK(setrlimit(RLIMIT_SIGPENDING, &l));
    sigset_t set = set_of(SIGRTMIN, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    union sigval v = {.sival_int = 1};
    int n = 0;
    while (n < 20 && sigqueue(getpid(), SIGRTMIN, v) == 0)
        n++;
    CHECK(n <= 10);
    EQ(errno, EAGAIN);
}

static pid_t other_tid;
static void *wait_for_ever(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    __atomic_store_n(&other_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return unused;
}
// Only the thread itself may say of a signal what it likes.
TEST(siginfo_for_another_thread)
{
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, wait_for_ever, NULL));
    EVENTUALLY(__atomic_load_n(&other_tid, __ATOMIC_SEQ_CST));
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    signal(SIGUSR1, SIG_IGN);
    OK(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGUSR1, &info));
    FAILS(EPERM, syscall(SYS_rt_tgsigqueueinfo, getpid(), other_tid, SIGUSR1, &info));
    info.si_code = SI_QUEUE;
    OK(syscall(SYS_rt_tgsigqueueinfo, getpid(), other_tid, SIGUSR1, &info));
}

TEST(kill_comes_before_all_others)
{
    for (int i = 0; i < 20; i++) {
        pid_t child = FORK({ pause(); });
        kill(child, SIGSTOP);
        EVENTUALLY(task_state(child) == 'T');
        kill(child, SIGHUP);
        kill(child, SIGTERM);
        kill(child, SIGKILL);
        kill(child, SIGCONT);
        WAIT_STATUS(child, KILLED(SIGKILL));
    }
}

MAIN()
