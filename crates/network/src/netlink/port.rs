//! A netlink socket's state: what it has been sent, its options and its bounds. netlink(7).
//!
//! What waits is bounded by SO_RCVBUF: a message that finds no room is lost, and the next recv(2) says ENOBUFS. A dump's messages wait behind the
//! inbox until there is room. Locks: `FileState` for the state; one socket's at a time.

use super::DEFAULT_BUFFER;
use abi::Errno;
use abi::netlink::NETLINK_NO_ENOBUFS;
use kernel::cbpf::Program;
use kernel::cred::Cred;
use kernel::ipc::mqueue::{COOKIE, Cookies};
use kernel::locks::FileState;
use kernel::socket::Sender;
use kernel::task::NetNs;
use kernel::wait::{Events, Queue};
use kernel::{Op, fail};
use lock::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a message counts beside its data.
const OVERHEAD: usize = 768;

#[derive(Clone)]
pub struct Message {
    pub data: Arc<[u8]>,
    /// The sender's number; 0 for the kernel.
    pub from: u32,
    /// The group that it was sent to; 0 for none.
    pub group: u32,
    pub sender: Sender,
}

impl Message {
    pub fn of_kernel(data: Vec<u8>, group: u32) -> Message {
        Message { data: data.into(), from: 0, group, sender: Sender { pid: None, uid: 0, gid: 0 } }
    }

    fn weight(&self) -> usize {
        self.data.len() + OVERHEAD
    }
}

pub struct Port {
    pub protocol: u32,
    /// SOCK_RAW or SOCK_DGRAM: they are the same.
    pub kind: u32,
    pub net: Arc<NetNs>,
    /// Who made it: what needs a capability needs it of this one, too.
    pub opener: Arc<Cred>,
    pub state: Mutex<State, FileState>,
    pub queue: Queue,
}

pub struct State {
    inbox: VecDeque<Message>,
    /// Of the inbox, and of what is promised room.
    weight: usize,
    /// A dump's messages for which there was no room yet.
    dump: VecDeque<Message>,
    pub error: Option<Errno>,
    pub dropped: u64,
    pub receive_buffer: usize,
    pub send_buffer: usize,
    /// Bit N for option N of SOL_NETLINK.
    pub options: u32,
    pub pass_cred: bool,
    /// SO_ATTACH_FILTER.
    pub filter: Option<Arc<Program>>,
    /// Number and group of connect(2).
    pub peer: (u32, u32),
}

impl State {
    pub fn has(&self, option: u32) -> bool {
        self.options & 1 << option != 0
    }

    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    pub fn queued(&self) -> usize {
        self.inbox.iter().map(|m| m.data.len()).sum()
    }

    pub fn is_dumping(&self) -> bool {
        !self.dump.is_empty()
    }

    fn has_room(&self) -> bool {
        self.weight <= self.receive_buffer
    }

    /// What the filter leaves of a message.
    fn filtered(&self, message: &Message) -> Option<Message> {
        let Some(filter) = &self.filter else { return Some(message.clone()) };
        let kept = message.data.get(..filter.keeps(&message.data)?)?;
        Some(Message { data: kept.into(), ..message.clone() })
    }

    fn push(&mut self, message: Message) {
        self.weight += message.weight();
        self.inbox.push_back(message);
    }

    /// Moves on with the dump while the inbox is at most half full.
    fn go_on(&mut self) {
        while self.weight <= self.receive_buffer / 2
            && let Some(message) = self.dump.pop_front()
        {
            if let Some(message) = self.filtered(&message) {
                self.push(message);
            }
        }
    }
}

impl Port {
    pub fn new(protocol: u32, kind: u32, net: Arc<NetNs>, opener: Arc<Cred>) -> Port {
        let state = State {
            inbox: VecDeque::new(),
            weight: 0,
            dump: VecDeque::new(),
            error: None,
            dropped: 0,
            receive_buffer: DEFAULT_BUFFER,
            send_buffer: DEFAULT_BUFFER,
            options: 0,
            pass_cred: false,
            filter: None,
            peer: (0, 0),
        };
        Port { protocol, kind, net, opener, state: Mutex::new(state), queue: Queue::new() }
    }

    /// Delivers a message, or loses it where there is no room.
    pub fn deliver(&self, message: Message) {
        if !self.try_deliver(&message) {
            self.lose();
        }
    }

    /// A message is lost: the next recv(2) tells.
    pub fn lose(&self) {
        let mut state = self.state.lock();
        state.dropped += 1;
        if state.has(NETLINK_NO_ENOBUFS) {
            return;
        }
        state.error = Some(Errno::ENOBUFS);
        drop(state);
        self.queue.wake(Events::ERR);
    }

    /// Delivers a message if there is room. One that the filter does not want counts as delivered.
    pub fn try_deliver(&self, message: &Message) -> bool {
        let mut state = self.state.lock();
        let Some(message) = state.filtered(message) else { return true };
        if !state.has_room() {
            return false;
        }
        state.push(message);
        drop(state);
        self.queue.wake(Events::IN | Events::RDNORM);
        true
    }

    /// Begins to deliver the messages of a dump. EBUSY while another one is under way.
    pub fn dump(&self, messages: Vec<Vec<u8>>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.is_dumping() {
            return Err(Errno::EBUSY);
        }
        state.dump = messages.into_iter().map(|data| Message::of_kernel(data, 0)).collect();
        state.go_on();
        drop(state);
        self.queue.wake(Events::IN | Events::RDNORM);
        Ok(())
    }

    pub fn peek(&self) -> Option<Message> {
        self.state.lock().inbox.front().cloned()
    }

    pub fn take(&self) -> Option<Message> {
        let mut state = self.state.lock();
        let message = state.inbox.pop_front()?;
        state.weight -= message.weight();
        state.go_on();
        drop(state);
        self.queue.wake(Events::OUT | Events::WRNORM);
        Some(message)
    }

    /// Takes back what nobody got.
    pub fn give_back(&self, message: Message) {
        let mut state = self.state.lock();
        state.weight += message.weight();
        state.inbox.push_front(message);
    }

    /// Room for a cookie that comes some time later, or None while there is none.
    pub fn promise(self: &Arc<Port>) -> Option<Promise> {
        let mut state = self.state.lock();
        if !state.has_room() {
            return None;
        }
        state.weight += COOKIE + OVERHEAD;
        Some(Promise(Some(self.clone())))
    }

    /// Why nothing can be read: an error, which is told once.
    pub fn take_error(&self) -> Op<()> {
        self.state.lock().error.take().map_or(Ok(()), fail)
    }
}

/// See `Port::promise`.
pub struct Promise(Option<Arc<Port>>);

impl Cookies for Promise {
    fn post(mut self: Box<Self>, cookie: [u8; COOKIE]) {
        let Some(port) = self.0.take() else { return };
        let mut state = port.state.lock();
        state.weight -= COOKIE + OVERHEAD;
        state.push(Message::of_kernel(cookie.to_vec(), 0));
        drop(state);
        port.queue.wake(Events::IN | Events::RDNORM);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(port) = self.0.take() {
            port.state.lock().weight -= COOKIE + OVERHEAD;
            port.queue.wake(Events::OUT | Events::WRNORM);
        }
    }
}
