// Filters of what a socket receives, as libudev and systemd-logind put them on their netlink sockets: SO_ATTACH_FILTER of socket(7), Linux' networking/filter.rst.
#include "check.h"
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static int attach(int fd, struct sock_filter *insns, size_t n)
{
    struct sock_fprog program = {.len = n, .filter = insns};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}
#define ATTACH(fd, ...)                                                                                                \
    ({                                                                                                                 \
        struct sock_filter insns_[] = {__VA_ARGS__};                                                                   \
        attach(fd, insns_, sizeof insns_ / sizeof *insns_);                                                            \
    })
static int detach(int fd)
{
    int unused = 0;
    return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

// Messages that begin with a go on whole, with b two bytes of them, others not at all.
static int some(int fd)
{
    return ATTACH(fd, BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ, 'a', 2, 0),
                  BPF_JUMP(BPF_JMP | BPF_JEQ, 'b', 2, 0), BPF_STMT(BPF_RET, 0), BPF_STMT(BPF_RET, 0xffffffff),
                  BPF_STMT(BPF_RET, 2));
}
static void messages(int kind)
{
    int fds[2];
    char text[8];
    OK(socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, fds));
    FAILS(ENOENT, detach(fds[1]));
    OK(some(fds[1]));
    EQ(send(fds[0], "xyz", 3, 0), 3);
    EQ(send(fds[0], "bcd", 3, 0), 3);
    EQ(send(fds[0], "abc", 3, 0), 3);
    EQ(recv(fds[1], text, sizeof text, MSG_TRUNC), 2);
    EQ(recv(fds[1], text, sizeof text, 0), 3);
    FAILS(EAGAIN, recv(fds[1], text, sizeof text, 0));
    // The other direction has none, and each is the last one's.
    EQ(send(fds[1], "xyz", 3, 0), 3);
    EQ(recv(fds[0], text, sizeof text, 0), 3);
    OK(ATTACH(fds[1], BPF_STMT(BPF_LD | BPF_LEN, 0), BPF_STMT(BPF_ALU | BPF_SUB, 1), BPF_STMT(BPF_RET | BPF_A, 0)));
    EQ(send(fds[0], "xyz", 3, 0), 3);
    EQ(recv(fds[1], text, sizeof text, 0), 2);
    OK(detach(fds[1]));
    EQ(send(fds[0], "xyz", 3, 0), 3);
    EQ(recv(fds[1], text, sizeof text, 0), 3);
}
TEST(datagrams) { messages(SOCK_DGRAM); }
TEST(messages_of_a_connection) { messages(SOCK_SEQPACKET); }
TEST(a_stream_is_not_filtered)
{
    int fds[2];
    char text[8];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    OK(some(fds[1]));
    EQ(send(fds[0], "xyz", 3, 0), 3);
    EQ(recv(fds[1], text, sizeof text, 0), 3);
}

TEST(words_are_in_the_order_of_the_network_and_end_with_the_message)
{
    int fds[2];
    char text[8];
    OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds));
    OK(ATTACH(fds[1], BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1), BPF_JUMP(BPF_JMP | BPF_JEQ, 0x01020304, 0, 1),
              BPF_STMT(BPF_RET, 5), BPF_STMT(BPF_RET, 0)));
    EQ(send(fds[0], "\0\1\2\3\4\5", 6, 0), 6);
    EQ(recv(fds[1], text, sizeof text, 0), 5);
    EQ(send(fds[0], "\0\1\2\3", 4, 0), 4);
    FAILS(EAGAIN, recv(fds[1], text, sizeof text, 0));
    OK(ATTACH(fds[1], BPF_STMT(BPF_LDX | BPF_IMM, 0xffffffff), BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
              BPF_STMT(BPF_RET | BPF_A, 0)));
    EQ(send(fds[0], "\0\0\3\0\0\0", 6, 0), 6);
    EQ(recv(fds[1], text, sizeof text, 0), 3);
}

TEST(the_kernel_s_messages)
{
    int fd = OK(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    OK(ATTACH(fd, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JEQ, 0xfeedcafe, 1, 0),
              BPF_STMT(BPF_RET, 0xffffffff), BPF_STMT(BPF_RET, 0)));
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = 2};
    OK(bind(fd, (void *)&name, sizeof name));
    OK(detach(fd));

    fd = OK(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE));
    struct {
        struct nlmsghdr h;
        struct rtgenmsg g;
    } ask = {{.nlmsg_len = NLMSG_LENGTH(1), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}, {0}};
    char text[8192];
    OK(ATTACH(fd, BPF_STMT(BPF_RET, 0)));
    OK(send(fd, &ask, ask.h.nlmsg_len, 0));
    FAILS(EAGAIN, recv(fd, text, sizeof text, 0));
    OK(ATTACH(fd, BPF_STMT(BPF_RET, 16)));
    ask.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK; // without a name: an error
    OK(send(fd, &ask, ask.h.nlmsg_len, 0));
    EQ(recv(fd, text, sizeof text, 0), 16);
}

TEST(what_is_no_filter)
{
    int fd = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), value = 0;
    struct sock_filter insns[] = {BPF_STMT(BPF_RET, 1)};
    struct sock_fprog program = {.len = 1, .filter = insns};
    FAILS(EINVAL, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program - 1));
    FAILS(EINVAL, setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &value, 3));
    FAILS(EINVAL, attach(fd, insns, 0));
    FAILS(EINVAL, attach(fd, NULL, 1));
    FAILS(EFAULT, attach(fd, (void *)8, 1));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_LD | BPF_IMM, 0)));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_LD | 0x18 | BPF_ABS, 0), BPF_STMT(BPF_RET, 0)));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_LDX | BPF_MSH, 0), BPF_STMT(BPF_RET, 0)));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_ALU | BPF_MOD, 0), BPF_STMT(BPF_RET, 0)));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_LD | BPF_MEM, 0), BPF_STMT(BPF_RET, 0)));
    FAILS(EINVAL, ATTACH(fd, BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET, 0)));
    FAILS(ENOENT, detach(fd));
    OK(ATTACH(fd, BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_ALU | BPF_MOD, 3), BPF_STMT(BPF_RET | BPF_A, 0)));
    FAILS(EINVAL, attach(fd, insns, 0));
    OK(detach(fd));
}

MAIN()
