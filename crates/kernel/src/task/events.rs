//! What the platform tells of a task's host thread: births, calls, kicks, faults, ends of scripts, deaths.
//!
//! Each event takes the task out of guest code and gives its `Run` to the task loop. Neighbours: `drive` (the loop), `platform::Guest` (who calls). Owns no locks.

use super::Task;
use super::drive::{Phase, RUNNING, Run, USER};
use super::meter::Metered;
use super::watchdog::Turn;
use crate::call::{Next, OnDone};
use crate::op::Restart;
use crate::signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SigInfo};
use abi::Errno;
use platform::{Event, Guest, Thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// What a stub was at when its task ended.
#[derive(Default)]
pub(super) enum Unfinished {
    #[default]
    Nothing,
    Work(OnDone),
    /// It told of its end first.
    Done {
        result: i64,
        at: u32,
    },
}

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

impl Guest for Task {
    fn born(self: Arc<Self>, thread: Arc<Thread>) {
        let _turn = Turn::begin(&self);
        let _metered = Metered::begin(&self);
        self.adopt_thread(&thread);
        self.start(thread);
    }

    fn event(self: Arc<Self>, thread: &Arc<Thread>, event: Event) {
        let _turn = Turn::begin(&self);
        let _metered = Metered::of_event(&self);
        let Some(mut run) = self.enter(thread) else {
            if let Event::Done { result, at } = event {
                self.done_after_its_end(result, at);
            }
            return;
        };
        match event {
            Event::Syscall { nr, args, ip, framed } => {
                self.begin(&mut run, nr, args, ip, framed);
                self.screen(&mut run, ip);
                self.drive(run);
            }
            Event::Kicked => {
                if let Phase::Stub(None) = run.phase {
                    // `want_frame` brought it: now the call can run.
                    run.phase = Phase::Call;
                    run.framed = true;
                    return self.drive(run);
                }
                match std::mem::replace(&mut run.phase, Phase::Kicked) {
                    Phase::Held(next) => {
                        (run.phase, run.framed) = (*next, true);
                        self.drive(run);
                    }
                    Phase::InHost => self.host_wait_over(run),
                    _ => self.kicked(run),
                }
            }
            Event::Fault { sig, code, addr, in_stub, .. } => {
                run.framed = true;
                self.fault(run, sig, code, addr, in_stub);
            }
            Event::Done { result, at } => self.stub_done(run, result, at),
        }
    }

    fn gone(self: Arc<Self>, status: i32) {
        let _turn = Turn::begin(&self);
        let _metered = Metered::begin(&self);
        self.host_thread_gone(status);
    }
}

impl Task {
    /// Takes the run for an event from the guest; None where the task is dead or the guest broke the rules.
    fn enter(self: &Arc<Self>, thread: &Arc<Thread>) -> Option<Box<Run>> {
        if self.state.compare_exchange(USER, RUNNING, AcqRel, Acquire).is_err() {
            return None;
        }
        let run = self.run.lock().take();
        let mut run = run.unwrap_or_else(|| self.new_run());
        run.thread = Some(thread.clone());
        Some(run)
    }

    /// Begins a call.
    fn begin(self: &Arc<Self>, run: &mut Run, nr: u32, args: [u64; 6], ip: u64, framed: bool) {
        self.trace_call();
        if !framed
            && !self.is_traced()
            && let Some(after) = self.kernel.platform.hot_after()
        {
            if run.hot.is_none() {
                run.hot = self.mm().map(|mm| mm.hot.clone());
            }
            let is_rewritten = || self.mm().is_some_and(|mm| mm.space().is_rewritten(ip));
            run.due = run.hot.as_ref().and_then(|hot| hot.called(after, nr, ip, is_rewritten));
        }
        run.record.nr = nr;
        run.record.args = args;
        run.record.done = 0;
        run.record.deadline = None;
        run.record.stage = None;
        run.record.waited = false;
        run.phase = Phase::Call;
        run.framed = framed;
        self.calls.store(self.calls.load(Relaxed) + 1, Relaxed); // nobody else counts them
        if let Some(count) = self.kernel.calls.get(nr as usize) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(tracer) = self.kernel.tracer.get() {
            tracer.enter(self, nr, &args);
        }
    }

    /// The thread stands in the stub with its registers and no call: look at signals, then let it go on.
    fn kicked(self: &Arc<Self>, mut run: Box<Run>) {
        run.framed = true;
        if let Some(delivery) = self.take_delivery() {
            let frame = self.make_frame(&delivery);
            return self.answer(run, |thread| thread.sigframe(frame));
        }
        run.phase = Phase::Kicked;
        if let Some(nr) = self.host_wait() {
            run.record.nr = nr;
            run.phase = Phase::AtHostWait;
        }
        self.drive(run);
    }

    /// The call by which the thread waited in a host futex when it was kicked.
    fn host_wait(&self) -> Option<u32> {
        let (nr, ip) = self.thread()?.host_wait()?;
        let mut code = [0; 2];
        self.mm()?.read_exact(ip, &mut code).ok()?;
        (code == SYSCALL || self.mm()?.space().is_rewritten(ip + 2)).then_some(nr)
    }

    /// What became of such a wait, when the thread comes back.
    fn host_wait_over(self: &Arc<Self>, mut run: Box<Run>) {
        let Some(result) = self.thread().and_then(|t| t.wait_result()) else { return self.kicked(run) };
        run.framed = true;
        run.phase =
            if result == Errno::EINTR.ret() { Phase::Interrupted(Restart::Block) } else { Phase::Leaving(result) };
        self.drive(run);
    }

    /// It ended while its stub was at work, which failed now: what the work was begun for is undone.
    fn done_after_its_end(self: &Arc<Self>, result: i64, at: u32) {
        let left = {
            let mut unfinished = self.unfinished.lock();
            match std::mem::replace(&mut *unfinished, Unfinished::Done { result, at }) {
                Unfinished::Work(on_done) => Some(on_done),
                _ => None,
            }
        };
        if let Some(on_done) = left.filter(|_| result < 0) {
            let _ = on_done(self, result, at);
        }
    }

    /// As above, the other half: the end.
    pub(super) fn leave_unfinished(self: &Arc<Self>, work: OnDone) {
        let done = {
            let mut unfinished = self.unfinished.lock();
            match *unfinished {
                Unfinished::Done { result, at } => Some((work, result, at)),
                _ => {
                    *unfinished = Unfinished::Work(work);
                    None
                }
            }
        };
        if let Some((on_done, result, at)) = done.filter(|done| done.1 < 0) {
            let _ = on_done(self, result, at);
        }
    }

    fn stub_done(self: &Arc<Self>, mut run: Box<Run>, result: i64, at: u32) {
        match std::mem::replace(&mut run.phase, Phase::Kicked) {
            Phase::Stub(Some(on_done)) => {
                run.phase = match on_done(self, result, at) {
                    Next::Value(value) => Phase::Leaving(value),
                    Next::Again => Phase::Call,
                    Next::Staged(stage) => {
                        run.record.stage = Some(stage);
                        Phase::Call
                    }
                };
                run.framed = true;
                self.drive(run);
            }
            Phase::Held(next) => {
                (run.phase, run.framed) = (*next, true);
                self.drive(run);
            }
            // The guest's signal frame could not be written.
            Phase::Kicked if result == Errno::EFAULT.ret() => {
                self.frame_failed();
                self.kicked(run);
            }
            other => {
                observe::warn!("task {}: the stub reported out of turn", self.tid());
                run.phase = other;
                self.group.begin_exit(super::ExitStatus::Signal { sig: crate::signal::SIGKILL, core: false });
                self.drive(run);
            }
        }
    }

    fn fault(self: &Arc<Self>, run: Box<Run>, sig: i32, code: i32, addr: u64, in_stub: bool) {
        let known = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP].contains(&sig);
        if in_stub || !known {
            observe::warn!("task {}: fault {sig} at {addr:#x} inside the stub; the process is killed", self.tid());
            self.group.begin_exit(super::ExitStatus::Signal { sig: SIGSEGV, core: false });
        } else {
            self.force_signal(SigInfo::fault(sig, code, addr));
        }
        self.kicked(run);
    }
}
