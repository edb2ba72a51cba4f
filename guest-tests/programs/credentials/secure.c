// AT_SECURE of programs whose real and effective ids differ, and which owners of set-user-ID programs count: getauxval(3), execve(2), user_namespaces(7).
#include "check.h"
#include <sys/auxv.h>
#include <sys/sendfile.h>

HELPER(secure)
{
    (void)argc, (void)argv;
    return getauxval(AT_SECURE) ? 20 : 10;
}
HELPER(euid) { return geteuid() == (uid_t)atoi(argv[argc - 1]) ? 10 : 20; }

TEST(ids_that_differ_are_secure)
{
    pid_t child = FORK({
        OK(setresuid(5, 1, 1));
        exec_self("secure", NULL);
    });
    WAIT_STATUS(child, EXITED(20));
    child = FORK({
        OK(setresgid(5, 1, 1)), OK(setresuid(1, 1, 1));
        exec_self("secure", NULL);
    });
    WAIT_STATUS(child, EXITED(20));
    child = FORK({
        OK(setresuid(1, 1, 5));
        exec_self("secure", NULL);
    });
    WAIT_STATUS(child, EXITED(10));
}
static void make_program(uid_t owner)
{
    int from = OK(open("/proc/self/exe", O_RDONLY)), to = OK(open("program", O_CREAT | O_WRONLY, 0755));
    struct stat s;
    OK(fstat(from, &s));
    for (off_t at = 0; at < s.st_size;)
        OK(sendfile(to, from, &at, s.st_size));
    OK(close(to)), OK(chown("program", owner, owner)), OK(chmod("program", 04755));
}
// The id that stands for those without a mapping is an id like others.
TEST(nobody_owns_programs)
{
    make_program(65534);
    pid_t child = FORK({
        execl("program", "program", "helper:euid", "65534", NULL);
        FAIL("not executed: %s", strerror(errno));
    });
    WAIT_STATUS(child, EXITED(10));
}
TEST(an_id_that_changes_is_secure)
{
    make_program(5);
    pid_t child = FORK({
        OK(chmod(".", 0755)), OK(setresuid(5, 1, 1));
        execl("program", "program", "helper:secure", NULL);
        FAIL("not executed: %s", strerror(errno));
    });
    WAIT_STATUS(child, EXITED(20));
}
// mount_namespaces(7) has no ids for who came to a mount by a descriptor.
TEST(mounts_of_other_namespaces_lend_no_ids)
{
    make_program(5);
    int here = OK(open(".", O_PATH));
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    pid_t child = FORK({
        OK(fchdir(here));
        execl("program", "program", "helper:euid", "0", NULL);
        FAIL("not executed: %s", strerror(errno));
    });
    WAIT_STATUS(child, EXITED(10));
}

MAIN()
