//! The kernel's file system over a gofer, and the operations of one as the tests call them.

use super::{Folder, serve};
use abi::Errno;
use abi::fs::OpenFlags;
use fsproto::{
    Attr, Bytes, Change, Changed, Client, Donation, Gofer, Handle, Listing, MountInfo, OpenHow, Opened, Statfs,
    SyncHow, Walked,
};
use kernel::cred::{Cred, UserNs};
use kernel::io::{Io, SliceSource, VecSink};
use kernel::op::Stop;
use kernel::vfs::{DirSink, FileOps, FileType, Inode, NewKind, NewNode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A client that counts trips.
struct Counted(Client, Arc<AtomicUsize>);

macro_rules! counted {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl Gofer for Counted {
            fn mounts(&self) -> &[MountInfo] {
                self.0.mounts()
            }
            fn donate(&self, mount: usize) -> Result<Donation, Errno> {
                self.0.donate(mount)
            }
            fn scratch(&self, mount: usize) -> Result<Arc<host::HostFd>, Errno> {
                self.0.scratch(mount)
            }
            fn connect(&self, of: Handle, kind: u32) -> Result<Arc<host::HostFd>, Errno> {
                self.0.connect(of, kind)
            }
            fn bind(&self, dir: Handle, name: &[u8], kind: u32, mode: u32, uid: u32, gid: u32) -> Result<Opened, Errno> {
                self.0.bind(dir, name, kind, mode, uid, gid)
            }
            fn forget(&self, handles: &[Handle]) {
                self.0.forget(handles)
            }
            fn forget_now(&self, handles: &[Handle]) {
                self.0.forget_now(handles)
            }
            $(fn $name(&self, $($arg: $type),*) -> Result<$out, Errno> {
                self.1.fetch_add(1, Ordering::Relaxed);
                self.0.$name($($arg),*)
            })*
        }
    };
}

counted! {
    walk(from: Handle, path: &[&[u8]]) -> Walked;
    open(from: Handle, path: &[&[u8]], how: OpenHow) -> Opened;
    list(from: Handle, path: &[&[u8]], cursor: u64) -> Listing;
    change(changes: Vec<Change>) -> Vec<Result<Changed, Errno>>;
    attr(of: Handle) -> Attr;
    read_link(of: Handle) -> Bytes;
    get_xattr(of: Handle, name: &[u8]) -> Bytes;
    list_xattr(of: Handle) -> Bytes;
    statfs(of: Handle) -> Statfs;
    sync(of: Handle, how: SyncHow) -> ();
}

/// A mounted folder.
pub struct Mounted {
    pub folder: Folder,
    pub root: Arc<Inode>,
    pub trips: Arc<AtomicUsize>,
    done: u64,
    cred: Arc<Cred>,
}

impl Mounted {
    pub fn new(prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        Mounted::with_descriptors(2000, prepare)
    }

    pub fn with_descriptors(descriptors: u64, prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        Mounted::make(descriptors, Default::default(), prepare)
    }

    /// With what this process may do by itself. `None` where the test may not make mounts.
    pub fn direct(prepare: impl FnOnce(&std::path::Path)) -> Option<Mounted> {
        let direct = host::file::own_ids().0 == 0;
        let options = filesystems::gofer::Options { direct: true, ..Default::default() };
        direct.then(|| Mounted::make(2000, options, prepare))
    }

    /// With files that others change, too.
    pub fn shared(prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        Mounted::make(2000, filesystems::gofer::Options { shared: true, ..Default::default() }, prepare)
    }

    fn make(descriptors: u64, options: filesystems::gofer::Options, prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        let folder = Folder::new();
        prepare(&folder.0);
        let trips = Arc::new(AtomicUsize::new(0));
        let client = Counted(serve(&folder.0, false, descriptors), trips.clone());
        let root = filesystems::gofer::mount(Arc::new(client), 0, options).unwrap();
        Mounted { folder, root, trips, done: 0, cred: Arc::new(Cred::root(UserNs::initial())) }
    }

    pub fn io(&mut self) -> Io<'_> {
        Io::kernel(self.cred.clone(), &mut self.done)
    }

    /// As somebody without capabilities.
    pub fn io_as(&mut self, uid: u32) -> Io<'_> {
        let mut cred = Cred::root(UserNs::initial());
        (cred.fsuid, cred.fsgid, cred.effective) = (uid, uid, kernel::cred::CapSet::EMPTY);
        Io::kernel(Arc::new(cred), &mut self.done)
    }

    pub fn trips(&self) -> usize {
        self.trips.swap(0, Ordering::Relaxed)
    }

    pub fn lookup(&mut self, dir: &Arc<Inode>, name: &str) -> Option<Arc<Inode>> {
        dir.ops.dir().unwrap().lookup(&mut self.io(), name.as_bytes()).unwrap()
    }

    pub fn create(&mut self, dir: &Arc<Inode>, name: &str, kind: NewKind<'_>) -> Result<Arc<Inode>, Stop> {
        let (uid, gid) = host::file::own_ids();
        dir.ops.dir().unwrap().create(&mut self.io(), name.as_bytes(), &NewNode::plain(kind, 0o644, uid, gid))
    }

    pub fn open(&mut self, inode: &Arc<Inode>, flags: OpenFlags) -> Arc<dyn FileOps> {
        inode.ops.open(&mut self.io(), inode, flags).unwrap()
    }

    pub fn read(&mut self, file: &Arc<dyn FileOps>, at: u64, max: usize) -> Vec<u8> {
        let mut sink = VecSink { data: Vec::new(), max };
        let count = file.read(&mut self.io(), Some(at), &mut sink).unwrap();
        assert_eq!(count, sink.data.len());
        sink.data
    }

    pub fn write(&mut self, file: &Arc<dyn FileOps>, at: u64, data: &[u8]) -> Result<usize, Stop> {
        file.write(&mut self.io(), Some(at), &mut SliceSource::new(data))
    }

    pub fn names(&mut self, dir: &Arc<Inode>) -> Vec<String> {
        struct Names(Vec<String>, u64, usize);
        impl DirSink for Names {
            fn entry(&mut self, name: &[u8], _ino: u64, _kind: FileType, next: u64) -> bool {
                if self.2 == 0 {
                    return false;
                }
                self.2 -= 1;
                self.0.push(String::from_utf8_lossy(name).into_owned());
                self.1 = next;
                true
            }
        }
        let file = self.open(dir, OpenFlags::DIRECTORY);
        let mut names = Names(Vec::new(), 0, 0);
        loop {
            names.2 = 100;
            let from = names.1;
            file.list(&mut self.io(), from, &mut names).unwrap();
            if names.2 == 100 {
                return names.0;
            }
        }
    }
}
