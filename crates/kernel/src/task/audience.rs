//! Those whom a signal to many is for: a process group, a session's foreground, everybody. kill(2).
//!
//! A child that is born meanwhile would hear nothing, so nobody of them has children until all have been told: `Task::clone_task` begins again, with the signal
//! before it. Neighbours: `tree`, `send`. Locks: `TaskTree` while they are listed.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use super::{Pid, ThreadGroup};
use crate::Kernel;

/// Processes that will be told something before this is dropped.
pub struct Audience(Vec<Arc<ThreadGroup>>);

impl Audience {
    /// The processes of the sandbox that `is` picks.
    pub fn of(kernel: &Kernel, is: impl Fn(&Arc<ThreadGroup>) -> bool) -> Audience {
        let everybody; // let go without the lock
        let picked: Vec<_> = {
            let _tree = kernel.tree.lock();
            everybody = kernel.root_pid_ns.groups();
            let picked: Vec<_> = everybody.iter().map(|(_, group)| group).filter(|group| is(group)).cloned().collect();
            for group in &picked {
                group.awaited.fetch_add(1, AcqRel);
            }
            picked
        };
        Audience(picked)
    }

    /// The members of a process group.
    pub fn group(kernel: &Kernel, pgrp: &Arc<Pid>) -> Audience {
        Self::of(kernel, |group| Arc::ptr_eq(&group.pgrp(), pgrp))
    }
}

impl Deref for Audience {
    type Target = [Arc<ThreadGroup>];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        for group in &self.0 {
            group.awaited.fetch_sub(1, AcqRel);
        }
    }
}
