//! New processes and threads: fork(2), vfork(2), clone(2), clone3(2).
//!
//! The stub's host fork (or host thread) is the second half of `Task::clone_task`. A vfork child runs as a thread of its parent's
//! stub process until it execs, so that memory is really shared.

use abi::Errno;
use abi::task::CloneFlags;
use kernel::call::Next;
use kernel::signal::SIGCHLD;
use kernel::task::{CloneSpec, Task};
use kernel::wait::{Events, Interrupt, Queue};
use kernel::{Args, Call, Op, Restart, Ret, Stop, StubWork, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub fn sys_fork(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    clone(call, CloneSpec { exit_signal: SIGCHLD, ..CloneSpec::default() }, 0)
}

pub fn sys_vfork(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    let flags = (CloneFlags::VM | CloneFlags::VFORK).bits();
    clone(call, CloneSpec { flags, exit_signal: SIGCHLD, ..CloneSpec::default() }, 0)
}

pub fn sys_clone(call: &mut Call<'_>, [flags, stack, parent_tid, child_tid, tls, _]: Args) -> Op<Ret> {
    let spec = CloneSpec {
        flags: flags & !0xff & 0xffff_ffff,
        stack,
        tls,
        parent_tid,
        child_tid,
        exit_signal: (flags & 0xff) as i32,
    };
    let pidfd_at = if spec.flags & CloneFlags::PIDFD.bits() != 0 { parent_tid } else { 0 };
    if pidfd_at != 0 && spec.flags & CloneFlags::PARENT_SETTID.bits() != 0 {
        return fail(Errno::EINVAL);
    }
    clone(call, spec, pidfd_at)
}

/// struct clone_args, clone3(2).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

pub fn sys_clone3(call: &mut Call<'_>, [at, size, ..]: Args) -> Op<Ret> {
    if size < 64 {
        return fail(Errno::EINVAL);
    }
    if size > 4096 {
        return fail(Errno::E2BIG);
    }
    let mut args = CloneArgs::default();
    let bytes = call.get_vec::<u8>(at, size as usize)?;
    let known = size_of::<CloneArgs>();
    if bytes.iter().skip(known).any(|b| *b != 0) {
        return fail(Errno::E2BIG);
    }
    for (to, from) in args.as_mut_bytes().iter_mut().zip(&bytes) {
        *to = *from;
    }
    let unknown = args.flags & !(CloneFlags::all().bits());
    let stack_ok = (args.stack == 0) == (args.stack_size == 0);
    if unknown != 0 || args.flags & 0xff & !0x80 != 0 || args.exit_signal > 64 || !stack_ok || args.set_tid_size != 0 {
        return fail(Errno::EINVAL);
    }
    let spec = CloneSpec {
        flags: args.flags,
        stack: args.stack.wrapping_add(args.stack_size),
        tls: args.tls,
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        exit_signal: args.exit_signal as i32,
    };
    let pidfd_at = if args.flags & CloneFlags::PIDFD.bits() != 0 { args.pidfd } else { 0 };
    clone(call, spec, pidfd_at)
}

/// A vfork parent that waits: the child's number, and what the child wakes.
struct VforkStage {
    child: i32,
    queue: Queue,
    task: Arc<Task>,
}

fn clone(call: &mut Call<'_>, spec: CloneSpec, pidfd_at: u64) -> Op<Ret> {
    if call.rec.stage.is_some() {
        return wait_for_vfork_child(call);
    }
    let flags = CloneFlags::from_bits_retain(spec.flags);
    check_flags(flags, spec.exit_signal)?;
    let task = call.task;
    let mut cred = (*task.cred()).clone();
    let new = crate::namespaces::for_clone(call, flags, &mut cred)?;
    let child = task.clone_task(&spec, new.namespaces, cred)?;
    if let Some(fs) = new.fs {
        child.set_fs(Arc::new(fs));
    }
    let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
    let number = child.pid.number_in(&ns);
    let pidfd = if flags.contains(CloneFlags::PIDFD) {
        match crate::pidfd::install_at(call, &child.pid, pidfd_at) {
            Ok(fd) => Some(fd),
            Err(stop) => {
                child.abandon();
                return Err(stop);
            }
        }
    } else {
        None
    };
    let tls = flags.contains(CloneFlags::SETTLS).then_some(spec.tls);
    let clear_tid = if flags.contains(CloneFlags::CHILD_CLEARTID) { spec.child_tid } else { 0 };
    let set_child = flags.contains(CloneFlags::CHILD_SETTID).then(|| (spec.child_tid, child.tid() as u32));
    let set_parent = flags.contains(CloneFlags::PARENT_SETTID).then_some((spec.parent_tid, number as u32));
    let vfork = flags.contains(CloneFlags::VFORK);
    if vfork && let Some(queue) = child.vfork_queue() {
        call.rec.stage = Some(Box::new(VforkStage { child: number, queue, task: child.clone() }));
    }
    let event = task.trace_child(&child, flags, spec.exit_signal);
    let born = child.clone();
    let on_done = Box::new(move |parent: &Arc<Task>, result: i64, _| {
        if result < 0 {
            born.abandon();
            drop(pidfd.map(|fd| parent.files().remove(fd)));
            return Next::Value(result);
        }
        parent.child_traced(event, &born);
        if vfork { Next::Again } else { Next::Value(number.into()) }
    });
    let work = if flags.contains(CloneFlags::VM) {
        let set_tid = set_child.into_iter().chain(set_parent).collect();
        let spec = platform::SpawnSpec { child: child.into(), stack: spec.stack, tls, clear_tid, set_tid };
        StubWork::Spawn { spec, on_done }
    } else {
        let child = child.into();
        let spec =
            platform::ForkSpec { child, stack: spec.stack, tls, clear_tid, set_tid: set_child, parent_tid: set_parent };
        StubWork::Fork { spec, on_done }
    };
    Ok(Ret::Stub(Box::new(work)))
}

fn check_flags(flags: CloneFlags, exit_signal: i32) -> Op<()> {
    use CloneFlags as F;
    let wants = |a: F, b: F| flags.contains(a) && !flags.contains(b);
    if wants(F::SIGHAND, F::VM) || wants(F::THREAD, F::SIGHAND) || exit_signal > 64 {
        return fail(Errno::EINVAL);
    }
    if flags.contains(F::FS) && flags.intersects(F::NEWNS | F::NEWUSER) {
        return fail(Errno::EINVAL);
    }
    if flags.contains(F::THREAD) && flags.intersects(F::NEWUSER | F::NEWPID | F::PIDFD) {
        return fail(Errno::EINVAL);
    }
    if flags.contains(F::CLEAR_SIGHAND) && flags.contains(F::SIGHAND) {
        return fail(Errno::EINVAL);
    }
    Ok(())
}

/// The parent of a vfork goes on when the child has execed or ended; only its own death comes before.
fn wait_for_vfork_child(call: &mut Call<'_>) -> Op<Ret> {
    let Some(stage) = call.rec.stage.as_ref().and_then(|s| s.downcast_ref::<VforkStage>()) else {
        return fail(Errno::EINVAL);
    };
    let (number, queue, child) = (stage.child, stage.queue.clone(), stage.task.clone());
    if child.vfork_queue().is_none() {
        call.task.vfork_done(&child);
        return Ok(number.into());
    }
    if call.waits.interrupt == Interrupt::Kill {
        return Err(Stop::Restart(Restart::NoIntr));
    }
    call.waits.add(&queue, Events::IN);
    if child.vfork_queue().is_none() {
        call.task.vfork_done(&child);
        return Ok(number.into());
    }
    Err(Stop::Block)
}
