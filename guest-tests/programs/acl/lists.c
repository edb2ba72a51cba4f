// What lists may be set, shown and taken away, by whom, and what becomes of the mode: acl(5), xattr(7), chmod(2).
#include "acl.h"
#include <sys/inotify.h>

TEST(form)
{
    make("f", 0644);
    struct list list;
    size_t size = read_list("u::6 u:1000:4 g::4 m::4 o::4", &list);
    list.version = 1;
    FAILS(EOPNOTSUPP, setxattr("f", ACCESS, &list, size, 0));
    list.version = 2;
    FAILS(EINVAL, setxattr("f", ACCESS, &list, 3, 0));
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size - 1, 0));
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size - 4, 0));
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size, 4));
    FAILS(E2BIG, setxattr("f", ACCESS, &list, 65537, 0));
    list.entries[1].tag = 0x40;
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size, 0));
    list.entries[1].tag = USER;
    list.entries[1].id = NOBODY;
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size, 0));
    list.entries[1].id = 1000;
    list.entries[0].perm = 8;
    FAILS(EINVAL, setxattr("f", ACCESS, &list, size, 0));
    list.entries[0].perm = 6;
    list.entries[0].id = 77; // of no meaning
    OK(setxattr("f", ACCESS, &list, size, XATTR_REPLACE));
    OK(setxattr("f", ACCESS, &list, size, XATTR_CREATE));
    STREQ(get("f"), "u::6 u:1000:4 g::4 m::4 o::4");
    EQ(getxattr("f", ACCESS, NULL, 0), size);
    FAILS(ERANGE, getxattr("f", ACCESS, &list, size - 1));
    EQ(getxattr("f", ACCESS, &list, size), size);
    OK(setxattr("f", ACCESS, &list, 4, 0)); // no entries: no list
    STREQ(get("f"), "none");
    FAILS(EOPNOTSUPP, setxattr("f", "system.posix_acl", &list, size, 0));
    FAILS(EOPNOTSUPP, setxattr("f", "system.posix_acl_accessx", &list, size, 0));
}

TEST(order)
{
    make("f", 0644);
    OK(mkdir("d", 0755));
    static const char *const wrong[] = {
        "u::6 g::4", "u::6 o::4", "g::4 o::4", "u::6 g::4 m::4", "u::6 u:1:4 g::4 o::4", "u::6 g::4 g:1:4 o::4", "g::4 u::6 o::4", "u::6 g::4 u:1:4 m::4 o::4",
        "u::6 g:1:4 g::4 m::4 o::4", "u::6 g::4 o::4 m::4", "u::6 u::6 g::4 o::4", "u::6 g::4 g::4 o::4", "u::6 g::4 m::4 m::4 o::4", "u::6 g::4 o::4 o::4", "o::4 g::4 u::6",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (try_set("f", ACCESS, wrong[i]) != -1 || errno != EINVAL)
            FAIL("%s is taken", wrong[i]);
        if (try_set("d", DEFAULT, wrong[i]) != -1 || errno != EINVAL)
            FAIL("%s is taken as default", wrong[i]);
    }
    static const char *const right[] = {
        "u::6 g::4 m::4 o::4", "u::6 u:2:4 u:1:7 u:1:0 g::4 m::4 o::4", "u::6 g::4 g:5:1 g:5:2 g:3:7 m::4 o::4", "u::0 u:0:0 g::0 g:0:0 m::7 o::0",
    };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        set("f", right[i]);
        STREQ(get("f"), right[i]);
        set_default("d", right[i]);
        STREQ(get_default("d"), right[i]);
    }
}

TEST(minimal_lists_are_mere_modes)
{
    make("f", 04644);
    set("f", "u::7 g::5 o::1");
    EQ(mode("f"), 04751);
    STREQ(get("f"), "none");
    EQ(listxattr("f", NULL, 0), 0);
    set("f", "u::7 u:1:7 g::5 m::5 o::1");
    set("f", "u::6 g::0 o::0");
    EQ(mode("f"), 04600);
    STREQ(get("f"), "none");
    // A default list is kept as it is.
    OK(mkdir("d", 0755));
    set_default("d", "u::7 g::5 o::1");
    STREQ(get_default("d"), "u::7 g::5 o::1");
    EQ(mode("d"), 0755);
}

TEST(the_mode_follows)
{
    make("f", 0600);
    set("f", "u::5 u:1000:7 g::7 m::6 o::1");
    EQ(mode("f"), 0561);
    set("f", "u::6 g::4 m::7 o::0");
    EQ(mode("f"), 0670);
    STREQ(get("f"), "u::6 g::4 m::7 o::0");
    OK(removexattr("f", ACCESS));
    EQ(mode("f"), 0670);
    STREQ(get("f"), "none");
    OK(removexattr("f", ACCESS));
    OK(mkdir("d", 0700));
    OK(removexattr("d", DEFAULT));
    FAILS(ENODATA, getxattr("d", DEFAULT, NULL, 0));
}

TEST(chmod_changes_the_list)
{
    make("f", 0644);
    set("f", "u::6 u:1000:7 g::5 g:2000:7 m::4 o::4");
    OK(chmod("f", 0751));
    STREQ(get("f"), "u::7 u:1000:7 g::5 g:2000:7 m::5 o::1");
    OK(chmod("f", 01000));
    STREQ(get("f"), "u::0 u:1000:7 g::5 g:2000:7 m::0 o::0");
    int fd = OK(open("f", O_RDWR));
    OK(fchmod(fd, 0640));
    STREQ(get("f"), "u::6 u:1000:7 g::5 g:2000:7 m::4 o::0");
    OK(mkdir("d", 0755));
    set_default("d", "u::7 g::5 o::5");
    OK(chmod("d", 0700));
    STREQ(get_default("d"), "u::7 g::5 o::5");
    // A change of owner or contents does not.
    OK(chown("f", 1000, 1000));
    EQ(write(fd, "x", 1), 1);
    STREQ(get("f"), "u::6 u:1000:7 g::5 g:2000:7 m::4 o::0");
}

TEST(who_may_set)
{
    make("f", 0666);
    OK(mkdir("d", 0777));
    OK(symlink("f", "l"));
    OK(mkfifo("p", 0666));
    struct list list;
    size_t size = read_list("u::6 u:1000:4 g::4 m::4 o::4", &list);
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        FAILS(EPERM, try_set("f", ACCESS, "u::6 u:1000:4 g::4 m::4 o::4"));
        FAILS(EPERM, try_set("f", ACCESS, "u::6 g::4 o::4"));
        FAILS(EPERM, try_set("d", DEFAULT, "u::6 g::4 o::4"));
        FAILS(EPERM, removexattr("f", ACCESS));
        FAILS(EINVAL, setxattr("f", ACCESS, &list, 5, 0));
        FAILS(EACCES, try_set("f", DEFAULT, "u::6 g::4 o::4"));
    }));
    OK(chown("f", 1000, 1000));
    OK(chown("d", 1000, 1000));
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        set("f", "u::6 u:1001:4 g::4 m::4 o::0");
        set_default("d", "u::6 u:1001:4 g::4 m::4 o::0");
        // Even who may not read it may see and set it.
        set("f", "u::0 u:1001:4 g::4 m::4 o::0");
        STREQ(get("f"), "u::0 u:1001:4 g::4 m::4 o::0");
        int fd = OK(open("d", O_RDONLY | O_DIRECTORY));
        OK(fsetxattr(fd, ACCESS, &list, size, 0));
        EQ(fgetxattr(fd, ACCESS, NULL, 0), size);
        OK(fremovexattr(fd, ACCESS));
    }));
    WAIT_OK(FORK({
        become(1001, 1001, 0);
        STREQ(get("f"), "u::0 u:1001:4 g::4 m::4 o::0");
    }));
    FAILS(EACCES, try_set("f", DEFAULT, "u::6 g::4 o::4"));
    FAILS(EACCES, try_set("p", DEFAULT, "u::6 g::4 o::4"));
    OK(removexattr("f", DEFAULT));
    FAILS(ENODATA, getxattr("f", DEFAULT, NULL, 0));
    FAILS(EOPNOTSUPP, lsetxattr("l", ACCESS, &list, size, 0));
    FAILS(EOPNOTSUPP, lremovexattr("l", ACCESS));
    FAILS(EOPNOTSUPP, lgetxattr("l", ACCESS, NULL, 0));
    set("l", "u::6 u:1000:6 g::4 m::6 o::4");
    STREQ(get("f"), "u::6 u:1000:6 g::4 m::6 o::4");
    set("p", "u::6 u:1000:6 g::4 m::6 o::0");
    STREQ(get("p"), "u::6 u:1000:6 g::4 m::6 o::0");
    EQ(rights("p", 1000, 1, 0), 6);
    EQ(rights("p", 1001, 1, 0), 0);
    int path = OK(open("f", O_PATH));
    FAILS(EBADF, fsetxattr(path, ACCESS, &list, size, 0));
}

TEST(file_systems_without)
{
    FAILS(EOPNOTSUPP, getxattr("/proc/self/status", ACCESS, NULL, 0));
    FAILS(EOPNOTSUPP, try_set("/proc/self/status", ACCESS, "u::6 g::4 o::4"));
    FAILS(EINVAL, try_set("/proc/self/status", ACCESS, "u:4294967295:6"));
    FAILS(EOPNOTSUPP, removexattr("/proc", DEFAULT));
    int ends[2];
    OK(pipe(ends));
    struct list list;
    FAILS(EOPNOTSUPP, fgetxattr(ends[0], ACCESS, &list, sizeof list));
}

TEST(lists_are_listed)
{
    OK(mkdir("d", 0755));
    EQ(listxattr("d", NULL, 0), 0);
    set("d", "u::7 u:1:7 g::5 m::5 o::5");
    char names[200];
    EQ(OK(listxattr("d", names, sizeof names)), sizeof ACCESS);
    STREQ(names, ACCESS);
    set_default("d", "u::7 g::5 o::5");
    EQ(OK(listxattr("d", names, sizeof names)), sizeof ACCESS + sizeof DEFAULT);
    CHECK(memmem(names, sizeof ACCESS + sizeof DEFAULT, DEFAULT, sizeof DEFAULT));
    OK(removexattr("d", ACCESS));
    OK(removexattr("d", DEFAULT));
    EQ(listxattr("d", NULL, 0), 0);
}

TEST(times_and_events)
{
    make("f", 0644);
    struct stat before, after;
    OK(stat("f", &before));
    int watch = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(watch, "f", IN_ATTRIB));
    sleep_ms(20);
    set("f", "u::6 u:1000:4 g::4 m::4 o::4");
    OK(stat("f", &after));
    CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    struct inotify_event event;
    EQ(OK(read(watch, &event, sizeof event)), sizeof event);
    EQ(event.mask, IN_ATTRIB);
}

TEST(set_group_id)
{
    make("f", 0755);
    OK(chown("f", 1000, 3000));
    OK(chmod("f", 02755));
    set("f", "u::7 u:1:7 g::5 m::5 o::5");
    EQ(mode("f"), 02755);
    WAIT_OK(FORK({
        become(1000, 1000, 3000);
        set("f", "u::7 u:2:7 g::5 m::5 o::5");
        EQ(mode("f"), 02755);
    }));
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        set("f", "u::7 u:3:7 g::5 m::5 o::5");
        EQ(mode("f"), 0755);
        OK(chmod("f", 04755));
    }));
    OK(chmod("f", 06755));
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        set("f", "u::7 g::5 o::0");
        EQ(mode("f"), 04750);
    }));
    OK(mkdir("d", 0755));
    OK(chown("d", 1000, 3000));
    OK(chmod("d", 02755));
    WAIT_OK(FORK({
        become(1000, 1000, 0);
        set_default("d", "u::7 g::5 o::0");
        EQ(mode("d"), 02755);
    }));
}

static void map_root(pid_t of, uid_t to)
{
    char path[64], map[64];
    snprintf(map, sizeof map, "0 %u 1\n5 2000 2\n", to);
    snprintf(path, sizeof path, "/proc/%d/uid_map", of);
    write_file(path, map);
    snprintf(path, sizeof path, "/proc/%d/gid_map", of);
    write_file(path, map);
}
TEST(user_namespaces)
{
    make("f", 0600);
    OK(chown("f", 1000, 1000));
    OK(chmod(".", 0777));
    set("f", "u::6 u:1000:7 u:3000:7 g::0 g:2001:7 g:3000:7 m::7 o::0");
    int ready[2], go[2];
    OK(pipe(ready));
    OK(pipe(go));
    pid_t child = FORK({
        char c;
        OK(unshare(CLONE_NEWUSER));
        EQ(write(ready[1], "x", 1), 1);
        EQ(read(go[0], &c, 1), 1);
        OK(setresgid(0, 0, 0));
        OK(setresuid(0, 0, 0));
        STREQ(get("f"), "u::6 u:0:7 u:4294967295:7 g::0 g:6:7 g:4294967295:7 m::7 o::0");
        FAILS(EINVAL, try_set("f", ACCESS, "u::6 u:3000:7 g::0 m::7 o::0"));
        FAILS(EINVAL, try_set("f", ACCESS, "u::6 g::0 g:1:7 m::7 o::0"));
        set("f", "u::6 u:0:5 u:5:7 g::0 g:6:7 m::7 o::0");
    });
    char c;
    EQ(read(ready[0], &c, 1), 1);
    map_root(child, 1000);
    EQ(write(go[1], "x", 1), 1);
    WAIT_OK(child);
    STREQ(get("f"), "u::6 u:1000:5 u:2000:7 g::0 g:2001:7 m::7 o::0");
}

TEST(read_only_mounts)
{
    OK(mkdir("m", 0755));
    OK(mount("m", "m", "tmpfs", MS_POSIXACL, NULL));
    make("m/f", 0644);
    set("m/f", "u::6 u:1000:4 g::4 m::4 o::4");
    OK(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY | MS_BIND, NULL));
    FAILS(EROFS, try_set("m/f", ACCESS, "u::6 g::4 o::4"));
    FAILS(EROFS, removexattr("m/f", ACCESS));
    STREQ(get("m/f"), "u::6 u:1000:4 g::4 m::4 o::4");
}
MAIN()
