// Which calls are restarted after a handler, with and without SA_RESTART: signal(7), "Interruption of system calls".
#include "check.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>

static volatile int hits;
static void hit(int signal)
{
    (void)signal;
    hits++;
}
// A child that sends SIGUSR1 once the parent sleeps, then does the block.
#define POKE(...)                                                                                                      \
    ({                                                                                                                 \
        pid_t parent_ = getpid();                                                                                      \
        FORK({                                                                                                         \
            EVENTUALLY(task_state(parent_) == 'S');                                                                    \
            kill(parent_, SIGUSR1);                                                                                    \
            sleep_ms(8);                                                                                               \
            __VA_ARGS__;                                                                                               \
        });                                                                                                            \
    })
static void with(int flags)
{
    struct sigaction sa = {.sa_handler = hit, .sa_flags = flags};
    OK(sigaction(SIGUSR1, &sa, NULL));
    hits = 0;
}

TEST(read_of_a_pipe)
{
    int p[2];
    char c = 0;
    OK(pipe(p));
    with(SA_RESTART);
    pid_t child = POKE(write(p[1], "x", 1));
    EQ(read(p[0], &c, 1), 1);
    EQ(hits, 1);
    WAIT_OK(child);
    with(0);
    child = POKE();
    FAILS(EINTR, read(p[0], &c, 1));
    EQ(hits, 1);
    WAIT_OK(child);
}

TEST(write_to_a_full_pipe)
{
    int p[2];
    static char big[100000];
    OK(pipe(p));
    EQ(write(p[1], big, 65536), 65536);
    with(0);
    pid_t child = POKE();
    FAILS(EINTR, write(p[1], big, 1));
    WAIT_OK(child);
    EQ(read(p[0], big, 65536), 65536);
    child = POKE();
    EQ(write(p[1], big, 100000), 65536); // progress is told
    WAIT_OK(child);
}

TEST(waiting_for_a_child)
{
    pid_t other = FORK({ pause(); });
    with(SA_RESTART);
    pid_t child = POKE(kill(other, SIGKILL));
    WAIT_STATUS(other, KILLED(SIGKILL));
    EQ(hits, 1);
    WAIT_OK(child);
}

TEST(nanosleep_goes_on_for_the_rest)
{
    with(SA_RESTART); // never restarted by the flag: EINTR with the rest
    OK(prctl(PR_SET_TIMERSLACK, 1)); // which would count as rest
    struct timespec t = {0, 200000000}, left = {9, 9};
    pid_t child = POKE();
    FAILS(EINTR, nanosleep(&t, &left));
    CHECK(left.tv_sec == 0 && left.tv_nsec > 0 && left.tv_nsec < 200000000);
    WAIT_OK(child);
    int64_t before = now_ns(CLOCK_MONOTONIC);
    child = FORK({ pid_t p = getppid(); EVENTUALLY(task_state(p) == 'S'); kill(p, SIGSTOP); sleep_ms(5); kill(p, SIGCONT); });
    t.tv_nsec = 60000000;
    OK(nanosleep(&t, &left)); // a stop and continue without handler is invisible
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 60000000);
    WAIT_OK(child);
}

TEST(poll_select_epoll_never_restart)
{
    int p[2];
    OK(pipe(p));
    with(SA_RESTART);
    struct pollfd f = {.fd = p[0], .events = POLLIN};
    pid_t child = POKE();
    FAILS(EINTR, poll(&f, 1, -1));
    WAIT_OK(child);
    child = POKE();
    FAILS(EINTR, poll(&f, 1, 5000));
    WAIT_OK(child);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p[0], &set);
    child = POKE();
    FAILS(EINTR, select(p[0] + 1, &set, NULL, NULL, NULL));
    WAIT_OK(child);
    int e = OK(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    child = POKE();
    FAILS(EINTR, epoll_wait(e, &event, 1, -1));
    WAIT_OK(child);
    EQ(hits, 4);
}

TEST(poll_survives_stop_and_continue)
{
    int p[2];
    OK(pipe(p));
    struct pollfd f = {.fd = p[0], .events = POLLIN};
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGSTOP);
        sleep_ms(5);
        kill(parent, SIGCONT);
    });
    int64_t before = now_ns(CLOCK_MONOTONIC);
    EQ(poll(&f, 1, 50), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 50000000);
    WAIT_OK(child);
}

TEST(futex)
{
    static int word;
    with(SA_RESTART);
    pid_t child = POKE();
    struct timespec t = {5, 0};
    // With a timeout: EINTR even with SA_RESTART. Without one it is restarted.
    FAILS(EINTR, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    WAIT_OK(child);
    with(0);
    child = POKE();
    FAILS(EINTR, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
    WAIT_OK(child);
}

TEST(futex_restarts_without_timeout)
{
    int *word = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    with(SA_RESTART);
    pid_t child = POKE({
        *word = 1;
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
    });
    int r = syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    CHECK(r == 0 || errno == EAGAIN);
    EQ(hits, 1);
    WAIT_OK(child);
}

TEST(sockets)
{
    int s[2];
    char c;
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    with(SA_RESTART);
    pid_t child = POKE(write(s[1], "x", 1));
    EQ(recv(s[0], &c, 1, 0), 1);
    EQ(hits, 1);
    WAIT_OK(child);
    struct timeval t = {5, 0};
    OK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    child = POKE();
    FAILS(EINTR, recv(s[0], &c, 1, 0)); // with a timeout set: never restarted
    WAIT_OK(child);
}

TEST(locks)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600)), other = OK(open("f", O_RDWR));
    OK(flock(fd, LOCK_EX));
    with(0);
    pid_t child = POKE();
    FAILS(EINTR, flock(other, LOCK_EX));
    WAIT_OK(child);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(fcntl(fd, F_OFD_SETLK, &lock));
    child = POKE();
    lock.l_pid = 0;
    FAILS(EINTR, fcntl(other, F_OFD_SETLKW, &lock));
    WAIT_OK(child);
    with(SA_RESTART);
    child = POKE(flock(fd, LOCK_UN)); // the child shares the lock's descriptor
    OK(flock(other, LOCK_EX));
    EQ(hits, 1);
    WAIT_OK(child);
}

TEST(pause_and_sigsuspend)
{
    with(SA_RESTART);
    pid_t child = POKE();
    FAILS(EINTR, pause());
    WAIT_OK(child);
}

TEST(open_of_a_fifo)
{
    OK(mkfifo("fifo", 0600));
    with(0);
    pid_t child = POKE();
    FAILS(EINTR, open("fifo", O_RDONLY));
    WAIT_OK(child);
    with(SA_RESTART);
    child = POKE(close(open("fifo", O_WRONLY)));
    int fd = OK(open("fifo", O_RDONLY));
    EQ(hits, 1);
    close(fd);
    WAIT_OK(child);
}

TEST(many_signals_lose_no_byte)
{
    // A reader that is interrupted all the time by a timer still gets all that was written, in order.
    int p[2];
    OK(pipe(p));
    pid_t child = FORK({
        for (int i = 0; i < 20000; i++)
            EQ(write(p[1], &i, sizeof i), sizeof i);
    });
    close(p[1]);
    struct sigaction sa = {.sa_handler = hit, .sa_flags = SA_RESTART};
    OK(sigaction(SIGALRM, &sa, NULL));
    struct itimerval every = {{0, 300}, {0, 300}};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    for (int i = 0; i < 20000; i++) {
        int seen;
        EQ(read(p[0], &seen, sizeof seen), sizeof seen);
        EQ(seen, i);
    }
    char c;
    EQ(read(p[0], &c, 1), 0);
    every = (struct itimerval){};
    OK(setitimer(ITIMER_REAL, &every, NULL));
    WAIT_OK(child);
}

MAIN()
