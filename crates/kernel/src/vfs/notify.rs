//! inotify(7): watches on inodes, instances with their events, and where the VFS tells what happens.
//!
//! File systems know nothing of it. Who listens to everything (`listen`) is told here, too. The functions `name_event`, `inode_event`, `moved`, `link_lost` and `last_close` are called by
//! the VFS after each operation. While nobody watches anything they cost one load. Locks: `Leaf` for an inode's list of watches,
//! `FileState` for an instance, never both.

use super::listen::{self, Happened};
use super::{FileOps, FileType, Inode, Path, Position};
use crate::cred::{Cred, UserNs};
use crate::io::{Io, Sink, UserMemory};
use crate::locks::{FileState, Leaf};
use crate::op::{Op, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::inotify::{
    IN_ALL_EVENTS, IN_ATTRIB, IN_DELETE_SELF, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE,
    IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_ONESHOT, IN_Q_OVERFLOW, InotifyEvent,
};
use lock::Mutex;
use smallvec::SmallVec;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use zerocopy::IntoBytes;

/// Events that an instance keeps at most, /proc/sys/fs/inotify/max_queued_events.
pub const MAX_QUEUED: usize = 16_384;
/// Watches of an instance at most.
pub const MAX_WATCHES: usize = 1 << 20;

/// All watches of the kernel: while there are none, nothing else is looked at.
static WATCHES: AtomicUsize = AtomicUsize::new(0);
static COOKIE: AtomicU32 = AtomicU32::new(0);

/// Watches of one inode: instances and their numbers for it.
#[derive(Default)]
pub struct Watches {
    list: Mutex<Vec<(i32, Weak<Inotify>)>, Leaf>,
}

struct Event {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    /// Bytes of the name as read(2) gives it: zero-ended, a multiple of the head's size.
    fn name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(size_of::<InotifyEvent>()) }
    }
    fn len(&self) -> usize {
        size_of::<InotifyEvent>() + self.name_len()
    }
}

#[derive(Default)]
struct State {
    last_wd: i32,
    watches: BTreeMap<i32, (Arc<Inode>, u32)>,
    events: VecDeque<Event>,
}

/// An instance: what inotify_init(2) makes.
pub struct Inotify {
    state: Mutex<State, FileState>,
    queue: Queue,
    me: Weak<Inotify>,
}

impl Inotify {
    pub fn new() -> Arc<Inotify> {
        Arc::new_cyclic(|me| Inotify { state: Mutex::default(), queue: Queue::new(), me: me.clone() })
    }

    /// inotify_add_watch(2); the path has been walked and may be read. ENOSPC beyond `MAX_WATCHES`.
    pub fn add(&self, inode: &Arc<Inode>, mask: u32) -> Op<i32> {
        let kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let wd = {
            let mut state = self.state.lock();
            let known = state.watches.iter_mut().find(|(_, (watched, _))| Arc::ptr_eq(watched, inode));
            if let Some((wd, (_, old))) = known {
                if mask & IN_MASK_CREATE != 0 {
                    return fail(Errno::EEXIST);
                }
                *old = if mask & IN_MASK_ADD != 0 { *old | kept } else { kept };
                return Ok(*wd);
            }
            if state.watches.len() >= MAX_WATCHES {
                return fail(Errno::ENOSPC);
            }
            let wd = state.last_wd.checked_add(1).ok_or(Errno::ENOSPC)?;
            state.last_wd = wd;
            state.watches.insert(wd, (inode.clone(), kept));
            wd
        };
        inode.watches().list.lock().push((wd, self.me.clone()));
        WATCHES.fetch_add(1, Ordering::SeqCst);
        crate::lent::all();
        Ok(wd)
    }

    /// inotify_rm_watch(2). EINVAL where there is none.
    pub fn remove(&self, wd: i32) -> Op<()> {
        if self.forget(wd) { Ok(()) } else { fail(Errno::EINVAL) }
    }

    /// Ends a watch and says so.
    fn forget(&self, wd: i32) -> bool {
        let watch = self.state.lock().watches.remove(&wd);
        let Some((inode, _)) = watch else { return false };
        self.unlist(&inode, wd);
        self.push(Event { wd, mask: IN_IGNORED, cookie: 0, name: Box::default() });
        true
    }

    fn unlist(&self, inode: &Arc<Inode>, wd: i32) {
        let me = self.me.as_ptr();
        inode.watches().list.lock().retain(|(other, instance)| *other != wd || instance.as_ptr() != me);
        WATCHES.fetch_sub(1, Ordering::SeqCst);
    }

    fn push(&self, event: Event) {
        {
            let mut state = self.state.lock();
            let last = state.events.back();
            let repeats = last.is_some_and(|l| {
                (l.wd, l.mask, l.cookie) == (event.wd, event.mask, event.cookie) && l.name == event.name
            });
            if repeats || last.is_some_and(|l| l.mask == IN_Q_OVERFLOW) {
                return;
            }
            if state.events.len() >= MAX_QUEUED {
                state.events.push_back(Event { wd: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: Box::default() });
            } else {
                state.events.push_back(event);
            }
        }
        self.queue.wake(Events::IN | Events::RDNORM);
    }

    /// Something happened to the inode of watch `wd`, or to a name in it.
    fn told(&self, wd: i32, mask: u32, cookie: u32, name: &[u8], unlinked: bool) {
        let watched = self.state.lock().watches.get(&wd).map_or(0, |(_, mask)| *mask);
        if watched & mask & IN_ALL_EVENTS == 0 || unlinked && watched & IN_EXCL_UNLINK != 0 {
            return;
        }
        self.push(Event { wd, mask, cookie, name: name.into() });
        if watched & IN_ONESHOT != 0 {
            self.forget(wd);
        }
    }

    /// Bytes that are there to be read.
    fn bytes(&self) -> usize {
        self.state.lock().events.iter().map(Event::len).sum()
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = std::mem::take(&mut self.state.get_mut().watches);
        for (wd, (inode, _)) in watches {
            self.unlist(&inode, wd);
        }
    }
}

impl FileOps for Inotify {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let room = to.left();
        let bytes = io.wait_for(&self.queue, Events::IN | Events::RDNORM, || {
            let mut state = self.state.lock();
            let mut bytes = Vec::new();
            while let Some(event) = state.events.front() {
                if bytes.len() + event.len() > room {
                    break;
                }
                let Some(event) = state.events.pop_front() else { break };
                let head =
                    InotifyEvent { wd: event.wd, mask: event.mask, cookie: event.cookie, len: event.name_len() as u32 };
                let end = bytes.len() + event.len();
                bytes.extend_from_slice(head.as_bytes());
                bytes.extend_from_slice(&event.name);
                bytes.resize(end, 0);
            }
            match (bytes.is_empty(), state.events.is_empty()) {
                (true, true) => Ok(None),
                (true, false) => fail(Errno::EINVAL),
                _ => Ok(Some(bytes)),
            }
        })?;
        to.put(&bytes)
    }

    fn ready(&self, want: Events) -> Events {
        let any = !self.state.lock().events.is_empty();
        if any { want & (Events::IN | Events::RDNORM) } else { Events::empty() }
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }

    fn ioctl(&self, _io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if cmd != abi::ioctl::FIONREAD {
            return fail(Errno::ENOTTY);
        }
        memory.write(arg, &(self.bytes() as u32).to_ne_bytes())?;
        Ok(0)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:inotify".into())
    }

    fn fdinfo(&self) -> String {
        let state = self.state.lock();
        let line = |(wd, (inode, mask)): (&i32, &(Arc<Inode>, u32))| {
            format!("inotify wd:{wd:x} ino:{:x} sdev:{:x} mask:{mask:x} ignored_mask:0\n", inode.ino, inode.fs.dev)
        };
        state.watches.iter().map(line).collect()
    }

    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn nobody_watches() -> bool {
    WATCHES.load(Ordering::Relaxed) == 0
}

fn tell(inode: &Inode, mask: u32, cookie: u32, name: &[u8], unlinked: bool) {
    let Some(watches) = inode.watches_if_any() else { return };
    let targets: SmallVec<[(i32, Arc<Inotify>); 4]> = {
        let list = watches.list.lock();
        list.iter().filter_map(|(wd, instance)| Some((*wd, instance.upgrade()?))).collect()
    };
    for (wd, instance) in targets {
        instance.told(wd, mask, cookie, name, unlinked);
    }
}

fn dir_bit(inode: &Inode) -> u32 {
    if inode.kind == FileType::Dir { IN_ISDIR } else { 0 }
}

/// Something happened to a name of `dir`, whose place is `at`. `mask` has IN_ISDIR where the name is a folder's.
pub fn name_event(at: &Path, dir: &Arc<Inode>, mask: u32, name: &[u8]) {
    listen::tell(&Happened { inode: dir, mask, path: Some(at), name: Some(name) });
    if !nobody_watches() {
        tell(dir, mask, 0, name, false);
    }
}

/// Whether anybody may want to hear of reads.
pub fn hears_of_reads() -> bool {
    listen::is_heard() || !nobody_watches()
}

/// Something happened to an inode: told to its own watches, and by its name to those of the folder in which `path` has it.
pub fn inode_event(inode: &Arc<Inode>, path: Option<&Path>, mask: u32) {
    if mask & (IN_MODIFY | IN_ATTRIB) != 0 {
        crate::lent::changes(inode);
    }
    let mask = mask | dir_bit(inode);
    listen::tell(&Happened { inode, mask, path, name: None });
    if nobody_watches() {
        return;
    }
    if let Some(dentry) = path.map(|p| &p.dentry)
        && let Some(dir) = dentry.parent().and_then(|p| p.inode())
        && dir.watches_if_any().is_some()
    {
        tell(&dir, mask, 0, &dentry.name(), dentry.is_gone());
    }
    tell(inode, mask, 0, b"", false);
}

/// A name moved, from one folder to another or within one.
pub fn moved((from, old): (&Path, &[u8]), (to, new): (&Path, &[u8]), what: &Arc<Inode>, victim: Option<&Arc<Inode>>) {
    if nobody_watches() && !listen::is_heard() {
        return;
    }
    let (Some(from_dir), Some(to_dir)) = (from.dentry.inode(), to.dentry.inode()) else { return };
    let within = if Arc::ptr_eq(&from_dir, &to_dir) { listen::WITHIN } else { 0 };
    let bit = dir_bit(what);
    let happened = |inode, mask, path, name| listen::tell(&Happened { inode, mask: mask | bit, path, name });
    happened(&from_dir, IN_MOVED_FROM | within, Some(from), Some(old));
    happened(&to_dir, IN_MOVED_TO, Some(to), Some(new));
    happened(what, IN_MOVE_SELF, None, None);
    let cookie = COOKIE.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    tell(&from_dir, IN_MOVED_FROM | bit, cookie, old, false);
    tell(&to_dir, IN_MOVED_TO | bit, cookie, new, false);
    if let Some(victim) = victim {
        inode_event(victim, None, IN_ATTRIB);
    }
    tell(what, IN_MOVE_SELF, 0, b"", false);
}

/// An inode lost a name, perhaps its last; its watchers know that its number of links changed.
pub fn link_lost(io: &mut Io<'_>, inode: &Arc<Inode>) {
    inode.fs.unpin(inode);
    if !listen::is_heard() && (nobody_watches() || inode.watches_if_any().is_none()) {
        return;
    }
    if inode.open_files.load(Ordering::Acquire) == 0 {
        end_if_unlinked(io, inode);
    }
}

/// The last open file description of an inode went.
pub fn last_close(inode: &Arc<Inode>) {
    if !listen::is_heard() && (nobody_watches() || inode.watches_if_any().is_none()) {
        return;
    }
    let mut done = 0;
    let mut io = Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done);
    end_if_unlinked(&mut io, inode);
}

/// An inode that nothing leads to any more takes its watches with it.
fn end_if_unlinked(io: &mut Io<'_>, inode: &Arc<Inode>) {
    let gone = match inode.attr(io) {
        Ok(attr) => attr.nlink == 0,
        Err(crate::op::Stop::Errno(Errno::ENOENT | Errno::ESTALE)) => true,
        Err(_) => false,
    };
    if !gone {
        return;
    }
    listen::tell(&Happened { inode, mask: IN_DELETE_SELF | dir_bit(inode), path: None, name: None });
    let Some(watches) = inode.watches_if_any() else { return };
    tell(inode, IN_DELETE_SELF, 0, b"", false);
    let left: Vec<(i32, Arc<Inotify>)> = {
        let list = watches.list.lock();
        list.iter().filter_map(|(wd, instance)| Some((*wd, instance.upgrade()?))).collect()
    };
    for (wd, instance) in left {
        instance.forget(wd);
    }
}
