// pread(2) of files that are read again and again, which a sandbox may answer without asking its kernel: what happens in between counts all the same.
#include "check.h"
#include "mounts.h"
#include <sys/inotify.h>

#define LEN 16384
#define OFTEN 200

static char text[LEN];

// Through one call site, as the C library's is.
static ssize_t __attribute__((noinline)) again(int fd, void *to, size_t len, off_t at)
{
    return pread(fd, to, len, at);
}

static int make(const char *name, char c)
{
    memset(text, c, LEN);
    int fd = OK(open(name, O_CREAT | O_TRUNC | O_RDWR, 0600));
    EQ(write(fd, text, LEN), LEN);
    return fd;
}

static void read_often(int fd, char c)
{
    for (int i = 0; i < OFTEN; i++) {
        memset(text, 0, LEN);
        EQ(again(fd, text, LEN, 0), LEN);
        EQ(text[0], c);
        EQ(text[LEN - 1], c);
    }
}

TEST(data_and_ends)
{
    int fd = make("f", 'a');
    read_often(fd, 'a');
    EQ(again(fd, text, LEN, 1), LEN - 1);
    EQ(again(fd, text, LEN, LEN), 0);
    EQ(again(fd, text, 0, 0), 0);
    EQ(again(fd, text, 1, LEN - 1), 1);
    FAILS(EINVAL, again(fd, text, 1, -1));
    FAILS(EFAULT, again(fd, (void *)8, 1, 0));
    FAILS(EBADF, again(-1, text, 1, 0));
    FAILS(EBADF, again(fd + 1, text, 1, 0));
    char *pages = mmap(NULL, 2 * LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(mprotect(pages + LEN, LEN, PROT_NONE));
    EQ(again(fd, pages + LEN - 100, LEN, 0), 100);
    FAILS(EFAULT, again(fd, pages + LEN, 1, 0));
    OK(mprotect(pages, LEN, PROT_READ));
    FAILS(EFAULT, again(fd, pages, 1, 0));
    EQ(lseek(fd, 0, SEEK_CUR), LEN); // nothing has moved it
}

TEST(what_is_written_is_read)
{
    int fd = make("f", 'a');
    read_often(fd, 'a');
    EQ(pwrite(fd, "b", 1, 0), 1);
    EQ(again(fd, text, LEN, 0), LEN);
    EQ(text[0], 'b');
    OK(ftruncate(fd, 10));
    EQ(again(fd, text, LEN, 0), 10);
    memset(text, 'c', LEN);
    EQ(pwrite(fd, text, LEN, 0), LEN);
    int same = OK(open("f", O_RDONLY));
    read_often(same, 'c');
    char *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(map, 'd', LEN);
    read_often(same, 'd');
}

TEST(a_number_that_stands_for_another_file)
{
    int fd = make("f", 'a'), other = make("g", 'b');
    read_often(fd, 'a');
    EQ(dup2(other, fd), fd);
    read_often(fd, 'b');
    close(fd);
    FAILS(EBADF, again(fd, text, LEN, 0));
    EQ(open("f", O_RDONLY), fd);
    read_often(fd, 'a');
    close(fd);
    EQ(open("f", O_WRONLY), fd);
    FAILS(EBADF, again(fd, text, LEN, 0));
    close(fd);
    EQ(open(".", O_RDONLY), fd);
    FAILS(EISDIR, again(fd, text, LEN, 0));
    close(fd);
    int ends[2];
    OK(pipe(ends));
    EQ(ends[0], fd);
    FAILS(ESPIPE, again(fd, text, LEN, 0));
}

TEST(close_range_takes_it_too)
{
    int fd = make("f", 'a');
    read_often(fd, 'a');
    OK(close_range(fd, fd, 0));
    FAILS(EBADF, again(fd, text, LEN, 0));
}

TEST(more_files_than_are_kept)
{
    int fds[9];
    for (int i = 0; i < 9; i++)
        fds[i] = make((char[]){'a' + i, 0}, 'a' + i);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 9; i++)
            read_often(fds[i], 'a' + i);
    for (int round = 0; round < OFTEN; round++)
        for (int i = 0; i < 9; i++) {
            EQ(again(fds[i], text, LEN, 0), LEN);
            EQ(text[100], 'a' + i);
        }
}

static int shared_fd, files[2];
static volatile int over;

static void *reads(void *arg)
{
    static __thread char mine[LEN];
    long wrong = 0;
    while (!over) {
        ssize_t got = again(shared_fd, mine, LEN, 0);
        if (got == -1 && errno == EBADF)
            continue;
        // All of one file or of the other.
        if (got != LEN || (mine[0] != 'a' && mine[0] != 'b') || memchr(mine, mine[0] ^ 3, LEN))
            wrong++;
    }
    return (void *)wrong;
}

TEST(another_thread_changes_what_the_number_stands_for)
{
    files[0] = make("f", 'a');
    files[1] = make("g", 'b');
    shared_fd = OK(dup(files[0]));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        EQ(pthread_create(&threads[i], NULL, reads, NULL), 0);
    for (int i = 0; i < 300; i++) {
        int which = i % 2;
        EQ(dup2(files[which], shared_fd), shared_fd);
        char got[LEN];
        for (int n = 0; n < 20; n++) {
            EQ(again(shared_fd, got, LEN, 0), LEN);
            EQ(got[0], "ab"[which]);
        }
        // Others want what is kept.
        if (i % 50 == 0)
            for (int k = 0; k < 6; k++) {
                int fd = make((char[]){'h' + k, 0}, 'h' + k);
                read_often(fd, 'h' + k);
                close(fd);
            }
    }
    over = 1;
    for (int i = 0; i < 2; i++) {
        void *wrong;
        EQ(pthread_join(threads[i], &wrong), 0);
        EQ((long)wrong, 0);
    }
}

static void *closes(void *arg)
{
    close(shared_fd);
    return NULL;
}

TEST(another_thread_closes)
{
    shared_fd = make("f", 'a');
    read_often(shared_fd, 'a');
    pthread_t thread;
    EQ(pthread_create(&thread, NULL, closes, NULL), 0);
    EQ(pthread_join(thread, NULL), 0);
    FAILS(EBADF, again(shared_fd, text, LEN, 0));
}

TEST(a_table_of_ones_own)
{
    int fd = make("f", 'a'), other = make("g", 'b');
    read_often(fd, 'a');
    OK(unshare(CLONE_FILES));
    EQ(dup2(other, fd), fd);
    read_often(fd, 'b');
    pid_t child = OK(fork());
    if (child == 0) {
        read_often(fd, 'b');
        close(fd);
        FAILS(EBADF, again(fd, text, LEN, 0));
        exit(0);
    }
    int status;
    EQ(waitpid(child, &status, 0), child);
    EQ(status, 0);
    read_often(fd, 'b');
}

TEST(listeners_hear_of_reads)
{
    int fd = make("f", 'a');
    read_often(fd, 'a');
    int in = OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(in, "f", IN_ACCESS));
    char events[4096];
    for (int i = 0; i < OFTEN; i++) {
        EQ(again(fd, text, LEN, 0), LEN);
        EQ(read(in, events, sizeof events), (ssize_t)sizeof(struct inotify_event));
    }
    close(in);
    read_often(fd, 'a');
}

TEST(time_of_access_after_a_change)
{
    int fd = make("f", 'a');
    struct stat st;
    for (int round = 0; round < 3; round++) {
        read_often(fd, 'a');
        nanosleep(&(struct timespec){0, 30000000}, NULL);
        EQ(pwrite(fd, "a", 1, 5), 1);
        OK(fstat(fd, &st));
        struct timespec changed = st.st_mtim;
        EQ(again(fd, text, LEN, 0), LEN);
        OK(fstat(fd, &st));
        if (st.st_atim.tv_sec == changed.tv_sec)
            CHECK(st.st_atim.tv_nsec >= changed.tv_nsec);
        else
            CHECK(st.st_atim.tv_sec > changed.tv_sec);
    }
}

static struct timespec accessed(int fd)
{
    struct stat st;
    OK(fstat(fd, &st));
    return st.st_atim;
}

TEST(time_of_access_that_was_set_back)
{
    int fd = make("f", 'a');
    for (int round = 0; round < 3; round++) {
        read_often(fd, 'a');
        OK(futimens(fd, (struct timespec[]){{1000, 0}, {0, UTIME_OMIT}}));
        EQ(accessed(fd).tv_sec, 1000);
        EQ(again(fd, text, LEN, 0), LEN);
        CHECK(accessed(fd).tv_sec > 1000);
    }
}

TEST(each_read_counts_with_strictatime)
{
    own_mounts();
    int fd = make("f", 'a');
    read_often(fd, 'a');
    OK(mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_STRICTATIME, NULL));
    for (int round = 0; round < 3; round++) {
        struct timespec before = accessed(fd);
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        EQ(again(fd, text, LEN, 0), LEN);
        struct timespec now = accessed(fd);
        CHECK(now.tv_sec > before.tv_sec || now.tv_nsec > before.tv_nsec);
    }
}

static long long counted(const char *name)
{
    char all[2000] = "";
    int fd = OK(open("/proc/self/io", O_RDONLY));
    OK(read(fd, all, sizeof all - 1));
    close(fd);
    char *line = strstr(all, name);
    CHECK(line != NULL);
    return atoll(line + strlen(name));
}

TEST(they_are_counted)
{
    int fd = make("f", 'a');
    long long bytes = counted("rchar: "), calls = counted("syscr: ");
    read_often(fd, 'a');
    long long more = counted("rchar: ") - bytes;
    CHECK(more >= (long long)OFTEN * LEN && more < (long long)OFTEN * LEN + 8000);
    long long times = counted("syscr: ") - calls;
    CHECK(times >= OFTEN && times < OFTEN + 10);
}

static volatile int ticks;

static void tick(int sig)
{
    ticks++;
}

TEST(signals_come_in_between)
{
    int fd = make("f", 'a');
    signal(SIGALRM, tick);
    OK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL));
    while (ticks < 50) {
        EQ(again(fd, text, LEN, 0), LEN);
        EQ(text[LEN - 1], 'a');
    }
}

MAIN()
