// Attacks on the stub from within its own address space: docs/platform.md, "What is hostile". Guest code may do all of this; it must not reach anybody else.
#include "stub.h"

// Calls that trap: the stub's handler, the mailbox and a script have a part in each.
static void trapped_calls(void)
{
    void *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    munmap(map, 8192);
    raise(SIGWINCH);
    signal(SIGUSR1, innocent_handler);
    raise(SIGUSR1);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
}
static void *noise(void *until)
{
    while (!*(volatile int *)until) {
        syscall(SYS_getppid);
        void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        munmap(map, 4096);
    }
    return until;
}

STUB(jumps_with_arbitrary_registers)
{
    for (int i = 0; i < 250; i++) {
        hostile_random();
        ATTEMPT({
            uint64_t r[15];
            for (int n = 0; n < 15; n++)
                switch (hostile_random() % 5) {
                case 0: r[n] = hostile_random(); break;
                case 1: r[n] = hostile_random() % 16; break;
                case 2: r[n] = stub_base + hostile_random() % 0x60000000; break;
                case 3: r[n] = (uint64_t)stub_mine(); break;
                case 4: r[n] = (uint64_t)r; break;
                }
            // On its own signal stack, or on the guest's stack.
            uint64_t sp = hostile_random() % 2 ? (uint64_t)stub_mine() + 0x8000 + hostile_random() % 0x4000 / 8 * 8 : (uint64_t)r - 4096;
            uint64_t ip = stub_base + STUB_TEXT + hostile_random() % (i % 2 ? 0x4000 : 0x200);
            asm volatile("mov %2, %%r11; mov %1, %%rsp; push %%r11; mov %0, %%r15\n\t"
                         "mov 0(%%r15), %%rax; mov 8(%%r15), %%rbx; mov 16(%%r15), %%rcx; mov 24(%%r15), %%rdx; mov 32(%%r15), %%rsi\n\t"
                         "mov 40(%%r15), %%rdi; mov 48(%%r15), %%rbp; mov 56(%%r15), %%r8; mov 64(%%r15), %%r9; mov 72(%%r15), %%r10\n\t"
                         "mov 88(%%r15), %%r12; mov 96(%%r15), %%r13; mov 104(%%r15), %%r14; mov 112(%%r15), %%r15; ret"
                         :
                         : "r"(r), "r"(sp), "r"(ip)
                         : "memory");
        });
    }
}

STUB(scribbled_mailboxes)
{
    for (int i = 0; i < 12; i++) {
        hostile_random();
        ATTEMPT({
            struct stub_private *mine = stub_mine();
            unsigned char *box = stub_mailbox(mine);
            static int until;
            pthread_t threads[2];
            pthread_create(&threads[0], NULL, noise, &until);
            pid_t self = getpid();
            // A sibling in memory, but not a thread, scribbles while we call.
            if (fork() == 0) {
                for (int n = 0; n < 200; n++)
                    trapped_calls();
                _exit(0);
            }
            pthread_t scribbler;
            void *scribble(void *arg)
            {
                for (int n = 0; n < 100000; n++) {
                    int at = hostile_random() % (i % 2 ? 4096 : 1024);
                    box[at + (hostile_random() % 2 ? 65536 : 0)] = hostile_random();
                    if (i % 3 == 0)
                        ((unsigned char *)mine)[16 + hostile_random() % 48] = hostile_random();
                }
                return arg;
            }
            pthread_create(&scribbler, NULL, scribble, NULL);
            for (int n = 0; n < 200 && getpid() == self; n++)
                trapped_calls();
        });
    }
}

STUB(the_stub_unmapped_and_protected)
{
    static const struct {
        uint64_t at, len;
    } parts[] = {{STUB_TEXT, STUB_TEXT_LEN}, {STUB_BLOCKS, STUB_SHARED}, {STUB_BLOCKS + STUB_SHARED, STUB_SHARED}, {0, 0x60000000}, {0, 1ul << 47}};
    for (unsigned part = 0; part < sizeof parts / sizeof *parts; part++)
        for (int how = 0; how < 6; how++) {
            uint64_t at = parts[part].len > 1ul << 40 ? 0x10000 : stub_base + parts[part].at, len = parts[part].len;
            ATTEMPT({ // by the guest's own calls
                how == 0 ? munmap((void *)at, len) : how < 5 ? mprotect((void *)at, len, how - 1) : madvise((void *)at, len, MADV_DONTNEED);
                mmap((void *)at, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
                trapped_calls();
            });
            ATTEMPT({ // by the stub's
                stub_usurp(NULL);
                how == 0   ? stub_call(SYS_munmap, at, len, 0, 0, 0, 0)
                : how < 5  ? stub_call(SYS_mprotect, at, len, how - 1, 0, 0, 0)
                           : stub_call(SYS_madvise, at, len, MADV_DONTNEED, 0, 0, 0);
                trapped_calls();
            });
        }
}

STUB(bells_out_of_turn)
{
    for (int i = 0; i < 200; i++) {
        hostile_random();
        ATTEMPT({
            struct stub_private *mine = stub_mine();
            stub_usurp(NULL);
            uint64_t seq = mine->seq;
            for (int n = 0; n < 8; n++) {
                unsigned char *box = stub_mailbox(mine);
                if (i % 4 == 0)
                    for (int k = 0; k < 4096; k++)
                        box[k] = hostile_random();
                int off = i % 3 ? 0 : (int)(hostile_random() % 5) - 2;
                uint64_t kind = i % 20 < 16 ? i % 20 : hostile_random();
                stub_ring(mine, kind, mine->cookie[0] + (i % 50 == 49), mine->cookie[1], hostile_random() >> hostile_random() % 64,
                          hostile_random() >> hostile_random() % 64, ++seq + off);
            }
        });
    }
}

// A stub of our own: rings as the protocol says, and lies about what came of it.
static int lie;
static void liar(int sig, siginfo_t *info, ucontext_t *context)
{
    struct stub_private *mine = (struct stub_private *)((uint64_t)__builtin_frame_address(0) & ~0xfffful);
    unsigned char *box = stub_mailbox(mine);
    greg_t *r = context->uc_mcontext.gregs;
    uint64_t words[8] = {r[REG_RAX] & 0xffffffff, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9], r[REG_RIP]};
    memcpy(box, words, sizeof words);
    long kind = sig == SIGSYS ? 5 : sig == SIGURG ? 6 : 7;
    for (int round = 0; round < 60; round++) {
        stub_ring(mine, kind, mine->cookie[0], mine->cookie[1], kind == 8 ? (long)hostile_random() >> hostile_random() % 64 : 0,
                  kind == 8 ? hostile_random() % 64 : 0, ++mine->seq);
        uint32_t op = *(volatile uint32_t *)(box + STUB_OP);
        if (op == 8) // PARK: busily instead
            usleep(100);
        if (op == 4 || op == 5) // FORK, SPAWN: as ordered, twice, with other flags, or not at all
            for (int n = 0; n < lie % 4; n++)
                if (stub_call(SYS_clone, lie % 5 == 4 ? SIGCHLD : op == 4 ? 0x8011 : 0x2d0f00, 0, 0, 0, 0, 0) == 0) {
                    if (lie % 3 == 0)
                        for (;;) // hidden
                            stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
                    if (lie % 3 == 1)
                        stub_call(SYS_exit, 0, 0, 0, 0, 0, 0);
                    stub_tell(mine, 2, mine->cookie[0], mine->cookie[1], 0, 0, 1); // with its parent's cookie
                }
        kind = op == 3 || op == 4 || op == 5 || op == 6 ? 8 : lie % 7 == 6 ? hostile_random() % 9 : 6;
        if (op <= 1 && lie % 2) {
            r[REG_RAX] = 0;
            return;
        }
    }
}
STUB(a_lying_stub)
{
    for (lie = 0; lie < 60; lie++) {
        hostile_random();
        ATTEMPT({
            stub_usurp(liar);
            for (int n = 0; n < 5; n++)
                trapped_calls();
            int until = 1;
            pthread_t thread;
            pthread_create(&thread, NULL, noise, &until);
            execl("/proc/self/exe", "self", "helper:nothing", NULL);
        });
    }
}
HELPER(nothing) { return 0; }

STUB(raw_clones_and_exits)
{
    static const long flags[] = {SIGCHLD, 0x8011, 0x2d0f00, 0, CLONE_VM, CLONE_PARENT | CLONE_VM, CLONE_NEWUSER | SIGCHLD, CLONE_UNTRACED | 0x8011};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        ATTEMPT({
            stub_usurp(NULL);
            stub_call(SYS_clone, flags[i], 0, 0, 0, 0, 0);
        });
    for (int i = 0; i < 20; i++)
        ATTEMPT({
            static int until;
            pthread_t threads[4];
            for (int n = 0; n < 4; n++)
                pthread_create(&threads[n], NULL, noise, &until);
            usleep(i * 100);
            stub_usurp(NULL);
            if (i % 3 == 0)
                stub_call(SYS_exit, 0, 0, 0, 0, 0, 0); // the leader alone
            if (i % 3 == 1)
                stub_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
            stub_call(SYS_set_tid_address, stub_base + STUB_BLOCKS + STUB_SHARED, 0, 0, 0, 0, 0);
            stub_call(SYS_exit, 0, 0, 0, 0, 0, 0);
        });
}

// Its siblings' parking place, requeued and woken: they run while their kernel thinks that they wait.
STUB(parked_threads_woken)
{
    for (int i = 0; i < 10; i++)
        ATTEMPT({
            static int channel[2];
            void *waiter(void *arg)
            {
                char c;
                while (read(channel[0], &c, 1) >= 0)
                    syscall(SYS_getppid);
                return arg;
            }
            pipe(channel);
            pthread_t threads[20];
            for (int n = 0; n < 20; n++)
                pthread_create(&threads[n], NULL, waiter, NULL);
            usleep(60000); // parked
            stub_usurp(NULL);
            for (int slot = 0; slot < 24; slot++) {
                unsigned char *box = stub_mailbox(stub_private(slot));
                for (int at = 0; at < 1024; at += 4) {
                    if (i % 2)
                        *(uint32_t *)(box + at) = i % 4 == 1 ? 1 : hostile_random() % 12;
                    stub_call(SYS_futex, (long)box + at, FUTEX_CMP_REQUEUE, 1, 100, (long)stub_mailbox(stub_private(1)) + 512, *(uint32_t *)(box + at));
                    stub_call(SYS_futex, (long)box + at, FUTEX_WAKE, 100, 0, 0, 0);
                }
            }
            write(channel[1], "0123456789", 10);
            usleep(20000);
        });
}

// Files that the kernel hands to the stub for a mapping: a sibling looks for them all the time, and maps what it finds to be written.
STUB(stolen_descriptors)
{
    ATTEMPT({
        stub_usurp(NULL);
        static int until;
        void *thief(void *arg)
        {
            while (!*(volatile int *)arg)
                for (int fd = 0; fd < 16; fd++) {
                    long map = stub_call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                    if (map > 0)
                        memset((void *)map, 'x', 4096), stub_call(SYS_munmap, map, 4096, 0, 0, 0, 0);
                    stub_call(SYS_close, fd, 0, 0, 0, 0, 0);
                }
            return arg;
        }
        pthread_t threads[2];
        for (int n = 0; n < 2; n++)
            pthread_create(&threads[n], NULL, thief, &until);
        int fd = open("/proc/self/exe", O_RDONLY); // of a mapping that all processes of this program share
        for (int n = 0; n < 3000; n++) {
            void *map = mmap(NULL, 65536, PROT_READ | PROT_EXEC, n % 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
            munmap(map, 65536);
        }
        until = 1;
    });
    char mine[4096];
    int fd = open("/proc/self/exe", O_RDONLY);
    if (pread(fd, mine, 4096, 0) != 4096 || memcmp(mine, "\177ELF", 4))
        *hostile_breach = 1;
}
MAIN()
