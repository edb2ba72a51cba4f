// What a stop and SIGCONT without handlers do to calls that wait, and what is left of their time: signal(7), "Interruption of system calls and library
// functions by stop signals".
#include "check.h"
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>

// A child that stops the parent once it sleeps, lets it go on, and does the block 25 ms later.
#define STOPPED(...)                                                                                                   \
    ({                                                                                                                 \
        pid_t parent_ = getpid();                                                                                      \
        FORK({                                                                                                         \
            EVENTUALLY(task_state(parent_) == 'S');                                                                    \
            kill(parent_, SIGSTOP);                                                                                    \
            EVENTUALLY(task_state(parent_) == 'T');                                                                    \
            sleep_ms(5);                                                                                               \
            kill(parent_, SIGCONT);                                                                                    \
            sleep_ms(25);                                                                                              \
            __VA_ARGS__;                                                                                               \
        });                                                                                                            \
    })
static int64_t began;
static void begin(void) { began = now_ns(CLOCK_MONOTONIC); }
static int64_t took_ms(void) { return (now_ns(CLOCK_MONOTONIC) - began) / 1000000; }
#define LASTED(ms)                                                                                                     \
    do {                                                                                                               \
        int64_t took_ = took_ms();                                                                                     \
        if (took_ < (ms) - 1 || took_ > (ms) + 2000)                                                                   \
            FAIL("took %ld ms, not %d", (long)took_, (int)(ms));                                                       \
    } while (0)

TEST(sleeps_go_on)
{
    struct timespec t = {0, 60000000}, left;
    pid_t child = STOPPED();
    begin();
    OK(nanosleep(&t, &left));
    LASTED(60);
    WAIT_OK(child);
    for (int i = 0; i < 2; i++) {
        clockid_t clock = i ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        child = STOPPED();
        begin();
        ZERO(clock_nanosleep(clock, 0, &t, &left));
        LASTED(60);
        WAIT_OK(child);
        struct timespec until;
        begin();
        clock_gettime(clock, &until);
        until.tv_nsec += 60000000;
        until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
        child = STOPPED();
        ZERO(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL));
        LASTED(60);
        WAIT_OK(child);
    }
}

TEST(poll_and_select_go_on)
{
    int p[2];
    OK(pipe(p));
    struct pollfd f = {.fd = p[0], .events = POLLIN};
    pid_t child = STOPPED();
    begin();
    EQ(poll(&f, 1, 60), 0);
    LASTED(60);
    WAIT_OK(child);
    child = STOPPED(write(p[1], "x", 1));
    EQ(poll(&f, 1, -1), 1);
    WAIT_OK(child);
    char c;
    EQ(read(p[0], &c, 1), 1);
    struct timespec t = {0, 60000000};
    child = STOPPED();
    begin();
    EQ(ppoll(&f, 1, &t, NULL), 0);
    LASTED(60);
    WAIT_OK(child);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p[0], &set);
    struct timeval v = {0, 60000};
    child = STOPPED();
    begin();
    EQ(select(p[0] + 1, &set, NULL, NULL, &v), 0);
    LASTED(60);
    WAIT_OK(child);
    FD_ZERO(&set);
    FD_SET(p[0], &set);
    child = STOPPED();
    begin();
    EQ(pselect(p[0] + 1, &set, NULL, NULL, &t, NULL), 0);
    LASTED(60);
    WAIT_OK(child);
}

TEST(some_end)
{
    // These say EINTR, though no handler ran.
    int e = OK(epoll_create1(0));
    struct epoll_event event;
    pid_t child = STOPPED();
    FAILS(EINTR, epoll_wait(e, &event, 1, 5000));
    WAIT_OK(child);
    child = STOPPED();
    FAILS(EINTR, epoll_wait(e, &event, 1, -1));
    WAIT_OK(child);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    struct timespec t = {5, 0};
    child = STOPPED();
    FAILS(EINTR, sigtimedwait(&set, NULL, &t));
    WAIT_OK(child);
    child = STOPPED();
    FAILS(EINTR, sigwaitinfo(&set, NULL));
    WAIT_OK(child);
    int sem = OK(semget(IPC_PRIVATE, 1, 0600));
    struct sembuf down = {.sem_op = -1};
    child = STOPPED();
    FAILS(EINTR, semop(sem, &down, 1));
    WAIT_OK(child);
    child = STOPPED();
    FAILS(EINTR, semtimedop(sem, &down, 1, &t));
    WAIT_OK(child);
    OK(semctl(sem, 0, IPC_RMID));
}

TEST(messages_go_on)
{
    int queue = OK(msgget(IPC_PRIVATE, 0600));
    struct {
        long type;
        char text[8];
    } m = {1, "hello"};
    pid_t child = STOPPED(OK(msgsnd(queue, &m, 8, 0)));
    EQ(msgrcv(queue, &m, 8, 0, 0), 8);
    WAIT_OK(child);
    OK(msgctl(queue, IPC_RMID, NULL));
}

TEST(the_others_go_on)
{
    int p[2], s[2];
    char c;
    OK(pipe(p));
    pid_t child = STOPPED(write(p[1], "x", 1));
    EQ(read(p[0], &c, 1), 1);
    WAIT_OK(child);
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    child = STOPPED(write(s[1], "x", 1));
    EQ(recv(s[0], &c, 1, 0), 1);
    WAIT_OK(child);
    struct timeval limit = {5, 0};
    OK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    child = STOPPED(write(s[1], "x", 1));
    FAILS(EINTR, recv(s[0], &c, 1, 0)); // but not with a time limit
    WAIT_OK(child);
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600)), other = OK(open("f", O_RDWR));
    OK(flock(fd, LOCK_EX));
    child = STOPPED(flock(fd, LOCK_UN));
    OK(flock(other, LOCK_EX));
    WAIT_OK(child);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(fcntl(fd, F_OFD_SETLK, &lock));
    child = STOPPED({
        struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        OK(fcntl(fd, F_OFD_SETLK, &unlock));
    });
    lock.l_pid = 0;
    OK(fcntl(other, F_OFD_SETLKW, &lock));
    WAIT_OK(child);
    pid_t sleeper = FORK({ sleep_ms(80); });
    child = STOPPED();
    WAIT_OK(sleeper);
    WAIT_OK(child);
}

static volatile int hits;
static void hit(int signal)
{
    (void)signal;
    hits++;
}

TEST(pause_and_sigsuspend_go_on)
{
    struct sigaction sa = {.sa_handler = hit};
    OK(sigaction(SIGUSR1, &sa, NULL));
    pid_t parent = getpid();
    pid_t child = STOPPED(kill(parent, SIGUSR1));
    begin();
    FAILS(EINTR, pause());
    EQ(hits, 1);
    WAIT_OK(child);
    sigset_t none, set;
    sigemptyset(&none), sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    child = STOPPED(kill(parent, SIGUSR1));
    FAILS(EINTR, sigsuspend(&none));
    EQ(hits, 2);
    WAIT_OK(child);
}

TEST(what_is_left_after_a_handler)
{
    struct sigaction sa = {.sa_handler = hit, .sa_flags = SA_RESTART};
    OK(sigaction(SIGUSR1, &sa, NULL));
    pid_t parent = getpid();
    // After a stop a handler still ends a sleep, and what is left is told.
    struct timespec t = {5, 0}, left = {0, 0};
    pid_t child = STOPPED(kill(parent, SIGUSR1));
    FAILS(EINTR, nanosleep(&t, &left));
    CHECK(left.tv_sec == 4 || (left.tv_sec == 3 && left.tv_nsec > 0));
    WAIT_OK(child);
    child = STOPPED(kill(parent, SIGUSR1));
    EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left), EINTR);
    CHECK(left.tv_sec == 4 || (left.tv_sec == 3 && left.tv_nsec > 0));
    WAIT_OK(child);
    // ppoll and pselect tell it in their argument, as the raw call does.
    child = STOPPED(kill(parent, SIGUSR1));
    struct timespec raw = {5, 0};
    FAILS(EINTR, syscall(SYS_ppoll, NULL, 0, &raw, NULL, 8));
    CHECK(raw.tv_sec == 4);
    WAIT_OK(child);
    child = STOPPED(kill(parent, SIGUSR1));
    struct timeval v = {5, 0};
    FAILS(EINTR, select(0, NULL, NULL, NULL, &v));
    CHECK(v.tv_sec == 4);
    WAIT_OK(child);
}

TEST(sigtimedwait_in_full)
{
    sigset_t set, few;
    sigemptyset(&set), sigemptyset(&few);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGRTMIN), sigaddset(&set, SIGKILL);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    struct timespec none = {0, 0}, bad = {0, 1000000000}, some = {0, 20000000}, five = {5, 0};
    FAILS(EAGAIN, sigtimedwait(&set, NULL, &none));
    FAILS(EINVAL, sigtimedwait(&set, NULL, &bad));
    FAILS(EINVAL, syscall(SYS_rt_sigtimedwait, &set, NULL, &none, 4));
    FAILS(EFAULT, syscall(SYS_rt_sigtimedwait, &set, NULL, (void *)8, 8));
    begin();
    FAILS(EAGAIN, sigtimedwait(&set, NULL, &some));
    LASTED(20);
    // Lower numbers first; queued ones in their order; others stay.
    for (int i = 0; i < 3; i++)
        OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
    OK(kill(getpid(), SIGUSR2));
    OK(raise(SIGUSR1));
    sigaddset(&few, SIGUSR2), sigaddset(&few, SIGRTMIN);
    siginfo_t info;
    EQ(sigtimedwait(&few, &info, &none), SIGUSR2);
    EQ(info.si_code, SI_USER);
    EQ(info.si_pid, getpid());
    for (int i = 0; i < 3; i++) {
        EQ(sigwaitinfo(&few, &info), SIGRTMIN);
        EQ(info.si_code, SI_QUEUE);
        EQ(info.si_int, i);
    }
    FAILS(EAGAIN, sigtimedwait(&few, NULL, &none));
    EQ(sigwaitinfo(&set, &info), SIGUSR1);
    EQ(info.si_code, SI_USER); // the C library says so for SI_TKILL
    // A handler of another signal ends it, SA_RESTART or not.
    struct sigaction sa = {.sa_handler = hit, .sa_flags = SA_RESTART};
    OK(sigaction(SIGALRM, &sa, NULL));
    struct itimerval alarm = {.it_value = {0, 20000}};
    OK(setitimer(ITIMER_REAL, &alarm, NULL));
    FAILS(EINTR, sigtimedwait(&set, NULL, &five));
    EQ(hits, 1);
    // Not masked: it is taken, and its handler does not run.
    OK(sigaction(SIGUSR1, &sa, NULL));
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
    });
    EQ(sigtimedwait(&set, &info, &five), SIGUSR1);
    EQ(info.si_pid, child);
    EQ(hits, 1);
    WAIT_OK(child);
}

TEST(sigtimedwait_of_a_thread)
{
    // A signal of the process goes to the thread that waits for it, though all mask it.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    static volatile int got;
    static sigset_t waited;
    waited = set;
    void *body(void *arg)
    {
        siginfo_t info;
        got = sigwaitinfo(&waited, &info);
        return arg;
    }
    pthread_t t;
    ZERO(pthread_create(&t, NULL, body, NULL));
    sleep_ms(5);
    OK(kill(getpid(), SIGUSR1));
    EVENTUALLY(got == SIGUSR1);
    ZERO(pthread_join(t, NULL));
    OK(sigpending(&set));
    EQ(sigismember(&set, SIGUSR1), 0);
}

TEST(queue_limit_of_a_user)
{
    // RLIMIT_SIGPENDING: EAGAIN for queued ones; kill still gets through with an ordinary signal.
    sigset_t set;
    sigfillset(&set);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    struct rlimit limit = {5, 5};
    OK(setrlimit(RLIMIT_SIGPENDING, &limit));
    int queued = 0;
    while (queued < 100 && sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = queued}) == 0)
        queued++;
    CHECK(queued <= 5);
    EQ(errno, EAGAIN);
    OK(kill(getpid(), SIGUSR1));
    OK(sigpending(&set));
    EQ(sigismember(&set, SIGUSR1), 1);
    // Taken out, there is room again.
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    if (queued > 1) {
        EQ(sigwaitinfo(&set, &info), SIGRTMIN);
        EQ(sigwaitinfo(&set, &info), SIGRTMIN); // SIGUSR1 counts, too
        OK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1}));
    }
}

MAIN()
