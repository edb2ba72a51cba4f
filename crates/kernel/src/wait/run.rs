//! The run queue of each host thread: tasks that were woken and are to run their calls again.
//!
//! A wake-up may come under any lock, so it only pushes here; the worker (or timer, or control thread) drains the
//! queue when it has dropped its locks, on its own core. No other core is woken, unless the thread sleeps in a host call first. Locks: a leaf around what was left to others.

use crate::locks::Leaf;
use lock::Mutex;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that a drained run queue runs; a task.
pub trait Runnable: Send + Sync {
    fn run(self: Arc<Self>);
}

thread_local! {
    static QUEUE: RefCell<VecDeque<Arc<dyn Runnable>>> = const { RefCell::new(VecDeque::new()) };
}

/// What a thread left to others before it went to sleep in a host call, and whether there is something.
static PASSED: Mutex<VecDeque<Arc<dyn Runnable>>, Leaf> = Mutex::new(VecDeque::new());
static ANY_PASSED: AtomicBool = AtomicBool::new(false);

/// For the platform's threads.
pub const RUN_QUEUE: platform::RunQueue = platform::RunQueue { drain, is_waiting, pass_on };

/// Puts `what` on this thread's run queue. A thread that is ending, and drops its queue, has nobody left to run it.
pub fn enqueue(what: Arc<dyn Runnable>) {
    let _ = QUEUE.try_with(|queue| queue.borrow_mut().push_back(what));
}

/// Runs what is queued on this thread, and what others have passed on. Returns whether there was anything. Call it with no lock held.
pub fn drain() -> bool {
    let mut any = false;
    while let Some(next) = QUEUE.with_borrow_mut(VecDeque::pop_front).or_else(passed) {
        any = true;
        next.run();
    }
    any
}

fn is_waiting() -> bool {
    QUEUE.with_borrow(|queue| !queue.is_empty())
}

fn pass_on() {
    let mine = QUEUE.take();
    let mut passed = PASSED.lock();
    passed.extend(mine);
    ANY_PASSED.store(true, Ordering::Release);
}

fn passed() -> Option<Arc<dyn Runnable>> {
    if !ANY_PASSED.load(Ordering::Acquire) {
        return None;
    }
    let mut passed = PASSED.lock();
    let next = passed.pop_front();
    ANY_PASSED.store(!passed.is_empty(), Ordering::Release);
    next
}
