//! A thread's mode of seccomp(2), and what becomes of a call that its filters do not let pass.
//!
//! Threads and processes that a task makes have its mode; exec keeps it. Calls that the host answers without asking (docs/platform.md: futexes, private anonymous memory, clocks, sched_yield) are not
//! seen here. Those that trampolines answer are: unless all of them pass, the thread answers none by itself. Neighbours: `crate::seccomp` (the filters), `events` (asks at each call). Under
//! `TaskFields`; what many threads get at once also under `TaskTree`, so that no thread is born meanwhile.

use super::drive::{Phase, Run};
use super::{ExitStatus, Task};
use crate::seccomp::{Filter, Verdict};
use crate::signal::{SIGKILL, SIGSYS, SigInfo};
use abi::Errno;
use abi::nr;
use abi::seccomp::*;
use observe::Allowance;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Calls that a trampoline answers.
const LOCAL: [u32; 10] = [
    nr::GETPID,
    nr::GETTID,
    nr::GETUID,
    nr::GETGID,
    nr::GETEUID,
    nr::GETEGID,
    nr::PREAD64,
    nr::RT_SIGPROCMASK,
    nr::RT_SIGACTION,
    nr::RT_SIGRETURN,
];

/// Which calls a thread may make.
#[derive(Clone, Default)]
pub enum Seccomp {
    #[default]
    Off,
    /// read, write, exit and rt_sigreturn.
    Strict,
    /// Those that a chain of filters lets pass.
    Filter(Arc<Filter>),
}

/// How a filter is added.
#[derive(Clone, Copy, Default)]
pub struct AddFilter {
    /// What it does not allow is told in the log.
    pub log: bool,
    /// For all threads of the process.
    pub all_threads: bool,
}

impl Seccomp {
    /// SECCOMP_MODE_*, as prctl(2) and /proc/PID/status have it.
    pub fn mode(&self) -> u32 {
        match self {
            Seccomp::Off => SECCOMP_MODE_DISABLED,
            Seccomp::Strict => SECCOMP_MODE_STRICT,
            Seccomp::Filter(_) => SECCOMP_MODE_FILTER,
        }
    }

    pub fn filters(&self) -> usize {
        if let Seccomp::Filter(newest) = self { newest.count() } else { 0 }
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Seccomp::Off)
    }

    fn is_same(&self, other: &Seccomp) -> bool {
        match (self, other) {
            (Seccomp::Filter(mine), Seccomp::Filter(other)) => Arc::ptr_eq(mine, other),
            _ => self.mode() == other.mode(),
        }
    }

    /// Whether calls that trampolines answer have to be asked about.
    pub(super) fn asks_for_local(&self) -> bool {
        match self {
            Seccomp::Off => false,
            Seccomp::Strict => true,
            Seccomp::Filter(newest) => !LOCAL.iter().all(|nr| newest.passes(*nr)),
        }
    }

    /// Whether a thread in this mode may change to the filters of `other`: it has made none that `other` lacks.
    fn precedes(&self, other: Option<&Arc<Filter>>) -> bool {
        match (self, other) {
            (Seccomp::Off, _) => true,
            (Seccomp::Filter(mine), Some(other)) => other.continues(mine),
            _ => false,
        }
    }
}

impl Task {
    pub fn seccomp(&self) -> Seccomp {
        self.fields.lock().seccomp.clone()
    }

    /// SECCOMP_SET_MODE_STRICT. EINVAL where it has filters.
    pub fn set_seccomp_strict(&self) -> Result<(), Errno> {
        if let Seccomp::Filter(_) = self.seccomp() {
            return Err(Errno::EINVAL);
        }
        self.set_seccomp(Seccomp::Strict);
        Ok(())
    }

    /// SECCOMP_SET_MODE_FILTER. EINVAL in strict mode and for a program that is no filter, ENOMEM where there are too many. Some: the number of a thread that has other filters, so that nothing was done.
    pub fn add_filter(&self, insns: &[SockFilter], how: AddFilter) -> Result<Option<i32>, Errno> {
        loop {
            let before = self.seccomp();
            let older = match &before {
                Seccomp::Off => None,
                Seccomp::Strict => return Err(Errno::EINVAL),
                Seccomp::Filter(filter) => Some(filter.clone()),
            };
            // Before the lock: a long program takes milliseconds.
            let new = Filter::new(insns.to_vec(), how.log, older.clone())?;
            let _tree = self.kernel.tree.lock();
            // Else another thread has just given this one a filter.
            if self.seccomp().is_same(&before) {
                return Ok(self.take_filter(new, older.as_ref(), how));
            }
        }
    }

    fn take_filter(&self, new: Arc<Filter>, older: Option<&Arc<Filter>>, how: AddFilter) -> Option<i32> {
        let others = if how.all_threads { self.group.tasks() } else { Vec::new() };
        let other = |task: &&Arc<Task>| !std::ptr::eq(Arc::as_ptr(task), self) && !task.has_ended();
        if let Some(apart) = others.iter().filter(other).find(|task| !task.seccomp().precedes(older)) {
            return Some(apart.tid());
        }
        let new = Seccomp::Filter(new);
        let no_new_privs = self.cred().no_new_privs;
        for task in others.iter().filter(other) {
            if no_new_privs {
                let mut fields = task.fields.lock();
                fields.cred = Arc::new(crate::cred::Cred { no_new_privs, ..(*fields.cred).clone() });
            }
            task.set_seccomp(new.clone());
        }
        self.set_seccomp(new);
        None
    }

    /// From here on the thread asks about what it has answered by itself; it may be another one, which runs.
    fn set_seccomp(&self, mode: Seccomp) {
        self.keep_seccomp(mode);
        self.watch_again();
    }

    /// Somebody wants to see what the thread has answered by itself, or nobody does any more.
    pub(super) fn watch_again(&self) {
        let asks = self.seccomp().asks_for_local() || self.is_traced();
        self.asks_for_local.store(asks, Relaxed);
        self.show_ids();
        self.show_untouched();
        self.signals.lock().mask.withdraw();
    }

    /// A task that `parent` makes. Under `TaskTree`: it is among the threads of its process at once.
    pub(super) fn inherit_seccomp(&self, parent: &Task) {
        self.keep_seccomp(parent.seccomp());
    }

    fn keep_seccomp(&self, mode: Seccomp) {
        let (on, asks) = (mode.is_on(), mode.asks_for_local());
        let old = std::mem::replace(&mut self.fields.lock().seccomp, mode);
        drop(old);
        self.screened.store(on, Relaxed);
        self.asks_for_local.store(asks, Relaxed);
    }

    /// Asks whether a call that has just begun may be made, and does what happens instead.
    pub(super) fn screen(self: &Arc<Self>, run: &mut Run, ip: u64) {
        if !self.screened.load(Relaxed) {
            return;
        }
        let (nr, args) = (run.record.nr, run.record.args);
        let verdict = match self.seccomp() {
            Seccomp::Off => return,
            Seccomp::Strict if matches!(nr, nr::READ | nr::WRITE | nr::EXIT | nr::RT_SIGRETURN) => return,
            Seccomp::Strict => {
                self.end_thread_by(SIGKILL);
                run.phase = Phase::Kicked;
                return;
            }
            Seccomp::Filter(filter) => {
                filter.decide(&SeccompData { nr, arch: AUDIT_ARCH_X86_64, instruction_pointer: ip, args })
            }
        };
        self.tell(nr, verdict);
        let value = match verdict.action {
            SECCOMP_RET_ALLOW | SECCOMP_RET_LOG => return,
            SECCOMP_RET_ERRNO => -i64::from(verdict.data.min(4095)),
            SECCOMP_RET_TRACE if self.filter_asks_tracer(verdict.data) => return,
            // Nobody listens.
            SECCOMP_RET_TRACE | SECCOMP_RET_USER_NOTIF => Errno::ENOSYS.ret(),
            SECCOMP_RET_TRAP => {
                self.force_signal(SigInfo::seccomp(verdict.data, ip, nr, AUDIT_ARCH_X86_64));
                nr.into()
            }
            SECCOMP_RET_KILL_THREAD => {
                self.end_thread_by(SIGSYS);
                run.phase = Phase::Kicked;
                return;
            }
            // What is unknown is the strictest.
            _ => {
                self.group.begin_exit(ExitStatus::Signal { sig: SIGSYS, core: false });
                run.phase = Phase::Kicked;
                return;
            }
        };
        if let Some(tracer) = self.kernel.tracer.get() {
            tracer.leave(self, nr, &args, Some(value));
        }
        run.phase = Phase::Leaving(value);
    }

    /// The thread alone, and its process where it is the last one.
    fn end_thread_by(self: &Arc<Self>, sig: i32) {
        let status = ExitStatus::Signal { sig, core: false };
        if self.group.tasks().iter().any(|task| !Arc::ptr_eq(task, self) && !task.has_ended()) {
            let _ = self.exit_status.set(status);
        } else {
            self.group.begin_exit(status);
        }
    }

    fn tell(&self, nr: u32, verdict: Verdict) {
        static TOLD: Allowance = Allowance::new();
        let asked = verdict.action == SECCOMP_RET_LOG || verdict.log && verdict.action != SECCOMP_RET_ALLOW;
        if asked && let Some(more) = TOLD.take() {
            let name = String::from_utf8_lossy(&self.comm()).into_owned();
            observe::info!("seccomp: {name} ({}) makes call {nr}: {:#x}{more}", self.tid(), verdict.action);
        }
    }
}
