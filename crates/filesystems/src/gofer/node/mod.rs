//! One file of the host: what is known of it, its handle, its open descriptors.
//!
//! A node stands behind an inode, and outlives it where nodes below need its place. Its handle is only a cache: as long as its place (folder
//! and name) is known, it is asked for again when it is needed. Lock: `Node::state`; two nodes' states are never locked at once.

use super::Shared;
use super::inode::NodeOps;
use super::kept::Kept;
use super::listing::Names;
use abi::Errno;
use fsproto::{Attr, Bytes, Handle};
use host::HostFd;
use kernel::locks::InodeState;
use kernel::op::{Op, fail};
use kernel::vfs::{FileType, Inode};
use lock::Mutex;
use std::sync::{Arc, Weak};

mod acl;
mod attr;
mod handle;

use attr::Uses;
pub(crate) use handle::{one, walk};

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
    /// By `AclKind`; how often that was forgotten.
    acls: [acl::Known; 2],
    acl_changes: u32,
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
    /// Access control lists by `AclKind`, where `State::acls` says so.
    acls: [Option<Box<[u8]>>; 2],
    /// The socket that was bound to this name when it was made, until it is taken.
    pub socket: Option<Arc<HostFd>>,
    /// When others may change it: `attr` came at this time (CLOCK_MONOTONIC) and was not used yet.
    fresh: Option<u64>,
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
    pub fn set_attr(&mut self, attr: &Attr, shared: &Shared) {
        self.see(attr, shared);
        self.stale = false;
    }

    /// Attributes as they are now. Where others change the file, they may have changed its access control lists as well.
    fn see(&mut self, attr: &Attr, shared: &Shared) {
        let new = Kept::new(attr);
        if shared.options.shared && new.ctime() != self.attr.ctime() {
            self.forget_acls();
        }
        self.attr = new;
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
                    state.set_attr(&attr, shared);
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

    /// A folder that the node lies in, with its name there: how it is asked for without a handle of its own.
    pub fn place(&self) -> Option<Place> {
        self.state.lock().place.clone()
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
