//! What a devpts instance and the terminals behind it know of each other. pts(4).
//!
//! The file system (`filesystems::devpts`) shows an instance's numbers as names; the driver (`devices::tty`) puts terminals in and
//! opens them. Neither knows the other: this table is between them. Locks: `Leaf`.

use super::FileOps;
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::time::Timespec;
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The side of a pseudo terminal that programs run on, as devpts sees it.
pub trait PtsTerminal: Send + Sync {
    /// open(2) of /dev/pts/N.
    fn open(&self, io: &mut Io<'_>, flags: OpenFlags) -> Op<Arc<dyn FileOps>>;
    /// Last read and last write, for stat.
    fn times(&self) -> (Timespec, Timespec);
}

/// A terminal in an instance, with the attributes of its node.
#[derive(Clone)]
pub struct Pts {
    pub terminal: Arc<dyn PtsTerminal>,
    pub uid: u32,
    pub gid: u32,
    pub perm: u32,
    pub born: Timespec,
}

/// Mount options of a devpts.
#[derive(Clone, Copy, Debug)]
pub struct PtsOptions {
    /// Owner and group of new nodes; None: the opener's.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Permissions of new nodes.
    pub perm: u32,
    /// Permissions of the instance's ptmx.
    pub ptmx_perm: u32,
    /// How many terminals there may be.
    pub max: u32,
}

impl Default for PtsOptions {
    fn default() -> PtsOptions {
        PtsOptions { uid: None, gid: None, perm: 0o600, ptmx_perm: 0, max: 1 << 20 }
    }
}

/// The terminals of one devpts mount.
pub struct PtsInstance {
    table: Mutex<BTreeMap<u32, Pts>, Leaf>,
    options: Mutex<PtsOptions, Leaf>,
}

impl PtsInstance {
    pub fn new(options: PtsOptions) -> Arc<PtsInstance> {
        Arc::new(PtsInstance { table: Mutex::new(BTreeMap::new()), options: Mutex::new(options) })
    }

    pub fn options(&self) -> PtsOptions {
        *self.options.lock()
    }

    pub fn set_options(&self, options: PtsOptions) {
        *self.options.lock() = options;
    }

    /// Puts a terminal at the lowest free number; `make` is told the number. ENOSPC beyond `max`.
    pub fn add(&self, make: impl FnOnce(u32) -> Pts) -> Op<u32> {
        let max = self.options().max;
        let mut table = self.table.lock();
        if table.len() >= max as usize {
            return fail(Errno::ENOSPC);
        }
        let number = (0..).zip(table.keys()).find(|(want, have)| want != *have).map_or(table.len() as u32, |gap| gap.0);
        table.insert(number, make(number));
        Ok(number)
    }

    /// The master is closed: the name goes.
    pub fn remove(&self, number: u32) {
        let old = self.table.lock().remove(&number);
        drop(old);
    }

    pub fn get(&self, number: u32) -> Option<Pts> {
        self.table.lock().get(&number).cloned()
    }

    /// chown(2), chmod(2) of a node.
    pub fn change(&self, number: u32, change: impl FnOnce(&mut Pts)) -> Op<()> {
        self.table.lock().get_mut(&number).map(change).ok_or(Errno::EIO.into())
    }

    pub fn numbers(&self) -> Vec<u32> {
        self.table.lock().keys().copied().collect()
    }
}
