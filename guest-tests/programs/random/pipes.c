// Pipes, FIFOs and what is polled like them: a few descriptors of every kind, written, read, spliced, resized and polled at random. After each step stands what
// every descriptor is ready for.
// open: tmpfs
#include "random.h"
#include <linux/capability.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

enum { SLOTS = 9, EPOLLS = 3, ALL = SLOTS + EPOLLS, BIG = 300000 };
// Slot N is descriptor BASE + N, and stays it: what is printed are slots.
enum { BASE = 100 };
static const char *kinds[ALL];
static unsigned char buffer[BIG];
static unsigned fill;
static sigset_t queued;
static volatile struct seen {
    int signal, code, slot, band;
} seen[8];
static volatile unsigned count_seen;

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (count_seen < 8)
        seen[count_seen] = signal == SIGPIPE ? (struct seen){signal, info->si_code, 0, 0} : (struct seen){signal, info->si_code, info->si_fd - BASE, info->si_band};
    count_seen++;
}
static void place(int slot, int fd, const char *kind)
{
    if (fd < 0)
        return;
    dup2(fd, BASE + slot);
    close(fd);
    kinds[slot] = kind;
}
static void begin(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGIO, &action, NULL);
    sigaction(SIGRTMIN + 3, &action, NULL);
    sigemptyset(&queued);
    sigaddset(&queued, SIGUSR1), sigaddset(&queued, SIGUSR2), sigaddset(&queued, SIGRTMIN), sigaddset(&queued, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &queued, NULL);
    // One who may not set resources: root on the host may lack that, and others do.
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct capabilities[2];
    syscall(SYS_capget, &header, capabilities);
    capabilities[0].effective &= ~(1U << CAP_SYS_RESOURCE);
    syscall(SYS_capset, &header, capabilities);
    mkfifo("f", 0600), mkfifo("g", 0600);
    for (int slot = SLOTS; slot < ALL; slot++)
        place(slot, epoll_create1(0), "epoll");
}

// What every descriptor is ready for, and what it holds.
static void state(void)
{
    say(" |");
    for (int slot = 0; slot < ALL; slot++) {
        struct pollfd is = {.fd = BASE + slot, .events = -1 & ~POLLNVAL};
        if (!kinds[slot] || poll(&is, 1, 0) < 0)
            continue;
        int bytes = 0;
        say(" %x", is.revents);
        if (kinds[slot][0] != 'e' && kinds[slot][0] != 't' && !ioctl(BASE + slot, FIONREAD, &bytes) && bytes)
            say("/%d", bytes);
    }
    for (unsigned i = 0; i < count_seen && i < 8; i++)
        say(" SIG%d.%d.%d.%x", seen[i].signal, seen[i].code, seen[i].slot, seen[i].band);
    count_seen = 0;
}

static int any(void) { return pick(SLOTS); }
// A slot of this kind where there is one.
static int a(const char *kind)
{
    int at = any();
    for (int i = 0; i < SLOTS; i++, at = (at + 1) % SLOTS)
        if (kinds[at] && !strncmp(kinds[at], kind, strlen(kind)))
            return at;
    return chance(20) ? any() : at;
}
static int reader(void) { return chance(5) ? any() : a(chance(80) ? "pipe r" : "fifo"); }
static int writer(void) { return chance(5) ? any() : a(chance(80) ? "pipe w" : "fifo"); }
static int other(void) { return a(chance(50) ? "file" : "socket"); }
static size_t size(void)
{
    static const size_t sizes[] = {0, 1, 2, 100, 4095, 4096, 4097, 5000, 8192, 12288, 65536, 70000};
    return chance(30) ? pick(6000) : ONE_OF(sizes);
}
static void filled(size_t size)
{
    for (size_t i = 0; i < size; i++)
        buffer[i] = fill++ * 31 >> 3;
}
static long got(long n)
{
    if (result(n) < 0) // the host's kernel tells writers of a try, too
        count_seen = 0;
    if (n > 0)
        say(" #%x", sum_of(buffer, n));
    return n;
}

SHOWN(8, pipe)
{
    int fds[2] = {-1, -1}, one = any(), other = any(), flags = O_NONBLOCK | (chance(20) ? O_DIRECT : 0) | (chance(10) ? O_CLOEXEC : 0);
    say("pipe %d %d %o", one, other, flags);
    success(pipe2(fds, flags));
    place(one, fds[0], "pipe r"), place(other, fds[1], "pipe w");
}
SHOWN(6, fifo)
{
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR};
    int slot = any(), flags = O_NONBLOCK | ONE_OF(modes) | (chance(10) ? O_DIRECT : 0) | (chance(10) ? O_TRUNC : 0) | (chance(10) ? O_APPEND : 0);
    const char *path = chance(60) ? "f" : "g";
    say("fifo %d %s %o", slot, path, flags);
    place(slot, success(open(path, flags)), "fifo");
}
SHOWN(3, others)
{
    int slot = any(), fds[2];
    switch (pick(5)) {
    case 0:
        say("eventfd %d", slot);
        static const unsigned values[] = {0, 1, 5, UINT32_MAX};
        place(slot, success(eventfd(ONE_OF(values), EFD_NONBLOCK | (chance(40) ? EFD_SEMAPHORE : 0))), "eventfd");
        break;
    case 1:
        say("timerfd %d", slot);
        place(slot, success(timerfd_create(chance(50) ? CLOCK_REALTIME : chance(50) ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, TFD_NONBLOCK)), "timerfd");
        break;
    case 2:
        say("signalfd %d", slot);
        place(slot, success(signalfd(-1, &queued, SFD_NONBLOCK)), "signalfd");
        break;
    case 3:
        say("file %d", slot);
        place(slot, success(open("file", O_RDWR | O_CREAT | (chance(20) ? O_TRUNC : 0) | (chance(20) ? O_APPEND : 0), 0600)), "file");
        break;
    default:
        say("socketpair %d", slot);
        success(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
        place(slot, fds[0], "socket"), place(any(), fds[1], "socket");
    }
}
SHOWN(3, close)
{
    int slot = any();
    say("close %d %s", slot, kinds[slot] ?: "none");
    result(close(BASE + slot));
    kinds[slot] = NULL;
}
SHOWN(2, dup)
{
    int from = any(), to = any();
    say("dup %d %d", from, to);
    if (kinds[from] && from != to)
        place(to, success(dup(BASE + from)), kinds[from]);
}
SHOWN(22, write)
{
    int slot = writer();
    size_t n = size();
    say("write %d %s %zu", slot, kinds[slot] ?: "none", n);
    filled(n);
    result(write(BASE + slot, chance(2) ? (void *)1 : buffer, n));
}
SHOWN(4, writev)
{
    int slot = writer();
    size_t one = size(), two = size(), three = pick(200);
    say("writev %d %zu %zu %zu", slot, one, two, three);
    filled(one + two + three);
    result(writev(BASE + slot, (struct iovec[]){{buffer, one}, {buffer + one, two}, {buffer + one + two, three}}, 3));
}
SHOWN(22, read)
{
    int slot = reader();
    size_t n = chance(15) ? BIG : size();
    say("read %d %s %zu", slot, kinds[slot] ?: "none", n);
    got(read(BASE + slot, buffer, n));
}
SHOWN(4, readv)
{
    int slot = reader();
    size_t one = size(), two = size();
    say("readv %d %zu %zu", slot, one, two);
    got(readv(BASE + slot, (struct iovec[]){{buffer, one}, {buffer + one, two}}, 2));
}
SHOWN(12, splice)
{
    static const loff_t offsets[] = {0, 1, 4096, 5000, -1};
    int from = chance(60) ? reader() : other(), to = chance(70) ? writer() : other();
    loff_t in = ONE_OF(offsets), out = ONE_OF(offsets);
    bool with_in = chance(20), with_out = chance(20);
    unsigned flags = SPLICE_F_NONBLOCK | (chance(20) ? SPLICE_F_MOVE : 0) | (chance(20) ? SPLICE_F_MORE : 0) | (chance(2) ? 64 : 0);
    size_t n = size();
    say("splice %d %s %lld, %d %s %lld, %zu %x", from, kinds[from] ?: "none", with_in ? (long long)in : -9, to, kinds[to] ?: "none", with_out ? (long long)out : -9, n, flags);
    result(splice(BASE + from, with_in ? &in : NULL, BASE + to, with_out ? &out : NULL, n, flags));
    say(" %lld %lld", (long long)in, (long long)out);
}
SHOWN(6, tee)
{
    int from = reader(), to = writer();
    size_t n = size();
    say("tee %d %d %zu", from, to, n);
    result(tee(BASE + from, BASE + to, n, SPLICE_F_NONBLOCK));
}
SHOWN(5, vmsplice)
{
    int slot = chance(60) ? writer() : reader();
    size_t one = size(), two = size();
    one = (one + 4095) & ~4095UL, two = (two + 4095) & ~4095UL; // how user pages are cut into a pipe's pages is nobody's business
    say("vmsplice %d %s %zu %zu", slot, kinds[slot] ?: "none", one, two);
    // What is not copied at once would change with the buffer: a page of zeros does not.
    static const unsigned char zeros[BIG] __attribute__((aligned(4096)));
    bool in = kinds[slot] && strcmp(kinds[slot], "pipe r");
    got(vmsplice(BASE + slot, (struct iovec[]){{in ? (void *)zeros : buffer, one}, {in ? (void *)zeros + 102400 : buffer + one, two}}, pick(4) ? 2 : 1, SPLICE_F_NONBLOCK));
}
SHOWN(5, setpipe)
{
    static const long sizes[] = {0, 1, 4096, 4097, 8192, 16384, 20000, 65536, 1 << 20, (1 << 20) + 1, -1, 1L << 32};
    int slot = chance(50) ? reader() : writer();
    long n = ONE_OF(sizes);
    say("setpipe %d %ld", slot, n);
    result(fcntl(BASE + slot, F_SETPIPE_SZ, n));
    result(fcntl(BASE + slot, F_GETPIPE_SZ));
}
SHOWN(3, flags)
{
    int slot = any(), add = O_NONBLOCK | (chance(30) ? O_DIRECT : 0) | (kinds[slot] && strcmp(kinds[slot], "fifo") && strcmp(kinds[slot], "pipe w") && chance(30) ? O_ASYNC : 0) | (chance(10) ? O_APPEND : 0) | (chance(10) ? O_NOATIME : 0);
    say("setfl %d %s %o", slot, kinds[slot] ?: "none", add);
    result(fcntl(BASE + slot, F_SETFL, add));
    say(" %o", fcntl(BASE + slot, F_GETFL));
}
SHOWN(2, owner)
{
    int slot = any(), signal = chance(50) ? 0 : chance(50) ? SIGRTMIN + 3 : SIGIO;
    say("setown %d %d", slot, signal);
    result(fcntl(BASE + slot, F_SETOWN, getpid()));
    result(fcntl(BASE + slot, F_SETSIG, signal));
    result(fcntl(BASE + slot, F_GETSIG));
}
SHOWN(2, stat)
{
    int slot = any();
    struct stat st = {0};
    say("fstat %d %s", slot, kinds[slot] ?: "none");
    result(fstat(BASE + slot, &st));
    say(" %o %lu %ld %ld %ld", st.st_mode, (long)st.st_nlink, (long)st.st_size, (long)st.st_blksize, (long)st.st_blocks);
}
SHOWN(4, wrong)
{
    int slot = any(), fd = BASE + slot, which = pick(14), n = 0;
    say("wrong %d %s %d", slot, kinds[slot] ?: "none", which);
    switch (which) {
    case 0: result(lseek(fd, 0, SEEK_SET)); break;
    case 1: got(pread(fd, buffer, 10, 5)); break;
    case 2: result(pwrite(fd, "x", 1, 5)); break;
    case 3: result(ftruncate(fd, 5000)); break;
    case 4: result(fsync(fd)); break;
    case 5: result(fallocate(fd, 0, 0, 100)); break;
    case 6: success((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)); break;
    case 7: result(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL)); break;
    case 8: result(readahead(fd, 0, 4096)); break;
    case 9: result(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE)); break;
    case 10: result(ioctl(fd, TCGETS, buffer)); break;
    case 11: result(ioctl(fd, FIONBIO, &(int){1})); break;
    case 12: result(ioctl(fd, FIONREAD, &n)), say(" %d", n); break;
    case 13: result(fchmod(fd, 0640)); break;
    }
}
SHOWN(2, info)
{
    int slot = any();
    char path[64], line[200];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", BASE + slot);
    FILE *file = fopen(path, "r");
    say("fdinfo %d", slot);
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        bool differs = !strncmp(line, "mnt_id", 6) || !strncmp(line, "ino", 3) || !strncmp(line, "eventfd-id", 10) || !strncmp(line, "it_value", 8);
        if (!differs)
            say(" [%s]", line);
    }
    if (file)
        fclose(file);
}

SHOWN(5, event)
{
    static const uint64_t values[] = {0, 1, 2, 7, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX - 8};
    int slot = a("eventfd"), size = chance(90) ? 8 : pick(20);
    uint64_t value[4] = {ONE_OF(values)};
    if (kinds[slot] && strcmp(kinds[slot], "eventfd"))
        return;
    say("event %d %d %llx", slot, size, (long long)value[0]);
    if (chance(50))
        result(write(BASE + slot, value, size));
    else
        result(read(BASE + slot, value, size)), say(" %llx", (long long)value[0]);
}
SHOWN(5, timer)
{
    int slot = a("timerfd");
    if (!kinds[slot] || strcmp(kinds[slot], "timerfd"))
        return;
    struct itimerspec set = {.it_interval = {chance(50) ? 1000000 : 0, chance(2) ? 1000000000 : 0}}, is = {0};
    uint64_t value[2] = {0};
    switch (pick(3)) {
    case 0: // in the past, never, or in the far future; the past is waited for
        set.it_value.tv_nsec = chance(60), set.it_value.tv_sec = chance(30) ? 9000000000 : 0;
        say("timer %d %ld.%ld %ld", slot, (long)set.it_value.tv_sec, set.it_value.tv_nsec, (long)set.it_interval.tv_sec);
        bool past = set.it_value.tv_nsec && !set.it_value.tv_sec;
        if (past)
            set.it_interval.tv_sec = 0; // since when it went off would be the question
        result(timerfd_settime(BASE + slot, TFD_TIMER_ABSTIME | (chance(10) ? TFD_TIMER_CANCEL_ON_SET : 0), &set, &is));
        say(" %d %ld", is.it_value.tv_sec || is.it_value.tv_nsec, (long)is.it_interval.tv_sec);
        poll(&(struct pollfd){.fd = BASE + slot, .events = POLLIN}, 1, past ? 50 : 0);
        break;
    case 1:
        say("timer %d get", slot);
        result(timerfd_gettime(BASE + slot, &is));
        say(" %d %ld", is.it_value.tv_sec || is.it_value.tv_nsec, (long)is.it_interval.tv_sec);
        break;
    default:
        say("timer %d read", slot);
        result(read(BASE + slot, value, chance(90) ? 8 : pick(17)));
        say(" %lld", (long long)value[0]);
    }
}
SHOWN(6, signals)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, 34, 35};
    int slot = a("signalfd"), signal = ONE_OF(signals);
    struct signalfd_siginfo info[3] = {0};
    sigset_t set = queued;
    switch (pick(4)) {
    case 0:
        say("kill %d", signal);
        result(kill(getpid(), signal));
        break;
    case 1:
        say("sigqueue %d", signal);
        result(sigqueue(getpid(), signal, (union sigval){.sival_int = pick(100)}));
        break;
    case 2:
        sigdelset(&set, signal);
        say("signalfd %d less %d", slot, signal);
        result(signalfd(BASE + slot, &set, 0) < 0 ? -1 : 0);
        break;
    default:
        if (!kinds[slot] || strcmp(kinds[slot], "signalfd"))
            return;
        size_t size = chance(90) ? (1 + pick(3)) * sizeof info[0] : pick(200);
        say("signalfd %d read %zu", slot, size);
        long n = result(read(BASE + slot, info, size));
        for (long i = 0; i * (long)sizeof info[0] < n; i++)
            say(" (%d %d %d %d %d %d %llx)", info[i].ssi_signo, info[i].ssi_code, info[i].ssi_int, info[i].ssi_pid == (unsigned)getpid(), info[i].ssi_uid, info[i].ssi_overrun, (long long)info[i].ssi_ptr);
    }
}

static const unsigned long events[] = {EPOLLIN, EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI, EPOLLERR, EPOLLHUP, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLRDNORM};
SHOWN(12, epoll_ctl)
{
    static const int ops[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 9};
    int at = SLOTS + pick(EPOLLS), slot = pick(chance(20) ? ALL : SLOTS), op = ONE_OF(ops);
    struct epoll_event event = {.events = SOME_OF(events), .data.u64 = slot};
    say("epoll_ctl %d %d %d %s %x", at, op, slot, kinds[slot] ?: "none", event.events);
    result(epoll_ctl(BASE + at, op, BASE + slot, &event));
}
SHOWN(16, epoll_wait)
{
    int at = SLOTS + pick(EPOLLS), most = chance(30) ? 1 + pick(3) : 20;
    struct epoll_event is[20];
    say("epoll_wait %d %d", at, most);
    long n = result(epoll_wait(BASE + at, is, most, 0));
    for (long i = 0; i < n; i++)
        say(" %llu:%x", (long long)is[i].data.u64, is[i].events);
}
SHOWN(5, select)
{
    fd_set in, out, except;
    memset(&in, 0, sizeof in), memset(&out, 0, sizeof out), memset(&except, 0, sizeof except);
    for (int slot = 0; slot < ALL; slot++) {
        if (chance(50))
            FD_SET(BASE + slot, &in);
        if (chance(50))
            FD_SET(BASE + slot, &out);
        if (chance(50))
            FD_SET(BASE + slot, &except);
    }
    for (int slot = 0; slot < ALL; slot++)
        if (!kinds[slot] && chance(95))
            FD_CLR(BASE + slot, &in), FD_CLR(BASE + slot, &out), FD_CLR(BASE + slot, &except);
    say("select");
    result(select(BASE + ALL, &in, &out, &except, &(struct timeval){0}));
    for (int slot = 0; slot < ALL; slot++)
        say(" %d%d%d", !!FD_ISSET(BASE + slot, &in), !!FD_ISSET(BASE + slot, &out), !!FD_ISSET(BASE + slot, &except));
}
SHOWN(4, poll)
{
    struct pollfd is[ALL];
    say("poll");
    for (int slot = 0; slot < ALL; slot++)
        is[slot] = (struct pollfd){.fd = chance(90) ? BASE + slot : -1, .events = pick(1 << 15)};
    result(poll(is, ALL, 0));
    for (int slot = 0; slot < ALL; slot++)
        say(" %x", is[slot].revents);
}
RANDOM_MAIN(begin)
