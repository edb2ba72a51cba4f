//! Mutations of names and attributes.

use crate::nodes::Node;
use crate::server::Server;
use abi::Errno;
use fsproto::{Attr, Bytes, Change, Changed, Handle, SetAttr, SetTime};
use host::HostFd;
use host::file::{self, Timespec};
use host::file::{O_PATH, O_WRONLY};
use std::sync::Arc;

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;
const S_IFMT: u32 = 0o170_000;

impl Server {
    /// Serves `Request::Change`: one after the other, up to the first that fails.
    pub fn change(&self, changes: &[Change]) -> Vec<Result<Changed, u16>> {
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            let result = self.change_one(change).map_err(Errno::code);
            let failed = result.is_err();
            results.push(result);
            if failed {
                break;
            }
        }
        results
    }

    fn change_one(&self, change: &Change) -> Result<Changed, Errno> {
        match change {
            Change::Mkdir { dir, name, mode, uid, gid } => {
                let dir = self.folder(*dir)?;
                file::make_dir(&dir.fd, name, mode & 0o777)?;
                self.made(&dir, name, Some(mode & 0o7777), *uid, *gid).inspect_err(|_| {
                    let _ = file::remove_dir(&dir.fd, name);
                })
            }
            Change::Mknod { dir, name, mode, rdev, uid, gid } => {
                let dir = self.folder(*dir)?;
                file::make_node(&dir.fd, name, mode & (S_IFMT | 0o777), *rdev)?;
                self.made(&dir, name, Some(mode & 0o7777), *uid, *gid).inspect_err(|_| {
                    let _ = file::unlink(&dir.fd, name);
                })
            }
            Change::Symlink { dir, name, target, uid, gid } => {
                let dir = self.folder(*dir)?;
                file::make_symlink(&dir.fd, name, target)?;
                self.made(&dir, name, None, *uid, *gid).inspect_err(|_| {
                    let _ = file::unlink(&dir.fd, name);
                })
            }
            Change::Link { node, dir, name } => {
                let (node, dir) = (self.nodes.get(*node)?, self.folder(*dir)?);
                self.self_fd.link(&node.fd, &dir.fd, name)?;
                Ok(Changed { dir: self.after(&dir), ..self.changed(&node)? })
            }
            Change::Unlink { dir, name } => {
                let dir = self.folder(*dir)?;
                file::unlink(&dir.fd, name)?;
                Ok(Changed { dir: self.after(&dir), ..Changed::default() })
            }
            Change::Rmdir { dir, name } => {
                let dir = self.folder(*dir)?;
                file::remove_dir(&dir.fd, name)?;
                Ok(Changed { dir: self.after(&dir), ..Changed::default() })
            }
            Change::Rename { dir, name, new_dir, new_name, flags } => {
                let (dir, new_dir) = (self.folder(*dir)?, self.folder(*new_dir)?);
                file::rename(&dir.fd, name, &new_dir.fd, new_name, *flags)?;
                Ok(Changed { dir: self.after(&dir), new_dir: self.after(&new_dir), ..Changed::default() })
            }
            Change::SetAttr { node, set } => {
                let node = self.writable(*node)?;
                self.set_attr(&node, set)?;
                self.changed(&node)
            }
            Change::SetXattr { node, name, value, flags } => {
                let node = self.writable(*node)?;
                self.self_fd.set_xattr(&node.fd, name, value, *flags)?;
                self.changed(&node)
            }
            Change::RemoveXattr { node, name } => {
                let node = self.writable(*node)?;
                self.self_fd.remove_xattr(&node.fd, name)?;
                self.changed(&node)
            }
        }
    }

    fn folder(&self, handle: Handle) -> Result<Arc<Node>, Errno> {
        let node = self.writable(handle)?;
        if node.is_dir() { Ok(node) } else { Err(Errno::ENOTDIR) }
    }

    fn writable(&self, handle: Handle) -> Result<Arc<Node>, Errno> {
        let node = self.nodes.get(handle)?;
        node.changeable()?;
        Ok(node)
    }

    fn changed(&self, node: &Node) -> Result<Changed, Errno> {
        Ok(Changed { attr: Some(self.nodes.attr(&node.fd)?), ..Changed::default() })
    }

    /// A folder's attributes after a change in it: sparing the kernel process a trip, but no reason to fail.
    fn after(&self, dir: &Node) -> Option<Attr> {
        self.nodes.attr(&dir.fd).ok()
    }

    /// Gives a new name in `dir` its owner and mode, and a handle.
    fn made(&self, dir: &Node, name: &Bytes, mode: Option<u32>, uid: u32, gid: u32) -> Result<Changed, Errno> {
        let fd = HostFd::new(file::open_child(&dir.fd, name, O_PATH, 0)?);
        let (node, attr) = self.nodes.describe(fd, Some(dir), dir.readonly)?;
        let mode = mode.unwrap_or(attr.mode & 0o7777);
        let attr = settle(self, &node, attr, mode, uid, gid)?;
        Ok(Changed { handle: Some(self.nodes.add(node)?), attr: Some(attr), dir: self.after(dir), new_dir: None })
    }

    fn set_attr(&self, node: &Node, set: &SetAttr) -> Result<(), Errno> {
        if let Some(size) = set.size {
            if node.kind != 0o100_000 {
                return Err(if node.is_dir() { Errno::EISDIR } else { Errno::EINVAL });
            }
            file::set_size(&HostFd::from(self.self_fd.reopen(&node.fd, O_WRONLY)?), size)?;
        }
        // The owner first: the host clears set-user-id bits when it changes.
        if set.uid.is_some() || set.gid.is_some() {
            file::set_owner(&node.fd, set.uid, set.gid)?;
        }
        if let Some(mode) = set.mode {
            self.self_fd.set_mode(&node.fd, mode & 0o7777)?;
        }
        if set.atime.is_some() || set.mtime.is_some() {
            self.self_fd.set_times(&node.fd, timespec(set.atime), timespec(set.mtime))?;
        }
        Ok(())
    }
}

/// Gives a new node the owner and mode that it shall have, where the host gave it others; its attributes then.
pub fn settle(server: &Server, node: &Node, attr: Attr, mode: u32, uid: u32, gid: u32) -> Result<Attr, Errno> {
    if (attr.uid, attr.gid) == (uid, gid) && attr.mode & 0o7777 == mode {
        return Ok(attr);
    }
    if (attr.uid, attr.gid) != (uid, gid) {
        file::set_owner(&node.fd, Some(uid), Some(gid))?;
    }
    if attr.kind() != 0o120_000 && server.nodes.attr(&node.fd)?.mode & 0o7777 != mode {
        server.self_fd.set_mode(&node.fd, mode)?;
    }
    server.nodes.attr(&node.fd)
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(time)) => Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() },
    }
}
