// User and group ids, capabilities, set-uid programs: credentials(7), capabilities(7), setresuid(2), capget(2).
#include "check.h"
#include <sys/ptrace.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>

#define ROOT()                                                                                                         \
    do {                                                                                                               \
        if (geteuid())                                                                                                 \
            SKIP("not root");                                                                                          \
    } while (0)
#define IDS(r, e, s)                                                                                                   \
    do {                                                                                                               \
        uid_t r_, e_, s_;                                                                                              \
        OK(getresuid(&r_, &e_, &s_));                                                                                  \
        EQ(r_, r);                                                                                                     \
        EQ(e_, e);                                                                                                     \
        EQ(s_, s);                                                                                                     \
    } while (0)
static uint64_t caps(char which)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    OK(syscall(SYS_capget, &h, d));
    return which == 'e'   ? d[0].effective | (uint64_t)d[1].effective << 32
           : which == 'p' ? d[0].permitted | (uint64_t)d[1].permitted << 32
                          : d[0].inheritable | (uint64_t)d[1].inheritable << 32;
}

TEST(setresuid)
{
    ROOT();
    OK(setresuid(1, 2, 3));
    IDS(1, 2, 3);
    EQ(getuid(), 1);
    EQ(geteuid(), 2);
    FAILS(EPERM, setresuid(5, -1, -1));
    OK(setresuid(3, 1, -1)); // any of the three in any place
    IDS(3, 1, 3);
    OK(setresuid(-1, -1, -1));
}

TEST(setuid_drops_all)
{
    ROOT();
    OK(setuid(7));
    IDS(7, 7, 7);
    FAILS(EPERM, setuid(0));
    FAILS(EPERM, seteuid(0));
    EQ(caps('e'), 0);
    EQ(caps('p'), 0);
}

TEST(seteuid_comes_back)
{
    ROOT();
    uint64_t before = caps('e');
    OK(seteuid(5));
    IDS(0, 5, 0);
    EQ(caps('e'), 0);
    CHECK(caps('p') == before);
    OK(seteuid(0));
    CHECK(caps('e') == before);
}

TEST(setreuid)
{
    ROOT();
    OK(setreuid(4, 5));
    IDS(4, 5, 5); // the saved one follows
    OK(setreuid(5, 4));
    IDS(5, 4, 4);
}

TEST(groups)
{
    ROOT();
    gid_t list[] = {10, 20, 30}, seen[10];
    OK(setgroups(3, list));
    EQ(getgroups(0, NULL), 3);
    EQ(getgroups(10, seen), 3);
    EQ(seen[2], 30);
    FAILS(EINVAL, getgroups(2, seen));
    OK(setresgid(1, 2, 3));
    EQ(getgid(), 1);
    EQ(getegid(), 2);
    OK(setresuid(9, 9, 9));
    FAILS(EPERM, setgroups(0, NULL));
    FAILS(EPERM, setgid(77));
    OK(setgid(3));
    pid_t child = FORK({ EQ(getgroups(10, seen), 3); });
    WAIT_OK(child);
}

TEST(fsuid)
{
    ROOT();
    write_file("f", "");
    OK(chmod("f", 0600));
    EQ(setfsuid(1000), 0);
    EQ(setfsuid(-1), 1000);
    FAILS(EACCES, open("f", O_RDONLY));
    EQ(setfsuid(0), 1000);
    OK(open("f", O_RDONLY));
}

TEST(told_in_proc)
{
    ROOT();
    OK(setresgid(11, 12, 13));
    OK(setresuid(1, 2, 3));
    char text[4096];
    read_file("/proc/thread-self/status", text, sizeof text);
    CHECK(strstr(text, "Uid:\t1\t2\t3\t2\n"));
    CHECK(strstr(text, "Gid:\t11\t12\t13\t12\n"));
    CHECK(strstr(text, "CapEff:\t0000000000000000\n"));
}

TEST(capset_lowers)
{
    ROOT();
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    OK(syscall(SYS_capget, &h, d));
    CHECK(d[0].effective & 1 << CAP_CHOWN);
    write_file("f", "");
    OK(chown("f", 5, 5));
    d[0].effective &= ~(1u << CAP_CHOWN);
    OK(syscall(SYS_capset, &h, d));
    FAILS(EPERM, chown("f", 6, 6));
    d[0].effective |= 1 << CAP_CHOWN; // permitted: may come back
    OK(syscall(SYS_capset, &h, d));
    OK(chown("f", 6, 6));
    d[0].effective &= ~(1u << CAP_CHOWN), d[0].permitted &= ~(1u << CAP_CHOWN);
    OK(syscall(SYS_capset, &h, d));
    d[0].permitted |= 1 << CAP_CHOWN;
    FAILS(EPERM, syscall(SYS_capset, &h, d));
    h.version = 0x1234;
    FAILS(EINVAL, syscall(SYS_capget, &h, d));
    EQ(h.version, _LINUX_CAPABILITY_VERSION_3); // tells which it likes
    h.pid = 999999;
    FAILS(ESRCH, syscall(SYS_capget, &h, d));
}

TEST(bounding_set)
{
    ROOT();
    EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
    OK(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
    EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 0);
    FAILS(EINVAL, prctl(PR_CAPBSET_READ, 63));
    EQ(caps('e') >> CAP_CHOWN & 1, 1); // until the next exec
}

HELPER(no_chown)
{
    EQ(caps('e') >> CAP_CHOWN & 1, 0);
    CHECK(caps('e') >> CAP_KILL & 1);
    return 0;
}

TEST(bounding_set_at_exec)
{
    ROOT();
    pid_t child = FORK({
        OK(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
        exec_self("no_chown", NULL);
    });
    WAIT_OK(child);
}

TEST(keep_caps)
{
    ROOT();
    OK(prctl(PR_SET_KEEPCAPS, 1));
    OK(setresuid(5, 5, 5));
    CHECK(caps('p') >> CAP_CHOWN & 1);
    EQ(caps('e'), 0);
}

HELPER(ambient)
{
    EQ(caps('e') >> CAP_CHOWN & 1, 1);
    EQ(caps('e') >> CAP_KILL & 1, 0);
    return 0;
}

TEST(ambient_capabilities)
{
    ROOT();
    pid_t child = FORK({
        struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct d[2];
        FAILS(EPERM, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0)); // not inheritable yet
        OK(syscall(SYS_capget, &h, d));
        d[0].inheritable |= 1 << CAP_CHOWN;
        OK(syscall(SYS_capset, &h, d));
        OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
        EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), 1);
        OK(prctl(PR_SET_KEEPCAPS, 1));
        OK(setresuid(5, 5, 5));
        EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), 0); // gone with root's id
        OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
        exec_self("ambient", NULL);
    });
    WAIT_OK(child);
}

HELPER(euid)
{
    EQ(geteuid(), atoi(argv[1]));
    EQ(getuid(), 1000);
    uid_t r, e, s;
    OK(getresuid(&r, &e, &s));
    EQ(s, e);
    return 0;
}
static void copy_self(const char *to, mode_t mode, uid_t owner)
{
    int in = OK(open("/proc/self/exe", O_RDONLY)), out = OK(open(to, O_CREAT | O_WRONLY, 0700));
    static char part[65536];
    ssize_t n;
    while ((n = OK(read(in, part, sizeof part))) > 0)
        EQ(write(out, part, n), n);
    OK(fchown(out, owner, -1));
    OK(fchmod(out, mode));
    close(in), close(out);
}

TEST(set_uid_program)
{
    ROOT();
    copy_self("suid", 04755, 1234);
    OK(chmod(".", 0755));
    pid_t child = FORK({
        OK(setresuid(1000, 1000, 1000));
        char *argv[] = {"suid", "helper:euid", "1234", NULL};
        execv("./suid", argv);
    });
    WAIT_OK(child);
    child = FORK({
        OK(setresuid(1000, 1000, 1000));
        OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        char *argv[] = {"suid", "helper:euid", "1000", NULL};
        execv("./suid", argv);
    });
    WAIT_OK(child);
}
TEST(set_uid_program_that_is_traced)
{
    ROOT();
    copy_self("suid", 04755, 1234);
    OK(chmod(".", 0755));
    for (int strong = 0; strong < 2; strong++) {
        int go[2];
        OK(pipe(go));
        pid_t child = FORK({
            OK(setresuid(1000, 1000, 1000));
            char c;
            if (strong)
                EQ(read(go[0], &c, 1), 1);
            else
                OK(ptrace(PTRACE_TRACEME, 0, 0, 0)); // with its own rights
            char *argv[] = {"suid", "helper:euid", strong ? "1234" : "1000", NULL};
            execv("./suid", argv);
        });
        if (strong) {
            OK(ptrace(PTRACE_SEIZE, child, 0, 0)); // who may trace everything may trace it with the program's rights
            EQ(write(go[1], "x", 1), 1);
        } else {
            int status;
            EQ(OK(waitpid(child, &status, 0)), child);
            EQ(status, SIGTRAP << 8 | 0x7f);
            OK(ptrace(PTRACE_CONT, child, 0, 0));
        }
        WAIT_OK(child);
    }
}

HELPER(secure)
{
    EQ(getauxval(AT_SECURE), atoi(argv[1]));
    EQ(prctl(PR_GET_DUMPABLE), atoi(argv[2]));
    return 0;
}
// Who runs with rights that are not the user's own is watched, set-user-id program or not.
TEST(secure_programs)
{
    ROOT();
    copy_self("prog", 0755, 0);
    OK(chmod(".", 0755));
    static const struct { uid_t user[3]; gid_t group[3]; const char *secure, *dumpable; } cases[] = {
        {{0, 0, 0}, {0, 0, 0}, "0", "1"},
        {{1000, 1000, 1000}, {1000, 1000, 1000}, "0", "1"},
        {{0, 1000, 1000}, {0, 0, 0}, "1", "0"},
        {{1000, 0, 0}, {0, 0, 0}, "1", "0"},
        {{0, 0, 0}, {1000, 0, 0}, "1", "0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = FORK({
            OK(setresgid(cases[i].group[0], cases[i].group[1], cases[i].group[2]));
            OK(setresuid(cases[i].user[0], cases[i].user[1], cases[i].user[2]));
            execl("./prog", "prog", "helper:secure", cases[i].secure, cases[i].dumpable, NULL);
        });
        WAIT_OK(child);
    }
    // Back to the user's own is a change as well.
    copy_self("own", 04755, 1000);
    pid_t child = FORK({
        OK(setresuid(1000, 0, 0));
        execl("./own", "own", "helper:secure", "1", "0", NULL);
    });
    WAIT_OK(child);
}

TEST(no_groups_in_proc)
{
    ROOT();
    char text[8192];
    OK(setgroups(0, NULL));
    read_file("/proc/self/status", text, sizeof text);
    CHECK(strstr(text, "\nGroups:\t \n"));
}

// Other changes of user ids leave the capabilities for files as setfsuid(2) left them.
TEST(fsuid_and_capabilities)
{
    ROOT();
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    OK(setfsuid(1000));
    OK(syscall(SYS_capget, &head, data));
    EQ(data[0].effective & 1 << CAP_CHOWN, 0);
    OK(setresuid(0, 0, 0)); // takes the file system's user id along
    EQ(setfsuid(-1), 0);
    OK(syscall(SYS_capget, &head, data));
    EQ(data[0].effective & 1 << CAP_CHOWN, 0);
    OK(setfsuid(1000));
    OK(setfsuid(0));
    OK(syscall(SYS_capget, &head, data));
    EQ(data[0].effective & 1 << CAP_CHOWN, 1 << CAP_CHOWN);
    OK(prctl(PR_SET_SECUREBITS, 1 << 2)); // SECBIT_NO_SETUID_FIXUP
    OK(setfsuid(1000));
    OK(syscall(SYS_capget, &head, data));
    EQ(data[0].effective & 1 << CAP_CHOWN, 1 << CAP_CHOWN);
}

HELPER(permitted)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    OK(syscall(SYS_capget, &head, data));
    EQ(data[0].permitted >> CAP_CHOWN & 1, atoi(argv[1]));
    EQ(data[0].effective >> CAP_CHOWN & 1, atoi(argv[1]));
    return 0;
}
// A program that root executes gets all capabilities back, unless it may get no new privileges.
TEST(no_new_capabilities)
{
    ROOT();
    copy_self("prog", 0755, 0);
    for (int no_new = 0; no_new < 2; no_new++) {
        pid_t child = FORK({
            struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
            struct __user_cap_data_struct data[2];
            OK(syscall(SYS_capget, &head, data));
            data[0].permitted &= ~(1u << CAP_CHOWN), data[0].effective &= ~(1u << CAP_CHOWN);
            OK(syscall(SYS_capset, &head, data));
            if (no_new)
                OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            execl("./prog", "prog", "helper:permitted", no_new ? "0" : "1", NULL);
        });
        WAIT_OK(child);
    }
}

MAIN()
