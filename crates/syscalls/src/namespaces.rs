//! New namespaces: unshare(2), and clone's CLONE_NEW* flags. namespaces(7). Neighbour: `setns` enters those that are there.

use abi::Errno;
use abi::task::CloneFlags;
use kernel::cred::{Cap, Cred, UserNs};
use kernel::fd::FdTable;
use kernel::task::{CgroupNs, FsContext, IpcNs, Namespaces, NetNs, PidNs};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// New namespaces, and with a new mount namespace the same places as seen in it.
pub struct New {
    pub namespaces: Namespaces,
    pub fs: Option<FsContext>,
}

/// The namespaces of a clone's child; `cred` becomes the child's.
pub fn for_clone(call: &mut Call<'_>, flags: CloneFlags, cred: &mut Cred) -> Op<New> {
    make(call, flags, cred)
}

fn make(call: &mut Call<'_>, flags: CloneFlags, cred: &mut Cred) -> Op<New> {
    use CloneFlags as F;
    let mut ns = call.task.namespaces();
    if flags.contains(F::NEWUSER) {
        // Whoever has no ids in the namespace around would have none of the new one's owner.
        let around = &cred.user_ns;
        if !around.maps_uid(cred.euid) || !around.maps_gid(cred.egid) {
            return fail(Errno::EPERM);
        }
        let child = UserNs::child(&cred.user_ns, cred.euid, cred.egid)?;
        cred.enter(child);
    }
    let others = F::NEWNS | F::NEWUTS | F::NEWIPC | F::NEWPID | F::NEWNET | F::NEWCGROUP | F::NEWTIME;
    if !flags.intersects(others) {
        return Ok(New { namespaces: ns, fs: None });
    }
    if !cred.has_in(&cred.user_ns, Cap::SysAdmin) {
        return fail(Errno::EPERM);
    }
    if flags.contains(F::NEWTIME) {
        // Not configured.
        return fail(Errno::EINVAL);
    }
    let owner = cred.user_ns.clone();
    let mut moved = None;
    if flags.contains(F::NEWUTS) {
        ns.uts = ns.uts.copy(owner.clone());
    }
    if flags.contains(F::NEWIPC) {
        ns.ipc = IpcNs::new(owner.clone());
    }
    if flags.contains(F::NEWCGROUP) {
        ns.cgroup = CgroupNs::of(owner.clone(), &call.task.group);
    }
    if flags.contains(F::NEWNET) {
        ns.net = NetNs::new(owner.clone());
    }
    if flags.contains(F::NEWPID) {
        // Who has one for its children already, or is to have them in another one, makes none below that.
        if !call.task.pid.ns().is_some_and(|own| Arc::ptr_eq(&own, &ns.pid_for_children)) {
            return fail(Errno::EINVAL);
        }
        ns.pid_for_children = PidNs::child(&ns.pid_for_children, owner.clone())?;
    }
    if flags.contains(F::NEWNS) {
        let fs = call.task.fs();
        let mut places = [fs.root(), fs.cwd()];
        ns.mount = kernel::vfs::copy_ns(&ns.mount, &owner, &mut places)?;
        let [root, cwd] = places;
        moved = Some(FsContext::new(root, cwd, fs.umask()));
    }
    Ok(New { namespaces: ns, fs: moved })
}

pub fn sys_unshare(call: &mut Call<'_>, [flags, ..]: Args) -> Op<Ret> {
    use CloneFlags as F;
    let mut flags = F::from_bits_retain(flags);
    let known = F::FS
        | F::FILES
        | F::NEWNS
        | F::NEWUTS
        | F::NEWIPC
        | F::NEWPID
        | F::NEWNET
        | F::NEWUSER
        | F::NEWCGROUP
        | F::NEWTIME
        | F::THREAD
        | F::SIGHAND
        | F::VM
        | F::SYSVSEM;
    if flags.bits() & !known.bits() != 0 {
        return fail(Errno::EINVAL);
    }
    let alone = call.task.group.tasks().len() == 1;
    if flags.intersects(F::THREAD | F::SIGHAND | F::VM | F::NEWUSER) && !alone {
        return fail(Errno::EINVAL);
    }
    if flags.intersects(F::NEWNS | F::NEWUSER) {
        flags |= F::FS;
    }
    let mut cred = (*call.task.cred()).clone();
    let new = make(call, flags, &mut cred)?;
    let task = call.task;
    if flags.contains(F::FS) {
        let fs = new.fs.unwrap_or_else(|| task.fs().copy());
        task.set_fs(Arc::new(fs));
    }
    if flags.contains(F::FILES) {
        let files: FdTable = task.files().copy();
        task.set_files(Arc::new(files));
    }
    task.set_namespaces(new.namespaces);
    task.set_cred(cred);
    Ok(().into())
}
