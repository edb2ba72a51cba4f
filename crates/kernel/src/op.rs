//! The result of everything that a system call may run through: a value, or a reason to stop.
//!
//! A call is a plain function that is run again from the top after it waited (`docs/adr/0002`): `Stop::Block`
//! climbs by `?` from any depth to the task loop in `task::run`. Neighbours: `wait` (where a task waits), `call`.

use abi::Errno;

/// What kernel functions return.
pub type Op<T> = Result<T, Stop>;

/// Why a call stopped before it had its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The call fails.
    Errno(Errno),
    /// The task's `Waits` holds what it waits for; the call is run again when one of them wakes it.
    Block,
    /// A signal interrupted the wait. How the call goes on after the handler is `Restart`'s business; it never reaches a guest.
    Restart(Restart),
}

/// What becomes of an interrupted call, signal(7) "Interruption of system calls".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Restarted after a handler with SA_RESTART or without a handler, else EINTR.
    Sys,
    /// EINTR after any handler; restarted where no handler runs.
    NoHand,
    /// Always restarted.
    NoIntr,
    /// EINTR after any handler; without one it goes on by its saved record, with its absolute deadline (restart_syscall(2)).
    Block,
}

impl Restart {
    /// What rax shows of it to a tracer: no program sees these errors otherwise.
    pub fn number(self) -> i64 {
        match self {
            Restart::Sys => -512,
            Restart::NoIntr => -513,
            Restart::NoHand => -514,
            Restart::Block => -516,
        }
    }
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Stop {
        Stop::Errno(e)
    }
}

/// Shorthand for `Err(Stop::Errno(e))`.
pub fn fail<T>(e: Errno) -> Op<T> {
    Err(Stop::Errno(e))
}
