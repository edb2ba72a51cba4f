//! Groups whose tasks stand still: frozen ones, and those that have used up their CPU time. cgroups(7), cgroup.freeze.
//!
//! What holds a group holds those below it. Each process knows what holds it, for its tasks to look at (`freezer`). Locks: `CgroupTree`, then a group's own `Leaf`.

use super::members::tell;
use super::{Cgroup, TREE};
use crate::op::Op;
use crate::task::{Task, ThreadGroup};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Reasons, as bits: by cgroup.freeze; by cpu.max; by freezer.state of version 1.
pub(in crate::task) const FROZEN: u8 = 1;
pub(super) const THROTTLED: u8 = 2;
pub(in crate::task) const FREEZER: u8 = 4;

/// What a process' new groups mean for it, to be told when no lock is held.
#[must_use]
pub(super) struct Settled {
    process: Arc<ThreadGroup>,
    new: u8,
    freed: bool,
}

impl ThreadGroup {
    /// Notes what holds it where it is now; where it may run is told with the rest. Under the lock of the trees.
    pub(super) fn settle(self: &Arc<Self>) -> Settled {
        let halts = self.places().halts();
        let before = self.cgroup_halts.swap(halts, SeqCst);
        let apart = self.tasks().into_iter().filter_map(|task| task.settle_apart());
        let changes = std::iter::once((before, halts)).chain(apart);
        let (new, freed) =
            changes.fold((0, false), |(new, freed), (before, now)| (new | now & !before, freed || before & !now != 0));
        Settled { process: self.clone(), new, freed }
    }
}

impl Settled {
    pub fn tell(self) {
        if self.new != 0 {
            // Who waits in a call does not run: only a freeze wants to hear of it.
            let told = |task: &Arc<Task>| self.new & (FROZEN | FREEZER) != 0 || task.is_at_user();
            self.process.tasks().into_iter().filter(told).for_each(|task| task.notify());
        }
        if self.freed {
            self.process.container.freezer.look_again();
        }
        self.process.place();
    }
}

impl Cgroup {
    /// Holds the group and those below for a reason, or gives that reason up.
    pub(super) fn set_halt(self: &Arc<Self>, reason: u8, on: bool) {
        let tree = TREE.lock();
        {
            let mut state = self.state.lock();
            let halts = if on { state.halts | reason } else { state.halts & !reason };
            if std::mem::replace(&mut state.halts, halts) == halts {
                return;
            }
        }
        let mut changed = Vec::new();
        // From the outside inwards, so that the one above has its state.
        for group in self.subtree() {
            let above = group.parent().map_or(0, |p| p.halts.load(SeqCst));
            let halts = group.state.lock().halts | above;
            if group.halts.swap(halts, SeqCst) != halts {
                changed.push(group);
            }
        }
        let settled: Vec<_> =
            changed.iter().flat_map(|group| group.touched()).map(|process| process.settle()).collect();
        drop(tree);
        settled.into_iter().for_each(Settled::tell);
        if reason == FROZEN {
            tell(changed);
        }
    }

    /// Processes with any thread in it.
    pub fn touched(&self) -> Vec<Arc<ThreadGroup>> {
        let mut processes = self.processes();
        for task in self.threads() {
            if !processes.iter().any(|known| Arc::ptr_eq(known, &task.group)) {
                processes.push(task.group.clone());
            }
        }
        processes
    }

    /// cgroup.freeze.
    pub fn freezes(&self) -> bool {
        self.state.lock().halts & FROZEN != 0
    }

    pub fn set_freeze(self: &Arc<Self>, freeze: bool) -> Op<()> {
        self.alive()?;
        self.set_halt(FROZEN, freeze);
        Ok(())
    }

    /// Whether all tasks in it and below have come to a halt because it is frozen.
    pub fn is_frozen(self: &Arc<Self>) -> bool {
        self.stands_still(FROZEN)
    }

    fn stands_still(self: &Arc<Self>, reason: u8) -> bool {
        let halted = |task: &Arc<Task>| task.has_ended() || task.is_halted(reason);
        self.halts.load(SeqCst) & reason != 0 && self.subtree().iter().all(|g| g.tasks().iter().all(halted))
    }

    /// freezer.state: whether it is to be frozen by itself, and by a group above; whether it is.
    pub fn freezer(self: &Arc<Self>) -> (bool, bool, bool) {
        let own = self.state.lock().halts & FREEZER != 0;
        let above = self.parent().is_some_and(|above| above.halts.load(SeqCst) & FREEZER != 0);
        (own, above, self.stands_still(FREEZER))
    }

    pub fn set_freezer(self: &Arc<Self>, freeze: bool) {
        self.set_halt(FREEZER, freeze);
    }
}
