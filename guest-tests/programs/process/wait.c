// wait4, waitpid and waitid with every option: wait(2), wait4(2).
#include "check.h"

TEST(status_of_exit)
{
    for (int code = 0; code < 256; code += 51) {
        pid_t child = FORK({ _exit(code); });
        WAIT_STATUS(child, EXITED(code));
    }
}

TEST(status_of_a_signal)
{
    pid_t child = FORK({ pause(); });
    OK(kill(child, SIGTERM));
    WAIT_STATUS(child, KILLED(SIGTERM));
    child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        abort();
    });
    int status;
    EQ(OK(waitpid(child, &status, 0)), child);
    EQ(status & 0x7f, SIGABRT);
}

TEST(no_child)
{
    FAILS(ECHILD, wait(NULL));
    FAILS(ECHILD, waitpid(getpid(), NULL, 0));
    FAILS(ECHILD, waitpid(1, NULL, 0));
    FAILS(EINVAL, waitpid(-1, NULL, 0x40));
    FAILS(ECHILD, waitpid(-getpgrp(), NULL, WNOHANG));
}

TEST(wnohang)
{
    int gate[2];
    OK(pipe(gate));
    pid_t child = FORK({
        char c;
        close(gate[1]);
        read(gate[0], &c, 1);
    });
    EQ(waitpid(child, NULL, WNOHANG), 0);
    EQ(waitpid(-1, NULL, WNOHANG), 0);
    close(gate[1]);
    WAIT_OK(child);
}

TEST(stopped_and_continued)
{
    pid_t child = FORK({ for (;;) pause(); });
    int status;
    OK(kill(child, SIGSTOP));
    EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    CHECK(WIFSTOPPED(status));
    EQ(WSTOPSIG(status), SIGSTOP);
    EQ(waitpid(child, &status, WUNTRACED | WNOHANG), 0);
    OK(kill(child, SIGCONT));
    EQ(OK(waitpid(child, &status, WCONTINUED)), child);
    EQ(status, 0xffff);
    CHECK(WIFCONTINUED(status));
    EQ(waitpid(child, &status, WCONTINUED | WNOHANG), 0);
    OK(kill(child, SIGKILL));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(kill_ends_a_stopped_child)
{
    pid_t child = FORK({ for (;;) pause(); });
    int status;
    OK(kill(child, SIGSTOP));
    OK(waitpid(child, &status, WUNTRACED));
    OK(kill(child, SIGTERM)); // stays pending while it is stopped
    EQ(waitpid(child, &status, WNOHANG), 0);
    OK(kill(child, SIGKILL));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(waitid_tells_all)
{
    pid_t child = FORK({ _exit(7); });
    siginfo_t info;
    memset(&info, 0xff, sizeof info);
    OK(waitid(P_PID, child, &info, WEXITED));
    EQ(info.si_signo, SIGCHLD);
    EQ(info.si_code, CLD_EXITED);
    EQ(info.si_pid, child);
    EQ(info.si_uid, getuid());
    EQ(info.si_status, 7);
    EQ(info.si_errno, 0);
    FAILS(ECHILD, waitid(P_PID, child, &info, WEXITED));
}

TEST(waitid_codes)
{
    siginfo_t info;
    pid_t child = FORK({ for (;;) pause(); });
    OK(kill(child, SIGSTOP));
    OK(waitid(P_PID, child, &info, WSTOPPED));
    EQ(info.si_code, CLD_STOPPED);
    EQ(info.si_status, SIGSTOP);
    OK(kill(child, SIGCONT));
    OK(waitid(P_ALL, 0, &info, WCONTINUED));
    EQ(info.si_code, CLD_CONTINUED);
    EQ(info.si_status, SIGCONT);
    OK(kill(child, SIGKILL));
    OK(waitid(P_ALL, 0, &info, WEXITED));
    EQ(info.si_code, CLD_KILLED);
    EQ(info.si_status, SIGKILL);
}

TEST(waitid_wnowait_leaves_it)
{
    pid_t child = FORK({ _exit(3); });
    siginfo_t info;
    OK(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    EQ(info.si_status, 3);
    OK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG));
    EQ(info.si_pid, child);
    WAIT_STATUS(child, EXITED(3));
}

TEST(waitid_nothing_yet_clears_pid)
{
    pid_t child = FORK({ for (;;) pause(); });
    siginfo_t info;
    memset(&info, 0xff, sizeof info);
    OK(waitid(P_PID, child, &info, WEXITED | WNOHANG));
    EQ(info.si_pid, 0);
    EQ(info.si_signo, 0);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    FAILS(EINVAL, waitid(P_ALL, 0, &info, 0));
    FAILS(EINVAL, waitid(P_ALL, 0, &info, WNOHANG));
    FAILS(EINVAL, waitid(17, 0, &info, WEXITED));
    FAILS(EINVAL, waitid(P_PID, 0, &info, WEXITED));
}

TEST(process_groups)
{
    pid_t a = FORK({ setpgid(0, 0), _exit(1); });
    setpgid(a, a); // whoever comes first
    pid_t b = FORK({ _exit(2); });
    int status;
    EQ(OK(waitpid(0, &status, 0)), b);
    EQ(OK(waitpid(-a, &status, 0)), a);
    EQ(WEXITSTATUS(status), 1);
}

TEST(rusage_of_a_child)
{
    pid_t child = FORK({
        int64_t until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 30000000;
        while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until) {
        }
    });
    struct rusage usage, children;
    memset(&usage, 0, sizeof usage);
    int status;
    EQ(OK(wait4(child, &status, 0, &usage)), child);
    CHECK(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec > 0 || usage.ru_utime.tv_usec + usage.ru_stime.tv_usec >= 20000);
    OK(getrusage(RUSAGE_CHILDREN, &children));
    CHECK(children.ru_utime.tv_sec + children.ru_stime.tv_sec > 0 ||
          children.ru_utime.tv_usec + children.ru_stime.tv_usec >= 20000);
}

TEST(an_ignored_signal_does_not_interrupt)
{
    pid_t child = FORK({ for (;;) pause(); });
    signal(SIGUSR1, SIG_IGN); // ignored: must not interrupt
    pid_t parent = getpid();
    pid_t other = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
        sleep_ms(5);
        kill(child, SIGKILL);
    });
    WAIT_STATUS(child, KILLED(SIGKILL));
    WAIT_OK(other);
}

static void nothing(int signal) { (void)signal; }

TEST(wait_says_eintr)
{
    pid_t child = FORK({ for (;;) pause(); });
    struct sigaction sa = {.sa_handler = nothing};
    OK(sigaction(SIGUSR1, &sa, NULL));
    pid_t parent = getpid();
    pid_t other = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
    });
    FAILS(EINTR, waitpid(child, NULL, 0));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    WAIT_OK(other);
}

TEST(ignored_sigchld_reaps)
{
    signal(SIGCHLD, SIG_IGN);
    pid_t child = FORK({ _exit(1); });
    FAILS(ECHILD, waitpid(child, NULL, 0)); // waits until it is gone, then finds none
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
}

TEST(no_child_wait_reaps)
{
    struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_NOCLDWAIT};
    OK(sigaction(SIGCHLD, &sa, NULL));
    FORK({ _exit(1); });
    int64_t until = now_ns(CLOCK_MONOTONIC) + 5000000000LL;
    while (wait(NULL) == -1 && errno == EINTR && now_ns(CLOCK_MONOTONIC) < until) {
    }
    EQ(errno, ECHILD);
}

TEST(a_zombie_stays_until_it_is_waited_for)
{
    pid_t child = FORK({});
    EVENTUALLY(task_state(child) == 'Z');
    OK(kill(child, SIGTERM)); // a zombie can be signalled: to no effect
    WAIT_OK(child);
    FAILS(ESRCH, kill(child, 0));
}

static void *wait_in_thread(void *arg)
{
    WAIT_STATUS(*(pid_t *)arg, EXITED(9));
    return NULL;
}

TEST(another_thread_may_wait)
{
    pid_t child = FORK({ _exit(9); });
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, wait_in_thread, &child));
    ZERO(pthread_join(thread, NULL));
}

static pid_t thread_child;
static void *fork_in_thread(void *arg)
{
    thread_child = FORK({ _exit(4); });
    return arg;
}

TEST(wnothread)
{
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, fork_in_thread, NULL));
    ZERO(pthread_join(thread, NULL));
    // The thread that forked is gone: the child is the process's and now hangs at the leader.
    WAIT_STATUS(thread_child, EXITED(4));
}

static int clone_body(void *arg)
{
    (void)arg;
    return 5;
}

TEST(wclone_and_wall)
{
    static char stack[65536] __attribute__((aligned(16)));
    pid_t child = OK(clone(clone_body, stack + sizeof stack, 0, NULL)); // no exit signal: a "clone child"
    FAILS(ECHILD, waitpid(child, NULL, 0));
    int status;
    EQ(OK(waitpid(child, &status, __WCLONE)), child);
    EQ(status, EXITED(5));
    child = OK(clone(clone_body, stack + sizeof stack, 0, NULL));
    EQ(OK(waitpid(child, &status, __WALL)), child);
}

TEST(a_zombie_does_not_stop)
{
    pid_t child = FORK({ _exit(0); });
    siginfo_t info;
    OK(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    FAILS(ECHILD, waitid(P_PID, child, &info, WSTOPPED));
    FAILS(ECHILD, waitid(P_ALL, 0, &info, WSTOPPED | WCONTINUED | WNOHANG));
    WAIT_OK(child);
}

MAIN()
