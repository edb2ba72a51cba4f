//! The overlay over two folders of the host: what shows through, what is copied up, what is hidden.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use abi::fs::OpenFlags;
use common::mounted::Mounted;
use kernel::op::Stop;
use kernel::vfs::{Backing, FileType, Inode, NewKind, NewNode, Rights, SetAttr};
use std::path::Path;
use std::sync::Arc;

const READ: OpenFlags = OpenFlags::empty();
const RDWR: OpenFlags = OpenFlags::RDWR;

/// A file system in memory above, as a container has it.
#[test]
fn an_upper_layer_in_memory_takes_changes() {
    let mut m = Mounted::new(tree);
    let options = filesystems::tmpfs::Options { size: None, inodes: None, perm: 0o700, uid: 0, gid: 0 };
    let lower = m.root.clone();
    let below = lower.attr(&mut m.io()).unwrap();
    m.root = filesystems::overlay::cover(&mut m.io(), lower, filesystems::tmpfs::make(options)).unwrap();
    let root = m.root.clone();
    let above = root.attr(&mut m.io()).unwrap();
    assert_eq!((below.perm, below.uid, below.ino), (above.perm, above.uid, above.ino));
    let mut l = Layers { m, upper: Mounted::new(|_| ()) };
    l.write("dir/sub/deep", "DEEP");
    l.unlink("dir/file").unwrap();
    l.make("dir/file", NewKind::Dir).unwrap();
    l.rename("dir", "moved", 0).unwrap();
    l.make("dir", NewKind::Dir).unwrap();
    l.make("dir/new", NewKind::Regular).unwrap();
    l.write("dir/new", "x");
    assert_eq!((l.names("moved"), l.names("moved/file")), (vec!["file".into(), "sub".into()], vec![]));
    assert_eq!(
        (l.text("moved/sub/deep"), l.text("dir/new"), l.names("dir")),
        ("DEEP".into(), "x".into(), vec!["new".into()])
    );
    l.unlink("moved/sub/deep").unwrap();
    l.rmdir("moved/sub").unwrap();
    l.rmdir("moved/file").unwrap();
    l.rmdir("moved").unwrap();
    assert_eq!(l.names(""), ["dir", "link", "top"]);
    assert_eq!(std::fs::read_dir(&l.m.folder.0).unwrap().count(), 3);
}

/// An overlay: `m.root` is its root. The layers' folders on the host are `m.folder` (lower) and `upper.folder`.
struct Layers {
    m: Mounted,
    upper: Mounted,
}

impl Layers {
    fn new(lower: impl FnOnce(&Path)) -> Layers {
        let mut m = Mounted::new(lower);
        let upper = Mounted::new(|_| ());
        let (below, above) = (m.root.clone(), upper.root.clone());
        m.root = filesystems::overlay::cover(&mut m.io(), below, above).unwrap();
        Layers { m, upper }
    }

    fn at(&mut self, path: &str) -> Option<Arc<Inode>> {
        let mut at = self.m.root.clone();
        for name in path.split('/') {
            at = self.m.lookup(&at, name)?;
        }
        Some(at)
    }

    fn folder_of<'p>(&mut self, path: &'p str) -> (Arc<Inode>, &'p str) {
        match path.rsplit_once('/') {
            Some((dir, name)) => (self.at(dir).unwrap(), name),
            None => (self.m.root.clone(), path),
        }
    }

    fn unlink(&mut self, path: &str) -> Result<(), Stop> {
        let (dir, name) = self.folder_of(path);
        let target = self.at(path).unwrap();
        dir.ops.dir().unwrap().unlink(&mut self.m.io(), name.as_bytes(), &target)
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Stop> {
        let (dir, name) = self.folder_of(path);
        let target = self.at(path).unwrap();
        dir.ops.dir().unwrap().rmdir(&mut self.m.io(), name.as_bytes(), &target)
    }

    fn rename(&mut self, from: &str, to: &str, flags: u32) -> Result<(), Stop> {
        let moved = self.at(from).unwrap();
        let victim = self.at(to);
        let ((dir, name), (new_dir, new_name)) = (self.folder_of(from), self.folder_of(to));
        let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
        dir.ops.dir().unwrap().rename(&mut self.m.io(), name, &moved, &new_dir, new_name, victim.as_ref(), flags)
    }

    fn make(&mut self, path: &str, kind: NewKind<'_>) -> Result<Arc<Inode>, Stop> {
        let (dir, name) = self.folder_of(path);
        self.m.create(&dir, name, kind)
    }

    fn text(&mut self, path: &str) -> String {
        let inode = self.at(path).unwrap();
        let file = self.m.open(&inode, READ);
        String::from_utf8(self.m.read(&file, 0, 1 << 20)).unwrap()
    }

    fn write(&mut self, path: &str, text: &str) {
        let inode = self.at(path).unwrap();
        let file = self.m.open(&inode, RDWR);
        self.m.write(&file, 0, text.as_bytes()).unwrap();
    }

    fn names(&mut self, path: &str) -> Vec<String> {
        let inode = if path.is_empty() { self.m.root.clone() } else { self.at(path).unwrap() };
        let mut names = self.m.names(&inode);
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }
}

fn tree(at: &Path) {
    std::fs::create_dir_all(at.join("dir/sub")).unwrap();
    std::fs::write(at.join("dir/file"), "below").unwrap();
    std::fs::write(at.join("dir/sub/deep"), "deep").unwrap();
    std::fs::write(at.join("top"), "top").unwrap();
    std::os::unix::fs::symlink("top", at.join("link")).unwrap();
}

/// Making whiteouts on the host's file systems takes root.
fn skip() -> bool {
    host::file::own_ids().0 != 0
}

#[test]
fn what_is_below_shows_and_changes_go_up() {
    let mut l = Layers::new(tree);
    assert_eq!(l.names(""), ["dir", "link", "top"]);
    assert_eq!(l.text("dir/sub/deep"), "deep");
    assert!(!l.upper.folder.0.join("dir").exists());
    let inode = l.at("dir/file").unwrap();
    let before = inode.attr(&mut l.m.io()).unwrap();
    let early = l.m.open(&inode, READ);
    assert_eq!(l.m.read(&early, 0, 10), b"below");
    let dir = l.at("dir").unwrap();
    let dir_before = dir.attr(&mut l.m.io()).unwrap();
    l.write("dir/file", "ABOVE");
    assert_eq!(l.text("dir/file"), "ABOVE");
    assert_eq!(l.m.read(&early, 0, 10), b"ABOVE", "a file opened before reads the copy");
    let after = inode.attr(&mut l.m.io()).unwrap();
    assert_eq!((before.ino, before.uid, before.perm, before.nlink), (after.ino, after.uid, after.perm, after.nlink));
    let dir_after = dir.attr(&mut l.m.io()).unwrap();
    assert_eq!((dir_before.ino, dir_before.mtime.tv_nsec), (dir_after.ino, dir_after.mtime.tv_nsec));
    assert_eq!(std::fs::read(l.m.folder.0.join("dir/file")).unwrap(), b"below");
    assert_eq!(std::fs::read(l.upper.folder.0.join("dir/file")).unwrap(), b"ABOVE");
    assert!(!l.upper.folder.0.join("dir/sub").exists());
    assert_eq!(l.names("dir"), ["file", "sub"]);
}

#[test]
fn attributes_and_holes_are_copied() {
    let mut l = Layers::new(|at| {
        let file = std::fs::File::create(at.join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"middle", 32 << 20).unwrap();
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(77, 5));
        file.set_times(times).unwrap();
        std::fs::set_permissions(at.join("sparse"), std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    });
    let inode = l.at("sparse").unwrap();
    let before = inode.attr(&mut l.m.io()).unwrap();
    let file = l.m.open(&inode, OpenFlags::WRONLY);
    let after = inode.attr(&mut l.m.io()).unwrap();
    assert_eq!((after.perm, after.size, after.mtime.tv_sec, after.mtime.tv_nsec), (0o4751, 64 << 20, 77, 5));
    assert_eq!((before.ino, before.uid, before.gid), (after.ino, after.uid, after.gid));
    assert!(after.blocks * 512 < 1 << 20, "{} blocks", after.blocks);
    drop(file);
    let file = l.m.open(&inode, READ);
    assert_eq!(l.m.read(&file, 32 << 20, 6), b"middle");
    // Cut to nothing: no contents are copied.
    let mut l = Layers::new(tree);
    let inode = l.at("top").unwrap();
    inode.ops.set_attr(&mut l.m.io(), &SetAttr { size: Some(0), ..SetAttr::default() }).unwrap();
    assert_eq!(l.text("top"), "");
    assert_eq!(std::fs::read(l.m.folder.0.join("top")).unwrap(), b"top");
}

#[test]
fn removed_names_stay_removed_and_can_be_made_again() {
    if skip() {
        return;
    }
    let mut l = Layers::new(tree);
    l.unlink("dir/file").unwrap();
    assert!(l.at("dir/file").is_none());
    assert_eq!(l.names("dir"), ["sub"]);
    assert!(l.m.folder.0.join("dir/file").exists());
    l.make("dir/file", NewKind::Regular).unwrap();
    l.write("dir/file", "new");
    assert_eq!((l.text("dir/file"), l.names("dir")), ("new".into(), vec!["file".into(), "sub".into()]));
    l.unlink("dir/file").unwrap();
    assert!(l.at("dir/file").is_none());
    assert_eq!(l.rmdir("dir"), Err(Stop::Errno(Errno::ENOTEMPTY)));
    l.unlink("dir/sub/deep").unwrap();
    l.rmdir("dir/sub").unwrap();
    l.rmdir("dir").unwrap();
    assert_eq!(l.names(""), ["link", "top"]);
    // A new folder of that name is empty.
    l.make("dir", NewKind::Dir).unwrap();
    assert_eq!(l.names("dir"), Vec::<String>::new());
    assert!(l.at("dir/sub").is_none());
    l.make("dir/file", NewKind::Symlink(b"x")).unwrap();
    assert_eq!(l.names("dir"), ["file"]);
    assert!(l.m.folder.0.join("dir/sub/deep").exists());
}

#[test]
fn files_and_folders_are_renamed_with_all_that_is_in_them() {
    if skip() {
        return;
    }
    let mut l = Layers::new(tree);
    let ino = l.at("top").unwrap().ino;
    l.rename("top", "dir/moved", 0).unwrap();
    assert!(l.at("top").is_none());
    assert_eq!((l.text("dir/moved"), l.at("dir/moved").unwrap().ino), ("top".into(), ino));
    l.rename("dir", "other", 0).unwrap();
    assert!(l.at("dir").is_none());
    assert_eq!(l.names("other"), ["file", "moved", "sub"]);
    assert_eq!(l.text("other/sub/deep"), "deep");
    l.make("dir", NewKind::Dir).unwrap();
    assert_eq!(l.names("dir"), Vec::<String>::new());
    l.write("other/file", "BELOW");
    l.rename("other/sub", "dir/sub", 0).unwrap();
    assert_eq!((l.names("dir"), l.names("other")), (vec!["sub".into()], vec!["file".into(), "moved".into()]));
    assert_eq!(l.text("dir/sub/deep"), "deep");
    l.rename("dir", "other", 2).unwrap();
    assert_eq!((l.names("other"), l.names("dir")), (vec!["sub".into()], vec!["file".into(), "moved".into()]));
    assert_eq!(l.rename("other", "dir", 0), Err(Stop::Errno(Errno::ENOTEMPTY)));
    l.rename("dir/file", "dir/moved", 0).unwrap();
    assert_eq!((l.names("dir"), l.text("dir/moved")), (vec!["moved".into()], "BELOW".into()));
    l.unlink("dir/moved").unwrap();
    l.rename("other", "dir", 0).unwrap();
    assert_eq!((l.names(""), l.text("dir/sub/deep")), (vec!["dir".into(), "link".into()], "deep".into()));
}

#[test]
fn names_of_one_file_stay_one_file() {
    if skip() {
        return;
    }
    let mut l = Layers::new(|at| {
        std::fs::write(at.join("a"), "one").unwrap();
        std::fs::hard_link(at.join("a"), at.join("b")).unwrap();
    });
    let a = l.at("a").unwrap();
    l.write("a", "TWO");
    assert_eq!(l.text("b"), "TWO");
    assert!(Arc::ptr_eq(&a, &l.at("b").unwrap()));
    let root = l.m.root.clone();
    root.ops.dir().unwrap().link(&mut l.m.io(), b"c", &a).unwrap();
    assert_eq!(a.attr(&mut l.m.io()).unwrap().nlink, 3);
    l.unlink("a").unwrap();
    assert_eq!((l.text("b"), l.text("c"), a.attr(&mut l.m.io()).unwrap().nlink), ("TWO".into(), "TWO".into(), 2));
    l.rename("b", "d", 0).unwrap();
    assert_eq!((l.names(""), l.text("d")), (vec!["c".into(), "d".into()], "TWO".into()));
}

#[test]
fn lower_files_are_mapped_from_the_host() {
    let mut l = Layers::new(tree);
    let inode = l.at("top").unwrap();
    let file = l.m.open(&inode, READ);
    let rights = |write, shared| Rights { write, shared };
    let mapped = file.mappable().unwrap().backing(&mut l.m.io(), 0..4096, rights(true, false)).unwrap();
    assert!(matches!(mapped, Backing::Host { offset: 0, .. }));
    let refused = file.mappable().unwrap().backing(&mut l.m.io(), 0..4096, rights(true, true));
    assert!(matches!(refused, Err(Stop::Errno(Errno::EACCES))));
}

#[test]
fn a_deep_path_below_takes_one_trip() {
    let mut l = Layers::new(|at| {
        std::fs::create_dir_all(at.join("a/b/c/d")).unwrap();
        std::fs::write(at.join("a/b/c/d/file"), "x").unwrap();
    });
    let root = l.m.root.clone();
    l.m.trips();
    let names: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d", b"file"];
    let inodes = root.ops.dir().unwrap().walk_ahead(&mut l.m.io(), &names).unwrap();
    assert_eq!((inodes.len(), inodes[4].kind, l.m.trips()), (5, FileType::Regular, 1));
    let (uid, gid) = host::file::own_ids();
    let node = NewNode::plain(NewKind::Dir, 0o700, uid, gid);
    inodes[2].ops.dir().unwrap().create(&mut l.m.io(), b"new", &node).unwrap();
    let names: Vec<&[u8]> = vec![b"a", b"b", b"c", b"new"];
    let inodes = root.ops.dir().unwrap().walk_ahead(&mut l.m.io(), &names).unwrap();
    let inodes_left = 4 - inodes.len();
    assert!(inodes_left <= 1, "{inodes_left} left to look up");
    assert_eq!(l.names("a/b/c"), ["d", "new"]);
}

/// Two tasks write to one lower file at once: both writes arrive in one copy.
#[test]
fn two_copies_at_once_end_as_one() {
    for _ in 0..20 {
        let mut l = Layers::new(|at| std::fs::write(at.join("file"), vec![b'.'; 300_000]).unwrap());
        let inode = l.at("file").unwrap();
        let threads: Vec<_> = (0..4u64)
            .map(|n| {
                let inode = inode.clone();
                std::thread::spawn(move || {
                    let cred = Arc::new(kernel::cred::Cred::root(kernel::cred::UserNs::initial()));
                    let mut done = 0;
                    let mut io = kernel::io::Io::kernel(cred, &mut done);
                    let file = inode.ops.open(&mut io, &inode, OpenFlags::WRONLY).unwrap();
                    let text = [b'0' + n as u8];
                    file.write(&mut io, Some(n * 1000), &mut kernel::io::SliceSource::new(&text)).unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let text = l.text("file");
        assert_eq!(text.len(), 300_000);
        for n in 0..4 {
            assert_eq!(text.as_bytes()[n * 1000], b'0' + n as u8);
        }
    }
}
