// A FUSE server's files looked at: lookup, getattr, open, read, readdir, readlink, statfs.
#include "fuse.h"
#include <dirent.h>
#include <sys/statfs.h>

static const char *text_of(const char *path)
{
    static char text[200];
    read_file(path, text, sizeof text);
    return text;
}

TEST(init_agrees_on_a_version)
{
    fuse_mount("");
    STREQ(text_of("m/file"), "hello");
    CHECK(S->kernel_minor >= 31);
    EQ(S->count[FUSE_INIT], 1);
    uint64_t wanted = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_FLOCK_LOCKS | FUSE_DO_READDIRPLUS |
                      FUSE_WRITEBACK_CACHE | FUSE_MAX_PAGES | FUSE_ABORT_ERROR | FUSE_NO_OPEN_SUPPORT | FUSE_INIT_EXT;
    EQ(S->offered & wanted, wanted);
}
TEST(stat_shows_what_the_server_says)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    EQ(st.st_size, 5); EQ(st.st_ino, 102); EQ(st.st_mode, S_IFREG | 0644); EQ(st.st_mtime, 1000);
    OK(stat("m", &st));
    EQ(st.st_ino, 101);
    OK(stat("m/dir/inner", &st));
    EQ(st.st_size, 6);
    FAILS(ENOENT, stat("m/nothing", &st));
    FAILS(ENOTDIR, stat("m/file/x", &st));
}
TEST(attributes_are_asked_for_as_often_as_they_must)
{
    fuse_tree();
    S->entry_valid = 100;
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    int seen = S->count[FUSE_GETATTR];
    OK(stat("m/file", &st));
    EQ(S->count[FUSE_GETATTR], seen + 1);
    S->attr_valid = 100;
    OK(stat("m/file", &st));
    seen = S->count[FUSE_GETATTR];
    OK(stat("m/file", &st)), OK(stat("m/file", &st));
    EQ(S->count[FUSE_GETATTR], seen);
    EQ(S->count[FUSE_LOOKUP], 1);
}
TEST(names_live_as_long_as_the_server_says)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    int seen = S->count[FUSE_LOOKUP];
    OK(stat("m/file", &st));
    EQ(S->count[FUSE_LOOKUP], seen + 1);
    strcpy(S->node[2].name, "other");
    FAILS(ENOENT, stat("m/file", &st));
    OK(stat("m/other", &st));
    S->entry_valid = 100;
    OK(stat("m/other", &st));
    strcpy(S->node[2].name, "third");
    OK(stat("m/other", &st));
}
TEST(contents_and_links)
{
    fuse_mount("");
    STREQ(text_of("m/file"), "hello");
    STREQ(text_of("m/link"), "hello");
    STREQ(text_of("m/dir/../dir/inner"), "inside");
    char target[20] = "";
    EQ(readlink("m/link", target, sizeof target), 4);
    STREQ(target, "file");
    int fd = OK(open("m/file", O_RDONLY));
    char byte;
    EQ(pread(fd, &byte, 1, 4), 1);
    EQ(byte, 'o');
    EQ(pread(fd, &byte, 1, 5), 0);
    close(fd);
    EVENTUALLY(S->count[FUSE_RELEASE] == S->count[FUSE_OPEN]);
    EQ(S->count[FUSE_FLUSH], S->count[FUSE_OPEN]);
}
TEST(large_files_are_read_in_parts)
{
    fuse_tree();
    for (int i = 0; i < 3000000; i++)
        S->node[2].data[i] = i * 7 + (i >> 12);
    S->node[2].size = 3000000;
    fuse_mount("");
    char *all = malloc(DATA_MAX);
    int fd = OK(open("m/file", O_RDONLY));
    EQ(read(fd, all, DATA_MAX), 3000000);
    CHECK(!memcmp(all, S->node[2].data, 3000000));
    EQ(read(fd, all, 1), 0);
}
TEST(folders_are_listed)
{
    fuse_tree();
    for (int i = 0; i < 40; i++) {
        char name[100];
        snprintf(name, sizeof name, "%d-%064d", i, i);
        fuse_file(3, name, "");
    }
    fuse_mount("");
    DIR *dir = opendir("m/dir");
    CHECK(dir);
    int count = 0;
    struct dirent *d;
    while ((d = readdir(dir))) {
        count++;
        CHECK(d->d_type == DT_DIR || d->d_type == DT_REG);
    }
    EQ(count, 43);
    rewinddir(dir);
    d = readdir(dir);
    STREQ(d->d_name, ".");
    closedir(dir);
    EVENTUALLY(S->count[FUSE_RELEASEDIR] == 1);
}
TEST(readdirplus_brings_attributes)
{
    fuse_tree();
    S->entry_valid = S->attr_valid = 100, S->flags |= FUSE_DO_READDIRPLUS;
    fuse_mount("");
    DIR *dir = opendir("m");
    CHECK(dir);
    while (readdir(dir)) {
    }
    CHECK(S->count[FUSE_READDIRPLUS] > 0);
    struct stat st;
    int seen = S->count[FUSE_GETATTR]; // of the folder itself
    OK(stat("m/file", &st));
    EQ(st.st_size, 5);
    EQ(S->count[FUSE_LOOKUP], 0);
    EQ(S->count[FUSE_GETATTR], seen);
}
TEST(nodes_are_forgotten)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st)), OK(stat("m/dir/inner", &st)), OK(stat("m/file", &st));
    OK(umount2("m", MNT_DETACH));
    WAIT_OK(fuse_server); // ENODEV
}
TEST(forgets_come_while_mounted)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/dir/inner", &st));
    OK(unlink("m/dir/inner"));
    EVENTUALLY(S->forgotten[4]);
}
TEST(statfs_is_the_servers)
{
    fuse_mount("");
    struct statfs st;
    OK(statfs("m/file", &st));
    EQ(st.f_type, 0x65735546);
    EQ(st.f_blocks, 1000); EQ(st.f_bfree, 500); EQ(st.f_bavail, 400); EQ(st.f_namelen, 200); EQ(st.f_frsize, 1024);
}
TEST(errors_are_the_servers)
{
    fuse_mount("");
    S->error[FUSE_OPEN] = EXDEV;
    FAILS(EXDEV, open("m/file", O_RDONLY));
    S->error[FUSE_OPEN] = 0, S->error[FUSE_LOOKUP] = EUCLEAN;
    struct stat st;
    FAILS(EUCLEAN, stat("m/file", &st));
    S->error[FUSE_LOOKUP] = 0, S->error[FUSE_READ] = EDOM;
    int fd = OK(open("m/file", O_RDONLY));
    char byte;
    FAILS(EDOM, read(fd, &byte, 1));
}
TEST(open_flags_reach_the_server)
{
    fuse_mount("");
    OK(open("m/file", O_RDWR | O_APPEND | O_NONBLOCK));
    EQ(S->last_flags[FUSE_OPEN] & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_CREAT | O_TRUNC), O_RDWR | O_APPEND | O_NONBLOCK);
    OK(open("m/dir", O_RDONLY | O_DIRECTORY));
    CHECK(S->last_flags[FUSE_OPENDIR] & O_DIRECTORY);
}
TEST(without_open)
{
    fuse_tree();
    S->error[FUSE_OPEN] = S->error[FUSE_OPENDIR] = ENOSYS, S->flags |= FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT;
    fuse_mount("");
    STREQ(text_of("m/file"), "hello");
    STREQ(text_of("m/file"), "hello");
    EQ(S->count[FUSE_OPEN], 1);
    closedir(opendir("m")), closedir(opendir("m"));
    EQ(S->count[FUSE_OPENDIR], 1);
    EQ(S->count[FUSE_RELEASE], 0);
}
TEST(ids_are_the_callers)
{
    fuse_mount("allow_other");
    struct stat st;
    pid_t child = FORK({
        OK(setgid(77)), OK(setuid(66));
        OK(stat("m/file", &st));
    });
    WAIT_OK(child);
    EQ(S->last[FUSE_GETATTR].uid == 66 || S->last[FUSE_LOOKUP].uid == 66, true);
    EQ(S->last[FUSE_LOOKUP].gid, 77);
    EQ(S->last[FUSE_LOOKUP].pid, child);
}
TEST(programs_run_from_it)
{
    fuse_tree();
    FILE *self = fopen("/proc/self/exe", "r");
    size_t size = fread(S->node[2].data, 1, DATA_MAX, self);
    S->node[2].size = size, S->node[2].mode = S_IFREG | 0755;
    fuse_mount("");
    pid_t child = FORK({
        execl("m/file", "m/file", "helper:hello", NULL);
        FAIL("execl: %s", strerror(errno));
    });
    WAIT_STATUS(child, EXITED(42));
}
HELPER(hello)
{
    (void)argc, (void)argv;
    return 42;
}
MAIN()
