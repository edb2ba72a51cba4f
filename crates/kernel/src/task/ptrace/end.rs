//! The end of a tracee, of which its tracer hears first, and the end of a tracer. ptrace(2), wait(2).
//!
//! A tracee that is no child of its tracer's is held back from its parent until the tracer has waited for it. Neighbours: `exit`, `syscalls::exit` (waits). Owns no locks.

use crate::signal::{SIGKILL, SigInfo};
use crate::task::send::{SigChild, notify_tracer};
use crate::task::{ExitStatus, Task, ThreadGroup};
use abi::task::PTRACE_O_EXITKILL;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a tracee has to tell a tracer that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceeReport {
    /// The status' upper bits.
    Stopped(i32),
    Ended(ExitStatus),
}

impl Task {
    /// What it has to tell; `keep` leaves it to be told again. `exits`: its end, too.
    pub fn tracee_report(self: &Arc<Self>, exits: bool, keep: bool) -> Option<TraceeReport> {
        let (report, ended) = self
            .with_tracee(|t| {
                if let Some(status) = t.ended.filter(|_| exits) {
                    return Some((TraceeReport::Ended(status), true));
                }
                let stop = t.stop.as_mut().filter(|stop| stop.rests && !stop.told)?;
                stop.told = !keep;
                Some((TraceeReport::Stopped(stop.code), false))
            })
            .flatten()?;
        if ended && !keep {
            self.let_go();
            self.tracee_reaped();
        }
        Some(report)
    }

    /// The tracer knows: now the others may.
    fn tracee_reaped(self: &Arc<Self>) {
        if !Arc::ptr_eq(&self.pid, &self.group.pid) {
            self.pid.detach();
        } else if self.group.held_for_tracer.swap(false, Relaxed) {
            self.group.tell_parent_of_end();
        }
    }

    /// A traced thread that is not the leader ends. True: its number is kept until the tracer has waited for it.
    pub(in crate::task) fn tell_tracer_of_end(self: &Arc<Self>, status: ExitStatus) -> bool {
        if !self.was_ever_traced() {
            return false;
        }
        let told = self.with_tracee(|t| {
            (t.stop, t.due) = (None, None);
            t.ended = Some(status);
        });
        let Some(tracer) = self.tracer().filter(|_| told.is_some()) else {
            self.let_go();
            return false;
        };
        notify_tracer(self, &tracer.group, SigChild::Ended(status));
        true
    }

    /// A tracer's thread ends: its tracees are free, or die with it.
    pub(in crate::task) fn leave_tracees(self: &Arc<Self>) {
        let is_mine = |t: &&Arc<Task>| t.tracer().is_none_or(|tracer| Arc::ptr_eq(&tracer, self));
        let mine: Vec<Arc<Task>> = self.group.tracees.lock().iter().cloned().collect();
        for tracee in mine.iter().filter(is_mine) {
            if tracee.tells_tracer(PTRACE_O_EXITKILL) {
                crate::task::send(&tracee.group, None, SigInfo::kernel(SIGKILL));
            }
            if tracee.let_go().is_some() {
                tracee.tracee_reaped();
            }
        }
    }
}

impl ThreadGroup {
    /// The process ends: its parent hears of it later, where somebody else traces its leader. Said before it is a zombie.
    pub(in crate::task) fn hold_for_tracer(self: &Arc<Self>) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(tracer) = leader.tracer() else { return false };
        if self.parent().is_some_and(|parent| Arc::ptr_eq(&parent, &tracer.group)) {
            leader.let_go();
            return false;
        }
        self.held_for_tracer.store(true, Relaxed);
        true
    }

    /// It is a zombie, which its leader's tracer sees first.
    pub(in crate::task) fn tell_tracer_first(self: &Arc<Self>, status: ExitStatus) {
        let leader = self.leader();
        if !leader.is_some_and(|leader| leader.tell_tracer_of_end(status)) && self.held_for_tracer.swap(false, Relaxed)
        {
            self.tell_parent_of_end();
        }
    }

    /// Its tracer has not waited for it yet.
    pub fn is_held_for_tracer(&self) -> bool {
        self.held_for_tracer.load(Relaxed)
    }

    /// A tracee of the waiting process' own: it hears of its stops as a tracer only.
    pub fn is_traced_by(&self, group: &Arc<ThreadGroup>) -> bool {
        self.leader().and_then(|leader| leader.tracer()).is_some_and(|tracer| Arc::ptr_eq(&tracer.group, group))
    }
}
