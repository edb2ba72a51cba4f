//! The task loop: runs a task's calls, waits, and answers the guest.
//!
//! A task is in one of five states. The platform's events and wake-ups race; the state decides who runs it:
//! USER (guest code runs), RUNNING (a host thread is in `drive`), WOKEN (as RUNNING, and something woke it meanwhile), BLOCKED (its
//! `Run` waits), QUEUED (on somebody's run queue), DEAD. Only who moves it to RUNNING touches its `Run`.

use super::Task;
use super::attention::{Attention, Delivery};
use super::watchdog::{self, Turn};
use crate::call::{Call, Next, OnDone, Record, Ret, StubWork};
use crate::mm::Hot;
use crate::mm::untouched::{self, Left};
use crate::op::{Restart, Stop};
use crate::reactor::Timer;
use crate::signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SigInfo};
use crate::wait::{self, Interrupt, Runnable, Waits};
use abi::Errno;
use platform::{Event, Guest, Thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// The call has its value once the stub has written what was left to it.
fn written_by_stub(left: Left, value: i64) -> StubWork {
    let again = left.again;
    let on_done: OnDone = Box::new(move |_, result, _| match result {
        ..0 => Next::Value(result),
        _ if again => Next::Again,
        _ => Next::Value(value),
    });
    StubWork::Script { script: platform::Script { ops: left.into_ops(), then: platform::Then::Report }, on_done }
}

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

pub(super) const USER: u8 = 0;
pub(super) const RUNNING: u8 = 1;
const WOKEN: u8 = 2;
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
    /// No call: the thread was brought in by a kick or a fault, or is new.
    Kicked,
    /// rt_sigreturn: as `Kicked`, the registers count.
    /// The stub works; what becomes of its report.
    Stub(Option<OnDone>),
}

/// What is kept while a task is in the kernel.
pub struct Run {
    pub record: Record,
    pub waits: Waits,
    pub phase: Phase,
    /// The stub holds all registers, so every answer is possible.
    pub framed: bool,
    /// Of the address space that it had at its first call: a program that took its place has the same table.
    hot: Option<Arc<Hot>>,
    /// The call's site has become hot.
    due: Option<u64>,
    /// Ends the wait at the record's deadline.
    timer: Option<Timer>,
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
        })
    }

    /// Brings the task back to look at its signals: ends its wait, or kicks its host thread out of guest code.
    pub fn notify(self: &Arc<Self>) {
        if self.state.load(Acquire) == USER {
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

    /// Takes the run for an event from the guest; None where the task is dead or the guest broke the rules.
    fn enter(self: &Arc<Self>) -> Option<Box<Run>> {
        if self.state.compare_exchange(USER, RUNNING, AcqRel, Acquire).is_err() {
            return None;
        }
        let run = self.run.lock().take();
        run.or_else(|| Some(self.new_run()))
    }

    /// Begins a call.
    fn begin(self: &Arc<Self>, run: &mut Run, nr: u32, args: [u64; 6], ip: u64, framed: bool) {
        if !framed && let Some(after) = self.kernel.platform.hot_after() {
            if run.hot.is_none() {
                run.hot = self.mm().map(|mm| mm.hot.clone());
            }
            let hot = run.hot.as_ref().is_some_and(|hot| hot.called(after, nr, ip));
            run.due = hot.then_some(ip);
        }
        run.record.nr = nr;
        run.record.args = args;
        run.record.done = 0;
        run.record.deadline = None;
        run.record.stage = None;
        run.record.waited = false;
        run.phase = Phase::Call;
        run.framed = framed;
        self.calls.fetch_add(1, Relaxed);
        if let Some(count) = self.kernel.calls.get(nr as usize) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(tracer) = self.kernel.tracer.get() {
            tracer.enter(self, nr, &args);
        }
    }

    /// Runs the task until it waits, answers its guest, or is dead.
    pub(super) fn drive(self: &Arc<Self>, mut run: Box<Run>) {
        loop {
            if !matches!(run.phase, Phase::Stub(_)) && self.freezes(&mut run) {
                match self.park_frozen(run) {
                    Some(again) => run = again,
                    None => return,
                }
                continue;
            }
            if matches!(run.phase, Phase::Call) && !self.run_call(&mut run) {
                match self.park(run) {
                    Some(again) => run = again,
                    None => return,
                }
                continue;
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
                Attention::Exit => return self.end(run),
                Attention::Handler(delivery) => return self.enter_handler(run, delivery),
            }
            match std::mem::replace(&mut run.phase, Phase::Kicked) {
                // No handler runs: the call goes on as if nothing had been.
                Phase::Interrupted(_) => run.phase = Phase::Call,
                Phase::Call => run.phase = Phase::Call,
                Phase::Leaving(value) => return self.leave_with(run, value),
                Phase::HostWait(wait) => return self.begin_host_wait(run, wait),
                Phase::AtHostWait | Phase::InHost | Phase::Kicked => return self.answer(run, |thread| thread.resume()),
                Phase::Stub(on_done) => {
                    // Only reached when the task was woken while the stub works: go on waiting for it.
                    run.phase = Phase::Stub(on_done);
                    return self.rest(run);
                }
            }
        }
    }

    /// The thread's end, when its stub has let its locks go.
    fn end(self: &Arc<Self>, mut run: Box<Run>) {
        if (self.is_dying() || self.group.ends_orderly())
            && !matches!(run.phase, Phase::Stub(_))
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
        if again.is_none() {
            if let Some(thread) = self.thread() {
                thread.park();
            }
            if self.group.cgroup_frozen.load(Acquire) {
                self.group.cgroup().halted();
            }
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
    fn rest(self: &Arc<Self>, run: Box<Run>) {
        *self.run.lock() = Some(run);
        self.state.store(USER, Release);
        if let Some(thread) = self.thread() {
            self.fetch(&thread);
        }
    }

    /// The call's value; where its site has become hot, the stub rewrites that on the way.
    fn leave_with(self: &Arc<Self>, mut run: Box<Run>, value: i64) {
        if let Some(ip) = run.due.take()
            && !run.framed
            && let Some(thread) = self.thread()
            && let Some(ops) = self.rewrite(ip)
        {
            run.waits.end_call();
            run.record.stage = None;
            run.phase = Phase::Stub(Some(Box::new(move |_, _, _| Next::Value(value))));
            thread.script(platform::Script { ops, then: platform::Then::Return(value) });
            return self.rest(run);
        }
        self.answer(run, |thread| thread.ret(value));
    }

    /// Ends the stay in the kernel with an answer. What became pending after `attention` looked brings the thread back by a kick.
    fn answer(self: &Arc<Self>, mut run: Box<Run>, answer: impl FnOnce(&Arc<Thread>)) {
        run.waits.end_call();
        run.record.stage = None;
        run.phase = Phase::Kicked;
        self.release_to_guest(run, answer);
    }

    fn release_to_guest(self: &Arc<Self>, run: Box<Run>, answer: impl FnOnce(&Arc<Thread>)) {
        let Some(thread) = self.thread() else { return };
        *self.run.lock() = Some(run);
        self.state.store(USER, Release);
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

    /// Runs the handler once. False: it waits.
    fn run_call(self: &Arc<Self>, run: &mut Run) -> bool {
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
        let _ = self.state.compare_exchange(WOKEN, RUNNING, AcqRel, Acquire);
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
            Ok(_) => Some(0),
        };
        if let Some(tracer) = self.kernel.tracer.get() {
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
            Ok(Ret::Stub(work)) => self.start_stub_work(*work),
        };
        if !matches!(run.phase, Phase::Call) {
            run.waits.clear();
        }
        true
    }

    fn start_stub_work(self: &Arc<Self>, work: StubWork) -> Phase {
        let Some(thread) = self.thread() else { return Phase::Leaving(Errno::ESRCH.ret()) };
        match work {
            StubWork::Script { script, on_done } => {
                thread.script(script);
                Phase::Stub(Some(on_done))
            }
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
            self.answer(run, |thread| thread.sigframe(frame));
        } else {
            let value = delivery.result.flatten().unwrap_or(Errno::EINTR.ret());
            self.set_delivery(Some(delivery));
            self.answer(run, |thread| thread.ret_then_kick(value));
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

    /// The guest waits in the host's futex from here on; a signal kicks it out.
    fn begin_host_wait(self: &Arc<Self>, mut run: Box<Run>, wait: platform::FutexWait) {
        run.waits.end_call();
        run.record.waited = true;
        run.phase = Phase::InHost;
        self.release_to_guest(run, |thread| thread.futex_wait(wait));
    }

    /// What became of such a wait, when the thread comes back.
    fn host_wait_over(self: &Arc<Self>, mut run: Box<Run>) {
        let Some(result) = self.thread().and_then(|t| t.wait_result()) else { return self.kicked(run) };
        run.framed = true;
        run.phase =
            if result == Errno::EINTR.ret() { Phase::Interrupted(Restart::Block) } else { Phase::Leaving(result) };
        self.drive(run);
    }

    fn stub_done(self: &Arc<Self>, mut run: Box<Run>, result: i64, at: u32) {
        match std::mem::replace(&mut run.phase, Phase::Kicked) {
            Phase::Stub(Some(on_done)) => {
                run.phase = match on_done(self, result, at) {
                    Next::Value(value) => Phase::Leaving(value),
                    Next::Again => Phase::Call,
                };
                run.framed = true;
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

impl Guest for Task {
    fn born(self: Arc<Self>, thread: Arc<Thread>) {
        let _turn = Turn::begin(&self);
        self.adopt_thread(&thread);
        self.start(thread);
    }

    fn event(self: Arc<Self>, _thread: &Arc<Thread>, event: Event) {
        let _turn = Turn::begin(&self);
        let Some(mut run) = self.enter() else { return };
        match event {
            Event::Syscall { nr, args, ip, framed } => {
                self.begin(&mut run, nr, args, ip, framed);
                self.drive(run);
            }
            Event::Kicked => {
                if let Phase::Stub(None) = run.phase {
                    // `want_frame` brought it: now the call can run.
                    run.phase = Phase::Call;
                    run.framed = true;
                    return self.drive(run);
                }
                if let Phase::InHost = run.phase {
                    return self.host_wait_over(run);
                }
                self.kicked(run);
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
        self.host_thread_gone(status);
    }
}

impl Runnable for Task {
    fn run(self: Arc<Self>) {
        let _turn = Turn::begin(&self);
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
