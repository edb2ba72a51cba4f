// epoll: level, edge, oneshot, exclusive, nested: epoll(7), epoll_ctl(2), epoll_wait(2).
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static void add(int e, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, fd, &event));
}
static int ready(int e, int timeout)
{
    struct epoll_event events[16];
    return epoll_wait(e, events, 16, timeout);
}
static int pair[2];
static int make(uint32_t events)
{
    int e = OK(epoll_create1(EPOLL_CLOEXEC));
    OK(pipe(pair));
    add(e, pair[0], events);
    return e;
}

TEST(level)
{
    int e = make(EPOLLIN);
    EQ(ready(e, 0), 0);
    EQ(write(pair[1], "ab", 2), 2);
    EQ(ready(e, 0), 1);
    EQ(ready(e, 0), 1);
    char c;
    EQ(read(pair[0], &c, 1), 1);
    EQ(ready(e, 0), 1);
    EQ(read(pair[0], &c, 1), 1);
    EQ(ready(e, 0), 0);
}

TEST(edge)
{
    int e = make(EPOLLIN | EPOLLET);
    EQ(write(pair[1], "a", 1), 1);
    EQ(ready(e, 0), 1);
    EQ(ready(e, 0), 0); // told already
    EQ(write(pair[1], "b", 1), 1);
    EQ(ready(e, 0), 1); // a new write is a new edge
    char c[2];
    EQ(read(pair[0], c, 2), 2);
    EQ(ready(e, 0), 0);
}

TEST(edge_tells_what_is_there_when_added)
{
    int e = OK(epoll_create1(0));
    OK(pipe(pair));
    EQ(write(pair[1], "a", 1), 1);
    add(e, pair[0], EPOLLIN | EPOLLET);
    EQ(ready(e, 0), 1);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    OK(epoll_ctl(e, EPOLL_CTL_MOD, pair[0], &event));
    EQ(ready(e, 0), 1);
}

TEST(oneshot)
{
    int e = make(EPOLLIN | EPOLLONESHOT);
    EQ(write(pair[1], "a", 1), 1);
    EQ(ready(e, 0), 1);
    EQ(ready(e, 0), 0);
    EQ(write(pair[1], "b", 1), 1);
    EQ(ready(e, 0), 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    OK(epoll_ctl(e, EPOLL_CTL_MOD, pair[0], &event));
    EQ(ready(e, 0), 1);
    EQ(ready(e, 0), 0);
}

TEST(errors)
{
    int e = make(EPOLLIN);
    struct epoll_event event = {.events = EPOLLIN};
    FAILS(EEXIST, epoll_ctl(e, EPOLL_CTL_ADD, pair[0], &event));
    FAILS(ENOENT, epoll_ctl(e, EPOLL_CTL_MOD, pair[1], &event));
    FAILS(ENOENT, epoll_ctl(e, EPOLL_CTL_DEL, pair[1], NULL));
    FAILS(EBADF, epoll_ctl(e, EPOLL_CTL_ADD, 99, &event));
    FAILS(EBADF, epoll_ctl(99, EPOLL_CTL_ADD, pair[0], &event));
    FAILS(EINVAL, epoll_ctl(pair[0], EPOLL_CTL_ADD, pair[1], &event));
    FAILS(EINVAL, epoll_ctl(e, EPOLL_CTL_ADD, e, &event));
    FAILS(EINVAL, epoll_ctl(e, 77, pair[0], &event));
    int file = OK(open("f", O_RDWR | O_CREAT, 0600));
    FAILS(EPERM, epoll_ctl(e, EPOLL_CTL_ADD, file, &event)); // always ready: refused
    int dir = OK(open(".", O_RDONLY));
    FAILS(EPERM, epoll_ctl(e, EPOLL_CTL_ADD, dir, &event));
    FAILS(EINVAL, epoll_wait(e, &event, 0, 0));
    FAILS(EINVAL, epoll_wait(e, &event, -1, 0));
    FAILS(EINVAL, epoll_wait(pair[0], &event, 1, 0));
    FAILS(EINVAL, epoll_create(0));
    FAILS(EINVAL, epoll_create1(1));
    EQ(write(pair[1], "a", 1), 1);
    FAILS(EFAULT, epoll_wait(e, (void *)8, 1, 0));
    EQ(ready(e, 0), 1);
    OK(epoll_ctl(e, EPOLL_CTL_DEL, pair[0], NULL));
    EQ(ready(e, 0), 0);
}

TEST(data_comes_back)
{
    int e = OK(epoll_create1(0)), a = OK(eventfd(1, 0)), b = OK(eventfd(1, 0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = 0x1122334455667788};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, a, &event));
    event.data.u64 = 2, event.events = EPOLLIN;
    OK(epoll_ctl(e, EPOLL_CTL_ADD, b, &event));
    struct epoll_event seen[4];
    EQ(epoll_wait(e, seen, 4, 0), 2);
    int first = seen[0].data.u64 == 2 ? 1 : 0;
    CHECK(seen[first].data.u64 == 0x1122334455667788);
    EQ(seen[first].events, EPOLLIN | EPOLLOUT);
    EQ(seen[!first].events, EPOLLIN);
    EQ(epoll_wait(e, seen, 1, 0), 1);
    uint64_t x = seen[0].data.u64;
    EQ(epoll_wait(e, seen, 1, 0), 1);
    CHECK(seen[0].data.u64 != x); // in turn: nobody starves
}

TEST(hang_up_and_error)
{
    int e = make(EPOLLIN);
    add(e, pair[1], 0);
    close(pair[0]); // the reading end: its registration is gone, the writing end gets an error
    struct epoll_event seen[4];
    EQ(epoll_wait(e, seen, 4, 0), 1);
    EQ(seen[0].events, EPOLLERR);
    int s[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    add(e, s[0], EPOLLIN | EPOLLRDHUP);
    close(pair[1]);
    OK(shutdown(s[1], SHUT_WR));
    EQ(epoll_wait(e, seen, 4, 0), 1);
    EQ(seen[0].events, EPOLLIN | EPOLLRDHUP);
    close(s[1]);
    EQ(epoll_wait(e, seen, 4, 0), 1);
    EQ(seen[0].events, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

TEST(close_removes)
{
    int e = make(EPOLLIN);
    int copy = OK(dup(pair[0]));
    EQ(write(pair[1], "a", 1), 1);
    close(pair[0]);
    EQ(ready(e, 0), 1); // the open file is still there by its copy
    close(copy);
    EQ(ready(e, 0), 0);
}

TEST(nested)
{
    int inner = make(EPOLLIN), outer = OK(epoll_create1(0));
    add(outer, inner, EPOLLIN);
    EQ(ready(outer, 0), 0);
    EQ(write(pair[1], "a", 1), 1);
    EQ(ready(outer, 0), 1);
    struct pollfd p = {.fd = outer, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN);
    struct epoll_event event = {.events = EPOLLIN};
    FAILS(ELOOP, epoll_ctl(inner, EPOLL_CTL_ADD, outer, &event));
    int deep[8];
    deep[0] = outer;
    int n;
    for (n = 1; n < 8; n++) {
        deep[n] = OK(epoll_create1(0));
        if (epoll_ctl(deep[n], EPOLL_CTL_ADD, deep[n - 1], &event))
            break;
    }
    CHECK(n < 8);
    CHECK(errno == ELOOP || errno == EINVAL);
}

TEST(wakes_a_waiter)
{
    int e = make(EPOLLIN);
    pid_t child = FORK({
        sleep_ms(3);
        EQ(write(pair[1], "a", 1), 1);
    });
    EQ(ready(e, 5000), 1);
    WAIT_OK(child);
    int64_t before = now_ns(CLOCK_MONOTONIC);
    char c;
    EQ(read(pair[0], &c, 1), 1);
    EQ(ready(e, 20), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 20000000);
}

static int shared_e;
static volatile int woken;
static void *wait_once(void *arg)
{
    struct epoll_event event;
    int n = epoll_wait(shared_e, &event, 1, 300);
    if (n == 1)
        __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return arg;
}

TEST(edge_wakes_one_thread)
{
    shared_e = make(EPOLLIN | EPOLLET);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        ZERO(pthread_create(&t[i], NULL, wait_once, NULL));
    sleep_ms(20);
    EQ(write(pair[1], "a", 1), 1);
    for (int i = 0; i < 4; i++)
        ZERO(pthread_join(t[i], NULL));
    EQ(woken, 1);
}

TEST(exclusive)
{
    OK(pipe(pair));
    int e1 = OK(epoll_create1(0)), e2 = OK(epoll_create1(0));
    add(e1, pair[0], EPOLLIN | EPOLLEXCLUSIVE);
    add(e2, pair[0], EPOLLIN | EPOLLEXCLUSIVE);
    struct epoll_event event = {.events = EPOLLIN};
    FAILS(EINVAL, epoll_ctl(e1, EPOLL_CTL_MOD, pair[0], &event));
    event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    FAILS(EINVAL, epoll_ctl(e1, EPOLL_CTL_ADD, pair[1], &event));
    EQ(write(pair[1], "a", 1), 1);
    CHECK(ready(e1, 0) + ready(e2, 0) >= 1);
}

TEST(pwait_mask)
{
    int e = make(EPOLLIN);
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    void nothing(int signal) { (void)signal; }
    signal(SIGUSR1, nothing);
    raise(SIGUSR1);
    struct epoll_event event;
    FAILS(EINTR, epoll_pwait(e, &event, 1, 1000, &none)); // the pending signal gets through
    raise(SIGUSR1);
    EQ(epoll_pwait(e, &event, 1, 1, &block), 0);
    struct timespec t = {0, 2000000};
    long r = syscall(441 /* epoll_pwait2 */, e, &event, 1, &t, &block, 8);
    CHECK(r == 0 || (r == -1 && errno == ENOSYS));
}

TEST(writable_again)
{
    int s[2], e = OK(epoll_create1(0));
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    static char big[65536];
    while (write(s[0], big, sizeof big) > 0) {
    }
    EQ(errno, EAGAIN);
    add(e, s[0], EPOLLOUT | EPOLLET);
    EQ(ready(e, 0), 0);
    while (read(s[1], big, sizeof big) > 0) {
    }
    EQ(ready(e, 100), 1);
}

TEST(all_that_is_ready_at_once)
{
    struct rlimit l;
    OK(getrlimit(RLIMIT_NOFILE, &l));
    if (l.rlim_max < 3100)
        SKIP("too few descriptors");
    l.rlim_cur = l.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &l));
    int ep = OK(epoll_create1(0)), fd = OK(eventfd(1, 0));
    struct epoll_event event = {.events = EPOLLIN};
    static struct epoll_event got[4000];
    for (int i = 0; i < 3000; i++)
        OK(epoll_ctl(ep, EPOLL_CTL_ADD, OK(dup(fd)), &event));
    EQ(epoll_wait(ep, got, 4000, 0), 3000);
    EQ(epoll_wait(ep, got, 100, 0), 100);
}

TEST(many_descriptors)
{
    int e = OK(epoll_create1(0));
    struct rlimit l;
    OK(getrlimit(RLIMIT_NOFILE, &l));
    int n = l.rlim_cur > 900 ? 800 : 100, fds[800];
    for (int i = 0; i < n; i++) {
        fds[i] = OK(eventfd(0, 0));
        add(e, fds[i], EPOLLIN);
    }
    uint64_t one = 1;
    for (int i = 0; i < n; i += 10)
        EQ(write(fds[i], &one, 8), 8);
    static struct epoll_event seen[800];
    EQ(epoll_wait(e, seen, 800, 0), n / 10);
    for (int i = 0; i < n / 10; i++)
        EQ(read(seen[i].data.fd, &one, 8), 8);
    EQ(epoll_wait(e, seen, 800, 0), 0);
}

TEST(an_edge_is_of_ones_own_end)
{
    OK(pipe(pair));
    int e = OK(epoll_create1(0));
    add(e, pair[1], EPOLLIN | EPOLLOUT | EPOLLET);
    add(e, pair[0], EPOLLIN | EPOLLOUT | EPOLLET);
    EQ(ready(e, 0), 1);
    EQ(write(pair[1], "a", 1), 1);
    struct epoll_event is[2];
    EQ(epoll_wait(e, is, 2, 0), 1);
    EQ(is[0].data.fd, pair[0]);
    EQ(ready(e, 0), 0);
}

TEST(a_hang_up_needs_no_asking)
{
    OK(pipe(pair));
    int e = OK(epoll_create1(0));
    add(e, pair[0], EPOLLONESHOT);
    close(pair[1]);
    EQ(ready(e, 0), 1);
    EQ(ready(e, 0), 0);
}

TEST(exclusive_cannot_be_a_change)
{
    int e = OK(epoll_create1(0)), fd = OK(eventfd(0, 0));
    FAILS(EINVAL, epoll_ctl(e, EPOLL_CTL_MOD, fd, &(struct epoll_event){EPOLLIN | EPOLLEXCLUSIVE}));
    FAILS(ENOENT, epoll_ctl(e, EPOLL_CTL_MOD, fd, &(struct epoll_event){EPOLLIN}));
}

MAIN()
