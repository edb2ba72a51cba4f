//! Processes and threads of the host: signals, reaping, affinity, CPU clocks.
//!
//! Only [`wait_any`] sleeps. Owns no locks.

use std::os::fd::{FromRawFd, OwnedFd};

use abi::Errno;

use crate::{check, last_errno};

/// A signal to a process, given any of its threads (0 only asks whether it exists).
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::kill(pid, signal) } as i64).map(drop)
}

/// A signal to one thread; ESRCH unless `tid` is a thread of `tgid`.
pub fn tgkill(tgid: i32, tid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) }).map(drop)
}

/// CPU time, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    pub user: u64,
    pub system: u64,
}

impl CpuTimes {
    pub fn total(self) -> u64 {
        self.user + self.system
    }
}

impl std::ops::Add for CpuTimes {
    type Output = CpuTimes;

    fn add(self, other: CpuTimes) -> CpuTimes {
        CpuTimes { user: self.user + other.user, system: self.system + other.system }
    }
}

/// A child that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub pid: i32,
    /// As wait(2) gives it.
    pub status: i32,
    /// The most memory that was resident at once, KiB.
    pub peak_kb: u64,
    pub times: CpuTimes,
}

/// Waits until any child has ended, and leaves it unreaped. ECHILD: there is none. EAGAIN: one stopped for another thread that traces it, who will let it go on in a moment.
pub fn wait_any() -> Result<Ended, Errno> {
    ended_child(0)?.ok_or(Errno::EAGAIN)
}

/// As [`wait_any`], but `None` where none has ended.
pub fn poll_any() -> Result<Option<Ended>, Errno> {
    ended_child(libc::WNOHANG)
}

fn ended_child(options: i32) -> Result<Option<Ended>, Errno> {
    // SAFETY: all zeros is a valid siginfo, and a valid rusage.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let options = options | libc::WEXITED | libc::WNOWAIT | libc::__WALL;
    // SAFETY: the host fills in both. Only the host call itself, not the C library's function, knows the last argument.
    check(unsafe { libc::syscall(libc::SYS_waitid, libc::P_ALL, 0, &raw mut info, options, &raw mut usage) })?;
    // SAFETY: a siginfo of SIGCHLD has both fields.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let status = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status & 0x7f | 0x80,
        libc::CLD_KILLED => status & 0x7f,
        _ => return Err(Errno::EAGAIN),
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
    let times = CpuTimes { user: ns(usage.ru_utime), system: ns(usage.ru_stime) };
    Ok(Some(Ended { pid, status, peak_kb: usage.ru_maxrss as u64, times }))
}

/// Whether a child has ended and was not reaped.
pub fn has_ended(pid: i32) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Pid::from_raw(pid).is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))))
}

/// Removes a child that has ended from the process table.
pub fn reap(pid: i32) {
    // SAFETY: numbers and a null pointer, which is allowed.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
}

/// Another process' descriptor (Linux 5.6; needs the right to ptrace it).
pub fn take_fd(pid: i32, number: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers only; a descriptor that comes back is new and nobody else's.
    unsafe {
        let pidfd = OwnedFd::from_raw_fd(check(libc::syscall(libc::SYS_pidfd_open, pid, 0))? as i32);
        use std::os::fd::AsRawFd;
        let fd = check(libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// The cores that a thread may run on (0: the caller).
pub fn affinity(tid: i32) -> Result<Vec<usize>, Errno> {
    let pid = rustix::process::Pid::from_raw(tid);
    let set = rustix::thread::sched_getaffinity(pid).map_err(crate::errno)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|c| set.is_set(*c)).collect())
}

/// Binds a thread to cores (0: the caller).
pub fn set_affinity(tid: i32, cores: &[usize]) -> Result<(), Errno> {
    let mut set = rustix::thread::CpuSet::new();
    for core in cores.iter().filter(|c| **c < rustix::thread::CpuSet::MAX_CPU) {
        set.set(*core);
    }
    rustix::thread::sched_setaffinity(rustix::process::Pid::from_raw(tid), &set).map_err(crate::errno)
}

/// CPU time of a whole process, ns.
pub fn cpu_time(pid: i32) -> Result<u64, Errno> {
    let clock = (!pid as libc::clockid_t) << 3 | 2; // CPUCLOCK_SCHED of a process, see clock_getcpuclockid(3)
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the host writes the timespec.
    if unsafe { libc::clock_gettime(clock, &raw mut t) } < 0 {
        return Err(last_errno());
    }
    Ok(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// What [`set_soft_limit`] limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    AddressSpace,
    Data,
}

/// Sets the soft limit (bytes) of another process of the same user, cut at its hard limit. setrlimit(2).
pub fn set_soft_limit(pid: i32, limit: Limit, soft: u64) -> Result<(), Errno> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let resource = match limit {
        Limit::AddressSpace => Resource::As,
        Limit::Data => Resource::Data,
    };
    // Who sets no hard limit below the one it has changes the soft one alone.
    let hard = rustix::process::getrlimit(resource).maximum;
    let current = Some(soft).filter(|soft| *soft < hard.unwrap_or(u64::MAX)).or(hard);
    prlimit(Pid::from_raw(pid), resource, Rlimit { current, maximum: hard }).map(drop).map_err(crate::errno)
}

/// Fills a buffer with random bytes.
pub fn random(into: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the host writes the buffer; up to 256 bytes never come short.
    let r = unsafe { libc::getrandom(into.as_mut_ptr().cast(), into.len(), 0) };
    if check(r as i64)? as usize == into.len() { Ok(()) } else { Err(Errno::EIO) }
}
