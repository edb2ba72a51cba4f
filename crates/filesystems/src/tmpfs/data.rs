//! The contents of a regular file: on the heap while small, then in a memory file of its own, or a file on the host's disk (`disk`).
//!
//! What grows by writes at its end has large folios ([`host::tmpfs`]); what begins with a hole or is mapped first is a memfd, since each write to a hole of the
//! other would take up to 2 MiB. A memory file never sleeps on anything but memory, so its calls need no hand-over. The heap's copy is bounded by `SMALL`; the size
//! that files show is kept here, a memory file is as long. All functions run under the node's lock.

use super::{Counts, PAGE};
use abi::Errno;
use host::{HostFd, file};
use kernel::op::{Op, fail};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes that a file may have on the heap.
pub(super) const SMALL: u64 = 4 * PAGE;

/// A file that grows is asked what it has each time when it grows into another piece of so many bytes.
const STEP: u64 = 64 << 10;

/// See the module.
pub(super) enum Data {
    Heap(Vec<u8>),
    Host(HostData),
}

pub(super) struct HostData {
    pub fd: Arc<HostFd>,
    size: u64,
    /// Bytes that count against the file system's limit.
    charged: u64,
}

impl Default for Data {
    fn default() -> Data {
        Data::Heap(Vec::new())
    }
}

/// Changes what is on the heap, and counts it.
fn resize(counts: &Counts, bytes: &mut Vec<u8>, len: usize) {
    counts.heap.fetch_add(len as u64, Ordering::Relaxed);
    counts.heap.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
    bytes.resize(len, 0);
}

/// Without descriptors left, no file can grow: that is a full disk to a guest.
pub(super) fn no_room(errno: Errno) -> Errno {
    if matches!(errno, Errno::EMFILE | Errno::ENFILE) { Errno::ENOSPC } else { errno }
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

impl Data {
    pub fn size(&self) -> u64 {
        match self {
            Data::Heap(bytes) => bytes.len() as u64,
            Data::Host(host) => host.size,
        }
    }

    /// Bytes that count against the limit.
    pub fn charged(&self) -> u64 {
        match self {
            Data::Heap(bytes) => pages(bytes.len() as u64),
            Data::Host(host) => host.charged,
        }
    }

    /// Bytes of memory that it has, holes left out.
    pub fn allocated(&mut self, counts: &Counts) -> u64 {
        if let Data::Host(host) = self {
            host.recount(counts);
        }
        self.charged()
    }

    /// A new memfd as contents, empty.
    pub fn on_host(fd: Arc<HostFd>) -> Data {
        Data::Host(HostData { fd, size: 0, charged: 0 })
    }

    /// They go with their node.
    pub fn uncount(&self, counts: &Counts) {
        counts.uncharge(self.charged());
        if let Data::Heap(bytes) = self {
            counts.heap.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        }
    }

    /// What is on the heap is in this file now.
    pub fn move_to(&mut self, counts: &Counts, fd: Arc<HostFd>) {
        if let Data::Heap(bytes) = self {
            let size = bytes.len() as u64;
            counts.heap.fetch_sub(size, Ordering::Relaxed);
            *self = Data::Host(HostData { fd, size, charged: pages(size) });
        }
    }

    /// Moves the contents to a memfd, where they are neither in a memory file nor on a disk (`Node::settle`).
    pub fn memfd(&mut self, counts: &Counts) -> Op<&mut HostData> {
        self.on_host_by(counts, || host::memory::memfd("tmpfs", false))
    }

    fn on_host_by(&mut self, counts: &Counts, make: fn() -> Result<OwnedFd, Errno>) -> Op<&mut HostData> {
        if let Data::Heap(bytes) = self {
            if counts.disk.is_some() {
                return fail(Errno::EIO);
            }
            let fd = HostFd::new(make().map_err(no_room)?);
            let mut at = 0;
            while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
                at += file::write_at(&fd, rest, at as u64)?;
            }
            self.move_to(counts, fd);
        }
        match self {
            Data::Host(host) => Ok(host),
            Data::Heap(_) => fail(Errno::EIO),
        }
    }

    /// truncate(2).
    pub fn set_size(&mut self, counts: &Counts, size: u64) -> Op<()> {
        if size > i64::MAX as u64 {
            return fail(Errno::EFBIG);
        }
        if let Data::Heap(bytes) = self
            && size <= SMALL
        {
            let (old, new) = (pages(bytes.len() as u64), pages(size));
            if new > old && !counts.charge(new - old) {
                return fail(Errno::ENOSPC);
            }
            counts.uncharge(old.saturating_sub(new));
            resize(counts, bytes, size as usize);
            bytes.shrink_to(size as usize);
            return Ok(());
        }
        let host = self.memfd(counts)?;
        file::set_size(&host.fd, size)?;
        self.resized(counts, size);
        Ok(())
    }

    /// The host's file has this size now.
    pub fn resized(&mut self, counts: &Counts, size: u64) {
        if let Data::Host(host) = self {
            host.size = size;
            host.recount(counts);
        }
    }

    /// Room for `count` bytes at `at`, which are about to be written: how many of them fit. ENOSPC where none does.
    pub fn reserve(&mut self, counts: &Counts, at: u64, count: usize) -> Op<usize> {
        let end = at.saturating_add(count as u64).min(i64::MAX as u64);
        if at >= end {
            return fail(Errno::EFBIG);
        }
        if let Data::Heap(bytes) = self
            && end <= SMALL
        {
            let (old, new) = (pages(bytes.len() as u64), pages(end));
            if new > old && !counts.charge(new - old) {
                return fail(Errno::ENOSPC);
            }
            if end > bytes.len() as u64 {
                resize(counts, bytes, end as usize);
            }
            return Ok((end - at) as usize);
        }
        let host = if at <= self.size() { self.on_host_by(counts, host::tmpfs::file)? } else { self.memfd(counts)? };
        let mut end = end;
        if counts.limited() {
            // What has no holes has what is counted, or somewhat more.
            let mut known = host.is_dense() && end.div_ceil(STEP) <= host.size.div_ceil(STEP);
            let (from, mut need, fits) = loop {
                if !known {
                    host.recount(counts);
                }
                let from = host.new_from(at);
                let need = pages(end).saturating_sub(from);
                let fits = need == 0 || counts.charge(need);
                if fits || !known {
                    break (from, need, fits);
                }
                known = false;
            };
            if !fits {
                need = counts.left() / PAGE * PAGE;
                end = (from + need).min(end);
                if end <= at || !counts.charge(need) {
                    return fail(Errno::ENOSPC);
                }
            }
            host.charged += need;
        }
        if end > host.size {
            host.size = end;
        }
        Ok((end - at) as usize)
    }
}

impl HostData {
    fn is_dense(&self) -> bool {
        self.charged >= pages(self.size)
    }

    /// From where on pages may be new if something is written at `at`: where nothing is a hole up to here, only what lies beyond; else all that is touched.
    fn new_from(&self, at: u64) -> u64 {
        if self.is_dense() { at.max(pages(self.size)) / PAGE * PAGE } else { at / PAGE * PAGE }
    }

    /// Counts what the host's file has now: mappings fill holes, too.
    pub fn recount(&mut self, counts: &Counts) {
        let Ok(stat) = file::stat(&self.fd) else { return };
        let now = stat.stx_blocks * 512;
        if now > self.charged {
            counts.charge_anyway(now - self.charged);
        } else {
            counts.uncharge(self.charged - now);
        }
        self.charged = now;
    }

    /// The host has made the file this long.
    pub fn grown_to(&mut self, size: u64) {
        self.size = self.size.max(size);
    }
}
