//! What the control server asks of the kernel: the seam between process set-up and the kernel's boot code.
//!
//! `boot` implements it with the real kernel; tests bring a fake. `server` is the only caller. Owns no locks.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::BootConfig;
use crate::spec::{ContainerSpec, NewLimits, Overlay, ProcessSpec};

/// A process id as the container's first PID namespace shows it.
pub type Pid = i32;

/// Makes the kernel, in two steps around lock-down. Called once, in a process with one thread, in empty namespaces and without capabilities.
pub type Boot = fn(BootContext) -> Result<Prepared, Failure>;

/// What the first step found out, and the second step.
pub struct Prepared {
    /// Guests' calls come by a seccomp listener; else the filter lets this process trace its children.
    pub listener: bool,
    /// Called under the seccomp filter; may start threads, which inherit that all signals a user may send are blocked.
    #[allow(clippy::type_complexity)]
    pub finish: Box<dyn FnOnce() -> Result<Arc<dyn Machine>, Failure>>,
}

/// What the kernel gets from process set-up.
pub struct BootContext {
    pub config: BootConfig,
    /// A procfs of this PID namespace (only folders of processes); `None` where the host does not allow one.
    pub proc: Option<OwnedFd>,
}

/// The kernel, as the control server uses it. Called from one thread, one call at a time; `on_exit` callbacks come from any thread.
pub trait Machine: Send + Sync {
    /// Makes the container up to the point where its first program, resolved and found executable, waits for `start`.
    fn create(&self, spec: ContainerSpec, files: ContainerFiles) -> Result<(), Failure>;
    /// Ends what is left of a container whose first program has ended or was never started, and forgets it.
    fn remove(&self, container: &str);
    /// Lets the first program run.
    fn start(&self, container: &str) -> Result<(), Failure>;
    /// Runs another program in the container.
    fn exec(&self, container: &str, process: ProcessSpec, io: ProcessIo) -> Result<Pid, Failure>;
    /// Sends a signal (1 to 64) as the host would: with the rights of the container's root, SI_USER from pid 0.
    fn signal(&self, container: &str, target: Target, signal: i32) -> Result<(), Failure>;
    /// Calls `then` once, when the process has ended, or at once when it has already. Only for processes of `create` (pid 1) and `exec`.
    fn on_exit(&self, container: &str, pid: Pid, then: Box<dyn FnOnce(ExitStatus) + Send>) -> Result<(), Failure>;
    fn processes(&self, container: &str) -> Result<Vec<Process>, Failure>;
    fn status(&self, container: &str) -> Result<Status, Failure>;
    /// A new size of the console that came with process `pid`.
    fn resize(&self, container: &str, pid: Pid, rows: u16, cols: u16) -> Result<(), Failure>;
    /// What is mounted in the container, as its first program sees it.
    fn mounts(&self, container: &str) -> Result<Vec<Mounted>, Failure>;
    fn stats(&self, container: &str) -> Result<Stats, Failure>;
    /// At most this many tasks in the container, from now on.
    fn limit(&self, container: &str, limits: NewLimits) -> Result<(), Failure>;
    /// Stops all tasks of the container, or lets them go on.
    fn pause(&self, container: &str, paused: bool) -> Result<(), Failure>;
    /// The sandbox is about to exit: bring what must reach the host (files that are not yet written) there.
    fn shutdown(&self) {}
}

/// The first process of every container.
pub const INIT: Pid = 1;

/// Host descriptors that come with a container.
pub struct ContainerFiles {
    pub io: ProcessIo,
    /// The connection to the container's gofer.
    pub gofer: OwnedFd,
    /// `cgroup.procs` of the container's cgroups, where they are not the kernel process' own.
    pub cgroups: Vec<OwnedFd>,
}

/// A process' first descriptors.
#[derive(Default)]
pub struct ProcessIo {
    /// Standard input, output and error, donated by the host. Without one: the console if there is one, else closed.
    pub stdio: [Option<OwnedFd>; 3],
    /// The host's side of the terminal, in raw mode; the kernel relays it to a terminal of its own.
    pub console: Option<OwnedFd>,
    /// Become descriptors 3 and up.
    pub extra: Vec<OwnedFd>,
}

/// Whom a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Process(Pid),
    /// The foreground process group of the terminal that came with this process.
    Foreground(Pid),
    /// Every process of the container.
    All,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(u8),
    Signal { number: u8, core: bool },
}

impl ExitStatus {
    /// As a shell shows it: 128+n after a signal.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal { number, .. } => 128 | number,
        }
    }
}

/// OCI's states, as far as a living sandbox can be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

/// One line of `ps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: Pid,
    /// Its stub process, as the kernel process' own PID namespace numbers it; 0 where it has none.
    pub host: i32,
    pub ppid: Pid,
    pub uid: u32,
    /// Seconds since the epoch.
    pub started: u64,
    /// Milliseconds of CPU time, user and system.
    pub cpu_ms: u64,
    /// As /proc/PID/stat's state letter.
    pub state: char,
    pub tty: Option<String>,
    /// The command line, or the name in brackets.
    pub command: String,
}

/// One line of `debug --mounts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Where it is, in the container.
    pub destination: String,
    /// As /proc/mounts has it.
    pub kind: String,
    pub options: Vec<String>,
    pub source: String,
    /// The place in its file system that it shows; "/" but for bind mounts of a part.
    pub root: String,
    pub host: Option<HostFiles>,
}

/// Where the files of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFiles {
    /// Folder or file of the host.
    pub path: String,
    /// The host changes them, too: nothing is cached.
    pub shared: bool,
    /// The kernel process opens files by itself; else the gofer opens them all.
    pub direct: bool,
    pub overlay: Overlay,
}

/// What `events --stats` shows, as far as the kernel counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Nanoseconds.
    pub cpu_total_ns: u64,
    /// Bytes.
    pub memory_bytes: u64,
    pub pids: u64,
    pub counters: Counters,
}

/// What happened in the whole sandbox since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The platform's, by the names of docs/performance.md.
    pub platform: Vec<(String, u64)>,
    /// How often each system call came to the kernel process, most frequent first.
    pub calls: Vec<(String, u64)>,
}

/// Why something could not be done: what kind, and the chain of causes from the outermost in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", chain.join(": "))]
pub struct Failure {
    pub kind: Kind,
    pub chain: Vec<String>,
}

/// What the command line makes its exit status from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The program does not exist (a shell's 127).
    NotFound,
    /// The program cannot be executed (a shell's 126).
    NotExecutable,
    /// The container, or a part of it, is not in a state for this.
    State,
    /// What was asked for is wrong.
    Invalid,
    /// Not implemented.
    Unsupported,
    Other,
}

impl Failure {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Failure { kind, chain: vec![what.into()] }
    }

    /// Puts what was being done in front.
    pub fn context(mut self, what: impl Into<String>) -> Self {
        self.chain.insert(0, what.into());
        self
    }

    /// From an error with its chain of sources.
    pub fn from_error(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut chain = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            chain.push(source.to_string());
            next = source.source();
        }
        Failure { kind, chain }
    }
}
