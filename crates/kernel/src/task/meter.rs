//! System time: what the kernel process uses for tasks. times(2).
//!
//! Each host thread that runs tasks has a meter. It reads the processor's counter at both ends of a task's turn, and from time to time the host's clock of the thread: what that has counted besides (doorbells received, answers sent) is charged to whom the thread is just working for, as a
//! tick would; what it has not counted (the thread slept, or somebody else had the core) is charged to nobody. So all tasks together are charged what the threads use.
//! The poller's thread looks at mailboxes in vain, too, which is nobody's time. Whoever makes a call that it serves spins meanwhile: that is CPU time already, and such calls are not metered. Neighbours: `events` and `drive` (where turns begin), `times`. Owns no locks.

use super::Task;
use super::usage::Usage;
use host::time::{counted, counter, thread_cpu};
use std::cell::Cell;

/// The host's clock is asked after so long, and after a turn of that length, ns: it costs as much as a short call.
const OFTEN: u64 = 1_000_000;
const LONG: u64 = 100_000;

struct Meter {
    /// The turn's begin, or how far it was charged; 0: there is no turn.
    turn: Cell<u64>,
    /// When the host's clock was asked last, what it said, and what was charged since.
    asked: Cell<u64>,
    cpu: Cell<u64>,
    charged: Cell<u64>,
}

thread_local! {
    static METER: Meter = const { Meter { turn: Cell::new(0), asked: Cell::new(0), cpu: Cell::new(0), charged: Cell::new(0) } };
}

/// A turn of a task; over when dropped.
pub(super) struct Metered<'t> {
    task: &'t Task,
    /// Within another one's: of a task whose end this thread has to tell.
    within: bool,
}

impl<'t> Metered<'t> {
    pub fn begin(task: &'t Task) -> Metered<'t> {
        let within = METER.with(|meter| {
            let now = counter();
            if meter.asked.get() == 0 {
                meter.asked.set(now);
                meter.cpu.set(thread_cpu()); // what it did before it had a task
            }
            meter.turn.replace(now) != 0
        });
        Metered { task, within }
    }

    /// Of an event. `None`: the poller's.
    pub fn of_event(task: &'t Task) -> Option<Metered<'t>> {
        (!platform::on_poller()).then(|| Metered::begin(task))
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        let used = METER.with(|meter| {
            let (used, now) = meter.read();
            meter.turn.set(if self.within { now } else { 0 });
            used
        });
        charge(self.task, used);
    }
}

/// Charges what this thread's turn has taken until now: to a task that is about to end, within its own turn or that of a sibling.
pub(super) fn settle(task: &Task) {
    let used = METER.with(|meter| {
        if meter.turn.get() == 0 {
            return 0;
        }
        let (used, now) = meter.read();
        meter.turn.set(now);
        used
    });
    charge(task, used);
}

impl Meter {
    /// What is to be charged for the turn so far, ns; and the counter.
    fn read(&self) -> (u64, u64) {
        let now = counter();
        let passed = counted(now.wrapping_sub(self.turn.get()));
        let polls = platform::on_poller();
        if passed < LONG && (polls || counted(now.wrapping_sub(self.asked.get())) < OFTEN) {
            self.charged.set(self.charged.get() + passed);
            return (passed, now);
        }
        let cpu = thread_cpu();
        let used = cpu.saturating_sub(self.cpu.replace(cpu));
        self.asked.set(now);
        if polls {
            return (used.min(passed), now);
        }
        // What was charged beyond what was used is made up for later.
        let charged = self.charged.get();
        self.charged.set(charged.saturating_sub(used));
        (used.saturating_sub(charged), now)
    }
}

fn charge(task: &Task, ns: u64) {
    if task.has_ended() {
        // Its own counters were added up already.
        task.group.ended.lock().add(&Usage { calls: ns, ..Usage::default() });
    } else {
        task.counters.called(ns);
    }
}
