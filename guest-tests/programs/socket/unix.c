// Unix sockets: unix(7), socketpair(2), sendmsg(2), recvmsg(2); other families are refused: socket(2).
#include "check.h"
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static int s[2];
static socklen_t path_address(struct sockaddr_un *a, const char *path)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(a->sun_path, path);
    return offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}
static socklen_t abstract_address(struct sockaddr_un *a, const char *name)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "%s-%d", name, getpid());
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1);
}
static int listener(int type, struct sockaddr_un *a, socklen_t n)
{
    int fd = OK(socket(AF_UNIX, type, 0));
    OK(bind(fd, (void *)a, n));
    OK(listen(fd, 5));
    return fd;
}

TEST(stream_pair)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
    char part[20];
    EQ(write(s[0], "hello", 5), 5);
    EQ(write(s[0], "world", 5), 5);
    EQ(read(s[1], part, 20), 10); // no borders in a stream
    EQ(send(s[1], "back", 4, 0), 4);
    EQ(recv(s[0], part, 2, MSG_PEEK), 2);
    EQ(recv(s[0], part, 20, 0), 4);
    FAILS(EAGAIN, recv(s[0], part, 1, MSG_DONTWAIT));
    int n;
    EQ(write(s[0], "abc", 3), 3);
    OK(ioctl(s[1], FIONREAD, &n));
    EQ(n, 3);
    close(s[0]);
    EQ(read(s[1], part, 20), 3);
    EQ(read(s[1], part, 20), 0);
    signal(SIGPIPE, SIG_IGN);
    FAILS(EPIPE, write(s[1], "x", 1));
    FAILS(EPIPE, send(s[1], "x", 1, MSG_NOSIGNAL));
}

TEST(seqpacket_pair)
{
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    char part[20];
    EQ(write(s[0], "hello", 5), 5);
    EQ(write(s[0], "w", 1), 1);
    EQ(read(s[1], part, 3), 3); // the rest of the record is cut off
    EQ(read(s[1], part, 20), 1);
    EQ(send(s[0], "long record", 11, 0), 11);
    struct iovec v = {part, 4};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    EQ(recvmsg(s[1], &m, 0), 4);
    CHECK(m.msg_flags & MSG_TRUNC);
    EQ(send(s[0], "long record", 11, MSG_EOR), 11);
    EQ(recv(s[1], part, 4, MSG_TRUNC), 11); // tells the real size
    EQ(send(s[0], "", 0, 0), 0);
    EQ(recv(s[1], part, 4, 0), 0);
    close(s[0]);
    EQ(read(s[1], part, 20), 0);
}

TEST(datagram_pair)
{
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    char part[20];
    EQ(write(s[0], "one", 3), 3);
    EQ(write(s[0], "", 0), 0);
    EQ(write(s[0], "three", 5), 5);
    EQ(read(s[1], part, 20), 3);
    EQ(read(s[1], part, 20), 0);
    EQ(read(s[1], part, 2), 2);
    FAILS(EAGAIN, recv(s[1], part, 20, MSG_DONTWAIT));
    close(s[1]);
    FAILS(ECONNREFUSED, write(s[0], "x", 1));
}

TEST(path_stream)
{
    struct sockaddr_un a, seen;
    socklen_t n = path_address(&a, "sock"), size = sizeof seen;
    int l = listener(SOCK_STREAM, &a, n);
    struct stat st;
    OK(stat("sock", &st));
    CHECK(S_ISSOCK(st.st_mode));
    FAILS(EADDRINUSE, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&a, n));
    socklen_t other = path_address(&seen, "other");
    FAILS(EINVAL, bind(l, (void *)&seen, other)); // has a name already
    FAILS(ENXIO, open("sock", O_RDWR));
    int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(connect(c, (void *)&a, n)); // done before accept
    EQ(write(c, "hi", 2), 2);
    int got = OK(accept4(l, (void *)&seen, &size, SOCK_CLOEXEC));
    EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
    EQ(size, offsetof(struct sockaddr_un, sun_path)); // the client has no name
    char part[4];
    EQ(read(got, part, 4), 2);
    size = sizeof seen;
    OK(getpeername(c, (void *)&seen, &size));
    STREQ(seen.sun_path, "sock");
    size = sizeof seen;
    OK(getsockname(got, (void *)&seen, &size));
    STREQ(seen.sun_path, "sock");
    FAILS(EISCONN, connect(c, (void *)&a, n));
    struct ucred cred;
    size = sizeof cred;
    OK(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cred, &size));
    EQ(cred.pid, getpid());
    OK(unlink("sock"));
    FAILS(ENOENT, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&a, n));
    close(l);
    EQ(write(c, "on", 2), 2); // what is connected goes on
}

TEST(connect_errors)
{
    struct sockaddr_un a;
    socklen_t n = path_address(&a, "plain");
    write_file("plain", "");
    int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    FAILS(ECONNREFUSED, connect(c, (void *)&a, n));
    n = path_address(&a, "bound");
    int b = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(bind(b, (void *)&a, n));
    FAILS(ECONNREFUSED, connect(c, (void *)&a, n)); // does not listen
    OK(listen(b, 1));
    int d = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    FAILS(EPROTOTYPE, connect(d, (void *)&a, n));
    FAILS(EINVAL, connect(c, (void *)&a, 1));
    FAILS(ENOTCONN, getpeername(c, (void *)&a, &n));
    FAILS(ENOTCONN, send(c, "x", 1, MSG_NOSIGNAL));
    FAILS(EINVAL, listen(c, 1)); // without a name
    FAILS(EOPNOTSUPP, listen(d, 1));
    FAILS(EINVAL, accept(c, NULL, NULL));
    FAILS(ENOTSOCK, listen(0, 1));
    FAILS(EBADF, listen(99, 1));
}

TEST(abstract_names)
{
    struct sockaddr_un a, seen;
    socklen_t n = abstract_address(&a, "test"), size = sizeof seen;
    int l = listener(SOCK_STREAM, &a, n);
    FAILS(EADDRINUSE, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&a, n));
    int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(connect(c, (void *)&a, n));
    OK(getpeername(c, (void *)&seen, &size));
    EQ(size, n);
    EQ(memcmp(&seen, &a, n), 0);
    close(l);
    FAILS(ECONNREFUSED, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&a, n)); // gone with its socket
    // autobind gives a name of five digits
    int x = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    sa_family_t family = AF_UNIX;
    OK(bind(x, (void *)&family, sizeof family));
    size = sizeof seen;
    OK(getsockname(x, (void *)&seen, &size));
    EQ(size, sizeof family + 6);
    EQ(seen.sun_path[0], 0);
}

TEST(backlog)
{
    struct sockaddr_un a;
    socklen_t n = abstract_address(&a, "backlog");
    int l = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(bind(l, (void *)&a, n));
    OK(listen(l, 1));
    int full = 0;
    for (int i = 0; i < 10 && !full; i++) {
        int c = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (connect(c, (void *)&a, n)) {
            EQ(errno, EAGAIN);
            full = 1;
        }
    }
    EQ(full, 1);
    pid_t child = FORK({
        int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
        OK(connect(c, (void *)&a, n)); // waits for room
    });
    EVENTUALLY(task_state(child) == 'S');
    OK(accept(l, NULL, NULL));
    OK(accept(l, NULL, NULL));
    WAIT_OK(child);
}

TEST(accept_waits_and_polls)
{
    struct sockaddr_un a;
    socklen_t n = abstract_address(&a, "wait");
    int l = listener(SOCK_STREAM, &a, n);
    struct pollfd p = {l, POLLIN, 0};
    EQ(poll(&p, 1, 0), 0);
    pid_t child = FORK({
        sleep_ms(2);
        int c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
        OK(connect(c, (void *)&a, n));
        char x;
        EQ(read(c, &x, 1), 1);
    });
    int got = OK(accept(l, NULL, NULL));
    EQ(write(got, "x", 1), 1);
    WAIT_OK(child);
    OK(fcntl(l, F_SETFL, O_NONBLOCK));
    FAILS(EAGAIN, accept(l, NULL, NULL));
}

TEST(datagrams_by_name)
{
    struct sockaddr_un a, b, from;
    socklen_t an = abstract_address(&a, "a"), bn = abstract_address(&b, "b"), size = sizeof from;
    int x = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), y = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    OK(bind(x, (void *)&a, an));
    OK(bind(y, (void *)&b, bn));
    EQ(sendto(x, "hello", 5, 0, (void *)&b, bn), 5);
    char part[10];
    EQ(recvfrom(y, part, 10, 0, (void *)&from, &size), 5);
    EQ(size, an);
    EQ(memcmp(&from, &a, an), 0);
    OK(connect(y, (void *)&a, an));
    EQ(send(y, "x", 1, 0), 1);
    EQ(recv(x, part, 10, 0), 1);
    struct sockaddr_un other;
    socklen_t on = abstract_address(&other, "nobody");
    FAILS(ECONNREFUSED, sendto(x, "x", 1, 0, (void *)&other, on));
    int z = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    FAILS(ENOTCONN, send(z, "x", 1, 0));
    FAILS(EPERM, sendto(z, "x", 1, 0, (void *)&b, bn)); // b talks to a only
}

TEST(shutdown_halves)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    char part[4];
    EQ(write(s[0], "ab", 2), 2);
    OK(shutdown(s[0], SHUT_WR));
    FAILS(EPIPE, send(s[0], "x", 1, MSG_NOSIGNAL));
    EQ(read(s[1], part, 4), 2);
    EQ(read(s[1], part, 4), 0);
    EQ(write(s[1], "cd", 2), 2); // the other way goes on
    EQ(read(s[0], part, 4), 2);
    struct pollfd p = {s[1], POLLIN | POLLRDHUP, 0};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN | POLLRDHUP);
    OK(shutdown(s[0], SHUT_RD));
    FAILS(EPIPE, send(s[1], "x", 1, MSG_NOSIGNAL));
    FAILS(EINVAL, shutdown(s[0], 9));
}

static void send_fds(int to, const int *fds, int count, const char *text)
{
    char control[CMSG_SPACE(300 * sizeof(int))];
    memset(control, 0, sizeof control);
    struct iovec v = {(char *)text, strlen(text)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    EQ(sendmsg(to, &m, 0), strlen(text));
}
static int receive_fds(int from, int *fds, int room, int flags, int *message_flags)
{
    char control[CMSG_SPACE(300 * sizeof(int))], part[100];
    struct iovec v = {part, sizeof part};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(room * sizeof(int))};
    CHECK(recvmsg(from, &m, flags) > 0);
    if (message_flags)
        *message_flags = m.msg_flags;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c)
        return 0;
    EQ(c->cmsg_type, SCM_RIGHTS);
    int n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), n * sizeof(int));
    return n;
}

TEST(descriptors_travel)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600)), got[4], flags;
    EQ(write(fd, "hello", 5), 5);
    OK(lseek(fd, 1, SEEK_SET));
    send_fds(s[0], (int[]){fd, 1}, 2, "x");
    close(fd);
    EQ(receive_fds(s[1], got, 4, MSG_CMSG_CLOEXEC, &flags), 2);
    CHECK(flags & MSG_CMSG_CLOEXEC);
    EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
    char c;
    EQ(read(got[0], &c, 1), 1);
    EQ(c, 'e'); // the same open file, with its offset
    send_fds(s[0], (int[]){got[0], got[0], got[0]}, 3, "y");
    EQ(receive_fds(s[1], got + 1, 1, 0, &flags), 1);
    CHECK(flags & MSG_CTRUNC);
}

TEST(descriptors_bound_reads)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    EQ(write(s[0], "before", 6), 6);
    send_fds(s[0], (int[]){0}, 1, "with");
    EQ(write(s[0], "after", 5), 5);
    char part[40];
    int got[1];
    EQ(recv(s[1], part, 6, 0), 6);
    EQ(receive_fds(s[1], got, 1, 0, NULL), 1);
    EQ(recv(s[1], part, 40, 0), 5);
    // a plain read drops the descriptors
    send_fds(s[0], (int[]){0}, 1, "z");
    EQ(read(s[1], part, 40), 1);
    FAILS(EBADF, sendmsg(s[0], &(struct msghdr){.msg_control = &(struct { struct cmsghdr h; int fd; }){{CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS}, 444}, .msg_controllen = CMSG_LEN(4), .msg_iov = &(struct iovec){"x", 1}, .msg_iovlen = 1}, 0));
}

TEST(descriptor_cycle)
{
    // A socket queued in itself must not keep anything alive for ever, nor hang.
    for (int i = 0; i < 50; i++) {
        OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
        send_fds(s[0], (int[]){s[0], s[1]}, 2, "x");
        close(s[0]), close(s[1]);
    }
    int p[2];
    OK(pipe(p));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    send_fds(s[0], (int[]){p[1]}, 1, "x");
    close(p[1]);
    close(s[0]), close(s[1]); // the pipe's writing end dies with the queue
    char c;
    struct pollfd f = {p[0], POLLIN, 0};
    EQ(poll(&f, 1, 3000), 1);
    EQ(read(p[0], &c, 1), 0);
}

TEST(credentials)
{
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    int one = 1;
    OK(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    pid_t child = FORK({ EQ(write(s[0], "x", 1), 1); });
    char control[CMSG_SPACE(sizeof(struct ucred))], part[4];
    struct iovec v = {part, 4};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ(recvmsg(s[1], &m, 0), 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c);
    EQ(c->cmsg_type, SCM_CREDENTIALS);
    struct ucred cred;
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    EQ(cred.pid, child);
    EQ(cred.uid, getuid());
    WAIT_OK(child);
    // told by hand: one's own pid is allowed
    cred = (struct ucred){getpid(), getuid(), getgid()};
    m.msg_controllen = sizeof control;
    c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS, c->cmsg_len = CMSG_LEN(sizeof cred);
    memcpy(CMSG_DATA(c), &cred, sizeof cred);
    v.iov_len = 1;
    EQ(sendmsg(s[0], &m, 0), 1);
    if (getuid() == 0) {
        child = FORK({
            OK(setresuid(1000, 1000, 1000));
            cred.pid = 1;
            memcpy(CMSG_DATA(c), &cred, sizeof cred);
            FAILS(EPERM, sendmsg(s[0], &m, 0));
        });
        WAIT_OK(child);
    }
}

TEST(peek_and_waitall)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    char part[10];
    EQ(write(s[0], "abc", 3), 3);
    EQ(recv(s[1], part, 2, MSG_PEEK), 2);
    EQ(recv(s[1], part, 10, MSG_PEEK), 3);
    pid_t child = FORK({
        sleep_ms(3);
        EQ(write(s[0], "defgh", 5), 5);
    });
    EQ(recv(s[1], part, 8, MSG_WAITALL), 8);
    EQ(memcmp(part, "abcdefgh", 8), 0);
    WAIT_OK(child);
    EQ(write(s[0], "xy", 2), 2);
    close(s[0]);
    EQ(recv(s[1], part, 8, MSG_WAITALL), 2); // the end comes first
}

TEST(many_messages)
{
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    struct iovec v[2] = {{"one", 3}, {"three", 5}};
    struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = v + 1, .msg_iovlen = 1}}};
    EQ(sendmmsg(s[0], m, 2, 0), 2);
    EQ(m[1].msg_len, 5);
    char a[8], b[8];
    v[0] = (struct iovec){a, 8}, v[1] = (struct iovec){b, 8};
    EQ(recvmmsg(s[1], m, 2, 0, NULL), 2);
    EQ(m[0].msg_len, 3);
    EQ(m[1].msg_len, 5);
    struct timespec t = {0, 1000000};
    FAILS(EAGAIN, recvmmsg(s[1], m, 2, MSG_DONTWAIT, &t));
}

TEST(options)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int value;
    socklen_t size = sizeof value;
    OK(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &size));
    EQ(value, SOCK_STREAM);
    OK(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &value, &size));
    EQ(value, AF_UNIX);
    OK(getsockopt(s[0], SOL_SOCKET, SO_PROTOCOL, &value, &size));
    EQ(value, 0);
    OK(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &value, &size));
    EQ(value, 0);
    OK(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &size));
    EQ(value, 0);
    OK(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, &size));
    CHECK(value > 1000);
    struct timeval t = {0, 10000};
    OK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    int64_t before = now_ns(CLOCK_MONOTONIC);
    char c;
    FAILS(EAGAIN, recv(s[0], &c, 1, 0));
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 10000000);
    FAILS(ENOPROTOOPT, getsockopt(s[0], SOL_SOCKET, 9999, &value, &size));
}

TEST(flow_control)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    static char big[1 << 20];
    pid_t child = FORK({
        close(s[1]);
        EQ(write(s[0], big, sizeof big), sizeof big);
    });
    close(s[0]);
    size_t total = 0;
    ssize_t n;
    while ((n = OK(read(s[1], big, 30000))) > 0)
        total += n;
    EQ(total, sizeof big);
    WAIT_OK(child);
    // datagrams: too long, and too many
    OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s));
    FAILS(EMSGSIZE, write(s[0], big, sizeof big));
    int count = 0;
    while (write(s[0], big, 100) == 100)
        count++;
    EQ(errno, EAGAIN);
    CHECK(count > 0);
    struct pollfd p = {s[0], POLLOUT, 0};
    EQ(poll(&p, 1, 0), 0);
}

TEST(socketpair_arguments)
{
    FAILS(EPROTONOSUPPORT, socket(AF_UNIX, SOCK_STREAM, 7));
    FAILS(EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8));
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s));
    EQ(fcntl(s[0], F_GETFL), O_RDWR | O_NONBLOCK);
    EQ(fcntl(s[1], F_GETFD), FD_CLOEXEC);
}

TEST(no_such_family)
{
    FAILS(EAFNOSUPPORT, socket(100, SOCK_STREAM, 0));
    FAILS(EAFNOSUPPORT, socket(AF_APPLETALK, SOCK_STREAM, 0));
}

TEST(a_name_is_looked_up_before_the_state)
{
    struct sockaddr_un a, b;
    socklen_t n = abstract_address(&a, "state-listens"), none = abstract_address(&b, "state-none");
    int l = listener(SOCK_STREAM, &a, n);
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    FAILS(ECONNREFUSED, connect(s[0], (void *)&b, none));
    FAILS(EISCONN, connect(s[0], (void *)&a, n));
    FAILS(ECONNREFUSED, connect(l, (void *)&b, none));
    FAILS(EINVAL, connect(l, (void *)&a, n));
    FAILS(EISCONN, sendto(s[0], "x", 1, 0, (void *)&a, n));
    FAILS(EOPNOTSUPP, sendto(OK(socket(AF_UNIX, SOCK_STREAM, 0)), "x", 1, 0, (void *)&a, n));
}

TEST(who_asks_for_nothing_waits_for_something)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    char c;
    EQ(read(s[0], &c, 0), 0);
    FAILS(EAGAIN, recv(s[0], &c, 0, 0));
    EQ(write(s[1], "a", 1), 1);
    EQ(recv(s[0], &c, 0, 0), 0);
    EQ(recv(s[0], &c, 1, 0), 1);
    close(s[1]);
    EQ(recv(s[0], &c, 0, 0), 0);
}

TEST(control_messages_of_other_protocols_are_passed_over)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    _Alignas(8) char control[CMSG_SPACE(4)] = {0};
    struct msghdr message = {.msg_iov = &(struct iovec){"a", 1}, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_len = CMSG_LEN(4), .cmsg_level = 0, .cmsg_type = 4};
    EQ(sendmsg(s[0], &message, 0), 1);
    CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
    FAILS(EINVAL, sendmsg(s[0], &message, 0));
}

TEST(a_linger_that_is_off_keeps_no_time)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    struct linger is = {0, 5};
    socklen_t n = sizeof is;
    OK(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &is, n));
    OK(getsockopt(s[0], SOL_SOCKET, SO_LINGER, &is, &n));
    EQ(is.l_onoff, 0);
    EQ(is.l_linger, 0);
}

TEST(ends_of_streams)
{
    char c;
    signal(SIGPIPE, SIG_IGN);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    EQ(write(s[0], &c, 0), 0);
    OK(shutdown(s[0], SHUT_WR));
    FAILS(EPIPE, write(s[0], &c, 0));
    int alone = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(shutdown(alone, SHUT_RDWR));
    FAILS(EINVAL, recv(alone, &c, 1, 0));
}

MAIN()
