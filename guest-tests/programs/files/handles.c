// name_to_handle_at(2), open_by_handle_at(2)
#include "check.h"
#include <sys/mount.h>

struct handle {
    struct file_handle head;
    unsigned char bytes[128];
};

static struct handle handle_of(int dir, const char *path, int flags, int *mount)
{
    struct handle h = {.head.handle_bytes = 128};
    OK(name_to_handle_at(dir, path, &h.head, mount, flags));
    CHECK(h.head.handle_bytes > 0 && h.head.handle_bytes <= 128);
    return h;
}

static int same(struct handle *a, struct handle *b)
{
    return a->head.handle_bytes == b->head.handle_bytes && a->head.handle_type == b->head.handle_type &&
           !memcmp(a->head.f_handle, b->head.f_handle, a->head.handle_bytes);
}

// The folder of the case may be on an overlay, which has no handles on Linux without nfs_export.
static void on_tmpfs(void)
{
    OK(mkdir("t", 0700));
    OK(mount("none", "t", "tmpfs", 0, NULL));
    OK(chdir("t"));
}

static int make(const char *path, const char *text)
{
    int fd = OK(open(path, O_CREAT | O_RDWR, 0600));
    OK(write(fd, text, strlen(text)));
    return fd;
}

TEST(a_handle_outlives_the_name)
{
    on_tmpfs();
    close(make("a", "hello"));
    int mount_id, again;
    struct handle a = handle_of(AT_FDCWD, "a", 0, &mount_id), b = handle_of(AT_FDCWD, "a", 0, &again);
    CHECK(same(&a, &b));
    EQ(mount_id, again);
    int root = OK(open(".", O_RDONLY));
    OK(mkdir("d", 0700));
    OK(rename("a", "d/b"));
    struct handle moved = handle_of(AT_FDCWD, "d/b", 0, &again);
    CHECK(same(&a, &moved));
    int fd = OK(open_by_handle_at(root, &a.head, O_RDWR));
    char text[10] = "";
    EQ(read(fd, text, 9), 5);
    STREQ(text, "hello");
    close(fd);
    fd = OK(open_by_handle_at(root, &a.head, O_PATH));
    FAILS(EBADF, read(fd, text, 9));
    close(fd);
    OK(unlink("d/b"));
    FAILS(ESTALE, open_by_handle_at(root, &a.head, O_RDONLY));
}

TEST(folders_and_links)
{
    on_tmpfs();
    OK(mkdir("d", 0700));
    OK(mkdir("d/e", 0700));
    close(make("d/e/f", "x"));
    OK(symlink("d/e", "l"));
    int id, root = OK(open(".", O_RDONLY));
    struct handle e = handle_of(AT_FDCWD, "d/e", 0, &id), l = handle_of(AT_FDCWD, "l", 0, &id),
                  followed = handle_of(AT_FDCWD, "l", AT_SYMLINK_FOLLOW, &id);
    CHECK(same(&e, &followed) && !same(&e, &l));
    FAILS(ELOOP, open_by_handle_at(root, &l.head, O_RDONLY));
    int fd = OK(open_by_handle_at(root, &e.head, O_RDONLY | O_DIRECTORY));
    OK(faccessat(fd, "f", F_OK, 0));
    OK(faccessat(fd, "../e/f", F_OK, 0));
    FAILS(EISDIR, open_by_handle_at(root, &e.head, O_RDWR));
    struct handle by_fd = handle_of(fd, "", AT_EMPTY_PATH, &id);
    CHECK(same(&e, &by_fd));
}

TEST(errors)
{
    on_tmpfs();
    close(make("a", "x"));
    int id = -1, root = OK(open(".", O_RDONLY));
    struct handle h = {.head.handle_bytes = 0};
    FAILS(EOVERFLOW, name_to_handle_at(AT_FDCWD, "a", &h.head, &id, 0));
    CHECK(h.head.handle_bytes > 0);
    OK(name_to_handle_at(AT_FDCWD, "a", &h.head, &id, 0));
    struct handle bad = h;
    bad.head.handle_bytes = 129;
    FAILS(EINVAL, name_to_handle_at(AT_FDCWD, "a", &bad.head, &id, 0));
    FAILS(EINVAL, open_by_handle_at(root, &bad.head, O_RDONLY));
    bad.head.handle_bytes = 0;
    FAILS(EINVAL, open_by_handle_at(root, &bad.head, O_RDONLY));
    FAILS(EINVAL, name_to_handle_at(AT_FDCWD, "a", &h.head, &id, 0x40000000));
    FAILS(ENOENT, name_to_handle_at(AT_FDCWD, "none", &h.head, &id, 0));
    FAILS(EBADF, open_by_handle_at(999, &h.head, O_RDONLY));
    FAILS(EFAULT, name_to_handle_at(AT_FDCWD, "a", (struct file_handle *)1, &id, 0));
    bad = h;
    memset(bad.bytes, 0x5a, bad.head.handle_bytes);
    memset(bad.head.f_handle, 0x5a, bad.head.handle_bytes);
    FAILS(ESTALE, open_by_handle_at(root, &bad.head, O_RDONLY));
    int ends[2];
    OK(pipe(ends));
    FAILS(EOPNOTSUPP, name_to_handle_at(ends[0], "", &h.head, &id, AT_EMPTY_PATH));
    FAILS(EOPNOTSUPP, name_to_handle_at(AT_FDCWD, "/proc/self/stat", &h.head, &id, 0));
    h.head.handle_bytes = 128;
    OK(name_to_handle_at(AT_FDCWD, "a", &h.head, &id, 0));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, open_by_handle_at(root, &h.head, O_RDONLY));
    }));
}

// Where file systems make inodes anew when they look them up.
TEST(of_the_root_file_system)
{
    close(make("a", "hello"));
    OK(mkdir("d", 0700));
    int id, root = OK(open(".", O_RDONLY));
    struct handle a = {.head.handle_bytes = 128};
    if (name_to_handle_at(AT_FDCWD, "a", &a.head, &id, 0) < 0) {
        EQ(errno, EOPNOTSUPP); // an overlay on Linux
        return;
    }
    struct handle d = handle_of(AT_FDCWD, "d", 0, &id);
    char name[20], text[10] = "";
    for (int i = 0; i < 2000; i++) { // what is cached of the names goes
        snprintf(name, sizeof name, "x%d", i);
        close(OK(open(name, O_CREAT | O_RDWR, 0600)));
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "x%d", i);
        OK(unlink(name));
    }
    struct handle again = handle_of(AT_FDCWD, "a", 0, &id);
    CHECK(same(&a, &again));
    OK(rename("a", "d/b"));
    int fd = OK(open_by_handle_at(root, &a.head, O_RDWR));
    EQ(read(fd, text, 9), 5);
    OK(write(fd, "!", 1));
    close(fd);
    fd = OK(open_by_handle_at(root, &d.head, O_RDONLY));
    fd = OK(openat(fd, "b", O_RDONLY));
    EQ(read(fd, text, 9), 6);
    close(fd);
    OK(unlink("d/b"));
    FAILS(ESTALE, open_by_handle_at(root, &a.head, O_RDONLY));
}

MAIN()
