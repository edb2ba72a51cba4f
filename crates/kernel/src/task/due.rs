//! Whether a look at signals can find anything: kept beside the locks that guard them, so that a call which no signal meets takes none of these.
//!
//! Of a thread and of its group, each set under the group's lock by who queues a signal or stops the group, and by a thread that keeps a mask to go back to; taken back by
//! `attention`, under both locks, when it found nothing left. Neighbours: `send` (sets), `attention` (looks). Owns no locks.

use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Due(AtomicBool);

impl Default for Due {
    /// What is new has not been looked at.
    fn default() -> Due {
        Due(AtomicBool::new(true))
    }
}

impl Due {
    /// Before the thread is told: its state is read after this (`Task::notify`).
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// What is left after a look.
    pub fn settle(&self, left: bool) {
        if self.0.load(Ordering::Relaxed) != left {
            self.0.store(left, Ordering::SeqCst);
        }
    }
}
