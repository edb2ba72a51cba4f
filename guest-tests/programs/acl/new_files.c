// What new files begin with, and what moved, linked and copied ones keep: acl(5), umask(2), open(2).
#include "acl.h"
#include <sys/sysmacros.h>
#include <sys/un.h>

TEST(new_files_inherit)
{
    OK(mkdir("d", 0777));
    set_default("d", "u::7 u:1000:6 g::5 g:2000:7 m::6 o::4");
    umask(077);
    close(OK(open("d/f", O_CREAT | O_WRONLY, 0666)));
    EQ(mode("d/f"), 0664);
    STREQ(get("d/f"), "u::6 u:1000:6 g::5 g:2000:7 m::6 o::4");
    FAILS(ENODATA, getxattr("d/f", DEFAULT, NULL, 0));
    EQ(rights("d/f", 1000, 1, 0), 6);
    EQ(rights("d/f", 1001, 1001, 2000), 6);
    EQ(rights("d/f", 1001, 1001, 0), 4);
    close(OK(open("d/g", O_CREAT | O_WRONLY, 0610)));
    EQ(mode("d/g"), 0600);
    STREQ(get("d/g"), "u::6 u:1000:6 g::5 g:2000:7 m::0 o::0");
    OK(mkdir("d/e", 0750));
    EQ(mode("d/e"), 0740);
    STREQ(get("d/e"), "u::7 u:1000:6 g::5 g:2000:7 m::4 o::0");
    STREQ(get_default("d/e"), "u::7 u:1000:6 g::5 g:2000:7 m::6 o::4");
    OK(mkfifo("d/p", 0666));
    STREQ(get("d/p"), "u::6 u:1000:6 g::5 g:2000:7 m::6 o::4");
    OK(mknod("d/n", S_IFREG | 0640, 0));
    STREQ(get("d/n"), "u::6 u:1000:6 g::5 g:2000:7 m::4 o::0");
    OK(mknod("d/c", S_IFCHR | 0620, makedev(1, 3)));
    STREQ(get("d/c"), "u::6 u:1000:6 g::5 g:2000:7 m::2 o::0");
    int bound = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un name = {AF_UNIX, "d/s"};
    OK(bind(bound, (void *)&name, sizeof name));
    EQ(mode("d/s"), 0700); // the umask counts for bind(2) all the same
    STREQ(get("d/s"), "u::7 u:1000:6 g::5 g:2000:7 m::0 o::0");
    OK(symlink("f", "d/l"));
    EQ(mode("d/l"), 0777);
    FAILS(EOPNOTSUPP, lgetxattr("d/l", ACCESS, NULL, 0));
    // Below a folder that inherited it goes on.
    close(OK(open("d/e/f", O_CREAT | O_WRONLY, 0640)));
    STREQ(get("d/e/f"), "u::6 u:1000:6 g::5 g:2000:7 m::4 o::0");
    // Set-id bits are nobody's business here.
    close(OK(open("d/h", O_CREAT | O_WRONLY, 04711)));
    EQ(mode("d/h"), 04700);
}

TEST(nameless_files_inherit)
{
    OK(mkdir("d", 0777));
    set_default("d", "u::7 u:1000:6 g::5 m::6 o::4");
    umask(077);
    int fd = open("d", O_TMPFILE | O_RDWR, 0662);
    if (fd < 0 && errno == EOPNOTSUPP)
        SKIP("no O_TMPFILE here");
    OK(fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    OK(linkat(AT_FDCWD, path, AT_FDCWD, "d/t", AT_SYMLINK_FOLLOW));
    STREQ(get("d/t"), "u::6 u:1000:6 g::5 m::6 o::0");
}

TEST(a_minimal_default_is_a_umask)
{
    OK(mkdir("d", 0777));
    set_default("d", "u::6 g::4 o::0");
    umask(0777);
    close(OK(open("d/f", O_CREAT | O_WRONLY, 0777)));
    EQ(mode("d/f"), 0640);
    STREQ(get("d/f"), "none");
    OK(mkdir("d/e", 0777));
    EQ(mode("d/e"), 0640);
    STREQ(get("d/e"), "none");
    STREQ(get_default("d/e"), "u::6 g::4 o::0");
    umask(027);
    OK(removexattr("d", DEFAULT));
    close(OK(open("d/g", O_CREAT | O_WRONLY, 0777)));
    EQ(mode("d/g"), 0750);
    OK(chmod("d/e", 0777));
    close(OK(open("d/e/f", O_CREAT | O_WRONLY, 0777)));
    EQ(mode("d/e/f"), 0640);
}

TEST(set_group_id_folders_inherit_both)
{
    OK(mkdir("d", 0777));
    OK(chown("d", 0, 3000));
    OK(chmod("d", 02777));
    set_default("d", "u::7 u:1000:7 g::5 m::7 o::0");
    OK(mkdir("d/e", 0770));
    EQ(mode("d/e"), 02770);
    struct stat st;
    OK(stat("d/e", &st));
    EQ(st.st_gid, 3000);
    STREQ(get("d/e"), "u::7 u:1000:7 g::5 m::7 o::0");
    EQ(rights("d/e", 1001, 3000, 0), 5);
}

TEST(moved_and_linked_files_keep_theirs)
{
    OK(mkdir("d", 0777));
    set_default("d", "u::7 u:1000:6 g::5 m::6 o::4");
    make("f", 0644);
    make("g", 0644);
    set("g", "u::6 u:1001:4 g::4 m::4 o::0");
    OK(mkdir("e", 0755));
    OK(rename("f", "d/f"));
    OK(link("g", "d/g"));
    OK(rename("e", "d/e"));
    STREQ(get("d/f"), "none");
    STREQ(get("d/g"), "u::6 u:1001:4 g::4 m::4 o::0");
    STREQ(get("d/e"), "none");
    STREQ(get_default("d/e"), "none");
    set("d/g", "u::6 u:1002:4 g::4 m::4 o::0");
    STREQ(get("g"), "u::6 u:1002:4 g::4 m::4 o::0");
}

TEST(an_overlay_has_its_layers_lists)
{
    OK(mkdir("m", 0755));
    OK(mount("m", "m", "tmpfs", 0, NULL));
    OK(chdir("m"));
    OK(mkdir("lower", 0755)), OK(mkdir("upper", 0755)), OK(mkdir("work", 0755)), OK(mkdir("at", 0755));
    make("lower/f", 0600);
    make("lower/g", 0644);
    OK(mkdir("lower/d", 0755));
    make("lower/d/f", 0640);
    set("lower/f", "u::6 u:1000:4 g::0 m::4 o::0");
    set_default("lower/d", "u::7 u:1000:6 g::5 m::7 o::0");
    set_default("upper", "u::7 u:1001:6 g::5 m::7 o::7"); // of the root, where nothing is copied to
    if (mount("o", "at", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work"))
        SKIP("no overlay here");
    STREQ(get("at/f"), "u::6 u:1000:4 g::0 m::4 o::0");
    EQ(rights("at/f", 1000, 1, 0), 4);
    EQ(rights("at/f", 1001, 1, 0), 0);
    // Copied up with it, and without what the upper folder would hand down.
    int fd = OK(open("at/f", O_RDWR));
    EQ(write(fd, "x", 1), 1);
    STREQ(get("at/f"), "u::6 u:1000:4 g::0 m::4 o::0");
    EQ(rights("at/f", 1000, 1, 0), 4);
    OK(chmod("at/g", 0640));
    STREQ(get("at/g"), "none");
    OK(truncate("at/d/f", 3));
    STREQ(get("at/d/f"), "none");
    EQ(mode("at/d/f"), 0640);
    STREQ(get_default("at/d"), "u::7 u:1000:6 g::5 m::7 o::0");
    umask(077);
    close(OK(open("at/d/new", O_CREAT | O_WRONLY, 0660)));
    STREQ(get("at/d/new"), "u::6 u:1000:6 g::5 m::6 o::0");
    close(OK(open("at/new", O_CREAT | O_WRONLY, 0660)));
    STREQ(get("at/new"), "u::6 u:1001:6 g::5 m::6 o::0");
    set("at/d", "u::7 u:1000:5 g::5 m::5 o::0");
    STREQ(get("at/d"), "u::7 u:1000:5 g::5 m::5 o::0");
    STREQ(get("lower/d"), "none");
    EQ(rights("at/d", 1000, 1, 0), 5);
    // Over a whiteout.
    OK(unlink("at/d/f"));
    close(OK(open("at/d/f", O_CREAT | O_WRONLY, 0600)));
    STREQ(get("at/d/f"), "u::6 u:1000:6 g::5 m::0 o::0");
    OK(chdir(".."));
}
MAIN()
