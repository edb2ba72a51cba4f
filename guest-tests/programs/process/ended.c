// What has ended runs no more, and is not seen any more: kill(2), clone(2) CLONE_VM, pid_namespaces(7).
#include "check.h"
#include <dirent.h>

static int processes(void)
{
    int count = 0;
    DIR *dir = opendir("/proc");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
    closedir(dir);
    return count;
}

static volatile unsigned long spins;
__attribute__((noreturn)) static int spin(void *arg)
{
    for (;;)
        spins++;
}
TEST(a_killed_process_that_shares_memory_stops)
{
    static char stack[65536];
    pid_t child = OK(clone(spin, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL));
    EVENTUALLY(spins > 0);
    OK(kill(child, SIGKILL));
    WAIT_STATUS(child, KILLED(SIGKILL));
    unsigned long before;
    EVENTUALLY((before = spins, sleep_ms(20), spins == before));
}

// Children of children, when init of their namespace is killed: whoever dies first, none stays behind as a zombie.
TEST(orphans_of_a_killed_namespace)
{
    int before = processes();
    for (int round = 0; round < 5; round++) {
        pid_t init = OK((pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0, 0));
        if (init == 0) {
            for (int i = 0; i < 6; i++)
                if (fork() == 0) {
                    for (int n = 0; n < 4; n++)
                        if (fork() == 0)
                            n = 3;
                    pause();
                }
            pause();
        }
        EVENTUALLY(processes() == before + 31);
        OK(kill(init, SIGKILL));
        WAIT_STATUS(init, KILLED(SIGKILL));
        EVENTUALLY(processes() == before);
    }
}
MAIN()
