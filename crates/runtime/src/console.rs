//! Terminals on the host's side: a pair for the engine (`--console-socket`, runc's protocol), or the user's own in raw mode.
//!
//! Owns no locks.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use host::message;
use host::rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use host::rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// Makes a terminal, sends its master to the socket at `path`, and returns the slave, raw.
pub fn send_master(path: &Path, size: Option<(u16, u16)>) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master =
        openpt(flags).context("cannot make a terminal; is /dev/ptmx there, and kernel.pty.max not reached?")?;
    unlockpt(&master).context("cannot unlock the terminal")?;
    let name = ptsname(&master, Vec::new()).context("cannot name the terminal")?;
    let slave = ioctl_tiocgptpeer(&master, flags).context("cannot open the terminal")?;
    // The guest's kernel has a line discipline of its own; the host's must not touch the bytes.
    raw(&slave).context("cannot make the terminal raw")?;
    if let Some((rows, cols)) = size {
        let _ = tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 });
    }
    let socket = message::connect_stream(path)
        .with_context(|| format!("cannot connect to the console socket {}", path.display()))?;
    message::send(&socket, name.to_bytes(), &[master.as_fd()], true)
        .with_context(|| format!("cannot send the terminal to the console socket {}", path.display()))?;
    Ok(slave)
}

/// The user's own terminal while a container has it; restored on drop.
pub struct Borrowed {
    tty: File,
    before: Termios,
}

impl Borrowed {
    /// `fd` is a terminal. It gets an open file of its own, so that flags set on it are not set on the user's shell's.
    pub fn take(fd: BorrowedFd<'_>) -> Result<Borrowed> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let open = OpenOptions::new().read(true).write(true).custom_flags(NOCTTY).open(path);
        let tty = match open {
            Ok(file) => file,
            Err(_) => File::from(fd.try_clone_to_owned().context("cannot use the terminal")?),
        };
        let before = raw(&tty).context("cannot make the terminal raw")?;
        Ok(Borrowed { tty, before })
    }

    /// Rows and columns.
    pub fn size(&self) -> Option<(u16, u16)> {
        size(self.tty.as_fd())
    }

    pub fn restore(&self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Drain, &self.before);
    }

    /// After the command was stopped and continued.
    pub fn again(&self) {
        let _ = raw(&self.tty);
    }
}

impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tty.as_fd()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Rows and columns.
pub fn size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    tcgetwinsize(fd).ok().map(|s| (s.ws_row, s.ws_col))
}

/// O_NOCTTY, the same on all processors that we run on.
const NOCTTY: i32 = 0o400;

pub fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd)
}

fn raw(fd: impl AsFd) -> host::rustix::io::Result<Termios> {
    let before = tcgetattr(&fd)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&fd, OptionalActions::Now, &raw)?;
    Ok(before)
}
