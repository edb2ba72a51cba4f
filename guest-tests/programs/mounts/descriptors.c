// The mount API by descriptors: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2), mount_setattr(2), and what
// is mounted by ids: statmount(2), listmount(2).
#include "check.h"
#include "mounts.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>

static int fs_open(const char *name, unsigned flags) { return syscall(SYS_fsopen, name, flags); }
static int fs_set(int fd, const char *key, const char *value)
{
    return syscall(SYS_fsconfig, fd, value ? 1 : 0, key, value, 0);
}
static int fs_create(int fd) { return syscall(SYS_fsconfig, fd, 6, NULL, NULL, 0); }
static int fs_reconfigure(int fd) { return syscall(SYS_fsconfig, fd, 7, NULL, NULL, 0); }
static int fs_mount(int fd, unsigned attributes) { return syscall(SYS_fsmount, fd, 1, attributes); }
static int open_tree_at(const char *path, unsigned flags) { return syscall(SYS_open_tree, AT_FDCWD, path, flags); }
static int mount_fd(int fd, const char *to) { return syscall(SYS_move_mount, fd, "", AT_FDCWD, to, 4); }
struct attr {
    uint64_t set, clear, propagation, userns;
};
static int set_attr(const char *path, unsigned flags, struct attr attr)
{
    return syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr, sizeof attr);
}
static bool exists(const char *path) { return access(path, F_OK) == 0; }

TEST(a_file_system_is_configured_made_and_mounted)
{
    own_mounts();
    OK(mkdir("m", 0755));
    int fs = OK(fs_open("tmpfs", 1));
    EQ(OK(fcntl(fs, F_GETFD)), FD_CLOEXEC);
    OK(fs_set(fs, "source", "a source"));
    OK(fs_set(fs, "size", "1m")), OK(fs_set(fs, "mode", "0711"));
    FAILS(EINVAL, fs_set(fs, "source", "another"));
    FAILS(EINVAL, fs_mount(fs, 0)); // not made yet
    OK(fs_create(fs));
    FAILS(EBUSY, fs_create(fs));
    int tree = OK(fs_mount(fs, 2 | 4)); // nosuid, nodev
    FAILS(EBADF, read(tree, &tree, 1)); // an O_PATH descriptor
    int file = OK(openat(tree, "file", O_CREAT | O_RDWR, 0600)); // it works before it is mounted
    OK(close(file));
    CHECK(!exists("m/file"));
    OK(mount_fd(tree, "m"));
    OK(close(tree)), OK(close(fs));
    CHECK(exists("m/file"));
    struct stat st;
    OK(stat("m", &st));
    EQ(st.st_mode, S_IFDIR | 0711);
    struct statvfs vfs;
    OK(statvfs("m", &vfs));
    EQ(vfs.f_blocks * vfs.f_frsize, 1 << 20);
    EQ(vfs.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC), ST_NOSUID | ST_NODEV);
    CHECK(strstr(mountinfo("m"), "tmpfs a\\040source"));
    OK(umount("m"));
}

TEST(unknown_types_and_options_are_refused)
{
    own_mounts();
    FAILS(ENODEV, fs_open("no-such-fs", 0));
    FAILS(EINVAL, fs_open("tmpfs", 2));
    int fs = OK(fs_open("tmpfs", 0));
    FAILS(EINVAL, fs_set(fs, "no-such-option", "1"));
    char text[300];
    ssize_t len = OK(read(fs, text, sizeof text - 1)); // a message for humans
    text[len] = 0;
    CHECK(strncmp(text, "e ", 2) == 0 && strstr(text, "tmpfs"));
    FAILS(ENODATA, read(fs, text, sizeof text));
    FAILS(EINVAL, fs_set(fs, "size", "many"));
    FAILS(EOPNOTSUPP, syscall(SYS_fsconfig, fs, 99, NULL, NULL, 0));
    FAILS(EINVAL, syscall(SYS_fsconfig, fs, 6, "key", NULL, 0));
    FAILS(EINVAL, syscall(SYS_fsconfig, fs, 1, "size", NULL, 0));
    FAILS(EBADF, syscall(SYS_fsconfig, 999, 6, NULL, NULL, 0));
    int other = OK(open("/", O_RDONLY));
    FAILS(EINVAL, fs_create(other));
    FAILS(EINVAL, fs_mount(other, 0));
    OK(fs_create(fs));
    FAILS(EINVAL, fs_mount(fs, 0x70)); // all ways to keep times at once
}

TEST(a_tree_that_nobody_mounted_goes_with_its_descriptor)
{
    own_mounts();
    OK(mkdir("m", 0755));
    int fs = OK(fs_open("tmpfs", 0));
    OK(fs_create(fs));
    int tree = OK(fs_mount(fs, 0));
    int inside = OK(openat(tree, ".", O_RDONLY | O_DIRECTORY));
    OK(close(tree));
    int file = OK(openat(inside, "f", O_CREAT | O_RDWR, 0600)); // the file system lives as long as it is used
    OK(close(file)), OK(close(inside));
    OK(rmdir("m"));
}

TEST(what_is_mounted_is_changed_by_a_pick)
{
    own_mounts();
    OK(mkdir("m", 0755)), OK(mkdir("plain", 0755));
    OK(mount("x", "m", "tmpfs", 0, "size=1m"));
    FAILS(EINVAL, syscall(SYS_fspick, AT_FDCWD, "plain", 0)); // not the root of a mount
    int fs = OK(syscall(SYS_fspick, AT_FDCWD, "m", 1));
    FAILS(EBUSY, fs_create(fs));
    OK(fs_set(fs, "size", "2m")), OK(fs_set(fs, "ro", NULL));
    OK(fs_reconfigure(fs));
    struct statvfs vfs;
    OK(statvfs("m", &vfs));
    EQ(vfs.f_blocks * vfs.f_frsize, 2 << 20);
    FAILS(EROFS, mkdir("m/d", 0755));
    OK(umount("m"));
}

TEST(trees_are_cloned_and_mounted_elsewhere)
{
    own_mounts();
    OK(mkdir("a", 0755)), OK(mkdir("b", 0755)), OK(mkdir("a/m", 0755));
    write_file("a/file", "x");
    OK(mount("x", "a/m", "tmpfs", 0, NULL));
    write_file("a/m/inside", "x");
    FAILS(EINVAL, open_tree_at("a", AT_RECURSIVE)); // without CLONE
    FAILS(EINVAL, open_tree_at("a", 0x10));
    int place = OK(open_tree_at("a", 0));
    CHECK(faccessat(place, "m/inside", F_OK, 0) == 0);
    int one = OK(open_tree_at("a", 1));
    CHECK(faccessat(one, "file", F_OK, 0) == 0 && faccessat(one, "m/inside", F_OK, 0) != 0);
    int all = OK(open_tree_at("a", 1 | AT_RECURSIVE | O_CLOEXEC));
    CHECK(faccessat(all, "m/inside", F_OK, 0) == 0);
    OK(mount_fd(all, "b"));
    CHECK(exists("b/m/inside"));
    FAILS(EINVAL, mount_fd(place, "b")); // not the root of a mount
    OK(close(all));
    OK(umount("b/m")), OK(umount("b"));
    OK(mount_fd(one, "b"));
    CHECK(exists("b/file") && !exists("b/m/inside"));
    OK(close(one)), OK(close(place));
    OK(umount("b")), OK(umount("a/m"));
}

TEST(mounts_are_moved)
{
    own_mounts();
    OK(mkdir("a", 0755)), OK(mkdir("b", 0755));
    write_file("plain", "x");
    OK(mount("x", "a", "tmpfs", 0, NULL));
    write_file("a/f", "x");
    OK(mkdir("a/below", 0755));
    FAILS(ELOOP, syscall(SYS_move_mount, AT_FDCWD, "a", AT_FDCWD, "a/below", 0));
    FAILS(EINVAL, syscall(SYS_move_mount, AT_FDCWD, "b", AT_FDCWD, "a/below", 0));
    FAILS(EINVAL, syscall(SYS_move_mount, AT_FDCWD, "a", AT_FDCWD, "plain", 0));
    FAILS(ENOENT, syscall(SYS_move_mount, AT_FDCWD, "a", AT_FDCWD, "nothing", 0));
    FAILS(EINVAL, syscall(SYS_move_mount, AT_FDCWD, "a", AT_FDCWD, "b", 0x8000));
    OK(syscall(SYS_move_mount, AT_FDCWD, "a", AT_FDCWD, "b", 0));
    CHECK(exists("b/f") && !exists("a/f"));
    OK(umount("b"));
}

TEST(attributes_of_a_tree_change_together)
{
    own_mounts();
    OK(mkdir("m", 0755));
    OK(mount("x", "m", "tmpfs", 0, NULL));
    OK(mkdir("m/n", 0755));
    OK(mount("y", "m/n", "tmpfs", 0, NULL));
    struct statvfs vfs;
    OK(set_attr("m", 0, (struct attr){.set = 1}));
    FAILS(EROFS, mkdir("m/d", 0755));
    OK(mkdir("m/n/d", 0755)); // only the one
    int fd = OK(open("m/n/f", O_CREAT | O_RDWR, 0600));
    FAILS(EBUSY, set_attr("m", AT_RECURSIVE, (struct attr){.set = 1 | 8}));
    OK(statvfs("m", &vfs));
    CHECK(!(vfs.f_flag & ST_NOEXEC)); // all or nothing
    OK(close(fd));
    OK(set_attr("m", AT_RECURSIVE, (struct attr){.set = 8 | 0x80}));
    OK(statvfs("m/n", &vfs));
    EQ(vfs.f_flag & (ST_NOEXEC | ST_NODIRATIME), ST_NOEXEC | ST_NODIRATIME);
    OK(set_attr("m", AT_RECURSIVE, (struct attr){.clear = 1 | 8}));
    OK(mkdir("m/d", 0755));
    OK(statvfs("m/n", &vfs));
    EQ(vfs.f_flag & (ST_NOEXEC | ST_NODIRATIME), ST_NODIRATIME);
    OK(set_attr("m", 0, (struct attr){.set = 0x10, .clear = 0x70}));
    OK(statvfs("m", &vfs));
    EQ(vfs.f_flag & (ST_NOATIME | ST_RELATIME), ST_NOATIME);
    FAILS(EINVAL, set_attr("m", 0, (struct attr){.set = 0x20})); // the old way must be cleared
    FAILS(EINVAL, set_attr("m", 0, (struct attr){.set = 0x20, .clear = 0x10}));
    FAILS(EINVAL, set_attr("m", 0, (struct attr){.set = 1ull << 40}));
    FAILS(EINVAL, set_attr("m", 0, (struct attr){.propagation = MS_SHARED | MS_SLAVE}));
    FAILS(EINVAL, set_attr("m", 0x1, (struct attr){.set = 1}));
    FAILS(EINVAL, set_attr("m/d", 0, (struct attr){.set = 1}));
    FAILS(EINVAL, syscall(SYS_mount_setattr, AT_FDCWD, "m", 0, &vfs, 8));
    OK(set_attr("m", AT_RECURSIVE, (struct attr){.propagation = MS_SHARED}));
    CHECK(strstr(mountinfo("m/n"), "shared:"));
    OK(umount2("m", MNT_DETACH));
}

TEST(without_rights_nothing_is_mounted)
{
    own_mounts();
    OK(mkdir("m", 0755));
    OK(mount("x", "m", "tmpfs", 0, NULL));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, fs_open("tmpfs", 0));
        FAILS(EPERM, open_tree_at("m", 1));
        OK(open_tree_at("m", 0));
        FAILS(EPERM, syscall(SYS_fspick, AT_FDCWD, "m", 0));
        FAILS(EPERM, syscall(SYS_move_mount, AT_FDCWD, "m", AT_FDCWD, ".", 0));
        FAILS(EPERM, set_attr("m", 0, (struct attr){.set = 1}));
    }));
}

struct request {
    uint32_t size, spare;
    uint64_t id, param, ns;
};
struct answer {
    uint32_t size, opts;
    uint64_t mask;
    uint32_t major, minor;
    uint64_t magic;
    uint32_t sb_flags, type;
    uint64_t id, parent;
    uint32_t old_id, old_parent;
    uint64_t attr, propagation, peer_group, master, from;
    uint32_t root, point;
    uint64_t ns, rest[49];
    char texts[2000];
};
_Static_assert(offsetof(struct answer, texts) == 512, "struct statmount");
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif
static uint64_t id_of(const char *path)
{
    struct { uint32_t mask; char before[140]; uint64_t id; char rest[200]; } st;
    OK(syscall(SYS_statx, AT_FDCWD, path, 0, 0x4000u, &st)); // STATX_MNT_ID_UNIQUE
    return st.id;
}
static long stat_mount(uint64_t id, uint64_t mask, struct answer *to, size_t size)
{
    struct request request = {24, 0, id, mask, 0};
    return syscall(SYS_statmount, &request, to, size, 0);
}

TEST(a_mount_is_told_by_its_id)
{
    own_mounts();
    OK(mkdir("m", 0755));
    OK(mount("from here", "m", "tmpfs", MS_NODEV | MS_NOATIME, "size=1m"));
    OK(mount(NULL, "m", NULL, MS_SHARED, NULL));
    struct answer a;
    memset(&a, 0xff, sizeof a);
    if (stat_mount(id_of("m"), 0x3b, &a, sizeof a) < 0 && errno == ENOSYS)
        SKIP("no statmount here");
    OK(stat_mount(id_of("m"), 0x3b, &a, sizeof a));
    EQ(a.mask, 0x3b);
    EQ(a.magic, 0x01021994);
    EQ(a.id, id_of("m"));
    EQ(a.attr, 4 | 0x10);
    EQ(a.propagation, MS_SHARED);
    CHECK(a.peer_group != 0 && a.master == 0);
    STREQ(a.texts + a.type, "tmpfs");
    STREQ(a.texts + a.root, "/");
    char here[PATH_MAX];
    CHECK(getcwd(here, sizeof here - 2));
    strcat(here, "/m");
    STREQ(a.texts + a.point, here);
    struct stat st;
    OK(stat("m", &st));
    EQ(st.st_dev, (uint64_t)a.major << 8 | a.minor);
    EQ(stat_mount(id_of("m"), 2, &a, sizeof a), 0);
    EQ(a.mask, 2);
    FAILS(ENOENT, stat_mount(0x7fffffffffff, 2, &a, sizeof a));
    FAILS(EOVERFLOW, stat_mount(id_of("m"), 0x20, &a, 514));
    struct request request = {8, 0, id_of("m"), 2, 0};
    FAILS(EINVAL, syscall(SYS_statmount, &request, &a, sizeof a, 0));
    request.size = 24;
    FAILS(EINVAL, syscall(SYS_statmount, &request, &a, sizeof a, 1));
}

TEST(mounts_below_are_listed)
{
    own_mounts();
    OK(mkdir("m", 0755));
    OK(mount("x", "m", "tmpfs", 0, NULL));
    OK(mkdir("m/a", 0755)), OK(mkdir("m/b", 0755));
    OK(mount("x", "m/a", "tmpfs", 0, NULL)), OK(mount("x", "m/b", "tmpfs", 0, NULL));
    uint64_t ids[8] = {0}, a = id_of("m/a"), b = id_of("m/b");
    struct request request = {24, 0, id_of("m"), 0, 0};
    long count = syscall(SYS_listmount, &request, ids, 8, 0);
    if (count < 0 && errno == ENOSYS)
        SKIP("no listmount here");
    EQ(count, 2);
    EQ(ids[0], a);
    EQ(ids[1], b);
    request.param = a;
    EQ(OK(syscall(SYS_listmount, &request, ids, 8, 0)), 1);
    EQ(ids[0], b);
    request.param = 0;
    EQ(OK(syscall(SYS_listmount, &request, ids, 1, 0)), 1);
    EQ(ids[0], a);
    request.id = -1; // the namespace's
    static uint64_t all[4096];
    count = OK(syscall(SYS_listmount, &request, all, 4096, 0));
    int seen = 0;
    for (long i = 0; i < count; i++)
        seen += all[i] == a || all[i] == b;
    EQ(seen, 2);
    request.id = 0x7fffffffffff;
    FAILS(ENOENT, syscall(SYS_listmount, &request, ids, 8, 0));
}

MAIN()
