//! First doorbells: of forked and fresh processes, and of threads.
//!
//! A newborn shows the cookie that was made for it; who it is (a process of its own, or a thread of its parent's) is asked of the host. Neighbours: `shard`, `perform`, `nursery` (where fresh ones come from).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use host::seccomp::notify::Notification;

use crate::affinity::Affinity;
use crate::core::{Kind, Newborn};
use crate::mailbox::Slot;
use crate::outgoing::{Out, queue};
use crate::shard::{Shard, birth_done};
use crate::space::Space;
use crate::state::{At, Birth, State};
use crate::sync::{Mutex, lock};
use crate::thread::Thread;
use crate::unborn::Unborn;

/// Arguments of a fork's clone call.
pub(crate) const FORK: [u64; 6] = [0x8000 | 17, 0, 0, 0, 0, 0];

impl Shard {
    /// HELLO: a process of its own, which has no mailbox yet.
    pub(crate) fn hello(&'static self, n: &Notification) {
        let tid = n.pid as i32;
        let cookie = [n.data.args[1], n.data.args[2]];
        if n.data.args[5] == 1
            && let Some(thread) = self.thread(tid)
            && thread.cookie == cookie
        {
            // The host froze it while it waited: the same doorbell under a new id. The file it was handed is there.
            let mut st = lock(&thread.state);
            match st.at {
                At::Bell { .. } => st.at = At::Bell { id: n.id },
                _ => thread.send(n.id, st.value, 0),
            }
            return;
        }
        if n.data.args[5] == 1 && self.zygote_hello_again(n, cookie) {
            return;
        }
        let Some(mut newborn) = self.core.expected(cookie) else {
            if !self.has_died(n) && self.core.may_be_orphan() {
                return queue(Out::Kill(tid));
            }
            return self.stray(n, "a new process that nobody waits for");
        };
        if newborn.parent.is_none() {
            self.has_rung(cookie);
        }
        let leader = host::process::tgkill(tid, tid, 0).is_ok();
        if matches!(newborn.kind, Kind::Thread { .. }) || !leader || self.thread(tid).is_some() {
            if self.has_died(n) {
                return self.core.expect(cookie, newborn); // the keeper will miss it
            }
            self.stray(n, "HELLO of something else than a new process");
            return self.stillborn(newborn);
        }
        if newborn.kind == Kind::Zygote {
            return self.zygote_hello(n, cookie, newborn);
        }
        let slot = newborn.parent.as_ref().map_or(self.slot, |parent| parent.slot);
        let Ok(mailboxes) = self.core.pool.take() else { return self.unborn(tid, cookie, newborn) };
        let Ok((number, to_send)) = self.hand_mailboxes(n, &mailboxes.file) else {
            self.core.pool.give(mailboxes, &[]);
            return self.unborn(tid, cookie, newborn);
        };
        let mailbox = mailboxes.slot(slot);
        let space = Arc::new(Space::new(self, tid, newborn.nursery.clone(), mailboxes, slot));
        if let Some(parent) = &newborn.parent {
            space.inherit_sites(&parent.space);
        }
        let thread = self.admit(space.clone(), tid, slot, cookie, mailbox, n.id, &newborn);
        lock(&thread.state).value = number;
        lock(&self.core.spaces).insert(tid, space);
        if let Some((socket, file)) = to_send {
            self.give_mailboxes(&thread.space, socket, file);
        }
        if newborn.guest.is_some() {
            thread.space.count_on(self);
        }
        if newborn.kind == Kind::Fresh {
            // Zygotes stay behind: without them nothing starts any more. A container's has its number already.
            if newborn.nursery.is_none() {
                self.core.set_oom_score_adj(tid, 1000);
            }
            // It goes on to take a frame, and rings FRESH with that.
            let mut st = lock(&thread.state);
            st.birth = Some(Birth { cookie: [0; 2], hello: false, result: None });
            st.at = At::Running;
            thread.send(n.id, number, 0);
            drop(newborn.guest.take().and_then(Unborn::born)); // the thread has it
            return;
        }
        self.deliver(thread, newborn);
    }

    /// THREAD: a thread of the process that asked for it.
    pub(crate) fn hello_thread(&'static self, n: &Notification) {
        let tid = n.pid as i32;
        let cookie = [n.data.args[1], n.data.args[2]];
        if let Some(thread) = self.thread(tid)
            && thread.cookie == cookie
            && n.data.args[5] == 1
        {
            let mut st = lock(&thread.state);
            match st.at {
                At::Bell { .. } => st.at = At::Bell { id: n.id },
                _ => thread.send(n.id, st.value, 0),
            }
            return;
        }
        let Some(newborn) = self.core.expected(cookie) else {
            return self.stray(n, "a new thread that nobody waits for");
        };
        let (Kind::Thread { slot }, Some(parent)) = (newborn.kind, newborn.parent.clone()) else {
            self.stray(n, "THREAD of something else than a new thread");
            return self.stillborn(newborn);
        };
        let sibling = host::process::tgkill(parent.space.host_pid(), tid, 0).is_ok();
        let (true, None, Some(mailbox)) = (sibling, self.thread(tid), parent.space.mailbox(slot)) else {
            if self.has_died(n) {
                return self.core.expect(cookie, newborn);
            }
            self.stray(n, "THREAD of something else than a new thread");
            return self.stillborn(newborn);
        };
        let thread = self.admit(parent.space.clone(), tid, slot, cookie, mailbox, n.id, &newborn);
        self.deliver(thread, newborn);
    }

    /// Makes the thread known; it waits in its first doorbell.
    #[allow(clippy::too_many_arguments)]
    fn admit(
        &'static self,
        space: Arc<Space>,
        tid: i32,
        slot: u64,
        cookie: [u64; 2],
        mailbox: Slot,
        id: u64,
        newborn: &Newborn,
    ) -> Arc<Thread> {
        mailbox.reset();
        mailbox.set_registers(&newborn.registers);
        let guest = newborn.guest.as_ref().and_then(Unborn::guest);
        let state = Mutex::new(State::new(self.at_bell(id), guest));
        let core = self.core;
        let thread = Arc::new(Thread {
            core,
            space,
            shard: self,
            host_tid: tid,
            slot,
            cookie,
            mailbox,
            used: AtomicUsize::new(0),
            affinity: Affinity::new(),
            waited: Default::default(),
            trips: Default::default(),
            state,
        });
        thread.space.add(&thread);
        self.add(thread.clone());
        thread.inherit_affinity(newborn);
        thread
    }

    /// Tells the guest, and its parent if that has its own result already.
    fn deliver(&self, thread: Arc<Thread>, newborn: Newborn) {
        if let Some(guest) = newborn.guest.and_then(Unborn::born) {
            guest.born(thread);
        }
        let Some(parent) = newborn.parent else { return };
        let mut st = lock(&parent.state);
        if let Some(birth) = &mut st.birth {
            birth.hello = true;
        }
        let event = birth_done(&mut st);
        let guest = st.guest.clone();
        drop(st);
        if let (Some(event), Some(guest)) = (event, guest) {
            guest.event(&parent, event);
        }
    }

    /// There is no room for the process here, or it has none for us. It ends, and whoever ordered it learns that as of one that the host killed.
    fn unborn(&self, tid: i32, cookie: [u64; 2], newborn: Newborn) {
        queue(Out::Kill(tid));
        match newborn.parent {
            Some(_) => self.core.expect(cookie, newborn), // the keeper will miss it
            None => self.stillborn(newborn),
        }
    }

    /// The newborn broke the protocol before it was born; so its parent's process is not to be trusted either.
    pub(crate) fn stillborn(&self, newborn: Newborn) {
        if let (Kind::Zygote, Some(nursery)) = (newborn.kind, &newborn.nursery) {
            self.dismiss(nursery);
        }
        if let Some(parent) = newborn.parent {
            parent.violation("its child broke the protocol");
        }
    }
}
