//! Hot call sites: which of them the threads of an address space call often enough to have them rewritten (docs/platform.md, "Rewritten call sites").
//!
//! Counts of all threads together: one that lives for a few calls would make no site hot by itself. Neighbours: `task::drive` (counts), `task::rewrite` (has the stub do it). No locks: two threads that
//! count in one entry at once lose a call or two.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ENTRIES: usize = 32;
const COUNT_BITS: u32 = 16;
/// futex(2): most of its calls are the host's, which no trampoline makes faster.
const FUTEX: u32 = 202;

/// Counts calls by site.
#[derive(Default)]
pub struct Hot {
    /// Address behind the call << COUNT_BITS | calls.
    sites: [AtomicU64; ENTRIES],
}

impl Hot {
    /// A call that came from `ip` by notification. Whether the site has become hot with it: by `after` calls without one from another site that falls on the same entry.
    pub fn called(&self, after: u32, nr: u32, ip: u64) -> bool {
        let Some(entry) = self.sites.get((ip >> 1) as usize % ENTRIES) else { return false };
        let (site, count) = (entry.load(Relaxed) >> COUNT_BITS, entry.load(Relaxed) as u16);
        let count = if site == ip { u32::from(count) } else { 0 };
        if count >= after {
            return false;
        }
        entry.store(ip << COUNT_BITS | u64::from(count + 1), Relaxed);
        count + 1 == after && nr != FUTEX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_due_once() {
        let hot = Hot::default();
        for _ in 0..63 {
            assert!(!hot.called(64, 1, 0x1000));
        }
        assert!(hot.called(64, 1, 0x1000));
        assert!(!hot.called(64, 1, 0x1000));
        // Another site on its entry begins anew, and so does the first one after that.
        assert!(!hot.called(64, 1, 0x1000 + 2 * ENTRIES as u64));
        assert!(!hot.called(64, 1, 0x1000));
    }
}
