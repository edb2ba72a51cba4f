// Access control lists: set, taken away and handed down, on files and folders of several owners; who then may do what.
// places: tmpfs overlay self bind shared
#include "tree.h"

static const char *const files[] = {"f", "g", "d/f", "d/g", "s/f", "d/d/f"};
static const char *const folders[] = {"d", "s", "d/d", "s/d"};
static const char *path(void)
{
    const char *path = chance(60) ? ONE_OF(files) : chance(92) ? ONE_OF(folders) : ONE_OF(((const char *[]){"l", "p", ".", "none"}));
    say(" %s", path);
    return path;
}
// Few of them, so that entries meet their users.
static unsigned id(void) { return ONE_OF(((unsigned[]){1000, 1001, 2000, 3000})); }

static struct {
    uid_t uid;
    gid_t gid, more;
    uint64_t without; // capabilities
    mode_t umask;
} who = {.umask = 022};
static void before(void)
{
    umask(who.umask);
    setgroups(who.more ? 1 : 0, &who.more);
    setresgid(-1, who.gid, -1);
    if (who.uid)
        setresuid(-1, who.uid, -1);
    else if (who.without)
        capabilities(~who.without);
}
static void after(void)
{
    setresuid(-1, 0, -1), setresgid(-1, 0, -1), setgroups(0, NULL);
    capabilities(-1);
    umask(022);
    tree_changes();
}
static void begin(void)
{
    tree_enclose();
    tree_xattrs = true;
    umask(0);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        mkdir(folders[i], 0777), chown(folders[i], i % 2 ? 1000 : 1001, i % 2 ? 2000 : 3000);
    chmod("s", 02777);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        close(open(files[i], O_CREAT | O_RDWR, i % 2 ? 0666 : 0640)), chown(files[i], i % 3 ? 1000 : 3000, i % 3 ? 1000 : 2000);
    symlink("f", "l"), mkfifo("p", 0666);
    after();
}

STEP(10, identity)
{
    static const unsigned long caps[] = {1 << CAP_FOWNER, 1 << CAP_FSETID, 1 << CAP_DAC_OVERRIDE, 1 << CAP_DAC_OVERRIDE, 1 << CAP_DAC_READ_SEARCH};
    who.uid = chance(35) ? 0 : id();
    who.gid = who.uid == 0 ? 0 : id();
    who.more = chance(40) ? id() : 0;
    who.without = chance(50) ? SOME_OF(caps) : 0;
    who.umask = chance(60) ? 022 : ONE_OF(((mode_t[]){0, 077, 0777, 002}));
    say("identity %u %u %u without %lx umask %o", who.uid, who.gid, who.more, who.without, who.umask);
}

struct entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct list {
    uint32_t version;
    struct entry entries[12];
};
static size_t make(struct list *list)
{
    size_t n = 0, users = pick(3), groups = pick(3);
    bool mask = users + groups ? chance(96) : chance(30);
    list->version = chance(98) ? 2 : pick(4);
    if (chance(99))
        list->entries[n++] = (struct entry){1, pick(8), chance(90) ? -1 : 5};
    for (size_t i = 0; i < users; i++)
        list->entries[n++] = (struct entry){2, pick(8), id()};
    list->entries[n++] = (struct entry){4, pick(8), -1};
    for (size_t i = 0; i < groups; i++)
        list->entries[n++] = (struct entry){8, pick(8), id()};
    if (mask)
        list->entries[n++] = (struct entry){16, chance(70) ? 7 : pick(8), -1};
    list->entries[n++] = (struct entry){32, pick(8), -1};
    if (chance(3))
        list->entries[pick(n)] = (struct entry){1 << pick(7), pick(9), chance(50) ? -1 : id()};
    if (chance(1))
        n = 0;
    for (size_t i = 0; i < n; i++)
        say(" %x:%d:%o", list->entries[i].tag, (int)list->entries[i].id, list->entries[i].perm);
    return 4 + n * sizeof(struct entry) - (chance(2) ? 1 + pick(4) : 0);
}
static const char *name(void)
{
    bool by_default = chance(35);
    say(by_default ? " default" : " access");
    return by_default ? "system.posix_acl_default" : "system.posix_acl_access";
}
STEP(25, set)
{
    struct list list;
    say("set");
    size_t size = make(&list);
    const char *of = path(), *which = name();
    int flags = chance(90) ? 0 : pick(5);
    say(" %zu %x", size, flags);
    result(chance(90) ? setxattr(of, which, &list, size, flags) : lsetxattr(of, which, &list, size, flags));
}
STEP(5, remove)
{
    say("remove");
    const char *of = path();
    result(chance(90) ? removexattr(of, name()) : lremovexattr(of, name()));
}
STEP(8, get)
{
    struct list list;
    size_t size = chance(80) ? sizeof list : pick(40);
    say("get %zu", size);
    const char *of = path();
    long n = result(chance(90) ? getxattr(of, name(), &list, size) : lgetxattr(of, name(), &list, size));
    if (n > 0 && size)
        say(" %08x", sum_of(&list, n));
}
// Without set-id bits: on folders of the host a write by root takes them away.
static unsigned mode(void) { return chance(80) ? ONE_OF(((unsigned[]){0644, 0666, 0600, 0640, 0770, 0777, 0707})) : pick(02000); }
STEP(12, chmod) { unsigned to = mode(); say("chmod %o", to), result(chmod(path(), to)); }
STEP(4, chown)
{
    uid_t uid = chance(50) ? -1 : id();
    gid_t gid = chance(50) ? -1 : id();
    say("chown %d %d", (int)uid, (int)gid);
    if (uid != -1u || gid != -1u) // that leaves ctime on folders of the host
        result(chown(path(), uid, gid));
}
STEP(30, access)
{
    int how = pick(8), flags = chance(80) ? AT_EACCESS : 0;
    say("access %d %x", how, flags), result(syscall(SYS_faccessat2, AT_FDCWD, path(), how, flags));
}
STEP(25, open)
{
    int flags = ONE_OF(((int[]){O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDONLY | O_DIRECTORY})) | O_NONBLOCK | (chance(35) ? O_CREAT : 0) | (chance(10) ? O_TRUNC : 0);
    unsigned perm = mode();
    say("open %x %o", flags, perm);
    int fd = success(open(path(), flags, perm));
    if (fd >= 0)
        close(fd);
}
STEP(6, tmpfile)
{
    const char *in = ONE_OF(folders), *to = ONE_OF(files);
    unsigned perm = mode();
    say("tmpfile %s %o %s", in, perm, to);
    int fd = success(open(in, O_TMPFILE | O_RDWR, perm));
    if (fd >= 0) {
        char around[64];
        snprintf(around, sizeof around, "/proc/self/fd/%d", fd);
        result(linkat(AT_FDCWD, around, AT_FDCWD, to, AT_SYMLINK_FOLLOW)), close(fd);
    }
}
STEP(8, mkdir) { unsigned perm = mode(); const char *name = ONE_OF(folders); say("mkdir %s %o", name, perm), result(mkdir(name, perm)); }
STEP(6, mknod)
{
    unsigned perm = mode() & 07777, kind = ONE_OF(((unsigned[]){S_IFIFO, S_IFREG, S_IFSOCK}));
    say("mknod %o", kind | perm), result(mknod(path(), kind | perm, 0));
}
STEP(10, unlink) { say("unlink"), result(unlink(path())); }
STEP(5, rmdir) { const char *name = ONE_OF(folders); say("rmdir %s", name), result(rmdir(name)); }
STEP(8, rename)
{
    say("rename");
    const char *from = path(), *to = path();
    if (strcmp(from, ".") && strcmp(to, "."))
        result(rename(from, to));
}
STEP(4, link)
{
    const char *from = ONE_OF(files), *to = ONE_OF(files);
    say("link %s %s", from, to), result(link(from, to));
}
STEP(4, list)
{
    const char *of = path();
    char list[200];
    say(" list"), result(llistxattr(of, list, sizeof list));
}
STEP(4, utimens) { say("utimens"), result(utimensat(AT_FDCWD, path(), NULL, 0)); }
RANDOM_MAIN(begin)
