//! The end of tasks and waiting for it: exit(2), exit_group(2), wait4(2), waitid(2).

use abi::Errno;
use kernel::signal::SIGCHLD;
use kernel::task::ptrace::TraceeReport;
use kernel::task::{ChildEvent, ExitStatus, GroupState, Pid, PidNs, Task, ThreadGroup, Usage, child_info};
use kernel::wait::Events;
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const WNOHANG: u32 = 1;
const WSTOPPED: u32 = 2;
const WEXITED: u32 = 4;
const WCONTINUED: u32 = 8;
const WNOWAIT: u32 = 0x0100_0000;
const WNOTHREAD: u32 = 0x2000_0000;
const WALL: u32 = 0x4000_0000;
const WCLONE: u32 = 0x8000_0000;

pub fn sys_exit(_call: &mut Call<'_>, [status, ..]: Args) -> Op<Ret> {
    Ok(Ret::ExitThread { status: status as i32 })
}

pub fn sys_exit_group(_call: &mut Call<'_>, [status, ..]: Args) -> Op<Ret> {
    Ok(Ret::ExitGroup { status: status as i32 })
}

/// Which children are meant.
enum Which {
    Any,
    Process(i32),
    Group(i32),
    OwnGroup,
    Pidfd(Arc<Pid>),
}

/// What a child has to tell.
struct Report {
    pid: i32,
    uid: u32,
    /// CLD_* of sigaction(2).
    code: i32,
    status: ExitStatusOrSignal,
    usage: Usage,
    child: Arc<ThreadGroup>,
}

enum ExitStatusOrSignal {
    Exit(ExitStatus),
    Stopped(i32),
    /// A tracee's: with what the tracer is told besides the signal in the upper bits.
    Trapped(i32),
    Continued,
}

impl Report {
    /// May sleep.
    fn rusage(&self) -> crate::rlimit::Rusage {
        let peak = self.child.peak().max(self.child.children_peak());
        crate::rlimit::rusage_of(&self.usage, self.child.times_with_children(&self.usage), peak)
    }
    fn wait_status(&self) -> i32 {
        match self.status {
            ExitStatusOrSignal::Exit(status) => status.wait_status(),
            ExitStatusOrSignal::Stopped(code) | ExitStatusOrSignal::Trapped(code) => code << 8 | 0x7f,
            ExitStatusOrSignal::Continued => 0xffff,
        }
    }
    fn si_status(&self) -> i32 {
        match self.status {
            ExitStatusOrSignal::Exit(ExitStatus::Code(code)) => code,
            ExitStatusOrSignal::Exit(ExitStatus::Signal { sig, .. }) => sig,
            ExitStatusOrSignal::Stopped(code) | ExitStatusOrSignal::Trapped(code) => code,
            ExitStatusOrSignal::Continued => kernel::signal::SIGCONT,
        }
    }
}

pub fn sys_wait4(call: &mut Call<'_>, [pid, status_at, options, usage_at, ..]: Args) -> Op<Ret> {
    let options = options as u32;
    if options & !(WNOHANG | WSTOPPED | WCONTINUED | WNOTHREAD | WALL | WCLONE) != 0 {
        return fail(Errno::EINVAL);
    }
    let which = match pid as i32 {
        -1 => Which::Any,
        0 => Which::OwnGroup,
        i32::MIN => return fail(Errno::ESRCH),
        pid if pid > 0 => Which::Process(pid),
        pid => Which::Group(-pid),
    };
    let Some(report) = wait(call, &which, options | WEXITED)? else { return Ok(0.into()) };
    call.put_if(status_at, &report.wait_status())?;
    if usage_at != 0 {
        call.put(usage_at, &report.rusage())?;
    }
    Ok(report.pid.into())
}

pub fn sys_waitid(call: &mut Call<'_>, [kind, id, info_at, options, usage_at, _]: Args) -> Op<Ret> {
    let options = options as u32;
    let known = WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WALL | WCLONE;
    if options & !known != 0 || options & (WEXITED | WSTOPPED | WCONTINUED) == 0 {
        return fail(Errno::EINVAL);
    }
    let id = id as i32;
    let mut nonblocking = false;
    let which = match kind as u32 {
        0 => Which::Any,
        1 if id > 0 => Which::Process(id),
        2 if id == 0 => Which::OwnGroup,
        2 if id > 0 => Which::Group(id),
        3 if id >= 0 => {
            let file = call.file(id as u64)?;
            nonblocking = file.nonblocking();
            Which::Pidfd(crate::pidfd::pid_of(&file)?)
        }
        _ => return fail(Errno::EINVAL),
    };
    let hang = if nonblocking { options | WNOHANG } else { options };
    let report = wait(call, &which, hang)?;
    if report.is_none() && nonblocking && options & WNOHANG == 0 {
        return fail(Errno::EAGAIN);
    }
    if info_at != 0 {
        let mut raw = [0u8; 128];
        if let Some(report) = &report {
            let info = kernel::signal::SigInfo::child(report.code, report.pid, report.uid, report.si_status(), 0, 0);
            raw = *info.raw();
            // The times are not part of what waitid fills in.
        }
        call.put(info_at, raw.get(..48).unwrap_or_default())?;
    }
    if usage_at != 0
        && let Some(report) = &report
    {
        call.put(usage_at, &report.rusage())?;
    }
    Ok(0.into())
}

fn wait(call: &mut Call<'_>, which: &Which, options: u32) -> Op<Option<Report>> {
    let task = call.task.clone();
    let queue = task.group.children_changed.clone();
    let mut io = call.io();
    io.nonblock = options & WNOHANG != 0;
    let found = io.wait_for(&queue, Events::IN, || look(&task, which, options));
    match found {
        Ok(report) => Ok(Some(report)),
        Err(kernel::Stop::Errno(Errno::EAGAIN)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// Looks through the children once. ECHILD where none is meant, None where none has anything to tell yet.
fn look(task: &Arc<Task>, which: &Which, options: u32) -> Op<Option<Report>> {
    let ns = task.pid.ns().ok_or(Errno::ECHILD)?;
    let mut any = false;
    let is_meant = |pid: &Arc<Pid>, group: &ThreadGroup| match which {
        Which::Any => true,
        Which::Process(number) => pid.number_in(&ns) == *number,
        Which::Group(pgrp) => group.pgrp().number_in(&ns) == *pgrp,
        Which::OwnGroup => Arc::ptr_eq(&group.pgrp(), &task.group.pgrp()),
        Which::Pidfd(other) => Arc::ptr_eq(pid, other),
    };
    for tracee in task.group.tracees() {
        let mine = options & WNOTHREAD == 0 || task.traces(&tracee);
        if !(mine && is_meant(&tracee.pid, &tracee.group)) {
            continue;
        }
        any = true;
        if let Some(report) = tracee.tracee_report(options & WEXITED != 0, options & WNOWAIT != 0) {
            return Ok(Some(report_of(&tracee, report, &ns)));
        }
    }
    for child in task.group.children() {
        let meant = is_meant(&child.pid, &child);
        let special = child.exit_signal.load(Relaxed) != SIGCHLD;
        let of_kind = options & WALL != 0 || special == (options & WCLONE != 0);
        let mine = options & WNOTHREAD == 0
            || child.links.lock().parent_task.upgrade().is_some_and(|parent| Arc::ptr_eq(&parent, task));
        if !(meant && of_kind && mine) {
            continue;
        }
        // One that has ended has nothing else to tell any more.
        any |= options & WEXITED != 0 || !matches!(child.links.lock().state, GroupState::Zombie(_));
        if let Some(report) = take_report(&child, task, options) {
            return Ok(Some(report));
        }
    }
    if any { Ok(None) } else { fail(Errno::ECHILD) }
}

fn report_of(tracee: &Arc<Task>, report: TraceeReport, ns: &PidNs) -> Report {
    let (code, status) = match report {
        TraceeReport::Stopped(code) => (4, ExitStatusOrSignal::Trapped(code)),
        TraceeReport::Ended(status) => (exit_code(status), ExitStatusOrSignal::Exit(status)),
    };
    let (pid, uid) = (tracee.pid.number_in(ns), tracee.cred().uid);
    Report { pid, uid, code, status, usage: tracee.group.usage(), child: tracee.group.clone() }
}

/// CLD_* of an end.
fn exit_code(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(_) => 1,
        ExitStatus::Signal { core: true, .. } => 3,
        ExitStatus::Signal { .. } => 2,
    }
}

fn take_report(child: &Arc<ThreadGroup>, task: &Task, options: u32) -> Option<Report> {
    if child.is_held_for_tracer() {
        return None;
    }
    let options = if child.is_traced_by(&task.group) { options & !(WSTOPPED | WCONTINUED) } else { options };
    let keep = options & WNOWAIT != 0;
    let (code, status) = {
        let mut links = child.links.lock();
        match (links.state, links.event) {
            (GroupState::Zombie(status), _) if options & WEXITED != 0 => {
                if !keep {
                    links.state = GroupState::Reaped;
                }
                (exit_code(status), ExitStatusOrSignal::Exit(status))
            }
            (GroupState::Alive, Some(ChildEvent::Stopped(sig))) if options & WSTOPPED != 0 => {
                if !keep {
                    links.event = None;
                }
                (5, ExitStatusOrSignal::Stopped(sig))
            }
            (GroupState::Alive, Some(ChildEvent::Continued)) if options & WCONTINUED != 0 => {
                if !keep {
                    links.event = None;
                }
                (6, ExitStatusOrSignal::Continued)
            }
            _ => return None,
        }
    };
    let info = child_info(child, &task.group, code, 0);
    let mut usage = child.usage();
    usage.add(&child.children_usage());
    let report = Report { pid: info.pid(), uid: info.uid(), code, status, usage, child: child.clone() };
    if !keep && matches!(report.status, ExitStatusOrSignal::Exit(_)) {
        child.reap();
    }
    Some(report)
}
