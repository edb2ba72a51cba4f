//! What is read from a server's files and written to them: by the server for each call, or through pages that the kernel keeps. fuse(4).
//!
//! A read or write is asked for in parts that the server takes; up to `WINDOW` bytes are gathered before any are counted, so that callers of the VFS
//! which move less (sendfile, splice) see it wait before it has done anything. Neighbours: `file` (caller), `pages`. No locks of its own.

use super::file::OpenFile;
use super::pages::{DIRTY_MAX, PAGE, page_down};
use super::request::Ask;
use super::wire::{In, Out};
use abi::Errno;
use abi::fuse::*;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::access;
use kernel::{Io, Sink, Source};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes that are gathered at a time.
const WINDOW: usize = 1 << 20;
/// Bytes that are copied at a time.
const CHUNK: usize = 128 << 10;

impl OpenFile {
    /// Through the pages that the kernel keeps.
    pub(super) fn read_cached(&self, io: &mut Io<'_>, mut at: u64, to: &mut dyn Sink) -> Op<usize> {
        let (node, conn) = (self.node(), &self.node().conn);
        node.usable(io)?;
        if conn.has(FUSE_AUTO_INVAL_DATA) || at.saturating_add(to.left() as u64) > node.size() {
            node.attr(io)?;
        }
        let ahead = conn.settings.get().map_or(0, |s| u64::from(s.read_ahead));
        let mut buffer = Vec::new();
        loop {
            let window = (to.left().min(WINDOW) as u64).min(node.size().saturating_sub(at)) as usize;
            if window == 0 {
                return Ok(0);
            }
            node.fetch(io, &self.handle, at..at + window as u64, ahead)?;
            buffer.resize(window, 0);
            if !node.load(at, &mut buffer)? {
                continue;
            }
            let put = to.put(&buffer)?;
            if put < window || to.left() == 0 || at + put as u64 >= node.size() {
                return Ok(put);
            }
            *io.done += put as u64;
            at += put as u64;
        }
    }

    /// The server is told later: FUSE_WRITEBACK_CACHE.
    pub(super) fn write_cached(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let node = self.node();
        node.usable(io)?;
        node.lock_writes(io)?;
        if node.dirty() > DIRTY_MAX {
            node.write_back(io, &self.handle)?;
        }
        let mut at = at.unwrap_or_else(|| node.size());
        check_end(at, from.left())?;
        let mut buffer = Vec::new();
        loop {
            let len = from.left().min(CHUNK);
            let end = at.saturating_add(len as u64);
            let size = node.size();
            if !at.is_multiple_of(PAGE) && page_down(at) < size {
                node.fetch(io, &self.handle, page_down(at)..at, 0)?;
            }
            if !end.is_multiple_of(PAGE) && end < size {
                node.fetch(io, &self.handle, page_down(end)..end, 0)?;
            }
            buffer.resize(len, 0);
            let taken = from.take(&mut buffer)?;
            let data = buffer.get(..taken).unwrap_or_default();
            if !data.is_empty() {
                node.write_later(at, data)?;
                self.unflushed.store(true, Ordering::Relaxed);
            }
            if taken < len || from.left() == 0 {
                return Ok(taken);
            }
            *io.done += taken as u64;
            at = at.saturating_add(taken as u64);
        }
    }

    /// Who writes to a program takes its set-id bits away, unless the server does that by itself.
    pub(super) fn shed_privileges(&self, io: &mut Io<'_>) -> Op<()> {
        let node = self.node();
        let attr = node.state.lock().attr;
        if attr.perm & 0o6000 == 0 || node.conn.has(FUSE_HANDLE_KILLPRIV) {
            return Ok(());
        }
        match access::without_privileges(&io.cred, &attr) {
            Some(perm) => node.set_mode(io, perm),
            None => Ok(()),
        }
    }

    /// By the server alone.
    pub(super) fn read_directly(&self, io: &mut Io<'_>, mut at: u64, to: &mut dyn Sink) -> Op<usize> {
        let (node, conn) = (self.node(), &self.node().conn);
        node.usable(io)?;
        let most = conn.settings.get().map_or(4096, |s| s.max_read) as usize;
        loop {
            let window = to.left().min(WINDOW);
            let (base, mut got, mut parts, mut keys) = (*io.done, 0, Vec::new(), Vec::new());
            while got < window {
                let size = (window - got).min(most);
                let place = at.saturating_add(got as u64);
                let key = Out::default().bytes(b"now").u64(self.handle.fh).u64(base).u64(got as u64).0;
                let args = Out::request().u64(self.handle.fh).u64(place).u32(size as u32).u32(FUSE_READ_LOCKOWNER);
                let args = args.u64(Self::owner(io)).u32(self.flags.load(Ordering::Relaxed)).u32(0);
                let ask = Ask { op: FUSE_READ, node: node.id, key: &key, reply: 0..=size };
                let part: Op<Arc<Vec<u8>>> = conn.ask(io, &ask, || Ok(args), |_, answer| answer.map(Arc::new));
                keys.push(key);
                let part = match part {
                    // What came before it is an answer by itself.
                    Err(Stop::Errno(_)) if got > 0 => break,
                    part => part?,
                };
                got += part.len();
                let short = part.len() < size;
                parts.push(part);
                if short {
                    break;
                }
            }
            let mut put = 0;
            for part in &parts {
                let count = match to.put(part) {
                    Err(stop) if put == 0 => return Err(stop),
                    Err(_) => 0,
                    Ok(count) => count,
                };
                put += count;
                if count < part.len() {
                    break;
                }
            }
            if put < window || to.left() == 0 {
                return Ok(put);
            }
            *io.done += put as u64;
            at = at.saturating_add(put as u64);
            for key in keys {
                conn.forget_answer(io, FUSE_READ, node.id, &key);
            }
        }
    }

    /// By the server alone. `at` is None: at the end.
    pub(super) fn write_directly(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let (node, conn) = (self.node(), &self.node().conn);
        node.usable(io)?;
        node.lock_writes(io)?;
        let start = match at {
            Some(at) => at,
            None => node.attr(io)?.size,
        };
        check_end(start, from.left())?;
        let most = conn.settings.get().map_or(4096, |s| s.max_write) as usize;
        let mut at = start;
        loop {
            let window = from.left().min(WINDOW);
            let (base, mut put, mut keys) = (*io.done, 0, Vec::new());
            while put < window {
                let size = (window - put).min(most);
                let place = at.saturating_add(put as u64);
                let key = Out::default().bytes(b"now").u64(self.handle.fh).u64(base).u64(put as u64).0;
                let mut data = vec![0; size];
                // Taken again in later runs, so that the source stands where the write does.
                let taken = match from.take(&mut data) {
                    Err(_) if put > 0 => break,
                    other => other?,
                };
                data.truncate(taken);
                if taken == 0 {
                    break;
                }
                let flags = FUSE_WRITE_LOCKOWNER;
                let args = Out::request().u64(self.handle.fh).u64(place).u32(taken as u32).u32(flags);
                let args = args.u64(Self::owner(io)).u32(self.flags.load(Ordering::Relaxed)).u32(0).bytes(&data);
                let ask = Ask { op: FUSE_WRITE, node: node.id, key: &key, reply: 8..=8 };
                let wrote: Op<usize> = conn.ask(
                    io,
                    &ask,
                    || Ok(args),
                    |request, answer| {
                        let count = In(&answer?).u32()? as usize;
                        let sent = request.bytes.get(IN_HEADER + 40..).unwrap_or_default();
                        let written = sent.get(..count).ok_or(Errno::EIO)?;
                        node.written(place, written);
                        Ok(count)
                    },
                );
                keys.push(key);
                let wrote = match wrote {
                    Err(Stop::Errno(_)) if put > 0 => {
                        from.untake(taken);
                        break;
                    }
                    Err(stop) => {
                        from.untake(taken);
                        return Err(stop);
                    }
                    Ok(count) => count.min(taken),
                };
                put += wrote;
                if wrote < taken {
                    from.untake(taken - wrote);
                    break;
                }
            }
            self.unflushed.store(true, Ordering::Relaxed);
            if put < window || from.left() == 0 {
                return Ok(put);
            }
            *io.done += put as u64;
            at = at.saturating_add(put as u64);
            for key in keys {
                conn.forget_answer(io, FUSE_WRITE, node.id, &key);
            }
        }
    }
}

/// EFBIG for what no file has room for: a server may say that a file is as long as files get.
pub(super) fn check_end(at: u64, len: usize) -> Op<()> {
    if at.saturating_add(len as u64) > i64::MAX as u64 { fail(Errno::EFBIG) } else { Ok(()) }
}
