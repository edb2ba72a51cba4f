//! `delete`: also of containers that are half-made, or whose sandbox died. Owns no locks but the container's file lock.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use host::rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::Delete;
use crate::commands::Context;
use crate::container;
use crate::launch::wait_readable;
use crate::state::{Life, State, alive};

pub fn run(context: &Context, args: Delete) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    context.root.sweep(Some(&args.id));
    let lock = match folder.lock() {
        Err(_) if args.force && !folder.path().exists() => return Ok(0),
        other => other?,
    };
    let state = match folder.read() {
        Ok(Some(state)) => state,
        // Its maker died before it wrote a word, or the file is damaged: only files are left, and the sandbox died with its maker.
        Ok(None) => State { id: args.id.clone(), ..State::default() },
        Err(e) if args.force => {
            context.log.warning(&crate::error::line(&e));
            State { id: args.id.clone(), ..State::default() }
        }
        Err(e) => return Err(e),
    };
    match state.life(&folder) {
        Life::Stopped | Life::Creating => {}
        life if args.force || life == Life::Created => end(&state),
        life => bail!(
            "cannot delete container {} that is not stopped: {} (kill it first, or use --force)",
            args.id,
            life.name()
        ),
    }
    end_gofer(&state);
    container::destroy(context, &folder, &state)?;
    drop(lock);
    Ok(0)
}

/// Both processes of a container that has no command any more.
pub fn end_processes(state: &State) {
    end(state);
    end_gofer(state);
}

/// SIGKILL for the kernel process, and the wait for its end: all that runs in the sandbox ends with it.
fn end(state: &State) {
    kill_process(state.pid, state.pid_start);
}

/// It ends by itself with its connection; one that hangs in a file system does not keep the container.
fn end_gofer(state: &State) {
    let end = Instant::now() + Duration::from_millis(200);
    while state.gofer_pid != 0 && alive(state.gofer_pid, state.gofer_start) {
        if Instant::now() > end {
            kill_process(state.gofer_pid, state.gofer_start);
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill_process(pid: i32, start: u64) {
    if pid == 0 {
        return;
    }
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    // The pidfd is of the right process only if the number still is.
    if alive(pid, start) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
        wait_readable(&pidfd);
    }
}
