//! The task loop: runs a task's calls, waits, and answers the guest.
//!
//! A task is in one of five states. The platform's events and wake-ups race; the state decides who runs it:
//! USER (guest code runs), RUNNING (a host thread is in `drive`), WOKEN (as RUNNING, and something woke it meanwhile), BLOCKED (its
//! `Run` waits), QUEUED (on somebody's run queue), DEAD. Only who moves it to RUNNING touches its `Run`.
//! Neighbours: `events` (what the platform tells), `run_call` (one run of a handler), `attention` (signals).

use super::Task;
use super::attention::{Attention, Delivery};
use super::meter::Metered;
use super::ptrace::Halt;
use super::watchdog::Turn;
use crate::call::{Next, OnDone, Record};
use crate::mm::Hot;
use crate::op::Restart;
use crate::reactor::Timer;
use crate::wait::{self, Runnable, Waits};
use abi::Errno;
use platform::Thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

pub(super) const USER: u8 = 0;
pub(super) const RUNNING: u8 = 1;
pub(super) const WOKEN: u8 = 2;
const BLOCKED: u8 = 3;
const QUEUED: u8 = 4;
pub(super) const DEAD: u8 = 5;

/// Where a task's stay in the kernel stands.
pub enum Phase {
    /// The call is to be run (again).
    Call,
    /// A signal ended the call's wait.
    Interrupted(Restart),
    /// The call has its value.
    Leaving(i64),
    /// The call goes on as a wait in the host's futex: now it begins.
    HostWait(platform::FutexWait),
    /// The guest waits there, by the record's call.
    InHost,
    /// A kick brought the thread out of a wait that it had begun by itself (`platform::Thread::host_wait`): without a handler it waits again.
    AtHostWait,
    /// No call: the thread was brought in by a kick or a fault, or is new; or rt_sigreturn(2), where the registers count.
    Kicked,
    /// The stub works; what becomes of its report.
    Stub(Option<OnDone>),
    /// What comes when the stub has brought the registers, or put them in order, for a tracer.
    Held(Box<Phase>),
    /// The call has its value when its stub has read the file.
    Read(platform::FileRead, OnDone),
}

impl Phase {
    /// The stub is at work, and will tell.
    pub(super) fn is_at_stub(&self) -> bool {
        matches!(self, Phase::Stub(_) | Phase::Held(_))
    }
}

/// What is kept while a task is in the kernel.
pub struct Run {
    pub record: Record,
    pub waits: Waits,
    pub phase: Phase,
    /// The stub holds all registers, so every answer is possible.
    pub framed: bool,
    /// Of the address space that it had at its first call: a program that took its place has the same table.
    pub(super) hot: Option<Arc<Hot>>,
    /// A call and its site, which has become hot.
    pub(super) due: Option<(u32, u64)>,
    /// Ends the wait at the record's deadline.
    pub(super) timer: Option<Timer>,
    /// The host thread whose event this stay began with.
    pub(super) thread: Option<Arc<Thread>>,
}

impl Task {
    pub(super) fn new_run(self: &Arc<Self>) -> Box<Run> {
        Box::new(Run {
            record: Record::default(),
            waits: Waits::new(self.clone()),
            phase: Phase::Kicked,
            framed: true,
            hot: None,
            due: None,
            timer: None,
            thread: None,
        })
    }

    /// Brings the task back to look at its signals: ends its wait, or kicks its host thread out of guest code.
    pub fn notify(self: &Arc<Self>) {
        if self.state.load(SeqCst) == USER {
            if let Some(thread) = self.thread() {
                thread.kick();
            }
        } else {
            self.clone().wake_task();
        }
    }

    pub(super) fn wake_task(self: Arc<Self>) {
        loop {
            let (from, to) = match self.state.load(Acquire) {
                BLOCKED => (BLOCKED, QUEUED),
                RUNNING => (RUNNING, WOKEN),
                _ => return,
            };
            if self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok() {
                if to == QUEUED {
                    wait::enqueue(self);
                }
                return;
            }
        }
    }

    /// Whether it waits inside a call: state S of /proc/PID/stat.
    pub fn is_blocked(&self) -> bool {
        match self.state.load(Relaxed) {
            USER => self.thread().is_some_and(|t| t.sleeps_in().is_some()),
            state => state == BLOCKED,
        }
    }

    /// The call that it waits in and its arguments: /proc/PID/syscall, wchan.
    pub fn current_call(&self) -> Option<(u32, [u64; 6])> {
        let asleep = match self.state.load(Relaxed) {
            USER => self.thread()?.sleeps_in(),
            BLOCKED => None,
            _ => return None,
        };
        let run = self.run.try_lock()?;
        let noted = run.as_ref().filter(|r| !matches!(r.phase, Phase::Kicked)).map(|r| (r.record.nr, r.record.args));
        // The kernel's record has the guest's own arguments.
        if asleep.is_some() && !run.as_ref().is_some_and(|r| matches!(r.phase, Phase::InHost)) { asleep } else { noted }
    }

    /// Runs the task until it waits, answers its guest, or is dead.
    pub(super) fn drive(self: &Arc<Self>, mut run: Box<Run>) {
        loop {
            if !run.phase.is_at_stub() && self.freezes(&mut run) {
                match self.park_frozen(run) {
                    Some(again) => run = again,
                    None => return,
                }
                continue;
            }
            if let Halt::Wait = self.halt(&mut run) {
                match self.wait_for_tracer(run) {
                    Some(again) => run = again,
                    None => return,
                }
                continue;
            }
            if matches!(run.phase, Phase::Call) {
                if !self.run_call(&mut run) {
                    match self.park(run) {
                        Some(again) => run = again,
                        None => return,
                    }
                    continue;
                }
                if self.is_traced() {
                    continue;
                }
            }
            match self.attention(&mut run) {
                Attention::None => {}
                Attention::Wait => {
                    match self.park(run) {
                        Some(again) => run = again,
                        None => return,
                    }
                    continue;
                }
                Attention::Again => continue,
                Attention::Exit => return self.end(run),
                Attention::Handler(delivery) => return self.enter_handler(run, delivery),
            }
            match std::mem::replace(&mut run.phase, Phase::Kicked) {
                // No handler runs: the call goes on as if nothing had been.
                Phase::Interrupted(_) => {
                    run.phase = Phase::Call;
                    self.trace_call();
                }
                Phase::Call => run.phase = Phase::Call,
                Phase::Leaving(value) if self.steps() => return self.step(run, Some(value)),
                Phase::AtHostWait | Phase::InHost | Phase::Kicked if self.steps() => return self.step(run, None),
                Phase::Leaving(value) => return self.leave_with(run, value),
                Phase::HostWait(wait) => return self.begin_host_wait(run, wait),
                Phase::AtHostWait | Phase::InHost | Phase::Kicked => return self.answer(run, |thread| thread.resume()),
                Phase::Read(read, on_done) => {
                    run.waits.end_call();
                    run.phase = Phase::Stub(Some(on_done));
                    return self.release_to_guest(run, |thread| thread.read(read));
                }
                phase @ (Phase::Stub(_) | Phase::Held(_)) => {
                    // The stub works; perhaps the task was woken meanwhile.
                    run.phase = phase;
                    return self.rest(run);
                }
            }
        }
    }

    /// The thread's end, when its stub has let its locks go.
    fn end(self: &Arc<Self>, mut run: Box<Run>) {
        if (self.is_dying() || self.group.ends_orderly())
            && !run.phase.is_at_stub()
            && let Some(script) = self.last_words()
            && let Some(thread) = self.thread()
            && !thread.is_gone()
        {
            run.waits.end_call();
            run.phase = Phase::Stub(Some(Box::new(|_, _, _| Next::Value(0))));
            *self.run.lock() = Some(run);
            self.state.store(USER, Release);
            thread.script(script);
            if thread.is_gone() {
                self.end_without_thread();
            }
            return;
        }
        self.exit_now(run);
    }

    /// Puts the run back and waits. Gives it back at once where something woke the task meanwhile.
    fn park(self: &Arc<Self>, mut run: Box<Run>) -> Option<Box<Run>> {
        if matches!(run.phase, Phase::Call)
            && let Some(deadline) = run.record.deadline
        {
            run.timer = Some(crate::reactor::at(deadline, self.clone()));
        }
        self.wait(run)
    }

    /// As `park`, for a task that is frozen: no deadline wakes it, and its host thread leaves the open notifications at once.
    fn park_frozen(self: &Arc<Self>, mut run: Box<Run>) -> Option<Box<Run>> {
        run.timer = None;
        let again = self.wait(run);
        let frozen = self.is_frozen_with_cgroup();
        if again.is_none() {
            if (frozen || self.group.container.freezer.is_frozen())
                && let Some(thread) = self.thread()
            {
                thread.park();
            }
            if frozen {
                self.cgroup().halted();
            }
        }
        again
    }

    /// As `park`, in a stop for its tracer: no deadline wakes it.
    fn wait_for_tracer(self: &Arc<Self>, mut run: Box<Run>) -> Option<Box<Run>> {
        run.timer = None;
        run.waits.clear();
        let again = self.wait(run);
        if again.is_none() {
            self.tell_tracer_of_stop();
        }
        again
    }

    fn wait(self: &Arc<Self>, run: Box<Run>) -> Option<Box<Run>> {
        *self.run.lock() = Some(run);
        if self.state.compare_exchange(RUNNING, BLOCKED, AcqRel, Acquire).is_ok() {
            self.counters.waited();
            if let Some(thread) = self.thread() {
                thread.blocked();
            }
            return None;
        }
        self.state.store(RUNNING, Release);
        self.run.lock().take()
    }

    /// Puts the run back and lets the stub go on. A script that returns to the guest by itself meets the kick right after.
    pub(super) fn rest(self: &Arc<Self>, run: Box<Run>) {
        *self.run.lock() = Some(run);
        self.state.store(USER, SeqCst);
        if let Some(thread) = self.thread() {
            self.fetch(&thread);
        }
    }

    /// The call's value; where its site has become hot, the stub rewrites that on the way.
    fn leave_with(self: &Arc<Self>, mut run: Box<Run>, value: i64) {
        if let Some((nr, ip)) = run.due.take()
            && !run.framed
            && let Some(thread) = self.thread()
            && let Some(ops) = self.rewrite(nr, ip)
        {
            run.waits.end_call();
            run.record.stage = None;
            run.phase = Phase::Stub(Some(Box::new(move |_, _, _| Next::Value(value))));
            thread.script(platform::Script { ops, then: platform::Then::Return(value) });
            return self.rest(run);
        }
        self.answer(run, |thread| thread.ret(value));
    }

    /// One instruction, for its tracer.
    fn step(self: &Arc<Self>, run: Box<Run>, value: Option<i64>) {
        let regs = self.thread().and_then(|thread| self.step_from(&thread, value));
        self.answer(run, |thread| match (regs, value) {
            (Some(regs), _) => thread.set_regs_resume(&regs),
            (None, Some(value)) => thread.ret(value),
            (None, None) => thread.resume(),
        });
    }

    /// Ends the stay in the kernel with an answer. What became pending after `attention` looked brings the thread back by a kick.
    pub(super) fn answer(self: &Arc<Self>, mut run: Box<Run>, answer: impl FnOnce(&Arc<Thread>)) {
        run.waits.end_call();
        run.record.stage = None;
        run.phase = Phase::Kicked;
        self.release_to_guest(run, answer);
    }

    pub(super) fn release_to_guest(self: &Arc<Self>, mut run: Box<Run>, answer: impl FnOnce(&Arc<Thread>)) {
        let Some(thread) = run.thread.take().or_else(|| self.thread()) else { return };
        *self.run.lock() = Some(run);
        self.state.store(USER, SeqCst); // before `fetch` looks whether anything is due
        self.call_back(&thread);
        answer(&thread);
        self.fetch(&thread);
    }

    /// What became pending after `attention` looked brings the thread back. One whose host process died meanwhile can't come any more.
    fn fetch(self: &Arc<Self>, thread: &Thread) {
        if !self.wants_attention() {
            return;
        }
        if thread.is_gone() && self.group.is_exiting() {
            self.end_without_thread();
        } else {
            thread.kick();
        }
    }

    /// The handler that `attention` took out: straight away where the stub holds the registers, else by way of a kick.
    fn enter_handler(self: &Arc<Self>, run: Box<Run>, mut delivery: Delivery) {
        if let Phase::Interrupted(how) = run.phase {
            delivery.result = Some(if delivery.restarts(how) { None } else { Some(Errno::EINTR.ret()) });
            delivery.nr = run.record.nr;
        } else if let Phase::HostWait(_) = run.phase {
            // Not begun, so the signal came before the call. What was begun, and was interrupted already, is not begun anew.
            delivery.result = Some(if run.record.waited { Some(Errno::EINTR.ret()) } else { None });
            delivery.nr = run.record.nr;
        } else if let Phase::AtHostWait = run.phase {
            delivery.result = Some(if delivery.restarts(Restart::Sys) { None } else { Some(Errno::EINTR.ret()) });
            delivery.nr = run.record.nr;
            delivery.at_call = true;
        } else if let Phase::Leaving(value) = run.phase {
            delivery.result = Some(Some(value));
        }
        if run.framed {
            let frame = self.make_frame(&delivery);
            self.stepped_into_handler();
            self.answer(run, |thread| thread.sigframe(frame));
        } else {
            let value = delivery.result.flatten().unwrap_or(Errno::EINTR.ret());
            self.set_delivery(Some(delivery));
            self.answer(run, |thread| thread.ret_then_kick(value));
        }
    }

    /// The guest waits in the host's futex from here on; a signal kicks it out.
    fn begin_host_wait(self: &Arc<Self>, mut run: Box<Run>, wait: platform::FutexWait) {
        run.waits.end_call();
        run.record.waited = true;
        run.phase = Phase::InHost;
        self.release_to_guest(run, |thread| thread.futex_wait(wait));
    }
}

impl Runnable for Task {
    fn run(self: Arc<Self>) {
        let _turn = Turn::begin(&self);
        let _metered = Metered::begin(&self);
        if self.state.compare_exchange(QUEUED, RUNNING, AcqRel, Acquire).is_err() {
            return;
        }
        let run = self.run.lock().take();
        if let Some(run) = run {
            self.drive(run);
        }
    }
}

impl Task {
    /// It waits in the kernel.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state.load(Acquire) == BLOCKED
    }

    /// Its guest code runs.
    pub(super) fn is_at_user(&self) -> bool {
        self.state.load(Acquire) == USER
    }

    /// Claims a task whose guest code runs, so that no event of it counts any more. False where it is in the kernel.
    pub(super) fn claim_from_user(&self) -> bool {
        self.state.compare_exchange(USER, RUNNING, AcqRel, Acquire).is_ok()
    }

    pub(super) fn mark_dead(&self) {
        self.state.store(DEAD, Release);
    }

    pub(super) fn take_run(&self) -> Option<Box<Run>> {
        self.run.lock().take()
    }
}
