//! Access control lists of the host's files: they count, they are asked for only where an answer depends on them, and they are seen to change.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use abi::Errno;
use common::mounted::Mounted;
use kernel::op::{Op, Stop};
use kernel::vfs::access::{READ, WRITE, check};
use kernel::vfs::{AclKind, FileType, Inode, NewKind, NewNode, SetAttr, acl_of};
use rustix::fs::{Mode, XattrFlags, chmod, getxattr, setxattr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// Somebody who does not own the files.
const USER: u32 = 54_321;

/// `u::6,u:USER:perm,g::0,m::7,o::0`.
fn list(perm: u8) -> Vec<u8> {
    let entry = |tag: u8, perm: u8, id: u32| [[tag, 0, perm, 0], id.to_le_bytes()].concat();
    let none = u32::MAX;
    [
        vec![2, 0, 0, 0],
        entry(1, 6, none),
        entry(2, perm, USER),
        entry(4, 0, none),
        entry(16, 7, none),
        entry(32, 0, none),
    ]
    .concat()
}

fn on_host(path: &Path, kind: AclKind, perm: u8) {
    setxattr(path, kind.name(), &list(perm), XattrFlags::empty()).unwrap();
}

fn seen_on_host(path: &Path, kind: AclKind) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(4096);
    getxattr(path, kind.name(), rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

/// A file `f` with a list by which the user may read; a plain one `p`; a folder `d`.
fn prepare(at: &Path) {
    for name in ["f", "p"] {
        std::fs::write(at.join(name), "").unwrap();
    }
    std::fs::create_dir(at.join("d")).unwrap();
    on_host(&at.join("f"), AclKind::Access, 4);
}

fn may(m: &mut Mounted, inode: &Inode, want: u32) -> Op<()> {
    check(&mut m.io_as(USER), inode, want)
}

const REFUSED: Op<()> = Err(Stop::Errno(Errno::EACCES));

#[test]
fn one_question_for_each_file_and_none_for_root() {
    let mut m = Mounted::new(prepare);
    let root = m.root.clone();
    let (f, p) = (m.lookup(&root, "f").unwrap(), m.lookup(&root, "p").unwrap());
    m.trips();
    for inode in [&root, &f, &p] {
        assert_eq!(check(&mut m.io(), inode, READ | WRITE), Ok(()));
    }
    assert_eq!(m.trips(), 0, "the owner's answer does not depend on a list, nor does root's");
    assert_eq!(may(&mut m, &f, READ), Ok(()));
    assert_eq!(may(&mut m, &p, READ), Ok(()));
    assert_eq!(m.trips(), 2);
    assert_eq!(may(&mut m, &f, READ | WRITE), REFUSED);
    assert_eq!(may(&mut m, &p, READ | WRITE), REFUSED);
    assert_eq!(m.trips(), 0);
    f.ops.set_attr(&mut m.io(), &SetAttr { perm: Some(0o600), ..SetAttr::default() }).unwrap();
    p.ops.set_attr(&mut m.io(), &SetAttr { perm: Some(0o660), ..SetAttr::default() }).unwrap();
    m.trips();
    assert_eq!(may(&mut m, &f, READ), REFUSED);
    assert_eq!(may(&mut m, &p, READ), REFUSED);
    assert_eq!(m.trips(), 0, "no group bits, no question; and what has no list gets none by chmod");
    f.ops.set_attr(&mut m.io(), &SetAttr { perm: Some(0o660), ..SetAttr::default() }).unwrap();
    m.trips();
    assert_eq!(may(&mut m, &f, READ), Ok(()));
    assert_eq!(m.trips(), 1);
}

#[test]
fn what_a_guest_sets_is_the_hosts() {
    let mut m = Mounted::new(prepare);
    let root = m.root.clone();
    let p = m.lookup(&root, "p").unwrap();
    assert_eq!(may(&mut m, &p, WRITE), REFUSED);
    acl_of::set(&mut m.io(), &p, AclKind::Access, Some(&list(2))).unwrap();
    assert_eq!(p.attr(&mut m.io()).unwrap().perm, 0o670);
    assert_eq!(may(&mut m, &p, WRITE), Ok(()));
    let path = m.folder.0.join("p");
    assert_eq!(seen_on_host(&path, AclKind::Access), Some(list(2)));
    // A list that says no more than the mode goes.
    let minimal = kernel::vfs::Acl::minimal(0o604).bytes();
    acl_of::set(&mut m.io(), &p, AclKind::Access, Some(&minimal)).unwrap();
    assert_eq!(seen_on_host(&path, AclKind::Access), None);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
    assert_eq!(acl_of::get(&mut m.io(), &p, AclKind::Access), Err(Stop::Errno(Errno::ENODATA)));
    acl_of::set(&mut m.io(), &p, AclKind::Access, None).unwrap();
    assert_eq!(acl_of::set(&mut m.io(), &p, AclKind::Default, Some(&list(2))), REFUSED);
}

#[test]
fn a_folder_is_asked_once_what_it_hands_down() {
    let mut m = Mounted::new(prepare);
    let root = m.root.clone();
    let d = m.lookup(&root, "d").unwrap();
    let (uid, gid) = host::file::own_ids();
    let make = |m: &mut Mounted, dir: &Arc<Inode>, name: &str, kind| {
        let mut node = NewNode::plain(kind, 0o666, uid, gid);
        acl_of::hand_down(&mut m.io(), dir, &mut node).unwrap();
        dir.ops.dir().unwrap().create(&mut m.io(), name.as_bytes(), &node).unwrap()
    };
    m.trips();
    let e = make(&mut m, &d, "e", NewKind::Dir);
    assert_eq!(m.trips(), 2);
    let f = make(&mut m, &e, "f", NewKind::Regular);
    assert_eq!(m.trips(), 1, "what is made in a folder that hands nothing down has no lists");
    assert_eq!(may(&mut m, &f, READ), Ok(()));
    assert_eq!(m.trips(), 0);
    acl_of::set(&mut m.io(), &e, AclKind::Default, Some(&list(7))).unwrap();
    let g = make(&mut m, &e, "g", NewKind::Regular);
    let perm = g.attr(&mut m.io()).unwrap().perm;
    assert_eq!((g.kind, perm), (FileType::Regular, 0o660));
    assert_eq!(may(&mut m, &g, READ | WRITE), Ok(()));
    let mut wanted = list(7);
    // The mask.
    wanted[4 + 3 * 8 + 2] = 6;
    assert_eq!(seen_on_host(&m.folder.0.join("d/e/g"), AclKind::Access), Some(wanted));
    let h = make(&mut m, &e, "h", NewKind::Dir);
    assert_eq!(acl_of::get(&mut m.io(), &h, AclKind::Default), Ok(list(7)));
}

#[test]
fn changes_of_the_host_are_seen() {
    let mut m = Mounted::shared(prepare);
    let root = m.root.clone();
    let path = m.folder.0.join("f");
    for round in 0..2 {
        let f = m.lookup(&root, "f").unwrap();
        on_host(&path, AclKind::Access, 2);
        assert_eq!(may(&mut m, &f, READ), REFUSED);
        assert_eq!(may(&mut m, &f, WRITE), Ok(()));
        on_host(&path, AclKind::Access, 4);
        assert_eq!(may(&mut m, &f, READ), Ok(()));
        if round == 0 {
            // Once the last change is long enough ago, answers are remembered.
            std::thread::sleep(std::time::Duration::from_millis(2100));
            assert_eq!(may(&mut m, &f, READ), Ok(()));
            m.trips();
            assert_eq!(may(&mut m, &f, READ), Ok(()));
            assert_eq!(m.trips(), 1, "its attributes");
        }
    }
    let f = m.lookup(&root, "f").unwrap();
    chmod(&path, Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(may(&mut m, &f, READ), REFUSED);
    chmod(&path, Mode::from_raw_mode(0o660)).unwrap();
    assert_eq!(may(&mut m, &f, READ), Ok(()));
}
