//! Who may write to a server's file, and how it is told what is kept as newer than its own copy: FUSE_WRITEBACK_CACHE. fuse(4).
//!
//! Neighbours: `pages` (what is dirty), `data` and `file` (callers). Locks: one around whose turn it is to write; `FileState` as `pages` has it.

use super::conn::Conn;
use super::handle::Handle;
use super::node::Node;
use super::pages::PAGE;
use super::request::{Answer, Ask, held, hold};
use super::wire::{In, Out};
use abi::Errno;
use abi::fuse::*;
use kernel::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, Restart, Stop};
use kernel::wait::{Events, Interrupt, Queue};
use lock::Mutex;
use std::sync::Arc;

/// Who writes to a file, from its first question to the end of its call.
#[derive(Default)]
pub(super) struct Writing {
    taken: Mutex<bool, Leaf>,
    queue: Queue,
}

/// Lets the next writer in when the call is over.
struct Writes(Arc<Node>);

impl Drop for Writes {
    fn drop(&mut self) {
        *self.0.writing.taken.lock() = false;
        self.0.writing.queue.wake(Events::IN);
    }
}

impl Node {
    /// One call at a time writes: a second one must not choose its place before the first is done.
    pub fn lock_writes(self: &Arc<Self>, io: &mut Io<'_>) -> Op<()> {
        if held::<Writes>(io, |held| Arc::ptr_eq(&held.0, self)).is_some() {
            return Ok(());
        }
        let try_lock = || !std::mem::replace(&mut *self.writing.taken.lock(), true);
        if !try_lock() {
            let waits = io.waits().ok_or(Errno::EAGAIN)?;
            if waits.interrupt == Interrupt::Kill {
                return Err(Stop::Restart(Restart::NoIntr));
            }
            waits.add(&self.writing.queue, Events::IN);
            if !try_lock() {
                return Err(Stop::Block);
            }
        }
        let guard = Writes(self.clone());
        hold(io, Box::new(guard))
    }

    fn write_message(handle: &Handle, at: u64, data: &[u8]) -> Out {
        let head = Out::request().u64(handle.fh).u64(at).u32(data.len() as u32).u32(FUSE_WRITE_CACHE);
        head.u64(0).u32(handle.flags & !abi::fs::O_APPEND).u32(0).bytes(data)
    }

    fn next_dirty(&self) -> Op<Option<(u64, Vec<u8>)>> {
        let most = self.conn.settings.get().map_or(PAGE as u32, |s| s.max_write) as usize;
        let size = self.size();
        Ok(self.pages.lock().first_dirty(size, most)?)
    }

    fn wrote_back(len: u64, answer: Answer) -> Result<(), Errno> {
        let count = answer.and_then(|reply| In(&reply).u32())?;
        if u64::from(count) < len { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Tells the server all that it is still to be told, and waits. An error is told once, and what it was about is lost.
    pub fn write_back(self: &Arc<Self>, io: &mut Io<'_>, handle: &Arc<Handle>) -> Op<()> {
        let Some(handle) = self.writer(handle) else { return Ok(()) };
        let key_of = |at: u64| Out::default().bytes(b"back").u64(at).0;
        // The part that an earlier run asked about is clean already.
        loop {
            let asked = self.conn.open_key(io, FUSE_WRITE, self.id, b"back");
            let (at, data) = match asked {
                Some(key) => (In(key.get(4..).unwrap_or_default()).u64()?, Vec::new()),
                None => match self.next_dirty()? {
                    None => break,
                    Some(part) => part,
                },
            };
            let key = key_of(at);
            let len = data.len() as u64;
            if len > 0 {
                self.pages.lock().dirty.remove(at..at + len);
            }
            let ask = Ask { op: FUSE_WRITE, node: self.id, key: &key, reply: 8..=8 };
            let result = self.conn.ask(
                io,
                &ask,
                || Ok(Self::write_message(&handle, at, &data)),
                |request, answer| {
                    let sent = request.bytes.len().saturating_sub(IN_HEADER + 40) as u64;
                    Self::wrote_back(sent, answer)
                },
            );
            if result != Err(Stop::Block) {
                self.conn.forget_answer(io, FUSE_WRITE, self.id, &key);
            }
            result?;
        }
        self.send_times(io, &handle)
    }

    /// With a write-back cache the time of modification is the kernel's.
    fn send_times(self: &Arc<Self>, io: &mut Io<'_>, handle: &Handle) -> Op<()> {
        let args = {
            let state = self.state.lock();
            state.touched.then(|| Self::times(handle, state.attr.mtime))
        };
        // Asked in an earlier run, which marked the times as told.
        let key = b"times";
        if args.is_none() && self.conn.open_key(io, FUSE_SETATTR, self.id, key).is_none() {
            return Ok(());
        }
        self.state.lock().touched = false;
        let ask = Ask { op: FUSE_SETATTR, node: self.id, key, reply: 0..=super::wire::ATTR_OUT };
        let args = args.unwrap_or_default();
        self.conn.ask(io, &ask, || Ok(Out::request().bytes(&args.0)), |_, _| Ok(()))
    }

    fn times(handle: &Handle, at: abi::time::Timespec) -> Out {
        let (sec, nsec) = (at.tv_sec as u64, at.tv_nsec as u32);
        let valid = FATTR_MTIME | FATTR_CTIME | FATTR_FH;
        let args = Out::default().u32(valid).u32(0).u64(handle.fh).u64(0).u64(0);
        args.u64(0).u64(sec).u64(sec).u32(0).u32(nsec).u32(nsec).bytes(&[0; 20])
    }

    /// As `write_back`, while nobody waits; the handle is released when all is told.
    pub fn write_back_later(self: &Arc<Self>, handle: &Arc<Handle>) {
        let Some(handle) = self.writer(handle) else { return };
        while let Ok(Some((at, data))) = self.next_dirty() {
            let len = data.len() as u64;
            self.pages.lock().dirty.remove(at..at + len);
            let kept = handle.clone();
            let then = move |_: &Arc<Conn>, answer: Answer| {
                if Self::wrote_back(len, answer).is_err() {
                    kept.failed.store(true, std::sync::atomic::Ordering::Relaxed);
                }
            };
            self.conn.post(FUSE_WRITE, self.id, Self::write_message(&handle, at, &data), 8..=8, Some(Box::new(then)));
        }
        let touched = std::mem::take(&mut self.state.lock().touched);
        if touched {
            let body = Out::request().bytes(&Self::times(&handle, self.state.lock().attr.mtime).0);
            let kept = handle.clone();
            let then = move |_: &Arc<Conn>, _: Answer| drop(kept);
            self.conn.post(FUSE_SETATTR, self.id, body, 0..=super::wire::ATTR_OUT, Some(Box::new(then)));
        }
    }

    /// An open file that may write.
    fn writer(&self, handle: &Arc<Handle>) -> Option<Arc<Handle>> {
        if handle.writable() {
            return Some(handle.clone());
        }
        self.state.lock().writers.iter().find_map(std::sync::Weak::upgrade)
    }
}
