//! What is mounted, as /proc/PID/mountinfo, statmount(2) and listmount(2) show it. proc_pid_mountinfo(5).
//!
//! Neighbours: `mount_tree`, `propagation`. Locks: `MountTree`, one mount at a time.

use super::mount_tree::{everywhere, tree_of};
use super::propagation::dominating;
use super::{Mount, MountNs, Path, name_in_fs};
use std::sync::Arc;

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
    /// The nearest group above the master that the asking task can see; 0: the master itself, or none.
    pub propagate_from: u64,
    pub unbindable: bool,
}

/// The mounts of a namespace that `root` can see, in the order of mounting, so that what covers comes after what it covers.
pub fn mount_lines(ns: &Arc<MountNs>, root: &Path) -> Vec<MountLine> {
    let Some(top) = ns.root() else { return Vec::new() };
    let mut seen = Vec::new();
    for mount in tree_of(&top) {
        let named = Path::new(mount.clone(), mount.root.clone()).name_from(root);
        if !named.unreachable {
            seen.push((mount, named.name));
        }
    }
    seen.sort_by_key(|(mount, _)| mount.id);
    let slaves = seen.iter().any(|(mount, _)| mount.tree.read().master != 0);
    let all = if slaves { everywhere() } else { Vec::new() };
    let mounts: Vec<Arc<Mount>> = seen.iter().map(|(mount, _)| mount.clone()).collect();
    let line = |(mount, point): (Arc<Mount>, Vec<u8>)| {
        let parent_id = mount.at().map_or(mount.id, |p| p.mount.id);
        let (peer_group, master, unbindable) = {
            let links = mount.tree.read();
            (links.peer_group, links.master, links.unbindable)
        };
        let propagate_from = dominating(&mounts, &all, &mount);
        let root = name_in_fs(&mount.root);
        MountLine { mount, parent_id, root, point, peer_group, master, propagate_from, unbindable }
    };
    seen.into_iter().map(line).collect()
}
