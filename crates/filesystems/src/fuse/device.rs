//! /dev/fuse: where a server reads requests and writes answers. fuse(4).
//!
//! Each open file is a device of its own until it is mounted with, or becomes another one of a connection by FUSE_DEV_IOC_CLONE. Neighbours: `conn`,
//! `notify`. No locks.

use super::conn::{Conn, Work};
use super::notify;
use super::request::Request;
use super::wire::{In, Out};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::fuse::*;
use kernel::cred::UserNs;
use kernel::io::UserMemory;
use kernel::op::{Op, fail};
use kernel::task::Task;
use kernel::vfs::{FileOps, FileType, Inode, Position, register_device};
use kernel::wait::{Events, Queue};
use kernel::{Io, Sink, Source};
use std::any::Any;
use std::sync::{Arc, OnceLock};

pub(super) fn register() {
    register_device(FileType::Char, 10, 229..230, "misc", open);
}

fn open(io: &mut Io<'_>, _inode: &Arc<Inode>, _rdev: u64, _flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    Ok(Arc::new(Device {
        id: kernel::unique_id(),
        user_ns: io.cred.user_ns.clone(),
        conn: OnceLock::new(),
        idle: Queue::new(),
    }))
}

/// See the module.
pub(super) struct Device {
    id: u64,
    user_ns: Arc<UserNs>,
    conn: OnceLock<Arc<Conn>>,
    /// Of a device without a connection: nobody wakes it.
    idle: Queue,
}

impl Device {
    pub fn opened_in(&self, user_ns: &Arc<UserNs>) -> bool {
        Arc::ptr_eq(&self.user_ns, user_ns)
    }

    /// EINVAL for one that has a connection.
    pub fn connect(&self, to: &Arc<Conn>) -> Op<()> {
        self.conn.set(to.clone()).map_err(|_| Errno::EINVAL)?;
        to.add_device();
        Ok(())
    }

    pub fn connected(&self) -> Option<&Arc<Conn>> {
        self.conn.get()
    }

    /// EPERM before it is mounted with.
    fn conn(&self) -> Op<&Arc<Conn>> {
        self.conn.get().ok_or(Errno::EPERM.into())
    }

    /// Takes an answer or a notification apart.
    fn answer(&self, io: &mut Io<'_>, mut message: Vec<u8>) -> Op<usize> {
        let conn = self.conn()?;
        let len = message.len();
        let mut header = In(&message);
        if len < OUT_HEADER {
            return fail(Errno::EINVAL);
        }
        let (told, error, unique) = (header.u32()?, header.u32()? as i32, header.u64()?);
        if told as usize != len {
            return fail(Errno::EINVAL);
        }
        if unique == 0 {
            notify::take(io, conn, error, header.0)?;
            return Ok(len);
        }
        if error > 0 || error <= -512 || error != 0 && len != OUT_HEADER {
            return fail(Errno::EINVAL);
        }
        if unique & 1 != 0 {
            return interrupt_answered(conn, unique & !1, error).map(|()| len);
        }
        let request: Arc<Request> = conn.answered(unique).ok_or(Errno::ENOENT)?;
        if error != 0 {
            request.finish(conn, Err(Errno::from_raw(-error)));
            return Ok(len);
        }
        let payload = message.split_off(OUT_HEADER);
        if !request.reply.contains(&payload.len()) {
            request.finish(conn, Err(Errno::EIO));
            return fail(Errno::EINVAL);
        }
        request.finish(conn, Ok(payload));
        Ok(len)
    }

    /// The message for a piece of work. None for requests, which are messages themselves.
    fn message(conn: &Conn, work: &Work) -> Option<Vec<u8>> {
        let header = |op: u32, unique: u64, node: u64, body: &Out| {
            let len = (IN_HEADER + body.0.len()) as u32;
            let header = Out::default().u32(len).u32(op).u64(unique).u64(node);
            header.u64(0).u64(0).bytes(&body.0).0
        };
        match work {
            Work::Request(_) => None,
            Work::Message(message) => Some(message.clone()),
            Work::Interrupt(request) => {
                Some(header(FUSE_INTERRUPT, request.unique | 1, 0, &Out::default().u64(request.unique)))
            }
            Work::Forget(nodes) => match nodes.as_slice() {
                [(node, count)] => Some(header(FUSE_FORGET, 0, *node, &Out::default().u64(*count))),
                _ => {
                    let body = Out::default().u32(nodes.len() as u32).u32(0);
                    let body = nodes.iter().fold(body, |body, (node, count)| body.u64(*node).u64(*count));
                    debug_assert!(conn.settings.get().is_some());
                    Some(header(FUSE_BATCH_FORGET, 0, 0, &body))
                }
            },
        }
    }
}

impl FileOps for Device {
    fn position(&self) -> Position {
        Position::Stream
    }

    /// One request, whole: EINVAL where there is less room than the largest would take.
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let conn = self.conn()?;
        let room = to.left();
        let largest = conn.settings.get().map_or(0, |s| IN_HEADER + 40 + s.max_write as usize);
        if room < largest.max(FUSE_MIN_READ_BUFFER) {
            return fail(Errno::EINVAL);
        }
        let work = io.wait_for(&conn.readers, Events::IN, || conn.take_work(self.id, room))?;
        match (Self::message(conn, &work), work) {
            (None, Work::Request(request)) => match to.put(&request.bytes) {
                Ok(count) if count == request.bytes.len() => Ok(count),
                // It faulted on the way: nobody has the request.
                other => {
                    if let Some(request) = conn.answered(request.unique) {
                        request.finish(conn, Err(Errno::EIO));
                    }
                    other.and_then(|_| fail(Errno::EFAULT))
                }
            },
            (Some(message), _) => to.put(&message),
            (None, _) => fail(Errno::EIO),
        }
    }

    /// One answer or notification, whole.
    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        self.conn()?;
        let len = from.left();
        if len < OUT_HEADER {
            return fail(Errno::EINVAL);
        }
        // More than any message has: what is beyond would not be looked at.
        if len > OUT_HEADER + super::init::DATA_MAX as usize + 4096 {
            return fail(Errno::EINVAL);
        }
        let mut message = vec![0; len];
        let mut got = 0;
        while let Some(rest) = message.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match from.take(rest)? {
                0 => return fail(Errno::EFAULT),
                count => got += count,
            }
        }
        self.answer(io, message)
    }

    /// vmsplice(2) copies at once, while libfuse puts the length of a short answer into its header after that.
    fn take_message(&self, io: &mut Io<'_>, mut message: Vec<u8>) -> Op<usize> {
        let len = message.len() as u32;
        if let Some(told) = message.first_chunk_mut::<4>().filter(|told| u32::from_le_bytes(**told) > len) {
            *told = len.to_le_bytes();
        }
        self.answer(io, message)
    }

    fn ready(&self, want: Events) -> Events {
        let Ok(conn) = self.conn() else { return Events::ERR };
        let is = match conn.has_work() {
            Err(_) => Events::ERR | Events::OUT | Events::WRNORM,
            Ok(true) => Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM,
            Ok(false) => Events::OUT | Events::WRNORM,
        };
        is & (want | Events::ERR)
    }

    fn queue(&self) -> Option<&Queue> {
        Some(self.conn.get().map_or(&self.idle, |conn| &conn.readers))
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        match cmd {
            FUSE_DEV_IOC_CLONE => {
                let mut fd = [0; 4];
                memory.read(arg, &mut fd)?;
                let task = Task::of(io).ok_or(Errno::EINVAL)?;
                let other = task.files().get(i32::from_le_bytes(fd)).map_err(|_| Errno::EINVAL)?;
                let other = other.ops_as::<Device>().ok_or(Errno::EINVAL)?;
                if !other.opened_in(&self.user_ns) {
                    return fail(Errno::EINVAL);
                }
                let conn = other.conn().map_err(|_| Errno::EINVAL)?;
                self.connect(conn)?;
                Ok(0)
            }
            FUSE_DEV_IOC_BACKING_OPEN | FUSE_DEV_IOC_BACKING_CLOSE => fail(Errno::EOPNOTSUPP),
            _ => fail(Errno::ENOTTY),
        }
    }

    fn is_messages(&self) -> bool {
        true
    }

    fn release(&self) {
        if let Some(conn) = self.conn.get() {
            conn.remove_device(self.id);
        }
    }

    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What the server says to an interrupt: ENOSYS: never again; EAGAIN: once more.
fn interrupt_answered(conn: &Conn, unique: u64, error: i32) -> Op<()> {
    let request = conn.in_service(unique).ok_or(Errno::ENOENT)?;
    match Errno::from_raw(-error) {
        Errno::ENOSYS if error != 0 => conn.set_uninterruptible(),
        Errno::EAGAIN if error != 0 => conn.tell_interrupt(&request),
        _ => {}
    }
    Ok(())
}
