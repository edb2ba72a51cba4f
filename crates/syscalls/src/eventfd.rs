//! eventfd(2).

use abi::Errno;
use abi::fds::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
use abi::fs::OpenFlags;
use kernel::ipc::eventfd::new_eventfd;
use kernel::task::Resource;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_eventfd(call: &mut Call<'_>, [initial, ..]: Args) -> Op<Ret> {
    sys_eventfd2(call, [initial, 0, 0, 0, 0, 0])
}

pub fn sys_eventfd2(call: &mut Call<'_>, [initial, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE) != 0 {
        return fail(Errno::EINVAL);
    }
    let open = OpenFlags::from_bits_retain(flags & EFD_NONBLOCK);
    let file = new_eventfd(initial as u32, flags & EFD_SEMAPHORE != 0, open);
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, flags & EFD_CLOEXEC != 0, 0, limit)?.into())
}
