//! Flags and propagation of mounts that are there: mount(2) with MS_REMOUNT and the propagation flags, mount_setattr(2).
//!
//! Neighbours: `mount_tree`. Locks: `MountChange`, then `MountTree`.

use super::mount::with_times;
use super::mount_tree::{CHANGE, changed, tree_of};
use super::mounts::own_options;
use super::propagation::{Propagation, set_type};
use super::{FileSystem, Mount, Path};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::{MS_NOATIME, MS_NODIRATIME, MS_RDONLY, MS_RELATIME, MS_STRICTATIME};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// MS_REMOUNT: with `only_mount` (MS_BIND) the mount's own flags, else the file system's too.
pub fn remount(io: &mut Io<'_>, at: &Path, flags: u32, only_mount: bool, data: &[u8]) -> Op<()> {
    if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
        return fail(Errno::EINVAL);
    }
    let flags = with_times(flags);
    check_locked_flags(&at.mount, flags)?;
    if !only_mount {
        if !at.mount.fs.administered_by(&io.cred) {
            return fail(Errno::EPERM);
        }
        reconfigure(io, &at.mount.fs, flags & MS_RDONLY != 0, data)?;
    } else if flags & !at.mount.flags() & MS_RDONLY != 0 && at.mount.writers.load(Ordering::Acquire) > 0 {
        return fail(Errno::EBUSY);
    }
    at.mount.set_flags(flags);
    let ns = at.mount.tree.read().ns.upgrade();
    if let Some(ns) = ns {
        changed(&ns);
    }
    Ok(())
}

/// Changes a file system, for all of its mounts. EBUSY where it is to become read-only and somebody writes.
pub(super) fn reconfigure(io: &mut Io<'_>, fs: &FileSystem, mut read_only: bool, data: &[u8]) -> Op<()> {
    let data = &own_options(data, &mut read_only);
    let closes = read_only && !fs.read_only.load(Ordering::Relaxed);
    if closes && fs.writers.load(Ordering::Acquire) > 0 {
        return fail(Errno::EBUSY);
    }
    fs.ops.remount(io, data)?;
    fs.read_only.store(read_only, Ordering::Relaxed);
    Ok(())
}

/// MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE.
pub fn set_propagation(at: &Path, to: Propagation, recursive: bool) -> Op<()> {
    if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
        return fail(Errno::EINVAL);
    }
    let namespaces = CHANGE.lock();
    let mounts = if recursive { tree_of(&at.mount) } else { vec![at.mount.clone()] };
    for mount in mounts {
        set_type(&namespaces, &mount, to);
    }
    Ok(())
}

/// mount_setattr(2): what becomes of the flags of a mount.
#[derive(Clone, Copy, Debug)]
pub struct MountChange {
    /// MS_* flags to take away, then those to set.
    pub clear: u32,
    pub set: u32,
    pub propagation: Option<Propagation>,
}

/// Changes a mount, with `recursive` those below it too: all or none.
pub fn change_mounts(at: &Path, change: MountChange, recursive: bool) -> Op<()> {
    if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
        return fail(Errno::EINVAL);
    }
    let namespaces = CHANGE.lock();
    let mounts = if recursive { tree_of(&at.mount) } else { vec![at.mount.clone()] };
    let new = |mount: &Mount| with_times(mount.flags() & !change.clear | change.set);
    for mount in &mounts {
        check_locked_flags(mount, new(mount))?;
        let closes = new(mount) & !mount.flags() & MS_RDONLY != 0;
        if closes && mount.writers.load(Ordering::Acquire) > 0 {
            return fail(Errno::EBUSY);
        }
    }
    for mount in &mounts {
        mount.set_flags(new(mount));
        if let Some(to) = change.propagation {
            set_type(&namespaces, mount, to);
        }
    }
    let ns = at.mount.tree.read().ns.upgrade();
    drop(namespaces);
    if let Some(ns) = ns {
        changed(&ns);
    }
    Ok(())
}

/// Whether a mount's flags may become `new`: EPERM where a more privileged namespace has set what would go.
fn check_locked_flags(mount: &Mount, new: u32) -> Op<()> {
    const TIMES: u32 = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
    let locked = mount.tree.read().locked_flags;
    let lost = locked & !MS_NOATIME & !new != 0;
    let times = locked & MS_NOATIME != 0 && (mount.flags() ^ new) & TIMES != 0;
    if lost || times { fail(Errno::EPERM) } else { Ok(()) }
}
