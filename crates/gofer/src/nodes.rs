//! What the kernel process holds handles of: O_PATH descriptors, in one table.
//!
//! Lock: `Nodes::table`, a leaf; not held over a host call.

use abi::Errno;
use fsproto::{Attr, Handle};
use host::HostFd;
use host::file;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Descriptors that stay free for opening files, listing folders, sockets.
const SPARE_DESCRIPTORS: u64 = 128;

/// A file or folder.
#[derive(Debug)]
pub struct Node {
    /// Open as O_PATH.
    pub fd: Arc<HostFd>,
    /// Below a mount that takes no changes.
    pub readonly: bool,
    /// S_IFMT's part of its mode; never changes.
    pub kind: u32,
    /// The host file system that it is on.
    pub dev: u64,
    /// The root of one of the host kernel's own file systems (/proc, /sys): shows as an empty folder.
    pub sealed: bool,
}

/// All handles of one gofer.
pub struct Nodes {
    table: RwLock<HashMap<u64, Arc<Node>>>,
    next: AtomicU64,
    limit: usize,
    /// statfs' magic by device number.
    magics: RwLock<HashMap<u64, u64>>,
}

impl Nodes {
    /// `descriptors`: how many this process may have.
    pub fn new(descriptors: u64) -> Nodes {
        let limit = usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX);
        Nodes { table: RwLock::default(), next: AtomicU64::new(1), limit, magics: RwLock::default() }
    }

    /// EBADF for a number that was never given out or is forgotten.
    pub fn get(&self, handle: Handle) -> Result<Arc<Node>, Errno> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    /// A new handle. ENFILE where there are as many as descriptors allow: the kernel process then forgets some and asks again.
    pub fn add(&self, node: Node) -> Result<Handle, Errno> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= self.limit {
            return Err(Errno::ENFILE);
        }
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        table.insert(handle, Arc::new(node));
        Ok(Handle(handle))
    }

    /// Drops handles; unknown ones are no error, since nothing hangs on them.
    pub fn forget(&self, handles: &[Handle]) {
        let mut gone = Vec::with_capacity(handles.len());
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        gone.extend(handles.iter().filter_map(|handle| table.remove(&handle.0)));
        drop(table);
        // Descriptors are closed here, after the lock.
        drop(gone);
    }

    /// A node and its attributes for what was opened as O_PATH below `parent`.
    pub fn describe(&self, fd: Arc<HostFd>, parent: Option<&Node>, readonly: bool) -> Result<(Node, Attr), Errno> {
        let attr = self.attr(&fd)?;
        let crosses = parent.is_none_or(|parent| parent.dev != attr.dev);
        let sealed = parent.is_some() && crosses && is_kernel_interface(attr.magic);
        Ok((Node { fd, readonly, kind: attr.kind(), dev: attr.dev, sealed }, attr))
    }

    pub fn attr(&self, fd: &HostFd) -> Result<Attr, Errno> {
        let stat = file::stat(fd)?;
        let dev = file::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Ok(Attr::from_statx(&stat, self.magic(dev, fd)?))
    }

    /// The magic number of the file system `dev`, to which `fd` belongs.
    pub fn magic(&self, dev: u64, fd: &HostFd) -> Result<u64, Errno> {
        if let Some(magic) = self.known_magic(dev) {
            return Ok(magic);
        }
        let magic = file::statfs(fd)?.f_type as u64;
        self.magics.write().unwrap_or_else(PoisonError::into_inner).insert(dev, magic);
        Ok(magic)
    }

    pub fn known_magic(&self, dev: u64) -> Option<u64> {
        self.magics.read().unwrap_or_else(PoisonError::into_inner).get(&dev).copied()
    }
}

impl Node {
    pub fn is_dir(&self) -> bool {
        self.kind == 0o040_000
    }

    /// EROFS on what takes no changes.
    pub fn changeable(&self) -> Result<(), Errno> {
        if self.readonly || self.sealed { Err(Errno::EROFS) } else { Ok(()) }
    }
}

/// File systems by which the host's kernel is looked at and steered, statfs(2). Nothing below their mount points is served: a container brings its own.
pub fn is_kernel_interface(magic: u64) -> bool {
    matches!(
        magic,
        0x9fa0 // proc
            | 0x6265_6572 // sysfs
            | 0x0027_e0eb // cgroup
            | 0x6367_7270 // cgroup2
            | 0x6462_6720 // debugfs
            | 0x7472_6163 // tracefs
            | 0x7363_6673 // securityfs
            | 0xcafe_4a11 // bpf
            | 0x6265_6570 // configfs
            | 0x1cd1 // devpts
            | 0x1980_0202 // mqueue
            | 0x6165_676c // pstore
            | 0xde5e_81e4 // efivarfs
            | 0xf97c_ff8c // selinuxfs
            | 0x6e73_6673 // nsfs
            | 0x4249_4e4d // binfmt_misc
            | 0x6573_5543 // fusectl
            | 0x0187 // autofs
            | 0x9584_58f6 // hugetlbfs
    )
}
