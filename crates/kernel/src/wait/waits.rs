//! What one call of one task waits for.
//!
//! Also the test hook that forces a wait and a re-run at every wait point: with it on, each `Io::wait_for` blocks once
//! although it need not, so that handlers which do something twice are found.

use super::{Events, Link, Queue, Wake};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static FORCE_RERUN: AtomicBool = AtomicBool::new(false);

/// Switches the hook on (`stockade --test-force-rerun`).
pub fn set_force_rerun(on: bool) {
    FORCE_RERUN.store(on, Ordering::Relaxed);
}

/// Whether something wants the task out of its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Interrupt {
    #[default]
    None,
    /// A signal that it may act on (or a stop): interruptible waits end.
    Signal,
    /// The task is to die: killable waits end too.
    Kill,
}

/// The wait set of a task's current call. Lives with the task's record; emptied before each run.
pub struct Waits {
    target: Arc<dyn Wake>,
    links: SmallVec<[Link; 1]>,
    /// Set by the task loop before a re-run.
    pub interrupt: Interrupt,
    /// What an operation below the call layer keeps over re-runs: when it first waited (CLOCK_MONOTONIC ns), a terminal's VTIME.
    pub since: Option<u64>,
    /// What a file system that asks a server keeps of the call's questions and answers, so that a re-run asks none of them again.
    pub remote: Option<Box<dyn std::any::Any + Send>>,
    /// Kept until the next run: a timer that ends the wait.
    guard: Option<Box<dyn std::any::Any + Send>>,
    /// Wait points that this call has been forced through, and those seen in this run.
    forced: u32,
    seen: u32,
}

impl Waits {
    pub fn new(target: Arc<dyn Wake>) -> Waits {
        Waits {
            target,
            links: SmallVec::new(),
            interrupt: Interrupt::None,
            since: None,
            remote: None,
            guard: None,
            forced: 0,
            seen: 0,
        }
    }

    /// Before each run of the call.
    pub fn begin_run(&mut self) {
        self.links.clear();
        self.guard = None;
        self.seen = 0;
    }

    /// After the call has its answer.
    pub fn end_call(&mut self) {
        self.links.clear();
        self.interrupt = Interrupt::None;
        self.since = None;
        self.remote = None;
        self.guard = None;
        self.forced = 0;
        self.seen = 0;
    }

    /// Keeps something (a `reactor::Timer` on `target`) until the next run.
    pub fn hold(&mut self, guard: Box<dyn std::any::Any + Send>) {
        self.guard = Some(guard);
    }

    /// Registers the task on a queue.
    pub fn add(&mut self, queue: &Queue, events: Events) {
        let link = queue.add(events, false, self.target.clone());
        self.links.push(link);
    }

    /// As `add`, one of the waiters that `wake_some` wakes one at a time.
    pub fn add_exclusive(&mut self, queue: &Queue, events: Events) {
        let link = queue.add(events, true, self.target.clone());
        self.links.push(link);
    }

    /// Drops the registrations of this run: what was waited for is there.
    pub fn clear(&mut self) {
        self.links.clear();
    }

    /// Who is woken.
    pub fn target(&self) -> &Arc<dyn Wake> {
        &self.target
    }

    /// The test hook: true when this wait point must be taken although it need not. Wakes the task at once.
    pub fn forced(&mut self) -> bool {
        if !FORCE_RERUN.load(Ordering::Relaxed) {
            return false;
        }
        self.seen += 1;
        if self.seen <= self.forced {
            return false;
        }
        self.forced += 1;
        self.target.clone().wake(Events::empty());
        true
    }
}
