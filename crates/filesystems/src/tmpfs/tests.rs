//! tmpfs through the VFS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use abi::fs::{OpenFlags, RENAME_EXCHANGE, RENAME_NOREPLACE, SEEK_DATA, SEEK_HOLE};
use kernel::cred::{Cred, UserNs};
use kernel::io::{SliceSource, VecSink};
use kernel::vfs::{self, Base, DirSink, File, Mount, OpenHow, Path, SetAttr, WalkFlags, namei};

struct World {
    base: Base,
    _ns: Arc<vfs::MountNs>,
    cred: Arc<Cred>,
}

impl World {
    fn new(options: Options) -> World {
        let root = make(options);
        let mount = Mount::new(root.fs.clone(), root.fs.root_dentry(&root), b"none", 0);
        let ns = vfs::MountNs::new(UserNs::initial());
        ns.set_root(mount.clone());
        let at = Path::new(mount.clone(), mount.root.clone());
        World { base: Base::new(at.clone(), at), _ns: ns, cred: Arc::new(Cred::root(UserNs::initial())) }
    }
    fn plain() -> World {
        World::new(Options { size: None, inodes: None, perm: 0o755, uid: 0, gid: 0 })
    }
    fn io<T>(&self, f: impl FnOnce(&mut Io<'_>) -> Op<T>) -> Op<T> {
        let mut done = 0;
        f(&mut Io::kernel(self.cred.clone(), &mut done))
    }
    fn open(&self, path: &str, flags: OpenFlags) -> Op<Arc<File>> {
        let mut how = OpenHow::new(flags);
        how.perm = 0o644;
        self.io(|io| vfs::open_file(io, &self.base, path.as_bytes(), how))
    }
    fn make(&self, path: &str, data: &[u8]) -> Op<Arc<File>> {
        let file = self.open(path, OpenFlags::CREAT | OpenFlags::RDWR)?;
        assert_eq!(self.write(&file, None, data)?, data.len());
        Ok(file)
    }
    fn write(&self, file: &File, at: Option<u64>, data: &[u8]) -> Op<usize> {
        self.io(|io| file.write(io, at, &mut SliceSource::new(data)))
    }
    fn read(&self, file: &File, at: u64, max: usize) -> Vec<u8> {
        let mut sink = VecSink { data: Vec::new(), max };
        self.io(|io| file.read(io, Some(at), &mut sink)).unwrap();
        sink.data
    }
    fn mkdir(&self, path: &str) -> Op<Path> {
        self.io(|io| namei::create(io, &self.base, path.as_bytes(), NewKind::Dir, 0o755))
    }
    fn symlink(&self, target: &str, path: &str) -> Op<Path> {
        self.io(|io| namei::create(io, &self.base, path.as_bytes(), NewKind::Symlink(target.as_bytes()), 0o777))
    }
    fn walk(&self, path: &str, flags: WalkFlags) -> Op<Path> {
        self.io(|io| vfs::walk(io, &self.base, path.as_bytes(), flags))
    }
    fn umount(&self, at: Path) {
        self.io(|io| vfs::umount(io, at, &self.base.root, 0)).unwrap();
    }
    fn find(&self, path: &str) -> Op<Path> {
        self.walk(path, WalkFlags::FOLLOW)
    }
    fn unlink(&self, path: &str) -> Op<()> {
        self.io(|io| namei::unlink(io, &self.base, path.as_bytes()))
    }
    fn rmdir(&self, path: &str) -> Op<()> {
        self.io(|io| namei::rmdir(io, &self.base, path.as_bytes()))
    }
    fn rename(&self, old: &str, new: &str, flags: u32) -> Op<()> {
        self.io(|io| {
            let from = namei::parent(io, &self.base, old.as_bytes())?;
            let to = namei::parent(io, &self.base, new.as_bytes())?;
            namei::rename(io, from, to, flags)
        })
    }
    fn names(&self, path: &str) -> Vec<String> {
        struct Names(Vec<String>);
        impl DirSink for Names {
            fn entry(&mut self, name: &[u8], _ino: u64, _kind: FileType, _next: u64) -> bool {
                self.0.push(String::from_utf8_lossy(name).into());
                true
            }
        }
        let dir = self.open(path, OpenFlags::DIRECTORY).unwrap();
        let mut names = Names(Vec::new());
        self.io(|io| dir.ops.list(io, 2, &mut names)).unwrap();
        names.0
    }
    fn name(&self, path: &Path) -> String {
        String::from_utf8(path.name_from(&self.base.root).shown()).unwrap()
    }
}

#[test]
fn small_and_large_files_keep_their_data() {
    let w = World::plain();
    let file = w.make("/f", b"hello").unwrap();
    assert_eq!(w.read(&file, 1, 100), b"ello");
    let large: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    assert_eq!(w.write(&file, Some(3), &large), Ok(200_000));
    assert_eq!(w.read(&file, 3, 300_000), large);
    assert_eq!(w.read(&file, 0, 3), b"hel");
    assert_eq!(w.read(&file, 200_003, 10), b"");
    let inode = file.inode.clone().unwrap();
    w.io(|io| inode.ops.set_attr(io, &SetAttr { size: Some(2), ..SetAttr::default() })).unwrap();
    assert_eq!(w.read(&file, 0, 10), b"he");
    assert_eq!(w.io(|io| inode.attr(io)).unwrap().size, 2);
}

#[test]
fn append_goes_to_the_end() {
    let w = World::plain();
    w.make("/f", b"one").unwrap();
    let file = w.open("/f", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    w.write(&file, None, b"two").unwrap();
    w.write(&file, None, b"three").unwrap();
    let file = w.open("/f", OpenFlags::empty()).unwrap();
    assert_eq!(w.read(&file, 0, 100), b"onetwothree");
}

#[test]
fn holes_are_found() {
    let w = World::plain();
    let file = w.make("/f", b"").unwrap();
    w.write(&file, Some(1 << 20), b"x").unwrap();
    let seek = |at, whence| w.io(|io| file.ops.seek(io, at, whence, 0));
    assert_eq!(seek(0, SEEK_DATA), Ok(1 << 20));
    assert_eq!(seek(0, SEEK_HOLE), Ok(0));
    assert_eq!(seek(2 << 20, SEEK_DATA), fail(Errno::ENXIO));
}

#[test]
fn limits_hold() {
    let w = World::new(Options { size: Some(64 << 10), inodes: Some(3), perm: 0o755, uid: 0, gid: 0 });
    let file = w.make("/f", b"").unwrap();
    let written = w.write(&file, None, &vec![1; 200_000]).unwrap();
    assert_eq!(written, 64 << 10);
    assert_eq!(w.write(&file, Some(1 << 20), b"x"), fail(Errno::ENOSPC));
    assert!(w.make("/g", b"").is_ok());
    assert_eq!(w.make("/h", b"").err(), Some(Errno::ENOSPC.into()));
    drop(file);
    w.unlink("/f").unwrap();
    w.io(|io| {
        let stat = w.base.root.mount.fs.ops.statfs(io)?;
        assert_eq!((stat.blocks, stat.blocks_free, stat.files_free), (16, 16, 1));
        Ok(())
    })
    .unwrap();
}

#[test]
fn paths() {
    let w = World::plain();
    w.mkdir("/a").unwrap();
    w.mkdir("/a/b/").unwrap();
    w.make("/a/b/f", b"x").unwrap();
    w.symlink("b/f", "/a/l").unwrap();
    w.symlink("/a/", "/root").unwrap();
    w.symlink("loop", "/loop").unwrap();
    assert_eq!(w.name(&w.find("/a/../a/./b//f").unwrap()), "/a/b/f");
    assert_eq!(w.name(&w.find("/root/l").unwrap()), "/a/b/f");
    assert_eq!(w.name(&w.walk("/a/l", WalkFlags::empty()).unwrap()), "/a/l");
    assert_eq!(w.name(&w.find("../../a").unwrap()), "/a");
    assert_eq!(w.find("/loop").err(), Some(Errno::ELOOP.into()));
    assert_eq!(w.find("/a/b/f/").err(), Some(Errno::ENOTDIR.into()));
    assert_eq!(w.find("/a/b/f/x").err(), Some(Errno::ENOTDIR.into()));
    assert_eq!(w.find("/a/none").err(), Some(Errno::ENOENT.into()));
    assert_eq!(w.find("").err(), Some(Errno::ENOENT.into()));
    assert_eq!(w.find(&format!("/{}", "x".repeat(256))).err(), Some(Errno::ENAMETOOLONG.into()));
    assert_eq!(w.walk("/a", WalkFlags::BENEATH).err(), Some(Errno::EXDEV.into()));
    assert_eq!(w.walk("a/..", WalkFlags::BENEATH).map(|p| w.name(&p)), Ok("/".into()));
    assert_eq!(w.walk("a/../..", WalkFlags::BENEATH).err(), Some(Errno::EXDEV.into()));
    assert_eq!(w.walk("a/l", WalkFlags::NO_SYMLINKS | WalkFlags::FOLLOW).err(), Some(Errno::ELOOP.into()));
}

#[test]
fn names_come_and_go() {
    let w = World::plain();
    w.mkdir("/d").unwrap();
    let file = w.make("/d/f", b"x").unwrap();
    assert_eq!(w.mkdir("/d").err(), Some(Errno::EEXIST.into()));
    assert_eq!(w.rmdir("/d"), fail(Errno::ENOTEMPTY));
    assert_eq!(w.unlink("/d"), fail(Errno::EISDIR));
    assert_eq!(w.rmdir("/d/f"), fail(Errno::ENOTDIR));
    let path = w.find("/d/f").unwrap();
    w.io(|io| namei::link(io, &path, &w.base, b"/d/g")).unwrap();
    assert_eq!(w.names("/d"), ["f", "g"]);
    w.unlink("/d/f").unwrap();
    assert_eq!(w.name(&path), "/d/f (deleted)");
    assert_eq!(w.read(&file, 0, 9), b"x");
    let inode = file.inode.clone().unwrap();
    assert_eq!(w.io(|io| inode.attr(io)).unwrap().nlink, 1);
    w.unlink("/d/g").unwrap();
    let dir = w.find("/d").unwrap();
    w.rmdir("/d").unwrap();
    let base = Base::new(w.base.root.clone(), dir);
    assert_eq!(w.io(|io| namei::create(io, &base, b"x", NewKind::Regular, 0o644)).err(), Some(Errno::ENOENT.into()));
}

#[test]
fn rename_in_all_its_ways() {
    let w = World::plain();
    w.mkdir("/a").unwrap();
    w.mkdir("/b").unwrap();
    w.make("/a/f", b"1").unwrap();
    w.make("/b/g", b"2").unwrap();
    assert_eq!(w.rename("/a/f", "/b/g", RENAME_NOREPLACE), fail(Errno::EEXIST));
    w.rename("/a/f", "/b/g", RENAME_EXCHANGE).unwrap();
    let read = |p: &str| w.read(&w.open(p, OpenFlags::empty()).unwrap(), 0, 9);
    assert_eq!((read("/a/f"), read("/b/g")), (b"2".to_vec(), b"1".to_vec()));
    w.rename("/a/f", "/b/g", 0).unwrap();
    assert_eq!(read("/b/g"), b"2");
    assert_eq!(w.find("/a/f").err(), Some(Errno::ENOENT.into()));
    assert_eq!(w.rename("/a", "/a/x", 0), fail(Errno::EINVAL));
    assert_eq!(w.rename("/a", "/b", 0), fail(Errno::ENOTEMPTY));
    assert_eq!(w.rename("/b/g", "/a", 0), fail(Errno::EISDIR));
    assert_eq!(w.rename("/a", "/b/g", 0), fail(Errno::ENOTDIR));
    w.rename("/b", "/a", 0).unwrap();
    assert_eq!(read("/a/g"), b"2");
    w.mkdir("/a/sub").unwrap();
    w.rename("/a/sub", "/moved", 0).unwrap();
    assert_eq!(w.io(|io| w.find("/a")?.inode()?.attr(io)).unwrap().nlink, 2);
    assert_eq!(w.name(&w.find("/moved/..").unwrap()), "/");
}

#[test]
fn mounts_and_binds() {
    let w = World::plain();
    w.mkdir("/m").unwrap();
    w.mkdir("/m/hidden").unwrap();
    w.mkdir("/n").unwrap();
    let root = make(Options { size: None, inodes: None, perm: 0o755, uid: 0, gid: 0 });
    let mount = Mount::new(root.fs.clone(), root.fs.root_dentry(&root), b"none", 0);
    vfs::attach(&mount, &w.find("/m").unwrap()).unwrap();
    assert_eq!(w.find("/m/hidden").err(), Some(Errno::ENOENT.into()));
    w.mkdir("/m/inside").unwrap();
    assert_eq!(w.name(&w.find("/m/inside/../..").unwrap()), "/");
    assert_eq!(w.rmdir("/m"), fail(Errno::EBUSY));
    vfs::bind(&w.find("/m/inside").unwrap(), &w.find("/n").unwrap(), false).unwrap();
    w.make("/n/file", b"x").unwrap();
    assert!(w.find("/m/inside/file").is_ok());
    assert_eq!(w.name(&w.find("/n/file").unwrap()), "/n/file");
    assert_eq!(w.walk("/m/inside", WalkFlags::NO_XDEV).err(), Some(Errno::EXDEV.into()));
    let busy = w.find("/n").unwrap();
    let held = busy.clone();
    assert_eq!(w.io(|io| vfs::umount(io, busy, &w.base.root, 0)), fail(Errno::EBUSY));
    drop(held);
    w.umount(w.find("/n").unwrap());
    assert_eq!(w.find("/n/file").err(), Some(Errno::ENOENT.into()));
    drop(mount);
    w.umount(w.find("/m").unwrap());
    assert!(w.find("/m/hidden").is_ok());
}

#[test]
fn shared_mounts_propagate() {
    let w = World::plain();
    for dir in ["/a", "/a/sub", "/b"] {
        w.mkdir(dir).unwrap();
    }
    let new = || {
        let root = make(Options { size: None, inodes: None, perm: 0o755, uid: 0, gid: 0 });
        Mount::new(root.fs.clone(), root.fs.root_dentry(&root), b"none", 0)
    };
    let ns = w.base.root.mount.tree.read().ns.upgrade();
    vfs::register_ns(&ns.unwrap());
    vfs::bind(&w.find("/a").unwrap(), &w.find("/a").unwrap(), false).unwrap();
    vfs::set_propagation(&w.find("/a").unwrap(), vfs::Propagation::Shared, false).unwrap();
    vfs::bind(&w.find("/a").unwrap(), &w.find("/b").unwrap(), false).unwrap();
    vfs::attach(&new(), &w.find("/a/sub").unwrap()).unwrap();
    w.make("/a/sub/f", b"").unwrap();
    assert!(w.find("/b/sub/f").is_ok());
    w.umount(w.find("/a/sub").unwrap());
    assert_eq!(w.find("/b/sub/f").err(), Some(Errno::ENOENT.into()));
    vfs::set_propagation(&w.find("/b").unwrap(), vfs::Propagation::Private, false).unwrap();
    vfs::attach(&new(), &w.find("/a/sub").unwrap()).unwrap();
    w.make("/a/sub/f", b"").unwrap();
    assert_eq!(w.find("/b/sub/f").err(), Some(Errno::ENOENT.into()));
}

#[test]
fn inotify_is_told() {
    let w = World::plain();
    w.mkdir("/d").unwrap();
    let watcher = vfs::Inotify::new();
    let dir = w.find("/d").unwrap().inode().unwrap();
    assert_eq!(watcher.add(&dir, abi::inotify::IN_ALL_EVENTS), Ok(1));
    let events = || {
        let mut sink = VecSink { data: Vec::new(), max: 4096 };
        let file = File::anonymous(watcher.clone(), OpenFlags::empty());
        let _ = w.io(|io| file.read(io, None, &mut sink));
        let mut out = Vec::new();
        let mut rest = &sink.data[..];
        while rest.len() >= 16 {
            let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap());
            let (mask, len) = (word(4), word(12) as usize);
            let name: Vec<u8> = rest[16..16 + len].iter().copied().take_while(|b| *b != 0).collect();
            out.push((mask, String::from_utf8(name).unwrap()));
            rest = &rest[16 + len..];
        }
        out
    };
    let named = |mask: u32, name: &str| (mask, name.to_string());
    drop(w.make("/d/f", b"x").unwrap());
    let expected = [named(0x100, "f"), named(0x20, "f"), named(0x2, "f"), named(0x8, "f")];
    assert_eq!(events(), expected);
    w.rename("/d/f", "/d/g", 0).unwrap();
    w.unlink("/d/g").unwrap();
    assert_eq!(events(), [named(0x40, "f"), named(0x80, "g"), named(0x200, "g")]);
    w.rmdir("/d").unwrap();
    assert_eq!(events(), [named(0x400, ""), named(0x8000, "")]);
}

#[test]
fn a_deep_tree_goes_without_deep_recursion() {
    let w = World::plain();
    let mut at = w.base.root.clone();
    for _ in 0..20_000 {
        let base = Base::new(w.base.root.clone(), at);
        at = w.io(|io| namei::create(io, &base, b"d", NewKind::Dir, 0o755)).unwrap();
    }
    drop(at);
    let counts = node::Node::of(&w.base.root.inode().unwrap()).unwrap().counts.clone();
    assert_eq!(counts.inodes_used.load(Ordering::Relaxed), 20_001);
    drop(w);
    kernel::wait::drain();
    assert_eq!(counts.inodes_used.load(Ordering::Relaxed), 0);
}
