//! On which processors a group's tasks may run. cpuset(7), cgroups(7).
//!
//! A task runs where it asked to (sched_setaffinity(2)) as far as its group allows that, else wherever its group allows; the host is told for each of its threads. Memory is of one node.
//! Locks: `CgroupTree` for changes of version 1, then a group's own `Leaf`.

use super::{Cgroup, Controllers, TREE};
use crate::op::{Op, fail};
use crate::task::{Task, ThreadGroup};
use abi::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Whether any group ever had processors of its own.
static USED: AtomicBool = AtomicBool::new(false);

/// What was written to a group's files.
#[derive(Clone, Default)]
pub(super) struct Cpuset {
    /// Ascending. Empty: those of the group above.
    cpus: Vec<usize>,
    /// The only node was named.
    mems: bool,
}

fn both(one: &[usize], other: &[usize]) -> Vec<usize> {
    one.iter().copied().filter(|cpu| other.contains(cpu)).collect()
}

impl Cgroup {
    /// cpuset.cpus: as it was written, or for the root of a hierarchy all of `count` that there are.
    pub fn cpus(&self, count: usize) -> Vec<usize> {
        if self.is_container() { (0..count).collect() } else { self.state.lock().cpuset.cpus.clone() }
    }

    /// Where its tasks may run: its own processors among those of the group above, or all of those where there are none of its own.
    pub fn effective_cpus(self: &Arc<Self>, count: usize) -> Vec<usize> {
        let chain: Vec<_> = self.ancestry().map(|group| group.cpus(count)).collect();
        chain.into_iter().rev().fold((0..count).collect(), |above, own| {
            let common = both(&above, &own);
            if common.is_empty() { above } else { common }
        })
    }

    /// Version 1: EACCES for what the group above does not have, EBUSY for what one below needs, ENOSPC for nothing where there are tasks.
    pub fn set_cpus(self: &Arc<Self>, mut cpus: Vec<usize>, count: usize) -> Op<()> {
        cpus.sort_unstable();
        cpus.dedup();
        let tree = TREE.lock();
        self.alive()?;
        if !self.hierarchy.is_two() {
            let within = |some: &[usize], all: &[usize]| some.iter().all(|cpu| all.contains(cpu));
            if cpus.is_empty() && self.populated() {
                return fail(Errno::ENOSPC);
            }
            if self.children().iter().any(|child| !within(&child.cpus(count), &cpus)) {
                return fail(Errno::EBUSY);
            }
            if self.parent().is_some_and(|above| !within(&cpus, &above.cpus(count))) {
                return fail(Errno::EACCES);
            }
        }
        USED.store(true, SeqCst);
        self.state.lock().cpuset.cpus = cpus;
        let processes: Vec<_> = self.subtree().iter().flat_map(|group| group.touched()).collect();
        drop(tree);
        processes.iter().for_each(|process| process.place());
        Ok(())
    }

    /// cpuset.mems: whether the node was named.
    pub fn has_mems(&self) -> bool {
        self.is_container() || self.state.lock().cpuset.mems
    }

    pub fn set_mems(&self, named: bool) -> Op<()> {
        if !named && !self.hierarchy.is_two() {
            if self.populated() {
                return fail(Errno::ENOSPC);
            }
            if self.children().iter().any(|child| child.has_mems()) {
                return fail(Errno::EBUSY);
            }
        }
        self.state.lock().cpuset.mems = named;
        Ok(())
    }

    /// A new group of version 1, that has what the one above has (cgroup.clone_children).
    pub fn clone_cpuset(&self, above: &Cgroup, count: usize) {
        let cpuset = Cpuset { cpus: above.cpus(count), mems: above.has_mems() };
        self.state.lock().cpuset = cpuset;
    }

    /// In version 1 tasks need processors and memory that their group names.
    pub(super) fn may_run_tasks(&self) -> Op<()> {
        let wants =
            !self.hierarchy.is_two() && !self.is_container() && self.controllers().contains(Controllers::CPUSET);
        let cpuset = self.state.lock().cpuset.clone();
        if wants && (cpuset.cpus.is_empty() || !cpuset.mems) { fail(Errno::ENOSPC) } else { Ok(()) }
    }
}

impl ThreadGroup {
    /// Its threads run where its group lets them.
    pub(super) fn place(&self) {
        if USED.load(SeqCst) {
            self.tasks().iter().for_each(|task| task.place());
        }
    }
}

impl Task {
    /// The processors that its group has.
    fn allowed_cpus(&self) -> Vec<usize> {
        self.places().of(Controllers::CPUSET).effective_cpus(self.kernel.cpus)
    }

    /// Runs where its group lets it from now on.
    pub(in crate::task) fn place(&self) {
        if !USED.load(SeqCst) {
            return;
        }
        // Again where the group changes meanwhile, so that the last to come sees all changes.
        let mut allowed = self.allowed_cpus();
        loop {
            if let Some(cpus) = self.allow_cpus(&allowed)
                && let Some(thread) = self.thread()
            {
                let _ = thread.set_affinity(&cpus); // it may have ended
            }
            let now = self.allowed_cpus();
            if now == allowed {
                return;
            }
            allowed = now;
        }
    }

    /// sched_setaffinity(2). EINVAL where its group has none of these processors.
    pub fn ask_for_cpus(&self, cpus: Vec<usize>) -> Op<()> {
        let allowed = self.allowed_cpus();
        let common = both(&cpus, &allowed);
        if common.is_empty() {
            return fail(Errno::EINVAL);
        }
        if let Some(thread) = self.thread() {
            thread.set_affinity(&common)?;
        }
        self.set_affinity(common, cpus);
        self.place();
        Ok(())
    }
}
