//! Hot call sites: which of them the threads of an address space call often enough to have them rewritten (docs/platform.md, "Rewritten call sites").
//!
//! Counts of all threads together: one that lives for a few calls would make no site hot by itself. Nor would forked processes that live for a few calls: their calls count for their parent, too, which then has the
//! site rewritten for those to come. Neighbours: `task::drive` (counts), `task::rewrite` (has the stub do it). No locks: two threads that count in one entry at once lose a call or two.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// Entries among which a site has its own, and how many such sets there are.
const WAYS: usize = 4;
const SETS: usize = 8;
const COUNT_BITS: u32 = 16;
/// futex(2): most of its calls are the host's, which no trampoline makes faster.
const FUTEX: u32 = 202;
/// Bits of an address.
const IP_BITS: u32 = 48;

/// The hot sites of an address space.
#[derive(Default)]
pub struct Hot {
    own: Counts,
    /// Calls of its forked children.
    children: Counts,
    /// Calls and sites that have become hot by those: number << IP_BITS | address; 0: none.
    wanted: [AtomicU64; 4],
    parent: Weak<Hot>,
    /// The parent's sites are elsewhere: the program is another.
    alone: AtomicBool,
}

impl Hot {
    /// Of a forked process.
    pub fn of_child(parent: &Arc<Hot>) -> Hot {
        Hot { parent: Arc::downgrade(parent), ..Hot::default() }
    }

    /// The program is another.
    pub fn forget(&self) {
        self.own.clear();
        self.children.clear();
        self.wanted.iter().for_each(|wanted| wanted.store(0, Relaxed));
        self.alone.store(true, Relaxed);
    }

    /// A call that came from `ip` by notification: the call and site that is hot, with `after` calls or a few less. `is_rewritten` says whether it has been rewritten.
    pub fn called(&self, after: u32, nr: u32, ip: u64, is_rewritten: impl Fn() -> bool) -> Option<(u32, u64)> {
        if !self.alone.load(Relaxed)
            && let Some(parent) = self.parent.upgrade()
            && parent.children.called(after, ip)
            && nr != FUTEX
            && !is_rewritten()
            && let Some(free) = parent.wanted.iter().find(|wanted| wanted.load(Relaxed) == 0)
        {
            free.store(u64::from(nr) << IP_BITS | ip, Relaxed);
        }
        if self.own.called(after, ip) && nr != FUTEX {
            return Some((nr, ip));
        }
        let wanted = self.wanted.iter().find(|wanted| wanted.load(Relaxed) != 0)?.swap(0, Relaxed);
        Some(((wanted >> IP_BITS) as u32, wanted & ((1 << IP_BITS) - 1))).filter(|wanted| wanted.1 != 0)
    }
}

/// Counts calls by site.
#[derive(Default)]
struct Counts {
    /// Address behind the call << COUNT_BITS | calls. A site that is not there takes the place of the one with the fewest in its set, and its count: so two that push each other out rise above those that
    /// are called no more.
    sites: [[AtomicU64; WAYS]; SETS],
}

impl Counts {
    fn clear(&self) {
        self.sites.iter().flatten().for_each(|site| site.store(0, Relaxed));
    }

    /// Whether the site has become hot with this call.
    fn called(&self, after: u32, ip: u64) -> bool {
        let of = |entry: &AtomicU64| (entry.load(Relaxed) >> COUNT_BITS, entry.load(Relaxed) as u16);
        let set = ip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
        let Some(set) = self.sites.get(set as usize) else { return false };
        let known = set.iter().find(|entry| of(entry).0 == ip);
        let Some(entry) = known.or_else(|| set.iter().min_by_key(|entry| of(entry).1)) else { return false };
        let count = u32::from(of(entry).1) + 1;
        let is_hot = count >= after;
        entry.store(if is_hot { 0 } else { ip << COUNT_BITS | u64::from(count) }, Relaxed);
        is_hot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_due_once() {
        let hot = Hot::default();
        for _ in 0..63 {
            assert_eq!(hot.called(64, 1, 0x1000, || false), None);
        }
        assert_eq!(hot.called(64, 1, 0x1000, || false), Some((1, 0x1000)));
        assert_eq!(hot.called(64, 1, 0x1000, || false), None);
    }

    #[test]
    fn children_that_call_once_make_it_the_parents() {
        let parent = Arc::new(Hot::default());
        for _ in 0..24 {
            assert_eq!(parent.called(24, 61, 0x2000, || false), None);
            assert_eq!(Hot::of_child(&parent).called(24, 273, 0x1000, || false), None);
            parent.own.clear();
        }
        assert_eq!(parent.called(24, 61, 0x2000, || false), Some((273, 0x1000)));
        assert_eq!(parent.called(24, 61, 0x2000, || false), None);
        let other = Hot::of_child(&parent);
        other.forget();
        assert!((0..23).all(|_| other.called(24, 273, 0x1000, || false).is_none()));
        assert!((0..9).all(|_| Hot::of_child(&parent).called(24, 273, 0x1000, || false).is_none()));
        assert!(parent.wanted.iter().all(|wanted| wanted.load(Relaxed) == 0));
    }

    #[test]
    fn sites_in_use_get_past_those_that_were() {
        // All of one set.
        let mut sites = (1u64..).map(|n| n << 12).filter(|ip| ip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 3);
        let hot = Hot::default();
        for site in sites.by_ref().take(4) {
            assert_eq!((0..40).filter_map(|_| hot.called(64, 1, site, || false)).count(), 0);
        }
        let [a, b] = [sites.next(), sites.next()].map(Option::unwrap_or_default);
        let due = (0..100)
            .flat_map(|_| [a, b])
            .filter(|site| hot.called(64, 1, *site, || false).is_some())
            .collect::<Vec<_>>();
        assert!(due.contains(&a) && due.contains(&b), "{due:?}");
    }

    #[test]
    fn sites_that_take_turns_do_not_push_each_other_out() {
        // find(1)'s five, as glibc 2.41 has them.
        let sites = [0xc99f0, 0xc886a, 0xcdf60, 0xcded1, 0xa1043].map(|site| 0x7f7c_5710_0000 + site);
        let hot = Hot::default();
        let due = (0..64).flat_map(|_| sites).filter(|site| hot.called(64, 1, *site, || false).is_some()).count();
        assert_eq!(due, sites.len());
    }
}
