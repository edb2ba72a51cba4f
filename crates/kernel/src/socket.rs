//! Sockets as the kernel sees them: a file over `SocketOps`, and the registry of address families. socket(2), socket(7).
//!
//! Crate `network` implements families; the system calls (crate `syscalls`) go through `Socket`. What all families have in common
//! (time limits, plain options) is kept here. Locks: `Leaf` for the options.

use crate::cbpf::{Program, Sees};
use crate::cred::Cred;
use crate::io::{Io, Sink, Source, UserMemory};
use crate::ipc::mqueue::Cookies;
use crate::locks::Leaf;
use crate::op::{Op, Restart, Stop, fail};
use crate::task::{NetNs, Pid};
use crate::time::{Deadline, Nanos};
use crate::vfs::{File, FileOps, Position, socket_inode};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::net::{
    Linger, MSG_NOSIGNAL, SO_BROADCAST, SO_COOKIE, SO_DEBUG, SO_DOMAIN, SO_DONTROUTE, SO_KEEPALIVE, SO_LINGER, SO_MARK,
    SO_OOBINLINE, SO_PASSSEC, SO_PRIORITY, SO_PROTOCOL, SO_RCVLOWAT, SO_RCVTIMEO_OLD, SO_REUSEADDR, SO_REUSEPORT,
    SO_RXQ_OVFL, SO_SNDLOWAT, SO_SNDTIMEO_OLD, SO_TIMESTAMP_OLD, SO_TYPE, SOL_SOCKET,
};
use abi::seccomp::SockFilter;
use abi::time::Timeval;
use lock::Mutex;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// socketpair(2): type without flags, protocol.
pub type MakePair = fn(&mut Io<'_>, u32, u32) -> Op<[Box<dyn SocketOps>; 2]>;

/// An address family, as the registry has it.
pub struct Family {
    /// AF_*.
    pub number: u32,
    /// socket(2): type without flags. ESOCKTNOSUPPORT, EPROTONOSUPPORT.
    pub create: fn(io: &mut Io<'_>, kind: u32, protocol: u32) -> Op<Box<dyn SocketOps>>,
    /// socketpair(2). EOPNOTSUPP where the family has none.
    pub pair: MakePair,
}

/// Who sent a message, SCM_CREDENTIALS: the kernel's ids.
#[derive(Clone)]
pub struct Sender {
    pub pid: Option<Arc<Pid>>,
    pub uid: u32,
    pub gid: u32,
}

/// A control message, cmsg(3).
#[derive(Clone)]
pub enum Control {
    /// SCM_RIGHTS.
    Rights(Vec<Arc<File>>),
    /// SCM_CREDENTIALS.
    Credentials(Sender),
    /// SCM_PIDFD.
    Pidfd(Arc<Pid>),
    /// Any other: as it is.
    Other { level: i32, kind: i32, data: Vec<u8> },
}

/// What is sent with the data.
#[derive(Default)]
pub struct Outgoing {
    /// msg_name.
    pub to: Option<Vec<u8>>,
    /// MSG_*; MSG_DONTWAIT is in `Io::nonblock` already.
    pub flags: u32,
    pub control: Vec<Control>,
}

/// What came.
#[derive(Default)]
pub struct Incoming {
    /// Bytes put into the sink.
    pub count: usize,
    /// Bytes that the message had; more than `count` where it was cut.
    pub whole: usize,
    /// MSG_TRUNC, MSG_EOR, ... of msg_flags.
    pub flags: u32,
    /// Empty where the sender has no name and none is told.
    pub from: Vec<u8>,
    pub control: Vec<Control>,
}

/// What /proc/PID/net tells of a socket.
#[derive(Default)]
pub struct Shown {
    pub listening: bool,
    pub connected: bool,
    /// Its own address without the family.
    pub name: Vec<u8>,
    /// Of a netlink socket: bytes that wait to be read, messages that found no room, whether a dump is under way.
    pub queued: usize,
    pub dropped: u64,
    pub dumping: bool,
}

/// What a family implements. Addresses are the bytes of a sockaddr, family included.
pub trait SocketOps: Send + Sync {
    fn bind(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()>;
    fn listen(&self, _io: &mut Io<'_>, _backlog: i32) -> Op<()> {
        fail(Errno::EOPNOTSUPP)
    }
    /// Waits until it is connected, or fails with EINPROGRESS (EAGAIN for unix sockets) where it may not wait.
    fn connect(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()>;
    fn accept(&self, _io: &mut Io<'_>) -> Op<Box<dyn SocketOps>> {
        fail(Errno::EOPNOTSUPP)
    }
    /// SHUT_RD, SHUT_WR, SHUT_RDWR.
    fn shutdown(&self, io: &mut Io<'_>, how: u32) -> Op<()>;
    fn local_address(&self, io: &mut Io<'_>) -> Op<Vec<u8>>;
    /// ENOTCONN.
    fn peer_address(&self, io: &mut Io<'_>) -> Op<Vec<u8>>;
    /// None: the option is not the family's.
    fn get_option(&self, io: &mut Io<'_>, level: u32, name: u32, room: usize) -> Op<Option<Vec<u8>>>;
    /// False: the option is not the family's.
    fn set_option(&self, io: &mut Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool>;
    /// Sets the filter of what is received, or takes it away; returns the old one.
    fn set_filter(&self, _filter: Option<Arc<Program>>) -> Op<Option<Arc<Program>>> {
        fail(Errno::ENOPROTOOPT)
    }
    /// Returns the bytes of this run, those of runs before are in `io.done`. EPIPE comes without SIGPIPE; `sigpipe` says whether one belongs to it.
    fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &mut Outgoing) -> Op<usize>;
    /// `flags` are MSG_*.
    fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming>;
    fn ready(&self, want: Events) -> Events;
    fn queue(&self) -> &Queue;
    fn ioctl(&self, _io: &mut Io<'_>, _memory: &dyn UserMemory, _cmd: u32, _arg: u64) -> Op<u64> {
        fail(Errno::ENOTTY)
    }
    /// AF_*, SOCK_*, protocol.
    fn identity(&self) -> (u32, u32, u32);
    /// Whether a broken connection makes SIGPIPE: streams.
    fn sigpipe(&self) -> bool;
    /// None for a socket of another namespace.
    fn shown(&self, net: &NetNs) -> Option<Shown>;
    /// What mq_notify(2) with SIGEV_THREAD sends its cookie by. EINVAL for all but netlink sockets.
    fn cookies(&self, _io: &mut Io<'_>) -> Op<Box<dyn Cookies>> {
        fail(Errno::EINVAL)
    }
    /// Who is at the other end, SO_PEERPIDFD.
    fn peer_pid(&self) -> Option<Arc<Pid>> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// A socket as a file.
pub struct Socket {
    pub ops: Box<dyn SocketOps>,
    ino: u64,
    options: Mutex<Options, Leaf>,
}

#[derive(Default)]
struct Options {
    /// SO_RCVTIMEO and SO_SNDTIMEO, ns; 0 for none.
    receive_limit: Nanos,
    send_limit: Nanos,
    linger: Linger,
    /// Plain numbers that are kept and told.
    plain: BTreeMap<u32, i32>,
}

/// A file for a new socket; `flags`: O_NONBLOCK.
pub fn new_socket(cred: &Cred, ops: Box<dyn SocketOps>, flags: OpenFlags) -> Arc<File> {
    let inode = socket_inode(cred);
    let socket = Socket { ops, ino: inode.ino, options: Mutex::new(Options::default()) };
    File::pathless(inode, Arc::new(socket), flags & OpenFlags::NONBLOCK | OpenFlags::RDWR)
}

impl Socket {
    /// Runs an operation with the socket's time limit: EAGAIN (`late`) when it is over, and EINTR instead of a restart.
    fn limited<T>(io: &mut Io<'_>, limit: Nanos, late: Errno, run: impl FnOnce(&mut Io<'_>) -> Op<T>) -> Op<T> {
        if limit == 0 {
            return run(io);
        }
        let deadline = io.limit(Deadline::after(limit));
        io.deadline = Some(deadline);
        match run(io) {
            Err(Stop::Errno(Errno::ETIMEDOUT)) => fail(late),
            Err(Stop::Restart(Restart::Sys)) => fail(Errno::EINTR),
            out => out,
        }
    }

    pub fn connect(&self, io: &mut Io<'_>, address: &[u8]) -> Op<()> {
        let limit = self.options.lock().send_limit;
        Self::limited(io, limit, Errno::EAGAIN, |io| self.ops.connect(io, address))
    }

    pub fn accept(&self, io: &mut Io<'_>) -> Op<Box<dyn SocketOps>> {
        let limit = self.options.lock().receive_limit;
        Self::limited(io, limit, Errno::EAGAIN, |io| self.ops.accept(io))
    }

    pub fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &mut Outgoing) -> Op<usize> {
        let limit = self.options.lock().send_limit;
        let out = Self::limited(io, limit, Errno::EAGAIN, |io| self.ops.send(io, from, message));
        if matches!(out, Err(Stop::Errno(Errno::EPIPE))) && self.ops.sigpipe() && message.flags & MSG_NOSIGNAL == 0 {
            return Err(crate::ipc::pipe::broken(io));
        }
        out
    }

    pub fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        let limit = self.options.lock().receive_limit;
        Self::limited(io, limit, Errno::EAGAIN, |io| self.ops.receive(io, to, flags))
    }

    /// getsockopt(2); ENOPROTOOPT. `room` is how much the caller has.
    pub fn get_option(&self, io: &mut Io<'_>, level: u32, name: u32, room: usize) -> Op<Vec<u8>> {
        if let Some(value) = self.ops.get_option(io, level, name, room)? {
            return Ok(value);
        }
        if level != SOL_SOCKET {
            return fail(Errno::ENOPROTOOPT);
        }
        let (family, kind, protocol) = self.ops.identity();
        let options = self.options.lock();
        let limit = |ns: Nanos| Timeval::from_nanos(ns as i64).as_bytes().to_vec();
        Ok(match name {
            SO_DOMAIN => (family as i32).to_le_bytes().to_vec(),
            SO_TYPE => (kind as i32).to_le_bytes().to_vec(),
            SO_PROTOCOL => (protocol as i32).to_le_bytes().to_vec(),
            SO_RCVTIMEO_OLD => limit(options.receive_limit),
            SO_SNDTIMEO_OLD => limit(options.send_limit),
            SO_LINGER => options.linger.as_bytes().to_vec(),
            SO_RCVLOWAT => options.plain.get(&name).copied().unwrap_or(1).to_le_bytes().to_vec(),
            SO_SNDLOWAT => 1i32.to_le_bytes().to_vec(),
            SO_COOKIE if room < size_of::<u64>() => return fail(Errno::EINVAL),
            SO_COOKIE => self.ino.to_le_bytes().to_vec(),
            _ if PLAIN.contains(&name) => options.plain.get(&name).copied().unwrap_or(0).to_le_bytes().to_vec(),
            _ => return fail(Errno::ENOPROTOOPT),
        })
    }

    /// SO_ATTACH_FILTER. EINVAL, ENOMEM.
    pub fn attach_filter(&self, insns: Vec<SockFilter>) -> Op<()> {
        let filter = Program::check(insns, Sees::Message)?;
        self.ops.set_filter(Some(Arc::new(filter))).map(drop)
    }

    /// SO_DETACH_FILTER.
    pub fn detach_filter(&self) -> Op<()> {
        self.ops.set_filter(None)?.map(drop).ok_or(Errno::ENOENT.into())
    }

    /// setsockopt(2).
    pub fn set_option(&self, io: &mut Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<()> {
        if self.ops.set_option(io, level, name, value)? {
            return Ok(());
        }
        if level != SOL_SOCKET {
            return fail(Errno::ENOPROTOOPT);
        }
        let number = value.first_chunk::<4>().map(|b| i32::from_le_bytes(*b));
        let mut options = self.options.lock();
        match name {
            SO_RCVTIMEO_OLD | SO_SNDTIMEO_OLD => {
                let (time, _) = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
                if !(0..1_000_000).contains(&time.tv_usec) {
                    return fail(Errno::EDOM);
                }
                // A negative time is none at all, as is one that never ends.
                let ns = if time.tv_sec < 0 { 0 } else { time.to_nanos().unwrap_or(0) as Nanos };
                *if name == SO_RCVTIMEO_OLD { &mut options.receive_limit } else { &mut options.send_limit } = ns;
            }
            SO_LINGER => {
                let linger = Linger::read_from_prefix(value).map_err(|_| Errno::EINVAL)?.0;
                // A time that does not count is not kept.
                let time = if linger.l_onoff == 0 { options.linger.l_linger } else { linger.l_linger };
                options.linger = Linger { l_onoff: i32::from(linger.l_onoff != 0), l_linger: time };
            }
            SO_RCVLOWAT => {
                let number = number.ok_or(Errno::EINVAL)?;
                options.plain.insert(name, if number <= 0 { i32::from(number == 0).max(1) } else { number });
            }
            SO_DOMAIN | SO_TYPE | SO_PROTOCOL | SO_SNDLOWAT => return fail(Errno::ENOPROTOOPT),
            // Of the internet's families alone.
            SO_REUSEPORT if number.is_some_and(|n| n != 0) => return fail(Errno::EOPNOTSUPP),
            _ if PLAIN.contains(&name) => {
                let number = number.ok_or(Errno::EINVAL)?;
                let valued = matches!(name, SO_PRIORITY | SO_MARK);
                if name == SO_MARK && !io.cred.has(crate::cred::Cap::NetAdmin) {
                    return fail(Errno::EPERM);
                }
                options.plain.insert(name, if valued { number } else { i32::from(number != 0) });
            }
            _ => return fail(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

/// Options that change nothing here but are told back.
const PLAIN: &[u32] = &[
    SO_DEBUG,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_KEEPALIVE,
    SO_BROADCAST,
    SO_DONTROUTE,
    SO_OOBINLINE,
    SO_PRIORITY,
    SO_MARK,
    SO_PASSSEC,
    SO_RXQ_OVFL,
    SO_TIMESTAMP_OLD,
];

impl FileOps for Socket {
    fn position(&self) -> Position {
        Position::Stream
    }
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        Ok(self.receive(io, to, 0)?.count)
    }
    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        self.send(io, from, &mut Outgoing::default())
    }
    fn ready(&self, want: Events) -> Events {
        self.ops.ready(want)
    }
    fn queue(&self) -> Option<&Queue> {
        Some(self.ops.queue())
    }
    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        self.ops.ioctl(io, memory, cmd, arg)
    }
    fn label(&self) -> Option<String> {
        Some(format!("socket:[{}]", self.ino))
    }
    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
