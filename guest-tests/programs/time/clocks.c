// Clocks and sleeping: clock_gettime(2), clock_nanosleep(2), nanosleep(2), times(2), clock_settime(2).
#include "check.h"
#include <sys/times.h>
#include <sys/timex.h>

TEST(all_clocks)
{
    clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
                       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct timespec a, b, resolution;
        OK(clock_gettime(ids[i], &a));
        OK(syscall(SYS_clock_gettime, ids[i], &b)); // by the vDSO and by a real call: one clock
        int64_t gap = (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec;
        CHECK(gap >= -20000000 && gap < 1000000000);
        OK(clock_getres(ids[i], &resolution));
        CHECK(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
        CHECK(a.tv_nsec >= 0 && a.tv_nsec < 1000000000);
    }
    struct timespec t;
    FAILS(EINVAL, clock_gettime(99, &t));
    FAILS(EFAULT, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
}

TEST(never_backwards)
{
    int64_t last = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 100000; i++) {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        CHECK(now >= last);
        last = now;
    }
    struct timespec t;
    for (int i = 0; i < 1000; i++) {
        OK(i % 2 ? syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) : clock_gettime(CLOCK_MONOTONIC, &t));
        int64_t now = t.tv_sec * 1000000000LL + t.tv_nsec;
        CHECK(now >= last);
        last = now;
    }
}

// From one place, often enough for a sandbox to answer it there.
static __attribute__((noinline)) long by_call(long clock, void *to)
{
    long result;
    register long r10 asm("r10") = 10, r8 asm("r8") = 8, r9 asm("r9") = 9, rdx asm("rdx") = 3;
    asm volatile("mov $228, %%eax\n\tsyscall"
                 : "=a"(result), "+r"(r10), "+r"(r8), "+r"(r9), "+r"(rdx)
                 : "D"(clock), "S"(to)
                 : "rcx", "r11", "memory");
    EQ(r10 == 10 && r8 == 8 && r9 == 9 && rdx == 3, 1);
    return result;
}
static volatile int alarms;
static void on_alarm(int sig) { alarms += sig == SIGALRM; }

TEST(by_call_from_one_place)
{
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
                                 CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    OK(signal(SIGALRM, on_alarm) == SIG_ERR ? -1 : 0);
    struct itimerval often = {{0, 200}, {0, 200}};
    OK(setitimer(ITIMER_REAL, &often, NULL));
    struct timespec t, before, after;
    for (int i = 0; i < 20000 || (alarms < 20 && i < 3000000); i++) {
        int clock = clocks[i % 8];
        OK(clock_gettime(clock, &before));
        t.tv_nsec = -1;
        EQ(by_call(clock, &t), 0);
        OK(clock_gettime(clock, &after));
        int64_t now = t.tv_sec * 1000000000LL + t.tv_nsec;
        CHECK(t.tv_nsec >= 0 && now >= before.tv_sec * 1000000000LL + before.tv_nsec && now <= after.tv_sec * 1000000000LL + after.tv_nsec);
        if (i % 16 == 0) {
            EQ(by_call(CLOCK_MONOTONIC, (void *)8), -EFAULT);
            EQ(by_call(CLOCK_MONOTONIC, NULL), -EFAULT);
            EQ(by_call(99, &t), -EINVAL);
            EQ(by_call(CLOCK_MONOTONIC, (char *)mmap - 16), -EFAULT);
            EQ(by_call(-1L << 32 | CLOCK_MONOTONIC, &t), 0);
        }
    }
    CHECK(alarms >= 20);
}

TEST(wall_clock_agrees)
{
    struct timeval v;
    time_t t = time(NULL);
    OK(gettimeofday(&v, NULL));
    CHECK(v.tv_sec - t <= 1 && v.tv_sec >= t);
    CHECK(t > 1600000000);
    EQ(syscall(SYS_time, NULL) - t <= 1, 1);
    write_file("f", "");
    struct stat st;
    OK(stat("f", &st));
    CHECK(llabs((long long)(st.st_mtim.tv_sec - t)) <= 1);
}

TEST(nanosleep)
{
    struct timespec t = {0, 5000000};
    int64_t before = now_ns(CLOCK_MONOTONIC);
    OK(nanosleep(&t, NULL));
    int64_t took = now_ns(CLOCK_MONOTONIC) - before;
    CHECK(took >= 5000000 && took < 500000000);
    t = (struct timespec){0, 1};
    OK(nanosleep(&t, NULL));
    t = (struct timespec){0, 0};
    OK(nanosleep(&t, NULL));
    t.tv_nsec = 1000000000;
    FAILS(EINVAL, nanosleep(&t, NULL));
    t = (struct timespec){-1, 0};
    FAILS(EINVAL, nanosleep(&t, NULL));
    FAILS(EFAULT, nanosleep((void *)8, NULL));
}

TEST(absolute_sleep)
{
    clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        struct timespec t;
        OK(clock_gettime(ids[i], &t));
        int64_t until = t.tv_sec * 1000000000LL + t.tv_nsec + 6000000;
        t = (struct timespec){until / 1000000000, until % 1000000000};
        ZERO(clock_nanosleep(ids[i], TIMER_ABSTIME, &t, NULL));
        CHECK(now_ns(ids[i]) >= until);
        t = (struct timespec){0, 5};
        ZERO(clock_nanosleep(ids[i], TIMER_ABSTIME, &t, NULL)); // long over
    }
    struct timespec t = {0, 1};
    EQ(clock_nanosleep(99, 0, &t, NULL), EINVAL);
    EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EINVAL);
}

TEST(cpu_clocks)
{
    int64_t p = now_ns(CLOCK_PROCESS_CPUTIME_ID), t = now_ns(CLOCK_THREAD_CPUTIME_ID), wall = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) - t < 10000000) {
    }
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) - p >= 9000000);
    CHECK(now_ns(CLOCK_MONOTONIC) - wall >= 9000000);
    t = now_ns(CLOCK_THREAD_CPUTIME_ID);
    sleep_ms(20);
    CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) - t < 10000000);
    struct tms tms;
    CHECK(times(&tms) != -1);
    clock_t c = clock();
    CHECK(c > 0);
    pid_t child = FORK({ pause(); });
    clockid_t clock;
    ZERO(clock_getcpuclockid(child, &clock));
    CHECK(now_ns(clock) < 1000000000);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(setting_is_refused)
{
    struct timespec t = {1000000000, 0};
    if (geteuid() == 0)
        OK(setresuid(1000, 1000, 1000));
    FAILS(EPERM, clock_settime(CLOCK_REALTIME, &t));
    struct timeval v = {1000000000, 0};
    FAILS(EPERM, settimeofday(&v, NULL));
}

TEST(adjtimex_reads)
{
    struct timex x = {.modes = 0};
    int r = adjtimex(&x);
    CHECK(r >= 0 || errno == EPERM || errno == ENOSYS);
}

TEST(uptime_fits_the_boot_clock)
{
    char text[100];
    read_file("/proc/uptime", text, sizeof text);
    double up = atof(text), boot = now_ns(CLOCK_BOOTTIME) / 1e9;
    CHECK(up <= boot + 1 && up >= boot - 5);
}

MAIN()
