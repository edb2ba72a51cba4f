//! Clocks that timers run by. clock_gettime(2), timer_create(2).
//!
//! A timer keeps its time in nanoseconds of its clock; the reactor only knows CLOCK_MONOTONIC. So a wake-up may come early (a CPU
//! clock ran slower, CLOCK_REALTIME was set back), and whoever is woken compares with its clock and arms again.

use crate::task::{Task, ThreadGroup};
use crate::time::{self, Deadline, Nanos};
use std::sync::Weak;

/// A clock.
#[derive(Clone)]
pub enum Clock {
    Realtime,
    /// CLOCK_MONOTONIC, and CLOCK_BOOTTIME where a sandbox sees no difference.
    Monotonic,
    Boottime,
    /// CPU time of a process or thread.
    Process(Weak<ThreadGroup>),
    /// User time of a process.
    User(Weak<ThreadGroup>),
    Thread(Weak<Task>),
}

/// CPU clocks are looked at no more often than this, ns.
const CPU_STEP: Nanos = 1_000_000;

impl Clock {
    /// The time now; 0 for the CPU time of what is gone.
    pub fn now(&self) -> Nanos {
        match self {
            Clock::Realtime => time::realtime(),
            Clock::Monotonic => time::monotonic(),
            Clock::Boottime => host::time::boottime(),
            Clock::Process(group) => group.upgrade().map_or(0, |g| g.cpu_time()),
            Clock::User(group) => group.upgrade().map_or(0, |g| g.times().user),
            Clock::Thread(task) => task.upgrade().map_or(0, |t| t.cpu_time()),
        }
    }

    /// When to look whether the clock has come to `at`. None where it stands for ever.
    pub fn deadline(&self, at: Nanos) -> Option<Deadline> {
        let left = at.saturating_sub(self.now());
        Some(match self {
            Clock::Monotonic => Deadline(at),
            Clock::Realtime | Clock::Boottime => Deadline::after(left),
            Clock::Process(group) | Clock::User(group) => {
                let threads = group.upgrade()?.tasks().len().max(1) as u64;
                Deadline::after((left / threads).max(CPU_STEP))
            }
            Clock::Thread(task) => {
                task.upgrade()?;
                Deadline::after(left.max(CPU_STEP))
            }
        })
    }
}

/// How often a timer that was due at `next` has expired by `now`, and when it is due again.
pub fn expirations(next: Nanos, interval: Nanos, now: Nanos) -> (u64, Option<Nanos>) {
    if now < next {
        return (0, Some(next));
    }
    match (now - next).checked_div(interval) {
        None => (1, None),
        Some(more) => {
            let count = more.saturating_add(1);
            (count, Some(next.saturating_add(interval.saturating_mul(count))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_expirations() {
        assert_eq!(expirations(100, 10, 99), (0, Some(100)));
        assert_eq!(expirations(100, 10, 100), (1, Some(110)));
        assert_eq!(expirations(100, 10, 125), (3, Some(130)));
        assert_eq!(expirations(100, 0, 125), (1, None));
        assert_eq!(expirations(0, 1, u64::MAX), (u64::MAX, Some(u64::MAX)));
    }
}
