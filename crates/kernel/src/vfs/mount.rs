//! Mounts and mount namespaces. mount_namespaces(7), mount(2).
//!
//! A mount shows a tree of dentries at a place of another mount. Locks: `MountTree`, one for all namespaces: mounts change rarely;
//! walks only take a mount's own read lock where a dentry says that something is mounted on it.

use super::{Dentry, FileSystem};
use crate::locks::MountTree;
use abi::fs::{MS_NOATIME, MS_RELATIME, MS_STRICTATIME};
use lock::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A place in the tree of files: a dentry as seen through a mount.
#[derive(Clone)]
pub struct Path {
    pub mount: Arc<Mount>,
    pub dentry: Arc<Dentry>,
}

impl Path {
    pub fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Path {
        Path { mount, dentry }
    }
    pub fn same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

/// One mount.
pub struct Mount {
    /// Mount id of /proc/PID/mountinfo.
    pub id: u64,
    pub fs: Arc<FileSystem>,
    /// What it shows at its mount point: the file system's root, or a folder or file of it (bind mounts).
    pub root: Arc<Dentry>,
    /// What mount(2) was told as source, for /proc/mounts.
    pub source: Box<[u8]>,
    /// MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, ... of this mount.
    flags: AtomicU32,
    /// Open files that may write: it can't become read-only.
    pub(super) writers: AtomicU32,
    /// 0, or after MNT_EXPIRE 1 and how often walks came to the mount since.
    pub(super) expiring: AtomicU32,
    /// Its file system counts it.
    counted: AtomicBool,
    /// Where it is mounted and what is mounted on it.
    pub tree: RwLock<MountLinks, MountTree>,
}

/// A mount's place among the others.
#[derive(Default)]
pub struct MountLinks {
    /// None for a namespace's root, and for what is not (or no more) attached.
    pub at: Option<Path>,
    /// Mounts on dentries of this mount; later ones of one dentry cover earlier ones.
    pub children: Vec<(Arc<Dentry>, Arc<Mount>)>,
    pub ns: Weak<MountNs>,
    /// It was unmounted, and will not be mounted again.
    pub gone: bool,
    /// Propagation: the peer group's id when shared, and the master's when a slave; 0 for none.
    pub peer_group: u64,
    pub master: u64,
    pub unbindable: bool,
    /// It covers what a less privileged namespace may not see: it stays where it is as long as its parent does.
    pub locked: bool,
    /// Which of MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC cannot be taken away; MS_NOATIME: the flags about times stay.
    pub locked_flags: u32,
}

/// One way to keep times of access: strictatime goes before noatime, that before relatime, which is what a mount has unless it is told otherwise.
pub(super) fn with_times(flags: u32) -> u32 {
    let ways = [MS_STRICTATIME, MS_NOATIME, MS_RELATIME];
    let way = ways.into_iter().find(|way| flags & way != 0).unwrap_or(MS_RELATIME);
    flags & !(MS_STRICTATIME | MS_NOATIME | MS_RELATIME) | way
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Mount {
    pub fn new(fs: Arc<FileSystem>, root: Arc<Dentry>, source: &[u8], flags: u32) -> Arc<Mount> {
        fs.mounts.fetch_add(1, Ordering::AcqRel);
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            fs,
            root,
            source: source.into(),
            flags: AtomicU32::new(with_times(flags)),
            writers: AtomicU32::new(0),
            expiring: AtomicU32::new(0),
            counted: AtomicBool::new(true),
            tree: RwLock::new(MountLinks::default()),
        })
    }
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }
    pub fn set_flags(&self, flags: u32) {
        self.flags.store(flags, Ordering::Relaxed);
        crate::lent::all(); // each read may count from now on
    }
    /// MS_RDONLY of the mount or of its file system.
    pub fn read_only(&self) -> bool {
        self.flags() & abi::fs::MS_RDONLY != 0 || self.fs.read_only.load(Ordering::Relaxed)
    }
    /// What is mounted on `dentry` of this mount, the topmost.
    pub fn mounted_on(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        if dentry.mounted.load(Ordering::Acquire) == 0 {
            return None;
        }
        let found =
            self.tree.read().children.iter().rev().find(|(d, _)| Arc::ptr_eq(d, dentry)).map(|(_, m)| m.clone());
        if let Some(mount) = found.as_ref().filter(|m| m.expiring.load(Ordering::Relaxed) > 0) {
            mount.expiring.fetch_add(1, Ordering::Relaxed);
        }
        found
    }
    /// For who holds no lock: what comes after the last mount of a file system is done at once.
    pub(super) fn let_go(self: Arc<Mount>) {
        if let Some(empty) = Arc::into_inner(self).and_then(|mount| mount.last_of_its_kind()) {
            crate::wait::Runnable::run(empty);
        }
    }
    /// It goes. If its file system has no other mount, what is to be done about that.
    fn last_of_its_kind(&self) -> Option<Arc<Empty>> {
        let last = self.counted.swap(false, Ordering::Relaxed) && self.fs.mounts.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then(|| Arc::new(Empty(self.root.clone(), self.fs.clone())))
    }
    /// Where this mount is attached.
    pub fn at(&self) -> Option<Path> {
        self.tree.read().at.clone()
    }
}

/// Empties the dentry cache of a file system that is mounted nowhere any more. Mostly queued, because a mount may go under any lock.
struct Empty(Arc<Dentry>, Arc<FileSystem>);

impl crate::wait::Runnable for Empty {
    fn run(self: Arc<Self>) {
        let mut top = self.0.clone();
        while let Some(parent) = top.parent() {
            top = parent;
        }
        self.1.forget_handles();
        top.shrink();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(empty) = self.last_of_its_kind() {
            crate::wait::enqueue(empty);
        }
    }
}

/// Takes apart a tree of mounts that a descriptor had for itself. Queued, because a file may go under any lock; and weak, because umount(2) of what has been mounted meanwhile counts who holds it.
struct Detached(Weak<Mount>);

impl crate::wait::Runnable for Detached {
    fn run(self: Arc<Self>) {
        super::mount_tree::release_detached(&self.0);
    }
}

/// The file of open_tree(2) and fsmount(2): an O_PATH one that a tree of mounts goes with, unless it was mounted meanwhile.
pub struct MountTreeFile(pub Arc<Mount>);

impl super::FileOps for MountTreeFile {
    fn position(&self) -> super::Position {
        super::Position::Stream
    }
    fn release(&self) {
        crate::wait::enqueue(Arc::new(Detached(Arc::downgrade(&self.0))));
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A mount namespace.
pub struct MountNs {
    pub id: u64,
    pub owner: Arc<crate::cred::UserNs>,
    root: RwLock<Option<Arc<Mount>>, crate::locks::Leaf>,
    /// Woken at every change: /proc/PID/mounts is pollable.
    pub changed: crate::wait::Queue,
    pub generation: AtomicU64,
}

impl MountNs {
    pub fn new(owner: Arc<crate::cred::UserNs>) -> Arc<MountNs> {
        Arc::new(MountNs {
            id: crate::unique_id(),
            owner,
            root: RwLock::new(None),
            changed: Default::default(),
            generation: AtomicU64::new(0),
        })
    }
    pub fn root(&self) -> Option<Arc<Mount>> {
        self.root.read().clone()
    }
    pub fn set_root(self: &Arc<Self>, mount: Arc<Mount>) {
        mount.tree.write().ns = Arc::downgrade(self);
        *self.root.write() = Some(mount);
    }
}

/// Takes the mounts of a dead namespace apart. Queued, because a namespace may die under any lock.
struct Release(Arc<Mount>);

impl crate::wait::Runnable for Release {
    fn run(self: Arc<Self>) {
        super::mount_ns::release_ns(&self.0);
    }
}

impl Drop for MountNs {
    fn drop(&mut self) {
        if let Some(root) = self.root.get_mut().take() {
            crate::wait::enqueue(Arc::new(Release(root)));
        }
    }
}
