//! User and system time. getrusage(2), times(2), proc_pid_stat(5).
//!
//! Three parts make it: what the host charges to the stubs' threads, and how it splits that (`platform::Space::times`); what the kernel process uses for their calls (`meter`), which is system time; and what a stub waited for the
//! poller, spinning: user time for the host, and system time in truth. Neighbours: `usage` (the sums), `left` (the host's last words). Locks: a `Leaf` around what was told last.

use super::left::{self, Left};
use super::{Task, ThreadGroup, Usage};
use crate::locks::Leaf;
use host::process::CpuTimes;
use lock::Mutex;

/// What was told last: neither goes back, whatever the host finds out later. Together they are what was used.
#[derive(Default)]
pub struct Told(Mutex<CpuTimes, Leaf>);

impl Told {
    pub(super) fn forward(&self, now: CpuTimes) -> CpuTimes {
        let mut told = self.0.lock();
        let more = now.total().saturating_sub(told.total());
        let system = now.system.saturating_sub(told.system).min(more);
        *told = *told + CpuTimes { user: more - system, system };
        *told
    }
}

impl Usage {
    /// CPU time, ns.
    pub fn cpu(&self) -> u64 {
        self.host + self.calls
    }

    /// `host` is how the host splits about that time.
    pub(super) fn split(&self, host: CpuTimes) -> CpuTimes {
        let part = u128::from(self.host) * u128::from(host.system);
        let part = part.checked_div(host.total().into()).unwrap_or(0) as u64;
        let system = self.calls + part.saturating_add(self.known_system).min(self.host);
        CpuTimes { user: self.cpu() - system, system }
    }
}

impl Task {
    /// Of this thread. Costs looks into the host's /proc.
    pub fn times(&self) -> CpuTimes {
        let host = if self.host_time_at_end.get().is_some() { None } else { self.thread() };
        let host = host.map_or(CpuTimes::default(), |thread| thread.times());
        self.counters.told.forward(self.usage().split(host))
    }
}

impl ThreadGroup {
    /// Of all its threads, living and dead. Costs looks into the host's /proc.
    pub fn times(&self) -> CpuTimes {
        self.told.forward(self.usage().split(self.host_times()))
    }

    /// How the host splits the CPU time of the address spaces that it has and had.
    fn host_times(&self) -> CpuTimes {
        let now = self.tasks().iter().find_map(|t| t.mm()).map_or(CpuTimes::default(), |mm| mm.space().times());
        now + left::times(&self.left)
    }

    /// Of its children that were waited for, and theirs.
    pub fn children_times(&self) -> CpuTimes {
        self.children_told.forward(self.children_usage().split(left::times(&self.children_left)))
    }

    /// How `used`, which is its own and its children's together, is split.
    pub fn times_with_children(&self, used: &Usage) -> CpuTimes {
        used.split(self.host_times() + left::times(&self.children_left))
    }

    /// As `times` without what the host knows: costs nothing.
    pub fn times_of_calls(&self) -> CpuTimes {
        self.usage().split(CpuTimes::default())
    }

    /// What the host tells of the address spaces that it has left.
    pub(super) fn left(&self) -> Left {
        self.left.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(user: u64, system: u64) -> CpuTimes {
        CpuTimes { user, system }
    }

    #[test]
    fn parts_make_the_times() {
        let used = Usage { host: 1000, calls: 50, known_system: 200, ..Usage::default() };
        assert_eq!(used.split(times(0, 0)), times(800, 250));
        assert_eq!(used.split(times(30, 10)), times(550, 500));
        assert_eq!(used.split(times(0, 1)), times(0, 1050));
        assert_eq!(Usage::default().split(times(3, 4)), times(0, 0));
    }

    #[test]
    fn nothing_goes_back() {
        let told = Told::default();
        assert_eq!(told.forward(times(10, 5)), times(10, 5));
        // The host has changed its mind.
        assert_eq!(told.forward(times(4, 13)), times(10, 7));
        assert_eq!(told.forward(times(14, 4)), times(11, 7));
        assert_eq!(told.forward(times(1, 1)), times(11, 7));
    }
}
