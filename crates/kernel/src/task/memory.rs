//! A task as the maker of memory calls.

use super::{Resource, Task};
use crate::cred::Cap;
use crate::mm::{Asker, Bounds, Mm, Requester};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Requester for Task {
    fn requests(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Task {
    /// What `mm` wants to know of the task that changes its map.
    pub fn asker(self: &Arc<Self>, mm: &Mm) -> Asker {
        let limits = self.group.limits();
        let bounds = Bounds {
            address_space: limits.get(Resource::As).soft,
            data: limits.get(Resource::Data).soft,
            stack: limits.get(Resource::Stack).soft,
            memlock: limits.get(Resource::Memlock).soft,
            can_lock: self.cred().has(Cap::IpcLock),
        };
        let this: Arc<dyn Requester> = self.clone();
        Asker { who: Arc::downgrade(&this), count: self.requests(), alone: mm.users() <= 1, bounds }
    }
}
