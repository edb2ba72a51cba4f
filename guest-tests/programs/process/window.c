// Data of calls that are made often, which stockade's stub copies by itself: faults, partial counts, registers, signals and threads are as ever.
#define _GNU_SOURCE
#include "check.h"
#include <sys/epoll.h>
#include <sys/uio.h>

#define OFTEN 300

#define SITE(name, nr)                                                                                                 \
    __asm__(".text\n.balign 64\n" #name ": mov $" nr ", %eax\n mov %rcx, %r10\n nop\n" #name "_go: mov $" nr ", %eax\n syscall\n ret\n"); \
    long name(long a, long b, long c, long d)
SITE(hot_read, "0");
SITE(hot_write, "1");
SITE(hot_open, "2");
SITE(hot_stat, "4");
SITE(hot_fstat, "5");
SITE(hot_poll, "7");
SITE(hot_sigprocmask, "14");
SITE(hot_pread, "17");
SITE(hot_pwrite, "18");
SITE(hot_close, "3");
SITE(hot_epoll_wait, "232");
SITE(hot_getpid, "39");
SITE(hot_gettid, "186");
SITE(hot_getuid, "102");
SITE(hot_geteuid, "107");
SITE(hot_getgid, "104");
SITE(hot_getegid, "108");

static char *page(void)
{
    char *at = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void warm(int pipe[2])
{
    char c = 'w';
    struct stat st;
    struct pollfd p = {.fd = pipe[1], .events = POLLOUT};
    for (int i = 0; i < OFTEN; i++) {
        EQ(hot_write(pipe[1], (long)&c, 1, 0), 1);
        EQ(hot_read(pipe[0], (long)&c, 1, 0), 1);
        EQ(hot_stat((long)"/", (long)&st, 0, 0), 0);
        EQ(hot_fstat(pipe[0], (long)&st, 0, 0), 0);
        EQ(hot_poll((long)&p, 1, 0, 0), 1);
        EQ(p.revents, POLLOUT);
    }
}

TEST(what_is_read_and_written)
{
    int fd = OK(open("file", O_RDWR | O_CREAT, 0600)), p[2];
    OK(pipe(p));
    warm(p);
    char out[5000], in[5000];
    for (int i = 0; i < OFTEN; i++) {
        int len = i * 37 % 5000 + 1;
        memset(out, i, len);
        EQ(hot_pwrite(fd, (long)out, len, i), len);
        memset(in, ~i, sizeof in);
        EQ(hot_pread(fd, (long)in, len, i), len);
        CHECK(memcmp(in, out, len) == 0 && (len == 5000 || in[len] == (char)~i));
    }
    // More than any window holds.
    static char big[300000], back[300000];
    for (int i = 0; i < (int)sizeof big; i++)
        big[i] = i * 7;
    EQ(hot_pwrite(fd, (long)big, sizeof big, 0), sizeof big);
    EQ(hot_pread(fd, (long)back, sizeof back, 0), sizeof back);
    CHECK(memcmp(big, back, sizeof big) == 0);
    struct stat st;
    EQ(hot_fstat(fd, (long)&st, 0, 0), 0);
    EQ(st.st_size, sizeof big);
    EQ(hot_stat((long)"file", (long)&st, 0, 0), 0);
    EQ(st.st_size, sizeof big);
}

TEST(faults)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    char *at = page(), c = 'x';
    OK(mprotect(at + 4096, 4096, PROT_READ));
    OK(mprotect(at + 8192, 4096, PROT_NONE));
    EQ(hot_write(p[1], (long)"ab", 2, 0), 2);
    EQ(hot_read(p[0], (long)(at + 4096), 1, 0), -EFAULT);
    EQ(hot_read(p[0], (long)(at + 8192), 1, 0), -EFAULT);
    EQ(hot_read(p[0], 0, 1, 0), -EFAULT);
    EQ(hot_read(p[0], 1L << 60, 1, 0), -EFAULT);
    EQ(hot_read(p[0], -1, 4096, 0), -EFAULT);
    // Nothing of it was taken.
    EQ(hot_read(p[0], (long)&c, 1, 0), 1);
    EQ(c, 'a');
    EQ(hot_read(p[0], (long)&c, 1, 0), 1);
    EQ(c, 'b');
    EQ(hot_write(p[1], (long)(at + 8192), 1, 0), -EFAULT);
    EQ(hot_write(p[1], (long)(at + 8190), 2, 0), 2);
    EQ(hot_write(p[1], 8, 1, 0), -EFAULT);
    struct stat st;
    EQ(hot_stat((long)(at + 8192), (long)&st, 0, 0), -EFAULT);
    EQ(hot_stat((long)"/", (long)(at + 4096), 0, 0), -EFAULT);
    EQ(hot_stat((long)"/", (long)(at + 4090), 0, 0), -EFAULT);
    EQ(hot_fstat(p[0], 0, 0, 0), -EFAULT);
    EQ(hot_poll(0, 1, 0, 0), -EFAULT);
    // A name that ends right before memory that cannot be read, and one that does not end there.
    OK(mprotect(at + 4096, 4096, PROT_READ | PROT_WRITE));
    strcpy(at + 8190, "/");
    EQ(hot_stat((long)(at + 8190), (long)&st, 0, 0), 0);
    memcpy(at + 8190, "//", 2);
    EQ(hot_stat((long)(at + 8190), (long)&st, 0, 0), -EFAULT);
}

TEST(names)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    struct stat st;
    char name[5000];
    for (int len = 1; len < 4999; len += len < 300 ? 1 : 97) {
        memset(name, '/', len);
        name[len] = 0;
        EQ(hot_stat((long)name, (long)&st, 0, 0), len < 4096 ? 0 : -ENAMETOOLONG);
    }
    memset(name, 'n', 256);
    name[256] = 0;
    EQ(hot_stat((long)name, (long)&st, 0, 0), -ENAMETOOLONG);
    name[255] = 0;
    EQ(hot_stat((long)name, (long)&st, 0, 0), -ENOENT);
}

TEST(one_place_for_both)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    // The same structure is read and written.
    for (int i = 0; i < OFTEN; i++) {
        struct pollfd f[3] = {{.fd = p[0], .events = POLLIN}, {.fd = p[1], .events = POLLOUT}, {.fd = 9999, .events = POLLIN}};
        EQ(hot_poll((long)f, 3, 0, 0), 2);
        CHECK(f[0].revents == 0 && f[1].revents == POLLOUT && f[2].revents == POLLNVAL);
    }
    unsigned long set = 1ul << (SIGUSR1 - 1);
    for (int i = 0; i < OFTEN; i++) {
        unsigned long both = set;
        EQ(hot_sigprocmask(SIG_SETMASK, (long)&both, (long)&both, 8), 0);
        EQ(both, i ? set : 0);
    }
    char text[] = "abcdefgh";
    EQ(hot_write(p[1], (long)text, 8, 0), 8);
    EQ(hot_read(p[0], (long)(text + 2), 6, 0), 6);
    CHECK(memcmp(text, "ababcdef", 8) == 0);
}

TEST(registers_and_direction)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    for (int i = 0; i < OFTEN; i++) {
        char buffer[64] = "0123456789", back[64] = {0};
        register long r8 __asm__("r8") = 8, r9 __asm__("r9") = 9, r10 __asm__("r10") = 10;
        long rax, rdi = p[1], rsi = (long)buffer, rdx = 10, flags;
        // With the direction flag set, which calls keep as it is.
        __asm__ volatile("std; mov $1, %%eax; syscall; pushfq; popq %[flags]; cld"
                         : "=&a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10), [flags] "=&r"(flags)
                         :
                         : "rcx", "r11", "memory", "cc");
        EQ(rax, 10);
        CHECK(flags & 0x400);
        CHECK(rdi == p[1] && rsi == (long)buffer && rdx == 10 && r8 == 8 && r9 == 9 && r10 == 10);
        rdi = p[0], rsi = (long)back, rdx = 64;
        __asm__ volatile("xor %%eax, %%eax; mov $0, %%eax; syscall"
                         : "=&a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10)
                         :
                         : "rcx", "r11", "memory", "cc");
        EQ(rax, 10);
        CHECK(rdi == p[0] && rsi == (long)back && rdx == 64 && r8 == 8 && r9 == 9 && r10 == 10);
        CHECK(memcmp(back, "0123456789", 11) == 0);
    }
}

static int ticks;
static int ticked[2];
static void tick(int sig)
{
    (void)sig;
    char c = 't', got = 0;
    // Calls through the same sites, in the middle of others.
    if (hot_write(ticked[1], (long)&c, 1, 0) == 1 && hot_read(ticked[0], (long)&got, 1, 0) == 1 && got == 't')
        ticks++;
}

TEST(signals_in_the_middle)
{
    int p[2];
    OK(pipe(p));
    OK(pipe(ticked));
    warm(p);
    struct sigaction act = {.sa_handler = tick, .sa_flags = SA_RESTART};
    OK(sigaction(SIGALRM, &act, NULL));
    struct itimerval often = {{0, 1000}, {0, 1000}};
    OK(setitimer(ITIMER_REAL, &often, NULL));
    static char out[3000], in[3000];
    int want = ticks + 200;
    for (int i = 0; ticks < want; i++) {
        int len = i % 3000 + 1;
        memset(out, i, len);
        for (int at = 0, n; at < len; at += n)
            CHECK((n = hot_write(p[1], (long)(out + at), len - at, 0)) > 0);
        for (int at = 0, n; at < len; at += n)
            CHECK((n = hot_read(p[0], (long)(in + at), len - at, 0)) > 0);
        CHECK(memcmp(in, out, len) == 0);
    }
}

struct flip {
    char *at;
    int stop;
};

static void *flips(void *arg)
{
    struct flip *flip = arg;
    while (!__atomic_load_n(&flip->stop, __ATOMIC_RELAXED)) {
        mprotect(flip->at, 4096, PROT_READ);
        mprotect(flip->at, 4096, PROT_READ | PROT_WRITE);
        mmap(flip->at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    return NULL;
}

// Memory that comes and goes while it is read into: a count or EFAULT, and no harm.
TEST(memory_that_changes)
{
    int fd = OK(open("/dev/zero", O_RDONLY)), p[2];
    OK(pipe(p));
    warm(p);
    struct flip flip = {.at = page()};
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, flips, &flip), 0);
    int good = 0;
    for (int i = 0; i < 20000; i++) {
        long n = hot_read(fd, (long)flip.at, 512, 0);
        CHECK((n > 0 && n <= 512) || n == -EFAULT); // Linux itself stops in the middle now and then
        good += n == 512;
    }
    CHECK(good > 0);
    flip.stop = 1;
    EQ(pthread_join(thread, NULL), 0);
}

static void *writes_later(void *arg)
{
    usleep(20000);
    CHECK(write(*(int *)arg, "later", 5) == 5);
    return NULL;
}

TEST(calls_that_wait)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        char got[16] = {0};
        EQ(pthread_create(&thread, NULL, writes_later, &p[1]), 0);
        EQ(hot_read(p[0], (long)got, sizeof got, 0), 5);
        CHECK(memcmp(got, "later", 6) == 0);
        EQ(pthread_join(thread, NULL), 0);
    }
    // A write that waits in its middle takes all of its data.
    static char out[200000];
    for (int i = 0; i < (int)sizeof out; i++)
        out[i] = i / 11;
    pid_t child = OK(fork());
    if (child == 0) {
        static char in[200000];
        for (int at = 0, n; at < (int)sizeof in; at += n)
            if ((n = read(p[0], in + at, 7000)) <= 0)
                _exit(1);
        _exit(memcmp(in, out, sizeof in) != 0);
    }
    for (int at = 0; at < (int)sizeof out; at += 16000)
        EQ(hot_write(p[1], (long)(out + at), sizeof out - at < 16000 ? sizeof out - at : 16000, 0),
           sizeof out - at < 16000 ? sizeof out - at : 16000);
    int status;
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
}

TEST(children_have_their_own)
{
    int p[2];
    OK(pipe(p));
    warm(p);
    for (int i = 0; i < 20; i++) {
        pid_t child = OK(fork());
        char out[100], in[100];
        memset(out, child == 0 ? 'c' : 'p', sizeof out);
        int q[2];
        OK(pipe(q));
        for (int j = 0; j < OFTEN; j++) {
            if (hot_write(q[1], (long)out, sizeof out, 0) != sizeof out || hot_read(q[0], (long)in, sizeof in, 0) != sizeof in
                || memcmp(in, out, sizeof in))
                _exit(1);
        }
        if (child == 0)
            _exit(0);
        int status;
        OK(waitpid(child, &status, 0));
        EQ(status, 0);
        OK(close(q[0]));
        OK(close(q[1]));
    }
}

TEST(events)
{
    int p[2], e = OK(epoll_create1(0));
    OK(pipe(p));
    warm(p);
    struct epoll_event want = {.events = EPOLLOUT, .data.u64 = 0x1122334455667788}, got[4];
    OK(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &want));
    for (int i = 0; i < OFTEN; i++) {
        memset(got, 0xee, sizeof got);
        EQ(hot_epoll_wait(e, (long)got, 4, 0), 1);
        CHECK(got[0].events == EPOLLOUT && got[0].data.u64 == want.data.u64 && got[1].events == 0xeeeeeeee);
    }
    EQ(hot_epoll_wait(e, 0, 4, 0), -EFAULT);
}

static void ids_are(int pid, int tid, int uid, int euid, int gid, int egid)
{
    for (int i = 0; i < OFTEN; i++) {
        EQ(hot_getpid(0, 0, 0, 0), pid);
        EQ(hot_gettid(0, 0, 0, 0), tid);
        EQ(hot_getuid(0, 0, 0, 0), uid);
        EQ(hot_geteuid(0, 0, 0, 0), euid);
        EQ(hot_getgid(0, 0, 0, 0), gid);
        EQ(hot_getegid(0, 0, 0, 0), egid);
    }
}

static void *thread_ids(void *arg)
{
    (void)arg;
    // Of this thread only: the system call, not the library's function.
    EQ(syscall(SYS_setresuid, -1, 77, -1), 0);
    ids_are(getpid(), syscall(SYS_gettid), 0, 77, 0, 0);
    return NULL;
}

HELPER(after_exec)
{
    (void)argc, (void)argv;
    ids_are(getpid(), getpid(), 0, 0, 5, 5);
    return 0;
}

static void *execs(void *arg)
{
    (void)arg;
    exec_self("after_exec", NULL);
    return NULL;
}

TEST(ids)
{
    int pid = getpid();
    ids_are(pid, pid, 0, 0, 0, 0);
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, thread_ids, NULL), 0);
    EQ(pthread_join(thread, NULL), 0);
    ids_are(pid, pid, 0, 0, 0, 0);
    int status;
    pid_t child = OK(fork());
    if (child == 0) {
        ids_are(syscall(SYS_getpid), syscall(SYS_getpid), 0, 0, 0, 0);
        CHECK(getpid() != pid);
        OK(setresgid(1, 2, 3));
        ids_are(getpid(), getpid(), 0, 0, 1, 2);
        OK(setresuid(4, 5, 6));
        ids_are(getpid(), getpid(), 4, 5, 1, 2);
        OK(setresuid(-1, 4, -1));
        ids_are(getpid(), getpid(), 4, 4, 1, 2);
        _exit(0);
    }
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
    // A thread's exec takes over the process' id.
    child = OK(fork());
    if (child == 0) {
        OK(setresgid(5, 5, 5));
        EQ(pthread_create(&thread, NULL, execs, NULL), 0);
        pause();
    }
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
    // In a new user namespace, whose map is written by somebody else.
    int p[2], q[2];
    char c;
    OK(pipe(p));
    OK(pipe(q));
    child = OK(fork());
    if (child == 0) {
        OK(unshare(CLONE_NEWUSER));
        ids_are(getpid(), getpid(), 65534, 65534, 65534, 65534);
        OK(write(p[1], "", 1));
        OK(read(q[0], &c, 1));
        ids_are(getpid(), getpid(), 9, 9, 65534, 65534);
        _exit(0);
    }
    OK(read(p[0], &c, 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/uid_map", child);
    int fd = OK(open(path, O_WRONLY));
    EQ(write(fd, "9 0 1\n", 6), 6);
    OK(write(q[1], "", 1));
    OK(waitpid(child, &status, 0));
    EQ(status, 0);
}

MAIN()
