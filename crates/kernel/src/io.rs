//! What a file operation is given: who calls, how it may wait, and where data comes from and goes to.
//!
//! Reads and writes go through `Sink` and `Source`, so that user memory, kernel buffers and splice look alike.
//! Neighbours: `wait` (Waits), `cred`, `time` (Deadline); `call` makes an `Io` for a system call.

use crate::cred::Cred;
use crate::op::{Op, Restart, Stop};
use crate::time::Deadline;
use crate::wait::{Events, Interrupt, Queue, Waits};
use abi::Errno;
use host::HostFd;
use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The calling task as the layers below tasks see it. `task::Task::of(io)` gives the task itself.
pub trait Caller: Send + Sync {
    /// umask(2).
    fn umask(&self) -> u32 {
        0
    }
    /// Whether its control group lets it do this with a device; the words are those of struct bpf_cgroup_dev_ctx.
    fn may_use_device(&self, _access_type: u32, _major: u32, _minor: u32) -> bool {
        true
    }
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The context of a file operation.
pub struct Io<'a> {
    /// The credentials that count, fsuid and fsgid included.
    pub cred: Arc<Cred>,
    /// The calling task; none for the kernel's own work.
    pub caller: Option<Arc<dyn Caller>>,
    /// O_NONBLOCK, MSG_DONTWAIT: instead of waiting the operation fails with EAGAIN.
    pub nonblock: bool,
    /// The wait ends then (with what the caller makes of `Expired`).
    pub deadline: Option<Deadline>,
    /// Bytes that earlier runs of this call have moved; an operation that blocks after moving some adds them here first.
    pub done: &'a mut u64,
    /// Where an operation that waits in the middle (opening a FIFO, connecting) keeps what it holds until the call ends; dropped then.
    stage: Option<&'a mut Option<Box<dyn Any + Send>>>,
    /// The record's deadline, which arms the timer.
    first_deadline: Option<&'a mut Option<Deadline>>,
    waits: Option<&'a mut Waits>,
}

/// A context with settings of its own.
pub struct Within<'i, 'a> {
    io: &'i mut Io<'a>,
    before: (bool, Option<Deadline>),
}

impl<'a> Deref for Within<'_, 'a> {
    type Target = Io<'a>;

    fn deref(&self) -> &Io<'a> {
        self.io
    }
}

impl<'a> DerefMut for Within<'_, 'a> {
    fn deref_mut(&mut self) -> &mut Io<'a> {
        self.io
    }
}

impl Drop for Within<'_, '_> {
    fn drop(&mut self) {
        (self.io.nonblock, self.io.deadline) = self.before;
    }
}

impl<'a> Io<'a> {
    pub fn new(
        cred: Arc<Cred>,
        caller: Option<Arc<dyn Caller>>,
        waits: Option<&'a mut Waits>,
        done: &'a mut u64,
    ) -> Io<'a> {
        Io { cred, caller, nonblock: false, deadline: None, done, stage: None, first_deadline: None, waits }
    }

    /// With places for what the operation keeps while it waits, and until when: the record's.
    pub fn with_stage(
        mut self,
        stage: &'a mut Option<Box<dyn Any + Send>>,
        deadline: &'a mut Option<Deadline>,
    ) -> Io<'a> {
        self.stage = Some(stage);
        self.deadline = *deadline;
        self.first_deadline = Some(deadline);
        self
    }

    /// The first deadline that a run of this call set with this: a re-run does not begin to wait anew.
    pub fn limit(&mut self, deadline: Deadline) -> Deadline {
        if let Some(kept) = self.deadline {
            return kept;
        }
        if let Some(first) = self.first_deadline.as_deref_mut() {
            return *first.get_or_insert(deadline);
        }
        deadline
    }

    /// The caller's umask.
    pub fn umask(&self) -> u32 {
        self.caller.as_ref().map_or(0, |caller| caller.umask())
    }

    /// What an earlier run of this call left with `keep`.
    pub fn kept<T: 'static>(&self) -> Option<&T> {
        self.stage.as_deref()?.as_ref()?.downcast_ref()
    }

    /// Keeps `what` for the next run of this call.
    pub fn keep(&mut self, what: Box<dyn Any + Send>) {
        if let Some(stage) = self.stage.as_deref_mut() {
            *stage = Some(what);
        }
    }

    /// For the kernel's own work outside of any task: what would wait fails with EAGAIN. `done` is scratch space.
    pub fn kernel(cred: Arc<Cred>, done: &'a mut u64) -> Io<'a> {
        Io { cred, caller: None, nonblock: true, deadline: None, done, stage: None, first_deadline: None, waits: None }
    }

    /// The same context, where nothing waits if `nonblock`; what is set in it ends with it.
    pub fn with_nonblock(&mut self, nonblock: bool) -> Within<'_, 'a> {
        let before = (self.nonblock, self.deadline);
        self.nonblock |= nonblock;
        Within { io: self, before }
    }

    /// Tries `ready` until it gives a value; between the tries the call waits for `events` on `queue`.
    ///
    /// `ready` returns `Ok(None)` where it must wait. It is tried once more after the task is registered, so no wake-up is
    /// lost and no lock needs to be held around this. A signal ends the wait with `Stop::Restart(Restart::Sys)`, the deadline
    /// with ETIMEDOUT, `nonblock` with EAGAIN.
    pub fn wait_for<T>(&mut self, queue: &Queue, events: Events, mut ready: impl FnMut() -> Op<Option<T>>) -> Op<T> {
        if !self.nonblock && self.waits.as_deref_mut().is_some_and(Waits::forced) {
            return Err(Stop::Block);
        }
        if let Some(value) = ready()? {
            return Ok(value);
        }
        let Some(waits) = self.waits.as_deref_mut().filter(|_| !self.nonblock) else {
            return Err(Errno::EAGAIN.into());
        };
        if waits.interrupt != Interrupt::None {
            return Err(Stop::Restart(Restart::Sys));
        }
        if self.deadline.is_some_and(|d| d.expired()) {
            return Err(Errno::ETIMEDOUT.into());
        }
        waits.add(queue, events);
        match ready() {
            Ok(None) => Err(Stop::Block),
            Ok(Some(value)) => {
                waits.clear();
                Ok(value)
            }
            Err(stop) => {
                waits.clear();
                Err(stop)
            }
        }
    }

    /// Registers on one more queue without checking anything: poll(2) and its kind do that for many before they look.
    pub fn also_wait(&mut self, queue: &Queue, events: Events) {
        if let Some(waits) = self.waits.as_deref_mut() {
            waits.add(queue, events);
        }
    }

    /// Whether a signal asks an interruptible wait to end.
    pub fn interrupted(&self) -> bool {
        self.waits.as_deref().is_some_and(|w| w.interrupt != Interrupt::None)
    }

    /// The wait set, for calls that wait by hand.
    pub fn waits(&mut self) -> Option<&mut Waits> {
        self.waits.as_deref_mut()
    }
}

/// From so many bytes on a sink may take them from a file by itself.
pub const LARGE: usize = 4 << 10;

/// Where a read puts its data.
pub trait Sink {
    /// Bytes that still fit.
    fn left(&self) -> usize;
    /// Takes a prefix of `data`: all of it unless the sink is full or faults on the way; EFAULT where nothing could be put.
    fn put(&mut self, data: &[u8]) -> Op<usize>;
    /// Takes so many bytes at most from this place of a host file on a local disk or in memory, which the file has. None: they are to be put. Asked before anything was put.
    fn take_from(&mut self, _file: &Arc<HostFd>, _at: u64, _len: u64) -> Option<usize> {
        None
    }
}

/// Where a write takes its data from.
pub trait Source {
    /// Bytes that are still there.
    fn left(&self) -> usize;
    /// Fills a prefix of `into`: as much as there is; less where a fault comes on the way, EFAULT where nothing could be read.
    fn take(&mut self, into: &mut [u8]) -> Op<usize>;
    /// Gives back the last `count` bytes taken: the object behind took less.
    fn untake(&mut self, count: usize);
}

/// A sink that is a vector with a bound.
pub struct VecSink {
    pub data: Vec<u8>,
    pub max: usize,
}

impl Sink for VecSink {
    fn left(&self) -> usize {
        self.max.saturating_sub(self.data.len())
    }
    fn put(&mut self, data: &[u8]) -> Op<usize> {
        let count = data.len().min(self.left());
        self.data.extend_from_slice(data.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A source that is a slice.
pub struct SliceSource<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    pub fn new(data: &'a [u8]) -> SliceSource<'a> {
        SliceSource { data, at: 0 }
    }
}

impl Source for SliceSource<'_> {
    fn left(&self) -> usize {
        self.data.len() - self.at
    }
    fn take(&mut self, into: &mut [u8]) -> Op<usize> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
    fn untake(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
    }
}

/// A guest's memory, as `ioctl` and others that get pointers see it. Implemented by `mm::Mm`.
pub trait UserMemory: Send + Sync {
    /// Fills `into` from `at`; EFAULT unless all of it is there.
    fn read(&self, at: u64, into: &mut [u8]) -> Op<()>;
    /// EFAULT unless all of it could be written.
    fn write(&self, at: u64, from: &[u8]) -> Op<()>;
}
