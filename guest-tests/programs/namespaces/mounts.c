// Mounts that came from a more privileged namespace: mount_namespaces(7), "Restrictions on mount namespaces".
#include "check.h"
#include <sys/mount.h>
#include <sys/statvfs.h>

#define REMOUNT (MS_REMOUNT | MS_BIND | MS_SILENT)
// In a mount namespace that belongs to a user namespace of its own.
#define BELOW(...)                                                                                                     \
    do {                                                                                                               \
        pid_t below_ = OK(fork());                                                                                     \
        if (below_ == 0) {                                                                                             \
            if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)                                                              \
                _exit(EXIT_SKIP);                                                                                      \
            __VA_ARGS__;                                                                                               \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        int status_;                                                                                                   \
        EQ(OK(waitpid(below_, &status_, 0)), below_);                                                                  \
        if (WIFEXITED(status_) && WEXITSTATUS(status_) == EXIT_SKIP)                                                   \
            SKIP("no user namespaces");                                                                                \
        EQ(status_, 0);                                                                                                \
    } while (0)
static void own_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespaces");
    ZERO(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

TEST(its_flags_stay_when_it_is_remounted)
{
    own_mounts();
    ZERO(mkdir("d", 0755));
    ZERO(mount("tmpfs", "d", "tmpfs", MS_NOSUID | MS_NODEV, NULL));
    BELOW({
        ZERO(mount("d", "d", NULL, MS_BIND, NULL));
        FAILS(EPERM, mount("none", "d", NULL, REMOUNT | MS_NOSUID, NULL));
        FAILS(EPERM, mount("none", "d", NULL, REMOUNT | MS_NODEV, NULL));
        FAILS(EPERM, mount("none", "d", NULL, REMOUNT | MS_NOSUID | MS_NODEV | MS_NOATIME, NULL));
        ZERO(mount("none", "d", NULL, REMOUNT | MS_NOSUID | MS_NODEV, NULL));
        ZERO(mount("none", "d", NULL, REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY | MS_RELATIME, NULL));
        FAILS(EROFS, open("d/file", O_CREAT | O_WRONLY, 0600));
        ZERO(mount("none", "d", NULL, REMOUNT | MS_NOSUID | MS_NODEV, NULL)); // what it added, it may take away
        OK(open("d/file", O_CREAT | O_WRONLY, 0600));
    });
}

TEST(the_root_is_bound_and_made_read_only)
{
    own_mounts();
    ZERO(mkdir("root", 0755));
    BELOW({
        ZERO(mount("/", "root", NULL, MS_BIND | MS_REC, NULL));
        struct statvfs is;
        ZERO(statvfs("root", &is));
        unsigned long keep = is.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME | ST_NODIRATIME | ST_RELATIME);
        CHECK(is.f_flag & (ST_RELATIME | ST_NOATIME));
        unsigned long flags = (keep & ST_NOSUID ? MS_NOSUID : 0) | (keep & ST_NODEV ? MS_NODEV : 0) |
                              (keep & ST_NOEXEC ? MS_NOEXEC : 0) | (keep & ST_NOATIME ? MS_NOATIME : 0) |
                              (keep & ST_NODIRATIME ? MS_NODIRATIME : 0) | (keep & ST_RELATIME ? MS_RELATIME : 0);
        ZERO(mount("none", "root", NULL, REMOUNT | MS_RDONLY | flags, NULL));
        ZERO(statvfs("root", &is));
        CHECK(is.f_flag & ST_RDONLY);
    });
}

TEST(a_tree_of_it_is_not_taken_apart)
{
    own_mounts();
    ZERO(mkdir("d", 0755));
    ZERO(mount("tmpfs", "d", "tmpfs", 0, NULL));
    ZERO(mkdir("d/below", 0755));
    ZERO(mount("tmpfs", "d/below", "tmpfs", 0, NULL));
    BELOW({
        FAILS(EINVAL, umount("d/below"));
        FAILS(EINVAL, mount("d", "d/below", NULL, MS_BIND, NULL)); // without what is locked on it
        ZERO(mount("d", "d/below", NULL, MS_BIND | MS_REC, NULL));
        ZERO(umount2("d/below", MNT_DETACH));
    });
}
MAIN()
