// FUSE servers that lie to their kernel, while others use what they serve: answers with wrong lengths, numbers and types, attributes that cannot be, listings that go in
// circles, notifications of anything, answers after the end. FUZZ_SEED and FUZZ_SECONDS choose another run than a new one of 6 seconds; the seed is printed first.
#define HOSTILE_SECONDS fuse_seconds
static int fuse_seconds = 6;
#include "hostile.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/uio.h>

// All that the support's server says passes here: `lies` of a hundred answers are other than they should be.
static int lies, silence;
static ssize_t lying_writev(int fd, struct iovec *parts, int count);
#define writev lying_writev
#include "fuse.h"
#undef writev

static uint64_t pick(uint64_t n) { return hostile_random() % n; }
static uint64_t number(void)
{
    static const uint64_t edges[] = {0, 1, 2, 5, 7, 63, 64, 255, 256, 4095, 4096, 4097, 65535, 65536, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 1ul << 32, 1ul << 40,
                                     0x7fffffffffffffff, 0x7ffffffffffff000, 1ul << 63, -1, -2, -4095, -4096};
    switch (pick(4)) {
    case 0: return edges[pick(sizeof edges / sizeof *edges)];
    case 1: return pick(NODES + 4);
    case 2: return 1ul << pick(64);
    default: return hostile_random() >> pick(64);
    }
}
static const char *const bad_names[] = {"file", "dir", "inner", "link", "new", ".", "..", "", "a/b", "/", "a\0b", "../../etc", "\n\x1b[2J"};
static size_t bad_name(char *to)
{
    size_t len = pick(12) ? strlen(strcpy(to, bad_names[pick(13)])) : 250 + pick(900);
    if (len >= 250)
        memset(to, 'x', len);
    else if (pick(8) == 0)
        to[len++] = pick(2) ? 0 : '/';
    return len;
}
static char junk[(1 << 20) + 65536];
static size_t listing(bool plus, size_t room)
{
    size_t used = 0;
    for (int count = pick(20); count-- > 0;) {
        char name[1200];
        size_t head = plus ? offsetof(struct fuse_direntplus, dirent) : 0, len = bad_name(name), size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
        if (used + size > room)
            break;
        memset(junk + used, 0, size);
        if (plus) {
            struct fuse_entry_out e = fuse_entry(1 + pick(8));
            memcpy(junk + used, &e, sizeof e);
            if (pick(2))
                ((uint64_t *)(junk + used))[pick(16)] = number();
        }
        struct fuse_dirent *d = (void *)(junk + used + head);
        // Offsets that stay, go back or leap: who lists must come to an end or be told of one.
        *d = (struct fuse_dirent){.ino = number(), .off = pick(3) ? pick(4) : number(), .namelen = pick(10) ? len : number(), .type = pick(20)};
        memcpy(d->name, name, len);
        used += size;
    }
    return used;
}
// Tells something that nobody asked for.
static void notify(int fd)
{
    char body[2048];
    size_t len = 0;
    uint64_t *words = (uint64_t *)body;
    int code = pick(9);
    words[0] = pick(4) ? pick(12) : number(), words[1] = number(), words[2] = number();
    switch (code) {
    case FUSE_NOTIFY_POLL: len = 8, words[0] = pick(2) ? S->poll_kh : number(); break;
    case FUSE_NOTIFY_INVAL_INODE: len = 24; break;
    case FUSE_NOTIFY_INVAL_ENTRY: {
        size_t name = bad_name(body + 16);
        ((uint32_t *)body)[2] = pick(8) ? name : number(), ((uint32_t *)body)[3] = pick(3), body[16 + name] = 0, len = 16 + name + 1;
        break;
    }
    case FUSE_NOTIFY_STORE:
        len = 24 + pick(1500);
        words[1] = pick(3) ? pick(20000) : number(), ((uint32_t *)body)[4] = pick(8) ? len - 24 : number();
        break;
    case FUSE_NOTIFY_RETRIEVE: len = 32, words[1] = pick(12), words[3] = number(), words[2] = pick(2) ? 0 : number(); break;
    case FUSE_NOTIFY_DELETE: {
        size_t name = bad_name(body + 24);
        ((uint32_t *)body)[4] = pick(8) ? name : number(), body[24 + name] = 0, len = 24 + name + 1;
        break;
    }
    default: len = pick(sizeof body);
    }
    if (pick(16) == 0)
        len = pick(sizeof body);
    struct fuse_out_header h = {.len = pick(20) ? sizeof h + len : number(), .error = code};
    struct iovec v[2] = {{&h, sizeof h}, {body, len}};
    writev(fd, v, 2);
}
static uint32_t asked; // the operation that is being answered
static ssize_t lying_writev(int fd, struct iovec *parts, int count)
{
    struct fuse_out_header h = *(struct fuse_out_header *)parts[0].iov_base;
    size_t len = count > 1 ? parts[1].iov_len : 0;
    if (pick(100) < (uint64_t)silence)
        return 16;
    if (pick(6) == 0)
        notify(fd);
    if (asked == FUSE_INIT ? pick(4) != 0 : pick(100) >= (uint64_t)lies)
        return writev(fd, parts, count);
    if (len > sizeof junk)
        len = sizeof junk;
    if (len)
        memcpy(junk, parts[1].iov_base, len);
    for (int changes = 1 + pick(3); changes-- > 0;)
        switch (pick(14)) {
        case 0 ... 3: // one word is another
            if (len >= 8)
                ((uint64_t *)junk)[pick(len / 8)] = number();
            break;
        case 4 ... 5: // half of one
            if (len >= 4)
                ((uint32_t *)junk)[pick(len / 4)] = number();
            break;
        case 6: len = pick(len + 1); break;
        case 7: {
            size_t more = pick(8) ? pick(200) : pick(sizeof junk - len);
            memset(junk + len, pick(256), more), len += more;
            break;
        }
        case 8: h.error = pick(2) ? -(int)number() : (int)number(), len = pick(2) ? len : 0; break;
        case 9: h.unique = pick(2) ? h.unique ^ 1 << pick(4) : number(); break;
        case 10: // the listing of something else
            if (asked == FUSE_READDIR || asked == FUSE_READDIRPLUS || pick(8) == 0)
                len = listing(asked == FUSE_READDIRPLUS, 32 << 10);
            break;
        case 11: // a link's target, a name, data
            for (size_t i = 0; i < len; i++)
                junk[i] = pick(4) ? "/x.\0"[pick(4)] : (char)hostile_random();
            break;
        case 12: h.error = -(int[]){EINTR, EAGAIN, ENOSYS, ENOENT, EIO, ESTALE, 511, 512, 4095}[pick(9)], len = 0; break;
        }
    h.len = pick(20) ? sizeof h + len : number();
    struct iovec v[2] = {{&h, sizeof h}, {junk, len}};
    ssize_t sent = writev(fd, v, 2);
    if (pick(4) == 0)
        writev(fd, v, 2); // twice
    if (pick(3)) // and one that ends the wait
        fuse_reply(fd, ((struct fuse_out_header *)parts[0].iov_base)->unique, EIO, NULL, 0);
    return sent;
}
// What the support's server takes for numbers of its own must be such: they came from here, but not unchanged.
static void tame(char *request)
{
    struct fuse_in_header *h = (void *)request;
    uint64_t *arg = (void *)(h + 1);
    switch (asked = h->opcode) {
    case FUSE_LINK: arg[0] %= NODES; break;
    case FUSE_READ:
    case FUSE_WRITE: arg[1] %= DATA_MAX / 2; break;
    case FUSE_FALLOCATE: arg[1] %= DATA_MAX / 2, arg[2] %= DATA_MAX / 2; break;
    case FUSE_COPY_FILE_RANGE: arg[1] %= DATA_MAX / 4, arg[2] %= NODES, arg[4] %= DATA_MAX / 4, arg[5] %= DATA_MAX / 4; break;
    case FUSE_INTERRUPT:
        if (pick(2))
            for (int many = pick(50); many >= 0; many--) // it asks to be told again
                fuse_reply(fuse_fd, h->unique, pick(8) ? EAGAIN : ENOSYS, NULL, 0);
        break;
    }
    for (int i = 0; i < NODES; i++)
        if (S->node[i].size > DATA_MAX / 2)
            S->node[i].size = DATA_MAX / 2;
}
static void serve(uint64_t seed)
{
    hostile_seed = seed * 0x9e3779b97f4a7c15 | 1;
    static char request[(1 << 20) + 65536];
    for (;;) {
        ssize_t got = read(fuse_fd, request, sizeof request);
        if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
            continue;
        if (got < 0) { // it goes on talking
            for (int i = 0; i < 50; i++)
                notify(fuse_fd), fuse_reply(fuse_fd, number(), pick(2), NULL, 0);
            _exit(0);
        }
        tame(request);
        fuse_serve_one(fuse_fd, request, got);
    }
}

static const char *const paths[] = {"m", "m/file", "m/dir", "m/dir/inner", "m/link", "m/new", "m/dir/new", "m/dir/..", "m/link/x", "m/new/a"};
static void on_alarm(int sig) { (void)sig; }
static void use_once(char *buffer)
{
    const char *a = paths[pick(10)], *b = paths[pick(10)];
    struct stat st;
    struct statfs fs;
    int fd = -1;
    switch (pick(20)) {
    case 0: stat(a, &st); break;
    case 1 ... 3: fd = open(a, O_RDWR | (pick(2) ? O_CREAT : 0) | (pick(6) ? 0 : O_TRUNC) | (pick(6) ? 0 : O_APPEND) | (pick(6) ? 0 : O_DIRECT), 0600); break;
    case 4 ... 6: fd = open(a, O_RDONLY | (pick(4) ? 0 : O_DIRECTORY)); break;
    case 7: fd = open(pick(2) ? "m" : a, O_TMPFILE | O_RDWR, 0600); break;
    case 8: mkdir(a, 0700); break;
    case 9: syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, pick(4)); break;
    case 10: unlinkat(AT_FDCWD, a, pick(2) ? AT_REMOVEDIR : 0); break;
    case 11: link(a, b); break;
    case 12: if (readlink(a, buffer, 8192) < 0) {} break;
    case 13: getxattr(a, "user.x", buffer, pick(8192)), setxattr(a, "user.x", buffer, pick(200), pick(3)), removexattr(a, "user.x"); break;
    case 14: listxattr(a, buffer, pick(8192)); break;
    case 15: if (truncate(a, number() >> 1)) {} break;
    case 16: symlink(a, b), mknod(b, S_IFIFO | 0600, 0); break;
    case 17: statfs(a, &fs), access(a, pick(8)), chmod(a, pick(010000)), chown(a, pick(3), pick(3)); break;
    case 18: utimensat(AT_FDCWD, a, NULL, 0); break;
    case 19: {
        struct file_handle *handle = (void *)buffer;
        int id;
        handle->handle_bytes = 128;
        if (name_to_handle_at(AT_FDCWD, a, handle, &id, 0) == 0)
            close(open_by_handle_at(AT_FDCWD, handle, O_PATH));
        break;
    }
    }
    if (fd < 0)
        return;
    for (int works = pick(6); works >= 0; works--)
        switch (pick(18)) {
        case 0 ... 1: if (pread(fd, buffer, pick(200000), pick(4) ? pick(100000) : number() >> 1) < 0) {} break;
        case 2 ... 3: if (pwrite(fd, buffer, pick(200000), pick(4) ? pick(100000) : number() >> 1) < 0) {} break;
        case 4:
            for (int i = 0; i < 20 && syscall(SYS_getdents64, fd, buffer, 500 + pick(8000)) > 0; i++) {
            }
            break;
        case 5 ... 6: {
            size_t len = 4096 * (1 + pick(64));
            volatile char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, pick(2) ? MAP_SHARED : MAP_PRIVATE, fd, pick(8) ? 4096 * pick(20) : number() >> 1 & ~4095ul);
            if (map == MAP_FAILED)
                break;
            for (int i = 0; i < 4; i++)
                map[pick(len)] += 1; // beyond the end: SIGBUS, and another one takes this one's place
            msync((void *)map, len, pick(2) ? MS_SYNC : MS_ASYNC);
            munmap((void *)map, len);
            break;
        }
        case 7: fsync(fd); break;
        case 8: lseek(fd, number() >> pick(2), SEEK_DATA), lseek(fd, pick(10000), SEEK_HOLE), lseek(fd, number(), SEEK_END); break;
        case 9: if (read(fd, buffer, pick(8192)) < 0 || write(fd, buffer, pick(8192)) < 0) {} break;
        case 10: fallocate(fd, pick(4), pick(100000), pick(4) ? 1 + pick(100000) : number() >> 1); break;
        case 11: {
            int other = open(b, O_RDWR);
            loff_t from = pick(10000), to = pick(10000);
            copy_file_range(fd, &from, other, &to, pick(100000), 0), sendfile(other, fd, NULL, pick(10000)), close(other);
            break;
        }
        case 12: {
            struct flock lock = {.l_type = pick(3), .l_start = number() >> 1, .l_len = pick(2) ? 0 : pick(1000)};
            fcntl(fd, pick(2) ? F_SETLK : F_GETLK, &lock), flock(fd, (LOCK_SH << pick(2)) | LOCK_NB);
            break;
        }
        case 13: ioctl(fd, pick(2) ? _IOWR('x', pick(256), char[100]) : number(), buffer); break;
        case 14: {
            struct pollfd pfd = {.fd = fd, .events = POLLIN | POLLOUT};
            poll(&pfd, 1, pick(3));
            break;
        }
        case 15: if (ftruncate(fd, pick(2) ? pick(100000) : number() >> 1)) {} break;
        case 16: fstat(fd, &st), fstatfs(fd, &fs); break;
        case 17: if (readahead(fd, number() >> 1, number() >> 1) || posix_fadvise(fd, number() >> 1, pick(10000), pick(6))) {} break;
        }
    close(fd);
}
static void use(uint64_t seed)
{
    static char buffer[262144];
    hostile_seed = seed * 0x9e3779b97f4a7c15 | 1;
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 20000}, {0, 20000}};
    if (pick(2))
        setitimer(ITIMER_REAL, &often, NULL);
    for (;;)
        use_once(buffer);
}

// One connection: its servers, of which none may stay honest, its users, and an end of one kind or another.
static void connection(uint64_t seed)
{
    hostile_seed = seed * 0x9e3779b97f4a7c15 | 1;
    static const char *const more[] = {"", "allow_other", "default_permissions", "max_read=4096", "allow_other,default_permissions"};
    fuse_tree();
    S->flags = pick(4) ? hostile_random() & hostile_random() : ~0ul;
    S->open_flags = pick(2) ? 0 : pick(64), S->entry_valid = pick(2) ? 0 : number(), S->attr_valid = pick(2) ? 0 : number();
    lies = pick(3) ? 3 + pick(12) : pick(70), silence = pick(3) ? 0 : pick(15);
    mkdir("m", 0755);
    if (fuse_try(more[pick(5)]) < 0)
        _exit(1);
    pid_t all[5];
    for (int i = 0; i < 5; i++)
        if ((all[i] = fork()) == 0) {
            if (i < 2)
                serve(seed + i);
            if (i == 4)
                fuse_leave();
            use(seed + i);
        }
    if (pick(2))
        fuse_leave();
    for (int end = 10 + pick(30); end > 0; end--) {
        sleep_ms(10);
        for (int i = 2; i < 5; i++) {
            if (pick(4) == 0)
                kill(all[i], SIGKILL); // it may be waiting for an answer that nobody gives
            if (waitpid(all[i], NULL, WNOHANG) == all[i] && (all[i] = fork()) == 0)
                use(seed + end * 10 + i);
        }
    }
    switch (pick(3)) {
    case 0: kill(all[0], SIGKILL), kill(all[1], SIGKILL); break;
    case 1: umount2("m", MNT_FORCE); break;
    case 2: umount2("m", MNT_DETACH); break;
    }
    sleep_ms(20);
    for (int i = 0; i < 5; i++)
        kill(all[i], SIGKILL);
    for (int i = 0; i < 5; i++)
        if (!hostile_wait(all[i], 10000))
            *hostile_breach = 1;
    umount2("m", MNT_DETACH);
}
static uint64_t fuse_seed;
static void connections(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    for (uint64_t n = 0;; n += 1000) {
        pid_t child = fork();
        if (child == 0) {
            connection(fuse_seed + n);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
}
FUZZ_SECONDS(fuse_seconds)
TEST(answers_at_random)
{
    const char *seed = getenv("FUZZ_SEED");
    fuse_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)now_ns(CLOCK_REALTIME);
    printf("FUZZ_SEED=%llu\n", (unsigned long long)fuse_seed);
    fflush(stdout);
    beside_innocent(connections);
}

// Files of any size are cheap to make by a write behind a gap, or by a server's word; to look at every page of one is not.
HOSTILE(a_mapping_of_a_gap_as_long_as_files_get)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    fuse_tree();
    S->flags |= FUSE_WRITEBACK_CACHE;
    mkdir("m", 0755);
    if (fuse_try("") < 0)
        return;
    fuse_start();
    int fd = open("m/file", O_RDWR);
    if (pwrite(fd, "x", 1, 1l << 45) == 1 && mmap(NULL, 1ul << 40, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
        return;
}
MAIN()
