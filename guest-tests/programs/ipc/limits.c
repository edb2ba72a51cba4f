// Limits of an IPC namespace: proc_sys_kernel(5), shmget(2), msgget(2), semget(2). Each case has a namespace of its own.
#include "check.h"
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void knob(const char *name, const char *value, int error)
{
    char path[100];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    int fd = OK(open(path, O_WRONLY));
    ssize_t n = write(fd, value, strlen(value));
    if (error ? n != -1 || errno != error : n != (ssize_t)strlen(value))
        FAIL("%s: %s: %zd, %s", name, value, n, strerror(errno));
    close(fd);
}
static const char *told(const char *name)
{
    static char text[200];
    char path[100];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    int fd = OK(open(path, O_RDONLY));
    ssize_t n = OK(read(fd, text, sizeof text - 1));
    text[n] = 0;
    close(fd);
    return text;
}
static void fresh(void)
{
    if (geteuid())
        SKIP("not root");
    OK(unshare(CLONE_NEWIPC));
}

TEST(first_values)
{
    fresh();
    STREQ(told("shmmax"), "18446744073692774399\n");
    STREQ(told("shmall"), "18446744073692774399\n");
    STREQ(told("shmmni"), "4096\n");
    STREQ(told("msgmax"), "8192\n");
    STREQ(told("msgmnb"), "16384\n");
    STREQ(told("msgmni"), "32000\n");
    STREQ(told("sem"), "32000\t1024000000\t500\t32000\n");
    STREQ(told("shm_rmid_forced"), "0\n");
}

TEST(segments)
{
    fresh();
    knob("shmmax", "8192", 0);
    STREQ(told("shmmax"), "8192\n");
    FAILS(EINVAL, shmget(IPC_PRIVATE, 8193, 0600));
    int one = OK(shmget(IPC_PRIVATE, 8192, 0600));
    knob("shmall", "3", 0);
    FAILS(ENOSPC, shmget(IPC_PRIVATE, 8192, 0600));
    OK(shmget(IPC_PRIVATE, 4096, 0600));
    FAILS(ENOSPC, shmget(IPC_PRIVATE, 1, 0600));
    knob("shmall", "100", 0);
    knob("shmmni", "2", 0);
    FAILS(ENOSPC, shmget(IPC_PRIVATE, 1, 0600));
    OK(shmctl(one, IPC_RMID, 0));
    OK(shmget(IPC_PRIVATE, 1, 0600));
    struct shminfo info;
    OK(shmctl(0, IPC_INFO, (void *)&info));
    EQ(info.shmmax, 8192);
    EQ(info.shmall, 100);
    EQ(info.shmmni, 2);
    knob("shmmni", "32769", EINVAL);
    knob("shmmni", "-1", EINVAL);
    // Another namespace has limits of its own.
    OK(unshare(CLONE_NEWIPC));
    STREQ(told("shmmni"), "4096\n");
}

TEST(messages)
{
    fresh();
    struct {
        long type;
        char text[70000];
    } message = {.type = 1};
    int before = OK(msgget(IPC_PRIVATE, 0600));
    knob("msgmax", "65536", 0);
    knob("msgmnb", "65536", 0);
    int queue = OK(msgget(IPC_PRIVATE, 0600));
    OK(msgsnd(queue, &message, 65536, IPC_NOWAIT));
    FAILS(EINVAL, msgsnd(queue, &message, 65537, IPC_NOWAIT));
    FAILS(EAGAIN, msgsnd(queue, &message, 1, IPC_NOWAIT));
    EQ(OK(msgrcv(queue, &message, 65536, 0, 0)), 65536);
    FAILS(EAGAIN, msgsnd(before, &message, 65536, IPC_NOWAIT)); // a queue keeps the size that it was made with
    struct msqid_ds is;
    OK(msgctl(before, IPC_STAT, &is));
    EQ(is.msg_qbytes, 16384);
    is.msg_qbytes = 65536;
    OK(msgctl(before, IPC_SET, &is));
    OK(msgsnd(before, &message, 65536, IPC_NOWAIT));
    knob("msgmni", "2", 0);
    FAILS(ENOSPC, msgget(IPC_PRIVATE, 0600));
    struct msginfo info;
    OK(msgctl(0, IPC_INFO, (void *)&info));
    EQ(info.msgmax, 65536);
    EQ(info.msgmnb, 65536);
    EQ(info.msgmni, 2);
    knob("msgmax", "-1", EINVAL);
}

TEST(semaphores)
{
    fresh();
    knob("sem", "10 15 2 3", 0);
    STREQ(told("sem"), "10\t15\t2\t3\n");
    FAILS(EINVAL, semget(IPC_PRIVATE, 11, 0600));
    int set = OK(semget(IPC_PRIVATE, 10, 0600));
    FAILS(ENOSPC, semget(IPC_PRIVATE, 6, 0600));
    OK(semget(IPC_PRIVATE, 5, 0600));
    struct sembuf ops[3] = {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}};
    OK(semop(set, ops, 2));
    FAILS(E2BIG, semop(set, ops, 3));
    knob("sem", "10 100", 0);
    STREQ(told("sem"), "10\t100\t2\t3\n");
    OK(semget(IPC_PRIVATE, 1, 0600));
    FAILS(ENOSPC, semget(IPC_PRIVATE, 1, 0600));
    struct seminfo info;
    OK(semctl(0, 0, IPC_INFO, &info));
    EQ(info.semmsl, 10);
    EQ(info.semmns, 100);
    EQ(info.semopm, 2);
    EQ(info.semmni, 3);
}

// shm_rmid_forced: no segment outlives its maker and its attachments.
TEST(unused_segments_go)
{
    fresh();
    struct shmid_ds is;
    int ids[2];
    int p[2];
    OK(pipe(p));
    pid_t child = FORK({
        ids[0] = OK(shmget(IPC_PRIVATE, 4096, 0600)), ids[1] = OK(shmget(IPC_PRIVATE, 4096, 0600));
        EQ(write(p[1], ids, sizeof ids), sizeof ids);
    });
    EQ(read(p[0], ids, sizeof ids), sizeof ids);
    WAIT_OK(child);
    int own = OK(shmget(IPC_PRIVATE, 4096, 0600));
    OK(shmctl(ids[0], IPC_STAT, &is));
    void *at = shmat(ids[1], 0, 0);
    CHECK(at != (void *)-1);
    knob("shm_rmid_forced", "2", EINVAL);
    knob("shm_rmid_forced", "1", 0);
    // Those whose maker has ended, at once; what is attached, with its last attachment.
    CHECK(shmctl(ids[0], IPC_STAT, &is) < 0 && (errno == EINVAL || errno == EIDRM));
    OK(shmctl(ids[1], IPC_STAT, &is));
    EQ(is.shm_nattch, 1);
    OK(shmdt(at));
    EVENTUALLY(shmctl(ids[1], IPC_STAT, &is) < 0);
    OK(shmctl(own, IPC_STAT, &is));
    // Its own goes with it, attached or not.
    child = FORK({
        ids[0] = OK(shmget(IPC_PRIVATE, 4096, 0600));
        EQ(write(p[1], ids, sizeof ids), sizeof ids);
        CHECK(shmat(ids[0], 0, 0) != (void *)-1);
    });
    EQ(read(p[0], ids, sizeof ids), sizeof ids);
    WAIT_OK(child);
    EVENTUALLY(shmctl(ids[0], IPC_STAT, &is) < 0);
}

MAIN()
