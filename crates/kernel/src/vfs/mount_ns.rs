//! Mount namespaces as copies of each other: CLONE_NEWNS. mount_namespaces(7).
//!
//! Neighbours: `mount_tree`, `propagation`. Locks: `MountChange`, then `MountTree`.

use super::mount_tree::{CHANGE, copy_tree, dissolve, lock_tree, shown_ns, tree_of};
use super::propagation::leave;
use super::{Mount, MountNs, Path};
use crate::cred::UserNs;
use crate::op::Op;
use abi::Errno;
use std::sync::{Arc, Weak};

/// CLONE_NEWNS: a copy of `ns` for `owner`, and where in the copy each of `places` is.
pub fn copy_ns(ns: &Arc<MountNs>, owner: &Arc<UserNs>, places: &mut [Path]) -> Op<Arc<MountNs>> {
    let mut namespaces = CHANGE.lock();
    let root = ns.root().ok_or(Errno::EINVAL)?;
    let copy = MountNs::new(owner.clone());
    let less_privileged = owner.id != ns.owner.id;
    let top = copy_tree(&root, true, |_| true);
    let (old, new) = (tree_of(&root), tree_of(&top));
    if less_privileged {
        lock_tree(&top);
    }
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
    // A namespace in which mounts hold others' files, that hold the first one's, would never go.
    for shown in new.iter().filter(|mount| shown_ns(mount).is_some()) {
        leave(&namespaces, &tree_of(shown));
        dissolve(shown);
    }
    copy.set_root(top);
    namespaces.retain(|n| n.strong_count() > 0);
    namespaces.push(Arc::downgrade(&copy));
    Ok(copy)
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

/// The living mount namespace of this number.
pub fn find_ns(id: u64) -> Option<Arc<MountNs>> {
    CHANGE.lock().iter().filter_map(Weak::upgrade).find(|ns| ns.id == id)
}
