//! Tracing of one task by another: who traces whom, and what the tracer asked for. ptrace(2).
//!
//! A tracee halts in `stop` (its task loop asks there), with all its registers in the stub; its tracer reads and changes them, and lets it go on. Neighbours: `stop` (halts), `control` (what a tracer does),
//! `birth` (children that are traced from the start), `end` (of either). A traced task comes to the kernel with its registers at each call, answers none by itself, and its code is what the file has:
//! rewritten call sites are put back. Calls that the host answers (docs/platform.md) are not seen. Locks: `Leaf` for a task's `Ptrace` and for the list of a tracer's tracees, nothing else under either.

mod birth;
mod control;
mod end;
mod stop;

pub use control::{Attach, Halted};
pub use end::TraceeReport;
pub(super) use stop::{GroupStop, Halt};

use super::{ExitStatus, Task, ThreadGroup};
use crate::cred::{Cap, Cred};
use crate::locks::Leaf;
use crate::signal::SigInfo;
use lock::Mutex;
use platform::Registers;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// How a tracer lets its tracee go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Resume {
    #[default]
    Cont,
    /// To the beginning or the end of its next call.
    Syscall,
    /// By one instruction.
    Step,
    /// Not at all, but it tells of changes: PTRACE_LISTEN.
    Listen,
}

/// What a tracee stops for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// A signal is about to be delivered.
    Signal,
    /// It is about to make a call, or has made one.
    Entry,
    Exit,
    /// PTRACE_EVENT_*.
    Event(u32),
    /// The whole process is stopped by this signal.
    Group,
}

/// A stop, in which the tracee is or to which it is on its way.
#[derive(Clone, Copy)]
pub struct Stopped {
    pub kind: StopKind,
    /// As wait(2) has it: the status' upper bits.
    pub code: i32,
    pub info: SigInfo,
    /// PTRACE_GETEVENTMSG.
    message: u64,
    /// As the tracer sees them, and has changed them.
    pub regs: Registers,
    /// As they were, and whether they are to be put back even so.
    held: Registers,
    changed: bool,
    /// The task rests: its tracer has been told, and may look.
    rests: bool,
    /// wait(2) has told of it.
    told: bool,
}

impl Stopped {
    fn new(kind: StopKind, code: i32, info: SigInfo) -> Stopped {
        let regs = Registers::default();
        Stopped { kind, code, info, message: 0, regs, held: regs, changed: false, rests: false, told: false }
    }
}

/// What is known of a task that is traced.
struct Tracee {
    tracer: Weak<Task>,
    /// Of who made it one: its tracer, or itself.
    cred: Arc<Cred>,
    seized: bool,
    /// PTRACE_O_*.
    options: u32,
    stop: Option<Stopped>,
    /// It stops for this as soon as the stub holds its registers.
    due: Option<Stopped>,
    resume: Resume,
    /// PTRACE_INTERRUPT, or the first stop of a child that is traced from the start.
    interrupt: bool,
    /// The tracer was told that the process is stopped, and has let this thread go on.
    told_group_stop: bool,
    message: u64,
    /// It is in a call whose end has not been told; and whose beginning was.
    in_call: bool,
    told_entry: bool,
    /// Its registers have the trap flag.
    stepping: bool,
    /// Its rewritten call sites are to be put back.
    fresh: bool,
    /// It has a new program, which has not begun.
    exec: bool,
    /// The number of the thread whose exec made this one the leader.
    former: Option<u64>,
    ended: Option<ExitStatus>,
}

/// The part of tracing that a task itself has. What a tracer left to do outlives the tracing.
#[derive(Default)]
struct State {
    tracee: Option<Tracee>,
    /// Registers that the tracer has changed.
    apply: Option<Box<Stopped>>,
    /// The signal that goes through.
    injected: Option<SigInfo>,
}

#[derive(Default)]
pub(super) struct Ptrace {
    state: Mutex<State, Leaf>,
    /// Whether there is anything in `state`, or was.
    used: AtomicBool,
}

/// Those whom a process' threads trace.
pub(super) type Tracees = Mutex<Vec<Arc<Task>>, Leaf>;

impl Task {
    /// Without a lock; what most tasks never were.
    pub(in crate::task) fn was_ever_traced(&self) -> bool {
        self.ptrace.used.load(Relaxed)
    }

    pub fn is_traced(&self) -> bool {
        self.was_ever_traced() && self.ptrace.state.lock().tracee.is_some()
    }

    /// Who traces it.
    pub fn tracer(&self) -> Option<Arc<Task>> {
        if !self.was_ever_traced() {
            return None;
        }
        self.ptrace.state.lock().tracee.as_ref()?.tracer.upgrade()
    }

    /// Whether `other` is a tracee of this thread's.
    pub fn traces(self: &Arc<Self>, other: &Task) -> bool {
        other.tracer().is_some_and(|tracer| Arc::ptr_eq(&tracer, self))
    }

    /// Its tracer may not trace programs with more rights than it has itself.
    pub fn has_weak_tracer(&self) -> bool {
        if !self.was_ever_traced() {
            return false;
        }
        let cred = self.with_tracee(|t| t.cred.clone());
        cred.is_some_and(|cred| !cred.has_in(&self.cred().user_ns, Cap::SysPtrace))
    }

    /// It halts for its tracer: state t of /proc/PID/stat.
    pub fn is_halted_by_tracer(&self) -> bool {
        self.was_ever_traced() && self.with_tracee(|t| t.stop.is_some_and(|stop| stop.rests)) == Some(true)
    }

    fn with_tracee<T>(&self, f: impl FnOnce(&mut Tracee) -> T) -> Option<T> {
        self.ptrace.state.lock().tracee.as_mut().map(f)
    }

    /// Whether its tracer asked for this event.
    pub(super) fn tells_tracer(&self, option: u32) -> bool {
        self.was_ever_traced() && self.with_tracee(|t| t.options & option != 0) == Some(true)
    }
}

impl ThreadGroup {
    /// The tasks that its threads trace.
    pub fn tracees(&self) -> Vec<Arc<Task>> {
        self.tracees.lock().clone()
    }
}
