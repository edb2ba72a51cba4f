// Mounts, bind mounts, mount namespaces, pivot_root, other namespaces: mount(2), umount2(2), unshare(2), pivot_root(2), namespaces(7).
#include "check.h"
#include <sys/mount.h>
#include <sys/statfs.h>

#define ROOT()                                                                                                         \
    do {                                                                                                               \
        if (geteuid())                                                                                                 \
            SKIP("not root");                                                                                          \
    } while (0)
static void own_namespace(void)
{
    OK(unshare(CLONE_NEWNS));
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}
static bool mounted(const char *at)
{
    static char text[1 << 18];
    char here[4200], wanted[4300];
    CHECK(getcwd(here, sizeof here));
    snprintf(wanted, sizeof wanted, " %s/%s ", here, at);
    read_file("/proc/self/mounts", text, sizeof text);
    return strstr(text, wanted);
}

TEST(tmpfs)
{
    ROOT();
    own_namespace();
    OK(mkdir("m", 0755));
    write_file("m/below", "");
    OK(mount("tmpfs", "m", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0711"));
    CHECK(mounted("m"));
    struct statfs f;
    OK(statfs("m", &f));
    EQ(f.f_type, 0x01021994);
    EQ(f.f_blocks * f.f_bsize, 1 << 20);
    struct stat st;
    OK(stat("m", &st));
    EQ(st.st_mode & 07777, 0711);
    FAILS(ENOENT, access("m/below", F_OK));
    int fd = OK(open("m/f", O_CREAT | O_RDWR, 0600));
    static char big[2 << 20];
    CHECK(write(fd, big, sizeof big) < (ssize_t)sizeof big);
    FAILS(ENOSPC, write(fd, big, 65536) > 0 ? write(fd, big, 65536) : -1);
    OK(ftruncate(fd, 0));
    EQ(write(fd, big, 4096), 4096);
    FAILS(EBUSY, umount("m"));
    FAILS(EBUSY, rmdir("m"));
    FAILS(EBUSY, rename("m", "n"));
    close(fd);
    OK(umount("m"));
    OK(access("m/below", F_OK));
    FAILS(EINVAL, umount("m"));
}

TEST(other_namespace_does_not_see)
{
    ROOT();
    OK(mkdir("m", 0755));
    int go[2], back[2];
    OK(pipe(go)), OK(pipe(back));
    pid_t child = FORK({
        own_namespace();
        OK(mount("x", "m", "tmpfs", 0, NULL));
        write_file("m/inside", "");
        EQ(write(back[1], "x", 1), 1);
        char c;
        EQ(read(go[0], &c, 1), 1);
        OK(access("m/inside", F_OK));
    });
    char c;
    EQ(read(back[0], &c, 1), 1);
    FAILS(ENOENT, access("m/inside", F_OK));
    char a[100], b[100], path[40];
    a[OK(readlink("/proc/self/ns/mnt", a, 99))] = 0;
    sprintf(path, "/proc/%d/ns/mnt", child);
    b[OK(readlink(path, b, 99))] = 0;
    CHECK(!strncmp(a, "mnt:[", 5));
    CHECK(strcmp(a, b));
    EQ(write(go[1], "x", 1), 1);
    WAIT_OK(child);
}

TEST(bind)
{
    ROOT();
    own_namespace();
    OK(mkdir("a", 0755)), OK(mkdir("b", 0755)), OK(mkdir("a/sub", 0755));
    write_file("a/f", "A");
    OK(mount("a", "b", NULL, MS_BIND, NULL));
    char text[10];
    read_file("b/f", text, 10);
    STREQ(text, "A");
    write_file("b/new", "");
    OK(access("a/new", F_OK));
    FAILS(EXDEV, link("a/f", "b/g")); // one file system, two mounts
    FAILS(EXDEV, rename("a/f", "b/g"));
    OK(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    FAILS(EROFS, open("b/x", O_CREAT | O_WRONLY, 0600));
    FAILS(EROFS, unlink("b/f"));
    FAILS(EROFS, chmod("b/f", 0600));
    write_file("a/x", ""); // the other side may still be written
    OK(umount("b"));
    write_file("file", "F"), write_file("target", "T");
    OK(mount("file", "target", NULL, MS_BIND, NULL)); // a single file
    read_file("target", text, 10);
    STREQ(text, "F");
    FAILS(EBUSY, unlink("target"));
    OK(umount("target"));
    FAILS(ENOTDIR, mount("a", "target", NULL, MS_BIND, NULL));
    FAILS(ENOENT, mount("nothing", "b", NULL, MS_BIND, NULL));
}

TEST(recursive_bind_and_move)
{
    ROOT();
    own_namespace();
    OK(mkdir("a", 0755)), OK(mkdir("a/m", 0755)), OK(mkdir("b", 0755)), OK(mkdir("c", 0755));
    OK(mount("x", "a/m", "tmpfs", 0, NULL));
    write_file("a/m/f", "");
    OK(mount("a", "b", NULL, MS_BIND, NULL));
    FAILS(ENOENT, access("b/m/f", F_OK));
    OK(umount("b"));
    OK(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
    OK(access("b/m/f", F_OK));
    OK(mount("b", "c", NULL, MS_MOVE, NULL));
    OK(access("c/m/f", F_OK));
    FAILS(ENOENT, access("b/m", F_OK));
    FAILS(EBUSY, umount("c"));
    OK(umount2("c", MNT_DETACH)); // with what is on it
    FAILS(ENOENT, access("c/m", F_OK));
}

TEST(detached_mount_lives_by_its_descriptors)
{
    ROOT();
    own_namespace();
    OK(mkdir("m", 0755));
    OK(mount("x", "m", "tmpfs", 0, NULL));
    int fd = OK(open("m/f", O_CREAT | O_RDWR, 0600));
    OK(umount2("m", MNT_DETACH));
    EQ(write(fd, "x", 1), 1);
    char c;
    EQ(pread(fd, &c, 1, 0), 1);
}

TEST(read_only_and_no_exec)
{
    ROOT();
    own_namespace();
    OK(mkdir("m", 0755));
    OK(mount("x", "m", "tmpfs", MS_NOEXEC, NULL));
    write_file("m/s", "#!/bin/sh\n");
    OK(chmod("m/s", 0755));
    char *argv[] = {"x", NULL};
    FAILS(EACCES, execv("m/s", argv));
    int fd = OK(open("m/s", O_RDONLY));
    FAILS(EPERM, (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    FAILS(EBUSY, ({
              int w = OK(open("m/s", O_WRONLY));
              int r = mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL);
              int error = errno;
              close(w);
              errno = error;
              r;
          }));
    int w = OK(open("m/s", O_WRONLY));
    FAILS(EBUSY, mount(NULL, "m", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    OK(mkdir("n", 0755));
    OK(mount("m", "n", NULL, MS_BIND, NULL));
    OK(mount(NULL, "n", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)); // nobody writes through this one
    FAILS(EROFS, open("n/s", O_WRONLY));
    close(w);
    OK(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    FAILS(EROFS, open("m/new", O_CREAT | O_WRONLY, 0600));
}

TEST(errors)
{
    ROOT();
    own_namespace();
    OK(mkdir("m", 0755));
    FAILS(ENODEV, mount("x", "m", "no-such-fs", 0, NULL));
    FAILS(ENOENT, mount("x", "nothing", "tmpfs", 0, NULL));
    FAILS(EINVAL, mount("x", "m", "tmpfs", 0, "no-such-option=1"));
    FAILS(EINVAL, umount2("m", 0x100));
    FAILS(EINVAL, umount("m"));
    pid_t child = FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, mount("x", "m", "tmpfs", 0, NULL));
        FAILS(EPERM, umount("m"));
        FAILS(EPERM, unshare(CLONE_NEWNS));
    });
    WAIT_OK(child);
}

TEST(proc_mount)
{
    ROOT();
    own_namespace();
    OK(mkdir("p", 0755));
    OK(mount("proc", "p", "proc", 0, NULL));
    char link[20];
    link[OK(readlink("p/self", link, 19))] = 0;
    EQ(atoi(link), getpid());
}

TEST(pivot_root)
{
    ROOT();
    pid_t child = FORK({
        own_namespace();
        OK(mkdir("new", 0755));
        OK(mount("new", "new", NULL, MS_BIND, NULL));
        OK(mkdir("new/old", 0755));
        write_file("new/marker", "");
        FAILS(EBUSY, syscall(SYS_pivot_root, "new", "/"));
        OK(chdir("new"));
        OK(syscall(SYS_pivot_root, ".", "old"));
        OK(chdir("/"));
        OK(access("/marker", F_OK));
        OK(access("/old/etc", F_OK));
        OK(umount2("/old", MNT_DETACH));
        FAILS(ENOENT, access("/old/etc", F_OK));
        FAILS(ENOENT, access("/etc", F_OK));
    });
    WAIT_OK(child);
}

TEST(pivot_root_onto_itself)
{
    ROOT();
    pid_t child = FORK({ // what container runtimes do
        own_namespace();
        OK(mkdir("new", 0755));
        OK(mount("x", "new", "tmpfs", 0, NULL));
        OK(chdir("new"));
        OK(syscall(SYS_pivot_root, ".", "."));
        OK(umount2(".", MNT_DETACH));
        OK(chdir("/"));
        FAILS(ENOENT, access("/etc", F_OK));
    });
    WAIT_OK(child);
}

TEST(mountinfo)
{
    ROOT();
    own_namespace();
    OK(mkdir("m", 0755));
    OK(mount("source name", "m", "tmpfs", MS_NODEV | MS_NOATIME, NULL));
    static char text[1 << 18];
    read_file("/proc/self/mountinfo", text, sizeof text);
    char *line = strstr(text, "source\\040name");
    CHECK(line); // blanks are written as octal
    while (line > text && line[-1] != '\n')
        line--;
    int id, parent, major_, minor_;
    EQ(sscanf(line, "%d %d %d:%d / ", &id, &parent, &major_, &minor_), 4);
    char *end = strchr(line, '\n');
    *end = 0;
    CHECK(strstr(line, "nodev,noatime") || strstr(line, "noatime"));
    CHECK(strstr(line, " - tmpfs source"));
}

TEST(uts)
{
    ROOT();
    pid_t child = FORK({
        OK(unshare(CLONE_NEWUTS));
        OK(sethostname("inside", 6));
        char name[70];
        OK(gethostname(name, sizeof name));
        STREQ(name, "inside");
    });
    WAIT_OK(child);
    char name[70];
    OK(gethostname(name, sizeof name));
    CHECK(strcmp(name, "inside"));
}

TEST(pid_namespace)
{
    ROOT();
    pid_t child = FORK({
        OK(unshare(CLONE_NEWPID));
        pid_t init = FORK({
            EQ(getpid(), 1);
            EQ(getppid(), 0);
            pid_t inner = FORK({
                EQ(getppid(), 1);
                pause();
            });
            EQ(inner, 2);
            raise(SIGTERM); // no effect on an init without a handler
            kill(1, SIGKILL);
            _exit(5); // takes inner with it
        });
        CHECK(init > 1);
        WAIT_STATUS(init, EXITED(5));
        FAILS(ENOMEM, fork()); // a namespace whose init is gone
    });
    WAIT_OK(child);
}

TEST(user_namespace)
{
    pid_t child = FORK({
        uid_t was = geteuid();
        if (unshare(CLONE_NEWUSER))
            SKIP("no user namespaces");
        EQ(geteuid(), 65534);
        write_file("/proc/self/setgroups", "deny");
        char map[40];
        int fd = OK(open("/proc/self/uid_map", O_WRONLY));
        sprintf(map, "0 %d 1\n\n", was);
        FAILS(EINVAL, write(fd, map, strlen(map))); // an empty line
        close(fd);
        sprintf(map, "0 %d 1", was);
        write_file("/proc/self/uid_map", map);
        EQ(geteuid(), 0);
        OK(unshare(CLONE_NEWNS));
        OK(mkdir("m", 0755));
        OK(mount("x", "m", "tmpfs", 0, NULL));
    });
    int status;
    OK(waitpid(child, &status, 0));
    if (status == EXITED(EXIT_SKIP))
        SKIP("no user namespaces");
    EQ(status, 0);
}

MAIN()
