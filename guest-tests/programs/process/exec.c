// execve, execveat, fexecve, scripts, what survives: execve(2), execveat(2).
#include "check.h"
#include <sys/sendfile.h>
#include <elf.h>
#include <sys/auxv.h>
extern char **environ;

HELPER(status) { return atoi(argv[1]); }
HELPER(args)
{
    EQ(argc, 4);
    STREQ(argv[1], "one");
    STREQ(argv[2], "");
    STREQ(argv[3], "three words here");
    STREQ(getenv("A"), "b");
    CHECK(!getenv("PATH"));
    return 0;
}

TEST(arguments_and_environment)
{
    pid_t child = FORK({
        char number[20];
        snprintf(number, sizeof number, "TEST_REPORT=%d", test_report);
        char *argv[] = {"x", "helper:args", "one", "", "three words here", NULL};
        char *env[] = {"A=b", number, NULL};
        execve("/proc/self/exe", argv, env);
    });
    WAIT_OK(child);
}

HELPER(many_args)
{
    EQ(argc, 20001);
    for (int i = 1; i < argc; i++)
        EQ(atoi(argv[i]), i);
    return 0;
}

TEST(many_arguments)
{
    pid_t child = FORK({
        static char *argv[20003];
        static char text[20001][8];
        argv[0] = "x", argv[1] = "helper:many_args";
        for (int i = 1; i <= 20000; i++) {
            snprintf(text[i], 8, "%d", i);
            argv[i + 1] = text[i];
        }
        execv("/proc/self/exe", argv);
    });
    WAIT_OK(child);
}

TEST(too_many_arguments)
{
    char *big = malloc(200 * 1024);
    memset(big, 'x', 200 * 1024 - 1);
    big[200 * 1024 - 1] = 0;
    char *argv[] = {"x", big, NULL};
    FAILS(E2BIG, execv("/proc/self/exe", argv)); // one string may be 128 KiB
    static char *many[200];
    big[100 * 1024] = 0;
    for (int i = 0; i < 199; i++)
        many[i] = big;
    FAILS(E2BIG, execv("/proc/self/exe", many)); // and all of them a quarter of the stack limit
}

TEST(errors)
{
    char *argv[] = {"x", NULL};
    FAILS(ENOENT, execv("nothing", argv));
    FAILS(EACCES, execv("/", argv));
    write_file("plain", "#!/bin/sh\nexit 0\n");
    FAILS(EACCES, execv("plain", argv));
    FAILS(ENOTDIR, execv("plain/x", argv));
    write_file("junk", "this is no program");
    OK(chmod("junk", 0755));
    FAILS(ENOEXEC, execv("junk", argv));
    write_file("empty", "");
    OK(chmod("empty", 0755));
    FAILS(ENOEXEC, execv("empty", argv));
    write_file("badinterp", "#!/no/such/interpreter\n");
    OK(chmod("badinterp", 0755));
    FAILS(ENOENT, execv("badinterp", argv));
    FAILS(EFAULT, execve((char *)8, argv, environ));
    FAILS(EFAULT, execve("/proc/self/exe", (char **)8, environ));
    OK(symlink("loop", "loop"));
    FAILS(ELOOP, execv("loop", argv));
    FAILS(ENOENT, execv("", argv));
}

TEST(broken_elf)
{
    char *argv[] = {"x", NULL};
    int self = OK(open("/proc/self/exe", O_RDONLY));
    static char head[4096];
    EQ(read(self, head, sizeof head), sizeof head);
    Elf64_Ehdr *elf = (Elf64_Ehdr *)head;
    struct { const char *name; size_t size; } cut[] = {{"cut10", 10}, {"cut63", 63}, {"cut100", 100}};
    for (int i = 0; i < 3; i++) {
        int fd = OK(open(cut[i].name, O_CREAT | O_WRONLY, 0755));
        EQ(write(fd, head, cut[i].size), cut[i].size);
        close(fd);
        errno = 0;
        EQ(execv(cut[i].name, argv), -1);
        CHECK(errno == ENOEXEC || errno == EIO);
    }
    elf->e_machine = EM_ARM;
    int fd = OK(open("arm", O_CREAT | O_WRONLY, 0755));
    EQ(write(fd, head, sizeof head), sizeof head);
    close(fd);
    FAILS(ENOEXEC, execv("arm", argv));
}

TEST(text_file_busy)
{
    char *argv[] = {"x", NULL};
    write_file("s", "#!/bin/sh\n");
    OK(chmod("s", 0755));
    int fd = OK(open("s", O_WRONLY));
    FAILS(ETXTBSY, execv("s", argv));
    close(fd);
    FAILS(ETXTBSY, open("/proc/self/exe", O_WRONLY));
}

HELPER(echo_args)
{
    for (int i = 1; i < argc; i++)
        dprintf(1, "%s|", argv[i]);
    return 0;
}

static void run_and_read(const char *program, char *const argv[], char *into, size_t size)
{
    int out[2];
    OK(pipe(out));
    pid_t child = FORK({
        dup2(out[1], 1);
        execv(program, argv);
        FAIL("exec %s: %s", program, strerror(errno));
    });
    close(out[1]);
    size_t used = 0;
    ssize_t n;
    while ((n = read(out[0], into + used, size - 1 - used)) > 0)
        used += n;
    into[used] = 0;
    close(out[0]);
    WAIT_OK(child);
}

TEST(script)
{
    char self[4096], text[5000], seen[5000];
    self[OK(readlink("/proc/self/exe", self, sizeof self - 1))] = 0;
    snprintf(text, sizeof text, "#! %s helper:echo_args\nignored\n", self);
    write_file("script", text);
    OK(chmod("script", 0755));
    char *argv[] = {"argv0", "a", "b c", NULL};
    run_and_read("./script", argv, seen, sizeof seen);
    STREQ(seen, "./script|a|b c|");
    // A script whose interpreter is a script, and one argument with blanks in it.
    write_file("outer", "#!./script  x y \n");
    OK(chmod("outer", 0755));
    run_and_read("./outer", argv, seen, sizeof seen);
    STREQ(seen, "./script|x y|./outer|a|b c|");
}

TEST(script_loop)
{
    write_file("self", "#!./self\n");
    OK(chmod("self", 0755));
    char *argv[] = {"x", NULL};
    FAILS(ELOOP, execv("./self", argv));
}

TEST(fexecve_and_execveat)
{
    char *argv[] = {"x", "helper:status", "5", NULL};
    pid_t child = FORK({
        int fd = OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        fexecve(fd, argv, environ);
    });
    WAIT_STATUS(child, EXITED(5));
    child = FORK({
        int fd = OK(open("/proc/self/exe", O_PATH));
        syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
    });
    WAIT_STATUS(child, EXITED(5));
    OK(symlink("/proc/self/exe", "link"));
    int here = OK(open(".", O_RDONLY | O_DIRECTORY));
    child = FORK({ syscall(SYS_execveat, here, "link", argv, environ, 0); });
    WAIT_STATUS(child, EXITED(5));
    FAILS(ELOOP, syscall(SYS_execveat, here, "link", argv, environ, AT_SYMLINK_NOFOLLOW));
    FAILS(EINVAL, syscall(SYS_execveat, here, "link", argv, environ, 0x8000000));
    FAILS(EBADF, syscall(SYS_execveat, 77, "link", argv, environ, 0));
    // A script by a close-on-exec descriptor cannot be found by its interpreter.
    write_file("s", "#!/bin/sh\n");
    OK(chmod("s", 0755));
    int fd = OK(open("s", O_RDONLY | O_CLOEXEC));
    FAILS(ENOENT, fexecve(fd, argv, environ));
}

HELPER(cloexec)
{
    EQ(fcntl(atoi(argv[1]), F_GETFD), -1);
    EQ(fcntl(atoi(argv[2]), F_GETFD), 0);
    return 0;
}

TEST(close_on_exec)
{
    int a = OK(open("/dev/null", O_RDONLY | O_CLOEXEC)), b = OK(open("/dev/null", O_RDONLY));
    char at[16], bt[16];
    sprintf(at, "%d", a), sprintf(bt, "%d", b);
    pid_t child = FORK({ exec_self("cloexec", at, bt, NULL); });
    WAIT_OK(child);
}

HELPER(signals_after)
{
    struct sigaction sa;
    OK(sigaction(SIGUSR1, NULL, &sa));
    CHECK(sa.sa_handler == SIG_DFL);
    OK(sigaction(SIGUSR2, NULL, &sa));
    CHECK(sa.sa_handler == SIG_IGN);
    sigset_t mask, pending;
    OK(sigprocmask(SIG_BLOCK, NULL, &mask));
    EQ(sigismember(&mask, SIGHUP), 1);
    OK(sigpending(&pending));
    EQ(sigismember(&pending, SIGHUP), 1);
    stack_t st;
    OK(sigaltstack(NULL, &st));
    EQ(st.ss_flags, SS_DISABLE);
    EQ(getpid(), atoi(argv[1]));
    CHECK(alarm(0) > 0);
    return 0;
}
static void handler(int signal) { (void)signal; }

TEST(what_survives)
{
    pid_t child = FORK({
        static char area[16384];
        stack_t st = {.ss_sp = area, .ss_size = sizeof area};
        OK(sigaltstack(&st, NULL));
        signal(SIGUSR1, handler);
        signal(SIGUSR2, SIG_IGN);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGHUP);
        alarm(50);
        char pid[16];
        sprintf(pid, "%d", getpid());
        exec_self("signals_after", pid, NULL);
    });
    WAIT_OK(child);
}

HELPER(auxv)
{
    char self[4096], named[64];
    CHECK(getauxval(AT_PHDR) && getauxval(AT_PHNUM) && getauxval(AT_ENTRY));
    EQ(getauxval(AT_PAGESZ), 4096);
    EQ(getauxval(AT_CLKTCK), 100);
    EQ(getauxval(AT_UID), getuid());
    EQ(getauxval(AT_EGID), getegid());
    EQ(getauxval(AT_SECURE), 0);
    CHECK(getauxval(AT_RANDOM));
    CHECK(getauxval(AT_HWCAP));
    STREQ((char *)getauxval(AT_PLATFORM), "x86_64");
    CHECK(getauxval(AT_EXECFN));
    self[OK(readlink("/proc/self/exe", self, sizeof self - 1))] = 0;
    EQ(self[0], '/');
    snprintf(named, sizeof named, "/proc/%d/auxv", getpid());
    int fd = OK(open(named, O_RDONLY));
    Elf64_auxv_t v[64];
    ssize_t n = OK(read(fd, v, sizeof v));
    CHECK(n >= 16 * 10 && n % 16 == 0);
    EQ(v[n / 16 - 1].a_type, AT_NULL);
    return 0;
}

TEST(auxiliary_vector)
{
    pid_t child = FORK({ exec_self("auxv", NULL); });
    WAIT_OK(child);
}

HELPER(comm)
{
    char name[17] = "";
    OK(prctl(PR_GET_NAME, name));
    STREQ(name, "renamed-program"); // 15 letters, cut
    char line[200];
    read_file("/proc/self/comm", line, sizeof line);
    STREQ(line, "renamed-program\n");
    size_t n = read_file("/proc/self/cmdline", line, sizeof line);
    EQ(n, strlen("zero") + 1 + strlen("helper:comm") + 1);
    STREQ(line, "zero");
    return 0;
}

TEST(name_of_the_process)
{
    OK(symlink("/proc/self/exe", "renamed-program-with-a-long-name"));
    char *argv[] = {"zero", "helper:comm", NULL};
    pid_t child = FORK({ execv("./renamed-program-with-a-long-name", argv); });
    WAIT_OK(child);
}

// By a descriptor alone the name is the file's, and what the program is told of its path the descriptor's.
HELPER(by_descriptor)
{
    char line[64] = "";
    read_file("/proc/self/comm", line, sizeof line);
    STREQ(line, argv[1]);
    STREQ((char *)getauxval(AT_EXECFN), argv[2]);
    return 0;
}

TEST(name_of_a_process_by_descriptor)
{
    OK(mkdir("folder", 0755));
    OK(symlink("/proc/self/exe", "folder/other"));
    int copy = OK(open("the-program", O_CREAT | O_WRONLY, 0755)), self = OK(open("/proc/self/exe", O_RDONLY));
    while (sendfile(copy, self, NULL, 1 << 20) > 0)
        ;
    OK(close(copy));
    int fd = OK(open("the-program", O_RDONLY)), folder = OK(open("folder", O_RDONLY));
    char told[64];
    snprintf(told, sizeof told, "/dev/fd/%d", fd);
    pid_t child = FORK({
        char *argv[] = {"zero", "helper:by_descriptor", "the-program\n", told, NULL};
        syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
    });
    WAIT_OK(child);
    snprintf(told, sizeof told, "/dev/fd/%d/other", folder);
    child = FORK({
        char *argv[] = {"zero", "helper:by_descriptor", "other\n", told, NULL};
        syscall(SYS_execveat, folder, "other", argv, environ, 0);
    });
    WAIT_OK(child);
}

static void *exec_in_thread(void *arg)
{
    exec_self("leader", arg, NULL);
    return NULL;
}
HELPER(leader)
{
    EQ(getpid(), atoi(argv[1]));
    EQ(getpid(), syscall(SYS_gettid));
    char line[4096];
    read_file("/proc/self/status", line, sizeof line);
    CHECK(strstr(line, "Threads:\t1\n"));
    return 21;
}
static void *sleeper(void *arg)
{
    for (;;)
        pause();
    return arg;
}

TEST(from_a_thread_that_does_not_lead)
{
    pid_t child = FORK({
        char pid[16];
        pthread_t threads[8];
        sprintf(pid, "%d", getpid());
        for (int i = 0; i < 7; i++)
            ZERO(pthread_create(&threads[i], NULL, sleeper, NULL));
        ZERO(pthread_create(&threads[7], NULL, exec_in_thread, pid));
        for (;;)
            pause();
    });
    WAIT_STATUS(child, EXITED(21));
}

TEST(exec_is_whole_while_others_fork)
{
    for (int round = 0; round < 5; round++) {
        pid_t child = FORK({
            pthread_t thread;
            char pid[16];
            sprintf(pid, "%d", getpid());
            ZERO(pthread_create(&thread, NULL, exec_in_thread, pid));
            for (;;) {
                pid_t grandchild = fork();
                if (grandchild == 0)
                    _exit(0);
                if (grandchild > 0)
                    waitpid(grandchild, NULL, 0);
            }
        });
        WAIT_STATUS(child, EXITED(21));
    }
}

#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif

TEST(the_auxiliary_vector_by_prctl)
{
    unsigned long seen[200], file[200];
    memset(seen, 0xff, sizeof seen), memset(file, 0, sizeof file);
    int size = prctl(PR_GET_AUXV, seen, sizeof seen, 0, 0);
    if (size == -1 && errno == EINVAL)
        SKIP("before Linux 6.4");
    CHECK(size > 0 && size <= (int)sizeof seen && size % 16 == 0);
    int fd = OK(open("/proc/self/auxv", O_RDONLY));
    ssize_t len = OK(read(fd, file, sizeof file));
    CHECK(len <= size);
    EQ(memcmp(seen, file, size), 0); // zero behind its end
    EQ(seen[size / 8], ~0ul);
    memset(seen, 0xff, sizeof seen);
    EQ(prctl(PR_GET_AUXV, seen, 20, 0, 0), size);
    EQ(memcmp(seen, file, 20), 0);
    EQ(((unsigned char *)seen)[20], 0xff);
    EQ(prctl(PR_GET_AUXV, NULL, 0, 0, 0), size);
    FAILS(EFAULT, prctl(PR_GET_AUXV, 8, 20, 0, 0));
    FAILS(EINVAL, prctl(PR_GET_AUXV, seen, 20, 1, 0));
}

MAIN()
