//! Message queues: msgget(2), msgop(2), msgctl(2).

use super::table::{Object, Perm};
use crate::locks::FileState;
use crate::op::{Op, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use lock::Mutex;
use std::collections::VecDeque;

pub const MSG_NOERROR: u32 = 0o10000;
pub const MSG_EXCEPT: u32 = 0o20000;
pub const MSG_COPY: u32 = 0o40000;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// At least 1.
    pub kind: i64,
    pub text: Vec<u8>,
}

/// A queue.
pub struct MsgQueue {
    pub state: Mutex<MsgState, FileState>,
    /// IN when a message came, OUT when one went, HUP at the queue's end.
    pub queue: Queue,
}

/// What changes of a queue. Times in seconds.
pub struct MsgState {
    pub perm: Perm,
    messages: VecDeque<Message>,
    pub bytes: u64,
    pub max_bytes: u64,
    pub sent_at: i64,
    pub received_at: i64,
    pub changed_at: i64,
    pub sender: i32,
    pub receiver: i32,
    pub removed: bool,
}

impl Object for MsgQueue {
    fn with_perm<T>(&self, f: impl FnOnce(&mut Perm) -> T) -> T {
        f(&mut self.state.lock().perm)
    }
}

impl MsgState {
    pub fn count(&self) -> usize {
        self.messages.len()
    }
}

impl MsgQueue {
    /// `max_bytes`: MSGMNB.
    pub fn new(max_bytes: u64, perm: Perm, now: i64) -> MsgQueue {
        let state = MsgState {
            perm,
            messages: VecDeque::new(),
            bytes: 0,
            max_bytes,
            sent_at: 0,
            received_at: 0,
            changed_at: now,
            sender: 0,
            receiver: 0,
            removed: false,
        };
        MsgQueue { state: Mutex::new(state), queue: Queue::new() }
    }

    /// Queues a message of process `pid`: None where there is no room. EIDRM once the queue is removed.
    pub fn try_send(&self, message: &Message, pid: i32, now: i64) -> Op<Option<()>> {
        let mut state = self.state.lock();
        if state.removed {
            return fail(Errno::EIDRM);
        }
        let bytes = state.bytes.saturating_add(message.text.len() as u64);
        if bytes > state.max_bytes || state.messages.len() as u64 >= state.max_bytes {
            return Ok(None);
        }
        state.bytes = bytes;
        state.messages.push_back(message.clone());
        state.sender = pid;
        state.sent_at = now;
        drop(state);
        self.queue.wake(Events::IN);
        Ok(Some(()))
    }

    /// Takes the first message that `kind` and `flags` (MSG_*) ask for: None where there is none. E2BIG where it is longer than `max`,
    /// unless MSG_NOERROR cuts it.
    pub fn try_receive(&self, kind: i64, flags: u32, max: usize, pid: i32, now: i64) -> Op<Option<Message>> {
        let mut state = self.state.lock();
        if state.removed {
            return fail(Errno::EIDRM);
        }
        let found = if flags & MSG_COPY != 0 {
            usize::try_from(kind).ok().filter(|at| *at < state.messages.len())
        } else if kind == 0 {
            (!state.messages.is_empty()).then_some(0)
        } else if kind > 0 {
            let except = flags & MSG_EXCEPT != 0;
            state.messages.iter().position(|m| (m.kind == kind) != except)
        } else {
            // The lowest type of those that are no greater; the first of them.
            let bound = kind.checked_neg().unwrap_or(i64::MAX);
            let lowest = state.messages.iter().map(|m| m.kind).filter(|k| *k <= bound).min();
            state.messages.iter().position(|m| Some(m.kind) == lowest)
        };
        let Some(at) = found else { return Ok(None) };
        let long = state.messages.get(at).is_some_and(|m| m.text.len() > max);
        if long && flags & MSG_NOERROR == 0 {
            return fail(Errno::E2BIG);
        }
        let message = if flags & MSG_COPY != 0 { state.messages.get(at).cloned() } else { state.messages.remove(at) };
        let Some(mut message) = message else { return Ok(None) };
        if flags & MSG_COPY == 0 {
            state.bytes = state.bytes.saturating_sub(message.text.len() as u64);
            state.receiver = pid;
            state.received_at = now;
        }
        drop(state);
        message.text.truncate(max);
        self.queue.wake(Events::OUT);
        Ok(Some(message))
    }

    /// The queue is no more: who waits gets EIDRM.
    pub fn removed(&self) {
        let mut state = self.state.lock();
        state.removed = true;
        state.messages.clear();
        drop(state);
        self.queue.wake(Events::IN | Events::OUT | Events::HUP);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};

    #[test]
    fn types() {
        let q = MsgQueue::new(16_384, Perm::new(1, 0o600, &Cred::root(UserNs::initial())), 0);
        for (kind, text) in [(5, "a"), (2, "bb"), (3, "ccc"), (2, "d")] {
            q.try_send(&Message { kind, text: text.into() }, 1, 0).unwrap().unwrap();
        }
        let take = |kind: i64, flags: u32, max: usize| q.try_receive(kind, flags, max, 1, 0).map(|m| m.map(|m| m.text));
        assert_eq!(take(9, 0, 10), Ok(None));
        assert_eq!(take(-3, 0, 1), fail(Errno::E2BIG));
        assert_eq!(take(-3, MSG_NOERROR, 1), Ok(Some(b"b".to_vec())));
        assert_eq!(take(5, MSG_EXCEPT, 10), Ok(Some(b"ccc".to_vec())));
        assert_eq!(take(1, MSG_COPY, 10), Ok(Some(b"d".to_vec())));
        assert_eq!(take(0, 0, 10), Ok(Some(b"a".to_vec())));
        assert_eq!(take(i64::MIN, 0, 10), Ok(Some(b"d".to_vec())));
        assert_eq!(q.state.lock().bytes, 0);
        let big = Message { kind: 1, text: vec![0; 9000] };
        assert!(q.try_send(&big, 1, 0).unwrap().is_some());
        assert!(q.try_send(&big, 1, 0).unwrap().is_none());
        q.removed();
        assert_eq!(take(0, 0, 10), fail(Errno::EIDRM));
    }
}
