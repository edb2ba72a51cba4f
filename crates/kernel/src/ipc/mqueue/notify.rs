//! Who is told that a message came to an empty queue. mq_notify(3), sigevent(3type).

use crate::cred::Cred;
use crate::signal::SigInfo;
use crate::task::{PidNs, ThreadGroup, send};
use std::sync::{Arc, Weak};

pub const SIGEV_SIGNAL: i32 = 0;
pub const SIGEV_NONE: i32 = 1;
pub const SIGEV_THREAD: i32 = 2;

/// A process that asked to be told, once.
pub(super) struct Registration {
    pub group: Weak<ThreadGroup>,
    /// The descriptor table that it registered with: closing the queue there ends the registration.
    pub table: u64,
    /// SIGEV_SIGNAL or SIGEV_NONE.
    pub notify: i32,
    pub signal: i32,
    pub value: u64,
}

impl Registration {
    /// The process, while it lives.
    pub fn owner(&self) -> Option<Arc<ThreadGroup>> {
        self.group.upgrade().filter(|g| g.state() == crate::task::GroupState::Alive)
    }

    /// The end of the line that read(2) of a queue gives.
    pub fn shown(&self, ns: Option<&PidNs>) -> (i32, i32, i32) {
        let pid = self.owner().zip(ns).map_or(0, |(group, ns)| group.pid.number_in(ns));
        (self.notify, if self.notify == SIGEV_SIGNAL { self.signal } else { 0 }, pid)
    }

    /// Tells that a message of process `sender` came.
    pub fn tell(&self, sender: &ThreadGroup, cred: &Cred) {
        let Some(owner) = self.owner().filter(|_| self.notify == SIGEV_SIGNAL && self.signal != 0) else { return };
        let pid = owner.pid.ns().map_or(0, |ns| sender.pid.number_in(&ns));
        let uid = owner.any_task().map_or(cred.uid, |task| task.cred().user_ns.uid_to(cred.uid));
        send(&owner, None, SigInfo::message(self.signal, pid, uid, self.value));
    }
}
