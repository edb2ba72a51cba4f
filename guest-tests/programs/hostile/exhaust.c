// A guest that takes all it can get: tasks, descriptors, mappings, queues. It gets errors, its neighbour goes on.
#include "hostile.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/timerfd.h>

static void *wait_for_ever(void *arg)
{
    pause();
    return arg;
}
static void more_threads(int most)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    pthread_t thread;
    for (int n = 0; n < most && pthread_create(&thread, &small, wait_for_ever, NULL) == 0; n++) {
    }
}
HOSTILE(threads) { more_threads(20000); }
HOSTILE(threads_that_end_at_once)
{
    more_threads(2000);
    syscall(SYS_exit, 0); // the leader: the others stay
}
HOSTILE(processes)
{
    // Each child makes children, too: fewer than there may be, for the neighbour forks. (That limit: crates/runtime/tests/descriptors.rs.)
    int *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    while (made != MAP_FAILED && __atomic_add_fetch(made, 1, __ATOMIC_RELAXED) < 5000 && fork() >= 0) {
    }
    pause();
}
HOSTILE(chains_of_orphans)
{
    for (int n = 0; n < 3000; n++)
        if (fork() > 0)
            _exit(0); // its child goes on
}
HOSTILE(descriptors)
{
    struct rlimit all = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_NOFILE, &all);
    for (int n = 0; n < 100000; n++) {
        int pair[2];
        bool got = false;
        got |= eventfd(0, 0) >= 0;
        got |= epoll_create1(0) >= 0;
        got |= pipe(pair) == 0;
        got |= socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
        got |= memfd_create("x", 0) >= 0;
        got |= timerfd_create(CLOCK_MONOTONIC, 0) >= 0;
        got |= inotify_init() >= 0;
        got |= open("/proc/self/exe", O_RDONLY) >= 0;
        if (!got)
            break;
    }
}
HOSTILE(mappings)
{
    int fd = memfd_create("x", 0);
    ftruncate(fd, 1 << 20);
    for (int n = 0; n < 200000; n++) // each a VMA of its own, in the kernel's map and in the arena
        if (mmap(NULL, 4096, n % 2 ? PROT_READ : PROT_READ | PROT_WRITE, n % 3 ? MAP_SHARED : MAP_PRIVATE, fd, n % 256 * 4096) == MAP_FAILED &&
            mmap(NULL, 4096, n % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
    char text[64];
    read_file("/proc/self/maps", text, sizeof text);
    fork();
}
HOSTILE(file_sizes)
{
    int fd = open("f", O_RDWR | O_CREAT, 0600), memory = memfd_create("x", 0);
    for (long size = 1l << 62; size > 1l << 40; size >>= 2) { // more than there is: refused, not tried
        fallocate(fd, 0, 0, size), fallocate(memory, 0, 0, size);
        fallocate(fd, 0, size, 4096), ftruncate(fd, size), pwrite(fd, "x", 1, size - 1);
        ftruncate(fd, 0), ftruncate(memory, 0);
    }
}
HOSTILE(names)
{
    char name[256];
    for (int n = 0; n < 20000; n++) {
        snprintf(name, sizeof name, "f%d-%0200d", n, n);
        close(open(name, O_CREAT | O_RDWR, 0600));
        snprintf(name, sizeof name, "l%d", n);
        symlink("f0", name);
    }
    for (int n = 0; n < 3000 && mkdir("d", 0700) == 0 && chdir("d") == 0; n++) {
    }
    getcwd(name, sizeof name);
}
HOSTILE(queued_signals)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int n = 0; n < 300000; n++)
        sigqueue(getpid(), SIGRTMIN + n % 30, (union sigval){.sival_int = n});
}
HOSTILE(timers)
{
    struct itimerspec soon = {{0, 1000}, {0, 1000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    signal(SIGRTMIN, SIG_IGN);
    for (int n = 0; n < 5000; n++) {
        timer_t timer;
        if (timer_create(CLOCK_MONOTONIC, &event, &timer))
            break;
        timer_settime(timer, 0, &soon, NULL);
    }
    for (;;)
        pause();
}
HOSTILE(system_v)
{
    for (int n = 0; n < 50000; n++) {
        char message[sizeof(long) + 4096] = {1};
        int queue = msgget(IPC_PRIVATE, 0600), memory = shmget(IPC_PRIVATE, 1 << 20, 0600), semaphores = semget(IPC_PRIVATE, 250, 0600);
        if (queue < 0 && memory < 0 && semaphores < 0)
            break;
        for (int i = 0; i < 10; i++)
            msgsnd(queue, message, 4096, IPC_NOWAIT);
        shmat(memory, NULL, 0);
    }
}
HOSTILE(epolls_in_epolls)
{
    int chain[60];
    for (int n = 0; n < 60; n++) {
        chain[n] = epoll_create1(0);
        for (int i = 0; i < n; i++)
            epoll_ctl(chain[n], EPOLL_CTL_ADD, chain[i], &(struct epoll_event){.events = EPOLLIN | EPOLLET});
    }
    for (int n = 0; n < 60; n++)
        epoll_ctl(chain[0], EPOLL_CTL_ADD, chain[n], &(struct epoll_event){.events = EPOLLIN});
    int pair[2];
    pipe(pair);
    epoll_ctl(chain[0], EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLIN});
    for (int n = 0; n < 2000; n++)
        write(pair[1], "x", 1), epoll_wait(chain[n % 60], &(struct epoll_event){0}, 1, 0);
}
// Descriptors that travel in each other's queues: nobody holds them but they themselves.
HOSTILE(sockets_in_sockets)
{
    for (int n = 0; n < 3000; n++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
            break;
        char control[CMSG_SPACE(2 * sizeof(int))] = {0};
        struct msghdr message = {.msg_iov = &(struct iovec){"x", 1}, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(head), pair, sizeof pair);
        for (int i = 0; i < 4; i++)
            sendmsg(pair[i % 2], &message, MSG_DONTWAIT);
        close(pair[0]), close(pair[1]);
    }
}
MAIN()
