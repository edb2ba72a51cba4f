//! Which arguments of a system call point to guest memory, for those calls whose data the trampolines carry in the data window. Compiled into the kernel process and the stub.
//!
//! A word for each call: the low half says what the call reads, the high half what it writes. Of each half, byte 0 is the kind (0: nothing), byte 1 the argument with the address; then for `FIXED` 16 bits with
//! the bytes, for `COUNTED` the argument that counts and the bytes of one, for `STRING` nothing; `LOCAL` has a byte with the index of the answer. A call that is not here, or whose data are larger, has them fetched by the kernel process.
//! Neighbours: the stub's `trampoline`, `window` (both read it). The calls' pages of section 2. Owns no locks.

#![allow(dead_code)] // each side uses its half

pub const FIXED: u32 = 1;
pub const COUNTED: u32 = 2;
pub const STRING: u32 = 3;
pub const LOCAL: u32 = 4;

/// Most bytes that are copied into the window, of which a string.
pub const MOST_IN: usize = 0x4000;
pub const MOST_STRING: usize = 0x400;
/// Most bytes that are copied out of it. Both fit the window.
pub const MOST_OUT: usize = 0x8000;

pub const NUMBERS: usize = 440;

const NONE: u32 = 0;

const fn string(arg: u32) -> u32 {
    STRING | arg << 8
}

const fn fixed(arg: u32, bytes: u32) -> u32 {
    FIXED | arg << 8 | bytes << 16
}

/// Answered by the trampoline, with a word of `Mailbox::ids`.
const fn local(id: u32) -> u32 {
    LOCAL | id << 8
}

/// In place of an id's index: set_robust_list(2), which is noted.
pub const ROBUST: u32 = 6;
/// clock_gettime(2), which the host's vDSO answers.
pub const CLOCK: u32 = 7;

const fn counted(arg: u32, by: u32, each: u32) -> u32 {
    COUNTED | arg << 8 | by << 16 | each << 24
}

pub static TABLE: [u64; NUMBERS] = table();

const fn table() -> [u64; NUMBERS] {
    let mut t = [0u64; NUMBERS];
    let mut i = 0;
    while i < CALLS.len() {
        let (nr, reads, writes) = CALLS[i];
        t[nr] = reads as u64 | (writes as u64) << 32;
        i += 1;
    }
    t
}

/// Where the data of call `nr` lie in guest memory, by the table: address and bytes of what it reads, and of what it may write. Of what it reads, only the call itself knows how much.
pub fn ranges(nr: u32, args: &[u64; 6]) -> (u64, (u64, usize)) {
    let word = TABLE.get(nr as usize).copied().unwrap_or(0);
    let argument = |n: u32| args.get(n as usize & 0xff).copied().unwrap_or(0);
    let (reads, writes) = (word as u32, (word >> 32) as u32);
    let len = match writes & 0xff {
        FIXED => writes >> 16,
        COUNTED => {
            let count = argument(writes >> 16 & 0xff).min(MOST_OUT as u64) as u32;
            (count * (writes >> 24)).min(MOST_OUT as u32)
        }
        _ => 0,
    };
    (argument(reads >> 8 & 0xff), (argument(writes >> 8 & 0xff), len as usize))
}

/// Sizes of structures of the x86-64 ABI.
const STAT: u32 = 144;
const STATX: u32 = 256;
const STATFS: u32 = 120;
const TIMESPEC: u32 = 16;
const ITIMERVAL: u32 = 32;
const SIGACTION: u32 = 32;
const SIGSET: u32 = 8;
const RUSAGE: u32 = 144;
const RLIMIT: u32 = 16;
const UTSNAME: u32 = 390;
const SYSINFO: u32 = 112;
const MSGHDR: u32 = 56;
const IOVEC: u32 = 16;
const POLLFD: u32 = 8;
const EPOLL_EVENT: u32 = 12;

/// Number, what it reads, what it writes.
const CALLS: &[(usize, u32, u32)] = &[
    (0, NONE, counted(1, 2, 1)),                         // read
    (1, counted(1, 2, 1), NONE),                         // write
    (2, string(0), NONE),                                // open
    (4, string(0), fixed(1, STAT)),                      // stat
    (5, NONE, fixed(1, STAT)),                           // fstat
    (6, string(0), fixed(1, STAT)),                      // lstat
    (7, counted(0, 1, POLLFD), counted(0, 1, POLLFD)),   // poll
    (13, fixed(1, SIGACTION), fixed(2, SIGACTION)),      // rt_sigaction
    (14, fixed(1, SIGSET), fixed(2, SIGSET)),            // rt_sigprocmask
    (17, NONE, counted(1, 2, 1)),                        // pread64
    (18, counted(1, 2, 1), NONE),                        // pwrite64
    (19, counted(1, 2, IOVEC), NONE),                    // readv
    (20, counted(1, 2, IOVEC), NONE),                    // writev
    (21, string(0), NONE),                               // access
    (22, NONE, fixed(0, 8)),                             // pipe
    (35, fixed(0, TIMESPEC), NONE),                      // nanosleep
    (38, fixed(1, ITIMERVAL), fixed(2, ITIMERVAL)),      // setitimer
    (39, local(0), NONE),                                // getpid
    (44, counted(1, 2, 1), NONE),                        // sendto
    (45, NONE, counted(1, 2, 1)),                        // recvfrom
    (46, fixed(1, MSGHDR), NONE),                        // sendmsg
    (47, fixed(1, MSGHDR), NONE),                        // recvmsg
    (61, NONE, fixed(1, 4)),                             // wait4
    (63, NONE, fixed(0, UTSNAME)),                       // uname
    (79, NONE, counted(0, 1, 1)),                        // getcwd
    (80, string(0), NONE),                               // chdir
    (82, string(0), NONE),                               // rename
    (83, string(0), NONE),                               // mkdir
    (84, string(0), NONE),                               // rmdir
    (85, string(0), NONE),                               // creat
    (87, string(0), NONE),                               // unlink
    (89, string(0), counted(1, 2, 1)),                   // readlink
    (90, string(0), NONE),                               // chmod
    (92, string(0), NONE),                               // chown
    (94, string(0), NONE),                               // lchown
    (97, NONE, fixed(1, RLIMIT)),                        // getrlimit
    (98, NONE, fixed(1, RUSAGE)),                        // getrusage
    (99, NONE, fixed(0, SYSINFO)),                       // sysinfo
    (102, local(2), NONE),                               // getuid
    (104, local(3), NONE),                               // getgid
    (107, local(4), NONE),                               // geteuid
    (108, local(5), NONE),                               // getegid
    (137, string(0), fixed(1, STATFS)),                  // statfs
    (138, NONE, fixed(1, STATFS)),                       // fstatfs
    (186, local(1), NONE),                               // gettid
    (217, NONE, counted(1, 2, 1)),                       // getdents64
    (228, local(CLOCK), NONE),                           // clock_gettime
    (230, fixed(2, TIMESPEC), NONE),                     // clock_nanosleep
    (232, NONE, counted(1, 2, EPOLL_EVENT)),             // epoll_wait
    (233, fixed(3, EPOLL_EVENT), NONE),                  // epoll_ctl
    (257, string(1), NONE),                              // openat
    (258, string(1), NONE),                              // mkdirat
    (262, string(1), fixed(2, STAT)),                    // newfstatat
    (263, string(1), NONE),                              // unlinkat
    (264, string(1), NONE),                              // renameat
    (267, string(1), counted(2, 3, 1)),                  // readlinkat
    (268, string(1), NONE),                              // fchmodat
    (269, string(1), NONE),                              // faccessat
    (271, counted(0, 1, POLLFD), counted(0, 1, POLLFD)), // ppoll
    (273, local(ROBUST), NONE),                          // set_robust_list
    (280, string(1), NONE),                              // utimensat
    (281, NONE, counted(1, 2, EPOLL_EVENT)),             // epoll_pwait
    (293, NONE, fixed(0, 8)),                            // pipe2
    (302, fixed(2, RLIMIT), fixed(3, RLIMIT)),           // prlimit64
    (316, string(1), NONE),                              // renameat2
    (318, NONE, counted(0, 1, 1)),                       // getrandom
    (332, string(1), fixed(4, STATX)),                   // statx
    (439, string(1), NONE),                              // faccessat2
];
