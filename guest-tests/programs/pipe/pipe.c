// Pipes and FIFOs: pipe(7), fifo(7), splice(2), tee(2), vmsplice(2), fcntl(2) F_SETPIPE_SZ.
#include "check.h"
#include <sys/ioctl.h>
#include <sys/sendfile.h>

static int p[2];
static char big[1 << 20];

TEST(bytes_in_order)
{
    OK(pipe(p));
    pid_t child = FORK({
        close(p[0]);
        for (int i = 0; i < (int)sizeof big; i++)
            big[i] = i * 7;
        size_t at = 0;
        for (size_t step = 1; at < sizeof big; step = step * 3 % 20011 + 1) {
            size_t n = step < sizeof big - at ? step : sizeof big - at;
            EQ(write(p[1], big + at, n), n);
            at += n;
        }
    });
    close(p[1]);
    size_t at = 0;
    ssize_t n;
    char part[7919];
    while ((n = OK(read(p[0], part, sizeof part))) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            if (part[i] != (char)(at * 7))
                FAIL("byte %zu", at);
    EQ(at, sizeof big);
    WAIT_OK(child);
}

TEST(end_of_file_and_sigpipe)
{
    OK(pipe(p));
    char c;
    int copy = OK(dup(p[1]));
    EQ(write(p[1], "a", 1), 1);
    close(p[1]);
    EQ(read(p[0], &c, 1), 1);
    OK(fcntl(p[0], F_SETFL, O_NONBLOCK));
    FAILS(EAGAIN, read(p[0], &c, 1)); // a copy of the writing end is open
    close(copy);
    EQ(read(p[0], &c, 1), 0);
    OK(pipe(p));
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    FAILS(EPIPE, write(p[1], "a", 1));
    signal(SIGPIPE, SIG_DFL);
    pid_t child = FORK({ write(p[1], "a", 1); });
    WAIT_STATUS(child, KILLED(SIGPIPE));
}

TEST(wrong_ends)
{
    OK(pipe(p));
    char c;
    FAILS(EBADF, read(p[1], &c, 1));
    FAILS(EBADF, write(p[0], &c, 1));
    FAILS(ESPIPE, lseek(p[0], 0, SEEK_CUR));
    FAILS(ESPIPE, pread(p[0], &c, 1, 0));
    FAILS(EFAULT, pipe((int *)8));
    FAILS(EINVAL, pipe2(p, 0x123));
    EQ(write(p[1], &c, 0), 0);
    EQ(read(p[0], &c, 0), 0);
}

TEST(sizes)
{
    OK(pipe2(p, O_NONBLOCK | O_CLOEXEC));
    EQ(fcntl(p[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_NONBLOCK);
    EQ(fcntl(p[0], F_GETPIPE_SZ), 65536);
    EQ(write(p[1], big, sizeof big), 65536);
    FAILS(EAGAIN, write(p[1], big, 1));
    int n;
    OK(ioctl(p[0], FIONREAD, &n));
    EQ(n, 65536);
    EQ(fcntl(p[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    EQ(write(p[1], big, sizeof big), (1 << 20) - 65536);
    FAILS(EBUSY, fcntl(p[1], F_SETPIPE_SZ, 4096));
    while (read(p[0], big, sizeof big) > 0) {
    }
    EQ(fcntl(p[1], F_SETPIPE_SZ, 5000), 8192);
    EQ(fcntl(p[1], F_SETPIPE_SZ, 1), 4096);
    struct stat st;
    OK(fstat(p[0], &st));
    CHECK(S_ISFIFO(st.st_mode));
    char link[64];
    sprintf(big, "/proc/self/fd/%d", p[0]);
    n = OK(readlink(big, link, 63));
    link[n] = 0;
    CHECK(!strncmp(link, "pipe:[", 6));
}

TEST(atomic_up_to_pipe_buf)
{
    OK(pipe2(p, O_NONBLOCK));
    EQ(write(p[1], big, 65536), 65536);
    char part[100];
    EQ(read(p[0], part, 100), 100);
    FAILS(EAGAIN, write(p[1], big, 4096)); // 4096 or less: all or nothing
    OK(fcntl(p[1], F_SETFL, 0));
    // several writers' records stay whole
    OK(pipe(p));
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = FORK({
            char record[2048];
            memset(record, 'a' + i, sizeof record);
            for (int j = 0; j < 100; j++)
                EQ(write(p[1], record, sizeof record), sizeof record);
        });
    close(p[1]);
    char record[2048];
    int count = 0;
    for (;;) {
        size_t used = 0;
        ssize_t n;
        while (used < sizeof record && (n = OK(read(p[0], record + used, sizeof record - used))) > 0)
            used += n;
        if (!used)
            break;
        EQ(used, sizeof record);
        for (int i = 1; i < 2048; i++)
            EQ(record[i], record[0]);
        count++;
    }
    EQ(count, 400);
    for (int i = 0; i < 4; i++)
        WAIT_OK(children[i]);
}

TEST(packet_mode)
{
    OK(pipe2(p, O_DIRECT));
    EQ(write(p[1], "one", 3), 3);
    EQ(write(p[1], "second", 6), 6);
    char part[10] = "";
    EQ(read(p[0], part, sizeof part), 3);
    EQ(read(p[0], part, 2), 2); // the rest of the packet is lost
    EQ(write(p[1], big, 10000), 10000);
    EQ(read(p[0], big, sizeof big), 4096);
    EQ(read(p[0], big, sizeof big), 4096);
    EQ(read(p[0], big, sizeof big), 10000 - 8192);
}

TEST(vectors)
{
    OK(pipe(p));
    struct iovec out[] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    EQ(writev(p[1], out, 3), 5);
    char a[4], b[4];
    struct iovec in[] = {{a, 1}, {b, 4}};
    EQ(readv(p[0], in, 2), 5);
    EQ(a[0], 'a');
    EQ(memcmp(b, "bcde", 4), 0);
    FAILS(EINVAL, writev(p[1], out, -1));
    FAILS(EINVAL, writev(p[1], out, 1025));
    EQ(writev(p[1], out, 0), 0);
    struct iovec bad[] = {{"ab", 2}, {(void *)8, 3}};
    FAILS(EFAULT, writev(p[1], &bad[1], 1));
    ssize_t n = writev(p[1], bad, 2); // Linux counts whole pages only: what came before the fault may be told or not
    CHECK(n == 2 || (n == -1 && errno == EFAULT));
}

TEST(fault_in_the_middle)
{
    char *area = OK(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(munmap(area + 4096, 4096));
    OK(pipe(p));
    ssize_t n = write(p[1], area + 4096 - 10, 20);
    CHECK(n == 10 || (n == -1 && errno == EFAULT));
    if (n == -1)
        EQ(write(p[1], area, 10), 10);
    FAILS(EFAULT, write(p[1], area + 4096, 1));
    FAILS(EFAULT, read(p[0], area + 4096, 5)); // nothing is lost
    n = read(p[0], area + 4096 - 5, 10);
    CHECK(n == 5 || (n == -1 && errno == EFAULT));
    EQ(read(p[0], area, 10), n == 5 ? 5 : 10);
}

TEST(fifo_open)
{
    OK(mkfifo("f", 0644));
    FAILS(EEXIST, mkfifo("f", 0644));
    struct stat st;
    OK(stat("f", &st));
    CHECK(S_ISFIFO(st.st_mode));
    FAILS(ENXIO, open("f", O_WRONLY | O_NONBLOCK));
    int r = OK(open("f", O_RDONLY | O_NONBLOCK));
    char c;
    EQ(read(r, &c, 1), 0); // never had a writer: end of file
    int w = OK(open("f", O_WRONLY | O_NONBLOCK));
    FAILS(EAGAIN, read(r, &c, 1));
    EQ(write(w, "x", 1), 1);
    EQ(read(r, &c, 1), 1);
    close(w);
    struct pollfd poll_ = {r, POLLIN, 0};
    EQ(poll(&poll_, 1, 0), 1);
    EQ(poll_.revents, POLLHUP);
    close(r);
    int both = OK(open("f", O_RDWR)); // does not wait
    EQ(write(both, "y", 1), 1);
    EQ(read(both, &c, 1), 1);
}

TEST(fifo_open_waits_for_the_other)
{
    OK(mkfifo("f", 0644));
    pid_t child = FORK({
        int w = OK(open("f", O_WRONLY));
        EQ(write(w, "abc", 3), 3);
    });
    int r = OK(open("f", O_RDONLY));
    char part[4];
    EQ(read(r, part, 3), 3);
    EQ(read(r, part, 1), 0);
    WAIT_OK(child);
    child = FORK({
        int own = OK(open("f", O_RDONLY));
        char c;
        EQ(read(own, &c, 1), 1);
    });
    close(r);
    int w = OK(open("f", O_WRONLY));
    EQ(write(w, "z", 1), 1);
    WAIT_OK(child);
}

TEST(splice_moves)
{
    int q[2], fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    EQ(write(fd, "0123456789", 10), 10);
    OK(pipe(p)), OK(pipe(q));
    loff_t at = 2;
    EQ(splice(fd, &at, p[1], NULL, 5, 0), 5);
    EQ(at, 7);
    EQ(splice(p[0], NULL, q[1], NULL, 3, 0), 3);
    char part[16] = "";
    EQ(read(q[0], part, 16), 3);
    EQ(memcmp(part, "234", 3), 0);
    at = 20;
    EQ(splice(p[0], NULL, fd, &at, 100, 0), 2);
    EQ(pread(fd, part, 2, 20), 2);
    EQ(memcmp(part, "56", 2), 0);
    FAILS(EINVAL, splice(fd, NULL, fd, NULL, 5, 0)); // one must be a pipe
    FAILS(ESPIPE, splice(p[0], &at, q[1], NULL, 5, 0));
    FAILS(EAGAIN, splice(p[0], NULL, q[1], NULL, 5, SPLICE_F_NONBLOCK));
    FAILS(EINVAL, splice(p[0], NULL, p[1], NULL, 5, 0)); // the same pipe
    close(p[1]);
    EQ(splice(p[0], NULL, q[1], NULL, 5, 0), 0);
}

TEST(tee_copies)
{
    int q[2];
    OK(pipe(p)), OK(pipe(q));
    EQ(write(p[1], "hello", 5), 5);
    EQ(tee(p[0], q[1], 3, 0), 3);
    char part[16];
    EQ(read(q[0], part, 16), 3);
    EQ(read(p[0], part, 16), 5);
    EQ(memcmp(part, "hello", 5), 0);
    FAILS(EAGAIN, tee(p[0], q[1], 3, SPLICE_F_NONBLOCK));
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    FAILS(EINVAL, tee(fd, q[1], 3, 0));
}

TEST(vmsplice_gives)
{
    OK(pipe(p));
    struct iovec v[] = {{"abc", 3}, {"def", 3}};
    EQ(vmsplice(p[1], v, 2, 0), 6);
    char part[16];
    struct iovec in = {part, 16};
    EQ(vmsplice(p[0], &in, 1, 0), 6);
    EQ(memcmp(part, "abcdef", 6), 0);
}

TEST(sendfile_to_a_pipe_and_a_file)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600)), out = OK(open("g", O_RDWR | O_CREAT, 0600));
    EQ(write(fd, "0123456789", 10), 10);
    OK(pipe(p));
    off_t at = 4;
    EQ(sendfile(p[1], fd, &at, 100), 6);
    EQ(at, 10);
    char part[16];
    EQ(read(p[0], part, 16), 6);
    OK(lseek(fd, 0, SEEK_SET));
    EQ(sendfile(out, fd, NULL, 5), 5);
    EQ(lseek(fd, 0, SEEK_CUR), 5);
    EQ(lseek(out, 0, SEEK_CUR), 5);
    at = 0;
    EQ(copy_file_range(fd, &at, out, NULL, 10, 0), 10);
    struct stat st;
    OK(fstat(out, &st));
    EQ(st.st_size, 15);
}

TEST(ping_pong)
{
    int q[2];
    OK(pipe(p)), OK(pipe(q));
    pid_t child = FORK({
        char c;
        for (int i = 0; i < 1000; i++) {
            EQ(read(p[0], &c, 1), 1);
            EQ(write(q[1], &c, 1), 1);
        }
    });
    for (int i = 0; i < 1000; i++) {
        char c = i;
        EQ(write(p[1], &c, 1), 1);
        EQ(read(q[0], &c, 1), 1);
        EQ(c, (char)i);
    }
    WAIT_OK(child);
}

TEST(a_splice_leaves_the_rest_of_a_packet)
{
    int q[2];
    OK(pipe2(p, O_DIRECT | O_NONBLOCK)), OK(pipe2(q, O_NONBLOCK));
    EQ(write(p[1], "abcdef", 6), 6);
    EQ(write(p[1], "gh", 2), 2);
    EQ(splice(p[0], NULL, q[1], NULL, 2, 0), 2);
    EQ(splice(p[0], NULL, q[1], NULL, 5, 0), 5);
    char text[10] = "";
    EQ(read(p[0], text, 10), 1);
    STREQ(text, "h");
}

TEST(nothing_of_a_fifo_is_left_after_its_users)
{
    OK(mkfifo("f", 0600));
    int fd = OK(open("f", O_RDWR | O_NONBLOCK)), n = 1;
    OK(fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT));
    EQ(write(fd, "a", 1), 1);
    EQ(write(fd, "b", 1), 1);
    close(fd);
    fd = OK(open("f", O_RDWR | O_NONBLOCK));
    OK(ioctl(fd, FIONREAD, &n));
    EQ(n, 0);
}

TEST(what_vmsplice_brings_is_no_packet)
{
    OK(pipe2(p, O_DIRECT | O_NONBLOCK));
    static char page[8192] __attribute__((aligned(4096)));
    EQ(vmsplice(p[1], &(struct iovec){page, 8192}, 1, 0), 8192);
    EQ(read(p[0], big, 10000), 8192);
}

TEST(a_large_write_fills_the_last_page_too)
{
    OK(pipe2(p, O_NONBLOCK));
    EQ(write(p[1], big, 2), 2);
    EQ(write(p[1], big, 70000), 15 * 4096 + 70000 % 4096);
}

TEST(an_empty_source_comes_before_a_broken_target)
{
    int q[2];
    OK(pipe2(p, O_NONBLOCK)), OK(pipe2(q, O_NONBLOCK));
    close(q[0]);
    FAILS(EAGAIN, splice(p[0], NULL, q[1], NULL, 10, 0));
    FAILS(EAGAIN, tee(p[0], q[1], 10, 0));
    signal(SIGPIPE, SIG_IGN);
    EQ(write(p[1], "a", 1), 1);
    FAILS(EPIPE, splice(p[0], NULL, q[1], NULL, 10, 0));
}

TEST(offsets_and_wrong_ends)
{
    int q[2];
    OK(pipe2(p, O_NONBLOCK)), OK(socketpair(AF_UNIX, SOCK_STREAM, 0, q));
    loff_t at = 0;
    FAILS(ESPIPE, pread(p[1], big, 1, 0));
    FAILS(ESPIPE, pwrite(p[0], big, 1, 0));
    FAILS(EINVAL, pread(p[1], big, 1, -1));
    FAILS(EBADF, splice(p[0], &at, 99, NULL, 1, 0));
    FAILS(ESPIPE, splice(p[0], &at, q[0], NULL, 1, 0));
    FAILS(EINVAL, splice(p[0], NULL, q[0], &at, 1, 0));
}

TEST(direct_is_for_files_and_made_pipes)
{
    OK(mkfifo("f", 0600));
    OK(pipe(p));
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    FAILS(EINVAL, open("f", O_RDWR | O_DIRECT));
    FAILS(EINVAL, open("/dev/null", O_RDWR | O_DIRECT));
    FAILS(EINVAL, open(".", O_RDONLY | O_DIRECT));
    FAILS(EINVAL, open(path, O_RDONLY | O_DIRECT));
    OK(fcntl(p[0], F_SETFL, O_DIRECT));
    OK(fcntl(OK(open("f", O_RDWR)), F_SETFL, O_DIRECT));
    FAILS(EINVAL, fcntl(OK(open("/dev/null", O_RDWR)), F_SETFL, O_DIRECT));
    FAILS(EINVAL, fcntl(OK(socket(AF_UNIX, SOCK_STREAM, 0)), F_SETFL, O_DIRECT));
}

TEST(fdinfo_has_the_flags_of_a_pipe)
{
    OK(pipe2(p, O_NONBLOCK));
    char path[40], text[500];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", p[1]);
    read_file(path, text, sizeof text);
    CHECK(strstr(text, "flags:\t04001\n"));
}

TEST(packets_are_the_writers_flag)
{
    OK(pipe2(p, O_DIRECT | O_NONBLOCK));
    EQ(fcntl(p[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_NONBLOCK | O_DIRECT);
}

TEST(a_fifo_forgets_its_size_with_its_users)
{
    OK(mkfifo("f", 0600));
    int fd = OK(open("f", O_RDWR));
    EQ(fcntl(fd, F_SETPIPE_SZ, 4096), 4096);
    close(fd);
    EQ(fcntl(OK(open("f", O_RDWR)), F_GETPIPE_SZ), 65536);
}

TEST(vmsplice_reads_over_packets)
{
    OK(pipe2(p, O_DIRECT | O_NONBLOCK));
    EQ(write(p[1], "ab", 2), 2);
    EQ(write(p[1], "cd", 2), 2);
    EQ(vmsplice(p[0], &(struct iovec){big, 10}, 1, 0), 4);
    CHECK(!memcmp(big, "abcd", 4));
}

// A pipe that must not be waited for lets no socket be waited for either.
TEST(splice_from_an_empty_socket)
{
    int p[2], s[2];
    OK(pipe2(p, O_NONBLOCK));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    FAILS(EAGAIN, splice(s[0], 0, p[1], 0, 10, 0));
    EQ(write(s[1], "hello", 5), 5);
    EQ(splice(s[0], 0, p[1], 0, 10, 0), 5);
    char data[10];
    EQ(read(p[0], data, 10), 5);
    OK(fcntl(p[1], F_SETFL, 0));
    FAILS(EAGAIN, splice(s[0], 0, p[1], 0, 10, SPLICE_F_NONBLOCK));
}

MAIN()
