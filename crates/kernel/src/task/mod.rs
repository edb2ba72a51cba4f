//! Tasks (threads), thread groups (processes), PIDs, sessions; clone, exec, exit, wait. clone(2), credentials(7).
//!
//! `Task` is a thread: it implements `platform::Guest`, and `drive` runs its calls. `ThreadGroup` is the process. `tree` has parents,
//! children and process groups. Locks: see `locks`; `TaskTree` is taken before any other of this module.

mod access;
mod acting;
mod actions;
mod attention;
mod audience;
pub mod cgroup;
mod clone;
mod container;
mod cpu_limit;
mod drive;
mod due;
mod events;
mod exec;
mod exit;
mod freezer;
mod fs;
mod group;
mod left;
pub mod load;
mod loopback;
mod mask;
mod memory;
mod meter;
mod ns;
mod nsfs;
pub mod pi;
mod pid;
pub mod ptrace;
mod rewrite;
mod rlimit;
mod robust;
mod run_call;
mod sched;
mod seccomp;
mod send;
mod times;
mod tree;
mod usage;
pub mod watchdog;

pub use acting::acting;
pub use audience::Audience;
pub use cgroup::{Cgroup, CgroupNs};
pub use clone::{CloneSpec, SpawnInit};
pub use container::Container;
pub use cpu_limit::CpuLimit;
pub use drive::{Phase, Run};
pub use exec::{ExecRequest, Image};
pub use freezer::Freezer;
pub use fs::FsContext;
pub use group::{ChildEvent, ExitStatus, GroupSignals, GroupState, GroupTimers, Links, Stop, ThreadGroup};
pub use loopback::{DeviceAddress, DeviceChange, LOOPBACK_INDEX, LOOPBACK_NAME, Loopback, network};
pub use mask::Mask;
pub use ns::{InetKnobs, IpcNs, Namespaces, NetNs, UtsNs};
pub use nsfs::Namespace;
pub use pid::{PID_MAX, Pid, PidNs};
pub use rlimit::{Limit, Limits, Resource};
pub use sched::Sched;
pub use seccomp::{AddFilter, Seccomp};
pub use send::{child_info, may_signal, send, send_to_process};
pub use tree::{Session, Tty, group_members, is_orphaned, processes, signal_pgrp};
pub use usage::{Counters, IoUsage, Usage};

use crate::Kernel;
use crate::cred::Cred;
use crate::fd::FdTable;
use crate::io::{Caller, Io};
use crate::lent::{self, InodeKey};
use crate::locks::{TaskFields, TaskRecord, TaskSignals as TaskSignalsClass};
use crate::mm::Mm;
use crate::signal::{AltStack, Pending, SigInfo, SigSet};
use crate::vfs::{File, hears_of_reads};
use crate::wait::{Events, Wake};
use lock::Mutex;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A thread of a guest.
pub struct Task {
    pub kernel: Arc<Kernel>,
    /// Its thread id, a number in each PID namespace that it is in.
    pub pid: Arc<Pid>,
    pub group: Arc<ThreadGroup>,
    /// CLOCK_BOOTTIME ns.
    pub started: u64,
    state: AtomicU8,
    run: Mutex<Option<Box<Run>>, TaskRecord>,
    unfinished: Mutex<events::Unfinished, crate::locks::Leaf>,
    pub signals: Mutex<TaskSignals, TaskSignalsClass>,
    signals_due: due::Due,
    fields: Mutex<Fields, TaskFields>,
    /// How often its end went through its robust list.
    robust_rounds: AtomicU32,
    /// For /proc/PID/io and getrusage(2).
    pub counters: Counters,
    /// Where it is among the control groups without its process.
    apart: cgroup::Apart,
    /// Calls that it has made.
    pub calls: AtomicU64,
    /// Of `Fields::seccomp`: it is not off; and whether even what a trampoline answers is to be asked about.
    screened: AtomicBool,
    asks_for_local: AtomicBool,
    ptrace: ptrace::Ptrace,
    /// The exit status once it has exited (kept for the leader).
    pub exit_status: OnceLock<ExitStatus>,
    /// CPU time of its host threads when it ended.
    host_time_at_end: OnceLock<usage::HostTime>,
}

/// A thread's own signal state.
pub struct TaskSignals {
    pub mask: Mask,
    /// The mask to go back to once a handler has run or the call has returned: sigsuspend(2), pselect(2), epoll_pwait(2).
    pub saved_mask: Option<SigSet>,
    /// What sigtimedwait(2) waits for, although it is masked.
    pub waited: SigSet,
    pub pending: Pending,
    pub altstack: AltStack,
}

struct Fields {
    thread: Option<Arc<platform::Thread>>,
    cred: Arc<Cred>,
    comm: [u8; 16],
    files: Arc<FdTable>,
    fs: Arc<FsContext>,
    mm: Option<Arc<Mm>>,
    ns: Namespaces,
    /// A signal taken out for a handler, while the thread is on its way to the stub to take the frame.
    handler: Option<attention::Delivery>,
    /// Signal sent to this task when its parent dies, prctl(2) PR_SET_PDEATHSIG.
    death_signal: i32,
    clear_tid: u64,
    sched: Sched,
    affinity: Vec<usize>,
    /// What sched_setaffinity(2) asked for, of which the control group may allow less.
    affinity_asked: Option<Vec<usize>>,
    timer_slack: u64,
    personality: u32,
    seccomp: Seccomp,
    /// Of host threads that it had before an exec.
    host_time_before: usage::HostTime,
    /// Of a vfork child: who waits for its exec or exit.
    vfork_parent: Option<crate::wait::Queue>,
    /// How it begins, until it has begun.
    birth: Option<clone::Birth>,
}

impl Task {
    /// The task that a file operation runs for.
    pub fn of(io: &Io<'_>) -> Option<Arc<Task>> {
        io.caller.clone()?.as_any().downcast::<Task>().ok()
    }

    pub fn thread(&self) -> Option<Arc<platform::Thread>> {
        self.fields.lock().thread.clone()
    }
    fn thread_and_before(&self) -> (Option<Arc<platform::Thread>>, usage::HostTime) {
        let fields = self.fields.lock();
        (fields.thread.clone(), fields.host_time_before)
    }
    pub fn cred(&self) -> Arc<Cred> {
        self.fields.lock().cred.clone()
    }
    /// Replaces the credentials by a changed copy.
    pub fn set_cred(&self, cred: Cred) {
        let old = std::mem::replace(&mut self.fields.lock().cred, Arc::new(cred));
        drop(old);
        self.show_ids();
    }

    /// Whether somebody wants to see each call, so that the task's thread answers none by itself: a tracer, or a filter.
    pub(super) fn is_watched(&self) -> bool {
        self.asks_for_local.load(Ordering::Relaxed) || self.kernel.tracer.get().is_some()
    }

    /// Whether its thread may answer calls by itself. Not in user namespaces, whose maps can change.
    fn answers_alone(&self, cred: &Cred) -> bool {
        cred.user_ns.parent.is_none() && !self.is_watched()
    }

    /// Has the task's own thread answer what asks for its ids.
    pub(super) fn show_ids(&self) {
        let cred = self.cred();
        let alone = self.answers_alone(&cred);
        let id = |n: i32| u32::try_from(n).unwrap_or(0);
        let ids = [id(self.group.id()), id(self.tid()), cred.uid, cred.gid, cred.euid, cred.egid];
        let Some(thread) = self.thread() else { return };
        thread.show_ids(alone.then_some(ids));
        if self.is_watched() {
            thread.show_ids(None); // since just now
        }
    }

    pub fn files(&self) -> Arc<FdTable> {
        self.fields.lock().files.clone()
    }
    pub fn set_files(&self, files: Arc<FdTable>) {
        let old = std::mem::replace(&mut self.fields.lock().files, files);
        if let Some(thread) = self.thread() {
            lent::table_left(&thread);
        }
        drop(old);
    }
    /// Lends a descriptor that its thread is about to read by this number. `moves`: see `lent::lend`.
    pub fn lend(&self, fd: i32, file: &Arc<File>, number: u32, moves: u64) {
        if file.counts_each_read() || !self.answers_alone(&self.cred()) {
            return;
        }
        let (Some(thread), Some(inode)) = (self.thread(), &file.inode) else { return };
        let (files, inode) = (self.files(), InodeKey::of(inode));
        let descriptor = lent::Descriptor { table: files.id, fd };
        files.if_there(fd, file, || lent::lend(descriptor, inode, &thread, number, moves, || !hears_of_reads()));
    }
    pub fn fs(&self) -> Arc<FsContext> {
        self.fields.lock().fs.clone()
    }
    pub fn set_fs(&self, fs: Arc<FsContext>) {
        let old = std::mem::replace(&mut self.fields.lock().fs, fs);
        drop(old);
    }
    /// None once the task is exiting, and before its first exec.
    pub fn mm(&self) -> Option<Arc<Mm>> {
        self.fields.lock().mm.clone()
    }
    pub fn set_mm(&self, mm: Option<Arc<Mm>>) {
        let old = std::mem::replace(&mut self.fields.lock().mm, mm);
        drop(old);
    }
    pub fn namespaces(&self) -> Namespaces {
        self.fields.lock().ns.clone()
    }
    pub fn set_namespaces(&self, ns: Namespaces) {
        let old = std::mem::replace(&mut self.fields.lock().ns, ns);
        drop(old);
    }
    /// The name of PR_SET_NAME, without its zeros.
    pub fn comm(&self) -> Vec<u8> {
        self.fields.lock().comm.iter().copied().take_while(|b| *b != 0).collect()
    }
    /// Takes at most 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; 16];
        for (to, from) in comm.iter_mut().zip(name.iter().take(15)) {
            *to = *from;
        }
        self.fields.lock().comm = comm;
    }
    /// The thread id as its own PID namespace numbers it.
    pub fn tid(&self) -> i32 {
        self.pid.number()
    }
    /// The word that is cleared and woken when the thread ends, set_tid_address(2).
    pub fn set_clear_tid(&self, at: u64) {
        self.fields.lock().clear_tid = at;
    }
    pub fn clear_tid(&self) -> u64 {
        self.fields.lock().clear_tid
    }
    pub fn death_signal(&self) -> i32 {
        self.fields.lock().death_signal
    }
    pub fn set_death_signal(&self, sig: i32) {
        self.fields.lock().death_signal = sig;
    }
    /// The processors that it may run on.
    pub fn affinity(&self) -> Vec<usize> {
        self.fields.lock().affinity.clone()
    }
    /// It runs on `cpus`, and asked for others besides.
    fn set_affinity(&self, cpus: Vec<usize>, asked: Vec<usize>) {
        let mut fields = self.fields.lock();
        fields.affinity = cpus;
        fields.affinity_asked = Some(asked);
    }
    /// Its group has these processors: where it runs now, if that is somewhere else.
    fn allow_cpus(&self, allowed: &[usize]) -> Option<Vec<usize>> {
        let mut fields = self.fields.lock();
        let asked = |cpu: &usize| fields.affinity_asked.as_ref().is_none_or(|asked| asked.contains(cpu));
        let mut cpus: Vec<usize> = allowed.iter().copied().filter(asked).collect();
        if cpus.is_empty() {
            cpus = allowed.into();
        }
        if cpus == fields.affinity {
            return None;
        }
        fields.affinity = cpus.clone();
        Some(cpus)
    }
    /// ns, prctl(2) PR_SET_TIMERSLACK; kept and shown, the host's timers decide.
    pub fn timer_slack(&self) -> u64 {
        self.fields.lock().timer_slack
    }
    /// 0: back to the default.
    pub fn set_timer_slack(&self, slack: u64) {
        self.fields.lock().timer_slack = if slack == 0 { 50_000 } else { slack };
    }
    pub fn personality(&self) -> u32 {
        self.fields.lock().personality
    }
    pub fn set_personality(&self, personality: u32) {
        self.fields.lock().personality = personality;
    }
    /// A signal that a call of the task brings upon it (SIGPIPE, SIGXFSZ): it looks as if sent by itself.
    pub fn signal_self(self: &Arc<Self>, sig: i32) {
        self.signal(SigInfo::user(sig, 0, self.group.id(), self.cred().uid));
    }

    /// Makes a signal pending for this thread alone, as tgkill(2) does.
    pub fn signal(self: &Arc<Self>, info: SigInfo) -> bool {
        send::send(&self.group, Some(self), info)
    }
}

impl Caller for Task {
    fn umask(&self) -> u32 {
        self.fs().umask()
    }
    fn may_use_device(&self, access_type: u32, major: u32, minor: u32) -> bool {
        self.places().all().all(|group| group.may_use_device(access_type, major, minor))
    }
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>, _events: Events) {
        self.wake_task();
    }
}
