//! The pids controller: how many tasks a group may have. cgroups(7), "pids".
//!
//! Every task counts in its group and in all above, until it is gone (a zombie still counts). Counted without locks.

use super::{Cgroup, EventFile, MAX};
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Tasks of a group and those below it.
pub(super) struct Count {
    now: AtomicU64,
    peak: AtomicU64,
    max: AtomicU64,
    /// New tasks that its limit refused.
    refused: AtomicU64,
}

impl Count {
    pub fn new() -> Count {
        Count { now: 0.into(), peak: 0.into(), max: MAX.into(), refused: 0.into() }
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn add(&self, limited: bool) -> bool {
        let max = if limited { self.max.load(Relaxed) } else { MAX };
        self.now.fetch_update(Relaxed, Relaxed, |now| (now < max).then_some(now + 1)).is_ok()
    }

    fn note_peak(&self) {
        self.peak.fetch_max(self.now.load(Relaxed), Relaxed);
    }
}

/// A task's place in a group's count; given back when dropped.
pub struct Charge(Arc<Cgroup>);

impl Charge {
    /// For a new task of `group`. EAGAIN beyond a limit.
    pub fn new(group: &Arc<Cgroup>) -> Op<Charge> {
        for (at, above) in group.ancestry().enumerate() {
            if !above.pids.add(true) {
                group.ancestry().take(at).for_each(|g| _ = g.pids.now.fetch_sub(1, Relaxed));
                above.pids.refused.fetch_add(1, Relaxed);
                above.tell(EventFile::Pids);
                return fail(Errno::EAGAIN);
            }
        }
        group.ancestry().for_each(|g| g.pids.note_peak());
        Ok(Charge(group.clone()))
    }

    /// As `new`, for a task that comes from elsewhere: limits don't hold it back.
    pub fn beyond(group: &Arc<Cgroup>) -> Charge {
        for above in group.ancestry() {
            above.pids.add(false);
            above.pids.note_peak();
        }
        Charge(group.clone())
    }

    pub fn group(&self) -> &Arc<Cgroup> {
        &self.0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.ancestry().for_each(|g| _ = g.pids.now.fetch_sub(1, Relaxed));
    }
}

impl Cgroup {
    /// pids.current, pids.peak, pids.max, and the count in pids.events.
    pub fn pids(&self) -> (u64, u64, u64, u64) {
        let c = &self.pids;
        (c.now.load(Relaxed), c.peak.load(Relaxed), c.max.load(Relaxed), c.refused())
    }

    pub fn set_pids_max(&self, max: u64) {
        self.pids.max.store(max, Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_for_all_below() {
        let top = Cgroup::container(Default::default(), Some(3));
        let below = top.make(b"x", (0, 0)).unwrap();
        let one = Charge::new(&top).unwrap();
        let two = Charge::new(&below).unwrap();
        let three = Charge::new(&below).unwrap();
        assert!(Charge::new(&below).is_err());
        assert_eq!((top.pids(), below.pids()), ((3, 3, 3, 1), (2, 2, MAX, 0)));
        let four = Charge::beyond(&below);
        assert_eq!(top.pids().0, 4);
        drop((one, two, three, four));
        assert_eq!((top.pids(), below.pids()), ((0, 4, 3, 1), (0, 3, MAX, 0)));
    }
}
