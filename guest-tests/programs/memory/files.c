// Mapped files and memfd: coherence with read and write, private copies, SIGBUS, seals: mmap(2), memfd_create(2), fcntl(2).
#include "check.h"
#include <setjmp.h>
#include <sys/random.h>

#define P 4096
static sigjmp_buf back;
static void jump(int signal) { siglongjmp(back, signal); }
static int touch(volatile char *at, bool write)
{
    signal(SIGSEGV, jump), signal(SIGBUS, jump);
    int s = sigsetjmp(back, 1);
    if (s)
        return s;
    if (write)
        *at = *at;
    else
        (void)*at;
    return 0;
}
static int file(const char *text, size_t size)
{
    write_file("f", text);
    int fd = OK(open("f", O_RDWR));
    OK(ftruncate(fd, size));
    return fd;
}

TEST(shared_is_coherent_with_read_and_write)
{
    int fd = file("hello", 2 * P);
    char *p = OK(mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), c;
    STREQ(p, "hello");
    EQ(pwrite(fd, "J", 1, 0), 1);
    STREQ(p, "Jello");
    p[P] = 'x';
    EQ(pread(fd, &c, 1, P), 1);
    EQ(c, 'x');
    char *q = OK(mmap(NULL, P, PROT_READ, MAP_SHARED, fd, P));
    EQ(q[0], 'x');
    p[P] = 'y';
    EQ(q[0], 'y');
    int other = OK(open("f", O_RDONLY));
    char *r = OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, other, P));
    EQ(r[0], 'y');
}

TEST(shared_between_processes)
{
    int fd = file("", P);
    volatile char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    pid_t child = FORK({
        int own = OK(open("f", O_RDWR));
        volatile char *q = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0));
        while (!q[0]) {
            struct timespec t = {0, 100000};
            nanosleep(&t, NULL);
        }
        q[1] = 2;
    });
    p[0] = 1;
    WAIT_OK(child);
    EQ(p[1], 2);
}

TEST(private_copies_on_write)
{
    int fd = file("hello", P);
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)), c;
    p[0] = 'X';
    EQ(pread(fd, &c, 1, 0), 1);
    EQ(c, 'h');
    EQ(pwrite(fd, "Y", 1, 1), 1);
    EQ(p[0], 'X');
    EQ(p[1], 'e'); // the page is already its own
}

TEST(private_sees_the_file_until_its_first_write)
{
    int fd = file("hello", P);
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    EQ(p[0], 'h');
    EQ(pwrite(fd, "J", 1, 0), 1);
    EQ(p[0], 'J');
}

TEST(mapping_outlives_descriptor_and_name)
{
    int fd = file("hello", P);
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    OK(unlink("f"));
    STREQ(p, "hello");
    p[0] = 'J';
    pid_t child = FORK({ STREQ(p, "Jello"); });
    WAIT_OK(child);
    static char text[65536];
    read_file("/proc/self/maps", text, sizeof text);
    CHECK(strstr(text, "/f (deleted)"));
}

TEST(bus_beyond_the_end)
{
    int fd = file("hello", P + 10);
    char *p = OK(mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    EQ(touch(p + P + 100, true), 0); // within the last page
    EQ(touch(p + 2 * P, false), SIGBUS);
    EQ(touch(p + 3 * P, true), SIGBUS);
    OK(ftruncate(fd, 3 * P));
    EQ(touch(p + 2 * P, true), 0); // the file grew into the mapping
    OK(ftruncate(fd, 100));
    EQ(touch(p + P, false), SIGBUS); // and shrank
    OK(ftruncate(fd, 2 * P));
    EQ(touch(p + P, false), 0);
    EQ(p[P], 0);
}

TEST(what_lies_behind_the_end_is_zero)
{
    int fd = file("hello", 5);
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    EQ(p[5], 0);
    p[5] = 'x'; // is not written to the file
    char c;
    EQ(pread(fd, &c, 1, 5), 0);
    OK(ftruncate(fd, 3));
    OK(ftruncate(fd, 10));
    EQ(pread(fd, &c, 1, 4), 1);
    EQ(c, 0); // cut off and grown again: zeroes
}

TEST(call_into_a_lost_mapping_is_efault)
{
    int fd = file("", P);
    char *p = OK(mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    int pipes[2];
    OK(pipe(pipes));
    FAILS(EFAULT, write(pipes[1], p + P, 10));
    EQ(write(pipes[1], "abc", 3), 3);
    FAILS(EFAULT, read(pipes[0], p + P, 3));
    EQ(read(pipes[0], p + P - 3, 3), 3);
}

TEST(write_from_its_own_mapping)
{
    int fd = file("0123456789", P);
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    EQ(pwrite(fd, p, 10, 100), 10);
    EQ(memcmp(p + 100, "0123456789", 10), 0);
    EQ(pread(fd, p + 200, 10, 0), 10);
    EQ(memcmp(p + 200, "0123456789", 10), 0);
}

TEST(memfd)
{
    int fd = OK(memfd_create("name", MFD_CLOEXEC));
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    OK(ftruncate(fd, 2 * P));
    char *p = OK(mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), c;
    p[P] = 'a';
    EQ(pread(fd, &c, 1, P), 1);
    EQ(c, 'a');
    EQ(pwrite(fd, "b", 1, P), 1);
    EQ(p[P], 'b');
    char link[100], path[40];
    sprintf(path, "/proc/self/fd/%d", fd);
    ssize_t n = OK(readlink(path, link, sizeof link - 1));
    link[n] = 0;
    STREQ(link, "/memfd:name (deleted)");
    int again = OK(open(path, O_RDONLY));
    EQ(pread(again, &c, 1, P), 1);
    EQ(c, 'b');
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 2 * P);
    EQ(st.st_mode & 07777, 0777);
    FAILS(EINVAL, memfd_create("x", 0x4000));
    char big[300];
    memset(big, 'x', 299);
    big[299] = 0;
    FAILS(EINVAL, memfd_create(big, 0));
    EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL); // made without MFD_ALLOW_SEALING
    FAILS(EPERM, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
}

TEST(seals)
{
    int fd = OK(memfd_create("s", MFD_ALLOW_SEALING));
    EQ(fcntl(fd, F_GET_SEALS), 0);
    OK(ftruncate(fd, P));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    FAILS(EPERM, ftruncate(fd, 2 * P));
    FAILS(EPERM, pwrite(fd, "x", 1, P));
    OK(ftruncate(fd, 100));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    FAILS(EPERM, ftruncate(fd, 10));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    FAILS(EBUSY, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // mapped writable
    OK(munmap(p, P));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    FAILS(EPERM, pwrite(fd, "x", 1, 0));
    FAILS(EPERM, (long)mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    p = OK(mmap(NULL, P, PROT_READ, MAP_SHARED, fd, 0));
    FAILS(EACCES, mprotect(p, P, PROT_READ | PROT_WRITE));
    p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    p[0] = 1;
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    FAILS(EPERM, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    EQ(fcntl(fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL);
    int plain = OK(open("f", O_RDWR | O_CREAT, 0600));
    CHECK(fcntl(plain, F_GET_SEALS) == -1 ? errno == EINVAL : true);
}

TEST(seal_future_write)
{
    int fd = OK(memfd_create("s", MFD_ALLOW_SEALING));
    OK(ftruncate(fd, P));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    OK(fcntl(fd, F_ADD_SEALS, 0x10 /* F_SEAL_FUTURE_WRITE */));
    p[0] = 1; // this mapping goes on
    FAILS(EPERM, pwrite(fd, "x", 1, 0));
    FAILS(EPERM, (long)mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

TEST(system_v_shared_memory)
{
    // Offered, or refused as a kernel without it does.
    long id = syscall(SYS_shmget, 0 /* IPC_PRIVATE */, 8192, 01600);
    if (id == -1) {
        EQ(errno, ENOSYS);
        return;
    }
    int *p = (int *)OK(syscall(SYS_shmat, id, NULL, 0));
    pid_t child = FORK({ p[5] = 6; });
    WAIT_OK(child);
    EQ(p[5], 6);
    OK(syscall(SYS_shmdt, p));
    OK(syscall(SYS_shmctl, id, 0 /* IPC_RMID */, NULL));
}

TEST(large_file_mapping)
{
    int fd = file("", 256 << 20);
    char *p = OK(mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    for (size_t i = 0; i < 256 << 20; i += 16 << 20)
        p[i] = i >> 24;
    for (size_t i = 0; i < 256 << 20; i += 16 << 20) {
        char c;
        EQ(pread(fd, &c, 1, i), 1);
        EQ(c, (char)(i >> 24));
    }
    struct stat st;
    OK(fstat(fd, &st));
    CHECK(st.st_blocks < 10000); // sparse
}

TEST(process_vm)
{
    char local[10] = "";
    pid_t child = FORK({ pause(); });
    struct iovec l = {local, 5}, r = {(void *)"hello", 5};
    ssize_t n = process_vm_readv(child, &l, 1, &r, 1, 0);
    int error = errno;
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    if (n == -1 && error == ENOSYS)
        return;
    EQ(n, 5);
    STREQ(local, "hello");
}

// More than a kernel may keep at once for memory that nobody has touched: the whole count all the same.
TEST(much_to_untouched_memory)
{
    size_t size = 5 << 20;
    char *from = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *into = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(from != MAP_FAILED && into != MAP_FAILED);
    memset(from, 7, size);
    pid_t child = FORK({ pause(); });
    // Pieces whose borders are not those of the other side.
    struct iovec local[2] = {{into, 1 << 20}, {into + (1 << 20), size - (1 << 20)}};
    struct iovec remote[2] = {{from, 12345}, {from + 12345, size - 12345}};
    ssize_t n = process_vm_readv(child, local, 2, remote, 2, 0);
    int error = errno;
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    if (n != -1 || error != ENOSYS) {
        EQ(n, size);
        EQ(memcmp(from, into, size), 0);
    }
    char *random = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(random != MAP_FAILED);
    EQ(getrandom(random, size, 0), size);
    for (size_t at = 0; at < size; at += 4096)
        CHECK(memcmp(random + at, from, 64) != 0 && memcmp(random + at, into + size - 64, 64) != 0);
    // The last byte of the count is where the memory ends.
    OK(munmap(into + size / 2, size / 2));
    memset(from, 9, 4096);
    n = getrandom(into + size / 2 - 5000, 10000, 0);
    EQ(n, 5000);
}

TEST(seal_exec)
{
    int fd = memfd_create("m", MFD_ALLOW_SEALING | 8 /* MFD_NOEXEC_SEAL */);
    if (fd < 0 && errno == EINVAL)
        SKIP("a Linux before 6.3");
    struct stat st;
    OK(fstat(OK(fd), &st));
    EQ(st.st_mode & 0777, 0666);
    EQ(fcntl(fd, F_GET_SEALS), 0x20 /* F_SEAL_EXEC */);
    FAILS(EPERM, fchmod(fd, 0755));
    OK(fchmod(fd, 0600));
    fd = OK(memfd_create("m", MFD_ALLOW_SEALING));
    OK(fchmod(fd, 0666));
    OK(fcntl(fd, F_ADD_SEALS, 0x20));
    EQ(fcntl(fd, F_GET_SEALS), 0x20);
    FAILS(EPERM, fchmod(fd, 0700));
    // What can be executed may not be written any more.
    fd = OK(memfd_create("m", MFD_ALLOW_SEALING));
    OK(fcntl(fd, F_ADD_SEALS, 0x20));
    EQ(fcntl(fd, F_GET_SEALS), 0x20 | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
}

TEST(files_of_a_tmpfs_take_no_seals)
{
    mkdir("t", 0755);
    if (mount("tmpfs", "t", "tmpfs", 0, NULL))
        SKIP("may not mount");
    int fd = OK(open("t/f", O_RDWR | O_CREAT, 0600));
    EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
    FAILS(EPERM, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
}

TEST(a_sealed_file_does_not_grow)
{
    int fd = OK(memfd_create("m", MFD_ALLOW_SEALING));
    OK(ftruncate(fd, 100000));
    OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    FAILS(EPERM, pwrite(fd, "x", 1, 200000));
    EQ(lseek(fd, 0, SEEK_END), 100000);
    OK(ftruncate(fd, 300000)); // nothing speaks against this
    EQ(lseek(fd, 0, SEEK_END), 300000);
}

MAIN()
