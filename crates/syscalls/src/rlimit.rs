//! Limits and usage: getrlimit(2), prlimit(2), getrusage(2).

use abi::Errno;
use host::process::CpuTimes;
use kernel::cred::Cap;
use kernel::task::{Limit, Limits, Resource, ThreadGroup, Usage};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{Immutable, IntoBytes};

pub fn sys_getrlimit(call: &mut Call<'_>, [what, at, ..]: Args) -> Op<Ret> {
    let limit = call.task.group.limits().by_number(what as u32 as usize).ok_or(Errno::EINVAL)?;
    call.put(at, &limit)?;
    Ok(().into())
}

pub fn sys_setrlimit(call: &mut Call<'_>, [what, at, ..]: Args) -> Op<Ret> {
    let limit = call.get::<Limit>(at)?;
    set(call, &call.task.group, what, limit)
}

pub fn sys_prlimit64(call: &mut Call<'_>, [pid, what, new, old, ..]: Args) -> Op<Ret> {
    let group = target(call, pid as i32)?;
    let wanted = if new != 0 { Some(call.get::<Limit>(new)?) } else { None };
    let before = group.limits().by_number(what as u32 as usize).ok_or(Errno::EINVAL)?;
    if let Some(limit) = wanted {
        set(call, &group, what, limit)?;
    }
    call.put_if(old, &before)?;
    Ok(().into())
}

fn target(call: &Call<'_>, pid: i32) -> Op<Arc<ThreadGroup>> {
    let task = call.task;
    if pid == 0 {
        return Ok(task.group.clone());
    }
    let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
    let other = ns.task(pid).ok_or(Errno::ESRCH)?;
    let (mine, theirs) = (task.cred(), other.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == mine.gid);
    if !Arc::ptr_eq(&other.group, &task.group) && !same && !mine.has_in(&theirs.user_ns, Cap::SysResource) {
        return fail(Errno::EPERM);
    }
    Ok(other.group.clone())
}

fn set(call: &Call<'_>, group: &Arc<ThreadGroup>, what: u64, limit: Limit) -> Op<Ret> {
    let what = what as u32 as usize;
    let before = group.limits().by_number(what).ok_or(Errno::EINVAL)?;
    if limit.soft > limit.hard {
        return fail(Errno::EINVAL);
    }
    let cred = call.task.cred();
    if limit.hard > before.hard && !cred.has_in(&cred.user_ns, Cap::SysResource) {
        return fail(Errno::EPERM);
    }
    const NOFILE: usize = 7;
    if what == NOFILE && limit.hard > 1 << 20 {
        return fail(Errno::EPERM);
    }
    group.set_limits(|limits: &mut Limits| limits.set(what, limit));
    if what == Resource::Cpu as usize {
        group.watch_cpu_limit();
    }
    if [Resource::As as usize, Resource::Data as usize].contains(&what)
        && before.soft != limit.soft
        && let Some(mm) = group.leader().and_then(|leader| leader.mm())
        // A vfork child's limits begin with its exec.
        && mm.users() <= group.tasks().len()
    {
        let limits = group.limits();
        mm.limit_host(limits.get(Resource::As).soft, limits.get(Resource::Data).soft)?;
    }
    Ok(().into())
}

/// struct rusage. What the kernel does not count is 0, as on Linux.
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct Rusage {
    utime: [i64; 2],
    stime: [i64; 2],
    /// KiB.
    maxrss: i64,
    other: [i64; 11],
    /// Voluntary and involuntary context switches: those that the host makes are not counted.
    nvcsw: i64,
    nivcsw: i64,
}

/// `peak`: the most memory that was resident at once, bytes.
pub fn rusage_of(usage: &Usage, times: CpuTimes, peak: u64) -> Rusage {
    let timeval = |ns: u64| [(ns / 1_000_000_000) as i64, (ns % 1_000_000_000 / 1000) as i64];
    Rusage {
        utime: timeval(times.user),
        stime: timeval(times.system),
        maxrss: (peak / 1024) as i64,
        nvcsw: usage.waits as i64,
        ..Rusage::default()
    }
}

pub fn sys_getrusage(call: &mut Call<'_>, [who, at, ..]: Args) -> Op<Ret> {
    let group = &call.task.group;
    // The peak first: it waits for the host's last words, which tell the times, too.
    let (peak, usage, times) = match who as i32 {
        0 => (group.peak(), group.usage(), group.times()),
        // Memory is the process', also when a thread asks.
        1 => (group.peak(), call.task.usage(), call.task.times()),
        -1 => (group.children_peak(), group.children_usage(), group.children_times()),
        _ => return fail(Errno::EINVAL),
    };
    call.put(at, &rusage_of(&usage, times, peak))?;
    Ok(().into())
}
