//! Processes in groups: coming, moving, going; killing all at once. cgroups(7).

use super::threads::{Since, cpu_since};
use super::times::Leaving;
use super::{Cgroup, Charge, EventFile, TREE};
use crate::cred::Cred;
use crate::op::{Op, fail};
use crate::signal::{SIGKILL, SigInfo};
use crate::task::{Task, ThreadGroup, send};
use crate::vfs::{Attr, FileType, access};
use abi::Errno;
use lock::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// A process of a group.
#[derive(Clone)]
pub(super) struct Member {
    pub process: Weak<ThreadGroup>,
    /// Its CPU time when it came, and the system time in it, ns.
    pub cpu: u64,
    pub system: u64,
    /// Threads that are elsewhere; and what others used while they were, ns.
    pub away: Vec<Since>,
    pub away_before: u64,
}

impl Member {
    /// CPU time in the group, when the process has used `now` ns altogether.
    pub fn used(&self, now: u64) -> u64 {
        now.saturating_sub(self.cpu).saturating_sub(self.away_before).saturating_sub(cpu_since(self.away.iter()))
    }
}

fn key(process: &Arc<ThreadGroup>) -> usize {
    Arc::as_ptr(process) as usize
}

impl Cgroup {
    /// Processes that are in this very group.
    pub fn processes(&self) -> Vec<Arc<ThreadGroup>> {
        self.state.lock().members.values().filter_map(|m| m.process.upgrade()).collect()
    }

    /// A new process. Its groups are its parent's as they are now, whatever they were when the call began; without a parent, `self` and the roots of all other hierarchies.
    pub(in crate::task) fn enter(self: &Arc<Self>, process: &Arc<ThreadGroup>, parent: Option<&Task>) {
        let tree = TREE.lock();
        let mut changed = Vec::new();
        let places: Vec<_> = match (parent, self.hierarchy.all()) {
            (Some(parent), _) => parent.places().all().cloned().collect(),
            (None, Some(all)) => {
                all.roots().into_iter().map(|root| if root.hierarchy.is_two() { self.clone() } else { root }).collect()
            }
            (None, None) => vec![self.clone()],
        };
        for group in &places {
            group.add(process, [0, 0], &mut changed);
        }
        settled(process, tree, changed);
    }

    /// A process' last thread has ended.
    pub(in crate::task) fn leave(process: &Arc<ThreadGroup>) {
        let tree = TREE.lock();
        let mut changed = Vec::new();
        for group in process.places().all() {
            group.take(process, &mut changed);
        }
        drop(tree);
        tell(changed);
    }

    /// Moves a process here, from another group of the same hierarchy.
    pub fn attach(self: &Arc<Self>, process: &Arc<ThreadGroup>) -> Op<()> {
        let tree = TREE.lock();
        self.may_take_tasks()?;
        let from = process.cgroup_in(&self.hierarchy).ok_or(Errno::ESRCH)?;
        // Its last thread may have gone meanwhile.
        if !from.has_member(process) {
            return fail(Errno::ESRCH);
        }
        let whole = |task: &Arc<Task>| task.is_with_process(&self.hierarchy);
        if Arc::ptr_eq(&from, self) && process.tasks().iter().all(whole) {
            return Ok(());
        }
        let mut changed = Vec::new();
        self.take_over(process, &from, &mut changed);
        process.recharge();
        settled(process, tree, changed);
        Ok(())
    }

    /// Whether `cred` may move processes from `from` here: it must be able to write cgroup.procs of the group above both, and of this one.
    /// EACCES (cgroups(7), "cgroups v2 delegation").
    pub fn may_attach(self: &Arc<Self>, cred: &Cred, from: &Arc<Cgroup>) -> Op<()> {
        let common = self.common(from).ok_or(Errno::ENOENT)?;
        for group in [self, &common] {
            let (uid, gid, perm) = group.attr(b"cgroup.procs", 0o644);
            let owned = Attr::plain(FileType::Regular, uid, gid, perm);
            access::may(cred, &owned, access::WRITE)?;
        }
        Ok(())
    }

    pub(super) fn add(
        self: &Arc<Self>,
        process: &Arc<ThreadGroup>,
        [cpu, system]: [u64; 2],
        changed: &mut Vec<Arc<Cgroup>>,
    ) {
        let process_of = Arc::downgrade(process);
        let known = self
            .state
            .lock()
            .members
            .insert(key(process), Member { process: process_of, cpu, system, away: Vec::new(), away_before: 0 });
        process.set_place(self);
        if known.is_none() {
            self.count(true, changed);
        }
    }

    /// False: it was no member.
    pub(super) fn take(self: &Arc<Self>, process: &Arc<ThreadGroup>, changed: &mut Vec<Arc<Cgroup>>) -> bool {
        let (now, times) = (process.cpu_time(), Leaving::of(process));
        let Some(member) = self.state.lock().members.get(&key(process)).cloned() else { return false };
        let used = member.used(now);
        {
            let mut state = self.state.lock();
            state.members.remove(&key(process));
            state.cpu += used;
            state.keep_times(&member, times);
        }
        self.count(false, changed);
        true
    }

    pub(super) fn has_member(&self, process: &Arc<ThreadGroup>) -> bool {
        self.state.lock().members.contains_key(&key(process))
    }

    pub(super) fn with_member(&self, process: &Arc<ThreadGroup>, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.state.lock().members.get_mut(&key(process)) {
            change(member);
        }
    }

    /// One member more or less: groups that are populated now and were not, or the other way round, are put on the list.
    pub(super) fn count(self: &Arc<Self>, more: bool, changed: &mut Vec<Arc<Cgroup>>) {
        for group in self.ancestry() {
            let flips = {
                let mut state = group.state.lock();
                state.live = if more { state.live + 1 } else { state.live.saturating_sub(1) };
                state.live == usize::from(more)
            };
            if !flips {
                return;
            }
            changed.push(group);
        }
    }

    /// A task of it has come to a halt, or goes on: cgroup.events of all above may say something else.
    pub(in crate::task) fn halted(self: &Arc<Self>) {
        for group in self.ancestry() {
            group.tell(EventFile::Cgroup);
        }
    }

    /// How often it or one above was killed.
    pub(in crate::task) fn kills(self: &Arc<Self>) -> u64 {
        self.ancestry().map(|g| g.kills.load(Relaxed)).sum()
    }

    /// cgroup.kill: all processes in it and below, those that are being born included (`Task::clone_task` looks at the count).
    pub fn kill(self: &Arc<Self>, by: &Task) -> Op<()> {
        self.alive()?;
        if self.is_threaded() {
            return fail(Errno::EOPNOTSUPP);
        }
        self.kills.fetch_add(1, Relaxed);
        let uid = by.cred().uid;
        for process in self.subtree().iter().flat_map(|g| g.processes()) {
            let pid = process.pid.ns().map_or(0, |ns| by.group.pid.number_in(&ns));
            send(&process, None, SigInfo::user(SIGKILL, 0, pid, uid));
        }
        Ok(())
    }
}

/// The end of a change, which lets go of the lock of the trees: what it means for the process and for the groups is told without.
pub(super) fn settled(process: &Arc<ThreadGroup>, tree: MutexGuard<'_, ()>, changed: Vec<Arc<Cgroup>>) {
    let settled = process.settle();
    drop(tree);
    settled.tell();
    tell(changed);
}

pub(super) fn tell(changed: Vec<Arc<Cgroup>>) {
    for group in changed {
        group.tell(EventFile::Cgroup);
    }
}

impl super::super::Pid {
    /// It counts in `group` from now on.
    pub(in crate::task) fn charge_to(&self, group: &Arc<Cgroup>) {
        let mut charge = self.charge.lock();
        let same = charge.as_ref().is_some_and(|c| Arc::ptr_eq(c.group(), group));
        if charge.is_none() || same {
            return;
        }
        let old = charge.replace(Charge::beyond(group));
        drop(charge);
        drop(old);
    }
}
