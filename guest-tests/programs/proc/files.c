// /proc and /sys as ps, top, free, lsof and language runtimes read them, and the nodes of /dev: proc(5), null(4), random(4).
#include "check.h"
#include <dirent.h>
#include <sys/klog.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>

static char text[1 << 18];
static const char *contents(const char *path)
{
    read_file(path, text, sizeof text);
    return text;
}
static long field(const char *path, const char *name)
{
    contents(path);
    size_t n = strlen(name);
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, name, n) && line[n] == ':')
            return atol(line + n + 1);
    FAIL("no line %s in %s", name, path);
}

TEST(stat_of_a_process)
{
    int pid, ppid, pgrp, sid, tty, tpgid;
    char comm[64], state;
    unsigned flags;
    unsigned long minflt, cminflt, majflt, cmajflt, utime, stime, vsize;
    long cutime, cstime, priority, nice, threads, itreal, rss;
    unsigned long long start;
    EQ(sscanf(contents("/proc/self/stat"),
              "%d (%63[^)]) %c %d %d %d %d %d %u %lu %lu %lu %lu %lu %lu %ld %ld %ld %ld %ld %ld %llu %lu %ld", &pid, comm, &state,
              &ppid, &pgrp, &sid, &tty, &tpgid, &flags, &minflt, &cminflt, &majflt, &cmajflt, &utime, &stime, &cutime, &cstime,
              &priority, &nice, &threads, &itreal, &start, &vsize, &rss),
       24);
    EQ(pid, getpid());
    EQ(ppid, getppid());
    EQ(pgrp, getpgrp());
    EQ(sid, getsid(0));
    EQ(state, 'R');
    EQ(threads, 1);
    EQ(nice, 0);
    CHECK(vsize > 100000 && rss > 5);
    double now = now_ns(CLOCK_BOOTTIME) / 1e9;
    CHECK(start / 100.0 <= now + 1 && start / 100.0 > now - 60);
    int fields = 0;
    for (char *p = strtok(text, " \n"); p; p = strtok(NULL, " \n"))
        fields++;
    EQ(fields, 52);
}

TEST(status)
{
    EQ(field("/proc/self/status", "Pid"), getpid());
    EQ(field("/proc/self/status", "PPid"), getppid());
    EQ(field("/proc/self/status", "Tgid"), getpid());
    EQ(field("/proc/self/status", "Threads"), 1);
    EQ(field("/proc/self/status", "Uid"), getuid());
    long rss = field("/proc/self/status", "VmRSS"), size = field("/proc/self/status", "VmSize");
    CHECK(rss > 10 && size >= rss);
    char *more = malloc(20 << 20);
    memset(more, 1, 20 << 20);
    CHECK(field("/proc/self/status", "VmRSS") >= rss + 19 * 1024);
    CHECK(field("/proc/self/status", "VmSize") >= size + 19 * 1024);
    CHECK(field("/proc/self/status", "VmHWM") >= rss + 19 * 1024);
    contents("/proc/self/status");
    CHECK(strstr(text, "State:\tR (running)\n"));
    CHECK(strstr(text, "Seccomp:\t"));
    CHECK(strstr(text, "Cpus_allowed_list:\t"));
    free(more);
}

TEST(statm)
{
    long size, resident, shared, code, lib, data, dirty;
    EQ(sscanf(contents("/proc/self/statm"), "%ld %ld %ld %ld %ld %ld %ld", &size, &resident, &shared, &code, &lib, &data, &dirty), 7);
    CHECK(size >= resident && resident > 5);
}

TEST(lists_of_processes)
{
    pid_t child = FORK({ pause(); });
    bool own = false, other = false, one = false;
    DIR *d = opendir("/proc");
    CHECK(d);
    struct dirent *e;
    while ((e = readdir(d))) {
        int pid = atoi(e->d_name);
        own |= pid == getpid(), other |= pid == child, one |= pid == 1;
        if (pid)
            EQ(e->d_type, DT_DIR);
    }
    CHECK(own && other && one);
    char path[64];
    sprintf(path, "/proc/%d", child);
    OK(access(path, F_OK));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    FAILS(ENOENT, access(path, F_OK));
    FAILS(ENOENT, access("/proc/999999", F_OK));
}

TEST(a_file_of_a_dead_process)
{
    pid_t child = FORK({ pause(); });
    char path[64];
    sprintf(path, "/proc/%d/status", child);
    int fd = OK(open(path, O_RDONLY));
    sprintf(path, "/proc/%d", child);
    int dir = OK(open(path, O_RDONLY));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    FAILS(ESRCH, read(fd, text, 100));
    errno = 0;
    EQ(openat(dir, "status", O_RDONLY), -1);
    CHECK(errno == ENOENT || errno == ESRCH);
}

TEST(self_and_threads)
{
    char link[100];
    link[OK(readlink("/proc/self", link, 99))] = 0;
    EQ(atoi(link), getpid());
    link[OK(readlink("/proc/thread-self", link, 99))] = 0;
    char wanted[100];
    sprintf(wanted, "%d/task/%ld", getpid(), syscall(SYS_gettid));
    STREQ(link, wanted);
    void *wait(void *arg)
    {
        pause();
        return arg;
    }
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        ZERO(pthread_create(&thread[i], NULL, wait, NULL));
    ZERO(pthread_setname_np(thread[1], "renamed"));
    DIR *d = opendir("/proc/self/task");
    CHECK(d);
    int count = 0, named = 0;
    struct dirent *e;
    while ((e = readdir(d)))
        if (atoi(e->d_name)) {
            count++;
            snprintf(wanted, sizeof wanted, "/proc/self/task/%.20s/comm", e->d_name);
            named += !strcmp(contents(wanted), "renamed\n");
        }
    EQ(count, 4);
    EQ(named, 1);
}

TEST(descriptors)
{
    int fd = OK(open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EQ(write(fd, "hello", 5), 5);
    char path[64], link[4096], here[4000];
    sprintf(path, "/proc/self/fd/%d", fd);
    link[OK(readlink(path, link, 4095))] = 0;
    CHECK(getcwd(here, sizeof here));
    strcat(here, "/f");
    STREQ(link, here);
    sprintf(path, "/proc/self/fdinfo/%d", fd);
    contents(path);
    CHECK(strstr(text, "pos:\t5\n"));
    unsigned flags;
    EQ(sscanf(strstr(text, "flags:"), "flags:\t%o", &flags), 1);
    EQ(flags & (O_ACCMODE | O_CLOEXEC), O_RDWR | O_CLOEXEC);
    CHECK(strstr(text, "mnt_id:\t"));
    DIR *d = opendir("/proc/self/fd");
    bool seen = false;
    struct dirent *e;
    while ((e = readdir(d)))
        seen |= atoi(e->d_name) == fd;
    CHECK(seen);
    struct stat st;
    sprintf(path, "/proc/self/fd/%d", fd);
    OK(lstat(path, &st));
    CHECK(S_ISLNK(st.st_mode));
    EQ(st.st_mode & 0700, 0700);
    EQ(st.st_size, 64); // room that some programs make for the text
    OK(stat(path, &st));
    EQ(st.st_size, 5);
}

TEST(exe_cwd_root_environ_cmdline)
{
    char link[4096], here[4096];
    link[OK(readlink("/proc/self/cwd", link, 4095))] = 0;
    CHECK(getcwd(here, sizeof here));
    STREQ(link, here);
    link[OK(readlink("/proc/self/root", link, 4095))] = 0;
    STREQ(link, "/");
    link[OK(readlink("/proc/self/exe", link, 4095))] = 0;
    EQ(link[0], '/');
    OK(access(link, X_OK));
    contents("/proc/self/cmdline");
    CHECK(strstr(text, "files"));
    extern char **environ;
    if (environ[0]) {
        size_t n = read_file("/proc/self/environ", text, sizeof text);
        CHECK(n > 0);
    }
}

TEST(maps)
{
    contents("/proc/self/maps");
    long from, to, offset, node;
    char rights[5];
    bool own = false, stack = false;
    long last = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int major_, minor_;
        EQ(sscanf(line, "%lx-%lx %4s %lx %x:%x %ld", &from, &to, rights, &offset, &major_, &minor_, &node), 7);
        CHECK(from < to && (unsigned long)from >= (unsigned long)last);
        last = to;
        own |= (long)&test_maps >= from && (long)&test_maps < to && rights[2] == 'x';
        if ((long)&from >= from && (long)&from < to) {
            stack = true;
            CHECK(strstr(line, "[stack]"));
            EQ(rights[1], 'w');
        }
    }
    CHECK(own && stack);
}

TEST(smaps)
{
    contents("/proc/self/smaps");
    CHECK(strstr(text, "Rss:") && strstr(text, "Pss:") && strstr(text, "Private_Dirty:") && strstr(text, "VmFlags:"));
    CHECK(field("/proc/self/smaps_rollup", "Rss") > 5);
}

TEST(memory_file)
{
    static char data[] = "find me";
    int fd = OK(open("/proc/self/mem", O_RDWR));
    char seen[8];
    EQ(pread(fd, seen, 8, (off_t)data), 8);
    STREQ(seen, "find me");
    EQ(pwrite(fd, "F", 1, (off_t)data), 1);
    EQ(data[0], 'F');
    FAILS(EIO, pread(fd, seen, 8, 0));
}

TEST(meminfo)
{
    long total = field("/proc/meminfo", "MemTotal"), left = field("/proc/meminfo", "MemFree");
    CHECK(total > 0 && left > 0 && left <= total);
    CHECK(field("/proc/meminfo", "MemAvailable") > 0);
    field("/proc/meminfo", "Buffers"), field("/proc/meminfo", "Cached"), field("/proc/meminfo", "SwapTotal");
    EQ(total / 4, sysconf(_SC_PHYS_PAGES));
}

TEST(cpus)
{
    contents("/proc/cpuinfo");
    int n = 0;
    for (char *p = text; (p = strstr(p, "processor\t:")); p++)
        n++;
    EQ(n, sysconf(_SC_NPROCESSORS_ONLN));
    CHECK(strstr(text, "model name") && strstr(text, "flags"));
    contents("/proc/stat");
    CHECK(!strncmp(text, "cpu  ", 5));
    CHECK(strstr(text, "cpu0 ") && strstr(text, "btime ") && strstr(text, "ctxt ") && strstr(text, "processes "));
    long boot = atol(strstr(text, "btime ") + 6), now = time(NULL);
    CHECK(llabs(now - boot - now_ns(CLOCK_BOOTTIME) / 1000000000) <= 2);
    contents("/sys/devices/system/cpu/online");
    CHECK(text[0] >= '0' && text[0] <= '9');
    contents("/sys/devices/system/cpu/possible");
}

TEST(loadavg_uptime_version)
{
    double a, b, c;
    int running, all, last;
    EQ(sscanf(contents("/proc/loadavg"), "%lf %lf %lf %d/%d %d", &a, &b, &c, &running, &all, &last), 6);
    CHECK(running >= 1 && all >= running);
    EQ(sscanf(contents("/proc/uptime"), "%lf %lf", &a, &b), 2);
    CHECK(!strncmp(contents("/proc/version"), "Linux version ", 14));
    contents("/proc/filesystems");
    CHECK(strstr(text, "nodev\ttmpfs\n") && strstr(text, "nodev\tproc\n"));
    contents("/proc/mounts");
    CHECK(strstr(text, " /proc proc "));
    contents("/proc/self/mountinfo");
    CHECK(strstr(text, " - proc "));
    contents("/proc/cmdline");
    contents("/proc/devices");
    CHECK(strstr(text, "Character devices:"));
}

TEST(sysctls)
{
    EQ(atoi(contents("/proc/sys/kernel/pid_max")) > 100, 1);
    STREQ(contents("/proc/sys/kernel/ostype"), "Linux\n");
    contents("/proc/sys/kernel/osrelease");
    contents("/proc/sys/kernel/random/boot_id");
    EQ(strlen(text), 37);
    contents("/proc/sys/kernel/random/uuid");
    EQ(strlen(text), 37);
    contents("/proc/sys/vm/overcommit_memory");
    contents("/proc/sys/fs/file-max");
    contents("/proc/sys/fs/pipe-max-size");
    CHECK(atoi(contents("/proc/sys/kernel/cap_last_cap")) >= 37);
    contents("/proc/sys/kernel/ngroups_max");
    contents("/proc/sys/vm/max_map_count");
}

TEST(own_knobs)
{
    contents("/proc/self/oom_score_adj");
    write_file("/proc/self/oom_score_adj", "500");
    STREQ(contents("/proc/self/oom_score_adj"), "500\n");
    write_file("/proc/self/comm", "new-name");
    STREQ(contents("/proc/self/comm"), "new-name\n");
    contents("/proc/self/limits");
    CHECK(strstr(text, "Max open files"));
    contents("/proc/self/cgroup");
    contents("/proc/self/io");
    contents("/proc/self/wchan");
    contents("/proc/self/auxv");
    contents("/proc/self/uid_map");
}

TEST(io_counts_calls_and_bytes)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    static char data[5000];
    long rchar = field("/proc/self/io", "rchar"), wchar = field("/proc/self/io", "wchar");
    long syscr = field("/proc/self/io", "syscr"), syscw = field("/proc/self/io", "syscw");
    EQ(write(fd, data, 5000), 5000);
    EQ(pwrite(fd, data, 100, 0), 100);
    FAILS(EINVAL, pwrite(fd, data, 100, -1));
    EQ(pread(fd, data, 3000, 0), 3000);
    EQ(field("/proc/self/io", "wchar"), wchar + 5100);
    EQ(field("/proc/self/io", "syscw"), syscw + 2);
    CHECK(field("/proc/self/io", "rchar") >= rchar + 3000);
    CHECK(field("/proc/self/io", "syscr") >= syscr + 1);
    // What a child wrote is its parent's once that has waited for it.
    wchar = field("/proc/self/io", "wchar");
    pid_t child = FORK({ EQ(write(fd, data, 777), 777); });
    WAIT_OK(child);
    EQ(field("/proc/self/io", "wchar"), wchar + 777);
    char path[64];
    sprintf(path, "/proc/self/task/%d/io", getpid());
    EQ(field(path, "wchar"), wchar);
}

TEST(waits_are_context_switches)
{
    long before = field("/proc/self/status", "voluntary_ctxt_switches");
    for (int i = 0; i < 5; i++)
        usleep(1000);
    CHECK(field("/proc/self/status", "voluntary_ctxt_switches") >= before + 5);
    struct rusage u;
    OK(getrusage(RUSAGE_SELF, &u));
    CHECK(u.ru_nvcsw >= before + 5);
}

TEST(vmstat)
{
    contents("/proc/vmstat");
    CHECK(strstr(text, "nr_free_pages ") && strstr(text, "pgpgin ") && strstr(text, "pswpout "));
}

TEST(load_averages)
{
    struct sysinfo info;
    double file, apart, call[3];
    // In a sandbox that is just so old, enough for the first average not to be 0 as the file rounds it.
    int64_t until = now_ns(CLOCK_MONOTONIC) + 700000000;
    while (now_ns(CLOCK_MONOTONIC) < until) {
    }
    // They may move between the two.
    EVENTUALLY(sscanf(contents("/proc/loadavg"), "%lf", &file) == 1 && sysinfo(&info) == 0 && (apart = info.loads[0] / 65536.0 - file) < 0.006 && apart > -0.006);
    EQ(getloadavg(call, 3), 3);
}

TEST(what_a_sleeper_shows)
{
    int p[2];
    OK(pipe(p));
    pid_t child = FORK({
        char c;
        read(p[0], &c, 1);
    });
    EVENTUALLY(task_state(child) == 'S');
    OK(kill(child, SIGSTOP));
    EVENTUALLY(task_state(child) == 'T');
    OK(kill(child, SIGKILL));
    EVENTUALLY(task_state(child) == 'Z');
    char path[64];
    sprintf(path, "/proc/%d/cmdline", child);
    EQ(read_file(path, text, sizeof text), 0); // a zombie has none
    sprintf(path, "/proc/%d/exe", child);
    FAILS(ENOENT, readlink(path, text, 100));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(what_a_zombie_shows)
{
    pid_t child = FORK({});
    char path[64], state;
    EVENTUALLY(task_state(child) == 'Z');
    sprintf(path, "/proc/%d/status", child);
    EQ(field(path, "Threads"), 1);
    EQ(field(path, "FDSize"), 0);
    CHECK(field(path, "voluntary_ctxt_switches") >= 0);
    CHECK(field(path, "nonvoluntary_ctxt_switches") >= 0);
    CHECK(!strstr(contents(path), "Umask:") && !strstr(text, "VmSize:"));
    sprintf(path, "/proc/%d/stat", child);
    long threads;
    EQ(sscanf(contents(path), "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld", &state, &threads), 2);
    EQ(state, 'Z');
    EQ(threads, 1);
    sprintf(path, "/proc/%d/oom_score", child);
    EQ(atol(contents(path)), 0);
    sprintf(path, "/proc/%d/schedstat", child);
    CHECK(strchr(contents(path), ' '));
    const char *gone[] = {"environ", "auxv"};
    for (int i = 0; i < 2; i++) {
        sprintf(path, "/proc/%d/%s", child, gone[i]);
        int fd = open(path, O_RDONLY); // where it fails differs
        CHECK((fd < 0 || read(fd, text, 100) < 0) && errno == ESRCH);
    }
    if (geteuid() == 0) {
        sprintf(path, "/proc/%d/syscall", child);
        CHECK(!strncmp(contents(path), "-1 ", 3));
    }
    WAIT_OK(child);
}

TEST(own_descriptors_of_another_user)
{
    if (geteuid())
        SKIP("not root");
    int fd = OK(open("f", O_CREAT | O_RDWR, 0666));
    OK(chmod("f", 0666));
    OK(chmod(".", 0755));
    char path[40], to[300];
    sprintf(path, "/proc/self/fd/%d", fd);
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000)); // and so not dumpable: its folders in /proc are root's
        CHECK(readlink(path, to, sizeof to) > 0);
        OK(open(path, O_RDWR));
        OK(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
    }));
}

TEST(rights_of_others)
{
    if (geteuid())
        SKIP("not root");
    pid_t parent = getpid();
    pid_t child = FORK({
        OK(setresuid(1000, 1000, 1000));
        char path[64];
        sprintf(path, "/proc/%d/environ", parent);
        FAILS(EACCES, open(path, O_RDONLY));
        sprintf(path, "/proc/%d/fd", parent);
        errno = 0;
        EQ((long)opendir(path), 0);
        EQ(errno, EACCES);
        sprintf(path, "/proc/%d/stat", parent);
        OK(open(path, O_RDONLY));
    });
    WAIT_OK(child);
}

TEST(nothing_can_be_made_here)
{
    FAILS(ENOENT, open("/proc/new-file", O_CREAT | O_WRONLY, 0600) == -1 && (errno == ENOENT || errno == EACCES || errno == EPERM || errno == EROFS) ? (errno = ENOENT, -1) : 0);
    errno = 0;
    EQ(mkdir("/proc/new-folder", 0700), -1);
    errno = 0;
    EQ(unlink("/proc/self/stat"), -1);
}

TEST(dev_null_zero_full)
{
    char part[8] = "xxxxxxx";
    int null = OK(open("/dev/null", O_RDWR));
    EQ(read(null, part, 8), 0);
    EQ(write(null, part, 8), 8);
    EQ(write(null, (void *)8, 8), 8); // is not even looked at
    int zero = OK(open("/dev/zero", O_RDWR));
    EQ(read(zero, part, 8), 8);
    EQ(part[3], 0);
    EQ(write(zero, part, 8), 8);
    FAILS(EFAULT, read(zero, (void *)8, 8));
    int full = OK(open("/dev/full", O_RDWR));
    FAILS(ENOSPC, write(full, part, 1));
    EQ(read(full, part, 8), 8);
    struct stat st;
    OK(fstat(null, &st));
    CHECK(S_ISCHR(st.st_mode));
    EQ(st.st_rdev, makedev(1, 3));
    EQ(st.st_mode & 0777, 0666);
    OK(stat("/dev/zero", &st));
    EQ(st.st_rdev, makedev(1, 5));
    EQ(lseek(null, 5, SEEK_SET), 0);
    OK(stat("/dev/tty", &st));
    EQ(st.st_rdev, makedev(5, 0));
}

TEST(dev_random)
{
    const char *paths[] = {"/dev/random", "/dev/urandom"};
    for (int i = 0; i < 2; i++) {
        int fd = OK(open(paths[i], O_RDWR));
        static unsigned char data[4096];
        EQ(read(fd, data, sizeof data), sizeof data);
        int counts[256] = {0}, kinds = 0;
        for (size_t j = 0; j < sizeof data; j++)
            kinds += counts[data[j]]++ == 0;
        CHECK(kinds > 200);
        EQ(write(fd, "seed", 4), 4);
    }
}

TEST(dev_links)
{
    char link[64];
    link[OK(readlink("/dev/fd", link, 63))] = 0;
    STREQ(link, "/proc/self/fd");
    link[OK(readlink("/dev/stdin", link, 63))] = 0;
    STREQ(link, "/proc/self/fd/0");
    OK(access("/dev/ptmx", F_OK));
    OK(access("/dev/pts", F_OK));
    struct statfs f;
    OK(statfs("/dev/shm", &f));
    EQ(f.f_type, 0x01021994);
}

TEST(posix_shared_memory)
{
    int fd = OK(shm_open("/guest-test-shm", O_CREAT | O_RDWR, 0600));
    OK(ftruncate(fd, 4096));
    char *p = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    pid_t child = FORK({
        int own = OK(shm_open("/guest-test-shm", O_RDWR, 0));
        char *q = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0));
        q[7] = 7;
    });
    WAIT_OK(child);
    EQ(p[7], 7);
    OK(shm_unlink("/guest-test-shm"));
}

TEST(a_timer_slack_is_not_for_others)
{
    char path[64], text[32];
    snprintf(path, sizeof path, "/proc/%d/timerslack_ns", getpid());
    WAIT_OK(FORK({
        int fd = OK(open(path, O_RDONLY));
        CHECK(read(fd, text, sizeof text) > 0);
        OK(lseek(fd, 0, SEEK_SET));
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, read(OK(open(path, O_RDONLY)), text, sizeof text));
        CHECK(read(OK(open("/proc/self/timerslack_ns", O_RDONLY)), text, sizeof text) > 0);
    }));
}

static long flags_of(int fd)
{
    char path[64], text[200];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = OK(open(path, O_RDONLY));
    text[OK(read(info, text, sizeof text - 1))] = 0;
    OK(close(info));
    return strtol(strstr(text, "flags:") + 6, NULL, 8);
}
TEST(large_files_are_those_that_were_opened)
{
    int pipes[2];
    OK(pipe(pipes));
    EQ(flags_of(pipes[1]), O_WRONLY);
    EQ(flags_of(OK(open(".", O_PATH))), O_PATH);
    EQ(fcntl(OK(open(".", O_PATH)), F_GETFL), O_PATH);
    EQ(flags_of(OK(open(".", O_RDONLY))), 0100000);
}

// Its size is their number.
TEST(size_of_fd)
{
    struct stat before, after;
    OK(stat("/proc/self/fd", &before));
    int more = OK(dup(0));
    OK(stat("/proc/self/fd", &after));
    if (!before.st_size)
        SKIP("before Linux 6.2");
    EQ(after.st_size, before.st_size + 1);
    close(more);
    OK(stat("/proc/self/fd", &after));
    EQ(after.st_size, before.st_size);
}

// How numbers are read.
TEST(numbers_written)
{
    static const struct {
        const char *text;
        int clear, slack; // errno
    } table[] = {
        {"1", 0, 0}, {" 1", 0, EINVAL}, {"1 ", 0, EINVAL}, {"1\n", 0, 0}, {"2\n\n", 0, EINVAL}, {"1 2", EINVAL, EINVAL}, {"-1", EINVAL, EINVAL},
        {"0", EINVAL, 0}, {"6", EINVAL, 0}, {"x", EINVAL, EINVAL}, {"01", 0, 0}, {"0x1", EINVAL, EINVAL}, {"+1", 0, 0},
        {"99999999999", ERANGE, 0}, {"18446744073709551616", ERANGE, ERANGE}, {"--1", EINVAL, EINVAL}, {"08", EINVAL, 0}, {"010", EINVAL, 0},
    };
    int clear = OK(open("/proc/self/clear_refs", O_WRONLY)), slack = OK(open("/proc/self/timerslack_ns", O_WRONLY));
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        ssize_t n = strlen(table[i].text), r = write(clear, table[i].text, n);
        if (table[i].clear ? r != -1 || errno != table[i].clear : r != n)
            FAIL("clear_refs '%s': %zd, %s", table[i].text, r, strerror(errno));
        r = write(slack, table[i].text, n);
        if (table[i].slack ? r != -1 || errno != table[i].slack : r != n)
            FAIL("timerslack_ns '%s': %zd, %s", table[i].text, r, strerror(errno));
    }
    EQ(write(slack, "010", 3), 3);
    EQ(prctl(PR_GET_TIMERSLACK), 10);
}

// pam_loginuid, as cron, sshd and login have it, ends a session where there is a login id and it cannot be set.
TEST(a_login_id_that_is_there_can_be_set)
{
    int fd = open("/proc/self/loginuid", O_RDWR);
    if (fd < 0) { // a kernel without audit
        EQ(errno, ENOENT);
        FAILS(ENOENT, open("/proc/self/sessionid", O_RDONLY));
        return;
    }
    EQ(write(fd, "1000", 4), 4);
    STREQ(contents("/proc/self/loginuid"), "1000");
}

static void nothing(int signal)
{
    (void)signal;
}
TEST(who_reads_messages_of_the_kernel_waits_for_them)
{
    int fd = OK(open("/proc/kmsg", O_RDONLY | O_NONBLOCK));
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    FAILS(EINVAL, klogctl(2, NULL, sizeof text));
    FAILS(EINVAL, klogctl(2, text, -1));
    EQ(klogctl(2, text, 0), 0);
    if (klogctl(9, NULL, 0) != 0) // a host whose messages nobody reads
        return;
    FAILS(EAGAIN, read(fd, text, sizeof text));
    EQ(poll(&poller, 1, 0), 0);
    OK(fcntl(fd, F_SETFL, 0));
    struct sigaction action = {.sa_handler = nothing};
    OK(sigaction(SIGALRM, &action, NULL));
    struct itimerval often = {{0, 5000}, {0, 5000}};
    OK(setitimer(ITIMER_REAL, &often, NULL));
    FAILS(EINTR, read(fd, text, sizeof text));
    FAILS(EINTR, klogctl(2, text, sizeof text));
}
TEST(messages_of_the_kernel_are_for_the_privileged)
{
    OK(close(OK(open("/proc/kmsg", O_RDONLY))));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EACCES, open("/proc/kmsg", O_RDONLY));
        FAILS(EPERM, klogctl(2, text, sizeof text));
    }));
}

static void *waits(void *other)
{
    pause();
    return other;
}
// Chromium's zygote ends where the number is another one than that of a process with one thread.
TEST(the_links_of_task_count_threads)
{
    struct stat before, after;
    pthread_t other;
    OK(stat("/proc/self/task", &before));
    EQ(before.st_nlink, 3);
    EQ(pthread_create(&other, NULL, waits, NULL), 0);
    int proc = OK(open("/proc", O_PATH | O_DIRECTORY));
    OK(fstatat(proc, "self/task/", &after, 0));
    EQ(after.st_nlink, 4);
}

TEST(the_personality_of_a_process)
{
    unsigned long old = OK(personality(0xffffffff));
    OK(personality(old | ADDR_NO_RANDOMIZE));
    EQ(strtoul(contents("/proc/self/personality"), NULL, 16), old | ADDR_NO_RANDOMIZE);
    OK(personality(old));
}

// systemd-sysctl goes on where it may not set a value, and fails where the value is refused.
TEST(knobs_that_only_show_are_not_opened_for_writing)
{
    FAILS(EACCES, open("/proc/sys/kernel/ostype", O_WRONLY));
    FAILS(EACCES, open("/proc/sys/kernel/random/boot_id", O_RDWR));
    int fd = open("/proc/sys/fs/protected_symlinks", O_RDWR);
    if (fd < 0)
        EQ(errno, EACCES);
    else
        EQ(pread(fd, text, sizeof text, 0), pwrite(fd, text, 2, 0));
}

// systemd mounts a hugetlbfs where /sys says that there are huge pages.
TEST(huge_pages_have_a_file_system)
{
    if (access("/sys/kernel/mm/hugepages", F_OK) == 0)
        CHECK(strstr(contents("/proc/filesystems"), "\thugetlbfs\n"));
}

MAIN()
