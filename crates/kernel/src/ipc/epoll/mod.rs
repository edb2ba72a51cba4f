//! epoll(7): a file that tells which of many files are ready.
//!
//! Each watched file has an `Item`, registered on the file's queue; a wake-up puts it on the ready list, which epoll_wait(2) goes
//! through, asking each file for its state. Level-triggered items go back on the list while they are ready.
//! Locks: `FileState` for the items, `EpollReady` for the list (taken under any lock of an object that wakes), `EpollNesting`
//! (in `nest`). No lock is held while a file is asked.

mod nest;

use crate::io::Io;
use crate::locks::{EpollReady, FileState, Leaf};
use crate::op::{Op, fail};
use crate::vfs::{File, FileOps, Position};
use crate::wait::{Events, Link, Queue, Wake};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::poll::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP};
use lock::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Flags of `epoll_event::events` that are no readiness.
const FLAGS: u32 = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;
/// ERR and HUP, which nobody has to ask for.
const ALWAYS: u32 = 0x8 | 0x10;
/// What may stand beside EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = 0x1 | 0x4 | 0x8 | 0x10 | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE;

/// An epoll instance.
pub struct Epoll(Arc<Instance>);

struct Instance {
    /// By descriptor and file: a descriptor number may come to name another file.
    items: Mutex<BTreeMap<(i32, u64), Arc<Item>>, FileState>,
    ready: Mutex<VecDeque<Arc<Item>>, EpollReady>,
    queue: Queue,
    /// Instances that watch this one.
    parents: Mutex<Vec<Weak<Instance>>, Leaf>,
}

struct Item {
    instance: Weak<Instance>,
    file: Weak<File>,
    key: (i32, u64),
    interest: Mutex<Interest, Leaf>,
    link: Mutex<Option<Link>, Leaf>,
    closed: Arc<Closed>,
    /// It is on the ready list; changes under the list's lock.
    listed: AtomicBool,
}

#[derive(Clone, Copy)]
struct Interest {
    /// Readiness and flags; 0 when EPOLLONESHOT has been used up.
    events: u32,
    data: u64,
}

/// A watched file that is ready.
pub struct Fired {
    pub events: u32,
    pub data: u64,
    item: Arc<Item>,
}

/// epoll_create1(2).
pub fn new_epoll() -> Arc<File> {
    let instance = Instance {
        items: Mutex::new(BTreeMap::new()),
        ready: Mutex::new(VecDeque::new()),
        queue: Queue::new(),
        parents: Mutex::new(Vec::new()),
    };
    File::anonymous(Arc::new(Epoll(Arc::new(instance))), OpenFlags::RDWR)
}

impl Epoll {
    /// EPOLL_CTL_ADD. EEXIST, EPERM (a file that is always ready), ELOOP, EINVAL.
    pub fn add(&self, fd: i32, file: &Arc<File>, events: u32, data: u64) -> Op<()> {
        let Some(queue) = file.queue() else { return fail(Errno::EPERM) };
        let nested = file.ops_as::<Epoll>();
        if nested.is_some_and(|other| Arc::ptr_eq(&other.0, &self.0)) {
            return fail(Errno::EINVAL);
        }
        if events & EPOLLEXCLUSIVE != 0 && (events & !EXCLUSIVE_OK != 0 || nested.is_some()) {
            return fail(Errno::EINVAL);
        }
        let events = events | ALWAYS;
        let key = (fd, file.id);
        if self.0.items.lock().contains_key(&key) {
            return fail(Errno::EEXIST);
        }
        let _nesting = match nested {
            Some(other) => Some(nest::join(&self.0, &other.0)?),
            None => None,
        };
        let item = Arc::new_cyclic(|item| Item {
            instance: Arc::downgrade(&self.0),
            file: Arc::downgrade(file),
            key,
            interest: Mutex::new(Interest { events, data }),
            link: Mutex::new(None),
            closed: Arc::new(Closed(item.clone())),
            listed: AtomicBool::new(false),
        });
        let mut items = self.0.items.lock();
        if items.contains_key(&key) {
            return fail(Errno::EEXIST);
        }
        items.insert(key, item.clone());
        drop(items);
        let exclusive = events & EPOLLEXCLUSIVE != 0;
        let link = queue.add(file.ops.wakes(readiness(events)), exclusive, item.clone());
        *item.link.lock() = Some(link);
        let watcher: Arc<dyn Wake> = item.closed.clone();
        file.when_closed(Arc::downgrade(&watcher));
        self.0.check(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_MOD. ENOENT; EINVAL with EPOLLEXCLUSIVE.
    pub fn modify(&self, fd: i32, file: &Arc<File>, events: u32, data: u64) -> Op<()> {
        if events & EPOLLEXCLUSIVE != 0 {
            return fail(Errno::EINVAL);
        }
        let item = self.0.items.lock().get(&(fd, file.id)).cloned().ok_or(Errno::ENOENT)?;
        if item.interest.lock().events & EPOLLEXCLUSIVE != 0 {
            return fail(Errno::EINVAL);
        }
        let events = events | ALWAYS;
        *item.interest.lock() = Interest { events, data };
        let link = file.queue().map(|queue| queue.add(file.ops.wakes(readiness(events)), false, item.clone()));
        let old = std::mem::replace(&mut *item.link.lock(), link);
        drop(old);
        self.0.check(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_DEL. ENOENT.
    pub fn remove(&self, fd: i32, file: &Arc<File>) -> Op<()> {
        let item = self.0.items.lock().remove(&(fd, file.id)).ok_or(Errno::ENOENT)?;
        item.unlink();
        if let Some(other) = file.ops_as::<Epoll>() {
            nest::part(&self.0, &other.0);
        }
        Ok(())
    }

    /// Waits until files are ready and returns up to `max` of them.
    pub fn wait(&self, io: &mut Io<'_>, max: usize) -> Op<Vec<Fired>> {
        io.wait_for(&self.0.queue, Events::IN, || {
            let fired = self.0.collect(max);
            Ok(Some(fired).filter(|f| !f.is_empty()))
        })
    }

    /// Takes back what the caller could not be told.
    pub fn put_back(&self, fired: Vec<Fired>) {
        for one in fired {
            self.0.list(&one.item);
        }
    }
}

/// What a file is asked for and what wakes the item.
fn readiness(events: u32) -> Events {
    Events::from_bits_truncate(events & !FLAGS) | Events::ERR | Events::HUP
}

impl Instance {
    /// Puts an item on the ready list and wakes who waits.
    fn list(&self, item: &Arc<Item>) {
        let mut ready = self.ready.lock();
        if !item.listed.swap(true, Ordering::Relaxed) {
            ready.push_back(item.clone());
        }
        drop(ready);
        self.queue.wake(Events::IN | Events::RDNORM);
    }

    /// Lists a new or changed item where its file is ready already.
    fn check(&self, item: &Arc<Item>, file: &Arc<File>) {
        let events = item.interest.lock().events;
        if !file.ready(readiness(events)).is_empty() {
            self.list(item);
        }
    }

    /// Takes items that are ready off the list: level-triggered ones go back to its end.
    fn collect(&self, max: usize) -> Vec<Fired> {
        let mut batch = {
            let mut ready = self.ready.lock();
            for item in ready.iter() {
                item.listed.store(false, Ordering::Relaxed);
            }
            std::mem::take(&mut *ready)
        };
        if batch.is_empty() {
            return Vec::new();
        }
        let mut fired = Vec::new();
        let mut again = Vec::new();
        while fired.len() < max
            && let Some(item) = batch.pop_front()
        {
            let Some(is) = item.state() else { continue };
            let Interest { events, data } = is.1;
            if events & EPOLLONESHOT != 0 {
                let mut interest = item.interest.lock();
                interest.events &= FLAGS;
            } else if events & EPOLLET == 0 {
                again.push(item.clone());
            }
            fired.push(Fired { events: is.0, data, item });
        }
        let mut ready = self.ready.lock();
        for item in batch.into_iter().rev() {
            if !item.listed.swap(true, Ordering::Relaxed) {
                ready.push_front(item);
            }
        }
        for item in again {
            if !item.listed.swap(true, Ordering::Relaxed) {
                ready.push_back(item);
            }
        }
        let more = !ready.is_empty();
        drop(ready);
        if more && !self.queue.is_empty() {
            self.queue.wake(Events::IN | Events::RDNORM);
        }
        fired
    }

    /// Whether any file is ready; what is not leaves the list.
    fn any_ready(&self) -> bool {
        let batch: Vec<Arc<Item>> = {
            let mut ready = self.ready.lock();
            for item in ready.iter() {
                item.listed.store(false, Ordering::Relaxed);
            }
            ready.drain(..).collect()
        };
        let mut any = false;
        let mut keep = Vec::new();
        for item in batch {
            if any || item.state().is_some() {
                any = true;
                keep.push(item);
            }
        }
        let mut ready = self.ready.lock();
        for item in keep.into_iter().rev() {
            if !item.listed.swap(true, Ordering::Relaxed) {
                ready.push_front(item);
            }
        }
        any
    }
}

impl Item {
    /// What is ready of what is wanted, with the interest; None for nothing, or a used-up or removed item.
    fn state(&self) -> Option<(u32, Interest)> {
        let interest = *self.interest.lock();
        if interest.events & !FLAGS == 0 && interest.events & EPOLLONESHOT != 0 {
            return None;
        }
        let file = self.file.upgrade()?;
        if self.link.lock().is_none() {
            return None;
        }
        let want = readiness(interest.events);
        let is = file.ready(want) & want;
        (!is.is_empty()).then_some((is.bits(), interest))
    }

    /// Ends the registration, and with it the cycle from the file's queue to this item.
    fn unlink(&self) {
        let link = self.link.lock().take();
        drop(link);
    }
}

impl Wake for Item {
    fn wake(self: Arc<Self>, _events: Events) {
        if let Some(instance) = self.instance.upgrade() {
            instance.list(&self);
        }
    }
}

/// Told when the watched file goes: the item goes too.
struct Closed(Weak<Item>);

impl Wake for Closed {
    fn wake(self: Arc<Self>, _events: Events) {
        let Some(item) = self.0.upgrade() else { return };
        item.unlink();
        if let Some(instance) = item.instance.upgrade() {
            let gone = instance.items.lock().remove(&item.key);
            drop(gone);
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = std::mem::take(&mut *self.0.items.lock());
        for item in items.values() {
            item.unlink();
        }
        let listed = std::mem::take(&mut *self.0.ready.lock());
        drop(listed);
    }
}

impl FileOps for Epoll {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn ready(&self, want: Events) -> Events {
        let in_events = want & (Events::IN | Events::RDNORM);
        if !in_events.is_empty() && self.0.any_ready() { in_events } else { Events::empty() }
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.0.queue)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[eventpoll]".into())
    }

    fn fdinfo(&self) -> String {
        let items: Vec<Arc<Item>> = self.0.items.lock().values().cloned().collect();
        let mut out = String::new();
        for item in items {
            let Interest { events, data } = *item.interest.lock();
            let ino = item.file.upgrade().and_then(|f| f.inode.as_ref().map(|i| i.ino)).unwrap_or(0);
            let _ =
                writeln!(out, "tfd: {:8} events: {events:8x} data: {data:16x}  pos:0 ino:{ino:x} sdev:0", item.key.0);
        }
        out
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ipc::eventfd::{EventFd, new_eventfd};

    const IN: u32 = 1;

    fn fired(file: &File) -> Vec<u64> {
        let found = file.ops_as::<Epoll>().unwrap().0.collect(10);
        found.iter().map(|f| f.data).collect()
    }

    fn count(file: &File) -> &EventFd {
        file.ops_as::<EventFd>().unwrap()
    }

    #[test]
    fn level_edge_and_oneshot() {
        let poll = new_epoll();
        let epoll = poll.ops_as::<Epoll>().unwrap();
        let [level, edge, once] = [0; 3].map(|_| new_eventfd(0, false, OpenFlags::empty()));
        epoll.add(3, &level, IN, 1).unwrap();
        epoll.add(4, &edge, IN | EPOLLET, 2).unwrap();
        epoll.add(5, &once, IN | EPOLLONESHOT, 3).unwrap();
        assert_eq!(epoll.add(5, &once, IN, 3), fail(Errno::EEXIST));
        assert!(fired(&poll).is_empty());
        for file in [&level, &edge, &once] {
            count(file).signal(1);
        }
        assert_eq!(poll.ready(Events::IN), Events::IN);
        assert_eq!(fired(&poll), [1, 2, 3]);
        assert_eq!(fired(&poll), [1]);
        count(&once).signal(1);
        count(&edge).signal(1);
        assert_eq!(fired(&poll), [1, 2]);
        epoll.modify(5, &once, IN | EPOLLONESHOT, 4).unwrap();
        assert_eq!(fired(&poll), [1, 4]);
        epoll.remove(3, &level).unwrap();
        assert!(fired(&poll).is_empty());
        assert_eq!(poll.ready(Events::IN), Events::empty());
    }

    #[test]
    fn closed_files_leave() {
        let poll = new_epoll();
        let epoll = poll.ops_as::<Epoll>().unwrap();
        let file = new_eventfd(1, false, OpenFlags::empty());
        epoll.add(3, &file, IN, 1).unwrap();
        drop(file);
        assert!(epoll.0.items.lock().is_empty());
        assert!(fired(&poll).is_empty());
    }

    #[test]
    fn nesting() {
        let chain: Vec<Arc<File>> = (0..7).map(|_| new_epoll()).collect();
        let add = |a: usize, b: usize| chain[a].ops_as::<Epoll>().unwrap().add(b as i32, &chain[b], IN, b as u64);
        for at in 0..5 {
            add(at, at + 1).unwrap();
        }
        assert_eq!(add(5, 6), fail(Errno::ELOOP));
        assert_eq!(add(3, 1), fail(Errno::ELOOP));
        assert_eq!(add(3, 3), fail(Errno::EINVAL));
        let file = new_eventfd(0, false, OpenFlags::empty());
        chain[5].ops_as::<Epoll>().unwrap().add(20, &file, IN, 9).unwrap();
        assert!(fired(&chain[0]).is_empty());
        count(&file).signal(1);
        assert_eq!(fired(&chain[0]), [1]);
        assert_eq!(fired(&chain[5]), [9]);
    }
}
