//! A process that cleans up after a foreground `run` that was killed with SIGKILL: its state folder and cgroup are nobody's then.
//!
//! A copy of the command (fork without exec: some 100 µs and the few pages that it touches), in a session of its own. It sleeps in read(2) on a pipe
//! that only the command holds open. Owns no locks.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use host::rustix::pipe::{PipeFlags, pipe_with};

use crate::commands::{Context, end_processes};
use crate::container::clear_locked;
use crate::state::{Folder, State};

/// Dismissed, or else it cleans up.
pub struct Janitor {
    pid: i32,
    pipe: File,
}

impl Janitor {
    /// Before the container's processes are started; the process has one thread.
    pub fn hire(context: &Context, folder: &Folder) -> Result<Janitor> {
        let maker = std::process::id() as i32;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        match host::signals::fork().context("cannot make the process that cleans up after a killed command")? {
            Some(pid) => Ok(Janitor { pid, pipe: write.into() }),
            None => {
                drop(write);
                wait_and_clean(context, folder, read, maker);
                host::signals::exit_now(0)
            }
        }
    }

    /// The command cleans up by itself. Waits for the process' end, so that none is left.
    pub fn dismiss(mut self) {
        let _ = self.pipe.write_all(b"x");
        host::signals::reap(self.pid);
    }
}

fn wait_and_clean(context: &Context, folder: &Folder, pipe: OwnedFd, maker: i32) {
    let _ = host::rustix::process::setsid();
    // Nothing of the command's stays open: its output must end with it, and its file lock too.
    let Some(pipe) = host::signals::keep_only(pipe.as_raw_fd()) else { return };
    host::signals::ignore(&[1, 2, 3, 13, 15]);
    let dismissed = File::from(pipe).read(&mut [0u8; 1]).is_ok_and(|n| n == 1);
    if dismissed {
        return;
    }
    context.root.sweep(folder.id());
    let ours = folder.read().ok().flatten().filter(|state| state.maker == maker);
    if let Some(state) = ours {
        // They die with the command by themselves.
        let end = Instant::now() + Duration::from_secs(2);
        while State::lives(&state) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        end_processes(&state);
    }
    // The command's children hold its lock for a moment, too. Nothing happens if the id has become another's meanwhile.
    if let Ok(lock) = folder.lock() {
        clear_locked(context, folder, &lock);
    }
}
