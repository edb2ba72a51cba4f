//! What the System V calls have in common: the caller's objects, `struct ipc64_perm`, IPC_SET.

use abi::Errno;
use kernel::cred::{Cred, UserNs};
use kernel::ipc::sysv::{Perm, SysV};
use kernel::{Call, Op, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub const IPC_RMID: u32 = 0;
pub const IPC_SET: u32 = 1;
pub const IPC_STAT: u32 = 2;
pub const IPC_INFO: u32 = 3;

/// The objects of the caller's IPC namespace.
pub fn objects(call: &Call<'_>) -> Arc<SysV> {
    SysV::of(&call.task.namespaces().ipc)
}

/// Seconds since the epoch, for the times of objects.
pub fn now() -> i64 {
    kernel::time::now().tv_sec
}

/// `struct ipc64_perm`, 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct IpcPerm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u16,
    pad: [u16; 3],
    unused: [u64; 2],
}

/// As the caller's user namespace sees it. That is got before the object is locked.
pub fn show(ns: &UserNs, p: &Perm) -> IpcPerm {
    IpcPerm {
        key: p.key,
        uid: ns.uid_to(p.uid),
        gid: ns.gid_to(p.gid),
        cuid: ns.uid_to(p.cuid),
        cgid: ns.gid_to(p.cgid),
        mode: p.mode,
        seq: p.seq,
        ..IpcPerm::default()
    }
}

/// IPC_SET's part that all kinds share: owner and permission bits. `change` gets at the object's, under its lock.
pub fn set(cred: &Cred, from: &IpcPerm, change: impl FnOnce(&dyn Fn(&mut Perm) -> Op<()>) -> Op<()>) -> Op<()> {
    let ns = &cred.user_ns;
    let (Some(uid), Some(gid)) = (ns.uid_from(from.uid), ns.gid_from(from.gid)) else { return fail(Errno::EINVAL) };
    change(&|to| {
        to.check_owner(cred)?;
        to.uid = uid;
        to.gid = gid;
        to.mode = to.mode & !0o777 | from.mode & 0o777;
        Ok(())
    })
}
