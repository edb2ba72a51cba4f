//! futex(2) as far as it comes here.
//!
//! Guest code wakes, requeues and waits without a timeout in the host's futexes by itself (`platform::filter` lets those operations through). What arrives are
//! waits with a timeout, which the host makes too, but for which the kernel keeps the time, so that a signal without a handler does not end them; the
//! priority-inheriting operations; and numbers that nobody knows. Neighbours: `robust`.

use abi::Errno;
use abi::futex::{FUTEX_CLOCK_REALTIME, FUTEX_CMD_MASK, FUTEX_PRIVATE_FLAG, FUTEX_WAIT, FUTEX_WAIT_BITSET};
use abi::time::Timespec;
use kernel::time::{Nanos, from_timespec};
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_futex(call: &mut Call<'_>, [addr, op, value, timeout, _, bits]: Args) -> Op<Ret> {
    let command = op as u32 & FUTEX_CMD_MASK as u32;
    let timeout = if matches!(command, FUTEX_WAIT | FUTEX_WAIT_BITSET) { timespec(call, timeout)? } else { None };
    match command {
        FUTEX_WAIT => {
            // From the first run on, whatever clock is named: as Linux has it.
            let until = timeout.map(|after| call.deadline_after(after).0);
            host_wait(addr, op as u32, value as u32, until, u32::MAX)
        }
        FUTEX_WAIT_BITSET => host_wait(addr, op as u32, value as u32, timeout, bits as u32),
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

fn host_wait(addr: u64, op: u32, value: u32, until: Option<Nanos>, bits: u32) -> Op<Ret> {
    let op = FUTEX_WAIT_BITSET | op & (FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let until = until.map(|t| ((t / 1_000_000_000) as i64, (t % 1_000_000_000) as i64));
    Ok(Ret::HostWait(platform::FutexWait { addr, op, value, until, bits }))
}
