// Programs that decide about a control group's devices: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.
#include "check.h"
#include <linux/bpf.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

static char top[64]; // the case's own group, in the folder where cgroup2 is mounted

static long bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }
#define INSN(code_, dst, src, off_, imm_) ((struct bpf_insn){.code = code_, .dst_reg = dst, .src_reg = src, .off = off_, .imm = imm_})
#define LOAD(reg, at) INSN(BPF_LDX | BPF_MEM | BPF_W, reg, 1, at, 0)
#define RETURN(value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
// Past the RETURN that follows, unless it holds.
#define UNLESS(jump, reg, value) INSN(BPF_JMP | jump | BPF_K, reg, 0, 2, value)
static char refusal[4096];
static int load_program(const struct bpf_insn *insns, int count)
{
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uint64_t)insns, .insn_cnt = count, .license = (uint64_t)"GPL",
                           .log_level = 1, .log_size = sizeof refusal, .log_buf = (uint64_t)refusal};
    memcpy(attr.prog_name, "devices", 8);
    return bpf(BPF_PROG_LOAD, &attr);
}
#define PROGRAM(...) load_program((struct bpf_insn[]){__VA_ARGS__}, sizeof((struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn))
// Refuses one minor of major 1.
#define WITHOUT(minor) OK(PROGRAM(LOAD(2, 4), LOAD(3, 8), INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 3, 1), UNLESS(BPF_JNE, 3, minor), RETURN(0), RETURN(1)))

static int folder(const char *group)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", top, group);
    return OK(open(path, O_RDONLY | O_DIRECTORY));
}
static int attach(const char *group, int program, int flags, int replaced)
{
    int target = folder(group);
    union bpf_attr attr = {.target_fd = target, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE, .attach_flags = flags, .replace_bpf_fd = replaced};
    int result = bpf(BPF_PROG_ATTACH, &attr), error = errno;
    close(target);
    errno = error;
    return result;
}
static int detach(const char *group, int program)
{
    int target = folder(group);
    union bpf_attr attr = {.target_fd = target, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE};
    int result = bpf(BPF_PROG_DETACH, &attr), error = errno;
    close(target);
    errno = error;
    return result;
}
// Runs code in a group.
#define INSIDE(group, ...)                                                                                             \
    do {                                                                                                               \
        pid_t inside_ = OK(fork());                                                                                    \
        if (inside_ == 0) {                                                                                            \
            char path_[128];                                                                                           \
            snprintf(path_, sizeof path_, "%s/%s/cgroup.procs", top, group);                                           \
            int procs_ = OK(open(path_, O_WRONLY));                                                                    \
            EQ(write(procs_, "0", 1), 1);                                                                              \
            __VA_ARGS__;                                                                                               \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        int status_;                                                                                                   \
        OK(waitpid(inside_, &status_, 0));                                                                             \
        EQ(status_, 0);                                                                                                \
    } while (0)

#define GROUPS                                                                                                         \
    if (PROGRAM(RETURN(1)) < 0 && (errno == EPERM || errno == ENOSYS))                                                 \
        SKIP("no bpf(2)");                                                                                             \
    struct stat here_;                                                                                                 \
    OK(stat(".", &here_));                                                                                             \
    OK(mkdir("cg", 0700)), OK(mount("none", "cg", "cgroup2", 0, NULL)), OK(chdir("cg"));                               \
    snprintf(top, sizeof top, "d%lx", here_.st_ino);                                                                   \
    OK(mkdir(top, 0755)), OK(chdir(top)), OK(mkdir("a", 0755)), OK(mkdir("a/b", 0755)), OK(chdir(".."));               \
    pid_t cleaner_ = OK(fork());                                                                                       \
    if (cleaner_) {                                                                                                    \
        int end_;                                                                                                      \
        OK(waitpid(cleaner_, &end_, 0));                                                                               \
        OK(chdir(top));                                                                                                \
        for (int n_ = 0; n_ < 100 && (rmdir("a/b"), rmdir("a")) && access("a", F_OK) == 0; n_++)                        \
            usleep(10000);                                                                                             \
        OK(chdir("..")), OK(rmdir(top));                                                                               \
        _exit(WIFEXITED(end_) ? WEXITSTATUS(end_) : 1);                                                                \
    }

TEST(devices_of_a_list_and_no_others)
{
    GROUPS;
    // As a container runtime's: read and write of 1:3 and 1:5 (read alone), nothing else.
    int program = OK(PROGRAM(LOAD(2, 0), INSN(BPF_ALU | BPF_MOV | BPF_X, 6, 2, 0, 0), INSN(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff),
                             INSN(BPF_ALU | BPF_RSH | BPF_K, 6, 0, 0, 16), LOAD(4, 4), LOAD(5, 8),
                             INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 9, BPF_DEVCG_DEV_CHAR), INSN(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 8, 1),
                             INSN(BPF_JMP | BPF_JSET | BPF_K, 6, 0, 7, BPF_DEVCG_ACC_MKNOD), UNLESS(BPF_JNE, 5, 3), RETURN(1),
                             INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 3, 5), UNLESS(BPF_JSET, 6, BPF_DEVCG_ACC_WRITE), RETURN(1), RETURN(0)));
    ZERO(attach("a", program, BPF_F_ALLOW_MULTI, 0));
    int before = OK(open("/dev/full", O_RDWR));
    INSIDE("a/b", {
        OK(open("/dev/null", O_RDWR));
        OK(open("/dev/zero", O_RDONLY));
        FAILS(EPERM, open("/dev/zero", O_RDWR));
        FAILS(EPERM, open("/dev/full", O_RDONLY));
        OK(open("/dev/full", O_PATH));
        FAILS(ENOSPC, write(before, "x", 1)); // what is open stays so
        OK(chdir("/tmp"));
        FAILS(EPERM, mknod("stockade-null", S_IFCHR | 0600, makedev(1, 3)));
        ZERO(mknod("stockade-whiteout", S_IFCHR | 0600, 0)); ZERO(unlink("stockade-whiteout"));
        ZERO(mkfifo("stockade-fifo", 0600)); ZERO(unlink("stockade-fifo"));
    });
    OK(open("/dev/full", O_RDONLY));
    ZERO(detach("a", program));
    INSIDE("a/b", OK(open("/dev/full", O_RDONLY)));
    FAILS(ENOENT, detach("a", program));
}

TEST(all_must_agree_or_the_nearest_decides)
{
    GROUPS;
    int no_null = WITHOUT(3), no_zero = WITHOUT(5), no_full = WITHOUT(7);
    ZERO(attach("a", no_null, BPF_F_ALLOW_MULTI, 0));
    ZERO(attach("a", no_zero, BPF_F_ALLOW_MULTI, 0));
    FAILS(EINVAL, attach("a", no_zero, BPF_F_ALLOW_MULTI, 0));
    FAILS(EPERM, attach("a", no_full, 0, 0));
    ZERO(attach("a/b", no_full, BPF_F_ALLOW_MULTI, 0));
    INSIDE("a", {
        FAILS(EPERM, open("/dev/null", O_RDONLY));
        FAILS(EPERM, open("/dev/zero", O_RDONLY));
        OK(open("/dev/full", O_RDONLY));
    });
    INSIDE("a/b", {
        FAILS(EPERM, open("/dev/null", O_RDONLY));
        FAILS(EPERM, open("/dev/full", O_RDONLY));
        OK(open("/dev/random", O_RDONLY));
    });
    ZERO(attach("a", no_full, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, no_null));
    FAILS(ENOENT, attach("a", WITHOUT(8), BPF_F_ALLOW_MULTI | BPF_F_REPLACE, no_null));
    INSIDE("a", {
        OK(open("/dev/null", O_RDONLY));
        FAILS(EPERM, open("/dev/full", O_RDONLY));
    });
    ZERO(detach("a/b", no_full)); ZERO(detach("a", no_full)); ZERO(detach("a", no_zero));

    ZERO(attach("a", no_null, BPF_F_ALLOW_OVERRIDE, 0));
    ZERO(attach("a/b", no_zero, BPF_F_ALLOW_OVERRIDE, 0));
    INSIDE("a/b", {
        OK(open("/dev/null", O_RDONLY));
        FAILS(EPERM, open("/dev/zero", O_RDONLY));
    });
    ZERO(attach("a/b", no_full, BPF_F_ALLOW_OVERRIDE, 0)); // in its place
    INSIDE("a/b", {
        OK(open("/dev/zero", O_RDONLY));
        FAILS(EPERM, open("/dev/full", O_RDONLY));
    });
    ZERO(detach("a/b", 0));
    INSIDE("a/b", FAILS(EPERM, open("/dev/null", O_RDONLY)));
    ZERO(detach("a", 0));

    ZERO(attach("a", no_null, 0, 0));
    FAILS(EPERM, attach("a/b", no_zero, 0, 0));
    FAILS(EPERM, attach("a/b", no_zero, BPF_F_ALLOW_MULTI, 0));
    ZERO(detach("a", 0));
}

TEST(what_is_attached_is_told)
{
    GROUPS;
    int one = WITHOUT(3), two = WITHOUT(5);
    ZERO(attach("a", one, BPF_F_ALLOW_MULTI, 0));
    ZERO(attach("a/b", two, BPF_F_ALLOW_MULTI, 0));
    uint32_t ids[4] = {0};
    int target = folder("a/b");
    union bpf_attr attr = {.query = {.target_fd = target, .attach_type = BPF_CGROUP_DEVICE}};
    ZERO(bpf(BPF_PROG_QUERY, &attr));
    EQ(attr.query.prog_cnt, 1);
    EQ(attr.query.attach_flags, BPF_F_ALLOW_MULTI);
    attr = (union bpf_attr){.query = {.target_fd = target, .attach_type = BPF_CGROUP_DEVICE, .query_flags = BPF_F_QUERY_EFFECTIVE, .prog_ids = (uint64_t)ids, .prog_cnt = 1}};
    FAILS(ENOSPC, bpf(BPF_PROG_QUERY, &attr));
    attr.query.prog_cnt = 4;
    ZERO(bpf(BPF_PROG_QUERY, &attr));
    EQ(attr.query.prog_cnt, 2);

    struct bpf_prog_info info = {0};
    attr = (union bpf_attr){.info = {.bpf_fd = one, .info_len = sizeof info, .info = (uint64_t)&info}};
    ZERO(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
    EQ(info.type, BPF_PROG_TYPE_CGROUP_DEVICE);
    CHECK(info.id == ids[0] || info.id == ids[1]);
    STREQ(info.name, "devices");
    CHECK(info.xlated_prog_len > 0);
    attr = (union bpf_attr){.prog_id = info.id};
    int again = OK(bpf(BPF_PROG_GET_FD_BY_ID, &attr));
    ZERO(detach("a", again)); // by another descriptor
    close(one), close(again);
    attr = (union bpf_attr){.query = {.target_fd = folder("a"), .attach_type = BPF_CGROUP_DEVICE}};
    ZERO(bpf(BPF_PROG_QUERY, &attr));
    EQ(attr.query.prog_cnt, 0);
    ZERO(detach("a/b", two));
    FAILS(EBADF, attach("a", 1000, BPF_F_ALLOW_MULTI, 0));
    attr = (union bpf_attr){.target_fd = OK(open("/", O_RDONLY)), .attach_bpf_fd = two, .attach_type = BPF_CGROUP_DEVICE};
    FAILS(EBADF, bpf(BPF_PROG_ATTACH, &attr));

    // How libraries find out whether programs can be attached, and replaced.
    struct bpf_insn insns[] = {RETURN(0)};
    attr = (union bpf_attr){.prog_type = BPF_PROG_TYPE_CGROUP_SKB, .insns = (uint64_t)insns, .insn_cnt = 2, .license = (uint64_t)"MIT"};
    int packets = OK(bpf(BPF_PROG_LOAD, &attr));
    attr = (union bpf_attr){.target_fd = ~0u, .attach_bpf_fd = packets, .attach_type = BPF_CGROUP_INET_INGRESS, .attach_flags = BPF_F_REPLACE};
    FAILS(EBADF, bpf(BPF_PROG_ATTACH, &attr));
    FAILS(EINVAL, attach("a", packets, BPF_F_ALLOW_MULTI, 0));
}

TEST(programs_that_could_do_harm)
{
    GROUPS;
    FAILS(EINVAL, PROGRAM(INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1)));
    FAILS(EACCES, PROGRAM(INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)));
    CHECK(*refusal);
    FAILS(EINVAL, PROGRAM(INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1), INSN(BPF_JMP | BPF_JA, 0, 0, -2, 0), RETURN(1)));
    FAILS(EACCES, PROGRAM(LOAD(2, 12), RETURN(1)));
    FAILS(EACCES, PROGRAM(LOAD(2, -4), RETURN(1)));
    FAILS(EINVAL, PROGRAM(INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1), INSN(BPF_ALU64 | BPF_DIV | BPF_K, 0, 0, 0, 0), RETURN(1)));
    FAILS(EINVAL, PROGRAM(INSN(BPF_ALU64 | BPF_MOV | BPF_K, 11, 0, 0, 1), RETURN(1)));
    FAILS(EINVAL, PROGRAM(INSN(0xff, 0, 0, 0, 0), RETURN(1)));
    FAILS(E2BIG, load_program((struct bpf_insn[]){RETURN(1)}, 0));
    FAILS(EFAULT, load_program((void *)8, 2));
}

TEST(without_the_capability_there_is_none)
{
    pid_t child = FORK({
        OK(setgid(1000)), OK(setuid(1000));
        FAILS(EPERM, PROGRAM(RETURN(1)));
    });
    WAIT_OK(child);
}

TEST(whiteouts_are_anybodys)
{
    ZERO(mkdir("open", 0700));
    ZERO(mount("tmpfs", "open", "tmpfs", 0, "mode=777")); // an overlay renames without whiteouts
    pid_t child = FORK({
        OK(setgid(1000)), OK(setuid(1000));
        ZERO(mknod("open/whiteout", S_IFCHR | 0600, 0));
        FAILS(EPERM, mknod("open/null", S_IFCHR | 0600, makedev(1, 3)));
        int fd = OK(open("open/file", O_CREAT | O_WRONLY, 0600));
        close(fd);
        ZERO(syscall(SYS_renameat2, AT_FDCWD, "open/file", AT_FDCWD, "open/moved", 4)); // RENAME_WHITEOUT
    });
    WAIT_OK(child);
}
MAIN()
