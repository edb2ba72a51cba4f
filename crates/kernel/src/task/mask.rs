//! A thread's signal mask, and where it is: in the kernel, or lent to the thread's stub, which answers rt_sigprocmask(2) and rt_sigreturn(2) then. signal(7).
//!
//! It is lent at the end of an rt_sigprocmask, and when a handler begins, while no signal is queued for the thread or its group; who queues one withdraws it first, and who changes the alternate signal
//! stack takes it back: a return from a handler that leaves both to the stub comes to nobody else. Neighbours: `send` (withdraws), `attention` (passes on what a
//! thread masked after it was chosen). Under the lock of the task's signals.

use super::{Task, TaskSignals};
use crate::signal::{AltStack, SigSet, UNMASKABLE};
use platform::LentMask;

pub struct Mask {
    kept: SigSet,
    lent: Option<LentMask>,
}

impl Mask {
    pub fn new(set: SigSet) -> Mask {
        Mask { kept: set, lent: None }
    }

    /// As the thread has it now.
    pub fn get(&self) -> SigSet {
        self.lent.map_or(self.kept, |lent| lent.get() & !UNMASKABLE)
    }

    /// For a thread that is in the kernel. It is not lent any more.
    pub fn set(&mut self, set: SigSet) {
        self.withdraw();
        (self.kept, self.lent) = (set, None);
    }

    /// The thread looks in when it changes the mask from here on.
    pub fn withdraw(&self) {
        if let Some(lent) = &self.lent {
            lent.withdraw();
        }
    }
}

impl Task {
    /// rt_sigprocmask(2): sets the mask, and lends it.
    pub fn change_mask(&self, set: SigSet) {
        self.signals.lock().mask.set(set);
        self.lend_mask();
    }

    /// Lends the mask where nothing is queued that it may keep back. Not where somebody wants to see each call.
    pub(super) fn lend_mask(&self) {
        let Some(thread) = self.thread() else { return };
        let group = self.group.signals.lock();
        let mut mine = self.signals.lock();
        if !self.is_watched() && mine.saved_mask.is_none() && (mine.pending.set() | group.pending.set()) == 0 {
            let set = mine.mask.get();
            mine.mask.lent = thread.lend_mask(set, mine.altstack.shown());
        }
    }
}

impl TaskSignals {
    /// sigaltstack(2). The mask is not lent any more.
    pub fn set_altstack(&mut self, stack: AltStack) {
        self.mask.set(self.mask.get());
        self.altstack = stack;
    }
}
