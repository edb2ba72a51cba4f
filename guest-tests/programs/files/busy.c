// Files that are executed are not written, and the other way round: ETXTBSY of open(2), truncate(2), execve(2).
#include "check.h"
#include <sys/sendfile.h>

HELPER(sleeper)
{
    (void)argc, (void)argv;
    char byte;
    return read(0, &byte, 1) == 0 ? 0 : 1; // until the other end goes
}

// A copy of this program as "prog".
static void copy_self(void)
{
    int from = OK(open("/proc/self/exe", O_RDONLY)), to = OK(open("prog", O_CREAT | O_WRONLY, 0755));
    struct stat st;
    OK(fstat(from, &st));
    for (off_t left = st.st_size; left > 0;) {
        ssize_t moved = OK(sendfile(to, from, NULL, left));
        left -= moved;
    }
    OK(close(from)), OK(close(to));
}

static pid_t start(int *hold)
{
    int pipes[2], started[2];
    OK(pipe(pipes)), OK(pipe2(started, O_CLOEXEC));
    pid_t child = OK(fork());
    if (child == 0) {
        dup2(pipes[0], 0);
        close(pipes[0]), close(pipes[1]);
        execl("prog", "prog", "helper:sleeper", NULL);
        _exit(100);
    }
    char byte;
    OK(close(pipes[0])), OK(close(started[1]));
    EQ(OK(read(started[0], &byte, 1)), 0); // closed by the exec
    OK(close(started[0]));
    *hold = pipes[1];
    return child;
}

TEST(a_program_that_runs_is_not_written)
{
    copy_self();
    int hold;
    pid_t child = start(&hold);
    FAILS(ETXTBSY, open("prog", O_WRONLY));
    FAILS(ETXTBSY, open("prog", O_RDWR));
    FAILS(ETXTBSY, open("prog", O_RDONLY | O_TRUNC));
    FAILS(ETXTBSY, truncate("prog", 0));
    int fd = OK(open("prog", O_RDONLY));
    OK(fchmod(fd, 0700));
    OK(close(fd));
    OK(link("prog", "other"));
    FAILS(ETXTBSY, open("other", O_WRONLY)); // the file counts, not its name
    OK(rename("prog", "moved")), OK(unlink("other"));
    OK(close(hold));
    WAIT_OK(child);
    OK(close(OK(open("moved", O_WRONLY | O_TRUNC))));
}

TEST(a_file_that_is_written_is_not_executed)
{
    copy_self();
    int fd = OK(open("prog", O_WRONLY));
    FAILS(ETXTBSY, execl("prog", "prog", "helper:sleeper", NULL));
    OK(close(fd));
    int hold;
    pid_t child = start(&hold);
    OK(close(hold));
    WAIT_OK(child);
}

TEST(a_script_that_runs_may_be_written)
{
    write_file("script", "#!/proc/self/exe\n");
    int fd = OK(open("script", O_WRONLY));
    OK(fchmod(fd, 0755));
    FAILS(ETXTBSY, execl("script", "script", NULL)); // not while it is opened by the exec itself
    OK(close(fd));
}

TEST(the_end_of_a_process_lets_go_of_its_program_before_it_is_waited_for)
{
    copy_self();
    int hold;
    pid_t child = start(&hold);
    OK(close(hold));
    siginfo_t info;
    OK(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    OK(close(OK(open("prog", O_WRONLY))));
    WAIT_OK(child);
}

TEST(a_memfd_is_executed_by_its_writer)
{
    int from = OK(open("/proc/self/exe", O_RDONLY)), fd = OK(memfd_create("prog", 0));
    struct stat st;
    OK(fstat(from, &st));
    for (off_t left = st.st_size; left > 0;)
        left -= OK(sendfile(fd, from, NULL, left));
    OK(close(from));
    WAIT_OK(FORK({
        OK(close(0));
        EQ(OK(open("/dev/null", O_RDONLY)), 0);
        char *args[] = {"prog", "helper:sleeper", NULL}, *environment[] = {NULL};
        OK(fexecve(fd, args, environment));
    }));
}

MAIN()
