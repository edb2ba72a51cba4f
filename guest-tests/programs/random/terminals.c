// A pseudo terminal with settings at random: bytes typed at the master, programs' output at the slave, and the calls of terminals and sessions on both. After
// each step stands what came out at the master, what is left to read, and which signals came.
// open: tmpfs
#include "random.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <asm/termbits.h>

static int master = -1, slave = -1, second = -1;
static pid_t neighbour; // of the same session, in a group of its own
static volatile unsigned seen[65];
static unsigned char buffer[9000];

static void on_signal(int signal) { seen[signal]++; }
static void say_bytes(const unsigned char *bytes, long n)
{
    say(" \"");
    for (long i = 0; i < n && i < 600; i++)
        say(bytes[i] >= ' ' && bytes[i] < 127 && bytes[i] != '\\' ? "%c" : "\\%02x", bytes[i]);
    say("\"");
    if (n > 600)
        say("...%ld #%x", n, sum_of(bytes, n));
}
// Input goes to the other side by a worker of the host's kernel. poll(2) waits for it, unless there is something to read already; FIONREAD does for what it is doing.
static void settle(void)
{
    int in = 0;
    poll(&(struct pollfd){slave, POLLIN, 0}, 1, 0);
    ioctl(slave, FIONREAD, &in);
    poll(&(struct pollfd){master, POLLIN, 0}, 1, 0);
    ioctl(master, FIONREAD, &in);
}
// Bytes for the slave. Where it has some already, this waits until something changes.
static bool feed(long (*how)(long), long argument)
{
    struct pollfd slave_is = {slave, POLLIN | POLLOUT, 0}, echo = {master, POLLIN, 0};
    int had = 0, has;
    poll(&slave_is, 1, 0);
    ioctl(slave, FIONREAD, &had), has = had;
    short was = slave_is.revents;
    if (slave < 0 || was & POLLHUP || had > 1500) { // when the worker comes nobody can tell; how much is kept is nobody's business
        say(" not");
        return false;
    }
    result(how(argument));
    for (int i = 0; was & POLLIN && i < 100 && has == had && was == slave_is.revents && !poll(&echo, 1, 0); i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL), poll(&slave_is, 1, 0), ioctl(slave, FIONREAD, &has);
    return true;
}
static void show(void)
{
    static unsigned char shown[9000];
    settle();
    for (int i = 0; i < 20; i++) {
        long n = read(master, shown, sizeof shown);
        if (n <= 0) {
            say(n ? errno == EAGAIN ? "" : " %s" : " end", strerrorname_np(errno));
            break;
        }
        say_bytes(shown, n);
        settle();
    }
}
static void state(void)
{
    say(" |");
    show();
    struct pollfd both[] = {{slave, -1 & ~POLLNVAL, 0}, {master, -1 & ~POLLNVAL, 0}};
    poll(both, 2, 0);
    int in = -1, out = -1;
    ioctl(slave, FIONREAD, &in), ioctl(slave, TIOCOUTQ, &out);
    say(" %x %x %d %d", both[0].revents, both[1].revents, in, out);
    for (int i = 1; i < 65; i++) {
        if (seen[i]) // how many of them became one is a matter of time
            say(" SIG%d", i);
        seen[i] = 0;
    }
}

static void open_pair(void)
{
    close(slave), close(second), close(master);
    second = -1;
    master = open("pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
    ioctl(master, TIOCSPTLCK, &(int){0});
    slave = open("pts/0", O_RDWR | O_NOCTTY | O_NONBLOCK);
    say(" pair %d %d", master >= 0, slave >= 0);
}
static void begin(void)
{
    int status = 0;
    pid_t child = fork();
    if (child) { // the child leads a session
        waitpid(child, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
    setsid();
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGCONT, SIGTTIN, SIGTTOU, SIGWINCH, SIGIO, SIGPIPE, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &(struct sigaction){.sa_handler = on_signal}, NULL);
    neighbour = fork();
    if (neighbour == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    setpgid(neighbour, neighbour);
    mkdir("pts", 0755);
    say("mount"), result(mount("devpts", "pts", "devpts", 0, "ptmxmode=666"));
    open_pair();
    ioctl(slave, TIOCSCTTY, 0);
}

static const unsigned long input_flags[] = {IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF, IMAXBEL, IUTF8};
static const unsigned long output_flags[] = {OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, OFILL, OFDEL, XTABS, VTDLY, FFDLY, BSDLY};
static const unsigned long local_flags[] = {ISIG, ICANON, XCASE, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP, ECHOCTL, ECHOPRT, ECHOKE, FLUSHO, PENDIN, IEXTEN, EXTPROC};
static const unsigned long control_flags[] = {CS6, CS7, CSTOPB, CREAD, PARENB, PARODD, HUPCL, CLOCAL, CRTSCTS, CMSPAR, B9600, B38400};
static void say_termios(const struct termios *t)
{
    say(" %x %x %x %x %d ", t->c_iflag, t->c_oflag, t->c_cflag, t->c_lflag, t->c_line);
    for (int i = 0; i < NCCS; i++)
        say("%02x", t->c_cc[i]);
}
static int side(void) { return chance(80) ? slave : chance(80) ? master : second; }
static const char *side_name(int fd) { return fd == slave ? "slave" : fd == master ? "master" : "second"; }

SHOWN(12, set)
{
    struct termios t = {0};
    int fd = side();
    ioctl(slave, TCGETS, &t);
    if (chance(40)) {
        if (chance(50))
            t.c_iflag ^= ONE_OF(input_flags);
        if (chance(50))
            t.c_oflag ^= ONE_OF(output_flags);
        if (chance(60))
            t.c_lflag ^= ONE_OF(local_flags);
    } else if (chance(50)) { // as it was at first
        t = (struct termios){.c_iflag = ICRNL | IXON | (chance(30) ? IUTF8 : 0), .c_oflag = OPOST | ONLCR, .c_cflag = B38400 | CS8 | CREAD, .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN};
        memcpy(t.c_cc, "\003\034\177\025\004\000\001\000\021\023\032\000\022\017\027\026\000", 17);
    } else if (chance(40)) // raw
        t.c_iflag = 0, t.c_oflag = 0, t.c_lflag = 0;
    else
        t.c_iflag = SOME_OF(input_flags), t.c_oflag = SOME_OF(output_flags), t.c_lflag = SOME_OF(local_flags), t.c_cflag = SOME_OF(control_flags);
    static const unsigned char chars[] = {0, 3, 4, 8, 21, 22, 23, 26, 28, 127, 'x', 'y', '\n', '\r', 255, 17, 19, 1};
    if (chance(30))
        t.c_cc[pick(17)] = ONE_OF(chars);
    static const unsigned char least[] = {0, 1, 1, 5, 255};
    t.c_cc[VTIME] = 0;
    if (!(t.c_lflag & ICANON))
        t.c_cc[VMIN] = ONE_OF(least);
    static const unsigned long ways[] = {TCSETS, TCSETS, TCSETSW, TCSETSF};
    unsigned long way = ONE_OF(ways);
    ioctl(slave, TCXONC, TCOOFF), ioctl(slave, TCXONC, TCOON); // by which settings echo comes out that was held is nobody's business
    struct termios was = {0};
    ioctl(slave, TCGETS, &was);
    if ((was.c_lflag ^ t.c_lflag) & (ICANON | EXTPROC))
        ioctl(slave, TCFLSH, TCIFLUSH); // what VEOF left in the input becomes a byte on the host
    say("set %s %lx", side_name(fd), way), say_termios(&t);
    result(ioctl(fd, way, &t));
}
SHOWN(3, get)
{
    struct termios t = {0};
    int fd = side();
    say("get %s", side_name(fd));
    result(ioctl(fd, TCGETS, &t));
    say_termios(&t);
}
static const char *const typed[] = {"\003", "\034", "\032", "\025", "\004", "\010", "\177", "\027", "\026", "\022", "\023", "\021", "\017", "\r", "\n", "\n", "\t", "\001", "\033[A", "\xc3\xa9", "\xe2\x82\xac", "\xff", "\x80", "\xc3", "word", " word", "a", "B", "x", "y", "_-", " ", "ab\tc", "{", "~", "1", "\\", "\177\177\177", "\f", "\v", ""};
static size_t next_typed;
static long type_in(long n) { return write(master, buffer + next_typed, n); }
static bool is_order(const struct termios *t, unsigned char byte)
{
    bool sends = t->c_lflag & ISIG && (byte == t->c_cc[VINTR] || byte == t->c_cc[VQUIT] || byte == t->c_cc[VSUSP]);
    return sends || (t->c_iflag & IXON && (byte == t->c_cc[VSTOP] || byte == t->c_cc[VSTART]));
}
SHOWN(30, type)
{
    long n = 0;
    for (int count = 1 + pick(chance(20) ? 40 : 5); count > 0; count--) {
        const char *next = ONE_OF(typed);
        size_t size = *next ? strlen(next) : 1;
        memcpy(buffer + n, next, size), n += size;
    }
    say("type"), say_bytes(buffer, n);
    struct termios t = {0};
    ioctl(slave, TCGETS, &t);
    // A signal takes the echo that did not come out yet, a stop holds it: what went before comes out first.
    for (long from = 0, to; from < n; from = to) {
        for (to = from; to < n && (to == from || !is_order(&t, buffer[to])) && (to == from || !is_order(&t, buffer[to - 1])); to++) {
        }
        next_typed = from;
        if (!feed(type_in, to - from))
            break;
        if (to < n)
            show();
    }
    next_typed = 0;
}
SHOWN(1, long_line)
{
    struct termios t = {0};
    ioctl(slave, TCGETS, &t);
    say("long line");
    if ((t.c_lflag & (ECHO | EXTPROC | ICANON)) != ICANON) // how much echo is kept is nobody's business
        return;
    ioctl(slave, TCFLSH, TCIOFLUSH);
    memset(buffer, 'z', 4200);
    if (!feed(type_in, 4090 + pick(10)))
        return;
    settle();
    buffer[0] = '\n';
    result(type_in(1));
    settle();
    result(read(slave, buffer, sizeof buffer));
    result(read(slave, buffer, sizeof buffer));
    ioctl(slave, TCFLSH, TCIOFLUSH);
}
SHOWN(14, write)
{
    static const char *const said[] = {"hello", "Hello\n", "\n", "\r", "\t", "a\tb\n", "\b", "\b\b \b", "{Abc}~|`'\\", "\xc3\xa9t\xc3\xa9", "\033[31m", "x\r\ny", "\v\f", "\021", "\177", "0123456789"};
    long n = 0;
    for (int count = 1 + pick(5); count > 0; count--) {
        const char *next = ONE_OF(said);
        memcpy(buffer + n, next, strlen(next)), n += strlen(next);
    }
    int fd = chance(95) ? slave : second;
    say("write"), say_bytes(buffer, n);
    result(write(fd, buffer, n));
}
SHOWN(22, read)
{
    static const size_t sizes[] = {0, 1, 2, 3, 5, 20, 64, 65, 100, 9000};
    size_t size = ONE_OF(sizes);
    int fd = chance(95) ? slave : second;
    say("read %zu", size);
    long n = result(read(fd, buffer, size));
    if (n > 0)
        say_bytes(buffer, n);
}
SHOWN(8, flow)
{
    static const unsigned long calls[] = {TCFLSH, TCFLSH, TCXONC, TCXONC, TCXONC, TCSBRK, TCSBRKP};
    unsigned long call = ONE_OF(calls), how = pick(5);
    int fd = side();
    say("flow %s %lx %lu", side_name(fd), call, how);
    if (fd != master || call != TCXONC) // nobody stops a master
        result(ioctl(fd, call, how));
}
SHOWN(8, numbers)
{
    static const unsigned long calls[] = {TIOCGPKT, TIOCGEXCL, TIOCGPTLCK, TIOCGETD, TIOCOUTQ, FIONREAD, TIOCMGET, TIOCGSOFTCAR, TIOCGSID, TIOCGPGRP, TIOCGPTN};
    unsigned long call = ONE_OF(calls);
    int fd = side(), is[20] = {-7};
    say("ioctl %s %lx", side_name(fd), call);
    result(ioctl(fd, call, is));
    if (call == TIOCGSID || call == TIOCGPGRP)
        is[0] = is[0] == getpid() ? -1 : is[0] == neighbour ? -2 : is[0] == 0 ? 0 : is[0] == -7 ? -7 : 1;
    say(" %d", is[0]);
}
// Not TIOCSTI: stockade refuses it to all, as dev.tty.legacy_tiocsti = 0 does to those without CAP_SYS_ADMIN.
SHOWN(8, change)
{
    static const unsigned long calls[] = {TIOCPKT, TIOCPKT, TIOCSSOFTCAR, FIONBIO};
    unsigned long call = ONE_OF(calls);
    int fd = side(), value = chance(60);
    say("ioctl %s %lx %d", side_name(fd), call, value);
    if (call != FIONBIO || value)
        result(ioctl(fd, call, &value));
}
SHOWN(4, exclusive)
{
    static const unsigned long calls[] = {TIOCEXCL, TIOCNXCL, TIOCNXCL};
    unsigned long call = ONE_OF(calls);
    int fd = side();
    say("ioctl %s %lx", side_name(fd), call);
    result(ioctl(fd, call));
}
SHOWN(4, size)
{
    struct winsize size = {pick(4) + 20, pick(4) + 80, pick(2), pick(2)}, is = {0};
    int fd = side();
    say("size %s %d %d", side_name(fd), size.ws_row, size.ws_col);
    if (chance(60))
        result(ioctl(fd, TIOCSWINSZ, &size));
    result(ioctl(fd, TIOCGWINSZ, &is));
    say(" %d %d %d %d", is.ws_row, is.ws_col, is.ws_xpixel, is.ws_ypixel);
}
SHOWN(3, signal)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTSTP, SIGUSR1, SIGWINCH, 0, 65};
    int signal = ONE_OF(signals), fd = chance(70) ? master : slave;
    say("TIOCSIG %s %d", side_name(fd), signal);
    result(ioctl(fd, TIOCSIG, signal));
}
SHOWN(8, session)
{
    int fd = side(), which = pick(7), group = chance(60) ? getpid() : chance(70) ? neighbour : chance(50) ? getppid() : chance(50) ? 0 : -1;
    const char *name = group == getpid() ? "own" : group == neighbour ? "neighbour" : group == getppid() ? "parent" : "none";
    sigset_t set;
    switch (which) {
    case 0:
    case 1: say("TIOCSCTTY %s", side_name(fd)), result(ioctl(fd, TIOCSCTTY, (long)pick(2))); break;
    case 2: say("TIOCNOTTY %s", side_name(fd)), result(ioctl(fd, TIOCNOTTY)); break;
    case 3:
    case 4: say("TIOCSPGRP %s %s", side_name(fd), name), result(ioctl(fd, TIOCSPGRP, &group)); break;
    case 5: say("/dev/tty"), fd = success(open("/dev/tty", O_RDWR | O_NONBLOCK)), close(fd < 0 ? -1 : fd); break;
    default:
        sigemptyset(&set), sigaddset(&set, SIGTTIN), sigaddset(&set, SIGTTOU);
        which = chance(40) ? SIG_BLOCK : SIG_UNBLOCK;
        say("mask %d", which), result(sigprocmask(which, &set, NULL));
    }
}
SHOWN(4, open)
{
    int how = pick(5);
    switch (how) {
    case 0: say("close second"), result(close(second)), second = -1; break;
    case 1: say("close slave"), result(close(slave)), slave = -1; break;
    case 2: say("open second"), close(second), second = success(open("pts/0", O_RDWR | O_NONBLOCK | (chance(50) ? O_NOCTTY : 0))); break;
    case 3: say("peer"), close(second), second = success(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)); break;
    default: say("open slave"), close(slave), slave = success(open("pts/0", O_RDWR | O_NONBLOCK | O_NOCTTY));
    }
}
SHOWN(1, anew)
{
    bool closes = chance(50);
    say("anew %d", closes);
    if (closes) {
        result(close(master)), master = -1;
        state();
    }
    open_pair();
    result(ioctl(slave, TIOCSCTTY, 0));
}
SHOWN(1, hang_up)
{
    say("TIOCVHANGUP");
    result(ioctl(slave, TIOCVHANGUP));
}
SHOWN(1, lock)
{
    int on = chance(30);
    say("TIOCSPTLCK %d", on);
    result(ioctl(master, TIOCSPTLCK, &on));
}
RANDOM_MAIN(begin)
