// Leases and folder notification by signal. fcntl(2)
#include "check.h"

static siginfo_t seen;
static volatile int seen_count;

static void note(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    seen = *info;
    seen_count++;
}

static void catch_signal(int sig)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    OK(sigaction(sig, &action, NULL));
}

static int make(const char *name, int flags)
{
    close(OK(open(name, O_CREAT | O_RDWR, 0600)));
    return OK(open(name, flags));
}

TEST(who_may_have_one)
{
    int fd = make("f", O_RDONLY);
    EQ(fcntl(fd, F_GETLEASE), F_UNLCK);
    FAILS(EAGAIN, fcntl(fd, F_SETLEASE, F_UNLCK));
    FAILS(EINVAL, fcntl(fd, F_SETLEASE, 77));
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
    OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    EQ(fcntl(fd, F_GETLEASE), F_UNLCK);
    OK(fcntl(fd, F_SETLEASE, F_WRLCK)); // nobody else has it open
    EQ(fcntl(fd, F_GETLEASE), F_WRLCK);
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    int writer = OK(open("f", O_RDWR));
    FAILS(EAGAIN, fcntl(fd, F_SETLEASE, F_RDLCK));
    FAILS(EAGAIN, fcntl(fd, F_SETLEASE, F_WRLCK));
    FAILS(EAGAIN, fcntl(writer, F_SETLEASE, F_RDLCK));
    close(writer);
    FAILS(EINVAL, fcntl(OK(open(".", O_RDONLY)), F_SETLEASE, F_RDLCK));
    OK(chmod("f", 0644));
    OK(chmod(".", 0755));
    WAIT_OK(FORK({
        OK(setresuid(1000, 1000, 1000));
        FAILS(EACCES, fcntl(fd, F_SETLEASE, F_RDLCK));
    }));
}

TEST(an_open_breaks_it)
{
    catch_signal(SIGIO);
    int fd = make("f", O_RDONLY);
    OK(fcntl(fd, F_SETLEASE, F_WRLCK));
    FAILS(EAGAIN, open("f", O_RDONLY | O_NONBLOCK));
    EVENTUALLY(seen_count == 1);
    EQ(fcntl(fd, F_GETLEASE), F_RDLCK); // what it is to become
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    int reader = OK(open("f", O_RDONLY | O_NONBLOCK));
    FAILS(EAGAIN, open("f", O_WRONLY | O_NONBLOCK));
    EVENTUALLY(seen_count == 2);
    EQ(fcntl(fd, F_GETLEASE), F_UNLCK);
    close(fd); // that gives it up
    OK(open("f", O_WRONLY | O_NONBLOCK));
    close(reader);
}

TEST(an_open_waits_for_the_holder)
{
    catch_signal(SIGUSR1);
    int fd = make("f", O_RDONLY);
    OK(fcntl(fd, F_SETSIG, SIGUSR1));
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    pid_t child = FORK({
        close(fd);
        int mine = OK(open("f", O_WRONLY | O_TRUNC));
        OK(write(mine, "x", 1));
    });
    EVENTUALLY(seen_count == 1);
    EQ(seen.si_fd, fd);
    EQ(waitpid(child, NULL, WNOHANG), 0);
    OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    WAIT_OK(child);
}

TEST(truncate_waits_too)
{
    catch_signal(SIGIO);
    int fd = make("f", O_RDONLY);
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    pid_t child = FORK({
        close(fd);
        OK(truncate("f", 5));
    });
    EVENTUALLY(seen_count == 1);
    EQ(waitpid(child, NULL, WNOHANG), 0);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 0);
    OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    WAIT_OK(child);
    OK(fstat(fd, &st));
    EQ(st.st_size, 5);
}

TEST(the_time_of_a_holder_ends)
{
    char before[20];
    int knob = open("/proc/sys/fs/lease-break-time", O_RDWR);
    if (knob < 0)
        SKIP("may not set lease-break-time");
    memset(before, 0, sizeof before);
    OK(read(knob, before, sizeof before - 1));
    if (pwrite(knob, "1", 1, 0) != 1)
        SKIP("may not set lease-break-time");
    catch_signal(SIGIO);
    int fd = make("f", O_RDONLY);
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    pid_t child = FORK({ OK(open("f", O_WRONLY)); });
    int status;
    pid_t ended = waitpid(child, &status, 0);
    OK(pwrite(knob, before, strlen(before), 0));
    EQ(ended, child);
    EQ(status, 0);
    EQ(seen_count, 1);
    EQ(fcntl(fd, F_GETLEASE), F_UNLCK);
}

TEST(folder_notification)
{
    catch_signal(SIGUSR1);
    OK(mkdir("d", 0700));
    int fd = OK(open("d", O_RDONLY));
    OK(fcntl(fd, F_SETSIG, SIGUSR1));
    FAILS(ENOTDIR, fcntl(make("f", O_RDONLY), F_NOTIFY, DN_CREATE));
    OK(fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE));
    close(OK(open("d/a", O_CREAT | O_RDWR, 0600)));
    EVENTUALLY(seen_count == 1);
    EQ(seen.si_fd, fd);
    EQ(seen.si_code, POLL_MSG);
    close(OK(open("d/b", O_CREAT | O_RDWR, 0600))); // once only
    usleep(20000);
    EQ(seen_count, 1);
    OK(fcntl(fd, F_NOTIFY, DN_DELETE | DN_MODIFY | DN_RENAME | DN_ATTRIB | DN_MULTISHOT));
    OK(unlink("d/b"));
    EVENTUALLY(seen_count == 2);
    int file = OK(open("d/a", O_WRONLY));
    OK(write(file, "x", 1));
    EVENTUALLY(seen_count == 3);
    OK(fchmod(file, 0644));
    EVENTUALLY(seen_count == 4);
    OK(fcntl(fd, F_NOTIFY, 0));
    OK(unlink("d/a"));
    usleep(20000);
    EQ(seen_count, 4);
}

TEST(an_open_for_reading_that_cuts_leaves_a_read_lease)
{
    write_file("f", "abc");
    int fd = OK(open("f", O_RDONLY));
    OK(fcntl(fd, F_SETLEASE, F_RDLCK));
    OK(open("f", O_RDONLY | O_TRUNC | O_NONBLOCK));
    EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
}

// What is no regular file has none, and cannot have one.
TEST(other_kinds)
{
    int p[2], s[2];
    OK(pipe(p));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int fds[] = {p[0], s[0], OK(open(".", O_RDONLY)), OK(open("/dev/null", O_RDONLY))};
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
        EQ(fcntl(fds[i], F_GETLEASE), F_UNLCK);
        FAILS(EINVAL, fcntl(fds[i], F_SETLEASE, F_RDLCK));
        FAILS(EINVAL, fcntl(fds[i], F_SETLEASE, F_UNLCK));
    }
}

MAIN()
