//! From a place back to its name: getcwd(2), /proc/PID/fd, /proc/PID/mounts. proc(5).
//!
//! Neighbours: `dentry`, `mount`. Locks: `DentryPlace`, `MountTree`, one at a time.

use super::{Inode, Path};
use crate::op::Op;
use abi::Errno;
use std::sync::Arc;

/// What `Path::name_from` found.
pub struct Named {
    /// Absolute, as seen from the root that was asked about.
    pub name: Vec<u8>,
    /// The way up ended at another root: getcwd(2) says `(unreachable)`.
    pub unreachable: bool,
    /// Unlinked.
    pub deleted: bool,
}

impl Named {
    /// As links in /proc show it: with ` (deleted)` where it is.
    pub fn shown(mut self) -> Vec<u8> {
        if self.deleted {
            self.name.extend_from_slice(b" (deleted)");
        }
        self.name
    }
}

impl Path {
    /// The inode; ENOENT for a negative dentry.
    pub fn inode(&self) -> Op<Arc<Inode>> {
        self.dentry.inode().ok_or(Errno::ENOENT.into())
    }

    /// Goes to the root of what is mounted here, the topmost. True if anything is.
    pub fn cross(&mut self) -> bool {
        let mut any = false;
        while let Some(mount) = self.mount.mounted_on(&self.dentry) {
            *self = Path::new(mount.clone(), mount.root.clone());
            any = true;
        }
        any
    }

    /// The name of this place as seen from `root`.
    pub fn name_from(&self, root: &Path) -> Named {
        let mut parts: Vec<Arc<[u8]>> = Vec::new();
        let mut at = self.clone();
        let deleted = self.dentry.is_gone();
        let mut unreachable = false;
        while !at.same(root) {
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                match at.mount.at() {
                    Some(below) => at = below,
                    None => {
                        unreachable = true;
                        break;
                    }
                }
                continue;
            }
            match at.dentry.parent() {
                Some(parent) => {
                    parts.push(at.dentry.name());
                    at.dentry = parent;
                }
                None => {
                    unreachable = true;
                    break;
                }
            }
        }
        let mut name = Vec::new();
        for part in parts.iter().rev() {
            name.push(b'/');
            name.extend_from_slice(part);
        }
        if name.is_empty() {
            name.push(b'/');
        }
        Named { name, unreachable, deleted }
    }
}

/// The name of a dentry within its file system, from the file system's root: the fourth field of /proc/PID/mountinfo.
pub fn name_in_fs(dentry: &Arc<super::Dentry>) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at = dentry.clone();
    while let Some(parent) = at.parent() {
        parts.push(at.name());
        at = parent;
    }
    let mut name = Vec::new();
    for part in parts.iter().rev() {
        name.push(b'/');
        name.extend_from_slice(part);
    }
    if name.is_empty() {
        match at.inode().and_then(|inode| inode.ops.root_name()) {
            Some(own) => name.extend_from_slice(own.as_bytes()),
            None => name.push(b'/'),
        }
    }
    if dentry.is_gone() {
        name.extend_from_slice(b"//deleted");
    }
    name
}
