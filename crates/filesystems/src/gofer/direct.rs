//! Files below a folder that the gofer gave away (directfs): looked up, opened and listed by this process itself, without a trip.
//!
//! What this process may not do, or cannot tell, is left to the gofer, of which this is a mere short cut: `None` always means "ask". That is whatever
//! fails but for a name that is not there; files of owners that have no name in this process' user namespace; what lies on other file systems.
//! Everything goes by the path below the donated folder, so that nothing is held open but what a guest has open. A folder that is moved meanwhile would make
//! a path mean something else: `moves` tells. Neighbours: `node`, `dir`, `file`, `listing`; `host::beneath` for what bounds it.

use super::Shared;
use super::node::{Access, Key, Node};
use abi::Errno;
use fsproto::{Attr, Bytes, Donation};
use host::file::{self, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR, O_WRONLY};
use host::{HostFd, beneath};
use kernel::block_in_place;
use kernel::vfs::FileType;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest path that is tried; a host call takes no longer one.
const MAX_PATH: usize = 4000;

/// A donated folder.
pub(crate) struct Direct {
    root: Arc<HostFd>,
    covered: HashSet<Key>,
    /// Owners are told here as well as by the gofer.
    same_ids: bool,
    /// The host cannot be asked for what is cached alone.
    sleeps: AtomicBool,
    /// Folders that were about to be moved or removed, and those of which that is over.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What is below a folder, by its name.
pub(crate) enum Found {
    Absent,
    Here(Attr, Option<Bytes>),
}

impl Direct {
    pub fn new(donation: Donation) -> Direct {
        Direct {
            root: donation.root,
            covered: donation.covered.into_iter().collect(),
            same_ids: donation.same_ids,
            sleeps: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// How many moves there were; `None` while one is under way.
    fn moves(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    /// Opens a path, from the host's cache where that will do.
    fn open(&self, path: &[u8], flags: i32) -> Result<HostFd, Errno> {
        if !self.sleeps.load(Ordering::Relaxed) {
            match beneath::open(&self.root, path, flags, true) {
                // Before Linux 5.12.
                Err(Errno::EINVAL) => self.sleeps.store(true, Ordering::Relaxed),
                Err(Errno::EAGAIN) => {}
                answer => return answer.map(HostFd::from),
            }
        }
        block_in_place(|| beneath::open(&self.root, path, flags, false)).map(HostFd::from)
    }

    /// Attributes, where this process can tell them all.
    fn attr(&self, fd: &HostFd, root: Key, magic: u64) -> Option<Attr> {
        let attr = Attr::from_statx(&file::stat(fd).ok()?, magic);
        // Ids but 0 have no names here; another file system may be of another kind.
        let known = (self.same_ids || attr.uid == 0 && attr.gid == 0) && attr.dev == root.0;
        (known && !self.covered.contains(&(attr.dev, attr.ino))).then_some(attr)
    }
}

/// Folders are moved or removed as long as this lives.
pub(crate) struct Moving<'a>(Option<&'a Direct>);

impl Shared {
    /// What is about to get another place, or none.
    pub fn moving<'n>(&self, mut nodes: impl Iterator<Item = &'n Arc<Node>>) -> Moving<'_> {
        let direct = self.direct().filter(|_| nodes.any(|node| node.kind == FileType::Dir));
        if let Some(direct) = direct {
            direct.begun.fetch_add(1, Ordering::SeqCst);
        }
        Moving(direct)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if let Some(direct) = self.0 {
            direct.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Node {
    /// Where the node, or a name in it, is below the donated folder. `None` where that is not known, or something is mounted on the way.
    fn path(self: &Arc<Self>, name: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut length = name.map_or(0, <[u8]>::len);
        let mut at = self.clone();
        while !at.is_root() {
            let (parent, name) = {
                let state = at.state.lock();
                if state.attr().is_mount_root() {
                    return None;
                }
                state.place.clone()?
            };
            length += name.len() + 1;
            if length > MAX_PATH {
                return None;
            }
            names.push(name);
            at = parent;
        }
        let mut path = Vec::with_capacity(length + 2);
        for name in names.iter().rev().map(|name| &**name).chain(name) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'.');
        }
        Some(path)
    }

    /// The gofer knows more than this process of the files in this folder: they, or mostly they if the folder does, belong to others.
    fn is_foreign(&self, direct: &Direct) -> bool {
        let state = self.state.lock();
        state.is_foreign() || !direct.same_ids && (state.attr().uid != 0 || state.attr().gid != 0)
    }

    /// What a name in this folder is.
    pub fn find_directly(self: &Arc<Self>, name: &[u8]) -> Option<Found> {
        let direct = self.shared.direct()?;
        if self.is_foreign(direct) {
            return None;
        }
        let moves = direct.moves()?;
        let found = match direct.open(&self.path(Some(name))?, O_PATH) {
            Err(Errno::ENOENT) => Found::Absent,
            Err(_) => return None,
            Ok(fd) => {
                let root = self.shared.root()?;
                let Some(attr) = direct.attr(&fd, root.key, root.last_attr().magic) else {
                    // Most likely its neighbours are somebody else's as well.
                    self.state.lock().set_foreign();
                    return None;
                };
                let target = if attr.is_symlink() { Some(file::read_link(&fd).ok()?.into()) } else { None };
                Found::Here(attr, target)
            }
        };
        (direct.moves() == Some(moves)).then_some(found)
    }

    /// The node's attributes as they are now.
    pub fn attr_directly(self: &Arc<Self>) -> Option<Attr> {
        let direct = self.shared.direct()?;
        let fd = direct.open(&self.path(None)?, O_PATH).ok()?;
        let root = self.shared.root()?;
        let attr = direct.attr(&fd, root.key, root.last_attr().magic)?;
        ((attr.dev, attr.ino) == self.key && attr.kind() == self.kind.mode_bits()).then_some(attr)
    }

    /// A descriptor of this regular file.
    pub fn open_directly(self: &Arc<Self>, access: Access) -> Option<Arc<HostFd>> {
        let flags = match access {
            Access::Read => O_RDONLY,
            Access::Write => O_WRONLY,
            Access::Both => O_RDWR,
        };
        self.open_same(flags, 0o100_000)
    }

    /// A descriptor to list this folder by.
    pub fn open_dir_directly(self: &Arc<Self>) -> Option<Arc<HostFd>> {
        // The names in it are looked up by the gofer, whose listing has their attributes.
        if self.is_foreign(self.shared.direct()?) {
            return None;
        }
        self.open_same(O_RDONLY | O_DIRECTORY, 0o040_000)
    }

    /// Whatever the path led to meanwhile, only the node's own file counts.
    fn open_same(self: &Arc<Self>, flags: i32, kind: u32) -> Option<Arc<HostFd>> {
        let direct = self.shared.direct()?;
        if self.kind.mode_bits() != kind {
            return None;
        }
        let fd = direct.open(&self.path(None)?, flags).ok()?;
        let attr = Attr::from_statx(&file::stat(&fd).ok()?, 0);
        ((attr.dev, attr.ino) == self.key && attr.kind() == kind).then(|| Arc::new(fd))
    }
}
