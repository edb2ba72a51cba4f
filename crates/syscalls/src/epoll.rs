//! epoll_create(2), epoll_ctl(2), epoll_wait(2).

use crate::sigmask::with_mask;
use abi::Errno;
use abi::poll::{EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLWAKEUP, EpollEvent};
use abi::time::Timespec;
use kernel::ipc::epoll::{Epoll, new_epoll};
use kernel::task::Resource;
use kernel::time::{Nanos, from_timespec};
use kernel::{Args, Call, Op, Ret, Stop, fail};

/// The most events that one call may ask for: INT_MAX / sizeof(struct epoll_event).
const MAX_EVENTS: i32 = i32::MAX / 12;

pub fn sys_epoll_create(call: &mut Call<'_>, [size, ..]: Args) -> Op<Ret> {
    if size as i32 <= 0 {
        return fail(Errno::EINVAL);
    }
    create(call, 0)
}

pub fn sys_epoll_create1(call: &mut Call<'_>, [flags, ..]: Args) -> Op<Ret> {
    create(call, flags as u32)
}

fn create(call: &mut Call<'_>, flags: u32) -> Op<Ret> {
    if flags & !EPOLL_CLOEXEC != 0 {
        return fail(Errno::EINVAL);
    }
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(new_epoll(), flags & EPOLL_CLOEXEC != 0, 0, limit)?.into())
}

pub fn sys_epoll_ctl(call: &mut Call<'_>, [epfd, op, fd, event, ..]: Args) -> Op<Ret> {
    let op = op as u32;
    let EpollEvent { events, data } =
        if op == EPOLL_CTL_DEL { EpollEvent::default() } else { call.get::<EpollEvent>(event)? };
    let poll = call.file(epfd)?;
    let file = call.file(fd)?;
    if file.queue().is_none() {
        return fail(Errno::EPERM);
    }
    let Some(epoll) = poll.ops_as::<Epoll>().filter(|_| poll.id != file.id) else { return fail(Errno::EINVAL) };
    // Nothing here suspends the machine.
    let events = events & !EPOLLWAKEUP;
    match op {
        EPOLL_CTL_ADD => epoll.add(fd as i32, &file, events, data)?,
        EPOLL_CTL_MOD => epoll.modify(fd as i32, &file, events, data)?,
        EPOLL_CTL_DEL => epoll.remove(fd as i32, &file)?,
        _ => return fail(Errno::EINVAL),
    }
    Ok(Ret::Value(0))
}

pub fn sys_epoll_wait(call: &mut Call<'_>, [epfd, events, max, timeout, ..]: Args) -> Op<Ret> {
    wait(call, epfd, events, max as i32, milliseconds(timeout))
}

pub fn sys_epoll_pwait(call: &mut Call<'_>, [epfd, events, max, timeout, set, size]: Args) -> Op<Ret> {
    with_mask(call, set, size, |call| wait(call, epfd, events, max as i32, milliseconds(timeout)))
}

pub fn sys_epoll_pwait2(call: &mut Call<'_>, [epfd, events, max, timeout, set, size]: Args) -> Op<Ret> {
    let timeout = match timeout {
        0 => None,
        at => Some(from_timespec(call.get::<Timespec>(at)?).ok_or(Errno::EINVAL)?),
    };
    with_mask(call, set, size, |call| wait(call, epfd, events, max as i32, timeout))
}

/// None: without limit.
pub fn milliseconds(timeout: u64) -> Option<Nanos> {
    u64::try_from(timeout as i32).ok().map(|ms| ms * 1_000_000)
}

fn wait(call: &mut Call<'_>, epfd: u64, events: u64, max: i32, timeout: Option<Nanos>) -> Op<Ret> {
    if !(1..=MAX_EVENTS).contains(&max) {
        return fail(Errno::EINVAL);
    }
    let poll = call.file(epfd)?;
    let Some(epoll) = poll.ops_as::<Epoll>() else { return fail(Errno::EINVAL) };
    if let Some(after) = timeout.filter(|after| *after > 0) {
        call.deadline_after(after);
    }
    let mut io = call.io();
    io.nonblock = timeout == Some(0);
    let fired = match epoll.wait(&mut io, max as usize) {
        Ok(fired) => fired,
        Err(Stop::Errno(Errno::EAGAIN | Errno::ETIMEDOUT)) => return Ok(Ret::Value(0)),
        // Never restarted, signal(7).
        Err(Stop::Restart(_)) => return fail(Errno::EINTR),
        Err(stop) => return Err(stop),
    };
    let list: Vec<EpollEvent> = fired.iter().map(|f| EpollEvent { events: f.events, data: f.data }).collect();
    if let Err(stop) = call.put(events, list.as_slice()) {
        epoll.put_back(fired);
        return Err(stop);
    }
    Ok(list.len().into())
}
