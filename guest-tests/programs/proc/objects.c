// What /proc tells of sockets, locks and System V objects: proc_pid_net(5), proc_locks(5), proc_sysvipc(5).
#include "check.h"
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

static char text[1 << 18];
// The first line of a file that ends with or holds `word`, after `skip` lines; NULL if there is none.
static char *line_with(const char *path, const char *word)
{
    read_file(path, text, sizeof text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strstr(line, word))
            return line;
    return NULL;
}

struct shown {
    unsigned refs, protocol, flags, type, state;
    unsigned long ino;
    char path[120];
};
static bool unix_line(int fd, struct shown *s)
{
    struct stat st;
    OK(fstat(fd, &st));
    char word[40];
    snprintf(word, sizeof word, " %lu", (unsigned long)st.st_ino);
    char *line = line_with("/proc/self/net/unix", word);
    if (!line)
        return false;
    s->path[0] = 0;
    int n = sscanf(line, "%*[0-9a-f]: %X %X %X %X %X %lu %119s", &s->refs, &s->protocol, &s->flags, &s->type, &s->state, &s->ino, s->path);
    CHECK(n >= 6);
    EQ(s->ino, st.st_ino);
    return true;
}

TEST(unix_sockets)
{
    CHECK(line_with("/proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path"));
    struct shown s;
    int pair[2];
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    CHECK(unix_line(pair[0], &s));
    EQ(s.type, SOCK_SEQPACKET);
    EQ(s.state, 3);
    EQ(s.flags, 0);
    STREQ(s.path, "");
    int named = OK(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(unix_line(named, &s));
    EQ(s.state, 1);
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "place"};
    OK(bind(named, (void *)&at, sizeof at));
    OK(listen(named, 5));
    CHECK(unix_line(named, &s));
    EQ(s.flags, 0x10000);
    EQ(s.state, 1);
    STREQ(s.path, "place");
    int abstract = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
    memcpy(at.sun_path, "\0some", 5);
    OK(bind(abstract, (void *)&at, sizeof(sa_family_t) + 5));
    CHECK(unix_line(abstract, &s));
    EQ(s.type, SOCK_DGRAM);
    STREQ(s.path, "@some");
    char link[64], wanted[64];
    snprintf(wanted, sizeof wanted, "socket:[%lu]", s.ino);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", abstract);
    link[OK(readlink(path, link, sizeof link - 1))] = 0;
    STREQ(link, wanted);
    int kept = OK(dup(abstract));
    OK(close(abstract));
    CHECK(unix_line(kept, &s));
    struct stat st;
    OK(fstat(kept, &st));
    OK(close(kept));
    snprintf(wanted, sizeof wanted, " %lu", (unsigned long)st.st_ino);
    CHECK(!line_with("/proc/self/net/unix", wanted));
}

TEST(sockets_are_counted)
{
    int before, after;
    EQ(sscanf(line_with("/proc/self/net/sockstat", "sockets:"), "sockets: used %d", &before), 1);
    int pair[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    EQ(sscanf(line_with("/proc/self/net/sockstat", "sockets:"), "sockets: used %d", &after), 1);
    CHECK(after >= before + 2);
    CHECK(line_with("/proc/self/net/netlink", "sk               Eth Pid"));
}

static bool lock_line(int fd, const char *kind, const char *access, int pid, const char *range)
{
    struct stat st;
    OK(fstat(fd, &st));
    read_file("/proc/locks", text, sizeof text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char a[20], b[20], c[20], where[60], from[30], to[30], both[64];
        int n, by;
        unsigned long ino;
        if (sscanf(line, "%d: %19s %19s %19s %d %59s %29s %29s", &n, a, b, c, &by, where, from, to) != 8)
            continue;
        EQ(sscanf(where, "%*x:%*x:%lu", &ino), 1);
        snprintf(both, sizeof both, "%s %s", from, to);
        if (ino == st.st_ino && !strcmp(a, kind) && !strcmp(b, "ADVISORY") && !strcmp(c, access) && by == pid && !strcmp(both, range))
            return true;
    }
    return false;
}

TEST(locks)
{
    int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
    CHECK(!lock_line(fd, "FLOCK", "WRITE", getpid(), "0 EOF"));
    OK(flock(fd, LOCK_EX));
    CHECK(lock_line(fd, "FLOCK", "WRITE", getpid(), "0 EOF"));
    OK(flock(fd, LOCK_SH));
    CHECK(lock_line(fd, "FLOCK", "READ", getpid(), "0 EOF"));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
    OK(fcntl(fd, F_SETLK, &l));
    CHECK(lock_line(fd, "POSIX", "WRITE", getpid(), "10 14"));
    int other = OK(open("f", O_RDWR));
    struct flock ofd = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 20};
    OK(fcntl(other, F_OFD_SETLK, &ofd));
    CHECK(lock_line(fd, "OFDLCK", "READ", -1, "20 EOF"));
    pid_t child = FORK({
        struct flock mine = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        OK(fcntl(fd, F_SETLK, &mine));
        pause();
    });
    EVENTUALLY(lock_line(fd, "POSIX", "READ", child, "0 0"));
    kill(child, SIGKILL);
    WAIT_STATUS(child, KILLED(SIGKILL));
    CHECK(!lock_line(fd, "POSIX", "READ", child, "0 0"));
    OK(close(other));
    CHECK(!lock_line(fd, "OFDLCK", "READ", -1, "20 EOF"));
}

TEST(system_v)
{
    int shm = OK(shmget(IPC_PRIVATE, 12345, 0640)), sem = OK(semget(IPC_PRIVATE, 3, 0600)), queue = OK(msgget(IPC_PRIVATE, 0622));
    char word[40];
    int key, id, perms, cpid, lpid, nattch;
    unsigned long size, count, bytes, rss;
    char *p = shmat(shm, NULL, 0);
    CHECK(p != (void *)-1);
    memset(p, 1, 12345);
    snprintf(word, sizeof word, " %d  ", shm);
    char *line = line_with("/proc/sysvipc/shm", word);
    CHECK(line);
    EQ(sscanf(line, "%d %d %o %lu %d %d %d %*d %*d %*d %*d %*d %*d %*d %lu", &key, &id, &perms, &size, &cpid, &lpid, &nattch, &rss), 8);
    EQ(key, 0);
    EQ(id, shm);
    EQ(perms, 0640);
    EQ(size, 12345);
    EQ(cpid, getpid());
    EQ(lpid, getpid());
    EQ(nattch, 1);
    EQ(rss, 16384);
    snprintf(word, sizeof word, " %d  ", sem);
    CHECK((line = line_with("/proc/sysvipc/sem", word)));
    EQ(sscanf(line, "%d %d %o %lu", &key, &id, &perms, &count), 4);
    EQ(perms, 0600);
    EQ(count, 3);
    struct {
        long type;
        char text[10];
    } message = {1, "hello"};
    OK(msgsnd(queue, &message, 10, 0));
    snprintf(word, sizeof word, " %d  ", queue);
    CHECK((line = line_with("/proc/sysvipc/msg", word)));
    EQ(sscanf(line, "%d %d %o %lu %lu %d", &key, &id, &perms, &bytes, &count, &lpid), 6);
    EQ(perms, 0622);
    EQ(bytes, 10);
    EQ(count, 1);
    EQ(lpid, getpid());
    OK(shmctl(shm, IPC_RMID, NULL));
    OK(semctl(sem, 0, IPC_RMID));
    OK(msgctl(queue, IPC_RMID, NULL));
    CHECK(!line_with("/proc/sysvipc/msg", word));
}
MAIN()
