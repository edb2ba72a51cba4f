//! The poller: a thread that looks at the mailboxes of threads which call often, and runs their calls without any wake-up, while a core is free.
//!
//! It is bounded: it has one core, which those whom it watches keep off meanwhile; it sleeps once nobody calls for [`IDLE`], or few, gives the core away when a call blocks or wakes somebody, and rests, ever longer, when it finds that it
//! was not running though it wanted to: then the core is not free. Neighbours: `shard` (says who calls often), `thread` (answers), the stub's trampoline.rs (waits). Owns the lock of the list of new threads.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::affinity::here;
use crate::core::Core;
use crate::guest::Event;
use crate::layout::poll;
use crate::mailbox::once;
use crate::outgoing::{self, Out};
use crate::state::{At, Request, Wait};
use crate::sync::{Mutex, Watches, lock};
use crate::thread::Thread;

/// Without a call for so long it sleeps.
const IDLE: Duration = Duration::from_micros(60);
/// Between two looks at the clock: more than this, and something else ran on this core.
const GAP: Duration = Duration::from_micros(200);
const SHORT_REST: Duration = Duration::from_millis(2);
const LONG_REST: Duration = Duration::from_millis(20);
/// Where others want this core again and again.
const BUSY_REST: Duration = Duration::from_millis(80);
/// Looks at the mailboxes between two at the clock.
const LOOKS: u32 = 64;
/// Calls in one stay that show that polling pays: by notification they would have cost more than its wake-up and its wait for another call.
const PAYS: u64 = 32;
/// So often it looks how many calls it has taken.
const LOOK: Duration = Duration::from_millis(2);
/// With fewer in that time nobody calls often.
const FEW: u64 = 32;
/// As many threads as there are cores have one core less meanwhile: with fewer they would be better off with it.
const CROWD: u64 = 300;
/// Whom a call woke waits so long, unless the caller blocks before: then there is more for it to do, and this core is given away less often (of a pipe's reader, once for several writes).
const LATER: Duration = Duration::from_micros(100);
/// After so many calls in a stay that ended because somebody was woken, it comes back when that one lets the core go.
const GOES_ON: u64 = 4;
const NO_CORE: usize = usize::MAX;

pub(crate) struct Poller {
    /// Its host thread.
    tid: AtomicI32,
    /// The core that it keeps off: that of the thread which it was woken for.
    off: AtomicUsize,
    /// 1: awake, or on its way.
    awake: AtomicU32,
    wanted: Mutex<Vec<Arc<Thread>>, Watches>,
    /// It rests until then: nanoseconds since the keeper's origin.
    rest: AtomicU64,
    /// A thread that it watches has called otherwise: it goes on calling.
    sign: AtomicBool,
}

thread_local! {
    static POLLS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the poller's thread: whose call it serves spins meanwhile.
pub fn on_poller() -> bool {
    POLLS.get()
}

fn now(core: &Core) -> u64 {
    core.keeper.origin.elapsed().as_nanos() as u64
}

impl Poller {
    pub fn new() -> Poller {
        Poller {
            tid: AtomicI32::new(0),
            off: AtomicUsize::new(NO_CORE),
            awake: AtomicU32::new(0),
            wanted: Mutex::default(),
            rest: AtomicU64::new(0),
            sign: AtomicBool::new(false),
        }
    }

    /// A thread calls often: watch it, unless the poller rests.
    pub fn want(&self, core: &'static Core, thread: &Arc<Thread>) {
        if !core.config.eager && self.rest.load(Ordering::Relaxed) > now(core) {
            return;
        }
        if self.awake.load(Ordering::Acquire) == 0 {
            self.keep_apart(core, thread);
        }
        lock(&self.wanted).push(thread.clone());
        if self.awake.swap(1, Ordering::AcqRel) == 0 {
            outgoing::queue(Out::Wake(&core.poller.awake));
        }
    }

    /// A thread has called by notification. What is watched makes such calls, too, from sites that are not rewritten.
    pub fn direct_call(&self, thread: &Thread) {
        if thread.is_watched() {
            self.sign.store(true, Ordering::Relaxed);
        }
    }

    /// It will be woken for a thread whose call this worker has: it keeps off this core.
    fn keep_apart(&self, core: &'static Core, thread: &Thread) {
        let here = here();
        let others: Vec<usize> = core.cores.iter().copied().filter(|core| *core != here).collect();
        if self.off.swap(here, Ordering::Relaxed) != here {
            let _ = host::process::set_affinity(self.tid.load(Ordering::Relaxed), &others);
        }
        if let [only] = *others {
            thread.keep_off(only);
        }
    }
}

/// Why a stay ended.
#[derive(PartialEq, Eq)]
enum End {
    /// Nobody calls.
    Quiet,
    /// A call blocked, or woke somebody.
    Gave,
    /// Somebody else runs on this core.
    Busy,
    /// Those who call would be better off with this core.
    Crowded,
}

pub(crate) fn run(core: &'static Core) {
    let poller = &core.poller;
    poller.tid.store(host::rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    POLLS.set(true);
    let mut rest = SHORT_REST;
    let mut waited = waited_for_core(core);
    loop {
        while poller.awake.load(Ordering::Acquire) == 0 {
            host::futex::wait(&poller.awake, 0, None);
        }
        let mut watched = Vec::new();
        take_wanted(core, &mut watched);
        let mut calls = 0;
        let (begun, mut given) = (Instant::now(), Duration::ZERO);
        let end = loop {
            let (end, more) = stay(core, &mut watched);
            crate::worker::settle();
            calls += more;
            for thread in &watched {
                leave(thread);
            }
            if end != End::Gave || more < GOES_ON {
                break end;
            }
            let gave = gives_core();
            given += gave;
            if gave > GAP {
                break end;
            }
            lock(&poller.wanted).append(&mut watched);
            take_wanted(core, &mut watched);
        };
        // Did others want this core, whether or not that showed between two looks? From the wake-up on, but for the time in which it was given away.
        let before = std::mem::replace(&mut waited, waited_for_core(core));
        let vain = waited.saturating_sub(before).saturating_sub(given);
        let end = if vain > GAP && vain * 4 > begun.elapsed() { End::Busy } else { end };
        rest = match end {
            End::Crowded => LONG_REST,
            End::Busy => (rest * 2).min(BUSY_REST),
            _ if calls >= PAYS => SHORT_REST,
            _ => (rest * 2).min(LONG_REST),
        };
        if matches!(end, End::Busy | End::Crowded) || calls < PAYS {
            poller.rest.store(now(core) + rest.as_nanos() as u64, Ordering::Relaxed);
        }
        poller.awake.store(0, Ordering::Release);
        let late = std::mem::take(&mut *lock(&poller.wanted));
        for thread in late {
            thread.need_not_keep_off();
        }
    }
}

/// Lets whoever was woken run here; for how long.
fn gives_core() -> Duration {
    let since = Instant::now();
    std::thread::yield_now();
    since.elapsed()
}

/// How long this thread could have run and did not, ever: schedstat's second number. 0 where the host does not tell.
fn waited_for_core(core: &Core) -> Duration {
    let tid = core.poller.tid.load(Ordering::Relaxed);
    let text = core.proc_file(&format!("{}/task/{tid}/schedstat", std::process::id())).unwrap_or_default();
    Duration::from_nanos(text.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Begins to watch who was wanted.
fn take_wanted(core: &Core, watched: &mut Vec<Arc<Thread>>) {
    let wanted = std::mem::take(&mut *lock(&core.poller.wanted));
    if wanted.is_empty() {
        return;
    }
    let here = here();
    for thread in wanted {
        let st = lock(&thread.state);
        if !matches!(st.at, At::Gone) && !watched.iter().any(|w| Arc::ptr_eq(w, &thread)) {
            thread.mailbox.polled().store(1, Ordering::Release);
            drop(st);
            thread.keep_off(here);
            watched.push(thread);
        }
    }
}

/// The thread's calls ring from here on. One that asks just now withdraws by itself.
fn leave(thread: &Thread) {
    thread.need_not_keep_off();
    let st = lock(&thread.state);
    if !matches!(st.at, At::Gone) {
        thread.mailbox.polled().store(0, Ordering::Release);
    }
}

/// Serves until there is a reason to stop.
fn stay(core: &'static Core, watched: &mut Vec<Arc<Thread>>) -> (End, u64) {
    let mut calls = 0;
    let mut later = None;
    let mut looked = Instant::now();
    let mut last = looked;
    let (mut counted, mut before) = (looked, 0);
    loop {
        let mut served = 0;
        for _ in 0..LOOKS {
            let mut any = false;
            for thread in &*watched {
                let word = thread.mailbox.poll().load(Ordering::Acquire);
                if poll::state(word) != poll::ASKED {
                    continue;
                }
                any = true;
                let goes_on = serve(core, thread, word, &mut later);
                calls += 1;
                if !goes_on {
                    return (End::Gave, calls);
                }
            }
            if let Some(since) = later
                && since.elapsed() > LATER
            {
                later = None;
                let before = outgoing::wakes();
                crate::worker::settle();
                if outgoing::wakes() != before {
                    return (End::Gave, calls);
                }
            }
            if any {
                served += 1;
            } else {
                std::hint::spin_loop();
            }
        }
        let time = Instant::now();
        if served > 0 || core.poller.sign.load(Ordering::Relaxed) && core.poller.sign.swap(false, Ordering::Relaxed) {
            last = time;
        } else if time - looked > GAP {
            return (End::Busy, calls);
        } else if time - last > IDLE {
            return (End::Quiet, calls);
        }
        if time - counted > LOOK {
            let lately = calls - before;
            watched.retain(|thread| !thread.is_gone());
            if lately < FEW {
                return (End::Quiet, calls);
            } else if lately < CROWD && watched.len() >= core.cores.len() {
                return (End::Crowded, calls);
            }
            (counted, before) = (time, calls);
        }
        looked = time;
        // Who waited in vain does not ask any more.
        for thread in watched.iter().filter(|thread| thread.mailbox.polled().load(Ordering::Relaxed) == 0) {
            if !thread.is_gone() {
                thread.mailbox.polled().store(1, Ordering::Release);
            }
        }
        take_wanted(core, watched);
    }
}

/// Takes and runs the call of this word. False: it blocked, or somebody who was woken runs on this core now. `later`: since when one waits whom this call, or one before, woke.
fn serve(core: &'static Core, thread: &Arc<Thread>, word: u32, later: &mut Option<Instant>) -> bool {
    let mb = thread.mailbox;
    let (guest, Request { nr, args, ip }) = {
        let mut st = lock(&thread.state);
        if !matches!(st.at, At::Running) {
            return false; // gone, and the mailbox perhaps another's; or a guest that plays with its mailbox
        }
        let taken = poll::with(word, poll::TAKEN);
        if mb.poll().compare_exchange(word, taken, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return true; // withdrawn
        }
        st.asked = word;
        st.wait = Wait::None;
        st.request = Request { nr: once!(get mb, nr), args: once!(get mb, args), ip: once!(get mb, ip) };
        thread.is_back(&mut st, false);
        st.at = At::Polled;
        st.value = 0;
        (st.guest.clone(), st.request)
    };
    let polled = &core.counters.polled;
    polled.store(polled.load(Ordering::Relaxed) + 1, Ordering::Relaxed); // nobody else counts them
    core.trace(|| format!("{} polled {nr} {args:x?} ip {ip:x}", thread.host_tid));
    let before = outgoing::wakes();
    match guest {
        Some(guest) => {
            crate::window::open(thread, nr, &args, word >> poll::GIVEN_SHIFT);
            guest.event(thread, Event::Syscall { nr, args, ip, framed: false });
            crate::window::end();
        }
        None => thread.exit(),
    }
    let goes_on = !matches!(lock(&thread.state).at, At::Coming(_));
    if goes_on && crate::worker::is_waiting() {
        crate::worker::flush();
        later.get_or_insert_with(Instant::now);
    } else {
        *later = None;
        crate::worker::settle();
    }
    goes_on && outgoing::wakes() == before
}
