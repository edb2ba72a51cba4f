//! Walks and listings.

use crate::nodes::Node;
use crate::server::Server;
use abi::Errno;
use fsproto::{Attr, Bytes, Entry, Handle, LIST_BYTES, Listing, WalkEnd, Walked};
use host::file::{O_DIRECTORY, O_PATH, O_RDONLY};
use host::{HostFd, file};
use std::sync::Arc;

/// Bytes of an entry beyond its name, at the most that postcard makes of it.
const ENTRY_BYTES: usize = 160;

impl Server {
    /// Serves `Request::Walk`.
    pub fn walk(&self, from: Handle, path: &[Bytes]) -> Result<Walked, Errno> {
        let mut at = self.nodes.get(from)?;
        let mut steps = Vec::with_capacity(path.len());
        for name in path {
            let found = self.child(&at, name).and_then(|(node, attr)| {
                let target = if attr.is_symlink() { Some(file::read_link(&node.fd)?) } else { None };
                let handle = self.nodes.add(node)?;
                Ok((handle, attr, target))
            });
            match found {
                Err(errno) => return Ok(Walked { steps, end: WalkEnd::Failed(errno.code()) }),
                Ok((handle, attr, target)) => {
                    steps.push((handle, attr));
                    if let Some(target) = target {
                        return Ok(Walked { steps, end: WalkEnd::Symlink(target.into()) });
                    }
                    at = self.nodes.get(handle)?;
                }
            }
        }
        Ok(Walked { steps, end: WalkEnd::Complete })
    }

    /// The node of a name in a folder, without a handle.
    pub fn child(&self, dir: &Node, name: &[u8]) -> Result<(Node, Attr), Errno> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        if dir.sealed {
            return Err(Errno::ENOENT);
        }
        let fd = HostFd::new(file::open_child(&dir.fd, name, O_PATH, 0)?);
        self.nodes.describe(fd, Some(dir), dir.readonly)
    }

    /// The node at the end of a path, without handles. A symbolic link on the way is ELOOP; at the end it is what is meant.
    pub fn resolve(&self, from: Handle, path: &[Bytes]) -> Result<Arc<Node>, Errno> {
        let mut at = self.nodes.get(from)?;
        for name in path {
            if at.kind == 0o120_000 {
                return Err(Errno::ELOOP);
            }
            at = Arc::new(self.child(&at, name)?.0);
        }
        Ok(at)
    }

    /// Serves `Request::List`.
    pub fn list(&self, from: Handle, path: &[Bytes], cursor: u64) -> Result<Listing, Errno> {
        let node = self.resolve(from, path)?;
        if !node.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mut listing = Listing { complete: true, cursor, ..Listing::default() };
        if node.sealed {
            return Ok(listing);
        }
        let dir = HostFd::new(self.self_fd.reopen(&node.fd, O_RDONLY | O_DIRECTORY)?);
        let mut left = LIST_BYTES;
        listing.complete = file::list_dir(&dir, cursor, |found| {
            if found.name == b"." || found.name == b".." {
                listing.cursor = found.next;
                return true;
            }
            let Some(rest) = left.checked_sub(found.name.len() + ENTRY_BYTES) else { return false };
            let attr = match self.child_attr(&dir, found.name) {
                // Gone since the host listed it.
                Err(Errno::ENOENT) => {
                    listing.cursor = found.next;
                    return true;
                }
                attr => attr.ok(),
            };
            left = rest;
            listing.cursor = found.next;
            let (ino, kind) = attr.as_ref().map_or((found.ino, found.kind), |attr| (attr.ino, attr.kind()));
            listing.entries.push(Entry { name: found.name.into(), ino, kind, attr, next: found.next });
            true
        })?;
        Ok(listing)
    }

    /// Attributes of a name, where they can be had without opening it.
    fn child_attr(&self, dir: &HostFd, name: &[u8]) -> Result<Attr, Errno> {
        let stat = file::stat_child(dir, name)?;
        let dev = file::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let magic = match self.nodes.known_magic(dev) {
            Some(magic) => magic,
            // A mount point, mostly: the magic is that of the file system mounted there.
            None => self.nodes.magic(dev, &HostFd::from(file::open_child(dir, name, O_PATH, 0)?))?,
        };
        Ok(Attr::from_statx(&stat, magic))
    }
}
