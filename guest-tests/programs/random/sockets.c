// Unix sockets of the three types and netlink sockets: names, connections, messages with descriptors and credentials, flags, options and shutdowns, at random.
// After each step stands what every socket is ready for and what it holds.
// open: tmpfs
#include "random.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

// Slot N is descriptor BASE + N, and stays it: what is printed are slots.
enum { SLOTS = 10, BASE = 100, GIVEN = 50 };
static const char *kinds[SLOTS];
static unsigned char buffer[70000];
static unsigned fill;
static volatile unsigned broken;

static void on_pipe(int signal) { (void)signal, broken++; }
static void place(int slot, int fd, const char *kind)
{
    if (fd < 0)
        return;
    dup2(fd, BASE + slot);
    close(fd);
    kinds[slot] = kind;
}
static const int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
static void begin(void)
{
    signal(SIGPIPE, on_pipe);
    // What is given away is used for nothing else: a socket that is under way in itself goes when the host's collector finds it.
    for (int i = 0; i < 4; i++)
        dup2(i < 3 ? socket(AF_UNIX, types[i + 1], 0) : open("given", O_CREAT | O_RDWR, 0600), BASE + GIVEN + i);
    say("unshare"), success(unshare(CLONE_NEWNET)); // abstract names of one's own
}
static void state(void)
{
    say(" |");
    for (int slot = 0; slot < SLOTS; slot++) {
        struct pollfd is = {.fd = BASE + slot, .events = -1 & ~POLLNVAL};
        if (!kinds[slot] || poll(&is, 1, 0) < 0)
            continue;
        int bytes = 0;
        say(" %x", is.revents);
        if (kinds[slot][0] != 'n' && !ioctl(BASE + slot, FIONREAD, &bytes) && bytes)
            say("/%d", bytes);
    }
    if (broken)
        say(" SIGPIPE %u", broken);
    broken = 0;
}

static int any(void) { return pick(SLOTS); }
// A slot with a unix socket where there is one.
static int a(void)
{
    int at = any();
    for (int i = 0; i < SLOTS; i++, at = (at + 1) % SLOTS)
        if (kinds[at] && kinds[at][0] != 'n')
            return at;
    return at;
}
static const char *kind(int slot) { return kinds[slot] ?: "none"; }
static const char *type_name(int type) { return type == SOCK_STREAM ? "stream" : type == SOCK_DGRAM ? "dgram" : "seqpacket"; }

// A name to bind or connect to; says it.
static socklen_t name(struct sockaddr_un *at)
{
    static const char *const names[] = {"p", "p", "q", "q", "no/p", ".", "", "@x", "@x", "@y", "@x\0", "file"};
    const char *is = ONE_OF(names);
    memset(at, 0, sizeof *at);
    at->sun_family = chance(96) ? AF_UNIX : pick(3);
    strcpy(at->sun_path, is);
    if (*is == '@')
        at->sun_path[0] = 0;
    static const int extra[] = {0, 1, 1, 1, 2, 40};
    socklen_t size = chance(95) ? offsetof(struct sockaddr_un, sun_path) + strlen(is) + (*is == '@' ? 0 : ONE_OF(extra)) : pick(130);
    say(" %s/%d/%d", is, at->sun_family, size);
    return size;
}
static void say_name(const struct sockaddr_un *at, socklen_t size, socklen_t room)
{
    say(" %u", size);
    bool chosen = size == 8 && !at->sun_path[0] && at->sun_path[1] != 'x'; // by the kernel
    if (size > room)
        size = room;
    if (size < 2)
        return;
    say(":%d:", at->sun_family);
    if (at->sun_family == AF_UNIX && chosen)
        say("auto");
    else if (at->sun_family == AF_UNIX)
        for (socklen_t i = 2; i < size && i < sizeof *at; i++)
            say(at->sun_path[i - 2] ? "%c" : "\\0", at->sun_path[i - 2]);
}
static size_t size(void)
{
    static const size_t sizes[] = {0, 1, 2, 10, 100, 4096};
    return chance(30) ? pick(2000) : ONE_OF(sizes);
}
static void filled(size_t size)
{
    for (size_t i = 0; i < size; i++)
        buffer[i] = fill++ * 31 >> 3;
}
// Not MSG_OOB and SIOCATMARK, which a kernel without CONFIG_AF_UNIX_OOB does not have either.
static int flags(void)
{
    static const unsigned long some[] = {MSG_NOSIGNAL, MSG_MORE, MSG_EOR, MSG_CONFIRM};
    return MSG_DONTWAIT | SOME_OF(some);
}
static int take_flags(void)
{
    static const unsigned long some[] = {MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_CMSG_CLOEXEC};
    return MSG_DONTWAIT | SOME_OF(some) | (chance(2) ? MSG_ERRQUEUE : 0);
}

SHOWN(8, socket)
{
    int slot = any(), type = ONE_OF(types), protocol = chance(90) ? 0 : pick(3);
    say("socket %d %s %d", slot, type_name(type), protocol);
    place(slot, success(socket(AF_UNIX, type | SOCK_NONBLOCK, protocol)), type_name(type));
}
SHOWN(8, socketpair)
{
    int one = any(), two = any(), type = ONE_OF(types), fds[2] = {-1, -1};
    say("socketpair %d %d %s", one, two, type_name(type));
    success(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds));
    place(one, fds[0], type_name(type)), place(two, fds[1], type_name(type));
}
SHOWN(2, odd_socket)
{
    int domain = chance(50) ? AF_UNIX : pick(46), type = pick(12), protocol = pick(3);
    // Which families a kernel has differs.
    if (domain != AF_UNIX && domain != AF_NETLINK && domain != AF_UNSPEC)
        domain = 46 + pick(3);
    say("socket %d %d %d", domain, type, protocol);
    int fd = success(socket(domain, type, protocol));
    close(fd < 0 ? -1 : fd);
}
SHOWN(10, bind)
{
    struct sockaddr_un at;
    int slot = a();
    say("bind %d %s", slot, kind(slot));
    socklen_t named = sizeof at;
    if (!getsockname(BASE + slot, (void *)&at, &named) && named > 2) // whether the name or the socket is looked at first
        return;
    socklen_t size = chance(15) ? (memset(&at, 0, sizeof at), at.sun_family = AF_UNIX, say(" auto"), 2) : name(&at);
    result(bind(BASE + slot, (void *)&at, size));
}
SHOWN(3, unlink)
{
    static const char *const names[] = {"p", "q", "file"};
    const char *path = ONE_OF(names);
    struct stat st = {0};
    say("stat %s", path);
    result(lstat(path, &st));
    say(" %o %lu %ld", st.st_mode, (long)st.st_nlink, (long)st.st_size);
    if (chance(50))
        say(" unlink"), result(unlink(path));
    else if (chance(30))
        say(" chmod"), result(chmod(path, 0600 | pick(0100)));
    else if (chance(30))
        say(" create"), result(close(open("file", O_CREAT | O_RDWR, 0600)));
    else
        say(" open"), success(open(path, O_RDWR | O_NONBLOCK));
    for (int fd = 3; fd < 50; fd++)
        close(fd);
}
SHOWN(8, listen)
{
    int slot = a(), backlog = chance(80) ? pick(4) : -1;
    say("listen %d %s %d", slot, kind(slot), backlog);
    result(listen(BASE + slot, backlog));
}
SHOWN(16, connect)
{
    struct sockaddr_un at;
    int slot = a();
    say("connect %d %s", slot, kind(slot));
    socklen_t size = chance(6) ? (memset(&at, 0, sizeof at), say(" unspec"), 2 + pick(2) * 10) : name(&at);
    result(connect(BASE + slot, (void *)&at, size));
}
SHOWN(12, accept)
{
    struct sockaddr_un from = {0};
    socklen_t room = chance(80) ? sizeof from : pick(20), size = room;
    int slot = a(), to = any();
    for (int i = 0, on = 0; i < SLOTS && !on; i++, slot += !on)
        slot %= SLOTS, getsockopt(BASE + slot, SOL_SOCKET, SO_ACCEPTCONN, &on, &(socklen_t){4});
    slot %= SLOTS;
    const char *as = kind(slot);
    say("accept %d %s %d", slot, as, to);
    int fd = success(accept4(BASE + slot, (void *)&from, &size, SOCK_NONBLOCK));
    if (fd >= 0)
        say_name(&from, size, room);
    place(to, fd, as);
}
SHOWN(8, names)
{
    struct sockaddr_un at = {0};
    int slot = a();
    socklen_t room = chance(70) ? sizeof at : chance(90) ? pick(20) : (socklen_t)-1, size = room;
    bool peer = chance(50);
    say("%s %d %d", peer ? "getpeername" : "getsockname", slot, room);
    if (!result(peer ? getpeername(BASE + slot, (void *)&at, &size) : getsockname(BASE + slot, (void *)&at, &size)))
        say_name(&at, size, room);
}
SHOWN(20, send)
{
    struct sockaddr_un at;
    int slot = a(), with = flags();
    size_t n = size();
    say("send %d %s %zu %x", slot, kind(slot), n, with);
    filled(n);
    socklen_t size = chance(25) ? name(&at) : 0;
    result(sendto(BASE + slot, buffer, n, with, size ? (void *)&at : NULL, size));
}
SHOWN(4, write)
{
    int slot = a();
    size_t n = size();
    say("write %d %s %zu", slot, kind(slot), n);
    filled(n);
    result(write(BASE + slot, buffer, n));
}
static size_t header(struct msghdr *message, int level, int type, const void *data, size_t size)
{
    struct cmsghdr *at = (void *)((char *)message->msg_control + message->msg_controllen);
    at->cmsg_level = level, at->cmsg_type = type, at->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(at), data, size);
    return message->msg_controllen += CMSG_SPACE(size);
}
SHOWN(12, sendmsg)
{
    _Alignas(8) char control[512] = {0};
    int slot = a(), with = flags(), fds[4] = {0};
    size_t one = size(), two = pick(300);
    struct iovec parts[] = {{buffer, one}, {buffer + one, two}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = pick(3), .msg_control = control};
    say("sendmsg %d %s %zu %zu %zu %x", slot, kind(slot), message.msg_iovlen, one, two, with);
    filled(one + two);
    if (chance(60)) {
        size_t count = chance(10) ? 0 : 1 + pick(3);
        for (size_t i = 0; i < count; i++)
            fds[i] = chance(2) ? 777 : BASE + GIVEN + (int)pick(4);
        say(" rights");
        for (size_t i = 0; i < count; i++)
            say(" %d", fds[i] - BASE);
        header(&message, SOL_SOCKET, SCM_RIGHTS, fds, count * sizeof(int));
    }
    if (chance(40)) {
        static const unsigned ids[] = {0, 0, 1000, -1};
        struct ucred is = {chance(90) ? getpid() : chance(50) ? 1 : 99999, ONE_OF(ids), ONE_OF(ids)};
        say(" credentials %d %d %d", is.pid == getpid() ? 0 : is.pid, is.uid, is.gid);
        header(&message, SOL_SOCKET, SCM_CREDENTIALS, &is, chance(95) ? sizeof is : 8);
    }
    if (chance(3))
        say(" odd"), header(&message, chance(50) ? SOL_SOCKET : 1 + pick(3), 3 + pick(3), fds, 8);
    result(sendmsg(BASE + slot, &message, with));
}
static void say_message(struct msghdr *message, size_t room)
{
    if (message->msg_name)
        say_name(message->msg_name, message->msg_namelen, room);
    say(" flags %x control %zu", message->msg_flags & ~MSG_CMSG_CLOEXEC, message->msg_controllen);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        say(" (%d %d %zu", at->cmsg_level, at->cmsg_type, at->cmsg_len);
        if (at->cmsg_type == SCM_RIGHTS)
            for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= at->cmsg_len; i++) {
                int fd, type = 0;
                memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
                getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){4});
                say(" %d.%d.%x", type, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
                close(fd);
            }
        else if (at->cmsg_type == SCM_CREDENTIALS && at->cmsg_len == CMSG_LEN(sizeof(struct ucred))) {
            struct ucred is;
            memcpy(&is, CMSG_DATA(at), sizeof is);
            say(" %d %d %d", is.pid == getpid() ? -1 : is.pid, is.uid, is.gid);
        }
        say(")");
    }
}
SHOWN(16, recv)
{
    int slot = a(), with = take_flags();
    size_t n = chance(20) ? sizeof buffer : size();
    struct sockaddr_un from = {0};
    socklen_t room = sizeof from, at = room;
    bool named = chance(40) && strcmp(kind(slot), "stream"); // a stream tells the name that its sender has by now
    say("recv %d %s %zu %x", slot, kind(slot), n, with);
    memset(buffer, 0, n);
    long got = result(recvfrom(BASE + slot, buffer, n, with, named ? (void *)&from : NULL, named ? &at : NULL));
    if (got > 0)
        say(" #%x", sum_of(buffer, (size_t)got < n ? (size_t)got : n));
    if (got >= 0 && named)
        say_name(&from, at, room);
}
SHOWN(16, recvmsg)
{
    _Alignas(8) char control[512] = {0};
    struct sockaddr_un from = {0};
    int slot = a(), with = take_flags();
    size_t one = size(), two = size(), room = chance(80) ? sizeof from : pick(20);
    struct iovec parts[] = {{buffer, one}, {buffer + one, two}};
    struct msghdr message = {.msg_name = chance(60) && strcmp(kind(slot), "stream") ? &from : NULL, .msg_namelen = room, .msg_iov = parts, .msg_iovlen = pick(3), .msg_control = control, .msg_controllen = chance(60) ? sizeof control : pick(80)};
    say("recvmsg %d %s %zu %zu %zu %x %zu", slot, kind(slot), message.msg_iovlen, one, two, with, message.msg_controllen);
    memset(buffer, 0, one + two);
    if (result(recvmsg(BASE + slot, &message, with)) >= 0)
        say(" #%x", sum_of(buffer, one + two)), say_message(&message, room);
}
SHOWN(5, mmsg)
{
    int slot = a(), with = take_flags();
    struct iovec parts[3];
    struct mmsghdr messages[3] = {0};
    bool out = chance(60);
    say("%s %d %s", out ? "sendmmsg" : "recvmmsg", slot, kind(slot));
    filled(3000);
    for (int i = 0; i < 3; i++) {
        parts[i] = (struct iovec){buffer + i * 1000, pick(1000)}, say(" %zu", parts[i].iov_len);
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    long n = result(out ? sendmmsg(BASE + slot, messages, 3, MSG_DONTWAIT) : recvmmsg(BASE + slot, messages, 3, with, NULL));
    for (int i = 0; i < n; i++)
        say(" %u.%x", messages[i].msg_len, messages[i].msg_hdr.msg_flags);
}
SHOWN(5, drain)
{
    say("drain");
    for (int slot = 0; slot < SLOTS; slot++)
        for (int i = 0; i < 100 && kinds[slot]; i++) {
            long n = recv(BASE + slot, buffer, sizeof buffer, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN)
                break;
            say(" %d:", slot), result(n);
            if (n <= 0)
                break;
        }
}
SHOWN(6, shutdown)
{
    int slot = a(), how = pick(4);
    say("shutdown %d %s %d", slot, kind(slot), how);
    result(shutdown(BASE + slot, how));
}
SHOWN(5, close)
{
    int slot = any();
    say("close %d %s", slot, kind(slot));
    result(close(BASE + slot));
    kinds[slot] = NULL;
}
SHOWN(2, dup)
{
    int from = any(), to = any();
    say("dup %d %d", from, to);
    if (kinds[from] && from != to)
        place(to, success(dup(BASE + from)), kinds[from]);
}
static const int options[] = {SO_DEBUG, SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE, SO_PRIORITY, SO_LINGER, SO_REUSEPORT, SO_PASSCRED, SO_PASSCRED, SO_PEERCRED, SO_PEERCRED, SO_RCVLOWAT, SO_SNDLOWAT, SO_RCVTIMEO, SO_SNDTIMEO, SO_TIMESTAMP, SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_PROTOCOL, SO_DOMAIN, SO_MARK, SO_PEERGROUPS};
SHOWN(10, getsockopt)
{
    int slot = a(), option = ONE_OF(options), words[16] = {0};
    socklen_t size = chance(80) ? 16 : pick(17);
    say("getsockopt %d %s %d %u", slot, kind(slot), option, size);
    result(getsockopt(BASE + slot, SOL_SOCKET, option, words, &size));
    if (option == SO_PEERCRED && words[0])
        words[0] = words[0] == getpid() ? -1 : -2;
    say(" %u: %d %d %d %d", size, words[0], words[1], words[2], words[3]);
}
SHOWN(8, setsockopt)
{
    static const int values[] = {0, 1, 1, 2, 5, 1000, 100000, -1, INT32_MAX};
    int slot = a(), option = ONE_OF(options), words[4] = {ONE_OF(values), ONE_OF(values)};
    socklen_t size = option == SO_LINGER ? 8 : option == SO_RCVTIMEO || option == SO_SNDTIMEO ? 16 : 4;
    if (chance(10))
        size = pick(17);
    // A buffer's limit counts the kernel's own bytes, which no two kernels have alike: another socket's.
    bool buffers = option == SO_SNDBUF || option == SO_RCVBUF || option == SO_SNDBUFFORCE || option == SO_RCVBUFFORCE;
    int fd = buffers ? socket(AF_UNIX, ONE_OF(types), 0) : BASE + slot;
    if (size > 8)
        words[1] = 0;
    if (buffers && (words[0] < 0 || words[0] == INT32_MAX)) // the most that a buffer may have is the machine's setting
        words[0] = 100000;
    if (option == SO_LINGER)
        words[0] &= 1, words[1] = 1;
    say("setsockopt %d %s %d %u %d %d", slot, kind(slot), option, size, words[0], words[1]);
    result(setsockopt(fd, SOL_SOCKET, option, words, size));
    size = 16;
    int back = option == SO_SNDBUFFORCE ? SO_SNDBUF : option == SO_RCVBUFFORCE ? SO_RCVBUF : option;
    result(getsockopt(fd, SOL_SOCKET, back, words, &size));
    if (option != SO_PEERCRED && option != SO_PEERGROUPS)
        say(" %u: %d %d %d %d", size, words[0], words[1], words[2], words[3]);
    if (buffers)
        close(fd);
}
SHOWN(4, wrong)
{
    int slot = a(), fd = BASE + slot, which = pick(12), n = 0;
    struct stat st = {0};
    say("wrong %d %s %d", slot, kind(slot), which);
    switch (which) {
    case 0: result(lseek(fd, 0, SEEK_SET)); break;
    case 1: result(pread(fd, buffer, 10, 5)); break;
    case 2: result(ftruncate(fd, 5000)); break;
    case 3: result(fsync(fd)); break;
    case 4: success((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)); break;
    case 5: result(ioctl(fd, FIOCLEX)); break;
    case 6: result(ioctl(fd, TCGETS, buffer)); break;
    case 7: result(fstat(fd, &st)), say(" %o %ld %ld", st.st_mode, (long)st.st_size, (long)st.st_blksize); break;
    case 8: result(fchmod(fd, 0640)); break;
    case 9: result(setsockopt(fd, pick(300) + 2, 1, &n, 4)); break;
    case 10: result(getsockopt(fd, 6, 1, &n, &(socklen_t){4})); break;
    case 11: result(ioctl(fd, SIOCOUTQ, &n)), say(" %d", !!n); break;
    }
}
RANDOM_MAIN(begin)
