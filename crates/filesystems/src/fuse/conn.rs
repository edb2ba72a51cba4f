//! A connection: what lies between a mounted file system and its server. fuse(4).
//!
//! Requests go from `pending` (a read of the device takes them) to `processing` (a write answers them). Forgotten nodes and interrupts have queues
//! of their own. A connection ends when its last device is closed, its file system goes, or somebody aborts it; whoever waits then gets
//! ECONNABORTED, who comes later ENOTCONN. Neighbours: `request` (who asks), `device` (who serves), `init`. Locks: `FileState` around the
//! queues; leaves around the rest. Requests are finished, and nodes dropped, outside of them.

use super::init::Settings;
use super::node::Node;
use super::options::Options;
use super::request::{Answer, Request, Then};
use super::wire::{EntryOut, In, Out};
use abi::Errno;
use abi::fuse::*;
use kernel::cred::{Cred, UserNs};
use kernel::locks::{FileState, Leaf};
use kernel::op::{Op, fail};
use kernel::task::PidNs;
use kernel::vfs::FileSystem;
use kernel::wait::{Events, Queue};
use lock::Mutex;
use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// See the module.
pub(super) struct Conn {
    /// Tells connections apart in the logs of calls.
    pub id: u64,
    pub options: Options,
    /// Who mounted it, by the kernel's own numbers.
    pub user: u32,
    pub group: u32,
    /// Whose names for users and processes the server knows.
    pub user_ns: Arc<UserNs>,
    pub pid_ns: Arc<PidNs>,
    pub settings: OnceLock<Settings>,
    state: Mutex<State, FileState>,
    forgotten: Mutex<VecDeque<(u64, u64)>, Leaf>,
    /// Readers of the device.
    pub readers: Queue,
    /// Callers that came before FUSE_INIT was answered.
    starting: Queue,
    pub nodes: Mutex<HashMap<u64, Weak<Node>>, Leaf>,
    pub fs: OnceLock<Weak<FileSystem>>,
    /// Operations, by bit, that the server answered with ENOSYS.
    lacking: AtomicU64,
    uninterruptible: AtomicBool,
    devices: AtomicUsize,
    /// Questions of calls that are not over.
    pub askers: AtomicUsize,
    /// Open files that may be polled, by the handle that the server knows.
    pub polled: Mutex<HashMap<u64, Weak<super::poll::Polled>>, Leaf>,
}

struct State {
    pending: VecDeque<Arc<Request>>,
    processing: HashMap<u64, Arc<Request>>,
    interrupts: VecDeque<Arc<Request>>,
    /// Whole messages that nobody answers.
    messages: VecDeque<Vec<u8>>,
    next: u64,
    connected: bool,
    /// FUSE_INIT was answered wrongly.
    refused: bool,
    aborted: bool,
}

/// What a read of the device gets.
pub(super) enum Work {
    Request(Arc<Request>),
    Interrupt(Arc<Request>),
    Forget(Vec<(u64, u64)>),
    Message(Vec<u8>),
}

impl Conn {
    pub fn new(options: Options, user: u32, group: u32, user_ns: Arc<UserNs>, pid_ns: Arc<PidNs>) -> Arc<Conn> {
        let state = State {
            pending: VecDeque::new(),
            processing: HashMap::new(),
            interrupts: VecDeque::new(),
            messages: VecDeque::new(),
            next: 2,
            connected: true,
            refused: false,
            aborted: false,
        };
        Arc::new(Conn {
            id: kernel::unique_id(),
            options,
            user,
            group,
            user_ns,
            pid_ns,
            settings: OnceLock::new(),
            state: Mutex::new(state),
            forgotten: Mutex::new(VecDeque::new()),
            readers: Queue::new(),
            starting: Queue::new(),
            nodes: Mutex::new(HashMap::new()),
            fs: OnceLock::new(),
            lacking: AtomicU64::new(0),
            uninterruptible: AtomicBool::new(false),
            devices: AtomicUsize::new(0),
            askers: AtomicUsize::new(0),
            polled: Mutex::new(HashMap::new()),
        })
    }

    /// EACCES for callers whom the mounter does not let in: others than himself, unless `allow_other`. So a server cannot
    /// hold up, or watch, processes of users that it could not trace.
    pub fn admits(&self, cred: &Cred) -> Op<()> {
        let own = [cred.uid, cred.euid, cred.suid].iter().all(|id| *id == self.user)
            && [cred.gid, cred.egid, cred.sgid].iter().all(|id| *id == self.group);
        let others = self.options.allow_other
            && (self.user_ns.parent.is_none()
                || Arc::ptr_eq(&cred.user_ns, &self.user_ns)
                || self.user_ns.is_ancestor_of(&cred.user_ns));
        if own || others { Ok(()) } else { fail(Errno::EACCES) }
    }

    pub fn has(&self, flag: u64) -> bool {
        self.settings.get().is_some_and(|settings| settings.flags & flag != 0)
    }

    pub fn lacks(&self, op: u32) -> bool {
        self.lacking.load(Ordering::Relaxed) & (1 << (op & 63)) != 0
    }

    /// The server has no such operation.
    pub fn set_lacking(&self, op: u32) {
        self.lacking.fetch_or(1 << (op & 63), Ordering::Relaxed);
    }

    /// ENOTCONN where the server is gone, ECONNREFUSED where it never really came.
    pub fn connected(&self) -> Op<()> {
        let state = self.state.lock();
        match (state.connected, state.refused) {
            (_, true) => fail(Errno::ECONNREFUSED),
            (false, _) => fail(Errno::ENOTCONN),
            _ => Ok(()),
        }
    }

    /// Where callers wait until `settings` are there.
    pub fn starting(&self) -> &Queue {
        &self.starting
    }

    /// FUSE_INIT was answered; None: wrongly.
    pub fn start(&self, settings: Option<Settings>) {
        match settings {
            Some(settings) => drop(self.settings.set(settings)),
            None => self.state.lock().refused = true,
        }
        self.starting.wake(Events::IN);
    }

    /// A device of the connection was opened, or given it.
    pub fn add_device(&self) {
        self.devices.fetch_add(1, Ordering::AcqRel);
    }

    /// One was closed: what was read from it is answered by nobody.
    pub fn remove_device(self: &Arc<Self>, device: u64) {
        if self.devices.fetch_sub(1, Ordering::AcqRel) == 1 {
            return self.abort(false);
        }
        let lost: Vec<Arc<Request>> = {
            let mut state = self.state.lock();
            state.processing.extract_if(|_, request| request.reader() == device).map(|(_, request)| request).collect()
        };
        for request in lost {
            request.finish(self, Err(Errno::ECONNABORTED));
        }
    }

    /// The end. `asked`: by the control file system, of which the server is told by ECONNABORTED, if it wants to know.
    pub fn abort(self: &Arc<Self>, asked: bool) {
        let lost: Vec<Arc<Request>> = {
            let mut state = self.state.lock();
            if !state.connected {
                return;
            }
            state.connected = false;
            state.aborted = asked;
            state.interrupts.clear();
            state.messages.clear();
            let pending = std::mem::take(&mut state.pending);
            let processing = std::mem::take(&mut state.processing);
            pending.into_iter().chain(processing.into_values()).collect()
        };
        self.forgotten.lock().clear();
        for request in lost {
            request.finish(self, Err(Errno::ECONNABORTED));
        }
        let nodes: Vec<Arc<Node>> = self.nodes.lock().values().filter_map(Weak::upgrade).collect();
        for node in &nodes {
            node.forget_names();
        }
        drop(nodes);
        let polled: Vec<_> = self.polled.lock().values().filter_map(Weak::upgrade).collect();
        for file in polled {
            file.wake();
        }
        self.starting.wake(Events::IN);
        self.readers.wake(Events::IN | Events::ERR | Events::HUP);
    }

    pub fn is_mounted(&self) -> bool {
        self.fs.get().is_some_and(|fs| fs.strong_count() > 0)
    }

    /// Requests that wait for the server, for the control file system.
    pub fn waiting(&self) -> usize {
        let state = self.state.lock();
        state.pending.len() + state.processing.len()
    }

    /// Queues a request that `ids` (uid, gid, pid as the server sees them) make.
    pub fn send(
        self: &Arc<Self>,
        op: u32,
        node: u64,
        ids: [u32; 3],
        body: Out,
        reply: RangeInclusive<usize>,
        then: Option<Then>,
    ) -> Op<Arc<Request>> {
        let request = {
            let mut state = self.state.lock();
            if !state.connected {
                drop(state);
                self.connected()?;
                return fail(Errno::ENOTCONN);
            }
            let unique = state.next;
            state.next += 2;
            let request = Request::new(unique, op, node, ids, body.0, reply, then);
            state.pending.push_back(request.clone());
            request
        };
        self.readers.wake(Events::IN | Events::RDNORM);
        Ok(request)
    }

    /// Answers to requests with lower numbers were made before now, perhaps.
    pub fn next_unique(&self) -> u64 {
        self.state.lock().next
    }

    /// Queues a request that nobody waits for. Where the server is gone it is lost.
    pub fn post(self: &Arc<Self>, op: u32, node: u64, body: Out, reply: RangeInclusive<usize>, then: Option<Then>) {
        let _ = self.send(op, node, [0; 3], body, reply, then);
    }

    /// Queues a message that nobody answers. ENOMEM where a server asks for more of them than it reads.
    pub fn tell(&self, message: Vec<u8>) -> Op<()> {
        const MOST: usize = 64;
        {
            let mut state = self.state.lock();
            if !state.connected || state.messages.len() >= MOST {
                return fail(Errno::ENOMEM);
            }
            state.messages.push_back(message);
        }
        self.readers.wake(Events::IN | Events::RDNORM);
        Ok(())
    }

    /// The server need not remember a node any more: `count` of its answers named it.
    pub fn forget(&self, node: u64, count: u64) {
        if count > 0 && self.state.lock().connected {
            self.forgotten.lock().push_back((node, count));
            self.readers.wake(Events::IN | Events::RDNORM);
        }
    }

    /// Whether there is something to read: ENODEV or ECONNABORTED where never again.
    pub fn has_work(&self) -> Op<bool> {
        let state = self.state.lock();
        if !state.connected {
            let told = state.aborted && self.has(FUSE_ABORT_ERROR);
            return fail(if told { Errno::ECONNABORTED } else { Errno::ENODEV });
        }
        let queued = !state.interrupts.is_empty() || !state.messages.is_empty() || !state.pending.is_empty();
        Ok(queued || !self.forgotten.lock().is_empty())
    }

    /// The next thing to do for the server that reads from `device` with room for `room` bytes.
    pub fn take_work(self: &Arc<Self>, device: u64, room: usize) -> Op<Option<Work>> {
        const FORGETS: usize = 128;
        loop {
            if !self.has_work()? {
                return Ok(None);
            }
            let mut state = self.state.lock();
            if let Some(request) = state.interrupts.pop_front() {
                return Ok(Some(Work::Interrupt(request)));
            }
            if let Some(message) = state.messages.pop_front() {
                return Ok(Some(Work::Message(message)));
            }
            let mut forgotten = self.forgotten.lock();
            // Requests first, but not for ever.
            if state.pending.is_empty() || forgotten.len() > FORGETS {
                let batch = self.settings.get().is_some_and(|s| s.minor >= 16);
                let most = if batch { (room.saturating_sub(IN_HEADER + 8) / 16).clamp(1, FORGETS) } else { 1 };
                let count = most.min(forgotten.len());
                let forgets: Vec<_> = forgotten.drain(..count).collect();
                if !forgets.is_empty() {
                    return Ok(Some(Work::Forget(forgets)));
                }
                continue;
            }
            drop(forgotten);
            let Some(request) = state.pending.pop_front() else { continue };
            if request.bytes.len() > room {
                drop(state);
                let errno = if request.op == FUSE_SETXATTR { Errno::E2BIG } else { Errno::EIO };
                request.finish(self, Err(errno));
                continue;
            }
            request.sent_to(device);
            state.processing.insert(request.unique, request.clone());
            if request.is_interrupted() {
                state.interrupts.push_back(request.clone());
            }
            return Ok(Some(Work::Request(request)));
        }
    }

    /// The request that a reply is for.
    pub fn answered(&self, unique: u64) -> Option<Arc<Request>> {
        self.state.lock().processing.remove(&unique)
    }

    /// A request that is being served still.
    pub fn in_service(&self, unique: u64) -> Option<Arc<Request>> {
        self.state.lock().processing.get(&unique).cloned()
    }

    /// A signal has come for who waits: the server is told, once.
    pub fn interrupt(&self, request: &Arc<Request>) {
        if self.uninterruptible.load(Ordering::Relaxed) || request.set_interrupted() {
            return;
        }
        self.tell_interrupt(request);
    }

    /// Queues the interrupt of a request that the server has read.
    pub fn tell_interrupt(&self, request: &Arc<Request>) {
        {
            let mut state = self.state.lock();
            let told = state.interrupts.iter().any(|other| Arc::ptr_eq(other, request));
            if told || !state.processing.contains_key(&request.unique) {
                return;
            }
            state.interrupts.push_back(request.clone());
        }
        self.readers.wake(Events::IN | Events::RDNORM);
    }

    pub fn set_uninterruptible(&self) {
        self.uninterruptible.store(true, Ordering::Relaxed);
    }

    /// Nobody waits for a request any more.
    pub fn abandon(self: &Arc<Self>, request: &Arc<Request>) {
        {
            let mut state = self.state.lock();
            state.pending.retain(|other| !Arc::ptr_eq(other, request));
            state.interrupts.retain(|other| !Arc::ptr_eq(other, request));
        }
        if let Some(answer) = request.abandon() {
            self.undo(request, answer);
        }
    }

    /// Gives back what an answer that nobody takes has given: nodes and open files.
    pub fn undo(self: &Arc<Self>, request: &Request, answer: Answer) {
        let Ok(reply) = answer else { return };
        let mut from = In(&reply);
        let entry = |from: &mut In<'_>| EntryOut::read(from).map(|entry| entry.node).unwrap_or(0);
        match request.op {
            FUSE_LOOKUP | FUSE_MKNOD | FUSE_MKDIR | FUSE_SYMLINK | FUSE_LINK => {
                let node = entry(&mut from);
                self.forget(node, u64::from(node != 0));
            }
            FUSE_CREATE | FUSE_TMPFILE => {
                let node = entry(&mut from);
                if let Ok(handle) = from.u64() {
                    self.release(FUSE_RELEASE, node, handle);
                }
                self.forget(node, u64::from(node != 0));
            }
            FUSE_OPEN | FUSE_OPENDIR => {
                if let Ok(handle) = from.u64() {
                    let op = if request.op == FUSE_OPEN { FUSE_RELEASE } else { FUSE_RELEASEDIR };
                    self.release(op, request.node, handle);
                }
            }
            FUSE_READDIRPLUS => {
                for entry in super::listing::parse_plus(&reply).unwrap_or_default() {
                    self.forget(entry.out.node, u64::from(entry.counts()));
                }
            }
            _ => {}
        }
    }

    fn release(self: &Arc<Self>, op: u32, node: u64, handle: u64) {
        self.post(op, node, Out::request().u64(handle).u32(0).u32(0).u64(0), 0..=0, None);
    }
}
