//! A unix socket's state: name, peer, connections that wait; binding, connecting, closing. unix(7).
//!
//! Two sockets that are connected hold each other until one is closed, which its file's end does. Locks: `FileState` for the state,
//! one socket's at a time; `FileStateNested` for the inbox, below it.

use super::address::{self, Address, Names};
use super::inbox::Inbox;
use abi::Errno;
use abi::net::{SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SOMAXCONN};
use host::HostFd;
use kernel::cbpf::Program;
use kernel::io::Io;
use kernel::locks::{FileState, FileStateNested};
use kernel::socket::Sender;
use kernel::task::Task;
use kernel::wait::{Events, Queue};
use kernel::{Op, fail};
use lock::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Bytes that a new socket may have under way, /proc/sys/net/core/wmem_default.
pub const DEFAULT_BUFFER: usize = 212_992;
/// Datagrams that wait at a socket whose peer the sender is not: /proc/sys/net/unix/max_dgram_qlen shows it.
const MAX_DATAGRAMS: usize = 10;

pub const READ_SHUT: u8 = 1;
pub const WRITE_SHUT: u8 = 2;

/// The kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Datagram,
    Seqpacket,
}

impl Kind {
    pub fn number(self) -> u32 {
        match self {
            Kind::Stream => SOCK_STREAM,
            Kind::Datagram => SOCK_DGRAM,
            Kind::Seqpacket => SOCK_SEQPACKET,
        }
    }
    pub fn connects(self) -> bool {
        self != Kind::Datagram
    }
}

/// A socket.
pub struct Endpoint {
    pub me: Weak<Endpoint>,
    pub kind: Kind,
    pub names: Arc<Names>,
    pub state: Mutex<State, FileState>,
    pub inbox: Mutex<Inbox, FileStateNested>,
    pub queue: Queue,
}

/// What changes.
pub struct State {
    pub name: Address,
    /// The other end, also after it was closed; of a datagram socket the address that it is connected to.
    pub peer: Option<Arc<Endpoint>>,
    listener: Option<Listener>,
    /// READ_SHUT, WRITE_SHUT. The peer's end sets both.
    pub shut: u8,
    pub error: Option<Errno>,
    /// SO_PEERCRED and its kin.
    pub peer_cred: Option<Caller>,
    pub buffer: usize,
    pub receive_buffer: usize,
    pub pass: Pass,
    pub stamps: Stamps,
    /// SO_ATTACH_FILTER: of messages, not of streams.
    pub filter: Option<Arc<Program>>,
}

/// What is told of a message's sender.
#[derive(Clone, Copy, Default)]
pub struct Pass {
    /// SO_PASSCRED.
    pub cred: bool,
    /// SO_PASSPIDFD.
    pub pidfd: bool,
}

impl Pass {
    /// Whether a read ends where another one's data begins.
    pub fn by_sender(self) -> bool {
        self.cred || self.pidfd
    }
}

/// Whether messages come with the time at which they were received.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamps {
    #[default]
    None,
    /// SO_TIMESTAMP.
    Micros,
    /// SO_TIMESTAMPNS.
    Nanos,
}

/// Who made a socket what it is.
#[derive(Clone)]
pub struct Caller {
    pub sender: Sender,
    pub groups: Arc<[u32]>,
}

struct Listener {
    backlog: usize,
    pending: VecDeque<Arc<Endpoint>>,
    cred: Caller,
}

/// Who calls, by effective ids: what SO_PEERCRED tells.
pub fn caller(io: &Io<'_>) -> Caller {
    let pid = Task::of(io).map(|t| t.group.pid.clone());
    Caller { sender: Sender { pid, uid: io.cred.euid, gid: io.cred.egid }, groups: io.cred.groups.clone() }
}

impl Endpoint {
    pub fn new(kind: Kind, names: Arc<Names>) -> Arc<Endpoint> {
        let state = State {
            name: Address::Unnamed,
            peer: None,
            listener: None,
            shut: 0,
            error: None,
            peer_cred: None,
            buffer: DEFAULT_BUFFER,
            receive_buffer: DEFAULT_BUFFER,
            pass: Pass::default(),
            stamps: Stamps::None,
            filter: None,
        };
        Arc::new_cyclic(|me| Endpoint {
            me: me.clone(),
            kind,
            names,
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox::default()),
            queue: Queue::new(),
        })
    }

    /// socketpair(2).
    pub fn pair(kind: Kind, names: Arc<Names>, io: &Io<'_>) -> [Arc<Endpoint>; 2] {
        let ends = [Endpoint::new(kind, names.clone()), Endpoint::new(kind, names)];
        let [a, b] = &ends;
        for (one, other) in [(a, b), (b, a)] {
            let mut state = one.state.lock();
            state.peer = Some(other.clone());
            state.peer_cred = Some(caller(io));
        }
        ends
    }

    /// EINVAL where it has a name already; EADDRINUSE. The host's socket, where the name is in a folder of the host that takes some.
    pub fn bind(&self, io: &mut Io<'_>, address: Address) -> Op<Option<Arc<HostFd>>> {
        if self.state.lock().name != Address::Unnamed {
            return fail(Errno::EINVAL);
        }
        let name = match address {
            Address::Unnamed => Address::Abstract(self.names.autobind(&self.me)?),
            Address::Abstract(name) => {
                self.names.bind(&name, self.me.clone())?;
                Address::Abstract(name)
            }
            Address::Path(path) => {
                if let Some(fd) = address::bind_path(io, &path, self.kind.number(), self.me.clone())? {
                    return Ok(Some(fd));
                }
                Address::Path(path)
            }
        };
        self.state.lock().name = name;
        Ok(None)
    }

    /// EINVAL without a name, or when it is connected.
    pub fn listen(&self, io: &Io<'_>, backlog: i32) -> Op<()> {
        if !self.kind.connects() {
            return fail(Errno::EOPNOTSUPP);
        }
        let backlog = (backlog as u32).min(SOMAXCONN) as usize;
        let cred = caller(io);
        let mut state = self.state.lock();
        if state.name == Address::Unnamed || state.peer.is_some() {
            return fail(Errno::EINVAL);
        }
        match &mut state.listener {
            Some(listener) => {
                listener.backlog = backlog;
                listener.cred = cred;
            }
            None => state.listener = Some(Listener { backlog, pending: VecDeque::new(), cred }),
        }
        drop(state);
        self.queue.wake(Events::OUT);
        Ok(())
    }

    pub fn is_listening(&self) -> bool {
        self.state.lock().listener.is_some()
    }

    /// connect(2) of streams and seqpackets: waits for room in the other's backlog.
    pub fn connect(&self, io: &mut Io<'_>, to: &Address) -> Op<()> {
        let target = address::find(io, &self.names, to)?;
        if target.kind != self.kind {
            return fail(Errno::EPROTOTYPE);
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let mine = caller(io);
        let queue = target.queue.clone();
        io.wait_for(&queue, Events::OUT, || self.try_connect(&me, &target, &mine))
    }

    fn try_connect(&self, me: &Arc<Endpoint>, target: &Arc<Endpoint>, mine: &Caller) -> Op<Option<()>> {
        {
            let state = target.state.lock();
            let listener = state.listener.as_ref().filter(|_| state.shut & READ_SHUT == 0);
            let Some(listener) = listener else { return fail(Errno::ECONNREFUSED) };
            if listener.pending.len() > listener.backlog {
                return Ok(None);
            }
        }
        let server = Endpoint::new(self.kind, self.names.clone());
        // The new socket has the listener's name.
        let name = target.state.lock().name.clone();
        {
            let mut state = server.state.lock();
            state.peer = Some(me.clone());
            state.peer_cred = Some(mine.clone());
            state.name = name;
        }
        {
            let mut state = self.state.lock();
            if state.listener.is_some() {
                return fail(Errno::EINVAL);
            }
            if state.peer.is_some() {
                return fail(Errno::EISCONN);
            }
            state.peer = Some(server.clone());
        }
        let undo = || {
            let old = self.state.lock().peer.take();
            drop(old);
            let old = server.state.lock().peer.take();
            drop(old);
        };
        let cred = {
            let mut state = target.state.lock();
            let closed = state.shut & READ_SHUT != 0;
            let Some(listener) = state.listener.as_mut().filter(|_| !closed) else {
                drop(state);
                undo();
                return fail(Errno::ECONNREFUSED);
            };
            if listener.pending.len() > listener.backlog {
                drop(state);
                undo();
                return Ok(None);
            }
            listener.pending.push_back(server.clone());
            listener.cred.clone()
        };
        self.state.lock().peer_cred = Some(cred);
        target.queue.wake(Events::IN | Events::RDNORM);
        self.queue.wake(Events::OUT);
        Ok(Some(()))
    }

    /// accept(2): EINVAL where it does not listen.
    pub fn accept(&self, io: &mut Io<'_>) -> Op<Arc<Endpoint>> {
        let server = io.wait_for(&self.queue, Events::IN, || {
            let mut state = self.state.lock();
            let shut = state.shut & READ_SHUT != 0;
            let listener = state.listener.as_mut().filter(|_| !shut).ok_or(Errno::EINVAL)?;
            Ok(listener.pending.pop_front())
        })?;
        self.queue.wake(Events::OUT);
        Ok(server)
    }

    /// connect(2) of datagram sockets: names the receiver, or none with AF_UNSPEC.
    pub fn connect_datagram(&self, io: &mut Io<'_>, to: Option<&Address>) -> Op<()> {
        let target = match to {
            None => None,
            Some(to) => {
                let target = self.find_datagram(io, to)?;
                Some(target)
            }
        };
        let cred = target.as_ref().map(|_| caller(io));
        let mut state = self.state.lock();
        let old = std::mem::replace(&mut state.peer, target);
        state.peer_cred = cred;
        drop(state);
        drop(old);
        self.queue.wake(Events::OUT);
        Ok(())
    }

    /// The receiver of a datagram: EPROTOTYPE for other kinds, EPERM where it is connected to somebody else.
    pub fn find_datagram(&self, io: &mut Io<'_>, to: &Address) -> Op<Arc<Endpoint>> {
        let target = address::find(io, &self.names, to)?;
        if target.kind != self.kind {
            return fail(Errno::EPROTOTYPE);
        }
        let stranger = target.state.lock().peer.as_ref().is_some_and(|p| !std::ptr::eq(&**p, self));
        if stranger {
            return fail(Errno::EPERM);
        }
        Ok(target)
    }

    /// Bytes that a message to `peer` may have now; None: wait. EPIPE, ECONNREFUSED.
    pub fn room_at(&self, peer: &Arc<Endpoint>, buffer: usize, need: usize) -> Op<Option<usize>> {
        let mut inbox = peer.inbox.lock();
        if inbox.closed {
            return fail(if self.kind.connects() { Errno::EPIPE } else { Errno::ECONNREFUSED });
        }
        let crowded = self.kind == Kind::Datagram && inbox.len() > MAX_DATAGRAMS;
        let room = inbox.room(buffer);
        let fits = room >= need || inbox.is_empty();
        if crowded || !fits {
            inbox.wait_room(&self.me, if crowded { usize::MAX } else { buffer });
            return Ok(None);
        }
        Ok(Some(room.max(need)))
    }

    /// Wakes those who waited for room in this socket's inbox.
    pub fn wake_senders(&self) {
        let waiting = self.inbox.lock().take_waiting();
        for sender in waiting.iter().filter_map(Weak::upgrade) {
            sender.queue.wake(Events::OUT | Events::WRNORM);
        }
    }

    /// shutdown(2). ENOTCONN for streams without a peer.
    pub fn shutdown(&self, how: u32) -> Op<()> {
        let mine = match how {
            SHUT_RD => READ_SHUT,
            SHUT_WR => WRITE_SHUT,
            SHUT_RDWR => READ_SHUT | WRITE_SHUT,
            _ => return fail(Errno::EINVAL),
        };
        let peer = {
            let mut state = self.state.lock();
            state.shut |= mine;
            state.peer.clone().filter(|_| self.kind.connects())
        };
        if let Some(peer) = peer {
            let theirs = mine >> 1 & READ_SHUT | mine << 1 & WRITE_SHUT;
            peer.state.lock().shut |= theirs;
            peer.wake_all();
        }
        self.wake_all();
        self.wake_senders();
        Ok(())
    }

    fn wake_all(&self) {
        self.queue.wake(Events::all());
    }

    /// The end: the file is gone, or a connection that nobody accepted.
    pub fn close(&self, never_accepted: bool) {
        let (name, peer, listener) = {
            let mut state = self.state.lock();
            state.shut = READ_SHUT | WRITE_SHUT;
            (std::mem::replace(&mut state.name, Address::Unnamed), state.peer.take(), state.listener.take())
        };
        if let Address::Abstract(name) = name {
            // Accepted sockets have their listener's name, which is not theirs to give up.
            self.names.remove_if(&name, &self.me);
        }
        let (unread, waiting) = {
            let mut inbox = self.inbox.lock();
            inbox.closed = true;
            (inbox.clear(), inbox.take_waiting())
        };
        if let Some(peer) = peer.filter(|_| self.kind.connects()) {
            let mut state = peer.state.lock();
            state.shut = READ_SHUT | WRITE_SHUT;
            if !unread.is_empty() || never_accepted {
                state.error = Some(Errno::ECONNRESET);
            }
            drop(state);
            peer.wake_all();
        }
        for sender in waiting.iter().filter_map(Weak::upgrade) {
            sender.queue.wake(Events::all());
        }
        drop(unread);
        for pending in listener.into_iter().flat_map(|l| l.pending) {
            pending.close(true);
        }
        self.wake_all();
    }

    pub fn ready(&self, want: Events) -> Events {
        let state = self.state.lock();
        let mut is = Events::empty();
        if let Some(listener) = &state.listener {
            is.set(Events::IN | Events::RDNORM, !listener.pending.is_empty());
            return is & (want | Events::ERR | Events::HUP);
        }
        is.set(Events::ERR, state.error.is_some());
        is.set(Events::HUP, state.shut == READ_SHUT | WRITE_SHUT || self.kind.connects() && state.peer.is_none());
        is.set(Events::RDHUP | Events::IN | Events::RDNORM, state.shut & READ_SHUT != 0);
        if !self.inbox.lock().is_empty() {
            is |= Events::IN | Events::RDNORM;
        }
        let out = Events::OUT | Events::WRNORM | Events::WRBAND;
        if want.intersects(out) {
            let free = state.peer.as_ref().is_none_or(|peer| {
                let mut inbox = peer.inbox.lock();
                let crowded = self.kind == Kind::Datagram && inbox.len() > MAX_DATAGRAMS;
                let free = inbox.closed || inbox.writable(state.buffer) && !crowded;
                if !free {
                    inbox.wait_room(&self.me, if crowded { usize::MAX } else { state.buffer });
                }
                free
            });
            is.set(out, free);
        }
        is & (want | Events::ERR | Events::HUP)
    }
}
