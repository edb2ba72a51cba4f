//! tmpfs: files in memory. tmpfs(5), memfd_create(2), shmem.
//!
//! Folders, small files and links are objects of the kernel's heap; a file that grows or is mapped moves to a memfd of the host,
//! or to a file on the host's disk where the file system has one (`disk`).
//! Limits are counted per file system. Neighbours: `kernel::vfs` has made all checks; `overlay` uses one as its upper layer.
//! Locks: `InodeState`, one node at a time, and no host call that sleeps under it.

mod data;
pub(crate) mod dir;
mod disk;
mod file;
mod memfd;
mod node;
mod options;
mod xattr;

pub use disk::Disk;
use options::NO_ID;
pub use options::Options;

use abi::Errno;
use data::Data;
use kernel::Kernel;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{FileSystem, FileSystemOps, FileType, FsType, Inode, MountArgs, NewKind, NewNode, StatFs};
use node::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: u64 = 4096;
const MAGIC: u64 = 0x0102_1994;

static TYPE: FsType = FsType { name: "tmpfs", user_mountable: true, nodev: true, option: check_option, mount };

/// Makes tmpfs and memfd_create(2) known.
pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
    kernel::vfs::set_memfd_maker(memfd::make);
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let (size, inodes) = default_limits();
    let defaults = Options { size: Some(size), inodes: Some(inodes), perm: 0o1777, uid: NO_ID, gid: NO_ID };
    let mut options = defaults.parsed(args.data, kernel::memory::total())?;
    let ns = &io.cred.user_ns;
    options.uid = if options.uid == NO_ID { io.cred.fsuid } else { ns.uid_from(options.uid).ok_or(Errno::EINVAL)? };
    options.gid = if options.gid == NO_ID { io.cred.fsgid } else { ns.gid_from(options.gid).ok_or(Errno::EINVAL)? };
    Ok(make(options))
}

/// Bytes and inodes of a tmpfs that is not told otherwise.
fn default_limits() -> (u64, u64) {
    let half = kernel::memory::total() / 2;
    (half, (half / PAGE).max(1024))
}

/// Checks one mount option by itself.
pub fn check_option(option: &[u8]) -> Op<()> {
    let none = Options { size: None, inodes: None, perm: 0, uid: 0, gid: 0 };
    none.parsed(option, PAGE).map(|_| ())
}

/// A new tmpfs; its root.
pub fn make(options: Options) -> Arc<Inode> {
    make_named("tmpfs", options)
}

/// As `make`, with large files on a disk of the host.
pub fn make_on(disk: Arc<Disk>, options: Options) -> Arc<Inode> {
    made("tmpfs", options, Some(disk))
}

/// As `make`, of a type that is a tmpfs by another name (devtmpfs).
pub fn make_named(name: &'static str, options: Options) -> Arc<Inode> {
    made(name, options, None)
}

fn made(name: &'static str, options: Options, disk: Option<Arc<Disk>>) -> Arc<Inode> {
    // A disk's own size is bound enough.
    let most = if disk.is_some() { None } else { Some(kernel::memory::total() / 2) };
    let counts = Arc::new(Counts {
        disk,
        heap: AtomicU64::new(0),
        size: AtomicU64::new(options.size.or(most).unwrap_or(u64::MAX)),
        used: AtomicU64::new(0),
        inodes: AtomicU64::new(options.inodes.unwrap_or(u64::MAX)),
        inodes_used: AtomicU64::new(0),
        next_ino: AtomicU64::new(1),
        perm: options.perm,
        uid: options.uid,
        gid: options.gid,
    });
    let fs = FileSystem::new(Box::new(TmpFs { name, counts: counts.clone() }));
    let node = NewNode::plain(NewKind::Dir, options.perm, options.uid, options.gid);
    // The first inode of a file system always fits.
    counts.inodes_used.fetch_add(1, Ordering::Relaxed);
    Node::inode(&fs, &counts, &node, 0)
}

/// Limits of a file system and what of them is used.
struct Counts {
    /// Bytes for contents; `u64::MAX`: no limit.
    size: AtomicU64,
    /// Bytes in whole pages.
    used: AtomicU64,
    inodes: AtomicU64,
    inodes_used: AtomicU64,
    next_ino: AtomicU64,
    /// What the root folder was made with.
    perm: u32,
    uid: u32,
    gid: u32,
    /// Where large files are, if not in memory.
    disk: Option<Arc<Disk>>,
    /// Bytes of contents on the heap.
    heap: AtomicU64,
}

impl Counts {
    fn limited(&self) -> bool {
        self.size.load(Ordering::Relaxed) != u64::MAX
    }

    /// Bytes that still fit.
    fn left(&self) -> u64 {
        let left = self.size.load(Ordering::Relaxed).saturating_sub(self.used.load(Ordering::Relaxed));
        if self.disk.is_some() { left } else { left.min(kernel::memory::left_for_files()) }
    }

    /// Takes `bytes` (whole pages); false where they don't fit.
    fn charge(&self, bytes: u64) -> bool {
        let size = self.size.load(Ordering::Relaxed);
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= size);
        if self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return false;
        }
        let fits = self.disk.is_some() || kernel::memory::take_for_files(bytes);
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Takes `bytes` that are there already, limit or not: pages that a mapping made.
    fn charge_anyway(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if self.disk.is_none() {
            kernel::memory::add_for_files(bytes);
        }
    }

    fn uncharge(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if self.disk.is_none() {
            kernel::memory::give_from_files(bytes);
        }
    }

    /// One more inode, ENOSPC where there are too many.
    fn take_inode(&self) -> Op<()> {
        let max = self.inodes.load(Ordering::Relaxed);
        let more = |used: u64| (used < max).then_some(used + 1);
        match self.inodes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => fail(Errno::ENOSPC),
        }
    }
}

struct TmpFs {
    name: &'static str,
    counts: Arc<Counts>,
}

impl FileSystemOps for TmpFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn handled(&self) -> kernel::vfs::Handled {
        kernel::vfs::Handled::Kept
    }

    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        let c = &self.counts;
        let (size, inodes) = (c.size.load(Ordering::Relaxed), c.inodes.load(Ordering::Relaxed));
        let host = c.disk.as_ref().map_or(Ok(StatFs::default()), |disk| disk.statfs())?;
        let mut stat = StatFs { magic: MAGIC, name_max: 255, ..host };
        if size != u64::MAX {
            let left = c.left();
            let room = if c.disk.is_some() { host.blocks_available.saturating_mul(host.block_size) } else { left };
            stat.block_size = PAGE;
            stat.blocks = size / PAGE;
            stat.blocks_free = left.min(room) / PAGE;
            stat.blocks_available = stat.blocks_free;
        } else if c.disk.is_none() {
            stat.block_size = PAGE;
        }
        if inodes != u64::MAX {
            stat.files = inodes;
            stat.files_free = inodes.saturating_sub(c.inodes_used.load(Ordering::Relaxed));
        }
        Ok(stat)
    }

    /// What is not the default.
    fn show_options(&self) -> String {
        let c = &self.counts;
        let mut text = String::new();
        let (size, inodes) = (c.size.load(Ordering::Relaxed), c.inodes.load(Ordering::Relaxed));
        let (usual_size, usual_inodes) = default_limits();
        if size != u64::MAX && size != usual_size {
            text.push_str(&format!(",size={}k", size / 1024));
        }
        if inodes != u64::MAX && inodes != usual_inodes {
            text.push_str(&format!(",nr_inodes={inodes}"));
        }
        if c.perm != 0o1777 {
            text.push_str(&format!(",mode={:03o}", c.perm));
        }
        for (name, id) in [("uid", c.uid), ("gid", c.gid)] {
            if id != 0 {
                text.push_str(&format!(",{name}={id}"));
            }
        }
        text
    }

    /// Only the limits can change, and not to below what is used.
    fn remount(&self, _io: &mut Io<'_>, data: &[u8]) -> Op<()> {
        let c = &self.counts;
        let all = c.size.load(Ordering::Relaxed);
        let old = Options { size: None, inodes: None, perm: c.perm, uid: 0, gid: 0 };
        let new = old.parsed(data, all)?;
        if new.size.is_some_and(|s| s < c.used.load(Ordering::Relaxed))
            || new.inodes.is_some_and(|i| i < c.inodes_used.load(Ordering::Relaxed))
        {
            return fail(Errno::EINVAL);
        }
        if let Some(size) = new.size {
            c.size.store(size, Ordering::Relaxed);
        }
        if let Some(inodes) = new.inodes {
            c.inodes.store(inodes, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The st_mode type of a node of this file system that holds contents.
fn has_contents(kind: FileType) -> bool {
    kind == FileType::Regular
}

#[cfg(test)]
mod tests;
