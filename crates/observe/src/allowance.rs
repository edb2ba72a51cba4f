//! How often something may be reported that a guest can cause at will: its log lines are the host's disk.
//!
//! Neighbours: `log` (warnings have one), the platform's violations. Owns its lock, a leaf.

use std::sync::Mutex;
use std::time::Instant;

/// So many in a row.
const BURST: u32 = 20;

/// Lets `BURST` reports through, then one each second.
#[derive(Debug)]
pub struct Allowance(Mutex<State>);

#[derive(Debug)]
struct State {
    left: u32,
    withheld: u64,
    /// When `left` was last right; none: nothing was taken yet.
    at: Option<Instant>,
}

impl Allowance {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Allowance {
        Allowance(Mutex::new(State { left: BURST, withheld: 0, at: None }))
    }

    /// What to add to a report: nothing, or how many were withheld before it. `None`: it is withheld.
    pub fn take(&self) -> Option<String> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<String> {
        let mut state = self.0.lock().ok()?;
        let at = *state.at.get_or_insert(now);
        let more = now.saturating_duration_since(at).as_secs().min(BURST.into()) as u32;
        if more > 0 {
            state.left = (state.left + more).min(BURST);
            state.at = Some(now);
        }
        if state.left == 0 {
            state.withheld += 1;
            return None;
        }
        state.left -= 1;
        Some(match std::mem::take(&mut state.withheld) {
            0 => String::new(),
            n => format!(" (and {n} like it, not shown)"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_one_each_second() {
        let (allowance, start) = (Allowance::new(), Instant::now());
        assert_eq!((0..30).filter_map(|_| allowance.take_at(start)).count(), 20);
        assert_eq!(allowance.take_at(start + SECOND).unwrap(), " (and 10 like it, not shown)");
        assert_eq!(allowance.take_at(start + SECOND), None);
        let later = start + 1000 * SECOND;
        assert_eq!(allowance.take_at(later).unwrap(), " (and 1 like it, not shown)");
        assert_eq!((0..30).filter_map(|_| allowance.take_at(later)).count(), 19);
    }
}
