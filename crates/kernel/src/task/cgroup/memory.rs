//! Limits of memory for groups below the container's own. cgroups(7), "memory".
//!
//! The host knows nothing of these groups. While there are limits, one thread looks at what their processes use, the more often the nearer that is to a limit, and ends the process that uses most where one is
//! passed, as Linux' OOM killer does. So a group can be above its limit for some milliseconds. Counted is what `usage` counts: files in memory as far as they are mapped.
//! Neighbours: `usage`, `watch`. Locks: none.

use super::watch::Watch;
use super::{Cgroup, EventFile, MAX};
use crate::op::Op;
use crate::signal::{SIGKILL, SigInfo};
use crate::task::{ThreadGroup, send};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);
/// So fast a group's memory can grow: bytes for each nanosecond.
const GROWTH: u64 = 2;

/// A group's limit, and what came of it.
pub(super) struct Limit {
    /// Bytes.
    max: AtomicU64,
    peak: AtomicU64,
    /// memory.oom.group
    whole: AtomicBool,
    /// How often it was passed; processes that were ended; times that all were.
    passed: AtomicU64,
    ended: AtomicU64,
    ended_whole: AtomicU64,
    generation: AtomicU64,
    /// CPU time at the last look, ns.
    cpu: AtomicU64,
}

/// memory.events
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    pub max: u64,
    pub oom_kill: u64,
    pub oom_group_kill: u64,
}

static WATCH: Watch = Watch::new("memory", |group| group.memory_max() != MAX, Cgroup::keep_limit);

impl Limit {
    pub fn new() -> Limit {
        Limit {
            max: MAX.into(),
            peak: 0.into(),
            whole: false.into(),
            passed: 0.into(),
            ended: 0.into(),
            ended_whole: 0.into(),
            generation: 0.into(),
            cpu: 0.into(),
        }
    }

    /// The group is removed.
    pub fn lift(&self) {
        self.max.store(MAX, Relaxed);
    }

    /// A number that changes with memory.events: those of groups below count there, too.
    pub fn generation(&self) -> &AtomicU64 {
        &self.generation
    }
}

impl Cgroup {
    /// Bytes; [`MAX`]: none.
    pub fn memory_max(&self) -> u64 {
        self.memory.max.load(Relaxed)
    }

    /// The group's limit, or the host's for the container's own.
    pub fn memory_limit(&self) -> u64 {
        if self.is_container() { self.limits().memory.map_or(MAX, |bytes| bytes & !4095) } else { self.memory_max() }
    }

    /// In whole pages. EAGAIN where there can be no thread to keep it.
    pub fn set_memory_max(self: &Arc<Self>, bytes: u64) -> Op<()> {
        let bytes = if bytes == MAX { MAX } else { bytes & !4095 };
        self.memory.max.store(bytes, Relaxed);
        self.memory.cpu.store(u64::MAX, Relaxed); // to look at once, whoever works
        if bytes == MAX {
            return Ok(());
        }
        WATCH.add(self)
    }

    pub fn oom_group(&self) -> bool {
        self.memory.whole.load(Relaxed)
    }

    /// memory.oom.group: whether all processes of the group end together.
    pub fn set_oom_group(&self, whole: bool) {
        self.memory.whole.store(whole, Relaxed);
    }

    /// Of this group and those below.
    pub fn memory_events(self: &Arc<Self>) -> MemoryEvents {
        self.subtree().iter().map(|group| &group.memory).fold(MemoryEvents::default(), |sum, limit| MemoryEvents {
            max: sum.max + limit.passed.load(Relaxed),
            oom_kill: sum.oom_kill + limit.ended.load(Relaxed),
            oom_group_kill: sum.oom_group_kill + limit.ended_whole.load(Relaxed),
        })
    }

    /// The most that was seen in use, bytes. May sleep.
    pub fn memory_peak(self: &Arc<Self>) -> u64 {
        let now = self.memory().total();
        self.memory.peak.fetch_max(now, Relaxed).max(now)
    }

    /// memory.failcnt of version 1: how often the group's own limit was passed.
    pub fn memory_failures(&self) -> u64 {
        self.memory.passed.load(Relaxed)
    }

    pub fn reset_memory_failures(&self) {
        self.memory.passed.store(0, Relaxed);
    }

    pub fn reset_memory_peak(self: &Arc<Self>) {
        let now = self.memory().total();
        self.memory.peak.store(now, Relaxed);
    }

    /// Looks whether it keeps to its limit; when to look again.
    fn keep_limit(self: &Arc<Self>) -> Duration {
        let max = self.memory_max();
        let cpu = self.cpu_time();
        // Who does nothing takes no memory.
        if self.memory.cpu.swap(cpu, Relaxed) == cpu {
            return LONGEST;
        }
        let processes: Vec<_> = self.subtree().iter().flat_map(|group| group.processes()).collect();
        let mut sizes: Vec<(u64, &Arc<ThreadGroup>)> = processes.iter().map(|p| (resident(p), p)).collect();
        // What several share counts for each of them here, so it is no more than this.
        let most: u64 = sizes.iter().map(|size| size.0).sum();
        let used = if most > max { self.memory().total() } else { most };
        if used <= max {
            self.memory.peak.fetch_max(used, Relaxed);
            return Duration::from_nanos((max - used) / GROWTH).clamp(SHORTEST, LONGEST);
        }
        // What ends already gives its memory back soon.
        if processes.iter().any(|process| process.is_exiting()) {
            return SHORTEST;
        }
        sizes.sort_unstable_by_key(|size| std::cmp::Reverse(size.0));
        let whole = self.oom_group();
        let ends = if whole { sizes.len() } else { 1 };
        for (_, process) in sizes.iter().take(ends) {
            observe::info!("process {} is ended: its control group may have {max} bytes of memory", process.id());
            send(process, None, SigInfo::kernel(SIGKILL));
        }
        self.memory.passed.fetch_add(1, Relaxed);
        self.memory.ended.fetch_add(ends as u64, Relaxed);
        self.memory.ended_whole.fetch_add(u64::from(whole), Relaxed);
        self.ancestry().for_each(|group| group.tell(EventFile::Memory));
        SHORTEST
    }
}

/// Bytes of a process that are resident.
fn resident(process: &Arc<ThreadGroup>) -> u64 {
    let mm = process.tasks().iter().find_map(|task| task.mm());
    mm.and_then(|mm| mm.space().pages()).map_or(0, |[_, resident, ..]| resident * 4096)
}
