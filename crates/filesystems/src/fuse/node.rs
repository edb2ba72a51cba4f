//! Nodes: files as a server numbers them, with what is known of them for a while. fuse(4).
//!
//! A node lives as long as an inode or an open file needs it, and is forgotten by FUSE_FORGET then, with the number of answers that named it.
//! Attributes and names are believed until the times that the server gave them. Neighbours: `inode` (as the VFS has it), `names` (folders), `file`. Locks: `InodeState`
//! around what is known; the table of nodes is the connection's. Inodes are dropped outside of both.

use super::conn::Conn;
use super::handle::Handle;
use super::inode::NodeOps;
use super::pages::Pages;
use super::wire::{ATTR_OUT, EntryOut, In, Out, WireAttr, until};
use abi::Errno;
use abi::fuse::*;
use kernel::Io;
use kernel::locks::{FileState, InodeState};
use kernel::op::{Op, fail};
use kernel::time::{Nanos, monotonic, now};
use kernel::vfs::{Attr, FileSystem, FileType, Inode};
use lock::Mutex;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

/// Names that are kept of a folder.
const NAMES_MAX: usize = 4096;

/// See the module.
pub(super) struct Node {
    pub conn: Arc<Conn>,
    pub id: u64,
    generation: u64,
    pub kind: FileType,
    pub state: Mutex<State, InodeState>,
    pub writing: super::writeback::Writing,
    pub pages: Mutex<Pages, FileState>,
    /// Open files.
    pub opens: AtomicUsize,
}

/// What is known of a node.
pub(super) struct State {
    pub attr: Attr,
    /// When the attributes must be asked for anew; 0: now.
    pub until: Nanos,
    /// Answers to older requests may not know of the kernel's own writes.
    changed: u64,
    /// The time of modification is the kernel's, and the server is to be told.
    pub touched: bool,
    /// How many answers have named it.
    lookups: u64,
    inode: Weak<Inode>,
    /// The server has made something else of it: nothing can be done with it.
    bad: bool,
    names: HashMap<Box<[u8]>, Known>,
    /// A symbolic link's target, where it may be kept.
    pub(super) target: Option<Box<[u8]>>,
    /// Open files of it that may be told of a change of size.
    pub writers: Vec<Weak<Handle>>,
}

/// A name in a folder; without an inode it is known not to be there.
struct Known {
    inode: Option<Arc<Inode>>,
    until: Nanos,
}

impl Node {
    fn new(conn: &Arc<Conn>, id: u64, generation: u64, attr: Attr, until: Nanos) -> Arc<Node> {
        let state = State {
            attr,
            until,
            changed: 0,
            touched: false,
            lookups: 1,
            inode: Weak::new(),
            bad: false,
            names: HashMap::new(),
            target: None,
            writers: Vec::new(),
        };
        Arc::new(Node {
            conn: conn.clone(),
            id,
            generation,
            kind: attr.kind,
            state: Mutex::new(state),
            writing: Default::default(),
            pages: Mutex::new(Pages::default()),
            opens: AtomicUsize::new(0),
        })
    }

    /// The root of a new file system: of its attributes only the type is known.
    pub fn root(conn: &Arc<Conn>, fs: &Arc<FileSystem>, mode: u32) -> Arc<Inode> {
        let kind = FileType::from_mode(mode).unwrap_or(FileType::Dir);
        let t = now();
        let attr = Attr {
            ino: FUSE_ROOT_ID,
            kind,
            perm: mode & 0o7777,
            nlink: 1,
            uid: conn.user,
            gid: conn.group,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: t,
            mtime: t,
            ctime: t,
            btime: None,
        };
        let node = Node::new(conn, FUSE_ROOT_ID, 0, attr, 0);
        node.state.lock().lookups = 0;
        conn.nodes.lock().insert(FUSE_ROOT_ID, Arc::downgrade(&node));
        let inode = Inode::new(fs, FUSE_ROOT_ID, kind, Box::new(NodeOps(node.clone())));
        node.state.lock().inode = Arc::downgrade(&inode);
        inode
    }

    /// The inode that an answer names, which counts. EIO for what cannot be: the root, no attributes.
    pub fn found(conn: &Arc<Conn>, entry: &EntryOut, unique: u64) -> Result<Arc<Inode>, Errno> {
        let Some(attr) = entry.attr.filter(|_| entry.node != FUSE_ROOT_ID) else {
            return Err(Errno::EIO);
        };
        let attr = conn.owned(attr);
        let known = conn.nodes.lock().get(&entry.node).and_then(Weak::upgrade);
        if let Some(node) = known {
            if node.kind == attr.kind && node.generation == entry.generation {
                node.state.lock().lookups += 1;
                node.merge(attr, entry.attr_until, unique);
                return node.inode();
            }
            node.make_bad();
        }
        let node = Node::new(conn, entry.node, entry.generation, attr, entry.attr_until);
        conn.nodes.lock().insert(entry.node, Arc::downgrade(&node));
        node.inode()
    }

    /// The inode that stands for this node.
    fn inode(self: &Arc<Self>) -> Result<Arc<Inode>, Errno> {
        let fs = self.conn.fs.get().and_then(Weak::upgrade).ok_or(Errno::EIO)?;
        let mut state = self.state.lock();
        if let Some(inode) = state.inode.upgrade() {
            return Ok(inode);
        }
        let inode = Inode::new(&fs, self.id, self.kind, Box::new(NodeOps(self.clone())));
        state.inode = Arc::downgrade(&inode);
        Ok(inode)
    }

    pub fn of(inode: &Inode) -> Op<&Arc<Node>> {
        match inode.ops_as::<NodeOps>() {
            Some(ops) => Ok(&ops.0),
            None => fail(Errno::EXDEV),
        }
    }

    fn make_bad(&self) {
        self.state.lock().bad = true;
        self.forget_names();
    }

    /// The next who asks for attributes asks the server.
    pub fn expire(&self) {
        self.state.lock().until = 0;
    }

    /// What is known of a name, as long as it is: Some(None) where there is none.
    pub fn known(&self, name: &[u8]) -> Option<Option<Arc<Inode>>> {
        let state = self.state.lock();
        let known = state.names.get(name)?;
        (known.until > monotonic()).then(|| known.inode.clone())
    }

    /// Remembers a name.
    pub fn remember(&self, name: &[u8], inode: Option<Arc<Inode>>, until: Nanos) {
        let old = {
            let mut state = self.state.lock();
            let many = state.names.len() >= NAMES_MAX;
            let dropped = if many { std::mem::take(&mut state.names) } else { HashMap::new() };
            // Kept although nobody may believe it: what a listing brought is in use soon.
            (state.names.insert(name.into(), Known { inode, until }), dropped)
        };
        drop(old);
    }

    pub fn forget_name(&self, name: &[u8]) {
        let old = self.state.lock().names.remove(name);
        drop(old);
    }

    /// A name is to be looked up again, though what it stands for is kept.
    pub fn expire_name(&self, name: &[u8]) {
        if let Some(known) = self.state.lock().names.get_mut(name) {
            known.until = 0;
        }
    }

    /// The node that a name was last known to stand for.
    pub fn named(&self, name: &[u8]) -> Option<u64> {
        self.state.lock().names.get(name)?.inode.as_ref().map(|inode| inode.ino)
    }

    pub fn forget_names(&self) {
        let old = std::mem::take(&mut self.state.lock().names);
        drop(old);
    }

    /// EIO for nodes that the server has made something else of; EACCES for callers that the mounter keeps out.
    pub fn usable(&self, io: &Io<'_>) -> Op<()> {
        if self.state.lock().bad {
            return fail(Errno::EIO);
        }
        self.conn.admits(&io.cred)
    }

    /// Takes attributes over, where nothing newer is known, and lets go of contents that they belie.
    fn merge(&self, attr: Attr, until: Nanos, unique: u64) -> Attr {
        let (new, stale, resized) = {
            let mut state = self.state.lock();
            let old = state.attr;
            let mut new = attr;
            let regular = self.kind == FileType::Regular;
            // With a write-back cache size and times are the kernel's.
            let own = regular && self.conn.has(FUSE_WRITEBACK_CACHE);
            let late = unique < state.changed;
            if own || late {
                (new.size, new.mtime, new.ctime) = (old.size, old.mtime, old.ctime);
            }
            state.attr = new;
            state.until = if late { 0 } else { until };
            let resized = regular && new.size != old.size && !self.conn.has(FUSE_EXPLICIT_INVAL_DATA);
            let moved = new.mtime != old.mtime || new.size != old.size;
            (new, resized || regular && moved && self.conn.has(FUSE_AUTO_INVAL_DATA), resized)
        };
        if resized {
            self.resized(new.size);
        }
        if stale {
            self.drop_pages(0, None);
        }
        new
    }

    /// Takes attributes over that an answer brought.
    fn set_known(&self, attr: Attr, until: Nanos, unique: u64) -> Result<Attr, Errno> {
        let attr = self.conn.owned(attr);
        if attr.kind != self.kind {
            self.make_bad();
            return Err(Errno::EIO);
        }
        Ok(self.merge(attr, until, unique))
    }

    /// Reads a `fuse_attr_out`.
    pub(super) fn take_attr(&self, reply: &[u8], unique: u64) -> Result<Attr, Errno> {
        let mut from = In(reply);
        let (sec, nsec, _) = (from.u64()?, from.u32()?, from.u32()?);
        let attr = WireAttr::read(&mut from)?.attr;
        self.set_known(attr, until(monotonic(), sec, nsec), unique)
    }

    /// The attributes, from the server where what is known is too old.
    pub fn attr(self: &Arc<Self>, io: &mut Io<'_>) -> Op<Attr> {
        let known = {
            let state = self.state.lock();
            (state.until > monotonic()).then_some(state.attr)
        };
        // The kernel's own work asks nobody.
        if io.waits().is_none() {
            return Ok(known.unwrap_or(self.state.lock().attr));
        }
        self.usable(io)?;
        match known {
            Some(attr) => Ok(attr),
            None => self.ask_attr(io),
        }
    }

    fn ask_attr(self: &Arc<Self>, io: &mut Io<'_>) -> Op<Attr> {
        let args = Out::default().u32(0).u32(0).u64(0);
        self.conn.ask_plainly(io, FUSE_GETATTR, self.id, args, ATTR_OUT..=ATTR_OUT, |request, answer| {
            self.take_attr(&answer?, request.unique)
        })
    }

    /// chmod(2) of the kernel's own.
    pub fn set_mode(self: &Arc<Self>, io: &mut Io<'_>, perm: u32) -> Op<()> {
        let mode = self.kind.mode_bits() | perm;
        let args = Out::default().u32(FATTR_MODE).bytes(&[0; 64]).u32(mode).bytes(&[0; 16]);
        self.conn.ask_plainly(io, FUSE_SETATTR, self.id, args, ATTR_OUT..=ATTR_OUT, |request, answer| {
            self.take_attr(&answer?, request.unique).map(|_| ())
        })
    }

    /// The size as it is known now.
    pub fn size(&self) -> u64 {
        self.state.lock().attr.size
    }

    /// truncate(2) was done.
    pub fn set_size(&self, size: u64) {
        let now = self.conn.next_unique();
        {
            let mut state = self.state.lock();
            (state.attr.size, state.changed) = (size, now);
        }
        self.resized(size);
    }

    /// The kernel's own write has reached so far.
    pub fn grown_to(&self, end: u64) {
        let now = self.conn.next_unique();
        let mut state = self.state.lock();
        state.changed = now;
        if end > state.attr.size {
            state.attr.size = end;
        }
    }
}

impl Conn {
    /// The root, as long as it is mounted anywhere.
    pub fn root(&self) -> Op<Arc<Inode>> {
        let root = self.nodes.lock().get(&FUSE_ROOT_ID).and_then(Weak::upgrade).ok_or(Errno::EINVAL)?;
        Ok(root.inode()?)
    }

    /// Attributes with the kernel's own numbers for users and groups.
    fn owned(&self, attr: Attr) -> Attr {
        if self.user_ns.parent.is_none() {
            return attr;
        }
        let uid = self.user_ns.uid_from(attr.uid).unwrap_or(u32::MAX);
        let gid = self.user_ns.gid_from(attr.gid).unwrap_or(u32::MAX);
        Attr { uid, gid, ..attr }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        {
            let mut nodes = self.conn.nodes.lock();
            if nodes.get(&self.id).is_some_and(|node| node.strong_count() == 0) {
                nodes.remove(&self.id);
            }
        }
        let lookups = self.state.get_mut().lookups;
        self.conn.forget(self.id, lookups);
    }
}
