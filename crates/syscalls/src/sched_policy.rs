//! Scheduling policies: sched_setscheduler(2), sched_setparam(2), sched_setattr(2), sched_get_priority_max(2). sched(7).
//!
//! The host does not run guests in real time: nothing that a sandbox does may starve its neighbours. So policies are kept, shown and inherited
//! (`kernel::task::Sched`), and no bandwidth is there for SCHED_DEADLINE, which is a promise: EBUSY, as where admission control refuses it.

use crate::sched::{may_change, may_lower, target};
use abi::Errno;
use abi::task::{
    SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_FLAG_ALL, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_KEEP_POLICY,
    SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_UTIL_CLAMP, SCHED_IDLE, SCHED_NORMAL, SCHED_RESET_ON_FORK, SCHED_RR,
    SchedAttr,
};
use kernel::cred::Cap;
use kernel::task::{Resource, Sched, Task};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// Sizes of `struct sched_attr`: its first version's, and the largest that is looked at.
const ATTR_SIZE_VER0: u32 = 48;
const PAGE: u32 = 4096;

fn priority_range(policy: u64) -> Op<(u32, u32)> {
    match policy as u32 {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => fail(Errno::EINVAL),
    }
}

pub fn sys_sched_get_priority_max(_: &mut Call<'_>, [policy, ..]: Args) -> Op<Ret> {
    Ok(priority_range(policy)?.1.into())
}

pub fn sys_sched_get_priority_min(_: &mut Call<'_>, [policy, ..]: Args) -> Op<Ret> {
    Ok(priority_range(policy)?.0.into())
}

pub fn sys_sched_getscheduler(call: &mut Call<'_>, [pid, ..]: Args) -> Op<Ret> {
    let sched = target(call, pid)?.sched();
    Ok((sched.policy | if sched.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 }).into())
}

pub fn sys_sched_getparam(call: &mut Call<'_>, [pid, at, ..]: Args) -> Op<Ret> {
    if at == 0 {
        return fail(Errno::EINVAL);
    }
    call.put(at, &target(call, pid)?.sched().priority)?;
    Ok(().into())
}

pub fn sys_sched_setscheduler(call: &mut Call<'_>, [pid, policy, at, ..]: Args) -> Op<Ret> {
    if (policy as i32) < 0 {
        return fail(Errno::EINVAL);
    }
    let policy = policy as u32;
    set_policy(call, pid, Some((policy & !SCHED_RESET_ON_FORK, policy & SCHED_RESET_ON_FORK != 0)), at)
}

pub fn sys_sched_setparam(call: &mut Call<'_>, [pid, at, ..]: Args) -> Op<Ret> {
    set_policy(call, pid, None, at)
}

fn set_policy(call: &Call<'_>, pid: u64, policy: Option<(u32, bool)>, at: u64) -> Op<Ret> {
    if at == 0 || (pid as i32) < 0 {
        return fail(Errno::EINVAL);
    }
    let priority = call.get::<u32>(at)?;
    let task = target(call, pid)?;
    let now = task.sched();
    let (policy, reset_on_fork) = policy.unwrap_or((now.policy, now.reset_on_fork));
    set(call, &task, Sched { policy, priority, reset_on_fork, ..now }, None)
}

pub fn sys_sched_setattr(call: &mut Call<'_>, [pid, at, flags, ..]: Args) -> Op<Ret> {
    if at == 0 || (pid as i32) < 0 || flags != 0 {
        return fail(Errno::EINVAL);
    }
    let attr = get_attr(call, at)?;
    if (attr.sched_policy as i32) < 0 {
        return fail(Errno::EINVAL);
    }
    let has = |flag: u32| attr.sched_flags & u64::from(flag) != 0;
    if has(SCHED_FLAG_UTIL_CLAMP) && attr.size < size_of::<SchedAttr>() as u32 {
        return fail(Errno::EINVAL);
    }
    let task = target(call, pid)?;
    let now = task.sched();
    let (policy, reset_on_fork) = if has(SCHED_FLAG_KEEP_POLICY) {
        (now.policy, now.reset_on_fork)
    } else {
        (attr.sched_policy, has(SCHED_FLAG_RESET_ON_FORK))
    };
    let (priority, nice) = if [SCHED_NORMAL, SCHED_BATCH].contains(&policy) {
        (attr.sched_priority, attr.sched_nice.clamp(-20, 19))
    } else {
        (attr.sched_priority, now.nice)
    };
    set(call, &task, Sched { policy, priority, nice, reset_on_fork, ..now }, Some(&attr))
}

/// The caller's struct, whose first word is its size: what it has more of than we do must be zero. E2BIG tells it our size.
fn get_attr(call: &Call<'_>, at: u64) -> Op<SchedAttr> {
    let ours = size_of::<SchedAttr>();
    let size = match call.get::<u32>(at)? {
        0 => ATTR_SIZE_VER0,
        size => size,
    };
    let too_big = || {
        call.put(at, &(ours as u32))?;
        fail(Errno::E2BIG)
    };
    if !(ATTR_SIZE_VER0..=PAGE).contains(&size) {
        return too_big();
    }
    let bytes: Vec<u8> = call.get_vec(at, size as usize)?;
    let (known, rest) = bytes.split_at(ours.min(bytes.len()));
    if rest.iter().any(|byte| *byte != 0) {
        return too_big();
    }
    let mut attr = SchedAttr::new_zeroed();
    if let Some(to) = attr.as_mut_bytes().get_mut(..known.len()) {
        to.copy_from_slice(known);
    }
    attr.size = size;
    Ok(attr)
}

pub fn sys_sched_getattr(call: &mut Call<'_>, [pid, at, size, flags, ..]: Args) -> Op<Ret> {
    let size = size as u32;
    if at == 0 || (pid as i32) < 0 || !(ATTR_SIZE_VER0..=PAGE).contains(&size) || flags != 0 {
        return fail(Errno::EINVAL);
    }
    let sched = target(call, pid)?.sched();
    let size = size.min(size_of::<SchedAttr>() as u32);
    let attr = SchedAttr {
        size,
        sched_policy: sched.policy,
        sched_flags: if sched.reset_on_fork { SCHED_FLAG_RESET_ON_FORK.into() } else { 0 },
        sched_priority: sched.priority,
        sched_nice: if sched.is_realtime() { 0 } else { sched.nice },
        ..SchedAttr::new_zeroed()
    };
    if let Some(bytes) = attr.as_bytes().get(..size as usize) {
        call.put(at, bytes)?;
    }
    Ok(().into())
}

/// Checks and sets; `attr` where sched_setattr(2) asks.
fn set(call: &Call<'_>, task: &Arc<Task>, want: Sched, attr: Option<&SchedAttr>) -> Op<Ret> {
    let (low, high) = priority_range(want.policy.into())?;
    let flags = attr.map_or(0, |attr| attr.sched_flags);
    let deadline = want.policy == SCHED_DEADLINE;
    if !(low..=high).contains(&want.priority)
        || flags & !u64::from(SCHED_FLAG_ALL) != 0
        || deadline && !attr.is_some_and(is_deadline)
    {
        return fail(Errno::EINVAL);
    }
    let cred = call.task.cred();
    if (deadline || !may_set(call, task, &want)) && !(cred.user_ns.parent.is_none() && cred.has(Cap::SysNice)) {
        return fail(Errno::EPERM);
    }
    if flags & u64::from(SCHED_FLAG_UTIL_CLAMP) != 0 {
        return fail(Errno::EOPNOTSUPP);
    }
    if deadline {
        return fail(Errno::EBUSY);
    }
    // The policy is one of the parameters that this flag keeps.
    let keeps = flags & u64::from(SCHED_FLAG_KEEP_PARAMS) != 0;
    task.set_sched(if keeps { Sched { reset_on_fork: want.reset_on_fork, ..task.sched() } } else { want });
    Ok(().into())
}

/// Whether the parameters of SCHED_DEADLINE make sense: 1,024 ns <= runtime <= deadline <= period < 2^63 ns.
fn is_deadline(attr: &SchedAttr) -> bool {
    let (runtime, deadline) = (attr.sched_runtime, attr.sched_deadline);
    let period = if attr.sched_period == 0 { deadline } else { attr.sched_period };
    (1024..1 << 63).contains(&runtime) && runtime <= deadline && deadline <= period && period < 1 << 63
}

/// Whether it may be set without CAP_SYS_NICE.
fn may_set(call: &Call<'_>, task: &Task, want: &Sched) -> bool {
    let now = task.sched();
    let limit = task.group.limit(Resource::Rtprio);
    let realtime = want.is_realtime()
        && (want.policy != now.policy && limit == 0
            || want.priority > now.priority && u64::from(want.priority) > limit);
    let nice = !want.is_realtime() && want.nice < now.nice && !may_lower(call, task, want.nice);
    let wakes = now.policy == SCHED_IDLE && want.policy != SCHED_IDLE && !may_lower(call, task, now.nice);
    !realtime && !nice && !wakes && (want.reset_on_fork || !now.reset_on_fork) && may_change(call, task)
}
