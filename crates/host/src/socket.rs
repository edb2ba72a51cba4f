//! Unix sockets by paths of the host: what the gofer connects and binds for guests, and what the kernel process does with such a socket. unix(7).
//!
//! Sockets are made non-blocking; nothing here sleeps. Neighbour: `message` (stockade's own connections). Owns no locks.

use crate::errno;
use crate::fd::HostFd;
use abi::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, shutdown, socket_with, sockopt,
};
use std::os::fd::OwnedFd;

/// A new socket; `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
fn make(kind: u32) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::from_raw(kind), flags, None).map_err(errno)
}

fn address(path: &[u8]) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(path).map_err(errno)
}

/// A socket that is connected to the one at a path; EAGAIN where its backlog is full.
pub fn connected(kind: u32, path: &[u8]) -> Result<OwnedFd, Errno> {
    let socket = make(kind)?;
    connect(&socket, &address(path)?).map_err(errno)?;
    Ok(socket)
}

/// A socket that is bound to a path, which it makes. EADDRINUSE where there is something.
pub fn bound(kind: u32, path: &[u8]) -> Result<OwnedFd, Errno> {
    let socket = make(kind)?;
    bind(&socket, &address(path)?).map_err(errno)?;
    Ok(socket)
}

/// listen(2).
pub fn start_listening(socket: &HostFd, backlog: i32) -> Result<(), Errno> {
    listen(socket, backlog).map_err(errno)
}

/// accept4(2). EAGAIN where nobody waits.
pub fn accept(socket: &HostFd) -> Result<OwnedFd, Errno> {
    accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).map_err(errno)
}

/// Whether this is a unix socket of a type, SOCK_*.
pub fn is_unix(socket: &HostFd, kind: u32) -> bool {
    let is_kind = sockopt::socket_type(socket).is_ok_and(|found| found == SocketType::from_raw(kind));
    is_kind && sockopt::socket_domain(socket).is_ok_and(|family| family == AddressFamily::UNIX)
}

/// send(2), without SIGPIPE; EAGAIN where there is no room.
pub fn send_some(socket: &HostFd, bytes: &[u8]) -> Result<usize, Errno> {
    send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(errno)
}

/// recv(2): bytes put into `into`, and how many the message had. Descriptors that come along are not taken. EAGAIN where nothing is there.
pub fn receive_some(socket: &HostFd, into: &mut [u8], peek: bool) -> Result<(usize, usize), Errno> {
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    flags.set(RecvFlags::PEEK, peek);
    let room = into.len();
    let (_, whole) = recv(socket, into, flags).map_err(errno)?;
    Ok((whole.min(room), whole))
}

/// shutdown(2); `how` is SHUT_*.
pub fn end(socket: &HostFd, how: u32) -> Result<(), Errno> {
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return Err(Errno::EINVAL),
    };
    shutdown(socket, how).map_err(errno)
}
