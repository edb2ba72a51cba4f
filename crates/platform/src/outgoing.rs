//! What wakes somebody is queued here, by thread, and done after all locks are dropped: a SEND with sync wake-up may switch to the guest at once, and who
//! waits for a lock of ours would then wait through a whole time slice.
//!
//! Neighbours: `thread` (queues), `worker` (flushes after each event). Owns no locks: the queue is thread-local.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use host::HostFd;
use host::seccomp::notify;

use crate::affinity::stay;
use crate::core::Core;
use crate::guest::Guest;
use crate::layout::{KICK_SIGNAL, MAX_FDS, poll};
use crate::mailbox::{Slot, once};
use crate::shard::Shard;
use crate::tracer::{Order, Tracer};

pub(crate) enum Out {
    /// Answers a notification.
    Send {
        shard: &'static Shard,
        tid: i32,
        id: u64,
        value: i64,
        flags: u32,
    },
    /// Hands files to the thread with this open notification; their numbers go into the mailbox.
    Files {
        shard: &'static Shard,
        id: u64,
        slot: Slot,
        files: Vec<Arc<HostFd>>,
    },
    /// Has the thread with this open notification close what it keeps under a number.
    Close {
        shard: &'static Shard,
        id: u64,
        number: u32,
    },
    /// Sends files to a process that receives them by a socket.
    Give {
        core: &'static Core,
        pid: i32,
        socket: Arc<HostFd>,
        files: Vec<Arc<HostFd>>,
    },
    /// Begins a birth that the tracer watches.
    Birth(Box<Order>),
    Kick {
        tgid: i32,
        tid: i32,
    },
    /// Has a thread whose call the poller took come to the doorbell: its mailbox, and `poll` there.
    Ring(Slot, u32),
    /// Wakes a parked thread.
    Unpark(&'static AtomicU32),
    /// Wakes a thread of ours.
    Wake(&'static AtomicU32),
    Kill(i32),
    /// Tells a guest that the process which it was to be born in will not come.
    Gone(Arc<dyn Guest>),
    /// Lets a guest go: what it holds has locks of its own.
    Forget(Arc<dyn Guest>),
}

thread_local! {
    static QUEUE: RefCell<Vec<Out>> = const { RefCell::new(Vec::new()) };
    static WAKES: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn queue(out: Out) {
    QUEUE.with_borrow_mut(|q| q.push(out));
}

/// How many guest threads this thread has woken.
pub(crate) fn wakes() -> u64 {
    WAKES.get()
}

/// Does what this thread has queued.
pub(crate) fn flush() {
    loop {
        // What is done may queue more (an answer that comes too late), so nothing is borrowed meanwhile.
        let mut batch = QUEUE.with_borrow_mut(std::mem::take);
        if batch.is_empty() {
            return;
        }
        for out in batch.drain(..) {
            perform(out);
        }
        // The buffer is used again.
        QUEUE.with_borrow_mut(|q| {
            if q.is_empty() {
                *q = batch;
            }
        });
    }
}

fn perform(out: Out) {
    if matches!(out, Out::Send { .. } | Out::Unpark(_)) {
        WAKES.set(WAKES.get() + 1);
    }
    match out {
        Out::Send { shard, tid, id, value, flags } => {
            if shard.core.config.listener
                && let Err(Errno::ENOENT) = notify::send(shard.doorbell.as_fd(), id, value, flags)
            {
                shard.answer_lost(tid, id, value, flags);
            }
        }
        Out::Files { shard, id, slot, files } => {
            stay(shard.core, || {
                for (i, file) in files.iter().take(MAX_FDS).enumerate() {
                    // A failure shows in the script: its host call gets a bad descriptor.
                    let number = notify::add_fd(shard.doorbell.as_fd(), id, file.as_fd()).map_or(-1, |n| n as i32);
                    once!(put slot, fds[i], number as u32);
                }
            });
        }
        Out::Close { shard, id, number } => {
            // Who is not there any more holds no file either.
            let _ = shard.core.nothing().map(|f| notify::add_fd_as(shard.doorbell.as_fd(), id, f.as_fd(), number));
        }
        Out::Give { core, pid, socket, files } => crate::handover::send(core, pid, &socket, &files),
        Out::Birth(order) => Tracer::order(order.shard.core, *order),
        Out::Kick { tgid, tid } => drop(host::process::tgkill(tgid, tid, KICK_SIGNAL as i32)),
        Out::Ring(slot, asked) => slot.answer().store(poll::with(asked, poll::RING), Ordering::Release),
        // SAFETY: mailboxes are never unmapped.
        Out::Unpark(word) => unsafe { host::futex::wake_shared(word, 1) },
        Out::Wake(word) => host::futex::wake(word, 1),
        Out::Kill(pid) => drop(host::process::kill(pid, libc::SIGKILL)),
        Out::Gone(guest) => guest.gone(libc::SIGKILL),
        Out::Forget(guest) => drop(guest),
    }
}
