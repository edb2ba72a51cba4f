// /proc of a process, and the knobs of its namespaces: read in parts and written with odd texts, by itself, by its parent, and by another user, while the process
// changes what they tell.
// open: tmpfs
#include "orders.h"
#include <dirent.h>
#include <sched.h>

// Those that say the same in all systems. Worker 0 has the ids of root, 1 those of another user, 2 is as 1, and may not be dumped.
static const char *const texts[] = {"comm", "cmdline", "environ", "uid_map", "gid_map", "setgroups", "coredump_filter", "oom_score_adj", "timerslack_ns", "comm"};
static const char *const knobs[] = {"comm", "comm", "oom_score_adj", "coredump_filter", "timerslack_ns", "clear_refs"};
static const char *const sysctls[] = {"kernel/hostname", "kernel/domainname", "fs/mqueue/msg_max", "fs/mqueue/msgsize_max", "fs/mqueue/queues_max", "fs/mqueue/msg_default", "fs/mqueue/msgsize_default"};
static const char *const values[] = {"0", "1", "-1", "10", "100\n", " 7", "7 ", "7 8", "7\n8", "010", "-1000", "1000", "1001", "-1001", "x", "7x", "\n", " ", "4294967295", "4294967296", "2147483648", "33", "50000", "a name",
    "a name that is too long for it", "with\nlines", "+5", "--5", "0\n\n"};
enum { DEEP = 3 };
static int files[DEEP] = {-1, -1, -1}; // of each process

static const char *of_proc(const char *file)
{
    static char path[100];
    int who = pick(WORKERS + 1);
    say(" %d/%s", who, file);
    if (who == WORKERS || !workers[who].pid)
        snprintf(path, sizeof path, "/proc/self/%s", file);
    else
        snprintf(path, sizeof path, "/proc/%d/%s", workers[who].pid, file);
    return path;
}
static void show(const char *text, ssize_t n)
{
    say(" \"");
    for (ssize_t i = 0; i < n && i < 60; i++)
        text[i] == '\n' ? say("\\n") : text[i] >= ' ' && text[i] <= '~' ? say("%c", text[i]) : say("\\%o", (unsigned char)text[i]);
    say("\"");
    if (n > 60)
        say(" %x", sum_of(text, n));
}
#define PART(weight, id)                                                                                               \
    static void part_##id(void);                                                                                       \
    ACTION(weight, id)                                                                                                 \
    {                                                                                                                  \
        int who = pick(WORKERS + 1);                                                                                   \
        say("[%d] " #id, who);                                                                                         \
        who < WORKERS ? order(who, part_##id) : part_##id();                                                           \
    }                                                                                                                  \
    static void part_##id(void)

static const unsigned sizes[] = {0, 1, 2, 5, 15, 16, 17, 64, 100, 4096, 8000};

PART(20, read)
{
    static char text[8000];
    int fd;
    success(fd = open(of_proc(ONE_OF(texts)), O_RDONLY | O_CLOEXEC));
    for (int i = pick(3); i >= 0; i--) {
        unsigned size = ONE_OF(sizes), at = ONE_OF(sizes);
        if (chance(50)) {
            say(" read %u", size);
            ssize_t n = result(read(fd, text, size));
            show(text, n);
        } else if (chance(60)) {
            say(" pread %u %u", size, at);
            ssize_t n = result(pread(fd, text, size, at));
            show(text, n);
        } else {
            say(" lseek"), result(lseek(fd, (long)at - 10, pick(2)));
        }
    }
    close(fd);
}
// Whoever writes with one call from the start: what a second write, or one at an offset, does is not the same for all files, and nobody relies on it.
PART(20, write)
{
    int fd;
    const char *value = ONE_OF(values), *path = of_proc(ONE_OF(knobs));
    if (strstr(path, "comm") && strchr(value, '\n')) // Linux keeps the newline of echo(1), which is of no use to anybody
        return;
    success(fd = open(path, O_RDWR | O_CLOEXEC));
    if (fd < 0)
        success(fd = open(path, O_WRONLY | O_CLOEXEC));
    show(value, strlen(value)), result(write(fd, value, strlen(value)));
    close(fd);
    char text[100];
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text);
    show(text, n), close(fd);
}
PART(12, sysctl)
{
    char path[100], text[100];
    const char *name = ONE_OF(sysctls), *value = ONE_OF(values);
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    say(" %s", name);
    int fd;
    success(fd = open(path, O_RDWR | O_CLOEXEC));
    if (chance(70))
        show(value, strlen(value)), result(write(fd, value, strlen(value)));
    close(fd), fd = open(path, O_RDONLY | O_CLOEXEC);
    for (int i = pick(3); i >= 0; i--) { // all at once: Linux tells only the first part of a number
        ssize_t n = result(read(fd, text, sizeof text));
        show(text, n);
    }
    close(fd);
}
PART(12, status)
{
    static const char *const shown[] = {"Name:", "Umask:", "Uid:", "Gid:", "Groups:", "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:", "NoNewPrivs:", "Seccomp:", "CoreDumping:"};
    char line[500];
    FILE *file = fopen(of_proc("status"), "r");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            if (strncmp(line, shown[i], strlen(shown[i])) == 0)
                show(line, strcspn(line, "\n"));
    if (file)
        fclose(file);
}
PART(10, change)
{
    int signal = 1 + pick(64), what = pick(7);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, signal);
    say(" %d %d", what, signal);
    switch (what) {
    case 0:
        result(sigprocmask(pick(2), &set, NULL));
        break;
    case 1: {
        struct sigaction ignore = {.sa_handler = pick(2) ? SIG_IGN : SIG_DFL};
        if (signal != SIGCHLD && signal < 32)
            result(sigaction(signal, &ignore, NULL));
        break;
    }
    case 2:
        umask(pick(01000));
        break;
    case 3:
        result(prctl(PR_SET_NAME, ONE_OF(values)));
        break;
    case 4:
        result(prctl(PR_SET_DUMPABLE, pick(2)));
        break;
    case 5:
        result(prctl(PR_SET_TIMERSLACK, pick(3) * 1000));
        break;
    case 6:
        say(" pending"); // only those that do no harm when they come
        result(kill(getpid(), (int[]){SIGURG, SIGWINCH, SIGCONT}[signal % 3]));
    }
}
PART(12, fdinfo)
{
    static const int flags[] = {0, O_CLOEXEC, O_APPEND, O_NONBLOCK, O_PATH, O_DIRECTORY, O_NOATIME, O_SYNC};
    int slot = pick(DEEP), number = 200 + slot;
    if (chance(50)) {
        int flag = ONE_OF(flags), fd = open(flag == O_DIRECTORY || chance(20) ? "." : "file", flag | (flag & (O_PATH | O_DIRECTORY) ? 0 : O_CREAT), 0600);
        if (fd >= 0)
            dup3(fd, number, flag & O_CLOEXEC), close(fd), files[slot] = number;
        say(" open %x", flag), success(fd);
    }
    lseek(number, pick(100), SEEK_SET);
    char name[50], text[500];
    snprintf(name, sizeof name, "fdinfo/%d", number);
    int fd = open(of_proc(name), O_RDONLY | O_CLOEXEC);
    success(fd);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    char *end = strstr(text, "mnt_id:");
    show(text, end ? end - text : n), close(fd);
}
PART(12, look)
{
    static const char *const names[] = {"environ", "fd", "fdinfo", "ns", "cwd", "exe", "root", "maps", "mem", "stat", "status", "limits", "task", "auxv", "io", "comm", "none", "cmdline", "setgroups", "uid_map", "timerslack_ns", "wchan"};
    const char *path = of_proc(ONE_OF(names));
    struct stat s;
    char text[300];
    say(" lstat"), result(lstat(path, &s));
    if (lstat(path, &s))
        return;
    // Owners are left out of processes that may not be dumped: Linux tells them by when their folder was looked up last.
    say(" %o %d %d", s.st_mode, s.st_nlink > 1, (int)s.st_size);
    say(" readlink"), success(readlink(path, text, sizeof text));
    int fd, modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_DIRECTORY, O_PATH}, mode = ONE_OF(modes);
    if (S_ISLNK(s.st_mode))
        mode = O_PATH;
    say(" open %x", mode), success(fd = open(path, mode | O_CLOEXEC, 0600)), close(fd);
    for (int i = 1; i < 8; i <<= 1)
        say(" %d", S_ISLNK(s.st_mode) ? 0 : access(path, i >> 1));
    // No chmod(2) or the like by these names: links of /proc lead to the root folder and the program, on the host.
}
PART(6, list)
{
    static const char *const names[] = {"fd", "fdinfo", "task", "ns"};
    const char *name = ONE_OF(names);
    DIR *dir = opendir(of_proc(name));
    int count = 0, numbers = 0;
    struct dirent *entry;
    success(dir ? 0 : -1);
    while (dir && (entry = readdir(dir)))
        count++, numbers += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    if (dir && name[0] != 'n')
        say(" %d %d", count, numbers);
    if (dir)
        closedir(dir);
}
static void prepare(void)
{
    unshare(CLONE_NEWUTS | CLONE_NEWIPC);
    for (int i = 0; i < DEEP; i++)
        close(200 + i);
    if (me > 0) {
        setresgid(1000, 1000, 1000), setresuid(1000, 1000, 1000);
        prctl(PR_SET_DUMPABLE, me == 1);
    }
}
ACTION(3, restart)
{
    int who = pick(WORKERS);
    say("restart %d", who);
    end_worker(who), start_worker(who, prepare);
}
static void begin(void)
{
    unshare(CLONE_NEWUTS | CLONE_NEWIPC);
    sethostname("h", 1), setdomainname("d", 1);
    chmod(".", 01777);
    close(open("file", O_CREAT | O_WRONLY, 0666));
    for (int i = 0; i < WORKERS; i++)
        start_worker(i, prepare);
}
// The same arguments and environment everywhere.
int main(int argc, char **argv)
{
    static char *const environment[] = {"A=one", "B=two words", "EMPTY=", NULL};
    if (argc == 3 && !getenv("EMPTY"))
        execve("/proc/self/exe", (char *const[]){"proc", argv[1], argv[2], NULL}, environment);
    return random_main(argc, argv, begin);
}
