// open's flags, descriptors, O_PATH, O_TMPFILE, openat2, dup, close_range: open(2), fcntl(2), close_range(2).
#include "check.h"
#include <linux/openat2.h>
#include <sys/ioctl.h>

TEST(create_and_truncate)
{
    int fd = OK(open("f", O_CREAT | O_EXCL | O_WRONLY, 0640));
    FAILS(EEXIST, open("f", O_CREAT | O_EXCL, 0600));
    EQ(write(fd, "hello", 5), 5);
    char c;
    FAILS(EBADF, read(fd, &c, 1));
    close(fd);
    fd = OK(open("f", O_RDONLY));
    FAILS(EBADF, write(fd, "x", 1));
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 5);
    EQ(st.st_mode, S_IFREG | 0640);
    EQ(st.st_nlink, 1);
    OK(open("f", O_RDWR | O_TRUNC));
    OK(fstat(fd, &st));
    EQ(st.st_size, 0);
    FAILS(ENOENT, open("nothing", O_RDONLY));
    FAILS(ENOENT, open("", O_RDONLY));
    FAILS(ENOTDIR, open("f/x", O_RDONLY));
    FAILS(ENOTDIR, open("f/", O_RDONLY));
    FAILS(EISDIR, open(".", O_WRONLY));
    FAILS(EISDIR, open("new/", O_CREAT | O_WRONLY, 0600));
    FAILS(EEXIST, open(".", O_CREAT | O_EXCL | O_RDONLY, 0600));
    FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
    char name[300];
    memset(name, 'n', 299);
    name[256] = 0;
    FAILS(ENAMETOOLONG, open(name, O_RDONLY));
    name[255] = 0;
    OK(open(name, O_CREAT | O_RDONLY, 0600));
    static char path[5000];
    for (int i = 0; i < 4998; i += 2)
        path[i] = '.', path[i + 1] = '/';
    FAILS(ENAMETOOLONG, open(path, O_RDONLY));
    path[4094] = 0;
    OK(open(path, O_RDONLY));
    FAILS(EFAULT, open((char *)8, O_RDONLY));
}

TEST(append)
{
    int a = OK(open("f", O_CREAT | O_WRONLY | O_APPEND, 0600)), b = OK(open("f", O_WRONLY | O_APPEND));
    EQ(write(a, "aa", 2), 2);
    EQ(write(b, "bb", 2), 2);
    EQ(write(a, "cc", 2), 2);
    EQ(lseek(a, 0, SEEK_CUR), 6);
    EQ(pwrite(a, "dd", 2, 0), 2); // Linux appends here, too
    char text[20];
    read_file("f", text, sizeof text);
    STREQ(text, "aabbccdd");
    OK(fcntl(a, F_SETFL, 0)); // append may be taken away
    OK(lseek(a, 0, SEEK_SET));
    EQ(write(a, "x", 1), 1);
    read_file("f", text, sizeof text);
    STREQ(text, "xabbccdd");
    pid_t child = FORK({
        for (int i = 0; i < 200; i++)
            EQ(write(b, "1234567", 7), 7);
    });
    int c = OK(open("f", O_WRONLY | O_APPEND));
    for (int i = 0; i < 200; i++)
        EQ(write(c, "abcdefg", 7), 7);
    WAIT_OK(child);
    EQ(lseek(c, 0, SEEK_END), 8 + 2800);
}

TEST(flags_are_told)
{
    int fd = OK(open("f", O_CREAT | O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600));
    EQ(fcntl(fd, F_GETFL) & ~0100000, O_RDWR | O_APPEND | O_NONBLOCK);
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    OK(fcntl(fd, F_SETFD, 0));
    EQ(fcntl(fd, F_GETFD), 0);
    OK(fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK)); // the access mode stays
    EQ(fcntl(fd, F_GETFL) & ~0100000, O_RDWR | O_NONBLOCK);
    int on = 1;
    OK(ioctl(fd, FIOCLEX));
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    OK(ioctl(fd, FIONCLEX));
    on = 0;
    OK(ioctl(fd, FIONBIO, &on));
    EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    FAILS(ENOTTY, ioctl(fd, 0x5401 /* TCGETS */, &on));
    FAILS(EBADF, fcntl(99, F_GETFL));
    FAILS(EINVAL, fcntl(fd, 9999));
}

TEST(path_only)
{
    write_file("f", "hello");
    int fd = OK(open("f", O_PATH));
    char c;
    FAILS(EBADF, read(fd, &c, 1));
    FAILS(EBADF, write(fd, &c, 1));
    FAILS(EBADF, fchmod(fd, 0600));
    FAILS(EBADF, ioctl(fd, FIONREAD, &c));
    FAILS(EBADF, (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 5);
    CHECK(fcntl(fd, F_GETFL) & O_PATH);
    OK(close(OK(dup(fd))));
    OK(symlink("f", "l"));
    int l = OK(open("l", O_PATH | O_NOFOLLOW));
    OK(fstat(l, &st));
    CHECK(S_ISLNK(st.st_mode));
    char target[10];
    EQ(readlinkat(l, "", target, 10), 1);
    char path[40];
    sprintf(path, "/proc/self/fd/%d", fd);
    int real = OK(open(path, O_RDONLY));
    EQ(read(real, &c, 1), 1);
    int dir = OK(open(".", O_PATH | O_DIRECTORY));
    OK(openat(dir, "f", O_RDONLY));
    OK(fchdir(dir));
    OK(fstatat(fd, "", &st, AT_EMPTY_PATH));
}

TEST(no_follow)
{
    write_file("f", "");
    OK(symlink("f", "l"));
    OK(symlink("nothing", "dangling"));
    FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
    FAILS(ENOENT, open("dangling", O_RDONLY));
    FAILS(EEXIST, open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600));
    OK(open("dangling", O_CREAT | O_WRONLY, 0600)); // makes what the link names
    OK(access("nothing", F_OK));
}

TEST(tmpfile)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd == -1 && (errno == EOPNOTSUPP || errno == EISDIR))
        SKIP("no O_TMPFILE here");
    CHECK(fd >= 0);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_nlink, 0);
    EQ(write(fd, "hello", 5), 5);
    char path[40];
    sprintf(path, "/proc/self/fd/%d", fd);
    OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    OK(fstat(fd, &st));
    EQ(st.st_nlink, 1);
    char text[10];
    read_file("named", text, 10);
    STREQ(text, "hello");
    FAILS(EINVAL, open(".", O_TMPFILE | O_RDONLY, 0600));
    int ex = OK(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    sprintf(path, "/proc/self/fd/%d", ex);
    FAILS(ENOENT, linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
}

TEST(unlinked_files_live_on)
{
    int fd = OK(open("f", O_CREAT | O_RDWR, 0600));
    EQ(write(fd, "hello", 5), 5);
    OK(unlink("f"));
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_nlink, 0);
    char part[5];
    EQ(pread(fd, part, 5, 0), 5);
    EQ(write(fd, "more", 4), 4);
    OK(fstat(fd, &st));
    EQ(st.st_size, 9);
    char path[40], link[200];
    sprintf(path, "/proc/self/fd/%d", fd);
    link[OK(readlink(path, link, 199))] = 0;
    CHECK(strstr(link, "/f (deleted)"));
    int again = OK(open(path, O_RDONLY));
    EQ(pread(again, part, 5, 4), 5);
}

TEST(dup_shares)
{
    int fd = OK(open("f", O_CREAT | O_RDWR, 0600)), copy = OK(dup(fd));
    EQ(write(fd, "abc", 3), 3);
    EQ(lseek(copy, 0, SEEK_CUR), 3);
    OK(fcntl(copy, F_SETFL, O_APPEND));
    CHECK(fcntl(fd, F_GETFL) & O_APPEND);
    EQ(dup2(fd, 50), 50);
    EQ(dup2(fd, fd), fd);
    EQ(dup3(fd, 51, O_CLOEXEC), 51);
    EQ(fcntl(51, F_GETFD), FD_CLOEXEC);
    FAILS(EINVAL, dup3(fd, fd, 0));
    FAILS(EINVAL, dup3(fd, 52, O_APPEND));
    FAILS(EBADF, dup(99));
    FAILS(EBADF, dup2(99, 98));
    EQ(fcntl(fd, F_DUPFD, 60), 60);
    EQ(fcntl(fd, F_DUPFD_CLOEXEC, 60), 61);
    EQ(fcntl(61, F_GETFD), FD_CLOEXEC);
    close(60);
    EQ(fcntl(fd, F_DUPFD, 60), 60); // the lowest that is free
    FAILS(EBADF, close(99));
    OK(close(fd));
    FAILS(EBADF, close(fd));
}

TEST(lowest_number)
{
    int a = OK(open("/dev/null", O_RDONLY)), b = OK(open("/dev/null", O_RDONLY)), c = OK(open("/dev/null", O_RDONLY));
    CHECK(a < b && b < c);
    close(a), close(b);
    EQ(open("/dev/null", O_RDONLY), a);
    EQ(open("/dev/null", O_RDONLY), b);
}

TEST(close_range)
{
    for (int i = 20; i < 30; i++)
        OK(dup2(0, i));
    OK(syscall(SYS_close_range, 22, 25, 0));
    EQ(fcntl(21, F_GETFD), 0);
    FAILS(EBADF, fcntl(22, F_GETFD));
    FAILS(EBADF, fcntl(25, F_GETFD));
    OK(syscall(SYS_close_range, 26, ~0u, 4 /* CLOEXEC */));
    EQ(fcntl(26, F_GETFD), FD_CLOEXEC);
    test_report = 2;
    FAILS(EINVAL, syscall(SYS_close_range, 30, 29, 0));
    FAILS(EINVAL, syscall(SYS_close_range, 30, 40, 0x80));
}

static long openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {flags, mode, resolve};
    long fd;
    do
        fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    while (fd == -1 && errno == EAGAIN); // natively: somebody renamed or mounted something meanwhile
    return fd;
}

TEST(openat2_resolve)
{
    int dir = OK(open(".", O_PATH));
    OK(mkdir("d", 0700));
    write_file("d/f", "");
    OK(symlink("f", "d/l"));
    OK(symlink("/etc", "abs"));
    OK(symlink("../..", "up"));
    if (openat2(dir, "d/f", O_RDONLY, 0, 0) == -1 && errno == ENOSYS)
        return;
    OK(openat2(dir, "d/l", O_RDONLY, 0, RESOLVE_BENEATH));
    FAILS(EXDEV, openat2(dir, "../x", O_RDONLY, 0, RESOLVE_BENEATH));
    FAILS(EXDEV, openat2(dir, "abs", O_PATH, 0, RESOLVE_BENEATH));
    FAILS(EXDEV, openat2(dir, "up", O_PATH, 0, RESOLVE_BENEATH));
    FAILS(EXDEV, openat2(dir, "/etc", O_PATH, 0, RESOLVE_BENEATH));
    FAILS(ELOOP, openat2(dir, "d/l", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    FAILS(ENOENT, openat2(dir, "abs", O_PATH, 0, RESOLVE_IN_ROOT));
    OK(openat2(dir, "up/d/f", O_RDONLY, 0, RESOLVE_IN_ROOT)); // .. stays at the root
    OK(openat2(dir, "/d/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
    FAILS(EXDEV, openat2(dir, "/proc/self", O_PATH, 0, RESOLVE_NO_XDEV));
    FAILS(ELOOP, openat2(dir, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    FAILS(EINVAL, openat2(dir, "d/f", O_RDONLY, 0, 0x1000));
    FAILS(EINVAL, openat2(dir, "d/f", O_RDONLY, 0600, 0)); // a mode without O_CREAT
    FAILS(EINVAL, openat2(dir, "d/f", 1ul << 40, 0, 0));
    struct open_how how = {O_RDONLY, 0, 0};
    FAILS(EINVAL, syscall(SYS_openat2, dir, "d/f", &how, 8));
    struct { struct open_how how; long more; } longer = {.more = 1};
    FAILS(E2BIG, syscall(SYS_openat2, dir, "d/f", &longer, sizeof longer));
}

TEST(openat2_root_is_the_folder)
{
    OK(mkdir("d", 0700));
    write_file("d/f", "");
    write_file("g", "");
    int dir = OK(open("d", O_PATH));
    OK(openat2(dir, "/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
    FAILS(ENOENT, openat2(dir, "/g", O_RDONLY, 0, RESOLVE_IN_ROOT));
    FAILS(ENOENT, openat2(dir, "/../g", O_RDONLY, 0, RESOLVE_IN_ROOT));
    FAILS(EBADF, openat2(99, "/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
}

TEST(naming_what_one_has_opened)
{
    if (geteuid())
        SKIP("not root");
    OK(chmod(".", 0777));
    int given = OK(open(".", O_TMPFILE | O_RDWR, 0600));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(ENOENT, linkat(given, "", AT_FDCWD, "given", AT_EMPTY_PATH));
        int own = OK(open(".", O_TMPFILE | O_RDWR, 0600));
        if (linkat(own, "", AT_FDCWD, "own", AT_EMPTY_PATH) == -1)
            EQ(errno, ENOENT); // before Linux 6.10
    }));
    OK(linkat(given, "", AT_FDCWD, "given", AT_EMPTY_PATH));
}

TEST(access_mode_three)
{
    write_file("f", "x");
    char c;
    int fd = OK(open("f", 3)); // for ioctl(2): it must be readable and writable, the descriptor is neither
    FAILS(EBADF, read(fd, &c, 1));
    FAILS(EBADF, write(fd, &c, 1));
    FAILS(EISDIR, open(".", 3));
}

TEST(magic_links_lead_to_what_they_lead_to)
{
    write_file("f", "x");
    int fd = OK(open("f", O_PATH));
    EQ(fcntl(fd, F_GETFL), O_PATH);
    char path[50];
    struct stat st;
    sprintf(path, "/proc/self/fd/%d/", fd);
    FAILS(ENOTDIR, stat(path, &st)); // the slash asks for a folder
    FAILS(ENOTDIR, open(path, O_RDONLY));
    OK(symlink(".", "l"));
    FAILS(ENOTDIR, open("l", O_TMPFILE | O_RDWR | O_NOFOLLOW, 0600));
}

TEST(errors_have_an_order)
{
    write_file("g", "");
    FAILS(ENOTDIR, open("g/x/", O_CREAT | O_WRONLY, 0600));
    FAILS(EISDIR, open("x/", O_CREAT | O_WRONLY, 0600));
    FAILS(EBADF, fstatat(99, "x", &(struct stat){}, 0x4000 /* AT_STATX_DONT_SYNC */));
    int pipe_[2];
    OK(pipe(pipe_));
    FAILS(ESPIPE, pread(pipe_[1], pipe_, 1, 0)); // whether it may read or not
    FAILS(ENOENT, openat(99, "", O_RDONLY));
    FAILS(ENOENT, mkdirat(99, "", 0700));
    FAILS(ENOENT, renameat(99, "", 99, "x"));
    FAILS(EINVAL, syscall(SYS_renameat2, 99, "a", 99, "b", RENAME_EXCHANGE | RENAME_NOREPLACE));
    write_file("f", "");
    FAILS(ENOTDIR, renameat(AT_FDCWD, "f/x", 99, "y"));
}

TEST(relative_to_descriptors)
{
    OK(mkdir("d", 0700));
    int dir = OK(open("d", O_RDONLY | O_DIRECTORY));
    int fd = OK(openat(dir, "f", O_CREAT | O_WRONLY, 0600));
    OK(access("d/f", F_OK));
    FAILS(ENOTDIR, openat(fd, "x", O_RDONLY));
    FAILS(EBADF, openat(99, "x", O_RDONLY));
    OK(openat(99, "/etc", O_RDONLY)); // an absolute path needs no folder
    OK(mkdirat(dir, "e", 0700));
    OK(symlinkat("f", dir, "l"));
    OK(linkat(dir, "f", dir, "g", 0));
    OK(renameat(dir, "g", AT_FDCWD, "h"));
    OK(unlinkat(dir, "e", AT_REMOVEDIR));
    FAILS(EISDIR, unlinkat(AT_FDCWD, "d", 0));
    FAILS(ENOTDIR, unlinkat(AT_FDCWD, "h", AT_REMOVEDIR));
    struct stat st;
    OK(fstatat(dir, "l", &st, AT_SYMLINK_NOFOLLOW));
    CHECK(S_ISLNK(st.st_mode));
    OK(faccessat(dir, "f", R_OK, 0));
    OK(fchmodat(dir, "f", 0644, 0));
    OK(rename("d", "moved")); // the descriptor moves along
    OK(openat(dir, "f", O_RDONLY));
    OK(openat(dir, "../h", O_RDONLY));
}

TEST(inherited_by_proc_fd)
{
    write_file("f", "hello");
    int fd = OK(open("f", O_RDONLY));
    char path[40], c;
    EQ(read(fd, &c, 1), 1);
    sprintf(path, "/dev/fd/%d", fd);
    int again = OK(open(path, O_RDONLY)); // opens the file anew
    EQ(read(again, &c, 1), 1);
    EQ(c, 'h');
    OK(chmod("f", 0));
}

MAIN()
