// A server of the raw FUSE protocol for tests: a small tree in shared memory, which the test sees and changes behind the kernel's back.
//
//     fuse_mount("");                 // unshares the mounts, forks the server, mounts on "m"
//     S->error[FUSE_OPEN] = EPERM;    // knobs; S->count[op] counts the requests
//
// `fuse_fd` is the test's own descriptor of the device; while it is open a dead server's mount stays.
#pragma once
#include "check.h"
#include <linux/fuse.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#define NODES 64
#define DATA_MAX (4 << 20)
struct fuse_node {
    bool used;
    uint64_t parent, generation;
    char name[256];
    uint32_t mode, uid, gid, nlink, rdev;
    uint64_t size, lookups;
    uint32_t atime, mtime, mtimensec;
    uint32_t opens;
    char xname[64], xvalue[64];
    char target[256];
    char data[DATA_MAX];
};
struct fuse_serve {
    volatile int count[64];  // requests by operation
    volatile int error[64];  // answered with this errno instead of being done; -1: not at all, see `held`
    volatile uint64_t held[64]; // the unique number of the last request that was not answered
    volatile int interrupts; // and the request that the last one was about
    volatile uint64_t interrupted;
    uint64_t entry_valid, attr_valid;
    uint32_t entry_nsec;
    uint64_t flags; // of FUSE_INIT, as far as the kernel offers them
    uint64_t offered;
    uint32_t kernel_minor, minor, max_write, max_pages;
    uint32_t open_flags;
    volatile uint64_t poll_kh;
    volatile uint32_t poll_events;
    struct fuse_in_header last[64];
    uint32_t last_flags[64]; // open flags, setattr's valid, write_flags, mode of access...
    volatile bool forgotten[NODES];
    struct fuse_file_lock lock; // one lock for all files
    uint64_t lock_owner;
    char retrieved[64];
    volatile int retrieved_size;
    bool replies_short; // every answer loses its last byte
    struct fuse_node node[NODES];
};
static struct fuse_serve *S;
static int fuse_fd = -1;
static pid_t fuse_server;

static uint64_t fuse_new(uint64_t parent, const char *name, uint32_t mode)
{
    for (uint64_t id = 1; id < NODES; id++)
        if (!S->node[id].used) {
            struct fuse_node *n = &S->node[id];
            uint64_t generation = n->generation + 1;
            memset(n, 0, offsetof(struct fuse_node, data));
            n->used = true, n->parent = parent, n->mode = mode, n->nlink = S_ISDIR(mode) ? 2 : 1, n->generation = generation;
            n->mtime = n->atime = 1000;
            snprintf(n->name, sizeof n->name, "%s", name);
            S->forgotten[id] = false;
            return id;
        }
    return 0;
}
static uint64_t fuse_find(uint64_t parent, const char *name)
{
    for (uint64_t id = 2; id < NODES; id++)
        if (S->node[id].used && S->node[id].parent == parent && !strcmp(S->node[id].name, name))
            return id;
    return 0;
}
// A file of the tree with this text.
static inline uint64_t fuse_file(uint64_t parent, const char *name, const char *text)
{
    uint64_t id = fuse_new(parent, name, S_IFREG | 0644);
    S->node[id].size = strlen(text);
    memcpy(S->node[id].data, text, strlen(text));
    return id;
}

static int fuse_reply(int fd, uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header h = {.len = sizeof h + size, .error = -error, .unique = unique};
    struct iovec v[2] = {{&h, sizeof h}, {(void *)data, size}};
    return writev(fd, v, 2);
}
static void fuse_fill_attr(uint64_t id, struct fuse_attr *a)
{
    struct fuse_node *n = &S->node[id];
    *a = (struct fuse_attr){.ino = id + 100, .size = n->size, .blocks = (n->size + 511) / 512, .mode = n->mode, .nlink = n->nlink,
                            .uid = n->uid, .gid = n->gid, .rdev = n->rdev, .blksize = 4096, .atime = n->atime, .mtime = n->mtime,
                            .mtimensec = n->mtimensec, .ctime = n->mtime};
}
static struct fuse_entry_out fuse_entry(uint64_t id)
{
    struct fuse_entry_out e = {.nodeid = id, .generation = S->node[id].generation, .entry_valid = S->entry_valid,
                               .entry_valid_nsec = S->entry_nsec, .attr_valid = S->attr_valid};
    fuse_fill_attr(id, &e.attr);
    S->node[id].lookups++;
    return e;
}
static void fuse_forget(uint64_t id, uint64_t count)
{
    if (id < NODES && (S->node[id].lookups -= count) == 0)
        S->forgotten[id] = true;
}
static void fuse_serve_one(int fd, char *request, ssize_t got)
{
    struct fuse_in_header *h = (void *)request;
    void *arg = h + 1;
    char *end = request + got;
    uint32_t op = h->opcode;
    uint64_t id = h->nodeid, u = h->unique;
    struct fuse_node *n = &S->node[id < NODES ? id : 0];
    static char buffer[DATA_MAX + 4096];
    if (op < 64) {
        S->last[op] = *h;
        if (op != FUSE_FORGET && op != FUSE_BATCH_FORGET && op != FUSE_INTERRUPT && S->error[op]) {
            int error = S->error[op];
            S->held[op] = u;
            __sync_fetch_and_add(&S->count[op], 1);
            if (error > 0)
                fuse_reply(fd, u, error, NULL, 0);
            return;
        }
        __sync_fetch_and_add(&S->count[op], 1);
    }
#define ANSWER(data, size) fuse_reply(fd, u, 0, data, (size) - (S->replies_short ? 1 : 0))
#define REFUSE(errno_) fuse_reply(fd, u, errno_, NULL, 0)
    switch (op) {
    case FUSE_INIT: {
        struct fuse_init_in *in = arg;
        S->kernel_minor = in->minor, S->offered = in->flags | (uint64_t)in->flags2 << 32;
        uint64_t flags = S->flags & S->offered;
        struct fuse_init_out out = {.major = 7, .minor = S->minor, .max_readahead = in->max_readahead, .flags = flags | FUSE_INIT_EXT,
                                    .flags2 = flags >> 32, .max_write = S->max_write, .max_pages = S->max_pages, .time_gran = 1};
        fuse_reply(fd, u, 0, &out, sizeof out);
        break;
    }
    case FUSE_LOOKUP: {
        uint64_t found = fuse_find(id, arg);
        if (!found) {
            REFUSE(ENOENT);
            break;
        }
        struct fuse_entry_out e = fuse_entry(found);
        ANSWER(&e, sizeof e);
        break;
    }
    case FUSE_FORGET:
        fuse_forget(id, ((struct fuse_forget_in *)arg)->nlookup);
        break;
    case FUSE_BATCH_FORGET: {
        struct fuse_batch_forget_in *in = arg;
        struct fuse_forget_one *one = (void *)(in + 1);
        for (uint32_t i = 0; i < in->count; i++)
            fuse_forget(one[i].nodeid, one[i].nlookup);
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr_valid = S->attr_valid};
        fuse_fill_attr(id, &out.attr);
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_SETATTR: {
        struct fuse_setattr_in *in = arg;
        S->last_flags[op] = in->valid;
        if (in->valid & FATTR_MODE)
            n->mode = in->mode;
        if (in->valid & FATTR_UID)
            n->uid = in->uid;
        if (in->valid & FATTR_GID)
            n->gid = in->gid;
        if (in->valid & FATTR_SIZE) {
            if (in->size < n->size)
                memset(n->data + in->size, 0, n->size - in->size);
            n->size = in->size;
        }
        if (in->valid & FATTR_ATIME)
            n->atime = in->atime;
        if (in->valid & FATTR_MTIME)
            n->mtime = in->mtime, n->mtimensec = in->mtimensec;
        struct fuse_attr_out out = {.attr_valid = S->attr_valid};
        fuse_fill_attr(id, &out.attr);
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_READLINK:
        ANSWER(n->target, strlen(n->target));
        break;
    case FUSE_SYMLINK: {
        uint64_t made = fuse_new(id, arg, S_IFLNK | 0777);
        strcpy(S->node[made].target, (char *)arg + strlen(arg) + 1);
        S->node[made].size = strlen(S->node[made].target);
        struct fuse_entry_out e = fuse_entry(made);
        ANSWER(&e, sizeof e);
        break;
    }
    case FUSE_MKNOD: {
        struct fuse_mknod_in *in = arg;
        if (fuse_find(id, (char *)(in + 1))) {
            REFUSE(EEXIST);
            break;
        }
        uint64_t made = fuse_new(id, (char *)(in + 1), in->mode);
        S->node[made].rdev = in->rdev, S->node[made].uid = h->uid, S->node[made].gid = h->gid;
        struct fuse_entry_out e = fuse_entry(made);
        ANSWER(&e, sizeof e);
        break;
    }
    case FUSE_MKDIR: {
        struct fuse_mkdir_in *in = arg;
        if (fuse_find(id, (char *)(in + 1))) {
            REFUSE(EEXIST);
            break;
        }
        uint64_t made = fuse_new(id, (char *)(in + 1), in->mode | S_IFDIR);
        S->node[made].uid = h->uid, S->node[made].gid = h->gid;
        struct fuse_entry_out e = fuse_entry(made);
        ANSWER(&e, sizeof e);
        break;
    }
    case FUSE_UNLINK:
    case FUSE_RMDIR: {
        uint64_t found = fuse_find(id, arg);
        if (!found) {
            REFUSE(ENOENT);
            break;
        }
        bool full = false;
        for (uint64_t i = 2; i < NODES; i++)
            full |= S->node[i].used && S->node[i].parent == found;
        if (full) {
            REFUSE(ENOTEMPTY);
            break;
        }
        S->node[found].name[0] = 0, S->node[found].parent = 0, S->node[found].nlink = 0;
        ANSWER(NULL, 0);
        break;
    }
    case FUSE_RENAME:
    case FUSE_RENAME2: {
        struct fuse_rename2_in *in = arg;
        uint32_t flags = op == FUSE_RENAME2 ? in->flags : 0;
        S->last_flags[op] = flags;
        char *old = (char *)arg + (op == FUSE_RENAME2 ? sizeof *in : sizeof(struct fuse_rename_in)), *new = old + strlen(old) + 1;
        uint64_t from = fuse_find(id, old), to = fuse_find(in->newdir, new);
        if (!from) {
            REFUSE(ENOENT);
            break;
        }
        if (flags & 2) { // exchange
            S->node[to].parent = id, strcpy(S->node[to].name, old);
        } else if (to) {
            S->node[to].name[0] = 0, S->node[to].parent = 0, S->node[to].nlink = 0;
        }
        S->node[from].parent = in->newdir, strcpy(S->node[from].name, new);
        ANSWER(NULL, 0);
        break;
    }
    case FUSE_LINK: {
        struct fuse_link_in *in = arg;
        // One name a node: the link takes the place of the old name.
        S->node[in->oldnodeid].nlink++;
        strcpy(S->node[in->oldnodeid].name, (char *)(in + 1)), S->node[in->oldnodeid].parent = id;
        struct fuse_entry_out e = fuse_entry(in->oldnodeid);
        ANSWER(&e, sizeof e);
        break;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
        struct fuse_open_in *in = arg;
        S->last_flags[op] = in->flags;
        n->opens++;
        if (in->flags & O_TRUNC)
            n->size = 0;
        struct fuse_open_out out = {.fh = id + 1000, .open_flags = op == FUSE_OPEN ? S->open_flags : 0};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_CREATE: {
        struct fuse_create_in *in = arg;
        S->last_flags[op] = in->flags;
        uint64_t made = fuse_new(id, (char *)(in + 1), in->mode);
        S->node[made].uid = h->uid, S->node[made].gid = h->gid, S->node[made].opens++;
        struct {
            struct fuse_entry_out e;
            struct fuse_open_out o;
        } out = {fuse_entry(made), {.fh = made + 1000, .open_flags = S->open_flags}};
        ANSWER(&out, sizeof out);
        break;
    }
    case 51: { // FUSE_TMPFILE
        struct fuse_create_in *in = arg;
        uint64_t made = fuse_new(0, "", in->mode);
        S->node[made].nlink = 0, S->node[made].opens++;
        struct {
            struct fuse_entry_out e;
            struct fuse_open_out o;
        } out = {fuse_entry(made), {.fh = made + 1000, .open_flags = S->open_flags}};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_READ: {
        struct fuse_read_in *in = arg;
        size_t count = in->offset >= n->size ? 0 : n->size - in->offset;
        count = count > in->size ? in->size : count;
        S->last_flags[op] = in->size;
        fuse_reply(fd, u, 0, n->data + (count ? in->offset : 0), count);
        break;
    }
    case FUSE_WRITE: {
        struct fuse_write_in *in = arg;
        S->last_flags[op] = in->write_flags;
        if (in->offset + in->size > DATA_MAX || (size_t)(end - (char *)(in + 1)) != in->size) {
            REFUSE(EFBIG);
            break;
        }
        memcpy(n->data + in->offset, in + 1, in->size);
        if (in->offset + in->size > n->size)
            n->size = in->offset + in->size;
        n->mtime++;
        struct fuse_write_out out = {.size = in->size};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_STATFS: {
        struct fuse_statfs_out out = {.st = {.blocks = 1000, .bfree = 500, .bavail = 400, .files = 64, .ffree = 32, .bsize = 512, .frsize = 1024, .namelen = 200}};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        n->opens--;
        S->last_flags[op] = ((struct fuse_release_in *)arg)->release_flags;
        ANSWER(NULL, 0);
        break;
    case FUSE_FLUSH:
    case FUSE_ACCESS:
    case FUSE_SYNCFS:
        if (op == FUSE_ACCESS)
            S->last_flags[op] = ((struct fuse_access_in *)arg)->mask;
        ANSWER(NULL, 0);
        break;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
        S->last_flags[op] = ((struct fuse_fsync_in *)arg)->fsync_flags;
        ANSWER(NULL, 0);
        break;
    case FUSE_READDIR:
    case FUSE_READDIRPLUS: {
        struct fuse_read_in *in = arg;
        size_t used = 0, head = op == FUSE_READDIRPLUS ? offsetof(struct fuse_direntplus, dirent) : 0;
        for (uint64_t at = in->offset; at < NODES; at++) {
            const char *name = at == 0 ? "." : at == 1 ? ".." : S->node[at].name;
            if (at > 1 && (!S->node[at].used || S->node[at].parent != id || !*name))
                continue;
            size_t size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + strlen(name));
            if (used + size > in->size)
                break;
            memset(buffer + used, 0, size);
            if (head && at > 1)
                *(struct fuse_entry_out *)(buffer + used) = fuse_entry(at);
            struct fuse_dirent *d = (void *)(buffer + used + head);
            *d = (struct fuse_dirent){.ino = at + 100, .off = at + 1, .namelen = strlen(name), .type = (at > 1 ? S->node[at].mode : S_IFDIR) >> 12};
            memcpy(d->name, name, strlen(name));
            used += size;
        }
        fuse_reply(fd, u, 0, buffer, used);
        break;
    }
    case FUSE_SETXATTR: {
        struct fuse_setxattr_in *in = arg;
        char *name = (char *)arg + (S->flags & S->offered & FUSE_SETXATTR_EXT ? sizeof *in : FUSE_COMPAT_SETXATTR_IN_SIZE);
        S->last_flags[op] = in->flags;
        strcpy(n->xname, name), memset(n->xvalue, 0, sizeof n->xvalue);
        memcpy(n->xvalue, name + strlen(name) + 1, in->size < sizeof n->xvalue ? in->size : sizeof n->xvalue);
        ANSWER(NULL, 0);
        break;
    }
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR: {
        struct fuse_getxattr_in *in = arg;
        bool list = op == FUSE_LISTXATTR;
        if (!list && strcmp((char *)(in + 1), n->xname)) {
            REFUSE(ENODATA);
            break;
        }
        size_t size = list ? (*n->xname ? strlen(n->xname) + 1 : 0) : strlen(n->xvalue);
        if (in->size == 0) {
            struct fuse_getxattr_out out = {.size = size};
            ANSWER(&out, sizeof out);
        } else if (in->size < size) {
            REFUSE(ERANGE);
        } else {
            fuse_reply(fd, u, 0, list ? n->xname : n->xvalue, size);
        }
        break;
    }
    case FUSE_REMOVEXATTR:
        if (strcmp(arg, n->xname)) {
            REFUSE(ENODATA);
            break;
        }
        *n->xname = 0;
        ANSWER(NULL, 0);
        break;
    case FUSE_GETLK: {
        struct fuse_lk_in *in = arg;
        struct fuse_lk_out out = {.lk = in->lk};
        if (S->lock_owner && S->lock_owner != in->owner)
            out.lk = S->lock;
        else
            out.lk.type = F_UNLCK;
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_SETLK:
    case FUSE_SETLKW: {
        struct fuse_lk_in *in = arg;
        S->last_flags[op] = in->lk_flags;
        if (in->lk.type == F_UNLCK) {
            if (S->lock_owner == in->owner)
                S->lock_owner = 0;
        } else if (S->lock_owner && S->lock_owner != in->owner) {
            REFUSE(EAGAIN);
            break;
        } else {
            S->lock_owner = in->owner, S->lock = in->lk;
        }
        ANSWER(NULL, 0);
        break;
    }
    case FUSE_INTERRUPT:
        S->interrupted = ((struct fuse_interrupt_in *)arg)->unique;
        __sync_synchronize();
        S->interrupts++;
        break;
    case FUSE_IOCTL: {
        struct fuse_ioctl_in *in = arg;
        struct {
            struct fuse_ioctl_out o;
            char data[64];
        } out = {.o = {.result = 5}};
        memcpy(out.data, in + 1, in->in_size < 64 ? in->in_size : 64);
        for (uint32_t i = 0; i < in->out_size && i < 64; i++)
            out.data[i] ^= 0x5a;
        S->last_flags[op] = in->flags;
        ANSWER(&out, sizeof out.o + in->out_size);
        break;
    }
    case FUSE_POLL: {
        struct fuse_poll_in *in = arg;
        struct fuse_poll_out out = {.revents = S->poll_events & (in->events ? in->events : ~0u)};
        S->poll_kh = in->kh;
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_FALLOCATE: {
        struct fuse_fallocate_in *in = arg;
        S->last_flags[op] = in->mode;
        if (in->mode & 2) // punches a hole
            memset(n->data + in->offset, 0, in->length);
        else if (!(in->mode & 1) && in->offset + in->length > n->size)
            n->size = in->offset + in->length;
        ANSWER(NULL, 0);
        break;
    }
    case FUSE_LSEEK: {
        struct fuse_lseek_in *in = arg;
        struct fuse_lseek_out out = {.offset = in->whence == SEEK_DATA ? in->offset + 1 : n->size - 1};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_COPY_FILE_RANGE: {
        struct fuse_copy_file_range_in *in = arg;
        struct fuse_node *to = &S->node[in->nodeid_out];
        memmove(to->data + in->off_out, n->data + in->off_in, in->len);
        if (in->off_out + in->len > to->size)
            to->size = in->off_out + in->len;
        struct fuse_write_out out = {.size = in->len};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_BMAP: {
        struct fuse_bmap_out out = {.block = ((struct fuse_bmap_in *)arg)->block + 7};
        ANSWER(&out, sizeof out);
        break;
    }
    case FUSE_NOTIFY_REPLY: {
        struct fuse_notify_retrieve_in *in = arg;
        memcpy(S->retrieved, in + 1, in->size < sizeof S->retrieved ? in->size : sizeof S->retrieved);
        __sync_synchronize();
        S->retrieved_size = in->size;
        break;
    }
    default:
        REFUSE(ENOSYS);
    }
}
static inline void fuse_loop(int fd)
{
    size_t size = (1 << 20) + 65536;
    char *request = malloc(size);
    for (;;) {
        ssize_t got = read(fd, request, size);
        if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
            continue;
        if (got < 0)
            _exit(errno == ENODEV ? 0 : 3);
        fuse_serve_one(fd, request, got);
    }
}

// The tree: file (text "hello"), dir with inner in it, link to file; the knobs. Before `fuse_mount`, or by it.
static inline void fuse_tree(void)
{
    if (S)
        return;
    S = mmap(NULL, sizeof *S, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(S != MAP_FAILED);
    S->minor = FUSE_KERNEL_MINOR_VERSION, S->max_write = 128 << 10, S->max_pages = 32, S->flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES;
    fuse_new(0, "", S_IFDIR | 0755);
    fuse_file(1, "file", "hello");
    uint64_t dir = fuse_new(1, "dir", S_IFDIR | 0755);
    fuse_file(dir, "inner", "inside");
    uint64_t link = fuse_new(1, "link", S_IFLNK | 0777);
    strcpy(S->node[link].target, "file"), S->node[link].size = 4;
}
static inline void fuse_spaces(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    OK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}
// Opens the device and mounts on "m", with more options; nobody serves yet.
static inline int fuse_try(const char *more)
{
    char options[200];
    fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse_fd < 0)
        SKIP("no /dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0%s%s", fuse_fd, *more ? "," : "", more);
    return mount("test", "m", "fuse", MS_NOSUID | MS_NODEV, options);
}
static inline void fuse_start(void)
{
    fuse_server = FORK({ fuse_loop(fuse_fd); });
}
static inline void fuse_mount(const char *more)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(more));
    fuse_start();
}
// The connection is the server's alone: its end is the connection's.
static inline void fuse_leave(void)
{
    close(fuse_fd);
    fuse_fd = -1;
}
static inline void fuse_notify(int code, const void *data, size_t size, const char *name, size_t name_size, int wanted)
{
    struct fuse_out_header h = {.len = sizeof h + size + name_size, .error = code};
    struct iovec v[3] = {{&h, sizeof h}, {(void *)data, size}, {(void *)name, name_size}};
    ssize_t sent = writev(fuse_fd, v, 3);
    EQ(sent < 0 ? errno : 0, wanted);
    if (sent >= 0)
        EQ(sent, h.len);
}
