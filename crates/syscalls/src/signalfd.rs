//! signalfd(2).

use abi::Errno;
use abi::fds::{SFD_CLOEXEC, SFD_NONBLOCK};
use abi::fs::OpenFlags;
use kernel::ipc::signalfd::{SignalFd, new_signalfd};
use kernel::task::Resource;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_signalfd(call: &mut Call<'_>, [fd, mask, size, ..]: Args) -> Op<Ret> {
    sys_signalfd4(call, [fd, mask, size, 0, 0, 0])
}

pub fn sys_signalfd4(call: &mut Call<'_>, [fd, mask, size, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if size != 8 || flags & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return fail(Errno::EINVAL);
    }
    let mask = call.get::<u64>(mask)?;
    if fd as i32 != -1 {
        let file = call.file(fd)?;
        file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?.set_mask(mask);
        return Ok((fd as i32).into());
    }
    let file = new_signalfd(&call.task.group, mask, OpenFlags::from_bits_retain(flags & SFD_NONBLOCK));
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, flags & SFD_CLOEXEC != 0, 0, limit)?.into())
}
