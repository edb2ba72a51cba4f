//! On which cores threads run: on one while they are young, then where the host's scheduler puts them.
//!
//! A notification with sync wake-up brings the worker to the core of the thread that calls, and the answer finds the thread there; so workers are bound to no core. The host moves
//! new threads and those that it has just woken to idle cores: the many first calls of a child would each have the worker wake up another core, while its parent waits for it. So
//! who clones is bound to the core where it stands, and its child inherits that. They are free again after `YOUTH` without another birth, or as soon as two of
//! one core are found at work together. A thread that the poller watches keeps off its core. Neighbours: `perform` (the clone call), `birth` (first doorbells), `poller`, `keeper` (looks). Owns the locks of the list of the bound
//! and of what the host is told of a thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use abi::Errno;

use crate::core::{Core, Newborn};
use crate::state::At;
use crate::sync::{Mutex, Telling, Youth, lock};
use crate::thread::Thread;

/// So long a thread stays bound after its own birth, and after the last one that it gave.
const YOUTH: Duration = Duration::from_millis(20);
const FREE: usize = usize::MAX;

/// Where a thread may run.
pub(crate) struct Affinity {
    /// Held while the host is told, so that what the guest chose is not undone by who looked before.
    telling: Mutex<(), Telling>,
    /// Its guest chose cores for it: they are never changed here.
    chosen: AtomicBool,
    /// The core that it is bound to, or FREE.
    bound: AtomicUsize,
    /// Milliseconds after the keeper's origin: its last birth.
    since: AtomicU64,
    /// The poller's core, which it keeps off while it is watched, or FREE.
    off: AtomicUsize,
}

impl Affinity {
    pub fn new() -> Affinity {
        Affinity {
            telling: Mutex::new(()),
            chosen: AtomicBool::new(false),
            bound: AtomicUsize::new(FREE),
            since: AtomicU64::new(0),
            off: AtomicUsize::new(FREE),
        }
    }
}

/// The bound threads.
#[derive(Default)]
pub(crate) struct Young(Mutex<Vec<Weak<Thread>>, Youth>);

/// The core that this thread runs on.
pub(crate) fn here() -> usize {
    host::rustix::thread::sched_getcpu()
}

/// Children of the zygote begin where this thread runs.
pub(crate) fn bind_zygote(core: &Core, pid: i32) {
    if core.cores.len() > 1 {
        let _ = host::process::set_affinity(pid, &[here()]);
    }
}

/// Makes a call that sleeps until a waiting guest thread has run for a moment. The host would have this thread wake up on an idle core, which takes long, and the guest thread wait for it.
pub(crate) fn stay<T>(core: &Core, call: impl FnOnce() -> T) -> T {
    if core.cores.len() < 2 {
        return call();
    }
    let _ = host::process::set_affinity(0, &[here()]);
    let value = call();
    let _ = host::process::set_affinity(0, &core.cores);
    value
}

impl Thread {
    /// Binds the host thread to cores (numbers of the host), as its guest wants it.
    pub fn set_affinity(&self, cpus: &[usize]) -> Result<(), Errno> {
        let _telling = lock(&self.affinity.telling);
        self.affinity.chosen.store(true, Ordering::Relaxed);
        host::process::set_affinity(self.host_tid, cpus)
    }

    /// It is about to clone, or was cloned: it stays on this core for a while.
    pub(crate) fn bind(self: &Arc<Self>) {
        let affinity = &self.affinity;
        if self.core.cores.len() < 2 {
            return;
        }
        let cpu = here();
        let _telling = lock(&affinity.telling);
        if affinity.chosen.load(Ordering::Relaxed) {
            return;
        }
        if affinity.bound.load(Ordering::Relaxed) == cpu || host::process::set_affinity(self.host_tid, &[cpu]).is_ok() {
            self.is_bound(cpu);
        }
    }

    fn is_bound(self: &Arc<Self>, cpu: usize) {
        self.affinity.since.store(self.core.keeper.now(), Ordering::Relaxed);
        if self.affinity.bound.swap(cpu, Ordering::Relaxed) == FREE {
            lock(&self.core.young.0).push(Arc::downgrade(self));
            self.core.keeper.arm(self.core);
        }
    }

    /// The poller, on this core, watches it: it runs elsewhere. Waking up, the poller would otherwise find on its core who it is to serve, and each would wait for the other.
    pub(crate) fn keep_off(&self, core: usize) {
        if self.affinity.off.swap(core, Ordering::Relaxed) != core {
            self.place();
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.affinity.off.load(Ordering::Relaxed) != FREE
    }

    /// It is watched no more.
    pub(crate) fn need_not_keep_off(&self) {
        if self.affinity.off.swap(FREE, Ordering::Relaxed) != FREE {
            self.place();
        }
    }

    /// Tells the host on which cores the thread may run, unless its guest does.
    fn place(&self) {
        let affinity = &self.affinity;
        if self.is_gone() {
            return;
        }
        let _telling = lock(&affinity.telling);
        let (bound, off) = (affinity.bound.load(Ordering::Relaxed), affinity.off.load(Ordering::Relaxed));
        if affinity.chosen.load(Ordering::Relaxed) {
            return;
        }
        let cores = match bound {
            bound if bound != FREE && bound != off => vec![bound],
            _ => self.core.cores.iter().copied().filter(|core| *core != off).collect(),
        };
        let _ = host::process::set_affinity(self.host_tid, &cores);
    }

    /// First doorbell: the host thread has the cores of its parent, or of the zygote.
    pub(crate) fn inherit_affinity(self: &Arc<Self>, newborn: &Newborn) {
        match &newborn.parent {
            Some(parent) if parent.affinity.chosen.load(Ordering::Relaxed) => {
                // It may have been bound when the child was made.
                if let Ok(cores) = host::process::affinity(parent.host_tid) {
                    let _ = self.set_affinity(&cores);
                }
            }
            Some(parent) if parent.affinity.bound.load(Ordering::Relaxed) != FREE => {
                self.is_bound(parent.affinity.bound.load(Ordering::Relaxed));
            }
            _ => self.bind(),
        }
    }
}

impl Young {
    /// Frees those that are old enough or in each other's way; true if some are left.
    pub fn look(&self, core: &Core) -> bool {
        let all: Vec<_> = std::mem::take(&mut *lock(&self.0)).iter().filter_map(Weak::upgrade).collect();
        let all: Vec<_> =
            all.into_iter().map(|thread| (thread.affinity.bound.load(Ordering::Relaxed), thread)).collect();
        let works = |thread: &Thread| matches!(lock(&thread.state).at, At::Running);
        let mut busy: HashMap<usize, u32> = HashMap::new();
        for (cpu, _) in all.iter().filter(|(_, thread)| works(thread)) {
            *busy.entry(*cpu).or_default() += 1;
        }
        let now = core.keeper.now();
        let mut left = Vec::new();
        for (cpu, thread) in all {
            let affinity = &thread.affinity;
            let age = Duration::from_millis(now.saturating_sub(affinity.since.load(Ordering::Relaxed)));
            let crowded = busy.get(&cpu).is_some_and(|n| *n > 1) && works(&thread);
            if age < YOUTH && !crowded {
                left.push(Arc::downgrade(&thread));
                continue;
            }
            affinity.bound.store(FREE, Ordering::Relaxed);
            thread.place();
        }
        let mut young = lock(&self.0);
        young.append(&mut left);
        !young.is_empty()
    }
}
