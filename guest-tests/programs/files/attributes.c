// stat, statx, times, modes, owners, umask, access, extended attributes: inode(7), statx(2), utimensat(2), chmod(2), xattr(7).
#include "check.h"
#include <grp.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static struct stat st;
static const struct stat *look(const char *path)
{
    OK(lstat(path, &st));
    return &st;
}
static void as_user(void)
{
    OK(setgroups(0, NULL));
    OK(setresgid(1000, 1000, 1000));
    OK(setresuid(1000, 1000, 1000));
}


TEST(statx)
{
    write_file("f", "hello");
    struct statx x;
    OK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &x));
    EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    look("f");
    EQ(x.stx_size, 5);
    EQ(x.stx_ino, st.st_ino);
    EQ(x.stx_mode, st.st_mode);
    EQ(x.stx_nlink, 1);
    EQ(x.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
    EQ(x.stx_dev_major, major(st.st_dev));
    EQ(x.stx_dev_minor, minor(st.st_dev));
    int fd = OK(open("f", O_RDONLY));
    OK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    EQ(x.stx_size, 5);
    FAILS(ENOENT, statx(fd, "", 0, STATX_SIZE, &x));
    FAILS(EINVAL, statx(AT_FDCWD, "f", 0x10000, STATX_SIZE, &x));
    FAILS(EINVAL, statx(AT_FDCWD, "f", 0, 0x80000000, &x));
}

TEST(times)
{
    write_file("f", "x");
    struct timespec t[2] = {{1000, 5}, {2000, 6}};
    OK(utimensat(AT_FDCWD, "f", t, 0));
    look("f");
    EQ(st.st_atim.tv_sec, 1000);
    EQ(st.st_mtim.tv_sec, 2000);
    EQ(st.st_mtim.tv_nsec, 6);
    t[0].tv_nsec = UTIME_OMIT, t[1].tv_nsec = UTIME_NOW;
    OK(utimensat(AT_FDCWD, "f", t, 0));
    look("f");
    EQ(st.st_atim.tv_sec, 1000);
    CHECK(st.st_mtim.tv_sec > 1000000000);
    OK(symlink("f", "l"));
    t[0] = (struct timespec){7, 0}, t[1] = (struct timespec){8, 0};
    OK(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
    EQ(look("l")->st_mtim.tv_sec, 8);
    CHECK(look("f")->st_mtim.tv_sec != 8);
    t[0].tv_nsec = 1000000000;
    FAILS(EINVAL, utimensat(AT_FDCWD, "f", t, 0));
    int fd = OK(open("f", O_RDONLY));
    t[0] = (struct timespec){11, 0}, t[1] = (struct timespec){-1, 0}; // before 1970
    OK(futimens(fd, t));
    EQ(look("f")->st_mtim.tv_sec, -1);
    OK(utimensat(AT_FDCWD, "f", NULL, 0));
    CHECK(look("f")->st_mtim.tv_sec > 1000000000);
    if (geteuid() == 0) {
        pid_t child = FORK({
            as_user();
            FAILS(EPERM, futimens(fd, t));
            FAILS(EACCES, futimens(fd, NULL));
        });
        WAIT_OK(child);
    }
}

static bool later(struct timespec a, struct timespec b) { return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec); }

TEST(cutting_moves_times)
{
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    write_file("f", "");
    OK(utimensat(AT_FDCWD, "f", old, 0));
    close(OK(open("f", O_WRONLY | O_TRUNC)));
    CHECK(look("f")->st_mtim.tv_sec != 1000); // although it was empty
    OK(utimensat(AT_FDCWD, "f", old, 0));
    int fd = OK(open("f", O_RDWR));
    OK(ftruncate(fd, 0));
    CHECK(look("f")->st_mtim.tv_sec != 1000);
}

TEST(reading_moves_the_time_of_access)
{
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    write_file("f", "x");
    int fd = OK(open("f", O_RDONLY));
    char c;
    OK(utimensat(AT_FDCWD, "f", old, 0));
    EQ(pread(fd, &c, 1, 5), 0); // at the end, too
    CHECK(look("f")->st_atim.tv_sec != 1000);
    OK(utimensat(AT_FDCWD, "f", old, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
    CHECK(look("f")->st_atim.tv_sec != 1000);
}

TEST(times_move)
{
    OK(mkdir("d", 0700));
    struct stat before = *look("d");
    sleep_ms(12);
    write_file("d/f", "x");
    CHECK(later(look("d")->st_mtim, before.st_mtim)); // a new name
    before = *look("d/f");
    sleep_ms(12);
    OK(chmod("d/f", 0600));
    look("d/f");
    CHECK(later(st.st_ctim, before.st_ctim));
    EQ(st.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    before = st;
    sleep_ms(12);
    int fd = OK(open("d/f", O_WRONLY));
    EQ(write(fd, "y", 1), 1);
    look("d/f");
    CHECK(later(st.st_mtim, before.st_mtim) && later(st.st_ctim, before.st_ctim));
    before = st;
    sleep_ms(12);
    OK(link("d/f", "d/g"));
    CHECK(later(look("d/f")->st_ctim, before.st_ctim));
}

TEST(modes)
{
    write_file("f", "x");
    OK(chmod("f", 04755));
    EQ(look("f")->st_mode & 07777, 04755);
    int fd = OK(open("f", O_RDWR));
    OK(fchmod(fd, 0640));
    EQ(look("f")->st_mode & 07777, 0640);
    OK(symlink("f", "l"));
    OK(chmod("l", 0600));
    EQ(look("f")->st_mode & 07777, 0600);
    EQ(look("l")->st_mode & 07777, 0777);
    umask(0777);
    OK(open("none", O_CREAT | O_RDWR, 0777)); // the descriptor may write even so
    EQ(look("none")->st_mode & 07777, 0);
    umask(022);
    FAILS(ENOENT, chmod("nothing", 0600));
    if (geteuid() == 0) {
        pid_t child = FORK({
            as_user();
            FAILS(EPERM, chmod("f", 0777));
            FAILS(EPERM, chown("f", 1000, -1));
        });
        WAIT_OK(child);
    }
}

TEST(owners)
{
    if (geteuid())
        SKIP("not root");
    write_file("f", "x");
    OK(chmod("f", 06755));
    OK(chown("f", 1000, 2000));
    look("f");
    EQ(st.st_uid, 1000);
    EQ(st.st_gid, 2000);
    EQ(st.st_mode & 07777, 0755); // set-id bits are cleared
    OK(chown("f", -1, 3000));
    EQ(look("f")->st_uid, 1000);
    EQ(st.st_gid, 3000);
    OK(symlink("f", "l"));
    OK(lchown("l", 5, 6));
    EQ(look("l")->st_uid, 5);
    EQ(look("f")->st_uid, 1000);
    OK(fchownat(AT_FDCWD, "l", 7, 8, 0));
    EQ(look("f")->st_uid, 7);
    OK(chmod(".", 0777));
    pid_t child = FORK({
        as_user();
        write_file("own", "x");
        EQ(look("own")->st_uid, 1000);
        EQ(st.st_gid, 1000);
        FAILS(EPERM, chown("own", 0, -1));
        FAILS(EPERM, chown("own", -1, 77)); // not one of its groups
        OK(chown("own", 1000, 1000));

    });
    WAIT_OK(child);
}

TEST(set_id_bits_go_on_write)
{
    if (geteuid())
        SKIP("not root");
    write_file("f", "x");
    OK(chown("f", 1000, 1000));
    OK(chmod("f", 06777));
    OK(chmod(".", 0777));
    pid_t child = FORK({
        as_user();
        int fd = OK(open("f", O_WRONLY));
        EQ(write(fd, "y", 1), 1);
        EQ(look("f")->st_mode & 07777, 0777);
        OK(chmod("f", 06777));
        OK(ftruncate(fd, 0));
        EQ(look("f")->st_mode & 07777, 0777);
    });
    WAIT_OK(child);
}

TEST(changing_no_owner)
{
    if (geteuid())
        SKIP("not root");
    write_file("f", "x"), write_file("g", "x");
    OK(chmod("g", 04755));
    WAIT_OK(FORK({
        as_user();
        OK(chown("f", -1, -1)); // anybody may, as long as it changes nothing
        FAILS(EPERM, chown("g", -1, -1));
    }));
    OK(chown("g", -1, -1));
    EQ(look("g")->st_mode & 07777, 0755);
    OK(chmod("g", 06744));
    WAIT_OK(FORK({
        struct { uint32_t version; int pid; } header = {0x20080522, 0};
        uint32_t caps[6];
        OK(syscall(SYS_capget, &header, caps));
        caps[0] &= ~(1u << 4); // CAP_FSETID, of the effective ones
        OK(syscall(SYS_capset, &header, caps));
        OK(setgroups(0, NULL));
        OK(chown("g", -1, 3000)); // the set-group-ID bit is not for a group that the caller is not in
    }));
    EQ(look("g")->st_mode & 07777, 0744);
}

TEST(devices_need_the_folder_first)
{
    if (geteuid())
        SKIP("not root");
    WAIT_OK(FORK({
        as_user();
        FAILS(EACCES, mknod("n", S_IFCHR | 0666, makedev(1, 3))); // the folder is root's
    }));
    OK(chmod(".", 0777));
    WAIT_OK(FORK({
        as_user();
        FAILS(EPERM, mknod("n", S_IFCHR | 0666, makedev(1, 3)));
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        struct sockaddr_un { short family; char path[108]; } at = {AF_UNIX, "s"};
        OK(bind(s, (void *)&at, sizeof at));
        OK(chmod("s", 0));
        FAILS(EACCES, open("s", O_RDONLY));
        OK(chmod("s", 0600));
        FAILS(ENXIO, open("s", O_RDONLY));
    }));
}

TEST(links_to_files_of_others)
{
    if (geteuid())
        SKIP("not root");
    int fd = open("/proc/sys/fs/protected_hardlinks", O_RDONLY);
    char is = '0';
    if (fd < 0 || read(fd, &is, 1) != 1 || is != '1')
        SKIP("links are not protected");
    write_file("readable", ""), write_file("writable", ""), write_file("setuid", "");
    OK(chmod("writable", 0666)), OK(chmod("setuid", 04666)), OK(chmod(".", 0777));
    OK(mkfifo("fifo", 0666)), OK(chmod("fifo", 0666));
    WAIT_OK(FORK({
        as_user();
        FAILS(EPERM, link("readable", "l"));
        FAILS(EPERM, link("setuid", "l"));
        FAILS(EPERM, link("fifo", "l"));
        OK(link("writable", "l"));
        write_file("own", "");
        OK(chmod("own", 0));
        OK(link("own", "l2"));
    }));
    OK(link("readable", "l3"));
}

TEST(group_id_bit_of_strangers_goes)
{
    if (geteuid())
        SKIP("not root");
    write_file("f", "x");
    OK(chown("f", 0, 3000));
    OK(chmod("f", 02666)); // mandatory locking, which its group may keep
    WAIT_OK(FORK({
        OK(setgroups(1, (gid_t[]){3000}));
        OK(setresuid(1000, 1000, 1000));
        OK(truncate("f", 5));
        EQ(look("f")->st_mode & 07777, 02666);
    }));
    WAIT_OK(FORK({
        as_user();
        int fd = OK(open("f", O_WRONLY));
        EQ(write(fd, "y", 1), 1);
    }));
    EQ(look("f")->st_mode & 07777, 0666);
    OK(chmod("f", 02666));
    WAIT_OK(FORK({
        as_user();
        OK(truncate("f", 3));
    }));
    EQ(look("f")->st_mode & 07777, 0666);
}

TEST(capabilities_go_on_change)
{
    if (geteuid())
        SKIP("not root");
    const uint32_t caps[5] = {0x02000001, 1 << 10}, wrong[5] = {0x05000001};
    uint32_t is[5];
    write_file("f", "x");
    if (setxattr("f", "security.capability", caps, 20, 0) && errno == EOPNOTSUPP)
        SKIP("no capabilities of files here");
    FAILS(EINVAL, setxattr("f", "security.capability", wrong, 20, 0));
    FAILS(EINVAL, setxattr("f", "security.capability", caps, 19, 0));
    EQ(getxattr("f", "security.capability", is, 20), 20);
    OK(chmod("f", 0755));
    EQ(getxattr("f", "security.capability", is, 20), 20);
    int fd = OK(open("f", O_WRONLY));
    EQ(write(fd, "y", 1), 1);
    FAILS(ENODATA, getxattr("f", "security.capability", is, 20));
    OK(setxattr("f", "security.capability", caps, 20, 0));
    OK(truncate("f", 0));
    FAILS(ENODATA, getxattr("f", "security.capability", is, 20));
    OK(setxattr("f", "security.capability", caps, 20, 0));
    OK(chown("f", 1000, -1));
    FAILS(ENODATA, getxattr("f", "security.capability", is, 20));
    close(OK(open("f", O_WRONLY)));
    OK(setxattr("f", "security.capability", caps, 20, 0));
    close(OK(open("f", O_WRONLY | O_TRUNC)));
    FAILS(ENODATA, getxattr("f", "security.capability", is, 20));
}

TEST(names_of_attributes)
{
    write_file("f", "");
    FAILS(EINVAL, setxattr("f", "user.", "x", 1, 0));
    FAILS(EINVAL, getxattr("f", "user.", NULL, 0));
    FAILS(ERANGE, setxattr("nothing", "", "x", 1, 0)); // arguments before the file
    FAILS(EINVAL, setxattr("nothing", "user.a", "x", 1, 4));
}

TEST(set_group_id_folders)
{
    if (geteuid())
        SKIP("not root");
    OK(mkdir("d", 0777));
    OK(chown("d", 0, 4000));
    OK(chmod("d", 02777));
    write_file("d/f", "");
    EQ(look("d/f")->st_gid, 4000);
    OK(mkdir("d/e", 0755));
    EQ(look("d/e")->st_gid, 4000);
    EQ(st.st_mode & 02000, 02000);
    WAIT_OK(FORK({
        as_user();
        umask(077); // takes the group's bits, but what was asked for decides
        int fd = OK(open("d/g", O_CREAT | O_RDWR, 02770));
        EQ(fstat(fd, &st), 0);
        EQ(st.st_mode & 07777, 0700);
    }));
}

TEST(sticky_folders)
{
    if (geteuid())
        SKIP("not root");
    OK(mkdir("d", 0777));
    OK(chmod("d", 01777));
    write_file("d/root", "");
    OK(chmod("d/root", 0666));
    OK(chmod(".", 0777));
    pid_t child = FORK({
        as_user();
        FAILS(EPERM, unlink("d/root"));
        FAILS(EPERM, rename("d/root", "d/x"));
        write_file("d/own", "");
        OK(unlink("d/own"));
    });
    WAIT_OK(child);
}

TEST(permission_checks)
{
    if (geteuid())
        SKIP("not root");
    write_file("secret", "x");
    OK(chmod("secret", 0600));
    write_file("group", "x");
    OK(chown("group", 0, 1000));
    OK(chmod("group", 0040));
    OK(mkdir("closed", 0700)), OK(mkdir("nosearch", 0744)), OK(mkdir("nolist", 0711));
    write_file("nosearch/f", ""), write_file("nolist/f", "");
    OK(chmod(".", 0755));
    pid_t child = FORK({
        as_user();
        FAILS(EACCES, open("secret", O_RDONLY));
        FAILS(EACCES, open("secret", O_WRONLY));
        OK(open("group", O_RDONLY));
        FAILS(EACCES, open("closed/x", O_RDONLY));
        FAILS(EACCES, open("nosearch/f", O_RDONLY));
        OK(open("nosearch", O_RDONLY));
        OK(open("nolist/f", O_RDONLY));
        FAILS(EACCES, open("nolist", O_RDONLY));
        FAILS(EACCES, open("new", O_CREAT | O_WRONLY, 0600));
        FAILS(EACCES, unlink("secret"));
        FAILS(EACCES, mkdir("m", 0700));
        FAILS(EACCES, access("secret", R_OK));
        OK(access("secret", F_OK));
        FAILS(EACCES, chdir("closed"));
        OK(stat("secret", &st));
        FAILS(EACCES, truncate("secret", 0));
    });
    WAIT_OK(child);
    // root reads all, but executes only where some x is set
    OK(chmod("secret", 0));
    OK(open("secret", O_RDWR));
    FAILS(EACCES, access("secret", X_OK));
}

TEST(access_uses_real_ids)
{
    if (geteuid())
        SKIP("not root");
    write_file("f", "");
    OK(chmod("f", 0600));
    pid_t child = FORK({
        OK(setresuid(1000, 0, 0));
        FAILS(EACCES, access("f", R_OK));
        OK(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
        OK(open("f", O_RDONLY));
    });
    WAIT_OK(child);
    FAILS(EINVAL, access("f", 99));
    OK(symlink("nothing", "l"));
    FAILS(ENOENT, access("l", F_OK));
    OK(syscall(439 /* faccessat2 */, AT_FDCWD, "l", F_OK, AT_SYMLINK_NOFOLLOW));
}

TEST(extended_attributes)
{
    write_file("f", "");
    if (setxattr("f", "user.a", "one", 3, 0) == -1 && errno == ENOTSUP)
        SKIP("no user attributes here");
    char value[20];
    EQ(getxattr("f", "user.a", value, 20), 3);
    EQ(memcmp(value, "one", 3), 0);
    EQ(getxattr("f", "user.a", NULL, 0), 3);
    FAILS(ERANGE, getxattr("f", "user.a", value, 2));
    FAILS(ENODATA, getxattr("f", "user.b", value, 20));
    FAILS(EEXIST, setxattr("f", "user.a", "x", 1, XATTR_CREATE));
    FAILS(ENODATA, setxattr("f", "user.b", "x", 1, XATTR_REPLACE));
    OK(setxattr("f", "user.b", "", 0, 0));
    EQ(getxattr("f", "user.b", value, 20), 0);
    char list[100];
    ssize_t n = OK(listxattr("f", list, sizeof list));
    EQ(n, 14);
    EQ(listxattr("f", NULL, 0), 14);
    FAILS(ERANGE, listxattr("f", list, 5));
    OK(removexattr("f", "user.a"));
    FAILS(ENODATA, removexattr("f", "user.a"));
    FAILS(EOPNOTSUPP, setxattr("f", "nonsense.a", "x", 1, 0));
    int fd = OK(open("f", O_RDONLY));
    OK(fsetxattr(fd, "user.c", "v", 1, 0));
    EQ(fgetxattr(fd, "user.c", value, 20), 1);
    OK(symlink("f", "l"));
    FAILS(EPERM, lsetxattr("l", "user.x", "v", 1, 0));
    EQ(getxattr("l", "user.c", value, 20), 1);
    if (geteuid() == 0) {
        OK(setxattr("f", "trusted.t", "v", 1, 0));
        OK(chmod("f", 0666));
        OK(chmod(".", 0755));
        pid_t child = FORK({
            as_user();
            FAILS(ENODATA, getxattr("f", "trusted.t", value, 20));
            OK(setxattr("f", "user.d", "v", 1, 0));
        });
        WAIT_OK(child);
    }
}

TEST(file_system_facts)
{
    struct statfs f;
    OK(statfs(".", &f));
    CHECK(f.f_type && f.f_bsize >= 512);
    CHECK(f.f_blocks >= f.f_bfree && f.f_bfree >= f.f_bavail);
    EQ(f.f_namelen, 255);
    struct statvfs v;
    OK(statvfs("/proc", &v));
    OK(statfs("/proc", &f));
    EQ(f.f_type, 0x9fa0);
    FAILS(ENOENT, statfs("nothing", &f));
    int fd = OK(open("/dev/null", O_RDONLY));
    OK(fstatfs(fd, &f));
}

TEST(name_to_handle)
{
    struct { struct file_handle h; char bytes[128]; } h = {.h.handle_bytes = 0};
    int mount;
    write_file("f", "");
    errno = 0;
    EQ(name_to_handle_at(AT_FDCWD, "f", &h.h, &mount, 0), -1);
    CHECK(errno == EOVERFLOW || errno == EOPNOTSUPP || errno == ENOSYS);
}

MAIN()
