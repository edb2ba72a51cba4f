// Futexes that processes share, over every kind of shared memory: futex(2).
#include "check.h"
#include <linux/futex.h>
#include <sys/shm.h>

static long futex(volatile int *at, int op, long value, const void *t, volatile int *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, t, at2, value3);
}
#define WAKE(at, n) futex(at, FUTEX_WAKE, n, NULL, NULL, 0)
static const struct timespec five = {5, 0};

// Maps what `kind` names: a path, "fd:N" or "shm:N".
static int *map(const char *kind)
{
    if (!strncmp(kind, "shm:", 4))
        return OK(shmat(atoi(kind + 4), NULL, 0));
    int fd = strncmp(kind, "fd:", 3) ? OK(open(kind, O_RDWR)) : atoi(kind + 3);
    return OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}
// Another program: waits on word `argv[2]` (with a timeout if argv[3] is 1), then wakes the next word.
HELPER(waiter)
{
    (void)argc;
    int *w = map(argv[1]), n = atoi(argv[2]);
    while (!__atomic_load_n(&w[n], __ATOMIC_SEQ_CST))
        CHECK(futex(&w[n], FUTEX_WAIT, 0, *argv[3] == '1' ? &five : NULL, NULL, 0) == 0 || errno == EAGAIN);
    w[n + 1] = 1;
    WAKE(&w[n + 1], 1);
    return 0;
}
static void between_programs(const char *kind)
{
    int *w = map(kind);
    for (int timed = 0; timed < 2; timed++) {
        memset(w, 0, 8192);
        pid_t child = FORK({ exec_self("waiter", kind, "1025", timed ? "1" : "0", NULL); });
        int moved = 0;
        for (int i = 0; i < 5000 && !moved; i++) { // it sleeps; then it sleeps elsewhere
            usleep(500);
            moved = OK(futex(&w[1025], FUTEX_CMP_REQUEUE, 0, (void *)1, &w[7], 0));
        }
        EQ(moved, 1);
        EQ(WAKE(&w[1025], 1), 0);
        // The second wake is for the first word: by FUTEX_WAKE_OP, which sets that word.
        EQ(futex(&w[7], FUTEX_WAKE_OP, 1, (void *)1, &w[1025], FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 1)), 1);
        while (!__atomic_load_n(&w[1026], __ATOMIC_SEQ_CST))
            CHECK(futex(&w[1026], FUTEX_WAIT, 0, &five, NULL, 0) == 0 || errno == EAGAIN);
        WAIT_OK(child);
    }
}

static void of_file(const char *path)
{
    int fd = OK(open(path, O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 8192));
    between_programs(path);
    OK(unlink(path));
}
TEST(file) { of_file("f"); }
TEST(shm_folder)
{
    char path[64];
    sprintf(path, "/dev/shm/futex-%d", getpid());
    if (access("/dev/shm", W_OK))
        SKIP("no /dev/shm");
    of_file(path);
}
TEST(memfd)
{
    char kind[32];
    int fd = OK(memfd_create("m", 0));
    OK(ftruncate(fd, 8192));
    sprintf(kind, "fd:%d", fd);
    between_programs(kind);
}
TEST(system_v)
{
    char kind[32];
    int id = OK(shmget(IPC_PRIVATE, 8192, 0600));
    sprintf(kind, "shm:%d", id);
    between_programs(kind);
    OK(shmctl(id, IPC_RMID, NULL));
}

TEST(private_maps_share_nothing)
{
    int fd = OK(memfd_create("m", 0));
    OK(ftruncate(fd, 4096));
    int *own = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    int *shared = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    *own = 0; // its own page now
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        EQ(WAKE(shared, 10), 0);
        EQ(WAKE(own, 10), 0);
    });
    struct timespec t = {0, 30000000};
    FAILS(ETIMEDOUT, futex(own, FUTEX_WAIT, 0, &t, NULL, 0));
    WAIT_OK(child);
}

TEST(semaphores_and_barriers)
{
    struct {
        pthread_barrier_t barrier;
        pthread_rwlock_t lock;
        int count;
    } *s = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pthread_barrierattr_t b;
    ZERO(pthread_barrierattr_init(&b));
    ZERO(pthread_barrierattr_setpshared(&b, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_barrier_init(&s->barrier, &b, 4));
    pthread_rwlockattr_t l;
    ZERO(pthread_rwlockattr_init(&l));
    ZERO(pthread_rwlockattr_setpshared(&l, PTHREAD_PROCESS_SHARED));
    ZERO(pthread_rwlock_init(&s->lock, &l));
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = FORK({
            for (int j = 0; j < 20; j++) {
                ZERO(pthread_rwlock_wrlock(&s->lock));
                s->count++;
                ZERO(pthread_rwlock_unlock(&s->lock));
                int r = pthread_barrier_wait(&s->barrier);
                CHECK(r == 0 || r == PTHREAD_BARRIER_SERIAL_THREAD);
                ZERO(pthread_rwlock_rdlock(&s->lock));
                EQ(s->count, 4 * (j + 1));
                ZERO(pthread_rwlock_unlock(&s->lock));
                pthread_barrier_wait(&s->barrier);
            }
        });
    for (int i = 0; i < 4; i++)
        WAIT_OK(children[i]);
}

MAIN()
