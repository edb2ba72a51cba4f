//! Open regular files of tmpfs: read(2), write(2), lseek(2), fallocate(2), mmap(2).
//!
//! Data is copied through a buffer of this thread, so that no lock is held while guest memory is touched.

use super::data::Data;
use super::node::Node;
use abi::Errno;
use abi::fs::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, SEEK_DATA, SEEK_END, SEEK_HOLE};
use host::file;
use kernel::block_in_place;
use kernel::buffer::with_buffer;
use kernel::io::{Io, LARGE, Sink, Source};
use kernel::op::{Op, fail};
use kernel::vfs::{Backing, FileOps, Mappable, Rights};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// Bytes copied at a time.
const CHUNK: usize = 128 << 10;

pub(super) struct OpenFile {
    pub node: Arc<Node>,
}

impl OpenFile {
    /// Fills a prefix of `into` from `at`; 0 at the end.
    fn fetch(&self, at: u64, into: &mut [u8]) -> Op<usize> {
        let (fd, count) = {
            let state = self.node.state.lock();
            let left = state.data.size().saturating_sub(at).min(into.len() as u64) as usize;
            match &state.data {
                Data::Heap(bytes) => {
                    let from = bytes.get(at as usize..).and_then(|b| b.get(..left)).unwrap_or_default();
                    if let Some(to) = into.get_mut(..from.len()) {
                        to.copy_from_slice(from);
                    }
                    return Ok(from.len());
                }
                Data::Host(host) => (host.fd.clone(), left),
            }
        };
        let Some(into) = into.get_mut(..count).filter(|i| !i.is_empty()) else { return Ok(0) };
        let mut got = 0;
        while let Some(rest) = into.get_mut(got..).filter(|rest| !rest.is_empty()) {
            let from = at.saturating_add(got as u64);
            let part = match &self.node.counts.disk {
                Some(disk) => disk.cache.read(&fd, rest, from, disk.local),
                None => file::read_at(&fd, rest, from),
            };
            match part {
                Ok(0) => break,
                Ok(part) => got += part,
                Err(_) if got > 0 => return Ok(got),
                Err(errno) => return fail(errno),
            }
        }
        // Beyond the host's end a writer has reserved its place and not yet filled it.
        into.get_mut(got..).unwrap_or_default().fill(0);
        Ok(count)
    }

    /// Lets who reads take it from the host's file, as far as that goes.
    fn leave_to(&self, to: &mut dyn Sink, at: u64) -> Option<usize> {
        if to.left() < LARGE || self.node.counts.disk.as_ref().is_some_and(|disk| !disk.local) {
            return None;
        }
        let (fd, size) = {
            let state = self.node.state.lock();
            match &state.data {
                Data::Host(host) => (host.fd.clone(), state.data.size()),
                Data::Heap(_) => return None,
            }
        };
        to.take_from(&fd, at, size.checked_sub(at)?)
    }

    fn on_disk(&self) -> bool {
        self.node.counts.disk.is_some()
    }

    /// Writes a prefix of `from` at `at`, or at the end; how many bytes, at least one. On a disk under `Node::serial`.
    fn store(&self, io: &Io<'_>, at: Option<u64>, from: &[u8]) -> Op<usize> {
        if self.on_disk() {
            let at = at.unwrap_or_else(|| self.node.state.lock().data.size());
            self.node.settle(at.saturating_add(from.len() as u64))?;
        }
        let (fd, at, count, size) = {
            let mut state = self.node.state.lock();
            let size = state.data.size();
            let at = at.unwrap_or(size);
            let count = state.data.reserve(&self.node.counts, at, from.len())?;
            state.modified();
            self.node.disarm(io, &mut state);
            match &mut state.data {
                Data::Heap(bytes) => {
                    let to = bytes.get_mut(at as usize..).and_then(|b| b.get_mut(..count));
                    if let (Some(to), Some(from)) = (to, from.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    return Ok(count);
                }
                Data::Host(host) => (host.fd.clone(), at, count, size),
            }
        };
        let from = from.get(..count).unwrap_or_default();
        let Some(disk) = &self.node.counts.disk else {
            let written = file::write_at(&fd, from, at);
            if *written.as_ref().unwrap_or(&0) < count {
                // A seal, or no memory: it has grown no further than that.
                let mut state = self.node.state.lock();
                let size = file::stat(&fd)?.stx_size;
                state.data.resized(&self.node.counts, size);
            }
            return Ok(written?);
        };
        let written = disk.cache.write(&fd, from, Some(at), disk.local);
        let fits = *written.as_ref().unwrap_or(&0);
        if fits < count {
            // The host's disk is full: the file ends where it did, or where the last byte went.
            let end = if fits > 0 { at.saturating_add(fits as u64) } else { 0 };
            self.node.state.lock().data.resized(&self.node.counts, size.max(end));
        }
        Ok(written?)
    }
}

impl FileOps for OpenFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let start = at.unwrap_or(0);
        if let Some(taken) = self.leave_to(to, start) {
            return Ok(taken);
        }
        let mut done = 0;
        while to.left() > 0 {
            let want = to.left().min(CHUNK);
            let step = with_buffer(want, |buffer| {
                let got = self.fetch(start.saturating_add(done as u64), buffer)?;
                let put = if got > 0 { to.put(buffer.get(..got).unwrap_or_default())? } else { 0 };
                Ok((got, put))
            });
            match step {
                Ok((got, put)) => {
                    done += put;
                    if got < want || put < got {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(done)
    }

    fn write(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let _serial = self.node.serial(io)?;
        let append = at == Some(u64::MAX);
        let start = at.unwrap_or(0);
        let mut done = 0;
        while from.left() > 0 {
            let want = from.left().min(CHUNK);
            let step = with_buffer(want, |buffer| {
                let taken = from.take(buffer)?;
                if taken == 0 {
                    return Ok((0, 0));
                }
                let place = (!append).then_some(start.saturating_add(done as u64));
                let stored = self.store(io, place, buffer.get(..taken).unwrap_or_default());
                from.untake(taken - stored.as_ref().copied().unwrap_or(0));
                Ok((taken, stored?))
            });
            match step {
                Ok((taken, stored)) => {
                    done += stored;
                    if taken < want || stored < taken {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(done)
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        let (size, fd) = {
            let state = self.node.state.lock();
            let fd = match &state.data {
                Data::Host(host) => Some(host.fd.clone()),
                Data::Heap(_) => None,
            };
            (state.data.size(), fd)
        };
        if whence == SEEK_END {
            return Ok(size.checked_add_signed(offset).filter(|to| *to <= i64::MAX as u64).ok_or(Errno::EINVAL)?);
        }
        let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        if from >= size {
            return fail(Errno::ENXIO);
        }
        match (whence, fd) {
            (SEEK_DATA, None) => Ok(from),
            (SEEK_HOLE, None) => Ok(size),
            (SEEK_DATA, Some(fd)) if self.on_disk() => Ok(block_in_place(|| file::seek_data(&fd, from))?),
            (SEEK_HOLE, Some(fd)) if self.on_disk() => Ok(block_in_place(|| file::seek_hole(&fd, from))?.min(size)),
            (SEEK_DATA, Some(fd)) => Ok(file::seek_data(&fd, from)?),
            (SEEK_HOLE, Some(fd)) => Ok(file::seek_hole(&fd, from)?.min(size)),
            _ => fail(Errno::EINVAL),
        }
    }

    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        Ok(())
    }

    fn allocate(&self, io: &mut Io<'_>, mode: u32, range: Range<u64>) -> Op<()> {
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 || mode == FALLOC_FL_PUNCH_HOLE {
            return fail(Errno::EOPNOTSUPP);
        }
        let counts = &self.node.counts;
        let punch = mode & FALLOC_FL_PUNCH_HOLE != 0;
        // All at once, so that nothing is left behind where it does not fit.
        if !punch && range.end - range.start > counts.left().saturating_add(self.node.state.lock().data.charged()) {
            return fail(Errno::ENOSPC);
        }
        self.node.allocate(io, mode, range, mode & FALLOC_FL_KEEP_SIZE == 0)
    }

    fn seals(&self, add: Option<u32>) -> Op<u32> {
        super::memfd::seals(&self.node, add)
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for OpenFile {
    fn backing(&self, io: &mut Io<'_>, range: Range<u64>, _rights: Rights) -> Op<Backing> {
        let _serial = self.node.serial(io)?;
        self.node.settle(u64::MAX)?;
        let counts = &self.node.counts;
        let fd = self.node.state.lock().data.memfd(counts)?.fd.clone();
        Ok(Backing::Host { fd, offset: range.start, local: counts.disk.as_ref().is_none_or(|disk| disk.local) })
    }
}
