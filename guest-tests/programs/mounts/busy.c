// Names on which something is mounted: they stay where that is in the caller's own namespace, and go, with what others have mounted there, where it is not. rmdir(2), rename(2), mount_namespaces(7).
#include "check.h"
#include <sched.h>
#include <sys/mount.h>

// A child in a mount namespace of its own that has mounted a tmpfs on `at`, and a file in it; it lives until the end of the case, or `until` is closed.
static pid_t elsewhere(const char *at, int until[2])
{
    int ready[2];
    OK(pipe(ready));
    OK(pipe2(until, O_CLOEXEC));
    pid_t child = FORK({
        close(until[1]);
        OK(unshare(CLONE_NEWNS));
        OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        OK(mount("x", at, "tmpfs", 0, NULL));
        int there = OK(open(at, O_RDONLY | O_DIRECTORY));
        close(OK(openat(there, "in", O_CREAT | O_RDWR, 0600)));
        OK(write(ready[1], "r", 1));
        char c;
        read(until[0], &c, 1);
        // What is open is still there.
        OK(faccessat(there, "in", F_OK, 0));
    });
    close(until[0]);
    char c;
    EQ(read(ready[0], &c, 1), 1);
    return child;
}
static void over(pid_t child, int until[2])
{
    close(until[1]);
    WAIT_OK(child);
}
TEST(busy_in_the_own_namespace)
{
    OK(mkdir("d", 0755));
    close(OK(open("f", O_CREAT | O_RDWR, 0644)));
    OK(mount("x", "d", "tmpfs", 0, NULL));
    OK(mount("/dev/null", "f", NULL, MS_BIND, NULL));
    FAILS(EBUSY, rmdir("d"));
    FAILS(EBUSY, unlink("f"));
    FAILS(EBUSY, rename("d", "e"));
    close(OK(open("g", O_CREAT | O_RDWR, 0644)));
    FAILS(EBUSY, rename("g", "f"));
    OK(umount("d"));
    OK(umount("f"));
    OK(rmdir("d"));
    OK(unlink("f"));
}
TEST(folders_go_with_the_mounts_of_others)
{
    int until[2];
    OK(mkdir("d", 0755));
    pid_t child = elsewhere("d", until);
    OK(rmdir("d"));
    FAILS(ENOENT, access("d", F_OK));
    OK(mkdir("d", 0755));
    FAILS(ENOENT, access("d/in", F_OK));
    over(child, until);
}
TEST(files_go_with_the_mounts_of_others)
{
    int until[2];
    close(OK(open("f", O_CREAT | O_RDWR, 0644)));
    OK(pipe2(until, O_CLOEXEC));
    int ready[2];
    OK(pipe(ready));
    pid_t child = FORK({
        close(until[1]);
        OK(unshare(CLONE_NEWNS));
        OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        OK(mount("/dev/null", "f", NULL, MS_BIND, NULL));
        OK(write(ready[1], "r", 1));
        char c;
        read(until[0], &c, 1);
        FAILS(ENOENT, access("f", F_OK));
        // Nor is it in the list of mounts.
        char list[65536];
        int fd = OK(open("/proc/self/mounts", O_RDONLY));
        ssize_t len = OK(read(fd, list, sizeof list - 1));
        list[len] = 0;
        char cwd[4096];
        CHECK(getcwd(cwd, sizeof cwd - 2));
        strcat(cwd, "/f ");
        CHECK(!strstr(list, cwd));
    });
    close(until[0]);
    char c;
    EQ(read(ready[0], &c, 1), 1);
    OK(unlink("f"));
    over(child, until);
}
TEST(another_name_takes_the_place)
{
    int until[2];
    OK(mkdir("d", 0755));
    OK(mkdir("other", 0755));
    close(OK(open("other/file", O_CREAT | O_RDWR, 0644)));
    pid_t child = elsewhere("d", until);
    OK(rename("other", "d"));
    OK(access("d/file", F_OK));
    over(child, until);
}
TEST(what_moves_takes_the_mounts_of_others_along)
{
    int until[2];
    OK(mkdir("d", 0755));
    OK(pipe2(until, O_CLOEXEC));
    int ready[2];
    OK(pipe(ready));
    pid_t child = FORK({
        close(until[1]);
        OK(unshare(CLONE_NEWNS));
        OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        OK(mount("x", "d", "tmpfs", 0, NULL));
        close(OK(open("d/in", O_CREAT | O_RDWR, 0600)));
        OK(write(ready[1], "r", 1));
        char c;
        read(until[0], &c, 1);
        OK(access("moved/in", F_OK));
        OK(umount("moved"));
    });
    close(until[0]);
    char c;
    EQ(read(ready[0], &c, 1), 1);
    OK(rename("d", "moved"));
    over(child, until);
}
TEST(a_namespace_that_is_over_holds_nothing)
{
    for (int i = 0; i < 20; i++) {
        OK(mkdir("d", 0755));
        pid_t child = FORK({
            OK(unshare(CLONE_NEWNS));
            OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
            OK(mount("x", "d", "tmpfs", 0, NULL));
        });
        WAIT_OK(child);
        OK(rmdir("d"));
    }
}
MAIN()
