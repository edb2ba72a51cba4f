// madvise, mlock and its limits, msync, mincore: madvise(2), mlock(2), msync(2), mincore(2).
#include "check.h"

#define P 4096
static char *anon(size_t size, int flags) { return OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0)); }

TEST(dontneed)
{
    char *p = anon(4 * P, MAP_PRIVATE);
    memset(p, 1, 4 * P);
    OK(madvise(p + P, 2 * P, MADV_DONTNEED));
    EQ(p[0], 1);
    EQ(p[P], 0);
    EQ(p[3 * P - 1], 0);
    EQ(p[3 * P], 1);
    char *s = anon(P, MAP_SHARED);
    s[0] = 1;
    OK(madvise(s, P, MADV_DONTNEED));
    EQ(s[0], 1); // shared memory keeps its contents
    FAILS(EINVAL, madvise(p + 1, P, MADV_DONTNEED));
    FAILS(EINVAL, madvise(p, P, 9999));
    OK(munmap(p + P, P));
    FAILS(ENOMEM, madvise(p, 4 * P, MADV_DONTNEED));
    EQ(p[2 * P], 0);
    OK(madvise(p, 0, MADV_DONTNEED));
}

TEST(dontneed_of_a_private_file)
{
    write_file("f", "hello");
    int fd = OK(open("f", O_RDWR));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    p[0] = 'J';
    STREQ(p, "Jello");
    OK(madvise(p, P, MADV_DONTNEED));
    STREQ(p, "hello");
}

TEST(free_)
{
    char *p = anon(4 * P, MAP_PRIVATE);
    memset(p, 1, 4 * P);
    OK(madvise(p, 4 * P, MADV_FREE));
    CHECK(p[P] == 0 || p[P] == 1);
    p[P] = 5;
    EQ(p[P], 5);
}

TEST(hints)
{
    char *p = anon(4 * P, MAP_PRIVATE);
    OK(madvise(p, 4 * P, MADV_NORMAL));
    OK(madvise(p, 4 * P, MADV_SEQUENTIAL));
    OK(madvise(p, 4 * P, MADV_RANDOM));
    OK(madvise(p, 4 * P, MADV_WILLNEED));
    OK(madvise(p, 4 * P, MADV_DONTDUMP));
    OK(madvise(p, 4 * P, MADV_DODUMP));
}

TEST(dontfork_and_wipeonfork)
{
    char *p = anon(P, MAP_PRIVATE), *q = anon(P, MAP_PRIVATE);
    p[0] = q[0] = 1;
    OK(madvise(p, P, MADV_DONTFORK));
    OK(madvise(q, P, MADV_WIPEONFORK));
    pid_t child = FORK({
        EQ(q[0], 0);
        unsigned char there;
        FAILS(ENOMEM, mincore(p, P, &there));
    });
    WAIT_OK(child);
    EQ(p[0], 1);
    EQ(q[0], 1);
    OK(madvise(p, P, MADV_DOFORK));
    OK(madvise(q, P, MADV_KEEPONFORK));
    child = FORK({
        EQ(q[0], 1);
        EQ(p[0], 1);
    });
    WAIT_OK(child);
}

TEST(lock_limits)
{
    if (getuid() == 0) {
        OK(setresuid(1000, 1000, 1000));
    }
    struct rlimit l = {4 * P, 4 * P};
    OK(setrlimit(RLIMIT_MEMLOCK, &l));
    char *p = anon(8 * P, MAP_PRIVATE);
    OK(mlock(p, 4 * P));
    OK(mlock(p, 4 * P)); // the same again counts once
    FAILS(ENOMEM, mlock(p, 5 * P));
    OK(munlock(p, 2 * P));
    OK(mlock(p + 4 * P, 2 * P));
    FAILS(EAGAIN, (long)mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
    FAILS(ENOMEM, mlockall(MCL_CURRENT));
    FAILS(EINVAL, mlockall(0));
    FAILS(EINVAL, mlockall(99));
    OK(munlockall());
    OK(munmap(p + P, P));
    FAILS(ENOMEM, mlock(p, 5 * P)); // too much, though a hole is no memory
    OK(mlock2(p, P, MLOCK_ONFAULT));
    OK(munlockall());
    l.rlim_cur = 0;
    OK(setrlimit(RLIMIT_MEMLOCK, &l));
    FAILS(EPERM, mlock(p, P));
    char text[4096];
    read_file("/proc/self/status", text, sizeof text);
    CHECK(strstr(text, "VmLck:\t       0 kB"));
}

TEST(lock_needs_a_mapping)
{
    char *p = anon(2 * P, MAP_PRIVATE);
    OK(munmap(p + P, P));
    FAILS(ENOMEM, mlock(p, 2 * P));
}

TEST(incore)
{
    char *p = anon(4 * P, MAP_PRIVATE);
    unsigned char there[4];
    OK(mincore(p, 4 * P, there));
    for (int i = 0; i < 4; i++)
        EQ(there[i] & 1, 0);
    p[2 * P] = 1;
    OK(mincore(p, 4 * P, there));
    EQ(there[2] & 1, 1);
    FAILS(EINVAL, mincore(p + 1, P, there));
    OK(munmap(p, P));
    FAILS(ENOMEM, mincore(p, 4 * P, there));
    FAILS(EFAULT, mincore(p + P, P, (unsigned char *)8));
}

TEST(sync)
{
    write_file("f", "abcdef");
    int fd = OK(open("f", O_RDWR));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    p[0] = 'X';
    OK(msync(p, P, MS_SYNC));
    OK(msync(p, P, MS_ASYNC | MS_INVALIDATE));
    FAILS(EINVAL, msync(p, P, MS_SYNC | MS_ASYNC));
    FAILS(EINVAL, msync(p + 1, P, MS_SYNC));
    FAILS(EINVAL, msync(p, P, 0x80));
    OK(munmap(p, P));
    FAILS(ENOMEM, msync(p, P, MS_SYNC));
    char c;
    EQ(pread(fd, &c, 1, 0), 1);
    EQ(c, 'X');
}

TEST(process_madvise_is_known_or_refused)
{
    long r = syscall(440, -1, NULL, 0, 0, 0);
    CHECK(r == -1 && (errno == ENOSYS || errno == EBADF || errno == EINVAL));
}

TEST(membarrier)
{
    int r = syscall(SYS_membarrier, 0, 0, 0);
    CHECK(r > 0 || (r == -1 && errno == ENOSYS));
    if (r > 0) {
        FAILS(EINVAL, syscall(SYS_membarrier, 1 << 20, 0, 0));
        if (r & 1 << 4) { // MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
            OK(syscall(SYS_membarrier, 1 << 4, 0, 0));
            OK(syscall(SYS_membarrier, 1 << 3, 0, 0));
        }
    }
}

static bool is_locked(void *at)
{
    char text[200], start[40], kb[20];
    snprintf(start, sizeof start, "%lx-", (long)at);
    bool here = false;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (smaps && fgets(text, sizeof text, smaps)) {
        if (strncmp(text, start, strlen(start)) == 0)
            here = true;
        if (here && sscanf(text, "VmFlags: %19s", kb) == 1) {
            fclose(smaps);
            return strstr(text, " lo") != NULL;
        }
    }
    FAIL("no map begins there");
}
TEST(locks_reach_to_the_first_hole)
{
    char *p = (char *)0x300000000;
    OK(mmap(p, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    OK(munmap(p + 2 * P, P));
    FAILS(ENOMEM, mlock(p, 4 * P));
    CHECK(is_locked(p));
    CHECK(!is_locked(p + 3 * P));
    FAILS(ENOMEM, munlock(p, 4 * P));
    CHECK(!is_locked(p));
    // What cannot be faulted in cannot be locked, but for its flag.
    OK(mprotect(p + P, P, PROT_NONE));
    FAILS(ENOMEM, mlock(p, 2 * P));
    CHECK(is_locked(p + P));
    OK(munlock(p, 2 * P));
    OK(mlock2(p, 2 * P, MLOCK_ONFAULT));
    OK(ftruncate(OK(open("f", O_RDWR | O_CREAT, 0600)), P));
    char *q = OK(mmap(NULL, 2 * P, PROT_READ, MAP_SHARED, OK(open("f", O_RDWR)), 0));
    FAILS(ENOMEM, mlock(q, 2 * P)); // beyond the end
}

TEST(remove_needs_a_shared_map_that_may_be_written)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 2 * P));
    EQ(pwrite(fd, "x", 1, 0), 1);
    char *p = OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, fd, 0));
    FAILS(EACCES, madvise(p, P, MADV_REMOVE));
    char *r = OK(mmap(NULL, P, PROT_READ, MAP_SHARED, OK(open("f", O_RDONLY)), 0));
    FAILS(EACCES, madvise(r, P, MADV_REMOVE));
    FAILS(EINVAL, madvise(anon(P, MAP_PRIVATE), P, MADV_REMOVE));
}

TEST(populating_ends_at_a_hole)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    char *p = (char *)0x300000000;
    OK(mmap(p, 3 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    OK(mmap(p + 2 * P, P, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0)); // of an empty file
    OK(munmap(p, P));
    FAILS(ENOMEM, madvise(p, 3 * P, MADV_POPULATE_READ));
    FAILS(EFAULT, madvise(p + P, 2 * P, MADV_POPULATE_READ));
}

MAIN()
