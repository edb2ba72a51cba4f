//! Where a tracee halts: before and after a call, before a signal, after an event. ptrace(2), "Stopped states".
//!
//! The task loop asks `halt` each time round, while the stub has nothing to do. Neighbours: `drive`, `attention` (signals). Owns no locks.

use super::{Resume, StopKind, Stopped, Tracee};
use crate::signal::{SIGTRAP, SigInfo};
use crate::task::Task;
use crate::task::drive::{Phase, Run};
use crate::task::send::{SigChild, notify_tracer};
use abi::task::{
    PTRACE_EVENT_EXIT, PTRACE_EVENT_SECCOMP, PTRACE_EVENT_STOP, PTRACE_EVENT_VFORK, PTRACE_O_TRACEEXIT,
    PTRACE_O_TRACESECCOMP, PTRACE_O_TRACESYSGOOD,
};
use abi::{Errno, nr};
use platform::Registers;
use std::sync::Arc;

/// Of a step: the trap flag of eflags.
const TRAP_FLAG: u64 = 0x100;
/// si_code of a step's SIGTRAP.
pub(super) const TRAP_TRACE: i32 = 2;
/// What rax shows while a call that a signal interrupted is about to be made again; no program sees it otherwise.
const RESTART: std::ops::RangeInclusive<i64> = -516..=-512;

/// What the task loop does next.
pub(in crate::task) enum Halt {
    Go,
    /// The task waits for its tracer.
    Wait,
}

/// What a thread of a stopped process does.
pub(in crate::task) enum GroupStop {
    /// Nothing: it is stopped, too.
    Stay,
    /// It tells its tracer.
    Tell,
    /// Its tracer has it run.
    Run,
}

impl StopKind {
    /// The call has not been made, and may become another.
    fn is_before_call(self) -> bool {
        matches!(self, StopKind::Entry | StopKind::Event(PTRACE_EVENT_SECCOMP | PTRACE_EVENT_EXIT))
    }
}

impl Stopped {
    /// PTRACE_EVENT_*, about a task or with another message.
    pub(super) fn event(event: u32, message: u64) -> Stopped {
        let sig = SIGTRAP;
        let info = SigInfo::user(sig, (event << 8) as i32 | sig, 0, 0);
        Stopped { message, ..Stopped::new(StopKind::Event(event), sig | (event << 8) as i32, info) }
    }

    fn signal(info: SigInfo) -> Stopped {
        Stopped::new(StopKind::Signal, info.sig(), info)
    }
}

impl Task {
    /// The tracer's turn, if the task is traced.
    pub(in crate::task) fn halt(self: &Arc<Self>, run: &mut Run) -> Halt {
        if !self.was_ever_traced() || self.group.is_exiting() || self.is_dying() {
            return Halt::Go;
        }
        if matches!(run.phase, Phase::Stub(_) | Phase::Read(..) | Phase::Held(_)) {
            return Halt::Go;
        }
        if self.with_tracee(|t| t.stop.is_some()) == Some(true) {
            return Halt::Wait;
        }
        let apply = self.ptrace.state.lock().apply.take();
        if let Some(stop) = apply {
            return self.take_registers(run, *stop);
        }
        let Some(mut stop) = self.with_tracee(|t| t.next_stop(run)).flatten() else { return Halt::Go };
        let Some(thread) = self.thread() else { return Halt::Go };
        if !run.framed {
            self.with_tracee(|t| t.due = Some(stop));
            hold(run);
            thread.want_frame();
            return Halt::Go;
        }
        if self.with_tracee(|t| std::mem::take(&mut t.fresh)) == Some(true)
            && let Some(ops) = self.restore_sites(&thread)
        {
            self.with_tracee(|t| t.due = Some(stop));
            hold(run);
            thread.script(platform::Script { ops, then: platform::Then::Report });
            return Halt::Go;
        }
        let Some(held) = thread.regs() else { return Halt::Go };
        stop.regs = shown(run, held, stop.kind);
        if held.gs_base >= thread.space().user_top() {
            stop.regs.gs_base = 0; // the stub's, where the guest has none
        }
        stop.held = stop.regs;
        let halts = self.with_tracee(|t| {
            if std::mem::take(&mut t.stepping) {
                stop.regs.eflags &= !TRAP_FLAG;
                stop.changed = true;
            }
            if let StopKind::Event(_) = stop.kind {
                t.message = stop.message;
            }
            t.stop = Some(stop);
        });
        if halts.is_some() { Halt::Wait } else { Halt::Go }
    }

    /// What the stub does to put rewritten call sites back.
    fn restore_sites(&self, thread: &platform::Thread) -> Option<Vec<platform::Op>> {
        let mm = self.mm()?;
        let mut sites = mm.space().rewritten();
        sites.retain(|site| mm.is_steady_text(site.clone()));
        thread.restore_sites(&sites)
    }

    /// The task rests in a stop: its tracer is told, once.
    pub(in crate::task) fn tell_tracer_of_stop(&self) {
        let Some(stop) = self.with_tracee(|t| {
            let stop = t.stop.as_mut().filter(|stop| !stop.rests)?;
            stop.rests = true;
            Some(*stop)
        }) else {
            return;
        };
        let Some((stop, tracer)) = stop.zip(self.tracer()) else { return };
        let sig = stop.code & 0x7f;
        let what = if stop.kind == StopKind::Group { SigChild::Stopped(sig) } else { SigChild::Trapped(sig) };
        notify_tracer(self, &tracer.group, what);
    }

    /// A signal was taken out for a tracee: its tracer decides. True: it halts.
    pub(in crate::task) fn offer_to_tracer(&self, info: SigInfo) -> bool {
        let offer = |t: &mut Tracee| (t.in_call, t.due) = (false, Some(Stopped::signal(info)));
        self.was_ever_traced() && self.with_tracee(offer).is_some()
    }

    /// What the tracer lets through.
    pub(in crate::task) fn injected(&self) -> Option<SigInfo> {
        if !self.was_ever_traced() {
            return None;
        }
        self.ptrace.state.lock().injected.take()
    }

    /// Its process is stopped by this signal.
    pub(in crate::task) fn group_stop(&self, sig: i32) -> GroupStop {
        if !self.was_ever_traced() {
            return GroupStop::Stay;
        }
        let what = self.with_tracee(|t| {
            if !std::mem::replace(&mut t.told_group_stop, true) {
                t.due = Some(t.group_stop(sig));
                GroupStop::Tell
            } else if t.resume == Resume::Listen {
                GroupStop::Stay
            } else {
                GroupStop::Run
            }
        });
        what.unwrap_or(GroupStop::Stay)
    }

    /// Its process is stopped, but not this thread of it.
    pub(in crate::task) fn runs_in_group_stop(&self) -> bool {
        let runs = |t: &mut Tracee| t.told_group_stop && t.resume != Resume::Listen;
        self.was_ever_traced() && self.with_tracee(runs) == Some(true)
    }

    /// Its process is stopped no more, or anew. True: a tracer that listened is told first.
    pub(in crate::task) fn group_stop_over(&self) -> bool {
        let over = |t: &mut Tracee| {
            let listened = std::mem::take(&mut t.told_group_stop) && t.resume == Resume::Listen;
            if listened {
                (t.resume, t.interrupt) = (Resume::Cont, true);
            }
            listened
        };
        self.was_ever_traced() && self.with_tracee(over) == Some(true)
    }

    /// It has something to tell its tracer, or to do for it.
    pub(in crate::task) fn wants_tracer(&self) -> bool {
        self.was_ever_traced() && {
            let state = self.ptrace.state.lock();
            let due = |t: &Tracee| t.stop.is_none() && (t.due.is_some() || t.interrupt || t.exec);
            state.apply.is_some() || state.injected.is_some() || state.tracee.as_ref().is_some_and(due)
        }
    }

    /// Before its thread is answered: it comes back before guest code, if it has something to tell or to do.
    pub(in crate::task) fn call_back(&self, thread: &platform::Thread) {
        if self.wants_tracer() {
            thread.come_back();
        }
    }

    /// A tracee begins a call, or makes it again.
    pub(in crate::task) fn trace_call(&self) {
        if self.was_ever_traced() {
            self.with_tracee(|t| (t.in_call, t.told_entry) = (true, false));
        }
    }

    /// Whether its tracer lets it make one instruction.
    pub(in crate::task) fn steps(&self) -> bool {
        self.was_ever_traced() && self.with_tracee(|t| t.resume == Resume::Step) == Some(true)
    }

    /// The registers with which it makes one; `value` is that of its call.
    pub(in crate::task) fn step_from(&self, thread: &platform::Thread, value: Option<i64>) -> Option<Registers> {
        let mut regs = thread.regs()?;
        if let Some(value) = value {
            regs.rax = value as u64;
        }
        regs.eflags |= TRAP_FLAG;
        self.with_tracee(|t| t.stepping = true);
        Some(regs)
    }

    /// A step that ends at the beginning of a handler.
    pub(in crate::task) fn stepped_into_handler(&self) {
        if self.steps() {
            self.with_tracee(|t| t.due = Some(Stopped::signal(SigInfo::fault(SIGTRAP, TRAP_TRACE, 0))));
        }
    }

    /// A deadly signal: the tracer that asked for it has a last look. True: it halts first, and is to see the signal again.
    pub(in crate::task) fn tells_of_death(&self, info: SigInfo) -> bool {
        if !self.tells_tracer(PTRACE_O_TRACEEXIT) {
            return false;
        }
        self.with_tracee(|t| t.due = Some(t.last_stop(info.sig())));
        self.ptrace.state.lock().injected = Some(info);
        true
    }

    /// A filter asks the tracer about a call, with this value. False: nobody wants to know.
    pub(in crate::task) fn filter_asks_tracer(&self, data: u16) -> bool {
        let asks = self.tells_tracer(PTRACE_O_TRACESECCOMP);
        if asks {
            self.with_tracee(|t| t.due = Some(Stopped::event(PTRACE_EVENT_SECCOMP, data.into())));
        }
        asks
    }

    /// Goes on with registers that the tracer, or the end of a step, has changed.
    fn take_registers(self: &Arc<Self>, run: &mut Run, stop: Stopped) -> Halt {
        let Some(thread) = self.thread() else { return Halt::Go };
        let mut regs = stop.regs;
        if regs.gs_base == 0
            && let Some(held) = thread.regs()
        {
            regs.gs_base = held.gs_base;
        }
        let place = |r: &Registers| [r.rip, r.orig_rax, r.rax];
        let phase = std::mem::replace(&mut run.phase, Phase::Kicked);
        let next = match phase {
            Phase::Call if stop.kind.is_before_call() => {
                let nr = regs.orig_rax as i32;
                if nr < 0 {
                    Phase::Leaving(regs.rax as i64)
                } else {
                    run.record.nr = nr as u32;
                    run.record.args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
                    regs.rax = nr as u64;
                    Phase::Call
                }
            }
            Phase::Call | Phase::Interrupted(_) | Phase::HostWait(_) if place(&regs) == place(&stop.held) => {
                regs.rax = run.record.nr.into();
                phase
            }
            _ => {
                if regs.orig_rax as i64 >= 0 && RESTART.contains(&(regs.rax as i64)) {
                    regs.rax = regs.orig_rax;
                    regs.rip = regs.rip.wrapping_sub(2);
                }
                Phase::Kicked
            }
        };
        run.phase = Phase::Held(Box::new(next));
        thread.come_back();
        thread.set_regs_resume(&regs);
        Halt::Go
    }
}

/// What the call has come to is kept until the stub reports.
fn hold(run: &mut Run) {
    let phase = std::mem::replace(&mut run.phase, Phase::Kicked);
    run.phase = Phase::Held(Box::new(phase));
}

impl Tracee {
    /// For what it stops now.
    fn next_stop(&mut self, run: &Run) -> Option<Stopped> {
        if matches!(run.phase, Phase::Call) {
            return self.next_before_call(run);
        }
        if let Some(due) = self.due.take() {
            return Some(due);
        }
        self.exec = false;
        let ended = !matches!(run.phase, Phase::HostWait(_) | Phase::AtHostWait | Phase::InHost);
        if self.in_call && ended {
            self.in_call = false;
            match self.resume {
                Resume::Syscall => return Some(self.call_stop(StopKind::Exit)),
                Resume::Step => return Some(Stopped::signal(SigInfo::fault(SIGTRAP, TRAP_TRACE, 0))),
                _ => {}
            }
        }
        std::mem::take(&mut self.interrupt).then(|| Stopped::event(PTRACE_EVENT_STOP, 0))
    }

    fn next_before_call(&mut self, run: &Run) -> Option<Stopped> {
        // A parent stops for vfork(2) in the middle of its call.
        let before_call =
            |due: &mut Stopped| due.kind.is_before_call() || due.kind == StopKind::Event(PTRACE_EVENT_VFORK);
        if let Some(due) = self.due.take_if(before_call) {
            return Some(due);
        }
        if self.resume == Resume::Syscall && !std::mem::replace(&mut self.told_entry, true) {
            self.in_call = true;
            return Some(self.call_stop(StopKind::Entry));
        }
        let exits = matches!(run.record.nr, nr::EXIT | nr::EXIT_GROUP) && self.options & PTRACE_O_TRACEEXIT != 0;
        let status = run.record.args.first().map_or(0, |status| (*status as i32 & 0xff) << 8);
        exits.then(|| self.last_stop(status))
    }

    /// Once.
    fn last_stop(&mut self, status: i32) -> Stopped {
        self.options &= !PTRACE_O_TRACEEXIT;
        Stopped::event(PTRACE_EVENT_EXIT, status as u64)
    }

    fn call_stop(&self, kind: StopKind) -> Stopped {
        let code = if self.options & PTRACE_O_TRACESYSGOOD != 0 { SIGTRAP | 0x80 } else { SIGTRAP };
        Stopped::new(kind, code, SigInfo::user(SIGTRAP, code, 0, 0))
    }

    fn group_stop(&self, sig: i32) -> Stopped {
        let code = if self.seized { sig | (PTRACE_EVENT_STOP << 8) as i32 } else { sig };
        Stopped::new(StopKind::Group, code, SigInfo::user(sig, code, 0, 0))
    }
}

/// The guest's registers as they are shown in a stop: what the stub holds, with the call's number and value where Linux has them.
fn shown(run: &Run, mut regs: Registers, kind: StopKind) -> Registers {
    let (of_call, rax) = match run.phase {
        Phase::Call => (true, Errno::ENOSYS.ret()),
        Phase::Leaving(value) => (true, value),
        Phase::Interrupted(how) => (true, how.number()),
        Phase::HostWait(_) => (true, *RESTART.end()),
        _ => (kind == StopKind::Exit, regs.rax as i64),
    };
    regs.orig_rax = if of_call { run.record.nr.into() } else { u64::MAX };
    regs.rax = rax as u64;
    if !matches!(run.phase, Phase::Kicked) {
        (regs.rcx, regs.r11) = (regs.rip, regs.eflags);
    }
    regs
}
