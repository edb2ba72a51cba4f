//! Timers as files. timerfd_create(2).
//!
//! The reactor wakes a timer once; a periodic one is armed again when it is read, since all that expires until then is one
//! readiness. Locks: `FileState`.

use super::clock::{Clock, expirations};
use super::timers::Setting;
use crate::io::{Io, Sink};
use crate::locks::FileState;
use crate::op::{Op, fail};
use crate::reactor;
use crate::time::{Nanos, to_timespec};
use crate::vfs::{File, FileOps, Position};
use crate::wait::{Events, Queue, Wake};
use abi::Errno;
use abi::fs::OpenFlags;
use lock::Mutex;
use std::any::Any;
use std::sync::Arc;

/// A timer behind a descriptor.
pub struct TimerFd(Arc<Timer>);

struct Timer {
    clock: Clock,
    clock_id: i32,
    state: Mutex<State, FileState>,
    queue: Queue,
}

#[derive(Default)]
struct State {
    next: Option<Nanos>,
    interval: Nanos,
    flags: u32,
    /// Expirations that were counted and not read.
    ticks: u64,
    armed: Option<reactor::Timer>,
}

/// timerfd_create(2). `clock_id` is what the guest named; `flags`: O_NONBLOCK.
pub fn new_timerfd(clock: Clock, clock_id: i32, flags: OpenFlags) -> Arc<File> {
    let timer = Timer { clock, clock_id, state: Mutex::new(State::default()), queue: Queue::new() };
    File::anonymous(Arc::new(TimerFd(Arc::new(timer))), flags | OpenFlags::RDWR)
}

impl TimerFd {
    /// timerfd_settime(2): arms it for `at` (None: disarms it) and returns the old setting. `flags` are TFD_TIMER_*.
    pub fn set(&self, at: Option<Nanos>, interval: Nanos, flags: u32) -> Setting {
        let timer = &self.0;
        let now = timer.clock.now();
        let absolute = flags & abi::fds::TFD_TIMER_ABSTIME != 0;
        let mut state = timer.state.lock();
        let old = state.setting(now);
        state.next = at.map(|at| if absolute { at } else { now.saturating_add(at) });
        state.interval = interval;
        state.flags = flags;
        state.ticks = 0;
        timer.arm(&mut state);
        old
    }

    pub fn get(&self) -> Setting {
        let now = self.0.clock.now();
        self.0.state.lock().setting(now)
    }
}

impl State {
    fn setting(&self, now: Nanos) -> Setting {
        let next = self.next.and_then(|next| expirations(next, self.interval, now).1);
        Setting { left: next.map_or(0, |n| n.saturating_sub(now).max(1)), interval: self.interval }
    }

    /// Counts what has expired.
    fn advance(&mut self, now: Nanos) {
        if let Some(next) = self.next {
            let (count, next) = expirations(next, self.interval, now);
            self.ticks = self.ticks.saturating_add(count);
            self.next = next;
        }
    }
}

impl Timer {
    fn arm(self: &Arc<Self>, state: &mut State) {
        state.armed = None;
        if let Some(deadline) = state.next.and_then(|next| self.clock.deadline(next)) {
            state.armed = Some(reactor::at(deadline, self.clone()));
        }
    }
}

impl Wake for Timer {
    fn wake(self: Arc<Self>, _events: Events) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.advance(now);
        if state.ticks == 0 {
            self.arm(&mut state);
            return;
        }
        drop(state);
        self.queue.wake(Events::IN);
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        let armed = self.0.state.lock().armed.take();
        drop(armed);
    }
}

impl FileOps for TimerFd {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if to.left() < 8 {
            return fail(Errno::EINVAL);
        }
        let ticks = io.wait_for(&self.0.queue, Events::IN, || {
            let now = self.0.clock.now();
            let mut state = self.0.state.lock();
            state.advance(now);
            let ticks = std::mem::take(&mut state.ticks);
            if ticks > 0 {
                self.0.arm(&mut state);
            }
            Ok(Some(ticks).filter(|t| *t > 0))
        })?;
        to.put(&ticks.to_le_bytes())
    }

    fn ready(&self, want: Events) -> Events {
        let now = self.0.clock.now();
        let mut state = self.0.state.lock();
        state.advance(now);
        if state.ticks > 0 { want & Events::IN } else { Events::empty() }
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.0.queue)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[timerfd]".into())
    }

    fn fdinfo(&self) -> String {
        let Setting { left, interval } = self.get();
        let (left, interval) = (to_timespec(left), to_timespec(interval));
        let state = self.0.state.lock();
        format!(
            "clockid: {}\nticks: {}\nsettime flags: {:02o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.0.clock_id, state.ticks, state.flags, left.tv_sec, left.tv_nsec, interval.tv_sec, interval.tv_nsec
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
