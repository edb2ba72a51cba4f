//! First doorbells: of forked and fresh processes, of threads, and the zygotes that fresh ones come from.
//!
//! A newborn shows the cookie that was made for it; who it is (a process of its own, or a thread of its parent's) is asked of the host. Neighbours: `shard`, `perform`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use host::seccomp::notify::{CONTINUE, Notification};

use crate::affinity::Affinity;
use crate::answer::Registers;
use crate::config::count;
use crate::core::{Kind, Newborn};
use crate::guest::Guest;
use crate::layout::bell;
use crate::mailbox::{Slot, once};
use crate::outgoing::{Out, queue};
use crate::shard::{Shard, birth_done};
use crate::space::Space;
use crate::sync::{Mutex, lock};
use crate::thread::{At, Birth, State, Thread};

/// Fresh processes that wait for a guest, once a shard has started more than one.
const POOL: usize = 1;

const FORK: [u64; 6] = [0x8000 | 17, 0, 0, 0, 0, 0];

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
        let Some(newborn) = self.core.expected(cookie) else {
            return self.stray(n, "HELLO with an unknown cookie");
        };
        let leader = host::process::tgkill(tid, tid, 0).is_ok();
        if matches!(newborn.kind, Kind::Thread { .. }) || !leader || self.thread(tid).is_some() {
            if self.has_died(n) {
                return self.core.expect(cookie, newborn); // the keeper will miss it
            }
            self.stray(n, "HELLO of something else than a new process");
            return self.stillborn(newborn);
        }
        let slot = match &newborn.parent {
            Some(parent) => parent.slot,
            None => lock(&self.zygote).slot,
        };
        let Ok(mailboxes) = self.core.pool.take() else {
            self.stray(n, "no memory file for its mailboxes");
            return self.stillborn(newborn);
        };
        let Ok(number) = Thread::hand_over(self, n.id, &mailboxes.file) else {
            self.core.pool.give(mailboxes, &[]);
            queue(Out::Kill(tid));
            return self.stillborn(newborn);
        };
        let mailbox = mailboxes.slot(slot);
        let space = Arc::new(Space::new(self.core, tid, mailboxes, slot));
        if let Some(parent) = &newborn.parent {
            space.inherit_sites(&parent.space);
        }
        let thread = self.admit(space.clone(), tid, slot, cookie, mailbox, n.id, &newborn);
        lock(&thread.state).value = number;
        lock(&self.core.spaces).insert(tid, space);
        if newborn.guest.is_some() {
            thread.space.count_on(self);
        }
        if newborn.kind == Kind::Fresh {
            self.core.volunteer(tid);
            // It goes on to take a frame, and rings FRESH with that.
            let mut st = lock(&thread.state);
            st.birth = Some(Birth { cookie: [0; 2], hello: false, result: None });
            st.at = At::Running;
            thread.send(n.id, number, 0);
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
            return self.stray(n, "THREAD with an unknown cookie");
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
        let state = Mutex::new(State::new(At::Bell { id }, newborn.guest.clone()));
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
            state,
        });
        thread.space.add(&thread);
        self.add(thread.clone());
        thread.inherit_affinity(newborn);
        thread
    }

    /// Tells the guest, and its parent if that has its own result already.
    fn deliver(&self, thread: Arc<Thread>, newborn: Newborn) {
        if let Some(guest) = newborn.guest {
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

    /// The newborn broke the protocol before it was born; so its parent's process is not to be trusted either.
    fn stillborn(&self, newborn: Newborn) {
        if let Some(parent) = newborn.parent {
            parent.violation("its child broke the protocol");
        }
        if let Some(guest) = newborn.guest {
            guest.gone(libc::SIGKILL);
        }
    }

    /// A doorbell of a thread that is not in the table: the zygote's, or a violation.
    pub(crate) fn zygote_bell(&'static self, n: &Notification) {
        let [kind, c0, c1, result, ..] = n.data.args;
        let tid = n.pid as i32;
        let mut z = lock(&self.zygote);
        if z.pid != tid || z.cookie != [c0, c1] {
            drop(z);
            return self.stray(n, "a doorbell of an unknown thread");
        }
        z.grant = false;
        z.idle = true;
        let ordered = z.ordered.take();
        drop(z);
        queue(Out::Send { shard: self, tid, id: n.id, value: 0, flags: 0 });
        if kind == bell::RESULT && (result as i64) < 0 {
            eprintln!("stockade: no new process: the host says error {}", -(result as i64));
            if let Some(newborn) = ordered.and_then(|c| self.core.expected(c)) {
                self.stillborn(newborn);
            }
        }
        self.feed();
    }

    pub(crate) fn zygote_clone(&'static self, n: &Notification) {
        let tid = n.pid as i32;
        let mut z = lock(&self.zygote);
        if z.pid == tid && z.grant && n.data.args == FORK {
            z.grant = false;
            queue(Out::Send { shard: self, tid, id: n.id, value: 0, flags: CONTINUE });
        } else {
            drop(z);
            self.stray(n, "clone by an unknown thread");
        }
    }

    /// Gives the zygote its next order, if it waits for one.
    pub(crate) fn feed(&'static self) {
        let mut z = lock(&self.zygote);
        let wanted = !z.waiting.is_empty() || z.used && z.pool.len() < POOL;
        if !wanted || !z.idle {
            return;
        }
        let Ok(cookie) = crate::zygote::cookie() else { return };
        let guest = z.waiting.pop_front();
        z.idle = false;
        z.ordered = Some(cookie);
        z.grant = true;
        let (slot, pid) = (z.slot, z.pid);
        drop(z);
        crate::affinity::bind_zygote(self.core, pid);
        let mailbox = lock(&self.core.seed).mailboxes.slot(slot);
        count(&self.core.counters.fresh);
        let newborn =
            Newborn { kind: Kind::Fresh, guest, parent: None, registers: Registers::default(), since: Instant::now() };
        self.core.expect(cookie, newborn);
        once!(put mailbox, arg, [cookie[0], cookie[1], 0, 0, 0, 0, 0, 0, 0, 0]);
        mailbox.park().store(1, Ordering::Release);
        queue(Out::Unpark(mailbox.park()));
    }

    /// Wants a fresh process for a guest: one of the pool, or a new one.
    pub(crate) fn want(&'static self, guest: Arc<dyn Guest>) {
        let pooled = {
            let mut z = lock(&self.zygote);
            z.used = self.running_guests() > 0; // no pool for the one process that a small sandbox starts with
            let pooled = z.pool.pop();
            if pooled.is_none() {
                z.waiting.push_back(guest.clone());
            }
            pooled
        };
        if let Some(thread) = pooled {
            // It rings again, so that `born` is called by a worker.
            let mut st = lock(&thread.state);
            if matches!(st.at, At::Gone) {
                drop(st);
                return self.want(guest);
            }
            st.guest = Some(guest);
            thread.bind();
            thread.have_it_ring(&mut st);
        }
        self.feed();
    }

    /// A fresh process is ready: it belongs to a guest, or waits for one.
    pub(crate) fn fresh(&'static self, thread: &Arc<Thread>, guest: Option<Arc<dyn Guest>>) {
        let guest = match guest {
            Some(guest) => guest,
            None => {
                let mut z = lock(&self.zygote);
                match z.waiting.pop_front() {
                    Some(guest) => {
                        drop(z);
                        lock(&thread.state).guest = Some(guest.clone());
                        guest
                    }
                    None => {
                        z.pool.push(thread.clone());
                        drop(z);
                        thread.send_to_park(&mut lock(&thread.state));
                        return;
                    }
                }
            }
        };
        thread.space.count_on(self);
        lock(&thread.state).birth = None;
        guest.born(thread.clone());
    }
}
