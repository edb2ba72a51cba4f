// overlay by mount(2): merged folders, copying up, whiteouts, renames. Natively the same cases run on Linux' own overlay.
#include "check.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

static void text(const char *path, const char *wanted)
{
    char seen[200] = "";
    int fd = OK(open(path, O_RDONLY));
    OK(read(fd, seen, sizeof seen - 1));
    OK(close(fd));
    STREQ(seen, wanted);
}
static bool exists(const char *path) { return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }
static struct stat look(const char *path)
{
    struct stat st;
    OK(lstat(path, &st));
    return st;
}

// Names of a folder, sorted, with spaces between.
static const char *names(const char *path)
{
    static char all[2000];
    struct dirent **list;
    int count = OK(scandir(path, &list, NULL, alphasort));
    all[0] = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, "..")) {
            if (all[0])
                strcat(all, " ");
            strcat(all, list[i]->d_name);
        }
        free(list[i]);
    }
    free(list);
    return all;
}

// t/low and t/up under an overlay, which becomes the working folder.
static void overlay(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    OK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mkdir("t", 0755));
    OK(mount("tmpfs", "t", "tmpfs", 0, NULL));
    OK(chdir("t"));
    OK(mkdir("low", 0755)), OK(mkdir("up", 0755)), OK(mkdir("work", 0755)), OK(mkdir("m", 0755));
    OK(mkdir("low/dir", 0751)), OK(mkdir("low/dir/sub", 0700));
    write_file("low/dir/file", "below"), write_file("low/dir/sub/deep", "deep"), write_file("low/top", "top");
    OK(chmod("low/top", 0640));
    OK(symlink("top", "low/link"));
    if (mount("overlay", "m", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work") < 0)
        SKIP("no overlay here");
    OK(chdir("m"));
}

TEST(lower_files_show)
{
    overlay();
    STREQ(names("."), "dir link top");
    text("top", "top"), text("link", "top"), text("dir/sub/deep", "deep");
    EQ(look("top").st_mode, S_IFREG | 0640);
    EQ(look("dir").st_mode, S_IFDIR | 0751);
    CHECK(!exists("../up/top"));
    EQ(look("../work/work").st_mode, S_IFDIR); // engines look for it
    struct statfs fs;
    OK(statfs(".", &fs));
    EQ(fs.f_type, 0x794c7630);
}

TEST(writing_copies_up)
{
    overlay();
    struct stat before = look("dir/file"), folder = look("dir");
    int early = OK(open("dir/file", O_RDONLY));
    int fd = OK(open("dir/file", O_WRONLY | O_APPEND));
    OK(write(fd, "+above", 6));
    text("dir/file", "below+above"), text("../low/dir/file", "below"), text("../up/dir/file", "below+above");
    char seen[20] = "";
    OK(read(early, seen, sizeof seen));
    STREQ(seen, "below+above"); // since Linux 4.19
    struct stat after = look("dir/file");
    EQ(after.st_ino, before.st_ino); EQ(after.st_dev, before.st_dev); EQ(after.st_mode, before.st_mode);
    EQ(after.st_nlink, 1);
    EQ(look("dir").st_mtim.tv_nsec, folder.st_mtim.tv_nsec);
    STREQ(names("dir"), "file sub");
    STREQ(names("../up/dir"), "file");
}

TEST(attributes_copy_up)
{
    overlay();
    struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 77, .tv_nsec = 9}};
    OK(utimensat(AT_FDCWD, "../low/top", times, 0));
    OK(chmod("top", 0600));
    struct stat st = look("top");
    EQ(st.st_mode, S_IFREG | 0600); EQ(st.st_mtim.tv_sec, 77); EQ(st.st_mtim.tv_nsec, 9); EQ(st.st_size, 3);
    EQ(look("../low/top").st_mode, S_IFREG | 0640);
    OK(truncate("dir/file", 0));
    EQ(look("dir/file").st_size, 0); EQ(look("../low/dir/file").st_size, 5);
    OK(chown("dir/sub/deep", 12, 34));
    EQ(look("dir/sub/deep").st_uid, 12); EQ(look("../low/dir/sub/deep").st_uid, getuid());
    EQ(look("dir/sub").st_mode, S_IFDIR | 0700);
    if (setxattr("top", "trusted.mine", "x", 1, 0) == 0) {
        char value[10];
        EQ(OK(getxattr("top", "trusted.mine", value, sizeof value)), 1);
        FAILS(ENODATA, getxattr("../low/top", "trusted.mine", value, sizeof value));
    }
}

TEST(removed_stays_removed)
{
    overlay();
    OK(unlink("top"));
    CHECK(!exists("top") && exists("../low/top"));
    STREQ(names("."), "dir link");
    FAILS(ENOENT, open("top", O_RDONLY));
    int fd = OK(open("top", O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(write(fd, "new", 3));
    text("top", "new"), text("../low/top", "top");
    OK(unlink("top"));
    CHECK(!exists("top"));
    FAILS(ENOTEMPTY, rmdir("dir"));
    OK(unlink("dir/file")), OK(unlink("dir/sub/deep")), OK(rmdir("dir/sub")), OK(rmdir("dir"));
    STREQ(names("."), "link");
    OK(mkdir("dir", 0755)); // empty, whatever is below
    STREQ(names("dir"), "");
    OK(mkdir("dir/sub", 0755));
    STREQ(names("dir/sub"), "");
    FAILS(ENOENT, open("dir/sub/deep", O_RDONLY));
}

TEST(open_files_outlive_their_names)
{
    overlay();
    int reader = OK(open("top", O_RDONLY)), writer = OK(open("dir/file", O_RDWR));
    OK(unlink("top")), OK(unlink("dir/file"));
    char seen[10] = "";
    EQ(OK(pread(reader, seen, 10, 0)), 3);
    EQ(OK(pwrite(writer, "B", 1, 0)), 1);
    EQ(OK(pread(writer, seen, 10, 0)), 5);
    EQ(seen[0], 'B');
    struct stat st;
    OK(fstat(writer, &st));
    EQ(st.st_nlink, 0); EQ(st.st_size, 5);
}

TEST(renames)
{
    overlay();
    ino_t was = look("top").st_ino;
    OK(rename("top", "dir/moved"));
    CHECK(!exists("top"));
    text("dir/moved", "top");
    EQ(look("dir/moved").st_ino, was);
    OK(rename("dir/file", "dir/moved")); // replaces
    text("dir/moved", "below");
    STREQ(names("dir"), "moved sub");
    OK(rename("link", "dir/link"));
    char target[20] = "";
    OK(readlink("dir/link", target, sizeof target));
    STREQ(target, "top");
    OK(mkdir("fresh", 0700)), OK(mkdir("fresh/in", 0700));
    OK(rename("fresh", "fresh2"));
    STREQ(names("fresh2"), "in");
    OK(syscall(SYS_renameat2, AT_FDCWD, "dir/moved", AT_FDCWD, "dir/link", RENAME_EXCHANGE));
    text("dir/link", "below");
    STREQ(names("."), "dir fresh2");
}

// Folders with a lower part: Linux says EXDEV unless redirect_dir is on, and mv(1) copies; both are right.
TEST(rename_of_a_lower_folder)
{
    overlay();
    if (rename("dir", "other") < 0) {
        EQ(errno, EXDEV);
        return;
    }
    CHECK(!exists("dir"));
    STREQ(names("other"), "file sub");
    text("other/sub/deep", "deep");
    OK(mkdir("dir", 0700));
    STREQ(names("dir"), "");
}

TEST(hard_links)
{
    overlay();
    OK(link("top", "second"));
    EQ(look("second").st_nlink, 2); EQ(look("second").st_ino, look("top").st_ino);
    int fd = OK(open("second", O_WRONLY | O_TRUNC));
    OK(write(fd, "two", 3));
    text("top", "two"), text("../low/top", "top");
    OK(unlink("top"));
    text("second", "two");
    EQ(look("second").st_nlink, 1);
}

TEST(mappings_of_lower_files)
{
    overlay();
    int fd = OK(open("dir/file", O_RDONLY));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    EQ(memcmp(map, "below", 5), 0);
    map[0] = 'X';
    text("dir/file", "below");
    FAILS(EACCES, mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    int both = OK(open("dir/file", O_RDWR));
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, both, 0);
    CHECK(shared != MAP_FAILED);
    shared[0] = 'S';
    text("dir/file", "Selow"), text("../low/dir/file", "below");
}

TEST(special_files)
{
    overlay();
    OK(mkfifo("fifo", 0600)), OK(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    EQ(look("fifo").st_mode, S_IFIFO | 0600);
    EQ(look("null").st_rdev, makedev(1, 3));
    STREQ(names("."), "dir fifo link null top");
    OK(rename("fifo", "dir/fifo")), OK(unlink("null"));
    STREQ(names("dir"), "fifo file sub");
}

TEST(a_folder_of_one_layer_lists_itself)
{
    overlay();
    OK(chdir(".."));
    OK(mkdir("plain", 0755)), OK(mkdir("plain/dir", 0755)), OK(mkdir("m2", 0755));
    OK(mknod("plain/dir/zero", S_IFCHR | 0666, makedev(1, 5)));
    OK(mkfifo("plain/dir/fifo", 0600)), OK(mkdir("plain/dir/sub", 0700));
    char name[40];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "plain/dir/n%d", i);
        write_file(name, "");
    }
    OK(mkdir("up2", 0755)), OK(mkdir("work2", 0755));
    OK(mount("overlay", "m2", "overlay", 0, "lowerdir=plain,upperdir=up2,workdir=work2"));
    DIR *dir = opendir("m2/dir");
    CHECK(dir);
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        seen++;
        if (!strcmp(entry->d_name, "."))
            EQ(entry->d_ino, look("m2/dir").st_ino);
        if (!strcmp(entry->d_name, ".."))
            EQ(entry->d_ino, look("m2").st_ino);
        if (!strcmp(entry->d_name, "zero"))
            EQ(entry->d_type, DT_CHR);
    }
    EQ(seen, 305);
    // Once it has an upper part the two are merged.
    write_file("m2/dir/fresh", "");
    OK(unlink("m2/dir/zero"));
    rewinddir(dir);
    seen = 0;
    for (struct dirent *entry; (entry = readdir(dir)); seen++)
        CHECK(strcmp(entry->d_name, "zero"));
    EQ(seen, 305);
    OK(closedir(dir));
}

TEST(a_listing_survives_changes)
{
    overlay();
    char name[40];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "dir/n%d", i);
        write_file(name, "");
    }
    DIR *dir = opendir("dir");
    CHECK(dir);
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == 'n') {
            seen++;
            OK(unlinkat(dirfd(dir), entry->d_name, 0));
        }
    }
    EQ(seen, 500);
    rewinddir(dir);
    seen = 0;
    while (readdir(dir))
        seen++;
    EQ(seen, 4);
}

TEST(many_lower_layers)
{
    overlay();
    OK(chdir(".."));
    OK(mkdir("mid", 0755)), OK(mkdir("mid/dir", 0755)), OK(mkdir("m2", 0755));
    write_file("mid/dir/file", "middle"), write_file("mid/dir/extra", "x");
    OK(mount("overlay", "m2", "overlay", 0, "lowerdir=mid:low"));
    STREQ(names("m2/dir"), "extra file sub");
    text("m2/dir/file", "middle"), text("m2/dir/sub/deep", "deep"), text("m2/top", "top");
    FAILS(EROFS, open("m2/top", O_WRONLY));
    FAILS(EROFS, mkdir("m2/x", 0700));
    OK(mount("overlay", "m2", "overlay", 0, ",lowerdir=mid:low,,volatile,")), OK(umount("m2"));
    FAILS(EINVAL, mount("overlay", "m2", "overlay", 0, "lowerdir=mid"));
    FAILS(EINVAL, mount("overlay", "m2", "overlay", 0, "upperdir=up,workdir=work"));
    FAILS(ENOENT, mount("overlay", "m2", "overlay", 0, "lowerdir=none:low"));
}

// The layers under a new mount, with more options.
static void again(const char *options)
{
    OK(chdir(".."));
    OK(umount("m"));
    OK(mount("overlay", "m", "overlay", 0, options));
    OK(chdir("m"));
}

TEST(layers_keep_what_was_changed)
{
    overlay();
    write_file("dir/file", "changed"), write_file("new", "new");
    OK(unlink("top"));
    OK(unlink("dir/sub/deep")), OK(rmdir("dir/sub")), OK(mkdir("dir/sub", 0700));
    again("lowerdir=low,upperdir=up,workdir=work");
    STREQ(names("."), "dir link new");
    text("dir/file", "changed"), text("new", "new");
    STREQ(names("dir/sub"), ""); // still hides the lower one
}

TEST(renamed_folders_are_found_again)
{
    overlay();
    again("lowerdir=low,upperdir=up,workdir=work,redirect_dir=on");
    OK(rename("dir", "first"));
    OK(mkdir("in", 0755));
    OK(rename("first", "in/second"));
    OK(rename("in/second/sub", "in/third")); // out of a renamed one
    OK(mkdir("dir", 0700));
    again("lowerdir=low,upperdir=up,workdir=work,redirect_dir=on");
    STREQ(names("in"), "second third");
    text("in/second/file", "below"), text("in/third/deep", "deep");
    STREQ(names("in/second"), "file");
    STREQ(names("dir"), "");
    again("lowerdir=low,upperdir=up,workdir=work,redirect_dir=nofollow");
    STREQ(names("in/second"), "");
}

TEST(folders_with_lower_parts_do_not_move_without_redirect)
{
    overlay();
    again("lowerdir=low,upperdir=up,workdir=work,redirect_dir=off");
    FAILS(EXDEV, rename("dir", "other"));
    OK(mkdir("fresh", 0700));
    FAILS(EXDEV, syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, "fresh", RENAME_EXCHANGE));
    OK(rename("fresh", "fresh2"));
    text("dir/file", "below");
}

TEST(files_may_be_whiteouts)
{
    overlay();
    OK(chdir(".."));
    OK(mkdir("mid", 0755)), OK(mkdir("mid/dir", 0755)), OK(mkdir("m2", 0755));
    write_file("mid/dir/file", ""), write_file("mid/dir/empty", "");
    if (setxattr("mid/dir/file", "trusted.overlay.whiteout", "", 0, 0) < 0)
        SKIP("no trusted attributes here");
    OK(setxattr("mid/dir", "trusted.overlay.opaque", "x", 1, 0));
    OK(mount("overlay", "m2", "overlay", 0, "lowerdir=mid:low"));
    STREQ(names("m2/dir"), "empty sub");
    CHECK(!exists("m2/dir/file"));
    text("m2/dir/sub/deep", "deep"); // x does not hide folders
}

TEST(marks_may_be_in_the_users_name_space)
{
    overlay();
    OK(chdir(".."));
    OK(mkdir("m2", 0755)), OK(mkdir("up2", 0755)), OK(mkdir("work2", 0755));
    OK(mount("overlay", "m2", "overlay", 0, "lowerdir=low,upperdir=up2,workdir=work2,userxattr"));
    OK(unlink("m2/dir/sub/deep")), OK(rmdir("m2/dir/sub")), OK(mkdir("m2/dir/sub", 0700));
    char value[2] = "";
    EQ(OK(getxattr("up2/dir/sub", "user.overlay.opaque", value, 2)), 1);
    EQ(value[0], 'y');
    FAILS(ENODATA, getxattr("m2/dir/sub", "user.overlay.opaque", value, 2));
    FAILS(EINVAL, mount("overlay", "m", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work,userxattr,redirect_dir=on"));
}

TEST(a_copy_up_that_does_not_fit_leaves_nothing)
{
    overlay();
    OK(chdir(".."));
    OK(mkdir("small", 0755)), OK(mkdir("m2", 0755));
    OK(mount("x", "small", "tmpfs", 0, "size=256k"));
    OK(mkdir("small/up", 0755)), OK(mkdir("small/work", 0755));
    int big = OK(open("low/big", O_CREAT | O_RDWR, 0600));
    static char block[4096];
    memset(block, 'b', sizeof block);
    for (int i = 0; i < 256; i++)
        EQ(OK(write(big, block, sizeof block)), sizeof block);
    OK(close(big));
    OK(mount("overlay", "m2", "overlay", 0, "lowerdir=low,upperdir=small/up,workdir=small/work"));
    FAILS(ENOSPC, open("m2/big", O_RDWR));
    FAILS(ENOSPC, chmod("m2/big", 0644));
    CHECK(!exists("small/up/big"));
    struct statfs fs;
    OK(statfs("small", &fs));
    CHECK(fs.f_bfree > 50);
    EQ(look("m2/big").st_size, 1 << 20);
    EQ(look("m2/big").st_mode, S_IFREG | 0600);
    big = OK(open("m2/big", O_RDWR | O_TRUNC)); // without its contents it fits
    EQ(OK(write(big, "x", 1)), 1);
    OK(close(big));
    EQ(look("low/big").st_size, 1 << 20);
}

// Read again and again, so that a sandbox may have ceased to ask its kernel.
TEST(who_reads_a_lower_file_sees_the_copy)
{
    overlay();
    static char data[16384];
    memset(data, 'a', sizeof data);
    int low = OK(open("../low/dir/large", O_CREAT | O_WRONLY, 0600));
    EQ(write(low, data, sizeof data), (ssize_t)sizeof data);
    OK(close(low));
    int fd = OK(open("dir/large", O_RDONLY));
    for (int i = 0; i < 200; i++) {
        EQ(pread(fd, data, sizeof data, 0), (ssize_t)sizeof data);
        EQ(data[1000], 'a');
    }
    int writes = OK(open("dir/large", O_RDWR));
    char *map = mmap(NULL, sizeof data, PROT_READ | PROT_WRITE, MAP_SHARED, writes, 0);
    CHECK(map != MAP_FAILED);
    map[1000] = 'b';
    EQ(pread(fd, data, sizeof data, 0), (ssize_t)sizeof data);
    EQ(data[1000], 'b');
    EQ(pread(fd, data, sizeof data, 0), (ssize_t)sizeof data);
    map[1000] = 'c';
    EQ(pread(fd, data, sizeof data, 0), (ssize_t)sizeof data);
    EQ(data[1000], 'c');
}

MAIN()
