// POSIX message queues. mq_overview(7)
#include "check.h"
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/statfs.h>

static char queue_name[64];

static const char *name(void)
{
    snprintf(queue_name, sizeof queue_name, "/stockade-%d", getpid());
    return queue_name;
}

static mqd_t make(int flags, long messages, long size)
{
    struct mq_attr attr = {.mq_maxmsg = messages, .mq_msgsize = size};
    return OK(mq_open(name(), O_CREAT | O_EXCL | O_RDWR | flags, 0600, &attr));
}

static long attr_of(mqd_t q, char what)
{
    struct mq_attr a;
    OK(mq_getattr(q, &a));
    return what == 'm' ? a.mq_maxmsg : what == 's' ? a.mq_msgsize : what == 'c' ? a.mq_curmsgs : a.mq_flags;
}

static void expect(mqd_t q, const char *text, unsigned priority)
{
    char buffer[8192];
    unsigned p = 99;
    ssize_t count = OK(mq_receive(q, buffer, sizeof buffer, &p));
    buffer[count] = 0;
    STREQ(buffer, text);
    EQ(p, priority);
}

static long knob(const char *path)
{
    char text[40] = "";
    int fd = OK(open(path, O_RDONLY));
    OK(read(fd, text, sizeof text - 1));
    close(fd);
    return atol(text);
}

static void set_knob(const char *path, const char *value)
{
    int fd = OK(open(path, O_WRONLY));
    EQ(write(fd, value, strlen(value)), (long)strlen(value));
    close(fd);
}

TEST(names)
{
    FAILS(EINVAL, mq_open("x", O_RDONLY));
    FAILS(ENOENT, mq_open("/", O_RDONLY));
    FAILS(EACCES, mq_open("/a/b", O_RDONLY | O_CREAT, 0600, NULL));
    FAILS(EACCES, mq_open("/.", O_RDONLY));
    FAILS(EACCES, mq_open("/..", O_RDONLY));
    FAILS(ENOENT, mq_open("/there-is-none", O_RDONLY));
    FAILS(ENOENT, mq_unlink("/there-is-none"));
    char longest[300] = "/";
    memset(longest + 1, 'a', 255);
    mqd_t q = OK(mq_open(longest, O_CREAT | O_EXCL | O_RDWR, 0600, NULL));
    OK(mq_unlink(longest));
    OK(mq_close(q));
    longest[256] = 'a';
    FAILS(ENAMETOOLONG, mq_open(longest, O_CREAT | O_RDWR, 0600, NULL));
    FAILS(EFAULT, syscall(SYS_mq_open, 1L, O_RDONLY, 0, NULL));
    FAILS(EFAULT, syscall(SYS_mq_open, "x", O_RDONLY, 0, 1L));
}

TEST(open_makes_and_finds)
{
    mqd_t q = make(0, 3, 100);
    EQ(fcntl(q, F_GETFD), FD_CLOEXEC);
    FAILS(EEXIST, mq_open(name(), O_CREAT | O_EXCL | O_RDWR, 0600, NULL));
    mqd_t other = OK(mq_open(name(), O_CREAT | O_RDONLY, 0600, NULL)); // what is there keeps its attributes
    EQ(attr_of(other, 'm'), 3);
    EQ(attr_of(other, 's'), 100);
    FAILS(EBADF, mq_send(other, "a", 1, 0));
    mqd_t writer = OK(mq_open(name(), O_WRONLY));
    char text[100];
    FAILS(EBADF, mq_receive(writer, text, sizeof text, NULL));
    OK(mq_send(writer, "hello", 5, 0));
    OK(mq_unlink(name()));
    FAILS(ENOENT, mq_open(name(), O_RDONLY));
    expect(other, "hello", 0); // the queue lives as long as it is open
    FAILS(EBADF, mq_send(0, "a", 1, 0));
    FAILS(EBADF, mq_send(999, "a", 1, 0));
    FAILS(EBADF, mq_getattr(0, &(struct mq_attr){}));
    FAILS(EBADF, mq_notify(0, NULL));
    struct stat st;
    OK(fstat(q, &st));
    EQ(st.st_nlink, 0);
    EQ(st.st_size, 80);
    CHECK(S_ISREG(st.st_mode));
}

TEST(attributes_have_bounds)
{
    struct mq_attr bad[] = {{.mq_maxmsg = 0, .mq_msgsize = 1}, {.mq_maxmsg = 1, .mq_msgsize = 0},
                            {.mq_maxmsg = -1, .mq_msgsize = 1}, {.mq_maxmsg = 1, .mq_msgsize = -1},
                            {.mq_maxmsg = 65537, .mq_msgsize = 1}, {.mq_maxmsg = 1, .mq_msgsize = (16 << 20) + 1}};
    for (int i = 0; i < 6; i++)
        FAILS(EINVAL, mq_open(name(), O_CREAT | O_RDWR, 0600, &bad[i]));
    FAILS(ENOENT, mq_open(name(), O_RDWR));
    // CAP_SYS_RESOURCE goes beyond msg_max and msgsize_max.
    struct mq_attr beyond = {.mq_maxmsg = 20, .mq_msgsize = 10000};
    mqd_t q = mq_open(name(), O_CREAT | O_RDWR, 0600, &beyond);
    if (q != -1) {
        OK(mq_unlink(name()));
        OK(mq_close(q));
    } else {
        EQ(errno, EINVAL);
    
    }
    WAIT_OK(FORK({
        OK(setresgid(1000, 1000, 1000));
        OK(setresuid(1000, 1000, 1000));
        struct mq_attr many = {.mq_maxmsg = 11, .mq_msgsize = 1}, large = {.mq_maxmsg = 1, .mq_msgsize = 8193};
        FAILS(EINVAL, mq_open(name(), O_CREAT | O_RDWR, 0600, &many));
        FAILS(EINVAL, mq_open(name(), O_CREAT | O_RDWR, 0600, &large));
        mqd_t q = OK(mq_open(name(), O_CREAT | O_RDWR, 0600, NULL));
        EQ(attr_of(q, 'm'), 10);
        EQ(attr_of(q, 's'), 8192);
        OK(mq_unlink(name()));
    }));
}

TEST(rlimit_msgqueue_counts_what_queues_could_hold)
{
    WAIT_OK(FORK({
        OK(setresuid(4321, 4321, 4321));
        struct rlimit limit = {10 * (48 + 48 + 100) * 2, 819200};
        OK(setrlimit(RLIMIT_MSGQUEUE, &limit));
        struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 100};
        mqd_t a = OK(mq_open("/limited-a", O_CREAT | O_RDWR, 0600, &attr));
        OK(mq_open("/limited-b", O_CREAT | O_RDWR, 0600, &attr));
        attr.mq_maxmsg = attr.mq_msgsize = 1;
        FAILS(EMFILE, mq_open("/limited-c", O_CREAT | O_RDWR, 0600, &attr));
        OK(mq_unlink("/limited-a"));
        FAILS(EMFILE, mq_open("/limited-c", O_CREAT | O_RDWR, 0600, &attr)); // it is open yet
        OK(mq_close(a));
        OK(mq_open("/limited-c", O_CREAT | O_RDWR, 0600, &attr));
        OK(mq_unlink("/limited-b"));
        OK(mq_unlink("/limited-c"));
    }));
}

TEST(permissions)
{
    mqd_t q = make(0, 3, 100);
    OK(fchmod(q, 0640));
    const char *queue = strdup(name());
    WAIT_OK(FORK({
        OK(setresgid(1000, 1000, 1000));
        OK(setresuid(1000, 1000, 1000));
        FAILS(EACCES, mq_open(queue, O_RDONLY));
        FAILS(EACCES, mq_open(queue, O_CREAT | O_RDWR, 0600, NULL));
        int error = (mq_unlink(queue), errno);
        CHECK(error == EACCES || error == EPERM); // the folder is sticky
    }));
    OK(fchmod(q, 0644));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        OK(mq_open(queue, O_RDONLY));
        FAILS(EACCES, mq_open(queue, O_RDWR));
    }));
    OK(mq_unlink(queue));
    umask(027);
    q = OK(mq_open("/umasked", O_CREAT | O_RDWR, 0666, NULL));
    OK(mq_unlink("/umasked"));
    struct stat st;
    OK(fstat(q, &st));
    EQ(st.st_mode & 07777, 0640);
}

TEST(priorities_order_messages)
{
    mqd_t q = make(0, 10, 100);
    OK(mq_unlink(name()));
    OK(mq_send(q, "low", 3, 1));
    OK(mq_send(q, "high", 4, 32767));
    OK(mq_send(q, "low2", 4, 1));
    OK(mq_send(q, "high2", 5, 32767));
    OK(mq_send(q, "", 0, 5));
    EQ(attr_of(q, 'c'), 5);
    FAILS(EINVAL, mq_send(q, "x", 1, 32768));
    expect(q, "high", 32767);
    expect(q, "high2", 32767);
    expect(q, "", 5);
    expect(q, "low", 1);
    expect(q, "low2", 1);
    EQ(attr_of(q, 'c'), 0);
}

TEST(sizes)
{
    mqd_t q = make(0, 2, 10);
    OK(mq_unlink(name()));
    char text[10];
    FAILS(EMSGSIZE, mq_send(q, "12345678901", 11, 0));
    OK(mq_send(q, "1234567890", 10, 0));
    FAILS(EMSGSIZE, mq_receive(q, text, 9, NULL));
    FAILS(EFAULT, mq_send(q, (char *)1, 5, 0));
    EQ(mq_receive(q, text, 10, NULL), 10);
    CHECK(!memcmp(text, "1234567890", 10));
}

TEST(full_and_empty)
{
    mqd_t q = make(O_NONBLOCK, 2, 10);
    OK(mq_unlink(name()));
    EQ(attr_of(q, 'f'), O_NONBLOCK);
    char text[10];
    FAILS(EAGAIN, mq_receive(q, text, 10, NULL));
    OK(mq_send(q, "a", 1, 0));
    OK(mq_send(q, "b", 1, 0));
    FAILS(EAGAIN, mq_send(q, "c", 1, 0));
    struct mq_attr attr = {.mq_flags = 0, .mq_maxmsg = 77}, old;
    OK(mq_setattr(q, &attr, &old));
    EQ(old.mq_flags, O_NONBLOCK);
    EQ(old.mq_maxmsg, 2);
    EQ(attr_of(q, 'f'), 0);
    EQ(attr_of(q, 'm'), 2);
    EQ(fcntl(q, F_GETFL) & O_NONBLOCK, 0);
    attr.mq_flags = O_APPEND;
    FAILS(EINVAL, mq_setattr(q, &attr, NULL));
    struct timespec past = {1, 0}, bad = {1, 1000000000}, soon;
    FAILS(ETIMEDOUT, mq_timedsend(q, "c", 1, 0, &past));
    FAILS(EINVAL, mq_timedsend(q, "c", 1, 0, &bad));
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 30000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    FAILS(ETIMEDOUT, mq_timedsend(q, "c", 1, 0, &soon));
    EQ(mq_timedreceive(q, text, 10, NULL, &past), 1); // no wait, no timeout
    EQ(mq_receive(q, text, 10, NULL), 1);
    FAILS(ETIMEDOUT, mq_timedreceive(q, text, 10, NULL, &soon));
    FAILS(EINVAL, mq_timedreceive(q, text, 10, NULL, &bad));
    FAILS(EFAULT, syscall(SYS_mq_timedreceive, q, text, 10, NULL, 1L));
}

static int waits_in(pid_t pid, const char *state)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    char *end = count > 0 ? strrchr(text, ')') : NULL;
    return end && end[2] == *state;
}

TEST(receivers_are_served_in_the_order_of_coming)
{
    mqd_t q = make(0, 2, 10);
    OK(mq_unlink(name()));
    pid_t first = FORK({ expect(q, "1", 0); });
    while (!waits_in(first, "S"))
        usleep(1000);
    pid_t second = FORK({ expect(q, "2", 3); });
    while (!waits_in(second, "S"))
        usleep(1000);
    OK(mq_send(q, "1", 1, 0));
    OK(mq_send(q, "2", 1, 3));
    WAIT_OK(first);
    WAIT_OK(second);
}

TEST(senders_wait_for_room)
{
    mqd_t q = make(0, 1, 10);
    OK(mq_unlink(name()));
    OK(mq_send(q, "0", 1, 0));
    pid_t first = FORK({ OK(mq_send(q, "1", 1, 0)); });
    while (!waits_in(first, "S"))
        usleep(1000);
    pid_t second = FORK({ OK(mq_send(q, "2", 1, 0)); });
    while (!waits_in(second, "S"))
        usleep(1000);
    expect(q, "0", 0);
    WAIT_OK(first);
    expect(q, "1", 0);
    expect(q, "2", 0);
    WAIT_OK(second);
}

static void nothing(int sig)
{
    (void)sig;
}

TEST(signals_interrupt_and_restart)
{
    mqd_t q = make(0, 1, 10);
    OK(mq_unlink(name()));
    int ready[2];
    OK(pipe(ready));
    pid_t child = FORK({
        char text[10];
        struct sigaction action = {.sa_handler = nothing};
        sigaction(SIGUSR1, &action, NULL);
        action.sa_flags = SA_RESTART;
        sigaction(SIGUSR2, &action, NULL);
        OK(write(ready[1], "x", 1));
        FAILS(EINTR, mq_receive(q, text, 10, NULL));
        OK(write(ready[1], "x", 1));
        expect(q, "m", 0);
    });
    char c;
    OK(read(ready[0], &c, 1));
    while (!waits_in(child, "S"))
        usleep(1000);
    OK(kill(child, SIGUSR1));
    OK(read(ready[0], &c, 1));
    while (!waits_in(child, "S"))
        usleep(1000);
    OK(kill(child, SIGUSR2));
    usleep(20000);
    OK(mq_send(q, "m", 1, 0));
    WAIT_OK(child);
}

static short polled(mqd_t q)
{
    struct pollfd p = {.fd = q, .events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM};
    OK(poll(&p, 1, 0));
    return p.revents;
}

TEST(poll_and_epoll)
{
    mqd_t q = make(0, 1, 10);
    OK(mq_unlink(name()));
    EQ(polled(q), POLLOUT | POLLWRNORM);
    OK(mq_send(q, "0", 1, 0));
    EQ(polled(q), POLLIN | POLLRDNORM);
    expect(q, "0", 0);
    int ep = OK(epoll_create1(0));
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, q, &(struct epoll_event){.events = EPOLLIN}));
    pid_t child = FORK({
        usleep(20000);
        OK(mq_send(q, "1", 1, 0));
    });
    struct epoll_event e;
    EQ(epoll_wait(ep, &e, 1, 5000), 1);
    EQ(e.events, EPOLLIN);
    WAIT_OK(child);
    child = FORK({
        struct pollfd p = {.fd = q, .events = POLLOUT};
        EQ(poll(&p, 1, 5000), 1);
        EQ(p.revents, POLLOUT);
    });
    usleep(20000);
    expect(q, "1", 0);
    WAIT_OK(child);
}

static siginfo_t seen;
static volatile int seen_count;

static void note(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    seen = *info;
    seen_count++;
}

TEST(notification_by_signal)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    OK(sigaction(SIGUSR1, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 4711};
    OK(mq_notify(q, &event));
    FAILS(EBUSY, mq_notify(q, &event));
    WAIT_OK(FORK({
        FAILS(EBUSY, mq_notify(q, &event));
        OK(mq_notify(q, NULL)); // others' registrations stay
    }));
    FAILS(EBUSY, mq_notify(q, &event));
    pid_t child = FORK({ OK(mq_send(q, "x", 1, 0)); });
    WAIT_OK(child);
    EVENTUALLY(seen_count == 1);
    EQ(seen.si_code, SI_MESGQ);
    EQ(seen.si_pid, child);
    EQ(seen.si_uid, 0);
    EQ(seen.si_value.sival_int, 4711);
    OK(mq_send(q, "y", 1, 0)); // told once only
    EQ(seen_count, 1);
    OK(mq_notify(q, &event)); // not for messages that are there
    OK(mq_send(q, "z", 1, 0));
    EQ(seen_count, 1);
    for (const char *m = "xyz"; *m; m++)
        expect(q, (char[]){*m, 0}, 0);
    OK(mq_send(q, "w", 1, 0));
    EVENTUALLY(seen_count == 2);
    EQ(seen.si_pid, getpid());
    expect(q, "w", 0);
    OK(mq_notify(q, &event));
    OK(mq_notify(q, NULL));
    OK(mq_send(q, "w", 1, 0));
    EQ(seen_count, 2);
    expect(q, "w", 0);
    event.sigev_signo = 65;
    FAILS(EINVAL, mq_notify(q, &event));
    event.sigev_notify = 99;
    FAILS(EINVAL, syscall(SYS_mq_notify, q, &event));
    event.sigev_notify = SIGEV_NONE;
    OK(mq_notify(q, &event));
    FAILS(EBUSY, mq_notify(q, &event));
}

TEST(a_receiver_that_waits_comes_before_notification)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    OK(sigaction(SIGUSR1, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    OK(mq_notify(q, &event));
    pid_t child = FORK({ expect(q, "x", 0); });
    while (!waits_in(child, "S"))
        usleep(1000);
    OK(mq_send(q, "x", 1, 0));
    WAIT_OK(child);
    EQ(seen_count, 0);
    OK(mq_send(q, "y", 1, 0));
    EVENTUALLY(seen_count == 1);
}

TEST(closing_and_ending_unregister)
{
    mqd_t q = make(0, 5, 10);
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    mqd_t other = OK(mq_open(name(), O_RDWR));
    OK(mq_notify(q, &event));
    OK(mq_close(other)); // any descriptor of the queue
    OK(mq_notify(q, &event));
    OK(mq_notify(q, NULL));
    WAIT_OK(FORK({ OK(mq_notify(q, &event)); }));
    OK(mq_notify(q, &event));
    OK(mq_unlink(name()));
}

static void threaded(union sigval value)
{
    *(volatile int *)value.sival_ptr = 1;
}

TEST(notification_by_thread)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    volatile int done = 0;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD,
                             .sigev_notify_function = threaded,
                             .sigev_value.sival_ptr = (void *)&done};
    OK(mq_notify(q, &event));
    OK(mq_send(q, "x", 1, 0));
    EVENTUALLY(done);
}

TEST(the_kernel_refuses_what_is_no_netlink_socket)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    char cookie[32];
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_signo = 999, .sigev_value.sival_ptr = cookie};
    FAILS(EBADF, syscall(SYS_mq_notify, q, &event));
    event.sigev_signo = q;
    FAILS(ENOTSOCK, syscall(SYS_mq_notify, q, &event));
    event.sigev_signo = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(EINVAL, syscall(SYS_mq_notify, q, &event));
    event.sigev_signo = OK(socket(AF_NETLINK, SOCK_RAW, 0));
    event.sigev_value.sival_ptr = (void *)8;
    FAILS(EFAULT, syscall(SYS_mq_notify, q, &event));
    event.sigev_value.sival_ptr = cookie;
    FAILS(EBADF, syscall(SYS_mq_notify, 999, &event));
    OK(syscall(SYS_mq_notify, q, &event));
    FAILS(EBUSY, syscall(SYS_mq_notify, q, &event));
}

// What a C library makes threads of: the cookie comes back with its last byte changed.
TEST(cookies)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    int fd = OK(socket(AF_NETLINK, SOCK_RAW, 0));
    char cookie[32], got[40], line[100] = "", wanted[100];
    memset(cookie, 'c', sizeof cookie);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_signo = fd, .sigev_value.sival_ptr = cookie};
    OK(syscall(SYS_mq_notify, q, &event));
    cookie[0] = 'd'; // what was there then is told
    FAILS(EAGAIN, recv(fd, got, sizeof got, MSG_DONTWAIT));
    OK(pread(q, line, sizeof line, 0));
    snprintf(wanted, sizeof wanted, "QSIZE:0          NOTIFY:2     SIGNO:0     NOTIFY_PID:%-6d\n", getpid());
    STREQ(line, wanted);
    OK(mq_send(q, "x", 1, 0));
    EQ(recv(fd, got, sizeof got, MSG_DONTWAIT), 32);
    CHECK(got[0] == 'c' && got[30] == 'c' && got[31] == 1);
    OK(mq_send(q, "y", 1, 0)); // told once only
    FAILS(EAGAIN, recv(fd, got, sizeof got, MSG_DONTWAIT));
    OK(syscall(SYS_mq_notify, q, &event));
    OK(syscall(SYS_mq_notify, q, NULL));
    EQ(recv(fd, got, sizeof got, MSG_DONTWAIT), 32);
    CHECK(got[0] == 'd' && got[31] == 2); // the registration is gone
    OK(syscall(SYS_mq_notify, q, &event));
    OK(close(q));
    EQ(recv(fd, got, sizeof got, MSG_DONTWAIT), 32);
    EQ(got[31], 2);
}

TEST(the_file_tells_of_the_queue)
{
    mqd_t q = make(0, 5, 10);
    OK(mq_unlink(name()));
    char line[100] = "";
    EQ(pread(q, line, sizeof line, 0), 60);
    STREQ(line, "QSIZE:0          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
    OK(mq_send(q, "abc", 3, 0));
    OK(mq_send(q, "de", 2, 9));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    OK(mq_notify(q, &event));
    char wanted[100];
    snprintf(wanted, sizeof wanted, "QSIZE:5          NOTIFY:0     SIGNO:12    NOTIFY_PID:%-6d\n", getpid());
    EQ(read(q, line, sizeof line), 60);
    STREQ(line, wanted);
    EQ(read(q, line, sizeof line), 0);
    FAILS(EINVAL, write(q, "x", 1));
}

TEST(mounted)
{
    OK(mkdir("mq", 0700));
    OK(mount("mqueue", "mq", "mqueue", 0, NULL));
    struct statfs fs;
    OK(statfs("mq", &fs));
    EQ(fs.f_type, 0x19800202);
    struct stat st;
    OK(stat("mq", &st));
    EQ(st.st_mode & 07777, 01777);
    mqd_t q = make(0, 4, 12);
    char path[100], line[100];
    snprintf(path, sizeof path, "mq%s", name());
    OK(stat(path, &st));
    EQ(st.st_mode, S_IFREG | 0600);
    EQ(st.st_size, 80);
    EQ(st.st_nlink, 1);
    int fd = OK(open(path, O_RDWR)), first = fd; // what is opened by its path is a queue as well
    OK(mq_send(fd, "x", 1, 0));
    EQ(read(fd, line, sizeof line), 60);
    EQ(attr_of(fd, 'm'), 4);
    OK(unlink(path));
    FAILS(ENOENT, mq_open(name(), O_RDONLY));
    fd = OK(open(path, O_CREAT | O_RDWR, 0640)); // and what is made there, too
    EQ(attr_of(fd, 'm'), knob("/proc/sys/fs/mqueue/msg_default"));
    mqd_t again = OK(mq_open(name(), O_RDONLY));
    OK(mq_send(fd, "hello", 5, 7));
    expect(again, "hello", 7);
    FAILS(EPERM, mkdir("mq/folder", 0700));
    FAILS(EPERM, symlink("a", "mq/link"));
    FAILS(EPERM, link(path, "mq/other"));
    FAILS(EPERM, rename(path, "mq/other"));
    OK(chmod(path, 0400));
    OK(chown(path, 5, 6));
    OK(fstat(fd, &st));
    EQ(st.st_mode & 07777, 0400);
    EQ(st.st_uid, 5);
    OK(mq_unlink(name()));
    close(fd), close(first), mq_close(again), mq_close(q);
    OK(umount("mq"));
}

TEST(one_file_system_for_each_ipc_namespace)
{
    mqd_t q = make(0, 4, 12);
    const char *queue = strdup(name());
    WAIT_OK(FORK({
        OK(unshare(CLONE_NEWIPC));
        FAILS(ENOENT, mq_open(queue, O_RDONLY));
        OK(mq_open(queue, O_CREAT | O_EXCL | O_RDWR, 0600, NULL));
        OK(mq_send(q, "x", 1, 0)); // what is open stays
        OK(mq_unlink(queue));
    }));
    expect(q, "x", 0);
    OK(mq_unlink(queue));
}

TEST(limits_of_the_namespace)
{
    WAIT_OK(FORK({
        OK(unshare(CLONE_NEWIPC));
        EQ(knob("/proc/sys/fs/mqueue/queues_max"), 256);
        EQ(knob("/proc/sys/fs/mqueue/msg_max"), 10);
        EQ(knob("/proc/sys/fs/mqueue/msgsize_max"), 8192);
        EQ(knob("/proc/sys/fs/mqueue/msg_default"), 10);
        EQ(knob("/proc/sys/fs/mqueue/msgsize_default"), 8192);
        set_knob("/proc/sys/fs/mqueue/queues_max", "1");
        set_knob("/proc/sys/fs/mqueue/msg_max", "20\n");
        set_knob("/proc/sys/fs/mqueue/msg_default", "15");
        int fd = OK(open("/proc/sys/fs/mqueue/msg_max", O_WRONLY));
        FAILS(EINVAL, write(fd, "0", 1));
        FAILS(EINVAL, write(fd, "65537", 5));
        fd = OK(open("/proc/sys/fs/mqueue/msgsize_max", O_WRONLY));
        FAILS(EINVAL, write(fd, "127", 3));
        OK(setresuid(1000, 1000, 1000));
        mqd_t q = OK(mq_open("/one", O_CREAT | O_RDWR, 0600, NULL));
        EQ(attr_of(q, 'm'), 15);
        FAILS(ENOSPC, mq_open("/two", O_CREAT | O_RDWR, 0600, NULL));
        FAILS(EACCES, open("/proc/sys/fs/mqueue/msg_max", O_WRONLY));
    }));
    EQ(knob("/proc/sys/fs/mqueue/msg_max"), 10);
}

MAIN()
