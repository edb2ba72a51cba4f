//! One file or folder of the overlay: its place, its upper inode, its lower ones.
//!
//! The upper inode comes once, by copying up, and stays; the lower ones never change. A node outlives its inode where nodes below need its place.

use super::{Overlay, ops};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::io::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, fail};
use kernel::vfs::{Attr, DirOps, FileOps, FileType, Inode, InodeOps, Link, SetAttr, XattrOps, open_device};
use lock::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

pub(crate) struct Node {
    pub overlay: Arc<Overlay>,
    pub kind: FileType,
    pub ino: u64,
    pub upper: OnceLock<Arc<Inode>>,
    /// Of a folder, what is merged, topmost first; of a file at most one, and none where it was born in the upper layer.
    pub lower: Arc<[Arc<Inode>]>,
    place: Mutex<Place, Leaf>,
    /// Names that came (or went) since, for files with several names in the lower layer.
    pub links: AtomicI32,
    /// Of a folder: grows when a change of names begins, and when it ends.
    changes: AtomicU32,
    changing: Mutex<Option<Box<Changing>>, Leaf>,
}

#[derive(Default)]
struct Changing {
    /// Names that change: whiteouts come and go, and the lower layer must not be seen meanwhile.
    names: Vec<Box<[u8]>>,
    /// The name that was last looked for in the lower layers, and whether they show it.
    below: Option<(Box<[u8]>, bool)>,
}

/// A change of a name is under way, as long as this lives.
pub(crate) struct Hidden<'a>(&'a Node, Box<[u8]>);

#[derive(Default)]
struct Place {
    inode: Weak<Inode>,
    /// None for the root, and for what lost its name.
    at: Option<(Arc<Node>, Box<[u8]>)>,
}

/// The inode's side of a node.
pub(crate) struct NodeOps(pub Arc<Node>);

impl Node {
    /// The node of these layers' inodes; the one that is there, if any. `at` is where they were found.
    pub fn find(
        overlay: &Arc<Overlay>,
        upper: Option<Arc<Inode>>,
        lower: Arc<[Arc<Inode>]>,
        at: Option<(Arc<Node>, Box<[u8]>)>,
    ) -> Op<Arc<Node>> {
        let Some(first) = upper.as_ref().or(lower.first()) else { return fail(Errno::ENOENT) };
        let (kind, key) = (first.kind, address(first));
        let ino = match (&upper, lower.first()) {
            (Some(upper), _) => overlay.upper_number(upper.ino),
            (None, lower) => lower.map_or(0, |lower| lower.ino),
        };
        let mut nodes = overlay.nodes.lock();
        let known = nodes.get(&key).and_then(Weak::upgrade);
        if let Some(node) = known {
            drop(nodes);
            // Another name of the file serves as well as the one before.
            if kind != FileType::Dir || node.place().is_none() {
                node.set_place(at);
            }
            return Ok(node);
        }
        let links = AtomicI32::new(0);
        let cell = OnceLock::new();
        if let Some(upper) = upper {
            let _ = cell.set(upper);
        }
        let place = Mutex::new(Place { inode: Weak::new(), at });
        let node = Node {
            overlay: overlay.clone(),
            kind,
            ino,
            upper: cell,
            lower,
            place,
            links,
            changes: AtomicU32::new(0),
            changing: Mutex::default(),
        };
        let node = Arc::new(node);
        nodes.insert(key, Arc::downgrade(&node));
        Ok(node)
    }

    /// A node that lives already, by one of its layers' inodes.
    pub fn known(overlay: &Overlay, layer: &Arc<Inode>) -> Option<Arc<Node>> {
        overlay.nodes.lock().get(&address(layer)).and_then(Weak::upgrade)
    }

    /// It was copied up: it is found by its upper inode from now on, too.
    pub fn register(self: &Arc<Self>, upper: &Arc<Inode>) {
        self.overlay.origins.lock().insert(upper.ino, self.ino);
        self.overlay.nodes.lock().insert(address(upper), Arc::downgrade(self));
    }

    pub fn inode(self: &Arc<Self>) -> Op<Arc<Inode>> {
        let Some(fs) = self.overlay.fs.get().and_then(Weak::upgrade) else { return fail(Errno::EIO) };
        let mut place = self.place.lock();
        if let Some(inode) = place.inode.upgrade() {
            return Ok(inode);
        }
        let inode = Inode::new(&fs, self.ino, self.kind, Box::new(NodeOps(self.clone())));
        place.inode = Arc::downgrade(&inode);
        Ok(inode)
    }

    /// The inode that counts: the upper one where there is one.
    pub fn real(&self) -> Op<&Arc<Inode>> {
        match self.upper.get().or_else(|| self.lower.first()) {
            Some(inode) => Ok(inode),
            None => fail(Errno::EIO),
        }
    }

    /// Whether it is a folder of several parts.
    fn is_merged(&self) -> bool {
        self.kind == FileType::Dir && self.lower.len() + usize::from(self.upper.get().is_some()) > 1
    }

    /// A name of this folder begins to change: until the end only the upper layer tells what it is.
    pub fn hide(&self, name: &[u8]) -> Hidden<'_> {
        self.changing.lock().get_or_insert_default().names.push(name.into());
        self.changes.fetch_add(1, Ordering::SeqCst);
        Hidden(self, name.into())
    }

    /// How often names changed, and whether this one does now. A lookup is good if both are the same afterwards.
    pub fn hidden(&self, name: &[u8]) -> (u32, bool) {
        let changes = self.changes.load(Ordering::SeqCst);
        let changing = self.changing.lock();
        (changes, changing.as_ref().is_some_and(|changing| changing.names.iter().any(|n| **n == *name)))
    }

    /// What was found out last of the lower layers, if it was about this name.
    pub fn known_below(&self, name: &[u8]) -> Option<bool> {
        self.changing.lock().as_ref()?.below.as_ref().filter(|(known, _)| **known == *name).map(|(_, below)| *below)
    }

    pub fn set_below(&self, name: &[u8], below: bool) {
        self.changing.lock().get_or_insert_default().below = Some((name.into(), below));
    }

    pub fn place(&self) -> Option<(Arc<Node>, Box<[u8]>)> {
        self.place.lock().at.clone()
    }

    pub fn set_place(&self, at: Option<(Arc<Node>, Box<[u8]>)>) {
        let old = std::mem::replace(&mut self.place.lock().at, at);
        drop(old);
    }

    /// The node behind an inode of an overlay.
    pub fn of(inode: &Inode) -> Op<Arc<Node>> {
        match inode.ops_as::<NodeOps>() {
            Some(ops) => Ok(ops.0.clone()),
            None => fail(Errno::EXDEV),
        }
    }

    pub fn attr(&self, io: &mut Io<'_>) -> Op<Attr> {
        let mut attr = self.real()?.attr(io)?;
        attr.ino = self.ino;
        if self.is_merged() {
            // As Linux: a merged folder does not say how many it has.
            attr.nlink = attr.nlink.min(1);
        } else if let Some(lower) = self.lower.first().filter(|_| self.kind != FileType::Dir) {
            let links = self.links.load(Ordering::Relaxed);
            if links != 0 || self.upper.get().is_some() {
                let below = if self.upper.get().is_some() { lower.attr(io)?.nlink } else { attr.nlink };
                attr.nlink = u32::try_from(i64::from(below).saturating_add(links.into())).unwrap_or(0);
            }
        }
        Ok(attr)
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        {
            let mut changing = self.0.changing.lock();
            let names = &mut changing.get_or_insert_default().names;
            if let Some(at) = names.iter().position(|name| *name == self.1) {
                names.swap_remove(at);
            }
        }
        self.0.changes.fetch_add(1, Ordering::SeqCst);
    }
}

fn address(inode: &Arc<Inode>) -> usize {
    Arc::as_ptr(inode) as usize
}

impl Drop for Node {
    fn drop(&mut self) {
        {
            let mut nodes = self.overlay.nodes.lock();
            for layer in self.upper.get().into_iter().chain(self.lower.iter()) {
                let key = address(layer);
                if nodes.get(&key).is_some_and(|node| node.strong_count() == 0) {
                    nodes.remove(&key);
                }
            }
        }
        // The folders above go one by one, not each in the drop of the one below: a guest can nest them deeper than a stack.
        let mut above = self.place.get_mut().at.take();
        while let Some((parent, _)) = above {
            above = Arc::into_inner(parent).and_then(|mut parent| parent.place.get_mut().at.take());
        }
    }
}

impl InodeOps for NodeOps {
    fn attr(&self, io: &mut Io<'_>) -> Op<Attr> {
        self.0.attr(io)
    }

    fn set_attr(&self, io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        // What is cut to nothing needs no contents.
        let upper = self.0.copy_up(io, change.size != Some(0))?;
        ops(&upper).set_attr(io, change)
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        let node = &self.0;
        match node.kind {
            FileType::Dir => return Ok(super::listing::open(node)),
            FileType::Char | FileType::Block => {
                let rdev = node.attr(io)?.rdev;
                return open_device(io, inode, node.kind, rdev, flags);
            }
            _ => {}
        }
        if flags.writable() {
            node.copy_up(io, true)?;
        }
        match node.upper.get() {
            Some(upper) => ops(upper).open(io, upper, flags),
            None => super::file::open(io, node, flags),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        if self.0.kind == FileType::Dir { Some(self) } else { None }
    }

    fn read_link(&self, io: &mut Io<'_>) -> Op<Link> {
        ops(self.0.real()?).read_link(io)
    }

    fn xattr(&self) -> Option<&dyn XattrOps> {
        Some(self)
    }

    fn accessed(&self, io: &mut Io<'_>, strict: bool) {
        // A lower file keeps its times: nothing is copied up for having been read.
        if let Some(upper) = self.0.upper.get() {
            ops(upper).accessed(io, strict);
        }
    }
}
