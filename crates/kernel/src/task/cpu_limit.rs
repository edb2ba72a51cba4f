//! RLIMIT_CPU: SIGXCPU at the soft limit and each second of CPU time after it, SIGKILL at the hard one. getrlimit(2).
//!
//! A process without a limit has nothing of this; else the reactor looks at its CPU time when it can have come to the next mark at
//! the earliest. Locks: a `Leaf` around the armed timer, with nothing taken under it.

use super::{GroupState, Limits, Resource, ThreadGroup, send};
use crate::locks::Leaf;
use crate::reactor::{self, Timer};
use crate::signal::{SIGKILL, SIGXCPU, SigInfo};
use crate::time::Deadline;
use crate::wait::{Events, Wake};
use lock::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

const SECOND: u64 = 1_000_000_000;
/// CPU time is looked at no more often than this, ns.
const STEP: u64 = 1_000_000;

/// Watches a process' CPU time.
pub struct CpuLimit {
    group: Weak<ThreadGroup>,
    /// CPU time in ns at which SIGXCPU was sent last; 0: it was not.
    warned: AtomicU64,
    armed: Mutex<Option<Timer>, Leaf>,
}

impl ThreadGroup {
    /// The limit was set, or the process has it from its parent.
    pub fn watch_cpu_limit(self: &Arc<Self>) {
        if self.cpu_marks().0 == Limits::INFINITY && self.cpu_limit.get().is_none() {
            return;
        }
        let watch = self.cpu_limit.get_or_init(|| {
            Arc::new(CpuLimit { group: Arc::downgrade(self), warned: AtomicU64::new(0), armed: Mutex::new(None) })
        });
        watch.warned.store(0, Relaxed);
        watch.clone().wake(Events::empty());
    }

    /// The soft and the hard limit in ns. As on Linux a limit of 0 seconds means one.
    fn cpu_marks(&self) -> (u64, u64) {
        let limits = self.limits();
        let limit = limits.by_number(Resource::Cpu as usize);
        let ns =
            |seconds: u64| if seconds == Limits::INFINITY { seconds } else { seconds.max(1).saturating_mul(SECOND) };
        limit.map_or((Limits::INFINITY, Limits::INFINITY), |l| (ns(l.soft), ns(l.hard)))
    }
}

impl CpuLimit {
    /// The process ends.
    pub(super) fn disarm(&self) {
        let old = self.armed.lock().take();
        drop(old);
    }
}

impl Wake for CpuLimit {
    fn wake(self: Arc<Self>, _events: Events) {
        let Some(group) = self.group.upgrade().filter(|g| g.state() == GroupState::Alive) else { return };
        let (soft, hard) = group.cpu_marks();
        let now = group.cpu_time();
        if now >= hard {
            send(&group, None, SigInfo::kernel(SIGKILL));
            return;
        }
        let due = |warned: u64| if warned == 0 { soft } else { warned.saturating_add(SECOND) };
        if soft != Limits::INFINITY && now >= due(self.warned.load(Relaxed)) {
            self.warned.store(now, Relaxed);
            send(&group, None, SigInfo::kernel(SIGXCPU));
        }
        let next = due(self.warned.load(Relaxed)).min(hard);
        let timer = (next != Limits::INFINITY).then(|| {
            // All its threads may run at once.
            let threads = group.tasks().len().max(1) as u64;
            let wait = (next.saturating_sub(now) / threads).max(STEP);
            reactor::at(Deadline::after(wait), self.clone())
        });
        let old = std::mem::replace(&mut *self.armed.lock(), timer);
        drop(old);
    }
}
