//! Children that are traced from the start, and a tracee's new program. ptrace(2), PTRACE_O_TRACEFORK and its kind.
//!
//! Neighbours: `clone` and `exec` of this module's parent. Owns no locks.

use super::Stopped;
use crate::signal::{SIGCHLD, SIGSTOP, SIGTRAP, SigInfo};
use crate::task::Task;
use abi::task::{
    CloneFlags, PTRACE_EVENT_CLONE, PTRACE_EVENT_EXEC, PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_EVENT_VFORK_DONE,
    PTRACE_O_TRACECLONE, PTRACE_O_TRACEEXEC, PTRACE_O_TRACEFORK, PTRACE_O_TRACEVFORK, PTRACE_O_TRACEVFORKDONE,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Task {
    /// A tracee has made a child, which is not born yet: it may be traced, too. The event that its parent stops for once the child is there.
    pub fn trace_child(&self, child: &Arc<Task>, flags: CloneFlags, exit_signal: i32) -> Option<u32> {
        if !self.was_ever_traced() || flags.contains(CloneFlags::UNTRACED) {
            return None;
        }
        let (cred, seized, options) = self.with_tracee(|t| (t.cred.clone(), t.seized, t.options))?;
        let (option, event) = if flags.contains(CloneFlags::VFORK) {
            (PTRACE_O_TRACEVFORK, PTRACE_EVENT_VFORK)
        } else if exit_signal == SIGCHLD && !flags.contains(CloneFlags::THREAD) {
            (PTRACE_O_TRACEFORK, PTRACE_EVENT_FORK)
        } else {
            (PTRACE_O_TRACECLONE, PTRACE_EVENT_CLONE)
        };
        let asked = options & option != 0;
        if !asked && !flags.contains(CloneFlags::PTRACE) {
            return None;
        }
        let tracer = self.tracer()?;
        if child.become_tracee(&tracer, cred, seized, options, seized).is_ok() && !seized {
            child.signal(SigInfo::kernel(SIGSTOP));
        }
        asked.then_some(event)
    }

    /// The child is there: the tracee stops for the event.
    pub fn child_traced(&self, event: Option<u32>, child: &Task) {
        if let Some(event) = event {
            self.stop_about(event, child);
        }
    }

    /// A vfork child has let its parent go.
    pub fn vfork_done(&self, child: &Task) {
        if self.tells_tracer(PTRACE_O_TRACEVFORKDONE) {
            self.stop_about(PTRACE_EVENT_VFORK_DONE, child);
        }
    }

    fn stop_about(&self, event: u32, child: &Task) {
        let number = self.number_for_tracer(child);
        self.with_tracee(|t| t.due = Some(Stopped::event(event, number)));
    }

    /// A task's number as the tracer sees it.
    fn number_for_tracer(&self, of: &Task) -> u64 {
        let ns = self.tracer().and_then(|tracer| tracer.pid.ns());
        ns.map_or(0, |ns| of.pid.number_in(&ns) as u64)
    }

    /// A tracee has a new program, which has not begun.
    pub(in crate::task) fn trace_exec(self: &Arc<Self>) {
        if !self.is_traced() {
            return;
        }
        if self.tells_tracer(PTRACE_O_TRACEEXEC) {
            let number = self.number_for_tracer(self);
            self.with_tracee(|t| t.due = Some(Stopped::event(PTRACE_EVENT_EXEC, t.former.take().unwrap_or(number))));
        } else if self.with_tracee(|t| t.seized) == Some(false) {
            self.signal(SigInfo::user(SIGTRAP, 0, self.group.id(), self.cred().uid));
        } else {
            self.with_tracee(|t| t.exec = true);
        }
        self.with_tracee(|t| t.fresh = false);
    }

    /// exec of a thread that is not the leader: the tracer finds it under the leader's number.
    pub(in crate::task) fn leave_tracer_to(self: &Arc<Self>, heir: &Arc<Task>) {
        let number = self.number_for_tracer(self);
        let Some(mut tracee) = self.ptrace.state.lock().tracee.take() else { return };
        let tracer = tracee.tracer.upgrade();
        tracee.former = Some(number);
        heir.ptrace.state.lock().tracee = Some(tracee);
        heir.ptrace.used.store(true, Relaxed);
        if let Some(tracer) = tracer {
            let mut list = tracer.group.tracees.lock();
            let same = |t: &Arc<Task>| Arc::ptr_eq(t, self) || Arc::ptr_eq(&t.pid, &heir.pid);
            let (gone, mut left): (Vec<_>, Vec<_>) = list.drain(..).partition(same);
            left.push(heir.clone());
            *list = left;
            drop(list);
            drop(gone);
        }
        heir.watch_again();
    }
}
