// What tests of ptrace(2) share: a tracee, waits for its stops, its registers.
#pragma once
#include "check.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define PTRACE(request, pid, addr, data) ptrace(request, pid, (void *)(uintptr_t)(addr), (void *)(uintptr_t)(data))

// Waits for a stop and returns what the status has above the 0x7f.
static inline int stop_of(pid_t pid)
{
    int status = 0;
    EQ(OK(waitpid(pid, &status, __WALL)), pid);
    if (!WIFSTOPPED(status))
        FAIL("status 0x%x is no stop", status);
    return status >> 8;
}
#define STOPS(pid, wanted) EQ(stop_of(pid), wanted)
static inline struct user_regs_struct regs_of(pid_t pid)
{
    struct user_regs_struct regs;
    OK(PTRACE(PTRACE_GETREGS, pid, 0, &regs));
    return regs;
}
static inline siginfo_t info_of(pid_t pid)
{
    siginfo_t info;
    OK(PTRACE(PTRACE_GETSIGINFO, pid, 0, &info));
    return info;
}
static inline unsigned long message_of(pid_t pid)
{
    unsigned long message = 0;
    OK(PTRACE(PTRACE_GETEVENTMSG, pid, 0, &message));
    return message;
}
// A child that waits in a read of one byte from fds[0], and ends when it has come.
static inline pid_t waiting_reader(int fds[2])
{
    OK(pipe(fds));
    pid_t pid = FORK({ char c; EQ(read(fds[0], &c, 1), 1); });
    EVENTUALLY(task_state(pid) == 'S');
    return pid;
}
// A tracee that has stopped itself, and now begins.
#define TRACEE(...)                                                                                                    \
    ({                                                                                                                 \
        pid_t tracee_ = FORK({                                                                                         \
            OK(ptrace(PTRACE_TRACEME, 0, 0, 0));                                                                       \
            raise(SIGSTOP);                                                                                            \
            __VA_ARGS__;                                                                                               \
        });                                                                                                            \
        STOPS(tracee_, SIGSTOP);                                                                                       \
        tracee_;                                                                                                       \
    })
