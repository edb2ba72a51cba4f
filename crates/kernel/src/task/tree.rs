//! Process groups, sessions, and the terminal that a session may have. setpgid(2), setsid(2), credentials(7).
//!
//! Locks: `TaskTree` (the kernel's `tree`) around changes of several processes.

use super::{Audience, GroupState, Pid, Task, ThreadGroup};
use crate::locks::TtyJob;
use crate::op::{Op, fail};
use crate::signal::{SIGCONT, SIGHUP, SigInfo};
use abi::Errno;
use lock::Mutex;
use std::any::Any;
use std::sync::Arc;

/// A terminal as the session that it controls sees it. Implemented by `devices::tty`.
pub trait Tty: Any + Send + Sync {
    /// Device number for /proc/PID/stat's tty_nr.
    fn device(&self) -> u64;
    /// The foreground process group.
    fn foreground(&self) -> Option<Arc<Pid>>;
    /// The session leader has gone, or has given the terminal up: forget the session.
    fn disassociate(&self);
    /// What /dev/tty opens.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A session.
pub struct Session {
    /// The identity of its leader.
    pub pid: Arc<Pid>,
    tty: Mutex<Option<Arc<dyn Tty>>, TtyJob>,
}

impl Session {
    pub fn new(pid: Arc<Pid>) -> Arc<Session> {
        Arc::new(Session { pid, tty: Mutex::new(None) })
    }
    /// The controlling terminal.
    pub fn tty(&self) -> Option<Arc<dyn Tty>> {
        self.tty.lock().clone()
    }
    /// Returns the old one.
    pub fn set_tty(&self, tty: Option<Arc<dyn Tty>>) -> Option<Arc<dyn Tty>> {
        std::mem::replace(&mut *self.tty.lock(), tty)
    }
}

impl Task {
    /// setsid(2): a new session and process group, without a terminal. EPERM for a group leader.
    pub fn set_sid(self: &Arc<Self>) -> Op<Arc<Session>> {
        let _tree = self.kernel.tree.lock();
        let group = &self.group;
        let leads = Arc::ptr_eq(&group.pgrp(), &group.pid)
            || processes(self).iter().any(|g| Arc::ptr_eq(&g.pgrp(), &group.pid));
        if leads {
            return fail(Errno::EPERM);
        }
        let session = Session::new(group.pid.clone());
        let mut links = group.links.lock();
        let old = (
            std::mem::replace(&mut links.session, session.clone()),
            std::mem::replace(&mut links.pgrp, group.pid.clone()),
        );
        drop(links);
        drop(old);
        Ok(session)
    }

    /// setpgid(2) with numbers of the caller's PID namespace; 0 means the caller's own.
    pub fn set_pgid(self: &Arc<Self>, pid: i32, pgid: i32) -> Op<()> {
        if pgid < 0 {
            return fail(Errno::EINVAL);
        }
        let ns = self.pid.ns().ok_or(Errno::ESRCH)?;
        let _tree = self.kernel.tree.lock();
        let target = if pid == 0 { self.group.clone() } else { ns.group(pid).ok_or(Errno::ESRCH)? };
        let session = self.group.session();
        if !Arc::ptr_eq(&target, &self.group) {
            let child = target.parent().is_some_and(|p| Arc::ptr_eq(&p, &self.group));
            if !child {
                return fail(Errno::ESRCH);
            }
            if !Arc::ptr_eq(&target.session(), &session) {
                return fail(Errno::EPERM);
            }
            if target.has_exec.load(std::sync::atomic::Ordering::Relaxed) {
                return fail(Errno::EACCES);
            }
        }
        if Arc::ptr_eq(&target.session().pid, &target.pid) {
            return fail(Errno::EPERM);
        }
        let pgrp = match if pgid == 0 { target.pid.number_in(&ns) } else { pgid } {
            own if own == target.pid.number_in(&ns) => target.pid.clone(),
            other => {
                let member = processes(self)
                    .into_iter()
                    .find(|g| g.pgrp().number_in(&ns) == other && Arc::ptr_eq(&g.session(), &session));
                member.ok_or(Errno::EPERM)?.pgrp()
            }
        };
        let old = std::mem::replace(&mut target.links.lock().pgrp, pgrp);
        drop(old);
        Ok(())
    }
}

/// Sends a signal to each member of a process group, as a terminal does.
pub fn signal_pgrp(kernel: &crate::Kernel, pgrp: &Arc<Pid>, info: SigInfo) {
    for group in Audience::group(kernel, pgrp).iter() {
        super::send::send(group, None, info);
    }
}

/// All processes of the sandbox.
pub fn processes(task: &Task) -> Vec<Arc<ThreadGroup>> {
    task.kernel.root_pid_ns.groups().into_iter().map(|(_, g)| g).collect()
}

/// The living members of a process group.
pub fn group_members(task: &Task, pgrp: &Arc<Pid>) -> Vec<Arc<ThreadGroup>> {
    processes(task).into_iter().filter(|g| Arc::ptr_eq(&g.pgrp(), pgrp)).collect()
}

/// Whether no member of the process group has a parent in another group of its session: nobody would continue it.
pub fn is_orphaned(task: &Task, pgrp: &Arc<Pid>, without: Option<&Arc<ThreadGroup>>) -> bool {
    !group_members(task, pgrp).iter().any(|member| {
        if without.is_some_and(|w| Arc::ptr_eq(w, member)) || member.state() != GroupState::Alive {
            return false;
        }
        member.parent().is_some_and(|parent| {
            // Also when it is a container's first process: a shell may well be that. Only the whole system's init does not count on Linux.
            !Arc::ptr_eq(&parent.pgrp(), pgrp) && Arc::ptr_eq(&parent.session(), &member.session())
        })
    })
}

/// exit(3): a process group that becomes orphaned and has stopped members gets SIGHUP and SIGCONT. `parent` and `child` are
/// those whose bond is gone: only between two groups of one session did it keep the child's group from being an orphan.
pub fn wake_orphans(
    task: &Task,
    parent: &Arc<ThreadGroup>,
    child: &Arc<ThreadGroup>,
    leaving: Option<&Arc<ThreadGroup>>,
) {
    let pgrp = &child.pgrp();
    if Arc::ptr_eq(&parent.pgrp(), pgrp) || !Arc::ptr_eq(&parent.session(), &child.session()) {
        return;
    }
    let members = group_members(task, pgrp);
    let stopped = members.iter().any(|g| matches!(g.signals.lock().stop, super::Stop::Stopped(_)));
    if stopped && is_orphaned(task, pgrp, leaving) {
        for member in members {
            super::send::send(&member, None, SigInfo::kernel(SIGHUP));
            super::send::send(&member, None, SigInfo::kernel(SIGCONT));
        }
    }
}
