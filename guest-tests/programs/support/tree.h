// What the differential tests of files share: the folder as the root of the file system, and after each step what changed in it.
#pragma once
#include "random.h"
#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>

// A step: before() and after() stand around each action.
static void before(void), after(void);
#define STEP(weight, id)                                                                                               \
    static void step_##id(void);                                                                                       \
    ACTION(weight, id) { before(), step_##id(), after(); }                                                             \
    static void step_##id(void)

struct tree_entry {
    char path[600];
    struct stat st;
    struct timespec left; // the time of change, once the others were set back
    uint32_t sum, xattrs;
    int same; // the first entry with this inode
};
static struct tree_entry tree_old[150], tree_new[150];
static int tree_old_count, tree_count, tree_root = -1;
static bool tree_xattrs, tree_atimes;

// These capabilities, of those that are permitted, are in effect from now on; which were before.
static inline uint64_t capabilities(uint64_t effective)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    syscall(SYS_capget, &header, data);
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32, old = data[0].effective | (uint64_t)data[1].effective << 32;
    data[0].effective = effective & permitted, data[1].effective = (effective & permitted) >> 32;
    syscall(SYS_capset, &header, data);
    return old;
}

// Text as it is, unless it is long.
static inline const char *brief(const char *text)
{
    static char ring[4][120];
    static int at;
    size_t length = strlen(text);
    if (length < 100)
        return text;
    char *to = ring[at++ % 4];
    snprintf(to, sizeof ring[0], "%.20s~%zu~%08x", text, length, sum_of(text, length));
    return to;
}
// The current folder becomes the root, with /proc: whatever path a step makes up, it stays inside.
static inline void tree_enclose(void)
{
    chmod(".", 0755);
    if (mkdir("proc", 0755) || mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL) || chroot(".") || chdir("/")) {
        perror("chroot");
        exit(4);
    }
    struct statfs fs;
    statfs(".", &fs);
    tree_atimes = fs.f_type == 0x01021994; // an overlay keeps them in its own way, and on the host's disk others read, too
    tree_root = fcntl(open("/", O_RDONLY | O_DIRECTORY), F_DUPFD_CLOEXEC, 901);
}
// The identities of a step; effective ids, so that it can go back.
static inline void become(uid_t uid, gid_t gid)
{
    if (uid == 0)
        setresuid(-1, 0, -1);
    setresgid(-1, gid, -1);
    if (uid != 0)
        setresuid(-1, uid, -1);
}
static inline uint32_t tree_content(int fd)
{
    static char data[1 << 16];
    uint32_t sum = 0;
    for (off_t at = 0; at < 1 << 20;) {
        ssize_t n = pread(fd, data, sizeof data, at);
        if (n <= 0)
            break;
        sum = sum * 31 + sum_of(data, n);
        at += n;
    }
    return sum;
}
// The sum of all attributes, whatever their order.
static inline uint32_t tree_attributes(const char *path)
{
    char names[4096], value[4096];
    uint32_t sum = 0;
    ssize_t size = llistxattr(path, names, sizeof names);
    for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        ssize_t n = lgetxattr(path, name, value, sizeof value);
        sum += sum_of(name, strlen(name)) * 7 + (n > 0 ? sum_of(value, n) : n);
    }
    return size < 0 ? -1 : sum;
}
// Times that a call has set to the present are set back to this one: whether a call does is then sure, however coarse the clock.
static const struct timespec long_ago = {1000000000, 0};
static inline bool is_now(struct timespec t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return t.tv_sec > now.tv_sec - 10000 && t.tv_sec < now.tv_sec + 10000;
}
static inline void tree_set_back(struct tree_entry *entry, int dir, const char *name, int flags)
{
    bool modified = is_now(entry->st.st_mtim), accessed = tree_atimes && is_now(entry->st.st_atim);
    struct timespec times[2] = {long_ago, long_ago}, omit = {.tv_nsec = UTIME_OMIT};
    struct stat st = entry->st;
    if (!modified)
        times[1] = omit;
    if (!accessed)
        times[0] = omit;
    if (!S_ISLNK(st.st_mode) && (modified || accessed) && !utimensat(dir, name, times, flags))
        fstatat(dir, name, &st, flags);
    entry->left = st.st_ctim;
}
static inline int tree_by_name(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }
static inline void tree_walk(int dir, const char *path)
{
    char *names[150];
    int count = 0;
    int list = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
    DIR *stream = list < 0 ? NULL : fdopendir(list);
    for (struct dirent *entry; stream && count < 150 && (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    qsort(names, count, sizeof *names, tree_by_name);
    for (int i = 0; i < count; free(names[i++])) {
        if (tree_count == 150 || (dir == tree_root && !strcmp(names[i], "proc")))
            continue;
        struct tree_entry *entry = &tree_new[tree_count++];
        memset(entry, 0, sizeof *entry);
        snprintf(entry->path, sizeof entry->path, "%s%s%s", path, *path ? "/" : "", names[i]);
        if (fstatat(dir, names[i], &entry->st, AT_SYMLINK_NOFOLLOW)) {
            tree_count--;
            continue;
        }
        for (entry->same = 0; tree_new[entry->same].st.st_ino != entry->st.st_ino; entry->same++)
            ;
        char around[PATH_MAX];
        ssize_t size;
        int fd;
        if (tree_xattrs)
            snprintf(around, sizeof around, "/proc/self/fd/%d/%s", dir, names[i]), entry->xattrs = tree_attributes(around);
        if (S_ISLNK(entry->st.st_mode) && (size = readlinkat(dir, names[i], around, sizeof around)) >= 0)
            entry->sum = sum_of(around, size);
        if (S_ISREG(entry->st.st_mode) && entry->st.st_size && (fd = openat(dir, names[i], O_RDONLY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC)) >= 0)
            entry->sum = tree_content(fd), close(fd);
        if (S_ISDIR(entry->st.st_mode) && (fd = openat(dir, names[i], O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_NOATIME | O_CLOEXEC)) >= 0) {
            char below[600];
            strcpy(below, entry->path);
            tree_walk(fd, below), close(fd);
        }
        tree_set_back(entry, dir, names[i], AT_SYMLINK_NOFOLLOW);
    }
    if (stream)
        closedir(stream);
}
static inline bool same_time(struct timespec one, struct timespec other) { return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec; }
static inline void say_time(char name, struct timespec t)
{
    if (is_now(t))
        say("%c", name);
    else if (!same_time(t, long_ago))
        say(" %c%ld.%ld ", name, t.tv_sec, t.tv_nsec);
}
static inline void tree_describe(char *to, size_t size, const struct tree_entry *entry)
{
    const struct stat *st = &entry->st;
    size_t used = snprintf(to, size, "%s %o %u:%u", brief(entry->path), st->st_mode, st->st_uid, st->st_gid);
    if (!S_ISDIR(st->st_mode))
        used += snprintf(to + used, size - used, " x%lu %ld %08x", st->st_nlink, (long)st->st_size, entry->sum);
    else
        used += snprintf(to + used, size - used, " x%lu", st->st_nlink);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        used += snprintf(to + used, size - used, " %x", (unsigned)st->st_rdev);
    if (tree_xattrs)
        used += snprintf(to + used, size - used, " %08x", entry->xattrs);
    if (strcmp(tree_new[entry->same].path, entry->path))
        snprintf(to + used, size - used, " =%s", brief(tree_new[entry->same].path));
}
static inline const struct tree_entry *tree_earlier(ino_t ino)
{
    for (int i = 0; i < tree_old_count; i++)
        if (tree_old[i].st.st_ino == ino)
            return &tree_old[i];
    return NULL;
}
static inline int tree_find(const struct tree_entry *in, int count, const char *path)
{
    int at = 0;
    while (at < count && strcmp(in[at].path, path))
        at++;
    return at;
}
// Says which entries came, went and changed, and which of their times did.
static inline void tree_changes(void)
{
    static char lines[2][150][400];
    static unsigned turn;
    char(*old)[400] = lines[turn % 2], (*new)[400] = lines[++turn % 2];
    memset(tree_new, 0, sizeof *tree_new);
    strcpy(tree_new->path, "/");
    fstat(tree_root, &tree_new->st);
    tree_count = 1;
    tree_walk(tree_root, "");
    tree_set_back(tree_new, tree_root, "", AT_EMPTY_PATH);
    for (int i = 0; i < tree_count; i++) {
        tree_describe(new[i], sizeof *new, &tree_new[i]);
        const struct stat *is = &tree_new[i].st;
        const struct tree_entry *was = tree_earlier(is->st_ino);
        int at = tree_find(tree_old, tree_old_count, tree_new[i].path);
        bool changed = was && !same_time(was->left, is->st_ctim);
        bool modified = !S_ISLNK(is->st_mode) && is_now(is->st_mtim), accessed = tree_atimes && !S_ISLNK(is->st_mode) && is_now(is->st_atim);
        if (at == tree_old_count || strcmp(old[at], new[i]))
            say("\n  %c %s ", at == tree_old_count ? '+' : '*', new[i]);
        else if (modified || changed || accessed)
            say("\n    %s ", brief(tree_new[i].path));
        else
            continue;
        if (!S_ISLNK(is->st_mode))
            say_time('m', is->st_mtim);
        if (changed && !(modified && S_ISDIR(is->st_mode))) // tmpfs' folders take the time of change from what is removed, which may be as coarse as the tick
            say("c");
        if (tree_atimes && !S_ISLNK(is->st_mode))
            say_time('a', is->st_atim);
    }
    for (int i = 0; i < tree_old_count; i++)
        if (tree_find(tree_new, tree_count, tree_old[i].path) == tree_count)
            say("\n  - %s", old[i]);
    memcpy(tree_old, tree_new, tree_count * sizeof *tree_new);
    tree_old_count = tree_count;
}
