//! fanotify, the notification class: groups with marks on inodes, mounts and file systems. fanotify(7), fanotify_init(2), fanotify_mark(2).
//!
//! A group hears of all events (`vfs::listen`) and keeps what its marks ask for. Neighbour: `event`, what is read. Locks: `FileState` for
//! a group; events are made without it.

mod event;

use crate::io::{Io, Sink, UserMemory};
use crate::locks::{FileState, Leaf};
use crate::op::{Op, Stop, fail};
use crate::task::{Pid, Task, acting};
use crate::vfs::listen::{Happened, Listener};
use crate::vfs::{FileOps, FileSystem, Inode, Mount, Position};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fanotify::*;
use abi::fs::OpenFlags;
use event::Event;
use lock::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};

/// /proc/sys/fs/fanotify: events that a group keeps, groups of a user, marks of a group.
pub const MAX_QUEUED: usize = 16_384;
pub const MAX_GROUPS: usize = 128;
pub const MAX_MARKS: usize = 8192;

/// Events of a group with FAN_UNLIMITED_QUEUE, marks of one with FAN_UNLIMITED_MARKS: their memory is the kernel process'.
const UNLIMITED: usize = 1 << 18;

/// How many queued events are looked at for one that a new event can be merged with.
const MERGED: usize = 128;

/// Groups by user.
static GROUPS: Mutex<BTreeMap<u32, usize>, Leaf> = Mutex::new(BTreeMap::new());

/// What is marked.
pub enum Marked {
    Inode(Arc<Inode>),
    Mount(Arc<Mount>),
    FileSystem(Arc<FileSystem>),
}

/// What a mark asks for.
#[derive(Clone, Copy, Default)]
struct Rules {
    mask: u64,
    ignored: u64,
    /// The ignored mask survives a change of the file.
    survives: bool,
}

#[derive(Default)]
struct State {
    inodes: HashMap<usize, (Arc<Inode>, Rules)>,
    mounts: HashMap<u64, (Weak<Mount>, Rules)>,
    systems: HashMap<u64, (Weak<FileSystem>, Rules)>,
    events: VecDeque<Event>,
}

fn key(inode: &Arc<Inode>) -> usize {
    Arc::as_ptr(inode) as usize
}

/// A group.
pub struct Fanotify {
    flags: u32,
    event_flags: OpenFlags,
    uid: u32,
    /// Who made it, if without CAP_SYS_ADMIN: only of that process numbers are told.
    unprivileged: Option<Arc<Pid>>,
    state: Mutex<State, FileState>,
    queue: Queue,
}

impl Fanotify {
    /// fanotify_init(2) with flags that have been checked. EMFILE where the user has too many.
    pub fn new(task: &Task, flags: u32, event_flags: OpenFlags, privileged: bool) -> Op<Arc<Fanotify>> {
        let uid = task.cred().uid;
        {
            let mut groups = GROUPS.lock();
            let count = groups.entry(uid).or_default();
            if *count >= MAX_GROUPS {
                return fail(Errno::EMFILE);
            }
            *count += 1;
        }
        let unprivileged = (!privileged).then(|| task.group.pid.clone());
        let group =
            Arc::new(Fanotify { flags, event_flags, uid, unprivileged, state: Mutex::default(), queue: Queue::new() });
        let listener: Weak<dyn Listener> = Arc::downgrade(&(group.clone() as Arc<dyn Listener>));
        crate::vfs::listen::listen(listener);
        Ok(group)
    }

    /// Events name inodes by handles.
    pub fn reports_ids(&self) -> bool {
        self.flags & (FAN_REPORT_FID | FAN_REPORT_DIR_FID) != 0
    }

    pub fn is_privileged(&self) -> bool {
        self.unprivileged.is_none()
    }

    /// FAN_MARK_ADD and FAN_MARK_REMOVE. ENOENT where there is nothing to remove, ENOSPC beyond `MAX_MARKS`.
    pub fn change(&self, what: &Marked, mask: u64, add: bool, ignore: bool, survives: bool) -> Op<()> {
        let gone;
        {
            let mut state = self.state.lock();
            let count = state.inodes.len() + state.mounts.len() + state.systems.len();
            let most = if self.flags & FAN_UNLIMITED_MARKS != 0 { UNLIMITED } else { MAX_MARKS };
            let full = count >= most;
            let known = match what {
                Marked::Inode(inode) => state.inodes.get(&key(inode)).map(|m| m.1),
                Marked::Mount(mount) => state.mounts.get(&mount.id).map(|m| m.1),
                Marked::FileSystem(fs) => state.systems.get(&fs.dev).map(|m| m.1),
            };
            if known.is_none() && (!add || full) {
                return fail(if add { Errno::ENOSPC } else { Errno::ENOENT });
            }
            let mut rules = known.unwrap_or_default();
            let bits = if ignore { &mut rules.ignored } else { &mut rules.mask };
            *bits = if add { *bits | mask } else { *bits & !mask };
            rules.survives |= add && ignore && survives;
            let empty = (rules.mask | rules.ignored) & FAN_EVENTS == 0;
            gone = match what {
                Marked::Inode(inode) if empty => state.inodes.remove(&key(inode)),
                Marked::Inode(inode) => state.inodes.insert(key(inode), (inode.clone(), rules)),
                Marked::Mount(mount) => {
                    state.mounts.insert(mount.id, (Arc::downgrade(mount), rules));
                    state.mounts.retain(|id, m| m.0.strong_count() > 0 && (*id != mount.id || !empty));
                    None
                }
                Marked::FileSystem(fs) => {
                    state.systems.insert(fs.dev, (Arc::downgrade(fs), rules));
                    state.systems.retain(|dev, m| m.0.strong_count() > 0 && (*dev != fs.dev || !empty));
                    None
                }
            };
        }
        drop(gone);
        Ok(())
    }

    /// FAN_MARK_FLUSH: all marks of a kind, which is that of the flags.
    pub fn flush(&self, kind: u32) {
        let mut inodes = HashMap::new();
        {
            let mut state = self.state.lock();
            match kind {
                FAN_MARK_MOUNT => state.mounts.clear(),
                FAN_MARK_FILESYSTEM => state.systems.clear(),
                _ => inodes = std::mem::take(&mut state.inodes),
            }
        }
        drop(inodes);
    }

    /// The bits of an event that marks ask for.
    fn wanted(&self, what: &Happened<'_>, parent: Option<&Arc<Inode>>) -> u64 {
        let state = self.state.lock();
        let of_dir = what.mask & abi::inotify::IN_ISDIR != 0;
        let (mut mask, mut ignored) = (0, 0);
        let mut look = |rules: &Rules| {
            if !of_dir || rules.mask & FAN_ONDIR != 0 {
                mask |= rules.mask;
            }
            ignored |= rules.ignored;
        };
        if let Some((_, rules)) = state.inodes.get(&key(what.inode)) {
            look(rules);
        }
        if let Some((_, rules)) = parent.and_then(|p| state.inodes.get(&key(p)))
            && rules.mask & FAN_EVENT_ON_CHILD != 0
        {
            look(&Rules { ignored: 0, ..*rules });
        }
        if let Some((_, rules)) = what.path.filter(|_| what.name.is_none()).and_then(|p| state.mounts.get(&p.mount.id))
        {
            look(rules);
        }
        if let Some((_, rules)) = state.systems.get(&what.inode.fs.dev) {
            look(rules);
        }
        u64::from(what.mask) & FAN_EVENTS & mask & !ignored
    }

    /// Marks that end with what happened: ignored masks of a file that changed, an inode that is gone.
    fn outdate(&self, what: &Happened<'_>) {
        if what.name.is_some() || what.mask & (abi::inotify::IN_MODIFY | abi::inotify::IN_DELETE_SELF) == 0 {
            return;
        }
        let mut gone = None;
        {
            let mut state = self.state.lock();
            if what.mask & abi::inotify::IN_DELETE_SELF != 0 {
                gone = state.inodes.remove(&key(what.inode));
            } else if let Some((_, rules)) = state.inodes.get_mut(&key(what.inode))
                && !rules.survives
            {
                rules.ignored = 0;
                if rules.mask & FAN_EVENTS == 0 {
                    gone = state.inodes.remove(&key(what.inode));
                }
            }
        }
        drop(gone);
    }

    fn push(&self, event: Event) {
        {
            let mut state = self.state.lock();
            let merged = state.events.iter_mut().rev().take(MERGED).any(|old| old.merge(&event));
            if merged {
                return;
            }
            let most = if self.flags & FAN_UNLIMITED_QUEUE != 0 { UNLIMITED } else { MAX_QUEUED };
            if state.events.len() < most {
                state.events.push_back(event);
            } else if state.events.back().is_some_and(|e| e.mask != FAN_Q_OVERFLOW) {
                state.events.push_back(Event::overflow());
            }
        }
        self.queue.wake(Events::IN | Events::RDNORM);
    }

    /// Whose doing it is, as the group may know it.
    fn doer(&self) -> Option<Arc<Pid>> {
        let task = acting()?;
        if self.unprivileged.as_ref().is_some_and(|own| !Arc::ptr_eq(own, &task.group.pid)) {
            return None;
        }
        Some(if self.flags & FAN_REPORT_TID != 0 { task.pid.clone() } else { task.group.pid.clone() })
    }

    /// The next event, if `room` is enough for it. EINVAL where it is not.
    fn next(&self, room: usize) -> Op<Option<Event>> {
        let mut state = self.state.lock();
        let Some(len) = state.events.front().map(Event::len) else { return Ok(None) };
        if len > room { fail(Errno::EINVAL) } else { Ok(state.events.pop_front()) }
    }

    /// Bytes of an event, its file opened for the reader.
    fn encode(&self, io: &mut Io<'_>, event: &Event, fds: &mut Vec<i32>) -> Op<Vec<u8>> {
        let task = Task::of(io).ok_or(Errno::ESRCH)?;
        let fd = match &event.path {
            Some(path) => {
                let fd = event::open(io, &task, path, self.event_flags)?;
                fds.push(fd);
                fd
            }
            None => -1,
        };
        let pid = event.pid.as_ref().zip(task.pid.ns()).map_or(0, |(pid, ns)| pid.number_in(&ns));
        Ok(event.encode(fd, pid))
    }
}

impl Listener for Fanotify {
    fn happened(&self, what: &Happened<'_>) {
        let parent = what.path.filter(|_| what.name.is_none()).and_then(|p| p.dentry.parent());
        let parent_inode = parent.as_ref().and_then(|p| p.inode());
        let mask = self.wanted(what, parent_inode.as_ref());
        if mask != 0
            && let Some(event) = event::make(self.flags, what, mask, parent.as_ref(), self.doer())
        {
            self.push(event);
        }
        self.outdate(what);
    }
}

impl Drop for Fanotify {
    fn drop(&mut self) {
        let mut groups = GROUPS.lock();
        if let Some(count) = groups.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                groups.remove(&self.uid);
            }
        }
    }
}

impl FileOps for Fanotify {
    fn position(&self) -> Position {
        Position::Stream
    }

    /// As many events as fit. A file that can't be opened fails the call where it is the first, and waits for the next call else.
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let room = to.left();
        let first = io.wait_for(&self.queue, Events::IN | Events::RDNORM, || self.next(room))?;
        let mut next = Some(first);
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        while let Some(event) = next.take() {
            match self.encode(io, &event, &mut fds) {
                Ok(part) => bytes.extend(part),
                Err(stop) => {
                    if matches!(stop, Stop::Block) || !bytes.is_empty() {
                        self.state.lock().events.push_front(event);
                    }
                    if bytes.is_empty() {
                        return Err(stop);
                    }
                    break;
                }
            }
            next = self.next(room - bytes.len()).unwrap_or(None);
        }
        let put = to.put(&bytes);
        if put.is_err()
            && let Some(task) = Task::of(io)
        {
            fds.iter().for_each(|fd| drop(task.files().remove(*fd)));
        }
        put
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
        let bytes: usize = self.state.lock().events.iter().map(Event::len).sum();
        memory.write(arg, &(bytes as u32).to_ne_bytes())?;
        Ok(0)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[fanotify]".into())
    }

    fn fdinfo(&self) -> String {
        let state = self.state.lock();
        let mut out = format!("fanotify flags:{:x} event-flags:{:x}\n", self.flags, self.event_flags.bits());
        let mut line = |what: String, rules: &Rules| {
            let Rules { mask, ignored, survives } = *rules;
            let flags = if survives { FAN_MARK_IGNORED_SURV_MODIFY } else { 0 };
            out.push_str(&format!("fanotify {what} mflags:{flags:x} mask:{mask:x} ignored_mask:{ignored:x}\n"));
        };
        for (inode, rules) in state.inodes.values() {
            line(format!("ino:{:x} sdev:{:x}", inode.ino, inode.fs.dev), rules);
        }
        for (id, (_, rules)) in &state.mounts {
            line(format!("mnt_id:{id:x}"), rules);
        }
        for (dev, (_, rules)) in &state.systems {
            line(format!("sdev:{dev:x}"), rules);
        }
        out
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
