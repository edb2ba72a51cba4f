//! Makes a container from a bundle, and takes one apart: what `run`, `create` and `delete` share.
//!
//! Order, so that a crash anywhere leaves something that `delete` recognises: folder, lock, state without a process, cgroup, processes, state with
//! them, hooks; the sandbox is let go of last. Owns no locks but the container's file lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use host::spawn::{IdMap, IdRange};
use oci_spec::runtime::{Hooks, LinuxIdMapping};
use sandbox::client::{Io, SOCKET};
use sandbox::protocol::BootConfig;
use serde::Serialize;

use crate::cgroup::{Cgroup, Wanted};
use crate::cli::{Create, LogFormat};
use crate::commands::Context;
use crate::config::{self, Bundle};
use crate::console::{self, Borrowed};
use crate::hooks;
use crate::janitor::Janitor;
use crate::launch::{Launch, Sandbox};
use crate::log::timestamp;
use crate::probe;
use crate::state::{Folder, Life, Lock, State, start_time};

/// A container that waits for `start`.
pub struct Made {
    pub sandbox: Sandbox,
    pub folder: Folder,
    pub lock: Lock,
    pub state: State,
    /// The user's terminal, when the container has it.
    pub terminal: Option<Borrowed>,
    /// For a container that is the caller's to wait for.
    pub janitor: Option<Janitor>,
}

/// Makes the container of `args`. `foreground`: it is the caller's to wait for, and has the caller's terminal.
pub fn make(context: &Context, args: &Create, foreground: bool) -> Result<Made> {
    crate::state::check_id(&args.id)?;
    let bundle = config::load(&args.bundle, &args.id, &context.global, &context.root)?;
    for warning in &bundle.warnings {
        context.log.warning(warning);
    }
    let terminal = bundle.spec.process.terminal;
    if terminal && !foreground && args.console_socket.is_none() {
        bail!(
            "cannot allocate tty if stockade will detach without setting console socket (give --console-socket, or set process.terminal to false)"
        );
    }
    if !terminal && args.console_socket.is_some() {
        bail!(
            "cannot use console socket if stockade will not detach or allocate tty (set process.terminal to true, or leave --console-socket out)"
        );
    }
    let folder = context.root.folder(&args.id)?;
    // Before there is anything to clean up.
    let janitor = if foreground { Some(Janitor::hire(context, &folder)?) } else { None };
    let made = claim(context, &args.id).and_then(|lock| match fill(context, args, bundle, &folder, foreground) {
        Ok((sandbox, state, terminal)) => Ok((sandbox, lock, state, terminal)),
        Err(e) => {
            let _ = folder.remove();
            Err(e)
        }
    });
    match made {
        Ok((sandbox, lock, state, terminal)) => Ok(Made { sandbox, folder, lock, state, terminal, janitor }),
        Err(e) => {
            janitor.into_iter().for_each(Janitor::dismiss);
            Err(e)
        }
    }
}

/// The id is ours, unless a container has it; what a killed command left is none.
fn claim(context: &Context, id: &str) -> Result<Lock> {
    let first = context.root.claim(id);
    if first.is_err() && clear_orphan(context, &context.root.folder(id)?) {
        return Ok(context.root.claim(id)?.1);
    }
    Ok(first?.1)
}

fn fill(
    context: &Context,
    args: &Create,
    bundle: Bundle,
    folder: &Folder,
    foreground: bool,
) -> Result<(Sandbox, State, Option<Borrowed>)> {
    let mut state = State {
        oci_version: bundle.oci.version().clone(),
        id: args.id.clone(),
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        created: timestamp(SystemTime::now()),
        uid: host::rustix::process::geteuid().as_raw(),
        ephemeral: foreground,
        maker: std::process::id() as i32,
        annotations: bundle.oci.annotations().clone().unwrap_or_default().into_iter().collect(),
        process: bundle.process.clone(),
        hooks: bundle.hooks.clone(),
        sandbox: bundle.spec.pod.as_ref().map(|pod| pod.sandbox.clone()),
        ..State::default()
    };
    let linux = bundle.oci.linux().as_ref();
    let wanted = Wanted {
        id: &args.id,
        path: linux.and_then(|l| l.cgroups_path().as_deref()),
        resources: linux.and_then(|l| l.resources().as_ref()),
        systemd: context.global.systemd_cgroup,
        lenient: context.lenient(),
    };
    let mut cgroup = Cgroup::plan(&wanted)?;
    // Before anything is made, so that `delete` finds it if we die now.
    state.cgroups = cgroup.folders.clone();
    folder.write(&state)?;
    context.log.debug(&format!("container {} has its state in {}", args.id, folder.path().display()));
    cgroup.make(&wanted)?;
    state.cgroups = cgroup.folders.clone();
    let made: Result<_> = (|| {
        let (sandbox, terminal) = start(context, args, &bundle, folder, foreground, &cgroup)?;
        state.pid = sandbox.kernel.pid;
        state.pid_start = start_time(state.pid).unwrap_or(0);
        state.gofer_pid = sandbox.gofer.pid;
        state.gofer_start = start_time(state.gofer_pid).unwrap_or(0);
        context
            .log
            .debug(&format!("container {} has kernel process {} and gofer {}", args.id, state.pid, state.gofer_pid));
        Ok((sandbox, terminal))
    })();
    let (mut sandbox, terminal) = made.inspect_err(|_| cgroup.remove())?;
    let finished = folder
        .write(&state)
        .and_then(|()| before_start(&bundle.oci.hooks().clone(), &state))
        .and_then(|()| write_pid(args.pid_file.as_deref(), state.pid));
    if let Err(e) = finished {
        sandbox.kill();
        cgroup.remove();
        return Err(e);
    }
    Ok((sandbox, state, terminal))
}

fn before_start(list: &Option<Hooks>, state: &State) -> Result<()> {
    let Some(list) = list else { return Ok(()) };
    let text = oci_state(state, Life::Creating);
    hooks::run(
        "prestart",
        #[allow(deprecated)]
        list.prestart(),
        &text,
    )?;
    hooks::run("createRuntime", list.create_runtime(), &text)?;
    hooks::run("createContainer", list.create_container(), &text)
}

fn start(
    context: &Context,
    args: &Create,
    bundle: &Bundle,
    folder: &Folder,
    foreground: bool,
    cgroup: &Cgroup,
) -> Result<(Sandbox, Option<Borrowed>)> {
    let mut spec = bundle.spec.clone();
    let mut borrowed = None;
    let mut slave: Option<OwnedFd> = None;
    if spec.process.terminal {
        match &args.console_socket {
            Some(socket) => slave = Some(console::send_master(socket, spec.process.console_size)?),
            None => {
                let stdin = std::io::stdin();
                if !console::is_terminal(&stdin) {
                    bail!(
                        "field process.terminal is true, but standard input is no terminal; run it on one, or set it to false"
                    );
                }
                let terminal = Borrowed::take(stdin.as_fd())?;
                spec.process.console_size = terminal.size();
                borrowed = Some(terminal);
            }
        }
    }
    let extra = preserved(args.preserve_fds)?;
    listen_fds(&mut spec.process.env, extra.len());
    let console = slave.as_ref().map(AsFd::as_fd).or(borrowed.as_ref().map(AsFd::as_fd));
    let streams = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let stdio =
        if console.is_some() { [None; 3] } else { [donate(&streams.0), donate(&streams.1), donate(&streams.2)] };
    let io = Io { stdio, console, extra: extra.iter().map(AsFd::as_fd).collect() };
    let pod = match &spec.pod {
        Some(pod) => Some(crate::pod::sandbox(context, pod, folder)?),
        None => None,
    };
    let listener = match &pod {
        Some(_) => None,
        None => Some(
            host::message::listen_in(open_folder(folder.path())?.as_fd(), SOCKET)
                .with_context(|| format!("cannot make the control socket in {}", folder.path().display()))?,
        ),
    };
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    // A sandbox that outlives us must not keep our standard error open: callers wait for its end.
    let log = match (context.log.file(), foreground) {
        (Some(file), _) => file.as_fd(),
        (None, true) => streams.2.as_fd(),
        (None, false) => null.as_fd(),
    };
    let ids = gofer_ids(bundle)?;
    // With ids of its own the gofer sees other owners, and has other rights, than the kernel process.
    spec.memory = cgroup.memory();
    spec.directfs = context.global.directfs && !matches!(ids, IdMap::Ranges { .. });
    let launch = Launch {
        boot: boot_config(context, foreground)?,
        spec,
        sources: bundle.sources.clone(),
        listener,
        pod,
        log,
        terminal: slave.as_ref().map(AsFd::as_fd),
        cgroups: cgroup.entrances()?,
        ids,
    };
    let sandbox = launch.start(&io)?;
    Ok((sandbox, borrowed))
}

/// The boot configuration that the global flags ask for.
pub fn boot_config(context: &Context, foreground: bool) -> Result<BootConfig> {
    probe::check(&context.global.platform)?;
    let mut platform = Vec::new();
    for setting in &context.global.platform {
        let Some((key, value)) = setting.split_once('=') else {
            bail!("--platform {setting}: must have the form KEY=VALUE")
        };
        if key != probe::PRETENDED {
            platform.push((key.to_string(), value.to_string()));
        }
    }
    Ok(BootConfig {
        foreground,
        debug: context.global.debug,
        json_log: context.global.log_format == LogFormat::Json,
        watchdog: context.global.watchdog,
        dcache: context.global.dcache,
        strace: context.global.strace || !context.global.strace_calls.is_empty(),
        strace_calls: context.global.strace_calls.clone(),
        platform,
    })
}

/// Whose files the gofer's are: the host's for root, the caller's alone for others, or those of the container's user namespace.
fn gofer_ids(bundle: &Bundle) -> Result<IdMap> {
    let linux = bundle.oci.linux().as_ref();
    let ranges = |list: Option<&Vec<LinuxIdMapping>>| -> Vec<IdRange> {
        list.into_iter()
            .flatten()
            .map(|m| IdRange { inside: m.container_id(), outside: m.host_id(), count: m.size() })
            .collect()
    };
    let uids = ranges(linux.and_then(|l| l.uid_mappings().as_ref()));
    let gids = ranges(linux.and_then(|l| l.gid_mappings().as_ref()));
    let euid = host::rustix::process::geteuid().as_raw();
    if uids.is_empty() != gids.is_empty() {
        bail!("fields linux.uidMappings and linux.gidMappings: give both or none");
    }
    if !uids.is_empty() && euid == 0 {
        return Ok(IdMap::Ranges { uids, gids });
    }
    if uids.len() > 1 || uids.first().is_some_and(|r| r.count > 1) {
        bail!(
            "field linux.uidMappings: more than the own id needs root, or an engine that has made the user namespace already"
        );
    }
    Ok(default_ids())
}

/// Without mappings of the container's own.
pub fn default_ids() -> IdMap {
    if host::rustix::process::geteuid().is_root() { IdMap::None } else { IdMap::Own }
}

/// A standard stream of ours, if it is open.
pub fn donate<F: AsFd>(stream: &F) -> Option<BorrowedFd<'_>> {
    let fd = stream.as_fd();
    host::rustix::io::fcntl_getfd(fd).is_ok().then_some(fd)
}

/// Descriptors 3 and up that `--preserve-fds` and socket activation name.
pub fn preserved(count: u32) -> Result<Vec<OwnedFd>> {
    let listen: u32 = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let count = count.saturating_add(listen);
    if count > 48 {
        bail!("--preserve-fds: at most 48 descriptors, not {count}");
    }
    (3..3 + count as i32)
        .map(|fd| host::spawn::inherited(fd).with_context(|| format!("--preserve-fds: descriptor {fd} is not open")))
        .collect()
}

/// Socket activation goes on into the container.
pub fn listen_fds(env: &mut Vec<Vec<u8>>, passed: usize) {
    if passed > 0
        && let Ok(count) = std::env::var("LISTEN_FDS")
    {
        env.push(format!("LISTEN_FDS={count}").into_bytes());
        env.push(b"LISTEN_PID=1".to_vec());
    }
}

/// Ends and removes a container; poststop hooks run last, as in runc. Errors on the way do not stop it.
pub fn destroy(context: &Context, folder: &Folder, state: &State) -> Result<()> {
    crate::pod::leave(folder, state);
    Cgroup::of(&state.cgroups).remove();
    folder.remove()?;
    if let Ok(Some(hooks)) = serde_json::from_value::<Option<Hooks>>(state.hooks.clone())
        && let Err(e) = hooks::run("poststop", hooks.poststop(), &oci_state(state, Life::Stopped))
    {
        context.log.warning(&crate::error::line(&e));
    }
    Ok(())
}

/// Removes a container whose `create` was killed at once, or whose foreground `run` was, and its janitor too, before they could clean up. Only when nobody holds its lock: else
/// they are at it at this moment.
pub fn clear_orphan(context: &Context, folder: &Folder) -> bool {
    match folder.try_lock() {
        Ok(Some(lock)) => clear_locked(context, folder, &lock),
        _ => false,
    }
}

/// As [`clear_orphan`], for who holds the lock already.
pub fn clear_locked(context: &Context, folder: &Folder, _: &Lock) -> bool {
    match folder.read() {
        // With the lock free nobody is making it any more.
        Ok(Some(state)) => match state.life(folder) {
            Life::Creating => destroy(context, folder, &state).is_ok(),
            Life::Stopped if state.ephemeral => destroy(context, folder, &state).is_ok(),
            _ => false,
        },
        // Killed before it wrote a word, so before it made anything else.
        Ok(None) => folder.remove().is_ok(),
        _ => false,
    }
}

/// What hooks read, and `state` and `list` print, in runc's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    /// A name in `list`; empty elsewhere, as runc has it.
    pub owner: String,
}

impl<'a> OciState<'a> {
    pub fn of(state: &'a State, life: Life) -> Self {
        OciState {
            oci_version: &state.oci_version,
            id: &state.id,
            pid: if life == Life::Stopped { 0 } else { state.pid },
            status: life.name(),
            bundle: &state.bundle,
            rootfs: &state.rootfs,
            created: &state.created,
            annotations: &state.annotations,
            owner: String::new(),
        }
    }
}

/// As text, for hooks and `state`.
pub fn oci_state(state: &State, life: Life) -> String {
    serde_json::to_string_pretty(&OciState::of(state, life)).unwrap_or_default()
}

/// Written beside and renamed, so that a reader never finds half a number.
pub fn write_pid(file: Option<&Path>, pid: i32) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let new = file.with_file_name(format!(".{name}"));
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("cannot write the pid file {}", file.display()))
}

pub fn open_folder(path: &Path) -> Result<OwnedFd> {
    use host::rustix::fs::{CWD, Mode, OFlags, openat};
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", path.display()))
}
