//! Pending signals: standard ones at most once, real-time ones queued in order. signal(7).

use super::{SIGKILL, SIGRTMIN, SYNCHRONOUS, SigInfo, SigSet, bit};
use std::collections::VecDeque;

/// The pending signals of a thread or of a thread group.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Makes a signal pending. False: a real-time signal beyond `limit` queued ones (sigqueue(3) says EAGAIN).
    pub fn add(&mut self, info: SigInfo, limit: usize) -> bool {
        let sig = info.sig();
        if sig < SIGRTMIN && self.set & bit(sig) != 0 {
            return true;
        }
        if self.queue.len() >= limit && sig >= SIGRTMIN {
            return false;
        }
        self.set |= bit(sig);
        self.queue.push_back(info);
        true
    }

    pub fn set(&self) -> SigSet {
        self.set
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next signal of `wanted`: faults first, then the lowest number, then the oldest.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let there = self.set & wanted;
        if there == 0 {
            return None;
        }
        // A process that is killed dies of that, whatever came with it.
        let first =
            [bit(SIGKILL), SYNCHRONOUS].into_iter().map(|set| there & set).find(|set| *set != 0).unwrap_or(there);
        let sig = first.trailing_zeros() as i32 + 1;
        let at = self.queue.iter().position(|i| i.sig() == sig)?;
        let info = self.queue.remove(at)?;
        if !self.queue.iter().any(|i| i.sig() == sig) {
            self.set &= !bit(sig);
        }
        Some(info)
    }

    /// Counts `more` expirations in the pending signal of a POSIX timer; false where none is pending.
    pub fn add_overrun(&mut self, sig: i32, timer: i32, more: u64) -> bool {
        let found = self.queue.iter_mut().find(|i| i.sig() == sig && i.code() == super::SI_TIMER && i.pid() == timer);
        found.map(|info| info.add_overrun(more)).is_some()
    }

    /// Forgets all of `which`.
    pub fn flush(&mut self, which: SigSet) {
        self.queue.retain(|i| which & bit(i.sig()) == 0);
        self.set &= !which;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let mut p = Pending::default();
        for (sig, value) in [(40, 1), (10, 0), (40, 2), (11, 0), (10, 9), (34, 3)] {
            assert!(p.add(SigInfo::timer(sig, 0, 0, value), 100));
        }
        let got: Vec<(i32, u64)> = std::iter::from_fn(|| p.take(u64::MAX)).map(|i| (i.sig(), i.value())).collect();
        assert_eq!(got, [(11, 0), (10, 0), (34, 3), (40, 1), (40, 2)]);
        assert_eq!(p.set(), 0);
    }

    #[test]
    fn limit_counts_real_time_signals_only() {
        let mut p = Pending::default();
        assert!(p.add(SigInfo::kernel(40), 1));
        assert!(!p.add(SigInfo::kernel(41), 1));
        assert!(p.add(SigInfo::kernel(15), 1));
    }
}
