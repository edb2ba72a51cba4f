//! erofs images: a read-only file system in one file of the host, read in place and mapped by guests straight from it, so that all sandboxes share its pages.
//! The format: Linux' Documentation/filesystems/erofs and the on-disk structures described there; mkfs.erofs(1).
//!
//! The image may be anything, and may change while it is used: each structure is read once, by offset and length that were checked against the image, into
//! a copy, and checked before use. What is wrong in it is EUCLEAN, of the file or folder where it is met. Not supported: compression, further devices,
//! long attribute prefixes. `image` is the super block and bounded reads, `inode` and `data` a file's structures, `dir` and `xattr` names, `node` the VFS' side,
//! `file` contents. Locks: the leaves of `Shared` and of a node's copies, held over nothing.

mod data;
mod dir;
mod file;
mod image;
mod inode;
mod node;
mod xattr;

pub use image::ImageError;

use abi::Errno;
use host::HostFd;
use image::{Image, MAGIC};
use kernel::io::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{FileSystem, FileSystemOps, FileType, Inode, StatFs};
use lock::Mutex;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

/// What all nodes of one image share.
struct Shared {
    image: Image,
    fs: OnceLock<Weak<FileSystem>>,
    /// Inodes in use by their numbers.
    inodes: Mutex<HashMap<u64, Weak<Inode>>, Leaf>,
}

struct ErofsFs(Arc<Shared>);

/// The file system in an image that is open for reading; its root.
pub fn mount(fd: Arc<HostFd>) -> Result<Arc<Inode>, ImageError> {
    let image = Image::open(fd)?;
    let root = image.root;
    let shared = Arc::new(Shared { image, fs: OnceLock::new(), inodes: Mutex::new(HashMap::new()) });
    let fs = FileSystem::new(Box::new(ErofsFs(shared.clone())));
    fs.read_only.store(true, Ordering::Relaxed);
    let _ = shared.fs.set(Arc::downgrade(&fs));
    match shared.inode(root) {
        Ok(inode) if inode.kind == FileType::Dir => Ok(inode),
        Ok(_) => Err(ImageError::Damaged("its root is no folder")),
        Err(Stop::Errno(errno)) => Err(ImageError::Host(errno)),
        Err(_) => Err(ImageError::Host(Errno::EIO)),
    }
}

impl Shared {
    /// The inode of a number, one for each while it is in use.
    fn inode(self: &Arc<Self>, number: u64) -> Op<Arc<Inode>> {
        let known = self.inodes.lock().get(&number).and_then(Weak::upgrade);
        if let Some(inode) = known {
            return Ok(inode);
        }
        let Some(fs) = self.fs.get().and_then(Weak::upgrade) else { return fail(Errno::EIO) };
        let meta = self.image.inode(number)?;
        let made = node::make(&fs, self, meta);
        let mut inodes = self.inodes.lock();
        if let Some(other) = inodes.get(&number).and_then(Weak::upgrade) {
            drop(inodes);
            return Ok(other);
        }
        inodes.insert(number, Arc::downgrade(&made));
        Ok(made)
    }

    /// An inode is gone.
    fn forget(&self, number: u64) {
        let mut inodes = self.inodes.lock();
        if inodes.get(&number).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&number);
        }
    }
}

impl FileSystemOps for ErofsFs {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        let image = &self.0.image;
        Ok(StatFs {
            magic: MAGIC.into(),
            block_size: image.block_size(),
            blocks: image.blocks,
            files: image.files,
            name_max: 255,
            ..StatFs::default()
        })
    }
}

#[cfg(test)]
mod tests;
