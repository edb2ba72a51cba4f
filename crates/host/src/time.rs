//! The host's clocks, by its vDSO, and the processor's counter. clock_gettime(2).
//!
//! Owns no locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// CPU time of the calling thread in ns. The vDSO does not know it: this is a host call.
pub fn thread_cpu() -> u64 {
    nanos(ClockId::ThreadCPUTime)
}

/// The processor's own counter, whose reading costs half of what a clock of the vDSO does. Of two cores it may not be the same, where the host does not count on it.
pub fn counter() -> u64 {
    // SAFETY: reads a register; every x86-64 processor has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// How fast that counts is measured from the first question on, until that is so long ago, ns.
const MEASURED: u64 = 1_000_000_000;
/// ns in so many counts are kept: a fixed point.
const POINT: u32 = 20;

/// So many counts in ns: right to some percent in the first milliseconds, and then to a millionth.
pub fn counted(counts: u64) -> u64 {
    static BEGUN: OnceLock<(u64, u64)> = OnceLock::new();
    static RATE: AtomicU64 = AtomicU64::new(0);
    let mut rate = RATE.load(Relaxed);
    if rate == 0 {
        let (at, count) = *BEGUN.get_or_init(|| (monotonic(), counter()));
        let (passed, counts) = (monotonic().saturating_sub(at), counter().saturating_sub(count));
        rate = (u128::from(passed) << POINT).checked_div(counts.into()).unwrap_or(0) as u64;
        if passed > MEASURED {
            RATE.store(rate, Relaxed);
        }
    }
    ((u128::from(counts) * u128::from(rate)) >> POINT) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_time() {
        counted(0);
        std::thread::sleep(std::time::Duration::from_millis(10));
        let (at, count) = (monotonic(), counter());
        std::thread::sleep(std::time::Duration::from_millis(10));
        let (counted, passed) = (counted(counter() - count), monotonic() - at);
        assert!(counted.abs_diff(passed) < passed / 10, "{counted} {passed}");
    }
}
