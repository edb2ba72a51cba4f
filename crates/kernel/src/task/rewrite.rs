//! Hot call sites: which of them a task calls often enough to have them rewritten (docs/platform.md, "Rewritten call sites").
//!
//! Neighbours: `drive` (counts, and has the stub do it), `mm` (says whether text may be changed), `platform::Space` (how). Owns no locks.

use super::Task;
use platform::{AROUND, Op};
use std::sync::Arc;

const ENTRIES: usize = 16;
/// futex(2): most of its calls are the host's, which no trampoline makes faster.
const FUTEX: u32 = 202;

/// Counts calls by site, for one task.
#[derive(Default)]
pub struct Hot {
    /// Address behind the call, and calls.
    sites: [(u64, u32); ENTRIES],
    /// So many calls from one site, without another that falls on the same entry, make it hot. A short process gains nothing by it.
    after: Option<u32>,
    due: Option<u64>,
}

impl Hot {
    /// `after`: calls that make a site hot; `None`: no site is.
    pub fn new(after: Option<u32>) -> Hot {
        Hot { after, ..Hot::default() }
    }

    /// A call that came from `ip` by notification.
    pub fn called(&mut self, nr: u32, ip: u64) {
        let entry = &mut self.sites[(ip >> 1) as usize % ENTRIES];
        if entry.0 != ip {
            *entry = (ip, 0);
        }
        let after = self.after.unwrap_or(u32::MAX);
        if entry.1 < after {
            entry.1 += 1;
            self.due = (entry.1 == after && nr != FUTEX).then_some(ip);
        }
    }

    /// The site that became hot by the last call.
    pub fn take_due(&mut self) -> Option<u64> {
        self.due.take()
    }
}

impl Task {
    /// What the stub does to rewrite the site. `None`: it stays as it is.
    pub(super) fn rewrite(self: &Arc<Self>, ip: u64) -> Option<Vec<Op>> {
        let mm = self.mm()?;
        let start = ip.checked_sub(7)?;
        if mm.space().is_rewritten(ip) || !mm.is_steady_text(start..start.checked_add(AROUND as u64)?) {
            return None;
        }
        let mut code = [0; AROUND];
        mm.read_exact(start, &mut code).ok()?;
        mm.space().rewrite(ip, &code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_due_once() {
        let mut hot = Hot::new(Some(64));
        for _ in 0..63 {
            hot.called(1, 0x1000);
            assert_eq!(hot.take_due(), None);
        }
        hot.called(1, 0x1000);
        assert_eq!(hot.take_due(), Some(0x1000));
        hot.called(1, 0x1000);
        assert_eq!(hot.take_due(), None);
    }
}
