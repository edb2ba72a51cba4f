//! From file to file inside the kernel: sendfile(2), copy_file_range(2).
//!
//! What has been moved is counted in the record, so that a call that waits for its output goes on where it was.

use crate::names::moved;
use crate::rw::{ended, size_limit};
use abi::Errno;
use abi::fs::{MAX_RW_COUNT, OpenFlags};
use kernel::io::{SliceSource, VecSink};
use kernel::vfs::{File, FileType, Position};
use kernel::{Args, Call, Op, Ret, Stop, fail};
use std::sync::Arc;

/// Bytes in the kernel's hands at a time.
const CHUNK: usize = 128 << 10;

/// Where one side of a copy stands: an offset of the caller's, or the file's own position.
struct Side {
    file: Arc<File>,
    /// The caller's offset and where it keeps it.
    given: Option<(u64, u64)>,
}

impl Side {
    fn new(call: &Call<'_>, file: Arc<File>, at: u64) -> Op<Side> {
        let given = if at == 0 { None } else { Some((call.get::<u64>(at)?, at)) };
        if given.is_some_and(|(offset, _)| offset > i64::MAX as u64) {
            return fail(Errno::EINVAL);
        }
        Ok(Side { file, given })
    }

    /// Where the copy began. A position of the file's own moves only when the call is done.
    fn start(&self) -> Option<u64> {
        match (self.file.ops.position(), self.given) {
            (_, Some((offset, _))) => Some(offset),
            (Position::Vfs, None) => Some(self.file.position_now()),
            _ => None,
        }
    }

    /// `count` bytes have gone by.
    fn finish(&self, call: &mut Call<'_>, count: u64) -> Op<()> {
        match self.given {
            Some((offset, at)) => call.put(at, &offset.saturating_add(count)),
            None if self.file.ops.position() == Position::Vfs => {
                let mut done = 0;
                let mut io = kernel::Io::kernel(call.task.cred(), &mut done);
                self.file.lock_position(&mut io)?.advance(count);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

pub fn sys_sendfile(call: &mut Call<'_>, [out, from, offset, count, ..]: Args) -> Op<Ret> {
    let from = call.file(from)?;
    let out = call.file(out)?;
    if !from.readable() || !out.writable() {
        return fail(Errno::EBADF);
    }
    if from.ops.position() != Position::Vfs && offset != 0 {
        return fail(Errno::ESPIPE);
    }
    let is_file = from.inode.as_ref().is_some_and(|i| matches!(i.kind, FileType::Regular | FileType::Block));
    if !is_file && from.ops.position() != Position::Vfs || out.flags().contains(OpenFlags::APPEND) {
        return fail(Errno::EINVAL);
    }
    let from = Side::new(call, from, offset)?;
    let out = Side { file: out, given: None };
    copy(call, &from, &out, count)
}

pub fn sys_copy_file_range(call: &mut Call<'_>, [from, from_at, out, out_at, count, flags]: Args) -> Op<Ret> {
    let from = call.file(from)?;
    let out = call.file(out)?;
    if flags != 0 {
        return fail(Errno::EINVAL);
    }
    let kind = |f: &Arc<File>| f.inode.as_ref().map(|i| i.kind);
    if kind(&from) == Some(FileType::Dir) || kind(&out) == Some(FileType::Dir) {
        return fail(Errno::EISDIR);
    }
    if kind(&from) != Some(FileType::Regular) || kind(&out) != Some(FileType::Regular) {
        return fail(Errno::EINVAL);
    }
    if !from.readable() || !out.writable() || out.flags().contains(OpenFlags::APPEND) {
        return fail(Errno::EBADF);
    }
    let fs = |f: &Arc<File>| f.inode.as_ref().map(|i| Arc::as_ptr(&i.fs));
    if fs(&from) != fs(&out) {
        return fail(Errno::EXDEV);
    }
    let from = Side::new(call, from, from_at)?;
    let out = Side::new(call, out, out_at)?;
    let (a, b) = (from.start().unwrap_or(0), out.start().unwrap_or(0));
    let size = match &from.file.inode {
        Some(inode) => inode.attr(&mut call.io())?.size,
        None => 0,
    };
    // Counted from the beginning, also when the call runs again.
    let count = count.min(size.saturating_sub(a)).max(call.rec.done);
    let limit = size_limit(call, &out.file, Some(b.saturating_add(call.rec.done)), false)?;
    if count == 0 {
        return Ok(0u64.into());
    }
    let same = from.file.inode.as_ref().zip(out.file.inode.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
    if same && a < b.saturating_add(count) && b < a.saturating_add(count) {
        return fail(Errno::EINVAL);
    }
    if call.rec.done == 0 && limit.is_none() {
        let len = count.min(MAX_RW_COUNT as u64) as usize;
        if let Some(copied) = from.file.ops.copy_range(&mut call.io(), a, &out.file, b, len)? {
            from.finish(call, copied as u64)?;
            out.finish(call, copied as u64)?;
            return Ok(copied.into());
        }
    }
    copy(call, &from, &out, count)
}

fn copy(call: &mut Call<'_>, from: &Side, out: &Side, count: u64) -> Op<Ret> {
    let count = count.min(MAX_RW_COUNT as u64);
    let (start, out_start) = (from.start(), out.start());
    let max = size_limit(call, &out.file, out_start.map(|at| at.saturating_add(call.rec.done)), false)?;
    let count = max.map_or(count, |max| count.min(call.rec.done.saturating_add(max)));
    let result = loop {
        let done = call.rec.done;
        if done >= count {
            break Ok(0);
        }
        match step(call, from, out, start, out_start, (count - done) as usize) {
            Ok(0) => break Ok(0),
            Ok(n) => call.rec.done += n as u64,
            Err(Stop::Block) => return Err(Stop::Block),
            Err(stop) => break Err(stop),
        }
    };
    let io = call.io();
    let total = moved(&io, result);
    drop(io);
    if let Some(bytes) = ended(&total) {
        call.task.counters.read(bytes);
        call.task.counters.wrote(bytes);
    }
    let total = total?;
    from.finish(call, total)?;
    out.finish(call, total)?;
    Ok(total.into())
}

/// Moves a chunk; how many bytes of it the output took.
fn step(
    call: &mut Call<'_>,
    from: &Side,
    out: &Side,
    start: Option<u64>,
    out_start: Option<u64>,
    left: usize,
) -> Op<usize> {
    let done = call.rec.done;
    let mut sink = VecSink { data: Vec::new(), max: left.min(CHUNK) };
    from.file.read(&mut call.io(), start.map(|at| at.saturating_add(done)), &mut sink)?;
    if sink.data.is_empty() {
        return Ok(0);
    }
    let mut source = SliceSource::new(&sink.data);
    out.file.write(&mut call.io(), out_start.map(|at| at.saturating_add(done)), &mut source)
}
