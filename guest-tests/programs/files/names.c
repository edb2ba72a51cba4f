// Folders, links, rename, listing, paths: rename(2), link(2), symlink(2), mkdir(2), getdents64(2), getcwd(3), chroot(2).
#include "check.h"
#include <dirent.h>
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static int renameat2_(const char *a, const char *b, unsigned flags) { return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags); }
static bool exists(const char *path) { return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }
static ino_t inode(const char *path)
{
    struct stat st;
    OK(lstat(path, &st));
    return st.st_ino;
}

TEST(rename_files)
{
    write_file("a", "A"), write_file("b", "B");
    ino_t was = inode("a");
    OK(rename("a", "b")); // replaces
    CHECK(!exists("a"));
    EQ(inode("b"), was);
    OK(rename("b", "b"));
    FAILS(ENOENT, rename("a", "c"));
    OK(link("b", "hard"));
    OK(rename("b", "hard")); // the same file: nothing happens
    CHECK(exists("b") && exists("hard"));
    OK(mkdir("d", 0700));
    FAILS(EISDIR, rename("b", "d"));
    FAILS(ENOTDIR, rename("d", "b"));
    FAILS(ENOENT, rename("b", "nothing/x"));
    FAILS(ENOTDIR, rename("b", "hard/x"));
    OK(rename("b", "d/b"));
    CHECK(exists("d/b"));
    FAILS(EBUSY, rename(".", "x") == -1 && (errno == EBUSY || errno == EINVAL) ? (errno = EBUSY, -1) : 0);
}

TEST(rename_folders)
{
    OK(mkdir("a", 0700)), OK(mkdir("a/sub", 0700)), OK(mkdir("b", 0700));
    write_file("a/f", "x");
    FAILS(EINVAL, rename("a", "a/sub/x")); // into itself
    OK(rename("a", "b"));                  // replaces an empty one
    CHECK(exists("b/f") && !exists("a"));
    OK(mkdir("c", 0700));
    write_file("c/x", "");
    FAILS(ENOTEMPTY, rename("b", "c") == -1 && (errno == ENOTEMPTY || errno == EEXIST) ? (errno = ENOTEMPTY, -1) : 0);
    int dir = OK(open("b/sub", O_RDONLY));
    OK(rename("b", "c/b"));
    OK(fchdir(dir));
    char here[4096];
    CHECK(getcwd(here, sizeof here));
    CHECK(strstr(here, "/c/b/sub"));
    struct stat st;
    OK(stat("../../..", &st));
}

TEST(rename_flags)
{
    write_file("a", "A"), write_file("b", "B");
    FAILS(EEXIST, renameat2_("a", "b", RENAME_NOREPLACE));
    OK(renameat2_("a", "c", RENAME_NOREPLACE));
    ino_t c = inode("c"), b = inode("b");
    OK(renameat2_("c", "b", RENAME_EXCHANGE));
    EQ(inode("c"), b);
    EQ(inode("b"), c);
    FAILS(ENOENT, renameat2_("c", "nothing", RENAME_EXCHANGE));
    FAILS(EINVAL, renameat2_("c", "b", RENAME_EXCHANGE | RENAME_NOREPLACE));
    FAILS(EINVAL, renameat2_("c", "b", 0x100));
    OK(mkdir("d", 0700));
    write_file("d/x", "");
    FAILS(ENOTDIR, renameat2_("d", "b/", RENAME_EXCHANGE)); // the slash is for what is there
    OK(renameat2_("c", "d", RENAME_EXCHANGE)); // a file and a full folder
    CHECK(exists("c/x"));
}

TEST(hard_links)
{
    write_file("a", "A");
    OK(link("a", "b"));
    struct stat st;
    OK(stat("a", &st));
    EQ(st.st_nlink, 2);
    EQ(inode("a"), inode("b"));
    write_file("b", "new");
    char text[10];
    read_file("a", text, 10);
    STREQ(text, "new");
    OK(unlink("a"));
    OK(stat("b", &st));
    EQ(st.st_nlink, 1);
    FAILS(EEXIST, link("b", "b"));
    OK(mkdir("d", 0700));
    FAILS(EPERM, link("d", "e"));
    FAILS(ENOENT, link("nothing", "x"));
    OK(symlink("b", "l"));
    OK(link("l", "m")); // links the symlink itself
    OK(lstat("m", &st));
    CHECK(S_ISLNK(st.st_mode));
    OK(linkat(AT_FDCWD, "l", AT_FDCWD, "n", AT_SYMLINK_FOLLOW));
    EQ(inode("n"), inode("b"));
    FAILS(EXDEV, link("b", "/proc/x") == -1 && (errno == EXDEV || errno == ENOENT || errno == EPERM) ? (errno = EXDEV, -1) : 0);
}

TEST(symlinks)
{
    char target[20];
    OK(symlink("no/where", "l"));
    EQ(readlink("l", target, 20), 8);
    EQ(readlink("l", target, 3), 3);
    FAILS(EINVAL, readlink(".", target, 20));
    FAILS(EINVAL, readlink("l", target, 0));
    FAILS(ENOENT, symlink("", "x"));
    FAILS(EEXIST, symlink("x", "l"));
    struct stat st;
    OK(lstat("l", &st));
    EQ(st.st_size, 8);
    EQ(st.st_mode, S_IFLNK | 0777);
    FAILS(ENOENT, stat("l", &st));
    OK(symlink("loop2", "loop1")), OK(symlink("loop1", "loop2"));
    FAILS(ELOOP, stat("loop1", &st));
    OK(mkdir("d", 0700));
    write_file("d/f", "x");
    OK(symlink("d", "ld"));
    OK(stat("ld/f", &st));
    OK(lstat("ld/", &st)); // a slash at the end follows
    CHECK(S_ISDIR(st.st_mode));
    OK(chdir("ld"));
    char here[4096];
    CHECK(getcwd(here, sizeof here));
    STREQ(strrchr(here, '/'), "/d");
    OK(chdir(".."));
    // 40 links in a row work, 41 do not
    write_file("s0", "");
    for (int i = 1; i <= 41; i++) {
        char from[10], to[10];
        sprintf(to, "s%d", i - 1), sprintf(from, "s%d", i);
        OK(symlink(to, from));
    }
    OK(stat("s40", &st));
    FAILS(ELOOP, stat("s41", &st));
}

TEST(folders)
{
    struct stat st;
    OK(mkdir("d", 0777));
    OK(stat("d", &st));
    EQ(st.st_mode, S_IFDIR | 0755);
    OK(mkdir("d/e", 0700));
    FAILS(EEXIST, mkdir("d", 0700));
    FAILS(ENOENT, mkdir("x/y", 0700));
    FAILS(ENOTEMPTY, rmdir("d"));
    FAILS(EISDIR, unlink("d"));
    FAILS(EINVAL, rmdir("d/."));
    FAILS(ENOTEMPTY, rmdir("d/.."));
    OK(rmdir("d/e/"));
    write_file("f", "");
    FAILS(ENOTDIR, rmdir("f"));
    FAILS(ENOTDIR, mkdir("f/x", 0700));
    FAILS(ENOENT, rmdir("nothing"));
    FAILS(EBUSY, rmdir("/") == -1 && (errno == EBUSY || errno == ENOTEMPTY) ? (errno = EBUSY, -1) : 0);
    OK(mkdir("gone", 0700));
    OK(chdir("gone"));
    OK(rmdir("../gone"));
    char here[100];
    FAILS(ENOENT, getcwd(here, sizeof here) ? 0 : -1);
    FAILS(ENOENT, open("x", O_CREAT | O_WRONLY, 0600));
    OK(stat(".", &st));
    EQ(st.st_nlink, 0);
}

TEST(listing)
{
    for (int i = 0; i < 500; i++) {
        char name[40];
        sprintf(name, "file-with-a-longer-name-%03d", i);
        write_file(name, "");
    }
    OK(mkdir("sub", 0700)), OK(symlink("x", "link")), OK(mkfifo("fifo", 0600));
    DIR *d = opendir(".");
    CHECK(d);
    static char seen[500];
    int others = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        int n;
        if (sscanf(e->d_name, "file-with-a-longer-name-%d", &n) == 1) {
            EQ(seen[n]++, 0);
            CHECK(e->d_type == DT_REG || e->d_type == DT_UNKNOWN);
            continue;
        }
        others++;
        if (e->d_type != DT_UNKNOWN) {
            if (!strcmp(e->d_name, "link"))
                EQ(e->d_type, DT_LNK);
            if (!strcmp(e->d_name, "fifo"))
                EQ(e->d_type, DT_FIFO);
            if (!strcmp(e->d_name, "sub") || e->d_name[0] == '.')
                EQ(e->d_type, DT_DIR);
        }
        struct stat st;
        if (strcmp(e->d_name, "..")) {
            OK(lstat(e->d_name, &st));
            EQ(st.st_ino, e->d_ino);
        }
    }
    EQ(others, 5);
    for (int i = 0; i < 500; i++)
        EQ(seen[i], 1);
    rewinddir(d);
    int count = 0;
    long middle = -1;
    char after[300] = "";
    while ((e = readdir(d))) {
        if (++count == 100)
            middle = telldir(d);
        if (count == 101)
            strcpy(after, e->d_name);
    }
    EQ(count, 505);
    seekdir(d, middle);
    STREQ(readdir(d)->d_name, after);
    closedir(d);
}

TEST(listing_while_deleting)
{
    for (int i = 0; i < 300; i++) {
        char name[20];
        sprintf(name, "%d", i);
        write_file(name, "");
    }
    DIR *d = opendir(".");
    struct dirent *e;
    int count = 0;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            OK(unlink(e->d_name)), count++;
    EQ(count, 300);
    closedir(d);
    OK(chdir(".."));
}

TEST(getdents_raw)
{
    write_file("f", "");
    int fd = OK(open(".", O_RDONLY));
    char part[4096];
    FAILS(EINVAL, syscall(SYS_getdents64, fd, part, 5));
    CHECK(OK(syscall(SYS_getdents64, fd, part, sizeof part)) > 0);
    EQ(syscall(SYS_getdents64, fd, part, sizeof part), 0);
    FAILS(ENOTDIR, syscall(SYS_getdents64, OK(open("f", O_RDONLY)), part, sizeof part));
    FAILS(EBADF, syscall(SYS_getdents64, 99, part, sizeof part));
}

TEST(dots)
{
    OK(mkdir("a", 0700)), OK(mkdir("a/b", 0700));
    EQ(inode("a/b/.."), inode("a"));
    EQ(inode("a/./b/../../a"), inode("a"));
    EQ(inode("a//b///"), inode("a/b"));
    EQ(inode("/.."), inode("/"));
    OK(chdir("a/b"));
    EQ(inode("../.."), inode("../../a/.."));
}

TEST(deep_tree)
{
    for (int i = 0; i < 300; i++) {
        OK(mkdir("deeper-and-deeper", 0700));
        OK(chdir("deeper-and-deeper"));
    }
    char here[4096];
    FAILS(ENAMETOOLONG, syscall(SYS_getcwd, here, sizeof here) == -1 && (errno == ENAMETOOLONG || errno == ERANGE) ? (errno = ENAMETOOLONG, -1) : 0);
    write_file("f", "bottom");
    for (int i = 0; i < 300; i++)
        OK(chdir(".."));
}

TEST(getcwd_sizes)
{
    char here[4096], small[2];
    CHECK(getcwd(here, sizeof here));
    FAILS(ERANGE, getcwd(small, 2) ? 0 : -1);
    EQ(syscall(SYS_getcwd, here, sizeof here), strlen(here) + 1);
    char link[4096];
    link[OK(readlink("/proc/self/cwd", link, 4095))] = 0;
    STREQ(link, here);
    OK(chdir("/"));
    CHECK(getcwd(small, 2));
    STREQ(small, "/");
    FAILS(ENOTDIR, chdir("/proc/self/comm"));
    FAILS(ENOENT, chdir("/nothing"));
}

TEST(change_root)
{
    if (geteuid())
        SKIP("not root");
    OK(mkdir("new", 0755)), OK(mkdir("new/d", 0755));
    write_file("new/marker", "");
    OK(symlink("/marker", "new/l"));
    pid_t child = FORK({
        OK(chroot("new"));
        OK(chdir("/"));
        OK(access("/marker", F_OK));
        OK(access("/l", F_OK)); // absolute links begin at the new root
        OK(access("/../../marker", F_OK));
        FAILS(ENOENT, access("/etc", F_OK));
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, chroot("d"));
    });
    WAIT_OK(child);
    FAILS(ENOTDIR, chroot("new/marker"));
}

TEST(special_nodes)
{
    FAILS(EEXIST, mknod(".", S_IFREG | 0600, 0));
    OK(mknod("reg", S_IFREG | 0600, 0));
    OK(mknod("fifo", S_IFIFO | 0600, 0));
    OK(mknod("sock", S_IFSOCK | 0600, 0));
    struct stat st;
    OK(stat("sock", &st));
    CHECK(S_ISSOCK(st.st_mode));
    FAILS(EPERM, mknod("d", S_IFDIR | 0700, 0));
}

MAIN()
