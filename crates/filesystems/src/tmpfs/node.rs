//! A node of a tmpfs: attributes of any type, and what its type adds. inode(7).

use super::data::Data;
use super::dir::Entries;
use super::xattr::Xattrs;
use super::{Counts, PAGE, has_contents};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::time::Timespec;
use kernel::io::Io;
use kernel::locks::{InodeState, Leaf};
use kernel::op::{Op, fail};
use kernel::vfs::{
    Attr, DirOps, FileOps, FileSystem, FileType, Inode, InodeOps, Link, NewKind, NewNode, SetAttr, SetTime, TaskLock,
    XattrOps, access, open_device,
};
use lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module.
pub(super) struct Node {
    pub counts: Arc<Counts>,
    pub fs: std::sync::Weak<FileSystem>,
    pub ino: u64,
    pub kind: FileType,
    /// Of a device.
    rdev: u64,
    /// Of a symbolic link.
    target: Box<[u8]>,
    pub state: Mutex<State, InodeState>,
    pub xattrs: Mutex<Xattrs, Leaf>,
    /// Of contents on a disk (`disk`).
    pub serial: TaskLock,
}

/// What changes of a node.
pub(super) struct State {
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    btime: Timespec,
    /// F_SEAL_EXEC: no right to execute may be given or taken any more. Other seals are those of the host's file.
    pub exec_sealed: bool,
    /// Of a regular file.
    pub data: Data,
    /// Of a folder.
    pub entries: Entries,
}

impl State {
    /// Contents or names changed.
    pub fn modified(&mut self) {
        let now = kernel::time::now();
        self.mtime = now;
        self.ctime = now;
    }
}

impl Node {
    /// A new inode, which counts already. `parent` is the number of the folder, for `..`; 0: its own.
    pub fn inode(fs: &Arc<FileSystem>, counts: &Arc<Counts>, new: &NewNode<'_>, parent: u64) -> Arc<Inode> {
        let ino = counts.next_ino.fetch_add(1, Ordering::Relaxed);
        let kind = new.kind.file_type();
        let now = kernel::time::now();
        let (rdev, target): (u64, Box<[u8]>) = match new.kind {
            NewKind::Char(rdev) | NewKind::Block(rdev) => (rdev, Box::default()),
            NewKind::Symlink(target) => (0, target.into()),
            _ => (0, Box::default()),
        };
        let state = State {
            perm: if kind == FileType::Symlink { 0o777 } else { new.perm },
            uid: new.uid,
            gid: new.gid,
            nlink: if kind == FileType::Dir { 2 } else { 1 },
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            exec_sealed: false,
            data: Data::default(),
            entries: Entries::new(if parent == 0 { ino } else { parent }),
        };
        let node = Node {
            counts: counts.clone(),
            fs: Arc::downgrade(fs),
            ino,
            kind,
            rdev,
            target,
            state: Mutex::new(state),
            xattrs: Mutex::new(Xattrs::with_acls(&new.acls)),
            serial: TaskLock::new(),
        };
        Inode::new(fs, ino, kind, Box::new(NodeOps(Arc::new(node))))
    }

    /// The node behind an inode of this kind of file system.
    pub fn of(inode: &Inode) -> Op<&Arc<Node>> {
        match inode.ops_as::<NodeOps>() {
            Some(ops) => Ok(&ops.0),
            None => fail(Errno::EXDEV),
        }
    }
}

impl Node {
    /// What a change of contents by this caller takes away: set-id bits and capabilities.
    pub fn disarm(&self, io: &Io<'_>, state: &mut State) {
        if state.perm & 0o6000 != 0 {
            let attr = Attr::plain(self.kind, state.uid, state.gid, state.perm);
            state.perm = access::without_privileges(&io.cred, &attr).unwrap_or(state.perm);
        }
        self.xattrs.lock().disarm();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.counts.inodes_used.fetch_sub(1, Ordering::Relaxed);
        let state = self.state.get_mut();
        state.data.uncount(&self.counts);
        // Not by recursion: a guest makes folders as deep as it likes.
        let mut below = state.entries.take_all();
        while let Some(inode) = below.pop() {
            let Some(inode) = Arc::into_inner(inode) else { continue };
            if let Some(NodeOps(node)) = inode.ops_as::<NodeOps>()
                && Arc::strong_count(node) == 1
            {
                below.extend(node.state.lock().entries.take_all());
            }
        }
    }
}

/// The node as the VFS has it.
pub(super) struct NodeOps(pub Arc<Node>);

impl InodeOps for NodeOps {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        let node = &self.0;
        let mut state = node.state.lock();
        let (size, blocks) = match node.kind {
            FileType::Regular => (state.data.size(), state.data.allocated(&node.counts) / 512),
            FileType::Dir => (state.entries.len() as u64 * 20, 0),
            FileType::Symlink => (node.target.len() as u64, 0),
            _ => (0, 0),
        };
        Ok(Attr {
            ino: node.ino,
            kind: node.kind,
            perm: state.perm,
            nlink: state.nlink,
            uid: state.uid,
            gid: state.gid,
            rdev: node.rdev,
            size,
            blocks,
            blksize: PAGE as u32,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: Some(state.btime),
        })
    }

    fn set_attr(&self, io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        let node = &self.0;
        if let Some(perm) = change.perm {
            let state = node.state.lock();
            if state.exec_sealed && (state.perm ^ perm) & 0o111 != 0 {
                return fail(Errno::EPERM);
            }
        }
        let mut resized = false;
        if let Some(size) = change.size {
            if !has_contents(node.kind) {
                return fail(Errno::EINVAL);
            }
            resized = node.set_size(io, size)?;
        }
        let mut state = node.state.lock();
        let now = kernel::time::now();
        if resized {
            state.mtime = now;
        }
        let time = |t: SetTime| match t {
            SetTime::Now => now,
            SetTime::At(t) => t,
        };
        if change.disarms {
            node.xattrs.lock().disarm();
        }
        if let Some(perm) = change.perm {
            state.perm = perm;
            node.xattrs.lock().set_perm(perm);
        }
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        state.atime = change.atime.map_or(state.atime, time);
        state.mtime = change.mtime.map_or(state.mtime, time);
        state.ctime = now;
        Ok(())
    }

    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        match self.0.kind {
            FileType::Regular => Ok(Arc::new(super::file::OpenFile { node: self.0.clone() })),
            FileType::Dir => Ok(Arc::new(super::dir::OpenDir { node: self.0.clone() })),
            FileType::Char | FileType::Block => open_device(io, inode, self.0.kind, self.0.rdev, flags),
            _ => fail(Errno::ENXIO),
        }
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        (self.0.kind == FileType::Dir).then_some(self)
    }

    fn read_link(&self, _io: &mut Io<'_>) -> Op<Link> {
        match self.0.kind {
            FileType::Symlink => Ok(Link::Target(self.0.target.clone())),
            _ => fail(Errno::EINVAL),
        }
    }

    fn xattr(&self) -> Option<&dyn XattrOps> {
        Some(&*self.0)
    }

    fn accessed(&self, _io: &mut Io<'_>, strict: bool) {
        const DAY: i64 = 86_400;
        let mut state = self.0.state.lock();
        if !strict && state.atime > state.mtime && state.atime > state.ctime {
            let now = kernel::time::now();
            if now.tv_sec - state.atime.tv_sec < DAY {
                return;
            }
        }
        state.atime = kernel::time::now();
    }
}
