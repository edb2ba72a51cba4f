//! The kernel process' own seccomp filter: every host call it may make, with its reason. docs/security.md is printed from this table.
//!
//! The stubs do not inherit it: the platform's zygotes are forked before. Neighbours: `enter` (what comes before), `host::lockdown` (the
//! machinery). Owns no locks.

use host::lockdown::Check::{Is32, Masked};
use host::lockdown::{Allow, Otherwise, install as install_table, report_violations};
use host::rustix::io::Errno;
use host::{allow, refuse};

const ENOSYS: u16 = 38;
const PROT_EXEC: u32 = 4;
/// What glibc and Rust start a thread with: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID.
const THREAD: u32 = 0x003d_0f00;

/// Most frequent first, as far as calls with conditions go.
pub const TABLE: &[Allow] = &[
    allow!(ioctl, [Is32(1, 0xc050_2100)], "SECCOMP_IOCTL_NOTIF_RECV: the next doorbell"),
    allow!(ioctl, [Is32(1, 0xc018_2101)], "SECCOMP_IOCTL_NOTIF_SEND: the answer to a doorbell"),
    allow!(ioctl, [Is32(1, 0x4008_2102)], "SECCOMP_IOCTL_NOTIF_ID_VALID: is the asking thread still there"),
    allow!(ioctl, [Is32(1, 0x4018_2103)], "SECCOMP_IOCTL_NOTIF_ADDFD: hand a file to a stub, to map or read it"),
    allow!(ioctl, [Is32(1, 0x4008_2104)], "SECCOMP_IOCTL_NOTIF_SET_FLAGS: wake-ups on the same core"),
    allow!(ioctl, [Is32(1, 0x5413)], "TIOCGWINSZ: size of a donated terminal"),
    allow!(ioctl, [Is32(1, 0x5401)], "TCGETS: is a donated descriptor a terminal"),
    allow!(ioctl, [Is32(1, 0x541b)], "FIONREAD: bytes waiting in a donated pipe or socket"),
    allow!(ioctl, [Is32(1, 0x5421)], "FIONBIO: sockets that must not sleep"),
    allow!(ioctl, [Is32(1, 0xc010_6610)], "PAGEMAP_SCAN: memory use of stubs"),
    allow!(mmap, [Masked(2, PROT_EXEC, 0)], "memory of the kernel itself, mailboxes, rings; never executable"),
    allow!(mprotect, [Masked(2, PROT_EXEC, 0)], "guard pages of thread stacks; never executable"),
    allow!(clone, [Is32(0, THREAD)], "worker, spare and timer threads; no new processes"),
    refuse!(clone3, ENOSYS, "its flags cannot be checked; the C library falls back to clone"),
    allow!(prctl, [Is32(0, 15)], "PR_SET_NAME: names of threads"),
    allow!(prctl, [Is32(0, 1)], "PR_SET_PDEATHSIG: a detached sandbox outlives its creator"),
    allow!(prctl, [Is32(0, 0x5356_4d41)], "PR_SET_VMA: the allocator names its memory"),
    allow!(prctl, [Is32(0, 29)], "PR_SET_TIMERSLACK: precise time-outs"),
    allow!(fcntl, [Is32(1, 1030)], "F_DUPFD_CLOEXEC: keep a donated descriptor"),
    allow!(fcntl, [Is32(1, 1)], "F_GETFD: debug assertions of the standard library"),
    allow!(fcntl, [Is32(1, 2)], "F_SETFD: close-on-exec"),
    allow!(fcntl, [Is32(1, 3)], "F_GETFL: how a donated descriptor was opened"),
    allow!(fcntl, [Is32(1, 4)], "F_SETFL: O_NONBLOCK and O_APPEND of donated files"),
    allow!(fcntl, [Is32(1, 1033)], "F_ADD_SEALS: mailboxes and guests' memfds"),
    allow!(fcntl, [Is32(1, 1034)], "F_GET_SEALS: guests' memfds"),
    allow!(socketpair, [Is32(0, 1)], "AF_UNIX: further connections to a gofer"),
    allow!(process_vm_readv, "read memory of guests"),
    allow!(process_vm_writev, "write memory of guests"),
    allow!(futex, "locks of the kernel; wake-ups of stubs and of the gofer's ring"),
    allow!(read, "donated streams, event descriptors, the gofer's files"),
    allow!(write, "donated streams, event descriptors, the gofer's files"),
    allow!(readv, "as read"),
    allow!(writev, "as write"),
    allow!(pread64, "the gofer's files and memfds, which are never mapped here"),
    allow!(pwrite64, "as pread64"),
    allow!(preadv, "as pread64"),
    allow!(pwritev, "as pread64"),
    allow!(preadv2, "as pread64, without sleeping (RWF_NOWAIT)"),
    allow!(pwritev2, "as pread64, without sleeping (RWF_NOWAIT)"),
    allow!(lseek, "offsets of donated files, holes"),
    allow!(close, "descriptors that are no longer needed"),
    allow!(dup, "keep a donated descriptor"),
    allow!(fstat, "kind and size of donated files"),
    allow!(newfstatat, "kind and size of donated files; the root is empty"),
    allow!(statx, "as newfstatat, and times"),
    allow!(fstatfs, "file system of donated files"),
    allow!(
        openat,
        "/proc/PID of stubs, below the procfs kept from set-up; reopen a descriptor; memory files of a tmpfs of our own; the root is empty, and a donated folder's mount ends at it"
    ),
    allow!(openat2, "as openat, without leaving the folder: the container's files (directfs)"),
    allow!(readlinkat, "/proc/PID/fd of stubs; links in the container's folders"),
    allow!(getdents64, "/proc/PID/task of stubs; the container's folders"),
    allow!(ftruncate, "size of files and memfds"),
    allow!(fallocate, "space and holes of files and memfds"),
    allow!(fsync, "guests' fsync on the gofer's files"),
    allow!(fdatasync, "as fsync"),
    allow!(sync_file_range, "as fsync"),
    allow!(fadvise64, "read-ahead of the gofer's files"),
    allow!(copy_file_range, "copies between the gofer's files"),
    allow!(splice, "copies between donated pipes and files"),
    allow!(memfd_create, "mailboxes, shared memory and files of guests"),
    allow!(fchmod, "a memfd's rights before a stub gets it"),
    allow!(flock, "locks on the gofer's files"),
    allow!(munmap, "memory of the kernel itself"),
    allow!(mremap, "memory of the kernel itself"),
    allow!(madvise, "memory of the kernel itself"),
    allow!(brk, "memory of the kernel itself"),
    allow!(membarrier, "order with stubs that poll"),
    allow!(epoll_create1, "readiness of donated descriptors"),
    allow!(epoll_ctl, "readiness of donated descriptors"),
    allow!(epoll_wait, "readiness of donated descriptors"),
    allow!(epoll_pwait, "readiness of donated descriptors"),
    allow!(epoll_pwait2, "readiness of donated descriptors, precise time-outs"),
    allow!(poll, "the control server's loop; readiness of donated descriptors"),
    allow!(ppoll, "as poll"),
    allow!(eventfd2, "wake-ups between threads"),
    allow!(timerfd_create, "timers"),
    allow!(timerfd_settime, "timers"),
    allow!(pipe2, "splice between donated descriptors"),
    allow!(accept4, "the control server's listener"),
    allow!(sendmsg, "control protocol, gofer protocol, donated sockets"),
    allow!(recvmsg, "control protocol, gofer protocol, donated sockets"),
    allow!(sendto, "as sendmsg"),
    allow!(recvfrom, "as recvmsg"),
    allow!(shutdown, "end of a connection"),
    allow!(listen, "guests' listen on a socket that the gofer bound to a name on the host (--host-uds)"),
    allow!(getsockopt, "kind of a donated socket"),
    allow!(waitid, "stubs that ended"),
    allow!(wait4, "stubs that ended"),
    allow!(tgkill, "kick a thread of a stub; only processes of this PID namespace can be reached"),
    allow!(kill, "end a stub; only processes of this PID namespace can be reached"),
    allow!(rt_tgsigqueueinfo, "kick a thread of a stub"),
    allow!(pidfd_open, "watch a stub"),
    allow!(pidfd_getfd, "the listener of a further shard, out of its zygote"),
    allow!(getcpu, "the worker's core (where the vDSO falls back)"),
    allow!(pidfd_send_signal, "end a stub"),
    allow!(signalfd4, "signals from the host, for the control server"),
    allow!(rt_sigaction, "threads' start; SIGSYS report"),
    allow!(rt_sigprocmask, "threads' start and end"),
    allow!(rt_sigreturn, "return from a signal handler"),
    allow!(rt_sigtimedwait, "signals from the host"),
    allow!(sigaltstack, "threads' start and end"),
    allow!(set_robust_list, "threads' start"),
    allow!(rseq, "threads' start"),
    allow!(gettid, "locks, logs"),
    allow!(getpid, "locks, logs"),
    allow!(sched_yield, "locks under contention; the poller gives its core away"),
    allow!(sched_getaffinity, "processors that guests may see and use"),
    allow!(sched_setaffinity, "workers and their stubs on one core"),
    allow!(setpriority, "nice values of guests"),
    allow!(getpriority, "nice values of guests"),
    allow!(prlimit64, "limits of stubs and of the kernel itself"),
    allow!(getrusage, "CPU time"),
    allow!(sysinfo, "memory and load for /proc"),
    allow!(uname, "the host's release, for features"),
    allow!(clock_gettime, "clocks (where the vDSO falls back)"),
    allow!(clock_getres, "clocks"),
    allow!(clock_nanosleep, "time-outs"),
    allow!(nanosleep, "time-outs"),
    allow!(getrandom, "/dev/urandom, getrandom of guests, hash seeds"),
    allow!(restart_syscall, "a host call that was stopped and continued"),
    allow!(exit, "end of a thread"),
    allow!(exit_group, "end of the sandbox"),
];

/// What comes on top where the host allows no listener (docs/adr/0008). Only processes of this PID namespace can be reached, which are the stubs.
pub const WITHOUT_LISTENER: &[Allow] = &[
    allow!(ptrace, [Is32(0, 0x4206)], "PTRACE_SEIZE: watch a stub's thread at the clone call that it was told to make"),
    allow!(ptrace, [Is32(0, 0x4207)], "PTRACE_INTERRUPT: let go of a thread that has not stopped"),
    allow!(ptrace, [Is32(0, 7)], "PTRACE_CONT: let it go on"),
    allow!(ptrace, [Is32(0, 24)], "PTRACE_SYSCALL: to the end of its call; to a child's first call"),
    allow!(ptrace, [Is32(0, 17)], "PTRACE_DETACH: let it go"),
    allow!(ptrace, [Is32(0, 0x4201)], "PTRACE_GETEVENTMSG: which child it made"),
    allow!(ptrace, [Is32(0, 0x420e)], "PTRACE_GET_SYSCALL_INFO: the call's arguments and result"),
    allow!(ioctl, [Is32(1, 0x5411)], "SIOCOUTQ: has a stub received the files that it was sent"),
];

/// Shuts the door. With `debug` a refused host call is named before the process ends; else the host kills it at once.
pub fn install(debug: bool, listener: bool) -> Result<(), Errno> {
    if debug {
        report_violations();
    }
    let mut table = TABLE.to_vec();
    if !listener {
        table.extend(WITHOUT_LISTENER);
    }
    install_table(&table, if debug { Otherwise::Trap } else { Otherwise::Kill })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// `UPDATE=1 cargo test -p sandbox` writes the page anew.
    #[test]
    fn the_security_page_shows_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let mut page = std::fs::read_to_string(path).unwrap();
        for (name, table) in [("kernel", TABLE), ("without a listener", WITHOUT_LISTENER)] {
            let (start, end) = (format!("<!-- {name}: host calls -->\n"), format!("<!-- {name}: end -->"));
            let (from, to) = (page.find(&start).unwrap() + start.len(), page.find(&end).unwrap());
            let table = host::lockdown::markdown(table);
            if std::env::var_os("UPDATE").is_some() {
                page.replace_range(from..to, &table);
                std::fs::write(path, &page).unwrap();
            } else {
                assert_eq!(page.get(from..to), Some(table.as_str()), "run `UPDATE=1 cargo test -p sandbox`");
            }
        }
    }
}
