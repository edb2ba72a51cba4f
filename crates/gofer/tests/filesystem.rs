//! The kernel's gofer file system over a real gofer: names, contents, caches and how many trips they take.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use abi::fs::OpenFlags;
use common::mounted::Mounted;
use kernel::op::Stop;
use kernel::vfs::{Backing, DirSink, FileType, Link, NewKind, NewNode, Rights, SetAttr};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

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
    root.attr(&mut m.io()).unwrap();
    assert_eq!(m.trips(), 1, "create and open are one trip, and the folder's attributes come along");
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
fn a_large_folder_is_listed_in_parts_and_can_be_gone_back_in() {
    struct Places(Vec<(String, u64)>, usize);
    impl DirSink for Places {
        fn entry(&mut self, name: &[u8], _ino: u64, _kind: FileType, next: u64) -> bool {
            if self.0.len() < self.1 {
                self.0.push((String::from_utf8_lossy(name).into_owned(), next));
            }
            self.0.len() < self.1
        }
    }
    const COUNT: usize = 15_000;
    let prepare = |at: &std::path::Path| {
        for n in 0..COUNT {
            std::fs::File::create(at.join(format!("name{n}"))).unwrap();
        }
    };
    for m in [Some(Mounted::new(prepare)), Mounted::direct(prepare)].into_iter().flatten() {
        let mut m = m;
        let root = m.root.clone();
        let file = m.open(&root, OpenFlags::DIRECTORY);
        let mut some = |from: u64, most: usize| {
            let mut places = Places(Vec::new(), most);
            file.list(&mut m.io(), from, &mut places).unwrap();
            places.0
        };
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let part = some(from, 1000);
            let Some((_, next)) = part.last() else { break };
            from = *next;
            all.extend(part);
        }
        let names: std::collections::HashSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((all.len(), names.len()), (COUNT + 2, COUNT + 2));
        // To a place whose names are kept no more, and on from there.
        for at in [12_000, 50, 14_990] {
            assert_eq!(some(all[at].1, 5), all[at + 1..at + 6], "from {at}");
        }
        assert_eq!(some(0, 3), all[..3]);
    }
}

#[test]
fn attributes_of_open_files_are_what_the_host_has() {
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let mut m = Mounted::new(|at| {
        let file = std::fs::File::create(at.join("file")).unwrap();
        file.set_len(10).unwrap();
        file.set_times(std::fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago)).unwrap();
    });
    let root = m.root.clone();
    let path = m.folder.0.join("file");
    let inode = m.lookup(&root, "file").unwrap();
    let same = |m: &mut Mounted, when: &str| {
        let attr = inode.attr(&mut m.io()).unwrap();
        let host = std::fs::metadata(&path).unwrap();
        let (atime, mtime) = ((host.atime(), host.atime_nsec()), (host.mtime(), host.mtime_nsec()));
        assert_eq!(attr.size, host.len(), "{when}");
        assert_eq!((attr.atime.tv_sec, attr.atime.tv_nsec), atime, "{when}");
        assert_eq!((attr.mtime.tv_sec, attr.mtime.tv_nsec), mtime, "{when}");
    };
    same(&mut m, "at first");
    let file = m.open(&inode, RDWR);
    assert_eq!(m.read(&file, 0, 100).len(), 10);
    same(&mut m, "read");
    m.write(&file, 5, &[1; 5000]).unwrap();
    same(&mut m, "written");
    assert_eq!(m.read(&file, 5000, 100).len(), 5);
    m.write(&file, u64::MAX, b"end").unwrap();
    same(&mut m, "appended to");
    file.allocate(&mut m.io(), 0, 0..100_000).unwrap();
    same(&mut m, "allocated");
    m.write(&file, 0, b"x").unwrap();
    drop(file);
    same(&mut m, "closed");
    // Contents are the host's: what it appends is read.
    let file = m.open(&inode, OpenFlags::empty());
    let end = std::fs::metadata(&path).unwrap().len();
    assert_eq!(m.read(&file, end, 10), b"");
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"host").unwrap();
    assert_eq!(m.read(&file, end, 10), b"host");
    same(&mut m, "grown on the host");
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
        let node = NewNode::plain(NewKind::Dir, 0o755, uid, gid);
        at = at.ops.dir().unwrap().create(&mut m.io(), b"d", &node).unwrap();
    }
    std::thread::Builder::new().stack_size(32 << 10).spawn(move || drop(at)).unwrap().join().unwrap();
    // The host's own remove goes by descriptors and takes it.
    std::process::Command::new("rm").arg("-rf").arg(m.folder.0.join("d")).status().unwrap();
}
