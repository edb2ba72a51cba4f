// FUSE servers that die, are slow, or lie; callers that are interrupted or killed.
#define CASE_SECONDS 20
#include "fuse.h"

static int quick;
static void handler(int sig) { (void)sig, quick++; }
static void stop_server(void)
{
    kill(fuse_server, SIGKILL);
    EQ(OK(waitpid(fuse_server, NULL, 0)), fuse_server);
}

TEST(a_place_that_no_file_has)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    S->node[fuse_find(1, "file")].size = 0; // where the hole begins, it says: one before
    FAILS(EINVAL, lseek(fd, 0, SEEK_HOLE));
    EQ(S->count[FUSE_LSEEK], 1);
    EQ(OK(lseek(fd, 2, SEEK_CUR)), 2);
}
TEST(a_dead_server_is_no_server)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR)), dir = OK(open("m/dir", O_RDONLY));
    fuse_leave();
    stop_server();
    struct stat st;
    char byte;
    FAILS(ENOTCONN, stat("m/file", &st));
    FAILS(ENOTCONN, stat("m", &st));
    FAILS(ENOTCONN, write(fd, "x", 1));
    FAILS(ENOTCONN, pread(fd, &byte, 1, 0));
    FAILS(ENOTCONN, openat(dir, "inner", O_RDONLY));
    FAILS(ENOTCONN, mkdir("m/new", 0700));
    close(fd);
    close(dir);
    OK(umount("m"));
    OK(stat("m", &st));
}
TEST(who_waits_for_a_server_that_dies_goes_on)
{
    fuse_mount("");
    fuse_leave();
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_LOOKUP] = -1;
    pid_t child = FORK({ FAILS(ECONNABORTED, stat("m/other", &st)); });
    EVENTUALLY(S->held[FUSE_LOOKUP]);
    stop_server();
    WAIT_OK(child);
}
TEST(forced_umount_lets_go)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_LOOKUP] = -1;
    pid_t child = FORK({ FAILS(ECONNABORTED, stat("m/other", &st)); });
    EVENTUALLY(S->held[FUSE_LOOKUP]);
    umount2("m", MNT_FORCE); // busy or not
    WAIT_OK(child);
    WAIT_OK(fuse_server); // ENODEV
}
TEST(signals_reach_the_server)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_OPEN] = -1;
    pid_t child = FORK({
        struct sigaction action = {.sa_handler = handler};
        OK(sigaction(SIGUSR1, &action, NULL));
        FAILS(EINTR, open("m/file", O_RDONLY));
        EQ(quick, 1);
    });
    EVENTUALLY(S->held[FUSE_OPEN]);
    kill(child, SIGUSR1);
    EVENTUALLY(S->interrupts == 1);
    EQ(S->interrupted, S->held[FUSE_OPEN]);
    sleep_ms(30);
    EQ(waitpid(child, NULL, WNOHANG), 0);
    EQ(fuse_reply(fuse_fd, S->held[FUSE_OPEN], EINTR, NULL, 0), 16);
    WAIT_OK(child);
}
TEST(a_server_may_finish_in_spite_of_a_signal)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_MKDIR] = -1;
    pid_t child = FORK({
        signal(SIGUSR1, handler);
        OK(mkdir("m/new", 0700));
        EQ(quick, 1);
    });
    EVENTUALLY(S->held[FUSE_MKDIR]);
    kill(child, SIGUSR1);
    EVENTUALLY(S->interrupts == 1);
    fuse_new(1, "new", S_IFDIR | 0700);
    struct fuse_entry_out e = fuse_entry(fuse_find(1, "new"));
    EQ(fuse_reply(fuse_fd, S->held[FUSE_MKDIR], 0, &e, sizeof e), 16 + sizeof e);
    WAIT_OK(child);
    EQ(S->count[FUSE_MKDIR], 1);
}
TEST(a_server_without_interrupts_is_not_told_again)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    for (int i = 0; i < 2; i++) {
        S->held[FUSE_OPEN] = 0, S->error[FUSE_OPEN] = -1;
        pid_t child = FORK({
            signal(SIGUSR1, handler);
            FAILS(EIO, open("m/file", O_RDONLY));
        });
        EVENTUALLY(S->held[FUSE_OPEN]);
        kill(child, SIGUSR1);
        if (i == 0) {
            EVENTUALLY(S->interrupts == 1);
            EQ(fuse_reply(fuse_fd, S->interrupted | 1, ENOSYS, NULL, 0), 16);
        }
        sleep_ms(30);
        EQ(fuse_reply(fuse_fd, S->held[FUSE_OPEN], EIO, NULL, 0), 16);
        WAIT_OK(child);
    }
    EQ(S->interrupts, 1);
}
TEST(a_server_that_wants_to_be_told_often_is_told_once_more)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_OPEN] = -1;
    pid_t child = FORK({
        signal(SIGUSR1, handler);
        FAILS(EIO, open("m/file", O_RDONLY));
    });
    EVENTUALLY(S->held[FUSE_OPEN]);
    kill(child, SIGUSR1);
    EVENTUALLY(S->interrupts == 1);
    kill(fuse_server, SIGSTOP);
    EQ(OK(waitpid(fuse_server, NULL, WUNTRACED)), fuse_server);
    for (int i = 0; i < 100; i++)
        EQ(fuse_reply(fuse_fd, S->interrupted | 1, EAGAIN, NULL, 0), 16);
    kill(fuse_server, SIGCONT);
    EVENTUALLY(S->interrupts == 2);
    sleep_ms(30);
    EQ(S->interrupts, 2);
    EQ(fuse_reply(fuse_fd, S->held[FUSE_OPEN], EIO, NULL, 0), 16);
    WAIT_OK(child);
}
TEST(killed_while_the_server_has_not_read)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(""));
    struct stat st;
    for (int i = 0; i < 2; i++) {
        pid_t child = FORK({ stat("m/file", &st); });
        sleep_ms(50);
        kill(child, i ? SIGTERM : SIGKILL);
        WAIT_STATUS(child, KILLED(i ? SIGTERM : SIGKILL));
    }
    fuse_start();
    OK(stat("m/file", &st));
    EQ(S->last[FUSE_LOOKUP].pid, getpid());
}
TEST(malformed_replies_are_refused)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    S->error[FUSE_LOOKUP] = -1;
    pid_t child = FORK({ FAILS(EIO, stat("m/other", &st)); });
    EVENTUALLY(S->held[FUSE_LOOKUP]);
    uint64_t u = S->held[FUSE_LOOKUP];
    struct fuse_out_header h = {.len = 17, .unique = u};
    FAILS(EINVAL, write(fuse_fd, &h, 16)); // wrong length
    h.len = 15;
    FAILS(EINVAL, write(fuse_fd, &h, 15));
    h.len = 16, h.error = 5;
    FAILS(EINVAL, write(fuse_fd, &h, 16)); // positive error
    h.error = -512;
    FAILS(EINVAL, write(fuse_fd, &h, 16));
    h.error = 0, h.unique = u + 2000;
    FAILS(ENOENT, write(fuse_fd, &h, 16)); // nobody asked
    h.unique = u, h.len = 24, h.error = -ENOENT;
    FAILS(EINVAL, write(fuse_fd, (char[24]){*(char *)&h}, 24));
    h.len = 16, h.error = 0;
    FAILS(EINVAL, write(fuse_fd, &h, 16)); // too short an answer ends the question
    WAIT_OK(child);
    h.error = 999, h.unique = 0;
    FAILS(EINVAL, write(fuse_fd, &h, 16)); // no such notification
}
TEST(lies_about_nodes)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    // A file that becomes a folder.
    int fd = OK(open("m/file", O_RDONLY));
    S->node[2].mode = S_IFDIR | 0755;
    FAILS(EIO, fstat(fd, &st));
    S->node[2].mode = S_IFREG | 0644;
    // A type that there is not.
    S->node[4].mode = 0070755;
    FAILS(EIO, stat("m/dir/inner", &st));
    S->node[4].mode = S_IFREG | 0644;
    // Names that cannot be.
    strcpy(S->node[4].name, "a/b");
    int dir = OK(open("m/dir", O_RDONLY));
    char buffer[1000];
    CHECK(syscall(SYS_getdents64, dir, buffer, sizeof buffer) > 0); // what came before
    FAILS(EIO, syscall(SYS_getdents64, dir, buffer, sizeof buffer));
    strcpy(S->node[4].name, "inner");
    // Sizes that cannot be.
    S->node[4].size = 1ULL << 63;
    FAILS(EIO, stat("m/dir/inner", &st));
    S->node[4].size = 6;
    OK(stat("m/dir/inner", &st));
}
TEST(folders_below_themselves)
{
    fuse_mount("");
    struct stat st;
    OK(stat("m/dir", &st));
    S->error[FUSE_LOOKUP] = -1;
    for (int i = 0; i < 2; i++) {
        S->held[FUSE_LOOKUP] = 0;
        pid_t child = FORK({
            if (i == 0)
                FAILS(EIO, stat("m/root", &st));
            else
                FAILS(ELOOP, stat("m/dir/loop", &st));
        });
        for (;;) {
            EVENTUALLY(S->held[FUSE_LOOKUP]);
            uint64_t u = S->held[FUSE_LOOKUP], parent = S->last[FUSE_LOOKUP].nodeid;
            S->held[FUSE_LOOKUP] = 0;
            struct fuse_entry_out e = fuse_entry(i == 0 ? 1 : 3);
            fuse_reply(fuse_fd, u, 0, &e, sizeof e);
            if (i == 0 || parent == 3)
                break;
        }
        WAIT_OK(child);
    }
}
TEST(a_refused_init)
{
    fuse_tree();
    S->minor = 0;
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(""));
    char request[8192];
    OK(read(fuse_fd, request, sizeof request));
    struct fuse_in_header *h = (void *)request;
    EQ(h->opcode, FUSE_INIT);
    fuse_reply(fuse_fd, h->unique, EPROTO, NULL, 0);
    struct stat st;
    FAILS(ECONNREFUSED, stat("m", &st));
}
TEST(reads_of_the_device)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(""));
    char request[8192];
    FAILS(EINVAL, read(fuse_fd, request, 100));
    OK(fcntl(fuse_fd, F_SETFL, O_NONBLOCK));
    struct pollfd p = {.fd = fuse_fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    ssize_t got = OK(read(fuse_fd, request, sizeof request));
    EQ(((struct fuse_in_header *)request)->len, got);
    FAILS(EAGAIN, read(fuse_fd, request, sizeof request));
    EQ(poll(&p, 1, 0), 0);
    OK(umount2("m", MNT_DETACH));
    FAILS(ENODEV, read(fuse_fd, request, sizeof request));
    EQ(poll(&p, 1, 0), 1);
    CHECK(p.revents & POLLERR);
}
// Replies made of noise: whatever the server says, the callers come back and the kernel lives.
TEST(noise)
{
    fuse_tree();
    fuse_spaces();
    OK(mkdir("m", 0755));
    OK(fuse_try(""));
    unsigned seed = getenv("FUZZ_SEED") ? (unsigned)atoi(getenv("FUZZ_SEED")) : (unsigned)time(NULL);
    dprintf(1, "FUZZ_SEED=%u\n", seed);
    srand(seed);
    fuse_server = FORK({
        char *request = malloc(2 << 20), *junk = malloc(1 << 16);
        for (;;) {
            ssize_t got = read(fuse_fd, request, 2 << 20);
            if (got < 0 && errno != ENODEV && errno != ECONNABORTED)
                continue;
            if (got < 0)
                _exit(0);
            struct fuse_in_header *h = (void *)request;
            if (h->opcode == FUSE_INIT || rand() % 3 == 0) {
                fuse_serve_one(fuse_fd, request, got);
                continue;
            }
            size_t sizes[] = {0, 8, 16, 24, 80, 104, 128, 144, 4096, 60000};
            size_t size = rand() % 4 ? sizes[rand() % 10] : (size_t)(rand() % 65536);
            for (size_t i = 0; i < size; i++)
                junk[i] = rand() % 5 ? 0 : rand();
            if (size >= 128 && rand() % 2) { // an entry that is nearly right
                struct fuse_entry_out e = fuse_entry(rand() % 6);
                memcpy(junk, &e, sizeof e);
                junk[rand() % 128] ^= 1 << rand() % 8;
            }
            int error = rand() % 4 ? 0 : rand() % 600 - 20;
            uint64_t unique = rand() % 10 ? h->unique : rand() % 3 ? h->unique + 2 : 0;
            if (unique == 0)
                error = -(rand() % 8);
            fuse_reply(fuse_fd, unique, error, junk, size);
            if (rand() % 3) // and an answer that ends the wait
                fuse_reply(fuse_fd, h->unique, EIO, NULL, 0);
        }
    });
    int64_t until = now_ns(CLOCK_MONOTONIC) + 2000000000LL;
    pid_t callers[3];
    for (int c = 0; c < 3; c++)
        callers[c] = FORK({
            const char *paths[] = {"m", "m/file", "m/dir", "m/dir/inner", "m/link", "m/new", "m/dir/new"};
            char buffer[8192];
            srand(seed + c);
            alarm(8);
            while (now_ns(CLOCK_MONOTONIC) < until) {
                const char *a = paths[rand() % 7], *b = paths[rand() % 7];
                struct stat st;
                int fd = -1;
                switch (rand() % 12) {
                case 0: stat(a, &st); break;
                case 1: fd = open(a, O_RDWR | (rand() % 2 ? O_CREAT : 0), 0600); break;
                case 2: fd = open(a, O_RDONLY); break;
                case 3: mkdir(a, 0700); break;
                case 4: rename(a, b); break;
                case 5: unlink(a); break;
                case 6: link(a, b); break;
                case 7: if (readlink(a, buffer, sizeof buffer) < 0) {} break;
                case 8: getxattr(a, "user.x", buffer, sizeof buffer); break;
                case 9: listxattr(a, buffer, sizeof buffer); break;
                case 10: if (truncate(a, rand())) {} break;
                case 11: symlink(a, b); break;
                }
                if (fd >= 0) {
                    if (pread(fd, buffer, sizeof buffer, rand() % 100000) < 0) {}
                    if (pwrite(fd, buffer, rand() % 5000, rand() % 100000) < 0) {}
                    syscall(SYS_getdents64, fd, buffer, sizeof buffer);
                    void *map = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
                    if (map != MAP_FAILED)
                        munmap(map, 8192);
                    fsync(fd);
                    close(fd);
                }
            }
        });
    // A caller whose question nobody answers right waits for ever: the end of the connection lets it go.
    sleep_ms(2500);
    umount2("m", MNT_FORCE);
    fuse_leave();
    stop_server();
    for (int c = 0; c < 3; c++) {
        int status;
        EQ(OK(waitpid(callers[c], &status, 0)), callers[c]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}
MAIN()
