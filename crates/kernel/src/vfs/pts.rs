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
use std::sync::atomic::{AtomicU32, Ordering};

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

/// The terminals of one devpts mount.
pub struct PtsInstance {
    table: Mutex<BTreeMap<u32, Pts>, Leaf>,
    /// Mount option `max`: how many terminals there may be.
    pub max: AtomicU32,
}

impl PtsInstance {
    pub fn new(max: u32) -> Arc<PtsInstance> {
        Arc::new(PtsInstance { table: Mutex::new(BTreeMap::new()), max: AtomicU32::new(max) })
    }

    /// Puts a terminal at the lowest free number; `make` is told the number. ENOSPC beyond `max`.
    pub fn add(&self, make: impl FnOnce(u32) -> Pts) -> Op<u32> {
        let mut table = self.table.lock();
        if table.len() >= self.max.load(Ordering::Relaxed) as usize {
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
