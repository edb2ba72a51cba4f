//! pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).

use crate::signal::{from_afar, from_me};
use abi::Errno;
use abi::fds::{
    PIDFD_NONBLOCK, PIDFD_SIGNAL_PROCESS_GROUP, PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP, PIDFD_THREAD,
};
use abi::fs::OpenFlags;
use kernel::cred::Cap;
use kernel::ipc::pidfd::{PidFd, new_pidfd};
use kernel::signal::{SI_TKILL, SI_USER, SigInfo};
use kernel::task::{Audience, GroupState, Pid, Resource, Task, ThreadGroup, may_signal, send};
use kernel::vfs::File;
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

pub fn sys_pidfd_open(call: &mut Call<'_>, [pid, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !(PIDFD_NONBLOCK | PIDFD_THREAD) != 0 || pid as i32 <= 0 {
        return fail(Errno::EINVAL);
    }
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let pid = ns.find(pid as i32).ok_or(Errno::ESRCH)?;
    let thread = flags & PIDFD_THREAD != 0;
    if !thread && pid.group().is_none() {
        // A thread that leads no process.
        return fail(if pid.task().is_some() { Errno::ENOENT } else { Errno::ESRCH });
    }
    if pid.group().is_none() && pid.task().is_none() {
        return fail(Errno::ESRCH);
    }
    let file = new_pidfd(pid, thread, ns, OpenFlags::from_bits_retain(flags & PIDFD_NONBLOCK));
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, true, 0, limit)?.into())
}

/// A new descriptor, close-on-exec, for a process.
pub fn install(call: &Call<'_>, pid: &Arc<Pid>) -> Op<i32> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let file = new_pidfd(pid.clone(), false, ns, OpenFlags::empty());
    let limit = call.task.group.limit(Resource::Nofile);
    call.files().add(file, true, 0, limit)
}

/// Likewise; its number is written to `at`.
pub fn install_at(call: &Call<'_>, pid: &Arc<Pid>, at: u64) -> Op<i32> {
    let fd = install(call, pid)?;
    if let Err(stop) = call.put(at, &fd) {
        drop(call.files().remove(fd));
        return Err(stop);
    }
    Ok(fd)
}

/// The process behind a descriptor: EBADF where it is none.
pub fn pid_of(file: &File) -> Op<Arc<Pid>> {
    Ok(file.ops_as::<PidFd>().ok_or(Errno::EBADF)?.pid.clone())
}

pub fn sys_pidfd_send_signal(call: &mut Call<'_>, [fd, sig, info, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    let known = PIDFD_SIGNAL_THREAD | PIDFD_SIGNAL_THREAD_GROUP | PIDFD_SIGNAL_PROCESS_GROUP;
    if flags & !known != 0 || flags.count_ones() > 1 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    // A descriptor of /proc/PID does as well.
    let (pid, thread) = match file.ops_as::<PidFd>() {
        Some(pidfd) => (pidfd.pid.clone(), pidfd.thread),
        None => {
            let inode = file.inode.as_ref().ok_or(Errno::EBADF)?;
            (inode.ops.stands_for().and_then(|any| any.downcast().ok()).ok_or(Errno::EBADF)?, false)
        }
    };
    let mine = call.task.pid.ns().ok_or(Errno::EINVAL)?;
    if pid.number_in(&mine) == 0 && pid.ns().is_none_or(|ns| ns.id != mine.id) {
        return fail(Errno::EINVAL);
    }
    let sig = sig as i32;
    if !(0..=64).contains(&sig) {
        return fail(Errno::EINVAL);
    }
    let to_thread = flags == PIDFD_SIGNAL_THREAD || flags == 0 && thread;
    let raw = if info == 0 { None } else { Some(call.get::<[u8; 128]>(info)?) };
    let group = || -> Op<Arc<ThreadGroup>> {
        let group = pid.group().or_else(|| pid.task().map(|t| t.group.clone()));
        group.filter(|g| g.state() != GroupState::Reaped).ok_or(Errno::ESRCH.into())
    };
    let make = |to: &Arc<ThreadGroup>| match raw {
        None => {
            let code = if to_thread { SI_TKILL } else { SI_USER };
            Ok(from_me(call.task, to, sig, code))
        }
        Some(raw) => {
            let info = SigInfo::from_user(sig, raw);
            let number = raw.first_chunk::<4>().map(|b| i32::from_le_bytes(*b));
            if number != Some(sig) {
                return fail(Errno::EINVAL);
            }
            let own = Arc::ptr_eq(to, &call.task.group);
            if !own && (info.code() >= 0 || info.code() == SI_TKILL) {
                return fail(Errno::EPERM);
            }
            Ok(from_afar(call.task, to, info))
        }
    };
    if flags == PIDFD_SIGNAL_PROCESS_GROUP {
        let mut out = fail(Errno::ESRCH);
        for member in Audience::group(&call.task.kernel, &pid).iter() {
            match make(member).and_then(|info| deliver(call.task, member, None, sig, info)) {
                Ok(()) => out = Ok(()),
                Err(stop) if out.is_err() => out = Err(stop),
                Err(_) => {}
            }
        }
        return out.map(Ret::from);
    }
    let group = group()?;
    let info = make(&group)?;
    let thread = if to_thread { Some(pid.task().ok_or(Errno::ESRCH)?) } else { None };
    deliver(call.task, &group, thread.as_ref(), sig, info).map(Ret::from)
}

fn deliver(from: &Task, to: &Arc<ThreadGroup>, thread: Option<&Arc<Task>>, sig: i32, info: SigInfo) -> Op<()> {
    if !may_signal(from, to, sig) {
        return fail(Errno::EPERM);
    }
    if sig != 0 && !send(to, thread, info) { fail(Errno::EAGAIN) } else { Ok(()) }
}

pub fn sys_pidfd_getfd(call: &mut Call<'_>, [pidfd, fd, flags, ..]: Args) -> Op<Ret> {
    if flags as u32 != 0 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(pidfd)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    let task = match pidfd.pid.group() {
        Some(group) => group.any_task(),
        None => pidfd.pid.task(),
    };
    let task = task.filter(|t| !t.group.is_exiting()).ok_or(Errno::ESRCH)?;
    // PTRACE_MODE_ATTACH_REALCREDS of ptrace(2).
    let (mine, theirs) = (call.task.cred(), task.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|uid| *uid == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == mine.gid)
        && mine.permitted.contains(theirs.permitted);
    if !same && !Arc::ptr_eq(&task.group, &call.task.group) && !mine.has_in(&theirs.user_ns, Cap::SysPtrace) {
        return fail(Errno::EPERM);
    }
    let found = task.files().get(fd as i32)?;
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(found, true, 0, limit)?.into())
}
