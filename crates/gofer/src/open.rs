//! Opening and making regular files: descriptors for the kernel process, with exactly the rights it asked for.

use crate::change::settle;
use crate::nodes::Node;
use crate::server::{Answer, Server};
use abi::Errno;
use fsproto::{Attr, Bytes, Create, Done, Handle, OpenHow};
use host::file::{O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use host::{HostFd, file};
use std::os::fd::OwnedFd;

/// What to do when a name comes and goes between two host calls of one request: tries before EAGAIN.
const RACES: usize = 8;

impl Server {
    /// Serves `Request::Open`.
    pub fn open(&self, from: Handle, path: &[Bytes], how: OpenHow) -> Result<Answer, Errno> {
        if let Some(create) = how.create.filter(|create| create.anonymous) {
            let dir = self.resolve(from, path)?;
            return self.create(&dir, None, how, create);
        }
        let (Some(create), Some((name, parents))) = (how.create, path.split_last()) else {
            let node = self.resolve(from, path)?;
            let attr = self.nodes.attr(&node.fd)?;
            let (fd, contents, attr) = self.open_node(&node, attr, how)?;
            let handle = match path {
                [] => None,
                _ => Some(self.nodes.add(Node { fd: node.fd.clone(), ..*node })?),
            };
            return Ok(answer(handle, attr, false, contents, fd));
        };
        let dir = self.resolve(from, parents)?;
        for _ in 0..RACES {
            match self.create(&dir, Some(name), how, create) {
                Err(Errno::EEXIST) if !create.exclusive => {}
                other => return other,
            }
            let (node, attr) = match self.child(&dir, name) {
                Err(Errno::ENOENT) => continue,
                other => other?,
            };
            let (fd, contents, attr) = self.open_node(&node, attr, how)?;
            return Ok(answer(Some(self.nodes.add(node)?), attr, false, contents, fd));
        }
        Err(Errno::EAGAIN)
    }

    /// Opens what a node stands for; or reads it whole, where it is small and that is asked for.
    fn open_node(
        &self,
        node: &Node,
        attr: Attr,
        how: OpenHow,
    ) -> Result<(Option<OwnedFd>, Option<Bytes>, Attr), Errno> {
        if how.write || how.truncate {
            node.changeable()?;
        }
        let mut flags = access(how);
        match attr.kind() {
            0o100_000 => {}
            0o010_000 if how.fifo && self.peers.fifo => flags |= O_NONBLOCK,
            0o120_000 => return Err(Errno::ELOOP),
            0o040_000 => return Err(Errno::EISDIR),
            // Device nodes of the host are never opened, nor are its sockets.
            _ => return Err(Errno::ENXIO),
        }
        if how.truncate && how.write {
            flags |= O_TRUNC;
        }
        let fd = self.self_fd.reopen(&node.fd, flags | O_NOCTTY)?;
        let attr = if how.truncate { self.nodes.attr(&node.fd)? } else { attr };
        let small = attr.is_file() && attr.size <= how.inline.into() && how.inline > 0 && !how.write;
        if !small {
            return Ok((Some(fd), None, attr));
        }
        let fd = HostFd::from(fd);
        match read_whole(&fd, how.inline as usize)? {
            Some(contents) => Ok((None, Some(contents), attr)),
            // It has grown meanwhile.
            None => Ok((Some(self.self_fd.reopen(&node.fd, flags | O_NOCTTY)?), None, attr)),
        }
    }

    /// Makes a file of a name, or one without.
    fn create(&self, dir: &Node, name: Option<&[u8]>, how: OpenHow, create: Create) -> Result<Answer, Errno> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        dir.changeable()?;
        let mode = create.mode & 0o7777;
        let fd = HostFd::new(match name {
            Some(name) => file::open_child(&dir.fd, name, access(how) | O_CREAT | O_EXCL | O_NOCTTY, mode & 0o777)?,
            None => file::make_anonymous(&dir.fd, access(how), mode & 0o777)?,
        });
        let made = (|| {
            let path_fd = HostFd::new(self.self_fd.reopen(&fd, O_PATH)?);
            let (node, attr) = self.nodes.describe(path_fd, Some(dir), dir.readonly)?;
            let attr = settle(self, &node, attr, mode, create.uid, create.gid)?;
            Ok((self.nodes.add(node)?, attr))
        })();
        let (handle, attr) = match made {
            Ok(made) => made,
            Err(errno) => {
                // Nothing half-made stays: the caller is told that there is no file.
                if let Some(name) = name {
                    let _ = file::unlink(&dir.fd, name);
                }
                return Err(errno);
            }
        };
        let done = Done::Opened {
            handle: Some(handle),
            attr,
            created: true,
            dir: self.nodes.attr(&dir.fd).ok(),
            contents: None,
        };
        Ok(Answer { done, fd: Some(fd) })
    }
}

fn access(how: OpenHow) -> i32 {
    match (how.read, how.write) {
        (_, false) => O_RDONLY,
        (false, true) => O_WRONLY,
        (true, true) => O_RDWR,
    }
}

fn answer(handle: Option<Handle>, attr: Attr, created: bool, contents: Option<Bytes>, fd: Option<OwnedFd>) -> Answer {
    Answer { done: Done::Opened { handle, attr, created, dir: None, contents }, fd: fd.map(HostFd::new) }
}

/// The whole of a file; `None` when it has more than `max` bytes.
fn read_whole(fd: &HostFd, max: usize) -> Result<Option<Bytes>, Errno> {
    let mut contents = vec![0; max + 1];
    let mut len = 0;
    while let Some(rest) = contents.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file::read_at(fd, rest, len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    if len > max {
        return Ok(None);
    }
    contents.truncate(len);
    Ok(Some(contents.into()))
}
