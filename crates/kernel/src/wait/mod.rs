//! Waiting and waking: the one way in which anything in the kernel waits.
//!
//! An object has a `Queue`; a call that finds it not ready registers its task there (`Waits`, through `Io::wait_for`) and
//! stops with `Stop::Block`. `Queue::wake` only queues the task on the waking thread's run queue (`run`), so it is
//! legal under any lock. epoll registers itself on the same queues. Locks: `QueueWaiters`, under which nothing is called.

mod run;
mod waits;

pub use run::{RUN_QUEUE, Runnable, drain, enqueue};
pub use waits::{Interrupt, Waits, set_force_rerun};

use crate::locks::QueueWaiters;
use bitflags::bitflags;
use lock::Mutex;
use smallvec::SmallVec;
use std::sync::Arc;

bitflags! {
    /// Readiness, with the values of poll(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Events: u32 {
        const IN = 0x1;
        const PRI = 0x2;
        const OUT = 0x4;
        const ERR = 0x8;
        const HUP = 0x10;
        const NVAL = 0x20;
        const RDNORM = 0x40;
        const RDBAND = 0x80;
        const WRNORM = 0x100;
        const WRBAND = 0x200;
        const MSG = 0x400;
        const RDHUP = 0x2000;
    }
}

/// What a wake-up reaches: a task, an epoll item, a kernel-side callback. Called with no queue lock held.
pub trait Wake: Send + Sync {
    fn wake(self: Arc<Self>, events: Events);
}

struct Waiter {
    id: u64,
    events: Events,
    exclusive: bool,
    target: Arc<dyn Wake>,
}

#[derive(Default)]
struct Waiters {
    next_id: u64,
    list: Vec<Waiter>,
}

/// Who waits for an object.
#[derive(Clone)]
pub struct Queue(Arc<Mutex<Waiters, QueueWaiters>>);

impl Default for Queue {
    fn default() -> Queue {
        Queue::new()
    }
}

impl Queue {
    pub fn new() -> Queue {
        Queue(Arc::new(Mutex::new(Waiters::default())))
    }

    /// Registers `target` for any of `events` (ERR and HUP always count). Dropping the link takes it back.
    /// Check the condition again after registering: a wake-up before that is not repeated.
    pub fn add(&self, events: Events, exclusive: bool, target: Arc<dyn Wake>) -> Link {
        let mut waiters = self.0.lock();
        let id = waiters.next_id;
        waiters.next_id += 1;
        waiters.list.push(Waiter { id, events: events | Events::ERR | Events::HUP, exclusive, target });
        Link { queue: self.clone(), id }
    }

    /// Wakes all that wait for any of `events`.
    pub fn wake(&self, events: Events) {
        self.wake_some(events, usize::MAX);
    }

    /// Wakes all ordinary waiters and at most `max` exclusive ones, in the order of their coming.
    pub fn wake_some(&self, events: Events, max: usize) {
        let mut left = max;
        let targets: SmallVec<[Arc<dyn Wake>; 4]> = {
            let waiters = self.0.lock();
            if waiters.list.is_empty() {
                return;
            }
            waiters
                .list
                .iter()
                .filter(|w| w.events.intersects(events))
                .filter(|w| {
                    if !w.exclusive {
                        return true;
                    }
                    let take = left > 0;
                    left = left.saturating_sub(1);
                    take
                })
                .map(|w| w.target.clone())
                .collect()
        };
        for target in targets {
            target.wake(events);
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().list.is_empty()
    }
}

/// A registration on a queue; ends when dropped.
pub struct Link {
    queue: Queue,
    id: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        // The target may be the last reference to something with locks of its own: drop it outside.
        let waiter = {
            let mut waiters = self.queue.0.lock();
            waiters.list.iter().position(|w| w.id == self.id).map(|at| waiters.list.remove(at))
        };
        drop(waiter);
    }
}
