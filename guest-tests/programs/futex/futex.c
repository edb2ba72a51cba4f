// Futexes in full: futex(2), get_robust_list(2).
#include "check.h"
#include <linux/futex.h>

static int *word; // private or shared by the case
static long futex(volatile int *at, int op, int value, const struct timespec *t, volatile int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, t, at2, value3);
}
#define WAKE(at, n) futex(at, FUTEX_WAKE, n, NULL, NULL, 0)

struct waiter {
    pthread_t thread;
    volatile int *at;
    int op, value, mask;
    volatile pid_t tid;
    volatile long result, done;
};
static void *wait_body(void *arg)
{
    struct waiter *w = arg;
    w->tid = syscall(SYS_gettid);
    long r = futex(w->at, w->op, w->value, NULL, NULL, w->mask);
    w->result = r == -1 ? -errno : r;
    w->done = 1;
    return NULL;
}
static void start(struct waiter *w, volatile int *at, int op, int mask)
{
    *w = (struct waiter){.at = at, .op = op, .value = *at, .mask = mask};
    ZERO(pthread_create(&w->thread, NULL, wait_body, w));
    EVENTUALLY(w->tid);
    char path[64], text[512];
    sprintf(path, "/proc/self/task/%d/stat", w->tid);
    for (int i = 0; i < 5000; i++) { // sleeps in the futex
        read_file(path, text, sizeof text);
        char *end = strrchr(text, ')');
        if (end && end[2] == 'S')
            break;
        usleep(200);
    }
    usleep(500);
}
static int *shared(void) { return OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)); }

TEST(errors)
{
    int w = 1;
    FAILS(EAGAIN, futex(&w, FUTEX_WAIT, 0, NULL, NULL, 0));
    FAILS(EFAULT, futex((int *)16, FUTEX_WAIT, 0, NULL, NULL, 0));
    FAILS(EINVAL, futex((int *)((char *)&w + 1), FUTEX_WAIT, 0, NULL, NULL, 0));
    FAILS(ENOSYS, futex(&w, 99, 0, NULL, NULL, 0));
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    FAILS(EINVAL, futex(&w, FUTEX_WAIT, 1, &bad, NULL, 0));
    FAILS(EINVAL, futex(&w, FUTEX_WAIT, 1, &negative, NULL, 0));
    FAILS(EINVAL, futex(&w, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0));
    EQ(WAKE(&w, 1), 0);
    FAILS(EFAULT, futex(&w, FUTEX_WAIT, 1, (void *)8, NULL, 0));
}

TEST(wait_and_wake)
{
    static int w;
    struct waiter a, b, c;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0), start(&b, &w, FUTEX_WAIT_PRIVATE, 0), start(&c, &w, FUTEX_WAIT_PRIVATE, 0);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
    EVENTUALLY(a.done + b.done + c.done == 1);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    EVENTUALLY(a.done && b.done && c.done);
    EQ(a.result, 0);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
}

TEST(timeouts)
{
    int w = 0;
    struct timespec t = {0, 15000000};
    int64_t before = now_ns(CLOCK_MONOTONIC);
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    int64_t took = now_ns(CLOCK_MONOTONIC) - before;
    CHECK(took >= 15000000 && took < 1000000000);
    // bitset waits take absolute times
    OK(clock_gettime(CLOCK_MONOTONIC, &t));
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, -1));
    OK(clock_gettime(CLOCK_REALTIME, &t));
    t.tv_nsec += 10000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    before = now_ns(CLOCK_MONOTONIC);
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &t, NULL, -1));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 9000000);
    t = (struct timespec){0, 0};
    FAILS(ETIMEDOUT, futex(&w, FUTEX_WAIT, 0, &t, NULL, 0));
}

TEST(bitset)
{
    static int w;
    struct waiter a, b;
    start(&a, &w, FUTEX_WAIT_BITSET_PRIVATE, 1), start(&b, &w, FUTEX_WAIT_BITSET_PRIVATE, 2);
    EQ(futex(&w, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 4), 0);
    EQ(futex(&w, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2), 1);
    EVENTUALLY(b.done);
    EQ(a.done, 0);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1); // plain wake: any bit
    EVENTUALLY(a.done);
}

TEST(requeue)
{
    static int w, v;
    struct waiter a, b, c;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0), start(&b, &w, FUTEX_WAIT_PRIVATE, 0), start(&c, &w, FUTEX_WAIT_PRIVATE, 0);
    EQ(futex(&w, FUTEX_REQUEUE_PRIVATE, 1, (void *)1, &v, 0), 2); // one woken, one moved
    EVENTUALLY(a.done + b.done + c.done == 1);
    EQ(futex(&v, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
    EVENTUALLY(a.done + b.done + c.done == 2);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
    EVENTUALLY(a.done + b.done + c.done == 3);
}

TEST(cmp_requeue)
{
    static int w, v;
    struct waiter a, b;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0), start(&b, &w, FUTEX_WAIT_PRIVATE, 0);
    FAILS(EAGAIN, futex(&w, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10, &v, 5));
    EQ(futex(&w, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10, &v, 0), 2);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
    EQ(futex(&v, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    EVENTUALLY(a.done && b.done);
}

TEST(wake_op)
{
    static int w, v;
    struct waiter a, b;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0), start(&b, &v, FUTEX_WAIT_PRIVATE, 0);
    // v += 3, and wake on v when it was 0 before
    EQ(futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &v, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)), 2);
    EQ(v, 3);
    EVENTUALLY(a.done && b.done);
    EQ(futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &v, FUTEX_OP(FUTEX_OP_OR, 4, FUTEX_OP_CMP_GT, 100)), 0);
    EQ(v, 7);
    EQ(futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &v, FUTEX_OP(FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_NE, 0)), 0);
    EQ(v, 6);
    EQ(futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &v, FUTEX_OP(FUTEX_OP_XOR, 2, FUTEX_OP_CMP_LT, 0)), 0);
    EQ(v, 4);
    EQ(futex(&w, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &v, FUTEX_OP(FUTEX_OP_SET, 9, FUTEX_OP_CMP_GE, 0)), 0);
    EQ(v, 9);
}

TEST(shared_across_fork)
{
    word = shared();
    pid_t child = FORK({
        while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
            futex(word, FUTEX_WAIT, 0, NULL, NULL, 0);
        word[1] = 5;
        WAKE(&word[1], 1);
    });
    EVENTUALLY(task_state(child) == 'S');
    word[0] = 1;
    EQ(WAKE(word, 10), 1);
    while (!__atomic_load_n(&word[1], __ATOMIC_SEQ_CST))
        futex(&word[1], FUTEX_WAIT, 0, NULL, NULL, 0);
    WAIT_OK(child);
}

TEST(shared_by_a_file_at_two_addresses)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 8192));
    int *a = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    int *b = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096));
    struct waiter w;
    start(&w, b, FUTEX_WAIT, 0);
    EQ(WAKE(a + 1024, 1), 1);
    EVENTUALLY(w.done);
}

TEST(private_is_not_shared)
{
    static int w;
    struct waiter a;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0);
    pid_t child = FORK({ EQ(futex(&w, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0); });
    WAIT_OK(child);
    EQ(a.done, 0);
    EQ(futex(&w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
}

static void nothing(int signal) { (void)signal; }

TEST(interrupted)
{
    static int w;
    struct sigaction sa = {.sa_handler = nothing};
    OK(sigaction(SIGUSR1, &sa, NULL));
    struct waiter a;
    start(&a, &w, FUTEX_WAIT_PRIVATE, 0);
    ZERO(pthread_kill(a.thread, SIGUSR1));
    EVENTUALLY(a.done);
    EQ(a.result, -EINTR);
}

TEST(kill_while_waiting)
{
    static int w;
    pid_t child = FORK({ futex(&w, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0); });
    EVENTUALLY(task_state(child) == 'S');
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(robust_mutex)
{
    pthread_mutex_t *m = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    ZERO(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    ZERO(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_mutex_init(m, &attributes));
    pid_t child = FORK({
        ZERO(pthread_mutex_lock(m));
        _exit(0); // dies with the mutex held
    });
    WAIT_OK(child);
    EQ(pthread_mutex_lock(m), EOWNERDEAD);
    ZERO(pthread_mutex_consistent(m));
    ZERO(pthread_mutex_unlock(m));
    // A waiter is woken by the owner's death.
    child = FORK({
        ZERO(pthread_mutex_lock(m));
        m[1].__data.__lock = 1;
        sleep_ms(10);
        kill(getpid(), SIGKILL);
    });
    EVENTUALLY(m[1].__data.__lock);
    EQ(pthread_mutex_lock(m), EOWNERDEAD);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(robust_mutex_of_a_thread)
{
    static pthread_mutex_t m;
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    ZERO(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    ZERO(pthread_mutex_init(&m, &attributes));
    pthread_t t;
    void *body(void *arg)
    {
        pthread_mutex_lock(&m);
        return arg;
    }
    ZERO(pthread_create(&t, NULL, body, NULL));
    ZERO(pthread_join(t, NULL));
    EQ(pthread_mutex_lock(&m), EOWNERDEAD);
}

TEST(robust_list_call)
{
    struct robust_list_head *head = NULL;
    size_t size = 0;
    OK(syscall(SYS_get_robust_list, 0, &head, &size));
    EQ(size, sizeof *head);
    CHECK(head);
    FAILS(EINVAL, syscall(SYS_set_robust_list, head, 8));
    FAILS(ESRCH, syscall(SYS_get_robust_list, 999999, &head, &size));
    struct robust_list_head endless = {.list.next = NULL};
    struct robust_list own = {.next = &own}; // a list that never ends must not hang the exit
    endless.list.next = &own;
    pid_t child = FORK({ OK(syscall(SYS_set_robust_list, &endless, sizeof endless)); });
    WAIT_OK(child);
    child = FORK({ OK(syscall(SYS_set_robust_list, (void *)16, sizeof endless)); });
    WAIT_OK(child);
}

TEST(priority_inheritance)
{
    pthread_mutex_t m;
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    int error = pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    ZERO(error);
    error = pthread_mutex_init(&m, &attributes);
    if (error == ENOTSUP)
        SKIP("no priority inheritance");
    ZERO(error);
    static volatile int count;
    void *body(void *arg)
    {
        for (int i = 0; i < 200; i++) {
            ZERO(pthread_mutex_lock(&m));
            int v = count;
            sched_yield();
            count = v + 1;
            ZERO(pthread_mutex_unlock(&m));
        }
        return arg;
    }
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        ZERO(pthread_create(&t[i], NULL, body, NULL));
    for (int i = 0; i < 3; i++)
        ZERO(pthread_join(t[i], NULL));
    EQ(count, 600);
}

TEST(condition_variable_of_processes)
{
    struct shared_state {
        pthread_mutex_t m;
        pthread_cond_t c;
        int turn;
    } *s = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_mutexattr_t ma;
    pthread_condattr_t ca;
    ZERO(pthread_mutexattr_init(&ma));
    ZERO(pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_condattr_init(&ca));
    ZERO(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_mutex_init(&s->m, &ma));
    ZERO(pthread_cond_init(&s->c, &ca));
    pid_t child = FORK({
        for (int i = 0; i < 300; i++) {
            pthread_mutex_lock(&s->m);
            while (s->turn != 1)
                pthread_cond_wait(&s->c, &s->m);
            s->turn = 0;
            pthread_cond_signal(&s->c);
            pthread_mutex_unlock(&s->m);
        }
    });
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&s->m);
        while (s->turn != 0)
            pthread_cond_wait(&s->c, &s->m);
        s->turn = 1;
        pthread_cond_signal(&s->c);
        pthread_mutex_unlock(&s->m);
    }
    WAIT_OK(child);
}

MAIN()
