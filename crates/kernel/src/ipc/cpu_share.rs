//! Whom a timer that counts a process' CPU time is told to: the thread that used it, as Linux tells who runs when it expires. So a profiler finds each thread in its ticks as often as it works.
//!
//! Each tick is charged to the thread that is owed most. Neighbours: `timers` has one for each such timer. Owns no locks.

use crate::task::{Task, ThreadGroup};
use crate::time::Nanos;
use std::collections::HashMap;
use std::sync::Arc;

/// A thread's number here: its address, which no other living one has.
type Id = usize;

#[derive(Default)]
pub(super) struct Shares(HashMap<Id, Share>);

#[derive(Clone, Copy)]
struct Share {
    /// CPU time when it was looked at last.
    seen: Nanos,
    /// CPU time that no tick has told of yet; negative: one has told of more.
    owed: i64,
}

/// The threads of a process with the CPU time of each.
pub(super) fn threads(group: &ThreadGroup) -> Vec<(Arc<Task>, Nanos)> {
    group.tasks().into_iter().map(|task| (task.clone(), task.cpu_time())).collect()
}

impl Shares {
    /// What was used until now counts for nothing.
    pub fn begin(&mut self, threads: &[(Arc<Task>, Nanos)]) {
        self.0 = threads.iter().map(|(task, now)| (id(task), Share { seen: *now, owed: 0 })).collect();
    }

    /// Whose tick it is.
    pub fn next(&mut self, threads: &[(Arc<Task>, Nanos)]) -> Option<Arc<Task>> {
        let times: Vec<(Id, Nanos)> = threads.iter().map(|(task, now)| (id(task), *now)).collect();
        let next = self.charge(&times)?;
        threads.iter().find(|(task, _)| id(task) == next).map(|(task, _)| task.clone())
    }

    fn charge(&mut self, times: &[(Id, Nanos)]) -> Option<Id> {
        let mut used = 0;
        let before = std::mem::take(&mut self.0);
        for (id, now) in times {
            let share = before.get(id).copied().unwrap_or(Share { seen: 0, owed: 0 });
            let new = now.saturating_sub(share.seen) as i64;
            used += new;
            self.0.insert(*id, Share { seen: *now, owed: share.owed.saturating_add(new) });
        }
        let (next, _) =
            times.iter().filter_map(|(id, _)| Some((*id, self.0.get(id)?.owed))).max_by_key(|share| share.1)?;
        if let Some(share) = self.0.get_mut(&next) {
            share.owed -= used;
        }
        Some(next)
    }
}

fn id(task: &Arc<Task>) -> Id {
    Arc::as_ptr(task) as Id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_by_use() {
        let mut shares = Shares::default();
        let mut ticks = [0; 3];
        for n in 1..=100 {
            // The first works three times as much as the second, the last not at all.
            let next = shares.charge(&[(0, n * 750), (1, n * 250), (2, 0)]);
            ticks[next.unwrap_or(2)] += 1;
        }
        assert_eq!(ticks, [75, 25, 0]);
    }

    #[test]
    fn threads_come_and_go() {
        let mut shares = Shares::default();
        assert_eq!(shares.charge(&[(0, 1000)]), Some(0));
        assert_eq!(shares.charge(&[(0, 1000), (1, 500)]), Some(1));
        assert_eq!(shares.charge(&[(1, 900)]), Some(1));
        assert_eq!(shares.charge(&[]), None);
    }
}
