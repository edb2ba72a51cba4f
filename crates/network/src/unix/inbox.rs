//! What has been sent to a socket and not been read: messages in order, with their descriptors and senders. unix(7).
//!
//! Owns no locks: `endpoint` has it under its own.

use super::endpoint::Endpoint;
use kernel::ipc::pipe::Segment;
use kernel::socket::Sender;
use kernel::vfs::File;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// What a message counts beside its data, so that small ones are bounded too.
const OVERHEAD: usize = 768;

/// One message, or in a stream what one send gave.
#[derive(Clone)]
pub struct Message {
    pub data: Segment,
    pub rights: Vec<Arc<File>>,
    pub sender: Sender,
    /// The sender's address; empty where it has none.
    pub from: Vec<u8>,
}

impl Message {
    fn weight(&self) -> usize {
        self.data.len() + OVERHEAD
    }

    fn same_sender(&self, other: &Message) -> bool {
        let same_pid = match (&self.sender.pid, &other.sender.pid) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same_pid && self.sender.uid == other.sender.uid && self.sender.gid == other.sender.gid
    }
}

/// Messages, and who waits for room.
#[derive(Default)]
pub struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    weight: usize,
    /// With their buffer sizes: woken once they could write.
    waiting: Vec<(Weak<Endpoint>, usize)>,
    /// The socket is closed: nothing comes in any more.
    pub closed: bool,
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    /// Messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }
    /// Bytes of data in all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Bytes of the first.
    pub fn first_len(&self) -> usize {
        self.messages.front().map_or(0, |m| m.data.len())
    }

    /// Bytes that a sender with this buffer may add.
    pub fn room(&self, buffer: usize) -> usize {
        buffer.saturating_sub(self.weight + OVERHEAD.min(buffer / 2))
    }

    /// Whether poll(2) says that such a sender may write: a quarter is used at most, as in Linux.
    pub fn writable(&self, buffer: usize) -> bool {
        self.weight.saturating_mul(4) <= buffer
    }

    /// Has `sender`, with its buffer size, woken once it could write.
    pub fn wait_room(&mut self, sender: &Weak<Endpoint>, buffer: usize) {
        if !self.waiting.iter().any(|(w, _)| w.ptr_eq(sender)) {
            self.waiting.push((sender.clone(), buffer));
        }
    }

    pub fn push(&mut self, message: Message) {
        self.bytes += message.data.len();
        self.weight += message.weight();
        self.messages.push_back(message);
    }

    fn push_front(&mut self, message: Message) {
        self.bytes += message.data.len();
        self.weight += message.weight();
        self.messages.push_front(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.data.len();
        self.weight -= message.weight();
        Some(message)
    }

    /// Takes the first message whole.
    pub fn take_one(&mut self) -> Option<Message> {
        self.pop()
    }

    pub fn peek_one(&self) -> Option<Message> {
        self.messages.front().cloned()
    }

    /// Takes up to `max` bytes of a stream. It ends after data that descriptors came with, and with `by_sender` before another sender's.
    pub fn take(&mut self, max: usize, by_sender: bool) -> Vec<Message> {
        let mut out: Vec<Message> = Vec::new();
        let mut left = max;
        while left > 0
            && let Some(mut message) = self.pop()
        {
            if by_sender && out.last().is_some_and(|last| !last.same_sender(&message)) {
                self.push_front(message);
                break;
            }
            let part = message.data.split(left);
            left -= part.len();
            let rights = std::mem::take(&mut message.rights);
            let stop = !rights.is_empty();
            out.push(Message { data: part, rights, sender: message.sender.clone(), from: message.from.clone() });
            if !message.data.is_empty() {
                self.push_front(message);
            }
            if stop {
                break;
            }
        }
        out
    }

    /// As `take`, without taking.
    pub fn peek(&self, max: usize, by_sender: bool) -> Vec<Message> {
        let mut out: Vec<Message> = Vec::new();
        let mut left = max;
        for message in &self.messages {
            if left == 0 || by_sender && out.last().is_some_and(|last| !last.same_sender(message)) {
                break;
            }
            let mut copy = message.clone();
            copy.data = copy.data.split(left);
            left -= copy.data.len();
            let stop = !copy.rights.is_empty();
            out.push(copy);
            if stop {
                break;
            }
        }
        out
    }

    /// Gives back what was taken and nobody got.
    pub fn give_back(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            self.push_front(message);
        }
    }

    /// Everything, when the socket closes.
    pub fn clear(&mut self) -> VecDeque<Message> {
        self.bytes = 0;
        self.weight = 0;
        std::mem::take(&mut self.messages)
    }

    /// Who waited for room and could write now.
    pub fn take_waiting(&mut self) -> Vec<Weak<Endpoint>> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let (weight, closed) = (self.weight, self.closed);
        let free = |buffer: &usize| closed || weight.saturating_mul(4) <= *buffer;
        let (woken, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, buffer)| free(buffer));
        self.waiting = rest;
        let woken: Vec<(Weak<Endpoint>, usize)> = woken;
        woken.into_iter().map(|(w, _)| w).collect()
    }

    /// The files in it, for collection.
    pub fn rights(&self) -> impl Iterator<Item = &Arc<File>> {
        self.messages.iter().flat_map(|m| m.rights.iter())
    }
}
