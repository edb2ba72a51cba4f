//! Processes in groups: coming, moving, going; killing all at once. cgroups(7).

use super::{Cgroup, Charge, Controllers, EventFile, TREE};
use crate::cred::Cred;
use crate::op::{Op, fail};
use crate::signal::{SIGKILL, SigInfo};
use crate::task::{Task, ThreadGroup, send};
use crate::vfs::{Attr, FileType, access};
use abi::Errno;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// A process of a group.
pub(super) struct Member {
    pub process: Weak<ThreadGroup>,
    /// Its CPU time when it came, ns.
    pub cpu: u64,
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
    pub(in crate::task) fn enter(self: &Arc<Self>, process: &Arc<ThreadGroup>, parent: Option<&ThreadGroup>) {
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
            group.add(process, 0, &mut changed);
        }
        let settled = process.settle();
        drop(tree);
        settled.tell();
        tell(changed);
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

    /// EBUSY where groups below have controllers for which this one must have no members (cgroups(7), "no internal processes").
    pub fn may_hold_processes(&self) -> Op<()> {
        if Controllers::THREADED.contains(self.subtree_control()) { Ok(()) } else { fail(Errno::EBUSY) }
    }

    /// Moves a process here, from another group of the same hierarchy.
    pub fn attach(self: &Arc<Self>, process: &Arc<ThreadGroup>) -> Op<()> {
        let tree = TREE.lock();
        self.alive()?;
        self.may_hold_processes()?;
        self.may_run_tasks()?;
        let from = process.cgroup_in(&self.hierarchy).ok_or(Errno::ESRCH)?;
        if Arc::ptr_eq(&from, self) {
            return Ok(());
        }
        let mut changed = Vec::new();
        // Its last thread may have gone meanwhile.
        if !from.take(process, &mut changed) {
            return fail(Errno::ESRCH);
        }
        self.add(process, process.cpu_time(), &mut changed);
        process.recharge();
        let settled = process.settle();
        drop(tree);
        settled.tell();
        tell(changed);
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

    pub(super) fn add(self: &Arc<Self>, process: &Arc<ThreadGroup>, cpu: u64, changed: &mut Vec<Arc<Cgroup>>) {
        let process_of = Arc::downgrade(process);
        let known = self.state.lock().members.insert(key(process), Member { process: process_of, cpu });
        process.set_place(self);
        if known.is_none() {
            self.count(true, changed);
        }
    }

    /// False: it was no member.
    pub(super) fn take(self: &Arc<Self>, process: &Arc<ThreadGroup>, changed: &mut Vec<Arc<Cgroup>>) -> bool {
        let now = process.cpu_time();
        let gone = {
            let mut state = self.state.lock();
            let gone = state.members.remove(&key(process));
            if let Some(member) = &gone {
                state.cpu += now.saturating_sub(member.cpu);
            }
            gone
        };
        if gone.is_some() {
            self.count(false, changed);
        }
        gone.is_some()
    }

    /// One member more or less: groups that are populated now and were not, or the other way round, are put on the list.
    fn count(self: &Arc<Self>, more: bool, changed: &mut Vec<Arc<Cgroup>>) {
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
        self.kills.fetch_add(1, Relaxed);
        let uid = by.cred().uid;
        for process in self.subtree().iter().flat_map(|g| g.processes()) {
            let pid = process.pid.ns().map_or(0, |ns| by.group.pid.number_in(&ns));
            send(&process, None, SigInfo::user(SIGKILL, 0, pid, uid));
        }
        Ok(())
    }
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
