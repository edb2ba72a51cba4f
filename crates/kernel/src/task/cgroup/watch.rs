//! A thread that looks after the groups with a limit that the host does not know, while there are any.
//!
//! Neighbours: `memory` and `bandwidth` have one each. Owns the lock of the list of its groups.

use super::Cgroup;
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use lock::Mutex;
use std::sync::{Arc, Weak};
use std::thread::Thread;
use std::time::Duration;

/// So long it sleeps at most.
const LONGEST: Duration = Duration::from_millis(100);

pub(super) struct Watch {
    name: &'static str,
    /// Whether a group still has a limit.
    limited: fn(&Cgroup) -> bool,
    /// Looks at a group; when to look again.
    look: fn(&Arc<Cgroup>) -> Duration,
    inner: Mutex<Inner, Leaf>,
}

struct Inner {
    groups: Vec<Weak<Cgroup>>,
    thread: Option<Thread>,
}

impl Watch {
    pub const fn new(name: &'static str, limited: fn(&Cgroup) -> bool, look: fn(&Arc<Cgroup>) -> Duration) -> Watch {
        Watch { name, limited, look, inner: Mutex::new(Inner { groups: Vec::new(), thread: None }) }
    }

    /// Looks at a group that has a limit now, at once and from then on. EAGAIN where there can be no thread for it.
    pub fn add(&'static self, group: &Arc<Cgroup>) -> Op<()> {
        let mut inner = self.inner.lock();
        if !inner.groups.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(group))) {
            inner.groups.push(Arc::downgrade(group));
        }
        if let Some(thread) = &inner.thread {
            thread.unpark();
            return Ok(());
        }
        match std::thread::Builder::new().name(self.name.into()).stack_size(256 << 10).spawn(|| self.run()) {
            Ok(started) => inner.thread = Some(started.thread().clone()),
            Err(_) => return fail(Errno::EAGAIN),
        }
        Ok(())
    }

    /// Body of the thread; it ends when there are no limits any more.
    fn run(&self) {
        loop {
            let mut groups: Vec<Arc<Cgroup>> = Vec::new();
            {
                let mut inner = self.inner.lock();
                inner.groups.retain(|group| {
                    let group = group.upgrade();
                    let limited = group.as_ref().is_some_and(|group| (self.limited)(group));
                    groups.extend(group); // let go of without the lock
                    limited
                });
                if inner.groups.is_empty() {
                    inner.thread = None;
                    return;
                }
            }
            let delay = groups.iter().map(self.look).min().unwrap_or(LONGEST).min(LONGEST);
            drop(groups);
            platform::flush();
            while crate::wait::drain() {
                platform::flush();
            }
            std::thread::park_timeout(delay);
        }
    }
}
