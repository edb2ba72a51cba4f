// Files of a process about its memory: proc_pid_pagemap(5), proc_pid_map_files(5), proc_pid_coredump_filter(5); its children and waits.
#include "check.h"
#include <dirent.h>
#include <sys/mman.h>

static char text[1 << 16];

static uint64_t page_flags(int fd, const void *at)
{
    uint64_t entry;
    EQ(pread(fd, &entry, 8, (uintptr_t)at / 4096 * 8), 8);
    return entry;
}

TEST(pagemap)
{
    int fd = OK(open("/proc/self/pagemap", O_RDONLY));
    char *p = mmap(NULL, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    OK(madvise(p, 16 << 12, MADV_NOHUGEPAGE));
    p[0x3000] = 1;
    const uint64_t present = 1ull << 63, file = 1ull << 61;
    EQ(page_flags(fd, p) & present, 0);
    EQ(page_flags(fd, p + 0x3000) & (present | file), present);
    uint64_t many[16];
    EQ(pread(fd, many, sizeof many, (uintptr_t)p / 4096 * 8), sizeof many);
    for (int i = 0; i < 16; i++)
        EQ(many[i] & present, i == 3 ? present : 0);
    OK(munmap(p, 16 << 12));
    EQ(page_flags(fd, p + 0x3000), 0);
    FAILS(EINVAL, pread(fd, many, 7, 0));
    FAILS(EINVAL, pread(fd, many, 8, 4));
    // Code comes from a file.
    EQ(page_flags(fd, (void *)page_flags) & (present | file), present | file);
}

TEST(map_files)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 8192));
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    strcpy(p, "mapped");
    char name[60], path[100], link[200], wanted[200];
    snprintf(name, sizeof name, "%lx-%lx", (long)p, (long)p + 8192);
    snprintf(path, sizeof path, "/proc/self/map_files/%s", name);
    DIR *d = opendir("/proc/self/map_files");
    CHECK(d);
    bool found = false;
    struct dirent *e;
    while ((e = readdir(d)))
        found |= !strcmp(e->d_name, name);
    CHECK(found);
    closedir(d);
    CHECK(getcwd(wanted, sizeof wanted - 2));
    strcat(wanted, "/f");
    link[OK(readlink(path, link, sizeof link - 1))] = 0;
    STREQ(link, wanted);
    int again = OK(open(path, O_RDONLY));
    EQ(read(again, link, 6), 6);
    CHECK(!memcmp(link, "mapped", 6));
    struct stat st;
    OK(lstat(path, &st));
    EQ(st.st_mode, S_IFLNK | 0600);
    OK(munmap(p, 4096));
    FAILS(ENOENT, lstat(path, &st));
}

TEST(coredump_filter)
{
    read_file("/proc/self/coredump_filter", text, sizeof text);
    STREQ(text, "00000033\n");
    int fd = OK(open("/proc/self/coredump_filter", O_WRONLY));
    EQ(write(fd, "0x7f\n", 5), 5);
    FAILS(EINVAL, write(fd, "x", 1));
    read_file("/proc/self/coredump_filter", text, sizeof text);
    STREQ(text, "0000007f\n");
    WAIT_OK(FORK({
        read_file("/proc/self/coredump_filter", text, sizeof text);
        STREQ(text, "0000007f\n");
    }));
}

TEST(children_and_stack)
{
    pid_t child = FORK({ pause(); });
    char path[80], wanted[40];
    FAILS(ENOENT, access("/proc/self/children", F_OK));
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    if (!access(path, F_OK)) {
        read_file(path, text, sizeof text);
        snprintf(wanted, sizeof wanted, "%d ", child);
        STREQ(text, wanted);
    }
    snprintf(path, sizeof path, "/proc/%d/stack", child);
    if (!access(path, F_OK)) {
        OK(kill(child, 0));
        EVENTUALLY((read_file(path, text, sizeof text), !strncmp(text, "[<0>] ", 6)));
    }
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(a_folder_of_proc_as_a_pidfd)
{
    pid_t child = FORK({ pause(); });
    char path[60];
    snprintf(path, sizeof path, "/proc/%d", child);
    int dir = OK(open(path, O_RDONLY | O_DIRECTORY));
    OK(syscall(SYS_pidfd_send_signal, dir, 0, NULL, 0));
    OK(syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0));
    WAIT_STATUS(child, KILLED(SIGKILL));
    FAILS(ESRCH, syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0));
    int other = OK(open("/proc/self/task", O_RDONLY | O_DIRECTORY));
    FAILS(EBADF, syscall(SYS_pidfd_send_signal, other, 0, NULL, 0));
}

static long status_kb(const char *name)
{
    read_file("/proc/self/status", text, sizeof text);
    char *line = strstr(text, name);
    CHECK(line);
    return atol(line + strlen(name) + 1);
}

TEST(clear_refs)
{
    int fd = OK(open("/proc/self/clear_refs", O_WRONLY));
    size_t size = 8 << 20;
    char *p = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), *referenced;
    memset(p, 1, size);
    EQ(write(fd, "1\n", 2), 2);
    char start[32];
    sprintf(start, "%lx-", (long)p);
    static char smaps[1 << 17];
    read_file("/proc/self/smaps", smaps, sizeof smaps);
    char *line = strstr(smaps, start);
    CHECK(line && (referenced = strstr(line, "Referenced:")));
    CHECK(atol(referenced + 11) < 1024);
    OK(munmap(p, size));
    long peak = status_kb("VmHWM");
    EQ(write(fd, "5", 1), 1);
    CHECK(status_kb("VmHWM") < peak - 6 * 1024);
    for (int i = 2; i <= 4; i++) {
        char digit = '0' + i;
        int r = write(fd, &digit, 1);
        CHECK(r == 1 || (i == 4 && errno == EINVAL)); // a host without soft-dirty bits
    }
    FAILS(EINVAL, write(fd, "0", 1));
    FAILS(EINVAL, write(fd, "6", 1));
    FAILS(EINVAL, write(fd, "x", 1));
    char c;
    int in = open("/proc/self/clear_refs", O_RDONLY);
    if (in >= 0)
        FAILS(EINVAL, read(in, &c, 1));
}

TEST(schedstat)
{
    unsigned long long ran, waited, times, before;
    char path[64];
    sprintf(path, "/proc/self/task/%d/schedstat", gettid());
    for (int round = 0; round < 2; round++) {
        const char *file = round ? path : "/proc/self/schedstat";
        read_file(file, text, sizeof text);
        EQ(sscanf(text, "%llu %llu %llu\n", &before, &waited, &times), 3);
        CHECK(times > 0);
        uint64_t until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 20000000;
        while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until) {
        }
        read_file(file, text, sizeof text);
        EQ(sscanf(text, "%llu %llu %llu\n", &ran, &waited, &times), 3);
        CHECK(ran >= before + 15000000 && ran < before + 5000000000);
    }
    status_kb("nonvoluntary_ctxt_switches");
}
// The flags of the map that begins at an address.
static const char *flags_of(void *at)
{
    static char text[1 << 17];
    char start[40];
    read_file("/proc/self/smaps", text, sizeof text);
    snprintf(start, sizeof start, "\n%lx-", (long)at);
    char *line = strstr(text, start), *flags = line ? strstr(line, "VmFlags:") : NULL;
    CHECK(flags);
    flags[strcspn(flags, "\n")] = 0;
    return flags;
}
#define HAS(flag) (strstr(flags, " " flag) != NULL)
TEST(flags_of_maps)
{
    char *at = (char *)0x300000000;
    write_file("f", "x");
    OK(mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, OK(open("f", O_RDWR)), 0));
    const char *flags = flags_of(at);
    CHECK(HAS("rd") && HAS("wr") && !HAS("ex") && HAS("sh") && HAS("mr") && HAS("mw") && HAS("ms") && !HAS("lo"));
    // One that can never be written is none that is shared.
    OK(mmap(at, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, OK(open("f", O_RDONLY)), 0));
    flags = flags_of(at);
    CHECK(HAS("rd") && !HAS("wr") && !HAS("sh") && HAS("mr") && !HAS("mw") && HAS("ms"));
    OK(mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, OK(open("f", O_RDONLY)), 0));
    flags = flags_of(at);
    CHECK(HAS("mw") && !HAS("sh") && !HAS("ms"));
    OK(mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    OK(mlock2(at, 4096, MLOCK_ONFAULT));
    flags = flags_of(at);
    CHECK(HAS("lo") && HAS("lf"));
}

TEST(offset_of_shared_memory)
{
    char *at = (char *)0x300000000, text[1 << 14];
    OK(mmap(at, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    OK(munmap(at, 4096));
    read_file("/proc/self/maps", text, sizeof text);
    CHECK(strstr(text, "300001000-300004000 rw-s 00001000 "));
}

MAIN()
