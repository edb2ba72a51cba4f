// Processes: a tree of up to six that act on orders by pipes (forks, waits of all kinds, stops, groups and sessions, reapers, deaths of parents and groups),
// and children that change what belongs to a process (credentials and capabilities up to exec of set-id files, priorities, limits, prctl's) and show it.
// places: tmpfs
#include "random.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <grp.h>

#define NODES 7
static struct shared {
    pid_t pids[NODES]; // 0 is the program itself, which is the reaper of all
    char answer[NODES][600];
} *shared;
static int orders[NODES][2], answers[NODES][2];
struct order {
    unsigned what, a, b, c;
};
static const char *name_of(pid_t pid)
{
    static char names[8][8];
    static unsigned at;
    for (int i = 0; i < NODES; i++)
        if (pid && shared->pids[i] == pid)
            return snprintf(names[++at % 8], 8, "p%d", i), names[at % 8];
    return pid == 0 ? "0" : "?";
}
struct stat_line {
    char state;
    int parent, group, session, threads, exit_signal, nice;
};
static struct stat_line stat_of(pid_t pid)
{
    char path[64], text[1024] = "", *at;
    struct stat_line is = {.state = '-'};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return is;
    read(fd, text, sizeof text - 1);
    close(fd);
    if ((at = strrchr(text, ')')))
        sscanf(at + 2, "%c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %d %d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %d", &is.state, &is.parent, &is.group, &is.session,
            &is.nice, &is.threads, &is.exit_signal);
    return is;
}
// Until each has done what became of it.
static void settle(void)
{
    char last[NODES] = "", now[NODES];
    for (int same = 0, i = 0; same < 3 && i < 500; i++) {
        bool busy = false;
        for (int node = 1; node < NODES; node++) {
            now[node] = shared->pids[node] ? stat_of(shared->pids[node]).state : '-';
            busy |= now[node] == 'R' || now[node] == 'D';
        }
        same = !busy && !memcmp(now + 1, last + 1, NODES - 1) ? same + 1 : 0;
        memcpy(last, now, NODES);
        usleep(busy ? 200 : 50);
    }
}
static void serve(int me);
#define TELL(...) (used += snprintf(out + used, 600 - used, __VA_ARGS__))
static const int wait_options[] = {0, 0, WUNTRACED, WCONTINUED, WUNTRACED | WCONTINUED, __WALL, __WALL | WUNTRACED, __WCLONE, __WNOTHREAD, 0x100};
static const int waitid_options[] = {WEXITED, WEXITED | WNOWAIT, WSTOPPED, WCONTINUED, WEXITED | WSTOPPED | WCONTINUED, WSTOPPED | WNOWAIT, WEXITED | __WALL, WEXITED | __WCLONE, 0, 0x100};
static const int death_signals[] = {0, SIGKILL, SIGTERM, SIGUSR1, SIGSTOP, 65, SIGHUP};
static void obey(int me, struct order is)
{
    char *out = shared->answer[me];
    int used = 0, status = 0;
    *out = 0;
    pid_t other = shared->pids[is.a % NODES], third = shared->pids[is.b % NODES];
    long got;
#define CALL(...) (errno = 0, got = (__VA_ARGS__), got == -1 ? TELL(" = %s", strerrorname_np(errno) ?: "?") : TELL(" = %ld", got))
    switch (is.what) {
    case 0: { // a child into a free place
        unsigned long flags = is.c % 5 == 0 && me ? CLONE_PARENT : 0; // by clone(2): stockade has no clone3(2)
        flags |= ((int[]){SIGCHLD, SIGCHLD, SIGCHLD, 0, SIGUSR1, SIGUSR1})[is.b % 6];
        TELL("fork p%d flags %lx", is.a, flags);
        long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
        if (pid == 0) {
            shared->pids[is.a] = getpid();
            serve(is.a);
        }
        if (pid > 0)
            shared->pids[is.a] = pid;
        TELL(" %s", pid < 0 ? strerrorname_np(errno) : "ok");
        break;
    }
    case 1: {
        pid_t whom = is.a == 7 ? -1 : is.a == 8 ? 0 : is.c & 1 && other && is.a ? -other : other ?: 99999;
        int options = wait_options[is.b % 10];
        TELL("wait4 %s%s %x", whom < -1 ? "-" : "", whom == -1 ? "-1" : name_of(abs(whom)), options);
        got = wait4(whom, &status, options | WNOHANG, NULL);
        if (got == -1)
            TELL(" = %s", strerrorname_np(errno));
        else
            TELL(" = %s %x", name_of(got), got ? status : 0);
        if (got > 0 && (WIFEXITED(status) || WIFSIGNALED(status)))
            for (int i = 1; i < NODES; i++)
                if (shared->pids[i] == got)
                    shared->pids[i] = 0;
        break;
    }
    case 2: {
        siginfo_t info = {0};
        int type = is.c % 3, options = waitid_options[is.b % 10];
        TELL("waitid %d %s %x", type, name_of(other), options);
        got = waitid(type, type == P_PID ? (other ?: 99999) : type == P_PGID ? other : 0, &info, options | WNOHANG);
        if (got)
            TELL(" = %s", strerrorname_np(errno));
        else
            TELL(" = %s signo %d code %d status %d uid %d", name_of(info.si_pid), info.si_signo, info.si_code, info.si_status, info.si_uid);
        if (got == 0 && info.si_pid && !(options & WNOWAIT) && info.si_code != CLD_STOPPED && info.si_code != CLD_CONTINUED)
            for (int i = 1; i < NODES; i++)
                if (shared->pids[i] == info.si_pid)
                    shared->pids[i] = 0;
        break;
    }
    case 3: TELL("setpgid %s %s", is.c & 1 ? "0" : name_of(other), is.c & 2 ? "0" : name_of(third)), CALL(setpgid(is.c & 1 ? 0 : other, is.c & 2 ? 0 : third)); break;
    case 4: TELL("setsid"), got = setsid(), TELL(" = %s", got == -1 ? strerrorname_np(errno) : name_of(got)); break;
    case 5: TELL("subreaper %d", is.a & 1), CALL(prctl(PR_SET_CHILD_SUBREAPER, me == 0 ? 1 : is.a & 1)); break;
    case 6: TELL("death signal %d", death_signals[is.a % 7]), CALL(prctl(PR_SET_PDEATHSIG, death_signals[is.a % 7])), prctl(PR_GET_PDEATHSIG, &status), TELL(" %d", status); break;
    case 7: TELL("getpgid %s", name_of(other)), got = getpgid(other), TELL(" = %s", got == -1 ? strerrorname_np(errno) : name_of(got)), got = getsid(other), TELL(" session %s", got == -1 ? strerrorname_np(errno) : name_of(got)); break;
    case 8: TELL("parent %s", name_of(getppid())); break;
    case 9:
        if (me == 0)
            break;
        if (is.b & 1)
            _exit(is.a);
        if (is.b & 2)
            syscall(SYS_exit, is.a);
        signal(SIGTERM, SIG_DFL), raise(is.c & 1 ? SIGTERM : SIGKILL);
    }
}
static void serve(int me)
{
    prctl(PR_SET_NAME, "node");
    signal(SIGUSR1, SIG_IGN);
    write(answers[me][1], "x", 1);
    for (struct order is;;)
        if (read(orders[me][0], &is, sizeof is) == sizeof is)
            obey(me, is), write(answers[me][1], "x", 1);
        else
            _exit(99);
}
static void clean_up(void)
{
    for (int i = 1; i < NODES; i++)
        if (shared->pids[i])
            kill(shared->pids[i], SIGKILL);
    while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR) {
    }
}
static void begin(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    shared->pids[0] = getpid();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (int i = 0; i < NODES; i++)
        pipe2(orders[i], O_CLOEXEC), pipe2(answers[i], O_CLOEXEC);
    static char data[1 << 16];
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = open("prog", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    for (ssize_t n; (n = read(from, data, sizeof data)) > 0;)
        write(to, data, n);
    close(from), close(to);
    chmod(".", 0755);
    for (int cap = 24; cap <= 63; cap++) // what the host gives its root is its own business
        prctl(PR_CAPBSET_DROP, cap);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    syscall(SYS_capset, &header, (struct __user_cap_data_struct[2]){{0xffffff, 0xffffff, 0}});
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    setgroups(0, NULL);
    atexit(clean_up);
}
static void say_tree(void)
{
    settle();
    for (int i = 1; i < NODES; i++)
        if (shared->pids[i]) {
            struct stat_line is = stat_of(shared->pids[i]);
            if (is.state == '-') // reaped by the reaper that went away
                shared->pids[i] = 0, say(" p%d gone", i);
            else
                say(" p%d %c parent %s group %s session %s signal %d;", i, is.state, name_of(is.parent), name_of(is.group), name_of(is.session), is.exit_signal);
        }
}
ACTION(100, order)
{
    static const unsigned whats[] = {0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9};
    struct order is = {ONE_OF(whats), pick(9), pick(30), pick(30)};
    int node = pick(NODES);
    if (node && (!shared->pids[node] || stat_of(shared->pids[node]).state != 'S'))
        node = 0;
    if (is.what == 0) {
        for (is.a = 1; is.a < NODES && shared->pids[is.a]; is.a++) {
        }
        if (is.a == NODES)
            is.what = 1, is.a = 7;
    }
    say("p%d ", node);
    if (node == 0)
        obey(0, is);
    else
        write(orders[node][1], &is, sizeof is);
    unsigned child = is.what == 0 ? is.a : 0;
    char byte;
    if (node && is.what == 9)
        settle(), say("exit %d", is.a);
    else {
        if (node)
            read(answers[node][0], &byte, 1);
        say("%s", shared->answer[node]);
    }
    if (child && shared->pids[child])
        read(answers[child][0], &byte, 1);
    say_tree();
}
ACTION(40, kill)
{
    static const int signals[] = {0, SIGSTOP, SIGSTOP, SIGCONT, SIGCONT, SIGTSTP, SIGTTIN, SIGKILL, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGSEGV, 40};
    int node = 1 + pick(NODES - 1), sig = ONE_OF(signals);
    bool group = chance(30);
    say("kill %sp%d %d", group ? "-" : "", node, sig);
    if (shared->pids[node])
        result(kill(group ? -shared->pids[node] : shared->pids[node], sig));
    say_tree();
}

// What belongs to a process, in a child.
static void say_caps(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    read(fd, text, sizeof text - 1);
    close(fd);
    static const char *const fields[] = {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *at = strstr(text, fields[i]);
        say(" %.*s", at ? (int)strcspn(at, "\n") : 0, at);
    }
    int death = -1;
    prctl(PR_GET_PDEATHSIG, &death);
    say(" bits %x dumpable %d death %d keep %d", prctl(PR_GET_SECUREBITS), prctl(PR_GET_DUMPABLE), death, prctl(PR_GET_KEEPCAPS));
    for (char *at = random_line; (at = strchr(at, '\t'));)
        *at = ' ';
}
static const uid_t ids[] = {0, 0, 1000, 1000, 1001, -1};
static const int caps[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_SYS_ADMIN, CAP_SETPCAP, CAP_NET_RAW, 63, CAP_SYS_NICE};
static void change(void)
{
    uid_t a = ONE_OF(ids), b = ONE_OF(ids), c = ONE_OF(ids);
    int cap = ONE_OF(caps), bit = pick(12);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};
    unsigned what = pick(19);
    say("\n  %u %d %d %d cap %d bit %d", what, a, b, c, cap, bit);
    switch (what) {
    case 0: result(setuid(a)); break;
    case 1: result(setreuid(a, b)); break;
    case 2: result(setresuid(a, b, c)); break;
    case 3: result(setgid(a)); break;
    case 4: result(setresgid(a, b, c)); break;
    case 5: result(setregid(a, b)); break;
    case 6: result(setfsuid(a)), result(setfsuid(-1)); break;
    case 7: result(setgroups(2, (gid_t[]){a, b})); break;
    case 8: result(prctl(PR_SET_KEEPCAPS, bit % 3)); break;
    case 9: result(prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS) ^ 1 << bit % 8)); break;
    case 10: result(prctl(PR_CAPBSET_DROP, cap)), result(prctl(PR_CAPBSET_READ, cap)); break;
    case 11: case 12: result(prctl(PR_CAP_AMBIENT, bit < 8 ? PR_CAP_AMBIENT_RAISE : bit < 10 ? PR_CAP_AMBIENT_LOWER : bit == 10 ? PR_CAP_AMBIENT_CLEAR_ALL : 9, bit == 10 ? 0 : cap, 0, 0)), result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0)); break;
    case 13: case 14: case 15:
        syscall(SYS_capget, &header, data);
        if (what == 13)
            data[0].inheritable ^= 1u << (cap & 31);
        else if (what == 14)
            data[0].effective = bit & 1 ? data[0].permitted : data[0].effective & ~(1u << (cap & 31));
        else
            data[0].permitted &= ~(1u << (cap & 31)), data[0].effective &= ~(bit & 1 ? 1u << (cap & 31) : 0);
        result(syscall(SYS_capset, &header, data));
        break;
    case 16: result(chance(20) ? prctl(PR_SET_NO_NEW_PRIVS, bit < 10, 0, 0, 0) : prctl(PR_SET_DUMPABLE, bit % 4)); break;
    case 17: result(prctl(PR_SET_PDEATHSIG, SIGUSR2)); break;
    case 18: result(setfsgid(a)), result(access("/proc/self/exe", X_OK)), result(open("prog", O_WRONLY | O_CLOEXEC)); break;
    }
    say_caps();
}
ACTION(12, credentials)
{
    say("credentials");
    random_flush();
    static const mode_t modes[] = {0755, 04755, 04755, 02755, 06755, 04711, 0644, 02745};
    mode_t mode = ONE_OF(modes);
    uid_t owner = ONE_OF(((uid_t[]){0, 0, 1000, 1001}));
    struct vfs_cap_data file_caps = {.magic_etc = VFS_CAP_REVISION_2 | (chance(50) ? VFS_CAP_FLAGS_EFFECTIVE : 0), .data[0] = {.permitted = 1u << ONE_OF(caps) % 32, .inheritable = 1u << ONE_OF(caps) % 32}};
    bool with_caps = chance(30), exec = chance(70);
    chown("prog", owner, owner), chmod("prog", mode);
    removexattr("prog", "security.capability");
    if (with_caps)
        setxattr("prog", "security.capability", &file_caps, 20, 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (unsigned i = 1 + pick(6); i > 0; i--)
            change();
        random_flush();
        if (exec) {
            dup2(random_out, 1);
            execl("./prog", "prog", "shows", NULL);
            say("exec %s", strerrorname_np(errno));
            random_flush();
        }
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    say("mode %o owner %d caps %d status %x", mode, owner, with_caps, status);
}
ACTION(12, attributes)
{
    say("attributes");
    random_flush();
    pid_t pid = fork();
    if (pid == 0) {
        if (chance(40))
            setresuid(1000, 1000, 1000), say(" as 1000");
        for (unsigned i = 1 + pick(8); i > 0; i--) {
            struct sched_param param = {ONE_OF(((int[]){0, 0, 1, 5, 99, 100, -1}))};
            int policy = ONE_OF(((int[]){SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, 4, 6, 9})) | (chance(20) ? SCHED_RESET_ON_FORK : 0), nice_ = pick(50) - 25, resource = pick(17), what = pick(11);
            unsigned long values[] = {0, 1, 10, 4096, 1 << 20, RLIM_INFINITY};
            struct rlimit limit = {ONE_OF(values), ONE_OF(values)}, old = {0};
            struct { unsigned size, policy; unsigned long flags; int nice; unsigned priority; unsigned long times[3]; unsigned clamps[2]; } attr = {chance(80) ? 48 : 56, policy & 0xf, chance(20) ? 1 : 0, nice_, param.sched_priority, {0}, {0}};
            say("\n  %u", what);
            switch (what) {
            case 0: case 1: say(" policy %x %d", policy, param.sched_priority), result(sched_setscheduler(0, policy, &param)); break;
            case 2: say(" attr %u %u %lx %d %u", attr.size, attr.policy, attr.flags, attr.nice, attr.priority), result(syscall(SYS_sched_setattr, 0, &attr, 0)); break;
            case 3: say(" priority %d", nice_), result(setpriority(PRIO_PROCESS, 0, nice_)); break;
            case 4: say(" param %d", param.sched_priority), result(sched_setparam(0, &param)); break;
            case 5: case 6:
                if (resource == RLIMIT_CPU || resource == RLIMIT_STACK || resource == RLIMIT_AS || resource == RLIMIT_DATA)
                    resource = RLIMIT_NOFILE;
                say(" limit %d %lx %lx", resource, limit.rlim_cur, limit.rlim_max);
                getrlimit(resource, &old);
                if (resource < 16 && resource != RLIMIT_NOFILE) // what there is to begin with is the host's
                    setrlimit(resource, &(struct rlimit){4096, 8192});
                result(setrlimit(resource, &limit)), result(getrlimit(resource, &old));
                if (resource != RLIMIT_NOFILE && old.rlim_max <= 8192)
                    say(" %lx %lx", old.rlim_cur, old.rlim_max);
                break;
            case 7: say(" io %x", policy << 11 | nice_), result(syscall(SYS_ioprio_set, 1, 0, (policy & 7) << 13 | (nice_ & 15))), result(syscall(SYS_ioprio_get, 1, 0)); break;
            case 8: say(" slack"), result(prctl(PR_SET_TIMERSLACK, resource * 1000)), sched_getscheduler(0) == SCHED_OTHER ? result(prctl(PR_GET_TIMERSLACK)) : 0; break; // since Linux 6.13 real-time tasks have none
            case 9: say(" personality"), result(personality(ONE_OF(((unsigned[]){0xffffffff, ADDR_NO_RANDOMIZE, PER_LINUX, 0x0400000})))), result(personality(-1)); break;
            case 10: say(" min max"), result(sched_get_priority_min(policy & 0xf)), result(sched_get_priority_max(policy & 0xf)); break;
            }
            memset(&attr, 0, sizeof attr);
            say(" is %d %d", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
            sched_getparam(0, &param), say(" %d", param.sched_priority);
            result(syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0));
            say(" %u %u %lx %d %u stat nice %d", attr.size, attr.policy, attr.flags, attr.nice, attr.priority, stat_of(getpid()).nice);
        }
        random_flush();
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    say("status %x", status);
}

int main(int argc, char **argv)
{
    if (argc == 2) { // the program of `credentials`
        say("  shows secure %ld", getauxval(AT_SECURE));
        say_caps();
        random_flush();
        return 7;
    }
    return random_main(argc, argv, begin);
}
