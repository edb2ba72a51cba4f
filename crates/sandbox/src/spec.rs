//! What a container is, as plain data: made from config.json by `runtime`, sent over the control socket, used by the kernel at boot.
//!
//! Neighbours: `protocol` (carries it), `machine` (receives it). Strings that a program sees are bytes, because Linux' are. Owns no locks.

use fsproto::MountId;
use serde::{Deserialize, Serialize};

/// A container, complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub id: String,
    pub process: ProcessSpec,
    pub root: Root,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    /// Knobs of its namespaces by their names in sysctl(8).
    pub sysctls: Vec<(String, String)>,
    /// In the order of config.json.
    pub mounts: Vec<Mount>,
    /// What its gofer is to serve: numbers of a gofer's mounts (`Mount::gofer`, and 0 for the root) count these.
    pub served: Vec<MountId>,
    /// Of the sandbox' first container: what lives as long as the sandbox, and its containers may mount.
    pub volumes: Vec<Volume>,
    pub devices: Vec<Device>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub limits: Limits,
    /// What its processes may call.
    pub seccomp: Option<Seccomp>,
    /// Bytes that its cgroup and those above allow it on the host, if less than the machine has.
    pub memory: Option<u64>,
    /// The kernel process opens files below the gofer's folders by itself, where it may.
    pub directfs: bool,
    pub peers: Peers,
    /// A tmpfs on /tmp, where no mount and no entry is there.
    pub own_tmp: bool,
    pub annotations: Vec<(String, String)>,
    /// A further container of a sandbox that is there already.
    pub pod: Option<Pod>,
    /// The first process has not PID 1's protection from signals without a handler: so that Ctrl-C ends what `do` runs, which is no init.
    pub plain_init: bool,
}

/// A filter of system calls, seccomp(2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp {
    /// struct sock_filter: code, jumps if true and if false, constant.
    pub insns: Vec<(u16, u8, u8, u32)>,
    /// What it does not allow is told in the log.
    pub log: bool,
}

/// How a container belongs to a pod: the sandbox, which has the name of its first container, and what it shares with that one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    pub sandbox: String,
    /// The container of the pod in whose PID namespace it is; else it has one of its own.
    pub pids: Option<String>,
    pub network: bool,
    pub ipc: bool,
    pub uts: bool,
}

/// The container's root: mount 0 of the gofer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its folder on the host, to be shown.
    pub source: String,
    /// What the gofer serves is no folder but an erofs image.
    pub image: bool,
    /// Guests may not change it at all (`root.readonly`).
    pub readonly: bool,
    /// Where changes go; ignored with `readonly`.
    pub overlay: Overlay,
    /// Others change its files, too.
    pub shared: bool,
    pub propagation: Propagation,
}

/// Which processes of the host the container may talk to by names in its host folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// By the host's FIFOs.
    pub fifo: bool,
    /// By connecting to the host's sockets.
    pub connect: bool,
    /// By sockets that the host connects to.
    pub bind: bool,
}

/// Where changes of a root or mount go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlay {
    /// To the host's files themselves.
    #[default]
    None,
    /// To memory of the sandbox; gone at its end. `size`: at most so many bytes.
    Memory { size: Option<u64> },
    /// Small files to memory, others to nameless ones that the gofer makes on the host's disk; gone at its end.
    Disk { size: Option<u64> },
}

/// How mounts below the root propagate (`linux.rootfsPropagation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    Slave,
    Shared,
    Unbindable,
}

/// One entry of `mounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// `bind` for all bind mounts, whatever config.json called them; else proc, tmpfs, ...
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
    /// For bind mounts and erofs images: which of the gofer's mounts serves it (the root is 0, so these start at 1).
    pub gofer: Option<u32>,
    /// Of bind mounts that are not read-only.
    pub overlay: Overlay,
    /// Of bind mounts: others change their files, too.
    pub shared: bool,
    /// A volume of the sandbox takes the place of all that, but for the destination and flags.
    pub volume: Option<String>,
}

/// A file system that containers of a pod share, or that outlives the one which mounts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    /// bind or tmpfs.
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
    /// For bind volumes: which of the gofer's mounts serves it. They come after those of the container's mounts.
    pub gofer: Option<u32>,
    pub overlay: Overlay,
}

/// One entry of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub path: String,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    Character,
    Block,
    Fifo,
}

/// Limits that the kernel enforces or shows by itself, beside the host's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Tasks in the container.
    pub pids: Option<u64>,
    /// CPU time per wall time, in thousandths of one CPU.
    pub cpu_millis: Option<u64>,
}

/// Limits that are to change: `None` leaves one as it is, `u64::MAX` takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLimits {
    pub memory: Option<u64>,
    /// What follows from it and from the limits above it ([`ContainerSpec::memory`]).
    pub memory_allowed: Option<u64>,
    pub pids: Option<u64>,
    pub cpu_millis: Option<u64>,
}

/// A program to run: the container's first, or one of `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Never empty. `args[0]` is looked up in the PATH of `env`, inside the container.
    pub args: Vec<Vec<u8>>,
    pub env: Vec<Vec<u8>>,
    /// Absolute path in the container.
    pub cwd: Vec<u8>,
    pub user: User,
    pub capabilities: Capabilities,
    pub rlimits: Vec<Rlimit>,
    pub no_new_privileges: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// The streams that were not donated are a terminal of the kernel's, relayed to the console descriptor.
    pub terminal: bool,
    /// Rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// Ids inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: Option<u32>,
}

/// Bit `n` is capability number `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// RLIMIT_* number.
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}
