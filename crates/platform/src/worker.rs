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

static DRAIN: OnceLock<fn() -> bool> = OnceLock::new();

/// The kernel's thread-local run queue: called by a worker after each event, until it returns false. Set once.
pub fn set_drain(f: fn() -> bool) {
    let _ = DRAIN.set(f);
}

/// Sends what this thread has queued: answers, kicks, wakes. Workers do it after each event; other threads call it when they are done, without locks.
pub fn flush() {
    outgoing::flush();
}

/// Runs the kernel's queue and sends what it left.
pub(crate) fn settle() {
    outgoing::flush();
    if let Some(drain) = DRAIN.get() {
        while drain() {
            outgoing::flush();
        }
        outgoing::flush();
    }
}

/// Runs a host call that can sleep: hands the listener to a spare of the same core first. What was queued so far is sent. Call it without locks.
pub fn block_in_place<T>(f: impl FnOnce() -> T) -> T {
    outgoing::flush();
    if let Some(shard) = HOLDS.get()
        && shard.hand_over()
    {
        HOLDS.set(None);
    }
    f()
}

impl Shard {
    /// Wakes or makes a spare that goes to RECV; false if there are too many.
    fn hand_over(&'static self) -> bool {
        let spare = lock(&self.crew.idle).pop();
        match spare {
            Some(word) => {
                word.store(1, Ordering::Release);
                host::futex::wake(word, 1);
            }
            None => {
                if self.crew.size.load(Ordering::Relaxed) >= MOST || self.hire(true).is_err() {
                    return false;
                }
            }
        }
        count(&self.core.counters.handovers);
        true
    }

    /// Starts a thread of the crew; `holder`: it takes the listener at once.
    pub(crate) fn hire(&'static self, holder: bool) -> std::io::Result<()> {
        let number = self.crew.size.fetch_add(1, Ordering::Relaxed);
        let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(u32::from(holder))));
        if !holder {
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
            word.store(0, Ordering::Relaxed);
            HOLDS.set(Some(self));
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
