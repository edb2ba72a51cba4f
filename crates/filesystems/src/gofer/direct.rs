//! Files below a folder that the gofer gave away (directfs): looked up, opened and listed by this process itself, without a trip.
//!
//! What this process may not do, or cannot tell, is left to the gofer, of which this is a mere short cut: `None` always means "ask". That is whatever
//! fails but for a name that is not there; files of owners that have no name in this process' user namespace; what lies on other file systems.
//! A name is reached by its folder, of which the last few stay open, and a folder by its path below the donated one where the folder above is not open. A folder
//! that is moved meanwhile would make a path mean something else: `moves` tells. Neighbours: `node`, `dir`, `file`, `listing`; `host::beneath` for what bounds it.
//!
//! Lock: the leaf `Direct::folders`, held over nothing.

use super::Shared;
use super::node::{Access, Key, Node};
use crate::hostio::{Patience, is_local};
use abi::Errno;
use fsproto::{Attr, Bytes, Donation};
use host::file::{self, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR, O_WRONLY, Statx};
use host::{HostFd, beneath};
use kernel::block_in_place;
use kernel::locks::Leaf;
use kernel::vfs::FileType;
use lock::Mutex;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest path that is tried; a host call takes no longer one.
const MAX_PATH: usize = 4000;
/// Folders that stay open.
const FOLDERS: usize = 32;

/// A donated folder.
pub(crate) struct Direct {
    root: Arc<HostFd>,
    covered: HashSet<Key>,
    /// Owners are told here as well as by the gofer.
    same_ids: bool,
    /// The host cannot be asked to open what is cached alone.
    sleeps: AtomicBool,
    /// On a disk of the host's.
    local: bool,
    patience: Patience,
    /// Folders that names were asked of last, the newest behind.
    folders: Mutex<VecDeque<(Key, Arc<HostFd>)>, Leaf>,
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
    pub fn new(donation: Donation, magic: u64) -> Direct {
        Direct {
            root: donation.root,
            covered: donation.covered.into_iter().collect(),
            same_ids: donation.same_ids,
            sleeps: AtomicBool::new(false),
            local: is_local(magic),
            patience: Patience::default(),
            folders: Mutex::new(VecDeque::new()),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// How many moves there were; `None` while one is under way.
    fn moves(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    /// Opens a path below a folder, from the host's cache where that will do.
    fn open(&self, from: &HostFd, path: &[u8], flags: i32) -> Result<HostFd, Errno> {
        if !self.sleeps.load(Ordering::Relaxed) {
            match beneath::open(from, path, flags, true) {
                // Before Linux 5.12.
                Err(Errno::EINVAL) => self.sleeps.store(true, Ordering::Relaxed),
                Err(Errno::EAGAIN) => {}
                answer => return answer.map(HostFd::from),
            }
        }
        block_in_place(|| beneath::open(from, path, flags, false)).map(HostFd::from)
    }

    /// A call that mostly does not sleep.
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        if self.local { self.patience.call(call) } else { block_in_place(call) }
    }

    /// Attributes, where this process can tell them all.
    fn attr(&self, stat: &Statx, shared: &Shared) -> Option<Attr> {
        let attr = Attr::from_statx(stat, shared.root_magic);
        // Ids but 0 have no names here; another file system may be of another kind.
        let known = (self.same_ids || attr.uid == 0 && attr.gid == 0) && attr.dev == shared.root_dev;
        (known && !self.covered.contains(&(attr.dev, attr.ino))).then_some(attr)
    }

    /// The target of what a name was found to be, if it still is.
    fn link(&self, dir: &HostFd, name: &[u8], key: Key) -> Option<Bytes> {
        let fd = self.open(dir, name, O_PATH).ok()?;
        let attr = Attr::from_statx(&file::stat(&fd).ok()?, 0);
        if (attr.dev, attr.ino) != key {
            return None;
        }
        Some(file::read_link(&fd).ok()?.into())
    }

    fn kept(&self, key: Key) -> Option<Arc<HostFd>> {
        self.folders.lock().iter().rev().find(|(of, _)| *of == key).map(|(_, fd)| fd.clone())
    }

    fn keep(&self, key: Key, fd: &Arc<HostFd>) {
        let mut folders = self.folders.lock();
        let known = folders.iter().position(|(of, _)| *of == key);
        let old = match known {
            Some(at) => folders.remove(at),
            None if folders.len() >= FOLDERS => folders.pop_front(),
            None => None,
        };
        folders.push_back((key, fd.clone()));
        drop(folders);
        drop(old);
    }

    /// A folder is gone from the host: it must not stay because of us.
    pub fn let_go(&self, key: Key) {
        let mut folders = self.folders.lock();
        let at = folders.iter().position(|(of, _)| *of == key);
        let old = at.and_then(|at| folders.remove(at));
        drop(folders);
        drop(old);
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
    /// Where the node is below the donated folder. `None` where that is not known, or something is mounted on the way.
    fn path(self: &Arc<Self>) -> Option<Vec<u8>> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut length = 0;
        let mut at = self.clone();
        while !at.is_root() {
            let (parent, name) = {
                let state = at.state.lock();
                if state.is_mount_root() {
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
        for name in names.iter().rev() {
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
        state.is_foreign() || !direct.same_ids && state.ids() != (0, 0)
    }

    /// How the node is reached: a name in a folder that is open, or its path below the donated one.
    fn way(self: &Arc<Self>, direct: &Direct) -> Option<(Arc<HostFd>, Vec<u8>)> {
        let place = {
            let state = self.state.lock();
            if !self.is_root() && state.is_mount_root() {
                return None;
            }
            state.place.clone()
        };
        if let Some((parent, name)) = place
            && let Some(open) = direct.kept(parent.key)
        {
            return Some((open, name.into_vec()));
        }
        Some((direct.root.clone(), self.path()?))
    }

    /// The folder, open as a place to start from.
    fn folder(self: &Arc<Self>, direct: &Direct) -> Option<Arc<HostFd>> {
        if self.is_root() {
            return Some(direct.root.clone());
        }
        if let Some(open) = direct.kept(self.key) {
            return Some(open);
        }
        let fd = self.open_same(direct, O_PATH | O_DIRECTORY, 0o040_000)?;
        direct.keep(self.key, &fd);
        Some(fd)
    }

    /// What a name in this folder is.
    pub fn find_directly(self: &Arc<Self>, name: &[u8]) -> Option<Found> {
        let direct = self.shared.direct()?;
        if self.is_foreign(direct) {
            return None;
        }
        let moves = direct.moves()?;
        let dir = self.folder(direct)?;
        let found = match direct.call(|| file::stat_child(&dir, name)) {
            Err(Errno::ENOENT) => Found::Absent,
            Err(_) => return None,
            Ok(stat) => {
                let Some(attr) = direct.attr(&stat, &self.shared) else {
                    // Most likely its neighbours are somebody else's as well.
                    self.state.lock().set_foreign();
                    return None;
                };
                let target =
                    if attr.is_symlink() { Some(direct.link(&dir, name, (attr.dev, attr.ino))?) } else { None };
                Found::Here(attr, target)
            }
        };
        (direct.moves() == Some(moves)).then_some(found)
    }

    /// The node's attributes as they are now.
    pub fn attr_directly(self: &Arc<Self>) -> Option<Attr> {
        let direct = self.shared.direct()?;
        let (from, path) = self.way(direct)?;
        let fd = direct.open(&from, &path, O_PATH).ok()?;
        let attr = direct.attr(&file::stat(&fd).ok()?, &self.shared)?;
        ((attr.dev, attr.ino) == self.key && attr.kind() == self.kind.mode_bits()).then_some(attr)
    }

    /// A descriptor of this regular file.
    pub fn open_directly(self: &Arc<Self>, access: Access) -> Option<Arc<HostFd>> {
        let flags = match access {
            Access::Read => O_RDONLY,
            Access::Write => O_WRONLY,
            Access::Both => O_RDWR,
        };
        self.open_same(self.shared.direct()?, flags, 0o100_000)
    }

    /// A descriptor to list this folder by.
    pub fn open_dir_directly(self: &Arc<Self>) -> Option<Arc<HostFd>> {
        let direct = self.shared.direct()?;
        // The names in it are looked up by the gofer, whose listing has their attributes.
        if self.is_foreign(direct) {
            return None;
        }
        let fd = self.open_same(direct, O_RDONLY | O_DIRECTORY, 0o040_000)?;
        // Its names are asked for next.
        direct.keep(self.key, &fd);
        Some(fd)
    }

    /// Whatever the name led to meanwhile, only the node's own file counts.
    fn open_same(self: &Arc<Self>, direct: &Direct, flags: i32, kind: u32) -> Option<Arc<HostFd>> {
        if self.kind.mode_bits() != kind {
            return None;
        }
        let (from, path) = self.way(direct)?;
        let fd = direct.open(&from, &path, flags).ok()?;
        let stat = file::stat(&fd).ok()?;
        let attr = Attr::from_statx(&stat, 0);
        if (attr.dev, attr.ino) != self.key || attr.kind() != kind {
            return None;
        }
        self.seen(&stat);
        Some(Arc::new(fd))
    }
}
