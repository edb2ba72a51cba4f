//! What the kernel gives to the platform: a task that is told what its host thread does.
//!
//! Neighbours: `thread` (whose answers these events wait for), `shard` (which makes them). Owns no locks.

use std::sync::Arc;

use crate::thread::Thread;

/// A guest task as the platform sees it. Called on a worker thread (or the reaper's, for `gone`), never under a lock of the platform.
pub trait Guest: Send + Sync {
    /// The host thread exists and waits in its first doorbell. Called once, before any event. The child of a fork or clone is then answered
    /// (now or later) with `resume`; a fresh process with a script that ends in [`crate::Then::Start`].
    fn born(self: Arc<Self>, thread: Arc<Thread>);
    /// Something happened in the thread, which waits for an answer (see [`Thread`]).
    fn event(self: Arc<Self>, thread: &Arc<Thread>, event: Event);
    /// The host process is gone: it exited, or the host killed it. `status` is as wait(2) gives it. Called once for each thread that has not been
    /// answered with `exit`, and for a guest that was to be born in it.
    fn gone(self: Arc<Self>, status: i32);
}

/// Why a thread came in. Every event waits for exactly one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A system call. `ip` is the address after the instruction. `framed`: it came by trap, so that the stub holds all registers; without it an answer other
    /// than `ret` costs one more trip (a signal), and `regs` are there only after `want_frame`.
    Syscall { nr: u32, args: [u64; 6], ip: u64, framed: bool },
    /// The thread came in because of `kick`, `ret_then_kick` or `want_frame`; all its registers are held. May come without a reason that still holds.
    Kicked,
    /// A fault of guest code: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP with the host's si_code, si_addr, trap number and error code. `in_stub`: in
    /// the stub's own region, which is a bug or an attack: kill the process.
    Fault { sig: i32, code: i32, addr: u64, ip: u64, sp: u64, trapno: u64, err: u64, in_stub: bool },
    /// A script, fork or spawn ended without going on by itself. `result`: the value of the last operation, or minus the errno of the one that failed,
    /// whose index is `at`; for fork and spawn 0 or minus an errno. Or [`crate::Thread::read`] gave less than was expected: `result` says what.
    Done { result: i64, at: u32 },
}
