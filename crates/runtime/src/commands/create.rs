//! `create`, `start` and `run`. Owns no locks but the container's file lock.

use anyhow::{Result, bail};
use oci_spec::runtime::Hooks;
use sandbox::machine::INIT;

use crate::cli::{Create, Run};
use crate::commands::Context;
use crate::container::{self, Made, oci_state};
use crate::foreground::{self, Foreground};
use crate::hooks;
use crate::state::{Life, State};

/// Makes a container that outlives this command.
pub fn create(context: &Context, args: Create) -> Result<u8> {
    let mut made = container::make(context, &args, false)?;
    let let_go = made.sandbox.detach();
    settle(context, &mut made, let_go)?;
    Ok(0)
}

pub fn start(context: &Context, id: &str) -> Result<u8> {
    let folder = context.root.folder(id)?;
    let _lock = folder.lock()?;
    let state = folder.read_whole()?;
    match state.life(&folder) {
        Life::Created => {}
        Life::Stopped | Life::Creating => bail!("cannot start a container that has stopped"),
        Life::Running | Life::Paused => bail!("cannot start an already running container"),
    }
    folder.connect()?.start(id)?;
    after_start(context, &state);
    Ok(0)
}

pub fn run(context: &Context, args: Run) -> Result<u8> {
    // Before anything runs, so that a signal meant for the container is not lost.
    let signals = if args.detach { None } else { Some(foreground::watch()?) };
    let foreground = !args.detach;
    let mut made = container::make(context, &args.create, foreground)?;
    if args.keep && foreground {
        made.state.ephemeral = false;
        let written = made.folder.write(&made.state);
        settle(context, &mut made, written)?;
    }
    let started = made.sandbox.client.start(&args.create.id).map_err(anyhow::Error::from);
    settle(context, &mut made, started)?;
    after_start(context, &made.state);
    let Some(signals) = signals else {
        let let_go = made.sandbox.detach();
        settle(context, &mut made, let_go)?;
        return Ok(0);
    };
    let Made { mut sandbox, folder, lock, state, terminal, janitor } = made;
    drop(lock);
    let result = {
        let mut wait = Foreground::new(&sandbox.client, &state.id, INIT, signals);
        wait.terminal = terminal.as_ref();
        wait.kernel = Some(&sandbox.kernel.pidfd);
        wait.gofer = Some(&sandbox.gofer.pidfd);
        if state.sandbox.is_some() { Ok(wait.run_with(&sandbox.kernel.pidfd)) } else { wait.run() }
    };
    drop(terminal);
    let result = match result {
        Ok(status) => {
            sandbox.wait();
            Ok(status)
        }
        Err(e) => Err(sandbox.post_mortem(e)),
    };
    if !args.keep {
        // Another command may be deleting it at this moment, or have made another of this name, or given it a cgroup.
        if let Ok(_lock) = folder.lock() {
            match folder.read() {
                Ok(Some(now)) if (now.pid, now.pid_start) != (state.pid, state.pid_start) => {}
                Ok(Some(now)) => container::destroy(context, &folder, &now)?,
                _ => container::destroy(context, &folder, &state)?,
            }
        }
    }
    if let Some(janitor) = janitor {
        janitor.dismiss();
    }
    result
}

/// When the last steps fail, nothing stays.
fn settle(context: &Context, made: &mut Made, result: Result<()>) -> Result<()> {
    result.inspect_err(|_| {
        made.sandbox.kill();
        let _ = container::destroy(context, &made.folder, &made.state);
    })
}

/// poststart hooks: their failure is only logged.
fn after_start(context: &Context, state: &State) {
    if let Ok(Some(list)) = serde_json::from_value::<Option<Hooks>>(state.hooks.clone())
        && let Err(e) = hooks::run("poststart", list.poststart(), &oci_state(state, Life::Running))
    {
        context.log.warning(&crate::error::line(&e));
    }
}
