//! Freezing a container's tasks, as the host's freezer freezes a cgroup's: none runs guest code or a call, and none can tell afterwards.
//!
//! A frozen task waits before whatever it was about to do next (`drive`), registered on nothing but the freezer, with its host thread parked. A call that waited is run
//! again when it thaws, with its old deadline; only SIGKILL gets through. Neighbours: `attention` (stops, which guests see). Owns no locks.

use super::cgroup::halt::FROZEN;
use super::drive::Run;
use super::{GroupState, Task, ThreadGroup};
use crate::signal::{SIGKILL, bit};
use crate::wait::{Events, Queue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Whether a container's tasks may run. Each of its thread groups has it.
#[derive(Default)]
pub struct Freezer {
    frozen: AtomicBool,
    thawed: Queue,
}

impl Freezer {
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(SeqCst)
    }

    /// Brings all tasks of these groups to a halt; `settled` says when they have come to it.
    pub fn freeze(&self, groups: &[Arc<ThreadGroup>]) {
        self.frozen.store(true, SeqCst);
        for task in groups.iter().flat_map(|group| group.tasks()) {
            task.notify();
        }
    }

    /// Lets all go on.
    pub fn thaw(&self) {
        self.frozen.store(false, SeqCst);
        self.look_again();
    }

    /// Tasks that are frozen ask once more whether they are.
    pub(super) fn look_again(&self) {
        self.thawed.wake(Events::IN);
    }
}

impl ThreadGroup {
    /// A task of the frozen group that still runs, or whose host thread still is where a host's freezer would have to wait for an answer of ours.
    pub fn unsettled(&self) -> Option<Arc<Task>> {
        if self.state() != GroupState::Alive {
            return None;
        }
        self.tasks().into_iter().find(|task| !task.has_ended() && !task.is_settled())
    }
}

impl Task {
    /// Nothing of it may run now: it is frozen, or its control group has used up its CPU time.
    pub(super) fn is_frozen(&self) -> bool {
        (self.group.container.freezer.is_frozen() || self.cgroup_halts() != 0)
            && !self.group.is_exiting()
            && !self.is_dying()
            && !self.is_being_killed()
    }

    /// It has come to the halt that its control group wants for this reason.
    pub(super) fn is_halted(&self, reason: u8) -> bool {
        self.cgroup_halts() & reason != 0 && self.is_at_rest()
    }

    pub(super) fn is_frozen_with_cgroup(&self) -> bool {
        self.cgroup_halts() & FROZEN != 0
    }

    fn is_being_killed(&self) -> bool {
        let group = self.group.signals.lock();
        (group.pending.set() | self.signals.lock().pending.set()) & bit(SIGKILL) != 0
    }

    fn is_settled(&self) -> bool {
        self.is_at_rest() && self.thread().is_none_or(|thread| thread.is_parked())
    }

    /// Registers a frozen task for the thaw, and gives up what else it was registered on. False: it is not frozen.
    pub(super) fn freezes(&self, run: &mut Run) -> bool {
        if !self.is_frozen() {
            return false;
        }
        run.waits.begin_run();
        run.waits.add(&self.group.container.freezer.thawed, Events::IN);
        self.is_frozen() // a thaw before the registration woke nobody
    }
}
