//! Record locks and flocks of an inode: fcntl(2) F_SETLK and F_OFD_SETLK, flock(2).
//!
//! POSIX locks belong to a descriptor table (a process), open file description locks and flocks to an open file. The first two
//! are kept in one list, since they conflict with each other; flocks are apart. Who waits for a POSIX lock is noted, so that a
//! ring of waiters is refused with EDEADLK. Locks: `FileLocks`, then `Leaf` for the waiters.

use super::File;
use crate::io::Io;
use crate::locks::{FileLocks, Leaf};
use crate::op::{Op, Stop, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use lock::Mutex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Whose lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockOwner {
    /// A descriptor table, by its id.
    Table(u64),
    /// An open file description, by its id.
    File(u64),
}

/// A locked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    pub start: u64,
    /// The last byte; `u64::MAX`: to the end of the file, wherever that is.
    pub last: u64,
    pub write: bool,
    pub owner: LockOwner,
    /// What F_GETLK shows: the process' number; -1 for open file description locks.
    pub pid: i32,
}

impl RecordLock {
    fn overlaps(&self, other: &RecordLock) -> bool {
        self.start <= other.last && other.start <= self.last
    }
    fn conflicts(&self, other: &RecordLock) -> bool {
        self.owner != other.owner && (self.write || other.write) && self.overlaps(other)
    }
}

/// All locks of an inode.
#[derive(Default)]
pub struct InodeLocks {
    state: Mutex<State, FileLocks>,
    queue: Queue,
}

#[derive(Default)]
struct State {
    records: Vec<RecordLock>,
    /// Open files and whether they hold it alone.
    flocks: Vec<(u64, bool)>,
}

/// Which owner waits for which, over all inodes.
static WAITING: LazyLock<Mutex<HashMap<LockOwner, LockOwner>, Leaf>> = LazyLock::new(Default::default);

/// Whether `owner` would wait for itself if it waited for `holder`.
fn is_ring(owner: LockOwner, holder: LockOwner) -> bool {
    let waiting = WAITING.lock();
    let mut at = holder;
    for _ in 0..=waiting.len() {
        if at == owner {
            return true;
        }
        match waiting.get(&at) {
            Some(next) => at = *next,
            None => return false,
        }
    }
    false
}

impl State {
    fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.records.iter().filter(|have| have.conflicts(wanted)).min_by_key(|have| have.start).copied()
    }

    /// Takes the range away from its owner's locks: what sticks out on either side stays.
    fn cut(&mut self, range: &RecordLock) {
        let mut rest = Vec::new();
        self.records.retain(|have| {
            if have.owner != range.owner || !have.overlaps(range) {
                return true;
            }
            if have.start < range.start {
                rest.push(RecordLock { last: range.start - 1, ..*have });
            }
            if have.last > range.last {
                rest.push(RecordLock { start: range.last + 1, ..*have });
            }
            false
        });
        self.records.extend(rest);
    }

    /// Adds a lock; neighbours of the same kind become one with it.
    fn add(&mut self, mut new: RecordLock) {
        self.cut(&new);
        self.records.retain(|have| {
            let same = have.owner == new.owner && have.write == new.write;
            let before = have.last != u64::MAX && have.last + 1 == new.start;
            let after = new.last != u64::MAX && new.last + 1 == have.start;
            if same && before {
                new.start = have.start;
            } else if same && after {
                new.last = have.last;
            }
            !(same && (before || after))
        });
        self.records.push(new);
    }
}

impl InodeLocks {
    /// F_GETLK: a lock that stands in the way.
    pub fn test(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.state.lock().conflict(wanted)
    }

    /// The first lock of this owner in the range: F_OFD_GETLK that asks for F_UNLCK.
    pub fn own(&self, range: &RecordLock) -> Option<RecordLock> {
        let state = self.state.lock();
        let mine = state.records.iter().filter(|have| have.owner == range.owner && have.overlaps(range));
        mine.min_by_key(|have| have.start).copied()
    }

    /// F_UNLCK.
    pub fn unlock(&self, range: &RecordLock) {
        self.state.lock().cut(range);
        self.queue.wake(Events::IN);
    }

    /// F_SETLK, F_SETLKW. EAGAIN where it would wait and must not, EDEADLK where the wait would never end.
    pub fn lock(&self, io: &mut Io<'_>, wanted: &RecordLock, wait: bool) -> Op<()> {
        let mut io = io.with_nonblock(!wait);
        let detect = wait && matches!(wanted.owner, LockOwner::Table(_));
        let result = io.wait_for(&self.queue, Events::IN, || {
            let mut state = self.state.lock();
            let Some(holder) = state.conflict(wanted) else {
                state.add(*wanted);
                return Ok(Some(()));
            };
            if detect {
                if is_ring(wanted.owner, holder.owner) {
                    return fail(Errno::EDEADLK);
                }
                WAITING.lock().insert(wanted.owner, holder.owner);
            }
            Ok(None)
        });
        if detect && result != Err(Stop::Block) {
            WAITING.lock().remove(&wanted.owner);
        }
        if result.is_ok() {
            // A weaker lock over a stronger one lets others in.
            self.queue.wake(Events::IN);
        }
        result
    }

    /// flock(2): shared or alone.
    pub fn flock(&self, io: &mut Io<'_>, file: u64, alone: bool, wait: bool) -> Op<()> {
        let mut io = io.with_nonblock(!wait);
        io.wait_for(&self.queue, Events::IN, || {
            let mut state = self.state.lock();
            if state.flocks.contains(&(file, alone)) {
                return Ok(Some(()));
            }
            // A change of kind is not atomic: the old lock goes first.
            let had = state.flocks.len();
            state.flocks.retain(|(owner, _)| *owner != file);
            let weaker = state.flocks.len() < had;
            let free = state.flocks.iter().all(|(_, other)| !alone && !*other);
            if free {
                state.flocks.push((file, alone));
            }
            drop(state);
            if weaker {
                self.queue.wake(Events::IN);
            }
            Ok(free.then_some(()))
        })
    }

    /// LOCK_UN.
    pub fn unflock(&self, file: u64) {
        self.state.lock().flocks.retain(|(owner, _)| *owner != file);
        self.queue.wake(Events::IN);
    }

    /// An open file description went: its flock and OFD locks go with it.
    pub fn release_file(&self, file: u64) {
        self.release(LockOwner::File(file));
        self.unflock(file);
    }

    fn release(&self, owner: LockOwner) {
        self.state.lock().records.retain(|have| have.owner != owner);
        self.queue.wake(Events::IN);
    }

    /// All locks for /proc/locks: records, then flocks by file and whether alone.
    pub fn list(&self) -> (Vec<RecordLock>, Vec<(u64, bool)>) {
        let state = self.state.lock();
        (state.records.clone(), state.flocks.clone())
    }
}

/// A descriptor of `file` in table `table` was closed: the process loses all its POSIX locks on the file, fcntl(2).
pub fn closed(file: &File, table: u64) {
    if let Some(locks) = file.inode.as_ref().and_then(|i| i.locks_if_any()) {
        locks.release(LockOwner::Table(table));
    }
}

/// A descriptor table went.
pub fn table_gone(table: u64) {
    WAITING.lock().remove(&LockOwner::Table(table));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};
    use std::sync::Arc;

    fn range(owner: u64, start: u64, last: u64, write: bool) -> RecordLock {
        RecordLock { start, last, write, owner: LockOwner::Table(owner), pid: owner as i32 }
    }

    fn set(locks: &InodeLocks, wanted: RecordLock) -> Op<()> {
        let mut done = 0;
        let mut io = Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done);
        locks.lock(&mut io, &wanted, false)
    }

    #[test]
    fn ranges_split_and_merge() {
        let locks = InodeLocks::default();
        set(&locks, range(1, 0, 99, true)).unwrap();
        locks.unlock(&range(1, 40, 59, true));
        assert_eq!(locks.list().0, [range(1, 0, 39, true), range(1, 60, 99, true)]);
        set(&locks, range(1, 40, 59, true)).unwrap();
        assert_eq!(locks.list().0, [range(1, 0, 99, true)]);
        set(&locks, range(1, 50, u64::MAX, false)).unwrap();
        assert_eq!(locks.list().0, [range(1, 0, 49, true), range(1, 50, u64::MAX, false)]);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let locks = InodeLocks::default();
        set(&locks, range(1, 0, 9, false)).unwrap();
        set(&locks, range(2, 5, 20, false)).unwrap();
        assert_eq!(set(&locks, range(3, 9, 9, true)), fail(Errno::EAGAIN));
        assert_eq!(locks.test(&range(3, 9, 9, true)), Some(range(1, 0, 9, false)));
        assert_eq!(set(&locks, range(3, 21, 30, true)), Ok(()));
        locks.release(LockOwner::Table(1));
        assert_eq!(locks.test(&range(2, 0, 20, true)), None);
    }

    #[test]
    fn flocks() {
        let locks = InodeLocks::default();
        let try_one = |file, alone| {
            let mut done = 0;
            let mut io = Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done);
            locks.flock(&mut io, file, alone, false)
        };
        try_one(1, false).unwrap();
        try_one(2, false).unwrap();
        assert_eq!(try_one(1, true), fail(Errno::EAGAIN));
        locks.release_file(2);
        assert_eq!(try_one(1, true), Ok(()));
        assert_eq!(try_one(3, false), fail(Errno::EAGAIN));
    }

    #[test]
    fn a_ring_of_waiters_is_found() {
        let (a, b, c) = (LockOwner::Table(1001), LockOwner::Table(1002), LockOwner::Table(1003));
        WAITING.lock().insert(b, c);
        WAITING.lock().insert(c, a);
        assert!(is_ring(a, b));
        assert!(!is_ring(b, LockOwner::Table(1004)));
    }
}
