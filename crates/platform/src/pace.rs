//! How fast calls follow one another that a poller could take: whether one is worth it.
//!
//! Neighbours: `space` (has one), `shard` (asks at each call). Owns no locks: calls that are counted at once may be lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many calls within this time are worth a poller.
const CALLS: u32 = 16;
const TIME: Duration = Duration::from_micros(500);
/// So long after that each thread's call says so: where many call in turn, the poller is to have all of them, not one by one.
const AFTER: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(crate) struct Pace {
    calls: AtomicU32,
    /// When the first of them came.
    since: AtomicU64,
    /// They came fast, not long before this.
    fast_until: AtomicU64,
}

fn now() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

impl Pace {
    /// Counts a call; true if the poller should watch who made it. `watched`: it does.
    pub fn is_fast(&self, watched: bool) -> bool {
        self.at(now, watched)
    }

    fn at(&self, now: impl Fn() -> u64, watched: bool) -> bool {
        match self.calls.fetch_add(1, Ordering::Relaxed) {
            0 => self.since.store(now(), Ordering::Relaxed),
            n if n + 1 >= CALLS => {
                self.calls.store(0, Ordering::Relaxed);
                let now = now();
                if now.saturating_sub(self.since.load(Ordering::Relaxed)) < TIME.as_nanos() as u64 {
                    self.fast_until.store(now + AFTER.as_nanos() as u64, Ordering::Relaxed);
                    return true;
                }
            }
            _ => {}
        }
        !watched && now() < self.fast_until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 160 calls, so many nanoseconds apart, are found to be fast.
    fn fast(apart: u64) -> usize {
        let pace = Pace::default();
        (0..160).filter(|n| pace.at(|| n * apart, true)).count()
    }

    #[test]
    fn calls_that_follow_at_once_are_fast() {
        assert_eq!(fast(10_000), 10);
        assert_eq!(fast(33_000), 10);
        assert_eq!(fast(34_000), 0);
    }

    #[test]
    fn a_pause_between_two_runs_does_not_count() {
        let pace = Pace::default();
        let run = |from: u64| (0..16).any(|n| pace.at(|| from + n * 10_000, true));
        assert!(run(0));
        assert!(run(1_000_000_000));
    }

    #[test]
    fn others_are_watched_at_once_after_that() {
        let pace = Pace::default();
        assert!(!pace.at(|| 0, false));
        assert!((1..16).any(|n| pace.at(|| n * 10_000, true)));
        assert!(pace.at(|| 1_000_000, false) && !pace.at(|| 1_000_000, true));
        assert!(!pace.at(|| 2_000_000, false));
    }
}
