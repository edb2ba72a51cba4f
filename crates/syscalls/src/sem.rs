//! Semaphore sets: semget(2), semop(2), semtimedop(2), semctl(2).

use crate::sysv::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, IpcPerm, now, objects, set, show};
use abi::Errno;
use abi::time::Timespec;
use kernel::ipc::sysv::{Access, MAX_VALUE, Object, Perm, SemOp, SemSet, SysV, Undo, kept, limits};
use kernel::wait::Events;
use kernel::{Args, Call, Op, Restart, Ret, Stop, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;

/// `struct semid64_ds` of x86-64, 104 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct SemidDs {
    perm: IpcPerm,
    otime: i64,
    unused1: u64,
    ctime: i64,
    unused2: u64,
    nsems: u64,
    unused: [u64; 2],
}

/// `struct seminfo`: semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem.
type SemInfo = [i32; 10];

pub fn sys_semget(call: &mut Call<'_>, [key, count, flags, ..]: Args) -> Op<Ret> {
    let (key, count, flags) = (key as i32, count as i32, flags as u32);
    let sysv = objects(call);
    if count < 0 || count as u64 > limits::of(&sysv.limits.semmsl) {
        return fail(Errno::EINVAL);
    }
    let cred = call.task.cred();
    let check = |s: &SemSet| if count as usize > s.state.lock().sems.len() { fail(Errno::EINVAL) } else { Ok(()) };
    let make = || match count {
        0 => fail(Errno::EINVAL),
        _ => Ok(SemSet::new(count as usize, Perm::new(key, flags, &cred), now())),
    };
    Ok(sysv.sem.get(key, flags, &cred, check, make)?.into())
}

pub fn sys_semop(call: &mut Call<'_>, [id, ops, count, ..]: Args) -> Op<Ret> {
    operate(call, id as i32, ops, count, 0)
}

pub fn sys_semtimedop(call: &mut Call<'_>, [id, ops, count, timeout, ..]: Args) -> Op<Ret> {
    operate(call, id as i32, ops, count, timeout)
}

fn operate(call: &mut Call<'_>, id: i32, ops: u64, count: u64, timeout: u64) -> Op<Ret> {
    if count == 0 || id < 0 {
        return fail(Errno::EINVAL);
    }
    let sysv = objects(call);
    if count > limits::of(&sysv.limits.semopm) {
        return fail(Errno::E2BIG);
    }
    let ops = call.get_vec::<SemOp>(ops, count as usize)?;
    if timeout != 0 && call.rec.deadline.is_none() {
        let time = call.get::<Timespec>(timeout)?;
        let after = time.to_nanos().ok_or(Errno::EINVAL)?;
        call.deadline_after(after as u64);
    }
    let set = sysv.sem.by_id(id)?;
    let changes = ops.iter().any(|op| op.op != 0);
    let cred = call.task.cred();
    set.with_perm(|p| p.check(&cred, if changes { Access::Write } else { Access::Read }))?;
    let group = &call.task.group;
    let undo = kept(&group.sem_undo, || Undo::new(group.id()))?;
    // Counted while it waits: GETNCNT, GETZCNT.
    if call.rec.stage.take().is_some() {
        set.count_waiter(&ops, -1);
    }
    let queue = set.queue.clone();
    let result = call.io().wait_for(&queue, Events::IN, || set.try_ops(&ops, &undo, now()));
    match result {
        Ok(()) => Ok(().into()),
        Err(Stop::Block) => {
            set.count_waiter(&ops, 1);
            call.rec.stage = Some(Box::new(()));
            Err(Stop::Block)
        }
        Err(Stop::Errno(Errno::ETIMEDOUT)) => fail(Errno::EAGAIN),
        // Never restarted, signal(7).
        Err(Stop::Restart(Restart::Sys)) => fail(Errno::EINTR),
        Err(stop) => Err(stop),
    }
}

pub fn sys_semctl(call: &mut Call<'_>, [id, num, cmd, arg, ..]: Args) -> Op<Ret> {
    let (id, num, cmd) = (id as i32, num as usize, cmd as u32);
    let sysv = objects(call);
    let cred = call.task.cred();
    let pid = call.task.group.id();
    match cmd {
        IPC_INFO | SEM_INFO => {
            let all = sysv.sem.list();
            let (used, total) =
                if cmd == SEM_INFO { (all.len() as i32, sysv.sem.taken() as i32) } else { (20, MAX_VALUE) };
            let value = |limit| limits::of(limit) as i32;
            let (sets, most, in_set) = (value(&sysv.sem.max), value(&sysv.sem.room), value(&sysv.limits.semmsl));
            // Those that do not follow the limits are what they were at first.
            let (first, first_ops) = (limits::SEMMNS as i32, 500);
            let ops = value(&sysv.limits.semopm);
            let info: SemInfo = [first, sets, most, first, in_set, ops, first_ops, used, MAX_VALUE, total];
            call.put(arg, &info)?;
            Ok(all.iter().map(|(id, _)| id % 32_768).max().unwrap_or(0).into())
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (id, set) = if cmd == IPC_STAT { (0, sysv.sem.by_id(id)?) } else { sysv.sem.by_index(id)? };
            if cmd != SEM_STAT_ANY {
                set.with_perm(|p| p.check(&cred, Access::Read))?;
            }
            let status = {
                let state = set.state.lock();
                SemidDs {
                    perm: show(&cred.user_ns, &state.perm),
                    otime: state.operated_at,
                    ctime: state.changed_at,
                    nsems: state.sems.len() as u64,
                    ..SemidDs::default()
                }
            };
            call.put(arg, &status)?;
            Ok(id.into())
        }
        IPC_SET => {
            let from = call.get::<SemidDs>(arg)?;
            let object = sysv.sem.by_id(id)?;
            set(&cred, &from.perm, |apply| {
                let mut state = object.state.lock();
                apply(&mut state.perm)?;
                state.changed_at = now();
                Ok(())
            })?;
            Ok(().into())
        }
        IPC_RMID => {
            sysv.sem.by_id(id)?.with_perm(|p| p.check_owner(&cred))?;
            if let Some(set) = sysv.sem.remove(id) {
                set.removed();
            }
            Ok(().into())
        }
        GETVAL | GETPID | GETNCNT | GETZCNT => {
            let set = readable(&sysv, id, call)?;
            let state = set.state.lock();
            let sem = state.sems.get(num).ok_or(Errno::EINVAL)?;
            Ok(match cmd {
                GETVAL => sem.value.into(),
                GETPID => sem.pid.into(),
                GETNCNT => sem.waiting_more.into(),
                _ => sem.waiting_zero.into(),
            })
        }
        GETALL => {
            let set = readable(&sysv, id, call)?;
            let values: Vec<u16> = set.state.lock().sems.iter().map(|s| s.value as u16).collect();
            call.put(arg, values.as_slice())?;
            Ok(().into())
        }
        SETVAL => {
            let set = sysv.sem.by_id(id)?;
            set.with_perm(|p| p.check(&cred, Access::Write))?;
            set.set(&[(num, arg as i32)], pid, now())?;
            Ok(().into())
        }
        SETALL => {
            let set = sysv.sem.by_id(id)?;
            set.with_perm(|p| p.check(&cred, Access::Write))?;
            let count = set.state.lock().sems.len();
            let values = call.get_vec::<u16>(arg, count)?;
            let values: Vec<(usize, i32)> = values.iter().map(|v| i32::from(*v)).enumerate().collect();
            set.set(&values, pid, now())?;
            Ok(().into())
        }
        _ => fail(Errno::EINVAL),
    }
}

fn readable(sysv: &SysV, id: i32, call: &Call<'_>) -> Op<Arc<SemSet>> {
    let set = sysv.sem.by_id(id)?;
    let cred = call.task.cred();
    set.with_perm(|p| p.check(&cred, Access::Read))?;
    Ok(set)
}
