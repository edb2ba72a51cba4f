//! A server's nodes as the VFS has them: attributes, opening, permissions. fuse(4).
//!
//! Neighbours: `node` (what is known), `names` (folders), `xattr`, `file`. No locks of its own.

use super::handle::{Created, Handle};
use super::node::Node;
use super::wire::{ATTR_OUT, Out};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{
    Attr, DirOps, FileOps, FileType, Inode, InodeOps, Link, SetAttr, SetTime, XattrOps, access, open_device,
};
use std::sync::{Arc, Weak};

/// The node as the VFS has it.
pub(super) struct NodeOps(pub Arc<Node>);

impl InodeOps for NodeOps {
    fn attr(&self, io: &mut Io<'_>) -> Op<Attr> {
        self.0.attr(io)
    }

    fn set_attr(&self, io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        let node = &self.0;
        node.usable(io)?;
        let mut valid = 0;
        let mut set = |bit: u32, there: bool| {
            if there {
                valid |= bit;
            }
        };
        set(FATTR_MODE, change.perm.is_some());
        set(FATTR_UID, change.uid.is_some());
        set(FATTR_GID, change.gid.is_some());
        set(FATTR_SIZE, change.size.is_some());
        let mut time = |time: Option<SetTime>, bit: u32, bit_now: u32| match time {
            None => (0, 0),
            Some(SetTime::Now) => {
                set(bit | bit_now, true);
                (0, 0)
            }
            Some(SetTime::At(t)) => {
                set(bit, true);
                (t.tv_sec as u64, t.tv_nsec as u32)
            }
        };
        let atime = time(change.atime, FATTR_ATIME, FATTR_ATIME_NOW);
        let mtime = time(change.mtime, FATTR_MTIME, FATTR_MTIME_NOW);
        // ftruncate works by the rights of an open file, whatever the file's permissions say to the server.
        let handle = node.state.lock().writers.iter().find_map(Weak::upgrade);
        let told = handle.as_ref().filter(|_| change.size.is_some());
        set(FATTR_FH, told.is_some());
        let mode = change.perm.map_or(0, |perm| node.kind.mode_bits() | perm);
        let args = Out::default()
            .u32(valid)
            .u32(0)
            .u64(told.map_or(0, |handle| handle.fh))
            .u64(change.size.unwrap_or(0))
            .u64(0)
            .u64(atime.0)
            .u64(mtime.0)
            .u64(0)
            .u32(atime.1)
            .u32(mtime.1)
            .u32(0)
            .u32(mode)
            .u32(0)
            .u32(node.conn.uid_to(change.uid.unwrap_or(0)))
            .u32(node.conn.gid_to(change.gid.unwrap_or(0)))
            .u32(0);
        if let Some(handle) = handle.as_ref().filter(|_| change.size.is_some() || change.mtime.is_some()) {
            node.write_back(io, handle)?;
        }
        node.conn.ask_plainly(io, FUSE_SETATTR, node.id, args, ATTR_OUT..=ATTR_OUT, |request, answer| {
            node.take_attr(&answer?, request.unique)?;
            if let Some(size) = change.size {
                node.set_size(size);
            }
            if let Some(SetTime::At(at)) = change.mtime {
                let mut state = node.state.lock();
                (state.attr.mtime, state.touched) = (at, false);
            }
            Ok(())
        })
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        let node = &self.0;
        match node.kind {
            FileType::Regular => {
                node.usable(io)?;
                let handle = match Created::of(io, node) {
                    Some(handle) => handle,
                    None => Handle::open(io, node, flags, false)?,
                };
                if flags.contains(OpenFlags::TRUNC) && self.truncates_at_open() {
                    node.set_size(0);
                    node.expire();
                }
                Ok(super::file::open(handle, flags))
            }
            FileType::Dir => {
                node.usable(io)?;
                Ok(super::listing::open(Handle::open(io, node, flags, true)?))
            }
            kind @ (FileType::Char | FileType::Block) => {
                let rdev = node.state.lock().attr.rdev;
                open_device(io, inode, kind, rdev, flags)
            }
            _ => fail(Errno::ENXIO),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        (self.0.kind == FileType::Dir).then_some(self)
    }

    fn read_link(&self, io: &mut Io<'_>) -> Op<Link> {
        let node = &self.0;
        if node.kind != FileType::Symlink {
            return fail(Errno::EINVAL);
        }
        node.usable(io)?;
        let known = node.state.lock().target.clone();
        if let Some(target) = known {
            return Ok(Link::Target(target));
        }
        let target: Box<[u8]> =
            node.conn.ask_plainly(io, FUSE_READLINK, node.id, Out::default(), 0..=4095, |_, answer| {
                let target = answer?;
                if target.contains(&0) { Err(Errno::EIO) } else { Ok(target.into()) }
            })?;
        if node.conn.has(FUSE_CACHE_SYMLINKS) {
            node.state.lock().target = Some(target.clone());
        }
        Ok(Link::Target(target))
    }

    fn xattr(&self) -> Option<&dyn XattrOps> {
        Some(self)
    }

    /// Names and attributes have times to live, which are kept here.
    fn volatile(&self) -> bool {
        true
    }

    fn keeps_names(&self) -> bool {
        true
    }

    fn truncates_at_open(&self) -> bool {
        self.0.conn.has(FUSE_ATOMIC_O_TRUNC)
    }

    fn decides(&self) -> bool {
        !self.0.conn.options.default_permissions
    }

    fn permission(&self, io: &mut Io<'_>, want: u32) -> Option<Op<()>> {
        let node = &self.0;
        if let Err(stop) = node.usable(io) {
            return Some(Err(stop));
        }
        if node.conn.options.default_permissions {
            return None;
        }
        if want & access::EXEC != 0 && node.kind == FileType::Regular {
            match node.attr(io) {
                Ok(attr) if attr.perm & 0o111 == 0 => return Some(fail(Errno::EACCES)),
                Ok(_) => {}
                Err(stop) => return Some(Err(stop)),
            }
        }
        if want & access::ASKED == 0 || node.conn.lacks(FUSE_ACCESS) {
            return Some(Ok(()));
        }
        let args = Out::default().u32(want & (access::READ | access::WRITE | access::EXEC)).u32(0);
        Some(match node.conn.ask_plainly(io, FUSE_ACCESS, node.id, args, 0..=0, super::handle::done) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                node.conn.set_lacking(FUSE_ACCESS);
                Ok(())
            }
            other => other,
        })
    }
}
