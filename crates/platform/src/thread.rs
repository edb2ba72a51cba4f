//! One host thread in a stub process: where it is, and the answers to its events.
//!
//! Neighbours: `shard` (brings its notifications), `perform` (writes answers into its mailbox), `park`. Owns the lock of its state, under which nothing is called but
//! the thread-local queue, and the shard's list of open notifications.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use host::HostFd;
use host::process::CpuTimes;

use crate::affinity::Affinity;
use crate::answer::{ForkSpec, FutexWait, Registers, Script, SignalFrame, SpawnSpec};
use crate::config::count;
use crate::core::Core;
use crate::fpu;
use crate::kept::FileRead;
use crate::layout::{MAX_FDS, READS, poll};
use crate::mailbox::{Slot, once};
use crate::outgoing::{Out, queue};
use crate::shard::Shard;
use crate::space::{Space, system_time};
use crate::state::{Answer, At, Errand, State, Wait};
use crate::sync::{Mutex, States, lock};

const EXIT: u32 = 60;

/// A host thread that runs one guest task. Every answer consumes the open request; one that comes when none is open (the thread was killed meanwhile) has no effect. Answers only
/// queue host calls: [`crate::flush`] does them.
pub struct Thread {
    pub(crate) core: &'static Core,
    pub(crate) space: Arc<Space>,
    pub(crate) shard: &'static Shard,
    pub(crate) host_tid: i32,
    pub(crate) slot: u64,
    pub(crate) cookie: [u64; 2],
    pub(crate) mailbox: Slot,
    /// Bytes of its window that were ever in use.
    pub(crate) used: AtomicUsize,
    pub(crate) affinity: Affinity,
    /// What it said last of its waits for the poller.
    pub(crate) waited: AtomicU64,
    /// How often it has come here.
    pub(crate) trips: AtomicU64,
    pub(crate) state: Mutex<State, States>,
}

impl Thread {
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// In the kernel process' PID namespace.
    pub fn host_tid(&self) -> i32 {
        self.host_tid
    }

    /// The call returns `value` (any way in).
    pub fn ret(&self, value: i64) {
        self.answer(Answer::Ret(value));
    }

    /// The call returns `value`, and the thread comes back with [`crate::Event::Kicked`] before it runs guest code.
    pub fn ret_then_kick(&self, value: i64) {
        self.answer(Answer::RetKick(value));
    }

    /// The thread comes back with [`crate::Event::Kicked`] and all registers, which show the call as not yet made: ip behind its instruction, rax its number.
    pub fn want_frame(&self) {
        self.answer(Answer::Frame);
    }

    /// On with the registers as they are.
    pub fn resume(&self) {
        self.answer(Answer::Resume);
    }

    /// The stub performs operations.
    pub fn script(&self, script: Script) {
        self.answer(Answer::Script(script));
    }

    /// The stub reads a file by itself, as [`Space::number_for_caller`] allowed, and the call returns how much.
    pub fn read(&self, read: FileRead) {
        self.answer(Answer::Read(read));
    }

    /// The thread forks its process; the child is `born`, then comes [`crate::Event::Done`] here.
    pub fn fork(&self, spec: ForkSpec) {
        self.answer(Answer::Fork(spec));
    }

    /// A new host thread in the same process; it is `born`, then comes [`crate::Event::Done`] here.
    pub fn spawn(&self, spec: SpawnSpec) {
        self.answer(Answer::Spawn(spec));
    }

    /// The stub builds the guest's signal frame and enters the handler. If the guest's stack faults: [`crate::Event::Done`] with -EFAULT.
    pub fn sigframe(&self, frame: SignalFrame) {
        self.answer(Answer::Signal(Box::new(frame)));
    }

    /// General registers of the guest, while the thread waits with all of them held. Values come from the guest's own memory: whatever they are, they are the guest's.
    pub fn regs(&self) -> Option<Registers> {
        let st = lock(&self.state);
        match st.at {
            At::Bell { .. } | At::Parked => Some(self.mailbox.registers(st.request.nr.into())),
            _ => None,
        }
    }

    /// After [`crate::Event::Kicked`]: number and address of the call by which the thread waited in a host futex, or was about to, if there is a `syscall` instruction at that
    /// address (which the caller finds out, by its map). The filter lets guest code wait there by itself, where nothing but a signal ends the wait. The next answer lets it wait
    /// again, but for a `sigframe` that says `at_call`.
    pub fn host_wait(&self) -> Option<(u32, u64)> {
        let r = self.regs()?;
        let nr = u32::try_from(r.rax).ok()?;
        crate::filter::waits(nr, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]).then_some((nr, r.rip))
    }

    /// The host futex wait that the thread sleeps in now, by which it came there without an event: number and arguments. Costs an open of a file in procfs.
    pub fn sleeps_in(&self) -> Option<(u32, [u64; 6])> {
        let text = self.core.proc_file(&format!("{}/task/{}/syscall", self.space.host_pid(), self.host_tid))?;
        let mut words = text.split_ascii_whitespace();
        let nr: u32 = words.next()?.parse().ok()?;
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
        }
        // Not in its mailbox, where the stub waits for an answer; nor in a notification that nobody has received yet, which a kick takes back.
        let has_begun = crate::filter::waits(nr, args)
            || crate::filter::is_wait(nr, args) && !matches!(lock(&self.state).wait, Wait::None);
        (has_begun && args[0] < self.space.user_top()).then_some((nr, args))
    }

    /// The open call becomes a wait in the host's futex. It ends like this: woken or timed out, the call returns, or [`crate::Event::Kicked`] comes with `wait_result`; interrupted by a kick, the latter
    /// with EINTR, and the kernel says how it goes on.
    pub fn futex_wait(&self, wait: FutexWait) {
        let mut st = lock(&self.state);
        if let At::Direct { id } = st.at {
            // The host makes it with the guest's own arguments, which name the same wait, by the guest's own instruction.
            self.close(&mut st);
            st.at = At::Running;
            st.wait = Wait::Call { ip: st.request.ip };
            self.send(id, 0, host::seccomp::notify::CONTINUE);
        } else {
            drop(st);
            self.answer(Answer::Wait(wait));
        }
    }

    /// After [`crate::Event::Kicked`]: what the wait said that `futex_wait` began. `None`: it returned to guest code before.
    pub fn wait_result(&self) -> Option<i64> {
        let regs = self.regs()?;
        match std::mem::replace(&mut lock(&self.state).wait, Wait::None) {
            Wait::Stub(result) => result,
            Wait::Call { ip } => (regs.rip == ip && regs.rax as i64 == -4).then_some(-4),
            Wait::None => None,
        }
    }

    /// On with these registers.
    pub fn set_regs_resume(&self, r: &Registers) {
        self.answer(Answer::Registers(Box::new(*r)));
    }

    /// Whatever the thread, which waits with all its registers held, is answered next: it comes back with [`crate::Event::Kicked`] before it runs guest code. A kick after the answer may come later than that.
    pub fn come_back(&self) {
        lock(&self.state).kick_again = true;
    }

    /// The guest's FPU state as XSAVE leaves it, while the thread waits with all registers held; it lies in the guest's memory, where the guest may have written anything. `None`: there is none.
    pub fn fpu(&self) -> Option<Vec<u8>> {
        let at = self.fpu_at()?;
        let mut legacy = [0; fpu::LEGACY];
        self.read_all(at, &mut legacy)?;
        let mut state = vec![0; fpu::len(&legacy)];
        self.read_all(at, &mut state)?;
        Some(state)
    }

    /// Changes the first bytes of that state. The host checks it when it loads it: what it refuses ends the process.
    pub fn set_fpu(&self, state: &[u8]) -> Result<(), Errno> {
        let at = self.fpu_at().ok_or(Errno::EIO)?;
        if self.space.write(at, state)? == state.len() { Ok(()) } else { Err(Errno::EIO) }
    }

    fn fpu_at(&self) -> Option<u64> {
        self.regs()?;
        let mut at = [0; 8];
        self.read_all(once!(get self.mailbox, context).wrapping_add(fpu::IN_CONTEXT), &mut at)?;
        Some(u64::from_le_bytes(at))
    }

    fn read_all(&self, at: u64, into: &mut [u8]) -> Option<()> {
        (self.space.read(at, into).ok()? == into.len()).then_some(())
    }

    /// This host thread ends; the host clears and wakes its clear_child_tid word. No `gone` follows. One that runs guest code ends when it comes in.
    pub fn exit(&self) {
        let mut st = lock(&self.state);
        match st.at {
            At::Running => {
                if let Some(guest) = st.guest.take() {
                    queue(Out::Forget(guest));
                }
                drop(st);
                self.kick();
            }
            At::Coming(Some(_)) => st.at = At::Coming(Some(Answer::Exit)),
            _ => {
                drop(st);
                self.answer(Answer::Exit);
            }
        }
    }

    /// Its host process has ended, or it was told to exit: it brings no event any more.
    pub fn is_gone(&self) -> bool {
        matches!(lock(&self.state).at, At::Gone)
    }

    /// Running guest code: makes it come in with [`crate::Event::Kicked`] soon. No effect while a request is open.
    pub fn kick(&self) {
        let mut st = lock(&self.state);
        match st.at {
            At::Running if !st.kicked => {
                st.kicked = true;
                queue(Out::Kick { tgid: self.space.host_pid(), tid: self.host_tid });
            }
            At::Coming(Some(_)) => st.kick_again = true,
            _ => {}
        }
    }

    /// The open request will take long: the platform may park it. Answers work as ever.
    pub fn blocked(&self) {
        self.stop_polling(None);
        if self.core.config.park {
            self.note_blocked();
        }
    }

    /// A host file for the next script, as [`crate::Arg::Fd`]; the stub closes it at that script's end. EMFILE: more than 8.
    pub fn attach(&self, fd: Arc<HostFd>) -> Result<u32, Errno> {
        let mut st = lock(&self.state);
        if st.files.len() >= MAX_FDS {
            return Err(Errno::EMFILE);
        }
        st.files.push(fd);
        Ok(st.files.len() as u32 - 1)
    }

    /// CPU time of this host thread, ns; 0 if it cannot be read any more. Costs an open of a file in procfs, if the process has had several and this one is not at its end.
    pub fn cpu_time(&self) -> u64 {
        if self.space.had_one_thread() {
            return self.space.cpu_time();
        }
        if let Some(told) = self.told_at_exit() {
            return told.min(self.space.cpu_time());
        }
        self.core
            .proc_file(&format!("{}/task/{}/schedstat", self.space.host_pid(), self.host_tid))
            .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| self.space.cpu_time())
    }

    /// User and system time of this host thread, as the host tells them apart: in steps of 10 ms. Costs an open of a file in procfs.
    pub fn times(&self) -> CpuTimes {
        if self.space.had_one_thread() {
            return self.space.times();
        }
        let stat = self.core.proc_file(&format!("{}/task/{}/stat", self.space.host_pid(), self.host_tid));
        let total = self.cpu_time();
        let system = stat.and_then(|stat| system_time(&stat)).unwrap_or(0).min(total);
        CpuTimes { user: total - system, system }
    }

    /// What its stub says that it used, while it waits in exit(2): a guest that lies takes time from its own count.
    fn told_at_exit(&self) -> Option<u64> {
        let st = lock(&self.state);
        let waits = matches!(st.at, At::Bell { .. } | At::Parked) && st.request.nr == EXIT;
        waits.then(|| once!(get self.mailbox, cpu))
    }

    /// A file of the host's folder of this thread, such as "schedstat". `None` once it has ended. May sleep.
    pub fn proc_file(&self, name: &str) -> Option<String> {
        self.core.long_proc_file(&format!("{}/task/{}/{name}", self.space.host_pid(), self.host_tid))
    }

    /// So many bytes of its window hold something.
    pub(crate) fn wrote(&self, bytes: usize) {
        if bytes > self.used.load(Ordering::Relaxed) {
            self.used.store(bytes, Ordering::Relaxed);
            self.space.wrote(self.slot, bytes);
        }
    }

    /// Breaks the protocol: its process is killed.
    pub(crate) fn violation(&self, what: &str) {
        self.core.violation(self.host_tid, what);
        self.space.kill();
    }

    pub(crate) fn send(&self, id: u64, value: i64, flags: u32) {
        queue(Out::Send { shard: self.shard, tid: self.host_tid, id, value, flags });
    }

    pub(crate) fn queue_kick(&self) {
        queue(Out::Kick { tgid: self.space.host_pid(), tid: self.host_tid });
    }

    /// Answers the open request, by the way in that it came.
    fn answer(&self, answer: Answer) {
        let mut st = lock(&self.state);
        self.close(&mut st);
        match st.at {
            At::Direct { id } | At::Bell { id } => self.close_kept(Some(id)),
            At::Polled => self.close_kept(None),
            _ => {}
        }
        crate::window::answers(self);
        match st.at {
            At::Direct { id } => match answer {
                Answer::Read(read) if st.errand.is_some() => {
                    self.have_it_read(&mut st, read);
                    self.send(id, read.len as i64, 0);
                }
                Answer::Ret(value) => {
                    st.at = At::Running;
                    st.value = value;
                    self.send(id, value, 0);
                }
                Answer::RetKick(_) | Answer::Frame => {
                    let value = if let Answer::RetKick(v) = answer { v } else { i64::from(st.request.nr) };
                    st.at = At::Running;
                    st.value = value;
                    st.kicked = true;
                    self.queue_kick(); // first the kick, then SEND: so it is delivered cleanly
                    self.send(id, value, 0);
                }
                other => self.call_in(&mut st, id, Some(other)),
            },
            At::Polled => match answer {
                Answer::Read(read) if st.errand.is_some() => {
                    self.have_it_read(&mut st, read);
                    self.mailbox.answer().store(poll::with(st.asked, poll::ANSWERED), Ordering::Release);
                }
                Answer::Ret(value) => {
                    st.at = At::Running;
                    once!(put self.mailbox, ret, value as u64);
                    self.mailbox.answer().store(poll::with(st.asked, poll::ANSWERED), Ordering::Release);
                }
                other => self.have_polled_ring(&mut st, Some(other)),
            },
            At::Bell { .. } => self.perform(&mut st, answer),
            At::Parked => {
                if matches!(&answer, Answer::Script(_)) && !st.files.is_empty() {
                    self.ring_again(&mut st, answer); // files can only be handed to an open notification
                } else {
                    self.perform(&mut st, answer);
                }
            }
            At::Coming(None) => st.at = At::Coming(Some(answer)),
            At::Running | At::Coming(Some(_)) | At::Gone => {
                self.core.trace(|| format!("{}: an answer without a request", self.host_tid));
            }
        }
    }

    /// Writes down for the trampoline what it is to read.
    fn have_it_read(&self, st: &mut State, read: FileRead) {
        self.mailbox.put_small([read.number.into(), read.addr, read.len, read.at].map(u64::to_ne_bytes).as_flattened());
        once!(put self.mailbox, outs, READS);
        count(&self.core.counters.reads);
        once!(put self.mailbox, ret, read.len);
        st.result_due = true;
        st.at = At::Running;
        st.value = read.len as i64;
    }

    /// It is done with what it was told to do. `failed`: that went otherwise than was expected.
    pub(crate) fn is_back(&self, st: &mut State, failed: bool) {
        self.trips.store(self.trips.load(Ordering::Relaxed) + 1, Ordering::Release); // under the lock of its state
        match st.errand.take() {
            None => {}
            Some(Errand::Read(place)) => self.space.kept.was_read(place, failed),
            Some(Errand::Rewrite) => self.space.was_rewritten(),
        }
    }

    /// A call that the poller took will wait: its thread comes to the doorbell.
    fn stop_polling(&self, answer: Option<Answer>) {
        let mut st = lock(&self.state);
        if matches!(st.at, At::Polled) {
            self.have_polled_ring(&mut st, answer);
        }
    }

    fn have_polled_ring(&self, st: &mut State, answer: Option<Answer>) {
        st.at = At::Coming(answer);
        st.kicked = true;
        queue(Out::Ring(self.mailbox, st.asked)); // not before the kernel has put away what it knows of the call
    }

    /// Has the thread of a direct notification come to the doorbell with all its registers.
    pub(crate) fn call_in(&self, st: &mut State, id: u64, answer: Option<Answer>) {
        st.at = At::Coming(answer);
        st.kicked = true;
        st.value = i64::from(st.request.nr);
        self.queue_kick();
        self.send(id, i64::from(st.request.nr), 0);
    }

    /// Answers a clone call of the stub.
    pub(crate) fn clone_call(self: &Arc<Self>, id: u64, args: [u64; 6]) {
        let mut st = lock(&self.state);
        if st.grant.take().is_some_and(|grant| grant.allows(args)) {
            self.bind();
            let flags = host::seccomp::notify::CONTINUE;
            queue(Out::Send { shard: self.shard, tid: self.host_tid, id, value: 0, flags });
        } else {
            drop(st);
            self.violation("clone without a grant");
        }
    }

    /// Hands a file to the thread whose notification this is, now.
    pub(crate) fn hand_over(shard: &Shard, id: u64, file: &Arc<HostFd>) -> Result<i64, Errno> {
        let hand = || host::seccomp::notify::add_fd(shard.doorbell.as_fd(), id, file.as_fd());
        crate::affinity::stay(shard.core, hand).map(i64::from)
    }
}
