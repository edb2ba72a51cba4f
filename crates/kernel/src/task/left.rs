//! What the host tells of address spaces that were left: the most memory that was resident, and how their CPU time was split. getrusage(2).
//!
//! The host tells it when it ends their processes, and only who asks waits for that. Neighbours: `usage`, `times`. Locks: none of its own; it lies in `Leaf`s of its owners.

use crate::locks::Leaf;
use host::process::{CpuTimes, Ended};
use lock::Mutex;
use platform::Space;
use std::sync::Arc;

/// Of some address spaces.
#[derive(Clone, Default)]
pub struct Left {
    /// The most that was resident at once in any of them.
    peak: u64,
    times: CpuTimes,
    /// Those whose processes had not ended.
    open: Vec<Arc<Space>>,
}

impl Left {
    pub fn add_space(&mut self, space: Arc<Space>) {
        if !self.open.iter().any(|open| Arc::ptr_eq(open, &space)) {
            self.open.push(space);
        }
        self.settle();
    }

    pub fn add(&mut self, other: &Left) {
        self.peak = self.peak.max(other.peak);
        self.times = self.times + other.times;
        self.open.extend(other.open.iter().cloned());
        self.settle();
    }

    fn settle(&mut self) {
        let Left { peak, times, open } = self;
        open.retain(|space| match space.ended() {
            Some(Ended { peak_kb, times: used, .. }) => {
                *peak = peak_kb.saturating_mul(1024).max(*peak);
                *times = *times + used;
                false
            }
            None => true,
        });
    }
}

/// The most memory, bytes. May sleep.
pub fn peak(left: &Mutex<Left, Leaf>) -> u64 {
    let open = left.lock().open.clone();
    for space in open {
        space.await_end();
    }
    let mut left = left.lock();
    left.settle();
    left.peak
}

/// How the host splits their CPU time, as far as it tells by now: all of it after `peak`.
pub fn times(left: &Mutex<Left, Leaf>) -> CpuTimes {
    let left = left.lock().clone();
    so_far(&left)
}

pub fn so_far(left: &Left) -> CpuTimes {
    left.open.iter().fold(left.times, |sum, space| sum + space.times())
}
