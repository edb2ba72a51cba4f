//! Starts a process of our own binary in namespaces of its own (clone3(2), user_namespaces(7), execve(2)).
//!
//! The command line uses it for the kernel process and for the gofer. The child does only host calls between clone and exec, on data that was
//! prepared before; it tells a failure through a pipe that closes by itself at exec. Neighbours: `namespaces` (what the child does next), `message`.
//! Owns no locks. Call it from a process with one thread: the child of a process with several could find another thread's locks taken.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Namespaces that the child gets anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub user: bool,
    pub mount: bool,
    pub pid: bool,
    pub network: bool,
    pub ipc: bool,
    pub uts: bool,
    pub cgroup: bool,
}

/// One line of uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Who the child is in its new user namespace.
#[derive(Clone, Debug, Default)]
pub enum IdMap {
    /// No new user namespace.
    #[default]
    None,
    /// User and group 0 inside are the caller's own outside. Needs no privilege.
    Own,
    /// These ranges, written by the caller (needs CAP_SETUID and CAP_SETGID, see `newuidmap`(1) otherwise).
    Ranges { uids: Vec<IdRange>, gids: Vec<IdRange> },
}

/// What to start. The binary is the caller's own.
pub struct Spawn<'a> {
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub namespaces: Namespaces,
    pub ids: IdMap,
    /// Descriptor `n` of the child is `fds[n]`. Nothing else is passed on.
    pub fds: Vec<BorrowedFd<'a>>,
    /// A session of its own, so that a terminal's signals go to the caller alone.
    pub session: bool,
    /// Becomes the controlling terminal (needs `session`).
    pub terminal: Option<BorrowedFd<'a>>,
    /// SIGKILL for the child when the calling thread dies.
    pub die_with_parent: bool,
    /// No address randomisation (personality(2)): the stub's region must be free in the kernel process.
    pub fixed_addresses: bool,
    /// Open `cgroup.procs` files that the child enters before it does anything else.
    pub cgroups: Vec<BorrowedFd<'a>>,
}

/// Why a process could not be started: the step, the host's error, what to do.
#[derive(Debug, thiserror::Error)]
#[error("starting {what}: {step}: {errno}{remedy}")]
pub struct SpawnError {
    pub what: String,
    pub step: &'static str,
    pub errno: Errno,
    remedy: &'static str,
}

/// A started process. Dropping it leaves the process alone.
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    what: String,
    report: File,
}

const STEPS: [&str; 10] = [
    "clone3",
    "entering its cgroup",
    "making a session",
    "setting the parent-death signal",
    "writing its user and group map",
    "waiting for its user and group map",
    "taking the terminal",
    "passing descriptors",
    "setting its personality",
    "executing /proc/self/exe",
];

impl Spawn<'_> {
    /// Starts the process and returns while it is on its way to exec; [`Child::confirm`] says whether it got there.
    pub fn start(&self) -> Result<Child, SpawnError> {
        let what = self.args.get(1).or(self.args.first()).map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
        let fail = |step: usize, errno: Errno| SpawnError::new(&what, step, errno);
        let argv = pointers(&self.args);
        let envp = pointers(&self.env);
        let (report, report_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| fail(0, e))?;
        let (gate, gate_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| fail(0, e))?;
        let own_map = OwnMap::new();
        let mut pidfd: RawFd = -1;
        let mut args = CloneArgs {
            flags: self.flags() | libc::CLONE_PIDFD as u64,
            pidfd: &raw mut pidfd as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        // SAFETY: fork semantics (no CLONE_VM, no new stack): the child gets a copy of everything. `args` outlives the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
        if pid < 0 {
            return Err(fail(0, last_errno()));
        }
        if pid == 0 {
            let mut report = report_in.as_raw_fd();
            let (step, errno) =
                self.child(&argv, &envp, &own_map, &mut report, [gate.as_raw_fd(), gate_in.as_raw_fd()]);
            let word = ((step as u32) << 16 | errno as u32).to_le_bytes();
            // SAFETY: a plain write of four bytes and an exit, in the forked child.
            unsafe {
                libc::write(report, word.as_ptr().cast(), 4);
                libc::_exit(127)
            }
        }
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the host has put a new descriptor here that nobody else owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let child = Child { pid: pid as i32, pidfd, what, report: report.into() };
        drop(report_in);
        drop(gate);
        if let IdMap::Ranges { uids, gids } = &self.ids {
            if let Err(e) = write_maps(child.pid, uids, gids) {
                child.kill();
                return Err(SpawnError::new(&child.what, 4, Errno::from_io_error(&e).unwrap_or(Errno::IO)));
            }
            let _ = File::from(gate_in).write_all(b"x");
        }
        Ok(child)
    }

    fn flags(&self) -> u64 {
        let n = &self.namespaces;
        let mut flags = 0;
        for (wanted, flag) in [
            (n.user, libc::CLONE_NEWUSER),
            (n.mount, libc::CLONE_NEWNS),
            (n.pid, libc::CLONE_NEWPID),
            (n.network, libc::CLONE_NEWNET),
            (n.ipc, libc::CLONE_NEWIPC),
            (n.uts, libc::CLONE_NEWUTS),
            (n.cgroup, libc::CLONE_NEWCGROUP),
        ] {
            if wanted {
                flags |= flag as u64;
            }
        }
        flags
    }

    /// Runs in the child; returns only when a step failed.
    fn child(
        &self,
        argv: &[*const libc::c_char],
        envp: &[*const libc::c_char],
        map: &OwnMap,
        report: &mut RawFd,
        [gate, gate_in]: [RawFd; 2],
    ) -> (u16, u16) {
        // SAFETY: host calls only, in a forked copy with one thread, on data prepared before the fork; nothing is allocated.
        unsafe {
            for group in &self.cgroups {
                if libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) < 0 {
                    return failed(1);
                }
            }
            if self.session && libc::setsid() < 0 {
                return failed(2);
            }
            if self.die_with_parent && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return failed(3);
            }
            match self.ids {
                IdMap::None => {}
                IdMap::Own => {
                    for (path, text) in map.files() {
                        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                        if fd < 0 || libc::write(fd, text.as_ptr().cast(), text.len()) < 0 {
                            return failed(4);
                        }
                        libc::close(fd);
                    }
                }
                IdMap::Ranges { .. } => {
                    libc::close(gate_in);
                    let mut byte = 0u8;
                    if libc::read(gate, (&raw mut byte).cast(), 1) != 1 {
                        return failed(5);
                    }
                    if libc::setresgid(0, 0, 0) < 0
                        || libc::setresuid(0, 0, 0) < 0
                        || libc::prctl(libc::PR_SET_PDEATHSIG, if self.die_with_parent { libc::SIGKILL } else { 0 }) < 0
                    {
                        return failed(5);
                    }
                }
            }
            if let Some(tty) = &self.terminal
                && libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) < 0
            {
                return failed(6);
            }
            if self.fds.len() > MAX_FDS {
                return (7, libc::EMFILE as u16);
            }
            // Out of the way of the targets first, then into place: dup2 clears close-on-exec, and all others close at exec.
            let above = self.fds.len() as i32 + 1;
            *report = libc::fcntl(*report, libc::F_DUPFD_CLOEXEC, above);
            let mut moved = [0 as RawFd; MAX_FDS];
            for (fd, slot) in self.fds.iter().zip(moved.iter_mut()) {
                *slot = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above);
                if *slot < 0 {
                    return failed(7);
                }
            }
            if *report < 0 {
                return failed(7);
            }
            for (target, from) in moved.iter().take(self.fds.len()).enumerate() {
                if libc::dup2(*from, target as RawFd) < 0 {
                    return failed(7);
                }
            }
            if libc::syscall(libc::SYS_close_range, self.fds.len(), u32::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
                return failed(7);
            }
            if self.fixed_addresses && libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) < 0 {
                return failed(8);
            }
            if self.fixed_addresses {
                lower_mmap_base();
            }
            // Signals that the caller blocks or ignores must not be blocked or ignored in the child.
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), envp.as_ptr());
            failed(9)
        }
    }
}

/// Has the program that is executed next map its memory below [`MMAP_BASE`]. Where the hard limit forbids it, it maps higher: a fork then costs more (docs/platform.md, "The region").
///
/// # Safety
/// In the forked child.
unsafe fn lower_mmap_base() {
    // SAFETY: host calls on a structure of our own.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit);
        limit.rlim_cur = TASK_END - STACK_GUARD_GAP - MMAP_BASE;
        libc::setrlimit(libc::RLIMIT_STACK, &raw const limit);
    }
}

/// Where the host begins to look for room, downwards: below the range that RLIMIT_STACK keeps for the stack. So the stub's region, which lies above, needs no neighbours that keep others away. A little above a
/// multiple of 4 GiB, so that the vDSO, which comes first, shares its page tables with nobody.
const MMAP_BASE: u64 = 0x7fe0_0001_0000;
const TASK_END: u64 = 0x7fff_ffff_f000;
/// Linux' default.
const STACK_GUARD_GAP: u64 = 256 * 4096;

/// More are never passed: standard streams, control socket, listener, gofer connections.
const MAX_FDS: usize = 64;

impl Child {
    /// Waits until the process has executed its new image.
    pub fn confirm(&mut self) -> Result<(), SpawnError> {
        let mut word = [0u8; 4];
        match self.report.read_exact(&mut word) {
            Err(_) => Ok(()), // closed by exec without a word
            Ok(()) => {
                let word = u32::from_le_bytes(word);
                Err(SpawnError::new(
                    &self.what,
                    (word >> 16) as usize,
                    Errno::from_raw_os_error((word & 0xffff) as i32),
                ))
            }
        }
    }

    /// SIGKILL; no effect on one that has ended.
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }
}

impl SpawnError {
    fn new(what: &str, step: usize, errno: Errno) -> Self {
        let remedy = match (step, errno) {
            (0, Errno::PERM | Errno::ACCESS) => {
                ": namespaces are not allowed here; check the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, or run as root"
            }
            (0, Errno::NOSPC | Errno::USERS) => ": too many namespaces; raise the sysctls user.max_*_namespaces",
            (0, Errno::AGAIN) => ": the limit of processes is reached; raise `ulimit -u` or the cgroup's pids.max",
            (0, Errno::NOMEM) => ": the host is out of memory",
            (0, Errno::MFILE | Errno::NFILE) => ": too many open files; raise `ulimit -n`",
            (4, _) => ": give the user subordinate ids (/etc/subuid, /etc/subgid) or run as root",
            (9, Errno::ACCESS) => ": is /proc mounted, and the file system of the stockade binary not noexec?",
            (9, Errno::NOENT) => ": /proc must be mounted",
            _ => "",
        };
        SpawnError { what: what.to_string(), step: STEPS.get(step).copied().unwrap_or("a step"), errno, remedy }
    }
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The three files of a map "0 inside is the caller", as text that is ready before the fork.
struct OwnMap {
    uid: String,
    gid: String,
}

impl OwnMap {
    fn new() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        OwnMap { uid: format!("0 {uid} 1"), gid: format!("0 {gid} 1") }
    }

    fn files(&self) -> [(&'static CStr, &[u8]); 3] {
        [
            (c"/proc/self/setgroups", b"deny"),
            (c"/proc/self/uid_map", self.uid.as_bytes()),
            (c"/proc/self/gid_map", self.gid.as_bytes()),
        ]
    }
}

fn write_maps(pid: i32, uids: &[IdRange], gids: &[IdRange]) -> std::io::Result<()> {
    let text = |ranges: &[IdRange]| {
        ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect::<String>()
    };
    std::fs::write(format!("/proc/{pid}/uid_map"), text(uids))?;
    std::fs::write(format!("/proc/{pid}/gid_map"), text(gids))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn failed(step: u16) -> (u16, u16) {
    (step, last_errno().raw_os_error() as u16)
}

/// Bit N: descriptor N was open when [`remember_open`] was called.
static OPEN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();

/// Notes which descriptors the process was started with; to be called before it opens any.
pub fn remember_open() {
    // SAFETY: F_GETFD on a number changes nothing.
    let open = |number: &RawFd| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0;
    let _ = OPEN.set((0..64).filter(open).fold(0, |bits, number| bits | 1 << number));
}

/// A descriptor that this process was started with (see [`Spawn::fds`]); close-on-exec from now on. Each number can be taken once.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    static TAKEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let bit = 1u64.checked_shl(u32::try_from(number).ok()?)?;
    if OPEN.get().is_some_and(|open| open & bit == 0) {
        return None;
    }
    if TAKEN.fetch_or(bit, std::sync::atomic::Ordering::Relaxed) & bit != 0 {
        return None;
    }
    // SAFETY: fcntl on a number; a descriptor that was open at the start is the starter's gift, and the test above gives each number to one owner.
    unsafe {
        if libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) < 0 { None } else { Some(OwnedFd::from_raw_fd(number)) }
    }
}
