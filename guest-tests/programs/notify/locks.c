// flock, POSIX and OFD record locks, leases: flock(2), fcntl(2).
#include "check.h"
#include <semaphore.h>
#include <sys/file.h>

static int make(void) { return OK(open("f", O_RDWR | O_CREAT, 0600)); }
static int lock(int fd, int command, short type, off_t start, off_t length)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &l);
}
static struct flock probe(int fd, short type, off_t start, off_t length)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    OK(fcntl(fd, F_GETLK, &l));
    return l;
}

TEST(flock_basics)
{
    int a = make(), b = make();
    OK(flock(a, LOCK_EX));
    FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
    FAILS(EWOULDBLOCK, flock(b, LOCK_SH | LOCK_NB));
    OK(flock(a, LOCK_SH)); // converts
    OK(flock(b, LOCK_SH | LOCK_NB));
    FAILS(EWOULDBLOCK, flock(a, LOCK_EX | LOCK_NB));
    OK(flock(b, LOCK_UN));
    OK(flock(a, LOCK_EX | LOCK_NB));
    int copy = OK(dup(a));
    close(a); // the copy keeps it
    FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
    close(copy);
    OK(flock(b, LOCK_EX | LOCK_NB));
    FAILS(EINVAL, flock(b, 77));
    FAILS(EBADF, flock(99, LOCK_EX));
    FAILS(EINVAL, flock(99, 77));
    FAILS(EBADF, flock(OK(open("f", 3)), LOCK_SH)); // neither readable nor writable
}

TEST(flock_is_shared_by_fork)
{
    int a = make();
    OK(flock(a, LOCK_EX));
    pid_t child = FORK({ OK(flock(a, LOCK_UN)); });
    WAIT_OK(child);
    OK(flock(make(), LOCK_EX | LOCK_NB));
}

TEST(flock_waits)
{
    int a = make();
    OK(flock(a, LOCK_EX));
    pid_t child = FORK({
        int own = make();
        OK(flock(own, LOCK_EX));
    });
    EVENTUALLY(task_state(child) == 'S');
    OK(flock(a, LOCK_UN));
    WAIT_OK(child);
}

TEST(posix_conflicts)
{
    int fd = make();
    OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
    pid_t parent = getpid();
    pid_t child = FORK({
        int own = make();
        FAILS(EAGAIN, lock(own, F_SETLK, F_RDLCK, 15, 1));
        OK(lock(own, F_SETLK, F_WRLCK, 0, 10));
        OK(lock(own, F_SETLK, F_WRLCK, 20, 5));
        struct flock l = probe(own, F_WRLCK, 0, 100);
        EQ(l.l_type, F_WRLCK);
        EQ(l.l_start, 10);
        EQ(l.l_len, 10);
        EQ(l.l_pid, parent);
        l = probe(own, F_WRLCK, 30, 0);
        EQ(l.l_type, F_UNLCK);
    });
    WAIT_OK(child);
    OK(lock(fd, F_SETLK, F_RDLCK, 0, 0)); // one's own never conflict
    child = FORK({
        int own = make();
        OK(lock(own, F_SETLK, F_RDLCK, 0, 0));
        FAILS(EAGAIN, lock(own, F_SETLK, F_WRLCK, 0, 1));
    });
    WAIT_OK(child);
}

TEST(posix_split_and_merge)
{
    int fd = make();
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 30));
    OK(lock(fd, F_SETLK, F_UNLCK, 10, 10));
    pid_t child = FORK({
        int own = make();
        OK(lock(own, F_SETLK, F_WRLCK, 10, 10));
        FAILS(EAGAIN, lock(own, F_SETLK, F_WRLCK, 9, 1));
        FAILS(EAGAIN, lock(own, F_SETLK, F_WRLCK, 20, 1));
    });
    WAIT_OK(child);
    OK(lock(fd, F_SETLK, F_RDLCK, 5, 20));
    child = FORK({
        int own = make();
        struct flock l = probe(own, F_WRLCK, 5, 100);
        EQ(l.l_type, F_RDLCK);
        EQ(l.l_start, 5);
        EQ(l.l_len, 20);
        l = probe(own, F_RDLCK, 0, 100);
        EQ(l.l_type, F_WRLCK);
        EQ(l.l_len, 5);
    });
    WAIT_OK(child);
}

TEST(posix_end_with_any_close)
{
    int fd = make(), other = make();
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    close(other); // the well-known trap
    pid_t child = FORK({ OK(lock(make(), F_SETLK, F_WRLCK, 0, 0)); });
    WAIT_OK(child);
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    child = FORK({ FAILS(EAGAIN, lock(fd, F_SETLK, F_WRLCK, 0, 0)); }); // not inherited
    WAIT_OK(child);
}

TEST(posix_waits_and_deadlock)
{
    int fd = make();
    OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
    pid_t child = FORK({
        int own = make();
        OK(lock(own, F_SETLK, F_WRLCK, 1, 1));
        OK(lock(own, F_SETLKW, F_WRLCK, 0, 1));
    });
    EVENTUALLY(task_state(child) == 'S');
    sleep_ms(2);
    FAILS(EDEADLK, lock(fd, F_SETLKW, F_WRLCK, 1, 1));
    OK(lock(fd, F_SETLK, F_UNLCK, 0, 1));
    WAIT_OK(child);
}

TEST(posix_released_at_exit)
{
    int ready[2];
    OK(pipe(ready));
    pid_t child = FORK({
        OK(lock(make(), F_SETLK, F_WRLCK, 0, 0));
        EQ(write(ready[1], "x", 1), 1);
        pause();
    });
    char c;
    EQ(read(ready[0], &c, 1), 1);
    FAILS(EAGAIN, lock(make(), F_SETLK, F_WRLCK, 0, 0));
    kill(child, SIGKILL);
    OK(lock(make(), F_SETLKW, F_WRLCK, 0, 0));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(errors)
{
    int fd = make(), ro = OK(open("f", O_RDONLY));
    FAILS(EBADF, lock(ro, F_SETLK, F_WRLCK, 0, 1));
    OK(lock(ro, F_SETLK, F_RDLCK, 0, 1));
    FAILS(EINVAL, lock(fd, F_SETLK, 77, 0, 1));
    FAILS(EINVAL, lock(fd, F_SETLK, F_WRLCK, -1, 1));
    OK(lock(fd, F_SETLK, F_WRLCK, 10, -5)); // 5 to 9
    pid_t child = FORK({
        struct flock l = probe(make(), F_WRLCK, 3, 20);
        EQ(l.l_start, 5);
        EQ(l.l_len, 5);
    });
    WAIT_OK(child);
}

TEST(open_file_locks)
{
    int a = make(), b = make();
    OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
    FAILS(EAGAIN, lock(b, F_OFD_SETLK, F_WRLCK, 5, 1)); // even in one process
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(fcntl(b, F_OFD_GETLK, &l));
    EQ(l.l_type, F_WRLCK);
    EQ(l.l_pid, -1);
    FAILS(EAGAIN, lock(b, F_SETLK, F_WRLCK, 0, 1)); // conflicts with plain ones, too
    int copy = OK(dup(a));
    close(make()); // a close of another open file does not matter
    close(a);
    FAILS(EAGAIN, lock(b, F_OFD_SETLK, F_WRLCK, 0, 1));
    close(copy);
    OK(lock(b, F_OFD_SETLK, F_WRLCK, 0, 1));
    l.l_pid = 5;
    FAILS(EINVAL, fcntl(b, F_OFD_SETLK, &l));
}

TEST(own_open_file_locks)
{
    int a = make(), b = make();
    struct flock l = {.l_type = F_UNLCK, .l_start = 0, .l_len = 100};
    FAILS(EINVAL, fcntl(a, F_GETLK, &l));
    if (fcntl(a, F_OFD_GETLK, &l)) // since Linux 6.6
        EQ(errno, EINVAL);
    else {
        EQ(l.l_type, F_UNLCK);
        OK(lock(a, F_OFD_SETLK, F_RDLCK, 10, 5));
        OK(lock(b, F_OFD_SETLK, F_RDLCK, 0, 5));
        OK(fcntl(a, F_OFD_GETLK, &l));
        EQ(l.l_type, F_RDLCK);
        EQ(l.l_start, 10);
        EQ(l.l_len, 5);
    }
}

TEST(leases)
{
    // Granted as on Linux, or refused in a way that programs know.
    int fd = OK(open("f", O_RDONLY | O_CREAT, 0600));
    int r = fcntl(fd, F_SETLEASE, F_RDLCK);
    CHECK(r == 0 || errno == EINVAL || errno == EAGAIN || errno == ENOLCK || errno == EACCES);
    FAILS(EINVAL, fcntl(fd, F_SETLEASE, 77));
    if (r == 0) {
        EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
        OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    }
}

// An open file description, and its lock with it, ends with the last descriptor and the last mapping, whatever threads that worked on it do next.
static sem_t worked, never;
static int locked;
static char *map;
static void *(*work)(void);
static void *work_and_sleep(void *unused)
{
    work();
    sem_post(&worked);
    sem_wait(&never);
    return unused;
}
static void start(void *(*what)(void))
{
    pthread_t thread;
    work = what;
    ZERO(pthread_create(&thread, NULL, work_and_sleep, NULL));
    sem_wait(&worked);
    sleep_ms(20);
}
static void map_locked(void)
{
    locked = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(locked, 65536));
    OK(flock(locked, LOCK_SH));
    map = OK(mmap(NULL, 65536, PROT_READ, MAP_SHARED, locked, 0));
}
static void is_free(void)
{
    OK(close(locked));
    int fd = OK(open("f", O_RDWR));
    OK(flock(fd, LOCK_EX | LOCK_NB));
}

static void *unmaps(void) { return (void *)(long)OK(munmap(map, 65536)); }
static void *replaces(void) { return OK(mmap(map, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)); }
static void *moves_over(void)
{
    void *other = OK(mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    void *moved = OK(mremap(other, 65536, 65536, MREMAP_MAYMOVE | MREMAP_FIXED, map));
    EQ(moved, map);
    return moved;
}
static void *advises(void) { return (void *)(long)OK(madvise(map, 65536, MADV_RANDOM)); }
static void *protects(void) { return (void *)(long)OK(mprotect(map, 4096, PROT_NONE)); }

#define ENDS_WHEN_A_THREAD(does) \
    TEST(a_flock_ends_when_a_thread_##does##_and_sleeps) { map_locked(); start(does); is_free(); }
ENDS_WHEN_A_THREAD(unmaps)
ENDS_WHEN_A_THREAD(replaces)
ENDS_WHEN_A_THREAD(moves_over)
#define ENDS_AFTER_A_THREAD(does) \
    TEST(a_flock_ends_with_a_mapping_that_a_sleeping_thread_##does) { map_locked(); start(does); OK(munmap(map, 65536)); is_free(); }
ENDS_AFTER_A_THREAD(advises)
ENDS_AFTER_A_THREAD(protects)
TEST(a_wrong_flock_is_seen_before_a_wrong_descriptor)
{
    FAILS(EINVAL, flock(99, LOCK_SH | LOCK_EX));
    FAILS(EBADF, flock(99, LOCK_SH));
}

TEST(an_open_file_is_asked_for_its_own_locks)
{
    int fd = make(), other = make();
    struct flock is = {F_WRLCK, SEEK_SET, 10, 5, 0};
    OK(fcntl(fd, F_OFD_SETLK, &is));
    is = (struct flock){F_UNLCK, SEEK_SET, 0, 0, 0};
    OK(fcntl(other, F_OFD_GETLK, &is));
    EQ(is.l_type, F_UNLCK);
    is = (struct flock){F_UNLCK, SEEK_SET, 0, 0, 0};
    if (fcntl(fd, F_OFD_GETLK, &is) && errno == EINVAL)
        SKIP("Linux before 6.5 does not tell");
    EQ(is.l_type, F_WRLCK);
    EQ(is.l_start, 10);
    EQ(is.l_len, 5);
}

MAIN()
