// Options of mounts and of tmpfs, as mountinfo shows them, and which mounts can be changed: mount(2), tmpfs(5), open_tree(2).
#include "check.h"
#include "mounts.h"
#include <linux/mount.h>

static void made(unsigned long flags, const char *options)
{
    own_mounts();
    OK(mkdir("a", 0755)), OK(mkdir("b", 0755));
    OK(mount("x", "a", "tmpfs", flags, options));
}
static void shows(const char *options, const char *type)
{
    const char *line = mountinfo("a");
    if (!strstr(line, options) || !strstr(line, type))
        FAIL("not %s and %s: %s", options, type, line);
}

TEST(one_way_to_keep_times) { made(MS_STRICTATIME | MS_NOATIME | MS_RELATIME | MS_NODIRATIME, ""), shows("/a rw,nodiratime - ", ""); }
TEST(noatime_goes_before_relatime) { made(MS_NOATIME | MS_RELATIME, ""), shows("/a rw,noatime - ", ""); }
TEST(a_remount_keeps_the_way)
{
    made(MS_NOATIME | MS_NODIRATIME, "");
    OK(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL)), shows("/a rw,nosuid,noatime,nodiratime - ", "");
    OK(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_RELATIME, NULL)), shows("/a rw,relatime - ", "");
}
TEST(a_tmpfs_shows_what_is_not_usual)
{
    made(0, ""), shows("/a rw,relatime - ", " - tmpfs x rw\n");
    OK(umount("a"));
    OK(mount("", "a", "tmpfs", 0, "mode=7,uid=7,gid=3,size=1m")), shows(" - tmpfs  rw,size=1024k,mode=007,uid=7,gid=3\n", "");
    struct stat s;
    OK(stat("a", &s));
    EQ(s.st_uid, 7);
    EQ(s.st_gid, 3);
    FAILS(EINVAL, mount("x", "b", "tmpfs", 0, "uid=4294967295"));
}
TEST(options_of_all_file_systems)
{
    made(MS_NOSUID, "ro,size=1m"), shows("/a rw,nosuid,relatime - ", " - tmpfs x ro,size=1024k\n");
    FAILS(EROFS, mkdir("a/x", 0755));
    FAILS(EROFS, rmdir("a/none"));
    FAILS(EROFS, unlink("a/none"));
    FAILS(EROFS, rename("a/none", "a/other"));
    OK(mount(NULL, "a", NULL, MS_REMOUNT, "rw,size=2m")), shows("/a rw,relatime - ", " - tmpfs x rw,size=2048k\n");
    OK(mkdir("a/x", 0755));
}
TEST(what_was_unmounted_is_not_mounted_again)
{
    made(0, "");
    int tree = OK(syscall(SYS_open_tree, AT_FDCWD, "a", OPEN_TREE_CLONE));
    OK(syscall(SYS_move_mount, tree, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH));
    OK(umount2("b", MNT_DETACH));
    FAILS(EINVAL, syscall(SYS_move_mount, tree, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH));
    FAILS(EINVAL, syscall(SYS_open_tree, tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
}
TEST(mounts_of_others_are_left_alone)
{
    made(0, "");
    char here[PATH_MAX / 2], there[PATH_MAX];
    int pipes[2];
    CHECK(getcwd(here, sizeof here));
    OK(pipe(pipes));
    pid_t child = FORK({
        OK(unshare(CLONE_NEWNS));
        OK(write(pipes[1], "x", 1));
        pause();
    });
    EQ(read(pipes[0], there, 1), 1);
    snprintf(there, sizeof there, "/proc/%d/root%s/a", child, here);
    FAILS(EINVAL, mount("x", there, "tmpfs", 0, NULL));
    FAILS(EINVAL, mount("b", there, NULL, MS_BIND, NULL));
    FAILS(EINVAL, mount(there, "b", NULL, MS_BIND, NULL));
    FAILS(EINVAL, mount(there, "b", NULL, MS_MOVE, NULL));
    FAILS(EINVAL, mount(NULL, there, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    FAILS(EINVAL, umount2(there, MNT_DETACH));
    OK(kill(child, SIGKILL));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

MAIN()
