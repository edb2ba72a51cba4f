//! Who does what happens to files, for listeners that want to know (fanotify). Kept by host thread, and only while anybody listens.

use super::Task;
use crate::vfs::listen;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// The task whose call or end runs on this host thread.
pub fn acting() -> Option<Arc<Task>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs `f` on behalf of `task`.
pub(super) fn act<T>(task: &Arc<Task>, f: impl FnOnce() -> T) -> T {
    if !listen::is_heard() {
        return f();
    }
    let before = CURRENT.replace(Some(task.clone()));
    let result = f();
    drop(CURRENT.replace(before));
    result
}
