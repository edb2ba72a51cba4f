//! /proc/PID/cmdline, environ, auxv and mem. proc_pid_cmdline(5), proc_pid_environ(5), proc_pid_mem(5).

use super::super::access::may_read;
use super::{Subject, Target, owner};
use crate::pseudo::{Content, Node};
use abi::Errno;
use abi::fs::{OpenFlags, SEEK_CUR, SEEK_SET};
use kernel::mm::Mm;
use kernel::vfs::FileOps;
use kernel::{Io, Op, Sink, Source, fail};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The longest that is shown of arguments or environment: what exec takes at most.
const MAX: u64 = 6 << 20;

/// As much as can be read of a range of guest memory.
fn bytes(mm: &Mm, range: &Range<u64>) -> Vec<u8> {
    let mut out = vec![0; range.end.saturating_sub(range.start).min(MAX) as usize];
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|r| !r.is_empty()) {
        match mm.read(range.start.wrapping_add(done as u64), rest) {
            Ok(count) if count > 0 => done += count,
            _ => break,
        }
    }
    out.truncate(done);
    out
}

/// The arguments with their zeros. Where the last zero was overwritten (setproctitle) the text goes on into the environment, up to a zero.
pub fn cmdline(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let Some(mm) = t.mm() else { return Ok(Vec::new()) };
    let layout = mm.layout();
    let mut text = bytes(&mm, &layout.args);
    if text.last().is_some_and(|last| *last != 0) && layout.args.end == layout.env.start {
        text.extend(bytes(&mm, &layout.env));
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        text.truncate(end);
    }
    Ok(text)
}

pub fn environ(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let mm = t.mm().ok_or(Errno::ESRCH)?;
    Ok(bytes(&mm, &mm.layout().env))
}

pub fn auxv(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    Ok(t.mm().ok_or(Errno::ESRCH)?.layout().auxv)
}

/// /proc/PID/mem.
pub fn mem(subject: &Subject) -> Node {
    Node::file(0o600, MemContent(subject.clone()))
}

struct MemContent(Subject);

impl Content for MemContent {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        fail(Errno::EIO)
    }
    /// The address space at the time of open: an exec later doesn't change what is read.
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        let target = self.0.get()?;
        may_read(io, &target.task)?;
        Ok(Some(Arc::new(MemFile(target.mm().map(|mm| Arc::downgrade(&mm))))))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
}

struct MemFile(Option<std::sync::Weak<Mm>>);

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

impl FileOps for MemFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let Some(mm) = self.0.as_ref().and_then(std::sync::Weak::upgrade) else { return Ok(0) };
        let mut at = at.unwrap_or(0);
        let mut buffer = vec![0; to.left().min(CHUNK)];
        let mut done = 0;
        while to.left() > 0 {
            let want = to.left().min(buffer.len());
            let Some(part) = buffer.get_mut(..want) else { break };
            let got = match mm.read(at, part) {
                Ok(got) if got > 0 => got,
                _ if done > 0 => break,
                _ => return fail(Errno::EIO),
            };
            let put = to.put(part.get(..got).unwrap_or_default())?;
            done += put;
            at = at.wrapping_add(put as u64);
            if put < want {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let Some(mm) = self.0.as_ref().and_then(std::sync::Weak::upgrade) else { return Ok(0) };
        let mut at = at.unwrap_or(0);
        let mut buffer = vec![0; from.left().min(CHUNK)];
        let mut done = 0;
        while from.left() > 0 {
            let got = from.take(&mut buffer)?;
            let part = buffer.get(..got).unwrap_or_default();
            let wrote = match mm.write(at, part) {
                Ok(wrote) if wrote > 0 => wrote,
                // What the process itself may not write, who looks into it may.
                _ if mm.write_forced(at, part).is_ok() => got,
                _ if done > 0 => break,
                _ => return fail(Errno::EIO),
            };
            from.untake(got - wrote.min(got));
            done += wrote;
            at = at.wrapping_add(wrote as u64);
            if wrote < got {
                break;
            }
        }
        Ok(done)
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, from: u64) -> Op<u64> {
        match whence {
            SEEK_SET => Ok(offset as u64),
            SEEK_CUR => Ok(from.wrapping_add_signed(offset)),
            _ => fail(Errno::EINVAL),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
