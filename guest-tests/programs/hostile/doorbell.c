// Attacks by a stub of the guest's own, which knows the protocol: births, files that are handed over, and messages in others' names. docs/platform.md, "What is hostile".
// Where there is a listener the same code attacks what takes their place.
#include "stub.h"

// The same, of an attack that needs an order of the kernel's: it must have come.
#define ORDERED(id)                                                                                                    \
    static void attack_##id(void);                                                                                     \
    TEST(id)                                                                                                           \
    {                                                                                                                  \
        stub_find();                                                                                                   \
        CHECK(stub_insn);                                                                                              \
        beside_innocent(attack_##id);                                                                                  \
        CHECK(hostile_breach[1]);                                                                                      \
    }                                                                                                                  \
    static void attack_##id(void)

// What our stub does, besides handing calls over as the protocol says.
static void (*at_order)(struct stub_private *mine, unsigned char *box, uint32_t op);
static int variant;
static void our_stub(int sig, siginfo_t *info, ucontext_t *context)
{
    struct stub_private *mine = (struct stub_private *)((uint64_t)__builtin_frame_address(0) & ~0xfffful);
    unsigned char *box = stub_mailbox(mine);
    greg_t *r = context->uc_mcontext.gregs;
    uint64_t words[8] = {r[REG_RAX] & 0xffffffff, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9], r[REG_RIP]};
    memcpy(box, words, sizeof words);
    long kind = sig == SIGSYS ? 5 : sig == SIGURG ? 6 : 7, result = 0;
    for (int round = 0; round < 200; round++) {
        stub_ring(mine, kind, mine->cookie[0], mine->cookie[1], result, 0, ++mine->seq);
        uint32_t op = *(volatile uint32_t *)(box + STUB_OP);
        kind = op == 3 || op == 4 || op == 5 || op == 6 ? 8 : 6;
        result = kind == 8 ? -EPERM : 0;
        if (op == 4 || op == 5 || op == 12) {
            hostile_breach[1] = 1;
            at_order(mine, box, op);
        }
        if (op <= 1) {
            if (op == 1)
                r[REG_RAX] = *(volatile uint64_t *)(box + STUB_OP + 8);
            return;
        }
    }
    stub_call(SYS_exit_group, 1, 0, 0, 0, 0, 0);
}
static void try_with(void (*order)(struct stub_private *, unsigned char *, uint32_t), void (*calls)(void))
{
    at_order = order;
    stub_usurp(our_stub);
    calls();
}
static void forks(void)
{
    for (int n = 0; n < 4; n++)
        if (syscall(SYS_fork) == 0)
            _exit(0);
}
static void threads(void)
{
    static char stack[65536];
    for (int n = 0; n < 4; n++)
        syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, stack + 65536, 0, 0, 0);
}
static void maps(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    for (int n = 0; n < 40; n++)
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
}

// No clone call makes anything that was not ordered.
STUB(clones_out_of_turn_make_nothing)
{
    static const long flags[] = {0x8011, SIGCHLD, 0x2d0f00, CLONE_VM, CLONE_PARENT | CLONE_VM, CLONE_NEWUSER | SIGCHLD, CLONE_UNTRACED | 0x8011, CLONE_PTRACE | 0x8011, 0x10000};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        ATTEMPT({
            stub_usurp(NULL);
            for (int n = 0; n < 20; n++) {
                long r = stub_call(SYS_clone, flags[i], 0, 0, 0, 0, 0);
                if (r >= 0)
                    *hostile_breach = 1;
                if (r == 0)
                    stub_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
            }
        });
}

// An order is for one call, with its own arguments.
static void other_clones(struct stub_private *mine, unsigned char *box, uint32_t op)
{
    long right = op == 4 ? 0x8011 : 0x2d0f00;
    static const long wrong[] = {CLONE_PARENT, SIGCHLD, 0x8011 | CLONE_FILES, 0x8011 | CLONE_VM, 0x8011 | CLONE_UNTRACED, 0x10000, 0x8011 | 1ul << 32, 0x1000000000011};
    long r = stub_call(SYS_clone, variant < 8 ? wrong[variant] : right, 0, variant == 8 ? 4096 : 0, 0, 0, variant == 9 ? 1 : 0);
    if (r >= 0)
        *hostile_breach = 2;
    if (r == 0)
        stub_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}
ORDERED(other_clones_than_ordered)
{
    for (variant = 0; variant < 10; variant++) {
        ATTEMPT(try_with(other_clones, forks));
        ATTEMPT(try_with(other_clones, threads));
    }
}
static void two_clones(struct stub_private *mine, unsigned char *box, uint32_t op)
{
    if (op != 4)
        return;
    if (stub_call(SYS_clone, 0x8011, 0, 0, 0, 0, 0) == 0)
        stub_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
    long r = stub_call(SYS_clone, 0x8011, 0, 0, 0, 0, 0);
    if (r >= 0)
        *hostile_breach = 3;
    if (r == 0)
        stub_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}
ORDERED(two_clones_for_one_order)
{
    for (int i = 0; i < 10; i++)
        ATTEMPT(try_with(two_clones, forks));
}

// A child that keeps what its parent holds, hides, or is somebody else.
static void bad_child(struct stub_private *mine, unsigned char *box, uint32_t op)
{
    uint64_t c0 = *(volatile uint64_t *)(box + STUB_ARG), c1 = *(volatile uint64_t *)(box + STUB_ARG + 8);
    long r = op == 4 ? stub_call(SYS_clone, 0x8011, 0, 0, 0, 0, 0) : 0;
    if (r > 0 && variant % 12 >= 8) // the parent in its child's name
        stub_tell(mine, variant % 2 ? 2 : 3, c0, c1, 1, 0, 1);
    if (r != 0 || op != 4)
        return;
    switch (variant % 12) {
    case 0:
        for (;;) {
        }
    case 1: stub_call(SYS_close_range, 2, ~0u, 0, 0, 0, 0); break;
    case 2: stub_call(SYS_close_range, 1, 1, 0, 0, 0, 0); break;
    case 3: stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0); break;
    case 4: syscall(SYS_close_range, 1, ~0u, 0); break; // not the stub's
    case 5: *(volatile int *)0 = 0; break;
    case 6: stub_call(SYS_clone, 0x8011, 0, 0, 0, 0, 0); break;
    case 7: stub_call(SYS_exit, 0, 0, 0, 0, 0, 0); break;
    default: stub_call(SYS_close_range, 1, ~0u, 0, 0, 0, 0); break;
    }
    for (int n = 0; n < 18; n++) { // with a socket for its files that is none, its parent's, or the doorbell
        stub_tell(mine, 2, c0, c1, n, 0, 1);
        stub_tell(mine, 5, mine->cookie[0], mine->cookie[1], 0, 0, mine->seq + 1);
    }
    for (;;)
        stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}
ORDERED(children_that_keep_or_hide)
{
    for (variant = 0; variant < 12; variant++)
        ATTEMPT(try_with(bad_child, forks));
}

// Orders that are not followed: the next births of all others must not wait for it.
static void no_clone(struct stub_private *mine, unsigned char *box, uint32_t op)
{
    for (int n = 0; n < 1000; n++)
        switch (variant) {
        case 0: stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0); break;
        case 1: stub_tell(mine, 8, mine->cookie[0], mine->cookie[1], -1, 0, ++mine->seq); break;
        case 2: stub_call(SYS_exit, 0, 0, 0, 0, 0, 0); break;
        case 3: asm volatile("int3"); break;
        }
}
ORDERED(orders_that_are_not_followed)
{
    for (variant = 0; variant < 4; variant++) {
        ATTEMPT(try_with(no_clone, forks));
        ATTEMPT(try_with(no_clone, threads));
    }
}

// Files are not received, or by whom they are not for.
static void files_left(struct stub_private *mine, unsigned char *box, uint32_t op)
{
    if (op == 12 && variant == 1) {
        stub_call(SYS_close, mine->files, 0, 0, 0, 0, 0);
        stub_call(SYS_close, 0, 0, 0, 0, 0, 0);
    }
}
STUB(files_that_are_not_received)
{
    for (variant = 0; variant < 2; variant++)
        ATTEMPT(try_with(files_left, maps));
    ATTEMPT({
        struct stub_private *mine = stub_mine();
        stub_usurp(NULL);
        char byte;
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        stub_call(SYS_recvmsg, mine->by_socket ? mine->files : 0, (long)&message, MSG_CMSG_CLOEXEC, 0, 0, 0);
    });
}

// Messages without sense, as many as go.
STUB(floods)
{
    for (int i = 0; i < 30; i++) {
        hostile_random();
        ATTEMPT({
            struct stub_private *mine = stub_mine();
            stub_usurp(NULL);
            uint64_t words[8] = {5, mine->cookie[0], mine->cookie[1], 0, 0, mine->seq + 1};
            for (int n = 0; n < 3000; n++) {
                long len = i % 3 == 0 ? (long)(hostile_random() % 64) : 48;
                if (i % 3 == 1)
                    words[hostile_random() % 6] = hostile_random();
                stub_call(SYS_sendto, i % 5 == 4 ? hostile_random() % 16 : 0, (long)words, len, MSG_NOSIGNAL, 0, 0);
            }
        });
    }
    ATTEMPT({
        stub_usurp(NULL);
        int ends[2];
        for (int n = 0; n < 40; n++)
            if (stub_call(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)ends, 0, 0) == 0)
                for (int m = 0; m < 10; m++)
                    stub_call(SYS_sendto, ends[0], (long)ends, 1, MSG_NOSIGNAL, 0, 0);
    });
    ATTEMPT({
        stub_usurp(NULL);
        stub_call(SYS_socketpair, AF_INET, SOCK_STREAM, 0, 0, 0, 0);
        *hostile_breach = 4;
    });
}
MAIN()
