// Chains of vforks: each waits for the next, all in one address space. However they end, nothing of them stays: a pipe whose writers they all are ends.
#include "check.h"

static int writers[2];
static volatile int depth;

// Depth processes, each the vfork child of the one before; the last one does `deepest`.
#define CHAIN(count, deepest)                                                                                          \
    do {                                                                                                               \
        pid_t pid_;                                                                                                    \
        do {                                                                                                           \
            pid_ = vfork();                                                                                            \
        } while (pid_ == 0 && ++depth < (count));                                                                      \
        if (pid_ == 0 || pid_ < 0) {                                                                                   \
            deepest;                                                                                                   \
        }                                                                                                              \
        if (pid_ > 0)                                                                                                  \
            waitpid(pid_, NULL, 0);                                                                                    \
        _exit(0);                                                                                                      \
    } while (0)

// A process group that runs the block with the pipe's only writers.
#define GROUP(...)                                                                                                     \
    ({                                                                                                                 \
        OK(pipe(writers));                                                                                             \
        pid_t group_ = FORK({                                                                                          \
            setpgid(0, 0);                                                                                             \
            close(writers[0]);                                                                                         \
            __VA_ARGS__;                                                                                               \
        });                                                                                                            \
        close(writers[1]);                                                                                             \
        group_;                                                                                                        \
    })

static void no_writer_is_left(void)
{
    char byte;
    ssize_t n;
    struct pollfd poll_for = {writers[0], POLLIN, 0};
    while ((n = (OK(poll(&poll_for, 1, 5000)), poll_for.revents ? read(writers[0], &byte, 1) : -1)) > 0) {
    }
    CHECK(n == 0);
    close(writers[0]);
}

TEST(they_end_one_after_the_other)
{
    for (int i = 0; i < 5; i++) {
        WAIT_OK(GROUP(CHAIN(200, (void)0)));
        no_writer_is_left();
    }
}

TEST(all_are_killed)
{
    for (int i = 0; i < 20; i++) {
        pid_t group = GROUP(CHAIN(100, write(writers[1], "x", 1); pause()));
        char byte;
        EQ(read(writers[0], &byte, 1), 1);
        OK(kill(-group, i % 2 ? SIGKILL : SIGTERM));
        WAIT_STATUS(group, i % 2 ? SIGKILL : SIGTERM);
        no_writer_is_left();
    }
}

TEST(killed_while_they_are_born)
{
    for (int i = 0; i < 12; i++) {
        pid_t group = GROUP(CHAIN(500, pause()));
        usleep(i * 700);
        while (kill(-group, SIGKILL) && errno == ESRCH)
            usleep(100); // no group yet
        WAIT_STATUS(group, SIGKILL);
        no_writer_is_left();
    }
}

TEST(only_the_first_is_killed)
{
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    for (int i = 0; i < 10; i++) {
        pid_t group = GROUP(CHAIN(100, write(writers[1], "x", 1); usleep(200000)));
        char byte;
        EQ(read(writers[0], &byte, 1), 1);
        OK(kill(group, SIGKILL));
        WAIT_STATUS(group, SIGKILL);
        no_writer_is_left();
        while (waitpid(-1, NULL, 0) > 0) {
        }
    }
}

TEST(the_next_cannot_be_made)
{
    for (int i = 0; i < 10; i++) {
        WAIT_OK(GROUP({
            OK(setresgid(54321, 54321, 54321)), OK(setresuid(54321, 54321, 54321));
            OK(setrlimit(RLIMIT_NPROC, &(struct rlimit){50, 50}));
            CHAIN(100, CHECK(depth < 60));
        }));
        no_writer_is_left();
    }
}

MAIN()
