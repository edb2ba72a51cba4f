// Names on which something is mounted: they stay where that is in the caller's own namespace, and go, with what others have mounted there, where it is not. rmdir(2), rename(2), mount_namespaces(7).
#include "check.h"
#include "mounts.h"

static void own_namespace(void)
{
    OK(unshare(CLONE_NEWNS));
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}
// A child in a mount namespace of its own, where it has made `before`; `after` follows once `over` lets it.
#define ELSEWHERE(until, before, after)                                                                                \
    ({                                                                                                                 \
        int ready_[2];                                                                                                 \
        char c_;                                                                                                       \
        OK(pipe(ready_));                                                                                              \
        OK(pipe2(until, O_CLOEXEC));                                                                                   \
        pid_t child_ = FORK({                                                                                          \
            close(until[1]);                                                                                           \
            own_namespace();                                                                                           \
            before;                                                                                                    \
            OK(write(ready_[1], "r", 1));                                                                              \
            read(until[0], &c_, 1);                                                                                    \
            after;                                                                                                     \
        });                                                                                                            \
        close(until[0]);                                                                                               \
        EQ(read(ready_[0], &c_, 1), 1);                                                                                \
        child_;                                                                                                        \
    })
static void over(pid_t child, int until[2])
{
    close(until[1]);
    WAIT_OK(child);
}
// One that has a tmpfs at d, with a file in it that stays there for who has the folder open.
static pid_t with_a_folder(int until[2])
{
    int there;
    return ELSEWHERE(until,
                     {
                         OK(mount("x", "d", "tmpfs", 0, NULL));
                         there = OK(open("d", O_RDONLY | O_DIRECTORY));
                         close(OK(openat(there, "in", O_CREAT | O_RDWR, 0600)));
                     },
                     OK(faccessat(there, "in", F_OK, 0)));
}
TEST(busy_in_the_own_namespace)
{
    OK(mkdir("d", 0755));
    close(OK(open("f", O_CREAT | O_RDWR, 0644)));
    OK(mount("x", "d", "tmpfs", 0, NULL));
    OK(mount("/dev/null", "f", NULL, MS_BIND, NULL));
    FAILS(EBUSY, rmdir("d"));
    FAILS(EBUSY, unlink("f"));
    FAILS(EBUSY, rename("d", "e"));
    close(OK(open("g", O_CREAT | O_RDWR, 0644)));
    FAILS(EBUSY, rename("g", "f"));
    OK(umount("d"));
    OK(umount("f"));
    OK(rmdir("d"));
    OK(unlink("f"));
}
TEST(folders_go_with_the_mounts_of_others)
{
    int until[2];
    OK(mkdir("d", 0755));
    pid_t child = with_a_folder(until);
    OK(rmdir("d"));
    FAILS(ENOENT, access("d", F_OK));
    OK(mkdir("d", 0755));
    FAILS(ENOENT, access("d/in", F_OK));
    over(child, until);
}
TEST(files_go_with_the_mounts_of_others)
{
    int until[2];
    close(OK(open("f", O_CREAT | O_RDWR, 0644)));
    pid_t child = ELSEWHERE(until, OK(mount("/dev/null", "f", NULL, MS_BIND, NULL)), {
        FAILS(ENOENT, access("f", F_OK));
        STREQ(mountinfo("f"), "");
    });
    OK(unlink("f"));
    over(child, until);
}
TEST(another_name_takes_the_place)
{
    int until[2];
    OK(mkdir("d", 0755));
    OK(mkdir("other", 0755));
    close(OK(open("other/file", O_CREAT | O_RDWR, 0644)));
    pid_t child = with_a_folder(until);
    OK(rename("other", "d"));
    OK(access("d/file", F_OK));
    over(child, until);
}
TEST(what_moves_takes_the_mounts_of_others_along)
{
    int until[2];
    OK(mkdir("d", 0755));
    pid_t child = ELSEWHERE(until,
                            {
                                OK(mount("x", "d", "tmpfs", 0, NULL));
                                close(OK(open("d/in", O_CREAT | O_RDWR, 0600)));
                            },
                            {
                                OK(access("moved/in", F_OK));
                                OK(umount("moved"));
                            });
    OK(rename("d", "moved"));
    over(child, until);
}
TEST(a_namespace_that_is_over_holds_nothing)
{
    for (int i = 0; i < 20; i++) {
        OK(mkdir("d", 0755));
        pid_t child = FORK({
            own_namespace();
            OK(mount("x", "d", "tmpfs", 0, NULL));
        });
        WAIT_OK(child);
        OK(rmdir("d"));
    }
}
MAIN()
