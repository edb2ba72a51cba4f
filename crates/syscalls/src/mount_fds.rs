//! Mounts by descriptors: open_tree(2), move_mount(2), fsmount(2), mount_setattr(2).
//!
//! A descriptor may have a tree of mounts for itself, which is mounted nowhere and goes with it. Neighbours: `mounts`, `fs_config`.

use crate::fs_config::install;
use crate::mounts::may_mount;
use crate::names::{extensible, find, only};
use abi::Errno;
use abi::fs::{
    AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, FSMOUNT_CLOEXEC, MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_SIZE_VER0, MOUNT_ATTR_STRICTATIME,
    MOVE_MOUNT_F_AUTOMOUNTS, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_F_SYMLINKS, MOVE_MOUNT_T_AUTOMOUNTS,
    MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID,
    MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_RELATIME, MS_SHARED, MS_SLAVE, MS_STRICTATIME, MS_UNBINDABLE, MountAttr,
    OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, OpenFlags,
};
use kernel::vfs::{self, File, FsConfig, Mount, MountChange, MountTreeFile, Path, PathOnly, Propagation};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// Attributes of a mount and the flags of mount(2) that they are, those about times apart.
const ATTRIBUTES: [(u32, u32); 6] = [
    (MOUNT_ATTR_RDONLY, MS_RDONLY),
    (MOUNT_ATTR_NOSUID, MS_NOSUID),
    (MOUNT_ATTR_NODEV, MS_NODEV),
    (MOUNT_ATTR_NOEXEC, MS_NOEXEC),
    (MOUNT_ATTR_NODIRATIME, MS_NODIRATIME),
    (MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW),
];

/// The MOUNT_ATTR_* of a mount.
pub fn attributes(mount: &Mount) -> u64 {
    let flags = mount.flags();
    let own = ATTRIBUTES.iter().filter(|(_, flag)| flags & flag != 0).fold(0, |all, (attr, _)| all | attr);
    let times = match flags & (MS_NOATIME | MS_STRICTATIME) {
        0 => MOUNT_ATTR_RELATIME,
        MS_NOATIME => MOUNT_ATTR_NOATIME,
        _ => MOUNT_ATTR_STRICTATIME,
    };
    u64::from(own | times)
}

/// The flags of mount(2) for attributes; EINVAL for unknown ones.
fn flags_of(attributes: u32) -> Op<u32> {
    let mut flags = match attributes & MOUNT_ATTR__ATIME {
        MOUNT_ATTR_RELATIME => MS_RELATIME,
        MOUNT_ATTR_NOATIME => MS_NOATIME,
        MOUNT_ATTR_STRICTATIME => MS_STRICTATIME,
        _ => return fail(Errno::EINVAL),
    };
    let mut left = attributes & !MOUNT_ATTR__ATIME;
    for (attribute, flag) in ATTRIBUTES {
        if left & attribute != 0 {
            flags |= flag;
            left &= !attribute;
        }
    }
    if left == 0 { Ok(flags) } else { fail(Errno::EINVAL) }
}

pub fn sys_open_tree(call: &mut Call<'_>, [dir, path, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    let known = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW;
    only(flags, known | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)?;
    let clones = flags & OPEN_TREE_CLONE != 0;
    if flags & AT_RECURSIVE != 0 && !clones {
        return fail(Errno::EINVAL);
    }
    if clones {
        may_mount(call)?;
    }
    let at = find(call, dir, path, flags)?;
    let file = if clones {
        own_or_detached(call, &at.mount)?;
        tree_file(vfs::clone_tree(&at, flags & AT_RECURSIVE != 0)?)?
    } else {
        let inode = at.inode()?;
        File::opened(at, inode, Arc::new(PathOnly), OpenFlags::PATH)
    };
    install(call, file, flags & OPEN_TREE_CLOEXEC != 0)
}

/// The descriptor's file for a tree of mounts that is nowhere else.
fn tree_file(mount: Arc<Mount>) -> Op<Arc<File>> {
    let at = Path::new(mount.clone(), mount.root.clone());
    let inode = at.inode()?;
    Ok(File::opened(at, inode, Arc::new(MountTreeFile(mount)), OpenFlags::PATH))
}

/// A mount of another namespace is none of the caller's business, and with one that was unmounted nothing can be done: EINVAL.
pub fn own_or_detached(call: &Call<'_>, mount: &Mount) -> Op<()> {
    let (ns, gone) = {
        let links = mount.tree.read();
        (links.ns.upgrade(), links.gone)
    };
    match ns {
        Some(ns) if !Arc::ptr_eq(&ns, &call.task.namespaces().mount) => fail(Errno::EINVAL),
        None if gone => fail(Errno::EINVAL),
        _ => Ok(()),
    }
}

pub fn sys_fsmount(call: &mut Call<'_>, [fd, flags, attributes, ..]: Args) -> Op<Ret> {
    may_mount(call)?;
    only(flags as u32, FSMOUNT_CLOEXEC)?;
    let own = flags_of(u32::try_from(attributes).map_err(|_| Errno::EINVAL)?)?;
    let file = call.file(fd)?;
    let config = file.ops_as::<FsConfig>().ok_or(Errno::EINVAL)?;
    let mount = config.mount(own)?;
    install(call, tree_file(mount)?, flags as u32 & FSMOUNT_CLOEXEC != 0)
}

pub fn sys_move_mount(call: &mut Call<'_>, [from_dir, from, to_dir, to, flags, _]: Args) -> Op<Ret> {
    let flags = flags as u32;
    may_mount(call)?;
    let from_flags = MOVE_MOUNT_F_SYMLINKS | MOVE_MOUNT_F_AUTOMOUNTS | MOVE_MOUNT_F_EMPTY_PATH;
    only(flags, from_flags | MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_T_AUTOMOUNTS | MOVE_MOUNT_T_EMPTY_PATH)?;
    let at_flags = |follow: u32, empty: u32| {
        let follow = if flags & follow == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
        follow | if flags & empty != 0 { AT_EMPTY_PATH } else { 0 }
    };
    let from = find(call, from_dir, from, at_flags(MOVE_MOUNT_F_SYMLINKS, MOVE_MOUNT_F_EMPTY_PATH))?;
    let to = find(call, to_dir, to, at_flags(MOVE_MOUNT_T_SYMLINKS, MOVE_MOUNT_T_EMPTY_PATH))?;
    own_or_detached(call, &from.mount)?;
    own_or_detached(call, &to.mount)?;
    vfs::move_mount(&from, &to)?;
    Ok(0u64.into())
}

pub fn sys_mount_setattr(call: &mut Call<'_>, [dir, path, flags, attr, size, _]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)?;
    let asked: MountAttr = extensible(call, attr, size, MOUNT_ATTR_SIZE_VER0 as usize)?;
    may_mount(call)?;
    if asked.attr_set == 0 && asked.attr_clr == 0 && asked.propagation == 0 {
        return Ok(0u64.into());
    }
    let change = change_of(&asked)?;
    let at = find(call, dir, path, flags)?;
    own_or_detached(call, &at.mount)?;
    vfs::change_mounts(&at, change, flags & AT_RECURSIVE != 0)?;
    Ok(0u64.into())
}

fn change_of(asked: &MountAttr) -> Op<MountChange> {
    const TIMES: u32 = MS_RELATIME | MS_NOATIME | MS_STRICTATIME;
    let (Ok(set), Ok(clear)) = (u32::try_from(asked.attr_set), u32::try_from(asked.attr_clr)) else {
        return fail(Errno::EINVAL);
    };
    // The ways to keep times exclude each other: a new one is set only where the old one is cleared.
    let times = match clear & MOUNT_ATTR__ATIME {
        0 if set & MOUNT_ATTR__ATIME == 0 => 0,
        MOUNT_ATTR__ATIME => TIMES,
        _ => return fail(Errno::EINVAL),
    };
    let set_flags = flags_of(set)? & if times == 0 { !TIMES } else { u32::MAX };
    let clear_flags = flags_of(clear & !MOUNT_ATTR__ATIME)? & !TIMES | times;
    let propagation = match u32::try_from(asked.propagation) {
        Ok(0) => None,
        Ok(MS_SHARED) => Some(Propagation::Shared),
        Ok(MS_SLAVE) => Some(Propagation::Slave),
        Ok(MS_PRIVATE) => Some(Propagation::Private),
        Ok(MS_UNBINDABLE) => Some(Propagation::Unbindable),
        _ => return fail(Errno::EINVAL),
    };
    Ok(MountChange { clear: clear_flags, set: set_flags, propagation })
}
