// Signals: actions, masks and what is pending, sent in every way to the process, to its threads and by others who may or may not, taken by handlers (nested ones, too),
// sigtimedwait, signalfd and sigsuspend; calls that a signal interrupts; faults, timers and what children get. Each handler notes what it was told.
// places: tmpfs
#include "random.h"
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

typedef unsigned long set_t; // the kernel's own sets
#define BIT(sig) (1ul << ((sig) - 1))
static const int signals[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGURG, SIGWINCH, SIGCONT, SIGPIPE, SIGQUIT, SIGSEGV, SIGBUS, SIGSYS, SIGTRAP, 34, 35, 36, 63, 64, SIGIO, SIGXCPU};
static int pick_signal(void) { return ONE_OF(signals); }
static set_t pick_set(void)
{
    set_t set = 0;
    for (unsigned i = pick(6); i > 0; i--)
        set |= BIT(pick_signal());
    if (chance(8))
        set |= chance(50) ? -1ul : BIT(SIGKILL) | BIT(SIGSTOP);
    return set;
}
static const set_t harmless = BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGCONT); // by default
struct action {
    void *handler;
    unsigned long flags;
    void *restorer;
    set_t mask;
};
static long set_action(int sig, const struct action *to, struct action *from) { return syscall(SYS_rt_sigaction, sig, to, from, 8); }
static set_t mask_now(void)
{
    set_t now = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8);
    return now;
}
static set_t pending_now(void)
{
    set_t now = 0;
    syscall(SYS_rt_sigpending, &now, 8);
    return now;
}

// What handlers note, and what they do: raise one more, change the mask of the context.
static char notes[3000];
static int noted, depth;
static int nested;
static set_t masked_after;
static pthread_t thread;
static pid_t main_tid, thread_tid;
static char stack_room[2][64 * 1024];
static const char *who(pid_t pid) { return pid == getpid() ? "self" : pid == 0 ? "0" : pid == getppid() ? "parent" : "other"; }
static void note_info(char *to, size_t room, const siginfo_t *info)
{
    snprintf(to, room, " %d code %d errno %d pid %s uid %d", info->si_signo, info->si_code, info->si_errno, (info->si_code > 0 && info->si_signo != SIGCHLD) || info->si_code == SI_TIMER ? "-" : who(info->si_pid),
        info->si_code > 0 && info->si_signo != SIGCHLD ? 0 : info->si_uid);
    if (info->si_code == SI_QUEUE || info->si_code == SI_TIMER || info->si_code < -6)
        snprintf(to + strlen(to), room - strlen(to), " value %d", info->si_value.sival_int);
    if (info->si_signo == SIGCHLD && info->si_code > 0)
        snprintf(to + strlen(to), room - strlen(to), " status %d", info->si_status);
}
static void arm(int sig, unsigned long flags, set_t mask);
static void handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    char text[200], here;
    bool own = syscall(SYS_gettid) == thread_tid;
    struct action action;
    set_action(sig, NULL, &action);
    if (action.handler == NULL) // reset: the next one would kill
        arm(sig, action.flags & SA_SIGINFO, 0);
    if (action.flags & SA_SIGINFO) // else the kernel says no more than the number
        note_info(text, sizeof text, info);
    else
        snprintf(text, sizeof text, " %d", sig);
    stack_t stack;
    sigaltstack(NULL, &stack);
    int stack_is = -1;
    for (int i = 0; i < 2; i++)
        if (&here >= stack_room[i] && &here < stack_room[i] + sizeof stack_room[i])
            stack_is = i;
    set_t was = *(set_t *)&uc->uc_sigmask;
    if (noted < (int)sizeof notes - 400)
        noted += snprintf(notes + noted, 400, " {%s%s mask %lx was %lx stack %d/%x/%x flags %lx cs %x", own ? " thread" : "", text, mask_now(), was, stack_is, stack.ss_flags, uc->uc_stack.ss_flags,
            uc->uc_flags, (unsigned)uc->uc_mcontext.gregs[REG_CSGSFS] & 0xffff);
    if (nested && depth++ < 3) {
        int next = nested;
        nested = 0;
        set_action(next, NULL, &action);
        if (action.handler)
            syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), next);
    }
    if (masked_after)
        *(set_t *)&uc->uc_sigmask = masked_after, masked_after = 0;
    if (noted < (int)sizeof notes - 4)
        notes[noted++] = '}', notes[noted] = 0;
}
extern void restore(void);
asm("restore: mov $15, %eax\n syscall\n");
#define RESTORER 0x04000000
static void arm(int sig, unsigned long flags, set_t mask)
{
    struct action action = {(void *)handler, flags | RESTORER, (void *)restore, mask};
    set_action(sig, &action, NULL);
}
// Nothing may kill the process: what would, if it were to come, gets a handler.
static void secure(set_t set)
{
    for (int sig = 1; sig <= 64; sig++) {
        struct action action;
        if ((set & BIT(sig)) && !(harmless & BIT(sig)) && set_action(sig, NULL, &action) == 0 && action.handler == NULL)
            arm(sig, SA_SIGINFO, 0), say(" armed %d", sig);
    }
}

// The thread does what it is ordered to, all signals blocked unless it is ordered otherwise.
static sem_t ordered, done;
static struct {
    int what; // 1 mask, 2 sigtimedwait, 3 pending
    set_t set;
    long value;
    siginfo_t info;
} order;
static void *threads_work(void *unused)
{
    thread_tid = syscall(SYS_gettid);
    set_t all = -1;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    sem_post(&done);
    for (;;) {
        while (sem_wait(&ordered)) {
        }
        struct timespec none = {0, 0};
        errno = 0;
        if (order.what == 1)
            order.value = syscall(SYS_rt_sigprocmask, SIG_SETMASK, &order.set, NULL, 8);
        else if (order.what == 2)
            order.value = syscall(SYS_rt_sigtimedwait, &order.set, &order.info, &none, 8);
        else
            order.value = pending_now();
        if (order.value == -1)
            order.value = -errno;
        sem_post(&done);
    }
    return unused;
}
static long tell(int what, set_t set)
{
    order.what = what, order.set = set;
    sem_post(&ordered);
    while (sem_wait(&done)) {
    }
    return order.value;
}
static void say_notes(void)
{
    tell(3, 0); // the thread may have got one, too
    if (noted)
        say("%s", notes);
    noted = depth = nested = 0, masked_after = 0, *notes = 0;
}
static int signal_fd = -1;

static void begin(void)
{
    setpgid(0, 0);
    main_tid = getpid();
    signal(SIGCHLD, SIG_DFL);
    for (int sig = 1; sig <= 64; sig++)
        if (sig != 32 && sig != 33)
            set_action(sig, &(struct action){0}, NULL);
    set_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){100, 1000});
    sem_init(&ordered, 0, 0), sem_init(&done, 0, 0);
    pthread_create(&thread, NULL, threads_work, NULL);
    while (sem_wait(&done)) {
    }
    signal_fd = signalfd(-1, &(sigset_t){0}, SFD_NONBLOCK | SFD_CLOEXEC);
}
static void say_action(const struct action *action)
{
    say(" %s flags %lx mask %lx", action->handler == (void *)handler ? "handler" : action->handler == SIG_IGN ? "ignore" : action->handler == SIG_DFL ? "default" : "?", action->flags & ~(unsigned long)RESTORER, action->mask);
}
ACTION(20, sigaction)
{
    static const unsigned long bits[] = {SA_SIGINFO, SA_SIGINFO, SA_SIGINFO, SA_RESTART, SA_NODEFER, SA_ONSTACK, SA_ONSTACK, SA_NOCLDSTOP, SA_NOCLDWAIT, 0x400, 0x800, 0x10000000 /* nobody's */};
    int sig = chance(5) ? ONE_OF(((int[]){0, SIGKILL, SIGSTOP, 65, -1})) : pick_signal(), kind = pick(10);
    unsigned long flags = SOME_OF(bits);
    if (sig < 32 && chance(15))
        flags = (flags & ~SA_NODEFER) | SA_RESETHAND;
    struct action new = {kind < 7 || !(harmless >> (sig - 1) & 1) ? kind < 8 ? (void *)handler : SIG_IGN : SIG_DFL, flags | RESTORER, (void *)restore, pick_set()}, old = {0};
    if (sig == SIGCHLD)
        new.flags &= ~SA_NOCLDWAIT, new.handler = new.handler == SIG_IGN ? SIG_DFL : new.handler; // children are waited for
    say("sigaction %d", sig);
    say_action(&new);
    if (result(set_action(sig, chance(20) ? NULL : &new, &old)) == 0)
        say_action(&old);
}
ACTION(30, mask)
{
    set_t set = pick_set(), old = 0;
    int how = pick(20) ? pick(3) : 7, size = pick(30) ? 8 : 4;
    say("mask %d %lx", how, set);
    secure(pending_now());
    nested = chance(30) ? pick_signal() : 0, masked_after = chance(15) ? pick_set() & ~BIT(SIGSEGV) : 0;
    if (masked_after)
        secure(pending_now() & ~masked_after);
    result(syscall(SYS_rt_sigprocmask, how, &set, &old, size));
    say(" was %lx", old);
}
static long send_it(unsigned how, pid_t pid, pid_t tid, int sig, int value, int code)
{
    siginfo_t info = {.si_signo = sig, .si_code = code};
    info.si_pid = getpid(), info.si_uid = 77, info.si_value.sival_int = value;
    int fd;
    long is;
    switch (how) {
    case 0: return syscall(SYS_kill, pid, sig);
    case 1: return syscall(SYS_tgkill, pid, tid, sig);
    case 2: return syscall(SYS_tkill, tid, sig);
    case 3: return syscall(SYS_rt_sigqueueinfo, pid, sig, &info);
    case 4: return syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, &info);
    default:
        fd = syscall(SYS_pidfd_open, pid, 0);
        is = syscall(SYS_pidfd_send_signal, fd, sig, code == SI_QUEUE ? &info : NULL, value == 3 ? 4 : 0);
        close(fd);
        return is;
    }
}
static const int codes[] = {SI_QUEUE, SI_QUEUE, SI_QUEUE, SI_USER, SI_TKILL, SI_KERNEL, SI_TIMER, SI_MESGQ, SI_ASYNCIO, -60, 1, 5};
ACTION(60, send)
{
    unsigned how = pick(6);
    int sig = chance(4) ? ONE_OF(((int[]){0, 65, -1})) : pick_signal(), value = pick(1000), code = ONE_OF(codes);
    bool to_thread = chance(25);
    if (how > 2 && (sig < 0 || sig > 64)) // a number or a siginfo that is wrong: which comes first?
        sig = SIGUSR1;
    if (how == 5 && code != SI_QUEUE)
        value = 0;
    say("send %u %d to %s value %d code %d", how, sig, to_thread ? "thread" : "main", value, code);
    secure(sig > 0 && sig < 65 ? BIT(sig) : 0);
    nested = chance(30) ? pick_signal() : 0, masked_after = chance(10) ? mask_now() ^ BIT(pick_signal()) : 0;
    if (masked_after)
        secure(pending_now());
    result(send_it(how, getpid(), to_thread ? thread_tid : main_tid, sig, value, code));
    say_notes();
}
ACTION(20, wait)
{
    set_t set = chance(50) ? -1ul : pick_set();
    struct timespec none = {0, chance(5) ? -1 : 0};
    siginfo_t info = {0};
    bool own = chance(30);
    char text[200] = "";
    say("sigtimedwait %s %lx", own ? "thread" : "main", set);
    long sig = own ? tell(2, set) : syscall(SYS_rt_sigtimedwait, &set, &info, &none, 8);
    result(own && sig < 0 ? (errno = -sig, -1) : sig);
    if (sig > 0)
        note_info(text, sizeof text, own ? &order.info : &info);
    say("%s", text);
}
ACTION(12, signalfd)
{
    if (chance(40)) {
        set_t set = pick_set();
        say("signalfd %lx", set);
        success(syscall(SYS_signalfd4, signal_fd, &set, 8, 0));
    }
    struct signalfd_siginfo info[2];
    struct pollfd poll_ = {signal_fd, POLLIN, 0};
    if (tell(3, 0) == 0) // stockade's readiness is that of the whole process
        say(" poll %d", poll(&poll_, 1, 0));
    ssize_t n = result(read(signal_fd, info, chance(5) ? 100 : sizeof info));
    for (int i = 0; i < n / (ssize_t)sizeof *info; i++)
        say(" %d code %d pid %s uid %d int %d status %d", info[i].ssi_signo, info[i].ssi_code, who(info[i].ssi_pid), info[i].ssi_uid, info[i].ssi_int, info[i].ssi_status);
}
ACTION(10, thread)
{
    set_t set = chance(60) ? -1ul : ~pick_set();
    say("thread mask %lx", set);
    secure(~set);
    result(tell(1, set));
    say(" pending %lx", tell(3, 0));
    say_notes();
}
ACTION(12, suspend) // where something would come, sigsuspend; and calls with a mask that time out at once
{
    set_t set = chance(50) ? 0 : pick_set(), come = 0;
    say("suspend %lx", set);
    secure(pending_now());
    for (int sig = 1; sig <= 64; sig++) {
        struct action action;
        if ((pending_now() & ~set & BIT(sig)) && set_action(sig, NULL, &action) == 0 && action.handler == (void *)handler)
            come |= BIT(sig);
    }
    nested = chance(30) ? pick_signal() : 0;
    struct timespec none = {0, 0};
    unsigned how = pick(3);
    if (come && how)
        result(syscall(SYS_rt_sigsuspend, &set, 8));
    else if (how == 0)
        result(syscall(SYS_ppoll, NULL, 0, &none, &set, 8));
    else {
        int fd = epoll_create1(0);
        struct epoll_event event;
        result(syscall(SYS_epoll_pwait, fd, &event, 1, 0, &set, 8));
        close(fd);
    }
    say(" mask %lx pending %lx", mask_now(), pending_now());
    say_notes();
}
ACTION(12, altstack)
{
    stack_t new = {.ss_sp = stack_room[pick(2)], .ss_size = chance(80) ? sizeof stack_room[0] : ONE_OF(((size_t[]){0, 2047, 100})), .ss_flags = ONE_OF(((int[]){0, 0, 0, SS_DISABLE, 1 << 31, SS_ONSTACK, 7}))}, old = {0};
    say("altstack size %lx flags %x", new.ss_size, new.ss_flags);
    result(sigaltstack(chance(20) ? NULL : &new, &old));
    say(" was %d %lx %x", old.ss_sp == stack_room[1], old.ss_size, old.ss_flags);
}
static void say_status(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    read(fd, text, sizeof text - 1);
    close(fd);
    static const char *const fields[] = {"SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"};
    for (int i = 0; i < 5; i++) {
        char *at = strstr(text, fields[i]);
        say(" %s%lx", fields[i], at ? strtoul(at + 7, NULL, 16) : 0);
    }
}
ACTION(10, look)
{
    say("look pending %lx mask %lx thread %lx", pending_now(), mask_now(), tell(3, 0));
    say_status();
}
// What a child and a program begin with; its end is the parent's SIGCHLD.
ACTION(5, child)
{
    bool exec = chance(50), killed = chance(30);
    int sig = pick_signal();
    say("child %d %d", exec, killed ? sig : 0);
    random_flush();
    pid_t pid = fork();
    if (pid == 0) {
        say("begins");
        say_status();
        stack_t stack;
        sigaltstack(NULL, &stack);
        say(" stack %x", stack.ss_flags);
        random_flush();
        if (killed) {
            struct action none = {0};
            set_t set = 0;
            set_action(sig, &none, NULL);
            syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8);
            syscall(SYS_kill, getpid(), sig);
        }
        if (exec) {
            dup2(random_out, 1);
            execl("/proc/self/exe", "self", "begins", NULL);
        }
        _exit(5);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    say("status %x", status);
    say_notes();
}
// One user sends to another.
ACTION(8, permission)
{
    static const uid_t uids[] = {0, 1000, 1000, 1001, 1002};
    uid_t of[3] = {ONE_OF(uids), ONE_OF(uids), ONE_OF(uids)}, by[3] = {ONE_OF(uids), ONE_OF(uids), ONE_OF(uids)};
    unsigned how = pick(6);
    int sig = chance(20) ? 0 : ONE_OF(((int[]){SIGUSR1, SIGCONT, 40, SIGTERM})), code = ONE_OF(codes);
    bool session = chance(40);
    say("permission %u %d code %d from %u %u %u to %u %u %u%s", how, sig, code, by[0], by[1], by[2], of[0], of[1], of[2], session ? " session" : "");
    int ready[2];
    pipe2(ready, O_CLOEXEC);
    struct action was;
    set_action(SIGCHLD, NULL, &was);
    pid_t target = fork();
    if (target == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 1; i <= 64; i++)
            if (i < 32 || i > 33)
                set_action(i, &(struct action){.handler = SIG_IGN}, NULL);
        if (session)
            setsid();
        setresuid(of[0], of[1], of[2]);
        write(ready[1], "x", 1);
        close(ready[1]);
        for (;;)
            read(ready[0], &byte, 0), pause();
    }
    char byte;
    while (read(ready[0], &byte, 1) != 1) {
    }
    close(ready[0]), close(ready[1]);
    pid_t sender = fork();
    if (sender == 0) {
        setresuid(by[0], by[1], by[2]);
        long is = send_it(how, target, target, sig, 1, code);
        _exit(is ? errno : 0);
    }
    int status = 0;
    while (waitpid(sender, &status, 0) < 0 && errno == EINTR) {
    }
    say(" = %s", status ? strerrorname_np(WEXITSTATUS(status)) ?: "?" : "ok");
    tell(3, 0); // where its SIGCHLD goes there, before the next one
    syscall(SYS_kill, target, SIGKILL);
    while (waitpid(target, &status, 0) < 0 && errno == EINTR) {
    }
    say_notes();
}
// A call that waits, a signal, and then what it waits for, if it still does.
static int go[2], full[2], word, wake_signal;
static volatile bool returned;
static bool sleeps(pid_t tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    read(fd, text, sizeof text - 1);
    close(fd);
    char *at = strrchr(text, ')');
    return at && at[2] == 'S';
}
static void *wake(void *room)
{
    while (!sleeps(main_tid))
        usleep(100);
    syscall(SYS_tgkill, getpid(), main_tid, wake_signal);
    while (!returned && !(noted && sleeps(main_tid)))
        usleep(100);
    write(go[1], "x", 1);
    read(full[0], room, 65536);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &word, 129, 1, NULL, NULL, 0);
    return NULL;
}
ACTION(8, interrupt)
{
    static const char *const calls[] = {"read", "write", "poll", "nanosleep", "futex", "timed futex", "wait", "waitid", "epoll", "recv", "timed recv", "semop", "msgrcv", "pause", "select", "sigtimedwait", "clock_nanosleep", "readv", "lock"};
    unsigned call = pick(sizeof calls / sizeof *calls);
    unsigned long flags = SA_SIGINFO | (chance(60) ? SA_RESTART : 0) | (chance(30) ? SA_ONSTACK : 0);
    wake_signal = ONE_OF(((int[]){SIGUSR1, SIGUSR2, 34, SIGHUP}));
    say("interrupt %s by %d flags %lx", calls[call], wake_signal, flags);
    set_t all = -1, was = 0, only = BIT(wake_signal);
    static char data[70000];
    struct action old;
    struct timespec none = {0, 0}, moment = {5, 500000000};
    struct timeval second = {5, 500000};
    set_action(wake_signal, NULL, &old);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &was, 8);
    while (syscall(SYS_rt_sigtimedwait, &only, NULL, &none, 8) > 0) {
    }
    arm(wake_signal, flags, 0);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go), pipe2(full, O_CLOEXEC | O_NONBLOCK);
    int sem = semget(IPC_PRIVATE, 1, 0600), queue = msgget(IPC_PRIVATE, 0600), epoll = epoll_create1(EPOLL_CLOEXEC), file = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (call == 1)
        write(full[1], data, 65536), fcntl(full[1], F_SETFL, 0);
    if (call == 10)
        setsockopt(go[0], SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    word = 0, returned = false;
    pid_t child = 0;
    if (call == 6 || call == 7 || call == 18) { // a child that holds up
        struct flock lock = {.l_type = F_WRLCK};
        int ready[2];
        pipe2(ready, 0);
        if ((child = fork()) == 0) {
            if (call == 18)
                fcntl(file, F_SETLK, &lock);
            write(ready[1], "x", 1);
            read(go[0], data, 1);
            _exit(3);
        }
        read(ready[0], data, 1), close(ready[0]), close(ready[1]);
    }
    pthread_t waker;
    pthread_create(&waker, NULL, wake, data);
    struct pollfd fd = {go[0], POLLIN, 0};
    struct flock lock = {.l_type = F_WRLCK};
    struct iovec vector[2] = {{data, 10}, {data + 10, 10}};
    siginfo_t info = {0};
    set_t rest = ~only;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &rest, NULL, 8);
    switch (call) {
    case 0: result(read(go[0], data, 1)); break;
    case 1: result(write(full[1], data, 1)); break;
    case 2: result(poll(&fd, 1, 5000)); break;
    case 3: result(nanosleep(&moment, &moment)), say(" rest %ld", (long)moment.tv_sec); break;
    case 4: result(syscall(SYS_futex, &word, 128, 0, NULL, NULL, 0)); break;
    case 5: result(syscall(SYS_futex, &word, 128, 0, &moment, NULL, 0)); break;
    case 6: result(waitpid(child, NULL, 0) == child ? 0 : -1); break;
    case 7: result(waitid(P_PID, child, &info, WEXITED)), say(" %d", info.si_status); break;
    case 8: epoll_ctl(epoll, EPOLL_CTL_ADD, go[0], &(struct epoll_event){.events = EPOLLIN}), result(epoll_wait(epoll, &(struct epoll_event){0}, 1, 5000)); break;
    case 9: case 10: result(recv(go[0], data, 1, 0)); break;
    case 11: result(semop(sem, &(struct sembuf){0, -1, 0}, 1)); break;
    case 12: result(msgrcv(queue, data, 10, 0, 0)); break;
    case 13: result(pause()); break;
    case 14: {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(go[0], &set);
        result(select(go[0] + 1, &set, NULL, NULL, &second)), say(" rest %ld", (long)second.tv_sec);
        break;
    }
    case 15: result(syscall(SYS_rt_sigtimedwait, &(set_t){BIT(50)}, NULL, &moment, 8)); break;
    case 16: result(-clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, &moment)), say(" rest %ld", (long)moment.tv_sec); break;
    case 17: result(readv(go[0], vector, 2)); break;
    case 18: result(fcntl(file, F_SETLKW, &lock)); break;
    }
    returned = true;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    fcntl(full[0], F_SETFL, O_NONBLOCK), write(full[1], "x", 1); // for the waker's read
    pthread_join(waker, NULL);
    if (child)
        waitpid(child, NULL, 0);
    close(go[0]), close(go[1]), close(full[0]), close(full[1]), close(epoll), close(file);
    semctl(sem, 0, IPC_RMID), msgctl(queue, IPC_RMID, NULL);
    set_action(wake_signal, &old, NULL);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, 8);
    say_notes();
}
static sigjmp_buf after_fault;
static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    bool page = uc->uc_mcontext.gregs[REG_TRAPNO] == 14;
    say(" %d code %d errno %d addr %lx trap %lld error %llx", sig, info->si_code, info->si_errno, page ? (long)info->si_addr : info->si_code > 0 && info->si_code < 128 && info->si_addr ? (long)info->si_addr - (long)uc->uc_mcontext.gregs[REG_RIP] : 0,
        uc->uc_mcontext.gregs[REG_TRAPNO], uc->uc_mcontext.gregs[REG_ERR]);
    siglongjmp(after_fault, 1);
}
ACTION(6, fault) // taken by a handler, or in a child by nobody
{
    unsigned how = pick(9), taken = pick(3);
    int sig = ((int[]){SIGSEGV, SIGSEGV, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGTRAP, SIGSEGV, SIGBUS})[how];
    say("fault %u %s", how, taken == 0 ? "taken" : taken == 1 ? "blocked" : "ignored");
    random_flush();
    pid_t pid = fork();
    if (pid == 0) {
        set_t set = taken == 1 ? BIT(sig) : 0;
        for (int i = 1; i < 32; i++)
            set_action(i, &(struct action){0}, NULL);
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8);
        set_action(sig, &(struct action){taken == 2 ? SIG_IGN : (void *)on_fault, SA_SIGINFO | RESTORER, (void *)restore, 0}, NULL);
        char *at = mmap((void *)0x5550000, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (sigsetjmp(after_fault, 1) == 0)
            switch (how) {
            case 0: *(volatile char *)0x1234; break;
            case 1: *(volatile char *)at = 1; break;
            case 2: asm volatile("movb $0, (%0)" ::"r"(0x8000000000000000)); break;
            case 3: asm volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"); break;
            case 4: asm volatile("ud2"); break;
            case 5: asm volatile("int3"); break;
            case 6: asm volatile("pushf; orl $0x100, (%%rsp); popf; nop" ::: "memory"); break;
            case 7: asm volatile("hlt"); break;
            case 8: ((void (*)(void))at)(); break;
            }
        say(" mask %lx", mask_now());
        random_flush();
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    say(" status %x", status);
    say_notes();
}
ACTION(6, timer)
{
    unsigned how = pick(5);
    int sig = chance(10) ? 65 : ONE_OF(((int[]){SIGALRM, 34, SIGUSR1}));
    set_t all = -1, was;
    siginfo_t info = {0};
    char text[200] = "";
    struct timespec second = {2, 0}, none = {0, 0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &was, 8);
    for (set_t only = BIT(SIGALRM) | BIT(34) | BIT(SIGUSR1); syscall(SYS_rt_sigtimedwait, &only, NULL, &none, 8) > 0;) {
    }
    say("timer %u %d", how, sig);
    timer_t timer;
    struct sigevent event = {.sigev_notify = ONE_OF(((int[]){SIGEV_SIGNAL, SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID, 9})), .sigev_signo = sig, .sigev_value.sival_int = pick(100)};
    event._sigev_un._tid = chance(50) ? main_tid : chance(50) ? thread_tid : 1;
    struct itimerspec in = {{0, 0}, {0, chance(10) ? 1000000000 : 1000000}}, left;
    set_t only = BIT(sig == 65 ? SIGALRM : sig);
    if (how == 0) {
        result(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000}}, NULL));
        only = BIT(SIGALRM);
        result(syscall(SYS_rt_sigtimedwait, &only, &info, &second, 8));
    } else if (how == 1) {
        say(" %u", alarm(100)), say(" %u", alarm(0));
    } else {
        say(" notify %d", event.sigev_notify);
        if (success(timer_create(chance(5) ? 99 : CLOCK_MONOTONIC, &event, &timer)) == 0) {
            if (result(timer_settime(timer, 0, &in, NULL)) == 0 && event.sigev_notify == SIGEV_SIGNAL)
                result(syscall(SYS_rt_sigtimedwait, &only, &info, &second, 8)), say(" overrun %d", info.si_overrun);
            else if (event.sigev_notify == SIGEV_NONE)
                usleep(1500);
            if (event.sigev_notify != SIGEV_THREAD_ID && in.it_value.tv_nsec < 1000000000)
                result(timer_gettime(timer, &left)), say(" left %ld", left.it_value.tv_nsec);
            result(timer_getoverrun(timer)), result(timer_delete(timer)), result(timer_delete(timer));
            if (event.sigev_notify == SIGEV_THREAD_ID)
                usleep(1500), tell(2, all), syscall(SYS_rt_sigtimedwait, &only, NULL, &none, 8);
        }
    }
    if (info.si_signo)
        note_info(text, sizeof text, &info);
    say("%s", text);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, 8);
    say_notes();
}

int main(int argc, char **argv)
{
    if (argc == 2) { // the program of `child`
        say_status();
        random_flush();
        return 6;
    }
    return random_main(argc, argv, begin);
}
