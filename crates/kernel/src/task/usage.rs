//! What threads and processes used: CPU time, waits, bytes, memory. getrusage(2), proc_pid_io(5).
//!
//! A thread counts for itself; a process keeps the sums of its threads that ended and of its children that were waited for.
//! Locks: none of its own; the sums are in `Leaf`s of `ThreadGroup`, the first changed under `GroupLinks` with the list of threads.

use super::left;
use super::times::Told;
use super::{Task, ThreadGroup};
use crate::mm::Mm;
use platform::Thread;
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
    /// See `Usage`.
    calls: AtomicU64,
    pub(super) told: Told,
}

impl Counters {
    pub(super) fn waited(&self) {
        self.waits.fetch_add(1, Relaxed);
    }
    pub(super) fn called(&self, ns: u64) {
        self.calls.fetch_add(ns, Relaxed);
    }
    /// A call of read(2)'s kind has moved so many bytes.
    pub fn read(&self, bytes: u64) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes, Relaxed);
    }
    /// So many have, without being seen.
    pub(super) fn read_by_stub(&self, (reads, bytes): (u64, u64)) {
        self.reads.fetch_add(reads, Relaxed);
        self.read_bytes.fetch_add(bytes, Relaxed);
    }
    /// A call of write(2)'s kind has.
    pub fn wrote(&self, bytes: u64) {
        self.writes.fetch_add(1, Relaxed);
        self.written_bytes.fetch_add(bytes, Relaxed);
    }
}

/// See `Usage`.
#[derive(Clone, Copy, Default)]
pub struct HostTime {
    host: u64,
    known_system: u64,
}

impl HostTime {
    /// Another host thread takes this one's place. The address space may be others' still, and tells nothing of it then.
    pub(super) fn add_thread(&mut self, thread: &Thread) {
        let used = thread.times();
        self.host += used.total();
        self.known_system += used.system + thread.waited_for_poller().min(used.user);
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
    /// CPU time of its host threads, ns.
    pub host: u64,
    /// What the kernel process used for it, ns.
    pub calls: u64,
    /// Part of `host` that is system time whatever the host says of its address spaces: its threads spun while the poller ran their calls, or it was used before an exec.
    pub known_system: u64,
    pub waits: u64,
    pub io: IoUsage,
}

impl Usage {
    pub fn add(&mut self, other: &Usage) {
        self.host += other.host;
        self.calls += other.calls;
        self.known_system += other.known_system;
        self.waits += other.waits;
        self.io.add(&other.io);
    }
}

impl Task {
    /// Of this thread so far.
    pub fn usage(&self) -> Usage {
        let c = &self.counters;
        let (reads, bytes) = self.lent_reads();
        let io = IoUsage {
            rchar: c.read_bytes.load(Relaxed) + bytes,
            wchar: c.written_bytes.load(Relaxed),
            syscr: c.reads.load(Relaxed) + reads,
            syscw: c.writes.load(Relaxed),
        };
        let HostTime { host, known_system } = self.host_time();
        Usage { host, calls: c.calls.load(Relaxed), known_system, waits: self.waits(), io }
    }

    /// Of its host threads.
    fn host_time(&self) -> HostTime {
        self.host_time_at_end.get().copied().unwrap_or_else(|| {
            let (thread, HostTime { host, known_system }) = self.thread_and_before();
            let (now, waited) = thread.map_or((0, 0), |t| (t.cpu_time(), t.waited_for_poller()));
            HostTime { host: host + now, known_system: known_system + waited.min(now) }
        })
    }

    /// It ends: what its host thread has used.
    pub(super) fn keep_cpu_time(&self) {
        if self.host_time_at_end.get().is_none() {
            self.counters.read_by_stub(self.lent_reads());
            let _ = self.host_time_at_end.set(self.host_time());
        }
    }

    /// What its host thread has read by itself: calls and bytes, which its counters hold once it has ended.
    fn lent_reads(&self) -> (u64, u64) {
        let thread = if self.host_time_at_end.get().is_some() { None } else { self.thread() };
        thread.map_or((0, 0), |thread| thread.lent_reads())
    }

    /// CPU time, ns.
    pub fn cpu_time(&self) -> u64 {
        self.host_time().host + self.counters.calls.load(Relaxed)
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
        left::peak(&self.left).max(now)
    }

    /// As `peak`, of any of its children that were waited for, or theirs.
    pub fn children_peak(&self) -> u64 {
        left::peak(&self.children_left)
    }

    /// CPU time of all its threads, living and dead, ns.
    pub fn cpu_time(&self) -> u64 {
        let (tasks, ended) = self.parts();
        ended.cpu() + tasks.iter().map(|t| t.cpu_time()).sum::<u64>()
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
        let mut left = child.left();
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
        let mut sum = Usage { host: 5, calls: 2, known_system: 1, waits: 1, io };
        sum.add(&Usage { host: 1, calls: 3, known_system: 1, waits: 1, io });
        let io = IoUsage { rchar: 2, wchar: 4, syscr: 6, syscw: 8 };
        assert_eq!(sum, Usage { host: 6, calls: 5, known_system: 2, waits: 2, io });
    }
}
