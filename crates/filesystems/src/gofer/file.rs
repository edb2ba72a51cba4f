//! Open regular files: read and written in the kernel process, through the host's page cache.
//!
//! Reads try what is in the page cache first (RWF_NOWAIT), and hand over only where that is not enough. Small writes go straight to the page cache.

use super::node::{Access, Node};
use crate::hostio::is_local;
use abi::Errno;
use abi::fs::{OpenFlags, SEEK_DATA, SEEK_END, SEEK_HOLE};
use fsproto::OpenHow;
use host::{HostFd, file};
use kernel::block_in_place;
use kernel::buffer::with_buffer;
use kernel::io::{Io, LARGE, Sink, Source};
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{Backing, FileOps, Mappable, Rights};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that go through the kernel process at a time.
const CHUNK: usize = 128 << 10;

/// Opens a regular file.
pub(crate) fn open(node: &Arc<Node>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let access = match (flags.readable(), flags.writable()) {
        (true, true) => Access::Both,
        (false, true) => Access::Write,
        _ => Access::Read,
    };
    let fd = match node.open_fd(access) {
        Some(fd) => fd,
        None => open_on_host(node, access)?,
    };
    let local = is_local(node.last_attr().magic);
    Ok(Arc::new(OpenFile { node: node.clone(), fd, access, local }))
}

/// A new descriptor: opened here, or by the gofer, by the node's handle or by its name.
fn open_on_host(node: &Arc<Node>, access: Access) -> Op<Arc<HostFd>> {
    if let Some(fd) = node.open_directly(access) {
        keep(node, access, &fd);
        return Ok(fd);
    }
    let how = OpenHow { read: access != Access::Write, write: access != Access::Read, ..OpenHow::default() };
    let handle = node.state.lock().handle();
    let opened = match (handle, node.place()) {
        (None, Some((dir, name))) => dir.with_handle(|gofer, dir| gofer.open(dir, &[&name], how))?,
        _ => node.with_handle(|gofer, handle| gofer.open(handle, &[], how))?,
    };
    match opened.handle {
        Some(handle) if (opened.attr.dev, opened.attr.ino) == node.key => node.set_handle(handle, opened.attr),
        Some(other) => {
            node.shared.gofer.forget(&[other]);
            return fail(Errno::ESTALE);
        }
        None => node.set_attr_known(opened.attr),
    }
    let Some(fd) = opened.fd else { return fail(Errno::EIO) };
    keep(node, access, &fd);
    Ok(fd)
}

/// For the next open.
fn keep(node: &Arc<Node>, access: Access, fd: &Arc<HostFd>) {
    node.add_fd(access, fd);
    if access == Access::Read {
        node.shared.keep_open(node.key, fd);
    }
}

struct OpenFile {
    node: Arc<Node>,
    fd: Arc<HostFd>,
    /// What the guest may do with it; `fd` may do at least that.
    access: Access,
    /// On a disk of the host's.
    local: bool,
}

impl FileOps for OpenFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let Some(start) = at else { return fail(Errno::EINVAL) };
        let end = self.node.end();
        if let Some(taken) = self.leave_to(to, start, end) {
            self.node.was_read();
            return Ok(taken);
        }
        with_buffer(to.left().min(CHUNK), |buffer| {
            let mut total = 0;
            while to.left() > 0 {
                let at = start.saturating_add(total as u64);
                let want = to.left().min(buffer.len());
                let Some(part) = buffer.get_mut(..want) else { break };
                let got = match self.read_part(part, at, end) {
                    Ok(0) => break,
                    Ok(got) => got,
                    Err(_) if total > 0 => break,
                    Err(errno) => return fail(errno),
                };
                let put = match to.put(part.get(..got).unwrap_or_default()) {
                    Err(_) if total > 0 => break,
                    other => other?,
                };
                total += put;
                if put < got || end.is_some_and(|end| start.saturating_add(total as u64) >= end) {
                    break;
                }
            }
            if total > 0 {
                self.node.was_read();
            }
            Ok(total)
        })
    }

    fn write(&self, _io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let Some(start) = at else { return fail(Errno::EINVAL) };
        let _writing = self.node.writing();
        with_buffer(from.left().min(CHUNK), |buffer| {
            let mut total = 0;
            while from.left() > 0 {
                let want = from.left().min(buffer.len());
                let Some(part) = buffer.get_mut(..want) else { break };
                let taken = match from.take(part) {
                    Err(_) if total > 0 => break,
                    other => other?,
                };
                let Some(part) = part.get(..taken).filter(|part| !part.is_empty()) else { break };
                let at = if start == u64::MAX { None } else { Some(start.saturating_add(total as u64)) };
                match self.node.shared.cache.write(&self.fd, part, at, self.local) {
                    Ok(written) => {
                        total += written;
                        if written < taken {
                            from.untake(taken - written);
                            break;
                        }
                    }
                    Err(errno) => {
                        from.untake(taken);
                        if total > 0 {
                            break;
                        }
                        return fail(errno);
                    }
                }
            }
            Ok(total)
        })
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        let result = match whence {
            SEEK_END => {
                let size = i64::try_from(self.node.attr()?.size).unwrap_or(i64::MAX);
                return match size.checked_add(offset).map(u64::try_from) {
                    Some(Ok(position)) => Ok(position),
                    Some(Err(_)) => fail(Errno::EINVAL),
                    None => fail(Errno::EOVERFLOW),
                };
            }
            SEEK_DATA | SEEK_HOLE => {
                let Ok(offset) = u64::try_from(offset) else { return fail(Errno::ENXIO) };
                block_in_place(|| {
                    if whence == SEEK_DATA {
                        file::seek_data(&self.fd, offset)
                    } else {
                        file::seek_hole(&self.fd, offset)
                    }
                })
            }
            _ => Err(Errno::EINVAL),
        };
        result.map_err(Stop::Errno)
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }

    fn sync(&self, _io: &mut Io<'_>, data_only: bool) -> Op<()> {
        Ok(block_in_place(|| file::sync(&self.fd, data_only))?)
    }

    fn allocate(&self, _io: &mut Io<'_>, mode: u32, range: Range<u64>) -> Op<()> {
        let length = range.end.saturating_sub(range.start);
        let _writing = self.node.writing();
        Ok(block_in_place(|| file::allocate(&self.fd, mode, range.start, length))?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl OpenFile {
    fn fetch(&self, into: &mut [u8], at: u64) -> Result<usize, Errno> {
        self.node.shared.cache.read(&self.fd, into, at, self.local)
    }

    /// Lets who reads take it from the host's file, as far as that goes.
    fn leave_to(&self, to: &mut dyn Sink, at: u64, end: Option<u64>) -> Option<usize> {
        if !self.local || to.left() < LARGE {
            return None;
        }
        let end = end.or_else(|| file::stat(&self.fd).ok().map(|stat| stat.stx_size))?;
        to.take_from(&self.fd, at, end.checked_sub(at)?)
    }

    /// Reads what lies before the `end` that is known. Where that is reached the host may know of more; else there is nothing to wait for.
    fn read_part(&self, into: &mut [u8], at: u64, end: Option<u64>) -> Result<usize, Errno> {
        let Some(end) = end else { return self.fetch(into, at) };
        match usize::try_from(end.saturating_sub(at)) {
            Ok(0) => {
                let got = file::read_at(&self.fd, into, at)?;
                if got > 0 {
                    drop(self.node.writing());
                }
                Ok(got)
            }
            Ok(left) => {
                let left = left.min(into.len());
                self.fetch(into.get_mut(..left).unwrap_or_default(), at)
            }
            Err(_) => self.fetch(into, at),
        }
    }
}

impl Mappable for OpenFile {
    fn backing(&self, _io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        // Only what the guest may write shared leaves with the right to be written.
        let access = if rights.write && rights.shared { Access::Both } else { Access::Read };
        if access == Access::Both && self.access != Access::Both {
            return fail(Errno::EACCES);
        }
        let fd = match self.node.exact_fd(access) {
            Some(fd) => fd,
            None => open_on_host(&self.node, access)?,
        };
        self.node.is_mapped(access == Access::Both);
        Ok(Backing::Host { fd, offset: range.start, local: self.local })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // The last descriptor may go with this: what it knows of times and size is kept.
        if self.node.is_changed() {
            let _ = self.node.refresh(&self.fd);
        }
    }
}
