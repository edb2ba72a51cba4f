//! A process' signal actions, sigaction(2), and what trampolines of its threads answer of them: programs that start others ask for each signal's action first.
//!
//! A thread that asked has the set of signals whose actions are all zero in its mailbox; it is shown anew whenever an action is set. Neighbours: `send`, `attention` (follow them). Takes `ProcessSignals`.

use super::{Task, ThreadGroup};
use crate::signal::{SIG_DFL, SIGCONT, SigAction, bit};

impl ThreadGroup {
    /// rt_sigaction(2). Pending signals that are ignored from here on are dropped.
    pub fn set_action(&self, sig: i32, action: SigAction) {
        {
            // SIGCONT has done its work when it was sent.
            let drops = action.ignores(sig) || sig == SIGCONT && action.handler == SIG_DFL;
            let tasks = if drops { self.tasks() } else { Vec::new() };
            let mut signals = self.signals.lock();
            signals.actions.set(sig, action);
            if drops {
                signals.pending.flush(bit(sig));
            }
            for task in tasks {
                task.signals.lock().pending.flush(bit(sig));
            }
        }
        // Whoever was shown something before that is in the list by now.
        self.tasks().iter().for_each(|task| task.show_untouched());
    }
}

impl Task {
    /// Lets the thread's trampoline answer questions for actions that nobody has set. Not where somebody wants to see each call.
    pub fn show_untouched(&self) {
        let Some(thread) = self.thread() else { return };
        let signals = self.group.signals.lock();
        thread.show_untouched(if self.is_watched() { 0 } else { signals.actions.untouched() });
    }
}
