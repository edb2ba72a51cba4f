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
// The id that stands for those without a mapping is an id like others.
TEST(nobody_owns_programs)
{
    int from = OK(open("/proc/self/exe", O_RDONLY)), to = OK(open("program", O_CREAT | O_WRONLY, 0755));
    struct stat s;
    OK(fstat(from, &s));
    for (off_t at = 0; at < s.st_size;)
        OK(sendfile(to, from, &at, s.st_size));
    OK(close(to)), OK(chown("program", 65534, 65534)), OK(chmod("program", 04755));
    pid_t child = FORK({
        execl("program", "program", "helper:euid", "65534", NULL);
        FAIL("not executed: %s", strerror(errno));
    });
    WAIT_STATUS(child, EXITED(10));
}

MAIN()
