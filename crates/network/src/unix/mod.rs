//! Unix sockets, unix(7): streams, datagrams, seqpackets; names in the file system, abstract names, pairs.
//!
//! `endpoint` has a socket's state and connections, `inbox` what it has been sent, `transfer` sends and receives, `address` finds
//! sockets by name, `options` are its settings, `flight` bounds and collects descriptors that are under way, `host` is a socket whose peers are the host's.

mod address;
mod endpoint;
mod flight;
mod host;
mod inbox;
mod options;
mod transfer;

use crate::device_ioctl::device_ioctl;
use crate::state::{self, State};
use abi::Errno;
use abi::ioctl::FIONREAD;
use abi::net::{AF_UNIX, AF_UNSPEC, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
use abi::tty::TIOCOUTQ;
use address::Address;
pub use address::Names;
use endpoint::{Endpoint, Kind};
use host::HostSocket;
use kernel::cbpf::Program;
use kernel::io::{Io, Sink, Source, UserMemory};
use kernel::socket::{Family, Incoming, Outgoing, Shown, SocketOps};
use kernel::task::{NetNs, Pid};
use kernel::wait::{Events, Queue};
use kernel::{Op, fail};
use std::any::Any;
use std::sync::{Arc, OnceLock};

pub static FAMILY: Family = Family { number: AF_UNIX, create, pair };

/// A unix socket that a file has: its end closes the endpoint.
pub struct UnixSocket {
    end: Arc<Endpoint>,
    net: Arc<NetNs>,
    /// In place of the endpoint, once it is connected or bound to a name that is the host's.
    host: OnceLock<HostSocket>,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.end.close(false);
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

fn create(io: &mut Io<'_>, number: u32, protocol: u32) -> Op<Box<dyn SocketOps>> {
    let kind = kind(number, protocol)?;
    let net = state::net(io)?;
    let end = Endpoint::new(kind, State::of(&net)?.names.clone());
    Ok(Box::new(UnixSocket::new(end, &net)))
}

fn pair(io: &mut Io<'_>, number: u32, protocol: u32) -> Op<[Box<dyn SocketOps>; 2]> {
    let kind = kind(number, protocol)?;
    let net = state::net(io)?;
    let ends = Endpoint::pair(kind, State::of(&net)?.names.clone(), io);
    Ok(ends.map(|end| Box::new(UnixSocket::new(end, &net)) as Box<dyn SocketOps>))
}

impl UnixSocket {
    fn new(end: Arc<Endpoint>, net: &Arc<NetNs>) -> UnixSocket {
        UnixSocket { end, net: net.clone(), host: OnceLock::new() }
    }

    /// From now on the socket is the host's.
    fn become_host(&self, fd: Arc<::host::HostFd>, name: Address, peer: Address) -> Op<()> {
        let host = HostSocket::new(fd, self.end.kind, &self.end.queue, name, peer)?;
        match self.host.set(host) {
            Ok(()) => Ok(()),
            Err(_) => fail(Errno::EINVAL),
        }
    }
}

impl SocketOps for UnixSocket {
    fn bind(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()> {
        if self.host.get().is_some() {
            return fail(Errno::EINVAL);
        }
        let name = Address::parse(address)?;
        if let Some(fd) = self.end.bind(io, name.clone())? {
            self.become_host(fd, name, Address::Unnamed)?;
        }
        Ok(())
    }

    fn listen(&self, io: &mut Io<'_>, backlog: i32) -> Op<()> {
        if let Some(host) = self.host.get() {
            return host.listen(backlog);
        }
        self.end.listen(io, backlog)
    }

    fn connect(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()> {
        let family = address.first_chunk::<2>().map(|b| u32::from(u16::from_le_bytes(*b))).ok_or(Errno::EINVAL)?;
        if let Some(host) = self.host.get().filter(|_| self.end.kind.connects()) {
            return fail(if host.is_connected() { Errno::EISCONN } else { Errno::EINVAL });
        }
        if family != AF_UNSPEC {
            let to = Address::parse(address)?;
            if self.host.get().is_none()
                && let Some(fd) = address::connect_host(io, &to, self.end.kind.number())?
            {
                return self.become_host(fd, Address::Unnamed, to);
            }
        }
        if self.host.get().is_some() {
            // A datagram socket that was connected to the host stays so.
            return fail(Errno::EOPNOTSUPP);
        }
        if self.end.kind.connects() {
            return self.end.connect(io, &Address::parse(address)?);
        }
        let to = if family == AF_UNSPEC { None } else { Some(Address::parse(address)?) };
        self.end.connect_datagram(io, to.as_ref())
    }

    fn accept(&self, io: &mut Io<'_>) -> Op<Box<dyn SocketOps>> {
        if !self.end.kind.connects() {
            return fail(Errno::EOPNOTSUPP);
        }
        if let Some(host) = self.host.get() {
            let fd = host.accept(io)?;
            let socket = UnixSocket::new(Endpoint::new(self.end.kind, self.end.names.clone()), &self.net);
            socket.become_host(fd, host.name.clone(), Address::Path(Vec::new()))?;
            return Ok(Box::new(socket));
        }
        Ok(Box::new(UnixSocket::new(self.end.accept(io)?, &self.net)))
    }

    fn shutdown(&self, _io: &mut Io<'_>, how: u32) -> Op<()> {
        if let Some(host) = self.host.get() {
            return host.shutdown(how);
        }
        self.end.shutdown(how)
    }

    fn local_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        if let Some(host) = self.host.get() {
            return Ok(host.name.bytes());
        }
        Ok(self.end.state.lock().name.bytes())
    }

    fn peer_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        if let Some(host) = self.host.get() {
            return match &host.peer {
                Address::Unnamed => fail(Errno::ENOTCONN),
                // Whoever connected to us: nobody tells by which name.
                Address::Path(path) if path.is_empty() => Ok(Address::Unnamed.bytes()),
                peer => Ok(peer.bytes()),
            };
        }
        let peer = self.end.state.lock().peer.clone().ok_or(Errno::ENOTCONN)?;
        let name = peer.state.lock().name.bytes();
        Ok(name)
    }

    fn get_option(&self, io: &mut Io<'_>, level: u32, name: u32, _room: usize) -> Op<Option<Vec<u8>>> {
        self.option(io, level, name)
    }

    fn set_option(&self, io: &mut Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool> {
        self.take_option(io, level, name, value)
    }

    fn peer_pid(&self) -> Option<Arc<Pid>> {
        self.end.state.lock().peer_cred.as_ref()?.sender.pid.clone()
    }

    /// What comes from a socket of the host is not filtered.
    fn set_filter(&self, filter: Option<Arc<Program>>) -> Op<Option<Arc<Program>>> {
        if self.host.get().is_some() && self.end.kind != Kind::Stream {
            return fail(Errno::ENOPROTOOPT);
        }
        Ok(std::mem::replace(&mut self.end.state.lock().filter, filter))
    }

    fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &mut Outgoing) -> Op<usize> {
        let to = match &message.to {
            Some(to) if self.end.kind == Kind::Datagram => Some(Address::parse(to)?),
            _ => None,
        };
        if let Some(to) = to {
            if let Some(fd) = address::connect_host(io, &to, self.end.kind.number())? {
                let queue = Queue::new();
                return HostSocket::new(fd, self.end.kind, &queue, Address::Unnamed, to)?.send(io, from, message);
            }
            if self.host.get().is_some() {
                return fail(Errno::ECONNREFUSED);
            }
        }
        if let Some(host) = self.host.get() {
            return if host.is_connected() { host.send(io, from, message) } else { fail(Errno::ENOTCONN) };
        }
        self.end.send(io, from, message)
    }

    fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        if let Some(host) = self.host.get() {
            let mut incoming = host.receive(io, to, flags)?;
            if self.end.kind != Kind::Stream && incoming.whole > 0 {
                incoming.control.extend(self.end.state.lock().stamps.now());
            }
            return Ok(incoming);
        }
        self.end.receive(io, to, flags)
    }

    fn ready(&self, want: Events) -> Events {
        if let Some(host) = self.host.get() {
            return host.ready(want);
        }
        self.end.ready(want)
    }

    fn queue(&self) -> &Queue {
        &self.end.queue
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if let (FIONREAD, Some(host)) = (cmd, self.host.get()) {
            return memory.write(arg, &host.unread()?.to_le_bytes()).map(|()| 0);
        }
        let count = match cmd {
            FIONREAD if self.end.is_listening() => return fail(Errno::EINVAL),
            FIONREAD => {
                let inbox = self.end.inbox.lock();
                if self.end.kind == Kind::Datagram { inbox.first_len() } else { inbox.bytes() }
            }
            TIOCOUTQ => {
                let peer = self.end.state.lock().peer.clone();
                peer.map_or(0, |p| p.inbox.lock().bytes())
            }
            _ => return device_ioctl(&self.net, io, memory, cmd, arg),
        };
        memory.write(arg, &(count as u32).to_le_bytes())?;
        Ok(0)
    }

    fn identity(&self) -> (u32, u32, u32) {
        (AF_UNIX, self.end.kind.number(), 0)
    }

    fn sigpipe(&self) -> bool {
        self.end.kind == Kind::Stream
    }

    fn shown(&self, net: &NetNs) -> Option<Shown> {
        if self.net.id != net.id {
            return None;
        }
        let listening = self.end.is_listening();
        let state = self.end.state.lock();
        let (connected, name) = (state.peer.is_some(), state.name.clone());
        drop(state);
        // A path is told without the zero that ends it in a sockaddr.
        let name = if let Address::Path(path) = name { path } else { name.bytes().split_off(2) };
        Some(Shown { listening, connected, name, ..Shown::default() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
