//! Scheduling: sched_yield(2), sched_setaffinity(2), getpriority(2) and their kind. sched(7). Policies are in `sched_policy`.
//!
//! The host schedules; policies and priorities are kept and shown, and nice values beyond 0 need what Linux needs.

use abi::Errno;
use abi::task::{
    IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_NONE, IOPRIO_CLASS_RT, IOPRIO_CLASS_SHIFT, SCHED_FIFO, SCHED_RR,
};
use kernel::cred::Cap;
use kernel::task::{Sched, Task};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

pub fn sys_sched_yield(_: &mut Call<'_>, _: Args) -> Op<Ret> {
    Ok(().into())
}

pub(crate) fn target(call: &Call<'_>, pid: u64) -> Op<Arc<Task>> {
    match pid as i32 {
        0 => Ok(call.task.clone()),
        pid if pid < 0 => fail(Errno::EINVAL),
        pid => call.task.pid.ns().and_then(|ns| ns.task(pid)).ok_or(Errno::ESRCH.into()),
    }
}

pub(crate) fn may_change(call: &Call<'_>, other: &Task) -> bool {
    let (mine, theirs) = (call.task.cred(), other.cred());
    [theirs.uid, theirs.euid].contains(&mine.euid) || mine.has_in(&theirs.user_ns, Cap::SysNice)
}

/// As `target`, but there is just no task with a negative number.
fn affinity_target(call: &Call<'_>, pid: u64) -> Op<Arc<Task>> {
    if (pid as i32) < 0 { fail(Errno::ESRCH) } else { target(call, pid) }
}

pub fn sys_sched_getaffinity(call: &mut Call<'_>, [pid, size, at, ..]: Args) -> Op<Ret> {
    let bytes = call.task.kernel.cpus.div_ceil(64) * 8;
    if (size as usize) < bytes || size % 8 != 0 {
        return fail(Errno::EINVAL);
    }
    let task = affinity_target(call, pid)?;
    let mut mask = vec![0u8; bytes];
    for cpu in task.affinity() {
        if let Some(byte) = mask.get_mut(cpu / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }
    call.put(at, mask.as_slice())?;
    Ok(bytes.into())
}

pub fn sys_sched_setaffinity(call: &mut Call<'_>, [pid, size, at, ..]: Args) -> Op<Ret> {
    let mask = call.get_vec::<u8>(at, (size as usize).min(1024))?;
    let task = affinity_target(call, pid)?;
    if !may_change(call, &task) {
        return fail(Errno::EPERM);
    }
    let has = |cpu: &usize| mask.get(cpu / 8).is_some_and(|byte| byte & 1 << (cpu % 8) != 0);
    let cpus: Vec<usize> = (0..call.task.kernel.cpus).filter(has).collect();
    if cpus.is_empty() {
        return fail(Errno::EINVAL);
    }
    task.ask_for_cpus(cpus)?;
    Ok(().into())
}

/// The tasks that getpriority's `which` and `who` mean.
fn priority_targets(call: &Call<'_>, which: u64, who: u64) -> Op<Vec<Arc<Task>>> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let groups = || kernel::task::processes(call.task).into_iter();
    let tasks: Vec<Arc<Task>> = match (which as i32, who as i32) {
        (0, 0) => vec![call.task.clone()],
        (0, pid) => ns.task(pid).into_iter().collect(),
        (1, 0) => {
            kernel::task::group_members(call.task, &call.task.group.pgrp()).iter().flat_map(|g| g.tasks()).collect()
        }
        (1, pgrp) => groups().filter(|g| g.pgrp().number_in(&ns) == pgrp).flat_map(|g| g.tasks()).collect(),
        (2, uid) => {
            let uid = if uid == 0 { call.task.cred().uid } else { uid as u32 };
            groups().flat_map(|g| g.tasks()).filter(|t| t.cred().uid == uid).collect()
        }
        _ => return fail(Errno::EINVAL),
    };
    if tasks.is_empty() { fail(Errno::ESRCH) } else { Ok(tasks) }
}

pub fn sys_getpriority(call: &mut Call<'_>, [which, who, ..]: Args) -> Op<Ret> {
    let best = priority_targets(call, which, who)?.iter().map(|t| t.sched().nice).min().unwrap_or(0);
    // The call gives 20 - nice, so that it is never negative.
    Ok((20 - best).into())
}

pub fn sys_setpriority(call: &mut Call<'_>, [which, who, nice, ..]: Args) -> Op<Ret> {
    let nice = (nice as i32).clamp(-20, 19);
    for task in priority_targets(call, which, who)? {
        if !may_change(call, &task) {
            return fail(Errno::EPERM);
        }
        let sched = task.sched();
        if nice < sched.nice && !may_lower(call, &task, nice) {
            return fail(Errno::EACCES);
        }
        task.set_sched(Sched { nice, ..sched });
    }
    Ok(().into())
}

/// Whether the caller may give the task a nice value that is better than the one it has.
pub(crate) fn may_lower(call: &Call<'_>, task: &Task, nice: i32) -> bool {
    let limit = 20 - task.group.limit(kernel::task::Resource::Nice).min(40) as i32;
    let cred = call.task.cred();
    nice >= limit || cred.has_in(&cred.user_ns, Cap::SysNice)
}

/// The tasks that ioprio_get's `which` and `who` mean: as getpriority's, counted from 1.
fn io_targets(call: &Call<'_>, which: u64, who: u64) -> Op<Vec<Arc<Task>>> {
    priority_targets(call, u64::from((which as u32).wrapping_sub(1)), who)
}

pub fn sys_ioprio_set(call: &mut Call<'_>, [which, who, value, ..]: Args) -> Op<Ret> {
    let Ok(io) = u16::try_from(value as u32) else { return fail(Errno::EINVAL) };
    let cred = call.task.cred();
    match u32::from(io >> IOPRIO_CLASS_SHIFT) {
        IOPRIO_CLASS_NONE if io & 7 == 0 => {}
        IOPRIO_CLASS_RT if !cred.has_in(&cred.user_ns, Cap::SysAdmin) && !cred.has_in(&cred.user_ns, Cap::SysNice) => {
            return fail(Errno::EPERM);
        }
        IOPRIO_CLASS_RT | IOPRIO_CLASS_BE | IOPRIO_CLASS_IDLE => {}
        _ => return fail(Errno::EINVAL),
    }
    for task in io_targets(call, which, who)? {
        let theirs = task.cred();
        if ![cred.uid, cred.euid].contains(&theirs.uid) && !cred.has_in(&theirs.user_ns, Cap::SysNice) {
            return fail(Errno::EPERM);
        }
        task.set_sched(Sched { io, ..task.sched() });
    }
    Ok(().into())
}

/// Of one task what was set; of several the best that counts, which follows the nice value where nothing was set.
pub fn sys_ioprio_get(call: &mut Call<'_>, [which, who, ..]: Args) -> Op<Ret> {
    let tasks = io_targets(call, which, who)?;
    let counts = |sched: Sched| {
        let class = if sched.is_realtime() { IOPRIO_CLASS_RT } else { IOPRIO_CLASS_BE };
        let level = (sched.nice + 20) as u32 / 5;
        let of_nice = class << IOPRIO_CLASS_SHIFT | level;
        if sched.io >> IOPRIO_CLASS_SHIFT == 0 { of_nice } else { sched.io.into() }
    };
    match &*tasks {
        [task] if which as u32 == 1 => Ok(u32::from(task.sched().io).into()),
        tasks => Ok(tasks.iter().map(|task| counts(task.sched())).min().ok_or(Errno::ESRCH)?.into()),
    }
}

pub fn sys_sched_rr_get_interval(call: &mut Call<'_>, [pid, at, ..]: Args) -> Op<Ret> {
    let task = target(call, pid)?;
    let ns: i64 = match task.sched().policy {
        SCHED_RR => 100_000_000,
        SCHED_FIFO => 0,
        _ => 4_000_000,
    };
    call.put(at, &[0i64, ns])?;
    Ok(().into())
}

pub fn sys_getcpu(call: &mut Call<'_>, [cpu, node, ..]: Args) -> Op<Ret> {
    // Where the guest's thread ran last, the host says (proc_pid_stat(5), processor): whoever runs this call, a poller for one, may be elsewhere.
    let stat = call.task.thread().and_then(|thread| kernel::block_in_place(|| thread.proc_file("stat")));
    let processor =
        stat.as_deref().and_then(|stat| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(36)?.parse().ok());
    let at: u32 = processor.unwrap_or_else(|| host::rustix::thread::sched_getcpu() as u32);
    call.put_if(cpu, &at)?;
    call.put_if(node, &0u32)?;
    Ok(().into())
}
