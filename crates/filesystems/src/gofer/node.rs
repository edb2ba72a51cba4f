//! One file of the host: what is known of it, its handle, its open descriptors.
//!
//! A node stands behind an inode, and outlives it where nodes below need its place. Its handle is only a cache: as long as its place (folder
//! and name) is known, it is asked for again when it is needed. Lock: `Node::state`; two nodes' states are never locked at once.

use super::Shared;
use super::inode::NodeOps;
use super::kept::Kept;
use super::listing::Names;
use crate::hostio::is_local;
use abi::Errno;
use fsproto::{Attr, Bytes, Change, Changed, Gofer, Handle, WalkEnd, Walked};
use host::HostFd;
use host::file::Statx;
use kernel::locks::InodeState;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{FileType, Inode};
use lock::Mutex;
use std::sync::{Arc, Weak};

/// How often a handle is asked for whose folders' handles are given up at the same time.
const TRIES: usize = 8;
/// Nanoseconds for which a call may use attributes that its own walk brought along, when others may change them.
const FRESH: u64 = 1_000_000;

/// Device and inode number on the host.
pub(crate) type Key = (u64, u64);

/// A folder, and a name there.
pub(crate) type Place = (Arc<Node>, Box<[u8]>);

/// Folders deeper than this are not found again without a handle.
pub(crate) const MAX_DEPTH: usize = 1 << 17;

/// How a host descriptor may be used; the index of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read = 0,
    Write = 1,
    Both = 2,
}

pub(crate) struct Node {
    pub shared: Arc<Shared>,
    pub key: Key,
    pub kind: FileType,
    pub state: Mutex<State, InodeState>,
}

#[derive(Default)]
pub(crate) struct State {
    attr: Kept,
    /// `attr` must be asked for again.
    stale: bool,
    /// A folder in which `direct` found files that it cannot tell all about.
    foreign: bool,
    uses: Uses,
    handle: Option<Handle>,
    /// One of its names. None for the root, and for what lost its name.
    pub place: Option<Place>,
    inode: Weak<Inode>,
    fds: [Weak<HostFd>; 3],
    more: Option<Box<More>>,
}

/// A value, or ENODATA or EOPNOTSUPP.
type XattrAnswer = Result<Vec<u8>, Errno>;

/// What most nodes do without.
#[derive(Default)]
pub(crate) struct More {
    pub target: Option<Bytes>,
    pub names: Names,
    /// Answers of `getxattr`, the refusals too.
    pub xattrs: Vec<(Box<[u8]>, XattrAnswer)>,
    /// The socket that was bound to this name when it was made, until it is taken.
    pub socket: Option<Arc<HostFd>>,
    /// When others may change it: `attr` came at this time (CLOCK_MONOTONIC) and was not used yet.
    fresh: Option<u64>,
}

/// What has been done through descriptors, which changes attributes, since `State::attr` came.
#[derive(Default)]
struct Uses {
    /// Read, where the host counts that as a new time of access.
    read: bool,
    written: bool,
    /// A guest has, or had, a shared mapping that it may write to. Never taken back.
    mapped: bool,
}

impl Uses {
    fn any(&self) -> bool {
        self.read || self.written || self.mapped
    }
}

/// A write is under way as long as this lives. Afterwards attributes are to be asked for: not before, for who asks in between must not count as having asked.
pub(crate) struct Writing<'a>(&'a Node);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().uses.written = true;
    }
}

impl State {
    pub fn is_mount_root(&self) -> bool {
        self.attr.is_mount_root()
    }

    /// Owner and group.
    pub fn ids(&self) -> (u32, u32) {
        (self.attr.uid, self.attr.gid)
    }

    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    pub fn set_foreign(&mut self) {
        self.foreign = true;
    }

    pub fn handle(&self) -> Option<Handle> {
        self.handle
    }

    /// What was asked of the gofer, or told by it.
    pub fn set_attr(&mut self, attr: &Attr) {
        self.attr = Kept::new(attr);
        self.stale = false;
    }

    pub fn set_stale(&mut self) {
        self.stale = true;
    }

    /// What is rarely there, made.
    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// What is rarely there, where it is.
    pub fn more_if_any(&mut self) -> Option<&mut More> {
        self.more.as_deref_mut()
    }

    pub fn names(&mut self) -> &mut Names {
        &mut self.more().names
    }

    /// A name is gone: the place that went with it, to be dropped after the lock. What has no name any more keeps the attributes it had.
    pub fn lose_name(&mut self, dir: bool) -> Option<Place> {
        self.attr.nlink = if dir { 0 } else { self.attr.nlink.saturating_sub(1) };
        self.stale = self.attr.nlink > 0;
        self.place.take()
    }
}

impl Node {
    /// The node of what a walk, an open or a listing found; `place` is where.
    pub fn found(shared: &Arc<Shared>, place: Option<Place>, attr: Attr, handle: Option<Handle>) -> Op<Arc<Node>> {
        let Some(kind) = FileType::from_mode(attr.mode) else { return fail(Errno::EIO) };
        let key = (attr.dev, attr.ino);
        let fresh = shared.options.shared.then(kernel::time::monotonic);
        let mut spare = None;
        let mut nodes = shared.nodes.lock();
        // What is dropped below is dropped after the lock: a node's own drop takes it.
        let known = nodes.get(&key).and_then(Weak::upgrade);
        let node = match known {
            Some(node) if node.kind == kind => {
                drop(nodes);
                let loops = place.as_ref().is_some_and(|place| node.is_above(place));
                let mut state = node.state.lock();
                if !state.stale || handle.is_some() {
                    state.set_attr(&attr);
                    if fresh.is_some() {
                        state.more().fresh = fresh;
                    }
                }
                match state.handle {
                    None => state.handle = handle,
                    Some(_) => spare = handle,
                }
                // The root keeps no place; another name of a file serves as well as the one before.
                let old = if node.is_root() || loops { place } else { std::mem::replace(&mut state.place, place) };
                drop(state);
                drop(old);
                node
            }
            // The host gave the number of a file that is gone to a new one.
            other => {
                let mut state = State { attr: Kept::new(&attr), handle, place, ..State::default() };
                if fresh.is_some() {
                    state.more().fresh = fresh;
                }
                let node = Arc::new(Node { shared: shared.clone(), key, kind, state: Mutex::new(state) });
                nodes.insert(key, Arc::downgrade(&node));
                drop(nodes);
                drop(other);
                node
            }
        };
        if let Some(spare) = spare {
            shared.gofer.forget(&[spare]);
        }
        Ok(node)
    }

    pub fn is_root(&self) -> bool {
        self.shared.root.get().is_some_and(|root| std::ptr::eq(root.as_ptr(), self))
    }

    /// Whether this folder is the place's, or above it: then it cannot lie there. The host shows it so where a folder is mounted again below itself.
    pub fn is_above(self: &Arc<Self>, (parent, name): &Place) -> bool {
        let known = |place: &Place| Arc::ptr_eq(&place.0, parent) && place.1 == *name;
        if self.kind != FileType::Dir || self.state.lock().place.as_ref().is_some_and(known) {
            return false;
        }
        let mut at = parent.clone();
        for _ in 0..MAX_DEPTH {
            if Arc::ptr_eq(&at, self) {
                return true;
            }
            match at.place() {
                Some((parent, _)) => at = parent,
                None => return false,
            }
        }
        true
    }

    /// A node that lives already.
    pub fn known(shared: &Shared, key: Key) -> Option<Arc<Node>> {
        shared.nodes.lock().get(&key).and_then(Weak::upgrade)
    }

    /// The inode that stands for this node.
    pub fn inode(self: &Arc<Self>) -> Op<Arc<Inode>> {
        let Some(fs) = self.shared.fs.get().and_then(Weak::upgrade) else { return fail(Errno::EIO) };
        let mut state = self.state.lock();
        if let Some(inode) = state.inode.upgrade() {
            return Ok(inode);
        }
        let inode = Inode::new(&fs, self.number(), self.kind, Box::new(NodeOps(self.clone())));
        state.inode = Arc::downgrade(&inode);
        Ok(inode)
    }

    /// The inode number that the guest sees.
    pub fn number(&self) -> u64 {
        guest_ino(&self.shared, self.key)
    }

    /// Calls the gofer with this node's handle, and again with a new one where it was given up meanwhile.
    pub fn with_handle<T>(&self, ask: impl Fn(&dyn Gofer, Handle) -> Result<T, Errno>) -> Op<T> {
        let handle = self.handle()?;
        match self.shared.trip(|gofer| ask(gofer, handle)) {
            Err(Stop::Errno(Errno::EBADF)) => {
                let handle = self.fresh_handle(handle)?;
                self.shared.trip(|gofer| ask(gofer, handle))
            }
            answer => answer,
        }
    }

    /// The handle, asked for by name where there is none. ESTALE where the name is gone or stands for another file.
    pub fn handle(&self) -> Op<Handle> {
        for _ in 0..TRIES {
            match self.ask_for_handle() {
                // A folder above had its handle given up meanwhile. The root keeps its own.
                Err(Stop::Errno(Errno::EBADF)) => {}
                other => return other,
            }
        }
        fail(Errno::ESTALE)
    }

    /// Another handle in place of one that the gofer does not know any more.
    pub fn fresh_handle(&self, stale: Handle) -> Op<Handle> {
        self.state.lock().handle.take_if(|old| *old == stale);
        self.handle()
    }

    fn ask_for_handle(&self) -> Op<Handle> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let (mut at, first) = {
            let state = self.state.lock();
            if let Some(handle) = state.handle {
                return Ok(handle);
            }
            match &state.place {
                Some((parent, name)) => (parent.clone(), name.clone()),
                None => return fail(Errno::ESTALE),
            }
        };
        names.push(first);
        let from = loop {
            let parent = {
                let state = at.state.lock();
                if let Some(handle) = state.handle {
                    break handle;
                }
                match &state.place {
                    Some((parent, name)) if names.len() < MAX_DEPTH => {
                        names.push(name.clone());
                        parent.clone()
                    }
                    _ => return fail(Errno::ESTALE),
                }
            };
            at = parent;
        };
        let path: Vec<&[u8]> = names.iter().rev().map(|name| &**name).collect();
        let mut walked = self.shared.trip(|gofer| walk(gofer, from, &path))?;
        let last = if walked.steps.len() == path.len() { walked.steps.pop() } else { None };
        let others: Vec<Handle> = walked.steps.iter().map(|step| step.0).collect();
        self.shared.gofer.forget(&others);
        match (last, walked.end) {
            (Some((handle, attr)), _) if (attr.dev, attr.ino) == self.key => {
                self.set_handle(handle, attr);
                Ok(handle)
            }
            (Some((handle, _)), _) => {
                self.shared.gofer.forget(&[handle]);
                fail(Errno::ESTALE)
            }
            (None, WalkEnd::Failed(code)) if code != Errno::ENOENT.code() => fail(Errno::from_raw(code.into())),
            _ => fail(Errno::ESTALE),
        }
    }

    pub fn set_handle(&self, handle: Handle, attr: Attr) {
        let spare = {
            let mut state = self.state.lock();
            state.set_attr(&attr);
            state.handle.replace(handle)
        };
        if let Some(spare) = spare.filter(|old| *old != handle) {
            self.shared.gofer.forget(&[spare]);
        }
    }

    /// Takes the handle away where it can be had again.
    pub fn release_handle(&self) -> Option<Handle> {
        let mut state = self.state.lock();
        if state.place.is_some() { state.handle.take() } else { None }
    }

    /// A folder that the node lies in, with its name there: how it is asked for without a handle of its own.
    pub fn place(&self) -> Option<Place> {
        self.state.lock().place.clone()
    }

    /// Attributes as they are now. With exclusive access the host is asked only where something was done since they came.
    pub fn attr(self: &Arc<Self>) -> Op<Attr> {
        let others = self.shared.options.shared;
        {
            let mut state = self.state.lock();
            // What the walk of this very call was told counts, once.
            let came = state.more_if_any().and_then(|more| more.fresh.take());
            let fresh = came.is_some_and(|at| kernel::time::monotonic() < at + FRESH);
            let known = !state.stale && (!others || fresh);
            if known && !others && !state.uses.any() {
                return Ok(state.attr.attr(self.key));
            }
            if let Some(fd) = state.fds.iter().find_map(Weak::upgrade).filter(|_| known || others) {
                drop(state);
                return self.refresh(&fd);
            }
            if known {
                return Ok(state.attr.attr(self.key));
            }
        }
        if let Some(attr) = self.attr_directly() {
            self.set_attr_known(attr);
            return Ok(attr);
        }
        // A handle that has to be asked for brings attributes along.
        let before = self.state.lock().handle;
        let attr = match before {
            Some(_) => self.with_handle(|gofer, handle| gofer.attr(handle))?,
            None => {
                self.handle()?;
                return Ok(self.last_attr());
            }
        };
        self.set_attr_known(attr);
        Ok(attr)
    }

    /// The attributes that were last seen.
    pub fn last_attr(&self) -> Attr {
        self.state.lock().attr.attr(self.key)
    }

    /// Attributes but for owner and group, by an open descriptor: no trip, and it does not sleep.
    pub fn refresh(&self, fd: &HostFd) -> Op<Attr> {
        {
            let mut state = self.state.lock();
            (state.uses.read, state.uses.written) = (false, false);
        }
        let stat = host::file::stat(fd)?;
        Ok(self.seen(&stat))
    }

    /// What the host said of an open descriptor of this file.
    pub fn seen(&self, stat: &Statx) -> Attr {
        let mut state = self.state.lock();
        // The kernel process is in a user namespace of its own, in which the host's ids have no names: the gofer's answers count.
        let (uid, gid) = state.ids();
        let attr = Attr { uid, gid, ..Attr::from_statx(stat, state.attr.magic()) };
        state.attr = Kept::new(&attr);
        attr
    }

    /// Where the file ends, as far as that is known without asking. The host may have made it longer.
    pub fn end(&self) -> Option<u64> {
        let state = self.state.lock();
        let known = !self.shared.options.shared && !state.stale && !state.uses.written && is_local(state.attr.magic());
        known.then_some(state.attr.size())
    }

    /// It was read by a descriptor.
    pub fn was_read(&self) {
        if self.shared.readonly {
            return;
        }
        let mut state = self.state.lock();
        if !state.uses.read {
            state.uses.read = state.attr.counts_reads(kernel::time::now().tv_sec);
        }
    }

    /// To be held while it is written to by a descriptor.
    pub fn writing(&self) -> Writing<'_> {
        Writing(self)
    }

    /// A guest maps it.
    pub fn is_mapped(&self, writable: bool) {
        self.state.lock().uses.mapped |= writable;
        self.was_read();
    }

    /// Whether descriptors know more than was last seen.
    pub fn is_used(&self) -> bool {
        self.shared.options.shared || self.state.lock().uses.any()
    }

    pub fn set_attr_known(&self, attr: Attr) {
        self.state.lock().set_attr(&attr);
    }

    /// Something changed on the host whose result is not known.
    pub fn make_stale(&self) {
        self.state.lock().stale = true;
    }

    /// A descriptor that is open already, with at least these rights.
    pub fn open_fd(&self, access: Access) -> Option<Arc<HostFd>> {
        let state = self.state.lock();
        let exact = state.fds.get(access as usize).and_then(Weak::upgrade);
        exact.or_else(|| state.fds.get(Access::Both as usize).and_then(Weak::upgrade))
    }

    /// As `open_fd`, but with exactly these rights.
    pub fn exact_fd(&self, access: Access) -> Option<Arc<HostFd>> {
        self.state.lock().fds.get(access as usize).and_then(Weak::upgrade)
    }

    /// The file has no name any more: its number may come back as another file's.
    pub fn leave_table(self: &Arc<Self>) {
        let mut nodes = self.shared.nodes.lock();
        if nodes.get(&self.key).is_some_and(|node| std::ptr::eq(node.as_ptr(), Arc::as_ptr(self))) {
            nodes.remove(&self.key);
        }
    }

    pub fn any_fd(&self) -> Option<Arc<HostFd>> {
        self.state.lock().fds.iter().find_map(Weak::upgrade)
    }

    pub fn add_fd(&self, access: Access, fd: &Arc<HostFd>) {
        if let Some(slot) = self.state.lock().fds.get_mut(access as usize) {
            *slot = Arc::downgrade(fd);
        }
    }

    /// A single change of this node or in it.
    pub fn change(&self, change: impl Fn(Handle) -> Change) -> Op<Changed> {
        self.with_handle(|gofer, handle| one(gofer, change(handle)))
    }

    /// A symbolic link's target never changes.
    pub fn set_target(&self, target: Bytes) {
        self.state.lock().more().target = Some(target);
    }

    /// The node behind an inode of the same file system.
    pub fn of(inode: &Inode) -> Op<Arc<Node>> {
        match inode.ops_as::<NodeOps>() {
            Some(ops) => Ok(ops.0.clone()),
            None => fail(Errno::EXDEV),
        }
    }
}

/// Sends one change; its result.
pub(crate) fn one(gofer: &dyn Gofer, change: Change) -> Result<Changed, Errno> {
    gofer.change(vec![change])?.pop().unwrap_or(Err(Errno::EIO))
}

/// Walks; where the gofer runs out of descriptors on the way, as a whole.
pub(crate) fn walk(gofer: &dyn Gofer, from: Handle, path: &[&[u8]]) -> Result<Walked, Errno> {
    let walked = gofer.walk(from, path)?;
    if walked.end != WalkEnd::Failed(Errno::ENFILE.code()) {
        return Ok(walked);
    }
    let handles: Vec<Handle> = walked.steps.iter().map(|step| step.0).collect();
    gofer.forget(&handles);
    Err(Errno::ENFILE)
}

/// Inode numbers of other host file systems below the root are moved out of the way of the root's own.
pub(crate) fn guest_ino(shared: &Shared, (dev, ino): Key) -> u64 {
    if dev == shared.root_dev { ino } else { ino ^ (dev.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0x7fff_ffff_0000_0000) }
}

impl Drop for Node {
    fn drop(&mut self) {
        {
            let mut nodes = self.shared.nodes.lock();
            if nodes.get(&self.key).is_some_and(|node| node.strong_count() == 0) {
                nodes.remove(&self.key);
            }
        }
        let state = self.state.get_mut();
        if let Some(handle) = state.handle.take() {
            let nameless = state.attr.nlink == 0;
            let gofer = &self.shared.gofer;
            if nameless {
                gofer.forget_now(&[handle])
            } else {
                gofer.forget(&[handle])
            };
        }
        // The folders above go one by one, not each in the drop of the one below: a guest can nest them deeper than a stack.
        let mut above = state.place.take();
        while let Some((parent, _)) = above {
            above = Arc::into_inner(parent).and_then(|mut parent| parent.state.get_mut().place.take());
        }
    }
}
