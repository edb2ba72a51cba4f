//! Groups whose tasks stand still: frozen ones, and those that have used up their CPU time. cgroups(7), cgroup.freeze.
//!
//! What holds a group holds those below it. Each process knows what holds it, for its tasks to look at (`freezer`). Locks: `CgroupTree`, then a group's own `Leaf`.

use super::members::tell;
use super::{Cgroup, TREE};
use crate::op::Op;
use crate::task::{Task, ThreadGroup};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Reasons, as bits: by cgroup.freeze; by cpu.max.
pub(in crate::task) const FROZEN: u8 = 1;
pub(super) const THROTTLED: u8 = 2;

impl Cgroup {
    /// Holds a process, or lets it go, as its group is.
    pub(super) fn settle(&self, process: &Arc<ThreadGroup>) {
        let halts = self.halts.load(SeqCst);
        let before = process.cgroup_halts.swap(halts, SeqCst);
        let new = halts & !before;
        if new != 0 {
            // Who waits in a call does not run: only a freeze wants to hear of it.
            let told = |task: &Arc<Task>| new & FROZEN != 0 || task.is_at_user();
            process.tasks().into_iter().filter(told).for_each(|task| task.notify());
        }
        if before & !halts != 0 {
            process.container.freezer.look_again();
        }
    }

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
        drop(tree);
        for group in &changed {
            for process in group.processes() {
                group.settle(&process);
            }
        }
        if reason == FROZEN {
            tell(changed);
        }
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
        let halted = |task: &Arc<Task>| task.has_ended() || task.is_halted();
        self.halts.load(SeqCst) & FROZEN != 0
            && self.subtree().iter().flat_map(|g| g.processes()).all(|p| p.tasks().iter().all(halted))
    }
}
