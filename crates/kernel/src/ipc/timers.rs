//! Timers of a process that send signals: interval timers and POSIX timers. setitimer(2), timer_create(2).
//!
//! A timer has at most one signal pending; what expires meanwhile is counted in it as overrun. Locks: `PosixTimers`, for the table
//! and for each timer, one at a time.

use super::clock::{Clock, expirations};
use super::cpu_share::{self, Shares};
use crate::locks::PosixTimers;
use crate::op::{Op, fail};
use crate::reactor;
use crate::signal::{SIGALRM, SIGPROF, SIGVTALRM, SigInfo};
use crate::task::{GroupState, GroupTimers, Resource, Task, ThreadGroup, send, send_to_process};
use crate::time::{Deadline, Nanos};
use crate::wait::{Events, Wake};
use abi::Errno;
use lock::Mutex;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Who is told of an expiry.
pub enum Notify {
    /// Nobody: the timer is asked.
    None,
    /// The process, with SI_TIMER.
    Process { sig: i32, value: u64 },
    /// One of its threads.
    Thread { task: Weak<Task>, sig: i32, value: u64 },
    /// An interval timer: the process, by the kernel.
    Interval { sig: i32 },
}

/// One timer.
pub struct Timer {
    id: i32,
    group: Weak<ThreadGroup>,
    clock: Clock,
    notify: Notify,
    state: Mutex<State, PosixTimers>,
}

#[derive(Default)]
struct State {
    /// When it expires, by its clock.
    next: Option<Nanos>,
    interval: Nanos,
    /// Expirations beyond the one that the last signal told of.
    overrun: u64,
    /// Of the signal before that one: the last that was taken, while that one is pending.
    taken: u64,
    armed: Option<reactor::Timer>,
    /// Of a clock that counts a process' CPU time.
    shares: Shares,
}

/// What timer_gettime(2) tells: ns until the next expiry (0: disarmed), and the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    pub left: Nanos,
    pub interval: Nanos,
}

/// The timers of a process.
#[derive(Default)]
pub struct Timers(Mutex<Table, PosixTimers>);

#[derive(Default)]
struct Table {
    next_id: i32,
    posix: BTreeMap<i32, Arc<Timer>>,
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    interval: [Option<Arc<Timer>>; 3],
}

impl Timers {
    /// The process' timers, made when first asked for.
    pub fn of(group: &ThreadGroup) -> Op<Arc<Timers>> {
        let timers = group.timers.get_or_init(|| Arc::new(Timers::default())).clone();
        timers.into_any().downcast().map_err(|_| Errno::EINVAL.into())
    }

    /// timer_create(2): EAGAIN beyond RLIMIT_SIGPENDING of them. `make` gets the timer's number.
    pub fn create(&self, group: &Arc<ThreadGroup>, clock: Clock, make: impl FnOnce(i32) -> Notify) -> Op<i32> {
        let limit = group.limit(Resource::Sigpending).min(1 << 16) as usize;
        let mut table = self.0.lock();
        if table.posix.len() >= limit {
            return fail(Errno::EAGAIN);
        }
        let mut id = table.next_id;
        while table.posix.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(0);
        }
        table.next_id = id.checked_add(1).unwrap_or(0);
        let timer = Timer::new(id, group, clock, make(id));
        table.posix.insert(id, timer);
        Ok(id)
    }

    /// EINVAL for an unknown number.
    pub fn get(&self, id: i32) -> Op<Arc<Timer>> {
        self.0.lock().posix.get(&id).cloned().ok_or(Errno::EINVAL.into())
    }

    pub fn delete(&self, id: i32) -> Op<()> {
        let timer = self.0.lock().posix.remove(&id).ok_or(Errno::EINVAL)?;
        timer.disarm();
        Ok(())
    }

    /// An interval timer by ITIMER_*; EINVAL for others.
    pub fn interval(&self, group: &Arc<ThreadGroup>, which: usize) -> Op<Arc<Timer>> {
        let (sig, clock) = match which {
            0 => (SIGALRM, Clock::Monotonic),
            1 => (SIGVTALRM, Clock::User(Arc::downgrade(group))),
            2 => (SIGPROF, Clock::Process(Arc::downgrade(group))),
            _ => return fail(Errno::EINVAL),
        };
        let mut table = self.0.lock();
        let slot = table.interval.get_mut(which).ok_or(Errno::EINVAL)?;
        Ok(slot.get_or_insert_with(|| Timer::new(-1, group, clock, Notify::Interval { sig })).clone())
    }
}

impl GroupTimers for Timers {
    fn exec(&self) {
        let all = std::mem::take(&mut self.0.lock().posix);
        for timer in all.values() {
            timer.disarm();
        }
    }

    fn exit(&self) {
        self.exec();
        let all = std::mem::take(&mut self.0.lock().interval);
        for timer in all.iter().flatten() {
            timer.disarm();
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Timer {
    fn new(id: i32, group: &Arc<ThreadGroup>, clock: Clock, notify: Notify) -> Arc<Timer> {
        let state = Mutex::new(State::default());
        Arc::new(Timer { id, group: Arc::downgrade(group), clock, notify, state })
    }

    pub fn id(&self) -> i32 {
        self.id
    }

    /// Arms it for `at` of its clock (None: disarms it) and returns what was set. `absolute` or counted from now.
    pub fn set(self: &Arc<Self>, at: Option<Nanos>, interval: Nanos, absolute: bool) -> Setting {
        let now = self.clock.now();
        let threads = self.threads();
        let mut state = self.state.lock();
        state.shares.begin(&threads);
        let old = Self::setting(&state, now);
        state.next = at.map(|at| if absolute { at } else { now.saturating_add(at) });
        state.interval = interval;
        (state.overrun, state.taken) = (0, 0);
        self.arm(&mut state, 0);
        old
    }

    pub fn get(&self) -> Setting {
        let now = self.clock.now();
        Self::setting(&self.state.lock(), now)
    }

    /// timer_getoverrun(2): of the last signal that was taken.
    pub fn overrun(&self) -> i32 {
        let pending = self.has_pending();
        let state = self.state.lock();
        let overrun = if pending { state.taken } else { state.overrun };
        overrun.min(i32::MAX as u64) as i32
    }

    fn has_pending(&self) -> bool {
        let Some(group) = self.group.upgrade() else { return false };
        match &self.notify {
            Notify::None | Notify::Interval { .. } => false,
            Notify::Process { sig, .. } => group.signals.lock().pending.add_overrun(*sig, self.id, 0),
            Notify::Thread { task, sig, .. } => {
                task.upgrade().is_some_and(|t| t.signals.lock().pending.add_overrun(*sig, self.id, 0))
            }
        }
    }

    fn setting(state: &State, now: Nanos) -> Setting {
        let left = state.next.and_then(|next| expirations(next, state.interval, now).1).map_or(0, |next| {
            // 0 would say that it is disarmed.
            next.saturating_sub(now).max(1)
        });
        Setting { left, interval: state.interval }
    }

    fn disarm(&self) {
        let armed = {
            let mut state = self.state.lock();
            state.next = None;
            state.armed.take()
        };
        drop(armed);
    }

    /// Has it woken at its next expiry, but not within `rest` ns.
    fn arm(self: &Arc<Self>, state: &mut State, rest: Nanos) {
        state.armed = None;
        let Some(deadline) = state.next.and_then(|next| self.clock.deadline(next)) else { return };
        state.armed = Some(reactor::at(deadline.max(Deadline::after(rest)), self.clone()));
    }

    /// Whose CPU time its clock counts, where it is that of a process.
    fn threads(&self) -> Vec<(Arc<Task>, Nanos)> {
        match &self.clock {
            Clock::Process(group) | Clock::User(group) => {
                group.upgrade().map_or_else(Vec::new, |group| cpu_share::threads(&group))
            }
            _ => Vec::new(),
        }
    }

    /// Tells of `count` expirations. False: nobody is there any more.
    fn fire(&self, count: u64) -> Told {
        let Some(group) = self.group.upgrade().filter(|g| g.state() == GroupState::Alive) else { return Told::Gone };
        let (thread, sig, value) = match &self.notify {
            Notify::None => return Told::New,
            Notify::Interval { sig } => {
                send_to_process(&group, self.worker().as_ref(), SigInfo::kernel(*sig));
                return Told::New;
            }
            Notify::Process { sig, value } => (None, *sig, *value),
            Notify::Thread { task, sig, value } => match task.upgrade().filter(|t| t.exit_status.get().is_none()) {
                Some(task) => (Some(task), *sig, *value),
                None => return Told::Gone,
            },
        };
        let mut signals = group.signals.lock();
        let still = match &thread {
            Some(task) => task.signals.lock().pending.add_overrun(sig, self.id, count),
            None => signals.pending.add_overrun(sig, self.id, count),
        };
        drop(signals);
        if still {
            return Told::Added;
        }
        let more = (count - 1).min(i32::MAX as u64) as i32;
        let info = SigInfo::timer(sig, self.id, more, value);
        match &thread {
            Some(task) => send(&group, Some(task), info),
            None => send_to_process(&group, self.worker().as_ref(), info),
        };
        Told::New
    }

    /// Who has the CPU time that has just been counted.
    fn worker(&self) -> Option<Arc<Task>> {
        let threads = self.threads();
        self.state.lock().shares.next(&threads)
    }
}

enum Told {
    /// A new signal.
    New,
    /// The last signal has not been taken yet.
    Added,
    Gone,
}

impl Wake for Timer {
    fn wake(self: Arc<Self>, _events: Events) {
        let count = {
            let now = self.clock.now();
            let mut state = self.state.lock();
            let Some(next) = state.next else { return };
            let (count, next) = expirations(next, state.interval, now);
            state.next = next;
            if count == 0 {
                self.arm(&mut state, 0);
                return;
            }
            count
        };
        let told = self.fire(count);
        let mut state = self.state.lock();
        // An interval that is shorter than what it takes to tell is counted, not told.
        let rest = match told {
            Told::New => {
                state.taken = state.overrun;
                state.overrun = count - 1;
                50_000
            }
            Told::Added => {
                state.overrun = state.overrun.saturating_add(count);
                1_000_000
            }
            Told::Gone => {
                state.next = None;
                0
            }
        };
        self.arm(&mut state, rest);
    }
}
