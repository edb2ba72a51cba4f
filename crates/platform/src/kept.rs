//! Files that a stub process keeps open to read them by itself: a large read's data then go from the host to the guest's memory at once, without a copy in between.
//!
//! The kernel process decides for each call what is read from where to where; the trampoline of that call does it (stub/trampoline.rs). What a guest can do besides, by jumping into the stub, is to read or map
//! a file that it may read, which is not handed over otherwise either. A file that the kernel process has closed is closed in the stub at its process' next call by notification.
//! Neighbours: `window` (says whose call this is), `thread` (answers). Owns the lock of the table.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use host::HostFd;
use host::seccomp::notify;

use crate::layout::{KEPT, MOST_KEPT};
use crate::outgoing::{Out, queue};
use crate::state::{At, Errand, State};
use crate::sync::{Keeps, Mutex, lock};
use crate::thread::Thread;

/// Bytes of a file that are read without reads of others in between before the stub gets it: to hand it over costs about what its own reading of so many saves.
const PAYS: u64 = 96 << 10;

#[derive(Default)]
pub(crate) struct Kept {
    table: Mutex<Table, Keeps>,
    /// There is something in it.
    any: AtomicBool,
}

#[derive(Default)]
struct Table {
    places: [Place; MOST_KEPT],
    /// Where the last file was put.
    last: usize,
    /// The file that was read last without being here, and how many bytes of it.
    wish: Option<(Weak<HostFd>, u64)>,
}

/// One descriptor of the stub's.
#[derive(Default)]
struct Place {
    file: Option<Weak<HostFd>>,
    /// Threads that may be reading by it just now.
    users: u32,
    /// Those that may do so without asking.
    lent: Vec<Lent>,
}

/// To whom a place is lent.
struct Lent {
    thread: Weak<Thread>,
    /// Its trips when it was taken back: it may be reading until it comes again.
    ended: Option<u64>,
}

impl Place {
    /// Nobody reads by it who is not to be waited for. `caller` is in a call of its own.
    fn is_unused(&mut self, caller: Option<&Thread>) -> bool {
        self.lent.retain(|lent| {
            let Some(thread) = lent.thread.upgrade() else { return false };
            let waits = caller.is_some_and(|caller| std::ptr::eq(&*thread, caller));
            let reads = !waits && lent.ended == Some(thread.trips.load(Ordering::Acquire));
            lent.ended.is_none() || reads
        });
        self.users == 0 && self.lent.is_empty()
    }
}

impl Table {
    fn find(&self, file: &Arc<HostFd>) -> Option<usize> {
        self.places.iter().position(|place| place.file.as_ref().is_some_and(|kept| is(kept, file)))
    }

    /// As `find`; the place has one user more.
    fn find_to_use(&mut self, file: &Arc<HostFd>) -> Option<usize> {
        let place = self.find(file)?;
        self.places[place].users += 1;
        Some(place)
    }

    /// So much of it is to be read: whether it was enough before.
    fn wishes(&mut self, file: &Arc<HostFd>, len: u64) -> bool {
        let before = self.wish.take().filter(|(last, _)| is(last, file)).map_or(0, |wish| wish.1);
        self.wish = Some((Arc::downgrade(file), before + len));
        before > 0 && before + len > PAYS
    }

    /// A place that nobody uses; it is empty from now on, and has a user.
    fn take(&mut self, caller: Option<&Thread>) -> Option<usize> {
        let order = (1..=MOST_KEPT).map(|n| (self.last + n) % MOST_KEPT);
        let unused: Vec<usize> = order.filter(|n| self.places[*n].is_unused(caller)).collect();
        let is_free = |n: &&usize| self.places[**n].file.as_ref().is_none_or(|kept| kept.strong_count() == 0);
        let place = *unused.iter().find(is_free).or_else(|| unused.first())?;
        self.last = place;
        self.places[place] = Place { users: 1, ..Place::default() };
        Some(place)
    }

    /// Who holds the place that would be taken next, if they held it no more.
    fn holders(&self) -> Option<(usize, Vec<Arc<Thread>>)> {
        let mut order = (1..=MOST_KEPT).map(|n| (self.last + n) % MOST_KEPT);
        let place = order.find(|n| self.places[*n].users == 0)?;
        Some((place, self.places[place].lent.iter().filter_map(|lent| lent.thread.upgrade()).collect()))
    }
}

fn is(kept: &Weak<HostFd>, file: &Arc<HostFd>) -> bool {
    std::ptr::eq(kept.as_ptr(), Arc::as_ptr(file))
}

/// A read that a stub makes by itself, pread64(2): the file's number there, the guest's buffer, the place in the file. `len` is the call's value; if it turns out to be less, or fails, [`crate::Event::Done`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRead {
    pub number: u32,
    pub addr: u64,
    pub len: u64,
    pub at: u64,
}

impl Kept {
    /// Who was told to read there has come back. `failed`: that gave something else than was expected.
    pub fn was_read(&self, place: usize, failed: bool) {
        let mut table = lock(&self.table);
        if let Some(place) = table.places.get_mut(place) {
            place.users = place.users.saturating_sub(1);
            if failed {
                place.file = None; // perhaps it is not there
            }
        }
    }

    /// The thread may read by it without asking.
    pub fn is_lent(&self, place: usize, thread: &Arc<Thread>) {
        let mut table = lock(&self.table);
        let lent = &mut table.places[place].lent;
        lent.retain(|lent| !std::ptr::eq(lent.thread.as_ptr(), Arc::as_ptr(thread)));
        lent.push(Lent { thread: Arc::downgrade(thread), ended: None });
    }

    /// It may no more, but may be at it.
    pub fn is_taken_back(&self, place: usize, thread: &Thread) {
        let mut table = lock(&self.table);
        let mine = table.places[place].lent.iter_mut().find(|lent| std::ptr::eq(lent.thread.as_ptr(), thread));
        if let Some(mine) = mine {
            mine.ended.get_or_insert(thread.trips.load(Ordering::Acquire));
        }
    }
}

impl Thread {
    /// The number of a file by which the stub reads it in the call that is open, which asks for `len` bytes; None: it cannot, or not yet.
    pub(crate) fn keeps(&self, file: &Arc<HostFd>, len: u64) -> Option<u32> {
        let kept = &self.space.kept;
        let bell = match *lock(&self.state) {
            State { errand: Some(_), .. } => return None,
            State { at: At::Direct { id }, .. } => Some(id),
            State { at: At::Polled, .. } => None,
            _ => return None,
        };
        let found = lock(&kept.table).find_to_use(file);
        let place = match found {
            Some(place) => place,
            None => self.keep(file, len, bell)?,
        };
        lock(&self.state).errand = Some(Errand::Read(place));
        Some(KEPT + place as u32)
    }

    /// Hands the file over if enough is read of it: its place, of which this thread is a user.
    fn keep(&self, file: &Arc<HostFd>, len: u64, bell: Option<u64>) -> Option<usize> {
        let kept = &self.space.kept;
        let (bell, place) = {
            let mut table = lock(&kept.table);
            if !table.wishes(file, len) {
                return None;
            }
            let Some(bell) = bell else {
                // It can only be handed to who waits in a notification: the next call shall be one.
                self.mailbox.polled().store(0, Ordering::Release);
                return None;
            };
            (bell, table.take(Some(self)))
        };
        let place = place.or_else(|| self.take_place())?;
        let handed = self
            .space
            .read_only(file)
            .and_then(|file| notify::add_fd_as(self.shard.doorbell.as_fd(), bell, file.as_fd(), KEPT + place as u32));
        let mut table = lock(&kept.table);
        if handed.is_err() {
            table.places[place].users = 0;
            return None;
        }
        table.places[place].file = Some(Arc::downgrade(file));
        kept.any.store(true, Ordering::Release);
        Some(place)
    }

    /// Takes a place from those to whom it is lent; None: they may be reading.
    fn take_place(&self) -> Option<usize> {
        let table = &self.space.kept.table;
        let (place, holders) = lock(table).holders()?;
        holders.iter().for_each(|thread| thread.take_back(place, None));
        lock(table).take(Some(self))
    }

    /// Has files closed that the kernel process has closed. `bell`: the thread's open notification; none: its next call shall be one.
    pub(crate) fn close_kept(&self, bell: Option<u64>) {
        let kept = &self.space.kept;
        if !kept.any.load(Ordering::Acquire) {
            return;
        }
        let mut table = lock(&kept.table);
        for (number, place) in (KEPT..).zip(&mut table.places) {
            if place.users > 0 || place.file.as_ref().is_none_or(|kept| kept.strong_count() > 0) {
                continue;
            }
            match bell {
                Some(id) => {
                    place.file = None;
                    queue(Out::Close { shard: self.shard, id, number });
                }
                None => self.mailbox.polled().store(0, Ordering::Release),
            }
        }
        kept.any.store(table.places.iter().any(|place| place.file.is_some() || place.users > 0), Ordering::Release);
    }
}

impl crate::core::Core {
    /// An empty file, which takes the place of one that is to be closed: nothing can be read from it.
    pub(crate) fn nothing(&self) -> Result<&Arc<HostFd>, Errno> {
        if let Some(nothing) = self.nothing.get() {
            return Ok(nothing);
        }
        let made = HostFd::new(host::memory::memfd_of("nothing", &[], 0)?);
        Ok(self.nothing.get_or_init(|| made))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file() -> Arc<HostFd> {
        HostFd::new(host::memory::memfd("test", false).unwrap())
    }

    #[test]
    fn who_is_read_from_keeps_its_place() {
        let mut table = Table::default();
        let mut files: Vec<_> = (0..MOST_KEPT).map(|_| file()).collect();
        for file in &files {
            let place = table.take(None).unwrap();
            table.places[place].file = Some(Arc::downgrade(file));
        }
        assert_eq!(table.take(None), None, "all are in use");
        let second = table.find(&files[1]).unwrap();
        table.places[second].users = 0;
        assert_eq!(table.take(None), Some(second));
        assert_eq!((table.find(&files[1]), table.take(None)), (None, None));
        let third = table.find(&files[2]);
        for place in &mut table.places {
            place.users = 0;
        }
        drop(files.remove(2));
        assert_eq!(table.take(None), third, "a file that is closed goes first");
    }

    #[test]
    fn few_reads_are_no_wish() {
        let mut table = Table::default();
        let (one, other) = (file(), file());
        assert!(!table.wishes(&one, PAYS) && table.wishes(&one, 1));
        assert!(!table.wishes(&other, PAYS) && !table.wishes(&one, PAYS / 2) && !table.wishes(&one, PAYS / 2));
        assert!(table.wishes(&one, 1));
    }
}
