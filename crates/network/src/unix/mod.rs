//! Unix sockets, unix(7): streams, datagrams, seqpackets; names in the file system, abstract names, pairs.
//!
//! `endpoint` has a socket's state and connections, `inbox` what it has been sent, `transfer` sends and receives, `address` finds
//! sockets by name, `flight` bounds and collects descriptors that are under way.

mod address;
mod endpoint;
mod flight;
mod inbox;
mod transfer;

use abi::Errno;
use abi::ioctl::FIONREAD;
use abi::net::{
    AF_UNIX, AF_UNSPEC, SO_ACCEPTCONN, SO_ERROR, SO_PASSCRED, SO_PEERCRED, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF,
    SO_SNDBUFFORCE, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, Ucred,
};
use abi::tty::TIOCOUTQ;
use address::{Address, Names};
use endpoint::{Endpoint, Kind, SMALLEST_BUFFER};
use kernel::io::{Io, Sink, Source, UserMemory};
use kernel::socket::{Family, Incoming, Outgoing, Sender, Shown, SocketOps};
use kernel::task::{NetNs, Task};
use kernel::wait::{Events, Queue};
use kernel::{Op, fail};
use std::any::Any;
use std::sync::Arc;
use zerocopy::IntoBytes;

pub static FAMILY: Family = Family { number: AF_UNIX, create, pair };

/// The most that SO_SNDBUF and SO_RCVBUF take, /proc/sys/net/core/wmem_max; kept doubled.
const MAX_BUFFER: usize = 212_992;

/// A unix socket that a file has: its end closes the endpoint.
pub struct UnixSocket(Arc<Endpoint>);

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.0.close(false);
        flight::collect();
    }
}

fn kind(kind: u32, protocol: u32) -> Op<Kind> {
    if protocol != 0 && protocol != AF_UNIX {
        return fail(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM => Ok(Kind::Stream),
        // Linux takes SOCK_RAW for datagrams.
        SOCK_DGRAM | SOCK_RAW => Ok(Kind::Datagram),
        SOCK_SEQPACKET => Ok(Kind::Seqpacket),
        _ => fail(Errno::ESOCKTNOSUPPORT),
    }
}

fn names(io: &Io<'_>) -> Op<Arc<Names>> {
    let task = Task::of(io).ok_or(Errno::EAFNOSUPPORT)?;
    Names::of(&task.namespaces().net)
}

fn create(io: &mut Io<'_>, number: u32, protocol: u32) -> Op<Box<dyn SocketOps>> {
    let kind = kind(number, protocol)?;
    Ok(Box::new(UnixSocket(Endpoint::new(kind, names(io)?))))
}

fn pair(io: &mut Io<'_>, number: u32, protocol: u32) -> Op<[Box<dyn SocketOps>; 2]> {
    let kind = kind(number, protocol)?;
    let ends = Endpoint::pair(kind, names(io)?, io);
    Ok(ends.map(|end| Box::new(UnixSocket(end)) as Box<dyn SocketOps>))
}

fn int(value: usize) -> Vec<u8> {
    (value as i32).to_le_bytes().to_vec()
}

impl UnixSocket {
    /// Credentials as the caller's namespaces number them.
    fn ucred(io: &Io<'_>, sender: Option<Sender>) -> Ucred {
        let Some(sender) = sender else { return Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX } };
        let ns = Task::of(io).and_then(|t| t.pid.ns());
        let pid = sender.pid.zip(ns).map_or(0, |(pid, ns)| pid.number_in(&ns));
        Ucred { pid, uid: io.cred.user_ns.uid_to(sender.uid), gid: io.cred.user_ns.gid_to(sender.gid) }
    }
}

impl SocketOps for UnixSocket {
    fn bind(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()> {
        self.0.bind(io, Address::parse(address)?)
    }

    fn listen(&self, io: &mut Io<'_>, backlog: i32) -> Op<()> {
        self.0.listen(io, backlog)
    }

    fn connect(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()> {
        let family = address.first_chunk::<2>().map(|b| u32::from(u16::from_le_bytes(*b))).ok_or(Errno::EINVAL)?;
        if self.0.kind.connects() {
            return self.0.connect(io, &Address::parse(address)?);
        }
        let to = if family == AF_UNSPEC { None } else { Some(Address::parse(address)?) };
        self.0.connect_datagram(io, to.as_ref())
    }

    fn accept(&self, io: &mut Io<'_>) -> Op<Box<dyn SocketOps>> {
        if !self.0.kind.connects() {
            return fail(Errno::EOPNOTSUPP);
        }
        Ok(Box::new(UnixSocket(self.0.accept(io)?)))
    }

    fn shutdown(&self, _io: &mut Io<'_>, how: u32) -> Op<()> {
        self.0.shutdown(how)
    }

    fn local_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        Ok(self.0.state.lock().name.bytes())
    }

    fn peer_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        let peer = self.0.state.lock().peer.clone().ok_or(Errno::ENOTCONN)?;
        let name = peer.state.lock().name.bytes();
        Ok(name)
    }

    fn get_option(&self, io: &mut Io<'_>, level: u32, name: u32, _room: usize) -> Op<Option<Vec<u8>>> {
        if level != SOL_SOCKET {
            return if matches!(level, 0 | 6 | 17 | 41) { fail(Errno::EOPNOTSUPP) } else { Ok(None) };
        }
        let mut state = self.0.state.lock();
        Ok(Some(match name {
            SO_ERROR => int(state.error.take().map_or(0, |e| e.code().into())),
            SO_ACCEPTCONN => {
                drop(state);
                int(self.0.is_listening().into())
            }
            SO_SNDBUF => int(state.buffer),
            SO_RCVBUF => int(state.receive_buffer),
            SO_PASSCRED => int(state.pass_cred.into()),
            SO_PEERCRED => {
                let cred = state.peer_cred.clone();
                drop(state);
                Self::ucred(io, cred).as_bytes().to_vec()
            }
            _ => return Ok(None),
        }))
    }

    fn set_option(&self, io: &mut Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool> {
        if level != SOL_SOCKET {
            return if matches!(level, 0 | 6 | 17 | 41) { fail(Errno::EOPNOTSUPP) } else { Ok(false) };
        }
        let forced = matches!(name, SO_SNDBUFFORCE | SO_RCVBUFFORCE);
        if !forced && !matches!(name, SO_SNDBUF | SO_RCVBUF | SO_PASSCRED) {
            return Ok(false);
        }
        if forced && !io.cred.has(kernel::cred::Cap::NetAdmin) {
            return fail(Errno::EPERM);
        }
        let number = value.first_chunk::<4>().map(|b| i32::from_le_bytes(*b)).ok_or(Errno::EINVAL)?;
        let size = (number.max(0) as usize).min(MAX_BUFFER) * 2;
        let mut state = self.0.state.lock();
        match name {
            SO_PASSCRED => state.pass_cred = number != 0,
            SO_SNDBUF | SO_SNDBUFFORCE => state.buffer = size.max(SMALLEST_BUFFER),
            _ => state.receive_buffer = size.max(SMALLEST_BUFFER / 2),
        }
        Ok(true)
    }

    fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &mut Outgoing) -> Op<usize> {
        self.0.send(io, from, message)
    }

    fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        self.0.receive(io, to, flags)
    }

    fn ready(&self, want: Events) -> Events {
        self.0.ready(want)
    }

    fn queue(&self) -> &Queue {
        &self.0.queue
    }

    fn ioctl(&self, _io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        let count = match cmd {
            FIONREAD if self.0.is_listening() => return fail(Errno::EINVAL),
            FIONREAD => {
                let inbox = self.0.inbox.lock();
                if self.0.kind == Kind::Datagram { inbox.first_len() } else { inbox.bytes() }
            }
            TIOCOUTQ => {
                let peer = self.0.state.lock().peer.clone();
                peer.map_or(0, |p| p.inbox.lock().bytes())
            }
            _ => return fail(Errno::ENOTTY),
        };
        memory.write(arg, &(count as u32).to_le_bytes())?;
        Ok(0)
    }

    fn identity(&self) -> (u32, u32, u32) {
        (AF_UNIX, self.0.kind.number(), 0)
    }

    fn sigpipe(&self) -> bool {
        self.0.kind == Kind::Stream
    }

    fn shown(&self, net: &NetNs) -> Option<Shown> {
        if !self.0.is_in(&Names::of(net).ok()?) {
            return None;
        }
        let listening = self.0.is_listening();
        let state = self.0.state.lock();
        let (connected, name) = (state.peer.is_some(), state.name.clone());
        drop(state);
        // A path is told without the zero that ends it in a sockaddr.
        let name = if let Address::Path(path) = name { path } else { name.bytes().split_off(2) };
        Some(Shown { listening, connected, name })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
