//! timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).

use crate::time::timer_clock;
use crate::timers::{get_itimerspec, to_itimerspec};
use abi::Errno;
use abi::fds::{TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET};
use abi::fs::OpenFlags;
use abi::time::{CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM};
use kernel::ipc::timerfd::{TimerFd, new_timerfd};
use kernel::task::Resource;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_timerfd_create(call: &mut Call<'_>, [clock, flags, ..]: Args) -> Op<Ret> {
    let (id, flags) = (clock as i32, flags as u32);
    let known = [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM];
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 || !known.contains(&(clock as u32)) {
        return fail(Errno::EINVAL);
    }
    let clock = timer_clock(call, id)?;
    let file = new_timerfd(clock, id, OpenFlags::from_bits_retain(flags & TFD_NONBLOCK));
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, flags & TFD_CLOEXEC != 0, 0, limit)?.into())
}

pub fn sys_timerfd_settime(call: &mut Call<'_>, [fd, flags, new, old, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    let (at, interval) = get_itimerspec(call, new)?;
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    let timer = file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?;
    // The clocks are the host's and never set by a guest, so nothing is ever cancelled.
    let before = timer.set(at, interval, flags);
    call.put_if(old, &to_itimerspec(before))?;
    Ok(Ret::Value(0))
}

pub fn sys_timerfd_gettime(call: &mut Call<'_>, [fd, at, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    let timer = file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?;
    call.put(at, &to_itimerspec(timer.get()))?;
    Ok(Ret::Value(0))
}
