// inotify(7), and pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).
#include "check.h"
#include <sys/inotify.h>

static char area[65536];
static ssize_t filled, at;
// The next event, or NULL; reads more when all are used up.
static struct inotify_event *next(int fd)
{
    if (at >= filled) {
        filled = read(fd, area, sizeof area);
        at = 0;
        if (filled <= 0)
            return NULL;
    }
    struct inotify_event *e = (void *)(area + at);
    at += sizeof *e + e->len;
    return e;
}
#define EVENT(fd, mask_, name_)                                                                                        \
    ({                                                                                                                 \
        struct inotify_event *e_ = next(fd);                                                                           \
        if (!e_)                                                                                                       \
            FAIL("no event where %s %s should come", #mask_, name_);                                                   \
        EQ(e_->mask, mask_);                                                                                           \
        STREQ(e_->len ? e_->name : "", name_);                                                                         \
        e_;                                                                                                            \
    })
#define NOTHING(fd) do { struct inotify_event *e_ = next(fd); if (e_) FAIL("unexpected event %x %s", e_->mask, e_->len ? e_->name : ""); } while (0)

TEST(files_in_a_folder)
{
    int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    OK(mkdir("d", 0700));
    int w = OK(inotify_add_watch(fd, "d", IN_ALL_EVENTS));
    NOTHING(fd);
    int f = OK(open("d/f", O_CREAT | O_RDWR, 0600));
    EQ(EVENT(fd, IN_CREATE, "f")->wd, w);
    EVENT(fd, IN_OPEN, "f");
    EQ(write(f, "x", 1), 1);
    EVENT(fd, IN_MODIFY, "f");
    char c;
    EQ(pread(f, &c, 1, 0), 1);
    EVENT(fd, IN_ACCESS, "f");
    OK(fchmod(f, 0644));
    EVENT(fd, IN_ATTRIB, "f");
    close(f);
    EVENT(fd, IN_CLOSE_WRITE, "f");
    close(OK(open("d/f", O_RDONLY)));
    EVENT(fd, IN_OPEN, "f");
    EVENT(fd, IN_CLOSE_NOWRITE, "f");
    OK(unlink("d/f"));
    EVENT(fd, IN_DELETE, "f");
    NOTHING(fd);
    OK(mkdir("d/sub", 0700));
    EVENT(fd, IN_CREATE | IN_ISDIR, "sub");
    OK(rmdir("d/sub"));
    EVENT(fd, IN_DELETE | IN_ISDIR, "sub");
}

TEST(emptied_by_open)
{
    int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    write_file("f", "x");
    OK(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    close(OK(open("f", O_WRONLY | O_TRUNC)));
    EVENT(fd, IN_OPEN, "");
    EVENT(fd, IN_MODIFY, "");
    EVENT(fd, IN_CLOSE_WRITE, "");
    OK(inotify_add_watch(fd, ".", IN_EXCL_UNLINK)); // a watch for nothing is one, too
    FAILS(EINVAL, inotify_add_watch(fd, ".", 0));
    FAILS(EINVAL, inotify_add_watch(fd, ".", IN_ALL_EVENTS | IN_MASK_ADD | IN_MASK_CREATE));
}

TEST(order_of_losing_names)
{
    int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    write_file("f", "x"), write_file("g", "x");
    OK(link("f", "f2")), OK(link("g", "g2"));
    OK(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    OK(inotify_add_watch(fd, "f", IN_ALL_EVENTS)), OK(inotify_add_watch(fd, "g", IN_ALL_EVENTS));
    OK(unlink("f"));
    EVENT(fd, IN_ATTRIB, "");
    EVENT(fd, IN_DELETE, "f");
    OK(rename("f2", "g"));
    EVENT(fd, IN_MOVED_FROM, "f2");
    EVENT(fd, IN_MOVED_TO, "g");
    EVENT(fd, IN_ATTRIB, ""); // of what was there
    EVENT(fd, IN_MOVE_SELF, "");
    NOTHING(fd);
    int folder = OK(open(".", O_RDONLY | O_DIRECTORY));
    EVENT(fd, IN_OPEN | IN_ISDIR, "");
    char entries[4096];
    while (OK(syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0) {
    }
    EVENT(fd, IN_ACCESS | IN_ISDIR, "");
    NOTHING(fd);
    EQ(syscall(SYS_getdents64, folder, entries, sizeof entries), 0); // at the end, too
    EVENT(fd, IN_ACCESS | IN_ISDIR, "");
}

TEST(moves_have_a_cookie)
{
    int fd = OK(inotify_init1(IN_NONBLOCK));
    OK(mkdir("a", 0700)), OK(mkdir("b", 0700));
    write_file("a/x", "");
    int wa = OK(inotify_add_watch(fd, "a", IN_MOVE)), wb = OK(inotify_add_watch(fd, "b", IN_MOVE));
    CHECK(wa != wb);
    OK(rename("a/x", "b/y"));
    struct inotify_event *e = EVENT(fd, IN_MOVED_FROM, "x");
    EQ(e->wd, wa);
    uint32_t cookie = e->cookie;
    CHECK(cookie);
    e = EVENT(fd, IN_MOVED_TO, "y");
    EQ(e->wd, wb);
    EQ(e->cookie, cookie);
}

TEST(watched_file_goes)
{
    int fd = OK(inotify_init1(IN_NONBLOCK));
    write_file("f", "");
    int w = OK(inotify_add_watch(fd, "f", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
    OK(rename("f", "g"));
    EVENT(fd, IN_MOVE_SELF, "");
    OK(unlink("g"));
    EVENT(fd, IN_ATTRIB, ""); // its link count
    EVENT(fd, IN_DELETE_SELF, "");
    EVENT(fd, IN_IGNORED, "");
    FAILS(EINVAL, inotify_rm_watch(fd, w));
}

TEST(watches)
{
    int fd = OK(inotify_init1(IN_NONBLOCK));
    write_file("f", "");
    int w = OK(inotify_add_watch(fd, "f", IN_OPEN));
    EQ(inotify_add_watch(fd, "f", IN_ACCESS), w); // the same, changed
    close(OK(open("f", O_RDONLY)));
    NOTHING(fd);
    EQ(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_ADD), w);
    close(OK(open("f", O_RDONLY)));
    EVENT(fd, IN_OPEN, "");
    OK(inotify_rm_watch(fd, w));
    EVENT(fd, IN_IGNORED, "");
    FAILS(EINVAL, inotify_rm_watch(fd, 999));
    FAILS(ENOENT, inotify_add_watch(fd, "nothing", IN_OPEN));
    FAILS(ENOTDIR, inotify_add_watch(fd, "f", IN_OPEN | IN_ONLYDIR));
    FAILS(EINVAL, inotify_add_watch(fd, "f", 0));
    FAILS(EINVAL, inotify_init1(0x77));
    int p[2];
    OK(pipe(p));
    FAILS(EINVAL, inotify_add_watch(p[0], "f", IN_OPEN));
    w = OK(inotify_add_watch(fd, "f", IN_OPEN | IN_ONESHOT));
    close(OK(open("f", O_RDONLY)));
    EVENT(fd, IN_OPEN, "");
    EVENT(fd, IN_IGNORED, "");
}

TEST(blocks_and_polls)
{
    int fd = OK(inotify_init());
    OK(inotify_add_watch(fd, ".", IN_CREATE));
    struct pollfd p = {fd, POLLIN, 0};
    EQ(poll(&p, 1, 0), 0);
    pid_t child = FORK({
        sleep_ms(3);
        write_file("new", "");
    });
    EVENT(fd, IN_CREATE, "new");
    WAIT_OK(child);
    write_file("another", "");
    EQ(poll(&p, 1, 1000), 1);
    FAILS(EINVAL, read(fd, area, 5)); // too small for the event
}

TEST(same_events_merge)
{
    int fd = OK(inotify_init1(IN_NONBLOCK));
    write_file("f", "");
    OK(inotify_add_watch(fd, "f", IN_MODIFY));
    int f = OK(open("f", O_WRONLY));
    for (int i = 0; i < 5; i++)
        EQ(write(f, "x", 1), 1);
    EVENT(fd, IN_MODIFY, "");
    NOTHING(fd);
}

static int pidfd_open(pid_t pid, int flags) { return syscall(SYS_pidfd_open, pid, flags); }

TEST(pidfd)
{
    pid_t child = FORK({ for (;;) pause(); });
    int fd = OK(pidfd_open(child, 0));
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    struct pollfd p = {fd, POLLIN, 0};
    EQ(poll(&p, 1, 0), 0);
    OK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    OK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    EQ(poll(&p, 1, 5000), 1);
    siginfo_t info;
    OK(waitid(P_PIDFD, fd, &info, WEXITED));
    EQ(info.si_status, SIGTERM);
    FAILS(ESRCH, syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    FAILS(ESRCH, pidfd_open(999999, 0));
    FAILS(EINVAL, pidfd_open(-1, 0));
    FAILS(EINVAL, pidfd_open(getpid(), 0x12345));
    FAILS(EBADF, waitid(P_PIDFD, 99, &info, WEXITED));
    char c;
    FAILS(EINVAL, read(fd, &c, 1));
}

TEST(pidfd_getfd)
{
    int p[2];
    OK(pipe(p));
    pid_t child = FORK({
        close(p[0]);
        pause();
    });
    int fd = OK(pidfd_open(child, 0));
    int taken = syscall(SYS_pidfd_getfd, fd, p[1], 0);
    if (taken == -1 && errno == ENOSYS)
        taken = p[1];
    CHECK(taken >= 0);
    EQ(write(taken, "x", 1), 1);
    char c;
    EQ(read(p[0], &c, 1), 1);
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(a_mask_of_flags_alone_and_the_end_of_a_folder)
{
    int fd = OK(inotify_init1(IN_NONBLOCK));
    OK(mkdir("d", 0755));
    FAILS(EINVAL, inotify_add_watch(fd, "d", 0));
    int one = OK(inotify_add_watch(fd, "d", IN_EXCL_UNLINK));
    int folder = OK(open("d", O_RDONLY));
    char entries[500], events[500];
    CHECK(syscall(SYS_getdents64, folder, entries, sizeof entries) > 0);
    FAILS(EAGAIN, read(fd, events, sizeof events));
    EQ(inotify_add_watch(fd, "d", IN_ACCESS), one);
    EQ(syscall(SYS_getdents64, folder, entries, sizeof entries), 0);
    EQ(read(fd, events, sizeof events), sizeof(struct inotify_event));
    EQ(((struct inotify_event *)events)->mask, IN_ACCESS | IN_ISDIR);
}

TEST(a_file_is_opened_before_it_is_cut)
{
    write_file("f", "abc");
    int fd = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(fd, "f", IN_OPEN | IN_MODIFY));
    OK(open("f", O_WRONLY | O_TRUNC));
    struct inotify_event is[2];
    EQ(read(fd, is, sizeof is), sizeof is);
    EQ(is[0].mask, IN_OPEN);
    EQ(is[1].mask, IN_MODIFY);
}

// utimensat(2) of one time alone: as if the file had been read or written.
TEST(one_time_alone)
{
    close(OK(open("f", O_CREAT | O_RDWR, 0600)));
    int in = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(in, "f", IN_ALL_EVENTS));
    struct timespec a[2] = {{1, 0}, {0, UTIME_OMIT}}, m[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}}, both[2] = {{1, 0}, {2, 0}};
    OK(utimensat(AT_FDCWD, "f", a, 0));
    EVENT(in, IN_ACCESS, "");
    OK(utimensat(AT_FDCWD, "f", m, 0));
    EVENT(in, IN_MODIFY, "");
    OK(utimensat(AT_FDCWD, "f", both, 0));
    EVENT(in, IN_ATTRIB, "");
    OK(utimensat(AT_FDCWD, "f", 0, 0));
    EVENT(in, IN_ATTRIB, "");
}

// What goes says so before its folder does.
TEST(the_end_comes_first)
{
    OK(mkdir("d", 0755));
    OK(mkdir("d/s", 0755));
    close(OK(open("d/f", O_CREAT | O_RDWR, 0600)));
    int in = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(in, "d", IN_DELETE));
    OK(inotify_add_watch(in, "d/s", IN_DELETE_SELF));
    OK(inotify_add_watch(in, "d/f", IN_DELETE_SELF));
    OK(rmdir("d/s"));
    EVENT(in, IN_DELETE_SELF, "");
    EVENT(in, IN_IGNORED, "");
    EVENT(in, IN_DELETE | IN_ISDIR, "s");
    OK(unlink("d/f"));
    EVENT(in, IN_DELETE_SELF, "");
    EVENT(in, IN_IGNORED, "");
    EVENT(in, IN_DELETE, "f");
}

MAIN()
