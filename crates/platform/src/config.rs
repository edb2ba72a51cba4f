//! Switches of the platform, why it may not start, and what it counts.
//!
//! Owns no locks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each fallback can be forced, for tests and for hosts that lack a feature.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, one for each core that the sandbox may use; 0: as many as the process may run on. They are made when first needed.
    pub shards: usize,
    /// Calls come by a seccomp listener, where the host allows one. Without it each is a signal and a message, and births are watched by ptrace.
    pub listener: bool,
    /// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, where the host has it (Linux 6.6).
    pub sync_wakeup: bool,
    /// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, where the host has it (Linux 5.19). Without it a signal would interrupt a direct notification before its answer, so there are none.
    pub killable: bool,
    /// Long waits leave the list of open notifications.
    pub park: bool,
    /// Guest code maps private anonymous memory by itself, in an arena.
    pub memory: bool,
    /// Guest code reads clocks and yields by itself.
    pub local: bool,
    /// Rewriting of hot call sites.
    pub patching: bool,
    /// Polling of mailboxes instead of doorbells.
    pub polling: bool,
    /// Data of calls through trampolines are copied by the stub.
    pub window: bool,
    /// Sites are rewritten and polled at their first calls, and the poller never rests: for tests.
    pub eager: bool,
    /// Every call by SIGSYS and doorbell, no direct notification.
    pub force_trap: bool,
    /// Prints what threads do to standard error.
    pub trace: bool,
    /// A procfs of this PID namespace; None: the one at /proc, if there is one.
    pub proc: Option<std::sync::Arc<host::HostFd>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: 0,
            listener: true,
            sync_wakeup: true,
            killable: true,
            park: true,
            memory: true,
            local: true,
            patching: true,
            polling: true,
            window: true,
            eager: false,
            force_trap: false,
            trace: false,
            proc: None,
        }
    }
}

impl Config {
    /// For a host that allows no listener: what needs one is off.
    pub(crate) fn without_listener(self) -> Config {
        Config {
            listener: false,
            force_trap: true,
            sync_wakeup: false,
            patching: false,
            polling: false,
            park: false,
            ..self
        }
    }
}

/// Why no guest can run here: the step, what the host said, what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no free range for the stub's region in this process: start it with another address layout (setarch -R)")]
    NoRegion,
    #[error("{step}: {errno}; a kernel process needs Linux 5.15 with seccomp user notification")]
    Host { step: &'static str, errno: abi::Errno },
    #[error(
        "the first stub process could not be set up at step {step} ({errno}): see docs/platform.md, \"Start of a shard\""
    )]
    Stub { step: u32, errno: abi::Errno },
    #[error("another seccomp filter with a listener is above, and the host allows no second one")]
    SecondListener,
    #[error(
        "without a seccomp listener of its own stockade attaches to guest processes by ptrace, which the host refuses ({0}): set the sysctl kernel.yama.ptrace_scope to 1 or 0, or switch off the listener above (LXD and Incus: security.syscalls.intercept.*; OCI: linux.seccomp.listenerPath)"
    )]
    NoTracer(abi::Errno),
    #[error(
        "a seccomp filter above has the host make clone(2) calls that stockade's own filter holds back, so guests could not be contained: switch that off, or start stockade outside of it"
    )]
    Unbounded,
    #[error("no thread can be started: {0}; raise `ulimit -u` or the cgroup's pids.max")]
    Thread(std::io::Error),
}

/// `Counters`, what is read of them, and their names in the order in which they are shown: from one list.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters since the start; each is exact, but they are not read at one instant.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Stats {
            /// By name, for people; docs/performance.md explains them.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub $name: AtomicU64,)+
        }

        impl Counters {
            pub fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Through a trampoline, by the poller.
    polled,
    /// Files read by the stub.
    reads,
    direct,
    trapped,
    kicks,
    faults,
    parks,
    handovers,
    forks,
    spawns,
    fresh,
    violations,
}

/// Adds one; counters order nothing.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
