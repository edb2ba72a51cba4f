// The stub that lies in every guest address space, as hostile code finds it (docs/platform.md, "The region"): no interface, and checked before use.
#pragma once
#include "hostile.h"
#include <linux/futex.h>
#include <ucontext.h>

#define STUB_TEXT 0x0ul
#define STUB_TEXT_LEN 0x10000ul
#define STUB_BLOCKS 0x20000ul // each of 16 slots: their private parts, then their mailboxes
#define STUB_BLOCK_LEN 0x200000ul
#define STUB_SHARED 0x100000ul // from a private page to its mailbox
#define STUB_STRIDE 0x10000ul
#define STUB_DOORBELL 111
#define STUB_MAGIC 0x627574736b637473ul

// Offsets in a mailbox of `op`, `arg` and `park` (crates/platform/src/mailbox.rs tests them).
#define STUB_OP 736
#define STUB_ARG 752
#define STUB_PARK 864

struct stub_private {
    uint64_t cookie[2], seq, slot, fsgsbase, frame;
    uint64_t by_socket, files; // without a listener
};
static uint64_t stub_base;      // of the region
static unsigned char *stub_insn; // a `syscall` in its text, and what follows it

// Whether an address can be read, asked of the host by a futex call that guest text makes by itself.
static inline bool stub_readable(uint64_t at)
{
    return syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, 0x5ca1ab1e, NULL, NULL, 0) < 0 && errno == EAGAIN;
}
static inline void stub_find(void)
{
    for (uint64_t base = 1ul << 32; base < 0x7fff00000000; base += 1ul << 32) {
        if (!stub_readable(base + STUB_TEXT) || *(uint64_t *)(base + STUB_TEXT) != STUB_MAGIC)
            continue;
        unsigned char *text = (unsigned char *)(base + STUB_TEXT);
        for (unsigned i = 0; i < STUB_TEXT_LEN - 4 && !stub_insn; i++)
            if (!memcmp(text + i, "\x0f\x05\x0f\x0b", 4)) // syscall; ud2
                stub_insn = text + i;
        stub_base = base;
    }
}
// A host call from the stub's text with any arguments. What follows the instruction there runs next: before `stub_usurp` that is an end.
static inline long stub_call(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
    asm volatile("call *%1"
                 : "=a"(result)
                 : "r"(stub_insn), "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}
// Puts a copy of the text in its place whose `syscall` returns, and whose signal handler is ours: from now on this process is its own stub.
static inline void stub_usurp(void (*handler)(int, siginfo_t *, ucontext_t *))
{
    unsigned char *copy = mmap(NULL, STUB_TEXT_LEN, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *text = (unsigned char *)(stub_base + STUB_TEXT);
    memcpy(copy, text, STUB_TEXT_LEN);
    copy[stub_insn - text + 2] = 0xc3; // ret
    if (handler) {
        unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; // movabs rax; jmp rax
        memcpy(jump + 2, &handler, 8);
        memcpy(copy + ((uint64_t *)text)[2], jump, sizeof jump);
    }
    stub_call(SYS_mremap, (long)copy, STUB_TEXT_LEN, STUB_TEXT_LEN, MREMAP_MAYMOVE | MREMAP_FIXED, (long)text, 0);
}
// The private page of the first slot that is in use, and its mailbox.
static inline struct stub_private *stub_private(int slot)
{
    return (struct stub_private *)(stub_base + STUB_BLOCKS + slot / 16 * STUB_BLOCK_LEN + slot % 16 * STUB_STRIDE);
}
static inline struct stub_private *stub_mine(void)
{
    for (int slot = 0; slot < 64; slot++)
        if (stub_readable((uint64_t)stub_private(slot)) && stub_private(slot)->cookie[0])
            return stub_private(slot);
    _exit(90);
}
static inline unsigned char *stub_mailbox(struct stub_private *mine)
{
    return (unsigned char *)mine + STUB_SHARED;
}
// Sends a doorbell by the way that this sandbox has. With a listener it returns with the answer.
static inline long stub_tell(struct stub_private *mine, uint64_t kind, uint64_t c0, uint64_t c1, uint64_t a, uint64_t b, uint64_t seq)
{
    uint64_t words[6] = {kind, c0, c1, a, b, seq};
    if (!mine->by_socket)
        return stub_call(STUB_DOORBELL, kind, c0, c1, a, b, seq);
    return stub_call(SYS_sendto, 0, (long)words, sizeof words, MSG_NOSIGNAL, 0, 0);
}
// Rings, and waits for the answer in the mailbox, for so long as an honest kernel needs.
static inline void stub_ring(struct stub_private *mine, uint64_t kind, uint64_t c0, uint64_t c1, uint64_t a, uint64_t b, uint64_t seq)
{
    volatile uint32_t *park = (uint32_t *)(stub_mailbox(mine) + STUB_PARK);
    struct timespec moment = {0, 20000000};
    if (mine->by_socket)
        *park = 0;
    stub_tell(mine, kind, c0, c1, a, b, seq);
    for (int n = 0; mine->by_socket && !*park && n < 20; n++)
        stub_call(SYS_futex, (long)park, FUTEX_WAIT, 0, (long)&moment, 0, 0);
}

// An attack on the stub, beside an innocent neighbour.
#define STUB(id)                                                                                                       \
    static void attack_##id(void);                                                                                     \
    TEST(id)                                                                                                           \
    {                                                                                                                  \
        stub_find();                                                                                                   \
        CHECK(stub_insn); /* or nothing is attacked */                                                                 \
        beside_innocent(attack_##id);                                                                                  \
    }                                                                                                                  \
    static void attack_##id(void)
