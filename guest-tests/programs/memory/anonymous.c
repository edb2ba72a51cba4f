// Private anonymous memory as allocators use it, and what the kernel knows of it: mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), proc_pid_maps(5).
#include "check.h"

#ifndef __NR_mseal
#define __NR_mseal 462
#endif

static const size_t page = 4096;

static char *map(size_t len, int prot) {
    char *at = mmap(0, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

// The line of /proc/self/maps that holds `at`: its permissions, and whether a path contains `name`. 0: there is none.
static int line_at(const void *at, char permissions[5], const char *name) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    int found = 0;
    while (!found && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        CHECK(sscanf(line, "%lx-%lx %4s", &from, &to, permissions) == 3);
        if (from <= (unsigned long)at && (unsigned long)at < to)
            found = name && strstr(line, name) ? 2 : 1;
    }
    fclose(maps);
    return found;
}

TEST(maps_shows_it_at_once) {
    char rights[5];
    char *at = map(8 * page, PROT_READ | PROT_WRITE);
    EQ(line_at(at + page, rights, 0), 1);
    CHECK(!strcmp(rights, "rw-p"));
    OK(mprotect(at + page, page, PROT_NONE));
    EQ(line_at(at + page, rights, 0), 1);
    CHECK(!strcmp(rights, "---p"));
    OK(munmap(at + 4 * page, page));
    EQ(line_at(at + 4 * page, rights, 0), 0);
    EQ(line_at(at + 5 * page, rights, 0), 1);
}

TEST(reading_into_what_is_protected_loses_nothing) {
    int ends[2];
    char *at = map(2 * page, PROT_NONE), got[4];
    OK(pipe(ends));
    EQ(write(ends[1], "abc", 3), 3);
    FAILS(EFAULT, read(ends[0], at, 3));
    FAILS(EFAULT, write(ends[1], at, 3));
    OK(mprotect(at, page, PROT_READ));
    FAILS(EFAULT, read(ends[0], at, 3));
    OK(munmap(at, page));
    FAILS(EFAULT, read(ends[0], at, 3));
    EQ(read(ends[0], got, 3), 3);
    CHECK(!memcmp(got, "abc", 3));
}

TEST(an_area_keeps_its_name_until_it_goes) {
    char rights[5];
    char *at = map(page, PROT_READ);
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, page, "mine") < 0 && errno == EINVAL)
        SKIP("this kernel has no names for anonymous memory");
    EQ(line_at(at, rights, "[anon:mine]"), 2);
    OK(munmap(at, page));
    CHECK(line_at(at, rights, "[anon:mine]") != 2);
}

TEST(a_file_over_it_goes_with_it) {
    char rights[5];
    int fd = OK(open("covered", O_CREAT | O_RDWR, 0600));
    OK(ftruncate(fd, 4 * page));
    char *at = map(8 * page, PROT_READ | PROT_WRITE);
    EQ(mmap(at + 2 * page, 2 * page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, page), at + 2 * page);
    EQ(line_at(at + 3 * page, rights, "covered"), 2);
    CHECK(!strcmp(rights, "r--s"));
    EQ(mmap(at + 3 * page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), at + 3 * page);
    at[3 * page] = 1;
    EQ(line_at(at + 3 * page, rights, "covered"), 1);
    EQ(line_at(at + 2 * page, rights, "covered"), 2);
    OK(munmap(at, 8 * page));
    EQ(line_at(at + 2 * page, rights, 0), 0);
}

TEST(a_wish_for_free_space_is_granted) {
    char *at = map(4 * page, PROT_READ);
    OK(munmap(at + page, 2 * page));
    EQ(mmap(at + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), at + page);
    // Taken: elsewhere, or an error.
    CHECK(mmap(at + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != at + page);
    EQ(mmap(at + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), MAP_FAILED);
    EQ(errno, EEXIST);
}

TEST(growing_moves_the_contents) {
    char *at = map(2 * page, PROT_READ | PROT_WRITE);
    memset(at, 7, 2 * page);
    char *to = mremap(at, 2 * page, 4096 * page, MREMAP_MAYMOVE);
    CHECK(to != MAP_FAILED);
    EQ(to[2 * page - 1], 7);
    EQ(to[2 * page], 0);
    EQ(mremap(to, 4096 * page, page, 0), to);
    FAILS(EFAULT, open(to + page, O_RDONLY));
    char *place = map(8 * page, PROT_NONE);
    EQ(mremap(to, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, place + page), place + page);
    EQ(place[page], 7);
    EQ(mremap(place + 8 * page + (1l << 40), page, page, MREMAP_MAYMOVE), MAP_FAILED);
    EQ(errno, EFAULT);
}

TEST(a_large_range_comes_and_goes) {
    char rights[5];
    size_t len = 6ul << 30;
    char *at = mmap(0, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    OK(mprotect(at + len / 2, page, PROT_READ | PROT_WRITE));
    at[len / 2] = 1;
    OK(munmap(at, len));
    EQ(line_at(at + len / 2, rights, 0), 0);
}

TEST(address_space_has_its_limit) {
    struct rlimit limit;
    OK(getrlimit(RLIMIT_AS, &limit));
    limit.rlim_cur = 256 << 20;
    OK(setrlimit(RLIMIT_AS, &limit));
    char *all[64];
    int count = 0;
    while (count < 64 && (all[count] = mmap(0, 16 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
        count++;
    CHECK(count >= 10 && count <= 16);
    EQ(errno, ENOMEM);
    OK(munmap(all[0], 16 << 20));
    map(8 << 20, PROT_READ);
    // A file's mapping counts likewise.
    EQ(mmap(0, 64 << 20, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    EQ(errno, ENOMEM);
}

TEST(data_has_its_limit_and_children_inherit_it) {
    struct rlimit limit;
    OK(getrlimit(RLIMIT_DATA, &limit));
    limit.rlim_cur = 64 << 20;
    OK(setrlimit(RLIMIT_DATA, &limit));
    EQ(mmap(0, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    EQ(errno, ENOMEM);
    char *at = map(128 << 20, PROT_READ);
    FAILS(ENOMEM, mprotect(at, 128 << 20, PROT_READ | PROT_WRITE));
    int child = OK(fork());
    if (!child)
        _exit(mmap(0, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_DATA, &limit));
    map(128 << 20, PROT_READ | PROT_WRITE);
}

TEST(sealed_memory_stays) {
    char *at = map(2 * page, PROT_READ);
    if (syscall(__NR_mseal, at, page, 0) < 0 && errno == ENOSYS)
        SKIP("this kernel has no mseal");
    FAILS(EPERM, munmap(at, 2 * page));
    FAILS(EPERM, mprotect(at, page, PROT_READ | PROT_WRITE));
    EQ(mremap(at, page, 2 * page, MREMAP_MAYMOVE), MAP_FAILED);
    EQ(errno, EPERM);
    OK(mprotect(at + page, page, PROT_READ | PROT_WRITE));
    // The next program begins with a map of its own all the same.
    int child = OK(fork());
    if (!child) {
        execl("/bin/true", "true", (char *)0);
        _exit(127);
    }
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
}

TEST(dropped_pages_read_zero) {
    char *at = map(2 * page, PROT_READ | PROT_WRITE);
    memset(at, 1, 2 * page);
    OK(madvise(at, page, MADV_DONTNEED));
    EQ(at[0], 0);
    EQ(at[page], 1);
    OK(munmap(at + page, page));
    FAILS(ENOMEM, madvise(at, 2 * page, MADV_DONTNEED));
    FAILS(EINVAL, madvise(at, page, 12345));
    FAILS(EINVAL, munmap(at + 1, page));
    FAILS(ENOMEM, mprotect(at, 2 * page, PROT_READ));
}

TEST(what_is_left_out_of_forks_stays_out) {
    char *at = map(page, PROT_READ | PROT_WRITE);
    OK(madvise(at, page, MADV_DONTFORK));
    int child = OK(fork());
    if (!child) {
        char rights[5];
        _exit(line_at(at, rights, 0));
    }
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
}

MAIN()
