//! A lock that may be held over host calls: who finds it taken waits as a task waits, not as a thread.
//!
//! `Mutex` is never held over a host call; what must be serial around one (changes of a folder, a file's position) takes a
//! `TaskLock`. Losing it means `Stop::Block` and a re-run, so it is taken before anything has been changed. Neighbours: `io`, `wait`.

use crate::io::Io;
use crate::op::{Op, Restart, Stop};
use crate::wait::{Events, Queue};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// See the module.
#[derive(Default)]
pub struct TaskLock {
    held: AtomicBool,
    waiting: AtomicU32,
    queue: std::sync::OnceLock<Queue>,
}

/// Releases the lock when dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct TaskGuard<'a>(&'a TaskLock);

impl TaskLock {
    pub const fn new() -> TaskLock {
        TaskLock { held: AtomicBool::new(false), waiting: AtomicU32::new(0), queue: std::sync::OnceLock::new() }
    }

    pub fn try_lock(&self) -> Option<TaskGuard<'_>> {
        // No guard before it is taken: one that goes lets go whoever has it.
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok().then(|| TaskGuard(self))
    }

    /// Takes the lock or stops with `Block`. The wait counts neither as nonblocking nor as interruptible: a signal's handler
    /// runs, then the call goes on.
    pub fn lock(&self, io: &mut Io<'_>) -> Op<TaskGuard<'_>> {
        if let Some(guard) = self.try_lock() {
            return Ok(guard);
        }
        let queue = self.queue.get_or_init(Queue::new);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let nonblock = std::mem::replace(&mut io.nonblock, false);
        let deadline = io.deadline.take();
        let result = io.wait_for(queue, Events::IN, || Ok(self.try_lock()));
        io.nonblock = nonblock;
        io.deadline = deadline;
        match result {
            Err(Stop::Restart(_)) => Err(Stop::Restart(Restart::NoIntr)),
            other => other,
        }
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::SeqCst);
        if self.0.waiting.swap(0, Ordering::SeqCst) > 0
            && let Some(queue) = self.0.queue.get()
        {
            queue.wake(Events::IN);
        }
    }
}

const STRIPES: usize = 64;
static FOLDERS: LazyLock<Vec<TaskLock>> = LazyLock::new(|| (0..STRIPES).map(|_| TaskLock::new()).collect());

/// Folders that are being changed: two different ones share a lock now and then.
pub struct FolderGuards {
    _first: TaskGuard<'static>,
    _second: Option<TaskGuard<'static>>,
}

fn stripe(inode: &super::Inode) -> usize {
    (inode.fs.dev.wrapping_mul(31).wrapping_add(inode.ino).wrapping_mul(0x9e37_79b9) >> 7) as usize % STRIPES
}

/// Locks the entries of a folder, or of two, against other changes.
pub fn lock_folders(io: &mut Io<'_>, a: &super::Inode, b: Option<&super::Inode>) -> Op<FolderGuards> {
    let first = stripe(a);
    let second = b.map_or(first, stripe);
    let (low, high) = (first.min(second), first.max(second));
    let take = |io: &mut Io<'_>, at: usize| match FOLDERS.get(at) {
        Some(lock) => lock.lock(io),
        None => crate::op::fail(abi::Errno::EINVAL),
    };
    let guard = take(io, low)?;
    let other = if high != low { Some(take(io, high)?) } else { None };
    Ok(FolderGuards { _first: guard, _second: other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_get_it_leaves_it_taken() {
        let lock = TaskLock::new();
        let guard = lock.try_lock();
        assert!(guard.is_some());
        assert!(lock.try_lock().is_none());
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
