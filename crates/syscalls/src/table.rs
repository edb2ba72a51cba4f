//! The system call table: one row per call, from which everything else about a call comes: its handler, its support note
//! (`stockade syscalls`, docs/syscalls.md), and how strace shows its arguments.
//!
//! A row: `number name [argument types] => support;` where support is
//! - `full HANDLER`: done in full;
//! - `part HANDLER, "what is missing"`;
//! - `framed HANDLER` / `framed HANDLER, "what is missing"`: as these; needs the registers or the stub's hands (the platform's
//!   filter sends such calls by trap; see `platform::filter`);
//! - `no`: not supported: ENOSYS; `no Errno::X, "why"`: fails with the errno that Linux gives where the feature is configured out.
//!
//! Argument types are those of `ArgType`. Rows are in the order of their numbers.

use crate::*;
use abi::Errno;
use kernel::{Args, Call, Handler, Op, Ret, Row};

/// How strace shows an argument.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgType {
    fd,
    dirfd,
    path,
    ptr,
    size,
    int,
    hex,
    prot,
    mode,
    oflags,
    signal,
}

/// How much of a call is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Full,
    /// What is missing.
    Part(&'static str),
    /// Not there, and why.
    No(&'static str),
}

/// A row of the table.
pub struct Entry {
    pub nr: u32,
    pub name: &'static str,
    pub args: &'static [ArgType],
    pub support: Support,
    row: Option<Row>,
}

macro_rules! refuse {
    ($errno:path) => {{
        fn refused(_call: &mut Call<'_>, _args: Args) -> Op<Ret> {
            Err($errno.into())
        }
        refused as Handler
    }};
}

macro_rules! row {
    ($name:expr, full $handler:path) => {
        (Support::Full, Some(Row { name: $name, handler: $handler, framed: false }))
    };
    ($name:expr, part $handler:path, $missing:literal) => {
        (Support::Part($missing), Some(Row { name: $name, handler: $handler, framed: false }))
    };
    ($name:expr, framed $handler:path) => {
        (Support::Full, Some(Row { name: $name, handler: $handler, framed: true }))
    };
    ($name:expr, framed $handler:path, $missing:literal) => {
        (Support::Part($missing), Some(Row { name: $name, handler: $handler, framed: true }))
    };
    ($name:expr, no) => {
        (Support::No("not yet"), None)
    };
    ($name:expr, no $errno:path, $why:literal) => {
        (Support::No($why), Some(Row { name: $name, handler: refuse!($errno), framed: false }))
    };
}

macro_rules! calls {
    ($($nr:literal $name:ident [$($arg:ident)*] => $kind:ident $($handler:path)? $(, $note:literal)?;)*) => {
        /// All rows, rising.
        pub static TABLE: &[Entry] = &[$({
            let (support, row) = row!(stringify!($name), $kind $($handler)? $(, $note)?);
            Entry { nr: $nr, name: stringify!($name), args: &[$(ArgType::$arg),*], support, row }
        }),*];
    };
}

/// The row of a number.
pub fn entry(nr: u32) -> Option<&'static Entry> {
    TABLE.binary_search_by_key(&nr, |e| e.nr).ok().and_then(|at| TABLE.get(at))
}

/// What the task loop wants of a number: for `Kernel::new`. Numbers without a handler are ENOSYS.
pub fn lookup(nr: u32) -> Option<Row> {
    BY_NUMBER.get(nr as usize).copied().flatten()
}

/// The handlers by number, so that a call costs one load.
static BY_NUMBER: [Option<Row>; 512] = {
    let mut rows = [None; 512];
    let mut at = 0;
    while at < TABLE.len() {
        rows[TABLE[at].nr as usize] = TABLE[at].row;
        at += 1;
    }
    rows
};

calls! {
    0 read [fd ptr size] => full rw::sys_read;
    1 write [fd ptr size] => full rw::sys_write;
    2 open [path oflags mode] => full open::sys_open;
    3 close [fd] => full open::sys_close;
    4 stat [path ptr] => full stat::sys_stat;
    5 fstat [fd ptr] => full stat::sys_fstat;
    6 lstat [path ptr] => full stat::sys_lstat;
    7 poll [ptr int int] => full poll::sys_poll;
    8 lseek [fd int int] => full rw::sys_lseek;
    9 mmap [ptr size prot hex fd size] => framed mem::sys_mmap;
    10 mprotect [ptr size prot] => framed mem::sys_mprotect;
    11 munmap [ptr size] => framed mem::sys_munmap;
    12 brk [ptr] => full mem::sys_brk;
    13 rt_sigaction [signal ptr ptr size] => full signal::sys_rt_sigaction;
    14 rt_sigprocmask [int ptr ptr size] => full signal::sys_rt_sigprocmask;
    15 rt_sigreturn [] => framed signal::sys_rt_sigreturn;
    16 ioctl [fd hex ptr] => full fdops::sys_ioctl;
    17 pread64 [fd ptr size size] => full rw::sys_pread64;
    18 pwrite64 [fd ptr size size] => full rw::sys_pwrite64;
    19 readv [fd ptr int] => full rw::sys_readv;
    20 writev [fd ptr int] => full rw::sys_writev;
    21 access [path mode] => full stat::sys_access;
    22 pipe [ptr] => full pipe::sys_pipe;
    23 select [int ptr ptr ptr ptr] => full poll::sys_select;
    24 sched_yield [] => full sched::sys_sched_yield;
    25 mremap [ptr size size hex ptr] => framed mem::sys_mremap, "old ranges of several areas";
    26 msync [ptr size hex] => framed mem::sys_msync;
    27 mincore [ptr size ptr] => framed mem::sys_mincore;
    28 madvise [ptr size int] => framed mem::sys_madvise, "MADV_MERGEABLE, MADV_COLLAPSE, MADV_GUARD_*; MADV_REMOVE of memory without a file";
    29 shmget [hex size hex] => full shm::sys_shmget;
    30 shmat [int ptr hex] => framed shm::sys_shmat;
    31 shmctl [int int ptr] => part shm::sys_shmctl, "SHM_LOCK keeps nothing from the host's swap";
    32 dup [fd] => full fdops::sys_dup;
    33 dup2 [fd fd] => full fdops::sys_dup2;
    34 pause [] => full signal::sys_pause;
    35 nanosleep [ptr ptr] => full time::sys_nanosleep;
    36 getitimer [int ptr] => full timers::sys_getitimer;
    37 alarm [int] => full timers::sys_alarm;
    38 setitimer [int ptr ptr] => full timers::sys_setitimer;
    39 getpid [] => full process::sys_getpid;
    40 sendfile [fd fd ptr size] => full copy::sys_sendfile;
    41 socket [int int int] => part socket::sys_socket, "AF_UNIX and AF_NETLINK only";
    42 connect [fd ptr int] => full socket::sys_connect;
    43 accept [fd ptr ptr] => full socket::sys_accept;
    44 sendto [fd ptr size hex ptr int] => full message::sys_sendto;
    45 recvfrom [fd ptr size hex ptr ptr] => full message::sys_recvfrom;
    46 sendmsg [fd ptr hex] => full message::sys_sendmsg;
    47 recvmsg [fd ptr hex] => full message::sys_recvmsg;
    48 shutdown [fd int] => full socket::sys_shutdown;
    49 bind [fd ptr int] => full socket::sys_bind;
    50 listen [fd int] => full socket::sys_listen;
    51 getsockname [fd ptr ptr] => full socket::sys_getsockname;
    52 getpeername [fd ptr ptr] => full socket::sys_getpeername;
    53 socketpair [int int int ptr] => part socket::sys_socketpair, "AF_UNIX only";
    54 setsockopt [fd int int ptr int] => full socket::sys_setsockopt;
    55 getsockopt [fd int int ptr ptr] => full socket::sys_getsockopt;
    56 clone [hex ptr ptr ptr ptr] => framed clone::sys_clone;
    57 fork [] => framed clone::sys_fork;
    58 vfork [] => framed clone::sys_vfork;
    59 execve [path ptr ptr] => framed exec::sys_execve;
    60 exit [int] => full exit::sys_exit;
    61 wait4 [int ptr hex ptr] => full exit::sys_wait4;
    62 kill [int signal] => full signal::sys_kill;
    63 uname [ptr] => full system::sys_uname;
    64 semget [hex int hex] => full sem::sys_semget;
    65 semop [int ptr size] => full sem::sys_semop;
    66 semctl [int int int hex] => full sem::sys_semctl;
    67 shmdt [ptr] => framed shm::sys_shmdt;
    68 msgget [hex hex] => full msg::sys_msgget;
    69 msgsnd [int ptr size hex] => full msg::sys_msgsnd;
    70 msgrcv [int ptr size int hex] => full msg::sys_msgrcv;
    71 msgctl [int int ptr] => full msg::sys_msgctl;
    72 fcntl [fd int hex] => full fdops::sys_fcntl;
    73 flock [fd int] => full fdops::sys_flock;
    74 fsync [fd] => full mounts::sys_fsync;
    75 fdatasync [fd] => full mounts::sys_fdatasync;
    76 truncate [path size] => full attr::sys_truncate;
    77 ftruncate [fd size] => full attr::sys_ftruncate;
    78 getdents [fd ptr size] => full dir::sys_getdents;
    79 getcwd [ptr size] => full mounts::sys_getcwd;
    80 chdir [path] => full mounts::sys_chdir;
    81 fchdir [fd] => full mounts::sys_fchdir;
    82 rename [path path] => full dir::sys_rename;
    83 mkdir [path mode] => full dir::sys_mkdir;
    84 rmdir [path] => full dir::sys_rmdir;
    85 creat [path mode] => full open::sys_creat;
    86 link [path path] => full dir::sys_link;
    87 unlink [path] => full dir::sys_unlink;
    88 symlink [path path] => full dir::sys_symlink;
    89 readlink [path ptr size] => full stat::sys_readlink;
    90 chmod [path mode] => full attr::sys_chmod;
    91 fchmod [fd mode] => full attr::sys_fchmod;
    92 chown [path int int] => full attr::sys_chown;
    93 fchown [fd int int] => full attr::sys_fchown;
    94 lchown [path int int] => full attr::sys_lchown;
    95 umask [mode] => full attr::sys_umask;
    96 gettimeofday [ptr ptr] => full time::sys_gettimeofday;
    97 getrlimit [int ptr] => full rlimit::sys_getrlimit;
    98 getrusage [int ptr] => full rlimit::sys_getrusage;
    99 sysinfo [ptr] => full system::sys_sysinfo;
    100 times [ptr] => full time::sys_times;
    101 ptrace [hex int ptr ptr] => part ptrace::sys_ptrace, "calls that the host answers are not seen: futexes, private anonymous memory, clocks, sched_yield; debug registers; PTRACE_SYSEMU";
    102 getuid [] => full ids::sys_getuid;
    103 syslog [] => full system::sys_syslog;
    104 getgid [] => full ids::sys_getgid;
    105 setuid [int] => full ids::sys_setuid;
    106 setgid [int] => full ids::sys_setgid;
    107 geteuid [] => full ids::sys_geteuid;
    108 getegid [] => full ids::sys_getegid;
    109 setpgid [int int] => full ids::sys_setpgid;
    110 getppid [] => full process::sys_getppid;
    111 getpgrp [] => full ids::sys_getpgrp;
    112 setsid [] => full ids::sys_setsid;
    113 setreuid [int int] => full ids::sys_setreuid;
    114 setregid [int int] => full ids::sys_setregid;
    115 getgroups [int ptr] => full ids::sys_getgroups;
    116 setgroups [int ptr] => full ids::sys_setgroups;
    117 setresuid [int int int] => full ids::sys_setresuid;
    118 getresuid [ptr ptr ptr] => full ids::sys_getresuid;
    119 setresgid [int int int] => full ids::sys_setresgid;
    120 getresgid [ptr ptr ptr] => full ids::sys_getresgid;
    121 getpgid [int] => full ids::sys_getpgid;
    122 setfsuid [int] => full ids::sys_setfsuid;
    123 setfsgid [int] => full ids::sys_setfsgid;
    124 getsid [int] => full ids::sys_getsid;
    125 capget [ptr ptr] => full caps::sys_capget;
    126 capset [ptr ptr] => full caps::sys_capset;
    127 rt_sigpending [ptr size] => full signal::sys_rt_sigpending;
    128 rt_sigtimedwait [ptr ptr ptr size] => full signal::sys_rt_sigtimedwait;
    129 rt_sigqueueinfo [int signal ptr] => full signal::sys_rt_sigqueueinfo;
    130 rt_sigsuspend [ptr size] => full signal::sys_rt_sigsuspend;
    131 sigaltstack [ptr ptr] => framed signal::sys_sigaltstack;
    132 utime [] => full attr::sys_utime;
    133 mknod [path mode hex] => full dir::sys_mknod;
    134 uselib [] => no;
    135 personality [hex] => full system::sys_personality;
    136 ustat [] => no;
    137 statfs [path ptr] => full mounts::sys_statfs;
    138 fstatfs [fd ptr] => full mounts::sys_fstatfs;
    139 sysfs [] => no;
    140 getpriority [int int] => full sched::sys_getpriority;
    141 setpriority [int int int] => full sched::sys_setpriority;
    142 sched_setparam [] => full sched_policy::sys_sched_setparam;
    143 sched_getparam [] => full sched_policy::sys_sched_getparam;
    144 sched_setscheduler [] => full sched_policy::sys_sched_setscheduler;
    145 sched_getscheduler [] => full sched_policy::sys_sched_getscheduler;
    146 sched_get_priority_max [] => full sched_policy::sys_sched_get_priority_max;
    147 sched_get_priority_min [] => full sched_policy::sys_sched_get_priority_min;
    148 sched_rr_get_interval [] => full sched::sys_sched_rr_get_interval;
    149 mlock [ptr size] => framed mem::sys_mlock, "pages are faulted in and counted, not kept from the host's swap";
    150 munlock [ptr size] => full mem::sys_munlock;
    151 mlockall [hex] => framed mem::sys_mlockall, "as mlock";
    152 munlockall [] => full mem::sys_munlockall;
    153 vhangup [] => no;
    154 modify_ldt [] => no;
    155 pivot_root [path path] => full mounts::sys_pivot_root;
    156 _sysctl [] => no Errno::ENOSYS, "removed from Linux 5.5";
    157 prctl [int hex hex hex hex] => full process::sys_prctl;
    158 arch_prctl [hex ptr] => framed system::sys_arch_prctl;
    159 adjtimex [] => part time::sys_adjtimex, "clocks can be read, not set";
    160 setrlimit [int ptr] => full rlimit::sys_setrlimit;
    161 chroot [path] => full mounts::sys_chroot;
    162 sync [] => full mounts::sys_sync;
    163 acct [] => no;
    164 settimeofday [] => part time::sys_settimeofday, "clocks can be read, not set";
    165 mount [path path path hex ptr] => full mounts::sys_mount;
    166 umount2 [path hex] => full mounts::sys_umount2;
    167 swapon [] => no;
    168 swapoff [] => no;
    169 reboot [hex hex hex] => part system::sys_reboot, "kexec, hibernation; Ctrl-Alt-Del";
    170 sethostname [ptr size] => full system::sys_sethostname;
    171 setdomainname [ptr size] => full system::sys_setdomainname;
    172 iopl [] => no;
    173 ioperm [] => no;
    174 create_module [] => no;
    175 init_module [] => no;
    176 delete_module [] => no;
    177 get_kernel_syms [] => no;
    178 query_module [] => no;
    179 quotactl [] => no Errno::ENOSYS, "Linux without CONFIG_QUOTA";
    180 nfsservctl [] => no;
    181 getpmsg [] => no;
    182 putpmsg [] => no;
    183 afs_syscall [] => no;
    184 tuxcall [] => no;
    185 security [] => no;
    186 gettid [] => full process::sys_gettid;
    187 readahead [] => full mounts::sys_readahead;
    188 setxattr [] => full xattr::sys_setxattr;
    189 lsetxattr [] => full xattr::sys_lsetxattr;
    190 fsetxattr [] => full xattr::sys_fsetxattr;
    191 getxattr [path path ptr size] => full xattr::sys_getxattr;
    192 lgetxattr [] => full xattr::sys_lgetxattr;
    193 fgetxattr [] => full xattr::sys_fgetxattr;
    194 listxattr [] => full xattr::sys_listxattr;
    195 llistxattr [] => full xattr::sys_llistxattr;
    196 flistxattr [] => full xattr::sys_flistxattr;
    197 removexattr [] => full xattr::sys_removexattr;
    198 lremovexattr [] => full xattr::sys_lremovexattr;
    199 fremovexattr [] => full xattr::sys_fremovexattr;
    200 tkill [] => full signal::sys_tkill;
    201 time [] => full time::sys_time;
    202 futex [ptr hex int ptr ptr int] => full futex::sys_futex;
    203 sched_setaffinity [int size ptr] => full sched::sys_sched_setaffinity;
    204 sched_getaffinity [int size ptr] => full sched::sys_sched_getaffinity;
    205 set_thread_area [] => no;
    206 io_setup [] => no;
    207 io_destroy [] => no;
    208 io_getevents [] => no;
    209 io_submit [] => no;
    210 io_cancel [] => no;
    211 get_thread_area [] => no;
    212 lookup_dcookie [] => no;
    213 epoll_create [int] => full epoll::sys_epoll_create;
    214 epoll_ctl_old [] => no;
    215 epoll_wait_old [] => no;
    216 remap_file_pages [] => no;
    217 getdents64 [fd ptr size] => full dir::sys_getdents64;
    218 set_tid_address [ptr] => framed system::sys_set_tid_address;
    219 restart_syscall [] => no;
    220 semtimedop [int ptr size ptr] => full sem::sys_semtimedop;
    221 fadvise64 [] => full mounts::sys_fadvise64;
    222 timer_create [int ptr ptr] => full timers::sys_timer_create;
    223 timer_settime [] => full timers::sys_timer_settime;
    224 timer_gettime [] => full timers::sys_timer_gettime;
    225 timer_getoverrun [] => full timers::sys_timer_getoverrun;
    226 timer_delete [] => full timers::sys_timer_delete;
    227 clock_settime [] => part time::sys_clock_settime, "clocks can be read, not set";
    228 clock_gettime [int ptr] => full time::sys_clock_gettime;
    229 clock_getres [int ptr] => full time::sys_clock_getres;
    230 clock_nanosleep [int int ptr ptr] => part time::sys_clock_nanosleep, "CPU clocks";
    231 exit_group [int] => full exit::sys_exit_group;
    232 epoll_wait [fd ptr int int] => full epoll::sys_epoll_wait;
    233 epoll_ctl [fd int fd ptr] => full epoll::sys_epoll_ctl;
    234 tgkill [int int signal] => full signal::sys_tgkill;
    235 utimes [path ptr] => full attr::sys_utimes;
    236 vserver [] => no;
    237 mbind [] => no;
    238 set_mempolicy [] => no;
    239 get_mempolicy [] => no;
    240 mq_open [ptr oflags mode ptr] => full mqueue::sys_mq_open;
    241 mq_unlink [ptr] => full mqueue::sys_mq_unlink;
    242 mq_timedsend [fd ptr size int ptr] => full mqueue::sys_mq_timedsend;
    243 mq_timedreceive [fd ptr size ptr ptr] => full mqueue::sys_mq_timedreceive;
    244 mq_notify [fd ptr] => full mqueue::sys_mq_notify;
    245 mq_getsetattr [fd ptr ptr] => full mqueue::sys_mq_getsetattr;
    246 kexec_load [] => no;
    247 waitid [int int ptr hex ptr] => full exit::sys_waitid;
    248 add_key [] => no;
    249 request_key [] => no;
    250 keyctl [] => no;
    251 ioprio_set [int int hex] => part sched::sys_ioprio_set, "kept and shown; the host's disks know nothing of it";
    252 ioprio_get [int int] => full sched::sys_ioprio_get;
    253 inotify_init [] => full notify::sys_inotify_init;
    254 inotify_add_watch [fd path hex] => full notify::sys_inotify_add_watch;
    255 inotify_rm_watch [fd int] => full notify::sys_inotify_rm_watch;
    256 migrate_pages [] => no;
    257 openat [dirfd path oflags mode] => full open::sys_openat;
    258 mkdirat [dirfd path mode] => full dir::sys_mkdirat;
    259 mknodat [dirfd path mode hex] => full dir::sys_mknodat;
    260 fchownat [dirfd path int int hex] => full attr::sys_fchownat;
    261 futimesat [] => full attr::sys_futimesat;
    262 newfstatat [dirfd path ptr hex] => full stat::sys_newfstatat;
    263 unlinkat [dirfd path hex] => full dir::sys_unlinkat;
    264 renameat [dirfd path dirfd path] => full dir::sys_renameat;
    265 linkat [dirfd path dirfd path hex] => full dir::sys_linkat;
    266 symlinkat [path dirfd path] => full dir::sys_symlinkat;
    267 readlinkat [dirfd path ptr size] => full stat::sys_readlinkat;
    268 fchmodat [dirfd path mode] => full attr::sys_fchmodat;
    269 faccessat [dirfd path mode] => full stat::sys_faccessat;
    270 pselect6 [int ptr ptr ptr ptr ptr] => full poll::sys_pselect6;
    271 ppoll [ptr int ptr ptr size] => full poll::sys_ppoll;
    272 unshare [hex] => full namespaces::sys_unshare;
    273 set_robust_list [ptr size] => full robust::sys_set_robust_list;
    274 get_robust_list [] => full robust::sys_get_robust_list;
    275 splice [fd ptr fd ptr size hex] => full splice::sys_splice;
    276 tee [fd fd size hex] => full splice::sys_tee;
    277 sync_file_range [] => full mounts::sys_sync_file_range;
    278 vmsplice [] => full splice::sys_vmsplice;
    279 move_pages [] => no;
    280 utimensat [dirfd path ptr hex] => full attr::sys_utimensat;
    281 epoll_pwait [fd ptr int int ptr size] => full epoll::sys_epoll_pwait;
    282 signalfd [fd ptr size] => part signalfd::sys_signalfd, "readiness is that of the process that made it";
    283 timerfd_create [int hex] => full timerfd::sys_timerfd_create;
    284 eventfd [int] => full eventfd::sys_eventfd;
    285 fallocate [fd hex size size] => full attr::sys_fallocate;
    286 timerfd_settime [fd hex ptr ptr] => full timerfd::sys_timerfd_settime;
    287 timerfd_gettime [fd ptr] => full timerfd::sys_timerfd_gettime;
    288 accept4 [fd ptr ptr hex] => full socket::sys_accept4;
    289 signalfd4 [fd ptr size hex] => part signalfd::sys_signalfd4, "readiness is that of the process that made it";
    290 eventfd2 [int hex] => full eventfd::sys_eventfd2;
    291 epoll_create1 [hex] => full epoll::sys_epoll_create1;
    292 dup3 [fd fd hex] => full fdops::sys_dup3;
    293 pipe2 [ptr hex] => full pipe::sys_pipe2;
    294 inotify_init1 [hex] => full notify::sys_inotify_init1;
    295 preadv [fd ptr int size] => full rw::sys_preadv;
    296 pwritev [fd ptr int size] => full rw::sys_pwritev;
    297 rt_tgsigqueueinfo [] => full signal::sys_rt_tgsigqueueinfo;
    298 perf_event_open [] => no;
    299 recvmmsg [] => full message::sys_recvmmsg;
    300 fanotify_init [hex oflags] => part fanotify::sys_fanotify_init, "permission classes, FAN_REPORT_PIDFD, FAN_REPORT_TARGET_FID";
    301 fanotify_mark [fd hex hex dirfd path] => part fanotify::sys_fanotify_mark, "FAN_OPEN_EXEC, FAN_RENAME, FAN_MARK_IGNORE, evictable marks";
    302 prlimit64 [int int ptr ptr] => full rlimit::sys_prlimit64;
    303 name_to_handle_at [dirfd path ptr ptr hex] => full handles::sys_name_to_handle_at;
    304 open_by_handle_at [dirfd ptr oflags] => full handles::sys_open_by_handle_at;
    305 clock_adjtime [] => part time::sys_clock_adjtime, "clocks can be read, not set";
    306 syncfs [fd] => full mounts::sys_syncfs;
    307 sendmmsg [] => full message::sys_sendmmsg;
    308 setns [fd hex] => full setns::sys_setns;
    309 getcpu [ptr ptr] => full sched::sys_getcpu;
    310 process_vm_readv [int ptr size ptr size hex] => full process_vm::sys_process_vm_readv;
    311 process_vm_writev [int ptr size ptr size hex] => full process_vm::sys_process_vm_writev;
    312 kcmp [int int int int int] => part process_vm::sys_kcmp, "KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD";
    313 finit_module [] => no;
    314 sched_setattr [int ptr hex] => part sched_policy::sys_sched_setattr, "SCHED_DEADLINE, clamps";
    315 sched_getattr [int ptr size hex] => full sched_policy::sys_sched_getattr;
    316 renameat2 [dirfd path dirfd path hex] => full dir::sys_renameat2;
    317 seccomp [int hex ptr] => part seccomp::sys_seccomp, "SECCOMP_RET_USER_NOTIF; filters do not see calls that the host answers: futexes, private anonymous memory, clocks, sched_yield";
    318 getrandom [ptr size hex] => full system::sys_getrandom;
    319 memfd_create [path hex] => part open::sys_memfd_create, "huge pages";
    320 kexec_file_load [] => no;
    321 bpf [int ptr size] => part bpf::sys_bpf, "programs of type CGROUP_DEVICE alone, without loops, stack, helpers and maps";
    322 execveat [dirfd path ptr ptr hex] => framed exec::sys_execveat;
    323 userfaultfd [] => no;
    324 membarrier [int hex int] => framed system::sys_membarrier;
    325 mlock2 [ptr size hex] => framed mem::sys_mlock2, "as mlock";
    326 copy_file_range [fd ptr fd ptr size hex] => full copy::sys_copy_file_range;
    327 preadv2 [] => full rw::sys_preadv2;
    328 pwritev2 [] => full rw::sys_pwritev2;
    329 pkey_mprotect [ptr size prot int] => framed mem::sys_pkey_mprotect, "no keys but -1";
    330 pkey_alloc [] => no Errno::ENOSPC, "the processor's protection keys are not given out";
    331 pkey_free [] => no Errno::EINVAL, "no key is ever given out";
    332 statx [dirfd path hex hex ptr] => full stat::sys_statx;
    333 io_pgetevents [] => no;
    334 rseq [ptr int hex int] => no;
    335 uretprobe [] => no;
    424 pidfd_send_signal [fd signal ptr hex] => full pidfd::sys_pidfd_send_signal;
    425 io_uring_setup [] => no;
    426 io_uring_enter [] => no;
    427 io_uring_register [] => no;
    428 open_tree [dirfd path hex] => full mount_fds::sys_open_tree;
    429 move_mount [dirfd path dirfd path hex] => part mount_fds::sys_move_mount, "MOVE_MOUNT_SET_GROUP, MOVE_MOUNT_BENEATH";
    430 fsopen [path hex] => full fs_config::sys_fsopen;
    431 fsconfig [fd int path ptr int] => part fs_config::sys_fsconfig, "FSCONFIG_SET_PATH, FSCONFIG_SET_FD, FSCONFIG_SET_BINARY";
    432 fsmount [fd hex hex] => full mount_fds::sys_fsmount;
    433 fspick [dirfd path hex] => full fs_config::sys_fspick;
    434 pidfd_open [int hex] => full pidfd::sys_pidfd_open;
    435 clone3 [ptr size] => framed clone::sys_clone3;
    436 close_range [fd fd hex] => full open::sys_close_range;
    437 openat2 [dirfd path ptr size] => full open::sys_openat2;
    438 pidfd_getfd [fd fd hex] => full pidfd::sys_pidfd_getfd;
    439 faccessat2 [dirfd path mode hex] => full stat::sys_faccessat2;
    440 process_madvise [] => no;
    441 epoll_pwait2 [] => full epoll::sys_epoll_pwait2;
    442 mount_setattr [dirfd path hex ptr size] => part mount_fds::sys_mount_setattr, "MOUNT_ATTR_IDMAP";
    443 quotactl_fd [] => no Errno::ENOSYS, "Linux without CONFIG_QUOTA";
    444 landlock_create_ruleset [] => no;
    445 landlock_add_rule [] => no;
    446 landlock_restrict_self [] => no;
    447 memfd_secret [] => no;
    448 process_mrelease [] => no;
    449 futex_waitv [ptr int hex ptr int] => no Errno::ENOSYS, "the host answers, platform::filter lets it through";
    450 set_mempolicy_home_node [] => no;
    451 cachestat [] => no;
    452 fchmodat2 [dirfd path mode hex] => full attr::sys_fchmodat2;
    453 map_shadow_stack [] => no;
    454 futex_wake [] => no Errno::ENOSYS, "as futex_waitv";
    455 futex_wait [] => no Errno::ENOSYS, "as futex_waitv";
    456 futex_requeue [] => no Errno::ENOSYS, "as futex_waitv";
    457 statmount [ptr ptr size hex] => full mount_info::sys_statmount;
    458 listmount [ptr ptr size hex] => full mount_info::sys_listmount;
    459 lsm_get_self_attr [] => no;
    460 lsm_set_self_attr [] => no;
    461 lsm_list_modules [] => no;
    462 mseal [ptr size hex] => full mem::sys_mseal;
    463 setxattrat [] => no;
    464 getxattrat [] => no;
    465 listxattrat [] => no;
    466 removexattrat [] => no;
    467 open_tree_attr [] => no;
    468 file_getattr [] => no;
    469 file_setattr [] => no;
}
