//! Workers: exactly one thread waits in RECV on a listener. It handles what comes; before a host call that can sleep it wakes a spare on the same core to take over.
//!
//! Neighbours: `shard` (handles notifications), `outgoing` (what is sent after each). Owns the lock of the list of spares.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::Errno;

use crate::config::count;
use crate::outgoing::{self, Out};
use crate::shard::Shard;
use crate::sync::{Mutex, Spares, lock};

/// Most threads of one shard; past that, a call that sleeps holds up its shard.
const MOST: usize = 256;

/// The threads of a shard that are not at work. Each sleeps on a word of its own (private memory, which no stub maps).
#[derive(Default)]
pub(crate) struct Crew {
    idle: Mutex<Vec<&'static AtomicU32>, Spares>,
    size: AtomicUsize,
}

thread_local! {
    /// The shard whose listener this thread holds.
    static HOLDS: Cell<Option<&'static Shard>> = const { Cell::new(None) };
}

/// The kernel's run queue, of which each thread has its own.
pub struct RunQueue {
    /// Runs what is in it, and what others have passed on. False: there was nothing.
    pub drain: fn() -> bool,
    /// Whether there is something in it.
    pub is_waiting: fn() -> bool,
    /// Leaves what is in it to whoever drains next.
    pub pass_on: fn(),
}

static RUN_QUEUE: OnceLock<RunQueue> = OnceLock::new();
/// Whose spares run what a thread passes on that holds no listener.
static HELPS: OnceLock<&'static Shard> = OnceLock::new();

/// A worker drains it after each event. Set once.
pub fn set_run_queue(queue: RunQueue) {
    let _ = RUN_QUEUE.set(queue);
}

pub(crate) fn is_waiting() -> bool {
    RUN_QUEUE.get().is_some_and(|queue| (queue.is_waiting)())
}

/// Sends what this thread has queued: answers, kicks, wakes. Workers do it after each event; other threads call it when they are done, without locks.
pub fn flush() {
    outgoing::flush();
}

/// Runs the kernel's queue and sends what it left.
pub(crate) fn settle() {
    outgoing::flush();
    if let Some(queue) = RUN_QUEUE.get() {
        while (queue.drain)() {
            outgoing::flush();
        }
        outgoing::flush();
    }
}

/// Runs a host call that can sleep: hands the listener, and whom this thread has woken, to a spare of the same core first. What was queued so far is sent. Call it without locks.
pub fn block_in_place<T>(f: impl FnOnce() -> T) -> T {
    outgoing::flush();
    let passed = RUN_QUEUE.get().filter(|queue| (queue.is_waiting)());
    if let Some(queue) = passed {
        (queue.pass_on)();
    }
    match HOLDS.get() {
        Some(shard) if shard.hand_over(HOLD) => HOLDS.set(None),
        None if passed.is_some() => _ = HELPS.get().is_some_and(|shard| shard.hand_over(HELP)),
        _ => {}
    }
    f()
}

/// What a spare is woken for: to take the listener, or to run what was passed on and nothing else.
const HOLD: u32 = 1;
const HELP: u32 = 2;

impl Shard {
    /// Wakes or makes a spare; false if there are too many.
    fn hand_over(&'static self, what: u32) -> bool {
        let spare = lock(&self.crew.idle).pop();
        match spare {
            Some(word) => {
                word.store(what, Ordering::Release);
                host::futex::wake(word, 1);
            }
            None => {
                if self.crew.size.load(Ordering::Relaxed) >= MOST || self.hire(what).is_err() {
                    return false;
                }
            }
        }
        if what == HOLD {
            count(&self.core.counters.handovers);
        }
        true
    }

    /// The first two threads: one for RECV, one to hand over to.
    pub(crate) fn staff(&'static self) -> std::io::Result<()> {
        let _ = HELPS.set(self);
        self.hire(HOLD)?;
        self.hire(0)
    }

    /// Starts a thread of the crew, for something or (0) as a spare.
    fn hire(&'static self, what: u32) -> std::io::Result<()> {
        let number = self.crew.size.fetch_add(1, Ordering::Relaxed);
        let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(what)));
        if what == 0 {
            lock(&self.crew.idle).push(word);
        }
        let name = format!("shard {}.{number}", self.number);
        let started = std::thread::Builder::new().name(name).stack_size(1 << 20).spawn(move || self.work(word));
        if started.is_err() {
            lock(&self.crew.idle).retain(|w| !std::ptr::eq(*w, word));
            self.crew.size.fetch_sub(1, Ordering::Relaxed);
        }
        started.map(drop)
    }

    fn work(&'static self, word: &'static AtomicU32) {
        loop {
            while word.load(Ordering::Acquire) == 0 {
                host::futex::wait(word, 0, None);
            }
            if word.swap(0, Ordering::Relaxed) == HOLD {
                HOLDS.set(Some(self));
            }
            settle();
            while HOLDS.get().is_some() {
                match self.receive() {
                    Ok(()) => {}
                    // A thread that died or was kicked before it was received; a signal of ours.
                    Err(Errno::ENOENT | Errno::EINTR) => {}
                    Err(e) => {
                        eprintln!("stockade: the doorbell of shard {} fails: {e}", self.number);
                        std::process::exit(70);
                    }
                }
                settle();
            }
            lock(&self.crew.idle).push(word);
        }
    }
}

/// Wakes a thread of ours at the next flush.
pub(crate) fn wake_later(word: &'static AtomicU32) {
    outgoing::queue(Out::Wake(word));
}
