//! Processes and threads: clone(2), wait4(2), waitid(2), prctl(2), capabilities(7), getrlimit(2), getrusage(2), sched(7), personality(2), ptrace(2).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::time::Timeval;

pub use linux_raw_sys::general::NGROUPS_MAX;
pub use linux_raw_sys::general::{
    __WALL, __WCLONE, __WNOTHREAD, P_ALL, P_PGID, P_PID, P_PIDFD, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED,
    WUNTRACED,
};
pub use linux_raw_sys::general::{
    _LINUX_CAPABILITY_VERSION_1, _LINUX_CAPABILITY_VERSION_2, _LINUX_CAPABILITY_VERSION_3, CAP_AUDIT_CONTROL,
    CAP_AUDIT_READ, CAP_AUDIT_WRITE, CAP_BLOCK_SUSPEND, CAP_BPF, CAP_CHECKPOINT_RESTORE, CAP_CHOWN, CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_KILL, CAP_LAST_CAP, CAP_LEASE,
    CAP_LINUX_IMMUTABLE, CAP_MAC_ADMIN, CAP_MAC_OVERRIDE, CAP_MKNOD, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE,
    CAP_NET_BROADCAST, CAP_NET_RAW, CAP_PERFMON, CAP_SETFCAP, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_ADMIN,
    CAP_SYS_BOOT, CAP_SYS_CHROOT, CAP_SYS_MODULE, CAP_SYS_NICE, CAP_SYS_PACCT, CAP_SYS_PTRACE, CAP_SYS_RAWIO,
    CAP_SYS_RESOURCE, CAP_SYS_TIME, CAP_SYS_TTY_CONFIG, CAP_SYSLOG, CAP_WAKE_ALARM, VFS_CAP_FLAGS_EFFECTIVE,
    VFS_CAP_FLAGS_MASK, VFS_CAP_REVISION, VFS_CAP_REVISION_1, VFS_CAP_REVISION_2, VFS_CAP_REVISION_3,
    VFS_CAP_REVISION_MASK, VFS_CAP_REVISION_SHIFT, VFS_CAP_U32, VFS_CAP_U32_1, VFS_CAP_U32_2, VFS_CAP_U32_3,
};
pub use linux_raw_sys::general::{
    CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_VER1, CLONE_ARGS_SIZE_VER2, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID,
    CLONE_CLEAR_SIGHAND, CLONE_DETACHED, CLONE_FILES, CLONE_FS, CLONE_INTO_CGROUP, CLONE_IO, CLONE_NEWCGROUP,
    CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PARENT,
    CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_PTRACE, CLONE_SETTLS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD,
    CLONE_UNTRACED, CLONE_VFORK, CLONE_VM, CSIGNAL,
};
pub use linux_raw_sys::general::{PRIO_PGRP, PRIO_PROCESS, PRIO_USER};
pub use linux_raw_sys::general::{
    RLIM_NLIMITS, RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_LOCKS, RLIMIT_MEMLOCK,
    RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_RSS, RLIMIT_RTPRIO, RLIMIT_RTTIME,
    RLIMIT_SIGPENDING, RLIMIT_STACK,
};
pub use linux_raw_sys::general::{RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD};
pub use linux_raw_sys::general::{
    SCHED_BATCH, SCHED_DEADLINE, SCHED_EXT, SCHED_FIFO, SCHED_FLAG_ALL, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_ALL,
    SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_RECLAIM, SCHED_FLAG_RESET_ON_FORK,
    SCHED_FLAG_UTIL_CLAMP, SCHED_FLAG_UTIL_CLAMP_MAX, SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_IDLE, SCHED_NORMAL,
    SCHED_RESET_ON_FORK, SCHED_RR,
};
pub use linux_raw_sys::prctl::{
    PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP, PR_CAPBSET_READ, PR_ENDIAN_BIG, PR_ENDIAN_LITTLE, PR_ENDIAN_PPC_LITTLE, PR_FP_EXC_ASYNC,
    PR_FP_EXC_DISABLED, PR_FP_EXC_DIV, PR_FP_EXC_INV, PR_FP_EXC_NONRECOV, PR_FP_EXC_OVF, PR_FP_EXC_PRECISE,
    PR_FP_EXC_RES, PR_FP_EXC_SW_ENABLE, PR_FP_EXC_UND, PR_FP_MODE_FR, PR_FP_MODE_FRE, PR_FPEMU_NOPRINT,
    PR_FPEMU_SIGFPE, PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS, PR_FUTEX_HASH_SET_SLOTS, PR_GET_AUXV,
    PR_GET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_GET_ENDIAN, PR_GET_FP_MODE, PR_GET_FPEMU, PR_GET_FPEXC,
    PR_GET_IO_FLUSHER, PR_GET_KEEPCAPS, PR_GET_MDWE, PR_GET_MEMORY_MERGE, PR_GET_NAME, PR_GET_NO_NEW_PRIVS,
    PR_GET_PDEATHSIG, PR_GET_SECCOMP, PR_GET_SECUREBITS, PR_GET_SHADOW_STACK_STATUS, PR_GET_SPECULATION_CTRL,
    PR_GET_TAGGED_ADDR_CTRL, PR_GET_THP_DISABLE, PR_GET_TID_ADDRESS, PR_GET_TIMERSLACK, PR_GET_TIMING, PR_GET_TSC,
    PR_GET_UNALIGN, PR_LOCK_SHADOW_STACK_STATUS, PR_MCE_KILL, PR_MCE_KILL_CLEAR, PR_MCE_KILL_DEFAULT,
    PR_MCE_KILL_EARLY, PR_MCE_KILL_GET, PR_MCE_KILL_LATE, PR_MCE_KILL_SET, PR_MDWE_NO_INHERIT,
    PR_MDWE_REFUSE_EXEC_GAIN, PR_MPX_DISABLE_MANAGEMENT, PR_MPX_ENABLE_MANAGEMENT, PR_MTE_STORE_ONLY, PR_MTE_TAG_MASK,
    PR_MTE_TAG_SHIFT, PR_MTE_TCF_ASYNC, PR_MTE_TCF_MASK, PR_MTE_TCF_NONE, PR_MTE_TCF_SHIFT, PR_MTE_TCF_SYNC,
    PR_PAC_APDAKEY, PR_PAC_APDBKEY, PR_PAC_APGAKEY, PR_PAC_APIAKEY, PR_PAC_APIBKEY, PR_PAC_GET_ENABLED_KEYS,
    PR_PAC_RESET_KEYS, PR_PAC_SET_ENABLED_KEYS, PR_PMLEN_MASK, PR_PMLEN_SHIFT, PR_PPC_DEXCR_CTRL_CLEAR,
    PR_PPC_DEXCR_CTRL_CLEAR_ONEXEC, PR_PPC_DEXCR_CTRL_EDITABLE, PR_PPC_DEXCR_CTRL_MASK, PR_PPC_DEXCR_CTRL_SET,
    PR_PPC_DEXCR_CTRL_SET_ONEXEC, PR_PPC_DEXCR_IBRTPD, PR_PPC_DEXCR_NPHIE, PR_PPC_DEXCR_SBHE, PR_PPC_DEXCR_SRAPD,
    PR_PPC_GET_DEXCR, PR_PPC_SET_DEXCR, PR_RISCV_CTX_SW_FENCEI_OFF, PR_RISCV_CTX_SW_FENCEI_ON,
    PR_RISCV_SCOPE_PER_PROCESS, PR_RISCV_SCOPE_PER_THREAD, PR_RISCV_SET_ICACHE_FLUSH_CTX, PR_RISCV_V_GET_CONTROL,
    PR_RISCV_V_SET_CONTROL, PR_RISCV_V_VSTATE_CTRL_CUR_MASK, PR_RISCV_V_VSTATE_CTRL_DEFAULT,
    PR_RISCV_V_VSTATE_CTRL_INHERIT, PR_RISCV_V_VSTATE_CTRL_MASK, PR_RISCV_V_VSTATE_CTRL_NEXT_MASK,
    PR_RISCV_V_VSTATE_CTRL_OFF, PR_RISCV_V_VSTATE_CTRL_ON, PR_SCHED_CORE, PR_SCHED_CORE_CREATE, PR_SCHED_CORE_GET,
    PR_SCHED_CORE_MAX, PR_SCHED_CORE_SCOPE_PROCESS_GROUP, PR_SCHED_CORE_SCOPE_THREAD, PR_SCHED_CORE_SCOPE_THREAD_GROUP,
    PR_SCHED_CORE_SHARE_FROM, PR_SCHED_CORE_SHARE_TO, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_ENDIAN,
    PR_SET_FP_MODE, PR_SET_FPEMU, PR_SET_FPEXC, PR_SET_IO_FLUSHER, PR_SET_KEEPCAPS, PR_SET_MDWE, PR_SET_MEMORY_MERGE,
    PR_SET_MM, PR_SET_MM_ARG_END, PR_SET_MM_ARG_START, PR_SET_MM_AUXV, PR_SET_MM_BRK, PR_SET_MM_END_CODE,
    PR_SET_MM_END_DATA, PR_SET_MM_ENV_END, PR_SET_MM_ENV_START, PR_SET_MM_EXE_FILE, PR_SET_MM_MAP, PR_SET_MM_MAP_SIZE,
    PR_SET_MM_START_BRK, PR_SET_MM_START_CODE, PR_SET_MM_START_DATA, PR_SET_MM_START_STACK, PR_SET_NAME,
    PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_PTRACER, PR_SET_SECCOMP, PR_SET_SECUREBITS,
    PR_SET_SHADOW_STACK_STATUS, PR_SET_SPECULATION_CTRL, PR_SET_SYSCALL_USER_DISPATCH, PR_SET_TAGGED_ADDR_CTRL,
    PR_SET_THP_DISABLE, PR_SET_TIMERSLACK, PR_SET_TIMING, PR_SET_TSC, PR_SET_UNALIGN, PR_SET_VMA, PR_SET_VMA_ANON_NAME,
    PR_SHADOW_STACK_ENABLE, PR_SHADOW_STACK_PUSH, PR_SHADOW_STACK_WRITE, PR_SME_GET_VL, PR_SME_SET_VL,
    PR_SME_SET_VL_ONEXEC, PR_SME_VL_INHERIT, PR_SME_VL_LEN_MASK, PR_SPEC_DISABLE, PR_SPEC_DISABLE_NOEXEC,
    PR_SPEC_ENABLE, PR_SPEC_FORCE_DISABLE, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_L1D_FLUSH, PR_SPEC_NOT_AFFECTED,
    PR_SPEC_PRCTL, PR_SPEC_STORE_BYPASS, PR_SVE_GET_VL, PR_SVE_SET_VL, PR_SVE_SET_VL_ONEXEC, PR_SVE_VL_INHERIT,
    PR_SVE_VL_LEN_MASK, PR_SYS_DISPATCH_EXCLUSIVE_ON, PR_SYS_DISPATCH_INCLUSIVE_ON, PR_SYS_DISPATCH_OFF,
    PR_SYS_DISPATCH_ON, PR_TAGGED_ADDR_ENABLE, PR_TASK_PERF_EVENTS_DISABLE, PR_TASK_PERF_EVENTS_ENABLE,
    PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, PR_TIMER_CREATE_RESTORE_IDS_OFF,
    PR_TIMER_CREATE_RESTORE_IDS_ON, PR_TIMING_STATISTICAL, PR_TIMING_TIMESTAMP, PR_TSC_ENABLE, PR_TSC_SIGSEGV,
    PR_UNALIGN_NOPRINT, PR_UNALIGN_SIGBUS,
};
pub use linux_raw_sys::ptrace::{
    PTRACE_ARCH_PRCTL, PTRACE_ATTACH, PTRACE_CONT, PTRACE_DETACH, PTRACE_EVENT_CLONE, PTRACE_EVENT_EXEC,
    PTRACE_EVENT_EXIT, PTRACE_EVENT_FORK, PTRACE_EVENT_SECCOMP, PTRACE_EVENT_STOP, PTRACE_EVENT_VFORK,
    PTRACE_EVENT_VFORK_DONE, PTRACE_EVENTMSG_SYSCALL_ENTRY, PTRACE_EVENTMSG_SYSCALL_EXIT,
    PTRACE_GET_RSEQ_CONFIGURATION, PTRACE_GET_SYSCALL_INFO, PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG,
    PTRACE_GET_THREAD_AREA, PTRACE_GETEVENTMSG, PTRACE_GETFPREGS, PTRACE_GETFPXREGS, PTRACE_GETREGS, PTRACE_GETREGSET,
    PTRACE_GETSIGINFO, PTRACE_GETSIGMASK, PTRACE_INTERRUPT, PTRACE_KILL, PTRACE_LISTEN, PTRACE_O_EXITKILL,
    PTRACE_O_MASK, PTRACE_O_SUSPEND_SECCOMP, PTRACE_O_TRACECLONE, PTRACE_O_TRACEEXEC, PTRACE_O_TRACEEXIT,
    PTRACE_O_TRACEFORK, PTRACE_O_TRACESECCOMP, PTRACE_O_TRACESYSGOOD, PTRACE_O_TRACEVFORK, PTRACE_O_TRACEVFORKDONE,
    PTRACE_OLDSETOPTIONS, PTRACE_PEEKDATA, PTRACE_PEEKSIGINFO, PTRACE_PEEKSIGINFO_SHARED, PTRACE_PEEKTEXT,
    PTRACE_PEEKUSR, PTRACE_POKEDATA, PTRACE_POKETEXT, PTRACE_POKEUSR, PTRACE_SECCOMP_GET_FILTER,
    PTRACE_SECCOMP_GET_METADATA, PTRACE_SEIZE, PTRACE_SET_SYSCALL_INFO, PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG,
    PTRACE_SET_THREAD_AREA, PTRACE_SETFPREGS, PTRACE_SETFPXREGS, PTRACE_SETOPTIONS, PTRACE_SETREGS, PTRACE_SETREGSET,
    PTRACE_SETSIGINFO, PTRACE_SETSIGMASK, PTRACE_SINGLEBLOCK, PTRACE_SINGLESTEP, PTRACE_SYSCALL,
    PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT, PTRACE_SYSCALL_INFO_NONE, PTRACE_SYSCALL_INFO_SECCOMP,
    PTRACE_SYSEMU, PTRACE_SYSEMU_SINGLESTEP, PTRACE_TRACEME,
};

/// "No limit" of `Rlimit`.
pub const RLIM_INFINITY: u64 = u64::MAX;

/// arch_prctl(2).
pub const ARCH_SET_GS: u32 = 0x1001;
pub const ARCH_SET_FS: u32 = 0x1002;
pub const ARCH_GET_FS: u32 = 0x1003;
pub const ARCH_GET_GS: u32 = 0x1004;
pub const ARCH_GET_CPUID: u32 = 0x1011;
pub const ARCH_SET_CPUID: u32 = 0x1012;
pub const ARCH_GET_XCOMP_SUPP: u32 = 0x1021;
pub const ARCH_GET_XCOMP_PERM: u32 = 0x1022;
pub const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
pub const ARCH_CET_ENABLE: u32 = 0x5001;
pub const ARCH_CET_STATUS: u32 = 0x5005;

/// personality(2).
pub const PER_LINUX: u32 = 0;
pub const UNAME26: u32 = 0x0002_0000;
pub const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
pub const MMAP_PAGE_ZERO: u32 = 0x0010_0000;
pub const ADDR_COMPAT_LAYOUT: u32 = 0x0020_0000;
pub const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
pub const ADDR_LIMIT_3GB: u32 = 0x0800_0000;
pub const PER_CLEAR_ON_SETID: u32 = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO;

/// Securebits, capabilities(7).
pub const SECBIT_NOROOT: u32 = 1 << 0;
pub const SECBIT_NOROOT_LOCKED: u32 = 1 << 1;
pub const SECBIT_NO_SETUID_FIXUP: u32 = 1 << 2;
pub const SECBIT_NO_SETUID_FIXUP_LOCKED: u32 = 1 << 3;
pub const SECBIT_KEEP_CAPS: u32 = 1 << 4;
pub const SECBIT_KEEP_CAPS_LOCKED: u32 = 1 << 5;
pub const SECBIT_NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
pub const SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED: u32 = 1 << 7;

/// ioprio_set(2): classes, and where they stand in the value (linux/ioprio.h).
pub const IOPRIO_CLASS_NONE: u32 = 0;
pub const IOPRIO_CLASS_RT: u32 = 1;
pub const IOPRIO_CLASS_BE: u32 = 2;
pub const IOPRIO_CLASS_IDLE: u32 = 3;
pub const IOPRIO_CLASS_SHIFT: u32 = 13;

bitflags! {
    /// Flags of clone(2) and clone3(2), the exit signal apart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct CloneFlags: u64 {
        const VM = CLONE_VM as u64;
        const FS = CLONE_FS as u64;
        const FILES = CLONE_FILES as u64;
        const SIGHAND = CLONE_SIGHAND as u64;
        const PIDFD = CLONE_PIDFD as u64;
        const PTRACE = CLONE_PTRACE as u64;
        const VFORK = CLONE_VFORK as u64;
        const PARENT = CLONE_PARENT as u64;
        const THREAD = CLONE_THREAD as u64;
        const NEWNS = CLONE_NEWNS as u64;
        const SYSVSEM = CLONE_SYSVSEM as u64;
        const SETTLS = CLONE_SETTLS as u64;
        const PARENT_SETTID = CLONE_PARENT_SETTID as u64;
        const CHILD_CLEARTID = CLONE_CHILD_CLEARTID as u64;
        const DETACHED = CLONE_DETACHED as u64;
        const UNTRACED = CLONE_UNTRACED as u64;
        const CHILD_SETTID = CLONE_CHILD_SETTID as u64;
        const NEWCGROUP = CLONE_NEWCGROUP as u64;
        const NEWUTS = CLONE_NEWUTS as u64;
        const NEWIPC = CLONE_NEWIPC as u64;
        const NEWUSER = CLONE_NEWUSER as u64;
        const NEWPID = CLONE_NEWPID as u64;
        const NEWNET = CLONE_NEWNET as u64;
        const IO = CLONE_IO as u64;
        const CLEAR_SIGHAND = CLONE_CLEAR_SIGHAND;
        const INTO_CGROUP = CLONE_INTO_CGROUP;
        /// clone3 and unshare only: clone(2) has the exit signal in this bit.
        const NEWTIME = CLONE_NEWTIME as u64;
    }
}

/// `struct clone_args` of clone3(2), 88 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    /// Lowest address of the stack; clone(2) has the highest.
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// `struct rlimit64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rlimit {
    pub rlim_cur: u64,
    pub rlim_max: u64,
}

impl Rlimit {
    pub const INFINITE: Rlimit = Rlimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
}

/// Names of the limits as /proc/PID/limits has them, with their units, by RLIMIT_*.
pub const RLIMIT_NAMES: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

/// The RLIMIT_* of a name as the OCI configuration has it ("RLIMIT_NOFILE").
pub fn rlimit_by_name(name: &str) -> Option<u32> {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let bare = name.strip_prefix("RLIMIT_").unwrap_or(name);
    NAMES.iter().position(|n| *n == bare).map(|i| i as u32)
}

/// `struct rusage`, 144 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rusage {
    pub ru_utime: Timeval,
    pub ru_stime: Timeval,
    /// KiB.
    pub ru_maxrss: i64,
    pub ru_ixrss: i64,
    pub ru_idrss: i64,
    pub ru_isrss: i64,
    pub ru_minflt: i64,
    pub ru_majflt: i64,
    pub ru_nswap: i64,
    pub ru_inblock: i64,
    pub ru_oublock: i64,
    pub ru_msgsnd: i64,
    pub ru_msgrcv: i64,
    pub ru_nsignals: i64,
    pub ru_nvcsw: i64,
    pub ru_nivcsw: i64,
}

/// `struct sched_param`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SchedParam {
    pub sched_priority: i32,
}

/// `struct sched_attr` of sched_setattr(2), 56 bytes (version 1; version 0 ends before the clamps).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SchedAttr {
    pub size: u32,
    pub sched_policy: u32,
    pub sched_flags: u64,
    pub sched_nice: i32,
    pub sched_priority: u32,
    pub sched_runtime: u64,
    pub sched_deadline: u64,
    pub sched_period: u64,
    pub sched_util_min: u32,
    pub sched_util_max: u32,
}

/// Header of capget(2) and capset(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CapUserHeader {
    pub version: u32,
    pub pid: i32,
}

/// 32 capabilities of each set; versions 2 and 3 have two of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CapUserData {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

/// Names of the capabilities, by number.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability by name, with or without "CAP_", in any case.
pub fn capability_by_name(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITY_NAMES.iter().position(|n| n.strip_prefix("CAP_") == Some(bare)).map(|i| i as u32)
}

/// Wait status of a process that exited with `code`.
pub const fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// Wait status of a process that a signal killed.
pub const fn signaled(sig: u32, core: bool) -> i32 {
    (sig & 0x7f) as i32 | if core { 0x80 } else { 0 }
}

/// Wait status of a process that a signal stopped.
pub const fn stopped(sig: u32) -> i32 {
    ((sig & 0xff) << 8) as i32 | 0x7f
}

/// Wait status of a process that SIGCONT continued.
pub const CONTINUED: i32 = 0xffff;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        assert_eq!(size_of::<CloneArgs>(), size_of::<linux_raw_sys::general::clone_args>());
        assert_eq!(size_of::<Rusage>(), size_of::<libc::rusage>());
        assert_eq!(size_of::<SchedAttr>(), 56);
        assert_eq!(size_of::<Rlimit>(), size_of::<libc::rlimit64>());
    }

    #[test]
    fn names() {
        assert_eq!(capability_by_name("CAP_SYS_ADMIN"), Some(CAP_SYS_ADMIN));
        assert_eq!(capability_by_name("checkpoint_restore"), Some(CAP_LAST_CAP));
        assert_eq!(rlimit_by_name("RLIMIT_NOFILE"), Some(RLIMIT_NOFILE));
        assert_eq!(rlimit_by_name("RLIMIT_RTTIME"), Some(RLIMIT_RTTIME));
    }

    #[test]
    fn wait_statuses() {
        assert!(libc::WIFEXITED(exited(3)) && libc::WEXITSTATUS(exited(3)) == 3);
        assert!(libc::WIFSIGNALED(signaled(9, false)) && libc::WCOREDUMP(signaled(11, true)));
        assert!(libc::WIFSTOPPED(stopped(19)) && libc::WSTOPSIG(stopped(19)) == 19);
        assert!(libc::WIFCONTINUED(CONTINUED));
    }
}
