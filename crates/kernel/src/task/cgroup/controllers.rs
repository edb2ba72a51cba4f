//! Controllers: which a group has, and which it enables below. cgroups(7), "Cgroups v2 subtree control".
//!
//! Neighbours: `hierarchy` (where a controller is), `kind` (what threads allow). Locks: `CgroupTree` for changes, then a group's own `Leaf`.

use super::bandwidth::USUAL_PERIOD;
use super::{Cgroup, MAX, TREE};
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::Arc;

bitflags::bitflags! {
    /// Controllers.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Controllers: u32 {
        const CPUSET = 1;
        const CPU = 2;
        const MEMORY = 4;
        const PIDS = 8;
        // Of version 1 alone.
        const CPUACCT = 16;
        const DEVICES = 32;
        const FREEZER = 64;
    }
}

impl Controllers {
    /// Their names, in the order in which cgroup.controllers has them.
    pub const NAMES: [(&'static str, Controllers); 7] = [
        ("cpuset", Self::CPUSET),
        ("cpu", Self::CPU),
        ("cpuacct", Self::CPUACCT),
        ("memory", Self::MEMORY),
        ("devices", Self::DEVICES),
        ("freezer", Self::FREEZER),
        ("pids", Self::PIDS),
    ];

    /// Those that version 2 has files for.
    pub const fn of_two() -> Controllers {
        Self::CPUSET.union(Self::CPU).union(Self::MEMORY).union(Self::PIDS)
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, one)| self.contains(*one)).map(|(name, _)| *name).collect()
    }

    pub fn named(name: &str) -> Option<Controllers> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, controller)| *controller)
    }

    /// Those that may act between threads of one process: they don't ask for groups without members of their own.
    pub(super) const THREADED: Controllers = Self::CPUSET.union(Self::CPU).union(Self::PIDS);
}

impl Cgroup {
    /// Controllers whose files it has, and that it may enable below.
    pub fn controllers(&self) -> Controllers {
        match self.parent() {
            _ if !self.hierarchy.is_two() => self.hierarchy.controllers(),
            Some(parent) if self.is_threaded() => parent.subtree_control() & Controllers::THREADED,
            Some(parent) => parent.subtree_control(),
            None if self.is_container() => self.hierarchy.controllers(),
            None => Controllers::empty(),
        }
    }

    pub fn subtree_control(&self) -> Controllers {
        self.state.lock().subtree_control
    }

    /// cgroup.subtree_control: ENOENT for what it does not have, EBUSY for what a group below has enabled, or where its own members stand in the
    /// way (cgroups(7), "no internal processes"), EOPNOTSUPP where threads do.
    pub fn set_subtree_control(self: &Arc<Self>, enable: Controllers, disable: Controllers) -> Op<()> {
        let tree = TREE.lock();
        self.alive()?;
        if !self.controllers().contains(enable) {
            return fail(Errno::ENOENT);
        }
        if self.children().iter().any(|child| child.subtree_control().intersects(disable)) {
            return fail(Errno::EBUSY);
        }
        self.may_enable(enable.difference(self.subtree_control()))?;
        let mut state = self.state.lock();
        let new = state.subtree_control.difference(disable) | enable;
        let gone = state.subtree_control.difference(new);
        state.subtree_control = new;
        drop(state);
        let children = self.children();
        drop(tree);
        children.iter().for_each(|child| child.lift_limits(gone));
        Ok(())
    }

    /// It has these controllers no more. What fails was removed meanwhile.
    fn lift_limits(self: &Arc<Self>, controllers: Controllers) {
        if controllers.contains(Controllers::CPU) {
            let _ = self.set_cpu_max(MAX, USUAL_PERIOD);
        }
        if controllers.contains(Controllers::CPUSET) {
            let _ = self.set_cpus(Vec::new(), 0);
            let _ = self.set_mems(false);
        }
        if controllers.contains(Controllers::MEMORY) {
            self.memory.lift();
        }
        if controllers.contains(Controllers::PIDS) {
            self.set_pids_max(MAX);
        }
    }
}
