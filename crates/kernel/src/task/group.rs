//! Thread groups: processes. clone(2) CLONE_THREAD, wait(2).
//!
//! Locks: `ProcessSignals` for `signals`; `GroupLinks` for `links` (taken one group at a time, under `TaskTree` when several
//! groups change together).

use super::cgroup::Places;
use super::{Cgroup, Container, CpuLimit, Limits, Pid, PidNs, Session, Task, Usage, left::Left, times::Told};
use crate::locks::{GroupLinks, Leaf, ProcessSignals};
use crate::signal::{Actions, Pending};
use crate::vfs::Executed;
use crate::wait::Queue;
use lock::Mutex;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32};
use std::sync::{Arc, OnceLock, Weak};

/// How a process or thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// exit(2), 0..255.
    Code(i32),
    /// A signal, and whether a core was dumped.
    Signal { sig: i32, core: bool },
}

impl ExitStatus {
    /// As wait(2) encodes it.
    pub fn wait_status(self) -> i32 {
        match self {
            ExitStatus::Code(code) => (code & 0xff) << 8,
            ExitStatus::Signal { sig, core } => sig & 0x7f | if core { 0x80 } else { 0 },
        }
    }
}

/// A process' timers, as its exec and its end see them; `ipc::timers` has them.
pub trait GroupTimers: Any + Send + Sync {
    /// execve(2): POSIX timers go, interval timers stay.
    fn exec(&self);
    /// The process ends: nothing expires any more.
    fn exit(&self);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A process.
pub struct ThreadGroup {
    pub pid: Arc<Pid>,
    pub signals: Mutex<GroupSignals, ProcessSignals>,
    pub(super) signals_due: super::due::Due,
    pub links: Mutex<Links, GroupLinks>,
    /// Woken at each change of a child's state: wait4(2).
    pub children_changed: Queue,
    /// Stopped threads wait here for SIGCONT.
    pub continued: Queue,
    /// signalfd(2), sigtimedwait(2): woken when a signal becomes pending.
    pub signal_arrived: Queue,
    /// A thread that execs or exits waits here for the others to go.
    pub thread_left: Queue,
    limits: Mutex<Limits, Leaf>,
    /// Signals to many that are about to reach it: see `Audience`.
    pub(super) awaited: AtomicU32,
    /// The signal that the parent gets at exit; 0 for none (clone(2)).
    pub exit_signal: AtomicI32,
    /// Set once; `u64` is the encoded status for all threads.
    pub exiting: OnceLock<ExitStatus>,
    /// It ends thread by thread, each of which lets its robust locks go first; the timer kills what does not come.
    pub(super) orderly: OnceLock<Mutex<Option<crate::reactor::Timer>, Leaf>>,
    pub oom_score_adj: AtomicI32,
    /// /proc/PID/coredump_filter.
    pub coredump_filter: AtomicU32,
    /// PR_SET_DUMPABLE.
    pub dumpable: AtomicI32,
    /// Tasks that its threads trace.
    pub(super) tracees: super::ptrace::Tracees,
    /// A zombie that its leader's tracer has not waited for.
    pub(super) held_for_tracer: AtomicBool,
    /// PR_SET_CHILD_SUBREAPER.
    pub subreaper: AtomicBool,
    pub has_exec: AtomicBool,
    /// Of threads that ended, and of children that were waited for.
    pub(super) ended: Mutex<Usage, Leaf>,
    pub(super) waited_for: Mutex<Usage, Leaf>,
    /// Memory that it left, and memory of its children that were waited for.
    pub(super) left: Mutex<Left, Leaf>,
    pub(super) children_left: Mutex<Left, Leaf>,
    pub(super) told: Told,
    pub(super) children_told: Told,
    /// What /proc/PID/exe links to; nothing once the process has ended.
    pub exe: Mutex<Option<Arc<Executed>>, Leaf>,
    /// Timers (itimers and POSIX timers), made when first used.
    pub timers: OnceLock<Arc<dyn GroupTimers>>,
    /// Watches RLIMIT_CPU, once there was one.
    pub(super) cpu_limit: OnceLock<Arc<CpuLimit>>,
    /// Semaphore adjustments (SEM_UNDO), kept by `ipc::sysv`; dropped when the process ends, which makes them.
    pub sem_undo: Mutex<Option<Arc<dyn Any + Send + Sync>>, Leaf>,
    /// Segments of shared memory that it made, kept likewise.
    pub shm_made: Mutex<Option<Arc<dyn Any + Send + Sync>>, Leaf>,
    /// The container that it belongs to.
    pub container: Arc<Container>,
    /// Where it is among the control groups, and what holds it there (`cgroup::halt`): `cgroup` changes both.
    pub(super) cgroups: Mutex<Places, Leaf>,
    pub(super) cgroup_halts: AtomicU8,
}

/// Actions, shared pending signals, stop state.
#[derive(Default)]
pub struct GroupSignals {
    pub actions: Actions,
    pub pending: Pending,
    pub stop: Stop,
    /// Protected from signals that it has no handler for: init of a PID namespace.
    pub unkillable: bool,
}

/// Job control's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stop {
    #[default]
    Running,
    /// By this signal; threads stop as they come by.
    Stopped(i32),
}

/// What a parent may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    Stopped(i32),
    Continued,
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Alive,
    /// All threads have ended; nobody has waited for it yet.
    Zombie(ExitStatus),
    /// Waited for.
    Reaped,
}

/// A process' place among the others.
pub struct Links {
    pub state: GroupState,
    pub parent: Weak<ThreadGroup>,
    /// The thread that forked it: PR_SET_PDEATHSIG and __WNOTHREAD look at it.
    pub parent_task: Weak<Task>,
    pub children: Vec<Arc<ThreadGroup>>,
    /// Living threads, the leader among them as long as it lives.
    pub tasks: Vec<Arc<Task>>,
    /// Kept until the process is waited for, because a zombie still has its name and ids.
    pub leader: Option<Arc<Task>>,
    /// Process group: the identity of its leader.
    pub pgrp: Arc<Pid>,
    pub session: Arc<Session>,
    /// Not yet reported to the parent by wait.
    pub event: Option<ChildEvent>,
}

impl ThreadGroup {
    pub(super) fn new(
        pid: Arc<Pid>,
        links: Links,
        limits: Limits,
        actions: Actions,
        container: Arc<Container>,
        cgroup: Arc<Cgroup>,
    ) -> Arc<ThreadGroup> {
        Arc::new(ThreadGroup {
            pid,
            signals: Mutex::new(GroupSignals { actions, ..GroupSignals::default() }),
            signals_due: Default::default(),
            links: Mutex::new(links),
            children_changed: Queue::new(),
            continued: Queue::new(),
            signal_arrived: Queue::new(),
            thread_left: Queue::new(),
            limits: Mutex::new(limits),
            awaited: AtomicU32::new(0),
            exit_signal: AtomicI32::new(crate::signal::SIGCHLD),
            exiting: OnceLock::new(),
            orderly: OnceLock::new(),
            oom_score_adj: AtomicI32::new(0),
            coredump_filter: AtomicU32::new(0x33),
            dumpable: AtomicI32::new(1),
            tracees: Default::default(),
            held_for_tracer: AtomicBool::new(false),
            subreaper: AtomicBool::new(false),
            has_exec: AtomicBool::new(false),
            ended: Mutex::new(Usage::default()),
            waited_for: Mutex::new(Usage::default()),
            left: Mutex::default(),
            children_left: Mutex::default(),
            told: Told::default(),
            children_told: Told::default(),
            exe: Mutex::new(None),
            timers: OnceLock::new(),
            cpu_limit: OnceLock::new(),
            sem_undo: Mutex::new(None),
            shm_made: Mutex::new(None),
            container,
            cgroups: Mutex::new(Places { two: cgroup, one: Vec::new() }),
            cgroup_halts: AtomicU8::new(0),
        })
    }

    pub fn tasks(&self) -> Vec<Arc<Task>> {
        self.links.lock().tasks.clone()
    }
    pub fn leader(&self) -> Option<Arc<Task>> {
        self.links.lock().leader.clone()
    }
    /// Some living thread: the leader, or another when it has ended.
    pub fn any_task(&self) -> Option<Arc<Task>> {
        let links = self.links.lock();
        links.tasks.first().cloned().or_else(|| links.leader.clone())
    }
    pub fn parent(&self) -> Option<Arc<ThreadGroup>> {
        self.links.lock().parent.upgrade()
    }
    pub fn children(&self) -> Vec<Arc<ThreadGroup>> {
        self.links.lock().children.clone()
    }
    pub fn state(&self) -> GroupState {
        self.links.lock().state
    }
    pub fn pgrp(&self) -> Arc<Pid> {
        self.links.lock().pgrp.clone()
    }
    pub fn session(&self) -> Arc<Session> {
        self.links.lock().session.clone()
    }
    pub fn limits(&self) -> Limits {
        self.limits.lock().clone()
    }
    pub fn limit(&self, what: super::Resource) -> u64 {
        self.limits.lock().get(what).soft
    }
    pub fn set_limits(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits.lock());
    }
    /// The PID namespace that its numbers are from.
    pub fn pid_ns(&self) -> Option<Arc<PidNs>> {
        self.pid.ns()
    }
    /// The process id in its own namespace.
    pub fn id(&self) -> i32 {
        self.pid.number()
    }
    /// R, S, T or Z of /proc/PID/stat.
    pub fn state_letter(&self) -> char {
        if self.state() != GroupState::Alive {
            return 'Z';
        }
        if matches!(self.signals.lock().stop, Stop::Stopped(_)) {
            return 'T';
        }
        if self.tasks().iter().all(|t| t.is_blocked()) { 'S' } else { 'R' }
    }
    pub fn is_exiting(&self) -> bool {
        self.exiting.get().is_some()
    }
}
