// Reading, writing, seeking, holes, truncation, allocation: read(2), pread(2), preadv2(2), lseek(2), truncate(2), fallocate(2).
#include "check.h"
#include <linux/falloc.h>

static int make(const char *text)
{
    write_file("f", text);
    return OK(open("f", O_RDWR));
}

TEST(offsets)
{
    int fd = make("0123456789");
    char part[20];
    EQ(read(fd, part, 4), 4);
    EQ(lseek(fd, 0, SEEK_CUR), 4);
    EQ(pread(fd, part, 3, 7), 3);
    EQ(memcmp(part, "789", 3), 0);
    EQ(pread(fd, part, 20, 8), 2);
    EQ(pread(fd, part, 20, 10), 0);
    EQ(pread(fd, part, 20, 1000), 0);
    EQ(lseek(fd, 0, SEEK_CUR), 4);
    EQ(pwrite(fd, "X", 1, 2), 1);
    EQ(lseek(fd, -1, SEEK_END), 9);
    FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
    FAILS(EINVAL, lseek(fd, 0, 99));
    FAILS(EINVAL, pread(fd, part, 1, -1));
    EQ(lseek(fd, 1 << 20, SEEK_SET), 1 << 20);
    EQ(read(fd, part, 1), 0);
    EQ(write(fd, "end", 3), 3);
    EQ(pread(fd, part, 5, (1 << 20) - 2), 5);
    EQ(memcmp(part, "\0\0end", 5), 0);
    OK(lseek(fd, 0, SEEK_SET));
    FAILS(EFAULT, read(fd, (void *)8, 1));
    FAILS(EISDIR, read(OK(open(".", O_RDONLY)), part, 1));
}

TEST(vectors)
{
    int fd = make("0123456789");
    char a[3], b[4];
    struct iovec v[] = {{a, 3}, {b, 4}};
    EQ(readv(fd, v, 2), 7);
    EQ(memcmp(b, "3456", 4), 0);
    EQ(preadv(fd, v, 2, 8), 2);
    EQ(a[0], '8');
    struct iovec w[] = {{"ab", 2}, {"cd", 2}};
    EQ(pwritev(fd, w, 2, 9), 4);
    EQ(preadv2(fd, v, 1, -1, 0), 3); // at the offset, which moves
    EQ(lseek(fd, 0, SEEK_CUR), 10);
    FAILS(EOPNOTSUPP, preadv2(fd, v, 1, 0, 0x10000));
    struct iovec huge[] = {{a, (size_t)1 << 63}, {b, 1}};
    FAILS(EINVAL, readv(fd, huge, 2));
}

TEST(appending_by_flag)
{
    int fd = make("0123456789");
    const struct iovec x = {"xyz", 3};
    if (pwritev2(fd, &x, 1, 2, RWF_APPEND) == -1 && errno == EOPNOTSUPP)
        SKIP("no RWF_APPEND");
    EQ(lseek(fd, 0, SEEK_END), 13);
    EQ(lseek(fd, 1, SEEK_SET), 1);
    EQ(pwritev2(fd, &x, 1, -1, RWF_APPEND), 3); // the position goes along
    EQ(lseek(fd, 0, SEEK_CUR), 16);
    OK(fcntl(fd, F_SETFL, O_APPEND));
    EQ(pwritev2(fd, &x, 1, 2, 0), 3);
    EQ(lseek(fd, 0, SEEK_END), 19);
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
    if (pwritev2(fd, &x, 1, 2, RWF_NOAPPEND) == 3) {
        char text[4] = "";
        EQ(pread(fd, text, 3, 2), 3);
        STREQ(text, "xyz");
        EQ(lseek(fd, 0, SEEK_END), 19);
        FAILS(EINVAL, pwritev2(fd, &x, 1, 2, RWF_APPEND | RWF_NOAPPEND));
    }
    FAILS(EOPNOTSUPP, pwritev2(fd, &x, 1, 2, 0x40000000));
    const struct iovec nothing = {NULL, 0};
    EQ(pwritev2(fd, &nothing, 1, 2, 0x40000000), 0);
}

TEST(arguments_have_an_order)
{
    int fd = OK(open("f", O_CREAT | O_WRONLY, 0600));
    char c;
    FAILS(EINVAL, pread(99, &c, 1, -1));
    FAILS(EBADF, readv(fd, NULL, 2000));
    FAILS(EINVAL, writev(fd, NULL, 2000));
}

TEST(a_sealed_file_keeps_its_size)
{
    int fd = OK(memfd_create("m", MFD_ALLOW_SEALING));
    EQ(write(fd, "12345", 5), 5);
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    FAILS(EPERM, pwrite(fd, "6789", 4, 5));
    EQ(lseek(fd, 0, SEEK_END), 5);
    char pages[8192] = "";
    OK(ftruncate(fd, 5));
    int grown = OK(memfd_create("n", MFD_ALLOW_SEALING));
    EQ(write(grown, pages, 5000), 5000);
    OK(fcntl(grown, F_ADD_SEALS, F_SEAL_GROW));
    EQ(pwrite(grown, pages, 8192, 4000), 96); // as far as the last whole page
    EQ(lseek(grown, 0, SEEK_END), 5000);
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    FAILS(EPERM, pwrite(fd, "1", 1, 100));
    EQ(lseek(fd, 0, SEEK_END), 5);
}

TEST(a_limit_is_for_growth)
{
    int fd = make("0123456789");
    OK(ftruncate(fd, 50000));
    signal(SIGXFSZ, SIG_IGN);
    OK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){20000, RLIM_INFINITY}));
    FAILS(EFBIG, fallocate(fd, 0, 0, 60000));
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 30000, 10000));
    int pipe_[2];
    loff_t at = 20000;
    OK(pipe(pipe_));
    EQ(write(pipe_[1], "abc", 3), 3);
    FAILS(EFBIG, splice(pipe_[0], NULL, fd, &at, 3, 0));
    at = 19999;
    EQ(splice(pipe_[0], NULL, fd, &at, 3, 0), 1);
}

TEST(copies_between_file_systems)
{
    int file = make("0123456789"), other = OK(memfd_create("m", 0));
    loff_t from = 0;
    FAILS(EXDEV, copy_file_range(file, &from, other, NULL, 5, 0));
}

TEST(copies_end_with_the_file)
{
    int fd = make("0123456789");
    loff_t from = 8, to = 10;
    EQ(copy_file_range(fd, &from, fd, &to, 1000, 0), 2); // what is left of it does not overlap
    from = 4, to = 5;
    FAILS(EINVAL, copy_file_range(fd, &from, fd, &to, 1000, 0));
    from = 12, to = 0;
    EQ(copy_file_range(fd, &from, fd, &to, 1000, 0), 0);
}

TEST(truncate_both_ways)
{
    int fd = make("0123456789");
    OK(ftruncate(fd, 4));
    char text[50];
    read_file("f", text, sizeof text);
    STREQ(text, "0123");
    OK(truncate("f", 8));
    EQ(read_file("f", text, sizeof text), 8);
    EQ(memcmp(text, "0123\0\0\0\0", 8), 0);
    FAILS(EINVAL, ftruncate(fd, -1));
    FAILS(EINVAL, ftruncate(OK(open("f", O_RDONLY)), 0));
    FAILS(EISDIR, truncate(".", 0));
    FAILS(ENOENT, truncate("nothing", 0));
    struct stat a, b;
    OK(fstat(fd, &a));
    sleep_ms(12);
    OK(ftruncate(fd, 100));
    OK(fstat(fd, &b));
    CHECK(b.st_mtim.tv_sec > a.st_mtim.tv_sec || b.st_mtim.tv_nsec > a.st_mtim.tv_nsec);
}

TEST(holes)
{
    int fd = make("");
    off_t far = 8 << 20;
    EQ(pwrite(fd, "x", 1, far), 1);
    EQ(pwrite(fd, "y", 1, 0), 1);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, far + 1);
    CHECK(st.st_blocks * 512 < far);
    off_t hole = OK(lseek(fd, 0, SEEK_HOLE));
    CHECK(hole > 0 && hole <= far);
    off_t data = OK(lseek(fd, hole, SEEK_DATA));
    CHECK(data > hole && data <= far);
    EQ(lseek(fd, far, SEEK_HOLE), far + 1); // the end counts as a hole
    FAILS(ENXIO, lseek(fd, far + 1, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, far + 1, SEEK_HOLE));
    FAILS(ENXIO, lseek(fd, -5, SEEK_DATA));
    char part[4096];
    EQ(pread(fd, part, 4096, 1 << 20), 4096);
    for (int i = 0; i < 4096; i++)
        EQ(part[i], 0);
}

TEST(allocate)
{
    int fd = make("0123456789");
    struct stat st;
    OK(fallocate(fd, 0, 0, 100000));
    OK(fstat(fd, &st));
    EQ(st.st_size, 100000);
    CHECK(st.st_blocks * 512 >= 100000);
    OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
    OK(fstat(fd, &st));
    EQ(st.st_size, 100000);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 4));
    char text[11] = "";
    EQ(pread(fd, text, 10, 0), 10);
    EQ(memcmp(text, "01\0\0\0\0006789", 10), 0);
    FAILS(EINVAL, fallocate(fd, 0, -1, 10));
    FAILS(EINVAL, fallocate(fd, 0, 0, 0));
    FAILS(EBADF, fallocate(OK(open("f", O_RDONLY)), 0, 0, 10));
    FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
    EQ(posix_fallocate(fd, 0, 10), 0);
}

TEST(large_offsets)
{
    int fd = make("");
    off_t far = 5ll << 32;
    EQ(pwrite(fd, "x", 1, far), 1);
    char c = 0;
    EQ(pread(fd, &c, 1, far), 1);
    EQ(c, 'x');
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, far + 1);
    errno = 0;
    EQ(pwrite(fd, "x", 1, INT64_MAX), -1);
    CHECK(errno == EFBIG || errno == EINVAL);
}

TEST(sync_family)
{
    int fd = make("hello");
    OK(fsync(fd));
    OK(fdatasync(fd));
    OK(syncfs(fd));
    sync();
    OK(sync_file_range(fd, 0, 5, SYNC_FILE_RANGE_WRITE));
    int p[2];
    OK(pipe(p));
    FAILS(EINVAL, fsync(p[0]));
    FAILS(EBADF, fsync(99));
    int dir = OK(open(".", O_RDONLY));
    OK(fsync(dir));
    EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    EQ(posix_fadvise(fd, 0, 0, 77), EINVAL);
    EQ(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
    OK(readahead(fd, 0, 5));
}

TEST(big_file_checked)
{
    // 8 MiB in odd pieces, read back in other odd pieces.
    int fd = make("");
    static unsigned char piece[70001];
    size_t total = 8 << 20, at = 0;
    for (int round = 0; at < total; round++) {
        size_t n = (round * 7919 + 13) % sizeof piece;
        if (n > total - at)
            n = total - at;
        for (size_t i = 0; i < n; i++)
            piece[i] = ((at + i) * 2654435761u) >> 24;
        EQ(write(fd, piece, n), n);
        at += n;
    }
    OK(lseek(fd, 0, SEEK_SET));
    for (at = 0; at < total;) {
        ssize_t n = OK(read(fd, piece, at % 50000 + 1));
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != (unsigned char)(((at + i) * 2654435761u) >> 24))
                FAIL("byte %zu differs", at + i);
        at += n;
    }
}

TEST(two_writers_one_offset)
{
    int fd = make("");
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = FORK({
            for (int j = 0; j < 100; j++)
                EQ(write(fd, "0123456789abcdef", 16), 16);
        });
    for (int i = 0; i < 4; i++)
        WAIT_OK(children[i]);
    EQ(lseek(fd, 0, SEEK_CUR), 6400); // no write overwrote another
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 6400);
}

MAIN()
