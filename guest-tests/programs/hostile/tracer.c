// Processes that trace each other at random: requests at random moments, registers, FPU states and memory that are garbage, the stub's own memory among it. ptrace(2).
#define HOSTILE_SECONDS 5
#include "stub.h"
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define MANY 6
static volatile pid_t *pids; // shared by all

static uint64_t pick(uint64_t n) { return hostile_random() % n; }
static uint64_t garbage(void)
{
    switch (pick(7)) {
    case 0: return stub_base + pick(0x80000000ul);
    case 1: return (uint64_t)&garbage + pick(4096);
    case 2: return hostile_random();
    case 3: return pick(70);
    case 4: return 1ul << pick(64);
    case 5: return 0x60000 + pick(4096);
    default: return (uint64_t)__builtin_frame_address(0) + pick(8192);
    }
}
static void request(pid_t pid)
{
    static unsigned char state[16384];
    struct iovec part = {state, pick(3) ? pick(sizeof state) & ~7ul : garbage()};
    struct user_regs_struct regs;
    uint64_t *words = (uint64_t *)&regs;
    switch (pick(16)) {
    case 0: ptrace(PTRACE_ATTACH, pid, 0, 0); break;
    case 1: ptrace(PTRACE_SEIZE, pid, 0, pick(256)); break;
    case 2: ptrace(PTRACE_INTERRUPT, pid, 0, 0); break;
    case 3: ptrace(PTRACE_DETACH, pid, 0, pick(3) ? 0 : pick(66)); break;
    case 4: ptrace(PTRACE_SYSCALL, pid, 0, pick(3) ? 0 : pick(66)); break;
    case 5: ptrace(PTRACE_SINGLESTEP, pid, 0, pick(9) ? 0 : pick(66)); break;
    case 6: ptrace(PTRACE_SETOPTIONS, pid, 0, pick(256)); break;
    case 7:
        if (!ptrace(PTRACE_GETREGS, pid, 0, &regs)) {
            for (int i = pick(4); i >= 0; i--)
                words[pick(27)] = garbage();
            ptrace(PTRACE_SETREGS, pid, 0, &regs);
        }
        break;
    case 8:
        if (!ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &part)) {
            for (int i = pick(8); i >= 0; i--)
                state[pick(700)] = pick(256);
            ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &part);
        }
        break;
    case 9: ptrace(pick(2) ? PTRACE_POKEDATA : PTRACE_PEEKDATA, pid, garbage(), garbage()); break;
    case 10: ptrace(pick(2) ? PTRACE_POKEUSER : PTRACE_PEEKUSER, pid, pick(1000), garbage()); break;
    case 11: ptrace(PTRACE_LISTEN, pid, 0, 0); break;
    case 12: ptrace(PTRACE_SETSIGINFO, pid, 0, state); break;
    case 13: ptrace(PTRACE_SETSIGMASK, pid, 8, state); break;
    case 14: syscall(SYS_ptrace, pick(2) ? pick(40) : 0x4200 + pick(24), pid, garbage(), garbage()); break;
    default: ptrace(PTRACE_CONT, pid, 0, pick(3) ? 0 : pick(66)); break;
    }
}
static void *work(void *arg)
{
    for (int i = 0; i < 20; i++)
        getppid(), usleep(pick(200));
    return arg;
}
// One of them: traces, lets itself be traced, makes threads and children, calls, faults.
static void member(int me)
{
    pids[me] = getpid();
    for (;;) {
        pid_t other = pids[pick(MANY)];
        int status;
        switch (pick(8)) {
        case 0: waitpid(-1, &status, WNOHANG | __WALL); break;
        case 1: kill(other, (int[]){SIGSTOP, SIGCONT, SIGTRAP, SIGURG, SIGWINCH, SIGTSTP}[pick(6)]); break;
        case 2: {
            pthread_t thread;
            if (!pthread_create(&thread, NULL, work, NULL))
                pick(2) ? pthread_detach(thread) : pthread_join(thread, NULL);
            break;
        }
        case 3:
            if (fork() == 0) {
                ptrace(PTRACE_TRACEME, 0, 0, 0);
                if (pick(2))
                    execl("/proc/self/exe", "self", "helper:nothing", NULL);
                _exit(0);
            }
            break;
        case 4: work(NULL); break;
        default: request(other);
        }
    }
}
HELPER(nothing) { return 0; }
STUB(all_trace_each_other)
{
    pids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < MANY; i++)
        if (fork() == 0) {
            for (int n = 0; n <= i; n++)
                hostile_random();
            member(i);
        }
    // Who is lost is made again.
    for (int status; ;) {
        pid_t gone = waitpid(-1, &status, 0);
        for (int i = 0; i < MANY; i++)
            if (pids[i] == gone && !WIFSTOPPED(status) && fork() == 0)
                member(i);
        usleep(1000);
    }
}
STUB(the_stub_s_memory_is_none_of_a_tracer_s)
{
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        for (int i = 0; i < 100; i++)
            getppid();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    for (uint64_t at = stub_base; at < stub_base + 0x100000; at += 4096 - 8)
        if (!ptrace(PTRACE_POKETEXT, pid, at, 0xccccccccccccccccul))
            *hostile_breach = 1;
    for (uint64_t at = 0; at < 0x10000; at += 8)
        if (!ptrace(PTRACE_POKETEXT, pid, 0x60000 + at, 0xccccccccccccccccul))
            *hostile_breach = 2;
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    if (pwrite(fd, path, 8, stub_base) > 0 || pwrite(fd, path, 8, (off_t)stub_mine()) > 0)
        *hostile_breach = 3;
    ptrace(PTRACE_DETACH, pid, 0, 0);
    int status;
    if (waitpid(pid, &status, 0) != pid || status)
        *hostile_breach = 4;
}
MAIN()
