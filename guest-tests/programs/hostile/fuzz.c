// System calls at random, with arguments that are almost right: nothing that a guest asks for may end its kernel. FUZZ_SEED and FUZZ_SECONDS choose another run than a
// new one of 8 seconds; the seed is printed first.
#define HOSTILE_SECONDS fuzz_seconds
static int fuzz_seconds = 8;
#include "hostile.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/un.h>

static uint64_t fuzz_seed;
static char *good;    // pages of every kind, in a row
static const char *const paths[] = {"a", "b", "d", "d/a", "d/../b", ".", "..", "/", "", "/proc/self/maps", "/proc/self/fd/3", "/proc/self/mem", "/dev/null", "/dev/zero", "/dev/ptmx",
                                    "/proc/self/exe", "/dev/full", "l", "/proc/self/status", "/proc/sys/kernel/pid_max", "/dev/shm/x", "p", "s", "/proc/thread-self/attr", "/proc/self/task/1/stat",
                                    "/dev/tty", "/proc/mounts", "/sys/kernel", "d/e/f/g", "/proc/self/ns/pid", "/proc/self/root/dev/null", "/proc/self/oom_score_adj"};
#define PAGES 8

static uint64_t pick(uint64_t n) { return hostile_random() % n; }
static uint64_t number(void)
{
    static const uint64_t edges[] = {0, 1, 2, 7, 8, 16, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024, 4095, 4096, 4097, 65535, 65536, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff,
                                     1ul << 32, 1ul << 40, 1ul << 47, 0x7fffffffffff, 0x7ffffffff000, 0x7fffffffffffffff, 1ul << 63, -1, -2, -4095, -4096, -100};
    switch (pick(6)) {
    case 0: return edges[pick(sizeof edges / sizeof *edges)];
    case 1: return edges[pick(sizeof edges / sizeof *edges)] + pick(5) - 2;
    case 2: return 1ul << pick(64);
    case 3: return pick(40);
    case 4: return hostile_random() & hostile_random() & hostile_random(); // few flags
    default: return hostile_random() >> pick(64);
    }
}
static uint64_t memory(void)
{
    uint64_t at = (uint64_t)good + pick(PAGES) * 4096;
    switch (pick(8)) {
    case 0: return at + 4096 - pick(64);        // across the edge to another kind
    case 1: return number();                    // anywhere
    case 2: return (uint64_t)paths[pick(sizeof paths / sizeof *paths)];
    case 3: return at + pick(4096);
    default: return at + pick(500) * 8;
    }
}
// Fills a place with what calls look for there: numbers, addresses, paths.
static void furnish(void)
{
    uint64_t *words = (uint64_t *)good + pick(2 * 512 - 32); // the first two pages can be written
    for (int i = 0; i < 32; i++)
        words[i] = pick(3) == 0 ? memory() : pick(2) ? pick(2000) : number();
    if (pick(4) == 0)
        strcpy((char *)words, paths[pick(sizeof paths / sizeof *paths)]);
    if (pick(8) == 0)
        *(uint16_t *)words = pick(2) ? pick(2) ? AF_UNIX : AF_NETLINK : pick(50);
    if (pick(16) == 0) { // a netlink request, its attributes at random
        uint32_t *message = (uint32_t *)words;
        message[0] = pick(200), message[1] = (14 + pick(30)) | (pick(2) ? 0x305 : pick(65536)) << 16;
        message[4] = pick(2) ? 0 : pick(2) ? AF_INET : AF_INET6, message[5] = pick(3);
    }
}
static uint64_t argument(void)
{
    switch (pick(10)) {
    case 0 ... 3: return memory();
    case 4 ... 6: return pick(14) ? pick(24) : AT_FDCWD; // descriptors
    default: return number();
    }
}
// What would only end the fuzzing: not the point.
static bool dull(long nr)
{
    return nr == SYS_exit || nr == SYS_exit_group || nr == SYS_pause || nr == SYS_rt_sigsuspend || nr == SYS_kill || nr == SYS_rt_sigreturn || nr == SYS_vfork ||
           (nr == SYS_clone && pick(4)) || (nr == SYS_fork && pick(4)) || (nr == SYS_execve && pick(8)) || (nr == SYS_select && pick(4)) || (nr == SYS_munmap && pick(4)) ||
           ((nr == SYS_tkill || nr == SYS_tgkill || nr == SYS_rt_sigqueueinfo) && pick(16));
}
static void *fuzz_thread(void *count)
{
    for (long n = (long)count; n > 0; n--) {
        long nr = pick(40) ? pick(335) : pick(3) ? 424 + pick(40) : (long)number();
        if (dull(nr))
            continue;
        furnish();
        syscall(nr, argument(), argument(), argument(), argument(), argument(), argument());
    }
    return NULL;
}
static void one(uint64_t seed, bool root)
{
    hostile_seed = seed * 0x9e3779b97f4a7c15 + 1;
    good = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mkdir("w", 0777), chmod("w", 0777), chdir("w");
    struct rlimit files = {64, 64}, size = {8 << 20, 8 << 20}, space = {1ul << 30, 1ul << 30}, processes = {60, 60}, cpu = {2, 2};
    setrlimit(RLIMIT_FSIZE, &size), setrlimit(RLIMIT_AS, &space), setrlimit(RLIMIT_NPROC, &processes), setrlimit(RLIMIT_CPU, &cpu), setrlimit(RLIMIT_NOFILE, &files);
    mprotect(good + 2 * 4096, 4096, PROT_READ);
    mprotect(good + 3 * 4096, 4096, PROT_NONE);
    int fd = open("m", O_RDWR | O_CREAT, 0666);
    ftruncate(fd, 4096);
    mmap(good + 4 * 4096, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0); // the second page: SIGBUS
    munmap(good + 6 * 4096, 4096);
    int pair[2];
    socketpair(AF_UNIX, pick(3) ? SOCK_STREAM : SOCK_DGRAM, 0, pair);
    pipe2(pair, O_NONBLOCK);
    eventfd(0, 0), epoll_create1(0), open("d", O_RDONLY | O_CREAT, 0700), mkdir("e", 0700), open("e", O_RDONLY), open("/dev/ptmx", O_RDWR | O_NOCTTY), memfd_create("x", 2), syscall(SYS_timerfd_create, 1, 0),
        syscall(SYS_inotify_init), socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0), mkfifo("p", 0666), symlink("a", "l");
    if (!root)
        setresgid(65534, 65534, 65534), setresuid(65534, 65534, 65534);
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGALRM)
            signal(sig, pick(2) ? SIG_IGN : innocent_handler);
    struct itimerval timer = {{0, 3000}, {0, 3000}};
    signal(SIGALRM, innocent_handler);
    setitimer(ITIMER_REAL, &timer, NULL); // out of what waits
    pthread_t other;
    if (pick(2))
        pthread_create(&other, NULL, fuzz_thread, (void *)1500);
    fuzz_thread((void *)1500);
}
static void fuzz(void)
{
    // Calls at random may write to it, as to all memory of their own.
    munmap((void *)((uintptr_t)hostile_breach & ~4095ul), 4096);
    // A name space of file systems and of names of its own, because half of it is root.
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC);
    for (uint64_t n = 0;; n += 3) {
        pid_t children[3];
        for (int i = 0; i < 3; i++)
            if ((children[i] = fork()) == 0) {
                setsid();
                one(fuzz_seed + n + i, (n + i) % 2);
                _exit(0);
            }
        for (int i = 0; i < 3; i++)
            hostile_attempt(children[i], 500);
    }
}
FUZZ_SECONDS(fuzz_seconds)
TEST(calls_at_random)
{
    const char *seed = getenv("FUZZ_SEED");
    fuzz_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)now_ns(CLOCK_REALTIME);
    printf("FUZZ_SEED=%llu\n", (unsigned long long)fuzz_seed);
    fflush(stdout);
    beside_innocent(fuzz);
}
MAIN()
