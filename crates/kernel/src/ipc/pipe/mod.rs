//! Pipes. pipe(2), pipe(7); FIFOs by path are in `fifo`, fifo(7).
//!
//! A `Pipe` has the data, a `PipeEnd` is an open file of it. Data is copied from and to guest memory with no lock held: a write
//! takes it first and then commits it, a read takes segments out first and gives back what the guest's memory refused.
//! Locks: `FileState`.

mod fifo;
mod ring;

pub use fifo::open_fifo;
pub use ring::{CHUNK, SLOT, Segment, Segments};

use crate::cred::{Cap, Cred};
use crate::io::{Io, Sink, Source, UserMemory};
use crate::locks::FileState;
use crate::op::{Op, Stop, fail};
use crate::signal::SIGPIPE;
use crate::task::Task;
use crate::vfs::{File, FileOps, Inode, Position, pipe_inode};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::OpenFlags;
use lock::Mutex;
use ring::Ring;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slots of a new pipe.
const DEFAULT_SLOTS: usize = 16;
/// What an unprivileged process may set, /proc/sys/fs/pipe-max-size.
pub const MAX_SIZE: usize = 1 << 20;

const READABLE: Events = Events::IN.union(Events::RDNORM);
const WRITABLE: Events = Events::OUT.union(Events::WRNORM);

/// The data of a pipe or FIFO and who is there.
pub struct Pipe {
    state: Mutex<State, FileState>,
    queue: Queue,
    /// Opens of a FIFO wait here for the other side.
    opened: Queue,
}

struct State {
    ring: Ring,
    readers: u32,
    writers: u32,
    /// How often each side was opened, so that an open that waits sees a partner that came and went.
    reader_opens: u64,
    writer_opens: u64,
}

impl Pipe {
    fn new() -> Arc<Pipe> {
        let ring = Ring::new(DEFAULT_SLOTS);
        let state = State { ring, readers: 0, writers: 0, reader_opens: 0, writer_opens: 0 };
        Arc::new(Pipe { state: Mutex::new(state), queue: Queue::new(), opened: Queue::new() })
    }

    /// The pipe behind an inode of type FIFO.
    fn of(inode: &Inode) -> Op<Arc<Pipe>> {
        inode.fifo(|| Pipe::new()).downcast().map_err(|_| Errno::ENXIO.into())
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Bytes to read, FIONREAD.
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }

    /// F_GETPIPE_SZ, in bytes.
    pub fn size(&self) -> usize {
        self.state.lock().ring.slots().1 * SLOT
    }

    /// F_SETPIPE_SZ: rounds up to a power of two of pages and returns the size. EBUSY where more is in it.
    pub fn set_size(&self, cred: &Cred, size: u64) -> Op<u64> {
        if size > i32::MAX as u64 {
            return fail(Errno::EINVAL);
        }
        let slots = (size as usize).div_ceil(SLOT).max(1).next_power_of_two();
        let mut state = self.state.lock();
        if slots > state.ring.slots().1 && slots * SLOT > MAX_SIZE && !cred.has(Cap::SysResource) {
            return fail(Errno::EPERM);
        }
        // Whatever the privileges: what a pipe holds is the kernel process' memory.
        if slots * SLOT > 64 * MAX_SIZE {
            return fail(Errno::ENOMEM);
        }
        if !state.ring.resize(slots) {
            return fail(Errno::EBUSY);
        }
        drop(state);
        self.queue.wake(WRITABLE);
        Ok((slots * SLOT) as u64)
    }

    /// Waits for data and takes up to `max` bytes for a read; nothing at the end of the stream.
    pub fn pull(&self, io: &mut Io<'_>, max: usize) -> Op<Segments> {
        self.pull_by(io, |ring| ring.pull(max))
    }

    /// The same for splice(2), which cuts packets.
    pub fn pull_all(&self, io: &mut Io<'_>, max: usize) -> Op<Segments> {
        self.pull_by(io, |ring| ring.pull_all(max))
    }

    fn pull_by(&self, io: &mut Io<'_>, pull: impl Fn(&mut Ring) -> Segments) -> Op<Segments> {
        let (parts, writable) = io.wait_for(&self.queue, READABLE, || {
            let mut state = self.state.lock();
            if state.ring.is_empty() {
                return Ok(if state.writers == 0 { Some((Segments::new(), false)) } else { None });
            }
            let full = state.ring.is_full();
            let parts = pull(&mut state.ring);
            Ok(Some((parts, full && !state.ring.is_full())))
        })?;
        if writable {
            self.queue.wake(WRITABLE);
        }
        Ok(parts)
    }

    /// Gives back what `pull` or `pull_all` took.
    pub fn unpull(&self, parts: Segments) {
        self.state.lock().ring.unpull(parts);
        self.queue.wake(READABLE);
    }

    /// The first bytes without taking them, tee(2). Waits for data; nothing at the end of the stream.
    pub fn peek(&self, io: &mut Io<'_>, max: usize) -> Op<Segments> {
        io.wait_for(&self.queue, READABLE, || {
            let state = self.state.lock();
            Ok(if state.ring.is_empty() && state.writers > 0 { None } else { Some(state.ring.peek(max)) })
        })
    }

    /// Waits until some of `count` bytes fit, all of them up to PIPE_BUF; returns how many. EPIPE without SIGPIPE.
    pub fn wait_room(&self, io: &mut Io<'_>, count: usize, packet: bool) -> Op<usize> {
        io.wait_for(&self.queue, WRITABLE, || {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return fail(Errno::EPIPE);
            }
            Ok(Some(state.ring.fits(count, packet)).filter(|room| *room > 0))
        })
    }

    /// How many of `count` bytes fit at this moment.
    pub fn room(&self, count: usize, packet: bool) -> usize {
        self.state.lock().ring.fits(count, packet)
    }

    /// Adds what fits of `data` and returns the number of bytes, all or none up to PIPE_BUF; 0 too where no reader is left.
    pub fn push(&self, mut data: Vec<u8>, packet: bool) -> usize {
        let mut state = self.state.lock();
        let room = if state.readers == 0 { 0 } else { state.ring.fits(data.len(), packet) };
        if room == 0 {
            return 0;
        }
        data.truncate(room);
        state.ring.push(data, packet);
        drop(state);
        self.queue.wake(READABLE);
        room
    }

    /// Adds data that was taken from elsewhere and cannot be given back, even beyond the pipe's size.
    pub fn push_all(&self, data: Vec<u8>, packet: bool) {
        if data.is_empty() {
            return;
        }
        self.state.lock().ring.push(data, packet);
        self.queue.wake(READABLE);
    }

    /// Adds shared segments as far as they fit; returns the bytes. What is left of `parts` was not taken.
    pub fn push_shared(&self, parts: &mut Segments) -> usize {
        let mut sum = 0;
        let mut state = self.state.lock();
        if state.readers > 0 {
            for part in parts.iter_mut() {
                let count = state.ring.push_shared(part.clone());
                part.advance(count);
                sum += count;
                if !part.is_empty() {
                    break;
                }
            }
        }
        drop(state);
        parts.retain(|p| !p.is_empty());
        if sum > 0 {
            self.queue.wake(READABLE);
        }
        sum
    }
}

/// An open end of a pipe; both ends in one for a FIFO that was opened O_RDWR.
pub struct PipeEnd {
    pub pipe: Arc<Pipe>,
    pub reads: bool,
    pub writes: bool,
    /// O_DIRECT: each write is a packet.
    packet: AtomicBool,
    /// A reader that came before any writer is not told of a hang-up until one more opened than this.
    hup_after: Option<u64>,
    label: Option<u64>,
}

impl PipeEnd {
    fn open(pipe: &Arc<Pipe>, reads: bool, writes: bool, flags: OpenFlags, label: Option<u64>) -> Arc<PipeEnd> {
        let mut state = pipe.state.lock();
        let early = reads && !writes && state.writers == 0 && flags.contains(OpenFlags::NONBLOCK);
        let hup_after = early.then_some(state.writer_opens);
        if reads {
            state.readers += 1;
            state.reader_opens += 1;
        }
        if writes {
            state.writers += 1;
            state.writer_opens += 1;
        }
        drop(state);
        pipe.opened.wake(Events::IN | Events::OUT);
        let packet = AtomicBool::new(flags.contains(OpenFlags::DIRECT));
        Arc::new(PipeEnd { pipe: pipe.clone(), reads, writes, packet, hup_after, label })
    }

    pub fn is_packet(&self) -> bool {
        self.packet.load(Ordering::Relaxed)
    }

    /// Reads a packet at most, or whatever there is.
    pub fn read_as(&self, io: &mut Io<'_>, to: &mut dyn Sink, packets: bool) -> Op<usize> {
        let max = to.left();
        if max == 0 {
            return Ok(0);
        }
        let mut parts = if packets { self.pipe.pull(io, max)? } else { self.pipe.pull_all(io, max)? };
        let mut count = 0;
        for at in 0..parts.len() {
            let Some(part) = parts.get_mut(at) else { break };
            let put = to.put(part.bytes());
            let taken = *put.as_ref().unwrap_or(&0);
            part.advance(taken);
            count += taken;
            if part.is_empty() {
                continue;
            }
            self.pipe.unpull(parts);
            return if count > 0 { Ok(count) } else { put.and_then(|_| fail(Errno::EFAULT)) };
        }
        Ok(count)
    }

    /// Writes as packets or not. Returns the bytes of this run; those of runs before are in `io.done`.
    pub fn write_as(&self, io: &mut Io<'_>, from: &mut dyn Source, packet: bool) -> Op<usize> {
        let mut wrote = 0;
        while from.left() > 0 {
            let count = match self.pipe.wait_room(io, from.left(), packet) {
                Ok(count) => count.min(CHUNK),
                Err(Stop::Errno(Errno::EPIPE)) => {
                    let stop = broken(io);
                    return if wrote > 0 { Ok(wrote) } else { Err(stop) };
                }
                Err(Stop::Block) => {
                    *io.done += wrote as u64;
                    return Err(Stop::Block);
                }
                Err(_) if wrote > 0 => break,
                Err(stop) => return Err(stop),
            };
            let mut data = vec![0; count];
            let taken = match from.take(&mut data) {
                Ok(taken) if taken > 0 => taken,
                Ok(_) => break,
                Err(_) if wrote > 0 => break,
                Err(stop) => return Err(stop),
            };
            data.truncate(taken);
            let pushed = self.pipe.push(data, packet);
            from.untake(taken - pushed);
            wrote += pushed;
        }
        Ok(wrote)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        let mut events = Events::empty();
        if self.reads {
            state.readers -= 1;
            if state.readers == 0 {
                events |= WRITABLE | Events::ERR;
            }
        }
        if self.writes {
            state.writers -= 1;
            if state.writers == 0 {
                events |= READABLE | Events::HUP;
            }
        }
        // A FIFO's data and size go with its last user.
        let unused = state.readers == 0 && state.writers == 0;
        let rest = unused.then(|| std::mem::replace(&mut state.ring, Ring::new(DEFAULT_SLOTS)));
        drop(state);
        drop(rest);
        if !events.is_empty() {
            self.pipe.queue.wake(events);
        }
    }
}

/// SIGPIPE to the caller, for writes that nobody can read any more.
pub fn broken(io: &Io<'_>) -> Stop {
    if let Some(task) = Task::of(io) {
        task.signal_self(SIGPIPE);
    }
    Errno::EPIPE.into()
}

impl FileOps for PipeEnd {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        self.read_as(io, to, true)
    }

    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        self.write_as(io, from, self.is_packet())
    }

    fn ready(&self, want: Events) -> Events {
        let state = self.pipe.state.lock();
        let mut is = Events::empty();
        if self.reads {
            if !state.ring.is_empty() {
                is |= READABLE;
            }
            if state.writers == 0 && self.hup_after != Some(state.writer_opens) {
                is |= Events::HUP;
            }
        }
        if self.writes {
            if !state.ring.is_full() {
                is |= WRITABLE;
            }
            if state.readers == 0 {
                is |= Events::ERR;
            }
        }
        is & (want | Events::ERR | Events::HUP)
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.pipe.queue)
    }

    fn wakes(&self, want: Events) -> Events {
        let others =
            if self.reads { Events::empty() } else { READABLE } | if self.writes { Events::empty() } else { WRITABLE };
        want.difference(others)
    }

    fn ioctl(&self, _io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if cmd != abi::ioctl::FIONREAD {
            return fail(Errno::ENOTTY);
        }
        let count = self.pipe.bytes() as u32;
        memory.write(arg, &count.to_le_bytes())?;
        Ok(0)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.packet.store(flags.contains(OpenFlags::DIRECT), Ordering::Relaxed);
    }

    fn label(&self) -> Option<String> {
        self.label.map(|ino| format!("pipe:[{ino}]"))
    }

    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// pipe2(2): the reading and the writing end. `flags`: O_NONBLOCK, O_DIRECT.
pub fn new_pipe(cred: &Cred, flags: OpenFlags) -> Op<[Arc<File>; 2]> {
    let inode = pipe_inode(cred);
    let pipe = Pipe::of(&inode)?;
    let nonblock = flags & OpenFlags::NONBLOCK;
    // Packets are the writer's matter.
    let written = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT) | OpenFlags::WRONLY;
    // Not the flags: NONBLOCK says something about FIFOs only.
    let reader = PipeEnd::open(&pipe, true, false, flags & OpenFlags::DIRECT, Some(inode.ino));
    let writer = PipeEnd::open(&pipe, false, true, flags & OpenFlags::DIRECT, Some(inode.ino));
    Ok([File::pathless(inode.clone(), reader, nonblock), File::pathless(inode, writer, written)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::cred::UserNs;
    use crate::io::{SliceSource, VecSink};

    fn cred() -> Arc<Cred> {
        Arc::new(Cred::root(UserNs::initial()))
    }

    fn write(file: &File, data: &[u8]) -> Op<usize> {
        let mut done = 0;
        file.write(&mut Io::kernel(cred(), &mut done), None, &mut SliceSource::new(data))
    }

    fn read(file: &File, max: usize) -> Op<Vec<u8>> {
        let mut done = 0;
        let mut sink = VecSink { data: Vec::new(), max };
        file.read(&mut Io::kernel(cred(), &mut done), None, &mut sink)?;
        Ok(sink.data)
    }

    #[test]
    fn data_goes_through_and_ends() {
        let [r, w] = new_pipe(&cred(), OpenFlags::empty()).unwrap();
        assert_eq!(read(&r, 5), fail(Errno::EAGAIN));
        assert_eq!(write(&w, b"hello world"), Ok(11));
        assert_eq!(r.ready(Events::IN), Events::IN);
        assert_eq!(read(&r, 5).unwrap(), b"hello");
        assert_eq!(read(&w, 5), fail(Errno::EBADF));
        drop(w);
        assert_eq!(r.ready(Events::IN), Events::IN | Events::HUP);
        assert_eq!(read(&r, 50).unwrap(), b" world");
        assert_eq!(read(&r, 50).unwrap(), b"");
    }

    #[test]
    fn a_full_pipe_takes_a_part_of_a_large_write_only() {
        let [r, w] = new_pipe(&cred(), OpenFlags::empty()).unwrap();
        assert_eq!(write(&w, &vec![1; 100_000]), Ok(65536));
        assert_eq!(w.ready(Events::OUT), Events::empty());
        assert_eq!(read(&r, 4095).unwrap().len(), 4095);
        assert_eq!(write(&w, &[2; 4096]), fail(Errno::EAGAIN));
        assert_eq!(read(&r, 1).unwrap().len(), 1);
        assert_eq!(write(&w, &[2; 4096]), Ok(4096));
        drop(r);
        assert_eq!(w.ready(Events::OUT), Events::ERR);
        assert_eq!(write(&w, b"x"), fail(Errno::EPIPE));
    }

    #[test]
    fn sizes() {
        let [_r, w] = new_pipe(&cred(), OpenFlags::empty()).unwrap();
        let end = w.ops_as::<PipeEnd>().unwrap();
        assert_eq!(end.pipe.set_size(&cred(), 5000), Ok(8192));
        assert_eq!(write(&w, &[1; 10_000]), Ok(8192));
        assert_eq!(end.pipe.set_size(&cred(), 1), fail(Errno::EBUSY));
        assert_eq!(end.pipe.set_size(&cred(), 1 << 40), fail(Errno::EINVAL));
    }

    #[test]
    fn packets() {
        let [r, w] = new_pipe(&cred(), OpenFlags::DIRECT).unwrap();
        assert_eq!(write(&w, &[1; 5000]), Ok(5000));
        assert_eq!(read(&r, 10_000).unwrap().len(), 4096);
        assert_eq!(read(&r, 10).unwrap().len(), 10);
        assert_eq!(read(&r, 10), fail(Errno::EAGAIN));
    }
}
