//! Inodes and the file systems that own them. inode(7).

use super::lease::Leases;
use super::{Attr, Dentry, FileSystemOps, FileType, Handles, InodeLocks, InodeOps, TaskLock, Watches};
use crate::cred::{Cap, Cred, UserNs};
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::Op;
use lock::Mutex;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// A mounted file system: one super block.
pub struct FileSystem {
    /// st_dev: an anonymous device number, major 0.
    pub dev: u64,
    pub ops: Box<dyn FileSystemOps>,
    /// One rename between folders at a time, so that no cycles arise.
    pub rename_lock: TaskLock,
    /// The super block is read-only, for all of its mounts.
    pub read_only: AtomicBool,
    /// The user namespace that it was mounted in; none for the initial one.
    owner: OnceLock<Arc<UserNs>>,
    /// Open files that may write, through any mount.
    pub(super) writers: AtomicU32,
    /// How many mounts show it.
    pub(super) mounts: AtomicU32,
    pub(super) handles: Handles,
    /// The dentry of its root, as long as it is mounted anywhere: all mounts of it show the same tree.
    root: Mutex<Weak<Dentry>, Leaf>,
}

static NEXT_MINOR: AtomicU32 = AtomicU32::new(1);

impl FileSystem {
    pub fn new(ops: Box<dyn FileSystemOps>) -> Arc<FileSystem> {
        let dev = abi::fs::makedev(0, NEXT_MINOR.fetch_add(1, Ordering::Relaxed));
        Arc::new(FileSystem {
            dev,
            ops,
            rename_lock: TaskLock::new(),
            read_only: false.into(),
            owner: OnceLock::new(),
            writers: AtomicU32::new(0),
            mounts: AtomicU32::new(0),
            handles: Handles::default(),
            root: Mutex::new(Weak::new()),
        })
    }

    /// The type as /proc/mounts shows it, with the subtype: `fuse.sshfs`.
    pub fn type_name(&self) -> String {
        let name = self.ops.name();
        self.ops.subtype().map_or_else(|| name.to_owned(), |subtype| format!("{name}.{subtype}"))
    }

    /// Tells whose it is, once.
    pub(super) fn set_owner(&self, owner: &Arc<UserNs>) {
        if owner.parent.is_some() {
            let _ = self.owner.set(owner.clone());
        }
    }

    /// Whether `cred` may change the file system itself: CAP_SYS_ADMIN where it was mounted.
    pub fn administered_by(&self, cred: &Cred) -> bool {
        match self.owner.get() {
            Some(owner) => cred.has_in(owner, Cap::SysAdmin),
            None => cred.has(Cap::SysAdmin),
        }
    }

    /// The dentry of the root inode, one for all mounts.
    pub fn root_dentry(&self, root: &Arc<Inode>) -> Arc<Dentry> {
        let mut slot = self.root.lock();
        if let Some(dentry) = slot.upgrade() {
            return dentry;
        }
        let dentry = Dentry::root(root.clone());
        *slot = Arc::downgrade(&dentry);
        dentry
    }
}

/// An inode: the object that names lead to. A file system keeps at most one per file while it is in use.
pub struct Inode {
    pub fs: Arc<FileSystem>,
    pub ino: u64,
    /// Never changes.
    pub kind: FileType,
    pub ops: Box<dyn InodeOps>,
    rare: OnceLock<Box<Rare>>,
    /// Open file descriptions of it, O_PATH ones apart: the last one's end tells inotify of an unlinked file's.
    pub open_files: AtomicU32,
    /// Open file descriptions of a regular file that may write, and processes whose program it is: `busy` keeps them apart.
    pub(super) writing: AtomicU32,
    pub(super) executing: AtomicU32,
    /// Made by O_TMPFILE without O_EXCL: it may get a name though it has none.
    pub linkable: AtomicBool,
}

/// What most inodes do without.
#[derive(Default)]
struct Rare {
    locks: OnceLock<Arc<InodeLocks>>,
    watches: OnceLock<Arc<Watches>>,
    leases: OnceLock<Box<Leases>>,
    fifo: OnceLock<Arc<dyn Any + Send + Sync>>,
    bound: Mutex<Option<Weak<dyn Any + Send + Sync>>, Leaf>,
}

impl Inode {
    pub fn new(fs: &Arc<FileSystem>, ino: u64, kind: FileType, ops: Box<dyn InodeOps>) -> Arc<Inode> {
        Arc::new(Inode {
            fs: fs.clone(),
            ino,
            kind,
            ops,
            rare: OnceLock::new(),
            open_files: AtomicU32::new(0),
            writing: AtomicU32::new(0),
            executing: AtomicU32::new(0),
            linkable: AtomicBool::new(false),
        })
    }

    pub fn attr(&self, io: &mut Io<'_>) -> Op<Attr> {
        self.ops.attr(io)
    }

    /// The file system's own type of this inode, where it is one of `T`'s.
    pub fn ops_as<T: InodeOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref::<T>()
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Default::default)
    }

    /// Record locks and flocks, made when first asked for.
    pub fn locks(&self) -> &Arc<InodeLocks> {
        self.rare().locks.get_or_init(Default::default)
    }

    /// As `locks`, where there ever were any.
    pub fn locks_if_any(&self) -> Option<&Arc<InodeLocks>> {
        self.rare.get()?.locks.get()
    }

    /// inotify's watches, made when first asked for.
    pub fn watches(&self) -> &Arc<Watches> {
        self.rare().watches.get_or_init(Default::default)
    }

    /// As `watches`, where there ever were any.
    pub fn watches_if_any(&self) -> Option<&Arc<Watches>> {
        self.rare.get()?.watches.get()
    }

    /// fcntl(2)'s leases, made when first asked for.
    pub fn leases(&self) -> &Leases {
        self.rare().leases.get_or_init(Default::default)
    }

    /// As `leases`, where there ever were any.
    pub fn leases_if_any(&self) -> Option<&Leases> {
        self.rare.get()?.leases.get().map(|l| &**l)
    }

    /// The pipe behind a FIFO, made by `make` when first opened (`ipc::pipe` knows its type).
    pub fn fifo(&self, make: impl FnOnce() -> Arc<dyn Any + Send + Sync>) -> Arc<dyn Any + Send + Sync> {
        self.rare().fifo.get_or_init(make).clone()
    }

    /// The unix socket that is bound to this inode, if it lives (`network::unix` knows its type).
    pub fn bound_socket(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.rare.get()?.bound.lock().as_ref().and_then(Weak::upgrade)
    }

    /// Whether something would be lost with this inode that its file system does not keep: a socket that listens here, a FIFO's pipe.
    pub(super) fn has_own_state(&self) -> bool {
        let Some(rare) = self.rare.get() else { return false };
        rare.fifo.get().is_some() || rare.bound.lock().as_ref().is_some_and(|socket| socket.strong_count() > 0)
    }

    /// Binds a unix socket to this inode.
    pub fn bind_socket(&self, socket: Weak<dyn Any + Send + Sync>) {
        *self.rare().bound.lock() = Some(socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are two for each cached name where an overlay lies over another file system.
    #[test]
    fn it_stays_small() {
        assert!(size_of::<Inode>() <= 72, "{}", size_of::<Inode>());
    }
}
