// What a handler sees and may change: faults' siginfo, registers, sigreturn, alternate stacks, FPU and vector state:
// sigaction(2), sigaltstack(2), getcontext(3).
#include "check.h"
#include <setjmp.h>
#include <ucontext.h>
#include <immintrin.h>

static sigjmp_buf back;
static volatile siginfo_t seen;
static volatile greg_t regs[NGREG];
static void keep_and_jump(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    seen = *info;
    memcpy((void *)regs, ((ucontext_t *)context)->uc_mcontext.gregs, sizeof regs);
    siglongjmp(back, 1);
}
static void on(int signal, void (*with)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = with, .sa_flags = SA_SIGINFO | flags};
    OK(sigaction(signal, &sa, NULL));
}
#define FAULT(...)                                                                                                     \
    if (sigsetjmp(back, 1) == 0) {                                                                                     \
        __VA_ARGS__;                                                                                                   \
        FAIL("no fault");                                                                                              \
    }

TEST(segv_unmapped)
{
    on(SIGSEGV, keep_and_jump, 0);
    // No fixed address: the heap of a static program may begin anywhere in the first 32 MiB behind it.
    char *hole = OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) + 0x560;
    OK(munmap(hole - 0x560, 4096));
    FAULT(*(volatile int *)hole = 1);
    EQ(seen.si_code, SEGV_MAPERR);
    EQ((long)seen.si_addr, (long)hole);
    EQ(regs[REG_TRAPNO], 14);
    EQ(regs[REG_ERR], 6); // user, write
    EQ(regs[REG_CR2], (long)hole);
    FAULT((void)*(volatile int *)hole);
    EQ(regs[REG_ERR], 4); // user, read
}

TEST(segv_protected)
{
    on(SIGSEGV, keep_and_jump, 0);
    char *p = OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    FAULT(*(volatile char *)(p + 5) = 1);
    EQ(seen.si_code, SEGV_ACCERR);
    EQ((long)seen.si_addr, (long)p + 5);
    FAULT(((void (*)(void))p)()); // not executable
    EQ(seen.si_code, SEGV_ACCERR);
    EQ((long)seen.si_addr, (long)p);
    EQ(regs[REG_RIP], (long)p);
}

TEST(segv_general_protection)
{
    on(SIGSEGV, keep_and_jump, 0);
    FAULT(*(volatile int *)0x8000000000000000 = 1); // not canonical
    EQ(seen.si_code, SI_KERNEL);
    EQ((long)seen.si_addr, 0);
    EQ(regs[REG_TRAPNO], 13);
    FAULT(__asm__ volatile("hlt"));
    EQ(seen.si_code, SI_KERNEL);
}

TEST(divide)
{
    on(SIGFPE, keep_and_jump, 0);
    volatile int zero = 0, one = 1;
    FAULT(one = one / zero);
    EQ(seen.si_code, FPE_INTDIV);
    CHECK(seen.si_addr != NULL);
    EQ((long)seen.si_addr, regs[REG_RIP]);
    EQ(regs[REG_TRAPNO], 0);
}

TEST(illegal_instruction)
{
    on(SIGILL, keep_and_jump, 0);
    FAULT(__asm__ volatile("ud2"));
    EQ(seen.si_code, ILL_ILLOPN);
    EQ((long)seen.si_addr, regs[REG_RIP]);
    EQ(regs[REG_TRAPNO], 6);
}

TEST(breakpoint)
{
    on(SIGTRAP, keep_and_jump, 0);
    FAULT(__asm__ volatile("int3"));
    EQ(seen.si_code, SI_KERNEL);
    EQ(regs[REG_TRAPNO], 3);
    EQ(*(unsigned char *)(regs[REG_RIP] - 1), 0xcc); // rip is behind it
}

TEST(single_step)
{
    on(SIGTRAP, keep_and_jump, 0);
    FAULT(__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "cc", "memory"));
    EQ(seen.si_code, TRAP_TRACE);
    EQ(regs[REG_TRAPNO], 1);
}

TEST(bus_beyond_the_end)
{
    on(SIGBUS, keep_and_jump, 0);
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 100));
    char *p = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    p[4095] = 1; // the rest of the page is there
    FAULT(*(volatile char *)(p + 4096) = 1);
    EQ(seen.si_code, BUS_ADRERR);
    EQ((long)seen.si_addr, (long)p + 4096);
}

TEST(float_exception)
{
    on(SIGFPE, keep_and_jump, 0);
    FAULT({
        _mm_setcsr(_mm_getcsr() & ~_MM_MASK_DIV_ZERO);
        volatile double zero = 0, one = 1;
        one = one / zero;
    });
    EQ(seen.si_code, FPE_FLTDIV);
    EQ(regs[REG_TRAPNO], 19);
}

TEST(int80_and_int_n)
{
    on(SIGSEGV, keep_and_jump, 0);
    FAULT(__asm__ volatile("int $0x3f"));
    EQ(regs[REG_TRAPNO], 13);
    EQ(seen.si_code, SI_KERNEL);
}

TEST(registers_at_the_fault)
{
    on(SIGSEGV, keep_and_jump, 0);
    FAULT(__asm__ volatile("mov $0x1111, %%rbx; mov $0x2222, %%r8; mov $0x3333, %%r9; mov $0x4444, %%r10; mov $0x5555, %%r11;"
                           "mov $0x6666, %%r12; mov $0x7777, %%rsi; mov $0x8888, %%rdi; mov $0x9999, %%rcx; mov $0xaaaa, %%rdx;"
                           "mov $0xbbbb, %%r13; mov $0xcccc, %%r14; mov $0xdddd, %%r15; xor %%eax, %%eax; movl $1, (%%rax)" ::
                               : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                                 "memory"));
    EQ(regs[REG_RBX], 0x1111);
    EQ(regs[REG_R8], 0x2222);
    EQ(regs[REG_R9], 0x3333);
    EQ(regs[REG_R10], 0x4444);
    EQ(regs[REG_R11], 0x5555);
    EQ(regs[REG_R12], 0x6666);
    EQ(regs[REG_RSI], 0x7777);
    EQ(regs[REG_RDI], 0x8888);
    EQ(regs[REG_RCX], 0x9999);
    EQ(regs[REG_RDX], 0xaaaa);
    EQ(regs[REG_R13], 0xbbbb);
    EQ(regs[REG_R14], 0xcccc);
    EQ(regs[REG_R15], 0xdddd);
    EQ(regs[REG_RAX], 0);
    EQ(regs[REG_CSGSFS] & 0xffff, 0x33);
}

TEST(registers_may_be_changed)
{
    // The handler steps over the fault and gives rax and rbx new values.
    void mend(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)info;
        greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
        r[REG_RIP] += 2; // movl (%rax), %ebx is 2 bytes
        r[REG_RAX] = 0x123456789abc;
        r[REG_RBX] = 77;
    }
    on(SIGSEGV, mend, 0);
    long rax, rbx;
    __asm__ volatile("xor %%eax, %%eax; movl (%%rax), %%ebx" : "=a"(rax), "=b"(rbx)::"memory");
    EQ(rax, 0x123456789abc);
    EQ(rbx, 77);
}

TEST(mask_in_the_context_is_taken_back)
{
    void block_more(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)info;
        sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
    }
    on(SIGUSR1, block_more, 0);
    raise(SIGUSR1);
    sigset_t now;
    OK(sigprocmask(SIG_BLOCK, NULL, &now));
    EQ(sigismember(&now, SIGUSR2), 1);
    EQ(sigismember(&now, SIGUSR1), 0);
}

TEST(result_in_the_context)
{
    // The handler for a signal that interrupts a call sees its EINTR in rax, and may change it.
    static volatile greg_t rax;
    void change(int signal, siginfo_t *info, void *context)
    {
        (void)signal, (void)info;
        greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
        rax = r[REG_RAX];
        r[REG_RAX] = 4242;
    }
    on(SIGUSR1, change, 0);
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
    });
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_pause) : "rcx", "r11", "memory");
    EQ(rax, -EINTR);
    EQ(result, 4242);
    WAIT_OK(child);
}

static volatile char *volatile inside_stack;
static volatile stack_t stack_inside;
static void note_stack(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    char here;
    inside_stack = &here;
    sigaltstack(NULL, (stack_t *)&stack_inside);
}

TEST(alternate_stack)
{
    static char area[65536];
    stack_t st = {.ss_sp = area, .ss_size = sizeof area}, old;
    OK(sigaltstack(&st, &old));
    EQ(old.ss_flags, SS_DISABLE);
    on(SIGUSR1, note_stack, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(inside_stack >= area && inside_stack < area + sizeof area);
    EQ(stack_inside.ss_flags, SS_ONSTACK);
    on(SIGUSR1, note_stack, 0);
    raise(SIGUSR1);
    CHECK(!(inside_stack >= area && inside_stack < area + sizeof area));
    OK(sigaltstack(NULL, &old));
    EQ(old.ss_flags, 0);
    CHECK(old.ss_sp == area);
    st.ss_size = 100;
    FAILS(ENOMEM, sigaltstack(&st, NULL));
    st.ss_size = sizeof area, st.ss_flags = 0x40;
    FAILS(EINVAL, sigaltstack(&st, NULL));
}

TEST(handlers_one_after_the_other_on_the_alternate_stack)
{
    static char area[65536];
    static volatile int count, spoilt;
    static volatile char *volatile places[2];
    void count_up(int signal)
    {
        volatile char here[64];
        memset((char *)here, signal, sizeof here);
        int at = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED); // the second one may come anywhere
        if (at < 2)
            places[at] = here;
        syscall(SYS_getpid); // here at the latest it does
        for (size_t i = 0; i < sizeof here; i++)
            spoilt |= here[i] != signal;
    }
    stack_t st = {.ss_sp = area, .ss_size = sizeof area};
    OK(sigaltstack(&st, NULL));
    struct sigaction sa = {.sa_handler = count_up, .sa_flags = SA_ONSTACK};
    OK(sigaction(SIGUSR1, &sa, NULL));
    OK(sigaction(SIGUSR2, &sa, NULL));
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1), sigaddset(&both, SIGUSR2);
    OK(sigprocmask(SIG_BLOCK, &both, NULL));
    raise(SIGUSR1);
    raise(SIGUSR2);
    OK(sigprocmask(SIG_UNBLOCK, &both, NULL));
    EQ(count, 2);
    EQ(spoilt, 0);
    CHECK(places[0] >= area && places[0] < area + sizeof area && places[1] >= area && places[1] < area + sizeof area);
    CHECK(places[0] != places[1]);
}

TEST(the_alternate_stack_does_not_overflow)
{
    static char around[1 << 18];
    void again(int signal)
    {
        raise(signal);
    }
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        stack_t st = {.ss_sp = around + sizeof around - 32768, .ss_size = 32768};
        OK(sigaltstack(&st, NULL));
        struct sigaction sa = {.sa_handler = again, .sa_flags = SA_ONSTACK | SA_NODEFER};
        OK(sigaction(SIGUSR1, &sa, NULL));
        raise(SIGUSR1);
    });
    WAIT_STATUS(child, KILLED(SIGSEGV));
}

TEST(alternate_stack_cannot_change_under_itself)
{
    static volatile int result, error;
    void change(int signal)
    {
        (void)signal;
        stack_t off = {.ss_flags = SS_DISABLE};
        result = sigaltstack(&off, NULL);
        error = errno;
    }
    static char area[65536];
    stack_t st = {.ss_sp = area, .ss_size = sizeof area};
    OK(sigaltstack(&st, NULL));
    struct sigaction sa = {.sa_handler = change, .sa_flags = SA_ONSTACK};
    OK(sigaction(SIGUSR1, &sa, NULL));
    raise(SIGUSR1);
    EQ(result, -1);
    EQ(error, EPERM);
}

TEST(stack_overflow_is_caught_on_the_alternate_stack)
{
    static char area[65536];
    stack_t st = {.ss_sp = area, .ss_size = sizeof area};
    struct rlimit l = {256 << 10, 256 << 10};
    pid_t child = FORK({
        OK(setrlimit(RLIMIT_STACK, &l));
        OK(sigaltstack(&st, NULL));
        void out(int signal)
        {
            (void)signal;
            _exit(55);
        }
        struct sigaction sa = {.sa_handler = out, .sa_flags = SA_ONSTACK};
        OK(sigaction(SIGSEGV, &sa, NULL));
        volatile char *sp = (char *)__builtin_frame_address(0);
        for (;; sp -= 4096)
            *sp = 1;
    });
    WAIT_STATUS(child, EXITED(55));
}

TEST(no_stack_for_the_frame_kills)
{
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        on(SIGUSR1, note_stack, 0);
        __asm__ volatile("mov $0x1000, %%rsp; mov %0, %%edi; mov %1, %%esi; mov %2, %%eax; syscall; hlt" ::"r"(getpid()),
                         "r"(SIGUSR1), "i"(SYS_kill)
                         : "rdi", "rsi", "rax", "memory");
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGSEGV);
}

TEST(a_blocked_fault_kills)
{
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGSEGV);
        sigprocmask(SIG_BLOCK, &set, NULL);
        on(SIGSEGV, keep_and_jump, 0);
        *(volatile int *)16 = 1;
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGSEGV);
}

TEST(an_ignored_fault_kills)
{
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_IGN);
        *(volatile int *)16 = 1;
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGSEGV);
}

TEST(bad_sigreturn_kills)
{
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        __asm__ volatile("mov $0x1000, %%rsp; mov $15, %%eax; syscall; hlt" ::: "memory");
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGSEGV);
}

TEST(red_zone_is_kept)
{
    static volatile int hits;
    void hit(int signal)
    {
        (void)signal;
        hits++;
        volatile char junk[2000];
        memset((void *)junk, 0x55, sizeof junk);
    }
    signal(SIGALRM, hit);
    struct itimerval every = {{0, 200}, {0, 200}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    long bad = 0;
    int64_t until = now_ns(CLOCK_MONOTONIC) + 30000000;
    while (now_ns(CLOCK_MONOTONIC) < until || hits <= 3)
        __asm__ volatile("movq $0x1122334455667788, %%rax; movq %%rax, -128(%%rsp); movq %%rax, -8(%%rsp); mov $2000, %%ecx;"
                         "1: dec %%ecx; jnz 1b; cmpq %%rax, -128(%%rsp); jne 2f; cmpq %%rax, -8(%%rsp); je 3f; 2: incq %0; 3:"
                         : "+r"(bad)::"rax", "rcx", "memory", "cc");
    every = (struct itimerval){};
    setitimer(ITIMER_REAL, &every, NULL);
    EQ(bad, 0);
    CHECK(hits > 3);
}

TEST(vectors_survive_signals)
{
    // A handler that uses vector registers does not disturb the interrupted code's.
    static volatile int hits;
    void hit(int signal)
    {
        (void)signal;
        hits++;
        __asm__ volatile("pxor %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1; pxor %%xmm15, %%xmm15" ::: "xmm0", "xmm1", "xmm15");
        if (__builtin_cpu_supports("avx"))
            __asm__ volatile("vzeroall" ::: "memory");
    }
    signal(SIGALRM, hit);
    struct itimerval every = {{0, 200}, {0, 200}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    bool avx = __builtin_cpu_supports("avx");
    static uint64_t in[4] = {1, 2, 3, 4}, out[4];
    int64_t until = now_ns(CLOCK_MONOTONIC) + 30000000;
    while (now_ns(CLOCK_MONOTONIC) < until || hits <= 3) {
        if (avx)
            __asm__ volatile("vmovdqu %1, %%ymm7; vmovdqu %1, %%ymm15; mov $3000, %%ecx; 1: dec %%ecx; jnz 1b;"
                             "vmovdqu %%ymm7, %0; vpxor %%ymm7, %%ymm15, %%ymm7; vptest %%ymm7, %%ymm7; setnz %%cl; vzeroupper"
                             : "=m"(out)
                             : "m"(in)
                             : "ecx", "xmm7", "xmm15", "memory", "cc");
        else
            __asm__ volatile("movdqu %1, %%xmm7; mov $3000, %%ecx; 1: dec %%ecx; jnz 1b; movdqu %%xmm7, %0"
                             : "=m"(out)
                             : "m"(in)
                             : "ecx", "xmm7", "memory", "cc");
        CHECK(memcmp(in, out, avx ? 32 : 16) == 0);
    }
    every = (struct itimerval){};
    setitimer(ITIMER_REAL, &every, NULL);
    CHECK(hits > 3);
}

TEST(vectors_survive_calls)
{
    static uint64_t in[8] = {11, 22, 33, 44, 55, 66, 77, 88}, out[8];
    bool avx512 = __builtin_cpu_supports("avx512f"), avx = __builtin_cpu_supports("avx");
    for (int i = 0; i < 200; i++) {
        long nr = i % 3 == 0 ? SYS_getppid : i % 3 == 1 ? SYS_sched_yield : SYS_gettid, result;
        if (avx512) {
            __asm__ volatile("vmovdqu64 %2, %%zmm9; vmovdqu64 %2, %%zmm31; syscall; vmovdqu64 %%zmm9, %1;"
                             : "=a"(result), "=m"(out)
                             : "m"(in), "a"(nr)
                             : "rcx", "r11", "memory");
            EQ(memcmp(in, out, 64), 0);
        } else if (avx) {
            __asm__ volatile("vmovdqu %2, %%ymm9; syscall; vmovdqu %%ymm9, %1"
                             : "=a"(result), "=m"(out)
                             : "m"(in), "a"(nr)
                             : "rcx", "r11", "memory");
            EQ(memcmp(in, out, 32), 0);
        }
    }
}

TEST(calls_keep_registers)
{
    // A system call changes rax, rcx and r11 only.
    for (int i = 0; i < 3; i++) {
        long nr = i == 0 ? SYS_getppid : i == 1 ? SYS_gettid : SYS_getuid;
        register long r12 __asm__("r12") = 12, r13 __asm__("r13") = 13, r8 __asm__("r8") = 8, r9 __asm__("r9") = 9;
        register long r10 __asm__("r10") = 10, r14 __asm__("r14") = 14, r15 __asm__("r15") = 15;
        long rbx = 3, rdi = 4, rsi = 5, rdx = 6;
        __asm__ volatile("std; syscall; pushfq; cld; pop %%rcx; and $0x400, %%ecx"
                         : "+a"(nr), "+b"(rbx), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13),
                           "+r"(r14), "+r"(r15)::"rcx", "r11", "memory", "cc");
        CHECK(rbx == 3 && rdi == 4 && rsi == 5 && rdx == 6 && r8 == 8 && r9 == 9 && r10 == 10);
        CHECK(r12 == 12 && r13 == 13 && r14 == 14 && r15 == 15);
    }
}

TEST(rcx_and_r11_after_a_call)
{
    long rcx = 0, r11v = 0, result;
    __asm__ volatile("mov %3, %%eax; syscall; 1: mov %%r11, %2; lea 1b(%%rip), %%r11; sub %%r11, %%rcx; mov %%rcx, %1"
                     : "=&a"(result), "=&r"(rcx), "=&r"(r11v)
                     : "i"(SYS_getppid)
                     : "rcx", "r11", "memory");
    EQ(rcx, 0); // rcx is the address behind the call
    CHECK(r11v & 2);
}

TEST(siglongjmp_out_of_handlers)
{
    on(SIGSEGV, keep_and_jump, 0);
    for (int i = 0; i < 200; i++)
        FAULT(*(volatile int *)(long)(64 + i * 4096) = 1);
}

TEST(user_contexts)
{
    static ucontext_t main_context, other;
    static volatile int steps;
    void body(void)
    {
        for (int i = 0; i < 10; i++) {
            steps++;
            swapcontext(&other, &main_context);
        }
    }
    static char area[65536];
    OK(getcontext(&other));
    other.uc_stack.ss_sp = area, other.uc_stack.ss_size = sizeof area, other.uc_link = &main_context;
    makecontext(&other, body, 0);
    for (int i = 0; i < 10; i++)
        OK(swapcontext(&main_context, &other));
    EQ(steps, 10);
}

TEST(fault_in_a_thread)
{
    on(SIGSEGV, keep_and_jump, 0);
    void *body(void *arg)
    {
        static __thread sigjmp_buf own;
        void jump(int signal, siginfo_t *info, void *context)
        {
            (void)signal, (void)info, (void)context;
            siglongjmp(own, 1);
        }
        struct sigaction sa = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO | SA_NODEFER};
        sigaction(SIGSEGV, &sa, NULL);
        for (int i = 0; i < 100; i++)
            if (sigsetjmp(own, 0) == 0)
                *(volatile int *)16 = 1;
        return arg;
    }
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        ZERO(pthread_create(&t[i], NULL, body, NULL));
    for (int i = 0; i < 4; i++)
        ZERO(pthread_join(t[i], NULL));
}

static volatile int frame_flags;
static void note_frame(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    frame_flags = ((ucontext_t *)context)->uc_stack.ss_flags;
}
// A frame has the flags as they were set.
TEST(flags_of_the_alternate_stack_in_the_context)
{
    static char room[65536];
    struct sigaction sa = {.sa_sigaction = note_frame, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGUSR1, &sa, NULL));
    frame_flags = -1;
    raise(SIGUSR1);
    EQ(frame_flags, 0);
    OK(sigaltstack(&(stack_t){.ss_sp = room, .ss_size = sizeof room, .ss_flags = SS_ONSTACK}, NULL));
    raise(SIGUSR1);
    EQ(frame_flags, SS_ONSTACK);
    OK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
    raise(SIGUSR1);
    EQ(frame_flags, SS_DISABLE);
}

MAIN()
