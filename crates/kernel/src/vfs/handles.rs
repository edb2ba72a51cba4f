//! File handles: an inode by a number that outlives its name. name_to_handle_at(2), fanotify(7).
//!
//! A handle is good as long as the file is: file systems that keep their inodes themselves (tmpfs) need no more than a weak reference;
//! where inodes are made anew when they are looked up (gofer, overlay) some thousand that were given out last are held. Locks: `Leaf`.

use super::{Dentry, FileSystem, FileType, Inode};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use lock::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

/// How inodes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// There are no handles.
    No,
    /// The file system has one inode for a file as long as the file is there.
    Kept,
    /// Inodes come and go with the cache.
    Cached,
}

/// Held at most.
const PINS: usize = 4096;

#[derive(Default)]
struct Table {
    known: HashMap<u64, Known>,
    /// Numbers whose dentries are held, in the order of coming.
    pinned: VecDeque<u64>,
}

struct Known {
    inode: Weak<Inode>,
    dentry: Weak<Dentry>,
    pin: Option<Arc<Dentry>>,
}

/// The handles of a file system that were given out.
#[derive(Default)]
pub struct Handles(Mutex<Table, Leaf>);

impl FileSystem {
    /// Makes the number of an inode findable. EOPNOTSUPP where there are no handles.
    pub fn handle(&self, inode: &Arc<Inode>, dentry: Option<&Arc<Dentry>>) -> Op<u64> {
        let how = self.ops.handled();
        if how == Handled::No {
            return fail(Errno::EOPNOTSUPP);
        }
        let pin = dentry.filter(|_| how == Handled::Cached || inode.kind == FileType::Dir);
        let mut dropped = Vec::new();
        {
            let mut table = self.handles.0.lock();
            let old = table.known.remove(&inode.ino);
            let same = old.filter(|k| k.inode.upgrade().is_some_and(|i| Arc::ptr_eq(&i, inode)));
            let mut known =
                same.unwrap_or_else(|| Known { inode: Arc::downgrade(inode), dentry: Weak::new(), pin: None });
            if let Some(dentry) = dentry {
                known.dentry = Arc::downgrade(dentry);
            }
            if let Some(pin) = pin {
                if known.pin.replace(pin.clone()).is_none() {
                    table.pinned.push_back(inode.ino);
                }
                if table.pinned.len() > PINS
                    && let Some(oldest) = table.pinned.pop_front()
                    && let Some(oldest) = table.known.get_mut(&oldest)
                {
                    dropped.extend(oldest.pin.take());
                }
            }
            table.known.insert(inode.ino, known);
            if table.known.len() > PINS && table.known.len().is_power_of_two() {
                table.known.retain(|_, k| k.inode.strong_count() > 0);
            }
        }
        drop(dropped);
        Ok(inode.ino)
    }

    /// The inode of a number that `handle` gave, and its dentry. ESTALE where the file is gone.
    pub fn by_handle(&self, number: u64) -> Op<(Arc<Inode>, Arc<Dentry>)> {
        let (inode, dentry) = {
            let table = self.handles.0.lock();
            let known = table.known.get(&number).ok_or(Errno::ESTALE)?;
            (known.inode.upgrade().ok_or(Errno::ESTALE)?, known.dentry.upgrade())
        };
        match dentry.filter(|d| !d.is_gone()) {
            Some(dentry) => Ok((inode, dentry)),
            // A folder without its place would be a second tree of the same names.
            None if inode.kind == FileType::Dir => fail(Errno::ESTALE),
            None => Ok((inode.clone(), Dentry::root(inode))),
        }
    }

    /// The inode lost a name: it is not held any more.
    pub(super) fn unpin(&self, inode: &Inode) {
        let pin = {
            let mut table = self.handles.0.lock();
            if table.pinned.is_empty() {
                return;
            }
            table.pinned.retain(|n| *n != inode.ino);
            table.known.get_mut(&inode.ino).and_then(|k| k.pin.take())
        };
        drop(pin);
    }

    /// It is mounted nowhere any more.
    pub(super) fn forget_handles(&self) {
        let table = std::mem::take(&mut *self.handles.0.lock());
        drop(table);
    }
}

/// FILEID_INO64_GEN: the number and a generation, which is always 0 because a number that is used again replaces the old one.
pub const HANDLE_TYPE: i32 = 0x81;
pub const HANDLE_LEN: usize = 12;

/// The bytes of `struct file_handle`.
pub fn encode_handle(number: u64) -> [u8; HANDLE_LEN] {
    let mut bytes = [0; HANDLE_LEN];
    if let Some(to) = bytes.first_chunk_mut::<8>() {
        *to = number.to_ne_bytes();
    }
    bytes
}

/// The number in them. None for what `encode_handle` never made.
pub fn decode_handle(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; HANDLE_LEN] = bytes.try_into().ok()?;
    let number = u64::from_ne_bytes(*bytes.first_chunk::<8>()?);
    (encode_handle(number) == *bytes).then_some(number)
}
