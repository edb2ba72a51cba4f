//! Unix sockets that keep message boundaries and carry descriptors (unix(7), SOCK_SEQPACKET, SCM_RIGHTS).
//!
//! The control protocol of `sandbox` and the console socket of `runtime` use it. Owns no locks.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::{self, Errno};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    recvmsg, sendmsg, socket_with, socketpair,
};

/// Most descriptors in one message (the host's own limit is 253).
pub const MAX_FDS: usize = 64;
/// Longest message sent inline; well below the smallest default of net.core.wmem_default.
pub const MAX_INLINE: usize = 64 * 1024;

/// Two connected ends.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A listener at `name` in the folder `dir`, whose path may be longer than the 108 bytes that an address holds.
pub fn listen_in(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address(dir, name)?)?;
    listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to the listener at `name` in `dir`.
pub fn connect_in(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &address(dir, name)?)?;
    Ok(socket)
}

/// Connects a stream socket to a path of the user's (`--console-socket`).
pub fn connect_stream(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The next connection; does not wait (EAGAIN) when the listener is non-blocking.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    accept_with(listener, SocketFlags::CLOEXEC)
}

/// Sends one message with its descriptors. `wait`: sleep while the other's queue is full; else EAGAIN.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(Errno::TOOBIG);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    let flags = if wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
    io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)).map(|_| ())
}

/// A received message.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Receives one message; `None` at the end of the connection. A message that is too long, or has too many descriptors, is EMSGSIZE.
pub fn receive(socket: impl AsFd, wait: bool) -> io::Result<Option<Received>> {
    let mut bytes = vec![0u8; MAX_INLINE];
    let (length, fds, cut) = take(socket, &mut bytes, wait)?;
    if cut {
        return Err(Errno::MSGSIZE);
    }
    if length == 0 && fds.is_empty() {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some(Received { bytes, fds }))
}

/// Like [`receive`], into a buffer that is used again: the length of the message, which is 0 without descriptors at the end of the connection. Descriptors
/// for which this process has no room are lost.
pub fn receive_into(socket: impl AsFd, buffer: &mut [u8], wait: bool) -> io::Result<(usize, Vec<OwnedFd>)> {
    take(socket, buffer, wait).map(|(length, fds, _)| (length, fds))
}

/// Length, descriptors, and whether some were lost.
fn take(socket: impl AsFd, buffer: &mut [u8], wait: bool) -> io::Result<(usize, Vec<OwnedFd>, bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = if wait { RecvFlags::CMSG_CLOEXEC } else { RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT };
    let got = io::retry_on_intr(|| recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            fds.extend(list);
        }
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((got.bytes, fds, got.flags.contains(ReturnFlags::CTRUNC)))
}

/// The length of the next message, and the process that sent it, by the host's word (unix(7), SO_PASSCRED); 0: one outside of this PID namespace. Waits for it. A longer
/// message is cut, and descriptors that come along are lost. `None`: all senders are gone.
pub fn receive_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(usize, i32)>> {
    use std::os::fd::AsRawFd;
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // Room for one struct ucred behind its header, and not for a descriptor besides.
    let mut control = [0u64; 4];
    // SAFETY: all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to buffers that live through the call, with their sizes.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if length < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    // The header's length, then level and type; then pid and uid, gid.
    let [_, kind, pid, _] = control;
    let named = message.msg_controllen >= 28 && kind == libc::SOL_SOCKET as u64 | (libc::SCM_CREDENTIALS as u64) << 32;
    Ok(named.then_some((length as usize, pid as u32 as i32)))
}

/// Bytes that the other end has not received yet, as the host accounts for them. unix(7), SIOCOUTQ.
pub fn unread(socket: impl AsFd) -> io::Result<u32> {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the host writes an int. TIOCOUTQ is SIOCOUTQ's number.
    if unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(bytes as u32)
}

fn address(dir: BorrowedFd<'_>, name: &str) -> io::Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()).as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_named_and_their_descriptors_lost() {
        let (a, b) = pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(&b, true).unwrap();
        send(&a, b"four", &[], true).unwrap();
        send(&a, b"", &[a.as_fd()], true).unwrap();
        send(&a, b"longer", &[], true).unwrap();
        assert!(unread(&a).unwrap() > 0);
        let own = std::process::id() as i32;
        let mut bytes = [0u8; 5];
        assert_eq!(receive_from(&b, &mut bytes), Ok(Some((4, own))));
        assert_eq!(receive_from(&b, &mut bytes), Ok(Some((0, own))));
        assert_eq!(receive_from(&b, &mut bytes), Ok(Some((5, own))));
        assert_eq!((&bytes, unread(&a)), (b"longe", Ok(0)));
        drop(a);
        assert_eq!(receive_from(&b, &mut bytes), Ok(None));
    }
}
