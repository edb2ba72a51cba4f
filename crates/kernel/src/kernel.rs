//! The kernel object: what exists once per sandbox. `sandbox` makes it and registers the modules with it.

use crate::call::Handler;
use crate::locks::{Leaf, TaskTree};
use crate::socket::Family;
use crate::task::{PidNs, Task};
use crate::vfs::FsType;
use lock::{Mutex, RwLock};
use platform::Platform;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

/// A row of the system call table as the task loop needs it.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub handler: Handler,
    /// Needs the registers or the stub's hands: a direct notification comes back by trap first.
    pub framed: bool,
}

/// Calls by number that are counted; all that x86-64 has lie below.
const CALLS: usize = 512;

/// Who traces calls: `--strace`.
pub trait Tracer: Send + Sync {
    fn enter(&self, task: &Arc<Task>, nr: u32, args: &[u64; 6]);
    /// `None`: the call blocks.
    fn leave(&self, task: &Arc<Task>, nr: u32, args: &[u64; 6], result: Option<i64>);
}

/// One sandbox' kernel.
pub struct Kernel {
    pub platform: Arc<Platform>,
    pub root_pid_ns: Arc<PidNs>,
    /// Serialises changes of parents, groups and sessions.
    pub tree: Mutex<(), TaskTree>,
    /// Looks a call's row up by its number.
    pub table: fn(u32) -> Option<Row>,
    pub tracer: OnceLock<Box<dyn Tracer>>,
    fs_types: RwLock<Vec<&'static FsType>, Leaf>,
    families: RwLock<Vec<&'static Family>, Leaf>,
    /// How often each call came in, by number; calls that guest code makes by itself do not come in.
    pub calls: Box<[AtomicU64]>,
    /// How often tasks waited that have ended since.
    pub ended_waits: AtomicU64,
    pub cpus: usize,
}

impl Kernel {
    pub fn new(platform: Arc<Platform>, table: fn(u32) -> Option<Row>, cpus: usize) -> Arc<Kernel> {
        Arc::new(Kernel {
            platform,
            root_pid_ns: PidNs::root(),
            tree: Mutex::new(()),
            table,
            tracer: OnceLock::new(),
            fs_types: RwLock::new(Vec::new()),
            families: RwLock::new(Vec::new()),
            calls: (0..CALLS).map(|_| AtomicU64::new(0)).collect(),
            ended_waits: AtomicU64::new(0),
            cpus,
        })
    }

    /// Bytes of memory that are left to guests. May sleep.
    pub fn memory_free(&self) -> u64 {
        crate::memory::free(|| {
            let processes = self.root_pid_ns.groups().into_iter().map(|(_, group)| group);
            crate::task::cgroup::memory_of(processes).total()
        })
    }

    /// Makes an address family known to socket(2).
    pub fn register_family(&self, family: &'static Family) {
        self.families.write().push(family);
    }

    /// By AF_*.
    pub fn family(&self, number: u32) -> Option<&'static Family> {
        self.families.read().iter().find(|f| f.number == number).copied()
    }

    /// Makes a file system type known to mount(2).
    pub fn register_fs(&self, fs: &'static FsType) {
        self.fs_types.write().push(fs);
    }

    /// By the name of mount(2); those of FUSE may have a subtype behind a dot: `fuse.sshfs`.
    pub fn fs_type(&self, name: &[u8]) -> Option<&'static FsType> {
        let family = name.split(|b| *b == b'.').next().filter(|family| matches!(*family, b"fuse" | b"fuseblk"));
        let name = family.unwrap_or(name);
        self.fs_types.read().iter().find(|t| t.name.as_bytes() == name).copied()
    }

    pub fn fs_types(&self) -> Vec<&'static FsType> {
        self.fs_types.read().clone()
    }
}
