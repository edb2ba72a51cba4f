// ptrace(2): where a tracee stops, what its tracer sees there, and how it goes on.
#include "ptrace.h"

TEST(a_signal_comes_to_the_tracer_first)
{
    pid_t pid = TRACEE({ kill(getpid(), SIGUSR1); kill(getpid(), SIGUSR2); _exit(7); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1); // would kill
    siginfo_t info = info_of(pid);
    EQ(info.si_signo, SIGUSR1); EQ(info.si_code, SI_USER); EQ(info.si_pid, pid);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0)); // is taken away
    STOPS(pid, SIGUSR2);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGTERM)); // becomes another
    WAIT_STATUS(pid, KILLED(SIGTERM));
}

static volatile sig_atomic_t seen, seen_code, seen_value;
static void see(int sig, siginfo_t *info, void *context)
{
    (void)context;
    seen = sig, seen_code = info->si_code, seen_value = info->si_value.sival_int;
}
TEST(a_handler_gets_what_the_tracer_gives)
{
    pid_t pid = TRACEE({
        struct sigaction act = {.sa_sigaction = see, .sa_flags = SA_SIGINFO};
        OK(sigaction(SIGUSR1, &act, NULL));
        raise(SIGUSR1);
        _exit(seen == SIGUSR1 && seen_code == SI_QUEUE && seen_value == 99 ? 0 : 1);
    });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1);
    siginfo_t info = info_of(pid);
    EQ(info.si_code, SI_TKILL);
    info.si_code = SI_QUEUE, info.si_value.sival_int = 99;
    OK(PTRACE(PTRACE_SETSIGINFO, pid, 0, &info));
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGUSR1));
    WAIT_OK(pid);
}
TEST(ignored_signals_are_told_as_well)
{
    pid_t pid = TRACEE({ signal(SIGUSR1, SIG_IGN); raise(SIGUSR1); raise(SIGWINCH); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGUSR1);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGUSR1));
    STOPS(pid, SIGWINCH);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGWINCH));
    WAIT_OK(pid);
}
TEST(a_call_stops_before_and_after)
{
    pid_t pid = TRACEE({ syscall(SYS_umask, 0123); _exit(syscall(SYS_umask, 0) == 0123 ? 0 : 1); });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
    int found = 0;
    for (int i = 0; i < 20 && found < 2; i++) {
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        struct user_regs_struct before = regs_of(pid);
        EQ((long)before.rax, -ENOSYS);
        siginfo_t info = info_of(pid);
        EQ(info.si_signo, SIGTRAP); EQ(info.si_code, SIGTRAP | 0x80);
        if ((long)before.orig_rax == SYS_exit_group)
            break;
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        struct user_regs_struct after = regs_of(pid);
        EQ(after.orig_rax, before.orig_rax); EQ(after.rip, before.rip); EQ(after.rsp, before.rsp);
        EQ(after.rbx, before.rbx); EQ(after.rdi, before.rdi);
        if (before.orig_rax == SYS_umask) {
            EQ(after.rax, found ? 0123 : 022);
            EQ(before.rdi, found ? 0 : 0123);
            found++;
        }
    }
    EQ(found, 2);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(a_call_is_changed_and_its_value_too)
{
    pid_t pid = TRACEE({
        long a = syscall(SYS_getppid), b = syscall(SYS_umask, 0555), c = syscall(SYS_umask, 0), d = syscall(SYS_getppid);
        _exit(a == 12345 && b == 022 && c == 0777 && d == -1 && errno == EXDEV ? 0 : 1);
    });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
    for (int umasks = 0, ppids = 0; ppids < 2;) {
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        struct user_regs_struct regs = regs_of(pid);
        bool ppid = regs.orig_rax == SYS_getppid;
        if (regs.orig_rax == SYS_umask && umasks++ == 0) {
            regs.rdi = 0777;
            OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
        } else if (ppid && ppids == 1) { // not made at all
            regs.orig_rax = -1, regs.rax = -EXDEV;
            OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
        }
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        if (ppid && ppids++ == 0) {
            regs = regs_of(pid);
            regs.rax = 12345;
            OK(PTRACE(PTRACE_SETREGS, pid, 0, &regs));
        }
    }
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(syscall_info)
{
    pid_t pid = TRACEE({ syscall(SYS_lseek, -1l, 2l, 3l); });
    struct __ptrace_syscall_info info;
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
    EQ(OK(PTRACE(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info)), 24);
    EQ(info.op, PTRACE_SYSCALL_INFO_NONE);
    do {
        OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
        STOPS(pid, SIGTRAP | 0x80);
        EQ(OK(PTRACE(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info)), info.op == PTRACE_SYSCALL_INFO_ENTRY ? 80 : 33);
    } while (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr != SYS_lseek);
    EQ(info.arch, 0xc000003e);
    EQ(info.entry.args[0], -1); EQ(info.entry.args[1], 2); EQ(info.entry.args[2], 3);
    OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
    STOPS(pid, SIGTRAP | 0x80);
    EQ(OK(PTRACE(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info)), 33);
    EQ(info.op, PTRACE_SYSCALL_INFO_EXIT);
    EQ(info.exit.rval, -EBADF); EQ(info.exit.is_error, 1);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(an_interrupted_call_goes_on)
{
    int fds[2];
    OK(pipe(fds));
    pid_t pid = TRACEE({ char c; EQ(read(fds[0], &c, 1), 1); EQ(c, 'x'); });
    OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
    for (;; OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0))) {
        STOPS(pid, SIGTRAP);
        if (regs_of(pid).orig_rax == SYS_read)
            break;
    }
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    EVENTUALLY(task_state(pid) == 'S');
    kill(pid, SIGWINCH);
    STOPS(pid, SIGWINCH);
    struct user_regs_struct regs = regs_of(pid);
    EQ((long)regs.rax, -512); EQ(regs.orig_rax, SYS_read);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGWINCH));
    OK(write(fds[1], "x", 1));
    WAIT_OK(pid);
}
TEST(a_call_that_was_under_way_is_seen_when_it_is_made_again)
{
    int fds[2];
    pid_t pid = waiting_reader(fds);
    OK(PTRACE(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    OK(PTRACE(PTRACE_INTERRUPT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
    STOPS(pid, SIGTRAP | 0x80);
    EQ(regs_of(pid).orig_rax, SYS_read);
    EQ((long)regs_of(pid).rax, -ENOSYS);
    OK(PTRACE(PTRACE_SYSCALL, pid, 0, 0));
    OK(write(fds[1], "x", 1));
    STOPS(pid, SIGTRAP | 0x80);
    EQ(regs_of(pid).rax, 1);
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    WAIT_OK(pid);
}
TEST(attach_and_detach)
{
    int fds[2];
    pid_t pid = waiting_reader(fds);
    OK(PTRACE(PTRACE_ATTACH, pid, 0, 0));
    STOPS(pid, SIGSTOP);
    EQ(task_state(pid), 't');
    EQ(regs_of(pid).orig_rax, SYS_read);
    char status[4096], wanted[40];
    snprintf(status, sizeof status, "/proc/%d/status", pid);
    read_file(status, status, sizeof status);
    snprintf(wanted, sizeof wanted, "TracerPid:\t%d\n", getpid());
    CHECK(strstr(status, wanted));
    FAILS(EPERM, PTRACE(PTRACE_ATTACH, pid, 0, 0));
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    FAILS(ESRCH, PTRACE(PTRACE_CONT, pid, 0, 0));
    OK(write(fds[1], "x", 1));
    WAIT_OK(pid);
}
TEST(seize_and_interrupt)
{
    pid_t pid = FORK({ for (;;) pause(); });
    EVENTUALLY(task_state(pid) == 'S');
    OK(PTRACE(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL));
    FAILS(ESRCH, PTRACE(PTRACE_CONT, pid, 0, 0)); // it runs
    OK(PTRACE(PTRACE_INTERRUPT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    EVENTUALLY(task_state(pid) == 'S');
    kill(pid, SIGTERM);
    STOPS(pid, SIGTERM);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGTERM));
    WAIT_STATUS(pid, KILLED(SIGTERM));
}
TEST(a_group_stop_of_a_seized_one)
{
    pid_t pid = FORK({ for (;;) pause(); });
    OK(PTRACE(PTRACE_SEIZE, pid, 0, 0));
    kill(pid, SIGTSTP);
    STOPS(pid, SIGTSTP);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGTSTP));
    STOPS(pid, SIGTSTP | PTRACE_EVENT_STOP << 8);
    EQ(info_of(pid).si_code, SIGTSTP | PTRACE_EVENT_STOP << 8);
    OK(PTRACE(PTRACE_LISTEN, pid, 0, 0));
    EVENTUALLY(task_state(pid) == 'T' || task_state(pid) == 't');
    EQ(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGCONT);
    STOPS(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGCONT);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGCONT));
    kill(pid, SIGKILL);
    WAIT_STATUS(pid, KILLED(SIGKILL));
}
TEST(a_group_stop_of_an_attached_one)
{
    pid_t pid = TRACEE({ raise(SIGTSTP); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTSTP);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGTSTP));
    STOPS(pid, SIGTSTP); // stopped
    FAILS(EINVAL, PTRACE(PTRACE_GETSIGINFO, pid, 0, &(siginfo_t){}));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0)); // and runs all the same
    WAIT_OK(pid);
}
TEST(forks_are_followed)
{
    pid_t pid = TRACEE({ WAIT_STATUS(FORK({ _exit(3); }), EXITED(3)); });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_FORK << 8);
    pid_t child = message_of(pid);
    STOPS(child, SIGSTOP);
    EQ(regs_of(child).rax, 0);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    OK(PTRACE(PTRACE_CONT, child, 0, 0));
    WAIT_STATUS(child, EXITED(3)); // before its parent
    STOPS(pid, SIGCHLD);
    OK(PTRACE(PTRACE_CONT, pid, 0, SIGCHLD));
    WAIT_OK(pid);
}
TEST(vforks_are_followed)
{
    pid_t pid = TRACEE({ pid_t child = vfork(); if (child == 0) _exit(3); WAIT_STATUS(child, EXITED(3)); });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_VFORK << 8);
    pid_t child = message_of(pid);
    STOPS(child, SIGSTOP);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    OK(PTRACE(PTRACE_DETACH, child, 0, 0));
    int stop = stop_of(pid);
    if (stop == SIGCHLD) {
        OK(PTRACE(PTRACE_CONT, pid, 0, SIGCHLD));
        stop = stop_of(pid);
    }
    EQ(stop, SIGTRAP | PTRACE_EVENT_VFORK_DONE << 8);
    EQ(message_of(pid), child);
    OK(PTRACE(PTRACE_DETACH, pid, 0, 0));
    WAIT_OK(pid);
}
static void *nothing(void *arg) { return arg; }
TEST(threads_are_followed_to_their_end)
{
    pid_t pid = TRACEE({
        pthread_t thread;
        ZERO(pthread_create(&thread, NULL, nothing, NULL));
        ZERO(pthread_join(thread, NULL));
    });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_CLONE << 8);
    pid_t thread = message_of(pid);
    CHECK(thread != pid);
    STOPS(thread, SIGSTOP);
    OK(PTRACE(PTRACE_CONT, thread, 0, 0));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    int status;
    EQ(OK(waitpid(thread, &status, __WALL)), thread);
    EQ(status, EXITED(0));
    WAIT_OK(pid);
}
HELPER(ends) { return argc == 2 ? atoi(argv[1]) : 1; }
TEST(an_exec_is_told)
{
    pid_t pid = TRACEE({ exec_self("ends", "5", NULL); });
    OK(PTRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_EXEC << 8);
    EQ(message_of(pid), pid);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP | PTRACE_EVENT_EXIT << 8);
    EQ(message_of(pid), EXITED(5));
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_STATUS(pid, EXITED(5));
}
TEST(an_exec_traps_where_nothing_was_asked)
{
    pid_t pid = TRACEE({ exec_self("ends", "6", NULL); });
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    STOPS(pid, SIGTRAP);
    EQ(info_of(pid).si_code, SI_USER);
    OK(PTRACE(PTRACE_CONT, pid, 0, 0));
    WAIT_STATUS(pid, EXITED(6));
}
TEST(a_stranger_is_waited_for_by_tracer_and_parent)
{
    int fds[2];
    OK(pipe(fds));
    pid_t parent = FORK({
        pid_t child = FORK({ pause(); });
        OK(write(fds[1], &child, sizeof child));
        WAIT_STATUS(child, KILLED(SIGTERM));
    });
    pid_t child;
    EQ(read(fds[0], &child, sizeof child), sizeof child);
    OK(PTRACE(PTRACE_SEIZE, child, 0, 0));
    kill(child, SIGTERM);
    STOPS(child, SIGTERM);
    OK(PTRACE(PTRACE_CONT, child, 0, SIGTERM));
    WAIT_STATUS(child, KILLED(SIGTERM));
    FAILS(ECHILD, waitpid(child, NULL, 0));
    WAIT_OK(parent);
}
TEST(the_tracer_s_end_frees_or_kills)
{
    for (int kills = 0; kills < 2; kills++) {
        int fds[2];
        OK(pipe(fds));
        pid_t pid = FORK({ char c; read(fds[0], &c, 1); _exit(4); });
        WAIT_OK(FORK({
            OK(PTRACE(PTRACE_SEIZE, pid, 0, kills ? PTRACE_O_EXITKILL : 0));
            OK(PTRACE(PTRACE_INTERRUPT, pid, 0, 0));
            STOPS(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
        }));
        OK(write(fds[1], "x", 1));
        WAIT_STATUS(pid, kills ? KILLED(SIGKILL) : EXITED(4));
    }
}
TEST(a_killed_tracee_dies_in_its_stop)
{
    pid_t pid = TRACEE({ for (;;) pause(); });
    kill(pid, SIGKILL);
    WAIT_STATUS(pid, KILLED(SIGKILL));
    FAILS(ESRCH, PTRACE(PTRACE_CONT, pid, 0, 0));
}
TEST(what_may_not_be)
{
    FAILS(ESRCH, PTRACE(PTRACE_ATTACH, 99999, 0, 0));
    FAILS(EPERM, PTRACE(PTRACE_ATTACH, getpid(), 0, 0));
    pid_t pid = TRACEE({ pause(); });
    FAILS(EINVAL, PTRACE(PTRACE_SETOPTIONS, pid, 0, 1 << 30));
    FAILS(EIO, PTRACE(PTRACE_CONT, pid, 0, 65));
    FAILS(EIO, PTRACE(PTRACE_INTERRUPT, pid, 0, 0));
    FAILS(EIO, PTRACE(9999, pid, 0, 0));
    WAIT_OK(FORK({ FAILS(ESRCH, PTRACE(PTRACE_CONT, pid, 0, 0)); FAILS(EPERM, PTRACE(PTRACE_SEIZE, pid, 0, 0)); }));
    WAIT_OK(FORK({
        OK(setuid(12345));
        FAILS(EPERM, PTRACE(PTRACE_SEIZE, getppid(), 0, 0));
    }));
    OK(PTRACE(PTRACE_KILL, pid, 0, 0));
    WAIT_STATUS(pid, KILLED(SIGKILL));
}
MAIN()
