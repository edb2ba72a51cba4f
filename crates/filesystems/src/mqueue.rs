//! mqueue: the names of POSIX message queues. mq_overview(7).
//!
//! One for each IPC namespace, the same wherever it is mounted. Queues are `kernel::ipc::mqueue`'s; the calls find them here by a mount of their
//! own. Locks: `InodeState`, one inode at a time.

use crate::tmpfs::dir::{Entries, list};
use abi::Errno;
use abi::fs::{MQUEUE_MAGIC, OpenFlags};
use abi::time::Timespec;
use kernel::ipc::mqueue::{MqAttr, MqFile, MqNs, MqQueue};
use kernel::locks::InodeState;
use kernel::task::Namespaces;
use kernel::vfs::{
    Attr, DirOps, DirSink, FileOps, FileSystem, FileSystemOps, FileType, FsType, Inode, InodeOps, MountArgs, NewKind,
    NewNode, SetAttr, SetTime, StatFs,
};
use kernel::{Io, Kernel, Op, fail};
use lock::Mutex;
use std::any::Any;
use std::sync::{Arc, Weak};

static TYPE: FsType = FsType { name: "mqueue", user_mountable: true, nodev: true, option, mount };

/// st_size of a queue, and what each adds to the folder's.
const QUEUE_SIZE: u64 = 80;
const ENTRY_SIZE: u64 = 20;

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

fn option(_option: &[u8]) -> Op<()> {
    fail(Errno::EINVAL)
}

/// The caller's IPC namespace's.
fn mount(io: &mut Io<'_>, _args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let ns = MqNs::of(&Namespaces::of(io).ok_or(Errno::EINVAL)?.ipc)?;
    let owner = &ns.owner;
    let (uid, gid) = (owner.uid_from(0).unwrap_or(owner.owner), owner.gid_from(0).unwrap_or(owner.group));
    Ok(ns.root(|| {
        let fs = FileSystem::new(Box::new(MqFs));
        let (ns, fs_of) = (Arc::downgrade(&ns), Arc::downgrade(&fs));
        let folder = Arc::new(Folder { ns, fs: fs_of, entries: Mutex::new(Entries::new(1)) });
        let node = Node { ino: 1, body: Body::Folder(folder), state: Mutex::new(State::new(0o1777, uid, gid)) };
        Inode::new(&fs, 1, FileType::Dir, Box::new(node))
    }))
}

struct MqFs;

impl FileSystemOps for MqFs {
    fn name(&self) -> &'static str {
        "mqueue"
    }
    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        Ok(StatFs { magic: MQUEUE_MAGIC.into(), block_size: 4096, name_max: 255, ..StatFs::default() })
    }
}

struct Folder {
    ns: Weak<MqNs>,
    fs: Weak<FileSystem>,
    entries: Mutex<Entries, InodeState>,
}

enum Body {
    Folder(Arc<Folder>),
    Queue(Arc<MqQueue>),
}

struct State {
    perm: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
}

impl State {
    fn new(perm: u32, uid: u32, gid: u32) -> State {
        let now = kernel::time::now();
        State { perm, uid, gid, nlink: 1, atime: now, mtime: now, ctime: now }
    }
}

/// The folder, or a queue.
struct Node {
    ino: u64,
    body: Body,
    state: Mutex<State, InodeState>,
}

impl Node {
    fn folder(&self) -> Op<&Arc<Folder>> {
        match &self.body {
            Body::Folder(folder) => Ok(folder),
            Body::Queue(_) => fail(Errno::ENOTDIR),
        }
    }

    /// A name came or went.
    fn changed(&self) {
        let now = kernel::time::now();
        let mut state = self.state.lock();
        (state.atime, state.mtime, state.ctime) = (now, now, now);
    }
}

impl InodeOps for Node {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        let (kind, size, links) = match &self.body {
            Body::Folder(folder) => (FileType::Dir, folder.entries.lock().len() as u64 * ENTRY_SIZE, 1),
            Body::Queue(_) => (FileType::Regular, QUEUE_SIZE, 0),
        };
        let state = self.state.lock();
        Ok(Attr {
            ino: self.ino,
            kind,
            perm: state.perm,
            nlink: state.nlink + links,
            uid: state.uid,
            gid: state.gid,
            rdev: 0,
            size,
            blocks: 0,
            blksize: 4096,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: None,
        })
    }

    /// A queue's size means nothing: truncate(2) is let be.
    fn set_attr(&self, _io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        let now = kernel::time::now();
        let time = |t: SetTime| match t {
            SetTime::Now => now,
            SetTime::At(t) => t,
        };
        let mut state = self.state.lock();
        state.perm = change.perm.unwrap_or(state.perm);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        state.atime = change.atime.map_or(state.atime, time);
        state.mtime = change.mtime.map_or(state.mtime, time);
        state.ctime = now;
        Ok(())
    }

    fn open(&self, _io: &mut Io<'_>, _inode: &Arc<Inode>, _flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        Ok(match &self.body {
            Body::Folder(folder) => Arc::new(OpenFolder(folder.clone())),
            Body::Queue(queue) => Arc::new(MqFile(queue.clone())),
        })
    }

    fn dir(&self) -> Option<&dyn DirOps> {
        matches!(self.body, Body::Folder(_)).then_some(self)
    }
}

impl DirOps for Node {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        Ok(self.folder()?.entries.lock().get(name).cloned())
    }

    /// A queue; mq_open(3) leaves the attributes that it was given in the call's stage.
    fn create(&self, io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let NewKind::Regular = new.kind else { return fail(Errno::EPERM) };
        let folder = self.folder()?;
        let ns = folder.ns.upgrade().ok_or(Errno::EACCES)?;
        let fs = folder.fs.upgrade().ok_or(Errno::EACCES)?;
        let attr = io.kept::<MqAttr>().copied();
        let queue = ns.make(io, attr)?;
        let ino = kernel::unique_id();
        let state = Mutex::new(State::new(new.perm, new.uid, new.gid));
        let inode = Inode::new(&fs, ino, FileType::Regular, Box::new(Node { ino, body: Body::Queue(queue), state }));
        {
            let mut entries = folder.entries.lock();
            if entries.get(name).is_some() {
                return fail(Errno::EEXIST);
            }
            entries.put(name, inode.clone());
        }
        self.changed();
        Ok(inode)
    }

    fn link(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EPERM)
    }

    fn unlink(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let gone = self.folder()?.entries.lock().take(name).ok_or(Errno::ENOENT)?;
        if let Some(node) = target.ops_as::<Node>() {
            let mut state = node.state.lock();
            state.nlink = 0;
            state.ctime = kernel::time::now();
        }
        self.changed();
        drop(gone);
        Ok(())
    }

    fn rmdir(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EPERM)
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

/// The open folder.
struct OpenFolder(Arc<Folder>);

impl FileOps for OpenFolder {
    fn list(&self, _io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        list(1, 1, from, to, |from| self.0.entries.lock().part(from));
        Ok(())
    }
    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        Ok(())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
