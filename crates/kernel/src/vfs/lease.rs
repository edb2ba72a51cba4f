//! Leases: a process is told before another opens its file. fcntl(2), "Leases".
//!
//! An open that conflicts tells the holder and waits until the lease is given up or lowered, /proc/sys/fs/lease-break-time seconds at
//! most. Neighbours: `open` asks here before it opens. Locks: `Leaf` around an inode's list.

use super::{File, FileType, Inode, access};
use crate::cred::Cap;
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::{Op, Stop, fail};
use crate::time::Deadline;
use crate::wait::{Events, Queue, Runnable, enqueue};
use abi::Errno;
use abi::fs::{F_RDLCK, F_UNLCK, F_WRLCK};
use lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Seconds that a holder has.
pub static BREAK_TIME: AtomicU32 = AtomicU32::new(45);

struct Lease {
    /// `File::id`.
    file: u64,
    /// F_RDLCK or F_WRLCK.
    kind: u32,
    /// What an open that waits wants it to become: F_RDLCK or F_UNLCK.
    wanted: Option<u32>,
    /// Tells the holder.
    tell: Arc<dyn Runnable>,
}

/// The leases of an inode.
#[derive(Default)]
pub struct Leases {
    list: Mutex<Vec<Lease>, Leaf>,
    queue: Queue,
}

impl Leases {
    /// F_GETLEASE.
    pub fn get(&self, file: &File) -> u32 {
        let list = self.list.lock();
        list.iter().find(|l| l.file == file.id).map_or(F_UNLCK, |l| l.wanted.unwrap_or(l.kind))
    }

    fn remove(&self, file: u64) -> bool {
        let gone = {
            let mut list = self.list.lock();
            list.iter().position(|l| l.file == file).map(|at| list.remove(at))
        };
        if gone.is_some() {
            self.queue.wake(Events::IN);
        }
        gone.is_some()
    }

    pub(super) fn release_file(&self, file: u64) {
        self.remove(file);
    }

    /// Leases that an open for writing, or for reading, has to wait for: told once, and whether there are any.
    fn conflicts(&self, writes: bool) -> bool {
        let wanted = if writes { F_UNLCK } else { F_RDLCK };
        let mut tell = Vec::new();
        let any = {
            let mut list = self.list.lock();
            let mut any = false;
            for lease in list.iter_mut().filter(|l| writes || l.kind == F_WRLCK) {
                any = true;
                if lease.wanted.is_none() {
                    tell.push(lease.tell.clone());
                }
                if lease.wanted != Some(F_UNLCK) {
                    lease.wanted = Some(wanted);
                }
            }
            any
        };
        tell.into_iter().for_each(enqueue);
        any
    }

    /// The time is up: leases become what is wanted of them.
    fn force(&self) {
        let mut list = self.list.lock();
        list.retain(|l| l.wanted != Some(F_UNLCK));
        for lease in list.iter_mut() {
            lease.kind = lease.wanted.take().unwrap_or(lease.kind);
        }
        drop(list);
        self.queue.wake(Events::IN);
    }
}

/// F_SETLEASE of an open file. EACCES where it is another's, EAGAIN where others have it open in a way that conflicts.
pub fn set(io: &mut Io<'_>, file: &Arc<File>, kind: u32, tell: Arc<dyn Runnable>) -> Op<()> {
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    if kind == F_UNLCK && inode.kind == FileType::Regular {
        let had = inode.leases_if_any().is_some_and(|l| l.remove(file.id));
        return if had { Ok(()) } else { fail(Errno::EAGAIN) };
    }
    let attr = inode.attr(io)?;
    if attr.uid != io.cred.fsuid && !access::capable(&io.cred, attr.uid, attr.gid, Cap::Lease) {
        return fail(Errno::EACCES);
    }
    if inode.kind != FileType::Regular || !matches!(kind, F_RDLCK | F_WRLCK) {
        return fail(Errno::EINVAL);
    }
    let opened = inode.open_files.load(Ordering::Acquire);
    let writers = inode.writing.load(Ordering::Acquire);
    if kind == F_RDLCK && writers > 0 || kind == F_WRLCK && opened > 1 {
        return fail(Errno::EAGAIN);
    }
    let leases = inode.leases();
    let mut list = leases.list.lock();
    let others = list.iter().any(|l| l.file != file.id && (kind == F_WRLCK || l.kind == F_WRLCK));
    let mine = list.iter_mut().find(|l| l.file == file.id);
    if others || mine.as_ref().is_some_and(|l| l.wanted == Some(F_UNLCK) || l.wanted.is_some() && kind == F_WRLCK) {
        return fail(Errno::EAGAIN);
    }
    match mine {
        Some(lease) => (lease.kind, lease.wanted) = (kind, None),
        None => list.push(Lease { file: file.id, kind, wanted: None, tell }),
    }
    drop(list);
    leases.queue.wake(Events::IN);
    Ok(())
}

/// Before an inode is opened, or cut by truncate(2): waits for the leases in the way. EAGAIN for who does not wait.
pub fn break_for(io: &mut Io<'_>, inode: &Inode, writes: bool, nonblock: bool) -> Op<()> {
    let Some(leases) = inode.leases_if_any() else { return Ok(()) };
    if !leases.conflicts(writes) {
        return Ok(());
    }
    let seconds = u64::from(BREAK_TIME.load(Ordering::Relaxed));
    let mut io = io.with_nonblock(nonblock);
    io.deadline = Some(io.limit(Deadline::after(seconds * 1_000_000_000)));
    match io.wait_for(&leases.queue, Events::IN, || Ok((!leases.conflicts(writes)).then_some(()))) {
        Err(Stop::Errno(Errno::ETIMEDOUT)) => {
            leases.force();
            Ok(())
        }
        other => other,
    }
}
