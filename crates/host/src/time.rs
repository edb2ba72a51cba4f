//! The host's clocks, by its vDSO. clock_gettime(2).

use rustix::time::{ClockId, clock_gettime};

fn nanos(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec as u64)
}

/// CLOCK_MONOTONIC in ns.
pub fn monotonic() -> u64 {
    nanos(ClockId::Monotonic)
}

/// CLOCK_REALTIME in ns since 1970.
pub fn realtime() -> u64 {
    nanos(ClockId::Realtime)
}

/// CLOCK_BOOTTIME in ns.
pub fn boottime() -> u64 {
    nanos(ClockId::Boottime)
}
