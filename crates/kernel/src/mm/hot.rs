//! Hot call sites: which of them the threads of an address space call often enough to have them rewritten (docs/platform.md, "Rewritten call sites").
//!
//! Counts of all threads together: one that lives for a few calls would make no site hot by itself. Neighbours: `task::drive` (counts), `task::rewrite` (has the stub do it). No locks: two threads that
//! count in one entry at once lose a call or two.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries among which a site has its own, and how many such sets there are.
const WAYS: usize = 4;
const SETS: usize = 8;
const COUNT_BITS: u32 = 16;
/// futex(2): most of its calls are the host's, which no trampoline makes faster.
const FUTEX: u32 = 202;

/// Counts calls by site.
#[derive(Default)]
pub struct Hot {
    /// Address behind the call << COUNT_BITS | calls. A site that is not there takes the place of the one with the fewest in its set, and its count: so two that push each other out rise above those that
    /// are called no more.
    sites: [[AtomicU64; WAYS]; SETS],
}

impl Hot {
    /// The program is another.
    pub fn forget(&self) {
        self.sites.iter().flatten().for_each(|site| site.store(0, Relaxed));
    }

    /// A call that came from `ip` by notification. Whether the site has become hot with it, by `after` calls or a few less.
    pub fn called(&self, after: u32, nr: u32, ip: u64) -> bool {
        let of = |entry: &AtomicU64| (entry.load(Relaxed) >> COUNT_BITS, entry.load(Relaxed) as u16);
        let set = ip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
        let Some(set) = self.sites.get(set as usize) else { return false };
        let known = set.iter().find(|entry| of(entry).0 == ip);
        let Some(entry) = known.or_else(|| set.iter().min_by_key(|entry| of(entry).1)) else { return false };
        let count = u32::from(of(entry).1) + 1;
        if count >= after {
            entry.store(0, Relaxed);
            return nr != FUTEX;
        }
        entry.store(ip << COUNT_BITS | u64::from(count), Relaxed);
        false
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
    }

    #[test]
    fn sites_in_use_get_past_those_that_were() {
        // All of one set.
        let mut sites = (1u64..).map(|n| n << 12).filter(|ip| ip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 3);
        let hot = Hot::default();
        for site in sites.by_ref().take(4) {
            assert_eq!((0..40).filter(|_| hot.called(64, 1, site)).count(), 0);
        }
        let [a, b] = [sites.next(), sites.next()].map(Option::unwrap_or_default);
        let due = (0..100).flat_map(|_| [a, b]).filter(|site| hot.called(64, 1, *site)).collect::<Vec<_>>();
        assert!(due.contains(&a) && due.contains(&b), "{due:?}");
    }

    #[test]
    fn sites_that_take_turns_do_not_push_each_other_out() {
        // find(1)'s five, as glibc 2.41 has them.
        let sites = [0xc99f0, 0xc886a, 0xcdf60, 0xcded1, 0xa1043].map(|site| 0x7f7c_5710_0000 + site);
        let hot = Hot::default();
        let due = (0..64).flat_map(|_| sites).filter(|site| hot.called(64, 1, *site)).count();
        assert_eq!(due, sites.len());
    }
}
