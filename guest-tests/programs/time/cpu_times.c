// User and system time: getrusage(2), times(2), proc_pid_stat(5), setitimer(2), clock_gettime(2).
#include "check.h"
#include <sys/times.h>

#define MS 1000000LL

static int64_t ns_of(struct timeval t) { return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL; }

struct split {
    int64_t user, system;
};
static struct split split_of(struct rusage u) { return (struct split){ns_of(u.ru_utime), ns_of(u.ru_stime)}; }
static struct split used(int who)
{
    struct rusage u;
    OK(getrusage(who, &u));
    return split_of(u);
}

// Reads zeros until the thread has used so much more: the kernel's work, but for some hundredths.
static void make_calls(int64_t ns)
{
    static char room[1 << 16];
    int zero = OK(open("/dev/zero", O_RDONLY));
    for (int64_t until = now_ns(CLOCK_THREAD_CPUTIME_ID) + ns; now_ns(CLOCK_THREAD_CPUTIME_ID) < until;)
        for (int i = 0; i < 8; i++)
            EQ(read(zero, room, sizeof room), sizeof room);
    close(zero);
}
// Computes as long.
static void compute(int64_t ns)
{
    for (int64_t until = now_ns(CLOCK_THREAD_CPUTIME_ID) + ns; now_ns(CLOCK_THREAD_CPUTIME_ID) < until;)
        for (volatile int i = 0; i < 1000000; i++) {
        }
}
// Nearly all of it was; a kernel that counts by ticks may see less, and one below which others have work.
static bool mostly_system(struct split s) { return s.system * 3 > s.user; }
static bool mostly_user(struct split s) { return s.user > 2 * s.system; }
// What is used for it is mostly that, if not the first time: who waits for a core that others want may spin.
#define MOSTLY(is, who, work)                                                                                          \
    for (int tries_ = 0;; tries_++) {                                                                                  \
        CHECK(tries_ < 10);                                                                                            \
        struct split before_ = used(who);                                                                              \
        work;                                                                                                          \
        struct split after_ = used(who);                                                                               \
        CHECK(after_.user >= before_.user && after_.system >= before_.system);                                         \
        if (is((struct split){after_.user - before_.user, after_.system - before_.system}))                            \
            break;                                                                                                     \
    }

TEST(calls_take_system_time)
{
    MOSTLY(mostly_system, RUSAGE_SELF, make_calls(120 * MS));
}

TEST(computing_takes_user_time)
{
    MOSTLY(mostly_user, RUSAGE_SELF, compute(60 * MS));
}

static void fault(void)
{
    size_t size = 8 << 20;
    for (int64_t until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 80 * MS; now_ns(CLOCK_PROCESS_CPUTIME_ID) < until;) {
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED);
        OK(madvise(p, size, MADV_NOHUGEPAGE));
        for (size_t i = 0; i < size; i += 4096)
            p[i] = 1;
        OK(munmap(p, size));
    }
}

TEST(faults_take_system_time) { MOSTLY(mostly_system, RUSAGE_SELF, fault()); }

TEST(they_add_up)
{
    for (int i = 0; i < 20; i++) {
        i % 2 ? make_calls(MS) : compute(MS);
        int64_t before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        struct split s = used(RUSAGE_SELF);
        int64_t after = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        CHECK(before - 2000 <= s.user + s.system); // whole microseconds
        CHECK(s.user + s.system <= after);
    }
}

static void *in_thread(void *what)
{
    if (what)
        MOSTLY(mostly_system, RUSAGE_THREAD, make_calls(100 * MS))
    else
        compute(40 * MS);
    return NULL;
}

TEST(they_never_go_back)
{
    pthread_t a, b;
    EQ(pthread_create(&a, NULL, in_thread, "calls"), 0);
    EQ(pthread_create(&b, NULL, in_thread, NULL), 0);
    struct split before = {}, mine = {};
    int64_t clock = 0;
    struct tms last = {};
    for (int i = 0; i < 60; i++) {
        i % 2 ? make_calls(MS / 2) : compute(MS / 2);
        struct split now = used(RUSAGE_SELF), thread = used(RUSAGE_THREAD);
        CHECK(now.user >= before.user && now.system >= before.system);
        CHECK(thread.user >= mine.user && thread.system >= mine.system);
        before = now, mine = thread;
        int64_t new_clock = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        CHECK(new_clock >= clock);
        clock = new_clock;
        struct tms t;
        OK(times(&t));
        CHECK(t.tms_utime >= last.tms_utime && t.tms_stime >= last.tms_stime);
        last = t;
        if (i == 40) {
            EQ(pthread_join(a, NULL), 0);
            EQ(pthread_join(b, NULL), 0);
        }
    }
}

static void a_thread_that_ends(void)
{
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, in_thread, "calls"), 0);
    EQ(pthread_join(thread, NULL), 0);
}

TEST(threads_that_ended_count)
{
    MOSTLY(mostly_system, RUSAGE_SELF, a_thread_that_ends());
    struct split all = used(RUSAGE_SELF), mine = used(RUSAGE_THREAD);
    CHECK(all.user + all.system >= 59 * MS);
    CHECK(mine.user + mine.system < 30 * MS);
}

// What a child and its child used, as all three calls tell it. False: not mostly system time, as where others want the cores and threads wait for each other spinning.
static bool a_childs_calls(void)
{
    struct split none = used(RUSAGE_CHILDREN);
    struct tms before, after;
    OK(times(&before));
    pid_t child = FORK({
        pid_t grandchild = FORK(make_calls(100 * MS));
        WAIT_OK(grandchild);
        CHECK(used(RUSAGE_SELF).system < 30 * MS);
    });
    struct split same = used(RUSAGE_CHILDREN);
    EQ(same.user + same.system, none.user + none.system);
    struct rusage u;
    int status;
    EQ(OK(wait4(child, &status, 0, &u)), child);
    EQ(status, 0);
    struct split one = split_of(u), all = used(RUSAGE_CHILDREN);
    CHECK(one.user + one.system >= 59 * MS);
    CHECK(all.user + all.system - none.user - none.system >= 59 * MS);
    OK(times(&after));
    long user = after.tms_cutime - before.tms_cutime, system = after.tms_cstime - before.tms_cstime;
    CHECK(user + system >= 8 && user + system <= 40);
    return one.system * 3 > one.user && (all.system - none.system) * 3 > all.user - none.user && system * 2 >= user;
}

TEST(children_count_when_they_were_waited_for)
{
    struct split none = used(RUSAGE_CHILDREN);
    EQ(none.user + none.system, 0);
    int tries = 0;
    while (!a_childs_calls())
        CHECK(++tries < 10);
    MOSTLY(mostly_user, RUSAGE_CHILDREN, WAIT_OK(FORK(compute(60 * MS))));
}

TEST(a_fork_begins_at_nothing)
{
    make_calls(50 * MS);
    WAIT_OK(FORK({
        struct split s = used(RUSAGE_SELF);
        CHECK(s.user + s.system < 25 * MS);
        struct tms t;
        OK(times(&t));
        CHECK(t.tms_utime + t.tms_stime <= 2);
    }));
}

// After an exec: what was used before, as an argument.
HELPER(after)
{
    CHECK(argc == 3);
    struct split before = {atoll(argv[1]), atoll(argv[2])}, now = used(RUSAGE_SELF);
    CHECK(now.user + now.system >= before.user + before.system);
    CHECK(now.system + 8 * MS >= before.system); // a tick more or less
    CHECK(now.user + 8 * MS >= before.user);
    return 0;
}
static void exec_after(void)
{
    char user[30], system[30];
    struct split s = used(RUSAGE_SELF);
    sprintf(user, "%lld", (long long)s.user);
    sprintf(system, "%lld", (long long)s.system);
    exec_self("after", user, system, NULL);
}
static void *waits(void *arg)
{
    for (;;)
        pause();
    return arg;
}
static void *execs(void *arg)
{
    make_calls(20 * MS);
    exec_after();
    return arg;
}

TEST(an_exec_keeps_them)
{
    WAIT_OK(FORK({
        make_calls(30 * MS);
        exec_after();
    }));
}
TEST(an_exec_with_threads_keeps_them)
{
    WAIT_OK(FORK({
        pthread_t thread;
        EQ(pthread_create(&thread, NULL, waits, NULL), 0);
        make_calls(30 * MS);
        exec_after();
    }));
    WAIT_OK(FORK({
        pthread_t thread;
        make_calls(30 * MS);
        EQ(pthread_create(&thread, NULL, execs, NULL), 0);
        waits(NULL);
    }));
}
static void exec_in_vfork(void)
{
    pid_t child = OK(vfork());
    if (child == 0) {
        make_calls(100 * MS);
        exec_after();
        _exit(1);
    }
    WAIT_OK(child);
}
TEST(an_exec_after_vfork_keeps_them) { MOSTLY(mostly_system, RUSAGE_CHILDREN, exec_in_vfork()); }

static volatile sig_atomic_t virtual_ticks, prof_ticks;
static void tick(int sig) { sig == SIGPROF ? prof_ticks++ : virtual_ticks++; }

TEST(timers_of_user_time_do_not_count_calls)
{
    signal(SIGVTALRM, tick);
    signal(SIGPROF, tick);
    struct itimerval t = {{0, 40000}, {0, 40000}};
    OK(setitimer(ITIMER_VIRTUAL, &t, NULL));
    OK(setitimer(ITIMER_PROF, &t, NULL));
    make_calls(100 * MS);
    EVENTUALLY((make_calls(MS), prof_ticks >= 1));
    CHECK(prof_ticks > virtual_ticks);
    compute(100 * MS);
    EVENTUALLY((compute(MS), virtual_ticks >= 1));
}

static long stat_field(const char *file, int field)
{
    char text[2000];
    int fd = OK(open(file, O_RDONLY));
    int n = OK(read(fd, text, sizeof text - 1));
    close(fd);
    text[n] = 0;
    char *at = strrchr(text, ')') + 2;
    for (; field > 3; field--)
        at = strchr(at, ' ') + 1;
    return atol(at);
}

TEST(stat_has_them)
{
    make_calls(100 * MS);
    WAIT_OK(FORK(make_calls(100 * MS)));
    struct tms before, after;
    OK(times(&before));
    long shown[4];
    for (int i = 0; i < 4; i++)
        shown[i] = stat_field("/proc/self/stat", 14 + i);
    OK(times(&after));
    CHECK(before.tms_utime <= shown[0] && shown[0] <= after.tms_utime);
    CHECK(before.tms_stime <= shown[1] && shown[1] <= after.tms_stime);
    CHECK(before.tms_cutime <= shown[2] && shown[2] <= after.tms_cutime);
    CHECK(before.tms_cstime <= shown[3] && shown[3] <= after.tms_cstime);
    CHECK(shown[1] >= 2 && shown[3] >= 2);
}

TEST(a_thread_has_its_own_in_stat)
{
    pthread_t thread;
    make_calls(100 * MS);
    EQ(pthread_create(&thread, NULL, waits, NULL), 0);
    char name[60];
    sprintf(name, "/proc/self/task/%d/stat", getpid());
    CHECK(stat_field(name, 15) >= 2);
    compute(60 * MS);
    CHECK(stat_field(name, 14) >= 1);
}

TEST(a_cpu_limit_counts_both)
{
    pid_t child = FORK({
        struct rlimit limit = {1, 2};
        OK(setrlimit(RLIMIT_CPU, &limit));
        compute(500 * MS);
        make_calls(3000 * MS);
    });
    WAIT_STATUS(child, KILLED(SIGXCPU));
    struct split s = used(RUSAGE_CHILDREN);
    CHECK(s.user + s.system >= 500 * MS); // Linux' limit goes by the ticks that it saw
}

MAIN()
