//! Unix sockets by names in what is served: connected or bound for the kernel process, where `--host-uds` allows it. unix(7).
//!
//! Lock: `Sockets::made`, a leaf, not held over a host call.

use crate::change::settle;
use crate::server::{Answer, Server};
use abi::Errno;
use fsproto::{Bytes, Done, Handle};
use host::file::{self, O_PATH};
use host::{HostFd, socket};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// What the kernel process may have beyond files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// FIFOs may be opened.
    pub fifo: bool,
    /// Sockets of the host may be connected to.
    pub connect: bool,
    /// Sockets may be made that the host connects to.
    pub bind: bool,
}

/// Sockets that were bound here: they may be connected to in any case. By device and inode number.
#[derive(Debug, Default)]
pub struct Made(Mutex<HashSet<(u64, u64)>>);

/// Types of unix sockets: SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET.
fn check_kind(kind: u32) -> Result<(), Errno> {
    if matches!(kind, 1 | 2 | 5) { Ok(()) } else { Err(Errno::EINVAL) }
}

impl Server {
    /// Serves `Request::Connect`.
    pub fn connect(&self, of: Handle, kind: u32) -> Result<Answer, Errno> {
        check_kind(kind)?;
        let node = self.nodes.get(of)?;
        if node.kind != 0o140_000 || node.sealed {
            return Err(Errno::ECONNREFUSED);
        }
        if !self.peers.connect {
            let attr = self.nodes.attr(&node.fd)?;
            let made = self.made.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !made.contains(&(attr.dev, attr.ino)) {
                return Err(Errno::ECONNREFUSED);
            }
        }
        let fd = socket::connected(kind, self.self_fd.path(&node.fd).as_bytes())?;
        Ok(Answer { done: Done::Nothing, fd: Some(HostFd::new(fd)) })
    }

    /// Serves `Request::Bind`.
    pub fn bind(&self, dir: Handle, name: &Bytes, kind: u32, [mode, uid, gid]: [u32; 3]) -> Result<Answer, Errno> {
        check_kind(kind)?;
        if !self.peers.bind {
            return Err(Errno::EOPNOTSUPP);
        }
        let dir = self.nodes.get(dir)?;
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        dir.changeable()?;
        let path = [self.self_fd.path(&dir.fd).as_bytes(), b"/", name].concat();
        let fd = socket::bound(kind, &path)?;
        let made = (|| {
            let path_fd = HostFd::new(file::open_child(&dir.fd, name, O_PATH, 0)?);
            let (node, attr) = self.nodes.describe(path_fd, Some(&dir), dir.readonly)?;
            let attr = settle(self, &node, attr, mode & 0o7777, uid, gid)?;
            Ok((self.nodes.add(node)?, attr))
        })();
        let (handle, attr) = made.inspect_err(|_: &Errno| {
            let _ = file::unlink(&dir.fd, name);
        })?;
        self.made.0.lock().unwrap_or_else(PoisonError::into_inner).insert((attr.dev, attr.ino));
        let dir = self.nodes.attr(&dir.fd).ok();
        let done = Done::Opened { handle: Some(handle), attr, created: true, dir, contents: None };
        Ok(Answer { done, fd: Some(HostFd::new(fd)) })
    }
}
