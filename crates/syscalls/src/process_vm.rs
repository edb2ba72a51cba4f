//! Looking into other processes: process_vm_readv(2), process_vm_writev(2), kcmp(2).

use abi::Errno;
use abi::fds::*;
use kernel::buffer::with_buffer;
use kernel::mm::{Mm, UserBuffers};
use kernel::task::Task;
use kernel::{Args, Call, Op, Ret, Sink, Source, fail};
use std::cmp::Ordering;
use std::sync::Arc;

/// The most buffers of one call.
const IOV_MAX: u64 = 1024;
/// Bytes that are moved at a time.
const CHUNK: usize = 64 << 10;

pub fn sys_process_vm_readv(call: &mut Call<'_>, args: Args) -> Op<Ret> {
    let (mut local, mut remote) = buffers(call, args)?;
    run(call, &mut remote, &mut local)
}

pub fn sys_process_vm_writev(call: &mut Call<'_>, args: Args) -> Op<Ret> {
    let (mut local, mut remote) = buffers(call, args)?;
    run(call, &mut local, &mut remote)
}

/// The caller's buffers and those of the other process. ESRCH, EPERM as ptrace(2) has them.
fn buffers(
    call: &mut Call<'_>,
    [pid, local, local_count, remote, remote_count, flags]: Args,
) -> Op<(UserBuffers, UserBuffers)> {
    if flags != 0 || local_count > IOV_MAX || remote_count > IOV_MAX {
        return fail(Errno::EINVAL);
    }
    let local = call.get_vec::<[u64; 2]>(local, local_count as usize)?;
    let remote = call.get_vec::<[u64; 2]>(remote, remote_count as usize)?;
    let own = call.mm()?;
    let other = memory_of(call, pid as i32)?;
    Ok((UserBuffers::many(own, &local)?, UserBuffers::many(other, &remote)?))
}

fn memory_of(call: &Call<'_>, pid: i32) -> Op<Arc<Mm>> {
    let task = find(call, pid)?;
    if !call.task.may_attach(&task) {
        return fail(Errno::EPERM);
    }
    task.mm().ok_or(Errno::ESRCH.into())
}

fn find(call: &Call<'_>, pid: i32) -> Op<Arc<Task>> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    ns.task(pid).ok_or(Errno::ESRCH.into())
}

/// A long copy leaves the worker to others. What an earlier run has moved counts.
fn run(call: &Call<'_>, from: &mut UserBuffers, to: &mut UserBuffers) -> Op<Ret> {
    from.skip(call.rec.done);
    to.skip(call.rec.done);
    let long = from.total().min(to.total()) > CHUNK;
    let moved = if long { kernel::block_in_place(|| copy(from, to)) } else { copy(from, to) }?;
    kernel::mm::untouched::go_on_if_cut();
    Ok((call.rec.done + moved as u64).into())
}

/// Moves as much as both have; what was moved before a fault counts.
fn copy(from: &mut UserBuffers, to: &mut UserBuffers) -> Op<usize> {
    with_buffer(CHUNK.min(Source::left(from)).min(Sink::left(to)), |buffer| copy_by(buffer, from, to))
}

fn copy_by(buffer: &mut [u8], from: &mut UserBuffers, to: &mut UserBuffers) -> Op<usize> {
    let mut done = 0;
    loop {
        let want = buffer.len().min(Source::left(from)).min(Sink::left(to));
        let Some(chunk) = buffer.get_mut(..want).filter(|c| !c.is_empty()) else { break };
        let moved = from.take(chunk).and_then(|got| to.put(chunk.get(..got).unwrap_or_default()));
        match moved {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(stop) if done == 0 => return Err(stop),
            Err(_) => break,
        }
        // A short move means that one of them faulted.
        if moved.is_ok_and(|count| count < want) {
            break;
        }
    }
    Ok(done)
}

pub fn sys_kcmp(call: &mut Call<'_>, [pid1, pid2, kind, index1, index2, _]: Args) -> Op<Ret> {
    let (one, two) = (find(call, pid1 as i32)?, find(call, pid2 as i32)?);
    if !call.task.may_read(&one) || !call.task.may_read(&two) {
        return fail(Errno::EPERM);
    }
    let order = match kind as u32 {
        KCMP_FILE => {
            let (a, b) = (one.files().get(index1 as i32)?, two.files().get(index2 as i32)?);
            a.id.cmp(&b.id)
        }
        KCMP_VM => compare(one.mm().as_ref().and_then(address), two.mm().as_ref().and_then(address)),
        KCMP_FILES => compare(address(&one.files()), address(&two.files())),
        KCMP_FS => compare(address(&one.fs()), address(&two.fs())),
        KCMP_SIGHAND => compare(address(&one.group), address(&two.group)),
        _ => return fail(Errno::EINVAL),
    };
    Ok(Ret::Value(match order {
        Ordering::Equal => 0,
        Ordering::Less => 1,
        Ordering::Greater => 2,
    }))
}

/// Orders addresses without showing their order: mixed by an odd factor, which keeps different ones different.
fn compare(a: Option<usize>, b: Option<usize>) -> Ordering {
    let mixed = |at: Option<usize>| at.map_or(0, |at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed(a).cmp(&mixed(b))
}

fn address<T>(of: &Arc<T>) -> Option<usize> {
    Some(Arc::as_ptr(of) as usize)
}
