//! What a process of ours does in the fresh mount namespace that [`crate::spawn`] gave it: an empty, read-only root (pivot_root(2), fsmount(2)).
//!
//! Neighbours: `spawn`, `capabilities`, `lockdown`. Owns no locks.

use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::io;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change, mount_remount, move_mount, unmount,
};

/// Leaves the host's mounts for an empty read-only tmpfs. Needs a mount namespace of its own and CAP_SYS_ADMIN in its user namespace.
pub fn empty_root() -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Any folder serves as a mount point for the moment of the pivot; /proc is there wherever we can run at all.
    mount("tmpfs", "/proc", "tmpfs", flags, Some(c"size=4k,nr_inodes=2,mode=0555"))?;
    rustix::process::chdir("/proc")?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    mount_remount("/", flags | MountFlags::RDONLY, c"")
}

/// A procfs of the caller's PID namespace, mounted nowhere: only the folders of processes (`subset=pid`), reached through the descriptor alone.
///
/// EPERM where the host's /proc is itself masked (inside another container).
pub fn detached_proc() -> io::Result<OwnedFd> {
    // Linux 5.8, which is older than any that stockade runs on.
    detached("proc", &[("subset", "pid")], MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// A file system that is mounted nowhere, without set-id programs and devices, and with these attributes besides.
pub(crate) fn detached(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    let always = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, always | attributes)
}

/// Makes a detached tree (from fsmount or open_tree) visible at `path`.
pub fn attach(tree: &OwnedFd, path: &str) -> io::Result<()> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
