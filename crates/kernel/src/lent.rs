//! Descriptors that are lent to threads, which read by them without asking (`platform::Thread::lend`): pread(2) of files that the host holds.
//!
//! One is lent when its thread is told to read by itself. It is taken back when the descriptor goes from its table or its thread from the table; when the file or its attributes
//! are changed, since the next read changes its time of access then; when an overlay copies any file up; when anybody begins to listen for reads; and when a mount's flags change.
//! Nothing is lent on a mount with strictatime, while somebody listens, or to who is watched, whose trampoline asks in any case.
//! Neighbours: `fd`, `vfs` (what takes back). Locks: `Lent` around the list.

use crate::locks::Lent as LentClass;
use lock::Mutex;
use platform::Thread;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What is lent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// `FdTable::id`.
    pub table: u64,
    pub fd: i32,
}

/// An inode, which lives as long as one of its descriptors is lent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InodeKey(usize);

impl InodeKey {
    pub fn of<T>(inode: &Arc<T>) -> InodeKey {
        InodeKey(Arc::as_ptr(inode).addr())
    }
}

struct Lent {
    descriptor: Descriptor,
    inode: InodeKey,
    thread: Weak<Thread>,
    /// By which the stub reads it.
    number: u32,
}

static LENT: Mutex<Vec<Lent>, LentClass> = Mutex::new(Vec::new());
/// Of `LENT`: a bit for each table and for each inode. What has none there is not lent, so that a write or a close takes no lock for others' sake.
static TABLES: AtomicU64 = AtomicU64::new(0);
static INODES: AtomicU64 = AtomicU64::new(0);

/// How often data moved to another file of the host.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// To be asked before a read, for [`lend`].
pub fn moves() -> u64 {
    MOVES.load(Ordering::SeqCst)
}

/// One of 64, by the upper bits of a product (Knuth, volume 3, 6.4).
fn bit(key: u64) -> u64 {
    1 << (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

fn show(all: &[Lent]) {
    TABLES.store(all.iter().fold(0, |bits, lent| bits | bit(lent.descriptor.table)), Ordering::SeqCst);
    INODES.store(all.iter().fold(0, |bits, lent| bits | bit(lent.inode.0 as u64)), Ordering::SeqCst);
}

/// Lends a descriptor to the thread whose call is about to read it by this number. `may` says whether somebody wants to hear of reads; the descriptor does not go meanwhile. `moves`: their count before the file of this number was
/// found, which may be the wrong one since.
pub fn lend(
    descriptor: Descriptor,
    inode: InodeKey,
    thread: &Arc<Thread>,
    number: u32,
    moves: u64,
    may: impl FnOnce() -> bool,
) {
    let mut all = LENT.lock();
    if !may() || !thread.lend(number, descriptor.fd as u32) {
        return;
    }
    all.retain(|lent| lent.thread.strong_count() > 0 && !(lent.number == number && is(&lent.thread, thread)));
    all.push(Lent { descriptor, inode, thread: Arc::downgrade(thread), number });
    show(&all);
    drop(all);
    if self::moves() != moves {
        take_back(|lent| lent.inode == inode);
    }
}

fn is(weak: &Weak<Thread>, thread: &Arc<Thread>) -> bool {
    std::ptr::eq(weak.as_ptr(), Arc::as_ptr(thread))
}

/// A descriptor of this table has gone, or stands for another file.
pub fn descriptor_gone(table: u64, fd: i32) {
    if TABLES.load(Ordering::SeqCst) & bit(table) != 0 {
        take_back(|lent| lent.descriptor == Descriptor { table, fd });
    }
}

/// Another table is the thread's.
pub fn table_left(thread: &Arc<Thread>) {
    take_back(|lent| is(&lent.thread, thread));
}

/// What is in some file is in another one of the host from now on: a copy-up.
pub fn moved() {
    MOVES.fetch_add(1, Ordering::SeqCst);
    all();
}

/// What is in the file changes.
pub fn changes<T>(inode: &Arc<T>) {
    let inode = InodeKey::of(inode);
    if INODES.load(Ordering::SeqCst) & bit(inode.0 as u64) != 0 {
        take_back(|lent| lent.inode == inode);
    }
}

/// All of them, whatever they are.
pub fn all() {
    take_back(|_| true);
}

fn take_back(which: impl Fn(&Lent) -> bool) {
    if INODES.load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut all = LENT.lock();
    all.retain(|lent| {
        let goes = which(lent);
        if goes && let Some(thread) = lent.thread.upgrade() {
            thread.take_back_descriptor(lent.number, lent.descriptor.fd as u32);
        }
        !goes
    });
    show(&all);
}
