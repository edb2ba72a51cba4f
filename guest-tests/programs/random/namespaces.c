// Namespaces and the rights in them: three processes unshare, join each other's namespaces, write maps of ids, change ids and capabilities, and look at each other.
// After each step comes what has changed of them: ids, capabilities, maps, and which namespaces are the same.
// open: tmpfs
#include "orders.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

static const char *const kinds[] = {"user", "uts", "ipc", "mnt", "cgroup", "pid", "pid_for_children"};
static int here; // the folder that all works in; its name leads through others' folders

static pid_t other(void)
{
    int who = pick(WORKERS + 1);
    say(" of %d", who);
    return who < WORKERS && workers[who].pid ? workers[who].pid : getppid() ?: 1;
}
static const char *of_proc(const char *file)
{
    static char path[100];
    if (chance(40))
        snprintf(path, sizeof path, "/proc/self/%s", file), say(" own");
    else
        snprintf(path, sizeof path, "/proc/%d/%s", other(), file);
    return path;
}
static uint64_t number_of(pid_t pid, const char *kind)
{
    char path[100];
    struct stat s;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
    return stat(path, &s) ? 0 : s.st_ino;
}
static size_t show_file(char *to, pid_t pid, const char *name)
{
    char path[100], text[2000];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0)
        return sprintf(to, " %s: %s", name, strerrorname_np(errno));
    text[n] = 0;
    size_t used = sprintf(to, " %s:", name);
    for (char *word = strtok(text, " \t\n"); word; word = strtok(NULL, " \t\n"))
        used += sprintf(to + used, " %s", word);
    return used;
}
static size_t show_status(char *to, pid_t pid)
{
    static const char *const shown[] = {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"};
    char path[100], line[500];
    size_t used = 0;
    pid ? snprintf(path, sizeof path, "/proc/%d/status", pid) : snprintf(path, sizeof path, "/proc/self/status");
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            if (strncmp(line, shown[i], strlen(shown[i])) == 0)
                for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
                    used += sprintf(to + used, " %s", word);
    if (file)
        fclose(file);
    return used;
}
static void show_all(void)
{
    static char last[WORKERS][10000];
    static struct numbers seen[7];
    unsigned step = atoi(random_line);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < WORKERS; i++) {
        char text[10000];
        pid_t pid = workers[i].pid;
        size_t used = sprintf(text, "  [%d]", i);
        for (int k = 0; k < 7; k++)
            used += sprintf(text + used, " %s=%u", kinds[k], rank(&seen[k], number_of(pid, kinds[k])));
        used += show_status(text + used, pid);
        used += show_file(text + used, pid, "uid_map");
        used += show_file(text + used, pid, "gid_map");
        used += show_file(text + used, pid, "setgroups");
        if (strcmp(text, last[i]))
            random_flush(), say("%u: %s", step, text), strcpy(last[i], text);
    }
}

static const unsigned long new_bits[] = {CLONE_NEWUSER, CLONE_NEWUSER, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID};
static const int ids[] = {0, 0, 1, 1000, 1000, 1001, 65534, 100000, -1, 5};

ORDERED(8, unshare)
{
    static const unsigned long extra[] = {CLONE_FS, CLONE_FILES, CLONE_SYSVSEM, CLONE_THREAD, CLONE_SIGHAND, CLONE_VM, 1};
    unsigned long flags = SOME_OF(new_bits) | (chance(15) ? SOME_OF(extra) : 0);
    say(" %lx", flags);
    result(unshare(flags));
}
ORDERED(10, setns)
{
    static const int types[] = {0, 0, CLONE_NEWUSER, CLONE_NEWUTS, CLONE_NEWPID, CLONE_NEWNS};
    const char *kind = ONE_OF(kinds);
    char name[50];
    snprintf(name, sizeof name, "ns/%s", kind);
    int fd = open(of_proc(name), O_RDONLY | O_CLOEXEC), type = ONE_OF(types);
    say(" %s %x", kind, type);
    success(fd), result(setns(fd, type));
    close(fd);
    if (fchdir(here))
        _exit(1); // anywhere else names are those of the host

}
ORDERED(8, setns_pidfd)
{
    unsigned long flags = SOME_OF(new_bits);
    int fd = syscall(SYS_pidfd_open, other(), 0);
    say(" %lx", flags);
    success(fd), result(setns(fd, flags));
    close(fd);
    if (fchdir(here))
        _exit(1); // anywhere else names are those of the host

}
static void write_map(void)
{
    static const char *const files[] = {"uid_map", "uid_map", "gid_map", "gid_map", "setgroups"};
    static const char *const maps[] = {"0 0 1", "0 0 1\n", "0 1000 1", "1000 1000 1", "0 0 65536", "0 100000 65536\n", "0 0 10\n1000 1000 10\n", "0 0 10\n5 20 10\n", "0 0 10\n20 5 10\n", "0 0 0", "0 0 4294967295",
        "0 0 4294967296", "-1 0 1", "0 0", "0 0 1 1", "x", "\n", "0 0 1\n\n", " 0  0\t1 ", "0 1 1", "1 0 1", "0 0 1\n1 1 1\n2 2 1\n3 3 1\n4 4 1\n5 5 1\n6 6 1\n", "0 0 010", "4294967294 0 1", "4294967295 0 1", "0x0 0 1", "0 0 1 \n"};
    static const char *const words[] = {"deny", "deny", "allow", "deny\n", "allow\n", "deny x", "den", "denyallow", "deny\n\n", " deny"};
    const char *file = ONE_OF(files), *path = of_proc(file), *text = file[0] == 's' ? ONE_OF(words) : pick(3) ? maps[pick(7)] : ONE_OF(maps);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    say(" %s ", file);
    for (const char *c = text; *c; c++)
        *c == '\n' ? say("\\n") : say("%c", *c);
    bool written = fd >= 0 && write(fd, text, strlen(text)) > 0; // who may not write may learn it from open(2) or write(2)
    say(written ? " ok" : " %s", strerrorname_np(errno == EACCES ? EPERM : errno)), close(fd);
}
ORDERED(10, map) { write_map(); }
ACTION(10, map_from_outside)
{
    say("map");
    write_map(), show_all();
}
ORDERED(6, ids)
{
    int a = ONE_OF(ids), b = ONE_OF(ids), c = ONE_OF(ids);
    switch (pick(6)) {
    case 0:
        say(" setresuid %d %d %d", a, b, c), result(setresuid(a, b, c));
        break;
    case 1:
        say(" setresgid %d %d %d", a, b, c), result(setresgid(a, b, c));
        break;
    case 2:
        say(" setuid %d", a), result(setuid(a));
        break;
    case 3:
        say(" setgroups %d %d", a, b), result(setgroups(2, (gid_t[]){a, b}));
        break;
    case 4:
        say(" setfsuid %d", a), result(setfsuid(a)), result(setfsuid(-1));
        break;
    case 5:
        say(" setreuid %d %d", a, b), result(setreuid(a, b));
    }
    prctl(PR_SET_DUMPABLE, 1);
}
ORDERED(5, capabilities)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2] = {{0}};
    static const unsigned long some[] = {1 << CAP_SETUID, 1 << CAP_SETGID, 1 << CAP_SYS_ADMIN, 1 << CAP_CHOWN, 1 << CAP_DAC_OVERRIDE, 1 << CAP_SETPCAP, 1 << CAP_KILL};
    switch (pick(6)) {
    case 0:
        syscall(SYS_capget, &head, caps);
        caps[0].effective &= ~SOME_OF(some), caps[0].inheritable |= SOME_OF(some);
        if (chance(20))
            caps[0].permitted &= ~SOME_OF(some);
        say(" %x %x %x", caps[0].effective, caps[0].permitted, caps[0].inheritable);
        result(syscall(SYS_capset, &head, caps));
        break;
    case 1:
        syscall(SYS_capget, &head, caps);
        caps[0].effective = caps[0].permitted, caps[1].effective = caps[1].permitted;
        say(" raise"), result(syscall(SYS_capset, &head, caps));
        break;
    case 2: {
        static const int bits[] = {SECBIT_KEEP_CAPS, SECBIT_NO_SETUID_FIXUP, SECBIT_NOROOT, SECBIT_NO_CAP_AMBIENT_RAISE, 0, SECBIT_KEEP_CAPS_LOCKED};
        int set = ONE_OF(bits);
        say(" securebits %x", set), result(prctl(PR_SET_SECUREBITS, set)), result(prctl(PR_GET_SECUREBITS));
        break;
    }
    case 3:
        say(" bounding"), result(prctl(PR_CAPBSET_DROP, pick(45)));
        break;
    case 4: {
        int cap = pick(42);
        say(" ambient %d", cap), result(prctl(PR_CAP_AMBIENT, chance(70) ? PR_CAP_AMBIENT_RAISE : PR_CAP_AMBIENT_LOWER, cap, 0, 0)), result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0));
        break;
    }
    case 5:
        say(" keepcaps"), result(prctl(PR_SET_KEEPCAPS, pick(3)));
    }
}
ORDERED(6, ioctl)
{
    char name[50];
    snprintf(name, sizeof name, "ns/%s", ONE_OF(kinds));
    int fd = open(of_proc(name), O_RDONLY | O_CLOEXEC), more;
    say(" %s", name), success(fd);
    say(" type"), result(ioctl(fd, NS_GET_NSTYPE));
    uid_t owner = -2;
    say(" owner"), result(ioctl(fd, NS_GET_OWNER_UID, &owner)), say(" %d", owner);
    static const unsigned long up[] = {NS_GET_USERNS, NS_GET_PARENT};
    for (int i = 0; i < 2; i++) {
        struct stat s, mine;
        say(i ? " parent" : " user"), success(more = ioctl(fd, up[i]));
        if (more >= 0 && fstat(more, &s) == 0 && stat("/proc/self/ns/user", &mine) == 0)
            say(" %s flags %x", s.st_ino == mine.st_ino ? "mine" : "other", fcntl(more, F_GETFD));
        close(more);
    }
    close(fd);
}
ORDERED(3, hostname)
{
    char name[20];
    struct utsname uts;
    snprintf(name, sizeof name, "h%d", (int)pick(10));
    say(" %s", name), result(sethostname(name, strlen(name)));
    uname(&uts), say(" %s", uts.nodename);
}
ORDERED(8, files)
{
    static const char *const names[] = {"a", "b", "c", "zero", "user"};
    const char *name = ONE_OF(names);
    struct stat s;
    int fd = -1;
    say(" %s create", name), success(fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0640)), close(fd);
    if (chance(50)) {
        int uid = ONE_OF(ids), gid = ONE_OF(ids);
        say(" chown %d %d", uid, gid), result(chown(name, uid, gid));
    }
    if (chance(40)) {
        unsigned mode = pick(8) << 9 | 0644;
        say(" chmod %o", mode), result(chmod(name, mode));
    }
    if (stat(name, &s) == 0)
        say(" %o %d %d", s.st_mode, s.st_uid, s.st_gid);
    say(" read %d", access(name, R_OK)), say(" trusted"), result(setxattr(name, "trusted.x", "x", 1, 0)), say(" user"), result(setxattr(name, "user.x", "x", 1, 0));
    if (chance(20))
        say(" unlink"), result(unlink(name));
}
ORDERED(6, look)
{
    static const char *const links[] = {"ns/user", "ns/pid", "cwd", "root", "exe", "fd/0", "ns"};
    static const char *const files[] = {"status", "environ", "maps", "mem", "uid_map", "stat", "io", "stack", "auxv", "timerslack_ns"};
    char text[200];
    pid_t pid = other();
    const char *link = ONE_OF(links), *file = ONE_OF(files);
    snprintf(text, sizeof text, "/proc/%d/%s", pid, link);
    char to[300];
    say(" %s", link), success(readlink(text, to, sizeof to));
    snprintf(text, sizeof text, "/proc/%d/%s", pid, file);
    int fd;
    say(" %s", file), success(fd = open(text, O_RDONLY | O_CLOEXEC)), close(fd);
    say(" kill"), result(kill(pid, 0));
    struct stat s;
    snprintf(text, sizeof text, "/proc/%d", pid);
    if (stat(text, &s) == 0)
        say(" %d %d", s.st_uid, s.st_gid);
}
// A child with new namespaces tells what it is.
ORDERED(6, clone)
{
    unsigned long flags = SOME_OF(new_bits);
    int pipes[2];
    char text[2000];
    pipe2(pipes, O_CLOEXEC);
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        size_t used = sprintf(text, " pid %s of %d uid %d gid %d", getpid() == 1 ? "1" : "other", getppid() != 0, getuid(), getgid());
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct caps[2] = {{0}};
        syscall(SYS_capget, &head, caps);
        used += sprintf(text + used, " caps %x %x", caps[0].effective, caps[1].effective);
        write(pipes[1], text, used), _exit(0);
    }
    say(" %lx", flags), success(pid);
    close(pipes[1]);
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    say("%.*s", (int)(n > 0 ? n : 0), text);
    close(pipes[0]);
    waitpid(pid, NULL, 0);
}
ORDERED(6, exec)
{
    int pipes[2];
    char text[2000];
    const char *path = chance(70) ? "./program" : "./gprogram";
    pipe2(pipes, O_CLOEXEC);
    bool quiet = chance(20);
    pid_t pid = fork();
    if (pid == 0) {
        if (quiet)
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        dup2(pipes[1], 1);
        execl(path, path, "show", NULL);
        dprintf(1, " %s", strerrorname_np(errno)), _exit(0);
    }
    say(" %s %s", strrchr(path, '/'), quiet ? "no_new_privs" : ""), success(pid);
    close(pipes[1]);
    ssize_t n = pid < 0 ? 0 : read(pipes[0], text, sizeof text - 1);
    say("%.*s", (int)(n > 0 ? n : 0), text);
    close(pipes[0]);
    waitpid(pid, NULL, 0);
}
static void prepare(void)
{
    if (fchdir(here))
        _exit(1);
    unshare(CLONE_NEWUTS); // nobody may change the name of the namespace around
}
ACTION(6, restart)
{
    int who = pick(WORKERS);
    say("restart %d", who);
    end_worker(who), start_worker(who, prepare), show_all();
}
ACTION(2, owner)
{
    static const char *const names[] = {"program", "gprogram"};
    const char *name = ONE_OF(names);
    int uid = ONE_OF(ids), gid = ONE_OF(ids);
    say("%s is of %d %d", name, uid, gid), result(chown(name, uid, gid)), result(chmod(name, name[0] == 'g' ? 02755 : 04755));
}
static void begin(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2] = {{~(1u << CAP_SYS_RESOURCE), ~(1u << CAP_SYS_RESOURCE), 0}, {0x1ff, 0x1ff, 0}};
    prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE), syscall(SYS_capset, &head, caps); // which not everybody has to start with
    unshare(CLONE_NEWUTS), sethostname("h", 1);
    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fchmod(here, 01777);
    int from = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "gprogram" : "program";
        int to = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
        off_t at = 0;
        while (sendfile(to, from, &at, 1 << 20) > 0) {
        }
        close(to), chown(name, 1000, 1001), chmod(name, i ? 02755 : 04755);
    }
    for (int i = 0; i < WORKERS; i++)
        start_worker(i, prepare);
}
static int show(void)
{
    char text[5000];
    size_t used = show_status(text, 0);
    used += sprintf(text + used, " secure %lu dumpable %d", getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE));
    write(1, text, used);
    return 0;
}
int main(int argc, char **argv) { return argc == 2 && strcmp(argv[1], "show") == 0 ? show() : random_main(argc, argv, begin); }
