//! Addresses of unix sockets and the table of abstract names, unix(7). Locks: `Leaf` for a network namespace's names.

use super::endpoint::Endpoint;
use abi::Errno;
use abi::net::{AF_UNIX, UNIX_PATH_MAX};
use host::HostFd;
use kernel::io::Io;
use kernel::task::Task;
use kernel::vfs::{self, FileType, NewKind, WalkFlags};
use kernel::{Op, fail};
use lock::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What a guest named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Only the family: autobind.
    Unnamed,
    Path(Vec<u8>),
    /// Without the leading zero; any bytes.
    Abstract(Vec<u8>),
}

impl Address {
    /// From the bytes of a sockaddr_un. EINVAL.
    pub fn parse(bytes: &[u8]) -> Op<Address> {
        let Some((family, name)) = bytes.split_first_chunk::<2>() else { return fail(Errno::EINVAL) };
        if u32::from(u16::from_le_bytes(*family)) != AF_UNIX || name.len() > UNIX_PATH_MAX as usize {
            return fail(Errno::EINVAL);
        }
        Ok(match name {
            [] => Address::Unnamed,
            [0, name @ ..] => Address::Abstract(name.to_vec()),
            path => Address::Path(path.iter().copied().take_while(|b| *b != 0).collect()),
        })
    }

    /// The bytes of the sockaddr_un.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = (AF_UNIX as u16).to_le_bytes().to_vec();
        match self {
            Address::Unnamed => {}
            Address::Path(path) => {
                out.extend_from_slice(path);
                out.push(0);
            }
            Address::Abstract(name) => {
                out.push(0);
                out.extend_from_slice(name);
            }
        }
        out
    }
}

/// The abstract names of a network namespace.
#[derive(Default)]
pub struct Names(Mutex<Table, kernel::locks::Leaf>);

#[derive(Default)]
struct Table {
    names: HashMap<Vec<u8>, Weak<Endpoint>>,
    /// For autobind.
    last: u32,
}

impl Names {
    /// EADDRINUSE.
    pub fn bind(&self, name: &[u8], socket: Weak<Endpoint>) -> Op<()> {
        let mut table = self.0.lock();
        if table.names.get(name).is_some_and(|old| old.strong_count() > 0) {
            return fail(Errno::EADDRINUSE);
        }
        let old = table.names.insert(name.to_vec(), socket);
        drop(table);
        drop(old);
        Ok(())
    }

    /// A free name of five hexadecimal digits. ENOSPC where all are taken.
    pub fn autobind(&self, socket: &Weak<Endpoint>) -> Op<Vec<u8>> {
        let mut table = self.0.lock();
        for _ in 0..1 << 20 {
            table.last = table.last.wrapping_add(1) & 0xf_ffff;
            let name = format!("{:05x}", table.last).into_bytes();
            if table.names.get(&name).is_none_or(|old| old.strong_count() == 0) {
                table.names.insert(name.clone(), socket.clone());
                return Ok(name);
            }
        }
        fail(Errno::ENOSPC)
    }

    /// Frees a name, if it is this socket's.
    pub fn remove_if(&self, name: &[u8], socket: &Weak<Endpoint>) {
        let mut table = self.0.lock();
        let old = if table.names.get(name).is_some_and(|w| w.ptr_eq(socket)) { table.names.remove(name) } else { None };
        drop(table);
        drop(old);
    }

    fn find(&self, name: &[u8]) -> Option<Arc<Endpoint>> {
        let found = self.0.lock().names.get(name).cloned();
        found?.upgrade()
    }
}

/// Makes the socket's inode and binds it there. EADDRINUSE. The host's socket, where the folder is the host's and takes some.
pub fn bind_path(io: &mut Io<'_>, path: &[u8], kind: u32, socket: Weak<Endpoint>) -> Op<Option<Arc<HostFd>>> {
    let task = Task::of(io).ok_or(Errno::EINVAL)?;
    let fs = task.fs();
    // The umask counts here also where the folder has a default access control list.
    let perm = 0o777 & !io.umask();
    let made = vfs::namei::create(io, &fs.base(), path, NewKind::Socket(kind), perm);
    let place = match made {
        Err(kernel::Stop::Errno(Errno::EEXIST)) => return fail(Errno::EADDRINUSE),
        made => made?,
    };
    let inode = place.inode()?;
    let taken = inode.ops.take_socket();
    if taken.is_none() {
        inode.bind_socket(socket);
    }
    Ok(taken)
}

/// How long until a full backlog of the host is tried again: nobody tells when there is room.
const TICK: u64 = 10_000_000;

/// A new socket of a type, connected to the host's that an address leads to; None where it leads to this kernel's.
pub fn connect_host(io: &mut Io<'_>, address: &Address, kind: u32) -> Op<Option<Arc<HostFd>>> {
    let (Address::Path(path), Some(task)) = (address, Task::of(io)) else { return Ok(None) };
    let base = task.fs().base();
    let inode = vfs::walk(io, &base, path, WalkFlags::FOLLOW)?.inode()?;
    if inode.kind != FileType::Socket || inode.bound_socket().is_some() {
        return Ok(None);
    }
    vfs::access::check(io, &inode, vfs::access::WRITE)?;
    match inode.ops.connect_socket(io, kind) {
        Err(kernel::Stop::Errno(Errno::EAGAIN)) => Err(kernel::reactor::again(io, TICK)),
        answer => answer,
    }
}

/// The socket that is bound to an address. ECONNREFUSED where none is (any more), ENOENT, EACCES.
pub fn find(io: &mut Io<'_>, names: &Names, address: &Address) -> Op<Arc<Endpoint>> {
    match address {
        Address::Unnamed => fail(Errno::EINVAL),
        Address::Abstract(name) => names.find(name).ok_or(Errno::ECONNREFUSED.into()),
        Address::Path(path) => {
            let task = Task::of(io).ok_or(Errno::EINVAL)?;
            let base = task.fs().base();
            let inode = vfs::walk(io, &base, path, WalkFlags::FOLLOW)?.inode()?;
            vfs::access::check(io, &inode, vfs::access::WRITE)?;
            if inode.kind != FileType::Socket {
                return fail(Errno::ECONNREFUSED);
            }
            let bound = inode.bound_socket().and_then(|any| any.downcast::<Endpoint>().ok());
            bound.ok_or(Errno::ECONNREFUSED.into())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Address::parse(&[1, 0]), Ok(Address::Unnamed));
        assert_eq!(Address::parse(b"\x01\0/a/b\0rest"), Ok(Address::Path(b"/a/b".to_vec())));
        assert_eq!(Address::parse(b"\x01\0\0x\0y"), Ok(Address::Abstract(b"x\0y".to_vec())));
        assert_eq!(Address::Path(b"/a".to_vec()).bytes(), b"\x01\0/a\0");
        assert_eq!(Address::parse(b"\x02\0/a"), fail(Errno::EINVAL));
        assert_eq!(Address::parse(&[1; 1]), fail(Errno::EINVAL));
        assert_eq!(Address::parse(&[[1, 0].as_slice(), &[b'a'; 109]].concat()), fail(Errno::EINVAL));
    }
}
