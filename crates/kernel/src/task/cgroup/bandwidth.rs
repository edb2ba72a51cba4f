//! Limits of CPU time for groups below the container's own: so much in each period. cgroups(7), "cpu"; cpu.max.
//!
//! The host knows nothing of these groups. While there are limits, one thread looks at the CPU time of their members, at the earliest moment at which a quota can be used up, and holds a group's tasks then until
//! its period ends (`halt`). What was used beyond the quota until they stood still is a debt that the next periods pay, so that a longer time's average is right.
//! Neighbours: `usage` (counts), `watch`, `halt`. Owns the lock of a group's account, a `Leaf`.

use super::halt::THROTTLED;
use super::watch::Watch;
use super::{Cgroup, MAX};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use lock::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Between two looks; the second is for a group that does nothing, whose first period may be exceeded by that.
const SHORTEST: Duration = Duration::from_micros(500);
const IDLE: Duration = Duration::from_millis(50);
/// A look may take so much of the thread's time.
const SHARE: u32 = 30;

/// µs: what quotas and periods may be.
const LEAST: u64 = 1000;
const LONGEST_PERIOD: u64 = 1_000_000;
pub const USUAL_PERIOD: u64 = 100_000;

static WATCH: Watch = Watch::new("cpu", |group| group.cpu_max().0 != MAX, Cgroup::keep_bandwidth);

/// A group's quota, and what became of it.
pub(super) struct Bandwidth {
    /// µs in each period; [`MAX`]: no limit.
    quota: AtomicU64,
    /// µs
    period: AtomicU64,
    account: Mutex<Account, Leaf>,
}

struct Account {
    /// When the period began.
    began: Instant,
    /// CPU time at the last look, ns.
    seen: u64,
    /// What is left of the quota, ns; a debt below 0.
    left: i64,
    /// It is held since then.
    held: Option<Instant>,
    /// It did something in this period.
    active: bool,
    idle: Duration,
    stat: CpuLimits,
}

/// nr_periods, nr_throttled and throttled_usec of cpu.stat: periods in which the group did something, those in which it was held, and how long (ns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    pub periods: u64,
    pub throttled: u64,
    pub held: u64,
}

impl Bandwidth {
    pub fn new() -> Bandwidth {
        let account = Account {
            began: Instant::now(),
            seen: 0,
            left: 0,
            held: None,
            active: false,
            idle: Duration::ZERO,
            stat: CpuLimits::default(),
        };
        Bandwidth { quota: MAX.into(), period: USUAL_PERIOD.into(), account: Mutex::new(account) }
    }

    /// The group is removed.
    pub fn lift(&self) {
        self.quota.store(MAX, Relaxed);
    }
}

impl Account {
    fn begin(&mut self, now: Instant, used: u64, quota: u64) {
        (self.began, self.seen, self.left) = (now, used, signed(quota));
        (self.active, self.idle) = (false, Duration::ZERO);
    }

    /// `used` ns of CPU time by now: whether the group is to be held.
    fn spend(&mut self, now: Instant, used: u64, quota: u64, period: u64) -> bool {
        let spent = used.saturating_sub(self.seen);
        self.seen = used; // an exec in a new host process may make it less
        self.left = self.left.saturating_sub(signed(spent));
        self.active |= spent > 0;
        let passed = (now.saturating_duration_since(self.began).as_nanos() / u128::from(period)) as u64;
        if passed > 0 {
            self.began += Duration::from_nanos(period.saturating_mul(passed));
            if self.active {
                self.stat.periods += passed;
            }
            if self.held.is_some() {
                self.stat.throttled += passed;
            }
            self.left = self.left.saturating_add(signed(quota.saturating_mul(passed))).min(signed(quota));
            self.active = self.left < 0;
        }
        let holds = self.left <= 0;
        if holds != self.held.is_some() {
            self.hold(now, holds);
        }
        holds
    }

    /// Who does nothing since the last look is looked at less and less often.
    fn rest(&mut self, before: u64) {
        self.idle = if self.seen == before { ((self.idle + SHORTEST) * 2).min(IDLE) } else { Duration::ZERO };
    }

    fn hold(&mut self, now: Instant, holds: bool) {
        if let Some(since) = self.held.take() {
            self.stat.held += now.saturating_duration_since(since).as_nanos() as u64;
        }
        self.held = holds.then_some(now);
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

impl Cgroup {
    /// Quota ([`MAX`]: none) and period, µs.
    pub fn cpu_max(&self) -> (u64, u64) {
        (self.cpu.quota.load(Relaxed), self.cpu.period.load(Relaxed))
    }

    /// EINVAL for what is too short or too long. EAGAIN where there can be no thread to keep it.
    pub fn set_cpu_max(self: &Arc<Self>, quota: u64, period: u64) -> Op<()> {
        if !(LEAST..=LONGEST_PERIOD).contains(&period) || quota < LEAST || (quota != MAX && quota > MAX / 2000) {
            return fail(Errno::EINVAL);
        }
        let (now, used) = (Instant::now(), self.cpu_time());
        {
            let mut account = self.cpu.account.lock();
            account.begin(now, used, quota.saturating_mul(1000));
            account.hold(now, false);
        }
        self.cpu.quota.store(quota, Relaxed);
        self.cpu.period.store(period, Relaxed);
        self.set_halt(THROTTLED, false);
        if quota == MAX { Ok(()) } else { WATCH.add(self) }
    }

    pub fn cpu_limits(&self) -> CpuLimits {
        let account = self.cpu.account.lock();
        let now = account.held.map_or(0, |since| since.elapsed().as_nanos() as u64);
        CpuLimits { held: account.stat.held + now, ..account.stat }
    }

    /// Looks whether it keeps to its quota; when to look again.
    fn keep_bandwidth(self: &Arc<Self>) -> Duration {
        let (quota, period) = self.cpu_max();
        if quota == MAX {
            return IDLE;
        }
        let (quota, period) = (quota.saturating_mul(1000), period.saturating_mul(1000));
        let start = Instant::now();
        let used = self.cpu_time();
        let tasks: usize = self.subtree().iter().map(|group| group.tasks().len()).sum();
        let now = Instant::now();
        let (holds, delay) = {
            let mut account = self.cpu.account.lock();
            let before = account.seen;
            let holds = account.spend(now, used, quota, period);
            account.rest(before);
            let end = account.began + Duration::from_nanos(period);
            // So many of them may run at once.
            let left = account.left.max(0).unsigned_abs() / tasks.clamp(1, *PROCESSORS) as u64;
            let next = Duration::from_nanos(left).max(account.idle);
            (holds, if holds { end.saturating_duration_since(now) } else { next })
        };
        self.set_halt(THROTTLED, holds);
        if self.cpu_max().0 == MAX {
            self.set_halt(THROTTLED, false); // the limit was taken away meanwhile
        }
        let delay = if holds { delay } else { delay.max((now - start) * SHARE) };
        delay.max(SHORTEST)
    }
}

/// Asked once: the answer takes some files of the host.
static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_by_later_periods() {
        const MS: u64 = 1_000_000;
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let bandwidth = Bandwidth::new();
        let mut account = bandwidth.account.lock();
        account.begin(start, 0, 20 * MS);
        assert!(!account.spend(at(10), 10 * MS, 20 * MS, 100 * MS));
        assert!(account.spend(at(40), 45 * MS, 20 * MS, 100 * MS));
        assert!(account.spend(at(100), 45 * MS, 20 * MS, 100 * MS), "25 ms too many");
        assert!(!account.spend(at(200), 45 * MS, 20 * MS, 100 * MS));
        assert_eq!(account.left, 15 * MS as i64);
        assert_eq!(account.stat, CpuLimits { periods: 2, throttled: 2, held: 160 * MS });
        // What is not used is not kept, and idle periods don't count.
        assert!(!account.spend(at(1000), 45 * MS, 20 * MS, 100 * MS));
        assert_eq!((account.left, account.stat.periods), (20 * MS as i64, 2));
        (0..1000).for_each(|_| account.rest(45 * MS));
        assert_eq!(account.idle, IDLE);
        account.rest(44 * MS);
        assert_eq!(account.idle, Duration::ZERO);
    }
}
