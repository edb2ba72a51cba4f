//! Starts a container's two processes, `stockade sandbox` and `stockade gofer`, and makes the container in them; or, for a further container of a pod, a gofer and `stockade container`,
//! which stands for it.
//!
//! Descriptors of the kernel process: 2 log, 3 control, 4 listener (or /dev/null). Of the gofer: 2 log, 3 connection, 4 what to serve, 5 where it
//! says why it cannot. Whoever holds neither of them any more cannot be reached by them. Nothing outlives this command until [`Sandbox::detach`]:
//! the kernel process dies with us, and the gofer with its connection. Neighbours: `commands`, `internal` (the other side of exec). Owns no locks.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use gofer::MountSource;
use host::message;
use host::rustix::event::{PollFd, PollFlags, Timespec, poll};
use host::rustix::fs::MemfdFlags;
use host::rustix::pipe::{PipeFlags, pipe_with};
use host::rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use host::signals::ended;
use host::spawn::{Child, IdMap, Namespaces, Spawn};
use sandbox::client::{Client, ClientError, Io};
use sandbox::protocol::{BootConfig, ProtocolError};
use sandbox::spec::{ContainerSpec, Peers};
use serde::{Deserialize, Serialize};

use crate::oom::Lowered;
use crate::state::Folder;

mod join;

/// What to start.
pub struct Launch<'a> {
    pub boot: BootConfig,
    pub spec: ContainerSpec,
    pub sources: Vec<MountSource>,
    pub listener: Option<OwnedFd>,
    /// Standard error of both processes.
    pub log: BorrowedFd<'a>,
    /// A terminal that the kernel process takes as its controlling one, to hear of new sizes.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The container's `cgroup.procs` files.
    pub cgroups: Vec<OwnedFd>,
    /// Ids of the gofer: what the container's ids are on the host.
    pub ids: IdMap,
    /// The sandbox that the container joins; else it gets one of its own.
    pub pod: Option<Folder>,
}

/// A container's processes.
pub struct Sandbox {
    pub client: Client,
    /// The kernel process; of a container that joined a pod, the process that stands for it.
    pub kernel: Child,
    pub gofer: Child,
    report: File,
    joined: bool,
}

/// What the gofer is told, as JSON in a memfd.
#[derive(Debug, Serialize, Deserialize)]
pub struct GoferConfig {
    /// The root first.
    pub sources: Vec<MountSource>,
    pub peers: gofer::Peers,
    /// Whether folders may be given to the kernel process.
    pub donate: bool,
    /// Name a host call that the filter refuses.
    pub debug: bool,
}

impl Launch<'_> {
    /// Starts the processes and makes the container, which then waits for `start`.
    pub fn start(mut self, io: &Io<'_>) -> Result<Sandbox> {
        self.spec.served = self.sources.iter().map(|source| source.id.clone()).collect();
        if let Some(sandbox) = self.pod.clone() {
            return self.join(&sandbox, io);
        }
        lift_address_space()?;
        let _lifted = Descriptors::lift();
        let _lowered = Lowered::to(self.spec.process.oom_score_adj);
        let null = null()?;
        let (control, control_there) = message::pair().context("making the control connection")?;
        let cgroups: Vec<BorrowedFd<'_>> = self.cgroups.iter().map(AsFd::as_fd).collect();
        let kernel = Spawn {
            args: arguments(&["stockade", "sandbox"]),
            env: environment(true),
            namespaces: Namespaces {
                user: true,
                mount: true,
                pid: true,
                network: true,
                ipc: true,
                uts: true,
                cgroup: false,
            },
            ids: IdMap::Own,
            fds: vec![
                null.as_fd(),
                null.as_fd(),
                self.log,
                control_there.as_fd(),
                self.listener.as_ref().map_or(null.as_fd(), AsFd::as_fd),
            ],
            session: true,
            terminal: self.terminal,
            die_with_parent: true,
            fixed_addresses: true,
            cgroups,
        }
        .start()?;
        // Without waiting for it: what it needs to know first lies ready when it asks.
        let client = Client::new(control);
        if let Err(e) = client.boot(self.boot.clone()) {
            kernel.kill();
            return Err(e.into());
        }
        let gofer = self.gofer(&null);
        let gofer = match gofer {
            Ok(gofer) => gofer,
            Err(e) => {
                kernel.kill();
                return Err(e);
            }
        };
        drop(control_there);
        let Gofer { process: gofer, connection: files, report } = gofer;
        let mut sandbox = Sandbox { client, kernel, gofer, report, joined: false };
        let made = sandbox.client.create(self.spec, io, files.as_fd(), &[]);
        drop(files);
        match made {
            Ok(()) => Ok(sandbox),
            // One that did not get as far as its own code says so by other means.
            Err(e) => match sandbox.kernel.confirm().and_then(|()| sandbox.gofer.confirm()) {
                Ok(()) => Err(sandbox.explain(e)),
                Err(e) => {
                    sandbox.kill();
                    Err(e.into())
                }
            },
        }
    }
}

/// A gofer on its way.
struct Gofer {
    process: Child,
    /// The end for the kernel process.
    connection: OwnedFd,
    /// Its own words, when it fails.
    report: File,
}

impl Launch<'_> {
    fn gofer(&self, null: &File) -> Result<Gofer> {
        let (files, files_there) = message::pair().context("making the gofer's connection")?;
        let Peers { fifo, connect, bind } = self.spec.peers;
        let config = memfd(&GoferConfig {
            peers: gofer::Peers { fifo, connect, bind },
            donate: self.spec.directfs,
            debug: self.boot.debug,
            sources: self.sources.clone(),
        })?;
        let (report, report_there) = pipe_with(PipeFlags::CLOEXEC).context("making a pipe")?;
        let process = Spawn {
            args: arguments(&["stockade", "gofer"]),
            env: environment(false),
            namespaces: Namespaces {
                user: !matches!(self.ids, IdMap::None),
                mount: true,
                pid: true,
                network: true,
                ipc: true,
                uts: true,
                cgroup: false,
            },
            ids: self.ids.clone(),
            fds: vec![null.as_fd(), null.as_fd(), self.log, files_there.as_fd(), config.as_fd(), report_there.as_fd()],
            session: true,
            terminal: None,
            die_with_parent: false,
            fixed_addresses: false,
            cgroups: self.cgroups.iter().map(AsFd::as_fd).collect(),
        }
        .start()?;
        Ok(Gofer { process, connection: files, report: report.into() })
    }
}

fn null() -> Result<File> {
    File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")
}

impl Sandbox {
    /// From now on the sandbox outlives this command.
    pub fn detach(&self) -> Result<()> {
        if self.joined {
            return Ok(()); // with the process that stands for it
        }
        self.client.detach().context("leaving the sandbox to itself")
    }

    /// Ends both processes and waits until they have; the kernel process' exit status.
    pub fn kill(&mut self) -> Option<u8> {
        self.kernel.kill();
        self.gofer.kill();
        self.wait()
    }

    /// Waits for the end of both processes; the kernel process' exit status. The gofer works for it alone, so it need not find out by itself.
    pub fn wait(&mut self) -> Option<u8> {
        wait_readable(&self.kernel.pidfd);
        let status = ended(&self.kernel.pidfd);
        self.gofer.kill();
        wait_readable(&self.gofer.pidfd);
        let _ = ended(&self.gofer.pidfd);
        status
    }

    /// The container could not be made: the gofer's own words, if it has some; the way the kernel process ended, if it did without a word.
    fn explain(&mut self, error: ClientError) -> anyhow::Error {
        let lost = matches!(error, ClientError::Lost(ProtocolError::Ended | ProtocolError::Host(_)));
        let status = self.kill();
        let mut words = String::new();
        let _ = (&mut self.report).take(4096).read_to_string(&mut words);
        if !words.is_empty() {
            return anyhow!("{}", words.trim());
        }
        if !lost {
            return error.into();
        }
        match death(status) {
            Some(why) => anyhow!("{why}"),
            None => match status {
                Some(code) => anyhow!("the kernel process ended with status {code} before the container was made"),
                None => error.into(),
            },
        }
    }

    /// Ends what is left after a program's end could not be learned, and says why if the kernel process' own end tells.
    pub fn post_mortem(&mut self, error: anyhow::Error) -> anyhow::Error {
        wait_a_moment(&self.kernel.pidfd);
        let before = ended(&self.kernel.pidfd);
        let status = self.kill();
        match death(before.or(status)) {
            Some(why) if before.is_some() => anyhow!("{why}"),
            _ => error,
        }
    }
}

/// The kernel process, and each stub, reserves far more addresses than it uses memory; guests have limits of their own (setrlimit(2), RLIMIT_AS).
fn lift_address_space() -> Result<()> {
    let limit = getrlimit(Resource::As);
    if limit.maximum.is_some_and(|bytes| bytes < 1 << 46) {
        bail!(
            "the limit of address space is {} KiB, too little for a sandbox; lift it (`ulimit -v unlimited`)",
            limit.maximum.unwrap_or(0) >> 10
        );
    }
    setrlimit(Resource::As, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("lifting the limit of address space")
}

/// Each file of a guest that is large, or open, is a descriptor of the kernel process: as many as the host allows, as long as this lives.
struct Descriptors(Rlimit);

impl Descriptors {
    fn lift() -> Descriptors {
        let before = getrlimit(Resource::Nofile);
        let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
        if most > before.maximum {
            // Only root may.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: before.current, maximum: most });
        }
        Descriptors(before)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

/// What a kernel process' exit status tells of its death.
fn death(status: Option<u8>) -> Option<String> {
    match status? {
        159 => Some("the kernel process was killed by its own seccomp filter (SIGSYS); run again with --debug to see which host call it was".into()),
        137 => Some("the kernel process was killed (SIGKILL); by hand, or is the host, or the container's cgroup, out of memory?".into()),
        code if code > 128 => Some(format!("the kernel process died of signal {}; this is a bug of stockade", code - 128)),
        _ => None,
    }
}

/// A connection ends a little before its process does.
fn wait_a_moment(pidfd: &OwnedFd) {
    let moment = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&moment));
}

/// Sleeps until a pidfd or socket has something to say.
pub fn wait_readable(fd: impl AsFd) {
    let fd = fd.as_fd();
    while poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None).is_err() {}
}

fn memfd(config: &GoferConfig) -> Result<File> {
    let mut file =
        File::from(host::rustix::fs::memfd_create(c"gofer", MemfdFlags::CLOEXEC).context("making a memory file")?);
    file.write_all(&serde_json::to_vec(config)?)?;
    file.rewind()?;
    Ok(file)
}

fn arguments(list: &[&str]) -> Vec<CString> {
    list.iter().filter_map(|a| CString::new(*a).ok()).collect()
}

/// Nothing of the user's environment. The kernel process must have no rseq area of the C library's: its forks unmap the memory it lies in.
fn environment(kernel: bool) -> Vec<CString> {
    let mut list = Vec::new();
    if kernel {
        list.push(c"GLIBC_TUNABLES=glibc.pthread.rseq=0".to_owned());
    }
    if let Ok(value) = std::env::var("RUST_BACKTRACE") {
        list.extend(CString::new(format!("RUST_BACKTRACE={value}")));
    }
    list
}
