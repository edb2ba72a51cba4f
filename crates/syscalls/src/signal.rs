//! Signals: kill(2), tgkill(2), rt_sigaction(2), rt_sigprocmask(2), rt_sigpending(2), rt_sigsuspend(2), rt_sigtimedwait(2),
//! rt_sigqueueinfo(2), sigaltstack(2), rt_sigreturn(2), pause(2). Actions and pending signals are `kernel::signal`'s.

use abi::Errno;
use abi::time::Timespec;
use kernel::signal::{self, AltStack, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAction, SigInfo, UNMASKABLE, bit};
use kernel::task::{Audience, Task, ThreadGroup, may_signal, send};
use kernel::time::from_timespec;
use kernel::wait::Events;
use kernel::{Args, Call, Op, Restart, Ret, Stop, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The size of the kernel's sigset_t, which the calls want to be told.
fn check_size(size: u64) -> Op<()> {
    if size == 8 { Ok(()) } else { fail(Errno::EINVAL) }
}

fn check_signal(sig: u64) -> Op<i32> {
    let sig = sig as i32;
    if (0..=64).contains(&sig) { Ok(sig) } else { fail(Errno::EINVAL) }
}

pub fn sys_rt_sigaction(call: &mut Call<'_>, [sig, new, old, size, ..]: Args) -> Op<Ret> {
    check_size(size)?;
    let sig = check_signal(sig)?;
    if sig == 0 || new != 0 && bit(sig) & UNMASKABLE != 0 {
        return fail(Errno::EINVAL);
    }
    let action = if new != 0 { Some(call.get::<SigAction>(new)?) } else { None };
    let before = call.task.group.signals.lock().actions.get(sig);
    call.put_if(old, &before)?;
    match action {
        Some(mut action) => {
            action.mask &= !UNMASKABLE;
            action.flags &= signal::SA_KNOWN;
            call.task.group.set_action(sig, action);
        }
        None => call.task.show_untouched(),
    }
    Ok(().into())
}

pub fn sys_rt_sigprocmask(call: &mut Call<'_>, [how, new, old, size, ..]: Args) -> Op<Ret> {
    check_size(size)?;
    let set = if new != 0 { Some(call.get::<u64>(new)? & !UNMASKABLE) } else { None };
    let before = call.task.signals.lock().mask.get();
    let after = match (set, how) {
        (None, _) => before,
        (Some(set), 0) => before | set,
        (Some(set), 1) => before & !set,
        (Some(set), 2) => set,
        _ => return fail(Errno::EINVAL),
    };
    call.task.change_mask(after);
    call.put_if(old, &before)?;
    Ok(().into())
}

pub fn sys_rt_sigpending(call: &mut Call<'_>, [set, size, ..]: Args) -> Op<Ret> {
    if size > 8 {
        return fail(Errno::EINVAL);
    }
    let group = call.task.group.signals.lock().pending.set();
    let pending = {
        let mine = call.task.signals.lock();
        (mine.pending.set() | group) & mine.mask.get()
    };
    let bytes = pending.to_le_bytes();
    call.put(set, bytes.get(..size as usize).unwrap_or_default())?;
    Ok(().into())
}

pub fn sys_rt_sigsuspend(call: &mut Call<'_>, [set, size, ..]: Args) -> Op<Ret> {
    check_size(size)?;
    let mask = call.get::<u64>(set)?;
    call.task.mask_for_call(mask);
    wait_for_signal(call)
}

pub fn sys_pause(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    wait_for_signal(call)
}

/// Waits until a handler has run: nothing but a signal ends it.
fn wait_for_signal(call: &mut Call<'_>) -> Op<Ret> {
    if call.waits.interrupt != kernel::wait::Interrupt::None || call.task.has_deliverable_signal() {
        return Err(Stop::Restart(Restart::NoHand));
    }
    Err(Stop::Block)
}

pub fn sys_rt_sigtimedwait(call: &mut Call<'_>, [set, info, timeout, size, ..]: Args) -> Op<Ret> {
    check_size(size)?;
    let wanted = call.get::<u64>(set)? & !UNMASKABLE;
    let polling = if timeout != 0 {
        let after = from_timespec(call.get::<Timespec>(timeout)?).ok_or(Errno::EINVAL)?;
        call.deadline_after(after);
        after == 0
    } else {
        false
    };
    let task = call.task.clone();
    // Senders look here, so that a masked signal wakes the waiter.
    task.signals.lock().waited = wanted;
    let take = || {
        let mut group = task.group.signals.lock();
        let mut mine = task.signals.lock();
        Ok(mine.pending.take(wanted).or_else(|| group.pending.take(wanted)))
    };
    let queue = task.group.signal_arrived.clone();
    let mut io = call.io();
    io.nonblock = polling;
    let found = io.wait_for(&queue, Events::IN, take);
    if !matches!(found, Err(Stop::Block)) {
        call.task.signals.lock().waited = 0;
    }
    let found: SigInfo = match found {
        Ok(found) => found,
        Err(Stop::Errno(Errno::ETIMEDOUT)) => return fail(Errno::EAGAIN),
        // Even where no handler runs: signal(7).
        Err(Stop::Restart(_)) => return fail(Errno::EINTR),
        Err(stop) => return Err(stop),
    };
    if info != 0 {
        call.put(info, found.raw())?;
    }
    Ok(found.sig().into())
}

/// What the receiver is told of the sender.
pub fn from_me(task: &Task, to: &ThreadGroup, sig: i32, code: i32) -> SigInfo {
    let pid = to.pid_ns().map_or(0, |ns| task.group.pid.number_in(&ns));
    SigInfo::user(sig, code, pid, task.cred().uid)
}

fn signal_group(task: &Arc<Task>, to: &Arc<ThreadGroup>, sig: i32) -> Op<()> {
    if !may_signal(task, to, sig) {
        return fail(Errno::EPERM);
    }
    if sig != 0 {
        send(to, None, from_me(task, to, sig, signal::SI_USER));
    }
    Ok(())
}

pub fn sys_kill(call: &mut Call<'_>, [pid, sig, ..]: Args) -> Op<Ret> {
    let sig = check_signal(sig)?;
    let pid = pid as i32;
    let task = call.task;
    let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
    if pid > 0 {
        let target = ns.find(pid).ok_or(Errno::ESRCH)?;
        // A thread's number names its process here.
        let target = target.group().or_else(|| target.task().map(|t| t.group.clone())).ok_or(Errno::ESRCH)?;
        signal_group(task, &target, sig)?;
        return Ok(().into());
    }
    let targets = match pid {
        0 => Audience::group(&task.kernel, &task.group.pgrp()),
        -1 => Audience::of(&task.kernel, |g| g.pid.number_in(&ns) > 1 && !Arc::ptr_eq(g, &task.group)),
        i32::MIN => return fail(Errno::ESRCH),
        group => Audience::of(&task.kernel, |g| g.pid.number_in(&ns) != 0 && g.pgrp().number_in(&ns) == -group),
    };
    if targets.is_empty() {
        return fail(Errno::ESRCH);
    }
    let mut result = fail(Errno::EPERM);
    for target in targets.iter() {
        if signal_group(task, target, sig).is_ok() {
            result = Ok(().into());
        }
    }
    result
}

fn signal_thread(task: &Arc<Task>, tgid: Option<i32>, tid: i32, sig: i32, info: Option<SigInfo>) -> Op<Ret> {
    if tid <= 0 || tgid.is_some_and(|t| t <= 0) {
        return fail(Errno::EINVAL);
    }
    let ns = task.pid.ns().ok_or(Errno::ESRCH)?;
    let target = ns.task(tid).filter(|t| tgid.is_none_or(|g| t.group.pid.number_in(&ns) == g)).ok_or(Errno::ESRCH)?;
    if !may_signal(task, &target.group, sig) {
        return fail(Errno::EPERM);
    }
    if sig != 0 {
        let info = info.unwrap_or_else(|| from_me(task, &target.group, sig, signal::SI_TKILL));
        if !target.signal(info) {
            return fail(Errno::EAGAIN);
        }
    }
    Ok(().into())
}

pub fn sys_tkill(call: &mut Call<'_>, [tid, sig, ..]: Args) -> Op<Ret> {
    let sig = check_signal(sig)?;
    signal_thread(call.task, None, tid as i32, sig, None)
}

pub fn sys_tgkill(call: &mut Call<'_>, [tgid, tid, sig, ..]: Args) -> Op<Ret> {
    let sig = check_signal(sig)?;
    signal_thread(call.task, Some(tgid as i32), tid as i32, sig, None)
}

/// A siginfo_t that a guest made. Who gets it from outside of its PID namespace learns no number, and it counts as from there.
pub fn from_afar(task: &Task, to: &ThreadGroup, info: SigInfo) -> SigInfo {
    let known = to.pid_ns().is_some_and(|ns| task.group.pid.number_in(&ns) != 0);
    if known { info } else { info.without_sender() }
}

/// A siginfo_t from a guest: only what looks like it comes from a process may go to others, of which the other threads of the caller's process are some.
fn queued_info(call: &Call<'_>, sig: i32, at: u64, to_self: bool) -> Op<SigInfo> {
    let info = SigInfo::from_user(sig, call.get::<[u8; 128]>(at)?);
    if !to_self && (info.code() >= 0 || info.code() == signal::SI_TKILL) {
        return fail(Errno::EPERM);
    }
    Ok(info)
}

pub fn sys_rt_sigqueueinfo(call: &mut Call<'_>, [pid, sig, info, ..]: Args) -> Op<Ret> {
    let sig = check_signal(sig)?;
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let target = ns.group(pid as i32);
    let to_self = target.as_ref().is_some_and(|t| Arc::ptr_eq(&t.pid, &call.task.pid));
    let info = queued_info(call, sig, info, to_self)?;
    let target = target.ok_or(Errno::ESRCH)?;
    if !may_signal(call.task, &target, sig) {
        return fail(Errno::EPERM);
    }
    if sig != 0 && !send(&target, None, from_afar(call.task, &target, info)) {
        return fail(Errno::EAGAIN);
    }
    Ok(().into())
}

pub fn sys_rt_tgsigqueueinfo(call: &mut Call<'_>, [tgid, tid, sig, info, ..]: Args) -> Op<Ret> {
    let sig = check_signal(sig)?;
    let to_self = call.task.pid.ns().is_some_and(|ns| call.task.pid.number_in(&ns) == tid as i32);
    let info = queued_info(call, sig, info, to_self)?;
    signal_thread(call.task, Some(tgid as i32), tid as i32, sig, Some(info))
}

/// stack_t, sigaltstack(2).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct StackT {
    sp: u64,
    flags: u32,
    pad: u32,
    size: u64,
}

/// MINSIGSTKSZ of x86-64.
const MINSIGSTKSZ: u64 = 2048;

pub fn sys_sigaltstack(call: &mut Call<'_>, [new, old, ..]: Args) -> Op<Ret> {
    let wanted = if new != 0 { Some(call.get::<StackT>(new)?) } else { None };
    let sp = call.task.thread().and_then(|t| t.regs()).map_or(0, |r| r.rsp);
    let before = call.task.signals.lock().altstack;
    if let Some(wanted) = wanted {
        let altstack = changed(before, wanted, sp)?;
        call.task.signals.lock().set_altstack(altstack);
    }
    let state = if !before.enabled() {
        SS_DISABLE
    } else if is_on(before, sp) {
        SS_ONSTACK
    } else {
        0
    };
    let flags = state | before.flags & SS_AUTODISARM;
    call.put_if(old, &StackT { sp: before.sp, flags, pad: 0, size: before.size })?;
    Ok(().into())
}

/// Whether a stack pointer is on the alternate stack, which then must stay. One that disarms itself is nobody's.
fn is_on(altstack: AltStack, sp: u64) -> bool {
    altstack.flags & SS_AUTODISARM == 0 && altstack.contains(sp)
}

/// The alternate stack after it was asked to be another, by a thread with this stack pointer.
fn changed(before: AltStack, wanted: StackT, sp: u64) -> Result<AltStack, Errno> {
    if is_on(before, sp) {
        return Err(Errno::EPERM);
    }
    match wanted.flags & !SS_AUTODISARM {
        SS_DISABLE => Ok(AltStack::NONE),
        0 | SS_ONSTACK if wanted.size < MINSIGSTKSZ => Err(Errno::ENOMEM),
        0 | SS_ONSTACK => Ok(AltStack { sp: wanted.sp, flags: wanted.flags, size: wanted.size }),
        _ => Err(Errno::EINVAL),
    }
}

/// The stub has put the guest's frame into its registers and passes what the kernel keeps: mask and alternate stack; and where the frame was. A stack that
/// sigaltstack(2) would refuse there is not taken, without a word.
pub fn sys_rt_sigreturn(call: &mut Call<'_>, [mask, sp, flags, size, frame, ..]: Args) -> Op<Ret> {
    let mut mine = call.task.signals.lock();
    mine.mask.set(mask & !UNMASKABLE);
    let wanted = StackT { sp, flags: flags as u32, pad: 0, size };
    if let Ok(altstack) = changed(mine.altstack, wanted, frame) {
        mine.altstack = altstack;
    }
    Ok(Ret::Registers)
}
