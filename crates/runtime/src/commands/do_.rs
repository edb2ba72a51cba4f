//! `do`: runs a command in a sandbox of its own, without a bundle and without state on disk. Owns no locks.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fsproto::{MountId, Part};
use gofer::MountSource;
use host::rustix::process::{Resource, getrlimit};
use sandbox::client::Io;
use sandbox::machine::INIT;
use sandbox::spec::{Capabilities, ContainerSpec, Mount, Overlay, ProcessSpec, Rlimit, Root, User};

use crate::cgroup::Cgroup;
use crate::cli::{Access, Do};
use crate::commands::{Context, features};
use crate::config::plain;
use crate::console::{self, Borrowed};
use crate::container::{boot_config, default_ids, donate};
use crate::foreground::{self, Foreground};
use crate::launch::Launch;
use crate::overlay::Choice;
use crate::process;

/// The container's name; nobody else can see it.
const ID: &str = "do";

pub fn run(context: &Context, args: Do) -> Result<u8> {
    if context.global.verbose {
        for line in features::missing(context)? {
            eprintln!("stockade: host: {line}");
        }
    }
    let signals = foreground::watch()?;
    let rootfs = rootfs(args.rootfs.as_deref())?;
    let streams = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    // A terminal of the container's own when both ends of a conversation are one; else `do x | less` would fight over it.
    let wants = !args.no_tty && console::is_terminal(&streams.0) && console::is_terminal(&streams.1);
    let terminal = if wants { Some(Borrowed::take(streams.0.as_fd())?) } else { None };
    let stderr = if terminal.is_some() && console::is_terminal(&streams.2) { None } else { donate(&streams.2) };
    let io = match &terminal {
        Some(terminal) => Io { stdio: [None, None, stderr], console: Some(terminal.as_fd()), extra: Vec::new() },
        None => Io { stdio: [donate(&streams.0), donate(&streams.1), stderr], console: None, extra: Vec::new() },
    };
    let choice = match (&context.global.overlay2, args.writable) {
        (Some(choice), true) if *choice != Choice::default() => {
            bail!("--writable lets changes reach the files themselves, --overlay2 keeps them from it; give one of them")
        }
        (_, true) => Choice::default(),
        (Some(choice), false) => choice.clone(),
        (None, false) => Choice::memory(),
    };
    let shared = context.global.file_access == Access::Shared;
    if shared && context.global.overlay2.is_none() && !args.writable {
        bail!(
            "--file-access=shared: `do` keeps changes in an overlay, below which nobody may change files; add --overlay2=none or --writable"
        );
    }
    let plan = choice.root(&rootfs, false, shared)?;
    // Without an overlay the files are there to be read alone, unless --writable says more.
    let readonly = plan.overlay == Overlay::None && !args.writable;
    let spec = ContainerSpec {
        id: ID.into(),
        process: process(&args, &rootfs, terminal.as_ref())?,
        root: Root {
            image: rootfs.is_file(),
            source: rootfs.display().to_string(),
            readonly,
            overlay: plan.overlay,
            shared,
            ..Root::default()
        },
        hostname: Some(args.hostname.clone()),
        mounts: mounts(),
        memory: Cgroup::of(&[]).memory(),
        directfs: context.global.directfs,
        peers: context.global.peers(),
        plain_init: true,
        ..ContainerSpec::default()
    };
    let launch = Launch {
        pod: None,
        boot: boot_config(context, true)?,
        spec,
        sources: vec![MountSource {
            id: MountId::new(ID, Part::Root),
            path: rootfs,
            readonly: !args.writable,
            store: plan.store,
        }],
        listener: None,
        log: context.log.file().map_or(streams.2.as_fd(), |f| f.as_fd()),
        terminal: None,
        cgroups: Vec::new(),
        ids: default_ids(),
    };
    let mut sandbox = launch.start(&io)?;
    sandbox.client.start(ID)?;
    let result = {
        let mut wait = Foreground::new(&sandbox.client, ID, INIT, signals);
        wait.terminal = terminal.as_ref();
        wait.kernel = Some(&sandbox.kernel.pidfd);
        wait.gofer = Some(&sandbox.gofer.pidfd);
        wait.run()
    };
    drop(terminal);
    match result {
        Ok(status) => {
            sandbox.wait();
            Ok(status)
        }
        Err(e) => Err(sandbox.post_mortem(e)),
    }
}

fn rootfs(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.unwrap_or(Path::new("/"));
    match std::fs::canonicalize(path) {
        Err(e) => bail!("invalid rootfs: {}: {} (name a folder with --rootfs)", path.display(), plain(&e)),
        // A file is taken for an erofs image; whether it is one shows when it is mounted.
        Ok(real) if !real.is_dir() && !real.is_file() => {
            bail!("invalid rootfs: {} is neither a folder nor an erofs image", path.display())
        }
        Ok(real) => Ok(real),
    }
}

fn process(args: &Do, rootfs: &Path, terminal: Option<&Borrowed>) -> Result<ProcessSpec> {
    let (uid, gid) = match &args.user {
        Some(text) => process::user(text).map(|(uid, gid)| (uid, gid.unwrap_or(0)))?,
        None => (0, 0),
    };
    let all = if uid == 0 { process::ALL_CAPABILITIES } else { 0 };
    let files = getrlimit(Resource::Nofile);
    let limit = |n: Option<u64>| n.unwrap_or(u64::MAX);
    Ok(ProcessSpec {
        args: args.command.iter().map(|a| a.clone().into_vec()).collect(),
        env: environment(args),
        cwd: cwd(args, rootfs)?,
        user: User { uid, gid, groups: Vec::new(), umask: None },
        capabilities: Capabilities {
            bounding: process::ALL_CAPABILITIES,
            effective: all,
            permitted: all,
            inheritable: 0,
            ambient: 0,
        },
        rlimits: vec![Rlimit { resource: 7, soft: limit(files.current), hard: limit(files.maximum) }],
        no_new_privileges: false,
        oom_score_adj: None,
        terminal: terminal.is_some(),
        console_size: terminal.and_then(Borrowed::size),
    })
}

/// The caller's, and what `-e` adds; with a PATH in any case.
fn environment(args: &Do) -> Vec<Vec<u8>> {
    let mut list: Vec<(Vec<u8>, Vec<u8>)> = std::env::vars_os().map(|(k, v)| (k.into_vec(), v.into_vec())).collect();
    let mut set = |name: &[u8], value: &[u8]| {
        list.retain(|(k, _)| k != name);
        list.push((name.to_vec(), value.to_vec()));
    };
    for pair in &args.env {
        let bytes = pair.as_bytes();
        let at = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
        set(bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
    }
    if !list.iter().any(|(k, _)| k == b"PATH") {
        list.push((b"PATH".to_vec(), b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec()));
    }
    list.into_iter().map(|(name, value)| [name, value].join(&b'=')).collect()
}

/// The folder that was asked for, or the current one if it is there in the root, or /.
fn cwd(args: &Do, rootfs: &Path) -> Result<Vec<u8>> {
    if let Some(cwd) = &args.cwd {
        if !cwd.is_absolute() {
            bail!("--cwd {}: must be an absolute path inside", cwd.display());
        }
        return Ok(cwd.clone().into_os_string().into_vec());
    }
    let here = std::env::current_dir().context("the current folder is gone; choose another with --cwd")?;
    let inside = rootfs.join(here.strip_prefix("/").unwrap_or(&here));
    let cwd: &OsStr = if inside.is_dir() { here.as_os_str() } else { OsStr::new("/") };
    Ok(cwd.as_bytes().to_vec())
}

/// What a Linux system has beside what the kernel mounts by itself (proc, sysfs, devtmpfs, devpts).
fn mounts() -> Vec<Mount> {
    let tmpfs = |destination: &str, options: &[&str]| Mount {
        destination: destination.into(),
        kind: "tmpfs".into(),
        source: "tmpfs".into(),
        options: options.iter().map(|o| o.to_string()).collect(),
        ..Mount::default()
    };
    vec![tmpfs("/dev/shm", &["nosuid", "nodev", "mode=1777"])]
}
