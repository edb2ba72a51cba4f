//! Open regular files of a server: read(2), write(2), lseek(2), fallocate(2), ioctl(2), copy_file_range(2). fuse(4).
//!
//! Neighbours: `data` (moves what is read and written), `handle`, `poll`. No locks of its own.

use super::handle::{Handle, about};
use super::node::Node;
use super::poll::Polled;
use super::request::Ask;
use super::wire::{In, Out};
use abi::Errno;
use abi::fs::{FALLOC_FL_KEEP_SIZE, OpenFlags, SEEK_DATA, SEEK_END, SEEK_HOLE};
use abi::fuse::*;
use kernel::cred::Cap;
use kernel::io::UserMemory;
use kernel::op::{Op, Stop, fail};
use kernel::task::Task;
use kernel::vfs::{Backing, File, FileOps, LockOps, Mappable, Position, Rights};
use kernel::wait::{Events, Queue};
use kernel::{Io, Sink, Source};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Makes the open file of a handle.
pub(super) fn open(handle: Arc<Handle>, flags: OpenFlags) -> Arc<dyn FileOps> {
    if handle.writable() {
        let mut state = handle.node.state.lock();
        state.writers.retain(|writer| writer.strong_count() > 0);
        state.writers.push(Arc::downgrade(&handle));
    }
    let node = &handle.node;
    if handle.how & (FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO) == 0 {
        node.drop_pages(0, None);
    }
    node.opens.fetch_add(1, Ordering::AcqRel);
    let polled = Polled::new(&handle);
    let (flags, unflushed) = (AtomicU32::new(flags.bits()), AtomicBool::new(true));
    Arc::new(OpenFile { handle, polled, flags, unflushed, position: AtomicU64::new(0) })
}

/// See the module.
pub(super) struct OpenFile {
    pub handle: Arc<Handle>,
    polled: Arc<Polled>,
    /// As F_SETFL changes them.
    pub(super) flags: AtomicU32,
    /// No descriptor was closed since the last write.
    pub(super) unflushed: AtomicBool,
    /// Of a file that cannot be positioned.
    position: AtomicU64,
}

impl OpenFile {
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.handle.node
    }

    pub(super) fn owner(io: &Io<'_>) -> u64 {
        Task::of(io).map_or(0, |task| task.files().id)
    }

    fn is_direct(&self) -> bool {
        let flags = OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed));
        self.handle.how & FOPEN_DIRECT_IO != 0 || flags.contains(OpenFlags::DIRECT)
    }
}

impl FileOps for OpenFile {
    fn position(&self) -> Position {
        if self.handle.how & (FOPEN_STREAM | FOPEN_NONSEEKABLE) != 0 { Position::Stream } else { Position::Vfs }
    }

    fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let place = at.unwrap_or_else(|| self.position.load(Ordering::Relaxed));
        let count = if self.is_direct() {
            self.node().write_back(io, &self.handle)?;
            self.read_directly(io, place, to)?
        } else {
            self.read_cached(io, place, to)?
        };
        if at.is_none() && self.handle.how & FOPEN_STREAM == 0 {
            self.position.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(count)
    }

    fn write(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        self.shed_privileges(io)?;
        let place = Some(at.unwrap_or_else(|| self.position.load(Ordering::Relaxed))).filter(|at| *at != u64::MAX);
        let count = if self.node().conn.has(FUSE_WRITEBACK_CACHE) && !self.is_direct() {
            self.write_cached(io, place, from)?
        } else {
            self.write_directly(io, place, from)?
        };
        if at.is_none() && self.handle.how & FOPEN_STREAM == 0 {
            self.position.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(count)
    }

    fn seek(&self, io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        let (node, conn) = (self.node(), &self.node().conn);
        match whence {
            SEEK_END => {
                let size = node.attr(io)?.size;
                Ok(size.checked_add_signed(offset).filter(|to| *to <= i64::MAX as u64).ok_or(Errno::EINVAL)?)
            }
            SEEK_DATA | SEEK_HOLE => {
                let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                if !conn.lacks(FUSE_LSEEK) {
                    let args = Out::default().u64(self.handle.fh).u64(from).u32(whence).u32(0);
                    match conn.ask_plainly(io, FUSE_LSEEK, node.id, args, 8..=8, |_, answer| In(&answer?).u64()) {
                        Err(Stop::Errno(Errno::ENOSYS)) => conn.set_lacking(FUSE_LSEEK),
                        Ok(place) if place > i64::MAX as u64 => return fail(Errno::EINVAL),
                        other => return other,
                    }
                }
                // All of it is data, and behind it is a hole.
                let size = node.attr(io)?.size;
                match whence {
                    _ if from >= size => fail(Errno::ENXIO),
                    SEEK_DATA => Ok(from),
                    _ => Ok(size),
                }
            }
            _ => fail(Errno::EINVAL),
        }
    }

    fn sync(&self, io: &mut Io<'_>, data_only: bool) -> Op<()> {
        self.node().write_back(io, &self.handle)?;
        self.handle.sync(io, data_only)?;
        if self.handle.failed.swap(false, Ordering::Relaxed) { fail(Errno::EIO) } else { Ok(()) }
    }

    fn msync(&self, io: &mut Io<'_>) -> Op<()> {
        self.sync(io, false)
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }

    fn copy_range(&self, io: &mut Io<'_>, at: u64, to: &File, to_at: u64, len: usize) -> Op<Option<usize>> {
        let (node, conn) = (self.node(), &self.node().conn);
        let Some(other) = to.ops_as::<OpenFile>().filter(|other| other.node().conn.id == conn.id) else {
            return Ok(None);
        };
        if conn.lacks(FUSE_COPY_FILE_RANGE) {
            return Ok(None);
        }
        node.usable(io)?;
        node.write_back(io, &self.handle)?;
        let target = other.node();
        target.lock_writes(io)?;
        target.write_back(io, &other.handle)?;
        let args = Out::default().u64(self.handle.fh).u64(at).u64(target.id).u64(other.handle.fh);
        let args = args.u64(to_at).u64(len as u64).u64(0);
        match conn.ask_plainly(io, FUSE_COPY_FILE_RANGE, node.id, args, 8..=8, |_, answer| {
            let count = In(&answer?).u32()? as usize;
            if count > len {
                return Err(Errno::EIO);
            }
            target.grown_to(to_at.saturating_add(count as u64));
            target.drop_pages(to_at, Some(count as u64));
            target.expire();
            Ok(count)
        }) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                conn.set_lacking(FUSE_COPY_FILE_RANGE);
                Ok(None)
            }
            Err(Stop::Errno(Errno::EOPNOTSUPP | Errno::EXDEV)) => Ok(None),
            Err(stop) => Err(stop),
            Ok(count) => Ok(Some(count)),
        }
    }

    fn allocate(&self, io: &mut Io<'_>, mode: u32, range: Range<u64>) -> Op<()> {
        let (node, conn) = (self.node(), &self.node().conn);
        node.usable(io)?;
        node.write_back(io, &self.handle)?;
        if conn.lacks(FUSE_FALLOCATE) {
            return fail(Errno::EOPNOTSUPP);
        }
        let len = range.end.saturating_sub(range.start);
        let args = Out::default().u64(self.handle.fh).u64(range.start).u64(len).u32(mode).u32(0);
        match conn.ask_plainly(io, FUSE_FALLOCATE, node.id, args, 0..=0, |_, answer| {
            answer?;
            if mode & FALLOC_FL_KEEP_SIZE == 0 {
                node.grown_to(range.end);
            }
            node.drop_pages(range.start, Some(len));
            node.expire();
            Ok(())
        }) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                conn.set_lacking(FUSE_FALLOCATE);
                fail(Errno::EOPNOTSUPP)
            }
            other => other,
        }
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        const FIBMAP: u32 = 1;
        if cmd != FIBMAP {
            return self.handle.ioctl(io, memory, cmd, arg);
        }
        if !io.cred.has(Cap::SysRawio) {
            return fail(Errno::EPERM);
        }
        // Without a block device there are no blocks.
        memory.write(arg, &0i32.to_le_bytes()).map(|()| 0)
    }

    fn ready(&self, want: Events) -> Events {
        self.polled.ready(want)
    }

    fn queue(&self) -> Option<&Queue> {
        if self.node().conn.lacks(FUSE_POLL) { None } else { Some(&self.polled.queue) }
    }

    fn ask_ready(&self, io: &mut Io<'_>, want: Events) -> Op<()> {
        self.polled.ask(io, want)
    }

    fn lock_ops(&self, flock: bool) -> Option<&dyn LockOps> {
        let flag = if flock { FUSE_FLOCK_LOCKS } else { FUSE_POSIX_LOCKS };
        self.node().conn.has(flag).then_some(self)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    fn flush(&self, io: &mut Io<'_>) -> Op<()> {
        if io.waits().is_some() {
            self.node().write_back(io, &self.handle)?;
        } else {
            self.node().write_back_later(&self.handle);
        }
        self.handle.flush(io)?;
        self.unflushed.store(false, Ordering::Relaxed);
        if self.handle.failed.swap(false, Ordering::Relaxed) { fail(Errno::EIO) } else { Ok(()) }
    }

    fn release(&self) {
        let node = self.node();
        node.write_back_later(&self.handle);
        if node.opens.fetch_sub(1, Ordering::AcqRel) == 1 {
            node.unmapped();
            // Memfds are not kept for files that nobody uses, unless they are few.
            if self.handle.how & FOPEN_KEEP_CACHE == 0 || node.conn.nodes.lock().len() > 256 {
                node.drop_pages(0, None);
            }
        }
        // The process ended without a close(2).
        if self.unflushed.load(Ordering::Relaxed) {
            let mut done = 0;
            let cred = kernel::cred::Cred::root(kernel::cred::UserNs::initial());
            let _ = self.handle.flush(&mut Io::kernel(Arc::new(cred), &mut done));
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for OpenFile {
    fn backing(&self, io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        let node = self.node();
        node.usable(io)?;
        // What is not kept is not to be shared.
        if self.is_direct() && rights.shared {
            return fail(Errno::ENODEV);
        }
        node.attr(io)?;
        node.fetch(io, &self.handle, range.clone(), 0)?;
        let fd = node.map(&range, rights.write && rights.shared)?;
        Ok(Backing::Host { fd, offset: range.start, local: true })
    }
}

impl Handle {
    /// ioctl(2) of files and folders: the server gets and gives as many bytes as the command's number says.
    pub fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        let (node, conn) = (&self.node, &self.node.conn);
        node.usable(io)?;
        let (direction, size) = (cmd >> 30, (cmd >> 16 & 0x3fff) as usize);
        let (gives, gets) = (direction & 1 != 0, direction & 2 != 0);
        let mut data = vec![0; if gives { size } else { 0 }];
        memory.read(arg, &mut data)?;
        let room = if gets { size } else { 0 };
        let flags = if node.kind == kernel::vfs::FileType::Dir { FUSE_IOCTL_DIR } else { 0 };
        let head = Out::default().u64(self.fh).u32(flags).u32(cmd).u64(arg);
        let head = head.u32(data.len() as u32).u32(room as u32);
        let ask = Ask { reply: 16..=16 + room, ..about(FUSE_IOCTL, node, &head.0, 0) };
        let body = || Ok(Out::request().bytes(&head.0).bytes(&data));
        let answer: Op<(i32, Arc<Vec<u8>>)> = conn.ask(io, &ask, body, |_, answer| {
            let reply = answer?;
            let mut from = In(&reply);
            let (result, flags, _, _) = (from.u32()? as i32, from.u32()?, from.u32()?, from.u32()?);
            // Only a driver may ask for other parts of the caller's memory.
            if flags & FUSE_IOCTL_RETRY != 0 {
                return Err(Errno::EIO);
            }
            Ok((result, Arc::new(from.0.to_vec())))
        });
        match answer {
            Ok((result, _)) if result < 0 => fail(Errno::from_raw(result.saturating_neg())),
            Ok((result, data)) => {
                memory.write(arg, &data)?;
                Ok(result as u64)
            }
            Err(Stop::Errno(Errno::ENOSYS)) => fail(Errno::ENOTTY),
            Err(stop) => Err(stop),
        }
    }
}
