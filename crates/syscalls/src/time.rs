//! Clocks and sleeps: clock_gettime(2), clock_getres(2), gettimeofday(2), time(2), times(2), nanosleep(2), clock_nanosleep(2),
//! adjtimex(2). Clocks cannot be set: they are the host's. Timers are in `timers`.

use abi::Errno;
use abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE, CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID, STA_UNSYNC, TIME_ERROR, TIMER_ABSTIME, Timespec, Timeval, Timex, Timezone, Tms,
};
use host::rustix::time::{ClockId, clock_getres, clock_gettime};
use kernel::ipc::clock::Clock;
use kernel::time::{Deadline, Nanos, from_timespec, to_timespec};
use kernel::wait::Interrupt;
use kernel::{Args, Call, Op, Restart, Ret, Stop, fail};
use std::sync::Arc;

/// Nanoseconds of a clock tick of times(2).
const TICK: u64 = 10_000_000;

/// The host's clock behind a fixed one.
fn host_clock(id: i32) -> Option<ClockId> {
    Some(match u32::try_from(id).ok()? {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => ClockId::Realtime,
        CLOCK_MONOTONIC => ClockId::Monotonic,
        CLOCK_MONOTONIC_RAW => ClockId::MonotonicRaw,
        CLOCK_REALTIME_COARSE => ClockId::RealtimeCoarse,
        CLOCK_MONOTONIC_COARSE => ClockId::MonotonicCoarse,
        CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => ClockId::Boottime,
        // rustix names no TAI; a host that keeps no leap seconds (the default) tells the same time.
        CLOCK_TAI => ClockId::Realtime,
        _ => return None,
    })
}

/// The CPU clock of a process or thread. Negative numbers name others' clocks: the inverted number in bits 3 and up, bit 2 for a thread
/// (clock_getcpuclockid(3)). EINVAL where there is none.
fn cpu_clock(call: &Call<'_>, id: i32) -> Op<Clock> {
    let task = call.task;
    let (number, thread) = match u32::try_from(id) {
        Ok(CLOCK_PROCESS_CPUTIME_ID) => (0, false),
        Ok(CLOCK_THREAD_CPUTIME_ID) => (0, true),
        Ok(_) => return fail(Errno::EINVAL),
        // Bits 0 and 1 say which time; 3 would be a clock device.
        Err(_) if id & 3 == 3 => return fail(Errno::EINVAL),
        Err(_) => (!(id >> 3), id & 4 != 0),
    };
    if number == 0 {
        return Ok(if thread {
            Clock::Thread(Arc::downgrade(task))
        } else {
            Clock::Process(Arc::downgrade(&task.group))
        });
    }
    let ns = task.pid.ns().ok_or(Errno::EINVAL)?;
    if thread {
        let other = ns.task(number).filter(|t| Arc::ptr_eq(&t.group, &task.group)).ok_or(Errno::EINVAL)?;
        Ok(Clock::Thread(Arc::downgrade(&other)))
    } else {
        Ok(Clock::Process(Arc::downgrade(&ns.group(number).ok_or(Errno::EINVAL)?)))
    }
}

/// The clock that a timer runs by. EINVAL for unknown clocks and for those that are only read; EPERM for alarm clocks.
pub fn timer_clock(call: &Call<'_>, id: i32) -> Op<Clock> {
    match u32::try_from(id) {
        Ok(CLOCK_REALTIME | CLOCK_TAI) => Ok(Clock::Realtime),
        Ok(CLOCK_MONOTONIC) => Ok(Clock::Monotonic),
        Ok(CLOCK_BOOTTIME) => Ok(Clock::Boottime),
        // CAP_WAKE_ALARM lets a timer wake the machine, which no sandbox may.
        Ok(CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM) => fail(Errno::EPERM),
        _ => cpu_clock(call, id),
    }
}

pub fn sys_clock_gettime(call: &mut Call<'_>, [id, at, ..]: Args) -> Op<Ret> {
    let id = id as i32;
    let now = match host_clock(id) {
        Some(clock) => {
            let t = clock_gettime(clock);
            Timespec { tv_sec: t.tv_sec, tv_nsec: t.tv_nsec }
        }
        None => to_timespec(cpu_clock(call, id)?.now()),
    };
    call.put(at, &now)?;
    Ok(Ret::Value(0))
}

pub fn sys_clock_getres(call: &mut Call<'_>, [id, at, ..]: Args) -> Op<Ret> {
    let id = id as i32;
    let step = match host_clock(id) {
        Some(clock) => {
            let t = clock_getres(clock);
            Timespec { tv_sec: t.tv_sec, tv_nsec: t.tv_nsec }
        }
        None => {
            cpu_clock(call, id)?;
            Timespec { tv_sec: 0, tv_nsec: 1 }
        }
    };
    call.put_if(at, &step)?;
    Ok(Ret::Value(0))
}

pub fn sys_clock_settime(call: &mut Call<'_>, [id, at, ..]: Args) -> Op<Ret> {
    let new = call.get::<Timespec>(at)?;
    if id as u32 != CLOCK_REALTIME || from_timespec(new).is_none() {
        return fail(Errno::EINVAL);
    }
    fail(Errno::EPERM)
}

pub fn sys_settimeofday(call: &mut Call<'_>, [tv, zone, ..]: Args) -> Op<Ret> {
    if tv != 0 && call.get::<Timeval>(tv)?.to_nanos().is_none() {
        return fail(Errno::EINVAL);
    }
    if zone != 0 {
        call.get::<Timezone>(zone)?;
    }
    fail(Errno::EPERM)
}

pub fn sys_gettimeofday(call: &mut Call<'_>, [tv, zone, ..]: Args) -> Op<Ret> {
    let now = kernel::time::now();
    call.put_if(tv, &Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 })?;
    call.put_if(zone, &Timezone::default())?;
    Ok(Ret::Value(0))
}

pub fn sys_time(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    let now = kernel::time::now().tv_sec;
    call.put_if(at, &now)?;
    Ok(Ret::Value(now as u64))
}

pub fn sys_times(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    let group = &call.task.group;
    group.children_peak(); // waits for the host's last words of them
    let (own, children) = (group.times(), group.children_times());
    let ticks = |ns: u64| (ns / TICK) as i64;
    let tms = Tms {
        tms_utime: ticks(own.user),
        tms_stime: ticks(own.system),
        tms_cutime: ticks(children.user),
        tms_cstime: ticks(children.system),
    };
    call.put_if(at, &tms)?;
    Ok(Ret::Value(kernel::time::monotonic() / TICK))
}

pub fn sys_nanosleep(call: &mut Call<'_>, [request, remain, ..]: Args) -> Op<Ret> {
    let after = from_timespec(call.get::<Timespec>(request)?).ok_or(Errno::EINVAL)?;
    call.deadline_after(after);
    sleep(call, remain, Restart::Block)
}

pub fn sys_clock_nanosleep(call: &mut Call<'_>, [id, flags, request, remain, ..]: Args) -> Op<Ret> {
    let id = id as i32;
    let clock = match u32::try_from(id) {
        Ok(CLOCK_MONOTONIC_RAW | CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE) => {
            return fail(Errno::EOPNOTSUPP);
        }
        Ok(CLOCK_THREAD_CPUTIME_ID) => return fail(Errno::EINVAL),
        _ => timer_clock(call, id)?,
    };
    let time = from_timespec(call.get::<Timespec>(request)?).ok_or(Errno::EINVAL)?;
    if matches!(clock, Clock::Process(_) | Clock::Thread(_)) {
        return fail(Errno::EOPNOTSUPP);
    }
    if flags as u32 & TIMER_ABSTIME == 0 {
        call.deadline_after(time);
        return sleep(call, remain, Restart::Block);
    }
    let deadline: Nanos = clock.deadline(time).map_or(0, |d| d.0);
    call.rec.deadline = Some(Deadline(deadline));
    sleep(call, 0, Restart::NoHand)
}

/// Waits for the record's deadline; a signal ends it with what is left in `remain`.
fn sleep(call: &mut Call<'_>, remain: u64, restart: Restart) -> Op<Ret> {
    let Some(deadline) = call.rec.deadline else { return fail(Errno::EINVAL) };
    if deadline.expired() {
        return Ok(Ret::Value(0));
    }
    if call.waits.interrupt != Interrupt::None {
        if call.waits.interrupt == Interrupt::Signal {
            call.put_if(remain, &to_timespec(deadline.left()))?;
        }
        return Err(Stop::Restart(restart));
    }
    Err(Stop::Block)
}

pub fn sys_adjtimex(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    adjust(call, at)
}

pub fn sys_clock_adjtime(call: &mut Call<'_>, [id, at, ..]: Args) -> Op<Ret> {
    if id as u32 != CLOCK_REALTIME {
        return fail(if host_clock(id as i32).is_some() { Errno::EOPNOTSUPP } else { Errno::EINVAL });
    }
    adjust(call, at)
}

/// Tells that nobody keeps the guest's clock; changing it is refused.
fn adjust(call: &mut Call<'_>, at: u64) -> Op<Ret> {
    if call.get::<Timex>(at)?.modes != 0 {
        return fail(Errno::EPERM);
    }
    let now = kernel::time::now();
    let state = Timex {
        status: STA_UNSYNC,
        maxerror: 16_000_000,
        esterror: 16_000_000,
        constant: 2,
        precision: 1,
        tolerance: 32_768_000,
        tick: 10_000,
        time: Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 },
        ..Timex::default()
    };
    call.put(at, &state)?;
    Ok(TIME_ERROR.into())
}
