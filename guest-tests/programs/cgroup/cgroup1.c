// Control groups, version 1. cgroups(7), cpuset(7); Linux' admin-guide/cgroup-v1
#include "check.h"
#include "groups.h"
#include <sys/sysmacros.h>

// A hierarchy of its own for each controller, as machines that have them mount them.
static void set_up(const char *options)
{
    struct stat here;
    OK(stat(".", &here));
    OK(unshare(CLONE_NEWNS)); // it is unmounted with the case
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mkdir("cg", 0700));
    if (mount("none", "cg", "cgroup", 0, options)) {
        CHECK(errno == EBUSY || errno == EINVAL);
        SKIP("the host has this controller in another hierarchy");
    }
    OK(chdir("cg"));
    snprintf(top, sizeof top, "t%lx", here.st_ino);
    OK(mkdir(top, 0755));
}

// Runs the rest in a child, and removes the groups after it.
#define GROUPS(options)                                                                                                \
    set_up(options);                                                                                                   \
    pid_t cleaner_ = fork();                                                                                           \
    if (cleaner_) {                                                                                                    \
        int status_;                                                                                                   \
        while (waitpid(cleaner_, &status_, 0) < 0 && errno == EINTR)                                                   \
            ;                                                                                                          \
        clean_relative();                                                                                              \
        _exit(WIFEXITED(status_) ? WEXITSTATUS(status_) : 1);                                                          \
    }                                                                                                                  \
    OK(mkdir(at("a", ""), 0755));                                                                                      \
    OK(mkdir(at("b", ""), 0755))

// The path of a process in the hierarchy of `what`, as /proc/PID/cgroup has it.
static const char *path_of(pid_t pid, const char *what)
{
    char name[40];
    snprintf(name, sizeof name, "/proc/%d/cgroup", pid);
    for (char *line = strtok(text_of(name), "\n"); line; line = strtok(NULL, "\n")) {
        char *list = strchr(line, ':') + 1, *path = strchr(list, ':');
        *path++ = 0;
        if (!strcmp(list, what))
            return path;
    }
    return "";
}

static void wants_path(pid_t pid, const char *what, const char *below)
{
    char wanted[200];
    snprintf(wanted, sizeof wanted, "/%s%s%s", top, *below ? "/" : "", below);
    STREQ(path_of(pid, what), wanted);
}

TEST(mounting)
{
    OK(unshare(CLONE_NEWNS));
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mkdir("one", 0700));
    OK(mkdir("two", 0700));
    const char *wrong[] = {"none", "nonsense", "all,cpu", "none,cpu", "name=", "name=a/b", "name=nobody-has-made-it", "name=a,name=b,none"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        FAILS(EINVAL, mount("none", "one", "cgroup", 0, wrong[i]));
    char options[90], name[50];
    snprintf(name, sizeof name, "name=test-%d", getpid());
    snprintf(options, sizeof options, "none,%s", name);
    OK(mount("none", "one", "cgroup", 0, options));
    struct statfs fs;
    OK(statfs("one", &fs));
    EQ(fs.f_type, 0x27e0eb);
    STREQ(path_of(getpid(), name), "/");
    snprintf(options, sizeof options, " - cgroup none rw,%s\n", name);
    CHECK(strstr(text_of("/proc/self/mountinfo"), options));
    OK(mkdir("one/x", 0755));
    OK(mount("none", "two", "cgroup", 0, name)); // the same once more
    CHECK(!access("two/x/tasks", F_OK) && !access("two/x/cgroup.procs", F_OK));
    OK(umount("two"));
    snprintf(options, sizeof options, "pids,%s", name);
    FAILS(EBUSY, mount("none", "two", "cgroup", 0, options)); // that name has no controllers
    // It outlives its mounts while it has groups.
    OK(umount("one"));
    STREQ(path_of(getpid(), name), "/");
    OK(mount("none", "one", "cgroup", 0, name));
    OK(rmdir("one/x"));
    OK(umount("one"));
    // Linux lets go of the group some time later, and of the hierarchy at an umount after that. Others on the machine would stumble over it.
    for (int i = 0; i < 500 && *path_of(getpid(), name); i++) {
        usleep(10000);
        if (!mount("none", "one", "cgroup", 0, name))
            OK(umount("one"));
    }
    STREQ(path_of(getpid(), name), "");
}

TEST(a_controller_is_in_one_hierarchy)
{
    GROUPS("pids");
    char *line = strstr(text_of("/proc/cgroups"), "\npids\t");
    CHECK(line && atoi(line + 6) > 0);
    OK(chdir("..")); // the case's folder
    OK(mkdir("other", 0700));
    FAILS(EBUSY, mount("none", "other", "cgroup", 0, "pids,memory"));
    OK(mount("none", "other", "cgroup2", 0, NULL));
    CHECK(!strstr(text_of("other/cgroup.controllers"), "pids"));
    OK(umount("other"));
    OK(chdir("cg"));
    _exit(0);
}

TEST(processes_move)
{
    GROUPS("freezer");
    // Another hierarchy, held: what an earlier case left of it might end in the middle. The host may have it with other controllers.
    OK(mkdir("../other", 0700));
    CHECK(!mount("none", "../other", "cgroup", 0, "pids") || errno == EBUSY || errno == EINVAL);
    pid_t pid = sleeper();
    char number[20], path[60];
    snprintf(number, sizeof number, "%d\n", pid);
    snprintf(path, sizeof path, "%s", path_of(pid, "pids"));
    write_pid(at("a", "tasks"), pid);
    STREQ(text_of(at("a", "tasks")), number);
    STREQ(text_of(at("a", "cgroup.procs")), number);
    wants_path(pid, "freezer", "a");
    STREQ(path_of(pid, "pids"), path); // no other hierarchy knows
    FAILS(EBUSY, rmdir(at("a", "")));
    write_pid(at("b", "cgroup.procs"), pid);
    STREQ(text_of(at("a", "tasks")), "");
    FAILS(EINVAL, put(at("a", "tasks"), "x"));
    FAILS(ESRCH, put(at("a", "cgroup.procs"), "4194303"));
    end(pid);
    WAIT_OK(FORK({
        OK(put(at("a", "tasks"), "0"));
        WAIT_OK(FORK(wants_path(getpid(), "freezer", "a")));
    }));
    OK(mkdir(at("a/b", ""), 0755));
    FAILS(EBUSY, rmdir(at("a", "")));
    OK(rmdir(at("a/b", "")));
    FAILS(EACCES, open(at("a", "file"), O_CREAT | O_WRONLY, 0600));
    // Who owns the files moves processes of the same user, and no others.
    OK(chown(at("a", "tasks"), 1000, 1000));
    OK(chown(at("a", "cgroup.procs"), 1000, 1000));
    pid = sleeper();
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        OK(put(at("a", "cgroup.procs"), "0"));
        char text[20];
        snprintf(text, sizeof text, "%d", pid);
        FAILS(EACCES, put(at("a", "cgroup.procs"), text));
    }));
    end(pid);
    _exit(0);
}

TEST(freezing)
{
    GROUPS("freezer");
    volatile int *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    OK(mkdir(at("a/b", ""), 0755));
    CHECK(access("freezer.state", F_OK));
    STREQ(text_of(at("a", "freezer.state")), "THAWED\n");
    pid_t pid = FORK({
        for (;;) {
            ++*count;
            usleep(100);
        }
    });
    write_pid(at("a/b", "tasks"), pid);
    EVENTUALLY(*count > 0);
    FAILS(EINVAL, put(at("a", "freezer.state"), "FREEZING"));
    OK(put(at("a", "freezer.state"), "FROZEN"));
    EVENTUALLY(!strcmp(text_of(at("a", "freezer.state")), "FROZEN\n"));
    EVENTUALLY(!strcmp(text_of(at("a/b", "freezer.state")), "FROZEN\n"));
    STREQ(text_of(at("a/b", "freezer.self_freezing")), "0\n");
    STREQ(text_of(at("a/b", "freezer.parent_freezing")), "1\n");
    STREQ(text_of(at("a", "freezer.self_freezing")), "1\n");
    int before = *count;
    usleep(20000);
    EQ(*count, before);
    OK(put(at("a", "freezer.state"), "THAWED"));
    EVENTUALLY(*count > before);
    STREQ(text_of(at("a/b", "freezer.state")), "THAWED\n");
    end(pid);
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(cpu_quota)
{
    GROUPS("cpu");
    STREQ(text_of(at("a", "cpu.cfs_quota_us")), "-1\n");
    STREQ(text_of(at("a", "cpu.cfs_period_us")), "100000\n");
    CHECK(has_line(text_of(at("a", "cpu.stat")), "nr_throttled 0"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_quota_us"), "0"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_quota_us"), "500"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_quota_us"), "x"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_period_us"), "500"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_period_us"), "2000000"));
    FAILS(EINVAL, put("cpu.cfs_quota_us", "50000"));
    OK(mkdir(at("a/b", ""), 0755));
    OK(put(at("a", "cpu.cfs_quota_us"), "50000"));
    FAILS(EINVAL, put(at("a/b", "cpu.cfs_quota_us"), "80000"));
    OK(put(at("a/b", "cpu.cfs_quota_us"), "40000"));
    FAILS(EINVAL, put(at("a", "cpu.cfs_quota_us"), "30000"));
    OK(put(at("a/b", "cpu.cfs_quota_us"), "-1"));
    OK(put(at("a", "cpu.cfs_period_us"), "50000"));
    OK(put(at("a", "cpu.cfs_quota_us"), "5000"));

    volatile int64_t *used = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = FORK({
        OK(put(at("a/b", "tasks"), "0"));
        for (;;)
            *used = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    });
    EVENTUALLY(field(text_of(at("a", "cpu.stat")), "nr_throttled ") > 0);
    int64_t begin = now_ns(CLOCK_MONOTONIC), before = *used;
    usleep(800000);
    CHECK(*used - before < (now_ns(CLOCK_MONOTONIC) - begin) / 5); // a tenth, and two periods
    CHECK(field(text_of(at("a", "cpu.stat")), "throttled_time ") > 0);
    OK(put(at("a", "cpu.cfs_quota_us"), "-1"));
    before = *used;
    EVENTUALLY(*used > before + 100000000);
    end(pid);
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(cpu_time_is_counted)
{
    GROUPS("cpuacct");
    STREQ(text_of(at("a", "cpuacct.usage")), "0\n");
    CHECK(!strncmp(text_of(at("a", "cpuacct.stat")), "user 0\nsystem 0\n", 16));
    WAIT_OK(FORK({
        OK(put(at("a", "tasks"), "0"));
        int64_t begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < begin + 30000000)
            ;
        CHECK(atoll(text_of(at("a", "cpuacct.usage"))) >= 25000000);
    }));
    CHECK(atoll(text_of(at("a", "cpuacct.usage"))) >= 30000000);
    CHECK(atoll(text_of(at("", "cpuacct.usage"))) >= 30000000);
    EQ(atoll(text_of(at("b", "cpuacct.usage"))), 0);
    CHECK(!!strstr(text_of(at("a", "cpuacct.stat")), "user "));
    WAIT_OK(FORK({
        OK(put(at("b", "tasks"), "0"));
        static char room[1 << 16];
        int zero = OK(open("/dev/zero", O_RDONLY));
        int64_t begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < begin + 100000000)
            OK(read(zero, room, sizeof room));
        CHECK(field(text_of(at("b", "cpuacct.stat")), "system ") >= 5);
    }));
    CHECK(field(text_of(at("b", "cpuacct.stat")), "system ") >= 5);
    CHECK(field(text_of(at("", "cpuacct.stat")), "system ") >= 5);
    FAILS(EINVAL, put(at("a", "cpuacct.usage"), "5"));
    OK(put(at("a", "cpuacct.usage"), "0"));
    STREQ(text_of(at("a", "cpuacct.usage")), "0\n");
    _exit(0);
}

static void *start_another(void *of)
{
    start(of);
    return NULL;
}

static void *burn(void *done)
{
    int64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < begin + 50000000)
        ;
    *(int *)done = 1;
    return NULL;
}

TEST(threads_move_alone)
{
    GROUPS("cpuacct");
    WAIT_OK(FORK({
        static struct worker one;
        start(&one);
        OK(put(at("b", "cgroup.procs"), "0"));
        CHECK(lists(at("b", "tasks"), one.tid) && lists(at("b", "tasks"), getpid()));
        write_pid(at("a", "tasks"), one.tid);
        CHECK(lists(at("a", "tasks"), one.tid) && !lists(at("a", "tasks"), getpid()));
        CHECK(!lists(at("b", "tasks"), one.tid) && lists(at("b", "tasks"), getpid()));
        CHECK(lists(at("a", "cgroup.procs"), getpid()) && lists(at("b", "cgroup.procs"), getpid()));
        char path[60];
        char wanted[80];
        snprintf(path, sizeof path, "/proc/self/task/%d/cgroup", one.tid);
        snprintf(wanted, sizeof wanted, "/%s/a\n", top);
        CHECK(strstr(text_of(path), wanted));
        wants_path(getpid(), "cpuacct", "b");
        FAILS(EBUSY, rmdir(at("a", "")));

        // One that a thread makes is where that is, and so is its time; afterwards, too.
        one.pause = 5000;
        int64_t before = atoll(text_of(at("b", "cpuacct.usage")));
        int done = 0;
        pthread_t thread;
        OK(put(at("a", "tasks"), "0")); // the last one: the process is there now
        CHECK(!*text_of(at("b", "tasks")));
        write_pid(at("b", "tasks"), one.tid);
        ZERO(pthread_create(&thread, NULL, burn, &done));
        ZERO(pthread_join(thread, NULL));
        CHECK(done && atoll(text_of(at("a", "cpuacct.usage"))) >= 50000000);
        CHECK(atoll(text_of(at("b", "cpuacct.usage"))) >= before);
        CHECK(atoll(text_of(at("b", "cpuacct.usage"))) < before + 50000000);
        static struct worker two;
        OK(put(at("b", "tasks"), "0"));
        finish(&one);
        ZERO(pthread_create(&thread, NULL, start_another, &two));
        ZERO(pthread_join(thread, NULL));
        CHECK(lists(at("b", "tasks"), two.tid));
        write_pid(at("a", "tasks"), two.tid);
        WAIT_OK(FORK(wants_path(getpid(), "cpuacct", "b")));
        OK(put("cgroup.procs", "0")); // all of them
        CHECK(!*text_of(at("a", "tasks")) && !*text_of(at("b", "tasks")));
        write_pid(at("a", "tasks"), two.tid);
        finish(&two);
        EVENTUALLY(!*text_of(at("a", "tasks")));
    }));
    _exit(0);
}

TEST(processors)
{
    GROUPS("cpuset");
    if (!strcmp(text_of("cpuset.cpus"), "0\n"))
        SKIP("there is one processor");
    STREQ(text_of(at("a", "cpuset.cpus")), "\n");
    STREQ(text_of("cpuset.mems"), "0\n");
    FAILS(ENOSPC, put(at("", "tasks"), "0"));
    FAILS(EINVAL, put(at("", "cpuset.cpus"), "x"));
    FAILS(EINVAL, put(at("", "cpuset.mems"), "1"));
    FAILS(EACCES, put(at("a", "cpuset.cpus"), "0")); // the one above has none yet
    OK(put(at("", "cpuset.cpus"), "0-1"));
    FAILS(ENOSPC, put(at("", "tasks"), "0"));
    OK(put(at("", "cpuset.mems"), "0"));
    STREQ(text_of(at("", "cpuset.cpus")), "0-1\n");
    STREQ(text_of(at("", "cpuset.effective_cpus")), "0-1\n");
    OK(put(at("a", "cpuset.cpus"), "1"));
    FAILS(EBUSY, put(at("", "cpuset.cpus"), "0"));
    OK(put(at("a", "cpuset.mems"), "0"));
    pid_t pid = sleeper();
    int all = cpus_of(pid);
    write_pid(at("a", "tasks"), pid);
    EQ(cpus_of(pid), 1);
    FAILS(ENOSPC, put(at("a", "cpuset.cpus"), "\n"));
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    FAILS(EINVAL, sched_setaffinity(pid, sizeof set, &set));
    OK(put(at("a", "cpuset.cpus"), "0"));
    may_run_on_the_first_alone(pid);
    WAIT_OK(FORK({
        OK(put(at("a", "tasks"), "0"));
        WAIT_OK(FORK({ runs_on_the_first_alone(); }));
    }));
    OK(put(at("a", "cpuset.cpus"), "0-1"));
    EQ(cpus_of(pid), 2);
    write_pid("tasks", pid);
    EQ(cpus_of(pid), all);
    end(pid);
    OK(put(at("", "cgroup.clone_children"), "1"));
    OK(mkdir(at("m", ""), 0755));
    STREQ(text_of(at("m", "cpuset.cpus")), "0-1\n");
    STREQ(text_of(at("m", "cpuset.mems")), "0\n");
    _exit(0);
}

TEST(devices)
{
    GROUPS("devices");
    OK(mkdir(at("a/b", ""), 0755));
    STREQ(text_of(at("a", "devices.list")), "a *:* rwm\n");
    FAILS(EINVAL, put(at("a", "devices.deny"), "q"));
    FAILS(EINVAL, put(at("a", "devices.deny"), "b 1:x rwm"));
    FAILS(EINVAL, put(at("a", "devices.deny"), "a")); // it has groups below
    OK(put(at("a/b", "devices.deny"), "a"));
    STREQ(text_of(at("a/b", "devices.list")), "");
    OK(put(at("a/b", "devices.allow"), "c 1:3 rw"));
    OK(put(at("a/b", "devices.allow"), "c 136:* rwm"));
    OK(put(at("a/b", "devices.allow"), "c 1:3 m"));
    STREQ(text_of(at("a/b", "devices.list")), "c 1:3 rwm\nc 136:* rwm\n");
    WAIT_OK(FORK({
        OK(put(at("a/b", "tasks"), "0"));
        close(OK(open("/dev/null", O_RDWR)));
        FAILS(EPERM, open("/dev/zero", O_RDONLY));
        FAILS(EPERM, mknod("/tmp/cgroup1-device", S_IFCHR | 0600, makedev(1, 5)));
    }));
    OK(put(at("a/b", "devices.deny"), "c 1:3 w"));
    WAIT_OK(FORK({
        OK(put(at("a/b", "tasks"), "0"));
        close(OK(open("/dev/null", O_RDONLY)));
        FAILS(EPERM, open("/dev/null", O_WRONLY));
    }));
    // What the one above loses, and no more than that has.
    OK(put(at("a", "devices.deny"), "c 1:3 r"));
    STREQ(text_of(at("a/b", "devices.list")), "c 1:3 m\nc 136:* rwm\n");
    FAILS(EPERM, put(at("a/b", "devices.allow"), "c 1:3 r"));
    OK(put(at("a", "devices.allow"), "c 1:3 r"));
    OK(put(at("a/b", "devices.allow"), "c 1:3 r"));
    OK(rmdir(at("a/b", "")));
    EVENTUALLY(!put(at("a", "devices.deny"), "a")); // Linux is still removing it
    OK(mkdir(at("a/b", ""), 0755));
    FAILS(EPERM, put(at("a/b", "devices.allow"), "a"));
    OK(rmdir(at("a/b", "")));
    EVENTUALLY(!put(at("a", "devices.allow"), "a"));
    STREQ(text_of(at("a", "devices.list")), "a *:* rwm\n");
    _exit(0);
}

TEST(memory)
{
    GROUPS("memory");
    STREQ(text_of(at("a", "memory.limit_in_bytes")), "9223372036854771712\n");
    FAILS(EINVAL, put(at("a", "memory.limit_in_bytes"), "much"));
    FAILS(EINVAL, put("memory.limit_in_bytes", "64M"));
    OK(put(at("a", "memory.limit_in_bytes"), "64M"));
    STREQ(text_of(at("a", "memory.limit_in_bytes")), "67108864\n");
    STREQ(text_of(at("a", "memory.failcnt")), "0\n");
    CHECK(has_line(text_of(at("a", "memory.oom_control")), "oom_kill 0"));
    CHECK(has_line(text_of(at("a", "memory.stat")), "hierarchical_memory_limit 67108864"));
    pid_t small = FORK({
        OK(put(at("a", "tasks"), "0"));
        take(20);
        for (;;)
            pause();
    });
    EVENTUALLY(atoll(text_of(at("a", "memory.usage_in_bytes"))) >= 20 << 20);
    EVENTUALLY(field(text_of(at("a", "memory.stat")), "total_rss ") >= 20 << 20); // Linux sums up every two seconds
    WAIT_STATUS(hog_in("a", 400), KILLED(SIGKILL));
    EVENTUALLY(has_line(text_of(at("a", "memory.oom_control")), "oom_kill 1"));
    CHECK(atoll(text_of(at("a", "memory.failcnt"))) > 0);
    CHECK(atoll(text_of(at("a", "memory.max_usage_in_bytes"))) >= 20 << 20);
    EQ(waitpid(small, NULL, WNOHANG), 0);
    end(small);
    OK(put(at("a", "memory.failcnt"), "0"));
    STREQ(text_of(at("a", "memory.failcnt")), "0\n");
    OK(put(at("a", "memory.max_usage_in_bytes"), "0"));
    CHECK(atoll(text_of(at("a", "memory.max_usage_in_bytes"))) < 10 << 20);
    OK(put(at("a", "memory.limit_in_bytes"), "-1"));
    STREQ(text_of(at("a", "memory.limit_in_bytes")), "9223372036854771712\n");
    _exit(0);
}

TEST(tasks)
{
    GROUPS("pids");
    STREQ(text_of(at("a", "pids.max")), "max\n");
    OK(put(at("a", "pids.max"), "2"));
    OK(put(at("a", "cgroup.procs"), "0"));
    STREQ(text_of(at("a", "pids.current")), "1\n");
    pid_t pid = sleeper();
    FAILS(EAGAIN, fork());
    CHECK(strstr(text_of(at("a", "pids.events")), "max 1\n"));
    STREQ(text_of(at("", "pids.current")), "2\n");
    end(pid);
    OK(put("cgroup.procs", "0"));
    STREQ(text_of(at("", "pids.current")), "0\n");
    _exit(0);
}

TEST(namespaces)
{
    GROUPS("freezer");
    OK(mkdir(at("a/b", ""), 0755));
    WAIT_OK(FORK({
        OK(put(at("a", "tasks"), "0"));
        OK(unshare(CLONE_NEWCGROUP));
        STREQ(path_of(getpid(), "freezer"), "/");
        STREQ(path_of(getppid(), "freezer"), "/../..");
        OK(mkdir("/tmp/nested-cgroup1", 0755));
        int mounted = mount("none", "/tmp/nested-cgroup1", "cgroup", 0, "freezer");
        int found = !access("/tmp/nested-cgroup1/b/tasks", F_OK), beyond = !access("/tmp/nested-cgroup1/a", F_OK);
        umount2("/tmp/nested-cgroup1", MNT_DETACH);
        // Only the first namespace makes hierarchies.
        int made = mount("none", "/tmp/nested-cgroup1", "cgroup", 0, "none,name=cgroup1-nested"), error = errno;
        umount2("/tmp/nested-cgroup1", MNT_DETACH);
        rmdir("/tmp/nested-cgroup1");
        EQ(mounted, 0);
        CHECK(found && !beyond);
        CHECK(made == -1 && error == EPERM);
    }));
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

MAIN()
