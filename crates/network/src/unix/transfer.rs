//! Sending and receiving on unix sockets. send(2), recv(2), unix(7).
//!
//! Data is taken from the guest before it is committed, and taken out of the inbox before it is copied to the guest: no lock is held
//! while guest memory is touched.

use super::address::Address;
use super::endpoint::{Endpoint, Kind, Pass, READ_SHUT, WRITE_SHUT};
use super::flight;
use super::inbox::Message;
use abi::Errno;
use abi::net::{MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL};
use kernel::io::{Io, Sink, Source};
use kernel::ipc::pipe::{CHUNK, Segment};
use kernel::socket::{Control, Incoming, Outgoing, Sender};
use kernel::task::Task;
use kernel::vfs::File;
use kernel::wait::Events;
use kernel::{Op, Stop, fail};
use std::sync::Arc;

/// The files and the sender of a message.
struct Attached {
    rights: Vec<Arc<File>>,
    sender: Sender,
    from: Vec<u8>,
}

impl Endpoint {
    pub fn send(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &Outgoing) -> Op<usize> {
        if message.flags & MSG_OOB != 0 {
            return fail(Errno::EOPNOTSUPP);
        }
        match self.kind {
            Kind::Stream => self.send_stream(io, from, message),
            Kind::Datagram | Kind::Seqpacket => self.send_one(io, from, message),
        }
    }

    fn attached(&self, io: &Io<'_>, message: &Outgoing) -> Op<Attached> {
        let mut rights = Vec::new();
        let pid = Task::of(io).map(|t| t.group.pid.clone());
        let mut sender = Sender { pid, uid: io.cred.uid, gid: io.cred.gid };
        for control in &message.control {
            match control {
                Control::Rights(files) => rights.extend(files.iter().cloned()),
                Control::Credentials(named) => sender = named.clone(),
                // Of other protocols.
                Control::Other { .. } | Control::Pidfd(_) => {}
            }
        }
        if !rights.is_empty() {
            flight::admit(io)?;
        }
        let name = self.state.lock().name.clone();
        let from = if name == Address::Unnamed { Vec::new() } else { name.bytes() };
        Ok(Attached { rights, sender, from })
    }

    fn post(&self, to: &Endpoint, data: Vec<u8>, attached: &Attached, first: bool) {
        let rights = if first { attached.rights.clone() } else { Vec::new() };
        if !rights.is_empty() {
            flight::register(to);
        }
        let message = Message {
            data: Segment::new(data, false),
            rights,
            sender: attached.sender.clone(),
            from: attached.from.clone(),
        };
        let mut inbox = to.inbox.lock();
        if inbox.closed {
            drop(inbox);
            drop(message);
            return;
        }
        inbox.push(message);
        drop(inbox);
        to.queue.wake(Events::IN | Events::RDNORM);
    }

    fn send_stream(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &Outgoing) -> Op<usize> {
        let (peer, buffer) = {
            let state = self.state.lock();
            if message.to.is_some() {
                return fail(if state.peer.is_some() { Errno::EISCONN } else { Errno::EOPNOTSUPP });
            }
            (state.peer.clone().ok_or(Errno::ENOTCONN)?, state.buffer)
        };
        if from.left() == 0 && self.state.lock().shut & WRITE_SHUT != 0 {
            return fail(Errno::EPIPE);
        }
        let attached = self.attached(io, message)?;
        let mut wrote = 0;
        while from.left() > 0 {
            let room = io.wait_for(&self.queue, Events::OUT, || {
                if self.state.lock().shut & WRITE_SHUT != 0 {
                    return fail(Errno::EPIPE);
                }
                self.room_at(&peer, buffer, 1)
            });
            let room = match room {
                Ok(room) => room,
                Err(Stop::Block) => {
                    *io.done += wrote as u64;
                    return Err(Stop::Block);
                }
                Err(_) if wrote > 0 => break,
                Err(stop) => return Err(stop),
            };
            let mut data = vec![0; from.left().min(room).min(CHUNK)];
            let taken = match from.take(&mut data) {
                Ok(taken) if taken > 0 => taken,
                Ok(_) => break,
                Err(_) if wrote > 0 => break,
                Err(stop) => return Err(stop),
            };
            data.truncate(taken);
            // What was sent by an earlier run took the files along.
            let first = wrote == 0 && *io.done == 0;
            self.post(&peer, data, &attached, first);
            wrote += taken;
        }
        Ok(wrote)
    }

    fn send_one(&self, io: &mut Io<'_>, from: &mut dyn Source, message: &Outgoing) -> Op<usize> {
        let (peer, buffer) = {
            let state = self.state.lock();
            (state.peer.clone(), state.buffer)
        };
        let target = match &message.to {
            Some(_) if self.kind == Kind::Seqpacket => peer.ok_or(Errno::ENOTCONN)?,
            Some(to) => self.find_datagram(io, &Address::parse(to)?)?,
            None => peer.ok_or(Errno::ENOTCONN)?,
        };
        let size = from.left();
        if size > buffer.saturating_sub(32) {
            return fail(Errno::EMSGSIZE);
        }
        let attached = self.attached(io, message)?;
        let mut data = vec![0; size];
        if size > 0 && from.take(&mut data)? < size {
            return fail(Errno::EFAULT);
        }
        let filter = target.state.lock().filter.clone();
        if let Some(filter) = filter {
            // What the receiver does not want is lost, and was sent all the same.
            let Some(kept) = filter.keeps(&data) else { return Ok(size) };
            data.truncate(kept);
        }
        let room = io.wait_for(&self.queue, Events::OUT, || {
            {
                let mut state = self.state.lock();
                if let Some(error) = state.error.take() {
                    return fail(error);
                }
                if state.shut & WRITE_SHUT != 0 {
                    return fail(Errno::EPIPE);
                }
            }
            if self.kind == Kind::Datagram && target.state.lock().shut & READ_SHUT != 0 {
                let closed = target.inbox.lock().closed;
                return fail(if closed { Errno::ECONNREFUSED } else { Errno::EPIPE });
            }
            self.room_at(&target, buffer, size)
        });
        match room {
            Err(Stop::Errno(Errno::ECONNREFUSED)) if message.to.is_none() => {
                // The peer is gone: the next send finds no connection.
                let old = self.state.lock().peer.take();
                drop(old);
                return fail(Errno::ECONNREFUSED);
            }
            room => room?,
        };
        self.post(&target, data, &attached, true);
        Ok(size)
    }

    pub fn receive(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        if flags & MSG_OOB != 0 {
            return fail(Errno::EOPNOTSUPP);
        }
        match self.kind {
            Kind::Stream => self.receive_stream(io, to, flags),
            Kind::Datagram | Kind::Seqpacket => self.receive_one(io, to, flags),
        }
    }

    /// Why nothing can come: an error, or the end.
    fn ended(&self) -> Op<bool> {
        let mut state = self.state.lock();
        if let Some(error) = state.error.take() {
            return fail(error);
        }
        Ok(state.shut & READ_SHUT != 0)
    }

    fn receive_stream(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        let pass = {
            let state = self.state.lock();
            if state.peer.is_none() {
                return fail(Errno::EINVAL);
            }
            state.pass
        };
        let by_sender = pass.by_sender();
        let peek = flags & MSG_PEEK != 0;
        let mut all = Incoming::default();
        loop {
            // Who asks for nothing waits for something all the same.
            let max = to.left();
            if max == 0 && (all.count > 0 || *io.done > 0) {
                return Ok(all);
            }
            let parts = io.wait_for(&self.queue, Events::IN, || {
                let mut inbox = self.inbox.lock();
                if inbox.is_empty() {
                    drop(inbox);
                    return Ok(if self.ended()? { Some(Vec::new()) } else { None });
                }
                Ok(Some(if peek { inbox.peek(max, by_sender) } else { inbox.take(max, by_sender) }))
            });
            let parts = match parts {
                Ok(parts) => parts,
                Err(Stop::Block) => {
                    *io.done += all.count as u64;
                    return Err(Stop::Block);
                }
                Err(_) if all.count > 0 => return Ok(all),
                Err(stop) => return Err(stop),
            };
            let ended = parts.is_empty();
            let short = self.deliver(to, parts, peek, pass, &mut all)?;
            if ended || short || peek || flags & MSG_WAITALL == 0 || has_rights(&all) {
                return Ok(all);
            }
        }
    }

    /// Copies a stream's parts out. True where the guest's memory took less.
    fn deliver(
        &self,
        to: &mut dyn Sink,
        mut parts: Vec<Message>,
        peek: bool,
        pass: Pass,
        all: &mut Incoming,
    ) -> Op<bool> {
        let mut failed = None;
        let mut at = 0;
        while let Some(part) = parts.get_mut(at) {
            let put = to.put(part.data.bytes());
            let count = *put.as_ref().unwrap_or(&0);
            part.data.advance(count);
            all.count += count;
            if count > 0 {
                if all.from.is_empty() {
                    all.from = part.from.clone();
                }
                let first = all.count == count;
                if pass.cred && first {
                    all.control.push(Control::Credentials(part.sender.clone()));
                }
                let rights = std::mem::take(&mut part.rights);
                if !rights.is_empty() {
                    all.control.push(Control::Rights(rights));
                }
                if let Some(pid) = part.sender.pid.clone().filter(|_| pass.pidfd && first) {
                    all.control.push(Control::Pidfd(pid));
                }
            }
            if !part.data.is_empty() {
                failed = Some(put);
                break;
            }
            at += 1;
        }
        all.whole = all.count;
        if !peek {
            let rest: Vec<Message> = parts.into_iter().filter(|p| !p.data.is_empty()).collect();
            if !rest.is_empty() {
                self.inbox.lock().give_back(rest);
            }
            self.wake_senders();
        }
        match failed {
            Some(put) if all.count == 0 => put.and_then(|_| fail(Errno::EFAULT)),
            failed => Ok(failed.is_some()),
        }
    }

    fn receive_one(&self, io: &mut Io<'_>, to: &mut dyn Sink, flags: u32) -> Op<Incoming> {
        let (pass, stamps) = {
            let state = self.state.lock();
            if self.kind == Kind::Seqpacket && state.peer.is_none() {
                return fail(Errno::ENOTCONN);
            }
            (state.pass, state.stamps)
        };
        let peek = flags & MSG_PEEK != 0;
        let message = io.wait_for(&self.queue, Events::IN, || {
            let mut inbox = self.inbox.lock();
            let message = if peek { inbox.peek_one() } else { inbox.take_one() };
            drop(inbox);
            match message {
                Some(message) => Ok(Some(Some(message))),
                None => Ok(if self.ended()? { Some(None) } else { None }),
            }
        })?;
        let Some(message) = message else { return Ok(Incoming::default()) };
        let whole = message.data.len();
        let want = whole.min(to.left());
        let part = message.data.bytes().get(..want).unwrap_or_default();
        let count = match to.put(part) {
            Ok(count) if count == want => count,
            other => {
                if !peek {
                    self.inbox.lock().give_back(vec![message]);
                }
                return other.and_then(|_| fail(Errno::EFAULT));
            }
        };
        let mut incoming = Incoming { count, whole, from: message.from, ..Incoming::default() };
        if whole > count {
            incoming.flags |= MSG_TRUNC;
        }
        let pid = message.sender.pid.clone().filter(|_| pass.pidfd);
        incoming.control.extend(stamps.now());
        if pass.cred {
            incoming.control.push(Control::Credentials(message.sender));
        }
        if !message.rights.is_empty() {
            incoming.control.push(Control::Rights(message.rights));
        }
        incoming.control.extend(pid.map(Control::Pidfd));
        if !peek {
            self.wake_senders();
        }
        Ok(incoming)
    }
}

fn has_rights(incoming: &Incoming) -> bool {
    incoming.control.iter().any(|c| matches!(c, Control::Rights(_)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::address::Names;
    use super::*;
    use kernel::cred::{Cred, UserNs};
    use kernel::io::{SliceSource, VecSink};

    fn with_io<T>(f: impl FnOnce(&mut Io<'_>) -> T) -> T {
        let mut done = 0;
        f(&mut Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done))
    }

    fn pair(kind: Kind) -> [Arc<Endpoint>; 2] {
        with_io(|io| Endpoint::pair(kind, Arc::new(Names::default()), io))
    }

    fn send(end: &Endpoint, data: &[u8]) -> Op<usize> {
        with_io(|io| end.send(io, &mut SliceSource::new(data), &Outgoing::default()))
    }

    fn receive(end: &Endpoint, max: usize, flags: u32) -> Op<(Vec<u8>, usize)> {
        let mut sink = VecSink { data: Vec::new(), max };
        let incoming = with_io(|io| end.receive(io, &mut sink, flags))?;
        Ok((sink.data, incoming.whole))
    }

    #[test]
    fn a_stream_has_no_borders() {
        let [a, b] = pair(Kind::Stream);
        assert_eq!((send(&a, b"hello "), send(&a, b"world")), (Ok(6), Ok(5)));
        assert_eq!(receive(&b, 8, MSG_PEEK).unwrap().0, b"hello wo");
        assert_eq!(receive(&b, 8, 0).unwrap().0, b"hello wo");
        assert_eq!(receive(&b, 8, 0).unwrap().0, b"rld");
        assert_eq!(receive(&b, 8, 0), fail(Errno::EAGAIN));
        a.close(false);
        assert_eq!(receive(&b, 8, 0).unwrap().0, b"");
        assert_eq!(send(&b, b"x"), fail(Errno::EPIPE));
        assert!(b.ready(Events::IN).contains(Events::IN | Events::HUP));
    }

    #[test]
    fn a_full_stream_takes_a_part_and_goes_on_after_reading() {
        let [a, b] = pair(Kind::Stream);
        let sent = send(&a, &vec![1; 1 << 20]).unwrap();
        assert!((100_000..1 << 20).contains(&sent));
        assert_eq!(a.ready(Events::OUT), Events::empty());
        assert_eq!(send(&a, b"x"), fail(Errno::EAGAIN));
        let mut got = 0;
        while got < sent {
            got += receive(&b, 10_000, 0).unwrap().0.len();
        }
        assert_eq!(a.ready(Events::OUT), Events::OUT);
        assert_eq!(got, sent);
    }

    #[test]
    fn unread_data_resets_the_peer() {
        let [a, b] = pair(Kind::Stream);
        send(&a, b"x").unwrap();
        b.close(false);
        assert_eq!(receive(&a, 1, 0), fail(Errno::ECONNRESET));
        assert_eq!(receive(&a, 1, 0).unwrap().0, b"");
    }

    #[test]
    fn datagrams_keep_their_borders() {
        for kind in [Kind::Datagram, Kind::Seqpacket] {
            let [a, b] = pair(kind);
            for part in [b"one".as_slice(), b"", b"three"] {
                assert_eq!(send(&a, part), Ok(part.len()));
            }
            assert_eq!(receive(&b, 9, 0).unwrap(), (b"one".to_vec(), 3));
            assert_eq!(receive(&b, 9, 0).unwrap(), (b"".to_vec(), 0));
            assert_eq!(receive(&b, 2, MSG_PEEK).unwrap(), (b"th".to_vec(), 5));
            assert_eq!(receive(&b, 2, 0).unwrap(), (b"th".to_vec(), 5));
            assert_eq!(receive(&b, 9, 0), fail(Errno::EAGAIN));
            assert_eq!(send(&a, &vec![0; 300_000]), fail(Errno::EMSGSIZE));
        }
    }

    #[test]
    fn a_datagram_to_a_closed_socket_is_refused() {
        let [a, b] = pair(Kind::Datagram);
        b.close(false);
        assert_eq!(send(&a, b"x"), fail(Errno::ECONNREFUSED));
        assert_eq!(send(&a, b"x"), fail(Errno::ENOTCONN));
    }

    #[test]
    fn shutdown_ends_one_direction() {
        let [a, b] = pair(Kind::Stream);
        send(&a, b"last").unwrap();
        a.shutdown(abi::net::SHUT_WR).unwrap();
        assert_eq!(send(&a, b"x"), fail(Errno::EPIPE));
        assert_eq!(receive(&b, 9, 0).unwrap().0, b"last");
        assert_eq!(receive(&b, 9, 0).unwrap().0, b"");
        assert_eq!(send(&b, b"back"), Ok(4));
        assert_eq!(receive(&a, 9, 0).unwrap().0, b"back");
        assert_eq!(b.ready(Events::IN | Events::RDHUP), Events::IN | Events::RDHUP);
    }
}
