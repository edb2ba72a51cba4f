// Resource limits, priorities, affinity, prctl, names: getrlimit(2), prlimit(2), prctl(2), sched(7), uname(2).
#include "check.h"
#include <sys/sysinfo.h>
#include <sys/utsname.h>

TEST(get_and_set)
{
    struct rlimit l;
    for (int r = 0; r < RLIM_NLIMITS; r++)
        OK(getrlimit(r, &l));
    FAILS(EINVAL, getrlimit(RLIM_NLIMITS, &l));
    OK(getrlimit(RLIMIT_NOFILE, &l));
    rlim_t hard = l.rlim_max;
    l.rlim_cur = 50;
    OK(setrlimit(RLIMIT_NOFILE, &l));
    OK(getrlimit(RLIMIT_NOFILE, &l));
    EQ(l.rlim_cur, 50);
    EQ(l.rlim_max, hard);
    l.rlim_cur = l.rlim_max;
    l.rlim_max = l.rlim_cur - 1;
    FAILS(EINVAL, setrlimit(RLIMIT_NOFILE, &l));
}

TEST(nofile)
{
    struct rlimit l = {20, 20};
    OK(setrlimit(RLIMIT_NOFILE, &l));
    int fd, last = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    EQ(errno, EMFILE);
    EQ(last, 19);
    int p[2];
    FAILS(EMFILE, pipe(p));
    FAILS(EMFILE, dup(0));
    FAILS(EBADF, dup2(0, 20));
    FAILS(EINVAL, fcntl(0, F_DUPFD, 20));
    FAILS(EMFILE, socket(AF_UNIX, SOCK_STREAM, 0));
}

TEST(fsize)
{
    struct rlimit l = {1000, 1000};
    OK(setrlimit(RLIMIT_FSIZE, &l));
    signal(SIGXFSZ, SIG_IGN);
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    char data[2000] = "";
    EQ(write(fd, data, 2000), 1000);
    FAILS(EFBIG, write(fd, data, 1));
    FAILS(EFBIG, ftruncate(fd, 1001));
    OK(ftruncate(fd, 999));
    signal(SIGXFSZ, SIG_DFL);
    pid_t child = FORK({
        lseek(fd, 1000, SEEK_SET);
        write(fd, data, 1);
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGXFSZ);
}

TEST(address_space)
{
    struct rlimit l = {1 << 30, 1 << 30};
    OK(setrlimit(RLIMIT_AS, &l));
    FAILS(ENOMEM, (intptr_t)mmap(NULL, 2ul << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    void *p = OK(mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(munmap(p, 64 << 20));
}

TEST(data_and_brk)
{
    void *now = sbrk(0);
    struct rlimit l = {16 << 20, 16 << 20};
    OK(setrlimit(RLIMIT_DATA, &l));
    EQ((intptr_t)sbrk(64 << 20), -1);
    EQ(errno, ENOMEM);
    EQ((intptr_t)sbrk(0), (intptr_t)now);
}

TEST(stack_grows_to_its_limit)
{
    struct rlimit l;
    OK(getrlimit(RLIMIT_STACK, &l));
    CHECK(l.rlim_cur >= 1 << 20);
    char *area = alloca(900 << 10);
    for (int i = (900 << 10) - 1; i >= 0; i -= 4096)
        area[i] = 1;
    EQ(area[4095], area[4095]);
}

TEST(cpu_limit)
{
    pid_t child = FORK({
        struct rlimit l = {1, 2};
        OK(setrlimit(RLIMIT_CPU, &l));
        for (volatile int i = 0;; i++) {
        }
    });
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status & 0x7f, SIGXCPU);
}

TEST(cpu_limit_is_inherited_and_hard)
{
    struct rlimit l = {1, 1};
    pid_t child = FORK({
        OK(setrlimit(RLIMIT_CPU, &l));
        signal(SIGXCPU, SIG_IGN);
        pid_t grandchild = FORK({
            for (volatile int i = 0;; i++) {
            }
        });
        WAIT_STATUS(grandchild, KILLED(SIGKILL));
    });
    WAIT_OK(child);
}

TEST(inherited_by_fork)
{
    struct rlimit l = {33, 44}, seen;
    OK(setrlimit(RLIMIT_NOFILE, &l));
    pid_t child = FORK({
        OK(getrlimit(RLIMIT_NOFILE, &seen));
        EQ(seen.rlim_cur, 33);
        EQ(seen.rlim_max, 44);
    });
    WAIT_OK(child);
}

TEST(prlimit_of_another)
{
    pid_t child = FORK({ pause(); });
    struct rlimit l = {10, 20}, old;
    OK(prlimit(child, RLIMIT_NOFILE, &l, &old));
    OK(prlimit(child, RLIMIT_NOFILE, NULL, &old));
    EQ(old.rlim_cur, 10);
    FAILS(ESRCH, prlimit(999999, RLIMIT_NOFILE, NULL, &old));
    char text[4096], path[64];
    sprintf(path, "/proc/%d/limits", child);
    read_file(path, text, sizeof text);
    char *line = strstr(text, "Max open files");
    CHECK(line && strstr(line, "10 "));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(nproc)
{
    if (getuid())
        SKIP("not root");
    pid_t child = FORK({
        struct rlimit l = {1, 1};
        OK(setrlimit(RLIMIT_NPROC, &l));
        OK(setresuid(4321, 4321, 4321));
        FAILS(EAGAIN, fork());
    });
    WAIT_OK(child);
}

TEST(nice)
{
    EQ(getpriority(PRIO_PROCESS, 0), 0);
    OK(setpriority(PRIO_PROCESS, 0, 5));
    EQ(getpriority(PRIO_PROCESS, 0), 5);
    OK(setpriority(PRIO_PROCESS, 0, 100));
    EQ(getpriority(PRIO_PROCESS, 0), 19);
    pid_t child = FORK({ EQ(getpriority(PRIO_PROCESS, 0), 19); });
    WAIT_OK(child);
    FAILS(ESRCH, getpriority(PRIO_PROCESS, 999999));
    FAILS(EINVAL, getpriority(7, 0));
}

TEST(scheduler)
{
    EQ(sched_getscheduler(0), SCHED_OTHER);
    struct sched_param p = {0};
    OK(sched_getparam(0, &p));
    EQ(p.sched_priority, 0);
    OK(sched_setscheduler(0, SCHED_BATCH, &p));
    EQ(sched_getscheduler(0), SCHED_BATCH);
    EQ(sched_get_priority_max(SCHED_FIFO), 99);
    EQ(sched_get_priority_min(SCHED_FIFO), 1);
    EQ(sched_get_priority_max(SCHED_OTHER), 0);
    FAILS(EINVAL, sched_get_priority_max(77));
    OK(sched_yield());
}

TEST(affinity)
{
    cpu_set_t set, one;
    OK(sched_getaffinity(0, sizeof set, &set));
    FAILS(ESRCH, sched_getaffinity(-1, sizeof set, &set));
    int count = CPU_COUNT(&set);
    CHECK(count > 0);
    EQ(count, sysconf(_SC_NPROCESSORS_ONLN));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) {
            CPU_SET(i, &one);
            break;
        }
    OK(sched_setaffinity(0, sizeof one, &one));
    OK(sched_getaffinity(0, sizeof set, &set));
    FAILS(ESRCH, sched_getaffinity(-1, sizeof set, &set));
    EQ(CPU_COUNT(&set), 1);
    CPU_ZERO(&one);
    FAILS(EINVAL, sched_setaffinity(0, sizeof one, &one));
    FAILS(ESRCH, sched_getaffinity(999999, sizeof set, &set));
    unsigned cpu = 9999;
    OK(syscall(SYS_getcpu, &cpu, NULL, NULL));
    CHECK(cpu < 9999);
}

static void stays_on(unsigned wanted)
{
    for (int i = 0; i < 100; i++) {
        unsigned cpu = 9999;
        OK(getcpu(&cpu, NULL));
        EQ(cpu, wanted);
        sleep_ms(1);
    }
}

HELPER(stays)
{
    (void)argc;
    stays_on(atoi(argv[1]));
    return 0;
}

// What is bound to a processor stays there, and what it forks and executes, while another process has work for that processor.
TEST(affinity_is_inherited)
{
    cpu_set_t set;
    OK(sched_getaffinity(0, sizeof set, &set));
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    OK(sched_setaffinity(0, sizeof set, &set));
    pid_t busy = FORK({
        for (;;)
            ;
    });
    WAIT_OK(FORK(stays_on(first)));
    char arg[16];
    snprintf(arg, sizeof arg, "%d", first);
    WAIT_OK(FORK(exec_self("stays", arg, NULL)));
    pid_t child = vfork();
    if (child == 0)
        exec_self("stays", arg, NULL);
    CHECK(child > 0);
    WAIT_OK(child);
    OK(kill(busy, SIGKILL));
    WAIT_STATUS(busy, KILLED(SIGKILL));
}

TEST(prctl_names)
{
    char name[17] = "";
    OK(prctl(PR_SET_NAME, "a-name-of-more-than-sixteen"));
    OK(prctl(PR_GET_NAME, name));
    STREQ(name, "a-name-of-more-");
}

TEST(prctl_dumpable)
{
    EQ(prctl(PR_GET_DUMPABLE), 1);
    OK(prctl(PR_SET_DUMPABLE, 0));
    EQ(prctl(PR_GET_DUMPABLE), 0);
    FAILS(EINVAL, prctl(PR_SET_DUMPABLE, 7));
}

TEST(prctl_no_new_privs)
{
    EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    FAILS(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)); // never off again
    pid_t child = FORK({ EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1); });
    WAIT_OK(child);
}

TEST(prctl_timerslack_and_strangers)
{
    EQ(prctl(PR_GET_TIMERSLACK), 50000);
    OK(prctl(PR_SET_TIMERSLACK, 1000));
    EQ(prctl(PR_GET_TIMERSLACK), 1000);
    FAILS(EINVAL, prctl(123456));
    EQ(prctl(PR_GET_KEEPCAPS), 0);
}

TEST(personality)
{
    EQ(syscall(SYS_personality, 0xffffffff), 0);
}

TEST(uname)
{
    struct utsname u;
    OK(uname(&u));
    STREQ(u.sysname, "Linux");
    STREQ(u.machine, "x86_64");
    CHECK(atoi(u.release) >= 4);
    CHECK(u.nodename[0]);
    char host[65], text[100];
    OK(gethostname(host, sizeof host));
    STREQ(host, u.nodename);
    read_file("/proc/sys/kernel/hostname", text, sizeof text);
    text[strcspn(text, "\n")] = 0;
    STREQ(text, host);
    FAILS(EFAULT, syscall(SYS_uname, 8));
}

TEST(sysinfo)
{
    struct sysinfo s;
    OK(sysinfo(&s));
    CHECK(s.totalram > 0 && s.freeram <= s.totalram);
    CHECK(s.mem_unit >= 1);
    CHECK(s.procs >= 1);
    CHECK(s.uptime >= 0);
}

TEST(getrusage)
{
    struct rusage u;
    int64_t until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 20000000;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until) {
    }
    OK(getrusage(RUSAGE_SELF, &u));
    CHECK(u.ru_utime.tv_usec + u.ru_stime.tv_usec >= 10000 || u.ru_utime.tv_sec);
    CHECK(u.ru_maxrss > 100);
    OK(getrusage(RUSAGE_THREAD, &u));
    pid_t child = FORK({
        char *much = malloc(30 << 20);
        memset(much, 1, 30 << 20);
        asm volatile("" : : "r"(much) : "memory");
    });
    int status;
    OK(wait4(child, &status, 0, &u));
    CHECK(u.ru_maxrss >= 30 << 10);
    OK(getrusage(RUSAGE_CHILDREN, &u));
    CHECK(u.ru_maxrss >= 30 << 10);
    FAILS(EINVAL, getrusage(7, &u));
}

TEST(getrandom)
{
    uint64_t a = 0, b = 0;
    EQ(syscall(SYS_getrandom, &a, 8, 0), 8);
    EQ(syscall(SYS_getrandom, &b, 8, 0), 8);
    CHECK(a != b);
    FAILS(EINVAL, syscall(SYS_getrandom, &a, 8, 0x100));
    static char big[100000];
    EQ(syscall(SYS_getrandom, big, sizeof big, 0), sizeof big);
}

TEST(unknown_calls)
{
    FAILS(ENOSYS, syscall(1000));
    FAILS(ENOSYS, syscall(-1));
    FAILS(ENOSYS, syscall(SYS_create_module));
}

TEST(getcpu_says_where_it_runs)
{
    cpu_set_t all, one;
    OK(sched_getaffinity(0, sizeof all, &all));
    for (unsigned cpu = 0, bound = 0; cpu < CPU_SETSIZE && bound < 2; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        bound++;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        OK(sched_setaffinity(0, sizeof one, &one));
        for (int i = 0; i < 1000; i++) { // a sandbox may find another way for calls that come often
            unsigned at = -1;
            OK(syscall(SYS_getcpu, &at, NULL, NULL));
            EQ(at, cpu);
        }
    }
}

// Output that the runtime was given is no file either, if it is a pipe.
TEST(fsize_is_of_files)
{
    struct stat st;
    if (fstat(1, &st) || !S_ISFIFO(st.st_mode))
        SKIP("standard output is no pipe");
    struct rlimit none = {0, 0};
    OK(setrlimit(RLIMIT_FSIZE, &none));
    EQ(write(1, "\n", 1), 1);
}

TEST(data_is_exact)
{
    char text[8192];
    read_file("/proc/self/status", text, sizeof text);
    unsigned long now = strtoul(strstr(text, "VmData:") + 7, NULL, 10) << 10;
    struct rlimit l = {now + (64 << 10), now + (64 << 10)};
    OK(setrlimit(RLIMIT_DATA, &l));
    char *at = (char *)0x300000000;
    OK(mmap(at, 32 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK(sbrk(16 << 10) != (void *)-1);
    FAILS(ENOMEM, (long)mmap(at + (1 << 20), 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    l.rlim_cur = 4096;
    OK(setrlimit(RLIMIT_DATA, &l));
    OK(mmap(at + (1 << 20), 64 << 10, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)); // what is no data is not held up
}

MAIN()
