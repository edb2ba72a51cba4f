//! `exec`: another program in a container that runs. The kernel ends it when this command dies.
//!
//! Detached, a copy of this command stays: engines want the id of a host process that lives as long as the program, takes signals for it, and ends
//! with its status. Owns no locks.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use anyhow::{Context as _, Result, anyhow, bail};
use sandbox::client::{Client, Io};
use sandbox::machine::Pid;
use sandbox::spec::ProcessSpec;
use serde_json::Value;

use crate::cli::Exec;
use crate::commands::Context;
use crate::console::{self, Borrowed};
use crate::container::{donate, listen_fds, preserved, write_pid};
use crate::foreground::{self, Foreground};
use crate::process;
use crate::state::{Life, State};

pub fn run(context: &Context, args: Exec) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    let state = folder.read_whole()?;
    match state.life(&folder) {
        Life::Running | Life::Created => {}
        Life::Paused if args.ignore_paused => {}
        Life::Paused => bail!("cannot exec in a paused container (use --ignore-paused to override)"),
        Life::Stopped | Life::Creating => bail!("cannot exec in a stopped container"),
    }
    for given in &args.cgroup {
        let path = given.rsplit_once(':').map_or(given.as_str(), |(_, path)| path);
        if !path.trim_matches('/').is_empty() {
            bail!(
                "--cgroup {given}: all processes of a container are in one cgroup of the host, with the kernel that serves them; give / or leave it out"
            );
        }
    }
    let signals = foreground::watch()?;
    let mut spec = process_spec(context, &args, &state)?;
    let mut slave: Option<OwnedFd> = None;
    let mut terminal = None;
    match (&args.console_socket, spec.terminal) {
        (Some(socket), true) => slave = Some(console::send_master(socket, spec.console_size)?),
        (Some(_), false) => {
            bail!("cannot use console socket if stockade will not detach or allocate tty (give --tty too)")
        }
        (None, true) if args.detach => {
            bail!("cannot allocate tty if stockade will detach without setting console socket")
        }
        (None, true) => {
            let stdin = std::io::stdin();
            if !console::is_terminal(&stdin) {
                bail!("--tty: standard input is no terminal");
            }
            let borrowed = Borrowed::take(stdin.as_fd())?;
            spec.console_size = borrowed.size();
            terminal = Some(borrowed);
        }
        (None, false) => {}
    }
    let extra = preserved(args.preserve_fds)?;
    listen_fds(&mut spec.env, extra.len());
    let streams = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let console = slave.as_ref().map(AsFd::as_fd).or(terminal.as_ref().map(AsFd::as_fd));
    let stdio =
        if console.is_some() { [None; 3] } else { [donate(&streams.0), donate(&streams.1), donate(&streams.2)] };
    let client = folder.connect()?;
    let pid = client.exec(&args.id, spec, &Io { stdio, console, extra: extra.iter().map(AsFd::as_fd).collect() })?;
    drop(extra);
    if args.detach {
        return detach(&args, &client, pid, slave);
    }
    write_pid(args.pid_file.as_deref(), std::process::id() as i32)?;
    let mut wait = Foreground::new(&client, &args.id, pid, signals);
    wait.terminal = terminal.as_ref();
    wait.sizes = slave.as_ref().map(AsFd::as_fd);
    // The container was killed, and the program with it.
    Ok(wait.run().unwrap_or_else(|e| {
        context.log.warning(&crate::error::line(&e));
        128 + 9
    }))
}

/// Splits in two: this command returns, its copy stays with the program. When either dies before that, the connection ends, and with it the program.
fn detach(args: &Exec, client: &Client, pid: Pid, slave: Option<OwnedFd>) -> Result<u8> {
    if let Some(copy) = host::signals::fork().context("cannot make the process that stands for the program")? {
        if let Err(e) = write_pid(args.pid_file.as_deref(), copy) {
            host::signals::kill(copy, 9);
            return Err(e);
        }
        return Ok(0);
    }
    // The copy: of its own session, with nothing of the caller's open, and with the terminal, if there is one, to hear of new sizes.
    let _ = host::rustix::process::setsid();
    if let Some(slave) = &slave {
        let _ = host::rustix::process::ioctl_tiocsctty(slave);
    }
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = host::rustix::stdio::dup2_stdin(&null);
        let _ = host::rustix::stdio::dup2_stdout(&null);
        let _ = host::rustix::stdio::dup2_stderr(&null);
    }
    let status = foreground::watch()
        .and_then(|signals| {
            let mut wait = Foreground::new(client, &args.id, pid, signals);
            wait.sizes = slave.as_ref().map(AsFd::as_fd);
            wait.run()
        })
        .unwrap_or(137);
    host::signals::exit_now(status)
}

/// From a file, or from the container's own process and the flags.
fn process_spec(context: &Context, args: &Exec, state: &State) -> Result<ProcessSpec> {
    let mut warnings = Vec::new();
    let (mut value, given) = match &args.process {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            (
                serde_json::from_str::<Value>(&text)
                    .with_context(|| format!("{} is not valid JSON", path.display()))?,
                true,
            )
        }
        None => (state.process.clone(), false),
    };
    process::forgive(&mut value, &mut warnings);
    for warning in &warnings {
        context.log.warning(warning);
    }
    if !given {
        if args.args.is_empty() {
            bail!("process args cannot be empty (name a program, or give --process FILE)");
        }
        if let Some(object) = value.as_object_mut() {
            object.insert("args".into(), Value::from(vec!["-"]));
            object.insert("terminal".into(), Value::from(args.tty));
            object.remove("consoleSize");
        }
    }
    let mut spec = process::convert(&process::parse(value)?)?;
    if given {
        spec.terminal |= args.tty;
        return Ok(spec);
    }
    spec.args = args.args.iter().map(|a| a.clone().into_vec()).collect();
    if let Some(cwd) = &args.cwd {
        if !cwd.is_absolute() {
            bail!("--cwd: Cwd must be an absolute path, not {}", cwd.display());
        }
        spec.cwd = cwd.clone().into_os_string().into_vec();
    }
    for pair in &args.env {
        let name = pair.split('=').next().unwrap_or_default();
        let prefix = format!("{name}=").into_bytes();
        spec.env.retain(|e| !e.starts_with(&prefix));
        spec.env.push(pair.clone().into_bytes());
    }
    if let Some(user) = &args.user {
        let (uid, gid) = process::user(user)?;
        spec.user.uid = uid;
        spec.user.gid = gid.unwrap_or(spec.user.gid);
    }
    spec.user.groups.extend(&args.additional_gids);
    for name in &args.cap {
        let bit = 1u64 << process::capability(name).ok_or_else(|| anyhow!("--cap: unknown capability {name:?}"))?;
        let caps = &mut spec.capabilities;
        for set in [&mut caps.bounding, &mut caps.effective, &mut caps.permitted] {
            *set |= bit;
        }
    }
    spec.no_new_privileges |= args.no_new_privs;
    Ok(spec)
}
