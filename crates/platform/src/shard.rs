//! A listener with its zygote and the threads that ring there; takes notifications apart.
//!
//! One listener has one worker at a time, which sync wake-up brings to the core of the guest that calls. Neighbours: `worker` (receives), `thread` (answers),
//! `birth` (first doorbells). Owns the locks of the table of threads, of the zygote's state and of the list of open notifications; none is held while another is taken.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use host::seccomp::notify::{self, CONTINUE, Notification};

use crate::config::count;
use crate::core::Core;
use crate::guest::Event;
use crate::layout::{DOORBELL, TEXT, TRAMPOLINES, bell};
use crate::mailbox::once;
use crate::nursery::ZygoteState;
use crate::outgoing::{Out, queue};
use crate::socket::Table;
use crate::state::{At, Errand, Request, State, Wait};
use crate::sync::{Mutex, Opens, Threads, Zygotes, lock};
use crate::thread::Thread;
use crate::worker::Crew;

const CLONE: i32 = 56;

pub(crate) struct Shard {
    pub core: &'static Core,
    pub number: usize,
    /// The listener, or the receiving end of the socket that takes its place.
    pub doorbell: OwnedFd,
    /// Of the mailbox of all its zygotes, and of the first thread of what they fork.
    pub slot: u64,
    /// Guest processes that were started here by `fresh` or a fork and have not ended.
    pub load: AtomicUsize,
    pub crew: Crew,
    /// The root zygote first, then those of containers.
    pub zygotes: Mutex<Vec<ZygoteState>, Zygotes>,
    threads: Mutex<HashMap<i32, Arc<Thread>, BuildHasherDefault<IdHash>>, Threads>,
    pub by_cookie: Table,
    /// Open notifications of blocked threads: time and thread id.
    pub open: Mutex<BTreeSet<(u64, i32)>, Opens>,
}

/// Of host thread ids, which the host hands out in turn.
#[derive(Default)]
struct IdHash(u64);

impl Hasher for IdHash {
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0 << 8 | u64::from(*b);
        }
    }
    fn write_i32(&mut self, id: i32) {
        self.0 = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Shard {
    pub fn new(
        core: &'static Core,
        number: usize,
        doorbell: OwnedFd,
        slot: u64,
        zygote: ZygoteState,
    ) -> &'static Shard {
        Box::leak(Box::new(Shard {
            core,
            number,
            doorbell,
            slot,
            load: AtomicUsize::new(0),
            crew: Crew::default(),
            zygotes: Mutex::new(vec![zygote]),
            threads: Mutex::default(),
            by_cookie: Table::default(),
            open: Mutex::new(BTreeSet::new()),
        }))
    }

    /// Processes that were started here and have not ended.
    pub fn running_guests(&self) -> usize {
        self.load.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn thread(&self, tid: i32) -> Option<Arc<Thread>> {
        lock(&self.threads).get(&tid).cloned()
    }

    pub fn add(&self, thread: Arc<Thread>) {
        if !self.core.config.listener {
            self.by_cookie.add(&thread);
        }
        lock(&self.threads).insert(thread.host_tid, thread);
    }

    pub fn remove(&self, tid: i32) {
        let thread = lock(&self.threads).remove(&tid);
        if let Some(thread) = thread {
            self.by_cookie.remove(thread.cookie);
        }
    }

    /// Takes one notification.
    pub fn notified(&'static self, n: &Notification) {
        let (tid, nr, ip) = (n.pid as i32, n.data.nr, n.data.instruction_pointer);
        let in_text = ip.wrapping_sub(self.core.region.base + TEXT) <= TRAMPOLINES;
        let thread = self.thread(tid);
        if in_text && nr == DOORBELL as i32 {
            let kind = n.data.args[0];
            match (thread, kind) {
                (_, bell::HELLO) => self.hello(n),
                (_, bell::THREAD) => self.hello_thread(n),
                (Some(thread), _) => self.bell(&thread, n),
                (None, _) => self.zygote_bell(n),
            }
        } else if in_text && nr == CLONE {
            match thread {
                Some(thread) => thread.clone_call(n.id, n.data.args),
                None => self.zygote_clone(n),
            }
        } else if let Some(thread) = thread {
            self.direct(&thread, n);
        } else {
            self.stray(n, "a call of an unknown thread");
        }
    }

    /// Whether a thread has died since its notification was received.
    pub fn has_died(&self, n: &Notification) -> bool {
        match self.core.config.listener {
            true => !notify::is_waiting(self.doorbell.as_fd(), n.id),
            false => host::process::kill(n.pid as i32, 0).is_err(),
        }
    }

    /// An unknown host thread is killed with its process. One that does not wait any more was forgotten because it has died meanwhile.
    pub fn stray(&self, n: &Notification, what: &str) {
        if self.has_died(n) {
            return;
        }
        let tid = n.pid as i32;
        self.core.violation(tid, what);
        queue(Out::Kill(tid));
    }

    /// A call of guest code that came without a signal.
    fn direct(&self, thread: &Arc<Thread>, n: &Notification) {
        let mut request = Request { nr: n.data.nr as u32, args: n.data.args, ip: n.data.instruction_pointer };
        let by_trampoline = request.ip == self.core.called;
        if by_trampoline {
            request.ip = once!(get thread.mailbox, ip); // the guest's own word for it; nothing depends on its truth
        }
        let mut st = lock(&thread.state);
        match st.at {
            At::Running => {
                if let Some((was, value)) = st.lost.take()
                    && was == request
                {
                    return thread.send(n.id, value, 0); // made and answered already; only the answer did not arrive
                }
                thread.is_back(&mut st, false);
                st.at = At::Direct { id: n.id };
                st.request = request;
                st.value = 0;
                st.wait = Wait::None;
            }
            At::Direct { .. } if st.request == request => {
                st.at = At::Direct { id: n.id }; // the host froze the thread: the same call under a new id
                return;
            }
            At::Gone => return,
            _ => {
                drop(st);
                return thread.violation("a call while another is open");
            }
        }
        let guest = st.guest.clone();
        drop(st);
        if self.core.config.polling && self.core.cores.len() > 1 {
            self.core.poller.direct_call(thread);
            if by_trampoline && (self.core.config.eager || thread.space.pace.is_fast(thread.is_watched())) {
                self.core.poller.want(self.core, thread);
            }
        }
        count(&self.core.counters.direct);
        self.core
            .trace(|| format!("{} direct {} {:x?} ip {:x}", thread.host_tid, request.nr, request.args, request.ip));
        let Some(guest) = guest else { return thread.exit() };
        let Request { nr, args, ip } = request;
        if by_trampoline {
            crate::window::open(thread, nr, &args, once!(get thread.mailbox, given));
        }
        guest.event(thread, Event::Syscall { nr, args, ip, framed: false });
        crate::window::end();
    }

    /// A doorbell of a known thread.
    fn bell(&'static self, thread: &Arc<Thread>, n: &Notification) {
        let [kind, c0, c1, a, b, seq] = n.data.args;
        if thread.cookie != [c0, c1] {
            return thread.violation("a doorbell with a wrong cookie");
        }
        let mut st = lock(&thread.state);
        if seq == st.seq && self.core.config.listener {
            // The host froze the thread while it waited: the same doorbell under a new id.
            match st.at {
                At::Bell { .. } => st.at = At::Bell { id: n.id },
                At::Gone => {}
                _ => thread.send(n.id, st.value, 0),
            }
            return;
        }
        if seq != st.seq.wrapping_add(1)
            || matches!(st.at, At::Direct { .. } | At::Polled | At::Bell { .. } | At::Parked)
            || st.grant.is_some() && !self.core.config.listener
        {
            drop(st);
            return thread.violation("a doorbell out of turn");
        }
        if matches!(st.at, At::Gone) {
            return;
        }
        st.seq = seq;
        st.value = 0;
        let was = std::mem::replace(&mut st.at, self.at_bell(n.id));
        if kind != bell::RESULT && !matches!(was, At::Coming(Some(_))) {
            thread.is_back(&mut st, false);
        }
        self.core.trace(|| format!("{} bell {kind} {a:x} {b:x}", thread.host_tid));
        let event = match kind {
            bell::FRESH | bell::KICK if st.birth.as_ref().is_some_and(|b| b.cookie == [0; 2]) => {
                let guest = st.guest.clone();
                drop(st);
                return self.fresh(thread, guest);
            }
            bell::KICK => {
                if let (Wait::Stub(result), 1) = (&mut st.wait, b) {
                    *result = Some(a as i64);
                }
                match kicked(thread, &mut st, was) {
                    Some(event) => event,
                    None => return,
                }
            }
            _ if matches!(was, At::Coming(_)) => {
                drop(st);
                return thread.violation("did not come when called");
            }
            bell::CALL => {
                let mb = thread.mailbox;
                st.request = Request { nr: once!(get mb, nr), args: once!(get mb, args), ip: once!(get mb, ip) };
                st.wait = Wait::None;
                st.result_due = false;
                count(&self.core.counters.trapped);
                let Request { nr, args, ip } = st.request;
                self.core.trace(|| format!("{} trapped {nr} {args:x?} ip {ip:x}", thread.host_tid));
                Event::Syscall { nr, args, ip, framed: true }
            }
            bell::FAULT => {
                let [sig, code, addr, ip, sp, trapno, err, in_stub] = once!(get thread.mailbox, fault);
                count(&self.core.counters.faults);
                let in_stub = in_stub != 0 || ip.wrapping_sub(self.core.region.base) < crate::layout::REGION_LEN;
                Event::Fault { sig: sig as i32, code: code as i32, addr, ip, sp, trapno, err, in_stub }
            }
            bell::RESULT if st.result_due => match self.result(thread, &mut st, a as i64, b) {
                Some(event) => event,
                None => return,
            },
            _ => {
                drop(st);
                return thread.violation("a doorbell of an unexpected kind");
            }
        };
        let guest = st.guest.clone();
        drop(st);
        let Some(guest) = guest else { return thread.exit() };
        guest.event(thread, event);
    }

    /// The end of a script, fork, spawn or signal frame.
    fn result(&self, thread: &Arc<Thread>, st: &mut State, value: i64, at: u64) -> Option<Event> {
        st.result_due = false;
        st.grant = None;
        let errand = st.errand;
        thread.is_back(st, true);
        if let Some(Errand::Read(_)) = errand {
            st.kicked = false; // what came meanwhile was noted by the stub, and is looked at now
            st.rest = None;
            return Some(Event::Done { result: value, at: 0 });
        }
        if let Some((child, errno)) = st.refused.take() {
            child.give_up(st);
            return Some(Event::Done { result: errno, at: 0 });
        }
        if let Some(birth) = &mut st.birth {
            if birth.result.is_none() {
                birth.result = Some(value);
            }
            if value < 0 && !birth.hello {
                let cookie = birth.cookie;
                st.birth = None;
                if let Some(newborn) = self.core.expected(cookie) {
                    if let crate::core::Kind::Thread { slot } = newborn.kind {
                        thread.space.return_slot(slot);
                    }
                    newborn.give_up(st);
                }
                return Some(Event::Done { result: value.max(-4095), at: 0 });
            }
            return birth_done(st);
        }
        if let Some(rest) = &st.rest {
            let complete = at == u64::from(rest.round);
            if complete && rest.ops.len() > 0 {
                thread.next_round(st);
                return None;
            }
            let at = rest.done.saturating_add(at as u32);
            st.rest = None;
            return Some(Event::Done { result: value, at });
        }
        Some(Event::Done { result: value, at: 0 })
    }

    /// An answer found its notification gone: the thread died, or the host froze it and it comes again.
    pub fn answer_lost(&self, tid: i32, _id: u64, value: i64, flags: u32) {
        let Some(thread) = self.thread(tid) else { return };
        let mut st = lock(&thread.state);
        if flags & CONTINUE == 0 {
            st.lost = Some((st.request, value));
        }
    }
}

/// A thread came by a signal. `None`: it was answered here.
fn kicked(thread: &Thread, st: &mut State, was: At) -> Option<Event> {
    st.kicked = false;
    count(&thread.core.counters.kicks);
    match was {
        At::Coming(Some(answer)) => {
            thread.perform(st, answer);
            None
        }
        At::Coming(None) => {
            thread.send_to_park(st);
            None
        }
        _ => Some(Event::Kicked),
    }
}

/// Both halves of a birth are there: the child rang, and the parent knows the result.
pub(crate) fn birth_done(st: &mut State) -> Option<Event> {
    let birth = st.birth.as_ref()?;
    if !birth.hello {
        return None;
    }
    let result = birth.result?;
    st.birth = None;
    Some(Event::Done { result: result.clamp(-4095, 0), at: 0 })
}
