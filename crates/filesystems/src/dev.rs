//! devtmpfs: /dev with the nodes that every container has. `null(4)`, `tty(4)`, `pts(4)`.
//!
//! A tmpfs that begins with nodes: later ones (mknod, links, mount points) are a tmpfs' business. Each mount is an instance of its own.

use crate::tmpfs::{self, Options};
use abi::fs::makedev;
use kernel::vfs::{FsType, Inode, MountArgs, NewKind, NewNode};
use kernel::{Io, Kernel, Op};
use std::sync::Arc;

static TYPE: FsType =
    FsType { name: "devtmpfs", user_mountable: true, nodev: true, option: tmpfs::check_option, mount };

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

/// Character devices: name, permissions, major, minor.
const DEVICES: [(&str, u32, u32, u32); 8] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("console", 0o620, 5, 1),
    ("fuse", 0o666, 10, 229),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    // Each devpts has a ptmx of its own, which makes terminals there.
    ("ptmx", "pts/ptmx"),
];

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let defaults = Options { size: Some(64 << 20), inodes: None, perm: 0o755, uid: 0, gid: 0 };
    let root = tmpfs::make_named("devtmpfs", defaults.parsed(args.data, kernel::memory::total())?);
    let Some(dir) = root.ops.dir() else { return Ok(root.clone()) };
    let mut make = |name: &str, kind: NewKind<'_>, perm: u32, gid: u32| -> Op<()> {
        dir.create(io, name.as_bytes(), &NewNode::plain(kind, perm, 0, gid)).map(|_| ())
    };
    let known = kernel::vfs::has_device;
    for (name, perm, major, minor) in DEVICES {
        if known(kernel::vfs::FileType::Char, major, minor) {
            make(name, NewKind::Char(makedev(major, minor)), perm, if major == 5 { TTY } else { 0 })?;
        }
    }
    for (name, target) in LINKS {
        make(name, NewKind::Symlink(target.as_bytes()), 0o777, 0)?;
    }
    make("pts", NewKind::Dir, 0o755, 0)?;
    make("shm", NewKind::Dir, 0o1777, 0)?;
    Ok(root.clone())
}

/// The group of terminals.
const TTY: u32 = 5;
