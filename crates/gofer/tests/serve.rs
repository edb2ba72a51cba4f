//! The gofer over a temporary folder: walks, opens, changes, listings, and what must stay inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use common::{Folder, path, root, serve};
use fsproto::{Change, Client, Create, Gofer, Handle, OpenHow, SetAttr, SetTime, SyncHow, Time, WalkEnd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const READ: OpenHow = OpenHow { read: true, write: false, truncate: false, create: None, fifo: false, inline: 0 };

fn ids() -> (u32, u32) {
    host::file::own_ids()
}

fn handle(client: &Client, at: &str) -> Handle {
    client.walk(root(client), &path(at)).unwrap().steps.last().unwrap().0
}

fn one(client: &Client, change: Change) -> Result<fsproto::Changed, Errno> {
    client.change(vec![change]).unwrap().remove(0)
}

#[test]
fn walks_a_whole_path_in_one_trip_and_says_where_it_ends() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.0.join("a/b/c")).unwrap();
    std::fs::write(folder.0.join("a/b/c/file"), "12345").unwrap();
    symlink("b/c", folder.0.join("a/link")).unwrap();
    let client = serve(&folder.0, false, 1000);
    let walked = client.walk(root(&client), &path("a/b/c/file")).unwrap();
    assert_eq!(walked.end, WalkEnd::Complete);
    assert_eq!(walked.steps.len(), 4);
    let attr = walked.steps[3].1;
    let real = std::fs::metadata(folder.0.join("a/b/c/file")).unwrap();
    assert_eq!((attr.size, attr.ino, attr.dev, attr.mode), (5, real.ino(), real.dev(), real.mode()));
    assert_eq!((attr.mtime.sec, i64::from(attr.mtime.nsec)), (real.mtime(), real.mtime_nsec()));
    assert_ne!(attr.magic, 0);

    let walked = client.walk(root(&client), &path("a/link/file")).unwrap();
    assert_eq!((walked.steps.len(), walked.end), (2, WalkEnd::Symlink(b"b/c"[..].into())));
    let walked = client.walk(root(&client), &path("a/none/file")).unwrap();
    assert_eq!((walked.steps.len(), walked.end), (1, WalkEnd::Failed(Errno::ENOENT.code())));
    let walked = client.walk(root(&client), &path("a/b/c/file/x")).unwrap();
    assert_eq!((walked.steps.len(), walked.end), (4, WalkEnd::Failed(Errno::ENOTDIR.code())));
}

#[test]
fn opens_with_exactly_the_rights_that_were_asked_for() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("file"), "hello").unwrap();
    let client = serve(&folder.0, false, 1000);
    let opened = client.open(root(&client), &[b"file"], READ).unwrap();
    let fd = opened.fd.unwrap();
    let mut text = [0; 5];
    assert_eq!(host::file::read_at(&fd, &mut text, 0).unwrap(), 5);
    assert_eq!(&text, b"hello");
    assert_eq!(host::file::write_at(&fd, b"x", 0), Err(Errno::EBADF));
    assert_eq!(rustix::fs::fcntl_getfl(&*fd).unwrap().bits() & 3, 0);
    // By its handle, for writing only.
    let again = client.open(opened.handle.unwrap(), &[], OpenHow { read: false, write: true, ..READ }).unwrap();
    assert_eq!(again.handle, None);
    assert_eq!(host::file::write_at(again.fd.as_ref().unwrap(), b"J", 0), Ok(1));
    assert_eq!(host::file::read_at(again.fd.as_ref().unwrap(), &mut text, 0), Err(Errno::EBADF));
    // Small files come along.
    let small = client.open(root(&client), &[b"file"], OpenHow { inline: 5, ..READ }).unwrap();
    assert_eq!((small.contents.unwrap().to_vec(), small.fd.is_none()), (b"Jello".to_vec(), true));
    let large = client.open(root(&client), &[b"file"], OpenHow { inline: 4, ..READ }).unwrap();
    assert!(large.contents.is_none() && large.fd.is_some());
}

#[test]
fn makes_files_with_owner_and_mode() {
    let folder = Folder::new();
    let client = serve(&folder.0, false, 1000);
    let (uid, gid) = if ids().0 == 0 { (1234, 4321) } else { ids() };
    let create = Create { exclusive: true, anonymous: false, mode: 0o4751, uid, gid };
    let how = OpenHow { read: true, write: true, create: Some(create), ..READ };
    let made = client.open(root(&client), &[b"new"], how).unwrap();
    assert!(made.created);
    assert_eq!((made.attr.mode, made.attr.uid, made.attr.gid), (0o104_751, uid, gid));
    assert_eq!(host::file::write_at(&made.fd.unwrap(), b"abc", 0), Ok(3));
    assert_eq!(client.open(root(&client), &[b"new"], how).unwrap_err(), Errno::EEXIST);
    let shared = OpenHow { create: Some(Create { exclusive: false, ..create }), ..how };
    let existing = client.open(root(&client), &[b"new"], shared).unwrap();
    assert_eq!((existing.created, existing.attr.size), (false, 3));
    let dir = root(&client);
    let made = one(&client, Change::Mkdir { dir, name: b"d"[..].into(), mode: 0o1777, uid, gid }).unwrap();
    assert_eq!(made.attr.unwrap().mode, 0o041_777);
    let name = || b"l"[..].into();
    let made =
        one(&client, Change::Symlink { dir, name: name(), target: b"/etc/passwd"[..].into(), uid, gid }).unwrap();
    assert_eq!((made.attr.unwrap().uid, made.attr.unwrap().kind()), (uid, 0o120_000));
    assert_eq!(&*client.read_link(made.handle.unwrap()).unwrap(), b"/etc/passwd");
    let fifo = Change::Mknod { dir, name: b"p"[..].into(), mode: 0o010_622, rdev: 0, uid, gid };
    assert_eq!(one(&client, fifo).unwrap().attr.unwrap().mode, 0o010_622);
    assert_eq!(client.open(dir, &[b"p"], READ).unwrap_err(), Errno::ENXIO);
    assert!(client.open(dir, &[b"p"], OpenHow { fifo: true, ..READ }).is_ok());
}

#[test]
fn changes_names_and_attributes() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("one"), "1").unwrap();
    std::fs::create_dir(folder.0.join("sub")).unwrap();
    let client = serve(&folder.0, false, 1000);
    let (dir, node, sub) = (root(&client), handle(&client, "one"), handle(&client, "sub"));
    let name = |text: &str| text.as_bytes().into();
    let linked = one(&client, Change::Link { node, dir: sub, name: name("two") }).unwrap();
    assert_eq!(linked.attr.unwrap().nlink, 2);
    let rename =
        |from: &str, to: &str, flags| Change::Rename { dir, name: name(from), new_dir: sub, new_name: name(to), flags };
    assert_eq!(one(&client, rename("one", "two", 1)), Err(Errno::EEXIST));
    one(&client, rename("one", "three", 1)).unwrap();
    assert!(folder.0.join("sub/three").exists());
    assert_eq!(one(&client, Change::Rmdir { dir, name: name("sub") }), Err(Errno::ENOTEMPTY));
    // The handle is the file's, wherever its name went.
    let set = SetAttr {
        mode: Some(0o640),
        size: Some(10),
        mtime: Some(SetTime::At(Time { sec: -5, nsec: 7 })),
        ..SetAttr::default()
    };
    let attr = one(&client, Change::SetAttr { node, set }).unwrap().attr.unwrap();
    assert_eq!((attr.mode, attr.size, attr.mtime), (0o100_640, 10, Time { sec: -5, nsec: 7 }));
    let results = client.change(vec![
        Change::Unlink { dir: sub, name: name("two") },
        Change::Unlink { dir: sub, name: name("none") },
        Change::Unlink { dir: sub, name: name("three") },
    ]);
    let results = results.unwrap();
    assert_eq!((results.len(), results[0].is_ok(), results[1]), (2, true, Err(Errno::ENOENT)));
    assert!(folder.0.join("sub/three").exists());
    let attribute =
        |value: &[u8], flags| Change::SetXattr { node, name: name("user.note"), value: value.into(), flags };
    match one(&client, attribute(b"text", 1)) {
        Err(Errno::EOPNOTSUPP) => {}
        result => {
            result.unwrap();
            assert_eq!(one(&client, attribute(b"text", 1)), Err(Errno::EEXIST));
            assert_eq!(&*client.get_xattr(node, b"user.note").unwrap(), b"text");
            assert_eq!(&*client.list_xattr(node).unwrap(), b"user.note\0");
            one(&client, Change::RemoveXattr { node, name: name("user.note") }).unwrap();
            assert_eq!(client.get_xattr(node, b"user.note"), Err(Errno::ENODATA));
        }
    }
    client.sync(node, SyncHow::All).unwrap();
    client.sync(sub, SyncHow::All).unwrap();
    assert_ne!(client.statfs(dir).unwrap().bsize, 0);
}

#[test]
fn lists_ten_thousand_names_once_each() {
    let folder = Folder::new();
    for n in 0..10_000 {
        std::fs::write(folder.0.join(format!("file-{n}")), "").unwrap();
    }
    let client = serve(&folder.0, false, 1000);
    let mut names = std::collections::HashSet::new();
    let (mut cursor, mut trips) = (0, 0);
    loop {
        let listing = client.list(root(&client), &[], cursor).unwrap();
        trips += 1;
        for entry in &listing.entries {
            assert!(names.insert(entry.name.to_vec()));
            assert_eq!(entry.attr.as_ref().unwrap().kind(), 0o100_000);
        }
        cursor = listing.cursor;
        if listing.complete {
            break;
        }
    }
    assert_eq!(names.len(), 10_000);
    assert!(trips <= 40, "{trips} trips");
}

#[test]
fn takes_no_changes_below_a_readonly_mount() {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.join("sub")).unwrap();
    std::fs::write(folder.0.join("sub/file"), "1").unwrap();
    let client = serve(&folder.0, true, 1000);
    let (sub, node) = (handle(&client, "sub"), handle(&client, "sub/file"));
    let name = || b"file"[..].into();
    for change in [
        Change::Unlink { dir: sub, name: name() },
        Change::Mkdir { dir: sub, name: b"x"[..].into(), mode: 0o755, uid: 0, gid: 0 },
        Change::Link { node, dir: sub, name: b"y"[..].into() },
        Change::SetAttr { node, set: SetAttr { mode: Some(0), ..SetAttr::default() } },
        Change::SetXattr { node, name: b"user.x"[..].into(), value: b""[..].into(), flags: 0 },
    ] {
        assert_eq!(one(&client, change), Err(Errno::EROFS));
    }
    assert_eq!(client.open(node, &[], OpenHow { write: true, ..READ }).unwrap_err(), Errno::EROFS);
    let create = Some(Create { exclusive: false, anonymous: false, mode: 0o644, uid: 0, gid: 0 });
    assert_eq!(client.open(sub, &[b"n"], OpenHow { create, ..READ }).unwrap_err(), Errno::EROFS);
    assert!(client.open(sub, &[b"file"], READ).is_ok());
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let folder = Folder::new();
    let outside = Folder::new();
    std::fs::write(outside.0.join("secret"), "secret").unwrap();
    symlink(&outside.0, folder.0.join("absolute")).unwrap();
    symlink("..", folder.0.join("up")).unwrap();
    symlink("/proc/self/root", folder.0.join("magic")).unwrap();
    let client = serve(&folder.0, false, 1000);
    let from = root(&client);
    for link in ["absolute", "up", "magic"] {
        let walked = client.walk(from, &[link.as_bytes(), b"etc"]).unwrap();
        assert!(matches!(walked.end, WalkEnd::Symlink(_)), "{link}");
        let (node, attr) = walked.steps[0];
        assert!(attr.is_symlink());
        assert_eq!(walked.steps.len(), 1);
        assert_eq!(client.open(from, &[link.as_bytes(), b"secret"], READ).unwrap_err(), Errno::ELOOP);
        assert_eq!(client.open(node, &[], READ).unwrap_err(), Errno::ELOOP);
        assert_eq!(client.walk(node, &[b"secret"]).unwrap().end, WalkEnd::Failed(Errno::ENOTDIR.code()));
        assert_eq!(client.list(node, &[], 0).unwrap_err(), Errno::ENOTDIR);
        let make = Change::Mkdir { dir: node, name: b"x"[..].into(), mode: 0o755, uid: 0, gid: 0 };
        assert_eq!(one(&client, make), Err(Errno::ENOTDIR));
    }
    for name in [&b".."[..], b".", b"", b"a/b"] {
        assert_eq!(client.walk(from, &[name]).unwrap_err(), Errno::EINVAL);
    }
}

/// A name that flips between a folder and a link to another one is never followed.
#[test]
fn a_race_with_symbolic_links_stays_inside() {
    let folder = Folder::new();
    let outside = Folder::new();
    std::fs::write(outside.0.join("file"), "secret").unwrap();
    std::fs::create_dir(folder.0.join("real")).unwrap();
    std::fs::write(folder.0.join("real/file"), "public").unwrap();
    symlink(&outside.0, folder.0.join("trap")).unwrap();
    std::fs::create_dir(folder.0.join("flip")).unwrap();
    std::fs::write(folder.0.join("flip/file"), "public").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flipper = std::thread::spawn({
        let (stop, dir) = (stop.clone(), host::file::open_path(&folder.0).unwrap());
        move || {
            let dir = host::HostFd::from(dir);
            while !stop.load(Ordering::Relaxed) {
                let _ = host::file::rename(&dir, b"flip", &dir, b"trap", 2);
            }
        }
    });
    let client = serve(&folder.0, false, 1000);
    let (mut inside, mut refused) = (0, 0);
    for _ in 0..3000 {
        match client.open(root(&client), &[b"flip", b"file"], OpenHow { inline: 100, ..READ }) {
            Ok(opened) => {
                assert_eq!(&*opened.contents.unwrap(), b"public");
                client.forget(&[opened.handle.unwrap()]);
                inside += 1;
            }
            Err(errno) => {
                assert_eq!(errno, Errno::ELOOP);
                refused += 1;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
    assert!(inside > 0 && refused > 0, "{inside} inside, {refused} refused");
}

#[test]
fn handles_are_bounded_and_come_back() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("file"), "").unwrap();
    let client = serve(&folder.0, false, 128 + 10);
    let mut handles = Vec::new();
    let errno = loop {
        let walked = client.walk(root(&client), &[b"file"]).unwrap();
        match walked.end {
            WalkEnd::Complete => handles.push(walked.steps[0].0),
            WalkEnd::Failed(code) => break code,
            WalkEnd::Symlink(_) => unreachable!(),
        }
    };
    assert_eq!((handles.len(), errno), (9, Errno::ENFILE.code()));
    client.forget(&handles);
    assert_eq!(client.walk(root(&client), &[b"file"]).unwrap().end, WalkEnd::Complete);
    assert_eq!(client.attr(handles[0]).unwrap_err(), Errno::EBADF);
    client.forget(&[root(&client)]);
    assert!(client.attr(root(&client)).is_ok());
}

#[test]
fn many_threads_share_one_gofer() {
    let folder = Folder::new();
    for n in 0..8 {
        std::fs::write(folder.0.join(format!("{n}")), format!("{n}")).unwrap();
    }
    let client = Arc::new(serve(&folder.0, false, 4000));
    let threads: Vec<_> = (0..8)
        .map(|n: u32| {
            let client = client.clone();
            std::thread::spawn(move || {
                for _ in 0..200 {
                    let name = n.to_string();
                    let opened =
                        client.open(root(&client), &[name.as_bytes()], OpenHow { inline: 10, ..READ }).unwrap();
                    assert_eq!(&*opened.contents.unwrap(), name.as_bytes());
                    client.forget(&[opened.handle.unwrap()]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn the_host_kernels_own_file_systems_show_as_empty_folders() {
    let client = serve("/".as_ref(), true, 1000);
    let walked = client.walk(root(&client), &[b"proc", b"1"]).unwrap();
    assert_eq!((walked.steps.len(), walked.end), (1, WalkEnd::Failed(Errno::ENOENT.code())));
    let listing = client.list(walked.steps[0].0, &[], 0).unwrap();
    assert!(listing.complete && listing.entries.is_empty());
}

#[test]
fn permissions_survive_any_umask() {
    let folder = Folder::new();
    let client = serve(&folder.0, false, 1000);
    let (uid, gid) = ids();
    let dir = root(&client);
    one(&client, Change::Mkdir { dir, name: b"open"[..].into(), mode: 0o777, uid, gid }).unwrap();
    assert_eq!(std::fs::metadata(folder.0.join("open")).unwrap().permissions().mode() & 0o7777, 0o777);
}
