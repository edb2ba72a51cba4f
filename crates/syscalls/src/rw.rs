//! Reading and writing: read(2), pread(2), readv(2), preadv2(2) and their writing twins, lseek(2).

use crate::names::moved;
use abi::Errno;
use abi::fs::{
    MAX_RW_COUNT, OpenFlags, RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOAPPEND, RWF_NOWAIT, RWF_SYNC, SEEK_CUR, SEEK_DATA,
    SEEK_END, SEEK_HOLE, SEEK_SET, UIO_MAXIOV,
};
use kernel::io::{Sink, Source};
use kernel::mm::UserBuffers;
use kernel::task::{Limits, Resource};
use kernel::vfs::{self, File, FileType, Inode, Position};
use kernel::{Args, Call, Next, Op, Ret, StubWork, fail};
use platform::FileRead;
use std::sync::Arc;

pub fn sys_read(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = reading(call, fd)?;
    let buffers = one(call, at, len)?;
    read(call, &file, buffers, None, 0)
}

pub fn sys_write(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = writing(call, fd)?;
    let buffers = one(call, at, len)?;
    write(call, &file, buffers, None, 0)
}

pub fn sys_pread64(call: &mut Call<'_>, [fd, at, len, offset, ..]: Args) -> Op<Ret> {
    positioned(call, fd, Some(offset))?;
    let file = reading(call, fd)?;
    let buffers = one(call, at, len)?;
    let moves = kernel::lent::moves();
    let ret = read(call, &file, buffers, Some(offset), 0)?;
    // From here on the stub needs no word for it.
    if let Ret::Stub(work) = &ret
        && let StubWork::Read { read, .. } = &**work
    {
        call.task.lend(fd as i32, &file, read.number, moves);
    }
    Ok(ret)
}

pub fn sys_pwrite64(call: &mut Call<'_>, [fd, at, len, offset, ..]: Args) -> Op<Ret> {
    positioned(call, fd, Some(offset))?;
    let file = writing(call, fd)?;
    let buffers = one(call, at, len)?;
    write(call, &file, buffers, Some(offset), 0)
}

pub fn sys_readv(call: &mut Call<'_>, [fd, iov, count, ..]: Args) -> Op<Ret> {
    let file = reading(call, fd)?;
    let buffers = many(call, iov, count)?;
    read(call, &file, buffers, None, 0)
}

pub fn sys_writev(call: &mut Call<'_>, [fd, iov, count, ..]: Args) -> Op<Ret> {
    let file = writing(call, fd)?;
    let buffers = many(call, iov, count)?;
    write(call, &file, buffers, None, 0)
}

pub fn sys_preadv(call: &mut Call<'_>, [fd, iov, count, offset, ..]: Args) -> Op<Ret> {
    positioned(call, fd, Some(offset))?;
    let file = reading(call, fd)?;
    let buffers = many(call, iov, count)?;
    read(call, &file, buffers, Some(offset), 0)
}

pub fn sys_pwritev(call: &mut Call<'_>, [fd, iov, count, offset, ..]: Args) -> Op<Ret> {
    positioned(call, fd, Some(offset))?;
    let file = writing(call, fd)?;
    let buffers = many(call, iov, count)?;
    write(call, &file, buffers, Some(offset), 0)
}

/// The offset -1 means the file's own position.
pub fn sys_preadv2(call: &mut Call<'_>, [fd, iov, count, offset, _, flags]: Args) -> Op<Ret> {
    let offset = Some(offset).filter(|o| *o != u64::MAX);
    positioned(call, fd, offset)?;
    let file = reading(call, fd)?;
    let buffers = many(call, iov, count)?;
    read(call, &file, buffers, offset, flags as u32)
}

pub fn sys_pwritev2(call: &mut Call<'_>, [fd, iov, count, offset, _, flags]: Args) -> Op<Ret> {
    let offset = Some(offset).filter(|o| *o != u64::MAX);
    positioned(call, fd, offset)?;
    let file = writing(call, fd)?;
    let buffers = many(call, iov, count)?;
    write(call, &file, buffers, offset, flags as u32)
}

/// Whether a call may give a position: EINVAL where it is negative, whatever the descriptor is; ESPIPE for what has none, however it is open.
fn positioned(call: &Call<'_>, fd: u64, offset: Option<u64>) -> Op<()> {
    let Some(offset) = offset else { return Ok(()) };
    if offset > i64::MAX as u64 {
        return fail(Errno::EINVAL);
    }
    if call.file(fd)?.ops.position() == Position::Stream { fail(Errno::ESPIPE) } else { Ok(()) }
}

/// The file of a descriptor that may be read.
fn reading(call: &Call<'_>, fd: u64) -> Op<Arc<File>> {
    let file = call.file(fd)?;
    if file.readable() { Ok(file) } else { fail(Errno::EBADF) }
}

/// The file of a descriptor that may be written to.
fn writing(call: &Call<'_>, fd: u64) -> Op<Arc<File>> {
    let file = call.file(fd)?;
    if file.writable() { Ok(file) } else { fail(Errno::EBADF) }
}

fn one(call: &Call<'_>, at: u64, len: u64) -> Op<UserBuffers> {
    if len > i64::MAX as u64 {
        return fail(Errno::EINVAL);
    }
    Ok(UserBuffers::one(call.mm()?, at, len))
}

/// The buffers of an iovec array.
pub fn many(call: &Call<'_>, iov: u64, count: u64) -> Op<UserBuffers> {
    if count > UIO_MAXIOV.into() {
        return fail(Errno::EINVAL);
    }
    let parts: Vec<[u64; 2]> = call.get_vec(iov, count as usize)?;
    UserBuffers::many(call.mm()?, &parts)
}

/// Where a positioned call of a later run goes on.
fn place(offset: Option<u64>, done: u64) -> Option<u64> {
    Some(offset?.saturating_add(done))
}

fn is_dir(file: &File) -> bool {
    file.inode.as_ref().is_some_and(|i| i.kind == FileType::Dir)
}

/// A read(2) that the stub was to do by itself, for which the position has moved, and did not: where and how much. It is read there, since others may have moved the position on.
#[derive(Clone, Copy)]
struct Unread {
    at: u64,
    len: u64,
}

fn read(call: &mut Call<'_>, file: &Arc<File>, mut buffers: UserBuffers, offset: Option<u64>, flags: u32) -> Op<Ret> {
    if is_dir(file) {
        return fail(Errno::EISDIR);
    }
    let unread = call.rec.stage.as_ref().and_then(|stage| stage.downcast_ref::<Unread>()).copied();
    let at = place(unread.map(|unread| unread.at).or(offset), call.rec.done);
    if buffers.total() > 0 {
        known_flags(flags)?;
    }
    buffers.skip(call.rec.done);
    if buffers.total() == 0 {
        return Ok(0u64.into());
    }
    let mut io = call.io();
    io.nonblock = flags & RWF_NOWAIT != 0;
    let sink: &mut dyn Sink = &mut buffers;
    let result = file.read(&mut io, at, sink);
    let result = moved(&io, result);
    drop(io);
    if file.ops.position() != Position::Stream {
        kernel::mm::untouched::go_on_if_cut();
    }
    if let Some(bytes) = ended(&result) {
        call.task.counters.read(bytes);
        if let Some(Unread { at, len }) = unread {
            file.unread(at + len, at + bytes.min(len));
        }
    }
    match buffers.file_read() {
        Some(read) if result.is_ok() => {
            let moves = offset.is_none() && file.ops.position() == Position::Vfs;
            Ok(Ret::Stub(Box::new(read_by_stub(read, moves))))
        }
        _ => result.map(Into::into),
    }
}

/// The stub reads the file by itself. What is not all there, or cannot be written, is read anew, by the kernel, which knows what to answer.
fn read_by_stub(read: FileRead, moves: bool) -> StubWork {
    let unread = Unread { at: read.at, len: read.len };
    let on_done = move |_: &_, _, _| if moves { Next::Staged(Box::new(unread)) } else { Next::Again };
    StubWork::Read { read, on_done: Box::new(on_done) }
}

/// The bytes that a call moved; None where it waits, and will be run again.
pub fn ended(result: &Op<u64>) -> Option<u64> {
    match result {
        Ok(bytes) => Some(*bytes),
        Err(kernel::Stop::Block) => None,
        Err(_) => Some(0),
    }
}

fn write(call: &mut Call<'_>, file: &Arc<File>, mut buffers: UserBuffers, offset: Option<u64>, flags: u32) -> Op<Ret> {
    let at = place(offset, call.rec.done);
    if buffers.total() > 0 {
        known_flags(flags)?;
    }
    let append = match flags & (RWF_APPEND | RWF_NOAPPEND) {
        RWF_APPEND => true,
        RWF_NOAPPEND => false,
        _ => file.flags().contains(OpenFlags::APPEND),
    };
    buffers.skip(call.rec.done);
    let total = buffers.total();
    if total == 0 && file.ops.position() == Position::Vfs {
        return Ok(0u64.into());
    }
    if file.ops.position() == Position::Vfs {
        // Also where it goes to the end in truth, and before any limit.
        vfs::within_a_file(at.unwrap_or_else(|| file.position_now()), total)?;
    }
    let max = size_limit(call, file, at, append)?;
    let mut io = call.io();
    io.nonblock = flags & RWF_NOWAIT != 0;
    let result = match max {
        None => file.write_or_append(&mut io, at, &mut buffers, append),
        Some(max) => {
            let mut bounded = Bounded { inner: &mut buffers, left: max as usize };
            file.write_or_append(&mut io, at, &mut bounded, append)
        }
    };
    let result = moved(&io, result);
    drop(io);
    if let Some(bytes) = ended(&result) {
        call.task.counters.wrote(bytes);
    }
    let count = result?;
    sync_after(call, file, flags, count)?;
    Ok(count.into())
}

/// O_SYNC, O_DSYNC and their RWF twins: the data is on the disk when the call returns.
pub fn sync_after(call: &mut Call<'_>, file: &Arc<File>, flags: u32, count: u64) -> Op<()> {
    let open = file.flags();
    let full = flags & RWF_SYNC != 0 || open.contains(OpenFlags::SYNC);
    if count > 0 && (full || flags & RWF_DSYNC != 0 || open.contains(OpenFlags::DSYNC)) && file.inode.is_some() {
        match file.ops.sync(&mut call.io(), !full) {
            // What cannot be synchronised has nothing to be.
            Err(kernel::Stop::Errno(Errno::EINVAL)) | Ok(()) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

/// RWF_* that there are, of reads and of writes.
fn known_flags(flags: u32) -> Op<()> {
    const APPENDS: u32 = RWF_APPEND | RWF_NOAPPEND;
    if flags & !(RWF_NOWAIT | RWF_HIPRI | RWF_DSYNC | RWF_SYNC | APPENDS) != 0 {
        return fail(Errno::EOPNOTSUPP);
    }
    if flags & APPENDS == APPENDS { fail(Errno::EINVAL) } else { Ok(()) }
}

/// RLIMIT_FSIZE: how many bytes may still be written at `at`, or at the end; None: no bound. EFBIG and SIGXFSZ beyond it.
pub fn size_limit(call: &Call<'_>, file: &Arc<File>, at: Option<u64>, append: bool) -> Op<Option<u64>> {
    // A pipe that the runtime was given has the inode of a file, but no size.
    let sized = |i: &&Arc<Inode>| i.kind == FileType::Regular && file.ops.position() != Position::Stream;
    let Some(inode) = file.inode.as_ref().filter(sized) else { return Ok(None) };
    let limit = call.task.group.limit(Resource::Fsize);
    if limit == Limits::INFINITY {
        return Ok(None);
    }
    let at = if append {
        let mut done = 0;
        inode.attr(&mut kernel::Io::kernel(call.task.cred(), &mut done))?.size
    } else {
        at.unwrap_or_else(|| file.position_now())
    };
    if at >= limit {
        call.task.signal_self(kernel::signal::SIGXFSZ);
        return fail(Errno::EFBIG);
    }
    Ok(Some((limit - at).min(MAX_RW_COUNT as u64)))
}

/// The first `left` bytes of a source.
struct Bounded<'a> {
    inner: &'a mut UserBuffers,
    left: usize,
}

impl Source for Bounded<'_> {
    fn left(&self) -> usize {
        Source::left(self.inner).min(self.left)
    }
    fn take(&mut self, into: &mut [u8]) -> Op<usize> {
        let max = into.len().min(self.left);
        let count = self.inner.take(into.get_mut(..max).unwrap_or_default())?;
        self.left -= count;
        Ok(count)
    }
    fn untake(&mut self, count: usize) {
        self.inner.untake(count);
        self.left += count;
    }
}

pub fn sys_lseek(call: &mut Call<'_>, [fd, offset, whence, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    let (offset, whence) = (offset as i64, whence as u32);
    if whence > SEEK_HOLE {
        return fail(Errno::EINVAL);
    }
    let mut io = call.io();
    match file.ops.position() {
        Position::Stream => fail(Errno::ESPIPE),
        Position::Own => Ok(file.ops.seek(&mut io, offset, whence, 0)?.into()),
        Position::Vfs => {
            let position = file.lock_position(&mut io)?;
            let to = match whence {
                SEEK_SET => u64::try_from(offset).map_err(|_| Errno::EINVAL)?,
                SEEK_CUR => position.get().checked_add_signed(offset).ok_or(Errno::EINVAL)?,
                SEEK_END | SEEK_DATA | SEEK_HOLE => file.ops.seek(&mut io, offset, whence, position.get())?,
                _ => return fail(Errno::EINVAL),
            };
            if to > i64::MAX as u64 {
                return fail(Errno::EINVAL);
            }
            position.set(to);
            Ok(to.into())
        }
    }
}
