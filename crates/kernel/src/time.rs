//! Clocks and deadlines. clock_gettime(2), time_namespaces(7).
//!
//! Guests read the host's clocks (the vDSO in every address space is the host's, `docs/adr/0004`), so the kernel's time is
//! the host's too. All deadlines are CLOCK_MONOTONIC nanoseconds. Neighbour: `reactor` wakes at a deadline.

use abi::time::Timespec;

/// Nanoseconds of a clock.
pub type Nanos = u64;

/// An absolute time on CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Nanos);

impl Deadline {
    /// `after` nanoseconds from now; saturates at the end of time.
    pub fn after(after: Nanos) -> Deadline {
        Deadline(monotonic().saturating_add(after))
    }
    pub fn expired(self) -> bool {
        monotonic() >= self.0
    }
    /// Nanoseconds until then, 0 when past.
    pub fn left(self) -> Nanos {
        self.0.saturating_sub(monotonic())
    }
}

/// CLOCK_MONOTONIC now.
pub fn monotonic() -> Nanos {
    host::time::monotonic()
}

/// CLOCK_REALTIME now.
pub fn realtime() -> Nanos {
    host::time::realtime()
}

/// CLOCK_REALTIME now, for inode times.
pub fn now() -> Timespec {
    to_timespec(realtime())
}

pub fn to_timespec(ns: Nanos) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// None for a negative or denormal time, as the system calls refuse it with EINVAL. Times beyond 584 years saturate.
pub fn from_timespec(t: Timespec) -> Option<Nanos> {
    if t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec) {
        return None;
    }
    Some((t.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec as u64))
}
