// Scheduling policies and what children have of them: sched(7), sched_setscheduler(2), sched_setattr(2).
#include "check.h"
#include <linux/sched.h>
#define sched_param kernel_sched_param // glibc has its own
#include <linux/sched/types.h>
#undef sched_param
#include <sched.h>

static long setattr(pid_t pid, void *attr, unsigned flags) { return syscall(SYS_sched_setattr, pid, attr, flags); }
static long getattr(pid_t pid, void *attr, unsigned size, unsigned flags)
{
    return syscall(SYS_sched_getattr, pid, attr, size, flags);
}
// An unprivileged user of its own.
static void become_nobody(void)
{
    OK(setresgid(65534, 65534, 65534));
    OK(setresuid(65534, 65534, 65534));
}

TEST(attributes)
{
    struct sched_attr a = {.size = sizeof a, .sched_policy = SCHED_BATCH, .sched_nice = 7}, b;
    OK(setattr(0, &a, 0));
    memset(&b, 0xff, sizeof b);
    OK(getattr(0, &b, sizeof b, 0));
    EQ(b.size, sizeof b);
    EQ(b.sched_policy, SCHED_BATCH);
    EQ(b.sched_nice, 7);
    EQ(b.sched_priority, 0);
    EQ(b.sched_flags, 0);
    EQ(getpriority(PRIO_PROCESS, 0), 7);
    // An old program's struct.
    memset(&b, 0xff, sizeof b);
    OK(getattr(getpid(), &b, SCHED_ATTR_SIZE_VER0, 0));
    EQ(b.size, SCHED_ATTR_SIZE_VER0);
    EQ(b.sched_util_min, 0xffffffff);
    a = (struct sched_attr){.size = SCHED_ATTR_SIZE_VER0, .sched_policy = SCHED_RR, .sched_priority = 5};
    OK(setattr(0, &a, 0));
    OK(getattr(0, &b, sizeof b, 0));
    EQ(b.sched_policy, SCHED_RR);
    EQ(b.sched_priority, 5);
    EQ(b.sched_nice, 0);
    EQ(sched_getscheduler(0), SCHED_RR);
    // The nice value outlives real time; out of range it is clamped. Size 0 is the first version.
    EQ(getpriority(PRIO_PROCESS, 0), 7);
    a = (struct sched_attr){.size = 0, .sched_policy = SCHED_OTHER, .sched_nice = 100};
    OK(setattr(0, &a, 0));
    EQ(getpriority(PRIO_PROCESS, 0), 19);
    // What is there is kept.
    a = (struct sched_attr){.size = sizeof a, .sched_policy = SCHED_FIFO, .sched_flags = SCHED_FLAG_KEEP_POLICY, .sched_nice = 3};
    OK(setattr(0, &a, 0));
    EQ(sched_getscheduler(0), SCHED_OTHER);
    EQ(getpriority(PRIO_PROCESS, 0), 3);
    a = (struct sched_attr){.size = sizeof a, .sched_policy = SCHED_BATCH, .sched_flags = SCHED_FLAG_KEEP_PARAMS, .sched_nice = 9};
    OK(setattr(0, &a, 0));
    EQ(sched_getscheduler(0), SCHED_OTHER); // the policy is a parameter, too
    EQ(getpriority(PRIO_PROCESS, 0), 3);
}

TEST(refused)
{
    struct {
        struct sched_attr a;
        char more[16];
    } big = {{.size = sizeof big, .sched_policy = SCHED_OTHER}, {0}};
    OK(setattr(0, &big, 0));
    big.more[3] = 1;
    FAILS(E2BIG, setattr(0, &big, 0));
    CHECK(big.a.size >= sizeof big.a && big.a.size < sizeof big);
    struct sched_attr a = {.size = 8, .sched_policy = SCHED_OTHER};
    FAILS(E2BIG, setattr(0, &a, 0));
    CHECK(a.size >= sizeof a);
    a = (struct sched_attr){.size = sizeof a, .sched_policy = SCHED_OTHER};
    FAILS(EINVAL, setattr(0, &a, 1));
    FAILS(EINVAL, setattr(-1, &a, 0));
    FAILS(EINVAL, setattr(0, NULL, 0));
    FAILS(EFAULT, setattr(0, (void *)16, 0));
    FAILS(ESRCH, setattr(999999, &a, 0));
    FAILS(EINVAL, getattr(0, &a, 47, 0));
    FAILS(EINVAL, getattr(0, &a, 4097, 0));
    FAILS(EINVAL, getattr(0, &a, sizeof a, 1));
    FAILS(EINVAL, getattr(0, NULL, sizeof a, 0));
    FAILS(ESRCH, getattr(999999, &a, sizeof a, 0));
    a.size = sizeof a;
    a.sched_policy = 77;
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_policy = -1;
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_policy = SCHED_FIFO; // without a priority
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_priority = 100;
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_policy = SCHED_OTHER;
    a.sched_priority = 1;
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_priority = 0;
    a.sched_flags = 1ull << 40;
    FAILS(EINVAL, setattr(0, &a, 0));
    struct sched_param p = {0};
    FAILS(EINVAL, sched_setscheduler(0, SCHED_FIFO, &p));
    FAILS(EINVAL, sched_setscheduler(0, SCHED_DEADLINE, &p));
    FAILS(EINVAL, sched_setscheduler(0, -1, &p));
    FAILS(EINVAL, sched_setscheduler(-1, SCHED_OTHER, &p));
    FAILS(EINVAL, sched_setscheduler(0, SCHED_OTHER, NULL));
    FAILS(EINVAL, sched_getparam(0, NULL));
}

// A promise of CPU time: only for those who may, and only where there is some left.
TEST(deadline)
{
    struct sched_attr a = {.size = sizeof a, .sched_policy = SCHED_DEADLINE};
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_runtime = 100;
    a.sched_deadline = a.sched_period = 100000000;
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_runtime = 200000000; // more than the deadline
    FAILS(EINVAL, setattr(0, &a, 0));
    a.sched_runtime = 1000000;
    pid_t child = FORK({
        become_nobody();
        FAILS(EPERM, setattr(0, &a, 0));
        EQ(sched_getscheduler(0), SCHED_OTHER);
    });
    WAIT_OK(child);
    int r = setattr(0, &a, 0); // EBUSY: no bandwidth, EPERM: not all processors allowed (cpusets)
    CHECK(r == 0 || errno == EBUSY || errno == EPERM);
    EQ(sched_getscheduler(0), r == 0 ? SCHED_DEADLINE : SCHED_OTHER);
    EQ(sched_get_priority_max(SCHED_DEADLINE), 0);
}

TEST(rights)
{
    struct sched_param p = {10}, q = {20}, none = {0};
    struct rlimit limit = {10, 10}, nice = {15, 15}; // nice values down to 5
    pid_t child = FORK({
        int raised = setrlimit(RLIMIT_RTPRIO, &limit) == 0 && setrlimit(RLIMIT_NICE, &nice) == 0; // needs CAP_SYS_RESOURCE
        struct sched_attr a = {.size = sizeof a, .sched_policy = SCHED_OTHER, .sched_nice = 4};
        become_nobody();
        if (raised) {
            OK(sched_setscheduler(0, SCHED_FIFO, &p));
            FAILS(EPERM, sched_setscheduler(0, SCHED_FIFO, &q));
            FAILS(EPERM, sched_setparam(0, &q));
            OK(sched_setscheduler(0, SCHED_OTHER, &none));
            OK(setpriority(PRIO_PROCESS, 0, 10));
            OK(setpriority(PRIO_PROCESS, 0, 5));
            FAILS(EACCES, setpriority(PRIO_PROCESS, 0, 4));
            FAILS(EPERM, setattr(0, &a, 0));
            a.sched_nice = 6;
            OK(setattr(0, &a, 0));
        } else {
            FAILS(EPERM, sched_setscheduler(0, SCHED_FIFO, &p));
            OK(setpriority(PRIO_PROCESS, 0, 10));
            FAILS(EACCES, setpriority(PRIO_PROCESS, 0, 5));
            FAILS(EPERM, setattr(0, &a, 0));
        }
        // Idle is worse than all nice values.
        OK(sched_setscheduler(0, SCHED_IDLE, &none));
        if (raised)
            OK(sched_setscheduler(0, SCHED_OTHER, &none));
        else
            FAILS(EPERM, sched_setscheduler(0, SCHED_OTHER, &none));
        // The flag can be set by all, and taken back by few.
        OK(sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none));
        FAILS(EPERM, sched_setscheduler(0, SCHED_IDLE, &none));
        FAILS(EPERM, sched_setscheduler(getppid(), SCHED_OTHER, &none));
    });
    WAIT_OK(child);
}

TEST(reset_on_fork)
{
    struct sched_param p = {30};
    OK(sched_setscheduler(0, SCHED_RR, &p));
    pid_t child = FORK({
        EQ(sched_getscheduler(0), SCHED_RR);
        OK(sched_getparam(0, &p));
        EQ(p.sched_priority, 30);
    });
    WAIT_OK(child);
    OK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p));
    EQ(sched_getscheduler(0), SCHED_RR | SCHED_RESET_ON_FORK);
    OK(setpriority(PRIO_PROCESS, 0, -5));
    child = FORK({
        EQ(sched_getscheduler(0), SCHED_OTHER);
        EQ(getpriority(PRIO_PROCESS, 0), 0);
    });
    WAIT_OK(child);
    struct sched_attr a = {.size = sizeof a, .sched_policy = SCHED_BATCH, .sched_nice = -5, .sched_flags = SCHED_FLAG_RESET_ON_FORK};
    OK(setattr(0, &a, 0));
    OK(getattr(0, &a, sizeof a, 0));
    EQ(a.sched_flags, SCHED_FLAG_RESET_ON_FORK);
    child = FORK({
        EQ(sched_getscheduler(0), SCHED_BATCH);
        EQ(getpriority(PRIO_PROCESS, 0), 0);
        // A positive value stays.
        OK(setpriority(PRIO_PROCESS, 0, 4));
        struct sched_attr b = {.size = sizeof b, .sched_policy = SCHED_OTHER, .sched_nice = 4, .sched_flags = SCHED_FLAG_RESET_ON_FORK};
        OK(setattr(0, &b, 0));
        pid_t grandchild = FORK({
            EQ(getpriority(PRIO_PROCESS, 0), 4);
            EQ(sched_getscheduler(0), SCHED_OTHER);
        });
        WAIT_OK(grandchild);
    });
    WAIT_OK(child);
}

// ioprio_set(2): class << 13 | level
enum { WHO_PROCESS = 1, WHO_PGRP, WHO_USER };
enum { RT = 1 << 13, BE = 2 << 13, IDLE = 3 << 13 };
static long io_set(int which, int who, int value) { return syscall(SYS_ioprio_set, which, who, value); }
static long io_get(int which, int who) { return syscall(SYS_ioprio_get, which, who); }
static pid_t sleeper_with_io(int value)
{
    int ready[2];
    OK(pipe(ready));
    pid_t pid = FORK({
        OK(io_set(WHO_PROCESS, 0, value));
        OK(write(ready[1], "", 1));
        pause();
    });
    char byte;
    EQ(read(ready[0], &byte, 1), 1);
    return pid;
}
TEST(io_priorities)
{
    OK(setpgid(0, 0));
    EQ(io_get(WHO_PROCESS, 0), 0); // not set
    EQ(io_get(WHO_PGRP, 0), BE | 4); // that of nice 0
    OK(io_set(WHO_PROCESS, 0, BE | 6));
    EQ(io_get(WHO_PROCESS, 0), BE | 6);
    EQ(io_get(WHO_PROCESS, getpid()), BE | 6);
    WAIT_OK(FORK(EQ(io_get(WHO_PROCESS, 0), BE | 6))); // inherited
    pid_t child = sleeper_with_io(BE | 3);
    EQ(io_get(WHO_PROCESS, child), BE | 3);
    EQ(io_get(WHO_PGRP, getpid()), BE | 3); // the best
    OK(io_set(WHO_PGRP, 0, IDLE));
    EQ(io_get(WHO_PROCESS, child), IDLE);
    EQ(io_get(WHO_PGRP, 0), IDLE);
    OK(io_set(WHO_PROCESS, child, RT | 1));
    EQ(io_get(WHO_PROCESS, child), RT | 1);
    FAILS(EINVAL, io_set(WHO_PROCESS, 0, 7 << 13));
    FAILS(EINVAL, io_set(WHO_PROCESS, 0, 1)); // no class, but a level
    FAILS(EINVAL, io_set(9, 0, BE));
    FAILS(EINVAL, io_get(0, 0));
    FAILS(ESRCH, io_set(WHO_PROCESS, 4194303, BE));
    FAILS(ESRCH, io_get(WHO_PROCESS, 4194303));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EPERM, io_set(WHO_PROCESS, 0, RT));
        FAILS(EPERM, io_set(WHO_PROCESS, child, BE));
        OK(io_set(WHO_PROCESS, 0, IDLE));
    }));
    OK(kill(child, SIGKILL));
}
MAIN()
