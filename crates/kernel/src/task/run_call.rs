//! One run of a call's handler, and what becomes of its outcome.
//!
//! Neighbours: `drive` (the task loop), `crate::call` (what handlers may say). Owns no locks.

use super::Task;
use super::drive::{Phase, RUNNING, Run, WOKEN};
use super::watchdog;
use crate::call::{Args, Call, Next, OnDone, Ret, StubWork};
use crate::mm::untouched::{self, Left};
use crate::op::Stop;
use crate::wait::Interrupt;
use abi::Errno;
use platform::{Script, Then};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

impl Task {
    /// Runs the handler once. False: it waits.
    pub(super) fn run_call(self: &Arc<Self>, run: &mut Run) -> bool {
        let nr = run.record.nr;
        let Some(row) = (self.kernel.table)(nr) else {
            run.phase = Phase::Leaving(Errno::ENOSYS.ret());
            return true;
        };
        if row.framed && !run.framed {
            // Its answer needs the registers: the thread comes back with them by a kick.
            run.phase = Phase::Stub(None);
            if let Some(thread) = self.thread() {
                thread.want_frame();
            }
            return true;
        }
        // Wakes from here on are for this run.
        if self.state.load(Acquire) == WOKEN {
            let _ = self.state.compare_exchange(WOKEN, RUNNING, AcqRel, Acquire);
        }
        run.timer = None;
        run.waits.begin_run();
        run.waits.interrupt = self.interrupt();
        let Run { record, waits, .. } = run;
        let args = record.args;
        watchdog::calls(nr, &args);
        untouched::begin(|| self.mm());
        let out = super::acting::act(self, || (row.handler)(&mut Call { task: self, rec: record, waits }, args));
        let out = match out {
            // What was moved before the wait ended counts as the result.
            Err(Stop::Restart(_)) | Err(Stop::Errno(_)) if run.record.done > 0 => Ok(Ret::Value(run.record.done)),
            out => out,
        };
        let traced = match &out {
            Ok(Ret::Value(v)) => Some(*v as i64),
            Err(Stop::Errno(e)) => Some(e.ret()),
            Err(Stop::Block) => None,
            Err(Stop::Restart(_)) => Some(Errno::EINTR.ret()),
            Ok(Ret::Stub(work)) => Some(if let StubWork::Read { read, .. } = &**work { read.len as i64 } else { 0 }),
            Ok(_) => Some(0),
        };
        // What the stub's work comes to is shown when that is known.
        let shown_later = self.kernel.tracer.get().is_some() && matches!(&out, Ok(Ret::Stub(work)) if has_value(work));
        if let Some(tracer) = self.kernel.tracer.get().filter(|_| !shown_later) {
            tracer.leave(self, nr, &args, traced);
        }
        let left = untouched::finish();
        match out {
            Ok(Ret::Value(_)) | Err(Stop::Errno(_)) if left.is_none() => platform::close_window(),
            _ => platform::settle_window(),
        }
        let out = match (left, out) {
            (None, out) => out,
            (Some(left), Ok(Ret::Value(value))) => {
                if left.again {
                    run.record.done = value;
                }
                Ok(Ret::Stub(Box::new(written_by_stub(left, value as i64))))
            }
            (Some(left), Err(Stop::Errno(errno))) => Ok(Ret::Stub(Box::new(written_by_stub(left, errno.ret())))),
            (Some(mut left), out) => {
                left.bring();
                out
            }
        };
        run.phase = match out {
            Err(Stop::Block) => return false,
            Ok(Ret::Value(value)) => Phase::Leaving(value as i64),
            Err(Stop::Errno(errno)) => Phase::Leaving(errno.ret()),
            Err(Stop::Restart(how)) => Phase::Interrupted(how),
            Ok(Ret::HostWait(wait)) => Phase::HostWait(wait),
            Ok(Ret::Registers) => Phase::Kicked,
            Ok(Ret::ExitThread { status }) => {
                self.begin_thread_exit(status);
                Phase::Kicked
            }
            Ok(Ret::ExitGroup { status }) => {
                self.group.begin_exit(super::ExitStatus::Code(status & 0xff));
                Phase::Kicked
            }
            Ok(Ret::Stub(work)) => self.start_stub_work(*work, shown_later.then_some((nr, args))),
        };
        if !matches!(run.phase, Phase::Call) {
            run.waits.clear();
        }
        true
    }

    /// `shown`: a call whose value the log is to show.
    fn start_stub_work(self: &Arc<Self>, work: StubWork, shown: Option<(u32, Args)>) -> Phase {
        let Some(thread) = self.thread() else { return Phase::Leaving(Errno::ESRCH.ret()) };
        match work {
            StubWork::Script { script, on_done } => {
                let report = self.is_traced() || shown.is_some();
                let (script, on_done) = if report { reported(script, on_done) } else { (script, on_done) };
                let on_done = match shown {
                    Some(call) => showing(call, on_done),
                    None => on_done,
                };
                self.call_back(&thread); // in a new program
                thread.script(script);
                Phase::Stub(Some(on_done))
            }
            StubWork::Read { read, on_done } => Phase::Read(read, on_done),
            StubWork::Fork { spec, on_done } => {
                thread.fork(spec);
                Phase::Stub(Some(on_done))
            }
            StubWork::Spawn { spec, on_done } => {
                thread.spawn(spec);
                Phase::Stub(Some(on_done))
            }
            StubWork::Fresh => Phase::Stub(None),
        }
    }

    /// What an interruptible wait has to know.
    fn interrupt(&self) -> Interrupt {
        if self.group.is_exiting() || self.is_dying() {
            Interrupt::Kill
        } else if self.wants_out() {
            if self.has_fatal_signal() { Interrupt::Kill } else { Interrupt::Signal }
        } else {
            Interrupt::None
        }
    }
}

/// Whether the guest's call has a value when the stub is done.
fn has_value(work: &StubWork) -> bool {
    let StubWork::Script { script, .. } = work else { return false };
    matches!(script.then, Then::Return(_) | Then::ReturnLast | Then::Report)
}

/// Shows the call's value in the log when the stub has reported.
fn showing((nr, args): (u32, Args), on_done: OnDone) -> OnDone {
    Box::new(move |task, result, at| {
        let next = on_done(task, result, at);
        if let (Next::Value(value), Some(tracer)) = (&next, task.kernel.tracer.get()) {
            tracer.leave(task, nr, &args, Some(*value));
        }
        next
    })
}

/// The script of a tracee's call, whose end its tracer sees before the guest does, or of one whose value the log shows.
fn reported(script: Script, on_done: OnDone) -> (Script, OnDone) {
    let value = match script.then {
        Then::Return(value) => Some(value),
        Then::ReturnLast => None,
        Then::Report | Then::Start { .. } | Then::Resume => return (script, on_done),
    };
    let on_done: OnDone = Box::new(move |task, result, at| match result {
        -4095..0 => on_done(task, result, at),
        _ => Next::Value(value.unwrap_or(result)),
    });
    (Script { then: Then::Report, ..script }, on_done)
}

/// The call has its value once the stub has written what was left to it.
fn written_by_stub(left: Left, value: i64) -> StubWork {
    let again = left.again;
    let on_done: OnDone = Box::new(move |_, result, _| match result {
        ..0 => Next::Value(result),
        _ if again => Next::Again,
        _ => Next::Value(value),
    });
    StubWork::Script { script: Script { ops: left.into_ops(), then: Then::Report }, on_done }
}
