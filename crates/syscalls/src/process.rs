//! Who a process is: getpid(2), getppid(2), gettid(2).

use kernel::{Args, Call, Op, Ret};

pub fn sys_getpid(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    Ok(call.task.group.id().into())
}

pub fn sys_getppid(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    let ns = call.task.pid.ns();
    let parent = call.task.group.parent();
    Ok(parent.zip(ns).map_or(0, |(parent, ns)| parent.pid.number_in(&ns)).into())
}
