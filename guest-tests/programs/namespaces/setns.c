// Namespaces as files, and setns(2) into them: namespaces(7), ioctl_nsfs(2).
#include "check.h"
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

static int pidfd_of(pid_t pid) { return syscall(SYS_pidfd_open, pid, 0); }
static int ns_file(pid_t pid, const char *type)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, type);
    return OK(open(path, O_RDONLY | O_CLOEXEC));
}
static const char *ns_name(const char *owner, const char *type)
{
    static char text[2][64];
    static int turn;
    char path[64], *to = text[turn ^= 1];
    snprintf(path, sizeof path, "/proc/%s/ns/%s", owner, type);
    to[OK(readlink(path, to, 63))] = 0;
    return to;
}
static const char *host_name(void)
{
    static struct utsname names;
    OK(uname(&names));
    return names.nodename;
}
// A child in new namespaces that says when it has done `setup`, and waits for its end.
#define IN_NEW(flags, ...)                                                                                             \
    ({                                                                                                                 \
        int ready_[2];                                                                                                 \
        OK(pipe2(ready_, O_CLOEXEC));                                                                                  \
        pid_t new_ = OK(fork());                                                                                       \
        if (new_ == 0) {                                                                                               \
            if (unshare(flags) < 0)                                                                                    \
                _exit(EXIT_SKIP);                                                                                      \
            __VA_ARGS__;                                                                                               \
            OK(write(ready_[1], "x", 1));                                                                              \
            for (;;)                                                                                                   \
                pause();                                                                                               \
        }                                                                                                              \
        OK(close(ready_[1]));                                                                                          \
        if (read(ready_[0], &(char){0}, 1) != 1)                                                                       \
            SKIP("no namespaces of its own");                                                                          \
        OK(close(ready_[0]));                                                                                          \
        new_;                                                                                                          \
    })
static void end(pid_t pid)
{
    OK(kill(pid, SIGKILL));
    WAIT_STATUS(pid, KILLED(SIGKILL));
}

TEST(each_is_a_file_of_its_own_number)
{
    static const char *types[] = {"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts"};
    for (int i = 0; i < 8; i++) {
        int fd = ns_file(getpid(), types[i]);
        struct stat st;
        OK(fstat(fd, &st));
        EQ(st.st_mode, S_IFREG | 0444);
        char wanted[64], path[64], text[64] = {0};
        snprintf(wanted, sizeof wanted, "%s:[%lu]", i == 5 ? "pid" : types[i], (unsigned long)st.st_ino);
        STREQ(ns_name("self", types[i]), wanted);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        OK(readlink(path, text, 63));
        STREQ(text, wanted);
        struct statfs fs;
        OK(fstatfs(fd, &fs));
        EQ(fs.f_type, NSFS_MAGIC);
        FAILS(EINVAL, read(fd, text, 1));
        snprintf(path, sizeof path, "/proc/self/ns/%s", types[i]);
        OK(close(fd));
    }
    pid_t same = FORK(pause());
    char number[16];
    snprintf(number, sizeof number, "%d", same);
    STREQ(ns_name(number, "net"), ns_name("self", "net"));
    end(same);
    pid_t other = IN_NEW(CLONE_NEWUTS);
    snprintf(number, sizeof number, "%d", other);
    CHECK(strcmp(ns_name(number, "uts"), ns_name("self", "uts")));
    STREQ(ns_name(number, "ipc"), ns_name("self", "ipc"));
    end(other);
}

TEST(a_host_name_is_that_of_the_namespace)
{
    pid_t other = IN_NEW(CLONE_NEWUTS, OK(sethostname("elsewhere", 9)));
    int here = ns_file(getpid(), "uts"), there = ns_file(other, "uts");
    char before[65];
    snprintf(before, sizeof before, "%s", host_name());
    CHECK(strcmp(before, "elsewhere"));
    OK(setns(there, CLONE_NEWUTS));
    STREQ(host_name(), "elsewhere");
    STREQ(ns_name("self", "uts"), ns_name("thread-self", "uts"));
    OK(setns(here, 0));
    STREQ(host_name(), before);
    // It lives on in its file.
    end(other);
    OK(setns(there, 0));
    STREQ(host_name(), "elsewhere");
}

TEST(what_is_no_namespace_is_refused)
{
    int uts = ns_file(getpid(), "uts"), path = OK(open("/proc/self/ns/uts", O_PATH)), file = OK(open("/dev/null", O_RDONLY));
    FAILS(EINVAL, setns(uts, CLONE_NEWNET));
    FAILS(EINVAL, setns(uts, CLONE_NEWUTS | CLONE_NEWNET));
    FAILS(EINVAL, setns(file, 0));
    FAILS(EBADF, setns(path, 0));
    FAILS(EBADF, setns(-1, 0));
    int self = OK(pidfd_of(getpid()));
    FAILS(EINVAL, setns(self, 0));
    FAILS(EINVAL, setns(self, CLONE_NEWUTS | CLONE_FS));
    pid_t child = FORK(_exit(0));
    int gone = OK(pidfd_of(child));
    WAIT_OK(child);
    FAILS(ESRCH, setns(gone, CLONE_NEWUTS));
}

TEST(without_the_capability_nobody_enters)
{
    pid_t other = IN_NEW(CLONE_NEWUTS | CLONE_NEWNET);
    int uts = ns_file(other, "uts"), net = ns_file(other, "net"), process = OK(pidfd_of(other));
    OK(setresuid(1000, 1000, 1000));
    FAILS(EPERM, setns(uts, 0));
    FAILS(EPERM, setns(net, 0));
    FAILS(EPERM, setns(process, CLONE_NEWUTS));
    // Its own user namespace gives no power over others'.
    if (unshare(CLONE_NEWUSER) < 0)
        SKIP("no user namespaces");
    FAILS(EPERM, setns(uts, 0));
    _exit(0);
}

TEST(mounts_root_and_working_folder_are_those_of_the_namespace)
{
    OK(mkdir("m", 0755));
    char place[PATH_MAX + 16];
    CHECK(realpath("m", place));
    pid_t other = IN_NEW(CLONE_NEWNS, ({
                             OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
                             OK(mount("m", "m", "tmpfs", 0, NULL));
                             OK(mkdir("m/inside", 0755));
                         }));
    strcat(place, "/inside");
    int there = ns_file(other, "mnt");
    FAILS(ENOENT, access(place, F_OK));
    OK(setns(there, CLONE_NEWNS));
    OK(access(place, F_OK));
    char here[PATH_MAX];
    CHECK(getcwd(here, sizeof here));
    STREQ(here, "/");
    end(other);
    OK(access(place, F_OK));
}

static void *asleep(void *none)
{
    pause();
    return none;
}
static int asleep_clone(void *none)
{
    return asleep(none) != NULL;
}

TEST(who_shares_its_folders_stays)
{
    pid_t other = IN_NEW(CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWUTS);
    int mnt = ns_file(other, "mnt"), user = ns_file(other, "user");
    static char stack[65536];
    pid_t sharer = OK(clone(asleep_clone, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL));
    FAILS(EINVAL, setns(mnt, 0));
    FAILS(EINVAL, setns(user, 0));
    end(sharer);
    pthread_t thread;
    ZERO(pthread_create(&thread, NULL, asleep, NULL));
    FAILS(EINVAL, setns(mnt, 0));
    FAILS(EINVAL, setns(user, 0));
}

TEST(children_are_born_in_the_entered_pid_namespace)
{
    int ready[2];
    OK(pipe(ready));
    pid_t other = OK(fork());
    if (other == 0) {
        if (unshare(CLONE_NEWPID) < 0)
            _exit(EXIT_SKIP);
        pid_t init = FORK(pause());
        OK(write(ready[1], &init, sizeof init));
        pause();
    }
    close(ready[1]);
    pid_t init;
    if (read(ready[0], &init, sizeof init) != sizeof init)
        SKIP("no PID namespaces");
    pid_t me = getpid();
    int there = ns_file(init, "pid"), here = ns_file(me, "pid");
    OK(setns(there, CLONE_NEWPID));
    EQ(getpid(), me);
    CHECK(strcmp(ns_name("self", "pid"), ns_name("self", "pid_for_children")));
    // `other` itself has the same one for its children.
    char number[16];
    snprintf(number, sizeof number, "%d", other);
    STREQ(ns_name(number, "pid_for_children"), ns_name("self", "pid_for_children"));
    WAIT_OK(FORK({
        EQ(getpid(), 2);
        EQ(getppid(), 0);
        // Ancestors' are out of reach.
        FAILS(EINVAL, setns(here, CLONE_NEWPID));
    }));
    OK(setns(here, CLONE_NEWPID));
    WAIT_OK(FORK(CHECK(getpid() > 2)));
    struct pollfd ended = {.fd = pidfd_of(init), .events = POLLIN};
    OK(kill(init, SIGKILL));
    EQ(poll(&ended, 1, 5000), 1);
    end(other);
    OK(setns(there, CLONE_NEWPID));
    FAILS(ENOMEM, fork());
}

TEST(in_a_user_namespace_all_capabilities_are_there)
{
    pid_t other = IN_NEW(CLONE_NEWUSER | CLONE_NEWUTS, OK(sethostname("below", 5)));
    int user = ns_file(other, "user"), uts = ns_file(other, "uts"), mine = ns_file(getpid(), "user");
    FAILS(EINVAL, setns(mine, 0));
    OK(setns(user, CLONE_NEWUSER));
    FAILS(EINVAL, setns(user, CLONE_NEWUSER));
    FAILS(EPERM, setns(mine, CLONE_NEWUSER));
    OK(setns(uts, 0));
    OK(sethostname("changed", 7));
    STREQ(host_name(), "changed");
    end(other);
}

TEST(several_of_a_process_at_once)
{
    OK(mkdir("m", 0755));
    char place[PATH_MAX + 16];
    CHECK(realpath("m", place));
    pid_t other = IN_NEW(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWUSER, ({
                             write_file("/proc/self/uid_map", "0 0 1");
                             write_file("/proc/self/setgroups", "deny");
                             write_file("/proc/self/gid_map", "0 0 1");
                             OK(mount("m", "m", "tmpfs", 0, NULL));
                             OK(mkdir("m/inside", 0755));
                             OK(sethostname("both", 4));
                         }));
    strcat(place, "/inside");
    OK(setns(OK(pidfd_of(other)), CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS));
    OK(access(place, F_OK));
    STREQ(host_name(), "both");
    end(other);
}

TEST(one_that_fails_changes_nothing)
{
    pid_t other = IN_NEW(CLONE_NEWUTS, OK(sethostname("never", 5)));
    int process = OK(pidfd_of(other));
    char before[65];
    snprintf(before, sizeof before, "%s", host_name());
    WAIT_OK(FORK({
        OK(unshare(CLONE_NEWPID));
        WAIT_OK(FORK({
            FAILS(EINVAL, setns(process, CLONE_NEWUTS | CLONE_NEWPID)); // the latter is an ancestor's
            STREQ(host_name(), before);
        }));
    }));
    end(other);
}

TEST(files_tell_type_owner_and_parent)
{
    int uts = ns_file(getpid(), "uts"), user = ns_file(getpid(), "user");
    EQ(OK(ioctl(uts, NS_GET_NSTYPE)), CLONE_NEWUTS);
    EQ(OK(ioctl(user, NS_GET_NSTYPE)), CLONE_NEWUSER);
    FAILS(EINVAL, ioctl(uts, NS_GET_PARENT));
    FAILS(ENOTTY, ioctl(uts, _IO(NSIO, 0x77)));
    uid_t uid;
    FAILS(EINVAL, ioctl(uts, NS_GET_OWNER_UID, &uid));
    FAILS(EPERM, ioctl(user, NS_GET_PARENT)); // above what it may see
    pid_t other = IN_NEW(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWPID);
    int below = ns_file(other, "user"), its = ns_file(other, "uts"), pids = ns_file(getpid(), "pid");
    OK(ioctl(below, NS_GET_OWNER_UID, &uid));
    EQ(uid, geteuid());
    struct stat a, b;
    int owner = OK(ioctl(its, NS_GET_USERNS));
    EQ(OK(fcntl(owner, F_GETFD)), FD_CLOEXEC);
    OK(fstat(owner, &a)), OK(fstat(below, &b));
    EQ(a.st_ino, b.st_ino);
    EQ(a.st_dev, b.st_dev);
    int parent = OK(ioctl(below, NS_GET_PARENT));
    OK(fstat(parent, &a)), OK(fstat(user, &b));
    EQ(a.st_ino, b.st_ino);
    FAILS(EPERM, ioctl(pids, NS_GET_PARENT));
    end(other);
}

TEST(a_mounted_one_outlives_its_processes)
{
    // Which one is older Linux tells for sure only of those that were made on the same processor.
    cpu_set_t one;
    OK(sched_getaffinity(0, sizeof one, &one));
    int first = 0;
    while (!CPU_ISSET(first, &one))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    OK(sched_setaffinity(0, sizeof one, &one));
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    write_file("kept", "");
    pid_t other = IN_NEW(CLONE_NEWUTS | CLONE_NEWNS, OK(sethostname("kept", 4)));
    char path[64], wanted[64], line[4096];
    snprintf(path, sizeof path, "/proc/%d/ns/uts", other);
    snprintf(wanted, sizeof wanted, "%.*s", (int)OK(readlink(path, line, 63)), line);
    OK(mount(path, "kept", NULL, MS_BIND, NULL));
    // A namespace's own mounts must not hold it, nor those that hold its file.
    FAILS(EINVAL, mount("/proc/self/ns/mnt", "kept", NULL, MS_BIND, NULL));
    write_file("mounts", "");
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", other);
    OK(mount(path, "mounts", NULL, MS_BIND, NULL));
    end(other);
    bool seen = false;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        seen |= strstr(line, wanted) && strstr(line, "/kept ") && strstr(line, " - nsfs nsfs ");
    fclose(file);
    CHECK(seen);
    // A copy of the mounts leaves out what could hold them.
    WAIT_OK(FORK({
        OK(unshare(CLONE_NEWNS));
        FAILS(EINVAL, umount("mounts"));
        OK(umount("kept"));
    }));
    int fd = OK(open("kept", O_RDONLY));
    OK(setns(fd, CLONE_NEWUTS));
    STREQ(host_name(), "kept");
    FAILS(EBUSY, umount("kept"));
    OK(close(fd));
    OK(umount("kept")), OK(umount("mounts"));
    OK(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL));
    other = IN_NEW(CLONE_NEWNS);
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", other);
    FAILS(EINVAL, mount(path, "mounts", NULL, MS_BIND, NULL)); // it would come to peers
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    end(other);
}

// SIGKILL from outside ends the first process of a PID namespace, however it is sent.
TEST(an_init_is_killed_from_outside)
{
    for (int how = 0; how < 4; how++) {
        pid_t init = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
        if (init < 0 && (errno == EPERM || errno == EINVAL))
            SKIP("no PID namespaces");
        OK(init);
        if (init == 0)
            for (;;)
                pause();
        siginfo_t info = {.si_signo = SIGKILL, .si_code = SI_QUEUE};
        info.si_pid = getpid();
        int fd = pidfd_of(OK(init));
        switch (how) {
        case 0: OK(kill(init, SIGKILL)); break;
        case 1: OK(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0)); break;
        case 2: OK(syscall(SYS_pidfd_send_signal, fd, SIGKILL, &info, 0)); break;
        case 3: OK(syscall(SYS_rt_sigqueueinfo, init, SIGKILL, &info)); break;
        }
        WAIT_STATUS(init, KILLED(SIGKILL));
        OK(close(fd));
    }
}
MAIN()
