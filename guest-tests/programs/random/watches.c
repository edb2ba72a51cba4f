// What tells of files and guards them: inotify, record locks of both kinds and flocks by several processes, leases, F_NOTIFY. A few files are used at random; after
// each step stand the events that came and, from time to time, the locks there are.
// open: tmpfs overlay bind
#include "random.h"
#include <dirent.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

enum { PROCESSES = 3, FILES = 4, WATCHERS = 2 };
static const char *const names[] = {"a", "a", "b", "c", "d", "d/a", "d/a", "d/b", "e", "e/a"};
static int watchers[WATCHERS], folder = -1;
static volatile struct seen {
    int signal, code, fd;
} seen[8];
static volatile unsigned count_seen;

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (count_seen < 8)
        seen[count_seen] = (struct seen){signal, info->si_code, info->si_fd};
    count_seen++;
}

// One call of one process: the steps are made one after the other, whoever makes them.
struct order {
    enum { OPEN, CLOSE, LOCK, FLOCK, DUP, LEASE, GET_LEASE, LEAVE } what;
    int file, command, number, error;
    long value;
    struct flock lock;
};
static int channel[PROCESSES], files[FILES];
static pid_t processes[PROCESSES];

static void carry_out(struct order *is)
{
    errno = 0;
    switch (is->what) {
    case OPEN:
        close(files[is->file]);
        files[is->file] = open(is->number ? "lock2" : "lock1", is->command | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600);
        is->value = files[is->file] < 0 ? -1 : 0;
        break;
    case CLOSE: is->value = close(files[is->file]), files[is->file] = -1; break;
    case LOCK: is->value = fcntl(files[is->file], is->command, &is->lock); break;
    case FLOCK: is->value = flock(files[is->file], is->command | LOCK_NB); break;
    case DUP: is->value = files[is->file] < 0 || is->number == is->file ? 0 : dup2(files[is->file], files[is->number]) < 0 ? -1 : 0; break;
    case LEASE: is->value = fcntl(files[is->file], F_SETLEASE, is->command); break;
    case GET_LEASE: is->value = fcntl(files[is->file], F_GETLEASE); break;
    case LEAVE: break;
    }
    is->error = errno;
}
static void serve(int at)
{
    struct order is;
    while (read(at, &is, sizeof is) == sizeof is && is.what != LEAVE)
        carry_out(&is), write(at, &is, sizeof is);
    for (int i = 1; i < FILES; i++) // in which order the end of a process closes files is nobody's business
        close(files[i]);
    _exit(0);
}
static void start(int who)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    if (!(processes[who] = fork())) {
        for (int i = 0; i < PROCESSES; i++)
            close(channel[i]);
        for (int i = 0; i < FILES; i++)
            close(files[i]), files[i] = -1;
        close(pair[0]);
        write(pair[1], "", 1); // what was inherited is closed
        serve(pair[1]);
    }
    close(pair[1]), channel[who] = pair[0];
    read(channel[who], &(char){0}, 1);
}
static int who_is(pid_t pid)
{
    for (int i = 0; i < PROCESSES; i++)
        if (pid == processes[i])
            return i;
    return pid == -1 ? -1 : 99;
}
static long ask(int who, struct order *is)
{
    if (who == 0)
        carry_out(is);
    else if (write(channel[who], is, sizeof *is) != sizeof *is || read(channel[who], is, sizeof *is) != sizeof *is)
        say(" lost");
    errno = is->error;
    return result(is->value);
}
static void begin(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGIO, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    for (int i = 0; i < FILES; i++)
        files[i] = -1;
    for (int i = 0; i < WATCHERS; i++)
        watchers[i] = fcntl(inotify_init1(IN_NONBLOCK | IN_CLOEXEC), F_DUPFD_CLOEXEC, 500);
    for (int i = 0; i < PROCESSES; i++)
        channel[i] = -1;
    processes[0] = getpid();
    for (int i = 1; i < PROCESSES; i++)
        start(i);
    mkdir("d", 0755);
}
static void events(int which, size_t size)
{
    static _Alignas(8) char buffer[70000];
    static unsigned cookies[1024];
    long n = read(watchers[which], buffer, size);
    if (n < 0 && errno == EAGAIN)
        return;
    say(" <%d", which), result(n);
    for (long at = 0; at < n;) {
        struct inotify_event *is = (void *)(buffer + at);
        unsigned cookie = 0; // cookies are numbered anew, in the order in which they are seen
        for (; is->cookie && cookie < 1023 && cookies[cookie] && cookies[cookie] != is->cookie; cookie++) {
        }
        if (is->cookie)
            cookies[cookie++] = is->cookie;
        say(" %d:%x:%u:%s/%u", is->wd, is->mask, cookie, is->len ? is->name : "", is->len);
        at += sizeof *is + is->len;
    }
    say(">");
}
static void state(void)
{
    for (int which = 0; which < WATCHERS; which++) {
        int bytes = 0;
        ioctl(watchers[which], FIONREAD, &bytes);
        if (bytes)
            say(" w%d/%d/%d", which, bytes, poll(&(struct pollfd){watchers[which], POLLIN, 0}, 1, 0));
        if (chance(60) || bytes > 3000)
            for (int i = 0; bytes && i < 3; i++)
                events(which, sizeof(struct inotify_event) + 16 * (i * 1000 + pick(20)));
    }
    for (unsigned i = 0; i < count_seen && i < 8; i++)
        say(" SIG%d.%d", seen[i].signal, seen[i].code);
    count_seen = 0;
}

static const unsigned long masks[] = {IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT};
SHOWN(14, watch)
{
    static const unsigned extras[] = {0, 0, 0, 0, IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_MASK_ADD, IN_ONESHOT, IN_MASK_CREATE, IN_MASK_CREATE | IN_MASK_ADD};
    int which = pick(WATCHERS);
    unsigned mask = (chance(50) ? IN_ALL_EVENTS : SOME_OF(masks)) | ONE_OF(extras);
    const char *path = chance(30) ? "." : ONE_OF(names);
    say("watch %d %s %x", which, path, mask);
    result(inotify_add_watch(watchers[which], path, mask));
}
SHOWN(4, unwatch)
{
    int which = pick(WATCHERS), number = 1 + pick(20);
    say("unwatch %d %d", which, number);
    result(inotify_rm_watch(watchers[which], number));
}
SHOWN(2, renew_watcher)
{
    int which = pick(WATCHERS);
    say("new watcher %d", which);
    close(watchers[which]);
    watchers[which] = fcntl(inotify_init1(IN_NONBLOCK | IN_CLOEXEC), F_DUPFD_CLOEXEC, 500);
}
SHOWN(16, make)
{
    const char *path = ONE_OF(names), *to = ONE_OF(names);
    switch (pick(7)) {
    case 0: say("mkdir %s", path), result(mkdir(path, 0755)); break;
    case 1: say("symlink %s %s", path, to), result(symlink(path, to)); break;
    case 2: say("link %s %s", path, to), result(link(path, to)); break;
    case 3: say("mknod %s", path), result(mknod(path, S_IFREG | 0644, 0)); break;
    case 4: say("mkfifo %s", path), result(mkfifo(path, 0644)); break;
    default: say("create %s", path), result(close(open(path, O_CREAT | O_WRONLY | O_NONBLOCK | (chance(30) ? O_TRUNC : 0), 0644)));
    }
}
SHOWN(16, move)
{
    const char *from = ONE_OF(names), *to = ONE_OF(names);
    unsigned flags = chance(70) ? 0 : 1 + pick(2);
    say("rename %s %s %u", from, to, flags);
    result(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags));
}
SHOWN(10, take)
{
    const char *path = ONE_OF(names);
    bool folder = chance(30);
    say("%s %s", folder ? "rmdir" : "unlink", path);
    result(folder ? rmdir(path) : unlink(path));
}
SHOWN(20, use)
{
    const char *path = ONE_OF(names);
    char buffer[100] = "hello";
    struct stat st;
    if (stat(path, &st))
        return say("no %s", path);
    if (S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(path);
        say("list %s", path), success(dir ? 0 : -1);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
        }
        return (void)(dir && closedir(dir));
    }
    if (!S_ISREG(st.st_mode))
        return;
    switch (pick(8)) {
    case 0: say("truncate %s", path), result(truncate(path, pick(10))); return;
    case 1: say("chmod %s", path), result(chmod(path, 0600 | pick(0100))); return;
    case 2: say("utimes %s", path), result(utimensat(AT_FDCWD, path, (struct timespec[]){{pick(9)}, {.tv_nsec = chance(50) ? UTIME_OMIT : UTIME_NOW}}, 0)); return;
    case 3: say("chown %s", path), result(chown(path, 0, 0)); return;
    }
    int flags = O_RDWR | (chance(20) ? O_TRUNC : 0) | (chance(20) ? O_APPEND : 0) | O_NONBLOCK, fd = open(path, flags);
    say("use %s %x", path, flags), success(fd);
    for (int i = pick(4); i > 0 && fd >= 0; i--)
        switch (pick(9)) {
        case 0: say(" write"), result(write(fd, buffer, pick(6))); break;
        case 1: say(" read"), result(read(fd, buffer, pick(6))); break;
        case 2: say(" pwrite"), result(pwrite(fd, buffer, 3, 0)); break;
        case 3: say(" pread"), result(pread(fd, buffer, 3, 0)); break;
        case 4: say(" ftruncate"), result(ftruncate(fd, pick(10))); break;
        case 5: say(" fchmod"), result(fchmod(fd, 0644)); break;
        case 6: say(" fallocate"), result(fallocate(fd, chance(50) ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5)); break;
        case 7: say(" unlink"), result(unlink(path)); break;
        case 8: say(" mmap"), munmap(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), 4096); break;
        }
    close(fd);
}
SHOWN(3, notify)
{
    static const unsigned long kinds[] = {DN_ACCESS, DN_MODIFY, DN_CREATE, DN_DELETE, DN_RENAME, DN_ATTRIB, DN_MULTISHOT};
    const char *path = chance(70) ? "d" : ".";
    unsigned long kind = SOME_OF(kinds);
    say("F_NOTIFY %s %lx", path, kind);
    if (chance(50) || folder < 0)
        close(folder), folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chance(30))
        result(fcntl(folder, F_SETSIG, SIGRTMIN + 1));
    fcntl(folder, F_NOTIFY, 0);
    result(fcntl(folder, F_NOTIFY, kind));
}

SHOWN(10, open_file)
{
    static const int ways[] = {O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDONLY | O_TRUNC};
    int who = pick(PROCESSES);
    struct order is = {OPEN, .file = pick(FILES), .number = chance(30), .command = ONE_OF(ways)};
    say("open by %d: %d lock%d %o", who, is.file, 1 + is.number, is.command);
    ask(who, &is);
}
SHOWN(40, lock)
{
    static const int commands[] = {F_SETLK, F_SETLK, F_SETLK, F_GETLK, F_GETLK, F_OFD_SETLK, F_OFD_SETLK, F_OFD_GETLK};
    static const long edges[] = {0, 0, 1, -1, 100, INT64_MAX, INT64_MAX - 1, INT64_MIN, -50};
    int who = pick(PROCESSES);
    struct order is = {LOCK, .file = pick(FILES), .command = ONE_OF(commands), .lock = {.l_type = pick(3), .l_whence = chance(85) ? SEEK_SET : pick(4), .l_start = chance(90) ? (long)pick(30) : ONE_OF(edges), .l_len = chance(90) ? (long)pick(15) : ONE_OF(edges)}};
    if (chance(2))
        is.lock.l_pid = 5, is.lock.l_type = chance(50) ? is.lock.l_type : 7;
    say("lock by %d: %d cmd %d type %d whence %d %ld+%ld", who, is.file, is.command, is.lock.l_type, is.lock.l_whence, (long)is.lock.l_start, (long)is.lock.l_len);
    bool gets = is.command == F_GETLK || is.command == F_OFD_GETLK;
    if (!ask(who, &is) && gets)
        say(" type %d whence %d %ld+%ld by %d", is.lock.l_type, is.lock.l_whence, (long)is.lock.l_start, (long)is.lock.l_len, is.lock.l_type == F_UNLCK ? 0 : who_is(is.lock.l_pid));
}
SHOWN(10, flock)
{
    static const int ways[] = {LOCK_SH, LOCK_EX, LOCK_UN, LOCK_SH | LOCK_EX, 0};
    int who = pick(PROCESSES);
    struct order is = {FLOCK, .file = pick(FILES), .command = ways[pick(20) ? pick(3) : 3 + pick(2)]};
    say("flock by %d: %d %d", who, is.file, is.command);
    ask(who, &is);
}
SHOWN(6, close_or_dup)
{
    int who = pick(PROCESSES);
    struct order is = {chance(60) ? CLOSE : DUP, .file = pick(FILES), .number = pick(FILES)};
    say("%s by %d: %d %d", is.what == CLOSE ? "close" : "dup", who, is.file, is.number);
    ask(who, &is);
}
SHOWN(5, lease)
{
    struct order is = {chance(70) ? LEASE : GET_LEASE, .file = pick(FILES), .command = pick(3)};
    say("%s: %d %d", is.what == LEASE ? "lease" : "get lease", is.file, is.command);
    ask(0, &is);
}
SHOWN(2, leave)
{
    int who = 1 + pick(PROCESSES - 1);
    say("leave %d", who);
    write(channel[who], &(struct order){LEAVE}, sizeof(struct order));
    waitpid(processes[who], NULL, 0);
    close(channel[who]);
    start(who);
}
// The lines of /proc/locks about the two files, sorted.
SHOWN(8, locks)
{
    struct stat st[2] = {0};
    char line[200], kept[64][80];
    int count = 0;
    stat("lock1", &st[0]), stat("lock2", &st[1]);
    FILE *file = fopen("/proc/locks", "r");
    say("locks");
    while (file && fgets(line, sizeof line, file)) {
        char kind[20], way[20], type[20], from[30], to[30];
        int pid, major, minor;
        unsigned long number;
        if (sscanf(line, "%*d: %19s %19s %19s %d %x:%x:%lu %29s %29s", kind, way, type, &pid, &major, &minor, &number, from, to) != 9)
            continue;
        for (int i = 0; i < 2 && count < 64 && strcmp(kind, "LEASE"); i++) // leases are not told in stockade
            if (st[i].st_ino == number)
                snprintf(kept[count++], sizeof kept[0], " [%d %s %s %s %d %s-%s]", i + 1, kind, way, type, who_is(pid), from, to);
    }
    if (file)
        fclose(file);
    qsort(kept, count, sizeof kept[0], (int (*)(const void *, const void *))strcmp);
    for (int i = 0; i < count; i++)
        say("%s", kept[i]);
}
RANDOM_MAIN(begin)
