//! Unix sockets by names in what is served: connected or bound for the kernel process, where `--host-uds` allows it. unix(7).
//!
//! Lock: `Sockets::made`, a leaf, not held over a host call.

use crate::change::settle;
use crate::server::{Answer, Server};
use abi::Errno;
use fsproto::{Attr, Bytes, Done, Handle, Time};
use host::file::{self, O_PATH};
use host::{HostFd, socket};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
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

/// Sockets that were bound here and are remembered.
const REMEMBERED: usize = 4096;

/// Sockets that were bound here: they may be connected to in any case. At most `REMEMBERED`, that which was used last behind.
#[derive(Debug, Default)]
pub struct Made(Mutex<VecDeque<Key>>);

/// Device, inode number, time of birth: an inode number is given out again when its file is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key(u64, u64, Time);

impl Key {
    /// None where the file system keeps no times of birth: nothing tells such a socket from a later one.
    fn of(attr: &Attr) -> Option<Key> {
        attr.btime.map(|born| Key(attr.dev, attr.ino, born))
    }
}

impl Made {
    fn add(&self, attr: &Attr) {
        let Some(key) = Key::of(attr) else { return };
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= REMEMBERED {
            list.pop_front();
        }
        list.push_back(key);
    }

    fn has(&self, attr: &Attr) -> bool {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Key::of(attr).and_then(|key| list.iter().rposition(|made| *made == key));
        let found = at.and_then(|at| list.remove(at));
        list.extend(found);
        found.is_some()
    }
}

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
        if !self.peers.connect && !self.made.has(&self.nodes.attr(&node.fd)?) {
            return Err(Errno::ECONNREFUSED);
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
        self.made.add(&attr);
        let dir = self.nodes.attr(&dir.fd).ok();
        let done = Done::Opened { handle: Some(handle), attr, created: true, dir, contents: None };
        Ok(Answer { done, fd: Some(HostFd::new(fd)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(ino: u64, born: Option<i64>) -> Attr {
        Attr { dev: 1, ino, btime: born.map(|sec| Time { sec, nsec: 5 }), ..Attr::default() }
    }

    #[test]
    fn a_number_that_is_given_out_again_is_another_socket() {
        let made = Made::default();
        made.add(&attr(7, Some(1)));
        assert!(made.has(&attr(7, Some(1))));
        assert!(!made.has(&attr(7, Some(2))));
        assert!(!made.has(&attr(7, None)));
        assert!(!made.has(&attr(8, Some(1))));
        made.add(&attr(9, None));
        assert!(!made.has(&attr(9, None)));
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let made = Made::default();
        made.add(&attr(0, Some(1)));
        for ino in 1..3 * REMEMBERED as u64 {
            made.add(&attr(ino, Some(1)));
            assert!(made.has(&attr(0, Some(1))), "one that is used stays");
        }
        assert!(!made.has(&attr(1, Some(1))));
        assert_eq!(made.0.lock().map(|list| list.len()).ok(), Some(REMEMBERED));
    }
}
