//! Inodes that no path leads to: those of pipes, sockets and namespaces. pipe(7), socket(7), namespaces(7).
//!
//! Each kind has a file system of its own (pipefs, sockfs, nsfs) and a mount that no namespace shows, so that fstat(2), fchmod(2) and
//! /proc/PID/fd/N work on them as on others. Neighbours: `ipc::pipe`, the sockets and `task::nsfs` make them. Locks: `InodeState`.

use super::{
    Attr, Dentry, FileOps, FileSystem, FileSystemOps, FileType, Inode, InodeOps, Mount, Path, SetAttr, SetTime, StatFs,
};
use crate::cred::Cred;
use crate::io::Io;
use crate::locks::InodeState;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::{NSFS_MAGIC, OpenFlags, PIPEFS_MAGIC, SOCKFS_MAGIC};
use abi::time::Timespec;
use lock::Mutex;
use std::sync::{Arc, OnceLock};

/// Which of the hidden file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anon {
    Pipe,
    Socket,
    Namespace,
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
    static NAMESPACES: OnceLock<Hidden> = OnceLock::new();
    let make = |name: &'static str, magic: u32| {
        let fs = FileSystem::new(Box::new(AnonFs { name, magic: magic.into() }));
        let root = inode_in(&fs, FileType::Dir, 0o555, 0, 0);
        let mount = Mount::new(fs.clone(), Dentry::root(root), name.as_bytes(), 0);
        Hidden { fs, mount }
    };
    match kind {
        Anon::Pipe => PIPES.get_or_init(|| make("pipefs", PIPEFS_MAGIC)),
        Anon::Socket => SOCKETS.get_or_init(|| make("sockfs", SOCKFS_MAGIC)),
        Anon::Namespace => NAMESPACES.get_or_init(|| make("nsfs", NSFS_MAGIC)),
    }
}

fn inode_in(fs: &Arc<FileSystem>, kind: FileType, perm: u32, uid: u32, gid: u32) -> Arc<Inode> {
    let ino = crate::unique_id();
    let attr = Mutex::new(anon_attr(ino, kind, perm, uid, gid));
    Inode::new(fs, ino, kind, Box::new(AnonInode { attr }))
}

/// What stat(2) shows of an inode that was made just now.
pub fn anon_attr(ino: u64, kind: FileType, perm: u32, uid: u32, gid: u32) -> Attr {
    let now = crate::time::now();
    Attr {
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
    }
}

/// A place for an inode with operations of its own.
pub fn anon_place(kind: Anon, ino: u64, file_type: FileType, ops: Box<dyn InodeOps>) -> Path {
    let Hidden { fs, mount } = hidden(kind);
    Path::new(mount.clone(), Dentry::root(Inode::new(fs, ino, file_type, ops)))
}

/// A pipe's new inode, which belongs to who made it.
pub fn pipe_inode(cred: &Cred) -> Arc<Inode> {
    inode_in(&hidden(Anon::Pipe).fs, FileType::Fifo, 0o600, cred.fsuid, cred.fsgid)
}

/// A socket's.
pub fn socket_inode(cred: &Cred) -> Arc<Inode> {
    inode_in(&hidden(Anon::Socket).fs, FileType::Socket, 0o777, cred.fsuid, cred.fsgid)
}

/// A place for such an inode: where the magic links of /proc/PID/fd lead. None for inodes of other file systems.
pub fn anon_path(inode: &Arc<Inode>) -> Option<Path> {
    let owner =
        [Anon::Pipe, Anon::Socket, Anon::Namespace].map(hidden).into_iter().find(|h| Arc::ptr_eq(&h.fs, &inode.fs))?;
    Some(Path::new(owner.mount.clone(), Dentry::root(inode.clone())))
}
