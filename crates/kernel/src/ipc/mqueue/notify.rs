//! Who is told that a message came to an empty queue. mq_notify(3), sigevent(3type).

use crate::cred::Cred;
use crate::signal::SigInfo;
use crate::task::{PidNs, ThreadGroup, send};
use std::sync::{Arc, Weak};

pub const SIGEV_SIGNAL: i32 = 0;
pub const SIGEV_NONE: i32 = 1;
pub const SIGEV_THREAD: i32 = 2;

/// NOTIFY_COOKIE_LEN: what a C library gets back on its netlink socket for SIGEV_THREAD, its last byte changed to what happened.
pub const COOKIE: usize = 32;
const WOKENUP: u8 = 1;
const REMOVED: u8 = 2;

/// A way for one cookie, with room for it at the other end. Implemented by netlink sockets.
pub trait Cookies: Send + Sync {
    fn post(self: Box<Self>, cookie: [u8; COOKIE]);
}

/// How a process wants to be told.
pub enum Notify {
    /// SIGEV_NONE: not at all.
    None,
    /// SIGEV_SIGNAL: the signal's number and value.
    Signal(i32, u64),
    /// SIGEV_THREAD.
    Thread(Box<dyn Cookies>, [u8; COOKIE]),
}

/// A process that asked to be told, once.
pub(super) struct Registration {
    pub group: Weak<ThreadGroup>,
    /// The descriptor table that it registered with: closing the queue there ends the registration.
    pub table: u64,
    pub notify: Notify,
}

impl Registration {
    /// The process, while it lives.
    pub fn owner(&self) -> Option<Arc<ThreadGroup>> {
        self.group.upgrade().filter(|g| g.state() == crate::task::GroupState::Alive)
    }

    /// The end of the line that read(2) of a queue gives.
    pub fn shown(&self, ns: Option<&PidNs>) -> (i32, i32, i32) {
        let pid = self.owner().zip(ns).map_or(0, |(group, ns)| group.pid.number_in(ns));
        match self.notify {
            Notify::None => (SIGEV_NONE, 0, pid),
            Notify::Signal(signal, _) => (SIGEV_SIGNAL, signal, pid),
            Notify::Thread(..) => (SIGEV_THREAD, 0, pid),
        }
    }

    /// Tells that a message of process `sender` came.
    pub fn tell(self, sender: &ThreadGroup, cred: &Cred) {
        let Some(owner) = self.owner() else { return };
        match self.notify {
            Notify::Signal(signal, value) if signal != 0 => {
                let pid = owner.pid.ns().map_or(0, |ns| sender.pid.number_in(&ns));
                let uid = owner.any_task().map_or(cred.uid, |task| task.cred().user_ns.uid_to(cred.uid));
                send(&owner, None, SigInfo::message(signal, pid, uid, value));
            }
            Notify::Thread(way, cookie) => post(way, cookie, WOKENUP),
            Notify::None | Notify::Signal(..) => {}
        }
    }

    /// The registration ends without a message.
    pub fn end(self) {
        if let Notify::Thread(way, cookie) = self.notify {
            post(way, cookie, REMOVED);
        }
    }
}

fn post(way: Box<dyn Cookies>, mut cookie: [u8; COOKIE], what: u8) {
    if let Some(last) = cookie.last_mut() {
        *last = what;
    }
    way.post(cookie);
}
