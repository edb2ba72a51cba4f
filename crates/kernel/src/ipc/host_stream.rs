//! Pipes, sockets and devices of the host, by descriptor: streams whose readiness the reactor watches. pipe(7), fifo(7).
//!
//! Donated standard streams (crate `devices`) and FIFOs of the host that a gofer opened. A description that others share is never changed, O_NONBLOCK
//! included. Locks: `Leaf` around a byte that was read to find out whether anybody writes.

use crate::buffer::with_buffer;
use crate::io::{Io, Sink, Source, UserMemory};
use crate::locks::Leaf;
use crate::op::{Op, Stop, fail};
use crate::reactor::{self, Watch};
use crate::vfs::{Backing, FileOps, FileType, Inode, Mappable, Position, Rights};
use crate::wait::{Events, Queue, Wake};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::tty::{TCGETS, TCSETS, TCSETSF, TCSETSW, TIOCGWINSZ};
use host::HostFd;
use lock::Mutex;
use platform::block_in_place;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// How often a FIFO is looked at whose other end is not there: nobody tells when it comes.
const TICK: u64 = 10_000_000;

/// An open that waits for the other side.
struct Opening {
    inode: Arc<Inode>,
    object: Arc<Object>,
}

/// open(2) of a FIFO whose other ends are the host's; None where it is this kernel's own.
pub(super) fn open_fifo(io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
    let waits = !flags.contains(OpenFlags::NONBLOCK) && flags.bits() & 3 != 2;
    let kept = io.kept::<Opening>().filter(|opening| Arc::ptr_eq(&opening.inode, inode));
    let object = match kept {
        Some(opening) => opening.object.clone(),
        None => match inode.ops.open_fifo(io, flags) {
            Ok(Some(fd)) => Object::new(fd)?,
            Ok(None) => return Ok(None),
            // A writer waits for a reader.
            Err(Stop::Errno(Errno::ENXIO)) if waits && flags.writable() => return Err(reactor::again(io, TICK)),
            Err(stop) => return Err(stop),
        },
    };
    if waits && flags.readable() && !object.has_writer() {
        io.keep(Box::new(Opening { inode: inode.clone(), object }));
        return Err(reactor::again(io, TICK));
    }
    Ok(Some(Arc::new(Stream(object))))
}

/// What all descriptions of one host file have in common.
pub struct Object {
    pub fd: Arc<HostFd>,
    pub kind: FileType,
    pub ino: u64,
    rdev: (u32, u32),
    /// F_GETFL.
    pub flags: u32,
    queue: Queue,
    /// None where the host's epoll refuses the object: it is always ready.
    watch: Option<Watch>,
    /// What `has_writer` read.
    early: Mutex<Option<u8>, Leaf>,
}

/// The reactor's target: passes readiness on to the queue.
struct Readiness(Queue);

impl Wake for Readiness {
    fn wake(self: Arc<Self>, events: Events) {
        self.0.wake(events);
    }
}

impl Object {
    pub fn new(fd: Arc<HostFd>) -> Op<Arc<Object>> {
        let stat = host::file::stat(&fd)?;
        let kind = FileType::from_mode(stat.stx_mode.into()).ok_or(Errno::EINVAL)?;
        if matches!(kind, FileType::Dir | FileType::Symlink) {
            return fail(Errno::EINVAL);
        }
        let flags = host::stream::flags(&fd)?;
        let queue = Queue::new();
        let events = Events::IN | Events::OUT | Events::PRI | Events::RDHUP;
        let watch = match kind {
            FileType::Regular | FileType::Block => None,
            _ => reactor::watch(&fd, events, Arc::new(Readiness(queue.clone()))).ok(),
        };
        let rdev = (stat.stx_rdev_major, stat.stx_rdev_minor);
        Ok(Arc::new(Object { fd, kind, ino: stat.stx_ino, rdev, flags, queue, watch, early: Mutex::new(None) }))
    }

    pub fn may(&self, flags: OpenFlags) -> bool {
        let have = OpenFlags::from_bits_retain(self.flags);
        (!flags.readable() || have.readable()) && (!flags.writable() || have.writable())
    }

    pub fn has_offset(&self) -> bool {
        match self.kind {
            FileType::Regular => true,
            FileType::Char => self.watch.is_none() && host::stream::seek(&self.fd, 0, abi::fs::SEEK_CUR).is_ok(),
            _ => false,
        }
    }

    pub fn label(&self) -> String {
        match (self.kind, self.rdev) {
            (FileType::Fifo, _) => format!("pipe:[{}]", self.ino),
            (FileType::Socket, _) => format!("socket:[{}]", self.ino),
            (FileType::Char, (1, 3)) => "/dev/null".into(),
            (FileType::Char, (1, 5)) => "/dev/zero".into(),
            (FileType::Char, (1, 7)) => "/dev/full".into(),
            _ => format!("host:[{}]", self.ino),
        }
    }

    fn ready(&self, want: Events) -> Events {
        if self.watch.is_none() {
            return want & (Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM);
        }
        let early = if self.early.lock().is_some() { want & (Events::IN | Events::RDNORM) } else { Events::empty() };
        early | Events::from_bits_truncate(host::stream::poll_now(&self.fd, want.bits() as u16).into())
    }

    /// Whether somebody has this FIFO open for writing, or had.
    fn has_writer(&self) -> bool {
        if self.early.lock().is_some() || self.ready(Events::IN).intersects(Events::IN | Events::HUP) {
            return true;
        }
        let mut byte = [0];
        let read = match host::stream::read_nowait(&self.fd, &mut byte) {
            Err(Errno::EOPNOTSUPP) => block_in_place(|| host::stream::read(&self.fd, &mut byte)),
            other => other,
        };
        match read {
            Ok(0) => false,
            Ok(_) => {
                *self.early.lock() = Some(byte[0]);
                true
            }
            Err(_) => true,
        }
    }

    /// Reads without changing how the host's description waits. EAGAIN: nothing is there.
    fn read_some(&self, into: &mut [u8]) -> Result<usize, Errno> {
        if let Some(first) = into.first_mut()
            && let Some(byte) = self.early.lock().take()
        {
            *first = byte;
            return Ok(1);
        }
        match host::stream::read_nowait(&self.fd, into) {
            Err(Errno::EOPNOTSUPP | Errno::ESPIPE | Errno::EINVAL) => {
                let there = Events::IN | Events::HUP | Events::ERR;
                if self.watch.is_some() && !self.ready(Events::IN).intersects(there) {
                    return Err(Errno::EAGAIN);
                }
                // Another reader on the host's side may take the data first: the worker is handed over.
                block_in_place(|| host::stream::read(&self.fd, into))
            }
            other => other,
        }
    }

    fn write_some(&self, from: &[u8]) -> Result<usize, Errno> {
        match host::stream::write_nowait(&self.fd, from) {
            Err(Errno::EOPNOTSUPP | Errno::ESPIPE | Errno::EINVAL) => {
                let there = Events::OUT | Events::HUP | Events::ERR;
                if self.watch.is_some() && !self.ready(Events::OUT).intersects(there) {
                    return Err(Errno::EAGAIN);
                }
                block_in_place(|| host::stream::write(&self.fd, from))
            }
            other => other,
        }
    }

    fn terminal_ioctl(&self, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        match cmd {
            TCGETS => memory.write(arg, host::stream::termios(&self.fd)?.as_bytes()).map(|()| 0),
            TIOCGWINSZ => memory.write(arg, host::stream::winsize(&self.fd)?.as_bytes()).map(|()| 0),
            // The terminal is the host's: a guest may look at it, not change it.
            TCSETS | TCSETSW | TCSETSF if host::stream::termios(&self.fd).is_ok() => fail(Errno::EPERM),
            _ => fail(Errno::ENOTTY),
        }
    }
}

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// A pipe, a socket, a device.
pub struct Stream(pub Arc<Object>);

impl FileOps for Stream {
    fn position(&self) -> Position {
        Position::Stream
    }
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if to.left() == 0 {
            return Ok(0);
        }
        let object = self.0.clone();
        with_buffer(to.left().min(CHUNK), |buffer| {
            let count = io.wait_for(&object.queue, Events::IN, || match object.read_some(buffer) {
                Ok(count) => Ok(Some(count)),
                Err(Errno::EAGAIN) => Ok(None),
                Err(errno) => Err(errno.into()),
            })?;
            match buffer.get(..count) {
                Some(data) if !data.is_empty() => to.put(data),
                _ => Ok(0),
            }
        })
    }
    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        with_buffer(from.left().min(CHUNK), |buffer| self.write_by(buffer, io, from))
    }
    fn ready(&self, want: Events) -> Events {
        self.0.ready(want)
    }
    fn queue(&self) -> Option<&Queue> {
        self.0.watch.is_some().then_some(&self.0.queue)
    }
    fn ioctl(&self, _io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if cmd == abi::ioctl::FIONREAD {
            let count = host::rustix::io::ioctl_fionread(&self.0.fd).map_err(host::errno)?;
            return memory.write(arg, &(count as i32).to_le_bytes()).map(|()| 0);
        }
        self.0.terminal_ioctl(memory, cmd, arg)
    }
    fn label(&self) -> Option<String> {
        Some(self.0.label())
    }
    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Stream {
    fn write_by(&self, buffer: &mut [u8], io: &mut Io<'_>, from: &mut dyn Source) -> Op<usize> {
        let mut done = 0;
        while from.left() > 0 {
            let got = match from.take(buffer) {
                Ok(got) => got,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            let data = buffer.get(..got).unwrap_or_default();
            match self.0.write_some(data) {
                Ok(count) => {
                    from.untake(got - count.min(got));
                    done += count;
                }
                Err(Errno::EAGAIN) => {
                    from.untake(got);
                    if io.nonblock && done > 0 {
                        break;
                    }
                    *io.done += done as u64;
                    done = 0;
                    let object = self.0.clone();
                    let there = Events::OUT | Events::ERR | Events::HUP;
                    io.wait_for(&self.0.queue, Events::OUT, || {
                        Ok(object.ready(Events::OUT).intersects(there).then_some(()))
                    })?;
                }
                Err(errno) => {
                    from.untake(got);
                    if done > 0 {
                        break;
                    }
                    return if errno == Errno::EPIPE { Err(super::pipe::broken(io)) } else { fail(errno) };
                }
            }
            if got == 0 {
                break;
            }
        }
        Ok(done)
    }
}

impl Mappable for Object {
    fn backing(&self, _io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        let have = OpenFlags::from_bits_retain(self.flags);
        if !have.readable() || rights.shared && rights.write && !have.writable() {
            return fail(Errno::EACCES);
        }
        Ok(Backing::Host { fd: self.fd.clone(), offset: range.start, local: false })
    }
}
