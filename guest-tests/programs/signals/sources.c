// What siginfo says of every source of signals: sigaction(2), "The siginfo_t argument to a SA_SIGINFO handler".
#include "check.h"
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

static siginfo_t seen[64];
static volatile int count;
static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen[count % 64] = *info;
    count++;
}
static void catch_(int signal)
{
    struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    OK(sigaction(signal, &sa, NULL));
    count = 0;
}
#define SAW(number, signal, code)                                                                                      \
    do {                                                                                                               \
        EVENTUALLY(count > (number));                                                                                  \
        EQ(seen[number].si_signo, signal);                                                                             \
        EQ(seen[number].si_code, code);                                                                                \
        EQ(seen[number].si_errno, 0);                                                                                  \
    } while (0)
#define FROM(number, pid, uid)                                                                                         \
    do {                                                                                                               \
        EQ(seen[number].si_pid, pid);                                                                                  \
        EQ(seen[number].si_uid, uid);                                                                                  \
    } while (0)

TEST(children)
{
    struct rlimit none = {0, 0};
    OK(setrlimit(RLIMIT_CORE, &none));
    catch_(SIGCHLD);
    pid_t child = FORK({
        OK(setresuid(1234, 1234, 1234));
        _exit(7);
    });
    SAW(0, SIGCHLD, CLD_EXITED);
    FROM(0, child, 1234);
    EQ(seen[0].si_status, 7);
    WAIT_STATUS(child, EXITED(7));
    child = FORK({ pause(); });
    EVENTUALLY(task_state(child) == 'S');
    kill(child, SIGSTOP);
    SAW(1, SIGCHLD, CLD_STOPPED);
    FROM(1, child, 0);
    EQ(seen[1].si_status, SIGSTOP);
    siginfo_t info = {0};
    OK(waitid(P_PID, child, &info, WSTOPPED));
    EQ(info.si_signo, SIGCHLD);
    EQ(info.si_code, CLD_STOPPED);
    EQ(info.si_pid, child);
    EQ(info.si_status, SIGSTOP);
    kill(child, SIGCONT);
    SAW(2, SIGCHLD, CLD_CONTINUED);
    FROM(2, child, 0);
    EQ(seen[2].si_status, SIGCONT);
    kill(child, SIGTERM);
    SAW(3, SIGCHLD, CLD_KILLED);
    FROM(3, child, 0);
    EQ(seen[3].si_status, SIGTERM);
    info = (siginfo_t){0};
    OK(waitid(P_PID, child, &info, WEXITED));
    EQ(info.si_code, CLD_KILLED);
    EQ(info.si_status, SIGTERM);
    EQ(info.si_uid, 0);
}

TEST(senders)
{
    int me = getpid();
    catch_(SIGUSR1), catch_(SIGRTMIN);
    OK(kill(me, SIGUSR1));
    SAW(0, SIGUSR1, SI_USER);
    FROM(0, me, 0);
    OK(syscall(SYS_tgkill, me, me, SIGUSR1));
    SAW(1, SIGUSR1, SI_TKILL);
    FROM(1, me, 0);
    OK(syscall(SYS_tkill, me, SIGUSR1));
    SAW(2, SIGUSR1, SI_TKILL);
    OK(sigqueue(me, SIGRTMIN, (union sigval){.sival_ptr = (void *)0x123456789abcL}));
    SAW(3, SIGRTMIN, SI_QUEUE);
    FROM(3, me, 0);
    EQ((long)seen[3].si_value.sival_ptr, 0x123456789abcL);
    pid_t child = FORK({
        OK(setresuid(77, 0, 0));
        OK(kill(me, SIGUSR1));
    });
    SAW(4, SIGUSR1, SI_USER);
    FROM(4, child, 77);
    WAIT_OK(child);
    child = FORK({
        OK(kill(-getpgrp(), SIGUSR1));
        pause();
    });
    SAW(5, SIGUSR1, SI_USER);
    FROM(5, child, 0);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    siginfo_t info = {.si_code = -77};
    info.si_pid = 4711, info.si_uid = 815, info.si_int = 42;
    OK(syscall(SYS_rt_sigqueueinfo, me, SIGRTMIN, &info)); // to itself: anything
    SAW(6, SIGRTMIN, -77);
    FROM(6, 4711, 815);
    EQ(seen[6].si_int, 42);
    OK(syscall(SYS_rt_tgsigqueueinfo, me, me, SIGRTMIN, &info));
    SAW(7, SIGRTMIN, -77);
    pid_t other = FORK({ pause(); });
    info.si_code = SI_USER;
    FAILS(EPERM, syscall(SYS_rt_sigqueueinfo, other, SIGRTMIN, &info)); // to others: nothing that the kernel or kill says
    info.si_code = SI_TKILL;
    FAILS(EPERM, syscall(SYS_rt_sigqueueinfo, other, SIGRTMIN, &info));
    kill(other, SIGKILL);
    WAIT_STATUS(other, KILLED(SIGKILL));
}

TEST(broken_pipe_and_file_limit)
{
    int p[2], s[2], me = getpid();
    catch_(SIGPIPE);
    OK(pipe(p));
    close(p[0]);
    FAILS(EPIPE, write(p[1], "x", 1));
    SAW(0, SIGPIPE, SI_USER);
    FROM(0, me, 0);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    close(s[0]);
    FAILS(EPIPE, write(s[1], "x", 1));
    SAW(1, SIGPIPE, SI_USER);
    FROM(1, me, 0);
    FAILS(EPIPE, send(s[1], "x", 1, MSG_NOSIGNAL));
    EQ(count, 2);
    catch_(SIGXFSZ);
    struct rlimit limit = {10, RLIM_INFINITY};
    OK(setrlimit(RLIMIT_FSIZE, &limit));
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    EQ(write(fd, "0123456789abc", 13), 10);
    FAILS(EFBIG, write(fd, "x", 1));
    SAW(0, SIGXFSZ, SI_USER);
    FROM(0, me, 0);
}

TEST(timers)
{
    catch_(SIGALRM), catch_(SIGRTMIN + 1), catch_(SIGVTALRM);
    struct itimerval once = {.it_value = {0, 2000}};
    OK(setitimer(ITIMER_REAL, &once, NULL));
    SAW(0, SIGALRM, SI_KERNEL);
    FROM(0, 0, 0);
    timer_t t;
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value = {.sival_ptr = (void *)0x7766554433221100L}};
    OK(timer_create(CLOCK_MONOTONIC, &e, &t));
    struct itimerspec spec = {.it_value = {0, 1000000}};
    OK(timer_settime(t, 0, &spec, NULL));
    SAW(1, SIGRTMIN + 1, SI_TIMER);
    EQ(seen[1].si_overrun, 0);
    EQ((long)seen[1].si_value.sival_ptr, 0x7766554433221100L);
    OK(timer_delete(t));
    OK(setitimer(ITIMER_VIRTUAL, &once, NULL));
    while (count < 3) {
    }
    SAW(2, SIGVTALRM, SI_KERNEL);
    FROM(2, 0, 0);
}

TEST(death_of_the_parent)
{
    int p[2];
    OK(pipe(p));
    pid_t middle = FORK({
        pid_t child = fork();
        if (child == 0) {
            pid_t parent = getppid();
            catch_(SIGUSR2);
            OK(prctl(PR_SET_PDEATHSIG, SIGUSR2));
            write(p[1], "r", 1);
            SAW(0, SIGUSR2, SI_USER);
            FROM(0, parent, 0);
            write(p[1], "x", 1);
            _exit(0);
        }
        char c;
        EQ(read(p[0], &c, 1), 1);
    });
    WAIT_OK(middle);
    char c;
    close(p[1]);
    EQ(read(p[0], &c, 1), 1);
    EQ(c, 'x');
}

TEST(terminal)
{
    int p[2], ready[2];
    OK(pipe(p)), OK(pipe(ready));
    pid_t child = FORK({
        OK(setsid());
        int master = OK(posix_openpt(O_RDWR | O_NOCTTY));
        OK(grantpt(master)), OK(unlockpt(master));
        int slave = OK(open(ptsname(master), O_RDWR));
        OK(ioctl(slave, TIOCSCTTY, 0));
        catch_(SIGINT), catch_(SIGWINCH);
        EQ(write(master, "\003", 1), 1);
        SAW(0, SIGINT, SI_KERNEL);
        FROM(0, 0, 0);
        struct winsize size = {10, 20, 0, 0};
        OK(ioctl(master, TIOCSWINSZ, &size));
        SAW(1, SIGWINCH, SI_KERNEL);
        FROM(1, 0, 0);
    });
    WAIT_OK(child);
}

TEST(input)
{
    // O_ASYNC with F_SETSIG: which descriptor, and what happened to it.
    int s[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    catch_(SIGRTMIN + 2), catch_(SIGIO);
    OK(fcntl(s[0], F_SETOWN, getpid()));
    OK(fcntl(s[0], F_SETSIG, SIGRTMIN + 2));
    EQ(write(s[1], "x", 1), 1);
    EQ(count, 0); // not yet
    OK(fcntl(s[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    EQ(write(s[1], "x", 1), 1);
    SAW(0, SIGRTMIN + 2, POLL_IN);
    EQ(seen[0].si_fd, s[0]);
    CHECK(seen[0].si_band & POLLIN);
    int before = count;
    OK(fcntl(s[0], F_SETFL, O_NONBLOCK));
    EQ(write(s[1], "x", 1), 1);
    EQ(count, before);
    // Without F_SETSIG: SIGIO, which says no more. Of a pipe, and to another process.
    int p[2], ready[2];
    OK(pipe(p)), OK(pipe(ready));
    pid_t child = FORK({
        catch_(SIGIO);
        EQ(write(ready[1], "r", 1), 1);
        SAW(0, SIGIO, SI_KERNEL);
    });
    char c;
    EQ(read(ready[0], &c, 1), 1);
    struct f_owner_ex owner = {F_OWNER_PID, child};
    OK(fcntl(p[0], F_SETOWN_EX, &owner));
    int on = 1;
    OK(ioctl(p[0], FIOASYNC, &on));
    EQ(write(p[1], "x", 1), 1);
    WAIT_OK(child);
    EQ(count, before);
}

TEST(signalfd_says_the_same)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGCHLD), sigaddset(&set, SIGRTMIN);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = OK(signalfd(-1, &set, 0));
    pid_t child = FORK({
        sigqueue(getppid(), SIGRTMIN, (union sigval){.sival_int = 99});
        _exit(3);
    });
    struct signalfd_siginfo info;
    EQ(read(fd, &info, sizeof info), sizeof info);
    EVENTUALLY(task_state(child) == 'Z');
    struct signalfd_siginfo second;
    EQ(read(fd, &second, sizeof second), sizeof second);
    if (info.ssi_signo == SIGCHLD) { // lower numbers first
        struct signalfd_siginfo swap = info;
        info = second, second = swap;
    }
    EQ(info.ssi_signo, SIGRTMIN);
    EQ(info.ssi_code, SI_QUEUE);
    EQ(info.ssi_pid, child);
    EQ(info.ssi_int, 99);
    EQ(second.ssi_signo, SIGCHLD);
    EQ(second.ssi_code, CLD_EXITED);
    EQ(second.ssi_pid, child);
    EQ(second.ssi_status, 3);
    WAIT_STATUS(child, EXITED(3));
}

MAIN()
