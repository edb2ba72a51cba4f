//! What the kernel shows a thread's trampolines, which answer questions with it without a trip: ids, and which signals have the action that they began with. And what they note: the robust list, and how long they waited for the poller.
//!
//! Neighbours: the stub's trampoline.rs, `mask` (what they may change). Owns no locks; takes the thread's state.

use crate::mailbox::once;
use crate::state::At;
use crate::sync::lock;
use crate::thread::Thread;
use std::sync::atomic::Ordering::Relaxed;

impl Thread {
    /// What getpid, gettid, getuid, getgid, geteuid and getegid answer from now on, without a trip to the kernel. `None`: the kernel answers them.
    pub fn show_ids(&self, ids: Option<[u32; 6]>) {
        let st = lock(&self.state);
        if matches!(st.at, At::Gone) {
            return; // the mailbox is another's, perhaps
        }
        let ids = ids.filter(|_| self.core.config.local);
        once!(put self.mailbox, local, 0);
        if let Some(ids) = ids {
            once!(put self.mailbox, ids, ids);
            once!(put self.mailbox, local, 1);
        }
    }

    /// Address of the head of the thread's robust list, set_robust_list(2): as the kernel was told, or the stub by itself. 0: none. Any value at all.
    pub fn robust_list(&self) -> u64 {
        let st = lock(&self.state);
        if matches!(st.at, At::Gone) { 0 } else { once!(get self.mailbox, robust) }
    }

    pub fn set_robust_list(&self, head: u64) {
        let st = lock(&self.state);
        if !matches!(st.at, At::Gone) {
            once!(put self.mailbox, robust, head);
        }
    }

    /// How long it has waited for the poller, spinning, ns. The stub's word for it: any value at all, but none that is less than before.
    pub fn waited_for_poller(&self) -> u64 {
        let st = lock(&self.state);
        let waited = if matches!(st.at, At::Gone) { 0 } else { once!(get self.mailbox, waited) };
        host::time::counted(self.waited.fetch_max(waited, Relaxed).max(waited))
    }

    /// For which signals rt_sigaction(2), asked for the action, says that all of it is zero: bit 0 for signal 1. 0: the kernel answers.
    pub fn show_untouched(&self, signals: u64) {
        let st = lock(&self.state);
        if !matches!(st.at, At::Gone) && self.core.config.local {
            once!(put self.mailbox, untouched, signals);
        }
    }
}
