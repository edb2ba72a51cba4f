//! A file or folder of an image as the VFS has it.

use super::Shared;
use super::dir::OpenDir;
use super::file::{Copies, OpenFile};
use super::inode::{Layout, Meta};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{Attr, DirOps, FileOps, FileSystem, FileType, Inode, InodeOps, Link, SetAttr, XattrOps, open_device};
use std::sync::Arc;

/// The longest symbolic link, Linux' PATH_MAX less its NUL.
const MAX_TARGET: u64 = 4095;

/// See the module.
#[derive(Clone)]
pub struct NodeOps {
    pub shared: Arc<Shared>,
    pub meta: Arc<Meta>,
    pub copies: Arc<Copies>,
    /// Only the inode's own.
    _held: Option<Arc<Held>>,
}

/// Takes the inode out of the table at its end.
struct Held {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.forget(self.number);
    }
}

/// A new inode.
pub fn make(fs: &Arc<FileSystem>, shared: &Arc<Shared>, meta: Meta) -> Arc<Inode> {
    let (number, kind) = (meta.number, meta.kind);
    if meta.layout == Layout::Unsupported && kind == FileType::Regular {
        observe::warn!("erofs: file {number} of an image is compressed, which is not supported; it cannot be read");
    }
    let held = Some(Arc::new(Held { shared: shared.clone(), number }));
    let ops = NodeOps { shared: shared.clone(), meta: Arc::new(meta), copies: Arc::default(), _held: held };
    Inode::new(fs, number, kind, Box::new(ops))
}

impl NodeOps {
    /// For an open file, which keeps the contents, not the inode.
    fn opened(&self) -> NodeOps {
        NodeOps { _held: None, ..self.clone() }
    }
}

impl InodeOps for NodeOps {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        let meta = &self.meta;
        Ok(Attr {
            ino: meta.number,
            kind: meta.kind,
            perm: meta.perm,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: meta.rdev,
            size: meta.size,
            blocks: meta.size.div_ceil(512),
            blksize: self.shared.image.block_size() as u32,
            atime: meta.mtime,
            mtime: meta.mtime,
            ctime: meta.mtime,
            btime: None,
        })
    }

    fn set_attr(&self, _io: &mut Io<'_>, _change: &SetAttr) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        match self.meta.kind {
            FileType::Regular if self.meta.layout == Layout::Unsupported => fail(Errno::EOPNOTSUPP),
            FileType::Regular => Ok(Arc::new(OpenFile(self.opened()))),
            FileType::Dir => Ok(Arc::new(OpenDir(self.opened()))),
            kind @ (FileType::Char | FileType::Block) => open_device(io, inode, kind, self.meta.rdev, flags),
            _ => fail(Errno::ENXIO),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        (self.meta.kind == FileType::Dir).then_some(self)
    }

    fn read_link(&self, _io: &mut Io<'_>) -> Op<Link> {
        let meta = &self.meta;
        if meta.kind != FileType::Symlink {
            return fail(Errno::EINVAL);
        }
        if meta.size == 0 || meta.size > MAX_TARGET {
            return fail(Errno::EUCLEAN);
        }
        let mut target = vec![0; meta.size as usize];
        let got = self.shared.image.read_data(meta, 0, &mut target)?;
        if got < target.len() || target.contains(&0) {
            return fail(Errno::EUCLEAN);
        }
        Ok(Link::Target(target.into()))
    }

    fn xattr(&self) -> Option<&dyn XattrOps> {
        Some(self)
    }
}
