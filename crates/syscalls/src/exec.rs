//! New programs: execve(2), execveat(2). The work is `kernel::task`'s (`Image`) and `kernel::loader`'s.

use abi::Errno;
use kernel::task::{ExecRequest, Image};
use kernel::vfs::{Base, WalkFlags};
use kernel::wait::{Events, Interrupt};
use kernel::{Args, Call, Op, Restart, Ret, Stop, StubWork, fail};
use std::sync::Arc;

const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_EMPTY_PATH: u64 = 0x1000;
pub fn sys_execve(call: &mut Call<'_>, [path, argv, envp, ..]: Args) -> Op<Ret> {
    exec(call, -100, path, argv, envp, 0)
}

pub fn sys_execveat(call: &mut Call<'_>, [dirfd, path, argv, envp, flags, _]: Args) -> Op<Ret> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return fail(Errno::EINVAL);
    }
    exec(call, dirfd as i32, path, argv, envp, flags)
}

/// The program is open and checked; the other threads are on their way out.
struct Stage {
    image: Option<Box<Image>>,
    /// There were others: their host threads may still be in the old address space.
    had_threads: bool,
}

fn exec(call: &mut Call<'_>, dirfd: i32, path: u64, argv: u64, envp: u64, flags: u64) -> Op<Ret> {
    if call.rec.stage.is_none() {
        let image = open(call, dirfd, path, argv, envp, flags)?;
        let group = &call.task.group;
        let had_threads = group.tasks().len() > 1;
        group.zap_others(call.task);
        call.rec.stage = Some(Box::new(Stage { image: Some(image), had_threads }));
    }
    wait_for_threads(call)?;
    let task = call.task.clone();
    if let Some(script) = task.last_words() {
        let on_done = Box::new(|_: &Arc<kernel::task::Task>, _, _| kernel::Next::Again);
        return Ok(Ret::Stub(Box::new(StubWork::Script { script, on_done })));
    }
    let stage = call.rec.stage.as_mut().and_then(|s| s.downcast_mut::<Stage>()).ok_or(Errno::EINVAL)?;
    let image = stage.image.take().ok_or(Errno::EINVAL)?;
    if !Arc::ptr_eq(&task.pid, &task.group.pid) {
        task.exec_as_leader(image);
        return Ok(Ret::ExitThread { status: 0 });
    }
    let shared = task.mm().is_none_or(|mm| mm.users() > 1 || mm.on_map(|state| state.sealed_by_host));
    if stage.had_threads || shared {
        task.exec_fresh(image);
        return Ok(Ret::Stub(Box::new(StubWork::Fresh)));
    }
    let thread = task.thread().ok_or(Errno::ESRCH)?;
    let (script, on_done) = task.exec_in_place(&thread, *image)?;
    Ok(Ret::Stub(Box::new(StubWork::Script { script, on_done })))
}

/// Only the own death ends this wait, as on Linux.
fn wait_for_threads(call: &mut Call<'_>) -> Op<()> {
    let group = call.task.group.clone();
    if group.tasks().len() == 1 {
        return Ok(());
    }
    if call.waits.interrupt == Interrupt::Kill {
        return Err(Stop::Restart(Restart::NoIntr));
    }
    call.waits.add(&group.thread_left, Events::IN);
    if group.tasks().len() == 1 { Ok(()) } else { Err(Stop::Block) }
}

fn open(call: &mut Call<'_>, dirfd: i32, path: u64, argv: u64, envp: u64, flags: u64) -> Op<Box<Image>> {
    let path = call.path(path)?;
    let task = call.task.clone();
    let fs = task.fs();
    let at = if dirfd == -100 || path.first() == Some(&b'/') {
        fs.cwd()
    } else {
        call.any_file(dirfd as u64)?.path.clone().ok_or(Errno::ENOTDIR)?
    };
    let base = Base::new(fs.root(), at);
    let vanishes =
        dirfd != -100 && path.first() != Some(&b'/') && call.files().entry(dirfd).is_ok_and(|entry| entry.cloexec);
    let name = match path.first() {
        Some(b'/') => path.to_vec(),
        _ if dirfd == -100 => path.to_vec(),
        None => format!("/dev/fd/{dirfd}").into_bytes(),
        Some(_) => [format!("/dev/fd/{dirfd}/").as_bytes(), &path].concat(),
    };
    let mut walk = WalkFlags::empty();
    walk.set(WalkFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    walk.set(WalkFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    let limits = task.group.limits();
    let stack = limits.get(kernel::task::Resource::Stack).soft;
    let args = kernel::loader::read_args(&*call.mm()?, argv, envp, stack)?;
    let request = ExecRequest {
        base: &base,
        path: &path,
        name: &name,
        vanishes,
        flags: walk,
        watched: task.has_weak_tracer(),
        args,
    };
    let (cred, personality) = (task.cred(), task.personality());
    let platform = task.kernel.platform.clone();
    let mut io = call.io();
    Ok(Box::new(Image::open(&mut io, &platform, &limits, personality, &cred, request)?))
}
