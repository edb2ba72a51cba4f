// clone's flags one by one, clone3 where it exists, posix_spawn: clone(2), posix_spawn(3).
#include "check.h"
#include <linux/futex.h>
#include <spawn.h>
extern char **environ;

static char stack[1 << 16] __attribute__((aligned(16)));
#define STACK (stack + sizeof stack)

static int body_exit(void *arg) { return (int)(intptr_t)arg; }

TEST(plain_with_a_stack)
{
    pid_t child = OK(clone(body_exit, STACK, SIGCHLD, (void *)11));
    WAIT_STATUS(child, EXITED(11));
}

TEST(another_exit_signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t child = OK(clone(body_exit, STACK, SIGUSR1, (void *)2));
    siginfo_t info;
    EQ(sigwaitinfo(&set, &info), SIGUSR1);
    EQ(info.si_code, CLD_EXITED);
    EQ(info.si_pid, child);
    EQ(info.si_status, 2);
    int status;
    EQ(OK(waitpid(child, &status, __WALL)), child);
}

static int body_chdir(void *arg)
{
    (void)arg;
    umask(077);
    return chdir("/") ? 1 : 0;
}

TEST(clone_fs)
{
    pid_t child = OK(clone(body_chdir, STACK, CLONE_FS | SIGCHLD, NULL));
    WAIT_OK(child);
    char here[64];
    CHECK(getcwd(here, sizeof here));
    STREQ(here, "/");
    EQ(umask(0), 077);
}

static int body_open(void *arg)
{
    *(int *)arg = open("/dev/null", O_RDONLY);
    return 0;
}

TEST(clone_files_and_vm)
{
    int fd = -1;
    pid_t child = OK(clone(body_open, STACK, CLONE_FILES | CLONE_VM | SIGCHLD, &fd));
    WAIT_OK(child);
    CHECK(fd >= 0);
    OK(fcntl(fd, F_GETFD));
    child = OK(clone(body_open, STACK, CLONE_VM | SIGCHLD, &fd));
    WAIT_OK(child);
    FAILS(EBADF, fcntl(fd, F_GETFD)); // its own table
}

static int body_getppid(void *arg) { return getppid() == *(pid_t *)arg ? 0 : 1; }

TEST(clone_parent)
{
    pid_t own = getpid(), told;
    int report[2];
    OK(pipe(report));
    pid_t child = FORK({
        pid_t sibling = OK(clone(body_getppid, STACK, CLONE_PARENT | SIGCHLD, &own));
        EQ(write(report[1], &sibling, sizeof sibling), sizeof sibling);
        FAILS(ECHILD, waitpid(sibling, NULL, 0));
    });
    EQ(read(report[0], &told, sizeof told), sizeof told);
    WAIT_OK(told);
    WAIT_OK(child);
}

TEST(tid_words)
{
    int parent_tid = 0, child_tid = 0;
    pid_t child = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, NULL, &parent_tid, &child_tid, 0);
    if (child == 0)
        _exit(child_tid == getpid() ? 0 : 1);
    EQ(parent_tid, child);
    EQ(child_tid, 0); // set in the child's memory only
    WAIT_OK(child);
}

static int word = 1;
static int body_wait(void *arg)
{
    (void)arg;
    usleep(2000);
    return 0;
}

TEST(child_cleartid_wakes)
{
    // A thread-like child: at its end the word becomes 0 and a futex waiter wakes.
    word = 1;
    pid_t child = OK(clone(body_wait, STACK, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL, &word));
    struct timespec t = {5, 0};
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST))
        CHECK(syscall(SYS_futex, &word, FUTEX_WAIT, 1, &t, NULL, 0) == 0 || errno == EAGAIN || errno == EINTR);
    WAIT_OK(child);
}

TEST(clone_vfork)
{
    static volatile int done;
    int body(void *arg)
    {
        (void)arg;
        usleep(3000);
        done = 1;
        return 0;
    }
    pid_t child = OK(clone(body, STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
    EQ(done, 1);
    WAIT_OK(child);
}

TEST(impossible_flags)
{
    FAILS(EINVAL, syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));          // without CLONE_VM
    FAILS(EINVAL, syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0));           // without CLONE_SIGHAND
    FAILS(EINVAL, syscall(SYS_clone, CLONE_FS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0)); // shared and new at once
}

TEST(clone_pidfd)
{
    int fd = -1;
    pid_t child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0);
    if (child == 0)
        _exit(4);
    CHECK(child > 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 5000), 1);
    siginfo_t info;
    OK(waitid(P_PIDFD, fd, &info, WEXITED));
    EQ(info.si_status, 4);
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

TEST(clone3)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } args = {.exit_signal = SIGCHLD};
    pid_t child = syscall(SYS_clone3, &args, sizeof args);
    if (child == -1 && errno == ENOSYS)
        return; // said cleanly; the C library falls back to clone
    if (child == 0)
        _exit(9);
    WAIT_STATUS(child, EXITED(9));
    FAILS(EINVAL, syscall(SYS_clone3, &args, 8));
    args.exit_signal = 0x1000;
    FAILS(EINVAL, syscall(SYS_clone3, &args, sizeof args));
}

HELPER(status)
{
    char c = 0;
    if (argc > 2)
        read(0, &c, 1);
    return atoi(argv[1]) + (c == 'z');
}

TEST(spawn)
{
    char *argv[] = {"x", "helper:status", "6", NULL};
    for (int i = 0; i < 10; i++) {
        pid_t child;
        ZERO(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ));
        WAIT_STATUS(child, EXITED(6));
    }
    pid_t child;
    EQ(posix_spawn(&child, "/nothing", NULL, NULL, argv, environ), ENOENT);
    FAILS(ECHILD, wait(NULL));
}

TEST(spawn_with_actions)
{
    write_file("in", "zzz");
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ZERO(posix_spawn_file_actions_init(&actions));
    ZERO(posix_spawnattr_init(&attributes));
    ZERO(posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0));
    ZERO(posix_spawnattr_setpgroup(&attributes, 0));
    ZERO(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_RESETIDS));
    char *argv[] = {"x", "helper:status", "6", "stdin", NULL};
    pid_t child;
    ZERO(posix_spawn(&child, "/proc/self/exe", &actions, &attributes, argv, environ));
    WAIT_STATUS(child, EXITED(7));
}

TEST(spawn_from_many_threads)
{
    void *body(void *arg)
    {
        char *argv[] = {"x", "helper:status", "6", NULL};
        for (int i = 0; i < 5; i++) {
            pid_t child;
            ZERO(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ));
            WAIT_STATUS(child, EXITED(6));
        }
        return arg;
    }
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        ZERO(pthread_create(&threads[i], NULL, body, NULL));
    for (int i = 0; i < 6; i++)
        ZERO(pthread_join(threads[i], NULL));
}

TEST(system_and_popen)
{
    EQ(system("exit 3"), EXITED(3));
    FILE *p = popen("echo a; echo b", "r");
    CHECK(p);
    char line[16];
    CHECK(fgets(line, sizeof line, p));
    STREQ(line, "a\n");
    CHECK(fgets(line, sizeof line, p));
    STREQ(line, "b\n");
    EQ(pclose(p), 0);
}

static volatile long steps;
static volatile pid_t stepper;
static int steps_for_ever(void *arg)
{
    (void)arg;
    stepper = syscall(SYS_getpid);
    while (stepper)
        steps++;
    return 0;
}
TEST(a_child_in_shared_memory_stops_when_it_is_killed)
{
    static char stack[65536] __attribute__((aligned(16)));
    for (int vfork = 0; vfork < 2; vfork++) {
        steps = stepper = 0;
        pthread_t t;
        void *kill_it(void *arg)
        {
            EVENTUALLY(stepper && steps);
            kill(stepper, SIGKILL);
            return arg;
        }
        ZERO(pthread_create(&t, NULL, kill_it, NULL));
        pid_t child = OK(clone(steps_for_ever, stack + sizeof stack, CLONE_VM | (vfork ? CLONE_VFORK : 0) | SIGCHLD, NULL));
        WAIT_STATUS(child, KILLED(SIGKILL));
        long now = steps;
        usleep(3000);
        EQ(steps, now);
        ZERO(pthread_join(t, NULL));
    }
}

MAIN()
