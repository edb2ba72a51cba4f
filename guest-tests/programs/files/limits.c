// The ends of what paths, folders and files may be: path_resolution(7), NAME_MAX, PATH_MAX, the largest file offset.
#include "check.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/statfs.h>

// A tmpfs as working folder, where one can be mounted; else what is there.
static void on_tmpfs(const char *options)
{
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mkdir("t", 0755));
    OK(mount("t", "t", "tmpfs", 0, options));
    OK(chdir("t"));
}

TEST(names_have_255_bytes)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    OK(mkdir(name, 0755));
    char below[600];
    snprintf(below, sizeof below, "%s/%s", name, name);
    write_file(below, "x");
    OK(rename(below, "short")), OK(link("short", below)), OK(unlink(below)), OK(rmdir(name));
    name[255] = 'n', name[256] = 0;
    struct stat st;
    FAILS(ENAMETOOLONG, mkdir(name, 0755));
    FAILS(ENAMETOOLONG, open(name, O_CREAT | O_RDWR, 0600));
    FAILS(ENAMETOOLONG, stat(name, &st));
    FAILS(ENAMETOOLONG, rename("short", name));
    FAILS(ENAMETOOLONG, link("short", name));
    FAILS(ENAMETOOLONG, symlink("short", name));
    FAILS(ENAMETOOLONG, unlink(name));
    snprintf(below, sizeof below, "nothing/%s", name);
    FAILS(ENOENT, stat(below, &st));
}

TEST(paths_have_4095_bytes)
{
    static char path[5000];
    for (size_t at = 0; at < sizeof path; at += 2)
        path[at] = '.', path[at + 1] = '/';
    struct stat st;
    path[4095] = 0; // with the zero 4,096
    OK(stat(path, &st));
    path[4095] = '/', path[4096] = 0;
    FAILS(ENAMETOOLONG, stat(path, &st));
    path[4096] = '.';
    path[4095] = 0;
    FAILS(ENOENT, symlink("", "empty"));
    OK(symlink(path, "long")); // a target of 4,095 bytes
    OK(stat("long", &st));
    static char back[5000];
    EQ(OK(readlink("long", back, sizeof back)), 4095);
    path[4095] = '/', path[4096] = 0;
    FAILS(ENAMETOOLONG, symlink(path, "longer"));
}

TEST(trees_are_10000_deep)
{
    on_tmpfs(NULL);
    int top = OK(open(".", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 10000; i++) {
        OK(mkdir("d", 0755));
        OK(chdir("d"));
    }
    char here[PATH_MAX];
    FAILS(ENAMETOOLONG, syscall(SYS_getcwd, here, sizeof here));
    write_file("file", "x");
    struct stat st;
    OK(stat("file", &st));
    OK(unlink("file"));
    for (int i = 0; i < 5000; i++) {
        OK(chdir(".."));
        OK(rmdir("d"));
    }
    OK(fchdir(top));
    OK(close(top));
    // The rest goes with the file system.
}

TEST(folders_have_20000_names)
{
    on_tmpfs(NULL);
    char name[40];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        OK(mknod(name, S_IFREG | 0600, 0));
    }
    DIR *dir = opendir(".");
    CHECK(dir);
    static bool seen[20000];
    int count = 0, number;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (sscanf(entry->d_name, "name-%d", &number) == 1) {
            CHECK(!seen[number]);
            seen[number] = true;
            count++;
        }
    EQ(count, 20000);
    closedir(dir);
}

TEST(files_end_below_8_eib)
{
    on_tmpfs(NULL);
    int fd = OK(open("big", O_CREAT | O_RDWR, 0600));
    OK(ftruncate(fd, INT64_MAX));
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, INT64_MAX);
    EQ(st.st_blocks, 0);
    EQ(OK(lseek(fd, 0, SEEK_END)), INT64_MAX);
    EQ(OK(lseek(fd, 0, SEEK_HOLE)), 0);
    FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
    EQ(OK(pwrite(fd, "end", 3, INT64_MAX - 3)), 3);
    char text[4] = "";
    EQ(OK(pread(fd, text, 3, INT64_MAX - 3)), 3);
    STREQ(text, "end");
    FAILS(EINVAL, pread(fd, text, 4, INT64_MAX - 3)); // would end beyond
    FAILS(EINVAL, pwrite(fd, "x", 1, INT64_MAX));
    OK(ftruncate(fd, 1));
    EQ(OK(pread(fd, text, 4, 0)), 1);
    EQ(text[0], 0);
}

TEST(a_full_tmpfs_says_so_and_goes_on)
{
    on_tmpfs("size=64k,nr_inodes=10");
    static char block[4096];
    int fd = OK(open("file", O_CREAT | O_RDWR, 0600)), blocks = 0;
    while (write(fd, block, sizeof block) == sizeof block)
        blocks++;
    EQ(errno, ENOSPC);
    EQ(blocks, 16);
    FAILS(ENOSPC, fallocate(fd, 0, 0, 1 << 20));
    EQ(OK(pwrite(fd, "x", 1, 0)), 1); // what is there can be written
    OK(ftruncate(fd, 0));
    EQ(OK(write(fd, block, sizeof block)), sizeof block);
    char name[20];
    int made = 0;
    for (;; made++) {
        snprintf(name, sizeof name, "f%d", made);
        int other = open(name, O_CREAT | O_RDWR, 0600);
        if (other < 0)
            break;
        OK(close(other));
    }
    EQ(errno, ENOSPC);
    EQ(made, 8); // with the root and "file" ten
    OK(unlink("f0"));
    OK(mkdir("d", 0755));
}

// A tmpfs whose mount names no size has one: tmpfs(5). Nobody gets all memory of the machine by one call.
TEST(allocation_beyond_the_default_size)
{
    OK(mkdir("t", 0700));
    OK(mount("none", "t", "tmpfs", 0, NULL));
    int fd = OK(open("t/f", O_RDWR | O_CREAT, 0600));
    FAILS(ENOSPC, fallocate(fd, 0, 0, 1L << 46));
    FAILS(ENOSPC, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1L << 46));
    OK(ftruncate(fd, 1L << 40)); // a hole takes nothing
    struct statfs fs;
    OK(fstatfs(fd, &fs));
    CHECK(fs.f_blocks > 0 && fs.f_blocks < 1L << 34);
    EQ(fs.f_bfree, fs.f_blocks);
    close(fd);
    OK(umount("t"));
}

MAIN()
