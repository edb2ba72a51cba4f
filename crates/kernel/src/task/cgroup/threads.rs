//! Threads that are in another group than their process: `tasks` of version 1, and groups of threads of version 2. cgroups(7), "Thread mode".
//!
//! A process' group counts for all its threads but those. Neighbours: `members` (processes), `kind` (what version 2 allows). Locks: `CgroupTree` for changes, then `Leaf`s of groups and tasks, one at a time.

use super::members::{settled, tell};
use super::{Cgroup, Hierarchy, Places, TREE};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::task::{Task, ThreadGroup};
use abi::Errno;
use lock::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst, fence};
use std::sync::{Arc, Weak};

/// What a task has for itself, not with its process.
#[derive(Default)]
pub(in crate::task) struct Apart {
    any: AtomicBool,
    groups: Mutex<Vec<Arc<Cgroup>>, Leaf>,
    /// As its process' `cgroup_halts`.
    halts: AtomicU8,
}

/// A thread, and its CPU time when it came to where it is, ns.
pub(super) type Since = (Weak<Task>, u64);

fn key(task: &Arc<Task>) -> usize {
    Arc::as_ptr(task) as usize
}

impl Task {
    /// The group of version 2 that it is in.
    pub fn cgroup(&self) -> Arc<Cgroup> {
        self.places().two
    }

    pub fn cgroup_in(&self, hierarchy: &Hierarchy) -> Option<Arc<Cgroup>> {
        self.places().in_hierarchy(hierarchy).cloned()
    }

    /// The groups that it is in.
    pub(in crate::task) fn places(&self) -> Places {
        let mut places = self.group.places();
        if self.apart.any.load(SeqCst) {
            let own = self.apart.groups.lock().clone();
            own.into_iter().for_each(|group| places.put(group));
        }
        places
    }

    /// What holds it there.
    pub(in crate::task) fn cgroup_halts(&self) -> u8 {
        let apart = self.apart.any.load(SeqCst);
        if apart { self.apart.halts.load(SeqCst) } else { self.group.cgroup_halts.load(SeqCst) }
    }

    /// As `ThreadGroup::settle`: the halts before and now.
    pub(super) fn settle_apart(&self) -> Option<(u8, u8)> {
        if !self.apart.any.load(SeqCst) {
            return None;
        }
        let now = self.places().halts();
        Some((self.apart.halts.swap(now, SeqCst), now))
    }

    /// Whether it is where its process is.
    pub(super) fn is_with_process(&self, hierarchy: &Hierarchy) -> bool {
        !self.apart.any.load(SeqCst) || self.apart.groups.lock().iter().all(|own| own.hierarchy.id != hierarchy.id)
    }

    fn set_apart(&self, hierarchy: &Hierarchy, group: Option<&Arc<Cgroup>>) {
        // Before it counts, so that nothing runs meanwhile that should not.
        if !self.apart.any.load(SeqCst) {
            self.apart.halts.store(self.group.cgroup_halts.load(SeqCst), SeqCst);
        }
        let mut groups = self.apart.groups.lock();
        let old: Vec<_> = groups.extract_if(.., |own| own.hierarchy.id == hierarchy.id).collect();
        groups.extend(group.cloned());
        self.apart.any.store(!groups.is_empty(), SeqCst);
        drop(groups);
        drop(old);
    }

    /// A new thread is where the one is that made it.
    pub(in crate::task) fn join_apart(self: &Arc<Self>, maker: &Task) {
        if !maker.apart.any.load(SeqCst) {
            return;
        }
        let tree = TREE.lock();
        let mut changed = Vec::new();
        for group in maker.apart.groups.lock().clone() {
            group.add_thread(self, 0, &mut changed);
        }
        settled(&self.group, tree, changed);
    }

    /// It has ended.
    pub(in crate::task) fn leave_apart(self: &Arc<Self>) {
        fence(SeqCst);
        if !self.apart.any.load(SeqCst) {
            return;
        }
        let tree = TREE.lock();
        let mut changed = Vec::new();
        let groups = self.apart.groups.lock().clone();
        groups.iter().for_each(|group| group.take_thread(self, &mut changed));
        drop(tree);
        tell(changed);
    }
}

impl Cgroup {
    /// Threads of processes that are elsewhere.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.state.lock().threads.values().filter_map(|since| since.0.upgrade()).collect()
    }

    /// All tasks in this very group.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        let with_process = |task: &Arc<Task>| task.is_with_process(&self.hierarchy);
        let mut tasks: Vec<_> = self.processes().iter().flat_map(|p| p.tasks()).filter(with_process).collect();
        tasks.extend(self.threads());
        tasks
    }

    /// Moves a thread here, from another group of the same hierarchy; the last of a process takes that along. Who calls has seen that the hierarchy allows it.
    pub fn attach_thread(self: &Arc<Self>, task: &Arc<Task>) -> Op<()> {
        let process = &task.group;
        let tree = TREE.lock();
        self.may_take_tasks()?;
        let home = process.cgroup_in(&self.hierarchy).ok_or(Errno::ESRCH)?;
        let from = task.places().in_hierarchy(&self.hierarchy).cloned().ok_or(Errno::ESRCH)?;
        if Arc::ptr_eq(&from, self) {
            return Ok(());
        }
        if task.has_ended() || task.is_dying() || !home.has_member(process) {
            return fail(Errno::ESRCH);
        }
        let mut changed = Vec::new();
        let stays = |other: &Arc<Task>| !Arc::ptr_eq(other, task) && other.is_with_process(&self.hierarchy);
        if process.tasks().iter().any(stays) {
            from.take_thread(task, &mut changed);
            if !Arc::ptr_eq(self, &home) {
                self.add_thread(task, task.cpu_time(), &mut changed);
            }
        } else {
            let elsewhere = |other: &Arc<Task>| {
                let place = other.places().in_hierarchy(&self.hierarchy).cloned()?;
                let apart = !Arc::ptr_eq(other, task) && !Arc::ptr_eq(&place, self);
                apart.then_some((other.clone(), place))
            };
            let others: Vec<_> = process.tasks().iter().filter_map(elsewhere).collect();
            self.take_over(process, &home, &mut changed);
            for (other, place) in others {
                place.add_thread(&other, other.cpu_time(), &mut changed);
            }
        }
        process.recharge();
        settled(process, tree, changed);
        Ok(())
    }

    /// A process with all its threads comes from `home`, and wherever they are.
    pub(super) fn take_over(
        self: &Arc<Self>,
        process: &Arc<ThreadGroup>,
        home: &Arc<Cgroup>,
        changed: &mut Vec<Arc<Cgroup>>,
    ) {
        for task in process.tasks() {
            if let Some(place) = task.places().in_hierarchy(&self.hierarchy) {
                place.take_thread(&task, changed);
            }
        }
        home.take(process, changed);
        self.add(process, [process.cpu_time(), process.times().system], changed);
    }

    fn add_thread(self: &Arc<Self>, task: &Arc<Task>, cpu: u64, changed: &mut Vec<Arc<Cgroup>>) {
        let known = self.state.lock().threads.insert(key(task), (Arc::downgrade(task), cpu));
        if let Some(home) = task.group.cgroup_in(&self.hierarchy) {
            home.with_member(&task.group, |member| member.away.push((Arc::downgrade(task), cpu)));
        }
        task.set_apart(&self.hierarchy, Some(self));
        if known.is_none() {
            self.count(true, changed);
        }
        // Where it ends meanwhile, it or we see the other.
        fence(SeqCst);
        if task.has_ended() {
            self.take_thread(task, changed);
        }
    }

    /// No effect on who is here with its process.
    fn take_thread(self: &Arc<Self>, task: &Arc<Task>, changed: &mut Vec<Arc<Cgroup>>) {
        let now = task.cpu_time();
        {
            let mut state = self.state.lock();
            let Some((_, before)) = state.threads.remove(&key(task)) else { return };
            state.cpu += now.saturating_sub(before);
        }
        if let Some(home) = task.group.cgroup_in(&self.hierarchy) {
            home.with_member(&task.group, |member| {
                for (_, since) in member.away.extract_if(.., |(away, _)| std::ptr::eq(away.as_ptr(), Arc::as_ptr(task)))
                {
                    member.away_before += now.saturating_sub(since);
                }
            });
        }
        task.set_apart(&self.hierarchy, None);
        self.count(false, changed);
    }
}

/// CPU time of some threads since they came, ns.
pub(super) fn cpu_since<'t>(threads: impl Iterator<Item = &'t Since>) -> u64 {
    threads.filter_map(|(task, before)| Some(task.upgrade()?.cpu_time().saturating_sub(*before))).sum()
}
