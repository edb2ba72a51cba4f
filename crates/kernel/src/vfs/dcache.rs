//! The bound of the dentry cache: names that nobody uses are forgotten, those that were not looked up for longest first (`--dcache`).
//!
//! Every cached dentry is in one queue, of all file systems. When it is too long, its head is looked at: what was found again since it came there
//! goes to the end (second chance), so does what is in use, and the rest leaves its folder. In use is what anybody holds but its folder: open files, working folders and
//! roots, mounts, running walks, and dentries below it; and what has state that only its inode knows. A name that was forgotten is looked up again.
//! Locks: the leaf `QUEUE`, held over nothing.

use super::Dentry;
use crate::locks::Leaf;
use lock::Mutex;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Dentries that are cached unless `--dcache` says otherwise. With the inodes of an overlay over a gofer each takes 1 KiB.
pub const DEFAULT_LIMIT: usize = 32_768;
/// How many are looked at for one that comes, so that no lookup pays for many.
const LOOKS: usize = 16;

static QUEUE: Mutex<VecDeque<Weak<Dentry>>, Leaf> = Mutex::new(VecDeque::new());
static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_LIMIT);

/// Sets how many dentries are cached beyond those in use.
pub fn set_limit(limit: usize) {
    LIMIT.store(limit, Ordering::Relaxed);
}

/// A dentry was put into its folder. The caller holds no lock.
pub(super) fn enter(dentry: &Arc<Dentry>) {
    let heads: SmallVec<[Weak<Dentry>; LOOKS]> = {
        let mut queue = QUEUE.lock();
        queue.push_back(Arc::downgrade(dentry));
        let over = queue.len().saturating_sub(LIMIT.load(Ordering::Relaxed));
        queue.drain(..over.min(LOOKS)).collect()
    };
    // Dentries, inodes and what they hold are dropped here, without a lock.
    let kept: SmallVec<[Weak<Dentry>; LOOKS]> = heads.into_iter().filter(keeps).collect();
    if !kept.is_empty() {
        QUEUE.lock().extend(kept);
    }
}

/// Whether a dentry stays in the queue; one that does not is in no folder any more.
fn keeps(head: &Weak<Dentry>) -> bool {
    match head.upgrade() {
        None => false,
        Some(dentry) => dentry.was_used() || !dentry.leave(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};
    use crate::vfs::pipe_inode;

    /// One test, for the queue is one.
    #[test]
    fn what_is_unused_for_longest_is_forgotten() {
        set_limit(100);
        let root = Dentry::root(pipe_inode(&Cred::root(UserNs::initial())));
        let cached = |names: std::ops::Range<u32>| {
            names.filter(|n| root.cached_names().iter().any(|name| **name == *n.to_string().as_bytes())).count()
        };
        let add = |n: u32| root.adopt(n.to_string().as_bytes(), None);
        let held = add(0);
        let below = add(1).adopt(b"below", None);
        add(2).pin();
        for n in 3..1000 {
            add(n);
            // Looked up over and over.
            assert!(n < 10 || root.child(b"5").is_some());
        }
        assert!(cached(6..1000) <= 100);
        assert_eq!(cached(950..1000), 50);
        assert_eq!(cached(0..3), 3, "held, above a held one, pinned");
        assert!(Arc::ptr_eq(&root.child(b"0").unwrap(), &held));
        assert!(root.child(b"1").unwrap().child(b"below").is_some());
        assert_eq!(cached(3..5), 0);
        drop((held, below));
        for n in 1000..2000 {
            add(n);
        }
        assert_eq!((cached(0..2), cached(2..3)), (0, 1));
        set_limit(DEFAULT_LIMIT);
    }
}
