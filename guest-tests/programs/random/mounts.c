// Mounts in namespaces that propagate to each other: three processes, the last in a user namespace of its own, mount, move, change and unmount on a small tree by
// mount(2) and by descriptors. After each step comes what their mountinfo shows, with ids, devices and peer groups counted in the order that they appear.
// open: tmpfs
#include "orders.h"
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static char top[256]; // the folder that all works in
static int trees[3] = {-1, -1, -1}; // of a worker: its descriptors of mounts

static const char *const names[] = {"a", "b", "c", "a/x", "b/x", "c/x", "a/x/x", "b/x/x", "a/y", "b/y", "f", "a/f", "l", "l/x", ".", "none"};
static const char *const sources[] = {"one", "two", "a b", "t\tab", "#\\x", "", "n\nl"};

static const char *place(void)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof *paths, "%s/%s", top, names[pick(chance(80) ? 8 : sizeof names / sizeof *names)]);
    say(" %s", path + strlen(top) + 1);
    return path;
}
// A place where something is mounted, mostly.
static const char *mount_place(void)
{
    struct statx s = {0};
    const char *path = NULL;
    size_t used = random_used;
    for (int i = 0; i < 6 && !(s.stx_attributes & STATX_ATTR_MOUNT_ROOT); i++) {
        random_used = used, path = place();
        if (statx(AT_FDCWD, path, 0, STATX_MODE, &s))
            s.stx_attributes = 0;
    }
    return path;
}
// What each tmpfs holds at first, so that there is always something to mount on.
static void furnish(const char *path)
{
    static const char *const folders[] = {"a", "b", "c", "x", "y", "a/x", "b/x", "c/x", "a/y", "b/y", "x/x", "a/x/x", "b/x/x"}, *const files[] = {"f", "a/f", "x/f"};
    char name[600];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        snprintf(name, sizeof name, "%s/%s", path, folders[i]), mkdir(name, 0755);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "%s/%s", path, files[i]);
        int fd = open(name, O_CREAT | O_WRONLY, 0755);
        write(fd, "#!/bin/true\n", 12), close(fd);
    }
    snprintf(name, sizeof name, "%s/l", path), symlink("a", name);
    snprintf(name, sizeof name, "%s/null", path), mknod(name, S_IFCHR | 0666, makedev(1, 3));
}

static void prepare(void)
{
    static const char *const maps[][2] = {{"uid_map", "0 0 1"}, {"setgroups", "deny"}, {"gid_map", "0 0 1"}};
    if (me == 2)
        unshare(CLONE_NEWUSER);
    for (int i = 0; i < 3 && me == 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/%s", maps[i][0]);
        int fd = open(path, O_WRONLY);
        write(fd, maps[i][1], strlen(maps[i][1])), close(fd);
    }
    unshare(CLONE_NEWNS);
    for (int i = 0; i < 3; i++)
        trees[i] = -1;
}

struct shown {
    unsigned id, parent, depth, major, minor;
    const struct shown *up;
    char root[200], point[300], rest[500];
};
static int compare(const struct shown *a, const struct shown *b)
{
    return strcmp(a->point, b->point) ?: (int)a->depth - (int)b->depth ?: a->up && b->up && a->up != b->up ? compare(a->up, b->up) : 0;
}
static int by_place(const void *a, const void *b) { return compare(*(struct shown **)a, *(struct shown **)b); }
static unsigned show_worker(char *to, size_t room, int number, struct numbers *devices, struct numbers *groups)
{
    static struct shown all[1000], *sorted[1000];
    unsigned count = 0, mine = 0;
    char path[64], line[2000];
    snprintf(path, sizeof path, "/proc/%d/mountinfo", workers[number].pid);
    FILE *file = fopen(path, "r");
    while (file && count < 1000 && fgets(line, sizeof line, file)) {
        struct shown *s = all + count;
        if (sscanf(line, "%u %u %u:%u %199s %299s %499[^\n]", &s->id, &s->parent, &s->major, &s->minor, s->root, s->point, s->rest) == 7)
            count++;
    }
    if (file)
        fclose(file);
    for (unsigned i = 0; i < count; i++) {
        sorted[i] = all + i, all[i].up = NULL;
        for (unsigned j = 0; j < count && !all[i].up; j++)
            if (all[j].id == all[i].parent && j != i)
                all[i].up = all + j;
    }
    for (unsigned i = 0; i < count; i++) {
        all[i].depth = 0;
        for (const struct shown *up = all[i].up; up && all[i].depth < 100; up = up->up)
            all[i].depth++;
    }
    qsort(sorted, count, sizeof *sorted, by_place);
    struct numbers ids = {0};
    size_t used = 0;
    for (unsigned i = 0; i < count && used < room - 1500; i++) {
        struct shown *s = sorted[i];
        if (strncmp(s->point, top, strlen(top)))
            continue;
        mine++;
        used += sprintf(to + used, "  [%d] %u ", number, rank(&ids, s->id));
        used += sprintf(to + used, "%u ", rank(&ids, s->parent));
        used += sprintf(to + used, "d%u %s .%s", rank(devices, (uint64_t)s->major << 32 | s->minor), s->root, s->point + strlen(top));
        for (char *word = strtok(s->rest, " "); word; word = strtok(NULL, " ")) {
            char *number = strchr(word, ':');
            if (number && strspn(number + 1, "0123456789") == strlen(number + 1))
                used += sprintf(to + used, " %.*s:%u", (int)(number - word), word, rank(groups, atoi(number + 1)));
            else
                used += sprintf(to + used, " %s", word);
        }
        to[used++] = '\n', to[used] = 0;
    }
    return mine;
}
static void detach_all(void)
{
    for (int i = 0; i < 3; i++)
        close(trees[i]), trees[i] = -1;
    for (size_t i = 0; i < 16 * 8; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", top, names[i % 14]);
        while (umount2(path, MNT_DETACH) == 0) {
        }
    }
}
// Prints all mounts where they are others than before, and ends what has grown too large.
static void show_all(void)
{
    static char text[400000], last[400000];
    struct numbers devices = {0}, groups = {0};
    unsigned most = 0;
    size_t used = 0;
    for (int i = 0; i < WORKERS; i++) {
        unsigned count = show_worker(text + used, 130000, i, &devices, &groups);
        most = count > most ? count : most;
        used = strlen(text);
    }
    if (strcmp(text, last)) {
        unsigned step = atoi(random_line);
        strcpy(last, text);
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            random_flush(), say("%u: %s", step, line);
    }
    if (most > 25)
        for (int i = 0; i < WORKERS; i++)
            order(i, detach_all);
}

static const unsigned long mount_flags[] = {MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME, MS_RELATIME, MS_STRICTATIME, MS_NOSYMFOLLOW, MS_SILENT};
static unsigned long some_flags(void)
{
    unsigned long flags = chance(50) ? 0 : SOME_OF(mount_flags);
    say(" %lx", flags);
    return flags;
}

ORDERED(12, fresh)
{
    static const char *const data[] = {"", "size=1m", "mode=700", "bogus", "nr_inodes=100,uid=7", "mode=1755,gid=3", "ro", "mode=", "size=4k,size=8k", "noexec", "uid=x"};
    const char *path = place(), *source = ONE_OF(sources), *options = chance(70) ? "" : ONE_OF(data);
    say(" %s %s", source, options);
    if (result(mount(source, path, "tmpfs", some_flags(), options)) == 0)
        furnish(path);
}
ORDERED(20, bind)
{
    const char *from = place(), *to = place();
    unsigned long extra = chance(50) ? MS_REC : 0;
    say(" %lx", extra);
    result(mount(from, to, NULL, MS_BIND | extra | (chance(20) ? some_flags() : 0), NULL));
}
ORDERED(12, remount)
{
    const char *path = mount_place();
    unsigned long extra = chance(75) ? MS_BIND : 0;
    say(" %lx", extra);
    result(mount("x", path, NULL, MS_REMOUNT | extra | some_flags(), extra || chance(50) ? NULL : me == 2 || chance(50) ? "size=2m" : "bogus=1"));
}
ORDERED(30, propagation)
{
    static const unsigned long types[] = {MS_SHARED, MS_SHARED, MS_SHARED, MS_SLAVE, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, MS_SHARED | MS_SLAVE, MS_SHARED | MS_RDONLY, MS_PRIVATE | MS_SILENT};
    const char *path = mount_place();
    unsigned long type = ONE_OF(types) | (chance(40) ? MS_REC : 0);
    say(" %lx", type);
    result(mount(NULL, path, NULL, type, NULL));
}
ORDERED(12, move)
{
    const char *from = mount_place(), *to = place();
    result(mount(from, to, NULL, MS_MOVE, NULL));
}
ORDERED(20, umount)
{
    static const int flags[] = {0, 0, 0, MNT_DETACH, MNT_DETACH, MNT_EXPIRE, MNT_EXPIRE, UMOUNT_NOFOLLOW, MNT_FORCE, MNT_EXPIRE | MNT_DETACH, 16, MNT_EXPIRE | UMOUNT_NOFOLLOW};
    const char *path = mount_place();
    int how = ONE_OF(flags);
    say(" %x", how);
    result(umount2(path, how));
}
// To chdir is a walk, which unmarks it, and makes the next one fail.
ORDERED(4, expire)
{
    const char *path = mount_place();
    result(umount2(path, MNT_EXPIRE));
    if (chance(30))
        say(" used"), access(path, F_OK);
    result(umount2(path, MNT_EXPIRE));
}
ORDERED(12, open_tree)
{
    static const unsigned long bits[] = {AT_RECURSIVE, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT};
    int *tree = &ONE_OF(trees);
    unsigned long flags = (chance(85) ? OPEN_TREE_CLONE : 0) | SOME_OF(bits);
    close(*tree);
    say(" %ld %lx", tree - trees, flags);
    success(*tree = syscall(SYS_open_tree, AT_FDCWD, place(), flags | OPEN_TREE_CLOEXEC));
    // A tree that is mounted nowhere is no peer of others here: it receives nothing, and does not keep a group alive.
    struct mount_attr attr = {.propagation = MS_PRIVATE};
    if (flags & OPEN_TREE_CLONE)
        syscall(SYS_mount_setattr, *tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr);
}
// Without MOVE_MOUNT_SET_GROUP and MOVE_MOUNT_BENEATH, which stockade knows as little as a kernel before them.
ORDERED(14, move_mount)
{
    int tree = pick(3);
    for (int i = 0; i < 3 && trees[tree] < 0; i++) // which of two names is looked up first is not the same in all versions
        tree = (tree + 1) % 3;
    if (trees[tree] < 0)
        return;
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (chance(30) ? MOVE_MOUNT_T_SYMLINKS : 0);
    say(" %d %x", tree, flags);
    result(syscall(SYS_move_mount, trees[tree], "", AT_FDCWD, place(), flags));
}
ORDERED(8, move_path)
{
    unsigned flags = (chance(30) ? MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_F_SYMLINKS : 0);
    say(" %x", flags);
    const char *from = place(), *to = place();
    result(syscall(SYS_move_mount, AT_FDCWD, from, AT_FDCWD, to, flags));
}
static void change(int fd, const char *path, unsigned flags)
{
    static const unsigned long bits[] = {MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME};
    static const unsigned long types[] = {MS_SHARED, MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, MS_SHARED | MS_SLAVE, 1};
    struct mount_attr attr = {.attr_set = SOME_OF(bits), .attr_clr = SOME_OF(bits)};
    if (attr.attr_set & MOUNT_ATTR__ATIME ? chance(90) : chance(20))
        attr.attr_clr |= MOUNT_ATTR__ATIME;
    if (chance(30))
        attr.propagation = ONE_OF(types);
    flags |= chance(40) ? AT_RECURSIVE : 0;
    say(" %x +%llx -%llx %llx", flags, attr.attr_set, attr.attr_clr, attr.propagation);
    result(syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr));
}
ORDERED(12, setattr) { change(AT_FDCWD, mount_place(), 0); }
ORDERED(6, setattr_tree)
{
    int tree = pick(3);
    say(" %d", tree);
    change(trees[tree], "", AT_EMPTY_PATH);
    struct mount_attr attr = {.propagation = MS_PRIVATE};
    struct statx s;
    if (statx(trees[tree], "", AT_EMPTY_PATH, 0, &s) == 0 && s.stx_attributes & STATX_ATTR_MOUNT_ROOT)
        syscall(SYS_mount_setattr, trees[tree], "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr);
}
ORDERED(8, fsmount)
{
    static const char *const keys[] = {"source", "size", "mode", "ro", "rw", "bogus", "nr_inodes"}, *const values[] = {"1m", "755", "4096", "x", "7", ""};
    static const unsigned long bits[] = {MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME};
    int *tree = &ONE_OF(trees), fs = syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    for (int i = pick(4); i > 0; i--) {
        const char *key = ONE_OF(keys), *value = chance(30) ? NULL : ONE_OF(values);
        say(" %s%s%s", key, value ? "=" : "", value ?: "");
        result(syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0));
    }
    if (chance(90))
        result(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    unsigned long flags = SOME_OF(bits);
    say(" %ld %lx", tree - trees, flags);
    close(*tree);
    success(*tree = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, flags));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", *tree);
    furnish(path);
    close(fs);
}
ORDERED(10, statfs)
{
    struct statfs s;
    if (result(statfs(place(), &s)) == 0)
        say(" %lx %lx %ld", (long)s.f_flags, (long)s.f_type, (long)s.f_bsize);
}
ORDERED(12, use)
{
    char path[600];
    const char *in = place();
    snprintf(path, sizeof path, "%s/f", in);
    struct timespec old[2] = {{1000, 0}, {2000, 0}};
    int fd;
    say(" times"), result(utimensat(AT_FDCWD, path, old, 0));
    say(" write"), success(fd = open(path, O_WRONLY)), close(fd);
    say(" exec"), result(access(path, X_OK));
    say(" read"), success(fd = open(path, O_RDONLY));
    char byte;
    struct stat s;
    ssize_t n = read(fd, &byte, 1);
    close(fd);
    if (n == 1 && stat(path, &s) == 0)
        say(" %s", s.st_atime == 1000 ? "old" : "new");
    snprintf(path, sizeof path, "%s/null", in);
    say(" device"), success(fd = open(path, O_RDONLY)), close(fd);
    snprintf(path, sizeof path, "%s/l/x", in);
    say(" link"), result(access(path, F_OK));
}
ORDERED(8, names)
{
    const char *path = place();
    unsigned what = pick(4);
    if (access(path, F_OK)) // EROFS comes before ENOENT on a mount that is read-only, and only there
        return;
    switch (what) {
    case 0:
        say(" rmdir"), result(rmdir(path));
        break;
    case 1:
        say(" unlink"), result(unlink(path));
        break;
    case 2:
        say(" rename"), result(rename(path, place()));
        break;
    case 3:
        say(" mkdir"), result(mkdir(path, 0755));
    }
}
ORDERED(4, furnish) { furnish(place()); }
ORDERED(2, unshare) { result(unshare(CLONE_NEWNS)); }
ORDERED(4, setns)
{
    int to = pick(WORKERS);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", workers[to].pid ?: getppid());
    say(" %d", to);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    result(setns(fd, CLONE_NEWNS));
    close(fd);
}
ACTION(3, restart)
{
    int who = pick(WORKERS);
    say("restart %d", who);
    end_worker(who), start_worker(who, prepare), show_all();
}

static void begin(void)
{
    char here[200];
    unshare(CLONE_NEWNS);
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    getcwd(here, sizeof here);
    snprintf(top, sizeof top, "%s/top", here);
    mkdir(top, 0755);
    mount("top", top, "tmpfs", 0, NULL);
    mount(NULL, top, NULL, MS_SHARED, NULL);
    furnish(top);
    chdir("/");
    for (int i = 0; i < WORKERS; i++)
        start_worker(i, prepare);
}
RANDOM_MAIN(begin)
