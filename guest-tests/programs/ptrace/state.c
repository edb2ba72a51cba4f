// ptrace(2): a tracee's registers, memory, breakpoints and steps.
#include "ptrace.h"
#include <elf.h>

// Loads all general registers but the stack pointer and the FPU's with known values, traps, and gives back what they are after it.
__attribute__((naked, noinline)) static void load_and_trap(uint64_t *all)
{
    (void)all;
    __asm__("push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
            "mov $0x1111, %eax; movq %rax, %xmm5; fldpi\n"
            "mov $1, %eax; mov $2, %ebx; mov $3, %ecx; mov $4, %edx; mov $5, %esi; mov $6, %edi; mov $7, %ebp\n"
            "mov $8, %r8d; mov $9, %r9d; mov $10, %r10d; mov $11, %r11d; mov $12, %r12d; mov $13, %r13d; mov $14, %r14d; mov $15, %r15d\n"
            "int3\n"
            "xchg (%rsp), %rdi; mov %rax, (%rdi); mov %rbx, 8(%rdi); mov %rcx, 16(%rdi); mov %rdx, 24(%rdi); mov %rsi, 32(%rdi)\n"
            "mov (%rsp), %rsi; mov %rsi, 40(%rdi); mov %rbp, 48(%rdi); mov %r8, 56(%rdi); mov %r9, 64(%rdi); mov %r10, 72(%rdi); mov %r11, 80(%rdi)\n"
            "mov %r12, 88(%rdi); mov %r13, 96(%rdi); mov %r14, 104(%rdi); mov %r15, 112(%rdi); movq %xmm5, 120(%rdi); fstp %st(0)\n"
            "pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");
}
TEST(registers_are_seen_and_changed)
{
    pid_t pid = TRACEE({
        uint64_t all[16];
        load_and_trap(all);
        for (int i = 0; i < 15; i++)
            EQ(all[i], 1001 + i);
        EQ(all[15], 0x2222);
    });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP);
    siginfo_t info;
    OK(PTRACE(PTRACE_GETSIGINFO, pid, 0, &info));
    EQ(info.si_code, SI_KERNEL);
    struct user_regs_struct regs = regs_of(pid);
    EQ(regs.rax, 1); EQ(regs.rbx, 2); EQ(regs.rcx, 3); EQ(regs.rdx, 4); EQ(regs.rsi, 5); EQ(regs.rdi, 6); EQ(regs.rbp, 7);
    EQ(regs.r8, 8); EQ(regs.r9, 9); EQ(regs.r10, 10); EQ(regs.r11, 11); EQ(regs.r12, 12); EQ(regs.r15, 15);
    EQ((long)regs.orig_rax, -1); EQ(regs.cs, 0x33); EQ(regs.ss, 0x2b); CHECK(regs.fs_base); EQ(regs.gs_base, 0);
    EQ(PTRACE(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.r9), 0), 9);
    EQ(PTRACE(PTRACE_PEEKTEXT, pid, regs.rip - 1, 0) & 0xff, 0xcc);
    struct user_regs_struct set;
    struct iovec part = {&set, sizeof set + 104};
    OK(PTRACE(PTRACE_GETREGSET, pid, NT_PRSTATUS, &part));
    EQ(part.iov_len, sizeof set); CHECK(!memcmp(&set, &regs, sizeof set));
    regs.rax = 1001, regs.rbx = 1002, regs.rcx = 1003, regs.rdx = 1004, regs.rsi = 1005, regs.rdi = 1006, regs.rbp = 1007;
    regs.r8 = 1008, regs.r9 = 1009, regs.r10 = 1010, regs.r11 = 1011, regs.r12 = 1012, regs.r13 = 1013, regs.r14 = 1014;
    OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
    OK(PTRACE(PTRACE_POKEUSER, pid, offsetof(struct user, regs.r15), 1015));
    EQ(regs_of(pid).r15, 1015);
    struct user_fpregs_struct fpu;
    OK(PTRACE(PTRACE_GETFPREGS, pid, 0, &fpu));
    EQ(fpu.xmm_space[20], 0x1111); EQ(fpu.st_space[2] & 0xffff, 0x4000);
    fpu.xmm_space[20] = 0x2222;
    OK(PTRACE(PTRACE_SETFPREGS, pid, 0, &fpu));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(the_whole_fpu_state)
{
    pid_t pid = TRACEE({ raise(SIGUSR1); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1);
    static unsigned char state[16384], again[16384];
    struct iovec part = {state, sizeof state};
    OK(PTRACE(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &part));
    CHECK(part.iov_len >= 576);
    uint64_t components = *(uint64_t *)(state + 464);
    CHECK(components & 1 && components & 2);
    size_t len = part.iov_len;
    state[160 + 16 * 7] = 0x77, *(uint64_t *)(state + 512) |= 2;
    OK(PTRACE(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &part));
    part = (struct iovec){again, sizeof again};
    OK(PTRACE(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &part));
    EQ(part.iov_len, len); CHECK(!memcmp(state, again, len));
    FAILS(EINVAL, PTRACE(PTRACE_GETREGSET, pid, 0x777, &part));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
static volatile long word = 0x1234;
TEST(memory_is_seen_and_changed)
{
    long *none = OK(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    pid_t pid = TRACEE({ raise(SIGUSR1); _exit(word == 0x5678 ? 0 : 1); });
    errno = 0;
    EQ(PTRACE(PTRACE_PEEKDATA, pid, &word, 0), 0x1234);
    OK(PTRACE(PTRACE_POKEDATA, pid, &word, 0x5678));
    FAILS(EIO, PTRACE(PTRACE_PEEKDATA, pid, 0x1000, 0));
    FAILS(EIO, PTRACE(PTRACE_POKEDATA, pid, 0x1000, 0));
    FAILS(EIO, PTRACE(PTRACE_POKEDATA, pid, 0xffffffffff600000, 0));
    (void)none;
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1);
    EQ(PTRACE(PTRACE_PEEKDATA, pid, &word, 0), 0x5678);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
    EQ(word, 0x1234);
}
__attribute__((noinline)) static int broken(int n)
{
    __asm__ volatile("");
    return n + 1;
}
TEST(a_breakpoint)
{
    pid_t pid = TRACEE({ EQ(broken(1), 2); EQ(broken(2), 3); });
    long code = PTRACE(PTRACE_PEEKTEXT, pid, broken, 0);
    OK(PTRACE(PTRACE_POKETEXT, pid, broken, (code & ~0xffl) | 0xcc));
    EQ(PTRACE(PTRACE_PEEKTEXT, pid, broken, 0) & 0xff, 0xcc);
    for (int i = 1; i <= 2; i++) {
        OK(PTRACE(PTRACE_CONT, pid, 0, 0));
        STOPS(pid, SIGTRAP);
        struct user_regs_struct regs = regs_of(pid);
        EQ(regs.rip, (uint64_t)broken + 1); EQ(regs.rdi, i);
        // Over it: the old code, one step, and the breakpoint again.
        regs.rip--;
        OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
        OK(PTRACE(PTRACE_POKETEXT, pid, broken, code));
        OK(PTRACE(PTRACE_SINGLESTEP, pid, 0, 0));
        STOPS(pid, SIGTRAP);
        siginfo_t info;
        OK(PTRACE(PTRACE_GETSIGINFO, pid, 0, &info));
        EQ(info.si_code, TRAP_TRACE);
        CHECK(regs_of(pid).rip != regs.rip); EQ(regs_of(pid).eflags & 0x100, 0);
        OK(PTRACE(PTRACE_POKETEXT, pid, broken, (code & ~0xffl) | 0xcc));
    }
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
    EQ(*(unsigned char *)broken, code & 0xff);
}
TEST(a_breakpoint_by_proc)
{
    pid_t pid = TRACEE({ EQ(broken(1), 2); });
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = OK(open(path, O_RDWR));
    unsigned char old;
    EQ(pread(fd, &old, 1, (off_t)broken), 1);
    EQ(OK(pwrite(fd, "\xcc", 1, (off_t)broken)), 1);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP);
    EQ(pwrite(fd, &old, 1, (off_t)broken), 1);
    struct user_regs_struct regs = regs_of(pid);
    regs.rip--;
    OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
// A loop of known length, a call among it.
__attribute__((naked, noinline)) static void steps(void)
{
    __asm__("mov $3, %ecx; 1: dec %ecx; jnz 1b; mov $110, %eax; syscall; nop; nop; int3; ret");
}
TEST(steps_one_by_one)
{
    pid_t pid = TRACEE({ steps(); });
    long code = PTRACE(PTRACE_PEEKTEXT, pid, steps, 0);
    OK(PTRACE(PTRACE_POKETEXT, pid, steps, (code & ~0xffl) | 0xcc));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP);
    OK(PTRACE(PTRACE_POKETEXT, pid, steps, code));
    struct user_regs_struct regs = regs_of(pid);
    uint64_t at = --regs.rip;
    OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
    static const int wanted[] = {5, 7, 5, 7, 5, 7, 9, 14, 16, 17, 18};
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        OK(PTRACE(PTRACE_SINGLESTEP, pid, 0, 0));
        STOPS(pid, SIGTRAP);
        EQ(regs_of(pid).rip - at, wanted[i]);
    }
    EQ(regs_of(pid).rax, getpid());
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP); // the int3
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
static volatile sig_atomic_t handled;
static void handle(int sig) { handled = sig; }
TEST(a_step_into_a_handler)
{
    pid_t pid = TRACEE({ signal(SIGUSR1, handle); raise(SIGUSR1); EQ(handled, SIGUSR1); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1);
    OK(PTRACE(PTRACE_SINGLESTEP, pid, 0, SIGUSR1));
    STOPS(pid, SIGTRAP);
    EQ(regs_of(pid).rip, (uint64_t)handle);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(a_call_of_a_function_from_outside)
{
    int fds[2];
    pid_t pid = waiting_reader(fds);
    OK(PTRACE(PTRACE_ATTACH, pid, 0, 0));
    STOPS(pid, SIGSTOP);
    struct user_regs_struct before = regs_of(pid), regs = before;
    EQ(before.orig_rax, SYS_read);
    // As a debugger does it: return to a trap, then all as it was.
    long old = PTRACE(PTRACE_PEEKTEXT, pid, steps, 0);
    OK(PTRACE(PTRACE_POKETEXT, pid, steps, 0xcc));
    regs.rsp = ((regs.rsp - 256) & ~15ul) - 8;
    OK(PTRACE(PTRACE_POKEDATA, pid, regs.rsp, steps));
    regs.rip = (uint64_t)broken, regs.rdi = 41, regs.orig_rax = -1;
    OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP);
    EQ(regs_of(pid).rax, 42);
    OK(PTRACE(PTRACE_POKETEXT, pid, steps, old));
    OK(PTRACE(PTRACE_SETREGS, pid, 0, &before));
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    OK(write(fds[1], "x", 1)); // the read was made again
    WAIT_OK(pid);
}
TEST(hot_calls_are_seen_and_their_code_is_the_file_s)
{
    int fds[2];
    OK(pipe(fds));
    pid_t pid = FORK({
        for (long i = 0;; i++) {
            getppid();
            if (i == 2000)
                OK(write(fds[1], "x", 1));
        }
    });
    char c;
    EQ(read(fds[0], &c, 1), 1);
    OK(PTRACE(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    OK(PTRACE(PTRACE_INTERRUPT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    for (int i = 0; i < 20; i++) {
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        struct user_regs_struct regs = regs_of(pid);
        EQ(regs.orig_rax, SYS_getppid);
        EQ(PTRACE(PTRACE_PEEKTEXT, pid, regs.rip - 2, 0) & 0xffff, 0x050f);
    }
    for (int i = 0; i < 200; i++) {
        OK(PTRACE(PTRACE_SINGLESTEP, pid, 0, 0));
        STOPS(pid, SIGTRAP);
    }
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    sleep_ms(5);
    kill(pid, SIGKILL);
    WAIT_STATUS(pid, KILLED(SIGKILL));
}
MAIN()
