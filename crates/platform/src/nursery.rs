//! Where fresh stub processes come from: on each shard its root zygote, and, for containers that have a cgroup of their own on the host, a zygote of theirs. That one is forked from the
//! root zygote when it is first wanted, so it inherits the listener, and is moved into the container's cgroup before it forks: all that descends from it is charged there.
//!
//! To its forker a container's zygote is a stub process like any other, with a memory file of its own, which no guest maps. Neighbours: `zygote` (makes the root ones), `birth` (first
//! doorbells), `reaper`. Owns the lock of a shard's list of zygotes, under which nothing else but the pool's is taken.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use abi::Errno;
use host::process::has_ended;
use host::seccomp::notify::{CONTINUE, Notification};

use crate::answer::Registers;
use crate::birth::FORK;
use crate::config::count;
use crate::core::{Core, Kind, Newborn};
use crate::guest::Guest;
use crate::layout::{bell, order};
use crate::mailbox::{Mailboxes, Slot, once};
use crate::outgoing::{Out, queue};
use crate::shard::Shard;
use crate::state::{At, Grant};
use crate::sync::lock;
use crate::thread::Thread;
use crate::tracer;
use crate::unborn::Unborn;

/// Fresh processes that wait for a guest, once a zygote has started more than one.
const POOL: usize = 1;
/// By how much more than the kernel process and the gofer a container's processes invite the host's OOM killer: a tenth of the memory that is shared out.
const ADVANTAGE: i32 = 100;

/// A container's place on the host.
pub struct Nursery {
    /// `cgroup.procs` of its cgroups, open for writing by who may do that.
    entrances: Vec<OwnedFd>,
    oom_score_adj: i32,
    closed: AtomicBool,
}

impl Nursery {
    /// `oom_score_adj`: what its processes shall have on the host. It is raised above the kernel process' own, which lives on when one of theirs is killed.
    pub fn new(entrances: Vec<OwnedFd>, oom_score_adj: i32) -> Arc<Nursery> {
        Arc::new(Nursery { entrances, oom_score_adj, closed: AtomicBool::new(false) })
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Moves a process of ours here, with what it will fork. Sleeps for milliseconds.
    fn take_in(&self, core: &Core, pid: i32) -> Result<(), Errno> {
        let least = core.oom_score_adj().saturating_add(ADVANTAGE);
        core.set_oom_score_adj(pid, self.oom_score_adj.max(least).min(1000));
        let number = pid.to_string();
        for entrance in &self.entrances {
            host::rustix::io::write(entrance, number.as_bytes()).map_err(host::errno)?;
        }
        Ok(())
    }
}

/// How far a zygote has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Wanted,
    Ordered,
    /// It waits in its first doorbell to be moved.
    Born,
    Ready,
    /// It was killed and is not reaped yet.
    Doomed,
}

/// A zygote as its shard knows it.
pub(crate) struct ZygoteState {
    /// None: the root zygote.
    nursery: Option<Arc<Nursery>>,
    stage: Stage,
    /// 0 until it is born.
    pid: i32,
    cookie: [u64; 2],
    mailbox: Option<Slot>,
    /// What the mailbox lies in; that of a root zygote is the seed's.
    file: Option<Mailboxes>,
    /// Its first doorbell and what that is answered with.
    hello: (u64, i64),
    /// It waits for work, in a futex on its mailbox.
    idle: bool,
    /// It may clone once.
    grant: bool,
    ordered: Option<[u64; 2]>,
    /// Processes that it forked and that have not rung yet.
    children: Vec<(i32, [u64; 2])>,
    waiting: VecDeque<Arc<dyn Guest>>,
    /// Fresh processes that wait, parked, for a guest.
    pool: Vec<Arc<Thread>>,
    /// Fresh processes are in demand.
    used: bool,
    /// Somebody has wanted one before.
    asked: bool,
}

impl ZygoteState {
    fn new(nursery: Option<Arc<Nursery>>, stage: Stage, pid: i32, cookie: [u64; 2]) -> ZygoteState {
        ZygoteState {
            nursery,
            stage,
            pid,
            cookie,
            mailbox: None,
            file: None,
            hello: (0, 0),
            idle: false,
            grant: false,
            ordered: None,
            children: Vec::new(),
            waiting: VecDeque::new(),
            pool: Vec::new(),
            used: false,
            asked: false,
        }
    }

    /// A shard's root zygote, which waits for work.
    pub fn root(pid: i32, cookie: [u64; 2], mailbox: Slot) -> ZygoteState {
        ZygoteState { mailbox: Some(mailbox), idle: true, ..Self::new(None, Stage::Ready, pid, cookie) }
    }

    fn is_of(&self, nursery: Option<&Nursery>) -> bool {
        let (mine, theirs) = (self.nursery.as_deref().map(std::ptr::from_ref), nursery.map(std::ptr::from_ref));
        mine == theirs && self.stage != Stage::Doomed
    }

    fn has_demand(&self) -> bool {
        !self.waiting.is_empty() || self.used && self.pool.len() < POOL
    }

    /// A process of the pool. The host may have killed those there, which the reaper has not seen yet.
    fn pooled(&mut self) -> Option<Arc<Thread>> {
        std::iter::from_fn(|| self.pool.pop()).find(|thread| !has_ended(thread.space.host_pid()))
    }

    /// As above: an order would be lost with it.
    fn is_dead(&self) -> bool {
        self.nursery.is_some() && has_ended(self.pid)
    }
}

/// What a zygote is told to fork.
struct Order {
    zygote: i32,
    mailbox: Slot,
    cookie: [u64; 2],
    newborn: Newborn,
}

impl Shard {
    /// Wants a fresh process for a guest: one of the pool, or a new one.
    pub(crate) fn want(&'static self, guest: Arc<dyn Guest>, nursery: Option<&Arc<Nursery>>) {
        let busy = self.running_guests() > 0;
        let pooled = {
            let mut zygotes = lock(&self.zygotes);
            if nursery.is_some_and(|nursery| nursery.closed.load(Ordering::Acquire)) {
                return queue(Out::Gone(guest));
            }
            if !zygotes.iter().any(|z| z.is_of(nursery.map(Arc::as_ref))) {
                zygotes.push(ZygoteState::new(nursery.cloned(), Stage::Wanted, 0, [0; 2]));
            }
            let Some(z) = zygotes.iter_mut().find(|z| z.is_of(nursery.map(Arc::as_ref))) else { return };
            // No pool for the one process that a small sandbox, or a small container, starts with.
            z.used = if nursery.is_some() { z.asked } else { busy };
            z.asked = true;
            let pooled = z.pooled();
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
                return self.want(guest, nursery);
            }
            st.guest = Some(guest);
            thread.bind();
            thread.have_it_ring(&mut st);
        }
        self.feed();
    }

    /// Gives each zygote that waits for work its next order.
    fn feed(&'static self) {
        while let Some(Order { zygote, mailbox, cookie, newborn }) = self.next_order() {
            crate::affinity::bind_zygote(self.core, zygote);
            let kind = newborn.kind;
            let what = if kind == Kind::Zygote { order::ZYGOTE } else { order::FRESH };
            if what == order::FRESH {
                count(&self.core.counters.fresh);
            }
            self.core.expect(cookie, newborn);
            once!(put mailbox, arg, [cookie[0], cookie[1], what, 0, 0, 0, 0, 0, 0, 0]);
            if self.core.config.listener {
                mailbox.park().store(1, Ordering::Release);
                queue(Out::Unpark(mailbox.park()));
                continue;
            }
            let (grant, park) = (Grant { flags: FORK[0], alone: true }, mailbox.park());
            let order =
                tracer::Order { shard: self, pid: zygote, tid: zygote, parent: None, grant, kind, cookie, park };
            queue(Out::Birth(Box::new(order)));
        }
    }

    /// What a zygote was ordered was not begun: it waits as before.
    pub(crate) fn not_ordered(&'static self, pid: i32, newborn: Option<Newborn>) {
        if let Some(z) = lock(&self.zygotes).iter_mut().find(|z| z.pid == pid) {
            (z.idle, z.grant, z.ordered) = (z.stage == Stage::Ready, false, None);
        }
        if let Some(newborn) = newborn {
            self.stillborn(newborn);
        }
        self.feed();
    }

    fn next_order(&self) -> Option<Order> {
        let mut zygotes = lock(&self.zygotes);
        let root_is_idle = zygotes.first().is_some_and(|root| root.idle);
        let wanted = zygotes.iter_mut().find(|z| root_is_idle && z.stage == Stage::Wanted);
        let (kind, nursery) = match wanted {
            Some(wanted) => {
                wanted.stage = Stage::Ordered;
                (Kind::Zygote, wanted.nursery.clone())
            }
            None => (Kind::Fresh, None),
        };
        let z = match kind {
            Kind::Zygote => zygotes.first_mut()?,
            _ => zygotes.iter_mut().find(|z| z.idle && z.has_demand() && !z.is_dead())?,
        };
        let (zygote, mailbox, cookie) = (z.pid, z.mailbox?, crate::zygote::cookie().ok()?);
        let (guest, nursery) = match kind {
            Kind::Zygote => (None, nursery),
            _ => (z.waiting.pop_front().map(Unborn::from), z.nursery.clone()),
        };
        (z.idle, z.grant, z.ordered) = (false, true, Some(cookie));
        let (registers, since) = (Registers::default(), Instant::now());
        Some(Order {
            zygote,
            mailbox,
            cookie,
            newborn: Newborn { kind, guest, nursery, parent: None, registers, since, tid: None },
        })
    }

    /// A doorbell of a thread that is not in the table: a zygote's, or a violation.
    pub(crate) fn zygote_bell(&'static self, n: &Notification) {
        let [kind, c0, c1, result, ..] = n.data.args;
        let (tid, result) = (n.pid as i32, result as i64);
        let ordered = {
            let mut zygotes = lock(&self.zygotes);
            let Some(z) = zygotes.iter_mut().find(|z| z.pid == tid && z.cookie == [c0, c1]) else {
                drop(zygotes);
                return self.stray(n, "a doorbell of an unknown thread");
            };
            z.grant = false;
            z.idle = z.stage == Stage::Ready;
            let ordered = z.ordered.take();
            z.children.extend(ordered.filter(|_| result > 0).map(|cookie| (result as i32, cookie)));
            ordered
        };
        queue(Out::Send { shard: self, tid, id: n.id, value: 0, flags: 0 });
        if let Some(cookie) = ordered.filter(|_| kind == bell::RESULT) {
            if result < 0 {
                eprintln!("stockade: no new process: the host says error {}", -result);
                self.miscarried(cookie);
            } else if !self.core.is_expected(cookie) {
                self.has_rung(cookie); // before its zygote said so
            } else if host::process::kill(result as i32, 0) == Err(Errno::ESRCH) {
                self.lost(result as i32); // killed, and reaped, before its zygote said so
            }
        }
        self.feed();
    }

    pub(crate) fn zygote_clone(&'static self, n: &Notification) {
        let tid = n.pid as i32;
        let granted = {
            let mut zygotes = lock(&self.zygotes);
            let z = zygotes.iter_mut().find(|z| z.pid == tid && z.grant && n.data.args == FORK);
            z.map(|z| z.grant = false).is_some()
        };
        if granted {
            queue(Out::Send { shard: self, tid, id: n.id, value: 0, flags: CONTINUE });
        } else {
            self.stray(n, "clone by an unknown thread");
        }
    }

    /// HELLO of a container's zygote.
    pub(crate) fn zygote_hello(&'static self, n: &Notification, cookie: [u64; 2], newborn: Newborn) {
        let tid = n.pid as i32;
        let Some(nursery) = newborn.nursery.clone() else { return self.stray(n, "a zygote of no container") };
        let Ok(mailboxes) = self.core.pool.take() else {
            queue(Out::Kill(tid));
            return self.stillborn(newborn);
        };
        let Ok((number, to_send)) = self.hand_mailboxes(n, &mailboxes.file) else {
            self.core.pool.give(mailboxes, &[]);
            queue(Out::Kill(tid));
            return self.stillborn(newborn);
        };
        let mailbox = mailboxes.slot(self.slot);
        mailbox.reset();
        {
            let mut zygotes = lock(&self.zygotes);
            if !zygotes.iter().any(|z| z.is_of(Some(&nursery)) && z.stage == Stage::Ordered) {
                // The container has gone meanwhile. It still holds the memory file.
                zygotes.push(ZygoteState {
                    file: Some(mailboxes),
                    ..ZygoteState::new(Some(nursery), Stage::Doomed, tid, cookie)
                });
                return queue(Out::Kill(tid));
            }
            if let Some(z) = zygotes.iter_mut().find(|z| z.is_of(Some(&nursery))) {
                (z.stage, z.pid, z.cookie, z.hello) = (Stage::Born, tid, cookie, (n.id, number));
                (z.mailbox, z.file) = (Some(mailbox), Some(mailboxes));
            }
        }
        let moved = crate::worker::block_in_place(|| nursery.take_in(self.core, tid));
        if let Err(errno) = moved {
            eprintln!("stockade: a container gets no processes: moving its zygote into its cgroup: {errno}");
            self.dismiss(&nursery);
        }
        if let Some(z) = lock(&self.zygotes).iter_mut().find(|z| z.pid == tid && z.stage == Stage::Born) {
            (z.stage, z.idle) = (Stage::Ready, true);
            let (id, value) = z.hello;
            queue(match to_send {
                Some((socket, file)) => Out::Give { core: self.core, pid: tid, socket, files: vec![file] },
                None => Out::Send { shard: self, tid, id, value, flags: 0 },
            });
        }
        self.feed();
    }

    /// The host froze a zygote while it waited in its first doorbell, which comes under a new id. False: it is no zygote.
    pub(crate) fn zygote_hello_again(&'static self, n: &Notification, cookie: [u64; 2]) -> bool {
        let tid = n.pid as i32;
        let mut zygotes = lock(&self.zygotes);
        let z = zygotes.iter_mut().find(|z| z.pid == tid && z.cookie == cookie && z.nursery.is_some());
        let Some(z) = z else { return false };
        z.hello.0 = n.id;
        if z.stage == Stage::Ready {
            queue(Out::Send { shard: self, tid, id: n.id, value: z.hello.1, flags: 0 });
        }
        true
    }

    /// A fresh process is ready: it belongs to a guest, or waits for one.
    pub(crate) fn fresh(&'static self, thread: &Arc<Thread>, guest: Option<Arc<dyn Guest>>) {
        let guest = guest.or_else(|| {
            let mut zygotes = lock(&self.zygotes);
            let waiting = match zygotes.iter_mut().find(|z| z.is_of(thread.space.nursery.as_deref())) {
                Some(z) => {
                    let waiting = z.waiting.pop_front();
                    if waiting.is_none() {
                        z.pool.push(thread.clone());
                    }
                    waiting
                }
                None => {
                    thread.space.kill(); // its container has gone
                    None
                }
            };
            drop(zygotes);
            let guest = waiting?;
            lock(&thread.state).guest = Some(guest.clone());
            Some(guest)
        });
        let Some(guest) = guest else { return thread.send_to_park(&mut lock(&thread.state)) };
        thread.space.count_on(self);
        lock(&thread.state).birth = None;
        guest.born(thread.clone());
    }

    /// Ends a container's zygote here, and what waits for it.
    pub(crate) fn dismiss(&self, nursery: &Nursery) {
        let mut zygotes = lock(&self.zygotes);
        let Some(z) = zygotes.iter_mut().find(|z| z.is_of(Some(nursery))) else { return };
        let (waiting, pool) = (std::mem::take(&mut z.waiting), std::mem::take(&mut z.pool));
        z.idle = false;
        z.stage = Stage::Doomed;
        if z.pid == 0 {
            zygotes.retain(|z| z.stage != Stage::Doomed || z.pid != 0);
        } else {
            queue(Out::Kill(z.pid));
        }
        drop(zygotes);
        waiting.into_iter().for_each(|guest| queue(Out::Gone(guest)));
        pool.iter().for_each(|thread| thread.space.kill());
    }

    /// A host process that is none of the table's has ended, and was not reaped: a container's zygote, or a child of one that never rang.
    pub(crate) fn lost(&'static self, pid: i32) {
        let mut zygotes = lock(&self.zygotes);
        let child = zygotes.iter().flat_map(|z| &z.children).find(|child| child.0 == pid).copied();
        if let Some((_, cookie)) = child {
            drop(zygotes);
            self.has_rung(cookie);
            return self.miscarried(cookie);
        }
        let Some(at) = zygotes.iter().position(|z| z.pid == pid) else { return };
        let mut gone = zygotes.swap_remove(at);
        if let Some(root) = zygotes.first_mut() {
            root.children.append(&mut gone.children);
        }
        drop(zygotes);
        if let Some(file) = gone.file.take() {
            self.core.pool.give(file, &[(self.slot, 0)]);
        }
        if let Some(cookie) = gone.ordered {
            self.miscarried(cookie);
        }
        gone.pool.iter().for_each(|thread| thread.space.kill());
        // The host may have killed it for want of memory: those that wait get another one, unless it did not even come to work.
        for guest in gone.waiting {
            if gone.stage == Stage::Ready {
                self.want(guest, gone.nursery.as_ref());
            } else {
                queue(Out::Gone(guest));
            }
        }
    }

    /// A child of a zygote will not come.
    fn miscarried(&self, cookie: [u64; 2]) {
        if let Some(newborn) = self.core.expected(cookie) {
            self.stillborn(newborn);
        }
    }

    /// A child of a zygote is known by its own doorbell.
    pub(crate) fn has_rung(&self, cookie: [u64; 2]) {
        for z in lock(&self.zygotes).iter_mut() {
            z.children.retain(|child| child.1 != cookie);
        }
    }

    /// A process of the pool has ended.
    pub(crate) fn forget_pooled(&self, thread: &Arc<Thread>) {
        for z in lock(&self.zygotes).iter_mut() {
            z.pool.retain(|t| !Arc::ptr_eq(t, thread));
        }
    }

    pub(crate) fn is_root_zygote(&self, pid: i32) -> bool {
        lock(&self.zygotes).first().is_some_and(|root| root.pid == pid)
    }

    pub(crate) fn zygote_pids(&self) -> Vec<i32> {
        lock(&self.zygotes).iter().map(|z| z.pid).collect()
    }

    pub(crate) fn waiting_guests(&self) -> usize {
        lock(&self.zygotes).iter().map(|z| z.waiting.len()).sum()
    }
}
