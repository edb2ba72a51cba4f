//! The run queue of each host thread: tasks that were woken and are to run their calls again.
//!
//! A wake-up may come under any lock, so it only pushes here; the worker (or timer, or control thread) drains the
//! queue when it has dropped its locks, on its own core. No other core is woken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Something that a drained run queue runs; a task.
pub trait Runnable: Send + Sync {
    fn run(self: Arc<Self>);
}

thread_local! {
    static QUEUE: RefCell<VecDeque<Arc<dyn Runnable>>> = const { RefCell::new(VecDeque::new()) };
}

/// Puts `what` on this thread's run queue. A thread that is ending, and drops its queue, has nobody left to run it.
pub fn enqueue(what: Arc<dyn Runnable>) {
    let _ = QUEUE.try_with(|queue| queue.borrow_mut().push_back(what));
}

/// Runs what is queued on this thread. Returns whether there was anything. Call it with no lock held.
pub fn drain() -> bool {
    let mut any = false;
    while let Some(next) = QUEUE.with_borrow_mut(VecDeque::pop_front) {
        any = true;
        next.run();
    }
    any
}
