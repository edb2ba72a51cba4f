// Call sites that are used often, which stockade rewrites: nothing of that may show.
#define _GNU_SOURCE
#include "check.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#define OFTEN 300

// A call with its number in front, and one that compares, as glibc has them. Labels: the start, and behind the call.
#define SITE(name, nr)                                                                                                 \
    __asm__(".text\n.globl " #name ", " #name "_end\n.balign 64\n" #name ": mov $" nr ", %eax\n syscall\n" #name "_end: ret\n"); \
    long name(long a, long b, long c);                                                                                 \
    extern char name##_end[]
SITE(site_getppid, "110");
SITE(site_getuid, "102");
SITE(site_gettid, "186");
SITE(site_write, "1");
SITE(site_close, "3");
SITE(site_getpgid, "121");
SITE(site_getsid, "124");

// With an instruction in between that sets rsi, as glibc has them where threads begin: write(2) of 4 bytes from such places.
__asm__(".text\n.globl near_rip, near_rbx, near_r9, near_rbx_call, far_data\n.balign 64\n"
        "near_rip: mov %rbx, %r8\n mov $4, %edx\n mov $1, %eax\n lea far_data(%rip), %rsi\n syscall\n jmp near_end\n"
        "near_rbx: mov %rbx, %r8\n mov $4, %edx\n lea far_data-0x1000(%rip), %rbx\n mov $1, %eax\n lea 0x1000(%rbx), %rsi\n"
        "near_rbx_call: syscall\n jmp near_end\n"
        "near_r9: mov %rbx, %r8\n mov $4, %edx\n lea far_data+0x1000(%rip), %r9\n mov $1, %eax\n lea -0x1000(%r9), %rsi\n syscall\n"
        "near_end: lea far_data(%rip), %rcx\n cmp %rcx, %rsi\n je 1f\n ud2\n1: mov %r8, %rbx\n ret\n"
        ".data\nfar_data: .ascii \"data\"\n.text\n");
long near_rip(long fd), near_rbx(long fd), near_r9(long fd);
extern char near_rbx_call[], far_data[];

__asm__(".text\n.globl site_any, site_any_end\n.balign 64\nsite_any: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\n mov %r9, %r8\n"
        " syscall\nsite_any_end: cmp $-4095, %rax\n jae 1f\n ret\n1: neg %rax\n neg %rax\n ret\n");
long site_any(long nr, long a, long b, long c, long d, long e);
extern char site_any_end[];

TEST(results)
{
    for (int i = 0; i < OFTEN; i++) {
        EQ(site_getppid(0, 0, 0), getppid());
        EQ(site_close(-1, 0, 0), -EBADF);
        EQ(site_any(SYS_getppid, 0, 0, 0, 0, 0), getppid());
        EQ(site_any(SYS_close, -1, 0, 0, 0, 0), -EBADF);
        EQ(site_any(100000, 0, 0, 0, 0, 0), -ENOSYS);
    }
}

TEST(registers_and_flags)
{
    for (int i = 0; i < OFTEN; i++) {
        register long r8 __asm__("r8") = 8, r9 __asm__("r9") = 9, r10 __asm__("r10") = 10, r12 __asm__("r12") = 12, r13 __asm__("r13") = 13;
        register long red __asm__("r14"), after __asm__("r15");
        long rax, rbx = 3, rdi = 4, rsi = 5, rdx = 6;
        // Carry and overflow are set; what lies below the stack pointer stays.
        __asm__ volatile("sub $256, %%rsp; pushq %[set]; popfq; movq $0x55aa, -8(%%rsp); mov $110, %%eax; syscall; mov -8(%%rsp), %[red]; pushfq; popq %[after]; lea 256(%%rsp), %%rsp"
                         : "=&a"(rax), "+b"(rbx), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13),
                           [red] "=&r"(red), [after] "=&r"(after)
                         : [set] "i"(0x202 | 0x1 | 0x800)
                         : "rcx", "r11", "memory", "cc");
        CHECK(rbx == 3 && rdi == 4 && rsi == 5 && rdx == 6 && r8 == 8 && r9 == 9 && r10 == 10 && r12 == 12 && r13 == 13);
        EQ(red, 0x55aa);
        EQ(after & 0x8d5, 0x801);
        EQ(rax, getppid());
    }
}

static void *many_calls(void *arg)
{
    long parent = getppid();
    for (int i = 0; i < 5 * OFTEN; i++)
        if (site_getuid(0, 0, 0) != getuid() || site_any(SYS_getppid, 0, 0, 0, 0, 0) != parent || site_gettid(0, 0, 0) != gettid())
            return arg;
    return NULL;
}

TEST(threads_run_a_site_while_it_changes)
{
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        EQ(pthread_create(&threads[i], NULL, many_calls, "wrong"), 0);
    for (int i = 0; i < 6; i++) {
        void *bad;
        EQ(pthread_join(threads[i], &bad), 0);
        CHECK(!bad);
    }
}

static void *fork_often(void *arg)
{
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            long me = getpid();
            for (int j = 0; j < 50; j++)
                if (site_getpgid(0, 0, 0) != getpgrp() || site_gettid(0, 0, 0) != me)
                    _exit(1);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status)
            return arg;
    }
    return NULL;
}

TEST(forks_while_a_site_changes)
{
    pthread_t forker, caller;
    EQ(pthread_create(&forker, NULL, fork_often, "wrong"), 0);
    EQ(pthread_create(&caller, NULL, many_calls, "wrong"), 0);
    for (int i = 0; i < OFTEN; i++)
        EQ(site_getpgid(0, 0, 0), getpgrp());
    void *bad;
    EQ(pthread_join(forker, &bad), 0);
    CHECK(!bad);
    EQ(pthread_join(caller, &bad), 0);
    CHECK(!bad);
}

static void *writes(void *arg)
{
    int *pipes = arg;
    char seen[12];
    for (int i = 0; i < OFTEN; i++) {
        if (near_rip(pipes[1]) != 4 || near_rbx(pipes[1]) != 4 || near_r9(pipes[1]) != 4)
            return "written";
        if (read(pipes[0], seen, 12) != 12 || memcmp(seen, "datadatadata", 12) != 0)
            return "read";
    }
    return NULL;
}

TEST(an_instruction_between_number_and_call)
{
    int pipes[4][2];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        OK(pipe(pipes[i]));
        EQ(pthread_create(&threads[i], NULL, writes, pipes[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *bad;
        EQ(pthread_join(threads[i], &bad), 0);
        CHECK(!bad);
    }
    // The call itself stands where it stood.
    long result;
    __asm__ volatile("mov %%rbx, %%r8; call *%[at]" : "=a"(result) : "0"(SYS_write), "D"(pipes[0][1]), "S"(far_data), "d"(0), [at] "r"(near_rbx_call) : "rcx", "r8", "r11", "memory", "cc");
    EQ(result, 0);
}

static volatile int signals, strange;
static void look(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    unsigned long ip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    extern char __executable_start[], etext[];
    if (ip < (unsigned long)__executable_start || ip > (unsigned long)etext)
        strange++;
    // Calls inside the handler, by the same site as what it interrupted.
    if (site_getppid(0, 0, 0) != getppid() || site_any(SYS_getsid, 0, 0, 0, 0, 0) != getsid(0))
        strange++;
    signals++;
}

TEST(signals_show_the_programs_own_text)
{
    struct sigaction action = {.sa_sigaction = look, .sa_flags = SA_SIGINFO | SA_RESTART};
    OK(sigaction(SIGALRM, &action, NULL));
    struct itimerval often = {{0, 300}, {0, 300}};
    OK(setitimer(ITIMER_REAL, &often, NULL));
    long parent = getppid(), session = getsid(0);
    int null = OK(open("/dev/null", O_WRONLY));
    for (int i = 0; i < 1000000 && signals < 200; i++) {
        EQ(site_getppid(0, 0, 0), parent);
        EQ(near_rip(null), 4);
        EQ(near_rbx(null), 4);
        EQ(near_r9(null), 4);
        EQ(site_any(SYS_getsid, 0, 0, 0, 0, 0), session);
    }
    OK(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL));
    CHECK(signals >= 200);
    EQ(strange, 0);
}

TEST(a_jump_to_the_call_itself)
{
    for (int i = 0; i < OFTEN; i++)
        EQ(site_getsid(0, 0, 0), getsid(0));
    // Another number, by the same instruction.
    long result;
    __asm__ volatile("call *%[at]" : "=a"(result) : "0"(SYS_getppid), [at] "r"(site_getsid_end - 2) : "rcx", "r11", "memory", "cc");
    EQ(result, getppid());
}

TEST(interrupted_waits)
{
    struct sigaction action = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGALRM, &action, NULL));
    int pipes[2];
    OK(pipe(pipes));
    char byte;
    for (int i = 0; i < OFTEN; i++) {
        EQ(site_write(pipes[1], (long)"x", 1), 1);
        EQ(site_any(SYS_read, pipes[0], (long)&byte, 1, 0, 0), 1);
    }
    struct itimerval once = {{0, 0}, {0, 20000}};
    OK(setitimer(ITIMER_REAL, &once, NULL));
    EQ(site_any(SYS_read, pipes[0], (long)&byte, 1, 0, 0), -EINTR);
    // A futex wait through the site ends by a signal as well.
    static int word;
    OK(setitimer(ITIMER_REAL, &once, NULL));
    EQ(site_any(SYS_futex, (long)&word, 128, 0, 0, 0), -EINTR);
    EQ(strange, 0);
}

TEST(memory_calls_through_a_site)
{
    for (int i = 0; i < OFTEN; i++)
        EQ(site_any(SYS_getppid, 0, 0, 0, 0, 0), getppid());
    for (int i = 0; i < 20; i++) {
        void *brk = (void *)site_any(SYS_brk, 0, 0, 0, 0, 0);
        CHECK(brk != NULL);
        pid_t child = (pid_t)site_any(SYS_fork, 0, 0, 0, 0, 0);
        if (child == 0)
            site_any(SYS_exit_group, 7, 0, 0, 0, 0);
        int status;
        EQ(waitpid(child, &status, 0), child);
        EQ(WEXITSTATUS(status), 7);
    }
}

TEST(gs_is_the_programs)
{
    unsigned long gs = 1;
    EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
    EQ(gs, 0);
    for (int i = 0; i < OFTEN; i++)
        EQ(site_getppid(0, 0, 0), getppid());
    static long own = 0x1234;
    EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, &own), 0);
    for (int i = 0; i < OFTEN; i++) {
        long seen;
        EQ(site_getppid(0, 0, 0), getppid());
        EQ(site_any(SYS_getsid, 0, 0, 0, 0, 0), getsid(0));
        __asm__ volatile("mov %%gs:0, %0" : "=r"(seen));
        EQ(seen, 0x1234);
    }
    EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
    EQ(gs, (unsigned long)&own);
}

// A program that takes its own place, at the same addresses, is one like any other: its sites are as the file has them, and its calls go on.
HELPER(again)
{
    CHECK(argc == 2);
    EQ(memcmp((const void *)site_getppid, "\xb8\x6e\0\0\0\x0f\x05", 7), 0);
    for (int i = 0; i < OFTEN; i++) {
        EQ(site_getppid(0, 0, 0), getppid());
        EQ(site_close(-1, 0, 0), -EBADF);
    }
    char left[2] = {argv[1][0] - 1, 0};
    if (argv[1][0] > '0')
        exec_self("again", left, NULL);
    return 0;
}

TEST(a_program_takes_its_own_place) { WAIT_OK(FORK(exec_self("again", "3", NULL))); }

MAIN()
