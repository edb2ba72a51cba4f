//! A message queue, and the file that it is. mq_send(3), mq_receive(3), mq_overview(7).
//!
//! Who waits is served in the order of coming: a message is handed to the first receiver that waits, and room in a full queue goes to the
//! first sender's message. Locks: `FileState` for a queue, then `Leaf` for the place of one that waits.

use super::Charge;
use super::notify::{Notify, Registration};
use crate::cred::Cred;
use crate::io::{Io, Sink};
use crate::locks::{FileState, Leaf};
use crate::op::{Op, Stop, fail};
use crate::task::{Task, ThreadGroup};
use crate::vfs::FileOps;
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::{SEEK_CUR, SEEK_END, SEEK_SET};
use lock::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// MQ_PRIO_MAX: priorities are below it.
pub const PRIORITIES: u32 = 32_768;

/// mq_maxmsg and mq_msgsize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MqAttr {
    pub max_messages: i64,
    pub message_size: i64,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    priority: u32,
    text: Vec<u8>,
}

/// A call that waits: a sender with its message, a receiver with room for one.
#[derive(Default)]
struct Waiter {
    slot: Mutex<Option<Message>, Leaf>,
    queue: Queue,
}

#[derive(Default)]
struct State {
    /// By priority; no list is empty.
    messages: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: usize,
    bytes: usize,
    senders: VecDeque<Arc<Waiter>>,
    receivers: VecDeque<Arc<Waiter>>,
    registration: Option<Registration>,
}

impl State {
    fn put(&mut self, message: Message) {
        self.count += 1;
        self.bytes += message.text.len();
        self.messages.entry(message.priority).or_default().push_back(message.text);
    }

    /// The oldest of the highest priority.
    fn take(&mut self) -> Option<Message> {
        let mut highest = self.messages.last_entry()?;
        let priority = *highest.key();
        let text = highest.get_mut().pop_front()?;
        if highest.get().is_empty() {
            highest.remove();
        }
        self.count -= 1;
        self.bytes -= text.len();
        Some(Message { priority, text })
    }

    /// The registration of a process that lives.
    fn registered(&self) -> Option<&Registration> {
        self.registration.as_ref().filter(|r| r.owner().is_some())
    }
}

/// A queue.
pub struct MqQueue {
    pub attr: MqAttr,
    state: Mutex<State, FileState>,
    /// poll(2).
    queue: Queue,
    _charge: Charge,
}

/// What is to be done once the queue is unlocked.
#[derive(Default)]
struct After {
    served: Option<Arc<Waiter>>,
    ready: Events,
    tell: Option<Registration>,
}

/// A waiting call's place in a queue, which it leaves when the call ends.
struct Place {
    queue: Arc<MqQueue>,
    waiter: Arc<Waiter>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.leave(&self.waiter);
    }
}

impl MqQueue {
    pub(super) fn new(attr: MqAttr, charge: Charge) -> Arc<MqQueue> {
        Arc::new(MqQueue { attr, state: Mutex::default(), queue: Queue::new(), _charge: charge })
    }

    /// Messages that are there.
    pub fn count(&self) -> usize {
        self.state.lock().count
    }

    fn full(&self, state: &State) -> bool {
        state.count as i64 >= self.attr.max_messages
    }

    /// Takes a call off the list; whatever it was handed is in its slot.
    fn leave(&self, waiter: &Arc<Waiter>) {
        let mut state = self.state.lock();
        state.senders.retain(|w| !Arc::ptr_eq(w, waiter));
        state.receivers.retain(|w| !Arc::ptr_eq(w, waiter));
    }

    fn finish(&self, after: After, sender: Option<(&ThreadGroup, &Cred)>) {
        if let Some(waiter) = after.served {
            waiter.queue.wake(Events::IN);
        }
        if !after.ready.is_empty() {
            self.queue.wake(after.ready);
        }
        if let (Some(registration), Some((group, cred))) = (after.tell, sender) {
            registration.tell(group, cred);
        }
    }

    /// The caller's place in the queue: an earlier run's, or a new one.
    fn place(self: &Arc<Self>, io: &Io<'_>) -> Arc<Waiter> {
        let kept = io.kept::<Place>().filter(|place| Arc::ptr_eq(&place.queue, self));
        kept.map(|place| place.waiter.clone()).unwrap_or_default()
    }

    /// Goes through a wait of a call with its place, which is kept while the call waits. What was handed over is never lost to a signal.
    fn wait<T>(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        waiter: &Arc<Waiter>,
        mut ready: impl FnMut(bool) -> Op<Option<T>>,
    ) -> Op<T> {
        let (queue, may_wait) = (waiter.queue.clone(), !io.nonblock);
        match io.wait_for(&queue, Events::IN, || ready(may_wait)) {
            Err(Stop::Block) => {
                if io.kept::<Place>().is_none() {
                    io.keep(Box::new(Place { queue: self.clone(), waiter: waiter.clone() }));
                }
                Err(Stop::Block)
            }
            Err(stop) => {
                self.leave(waiter);
                ready(false)?.ok_or(stop)
            }
            done => done,
        }
    }

    /// mq_timedsend(2) with a message that fits. `text` is asked for the message unless an earlier run has brought it.
    pub fn send(self: &Arc<Self>, io: &mut Io<'_>, priority: u32, text: impl FnOnce() -> Op<Vec<u8>>) -> Op<()> {
        let task = Task::of(io).ok_or(Errno::ESRCH)?;
        let cred = io.cred.clone();
        let waiter = self.place(io);
        if io.kept::<Place>().is_none() {
            *waiter.slot.lock() = Some(Message { priority, text: text()? });
        }
        self.wait(io, &waiter, |may_wait| {
            let mut after = After::default();
            {
                let mut state = self.state.lock();
                let mut slot = waiter.slot.lock();
                if slot.is_none() {
                    return Ok(Some(()));
                }
                if self.full(&state) {
                    drop(slot);
                    if may_wait && !state.senders.iter().any(|w| Arc::ptr_eq(w, &waiter)) {
                        state.senders.push_back(waiter.clone());
                    }
                    return Ok(None);
                }
                let message = slot.take();
                drop(slot);
                state.senders.retain(|w| !Arc::ptr_eq(w, &waiter));
                if let Some(receiver) = state.receivers.pop_front() {
                    *receiver.slot.lock() = message;
                    after.served = Some(receiver);
                } else if let Some(message) = message {
                    state.put(message);
                    after.ready = Events::IN | Events::RDNORM;
                    if state.count == 1 && state.registered().is_some() {
                        after.tell = state.registration.take();
                    }
                }
            }
            self.finish(after, Some((&task.group, &cred)));
            Ok(Some(()))
        })
    }

    /// mq_timedreceive(2): priority and text.
    pub fn receive(self: &Arc<Self>, io: &mut Io<'_>) -> Op<(u32, Vec<u8>)> {
        let waiter = self.place(io);
        let message = self.wait(io, &waiter, |may_wait| {
            let mut after = After::default();
            let message = {
                let mut state = self.state.lock();
                if let Some(message) = waiter.slot.lock().take() {
                    return Ok(Some(message));
                }
                let Some(message) = state.take() else {
                    if may_wait && !state.receivers.iter().any(|w| Arc::ptr_eq(w, &waiter)) {
                        state.receivers.push_back(waiter.clone());
                    }
                    return Ok(None);
                };
                state.receivers.retain(|w| !Arc::ptr_eq(w, &waiter));
                if let Some(sender) = state.senders.pop_front() {
                    if let Some(next) = sender.slot.lock().take() {
                        state.put(next);
                    }
                    after.served = Some(sender);
                } else {
                    after.ready = Events::OUT | Events::WRNORM;
                }
                message
            };
            self.finish(after, None);
            Ok(Some(message))
        })?;
        Ok((message.priority, message.text))
    }

    /// mq_notify(2) with an event. EBUSY where a process is registered.
    pub fn register(&self, task: &Task, notify: Notify) -> Op<()> {
        let (group, table) = (Arc::downgrade(&task.group), task.files().id);
        let new = Registration { group, table, notify };
        let mut state = self.state.lock();
        if state.registration.as_ref().is_some_and(|r| r.owner().is_some()) {
            drop(state);
            return fail(Errno::EBUSY);
        }
        // One of a process that is gone; what it holds goes when the queue is unlocked.
        let old = state.registration.replace(new);
        drop(state);
        drop(old);
        Ok(())
    }

    /// mq_notify(2) without one: ends the process' own registration.
    pub fn unregister(&self, group: &ThreadGroup) {
        self.unregister_where(|r| std::ptr::eq(r.group.as_ptr(), group));
    }

    fn unregister_where(&self, which: impl Fn(&Registration) -> bool) {
        let gone = {
            let mut state = self.state.lock();
            if state.registration.as_ref().is_some_and(which) { state.registration.take() } else { None }
        };
        if let Some(gone) = gone {
            gone.end();
        }
    }
}

/// The open file of a queue.
pub struct MqFile(pub Arc<MqQueue>);

impl FileOps for MqFile {
    /// The bytes in the queue and who is to be told of the next message.
    fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let ns = Task::of(io).and_then(|task| task.pid.ns());
        let line = {
            let state = self.0.state.lock();
            let bytes = state.bytes;
            let (notify, signal, pid) = state.registered().map_or((0, 0, 0), |r| r.shown(ns.as_deref()));
            format!("QSIZE:{bytes:<10} NOTIFY:{notify:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
        };
        let at = usize::try_from(at.unwrap_or(0)).unwrap_or(usize::MAX);
        let rest = line.as_bytes().get(at..).unwrap_or_default();
        let part = rest.get(..rest.len().min(to.left())).unwrap_or_default();
        if part.is_empty() { Ok(0) } else { to.put(part) }
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, from: u64) -> Op<u64> {
        /// st_size of a queue, FILENT_SIZE.
        const SIZE: i64 = 80;
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => i64::try_from(from).map_err(|_| Errno::EINVAL)?,
            SEEK_END => SIZE,
            _ => return fail(Errno::EINVAL),
        };
        let to = base.checked_add(offset).ok_or(Errno::EINVAL)?;
        u64::try_from(to).map_err(|_| Errno::EINVAL.into())
    }

    fn ready(&self, want: Events) -> Events {
        let state = self.0.state.lock();
        let mut have = Events::empty();
        have.set(Events::IN | Events::RDNORM, state.count > 0);
        have.set(Events::OUT | Events::WRNORM, !self.0.full(&state));
        have & want
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.0.queue)
    }

    fn descriptor_closed(&self, table: u64) {
        self.0.unregister_where(|r| r.table == table);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_highest_priority_comes_first() {
        let mut state = State::default();
        for (priority, text) in [(1, "a"), (7, "b"), (1, "c"), (7, "dd")] {
            state.put(Message { priority, text: text.into() });
        }
        assert_eq!((state.count, state.bytes), (4, 5));
        let order: Vec<_> = std::iter::from_fn(|| state.take().map(|m| (m.priority, m.text))).collect();
        let wanted = [(7, "b"), (7, "dd"), (1, "a"), (1, "c")].map(|(p, t)| (p, t.as_bytes().to_vec()));
        assert_eq!(order, wanted);
        assert_eq!((state.count, state.bytes), (0, 0));
    }
}
