//! Changes of the mount tree: mount(2), umount2(2), pivot_root(2), propagation, copies of a mount namespace. mount_namespaces(7).
//!
//! Locks: `MountChange` serialises all changes; each mount's own `MountTree` is taken for one mount at a time. Nothing of a file
//! system is called under them. Who may mount is the caller's check (CAP_SYS_ADMIN over the namespace's owner).

use super::{Dentry, FileSystem, FileType, FsType, Mount, MountArgs, MountNs, Path, name_in_fs};
use crate::cred::UserNs;
use crate::io::Io;
use crate::locks::MountChange;
use crate::op::{Op, fail};
use crate::wait::Events;
use abi::Errno;
use abi::fs::{MNT_DETACH, MNT_EXPIRE, MS_RDONLY};
use lock::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Serialises changes; inside, all namespaces, in which propagation looks for peers.
static CHANGE: Mutex<Vec<Weak<MountNs>>, MountChange> = Mutex::new(Vec::new());

/// Propagation types, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Shared,
    Private,
    Slave,
    Unbindable,
}

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
    let args = MountArgs { source, data, read_only: flags & MS_RDONLY != 0, kernel };
    let root = (fs.mount)(io, &args)?;
    if flags & MS_RDONLY != 0 {
        root.fs.read_only.store(true, Ordering::Relaxed);
    }
    let fs: Arc<FileSystem> = root.fs.clone();
    let dentry = fs.root_dentry(&root);
    let mount = Mount::new(fs, dentry, source, flags);
    attach(&mount, at)?;
    Ok(mount)
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
    let shared = at.mount.tree.read().peer_group != 0;
    let peers = if shared { peers_of(namespaces, &at.mount) } else { Vec::new() };
    if shared {
        for member in tree_of(mount) {
            let mut links = member.tree.write();
            if links.peer_group == 0 {
                links.peer_group = crate::unique_id();
            }
        }
    }
    for (peer, slave) in peers {
        if !at.dentry.is_below(&peer.root) {
            continue;
        }
        let copy = copy_tree(mount, true, |_| true);
        if slave {
            for (original, copied) in tree_of(mount).iter().zip(tree_of(&copy)) {
                let master = original.tree.read().peer_group;
                let mut links = copied.tree.write();
                links.master = master;
                links.peer_group = 0;
            }
        }
        link(&copy, &Path::new(peer.clone(), at.dentry.clone()));
    }
    link(mount, at);
    changed(&ns);
    Ok(())
}

/// Ties a tree of mounts to its place. `CHANGE` is held.
fn link(mount: &Arc<Mount>, at: &Path) {
    at.dentry.anchor();
    let ns = at.mount.tree.read().ns.clone();
    for member in tree_of(mount) {
        member.tree.write().ns = ns.clone();
    }
    mount.tree.write().at = Some(at.clone());
    at.mount.tree.write().children.push((at.dentry.clone(), mount.clone()));
    at.dentry.mounted.fetch_add(1, Ordering::AcqRel);
    at.dentry.bump();
    if let Some(ns) = ns.upgrade()
        && at.mount.id != mount.id
    {
        changed(&ns);
    }
}

/// Unties a mount from its place; what is mounted below it stays with it.
fn unlink(mount: &Arc<Mount>) {
    let at = mount.tree.write().at.take();
    if let Some(at) = at {
        at.mount.tree.write().children.retain(|(_, m)| !Arc::ptr_eq(m, mount));
        at.dentry.mounted.fetch_sub(1, Ordering::AcqRel);
        at.dentry.bump();
    }
}

fn changed(ns: &Arc<MountNs>) {
    ns.generation.fetch_add(1, Ordering::Relaxed);
    ns.changed.wake(Events::PRI | Events::ERR);
}

/// A mount and all below it, parents first, children in the order of their mounting.
pub fn tree_of(top: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut all = vec![top.clone()];
    let mut next = 0;
    while let Some(mount) = all.get(next).cloned() {
        let children: Vec<Arc<Mount>> = mount.tree.read().children.iter().map(|(_, m)| m.clone()).collect();
        all.extend(children);
        next += 1;
    }
    all
}

/// The other members of a mount's peer group (false), and the slaves of the group with their peers (true).
fn peers_of(namespaces: &[Weak<MountNs>], mount: &Arc<Mount>) -> Vec<(Arc<Mount>, bool)> {
    let mut all = Vec::new();
    for ns in namespaces.iter().filter_map(Weak::upgrade) {
        if let Some(root) = ns.root() {
            all.extend(tree_of(&root));
        }
    }
    let mut groups = vec![mount.tree.read().peer_group];
    let mut found: Vec<(Arc<Mount>, bool)> = Vec::new();
    let mut next = 0;
    while let Some(group) = groups.get(next).copied() {
        for candidate in &all {
            let (peer, master) = {
                let links = candidate.tree.read();
                (links.peer_group, links.master)
            };
            let known = Arc::ptr_eq(candidate, mount) || found.iter().any(|(m, _)| Arc::ptr_eq(m, candidate));
            if known || group == 0 || peer != group && master != group {
                continue;
            }
            let slave = next > 0 || peer != group;
            found.push((candidate.clone(), slave));
            if slave && peer != 0 && !groups.contains(&peer) {
                groups.push(peer);
            }
        }
        next += 1;
    }
    found
}

/// A detached copy of a mount and, with `recursive`, of those below it that `keep` lets through. Copies join their originals' peer groups.
fn copy_tree(top: &Arc<Mount>, recursive: bool, keep: impl Fn(&Arc<Mount>) -> bool) -> Arc<Mount> {
    let new_top = copy_one(top, top.root.clone());
    let mut work = vec![(top.clone(), new_top.clone())];
    while let Some((old, new)) = work.pop().filter(|_| recursive) {
        let children = old.tree.read().children.clone();
        for (dentry, child) in children {
            if !keep(&child) {
                continue;
            }
            let copy = copy_one(&child, child.root.clone());
            copy.tree.write().at = Some(Path::new(new.clone(), dentry.clone()));
            dentry.mounted.fetch_add(1, Ordering::AcqRel);
            new.tree.write().children.push((dentry, copy.clone()));
            work.push((child, copy));
        }
    }
    new_top
}

fn copy_one(mount: &Arc<Mount>, root: Arc<Dentry>) -> Arc<Mount> {
    let copy = Mount::new(mount.fs.clone(), root, &mount.source, mount.flags());
    let (peer, master) = {
        let links = mount.tree.read();
        (links.peer_group, links.master)
    };
    let mut links = copy.tree.write();
    (links.peer_group, links.master) = (peer, master);
    drop(links);
    copy
}

/// Takes a detached tree apart, so that nothing keeps it alive.
fn dissolve(top: &Arc<Mount>) {
    for mount in tree_of(top).iter().rev() {
        unlink(mount);
        mount.tree.write().ns = Weak::new();
    }
}

/// MS_BIND: shows `from` at `to`; with `recursive` what is mounted below it too.
pub fn bind(from: &Path, to: &Path, recursive: bool) -> Op<()> {
    let namespaces = CHANGE.lock();
    if from.mount.tree.read().unbindable {
        return fail(Errno::EINVAL);
    }
    let copy = copy_one(&from.mount, from.dentry.clone());
    if recursive {
        let children = from.mount.tree.read().children.clone();
        for (dentry, child) in children {
            if !dentry.is_below(&from.dentry) || child.tree.read().unbindable {
                continue;
            }
            let below = copy_tree(&child, true, |m| !m.tree.read().unbindable);
            below.tree.write().at = Some(Path::new(copy.clone(), dentry.clone()));
            dentry.mounted.fetch_add(1, Ordering::AcqRel);
            copy.tree.write().children.push((dentry, below));
        }
    }
    let result = attach_locked(&namespaces, &copy, to);
    if result.is_err() {
        dissolve(&copy);
    }
    result
}

/// MS_MOVE: takes the mount whose root is `from` to `to`.
pub fn move_mount(from: &Path, to: &Path) -> Op<()> {
    let namespaces = CHANGE.lock();
    let mount = &from.mount;
    let parent = mount.at();
    let rooted = Arc::ptr_eq(&from.dentry, &mount.root);
    let Some(parent) = parent.filter(|_| rooted) else { return fail(Errno::EINVAL) };
    let is_dir = |d: &Arc<Dentry>| d.inode().is_some_and(|i| i.kind == FileType::Dir);
    if is_dir(&from.dentry) != is_dir(&to.dentry) || parent.mount.tree.read().peer_group != 0 {
        return fail(Errno::EINVAL);
    }
    let mut at = Some(to.mount.clone());
    while let Some(above) = at {
        if Arc::ptr_eq(&above, mount) {
            return fail(Errno::ELOOP);
        }
        at = above.at().map(|p| p.mount);
    }
    unlink(mount);
    if let Err(stop) = attach_locked(&namespaces, mount, to) {
        link(mount, &parent);
        return Err(stop);
    }
    Ok(())
}

/// MS_REMOUNT: with `only_mount` (MS_BIND) the mount's own flags, else the file system's too.
pub fn remount(io: &mut Io<'_>, at: &Path, flags: u32, only_mount: bool, data: &[u8]) -> Op<()> {
    if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
        return fail(Errno::EINVAL);
    }
    let becomes = |was: bool| flags & MS_RDONLY != 0 && !was;
    let mount_becomes = becomes(at.mount.flags() & MS_RDONLY != 0) && only_mount;
    let fs_becomes = becomes(at.mount.fs.read_only.load(Ordering::Relaxed)) && !only_mount;
    let written = |count: &std::sync::atomic::AtomicU32| count.load(Ordering::Acquire) > 0;
    if mount_becomes && written(&at.mount.writers) || fs_becomes && written(&at.mount.fs.writers) {
        return fail(Errno::EBUSY);
    }
    if !only_mount {
        at.mount.fs.ops.remount(io, data)?;
        at.mount.fs.read_only.store(flags & MS_RDONLY != 0, Ordering::Relaxed);
    }
    at.mount.flags.store(flags, Ordering::Relaxed);
    let ns = at.mount.tree.read().ns.upgrade();
    if let Some(ns) = ns {
        changed(&ns);
    }
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
        // A group of one has nobody to be a slave of.
        let lonely = peers_of(&namespaces, &mount).iter().all(|(_, slave)| *slave);
        let mut links = mount.tree.write();
        match to {
            Propagation::Shared if links.peer_group == 0 => links.peer_group = crate::unique_id(),
            Propagation::Shared => {}
            Propagation::Slave => {
                if links.peer_group != 0 && !lonely {
                    links.master = links.peer_group;
                }
                links.peer_group = 0;
            }
            Propagation::Private | Propagation::Unbindable => {
                links.peer_group = 0;
                links.master = 0;
            }
        }
        links.unbindable = to == Propagation::Unbindable;
    }
    Ok(())
}

/// umount2(2) of the mount whose root is at `at`; `flags` are MNT_*. The caller's reference through `at` is counted in.
pub fn umount(at: Path, root: &Path, flags: u32) -> Op<()> {
    let Path { mount, dentry } = at;
    if !Arc::ptr_eq(&dentry, &mount.root) {
        return fail(Errno::EINVAL);
    }
    drop(dentry);
    let namespaces = CHANGE.lock();
    let place = mount.at();
    let Some(place) = place.filter(|_| !Arc::ptr_eq(&mount, &root.mount)) else { return fail(Errno::EINVAL) };
    if flags & MNT_DETACH == 0 {
        // Held by its parent's list and by us; anything beyond is a task's folder, an open file, a mount on it.
        let children = mount.tree.read().children.len();
        if children > 0 || Arc::strong_count(&mount) > 2 {
            return fail(Errno::EBUSY);
        }
        if flags & MNT_EXPIRE != 0 && !mount.expiring.swap(true, Ordering::Relaxed) {
            return fail(Errno::EAGAIN);
        }
    }
    let ns = mount.tree.read().ns.upgrade();
    let shared = place.mount.tree.read().peer_group != 0;
    let mut victims = vec![mount];
    if shared {
        for (peer, _) in peers_of(&namespaces, &place.mount) {
            let there = peer.mounted_on(&place.dentry);
            if let Some(there) = there.filter(|m| Arc::ptr_eq(&m.root, &victims[0].root)) {
                victims.push(there);
            }
        }
    }
    for victim in &victims {
        dissolve(victim);
    }
    drop(namespaces);
    if let Some(ns) = ns {
        changed(&ns);
    }
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
    let shared = |m: &Arc<Mount>| m.tree.read().peer_group != 0;
    if shared(&new_parent.mount) || shared(&new_root.mount) || root.mount.at().is_some_and(|p| shared(&p.mount)) {
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
    drop(namespaces);
    changed(ns);
    Ok(())
}

/// CLONE_NEWNS: a copy of `ns` for `owner`, and where in the copy each of `places` is.
pub fn copy_ns(ns: &Arc<MountNs>, owner: &Arc<UserNs>, places: &mut [Path]) -> Op<Arc<MountNs>> {
    let mut namespaces = CHANGE.lock();
    let root = ns.root().ok_or(Errno::EINVAL)?;
    let copy = MountNs::new(owner.clone());
    let less_privileged = owner.id != ns.owner.id;
    let top = copy_tree(&root, true, |_| true);
    let (old, new) = (tree_in_step(&root), tree_in_step(&top));
    for (original, copied) in old.iter().zip(&new) {
        let mut links = copied.tree.write();
        links.ns = Arc::downgrade(&copy);
        if less_privileged && links.peer_group != 0 {
            links.master = links.peer_group;
            links.peer_group = 0;
        }
        links.unbindable = false;
        drop(links);
        for place in places.iter_mut().filter(|p| Arc::ptr_eq(&p.mount, original)) {
            place.mount = copied.clone();
        }
    }
    copy.set_root(top);
    namespaces.retain(|n| n.strong_count() > 0);
    namespaces.push(Arc::downgrade(&copy));
    Ok(copy)
}

/// As `tree_of`, children sorted so that a tree and its copy come out alike.
fn tree_in_step(top: &Arc<Mount>) -> Vec<Arc<Mount>> {
    tree_of(top)
}

/// Tells propagation of a namespace that was not made by `copy_ns`: a container's first.
pub fn register_ns(ns: &Arc<MountNs>) {
    let mut namespaces = CHANGE.lock();
    namespaces.retain(|n| n.strong_count() > 0);
    namespaces.push(Arc::downgrade(ns));
}

/// Takes a namespace's mounts apart, once nobody uses it: mounts and their places hold each other.
pub(super) fn release_ns(root: &Arc<Mount>) {
    let _namespaces = CHANGE.lock();
    dissolve(root);
}

/// A line of /proc/PID/mountinfo; /proc/PID/mounts has some of its fields.
pub struct MountLine {
    pub mount: Arc<Mount>,
    pub parent_id: u64,
    /// The place in the file system that it shows.
    pub root: Vec<u8>,
    /// Where it is, as seen from the asking task's root.
    pub point: Vec<u8>,
    pub peer_group: u64,
    pub master: u64,
    pub unbindable: bool,
}

/// The mounts of a namespace that `root` can see.
pub fn mount_lines(ns: &Arc<MountNs>, root: &Path) -> Vec<MountLine> {
    let Some(top) = ns.root() else { return Vec::new() };
    let mut lines = Vec::new();
    for mount in tree_of(&top) {
        let named = Path::new(mount.clone(), mount.root.clone()).name_from(root);
        if named.unreachable {
            continue;
        }
        let parent_id = mount.at().map_or(mount.id, |p| p.mount.id);
        let (peer_group, master, unbindable) = {
            let links = mount.tree.read();
            (links.peer_group, links.master, links.unbindable)
        };
        let shown = name_in_fs(&mount.root);
        lines.push(MountLine { mount, parent_id, root: shown, point: named.name, peer_group, master, unbindable });
    }
    // In the order of mounting, so that what covers comes after what it covers.
    lines.sort_by_key(|line| line.mount.id);
    lines
}
