//! A unix socket whose peers are processes of the host: connected, or bound, by the gofer where a name in a host folder leads to one. unix(7).
//!
//! Descriptors and credentials do not cross: what is to be passed with a message is refused, what comes along is dropped, and nobody is told who the other
//! side is. Owns no locks.

use super::address::Address;
use super::endpoint::Kind;
use ::host::{HostFd, socket};
use abi::Errno;
use abi::net::{MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL};
use kernel::io::{Io, Sink, Source};
use kernel::ipc::pipe::CHUNK;
use kernel::reactor::{self, Watch};
use kernel::socket::{Control, Incoming, Outgoing};
use kernel::wait::{Events, Queue, Wake};
use kernel::{Op, Stop, block_in_place, fail};
use std::sync::Arc;

/// The most that one message may have.
const LARGEST: usize = 212_960;

/// See the module.
pub struct HostSocket {
    fd: Arc<HostFd>,
    kind: Kind,
    pub queue: Queue,
    _watch: Watch,
    /// Its own name, and the peer's.
    pub name: Address,
    pub peer: Address,
}

/// The reactor's target.
struct Readiness(Queue);

impl Wake for Readiness {
    fn wake(self: Arc<Self>, events: Events) {
        self.0.wake(events);
    }
}

impl HostSocket {
    /// `queue` is the socket's from before: whoever waits there goes on waiting.
    pub fn new(fd: Arc<HostFd>, kind: Kind, queue: &Queue, name: Address, peer: Address) -> Op<HostSocket> {
        let events = Events::IN | Events::OUT | Events::PRI | Events::RDHUP;
        let watch = reactor::watch(&fd, events, Arc::new(Readiness(queue.clone())))?;
        Ok(HostSocket { fd, kind, queue: queue.clone(), _watch: watch, name, peer })
    }

    pub fn is_connected(&self) -> bool {
        self.peer != Address::Unnamed
    }

    pub fn listen(&self, backlog: i32) -> Op<()> {
        Ok(socket::start_listening(&self.fd, backlog)?)
    }

    /// The next connection from the host.
    pub fn accept(&self, io: &mut Io<'_>) -> Op<Arc<HostFd>> {
        // The gofer may have made this socket one that waits, and taken the connection itself: the worker is handed over.
        let accept = || match self.ready(Events::IN).contains(Events::IN) {
            true => some(block_in_place(|| socket::accept(&self.fd))),
            false => Ok(None),
        };
        let fd = io.wait_for(&self.queue, Events::IN, accept)?;
        Ok(HostFd::new(fd))
    }

    pub fn shutdown(&self, how: u32) -> Op<()> {
        socket::end(&self.fd, how)?;
        self.queue.wake(Events::all());
        Ok(())
    }

    pub fn ready(&self, want: Events) -> Events {
        Events::from_bits_truncate(::host::stream::poll_now(&self.fd, want.bits() as u16).into())
    }

    pub fn unread(&self) -> Op<u32> {
        Ok(::host::rustix::io::ioctl_fionread(&self.fd).map_err(::host::errno)? as u32)
    }

    pub fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &Outgoing) -> Op<usize> {
        if message.flags & MSG_OOB != 0 || message.control.iter().any(|c| matches!(c, Control::Rights(_))) {
            return fail(Errno::EOPNOTSUPP);
        }
        if self.kind != Kind::Stream {
            return self.send_one(io, from);
        }
        let mut wrote = 0;
        while from.left() > 0 {
            let mut data = vec![0; from.left().min(CHUNK)];
            let taken = match from.take(&mut data) {
                Ok(taken) if taken > 0 => taken,
                Ok(_) => break,
                Err(_) if wrote > 0 => break,
                Err(stop) => return Err(stop),
            };
            let data = data.get(..taken).unwrap_or_default();
            match io.wait_for(&self.queue, Events::OUT, || some(socket::send_some(&self.fd, data))) {
                Ok(sent) => {
                    from.untake(taken - sent.min(taken));
                    wrote += sent;
                }
                Err(stop) => {
                    from.untake(taken);
                    match stop {
                        Stop::Block => {
                            *io.done += wrote as u64;
                            return Err(Stop::Block);
                        }
                        _ if wrote > 0 => break,
                        stop => return Err(stop),
                    }
                }
            }
        }
        Ok(wrote)
    }

    fn send_one(&self, io: &mut Io<'_>, from: &mut dyn Source) -> Op<usize> {
        let size = from.left();
        if size > LARGEST {
            return fail(Errno::EMSGSIZE);
        }
        let mut data = vec![0; size];
        if size > 0 && from.take(&mut data)? < size {
            return fail(Errno::EFAULT);
        }
        let sent = io.wait_for(&self.queue, Events::OUT, || some(socket::send_some(&self.fd, &data)));
        if sent.is_err() {
            from.untake(size);
        }
        sent
    }

    pub fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        if flags & MSG_OOB != 0 {
            return fail(Errno::EOPNOTSUPP);
        }
        let stream = self.kind == Kind::Stream;
        let most = if stream { CHUNK } else { LARGEST };
        let mut incoming = Incoming::default();
        loop {
            let mut buffer = vec![0; to.left().min(most)];
            if stream && buffer.is_empty() {
                return Ok(incoming);
            }
            let peek = flags & MSG_PEEK != 0;
            let got = io.wait_for(&self.queue, Events::IN, || {
                match socket::receive_some(&self.fd, &mut buffer, peek) {
                    // A reset is told once, by the error that comes with it.
                    Err(Errno::EAGAIN) => Ok(None),
                    Err(errno) => fail(errno),
                    Ok(got) => Ok(Some(got)),
                }
            });
            let (count, whole) = match got {
                Ok(got) => got,
                Err(Stop::Block) => {
                    *io.done += incoming.count as u64;
                    return Err(Stop::Block);
                }
                Err(_) if incoming.count > 0 => return Ok(incoming),
                Err(stop) => return Err(stop),
            };
            let put = if count > 0 { to.put(buffer.get(..count).unwrap_or_default())? } else { 0 };
            incoming.count += put;
            incoming.whole += if stream { put } else { whole };
            if !stream && whole > count {
                incoming.flags |= MSG_TRUNC;
            }
            if !stream || peek || flags & MSG_WAITALL == 0 || count == 0 || to.left() == 0 {
                return Ok(incoming);
            }
        }
    }
}

/// What an operation that does not wait came to; None: it has to.
fn some<T>(result: Result<T, Errno>) -> Op<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => fail(errno),
    }
}
