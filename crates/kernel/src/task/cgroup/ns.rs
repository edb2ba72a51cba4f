//! Control group namespaces: which groups a process takes for the roots. cgroup_namespaces(7).
//!
//! Neighbours: `hierarchy`. Owns the lock of its list of mounted file systems.

use super::{Cgroup, Hierarchy, Places};
use crate::cred::UserNs;
use crate::locks::CgroupMounts;
use crate::task::ThreadGroup;
use crate::vfs::Inode;
use lock::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Which group a process takes for the root of each hierarchy: cgroup_namespaces(7).
pub struct CgroupNs {
    pub id: u64,
    pub owner: Arc<UserNs>,
    /// In that of version 2.
    pub root: Arc<Cgroup>,
    /// In those of version 1 that were there when it was made.
    one: Vec<Arc<Cgroup>>,
    /// The container's own.
    pub initial: bool,
    /// Roots of its file systems in this namespace, by the hierarchy's number.
    mounted: Mutex<HashMap<u32, Weak<Inode>>, CgroupMounts>,
}

impl CgroupNs {
    /// A container's.
    pub fn new(owner: Arc<UserNs>, root: Arc<Cgroup>) -> Arc<CgroupNs> {
        Self::make(owner, Places { two: root, one: Vec::new() }, true)
    }

    /// With the groups of a process for roots.
    pub fn of(owner: Arc<UserNs>, process: &ThreadGroup) -> Arc<CgroupNs> {
        Self::make(owner, process.places(), false)
    }

    fn make(owner: Arc<UserNs>, places: Places, initial: bool) -> Arc<CgroupNs> {
        let Places { two: root, one } = places;
        Arc::new(CgroupNs { id: crate::unique_id(), owner, root, one, initial, mounted: Mutex::default() })
    }

    /// Its root in a hierarchy, of which `top` is the root of all.
    pub fn root_in(&self, top: &Arc<Cgroup>) -> Arc<Cgroup> {
        let id = top.hierarchy.id;
        if id == 0 {
            return self.root.clone();
        }
        self.one.iter().find(|group| group.hierarchy.id == id).unwrap_or(top).clone()
    }

    /// The root inode of a hierarchy's file system, made by `make` unless it is mounted already.
    pub fn mounted(&self, hierarchy: &Hierarchy, make: impl FnOnce() -> Arc<Inode>) -> Arc<Inode> {
        let mut mounted = self.mounted.lock();
        if let Some(inode) = mounted.get(&hierarchy.id).and_then(Weak::upgrade) {
            return inode;
        }
        mounted.retain(|_, inode| inode.strong_count() > 0);
        let inode = make();
        mounted.insert(hierarchy.id, Arc::downgrade(&inode));
        inode
    }
}
