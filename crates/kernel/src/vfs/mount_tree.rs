//! The tree of mounts itself: ties, copies, and who is in it. Neighbours: `mounts`, `mount_flags` and `mount_ns` change it.
//!
//! Locks: `MountChange` serialises all changes; each mount's own `MountTree` is taken for one mount at a time. Nothing of a file
//! system is called under them.

use super::propagation::{everything, leave};
use super::{Dentry, Mount, MountNs, Path};
use crate::locks;
use crate::wait::Events;
use abi::fs::{MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};
use lock::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Serialises changes; inside, all namespaces, in which propagation looks for peers.
pub(super) static CHANGE: Mutex<Vec<Weak<MountNs>>, locks::MountChange> = Mutex::new(Vec::new());

/// Ties a tree of mounts to its place. `CHANGE` is held.
pub(super) fn link(mount: &Arc<Mount>, at: &Path) {
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
pub(super) fn unlink(mount: &Arc<Mount>) {
    let at = mount.tree.write().at.take();
    if let Some(at) = at {
        at.mount.tree.write().children.retain(|(_, m)| !Arc::ptr_eq(m, mount));
        at.dentry.mounted.fetch_sub(1, Ordering::AcqRel);
        at.dentry.bump();
    }
}

pub(super) fn changed(ns: &Arc<MountNs>) {
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

/// A detached copy of a mount and, with `recursive`, of those below it that `keep` lets through. Copies join their originals' peer groups.
pub(super) fn copy_tree(top: &Arc<Mount>, recursive: bool, keep: impl Fn(&Arc<Mount>) -> bool) -> Arc<Mount> {
    let new_top = copy_one(top, top.root.clone());
    let mut work = vec![(top.clone(), new_top.clone())];
    while let Some((old, new)) = work.pop().filter(|_| recursive) {
        let children = old.tree.read().children.clone();
        for (dentry, child) in children {
            if !keep(&child) {
                continue;
            }
            let copy = copy_one(&child, child.root.clone());
            let locked = child.tree.read().locked;
            copy.tree.write().locked = locked;
            copy.tree.write().at = Some(Path::new(new.clone(), dentry.clone()));
            dentry.mounted.fetch_add(1, Ordering::AcqRel);
            new.tree.write().children.push((dentry, copy.clone()));
            work.push((child, copy));
        }
    }
    new_top
}

/// Whether something is mounted on `dentry` in the namespace of `mount`: then the name stays, EBUSY.
pub(super) fn is_covered(mount: &Arc<Mount>, dentry: &Arc<Dentry>) -> bool {
    if !dentry.is_mountpoint() {
        return false;
    }
    let mut top = mount.clone();
    while let Some(at) = top.at() {
        top = at.mount;
    }
    tree_of(&top).iter().any(|mount| mount.at().is_some_and(|at| Arc::ptr_eq(&at.dentry, dentry)))
}

/// The name of `dentry` has gone, and with it, as by MNT_DETACH, what other namespaces had mounted there: rmdir(2), "EBUSY", since Linux 3.18.
pub(super) fn uncover(dentry: &Arc<Dentry>) {
    if !dentry.is_mountpoint() {
        return;
    }
    let namespaces = CHANGE.lock();
    let on_it = |mount: &Arc<Mount>| mount.at().is_some_and(|at| Arc::ptr_eq(&at.dentry, dentry));
    for mount in everything(&namespaces).iter().filter(|mount| on_it(mount)) {
        let ns = mount.tree.read().ns.upgrade();
        leave(&namespaces, &tree_of(mount));
        dissolve(mount);
        if let Some(ns) = ns {
            changed(&ns);
        }
    }
}

/// The mount namespace whose file this mount shows.
pub(super) fn shown_ns(mount: &Arc<Mount>) -> Option<Arc<MountNs>> {
    mount.root.inode()?.ops.stands_for()?.downcast().ok()
}

pub(super) fn copy_one(mount: &Arc<Mount>, root: Arc<Dentry>) -> Arc<Mount> {
    let copy = Mount::new(mount.fs.clone(), root, &mount.source, mount.flags());
    let (peer, master, locked_flags) = {
        let links = mount.tree.read();
        (links.peer_group, links.master, links.locked_flags)
    };
    let mut links = copy.tree.write();
    (links.peer_group, links.master, links.locked_flags) = (peer, master, locked_flags);
    drop(links);
    copy
}

/// A tree of mounts that came to a less privileged namespace: it stays in one piece, and as restricted as it is.
pub(super) fn lock_tree(top: &Arc<Mount>) {
    const KEPT: u32 = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    for mount in tree_of(top) {
        let flags = mount.flags() & KEPT | MS_NOATIME;
        let mut links = mount.tree.write();
        links.locked_flags |= flags;
        links.locked = !Arc::ptr_eq(&mount, top);
    }
}

pub(super) fn is_shared(mount: &Mount) -> bool {
    mount.tree.read().peer_group != 0
}

/// Takes a detached tree apart, so that nothing keeps it alive.
pub(super) fn dissolve(top: &Arc<Mount>) {
    for mount in tree_of(top).iter().rev() {
        unlink(mount);
        let mut links = mount.tree.write();
        (links.ns, links.gone) = (Weak::new(), true);
    }
}

/// Lets go of a tree that a descriptor had for itself, unless it was mounted meanwhile. One without mounts below has gone by itself.
pub(super) fn release_detached(top: &Weak<Mount>) {
    let _namespaces = CHANGE.lock();
    let Some(top) = top.upgrade() else { return };
    let detached = {
        let links = top.tree.read();
        links.at.is_none() && links.ns.strong_count() == 0
    };
    if detached {
        dissolve(&top);
    }
}

/// Every mount of every namespace, as it is now.
pub(super) fn everywhere() -> Vec<Arc<Mount>> {
    everything(&CHANGE.lock())
}
