// mmap in all its kinds, munmap, mprotect, mremap: mmap(2), mprotect(2), mremap(2).
#include "check.h"
#include <setjmp.h>

#define P 4096
static void *anon(size_t size, int flags)
{
    return OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0));
}
static sigjmp_buf back;
static void jump(int signal) { siglongjmp(back, signal); }
// The signal that touching an address raises; 0 for none.
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
// Whether /proc/self/maps has exactly this range with these rights.
static bool has_range(void *from, size_t size, const char *rights)
{
    char wanted[80];
    snprintf(wanted, sizeof wanted, "%lx-%lx %s ", (long)from, (long)from + size, rights);
    static char text[65536];
    read_file("/proc/self/maps", text, sizeof text);
    return strstr(text, wanted) != NULL;
}

TEST(private_anonymous)
{
    char *p = anon(8 * P, MAP_PRIVATE);
    EQ((long)p % P, 0);
    for (int i = 0; i < 8 * P; i += 511)
        EQ(p[i], 0);
    memset(p, 7, 8 * P);
    pid_t child = FORK({
        EQ(p[P], 7);
        p[P] = 8;
    });
    WAIT_OK(child);
    EQ(p[P], 7);
    OK(munmap(p, 8 * P));
    EQ(touch(p, false), SIGSEGV);
}

TEST(shared_anonymous)
{
    int *p = anon(P, MAP_SHARED);
    pid_t child = FORK({ p[3] = 42; });
    WAIT_OK(child);
    EQ(p[3], 42);
    pid_t grandparent = FORK({
        pid_t c = FORK({ p[4] = 43; });
        WAIT_OK(c);
    });
    WAIT_OK(grandparent);
    EQ(p[4], 43);
}

TEST(errors)
{
    FAILS(EINVAL, (long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    FAILS(EINVAL, (long)mmap(NULL, P, PROT_READ, MAP_ANONYMOUS, -1, 0)); // neither shared nor private
    FAILS(EBADF, (long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, -1, 0));
    FAILS(EINVAL, (long)mmap(NULL, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 100));
    FAILS(EINVAL, (long)mmap((void *)0x10001, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    FAILS(ENOMEM, (long)mmap(NULL, 1ul << 48, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    FAILS(ENOMEM, (long)mmap((void *)0xffff800000000000, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    int p[2];
    OK(pipe(p));
    FAILS(ENODEV, (long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, p[0], 0));
    int fd = OK(open("f", O_RDONLY | O_CREAT, 0600));
    FAILS(EACCES, (long)mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    int w = OK(open("f", O_WRONLY));
    FAILS(EACCES, (long)mmap(NULL, P, PROT_WRITE, MAP_SHARED, w, 0));
    int dir = OK(open(".", O_RDONLY));
    FAILS(ENODEV, (long)mmap(NULL, P, PROT_READ, MAP_PRIVATE, dir, 0));
    FAILS(EINVAL, munmap((void *)1, P));
    FAILS(EINVAL, munmap((void *)P, 0));
    FAILS(EOVERFLOW, (long)mmap(NULL, 2 * P, PROT_READ, MAP_PRIVATE, fd, -P));
}

TEST(fixed_replaces)
{
    char *p = anon(3 * P, MAP_PRIVATE);
    memset(p, 1, 3 * P);
    EQ((long)mmap(p + P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), (long)(p + P));
    EQ(p[P], 0);
    EQ(p[0], 1);
    EQ(p[2 * P], 1);
    EQ(touch(p + P, true), SIGSEGV);
}

TEST(fixed_noreplace)
{
    char *p = anon(3 * P, MAP_PRIVATE);
    FAILS(EEXIST, (long)mmap(p + P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    OK(munmap(p + P, P));
    EQ((long)mmap(p + P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), (long)(p + P));
}

TEST(hint)
{
    char *p = anon(P, MAP_PRIVATE);
    OK(munmap(p, P));
    EQ((long)mmap(p, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), (long)p);
    CHECK(mmap(p, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != p); // taken: elsewhere
    p = (char *)0x300000000;
    CHECK(mmap(p + 123, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p); // rounded down
}

TEST(low_addresses_are_refused)
{
    char least[32];
    read_file("/proc/sys/vm/mmap_min_addr", least, sizeof least);
    if (atol(least) <= P)
        SKIP("mmap_min_addr lets all pages be mapped");
    if (getuid() == 0)
        OK(setresuid(1000, 1000, 1000));
    FAILS(EPERM, (long)mmap((void *)P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

TEST(thirty_two_bit)
{
    char *p = anon(P, MAP_PRIVATE | MAP_32BIT);
    CHECK((unsigned long)p < 1ul << 32);
    p[0] = 1;
}

TEST(holes_in_munmap)
{
    char *p = anon(5 * P, MAP_PRIVATE);
    OK(munmap(p + P, P));
    OK(munmap(p + 3 * P, P));
    EQ(touch(p, true), 0);
    EQ(touch(p + P, false), SIGSEGV);
    EQ(touch(p + 2 * P, true), 0);
    OK(munmap(p, 5 * P)); // holes do not matter
    EQ(touch(p + 4 * P, false), SIGSEGV);
    OK(munmap(p, 5 * P)); // nor does nothing at all
}

TEST(protect)
{
    char *p = anon(4 * P, MAP_PRIVATE);
    memset(p, 3, 4 * P);
    OK(mprotect(p + P, P, PROT_READ));
    EQ(touch(p + P, true), SIGSEGV);
    EQ(touch(p + P, false), 0);
    EQ(touch(p + 2 * P, true), 0);
    CHECK(has_range(p + P, P, "r--p"));
    OK(mprotect(p + P, P, PROT_NONE));
    EQ(touch(p + P, false), SIGSEGV);
    OK(mprotect(p, 4 * P, PROT_READ | PROT_WRITE));
    EQ(p[P], 3); // the contents are still there
    FAILS(EINVAL, mprotect(p + 1, P, PROT_READ));
    OK(munmap(p + 2 * P, P));
    FAILS(ENOMEM, mprotect(p, 4 * P, PROT_READ));
    EQ(touch(p, true), SIGSEGV); // what comes before the hole has changed
    OK(mprotect(p, 0, PROT_READ));
    FAILS(EINVAL, mprotect(p, P, 0x1000000));
}

TEST(protect_of_files)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, P));
    int ro = OK(open("f", O_RDONLY));
    char *p = OK(mmap(NULL, P, PROT_READ, MAP_SHARED, ro, 0));
    FAILS(EACCES, mprotect(p, P, PROT_READ | PROT_WRITE));
    char *q = OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, ro, 0));
    OK(mprotect(q, P, PROT_READ | PROT_WRITE));
    q[0] = 1;
    EQ(p[0], 0);
}

TEST(execute)
{
    unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; // mov $42, %eax; ret
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memcpy(p, code, sizeof code);
    EQ(((int (*)(void))p)(), 42);
    p[1] = 43; // code that changes itself
    EQ(((int (*)(void))p)(), 43);
    OK(mprotect(p, P, PROT_READ | PROT_EXEC));
    EQ(((int (*)(void))p)(), 43);
}

TEST(code_that_makes_calls)
{
    // A system call from freshly made code, moved and changed: JIT compilers do this.
    unsigned char code[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3}; // mov $nr, %eax; syscall; ret
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memcpy(p + 5, code, sizeof code);
    for (int i = 0; i < 300; i++)
        EQ(((long (*)(void))(p + 5))(), getppid());
    p[6] = SYS_getpid;
    for (int i = 0; i < 300; i++)
        EQ(((long (*)(void))(p + 5))(), getpid());
    EQ((unsigned char)p[10], 0x0f);
    EQ((unsigned char)p[11], 0x05);
}

TEST(merge_and_split_in_maps)
{
    char *p = anon(6 * P, MAP_PRIVATE);
    OK(mprotect(p, P, PROT_NONE));
    OK(mprotect(p + 5 * P, P, PROT_NONE));
    CHECK(has_range(p + P, 4 * P, "rw-p"));
    OK(mprotect(p + 2 * P, P, PROT_READ));
    CHECK(has_range(p + P, P, "rw-p") && has_range(p + 2 * P, P, "r--p") && has_range(p + 3 * P, 2 * P, "rw-p"));
    OK(mprotect(p + 2 * P, P, PROT_READ | PROT_WRITE));
    CHECK(has_range(p + P, 4 * P, "rw-p")); // merged again
}

TEST(remap_grows_in_place_or_moves)
{
    char *p = anon(16 * P, MAP_PRIVATE);
    memset(p, 5, 4 * P);
    OK(munmap(p + 2 * P, 14 * P));
    EQ((long)mremap(p, 2 * P, 4 * P, 0), (long)p);
    EQ(p[2 * P - 1], 5);
    EQ(p[2 * P], 0);
    OK(mmap(p + 4 * P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    FAILS(ENOMEM, (long)mremap(p, 4 * P, 8 * P, 0));
    char *q = OK(mremap(p, 4 * P, 8 * P, MREMAP_MAYMOVE));
    CHECK(q != p);
    EQ(q[0], 5);
    EQ(q[7 * P], 0);
    EQ(touch(p, false), SIGSEGV);
    EQ((long)mremap(q, 8 * P, P, 0), (long)q); // shrinks
    EQ(touch(q + P, false), SIGSEGV);
}

TEST(remap_fixed)
{
    char *p = anon(2 * P, MAP_PRIVATE), *q = anon(4 * P, MAP_PRIVATE);
    memset(p, 1, 2 * P), memset(q, 2, 4 * P);
    EQ((long)mremap(p, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, q + P), (long)(q + P));
    EQ(q[0], 2);
    EQ(q[P], 1);
    EQ(q[3 * P - 1], 1);
    EQ(q[3 * P], 2);
    FAILS(EINVAL, (long)mremap(q, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, q + P)); // overlap
    FAILS(EINVAL, (long)mremap(q, 2 * P, 2 * P, MREMAP_FIXED, p));
    FAILS(EFAULT, (long)mremap(p, P, 2 * P, MREMAP_MAYMOVE));
    FAILS(EINVAL, (long)mremap(q + 1, P, P, MREMAP_MAYMOVE));
    FAILS(EINVAL, (long)mremap(q, P, 0, MREMAP_MAYMOVE));
}

TEST(remap_duplicates_shared)
{
    char *p = anon(P, MAP_SHARED);
    char *q = OK(mremap(p, 0, P, MREMAP_MAYMOVE));
    CHECK(q != p);
    p[7] = 9;
    EQ(q[7], 9);
}

TEST(remap_dontunmap)
{
    char *p = anon(2 * P, MAP_PRIVATE);
    memset(p, 4, 2 * P);
    char *q = (char *)syscall(SYS_mremap, p, 2 * P, 2 * P, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, 0);
    if (q == MAP_FAILED)
        FAIL("mremap: %s", strerror(errno));
    EQ(q[P], 4);
    EQ(p[P], 0);
}

TEST(remap_of_a_file)
{
    write_file("f", "");
    int fd = OK(open("f", O_RDWR));
    OK(ftruncate(fd, 4 * P));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, P));
    p[0] = 'x';
    char *q = OK(mremap(p, P, 3 * P, MREMAP_MAYMOVE));
    EQ(q[0], 'x');
    q[2 * P] = 'y';
    char c;
    EQ(pread(fd, &c, 1, 3 * P), 1);
    EQ(c, 'y');
}

TEST(grows_down)
{
    char *top = OK(mmap(NULL, 64 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    OK(munmap(top, 64 * P));
    char *p = mmap(top + 40 * P, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    CHECK(p == top + 40 * P);
    EQ(touch(p + P, true), 0);
    EQ(touch(p, true), 0);
    EQ(touch(p - 100, true), 0); // one below: grows
    EQ(touch(p - P - 100, true), 0);
}

TEST(many_mappings)
{
    // 2,000 pages with rights in turn, which cannot merge.
    char *p = anon(4000 * P, MAP_PRIVATE);
    for (int i = 0; i < 4000; i += 2)
        OK(mprotect(p + i * P, P, PROT_READ));
    for (int i = 1; i < 4000; i += 2)
        p[i * P] = 1;
    EQ(touch(p + 2000 * P, true), SIGSEGV);
    OK(munmap(p, 4000 * P));
}

TEST(populate_and_noreserve)
{
    char *p = anon(16 * P, MAP_PRIVATE | MAP_POPULATE);
    unsigned char there[16];
    OK(mincore(p, 16 * P, there));
    for (int i = 0; i < 16; i++)
        EQ(there[i] & 1, 1);
    char *big = OK(mmap(NULL, 1ul << 38, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    big[1ul << 37] = 1;
    EQ(big[0], 0);
}

TEST(shared_zero)
{
    int fd = OK(open("/dev/zero", O_RDWR));
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    pid_t child = FORK({ p[0] = 5; });
    WAIT_OK(child);
    EQ(p[0], 5);
    char *q = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    EQ(q[0], 0);
}

TEST(brk)
{
    char *start = sbrk(0);
    CHECK(sbrk(10 * P) == start);
    memset(start, 1, 10 * P);
    CHECK(sbrk(-5 * P) == start + 10 * P);
    EQ(touch(start + 4 * P, true), 0);
    EQ(touch(start + 8 * P, true), SIGSEGV);
    OK((long)sbrk(5 * P));
    EQ(start[8 * P], 0); // fresh
    // raw: a wish that cannot be met returns the old break
    EQ(syscall(SYS_brk, 0), syscall(SYS_brk, 1));
}

TEST(maps_names_stack_and_heap)
{
    free(malloc(100000));
    CHECK((long)sbrk(P) != -1);
    static char text[65536];
    read_file("/proc/self/maps", text, sizeof text);
    CHECK(strstr(text, "[stack]"));
    CHECK(strstr(text, "[heap]"));
    CHECK(strstr(text, "[vdso]"));
}

static char *volatile wished;
static volatile bool enough;
static void *wish(void *arg)
{
    (void)arg;
    while (!enough) {
        char *at = wished, *got = mmap(at, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED)
            return "no memory";
        memset(got, 1, 65536);
        if (munmap(got, 65536))
            return "munmap";
    }
    return NULL;
}

// A wish takes no place that another thread has got meanwhile.
TEST(wishes_beside_other_maps)
{
    pthread_t thread;
    wished = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(munmap(wished, 65536));
    ZERO(pthread_create(&thread, NULL, wish, NULL));
    for (int64_t end = now_ns(CLOCK_MONOTONIC) + 200000000; now_ns(CLOCK_MONOTONIC) < end;) {
        char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED);
        wished = p;
        memset(p, 2, 65536);
        for (int round = 0; round < 20; round++)
            for (int i = 0; i < 65536; i += 4096)
                EQ(p[i], 2);
        OK(munmap(p, 65536));
    }
    enough = true;
    void *what;
    ZERO(pthread_join(thread, &what));
    CHECK(!what);
}

TEST(remap_where_the_target_is_looked_at_first)
{
    char *p = OK(mmap(NULL, 16 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(munmap(p, P));
    FAILS(EINVAL, (long)mremap(p, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, p)); // upon itself, where nothing is
    FAILS(EINVAL, (long)mremap(p, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, p + 4 * P + 1));
    FAILS(EFAULT, (long)mremap(p, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, p + 4 * P));
    FAILS(EINVAL, (long)mremap(p + P, P, P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, p + P));
    OK(munmap(p + 8 * P, P));
    p[P] = 5;
    FAILS(EINVAL, (long)mremap(p + P, 0, P, 0)); // private memory cannot be had twice
    char *wish = p + 8 * P;
    CHECK(mremap(p + P, P - 5, P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, wish) == wish); // a wish for free space is granted
    EQ(wish[0], 5);
    EQ(p[P], 0);
}

TEST(a_place_that_is_taken_before_what_is_wrong_else)
{
    char *p = OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    FAILS(EEXIST, (long)mmap(p, P, PROT_READ, MAP_FIXED_NOREPLACE | MAP_ANONYMOUS, -1, 0)); // neither private nor shared
    FAILS(EINVAL, (long)mmap(p, P, PROT_READ, MAP_FIXED | MAP_ANONYMOUS, -1, 0));
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    FAILS(ENOMEM, (long)mmap(p, 1ul << 63, PROT_READ, MAP_FIXED | MAP_SHARED, fd, P));
    FAILS(ENOMEM, (long)mmap(p, -1ul, PROT_READ, MAP_FIXED | MAP_SHARED, fd, P));
    FAILS(ENOMEM, (long)mmap(p, -(size_t)P, PROT_READ, MAP_FIXED | MAP_SHARED, fd, P));
}

MAIN()
