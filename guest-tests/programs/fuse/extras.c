// What a FUSE server may offer beside contents: locks, ioctls, poll; ways to mount; a second descriptor; the control file system.
#include "fuse.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <dirent.h>

TEST(posix_locks_are_the_servers)
{
    fuse_tree();
    S->flags |= FUSE_POSIX_LOCKS;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    struct flock lock = {.l_type = F_WRLCK, .l_start = 10, .l_len = 20};
    OK(fcntl(fd, F_SETLK, &lock));
    EQ(S->lock.start, 10);
    EQ(S->lock.end, 29);
    EQ(S->lock.type, F_WRLCK);
    EQ(S->lock.pid, getpid());
    pid_t parent = getpid();
    pid_t child = FORK({
        struct flock other = {.l_type = F_RDLCK};
        FAILS(EAGAIN, fcntl(fd, F_SETLK, &other));
        OK(fcntl(fd, F_GETLK, &other));
        EQ(other.l_type, F_WRLCK);
        EQ(other.l_start, 10);
        EQ(other.l_len, 20);
        EQ(other.l_pid, parent);
    });
    WAIT_OK(child);
    lock.l_type = F_UNLCK;
    OK(fcntl(fd, F_SETLK, &lock));
    EQ(S->lock_owner, 0);
    lock = (struct flock){.l_type = F_WRLCK};
    OK(fcntl(fd, F_SETLKW, &lock));
    EQ(S->count[FUSE_SETLKW], 1);
    EQ(S->lock.end, 0x7fffffffffffffff);
}
TEST(flocks_are_the_servers)
{
    fuse_tree();
    S->flags |= FUSE_FLOCK_LOCKS;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR)), other = OK(open("m/file", O_RDWR));
    OK(flock(fd, LOCK_EX | LOCK_NB));
    EQ(S->last_flags[FUSE_SETLK], FUSE_LK_FLOCK);
    FAILS(EAGAIN, flock(other, LOCK_SH | LOCK_NB));
    OK(flock(fd, LOCK_UN));
    OK(flock(other, LOCK_SH));
    EQ(S->count[FUSE_SETLKW], 2);
    close(other);
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
    EQ(S->last_flags[FUSE_RELEASE] & FUSE_RELEASE_FLOCK_UNLOCK, FUSE_RELEASE_FLOCK_UNLOCK);
}
// Nothing has interrupted the caller. Linux lets its ERESTARTSYS out.
TEST(a_server_that_says_interrupted_without_a_reason)
{
    fuse_tree();
    S->flags |= FUSE_FLOCK_LOCKS;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    S->error[FUSE_SETLK] = S->error[FUSE_SETLKW] = EINTR;
    for (int i = 0; i < 20; i++) {
        EQ(flock(fd, i % 2 ? LOCK_EX : LOCK_EX | LOCK_NB), -1);
        CHECK(errno == EINTR || errno == 512);
        EQ(S->count[FUSE_SETLK] + S->count[FUSE_SETLKW], i + 1);
    }
}
TEST(without_locks_of_its_own_the_kernels_count)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR)), other = OK(open("m/file", O_RDWR));
    OK(flock(fd, LOCK_EX));
    FAILS(EAGAIN, flock(other, LOCK_EX | LOCK_NB));
    EQ(S->count[FUSE_SETLK] + S->count[FUSE_SETLKW], 0);
}
TEST(ioctls_carry_what_their_number_says)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    char data[8] = "abcdefg";
    EQ(ioctl(fd, _IOWR('T', 1, char[8]), data), 5);
    EQ(data[0], 'a' ^ 0x5a);
    char out[4] = "none";
    EQ(ioctl(fd, _IOR('T', 2, char[4]), out), 5);
    CHECK(!memcmp(out, "ZZZZ", 4));
    EQ(ioctl(fd, _IOW('T', 3, char[8]), data), 5);
    EQ(ioctl(fd, _IO('T', 4), 0), 5);
    FAILS(EFAULT, ioctl(fd, _IOW('T', 3, char[8]), 8));
    S->error[FUSE_IOCTL] = ENOSYS;
    FAILS(ENOTTY, ioctl(fd, _IO('T', 4), 0));
    FAILS(ENOTTY, ioctl(fd, _IO('T', 4), 0));
    EQ(S->count[FUSE_IOCTL], 6);
}
TEST(poll_asks_and_is_told)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 0);
    EQ(S->count[FUSE_POLL], 1);
    S->poll_events = POLLIN;
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN);
    S->poll_events = 0;
    EQ(poll(&p, 1, 0), 0);
    pid_t child = FORK({
        sleep_ms(50);
        S->poll_events = POLLIN;
        struct fuse_notify_poll_wakeup_out out = {.kh = S->poll_kh};
        fuse_notify(FUSE_NOTIFY_POLL, &out, sizeof out, "", 0, 0);
    });
    EQ(poll(&p, 1, 5000), 1);
    EQ(p.revents, POLLIN);
    WAIT_OK(child);
}
TEST(epoll_asks_and_is_told)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR)), ep = OK(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    EQ(epoll_wait(ep, &e, 1, 20), 0);
    S->poll_events = POLLIN;
    struct fuse_notify_poll_wakeup_out out = {.kh = S->poll_kh};
    fuse_notify(FUSE_NOTIFY_POLL, &out, sizeof out, "", 0, 0);
    EQ(epoll_wait(ep, &e, 1, 5000), 1);
    EQ(e.events, EPOLLIN);
}
TEST(without_poll_all_is_ready)
{
    fuse_mount("");
    S->error[FUSE_POLL] = ENOSYS;
    int fd = OK(open("m/file", O_RDWR));
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    EQ(poll(&p, 1, 0), 1);
    EQ(p.revents, POLLIN | POLLOUT);
    EQ(poll(&p, 1, 0), 1);
    EQ(S->count[FUSE_POLL], 1);
}
TEST(files_without_positions)
{
    fuse_tree();
    S->open_flags = FOPEN_NONSEEKABLE | FOPEN_DIRECT_IO;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    char byte[2];
    FAILS(ESPIPE, lseek(fd, 0, SEEK_SET));
    FAILS(ESPIPE, pread(fd, byte, 1, 0));
    EQ(read(fd, byte, 2), 2);
    CHECK(!memcmp(byte, "he", 2));
    EQ(read(fd, byte, 2), 2);
    CHECK(!memcmp(byte, "ll", 2));
}
TEST(mount_options)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    int fd = open("/dev/fuse", O_RDWR);
    if (fd < 0)
        SKIP("no /dev/fuse");
    char options[200];
    const char *bad[] = {"rootmode=40000,user_id=0,group_id=0", "fd=%d,user_id=0,group_id=0", "fd=%d,rootmode=40000,group_id=0",
                         "fd=%d,rootmode=40000,user_id=0", "fd=99,rootmode=40000,user_id=0,group_id=0",
                         "fd=%d,rootmode=0,user_id=0,group_id=0", "fd=%d,rootmode=40000,user_id=0,group_id=0,nonsense",
                         "fd=%d,rootmode=40000,user_id=x,group_id=0", "fd=0x,rootmode=40000,user_id=0,group_id=0"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(options, sizeof options, bad[i], fd);
        FAILS(EINVAL, mount("test", "m", "fuse", 0, options));
    }
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    OK(mount("test", "m", "fuse", 0, options));
    OK(mkdir("n", 0755));
    OK(mount("test", "n", "fuse", 0, options)); // it has a connection: the same file system once more
    struct stat a, b;
    fuse_fd = fd;
    fuse_start();
    OK(stat("m/file", &a));
    OK(stat("n/file", &b));
    EQ(a.st_dev, b.st_dev);
    FAILS(ENODEV, mount("test", "m", "fusefs", 0, options));
}
static bool mounts_has(const char *wanted)
{
    static char all[65536];
    read_file("/proc/self/mounts", all, sizeof all);
    return strstr(all, wanted);
}
TEST(proc_shows_type_and_options)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    fuse_fd = open("/dev/fuse", O_RDWR);
    if (fuse_fd < 0)
        SKIP("no /dev/fuse");
    char options[200];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=5,group_id=6,default_permissions,allow_other,max_read=65536", fuse_fd);
    OK(mount("some-source", "m", "fuse.kind", MS_NODEV | MS_NOSUID, options));
    CHECK(mounts_has("some-source "));
    CHECK(mounts_has("/m fuse.kind rw,nosuid,nodev,relatime,user_id=5,group_id=6,default_permissions,allow_other,max_read=65536 0 0"));
}
#ifndef FSCONFIG_SET_FLAG
#define FSCONFIG_SET_FLAG 0
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_SET_FD 5
#define FSCONFIG_CMD_CREATE 6
#endif
TEST(mounted_by_fsopen)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    fuse_fd = open("/dev/fuse", O_RDWR);
    if (fuse_fd < 0)
        SKIP("no /dev/fuse");
    int fs = OK(syscall(SYS_fsopen, "fuse", 0));
    char number[20];
    snprintf(number, sizeof number, "%d", fuse_fd);
    FAILS(EINVAL, syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nonsense", "x", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "fd", number, 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "rootmode", "40000", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "user_id", "0", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "group_id", "0", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "subtype", "new", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", "api", 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "allow_other", NULL, 0));
    OK(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int tree = OK(syscall(SYS_fsmount, fs, 0, 0));
    OK(syscall(SYS_move_mount, tree, "", AT_FDCWD, "m", 4));
    CHECK(mounts_has("/m fuse.new rw,relatime,user_id=0,group_id=0,allow_other 0 0"));
    fuse_start();
    struct stat st;
    OK(stat("m/file", &st));
}
TEST(a_user_namespace_mounts_it)
{
    fuse_tree();
    int go[2], uid = 1000;
    OK(pipe(go));
    S->node[2].uid = 0; // root of the namespace
    pid_t child = FORK({
        OK(setgid(uid));
        OK(setuid(uid));
        OK(prctl(PR_SET_DUMPABLE, 1));
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
            SKIP("no user namespaces");
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", "0 1000 1");
        write_file("/proc/self/gid_map", "0 1000 1");
        OK(mount("tmpfs", "/mnt", "tmpfs", 0, NULL));
        OK(chdir("/mnt"));
        OK(mkdir("m", 0755));
        fuse_fd = open("/dev/fuse", O_RDWR);
        if (fuse_fd < 0)
            SKIP("/dev/fuse is not everybody's");
        char options[100];
        snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse_fd);
        OK(mount("test", "m", "fuse", 0, options));
        fuse_start();
        struct stat st;
        OK(stat("m/file", &st));
        EQ(st.st_uid, 0);
        EQ(S->last[FUSE_LOOKUP].uid, 0);
        int fd = OK(open("m/new", O_CREAT | O_RDWR, 0600));
        EQ(write(fd, "x", 1), 1);
    });
    int status;
    OK(waitpid(child, &status, 0));
    if (status == EXITED(EXIT_SKIP))
        _exit(EXIT_SKIP);
    EQ(status, 0);
}
TEST(a_cloned_descriptor_serves)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(""));
    int second = OK(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    char buffer[8192];
    FAILS(EPERM, read(second, buffer, sizeof buffer));
    uint32_t from = fuse_fd;
    OK(ioctl(second, FUSE_DEV_IOC_CLONE, &from));
    FAILS(EINVAL, ioctl(second, FUSE_DEV_IOC_CLONE, &from));
    int third = OK(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    from = 1;
    FAILS(EINVAL, ioctl(third, FUSE_DEV_IOC_CLONE, &from));
    int first = fuse_fd;
    fuse_fd = second;
    fuse_start();
    close(first);
    struct stat st;
    OK(stat("m/file", &st));
    EQ(st.st_size, 5);
}
TEST(the_control_file_system)
{
    fuse_tree();
    S->flags |= FUSE_ABORT_ERROR;
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    OK(mkdir("c", 0755));
    OK(mount("none", "c", "fusectl", 0, NULL));
    OK(stat("m", &st));
    char path[60], text[20];
    snprintf(path, sizeof path, "c/%u/waiting", (unsigned)(st.st_dev & 0xff) | (unsigned)(st.st_dev >> 12 & 0xffffff00));
    read_file(path, text, sizeof text);
    STREQ(text, "0\n");
    S->error[FUSE_GETATTR] = -1;
    pid_t child = FORK({ FAILS(ECONNABORTED, stat("m/file", &st)); });
    EVENTUALLY(S->held[FUSE_GETATTR]);
    read_file(path, text, sizeof text);
    STREQ(text, "1\n");
    strcpy(strrchr(path, '/'), "/abort");
    int fd = OK(open(path, O_WRONLY));
    EQ(write(fd, "1", 1), 1);
    WAIT_OK(child);
    FAILS(ENOTCONN, stat("m/file", &st));
    WAIT_STATUS(fuse_server, EXITED(3)); // ECONNABORTED
}
MAIN()
