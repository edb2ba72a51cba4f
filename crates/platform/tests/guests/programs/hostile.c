// A guest that attacks the stub: each try is a process of its own, which must die (or be answered), and nobody else.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static unsigned long base, text;
static long at(void *ip, long n, long a, long b, long c, long d, long e, long f) {
    long r; register long r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
    asm volatile("call *%1" : "=a"(r) : "r"(ip), "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return r;
}
static void ill(int s) { _exit(100); }
static void *insn(void) { unsigned char *t = (void *)text; for (int i = 0; i < 16000; i++) if (!memcmp(t + i, "\x0f\x05\x0f\x0b", 4)) return t + i; return 0; }
static void scribble(void) { memset((void *)(base + 0x120000), 0xff, 65536 * 4); syscall(SYS_getppid); raise(SIGUSR1); mmap(0, 4096, 3, 0x21, -1, 0); }
static void scribble_private(void) { memset((void *)(base + 0x20000), 0xff, 4096); memset((void *)(base + 0x30000), 0xff, 4096); mmap(0, 4096, 3, 0x21, -1, 0); }
static void unmap_stub(void) { at(insn(), SYS_munmap, text, 65536, 0, 0, 0, 0); mmap(0, 4096, 3, 0x21, -1, 0); }
static void unmap_all(void) { at(insn(), SYS_munmap, base, 0x60000000, 0, 0, 0, 0); mmap(0, 4096, 3, 0x21, -1, 0); }
static void rewrite(void) { // our own code at the stub's place may do what the stub may, and no more
    at(insn(), SYS_mmap, text, 65536, 7, 0x32, -1, 0); _exit(101); }
static void own_handler(void) { void (*h)(long, void *, void *) = (void *)(text + ((unsigned long *)text)[2]); static long uc[64], info[32]; h(11, info, uc); }
static void cookie_bell(void) { // the right cookie, out of turn
    unsigned long *p = (void *)(base + 0x20000); for (int s = 0; s < 4; s++, p += 8192) if (p[0]) { at(insn(), 111, 8, p[0], p[1], 5, 0, p[2] + 1); at(insn(), 111, 6, p[0], p[1], 0, 0, p[2] + 1); at(insn(), 111, 8, p[0], p[1], 0, 0, p[2] + 7); } }
static void again(void) { unsigned long *p = (void *)(base + 0x20000); for (int s = 0; s < 4; s++, p += 8192) if (p[0]) at(insn(), 111, 2, p[0], p[1], 0, 0, 1); at(insn(), 111, 4, 1, 2, 0, 0, 1); }
static void raw_exit(void) { at(insn(), SYS_exit, 0, 0, 0, 0, 0, 0); }
static void bad_return(void) { long frame[128]; memset(frame, 0xee, sizeof frame); asm volatile("mov %0, %%rsp\n\tmov $15, %%eax\n\tsyscall" :: "r"(frame)); }
// Without the stub's handlers a fault ends the process on some hosts, and on others repeats for ever (x86-64, SA_NODEFER on a signal stack): no worse than a loop of the guest's own.
static void end_if_it_spins(pid_t k) {
    if (fork()) return;
    for (volatile unsigned i = 0; i < 300000000; i++) ;
    syscall(1011, k);
    _exit(0);
}
static struct { const char *name; int may_live; long a[7]; void (*f)(void); } T[] = {
    { "socket", 0, { 41, 2, 1, 0 } }, { "open", 0, { 2, (long)"/etc/passwd", 0, 0 } }, { "openat", 0, { 257, -100, (long)"/etc/passwd", 0 } }, { "ptrace", 0, { 101, 0 } },
    { "mmap huge", 0, { 9, 0, 4096, 3, 0x40022, -1, 0 } }, { "madvise hwpoison", 0, { 28, 0x400000, 4096, 100 } }, { "futex lock_pi", 0, { 202, 0x10000, 6, 0 } },
    { "clone without a grant", 0, { 56, 0x8011, 0, 0, 0, 0 } }, { "clone of a thread", 0, { 56, 0x2d0f00, 0, 0, 0, 0 } }, { "bell, bad cookie", 0, { 111, 5, 1, 2, 0, 0, 1 } },
    { "hello, bad cookie", 0, { 111, 2, 1, 2, 0, 0, 1 } }, { "thread, bad cookie", 0, { 111, 3, 1, 2, 0, 0, 1 } }, { "zygote bell", 0, { 111, 1, 0, 0, 0, 0, 1 } },
    { "execve", 0, { 59, (long)"/bin/sh", 0, 0 } }, { "io_uring", 0, { 425, 1, 0 } }, { "process_vm_readv", 0, { 310, 1, 0, 0, 0, 0, 0 } }, { "kill", 0, { 62, -1, 9 } }, { "prctl", 0, { 157, 4, 0 } },
    { "sigreturn in the stub", 0, { 15 } }, { "scribble over the mailboxes", 1, { 0 }, scribble }, { "scribble over private pages", 0, { 0 }, scribble_private }, { "unmap the stub", 0, { 0 }, unmap_stub },
    { "unmap the region", 0, { 0 }, unmap_all }, { "replace the stub", 0, { 0 }, rewrite }, { "enter the handler", 0, { 0 }, own_handler }, { "ring out of turn", 0, { 0 }, cookie_bell },
    { "hello again", 0, { 0 }, again }, { "raw exit", 1, { 0 }, raw_exit }, { "sigreturn of garbage", 0, { 0 }, bad_return },
};
int main(void) {
    int bad = 0;
    text = syscall(1002);
    base = text;
    if (!insn()) { printf("no stub at %lx\n", text); return 1; }
    signal(SIGILL, ill);
    for (int i = 0; i < sizeof T / sizeof *T; i++) {
        pid_t k = fork();
        if (!k) { long *a = T[i].a; if (T[i].f) T[i].f(); else at(insn(), a[0], a[1], a[2], a[3], a[4], a[5], a[6]); _exit(1); }
        int st = -1, spins = T[i].f == unmap_stub || T[i].f == unmap_all || T[i].f == rewrite;
        if (spins) end_if_it_spins(k);
        pid_t w = 0;
        for (int n = 0; n <= spins; n++) { // the test's kernel waits for any child
            int status;
            pid_t ended = waitpid(-1, &status, 0);
            if (ended == k) { w = k; st = status; }
        }
        int dead = WIFSIGNALED(st) || (WIFEXITED(st) && WEXITSTATUS(st) >= 38);
        if (w != k || (!dead && !T[i].may_live)) { printf("%s: status %x\n", T[i].name, st); bad++; }
        if (getppid() != 0) { printf("%s: we were hit\n", T[i].name); bad++; }
    }
    pid_t k = fork();
    if (!k) _exit(3);
    int st;
    if (waitpid(k, &st, 0) != k || WEXITSTATUS(st) != 3) bad++;
    return bad;
}
