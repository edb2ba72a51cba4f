//! The command line: runc's flags and commands, and ours (docs/cli.md).
//!
//! Neighbours: `commands` carries them out. Owns no locks.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::overlay;
use sandbox::spec::Peers;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An application kernel with an OCI runtime: runs containers on a Linux kernel of their own.
#[derive(Parser, Debug)]
#[command(name = "stockade", version, disable_help_subcommand = false, args_override_self = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug, Clone)]
pub struct Global {
    /// Folder for the state of containers; best on a tmpfs [default: /run/stockade as root, $XDG_RUNTIME_DIR/stockade else]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File for the log [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log what happens, and name host calls that the kernel process' filter refuses
    #[arg(long, global = true)]
    pub debug: bool,
    /// Say what the host lacks and what it costs
    #[arg(long, short = 'v', global = true)]
    pub verbose: bool,
    /// cgroupsPath has the form "slice:prefix:name" (the cgroup is made directly, without asking systemd)
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Go on where cgroups cannot be made: true, false or auto
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub rootless: String,
    /// Accepted for runc's sake
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<String>,
    /// Print system calls of guests to the log
    #[arg(long, global = true)]
    pub strace: bool,
    /// Print only these system calls
    #[arg(long, value_name = "NAMES", value_delimiter = ',', global = true)]
    pub strace_calls: Vec<String>,
    /// The kernel process opens files below the container's folders by itself, where it may [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true")]
    #[arg(require_equals = true, action = clap::ArgAction::Set, global = true)]
    pub directfs: bool,
    /// Where changes to the root (and with all: to bind mounts) go: none (the host's files themselves), root:memory, root:self (nameless files
    /// in the very folder), root:dir=/path (in another one), all:...; with ,size=N at most so much for each [default: none; root:memory for `do`]
    #[arg(long, value_name = "WHERE", global = true)]
    pub overlay2: Option<overlay::Choice>,
    /// Who changes the root's files: exclusive (the container alone), shared (the host, too: everything is asked anew) [default: exclusive]
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Access::Exclusive, hide_possible_values = true, global = true)]
    pub file_access: Access,
    /// The same for the files of bind mounts [default: exclusive]
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Access::Exclusive, hide_possible_values = true, global = true)]
    pub file_access_mounts: Access,
    /// FIFOs in the container's host folders: none (they lead to processes of the container), open (to those of the host, too) [default: none]
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HostFifo::None, hide_possible_values = true, global = true)]
    pub host_fifo: HostFifo,
    /// Unix sockets in the container's host folders: none, open (connect to the host's), create (the host may connect to the container's), all
    /// [default: none]
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HostUds::None, hide_possible_values = true, global = true)]
    pub host_uds: HostUds,
    /// Names of files that the kernel keeps in memory at most, beyond those in use [default: 32768]
    #[arg(long, value_name = "N", global = true)]
    pub dcache: Option<u32>,
    /// Report a task whose run of a system call takes longer than this; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 60, global = true)]
    pub watchdog: u32,
    /// Settings of the platform, for tests and measurements (docs/cli.md)
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub platform: Vec<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Exclusive,
    Shared,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFifo {
    None,
    Open,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostUds {
    None,
    Open,
    Create,
    All,
}

impl Global {
    /// Host processes that the container may talk to.
    pub fn peers(&self) -> Peers {
        Peers {
            fifo: self.host_fifo == HostFifo::Open,
            connect: matches!(self.host_uds, HostUds::Open | HostUds::All),
            bind: matches!(self.host_uds, HostUds::Create | HostUds::All),
        }
    }
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a command with the host's files, or a folder's, read-only under an in-memory overlay
    Do(Do),
    /// Create and run a container
    Run(Run),
    /// Create a container
    Create(Create),
    /// Run the program of a created container
    Start(Id),
    /// Print the state of a container
    State(Id),
    /// Send a signal to a container's first process [default: SIGTERM]
    Kill(Kill),
    /// Delete a container and what it left
    Delete(Delete),
    /// Run another program in a container
    Exec(Exec),
    /// List containers
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Write a config.json to start from
    Spec(Spec),
    /// Say what this runtime supports, and what this host lacks
    Features(Features),
    /// List the system calls that guests can make
    Syscalls(Syscalls),
    /// Print use of resources
    Events(Events),
    /// Look at a running sandbox from the host
    Debug(Debug),
    /// Stop all processes of a container
    Pause(Id),
    /// Let them go on
    Resume(Id),
    /// Change the limits of a container
    Update(Update),
    /// Not supported yet
    #[command(hide = true)]
    Checkpoint(Rest),
    /// Not supported yet
    #[command(hide = true)]
    Restore(Rest),
}

#[derive(Args, Debug)]
pub struct Id {
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Debug {
    /// What is mounted where, from which host folder, and how its files are used
    #[arg(long, group = "page")]
    pub mounts: bool,
    /// By which ways system calls came in since the sandbox' start, and which: why a program is slow
    #[arg(long, group = "page")]
    pub counters: bool,
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table, requires = "page")]
    pub format: Format,
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<OsString>,
}

#[derive(Args, Debug)]
pub struct Do {
    /// Folder, or erofs image, to use as the root [default: the host's root]
    #[arg(long, value_name = "DIR|FILE")]
    pub rootfs: Option<PathBuf>,
    /// Working directory inside [default: the current one, where it is there]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Add or change an environment variable
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// User inside
    #[arg(long, short = 'u', value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Host name inside
    #[arg(long, default_value = "stockade")]
    pub hostname: String,
    /// Let changes reach the files of --rootfs themselves
    #[arg(long, requires = "rootfs")]
    pub writable: bool,
    /// No terminal of its own, even on a terminal
    #[arg(long)]
    pub no_tty: bool,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What `run` and `create` share.
#[derive(Args, Debug)]
pub struct Create {
    /// Folder with config.json
    #[arg(long, short = 'b', value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Unix socket that gets the master of the container's terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// File to write the process id of the sandbox to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Accepted for runc's sake: the root is never the host's to pivot
    #[arg(long, hide = true)]
    pub no_pivot: bool,
    /// Accepted for runc's sake
    #[arg(long, hide = true)]
    pub no_new_keyring: bool,
    /// Pass this many descriptors on, from 3 up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub create: Create,
    /// Leave the container running and return
    #[arg(long, short = 'd')]
    pub detach: bool,
    /// Do not delete the container after its end
    #[arg(long)]
    pub keep: bool,
    /// Accepted for runc's sake
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
}

#[derive(Args, Debug)]
pub struct Kill {
    /// To all processes of the container
    #[arg(long, short = 'a')]
    pub all: bool,
    /// To this process (as the container numbers it)
    #[arg(long, value_name = "PID", conflicts_with = "all")]
    pub pid: Option<i32>,
    pub id: String,
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
}

#[derive(Args, Debug)]
pub struct Delete {
    /// Kill it first if it runs; no error if it does not exist
    #[arg(long, short = 'f')]
    pub force: bool,
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Exec {
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Add environment variables
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short = 't')]
    pub tty: bool,
    #[arg(long, short = 'u', value_name = "UID[:GID]")]
    pub user: Option<String>,
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// Read the process from this JSON file
    #[arg(long, short = 'p', value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Leave it running and return
    #[arg(long, short = 'd')]
    pub detach: bool,
    /// File to write the id of a host process to that lives as long as the program, ends with its status, and passes signals on
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Accepted for runc's sake
    #[arg(long, hide = true)]
    pub process_label: Option<String>,
    /// Accepted for runc's sake
    #[arg(long, hide = true)]
    pub apparmor: Option<String>,
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability
    #[arg(long, short = 'c', value_name = "CAP")]
    pub cap: Vec<String>,
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Cgroup to run in, below the container's: only "/", the container's own
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    pub cgroup: Vec<String>,
    #[arg(long)]
    pub ignore_paused: bool,
    pub id: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub args: Vec<OsString>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
}

#[derive(Args, Debug)]
pub struct List {
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Only the ids
    #[arg(long, short = 'q')]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub struct Ps {
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    pub format: Format,
    pub id: String,
    /// Accepted for runc's sake
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub options: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Spec {
    #[arg(long, short = 'b', value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// For an ordinary user
    #[arg(long)]
    pub rootless: bool,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Features {
    /// Only what this host lacks, a line each
    #[arg(long)]
    pub host: bool,
}

#[derive(Args, Debug)]
pub struct Syscalls {
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Args, Debug)]
pub struct Events {
    /// Time between two samples
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub interval: String,
    /// Print one sample and return
    #[arg(long)]
    pub stats: bool,
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Update {
    /// JSON file with the resources, - for standard input
    #[arg(long, short = 'r', value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of reads and writes of the host's devices, 10 to 1000
    #[arg(long)]
    pub blkio_weight: Option<u16>,
    /// Microseconds
    #[arg(long)]
    pub cpu_period: Option<u64>,
    /// Microseconds in each period, -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Microseconds beyond the quota that unused ones are kept for
    #[arg(long)]
    pub cpu_burst: Option<u64>,
    #[arg(long)]
    pub cpu_share: Option<u64>,
    /// 1: run only when nobody else wants to
    #[arg(long)]
    pub cpu_idle: Option<i64>,
    #[arg(long)]
    pub cpu_rt_period: Option<u64>,
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Bytes, also as 64M; -1 for no limit
    #[arg(long, allow_hyphen_values = true, value_parser = crate::bytes::limit)]
    pub memory: Option<i64>,
    #[arg(long, allow_hyphen_values = true, value_parser = crate::bytes::limit)]
    pub memory_reservation: Option<i64>,
    /// Memory and swap together
    #[arg(long, allow_hyphen_values = true, value_parser = crate::bytes::limit)]
    pub memory_swap: Option<i64>,
    #[arg(long, allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    pub id: String,
}
