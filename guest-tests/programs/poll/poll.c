// poll, ppoll, select, pselect, eventfd: poll(2), select(2), eventfd(2).
#include "check.h"
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int pair[2];

TEST(poll_states)
{
    OK(pipe(pair));
    struct pollfd p[] = {{pair[0], POLLIN, 0}, {pair[1], POLLOUT, 0}, {-1, POLLIN, 99}, {500, POLLIN, 0}};
    EQ(poll(p, 4, 0), 2);
    EQ(p[0].revents, 0);
    EQ(p[1].revents, POLLOUT);
    EQ(p[2].revents, 0);
    EQ(p[3].revents, POLLNVAL);
    EQ(write(pair[1], "a", 1), 1);
    EQ(poll(p, 2, -1), 2);
    EQ(p[0].revents, POLLIN);
    close(pair[1]);
    EQ(poll(p, 1, -1), 1);
    EQ(p[0].revents, POLLIN | POLLHUP);
    char c;
    EQ(read(pair[0], &c, 1), 1);
    EQ(poll(p, 1, -1), 1);
    EQ(p[0].revents, POLLHUP);
}

TEST(poll_files_are_always_ready)
{
    int file = OK(open("f", O_RDWR | O_CREAT, 0600)), null = OK(open("/dev/null", O_RDWR));
    struct pollfd p[] = {{file, POLLIN | POLLOUT, 0}, {null, POLLIN | POLLOUT, 0}};
    EQ(poll(p, 2, 0), 2);
    EQ(p[0].revents, POLLIN | POLLOUT);
    EQ(p[1].revents, POLLIN | POLLOUT);
}

TEST(poll_broken_pipe)
{
    OK(pipe(pair));
    close(pair[0]);
    struct pollfd p = {pair[1], POLLOUT, 0};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLOUT | POLLERR);
}

TEST(timeouts)
{
    int64_t before = now_ns(CLOCK_MONOTONIC);
    EQ(poll(NULL, 0, 15), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 15000000);
    struct timespec t = {0, 7000000};
    before = now_ns(CLOCK_MONOTONIC);
    EQ(ppoll(NULL, 0, &t, NULL), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 7000000);
    struct timeval v = {0, 9000};
    before = now_ns(CLOCK_MONOTONIC);
    EQ(select(0, NULL, NULL, NULL, &v), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 9000000);
    EQ(v.tv_usec, 0); // Linux tells what was left
    t.tv_nsec = -1;
    FAILS(EINVAL, ppoll(NULL, 0, &t, NULL));
    v.tv_sec = -1;
    FAILS(EINVAL, select(0, NULL, NULL, NULL, &v));
    FAILS(EFAULT, poll((void *)8, 1, 0));
    FAILS(EINVAL, poll(NULL, -1, 0));
}

TEST(precision)
{
    // A wait of 1 ms ends within some ms, not at the next tick of something slow.
    int64_t worst = 0;
    for (int i = 0; i < 10; i++) {
        int64_t before = now_ns(CLOCK_MONOTONIC);
        EQ(poll(NULL, 0, 1), 0);
        int64_t took = now_ns(CLOCK_MONOTONIC) - before;
        CHECK(took >= 1000000);
        if (took > worst)
            worst = took;
    }
    CHECK(worst < 500000000);
}

TEST(select_sets)
{
    OK(pipe(pair));
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(pair[0], &in);
    FD_SET(pair[1], &out);
    struct timeval none = {0, 0};
    EQ(select(pair[1] + 1, &in, &out, NULL, &none), 1);
    CHECK(!FD_ISSET(pair[0], &in) && FD_ISSET(pair[1], &out));
    EQ(write(pair[1], "a", 1), 1);
    FD_SET(pair[0], &in);
    EQ(select(pair[1] + 1, &in, &out, NULL, &none), 2);
    FD_ZERO(&in);
    FD_SET(50, &in); // a number within the table, but not open
    FAILS(EBADF, select(51, &in, NULL, NULL, &none));
    FAILS(EINVAL, select(-1, NULL, NULL, NULL, &none));
}

TEST(pselect_mask)
{
    sigset_t block, nothing_blocked;
    sigemptyset(&block), sigemptyset(&nothing_blocked);
    sigaddset(&block, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &block, NULL));
    void nothing(int signal) { (void)signal; }
    signal(SIGUSR1, nothing);
    raise(SIGUSR1);
    struct timespec t = {5, 0};
    FAILS(EINTR, pselect(0, NULL, NULL, NULL, &t, &nothing_blocked));
    EQ(t.tv_sec, 5); // the C library keeps it const
    raise(SIGUSR1);
    FAILS(EINTR, ppoll(NULL, 0, &t, &nothing_blocked));
    t.tv_sec = 0, t.tv_nsec = 1000000;
    raise(SIGUSR1);
    EQ(ppoll(NULL, 0, &t, &block), 0);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    EQ(sigismember(&now, SIGUSR1), 1);
}

TEST(wake_by_another_process)
{
    OK(pipe(pair));
    pid_t child = FORK({
        sleep_ms(3);
        EQ(write(pair[1], "a", 1), 1);
    });
    struct pollfd p = {pair[0], POLLIN, 0};
    EQ(poll(&p, 1, 5000), 1);
    WAIT_OK(child);
}

TEST(eventfd_counts)
{
    int fd = OK(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t v = 0;
    EQ(read(fd, &v, 8), 8);
    EQ(v, 3);
    FAILS(EAGAIN, read(fd, &v, 8));
    v = 5;
    EQ(write(fd, &v, 8), 8);
    EQ(write(fd, &v, 8), 8);
    EQ(read(fd, &v, 8), 8);
    EQ(v, 10);
    FAILS(EINVAL, read(fd, &v, 4));
    v = UINT64_MAX;
    FAILS(EINVAL, write(fd, &v, 8));
    v = UINT64_MAX - 1;
    EQ(write(fd, &v, 8), 8);
    v = 1;
    FAILS(EAGAIN, write(fd, &v, 8));
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN);
    FAILS(EINVAL, eventfd(0, 0x1234));
}

TEST(eventfd_semaphore)
{
    int fd = OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    uint64_t v;
    EQ(read(fd, &v, 8), 8);
    EQ(v, 1);
    EQ(read(fd, &v, 8), 8);
    EQ(v, 1);
    FAILS(EAGAIN, read(fd, &v, 8));
}

TEST(eventfd_blocks_both_ways)
{
    int fd = OK(eventfd(0, 0));
    uint64_t v = 7;
    pid_t child = FORK({
        sleep_ms(2);
        EQ(write(fd, &v, 8), 8);
        v = UINT64_MAX - 1;
        sleep_ms(2);
        EQ(write(fd, &v, 8), 8);
        v = 1;
        EQ(write(fd, &v, 8), 8); // waits until it is read
    });
    EQ(read(fd, &v, 8), 8);
    EQ(v, 7);
    EVENTUALLY(task_state(child) == 'S');
    sleep_ms(6);
    EQ(read(fd, &v, 8), 8);
    EQ(v, UINT64_MAX - 1);
    EQ(read(fd, &v, 8), 8);
    EQ(v, 1);
    WAIT_OK(child);
}

TEST(numbers_are_no_streams)
{
    int fd = OK(eventfd(1, EFD_NONBLOCK)), p[2], on = 1;
    struct pollfd is = {fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0};
    EQ(poll(&is, 1, 0), 1);
    EQ(is.revents, POLLIN | POLLOUT);
    OK(pipe(p));
    FAILS(EINVAL, splice(fd, NULL, p[1], NULL, 8, 0));
    EQ(write(p[1], "12345678", 8), 8);
    FAILS(EINVAL, splice(p[0], NULL, fd, NULL, 8, 0));
    FAILS(ENOTTY, ioctl(fd, FIOASYNC, &on));
    OK(fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC));
    EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
}

static volatile int masked_count;
static void count_masked(int signal) { (void)signal, masked_count++; }
// Also a call that does not wait lets in what its mask lets in.
TEST(mask_without_time)
{
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    signal(SIGUSR1, count_masked);
    struct timespec now = {0, 0};
    raise(SIGUSR1);
    FAILS(EINTR, ppoll(NULL, 0, &now, &none));
    EQ(masked_count, 1);
    raise(SIGUSR1);
    FAILS(EINTR, pselect(0, NULL, NULL, NULL, &now, &none));
    EQ(masked_count, 2);
    EQ(ppoll(NULL, 0, &now, &none), 0);
    // What is ready comes first, and the signal later.
    raise(SIGUSR1);
    struct pollfd null = {OK(open("/dev/null", O_RDWR)), POLLIN, 0};
    EQ(ppoll(&null, 1, &now, &none), 1);
    EQ(masked_count, 2);
    EQ(ppoll(&null, 0, &now, &usr1), 0);
    EQ(masked_count, 2);
}

MAIN()
