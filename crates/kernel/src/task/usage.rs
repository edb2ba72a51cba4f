//! What threads and processes used: CPU time, waits, bytes, memory. getrusage(2), proc_pid_io(5).
//!
//! A thread counts for itself; a process keeps the sums of its threads that ended and of its children that were waited for.
//! Locks: none of its own; the sums are in `Leaf`s of `ThreadGroup`, the first changed under `GroupLinks` with the list of threads.

use super::{Task, ThreadGroup};
use crate::mm::Mm;
use platform::Space;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A thread's counters.
#[derive(Default)]
pub struct Counters {
    /// Times that it waited in the kernel, its processor left to others: voluntary context switches.
    waits: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Counters {
    pub(super) fn waited(&self) {
        self.waits.fetch_add(1, Relaxed);
    }
    /// A call of read(2)'s kind has moved so many bytes.
    pub fn read(&self, bytes: u64) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes, Relaxed);
    }
    /// A call of write(2)'s kind has.
    pub fn wrote(&self, bytes: u64) {
        self.writes.fetch_add(1, Relaxed);
        self.written_bytes.fetch_add(bytes, Relaxed);
    }
}

/// Bytes and calls, as /proc/PID/io names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoUsage {
    pub rchar: u64,
    pub wchar: u64,
    pub syscr: u64,
    pub syscw: u64,
}

impl IoUsage {
    fn add(&mut self, other: &IoUsage) {
        self.rchar += other.rchar;
        self.wchar += other.wchar;
        self.syscr += other.syscr;
        self.syscw += other.syscw;
    }
}

/// A sum of what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in ns. The stub's time is the guest's: user and system time are not told apart.
    pub cpu: u64,
    pub waits: u64,
    pub io: IoUsage,
}

impl Usage {
    pub fn add(&mut self, other: &Usage) {
        self.cpu += other.cpu;
        self.waits += other.waits;
        self.io.add(&other.io);
    }
}

/// The most memory that was resident at once in any of some address spaces. The host tells it when it ends their processes, and only who
/// asks waits for that.
#[derive(Clone, Default)]
pub struct Peak {
    bytes: u64,
    open: Vec<Arc<Space>>,
}

impl Peak {
    fn add_space(&mut self, space: Arc<Space>) {
        self.open.push(space);
        self.settle();
    }

    fn add(&mut self, other: &Peak) {
        self.bytes = self.bytes.max(other.bytes);
        self.open.extend(other.open.iter().cloned());
        self.settle();
    }

    fn settle(&mut self) {
        let bytes = &mut self.bytes;
        self.open.retain(|space| match space.last_peak_kb() {
            Some(kb) => {
                *bytes = kb.saturating_mul(1024).max(*bytes);
                false
            }
            None => true,
        });
    }

    /// May sleep.
    fn wait(mut self) -> u64 {
        for space in std::mem::take(&mut self.open) {
            self.bytes = space.await_peak_kb().unwrap_or(0).saturating_mul(1024).max(self.bytes);
        }
        self.bytes
    }
}

impl Task {
    /// Of this thread so far.
    pub fn usage(&self) -> Usage {
        let c = &self.counters;
        let io = IoUsage {
            rchar: c.read_bytes.load(Relaxed),
            wchar: c.written_bytes.load(Relaxed),
            syscr: c.reads.load(Relaxed),
            syscw: c.writes.load(Relaxed),
        };
        Usage { cpu: self.cpu_time(), waits: self.waits(), io }
    }

    /// Voluntary context switches.
    pub fn waits(&self) -> u64 {
        self.counters.waits.load(Relaxed)
    }

    /// The task leaves this address space, which nobody else uses, so that its process ends.
    pub(super) fn keep_peak(&self, mm: &Mm) {
        self.group.left.lock().add_space(mm.space().clone());
    }
}

impl ThreadGroup {
    /// The threads, and the sum of those that ended: both of one moment.
    fn parts(&self) -> (Vec<Arc<Task>>, Usage) {
        let links = self.links.lock();
        (links.tasks.clone(), *self.ended.lock())
    }

    /// Of all its threads, living and dead.
    pub fn usage(&self) -> Usage {
        let (tasks, mut sum) = self.parts();
        for task in &tasks {
            sum.add(&task.usage());
        }
        sum
    }

    /// The most memory that was resident at once, bytes. May sleep.
    pub fn peak(&self) -> u64 {
        let now = self.tasks().iter().find_map(|t| t.mm()).map_or(0, |mm| mm.peak_bytes());
        let left = self.left.lock().clone();
        left.wait().max(now)
    }

    /// As `peak`, of any of its children that were waited for, or theirs.
    pub fn children_peak(&self) -> u64 {
        let left = self.children_left.lock().clone();
        left.wait()
    }

    /// CPU time of all its threads, living and dead, ns.
    pub fn cpu_time(&self) -> u64 {
        let (tasks, ended) = self.parts();
        ended.cpu + tasks.iter().map(|t| t.cpu_time()).sum::<u64>()
    }

    /// Of its children that were waited for, and theirs.
    pub fn children_usage(&self) -> Usage {
        *self.waited_for.lock()
    }

    /// `child` was waited for. What it read and wrote counts for the parent itself, as on Linux.
    pub(super) fn add_child(&self, child: &ThreadGroup) {
        let mut sum = *child.ended.lock();
        sum.add(&child.children_usage());
        let own = Usage { io: child.ended.lock().io, ..Usage::default() };
        self.ended.lock().add(&own);
        sum.io = IoUsage::default();
        self.waited_for.lock().add(&sum);
        let mut left = child.left.lock().clone();
        left.add(&child.children_left.lock().clone());
        self.children_left.lock().add(&left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_add_up() {
        let io = IoUsage { rchar: 1, wchar: 2, syscr: 3, syscw: 4 };
        let mut sum = Usage { cpu: 5, waits: 1, io };
        sum.add(&Usage { cpu: 1, waits: 1, io });
        assert_eq!(sum, Usage { cpu: 6, waits: 2, io: IoUsage { rchar: 2, wchar: 4, syscr: 6, syscw: 8 } });
    }
}
