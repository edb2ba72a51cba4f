//! set_robust_list(2), get_robust_list(2). What becomes of the locks when their thread ends: `kernel::task`, in robust.rs.

use abi::Errno;
use abi::futex::RobustListHead;
use kernel::{Args, Call, Op, Ret, fail};

const HEAD: u64 = size_of::<RobustListHead>() as u64;

pub fn sys_set_robust_list(call: &mut Call<'_>, [head, len, ..]: Args) -> Op<Ret> {
    if len != HEAD {
        return fail(Errno::EINVAL);
    }
    call.task.set_robust_list(head);
    Ok(().into())
}

pub fn sys_get_robust_list(call: &mut Call<'_>, [pid, head_at, len_at, ..]: Args) -> Op<Ret> {
    let target = match pid as i32 {
        0 => call.task.clone(),
        pid => call.task.pid.ns().and_then(|ns| ns.task(pid)).ok_or(Errno::ESRCH)?,
    };
    let (mine, theirs) = (call.task.cred(), target.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == mine.uid);
    if !same && !mine.has_in(&theirs.user_ns, kernel::cred::Cap::SysPtrace) {
        return fail(Errno::EPERM);
    }
    call.put(len_at, &HEAD)?;
    call.put(head_at, &target.robust_list())?;
    Ok(().into())
}
