// Memory: maps of all kinds, their rights, moves, advice and locks, faults with their siginfo, files that shrink below their maps, seals, SysV segments, limits.
// All happens in two regions of 24 pages (one where the kernel put it, one at a fixed address); `look` prints what user space sees of them.
// open: tmpfs overlay bind
#include "random.h"
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>

#define P 4096L
#define PAGES 24
static char *regions[2]; // with nothing of others beside them
static int files[5];     // two files, one of them opened for reading alone, too; two memory files
static const char *const file_names[] = {"f", "g", "f(ro)", "m", "n"};
static int segments[3] = {-1, -1, -1};

// An address in a region: pages as "A3", others with what is beyond the page.
static char *place(void) { return regions[pick(2)] + pick(PAGES) * P; }
// Region A lies in stockade's arena (docs/adr/0006), where guest code maps private memory anew without the kernel's knowledge: what it has remembered of
// the range before, locks and hints, is shown until somebody looks. So memory is locked in B only.
static bool in_a(char *at) { return at >= regions[0] && at < regions[0] + PAGES * P; }
static void say_place(const char *name, char *at)
{
    for (int r = 0; r < 2; r++)
        if (at >= regions[r] - P && at < regions[r] + (PAGES + 8) * P) {
            long page = (at - regions[r] + P) / P - 1, rest = (at - regions[r] + P) % P;
            say(" %s%c%ld", name, 'A' + r, page);
            if (rest)
                say("+%lx", rest);
            return;
        }
    say(" %s%s", name, at ? "elsewhere" : "0");
}
static size_t length(char *at)
{
    for (int r = 0; r < 2; r++)
        if (at >= regions[r] && at < regions[r] + PAGES * P) {
            size_t most = PAGES - (at - regions[r]) / P, n = 1 + pick(7);
            n = (n < most ? n : most) * P;
            return chance(6) ? n - pick(P) : n;
        }
    return P;
}
static char *shifted(char *at) { return chance(3) ? at + 1 + pick(P - 1) : at; } // now and then not at a page's beginning

static sigjmp_buf after_fault;
static siginfo_t fault_info;
static long fault_error, fault_trap, fault_address;
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    ucontext_t *uc = context;
    fault_info = *info, fault_error = uc->uc_mcontext.gregs[REG_ERR], fault_trap = uc->uc_mcontext.gregs[REG_TRAPNO], fault_address = uc->uc_mcontext.gregs[REG_CR2];
    siglongjmp(after_fault, 1);
}
#define FAULTS(...) (sigsetjmp(after_fault, 0) || ({ __VA_ARGS__; 0; }))
static void say_fault(char *at)
{
    say(" signal %d code %d addr %+ld error %lx trap %lx", fault_info.si_signo, fault_info.si_code, (char *)fault_info.si_addr - at, fault_error, fault_trap);
    if (fault_trap == 14)
        say(" cr2 %+ld", fault_address - (long)at);
    if (fault_info.si_code == SEGV_PKUERR)
        say(" key"); // which one depends on what was allocated before
}
static void touch(char *at, unsigned how, unsigned char value)
{
    volatile char *p = at;
    static const char *const hows[] = {"read", "write", "call"};
    say(" %s", hows[how]);
    say_place("", at);
    unsigned char seen = 0;
    if (FAULTS(seen = *p)) {
        say_fault(at);
        if (how != 1)
            return;
    }
    if (how == 0)
        say(" %x", seen);
    if (how == 1 && FAULTS(*p = value))
        say_fault(at);
    if (how == 2 && seen == 0xc3) { // a return
        if (FAULTS(((void (*)(void))at)()))
            say_fault(at);
        else
            say(" came back");
    }
}

static void begin(void)
{
    regions[0] = (char *)mmap(NULL, P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) - (1l << 30); // far enough below what maps without a wish get
    regions[1] = (char *)0x200000000;
    files[0] = open("f", O_RDWR | O_CREAT, 0666);
    files[1] = open("g", O_RDWR | O_CREAT, 0666);
    files[2] = open("f", O_RDONLY);
    files[3] = memfd_create("m", MFD_ALLOW_SEALING);
    files[4] = memfd_create("n", MFD_ALLOW_SEALING);
    for (int i = 0; i < 5; i++)
        if (i != 2)
            ftruncate(files[i], 4 * P + 100), pwrite(files[i], "\xc3 file", 6, P);
    static char room[16 * P];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    random_flush();
}

// The lines of maps in the regions; those that lie side by side and are alike as one, since what is merged is a matter of luck.
struct line {
    unsigned long from, to, offset;
    char rights[5], name[64], flags[128];
};
static bool in_region(unsigned long at)
{
    return (at >= (unsigned long)regions[0] && at < (unsigned long)regions[0] + PAGES * P) || (at >= (unsigned long)regions[1] && at < (unsigned long)regions[1] + PAGES * P);
}
static void say_line(const struct line *line)
{
    if (!line->to)
        return;
    say_place(" ", (char *)line->from);
    say("-%ld %s %lx %s%s;", (line->to - line->from) / P, line->rights, line->offset / P, line->name, line->flags);
}
static void add_line(struct line *last, struct line *is)
{
    bool file = *is->name && *is->name != '[';
    if (last->to == is->from && !strcmp(last->rights, is->rights) && !strcmp(last->name, is->name) && !strcmp(last->flags, is->flags) && (!file || last->offset + last->to - last->from == is->offset)) {
        last->to = is->to;
        return;
    }
    say_line(last);
    *last = *is;
}
static void say_maps(const char *source)
{
    FILE *maps = fopen(source, "re");
    bool flags = strstr(source, "smaps"), inside = false;
    struct line is = {0}, last = {0};
    char text[512];
    while (maps && fgets(text, sizeof text, maps)) {
        char path[400] = "";
        if (flags && inside && !strncmp(text, "VmFlags:", 8)) {
            *is.flags = 0;
            for (char *flag = strtok(text + 8, " \n"); flag; flag = strtok(NULL, " \n"))
                if (!(strstr(is.name, "memfd:") && !strcmp(flag, "mw")) && // seals
                    !strstr(in_a((char *)is.from) ? "sd ac nr nh sr rr dd dc wf" : "sd ac nr nh", flag)) // soft dirty is the kernel's own; accounting depends on how the host overcommits
                    strcat(strcat(is.flags, " "), flag);
            add_line(&last, &is);
        } else if (strchr(text, '-') && strchr(text, '-') < strchr(text, ' ') && sscanf(text, "%lx-%lx %4s %lx %*s %*s %399[^\n]", &is.from, &is.to, is.rights, &is.offset, path) >= 4) {
            snprintf(is.name, sizeof is.name, "%.60s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
            if ((inside = in_region(is.from)) && !flags)
                add_line(&last, &is);
        }
    }
    say_line(&last);
    if (maps)
        fclose(maps);
}
static void say_contents(void)
{
    for (int r = 0; r < 2; r++)
        for (int page = 0; page < PAGES; page++) {
            char *at = regions[r] + page * P;
            uint32_t sum = 0;
            if (!FAULTS(sum = sum_of(at, P)))
                say(" %c%d=%x", 'A' + r, page, sum);
            else if (fault_info.si_code != SEGV_MAPERR)
                say(" %c%d:%d/%d", 'A' + r, page, fault_info.si_signo, fault_info.si_code);
        }
}
ACTION(24, look)
{
    say("look");
    say_maps("/proc/self/maps");
    say_contents();
}
ACTION(8, smaps)
{
    say("smaps");
    say_maps("/proc/self/smaps");
}
ACTION(4, pagemap)
{
    int r = pick(2), fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry[PAGES] = {0};
    say("pagemap"); // pages of files come and go with those around them
    result(pread(fd, entry, sizeof entry, (unsigned long)regions[r] / P * 8));
    for (int i = 0; i < PAGES; i++)
        say(" %c%d%s", 'A' + r, i, entry[i] >> 63 & 1 ? entry[i] >> 61 & 1 ? "-" : "a" : "-");
    close(fd);
}
ACTION(4, mincore)
{
    char *at = place();
    size_t size = length(at);
    unsigned char there[8] = {0};
    say("mincore");
    say_place("", at = shifted(at));
    say(" %lx", size);
    if (result(mincore(at, size, there)) == 0)
        for (size_t i = 0; i < (size + P - 1) / P; i++)
            say(" %d", there[i] & 1);
}

// Not PROT_WRITE and PROT_EXEC alone: what can be read nevertheless depends on the processor, and stockade's kernel cannot.
static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC, 0x10};
static const unsigned long map_bits[] = {MAP_NORESERVE, MAP_POPULATE, MAP_STACK, MAP_LOCKED};
static const unsigned long odd_lengths[] = {0, -1, 1ul << 47, 1ul << 63, -P};
ACTION(40, mmap)
{
    char *at = place();
    size_t size = length(at);
    int prot = ONE_OF(prots), file = pick(12), type = ONE_OF(((int[]){MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED, MAP_SHARED, MAP_SHARED_VALIDATE, 0}));
    int fixed = ONE_OF(((int[]){MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED_NOREPLACE, 0}));
    unsigned long flags = chance(40) ? SOME_OF(map_bits) : 0;
    off_t offset = chance(50) ? 0 : pick(6) * P;
    if (chance(4))
        offset = ONE_OF(((off_t[]){1, -P, 0x7ffffffffffff000, 1 << 20}));
    if (chance(3))
        size = ONE_OF(odd_lengths);
    if (type == 0 && chance(80))
        type = MAP_PRIVATE;
    if (file > 4)
        flags |= MAP_ANONYMOUS;
    if (chance(2))
        flags |= 0x200000; // a flag that nobody has
    if (file < 5 && fixed == MAP_FIXED_NOREPLACE)
        fixed = MAP_FIXED; // whether a file's rights or what is there already are looked at first is nobody's business
    at = chance(3) ? NULL : shifted(at);
    if (!at || in_a(at))
        flags &= ~MAP_LOCKED;
    say("mmap");
    say_place("", at);
    say(" %lx prot %x %s flags %lx %s offset %lx", size, prot, type == MAP_PRIVATE ? "private" : type == MAP_SHARED ? "shared" : type ? "validate" : "none", flags | fixed,
        file <= 4 ? file_names[file] : "-", offset);
    if (!at)
        fixed = 0;
    char *got = mmap(at, size, prot, type | flags | fixed, file <= 4 ? files[file] : file == 5 ? 99 : -1, offset);
    success((long)got);
    if (got != MAP_FAILED && got != (char *)((long)at & -P)) {
        say(" elsewhere");
        munmap(got, size);
    }
}
ACTION(10, munmap)
{
    char *at = place();
    size_t size = chance(2) ? ONE_OF(odd_lengths) : length(at);
    if (size > PAGES * P)
        size = 0;
    say("munmap");
    say_place("", at = shifted(at));
    say(" %lx", size);
    result(munmap(at, size));
}
ACTION(16, mprotect)
{
    char *at = place();
    size_t size = length(at);
    int prot = ONE_OF(prots) | (chance(3) ? PROT_GROWSDOWN : 0) | (chance(2) ? PROT_GROWSUP : 0);
    say("mprotect");
    say_place("", at = shifted(at));
    say(" %lx %x", size, prot);
    result(mprotect(at, size, prot));
}
ACTION(20, mremap)
{
    char *at = place(), *to = place();
    size_t old = length(at), new = chance(40) ? old : length(to);
    int flags = ONE_OF(((int[]){0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, MREMAP_FIXED}));
    if (flags & MREMAP_DONTUNMAP && !in_a(at)) // what stays of locked memory is a matter of what was merged
        flags = MREMAP_MAYMOVE;
    if ((old + P - 1) / P == (new + P - 1) / P && old > P) // Linux 6.17 and later move several maps at once
        new = (old - 1) / P * P;
    if (chance(8))
        old = 0; // duplicates what is shared
    if (chance(2))
        new = 0;
    if (chance(2))
        flags |= 8;
    say("mremap");
    say_place("", at = shifted(at));
    say(" %lx", old);
    say_place("to ", to = shifted(to));
    say(" %lx %x", new, flags);
    char *got = mremap(at, old, new, flags, to);
    if (success((long)got) != -1)
        if (got != at && got != to) {
            uint32_t sum = 0;
            say(" moved");
            if (!FAULTS(sum = sum_of(got, new)))
                say(" %x", sum);
            munmap(got, new);
        }
}
// Not MADV_HWPOISON, which would be the host's memory; not MERGEABLE, HUGEPAGE, COLLAPSE and GUARD_INSTALL, which are there or not as a kernel was built.
ACTION(20, madvise)
{
    static const int advice[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_FREE, MADV_DONTFORK, MADV_DOFORK,
        MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, 24 /* DONTNEED_LOCKED */, 5, 99, -1};
    char *at = place();
    size_t size = length(at);
    int is = ONE_OF(advice);
    if (is == MADV_WIPEONFORK || is == MADV_DONTNEED) // Linux does what comes before an area that it does not fit; stockade nothing
        size = P;
    say("madvise");
    say_place("", at = shifted(at));
    say(" %lx %d", size, is);
    result(madvise(at, size, is));
}
// On shared anonymous memory MADV_REMOVE does not work in stockade, so it is asked for what it can do only.
ACTION(6, remove)
{
    char *at = place();
    size_t size = length(at) & -P;
    unsigned file = pick(3); // not one with seals
    off_t offset = pick(4) * P;
    int prot = ONE_OF(prots), type = chance(80) ? MAP_SHARED : MAP_PRIVATE;
    say("remove");
    say_place("", at);
    say(" %lx %s %lx %x %x", size, file_names[file], offset, prot, type);
    if (success((long)mmap(at, size, prot, type | MAP_FIXED, files[file], offset)) != -1 && size) {
        result(madvise(at, chance(20) ? size - 1 : size, MADV_REMOVE));
        touch(at + size / 2, 0, 0);
    }
}
ACTION(8, lock)
{
    char *at = shifted(regions[1] + pick(PAGES) * P);
    size_t size = length(at);
    unsigned how = pick(8);
    say("lock %u", how);
    say_place("", at);
    say(" %lx", size);
    result(how < 2 ? mlock(at, size) : how < 4 ? mlock2(at, size, pick(3)) : how < 6 ? munlock(at, size) : how == 6 ? munlockall() : mlock2(at, size, MLOCK_ONFAULT));
}
ACTION(40, touch)
{
    char *at = place() + (chance(60) ? 0 : pick(P));
    unsigned how = ONE_OF(((unsigned[]){0, 1, 1, 1, 2}));
    touch(at, how, chance(40) ? 0xc3 : pick(256));
}
ACTION(8, msync)
{
    char *at = place();
    size_t size = length(at);
    int flags = ONE_OF(((int[]){MS_SYNC, MS_ASYNC, MS_INVALIDATE, MS_SYNC | MS_INVALIDATE, MS_SYNC | MS_ASYNC, 0, 8}));
    say("msync");
    say_place("", at = shifted(at));
    say(" %lx %x", size, flags);
    result(msync(at, size, flags));
}
static void say_file(int file)
{
    char data[8 * P];
    struct stat st;
    fstat(files[file], &st);
    ssize_t n = pread(files[file], data, sizeof data, 0);
    say(" %s size %ld sum %x", file_names[file], (long)st.st_size, n > 0 ? sum_of(data, n) : 0);
}
ACTION(20, file)
{
    unsigned file = pick(5), how = pick(6);
    off_t at = chance(70) ? pick(7) * P : pick(7 * P), size = chance(50) ? P : pick(2 * P);
    char data[2 * P];
    memset(data, pick(256), sizeof data);
    say("file %u %lx %lx", how, at, size);
    result(how < 2 ? ftruncate(files[file], at) : how < 4 ? pwrite(files[file], data, size, at) : fallocate(files[file], how == 4 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0, at, size));
    say_file(file);
}
ACTION(6, seal)
{
    unsigned file = 2 + pick(3);
    if (chance(30) && file > 2) { // a new one; the maps of the old one stay
        unsigned flags = ONE_OF(((unsigned[]){MFD_ALLOW_SEALING, MFD_ALLOW_SEALING | MFD_CLOEXEC, 0, 8 /* NOEXEC_SEAL */, 0x10 /* EXEC */, 0x18, 0x400}));
        say("memfd %s %x", file_names[file], flags);
        int fd = memfd_create(file_names[file], flags);
        if (success(fd) >= 0) {
            close(files[file]), files[file] = fd;
            ftruncate(fd, 4 * P + 100), pwrite(fd, "\xc3 file", 6, P);
        }
    } else {
        int seals = ONE_OF(((int[]){F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, 0x20 /* EXEC */, 0x40}));
        say("seal %s %x", file_names[file], seals);
        result(fcntl(files[file], F_ADD_SEALS, seals));
    }
    say(" seals");
    result(fcntl(files[file], F_GET_SEALS));
}
ACTION(10, copy) // reads and writes by the kernel, over pages that are there or not
{
    char *at = place() + (chance(50) ? 0 : pick(P));
    size_t size = chance(50) ? 2 * P : pick(3 * P);
    unsigned file = pick(5), how = pick(4);
    char data[3 * P];
    memset(data, pick(256), sizeof data);
    if (how == 1 && file > 1)
        file = 0; // seals or bad addresses first?
    say("copy %u", how);
    say_place("", at);
    say(" %lx %s", size, file_names[file]);
    struct iovec here[2] = {{data, size / 2}, {data + size / 2, size - size / 2}}, there[2] = {{at, size / 3}, {at + size / 3, size - size / 3}};
    long n = result(how == 0 ? pread(files[file], at, size, 0) : how == 1 ? pwrite(files[file], at, size, 0) : how == 2 ? process_vm_readv(getpid(), here, 2, there, 2, 0) : process_vm_writev(getpid(), here, 2, there, 2, 0));
    if (how == 2 && n > 0)
        say(" %x", sum_of(data, n));
}
ACTION(5, fork) // the child changes some, and prints what it sees; then the parent does
{
    char *at[3] = {place(), place(), place()};
    unsigned char value = pick(256);
    say("fork");
    random_flush();
    pid_t child = fork();
    if (child == 0) {
        say("child");
        for (int i = 0; i < 3; i++)
            touch(at[i], 1, value);
        say_maps("/proc/self/maps");
        say_contents();
        random_flush();
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    say("parent %x", status);
    say_contents();
}
ACTION(8, segment)
{
    unsigned i = pick(3), how = pick(6);
    say("segment %u", i);
    if (segments[i] == -1 || how == 0) {
        size_t size = chance(90) ? (1 + pick(4)) * P - (chance(20) ? 5 : 0) : chance(50) ? 0 : -P;
        int flags = ONE_OF(((int[]){0600, 0600, 0600, 0400, 0700, 0600 | SHM_NORESERVE}));
        if (segments[i] != -1)
            shmctl(segments[i], IPC_RMID, NULL);
        say(" get %lx %o", size, flags);
        success(segments[i] = shmget(IPC_PRIVATE, size, flags | IPC_CREAT));
    } else if (how < 4) {
        char *at = chance(80) ? place() : place() + pick(P);
        int flags = ONE_OF(((int[]){0, SHM_REMAP, SHM_REMAP, SHM_RDONLY, SHM_RDONLY | SHM_REMAP, SHM_EXEC, SHM_EXEC | SHM_REMAP, SHM_RND, SHM_RND | SHM_REMAP}));
        if (chance(5))
            at = NULL;
        say(" at");
        say_place("", at);
        say(" %x", flags);
        char *got = shmat(segments[i], at, flags);
        success((long)got);
        if (got != (void *)-1)
            say_place("", got);
        if (got != (void *)-1 && !at)
            result(shmdt(got));
    } else if (how == 4) {
        char *at = place(); // whole: what is left of one behind another map stays
        say(" dt");
        say_place("", at);
        if (success((long)shmat(segments[i], at, SHM_REMAP)) != -1)
            result(shmdt(at));
    } else
        result(shmctl(segments[i], pick(2) ? IPC_RMID : chance(50) ? SHM_LOCK : SHM_UNLOCK, NULL));
    struct shmid_ds ds;
    if (segments[i] != -1 && shmctl(segments[i], IPC_STAT, &ds) == 0)
        say(" size %lx mode %o by %d", ds.shm_segsz, ds.shm_perm.mode, ds.shm_cpid == getpid());
    else
        segments[i] = -1;
}
static long status_pages(const char *field)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    read(fd, text, sizeof text - 1);
    close(fd);
    char *at = strstr(text, field);
    return at ? strtol(at + strlen(field) + 1, NULL, 10) / 4 : 0;
}
ACTION(4, limits) // in a child: what goes beyond, from where it is
{
    static const struct { int limit; const char *field; } kinds[] = {{RLIMIT_AS, "VmSize"}, {RLIMIT_DATA, "VmData"}, {RLIMIT_MEMLOCK, "VmLck"}};
    unsigned kind = pick(3), more = pick(12);
    bool root = chance(30);
    say("limit %s +%u%s", kinds[kind].field, more, root ? " root" : "");
    random_flush();
    pid_t child = fork();
    if (child == 0) {
        if (!root)
            setresuid(1000, 1000, 1000);
        char *base = mmap((void *)0x210000000, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        long now = status_pages(kinds[kind].field);
        setrlimit(kinds[kind].limit, &(struct rlimit){(now + more) * P, (now + more) * P});
        for (int i = 0; i < 10; i++) {
            size_t size = (1 + pick(6)) * P;
            char *at = base + (8 + pick(40)) * P;
            int prot = ONE_OF(prots), how = pick(8), type = chance(30) ? MAP_SHARED : MAP_PRIVATE, file = pick(8);
            if (file == 2) // which of two errors comes first is nobody's business
                file = 5;
            say(" %d %lx %x %x %d:", how, size, prot, type, file);
            success(how < 3 ? (long)mmap(at, size, prot, type | MAP_FIXED | (file < 5 ? 0 : MAP_ANONYMOUS) | (chance(30) ? MAP_LOCKED : 0), file < 5 ? files[file] : -1, 0)
                : how == 3 ? mprotect(at, size, prot)
                : how == 4 ? munmap(at, size)
                : how == 5 ? (long)mremap(at, P, size, 0)
                : how == 6 ? mlock(at, size)
                           : (long)sbrk(pick(8) * P));
            say(" +%ld", status_pages(kinds[kind].field) - now);
        }
        random_flush();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("after");
}
ACTION(4, brk) // in a child
{
    say("brk");
    random_flush();
    pid_t child = fork();
    if (child == 0) {
        char *base = sbrk(0), *from = base;
        for (int i = 0; i < 6; i++) {
            long by = chance(70) ? (long)pick(6 * P) : -(long)pick(6 * P);
            say(" %+ld", by);
            long was = syscall(SYS_brk, 0), now = syscall(SYS_brk, was + by);
            say(" %+ld", now - was);
            if (now > (long)from && !FAULTS(*(volatile char *)(now - 1) += 1))
                say(" %d", *(char *)(now - 1));
            if (FAULTS(*(volatile char *)(((now + P - 1) & -P)) = 1))
                say_fault((char *)((now + P - 1) & -P));
        }
        random_flush();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("after");
}
// A stack: it grows down when it is touched. How far it reaches in maps is not printed, since its room may be mapped from the beginning.
ACTION(4, stack)
{
    char *at = (char *)0x300000000;
    size_t size = (1 + pick(4)) * P;
    int prot = ONE_OF(((int[]){PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ}));
    say("stack %lx", size);
    success((long)mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    for (int i = 0; i < 3; i++) {
        char *to = at - pick(300 * P);
        unsigned char seen = 99;
        if (FAULTS(*(volatile char *)to += 1, seen = *(volatile char *)to))
            say_fault(to);
        else
            say(" %d", seen);
    }
    if (chance(50)) {
        say(" mprotect");
        result(mprotect(at + pick(2) * P, P, PROT_READ | PROT_GROWSDOWN));
        touch(at - P, 1, 3);
    }
    munmap(at - (1 << 26), (1 << 26) + 8 * P);
}

RANDOM_MAIN(begin)
