// Attributes: modes, owners, times and extended attributes, as root and as others, in sticky and set-group-ID folders, with and without capabilities.
// places: tmpfs overlay self
// Not on folders of the host: trusted and security attributes are not passed on, and the host takes set-id bits away as it does for who has no capabilities.
#include "tree.h"
#include <limits.h>
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

// Access control lists: acls.c. Nothing here is a symbolic link in a sticky folder: fs.protected_symlinks is the host's choice.
static const char *const files[] = {"f", "g", "d/f", "d/g", "s/f", "s/g", "t/f", "t/g", "f", "g"};
static const char *const folders[] = {"d", "s", "t", "d/d", "s/d", "t/d"};
static const char *const others[] = {"l", "p", "n", "dangling", "q", "."};
static const char *path(void)
{
    const char *path = chance(65) ? ONE_OF(files) : chance(70) ? ONE_OF(folders) : ONE_OF(others);
    say(" %s", path);
    return path;
}
#define SLOTS 4
#define SLOT(i) (100 + (i))
static int slot(void) { int slot = pick(SLOTS); say(" @%d", slot); return SLOT(slot); }
// Reading and writing a FIFO's contents moves its times in Linux alone.
static bool is_fifo(int fd)
{
    struct stat st;
    return !fstat(fd, &st) && S_ISFIFO(st.st_mode);
}
static void keep(int fd)
{
    int to = pick(SLOTS);
    if (fd >= 0)
        say(" -> @%d", to), dup2(fd, SLOT(to)), close(fd);
}

// Who the next steps are.
static struct {
    uid_t uid, fsuid;
    gid_t gid;
    bool more; // the group 2000, too
    uint64_t without; // capabilities
    mode_t umask;
} who = {.umask = 022};
static void before(void)
{
    static const gid_t more[] = {2000};
    umask(who.umask);
    setgroups(who.more, more);
    setresgid(-1, who.gid, -1);
    if (who.uid)
        setresuid(-1, who.uid, -1);
    else {
        setfsuid(who.fsuid);
        if (who.without)
            capabilities(capabilities(-1) & ~who.without);
    }
}
static void after(void)
{
    capabilities(-1);
    setresuid(-1, 0, -1), setfsuid(0), setresgid(-1, 0, -1), setgroups(0, NULL);
    capabilities(-1);
    umask(022);
    tree_changes();
}
static void begin(void)
{
    tree_enclose();
    tree_xattrs = true;
    umask(0);
    mkdir("d", 0777), mkdir("s", 01777), mkdir("t", 02777);
    chmod("t", 02777), chown("t", 0, 2000);
    for (int i = 0; i < 8; i++) {
        close(open(files[i], O_CREAT | O_RDWR, i % 2 ? 0666 : 0644));
        chown(files[i], i % 3 ? 1000 : 3000, i % 3 ? 1000 : 2000);
    }
    symlink("f", "l"), mkfifo("p", 0666), mknod("n", S_IFCHR | 0666, makedev(1, 3)), symlink("nowhere", "dangling");
    after();
}

STEP(10, identity)
{
    static const unsigned long caps[] = {1 << CAP_CHOWN, 1 << CAP_FOWNER, 1 << CAP_FSETID, 1 << CAP_FSETID, 1 << CAP_DAC_OVERRIDE, 1 << CAP_DAC_READ_SEARCH, 1 << CAP_SETFCAP, 1 << CAP_SYS_ADMIN};
    who.uid = chance(45) ? 0 : chance(70) ? 1000 : 3000;
    who.fsuid = who.uid == 0 && chance(20) ? 1000 : who.uid;
    who.gid = who.uid == 0 ? (chance(70) ? 0 : 2000) : 1000;
    who.more = chance(30);
    who.without = who.uid == 0 && chance(50) ? SOME_OF(caps) : 0;
    who.umask = chance(60) ? 022 : ONE_OF(((mode_t[]){0, 077, 0777, 002}));
    say("identity %u fs %u group %u %d without %lx umask %o", who.uid, who.fsuid, who.gid, who.more, who.without, who.umask);
}
static unsigned mode(void)
{
    return chance(50) ? ONE_OF(((unsigned[]){0644, 0666, 0600, 0, 0755, 0777})) : chance(80) ? ONE_OF(((unsigned[]){04755, 02755, 06777, 02644, 06666, 01777, 02770})) : pick(0200000);
}
STEP(10, chmod)
{
    unsigned to = mode();
    int how = pick(10);
    say("chmod %o", to);
    if (how < 6)
        result(chmod(path(), to));
    else if (how < 8)
        result(fchmod(slot(), to));
    else {
        int flags = ONE_OF(((int[]){0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 0x200}));
        say(" flags %x", flags);
        int dir = flags == AT_EMPTY_PATH ? slot() : AT_FDCWD;
        result(syscall(SYS_fchmodat2, dir, flags == AT_EMPTY_PATH ? "" : path(), to, flags));
    }
}
STEP(10, chown)
{
    uid_t uid = ONE_OF(((uid_t[]){-1, -1, 0, 1000, 1000, 3000}));
    gid_t gid = ONE_OF(((gid_t[]){-1, -1, 0, 1000, 2000, 3000}));
    say("chown %d %d", (int)uid, (int)gid);
    if (chance(30))
        result(fchown(slot(), uid, gid));
    else {
        int flags = chance(70) ? 0 : AT_SYMLINK_NOFOLLOW;
        say(" flags %x", flags);
        result(fchownat(AT_FDCWD, path(), uid, gid, flags));
    }
}
STEP(8, utimens)
{
    static const struct timespec some[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}, {1000, 5}, {5000000000, 999999999}, {0, 0}, {-5, 3}, {1500000000, 1}};
    struct timespec times[2] = {ONE_OF(some), ONE_OF(some)};
    if (chance(3))
        times[pick(2)].tv_nsec = 1000000000;
    int how = pick(10);
    say("utimens %ld.%ld %ld.%ld", times[0].tv_sec, times[0].tv_nsec, times[1].tv_sec, times[1].tv_nsec);
    if (how < 3)
        say(" now");
    if (how < 8)
        result(utimensat(AT_FDCWD, path(), how < 3 ? NULL : times, chance(20) ? AT_SYMLINK_NOFOLLOW : 0));
    else
        result(futimens(slot(), times));
}
STEP(10, open)
{
    static const unsigned long bits[] = {O_CREAT, O_CREAT, O_TRUNC, O_TRUNC, O_NOATIME, O_APPEND, O_EXCL, O_PATH, O_DIRECTORY};
    int flags = (chance(50) ? O_RDONLY : chance(60) ? O_RDWR : O_WRONLY) | O_NONBLOCK | (chance(70) ? (int)ONE_OF(bits) : 0) | (chance(30) ? O_CREAT : 0);
    unsigned perm = mode();
    say("open %x %o", flags, perm);
    keep(success(open(path(), flags, perm)));
}
STEP(4, mkdir) { unsigned perm = mode(); const char *name = ONE_OF(folders); say("mkdir %s %o", name, perm), result(mkdir(name, perm)); }
STEP(3, mknod)
{
    unsigned perm = mode() & 07777, kind = ONE_OF(((unsigned[]){S_IFIFO, S_IFREG, S_IFSOCK, S_IFCHR}));
    say("mknod %o", kind | perm);
    result(mknod(path(), kind | perm, kind == S_IFCHR ? makedev(1, 3) : 0));
}
STEP(3, tmpfile)
{
    const char *name = ONE_OF(folders);
    unsigned perm = mode();
    say("tmpfile %s %o", name, perm);
    int fd = success(open(name, O_TMPFILE | O_RDWR, perm));
    struct stat st;
    if (!fstat(fd, &st))
        say(" %o %u:%u", st.st_mode, st.st_uid, st.st_gid);
    keep(fd);
}
STEP(3, symlink) { say("symlink"), result(symlink("f", chance(50) ? "q" : "d/g")); }
STEP(5, unlink) { say("unlink"), result(unlink(path())); }
STEP(2, rmdir) { const char *name = ONE_OF(folders); say("rmdir %s", name), result(rmdir(name)); }
STEP(5, rename)
{
    say("rename");
    const char *from = path(), *to = path();
    unsigned flags = chance(70) ? 0 : chance(50) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (strcmp(from, ".") && strcmp(from, "l") && strcmp(to, "l")) // no symbolic link comes to a sticky folder
        result(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}
STEP(5, link)
{
    const char *from = ONE_OF(files), *to = ONE_OF(files);
    say("link %s %s", from, to), result(link(from, to));
}
STEP(8, write)
{
    int n = pick(6), fd = slot();
    say(" write %d", n);
    if (!is_fifo(fd))
        result(write(fd, "hello", n));
}
STEP(6, read)
{
    char to[10];
    int n = 1 + pick(6); // whether reading nothing moves the time of access is the file system's business
    say("read %d", n), result(pread(slot(), to, n, 0));
}
STEP(4, truncate)
{
    long to = pick(10);
    bool open = chance(50);
    say("truncate %ld", to);
    if (open) {
        result(ftruncate(slot(), to));
        return;
    }
    const char *name = path();
    become(0, 0);
    struct stat st;
    bool same = !stat(name, &st) && S_ISREG(st.st_mode) && st.st_size == to; // whether that changes the times is the file system's business
    before();
    if (!same)
        result(truncate(name, to));
}
STEP(3, fallocate) { int size = 1 + pick(100); say("fallocate %d", size), result(fallocate(slot(), 0, 0, size)); }
STEP(8, access)
{
    int how = pick(8), flags = chance(50) ? 0 : ONE_OF(((int[]){AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EACCESS | AT_SYMLINK_NOFOLLOW}));
    say("access %d %x", how, flags);
    result(syscall(SYS_faccessat2, AT_FDCWD, path(), how, flags));
}
STEP(4, list)
{
    const char *name = ONE_OF(folders);
    say("list %s", name);
    int fd = success(open(name, O_RDONLY | O_DIRECTORY));
    char data[4096];
    if (fd >= 0)
        success(syscall(SYS_getdents64, fd, data, sizeof data)), close(fd);
}

static const char *const names[] = {"user.a", "user.a", "user.b", "trusted.t", "security.s", "security.capability", "security.capability"};
static const char *name(void)
{
    static char far[300];
    memset(far, 'x', sizeof far - 1), memcpy(far, "user.", 5);
    far[254 + pick(3)] = 0;
    const char *name = chance(92) ? ONE_OF(names) : chance(10) ? far : ONE_OF(((const char *[]){"", "user.", "user", "trusted.", "foo.bar", "system.x", "security."}));
    say(" '%s'", brief(name));
    return name;
}
STEP(14, setxattr)
{
    static char value[XATTR_SIZE_MAX + 1];
    struct vfs_cap_data caps = {.magic_etc = VFS_CAP_REVISION_2 | (chance(50) ? VFS_CAP_FLAGS_EFFECTIVE : 0), .data[0].permitted = pick(256)};
    int flags = chance(70) ? 0 : chance(90) ? ONE_OF(((int[]){XATTR_CREATE, XATTR_REPLACE, XATTR_CREATE | XATTR_REPLACE})) : 4;
    size_t size = chance(95) ? pick(60) : sizeof value;
    memset(value, pick(256), 60);
    say("setxattr %x %zu", flags, size);
    int fd = chance(25) ? slot() : -1;
    const char *of = fd < 0 ? path() : NULL, *which = name();
    bool is_caps = !strcmp(which, "security.capability") && chance(90);
    const void *from = is_caps ? (void *)&caps : value;
    size = is_caps ? XATTR_CAPS_SZ_2 : size;
    result(fd >= 0 ? fsetxattr(fd, which, from, size, flags) : chance(70) ? setxattr(of, which, from, size, flags) : lsetxattr(of, which, from, size, flags));
}
STEP(6, getxattr)
{
    char value[100];
    size_t size = chance(80) ? sizeof value : pick(20);
    say("getxattr %zu", size);
    const char *of = path(), *which = name();
    long n = result(chance(70) ? getxattr(of, which, value, size) : lgetxattr(of, which, value, size));
    if (n > 0 && size)
        say(" %08x", sum_of(value, n));
}
STEP(4, listxattr)
{
    char list[1000];
    size_t size = chance(80) ? sizeof list : pick(20);
    say("listxattr %zu", size);
    result(llistxattr(path(), list, size));
}
STEP(4, removexattr)
{
    say("removexattr");
    const char *of = path();
    result(removexattr(of, name()));
}
STEP(3, stat)
{
    struct stat st;
    say("stat");
    if (result(stat(path(), &st)) == 0)
        say(" %o %u:%u", st.st_mode, st.st_uid, st.st_gid);
}

RANDOM_MAIN(begin)
