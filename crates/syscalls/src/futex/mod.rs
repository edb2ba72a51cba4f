//! futex(2) as far as it comes here.
//!
//! Guest code wakes, requeues and waits without a timeout in the host's futexes by itself (`platform::filter` lets those operations through). What arrives are
//! waits with a timeout, which the host makes too, but for which the kernel keeps the time, so that a signal without a handler does not end them; the
//! priority-inheriting operations (`pi`, `requeue`); and numbers that nobody knows. Neighbours: `swap`, `kernel::task::pi`.

mod pi;
mod requeue;
mod swap;

use abi::Errno;
use abi::futex::{
    FUTEX_CLOCK_REALTIME, FUTEX_CMD_MASK, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_PRIVATE_FLAG,
    FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI,
};
use abi::time::Timespec;
use kernel::task::pi::Key;
use kernel::time::{Deadline, Nanos, from_timespec, monotonic, realtime};
use kernel::{Args, Call, Op, Ret, fail};

/// A futex word as a call names it.
struct Word {
    addr: u64,
    key: Key,
}

pub fn sys_futex(call: &mut Call<'_>, [addr, op, value, timeout, addr2, value3]: Args) -> Op<Ret> {
    let (op, value) = (op as u32, value as u32);
    let (command, private) = (op & FUTEX_CMD_MASK as u32, op & FUTEX_PRIVATE_FLAG != 0);
    let real = op & FUTEX_CLOCK_REALTIME != 0;
    if real && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2) {
        return fail(Errno::ENOSYS);
    }
    match command {
        FUTEX_WAIT => {
            let until = timespec(call, timeout)?.map(|after| call.deadline_after(after).0);
            host_wait(addr, op, value, until, u32::MAX)
        }
        FUTEX_WAIT_BITSET => {
            let until = timespec(call, timeout)?;
            host_wait(addr, op, value, until, value3 as u32)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            deadline(call, timeout, real || command == FUTEX_LOCK_PI)?;
            pi::lock(call, addr, private, false)
        }
        FUTEX_TRYLOCK_PI => pi::lock(call, addr, private, true),
        FUTEX_UNLOCK_PI => pi::unlock(call, addr, private),
        FUTEX_WAIT_REQUEUE_PI => {
            deadline(call, timeout, real)?;
            requeue::wait(call, [addr, addr2], private, value)
        }
        // The fourth argument is a number here.
        FUTEX_CMP_REQUEUE_PI => {
            requeue::requeue(call, [addr, addr2], private, value as i32, timeout as i32, value3 as u32)
        }
        _ => fail(Errno::ENOSYS),
    }
}

/// EFAULT, or EINVAL for what is no time.
fn timespec(call: &Call<'_>, at: u64) -> Op<Option<Nanos>> {
    if at == 0 {
        return Ok(None);
    }
    Ok(Some(from_timespec(call.get::<Timespec>(at)?).ok_or(Errno::EINVAL)?))
}

/// Sets the record's deadline by an absolute time.
fn deadline(call: &mut Call<'_>, at: u64, real: bool) -> Op<()> {
    if call.rec.deadline.is_none()
        && let Some(time) = timespec(call, at)?
    {
        let time = if real { monotonic().saturating_add(time.saturating_sub(realtime())) } else { time };
        call.rec.deadline = Some(Deadline(time));
    }
    Ok(())
}

fn host_wait(addr: u64, op: u32, value: u32, until: Option<Nanos>, bits: u32) -> Op<Ret> {
    let op = FUTEX_WAIT_BITSET | op & (FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let until = until.map(|t| ((t / 1_000_000_000) as i64, (t % 1_000_000_000) as i64));
    Ok(Ret::HostWait(platform::FutexWait { addr, op, value, until, bits }))
}

impl Word {
    /// EINVAL for an odd address, EFAULT where no memory is.
    fn new(call: &Call<'_>, addr: u64, private: bool) -> Op<Word> {
        if !addr.is_multiple_of(4) {
            return fail(Errno::EINVAL);
        }
        let mm = call.mm()?;
        let place = mm.place(addr).ok_or(Errno::EFAULT)?;
        let place = if private { kernel::mm::Place::Own { mm, addr } } else { place };
        Ok(Word { addr, key: (place, private) })
    }

    fn read(&self, call: &Call<'_>) -> Op<u32> {
        call.get(self.addr)
    }
}
