//! Requests, and the log of what a call has asked: how calls that are run again from the top ask nothing twice.
//!
//! A call may ask many questions (each name of a path, then the file). Each stands in the call's log by operation, node and arguments, with its request
//! while that is open, and with what was made of the answer after. A run that comes to the same question takes it from there. The log goes with the
//! call; what is open then is abandoned, and what its answer brings is given back. Signals interrupt no wait: the server is told, and decides (a task
//! that is to die waits no longer). Neighbours: `conn`. Locks: a leaf around a request's state.

use super::conn::Conn;
use super::wire::Out;
use abi::Errno;
use abi::fuse::IN_HEADER;
use kernel::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, Restart, Stop, fail};
use kernel::task::Task;
use kernel::wait::{Events, Interrupt, Queue};
use lock::Mutex;
use std::any::Any;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The payload of a reply, or the server's error.
pub(super) type Answer = Result<Vec<u8>, Errno>;
/// What becomes of an answer that no call waits for.
pub(super) type Then = Box<dyn FnOnce(&Arc<Conn>, Answer) + Send>;

/// See the module.
pub(super) struct Request {
    pub unique: u64,
    pub op: u32,
    pub node: u64,
    /// The whole message.
    pub bytes: Vec<u8>,
    /// How long the payload of an answer may be.
    pub reply: RangeInclusive<usize>,
    state: Mutex<State, Leaf>,
    /// The device that it was read from.
    reader: AtomicU64,
    interrupted: AtomicBool,
    done: Queue,
}

enum State {
    /// Not answered.
    Open(Option<Then>),
    Answered(Answer),
    /// The answer was taken, or nobody wants it.
    Over,
}

impl Request {
    pub fn new(
        unique: u64,
        op: u32,
        node: u64,
        [uid, gid, pid]: [u32; 3],
        mut bytes: Vec<u8>,
        reply: RangeInclusive<usize>,
        then: Option<Then>,
    ) -> Arc<Request> {
        let len = bytes.len() as u32;
        let header = Out::default().u32(len).u32(op).u64(unique).u64(node).u32(uid).u32(gid).u32(pid).u32(0).0;
        if let Some(room) = bytes.get_mut(..IN_HEADER) {
            room.copy_from_slice(&header);
        }
        Arc::new(Request {
            unique,
            op,
            node,
            bytes,
            reply,
            state: Mutex::new(State::Open(then)),
            reader: AtomicU64::new(0),
            interrupted: AtomicBool::new(false),
            done: Queue::new(),
        })
    }

    pub fn reader(&self) -> u64 {
        self.reader.load(Ordering::Relaxed)
    }
    pub fn sent_to(&self, device: u64) {
        self.reader.store(device, Ordering::Relaxed);
    }
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
    /// Whether it was interrupted before.
    pub fn set_interrupted(&self) -> bool {
        self.interrupted.swap(true, Ordering::Relaxed)
    }

    /// The answer is there. The caller has taken the request out of the connection's queues.
    pub fn finish(&self, conn: &Arc<Conn>, answer: Answer) {
        let lost = {
            let mut state = self.state.lock();
            match &mut *state {
                State::Open(then) => match then.take() {
                    Some(then) => {
                        *state = State::Over;
                        Some((Some(then), answer))
                    }
                    None => {
                        *state = State::Answered(answer);
                        None
                    }
                },
                _ => Some((None, answer)),
            }
        };
        match lost {
            Some((Some(then), answer)) => then(conn, answer),
            Some((None, answer)) => conn.undo(self, answer),
            None => self.done.wake(Events::IN),
        }
    }

    fn take_answer(&self) -> Option<Answer> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Some(answer),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Nobody waits any more; an answer that nobody took.
    pub fn abandon(&self) -> Option<Answer> {
        match std::mem::replace(&mut *self.state.lock(), State::Over) {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}

/// A question.
pub(super) struct Ask<'a> {
    pub op: u32,
    pub node: u64,
    /// Tells it from others of the same operation and node within a call.
    pub key: &'a [u8],
    /// How long the payload of an answer may be.
    pub reply: RangeInclusive<usize>,
}

/// What a call has asked.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    /// Things that the call holds until it is over.
    held: Vec<Box<dyn Any + Send>>,
}

struct Entry {
    conn: Arc<Conn>,
    op: u32,
    node: u64,
    key: Box<[u8]>,
    state: EntryState,
}

enum EntryState {
    Waiting(Arc<Request>),
    Done(Box<dyn Any + Send>),
}

impl Entry {
    fn new(conn: &Arc<Conn>, op: u32, node: u64, key: &[u8], state: EntryState) -> Entry {
        conn.askers.fetch_add(1, Ordering::AcqRel);
        Entry { conn: conn.clone(), op, node, key: key.into(), state }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let EntryState::Waiting(request) = &self.state {
            self.conn.abandon(request);
        }
        self.conn.askers.fetch_sub(1, Ordering::AcqRel);
    }
}

fn log<'a>(io: &'a mut Io<'_>) -> Op<&'a mut Log> {
    let waits = io.waits().ok_or(Errno::EAGAIN)?;
    let slot = waits.remote.get_or_insert_with(|| Box::new(Log::default()));
    slot.downcast_mut::<Log>().ok_or(Errno::EAGAIN.into())
}

impl Log {
    fn find(&mut self, conn: &Conn, ask: &Ask<'_>) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|e| e.conn.id == conn.id && e.op == ask.op && e.node == ask.node && *e.key == *ask.key)
    }
}

/// Keeps something (a lock that is released when it is dropped) until the call is over.
pub(super) fn hold(io: &mut Io<'_>, what: Box<dyn Any + Send>) -> Op<()> {
    log(io)?.held.push(what);
    Ok(())
}

/// What the call holds of this type.
pub(super) fn held<'a, T: 'static>(io: &'a mut Io<'_>, which: impl Fn(&T) -> bool) -> Option<&'a T> {
    log(io).ok()?.held.iter().filter_map(|held| held.downcast_ref::<T>()).find(|held| which(held))
}

impl Conn {
    /// Asks the server, and waits for its answer. `body` makes the request, once; `digest` makes of the answer what it is asked for, once, and
    /// must keep nothing back that later runs of the call need.
    pub fn ask<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        ask: &Ask<'_>,
        body: impl FnOnce() -> Op<Out>,
        digest: impl FnOnce(&Request, Answer) -> Result<T, Errno>,
    ) -> Op<T> {
        let request = match log(io)?.find(self, ask).map(|entry| &entry.state) {
            Some(EntryState::Done(known)) => {
                let known: Option<&Result<T, Errno>> = known.downcast_ref();
                return Ok(known.cloned().unwrap_or(Err(Errno::EIO))?);
            }
            Some(EntryState::Waiting(request)) => request.clone(),
            None => {
                self.wait_for_start(io)?;
                let request = self.send(ask.op, ask.node, self.ids(io), body()?, ask.reply.clone(), None)?;
                let entry = Entry::new(self, ask.op, ask.node, ask.key, EntryState::Waiting(request.clone()));
                log(io)?.entries.push(entry);
                request
            }
        };
        let answer = self.wait_for_answer(io, &request)?;
        let made = digest(&request, answer);
        if let Some(entry) = log(io)?.find(self, ask) {
            entry.state = EntryState::Done(Box::new(made.clone()));
        }
        Ok(made?)
    }

    /// As `ask`, where the arguments are all that tells questions apart.
    pub fn ask_plainly<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        op: u32,
        node: u64,
        args: Out,
        reply: RangeInclusive<usize>,
        digest: impl FnOnce(&Request, Answer) -> Result<T, Errno>,
    ) -> Op<T> {
        let ask = Ask { op, node, key: &args.0, reply };
        self.ask(io, &ask, || Ok(Out::request().bytes(&args.0)), digest)
    }

    /// What the call knows already without asking, noted or found in its log: all runs of a call see the same.
    pub fn noted<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        op: u32,
        node: u64,
        key: &[u8],
        now: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let ask = Ask { op, node, key, reply: 0..=0 };
        let entry = log(io).ok()?.find(self, &ask).map(|entry| &entry.state);
        match entry {
            Some(EntryState::Done(known)) => return known.downcast_ref::<Result<T, Errno>>()?.clone().ok(),
            Some(EntryState::Waiting(_)) => return None,
            None => {}
        }
        let value = now()?;
        let state = EntryState::Done(Box::new(Ok::<T, Errno>(value.clone())));
        log(io).ok()?.entries.push(Entry::new(self, op, node, key, state));
        Some(value)
    }

    /// The call has counted what a question brought, or wants to ask it anew.
    pub fn forget_answer(self: &Arc<Self>, io: &mut Io<'_>, op: u32, node: u64, key: &[u8]) {
        if let Ok(log) = log(io) {
            let is = |e: &Entry| e.conn.id == self.id && e.op == op && e.node == node && *e.key == *key;
            log.entries.retain(|entry| !(is(entry) && matches!(entry.state, EntryState::Done(_))));
        }
    }

    /// The key of an open question that begins with `prefix`.
    pub fn open_key(&self, io: &mut Io<'_>, op: u32, node: u64, prefix: &[u8]) -> Option<Box<[u8]>> {
        let is = |e: &&Entry| e.conn.id == self.id && e.op == op && e.node == node && e.key.starts_with(prefix);
        let waits = |e: &&Entry| matches!(e.state, EntryState::Waiting(_));
        log(io).ok()?.entries.iter().filter(is).find(waits).map(|entry| entry.key.clone())
    }

    /// Uid, gid and thread number of the caller as the server sees them.
    pub fn ids(&self, io: &Io<'_>) -> [u32; 3] {
        let pid = Task::of(io).map_or(0, |task| task.pid.number_in(&self.pid_ns));
        [self.uid_to(io.cred.fsuid), self.gid_to(io.cred.fsgid), pid as u32]
    }

    pub fn uid_to(&self, uid: u32) -> u32 {
        if self.user_ns.parent.is_none() { uid } else { self.user_ns.uid_to(uid) }
    }

    pub fn gid_to(&self, gid: u32) -> u32 {
        if self.user_ns.parent.is_none() { gid } else { self.user_ns.gid_to(gid) }
    }

    fn wait_for_start(&self, io: &mut Io<'_>) -> Op<()> {
        self.connected()?;
        if self.settings.get().is_some() {
            return Ok(());
        }
        let waits = io.waits().ok_or(Errno::EAGAIN)?;
        if waits.interrupt == Interrupt::Kill {
            return Err(Stop::Restart(Restart::NoIntr));
        }
        waits.add(self.starting(), Events::IN);
        self.connected()?;
        if self.settings.get().is_some() { Ok(()) } else { Err(Stop::Block) }
    }

    fn wait_for_answer(&self, io: &mut Io<'_>, request: &Arc<Request>) -> Op<Answer> {
        if let Some(answer) = request.take_answer() {
            return Ok(answer);
        }
        let Some(waits) = io.waits() else { return fail(Errno::EAGAIN) };
        match waits.interrupt {
            Interrupt::None => {}
            Interrupt::Signal => self.interrupt(request),
            Interrupt::Kill => return Err(Stop::Restart(Restart::NoIntr)),
        }
        waits.add(&request.done, Events::IN);
        match request.take_answer() {
            Some(answer) => {
                waits.clear();
                Ok(answer)
            }
            None => Err(Stop::Block),
        }
    }
}
