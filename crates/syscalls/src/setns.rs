//! setns(2): into a namespace by its file, or into several of a process by its PID file descriptor. Neighbours: `namespaces` makes new ones,
//! `kernel::task::Namespace` is their file.

use std::sync::Arc;

use abi::Errno;
use abi::task::CloneFlags;
use kernel::cred::{Cap, Cred, UserNs};
use kernel::ipc::pidfd::PidFd;
use kernel::task::{Namespace, Namespaces, Task};
use kernel::vfs::{MountNs, Path};
use kernel::{Args, Call, Op, Ret, fail};

/// What the task becomes, once nothing can fail any more.
struct Entered {
    cred: Cred,
    namespaces: Namespaces,
    /// The new root and working folder.
    root: Option<Path>,
}

pub fn sys_setns(call: &mut Call<'_>, [fd, flags, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    let flags = CloneFlags::from_bits_retain(u64::from(flags as u32));
    let wanted = if let Some(ns) = Namespace::of(&file) {
        if !flags.is_empty() && flags != ns.flag() {
            return fail(Errno::EINVAL);
        }
        vec![ns]
    } else {
        of_process(call.task, file.ops_as::<PidFd>().ok_or(Errno::EINVAL)?, flags)?
    };
    let task = call.task;
    // Linux lets only who takes several at once have its folders moved together with those of others.
    if let [Namespace::Mount(_)] = wanted[..]
        && shares_fs(task)
    {
        return fail(Errno::EINVAL);
    }
    let mut entered = Entered { cred: (*task.cred()).clone(), namespaces: task.namespaces(), root: None };
    for ns in wanted {
        enter(task, ns, &mut entered)?;
    }
    if let Some(root) = entered.root {
        task.fs().set_root(root.clone());
        task.fs().set_cwd(root);
    }
    task.set_namespaces(entered.namespaces);
    task.set_cred(entered.cred);
    Ok(().into())
}

/// Those of a process that `flags` names, the user namespace first: its capabilities count for the others.
fn of_process(task: &Arc<Task>, process: &PidFd, flags: CloneFlags) -> Op<Vec<Namespace>> {
    use CloneFlags as F;
    let known = F::NEWUSER | F::NEWNS | F::NEWUTS | F::NEWIPC | F::NEWPID | F::NEWCGROUP | F::NEWNET;
    if flags.is_empty() || !known.contains(flags) {
        return fail(Errno::EINVAL);
    }
    let target = process.pid.task().ok_or(Errno::ESRCH)?;
    if !task.may_read(&target) {
        return fail(Errno::EPERM);
    }
    let wanted: Vec<_> = Namespace::all_of(&target).into_iter().filter(|ns| flags.contains(ns.flag())).collect();
    // One that has ended has lost its PID namespace.
    if wanted.len() as u32 != flags.bits().count_ones() || target.mm().is_none() {
        return fail(Errno::ESRCH);
    }
    Ok(wanted)
}

fn enter(task: &Arc<Task>, ns: Namespace, to: &mut Entered) -> Op<()> {
    if let Namespace::User(ns) = ns {
        return enter_user(task, ns, to);
    }
    // With the rights of before: a user namespace that is entered at the same time takes away those over what is around it.
    let (mine, owner) = (task.cred(), ns.owner().ok_or(Errno::EINVAL)?);
    if [&owner, &to.cred.user_ns].iter().any(|ruled| !mine.has_in(ruled, Cap::SysAdmin)) {
        return fail(Errno::EPERM);
    }
    match ns {
        Namespace::Uts(ns) => to.namespaces.uts = ns,
        Namespace::Ipc(ns) => to.namespaces.ipc = ns,
        Namespace::Net(ns) => to.namespaces.net = ns,
        Namespace::Cgroup(ns) => to.namespaces.cgroup = ns,
        Namespace::Pid(ns) => {
            // Numbers of its ancestors' namespaces a process has for life: only what is below can be for its children.
            if !task.pid.ns().is_some_and(|mine| mine.is_ancestor_of(&ns)) {
                return fail(Errno::EINVAL);
            }
            to.namespaces.pid_for_children = ns;
        }
        Namespace::Mount(ns) => enter_mount(&mine, ns, to)?,
        Namespace::User(_) => {}
    }
    Ok(())
}

/// All capabilities in there; no way back.
fn enter_user(task: &Arc<Task>, ns: Arc<UserNs>, to: &mut Entered) -> Op<()> {
    if ns.id == to.cred.user_ns.id || task.group.tasks().len() != 1 || shares_fs(task) {
        return fail(Errno::EINVAL);
    }
    if !to.cred.has_in(&ns, Cap::SysAdmin) {
        return fail(Errno::EPERM);
    }
    to.cred.enter(ns);
    Ok(())
}

/// To its root, which becomes the working folder too.
fn enter_mount(mine: &Cred, ns: Arc<MountNs>, to: &mut Entered) -> Op<()> {
    if !mine.has_in(&to.cred.user_ns, Cap::SysChroot) {
        return fail(Errno::EPERM);
    }
    let mut mount = ns.root().ok_or(Errno::EINVAL)?;
    while let Some(above) = mount.mounted_on(&mount.root) {
        mount = above;
    }
    to.root = Some(Path::new(mount.clone(), mount.root.clone()));
    to.namespaces.mount = ns;
    Ok(())
}

/// Whether another task has the same root and working folder (CLONE_FS).
fn shares_fs(task: &Arc<Task>) -> bool {
    let mine = task.fs();
    let groups = task.kernel.root_pid_ns.groups();
    let mut others = groups.iter().flat_map(|(_, group)| group.tasks());
    others.any(|other| !Arc::ptr_eq(&other, task) && Arc::ptr_eq(&other.fs(), &mine))
}
