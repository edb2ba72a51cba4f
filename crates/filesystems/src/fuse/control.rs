//! fusectl: /sys/fs/fuse/connections, a folder for each connection. fuse(4).
//!
//! `waiting` tells how many requests are open, a write to `abort` ends the connection. Only who mounted it, and root, see into a folder. Locks: a leaf
//! around the list of connections.

use super::conn::Conn;
use crate::pseudo::{Content, Folder, Kind, Listed, Node, PseudoFs};
use abi::Errno;
use abi::fuse::FUSE_CTL_SUPER_MAGIC;
use kernel::locks::Leaf;
use kernel::op::{Op, fail};
use kernel::vfs::{FileType, FsType, Inode, MountArgs};
use kernel::{Io, Kernel};
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

static TYPE: FsType =
    FsType { name: "fusectl", user_mountable: true, nodev: true, option: |_| fail(Errno::EINVAL), mount };

/// Connections by the minor number of their file systems.
static LIST: Mutex<BTreeMap<u32, Weak<Conn>>, Leaf> = Mutex::new(BTreeMap::new());

pub(super) fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

/// A connection is there.
pub(super) fn list(conn: &Arc<Conn>, minor: u32) {
    let mut list = LIST.lock();
    list.retain(|_, conn| conn.strong_count() > 0);
    list.insert(minor, Arc::downgrade(conn));
}

fn mount(io: &mut Io<'_>, _args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    // One for all, so it shows all.
    if io.cred.user_ns.parent.is_some() {
        return fail(Errno::EPERM);
    }
    let kind = Kind { name: TYPE.name, magic: FUSE_CTL_SUPER_MAGIC, file_size: 0, options: String::new(), pts: None };
    Ok(PseudoFs::mount(kind, Node::folder(0o555, Connections)))
}

struct Connections;

/// Those that are mounted.
fn living() -> Vec<(u32, Arc<Conn>)> {
    let list = LIST.lock();
    let living = list.iter().filter_map(|(minor, conn)| Some((*minor, conn.upgrade()?)));
    living.filter(|(_, conn)| conn.is_mounted()).collect()
}

fn find(minor: u32) -> Option<Arc<Conn>> {
    LIST.lock().get(&minor).and_then(Weak::upgrade).filter(|conn| conn.is_mounted())
}

impl Folder for Connections {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let minor = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        Ok(minor.and_then(|minor| Some((minor, find(minor)?))).map(|(minor, conn)| {
            let folder = Node::folder(0o500, Connection(minor)).identified(conn.id);
            folder.owned_by(conn.user, conn.group)
        }))
    }

    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let entry = |(minor, conn): (u32, Arc<Conn>)| Listed {
            key: minor.into(),
            name: minor.to_string().into_bytes(),
            kind: FileType::Dir,
            identity: conn.id,
        };
        Ok(living().into_iter().map(entry).collect())
    }

    fn volatile(&self) -> bool {
        true
    }
}

struct Connection(u32);

impl Folder for Connection {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let Some(conn) = find(self.0) else { return Ok(None) };
        let node = match name {
            b"waiting" => {
                let minor = self.0;
                let waiting = Node::text(move |_| Ok(format!("{}\n", find(minor).map_or(0, |c| c.waiting())).into()));
                Node { perm: 0o400, ..waiting }
            }
            b"abort" => Node::file(0o200, Abort(self.0)),
            _ => return Ok(None),
        };
        Ok(Some(node.owned_by(conn.user, conn.group)))
    }

    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let entry =
            |(key, name): (u64, &[u8])| Listed { key, name: name.to_vec(), kind: FileType::Regular, identity: 0 };
        Ok((1..).zip([&b"waiting"[..], b"abort"]).map(entry).collect())
    }

    fn volatile(&self) -> bool {
        true
    }
}

struct Abort(u32);

impl Content for Abort {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        fail(Errno::EINVAL)
    }

    fn write(&self, _io: &mut Io<'_>, _data: &[u8]) -> Op<()> {
        if let Some(conn) = find(self.0) {
            conn.abort(true);
        }
        Ok(())
    }
}
