//! Signals of a process of ours as a descriptor to poll (signalfd(2)), and the wait status of its children (waitid(2)).
//!
//! Neighbours: the control server of `sandbox` and the foreground loop of `runtime`. Owns no locks.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// One signal that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub number: i32,
    /// A process sent it (SI_USER, SI_QUEUE, SI_TKILL), not the host's kernel or a terminal.
    pub by_process: bool,
}

/// A non-blocking signalfd.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks the signals for this thread, and all threads it starts from now on, and delivers them here.
    pub fn block(signals: &[i32]) -> Result<SignalFd, Errno> {
        // SAFETY: `set` is initialised by sigemptyset before use; plain host calls.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(last());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 { Err(last()) } else { Ok(SignalFd(OwnedFd::from_raw_fd(fd))) }
        }
    }

    /// The next signal; `None` when there is none now.
    pub fn next(&self) -> Option<Incoming> {
        let mut bytes = [0u8; 128];
        let got = rustix::io::read(&self.0, &mut bytes).ok()?;
        if got < 128 {
            return None;
        }
        let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        // SI_USER 0, SI_QUEUE -1, SI_TKILL -6; SI_KERNEL is 0x80.
        Some(Incoming { number: word(0), by_process: word(8) <= 0 })
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal to the caller itself after setting it to its default action: to end as a child did.
pub fn die_of(signal: i32) {
    // SAFETY: plain host calls on this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// kill(2), to a child of ours.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: a plain host call.
    unsafe {
        libc::kill(pid, signal);
    }
}

/// Stops this process, as its terminal's stop character would; returns when it is continued.
pub fn stop_self() {
    // SAFETY: a plain host call.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
}

/// The exit status of a child by its pidfd, when it has ended: code, or 128 + signal. `None`: it lives, or is not our child.
pub fn ended(pidfd: &OwnedFd) -> Option<u8> {
    // SAFETY: waitid fills `info`, which is plain data; P_PIDFD with an open pidfd.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOHANG)
            != 0
            || info.si_pid() == 0
        {
            return None;
        }
        let status = info.si_status();
        Some(if info.si_code == libc::CLD_EXITED { status as u8 } else { 128 | status as u8 })
    }
}

/// A copy of this process (fork(2)): `None` in the child. Only for a process with one thread.
pub fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: the caller promises one thread, so the child finds no lock taken.
    match unsafe { libc::fork() } {
        -1 => Err(last()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Waits for the end of a child of ours.
pub fn reap(pid: i32) {
    // SAFETY: a plain host call; no status is wanted.
    unsafe {
        while libc::waitpid(pid, std::ptr::null_mut(), 0) < 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
}

/// Ignores these signals, and blocks none.
pub fn ignore(signals: &[i32]) {
    // SAFETY: plain host calls on this process; the set is initialised before use.
    unsafe {
        for signal in signals {
            libc::signal(*signal, libc::SIG_IGN);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// In a forked copy that goes on with one descriptor alone: it becomes number 3, /dev/null the first three, and all others are closed.
pub fn keep_only(fd: i32) -> Option<OwnedFd> {
    // SAFETY: host calls on descriptors of this process, which has one thread and uses no other of them again (the caller's promise: their owners are
    // never dropped, for the process leaves by `exit_now`).
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null < 0 {
            return None;
        }
        for number in 0..3 {
            libc::dup2(null, number);
        }
        if fd != 3 && libc::dup2(fd, 3) < 0 {
            return None;
        }
        libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
        Some(OwnedFd::from_raw_fd(3))
    }
}

/// Ends this process without running anything more of it.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
