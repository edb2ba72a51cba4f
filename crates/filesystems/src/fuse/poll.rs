//! Polling of files of a server: FUSE_POLL and FUSE_NOTIFY_POLL. poll(2), fuse(4).
//!
//! The server is asked with a number of ours (`kh`), which it names when something may have changed. What it said is believed once: levels change
//! with reads and writes. Locks: a leaf around what is known.

use super::handle::{Handle, about};
use super::request::Answer;
use super::wire::{In, Out};
use abi::Errno;
use abi::fuse::*;
use kernel::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, Stop};
use kernel::wait::{Events, Queue};
use lock::Mutex;
use std::sync::{Arc, Weak};

/// See the module.
pub(super) struct Polled {
    handle: Weak<Handle>,
    kh: u64,
    pub queue: Queue,
    known: Mutex<Known, Leaf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The server is to be asked.
    Nothing,
    /// It was asked.
    Asked,
    Ready(Events),
}

impl Polled {
    pub fn new(handle: &Arc<Handle>) -> Arc<Polled> {
        let kh = kernel::unique_id();
        let known = Mutex::new(Known::Nothing);
        let polled = Arc::new(Polled { handle: Arc::downgrade(handle), kh, queue: Queue::new(), known });
        handle.node.conn.polled.lock().insert(kh, Arc::downgrade(&polled));
        polled
    }

    fn args(&self, handle: &Handle, want: Events) -> Out {
        Out::default().u64(handle.fh).u64(self.kh).u32(FUSE_POLL_SCHEDULE_NOTIFY).u32(want.bits())
    }

    /// Asks, and waits for the answer: for who looks once.
    pub fn ask(&self, io: &mut Io<'_>, want: Events) -> Op<()> {
        let Some(handle) = self.handle.upgrade() else { return Ok(()) };
        let (node, conn) = (&handle.node, &handle.node.conn);
        if conn.lacks(FUSE_POLL) {
            return Ok(());
        }
        let args = self.args(&handle, want);
        let question = about(FUSE_POLL, node, &args.0, 8);
        let body = || Ok(Out::request().bytes(&args.0));
        match conn.ask(io, &question, body, |_, answer| self.learn(answer)) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                conn.set_lacking(FUSE_POLL);
                Ok(())
            }
            Err(Stop::Errno(_)) => {
                *self.known.lock() = Known::Ready(Events::ERR);
                Ok(())
            }
            other => other,
        }
    }

    fn learn(&self, answer: Answer) -> Result<(), Errno> {
        let events = Events::from_bits_truncate(In(&answer?).u32()?);
        *self.known.lock() = Known::Ready(events);
        Ok(())
    }

    pub fn ready(self: &Arc<Self>, want: Events) -> Events {
        const ALWAYS: Events = Events::IN.union(Events::OUT).union(Events::RDNORM).union(Events::WRNORM);
        let Some(handle) = self.handle.upgrade() else { return Events::ERR };
        let conn = &handle.node.conn;
        if conn.connected().is_err() {
            return Events::ERR;
        }
        if conn.lacks(FUSE_POLL) {
            return want & ALWAYS;
        }
        let known = {
            let mut known = self.known.lock();
            let next = match *known {
                Known::Nothing => Known::Asked,
                Known::Asked => Known::Asked,
                // Believed once where there is something; nothing stays so until the server says otherwise.
                Known::Ready(events) if events.intersects(want) => Known::Nothing,
                ready => ready,
            };
            std::mem::replace(&mut *known, next)
        };
        match known {
            Known::Ready(events) => events & (want | Events::ERR | Events::HUP),
            Known::Asked => Events::empty(),
            Known::Nothing => {
                let polled = self.clone();
                let then = move |conn: &Arc<super::conn::Conn>, answer: Answer| {
                    match polled.learn(answer) {
                        Ok(()) => {}
                        Err(Errno::ENOSYS) => conn.set_lacking(FUSE_POLL),
                        Err(_) => *polled.known.lock() = Known::Ready(Events::ERR),
                    }
                    polled.queue.wake(Events::all());
                };
                let body = Out::request().bytes(&self.args(&handle, want).0);
                conn.post(FUSE_POLL, handle.node.id, body, 8..=8, Some(Box::new(then)));
                Events::empty()
            }
        }
    }

    /// Something may have changed.
    pub fn wake(&self) {
        *self.known.lock() = Known::Nothing;
        self.queue.wake(Events::all());
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.upgrade() {
            handle.node.conn.polled.lock().remove(&self.kh);
        }
    }
}
