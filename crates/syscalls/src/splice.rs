//! splice(2), tee(2), vmsplice(2).
//!
//! Between pipes data moves by reference; from and to other files it is copied once, through the kernel. What a destination does
//! not take goes back into the pipe that it came from.

use crate::rw::size_limit;
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::io::{SliceSource, Source, VecSink};
use kernel::ipc::pipe::{CHUNK, PipeEnd, Segments, broken};
use kernel::mm::UserBuffers;
use kernel::socket::Socket;
use kernel::vfs::{File, Position};
use kernel::wait::Events;
use kernel::{Args, Call, Io, Op, Ret, Stop, fail};
use std::sync::Arc;

const SPLICE_F_NONBLOCK: u32 = 2;
/// MOVE, NONBLOCK, MORE, GIFT.
const KNOWN: u32 = 0xf;
/// The most that one call moves.
const MOST: usize = 1 << 20;

/// One side of a splice.
struct Side {
    file: Arc<File>,
    /// An offset that the caller named, and where it is kept.
    offset: Option<(u64, u64)>,
}

impl Side {
    fn pipe(&self) -> Option<&PipeEnd> {
        self.file.ops_as()
    }

    fn at(&self) -> Option<u64> {
        self.offset.map(|o| o.0)
    }

    /// An offset is for files that have some.
    fn has_place(&self) -> bool {
        self.offset.is_none_or(|(at, _)| at <= i64::MAX as u64 && self.file.ops.position() != Position::Stream)
    }

    fn moved(&self, call: &Call<'_>, count: usize) -> Op<()> {
        match self.offset {
            Some((offset, place)) => call.put(place, &offset.saturating_add(count as u64)),
            None => Ok(()),
        }
    }
}

fn side(call: &Call<'_>, file: Arc<File>, offset: u64) -> Op<Side> {
    if offset == 0 {
        return Ok(Side { file, offset: None });
    }
    if file.ops_as::<PipeEnd>().is_some() {
        return fail(Errno::ESPIPE);
    }
    let at = call.get::<u64>(offset)?;
    Ok(Side { file, offset: Some((at, offset)) })
}

pub fn sys_splice(call: &mut Call<'_>, [from, from_at, to, to_at, len, flags]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !KNOWN != 0 {
        return fail(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(Ret::Value(0));
    }
    let (from, to) = (call.file(from)?, call.file(to)?);
    let (from, to) = (side(call, from, from_at)?, side(call, to, to_at)?);
    let most = if from.file.ops.is_messages() { 2 * MOST } else { MOST };
    let len = len.min(most as u64) as usize;
    if !from.file.readable() || !to.file.writable() {
        return fail(Errno::EBADF);
    }
    if !from.has_place() || !to.has_place() {
        return fail(Errno::EINVAL);
    }
    let appends = to.file.flags().contains(OpenFlags::APPEND);
    let len = match (from.pipe(), to.pipe()) {
        // An empty pipe is waited for, or EAGAIN, before any limit counts.
        (Some(_), None) if !appends && !from.file.ready(Events::IN).is_empty() => {
            let max = size_limit(call, &to.file, to.at(), false)?;
            max.map_or(len, |max| len.min(max as usize))
        }
        _ => len,
    };
    let mut io = call.io();
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    let count = match (from.pipe(), to.pipe()) {
        (Some(a), Some(b)) if Arc::ptr_eq(&a.pipe, &b.pipe) => return fail(Errno::EINVAL),
        (Some(_), Some(_)) => between(&mut io, &from.file, &to.file, len, nonblock, false)?,
        (Some(_), None) if !is_stream(&to.file) => return fail(Errno::EINVAL),
        (Some(_), None) => out_of(&mut io, &from.file, &to, len, nonblock)?,
        (None, Some(_)) => into(&mut io, &from, &to.file, len, nonblock)?,
        (None, None) => return fail(Errno::EINVAL),
    };
    drop(io);
    from.moved(call, count)?;
    to.moved(call, count)?;
    Ok(count.into())
}

/// Objects without an inode (eventfd, timerfd and their like) have numbers and messages.
fn is_stream(file: &File) -> bool {
    file.inode.is_some()
}

fn pipe_of(file: &File) -> Op<&PipeEnd> {
    file.ops_as::<PipeEnd>().ok_or(Errno::EINVAL.into())
}

/// SIGPIPE belongs to a pipe that nobody reads.
fn with_signal<T>(io: &Io<'_>, out: Op<T>) -> Op<T> {
    match out {
        Err(Stop::Errno(Errno::EPIPE)) => Err(broken(io)),
        out => out,
    }
}

/// From pipe to pipe, moving or copying.
fn between(io: &mut Io<'_>, from: &File, to: &File, len: usize, nonblock: bool, copy: bool) -> Op<usize> {
    let (source, target) = (pipe_of(from)?, pipe_of(to)?);
    source.pipe.peek(&mut io.with_nonblock(nonblock || from.nonblocking()), 1)?;
    {
        let mut io = io.with_nonblock(nonblock || to.nonblocking());
        let room = target.pipe.wait_room(&mut io, 1, true);
        with_signal(&io, room)?;
    }
    let mut io = io.with_nonblock(nonblock || from.nonblocking());
    if copy {
        let mut parts = source.pipe.peek(&mut io, len)?;
        return Ok(target.pipe.push_shared(&mut parts));
    }
    let mut parts = source.pipe.pull_all(&mut io, len)?;
    let count = target.pipe.push_shared(&mut parts);
    if !parts.is_empty() {
        source.pipe.unpull(parts);
    }
    Ok(count)
}

/// From a pipe to another file.
fn out_of(io: &mut Io<'_>, from: &File, to: &Side, len: usize, nonblock: bool) -> Op<usize> {
    if to.file.flags().contains(OpenFlags::APPEND) {
        return fail(Errno::EINVAL);
    }
    let source = pipe_of(from)?;
    let parts = source.pipe.pull_all(&mut io.with_nonblock(nonblock || from.nonblocking()), len)?;
    if to.file.ops.is_messages() {
        let message: Vec<u8> = parts.iter().flat_map(|part| part.bytes().iter().copied()).collect();
        return to.file.ops.take_message(io, message);
    }
    let mut left = parts.into_iter();
    let mut count = 0;
    while let Some(mut part) = left.next() {
        let at = to.at().map(|at| at.saturating_add(count as u64));
        let done = *io.done;
        let wrote = to.file.write(io, at, &mut SliceSource::new(part.bytes()));
        // A write that waited in the middle has counted what it did.
        let also = (*io.done - done) as usize;
        *io.done = done;
        let taken = also + *wrote.as_ref().unwrap_or(&0);
        count += taken;
        part.advance(taken);
        if !part.is_empty() {
            let rest: Segments = std::iter::once(part).chain(left).collect();
            source.pipe.unpull(rest);
            return if count > 0 { Ok(count) } else { wrote };
        }
    }
    Ok(count)
}

/// From another file into a pipe: as much as fits.
fn into(io: &mut Io<'_>, from: &Side, to: &File, len: usize, nonblock: bool) -> Op<usize> {
    let target = pipe_of(to)?;
    let room = {
        let mut io = io.with_nonblock(nonblock || to.nonblocking());
        let room = target.pipe.wait_room(&mut io, 1, false);
        with_signal(&io, room)?;
        let most = if from.file.ops.is_messages() { len } else { len.min(CHUNK) };
        target.pipe.room(most, false).max(1)
    };
    if !is_stream(&from.file) {
        return fail(Errno::EINVAL);
    }
    let mut sink = VecSink { data: Vec::new(), max: room.min(len) };
    // Sockets alone know of the wish not to wait.
    let hurry = from.file.ops_as::<Socket>().is_some() && (nonblock || to.nonblocking());
    let count = from.file.read(&mut io.with_nonblock(hurry), from.at(), &mut sink)?;
    target.pipe.push_all(sink.data, false);
    Ok(count)
}

pub fn sys_tee(call: &mut Call<'_>, [from, to, len, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !KNOWN != 0 {
        return fail(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(Ret::Value(0));
    }
    let (from, to) = (call.file(from)?, call.file(to)?);
    if !from.readable() || !to.writable() {
        return fail(Errno::EBADF);
    }
    if Arc::ptr_eq(&pipe_of(&from)?.pipe, &pipe_of(&to)?.pipe) {
        return fail(Errno::EINVAL);
    }
    let len = len.min(MOST as u64) as usize;
    Ok(between(&mut call.io(), &from, &to, len, flags & SPLICE_F_NONBLOCK != 0, true)?.into())
}

/// Pages are copied, never given: SPLICE_F_GIFT is a wish only.
pub fn sys_vmsplice(call: &mut Call<'_>, [fd, iov, count, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !KNOWN != 0 || count > 1024 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    let Some(end) = file.ops_as::<PipeEnd>() else { return fail(Errno::EBADF) };
    let parts = call.get_vec::<[u64; 2]>(iov, count as usize)?;
    let mut buffers = UserBuffers::many(call.mm()?, &parts)?;
    let done = call.rec.done;
    buffers.skip(done);
    if Source::left(&buffers) == 0 {
        return Ok(done.into());
    }
    let mut io = call.io();
    io.nonblock = flags & SPLICE_F_NONBLOCK != 0;
    let moved = if file.writable() {
        end.write_as(&mut io, &mut buffers, false)?
    } else {
        end.read_as(&mut io, &mut buffers, false)?
    };
    Ok((done + moved as u64).into())
}
