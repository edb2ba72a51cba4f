//! poll(2), ppoll(2), select(2), pselect(2).
//!
//! A run looks at all files; where none is ready it registers on their queues, looks once more and waits. What is left of a
//! timeout is written back by all but poll, as Linux does it.

use crate::epoll::milliseconds;
use crate::sigmask::with_mask;
use abi::Errno;
use abi::poll::{PollFd, SigsetArgpack};
use abi::time::{Timespec, Timeval};
use kernel::task::Resource;
use kernel::time::{Nanos, from_timespec, to_timespec};
use kernel::vfs::File;
use kernel::wait::{Events, Interrupt};
use kernel::{Args, Call, Op, Restart, Ret, Stop, fail};
use std::sync::Arc;

const ALWAYS: Events = Events::ERR.union(Events::HUP);
/// The largest descriptor that select(2) looks at; descriptor tables end there.
const MAX_FDS: usize = 1 << 20;

/// A descriptor of a call, the file behind it and what is asked.
struct Watched {
    file: Option<Arc<File>>,
    /// What ends the wait; nothing else does, hang-ups and errors included.
    want: Events,
    is: Events,
}

/// Looks at all files and waits until one is ready; how many are. `timeout`: None is without limit.
fn wait_any(call: &mut Call<'_>, list: &mut [Watched], timeout: Option<Nanos>, restart: Restart) -> Op<usize> {
    let deadline = timeout.filter(|after| *after > 0).map(|after| call.deadline_after(after));
    for watched in list.iter() {
        if let Some(file) = &watched.file {
            file.ops.ask_ready(&mut call.io(), watched.want)?;
        }
    }
    if timeout != Some(0) && call.waits.forced() {
        return Err(Stop::Block);
    }
    let count = look(list);
    if count > 0 {
        return Ok(count);
    }
    // Also without any time to wait: what the call's mask lets in comes.
    if call.waits.interrupt != Interrupt::None {
        return Err(Stop::Restart(restart));
    }
    if timeout == Some(0) {
        return Ok(0);
    }
    if deadline.is_some_and(|d| d.expired()) {
        return Ok(0);
    }
    for watched in list.iter() {
        if let Some(queue) = watched.file.as_ref().and_then(|f| f.queue()) {
            call.waits.add(queue, watched.want);
        }
    }
    let count = look(list);
    if count == 0 {
        return Err(Stop::Block);
    }
    call.waits.clear();
    Ok(count)
}

fn look(list: &mut [Watched]) -> usize {
    let mut count = 0;
    for watched in list {
        let want = watched.want;
        watched.is = watched.file.as_ref().map_or(watched.is, |file| file.ready(want) & want);
        count += usize::from(!watched.is.is_empty());
    }
    count
}

pub fn sys_poll(call: &mut Call<'_>, [fds, count, timeout, ..]: Args) -> Op<Ret> {
    poll(call, fds, count, milliseconds(timeout), Restart::Block)
}

pub fn sys_ppoll(call: &mut Call<'_>, [fds, count, timeout, set, size, _]: Args) -> Op<Ret> {
    let after = read_timespec(call, timeout)?;
    let out = with_mask(call, set, size, |call| poll(call, fds, count, after, Restart::NoHand));
    write_back(call, timeout, after, &out, false);
    out
}

fn poll(call: &mut Call<'_>, fds: u64, count: u64, timeout: Option<Nanos>, restart: Restart) -> Op<Ret> {
    let count = count as u32 as u64;
    if count > call.task.group.limit(Resource::Nofile) || count > MAX_FDS as u64 {
        return fail(Errno::EINVAL);
    }
    let mut polled = call.get_vec::<PollFd>(fds, count as usize)?;
    let mut list = Vec::with_capacity(polled.len());
    for one in &polled {
        let file = if one.fd < 0 { None } else { call.file(one.fd as u64).ok() };
        let is = if one.fd >= 0 && file.is_none() { Events::NVAL } else { Events::empty() };
        list.push(Watched { file, want: Events::from_bits_truncate(one.events as u16 as u32) | ALWAYS, is });
    }
    let ready = wait_any(call, &mut list, timeout, restart)?;
    for (one, watched) in polled.iter_mut().zip(&list) {
        one.revents = watched.is.bits() as i16;
    }
    call.put(fds, polled.as_slice())?;
    Ok(ready.into())
}

pub fn sys_select(call: &mut Call<'_>, [n, read, write, except, timeout, _]: Args) -> Op<Ret> {
    let after = match timeout {
        0 => None,
        at => {
            // Microseconds beyond a second are taken over, as Linux does it.
            let t = call.get::<Timeval>(at)?;
            if t.tv_sec < 0 || t.tv_usec < 0 {
                return fail(Errno::EINVAL);
            }
            Some(
                (t.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add((t.tv_usec as u64).saturating_mul(1000)),
            )
        }
    };
    let out = select(call, n, [read, write, except], after);
    write_back(call, timeout, after, &out, true);
    out
}

pub fn sys_pselect6(call: &mut Call<'_>, [n, read, write, except, timeout, mask]: Args) -> Op<Ret> {
    let after = read_timespec(call, timeout)?;
    let mask = if mask == 0 { SigsetArgpack::default() } else { call.get::<SigsetArgpack>(mask)? };
    let out = with_mask(call, mask.sigset, mask.size, |call| select(call, n, [read, write, except], after));
    write_back(call, timeout, after, &out, false);
    out
}

/// What each of the three sets asks for, and what counts as its answer.
const SETS: [(Events, Events); 3] = [
    (Events::IN.union(Events::RDNORM).union(Events::RDBAND), Events::HUP.union(Events::ERR)),
    (Events::OUT.union(Events::WRNORM).union(Events::WRBAND), Events::ERR),
    (Events::PRI, Events::empty()),
];

fn select(call: &mut Call<'_>, n: u64, sets: [u64; 3], timeout: Option<Nanos>) -> Op<Ret> {
    let n = usize::try_from(n as i32).map_err(|_| Errno::EINVAL)?.min(MAX_FDS);
    let words = n.div_ceil(64);
    let mut asked = [const { Vec::new() }; 3];
    for (to, at) in asked.iter_mut().zip(sets) {
        *to = if at == 0 { vec![0u64; words] } else { call.get_vec::<u64>(at, words)? };
    }
    let bit = |set: &[u64], fd: usize| set.get(fd / 64).is_some_and(|w| w >> (fd % 64) & 1 != 0);
    let mut fds = Vec::new();
    let mut list = Vec::new();
    for fd in 0..n {
        let mut want = Events::empty();
        for (set, (ask, also)) in asked.iter().zip(SETS) {
            if bit(set, fd) {
                want |= ask | also;
            }
        }
        if !want.is_empty() {
            let file = call.file(fd as u64)?;
            fds.push(fd);
            list.push(Watched { file: Some(file), want, is: Events::empty() });
        }
    }
    wait_any(call, &mut list, timeout, Restart::NoHand)?;
    let mut count = 0u64;
    let mut out = [const { Vec::new() }; 3];
    for ((to, set), (ask, also)) in out.iter_mut().zip(&asked).zip(SETS) {
        *to = vec![0u64; words];
        for (fd, watched) in fds.iter().zip(&list) {
            if bit(set, *fd)
                && watched.is.intersects(ask | also)
                && let Some(word) = to.get_mut(fd / 64)
            {
                *word |= 1 << (fd % 64);
                count += 1;
            }
        }
    }
    for (set, at) in out.iter().zip(sets) {
        if at != 0 {
            call.put(at, set.as_slice())?;
        }
    }
    Ok(count.into())
}

fn read_timespec(call: &Call<'_>, at: u64) -> Op<Option<Nanos>> {
    if at == 0 {
        return Ok(None);
    }
    Ok(Some(from_timespec(call.get::<Timespec>(at)?).ok_or(Errno::EINVAL)?))
}

/// Tells how much of the timeout was left, once the call has ended. A timeout that can't be written (constant memory) stays.
fn write_back(call: &Call<'_>, at: u64, after: Option<Nanos>, out: &Op<Ret>, micro: bool) {
    if at == 0 || matches!(out, Err(Stop::Block)) || matches!(out, Err(Stop::Errno(e)) if *e != Errno::EINTR) {
        return;
    }
    let left = match (call.rec.deadline, after) {
        (Some(deadline), _) => deadline.left(),
        (None, after) => after.unwrap_or(0),
    };
    let t = to_timespec(left);
    let _ =
        if micro { call.put(at, &Timeval { tv_sec: t.tv_sec, tv_usec: t.tv_nsec / 1000 }) } else { call.put(at, &t) };
}
