//! Births without a listener: the filter lets nobody clone but a thread that is traced, and a thread is traced for one clone call that was ordered (docs/adr/0008).
//!
//! The host stops the thread at the call, with registers that nobody can change; it names the child, which starts stopped; and a new process is held until it has closed all that it inherited.
//! A thread of ours does one birth at a time, and sleeps in it as long as the guest likes; a process has one birth at a time, so it holds one thread of ours at most.
//! Neighbours: `perform` and `birth` (order), `socket` (believes what is found out here). Owns the lock of the orders.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use abi::Errno;
use host::ptrace::{self, Call, Stop, Until};

use crate::core::{Core, Kind};
use crate::guest::Event;
use crate::outgoing::{Out, queue};
use crate::shard::Shard;
use crate::state::{At, Grant};
use crate::sync::{Births, Mutex, lock};
use crate::thread::Thread;

const CLONE: u64 = 56;
const CLOSE_RANGE: u64 = 436;
/// What the host's fork says when it wants to be called again, and no program ever sees.
const ERESTARTNOINTR: i64 = -513;
/// What a new process closes first: all but the doorbell's socket.
const CLOSED: [u64; 3] = [1, u32::MAX as u64, 0];
/// Threads that are kept for the next births.
const IDLE: usize = 2;
/// So many births at once, from the order to the first doorbell, not counting those that take longer than `USUAL`: the host makes processes faster than a worker receives them, which
/// would choke on a fork bomb.
const AT_ONCE: usize = 4;
const USUAL: Duration = Duration::from_millis(10);

/// A birth that is ordered: a thread's, or a zygote's.
pub(crate) struct Order {
    pub shard: &'static Shard,
    pub pid: i32,
    pub tid: i32,
    /// None: a zygote's.
    pub parent: Option<Arc<Thread>>,
    pub grant: Grant,
    pub kind: Kind,
    pub cookie: [u64; 2],
    /// Lets the thread go to its clone call.
    pub park: &'static AtomicU32,
}

#[derive(Default)]
pub(crate) struct Tracer(Mutex<Orders, Births>);

#[derive(Default)]
struct Orders {
    ready: VecDeque<Order>,
    /// By the process that has a birth now, or stands in `ready`.
    waiting: HashMap<i32, VecDeque<Order>>,
    /// Births that are under way: their cookies, and since when.
    begun: Vec<([u64; 2], Instant)>,
    /// Threads of ours without work.
    idle: Vec<&'static AtomicU32>,
}

/// How a birth went wrong, if it did.
enum Wrong {
    /// Nothing was begun: the thread waits as before.
    Refused(Errno),
    /// It does not do what was ordered.
    Violation(&'static str),
    /// It has ended, or its child has.
    Gone,
}

impl From<Errno> for Wrong {
    fn from(e: Errno) -> Wrong {
        match e {
            Errno::ESRCH | Errno::ECHILD => Wrong::Gone,
            _ => Wrong::Violation("it cannot be traced any more"),
        }
    }
}

impl Tracer {
    /// Begins a birth, or has it wait for another one of the process.
    pub fn order(core: &'static Core, order: Order) {
        let mut orders = lock(&core.tracer.0);
        match orders.waiting.get_mut(&order.pid) {
            Some(waiting) => return waiting.push_back(order),
            None => drop(orders.waiting.insert(order.pid, VecDeque::new())),
        }
        orders.ready.push_back(order);
        drop(orders);
        Tracer::look(core);
    }

    /// Puts one more thread of ours to work, if there is work and too few are at it. Called by the keeper, too, while children are awaited; true if some order waits.
    pub fn look(core: &'static Core) -> bool {
        let mut orders = lock(&core.tracer.0);
        orders.begun.retain(|b| b.1.elapsed() < USUAL);
        if orders.ready.is_empty() || orders.begun.len() >= AT_ONCE {
            return !orders.ready.is_empty();
        }
        let idle = orders.idle.pop();
        drop(orders);
        if let Some(word) = idle {
            word.store(1, Ordering::Release);
            host::futex::wake(word, 1);
            return true;
        }
        let started = std::thread::Builder::new().name("tracer".into()).stack_size(256 << 10).spawn(move || run(core));
        if started.is_err() {
            let order = lock(&core.tracer.0).ready.pop_front();
            if let Some(order) = order {
                refused(core, &order, Errno::EAGAIN);
                done(core, order.pid);
            }
        }
        true
    }

    /// The child has rung, or will not.
    pub fn is_born(core: &'static Core, cookie: [u64; 2]) {
        lock(&core.tracer.0).begun.retain(|b| b.0 != cookie);
        Tracer::look(core);
    }
}

fn run(core: &'static Core) {
    let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    loop {
        let order = {
            let mut orders = lock(&core.tracer.0);
            let order = if orders.begun.len() < AT_ONCE { orders.ready.pop_front() } else { None };
            orders.begun.extend(order.as_ref().map(|order| (order.cookie, Instant::now())));
            order
        };
        if let Some(order) = order {
            let outcome = deliver(core, &order);
            let will_ring = outcome.is_ok();
            match outcome {
                Ok(()) | Err(Wrong::Gone) => {}
                Err(Wrong::Refused(e)) => refused(core, &order, e),
                Err(Wrong::Violation(what)) => {
                    core.violation(order.tid, what);
                    queue(Out::Kill(order.pid));
                }
            }
            done(core, order.pid);
            if !will_ring {
                Tracer::is_born(core, order.cookie);
            }
            crate::worker::settle();
            continue;
        }
        {
            let mut orders = lock(&core.tracer.0);
            if !orders.ready.is_empty() && orders.begun.len() < AT_ONCE {
                continue;
            }
            if orders.idle.len() >= IDLE {
                return;
            }
            orders.idle.push(word);
        }
        while word.load(Ordering::Acquire) == 0 {
            host::futex::wait(word, 0, None);
        }
        word.store(0, Ordering::Relaxed);
    }
}

/// The process may have its next birth.
fn done(core: &Core, pid: i32) {
    let mut orders = lock(&core.tracer.0);
    match orders.waiting.get_mut(&pid).and_then(VecDeque::pop_front) {
        Some(next) => orders.ready.push_back(next),
        None => drop(orders.waiting.remove(&pid)),
    }
}

fn deliver(core: &Core, order: &Order) -> Result<(), Wrong> {
    let is_its_own = || host::process::tgkill(order.pid, order.tid, 0).is_ok();
    if !is_its_own() {
        return Err(Wrong::Gone);
    }
    ptrace::seize(order.tid).map_err(|e| if e == Errno::ESRCH { Wrong::Gone } else { Wrong::Refused(e) })?;
    if !is_its_own() {
        // The thread ended just now, and its number is another one's.
        ptrace::release(order.tid)?;
        return Err(Wrong::Gone);
    }
    if let Some(parent) = &order.parent {
        parent.bind();
    }
    order.park.store(1, Ordering::Release);
    // SAFETY: mailboxes are never unmapped.
    unsafe { host::futex::wake_shared(order.park, 1) };
    let mut called = false;
    loop {
        let until = if called { Until::Call } else { Until::Event };
        match ptrace::wait(order.tid)? {
            Stop::Seccomp if !called => {
                match ptrace::call(order.tid)? {
                    Call::Before { nr: CLONE, args } if order.grant.allows(args) => called = true,
                    _ => return Err(Wrong::Violation("clone without a grant")),
                }
                ptrace::resume(order.tid, Until::Call, 0)?;
            }
            Stop::Child(child) if called => {
                if let Some(newborn) = lock(&core.newborns).get_mut(&order.cookie) {
                    newborn.tid = Some(child);
                }
                // From here on it may ring.
                order.over();
                let parent = ptrace::detach(order.tid);
                hold(order, child)?;
                return Ok(parent?);
            }
            Stop::Call if called => match ptrace::call(order.tid)? {
                // The host was disturbed (by its freezer, say), and makes the call again.
                Call::Behind { value: ERESTARTNOINTR } => {
                    called = false;
                    ptrace::resume(order.tid, Until::Event, 0)?;
                }
                // It made no child: the thread reports that.
                _ => {
                    order.over();
                    return Ok(ptrace::detach(order.tid)?);
                }
            },
            Stop::Signal(signal) => ptrace::resume(order.tid, until, signal)?,
            Stop::Asked => ptrace::resume(order.tid, until, 0)?,
            Stop::Gone => return Err(Wrong::Gone),
            Stop::Seccomp | Stop::Child(_) | Stop::Call => return Err(Wrong::Violation("clone without a grant")),
        }
    }
}

/// Lets a thread go; a process not before it has closed what it inherited.
fn hold(order: &Order, child: i32) -> Result<(), Wrong> {
    match ptrace::wait(child)? {
        Stop::Asked => {}
        Stop::Gone => return Err(Wrong::Gone), // the keeper will miss it
        _ => return Err(Wrong::Violation("a child that does not begin as it should")),
    }
    if matches!(order.kind, Kind::Thread { .. }) {
        return Ok(ptrace::detach(child)?);
    }
    for behind in [false, true] {
        ptrace::resume(child, Until::Call, 0)?;
        let kept = match ptrace::wait(child)? {
            Stop::Call => match ptrace::call(child)? {
                Call::Before { nr: CLOSE_RANGE, args } => !behind && args.starts_with(&CLOSED),
                Call::Behind { value } => behind && value == 0,
                _ => false,
            },
            Stop::Gone => return Err(Wrong::Gone),
            _ => false,
        };
        if !kept {
            let _ = host::process::kill(child, libc::SIGKILL);
            return Err(Wrong::Violation("a child that does not close what it inherited"));
        }
    }
    Ok(ptrace::detach(child)?)
}

impl Order {
    /// The thread may ring again.
    fn over(&self) {
        if let Some(parent) = &self.parent {
            lock(&parent.state).grant = None;
        }
    }
}

/// The birth was not begun, so the thread waits for another answer; the zygote, for another order.
fn refused(core: &'static Core, order: &Order, errno: Errno) {
    core.trace(|| format!("{}: no birth: {errno}", order.tid));
    let newborn = core.expected(order.cookie);
    let Some(parent) = &order.parent else {
        eprintln!("stockade: no new process: ptrace: {errno}");
        return order.shard.not_ordered(order.pid, newborn);
    };
    if let Kind::Thread { slot } = order.kind {
        parent.space.return_slot(slot);
    }
    let guest = {
        let mut st = lock(&parent.state);
        if matches!(st.at, At::Gone) {
            return;
        }
        st.at = At::Parked;
        (st.birth, st.grant, st.result_due) = (None, None, false);
        if let Some(newborn) = newborn {
            newborn.give_up(&st);
        }
        st.guest.clone()
    };
    if let Some(guest) = guest {
        guest.event(parent, Event::Done { result: -i64::from(Errno::EAGAIN.code()), at: 0 });
    }
}
