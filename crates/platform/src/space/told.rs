//! What the host's /proc tells of a stub process, and what is changed by it: mappings, sizes, pages; proc_pid_maps(5), proc_pid_statm(5), proc_pid_pagemap(5).
//!
//! Neighbours: the space. Owns no locks.

use std::ops::Range;
use std::sync::atomic::Ordering;

use abi::Errno;
use host::process::CpuTimes;

use super::Space;
use crate::region;

/// USER_HZ is 100 on x86-64.
const TICK: u64 = 10_000_000;

/// System time in a file of proc_pid_stat(5), ns: the 15th field.
pub(crate) fn system_time(stat: &str) -> Option<u64> {
    let ticks: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(12)?.parse().ok()?;
    Some(ticks.saturating_mul(TICK))
}

/// A mapping in the arena, as the host tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMap {
    pub range: Range<u64>,
    /// PROT_*.
    pub prot: u32,
    pub shared: bool,
    /// Something other than private anonymous memory is behind it.
    pub file: bool,
}

impl HostMap {
    /// `rest` is what follows the range in a line of /proc/PID/maps.
    fn read(range: Range<u64>, rest: &str) -> HostMap {
        let mut words = rest.split_ascii_whitespace();
        let bits = words.next().unwrap_or("").as_bytes();
        let has = |i: usize, c: u8| u32::from(bits.get(i) == Some(&c));
        HostMap {
            range,
            prot: has(0, b'r') | has(1, b'w') << 1 | has(2, b'x') << 2,
            shared: has(3, b's') != 0,
            file: words.nth(2).is_some_and(|inode| inode != "0"),
        }
    }
}

impl Space {
    /// What the host has mapped in the arena, rising. None: it can't be read any more. May sleep.
    pub fn arena_maps(&self) -> Option<Vec<HostMap>> {
        let arena = self.arena();
        if arena.is_empty() {
            return Some(Vec::new());
        }
        let text = self.core.long_proc_file(&format!("{}/maps", self.access.load(Ordering::Relaxed)))?;
        let within = |(range, rest): (Range<u64>, &str)| {
            let range = range.start.max(arena.start)..range.end.min(arena.end);
            (!range.is_empty()).then(|| HostMap::read(range, rest))
        };
        Some(region::ranges(&text).filter_map(within).collect())
    }

    /// Sizes in pages, as /proc/PID/statm gives them: total, resident, shared, text, 0, data, 0.
    pub fn pages(&self) -> Option<[u64; 7]> {
        let text = self.core.proc_file(&format!("{}/statm", self.access.load(Ordering::Relaxed)))?;
        let mut pages = [0; 7];
        for (page, word) in pages.iter_mut().zip(text.split_ascii_whitespace()) {
            *page = word.parse().ok()?;
        }
        Some(pages)
    }

    /// /proc/PID/smaps of the host's process: what of its mappings is resident. May sleep.
    pub fn smaps(&self) -> Option<String> {
        self.core.long_proc_file(&format!("{}/smaps", self.access.load(Ordering::Relaxed)))
    }

    /// /proc/PID/smaps_rollup of the host's process: the sums of `smaps`. May sleep.
    pub fn smaps_rollup(&self) -> Option<String> {
        self.core.long_proc_file(&format!("{}/smaps_rollup", self.access.load(Ordering::Relaxed)))
    }

    /// /proc/PID/pagemap of the host's process from a page's number on. `None` once it has ended. May sleep.
    pub fn pagemap(&self, first: u64, into: &mut [u64]) -> Option<()> {
        let path = format!("{}/pagemap", self.access.load(Ordering::Relaxed));
        let mut bytes = vec![0u8; into.len() * 8];
        self.core.proc_file_at(&path, first.checked_mul(8)?, &mut bytes)?;
        for (word, from) in into.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        Some(())
    }

    /// Has the host forget which pages were referenced (1 to 3) or written (4), or the most that was resident (5): /proc/PID/clear_refs. May sleep.
    pub fn clear_refs(&self, what: u8) -> Result<(), Errno> {
        use host::rustix::fs::{Mode, OFlags, openat};
        let proc = self.core.proc.as_ref().ok_or(Errno::EOPNOTSUPP)?;
        let path = format!("{}/clear_refs", self.access.load(Ordering::Relaxed));
        let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(host::errno)?;
        host::rustix::io::write(&file, format!("{what}").as_bytes()).map(drop).map_err(host::errno)
    }

    /// Writes guest memory that the guest itself may only read, as a debugger does: private pages are copied first. The caller has checked that all of the range is the guest's own: the stub's text is what the
    /// filter trusts. EIO where the host does not do that: shared mappings, or a host that forbids it. May sleep.
    pub fn write_forced(&self, addr: u64, from: &[u8]) -> Result<(), Errno> {
        use host::rustix::fs::{Mode, OFlags, openat};
        let ours = self.core.region.base..self.core.region.base + crate::layout::REGION_LEN;
        let end = addr.checked_add(from.len() as u64).ok_or(Errno::EIO)?;
        if addr < crate::LOW || addr < ours.end && ours.start < end {
            return Err(Errno::EIO);
        }
        let proc = self.core.proc.as_ref().ok_or(Errno::EIO)?;
        let path = format!("{}/mem", self.access.load(Ordering::Relaxed));
        let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|_| Errno::EIO)?;
        host::rustix::fs::seek(&file, host::rustix::fs::SeekFrom::Start(addr)).map_err(|_| Errno::EIO)?;
        let written = host::rustix::io::write(&file, from).map_err(|_| Errno::EIO)?;
        if written == from.len() { Ok(()) } else { Err(Errno::EIO) }
    }

    /// /proc/PID/status of the host's process. May sleep.
    pub fn status(&self) -> Option<String> {
        self.core.long_proc_file(&format!("{}/status", self.access.load(Ordering::Relaxed)))
    }

    /// User and system time of the whole process, as the host tells them apart: in steps of 10 ms as long as the process has not ended.
    pub fn times(&self) -> CpuTimes {
        let told = || system_time(&self.core.proc_file(&format!("{}/stat", self.host_pid))?);
        let system = if self.ended().is_none() { told() } else { None };
        if let Some(ended) = self.ended() {
            return ended.times;
        }
        let total = self.cpu_time();
        let system = system.unwrap_or(0).min(total);
        CpuTimes { user: total - system, system }
    }

    /// The most that was resident at once so far, in KiB: VmHWM of /proc/PID/status. `None` once the process has ended.
    pub fn peak_kb(&self) -> Option<u64> {
        let text = self.core.proc_file(&format!("{}/status", self.access.load(Ordering::Relaxed)))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::system_time;

    #[test]
    fn system_time_is_the_15th_field() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 93 0 0 0 11 25 3 4 20 0 1 0 5 1024";
        assert_eq!(system_time(stat), Some(250_000_000));
        assert_eq!(system_time("7 (a"), None);
    }
}
