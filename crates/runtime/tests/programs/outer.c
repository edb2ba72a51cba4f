// outer CALL PROGRAM ARGUMENTS...: runs a program below a seccomp filter that has a listener, as a container manager that intercepts calls does. CALL is what it intercepts
// (uname, sysinfo or clone), each time to have the host make it; `-`: nothing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void manage(int listener, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
        struct seccomp_notif request;
        memset(&request, 0, sizeof request);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request))
            continue;
        struct seccomp_notif_resp answer = {request.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    _exit(0);
}
int main(int argc, char **argv)
{
    if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return 99;
    unsigned call = !strcmp(argv[1], "uname") ? SYS_uname : !strcmp(argv[1], "sysinfo") ? SYS_sysinfo : !strcmp(argv[1], "clone") ? SYS_clone : ~0u;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    // It stays open: the host forgets a listener that nobody holds.
    if (listener < 0 || fcntl(listener, F_SETFD, 0)) {
        perror("outer");
        return 99;
    }
    pid_t own = getpid();
    if (call != ~0u && syscall(SYS_fork) == 0)
        manage(listener, own);
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 99;
}
