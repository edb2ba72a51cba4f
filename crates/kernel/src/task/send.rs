//! Sending signals. kill(2), signal(7).
//!
//! A signal is queued at the thread or the thread group; a thread that can take it is brought to look (`Task::notify`).

use super::{ChildEvent, ExitStatus, GroupState, Stop, Task, ThreadGroup};
use crate::cred::{Cap, Cred};
use crate::signal::{SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, STOP_SIGNALS, SigInfo, SigSet, bit};
use std::sync::Arc;

/// Whether `from` may signal `to`, kill(2).
pub fn may_signal(from: &Task, to: &ThreadGroup, sig: i32) -> bool {
    let Some(target) = to.any_task() else { return true };
    if std::ptr::eq(&*from.group, to) {
        return true;
    }
    let mine: Arc<Cred> = from.cred();
    let theirs = target.cred();
    let ids = [mine.uid, mine.euid];
    ids.contains(&theirs.uid)
        || ids.contains(&theirs.suid)
        || mine.has_in(&theirs.user_ns, Cap::Kill)
        || sig == SIGCONT && Arc::ptr_eq(&from.group.session(), &to.session())
}

/// Queues a signal for the group, or for one thread of it. False where a real-time signal finds the queue full.
pub fn send(group: &Arc<ThreadGroup>, thread: Option<&Arc<Task>>, info: SigInfo) -> bool {
    queue(group, thread, None, info)
}

/// Queues a signal for the group, of which `taker` is told if it can take it.
pub fn send_to_process(group: &Arc<ThreadGroup>, taker: Option<&Arc<Task>>, info: SigInfo) -> bool {
    queue(group, None, taker, info)
}

fn queue(group: &Arc<ThreadGroup>, thread: Option<&Arc<Task>>, first: Option<&Arc<Task>>, info: SigInfo) -> bool {
    let sig = info.sig();
    if group.state() != GroupState::Alive {
        return true;
    }
    let tasks = group.tasks();
    let limit = group.limit(super::Resource::Sigpending).min(1 << 20) as usize;
    let mut continued = false;
    let mut taker = None;
    {
        let mut signals = group.signals.lock();
        if sig == SIGCONT {
            signals.pending.flush(STOP_SIGNALS);
            for task in &tasks {
                task.signals.lock().pending.flush(STOP_SIGNALS);
            }
            continued = matches!(signals.stop, Stop::Stopped(_));
            signals.stop = Stop::Running;
        } else if bit(sig) & STOP_SIGNALS != 0 {
            signals.pending.flush(bit(SIGCONT));
            for task in &tasks {
                task.signals.lock().pending.flush(bit(SIGCONT));
            }
        }
        let action = signals.actions.get(sig);
        let default = action.handler == crate::signal::SIG_DFL;
        let protected = signals.unkillable && default && (sent_from_inside(&info) || !matches!(sig, SIGKILL | SIGSTOP));
        let blocked = |task: &Arc<Task>| {
            let s = task.signals.lock();
            s.mask.withdraw();
            (s.mask.get() | s.saved_mask.unwrap_or(0) | s.waited) & bit(sig) != 0
        };
        let wanted_anyway = match thread {
            Some(task) => blocked(task),
            None => tasks.iter().filter(|task| blocked(task)).count() > 0,
        } || tasks.iter().any(|task| task.is_traced());
        if (protected || action.ignores(sig)) && !wanted_anyway {
            if !continued {
                return true;
            }
        } else {
            let queued = match thread {
                Some(task) => task.signals.lock().pending.add(info, limit),
                None => signals.pending.add(info, limit),
            };
            if !queued {
                return false;
            }
            thread.map_or(&group.signals_due, |task| &task.signals_due).set();
            let can_take = |task: &&Arc<Task>| {
                let s = task.signals.lock();
                s.mask.get() & bit(sig) == 0 || s.waited & bit(sig) != 0
            };
            taker = match thread {
                Some(task) => Some(task).filter(can_take).cloned(),
                // The leader before others, as Linux does for signals of the whole process.
                None => first.into_iter().chain(&tasks).find(can_take).cloned(),
            };
        }
    }
    if continued {
        let mut links = group.links.lock();
        links.event = Some(ChildEvent::Continued);
        drop(links);
        group.continued.wake(crate::wait::Events::IN);
        notify_parent(group, SigChild::Continued);
    }
    group.signal_arrived.wake(crate::wait::Events::IN);
    if let Some(task) = taker {
        task.notify();
    }
    if sig == SIGKILL {
        for task in &tasks {
            task.notify();
        }
        group.continued.wake(crate::wait::Events::IN);
        crate::wait::enqueue(Arc::new(Killed(group.clone())));
    }
    true
}

/// Brings in threads that can take what is queued for the group and `from` keeps back.
pub(super) fn pass_on(from: &Arc<Task>, signals: SigSet) {
    let takes = |task: &&Arc<Task>| !Arc::ptr_eq(task, from) && signals & !task.signals.lock().mask.get() != 0;
    let takers: Vec<_> = from.group.tasks().iter().filter(takes).cloned().collect();
    takers.iter().for_each(Task::notify);
}

/// SIGKILL ends a process whether or not its threads come in: hostile code can mask the signal that would bring them.
struct Killed(Arc<ThreadGroup>);

impl crate::wait::Runnable for Killed {
    fn run(self: Arc<Self>) {
        self.0.begin_exit(super::ExitStatus::Signal { sig: SIGKILL, core: false });
    }
}

/// Why a parent is told.
pub enum SigChild {
    Stopped(i32),
    Continued,
    /// To a tracer alone.
    Trapped(i32),
    Ended(ExitStatus),
}

impl SigChild {
    /// CLD_* and si_status of sigaction(2).
    pub(super) fn code(&self) -> (i32, i32) {
        match *self {
            SigChild::Ended(ExitStatus::Code(code)) => (1, code),
            SigChild::Ended(ExitStatus::Signal { sig, core }) => (if core { 3 } else { 2 }, sig),
            SigChild::Trapped(sig) => (4, sig),
            SigChild::Stopped(sig) => (5, sig),
            SigChild::Continued => (6, SIGCONT),
        }
    }
}

/// Tells a tracer of its tracee: SIGCHLD, unless that is a stop and it has SA_NOCLDSTOP, and its wait.
pub(super) fn notify_tracer(tracee: &Task, tracer: &Arc<ThreadGroup>, what: SigChild) {
    let quiet = tracer.signals.lock().actions.get(SIGCHLD).flags & crate::signal::SA_NOCLDSTOP != 0;
    if !quiet || matches!(what, SigChild::Ended(_)) {
        let (code, status) = what.code();
        let pid = tracer.pid_ns().map_or(0, |ns| tracee.pid.number_in(&ns));
        send(tracer, None, SigInfo::child(code, pid, tracee.cred().uid, status, 0, 0));
    }
    tracer.children_changed.wake(crate::wait::Events::IN);
}

/// Tells the parent that its child stopped or went on: SIGCHLD unless it has SA_NOCLDSTOP, and its wait.
pub fn notify_parent(group: &Arc<ThreadGroup>, what: SigChild) {
    let Some(parent) = group.parent() else { return };
    let quiet = parent.signals.lock().actions.get(SIGCHLD).flags & crate::signal::SA_NOCLDSTOP != 0;
    if !quiet {
        let (code, status) = what.code();
        let info = child_info(group, &parent, code, status);
        send(&parent, None, info);
    }
    parent.children_changed.wake(crate::wait::Events::IN);
}

/// SIGCHLD's information about `group`, as `parent` sees it.
pub fn child_info(group: &ThreadGroup, parent: &ThreadGroup, code: i32, status: i32) -> SigInfo {
    let pid = parent.pid_ns().map_or(0, |ns| group.pid.number_in(&ns));
    let uid = group.any_task().map_or(0, |t| t.cred().uid);
    let times = group.times_of_calls();
    let ticks = |ns: u64| (ns / 10_000_000) as i64;
    SigInfo::child(code, pid, uid, status, ticks(times.user), ticks(times.system))
}

/// Whether a process that the receiver can see sent it (si_pid is not 0): from such, init is protected.
fn sent_from_inside(info: &SigInfo) -> bool {
    info.code() <= 0 && info.pid() != 0
}
