//! futex(2) as far as it comes here: guest code waits and wakes in the host's futexes by itself (`platform::filter` lets those
//! operations through), so what arrives are the priority-inheriting ones, whose words hold thread ids that the host does not know,
//! and numbers that nobody knows. Both are what a kernel without CONFIG_FUTEX_PI says.

use abi::Errno;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_futex(_call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    fail(Errno::ENOSYS)
}
