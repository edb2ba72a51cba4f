// Control groups, version 2. cgroups(7), cgroup_namespaces(7)
#include "check.h"
#include "groups.h"
#include <sys/inotify.h>

static void set_up(void)
{
    struct stat here; // no other case's, whatever PID namespace it runs in
    OK(stat(".", &here));
    OK(mkdir("cg", 0700));
    OK(mount("none", "cg", "cgroup2", 0, NULL));
    OK(chdir("cg"));
    snprintf(top, sizeof top, "t%lx", here.st_ino);
    OK(mkdir(top, 0755));
    OK(mkdir(at("a", ""), 0755));
    OK(mkdir(at("b", ""), 0755));
}

#define GROUPS                                                                                                         \
    set_up();                                                                                                          \
    pid_t cleaner_ = fork();                                                                                           \
    if (cleaner_) {                                                                                                    \
        int status_;                                                                                                   \
        while (waitpid(cleaner_, &status_, 0) < 0 && errno == EINTR)                                                   \
            ;                                                                                                          \
        clean_relative();                                                                                              \
        _exit(WIFEXITED(status_) ? WEXITSTATUS(status_) : 1);                                                          \
    }

TEST(files)
{
    GROUPS;
    struct statfs fs;
    OK(statfs(top, &fs));
    EQ(fs.f_type, 0x63677270);
    const char *names[] = {"cgroup.controllers", "cgroup.events", "cgroup.freeze", "cgroup.kill", "cgroup.max.depth",
                           "cgroup.max.descendants", "cgroup.procs", "cgroup.stat", "cgroup.subtree_control",
                           "cgroup.threads", "cgroup.type", "cpu.stat"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(!access(at("a", names[i]), F_OK));
    STREQ(text_of(at("a", "cgroup.type")), "domain\n");
    STREQ(text_of(at("a", "cgroup.procs")), "");
    STREQ(text_of(at("a", "cgroup.events")), "populated 0\nfrozen 0\n");
    STREQ(text_of(at("a", "cgroup.freeze")), "0\n");
    STREQ(text_of(at("a", "cgroup.max.depth")), "max\n");
    STREQ(text_of(at("a", "cgroup.max.descendants")), "max\n");
    STREQ(text_of(at("a", "cgroup.controllers")), "");
    CHECK(has_line(text_of(at("", "cgroup.stat")), "nr_descendants 2"));
    CHECK(!strncmp(text_of(at("a", "cpu.stat")), "usage_usec 0\n", 13));
    FAILS(EACCES, open(at("a", "file"), O_CREAT | O_WRONLY, 0600));
    FAILS(EPERM, symlink("x", at("a", "link")));
    FAILS(EPERM, unlink(at("a", "cgroup.procs")));
    FAILS(EEXIST, mkdir(at("a", "cgroup.procs"), 0700));
    FAILS(EINVAL, mkdir(at("a", "new\nline"), 0700));
    FAILS(EINVAL, put(at("a", "cgroup.freeze"), "x"));
    FAILS(ERANGE, put(at("a", "cgroup.freeze"), "2"));
    FAILS(ERANGE, put(at("a", "cgroup.kill"), "0"));
    FAILS(EINVAL, put(at("a", "cgroup.procs"), "x"));
    FAILS(ESRCH, put(at("a", "cgroup.procs"), "4194303"));
    FAILS(EINVAL, put(at("a", "cgroup.subtree_control"), "+nonsense"));
    FAILS(ENOENT, put(at("a", "cgroup.subtree_control"), "+pids"));
    FAILS(EINVAL, put(at("a", "cgroup.type"), "nonsense"));
    _exit(0);
}

TEST(processes_move_and_children_stay)
{
    GROUPS;
    pid_t pid = sleeper();
    write_pid(at("a", "cgroup.procs"), pid);
    char wanted[100], path[100];
    snprintf(wanted, sizeof wanted, "%d\n", pid);
    STREQ(text_of(at("a", "cgroup.procs")), wanted);
    STREQ(text_of(at("a", "cgroup.threads")), wanted);
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    snprintf(wanted, sizeof wanted, "/%s/a\n", top);
    CHECK(strstr(text_of(path), wanted) && strstr(text_of(path), "0::"));
    STREQ(text_of(at("a", "cgroup.events")), "populated 1\nfrozen 0\n");
    STREQ(text_of(at("", "cgroup.events")), "populated 1\nfrozen 0\n");
    STREQ(text_of(at("b", "cgroup.events")), "populated 0\nfrozen 0\n");
    FAILS(EBUSY, rmdir(at("a", "")));
    write_pid(at("b", "cgroup.procs"), pid);
    STREQ(text_of(at("a", "cgroup.procs")), "");
    end(pid);
    STREQ(text_of(at("b", "cgroup.procs")), "");
    STREQ(text_of(at("", "cgroup.events")), "populated 0\nfrozen 0\n");
    WAIT_OK(FORK({
        OK(put(at("a", "cgroup.procs"), "0"));
        WAIT_OK(FORK({
            char line[100];
            snprintf(line, sizeof line, "/%s/a\n", top);
            CHECK(strstr(text_of("/proc/self/cgroup"), line));
        }));
        CHECK(strtoll(strstr(text_of(at("a", "cpu.stat")), "usage_usec ") + 11, NULL, 10) >= 0);
    }));
    WAIT_OK(FORK({
        static char room[1 << 16];
        OK(put(at("a", "cgroup.procs"), "0"));
        int zero = OK(open("/dev/zero", O_RDONLY));
        int64_t begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < begin + 100000000)
            OK(read(zero, room, sizeof room));
        CHECK(field(text_of(at("a", "cpu.stat")), "system_usec ") >= 50000);
    }));
    const char *times = text_of(at("a", "cpu.stat"));
    long long all = field(times, "usage_usec "), parts = field(times, "user_usec ") + field(times, "system_usec ");
    CHECK(all >= 100000 && parts >= all - 2 && parts <= all + 2);
    CHECK(field(times, "system_usec ") >= 50000);
    OK(rmdir(at("a", "")));
    FAILS(ENOENT, rmdir(at("a", "")));
    FAILS(EBUSY, rmdir(top));
    _exit(0);
}

TEST(zombies_are_no_members)
{
    GROUPS;
    pid_t pid = sleeper();
    write_pid(at("a", "cgroup.procs"), pid);
    OK(kill(pid, SIGKILL));
    siginfo_t info;
    OK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    EVENTUALLY(!strcmp(text_of(at("a", "cgroup.events")), "populated 0\nfrozen 0\n"));
    int fd = OK(open(at("a", "cgroup.procs"), O_RDONLY));
    OK(rmdir(at("a", "")));
    char text[100];
    FAILS(ENODEV, read(fd, text, sizeof text));
    snprintf(text, sizeof text, "/proc/%d/cgroup", pid);
    CHECK(strstr(text_of(text), "/a (deleted)\n"));
    OK(waitpid(pid, NULL, 0));
    OK(mkdir(at("a", ""), 0755));
    _exit(0);
}

TEST(limits_of_the_tree)
{
    GROUPS;
    OK(put(at("a", "cgroup.max.depth"), "1"));
    OK(mkdir(at("a/b", ""), 0755));
    FAILS(EAGAIN, mkdir(at("a/b", "c"), 0755));
    OK(put(at("a", "cgroup.max.depth"), "max"));
    OK(put(at("a", "cgroup.max.descendants"), "1"));
    FAILS(EAGAIN, mkdir(at("a", "c"), 0755));
    FAILS(EAGAIN, mkdir(at("a/b", "c"), 0755));
    FAILS(ERANGE, put(at("a", "cgroup.max.depth"), "-1"));
    FAILS(EINVAL, put(at("a", "cgroup.max.depth"), "many"));
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(events_are_told)
{
    GROUPS;
    int fd = OK(open(at("a", "cgroup.events"), O_RDONLY));
    int in = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(in, at("a", "cgroup.events"), IN_MODIFY));
    char text[200];
    OK(read(fd, text, sizeof text));
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    EQ(poll(&p, 1, 0), 0);
    pid_t pid = sleeper();
    write_pid(at("a", "cgroup.procs"), pid);
    EQ(poll(&p, 1, 5000), 1);
    EQ(p.revents, POLLPRI | POLLERR);
    CHECK(pread(fd, text, sizeof text, 0) > 0 && !strncmp(text, "populated 1\n", 12));
    EVENTUALLY(read(in, text, sizeof text) > 0);
    OK(kill(pid, SIGKILL));
    EQ(poll(&p, 1, 5000), 1);
    CHECK(pread(fd, text, sizeof text, 0) > 0 && !strncmp(text, "populated 0\n", 12));
    EVENTUALLY(read(in, text, sizeof text) > 0);
    OK(waitpid(pid, NULL, 0));
    _exit(0);
}

TEST(freezing)
{
    GROUPS;
    volatile int *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    OK(mkdir(at("a/b", ""), 0755));
    pid_t pid = FORK({
        for (;;) {
            ++*count;
            usleep(100);
        }
    });
    write_pid(at("a/b", "cgroup.procs"), pid);
    pid_t idle = sleeper();
    write_pid(at("a", "cgroup.procs"), idle);
    EVENTUALLY(*count > 0);
    OK(put(at("a", "cgroup.freeze"), "1"));
    EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "frozen 1"));
    EVENTUALLY(has_line(text_of(at("a/b", "cgroup.events")), "frozen 1"));
    STREQ(text_of(at("a/b", "cgroup.freeze")), "0\n");
    int before = *count;
    usleep(20000);
    EQ(*count, before);
    EQ(waitpid(pid, NULL, WNOHANG | WUNTRACED), 0); // no stop
    pid_t other = sleeper(); // who comes in freezes, who leaves thaws
    write_pid(at("a", "cgroup.procs"), other);
    EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "frozen 1"));
    write_pid(at("b", "cgroup.procs"), pid);
    EVENTUALLY(*count > before);
    write_pid(at("a/b", "cgroup.procs"), pid);
    EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "frozen 1"));
    before = *count;
    end(other); // SIGKILL gets through
    OK(put(at("a", "cgroup.freeze"), "0"));
    EVENTUALLY(*count > before);
    CHECK(has_line(text_of(at("a", "cgroup.events")), "frozen 0"));
    OK(put(at("a/b", "cgroup.freeze"), "1"));
    EVENTUALLY(has_line(text_of(at("a/b", "cgroup.events")), "frozen 1"));
    CHECK(has_line(text_of(at("a", "cgroup.events")), "frozen 0"));
    end(pid);
    end(idle);
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(killing)
{
    GROUPS;
    OK(mkdir(at("a/b", ""), 0755));
    pid_t one = sleeper(), two = sleeper(), bystander = sleeper();
    write_pid(at("a", "cgroup.procs"), one);
    write_pid(at("a/b", "cgroup.procs"), two);
    write_pid(at("b", "cgroup.procs"), bystander);
    OK(put(at("a", "cgroup.kill"), "1"));
    WAIT_STATUS(one, SIGKILL);
    WAIT_STATUS(two, SIGKILL);
    EQ(waitpid(bystander, NULL, WNOHANG), 0);
    EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "populated 0"));
    end(bystander);
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(delegation)
{
    GROUPS;
    OK(chown(at("a", ""), 1000, 1000));
    OK(chown(at("a", "cgroup.procs"), 1000, 1000));
    struct stat st;
    OK(stat(at("a", "cgroup.procs"), &st));
    EQ(st.st_uid, 1000);
    EQ(st.st_mode, S_IFREG | 0644);
    pid_t inside = sleeper(), outside = sleeper();
    write_pid(at("a", "cgroup.procs"), inside);
    WAIT_OK(FORK({
        OK(setresgid(1000, 1000, 1000));
        OK(setresuid(1000, 1000, 1000));
        OK(mkdir(at("a/b", ""), 0755));
        OK(stat(at("a/b", "cgroup.procs"), &st));
        EQ(st.st_uid, 1000);
        write_pid(at("a/b", "cgroup.procs"), inside);
        FAILS(EACCES, open(at("b", "cgroup.procs"), O_WRONLY));
        FAILS(EACCES, mkdir(at("b", "x"), 0755));
        char text[20];
        snprintf(text, sizeof text, "%d", outside); // the group above both is not the user's
        FAILS(EACCES, put(at("a/b", "cgroup.procs"), text));
    }));
    end(inside);
    end(outside);
    OK(rmdir(at("a/b", "")));
    OK(chmod(at("a", "cgroup.procs"), 0600));
    OK(stat(at("a", "cgroup.procs"), &st));
    EQ(st.st_mode, S_IFREG | 0600);
    _exit(0);
}

TEST(namespaces)
{
    GROUPS;
    OK(mkdir(at("a/b", ""), 0755));
    WAIT_OK(FORK({
        char before[100], after[100];
        OK(put(at("a", "cgroup.procs"), "0"));
        memset(before, 0, sizeof before), memset(after, 0, sizeof after);
        OK(readlink("/proc/self/ns/cgroup", before, sizeof before - 1));
        OK(unshare(CLONE_NEWCGROUP));
        OK(readlink("/proc/self/ns/cgroup", after, sizeof after - 1));
        CHECK(strcmp(before, after) && !strncmp(after, "cgroup:[", 8));
        CHECK(strstr(text_of("/proc/self/cgroup"), "0::/\n"));
        CHECK(strstr(text_of("/proc/1/cgroup"), "0::/../.."));
        WAIT_OK(FORK({
            OK(put(at("a/b", "cgroup.procs"), "0"));
            CHECK(strstr(text_of("/proc/self/cgroup"), "0::/b\n"));
        }));
        OK(mkdir("/tmp/nested-cgroup", 0755));
        int mounted = mount("none", "/tmp/nested-cgroup", "cgroup2", 0, NULL);
        int found = !access("/tmp/nested-cgroup/b/cgroup.procs", F_OK);
        int beyond = !access("/tmp/nested-cgroup/a", F_OK);
        umount2("/tmp/nested-cgroup", MNT_DETACH);
        rmdir("/tmp/nested-cgroup");
        EQ(mounted, 0);
        CHECK(found && !beyond);
    }));
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

TEST(groups_of_threads)
{
    GROUPS;
    OK(mkdir(at("a/b", ""), 0755));
    pid_t pid = sleeper();
    write_pid(at("b", "cgroup.procs"), pid);
    FAILS(EOPNOTSUPP, put(at("b", "cgroup.type"), "threaded")); // it has members
    FAILS(EOPNOTSUPP, put(at("a", "cgroup.type"), "threaded")); // a domain beside it has
    write_pid(at("", "cgroup.procs"), pid);
    OK(put(at("a", "cgroup.type"), "threaded"));
    STREQ(text_of(at("a", "cgroup.type")), "threaded\n");
    STREQ(text_of(at("", "cgroup.type")), "domain threaded\n");
    STREQ(text_of(at("b", "cgroup.type")), "domain invalid\n");
    STREQ(text_of(at("a/b", "cgroup.type")), "domain invalid\n");
    FAILS(EOPNOTSUPP, put(at("b", "cgroup.procs"), "0"));
    FAILS(EOPNOTSUPP, put(at("a/b", "cgroup.procs"), "0"));
    OK(put(at("a/b", "cgroup.type"), "threaded"));
    FAILS(EINVAL, put(at("a", "cgroup.type"), "domain"));
    end(pid);
    WAIT_OK(FORK({
        static struct worker one;
        start(&one);
        char text[20];
        snprintf(text, sizeof text, "%d", one.tid);
        FAILS(EOPNOTSUPP, put(at("a", "cgroup.threads"), text)); // its process is in another domain
        OK(put(at("", "cgroup.procs"), "0"));
        OK(put(at("a", "cgroup.threads"), text));
        CHECK(lists(at("a", "cgroup.threads"), one.tid) && !lists(at("a", "cgroup.threads"), getpid()));
        CHECK(lists(at("", "cgroup.threads"), getpid()) && !lists(at("", "cgroup.threads"), one.tid));
        CHECK(lists(at("", "cgroup.procs"), getpid()));
        int procs = OK(open(at("a", "cgroup.procs"), O_RDONLY));
        char none[10];
        FAILS(EOPNOTSUPP, read(procs, none, sizeof none));
        char path[60];
        char wanted[80];
        snprintf(path, sizeof path, "/proc/self/task/%d/cgroup", one.tid);
        snprintf(wanted, sizeof wanted, "/%s/a\n", top);
        CHECK(strstr(text_of(path), wanted));
        snprintf(wanted, sizeof wanted, "/%s\n", top);
        CHECK(strstr(text_of("/proc/self/cgroup"), wanted));
        CHECK(has_line(text_of(at("a", "cgroup.events")), "populated 1"));
        // It freezes alone.
        OK(put(at("a", "cgroup.freeze"), "1"));
        EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "frozen 1"));
        int64_t before = one.count;
        usleep(20000);
        EQ(one.count, before);
        OK(put(at("a/b", "cgroup.threads"), text));
        EVENTUALLY(has_line(text_of(at("a/b", "cgroup.events")), "frozen 1"));
        OK(put(at("a", "cgroup.freeze"), "0"));
        EVENTUALLY(one.count > before);
        finish(&one);
        EVENTUALLY(has_line(text_of(at("a", "cgroup.events")), "populated 0"));
    }));
    OK(rmdir(at("a/b", "")));
    _exit(0);
}

static void need(const char *controller)
{
    if (!strstr(text_of("cgroup.controllers"), controller)) {
        clean_relative();
        SKIP("the host has this controller in a hierarchy of version 1");
    }
}

TEST(pids_controller)
{
    set_up();
    need("pids");
    OK(put("cgroup.subtree_control", "+pids"));
    OK(put(at("", "cgroup.subtree_control"), "+pids"));
    pid_t cleaner = FORK({
        STREQ(text_of(at("a", "pids.max")), "max\n");
        STREQ(text_of(at("a", "pids.current")), "0\n");
        OK(put(at("a", "pids.max"), "3"));
        FAILS(EINVAL, put(at("a", "pids.max"), "-1"));
        FAILS(EINVAL, put(at("a", "pids.max"), "some"));
        OK(put(at("a", "cgroup.procs"), "0"));
        STREQ(text_of(at("a", "pids.current")), "1\n");
        pid_t one = sleeper(), two = sleeper();
        STREQ(text_of(at("", "pids.current")), "3\n");
        STREQ(text_of(at("a", "pids.peak")), "3\n");
        FAILS(EAGAIN, fork());
        pthread_t thread;
        EQ(pthread_create(&thread, NULL, (void *(*)(void *))pause, NULL), EAGAIN);
        STREQ(text_of(at("a", "pids.events")), "max 2\n");
        OK(kill(two, SIGKILL)); // a zombie counts
        siginfo_t info;
        OK(waitid(P_PID, two, &info, WEXITED | WNOWAIT));
        FAILS(EAGAIN, fork());
        OK(waitpid(two, NULL, 0));
        two = sleeper();
        end(two);
        end(one);
        STREQ(text_of(at("a", "pids.current")), "1\n");
    });
    int status;
    OK(waitpid(cleaner, &status, 0));
    clean_relative();
    EQ(status, 0);
}

TEST(no_processes_between_groups)
{
    set_up();
    need("memory");
    // The cases' own process is a member of the root, which is a container's group.
    int result = put("cgroup.subtree_control", "+memory"), error = errno;
    clean_relative();
    EQ(result, -1);
    EQ(error, EBUSY);
}

TEST(cpu_time_is_limited)
{
    set_up();
    need("cpu");
    OK(put("cgroup.subtree_control", "+cpu"));
    OK(put(at("", "cgroup.subtree_control"), "+cpu"));
    pid_t cleaner = FORK({
        STREQ(text_of(at("", "cpu.max")), "max 100000\n");
        STREQ(text_of(at("a", "cpu.max")), "max 100000\n");
        FAILS(EINVAL, put(at("a", "cpu.max"), "500 100000"));
        FAILS(EINVAL, put(at("a", "cpu.max"), "10000 500"));
        FAILS(EINVAL, put(at("a", "cpu.max"), "10000 2000000"));
        FAILS(EINVAL, put(at("a", "cpu.max"), "some"));
        OK(put(at("a", "cpu.max"), "10000 50000"));
        STREQ(text_of(at("a", "cpu.max")), "10000 50000\n");
        OK(put(at("a", "cpu.max"), "5000"));
        STREQ(text_of(at("a", "cpu.max")), "5000 50000\n");
        EQ(field(text_of(at("a", "cpu.stat")), "nr_throttled "), 0);

        // Two of them want ten times as much, or more.
        struct timespec begin, end_;
        pid_t one = busy_in("a"), two = busy_in("a");
        EVENTUALLY(field(text_of(at("a", "cpu.stat")), "nr_throttled ") > 0);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        long long before = field(text_of(at("a", "cpu.stat")), "usage_usec "), used = 0, passed = 0;
        // A tenth, and two periods. On a busy machine they may be held late, and pay for it after.
        for (int i = 0; i < 8 && (i == 0 || used >= passed / 5); i++) {
            usleep(1000000);
            used = field(text_of(at("a", "cpu.stat")), "usage_usec ") - before;
            clock_gettime(CLOCK_MONOTONIC, &end_);
            passed = (end_.tv_sec - begin.tv_sec) * 1000000LL + (end_.tv_nsec - begin.tv_nsec) / 1000;
        }
        CHECK(used < passed / 5);
        const char *stat = text_of(at("a", "cpu.stat"));
        CHECK(field(stat, "nr_periods ") >= field(stat, "nr_throttled "));
        CHECK(field(stat, "throttled_usec ") > 0);
        EQ(field(text_of(at("b", "cpu.stat")), "nr_periods "), 0);

        // Who leaves is free, and SIGKILL gets through to who is held.
        write_pid(at("b", "cgroup.procs"), one);
        used = field(text_of(at("b", "cpu.stat")), "usage_usec ");
        EVENTUALLY(field(text_of(at("b", "cpu.stat")), "usage_usec ") > used + 200000);
        OK(put(at("a", "cpu.max"), "1000 1000000"));
        usleep(100000);
        end(two);
        // The limit of a group above holds, too; until it is taken away.
        OK(put(at("", "cpu.max"), "1000 1000000"));
        EVENTUALLY(field(text_of(at("", "cpu.stat")), "throttled_usec ") > 0);
        used = field(text_of(at("b", "cpu.stat")), "usage_usec ");
        usleep(200000);
        CHECK(field(text_of(at("b", "cpu.stat")), "usage_usec ") < used + 100000);
        OK(put(at("", "cpu.max"), "max"));
        used = field(text_of(at("b", "cpu.stat")), "usage_usec ");
        EVENTUALLY(field(text_of(at("b", "cpu.stat")), "usage_usec ") > used + 200000);
        end(one);
    });
    int status;
    OK(waitpid(cleaner, &status, 0));
    OK(put(at("", "cgroup.subtree_control"), "-cpu"));
    int gone = access(at("a", "cpu.max"), F_OK);
    OK(put("cgroup.subtree_control", "-cpu"));
    clean_relative();
    EQ(status, 0);
    EQ(gone, -1);
}

TEST(processors)
{
    set_up();
    need("cpuset");
    if (strcmp(text_of("cpuset.cpus.effective"), "0-1\n")) {
        clean_relative();
        SKIP("for two processors");
    }
    OK(put("cgroup.subtree_control", "+cpuset"));
    OK(put(at("", "cgroup.subtree_control"), "+cpuset"));
    pid_t cleaner = FORK({
        OK(mkdir(at("a/b", ""), 0755));
        OK(put(at("a", "cgroup.subtree_control"), "+cpuset"));
        STREQ(text_of(at("a", "cpuset.cpus")), "\n");
        STREQ(text_of(at("a", "cpuset.cpus.effective")), "0-1\n");
        STREQ(text_of(at("a", "cpuset.mems.effective")), "0\n");
        FAILS(EINVAL, put(at("a", "cpuset.cpus"), "x"));
        FAILS(EINVAL, put(at("a", "cpuset.cpus"), "1-0"));
        OK(put(at("a", "cpuset.mems"), "0"));
        STREQ(text_of(at("a", "cpuset.mems")), "0\n");
        pid_t pid = sleeper(), inner = sleeper();
        write_pid(at("b", "cgroup.procs"), pid);
        write_pid(at("a/b", "cgroup.procs"), inner);
        EQ(cpus_of(pid), 2);
        OK(put(at("a", "cpuset.cpus"), "1"));
        OK(put(at("b", "cpuset.cpus"), "1"));
        STREQ(text_of(at("a", "cpuset.cpus")), "1\n");
        EQ(cpus_of(pid), 1);
        EQ(cpus_of(inner), 1);
        STREQ(text_of(at("a/b", "cpuset.cpus.effective")), "1\n");
        // What is not above is of no effect, and all that is above then.
        OK(put(at("a/b", "cpuset.cpus"), "0"));
        STREQ(text_of(at("a/b", "cpuset.cpus")), "0\n");
        STREQ(text_of(at("a/b", "cpuset.cpus.effective")), "1\n");
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(0, &set);
        FAILS(EINVAL, sched_setaffinity(pid, sizeof set, &set));
        OK(put(at("a", "cpuset.cpus"), "0-1"));
        OK(put(at("b", "cpuset.cpus"), "\n"));
        may_run_on_the_first_alone(inner);
        EQ(cpus_of(pid), 2);
        WAIT_OK(FORK({
            OK(put(at("a/b", "cgroup.procs"), "0"));
            WAIT_OK(FORK({ runs_on_the_first_alone(); }));
            OK(put(at("b", "cgroup.procs"), "0"));
            EQ(cpus_of(0), 2);
        }));
        end(pid);
        end(inner);
        OK(put(at("a", "cgroup.subtree_control"), "-cpuset"));
        OK(rmdir(at("a/b", "")));
    });
    int status;
    OK(waitpid(cleaner, &status, 0));
    OK(put(at("", "cgroup.subtree_control"), "-cpuset"));
    OK(put("cgroup.subtree_control", "-cpuset"));
    clean_relative();
    EQ(status, 0);
}

TEST(memory_is_counted)
{
    set_up();
    need("memory");
    // The cases' own process is a member of the root, so memory cannot be enabled below: the root's own counts are looked at.
    size_t size = 32 << 20;
    long long before = atoll(text_of("memory.current"));
    CHECK(before > 0);
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, size);
    long long after = atoll(text_of("memory.current"));
    CHECK(after >= before + (long long)size / 2);
    CHECK(!strncmp(text_of("memory.stat"), "anon ", 5));
    clean_relative();
}

// Moves the processes of one group to another.
static void move_all(const char *from, const char *to)
{
    for (char *pid = strtok(text_of(from), "\n"); pid; pid = strtok(NULL, "\n"))
        OK(put(to, pid));
}
TEST(memory_is_limited)
{
    set_up();
    need("memory");
    move_all("cgroup.procs", at("b", "cgroup.procs")); // no group with members has memory enabled below
    OK(put("cgroup.subtree_control", "+memory"));
    OK(put(at("", "cgroup.subtree_control"), "+memory"));
    pid_t cleaner = FORK({
        STREQ(text_of(at("a", "memory.max")), "max\n");
        OK(put(at("a", "memory.max"), "64M"));
        STREQ(text_of(at("a", "memory.max")), "67108864\n");
        FAILS(EINVAL, put(at("a", "memory.max"), "much"));
        FAILS(EINVAL, put(at("a", "memory.oom.group"), "2"));

        // Within it, beside one who uses little, and then beyond.
        pid_t small = hog_in("a", 8), other = hog_in("b", 40), big = hog_in("a", 10);
        usleep(300000);
        EQ(waitpid(-1, NULL, WNOHANG), 0);
        CHECK(atoll(text_of(at("a", "memory.current"))) >= 18 << 20);
        CHECK(atoll(text_of(at("a", "memory.peak"))) >= 18 << 20);
        CHECK(has_line(text_of(at("a", "memory.events")), "oom_kill 0"));
        int events = OK(open(at("a", "memory.events"), O_RDONLY));
        char text[256];
        OK(read(events, text, sizeof text));
        int above = OK(open(at("", "memory.events"), O_RDONLY));
        OK(read(above, text, sizeof text));
        pid_t beyond = hog_in("a", 400);
        WAIT_STATUS(beyond, KILLED(SIGKILL));
        struct pollfd told[] = {{.fd = events, .events = POLLPRI}, {.fd = above, .events = POLLPRI}};
        EQ(poll(&told[0], 1, 2000), 1);
        EQ(poll(&told[1], 1, 2000), 1);
        CHECK(has_line(text_of(at("a", "memory.events")), "oom_kill 1"));
        CHECK(has_line(text_of(at("", "memory.events")), "oom_kill 1"));
        CHECK(has_line(text_of(at("b", "memory.events")), "oom_kill 0"));
        EQ(waitpid(-1, NULL, WNOHANG), 0); // the others live
        end(big);

        // All of the group together; a limit above the group's own counts as well.
        pid_t idle = hog_in("a", 30);
        usleep(200000);
        OK(put(at("a", "memory.max"), "20M")); // below what it has already
        WAIT_STATUS(idle, KILLED(SIGKILL));
        OK(put(at("a", "memory.max"), "64M"));
        OK(put(at("a", "memory.oom.group"), "1"));
        beyond = hog_in("a", 400);
        WAIT_STATUS(beyond, KILLED(SIGKILL));
        WAIT_STATUS(small, KILLED(SIGKILL));
        CHECK(has_line(text_of(at("a", "memory.events")), "oom_group_kill 1"));
        OK(put(at("a", "memory.max"), "max"));
        OK(put(at("", "memory.max"), "160M"));
        beyond = hog_in("a", 400);
        WAIT_STATUS(beyond, KILLED(SIGKILL));
        EQ(waitpid(-1, NULL, WNOHANG), 0);
        end(other);
        OK(put(at("", "memory.max"), "max"));
        pid_t free = hog_in("a", 200);
        usleep(300000);
        EQ(waitpid(-1, NULL, WNOHANG), 0);
        end(free);
    });
    int status;
    OK(waitpid(cleaner, &status, 0));
    OK(put(at("", "cgroup.subtree_control"), "-memory"));
    OK(put("cgroup.subtree_control", "-memory"));
    move_all(at("b", "cgroup.procs"), "cgroup.procs");
    clean_relative();
    EQ(status, 0);
}

MAIN()
