// fork, vfork, _exit and what a child inherits: fork(2), vfork(2).
#include "check.h"

TEST(memory_is_copied)
{
    static int shared_page = 1;
    char *heap = malloc(1 << 20);
    memset(heap, 'a', 1 << 20);
    pid_t child = FORK({
        EQ(shared_page, 1);
        shared_page = 2;
        heap[12345] = 'b';
        EQ(heap[12346], 'a');
    });
    WAIT_OK(child);
    EQ(shared_page, 1);
    EQ(heap[12345], 'a');
}

TEST(ids_of_parent_and_child)
{
    pid_t parent = getpid();
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        EQ(getppid(), parent);
        CHECK(getpid() != parent);
        EQ(getpid(), syscall(SYS_gettid));
        EQ(getpgrp(), getpgid(parent));
        EQ(getsid(0), getsid(parent));
        pid_t own = getpid();
        EQ(write(report[1], &own, sizeof own), sizeof own);
    });
    pid_t told;
    EQ(read(report[0], &told, sizeof told), sizeof told);
    EQ(told, child);
    WAIT_OK(child);
}

TEST(descriptors_share_their_offset)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    EQ(write(fd, "0123456789", 10), 10);
    OK(lseek(fd, 0, SEEK_SET));
    pid_t child = FORK({
        char c[4];
        EQ(read(fd, c, 4), 4);
        close(fd);
    });
    WAIT_OK(child);
    char c;
    EQ(read(fd, &c, 1), 1);
    EQ(c, '4');
}

static volatile int seen;
static void note(int signal) { seen = signal; }

TEST(signal_state)
{
    signal(SIGUSR1, note);
    sigset_t set, empty;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    raise(SIGUSR2);
    pid_t child = FORK({
        sigset_t pending;
        OK(sigpending(&pending));
        EQ(sigismember(&pending, SIGUSR2), 0); // pending signals are not inherited
        sigset_t mask;
        OK(sigprocmask(SIG_BLOCK, NULL, &mask));
        EQ(sigismember(&mask, SIGUSR2), 1); // the mask is
        raise(SIGUSR1);
        sigemptyset(&empty);
        sigaddset(&empty, SIGUSR2);
        OK(sigprocmask(SIG_SETMASK, &empty, NULL));
        EQ(seen, SIGUSR1); // and so are handlers
    });
    WAIT_OK(child);
    sigset_t pending;
    OK(sigpending(&pending));
    EQ(sigismember(&pending, SIGUSR2), 1);
}

TEST(timers_and_alarms_are_not_inherited)
{
    alarm(100);
    struct itimerval interval = {{0, 0}, {100, 0}};
    OK(setitimer(ITIMER_VIRTUAL, &interval, NULL));
    pid_t child = FORK({
        EQ(alarm(0), 0);
        struct itimerval own;
        OK(getitimer(ITIMER_VIRTUAL, &own));
        EQ(own.it_value.tv_sec, 0);
    });
    WAIT_OK(child);
    CHECK(alarm(0) >= 99);
}

TEST(cpu_time_starts_at_zero)
{
    int64_t until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 20000000;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until) {
    }
    pid_t child = FORK({ CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) < 15000000); });
    WAIT_OK(child);
}

TEST(folder_and_umask_are_inherited)
{
    OK(mkdir("d", 0777));
    OK(chdir("d"));
    umask(027);
    char here[4096];
    CHECK(getcwd(here, sizeof here));
    pid_t child = FORK({
        char own[4096];
        CHECK(getcwd(own, sizeof own));
        STREQ(own, here);
        EQ(umask(0), 027);
        OK(chdir("/"));
    });
    WAIT_OK(child);
    char after[4096];
    CHECK(getcwd(after, sizeof after));
    STREQ(after, here);
    EQ(umask(0), 027);
}

TEST(vfork_shares_memory_and_waits)
{
    volatile int x = 1;
    pid_t child = vfork();
    if (child == 0) {
        x = 2;
        usleep(5000);
        _exit(6);
    }
    CHECK(child > 0);
    EQ(x, 2);
    WAIT_STATUS(child, EXITED(6));
}

HELPER(status) { return atoi(argv[1]); }

TEST(vfork_and_exec)
{
    for (int i = 0; i < 20; i++) {
        pid_t child = vfork();
        if (child == 0) {
            char *argv[] = {"x", "helper:status", "8", NULL};
            execv("/proc/self/exe", argv);
            _exit(99);
        }
        WAIT_STATUS(child, EXITED(8));
    }
}

TEST(vfork_exec_failure_leaves_the_parent_whole)
{
    volatile int error = 0;
    pid_t child = vfork();
    if (child == 0) {
        char *argv[] = {"x", NULL};
        execv("/does/not/exist", argv);
        error = errno;
        _exit(127);
    }
    EQ(error, ENOENT);
    WAIT_STATUS(child, EXITED(127));
}

TEST(vfork_child_killed)
{
    pid_t child = vfork();
    if (child == 0) {
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    WAIT_STATUS(child, KILLED(SIGKILL));
}

TEST(deep_chain)
{
    // Each process forks one child and waits for it: 40 generations.
    int depth = 0;
    for (;;) {
        if (depth == 40)
            _exit(0);
        pid_t child = OK(fork());
        if (child) {
            WAIT_OK(child);
            if (depth == 0)
                return;
            _exit(0);
        }
        depth++;
    }
}

TEST(two_hundred_children_at_once)
{
    enum { N = 200 };
    pid_t children[N];
    int gate[2];
    OK(pipe(gate));
    for (int i = 0; i < N; i++)
        children[i] = FORK({
            char c;
            close(gate[1]);
            EQ(read(gate[0], &c, 1), 0);
            _exit(i % 100);
        });
    close(gate[1]);
    for (int i = 0; i < N; i++)
        WAIT_STATUS(children[i], EXITED(i % 100));
}

TEST(ten_fork_at_once)
{
    // Ten processes that each fork 20 children, all at the same time.
    pid_t top[10];
    for (int i = 0; i < 10; i++)
        top[i] = FORK({
            for (int j = 0; j < 20; j++) {
                pid_t child = FORK({ _exit(j); });
                WAIT_STATUS(child, EXITED(j));
            }
        });
    for (int i = 0; i < 10; i++)
        WAIT_OK(top[i]);
}

TEST(large_process)
{
    size_t size = 64 << 20;
    char *area = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < size; i += 4096)
        area[i] = i >> 12;
    pid_t child = FORK({
        for (size_t i = 0; i < size; i += 4096)
            if (area[i] != (char)(i >> 12))
                FAIL("page %zu differs", i >> 12);
        memset(area, 1, 1 << 20);
    });
    WAIT_OK(child);
    EQ(area[4096], 1);
    EQ(area[8192], 2);
}

MAIN()
