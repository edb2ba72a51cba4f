// Large reads, again and again: read(2), pread(2). A sandbox may have them done otherwise than small ones (docs/platform.md, "Files that a stub reads by itself"), so each part is done often enough for that.
#include "check.h"

#define BLOCK (64 << 10)
#define BLOCKS 64

// Byte `at` of file `seed`.
static unsigned char byte(unsigned seed, size_t at)
{
    return (at * 2654435761u >> 13) ^ at >> 3 ^ seed * 37;
}
static void make(const char *name, unsigned seed, size_t size)
{
    static unsigned char block[BLOCK];
    int fd = OK(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644));
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t part = size - at < BLOCK ? size - at : BLOCK;
        for (size_t i = 0; i < part; i++)
            block[i] = byte(seed, at + i);
        EQ(write(fd, block, part), part);
    }
    OK(close(fd));
}
static bool holds(const unsigned char *buffer, size_t len, unsigned seed, size_t at)
{
    for (size_t i = 0; i < len; i++)
        if (buffer[i] != byte(seed, at + i))
            return false;
    return true;
}
static unsigned char *buffer(size_t len)
{
    unsigned char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}
// Reads the file from the start to its end.
static void read_all(int fd, unsigned char *into, unsigned seed, size_t size)
{
    OK(lseek(fd, 0, SEEK_SET));
    for (size_t at = 0; at < size;) {
        size_t want = size - at < BLOCK ? size - at : BLOCK;
        memset(into, 0xa5, BLOCK);
        EQ(read(fd, into, BLOCK), want);
        CHECK(holds(into, want, seed, at));
        at += want;
        EQ(lseek(fd, 0, SEEK_CUR), at);
    }
    EQ(read(fd, into, BLOCK), 0);
    EQ(lseek(fd, 0, SEEK_CUR), size);
}

TEST(one_after_another)
{
    size_t size = BLOCKS * BLOCK + 12345;
    make("f", 1, size);
    int fd = OK(open("f", O_RDONLY));
    unsigned char *into = buffer(BLOCK);
    for (int round = 0; round < 3; round++)
        read_all(fd, into, 1, size);
}

TEST(anywhere)
{
    size_t size = BLOCKS * BLOCK + 777;
    make("f", 2, size);
    int fd = OK(open("f", O_RDWR));
    unsigned char *into = buffer(4 * BLOCK);
    for (unsigned n = 0; n < 400; n++) {
        size_t at = (size_t)n * 48271 * 97 % (size + BLOCK), len = BLOCK / 2 + n * 331 % (3 * BLOCK);
        size_t there = at >= size ? 0 : size - at < len ? size - at : len;
        EQ(pread(fd, into, len, at), there);
        CHECK(holds(into, there, 2, at));
    }
    EQ(lseek(fd, 0, SEEK_CUR), 0);
    FAILS(EINVAL, pread(fd, into, BLOCK, -1));
}

// What is behind the buffer cannot be written: as much as fits counts, and the position with it.
TEST(buffers_that_end)
{
    make("f", 3, BLOCKS * BLOCK);
    int fd = OK(open("f", O_RDONLY));
    unsigned char *into = buffer(2 * BLOCK);
    read_all(fd, into, 3, BLOCKS * BLOCK);
    OK(mprotect(into + BLOCK, BLOCK, PROT_NONE));
    for (int n = 0; n < 10; n++) {
        OK(lseek(fd, n * 100, SEEK_SET));
        EQ(read(fd, into + 10, 2 * BLOCK - 10), BLOCK - 10);
        EQ(lseek(fd, 0, SEEK_CUR), n * 100 + BLOCK - 10);
        CHECK(holds(into + 10, BLOCK - 10, 3, n * 100));
        FAILS(EFAULT, read(fd, into + BLOCK, BLOCK));
        EQ(lseek(fd, 0, SEEK_CUR), n * 100 + BLOCK - 10);
        OK(mprotect(into, BLOCK, PROT_READ));
        FAILS(EFAULT, pread(fd, into, BLOCK, 0));
        OK(mprotect(into, BLOCK, PROT_READ | PROT_WRITE));
        FAILS(EFAULT, pread(fd, (void *)(1ul << 62), BLOCK, 0));
    }
    OK(munmap(into, 2 * BLOCK));
    FAILS(EFAULT, read(fd, into, BLOCK));
}

// The file changes between the reads.
TEST(files_that_change)
{
    make("f", 4, BLOCKS * BLOCK);
    int fd = OK(open("f", O_RDONLY)), writer = OK(open("f", O_WRONLY));
    unsigned char *into = buffer(BLOCK), new[16] = "something new...";
    read_all(fd, into, 4, BLOCKS * BLOCK);
    for (int n = 0; n < 20; n++) {
        new[15] = n;
        EQ(pwrite(writer, new, 16, n * 5000), 16);
        EQ(pread(fd, into, BLOCK, n * 5000), BLOCK);
        CHECK(!memcmp(into, new, 16) && holds(into + 16, 4000, 4, n * 5000 + 16));
    }
    for (int n = 0; n < 10; n++) {
        OK(ftruncate(writer, 40000 + n));
        EQ(pread(fd, into, BLOCK, 0), 40000 + n);
        EQ(pread(fd, into, BLOCK, 50000), 0);
        OK(ftruncate(writer, 200000));
        EQ(pread(fd, into, BLOCK, 40000 + n), BLOCK);
        for (int i = 0; i < BLOCK; i++)
            CHECK(into[i] == 0); // a hole
    }
}

// More files than may be at hand at once, by turns, and closed and opened again.
TEST(many_files)
{
    char name[8];
    unsigned char *into = buffer(BLOCK);
    int fds[9];
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "f%d", i);
        make(name, i, 20 * BLOCK);
        fds[i] = OK(open(name, O_RDONLY));
    }
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < 9; i++) {
            for (int n = 0; n < 5; n++)
                read_all(fds[i], into, i, 20 * BLOCK);
            OK(close(fds[i]));
            snprintf(name, sizeof name, "f%d", i);
            fds[i] = OK(open(name, O_RDONLY));
        }
}

static void *reader(void *arg)
{
    unsigned me = (uintptr_t)arg, seed = 0;
    unsigned char *into = buffer(BLOCK);
    char name[8];
    for (int round = 0; round < 30; round++) {
        seed = (me + round) % 7;
        snprintf(name, sizeof name, "f%u", seed);
        int fd = OK(open(name, O_RDONLY));
        for (int n = 0; n < 8; n++) {
            EQ(pread(fd, into, BLOCK, n * 1000), BLOCK);
            CHECK(holds(into, BLOCK, seed, n * 1000));
        }
        OK(close(fd));
    }
    return arg;
}

TEST(threads_with_files_of_their_own)
{
    char name[8];
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "f%d", i);
        make(name, i, 2 * BLOCK);
    }
    pthread_t threads[5];
    for (uintptr_t i = 0; i < 5; i++)
        CHECK(!pthread_create(&threads[i], NULL, reader, (void *)i));
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
}

// One description, whose position several move: nobody gets what another one has.
static int shared_fd;
static char taken[200];
static void *taker(void *arg)
{
    unsigned char *into = buffer(BLOCK);
    for (;;) {
        ssize_t got = read(shared_fd, into, BLOCK);
        if (got == 0)
            return arg;
        EQ(got, BLOCK);
        EQ(__atomic_fetch_add(&taken[into[0]], 1, __ATOMIC_RELAXED), 0);
    }
}

TEST(a_position_that_is_shared)
{
    unsigned char *block = buffer(BLOCK);
    int fd = OK(open("f", O_CREAT | O_RDWR, 0644));
    for (int i = 0; i < 200; i++) {
        memset(block, i, BLOCK);
        EQ(write(fd, block, BLOCK), BLOCK);
    }
    shared_fd = OK(open("f", O_RDONLY));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&threads[i], NULL, taker, NULL));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 200; i++)
        EQ(taken[i], 1);
}

static volatile int alarms;
static void on_alarm(int sig) { alarms += sig == SIGALRM; }

TEST(signals_meanwhile)
{
    make("f", 5, BLOCKS * BLOCK);
    int fd = OK(open("f", O_RDONLY));
    unsigned char *into = buffer(BLOCKS * BLOCK);
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    OK(sigaction(SIGALRM, &act, NULL));
    struct itimerval often = {{0, 300}, {0, 300}};
    OK(setitimer(ITIMER_REAL, &often, NULL));
    for (int n = 0; n < 300 || (alarms == 0 && n < 10000); n++) {
        size_t len = BLOCK * (1 + n % BLOCKS);
        memset(into, 0, 64);
        EQ(pread(fd, into, len, 0), len);
        CHECK(holds(into, 64, 5, 0) && holds(into + len - 64, 64, 5, len - 64));
    }
    read_all(fd, into, 5, BLOCKS * BLOCK);
    CHECK(alarms > 0);
}

TEST(children_and_programs)
{
    make("f", 6, BLOCKS * BLOCK);
    make("g", 7, BLOCKS * BLOCK);
    int fd = OK(open("f", O_RDONLY)), other = OK(open("g", O_RDONLY));
    unsigned char *into = buffer(BLOCK);
    for (int n = 0; n < 5; n++) {
        read_all(fd, into, 6, BLOCKS * BLOCK);
        pid_t child = OK(fork());
        if (child == 0) {
            read_all(other, into, 7, BLOCKS * BLOCK);
            read_all(fd, into, 6, BLOCKS * BLOCK);
            _exit(0);
        }
        int status;
        OK(waitpid(child, &status, 0));
        EQ(status, 0);
        CHECK(holds(into, 64, 6, (BLOCKS - 1) * BLOCK));
    }
}

// A file of the image, by reads and by a mapping.
TEST(a_file_of_the_image)
{
    int fd = OK(open("/proc/self/exe", O_RDONLY));
    struct stat st;
    OK(fstat(fd, &st));
    unsigned char *map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), *into = buffer(BLOCK);
    CHECK(map != MAP_FAILED);
    for (int n = 0; n < 100; n++) {
        off_t at = (off_t)n * 4099 % st.st_size, there = st.st_size - at < BLOCK ? st.st_size - at : BLOCK;
        EQ(pread(fd, into, BLOCK, at), there);
        CHECK(!memcmp(into, map + at, there));
    }
}

// zero(4): all of the buffer, and of one that ends what is there.
TEST(the_device_of_zeros)
{
    size_t len = 16 * BLOCK;
    int fd = OK(open("/dev/zero", O_RDONLY));
    unsigned char *into = buffer(len + 4096);
    OK(munmap(into + len, 4096));
    for (int n = 0; n < 60; n++) {
        size_t skip = n * 68 % 8192;
        memset(into, 0xa5, len);
        EQ(read(fd, into + skip, len), len - skip);
        for (size_t at = 0; at < len; at++)
            if (into[at] != (at < skip ? 0xa5 : 0))
                EQ(at, len);
        EQ(lseek(fd, 0, SEEK_CUR), 0);
        FAILS(EFAULT, read(fd, into + len, BLOCK));
    }
}

static long blocks(int fd)
{
    struct stat st;
    OK(fsync(fd));
    OK(fstat(fd, &st));
    return st.st_blocks;
}

// What large writes took is given back in pages, and what was there is zeros.
TEST(parts_that_go)
{
    enum { SIZE = BLOCKS * BLOCK, KIB = 2 };
    make("f", 8, SIZE);
    int fd = OK(open("f", O_RDWR));
    unsigned char *into = buffer(SIZE), *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && holds(map, SIZE, 8, 0));
    EQ(blocks(fd), SIZE / 512);
    OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 << 12, 2 << 20));
    EQ(blocks(fd), SIZE / 512 - (2048 * KIB));
    EQ(pread(fd, into, SIZE, 0), SIZE);
    CHECK(holds(into, 5 << 12, 8, 0) && into[5 << 12] == 0 && into[(2 << 20) + (5 << 12) - 1] == 0);
    CHECK(!memcmp(map, into, SIZE) && holds(into + (2 << 20) + (5 << 12), 4096, 8, (2 << 20) + (5 << 12)));
    OK(ftruncate(fd, 5000));
    EQ(blocks(fd), 8 * KIB);
    OK(ftruncate(fd, SIZE));
    EQ(blocks(fd), 8 * KIB);
    CHECK(map[4999] == byte(8, 4999) && map[5000] == 0 && map[8191] == 0);
    EQ(pread(fd, into, SIZE, 0), SIZE);
    CHECK(into[4999] == byte(8, 4999) && into[5000] == 0 && into[SIZE - 1] == 0);
}

MAIN()
