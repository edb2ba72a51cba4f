//! How a task asked to be scheduled: sched(7), setpriority(2). It is kept, shown and inherited; the host schedules guests, all alike.

use super::Task;
use abi::task::{SCHED_FIFO, SCHED_NORMAL, SCHED_RR};

/// Policy and priorities of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    pub policy: u32,
    /// Of real-time policies, 1 to 99; else 0.
    pub priority: u32,
    /// -20 to 19.
    pub nice: i32,
    /// ioprio_set(2): class << 13 | data; 0: none. The host's disks know nothing of it.
    pub io: u16,
    /// Children begin without what needs rights: SCHED_RESET_ON_FORK.
    pub reset_on_fork: bool,
}

impl Sched {
    pub fn is_realtime(&self) -> bool {
        [SCHED_FIFO, SCHED_RR].contains(&self.policy)
    }

    /// What a new task begins with.
    pub(super) fn inherited(self) -> Sched {
        if !self.reset_on_fork {
            return self;
        }
        let (policy, nice) = if self.is_realtime() { (SCHED_NORMAL, 0) } else { (self.policy, self.nice.max(0)) };
        Sched { policy, priority: 0, nice, io: self.io, reset_on_fork: false }
    }
}

impl Task {
    pub fn sched(&self) -> Sched {
        self.fields.lock().sched
    }
    pub fn set_sched(&self, sched: Sched) {
        self.fields.lock().sched = sched;
    }
}
