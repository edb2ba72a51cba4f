//! The seccomp filter of a process of ours: an allow-list, each entry with its reason (seccomp(2)).
//!
//! The tables themselves are kept by the processes (`sandbox`, `gofer`); this turns one into a filter, installs it, and prints it for
//! docs/security.md. The filter of guest code is another matter and lives in `platform`. Owns no locks.

use std::fmt::Write;

use rustix::io::Errno;

/// A test of one 64-bit argument of a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Argument `.0` equals `.1` (all 64 bits).
    Is(u8, u64),
    /// The low 32 bits of argument `.0` equal `.1` (for arguments that the host itself takes as 32-bit numbers).
    Is32(u8, u32),
    /// Argument `.0`, masked by `.1`, equals `.2` (low 32 bits only).
    Masked(u8, u32, u32),
}

/// One allowed host call. With several entries for a call, any one of them suffices; within an entry all checks must hold.
#[derive(Clone, Copy, Debug)]
pub struct Allow {
    pub number: u32,
    pub name: &'static str,
    pub checks: &'static [Check],
    /// Instead of being allowed, the call fails with this errno (for libraries that fall back by themselves).
    pub errno: Option<u16>,
    pub why: &'static str,
}

/// What happens to a call that is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The process is killed, with a line in the host's audit log.
    Kill,
    /// SIGSYS, whose handler (see [`report_violations`]) names the call and ends the process: to find out what is missing.
    Trap,
}

/// Declares an [`Allow`]: `allow!(read, "why")`, `allow!(ioctl, [Check::Is32(1, TCGETS)], "why")`.
#[macro_export]
macro_rules! allow {
    ($name:ident, $why:expr) => {
        $crate::allow!($name, [], $why)
    };
    ($name:ident, [$($check:expr),*], $why:expr) => {
        $crate::lockdown::Allow { number: $crate::lockdown::numbers::$name, name: stringify!($name), checks: &[$($check),*], errno: None, why: $why }
    };
}

/// Declares a host call that fails with an errno: `refuse!(clone3, ENOSYS, "why")`.
#[macro_export]
macro_rules! refuse {
    ($name:ident, $errno:expr, $why:expr) => {
        $crate::lockdown::Allow {
            number: $crate::lockdown::numbers::$name,
            name: stringify!($name),
            checks: &[],
            errno: Some($errno as u16),
            why: $why,
        }
    };
}

/// Numbers of host calls by name, for [`allow!`].
pub mod numbers {
    macro_rules! numbers { ($($name:ident = $number:ident),* $(,)?) => { $(#[allow(non_upper_case_globals)] pub const $name: u32 = libc::$number as u32;)* } }
    numbers! {
        read = SYS_read, write = SYS_write, close = SYS_close, fstat = SYS_fstat, lseek = SYS_lseek, mmap = SYS_mmap, mprotect = SYS_mprotect,
        munmap = SYS_munmap, brk = SYS_brk, rt_sigaction = SYS_rt_sigaction, rt_sigprocmask = SYS_rt_sigprocmask, rt_sigreturn = SYS_rt_sigreturn,
        ioctl = SYS_ioctl, pread64 = SYS_pread64, pwrite64 = SYS_pwrite64, readv = SYS_readv, writev = SYS_writev, mremap = SYS_mremap,
        madvise = SYS_madvise, dup = SYS_dup, nanosleep = SYS_nanosleep, getpid = SYS_getpid, gettid = SYS_gettid, socket = SYS_socket, sendmsg = SYS_sendmsg, recvmsg = SYS_recvmsg,
        sendto = SYS_sendto, recvfrom = SYS_recvfrom, shutdown = SYS_shutdown, socketpair = SYS_socketpair, getsockopt = SYS_getsockopt,
        clone = SYS_clone, clone3 = SYS_clone3, fork = SYS_fork, exit = SYS_exit, exit_group = SYS_exit_group, wait4 = SYS_wait4, waitid = SYS_waitid, kill = SYS_kill, tgkill = SYS_tgkill,
        fcntl = SYS_fcntl, fsync = SYS_fsync, fdatasync = SYS_fdatasync, ftruncate = SYS_ftruncate, fchmod = SYS_fchmod, fchown = SYS_fchown,
        umask = SYS_umask, sysinfo = SYS_sysinfo, getrusage = SYS_getrusage, sigaltstack = SYS_sigaltstack, prctl = SYS_prctl, sched_yield = SYS_sched_yield, futex = SYS_futex,
        sched_setaffinity = SYS_sched_setaffinity, sched_getaffinity = SYS_sched_getaffinity, getdents64 = SYS_getdents64,
        fadvise64 = SYS_fadvise64, clock_gettime = SYS_clock_gettime, clock_getres = SYS_clock_getres, clock_nanosleep = SYS_clock_nanosleep,
        epoll_ctl = SYS_epoll_ctl, epoll_wait = SYS_epoll_wait, epoll_pwait = SYS_epoll_pwait, epoll_pwait2 = SYS_epoll_pwait2, epoll_create1 = SYS_epoll_create1,
        openat = SYS_openat, openat2 = SYS_openat2, mkdirat = SYS_mkdirat, mknodat = SYS_mknodat, fchownat = SYS_fchownat,
        newfstatat = SYS_newfstatat, unlinkat = SYS_unlinkat, renameat2 = SYS_renameat2, linkat = SYS_linkat, symlinkat = SYS_symlinkat, renameat = SYS_renameat, syncfs = SYS_syncfs,
        readlinkat = SYS_readlinkat, fchmodat = SYS_fchmodat, faccessat2 = SYS_faccessat2, utimensat = SYS_utimensat, ppoll = SYS_ppoll, poll = SYS_poll,
        set_robust_list = SYS_set_robust_list, splice = SYS_splice, tee = SYS_tee, sync_file_range = SYS_sync_file_range,
        fallocate = SYS_fallocate, eventfd2 = SYS_eventfd2, pipe2 = SYS_pipe2, timerfd_create = SYS_timerfd_create, timerfd_settime = SYS_timerfd_settime,
        preadv = SYS_preadv, pwritev = SYS_pwritev, preadv2 = SYS_preadv2, pwritev2 = SYS_pwritev2, prlimit64 = SYS_prlimit64,
        process_vm_readv = SYS_process_vm_readv, process_vm_writev = SYS_process_vm_writev, getrandom = SYS_getrandom,
        memfd_create = SYS_memfd_create, membarrier = SYS_membarrier, copy_file_range = SYS_copy_file_range, statx = SYS_statx, rseq = SYS_rseq,
        pidfd_open = SYS_pidfd_open, ptrace = SYS_ptrace, pidfd_send_signal = SYS_pidfd_send_signal, pidfd_getfd = SYS_pidfd_getfd, getcpu = SYS_getcpu, close_range = SYS_close_range,
        fgetxattr = SYS_fgetxattr, fsetxattr = SYS_fsetxattr, flistxattr = SYS_flistxattr, fremovexattr = SYS_fremovexattr,
        getxattr = SYS_getxattr, setxattr = SYS_setxattr, listxattr = SYS_listxattr, removexattr = SYS_removexattr,
        lgetxattr = SYS_lgetxattr, lsetxattr = SYS_lsetxattr, llistxattr = SYS_llistxattr, lremovexattr = SYS_lremovexattr,
        flock = SYS_flock, fstatfs = SYS_fstatfs, accept4 = SYS_accept4, getcwd = SYS_getcwd, fchdir = SYS_fchdir, getuid = SYS_getuid, geteuid = SYS_geteuid, getgid = SYS_getgid, getegid = SYS_getegid,
        rt_sigtimedwait = SYS_rt_sigtimedwait, rt_sigqueueinfo = SYS_rt_sigqueueinfo, rt_tgsigqueueinfo = SYS_rt_tgsigqueueinfo, restart_syscall = SYS_restart_syscall, signalfd4 = SYS_signalfd4, sched_getparam = SYS_sched_getparam,
        setresuid = SYS_setresuid, setresgid = SYS_setresgid, setgroups = SYS_setgroups, setfsuid = SYS_setfsuid, setfsgid = SYS_setfsgid, capget = SYS_capget, capset = SYS_capset, bind = SYS_bind, connect = SYS_connect, listen = SYS_listen,
        getpgid = SYS_getpgid, getppid = SYS_getppid, uname = SYS_uname, times = SYS_times, dup3 = SYS_dup3, mincore = SYS_mincore, msync = SYS_msync, getpriority = SYS_getpriority, setpriority = SYS_setpriority, sched_getscheduler = SYS_sched_getscheduler,
    }
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;

/// Makes the filter's program: architecture, then x32, then each entry in the order of the table (put the most frequent first).
pub fn program(table: &[Allow], otherwise: Otherwise) -> Vec<libc::sock_filter> {
    let deny = match otherwise {
        Otherwise::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Otherwise::Trap => libc::SECCOMP_RET_TRAP,
    };
    let mut code = vec![
        load(4),
        jump(libc::BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(0),
        jump(libc::BPF_JSET, X32_BIT, 0, 1),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    // Calls without conditions first, in one run of comparisons: the host caches their verdict anyway (Linux 5.11).
    for entry in table.iter().filter(|e| e.checks.is_empty()) {
        code.push(jump(libc::BPF_JEQ, entry.number, 0, 1));
        code.push(ret(entry.errno.map_or(libc::SECCOMP_RET_ALLOW, |e| libc::SECCOMP_RET_ERRNO | u32::from(e))));
    }
    for entry in table.iter().filter(|e| !e.checks.is_empty()) {
        let mut body = Vec::new();
        for check in entry.checks {
            // A failed test goes to the end of the entry, which loads the number again; patched below.
            match *check {
                Check::Is(arg, value) => {
                    body.extend([load(low(arg)), jump(libc::BPF_JEQ, value as u32, 0, MISS)]);
                    body.extend([load(low(arg) + 4), jump(libc::BPF_JEQ, (value >> 32) as u32, 0, MISS)]);
                }
                Check::Is32(arg, value) => body.extend([load(low(arg)), jump(libc::BPF_JEQ, value, 0, MISS)]),
                Check::Masked(arg, mask, value) => {
                    body.extend([load(low(arg)), and(mask), jump(libc::BPF_JEQ, value, 0, MISS)])
                }
            }
        }
        body.push(ret(libc::SECCOMP_RET_ALLOW));
        let length = body.len();
        for (at, instruction) in body.iter_mut().enumerate() {
            if instruction.jf == MISS {
                instruction.jf = (length - at - 1) as u8;
            }
        }
        body.push(load(0));
        code.push(jump(libc::BPF_JEQ, entry.number, 0, body.len() as u8));
        code.extend(body);
    }
    code.push(ret(deny));
    code
}

/// Puts the filter on every thread of this process, for good. Needs no_new_privs.
pub fn install(table: &[Allow], otherwise: Otherwise) -> Result<(), Errno> {
    let mut code = program(table, otherwise);
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: `program` points to `code`, which lives until after the call; the host copies it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    match answer {
        0 => Ok(()),
        n if n > 0 => Err(Errno::SRCH), // a thread that could not be synchronised
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// With [`Otherwise::Trap`]: a handler that says on standard error which host call was refused, and ends the process with status 159 (128 + SIGSYS).
pub fn report_violations() {
    extern "C" fn handler(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the host passes a valid siginfo of SIGSYS, whose si_syscall lies at byte 24; only async-signal-safe calls follow.
        unsafe {
            let number = *info.cast::<u8>().add(24).cast::<i32>();
            let mut text = *b"stockade: host call 0000 is not on this process' allow-list\n";
            for (digit, place) in [1000, 100, 10, 1].into_iter().enumerate() {
                text[20 + digit] = b'0' + (number / place % 10) as u8;
            }
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::_exit(128 + libc::SIGSYS);
        }
    }
    // SAFETY: installs a handler that lives for ever and does only async-signal-safe calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
    }
}

/// The table as Markdown, for docs/security.md.
pub fn markdown(table: &[Allow]) -> String {
    let mut out = String::from("| host call | only with | why |\n| --- | --- | --- |\n");
    let mut rows: Vec<&Allow> = table.iter().collect();
    rows.sort_by_key(|e| e.name);
    for entry in rows {
        let mut checks: Vec<String> = entry.checks.iter().map(describe).collect();
        checks.extend(entry.errno.map(|e| format!("refused with errno {e}")));
        let _ = writeln!(out, "| {} | {} | {} |", entry.name, checks.join(", "), entry.why);
    }
    out
}

fn describe(check: &Check) -> String {
    match check {
        Check::Is(arg, value) => format!("arg {arg} = {value:#x}"),
        Check::Is32(arg, value) => format!("arg {arg} = {value:#x}"),
        Check::Masked(arg, mask, value) => format!("arg {arg} & {mask:#x} = {value:#x}"),
    }
}

/// Marks a jump to the end of an entry until the distance is known.
const MISS: u8 = 255;

fn low(arg: u8) -> u32 {
    16 + 8 * u32::from(arg)
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn and(mask: u32) -> libc::sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask)
}

fn jump(test: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | test | libc::BPF_K, yes, no, value)
}

fn ret(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const TABLE: &[Allow] = &[
        allow!(write, "output"),
        allow!(exit_group, "end"),
        allow!(fcntl, [Check::Is32(1, libc::F_GETFD as u32)], "test"),
        allow!(fcntl, [Check::Is32(1, libc::F_GETFL as u32), Check::Masked(2, 3, 1)], "test"),
    ];

    /// Runs `body` in a child under the filter; the wait status.
    fn under(body: impl FnOnce()) -> i32 {
        // SAFETY: the child does host calls only and leaves by _exit.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if install(TABLE, Otherwise::Kill).is_err() {
                    libc::_exit(99);
                }
                body();
                libc::_exit(0);
            }
            let mut status = 0;
            libc::waitpid(pid, &raw mut status, 0);
            status
        }
    }

    #[test]
    fn allows_what_is_listed_and_kills_for_the_rest() {
        // SAFETY: plain host calls without memory.
        unsafe {
            assert_eq!(under(|| ()), 0);
            assert_eq!(
                under(|| {
                    libc::fcntl(0, libc::F_GETFD);
                }),
                0
            );
            assert_eq!(
                under(|| {
                    libc::fcntl(0, libc::F_GETFL, 5);
                }),
                0
            );
            assert_eq!(
                under(|| {
                    libc::fcntl(0, libc::F_GETFL, 4);
                }) & 0x7f,
                libc::SIGSYS
            );
            assert_eq!(
                under(|| {
                    libc::fcntl(0, libc::F_SETFD, 1);
                }) & 0x7f,
                libc::SIGSYS
            );
            assert_eq!(
                under(|| {
                    libc::getppid();
                }) & 0x7f,
                libc::SIGSYS
            );
        }
    }
}
