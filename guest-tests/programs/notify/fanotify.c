// fanotify(7): the notification class
#include "check.h"
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>

static char buffer[8192];
static size_t have, next;

static void on_tmpfs(void)
{
    OK(mkdir("t", 0700));
    OK(mount("none", "t", "tmpfs", 0, NULL));
    OK(chdir("t"));
}

static int group(unsigned flags)
{
    return OK(fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC | flags, O_RDONLY));
}

// The next event; NULL where there is none.
static struct fanotify_event_metadata *event(int fan)
{
    if (next >= have) {
        ssize_t count = read(fan, buffer, sizeof buffer);
        if (count < 0) {
            EQ(errno, EAGAIN);
            return NULL;
        }
        have = count, next = 0;
    }
    struct fanotify_event_metadata *m = (void *)(buffer + next);
    EQ(m->vers, FANOTIFY_METADATA_VERSION);
    EQ(m->metadata_len, 24);
    CHECK(m->event_len >= 24 && next + m->event_len <= have);
    next += m->event_len;
    return m;
}

static void expect(int fan, uint64_t mask, const char *path)
{
    struct fanotify_event_metadata *m = event(fan);
    CHECK(m);
    EQ(m->mask, mask);
    EQ(m->pid, getpid());
    CHECK(m->fd >= 0);
    struct stat a, b;
    OK(fstat(m->fd, &a));
    OK(stat(path, &b));
    EQ(a.st_ino, b.st_ino);
    EQ(fcntl(m->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(m->fd);
}

static void touch(const char *path)
{
    close(OK(open(path, O_CREAT | O_RDWR, 0600)));
}

TEST(flags)
{
    FAILS(EINVAL, fanotify_init(0x80000000, O_RDONLY));
    FAILS(EINVAL, fanotify_init(FAN_CLASS_NOTIF, 3));
    FAILS(EINVAL, fanotify_init(FAN_CLASS_NOTIF, O_CREAT));
    FAILS(EINVAL, fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_NAME, O_RDONLY));
    int fan = group(0);
    EQ(fcntl(fan, F_GETFD), FD_CLOEXEC);
    touch("f");
    FAILS(EINVAL, fanotify_mark(fan, 0, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD, 0, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD, 1ULL << 40, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, ".")); // needs ids
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, AT_FDCWD, "f"));
    FAILS(ENOTDIR, fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(ENOENT, fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "none"));
    FAILS(ENOENT, fanotify_mark(fan, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(EBADF, fanotify_mark(999, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(EINVAL, fanotify_mark(OK(open("f", O_RDONLY)), FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f"));
    FAILS(EAGAIN, read(fan, buffer, sizeof buffer));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, fanotify_init(FAN_CLASS_NOTIF, O_RDONLY));
        FAILS(EPERM, fanotify_init(FAN_CLASS_CONTENT, O_RDONLY));
        FAILS(EPERM, fanotify_init(FAN_CLASS_PRE_CONTENT, O_RDONLY));
        FAILS(EPERM, fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_UNLIMITED_QUEUE, O_RDONLY));
        OK(fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY));
    }));
}

TEST(inode_marks)
{
    on_tmpfs();
    touch("f");
    int fan = group(0);
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE, AT_FDCWD, "f"));
    int fd = OK(open("f", O_RDWR));
    expect(fan, FAN_OPEN, "f");
    OK(write(fd, "x", 1));
    expect(fan, FAN_MODIFY, "f");
    char c;
    OK(pread(fd, &c, 1, 0));
    expect(fan, FAN_ACCESS, "f");
    close(fd);
    expect(fan, FAN_CLOSE_WRITE, "f");
    close(OK(open("f", O_RDONLY)));
    expect(fan, FAN_OPEN | FAN_CLOSE_NOWRITE, "f"); // merged
    CHECK(!event(fan)); // the descriptors of events make none
    OK(fanotify_mark(fan, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"));
    close(OK(open("f", O_RDONLY)));
    expect(fan, FAN_CLOSE_NOWRITE, "f");
    OK(fanotify_mark(fan, FAN_MARK_FLUSH, 0, AT_FDCWD, "."));
    close(OK(open("f", O_RDONLY)));
    CHECK(!event(fan));
}

TEST(folders_and_their_files)
{
    on_tmpfs();
    OK(mkdir("d", 0700));
    touch("d/f");
    int fan = group(0);
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "d"));
    close(OK(open("d", O_RDONLY)));
    close(OK(open("d/f", O_RDONLY)));
    CHECK(!event(fan)); // neither folders nor files in them without a word
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, "d"));
    close(OK(open("d/f", O_RDONLY)));
    expect(fan, FAN_OPEN, "d/f");
    close(OK(open("d", O_RDONLY)));
    CHECK(!event(fan));
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN | FAN_ONDIR, AT_FDCWD, "d"));
    close(OK(open("d", O_RDONLY)));
    expect(fan, FAN_OPEN, "d");
}

TEST(mounts_and_file_systems)
{
    on_tmpfs();
    OK(mkdir("d", 0700));
    touch("d/f");
    OK(mkdir("other", 0700));
    OK(mount("d", "other", NULL, MS_BIND, NULL));
    int fan = group(0);
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, "other"));
    close(OK(open("d/f", O_RDONLY)));
    CHECK(!event(fan));
    close(OK(open("other/f", O_RDONLY)));
    expect(fan, FAN_OPEN, "d/f");
    OK(fanotify_mark(fan, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, "other"));
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "."));
    close(OK(open("other/f", O_RDONLY)));
    expect(fan, FAN_OPEN, "d/f");
    close(OK(open("d/f", O_RDONLY)));
    expect(fan, FAN_OPEN, "d/f");
    close(OK(open("/proc/self/stat", O_RDONLY)));
    CHECK(!event(fan));
    close(fan);
    OK(umount("other"));
}

TEST(ignored_masks)
{
    on_tmpfs();
    touch("f"), touch("g");
    int fan = group(0);
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "."));
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN, AT_FDCWD, "f"));
    close(OK(open("f", O_RDONLY)));
    CHECK(!event(fan));
    close(OK(open("g", O_RDONLY)));
    expect(fan, FAN_OPEN, "g");
    int fd = OK(open("f", O_WRONLY));
    CHECK(!event(fan));
    OK(write(fd, "x", 1)); // a change ends it
    close(fd);
    close(OK(open("f", O_RDONLY)));
    expect(fan, FAN_OPEN, "f");
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, AT_FDCWD, "f"));
    fd = OK(open("f", O_WRONLY));
    OK(write(fd, "x", 1));
    close(fd);
    close(OK(open("f", O_RDONLY)));
    CHECK(!event(fan));
}

// Checks the record at `at` of an event, and gives what follows it.
static char *record(char *at, int type, const char *path, const char *name)
{
    struct fanotify_event_info_fid *info = (void *)at;
    EQ(info->hdr.info_type, type);
    struct statfs fs;
    OK(statfs(path, &fs));
    CHECK(!memcmp(&info->fsid, &fs.f_fsid, sizeof fs.f_fsid));
    struct {
        struct file_handle head;
        unsigned char bytes[128];
    } wanted = {.head.handle_bytes = 128};
    int id;
    OK(name_to_handle_at(AT_FDCWD, path, &wanted.head, &id, 0));
    struct file_handle *seen = (void *)info->handle;
    EQ(seen->handle_bytes, wanted.head.handle_bytes);
    EQ(seen->handle_type, wanted.head.handle_type);
    CHECK(!memcmp(seen->f_handle, wanted.head.f_handle, seen->handle_bytes));
    if (name)
        STREQ((char *)seen->f_handle + seen->handle_bytes, name);
    return at + info->hdr.len;
}

TEST(ids_of_inodes)
{
    on_tmpfs();
    touch("f");
    int fan = group(FAN_REPORT_FID);
    uint64_t mask = FAN_CREATE | FAN_DELETE | FAN_MOVE | FAN_ATTRIB | FAN_OPEN | FAN_ONDIR | FAN_DELETE_SELF;
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, AT_FDCWD, "."));
    FAILS(EINVAL, fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CREATE, AT_FDCWD, "."));
    close(OK(open("f", O_RDONLY)));
    struct fanotify_event_metadata *m = event(fan);
    CHECK(m && m->mask == FAN_OPEN && m->fd == FAN_NOFD && m->pid == getpid());
    CHECK(record((char *)(m + 1), FAN_EVENT_INFO_TYPE_FID, "f", NULL) == (char *)m + m->event_len);
    OK(chmod("f", 0644));
    m = event(fan);
    CHECK(m && m->mask == FAN_ATTRIB);
    record((char *)(m + 1), FAN_EVENT_INFO_TYPE_FID, "f", NULL);
    OK(mkdir("d", 0700)); // changes of names: the folder's id
    m = event(fan);
    CHECK(m && m->mask == (FAN_CREATE | FAN_ONDIR));
    record((char *)(m + 1), FAN_EVENT_INFO_TYPE_FID, ".", NULL);
    OK(rename("f", "d/g"));
    m = event(fan);
    CHECK(m && m->mask == FAN_MOVED_FROM);
    record((char *)(m + 1), FAN_EVENT_INFO_TYPE_FID, ".", NULL);
    m = event(fan);
    CHECK(m && m->mask == FAN_MOVED_TO);
    record((char *)(m + 1), FAN_EVENT_INFO_TYPE_FID, "d", NULL);
    while (event(fan))
        ;
    OK(unlink("d/g"));
    uint64_t all = 0;
    while ((m = event(fan)))
        all |= m->mask;
    EQ(all, FAN_DELETE | FAN_DELETE_SELF | FAN_ATTRIB);
}

TEST(ids_of_folders_with_names)
{
    on_tmpfs();
    OK(mkdir("d", 0700));
    int fan = group(FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME);
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_OPEN | FAN_ONDIR, AT_FDCWD, "."));
    touch("d/f");
    struct fanotify_event_metadata *m = event(fan);
    CHECK(m && m->mask == FAN_CREATE);
    CHECK(record((char *)(m + 1), FAN_EVENT_INFO_TYPE_DFID_NAME, "d", "f") == (char *)m + m->event_len);
    m = event(fan);
    CHECK(m && m->mask == FAN_OPEN);
    char *second = record((char *)(m + 1), FAN_EVENT_INFO_TYPE_DFID_NAME, "d", "f");
    CHECK(record(second, FAN_EVENT_INFO_TYPE_FID, "d/f", NULL) == (char *)m + m->event_len);
    close(OK(open("d", O_RDONLY)));
    m = event(fan);
    CHECK(m && m->mask == (FAN_OPEN | FAN_ONDIR));
    CHECK(record((char *)(m + 1), FAN_EVENT_INFO_TYPE_DFID_NAME, "d", ".") == (char *)m + m->event_len);
}

TEST(an_id_opens_the_file)
{
    on_tmpfs();
    touch("f");
    int fan = group(FAN_REPORT_FID), root = OK(open(".", O_RDONLY));
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "f"));
    int fd = OK(open("f", O_WRONLY));
    OK(write(fd, "abc", 3));
    struct fanotify_event_metadata *m = event(fan);
    CHECK(m && m->mask == FAN_MODIFY);
    struct fanotify_event_info_fid *info = (void *)(m + 1);
    int again = OK(open_by_handle_at(root, (struct file_handle *)info->handle, O_RDONLY));
    char text[10];
    EQ(read(again, text, 10), 3);
}

TEST(processes_poll_and_reading)
{
    on_tmpfs();
    touch("f"), touch("g");
    int fan = group(0);
    OK(fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "."));
    struct pollfd p = {.fd = fan, .events = POLLIN};
    EQ(poll(&p, 1, 0), 0);
    pid_t child = FORK({
        close(OK(open("f", O_RDONLY)));
        close(OK(open("g", O_RDONLY)));
    });
    EQ(poll(&p, 1, 5000), 1);
    WAIT_OK(child);
    int bytes;
    OK(ioctl(fan, FIONREAD, &bytes));
    EQ(bytes, 48);
    FAILS(EINVAL, read(fan, buffer, 23));
    EQ(read(fan, buffer, 40), 24); // whole events only
    struct fanotify_event_metadata *m = (void *)buffer;
    EQ(m->pid, child);
    close(m->fd);
    EQ(read(fan, buffer, sizeof buffer), 24);
    close(m->fd);
    OK(fcntl(fan, F_SETFL, 0));
    child = FORK({
        usleep(20000);
        close(OK(open("f", O_RDONLY)));
    });
    EQ(read(fan, buffer, sizeof buffer), 24);
    WAIT_OK(child);
}

TEST(the_queue_overflows)
{
    on_tmpfs();
    char path[20];
    int fan = group(FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME);
    OK(fanotify_mark(fan, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "."));
    int limit = 0, fd = OK(open("/proc/sys/fs/fanotify/max_queued_events", O_RDONLY));
    OK(read(fd, path, sizeof path));
    limit = atoi(path);
    if (limit > 20000)
        SKIP("the host's queue is long");
    for (int i = 0; i < limit + 10; i++) {
        snprintf(path, sizeof path, "%d", i);
        OK(mknod(path, S_IFREG | 0600, 0));
    }
    int count = 0, overflows = 0;
    for (struct fanotify_event_metadata *m; (m = event(fan)); count++) {
        CHECK(!overflows);
        overflows += m->mask == FAN_Q_OVERFLOW;
    }
    EQ(overflows, 1);
    EQ(count, limit + 1);
}

MAIN()
