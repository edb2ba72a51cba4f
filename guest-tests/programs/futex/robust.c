// Robust futexes when their owner ends in any way: set_robust_list(2), the kernel's robust-futexes text.
#include "check.h"
#include <linux/futex.h>
#include <stddef.h>

static long futex(volatile int *at, int op, int value, const struct timespec *t)
{
    return syscall(SYS_futex, at, op, value, t, NULL, 0);
}
static void *shared(void) { return OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)); }
static pthread_mutex_t *robust_mutex(void)
{
    pthread_mutex_t *m = shared();
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    ZERO(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    ZERO(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_mutex_init(m, &attributes));
    return m;
}
// The owner is dead: the mutex is had with EOWNERDEAD, made good and let go.
static void inherited(pthread_mutex_t *m)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 5;
    EQ(pthread_mutex_timedlock(m, &t), EOWNERDEAD);
    ZERO(pthread_mutex_consistent(m));
    ZERO(pthread_mutex_unlock(m));
}
static void spin(void)
{
    for (;;) {
    }
}
HELPER(exec_d)
{
    (void)argc, (void)argv;
    return 42;
}
static volatile int *ready(pthread_mutex_t *m) { return (int *)(m + 1); }

TEST(every_way_to_end)
{
    // 0 exit, 1 exit_group of a sibling, 2 exec, 3 exec of a sibling, 4 kill while asleep, 5 kill while computing, 6 abort,
    // 7 a fault, 8 exit of the leader alone, 9 kill while stopped, 10 kill by the sibling
    for (int way = 0; way <= 10; way++) {
        pthread_mutex_t *m = robust_mutex();
        void *sibling(void *arg)
        {
            while (!*ready(m))
                usleep(100);
            if (way == 1)
                syscall(SYS_exit_group, 0);
            if (way == 3)
                exec_self("exec_d", NULL);
            if (way == 10)
                kill(getpid(), SIGKILL);
            for (;;)
                pause();
            return arg;
        }
        pid_t child = FORK({
            pthread_t t;
            struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            if (way == 1 || way == 3 || way == 10)
                ZERO(pthread_create(&t, NULL, sibling, NULL));
            ZERO(pthread_mutex_lock(m));
            *ready(m) = 1;
            switch (way) {
            case 0: _exit(0);
            case 2: exec_self("exec_d", NULL); break;
            case 5: spin(); break;
            case 6: abort();
            case 7: *(volatile int *)16 = 1; break;
            case 8: syscall(SYS_exit, 0); break;
            case 3: spin(); break;
            default:
                for (;;)
                    pause();
            }
        });
        EVENTUALLY(*ready(m));
        if (way == 9) {
            kill(child, SIGSTOP);
            EVENTUALLY(task_state(child) == 'T');
        }
        if (way == 4 || way == 5 || way == 9)
            kill(child, SIGKILL);
        inherited(m);
        int status;
        EQ(waitpid(child, &status, 0), child);
        int wanted = way == 2 || way == 3 ? EXITED(42) : way == 6 ? SIGABRT : way == 7 ? SIGSEGV : way >= 4 && way != 8 ? SIGKILL : 0;
        EQ(status, wanted);
    }
}

TEST(a_waiter_is_woken)
{
    pthread_mutex_t *m = robust_mutex();
    pid_t owner = FORK({
        ZERO(pthread_mutex_lock(m));
        *ready(m) = 1;
        for (;;)
            pause();
    });
    EVENTUALLY(*ready(m));
    pid_t waiters[3];
    for (int i = 0; i < 3; i++) {
        waiters[i] = FORK({
            int r = pthread_mutex_lock(m);
            CHECK(r == 0 || r == EOWNERDEAD);
            if (r)
                ZERO(pthread_mutex_consistent(m));
            ZERO(pthread_mutex_unlock(m));
        });
        EVENTUALLY(task_state(waiters[i]) == 'S');
    }
    kill(owner, SIGKILL);
    for (int i = 0; i < 3; i++)
        WAIT_OK(waiters[i]);
    WAIT_STATUS(owner, KILLED(SIGKILL));
}

TEST(threads_of_a_killed_process)
{
    // Each of them holds some, and all of them keep locking while the kill comes.
    for (int round = 0; round < 5; round++) {
        pthread_mutex_t *m[8];
        for (int i = 0; i < 8; i++)
            m[i] = robust_mutex();
        void *body(void *arg)
        {
            pthread_mutex_t *mine = arg;
            for (;;) {
                ZERO(pthread_mutex_lock(mine));
                ZERO(pthread_mutex_unlock(mine));
            }
            return NULL;
        }
        pid_t child = FORK({
            pthread_t t[8];
            for (int i = 0; i < 8; i++)
                ZERO(pthread_create(&t[i], NULL, body, m[i]));
            for (;;)
                pause();
        });
        sleep_ms(3 + round);
        kill(child, SIGKILL);
        WAIT_STATUS(child, KILLED(SIGKILL));
        for (int i = 0; i < 8; i++) {
            int r = pthread_mutex_trylock(m[i]);
            CHECK(r == 0 || r == EOWNERDEAD);
            if (r)
                ZERO(pthread_mutex_consistent(m[i]));
            ZERO(pthread_mutex_unlock(m[i]));
            OK(munmap(m[i], 8192));
        }
    }
}

// Lists made by hand.
struct lock {
    struct robust_list link;
    int word;
};
struct hand {
    struct robust_list_head head;
    struct lock lock[4];
};
static struct hand *hand(void)
{
    struct hand *h = shared();
    h->head.list.next = &h->head.list;
    h->head.futex_offset = offsetof(struct lock, word);
    return h;
}
static void dies(struct hand *h)
{
    OK(syscall(SYS_set_robust_list, &h->head, sizeof h->head));
    _exit(0);
}

TEST(words_by_hand)
{
    struct hand *h = hand();
    h->head.list.next = &h->lock[0].link;
    h->lock[0].link.next = &h->lock[1].link;
    h->lock[1].link.next = &h->lock[2].link;
    h->lock[2].link.next = &h->head.list;
    h->head.list_op_pending = &h->lock[3].link;
    pid_t child = FORK({
        int me = getpid();
        h->lock[0].word = me | FUTEX_WAITERS;
        h->lock[1].word = me + 1; // not ours
        h->lock[2].word = me;
        h->lock[3].word = me;
        dies(h);
    });
    WAIT_OK(child);
    EQ((unsigned)h->lock[0].word, FUTEX_OWNER_DIED | FUTEX_WAITERS);
    EQ(h->lock[1].word, child + 1);
    EQ(h->lock[2].word, FUTEX_OWNER_DIED);
    EQ(h->lock[3].word, FUTEX_OWNER_DIED);
}

TEST(pending_and_unlocked_wakes)
{
    struct hand *h = hand();
    h->head.list_op_pending = &h->lock[0].link;
    pid_t waiter = FORK({
        struct timespec t = {5, 0};
        EQ(futex(&h->lock[0].word, FUTEX_WAIT, 0, &t), 0);
    });
    EVENTUALLY(task_state(waiter) == 'S');
    pid_t child = FORK({ dies(h); });
    WAIT_OK(child);
    WAIT_OK(waiter);
}

TEST(hostile_lists)
{
    struct hand *h = hand();
    h->lock[0].link.next = &h->lock[0].link; // never ends
    h->head.list.next = &h->lock[0].link;
    pid_t child = FORK({
        h->lock[0].word = getpid();
        dies(h);
    });
    WAIT_OK(child);
    EQ(h->lock[0].word, FUTEX_OWNER_DIED);
    // Ends in the void: what came before is released, what is pending is not looked at.
    h->head.list.next = &h->lock[1].link;
    h->lock[1].link.next = (void *)16;
    h->head.list_op_pending = &h->lock[2].link;
    child = FORK({
        h->lock[1].word = h->lock[2].word = getpid();
        dies(h);
    });
    WAIT_OK(child);
    EQ(h->lock[1].word, FUTEX_OWNER_DIED);
    EQ(h->lock[2].word, child);
    // Offsets that lead anywhere, unaligned words, read-only words.
    h->head.list_op_pending = NULL;
    h->lock[1].link.next = &h->head.list;
    for (int i = 0; i < 4; i++) {
        h->head.futex_offset = (long[]){1, -1, LONG_MIN, 0x7f00000000}[i];
        child = FORK({ dies(h); });
        WAIT_OK(child);
    }
    char *page = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    h->head.futex_offset = page - (char *)&h->lock[1].link;
    child = FORK({
        *(int *)page = getpid();
        OK(mprotect(page, 4096, PROT_READ));
        dies(h);
    });
    WAIT_OK(child);
    EQ(*(int *)page, child);
    // The list runs through all of memory.
    child = FORK({
        OK(syscall(SYS_set_robust_list, (void *)-8L, sizeof(struct robust_list_head)));
        _exit(0);
    });
    WAIT_OK(child);
}

TEST(long_lists_are_cut)
{
    int n = 3000;
    struct lock *locks = OK(mmap(NULL, n * sizeof *locks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    struct hand *h = hand();
    h->head.list.next = &locks[0].link;
    for (int i = 0; i < n; i++)
        locks[i].link.next = i + 1 < n ? &locks[i + 1].link : &h->head.list;
    pid_t child = FORK({
        for (int i = 0; i < n; i++)
            locks[i].word = getpid();
        dies(h);
    });
    WAIT_OK(child);
    EQ(locks[0].word, FUTEX_OWNER_DIED);
    EQ(locks[2047].word, FUTEX_OWNER_DIED);
    EQ(locks[2048].word, child);
    EQ(locks[n - 1].word, child);
}

TEST(a_child_of_fork_has_no_list)
{
    struct hand *h = hand();
    OK(syscall(SYS_set_robust_list, &h->head, sizeof h->head));
    int p[2];
    OK(pipe(p));
    pid_t child = OK(syscall(SYS_fork));
    if (child == 0) {
        struct robust_list_head *head = (void *)1;
        size_t size = 0;
        syscall(SYS_get_robust_list, 0, &head, &size);
        _exit(head == NULL && size == sizeof *head ? 0 : 1);
    }
    WAIT_OK(child);
    struct robust_list_head *head = NULL;
    size_t size = 0;
    OK(syscall(SYS_get_robust_list, getpid(), &head, &size));
    EQ(head, &h->head);
    FAILS(EFAULT, syscall(SYS_get_robust_list, 0, (void *)8, &size));
    FAILS(EFAULT, syscall(SYS_get_robust_list, 0, &head, (void *)8));
    FAILS(EINVAL, syscall(SYS_set_robust_list, &h->head, sizeof *head + 1));
}

// From one place, often enough for a sandbox to answer it there.
static __attribute__((noinline)) long set_list(void *head, size_t size)
{
    long result;
    asm volatile("mov $273, %%eax\n\tsyscall" : "=a"(result) : "D"(head), "S"(size) : "rcx", "r11", "memory");
    return result;
}

TEST(the_last_one_counts)
{
    struct hand *h = hand();
    struct robust_list_head *head = NULL;
    size_t size = 0;
    for (long n = 1; n <= 100; n++) {
        EQ(set_list((void *)(n * 8), sizeof *head), 0);
        EQ(set_list(&h->head, sizeof *head - 1), -EINVAL);
        EQ(set_list(&h->head, -1), -EINVAL);
        OK(syscall(SYS_get_robust_list, 0, &head, &size));
        EQ((long)head, n * 8);
    }
    h->head.list.next = &h->lock[0].link;
    h->lock[0].link.next = &h->head.list;
    pid_t child = FORK({
        h->lock[0].word = getpid();
        EQ(set_list(&h->head, sizeof *head), 0);
        _exit(0);
    });
    WAIT_OK(child);
    EQ((unsigned)h->lock[0].word, FUTEX_OWNER_DIED);
    pid_t idle = FORK({
        h->lock[0].word = getpid();
        EQ(set_list(&h->head, sizeof *head), 0);
        EQ(set_list(NULL, sizeof *head), 0);
        _exit(0);
    });
    WAIT_OK(idle);
    EQ(h->lock[0].word, idle);
}

TEST(of_a_thread)
{
    // A thread of the same process finds it, too, though the memory is private.
    static pthread_mutex_t m;
    pthread_mutexattr_t attributes;
    ZERO(pthread_mutexattr_init(&attributes));
    ZERO(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    ZERO(pthread_mutex_init(&m, &attributes));
    void *body(void *arg)
    {
        pthread_mutex_lock(&m);
        sleep_ms(5);
        syscall(SYS_exit, 0);
        return arg;
    }
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        ZERO(pthread_create(&t, NULL, body, NULL));
        EVENTUALLY(m.__data.__lock);
        inherited(&m);
        ZERO(pthread_join(t, NULL));
    }
}


// A list whose circle leaves the head out, as that of a copied head: the locks in it are let go all the same, and quickly.
TEST(circle_without_the_head)
{
    struct node {
        struct robust_list link;
        int word;
    } *n = shared();
    void *thread(void *arg)
    {
        static struct robust_list_head head;
        head = (struct robust_list_head){{&n[0].link}, offsetof(struct node, word), NULL};
        int tid = gettid();
        n[0].link.next = &n[1].link;
        n[1].link.next = &n[2].link;
        n[2].link.next = &n[1].link;
        for (int i = 0; i < 3; i++)
            n[i].word = tid;
        OK(syscall(SYS_set_robust_list, &head, sizeof head));
        return arg;
    }
    for (int round = 0; round < 200; round++) {
        pthread_t t;
        ZERO(pthread_create(&t, NULL, thread, NULL));
        ZERO(pthread_join(t, NULL));
        for (int i = 0; i < 3; i++)
            EQ(n[i].word, FUTEX_OWNER_DIED);
    }
}
MAIN()
