// A FUSE server's tree changed: create, mknod, mkdir, symlink, link, unlink, rename, setattr, write, fallocate, xattrs.
#include "fuse.h"
#include <linux/falloc.h>

static struct fuse_node *node(const char *dir, const char *name)
{
    uint64_t parent = *dir ? fuse_find(1, dir) : 1, id = fuse_find(parent, name);
    return id ? &S->node[id] : NULL;
}

TEST(create_opens_at_once)
{
    fuse_mount("");
    int fd = OK(open("m/new", O_CREAT | O_EXCL | O_RDWR, 0640));
    EQ(S->count[FUSE_CREATE], 1);
    EQ(S->count[FUSE_OPEN] + S->count[FUSE_MKNOD], 0);
    EQ(S->last_flags[FUSE_CREATE] & (O_CREAT | O_EXCL | O_ACCMODE), O_CREAT | O_EXCL | O_RDWR);
    EQ(node("", "new")->mode, S_IFREG | 0640);
    EQ(write(fd, "text", 4), 4);
    EQ(lseek(fd, 0, SEEK_SET), 0);
    char back[5] = "";
    EQ(read(fd, back, 5), 4);
    STREQ(back, "text");
    FAILS(EEXIST, open("m/new", O_CREAT | O_EXCL | O_RDWR, 0640));
    OK(open("m/new", O_CREAT | O_RDWR, 0640));
    EQ(S->count[FUSE_CREATE], 1);
    close(fd);
}
TEST(without_create_a_node_is_made_and_opened)
{
    fuse_mount("");
    S->error[FUSE_CREATE] = ENOSYS;
    OK(open("m/a", O_CREAT | O_WRONLY, 0600));
    OK(open("m/b", O_CREAT | O_WRONLY, 0600));
    EQ(S->count[FUSE_CREATE], 1);
    EQ(S->count[FUSE_MKNOD], 2);
    EQ(S->count[FUSE_OPEN], 2);
}
TEST(a_file_made_read_only_is_written_by_who_made_it)
{
    fuse_mount("default_permissions");
    int fd = OK(open("m/new", O_CREAT | O_RDWR, 0400));
    EQ(write(fd, "x", 1), 1);
}
TEST(nodes_of_all_kinds)
{
    fuse_mount("");
    OK(mknod("m/fifo", S_IFIFO | 0600, 0));
    OK(mknod("m/null", S_IFCHR | 0600, 0x103));
    EQ(node("", "null")->rdev, 0x103);
    OK(mkdir("m/folder", 0751));
    EQ(node("", "folder")->mode, S_IFDIR | 0751);
    OK(symlink("some/where", "m/sym"));
    STREQ(node("", "sym")->target, "some/where");
    umask(027);
    OK(mkdir("m/masked", 0777));
    EQ(node("", "masked")->mode, S_IFDIR | 0750);
    FAILS(EEXIST, mkdir("m/folder", 0700));
    struct stat st;
    OK(lstat("m/null", &st));
    EQ(st.st_rdev, 0x103);
    OK(lstat("m/fifo", &st));
    EQ(st.st_mode, S_IFIFO | 0600);
}
TEST(dont_mask_leaves_the_umask_to_the_server)
{
    fuse_tree();
    S->flags |= FUSE_DONT_MASK;
    fuse_mount("");
    umask(027);
    OK(mkdir("m/folder", 0777));
    EQ(node("", "folder")->mode, S_IFDIR | 0777);
    close(OK(open("m/new", O_CREAT | O_WRONLY, 0666)));
    EQ(node("", "new")->mode, S_IFREG | 0666);
}
TEST(links_unlinks_renames)
{
    fuse_mount("");
    OK(link("m/file", "m/second"));
    EQ(S->count[FUSE_LINK], 1);
    EQ(node("", "second")->nlink, 2);
    OK(unlink("m/second"));
    FAILS(ENOTEMPTY, rmdir("m/dir"));
    OK(rename("m/dir/inner", "m/outer"));
    CHECK(node("", "outer"));
    EQ(S->count[FUSE_RENAME], 1);
    OK(rmdir("m/dir"));
    struct stat st;
    FAILS(ENOENT, stat("m/dir", &st));
    FAILS(ENOENT, rename("m/nothing", "m/x"));
}
TEST(renames_with_flags)
{
    fuse_mount("");
    FAILS(EEXIST, renameat2(AT_FDCWD, "m/file", AT_FDCWD, "m/link", RENAME_NOREPLACE));
    EQ(S->count[FUSE_RENAME2], 0);
    OK(renameat2(AT_FDCWD, "m/file", AT_FDCWD, "m/dir/inner", RENAME_EXCHANGE));
    EQ(S->last_flags[FUSE_RENAME2], RENAME_EXCHANGE);
    EQ(node("dir", "inner")->size, 5);
    S->error[FUSE_RENAME2] = ENOSYS;
    FAILS(EINVAL, renameat2(AT_FDCWD, "m/file", AT_FDCWD, "m/x", RENAME_NOREPLACE));
    FAILS(EINVAL, renameat2(AT_FDCWD, "m/file", AT_FDCWD, "m/x", RENAME_NOREPLACE));
    EQ(S->count[FUSE_RENAME2], 2);
}
TEST(removed_folders_do_not_keep_the_mount)
{
    fuse_mount("");
    struct stat st;
    OK(mkdir("m/a", 0700));
    OK(mkdir("m/a/b", 0700));
    close(OK(open("m/a/b/c", O_CREAT | O_RDWR, 0600)));
    OK(unlink("m/a/b/c"));
    FAILS(ENOENT, stat("m/a/b/c", &st));
    OK(mkdir("m/e", 0700));
    OK(rename("m/a/b", "m/e"));
    OK(rmdir("m/a"));
    OK(rmdir("m/e"));
    OK(umount("m"));
    WAIT_OK(fuse_server); // ENODEV
}
TEST(attributes_are_set)
{
    fuse_mount("");
    OK(chmod("m/file", 0600));
    EQ(node("", "file")->mode, S_IFREG | 0600);
    EQ(S->last_flags[FUSE_SETATTR] & FATTR_MODE, FATTR_MODE);
    OK(chown("m/file", 12, 34));
    EQ(node("", "file")->uid, 12);
    EQ(node("", "file")->gid, 34);
    struct timespec t[2] = {{5, 0}, {6, 7}};
    OK(utimensat(AT_FDCWD, "m/file", t, 0));
    EQ(node("", "file")->mtime, 6);
    EQ(node("", "file")->mtimensec, 7);
    OK(utimensat(AT_FDCWD, "m/file", NULL, 0));
    CHECK(S->last_flags[FUSE_SETATTR] & FATTR_MTIME_NOW);
    OK(truncate("m/file", 3));
    EQ(node("", "file")->size, 3);
    int fd = OK(open("m/file", O_RDWR));
    OK(ftruncate(fd, 10));
    EQ(S->last_flags[FUSE_SETATTR] & (FATTR_SIZE | FATTR_FH), FATTR_SIZE | FATTR_FH);
    char text[11];
    EQ(read(fd, text, 11), 10);
    CHECK(!memcmp(text, "hel\0\0\0\0\0\0\0", 10));
}
TEST(open_truncates)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR | O_TRUNC));
    EQ(node("", "file")->size, 0);
    CHECK(!(S->last_flags[FUSE_OPEN] & O_TRUNC));
    close(fd);
}
TEST(open_truncates_with_the_server)
{
    fuse_tree();
    S->flags |= FUSE_ATOMIC_O_TRUNC;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR | O_TRUNC));
    EQ(node("", "file")->size, 0);
    CHECK(S->last_flags[FUSE_OPEN] & O_TRUNC);
    EQ(S->count[FUSE_SETATTR], 0);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 0);
}
TEST(writes_in_parts)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    char *all = malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        all[i] = i * 13 + (i >> 10);
    EQ(write(fd, all, 1000000), 1000000);
    CHECK(S->count[FUSE_WRITE] >= 8);
    CHECK(!memcmp(node("", "file")->data, all, 1000000));
    EQ(pwrite(fd, "xyz", 3, 500), 3);
    CHECK(!memcmp(node("", "file")->data + 499, (char[]){all[499], 'x', 'y', 'z', all[503]}, 5));
    char back[5];
    EQ(pread(fd, back, 5, 499), 5);
    CHECK(!memcmp(back, (char[]){all[499], 'x', 'y', 'z', all[503]}, 5));
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 1000000);
    EQ(lseek(fd, 0, SEEK_CUR), 1000000);
}
TEST(appends)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_WRONLY | O_APPEND));
    EQ(write(fd, "+", 1), 1);
    EQ(write(fd, "++", 2), 2);
    CHECK(!memcmp(node("", "file")->data, "hello+++", 8));
    // Two at once: each byte is written once.
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = FORK({
            for (int n = 0; n < 50; n++)
                EQ(write(fd, &"abcd"[i], 1), 1);
        });
    for (int i = 0; i < 4; i++)
        WAIT_OK(children[i]);
    EQ(node("", "file")->size, 208);
    int seen[4] = {};
    for (int i = 8; i < 208; i++)
        seen[node("", "file")->data[i] - 'a']++;
    for (int i = 0; i < 4; i++)
        EQ(seen[i], 50);
}
TEST(one_position_for_many_writers)
{
    fuse_mount("");
    int fd = OK(open("m/new", O_CREAT | O_WRONLY, 0600));
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = FORK({
            for (int n = 0; n < 50; n++)
                EQ(write(fd, &"abcd"[i], 1), 1);
        });
    for (int i = 0; i < 4; i++)
        WAIT_OK(children[i]);
    EQ(node("", "new")->size, 200);
}
TEST(what_was_sent_is_sent_once)
{
    fuse_mount("");
    for (int i = 0; i < 20; i++) {
        char name[20];
        snprintf(name, sizeof name, "m/dir/%d", i);
        OK(mkdir(name, 0700));
        int fd = OK(open("m/file", O_WRONLY | O_APPEND));
        EQ(write(fd, "x", 1), 1);
        close(fd);
    }
    EQ(S->count[FUSE_MKDIR], 20);
    EQ(S->count[FUSE_WRITE], 20);
    EQ(S->count[FUSE_OPEN], 20);
    EQ(S->count[FUSE_FLUSH], 20);
}
TEST(fallocate_and_holes)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    OK(fallocate(fd, 0, 0, 100));
    EQ(node("", "file")->size, 100);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 100);
    char text[6] = "";
    EQ(pread(fd, text, 5, 0), 5);
    STREQ(text, "hello");
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 3));
    EQ(S->last_flags[FUSE_FALLOCATE], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    EQ(pread(fd, text, 5, 0), 5);
    CHECK(!memcmp(text, "h\0\0\0o", 5));
    S->error[FUSE_FALLOCATE] = ENOSYS;
    FAILS(EOPNOTSUPP, fallocate(fd, 0, 0, 200));
    FAILS(EOPNOTSUPP, fallocate(fd, 0, 0, 200));
    EQ(S->count[FUSE_FALLOCATE], 3);
    EQ(lseek(fd, 5, SEEK_DATA), 6);
    EQ(lseek(fd, 5, SEEK_HOLE), 99);
    S->error[FUSE_LSEEK] = ENOSYS;
    EQ(lseek(fd, 5, SEEK_DATA), 5);
    EQ(lseek(fd, 5, SEEK_HOLE), 100);
    FAILS(ENXIO, lseek(fd, 100, SEEK_DATA));
}
TEST(copy_file_range_is_the_servers)
{
    fuse_mount("");
    int from = OK(open("m/file", O_RDONLY)), to = OK(open("m/dir/inner", O_RDWR));
    off_t at = 1, to_at = 3;
    EQ(copy_file_range(from, &at, to, &to_at, 4, 0), 4);
    EQ(S->count[FUSE_COPY_FILE_RANGE], 1);
    EQ(at, 5);
    EQ(to_at, 7);
    CHECK(!memcmp(node("dir", "inner")->data, "insello", 7));
    char text[10] = "";
    EQ(pread(to, text, 9, 0), 7);
    STREQ(text, "insello");
    S->error[FUSE_COPY_FILE_RANGE] = ENOSYS;
    at = 0, to_at = 0;
    EQ(copy_file_range(from, &at, to, &to_at, 4, 0), 4);
    CHECK(!memcmp(node("dir", "inner")->data, "hellllo", 7));
}
TEST(extended_attributes)
{
    fuse_mount("");
    OK(setxattr("m/file", "user.a", "value", 5, XATTR_CREATE));
    STREQ(node("", "file")->xname, "user.a");
    STREQ(node("", "file")->xvalue, "value");
    EQ(S->last_flags[FUSE_SETXATTR], XATTR_CREATE);
    char text[20] = "";
    EQ(getxattr("m/file", "user.a", NULL, 0), 5);
    EQ(getxattr("m/file", "user.a", text, 20), 5);
    STREQ(text, "value");
    FAILS(ERANGE, getxattr("m/file", "user.a", text, 3));
    FAILS(ENODATA, getxattr("m/file", "user.b", text, 20));
    EQ(listxattr("m/file", text, 20), 7);
    STREQ(text, "user.a");
    OK(removexattr("m/file", "user.a"));
    EQ(listxattr("m/file", text, 20), 0);
    S->error[FUSE_GETXATTR] = S->error[FUSE_SETXATTR] = ENOSYS;
    FAILS(EOPNOTSUPP, getxattr("m/file", "user.a", text, 20));
    FAILS(EOPNOTSUPP, setxattr("m/file", "user.a", "x", 1, 0));
    FAILS(EOPNOTSUPP, setxattr("m/file", "user.a", "x", 1, 0));
    EQ(S->count[FUSE_SETXATTR], 2);
}
TEST(fsync_and_flush)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    OK(fsync(fd));
    EQ(S->last_flags[FUSE_FSYNC], 0);
    OK(fdatasync(fd));
    EQ(S->last_flags[FUSE_FSYNC], 1);
    int dir = OK(open("m/dir", O_RDONLY));
    OK(fsync(dir));
    EQ(S->count[FUSE_FSYNCDIR], 1);
    int copy = OK(dup(fd));
    OK(close(copy));
    EQ(S->count[FUSE_FLUSH], 1);
    EQ(S->count[FUSE_RELEASE], 0);
    S->error[FUSE_FLUSH] = EDQUOT;
    FAILS(EDQUOT, close(fd));
    FAILS(EBADF, close(fd));
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
}
TEST(exit_closes)
{
    fuse_mount("");
    pid_t child = FORK({ OK(open("m/file", O_RDONLY)); });
    WAIT_OK(child);
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
    EQ(S->count[FUSE_FLUSH], 1);
}
TEST(no_release_before_a_flush_is_done)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    int other = OK(open("/dev/null", O_RDONLY));
    S->error[FUSE_FLUSH] = -1;
    pid_t child = FORK({
        int fd = OK(open("m/file", O_RDONLY));
        dup2(other, fd);
    });
    EVENTUALLY(S->held[FUSE_FLUSH]);
    sleep_ms(50);
    EQ(S->count[FUSE_RELEASE], 0);
    fuse_reply(fuse_fd, S->held[FUSE_FLUSH], 0, NULL, 0);
    WAIT_OK(child);
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
}
TEST(temporary_files)
{
    fuse_mount("");
    S->error[51] = 0;
    int fd = open("m", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0 && errno == EOPNOTSUPP)
        SKIP("no FUSE_TMPFILE before Linux 6.2");
    OK(fd);
    EQ(write(fd, "x", 1), 1);
    S->error[51] = ENOSYS;
    FAILS(EOPNOTSUPP, open("m", O_TMPFILE | O_RDWR, 0600));
}
TEST(permissions_are_the_servers)
{
    fuse_mount("allow_other");
    S->node[2].mode = S_IFREG | 0000;
    pid_t child = FORK({
        OK(setgid(77));
        OK(setuid(66));
        OK(open("m/file", O_RDWR));
        OK(chmod("m/file", 0640));
        OK(access("m/file", R_OK | W_OK));
        EQ(S->last_flags[FUSE_ACCESS], R_OK | W_OK);
        S->error[FUSE_ACCESS] = EPERM;
        FAILS(EPERM, access("m/file", R_OK));
        FAILS(EPERM, chdir("m/dir"));
        S->error[FUSE_ACCESS] = 0;
        FAILS(EACCES, execl("m/file", "m/file", NULL));
    });
    WAIT_OK(child);
}
TEST(default_permissions_are_the_kernels)
{
    fuse_mount("allow_other,default_permissions");
    S->node[2].mode = S_IFREG | 0600;
    pid_t child = FORK({
        OK(setgid(77));
        OK(setuid(66));
        FAILS(EACCES, open("m/file", O_RDONLY));
        FAILS(EPERM, chmod("m/file", 0640));
        FAILS(EACCES, access("m/file", R_OK));
        FAILS(EACCES, mkdir("m/new", 0700));
    });
    WAIT_OK(child);
    EQ(S->count[FUSE_ACCESS], 0);
    EQ(S->count[FUSE_OPEN], 0);
}
TEST(others_are_kept_out)
{
    fuse_mount("");
    pid_t child = FORK({
        OK(setgid(77));
        OK(setuid(66));
        struct stat st;
        FAILS(EACCES, stat("m/file", &st));
        FAILS(EACCES, stat("m", &st));
        FAILS(EACCES, open("m", O_RDONLY));
        FAILS(EACCES, chdir("m"));
    });
    WAIT_OK(child);
    EQ(S->count[FUSE_LOOKUP], 0);
}
MAIN()
