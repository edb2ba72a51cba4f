// Names and links: what calls that take paths make, find, move and remove, and what descriptors, the working folder and inotify make of it.
// places: tmpfs overlay self bind shared
#include "tree.h"
#include <linux/openat2.h>
#include <sys/inotify.h>

#define SLOTS 6
#define SLOT(i) (100 + (i)) // the descriptors that stay open
static int notify = -1;

static const char *const simple[] = {"a", "b", "c", "d", "e", "l", "m"};
static const char *const odd[] = {"", ".", "..", "/", "//", "./", "../", "...", "d/.", "d/..", "/d/e/..", "l/", "l/.", "m/..", "proc/..", "/proc/self/cwd/d", "/proc/self/root/", "proc/self/cwd/l"};

// A path that often names something; one call's paths are in different places of the ring.
static const char *path(void)
{
    static char ring[4][PATH_MAX + 100];
    static int turn;
    char *to = ring[turn++ % 4];
    *to = 0;
    unsigned kind = pick(100);
    if (kind < 4)
        return ONE_OF(odd);
    if (kind < 6) { // names of the greatest length, and one more
        size_t size = 254 + pick(3);
        sprintf(to, "%s", chance(50) ? "d/" : "");
        size_t used = strlen(to);
        memset(to + used, 'n', size), to[used + size] = 0;
        return to;
    }
    if (kind < 7) { // paths of the greatest length, and one more
        size_t size = PATH_MAX - 2 + pick(3);
        for (size_t i = 0; i < size; i++)
            to[i] = i % 2 ? '/' : '.';
        to[size - 2] = '/', to[size - 1] = 'a', to[size] = 0;
        return to;
    }
    if (kind < 13)
        sprintf(to, "/proc/self/fd/%d%s", SLOT((int)pick(SLOTS)), chance(60) ? "" : chance(50) ? "/a" : "/");
    else {
        unsigned parts = chance(55) ? 1 : chance(75) ? 2 : 3;
        strcpy(to, chance(8) ? "/" : chance(4) ? "./" : chance(3) ? "../" : "");
        for (unsigned i = 0; i < parts; i++)
            sprintf(to + strlen(to), "%s%s", i ? (chance(4) ? "//" : "/") : "", chance(2) ? ".." : ONE_OF(simple));
    }
    if (chance(8))
        strcat(to, chance(60) ? "/" : chance(50) ? "/." : "/..");
    return to;
}
// A path for calls that make or take away names: not in /proc, whose own rules are no files'.
static const char *name(void)
{
    const char *to = path();
    while (strstr(to, "proc"))
        to = path();
    return to;
}
// A folder for an *at call.
static int at(void)
{
    if (chance(55)) {
        say(" cwd");
        return AT_FDCWD;
    }
    int slot = chance(3) ? 9 : (int)pick(SLOTS);
    say(" @%d", slot);
    return SLOT(slot);
}
static const char *said(const char *path)
{
    say(" '%s'", brief(path));
    return path;
}
// How many links; not of /proc, where they are processes.
static void say_links(const struct stat *st)
{
    struct stat proc;
    if (!stat("/proc", &proc) && proc.st_dev != st->st_dev)
        say(" x%lu", st->st_nlink);
}
static void say_link(int fd)
{
    char name[50], target[PATH_MAX];
    sprintf(name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = 0;
    char *hash = strstr(target, "/#"); // the number of a file of O_TMPFILE
    if (hash)
        sprintf(hash, "/# (deleted)");
    char *pid = !strncmp(target, "/proc/", 6) ? target + 6 : "";
    if (*pid >= '0' && *pid <= '9')
        memmove(pid, strchrnul(pid, '/'), strlen(strchrnul(pid, '/')) + 1);
    say(" %s", n < 0 ? strerrorname_np(errno) : brief(target));
}
// A descriptor that a call gave moves to a slot.
static void keep(int fd)
{
    if (fd < 0)
        return;
    int slot = pick(SLOTS);
    struct stat st;
    fstat(fd, &st);
    say(" %o %x %d -> @%d", st.st_mode & S_IFMT, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD), slot);
    dup2(fd, SLOT(slot)), close(fd);
}

static char shown_slots[SLOTS + 1][300];
static void show(int slot, const char *now)
{
    if (strncmp(shown_slots[slot], now, sizeof shown_slots[0] - 1))
        say("\n  @%d%s", slot, now);
    snprintf(shown_slots[slot], sizeof shown_slots[0], "%s", now);
}
static bool is_user, is_quiet;
static void before(void)
{
    is_user = chance(12);
    if (is_user)
        say("user "), become(1000, 1000);
}
static void say_events(bool aloud)
{
    char events[8192];
    ssize_t n;
    while ((n = read(notify, events, sizeof events)) > 0)
        for (char *at = events; aloud && at < events + n;) {
            struct inotify_event *event = (void *)at;
            if (!(event->mask & (IN_DELETE_SELF | IN_IGNORED))) // what holds an inode without a name a little longer is the kernel's business
                say("\n  event %d %x%s %s", event->wd, event->mask, event->cookie ? " cookie" : "", event->len ? brief(event->name) : "");
            at += sizeof *event + event->len;
        }
}
static void after(void)
{
    if (is_user)
        become(0, 0);
    say_events(!is_quiet);
    is_quiet = false;
    tree_changes();
    for (int slot = 0; slot <= SLOTS; slot++) { // what descriptors, and the working folder, say of where they are
        size_t begin = random_used;
        struct stat st;
        char folder[PATH_MAX], now[300];
        if (slot == SLOTS)
            say(" %s", syscall(SYS_getcwd, folder, sizeof folder) < 0 ? strerrorname_np(errno) : brief(folder));
        else
            say_link(SLOT(slot));
        if (!(slot == SLOTS ? stat(".", &st) : fstat(SLOT(slot), &st)))
            say_links(&st);
        snprintf(now, sizeof now, "%.*s", (int)(random_used - begin), random_line + begin);
        random_used = begin;
        show(slot, now);
    }
    say_events(false);
}
static void begin(void)
{
    tree_enclose();
    umask(022);
    chmod(".", 0777);
    notify = fcntl(inotify_init1(IN_NONBLOCK | IN_CLOEXEC), F_DUPFD_CLOEXEC, 902);
    mkdir("d", 0777), mkdir("d/e", 0755), symlink("d", "l"), symlink("../a", "d/m");
    close(open("a", O_CREAT | O_RDWR, 0666)), close(open("d/b", O_CREAT | O_RDWR, 0666));
    int folder = open("d", O_RDONLY | O_DIRECTORY), file = open("d/b", O_RDWR);
    dup2(folder, SLOT(0)), dup2(file, SLOT(1)), close(folder), close(file);
    tree_changes();
}

static const unsigned long open_bits[] = {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, O_NOATIME, O_SYNC, O_DSYNC, O_NOCTTY, O_ASYNC};
static int open_flags(void)
{
    int flags = pick(100) < 50 ? O_RDONLY : chance(60) ? O_RDWR : chance(80) ? O_WRONLY : 3;
    for (int i = 0; i < 2; i++)
        if (chance(80))
            flags |= ONE_OF(open_bits);
    if (chance(6))
        flags |= O_TMPFILE;
    return chance(15) ? flags | O_PATH : flags | O_NONBLOCK; // never waits for a FIFO's other end
}
STEP(14, open)
{
    int flags = open_flags();
    unsigned mode = ONE_OF(((unsigned[]){0644, 0666, 0600, 0, 0777, 04755, 010000 | 0644}));
    say("open %x %o", flags, mode);
    int dir = at();
    keep(success(syscall(SYS_openat, dir, said(path()), flags, mode)));
}
STEP(8, openat2)
{
    static const unsigned long resolve[] = {RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT};
    struct open_how how[2] = {{.flags = open_flags(), .resolve = ONE_OF(resolve)}};
    if (chance(15))
        how->resolve |= ONE_OF(resolve);
    if (chance(3))
        how->resolve |= 1ul << pick(64);
    if (chance(3))
        how->flags |= 1ul << pick(64);
    how->flags &= ~(uint64_t)O_ASYNC;
    how->resolve &= ~(uint64_t)RESOLVE_CACHED; // what is cached is the kernel's business
    how->mode = chance(5) ? ONE_OF(((unsigned[]){0644, 07777, 010000})) : how->flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? 0640 : 0;
    if (how->flags & O_PATH && chance(80))
        how->flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    size_t size = chance(95) ? sizeof *how : ONE_OF(((size_t[]){0, 8, 23, 25, 48, 5000}));
    if (chance(20))
        how[1].flags = 1;
    say("openat2 %llx %llo %llx %zu", how->flags, how->mode, how->resolve, size);
    int dir = at();
    keep(success(syscall(SYS_openat2, dir, said(path()), how, size)));
}
STEP(3, creat)
{
    struct stat st;
    const char *name = path();
    if (stat(name, &st) || !S_ISFIFO(st.st_mode)) // it would wait for a reader
        say("creat"), keep(success(creat(said(name), 0640)));
}
STEP(3, close) { int slot = pick(SLOTS); say("close @%d", slot), result(close(SLOT(slot))); }
STEP(10, mkdir)
{
    unsigned mode = chance(60) ? 0755 : ONE_OF(((unsigned[]){0777, 0700, 0, 02755, 01777, 017755}));
    say("mkdir %o", mode);
    int dir = at();
    result(mkdirat(dir, said(name()), mode));
}
STEP(5, rmdir) { say("rmdir"), result(rmdir(said(name()))); }
STEP(5, unlink) { say("unlink"), result(unlink(said(name()))); }
STEP(5, unlinkat)
{
    int flags = chance(50) ? AT_REMOVEDIR : chance(90) ? 0 : 1 << pick(16);
    say("unlinkat %x", flags);
    int dir = at();
    result(unlinkat(dir, said(name()), flags));
}
STEP(10, link)
{
    int flags = chance(40) ? 0 : chance(50) ? AT_SYMLINK_FOLLOW : chance(70) ? AT_EMPTY_PATH : 1 << pick(16);
    say("linkat %x", flags);
    int from = at();
    const char *old = said(flags == AT_EMPTY_PATH && chance(80) ? "" : path());
    int to = at();
    result(linkat(from, old, to, said(name()), flags));
}
STEP(8, symlink)
{
    static char far[PATH_MAX + 2];
    const char *target = path();
    if (chance(6)) {
        size_t size = PATH_MAX - 2 + pick(3);
        memset(far, 'x', size), far[size] = 0, target = far;
    }
    say("symlink");
    said(target);
    int dir = at();
    result(symlinkat(target, dir, said(name())));
}
STEP(14, rename)
{
    unsigned flags = chance(55) ? 0 : chance(45) ? RENAME_NOREPLACE : chance(80) ? RENAME_EXCHANGE : pick(16);
    flags &= ~RENAME_WHITEOUT; // an overlay has none
    say("renameat2 %x", flags);
    int from = at();
    const char *old = said(name());
    int to = at();
    result(syscall(SYS_renameat2, from, old, to, said(name()), flags));
}
STEP(4, mknod)
{
    unsigned mode = ONE_OF(((unsigned[]){S_IFIFO, S_IFIFO, S_IFSOCK, S_IFREG, 0, S_IFDIR, S_IFLNK, 0170000})) | ONE_OF(((unsigned[]){0644, 0666, 0}));
    say("mknod %o", mode);
    int dir = at();
    result(mknodat(dir, said(name()), mode, 0));
}
STEP(6, readlink)
{
    char target[PATH_MAX + 1];
    int size = chance(80) ? PATH_MAX : chance(30) ? 0 : chance(10) ? -1 : (int)pick(8);
    say("readlink %d", size);
    int dir = at();
    const char *name = said(path());
    ssize_t n = result(readlinkat(dir, name, target, size));
    target[n > 0 ? n : 0] = 0;
    if (n > 0 && !strstr(target, "/#"))
        say(" %s", brief(target));
}
STEP(8, stat)
{
    struct stat st;
    int flags = chance(30) ? 0 : chance(50) ? AT_SYMLINK_NOFOLLOW : chance(60) ? AT_EMPTY_PATH : chance(50) ? AT_NO_AUTOMOUNT : 1 << pick(17);
    say("fstatat %x", flags);
    int dir = at();
    if (result(fstatat(dir, said(path()), &st, flags)) == 0)
        say(" %o %ld", st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size), say_links(&st);
}
STEP(6, statx)
{
    struct statx is;
    unsigned flags = chance(30) ? 0 : chance(50) ? AT_EMPTY_PATH : chance(50) ? AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW : 1u << pick(17);
    unsigned mask = chance(80) ? STATX_BASIC_STATS : 1u << pick(32);
    say("statx %x %x", flags, mask);
    int dir = at();
    if (result(statx(dir, said(path()), flags, mask, &is)) == 0)
        say(" %o %llx", is.stx_mode, is.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
}
STEP(5, access)
{
    int mode = chance(95) ? (int)pick(8) : 8, flags = chance(50) ? 0 : chance(90) ? ONE_OF(((int[]){AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH})) : 1 << pick(16);
    say("faccessat2 %d %x", mode, flags);
    int dir = at();
    result(syscall(SYS_faccessat2, dir, said(path()), mode, flags));
}
STEP(4, chdir) { say("chdir"), result(chdir(said(path()))); }
STEP(3, fchdir) { int slot = pick(SLOTS); say("fchdir @%d", slot), result(fchdir(SLOT(slot))); }
STEP(2, home) { say("home"), result(chdir("/")); }
STEP(3, truncate)
{
    long size = ONE_OF(((long[]){0, 1, 100, 5000, -1}));
    say("truncate %ld", size);
    const char *name = said(path());
    struct stat st;
    if (stat(name, &st) || !S_ISREG(st.st_mode) || st.st_size != size) // whether that changes the times of a file of this size is the file system's business
        result(truncate(name, size));
}
STEP(4, write) { int slot = pick(SLOTS); say("write @%d", slot), result(write(SLOT(slot), "hello", 1 + pick(5))); }
STEP(3, read)
{
    int slot = pick(SLOTS);
    char to[4];
    struct stat st;
    say("read @%d", slot);
    if (fstat(SLOT(slot), &st) || !S_ISDIR(st.st_mode)) // a folder's position, which may be too great, is the file system's business
        result(read(SLOT(slot), to, sizeof to));
}
STEP(2, mode) { unsigned mode = ONE_OF(((unsigned[]){0777, 0755, 0, 0111, 0444})); say("chmod %o", mode), result(chmod(said(path()), mode)); }
STEP(4, dup) { int slot = pick(SLOTS), to = pick(SLOTS); say("dup @%d @%d", slot, to), success(dup2(SLOT(slot), SLOT(to))); }
STEP(3, fdinfo)
{
    int slot = pick(SLOTS);
    char name[60], text[1000];
    sprintf(name, "/proc/self/fdinfo/%d", SLOT(slot));
    say("fdinfo @%d", slot);
    int fd = open(name, O_RDONLY);
    ssize_t n = success(fd) < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    struct stat st;
    bool folder = !fstat(SLOT(slot), &st) && S_ISDIR(st.st_mode); // whose positions are the file system's business
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if ((!folder && !strncmp(line, "pos", 3)) || !strncmp(line, "flags", 5))
            say(" %s", line);
    close(fd);
}
// A folder in pieces: everything is there once, and seeking to where an entry said the next is goes on with that.
STEP(5, getdents)
{
    int slot = pick(SLOTS);
    unsigned size = chance(60) ? 4096 : ONE_OF(((unsigned[]){0, 20, 24, 40, 64, 100}));
    is_quiet = size < 4096; // how often it has to be called depends on the order
    char data[4096], *names[200];
    int count = 0;
    struct dirent64 *entry;
    off_t next = -1;
    ssize_t n, again = -1;
    say("getdents @%d %u", slot, size);
    result(lseek(SLOT(slot), 0, SEEK_SET));
    while ((n = syscall(SYS_getdents64, SLOT(slot), data, size)) > 0 && count < 200)
        for (char *at = data; at < data + n; at += entry->d_reclen) {
            entry = (void *)at;
            asprintf(&names[count++], "%.20s:%d", entry->d_name, entry->d_type);
            if (again == -1 && chance(30))
                again = count, next = entry->d_off;
        }
    result(n);
    qsort(names, count, sizeof *names, tree_by_name);
    for (int i = 0; i < count && n == 0; i++) // the order is the file system's business, and so what comes before one that does not fit
        if (strcmp(names[i], "proc:4"))
            say(" %s", names[i]);
    if (again >= 0 && n == 0) {
        int rest = 0;
        lseek(SLOT(slot), next, SEEK_SET);
        while ((n = syscall(SYS_getdents64, SLOT(slot), data, sizeof data)) > 0)
            for (char *at = data; at < data + n; at += ((struct dirent64 *)at)->d_reclen)
                rest++;
        say(" again %s", again + rest == count ? "right" : "wrong");
    }
    for (int i = 0; i < count; i++)
        free(names[i]);
}
STEP(4, watch)
{
    static const uint32_t more[] = {IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_MASK_ADD, IN_MASK_CREATE, IN_ONESHOT};
    uint32_t mask = chance(70) ? IN_ALL_EVENTS : chance(90) ? (IN_CREATE | IN_DELETE | IN_MOVE) << pick(3) : 0;
    if (chance(40))
        mask |= ONE_OF(more);
    say("watch %x", mask);
    result(inotify_add_watch(notify, said(path()), mask));
}
STEP(1, unwatch) { int wd = 1 + pick(8); say("unwatch %d", wd), inotify_rm_watch(notify, wd); } // it may have ended by itself, as above

RANDOM_MAIN(begin)
