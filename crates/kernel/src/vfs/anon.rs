//! Inodes that no path leads to: those of pipes and sockets. pipe(7), socket(7).
//!
//! Each kind has a file system of its own (pipefs, sockfs) and a mount that no namespace shows, so that fstat(2), fchmod(2) and
//! /proc/PID/fd/N work on them as on others. Neighbours: `ipc::pipe` and the sockets make them. Locks: `InodeState`.

use super::{
    Attr, Dentry, FileOps, FileSystem, FileSystemOps, FileType, Inode, InodeOps, Mount, Path, SetAttr, SetTime,
};
use super::{StatFs, ops};
use crate::cred::Cred;
use crate::io::Io;
use crate::locks::InodeState;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::time::Timespec;
use lock::Mutex;
use std::sync::{Arc, OnceLock};

/// Which of the hidden file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anon {
    Pipe,
    Socket,
}

struct AnonFs {
    name: &'static str,
    magic: u64,
}

impl FileSystemOps for AnonFs {
    fn name(&self) -> &'static str {
        self.name
    }
    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        Ok(StatFs { magic: self.magic, block_size: 4096, name_max: 255, ..StatFs::default() })
    }
}

struct AnonInode {
    attr: Mutex<Attr, InodeState>,
}

impl InodeOps for AnonInode {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        Ok(*self.attr.lock())
    }
    fn set_attr(&self, _io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        if change.size.is_some() {
            return fail(Errno::EINVAL);
        }
        let now = crate::time::now();
        let pick = |to: &mut Timespec, time: Option<SetTime>| match time {
            Some(SetTime::Now) => *to = now,
            Some(SetTime::At(at)) => *to = at,
            None => {}
        };
        let mut attr = self.attr.lock();
        attr.perm = change.perm.unwrap_or(attr.perm);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        pick(&mut attr.atime, change.atime);
        pick(&mut attr.mtime, change.mtime);
        attr.ctime = now;
        Ok(())
    }
    /// Pipes are opened as FIFOs are, without coming here; sockets cannot be opened.
    fn open(&self, _io: &mut Io<'_>, _inode: &Arc<Inode>, _flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        fail(Errno::ENXIO)
    }
}

struct Hidden {
    fs: Arc<FileSystem>,
    mount: Arc<Mount>,
}

fn hidden(kind: Anon) -> &'static Hidden {
    static PIPES: OnceLock<Hidden> = OnceLock::new();
    static SOCKETS: OnceLock<Hidden> = OnceLock::new();
    let make = |name: &'static str, magic| {
        let fs = FileSystem::new(Box::new(AnonFs { name, magic }));
        let root = inode_in(&fs, FileType::Dir, 0o555, 0, 0);
        let mount = Mount::new(fs.clone(), Dentry::root(root), b"none", 0);
        Hidden { fs, mount }
    };
    match kind {
        Anon::Pipe => PIPES.get_or_init(|| make("pipefs", 0x5049_5045)),
        Anon::Socket => SOCKETS.get_or_init(|| make("sockfs", 0x534f_434b)),
    }
}

fn inode_in(fs: &Arc<FileSystem>, kind: FileType, perm: u32, uid: u32, gid: u32) -> Arc<Inode> {
    let now = crate::time::now();
    let ino = crate::unique_id();
    let attr = Attr {
        ino,
        kind,
        perm,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: 4096,
        atime: now,
        mtime: now,
        ctime: now,
        btime: None,
    };
    let ops: Box<dyn ops::InodeOps> = Box::new(AnonInode { attr: Mutex::new(attr) });
    Inode::new(fs, ino, kind, ops)
}

/// A new inode that belongs to who made it: mode 0600 for pipes, 0777 for sockets.
pub fn anon_inode(kind: Anon, cred: &Cred) -> Arc<Inode> {
    let (file_type, perm) = match kind {
        Anon::Pipe => (FileType::Fifo, 0o600),
        Anon::Socket => (FileType::Socket, 0o777),
    };
    inode_in(&hidden(kind).fs, file_type, perm, cred.fsuid, cred.fsgid)
}

/// A place for such an inode: where the magic links of /proc/PID/fd lead. None for inodes of other file systems.
pub fn anon_path(inode: &Arc<Inode>) -> Option<Path> {
    let owner = [Anon::Pipe, Anon::Socket].map(hidden).into_iter().find(|h| Arc::ptr_eq(&h.fs, &inode.fs))?;
    Some(Path::new(owner.mount.clone(), Dentry::root(inode.clone())))
}
