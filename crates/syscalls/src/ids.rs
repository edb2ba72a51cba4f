//! Ids of users, groups, process groups and sessions: credentials(7), setuid(2), setresuid(2), setgroups(2), setpgid(2), setsid(2).
//!
//! Guests name ids of their user namespace; the kernel keeps those of the initial one.

use abi::Errno;
use kernel::cred::{Cap, CapSet, Cred};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

pub fn sys_getuid(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    let c = call.task.cred();
    Ok(c.user_ns.uid_to(c.uid).into())
}
pub fn sys_geteuid(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    let c = call.task.cred();
    Ok(c.user_ns.uid_to(c.euid).into())
}
pub fn sys_getgid(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    let c = call.task.cred();
    Ok(c.user_ns.gid_to(c.gid).into())
}
pub fn sys_getegid(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    let c = call.task.cred();
    Ok(c.user_ns.gid_to(c.egid).into())
}

pub fn sys_getresuid(call: &mut Call<'_>, [r, e, s, ..]: Args) -> Op<Ret> {
    let c = call.task.cred();
    for (at, id) in [(r, c.uid), (e, c.euid), (s, c.suid)] {
        call.put(at, &c.user_ns.uid_to(id))?;
    }
    Ok(().into())
}

pub fn sys_getresgid(call: &mut Call<'_>, [r, e, s, ..]: Args) -> Op<Ret> {
    let c = call.task.cred();
    for (at, id) in [(r, c.gid), (e, c.egid), (s, c.sgid)] {
        call.put(at, &c.user_ns.gid_to(id))?;
    }
    Ok(().into())
}

/// A uid argument; None for -1.
fn uid(c: &Cred, id: u64) -> Op<Option<u32>> {
    match id as u32 {
        u32::MAX => Ok(None),
        id => Ok(Some(c.user_ns.uid_from(id).ok_or(Errno::EINVAL)?)),
    }
}

fn gid(c: &Cred, id: u64) -> Op<Option<u32>> {
    match id as u32 {
        u32::MAX => Ok(None),
        id => Ok(Some(c.user_ns.gid_from(id).ok_or(Errno::EINVAL)?)),
    }
}

const SECBIT_NO_SETUID_FIXUP: u32 = 1 << 2;
const SECBIT_KEEP_CAPS: u32 = 1 << 4;

/// What a change of user ids does to capabilities, capabilities(7).
fn fix_capabilities(old: &Cred, new: &mut Cred) {
    if new.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
        return;
    }
    let root = new.user_ns.uid_from(0).unwrap_or(u32::MAX);
    let had = [old.uid, old.euid, old.suid].contains(&root);
    let has = [new.uid, new.euid, new.suid].contains(&root);
    if had && !has {
        if new.securebits & SECBIT_KEEP_CAPS == 0 {
            new.permitted = CapSet::EMPTY;
            new.effective = CapSet::EMPTY;
        }
        new.ambient = CapSet::EMPTY;
    }
    if old.euid == root && new.euid != root {
        new.effective = CapSet::EMPTY;
    } else if old.euid != root && new.euid == root {
        new.effective = new.permitted;
    }
}

/// CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE.
const FS_CAPS: CapSet = CapSet(1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 27 | 1 << 32);

/// Of setfsuid(2) alone: other changes of the file system's user id follow the effective one.
fn fix_fs_capabilities(old_fsuid: u32, new: &mut Cred, root: u32) {
    if old_fsuid == root && new.fsuid != root {
        new.effective = new.effective.without(FS_CAPS);
    } else if old_fsuid != root && new.fsuid == root {
        new.effective = new.effective.or(new.permitted.and(FS_CAPS));
    }
}

fn set_user(call: &Call<'_>, change: impl FnOnce(&Cred, &mut Cred, bool) -> Op<()>) -> Op<Ret> {
    let old = call.task.cred();
    let mut new = (*old).clone();
    let able = old.has_in(&old.user_ns, Cap::Setuid);
    change(&old, &mut new, able)?;
    new.fsuid = new.euid;
    fix_capabilities(&old, &mut new);
    commit(call, &old, new)
}

fn set_group(call: &Call<'_>, change: impl FnOnce(&Cred, &mut Cred, bool) -> Op<()>) -> Op<Ret> {
    let old = call.task.cred();
    let mut new = (*old).clone();
    let able = old.has_in(&old.user_ns, Cap::Setgid);
    change(&old, &mut new, able)?;
    new.fsgid = new.egid;
    commit(call, &old, new)
}

fn commit(call: &Call<'_>, old: &Cred, new: Cred) -> Op<Ret> {
    if (old.euid, old.egid, old.fsuid, old.fsgid) != (new.euid, new.egid, new.fsuid, new.fsgid) {
        call.task.group.dumpable.store(0, std::sync::atomic::Ordering::Relaxed);
        call.task.set_death_signal(0);
    }
    call.task.set_cred(new);
    Ok(().into())
}

pub fn sys_setuid(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    set_user(call, |old, new, able| {
        let id = uid(old, id)?.ok_or(Errno::EINVAL)?;
        if able {
            (new.uid, new.suid) = (id, id);
        } else if id != old.uid && id != old.suid {
            return fail(Errno::EPERM);
        }
        new.euid = id;
        Ok(())
    })
}

pub fn sys_setgid(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    set_group(call, |old, new, able| {
        let id = gid(old, id)?.ok_or(Errno::EINVAL)?;
        if able {
            (new.gid, new.sgid) = (id, id);
        } else if id != old.gid && id != old.sgid {
            return fail(Errno::EPERM);
        }
        new.egid = id;
        Ok(())
    })
}

pub fn sys_setreuid(call: &mut Call<'_>, [r, e, ..]: Args) -> Op<Ret> {
    set_user(call, |old, new, able| {
        let (r, e) = (uid(old, r)?, uid(old, e)?);
        if !able {
            let r_ok = r.is_none_or(|id| id == old.uid || id == old.euid);
            let e_ok = e.is_none_or(|id| [old.uid, old.euid, old.suid].contains(&id));
            if !(r_ok && e_ok) {
                return fail(Errno::EPERM);
            }
        }
        new.uid = r.unwrap_or(old.uid);
        new.euid = e.unwrap_or(old.euid);
        if r.is_some() || e.is_some_and(|id| id != old.uid) {
            new.suid = new.euid;
        }
        Ok(())
    })
}

pub fn sys_setregid(call: &mut Call<'_>, [r, e, ..]: Args) -> Op<Ret> {
    set_group(call, |old, new, able| {
        let (r, e) = (gid(old, r)?, gid(old, e)?);
        if !able {
            let r_ok = r.is_none_or(|id| id == old.gid || id == old.egid);
            let e_ok = e.is_none_or(|id| [old.gid, old.egid, old.sgid].contains(&id));
            if !(r_ok && e_ok) {
                return fail(Errno::EPERM);
            }
        }
        new.gid = r.unwrap_or(old.gid);
        new.egid = e.unwrap_or(old.egid);
        if r.is_some() || e.is_some_and(|id| id != old.gid) {
            new.sgid = new.egid;
        }
        Ok(())
    })
}

pub fn sys_setresuid(call: &mut Call<'_>, [r, e, s, ..]: Args) -> Op<Ret> {
    set_user(call, |old, new, able| {
        let ids = [uid(old, r)?, uid(old, e)?, uid(old, s)?];
        let mine = [old.uid, old.euid, old.suid];
        if !able && ids.iter().flatten().any(|id| !mine.contains(id)) {
            return fail(Errno::EPERM);
        }
        let [r, e, s] = ids;
        new.uid = r.unwrap_or(old.uid);
        new.euid = e.unwrap_or(old.euid);
        new.suid = s.unwrap_or(old.suid);
        Ok(())
    })
}

pub fn sys_setresgid(call: &mut Call<'_>, [r, e, s, ..]: Args) -> Op<Ret> {
    set_group(call, |old, new, able| {
        let ids = [gid(old, r)?, gid(old, e)?, gid(old, s)?];
        let mine = [old.gid, old.egid, old.sgid];
        if !able && ids.iter().flatten().any(|id| !mine.contains(id)) {
            return fail(Errno::EPERM);
        }
        let [r, e, s] = ids;
        new.gid = r.unwrap_or(old.gid);
        new.egid = e.unwrap_or(old.egid);
        new.sgid = s.unwrap_or(old.sgid);
        Ok(())
    })
}

pub fn sys_setfsuid(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    let old = call.task.cred();
    let before = old.user_ns.uid_to(old.fsuid);
    if let Ok(Some(id)) = uid(&old, id)
        && ([old.uid, old.euid, old.suid, old.fsuid].contains(&id) || old.has_in(&old.user_ns, Cap::Setuid))
    {
        let mut new = (*old).clone();
        new.fsuid = id;
        let root = new.user_ns.uid_from(0).unwrap_or(u32::MAX);
        if new.securebits & SECBIT_NO_SETUID_FIXUP == 0 {
            fix_fs_capabilities(old.fsuid, &mut new, root);
        }
        commit(call, &old, new)?;
    }
    Ok(before.into())
}

pub fn sys_setfsgid(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    let old = call.task.cred();
    let before = old.user_ns.gid_to(old.fsgid);
    if let Ok(Some(id)) = gid(&old, id)
        && ([old.gid, old.egid, old.sgid, old.fsgid].contains(&id) || old.has_in(&old.user_ns, Cap::Setgid))
    {
        let mut new = (*old).clone();
        new.fsgid = id;
        commit(call, &old, new)?;
    }
    Ok(before.into())
}

pub fn sys_getgroups(call: &mut Call<'_>, [size, list, ..]: Args) -> Op<Ret> {
    let c = call.task.cred();
    let size = size as i32;
    if size != 0 {
        if (size as i64) < c.groups.len() as i64 {
            return fail(Errno::EINVAL);
        }
        let ids: Vec<u32> = c.groups.iter().map(|id| c.user_ns.gid_to(*id)).collect();
        call.put(list, ids.as_slice())?;
    }
    Ok(c.groups.len().into())
}

pub fn sys_setgroups(call: &mut Call<'_>, [size, list, ..]: Args) -> Op<Ret> {
    let old = call.task.cred();
    let maps = old.user_ns.maps();
    if !old.has_in(&old.user_ns, Cap::Setgid) || maps.deny_setgroups || maps.gid.is_empty() {
        return fail(Errno::EPERM);
    }
    if size as u32 > 65536 {
        return fail(Errno::EINVAL);
    }
    let ids = call.get_vec::<u32>(list, size as u32 as usize)?;
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        groups.push(old.user_ns.gid_from(id).ok_or(Errno::EINVAL)?);
    }
    groups.sort_unstable();
    let mut new = (*old).clone();
    new.groups = Arc::from(groups);
    call.task.set_cred(new);
    Ok(().into())
}

pub fn sys_setpgid(call: &mut Call<'_>, [pid, pgid, ..]: Args) -> Op<Ret> {
    call.task.set_pgid(pid as i32, pgid as i32)?;
    Ok(().into())
}

pub fn sys_getpgrp(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    sys_getpgid(call, [0; 6])
}

/// The process that a pid argument names; 0 is the caller's.
fn process(call: &Call<'_>, pid: u64) -> Op<Arc<kernel::task::ThreadGroup>> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    match pid as i32 {
        0 => Ok(call.task.group.clone()),
        pid => ns.task(pid).map(|t| t.group.clone()).or_else(|| ns.group(pid)).ok_or(Errno::ESRCH.into()),
    }
}

pub fn sys_getpgid(call: &mut Call<'_>, [pid, ..]: Args) -> Op<Ret> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    Ok(process(call, pid)?.pgrp().number_in(&ns).into())
}

pub fn sys_getsid(call: &mut Call<'_>, [pid, ..]: Args) -> Op<Ret> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    Ok(process(call, pid)?.session().pid.number_in(&ns).into())
}

pub fn sys_setsid(call: &mut Call<'_>, _: Args) -> Op<Ret> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    Ok(call.task.set_sid()?.pid.number_in(&ns).into())
}
