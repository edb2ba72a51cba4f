//! Propagation: which mounts see each other's mounts and unmounts. mount_namespaces(7), "Shared subtrees".
//!
//! A peer group is a number that its members carry; a slave carries its master group's. Neighbours: `mounts` and `mount_flags` hold `MountChange` around
//! all of this and pass the namespaces in which peers are looked for. Locks: `MountTree`, one mount at a time.

use super::mount_tree::{changed, copy_tree, link, lock_tree, tree_of, unlink};
use super::{Dentry, Mount, MountNs, Path};
use std::collections::HashSet;
use std::sync::{Arc, Weak};

/// Propagation types, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Shared,
    Private,
    Slave,
    Unbindable,
}

/// A mount's peer group and its master's; 0 for none.
fn groups_of(mount: &Mount) -> (u64, u64) {
    let links = mount.tree.read();
    (links.peer_group, links.master)
}

/// Every mount of every namespace.
pub(super) fn everything(namespaces: &[Weak<MountNs>]) -> Vec<Arc<Mount>> {
    namespaces.iter().filter_map(|ns| ns.upgrade()?.root()).flat_map(|root| tree_of(&root)).collect()
}

/// Changes the type of one mount.
pub(super) fn set_type(namespaces: &[Weak<MountNs>], mount: &Arc<Mount>, to: Propagation) {
    let (group, master) = groups_of(mount);
    let all = everything(namespaces);
    // A group of one has nobody to be a slave of: what was its master stays.
    let lonely = !all.iter().any(|m| !Arc::ptr_eq(m, mount) && groups_of(m).0 == group);
    let (group, master) = match to {
        Propagation::Shared => (if group == 0 { crate::unique_id() } else { group }, master),
        Propagation::Slave if group != 0 && !lonely => (0, group),
        Propagation::Slave => (0, master),
        Propagation::Private | Propagation::Unbindable => (0, 0),
    };
    if group == 0 && lonely {
        orphan(&all, mount);
    }
    let mut links = mount.tree.write();
    (links.peer_group, links.master) = (group, master);
    links.unbindable = to == Propagation::Unbindable || links.unbindable && to == Propagation::Slave;
}

/// The slaves of a group whose last member leaves become those of its master.
fn orphan(all: &[Arc<Mount>], last: &Arc<Mount>) {
    let (group, master) = groups_of(last);
    for slave in all.iter().filter(|_| group != 0) {
        let mut links = slave.tree.write();
        if links.master == group {
            links.master = master;
        }
    }
}

/// Mounts that were taken away are private from now on.
pub(super) fn leave(namespaces: &[Weak<MountNs>], gone: &[Arc<Mount>]) {
    for mount in gone {
        set_type(namespaces, mount, Propagation::Private);
    }
}

/// Where changes of `mount` show too: its peers, the slaves of their group, those of the slaves' own groups, and so on.
pub(super) fn receivers(namespaces: &[Weak<MountNs>], mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut groups = vec![groups_of(mount).0];
    if groups == [0] {
        return Vec::new();
    }
    let all = everything(namespaces);
    let mut found: Vec<Arc<Mount>> = Vec::new();
    let mut next = 0;
    while let Some(group) = groups.get(next).copied().filter(|group| *group != 0) {
        for candidate in &all {
            let (peer, master) = groups_of(candidate);
            let known = Arc::ptr_eq(candidate, mount) || found.iter().any(|m| Arc::ptr_eq(m, candidate));
            if known || peer != group && master != group {
                continue;
            }
            found.push(candidate.clone());
            if peer != 0 && !groups.contains(&peer) {
                groups.push(peer);
            }
        }
        next += 1;
    }
    found
}

/// What a group of receivers gets: copies whose members have these peer groups and masters.
struct Level {
    group: u64,
    /// One for each member of the tree that is mounted.
    peers: Vec<u64>,
}

/// Puts copies of `tree`, which is about to be mounted at `at` of a shared mount, at the same place of all that receive it.
pub(super) fn propagate(namespaces: &[Weak<MountNs>], tree: &Arc<Mount>, at: &Path) {
    let members = tree_of(tree);
    for member in &members {
        let mut links = member.tree.write();
        if links.peer_group == 0 {
            links.peer_group = crate::unique_id();
        }
    }
    let all = everything(namespaces);
    let peers = members.iter().map(|m| groups_of(m).0).collect();
    let mut levels = vec![Level { group: groups_of(&at.mount).0, peers }];
    let mut next = 0;
    while let Some(Level { group, peers }) = levels.get(next) {
        let (group, peers) = (*group, peers.clone());
        if next == 0 {
            for peer in all.iter().filter(|m| groups_of(m).0 == group && !Arc::ptr_eq(m, &at.mount)) {
                put_copy(tree, at, peer, |_| None);
            }
        }
        for slave in all.iter().filter(|m| groups_of(m).1 == group) {
            let (own, _) = groups_of(slave);
            if levels.iter().any(|level| level.group == own && own != 0) {
                continue;
            }
            if own == 0 {
                put_copy(tree, at, slave, |n| Some((0, peers.get(n).copied().unwrap_or(0))));
                continue;
            }
            // The slaves have peers of their own, which all get the same.
            let fresh: Vec<u64> = peers.iter().map(|_| crate::unique_id()).collect();
            let mut any = false;
            for peer in all.iter().filter(|m| groups_of(m).0 == own) {
                let pick = |list: &[u64], n: usize| list.get(n).copied().unwrap_or(0);
                any |= put_copy(tree, at, peer, |n| Some((pick(&fresh, n), pick(&peers, n))));
            }
            levels.push(Level { group: own, peers: if any { fresh } else { peers.clone() } });
        }
        next += 1;
    }
}

/// A copy of `tree` at `to`, if that shows the place; `groups` tells the peer group and master of the copy's n-th mount, None: the original's.
fn put_copy(tree: &Arc<Mount>, at: &Path, to: &Arc<Mount>, groups: impl Fn(usize) -> Option<(u64, u64)>) -> bool {
    if !at.dentry.is_below(&to.root) {
        return false;
    }
    let copy = copy_tree(tree, true, |_| true);
    for (n, member) in tree_of(&copy).iter().enumerate() {
        if let Some((peer, master)) = groups(n) {
            let mut links = member.tree.write();
            (links.peer_group, links.master) = (peer, master);
        }
    }
    let owner = |mount: &Arc<Mount>| mount.tree.read().ns.upgrade().map(|ns| ns.owner.id);
    if owner(to) != owner(&at.mount) {
        lock_tree(&copy);
    }
    let covered = child_at(to, &at.dentry);
    link(&copy, &Path::new(to.clone(), at.dentry.clone()));
    // What receives a mount keeps what it has there: the new one comes below it.
    if let Some(above) = covered {
        unlink(&above);
        let below = topmost(&copy);
        link(&above, &Path::new(below.clone(), below.root.clone()));
    }
    true
}

/// The mount of this very mount at `dentry`.
fn child_at(mount: &Mount, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
    mount.tree.read().children.iter().rev().find(|(d, _)| Arc::ptr_eq(d, dentry)).map(|(_, child)| child.clone())
}

/// What covers a mount's root, or what covers that, and so on.
fn topmost(mount: &Arc<Mount>) -> Arc<Mount> {
    let mut top = mount.clone();
    while let Some(above) = child_at(&top, &top.root) {
        top = above;
    }
    top
}

/// What goes besides a tree of mounts that is unmounted: what is at the same places where changes of their parents show too. A mount stays there whose
/// children would be lost, other than one that covers it: that takes its place (`take_away`). And one stays that is locked to a parent that stays,
/// unless it is where the top of the tree is.
pub(super) fn follow(namespaces: &[Weak<MountNs>], tree: &[Arc<Mount>]) -> Vec<Arc<Mount>> {
    let mut ids: HashSet<u64> = tree.iter().map(|mount| mount.id).collect();
    let mut going: Vec<Arc<Mount>> = Vec::new();
    let mut copies_of_top = 0;
    for (n, mount) in tree.iter().enumerate() {
        let Some(at) = mount.at() else { continue };
        let there = receivers(namespaces, &at.mount);
        going.extend(there.iter().filter_map(|peer| child_at(peer, &at.dentry)).filter(|child| ids.insert(child.id)));
        if n == 0 {
            copies_of_top = going.len();
        }
    }
    let free: HashSet<u64> = going.iter().take(copies_of_top).map(|mount| mount.id).collect();
    loop {
        let goes = |mount: &Mount| ids.contains(&mount.id);
        // A mount, or what covers it once it has gone, is still there.
        let remains = |mount: &Arc<Mount>| {
            let mut top = Some(mount.clone());
            while let Some(mount) = top.take_if(|mount| goes(mount)) {
                top = child_at(&mount, &mount.root);
            }
            top.is_some()
        };
        let stays = |mount: &Arc<Mount>| {
            let links = mount.tree.read();
            let (children, at, locked) = (links.children.clone(), links.at.clone(), links.locked);
            drop(links);
            locked && !free.contains(&mount.id) && !at.is_some_and(|at| goes(&at.mount))
                || children.iter().any(|(dentry, child)| !Arc::ptr_eq(dentry, &mount.root) && remains(child))
        };
        let Some(kept) = going.iter().position(stays) else { return going };
        ids.remove(&going.swap_remove(kept).id);
    }
}

/// Takes one mount away; what covers it comes to its place.
pub(super) fn take_away(mount: &Arc<Mount>) {
    let at = mount.at();
    let above = child_at(mount, &mount.root);
    unlink(mount);
    let ns = {
        let mut links = mount.tree.write();
        links.gone = true;
        std::mem::take(&mut links.ns)
    };
    if let Some(ns) = ns.upgrade() {
        changed(&ns);
    }
    if let (Some(at), Some(above)) = (at, above) {
        unlink(&above);
        link(&above, &at);
    }
}

/// The nearest group above `mount` that `root` can see, where that is not its master itself: `propagate_from` of mountinfo. 0: none.
pub(super) fn dominating(seen: &[Arc<Mount>], all: &[Arc<Mount>], mount: &Arc<Mount>) -> u64 {
    let (_, first) = groups_of(mount);
    let mut group = first;
    let mut steps = 0;
    while group != 0 && steps < all.len() {
        if seen.iter().any(|m| groups_of(m).0 == group) {
            return if group == first { 0 } else { group };
        }
        group = all.iter().find(|m| groups_of(m).0 == group).map_or(0, |m| groups_of(m).1);
        steps += 1;
    }
    0
}
