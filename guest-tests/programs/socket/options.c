// Options of unix sockets, and the control messages that they ask for: socket(7), unix(7), cmsg(3).
#include "check.h"
#include <grp.h>
#include <linux/sockios.h>
#include <sys/un.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
enum { SCM_PIDFD_KIND = 4 };

static int s[2];
static int get(int fd, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    OK(getsockopt(fd, SOL_SOCKET, name, &value, &n));
    EQ(n, 4);
    return value;
}
static int set(int fd, int name, int value) { return setsockopt(fd, SOL_SOCKET, name, &value, sizeof value); }

// Receives a message of one byte; the kinds of its control messages, in order, one digit or letter each.
static struct timespec stamp;
static int pidfd;
static const char *kinds(int fd, int flags)
{
    static char list[8];
    char byte, space[200];
    struct iovec part = {&byte, 1};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    EQ(recvmsg(fd, &h, flags), 1);
    EQ(h.msg_flags & MSG_CTRUNC, 0);
    unsigned n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c && n < 7; c = CMSG_NXTHDR(&h, c)) {
        EQ(c->cmsg_level, SOL_SOCKET);
        switch (c->cmsg_type) {
        case SCM_RIGHTS: list[n++] = 'r'; break;
        case SCM_CREDENTIALS: list[n++] = 'c'; break;
        case SO_TIMESTAMP:
        case SO_TIMESTAMPNS:
            EQ(c->cmsg_len, CMSG_LEN(16));
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            list[n++] = c->cmsg_type == SO_TIMESTAMP ? 't' : 'n';
            break;
        case SCM_PIDFD_KIND:
            EQ(c->cmsg_len, CMSG_LEN(4));
            memcpy(&pidfd, CMSG_DATA(c), 4);
            list[n++] = 'p';
            break;
        default: list[n++] = '?';
        }
    }
    list[n] = 0;
    return list;
}

static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};

TEST(messages_are_stamped)
{
    for (unsigned i = 0; i < 2; i++) {
        OK(socketpair(AF_UNIX, types[i], 0, s));
        EQ(write(s[1], "x", 1), 1);
        EQ(strcmp(kinds(s[0], 0), ""), 0);
        OK(set(s[0], SO_TIMESTAMP, 1));
        EQ(get(s[0], SO_TIMESTAMP), 1);
        EQ(get(s[0], SO_TIMESTAMPNS), 0);
        EQ(get(s[1], SO_TIMESTAMP), 0);
        EQ(write(s[1], "x", 1), 1);
        EQ(strcmp(kinds(s[0], MSG_PEEK), "t"), 0);
        EQ(strcmp(kinds(s[0], 0), "t"), 0);
        EQ(llabs((long long)stamp.tv_sec - time(0)) < 60, 1);
        EQ(stamp.tv_nsec < 1000000, 1); // microseconds
        OK(set(s[0], SO_TIMESTAMPNS, 1)); // one replaces the other
        EQ(get(s[0], SO_TIMESTAMPNS), 1);
        EQ(get(s[0], SO_TIMESTAMP), 0);
        EQ(write(s[1], "x", 1), 1);
        EQ(strcmp(kinds(s[0], 0), "n"), 0);
        EQ(llabs((long long)stamp.tv_sec - time(0)) < 60, 1);
        EQ(stamp.tv_nsec < 1000000000, 1);
        OK(set(s[0], SO_TIMESTAMP, 0)); // either ends both
        EQ(get(s[0], SO_TIMESTAMPNS), 0);
        EQ(write(s[1], "x", 1), 1);
        EQ(strcmp(kinds(s[0], 0), ""), 0);
        close(s[0]), close(s[1]);
    }
}

TEST(the_end_is_no_message)
{
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    OK(set(s[0], SO_TIMESTAMP, 1));
    close(s[1]);
    char byte, space[100];
    struct iovec part = {&byte, 1};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    EQ(recvmsg(s[0], &h, 0), 0);
    EQ(h.msg_controllen, 0);
}

TEST(streams_have_no_stamps)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(set(s[0], SO_TIMESTAMP, 1));
    EQ(get(s[0], SO_TIMESTAMP), 1);
    EQ(write(s[1], "x", 1), 1);
    EQ(strcmp(kinds(s[0], 0), ""), 0);
}

TEST(the_peer_as_a_pidfd)
{
    int lone = OK(socket(AF_UNIX, SOCK_STREAM, 0)), fd = -1;
    socklen_t n = sizeof fd;
    if (getsockopt(lone, SOL_SOCKET, SO_PEERPIDFD, &fd, &n) < 0 && errno == ENOPROTOOPT)
        return; // before Linux 6.5
    FAILS(ENODATA, getsockopt(lone, SOL_SOCKET, SO_PEERPIDFD, &fd, &n));
    struct sockaddr_un a = {AF_UNIX, "peer"};
    int listener = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    OK(bind(listener, (void *)&a, sizeof a));
    OK(listen(listener, 1));
    int go[2];
    OK(pipe(go));
    pid_t child = OK(fork());
    if (!child) {
        char byte;
        OK(connect(lone, (void *)&a, sizeof a));
        EQ(read(go[0], &byte, 1), 1);
        _exit(0);
    }
    int there = OK(accept(listener, 0, 0));
    n = sizeof fd;
    OK(getsockopt(there, SOL_SOCKET, SO_PEERPIDFD, &fd, &n));
    EQ(n, 4);
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    OK(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0));
    struct pollfd p = {fd, POLLIN, 0};
    EQ(poll(&p, 1, 0), 0);
    EQ(write(go[1], "x", 1), 1);
    EQ(poll(&p, 1, 5000), 1);
    siginfo_t info;
    OK(waitid(P_PIDFD, fd, &info, WEXITED));
    EQ(info.si_pid, child);
    FAILS(ENOPROTOOPT, setsockopt(there, SOL_SOCKET, SO_PEERPIDFD, &fd, sizeof fd));
    // No descriptor is left by one whose number cannot be written.
    int next = OK(dup(0));
    close(next);
    n = sizeof fd;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    close(next), close(next + 1);
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    next = OK(dup(0));
    close(next);
    FAILS(EFAULT, getsockopt(s[0], SOL_SOCKET, SO_PEERPIDFD, (void *)8, &n));
    EQ(OK(dup(0)), next);
}

TEST(senders_as_pidfds)
{
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    if (set(s[0], SO_PASSPIDFD, 1) < 0 && errno == ENOPROTOOPT)
        return;
    EQ(get(s[0], SO_PASSPIDFD), 1);
    EQ(get(s[0], SO_PASSCRED), 0);
    pid_t child = OK(fork());
    if (!child) {
        EQ(write(s[1], "x", 1), 1);
        pause();
    }
    EQ(strcmp(kinds(s[0], 0), "p"), 0);
    EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    OK(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0));
    EQ(OK(waitpid(child, 0, 0)), child);
    close(pidfd);
    // All of them, in this order.
    OK(set(s[0], SO_PASSCRED, 1));
    OK(set(s[0], SO_TIMESTAMP, 1));
    char space[CMSG_SPACE(4)] = {0};
    struct iovec part = {"x", 1};
    struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    *c = (struct cmsghdr){CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &(int){0}, 4);
    EQ(sendmsg(s[1], &h, 0), 1);
    EQ(strcmp(kinds(s[0], 0), "tcrp"), 0);
    OK(set(s[0], SO_PASSPIDFD, 0));
    EQ(sendmsg(s[1], &h, 0), 1);
    EQ(strcmp(kinds(s[0], 0), "tcr"), 0);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(set(s[0], SO_PASSPIDFD, 1));
    EQ(write(s[1], "x", 1), 1);
    EQ(strcmp(kinds(s[0], 0), "p"), 0);
}

TEST(the_peers_groups)
{
    gid_t groups[3] = {7, 9, 11}, told[4] = {0};
    OK(setgroups(3, groups));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(setgroups(0, 0));
    socklen_t n = sizeof told;
    OK(getsockopt(s[0], SOL_SOCKET, SO_PEERGROUPS, told, &n));
    EQ(n, 12);
    EQ(memcmp(told, groups, 12), 0);
    n = 8;
    FAILS(ERANGE, getsockopt(s[0], SOL_SOCKET, SO_PEERGROUPS, told, &n));
    EQ(n, 12); // what it takes
    int lone = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    n = sizeof told;
    FAILS(ENODATA, getsockopt(lone, SOL_SOCKET, SO_PEERGROUPS, told, &n));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    n = sizeof told;
    OK(getsockopt(s[0], SOL_SOCKET, SO_PEERGROUPS, told, &n));
    EQ(n, 0);
}

TEST(cookies_are_of_one_socket)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    unsigned long long a = 0, b = 0, again = 0;
    socklen_t n = 8;
    OK(getsockopt(s[0], SOL_SOCKET, SO_COOKIE, &a, &n));
    EQ(n, 8);
    OK(getsockopt(s[1], SOL_SOCKET, SO_COOKIE, &b, &n));
    OK(getsockopt(dup(s[0]), SOL_SOCKET, SO_COOKIE, &again, &n));
    EQ(a != b, 1);
    EQ(a, again);
    n = 4;
    FAILS(EINVAL, getsockopt(s[0], SOL_SOCKET, SO_COOKIE, &a, &n));
    FAILS(ENOPROTOOPT, setsockopt(s[0], SOL_SOCKET, SO_COOKIE, &a, 8));
}

// They say nothing where there is no security module, and where nothing is dropped.
TEST(kept_and_told)
{
    static const int names[] = {SO_PASSSEC, SO_RXQ_OVFL};
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    for (unsigned i = 0; i < 2; i++) {
        EQ(get(s[0], names[i]), 0);
        OK(set(s[0], names[i], 5));
        EQ(get(s[0], names[i]), 1);
    }
    EQ(write(s[1], "x", 1), 1);
    kinds(s[0], 0);
}

TEST(a_port_is_not_shared)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    if (set(s[0], SO_REUSEPORT, 1) == 0)
        return; // before Linux 6.13
    FAILS(EOPNOTSUPP, set(s[0], SO_REUSEPORT, 1));
    EQ(get(s[0], SO_REUSEPORT), 0);
    OK(set(s[0], SO_REUSEADDR, 1));
}

// A negative size is taken for a very large one.
TEST(sizes_of_buffers)
{
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    OK(set(s[0], SO_SNDBUF, INT_MAX / 4));
    int most = get(s[0], SO_SNDBUF);
    OK(set(s[0], SO_SNDBUF, 0));
    EQ(get(s[0], SO_SNDBUF) < most, 1);
    OK(set(s[0], SO_SNDBUF, -1));
    EQ(get(s[0], SO_SNDBUF), most);
    OK(set(s[0], SO_RCVBUF, INT_MAX / 4));
    most = get(s[0], SO_RCVBUF);
    OK(set(s[0], SO_RCVBUF, -2));
    EQ(get(s[0], SO_RCVBUF), most);
}

// What the other end has not read is lost with it: the next call says so, once.
TEST(a_seqpacket_is_reset)
{
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    EQ(write(s[0], "abc", 3), 3);
    close(s[1]);
    FAILS(ECONNRESET, send(s[0], "x", 1, MSG_NOSIGNAL));
    FAILS(EPIPE, send(s[0], "x", 1, MSG_NOSIGNAL));
    char byte;
    EQ(recv(s[0], &byte, 1, 0), 0);
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    EQ(write(s[0], "abc", 3), 3);
    close(s[1]);
    FAILS(ECONNRESET, recv(s[0], &byte, 1, 0));
    FAILS(EPIPE, send(s[0], "x", 1, MSG_NOSIGNAL));
}

// One that has a peer takes nothing from others, and it is an other to itself.
TEST(a_paired_socket_is_no_peer_of_itself)
{
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    struct sockaddr_un a = {AF_UNIX, "own"};
    OK(bind(s[0], (void *)&a, sizeof a));
    FAILS(EPERM, connect(s[0], (void *)&a, sizeof a));
    FAILS(EPERM, sendto(s[0], "x", 1, 0, (void *)&a, sizeof a));
    int lone = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    struct sockaddr_un b = {AF_UNIX, "lone"};
    OK(bind(lone, (void *)&b, sizeof b));
    OK(connect(lone, (void *)&b, sizeof b));
    EQ(send(lone, "x", 1, 0), 1);
    char byte;
    EQ(recv(lone, &byte, 1, 0), 1);
}

TEST(other_families_keep_them_too)
{
    int fd = OK(socket(AF_NETLINK, SOCK_RAW, 0));
    OK(set(fd, SO_TIMESTAMP, 1));
    EQ(get(fd, SO_TIMESTAMP), 1);
}

MAIN()
