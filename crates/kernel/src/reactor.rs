//! The reactor: one thread that waits for timers and for host files (donated terminals, pipes, sockets).
//!
//! Arming a timer is one host call and wakes nobody: the thread sleeps in epoll on a timerfd. What it wakes runs on its own run
//! queue. Locks: `Timers`. Neighbours: `time`, `wait`; `host::epoll` has the host's side.

use crate::io::Io;
use crate::locks::Timers as TimersClass;
use crate::op::{Restart, Stop};
use crate::time::{Deadline, Nanos};
use crate::wait::{self, Events, Wake};
use host::HostFd;
use host::epoll::{Epoll, TimerFd};
use lock::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

#[derive(Default)]
struct State {
    next_id: u64,
    timers: BTreeMap<(Deadline, u64), Arc<dyn Wake>>,
    files: HashMap<u64, Arc<dyn Wake>>,
}

struct Reactor {
    epoll: Epoll,
    timer: TimerFd,
    state: Mutex<State, TimersClass>,
}

static REACTOR: OnceLock<Reactor> = OnceLock::new();
const TIMER_TOKEN: u64 = 0;

/// Makes the reactor's descriptors; before lock-down. `run` is to be called on a thread of its own later.
pub fn init() -> Result<(), abi::Errno> {
    let epoll = Epoll::new()?;
    let timer = TimerFd::new()?;
    epoll.add(timer.fd(), TIMER_TOKEN, Events::IN.bits())?;
    let state = State { next_id: 1, ..State::default() };
    let _ = REACTOR.set(Reactor { epoll, timer, state: Mutex::new(state) });
    Ok(())
}

/// The reactor thread's body.
pub fn run() {
    let Some(reactor) = REACTOR.get() else { return };
    let mut ready = Vec::new();
    loop {
        ready.clear();
        reactor.epoll.wait(&mut ready);
        for &(token, events) in &ready {
            if token == TIMER_TOKEN {
                reactor.expire();
                continue;
            }
            let target = reactor.state.lock().files.get(&token).cloned();
            if let Some(target) = target {
                target.wake(Events::from_bits_truncate(events));
            }
        }
        while wait::drain() {}
        platform::flush();
    }
}

impl Reactor {
    fn expire(&self) {
        self.timer.acknowledge();
        let now = Deadline(crate::time::monotonic());
        let mut due = Vec::new();
        {
            let mut state = self.state.lock();
            while let Some(entry) = state.timers.first_entry().filter(|e| e.key().0 <= now) {
                due.push(entry.remove());
            }
            if let Some((first, _)) = state.timers.keys().next() {
                self.timer.arm(first.0);
            }
        }
        for target in due {
            target.wake(Events::empty());
        }
    }
}

/// A timer that has not expired; dropping it cancels it.
pub struct Timer {
    key: (Deadline, u64),
}

/// Wakes `target` at `deadline`, once.
pub fn at(deadline: Deadline, target: Arc<dyn Wake>) -> Timer {
    let Some(reactor) = REACTOR.get() else { return Timer { key: (deadline, 0) } };
    let mut state = reactor.state.lock();
    let id = state.next_id;
    state.next_id += 1;
    let key = (deadline, id);
    state.timers.insert(key, target);
    if state.timers.keys().next() == Some(&key) {
        // Zero would disarm it.
        reactor.timer.arm(deadline.0.max(1));
    }
    Timer { key }
}

/// For what no wake-up tells of: the call is run again a little later. EAGAIN where it may not wait.
pub fn again(io: &mut Io<'_>, after: Nanos) -> Stop {
    if io.nonblock {
        return abi::Errno::EAGAIN.into();
    }
    if io.interrupted() {
        return Stop::Restart(Restart::Sys);
    }
    let Some(waits) = io.waits() else { return abi::Errno::EAGAIN.into() };
    let timer = at(Deadline::after(after), waits.target().clone());
    waits.hold(Box::new(timer));
    Stop::Block
}

impl Drop for Timer {
    fn drop(&mut self) {
        let target = REACTOR.get().and_then(|r| r.state.lock().timers.remove(&self.key));
        drop(target);
    }
}

/// A host file that is watched, edge-triggered; dropping it ends that.
pub struct Watch {
    token: u64,
    fd: Arc<HostFd>,
}

/// Wakes `target` whenever the host says that `fd` became ready for `events`.
pub fn watch(fd: &Arc<HostFd>, events: Events, target: Arc<dyn Wake>) -> Result<Watch, abi::Errno> {
    let reactor = REACTOR.get().ok_or(abi::Errno::ENOSYS)?;
    let token = {
        let mut state = reactor.state.lock();
        let token = state.next_id;
        state.next_id += 1;
        state.files.insert(token, target);
        token
    };
    let edge = 1u32 << 31;
    if let Err(e) = reactor.epoll.add(fd, token, events.bits() | edge) {
        reactor.state.lock().files.remove(&token);
        return Err(e);
    }
    Ok(Watch { token, fd: fd.clone() })
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(reactor) = REACTOR.get() {
            let _ = reactor.epoll.remove(&self.fd);
            let target = reactor.state.lock().files.remove(&self.token);
            drop(target);
        }
    }
}
