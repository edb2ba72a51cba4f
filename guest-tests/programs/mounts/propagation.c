// Shared subtrees: mount_namespaces(7). Who sees whose mounts, and mountinfo's optional fields.
#include "check.h"
#include "mounts.h"
#include <sys/epoll.h>

static bool exists(const char *path) { return access(path, F_OK) == 0; }
static void tmpfs(const char *at)
{
    OK(mount("x", at, "tmpfs", 0, NULL));
    char mark[PATH_MAX];
    snprintf(mark, sizeof mark, "%s/mark", at);
    OK(mkdir(mark, 0755));
}
static void bind_to(const char *from, const char *to) { OK(mount(from, to, NULL, MS_BIND, NULL)); }
static void make(const char *at, unsigned long type) { OK(mount(NULL, at, NULL, type, NULL)); }
static long field(const char *place, const char *name)
{
    const char *at = strstr(mountinfo(place), name);
    return at ? atol(at + strlen(name)) : 0;
}
// a is a mount of its own with the folder s in it; b, c, d are folders.
static void begin(unsigned long type)
{
    own_mounts();
    OK(mkdir("a", 0755)), OK(mkdir("b", 0755)), OK(mkdir("c", 0755)), OK(mkdir("d", 0755));
    OK(mount("x", "a", "tmpfs", 0, NULL));
    OK(mkdir("a/s", 0755));
    make("a", type);
}

TEST(peers_see_each_others_mounts)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    CHECK(field("a", "shared:") != 0);
    EQ(field("b", "shared:"), field("a", "shared:"));
    tmpfs("a/s");
    CHECK(exists("b/s/mark"));
    EQ(field("b/s", "shared:"), field("a/s", "shared:"));
    OK(umount("b/s")); // from the other side
    CHECK(!exists("a/s/mark"));
    tmpfs("b/s");
    CHECK(exists("a/s/mark"));
    OK(umount("a/s"));
}

TEST(with_a_tree_goes_what_its_members_sent)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    tmpfs("a/s");
    OK(umount2("b", MNT_DETACH));
    CHECK(!exists("a/s/mark"));
}
TEST(what_keeps_others_stays)
{
    begin(MS_SHARED);
    bind_to("a", "b"), make("b", MS_SLAVE);
    tmpfs("a/s");
    tmpfs("b/s/mark"); // on the copy, and nowhere else
    OK(umount("a/s"));
    CHECK(!exists("a/s/mark"));
    CHECK(exists("b/s/mark/mark"));
}
TEST(what_is_received_comes_below)
{
    begin(MS_SHARED);
    bind_to("a", "b"), make("b", MS_SLAVE);
    tmpfs("b/s"), OK(mkdir("b/s/own", 0755));
    tmpfs("a/s");
    CHECK(exists("b/s/own"));
    OK(umount("b/s"));
    CHECK(exists("b/s/mark") && !exists("b/s/own"));
    tmpfs("b/s"), OK(mkdir("b/s/own", 0755));
    OK(umount("a/s")); // what covers the copy comes to its place
    CHECK(exists("b/s/own"));
    OK(umount("b/s"));
    CHECK(!exists("b/s/mark"));
}
TEST(slaves_receive_and_do_not_send)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    make("b", MS_SLAVE);
    EQ(field("b", "master:"), field("a", "shared:"));
    EQ(field("b", "shared:"), 0);
    tmpfs("a/s");
    CHECK(exists("b/s/mark"));
    EQ(field("b/s", "master:"), field("a/s", "shared:"));
    OK(umount("a/s"));
    CHECK(!exists("b/s/mark"));
    tmpfs("b/s");
    CHECK(!exists("a/s/mark"));
    OK(umount("b/s"));
}

TEST(slaves_that_are_shared_pass_on)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    make("b", MS_SLAVE), make("b", MS_SHARED);
    bind_to("b", "c"); // a peer of b
    bind_to("b", "d");
    make("d", MS_SLAVE); // a slave of b and c
    EQ(field("b", "master:"), field("a", "shared:"));
    EQ(field("c", "shared:"), field("b", "shared:"));
    EQ(field("d", "master:"), field("b", "shared:"));
    CHECK(field("b", "shared:") != field("a", "shared:"));
    tmpfs("a/s");
    CHECK(exists("b/s/mark") && exists("c/s/mark") && exists("d/s/mark"));
    EQ(field("b/s", "master:"), field("a/s", "shared:"));
    EQ(field("c/s", "shared:"), field("b/s", "shared:"));
    EQ(field("d/s", "master:"), field("b/s", "shared:"));
    OK(umount("a/s"));
    CHECK(!exists("b/s/mark") && !exists("c/s/mark") && !exists("d/s/mark"));
    tmpfs("b/s");
    CHECK(!exists("a/s/mark") && exists("c/s/mark") && exists("d/s/mark"));
}

TEST(private_mounts_keep_to_themselves)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    make("b", MS_PRIVATE);
    EQ(field("b", "shared:"), 0);
    tmpfs("a/s");
    CHECK(!exists("b/s/mark"));
}

TEST(a_slave_of_nobody_is_private)
{
    begin(MS_SHARED);
    make("a", MS_SLAVE); // the only one of its group
    EQ(field("a", "shared:") + field("a", "master:"), 0);
}

TEST(when_a_group_ends_its_slaves_get_its_master)
{
    begin(MS_SHARED);
    bind_to("a", "b");
    make("b", MS_SLAVE), make("b", MS_SHARED);
    bind_to("b", "c");
    make("c", MS_SLAVE);
    make("b", MS_PRIVATE);
    EQ(field("c", "master:"), field("a", "shared:"));
    tmpfs("a/s");
    CHECK(exists("c/s/mark") && !exists("b/s/mark"));
}

TEST(unbindable_mounts_are_not_bound)
{
    begin(MS_UNBINDABLE);
    CHECK(strstr(mountinfo("a"), " unbindable "));
    FAILS(EINVAL, mount("a", "b", NULL, MS_BIND, NULL));
    FAILS(EINVAL, mount("a/s", "b", NULL, MS_BIND, NULL));
    OK(mount(".", "b", NULL, MS_BIND | MS_REC, NULL)); // is left out
    CHECK(exists("b/a") && !exists("b/a/s"));
    make("a", MS_PRIVATE);
    bind_to("a", "c");
    OK(umount("c"));
}

TEST(who_has_no_master_stays_unbindable)
{
    begin(MS_UNBINDABLE);
    make("a", MS_SLAVE);
    FAILS(EINVAL, mount("a", "b", NULL, MS_BIND, NULL));
    make("a", MS_PRIVATE);
    bind_to("a", "b");
}
TEST(what_is_below_a_shared_mount_does_not_move)
{
    begin(MS_SHARED);
    tmpfs("a/s");
    FAILS(EINVAL, mount("a/s", "b", NULL, MS_MOVE, NULL));
    OK(umount("a/s"));
    OK(mount("a", "b", NULL, MS_MOVE, NULL)); // the shared one itself does
    CHECK(exists("b/s"));
}

TEST(a_bind_of_a_part_receives_only_that)
{
    begin(MS_SHARED);
    OK(mkdir("a/s/t", 0755)), OK(mkdir("a/u", 0755));
    bind_to("a/s", "b");
    tmpfs("a/s/t");
    CHECK(exists("b/t/mark"));
    tmpfs("a/u");
    EQ(field("b", "shared:"), field("a", "shared:"));
    OK(umount("a/u")), OK(umount("b/t"));
    CHECK(!exists("a/s/t/mark"));
}

TEST(other_namespaces_are_peers)
{
    begin(MS_SHARED);
    int up[2], down[2];
    char byte;
    OK(pipe(up)), OK(pipe(down));
    pid_t child = FORK({
        OK(unshare(CLONE_NEWNS));
        EQ(OK(write(up[1], "x", 1)), 1);
        EQ(OK(read(down[0], &byte, 1)), 1);
        CHECK(exists("a/s/mark"));
        OK(umount("a/s"));
        OK(umount("a")); // its own mount, on a private one
    });
    EQ(OK(read(up[0], &byte, 1)), 1);
    tmpfs("a/s");
    EQ(OK(write(down[1], "x", 1)), 1);
    WAIT_OK(child);
    CHECK(exists("a/s") && !exists("a/s/mark"));
}

TEST(changes_are_polled_for)
{
    own_mounts();
    OK(mkdir("m", 0755));
    int fd = OK(open("/proc/self/mountinfo", O_RDONLY));
    struct pollfd poll_fd = {fd, POLLERR | POLLPRI, 0};
    EQ(OK(poll(&poll_fd, 1, 0)), 0);
    tmpfs("m");
    EQ(OK(poll(&poll_fd, 1, 5000)), 1);
    EQ(poll_fd.revents & (POLLERR | POLLPRI), POLLERR | POLLPRI);
    EQ(OK(poll(&poll_fd, 1, 0)), 0);
    make("m", MS_SHARED);
    OK(umount("m"));
    EQ(OK(poll(&poll_fd, 1, 5000)), 1);
    int epoll = OK(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLPRI}, seen;
    OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    EQ(OK(epoll_wait(epoll, &seen, 1, 0)), 0);
    tmpfs("m");
    EQ(OK(epoll_wait(epoll, &seen, 1, 5000)), 1);
    EQ(seen.events, EPOLLPRI | EPOLLERR);
}

TEST(expire_takes_two_calls_and_no_use)
{
    begin(MS_PRIVATE);
    FAILS(EINVAL, umount2("a", MNT_EXPIRE | MNT_DETACH));
    FAILS(EAGAIN, umount2("a", MNT_EXPIRE));
    CHECK(exists("a/s")); // used: marked no more
    FAILS(EAGAIN, umount2("a", MNT_EXPIRE));
    OK(umount2("a", MNT_EXPIRE));
    CHECK(!exists("a/s"));
}

TEST(a_detached_tree_goes_when_it_is_not_used)
{
    begin(MS_PRIVATE);
    tmpfs("a/s");
    int fd = OK(open("a/s/mark", O_RDONLY));
    FAILS(EBUSY, umount("a"));
    OK(umount2("a", MNT_DETACH));
    CHECK(!exists("a/s"));
    struct stat st;
    OK(fstatat(fd, "..", &st, 0)); // still there for who has it
    OK(close(fd));
}

TEST(a_less_privileged_namespace_keeps_the_mounts_together)
{
    begin(MS_PRIVATE);
    tmpfs("a/s");
    write_file("below", "x");
    OK(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_RDONLY, NULL));
    WAIT_OK(FORK({
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
            SKIP("no user namespace");
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", "0 0 1"), write_file("/proc/self/gid_map", "0 0 1");
        FAILS(EINVAL, umount("a"));
        FAILS(EINVAL, umount2("a/s", MNT_DETACH));
        FAILS(EINVAL, mount("a", "b", NULL, MS_MOVE, NULL));
        FAILS(EINVAL, mount(".", "b", NULL, MS_BIND, NULL)); // would show what lies below
        OK(mount(".", "b", NULL, MS_BIND | MS_REC, NULL));
        FAILS(EINVAL, umount("b/a"));
        FAILS(EPERM, mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL));
        FAILS(EPERM, mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
        FAILS(EPERM, mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_RDONLY | MS_NOATIME, NULL));
        OK(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_RDONLY | MS_NOSUID, NULL));
        FAILS(EPERM, mount(NULL, "a", NULL, MS_REMOUNT, NULL)); // the file system is not its own
        FAILS(EINVAL, umount("b/a/s"));
        OK(umount2("b", MNT_DETACH)); // as a whole
        tmpfs("c");
        OK(mount(NULL, "c", NULL, MS_REMOUNT | MS_RDONLY, NULL));
        OK(umount("c"));
    }));
}

MAIN()
