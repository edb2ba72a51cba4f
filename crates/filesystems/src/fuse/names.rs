//! Names in folders of a server: lookups, and all that changes names. fuse(4).
//!
//! What a folder's names stand for is believed as long as the server said (`Node::known`); within one call an answer stays what it was, so that its
//! re-runs decide the same. Neighbours: `node`, `request`. No locks of its own.

use super::handle::{Created, Handle};
use super::inode::NodeOps;
use super::node::Node;
use super::request::hold;
use super::wire::{ENTRY, EntryOut, In, OPEN_OUT, Out};
use abi::Errno;
use abi::fs::{O_CREAT, O_TMPFILE, OpenFlags};
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{DirOps, FileType, Inode, NewKind, NewNode};
use std::sync::Arc;

impl Node {
    /// What an answer brought that names something new.
    fn take_entry(&self, unique: u64, name: &[u8], from: &mut In<'_>, kind: FileType) -> Result<Arc<Inode>, Errno> {
        let entry = EntryOut::read(from)?;
        if entry.node == 0 {
            return Err(Errno::EIO);
        }
        let inode = Node::found(&self.conn, &entry, unique)?;
        if inode.kind != kind {
            return Err(Errno::EIO);
        }
        if !name.is_empty() {
            self.remember(name, Some(inode.clone()), entry.entry_until);
        }
        self.expire();
        Ok(inode)
    }

    /// Asks for something new in this folder.
    fn make(&self, io: &mut Io<'_>, op: u32, args: Out, name: &[u8], kind: FileType) -> Op<Arc<Inode>> {
        self.conn.ask_plainly(io, op, self.id, args, ENTRY..=ENTRY, |request, answer| {
            self.take_entry(request.unique, name, &mut In(&answer?), kind)
        })
    }

    /// FUSE_CREATE or FUSE_TMPFILE: a regular file that is open at once.
    fn make_open(&self, io: &mut Io<'_>, op: u32, name: &[u8], new: &NewNode<'_>, flags: u32) -> Op<Arc<Inode>> {
        let mode = FileType::Regular.mode_bits() | self.asked(new);
        let args = Out::default().u32(flags).u32(mode).u32(io.umask()).u32(0);
        let args = args.name(if name.is_empty() { b"/" } else { name });
        let length = ENTRY + OPEN_OUT;
        let (inode, handle) = self.conn.ask_plainly(io, op, self.id, args, length..=length, |request, answer| {
            let reply = answer?;
            let mut from = In(&reply);
            let inode = self.take_entry(request.unique, name, &mut from, FileType::Regular)?;
            let node = Node::of(&inode).map_err(|_| Errno::EIO)?;
            let handle = Handle::read(node, &mut from, flags & !(O_CREAT | O_TMPFILE), false)?;
            Ok((inode, handle))
        })?;
        hold(io, Box::new(Created(handle)))?;
        Ok(inode)
    }
}

impl Node {
    /// The permissions that are asked for: with FUSE_DONT_MASK the umask is the server's business.
    fn asked(&self, new: &NewNode<'_>) -> u32 {
        if self.conn.has(FUSE_DONT_MASK) { new.perm | new.masked } else { new.perm }
    }
}

impl DirOps for NodeOps {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        let node = &self.0;
        node.usable(io)?;
        let args = Out::default().name(name);
        if let Some(known) = node.conn.noted(io, FUSE_LOOKUP, node.id, &args.0, || node.known(name)) {
            return Ok(known);
        }
        node.conn.ask_plainly(io, FUSE_LOOKUP, node.id, args, ENTRY..=ENTRY, |request, answer| {
            let entry = match answer {
                Ok(reply) => EntryOut::read(&mut In(&reply))?,
                Err(errno) => {
                    node.forget_name(name);
                    return if errno == Errno::ENOENT { Ok(None) } else { Err(errno) };
                }
            };
            let inode = if entry.node == 0 { None } else { Some(Node::found(&node.conn, &entry, request.unique)?) };
            node.remember(name, inode.clone(), entry.entry_until);
            Ok(inode)
        })
    }

    fn create(&self, io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let node = &self.0;
        node.usable(io)?;
        let kind = new.kind.file_type();
        match new.kind {
            NewKind::Dir => {
                let args = Out::default().u32(node.asked(new) & 0o1777).u32(io.umask()).name(name);
                node.make(io, FUSE_MKDIR, args, name, kind)
            }
            NewKind::Symlink(target) => node.make(io, FUSE_SYMLINK, Out::default().name(name).name(target), name, kind),
            _ => {
                let rdev = match new.kind {
                    NewKind::Char(rdev) | NewKind::Block(rdev) => rdev as u32,
                    _ => 0,
                };
                let args = Out::default().u32(kind.mode_bits() | node.asked(new)).u32(rdev).u32(io.umask()).u32(0);
                node.make(io, FUSE_MKNOD, args.name(name), name, kind)
            }
        }
    }

    fn create_open(&self, io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>, flags: OpenFlags) -> Op<Arc<Inode>> {
        let node = &self.0;
        node.usable(io)?;
        if !node.conn.lacks(FUSE_CREATE) {
            let flags = flags.difference(OpenFlags::NOCTTY | OpenFlags::CLOEXEC).bits() | O_CREAT;
            match node.make_open(io, FUSE_CREATE, name, new, flags) {
                Err(Stop::Errno(Errno::ENOSYS)) => node.conn.set_lacking(FUSE_CREATE),
                other => return other,
            }
        }
        let inode = self.create(io, name, new)?;
        let handle = Handle::open(io, Node::of(&inode)?, flags.difference(OpenFlags::TRUNC), false)?;
        hold(io, Box::new(Created(handle)))?;
        Ok(inode)
    }

    fn link(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let (node, to) = (&self.0, Node::of(target)?);
        node.usable(io)?;
        let args = Out::default().u64(to.id).name(name);
        node.make(io, FUSE_LINK, args, name, target.kind).map(|_| ())
    }

    fn unlink(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        self.remove(io, FUSE_UNLINK, name, target)
    }

    fn rmdir(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        self.remove(io, FUSE_RMDIR, name, target)
    }

    fn rename(
        &self,
        io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Op<()> {
        let (node, to) = (&self.0, Node::of(new_dir)?);
        node.usable(io)?;
        let conn = &node.conn;
        let (op, args) = if flags == 0 {
            (FUSE_RENAME, Out::default().u64(to.id))
        } else {
            if conn.lacks(FUSE_RENAME2) {
                return fail(Errno::EINVAL);
            }
            (FUSE_RENAME2, Out::default().u64(to.id).u32(flags).u32(0))
        };
        let args = args.name(name).name(new_name);
        let result = conn.ask_plainly(io, op, node.id, args, 0..=0, |_, answer| {
            // Also after an error: it may have been done all the same.
            node.forget_name(name);
            to.forget_name(new_name);
            for changed in [Some(moved), victim].into_iter().flatten().filter_map(|inode| Node::of(inode).ok()) {
                changed.expire();
            }
            node.expire();
            to.expire();
            answer.map(|_| ())
        });
        match result {
            Err(Stop::Errno(Errno::ENOSYS)) if op == FUSE_RENAME2 => {
                conn.set_lacking(FUSE_RENAME2);
                fail(Errno::EINVAL)
            }
            other => other,
        }
    }

    fn tmpfile(&self, io: &mut Io<'_>, new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let node = &self.0;
        node.usable(io)?;
        if node.conn.lacks(FUSE_TMPFILE) {
            return fail(Errno::EOPNOTSUPP);
        }
        match node.make_open(io, FUSE_TMPFILE, b"", new, OpenFlags::RDWR.bits() | O_TMPFILE) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                node.conn.set_lacking(FUSE_TMPFILE);
                fail(Errno::EOPNOTSUPP)
            }
            other => other,
        }
    }
}

impl NodeOps {
    fn remove(&self, io: &mut Io<'_>, op: u32, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let node = &self.0;
        node.usable(io)?;
        node.conn.ask_plainly(io, op, node.id, Out::default().name(name), 0..=0, |_, answer| {
            node.forget_name(name);
            node.expire();
            if let Ok(gone) = Node::of(target) {
                gone.expire();
            }
            answer.map(|_| ())
        })
    }
}
