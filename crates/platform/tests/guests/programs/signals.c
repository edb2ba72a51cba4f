// Signal frames: handlers, FPU state, alternate stacks, faults, kicks of a running thread, registers seen and set by the kernel.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
static volatile int n, bad;
static void *volatile where;
static sigjmp_buf jb;
#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); bad++; } } while (0)
static void count(int s) { n++; volatile double a = 1.5; a *= 3; }
static void jump(int s, siginfo_t *i, void *u) { where = i->si_addr; siglongjmp(jb, 1); }
static void mend(int s, siginfo_t *i, void *u) { mprotect((void *)((long)i->si_addr & ~4095), 4096, 3); n++; }
static void skip(int s, siginfo_t *i, void *u) { ((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP] += 2; n++; }
static void *spin(void *a) { while (!n) ; return 0; }
static char *stack;
static void onstack(int s) { char c; n = &c > stack && &c < stack + 65536; }
int main(void) {
    struct sigaction a = { .sa_handler = count };
    sigaction(SIGUSR1, &a, 0);
    double d = 1.5, e = 2.25;
    long f[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    raise(SIGUSR1);
    CHECK(n == 1 && d * e == 3.375 && f[7] == 8);
    for (int i = 0; i < 1000; i++) raise(SIGUSR1);
    CHECK(n == 1001);
    // vector registers live through a handler
    unsigned char out[32], in[32];
    for (int i = 0; i < 32; i++) in[i] = i * 7;
    pid_t me = getpid();
    long r;
    asm volatile("vmovdqu %2, %%ymm7\n\tsyscall\n\tvmovdqu %%ymm7, %1" : "=a"(r), "=m"(out) : "m"(in), "a"(SYS_tkill), "D"(me), "S"(SIGUSR1) : "rcx", "r11", "xmm7", "memory");
    CHECK(!memcmp(in, out, 32) && n == 1002);
    stack = malloc(65536);
    stack_t ss = { .ss_sp = stack, .ss_size = 65536 };
    sigaltstack(&ss, 0);
    struct sigaction o = { .sa_handler = onstack, .sa_flags = SA_ONSTACK };
    sigaction(SIGUSR2, &o, 0);
    raise(SIGUSR2);
    CHECK(n == 1);
    struct sigaction b = { .sa_sigaction = jump, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaction(SIGSEGV, &b, 0);
    if (!sigsetjmp(jb, 1)) *(volatile int *)0x1234 = 1;
    CHECK(where == (void *)0x1234);
    b.sa_sigaction = mend;
    sigaction(SIGSEGV, &b, 0);
    char *m = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    n = 0;
    m[5] = 7;
    CHECK(m[5] == 7 && n == 1);
    b.sa_sigaction = skip;
    sigaction(SIGILL, &b, 0);
    n = 0;
    asm volatile("ud2");
    CHECK(n == 1);
    // a thread that runs is kicked
    n = 0;
    pthread_t t;
    pthread_create(&t, 0, spin, 0);
    for (volatile int i = 0; i < 1000000; i++) ;
    pthread_kill(t, SIGUSR1);
    pthread_join(t, 0);
    CHECK(n == 1);
    // blocked signals wait
    sigset_t s, old;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    sigprocmask(SIG_BLOCK, &s, &old);
    n = 0;
    raise(SIGUSR1);
    CHECK(n == 0);
    sigprocmask(SIG_SETMASK, &old, 0);
    CHECK(n == 1);
    // the kernel looks at registers (1003 answers rbx) and sets them (1004 sets rax to rbx + 1)
    asm volatile("mov $4711, %%ebx\n\tsyscall" : "=a"(r) : "a"(1003) : "rbx", "rcx", "r11", "memory");
    CHECK(r == 4711);
    asm volatile("mov $4711, %%ebx\n\tsyscall" : "=a"(r) : "a"(1004) : "rbx", "rcx", "r11", "memory");
    CHECK(r == 4712);
    // int 0x80 is a fault
    b.sa_sigaction = jump;
    sigaction(SIGSEGV, &b, 0);
    n = 0;
    if (!sigsetjmp(jb, 1)) { asm volatile("int $0x80" : "=a"(r) : "a"(20) : "r8", "r9", "r10", "r11", "memory"); CHECK(0); }
    // default actions, a signal during a handler's stack overflow
    int st;
    pid_t k = fork();
    if (!k) { signal(SIGSEGV, SIG_DFL); *(volatile int *)8 = 1; }
    CHECK(waitpid(k, &st, 0) == k && WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
    k = fork();
    if (!k) { for (;;) ; }
    kill(k, SIGTERM);
    CHECK(waitpid(k, &st, 0) == k && WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
    return bad;
}
