//! Who a process is and what it says of itself: getpid(2), getppid(2), gettid(2), prctl(2).

use abi::Errno;
use kernel::cred::{Cap, CapSet};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::atomic::Ordering::Relaxed;

pub fn sys_getpid(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    Ok(call.task.group.id().into())
}

pub fn sys_gettid(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    Ok(call.task.tid().into())
}

pub fn sys_getppid(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    let ns = call.task.pid.ns();
    let parent = call.task.group.parent();
    Ok(parent.zip(ns).map_or(0, |(parent, ns)| parent.pid.number_in(&ns)).into())
}

/// prctl(2), since Linux 6.4.
const PR_GET_AUXV: u32 = 0x4155_5856;
/// Bytes of what Linux keeps of an auxiliary vector, of which the rest is zero.
const AUXV_LEN: usize = 448;

/// PR_GET_AUXV: as much of it as the caller has room for; its size.
fn get_auxv(call: &mut Call<'_>, [to, room, c, d]: [u64; 4]) -> Op<Ret> {
    if c | d != 0 {
        return fail(Errno::EINVAL);
    }
    let mut auxv = call.mm()?.layout().auxv;
    auxv.resize(auxv.len().max(AUXV_LEN), 0);
    let size = auxv.len();
    auxv.truncate(usize::try_from(room).unwrap_or(usize::MAX));
    call.put(to, auxv.as_slice())?;
    Ok((size as u64).into())
}

const SECBIT_KEEP_CAPS: u32 = 1 << 4;
/// The bits that may be set: each has its lock one higher.
const SECBITS_ALL: u32 = 0xff;

pub fn sys_prctl(call: &mut Call<'_>, [option, a, b, c, d, _]: Args) -> Op<Ret> {
    let task = call.task;
    let group = &task.group;
    let change_cred = |change: &dyn Fn(&mut kernel::cred::Cred)| {
        let mut cred = (*task.cred()).clone();
        change(&mut cred);
        task.set_cred(cred);
    };
    match option as u32 {
        PR_GET_AUXV => get_auxv(call, [a, b, c, d]),
        abi::task::PR_SET_VMA if a == u64::from(abi::task::PR_SET_VMA_ANON_NAME) => {
            crate::mem::set_vma_name(call, b, c, d)
        }
        1 => {
            // PR_SET_PDEATHSIG
            if a > 64 {
                return fail(Errno::EINVAL);
            }
            task.set_death_signal(a as i32);
            Ok(().into())
        }
        2 => call.put(a, &task.death_signal()).map(Ret::from),
        3 => Ok(group.dumpable.load(Relaxed).into()),
        4 => {
            if a > 1 {
                return fail(Errno::EINVAL);
            }
            group.dumpable.store(a as i32, Relaxed);
            Ok(().into())
        }
        7 => Ok(u32::from(task.cred().securebits & SECBIT_KEEP_CAPS != 0).into()),
        8 => {
            if a > 1 {
                return fail(Errno::EINVAL);
            }
            if task.cred().securebits & (SECBIT_KEEP_CAPS << 1) != 0 {
                return fail(Errno::EPERM);
            }
            change_cred(&|cred| {
                cred.securebits = cred.securebits & !SECBIT_KEEP_CAPS | if a == 1 { SECBIT_KEEP_CAPS } else { 0 };
            });
            Ok(().into())
        }
        // PR_GET_TIMING is statistical; PR_SET_TIMING takes nothing else.
        13 => Ok(0.into()),
        14 if a == 0 => Ok(0.into()),
        15 => {
            let name = call.mm()?.cstr(a, 16)?;
            let name = match name {
                Some(name) => name,
                None => call.get::<[u8; 16]>(a)?.into(),
            };
            task.set_comm(&name);
            Ok(().into())
        }
        16 => {
            let mut name = [0u8; 16];
            for (to, from) in name.iter_mut().zip(task.comm()) {
                *to = from;
            }
            call.put(a, &name).map(Ret::from)
        }
        21 => Ok(task.seccomp().mode().into()),
        22 => crate::seccomp::prctl(call, a, b),
        23 => {
            if a > CapSet::LAST.into() {
                return fail(Errno::EINVAL);
            }
            Ok(u32::from(task.cred().bounding.0 & 1 << a != 0).into())
        }
        24 => {
            let cred = task.cred();
            if !cred.has_in(&cred.user_ns, Cap::Setpcap) {
                return fail(Errno::EPERM);
            }
            if a > CapSet::LAST.into() {
                return fail(Errno::EINVAL);
            }
            change_cred(&|cred| cred.bounding = cred.bounding.without(CapSet(1 << a)));
            Ok(().into())
        }
        // PR_GET_TSC: reading it is allowed.
        25 => call.put(a, &1u32).map(Ret::from),
        26 if a == 1 => Ok(().into()),
        27 => Ok(task.cred().securebits.into()),
        28 => {
            let cred = task.cred();
            let (old, new) = (cred.securebits, a as u32);
            let locked = old & 0xaa;
            let unlock = locked & !new != 0 || (locked >> 1) & (old ^ new) != 0;
            if !cred.has_in(&cred.user_ns, Cap::Setpcap) || unlock {
                return fail(Errno::EPERM);
            }
            if new & !SECBITS_ALL != 0 {
                return fail(Errno::EPERM);
            }
            change_cred(&|cred| cred.securebits = new);
            Ok(().into())
        }
        29 => {
            task.set_timer_slack(a);
            Ok(().into())
        }
        30 => Ok(task.timer_slack().into()),
        // PR_MCE_KILL: machine checks are the host's.
        33 | 34 => fail(Errno::EINVAL),
        36 => {
            group.subreaper.store(a != 0, Relaxed);
            Ok(().into())
        }
        37 => call.put(a, &i32::from(group.subreaper.load(Relaxed))).map(Ret::from),
        38 => {
            if a != 1 || b | c | d != 0 {
                return fail(Errno::EINVAL);
            }
            change_cred(&|cred| cred.no_new_privs = true);
            Ok(().into())
        }
        39 => {
            if a | b | c | d != 0 {
                return fail(Errno::EINVAL);
            }
            Ok(u32::from(task.cred().no_new_privs).into())
        }
        // PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
        42 => Ok(0.into()),
        47 => ambient(call, a, b),
        // PR_SET_VMA names an area; Linux without CONFIG_ANON_VMA_NAME says EINVAL.
        0x5356_4d41 => fail(Errno::EINVAL),
        // PR_SET_PTRACER (Yama is not configured) and what else is unknown.
        _ => fail(Errno::EINVAL),
    }
}

/// PR_CAP_AMBIENT.
fn ambient(call: &mut Call<'_>, what: u64, cap: u64) -> Op<Ret> {
    let mut cred = (*call.task.cred()).clone();
    if what != 4 && cap > CapSet::LAST.into() {
        return fail(Errno::EINVAL);
    }
    let set = CapSet(1u64.checked_shl(cap as u32).unwrap_or(0));
    match what {
        1 => return Ok(u32::from(cred.ambient.contains(set)).into()),
        2 => {
            const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
            let allowed = cred.permitted.and(cred.inheritable).contains(set);
            if !allowed || cred.securebits & NO_CAP_AMBIENT_RAISE != 0 {
                return fail(Errno::EPERM);
            }
            cred.ambient = cred.ambient.or(set);
        }
        3 => cred.ambient = cred.ambient.without(set),
        4 => cred.ambient = CapSet::EMPTY,
        _ => return fail(Errno::EINVAL),
    }
    call.task.set_cred(cred);
    Ok(().into())
}
