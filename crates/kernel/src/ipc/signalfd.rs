//! Pending signals as a file. signalfd(2).
//!
//! A read takes signals of the thread that reads; readiness is that of the process that made the file. Locks: `Leaf` for the mask.

use crate::io::{Io, Sink};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::signal::{SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGIO, SIGSEGV, SIGTRAP, SigInfo, SigSet, UNMASKABLE};
use crate::task::{Task, ThreadGroup};
use crate::vfs::{File, FileOps, Position};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fds::SignalfdSiginfo;
use abi::fs::OpenFlags;
use lock::Mutex;
use std::any::Any;
use std::sync::{Arc, Weak};
use zerocopy::{FromZeros, IntoBytes};

/// A set of signals to be read.
pub struct SignalFd {
    mask: Mutex<SigSet, Leaf>,
    group: Weak<ThreadGroup>,
    queue: Queue,
}

/// signalfd4(2); `flags`: O_NONBLOCK.
pub fn new_signalfd(group: &Arc<ThreadGroup>, mask: SigSet, flags: OpenFlags) -> Arc<File> {
    let mask = Mutex::new(mask & !UNMASKABLE);
    let ops = SignalFd { mask, group: Arc::downgrade(group), queue: group.signal_arrived.clone() };
    File::anonymous(Arc::new(ops), flags | OpenFlags::RDWR)
}

impl SignalFd {
    /// signalfd4(2) of a descriptor that is one already.
    pub fn set_mask(&self, mask: SigSet) {
        *self.mask.lock() = mask & !UNMASKABLE;
        self.queue.wake(Events::IN);
    }
}

fn take(task: &Task, mask: SigSet) -> Option<SigInfo> {
    let mut group = task.group.signals.lock();
    let mut mine = task.signals.lock();
    mine.pending.take(mask).or_else(|| group.pending.take(mask))
}

/// The fields that a signal of this kind has, as signalfd(2) lays them out.
fn describe(info: &SigInfo) -> SignalfdSiginfo {
    let mut out = SignalfdSiginfo::new_zeroed();
    let int = |at: usize| {
        let bytes = info.raw().get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
        i32::from_le_bytes(bytes)
    };
    let long = |at: usize| {
        let bytes = info.raw().get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    let sig = info.sig();
    out.ssi_signo = sig as u32;
    out.ssi_errno = int(4);
    out.ssi_code = info.code();
    if info.code() == crate::signal::SI_TIMER {
        out.ssi_tid = int(16) as u32;
        out.ssi_overrun = int(20) as u32;
        out.ssi_ptr = long(24);
        out.ssi_int = int(24);
    } else if info.code() > 0 && matches!(sig, SIGILL | SIGFPE | SIGSEGV | SIGBUS | SIGTRAP) {
        out.ssi_addr = long(16);
    } else if info.code() > 0 && sig == SIGIO {
        out.ssi_band = long(16) as u32;
        out.ssi_fd = int(24);
    } else {
        out.ssi_pid = int(16) as u32;
        out.ssi_uid = int(20) as u32;
        if info.code() > 0 && sig == SIGCHLD {
            out.ssi_status = int(24);
            out.ssi_utime = long(32);
            out.ssi_stime = long(40);
        } else if info.code() < 0 {
            out.ssi_ptr = long(24);
            out.ssi_int = int(24);
        }
    }
    out
}

impl FileOps for SignalFd {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        const SIZE: usize = size_of::<SignalfdSiginfo>();
        if to.left() < SIZE {
            return fail(Errno::EINVAL);
        }
        let Some(task) = Task::of(io) else { return fail(Errno::EINVAL) };
        let first = io.wait_for(&task.group.signal_arrived, Events::IN, || {
            let mask = *self.mask.lock();
            Ok(take(&task, mask))
        })?;
        let mut count = to.put(describe(&first).as_bytes())?;
        while to.left() >= SIZE
            && let Some(info) = {
                let mask = *self.mask.lock();
                take(&task, mask)
            }
        {
            match to.put(describe(&info).as_bytes()) {
                Ok(put) => count += put,
                Err(_) => break,
            }
        }
        Ok(count)
    }

    fn ready(&self, want: Events) -> Events {
        let Some(group) = self.group.upgrade() else { return Events::empty() };
        let mask = *self.mask.lock();
        let mut pending = group.signals.lock().pending.set();
        for task in group.tasks() {
            pending |= task.signals.lock().pending.set();
        }
        if pending & mask != 0 { want & Events::IN } else { Events::empty() }
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[signalfd]".into())
    }

    fn fdinfo(&self) -> String {
        format!("sigmask:\t{:016x}\n", *self.mask.lock())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
