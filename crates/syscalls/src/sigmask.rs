//! The signal mask that a call sets for the time of its wait: ppoll(2), pselect(2), epoll_pwait(2).
//!
//! The old mask is in `TaskSignals::saved_mask` until the call has returned or a handler has run.

use abi::Errno;
use kernel::wait::Interrupt;
use kernel::{Call, Op, Stop, fail};

/// Runs `wait` with the mask at `set` (none where null). `size` is sizeof(sigset_t): EINVAL unless 8.
pub fn with_mask<T>(call: &mut Call<'_>, set: u64, size: u64, wait: impl FnOnce(&mut Call<'_>) -> Op<T>) -> Op<T> {
    if set == 0 {
        return wait(call);
    }
    if size != 8 {
        return fail(Errno::EINVAL);
    }
    let mask = call.get::<u64>(set)?;
    call.task.mask_for_call(mask);
    if call.waits.interrupt == Interrupt::None && call.task.has_deliverable_signal() {
        call.waits.interrupt = Interrupt::Signal;
    }
    let out = wait(call);
    // A handler that the mask let in restores the old one itself; else it comes back before anything is delivered.
    if !matches!(out, Err(Stop::Block | Stop::Restart(_) | Stop::Errno(Errno::EINTR))) {
        let mut mine = call.task.signals.lock();
        if let Some(saved) = mine.saved_mask.take() {
            mine.mask.set(saved);
        }
    }
    out
}
