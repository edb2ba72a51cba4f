//! Writes answers into the mailbox of a thread that waits in the stub.
//!
//! Neighbours: `thread` (decides by which way), the stub's handler.rs (does it). Runs under the thread's lock.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::answer::{Arg, ForkSpec, Op, Registers, Script, SignalFrame, SpawnSpec, Then};
use crate::config::count;
use crate::core::{Kind, Newborn};
use crate::layout::{Call, Frame, MAX_CALLS, MAY_FAIL, WINDOW_LEN, op, pseudo, then};
use crate::mailbox::once;
use crate::outgoing::{Out, queue};
use crate::state::{Answer, At, Birth, Grant, Rest, State, Wait};
use crate::thread::Thread;
use crate::tracer::Order;
use crate::unborn::Unborn;

/// CLONE_PARENT | SIGCHLD, as the stub passes it.
const FORK_FLAGS: u64 = 0x8000 | 17;
/// VM FS FILES SIGHAND THREAD SYSVSEM SETTLS CHILD_CLEARTID, as the stub passes it.
const THREAD_FLAGS: u64 = 0x2d_0f00;

const PREAD64: u32 = 17;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;

impl Thread {
    /// Gives an answer to a thread that waits in a doorbell or is parked.
    pub(crate) fn perform(&self, st: &mut State, answer: Answer) {
        let mb = self.mailbox;
        st.result_due = false;
        match answer {
            Answer::Ret(value) => {
                once!(put mb, ret, value as u64);
                self.go(st, op::RET);
            }
            Answer::RetKick(value) => {
                once!(put mb, ret, value as u64);
                self.go(st, op::RET_KICK);
            }
            Answer::Frame => {
                once!(put mb, ret, u64::from(st.request.nr));
                self.go(st, op::RET_KICK);
            }
            Answer::Resume => self.go(st, op::RESUME),
            Answer::Registers(r) => {
                mb.set_registers(&r);
                self.go(st, op::REGISTERS);
            }
            Answer::Signal(frame) => {
                once!(put mb, frame, describe(&frame));
                st.result_due = true;
                self.go(st, op::SIGNAL);
            }
            Answer::Script(Script { ops, then }) => {
                st.rest = Some(Rest { ops: ops.into_iter(), then, done: 0, round: 0, files: 0 });
                self.next_round(st);
            }
            Answer::Wait(wait) => {
                let (timeout, (s, ns)) = (wait.until.is_some(), wait.until.unwrap_or_default());
                let words = [
                    wait.addr,
                    wait.op.into(),
                    wait.value.into(),
                    timeout.into(),
                    s as u64,
                    ns as u64,
                    wait.bits.into(),
                ];
                for (i, word) in words.into_iter().enumerate() {
                    once!(put mb, arg[i], word);
                }
                st.wait = Wait::Stub(None);
                self.go(st, op::WAIT);
            }
            Answer::Read(read) => {
                let pread = Op::call(PREAD64, [read.number.into(), read.addr, read.len, read.at, 0, 0]);
                self.perform(st, Answer::Script(Script { ops: vec![pread], then: Then::Report }));
            }
            Answer::Fork(spec) => self.order_fork(st, spec),
            Answer::Spawn(spec) => self.order_spawn(st, spec),
            Answer::Exit => {
                self.go(st, op::EXIT);
                self.leave(st);
            }
        }
    }

    /// Lets the thread read its mailbox.
    pub(crate) fn go(&self, st: &mut State, what: u32) {
        once!(put self.mailbox, op, what);
        if std::mem::take(&mut st.kick_again) {
            st.kicked = true;
            self.queue_kick();
        }
        match std::mem::replace(&mut st.at, At::Running) {
            At::Bell { id } => self.send(id, st.value, 0),
            _ => {
                self.mailbox.park().store(1, Ordering::Release);
                queue(Out::Unpark(self.mailbox.park()));
            }
        }
    }

    /// As `go`, to its clone call; without a listener when the tracer watches it.
    fn go_to_birth(&self, st: &mut State, what: u32, kind: Kind, cookie: [u64; 2]) {
        let (Some(grant), false) = (st.grant, self.core.config.listener) else { return self.go(st, what) };
        once!(put self.mailbox, op, what);
        st.at = At::Running;
        let parent = self.shard.thread(self.host_tid);
        let (pid, tid, park) = (self.space.host_pid(), self.host_tid, self.mailbox.park());
        queue(Out::Birth(Box::new(Order { shard: self.shard, pid, tid, parent, grant, kind, cookie, park })));
    }

    /// Has a thread that waits ring again.
    pub(crate) fn have_it_ring(&self, st: &mut State) {
        self.go(st, op::RING);
    }

    /// Has a parked thread ring, because its answer needs an open notification.
    pub(crate) fn ring_again(&self, st: &mut State, answer: Answer) {
        if !self.core.config.listener {
            return self.give_files(st, answer);
        }
        self.go(st, op::RING);
        st.at = At::Coming(Some(answer));
    }

    /// Answers PARK to a thread that waits in a doorbell.
    pub(crate) fn send_to_park(&self, st: &mut State) {
        if let At::Bell { id } = st.at {
            count(&self.core.counters.parks);
            self.mailbox.park().store(0, Ordering::Relaxed);
            once!(put self.mailbox, op, op::PARK);
            st.at = At::Parked;
            self.send(id, st.value, 0);
        }
    }

    /// Writes as many operations as fit, and how it goes on.
    pub(crate) fn next_round(&self, st: &mut State) {
        let Some(mut rest) = st.rest.take() else { return };
        let mb = self.mailbox;
        let mut window = 0usize;
        let mut n = 0usize;
        let mut ops = std::mem::take(&mut rest.ops).collect::<std::collections::VecDeque<Op>>();
        while n < MAX_CALLS
            && let Some(op) = ops.pop_front()
        {
            let call = match op {
                Op::Call { nr, args, may_fail } => {
                    let mut call = Call { nr, flags: if may_fail { MAY_FAIL } else { 0 }, args: [0; 6] };
                    for (i, arg) in args.into_iter().enumerate() {
                        match arg {
                            Arg::Val(v) => call.args[i] = v,
                            Arg::Fd(f) => {
                                call.args[i] = u64::from(f);
                                call.flags |= 1 << i;
                            }
                        }
                    }
                    call
                }
                Op::Zero { addr, len } => Call { nr: pseudo::ZERO, flags: 0, args: [addr, len, 0, 0, 0, 0] },
                Op::Copy { addr, bytes } => {
                    let room = WINDOW_LEN as usize - window;
                    if room == 0 {
                        ops.push_front(Op::Copy { addr, bytes });
                        break;
                    }
                    let (now, later) = bytes.split_at(bytes.len().min(room));
                    mb.window.write(window, now);
                    let call =
                        Call { nr: pseudo::COPY, flags: 0, args: [addr, window as u64, now.len() as u64, 0, 0, 0] };
                    window += now.len();
                    if !later.is_empty() {
                        let addr = addr.wrapping_add(now.len() as u64);
                        ops.push_front(Op::Copy { addr, bytes: later.to_vec() });
                    }
                    call
                }
                Op::SetFs(v) => Call { nr: pseudo::SET_FS, flags: 0, args: [v, 0, 0, 0, 0, 0] },
                Op::SetGs(v) => Call { nr: pseudo::SET_GS, flags: 0, args: [v, 0, 0, 0, 0, 0] },
                Op::Cas32 { addr, old, new, wake } => {
                    Call { nr: pseudo::CAS32, flags: 0, args: [addr, old.into(), new.into(), wake.max(0) as u64, 0, 0] }
                }
            };
            once!(put mb, calls[n], call);
            n += 1;
        }
        if window > 0 {
            self.wrote(window);
        }
        once!(put mb, count, n as u32);
        // Files are handed over before the first round, and closed by the stub when the last one, or any that fails, ends.
        let files = std::mem::take(&mut st.files);
        rest.files += files.len() as u32;
        if let (At::Bell { id }, false) = (&st.at, files.is_empty()) {
            queue(Out::Files { shard: self.shard, id: *id, slot: mb, files });
        }
        let last = ops.is_empty();
        once!(put mb, nfds, rest.files);
        once!(put mb, more, u32::from(!last));
        let code = match rest.then {
            _ if !last => then::REPORT,
            Then::Return(value) => {
                once!(put mb, ret, value as u64);
                then::RETURN
            }
            Then::ReturnLast => then::RETURN_LAST,
            Then::Report => then::REPORT,
            Then::Start { ip, sp } => {
                once!(put mb, arg[0], ip);
                once!(put mb, arg[1], sp);
                then::START
            }
            Then::Resume => then::RESUME,
        };
        once!(put mb, then, code);
        rest.done += rest.round;
        rest.round = n as u32;
        rest.ops = Vec::from(ops).into_iter();
        st.rest = Some(rest);
        st.result_due = true;
        self.go(st, op::SCRIPT);
    }

    fn order_fork(&self, st: &mut State, spec: ForkSpec) {
        let full = self.core.pool.is_full();
        let Some(cookie) = crate::zygote::cookie().ok().filter(|_| !full) else {
            return self.refuse(st, spec.child, EAGAIN);
        };
        let mut registers = self.child_registers(spec.stack);
        if let Some(tls) = spec.tls {
            registers.fs_base = tls;
        }
        let (set, value) = spec.set_tid.unwrap_or_default();
        let (parent, parent_value) = spec.parent_tid.unwrap_or_default();
        once!(put self.mailbox, arg, [
            cookie[0], cookie[1], spec.stack, u64::from(spec.tls.is_some()), spec.tls.unwrap_or(0), spec.clear_tid, set, value.into(),
            parent, parent_value.into(),
        ]);
        count(&self.core.counters.forks);
        self.order(st, cookie, Kind::Fork, spec.child, registers);
        st.grant = Some(Grant { flags: FORK_FLAGS, alone: true });
        self.go_to_birth(st, op::FORK, Kind::Fork, cookie);
    }

    fn order_spawn(&self, st: &mut State, spec: SpawnSpec) {
        let Some(slot) = self.space.take_slot() else { return self.refuse(st, spec.child, EAGAIN) };
        let Ok(cookie) = crate::zygote::cookie() else {
            self.space.return_slot(slot);
            return self.refuse(st, spec.child, ENOMEM);
        };
        let mut registers = self.child_registers(spec.stack);
        if let Some(tls) = spec.tls {
            registers.fs_base = tls;
        }
        let mut words = spec.set_tid.iter();
        let (first, value) = words.next().copied().unwrap_or_default();
        let second = words.next().map_or(0, |w| w.0);
        once!(put self.mailbox, arg, [
            cookie[0], cookie[1], spec.stack, u64::from(spec.tls.is_some()), spec.tls.unwrap_or(0), spec.clear_tid, slot, first,
            value.into(), second,
        ]);
        count(&self.core.counters.spawns);
        self.order(st, cookie, Kind::Thread { slot }, spec.child, registers);
        st.grant = Some(Grant { flags: THREAD_FLAGS, alone: false });
        self.go_to_birth(st, op::SPAWN, Kind::Thread { slot }, cookie);
    }

    fn order(&self, st: &mut State, cookie: [u64; 2], kind: Kind, guest: Unborn, registers: Registers) {
        // Where there is none any more, the reaper has been here already, and misses what is ordered now.
        let Some(parent) = self.shard.thread(self.host_tid) else { return };
        let since = Instant::now();
        let guest = Some(guest);
        self.core
            .expect(cookie, Newborn { kind, guest, nursery: None, parent: Some(parent), registers, since, tid: None });
        st.birth = Some(Birth { cookie, hello: false, result: None });
        st.result_due = true;
        self.core.keeper.arm(self.core);
    }

    /// The order cannot even be given: the stub reports the error by itself, as the result of an empty script.
    fn refuse(&self, st: &mut State, child: Unborn, errno: i64) {
        // A script of one operation that fails with EFAULT would name the wrong error, so the error is remembered here.
        st.refused = Some((child, errno));
        st.result_due = true;
        once!(put self.mailbox, count, 0);
        once!(put self.mailbox, nfds, 0);
        once!(put self.mailbox, more, 0);
        once!(put self.mailbox, then, then::REPORT);
        self.go(st, op::SCRIPT);
    }

    fn child_registers(&self, stack: u64) -> Registers {
        let mut r = self.mailbox.registers(0);
        r.rax = 0;
        if stack != 0 {
            r.rsp = stack;
        }
        r
    }

    /// The thread will run no more guest code.
    fn leave(&self, st: &mut State) {
        st.at = At::Gone;
        if let Some(guest) = st.guest.take() {
            queue(Out::Forget(guest));
        }
        self.shard.remove(self.host_tid);
        self.space.left(self.slot, self.host_tid);
    }
}

fn describe(f: &SignalFrame) -> Frame {
    let mut info = [0u64; 16];
    for (word, bytes) in info.iter_mut().zip(f.info.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
    }
    let (set_rax, rax, behind) = match (f.restart, f.rax) {
        (true, _) => (1, u64::from(f.nr), 0),
        (false, Some(v)) => (1, v as u64, 2),
        (false, None) => (0, 0, 2),
    };
    // From the instruction, or from behind it.
    let ip_back = if f.at_call { 0u64.wrapping_sub(behind) } else { 2 - behind };
    Frame {
        handler: f.handler,
        restorer: f.restorer,
        mask: f.mask,
        stack: [f.altstack.0, f.altstack.1.into(), f.altstack.2],
        on_stack: f.on_stack.unwrap_or(0),
        set_rax,
        rax,
        ip_back,
        sig: f.sig.into(),
        info,
    }
}
