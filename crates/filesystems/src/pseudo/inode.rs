//! Inodes of nodes: attributes, folders, links.

use super::file::TextFile;
use super::{Body, Node, Owned, PseudoFs};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::vfs::{
    Attr, DirOps, DirSink, FileOps, FileSystem, FileType, Inode, InodeOps, Link, NewNode, SetAttr, open_device,
};
use kernel::{Io, Op, fail};
use std::any::Any;
use std::sync::Arc;

pub(super) fn make(fs: &Arc<FileSystem>, ino: u64, node: Node) -> Arc<Inode> {
    let kind = node.body.kind();
    let ops = NodeInode { ino, fs: Arc::downgrade(fs), node };
    Inode::new(fs, ino, kind, Box::new(ops))
}

/// Tells the content of a new inode.
pub(super) fn made(inode: &Arc<Inode>) {
    if let Some(NodeInode { node: Node { body: Body::File(content), .. }, .. }) = inode.ops_as::<NodeInode>() {
        content.shown(inode);
    }
}

struct NodeInode {
    ino: u64,
    fs: std::sync::Weak<FileSystem>,
    node: Node,
}

impl NodeInode {
    /// Where its attributes are kept, if elsewhere.
    fn owned(&self) -> Option<&dyn Owned> {
        match &self.node.body {
            Body::Folder(folder) => folder.owned(),
            Body::File(content) => content.owned(),
            Body::Device(_, owned) => Some(&**owned),
            Body::Link(_) => None,
        }
    }

    fn fs(&self) -> Op<Arc<FileSystem>> {
        self.fs.upgrade().ok_or(Errno::ENOENT.into())
    }
}

impl InodeOps for NodeInode {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        let fs = self.fs()?;
        let pseudo = PseudoFs::of(&fs).ok_or(Errno::EIO)?;
        let node = &self.node;
        let kind = node.body.kind();
        let (rdev, size, nlink) = match &node.body {
            Body::Device(rdev, _) => (*rdev, 0, 1),
            Body::File(content) => (0, content.size().unwrap_or(pseudo.kind.file_size), 1),
            Body::Link(target) => (0, target.size(), 1),
            Body::Folder(folder) => (0, folder.size(), folder.nlink()),
        };
        let mut attr = Attr {
            ino: self.ino,
            kind,
            perm: node.perm,
            nlink,
            uid: node.uid,
            gid: node.gid,
            rdev,
            size,
            blocks: 0,
            blksize: if pseudo.kind.file_size > 0 { 4096 } else { 1024 },
            atime: pseudo.born,
            mtime: pseudo.born,
            ctime: pseudo.born,
            btime: None,
        };
        if let Some(owned) = self.owned() {
            owned.attr(&mut attr)?;
            return Ok(attr);
        }
        match &node.body {
            Body::Folder(folder) => {
                if let Some((uid, gid)) = folder.owner() {
                    (attr.uid, attr.gid) = (uid, gid);
                }
            }
            Body::File(content) => {
                if let Some((uid, gid)) = content.owner() {
                    (attr.uid, attr.gid) = (uid, gid);
                }
            }
            Body::Device(..) => {}
            Body::Link(target) => {
                if let Some((uid, gid)) = target.owner() {
                    (attr.uid, attr.gid) = (uid, gid);
                }
            }
        }
        Ok(attr)
    }

    fn set_attr(&self, _io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        if let Some(owned) = self.owned() {
            return owned.set_attr(change);
        }
        // O_TRUNC of a knob: what is written replaces its value anyway.
        let only_size = change.perm.is_none() && change.uid.is_none() && change.gid.is_none();
        if only_size && matches!(self.node.body, Body::File(_)) { Ok(()) } else { fail(Errno::EPERM) }
    }

    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.node.body {
            Body::Folder(folder) => folder.stands_for(),
            _ => None,
        }
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        match &self.node.body {
            Body::Folder(folder) => Ok(Arc::new(FolderFile { ino: self.ino, folder: folder.clone() })),
            Body::File(content) => match content.open(io, flags)? {
                Some(ops) => Ok(ops),
                None => Ok(Arc::new(TextFile::new(content.clone()))),
            },
            Body::Device(rdev, _) => open_device(io, inode, FileType::Char, *rdev, flags),
            Body::Link(_) => fail(Errno::ELOOP),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        matches!(self.node.body, Body::Folder(_)).then_some(self as &dyn DirOps)
    }

    fn read_link(&self, io: &mut Io<'_>) -> Op<Link> {
        match &self.node.body {
            Body::Link(target) => target.target(io),
            _ => fail(Errno::EINVAL),
        }
    }

    fn link_text(&self, io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        match &self.node.body {
            Body::Link(target) => target.text(io),
            _ => Ok(None),
        }
    }

    fn permission(&self, io: &mut Io<'_>, _want: u32) -> Option<Op<()>> {
        matches!(&self.node.body, Body::Folder(folder) if folder.permits(io)).then_some(Ok(()))
    }

    fn volatile(&self) -> bool {
        matches!(&self.node.body, Body::Folder(folder) if folder.volatile())
    }
}

impl DirOps for NodeInode {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        let Body::Folder(folder) = &self.node.body else { return fail(Errno::ENOTDIR) };
        let Some(node) = folder.lookup(io, name)? else { return Ok(None) };
        let fs = self.fs()?;
        let pseudo = PseudoFs::of(&fs).ok_or(Errno::EIO)?;
        Ok(Some(pseudo.inode(&fs, self.ino, name, node)))
    }
    fn create(&self, io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let Body::Folder(folder) = &self.node.body else { return fail(Errno::ENOTDIR) };
        let node = folder.make(io, name, new)?;
        let fs = self.fs()?;
        let pseudo = PseudoFs::of(&fs).ok_or(Errno::EIO)?;
        Ok(pseudo.inode(&fs, self.ino, name, node))
    }
    fn link(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EPERM)
    }
    fn unlink(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EPERM)
    }
    fn rmdir(&self, io: &mut Io<'_>, name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        let Body::Folder(folder) = &self.node.body else { return fail(Errno::ENOTDIR) };
        folder.remove(io, name)
    }
    fn rename(
        &self,
        _io: &mut Io<'_>,
        _name: &[u8],
        _moved: &Arc<Inode>,
        _new_dir: &Arc<Inode>,
        _new_name: &[u8],
        _victim: Option<&Arc<Inode>>,
        _flags: u32,
    ) -> Op<()> {
        fail(Errno::EPERM)
    }
}

/// An open folder.
struct FolderFile {
    ino: u64,
    folder: Arc<dyn super::Folder>,
}

/// Positions 0 and 1 are `.` and `..`; an entry's is its key plus this, and the one after it is one more.
const FIRST: u64 = 2;

impl FileOps for FolderFile {
    fn list(&self, io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        if from == 0 && !to.entry(b".", self.ino, FileType::Dir, 1) {
            return Ok(());
        }
        if from <= 1 && !to.entry(b"..", self.ino, FileType::Dir, FIRST) {
            return Ok(());
        }
        for entry in self.folder.entries(io)? {
            let at = entry.key.saturating_add(FIRST);
            if at < from {
                continue;
            }
            let ino = PseudoFs::number(self.ino, &entry.name, entry.identity);
            if !to.entry(&entry.name, ino, entry.kind, at + 1) {
                break;
            }
        }
        Ok(())
    }
    fn seek(&self, _io: &mut Io<'_>, _offset: i64, _whence: u32, _from: u64) -> Op<u64> {
        fail(Errno::EINVAL)
    }
    fn read(&self, _io: &mut Io<'_>, _at: Option<u64>, _to: &mut dyn kernel::Sink) -> Op<usize> {
        fail(Errno::EISDIR)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
