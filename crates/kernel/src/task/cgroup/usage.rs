//! What the members of a group use: CPU time and memory. cgroups(7), "cpu" and "memory".
//!
//! Memory is that of the guests' processes by the host's count, a page that several share divided among them, so that the parts add up.

use super::Cgroup;
use super::members::Member;
use super::threads::{Since, cpu_since};
use crate::task::ThreadGroup;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    pub anon: u64,
    pub file: u64,
    pub shmem: u64,
}

impl MemoryUse {
    pub fn total(self) -> u64 {
        self.anon + self.file + self.shmem
    }

    /// From the host's smaps_rollup.
    fn parse(text: &str) -> MemoryUse {
        let kb = |key: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(key));
            line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        MemoryUse { anon: kb("Pss_Anon:") * 1024, file: kb("Pss_File:") * 1024, shmem: kb("Pss_Shmem:") * 1024 }
    }
}

impl Cgroup {
    /// CPU time of all that ever ran in it and below, ns.
    pub fn cpu_time(&self) -> u64 {
        let (mut sum, mut groups) = self.own_cpu_time();
        while let Some(group) = groups.pop() {
            let (own, below) = group.own_cpu_time();
            sum += own;
            groups.extend(below);
        }
        sum
    }

    fn own_cpu_time(&self) -> (u64, Vec<Arc<Cgroup>>) {
        let (ended, members, threads, below) = {
            let state = self.state.lock();
            let members: Vec<Member> = state.members.values().cloned().collect();
            let threads: Vec<Since> = state.threads.values().cloned().collect();
            (state.cpu, members, threads, state.children.values().cloned().collect())
        };
        let living = members.iter().filter_map(|member| Some(member.used(member.process.upgrade()?.cpu_time())));
        (ended + living.sum::<u64>() + cpu_since(threads.iter()), below)
    }

    /// CPU time since it was set back last: cpuacct.usage.
    pub fn counted_cpu_time(&self) -> u64 {
        let before = self.state.lock().cpu_reset;
        self.cpu_time().saturating_sub(before)
    }

    pub fn reset_cpu_time(&self) {
        let now = self.cpu_time();
        self.state.lock().cpu_reset = now;
    }

    /// Memory of all processes in it and below. May sleep.
    pub fn memory(self: &Arc<Self>) -> MemoryUse {
        memory_of(self.subtree().into_iter().flat_map(|g| g.processes()))
    }

    /// Memory of the processes in this very group. May sleep.
    pub fn own_memory(&self) -> MemoryUse {
        memory_of(self.processes().into_iter())
    }
}

/// Memory of these processes. May sleep.
pub fn memory_of(processes: impl Iterator<Item = Arc<ThreadGroup>>) -> MemoryUse {
    let spaces = processes.filter_map(|p| p.tasks().iter().find_map(|t| t.mm())).map(|mm| mm.space().clone());
    // Once for those who share it.
    let spaces: HashMap<_, _> = spaces.map(|space| (Arc::as_ptr(&space), space)).collect();
    let mut sum = MemoryUse::default();
    for space in spaces.values() {
        let text = platform::block_in_place(|| space.smaps_rollup()).unwrap_or_default();
        let part = MemoryUse::parse(&text);
        sum = MemoryUse { anon: sum.anon + part.anon, file: sum.file + part.file, shmem: sum.shmem + part.shmem };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollups_are_read() {
        let text = "10000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 500 kB\nPss: 30 kB\nPss_Anon:      12 kB\nPss_File:  8 kB\nPss_Shmem: 10 kB\n";
        let got = MemoryUse::parse(text);
        assert_eq!(got, MemoryUse { anon: 12 << 10, file: 8 << 10, shmem: 10 << 10 });
        assert_eq!(got.total(), 30 << 10);
        assert_eq!(MemoryUse::parse(""), MemoryUse::default());
    }
}
