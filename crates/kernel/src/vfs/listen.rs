//! Who hears of everything that happens to files: fanotify and dnotify. fanotify(7), fcntl(2) F_NOTIFY.
//!
//! inotify's watches hang on inodes (`notify`); those here choose among all events by themselves. While nobody listens an event costs one
//! load. Locks: `Leaf` around the list.

use super::{Inode, Path};
use crate::locks::Leaf;
use lock::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Beside IN_MOVED_FROM: the name moved within its folder.
pub const WITHIN: u32 = 0x1000_0000;

/// Something that happened.
pub struct Happened<'a> {
    /// What it happened to; the folder, where a name of it changed.
    pub inode: &'a Arc<Inode>,
    /// IN_*, with IN_ISDIR where it is about a folder, or a folder's name.
    pub mask: u32,
    /// The place of `inode`, where it is known.
    pub path: Option<&'a Path>,
    /// The name that changed.
    pub name: Option<&'a [u8]>,
}

/// Told without locks, in the task that did it.
pub trait Listener: Send + Sync {
    fn happened(&self, what: &Happened<'_>);
}

static LISTENERS: RwLock<Vec<Weak<dyn Listener>>, Leaf> = RwLock::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// `listener` hears from now on, as long as it lives.
pub fn listen(listener: Weak<dyn Listener>) {
    let mut all = LISTENERS.write();
    all.retain(|l| l.strong_count() > 0);
    all.push(listener);
    COUNT.store(all.len(), Ordering::SeqCst);
    drop(all);
    crate::lent::all();
}

/// Whether anybody may listen.
pub fn is_heard() -> bool {
    COUNT.load(Ordering::Relaxed) > 0
}

pub(super) fn tell(what: &Happened<'_>) {
    if !is_heard() {
        return;
    }
    let all: Vec<_> = LISTENERS.read().iter().filter_map(Weak::upgrade).collect();
    if all.is_empty() {
        let mut all = LISTENERS.write();
        all.retain(|l| l.strong_count() > 0);
        COUNT.store(all.len(), Ordering::SeqCst);
        return;
    }
    for listener in all {
        listener.happened(what);
    }
}
