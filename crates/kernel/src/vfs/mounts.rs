//! Changes of the mount tree: mount(2), umount2(2), move_mount(2), pivot_root(2).
//!
//! Neighbours: `mount_tree` has the steps, `propagation` the peers. Locks: `MountChange`, then `MountTree`. Who may mount is the caller's
//! check (CAP_SYS_ADMIN over the namespace's owner).

use super::mount_tree::{CHANGE, changed, copy_one, copy_tree, dissolve, is_shared, link, shown_ns, tree_of, unlink};
use super::propagation::{follow, leave, propagate, take_away};
use super::{Dentry, FileType, FsType, Mount, MountArgs, MountNs, Path};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::{MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MS_RDONLY};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Makes a file system of a type and mounts it at `at`. `flags` are the MS_* that belong to a mount.
#[allow(clippy::too_many_arguments)]
pub fn mount_new(
    io: &mut Io<'_>,
    kernel: &Arc<crate::Kernel>,
    fs: &FsType,
    source: &[u8],
    at: &Path,
    flags: u32,
    data: &[u8],
) -> Op<Arc<Mount>> {
    let mount = make_mount(io, kernel, fs, source, flags, data)?;
    attach(&mount, at)?;
    Ok(mount)
}

/// As `mount_new`, mounted nowhere yet.
pub fn make_mount(
    io: &mut Io<'_>,
    kernel: &Arc<crate::Kernel>,
    fs: &FsType,
    source: &[u8],
    flags: u32,
    data: &[u8],
) -> Op<Arc<Mount>> {
    let mut read_only = flags & MS_RDONLY != 0;
    let data = &own_options(data, &mut read_only);
    let args = MountArgs { source, data, read_only, kernel };
    let root = (fs.mount)(io, &args)?;
    root.fs.set_owner(&io.cred.user_ns);
    if read_only {
        root.fs.read_only.store(true, Ordering::Relaxed);
    }
    let dentry = root.fs.root_dentry(&root);
    Ok(Mount::new(root.fs.clone(), dentry, source, flags))
}

/// The options without those that every file system takes, of which ro and rw have an effect here.
pub(super) fn own_options(data: &[u8], read_only: &mut bool) -> Vec<u8> {
    let mut own: Vec<&[u8]> = Vec::new();
    for option in data.split(|byte| *byte == b',') {
        match option {
            b"ro" => *read_only = true,
            b"rw" => *read_only = false,
            b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand" => {}
            _ => own.push(option),
        }
    }
    own.join(&b',')
}

/// Attaches a detached tree of mounts at a place, and at the place's peers.
pub fn attach(mount: &Arc<Mount>, at: &Path) -> Op<()> {
    let namespaces = CHANGE.lock();
    attach_locked(&namespaces, mount, at)
}

fn attach_locked(namespaces: &[Weak<MountNs>], mount: &Arc<Mount>, at: &Path) -> Op<()> {
    let is_dir = |d: &Arc<Dentry>| d.inode().map(|i| i.kind == FileType::Dir);
    let (Some(over), Some(root)) = (is_dir(&at.dentry), is_dir(&mount.root)) else { return fail(Errno::ENOENT) };
    if over != root || at.dentry.is_gone() {
        return fail(if at.dentry.is_gone() { Errno::ENOENT } else { Errno::ENOTDIR });
    }
    let ns = at.mount.tree.read().ns.upgrade().ok_or(Errno::EINVAL)?;
    // Files of mount namespaces are mounted in older ones only, and not in peers: so none can hold itself.
    let shared = is_shared(&at.mount);
    if tree_of(mount).iter().filter_map(shown_ns).any(|shown| shared || shown.id <= ns.id) {
        return fail(Errno::EINVAL);
    }
    if shared {
        propagate(namespaces, mount, at);
    }
    link(mount, at);
    changed(&ns);
    Ok(())
}

/// MS_BIND: shows `from` at `to`; with `recursive` what is mounted below it too.
pub fn bind(from: &Path, to: &Path, recursive: bool) -> Op<()> {
    let namespaces = CHANGE.lock();
    let copy = clone_locked(from, recursive)?;
    let result = attach_locked(&namespaces, &copy, to);
    if result.is_err() {
        dissolve(&copy);
    }
    result
}

/// OPEN_TREE_CLONE: a copy of what `from` shows that is mounted nowhere.
pub fn clone_tree(from: &Path, recursive: bool) -> Op<Arc<Mount>> {
    let _namespaces = CHANGE.lock();
    clone_locked(from, recursive)
}

fn clone_locked(from: &Path, recursive: bool) -> Op<Arc<Mount>> {
    if from.mount.tree.read().unbindable {
        return fail(Errno::EINVAL);
    }
    let children = from.mount.tree.read().children.clone();
    let below: Vec<_> = children.into_iter().filter(|(dentry, _)| dentry.is_below(&from.dentry)).collect();
    let all = || below.iter().flat_map(|(_, child)| tree_of(child));
    let is = |mount: &Arc<Mount>, unbindable: bool| {
        let links = mount.tree.read();
        links.locked && (!unbindable || links.unbindable)
    };
    // What a locked mount covers must not come to light.
    if !recursive && below.iter().any(|(_, child)| is(child, false)) {
        return fail(Errno::EINVAL);
    }
    if recursive && all().any(|mount| is(&mount, true)) {
        return fail(Errno::EPERM);
    }
    let copy = copy_one(&from.mount, from.dentry.clone());
    for (dentry, child) in below.into_iter().filter(|_| recursive) {
        if child.tree.read().unbindable {
            continue;
        }
        let below = copy_tree(&child, true, |m| !m.tree.read().unbindable);
        let locked = child.tree.read().locked;
        let mut links = below.tree.write();
        links.at = Some(Path::new(copy.clone(), dentry.clone()));
        links.locked = locked;
        drop(links);
        dentry.mounted.fetch_add(1, Ordering::AcqRel);
        copy.tree.write().children.push((dentry, below));
    }
    Ok(copy)
}

/// MS_MOVE, move_mount(2): takes the mount whose root is `from`, or a tree that is mounted nowhere, to `to`.
pub fn move_mount(from: &Path, to: &Path) -> Op<()> {
    let namespaces = CHANGE.lock();
    let mount = &from.mount;
    if !Arc::ptr_eq(&from.dentry, &mount.root) {
        return fail(Errno::EINVAL);
    }
    let is_dir = |d: &Arc<Dentry>| d.inode().is_some_and(|i| i.kind == FileType::Dir);
    let parent = mount.at();
    let (attached, locked) = {
        let links = mount.tree.read();
        (links.ns.strong_count() > 0, links.locked)
    };
    if parent.is_some() != attached || locked || is_dir(&from.dentry) != is_dir(&to.dentry) {
        return fail(Errno::EINVAL);
    }
    let tree = tree_of(mount);
    if parent.as_ref().is_some_and(|p| is_shared(&p.mount))
        || is_shared(&to.mount) && tree.iter().any(|m| m.tree.read().unbindable)
    {
        return fail(Errno::EINVAL);
    }
    if tree.iter().any(|m| Arc::ptr_eq(m, &to.mount)) {
        return fail(Errno::ELOOP);
    }
    unlink(mount);
    if let Err(stop) = attach_locked(&namespaces, mount, to) {
        if let Some(parent) = parent {
            link(mount, &parent);
        }
        return Err(stop);
    }
    Ok(())
}

/// umount2(2) of the mount whose root is at `at`; `flags` are MNT_*. The caller's reference through `at` is counted in.
pub fn umount(io: &Io<'_>, at: Path, root: &Path, flags: u32) -> Op<()> {
    let Path { mount, dentry } = at;
    if !Arc::ptr_eq(&dentry, &mount.root) {
        return fail(Errno::EINVAL);
    }
    drop(dentry);
    let namespaces = CHANGE.lock();
    let place = mount.at();
    let Some(place) = place.filter(|_| !Arc::ptr_eq(&mount, &root.mount)) else { return fail(Errno::EINVAL) };
    if mount.tree.read().locked {
        return fail(Errno::EINVAL);
    }
    if flags & MNT_EXPIRE != 0 && flags & (MNT_FORCE | MNT_DETACH) != 0 {
        return fail(Errno::EINVAL);
    }
    if flags & MNT_FORCE != 0 {
        if !mount.fs.administered_by(&io.cred) {
            return fail(Errno::EPERM);
        }
        mount.fs.ops.abort();
    }
    let lazily = flags & MNT_DETACH != 0;
    drop(place);
    // Held by its parent's list, by us, and by what covers it; anything beyond is a task's folder or an open file.
    let held = |m: &Arc<Mount>| Arc::strong_count(m) > 2 + m.tree.read().children.len() || m.fs.ops.is_asked();
    let mut gone = if lazily { tree_of(&mount) } else { vec![mount] };
    if let Some(mount) = gone.first().filter(|_| !lazily) {
        if !mount.tree.read().children.is_empty() || held(mount) {
            return fail(Errno::EBUSY);
        }
        // Marked, and nobody came since but this call itself.
        if flags & MNT_EXPIRE != 0 && mount.expiring.swap(1, Ordering::Relaxed) != 2 {
            return fail(Errno::EAGAIN);
        }
    }
    gone.extend(follow(&namespaces, &gone));
    if !lazily && gone.iter().any(held) {
        return fail(Errno::EBUSY);
    }
    leave(&namespaces, &gone);
    gone.iter().rev().for_each(take_away);
    drop(namespaces);
    // The caller sees a file system that is gone, and its server that nobody asks it any more.
    gone.into_iter().for_each(Mount::let_go);
    Ok(())
}

/// pivot_root(2): `new_root` becomes the namespace's root, the old one is put at `put_old`. Returns nothing; the caller moves the
/// tasks whose root or working folder was the old root.
pub fn pivot_root(ns: &Arc<MountNs>, root: &Path, new_root: &Path, put_old: &Path) -> Op<()> {
    let namespaces = CHANGE.lock();
    let is_root = |p: &Path| Arc::ptr_eq(&p.dentry, &p.mount.root);
    if !is_root(new_root) || !is_root(root) {
        return fail(Errno::EINVAL);
    }
    if Arc::ptr_eq(&new_root.mount, &root.mount) || Arc::ptr_eq(&put_old.mount, &root.mount) {
        return fail(Errno::EBUSY);
    }
    let new_parent = new_root.mount.at();
    let Some(new_parent) = new_parent else { return fail(Errno::EINVAL) };
    // The old root must be put at or below the new one.
    let mut at = put_old.clone();
    while !Arc::ptr_eq(&at.mount, &new_root.mount) {
        match at.mount.at() {
            Some(below) => at = below,
            None => return fail(Errno::EINVAL),
        }
    }
    if !at.dentry.is_below(&new_root.dentry) {
        return fail(Errno::EINVAL);
    }
    if is_shared(&new_parent.mount)
        || is_shared(&new_root.mount)
        || root.mount.at().is_some_and(|p| is_shared(&p.mount))
    {
        return fail(Errno::EINVAL);
    }
    if new_root.mount.tree.read().locked {
        return fail(Errno::EINVAL);
    }
    let old_place = root.mount.at();
    unlink(&new_root.mount);
    match old_place {
        Some(place) => {
            unlink(&root.mount);
            link(&new_root.mount, &place);
        }
        None => ns.set_root(new_root.mount.clone()),
    }
    link(&root.mount, put_old);
    let was_locked = std::mem::take(&mut root.mount.tree.write().locked);
    new_root.mount.tree.write().locked = was_locked;
    drop(namespaces);
    changed(ns);
    Ok(())
}
