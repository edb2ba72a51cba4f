//! What the kernel's side does by itself below a folder that the gofer gave away, and what it leaves to the gofer. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use abi::fs::OpenFlags;
use common::mounted::Mounted;
use kernel::op::Stop;
use kernel::vfs::{FileType, Link, NewKind, SetAttr};
use std::os::unix::fs::{chown, symlink};

#[test]
fn lookups_opens_and_listings_take_no_trip() {
    let Some(mut m) = Mounted::direct(|at| {
        std::fs::create_dir_all(at.join("a/b")).unwrap();
        std::fs::write(at.join("a/b/file"), "text").unwrap();
        symlink("b/file", at.join("a/link")).unwrap();
    }) else {
        return;
    };
    let root = m.root.clone();
    m.trips();
    let inodes = root.ops.dir().unwrap().walk_ahead(&mut m.io(), &[b"a", b"b", b"file"]).unwrap();
    assert_eq!(inodes.len(), 3);
    assert_eq!(inodes[2].attr(&mut m.io()).unwrap().size, 4);
    let file = m.open(&inodes[2], OpenFlags::RDWR);
    assert_eq!(m.read(&file, 0, 10), b"text");
    assert_eq!(m.write(&file, 4, b"!"), Ok(1));
    assert_eq!(inodes[2].attr(&mut m.io()).unwrap().size, 5);
    let link = m.lookup(&inodes[0], "link").unwrap();
    assert!(matches!(link.ops.read_link(&mut m.io()), Ok(Link::Target(t)) if &*t == b"b/file"));
    assert!(m.lookup(&inodes[0], "none").is_none());
    let mut names = m.names(&inodes[0]);
    names.sort();
    assert_eq!(names, [".", "..", "b", "link"]);
    assert_eq!(m.trips(), 0);
    assert!(m.lookup(&inodes[0], "other").is_none(), "the listing is known");
    // Changes stay with the gofer, which finds the node by its name.
    inodes[2].ops.set_attr(&mut m.io(), &SetAttr { perm: Some(0o600), ..SetAttr::default() }).unwrap();
    assert!(m.trips() > 0);
    assert_eq!(inodes[2].attr(&mut m.io()).unwrap().perm, 0o600);
}

#[test]
fn owners_without_a_name_are_asked_of_the_gofer() {
    let Some(mut m) = Mounted::direct(|at| {
        std::fs::create_dir(at.join("d")).unwrap();
        for (name, uid) in [("mine", 0), ("theirs", 1000), ("others", 1001)] {
            std::fs::write(at.join("d").join(name), name).unwrap();
            chown(at.join("d").join(name), Some(uid), Some(uid)).unwrap();
        }
    }) else {
        return;
    };
    let root = m.root.clone();
    let dir = m.lookup(&root, "d").unwrap();
    m.trips();
    assert!(m.lookup(&dir, "mine").is_some());
    assert_eq!(m.trips(), 0);
    // The folder's handle first.
    for (name, uid, trips) in [("theirs", 1000, 2), ("others", 1001, 1)] {
        let inode = m.lookup(&dir, name).unwrap();
        assert_eq!(inode.attr(&mut m.io()).unwrap().uid, uid);
        assert_eq!(m.trips(), trips, "{name}");
        let file = m.open(&inode, OpenFlags::empty());
        assert_eq!(m.read(&file, 0, 10), name.as_bytes());
        assert_eq!(m.trips(), 0, "what may be opened is");
    }
}

#[test]
fn a_moved_folder_is_found_at_its_place() {
    let Some(mut m) = Mounted::direct(|at| {
        std::fs::create_dir_all(at.join("a/deep")).unwrap();
        std::fs::write(at.join("a/deep/file"), "old").unwrap();
    }) else {
        return;
    };
    let root = m.root.clone();
    let a = m.lookup(&root, "a").unwrap();
    let deep = m.lookup(&a, "deep").unwrap();
    root.ops.dir().unwrap().rename(&mut m.io(), b"a", &a, &root, b"b", None, 0).unwrap();
    let again = m.create(&root, "a", NewKind::Dir).unwrap();
    let other = m.create(&again, "deep", NewKind::Dir).unwrap();
    let new = m.create(&other, "file", NewKind::Regular).unwrap();
    let old = m.lookup(&deep, "file").unwrap();
    assert_ne!(old.ino, new.ino);
    let file = m.open(&old, OpenFlags::empty());
    assert_eq!(m.read(&file, 0, 10), b"old");
}

#[test]
fn what_took_a_files_name_on_the_host_is_not_opened() {
    let Some(mut m) = Mounted::direct(|at| {
        for name in ["fifo", "link", "file"] {
            std::fs::write(at.join(name), "text").unwrap();
        }
        std::fs::write(at.join("secret"), "secret").unwrap();
    }) else {
        return;
    };
    let root = m.root.clone();
    let inodes = ["fifo", "link", "file"].map(|name| m.lookup(&root, name).unwrap());
    let at = m.folder.0.clone();
    // Old files stay under other names, so that their numbers do not come back.
    for name in ["fifo", "link", "file"] {
        std::fs::rename(at.join(name), at.join(format!("was-{name}"))).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    symlink("secret", at.join("link")).unwrap();
    std::fs::write(at.join("file"), "another").unwrap();
    for (inode, errno) in inodes.iter().zip([Errno::ENXIO, Errno::ELOOP, Errno::ESTALE]) {
        assert_eq!(inode.kind, FileType::Regular);
        match inode.ops.open(&mut m.io(), inode, OpenFlags::empty()) {
            Err(stop) => assert_eq!(stop, Stop::Errno(errno)),
            Ok(_) => panic!("it was opened, not refused with {errno}"),
        }
    }
}
