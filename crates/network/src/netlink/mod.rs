//! Netlink sockets, netlink(7): messages to and from the kernel, which is number 0, between sockets, and to groups.
//!
//! Protocols: NETLINK_ROUTE, whose requests `route` serves, and NETLINK_KOBJECT_UEVENT, on which the kernel is silent: no device comes or goes.
//! `port` is a socket's state, `ports` a network namespace's sockets, `options` SOL_NETLINK, `message` the bytes, `serve` goes through a
//! guest's requests. A request is served within the send(2) that brings it, which never waits.

mod message;
mod options;
mod port;
mod ports;
mod route;
mod serve;
#[cfg(test)]
mod tests;

pub use ports::Ports;
pub use route::events;

use crate::device_ioctl::device_ioctl;
use crate::state::{self, State};
use abi::Errno;
use abi::ioctl::FIONREAD;
use abi::net::{AF_NETLINK, AF_UNSPEC, MSG_OOB, MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_RAW, SOL_NETLINK, SockaddrNl};
use abi::netlink::{NETLINK_KOBJECT_UEVENT, NETLINK_PKTINFO, NETLINK_ROUTE};
use kernel::cbpf::Program;
use kernel::cred::Cap;
use kernel::io::{Io, Sink, Source, UserMemory};
use kernel::ipc::mqueue::Cookies;
use kernel::socket::{Control, Family, Incoming, Outgoing, Sender, Shown, SocketOps};
use kernel::task::{NetNs, Task};
use kernel::wait::{Events, Queue};
use kernel::{Op, fail};
use port::{Message, Port};
use std::any::Any;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

pub static FAMILY: Family = Family { number: AF_NETLINK, create, pair: |_, _, _| fail(Errno::EOPNOTSUPP) };

/// Bytes that may wait at a new socket, /proc/sys/net/core/rmem_default.
const DEFAULT_BUFFER: usize = 212_992;

/// A netlink socket that a file has: its end takes it out of its namespace's table.
pub struct NetlinkSocket {
    port: Arc<Port>,
    space: Arc<State>,
    key: u64,
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        self.space.ports.remove(self.key);
    }
}

fn create(io: &mut Io<'_>, kind: u32, protocol: u32) -> Op<Box<dyn SocketOps>> {
    if !matches!(kind, SOCK_RAW | SOCK_DGRAM) {
        return fail(Errno::ESOCKTNOSUPPORT);
    }
    if !matches!(protocol, NETLINK_ROUTE | NETLINK_KOBJECT_UEVENT) {
        return fail(Errno::EPROTONOSUPPORT);
    }
    Ok(Box::new(NetlinkSocket::new(state::net(io)?, io.cred.clone(), kind, protocol)?))
}

/// An address from a guest: number and group, of which a message has one.
fn parse(bytes: &[u8]) -> Op<SockaddrNl> {
    let (address, _) = SockaddrNl::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    if u32::from(address.nl_family) != AF_NETLINK {
        return fail(Errno::EINVAL);
    }
    Ok(address)
}

fn first_group(groups: u32) -> u32 {
    if groups == 0 { 0 } else { groups.trailing_zeros() + 1 }
}

fn address(number: u32, groups: u32) -> Vec<u8> {
    let address = SockaddrNl { nl_family: AF_NETLINK as u16, pad: 0, nl_pid: number, nl_groups: groups };
    address.as_bytes().to_vec()
}

/// The mask of a group, as far as an address can tell it.
fn mask(group: u32) -> u32 {
    1u32.checked_shl(group.wrapping_sub(1)).unwrap_or(0)
}

impl NetlinkSocket {
    fn new(net: Arc<NetNs>, opener: Arc<kernel::cred::Cred>, kind: u32, protocol: u32) -> Op<NetlinkSocket> {
        let space = State::of(&net)?;
        let port = Arc::new(Port::new(protocol, kind, net, opener));
        let key = space.ports.add(protocol, Arc::downgrade(&port));
        Ok(NetlinkSocket { port, space, key })
    }

    /// The socket's number; one without gets its process', if that is free.
    fn number(&self, io: &Io<'_>) -> Op<u32> {
        let wish = Task::of(io).zip(Task::of(io).and_then(|t| t.pid.ns()));
        let wish = wish.map_or(0, |(task, ns)| task.group.pid.number_in(&ns)) as u32;
        self.space.ports.bind(self.key, 0, wish)
    }

    /// CAP_NET_ADMIN over the socket's namespace: the caller needs it, and so did who made the socket.
    fn privileged(&self, io: &Io<'_>) -> bool {
        let owner = &self.port.net.owner;
        io.cred.has_in(owner, Cap::NetAdmin) && self.port.opener.has_in(owner, Cap::NetAdmin)
    }

    /// Sends to a group's members. Who has no room loses it.
    fn broadcast(&self, message: &Message) {
        for member in self.space.ports.members(self.port.protocol, message.group) {
            if !Arc::ptr_eq(&member, &self.port) {
                member.deliver(message.clone());
            }
        }
    }
}

impl SocketOps for NetlinkSocket {
    fn bind(&self, io: &mut Io<'_>, to: &[u8]) -> Op<()> {
        let to = parse(to)?;
        let bound = self.space.ports.name(self.key).0;
        if bound != 0 && to.nl_pid != bound {
            return fail(Errno::EINVAL);
        }
        if to.nl_pid == 0 {
            self.number(io)?;
        } else {
            self.space.ports.bind(self.key, to.nl_pid, 0)?;
        }
        self.space.ports.set_groups(self.key, |old| old & !u64::from(u32::MAX) | u64::from(to.nl_groups));
        Ok(())
    }

    fn connect(&self, io: &mut Io<'_>, to: &[u8]) -> Op<()> {
        let family = to.first_chunk::<2>().map(|b| u32::from(u16::from_le_bytes(*b))).ok_or(Errno::EINVAL)?;
        if family == AF_UNSPEC {
            self.port.state.lock().peer = (0, 0);
            return Ok(());
        }
        let to = parse(to)?;
        if (to.nl_pid, to.nl_groups) != (0, 0) && !self.privileged(io) {
            return fail(Errno::EPERM);
        }
        self.number(io)?;
        self.port.state.lock().peer = (to.nl_pid, first_group(to.nl_groups));
        Ok(())
    }

    fn shutdown(&self, _io: &mut Io<'_>, _how: u32) -> Op<()> {
        fail(Errno::EOPNOTSUPP)
    }

    fn local_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        let (number, groups) = self.space.ports.name(self.key);
        Ok(address(number, groups as u32))
    }

    fn peer_address(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        let (number, group) = self.port.state.lock().peer;
        Ok(address(number, mask(group)))
    }

    fn get_option(&self, _io: &mut Io<'_>, level: u32, name: u32, room: usize) -> Op<Option<Vec<u8>>> {
        if level == SOL_NETLINK {
            return self.get_netlink_option(name, room).map(Some);
        }
        self.get_socket_option(level, name)
    }

    fn set_option(&self, io: &mut Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool> {
        if level == SOL_NETLINK {
            return self.set_netlink_option(io, name, value).map(|()| true);
        }
        self.set_socket_option(io, level, name, value)
    }

    fn set_filter(&self, filter: Option<Arc<Program>>) -> Op<Option<Arc<Program>>> {
        Ok(std::mem::replace(&mut self.port.state.lock().filter, filter))
    }

    fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &mut Outgoing) -> Op<usize> {
        if message.flags & MSG_OOB != 0 {
            return fail(Errno::EOPNOTSUPP);
        }
        let size = from.left();
        if size == 0 {
            return fail(Errno::ENODATA);
        }
        let mut sender =
            Sender { pid: Task::of(io).map(|t| t.group.pid.clone()), uid: io.cred.euid, gid: io.cred.egid };
        for control in &message.control {
            match control {
                Control::Credentials(named) => sender = named.clone(),
                _ => return fail(Errno::EINVAL),
            }
        }
        let (to, group) = match &message.to {
            Some(to) => {
                let to = parse(to)?;
                let to = (to.nl_pid, first_group(to.nl_groups));
                if to != (0, 0) && !self.privileged(io) {
                    return fail(Errno::EPERM);
                }
                to
            }
            None => self.port.state.lock().peer,
        };
        let number = self.number(io)?;
        if size > self.port.state.lock().send_buffer.saturating_sub(32) {
            return fail(Errno::EMSGSIZE);
        }
        let mut data = vec![0; size];
        if from.take(&mut data)? < size {
            return fail(Errno::EFAULT);
        }
        if (to, group) == (0, 0) {
            serve::serve(&self.port, number, self.privileged(io), &data);
            return Ok(size);
        }
        let data: Arc<[u8]> = data.into();
        // What may wait comes first: a group never makes its sender wait.
        if to != 0 {
            let target = self.space.ports.find(self.port.protocol, to).ok_or(Errno::ECONNREFUSED)?;
            let message = Message { data: data.clone(), from: number, group: 0, sender: sender.clone() };
            let queue = target.queue.clone();
            io.wait_for(&queue, Events::OUT, || Ok(target.try_deliver(&message).then_some(())))?;
        }
        if group != 0 {
            self.broadcast(&Message { data, from: number, group, sender });
        }
        Ok(size)
    }

    fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        if flags & MSG_OOB != 0 {
            return fail(Errno::EOPNOTSUPP);
        }
        let peek = flags & MSG_PEEK != 0;
        let message = io.wait_for(&self.port.queue, Events::IN, || {
            self.port.take_error()?;
            Ok(if peek { self.port.peek() } else { self.port.take() })
        })?;
        let whole = message.data.len();
        let want = whole.min(to.left());
        let count = match to.put(message.data.get(..want).unwrap_or_default()) {
            Ok(count) if count == want => count,
            other => {
                if !peek {
                    self.port.give_back(message);
                }
                return other.and_then(|_| fail(Errno::EFAULT));
            }
        };
        let from = address(message.from, mask(message.group));
        let mut incoming = Incoming { count, whole, from, ..Incoming::default() };
        if whole > count {
            incoming.flags |= MSG_TRUNC;
        }
        let state = self.port.state.lock();
        if state.has(NETLINK_PKTINFO) {
            let data = message.group.to_le_bytes().to_vec();
            let (level, kind) = (SOL_NETLINK as i32, NETLINK_PKTINFO as i32);
            incoming.control.push(Control::Other { level, kind, data });
        }
        if state.pass_cred {
            incoming.control.push(Control::Credentials(message.sender));
        }
        Ok(incoming)
    }

    fn ready(&self, want: Events) -> Events {
        let state = self.port.state.lock();
        let mut is = Events::OUT | Events::WRNORM | Events::WRBAND;
        is.set(Events::IN | Events::RDNORM, !state.is_empty());
        is.set(Events::ERR, state.error.is_some());
        is & (want | Events::ERR)
    }

    fn queue(&self) -> &Queue {
        &self.port.queue
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if cmd == FIONREAD {
            // Linux has it not, as it has no TIOCOUTQ: libraries ask with MSG_PEEK.
            return fail(Errno::ENOTTY);
        }
        device_ioctl(&self.port.net, io, memory, cmd, arg)
    }

    fn identity(&self) -> (u32, u32, u32) {
        (AF_NETLINK, self.port.kind, self.port.protocol)
    }

    fn sigpipe(&self) -> bool {
        false
    }

    fn shown(&self, net: &NetNs) -> Option<Shown> {
        if self.port.net.id != net.id {
            return None;
        }
        let (number, groups) = self.space.ports.name(self.key);
        let name = address(number, groups as u32).split_off(2);
        let state = self.port.state.lock();
        let (queued, dropped, dumping) = (state.queued(), state.dropped, state.is_dumping());
        Some(Shown { name, queued, dropped, dumping, ..Shown::default() })
    }

    fn cookies(&self, io: &mut Io<'_>) -> Op<Box<dyn Cookies>> {
        let promise = io.wait_for(&self.port.queue, Events::OUT, || Ok(self.port.promise()))?;
        Ok(Box::new(promise))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
