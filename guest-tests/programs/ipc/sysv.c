// System V IPC: shared memory, semaphores, message queues. sysvipc(7)
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

TEST(shm_by_key)
{
    key_t key = 0x51000000 | (getpid() & 0xffffff);
    int id = OK(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600));
    FAILS(EEXIST, shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600));
    FAILS(EINVAL, shmget(key, 20000, 0));
    EQ(shmget(key, 100, 0), id);
    OK(shmctl(id, IPC_RMID, NULL));
    FAILS(ENOENT, shmget(key, 100, 0));
}

TEST(shm_is_shared_and_counts_its_attachments)
{
    int id = OK(shmget(IPC_PRIVATE, 10000, 0600));
    char *p = shmat(id, NULL, 0);
    CHECK(p != (void *)-1);
    strcpy(p, "hello");
    struct shmid_ds d;
    pid_t child = FORK({
        OK(shmctl(id, IPC_STAT, &d));
        EQ(d.shm_nattch, 2);
        CHECK(!strcmp(p, "hello"));
        strcpy(p + 4096, "world");
        OK(shmdt(p));
    });
    WAIT_OK(child);
    CHECK(!strcmp(p + 4096, "world"));
    char *q = shmat(id, NULL, SHM_RDONLY);
    CHECK(q != (void *)-1 && !strcmp(q, "hello"));
    FAILS(EACCES, mprotect(q, 4096, PROT_READ | PROT_WRITE));
    OK(shmctl(id, IPC_STAT, &d));
    EQ(d.shm_nattch, 2);
    EQ(d.shm_segsz, 10000);
    EQ(d.shm_cpid, getpid());
    OK(shmctl(id, IPC_RMID, NULL));
    OK(shmctl(id, IPC_STAT, &d)); // it lives until its last attachment goes
    CHECK(d.shm_perm.mode & SHM_DEST);
    OK(shmdt(q));
    OK(shmdt(p));
    FAILS(EINVAL, shmdt(p));
    EQ(shmctl(id, IPC_STAT, &d), -1);
}

TEST(sem_waits_and_undoes)
{
    int id = OK(semget(IPC_PRIVATE, 2, 0600));
    union { int val; unsigned short *array; } one = {.val = 1};
    OK(semctl(id, 0, SETVAL, one));
    pid_t child = FORK({
        OK(semop(id, &(struct sembuf){0, -1, SEM_UNDO}, 1));
        OK(semop(id, &(struct sembuf){1, -1, 0}, 1));
    });
    while (semctl(id, 1, GETNCNT) != 1)
        usleep(1000);
    EQ(semctl(id, 0, GETVAL), 0);
    OK(semop(id, &(struct sembuf){1, 1, 0}, 1));
    WAIT_OK(child);
    EQ(semctl(id, 0, GETVAL), 1); // its exit gave back what it took
    FAILS(EAGAIN, semop(id, &(struct sembuf){1, -1, IPC_NOWAIT}, 1));
    FAILS(EAGAIN, semtimedop(id, &(struct sembuf){1, -1, 0}, 1, &(struct timespec){0, 20000000}));
    FAILS(EFBIG, semop(id, &(struct sembuf){2, -1, 0}, 1));
    OK(semctl(id, 0, IPC_RMID));
}

TEST(sem_removal_ends_waits)
{
    int id = OK(semget(IPC_PRIVATE, 1, 0600));
    pid_t child = FORK({ FAILS(EIDRM, semop(id, &(struct sembuf){0, -1, 0}, 1)); });
    while (semctl(id, 0, GETNCNT) != 1)
        usleep(1000);
    OK(semctl(id, 0, IPC_RMID));
    WAIT_OK(child);
}

struct message {
    long type;
    char text[100];
};

TEST(msg_by_type)
{
    int id = OK(msgget(IPC_PRIVATE, 0600));
    pid_t child = FORK({
        struct message m;
        EQ(msgrcv(id, &m, sizeof m.text, 3, 0), 4);
        EQ(m.type, 3);
        CHECK(!strcmp(m.text, "abc"));
    });
    OK(msgsnd(id, &(struct message){5, "five"}, 5, 0));
    OK(msgsnd(id, &(struct message){3, "abc"}, 4, 0));
    WAIT_OK(child);
    struct message m;
    FAILS(E2BIG, msgrcv(id, &m, 2, 0, 0));
    EQ(msgrcv(id, &m, 2, -9, MSG_NOERROR), 2);
    EQ(m.type, 5);
    FAILS(ENOMSG, msgrcv(id, &m, 100, 0, IPC_NOWAIT));
    struct msqid_ds d;
    OK(msgctl(id, IPC_STAT, &d));
    EQ(d.msg_qnum, 0);
    OK(msgctl(id, IPC_RMID, NULL));
}

TEST(a_semaphore_that_is_not_there_is_seen_first)
{
    int id = OK(semget(IPC_PRIVATE, 2, 0600));
    FAILS(EFBIG, semop(id, (struct sembuf[]){{0, -1, IPC_NOWAIT}, {5, 1, IPC_NOWAIT}}, 2));
    OK(semctl(id, 0, IPC_RMID));
}

TEST(a_locked_segment_says_so)
{
    int id = OK(shmget(IPC_PRIVATE, 4096, 0600));
    struct shmid_ds ds;
    OK(shmctl(id, SHM_LOCK, NULL));
    OK(shmctl(id, IPC_STAT, &ds));
    EQ(ds.shm_perm.mode, 02600);
    OK(shmctl(id, SHM_UNLOCK, NULL));
    OK(shmctl(id, IPC_STAT, &ds));
    EQ(ds.shm_perm.mode, 0600);
    OK(shmctl(id, IPC_RMID, NULL));
}

MAIN()
