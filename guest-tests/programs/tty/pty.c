// Pseudo terminals: line discipline, job control, sizes, packet mode: pts(4), termios(3), ioctl_tty(2).
#include "check.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static int m, s;
static struct termios t;
static void make(void)
{
    m = OK(posix_openpt(O_RDWR | O_NOCTTY));
    OK(grantpt(m));
    OK(unlockpt(m));
    s = OK(open(ptsname(m), O_RDWR | O_NOCTTY));
    OK(tcgetattr(s, &t));
}
static void set(void) { OK(tcsetattr(s, TCSANOW, &t)); }
static void type(const char *text) { EQ(write(m, text, strlen(text)), strlen(text)); }
// What one read of a side gives within a second; "(none)" when nothing comes within 30 ms.
static const char *take(int fd)
{
    static char text[5000];
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, 30) == 0)
        return "(none)";
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return n < 0 ? "(error)" : text;
}

TEST(open_and_names)
{
    m = OK(posix_openpt(O_RDWR | O_NOCTTY));
    char name[64];
    ZERO(ptsname_r(m, name, sizeof name));
    CHECK(!strncmp(name, "/dev/pts/", 9));
    FAILS(EIO, open(name, O_RDWR | O_NOCTTY)); // locked until unlockpt
    OK(unlockpt(m));
    s = OK(open(name, O_RDWR | O_NOCTTY));
    EQ(isatty(s), 1);
    struct stat st;
    OK(fstat(s, &st));
    CHECK(S_ISCHR(st.st_mode));
    STREQ(ttyname(s), name);
    int number;
    OK(ioctl(m, TIOCGPTN, &number));
    EQ(number, atoi(name + 9));
    close(m);
    FAILS(ENOENT, access(name, F_OK));
    char c;
    EQ(read(s, &c, 1), 0); // hung up
    FAILS(EIO, write(s, "x", 1));
}

TEST(defaults)
{
    make();
    EQ(t.c_iflag, ICRNL | IXON);
    EQ(t.c_oflag, OPOST | ONLCR);
    EQ(t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
    EQ(t.c_cflag & (CSIZE | CREAD), CS8 | CREAD);
    EQ(t.c_cc[VINTR], 3);
    EQ(t.c_cc[VEOF], 4);
    EQ(t.c_cc[VERASE], 127);
    EQ(t.c_cc[VMIN], 1);
}

TEST(canonical_lines)
{
    make();
    type("hel");
    STREQ(take(s), "(none)"); // not before the line is whole
    type("lo\rnext");
    STREQ(take(s), "hello\n"); // carriage return became newline
    type("\n");
    STREQ(take(s), "next\n");
    type("two\nlines\n");
    char part[20] = "";
    EQ(read(s, part, 2), 2);
    EQ(read(s, part, 20), 2); // a read ends with the line
    STREQ(take(s), "lines\n");
    int n;
    type("abc\nde");
    EVENTUALLY(ioctl(s, FIONREAD, &n) == 0 && n >= 4);
    CHECK(n == 4 || n == 6);
}

TEST(echo)
{
    make();
    type("ab\n");
    STREQ(take(m), "ab\r\n");
    type("\001");
    STREQ(take(m), "^A");
    type("\n");
    take(m);
    t.c_lflag &= ~ECHO;
    set();
    type("secret\n");
    STREQ(take(m), "(none)");
    t.c_lflag |= ECHONL;
    set();
    type("x\n");
    STREQ(take(m), "\r\n");
}

TEST(editing)
{
    make();
    type("abX\177c\n"); // erase
    STREQ(take(s), "abc\n");
    STREQ(take(m), "abX\b \bc\r\n");
    type("junk\025good\n"); // kill the line
    STREQ(take(s), "good\n");
    type("one two\027six\n"); // erase a word
    STREQ(take(s), "one six\n");
    type("a\026\003b\n"); // literal next
    STREQ(take(s), "a\003b\n");
    type("\177\177x\n"); // nothing to erase
    STREQ(take(s), "x\n");
}

TEST(end_of_file)
{
    make();
    type("abc\004");
    STREQ(take(s), "abc"); // gives what is there
    type("\004");
    char c;
    EQ(read(s, &c, 1), 0);
    type("x\n");
    STREQ(take(s), "x\n"); // and goes on
}

TEST(raw_mode)
{
    make();
    cfmakeraw(&t);
    set();
    type("a\r\003\004");
    STREQ(take(s), "a\r\003\004");
    STREQ(take(m), "(none)");
    EQ(write(s, "x\n", 2), 2);
    STREQ(take(m), "x\n"); // no \r
}

TEST(min_and_time)
{
    make();
    cfmakeraw(&t);
    t.c_cc[VMIN] = 0, t.c_cc[VTIME] = 0;
    set();
    char part[10];
    EQ(read(s, part, 10), 0); // does not wait
    t.c_cc[VTIME] = 1;
    set();
    int64_t before = now_ns(CLOCK_MONOTONIC);
    EQ(read(s, part, 10), 0);
    int64_t took = now_ns(CLOCK_MONOTONIC) - before;
    CHECK(took > 80000000 && took < 2000000000);
    t.c_cc[VMIN] = 3, t.c_cc[VTIME] = 0;
    set();
    pid_t child = FORK({
        type("a");
        sleep_ms(2);
        type("b");
        sleep_ms(2);
        type("c");
    });
    EQ(read(s, part, 10), 3);
    WAIT_OK(child);
}

TEST(output_processing)
{
    make();
    EQ(write(s, "a\nb\n", 4), 4);
    STREQ(take(m), "a\r\nb\r\n");
    t.c_oflag |= OCRNL;
    t.c_oflag &= ~ONLCR;
    set();
    EQ(write(s, "a\rb", 3), 3);
    STREQ(take(m), "a\nb");
    t.c_oflag &= ~OPOST;
    set();
    EQ(write(s, "a\rb", 3), 3);
    STREQ(take(m), "a\rb");
}

TEST(input_flags)
{
    make();
    t.c_iflag |= IGNCR | ISTRIP;
    t.c_iflag &= ~ICRNL;
    set();
    type("a\rb\xc1\n");
    STREQ(take(s), "abA\n");
    t.c_iflag = INLCR;
    t.c_lflag &= ~ICANON;
    set();
    type("x\n");
    STREQ(take(s), "x\r");
}

TEST(window_size)
{
    make();
    struct winsize w = {25, 80, 1, 2}, seen;
    OK(ioctl(m, TIOCSWINSZ, &w));
    OK(ioctl(s, TIOCGWINSZ, &seen));
    EQ(seen.ws_row, 25);
    EQ(seen.ws_col, 80);
    FAILS(EFAULT, ioctl(s, TIOCGWINSZ, 8));
    FAILS(ENOTTY, ioctl(s, 0x12345678, 0));
}

// A child that leads a session with s as its terminal, in the foreground; runs the block.
#define SESSION(...)                                                                                                   \
    FORK({                                                                                                             \
        OK(setsid());                                                                                                  \
        OK(ioctl(s, TIOCSCTTY, 0));                                                                                    \
        __VA_ARGS__;                                                                                                   \
    })

static volatile int got;
static void note(int signal) { got = signal; }

TEST(controlling_terminal)
{
    make();
    pid_t child = SESSION({
        EQ(tcgetpgrp(s), getpgrp());
        EQ(tcgetsid(s), getsid(0));
        int tty = OK(open("/dev/tty", O_RDWR));
        EQ(write(tty, "x", 1), 1);
        char text[512];
        read_file("/proc/self/stat", text, sizeof text);
        int tty_nr = 0, tpgid = 0;
        EQ(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %d %d", &tty_nr, &tpgid), 2);
        struct stat st;
        OK(fstat(s, &st));
        EQ((unsigned)tty_nr, (unsigned)st.st_rdev);
        EQ(tpgid, getpgrp());
        OK(ioctl(tty, TIOCNOTTY));
        FAILS(ENXIO, open("/dev/tty", O_RDWR));
    });
    // losing the terminal sends SIGHUP to the foreground group
    int status;
    OK(waitpid(child, &status, 0));
    CHECK(status == 0 || status == SIGHUP);
    STREQ(take(m), "x");
}

TEST(signals_by_keys)
{
    make();
    int ready[2];
    OK(pipe(ready));
    const char keys[] = "\003\034\032";
    int wanted[] = {SIGINT, SIGQUIT, SIGTSTP};
    for (int i = 0; i < 3; i++) {
        pid_t child = SESSION({
            signal(wanted[i], note);
            EQ(write(ready[1], "r", 1), 1);
            EVENTUALLY(got == wanted[i]);
            EQ(write(ready[1], "d", 1), 1);
        });
        char c;
        char key[2] = {keys[i], 0};
        EQ(read(ready[0], &c, 1), 1);
        type(key);
        EQ(read(ready[0], &c, 1), 1);
        WAIT_OK(child);
        take(m);
        close(s), close(m);
        make();
    }
}

TEST(isig_off_makes_them_bytes)
{
    make();
    t.c_lflag &= ~ISIG;
    set();
    type("\003\n");
    STREQ(take(s), "\003\n");
}

TEST(winch)
{
    make();
    int ready[2];
    OK(pipe(ready));
    pid_t child = SESSION({
        signal(SIGWINCH, note);
        EQ(write(ready[1], "r", 1), 1);
        EVENTUALLY(got == SIGWINCH);
    });
    char c;
    EQ(read(ready[0], &c, 1), 1);
    struct winsize w = {33, 44, 0, 0};
    OK(ioctl(m, TIOCSWINSZ, &w));
    WAIT_OK(child);
}

TEST(background_reads_stop)
{
    make();
    pid_t child = SESSION({
        pid_t job = FORK({
            setpgid(0, 0);
            char c;
            read(s, &c, 1);
        });
        setpgid(job, job);
        int status;
        EQ(OK(waitpid(job, &status, WUNTRACED)), job);
        CHECK(WIFSTOPPED(status));
        EQ(WSTOPSIG(status), SIGTTIN);
        OK(tcsetpgrp(s, job)); // into the foreground, and on
        OK(kill(job, SIGCONT));
        type("x\n");
        EQ(OK(waitpid(job, &status, WUNTRACED)), job);
        EQ(status, 0);
        signal(SIGTTOU, SIG_IGN);
        OK(tcsetpgrp(s, getpgrp()));
        job = FORK({ // ignored or blocked: an error instead
            setpgid(0, 0);
            signal(SIGTTIN, SIG_IGN);
            char c;
            FAILS(EIO, read(s, &c, 1));
        });
        WAIT_OK(job);
    });
    WAIT_OK(child);
}

TEST(background_writes_stop_with_tostop)
{
    make();
    pid_t child = SESSION({
        pid_t job = FORK({
            setpgid(0, 0);
            EQ(write(s, "a", 1), 1); // allowed by default
            OK(tcgetattr(s, &t));
        });
        WAIT_OK(job);
        t.c_lflag |= TOSTOP;
        set();
        job = FORK({
            setpgid(0, 0);
            write(s, "b", 1);
        });
        int status;
        EQ(OK(waitpid(job, &status, WUNTRACED)), job);
        CHECK(WIFSTOPPED(status));
        EQ(WSTOPSIG(status), SIGTTOU);
        kill(job, SIGKILL);
        WAIT_STATUS(job, KILLED(SIGKILL));
        job = FORK({ // setting attributes from the background stops always
            setpgid(0, 0);
            set();
        });
        EQ(OK(waitpid(job, &status, WUNTRACED)), job);
        CHECK(WIFSTOPPED(status));
        EQ(WSTOPSIG(status), SIGTTOU);
        kill(job, SIGKILL);
        WAIT_STATUS(job, KILLED(SIGKILL));
    });
    WAIT_OK(child);
}

TEST(tcsetpgrp_errors)
{
    make();
    FAILS(ENOTTY, tcgetpgrp(s)); // not our terminal
    pid_t child = SESSION({
        FAILS(EPERM, tcsetpgrp(s, 1));
        errno = 0;
        EQ(tcsetpgrp(s, 999999), -1);
        CHECK(errno == EPERM || errno == ESRCH);
        FAILS(EINVAL, tcsetpgrp(s, -1));
    });
    WAIT_OK(child);
}

TEST(hang_up_of_the_master)
{
    make();
    int ready[2];
    OK(pipe(ready));
    pid_t child = SESSION({
        close(m);
        signal(SIGHUP, note);
        EQ(write(ready[1], "r", 1), 1);
        EVENTUALLY(got == SIGHUP);
        char c;
        EQ(read(s, &c, 1), 0);
        FAILS(EIO, write(s, "x", 1));
    });
    char c;
    EQ(read(ready[0], &c, 1), 1);
    close(m);
    WAIT_OK(child);
}

TEST(master_after_the_last_slave)
{
    make();
    EQ(write(s, "bye", 3), 3);
    close(s);
    STREQ(take(m), "bye");
    char c;
    FAILS(EIO, read(m, &c, 1));
    struct pollfd p = {m, POLLIN, 0};
    EQ(poll(&p, 1, 0), 1);
    CHECK(p.revents & POLLHUP);
    s = OK(open(ptsname(m), O_RDWR | O_NOCTTY)); // may be opened again
    EQ(write(s, "back", 4), 4);
    STREQ(take(m), "back");
}

TEST(session_end_leaves_the_terminal_open)
{
    make();
    pid_t child = FORK({
        OK(setsid());
        OK(ioctl(s, TIOCSCTTY, 0));
        signal(SIGHUP, SIG_IGN);
        EQ(write(s, "hi", 2), 2);
    });
    WAIT_OK(child);
    STREQ(take(m), "hi");
    struct pollfd p = {m, POLLIN, 0};
    EQ(poll(&p, 1, 30), 0); // this process has the slave open: no hang-up
    EQ(write(s, "more", 4), 4);
    STREQ(take(m), "more");
}

TEST(packet_mode)
{
    make();
    int on = 1;
    OK(ioctl(m, TIOCPKT, &on));
    EQ(write(s, "hi", 2), 2);
    char part[20];
    EQ(read(m, part, 20), 3);
    EQ(part[0], TIOCPKT_DATA);
    EQ(memcmp(part + 1, "hi", 2), 0);
    OK(tcflush(s, TCIOFLUSH));
    EQ(read(m, part, 20), 1);
    CHECK(part[0] & (TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE));
}

TEST(flush_and_queues)
{
    make();
    type("abc\n");
    OK(tcflush(s, TCIFLUSH));
    STREQ(take(s), "(none)");
    int n = -1;
    OK(ioctl(s, TIOCOUTQ, &n));
    CHECK(n >= 0);
    OK(tcdrain(s));
    OK(tcsendbreak(s, 0));
}

TEST(flow_control)
{
    make();
    type("\023"); // stop
    sleep_ms(5);
    OK(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK));
    FAILS(EAGAIN, write(s, "x", 1));
    type("\021"); // go
    EVENTUALLY(write(s, "x", 1) == 1);
    STREQ(take(m), "x");
    OK(tcflow(s, TCOOFF));
    FAILS(EAGAIN, write(s, "y", 1));
    OK(tcflow(s, TCOON));
    EQ(write(s, "y", 1), 1);
}

TEST(nonblocking)
{
    make();
    OK(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK));
    OK(fcntl(m, F_SETFL, O_RDWR | O_NONBLOCK));
    char c;
    FAILS(EAGAIN, read(s, &c, 1));
    FAILS(EAGAIN, read(m, &c, 1));
    static char big[100000];
    memset(big, 'x', sizeof big);
    ssize_t n = write(s, big, sizeof big);
    CHECK(n > 0 && n < (ssize_t)sizeof big); // the buffer is bounded
    FAILS(EAGAIN, write(s, big, 1));
    ssize_t total = 0, r;
    while ((r = read(m, big, sizeof big)) > 0)
        total += r;
    EQ(total, n);
}

TEST(forkpty_and_shell)
{
    int master;
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "test -t 0 && test -t 1 && echo it is a tty; read x; echo got $x", NULL);
        _exit(1);
    }
    CHECK(child > 0);
    EQ(write(master, "word\n", 5), 5);
    char text[200];
    size_t used = 0;
    ssize_t n;
    while (used < sizeof text - 1 && (n = read(master, text + used, sizeof text - 1 - used)) > 0)
        used += n;
    text[used] = 0;
    CHECK(strstr(text, "it is a tty\r\n"));
    CHECK(strstr(text, "got word\r\n"));
    WAIT_OK(child);
}

TEST(carrier)
{
    make();
    int on = 7;
    EQ(t.c_cflag, B38400 | CS8 | CREAD);
    OK(ioctl(s, TIOCGSOFTCAR, &on));
    EQ(on, 0);
    OK(ioctl(s, TIOCSSOFTCAR, &(int){1}));
    OK(ioctl(m, TIOCGSOFTCAR, &on));
    EQ(on, 1);
    OK(tcgetattr(s, &t));
    EQ(t.c_cflag, B38400 | CS8 | CREAD | CLOCAL);
}

TEST(lines_that_the_other_side_edits)
{
    make();
    t.c_lflag |= EXTPROC;
    t.c_cc[VMIN] = 5;
    set();
    type("ab");
    int n = 0;
    EVENTUALLY(!ioctl(s, FIONREAD, &n) && n == 2);
    char text[10];
    EQ(read(s, text, 10), 2); // VMIN does not count
}

TEST(a_terminal_is_opened_anew_after_a_hang_up)
{
    make();
    char name[40], c;
    int number;
    OK(ioctl(m, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    OK(ioctl(s, TIOCVHANGUP));
    EQ(read(s, &c, 1), 0);
    FAILS(EIO, write(s, "x", 1));
    OK(fcntl(m, F_SETFL, O_NONBLOCK));
    FAILS(EAGAIN, read(m, &c, 1));
    int again = OK(open(name, O_RDWR | O_NOCTTY));
    close(s);
    EQ(write(again, "x", 1), 1);
    EVENTUALLY(read(m, &c, 1) == 1);
    EQ(c, 'x');
    close(again);
    FAILS(EIO, read(m, &c, 1));
}

TEST(a_master_makes_its_slave_the_terminal)
{
    make();
    WAIT_OK(FORK({
        setsid();
        FAILS(ENXIO, open("/dev/tty", O_RDWR));
        OK(ioctl(m, TIOCSCTTY, 0));
        OK(open("/dev/tty", O_RDWR));
    }));
}

TEST(a_literal_newline_is_shown_as_a_control_character)
{
    make();
    type("\x16\n");
    STREQ(take(m), "^\b^J");
}

TEST(only_tcoon_ends_tcooff)
{
    make();
    OK(fcntl(s, F_SETFL, O_NONBLOCK));
    OK(tcflow(s, TCOOFF));
    type("\021");
    struct pollfd is = {s, POLLIN, 0};
    poll(&is, 1, 10);
    FAILS(EAGAIN, write(s, "x", 1));
    OK(tcflow(s, TCOON));
    EQ(write(s, "x", 1), 1);
}

TEST(tcoon_does_not_start_what_the_keyboard_stopped)
{
    make();
    OK(fcntl(s, F_SETFL, O_NONBLOCK));
    type("\023");
    EVENTUALLY(poll(&(struct pollfd){s, POLLIN | POLLOUT, 0}, 1, 0) == 0);
    OK(tcflow(s, TCOON));
    FAILS(EAGAIN, write(s, "x", 1));
    type("\021");
    EVENTUALLY(write(s, "x", 1) == 1);
}

TEST(settings_at_a_hang_up_and_in_packet_mode)
{
    make();
    struct termios now;
    char c = 0;
    OK(ioctl(m, TIOCPKT, &(int){1}));
    OK(tcsetattr(s, TCSAFLUSH, &t));
    EQ(read(m, &c, 1), 1);
    EQ(c, TIOCPKT_FLUSHREAD);
    t.c_lflag &= ~ECHO;
    set();
    OK(ioctl(s, TIOCVHANGUP));
    OK(tcgetattr(m, &now));
    CHECK(now.c_lflag & ECHO);
}

MAIN()
