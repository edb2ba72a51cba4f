//! gofer's inodes: what the kernel asks of one, answered by its node.
//!
//! Neighbours: `node` (what is known of the file), `dir`, `file`, `opendir`, `xattr` (folders' names, open files, attributes), `peer` (FIFOs and sockets of the host). Owns no locks.

use super::node::{Access, Node};
use abi::Errno;
use abi::time::Timespec;
use fsproto::Change;
use host::HostFd;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{DirOps, FileOps, FileType, Inode, InodeOps, Link, SetAttr, SetTime, XattrOps, open_device};
use std::sync::Arc;

/// The inode's side of a node.
pub(crate) struct NodeOps(pub Arc<Node>);

impl InodeOps for NodeOps {
    fn attr(&self, _io: &mut Io<'_>) -> Op<kernel::vfs::Attr> {
        let attr = self.0.attr()?;
        let time = |t: fsproto::Time| Timespec { tv_sec: t.sec, tv_nsec: t.nsec.into() };
        Ok(kernel::vfs::Attr {
            ino: self.0.number(),
            kind: self.0.kind,
            perm: attr.mode & 0o7777,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev,
            size: attr.size,
            blocks: attr.blocks,
            blksize: attr.blksize,
            atime: time(attr.atime),
            mtime: time(attr.mtime),
            ctime: time(attr.ctime),
            btime: attr.btime.map(time),
        })
    }

    fn set_attr(&self, _io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        let node = &self.0;
        let mut set = fsproto::SetAttr {
            mode: change.perm,
            uid: change.uid,
            gid: change.gid,
            size: change.size,
            atime: change.atime.map(set_time),
            mtime: change.mtime.map(set_time),
        };
        // ftruncate works by the rights of the open file, whatever the file's permissions say to the gofer's user.
        if let (Some(size), Some(fd)) = (set.size, node.open_fd(Access::Write)) {
            kernel::block_in_place(|| host::file::set_size(&fd, size))?;
            set.size = None;
            if set == fsproto::SetAttr::default() {
                return node.refresh(&fd).map(|_| ());
            }
        }
        let changed = node.change(|node| Change::SetAttr { node, set });
        if set.mode.is_some() {
            node.state.lock().perm_changed();
        }
        let changed = changed?;
        match changed.attr {
            Some(attr) => node.set_attr_known(attr),
            None => node.make_stale(),
        }
        Ok(())
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: abi::fs::OpenFlags) -> Op<Arc<dyn FileOps>> {
        match self.0.kind {
            FileType::Regular => super::file::open(&self.0, flags),
            FileType::Dir => Ok(super::opendir::open(&self.0)),
            // A device is this kernel's own, whatever the host has under the number.
            kind @ (FileType::Char | FileType::Block) => open_device(io, inode, kind, self.0.last_attr().rdev, flags),
            _ => fail(Errno::ENXIO),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        if self.0.kind == FileType::Dir { Some(self) } else { None }
    }

    fn read_link(&self, _io: &mut Io<'_>) -> Op<Link> {
        if self.0.kind != FileType::Symlink {
            return fail(Errno::EINVAL);
        }
        let known = self.0.state.lock().more_if_any().and_then(|more| more.target.clone());
        let target = match known {
            Some(target) => target,
            None => {
                let target = self.0.with_handle(|gofer, link| gofer.read_link(link))?;
                self.0.set_target(target.clone());
                target
            }
        };
        Ok(Link::Target(target.0))
    }

    fn xattr(&self) -> Option<&dyn XattrOps> {
        Some(self)
    }

    fn remote(&self) -> bool {
        self.0.shared.options.shared
    }

    fn open_fifo(&self, _io: &mut Io<'_>, flags: abi::fs::OpenFlags) -> Op<Option<Arc<HostFd>>> {
        self.0.open_fifo(flags)
    }

    fn connect_socket(&self, _io: &mut Io<'_>, kind: u32) -> Op<Option<Arc<HostFd>>> {
        self.0.connect_socket(kind)
    }

    fn take_socket(&self) -> Option<Arc<HostFd>> {
        self.0.state.lock().more_if_any()?.socket.take()
    }
}

fn set_time(time: SetTime) -> fsproto::SetTime {
    match time {
        SetTime::Now => fsproto::SetTime::Now,
        SetTime::At(t) => {
            let nsec = u32::try_from(t.tv_nsec).unwrap_or(0);
            fsproto::SetTime::At(fsproto::Time { sec: t.tv_sec, nsec })
        }
    }
}
