//! Job control: whose terminal it is, and who may use it. credentials(7), setsid(2), tty_ioctl(4).
//!
//! A terminal knows its session and the foreground group; the session knows its terminal. Locks: the terminal's `FileState`.

use super::terminal::{State, Terminal};
use abi::Errno;
use abi::fs::makedev;
use kernel::cred::Cap;
use kernel::io::UserMemory;
use kernel::signal::{SIG_IGN, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SigInfo, bit};
use kernel::task::{Pid, Session, Task, ThreadGroup, Tty, group_members, is_orphaned, signal_pgrp};
use kernel::{Io, Op, Restart, Stop, fail};
use std::any::Any;
use std::sync::{Arc, Weak};

/// A terminal's session.
#[derive(Default)]
pub(super) struct Job {
    session: Option<Arc<Session>>,
    foreground: Option<Arc<Pid>>,
    /// Processes of the session that gave the terminal up with TIOCNOTTY.
    renounced: Vec<Weak<ThreadGroup>>,
}

impl Job {
    pub fn foreground(&self) -> Option<Arc<Pid>> {
        self.foreground.clone()
    }

    /// Forgets the session, which is returned.
    pub fn leave(&mut self) -> Option<Arc<Session>> {
        self.foreground = None;
        self.renounced.clear();
        self.session.take()
    }

    fn is_mine(&self, task: &Task) -> bool {
        let mine = self.session.as_ref().is_some_and(|s| Arc::ptr_eq(s, &task.group.session()));
        mine && !self.renounced.iter().any(|g| g.as_ptr() == Arc::as_ptr(&task.group))
    }
}

impl Tty for Terminal {
    fn device(&self) -> u64 {
        makedev(136, self.index)
    }
    fn foreground(&self) -> Option<Arc<Pid>> {
        self.state.lock().job.foreground()
    }
    /// Whoever has a pseudo-terminal open goes on with it after the session's end, as on Linux: only real lines are hung up.
    fn disassociate(&self) {
        let session = self.state.lock().job.leave();
        drop(session);
    }
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// What a task of the background is to be stopped with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Writes with TOSTOP, and changes of settings always.
    Change,
}

impl Terminal {
    /// Whether this is the task's controlling terminal.
    pub(super) fn controls(&self, task: &Task) -> bool {
        self.state.lock().job.is_mine(task)
    }

    /// Stops a caller that is not in the foreground group of its own terminal. EIO where nobody would continue it.
    pub(super) fn check_foreground(&self, io: &Io<'_>, access: Access) -> Op<()> {
        let Some(task) = Task::of(io) else { return Ok(()) };
        let foreground = {
            let state = self.state.lock();
            if !state.job.is_mine(&task) {
                return Ok(());
            }
            state.job.foreground()
        };
        let pgrp = task.group.pgrp();
        let Some(foreground) = foreground else { return Ok(()) };
        if Arc::ptr_eq(&foreground, &pgrp) {
            return Ok(());
        }
        let sig = if access == Access::Read { SIGTTIN } else { SIGTTOU };
        let ignored = {
            let group = task.group.signals.lock();
            group.actions.get(sig).handler == SIG_IGN || task.signals.lock().mask.get() & bit(sig) != 0
        };
        if ignored {
            return if access == Access::Read { fail(Errno::EIO) } else { Ok(()) };
        }
        if is_orphaned(&task, &pgrp, None) {
            return fail(Errno::EIO);
        }
        signal_pgrp(&task.kernel, &pgrp, SigInfo::kernel(sig));
        Err(Stop::Restart(Restart::Sys))
    }

    /// open(2) without O_NOCTTY: a session leader without a terminal gets this one, where it is nobody's.
    pub(super) fn adopt_at_open(self: &Arc<Self>, task: &Arc<Task>) {
        let session = task.group.session();
        let leader = Arc::ptr_eq(&session.pid, &task.group.pid);
        if leader && session.tty().is_none() {
            let mut state = self.state.lock();
            if state.job.session.is_none() && !state.hung_up {
                Self::take(&mut state, &session, task);
                drop(state);
                drop(session.set_tty(Some(self.clone())));
            }
        }
    }

    fn take(state: &mut State, session: &Arc<Session>, task: &Task) {
        state.job.session = Some(session.clone());
        state.job.foreground = Some(task.group.pgrp());
        state.job.renounced.clear();
    }

    /// TIOCSCTTY; with `steal` and CAP_SYS_ADMIN also another session's terminal.
    pub(crate) fn make_controlling(self: &Arc<Self>, io: &Io<'_>, steal: bool, readable: bool) -> Op<()> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        let session = task.group.session();
        let leader = Arc::ptr_eq(&session.pid, &task.group.pid);
        if leader && self.controls(&task) {
            return Ok(());
        }
        if !leader || session.tty().is_some() {
            return fail(Errno::EPERM);
        }
        let admin = io.cred.has(Cap::SysAdmin);
        if !readable && !admin {
            return fail(Errno::EPERM);
        }
        let robbed = {
            let mut state = self.state.lock();
            if state.hung_up {
                return fail(Errno::EIO);
            }
            if state.job.session.is_some() && !(steal && admin) {
                return fail(Errno::EPERM);
            }
            let robbed = state.job.leave();
            Self::take(&mut state, &session, &task);
            robbed
        };
        if let Some(robbed) = robbed {
            drop(robbed.set_tty(None));
        }
        drop(session.set_tty(Some(self.clone())));
        Ok(())
    }

    /// TIOCNOTTY: the session leader gives the terminal up for all, others for themselves.
    pub(super) fn give_up(&self, io: &Io<'_>) -> Op<()> {
        let task = Task::of(io).filter(|t| self.controls(t)).ok_or(Errno::ENOTTY)?;
        let session = task.group.session();
        if !Arc::ptr_eq(&session.pid, &task.group.pid) {
            let mut state = self.state.lock();
            state.job.renounced.retain(|g| g.strong_count() > 0);
            state.job.renounced.push(Arc::downgrade(&task.group));
            return Ok(());
        }
        let (foreground, left) = {
            let mut state = self.state.lock();
            (state.job.foreground(), state.job.leave())
        };
        drop(left);
        drop(session.set_tty(None));
        if let Some(pgrp) = foreground {
            signal_pgrp(&self.kernel, &pgrp, SigInfo::kernel(SIGHUP));
            signal_pgrp(&self.kernel, &pgrp, SigInfo::kernel(SIGCONT));
        }
        Ok(())
    }

    /// TIOCGPGRP. The master may ask although the terminal is not its own.
    pub(super) fn get_foreground(&self, io: &Io<'_>, memory: &dyn UserMemory, arg: u64, master: bool) -> Op<u64> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        if !master && !self.controls(&task) {
            return fail(Errno::ENOTTY);
        }
        let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
        let number = self.state.lock().job.foreground().map_or(0, |p| p.number_in(&ns));
        memory.write(arg, &number.to_le_bytes()).map(|()| 0)
    }

    /// TIOCSPGRP.
    pub(super) fn set_foreground(&self, io: &Io<'_>, memory: &dyn UserMemory, arg: u64) -> Op<u64> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        match self.check_foreground(io, Access::Change) {
            Err(Stop::Errno(Errno::EIO)) => return fail(Errno::ENOTTY),
            other => other?,
        }
        if !self.controls(&task) {
            return fail(Errno::ENOTTY);
        }
        let mut number = [0; 4];
        memory.read(arg, &mut number)?;
        let number = i32::from_le_bytes(number);
        if number < 0 {
            return fail(Errno::EINVAL);
        }
        let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
        let pgrp = ns.find(number).ok_or(Errno::ESRCH)?;
        let session = task.group.session();
        if !group_members(&task, &pgrp).iter().any(|g| Arc::ptr_eq(&g.session(), &session)) {
            return fail(Errno::EPERM);
        }
        let old = self.state.lock().job.foreground.replace(pgrp);
        drop(old);
        Ok(0)
    }

    /// TIOCGSID.
    pub(super) fn get_session(&self, io: &Io<'_>, memory: &dyn UserMemory, arg: u64, master: bool) -> Op<u64> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        if !master && !self.controls(&task) {
            return fail(Errno::ENOTTY);
        }
        let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
        let session = self.state.lock().job.session.clone().ok_or(Errno::ENOTTY)?;
        memory.write(arg, &session.pid.number_in(&ns).to_le_bytes()).map(|()| 0)
    }
}
