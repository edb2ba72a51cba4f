//! Signal-driven input and output: O_ASYNC, F_SETOWN and F_SETSIG of fcntl(2).
//!
//! A file with O_ASYNC has a notifier on its queue of waiters. A wake-up may come under any lock, so the signal is sent from the run queue.

use abi::fs::{F_OWNER_PGRP, F_OWNER_TID};
use kernel::signal::{SIGIO, SigInfo};
use kernel::task::{PidNs, Task, ThreadGroup, group_members, send};
use kernel::vfs::{File, Owner};
use kernel::wait::{Events, Runnable, Wake, enqueue};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::{Arc, Weak};

/// What a signal tells, poll's events that go with it, and its si_code.
const KINDS: &[(Events, u32, i32)] = &[
    (Events::IN, 0x41, 1),
    (Events::OUT, 0x304, 2),
    (Events::ERR, 0x8, 4),
    (Events::PRI, 0x82, 5),
    (Events::HUP, 0x18, 6),
];

struct Notifier {
    file: Weak<File>,
    /// The descriptor by which O_ASYNC was set.
    fd: i32,
    root: Arc<PidNs>,
    /// Happened, and not told yet.
    events: AtomicU32,
}

/// After O_ASYNC was set or cleared by descriptor `fd`.
pub fn changed(task: &Task, file: &Arc<File>, fd: i32, on: bool) {
    let link = match file.queue() {
        Some(queue) if on => {
            let root = task.kernel.root_pid_ns.clone();
            let notifier = Notifier { file: Arc::downgrade(file), fd, root, events: AtomicU32::new(0) };
            Some(queue.add(Events::IN | Events::OUT | Events::PRI, false, Arc::new(notifier)))
        }
        _ => None,
    };
    let old = std::mem::replace(&mut *file.asynchronous.lock(), link);
    drop(old);
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>, events: Events) {
        if self.events.fetch_or(events.bits(), AcqRel) == 0 {
            enqueue(self);
        }
    }
}

impl Runnable for Notifier {
    fn run(self: Arc<Self>) {
        let events = Events::from_bits_truncate(self.events.swap(0, AcqRel));
        let Some(file) = self.file.upgrade() else { return };
        let owner = *file.owner.lock();
        let may = |event: Events| match event {
            Events::IN => file.readable(),
            Events::OUT => file.writable(),
            _ => true,
        };
        for (event, band, code) in KINDS {
            if owner.id != 0 && events.contains(*event) && may(*event) {
                self.tell(&owner, *band, *code);
            }
        }
    }
}

impl Notifier {
    fn tell(&self, owner: &Owner, band: u32, code: i32) {
        let Some(pid) = self.root.find(owner.id) else { return };
        let to_group = |group: &Arc<ThreadGroup>| {
            if group.any_task().is_some_and(|task| may_tell(owner, &task)) {
                self.send(owner, group, None, band, code);
            }
        };
        match owner.kind {
            F_OWNER_TID => {
                if let Some(task) = pid.task().filter(|task| may_tell(owner, task)) {
                    self.send(owner, &task.group, Some(&task), band, code);
                }
            }
            F_OWNER_PGRP => {
                let members = pid.task().map(|task| group_members(&task, &pid)).unwrap_or_default();
                members.iter().for_each(to_group);
            }
            _ => {
                pid.group().iter().for_each(to_group);
            }
        }
    }

    /// SIGIO without details where none is chosen, or where no more of the chosen one fit.
    fn send(&self, owner: &Owner, group: &Arc<ThreadGroup>, task: Option<&Arc<Task>>, band: u32, code: i32) {
        let signal = owner.signal as i32;
        if signal == 0 || !send(group, task, SigInfo::poll(signal, code, band.into(), self.fd)) {
            send(group, task, SigInfo::kernel(SIGIO));
        }
    }
}

/// Whether who set the owner may signal it.
fn may_tell(owner: &Owner, to: &Task) -> bool {
    let theirs = to.cred();
    let same = |id: u32| id == theirs.uid || id == theirs.suid;
    owner.euid == 0 || same(owner.euid) || same(owner.uid)
}
