// Data of open files: positions, sizes, holes, vectors, appending, copies between files and pipes, seals, mappings, records of what is open.
// places: tmpfs
// Not on the host's disk: how far a file may reach, and what changes its times although it fails, is the host's file system's business.
#include "tree.h"
#include <linux/falloc.h>
#include <setjmp.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define SLOTS 6
#define SLOT(i) (100 + (i))
#define PIPE 120 // and 121: its other end
static const char *const files[] = {"a", "b", "c"};
static char *buffer; // a megabyte that nobody else has
static char *mapped[2]; // of the file of a slot, or NULL
static const size_t mapped_size = 4 * 4096;
static int mapped_prot[2];
static bool is_limited; // RLIMIT_FSIZE

static int slot(void)
{
    int slot = chance(2) ? 9 : (int)pick(SLOTS);
    say(" @%d", slot);
    return SLOT(slot);
}
// Sizes and positions about edges of pages.
static long size(void)
{
    static const long edges[] = {0, 1, 4095, 4096, 4097, 8192, 16384, 16385, 65536, 131072};
    return chance(40) ? ONE_OF(edges) : chance(60) ? (long)pick(9000) : (long)pick(140000);
}
static long odd(long size) { return chance(96) ? size : ONE_OF(((long[]){-1, -4096, LONG_MAX, LONG_MIN, LONG_MAX - 4095, 1l << 62})); }
static size_t length(void) { return chance(70) ? pick(300) : chance(70) ? pick(5000) : pick(70000); }
static void fill(size_t size)
{
    uint64_t with = random_next();
    for (size_t i = 0; i < size; i += 8, with = with * 6364136223846793005 + 1)
        memcpy(buffer + i, &with, 8);
}
static void say_sum(long n)
{
    if (n > 0)
        say(" %08x", sum_of(buffer, n));
}
static unsigned vector(struct iovec *to, bool fills)
{
    unsigned count = chance(95) ? pick(5) : ONE_OF(((unsigned[]){IOV_MAX, IOV_MAX + 1}));
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t n = count > 5 ? 1 : chance(20) ? 0 : length();
        to[i] = (struct iovec){buffer + at, n}, at += n;
    }
    if (fills)
        fill(at);
    say(" [%u: %zu]", count, at);
    return count;
}

static char shown[SLOTS + 3][100];
static void show(int i, const char *now)
{
    if (strcmp(shown[i], now))
        say("\n  %d:%s", i, now);
    strcpy(shown[i], now);
}
static sigjmp_buf fault;
static void on_fault(int signal) { siglongjmp(fault, signal); }
static void before(void) {}
static void after(void)
{
    for (int i = 0; i < SLOTS; i++) {
        char now[100] = " closed";
        struct stat st;
        if (!fstat(SLOT(i), &st))
            snprintf(now, sizeof now, " at %ld of %ld flags %x links %lu", (long)lseek(SLOT(i), 0, SEEK_CUR), (long)st.st_size, fcntl(SLOT(i), F_GETFL), st.st_nlink);
        show(i, now);
    }
    for (int i = 0; i < 2; i++) {
        char now[100] = " unmapped";
        if (mapped[i]) {
            uint32_t volatile sum = 0;
            int signal = sigsetjmp(fault, 1);
            if (!signal)
                sum = sum_of(mapped[i], mapped_size);
            snprintf(now, sizeof now, " map %d %08x", signal, sum);
        }
        show(SLOTS + i, now);
    }
    tree_changes();
}
static void keep(int fd)
{
    int to = pick(SLOTS);
    if (fd >= 0) {
        say(" -> @%d", to);
        dup2(fd, SLOT(to)), close(fd);
    }
}
static void begin(void)
{
    tree_enclose();
    buffer = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = on_fault};
    sigaction(SIGBUS, &action, NULL), sigaction(SIGSEGV, &action, NULL);
    signal(SIGPIPE, SIG_IGN), signal(SIGXFSZ, SIG_IGN);
    int ends[2];
    pipe2(ends, O_NONBLOCK);
    dup2(ends[0], PIPE), dup2(ends[1], PIPE + 1), close(ends[0]), close(ends[1]);
    for (int i = 0; i < 3; i++) {
        int fd = open(files[i], O_CREAT | O_RDWR, 0666);
        fill(10000), write(fd, buffer, i * 4000);
        dup2(fd, SLOT(i)), close(fd);
    }
    after();
}

STEP(10, open)
{
    static const unsigned long bits[] = {O_CREAT, O_TRUNC, O_APPEND, O_APPEND, O_EXCL, O_NOATIME, O_DSYNC, O_PATH, O_TMPFILE};
    int flags = (chance(60) ? O_RDWR : chance(50) ? O_RDONLY : chance(90) ? O_WRONLY : 3) | (chance(50) ? (int)ONE_OF(bits) : O_CREAT);
    const char *name = (flags & O_TMPFILE) == O_TMPFILE ? "." : ONE_OF(files);
    say("open %s %x", name, flags);
    keep(success(open(name, flags, 0666)));
}
STEP(3, memfd)
{
    unsigned flags = chance(70) ? MFD_ALLOW_SEALING : 0;
    say("memfd %x", flags);
    keep(success(memfd_create("m", flags)));
}
STEP(3, seal)
{
    static const unsigned long seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE};
    int seal = ONE_OF(seals);
    say("seal %x", seal);
    int fd = slot();
    char of[50], name[20] = "";
    sprintf(of, "/proc/self/fd/%d", fd);
    if (readlink(of, name, sizeof name) > 0 && !strncmp(name, "/memfd:", 7)) // whether other files may have seals is their file system's business
        result(fcntl(fd, F_ADD_SEALS, seal)), result(fcntl(fd, F_GET_SEALS));
}
STEP(2, close) { say("close"), result(close(slot())); }
STEP(3, dup)
{
    int to = SLOT((int)pick(SLOTS));
    say("dup to %d", to - 100), success(dup2(slot(), to));
}
STEP(3, setfl)
{
    int flags = chance(50) ? O_APPEND : chance(60) ? 0 : O_APPEND | O_NONBLOCK | O_NOATIME;
    say("setfl %x", flags), result(fcntl(slot(), F_SETFL, flags));
}
STEP(12, read)
{
    size_t n = 1 + length(); // whether reading nothing moves the time of access is the file system's business
    say("read %zu", n), say_sum(result(read(slot(), buffer, n)));
}
STEP(8, pread)
{
    size_t n = 1 + length();
    long at = odd(size());
    say("pread %zu %ld", n, at), say_sum(result(pread(slot(), buffer, n, at)));
}
STEP(12, write)
{
    size_t n = length();
    fill(n), say("write %zu", n), result(write(slot(), buffer, n));
}
STEP(8, pwrite)
{
    size_t n = length();
    long at = odd(size());
    fill(n), say("pwrite %zu %ld", n, at), result(pwrite(slot(), buffer, n, at));
}
static const int rwf[] = {0, 0, RWF_APPEND, RWF_DSYNC, RWF_SYNC, RWF_HIPRI, RWF_NOAPPEND, 0x40000000};
STEP(5, preadv2)
{
    struct iovec parts[IOV_MAX + 1];
    unsigned count = vector(parts, false);
    long at = chance(40) ? -1 : odd(size());
    int flags = ONE_OF(rwf);
    say("preadv2 %ld %x", at, flags);
    say_sum(result(preadv2(slot(), parts, count, at, flags)));
}
STEP(6, pwritev2)
{
    struct iovec parts[IOV_MAX + 1];
    unsigned count = vector(parts, true);
    long at = chance(40) ? -1 : odd(size());
    int flags = ONE_OF(rwf);
    say("pwritev2 %ld %x", at, flags);
    result(pwritev2(slot(), parts, count, at, flags));
}
STEP(3, fault) // of two pages the second is not there
{
    int prot = chance(50) ? PROT_NONE : PROT_READ;
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'f', 4096), mprotect(pages + 4096, 4096, prot);
    bool writes = chance(50);
    size_t at = ONE_OF(((size_t[]){0, 100, 4000})); // what can move nothing changes the times in Linux alone
    say("%s fault %d %zu", writes ? "write" : "read", prot, at);
    int fd = slot();
    size_t n = at > 3000 ? 8192 - at : 5000;
    result(writes ? write(fd, pages + at, n) : read(fd, pages + at, n));
    munmap(pages, 8192);
}
STEP(10, lseek)
{
    int whence = chance(90) ? (int)pick(3) : 5; // where data and holes are: see sparse()
    long at = whence == SEEK_SET ? size() : chance(50) ? -(long)pick(5000) : (long)pick(5000);
    at = odd(at);
    say("lseek %ld %d", at, whence), result(lseek(slot(), at, whence));
}
STEP(6, ftruncate) { long to = odd(size()); say("ftruncate %ld", to), result(ftruncate(slot(), to)); }
STEP(4, truncate)
{
    long to = odd(size());
    const char *name = ONE_OF(files);
    struct stat st;
    say("truncate %s %ld", name, to);
    if (stat(name, &st) || !S_ISREG(st.st_mode) || st.st_size != to) // whether that changes the times of a file of this size is the file system's business
        result(truncate(name, to));
}
STEP(8, fallocate)
{
    // Collapsing, inserting and zeroing are some file systems' alone.
    int mode = ONE_OF(((int[]){0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, 0x100}));
    long at = size(), n = chance(95) ? 1 + size() : 0;
    say("fallocate %x %ld %ld", mode, at, n), result(fallocate(slot(), mode, at, n));
}
// What comes to a pipe by sendfile or splice may be the file's pages, which change with it: it is taken out at once.
static void drain(void) { say(" drain"), say_sum(result(read(PIPE, buffer, 1 << 20))); }
STEP(5, sendfile)
{
    off_t at = odd(size()), *where = chance(60) ? &at : NULL;
    size_t n = length();
    say("sendfile %zu", n);
    if (where)
        say(" from %ld", at);
    int from = slot(), to = chance(25) ? PIPE + 1 : slot();
    if (to == PIPE + 1) { // how much fits depends on how the kernel cuts it
        drain();
        n %= 40000;
    }
    struct stat one, other;
    if (is_limited || (!fstat(from, &one) && !fstat(to, &other) && one.st_ino == other.st_ino && one.st_dev == other.st_dev))
        return; // what Linux makes of a position that moves on both sides, or of a limit that the pipe between them meets, is nobody's need
    result(sendfile(to, from, where, n));
    if (where)
        say(" then %ld", at);
    if (to == PIPE + 1)
        drain();
}
STEP(8, copy_file_range)
{
    loff_t at = size(), to_at = size(), *from_where = chance(60) ? &at : NULL, *to_where = chance(60) ? &to_at : NULL;
    size_t n = length();
    say("copy_file_range %zu", n);
    int from = slot(), to = slot();
    if (from_where)
        say(" from %ld", at);
    if (to_where)
        say(" to %ld", to_at);
    result(copy_file_range(from, from_where, to, to_where, n, chance(97) ? 0 : 1));
    say(" then %ld %ld", from_where ? at : 0, to_where ? to_at : 0);
}
STEP(6, splice)
{
    loff_t at = size(), *where = chance(60) ? &at : NULL;
    size_t n = chance(70) ? pick(5000) : length();
    bool out = chance(50);
    say("splice %s %zu", out ? "out of" : "into", n);
    int fd = slot();
    if (out)
        drain(), n %= 40000;
    if (where)
        say(" at %ld", at);
    result(out ? splice(fd, where, PIPE + 1, NULL, n, SPLICE_F_NONBLOCK) : splice(PIPE, NULL, fd, where, n, SPLICE_F_NONBLOCK));
    say(" then %ld", where ? at : 0);
    if (out)
        drain();
}
STEP(3, drain) { drain(); }
STEP(2, flood) { size_t n = length(); fill(n), say("flood %zu", n), result(write(PIPE + 1, buffer, n)); }
STEP(5, map)
{
    int which = pick(2), flags = chance(70) ? MAP_SHARED : chance(50) ? MAP_PRIVATE : MAP_SHARED_VALIDATE, prot = chance(60) ? PROT_READ | PROT_WRITE : PROT_READ;
    if (mapped[which])
        munmap(mapped[which], mapped_size);
    say("map %d %x %x", which, flags, prot);
    void *at = mmap(NULL, mapped_size, prot, flags, slot(), 4096 * pick(3));
    success(at == MAP_FAILED ? -1 : 0);
    mapped[which] = at == MAP_FAILED ? NULL : at;
    mapped_prot[which] = prot;
}
STEP(6, store)
{
    int which = pick(2), signal;
    size_t at = pick(mapped_size - 8);
    char byte = pick(256);
    say("store %d %zu", which, at);
    if (!mapped[which])
        return;
    if ((signal = sigsetjmp(fault, 1)))
        say(" signal %d", signal);
    else
        memset(mapped[which] + at, byte, 8), say(" ok");
    if (chance(50))
        result(msync(mapped[which], mapped_size, MS_SYNC));
}
STEP(2, protect)
{
    int which = pick(2), prot = chance(50) ? PROT_READ : PROT_READ | PROT_WRITE;
    say("protect %d %x", which, prot);
    if (mapped[which])
        result(mprotect(mapped[which], mapped_size, prot));
}
STEP(2, sync) { say("fsync"); int fd = slot(); result(chance(50) ? fsync(fd) : fdatasync(fd)); }
STEP(2, advise) { int advice = pick(7); say("fadvise %d", advice); result(posix_fadvise(slot(), size(), size(), advice)); }
STEP(2, unlink) { const char *name = ONE_OF(files); say("unlink %s", name), result(unlink(name)); }
STEP(2, rename) { const char *name = ONE_OF(files), *to = ONE_OF(files); say("rename %s %s", name, to), result(rename(name, to)); }
STEP(2, limit)
{
    struct rlimit limit = {chance(50) ? RLIM_INFINITY : 20000, RLIM_INFINITY};
    is_limited = limit.rlim_cur != RLIM_INFINITY;
    say("limit %ld", (long)limit.rlim_cur), result(setrlimit(RLIMIT_FSIZE, &limit));
}
STEP(2, flock)
{
    int how = ONE_OF(((int[]){LOCK_SH, LOCK_EX, LOCK_UN, 0, LOCK_SH | LOCK_EX})) | LOCK_NB;
    say("flock %x", how), result(flock(slot(), how));
}
STEP(3, lock) // with open file descriptions as owners
{
    struct flock lock = {.l_type = ONE_OF(((short[]){F_RDLCK, F_WRLCK, F_UNLCK})), .l_whence = chance(90) ? SEEK_SET : ONE_OF(((short[]){SEEK_CUR, SEEK_END, 9})), .l_start = pick(20), .l_len = (long)pick(20) - 3};
    int how = chance(60) ? F_OFD_SETLK : F_OFD_GETLK;
    say("lock %d %d %d %ld %ld", how, lock.l_type, lock.l_whence, (long)lock.l_start, (long)lock.l_len);
    if (result(fcntl(slot(), how, &lock)) == 0 && how == F_OFD_GETLK)
        say(" %d %d %ld %ld %d", lock.l_type, lock.l_whence, (long)lock.l_start, (long)lock.l_len, lock.l_pid);
}
// A file of which the kernel must know the holes: made sparse at once, with data here and there.
STEP(3, sparse)
{
    int fd = memfd_create("sparse", 0);
    ftruncate(fd, 1 << 20);
    say("sparse");
    for (unsigned i = pick(6); i; i--) {
        long at = pick(250) * 4096, n = 1 + pick(20000);
        fill(n);
        if (chance(70))
            say(" write %ld %ld", at, n), result(pwrite(fd, buffer, n, at));
        else
            say(" punch %ld %ld", at, n), result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n));
    }
    for (int i = 0; i < 4; i++) {
        long at = pick(1 << 20);
        say(" data %ld", at), result(lseek(fd, at, SEEK_DATA)), say(" hole"), result(lseek(fd, at, SEEK_HOLE));
    }
    struct stat st;
    fstat(fd, &st), say(" blocks %ld", (long)st.st_blocks);
    close(fd);
}

RANDOM_MAIN(begin)
