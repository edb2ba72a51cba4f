//! Timers that send signals: setitimer(2), getitimer(2), alarm(2), timer_create(2) and its family. `kernel::ipc::timers` runs them.

use crate::time::timer_clock;
use abi::Errno;
use abi::time::{ITIMER_REAL, Itimerspec, Itimerval, TIMER_ABSTIME, Timeval};
use kernel::ipc::timers::{Notify, Setting, Timers};
use kernel::signal::SIGALRM;
use kernel::time::{Nanos, from_timespec, to_timespec};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

fn to_itimerval(setting: Setting) -> Itimerval {
    let part = |ns: Nanos| {
        // An armed timer never shows zero.
        let us = if ns == 0 { 0 } else { (ns / 1000).max(1) };
        Timeval { tv_sec: (us / 1_000_000) as i64, tv_usec: (us % 1_000_000) as i64 }
    };
    Itimerval { it_interval: part(setting.interval), it_value: part(setting.left) }
}

pub fn sys_getitimer(call: &mut Call<'_>, [which, at, ..]: Args) -> Op<Ret> {
    let group = &call.task.group;
    let timer = Timers::of(group)?.interval(group, which as u32 as usize)?;
    call.put(at, &to_itimerval(timer.get()))?;
    Ok(Ret::Value(0))
}

pub fn sys_setitimer(call: &mut Call<'_>, [which, new, old, ..]: Args) -> Op<Ret> {
    let new = if new == 0 { Itimerval::default() } else { call.get::<Itimerval>(new)? };
    let nanos = |t: Timeval| t.to_nanos().map(|ns| ns as Nanos).ok_or(Errno::EINVAL);
    let (value, interval) = (nanos(new.it_value)?, nanos(new.it_interval)?);
    let group = &call.task.group;
    let timer = Timers::of(group)?.interval(group, which as u32 as usize)?;
    let before = timer.set(Some(value).filter(|v| *v > 0), interval, false);
    call.put_if(old, &to_itimerval(before))?;
    Ok(Ret::Value(0))
}

pub fn sys_alarm(call: &mut Call<'_>, [seconds, ..]: Args) -> Op<Ret> {
    let group = &call.task.group;
    let timer = Timers::of(group)?.interval(group, ITIMER_REAL as usize)?;
    let value = Some(u64::from(seconds as u32) * 1_000_000_000).filter(|v| *v > 0);
    let left = timer.set(value, 0, false).left;
    // Rounded to the nearest second, but not down to none.
    let seconds = (left + 500_000_000) / 1_000_000_000;
    Ok(Ret::Value(if left > 0 { seconds.max(1) } else { 0 }))
}

/// struct sigevent, sigevent(3type).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sigevent {
    pub value: u64,
    pub signo: i32,
    pub notify: i32,
    tid: i32,
    pad: [u32; 11],
}

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD: i32 = 2;
const SIGEV_THREAD_ID: i32 = 4;

pub fn sys_timer_create(call: &mut Call<'_>, [clock, event, id_at, ..]: Args) -> Op<Ret> {
    let task = call.task.clone();
    let clock = timer_clock(call, clock as i32)?;
    let event = if event == 0 { None } else { Some(call.get::<Sigevent>(event)?) };
    let mut thread = None;
    if let Some(event) = event {
        match event.notify {
            SIGEV_NONE => {}
            SIGEV_SIGNAL | SIGEV_THREAD | SIGEV_THREAD_ID if !(1..=64).contains(&event.signo) => {
                return fail(Errno::EINVAL);
            }
            SIGEV_SIGNAL | SIGEV_THREAD => {}
            SIGEV_THREAD_ID => {
                let found = task.pid.ns().and_then(|ns| ns.task(event.tid));
                let found = found.filter(|t| Arc::ptr_eq(&t.group, &task.group)).ok_or(Errno::EINVAL)?;
                thread = Some(Arc::downgrade(&found));
            }
            _ => return fail(Errno::EINVAL),
        }
    }
    let timers = Timers::of(&task.group)?;
    let id = timers.create(&task.group, clock, |id| match (event, thread) {
        (None, _) => Notify::Process { sig: SIGALRM, value: id as u64 },
        (Some(event), _) if event.notify == SIGEV_NONE => Notify::None,
        (Some(event), Some(task)) => Notify::Thread { task, sig: event.signo, value: event.value },
        (Some(event), None) => Notify::Process { sig: event.signo, value: event.value },
    })?;
    if let Err(stop) = call.put(id_at, &id) {
        timers.delete(id)?;
        return Err(stop);
    }
    Ok(Ret::Value(0))
}

/// A setting as the guest sees it.
pub fn to_itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec { it_interval: to_timespec(setting.interval), it_value: to_timespec(setting.left) }
}

/// A setting from the guest: when (None: disarm) and how often.
pub fn get_itimerspec(call: &Call<'_>, at: u64) -> Op<(Option<Nanos>, Nanos)> {
    let new = call.get::<Itimerspec>(at)?;
    let value = from_timespec(new.it_value).ok_or(Errno::EINVAL)?;
    let interval = from_timespec(new.it_interval).ok_or(Errno::EINVAL)?;
    Ok((Some(value).filter(|v| *v > 0), interval))
}

pub fn sys_timer_settime(call: &mut Call<'_>, [id, flags, new, old, ..]: Args) -> Op<Ret> {
    if new == 0 {
        return fail(Errno::EINVAL);
    }
    let (at, interval) = get_itimerspec(call, new)?;
    let timer = Timers::of(&call.task.group)?.get(id as i32)?;
    let before = timer.set(at, interval, flags as u32 & TIMER_ABSTIME != 0);
    call.put_if(old, &to_itimerspec(before))?;
    Ok(Ret::Value(0))
}

pub fn sys_timer_gettime(call: &mut Call<'_>, [id, at, ..]: Args) -> Op<Ret> {
    let timer = Timers::of(&call.task.group)?.get(id as i32)?;
    call.put(at, &to_itimerspec(timer.get()))?;
    Ok(Ret::Value(0))
}

pub fn sys_timer_getoverrun(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    Ok(Timers::of(&call.task.group)?.get(id as i32)?.overrun().into())
}

pub fn sys_timer_delete(call: &mut Call<'_>, [id, ..]: Args) -> Op<Ret> {
    Timers::of(&call.task.group)?.delete(id as i32)?;
    Ok(Ret::Value(0))
}
