// The end of a PID namespace by its own wish: reboot(2).
#include "check.h"
#include <linux/reboot.h>

static long reboot_(int magic, int magic2, int command) { return syscall(SYS_reboot, magic, magic2, command, NULL); }
static long end(int command) { return reboot_(LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command); }

// How the init of a new PID namespace ends whose child asks for `command`. All calls are made in there: else they would be meant for the machine.
static int status_after(int command)
{
    OK(unshare(CLONE_NEWPID));
    pid_t init = FORK({
        EQ(getpid(), 1);
        FORK({
            FAILS(EINVAL, reboot_(1, LINUX_REBOOT_MAGIC2, command));
            FAILS(EINVAL, reboot_(LINUX_REBOOT_MAGIC1, 1, command));
            FAILS(EINVAL, end(LINUX_REBOOT_CMD_CAD_ON));
            FAILS(EINVAL, end(77));
            WAIT_OK(FORK({
                OK(setresuid(1000, 1000, 1000));
                FAILS(EPERM, end(command));
            }));
            end(command);
            _exit(9); // it does not come back
        });
        int status;
        wait(&status);
        pause();
    });
    int status;
    EQ(waitpid(init, &status, 0), init);
    CHECK(WIFSIGNALED(status));
    return WTERMSIG(status);
}

TEST(restarts) { EQ(status_after(LINUX_REBOOT_CMD_RESTART), SIGHUP); }
TEST(restarts_with_a_command) { EQ(status_after(LINUX_REBOOT_CMD_RESTART2), SIGHUP); }
TEST(halts) { EQ(status_after(LINUX_REBOOT_CMD_HALT), SIGINT); }
TEST(powers_off) { EQ(status_after(LINUX_REBOOT_CMD_POWER_OFF), SIGINT); }
MAIN()
