// setitimer, alarm, POSIX timers, timerfd, signalfd: setitimer(2), timer_create(2), timerfd_create(2), signalfd(2).
#include "check.h"
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static volatile int hits;
static volatile siginfo_t seen;
static void hit(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    hits++;
    seen = *info;
}
static void on(int signal)
{
    struct sigaction sa = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO | SA_RESTART};
    OK(sigaction(signal, &sa, NULL));
}
static sigset_t block(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    return set;
}

TEST(real_interval)
{
    on(SIGALRM);
    struct itimerval t = {{0, 5000}, {0, 5000}}, now;
    OK(setitimer(ITIMER_REAL, &t, NULL));
    EVENTUALLY(hits >= 3);
    EQ(seen.si_code, SI_KERNEL);
    OK(getitimer(ITIMER_REAL, &now));
    EQ(now.it_interval.tv_usec, 5000);
    CHECK(now.it_value.tv_usec <= 5000);
    t = (struct itimerval){};
    OK(setitimer(ITIMER_REAL, &t, &now));
    int before = hits;
    sleep_ms(12);
    EQ(hits, before);
    t.it_value.tv_usec = 1000000;
    FAILS(EINVAL, setitimer(ITIMER_REAL, &t, NULL));
    FAILS(EINVAL, setitimer(9, &now, NULL));
}

TEST(virtual_and_profiling)
{
    on(SIGVTALRM);
    struct itimerval t = {{0, 0}, {0, 10000}};
    OK(setitimer(ITIMER_VIRTUAL, &t, NULL));
    sleep_ms(15);
    EQ(hits, 0); // sleeping does not count
    int64_t until = now_ns(CLOCK_MONOTONIC) + 3000000000LL;
    while (!hits && now_ns(CLOCK_MONOTONIC) < until) {
        for (volatile int i = 0; i < 10000; i++) {
        }
    }
    EQ(hits, 1);
    hits = 0;
    on(SIGPROF);
    OK(setitimer(ITIMER_PROF, &t, NULL));
    while (!hits && now_ns(CLOCK_MONOTONIC) < until) {
    }
    EQ(hits, 1);
}

static volatile int ticks_of_main, ticks_of_others;
static pthread_t main_thread;
static void tick(int sig)
{
    (void)sig;
    if (pthread_equal(pthread_self(), main_thread))
        ticks_of_main++;
    else
        ticks_of_others++;
}
static void *work(void *arg)
{
    int64_t until = now_ns(CLOCK_THREAD_CPUTIME_ID) + (long)arg * 1000000;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < until)
        for (volatile int i = 0; i < 100000; i++) { // ITIMER_VIRTUAL counts no calls
        }
    return NULL;
}
TEST(who_works_is_told)
{
    main_thread = pthread_self();
    int kinds[] = {ITIMER_VIRTUAL, ITIMER_PROF}, signals[] = {SIGVTALRM, SIGPROF};
    for (int i = 0; i < 2; i++) {
        ticks_of_main = ticks_of_others = 0;
        signal(signals[i], tick);
        struct itimerval t = {{0, 10000}, {0, 10000}}, never = {};
        pthread_t worker;
        work((void *)50); // does not count against it later
        OK(setitimer(kinds[i], &t, NULL));
        EQ(pthread_create(&worker, NULL, work, (void *)400), 0);
        EQ(pthread_join(worker, NULL), 0);
        OK(setitimer(kinds[i], &never, NULL));
        CHECK(ticks_of_others >= 8); // of 40, on a busy machine
        CHECK(ticks_of_main * 4 <= ticks_of_others);
    }
}

TEST(alarm_seconds)
{
    on(SIGALRM);
    EQ(alarm(10), 0);
    EQ(alarm(20), 10);
    EQ(alarm(0), 20);
    alarm(1);
    CHECK(pause() == -1 && errno == EINTR);
    EQ(hits, 1);
}

TEST(posix_timer_by_signal)
{
    on(SIGRTMIN);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 99};
    timer_t timer;
    OK(timer_create(CLOCK_MONOTONIC, &e, &timer));
    struct itimerspec t = {{0, 3000000}, {0, 3000000}}, now;
    OK(timer_settime(timer, 0, &t, NULL));
    EVENTUALLY(hits >= 2);
    EQ(seen.si_code, SI_TIMER);
    EQ(seen.si_value.sival_int, 99);
    OK(timer_gettime(timer, &now));
    EQ(now.it_interval.tv_nsec, 3000000);
    OK(timer_delete(timer));
    FAILS(EINVAL, timer_delete((timer_t)12345));
}

TEST(posix_timer_overrun)
{
    sigset_t set = block(SIGRTMIN);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timer;
    OK(timer_create(CLOCK_MONOTONIC, &e, &timer));
    struct itimerspec t = {{0, 1000000}, {0, 1000000}};
    OK(timer_settime(timer, 0, &t, NULL));
    sleep_ms(20);
    siginfo_t info;
    EQ(sigwaitinfo(&set, &info), SIGRTMIN);
    CHECK(info.si_overrun >= 10);
    sleep_ms(5); // another signal waits by now, which does not count yet
    EQ(timer_getoverrun(timer), info.si_overrun);
    OK(timer_delete(timer));
}

TEST(posix_timer_absolute_and_thread)
{
    sigset_t set = block(SIGRTMIN);
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    e._sigev_un._tid = syscall(SYS_gettid);
    timer_t timer;
    OK(timer_create(CLOCK_REALTIME, &e, &timer));
    struct itimerspec t = {};
    OK(clock_gettime(CLOCK_REALTIME, &t.it_value));
    t.it_value.tv_nsec += 10000000;
    if (t.it_value.tv_nsec >= 1000000000)
        t.it_value.tv_sec++, t.it_value.tv_nsec -= 1000000000;
    OK(timer_settime(timer, TIMER_ABSTIME, &t, NULL));
    siginfo_t info;
    struct timespec limit = {3, 0};
    EQ(sigtimedwait(&set, &info, &limit), SIGRTMIN);
    struct timespec now;
    OK(clock_gettime(CLOCK_REALTIME, &now));
    CHECK(now.tv_sec > t.it_value.tv_sec || now.tv_nsec >= t.it_value.tv_nsec);
    e.sigev_notify = SIGEV_NONE;
    OK(timer_create(CLOCK_MONOTONIC, &e, &timer));
    FAILS(EINVAL, timer_create(77, &e, &timer));
}

TEST(posix_timer_on_cpu_time)
{
    on(SIGRTMIN);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timer;
    OK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &e, &timer));
    struct itimerspec t = {{0, 0}, {0, 10000000}};
    OK(timer_settime(timer, 0, &t, NULL));
    int64_t until = now_ns(CLOCK_MONOTONIC) + 3000000000LL;
    while (!hits && now_ns(CLOCK_MONOTONIC) < until) {
    }
    EQ(hits, 1);
}

TEST(timerfd)
{
    int fd = OK(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    struct itimerspec t = {{0, 0}, {0, 5000000}}, now;
    uint64_t count = 0;
    OK(timerfd_settime(fd, 0, &t, NULL));
    OK(timerfd_gettime(fd, &now));
    CHECK(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 5000000);
    int64_t before = now_ns(CLOCK_MONOTONIC);
    EQ(read(fd, &count, 8), 8);
    EQ(count, 1);
    CHECK(now_ns(CLOCK_MONOTONIC) - before < 1000000000);
    t.it_interval.tv_nsec = 1000000;
    OK(timerfd_settime(fd, 0, &t, NULL));
    sleep_ms(20);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    EQ(read(fd, &count, 8), 8);
    CHECK(count >= 10);
    FAILS(EINVAL, read(fd, &count, 4));
    t = (struct itimerspec){};
    OK(timerfd_settime(fd, 0, &t, NULL));
    OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    EQ(poll(&p, 1, 0), 0);
    FAILS(EAGAIN, read(fd, &count, 8));
    FAILS(EINVAL, timerfd_create(99, 0));
    FAILS(EINVAL, timerfd_create(CLOCK_MONOTONIC, 0x1234));
    FAILS(EINVAL, timerfd_settime(0, 0, &t, NULL));
}

TEST(timerfd_absolute)
{
    int fd = OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    struct itimerspec t = {};
    t.it_value.tv_sec = 1; // long ago
    OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 1000), 1);
    uint64_t count;
    EQ(read(fd, &count, 8), 8);
    EQ(count, 1);
}

TEST(signalfd)
{
    sigset_t set = block(SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = OK(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    struct signalfd_siginfo info[4];
    FAILS(EAGAIN, read(fd, info, sizeof info));
    union sigval v = {.sival_int = 3};
    sigqueue(getpid(), SIGRTMIN, v);
    kill(getpid(), SIGUSR1);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    EQ(read(fd, info, sizeof info), 2 * sizeof *info);
    EQ(info[0].ssi_signo, SIGUSR1);
    EQ(info[0].ssi_pid, getpid());
    EQ(info[0].ssi_code, SI_USER);
    EQ(info[1].ssi_signo, SIGRTMIN);
    EQ(info[1].ssi_int, 3);
    EQ(poll(&p, 1, 0), 0);
    FAILS(EINVAL, read(fd, info, 10));
    sigemptyset(&set);
    EQ(signalfd(fd, &set, 0), fd); // changes the mask
    kill(getpid(), SIGUSR1);
    EQ(poll(&p, 1, 0), 0);
    FAILS(EINVAL, signalfd(0, &set, 0));
}

TEST(signalfd_wakes_a_reader)
{
    sigset_t set = block(SIGUSR1);
    int fd = OK(signalfd(-1, &set, 0));
    pid_t parent = getpid();
    pid_t child = FORK({
        EVENTUALLY(task_state(parent) == 'S');
        kill(parent, SIGUSR1);
    });
    struct signalfd_siginfo info;
    EQ(read(fd, &info, sizeof info), sizeof info);
    EQ(info.ssi_pid, child);
    WAIT_OK(child);
}

MAIN()
