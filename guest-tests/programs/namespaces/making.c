// Who makes which namespaces: user_namespaces(7), pid_namespaces(7), unshare(2), and what /proc shows of them.
#include "check.h"
#include <grp.h>

static void put(const char *file, const char *text)
{
    int fd = OK(open(file, O_WRONLY));
    EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    OK(close(fd));
}
static void need(int flags)
{
    if (unshare(flags) < 0)
        SKIP("no namespace of its own");
}

TEST(who_has_no_ids_makes_no_user_namespace)
{
    need(CLONE_NEWUSER);
    FAILS(EPERM, unshare(CLONE_NEWUSER));
    FAILS(EPERM, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    put("/proc/self/uid_map", "0 0 1");
    FAILS(EPERM, unshare(CLONE_NEWUSER));
    put("/proc/self/setgroups", "deny"), put("/proc/self/gid_map", "0 0 1");
    OK(unshare(CLONE_NEWUSER));
}
TEST(groups_are_set_once_there_is_a_map)
{
    gid_t group = 0;
    need(CLONE_NEWUSER);
    FAILS(EPERM, setgroups(1, &group));
    FAILS(EPERM, setgroups(0, NULL));
}
TEST(one_pid_namespace_for_children)
{
    char text[100];
    need(CLONE_NEWPID);
    FAILS(ENOENT, readlink("/proc/self/ns/pid_for_children", text, sizeof text));
    FAILS(EINVAL, unshare(CLONE_NEWPID));
    FAILS(EINVAL, syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0));
    pid_t child = FORK({
        EQ(getpid(), 1);
        OK(unshare(CLONE_NEWPID));
    });
    WAIT_OK(child);
    OK(readlink("/proc/self/ns/pid_for_children", text, sizeof text));
}
// The numbers of a proc are those of who mounted it, whoever looks.
TEST(a_proc_shows_its_own_pid_namespace)
{
    char own[32] = {0}, seen[32] = {0};
    int pipes[2];
    need(CLONE_NEWPID);
    OK(pipe(pipes));
    pid_t parent = getpid(), child = FORK({
        EQ(getpid(), 1);
        EQ(getppid(), 0);
        CHECK(read(pipes[0], own, sizeof own - 1) > 0);
        OK(readlink("/proc/self", seen, sizeof seen - 1));
        STREQ(seen, own);
        snprintf(own, sizeof own, "/proc/%d/status", atoi(own));
        OK(access(own, R_OK));
    });
    snprintf(own, sizeof own, "%d", child);
    CHECK(parent != child);
    OK(write(pipes[1], own, strlen(own)));
    WAIT_OK(child);
}
TEST(ids_in_options_are_those_of_the_namespace)
{
    need(CLONE_NEWUSER | CLONE_NEWNS);
    put("/proc/self/uid_map", "1000 0 1"), put("/proc/self/setgroups", "deny"), put("/proc/self/gid_map", "1000 0 1");
    OK(mkdir("m", 0755));
    FAILS(EINVAL, mount("x", "m", "tmpfs", 0, "uid=7"));
    OK(mount("x", "m", "tmpfs", 0, "uid=1000,gid=1000"));
    struct stat s;
    OK(stat("m", &s));
    EQ(s.st_uid, 1000);
    EQ(s.st_gid, 1000);
}
// The rights to enter the others are those of before the user namespace was entered.
TEST(a_user_namespace_with_the_one_around)
{
    int pipes[2];
    char byte;
    OK(pipe(pipes));
    pid_t child = FORK({
        need(CLONE_NEWUSER);
        OK(write(pipes[1], "x", 1));
        pause();
    });
    EQ(read(pipes[0], &byte, 1), 1);
    int process = OK(syscall(SYS_pidfd_open, child, 0));
    pid_t entering = FORK(OK(setns(process, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS)));
    WAIT_OK(entering);
    OK(kill(child, SIGKILL));
    WAIT_STATUS(child, KILLED(SIGKILL));
}

MAIN()
