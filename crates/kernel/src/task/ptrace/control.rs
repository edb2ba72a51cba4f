//! What a tracer does with its tracees. ptrace(2).
//!
//! Neighbours: `syscalls::ptrace` (the call). Owns no locks.

use super::{Resume, State, StopKind, Stopped, Tracee};
use crate::cred::Cred;
use crate::signal::{SIGSTOP, SigInfo};
use crate::task::Task;
use crate::wait::Events;
use abi::Errno;
use abi::task::PTRACE_EVENT_STOP;
use platform::{Registers, Thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// How a task becomes a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// PTRACE_TRACEME: by its own wish.
    Wish,
    /// PTRACE_ATTACH: it gets SIGSTOP.
    Stop,
    /// PTRACE_SEIZE with these options: it goes on.
    Seize(u32),
}

/// A tracee that halts for the caller.
pub struct Halted {
    pub task: Arc<Task>,
    pub thread: Arc<Thread>,
}

impl Task {
    /// Makes `tracee` one. EPERM: it may not look into that, or somebody traces it already; ESRCH: it ends.
    pub fn attach(self: &Arc<Self>, tracee: &Arc<Task>, how: Attach) -> Result<(), Errno> {
        let own = Arc::ptr_eq(&self.group, &tracee.group);
        if own || how != Attach::Wish && !self.may_attach(tracee) {
            return Err(Errno::EPERM);
        }
        if tracee.is_dying() || tracee.group.is_exiting() || tracee.has_ended() {
            return Err(if how == Attach::Wish { Errno::ESRCH } else { Errno::EPERM });
        }
        let (seized, options) = if let Attach::Seize(options) = how { (true, options) } else { (false, 0) };
        let cred = if how == Attach::Wish { tracee.cred() } else { self.cred() };
        tracee.become_tracee(self, cred, seized, options, false)?;
        match how {
            Attach::Stop => {
                tracee.signal(SigInfo::kernel(SIGSTOP));
            }
            Attach::Seize(_) | Attach::Wish => {}
        }
        if matches!(tracee.group.signals.lock().stop, crate::task::Stop::Stopped(_)) {
            tracee.group.continued.wake(Events::IN); // it stops once more, for its tracer
        }
        Ok(())
    }

    pub(super) fn become_tracee(
        self: &Arc<Self>,
        tracer: &Arc<Task>,
        cred: Arc<Cred>,
        seized: bool,
        options: u32,
        interrupt: bool,
    ) -> Result<(), Errno> {
        {
            let mut state = self.ptrace.state.lock();
            if state.tracee.is_some() {
                return Err(Errno::EPERM);
            }
            state.tracee = Some(Tracee {
                tracer: Arc::downgrade(tracer),
                cred,
                seized,
                options,
                stop: None,
                due: None,
                resume: Resume::Cont,
                interrupt,
                told_group_stop: false,
                message: 0,
                in_call: false,
                told_entry: true,
                stepping: false,
                fresh: true,
                exec: false,
                former: None,
                ended: None,
            });
        }
        self.ptrace.used.store(true, Relaxed);
        tracer.group.tracees.lock().push(self.clone());
        self.watch_again();
        Ok(())
    }

    /// PTRACE_DETACH, or the tracer's end.
    pub(super) fn let_go(self: &Arc<Self>) -> Option<super::ExitStatus> {
        let gone = self.ptrace.state.lock().tracee.take()?;
        if let Some(tracer) = gone.tracer.upgrade() {
            tracer.group.tracees.lock().retain(|t| !Arc::ptr_eq(t, self));
        }
        if let Some(stop) = gone.stop {
            self.ptrace.state.lock().leave(stop);
        }
        if gone.ended.is_none() {
            self.watch_again();
            self.clone().wake_task();
        }
        gone.ended
    }

    /// One of its tracees, which halts. ESRCH: it is none, or does not.
    pub fn halted(self: &Arc<Self>, task: &Arc<Task>) -> Result<Halted, Errno> {
        if !self.traces(task) || !task.is_halted_by_tracer() {
            return Err(Errno::ESRCH);
        }
        let thread = task.thread().ok_or(Errno::ESRCH)?;
        Ok(Halted { task: task.clone(), thread })
    }

    /// PTRACE_INTERRUPT. EIO: it was not seized; ESRCH: it is no tracee of the caller's.
    pub fn interrupt_tracee(self: &Arc<Self>, task: &Arc<Task>) -> Result<(), Errno> {
        if !self.traces(task) {
            return Err(Errno::ESRCH);
        }
        let seized = task.with_tracee(|t| {
            t.interrupt |= t.seized;
            t.seized
        });
        if seized != Some(true) {
            return Err(Errno::EIO);
        }
        task.notify();
        Ok(())
    }
}

impl State {
    /// The end of a stop: what the tracer changed is left to the task.
    fn leave(&mut self, stop: Stopped) {
        if stop.changed {
            self.apply = Some(Box::new(stop));
        }
    }
}

impl Halted {
    /// Looks at the stop.
    pub fn stop(&self) -> Result<Stopped, Errno> {
        self.task.with_tracee(|t| t.stop).flatten().ok_or(Errno::ESRCH)
    }

    /// PTRACE_SETREGS and its kind. What the guest may not have in its registers the host refuses when it loads them.
    pub fn set_regs(&self, regs: Registers) -> Result<(), Errno> {
        let done = self.task.with_tracee(|t| t.stop.as_mut().map(|stop| (stop.regs, stop.changed) = (regs, true)));
        done.flatten().ok_or(Errno::ESRCH)
    }

    /// PTRACE_SETSIGINFO. EINVAL: it is no stop for a signal.
    pub fn set_info(&self, info: SigInfo) -> Result<(), Errno> {
        let done = self.task.with_tracee(|t| {
            let stop = t.stop.as_mut().filter(|stop| has_info(stop))?;
            stop.info = info;
            Some(())
        });
        done.flatten().ok_or(Errno::EINVAL)
    }

    /// PTRACE_GETSIGINFO. EINVAL: the whole process is stopped.
    pub fn info(&self) -> Result<SigInfo, Errno> {
        let stop = self.stop()?;
        if has_info(&stop) { Ok(stop.info) } else { Err(Errno::EINVAL) }
    }

    /// PTRACE_GETEVENTMSG.
    pub fn message(&self) -> u64 {
        self.task.with_tracee(|t| t.message).unwrap_or(0)
    }

    pub fn set_options(&self, options: u32) {
        self.task.with_tracee(|t| t.options = options);
    }

    /// Lets the tracee go on, with a signal if `sig` is not 0. EIO: PTRACE_LISTEN where the process is not stopped.
    pub fn resume(self, how: Resume, sig: i32, tracer: &Arc<Task>) -> Result<(), Errno> {
        self.leave_stop(how, sig, tracer)?;
        self.task.clone().wake_task();
        Ok(())
    }

    /// PTRACE_DETACH.
    pub fn detach(self, sig: i32, tracer: &Arc<Task>) -> Result<(), Errno> {
        self.leave_stop(Resume::Cont, sig, tracer)?;
        self.task.let_go();
        Ok(())
    }

    fn leave_stop(&self, how: Resume, sig: i32, tracer: &Arc<Task>) -> Result<(), Errno> {
        let mut later = None;
        let pid = self.task.pid.ns().map_or(0, |ns| tracer.group.pid.number_in(&ns));
        let new = SigInfo::user(sig, 0, pid, tracer.cred().uid);
        {
            let mut state = self.task.ptrace.state.lock();
            let tracee = state.tracee.as_mut().ok_or(Errno::ESRCH)?;
            let stop = tracee.stop.ok_or(Errno::ESRCH)?;
            if how == Resume::Listen && (stop.code >> 8) as u32 != PTRACE_EVENT_STOP {
                return Err(Errno::EIO);
            }
            (tracee.resume, tracee.stop) = (how, None);
            if how == Resume::Listen {
                tracee.told_group_stop = true;
            }
            match stop.kind {
                _ if sig == 0 => {}
                StopKind::Signal => state.injected = Some(if sig == stop.info.sig() { stop.info } else { new }),
                StopKind::Entry | StopKind::Exit => later = Some(new),
                _ => {}
            }
            state.leave(stop);
        }
        if let Some(info) = later {
            self.task.signal(info);
        }
        Ok(())
    }
}

/// Whether a stop has information about a signal.
fn has_info(stop: &Stopped) -> bool {
    stop.kind != StopKind::Group || stop.code > 0x7f
}
