//! What the host says of a sandbox' kernel process.

use std::fmt;
use std::fs;
use std::path::PathBuf;

pub struct KernelProcess {
    pub pid: i64,
}

pub struct Sample {
    /// KiB of its own (RssAnon).
    pub memory: u64,
    pub threads: u64,
    pub descriptors: usize,
    /// It and its children.
    pub processes: usize,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { memory, threads, descriptors, processes } = self;
        write!(f, "{memory} KiB, {threads} threads, {descriptors} descriptors, {processes} processes")
    }
}

impl KernelProcess {
    pub fn new(pid: i64) -> KernelProcess {
        KernelProcess { pid }
    }

    /// None: it has ended.
    pub fn sample(&self) -> Option<Sample> {
        let place = PathBuf::from(format!("/proc/{}", self.pid));
        let status = fs::read_to_string(place.join("status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let threads: Vec<PathBuf> =
            fs::read_dir(place.join("task")).ok()?.flatten().map(|entry| entry.path()).collect();
        let children = threads.iter().map(|thread| fs::read_to_string(thread.join("children")).unwrap_or_default());
        Some(Sample {
            memory: number("RssAnon:")?,
            threads: number("Threads:")?,
            descriptors: fs::read_dir(place.join("fd")).ok()?.count(),
            processes: 1 + children.map(|list| list.split_whitespace().count()).sum::<usize>(),
        })
    }
}
