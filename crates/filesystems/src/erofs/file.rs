//! Open regular files of an image: read through the host's page cache, mapped straight from the image.
//!
//! A process that maps a part of the image could map all of it: hostile code in its stub asks the host for whatever it likes. So only those get the image
//! who may read everything in it (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE: root); others get a copy of the file in memory, one for all of them. What does not lie page by page
//! in the image, mostly the last page, is such a copy for everybody. Beyond a file's end there is nothing, as on Linux (SIGBUS). mmap(2).

use super::node::NodeOps;
use abi::Errno;
use abi::fs::{SEEK_DATA, SEEK_END, SEEK_HOLE};
use host::{HostFd, file, memory};
use kernel::buffer::with_buffer;
use kernel::cred::Cap;
use kernel::io::{Io, Sink};
use kernel::locks::Leaf;
use kernel::op::{Op, fail};
use kernel::vfs::{Backing, FileOps, Mappable, Rights};
use lock::Mutex;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

const PAGE: u64 = 4096;
/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;
/// The most that is copied of one file: a hostile image can say that one block is a huge file.
const MOST: u64 = 1 << 30;

/// Copies of a file's end that were mapped, by where they begin.
#[derive(Default)]
pub struct Copies(Mutex<Vec<(u64, Arc<HostFd>)>, Leaf>);

/// See the module.
pub struct OpenFile(pub NodeOps);

impl FileOps for OpenFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let Some(start) = at else { return fail(Errno::EINVAL) };
        let NodeOps { shared, meta, .. } = &self.0;
        let left = meta.size.saturating_sub(start);
        with_buffer(to.left().min(CHUNK).min(usize::try_from(left).unwrap_or(CHUNK)), |buffer| {
            let mut done = 0;
            while to.left() > 0 && !buffer.is_empty() {
                let want = to.left().min(buffer.len());
                let part = buffer.get_mut(..want).unwrap_or_default();
                let got = match shared.image.read_data(meta, start.saturating_add(done as u64), part) {
                    Ok(got) => got,
                    Err(_) if done > 0 => break,
                    Err(stop) => return Err(stop),
                };
                let put = if got > 0 { to.put(part.get(..got).unwrap_or_default()) } else { Ok(0) };
                let put = match put {
                    Err(_) if done > 0 => break,
                    other => other?,
                };
                done += put;
                if put < want {
                    break;
                }
            }
            Ok(done)
        })
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        let size = self.0.meta.size;
        match (whence, u64::try_from(offset)) {
            (SEEK_END, _) => {
                Ok(size.checked_add_signed(offset).filter(|to| *to <= i64::MAX as u64).ok_or(Errno::EINVAL)?)
            }
            (SEEK_DATA, Ok(from)) if from < size => Ok(from),
            (SEEK_HOLE, Ok(from)) if from < size => Ok(size),
            (SEEK_DATA | SEEK_HOLE, _) => fail(Errno::ENXIO),
            _ => fail(Errno::EINVAL),
        }
    }

    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        Ok(())
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for OpenFile {
    fn backing(&self, io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        if rights.write && rights.shared {
            return fail(Errno::EACCES);
        }
        let image = &self.0.shared.image;
        let may_see_all = io.cred.has(Cap::DacReadSearch) || io.cred.has(Cap::DacOverride);
        let (at, len) = if may_see_all { self.direct(&range)? } else { (0, 0) };
        if len == 0 {
            let fd = self.copy_from(0)?;
            return Ok(Backing::Host { fd, offset: range.start, local: true });
        }
        let fd = image.fd.clone();
        if range.start.saturating_add(len) >= range.end {
            return Ok(Backing::Host { fd, offset: at, local: image.local });
        }
        let rest = self.copy_from(range.start + len)?;
        Ok(Backing::Split { fd, offset: at, len, rest, local: image.local })
    }

    /// What follows in the image is another file.
    fn may_grow(&self) -> bool {
        false
    }
}

impl OpenFile {
    /// Where the pages from the range's start on lie in the image, and how many bytes of them lie there in one piece.
    fn direct(&self, range: &Range<u64>) -> Op<(u64, u64)> {
        let NodeOps { shared, meta, .. } = &self.0;
        let mut found = (0, 0);
        let mut at = range.start;
        while at < range.end && at < meta.size {
            let extent = shared.image.extent(meta, at)?;
            match extent.at {
                Some(place) if at == range.start && place % PAGE == 0 => found = (place, extent.len),
                Some(place) if at > range.start && place == found.0 + found.1 => found.1 += extent.len,
                _ => break,
            }
            at += extent.len;
        }
        Ok((found.0, found.1 / PAGE * PAGE))
    }

    /// The file from `start` on, in memory. ENOMEM where that is too much.
    fn copy_from(&self, start: u64) -> Op<Arc<HostFd>> {
        let NodeOps { shared, meta, copies, .. } = &self.0;
        let known = copies.0.lock().iter().find(|(from, _)| *from == start).map(|(_, fd)| fd.clone());
        if let Some(fd) = known {
            return Ok(fd);
        }
        let len = meta.size.saturating_sub(start);
        let fd = HostFd::new(memory::memfd("erofs", false)?);
        file::set_size(&fd, len)?;
        let mut buffer = vec![0; CHUNK];
        let (mut at, mut copied) = (start, 0);
        while at < meta.size {
            let extent = shared.image.extent(meta, at)?;
            let count = extent.len.min(CHUNK as u64);
            let Some(place) = extent.at else {
                at += extent.len;
                continue;
            };
            copied += count;
            if copied > MOST {
                return fail(Errno::ENOMEM);
            }
            let part = buffer.get_mut(..count as usize).unwrap_or_default();
            shared.image.read(place, part)?;
            let mut done = 0;
            while let Some(rest) = part.get(done..).filter(|rest| !rest.is_empty()) {
                done += file::write_at(&fd, rest, at - start + done as u64)?;
            }
            at += count;
        }
        let mut list = copies.0.lock();
        // Beginnings that programs choose are not kept without end.
        if list.len() < 4 {
            list.push((start, fd.clone()));
        }
        Ok(fd)
    }
}
