// Futex waits under signals, stops and kills, with and without timeouts: futex(2), futex_waitv(2), signal(7).
#include "check.h"
#include <linux/futex.h>

#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#define PRIVATE_32 (FUTEX2_SIZE_U32 | FUTEX2_PRIVATE)
#ifndef FUTEX2_SIZE_U32
#define FUTEX2_SIZE_U32 2
#define FUTEX2_PRIVATE 128
#endif

static long futex(volatile int *at, int op, int value, const struct timespec *t, volatile int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, t, at2, value3);
}
static int *shared(void) { return OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)); }
static volatile int hits;
static void hit(int signal)
{
    (void)signal;
    hits++;
}
static void with(int signal, int flags)
{
    struct sigaction sa = {.sa_handler = hit, .sa_flags = flags};
    OK(sigaction(signal, &sa, NULL));
    hits = 0;
}
// A child that does something to its parent once that sleeps.
#define WHEN_ASLEEP(...)                                                                                               \
    ({                                                                                                                 \
        pid_t parent = getpid();                                                                                       \
        FORK({                                                                                                         \
            EVENTUALLY(task_state(parent) == 'S');                                                                     \
            __VA_ARGS__;                                                                                               \
        });                                                                                                            \
    })

TEST(shows_as_asleep)
{
    int *w = shared();
    struct timespec t = {20, 0};
    for (int timed = 0; timed < 2; timed++) {
        pid_t child = FORK({ futex(w, FUTEX_WAIT, 0, timed ? &t : NULL, NULL, 0); });
        char path[64], text[256], wanted[64];
        sprintf(path, "/proc/%d/syscall", child);
        sprintf(wanted, "202 0x%lx 0x0 0x0 0x%lx ", (long)w, timed ? (long)&t : 0);
        // On a busy machine it sleeps for other reasons before.
        EVENTUALLY(task_state(child) == 'S' && (read_file(path, text, sizeof text), !strncmp(text, wanted, strlen(wanted))));
        kill(child, SIGKILL);
        WAIT_STATUS(child, KILLED(SIGKILL));
    }
}

TEST(a_thread_that_computes_is_not_asleep)
{
    static int w;
    static volatile int stop;
    static volatile pid_t tid;
    void *body(void *arg)
    {
        struct timespec t = {0, 1000000};
        futex(&w, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0); // times out, then no call any more
        tid = syscall(SYS_gettid);
        while (!stop) {
        }
        return arg;
    }
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, body, NULL));
    EVENTUALLY(tid);
    for (int i = 0; i < 20; i++)
        EQ(thread_state(tid), 'R');
    stop = 1;
    ZERO(pthread_join(thread, NULL));
}

TEST(stop_and_continue_are_not_seen)
{
    int *w = shared();
    struct timespec t = {0, 80000000};
    for (int i = 0; i < 3; i++) {
        int64_t before = now_ns(CLOCK_MONOTONIC);
        struct timespec until = after(i == 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC, 80);
        int op = i == 0 ? FUTEX_WAIT : FUTEX_WAIT_BITSET | (i == 2 ? FUTEX_CLOCK_REALTIME : 0);
        pid_t child = WHEN_ASLEEP({
            for (int j = 0; j < 3; j++) {
                kill(parent, SIGSTOP);
                EVENTUALLY(task_state(parent) == 'T');
                kill(parent, SIGCONT);
                EVENTUALLY(task_state(parent) == 'S');
            }
        });
        int64_t began = i == 0 ? now_ns(CLOCK_MONOTONIC) : before;
        FAILS(ETIMEDOUT, futex(w, op, 0, i == 0 ? &t : &until, NULL, -1));
        int64_t took = now_ns(CLOCK_MONOTONIC) - began;
        CHECK(took >= 79000000 && took < 4000000000);
        WAIT_OK(child);
    }
    pid_t child = WHEN_ASLEEP({
        kill(parent, SIGSTOP);
        EVENTUALLY(task_state(parent) == 'T');
        kill(parent, SIGCONT);
        EVENTUALLY(task_state(parent) == 'S');
        *w = 1;
        EQ(futex(w, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
    });
    EQ(futex(w, FUTEX_WAIT, 0, NULL, NULL, 0), 0);
    WAIT_OK(child);
}

TEST(woken_after_a_stop)
{
    int *w = shared();
    struct timespec t = {5, 0};
    pid_t child = WHEN_ASLEEP({
        kill(parent, SIGSTOP);
        EVENTUALLY(task_state(parent) == 'T');
        kill(parent, SIGCONT);
        EVENTUALLY(task_state(parent) == 'S');
        *w = 1;
        EQ(futex(w, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
    });
    EQ(futex(w, FUTEX_WAIT, 0, &t, NULL, 0), 0);
    WAIT_OK(child);
    // What changed while it was stopped is seen when it goes on.
    *w = 0;
    child = WHEN_ASLEEP({
        kill(parent, SIGSTOP);
        EVENTUALLY(task_state(parent) == 'T');
        *w = 1;
        EQ(futex(w, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
        kill(parent, SIGCONT);
    });
    FAILS(EAGAIN, futex(w, FUTEX_WAIT, 0, &t, NULL, 0));
    WAIT_OK(child);
}

TEST(ignored_signals_do_not_interrupt)
{
    int *w = shared();
    signal(SIGUSR2, SIG_IGN);
    struct timespec t = {0, 60000000};
    pid_t child = WHEN_ASLEEP({
        for (int i = 0; i < 10; i++) {
            kill(parent, SIGUSR2);
            kill(parent, SIGWINCH);
            kill(parent, SIGCHLD);
            sleep_ms(1);
        }
    });
    FAILS(ETIMEDOUT, futex(w, FUTEX_WAIT, 0, &t, NULL, 0));
    WAIT_OK(child);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    child = WHEN_ASLEEP({ kill(parent, SIGUSR1); }); // masked
    FAILS(ETIMEDOUT, futex(w, FUTEX_WAIT, 0, &t, NULL, 0));
    WAIT_OK(child);
}

TEST(a_handler_ends_timed_waits)
{
    int *w = shared();
    for (int restart = 0; restart < 2; restart++) {
        with(SIGUSR1, restart ? SA_RESTART : 0);
        struct timespec relative = {5, 0}, mono = after(CLOCK_MONOTONIC, 5000), real = after(CLOCK_REALTIME, 5000);
        pid_t child = WHEN_ASLEEP({ kill(parent, SIGUSR1); });
        FAILS(EINTR, futex(w, FUTEX_WAIT, 0, &relative, NULL, 0));
        WAIT_OK(child);
        child = WHEN_ASLEEP({ kill(parent, SIGUSR1); });
        FAILS(EINTR, futex(w, FUTEX_WAIT_BITSET, 0, &mono, NULL, -1));
        WAIT_OK(child);
        child = WHEN_ASLEEP({ kill(parent, SIGUSR1); });
        FAILS(EINTR, futex(w, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &real, NULL, -1));
        WAIT_OK(child);
        EQ(hits, 3);
        // After a stop, the handler still ends it.
        child = WHEN_ASLEEP({
            kill(parent, SIGSTOP);
            EVENTUALLY(task_state(parent) == 'T');
            kill(parent, SIGCONT);
            EVENTUALLY(task_state(parent) == 'S');
            kill(parent, SIGUSR1);
        });
        FAILS(EINTR, futex(w, FUTEX_WAIT, 0, &relative, NULL, 0));
        EQ(hits, 4);
        WAIT_OK(child);
    }
}

TEST(registers_survive)
{
    // A wait that is interrupted and taken up again changes no register but rax, rcx and r11.
    static int w;
    struct timespec t = {0, 30000000};
    pid_t child = WHEN_ASLEEP({
        kill(parent, SIGSTOP);
        EVENTUALLY(task_state(parent) == 'T');
        kill(parent, SIGCONT);
    });
    uint64_t in[] = {(uint64_t)&w, FUTEX_WAIT_PRIVATE, 0, (uint64_t)&t, 0x5555, 0x6666, 0x7777, 0x8888, 0x9999, 0xaaaa, 0xbbbb};
    uint64_t out[11];
    long result;
    asm volatile("push %%rbx\n push %%rbp\n"
                 "mov 0(%[in]), %%rdi\n mov 8(%[in]), %%rsi\n mov 16(%[in]), %%rdx\n mov 24(%[in]), %%r10\n mov 32(%[in]), %%r8\n"
                 "mov 40(%[in]), %%r9\n mov 48(%[in]), %%r12\n mov 56(%[in]), %%r13\n mov 64(%[in]), %%r14\n mov 72(%[in]), %%r15\n"
                 "push %[out]\n mov 80(%[in]), %%rbp\n mov $202, %%eax\n syscall\n pop %%rbx\n"
                 "mov %%rdi, 0(%%rbx)\n mov %%rsi, 8(%%rbx)\n mov %%rdx, 16(%%rbx)\n mov %%r10, 24(%%rbx)\n mov %%r8, 32(%%rbx)\n"
                 "mov %%r9, 40(%%rbx)\n mov %%r12, 48(%%rbx)\n mov %%r13, 56(%%rbx)\n mov %%r14, 64(%%rbx)\n mov %%r15, 72(%%rbx)\n"
                 "mov %%rbp, 80(%%rbx)\n pop %%rbp\n pop %%rbx\n"
                 : "=a"(result)
                 : [in] "a"(in), [out] "c"(out)
                 : "rdi", "rsi", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
    EQ(result, -ETIMEDOUT);
    CHECK(!memcmp(in, out, sizeof in));
    WAIT_OK(child);
}

TEST(signal_just_before_the_wait)
{
    // The handler changes the word: however the signal falls, the waiter must not sleep on.
    static volatile int w;
    static volatile pthread_t waiter;
    static volatile int round;
    void open_(int s)
    {
        (void)s;
        w = 1;
    }
    for (int timed = 0; timed < 2; timed++) {
        struct sigaction sa = {.sa_handler = open_, .sa_flags = timed ? 0 : SA_RESTART};
        OK(sigaction(SIGUSR1, &sa, NULL));
        waiter = pthread_self();
        round = 0;
        void *poke(void *arg)
        {
            for (int i = 1; i <= 300; i++) {
                while (round != i) {
                    if (i % 3 == 0)
                        sched_yield();
                }
                for (volatile int spin = 0; spin < i % 50 * 100; spin++) {
                }
                pthread_kill(waiter, SIGUSR1);
            }
            return arg;
        }
        pthread_t thread;
        ZERO(pthread_create(&thread, NULL, poke, NULL));
        struct timespec t = {9, 0};
        for (int i = 1; i <= 300; i++) {
            w = 0;
            round = i;
            while (!w) {
                long r = futex(&w, FUTEX_WAIT_PRIVATE, 0, timed ? &t : NULL, NULL, 0);
                CHECK(r == 0 || errno == EINTR || errno == EAGAIN);
            }
        }
        ZERO(pthread_join(thread, NULL));
    }
}

TEST(no_wake_is_lost)
{
    // Two threads take turns, under a hail of signals.
    static volatile int turn;
    with(SIGUSR1, SA_RESTART);
    static volatile int timed;
    void *body(void *arg)
    {
        int me = (int)(long)arg;
        struct timespec t = {9, 0};
        for (int i = 0; i < 2000; i++) {
            int seen;
            while ((seen = turn) % 2 != me)
                if (futex(&turn, FUTEX_WAIT_PRIVATE, seen, timed ? &t : NULL, NULL, 0) == -1 && errno == ETIMEDOUT)
                    FAIL("a wake was lost");
            __atomic_fetch_add(&turn, 1, __ATOMIC_SEQ_CST);
            futex(&turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        }
        return NULL;
    }
    for (timed = 0; timed < 2; timed++) {
        turn = 0;
        pthread_t a, b;
        ZERO(pthread_create(&a, NULL, body, (void *)0));
        ZERO(pthread_create(&b, NULL, body, (void *)1));
        for (int i = 0; i < 100 && turn < 3800; i++) {
            pthread_kill(a, SIGUSR1), pthread_kill(b, SIGUSR1);
            usleep(500);
        }
        ZERO(pthread_join(a, NULL));
        ZERO(pthread_join(b, NULL));
        EQ(turn, 4000);
    }
}

static int many_word, many_other;
static volatile int many_asleep, many_done;
static void *many_body(void *arg)
{
    __atomic_fetch_add(&many_asleep, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&many_other, __ATOMIC_SEQ_CST))
        futex(&many_word, FUTEX_WAIT_PRIVATE, 0, arg, NULL, 0);
    __atomic_fetch_add(&many_done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}
TEST(a_thousand_waiters_requeued)
{
    static pthread_t threads[1000];
    static struct timespec t = {9, 0};
    pthread_attr_t small;
    ZERO(pthread_attr_init(&small));
    ZERO(pthread_attr_setstacksize(&small, 32768));
    for (int i = 0; i < 1000; i++)
        ZERO(pthread_create(&threads[i], &small, many_body, i % 10 ? NULL : &t));
    EVENTUALLY(many_asleep == 1000);
    int moved = 0;
    for (int i = 0; i < 2000 && moved < 1000; i++) { // some have not begun to wait yet
        moved += OK(futex(&many_word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)2000, &many_other, 0));
        usleep(1000);
    }
    EQ(moved, 1000);
    EQ(futex(&many_word, FUTEX_WAKE_PRIVATE, 2000, NULL, NULL, 0), 0);
    many_other = 1;
    EQ(futex(&many_other, FUTEX_WAKE_PRIVATE, 2000, NULL, NULL, 0), 1000);
    for (int i = 0; i < 1000; i++)
        ZERO(pthread_join(threads[i], NULL));
    EQ(many_done, 1000);
}

static int exits(void *arg)
{
    if (arg)
        execl("/proc/self/exe", "self", "helper:fine", NULL);
    _exit(42);
}
TEST(clear_child_tid)
{
    // The word of CLONE_CHILD_CLEARTID is cleared at the end of a child that shares memory, by exit or exec, and of no other.
    int *w = shared();
    static char stack[65536] __attribute__((aligned(16)));
    for (int exec = 0; exec < 2; exec++) {
        int flags = CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD;
        pid_t child = OK(clone(exits, stack + sizeof stack, flags, (void *)(long)exec, NULL, NULL, w));
        EQ(*w, 0);
        WAIT_STATUS(child, EXITED(42));
    }
    pid_t child = OK(syscall(SYS_clone, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD, 0, NULL, w, 0));
    if (child == 0)
        _exit(0);
    WAIT_OK(child);
    EQ(*w, child);
}

TEST(waitv)
{
    static int words[130];
    struct futex_waitv v[130];
    for (int i = 0; i < 130; i++)
        v[i] = (struct futex_waitv){.uaddr = (uint64_t)&words[i], .flags = PRIVATE_32};
    if (syscall(SYS_futex_waitv, v, 0, 0, NULL, 0) == -1 && errno == ENOSYS)
        SKIP("no futex_waitv");
    FAILS(EINVAL, syscall(SYS_futex_waitv, v, 0, 0, NULL, 0));
    FAILS(EINVAL, syscall(SYS_futex_waitv, v, 129, 0, NULL, 0));
    words[3] = 1;
    FAILS(EAGAIN, syscall(SYS_futex_waitv, v, 128, 0, NULL, 0));
    words[3] = 0;
    struct timespec until = after(CLOCK_MONOTONIC, 20);
    int64_t before = now_ns(CLOCK_MONOTONIC);
    FAILS(ETIMEDOUT, syscall(SYS_futex_waitv, v, 128, 0, &until, CLOCK_MONOTONIC));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 15000000);
    until = after(CLOCK_REALTIME, 20);
    FAILS(ETIMEDOUT, syscall(SYS_futex_waitv, v, 128, 0, &until, CLOCK_REALTIME));
    // Woken through one of them; a stop and a handler with SA_RESTART do not end it.
    with(SIGUSR1, SA_RESTART);
    int *w = shared();
    v[5] = (struct futex_waitv){.uaddr = (uint64_t)w, .flags = FUTEX2_SIZE_U32};
    pid_t child = WHEN_ASLEEP({
        kill(parent, SIGSTOP);
        EVENTUALLY(task_state(parent) == 'T');
        kill(parent, SIGCONT);
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
        sleep_ms(5);
        EVENTUALLY(task_state(parent) == 'S');
        EQ(futex(w, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
    });
    until = after(CLOCK_MONOTONIC, 5000);
    EQ(syscall(SYS_futex_waitv, v, 10, 0, &until, CLOCK_MONOTONIC), 5);
    EQ(hits, 1);
    WAIT_OK(child);
    with(SIGUSR1, 0);
    child = WHEN_ASLEEP({ kill(parent, SIGUSR1); });
    FAILS(EINTR, syscall(SYS_futex_waitv, v, 10, 0, NULL, 0));
    WAIT_OK(child);
}

TEST(futex2)
{
    static int w, v;
    if (syscall(SYS_futex_wake, &w, 1, 1, PRIVATE_32) == -1 && errno == ENOSYS)
        SKIP("no futex_wake");
    EQ(syscall(SYS_futex_wake, &w, 1, 1, PRIVATE_32), 0);
    FAILS(EINVAL, syscall(SYS_futex_wake, &w, 1, 1, FUTEX2_PRIVATE)); // 8 bits: not there
    FAILS(EAGAIN, syscall(SYS_futex_wait, &w, 1, -1, PRIVATE_32, NULL, CLOCK_MONOTONIC));
    struct timespec until = after(CLOCK_MONOTONIC, 10);
    FAILS(ETIMEDOUT, syscall(SYS_futex_wait, &w, 0, -1, PRIVATE_32, &until, CLOCK_MONOTONIC));
    static volatile int done;
    static volatile pid_t tid;
    void *body(void *arg)
    {
        tid = syscall(SYS_gettid);
        EQ(syscall(SYS_futex_wait, &w, 0, -1, PRIVATE_32, NULL, CLOCK_MONOTONIC), 0);
        done = 1;
        return arg;
    }
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, body, NULL));
    EVENTUALLY(tid && thread_state(tid) == 'S');
    struct futex_waitv move[2] = {{.uaddr = (uint64_t)&w, .flags = PRIVATE_32}, {.uaddr = (uint64_t)&v, .flags = PRIVATE_32}};
    EQ(syscall(SYS_futex_requeue, move, 0, 0, 1), 1);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
    EQ(syscall(SYS_futex_wake, &v, -1, 1, PRIVATE_32), 1);
    ZERO(pthread_join(thread, NULL));
    EQ(done, 1);
}

TEST(clocks_and_flags)
{
    int w = 0;
    struct timespec t = {0, 20000000}, past = {1, 0};
    FAILS(ENOSYS, futex(&w, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT_BITSET, 0, &past, NULL, -1));
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past, NULL, -1));
    FAILS(EINVAL, futex(&w, FUTEX_WAIT_BITSET, 0, &past, NULL, 0));
    FAILS(EAGAIN, futex(&w, FUTEX_WAIT, 1, &t, NULL, 0));
    FAILS(EFAULT, futex((int *)8, FUTEX_WAIT, 1, &t, NULL, 0));
    FAILS(EINVAL, futex((int *)((char *)&w + 2), FUTEX_WAIT, 0, &t, NULL, 0));
    struct timespec far = {INT64_MAX, 0};
    with(SIGALRM, 0);
    struct itimerval alarm = {.it_value = {0, 20000}};
    OK(setitimer(ITIMER_REAL, &alarm, NULL));
    FAILS(EINTR, futex(&w, FUTEX_WAIT, 0, &far, NULL, 0));
}

TEST(exec_ends_waiting_threads)
{
    static int w;
    void *body(void *arg)
    {
        futex(&w, FUTEX_WAIT_PRIVATE, 0, arg, NULL, 0);
        return NULL;
    }
    pid_t child = FORK({
        static struct timespec t = {9, 0};
        pthread_t a, b;
        pthread_create(&a, NULL, body, NULL);
        pthread_create(&b, NULL, body, &t);
        usleep(3000);
        execl("/proc/self/exe", "self", "helper:fine", NULL);
    });
    WAIT_STATUS(child, EXITED(42));
}
HELPER(fine)
{
    (void)argc, (void)argv;
    return 42;
}

MAIN()
