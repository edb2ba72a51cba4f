//! pipe(2), pipe2(2).

use abi::Errno;
use abi::fs::OpenFlags;
use kernel::ipc::pipe::new_pipe;
use kernel::task::Resource;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_pipe(call: &mut Call<'_>, [fds, ..]: Args) -> Op<Ret> {
    pipe(call, fds, OpenFlags::empty())
}

pub fn sys_pipe2(call: &mut Call<'_>, [fds, flags, ..]: Args) -> Op<Ret> {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC | OpenFlags::DIRECT).contains(flags) {
        return fail(Errno::EINVAL);
    }
    pipe(call, fds, flags)
}

fn pipe(call: &mut Call<'_>, fds: u64, flags: OpenFlags) -> Op<Ret> {
    let ends = new_pipe(&call.task.cred(), flags)?;
    let limit = call.task.group.limit(Resource::Nofile);
    let files = call.files();
    let numbers = files.add_pair(ends, flags.contains(OpenFlags::CLOEXEC), limit)?;
    if let Err(stop) = call.put(fds, &numbers) {
        for fd in numbers {
            drop(files.remove(fd));
        }
        return Err(stop);
    }
    Ok(Ret::Value(0))
}
