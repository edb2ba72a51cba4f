//! A thread's signal mask, while its trampolines, and its returns from signal handlers, change it without a trip to the kernel.
//!
//! The kernel lends the mask when no signal waits that it keeps back. It withdraws it before a signal is queued, and reads it after that; the trampoline writes it, and looks after that whether it
//! was withdrawn. So one of the two sees what the other did: a trampoline that finds it withdrawn rings. Neighbours: the stub's trampoline.rs; the kernel's `task::mask`. Owns no locks.

use std::sync::atomic::Ordering::SeqCst;

use crate::mailbox::{Slot, once};
use crate::thread::Thread;

/// The words in a thread's mailbox. When that thread is gone they may be another's: then a withdrawal costs that one a trip, and what is read is nobody's any more.
#[derive(Clone, Copy)]
pub struct LentMask(Slot);

impl Thread {
    /// Lets the stub change the mask; `altstack` is the alternate signal stack as frames show it, which stays as it is meanwhile. `None` where the stub answers nothing by itself. To be called for a
    /// thread whose request is open.
    pub fn lend_mask(&self, mask: u64, altstack: (u64, u32, u64)) -> Option<LentMask> {
        if !self.core.config.local {
            return None;
        }
        once!(put self.mailbox, altstack, [altstack.0, altstack.1.into(), altstack.2]);
        self.mailbox.mask().store(mask, SeqCst);
        self.mailbox.lent().store(1, SeqCst);
        Some(LentMask(self.mailbox))
    }
}

impl LentMask {
    /// What the thread last made of it: any value at all.
    pub fn get(&self) -> u64 {
        self.0.mask().load(SeqCst)
    }

    /// From here on a change brings the thread in.
    pub fn withdraw(&self) {
        self.0.lent().store(0, SeqCst);
    }
}
