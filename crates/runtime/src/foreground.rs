//! What a command does while its program runs: passes signals on, keeps the terminal's size, and waits for the end.
//!
//! Owns no locks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Result, bail};
use host::rustix::event::{PollFd, PollFlags, Timespec, poll};
use host::signals::{Incoming, SignalFd, ended, stop_self};
use sandbox::client::Client;
use sandbox::machine::{ExitStatus, Pid, Target};

use crate::console::{self, Borrowed};

const SIGTSTP: i32 = 20;
const SIGWINCH: i32 = 28;
/// HUP INT QUIT USR1 USR2 ALRM TERM CONT TSTP WINCH, and the real-time ones that systemd and others use.
const WATCHED: [i32; 12] = [1, 2, 3, 10, 12, 14, 15, 18, SIGTSTP, SIGWINCH, 37, 38];

/// What is being waited for.
pub struct Foreground<'a> {
    pub client: &'a Client,
    pub container: &'a str,
    pub pid: Pid,
    pub terminal: Option<&'a Borrowed>,
    /// Another terminal whose size the program's follows.
    pub sizes: Option<BorrowedFd<'a>>,
    /// Processes of the container by their pidfds: it cannot go on without either.
    pub kernel: Option<&'a OwnedFd>,
    pub gofer: Option<&'a OwnedFd>,
    signals: SignalFd,
}

/// Blocks the signals that a foreground command passes on; to be called before the program starts, so that none is lost.
pub fn watch() -> Result<SignalFd> {
    Ok(SignalFd::block(&WATCHED)?)
}

impl<'a> Foreground<'a> {
    pub fn new(client: &'a Client, container: &'a str, pid: Pid, signals: SignalFd) -> Self {
        Foreground { client, container, pid, terminal: None, sizes: None, kernel: None, gofer: None, signals }
    }

    /// Waits for the program's end; its exit status.
    pub fn run(&self) -> Result<u8> {
        self.client.ask_exit(self.container, self.pid)?;
        self.resize();
        loop {
            let mut watched = vec![self.client.as_fd(), self.signals.as_fd()];
            watched.extend(self.kernel.map(AsFd::as_fd));
            watched.extend(self.gofer.map(AsFd::as_fd));
            let mut polled: Vec<PollFd<'_>> =
                watched.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            if poll(&mut polled, None).is_err() {
                continue;
            }
            let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
            if ready.first() == Some(&true) {
                match self.client.exited(false) {
                    Ok(Some(status)) => return Ok(ExitStatus::code(status)),
                    Ok(None) => {}
                    Err(_) => bail!("the sandbox ended while the program ran; was its kernel process killed?"),
                }
            }
            if ready.get(1) == Some(&true) {
                while let Some(signal) = self.signals.next() {
                    self.pass(signal);
                }
            }
            if ready.iter().skip(2).any(|r| *r) {
                // The end of the program may be on its way to us already.
                let soon = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
                let _ = poll(&mut [PollFd::from_borrowed_fd(self.client.as_fd(), PollFlags::IN)], Some(&soon));
                // Without its gofer the kernel process kills the program.
                let killed = |status| status == ExitStatus::Signal { number: 9, core: false };
                match self.client.exited(false) {
                    Ok(Some(status)) if ready.get(2) == Some(&true) || !killed(status) => return Ok(status.code()),
                    _ if ready.get(2) == Some(&true) => {
                        bail!("the kernel process of the sandbox was killed while the program ran")
                    }
                    _ => bail!("the gofer, which serves the container's files, was killed while the program ran"),
                }
            }
        }
    }

    /// As `run`, where a process of our own stands for the container and ends with its status.
    pub fn run_with(&self, standing: &OwnedFd) -> u8 {
        self.resize();
        loop {
            let mut polled =
                [standing.as_fd(), self.signals.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let ready = poll(&mut polled, None).is_ok();
            if ready && polled.first().is_some_and(|p| !p.revents().is_empty()) {
                return ended(standing).unwrap_or(128 + 9);
            }
            while let Some(signal) = self.signals.next() {
                self.pass(signal);
            }
        }
    }

    fn pass(&self, signal: Incoming) {
        match signal.number {
            SIGWINCH => self.resize(),
            // The user's shell wants its prompt back: the container pauses, and we stop.
            SIGTSTP if !signal.by_process => {
                self.client.pause_quietly(self.container, true);
                if let Some(terminal) = self.terminal {
                    terminal.restore();
                }
                stop_self();
                if let Some(terminal) = self.terminal {
                    terminal.again();
                }
                self.client.pause_quietly(self.container, false);
            }
            number => self.client.signal_quietly(self.container, Target::Process(self.pid), number),
        }
    }

    fn resize(&self) {
        if let Some((rows, cols)) = self.terminal.and_then(Borrowed::size).or_else(|| console::size(self.sizes?)) {
            let _ = self.client.resize(self.container, self.pid, rows, cols);
        }
    }
}
