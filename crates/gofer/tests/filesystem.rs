//! The kernel's gofer file system over a real gofer: names, contents, caches and how many trips they take.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use abi::fs::OpenFlags;
use common::{Folder, serve};
use fsproto::{
    Attr, Bytes, Change, Changed, Client, Gofer, Handle, Listing, MountInfo, OpenHow, Opened, Statfs, SyncHow, Walked,
};
use kernel::cred::{Cred, UserNs};
use kernel::io::{Io, SliceSource, VecSink};
use kernel::op::Stop;
use kernel::vfs::{Backing, DirSink, FileOps, FileType, Inode, Link, NewKind, NewNode, Rights, SetAttr};
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
            fn forget(&self, handles: &[Handle]) {
                self.0.forget(handles)
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
struct Mounted {
    folder: Folder,
    root: Arc<Inode>,
    trips: Arc<AtomicUsize>,
    done: u64,
    cred: Arc<Cred>,
}

impl Mounted {
    fn new(prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        Mounted::with_descriptors(2000, prepare)
    }

    fn with_descriptors(descriptors: u64, prepare: impl FnOnce(&std::path::Path)) -> Mounted {
        let folder = Folder::new();
        prepare(&folder.0);
        let trips = Arc::new(AtomicUsize::new(0));
        let client = Counted(serve(&folder.0, false, descriptors), trips.clone());
        let root = filesystems::gofer::mount(Arc::new(client), 0, Default::default()).unwrap();
        Mounted { folder, root, trips, done: 0, cred: Arc::new(Cred::root(UserNs::initial())) }
    }

    fn io(&mut self) -> Io<'_> {
        Io::kernel(self.cred.clone(), &mut self.done)
    }

    fn trips(&self) -> usize {
        self.trips.swap(0, Ordering::Relaxed)
    }

    fn lookup(&mut self, dir: &Arc<Inode>, name: &str) -> Option<Arc<Inode>> {
        dir.ops.dir().unwrap().lookup(&mut self.io(), name.as_bytes()).unwrap()
    }

    fn create(&mut self, dir: &Arc<Inode>, name: &str, kind: NewKind<'_>) -> Result<Arc<Inode>, Stop> {
        let (uid, gid) = host::file::own_ids();
        dir.ops.dir().unwrap().create(&mut self.io(), name.as_bytes(), &NewNode { kind, perm: 0o644, uid, gid })
    }

    fn open(&mut self, inode: &Arc<Inode>, flags: OpenFlags) -> Arc<dyn FileOps> {
        inode.ops.open(&mut self.io(), inode, flags).unwrap()
    }

    fn read(&mut self, file: &Arc<dyn FileOps>, at: u64, max: usize) -> Vec<u8> {
        let mut sink = VecSink { data: Vec::new(), max };
        let count = file.read(&mut self.io(), Some(at), &mut sink).unwrap();
        assert_eq!(count, sink.data.len());
        sink.data
    }

    fn write(&mut self, file: &Arc<dyn FileOps>, at: u64, data: &[u8]) -> Result<usize, Stop> {
        file.write(&mut self.io(), Some(at), &mut SliceSource::new(data))
    }

    fn names(&mut self, dir: &Arc<Inode>) -> Vec<String> {
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

const RDWR: OpenFlags = OpenFlags::RDWR;

#[test]
fn a_deep_path_takes_one_trip_and_then_none() {
    let mut m = Mounted::new(|at| {
        std::fs::create_dir_all(at.join("a/b/c/d/e")).unwrap();
        std::fs::write(at.join("a/b/c/d/e/file"), "text").unwrap();
    });
    let root = m.root.clone();
    m.trips();
    let path: Vec<&[u8]> = "a/b/c/d/e/file".split('/').map(str::as_bytes).collect();
    let inodes = root.ops.dir().unwrap().walk_ahead(&mut m.io(), &path).unwrap();
    assert_eq!(inodes.len(), 6);
    let attr = inodes[5].attr(&mut m.io()).unwrap();
    assert_eq!((attr.size, attr.kind), (4, FileType::Regular));
    assert_eq!(m.trips(), 1);
    // What is not there is known after the walk, too.
    let inodes = root.ops.dir().unwrap().walk_ahead(&mut m.io(), &[b"a", b"none", b"x"]).unwrap();
    assert_eq!(inodes.len(), 1);
    assert!(m.lookup(&inodes[0], "none").is_none());
    assert_eq!(m.trips(), 1);
}

#[test]
fn files_are_made_written_read_and_mapped() {
    let mut m = Mounted::new(|_| ());
    let root = m.root.clone();
    m.trips();
    let inode = m.create(&root, "new", NewKind::Regular).unwrap();
    let file = m.open(&inode, RDWR);
    assert_eq!(m.trips(), 1, "create and open are one trip");
    assert_eq!(m.write(&file, 0, b"hello world"), Ok(11));
    assert_eq!(m.write(&file, u64::MAX, b"!"), Ok(1));
    assert_eq!(m.read(&file, 6, 100), b"world!");
    assert_eq!(m.read(&file, 100, 100), b"");
    assert_eq!(inode.attr(&mut m.io()).unwrap().size, 12);
    inode.ops.set_attr(&mut m.io(), &SetAttr { size: Some(5), ..SetAttr::default() }).unwrap();
    assert_eq!(inode.attr(&mut m.io()).unwrap().size, 5);
    file.sync(&mut m.io(), true).unwrap();
    assert_eq!(m.trips(), 0, "contents and attributes of an open file take none");
    let mut big = vec![7u8; 1 << 20];
    big[777_777] = 8;
    assert_eq!(m.write(&file, 5, &big), Ok(1 << 20));
    assert_eq!(m.read(&file, 5, 2 << 20), big);
    assert_eq!(std::fs::metadata(m.folder.0.join("new")).unwrap().len(), 5 + (1 << 20));
    let rights = |write, shared| Rights { write, shared };
    let Ok(Backing::Host { fd, offset, .. }) =
        file.mappable().unwrap().backing(&mut m.io(), 4096..8192, rights(false, false))
    else {
        panic!("no host file")
    };
    assert_eq!(offset, 4096);
    assert_eq!(host::file::write_at(&fd, b"x", 0), Err(Errno::EBADF), "a private mapping's file is read-only");
    let read_only = m.open(&inode, OpenFlags::empty());
    let refused = read_only.mappable().unwrap().backing(&mut m.io(), 0..4096, rights(true, true));
    assert!(matches!(refused, Err(Stop::Errno(Errno::EACCES))));
    assert_eq!(file.seek(&mut m.io(), -1, abi::fs::SEEK_END, 0), Ok(4 + (1 << 20)));
    // It goes on after its last name went.
    root.ops.dir().unwrap().unlink(&mut m.io(), b"new", &inode).unwrap();
    assert_eq!(m.read(&file, 0, 5), b"hello");
    assert_eq!(inode.attr(&mut m.io()).unwrap().nlink, 0);
    assert!(m.lookup(&root, "new").is_none());
}

#[test]
fn a_listing_answers_lookups_and_stays_right() {
    let mut m = Mounted::new(|at| {
        for n in 0..300 {
            std::fs::write(at.join(format!("file{n}")), "x").unwrap();
        }
    });
    let root = m.root.clone();
    m.trips();
    assert_eq!(m.names(&root).len(), 302);
    assert_eq!(m.trips(), 1);
    for n in 0..300 {
        let inode = m.lookup(&root, &format!("file{n}")).unwrap();
        assert_eq!(inode.attr(&mut m.io()).unwrap().size, 1);
    }
    assert!(m.lookup(&root, "none").is_none());
    assert_eq!(m.trips(), 0, "stat of all names takes no trip");
    m.create(&root, "none", NewKind::Dir).unwrap();
    let file7 = m.lookup(&root, "file7").unwrap();
    let dir = root.ops.dir().unwrap();
    dir.unlink(&mut m.io(), b"file7", &file7).unwrap();
    let file8 = m.lookup(&root, "file8").unwrap();
    dir.rename(&mut m.io(), b"file8", &file8, &root, b"moved", None, 0).unwrap();
    assert!(m.lookup(&root, "none").is_some());
    assert!(m.lookup(&root, "file7").is_none());
    assert!(m.lookup(&root, "file8").is_none());
    assert!(Arc::ptr_eq(&m.lookup(&root, "moved").unwrap(), &file8));
    let mut names = m.names(&root);
    names.sort();
    let mut expected: Vec<String> =
        std::fs::read_dir(&m.folder.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    expected.extend([".".into(), "..".into()]);
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn the_third_miss_in_a_folder_asks_for_all_names() {
    let mut m = Mounted::new(|at| std::fs::write(at.join("here"), "x").unwrap());
    let root = m.root.clone();
    for name in ["one", "two", "three"] {
        assert!(m.lookup(&root, name).is_none());
    }
    m.trips();
    for name in ["four", "five", "six"] {
        assert!(m.lookup(&root, name).is_none());
    }
    assert!(m.lookup(&root, "here").is_some());
    assert_eq!(m.trips(), 0);
    m.create(&root, "five", NewKind::Regular).unwrap();
    assert!(m.lookup(&root, "five").is_some());
}

#[test]
fn names_of_one_file_are_one_inode() {
    let mut m = Mounted::new(|at| {
        std::fs::write(at.join("a"), "1").unwrap();
        std::fs::hard_link(at.join("a"), at.join("b")).unwrap();
        std::os::unix::fs::symlink("a", at.join("s")).unwrap();
    });
    let root = m.root.clone();
    let (a, b) = (m.lookup(&root, "a").unwrap(), m.lookup(&root, "b").unwrap());
    assert!(Arc::ptr_eq(&a, &b));
    let dir = root.ops.dir().unwrap();
    dir.link(&mut m.io(), b"c", &a).unwrap();
    assert_eq!(b.attr(&mut m.io()).unwrap().nlink, 3);
    dir.unlink(&mut m.io(), b"a", &a).unwrap();
    assert_eq!(a.attr(&mut m.io()).unwrap().nlink, 2);
    let file = m.open(&b, OpenFlags::empty());
    assert_eq!(m.read(&file, 0, 10), b"1");
    assert!(matches!(dir.link(&mut m.io(), b"c", &a), Err(Stop::Errno(Errno::EEXIST))));
    let s = m.lookup(&root, "s").unwrap();
    m.trips();
    assert!(matches!(s.ops.read_link(&mut m.io()), Ok(Link::Target(t)) if &*t == b"a"));
    assert_eq!(m.trips(), 0);
}

#[test]
fn goes_on_where_the_gofer_runs_out_of_descriptors() {
    let mut m = Mounted::with_descriptors(128 + 20, |at| {
        for n in 0..200 {
            std::fs::write(at.join(format!("{n}")), format!("{n}")).unwrap();
        }
    });
    let root = m.root.clone();
    let inodes: Vec<_> = (0..200).map(|n| m.lookup(&root, &n.to_string()).unwrap()).collect();
    for (n, inode) in inodes.iter().enumerate() {
        inode.ops.set_attr(&mut m.io(), &SetAttr { perm: Some(0o600), ..SetAttr::default() }).unwrap();
        let file = m.open(inode, RDWR);
        assert_eq!(m.read(&file, 0, 10), n.to_string().into_bytes());
    }
}

#[test]
fn folders_deeper_than_a_stack_are_dropped() {
    let mut m = Mounted::new(|_| ());
    let mut at = m.root.clone();
    let (uid, gid) = host::file::own_ids();
    for _ in 0..1500 {
        let node = NewNode { kind: NewKind::Dir, perm: 0o755, uid, gid };
        at = at.ops.dir().unwrap().create(&mut m.io(), b"d", &node).unwrap();
    }
    std::thread::Builder::new().stack_size(32 << 10).spawn(move || drop(at)).unwrap().join().unwrap();
    // The host's own remove goes by descriptors and takes it.
    std::process::Command::new("rm").arg("-rf").arg(m.folder.0.join("d")).status().unwrap();
}
