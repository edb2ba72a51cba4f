// Sessions, process groups, reparenting, subreapers: setpgid(2), setsid(2), credentials(7), prctl(2).
#include "check.h"

TEST(setpgid)
{
    EQ(getpgrp(), getpid());
    OK(setpgid(0, 0));
    pid_t child = FORK({ pause(); });
    OK(setpgid(child, child));
    EQ(getpgid(child), child);
    OK(setpgid(child, getpgrp()));
    EQ(getpgid(child), getpgrp());
    FAILS(EPERM, setpgid(child, 99999)); // no such group
    FAILS(EINVAL, setpgid(child, -1));
    FAILS(ESRCH, setpgid(1, 0)); // not a child
    FAILS(ESRCH, getpgid(999999));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

HELPER(wait_stdin)
{
    char c;
    dprintf(1, "x");
    return read(0, &c, 1);
}

TEST(setpgid_after_exec)
{
    int in[2], out[2];
    OK(pipe(in)), OK(pipe(out));
    pid_t child = FORK({
        dup2(in[0], 0), dup2(out[1], 1);
        close(in[1]);
        exec_self("wait_stdin", NULL);
    });
    char c;
    EQ(read(out[0], &c, 1), 1);
    FAILS(EACCES, setpgid(child, child));
    close(in[1]);
    WAIT_OK(child);
}

TEST(setsid)
{
    FAILS(EPERM, setsid()); // a group leader
    pid_t child = FORK({
        pid_t old = getsid(0);
        EQ(setsid(), getpid());
        EQ(getsid(0), getpid());
        EQ(getpgrp(), getpid());
        CHECK(old != getpid());
        FAILS(EPERM, setpgid(0, 0)); // a session leader
        FAILS(EPERM, setsid());
        int fd = open("/dev/tty", O_RDWR);
        CHECK(fd == -1 && errno == ENXIO);
        pid_t grandchild = FORK({ EQ(getsid(0), getppid()); });
        WAIT_OK(grandchild);
    });
    EVENTUALLY(task_state(child) == 'Z' || getsid(child) == child);
    CHECK(setpgid(child, getpgrp()) == -1 && (errno == EPERM || errno == ESRCH)); // another session, or gone
    WAIT_OK(child);
}

TEST(kill_a_group)
{
    pid_t lead = FORK({
        setpgid(0, 0);
        for (;;)
            pause();
    });
    setpgid(lead, lead);
    pid_t member = FORK({ for (;;) pause(); });
    OK(setpgid(member, lead));
    OK(kill(-lead, 0));
    OK(killpg(lead, SIGTERM));
    WAIT_STATUS(lead, KILLED(SIGTERM));
    WAIT_STATUS(member, KILLED(SIGTERM));
    FAILS(ESRCH, kill(-lead, 0));
}

TEST(subreaper)
{
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    int on = 0;
    OK(prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0));
    EQ(on, 1);
    int report[2];
    OK(pipe(report));
    pid_t own = getpid();
    pid_t child = FORK({
        OK(prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0));
        EQ(on, 0); // not inherited
        pid_t grandchild = FORK({
            EVENTUALLY(getppid() == own);
            _exit(13);
        });
        EQ(write(report[1], &grandchild, sizeof grandchild), sizeof grandchild);
    });
    WAIT_OK(child);
    pid_t grandchild;
    EQ(read(report[0], &grandchild, sizeof grandchild), sizeof grandchild);
    WAIT_STATUS(grandchild, EXITED(13));
}

TEST(orphans_go_to_init)
{
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        pid_t parent = getpid();
        FORK({
            EVENTUALLY(getppid() != parent);
            pid_t now = getppid();
            EQ(write(report[1], &now, sizeof now), sizeof now);
        });
    });
    WAIT_OK(child);
    pid_t now;
    EQ(read(report[0], &now, sizeof now), sizeof now);
    EQ(now, 1);
}

TEST(a_reparented_zombie_is_reaped_by_the_subreaper)
{
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        pid_t grandchild = FORK({ _exit(3); });
        EVENTUALLY(task_state(grandchild) == 'Z');
        EQ(write(report[1], &grandchild, sizeof grandchild), sizeof grandchild);
    });
    pid_t grandchild;
    EQ(read(report[0], &grandchild, sizeof grandchild), sizeof grandchild);
    WAIT_OK(child);
    WAIT_STATUS(grandchild, EXITED(3));
}

TEST(parent_death_signal)
{
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        FORK({
            OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
            int signal = 0;
            OK(prctl(PR_GET_PDEATHSIG, &signal));
            EQ(signal, SIGUSR1);
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, NULL);
            EQ(write(report[1], "r", 1), 1);
            siginfo_t info;
            EQ(sigwaitinfo(&set, &info), SIGUSR1);
            EQ(write(report[1], "d", 1), 1);
        });
        sleep_ms(1000);
    });
    char c;
    EQ(read(report[0], &c, 1), 1);
    EQ(c, 'r');
    OK(kill(child, SIGKILL));
    EQ(read(report[0], &c, 1), 1);
    EQ(c, 'd');
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(orphaned_stopped_group_gets_hup_and_cont)
{
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        setsid();
        pid_t grandchild = FORK({
            setpgid(0, 0);
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGHUP);
            sigprocmask(SIG_BLOCK, &set, NULL);
            raise(SIGSTOP);
            siginfo_t info;
            EQ(sigwaitinfo(&set, &info), SIGHUP);
            EQ(write(report[1], "h", 1), 1);
        });
        int status;
        OK(waitpid(grandchild, &status, WUNTRACED));
        CHECK(WIFSTOPPED(status));
    });
    WAIT_OK(child);
    char c;
    EQ(read(report[0], &c, 1), 1);
    EQ(c, 'h');
}

TEST(group_with_a_parent_elsewhere_is_no_orphan)
{
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        setsid();
        pid_t grandchild = FORK({
            setpgid(0, 0);
            raise(SIGSTOP);
            EQ(write(report[1], "c", 1), 1);
        });
        int status;
        OK(waitpid(grandchild, &status, WUNTRACED));
        CHECK(WIFSTOPPED(status));
        // A child of the same session ends: nothing happens to the stopped group.
        pid_t other = FORK({ setpgid(0, 0); });
        WAIT_OK(other);
        struct pollfd p = {report[0], POLLIN, 0};
        EQ(poll(&p, 1, 50), 0);
        OK(kill(grandchild, SIGCONT));
        WAIT_OK(grandchild);
        EQ(poll(&p, 1, 1000), 1);
    });
    WAIT_OK(child);
}

TEST(exit_ignores_upper_bits)
{
    pid_t child = FORK({ syscall(SYS_exit_group, 0x1234); });
    WAIT_STATUS(child, EXITED(0x34));
}

TEST(exit_of_the_leader_thread_only)
{
    // The leader ends by exit(2), the other thread goes on and decides the status.
    pid_t child = FORK({
        pthread_t thread;
        ZERO(pthread_create(&thread, NULL, ({
            void *body(void *arg) {
                (void)arg;
                EVENTUALLY(task_state(getpid()) == 'Z');
                syscall(SYS_exit_group, 17);
                return NULL;
            }
            body;
        }), NULL));
        syscall(SYS_exit, 3);
    });
    WAIT_STATUS(child, EXITED(17));
}

MAIN()
