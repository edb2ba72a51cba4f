// Netlink sockets, and the loopback device of a network namespace: netlink(7), rtnetlink(7), netdevice(7), getifaddrs(3), if_nameindex(3).
#include "check.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static int nl(int protocol) { return OK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)); }
static struct sockaddr_nl name_of(int fd)
{
    struct sockaddr_nl a;
    socklen_t n = sizeof a;
    OK(getsockname(fd, (void *)&a, &n));
    EQ(n, sizeof a);
    EQ(a.nl_family, AF_NETLINK);
    return a;
}
static int bind_to(int fd, unsigned pid, unsigned groups)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = pid, .nl_groups = groups};
    return bind(fd, (void *)&a, sizeof a);
}
static void option(int fd, int name, int value) { OK(setsockopt(fd, SOL_NETLINK, name, &value, sizeof value)); }

// A request that is put together, and the answer.
static struct {
    struct nlmsghdr h;
    char body[512];
} q;
static char answer[65536];
static ssize_t answer_len;

static void begin(int type, int flags, const void *fixed, size_t n)
{
    memset(&q, 0, sizeof q);
    q.h = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(n), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 7};
    memcpy(NLMSG_DATA(&q.h), fixed, n);
}
static void attr(int type, const void *value, size_t n)
{
    struct rtattr *a = (void *)((char *)&q + NLMSG_ALIGN(q.h.nlmsg_len));
    *a = (struct rtattr){.rta_len = RTA_LENGTH(n), .rta_type = type};
    memcpy(RTA_DATA(a), value, n);
    q.h.nlmsg_len = NLMSG_ALIGN(q.h.nlmsg_len) + RTA_ALIGN(a->rta_len);
}
static struct nlmsghdr *receive(int fd)
{
    answer_len = OK(recv(fd, answer, sizeof answer, 0));
    struct nlmsghdr *h = (void *)answer;
    CHECK(NLMSG_OK(h, answer_len));
    return h;
}
static struct nlmsghdr *ask(int fd)
{
    EQ(send(fd, &q, q.h.nlmsg_len, 0), q.h.nlmsg_len);
    struct nlmsghdr *h = receive(fd);
    EQ(h->nlmsg_seq, 7);
    EQ(h->nlmsg_pid, name_of(fd).nl_pid);
    return h;
}
// The errno with which a request is answered; 0 for an acknowledgement.
static int result(int fd)
{
    struct nlmsghdr *h = ask(fd);
    EQ(h->nlmsg_type, NLMSG_ERROR);
    struct nlmsgerr *e = NLMSG_DATA(h);
    EQ(e->msg.nlmsg_type, q.h.nlmsg_type);
    return -e->error;
}
static void *find(struct nlmsghdr *h, size_t fixed, int type, size_t *len)
{
    struct rtattr *a = (void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(fixed));
    int left = h->nlmsg_len - NLMSG_SPACE(fixed);
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if ((a->rta_type & 0x3fff) == type) {
            if (len)
                *len = RTA_PAYLOAD(a);
            return RTA_DATA(a);
        }
    return NULL;
}
static void fresh(void) { OK(unshare(CLONE_NEWNET)); }
static int set_link(int fd, unsigned flags, unsigned change)
{
    struct ifinfomsg i = {.ifi_index = 1, .ifi_flags = flags, .ifi_change = change};
    begin(RTM_NEWLINK, NLM_F_ACK, &i, sizeof i);
    return result(fd);
}
static int address(int fd, int type, int flags, int family, const char *text, int prefix)
{
    struct ifaddrmsg i = {.ifa_family = family, .ifa_prefixlen = prefix, .ifa_index = 1};
    unsigned char bytes[16];
    EQ(inet_pton(family, text, bytes), 1);
    begin(type, NLM_F_ACK | flags, &i, sizeof i);
    attr(IFA_LOCAL, bytes, family == AF_INET ? 4 : 16);
    attr(IFA_ADDRESS, bytes, family == AF_INET ? 4 : 16);
    return result(fd);
}
// Addresses or routes, with a space between them, as a dump gives them.
static const char *dump(int fd, int type, int family)
{
    static char text[2000];
    unsigned char fixed[16] = {family};
    begin(type, NLM_F_DUMP, fixed, type == RTM_GETADDR ? sizeof(struct ifaddrmsg) : sizeof(struct rtmsg));
    EQ(send(fd, &q, q.h.nlmsg_len, 0), q.h.nlmsg_len);
    text[0] = 0;
    for (;;) {
        struct nlmsghdr *h = receive(fd);
        for (; NLMSG_OK(h, answer_len); h = NLMSG_NEXT(h, answer_len)) {
            CHECK(h->nlmsg_flags & NLM_F_MULTI);
            if (h->nlmsg_type == NLMSG_DONE)
                return text;
            char one[64] = "";
            if (type == RTM_GETADDR) {
                struct ifaddrmsg *i = NLMSG_DATA(h);
                EQ(i->ifa_index, 1);
                inet_ntop(i->ifa_family, find(h, sizeof *i, IFA_ADDRESS, NULL), one, sizeof one);
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s/%d%s ", one, i->ifa_prefixlen, i->ifa_flags & IFA_F_SECONDARY ? "+" : "");
            } else {
                struct rtmsg *r = NLMSG_DATA(h);
                void *to = find(h, sizeof *r, RTA_DST, NULL);
                CHECK(to);
                inet_ntop(r->rtm_family, to, one, sizeof one);
                EQ(*(int *)find(h, sizeof *r, RTA_OIF, NULL), 1);
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s/%d:%d:%d ", one, r->rtm_dst_len, r->rtm_table, r->rtm_type);
            }
        }
    }
}
static struct ifreq ifr;
static int device(int fd, int request, const char *name)
{
    memset(&ifr.ifr_name, 0, sizeof ifr.ifr_name);
    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    return ioctl(fd, request, &ifr);
}
static bool shows(const char *path, const char *text)
{
    char all[8192];
    read_file(path, all, sizeof all);
    return strstr(all, text);
}

TEST(kinds_and_protocols)
{
    close(OK(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE)));
    close(OK(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT)));
    for (int kind = 0; kind < 11; kind++)
        if (kind != SOCK_RAW && kind != SOCK_DGRAM)
            FAILS(kind == SOCK_PACKET || kind < 7 ? ESOCKTNOSUPPORT : errno, socket(AF_NETLINK, kind, NETLINK_ROUTE));
    FAILS(EPROTONOSUPPORT, socket(AF_NETLINK, SOCK_RAW, 1));
    FAILS(EPROTONOSUPPORT, socket(AF_NETLINK, SOCK_RAW, 31));
    FAILS(EPROTONOSUPPORT, socket(AF_NETLINK, SOCK_RAW, 32));
    FAILS(EPROTONOSUPPORT, socket(AF_NETLINK, SOCK_RAW, -1));
    int pair[2];
    FAILS(EOPNOTSUPP, socketpair(AF_NETLINK, SOCK_RAW, 0, pair));
    int fd = nl(NETLINK_ROUTE);
    FAILS(EOPNOTSUPP, listen(fd, 1));
    FAILS(EOPNOTSUPP, accept(fd, NULL, NULL));
    FAILS(EOPNOTSUPP, shutdown(fd, SHUT_RDWR));
    FAILS(EAGAIN, recv(fd, pair, 4, MSG_DONTWAIT));
    FAILS(ENODATA, send(fd, pair, 0, 0));
    int value;
    socklen_t n = sizeof value;
    OK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &n));
    EQ(value, NETLINK_ROUTE);
    OK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &n));
    EQ(value, AF_NETLINK);
    OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &n));
    EQ(value, SOCK_RAW);
}

TEST(numbers)
{
    fresh();
    int a = nl(NETLINK_ROUTE), b = nl(NETLINK_ROUTE);
    EQ(name_of(a).nl_pid, 0);
    OK(bind_to(a, 0, 0));
    EQ(name_of(a).nl_pid, getpid());
    FAILS(EINVAL, bind_to(a, getpid() + 1, 0));
    FAILS(EINVAL, bind_to(a, 0, 1));
    OK(bind_to(a, getpid(), 1)); // only the groups change
    EQ(name_of(a).nl_groups, 1);
    FAILS(EADDRINUSE, bind_to(b, getpid(), 0));
    OK(bind_to(b, 0, 0)); // the process' number is taken
    unsigned other = name_of(b).nl_pid;
    CHECK(other != (unsigned)getpid() && other != 0);
    int c = nl(NETLINK_KOBJECT_UEVENT);
    OK(bind_to(c, other, 0)); // each protocol has its own
    int d = nl(NETLINK_ROUTE);
    close(b);
    OK(bind_to(d, other, 0));
    struct sockaddr_nl n = {.nl_family = AF_INET};
    int e = nl(NETLINK_ROUTE);
    FAILS(EINVAL, bind(e, (void *)&n, sizeof n));
    n.nl_family = AF_NETLINK;
    FAILS(EINVAL, bind(e, (void *)&n, sizeof n - 1));
    // Sending gives a number, too.
    begin(NLMSG_NOOP, 0, "", 0);
    EQ(send(e, &q, 16, 0), 16);
    CHECK(name_of(e).nl_pid != 0);
    socklen_t size = sizeof n;
    OK(getpeername(e, (void *)&n, &size));
    EQ(n.nl_pid, 0);
    OK(connect(e, (void *)&n, sizeof n));
    // The same number in another namespace.
    fresh();
    int f = nl(NETLINK_ROUTE);
    OK(bind_to(f, getpid(), 0));
}

TEST(options)
{
    int fd = nl(NETLINK_ROUTE), value = 1;
    static const int switches[] = {NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK};
    for (unsigned i = 0; i < sizeof switches / sizeof *switches; i++)
        for (int on = 1; on >= 0; on--) {
            option(fd, switches[i], on);
            socklen_t n = sizeof value;
            OK(getsockopt(fd, SOL_NETLINK, switches[i], &value, &n));
            EQ(value, on);
            EQ(n, 4);
            n = 2;
            FAILS(EINVAL, getsockopt(fd, SOL_NETLINK, switches[i], &value, &n));
        }
    FAILS(ENOPROTOOPT, setsockopt(fd, SOL_NETLINK, 13, &value, 4));
    FAILS(ENOPROTOOPT, setsockopt(fd, SOL_NETLINK, 0, &value, 4));
    FAILS(ENOPROTOOPT, setsockopt(fd, IPPROTO_TCP, 1, &value, 4));
    value = 0;
    FAILS(EINVAL, setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &value, 4));
    value = 1000;
    FAILS(EINVAL, setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &value, 4));
    option(fd, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK);
    option(fd, NETLINK_ADD_MEMBERSHIP, 33);
    unsigned groups[4] = {0};
    socklen_t n = sizeof groups;
    OK(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &n));
    EQ(n, 8);
    EQ(groups[0], 1);
    EQ(groups[1], 1);
    EQ(name_of(fd).nl_groups, 1);
    option(fd, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
    EQ(name_of(fd).nl_groups, 0);
    value = 5000;
    OK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, 4));
    n = sizeof value;
    OK(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &n));
    EQ(value, 10000);
    // Truncated for SOL_NETLINK as elsewhere: a message that is longer than the buffer says so.
    begin(NLMSG_NOOP, NLM_F_ACK, "", 0);
    EQ(send(fd, &q, 16, 0), 16);
    char small[10];
    struct iovec iov = {small, sizeof small};
    struct sockaddr_nl from;
    char control[64];
    option(fd, NETLINK_PKTINFO, 1);
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ(recvmsg(fd, &m, MSG_PEEK | MSG_TRUNC), 36);
    EQ(m.msg_flags, MSG_TRUNC);
    EQ(m.msg_namelen, sizeof from);
    EQ(from.nl_pid, 0);
    EQ(CMSG_FIRSTHDR(&m)->cmsg_level, SOL_NETLINK);
    EQ(CMSG_FIRSTHDR(&m)->cmsg_type, NETLINK_PKTINFO);
    m.msg_controllen = 0;
    EQ(recvmsg(fd, &m, 0), 10);
    FAILS(EAGAIN, recv(fd, small, sizeof small, MSG_DONTWAIT));
}

TEST(a_new_namespace_has_a_loopback_device_that_is_down)
{
    fresh();
    int fd = nl(NETLINK_ROUTE);
    struct ifinfomsg i = {.ifi_index = 1};
    begin(RTM_GETLINK, 0, &i, sizeof i);
    struct nlmsghdr *h = ask(fd);
    EQ(h->nlmsg_type, RTM_NEWLINK);
    EQ(h->nlmsg_flags, 0);
    struct ifinfomsg *got = NLMSG_DATA(h);
    EQ(got->ifi_index, 1);
    EQ(got->ifi_type, ARPHRD_LOOPBACK);
    EQ(got->ifi_flags, IFF_LOOPBACK);
    STREQ(find(h, sizeof i, IFLA_IFNAME, NULL), "lo");
    EQ(*(int *)find(h, sizeof i, IFLA_MTU, NULL), 65536);
    EQ(*(int *)find(h, sizeof i, IFLA_TXQLEN, NULL), 1000);
    STREQ(find(h, sizeof i, IFLA_QDISC, NULL), "noop");
    size_t len;
    CHECK(find(h, sizeof i, IFLA_ADDRESS, &len) && len == 6);
    CHECK(find(h, sizeof i, IFLA_STATS64, &len) && len >= 192);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "");
    STREQ(dump(fd, RTM_GETROUTE, AF_UNSPEC), "");
    STREQ(dump(fd, RTM_GETNEIGH, AF_UNSPEC), "");

    struct if_nameindex *names = if_nameindex();
    CHECK(names && names[0].if_index == 1 && !strcmp(names[0].if_name, "lo") && !names[1].if_name);
    EQ(if_nametoindex("lo"), 1);
    EQ(if_nametoindex("eth9"), 0);
    char name[IF_NAMESIZE];
    STREQ(if_indextoname(1, name), "lo");
    CHECK(!if_indextoname(2, name) && errno == ENXIO);
    struct ifaddrs *list;
    OK(getifaddrs(&list));
    CHECK(list && !strcmp(list->ifa_name, "lo") && list->ifa_addr->sa_family == AF_PACKET && !list->ifa_next);
    EQ(list->ifa_flags, IFF_LOOPBACK);
    CHECK(shows("/proc/thread-self/net/dev", "\n    lo:       0       0    0"));
    CHECK(!shows("/proc/thread-self/net/if_inet6", "lo"));
}

TEST(up_and_down)
{
    fresh();
    int fd = nl(NETLINK_ROUTE);
    EQ(set_link(fd, IFF_UP, IFF_UP), 0);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 ::1/128 ");
    STREQ(dump(fd, RTM_GETADDR, AF_INET), "127.0.0.1/8 ");
    STREQ(dump(fd, RTM_GETADDR, AF_INET6), "::1/128 ");
    STREQ(dump(fd, RTM_GETROUTE, AF_INET), "127.0.0.0/8:255:2 127.0.0.1/32:255:2 127.255.255.255/32:255:3 ");
    STREQ(dump(fd, RTM_GETROUTE, AF_INET6), "::1/128:255:2 ");
    CHECK(shows("/proc/thread-self/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"));
    OK(device(fd, SIOCGIFFLAGS, "lo"));
    EQ(ifr.ifr_flags, IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
    struct ifaddrs *list, *at;
    OK(getifaddrs(&list));
    int seen = 0;
    for (at = list; at; at = at->ifa_next) {
        struct sockaddr_in *in = (void *)at->ifa_addr;
        if (in->sin_family == AF_INET) {
            EQ(ntohl(in->sin_addr.s_addr), INADDR_LOOPBACK);
            EQ(ntohl(((struct sockaddr_in *)at->ifa_netmask)->sin_addr.s_addr), 0xff000000);
            seen |= 1;
        }
        if (in->sin_family == AF_INET6)
            seen |= 2;
        EQ(at->ifa_flags, IFF_UP | IFF_LOOPBACK | IFF_RUNNING | 0x10000);
    }
    EQ(seen, 3);
    // The route to an address.
    struct rtmsg r = {.rtm_family = AF_INET, .rtm_dst_len = 32};
    unsigned char there[] = {127, 1, 2, 3}, nowhere[] = {10, 1, 2, 3};
    begin(RTM_GETROUTE, 0, &r, sizeof r);
    attr(RTA_DST, there, 4);
    struct nlmsghdr *h = ask(fd);
    EQ(h->nlmsg_type, RTM_NEWROUTE);
    EQ(((struct rtmsg *)NLMSG_DATA(h))->rtm_type, RTN_LOCAL);
    CHECK(!memcmp(find(h, sizeof r, RTA_DST, NULL), there, 4));
    EQ(*(int *)find(h, sizeof r, RTA_OIF, NULL), 1);
    begin(RTM_GETROUTE, 0, &r, sizeof r);
    attr(RTA_DST, nowhere, 4);
    EQ(result(fd), ENETUNREACH);
    // IPv4 addresses stay when it goes down.
    EQ(set_link(fd, 0, IFF_UP), 0);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 ");
    OK(device(fd, SIOCGIFFLAGS, "lo"));
    EQ(ifr.ifr_flags, IFF_LOOPBACK);
    // The namespace next to it knows nothing of it.
    EQ(set_link(fd, IFF_UP, IFF_UP), 0);
    fresh();
    STREQ(dump(nl(NETLINK_ROUTE), RTM_GETADDR, AF_UNSPEC), "");
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 ::1/128 "); // a socket stays where it was made
}

TEST(addresses_come_and_go)
{
    fresh();
    int fd = nl(NETLINK_ROUTE);
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, AF_INET, "127.0.0.1", 8), 0); // as bwrap does
    EQ(set_link(fd, IFF_UP, IFF_UP), 0);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 ::1/128 ");
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, AF_INET, "127.0.0.1", 8), EEXIST);
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, AF_INET, "10.1.2.3", 24), 0);
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, AF_INET, "10.1.2.4", 24), 0);
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, AF_INET6, "fd00::1", 64), 0);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 10.1.2.3/24 10.1.2.4/24+ fd00::1/64 ::1/128 ");
    char text[300] = "";
    struct ifconf c = {.ifc_len = sizeof text, .ifc_buf = text};
    OK(ioctl(fd, SIOCGIFCONF, &c));
    EQ(c.ifc_len, 3 * sizeof(struct ifreq));
    STREQ(c.ifc_req[1].ifr_name, "lo");
    EQ(ntohl(((struct sockaddr_in *)&c.ifc_req[1].ifr_addr)->sin_addr.s_addr), 0x0a010203);
    c.ifc_len = 90;
    OK(ioctl(fd, SIOCGIFCONF, &c));
    EQ(c.ifc_len, 2 * sizeof(struct ifreq));
    c.ifc_buf = NULL;
    OK(ioctl(fd, SIOCGIFCONF, &c));
    EQ(c.ifc_len, 3 * sizeof(struct ifreq));
    EQ(address(fd, RTM_DELADDR, 0, AF_INET, "10.1.2.9", 24), EADDRNOTAVAIL);
    EQ(address(fd, RTM_DELADDR, 0, AF_INET, "10.1.2.3", 24), 0); // and the secondary ones of its network
    EQ(address(fd, RTM_DELADDR, 0, AF_INET6, "fd00::1", 64), 0);
    STREQ(dump(fd, RTM_GETADDR, AF_UNSPEC), "127.0.0.1/8 ::1/128 ");
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE, AF_INET, "10.1.2.3", 33), EINVAL);
    struct ifaddrmsg i = {.ifa_family = AF_INET, .ifa_prefixlen = 8, .ifa_index = 1};
    begin(RTM_NEWADDR, NLM_F_ACK, &i, sizeof i);
    EQ(result(fd), EINVAL); // without an address
    i.ifa_index = 9;
    begin(RTM_NEWADDR, NLM_F_ACK, &i, sizeof i);
    attr(IFA_LOCAL, "\x0a\0\0\1", 4);
    EQ(result(fd), ENODEV);
}

TEST(groups_hear_of_changes)
{
    fresh();
    int fd = nl(NETLINK_ROUTE), ears = nl(NETLINK_ROUTE);
    OK(bind_to(ears, 0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
    EQ(set_link(fd, IFF_UP, IFF_UP), 0);
    bool link = false, in4 = false;
    while (!link || !in4) {
        struct nlmsghdr *h = receive(ears);
        EQ(h->nlmsg_pid, 0);
        if (h->nlmsg_type == RTM_NEWLINK) {
            struct ifinfomsg *i = NLMSG_DATA(h);
            CHECK(i->ifi_flags & IFF_UP && i->ifi_change & IFF_UP);
            link = true;
        } else {
            EQ(h->nlmsg_type, RTM_NEWADDR);
            in4 = true;
        }
    }
    EQ(address(fd, RTM_NEWADDR, NLM_F_CREATE, AF_INET, "10.1.2.3", 24), 0);
    struct sockaddr_nl from;
    socklen_t n = sizeof from;
    answer_len = OK(recvfrom(ears, answer, sizeof answer, 0, (void *)&from, &n));
    EQ(from.nl_groups, RTMGRP_IPV4_IFADDR);
    EQ(((struct nlmsghdr *)answer)->nlmsg_type, RTM_NEWADDR);
    EQ(((struct nlmsghdr *)answer)->nlmsg_pid, name_of(fd).nl_pid);
    struct pollfd p = {.fd = ears, .events = POLLIN | POLLOUT};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLOUT);
    EQ(address(fd, RTM_DELADDR, 0, AF_INET, "10.1.2.3", 24), 0);
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN | POLLOUT);
    EQ(receive(ears)->nlmsg_type, RTM_DELADDR);
}

TEST(requests_that_fail)
{
    fresh();
    int fd = nl(NETLINK_ROUTE);
    struct ifinfomsg i = {0};
    begin(RTM_GETLINK, 0, &i, sizeof i);
    EQ(result(fd), EINVAL);
    i.ifi_index = 99;
    begin(RTM_GETLINK, 0, &i, sizeof i);
    EQ(result(fd), ENODEV);
    i.ifi_index = 0;
    begin(RTM_GETLINK, 0, &i, sizeof i);
    attr(IFLA_IFNAME, "eth9", 5);
    EQ(result(fd), ENODEV);
    begin(RTM_GETLINK, NLM_F_ACK, &i, sizeof i);
    attr(IFLA_IFNAME, "lo", 3);
    EQ(ask(fd)->nlmsg_type, RTM_NEWLINK);
    EQ(receive(fd)->nlmsg_type, NLMSG_ERROR); // the acknowledgement comes behind the answer
    begin(RTM_NEWLINK, NLM_F_ACK, &i, sizeof i);
    EQ(result(fd), ENODEV);
    i.ifi_index = 1;
    begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &i, sizeof i);
    EQ(result(fd), EEXIST);
    begin(RTM_DELLINK, NLM_F_ACK, &i, sizeof i);
    EQ(result(fd), EOPNOTSUPP);
    begin(200, NLM_F_ACK, &i, sizeof i);
    EQ(result(fd), EOPNOTSUPP);
    struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_index = 1};
    begin(RTM_GETADDR, 0, &a, sizeof a);
    EQ(result(fd), EOPNOTSUPP);
    // What is no request is not answered unless it asks for it; neither is what is cut.
    begin(RTM_GETLINK, 0, &i, sizeof i);
    q.h.nlmsg_flags = NLM_F_ACK;
    EQ(result(fd), 0);
    q.h.nlmsg_flags = 0;
    EQ(send(fd, &q, q.h.nlmsg_len, 0), q.h.nlmsg_len);
    q.h.nlmsg_flags = NLM_F_REQUEST;
    EQ(send(fd, &q, 20, 0), 20);
    EQ(send(fd, &q, 3, 0), 3);
    FAILS(EAGAIN, recv(fd, answer, sizeof answer, MSG_DONTWAIT));
    // Texts, and no copy of the request.
    begin(RTM_GETLINK, 0, "1234", 4);
    EQ(ask(fd)->nlmsg_flags & 0x200, 0);
    option(fd, NETLINK_EXT_ACK, 1);
    struct nlmsghdr *h = ask(fd);
    EQ(h->nlmsg_flags & 0x300, 0x200);
    STREQ((char *)NLMSG_DATA(h) + 4 + 20 + 4, "Invalid header for get link");
    option(fd, NETLINK_CAP_ACK, 1);
    h = ask(fd);
    EQ(h->nlmsg_flags & 0x300, 0x300);
    STREQ((char *)NLMSG_DATA(h) + 4 + 16 + 4, "Invalid header for get link");
}

TEST(changes_want_a_capability)
{
    fresh();
    int fd = nl(NETLINK_ROUTE);
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        EQ(set_link(fd, IFF_UP, IFF_UP), EPERM);
        int own = nl(NETLINK_ROUTE);
        EQ(set_link(own, IFF_UP, IFF_UP), EPERM);
        STREQ(dump(own, RTM_GETADDR, AF_UNSPEC), "");
        ifr.ifr_flags = IFF_UP;
        FAILS(EPERM, device(own, SIOCSIFFLAGS, "lo"));
        FAILS(EPERM, device(own, SIOCSIFFLAGS, "eth9"));
        struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 77};
        FAILS(EPERM, sendto(own, "x", 1, 0, (void *)&to, sizeof to));
        FAILS(EPERM, connect(own, (void *)&to, sizeof to));
    }));
    WAIT_OK(FORK({
        // Root of a user namespace below has rights over its own network namespaces alone.
        OK(unshare(CLONE_NEWUSER));
        int own = nl(NETLINK_ROUTE);
        EQ(set_link(own, IFF_UP, IFF_UP), EPERM);
        fresh();
        own = nl(NETLINK_ROUTE);
        EQ(set_link(own, IFF_UP, IFF_UP), 0);
    }));
    struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 77};
    FAILS(ECONNREFUSED, sendto(fd, "x", 1, 0, (void *)&to, sizeof to));
    int other = nl(NETLINK_ROUTE);
    OK(bind_to(other, 77, 0));
    EQ(sendto(fd, "hello", 5, 0, (void *)&to, sizeof to), 5);
    socklen_t n = sizeof to;
    EQ(recvfrom(other, answer, sizeof answer, 0, (void *)&to, &n), 5);
    EQ(to.nl_pid, name_of(fd).nl_pid);
}

TEST(what_finds_no_room_is_enobufs)
{
    fresh();
    int fd = nl(NETLINK_ROUTE), value = 1;
    OK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, 4));
    begin(NLMSG_NOOP, NLM_F_ACK, "", 0);
    for (int i = 0; i < 100; i++)
        EQ(send(fd, &q, 16, 0), 16);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN | POLLERR);
    FAILS(ENOBUFS, recv(fd, answer, sizeof answer, 0));
    int count = 0;
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0)
        count++;
    CHECK(count > 0 && count < 100);
    EQ(errno, EAGAIN);
}

TEST(ioctls_on_devices)
{
    fresh();
    int fds[] = {OK(socket(AF_UNIX, SOCK_STREAM, 0)), nl(NETLINK_ROUTE)};
    for (int i = 0; i < 2; i++) {
        int fd = fds[i];
        OK(device(fd, SIOCGIFINDEX, "lo"));
        EQ(ifr.ifr_ifindex, 1);
        OK(device(fd, SIOCGIFINDEX, "lo:1")); // a label
        OK(device(fd, SIOCGIFMTU, "lo"));
        EQ(ifr.ifr_mtu, 65536);
        OK(device(fd, SIOCGIFHWADDR, "lo"));
        EQ(ifr.ifr_hwaddr.sa_family, ARPHRD_LOOPBACK);
        EQ(ifr.ifr_hwaddr.sa_data[0], 0);
        OK(device(fd, SIOCGIFTXQLEN, "lo"));
        EQ(ifr.ifr_qlen, 1000);
        OK(device(fd, SIOCGIFMETRIC, "lo"));
        EQ(ifr.ifr_metric, 0);
        FAILS(ENODEV, device(fd, SIOCGIFINDEX, "eth9"));
        FAILS(ENODEV, device(fd, SIOCGIFFLAGS, ""));
        FAILS(ENOTTY, device(fd, SIOCGIFADDR, "lo"));
        FAILS(EFAULT, ioctl(fd, SIOCGIFINDEX, 8));
        ifr.ifr_ifindex = 1;
        OK(ioctl(fd, SIOCGIFNAME, &ifr));
        STREQ(ifr.ifr_name, "lo");
        ifr.ifr_ifindex = 2;
        FAILS(ENODEV, ioctl(fd, SIOCGIFNAME, &ifr));
        ifr.ifr_flags = IFF_UP;
        OK(device(fd, SIOCSIFFLAGS, "lo"));
        OK(device(fd, SIOCGIFFLAGS, "lo"));
        EQ(ifr.ifr_flags, IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
        ifr.ifr_flags = 0;
        OK(device(fd, SIOCSIFFLAGS, "lo"));
        ifr.ifr_mtu = -1;
        FAILS(EINVAL, device(fd, SIOCSIFMTU, "lo"));
        ifr.ifr_mtu = 1500;
        OK(device(fd, SIOCSIFMTU, "lo"));
        OK(device(fd, SIOCGIFMTU, "lo"));
        EQ(ifr.ifr_mtu, 1500);
        ifr.ifr_mtu = 65536;
        OK(device(fd, SIOCSIFMTU, "lo"));
    }
}

TEST(proc_and_sys_show_the_same)
{
    fresh();
    int fd = nl(NETLINK_ROUTE), ears = nl(NETLINK_KOBJECT_UEVENT);
    OK(bind_to(ears, 4711, 1));
    char line[64];
    snprintf(line, sizeof line, " 15  4711       00000001 0        0        0 ");
    CHECK(shows("/proc/thread-self/net/netlink", line));
    close(ears);
    CHECK(!shows("/proc/thread-self/net/netlink", " 4711 "));
    OK(mkdir("sys", 0755));
    OK(unshare(CLONE_NEWNS));
    OK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mount("sys", "sys", "sysfs", 0, NULL));
    CHECK(shows("sys/class/net/lo/operstate", "down\n"));
    CHECK(shows("sys/class/net/lo/flags", "0x8\n"));
    EQ(set_link(fd, IFF_UP, IFF_UP), 0);
    CHECK(shows("sys/class/net/lo/operstate", "unknown\n"));
    CHECK(shows("sys/class/net/lo/flags", "0x9\n"));
    CHECK(shows("sys/class/net/lo/mtu", "65536\n"));
    CHECK(shows("sys/class/net/lo/address", "00:00:00:00:00:00\n"));
    CHECK(shows("sys/class/net/lo/type", "772\n"));
    CHECK(shows("sys/class/net/lo/carrier", "1\n"));
    CHECK(shows("sys/class/net/lo/statistics/rx_bytes", "0\n"));
    OK(umount("sys"));
}

static void knob(const char *name, const char *value, const char *shown)
{
    char path[100], text[100];
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
    if (value) {
        int fd = OK(open(path, O_WRONLY));
        EQ(write(fd, value, strlen(value)), strlen(value));
        close(fd);
    }
    read_file(path, text, sizeof text);
    STREQ(text, shown);
}

TEST(knobs_are_those_of_the_namespace)
{
    fresh();
    knob("ping_group_range", NULL, "1\t0\n");
    knob("ping_group_range", "0 2147483647", "0\t2147483647\n");
    knob("ping_group_range", "7 3\n", "1\t0\n"); // nobody
    knob("ip_unprivileged_port_start", NULL, "1024\n");
    knob("ip_unprivileged_port_start", "0", "0\n");
    int fd = OK(open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY));
    FAILS(EINVAL, write(fd, "65536", 5));
    FAILS(EINVAL, write(fd, "-1", 2));
    close(fd);
    fresh();
    knob("ip_unprivileged_port_start", NULL, "1024\n");
    OK(setresuid(1000, 1000, 1000));
    FAILS(EACCES, open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY));
}
MAIN()
