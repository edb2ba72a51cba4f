//! Message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).

use crate::sysv::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, IpcPerm, now, objects, set, show};
use abi::Errno;
use kernel::cred::Cap;
use kernel::ipc::sysv::{
    Access, IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR, Message, MsgQueue, Object, Perm, limits,
};
use kernel::wait::Events;
use kernel::{Args, Call, Op, Restart, Ret, Stop, fail};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const MSG_STAT: u32 = 11;
const MSG_INFO: u32 = 12;
const MSG_STAT_ANY: u32 = 13;

/// `struct msqid64_ds`, 120 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct MsqidDs {
    perm: IpcPerm,
    stime: i64,
    rtime: i64,
    ctime: i64,
    cbytes: u64,
    qnum: u64,
    qbytes: u64,
    lspid: i32,
    lrpid: i32,
    unused: [u64; 2],
}

/// `struct msginfo`: msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql; then msgseg.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct MsgInfo {
    numbers: [i32; 7],
    msgseg: u16,
    pad: u16,
}

pub fn sys_msgget(call: &mut Call<'_>, [key, flags, ..]: Args) -> Op<Ret> {
    let (key, flags) = (key as i32, flags as u32);
    let cred = call.task.cred();
    let sysv = objects(call);
    let make = || Ok(MsgQueue::new(limits::of(&sysv.limits.msgmnb), Perm::new(key, flags, &cred), now()));
    Ok(sysv.msg.get(key, flags, &cred, |_| Ok(()), make)?.into())
}

pub fn sys_msgsnd(call: &mut Call<'_>, [id, at, size, flags, ..]: Args) -> Op<Ret> {
    let kind = call.get::<i64>(at)?;
    let sysv = objects(call);
    if size > limits::of(&sysv.limits.msgmax) || kind < 1 {
        return fail(Errno::EINVAL);
    }
    let text = call.get_vec::<u8>(at.wrapping_add(8), size as usize)?;
    let queue = sysv.msg.by_id(id as i32)?;
    let cred = call.task.cred();
    queue.with_perm(|p| p.check(&cred, Access::Write))?;
    let message = Message { kind, text };
    let pid = call.task.group.id();
    let mut io = call.io();
    io.nonblock = flags as u32 & IPC_NOWAIT != 0;
    not_restarted(io.wait_for(&queue.queue, Events::OUT, || queue.try_send(&message, pid, now())))?;
    Ok(().into())
}

pub fn sys_msgrcv(call: &mut Call<'_>, [id, at, size, kind, flags, _]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if size > i64::MAX as u64 || (flags & MSG_COPY != 0 && (flags & IPC_NOWAIT == 0 || flags & MSG_EXCEPT != 0)) {
        return fail(Errno::EINVAL);
    }
    let queue = objects(call).msg.by_id(id as i32)?;
    let cred = call.task.cred();
    queue.with_perm(|p| p.check(&cred, Access::Read))?;
    let max = usize::try_from(size).unwrap_or(usize::MAX);
    // Before a message is taken: it could not be put back.
    call.mm()?.check(at, 8, kernel::mm::Access::Write)?;
    let pid = call.task.group.id();
    let mut io = call.io();
    io.nonblock = flags & IPC_NOWAIT != 0;
    let taken = io.wait_for(&queue.queue, Events::IN, || {
        queue.try_receive(kind as i64, flags & (MSG_COPY | MSG_EXCEPT | MSG_NOERROR), max, pid, now())
    });
    drop(io);
    let message = match not_restarted(taken) {
        Err(Stop::Errno(Errno::EAGAIN)) => return fail(Errno::ENOMSG),
        other => other?,
    };
    call.put(at, &message.kind)?;
    call.put(at.wrapping_add(8), message.text.as_slice())?;
    Ok(message.text.len().into())
}

/// These calls are never restarted after a handler, signal(7).
fn not_restarted<T>(result: Op<T>) -> Op<T> {
    match result {
        Err(Stop::Restart(Restart::Sys)) => Err(Stop::Restart(Restart::NoHand)),
        other => other,
    }
}

pub fn sys_msgctl(call: &mut Call<'_>, [id, cmd, buf, ..]: Args) -> Op<Ret> {
    let (id, cmd) = (id as i32, cmd as u32);
    let sysv = objects(call);
    let cred = call.task.cred();
    match cmd {
        IPC_INFO | MSG_INFO => {
            let all = sysv.msg.list();
            let (mut bytes, mut count) = (0, 0);
            for (_, queue) in &all {
                let state = queue.state.lock();
                bytes += state.bytes;
                count += state.count();
            }
            let value = |limit| limits::of(limit) as i32;
            let (used, messages, total) = if cmd == MSG_INFO {
                (all.len() as i32, count as i32, bytes as i32)
            } else {
                (512_000, 16_384, 16_384) // MSGPOOL, MSGMAP, MSGTQL: what they are by the first values of the limits
            };
            let (largest, in_queue) = (value(&sysv.limits.msgmax), value(&sysv.limits.msgmnb));
            let numbers = [used, messages, largest, in_queue, value(&sysv.msg.max), 16, total];
            call.put(buf, &MsgInfo { numbers, msgseg: 0xffff, pad: 0 })?;
            Ok(all.iter().map(|(id, _)| id % 32_768).max().unwrap_or(0).into())
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (id, queue) = if cmd == IPC_STAT { (0, sysv.msg.by_id(id)?) } else { sysv.msg.by_index(id)? };
            if cmd != MSG_STAT_ANY {
                queue.with_perm(|p| p.check(&cred, Access::Read))?;
            }
            let status = {
                let state = queue.state.lock();
                MsqidDs {
                    perm: show(&cred.user_ns, &state.perm),
                    stime: state.sent_at,
                    rtime: state.received_at,
                    ctime: state.changed_at,
                    cbytes: state.bytes,
                    qnum: state.count() as u64,
                    qbytes: state.max_bytes,
                    lspid: state.sender,
                    lrpid: state.receiver,
                    ..MsqidDs::default()
                }
            };
            call.put(buf, &status)?;
            Ok(id.into())
        }
        IPC_SET => {
            let from = call.get::<MsqidDs>(buf)?;
            let queue = sysv.msg.by_id(id)?;
            set(&cred, &from.perm, |apply| {
                let mut state = queue.state.lock();
                if from.qbytes > limits::of(&sysv.limits.msgmnb) && !cred.has(Cap::SysResource) {
                    return fail(Errno::EPERM);
                }
                apply(&mut state.perm)?;
                state.max_bytes = from.qbytes;
                state.changed_at = now();
                Ok(())
            })?;
            queue.queue.wake(Events::OUT);
            Ok(().into())
        }
        IPC_RMID => {
            sysv.msg.by_id(id)?.with_perm(|p| p.check_owner(&cred))?;
            if let Some(queue) = sysv.msg.remove(id) {
                queue.removed();
            }
            Ok(().into())
        }
        _ => fail(Errno::EINVAL),
    }
}
