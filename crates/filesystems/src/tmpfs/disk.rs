//! Where a tmpfs keeps large files that is no memory: host files without a name, which a gofer makes, one for each file. They are as sparse as
//! what is in them, and their space is the host's again when they are cut or gone.
//!
//! Unlike memfds they sleep: `Node::serial` is held around what changes them, and no plain lock.

use super::data::{SMALL, no_room};
use super::node::Node;
use super::{Counts, Data};
use crate::hostio::{PageCache, is_local};
use abi::Errno;
use fsproto::Gofer;
use host::{HostFd, file};
use kernel::block_in_place;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{StatFs, TaskGuard};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that small files may have on the heap, all together; what comes beyond goes to the disk however small it is.
const HEAP: u64 = 64 << 20;

/// A place on a disk of the host.
pub struct Disk {
    gofer: Arc<dyn Gofer>,
    mount: usize,
    /// An empty file there, which tells of the file system.
    first: Arc<HostFd>,
    /// Its pages never wait for a network or for another process.
    pub(super) local: bool,
    pub(super) cache: PageCache,
}

impl Disk {
    /// The place that a gofer has for an overlay over its `mount`th folder.
    pub fn new(gofer: Arc<dyn Gofer>, mount: usize) -> Op<Arc<Disk>> {
        let first = block_in_place(|| gofer.scratch(mount))?;
        let local = is_local(file::statfs(&first)?.f_type as u64);
        Ok(Arc::new(Disk { gofer, mount, first, local, cache: PageCache::default() }))
    }

    fn file(&self) -> Result<Arc<HostFd>, Errno> {
        self.gofer.scratch(self.mount)
    }

    /// What the host's file system has, and has left.
    pub(super) fn statfs(&self) -> Op<StatFs> {
        let s = file::statfs(&self.first)?;
        Ok(StatFs {
            block_size: s.f_bsize as u64,
            blocks: s.f_blocks,
            blocks_free: s.f_bfree,
            blocks_available: s.f_bavail,
            files: s.f_files,
            files_free: s.f_ffree,
            ..StatFs::default()
        })
    }
}

impl Counts {
    /// Bytes that one file may have on the heap as things are.
    fn small(&self) -> u64 {
        let full = self.disk.is_some() && self.heap.load(std::sync::atomic::Ordering::Relaxed) >= HEAP;
        if full { 0 } else { SMALL }
    }
}

impl Node {
    /// Held around changes of contents on a disk; `None` in memory.
    pub(super) fn serial(&self, io: &mut Io<'_>) -> Op<Option<TaskGuard<'_>>> {
        if self.counts.disk.is_some() { self.serial.lock(io).map(Some) } else { Ok(None) }
    }

    /// Brings contents to the disk, if there is one, where `end` bytes of them are more than the heap takes. Under `serial`.
    pub(super) fn settle(&self, end: u64) -> Op<()> {
        let Some(disk) = &self.counts.disk else { return Ok(()) };
        let bytes = match &self.state.lock().data {
            Data::Heap(bytes) if end > self.counts.small() => bytes.clone(),
            _ => return Ok(()),
        };
        let made = block_in_place(|| {
            let fd = disk.file()?;
            let mut at = 0;
            while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                match file::write_at(&fd, rest, at as u64)? {
                    0 => return Err(Errno::EIO),
                    count => at += count,
                }
            }
            Ok(fd)
        });
        match made {
            Ok(fd) => self.state.lock().data.move_to(&self.counts, fd),
            // Without descriptors left, small files stay where they are.
            Err(Errno::EMFILE | Errno::ENFILE) if end <= SMALL => {}
            Err(errno) => return fail(no_room(errno)),
        }
        Ok(())
    }

    /// truncate(2). Whether the size changed.
    pub(super) fn set_size(&self, io: &mut Io<'_>, size: u64) -> Op<bool> {
        let _serial = self.serial(io)?;
        self.settle(size)?;
        let fd = {
            let mut state = self.state.lock();
            let old = state.data.size();
            match &state.data {
                Data::Host(host) if self.counts.disk.is_some() && size <= i64::MAX as u64 => host.fd.clone(),
                _ => {
                    state.data.set_size(&self.counts, size)?;
                    return Ok(old != size);
                }
            }
        };
        block_in_place(|| file::set_size(&fd, size))?;
        let mut state = self.state.lock();
        let old = state.data.size();
        state.data.resized(&self.counts, size);
        Ok(old != size)
    }

    /// fallocate(2) of contents that are the host's; the size may grow to the range's end.
    pub(super) fn allocate(&self, io: &mut Io<'_>, mode: u32, range: Range<u64>, grows: bool) -> Op<()> {
        let _serial = self.serial(io)?;
        self.settle(u64::MAX)?;
        let fd = self.state.lock().data.memfd(&self.counts)?.fd.clone();
        // To clear gigabytes of memory takes seconds.
        block_in_place(|| file::allocate(&fd, mode, range.start, range.end - range.start))?;
        let mut state = self.state.lock();
        let host = state.data.memfd(&self.counts)?;
        if grows {
            host.grown_to(range.end);
        }
        host.recount(&self.counts);
        state.modified();
        self.disarm(io, &mut state);
        Ok(())
    }
}
