//! A thread for what need not happen at once: parks long waits, lets threads leave their core, finds births that never came about. It sleeps while there is nothing of that.
//!
//! Neighbours: `park`, `affinity`, `birth`. Owns no locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::core::{Core, Kind, Newborn};
use crate::guest::Event;
use crate::state::State;
use crate::sync::lock;
use crate::thread::Thread;
use crate::tracer::Tracer;
use crate::worker::wake_later;

const TICK: Duration = Duration::from_millis(5);
/// After this time a child that was ordered is looked for.
const BIRTH: Duration = Duration::from_secs(1);
/// So often: there may be thousands.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Keeper {
    /// 1: there is something to do.
    armed: AtomicU32,
    /// When late children were last looked for, and of the last sweep: milliseconds after `origin`.
    looked: AtomicU64,
    swept: AtomicU64,
    /// Another shard is wanted.
    shard: AtomicBool,
    pub origin: Instant,
}

impl Keeper {
    pub fn new() -> Keeper {
        Keeper {
            armed: AtomicU32::new(0),
            looked: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            shard: AtomicBool::new(false),
            origin: Instant::now(),
        }
    }

    /// Has the keeper look in a moment.
    pub fn arm(&self, core: &'static Core) {
        if self.armed.load(Ordering::Relaxed) == 0 && self.armed.swap(1, Ordering::AcqRel) == 0 {
            wake_later(&core.keeper.armed);
        }
    }

    /// All shards are busy.
    pub fn want_shard(&self, core: &'static Core) {
        self.shard.store(true, Ordering::Relaxed);
        self.arm(core);
    }

    /// Milliseconds after `origin`.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    /// Whether `last` is so long ago; then it is now.
    fn is_due(&self, last: &AtomicU64, after: Duration) -> bool {
        let now = self.now();
        let due = now.saturating_sub(last.load(Ordering::Relaxed)) >= after.as_millis() as u64;
        if due {
            last.store(now, Ordering::Relaxed);
        }
        due
    }
}

pub(crate) fn run(core: &'static Core) {
    loop {
        while core.keeper.armed.load(Ordering::Acquire) == 0 {
            host::futex::wait(&core.keeper.armed, 0, None);
        }
        std::thread::sleep(TICK);
        core.keeper.armed.store(0, Ordering::Release); // who adds something from here on arms again
        let mut more = births(core) | core.young.look(core);
        let shards = lock(&core.shards).clone();
        for shard in shards {
            more |= shard.park_old();
        }
        more |= Tracer::look(core);
        if core.keeper.shard.swap(false, Ordering::Relaxed)
            && let Err(e) = core.add_shard()
        {
            eprintln!("stockade: going on with fewer shards: {e}");
        }
        crate::worker::settle();
        if more {
            core.keeper.armed.store(1, Ordering::Release);
        }
    }
}

/// Children that did not come. One that the host killed before its first doorbell is known by its parent's report, and by not being there; one that hides is found by the
/// sweep. Neither is told by time alone: on a busy machine a child may be long in coming. True if some are still awaited.
fn births(core: &'static Core) -> bool {
    if !core.keeper.is_due(&core.keeper.looked, LOOK) {
        return !lock(&core.newborns).is_empty();
    }
    let late: Vec<([u64; 2], Kind, Arc<Thread>)> = {
        let newborns = lock(&core.newborns);
        // Without a listener it may not have been begun yet.
        let begun = |n: &Newborn| core.config.listener || n.tid.is_some();
        let late = newborns.iter().filter(|n| n.1.since.elapsed() > BIRTH && begun(n.1));
        late.filter_map(|(cookie, n)| Some((*cookie, n.kind, n.parent.clone()?))).collect()
    };
    if !late.is_empty() && core.keeper.is_due(&core.keeper.swept, BIRTH) {
        match core.config.listener {
            true => crate::reaper::sweep(core),
            false => crate::reaper::kill_hidden(core),
        }
    }
    for (cookie, kind, parent) in late {
        if parent.space.has_ended() {
            // It rang as its parent was reaped, and died before it was born.
            drop(core.expected(cookie));
            continue;
        }
        let reported = |st: &State| st.birth.as_ref().filter(|b| b.cookie == cookie).and_then(|b| b.result);
        let Some(child) = reported(&lock(&parent.state)) else { continue };
        let child = child as i32;
        let there = match kind {
            Kind::Thread { .. } => host::process::tgkill(parent.space.host_pid(), child, 0).is_ok(),
            // Another process may have the number by now.
            _ => host::process::tgkill(child, child, 0).is_ok() && !lock(&core.spaces).contains_key(&child),
        };
        if there {
            continue;
        }
        let Some(newborn) = core.expected(cookie) else { continue };
        let mut st = lock(&parent.state);
        newborn.give_up(&st);
        st.birth = None;
        let guest = st.guest.clone();
        drop(st);
        if let Some(guest) = guest {
            guest.event(&parent, Event::Done { result: -11, at: 0 });
        }
    }
    !lock(&core.newborns).is_empty()
}
