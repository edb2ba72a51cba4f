// Priority-inheriting futexes: futex(2), pthread_mutexattr_setprotocol(3).
#include "check.h"
#include <linux/futex.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static long futex(volatile int *at, int op, long value, const void *t, volatile int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, t, at2, value3);
}
#define LOCK(at) futex(at, FUTEX_LOCK_PI, 0, NULL, NULL, 0)
#define UNLOCK(at) futex(at, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0)
#define TRYLOCK(at) futex(at, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0)
#define NOBODY 0x3fffff01 // above any thread id
static int *shared(void) { return OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)); }
static pid_t gettid_(void) { return syscall(SYS_gettid); }
static int load(volatile int *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }

// A thread that locks, notes its turn, holds the lock for a while and unlocks.
static int turn_of[16];
static volatile int turns;
struct locker {
    pthread_t thread;
    volatile int *at;
    int op, number, priority;
    const struct timespec *t;
    volatile pid_t tid;
    volatile long result;
    volatile int word; // right after it was locked
};
static void *locker_body(void *arg)
{
    struct locker *l = arg;
    if (l->priority) {
        struct sched_param p = {l->priority};
        OK(sched_setscheduler(0, SCHED_FIFO, &p));
    }
    l->tid = gettid_();
    l->result = futex(l->at, l->op, 0, l->t, NULL, 0) ? -errno : 0;
    l->word = load(l->at);
    if (l->result == 0) {
        turn_of[turns++] = l->number;
        OK(UNLOCK(l->at));
    }
    return NULL;
}
static void start(struct locker *l)
{
    ZERO(pthread_create(&l->thread, NULL, locker_body, l));
    EVENTUALLY(l->tid && thread_state(l->tid) == 'S');
}

TEST(without_contention)
{
    static int w;
    int me = gettid_();
    OK(LOCK(&w));
    EQ(w, me);
    FAILS(EDEADLK, LOCK(&w));
    FAILS(EDEADLK, TRYLOCK(&w));
    OK(UNLOCK(&w));
    EQ(w, 0);
    FAILS(EPERM, UNLOCK(&w));
    OK(TRYLOCK(&w));
    EQ(w, me);
    OK(UNLOCK(&w));
    w = FUTEX_OWNER_DIED;
    OK(LOCK(&w));
    EQ((unsigned)w, FUTEX_OWNER_DIED | me); // so that the new owner knows
    OK(UNLOCK(&w));
    w = FUTEX_WAITERS | me; // the kernel knows no waiters
    OK(UNLOCK(&w));
    EQ(w, 0);
}

TEST(errors)
{
    static int w;
    w = NOBODY;
    FAILS(ESRCH, LOCK(&w));
    FAILS(ESRCH, TRYLOCK(&w));
    FAILS(EPERM, UNLOCK(&w));
    EQ((unsigned)w, FUTEX_WAITERS | NOBODY);
    FAILS(EINVAL, LOCK((int *)((char *)&w + 1)));
    FAILS(EFAULT, LOCK((int *)8));
    FAILS(EFAULT, UNLOCK((int *)8));
    int *read_only = OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    FAILS(EFAULT, LOCK(read_only));
    struct timespec bad = {0, 1000000000};
    w = 0;
    FAILS(EINVAL, futex(&w, FUTEX_LOCK_PI, 0, &bad, NULL, 0));
    FAILS(EFAULT, futex(&w, FUTEX_LOCK_PI, 0, (void *)8, NULL, 0));
    FAILS(ENOSYS, futex(&w, FUTEX_LOCK_PI | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));
    FAILS(ENOSYS, futex(&w, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
}

TEST(is_handed_over)
{
    static int w;
    int me = gettid_();
    OK(LOCK(&w));
    struct locker a = {.at = &w, .op = FUTEX_LOCK_PI, .number = 1}, b = {.at = &w, .op = FUTEX_LOCK_PI, .number = 2};
    start(&a);
    EQ((unsigned)w, FUTEX_WAITERS | me);
    start(&b);
    FAILS(EDEADLK, LOCK(&w));
    OK(UNLOCK(&w));
    ZERO(pthread_join(a.thread, NULL));
    ZERO(pthread_join(b.thread, NULL));
    EQ(a.result, 0);
    EQ(b.result, 0);
    EQ((unsigned)a.word, FUTEX_WAITERS | a.tid);
    EQ((unsigned)b.word, FUTEX_WAITERS | b.tid);
    EQ(turn_of[0], 1);
    EQ(turn_of[1], 2);
    EQ(w, 0);
}

TEST(trylock_of_a_held_one)
{
    static int w;
    OK(LOCK(&w));
    int me = gettid_();
    void *body(void *arg)
    {
        FAILS(EAGAIN, TRYLOCK(&w));
        FAILS(EPERM, UNLOCK(&w));
        return arg;
    }
    pthread_t t;
    ZERO(pthread_create(&t, NULL, body, NULL));
    ZERO(pthread_join(t, NULL));
    EQ(w & FUTEX_TID_MASK, me);
    OK(UNLOCK(&w));
    EQ(w, 0);
}

TEST(timeouts)
{
    static int w;
    OK(LOCK(&w));
    for (int i = 0; i < 3; i++) {
        struct timespec t = after(i == 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME, 25);
        struct locker l = {.at = &w, .t = &t, .op = i == 0 ? FUTEX_LOCK_PI : i == 1 ? FUTEX_LOCK_PI2 : FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME};
        int64_t before = now_ns(CLOCK_MONOTONIC);
        ZERO(pthread_create(&l.thread, NULL, locker_body, &l));
        ZERO(pthread_join(l.thread, NULL));
        int64_t took = now_ns(CLOCK_MONOTONIC) - before;
        EQ(l.result, -ETIMEDOUT);
        CHECK(took >= 20000000 && took < 3000000000);
    }
    OK(UNLOCK(&w)); // the waiters are gone
    EQ(w, 0);
}

static volatile int hits;
static void hit(int signal)
{
    (void)signal;
    hits++;
}

TEST(signals_do_not_end_it)
{
    static int w;
    struct sigaction sa = {.sa_handler = hit};
    OK(sigaction(SIGUSR1, &sa, NULL));
    OK(LOCK(&w));
    struct timespec t = after(CLOCK_REALTIME, 5000);
    for (int timed = 0; timed < 2; timed++) {
        struct locker l = {.at = &w, .op = FUTEX_LOCK_PI, .t = timed ? &t : NULL};
        hits = 0;
        start(&l);
        ZERO(pthread_kill(l.thread, SIGUSR1));
        EVENTUALLY(hits == 1);
        EVENTUALLY(thread_state(l.tid) == 'S');
        EQ(l.word, 0);
        OK(UNLOCK(&w));
        ZERO(pthread_join(l.thread, NULL));
        EQ(l.result, 0);
        OK(LOCK(&w));
    }
}

TEST(by_priority)
{
    static int w;
    OK(LOCK(&w));
    int priority[] = {0, 2, 5, 3, 5, 0};
    struct locker l[6];
    for (int i = 0; i < 6; i++) {
        l[i] = (struct locker){.at = &w, .op = FUTEX_LOCK_PI, .number = i, .priority = priority[i]};
        start(&l[i]);
    }
    OK(UNLOCK(&w));
    for (int i = 0; i < 6; i++)
        ZERO(pthread_join(l[i].thread, NULL));
    int wanted[] = {2, 4, 3, 1, 0, 5};
    for (int i = 0; i < 6; i++)
        EQ(turn_of[i], wanted[i]);
}

TEST(a_circle_is_found)
{
    static int a, b;
    static volatile int ready;
    void *body(void *arg)
    {
        OK(LOCK(&b));
        ready = gettid_();
        OK(LOCK(&a)); // waits for main
        OK(UNLOCK(&a));
        OK(UNLOCK(&b));
        return arg;
    }
    OK(LOCK(&a));
    pthread_t t;
    ZERO(pthread_create(&t, NULL, body, NULL));
    EVENTUALLY(ready && thread_state(ready) == 'S');
    FAILS(EDEADLK, LOCK(&b));
    OK(UNLOCK(&a));
    ZERO(pthread_join(t, NULL));
    OK(LOCK(&b));
    OK(UNLOCK(&b));
}

TEST(an_owner_that_dies)
{
    // In another process, by exit, kill and exec; its word is on no robust list.
    for (int way = 0; way < 3; way++) {
        int *w = shared();
        pid_t owner = FORK({
            OK(LOCK(w));
            w[1] = 1;
            EVENTUALLY(w[3]);
            if (way == 0)
                _exit(0);
            if (way == 2)
                execl("/proc/self/exe", "self", "helper:fine", NULL);
            for (;;)
                pause();
        });
        EVENTUALLY(w[1]);
        pid_t waiters[2];
        for (int i = 0; i < 2; i++)
            waiters[i] = FORK({
                OK(LOCK(w));
                // The first finds out; the second has it from that one.
                if (__atomic_fetch_add(&w[2], 1, __ATOMIC_SEQ_CST) == 0)
                    EQ((unsigned)load(w), FUTEX_OWNER_DIED | FUTEX_WAITERS | gettid_());
                else
                    EQ((unsigned)load(w), FUTEX_WAITERS | gettid_());
                OK(UNLOCK(w));
            });
        EVENTUALLY(load(w) & FUTEX_WAITERS);
        for (int i = 0; i < 2; i++)
            EVENTUALLY(task_state(waiters[i]) == 'S');
        w[3] = 1;
        if (way == 1)
            kill(owner, SIGKILL);
        WAIT_STATUS(owner, way == 1 ? KILLED(SIGKILL) : way == 2 ? EXITED(42) : 0);
        WAIT_OK(waiters[0]);
        WAIT_OK(waiters[1]);
        EQ(w[0], 0);
    }
}
HELPER(fine)
{
    (void)argc, (void)argv;
    return 42;
}

static pthread_mutex_t *mutex(int robust, int shared_, int type)
{
    pthread_mutex_t *m = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, (shared_ ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    ZERO(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    ZERO(pthread_mutexattr_setrobust(&attributes, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED));
    ZERO(pthread_mutexattr_setpshared(&attributes, shared_ ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE));
    ZERO(pthread_mutexattr_settype(&attributes, type));
    ZERO(pthread_mutex_init(m, &attributes));
    return m;
}

TEST(robust_mutexes)
{
    for (int waits = 0; waits < 2; waits++) {
        pthread_mutex_t *m = mutex(1, 1, PTHREAD_MUTEX_NORMAL);
        volatile int *ready = (int *)(m + 1);
        pid_t owner = FORK({
            ZERO(pthread_mutex_lock(m));
            *ready = 1;
            for (;;)
                pause();
        });
        EVENTUALLY(*ready);
        pid_t waiter = FORK({
            if (!waits)
                EVENTUALLY(*ready == 2);
            EQ(pthread_mutex_lock(m), EOWNERDEAD);
            ZERO(pthread_mutex_consistent(m));
            ZERO(pthread_mutex_unlock(m));
            ZERO(pthread_mutex_lock(m));
            ZERO(pthread_mutex_unlock(m));
        });
        EVENTUALLY(task_state(waiter) == 'S');
        kill(owner, SIGKILL);
        WAIT_STATUS(owner, KILLED(SIGKILL));
        *ready = 2;
        WAIT_OK(waiter);
    }
}

TEST(a_robust_mutex_of_a_thread)
{
    pthread_mutex_t *m = mutex(1, 0, PTHREAD_MUTEX_NORMAL);
    void *body(void *arg)
    {
        ZERO(pthread_mutex_lock(m));
        sleep_ms(10);
        syscall(SYS_exit, 0);
        return arg;
    }
    for (int i = 0; i < 5; i++) {
        pthread_t t;
        ZERO(pthread_create(&t, NULL, body, NULL));
        EVENTUALLY(m->__data.__lock);
        EQ(pthread_mutex_lock(m), EOWNERDEAD);
        ZERO(pthread_mutex_consistent(m));
        ZERO(pthread_mutex_unlock(m));
        ZERO(pthread_join(t, NULL));
    }
}

TEST(error_checking_mutex)
{
    pthread_mutex_t *m = mutex(0, 0, PTHREAD_MUTEX_ERRORCHECK);
    ZERO(pthread_mutex_lock(m));
    EQ(pthread_mutex_lock(m), EDEADLK);
    void *body(void *arg)
    {
        struct timespec t = after(CLOCK_REALTIME, 10);
        EQ(pthread_mutex_trylock(m), EBUSY);
        EQ(pthread_mutex_timedlock(m, &t), ETIMEDOUT);
        t = after(CLOCK_MONOTONIC, 10);
        EQ(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &t), ETIMEDOUT);
        EQ(pthread_mutex_unlock(m), EPERM);
        return arg;
    }
    pthread_t t;
    ZERO(pthread_create(&t, NULL, body, NULL));
    ZERO(pthread_join(t, NULL));
    ZERO(pthread_mutex_unlock(m));
}

TEST(many_threads_and_processes)
{
    // Signals, timeouts and three processes of three threads each.
    pthread_mutex_t *m = mutex(0, 1, PTHREAD_MUTEX_NORMAL);
    volatile long *count = (long *)(m + 1);
    pid_t children[3];
    for (int i = 0; i < 3; i++)
        children[i] = FORK({
            struct sigaction sa = {.sa_handler = hit};
            OK(sigaction(SIGUSR1, &sa, NULL));
            void *body(void *arg)
            {
                for (int j = 0; j < 40; j++) {
                    struct timespec t = after(CLOCK_REALTIME, j % 3);
                    if (j % 4 == 3) {
                        int r = pthread_mutex_timedlock(m, &t);
                        CHECK(r == 0 || r == ETIMEDOUT);
                        if (r) {
                            j--;
                            continue;
                        }
                    } else
                        ZERO(pthread_mutex_lock(m));
                    long v = *count;
                    if (j % 8 == 0)
                        sched_yield();
                    *count = v + 1;
                    ZERO(pthread_mutex_unlock(m));
                }
                return arg;
            }
            pthread_t t[3];
            for (int j = 0; j < 3; j++)
                ZERO(pthread_create(&t[j], NULL, body, NULL));
            for (int j = 0; j < 30; j++) {
                pthread_kill(t[j % 3], SIGUSR1);
                usleep(300);
            }
            for (int j = 0; j < 3; j++)
                ZERO(pthread_join(t[j], NULL));
        });
    for (int i = 0; i < 3; i++)
        WAIT_OK(children[i]);
    EQ(*count, 360);
}

TEST(killed_in_the_middle)
{
    // Processes that die at any moment lose nobody the futex.
    int *w = shared();
    for (int round = 0; round < 12; round++) {
        pid_t children[3];
        for (int i = 0; i < 3; i++)
            children[i] = FORK({
                while (LOCK(w) == 0)
                    OK(UNLOCK(w));
                CHECK(errno == ESRCH || errno == EINVAL); // it was held by one that is dead, and nobody waited
                for (;;)
                    pause();
            });
        sleep_ms(1 + round % 3);
        for (int i = 0; i < 3; i++) {
            kill(children[i], SIGKILL);
            WAIT_STATUS(children[i], KILLED(SIGKILL));
        }
        // The word may name one of the dead: nobody waited then.
        long r = LOCK(w);
        CHECK(r == 0 || errno == ESRCH);
        if (r == 0)
            OK(UNLOCK(w));
        *w = 0;
    }
}

TEST(at_two_addresses)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600)), memory = OK(memfd_create("m", 0));
    OK(ftruncate(fd, 8192));
    OK(ftruncate(memory, 8192));
    for (int i = 0; i < 3; i++) {
        int *a, *b;
        if (i < 2) {
            int file = i ? memory : fd;
            a = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
            b = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 4096));
        } else {
            a = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
            b = OK(mremap(a + 1024, 0, 4096, MREMAP_MAYMOVE)); // a second map of the same
        }
        OK(LOCK(a + 1024));
        pid_t child = FORK({
            OK(LOCK(b));
            OK(UNLOCK(b));
        });
        EVENTUALLY(task_state(child) == 'S');
        EQ((unsigned)*b, FUTEX_WAITERS | gettid_());
        OK(UNLOCK(b));
        WAIT_OK(child);
        EQ(a[1024], 0);
    }
}

TEST(in_a_file_over_private_memory)
{
    int memory = OK(memfd_create("m", 0));
    OK(ftruncate(memory, 4096));
    int *a = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(mmap(a, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, 0));
    int *b = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
    OK(LOCK(a));
    pid_t child = FORK({
        OK(LOCK(b));
        OK(UNLOCK(b));
    });
    EVENTUALLY(task_state(child) == 'S');
    OK(UNLOCK(a));
    WAIT_OK(child);
    EQ(*a, 0);
}

// FUTEX_WAIT_REQUEUE_PI
static int from, to;
struct requeued {
    pthread_t thread;
    int priority, number;
    const struct timespec *t;
    volatile pid_t tid;
    volatile long result;
};
static void *requeued_body(void *arg)
{
    struct requeued *r = arg;
    if (r->priority) {
        struct sched_param p = {r->priority};
        OK(sched_setscheduler(0, SCHED_FIFO, &p));
    }
    r->tid = gettid_();
    r->result = futex(&from, FUTEX_WAIT_REQUEUE_PI, 0, r->t, &to, 0) ? -errno : 0;
    if (r->result == 0) {
        EQ(load(&to) & FUTEX_TID_MASK, gettid_());
        turn_of[turns++] = r->number;
        OK(UNLOCK(&to));
    }
    return NULL;
}
static void start_requeued(struct requeued *r)
{
    ZERO(pthread_create(&r->thread, NULL, requeued_body, r));
    EVENTUALLY(r->tid && thread_state(r->tid) == 'S');
}
#define REQUEUE(most) futex(&from, FUTEX_CMP_REQUEUE_PI, 1, (void *)(long)(most), &to, 0)

TEST(requeue_to_a_free_one)
{
    struct requeued r[3] = {{.number = 0}, {.number = 1, .priority = 4}, {.number = 2}};
    for (int i = 0; i < 3; i++)
        start_requeued(&r[i]);
    EQ(REQUEUE(INT_MAX), 3); // one has it, two wait for it
    for (int i = 0; i < 3; i++) {
        ZERO(pthread_join(r[i].thread, NULL));
        EQ(r[i].result, 0);
    }
    EQ(turn_of[0], 1);
    EQ(turn_of[1], 0);
    EQ(turn_of[2], 2);
    EQ(to, 0);
    EQ(REQUEUE(1), 0);
}

TEST(requeue_to_a_held_one)
{
    struct requeued r[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    OK(LOCK(&to));
    for (int i = 0; i < 4; i++)
        start_requeued(&r[i]);
    EQ(REQUEUE(1), 2); // as many as are woken or requeued
    EQ(REQUEUE(0), 1);
    EQ((unsigned)to, FUTEX_WAITERS | gettid_());
    OK(UNLOCK(&to));
    for (int i = 0; i < 3; i++) {
        ZERO(pthread_join(r[i].thread, NULL));
        EQ(r[i].result, 0);
        EQ(turn_of[i], i);
    }
    EQ(REQUEUE(INT_MAX), 1);
    ZERO(pthread_join(r[3].thread, NULL));
    EQ(to, 0);
}

TEST(requeue_errors)
{
    static int other;
    FAILS(EINVAL, futex(&from, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &from, 0));
    FAILS(EAGAIN, futex(&from, FUTEX_WAIT_REQUEUE_PI, 1, NULL, &to, 0));
    FAILS(EINVAL, futex(&from, FUTEX_CMP_REQUEUE_PI, 2, (void *)1, &to, 0));
    FAILS(EINVAL, futex(&from, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &from, 0));
    FAILS(EAGAIN, futex(&from, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &to, 1));
    struct requeued r = {.number = 0};
    start_requeued(&r);
    FAILS(EINVAL, futex(&from, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &other, 0)); // it waits for another
    to = r.tid;
    FAILS(EDEADLK, REQUEUE(1));
    to = NOBODY;
    FAILS(ESRCH, REQUEUE(1));
    to = 0;
    EQ(REQUEUE(1), 1);
    ZERO(pthread_join(r.thread, NULL));
    EQ(r.result, 0);
}

TEST(requeue_timeouts_and_signals)
{
    struct sigaction sa = {.sa_handler = hit};
    OK(sigaction(SIGUSR1, &sa, NULL));
    // On the first: a signal is not seen but for the value, which is compared again.
    struct timespec t = after(CLOCK_MONOTONIC, 30);
    struct requeued r = {.t = &t};
    ZERO(pthread_create(&r.thread, NULL, requeued_body, &r));
    ZERO(pthread_join(r.thread, NULL));
    EQ(r.result, -ETIMEDOUT);
    r = (struct requeued){0};
    start_requeued(&r);
    ZERO(pthread_kill(r.thread, SIGUSR1));
    EVENTUALLY(hits == 1);
    EVENTUALLY(thread_state(r.tid) == 'S');
    EQ(REQUEUE(1), 1);
    ZERO(pthread_join(r.thread, NULL));
    EQ(r.result, 0);
    // On the second: EAGAIN.
    OK(LOCK(&to));
    r = (struct requeued){0};
    start_requeued(&r);
    EQ(REQUEUE(1), 1);
    EVENTUALLY(thread_state(r.tid) == 'S');
    ZERO(pthread_kill(r.thread, SIGUSR1));
    ZERO(pthread_join(r.thread, NULL));
    EQ(r.result, -EAGAIN);
    t = after(CLOCK_MONOTONIC, 60);
    r = (struct requeued){.t = &t};
    start_requeued(&r);
    EQ(REQUEUE(1), 1);
    ZERO(pthread_join(r.thread, NULL));
    EQ(r.result, -ETIMEDOUT);
    OK(UNLOCK(&to));
    EQ(to, 0);
}

MAIN()
