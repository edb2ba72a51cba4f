// What lists permit, and to whom: acl(5), path_resolution(7), access(2).
#include "acl.h"
#include <linux/capability.h>
#include <sys/un.h>

TEST(users_and_groups)
{
    make("f", 0640);
    set("f", "u::0 u:1000:6 u:1001:7 u:1002:0 g::4 g:2000:2 g:2001:6 m::6 o::1");
    OK(chown("f", 1, 3000));
    EQ(rights("f", 1000, 1000, 0), 6);
    EQ(rights("f", 1000, 2000, 3000), 6); // one's own entry counts alone
    EQ(rights("f", 1001, 1000, 0), 6); // as far as the mask goes
    EQ(rights("f", 1002, 2001, 3000), 0);
    EQ(rights("f", 1, 2001, 1000), 0); // the owner's entry
    EQ(rights("f", 1003, 3000, 0), 4);
    EQ(rights("f", 1003, 1000, 3000), 4);
    EQ(rights("f", 1003, 2000, 0), 2);
    EQ(rights("f", 1003, 2001, 0), 6);
    EQ(rights("f", 1003, 3000, 2001), 6);
    EQ(rights("f", 1003, 1003, 0), 1);
    // One group that gives it is enough, but what two give together is not given to read and write at once.
    pid_t child = FORK({
        become(1003, 3000, 2000);
        OK(open("f", O_RDONLY));
        OK(open("f", O_WRONLY));
        FAILS(EACCES, open("f", O_RDWR));
        FAILS(EACCES, access("f", R_OK | W_OK));
        FAILS(EACCES, access("f", X_OK));
    });
    WAIT_OK(child);
    // Who is in a group of the list is no other.
    set("f", "u::7 g::0 g:2000:1 m::7 o::7");
    EQ(rights("f", 1003, 3000, 0), 0);
    EQ(rights("f", 1003, 2000, 0), 1);
    EQ(rights("f", 1003, 1003, 0), 7);
    // The first entry of a name counts.
    set("f", "u::7 u:1000:4 u:1000:7 g::0 m::7 o::0");
    EQ(rights("f", 1000, 1000, 0), 4);
}

TEST(an_empty_mask_leaves_the_mode)
{
    make("f", 0640);
    OK(chown("f", 1, 3000));
    set("f", "u::7 u:1000:7 g::7 m::0 o::4");
    EQ(mode("f"), 0704);
    EQ(rights("f", 1000, 1000, 0), 4);
    EQ(rights("f", 1003, 3000, 0), 0);
    EQ(rights("f", 1003, 1003, 0), 4);
}

TEST(many_entries)
{
    make("f", 0600);
    struct {
        uint32_t version;
        struct entry entries[600];
    } list = {.version = 2};
    size_t n = 0;
    list.entries[n++] = (struct entry){USER_OBJ, 6, NOBODY};
    for (uint32_t i = 0; i < 100; i++)
        list.entries[n++] = (struct entry){USER, i % 8, 5000 + i};
    list.entries[n++] = (struct entry){GROUP_OBJ, 0, NOBODY};
    list.entries[n++] = (struct entry){MASK, 7, NOBODY};
    list.entries[n++] = (struct entry){OTHER, 0, NOBODY};
    OK(setxattr("f", ACCESS, &list, 4 + n * 8, 0));
    for (uint32_t i = 96; i < 100; i++)
        EQ(rights("f", 5000 + i, 1, 0), i % 8);
    EQ(rights("f", 5100, 1, 0), 0);
    EQ(getxattr("f", ACCESS, NULL, 0), 4 + n * 8);
}

TEST(folders)
{
    OK(mkdir("d", 0700));
    make("d/f", 0666);
    set("d", "u::7 u:1000:1 u:1001:7 u:1002:4 u:1003:3 g::0 m::7 o::0");
    EQ(rights("d", 1001, 1, 0), 7);
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        OK(open("d/f", O_RDWR));
        FAILS(EACCES, open("d", O_RDONLY | O_DIRECTORY));
        FAILS(EACCES, open("d/g", O_CREAT | O_RDWR, 0666));
        FAILS(EACCES, unlink("d/f"));
        FAILS(EACCES, mkdir("d/e", 0777));
        OK(chdir("d"));
    }));
    WAIT_OK(FORK({
        become(1001, 1001, 0);
        OK(mkdir("d/e", 0777));
        OK(rename("d/f", "d/e/f"));
        OK(link("d/e/f", "d/h"));
        OK(unlink("d/h"));
        OK(symlink("x", "d/l"));
    }));
    WAIT_OK(FORK({
        become(1002, 1002, 0);
        OK(open("d", O_RDONLY | O_DIRECTORY));
        FAILS(EACCES, open("d/e/f", O_RDONLY));
        FAILS(EACCES, chdir("d"));
        struct stat st;
        FAILS(EACCES, stat("d/e", &st));
    }));
    // Of others' files in a sticky folder a list gives nothing.
    OK(chmod("d", 01770));
    WAIT_OK(FORK({
        become(1003, 1003, 0);
        FAILS(EPERM, unlink("d/l"));
        FAILS(EPERM, rename("d/e", "d/i"));
        OK(symlink("y", "d/m"));
        OK(unlink("d/m"));
    }));
}

TEST(programs)
{
    char self[4096];
    self[OK(readlink("/proc/self/exe", self, sizeof self - 1))] = 0;
    int from = OK(open(self, O_RDONLY)), to = OK(open("run", O_CREAT | O_WRONLY, 0700));
    char part[65536];
    for (ssize_t n; (n = OK(read(from, part, sizeof part))) > 0;)
        EQ(write(to, part, n), n);
    close(to);
    set("run", "u::7 u:1000:1 u:1001:6 g::5 m::7 o::0");
    WAIT_STATUS(FORK({ become(1000, 1000, 0); execl("run", "run", "no-such-case", NULL); _exit(1); }), EXITED(99));
    WAIT_STATUS(FORK({ become(1001, 1001, 0); execl("run", "run", "no-such-case", NULL); _exit(errno == EACCES ? 5 : 1); }), EXITED(5));
    set("run", "u::6 u:1000:6 g::6 m::6 o::6");
    FAILS(EACCES, execl("run", "run", "no-such-case", NULL));
}

TEST(access_asks_the_real_user)
{
    make("f", 0600);
    set("f", "u::6 u:1000:4 g::0 m::4 o::0");
    WAIT_OK(FORK({
        OK(setresgid(1000, 0, 0));
        OK(setresuid(1000, 0, 0));
        OK(access("f", R_OK));
        FAILS(EACCES, access("f", W_OK));
        OK(faccessat(AT_FDCWD, "f", W_OK, AT_EACCESS));
        OK(open("f", O_RDWR));
        OK(setresuid(0, 1000, 0));
        FAILS(EACCES, open("f", O_RDWR));
        OK(open("f", O_RDONLY));
        OK(access("f", W_OK));
    }));
}

static void keep_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{keep, keep, 0}, {keep >> 32, keep >> 32, 0}};
    OK(syscall(SYS_capset, &header, data));
}
TEST(capabilities_come_before)
{
    OK(mkdir("d", 0700));
    make("d/f", 0600);
    set("d/f", "u::6 u:0:0 g::0 m::4 o::0");
    set("d", "u::7 u:0:0 g::0 m::7 o::0");
    OK(chown("d", 1, 1));
    OK(chown("d/f", 1, 1));
    OK(open("d/f", O_RDWR));
    WAIT_OK(FORK({
        keep_capabilities(1 << CAP_DAC_READ_SEARCH);
        OK(open("d/f", O_RDONLY));
        FAILS(EACCES, open("d/f", O_RDWR));
        OK(open("d", O_RDONLY | O_DIRECTORY));
        FAILS(EACCES, mkdir("d/e", 0777));
        keep_capabilities(0);
        FAILS(EACCES, open("d/f", O_RDONLY));
        FAILS(EACCES, open("d", O_RDONLY | O_DIRECTORY));
    }));
    OK(chmod("d", 0755));
    OK(removexattr("d", ACCESS));
    WAIT_OK(FORK({
        keep_capabilities(0);
        FAILS(EACCES, open("d/f", O_RDONLY));
    }));
}

TEST(writers_set_the_time_and_the_size)
{
    make("f", 0600);
    set("f", "u::6 u:1000:2 u:1001:4 g::0 m::6 o::0");
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        OK(utimensat(AT_FDCWD, "f", NULL, 0));
        OK(truncate("f", 10));
        struct timespec times[2] = {{1, 0}, {1, 0}};
        FAILS(EPERM, utimensat(AT_FDCWD, "f", times, 0));
        FAILS(EPERM, chmod("f", 0666));
    }));
    WAIT_OK(FORK({
        become(1001, 1001, 0);
        FAILS(EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
        FAILS(EACCES, truncate("f", 10));
    }));
}

TEST(sockets)
{
    int bound = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un name = {AF_UNIX, "s"};
    OK(bind(bound, (void *)&name, sizeof name));
    OK(listen(bound, 5));
    set("s", "u::7 u:1000:2 u:1001:4 g::0 m::7 o::7");
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        OK(connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&name, sizeof name));
    }));
    WAIT_OK(FORK({
        become(1001, 1001, 0);
        FAILS(EACCES, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&name, sizeof name));
    }));
}
MAIN()
