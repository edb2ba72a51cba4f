// Threads: creation and join in numbers, ids, thread-local storage, fork beside threads, 4,000 that wait: pthreads(7).
#include "check.h"
#include <linux/futex.h>

static void *return_arg(void *arg) { return arg; }

TEST(create_and_join)
{
    for (long i = 0; i < 200; i++) {
        pthread_t t;
        void *value;
        ZERO(pthread_create(&t, NULL, return_arg, (void *)i));
        ZERO(pthread_join(t, &value));
        EQ((long)value, i);
    }
}

static __thread int local = 7;
static pthread_barrier_t barrier;
static void *check_local(void *arg)
{
    EQ(local, 7);
    local = (long)arg;
    pthread_barrier_wait(&barrier);
    EQ(local, (long)arg);
    EQ(getpid(), getpid());
    CHECK(syscall(SYS_gettid) != getpid());
    return NULL;
}

TEST(thread_local_storage_and_ids)
{
    pthread_t t[20];
    ZERO(pthread_barrier_init(&barrier, NULL, 20));
    for (long i = 0; i < 20; i++)
        ZERO(pthread_create(&t[i], NULL, check_local, (void *)(i + 100)));
    for (int i = 0; i < 20; i++)
        ZERO(pthread_join(t[i], NULL));
    EQ(local, 7);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static void *count(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

TEST(mutex_keeps_count)
{
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        ZERO(pthread_create(&t[i], NULL, count, NULL));
    for (int i = 0; i < 8; i++)
        ZERO(pthread_join(t[i], NULL));
    EQ(counter, 16000);
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static void *ping(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&cond, &mutex);
        turn = !me;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

TEST(condition_ping_pong)
{
    pthread_t a, b;
    ZERO(pthread_create(&a, NULL, ping, (void *)0));
    ZERO(pthread_create(&b, NULL, ping, (void *)1));
    ZERO(pthread_join(a, NULL));
    ZERO(pthread_join(b, NULL));
}

static int gate;
static void *wait_at_gate(void *arg)
{
    while (!__atomic_load_n(&gate, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}
static void many(int n)
{
    pthread_t *t = calloc(n, sizeof *t);
    pthread_attr_t small;
    ZERO(pthread_attr_init(&small));
    ZERO(pthread_attr_setstacksize(&small, 65536));
    gate = 0;
    for (int i = 0; i < n; i++) {
        int error = pthread_create(&t[i], &small, wait_at_gate, NULL);
        if (error)
            FAIL("thread %d: %s", i, strerror(error));
    }
    // The others wait: calls still work, and quickly.
    for (int i = 0; i < 100; i++)
        CHECK(syscall(SYS_getppid) >= 0);
    char text[4096], line[40];
    read_file("/proc/self/status", text, sizeof text);
    sprintf(line, "Threads:\t%d\n", n + 1);
    CHECK(strstr(text, line));
    __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &gate, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (int i = 0; i < n; i++)
        ZERO(pthread_join(t[i], NULL));
}

TEST(five_hundred) { many(500); }
TEST(four_thousand_waiting) { many(4000); }

static int pipes[2];
static void *read_one(void *arg)
{
    char c;
    EQ(read(pipes[0], &c, 1), 1);
    return arg;
}

TEST(five_hundred_blocked_in_read)
{
    enum { N = 500 };
    OK(pipe(pipes));
    pthread_t t[N];
    pthread_attr_t small;
    ZERO(pthread_attr_init(&small));
    ZERO(pthread_attr_setstacksize(&small, 65536));
    for (int i = 0; i < N; i++)
        ZERO(pthread_create(&t[i], &small, read_one, NULL));
    for (int i = 0; i < N; i++)
        EQ(write(pipes[1], "x", 1), 1);
    for (int i = 0; i < N; i++)
        ZERO(pthread_join(t[i], NULL));
}

TEST(exit_ends_all_threads)
{
    pid_t child = FORK({
        for (int i = 0; i < 20; i++) {
            pthread_t t;
            OK(pipe(pipes));
            ZERO(pthread_create(&t, NULL, i % 2 ? read_one : wait_at_gate, NULL));
        }
        exit(12);
    });
    WAIT_STATUS(child, EXITED(12));
}

static void *exit_group_in_thread(void *arg) { _exit((long)arg); }

TEST(exit_group_from_a_thread)
{
    pid_t child = FORK({
        pthread_t t;
        ZERO(pthread_create(&t, NULL, exit_group_in_thread, (void *)33));
        for (;;)
            pause();
    });
    WAIT_STATUS(child, EXITED(33));
}

TEST(kill_ends_all_threads)
{
    pid_t child = FORK({
        pthread_t t;
        OK(pipe(pipes));
        for (int i = 0; i < 10; i++)
            ZERO(pthread_create(&t, NULL, i % 2 ? wait_at_gate : read_one, NULL));
        ZERO(pthread_create(&t, NULL, ({
            void *spin(void *arg) {
                for (volatile int i = 0;; i++) {
                }
                return arg;
            }
            spin;
        }), NULL));
        kill(getpid(), SIGKILL);
    });
    WAIT_STATUS(child, KILLED(SIGKILL));
}

static void *fork_a_lot(void *arg)
{
    for (int i = 0; i < 10; i++) {
        pid_t child = FORK({
            char text[4096];
            read_file("/proc/self/status", text, sizeof text);
            CHECK(strstr(text, "Threads:\t1\n")); // only the thread that forked
            char *p = malloc(1000);                // and the heap works
            memset(p, 1, 1000);
            free(p);
            _exit(i);
        });
        WAIT_STATUS(child, EXITED(i));
    }
    return arg;
}

TEST(fork_beside_threads)
{
    pthread_t t[4], busy[4];
    gate = 0;
    for (int i = 0; i < 4; i++)
        ZERO(pthread_create(&busy[i], NULL, wait_at_gate, NULL));
    for (int i = 0; i < 4; i++)
        ZERO(pthread_create(&t[i], NULL, fork_a_lot, NULL));
    for (int i = 0; i < 4; i++)
        ZERO(pthread_join(t[i], NULL));
}

static void *map_and_unmap(void *arg)
{
    for (int i = 0; i < 200; i++) {
        char *p = OK(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        p[0] = 1, p[65535] = 2;
        EQ(p[1000], 0);
        OK(munmap(p, 65536));
    }
    return arg;
}

TEST(mappings_from_many_threads)
{
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        ZERO(pthread_create(&t[i], NULL, map_and_unmap, NULL));
    for (int i = 0; i < 8; i++)
        ZERO(pthread_join(t[i], NULL));
}

static volatile int hits;
static pthread_t target;
static void on_signal(int signal)
{
    (void)signal;
    CHECK(pthread_equal(pthread_self(), target));
    __atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
}

TEST(signal_to_one_thread)
{
    signal(SIGUSR1, on_signal);
    pthread_t others[3];
    gate = 0;
    for (int i = 0; i < 3; i++)
        ZERO(pthread_create(&others[i], NULL, wait_at_gate, NULL));
    target = others[1];
    ZERO(pthread_kill(target, SIGUSR1));
    EVENTUALLY(hits == 1);
    FAILS(ESRCH, syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
    FAILS(EINVAL, syscall(SYS_tgkill, -1, 1, SIGUSR1));
    __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &gate, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (int i = 0; i < 3; i++)
        ZERO(pthread_join(others[i], NULL));
}

TEST(cancellation)
{
    pthread_t t;
    void *value;
    OK(pipe(pipes));
    ZERO(pthread_create(&t, NULL, read_one, NULL));
    sleep_ms(2);
    ZERO(pthread_cancel(t));
    ZERO(pthread_join(t, &value));
    CHECK(value == PTHREAD_CANCELED);
}

TEST(cpu_clock_of_a_thread)
{
    pthread_t t;
    gate = 0;
    ZERO(pthread_create(&t, NULL, wait_at_gate, NULL));
    clockid_t clock;
    ZERO(pthread_getcpuclockid(t, &clock));
    int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < before + 10000000) {
    }
    CHECK(now_ns(clock) < 10000000);
    __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &gate, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    ZERO(pthread_join(t, NULL));
}

TEST(set_tid_address)
{
    static int own;
    EQ(syscall(SYS_set_tid_address, &own), syscall(SYS_gettid));
}

TEST(setuid_reaches_all_threads)
{
    if (getuid())
        SKIP("not root");
    pthread_t t;
    OK(pipe(pipes));
    void *uid_after(void *arg)
    {
        char c;
        EQ(read(pipes[0], &c, 1), 1);
        EQ(getuid(), 1234);
        return arg;
    }
    ZERO(pthread_create(&t, NULL, uid_after, NULL));
    OK(setuid(1234)); // the C library interrupts each thread to do it there too
    EQ(write(pipes[1], "x", 1), 1);
    ZERO(pthread_join(t, NULL));
}

MAIN()
