// Messages and semaphores of System V, with what a process undoes when it ends, shared memory's numbers, and message queues of POSIX: a few of each, used at
// random without waiting. After each step stands what they hold.
// places: tmpfs
#include "random.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

enum { KEYS = 3, QUEUES = 4 };
static int queues[KEYS] = {-1, -1, -1}, sets[KEYS] = {-1, -1, -1}, segments[KEYS] = {-1, -1, -1};
static mqd_t open_queues[QUEUES] = {-1, -1, -1, -1};
static void *attached[KEYS];
static volatile struct seen {
    int signal, code, value, own;
} seen[8];
static volatile unsigned count_seen;

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (count_seen < 8)
        seen[count_seen] = (struct seen){signal, info->si_code, info->si_value.sival_int, info->si_pid == getpid()};
    count_seen++;
}
static void begin(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    // How many bytes of messages one may have differs.
    setrlimit(RLIMIT_MSGQUEUE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
}
static int who(pid_t pid) { return pid == getpid() ? 1 : pid ? 2 : 0; }
static void state(void)
{
    say(" |");
    for (int at = 0; at < KEYS; at++) {
        struct msqid_ds is;
        if (queues[at] >= 0 && !msgctl(queues[at], IPC_STAT, &is))
            say(" m%d:%lu/%lu/%lu.%d.%d", at, is.msg_qnum, is.__msg_cbytes, is.msg_qbytes, who(is.msg_lspid), who(is.msg_lrpid));
        unsigned short values[300];
        struct semid_ds set;
        if (sets[at] >= 0 && !semctl(sets[at], 0, IPC_STAT, &set) && set.sem_nsems <= 300 && !semctl(sets[at], 0, GETALL, values)) {
            say(" s%d:", at);
            for (unsigned i = 0; i < set.sem_nsems && i < 6; i++)
                say("%u.%d,", values[i], who(semctl(sets[at], i, GETPID)));
        }
    }
    for (int at = 0; at < QUEUES; at++) {
        struct mq_attr is;
        struct pollfd polled = {.fd = open_queues[at], .events = POLLIN | POLLOUT};
        if (open_queues[at] >= 0 && !mq_getattr(open_queues[at], &is))
            say(" q%d:%ld/%ld/%ld/%lx", at, is.mq_curmsgs, is.mq_maxmsg, is.mq_msgsize, is.mq_flags), poll(&polled, 1, 0), say("/%x", polled.revents);
    }
    for (unsigned i = 0; i < count_seen && i < 8; i++)
        say(" SIG%d.%d.%d.%d", seen[i].signal, seen[i].code, seen[i].value, seen[i].own);
    count_seen = 0;
}

static int get_flags(void)
{
    static const unsigned long bits[] = {IPC_EXCL, 0077, 0100, 0200};
    return 0600 | (chance(75) ? IPC_CREAT : 0) | SOME_OF(bits);
}
static int key(int at) { return chance(90) ? 0x5000 + at : IPC_PRIVATE; }

SHOWN(8, msgget)
{
    int at = pick(KEYS), flags = get_flags(), k = chance(95) ? 0x5000 + at : IPC_PRIVATE;
    say("msgget %d %x %o", at, k, flags);
    int id = success(msgget(k, flags));
    if (id >= 0 && queues[at] != id && k == IPC_PRIVATE)
        msgctl(queues[at], IPC_RMID, NULL);
    if (id >= 0)
        queues[at] = id;
}
SHOWN(16, msgsnd)
{
    struct { long type; char text[9000]; } message = {chance(95) ? 1 + (long)pick(4) : -(long)pick(2)};
    static const size_t sizes[] = {0, 1, 10, 100, 4000, 8192, 8193, -1};
    size_t size = chance(60) ? pick(100) : ONE_OF(sizes);
    int at = pick(KEYS);
    for (size_t i = 0; i < 9000; i++)
        message.text[i] = i * 7 + message.type;
    say("msgsnd %d %ld %zd", at, message.type, size);
    result(msgsnd(queues[at], &message, size, IPC_NOWAIT));
}
SHOWN(16, msgrcv)
{
    struct { long type; char text[9000]; } message = {0};
    static const size_t sizes[] = {0, 50, 9000, 9000, 9000, -1};
    size_t size = ONE_OF(sizes);
    long type = (long)pick(10) - 4;
    int at = pick(KEYS), flags = IPC_NOWAIT | (chance(30) ? MSG_NOERROR : 0) | (chance(15) ? MSG_EXCEPT : 0) | (chance(10) ? MSG_COPY : 0);
    say("msgrcv %d %zd %ld %x", at, size, type, flags);
    long n = result(msgrcv(queues[at], &message, size, type, flags));
    if (n >= 0)
        say(" %ld #%x", message.type, sum_of(message.text, n));
}
SHOWN(6, msgctl)
{
    struct msqid_ds is = {0};
    int at = pick(KEYS), which = pick(5);
    say("msgctl %d %d", at, which);
    switch (which) {
    case 0: result(msgctl(queues[at], IPC_RMID, NULL)), queues[at] = -1; break; // what a gone id is told, EINVAL or EIDRM, is a matter of the table
    case 1:
    case 2:
        result(msgctl(queues[at], IPC_STAT, &is));
        say(" %x %o %d %d %d", is.msg_perm.__key, is.msg_perm.mode, is.msg_perm.uid, is.msg_perm.cuid, is.msg_stime > 1);
        break;
    default:
        msgctl(queues[at], IPC_STAT, &is);
        is.msg_perm.mode = 0600 | pick(01000), is.msg_qbytes = chance(70) ? 16384 : pick(3000);
        say(" %o %lu", is.msg_perm.mode, is.msg_qbytes), result(msgctl(queues[at], IPC_SET, &is));
    }
}

SHOWN(8, semget)
{
    int at = pick(KEYS), flags = get_flags(), count = chance(90) ? pick(5) : chance(50) ? 250 : -1, k = key(at);
    say("semget %d %x %d %o", at, k, count, flags);
    int id = success(semget(k, count, flags));
    if (id >= 0 && sets[at] != id && k == IPC_PRIVATE)
        semctl(sets[at], 0, IPC_RMID);
    if (id >= 0)
        sets[at] = id;
}
static int operations(struct sembuf *list)
{
    static const int amounts[] = {1, 1, 1, -1, -1, 0, 2, 5, -3, 32767, -32768};
    int count = chance(90) ? 1 + pick(3) : pick(5);
    for (int i = 0; i < count; i++) {
        list[i] = (struct sembuf){chance(95) ? pick(4) : pick(400), ONE_OF(amounts), IPC_NOWAIT | (chance(40) ? SEM_UNDO : 0)};
        say(" %u%+d%s", list[i].sem_num, list[i].sem_op, list[i].sem_flg & SEM_UNDO ? "u" : "");
    }
    return count;
}
SHOWN(24, semop)
{
    struct sembuf list[5];
    int at = pick(KEYS);
    say("semop %d", at);
    int count = operations(list);
    result(semop(sets[at], list, count));
}
// Another process does some, and ends: what it was to undo is undone.
SHOWN(8, undo)
{
    struct sembuf lists[3][5];
    int at[3], counts[3], status = 0;
    say("child");
    for (int i = 0; i < 3; i++)
        at[i] = pick(KEYS), say(" set %d", at[i]), counts[i] = operations(lists[i]);
    pid_t child = fork();
    if (child == 0) {
        int did = 0;
        for (int i = 0; i < 3; i++)
            did |= !semop(sets[at[i]], lists[i], counts[i]) << i;
        _exit(did);
    }
    waitpid(child, &status, 0);
    say(" = %x", status);
}
SHOWN(12, semctl)
{
    static const int values[] = {0, 1, 5, 32767, 32768, -1};
    int at = pick(KEYS), which = pick(9), number = chance(90) ? pick(4) : pick(300) - 2, value = ONE_OF(values);
    unsigned short all[300] = {pick(9), pick(9), pick(9), pick(9), chance(5) ? 40000 : 0};
    struct semid_ds is = {0};
    say("semctl %d %d.%d %d", at, which, number, value);
    switch (which) {
    case 0:
        if (chance(60))
            result(semctl(sets[at], 0, GETNCNT));
        else
            say(" remove"), result(semctl(sets[at], 0, IPC_RMID)), sets[at] = -1;
        break;
    case 1: result(semctl(sets[at], number, SETVAL, value)); break;
    case 2: result(semctl(sets[at], number, GETVAL)); break;
    case 3: result(semctl(sets[at], number, GETPID) > 0); break;
    case 4: result(semctl(sets[at], number, GETNCNT)); break;
    case 5: result(semctl(sets[at], number, GETZCNT)); break;
    case 6: result(semctl(sets[at], number, SETALL, all)); break;
    case 7:
        result(semctl(sets[at], 0, IPC_STAT, &is));
        say(" %x %o %lu %d", is.sem_perm.__key, is.sem_perm.mode, is.sem_nsems, is.sem_ctime > 1);
        break;
    default:
        semctl(sets[at], 0, IPC_STAT, &is);
        is.sem_perm.mode = 0600 | pick(01000), result(semctl(sets[at], 0, IPC_SET, &is));
    }
}

SHOWN(6, shmget)
{
    static const size_t sizes[] = {0, 1, 4096, 5000, 100000};
    int at = pick(KEYS), flags = get_flags(), k = key(at);
    size_t size = ONE_OF(sizes);
    say("shmget %d %x %zu %o", at, k, size, flags);
    int id = success(shmget(k, size, flags));
    if (id >= 0 && segments[at] != id && k == IPC_PRIVATE)
        shmctl(segments[at], IPC_RMID, NULL);
    if (id >= 0)
        segments[at] = id;
}
SHOWN(8, shm)
{
    struct shmid_ds is = {0};
    int at = pick(KEYS), which = pick(6), flags = (chance(20) ? SHM_RDONLY : 0) | (chance(10) ? SHM_EXEC : 0) | (chance(5) ? SHM_REMAP : 0);
    say("shm %d %d", at, which);
    switch (which) {
    case 0:
        shmdt(attached[at]), attached[at] = NULL;
        void *address = shmat(segments[at], NULL, flags);
        success((long)address);
        attached[at] = address == (void *)-1 ? NULL : address;
        break;
    case 1: result(shmdt(attached[at])), attached[at] = NULL; break;
    case 2: result(shmctl(segments[at], IPC_RMID, NULL)), segments[at] = -1; break;
    case 3: result(shmctl(segments[at], chance(50) ? SHM_LOCK : SHM_UNLOCK, NULL)); break;
    default:
        result(shmctl(segments[at], IPC_STAT, &is));
        say(" %x %o %zu %lu %d %d %d", is.shm_perm.__key, is.shm_perm.mode & 01777, is.shm_segsz, is.shm_nattch, who(is.shm_cpid), !!is.shm_lpid, is.shm_atime > 1);
    }
}

static const char *const names[] = {"/a", "/a", "/b", "/c", "/a/b", "noslash", "/"};
SHOWN(14, mq_open)
{
    static const long numbers[] = {1, 2, 3, 5, 10, 0, -1, 4};
    static const unsigned long more[] = {O_CREAT, O_CREAT, O_EXCL, O_CLOEXEC};
    int at = pick(QUEUES), flags = O_NONBLOCK | (chance(70) ? O_RDWR : pick(3)) | SOME_OF(more);
    struct mq_attr attr = {.mq_maxmsg = ONE_OF(numbers), .mq_msgsize = 10 * ONE_OF(numbers)};
    const char *name = ONE_OF(names);
    bool given = chance(80);
    say("mq_open %d %s %x %ld %ld", at, name, flags, given ? attr.mq_maxmsg : -9, given ? attr.mq_msgsize : -9);
    mqd_t queue = success(mq_open(name, flags, 0600, given ? &attr : NULL));
    if (queue >= 0)
        open_queues[at] >= 0 ? mq_close(open_queues[at]) : 0, open_queues[at] = queue;
}
SHOWN(16, mq_send)
{
    char text[200];
    int at = pick(QUEUES), size = pick(chance(90) ? 25 : 120), priority = chance(90) ? pick(4) : chance(50) ? 32767 : 32768;
    memset(text, 'a' + size % 26, sizeof text);
    say("mq_send %d %d %d", at, size, priority);
    result(mq_timedsend(open_queues[at], text, size, priority, chance(90) ? NULL : &(struct timespec){0, chance(50) ? 0 : -1}));
}
SHOWN(16, mq_receive)
{
    char text[200] = "";
    unsigned priority = 99;
    int at = pick(QUEUES), size = chance(80) ? 200 : pick(30);
    say("mq_receive %d %d", at, size);
    long n = result(mq_receive(open_queues[at], text, size, &priority));
    say(" %.*s %u", n > 3 ? 3 : (int)n, n > 0 ? text : "", priority);
}
SHOWN(8, mq_notify)
{
    int at = pick(QUEUES), which = pick(5);
    struct sigevent event = {.sigev_notify = which == 0 ? SIGEV_NONE : SIGEV_SIGNAL, .sigev_signo = which == 1 ? SIGUSR1 : which == 2 ? 70 : SIGRTMIN + 1, .sigev_value.sival_int = pick(100)};
    say("mq_notify %d %d", at, which);
    result(mq_notify(open_queues[at], chance(25) ? NULL : &event));
}
SHOWN(8, mq_other)
{
    int at = pick(QUEUES), which = pick(6);
    const char *name = ONE_OF(names);
    struct mq_attr attr = {.mq_flags = O_NONBLOCK | (chance(10) ? O_APPEND : 0), .mq_maxmsg = 7}, old = {0};
    struct stat st = {0};
    char text[200];
    say("mq %d %d", at, which);
    switch (which) {
    case 0: say(" unlink %s", name), result(mq_unlink(name)); break;
    case 1: say(" close"), result(mq_close(open_queues[at])), open_queues[at] = -1; break;
    case 2: say(" setattr"), result(mq_setattr(open_queues[at], &attr, &old)), say(" %lx %ld", old.mq_flags, old.mq_maxmsg); break;
    case 3: say(" stat"), result(fstat(open_queues[at], &st)), say(" %o %ld %lu", st.st_mode, (long)st.st_size, (long)st.st_nlink); break;
    case 4: say(" read"), text[0] = 0; long n = result(pread(open_queues[at], text, sizeof text - 1, 0)); text[n > 0 ? n : 0] = 0; text[strcspn(text, "\n")] = 0; say(" %s", text); break;
    default: say(" write"), result(write(open_queues[at], "x", 1));
    }
}
RANDOM_MAIN(begin)
