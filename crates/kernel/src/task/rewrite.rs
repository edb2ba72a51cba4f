//! Has the stub rewrite a call site that has become hot (docs/platform.md, "Rewritten call sites").
//!
//! Neighbours: `mm::hot` (which is), `drive` (asks), `mm` (says whether text may be changed), `platform::Space` (how). Owns no locks.

use super::Task;
use platform::{AROUND, BEFORE, Op};
use std::sync::Arc;

impl Task {
    /// What the stub does to rewrite the site from which call `nr` came. `None`: it stays as it is.
    pub(super) fn rewrite(self: &Arc<Self>, nr: u32, ip: u64) -> Option<Vec<Op>> {
        let mm = self.mm()?;
        let start = ip.checked_sub(BEFORE)?;
        if mm.space().is_rewritten(ip) || !mm.is_steady_text(start..start.checked_add(AROUND as u64)?) {
            return None;
        }
        let mut code = [0; AROUND];
        mm.read_exact(start, &mut code).ok()?;
        self.thread()?.rewrite(nr, ip, &code)
    }
}
