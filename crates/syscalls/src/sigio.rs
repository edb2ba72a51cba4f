//! Signals that files send: O_ASYNC, F_SETOWN, F_SETSIG, F_NOTIFY and F_SETLEASE of fcntl(2).
//!
//! A file with O_ASYNC has a notifier on its queue of waiters. A wake-up may come under any lock, so the signal is sent from the run queue.

use abi::Errno;
use abi::fs::{
    DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME, F_OWNER_PGRP, F_OWNER_PID,
    F_OWNER_TID,
};
use abi::inotify::{IN_ACCESS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO};
use kernel::Op;
use kernel::signal::{SIGIO, SigInfo};
use kernel::task::{Audience, PidNs, Task, ThreadGroup, send};
use kernel::vfs::listen::{self, Happened, Listener};
use kernel::vfs::{File, FileType, Inode, Owner};
use kernel::wait::{Events, Runnable, Wake, enqueue};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
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
            if events.contains(*event) && may(*event) {
                tell(&self.root, &owner, self.fd, *band, *code);
            }
        }
    }
}

/// Signals the owner of a file, if it has one.
fn tell(root: &PidNs, owner: &Owner, fd: i32, band: u32, code: i32) {
    let Some(pid) = Some(owner.id).filter(|id| *id != 0).and_then(|id| root.find(id)) else { return };
    let send = |group: &Arc<ThreadGroup>, task: Option<&Arc<Task>>| {
        let signal = owner.signal as i32;
        // SIGIO without details where none is chosen, or where no more of the chosen one fit.
        if signal == 0 || !send(group, task, SigInfo::poll(signal, code, band.into(), fd)) {
            send_plain(group, task);
        }
    };
    let to_group = |group: &Arc<ThreadGroup>| {
        if group.any_task().is_some_and(|task| may_tell(owner, &task)) {
            send(group, None);
        }
    };
    match owner.kind {
        F_OWNER_TID => {
            if let Some(task) = pid.task().filter(|task| may_tell(owner, task)) {
                send(&task.group, Some(&task));
            }
        }
        F_OWNER_PGRP => {
            if let Some(task) = pid.task() {
                Audience::group(&task.kernel, &pid).iter().for_each(to_group);
            }
        }
        _ => {
            pid.group().iter().for_each(to_group);
        }
    }
}

fn send_plain(group: &Arc<ThreadGroup>, task: Option<&Arc<Task>>) {
    send(group, task, SigInfo::kernel(SIGIO));
}

/// POLL_MSG: the si_code of leases and of F_NOTIFY, and poll's events that go with it.
const POLL_MSG: i32 = 3;
const MSG_BAND: u32 = 0x441;

/// The caller's process gets the file's signals from now on.
pub fn own(task: &Task, file: &File) {
    let cred = task.cred();
    let id = task.group.pid.number_in(&task.kernel.root_pid_ns);
    let mut owner = file.owner.lock();
    *owner = Owner { kind: F_OWNER_PID, id, signal: owner.signal, uid: cred.uid, euid: cred.euid };
}

/// Tells the owner of a file of one thing.
struct Message {
    file: Weak<File>,
    fd: i32,
    root: Arc<PidNs>,
}

impl Runnable for Message {
    fn run(self: Arc<Self>) {
        let Some(file) = self.file.upgrade() else { return };
        let owner = *file.owner.lock();
        tell(&self.root, &owner, self.fd, MSG_BAND, POLL_MSG);
    }
}

/// Tells the holder of a lease that it is to go.
pub fn lease_teller(task: &Task, file: &Arc<File>, fd: i32) -> Arc<dyn Runnable> {
    Arc::new(Message { file: Arc::downgrade(file), fd, root: task.kernel.root_pid_ns.clone() })
}

/// F_NOTIFY: the events of a folder that its owner is told of.
struct Dnotify {
    folder: Weak<Inode>,
    mask: AtomicU32,
    message: Arc<Message>,
}

/// F_NOTIFY of fcntl(2). ENOTDIR where the file is no folder.
pub fn notify(task: &Task, file: &Arc<File>, fd: i32, mask: u32) -> Op<()> {
    let folder = file.inode.as_ref().filter(|i| i.kind == FileType::Dir).ok_or(Errno::ENOTDIR)?;
    if mask & !DN_MULTISHOT == 0 {
        let old = file.dnotify.lock().take();
        drop(old);
        return Ok(());
    }
    own(task, file);
    let message = Message { file: Arc::downgrade(file), fd, root: task.kernel.root_pid_ns.clone() };
    let new =
        Arc::new(Dnotify { folder: Arc::downgrade(folder), mask: AtomicU32::new(mask), message: Arc::new(message) });
    let listener: Arc<dyn Listener> = new;
    listen::listen(Arc::downgrade(&listener));
    let old = file.dnotify.lock().replace(listener);
    drop(old);
    Ok(())
}

impl Dnotify {
    /// The DN_* bits of an event.
    fn bits(what: &Happened<'_>) -> u32 {
        let table = [
            (IN_ACCESS, DN_ACCESS),
            (IN_MODIFY, DN_MODIFY),
            (IN_ATTRIB, DN_ATTRIB),
            (IN_CREATE | IN_MOVED_TO, DN_CREATE),
            (IN_DELETE | IN_MOVED_FROM, DN_DELETE),
            (listen::WITHIN, DN_RENAME),
        ];
        table.iter().filter(|(happened, _)| what.mask & happened != 0).fold(0, |bits, (_, bit)| bits | bit)
    }
}

impl Listener for Dnotify {
    fn happened(&self, what: &Happened<'_>) {
        let mask = self.mask.load(Acquire);
        if mask & Self::bits(what) == 0 {
            return;
        }
        let is_folder = |inode: &Arc<Inode>| std::ptr::eq(Arc::as_ptr(inode), self.folder.as_ptr());
        let parent = || what.path.filter(|_| what.name.is_none())?.dentry.parent()?.inode();
        if !is_folder(what.inode) && !parent().is_some_and(|p| is_folder(&p)) {
            return;
        }
        if mask & DN_MULTISHOT == 0 && self.mask.swap(0, AcqRel) == 0 {
            return;
        }
        enqueue(self.message.clone());
    }
}

/// Whether who set the owner may signal it.
fn may_tell(owner: &Owner, to: &Task) -> bool {
    let theirs = to.cred();
    let same = |id: u32| id == theirs.uid || id == theirs.suid;
    owner.euid == 0 || same(owner.euid) || same(owner.uid)
}
