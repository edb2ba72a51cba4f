// Programs that no linker makes: what execve(2) says of them, or what becomes of the process that got through. elf(5).
#include "check.h"
#include <elf.h>
#include <stddef.h>

#define PAGE 4096ul
#define BASE 0x10000000ul
#define MOST 1200

// What is written down; the file itself is as long as its last part.
static struct {
    Elf64_Ehdr head;
    Elf64_Phdr part[MOST];
    int parts;
    size_t length;
    const char *interpreter;
    size_t interpreter_size;
} elf;

// exit(42), which is where programs begin if nothing else is said.
static const unsigned char code[] = {0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05};
#define CODE 0x800

static void start(int type)
{
    memset(&elf, 0, sizeof elf);
    memcpy(elf.head.e_ident, "\x7f" "ELF\2\1\1", 7);
    elf.head.e_type = type, elf.head.e_machine = EM_X86_64, elf.head.e_version = 1;
    elf.head.e_entry = (type == ET_EXEC ? BASE : 0) + CODE, elf.head.e_phoff = 64;
    elf.head.e_ehsize = 64, elf.head.e_phentsize = 56;
    elf.length = PAGE;
}
static Elf64_Phdr *part(int type, int flags, uint64_t offset, uint64_t address, uint64_t file, uint64_t memory)
{
    Elf64_Phdr *p = &elf.part[elf.parts++];
    *p = (Elf64_Phdr){type, flags, offset, address, address, file, memory, PAGE};
    return p;
}
// The page with the headers and the code.
static void text(void) { part(PT_LOAD, PF_R | PF_X, 0, elf.head.e_type == ET_EXEC ? BASE : 0, PAGE, PAGE); }
static void linker(const char *path, size_t size)
{
    elf.interpreter = path, elf.interpreter_size = size;
    part(PT_INTERP, PF_R, CODE + 64, 0, size, size);
}
static void build(const char *name)
{
    if (!elf.head.e_phnum)
        elf.head.e_phnum = elf.parts;
    int fd = OK(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0755));
    size_t table = elf.parts * sizeof *elf.part;
    EQ(pwrite(fd, &elf.head, sizeof elf.head, 0), 64);
    EQ(pwrite(fd, elf.part, table, elf.head.e_phoff), (ssize_t)table);
    if (64 + table <= CODE)
        EQ(pwrite(fd, code, sizeof code, CODE), (ssize_t)sizeof code);
    if (elf.interpreter)
        EQ(pwrite(fd, elf.interpreter, elf.interpreter_size, CODE + 64), (ssize_t)elf.interpreter_size);
    OK(ftruncate(fd, elf.length));
    close(fd);
}

// How a program ended: a wait status, or -errno of its exec.
static int outcome(const char *name)
{
    int report[2], error = 0, status;
    OK(pipe2(report, O_CLOEXEC));
    pid_t child = FORK({
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        char *argv[] = {(char *)name, NULL};
        execv(name, argv);
        int why = errno;
        write(report[1], &why, sizeof why);
        _exit(1);
    });
    close(report[1]);
    ssize_t got = read(report[0], &error, sizeof error);
    close(report[0]);
    EQ(waitpid(child, &status, 0), child);
    return got == sizeof error ? -error : status;
}
#define OUTCOME(wanted)                                                                                                \
    do {                                                                                                               \
        build("program");                                                                                              \
        EQ(outcome("./program"), wanted);                                                                              \
    } while (0)

TEST(the_frame_makes_programs)
{
    start(ET_EXEC), text();
    OUTCOME(EXITED(42));
    start(ET_DYN), text();
    OUTCOME(EXITED(42));
}

TEST(segments_that_overlap)
{
    // The later one is mapped over the one before.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_X, 0, BASE, PAGE, PAGE);
    OUTCOME(EXITED(42));
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, PAGE, BASE, 0, PAGE);
    elf.length = 2 * PAGE;
    build("program");
    int status = outcome("./program");
    // Memory without a file over the code, or beside it: kernels before 6.10 took brk's place for it.
    CHECK(status == KILLED(SIGSEGV) || status == EXITED(42) || status == KILLED(SIGKILL) || status == -EEXIST);
    // In no order.
    start(ET_EXEC);
    part(PT_LOAD, PF_R | PF_W, 0, BASE + 8 * PAGE, PAGE, PAGE);
    text();
    OUTCOME(EXITED(42));
}

TEST(addresses_of_nobody)
{
    // At the end of what a process may have, and beyond; at the beginning.
    uint64_t addresses[] = {0x7ffffffff000, 0x7fffffffe000, 0x800000000000, 0xffff800000000000, 0xfffffffffffff000};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        start(ET_EXEC), text();
        part(PT_LOAD, PF_R | PF_W, 0, addresses[i], PAGE, PAGE);
        build("program");
        int status = outcome("./program");
        // The last page may be one that the kernel can map.
        CHECK(status == -EINVAL || status == -ENOMEM || status == KILLED(SIGSEGV) || status == KILLED(SIGKILL) || (i < 2 && status == EXITED(42)));
    }
    start(ET_EXEC);
    part(PT_LOAD, PF_R | PF_X, 0, 0, PAGE, PAGE);
    elf.head.e_entry = CODE;
    build("program");
    int status = outcome("./program");
    // Root may map it, where vm.mmap_min_addr is not in the way.
    CHECK(status == -EPERM || status == KILLED(SIGSEGV) || status == EXITED(42));
}

TEST(every_address_in_turn)
{
    // Wherever the kernel keeps something of its own in a process, a program that wants to be there too harms itself alone.
    for (uint64_t at = 1ul << 46; at < 1ul << 47; at += 1ul << 42) {
        start(ET_EXEC), text();
        part(PT_LOAD, PF_R | PF_W, 0, at, PAGE, 1ul << 42);
        build("program");
        int status = outcome("./program");
        CHECK(status == -ENOMEM || status == -EINVAL || status == EXITED(42) || WIFSIGNALED(status));
    }
}

TEST(sizes_that_overflow)
{
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, 0, BASE + PAGE, PAGE, -BASE);
    build("program");
    int status = outcome("./program");
    CHECK(status == -EINVAL || status == -ENOMEM || status == KILLED(SIGSEGV) || status == KILLED(SIGKILL));
    // More in the file than in memory.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, 0, BASE + PAGE, PAGE, PAGE / 2);
    build("program");
    status = outcome("./program");
    CHECK(status == -EINVAL || status == KILLED(SIGSEGV) || status == KILLED(SIGKILL));
    // Beyond what a file can have.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, 0x7ffffffffffff000, BASE + PAGE, PAGE, PAGE);
    build("program");
    status = outcome("./program");
    CHECK(status < 0 || WIFSIGNALED(status));
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, -PAGE, BASE + PAGE, 2 * PAGE, 2 * PAGE);
    build("program");
    status = outcome("./program");
    CHECK(status < 0 || WIFSIGNALED(status));
    // An address that does not go with its offset.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, 1, BASE + PAGE, 16, 16);
    build("program");
    status = outcome("./program");
    CHECK(status == -EINVAL || WIFSIGNALED(status));
}

TEST(a_file_that_ends_too_early)
{
    // The code itself is not there.
    start(ET_EXEC);
    part(PT_LOAD, PF_R | PF_X, PAGE, BASE, PAGE, PAGE);
    OUTCOME(KILLED(SIGBUS));
    // The zeroes behind the end of the file's part would lie on a page that is not there.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, PAGE, BASE + PAGE, 100, 2 * PAGE);
    build("program");
    int status = outcome("./program");
    CHECK(status < 0 || WIFSIGNALED(status));
    // Only the headers.
    start(ET_EXEC), text();
    elf.length = 64 + 56;
    build("program");
    status = outcome("./program");
    // What is behind the end on its last page reads as zeroes.
    CHECK(status == KILLED(SIGSEGV) || status == KILLED(SIGILL));
    start(ET_EXEC), text();
    elf.length = 64 + 55;
    build("program");
    status = outcome("./program");
    CHECK(status == -ENOEXEC || status == -EIO);
}

TEST(many_headers)
{
    // Of all that fit Linux' limit, and one more.
    start(ET_EXEC), text();
    for (int i = 1; i < 1170; i++)
        part(PT_NOTE, PF_R, 0, 0, 0, 0);
    elf.head.e_phoff = PAGE, elf.length = PAGE + 1170 * 56;
    build("program");
    int fd = OK(open("program", O_WRONLY));
    EQ(pwrite(fd, code, sizeof code, CODE), (ssize_t)sizeof code);
    close(fd);
    EQ(outcome("./program"), EXITED(42));
    start(ET_EXEC), text();
    for (int i = 1; i < 1171; i++)
        part(PT_NOTE, PF_R, 0, 0, 0, 0);
    elf.head.e_phoff = PAGE, elf.length = PAGE + 1171 * 56;
    OUTCOME(-ENOEXEC);
    // A thousand segments, each a page of its own.
    start(ET_EXEC), text();
    for (int i = 1; i < 1000; i++)
        part(PT_LOAD, PF_R | (i % 2 ? PF_W : 0), 0, BASE + i * 2 * PAGE, PAGE, PAGE);
    elf.head.e_phoff = PAGE, elf.length = PAGE + 1000 * 56;
    build("program");
    fd = OK(open("program", O_WRONLY));
    EQ(pwrite(fd, code, sizeof code, CODE), (ssize_t)sizeof code);
    close(fd);
    EQ(outcome("./program"), EXITED(42));
    // No headers; headers of another size; a table that is not in the file.
    start(ET_EXEC), build("program");
    EQ(outcome("./program"), -ENOEXEC);
    start(ET_EXEC), text(), elf.head.e_phentsize = 55;
    OUTCOME(-ENOEXEC);
    start(ET_EXEC), text(), elf.head.e_phnum = 65535;
    OUTCOME(-ENOEXEC);
    start(ET_EXEC), text(), build("program");
    fd = OK(open("program", O_WRONLY));
    uint64_t far[] = {-1ul, 1ul << 62, -56ul};
    for (int i = 0; i < 3; i++) {
        EQ(pwrite(fd, &far[i], 8, offsetof(Elf64_Ehdr, e_phoff)), 8);
        close(fd);
        int status = outcome("./program");
        CHECK(status == -ENOEXEC || status == -EIO || status == -EINVAL);
        fd = OK(open("program", O_WRONLY));
    }
    close(fd);
}

TEST(interpreters_in_a_circle)
{
    // A program that is its own interpreter is one all the same: what that one names does not count.
    start(ET_DYN), linker("./program", 10), text();
    OUTCOME(EXITED(42));
    start(ET_DYN), linker("./other", 8), text(), build("program");
    start(ET_DYN), linker("./program", 10), text(), build("other");
    EQ(outcome("./program"), EXITED(42));
    // Scripts of scripts: five may follow each other.
    start(ET_EXEC), text(), build("s0");
    for (int i = 1; i <= 7; i++) {
        char name[8], line[16];
        snprintf(name, sizeof name, "s%d", i);
        snprintf(line, sizeof line, "#!./s%d\n", i - 1);
        write_file(name, line);
        OK(chmod(name, 0755));
    }
    EQ(outcome("./s4"), EXITED(42));
    EQ(outcome("./s5"), EXITED(42));
    EQ(outcome("./s6"), -ELOOP);
    // A script is no interpreter of a program.
    start(ET_DYN), linker("./s1", 5), text();
    OUTCOME(-EIO); // too short for a header
    OK(truncate("s1", 64));
    OUTCOME(-ELIBBAD);
}

TEST(paths_of_interpreters)
{
    start(ET_DYN), text(), build("ld");
    start(ET_DYN), linker("./ld", 5), text();
    OUTCOME(EXITED(42));
    // Without its zero; empty; a file that is not there, a folder, no program at all.
    start(ET_DYN), linker("./ld", 4), text();
    OUTCOME(-ENOEXEC);
    start(ET_DYN), linker("", 1), text();
    OUTCOME(-ENOEXEC);
    start(ET_DYN), linker("\0", 2), text();
    OUTCOME(-EACCES); // the current folder
    start(ET_DYN), linker("./none", 7), text();
    OUTCOME(-ENOENT);
    start(ET_DYN), linker("/", 2), text();
    OUTCOME(-EACCES);
    write_file("words", "no program");
    OK(chmod("words", 0755));
    start(ET_DYN), linker("./words", 8), text();
    build("program");
    int status = outcome("./program");
    CHECK(status == -ELIBBAD || status == -EIO);
    // Longer than a path can be; beyond the file's end.
    static char path[5000];
    memset(path, '/', sizeof path - 1);
    start(ET_DYN), text();
    elf.interpreter = path, elf.interpreter_size = sizeof path;
    part(PT_INTERP, PF_R, CODE + 64, 0, sizeof path, sizeof path);
    elf.length = 3 * PAGE;
    OUTCOME(-ENOEXEC);
    start(ET_DYN), text();
    part(PT_INTERP, PF_R, 1ul << 40, 0, 8, 8);
    OUTCOME(-EIO);
}

TEST(entries_outside)
{
    uint64_t entries[] = {0, 16, BASE + PAGE, 0x7ffffffff000, 0x8000000000000000, -1ul};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        start(ET_EXEC), text(), elf.head.e_entry = entries[i];
        build("program");
        int status = outcome("./program");
        CHECK(status == KILLED(SIGSEGV) || status == KILLED(SIGILL));
    }
    // Without the right to execute.
    start(ET_EXEC);
    part(PT_LOAD, PF_R, 0, BASE, PAGE, PAGE);
    OUTCOME(KILLED(SIGSEGV));
}

TEST(a_stack_that_may_execute)
{
    start(ET_EXEC), text();
    part(PT_GNU_STACK, PF_R | PF_W | PF_X, 0, 0, 0, 0);
    OUTCOME(EXITED(42));
    // Code that puts `exit(42)` on the stack and jumps there.
    static const unsigned char jump[] = {
        0x48, 0x83, 0xec, 16,                                                     // sub $16, %rsp
        0xc7, 0x04, 0x24, 0xb8, 60, 0, 0,                                         // movl $.., (%rsp)
        0xc7, 0x44, 0x24, 4, 0, 0xbf, 42, 0,                                      // movl $.., 4(%rsp)
        0xc7, 0x44, 0x24, 8, 0, 0, 0x0f, 0x05,                                    // movl $.., 8(%rsp)
        0xff, 0xe4,                                                               // jmp *%rsp
    };
    for (int exec = 0; exec < 2; exec++) {
        start(ET_EXEC), text();
        part(PT_GNU_STACK, PF_R | PF_W | (exec ? PF_X : 0), 0, 0, 0, 0);
        build("program");
        int fd = OK(open("program", O_WRONLY));
        EQ(pwrite(fd, jump, sizeof jump, CODE), (ssize_t)sizeof jump);
        close(fd);
        EQ(outcome("./program"), exec ? EXITED(42) : KILLED(SIGSEGV));
    }
}

TEST(a_huge_bss)
{
    // As much as there are addresses, or nearly; one that is never touched costs nothing.
    start(ET_EXEC), text();
    part(PT_LOAD, PF_R | PF_W, 0, BASE + PAGE, 0, 1ul << 30);
    OUTCOME(EXITED(42));
    uint64_t sizes[] = {1ul << 45, (1ul << 47) - BASE - 2 * PAGE, 1ul << 47, 1ul << 62};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        start(ET_EXEC), text();
        part(PT_LOAD, PF_R | PF_W, 0, BASE + PAGE, 0, sizes[i]);
        build("program");
        int status = outcome("./program");
        // Beside the stack there is not that much: whoever notices, nobody else suffers.
        CHECK(status == -ENOMEM || status == -EINVAL || status == EXITED(42) || WIFSIGNALED(status));
    }
}

TEST(odd_headers)
{
    struct { int at, value, wanted; } bytes[] = {
        {4, 1, EXITED(42)},   // that it has 32 bits is not looked at: its machine has 64
        {5, 2, EXITED(42)},
        {0, 'x', -ENOEXEC},
        {16, 1, -ENOEXEC},   // ET_REL
        {16, 4, -ENOEXEC},   // ET_CORE
        {18, 0xb7, -ENOEXEC}, // EM_AARCH64
    };
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        start(ET_EXEC), text(), build("program");
        int fd = OK(open("program", O_WRONLY));
        EQ(pwrite(fd, &bytes[i].value, 1, bytes[i].at), 1);
        close(fd);
        EQ(outcome("./program"), bytes[i].wanted);
    }
    // A part without any size is no part, and a program needs one.
    start(ET_EXEC);
    part(PT_LOAD, PF_R | PF_X, 0, BASE, 0, 0);
    build("program");
    int status = outcome("./program");
    CHECK(status < 0 || WIFSIGNALED(status));
}
MAIN()
