//! Hierarchies of groups, and where a process is in each. cgroups(7), "Mounting v1 controllers".
//!
//! A container has one hierarchy of version 2, and those of version 1 that are mounted inside: the same groups with other files. A controller is in one hierarchy at a time, that of version 2 until one of version 1
//! takes it. One that is mounted nowhere any more goes when it has no groups but its root; that is looked for when somebody mounts, or asks which there are. Locks: `CgroupTree` for all changes.

use super::members::tell;
use super::{Cgroup, Controllers, TREE};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::task::ThreadGroup;
use abi::Errno;
use lock::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, OnceLock, Weak};

/// Hierarchies of version 1 at most: each has all processes in it.
const MOST: usize = 32;

/// A hierarchy.
pub struct Hierarchy {
    /// 0: version 2.
    pub id: u32,
    /// Of version 1.
    controllers: Controllers,
    pub name: Box<[u8]>,
    all: All,
    mounts: AtomicUsize,
}

/// The container's hierarchies, which live as long as a group of version 2.
enum All {
    Two(Arc<Hierarchies>),
    One(Weak<Hierarchies>),
}

/// The hierarchies of a container.
pub struct Hierarchies {
    two: OnceLock<Weak<Cgroup>>,
    /// Roots of those of version 1, the oldest first.
    one: Mutex<Vec<Arc<Cgroup>>, Leaf>,
    last: AtomicU32,
}

/// What is to be mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Empty: none was named.
    pub controllers: Controllers,
    pub name: Option<Box<[u8]>>,
    /// A hierarchy without controllers.
    pub none: bool,
    pub clone_children: bool,
}

/// Keeps a hierarchy of version 1 while it is mounted.
pub struct Mounted(Arc<Hierarchy>);

/// The groups that a process is in.
#[derive(Clone)]
pub(in crate::task) struct Places {
    pub two: Arc<Cgroup>,
    pub one: Vec<Arc<Cgroup>>,
}

impl Hierarchy {
    fn new(id: u32, controllers: Controllers, name: &[u8], all: All) -> Arc<Hierarchy> {
        let name = name.into();
        Arc::new(Hierarchy { id, controllers, name, all, mounts: AtomicUsize::new(0) })
    }

    /// That of version 2 of a new container.
    pub(super) fn two() -> Arc<Hierarchy> {
        let all = Hierarchies { two: OnceLock::new(), one: Mutex::default(), last: AtomicU32::new(0) };
        Self::new(0, Controllers::empty(), b"", All::Two(Arc::new(all)))
    }

    pub fn is_two(&self) -> bool {
        self.id == 0
    }

    /// Controllers of a hierarchy of version 1; of version 2, those that no other has.
    pub fn controllers(&self) -> Controllers {
        match &self.all {
            All::Two(all) => Controllers::of_two().difference(all.taken()),
            All::One(_) => self.controllers,
        }
    }

    pub fn all(&self) -> Option<Arc<Hierarchies>> {
        match &self.all {
            All::Two(all) => Some(all.clone()),
            All::One(all) => all.upgrade(),
        }
    }

    pub fn mounted(self: &Arc<Self>) -> Mounted {
        self.mounts.fetch_add(1, Relaxed);
        Mounted(self.clone())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.0.mounts.fetch_sub(1, Relaxed);
    }
}

impl Hierarchies {
    pub(super) fn set_two(&self, root: &Arc<Cgroup>) {
        _ = self.two.set(Arc::downgrade(root));
    }

    pub fn two(&self) -> Option<Arc<Cgroup>> {
        self.two.get()?.upgrade()
    }

    /// Roots of those of version 1, the newest first.
    pub fn one(&self) -> Vec<Arc<Cgroup>> {
        self.sweep();
        self.known().into_iter().rev().collect()
    }

    /// Roots of all.
    pub fn roots(&self) -> Vec<Arc<Cgroup>> {
        self.two().into_iter().chain(self.known()).collect()
    }

    fn known(&self) -> Vec<Arc<Cgroup>> {
        self.one.lock().clone()
    }

    fn taken(&self) -> Controllers {
        self.one.lock().iter().fold(Controllers::empty(), |all, root| all | root.hierarchy.controllers)
    }

    /// The root of a hierarchy of version 1 that is there or, with `may_make`, is made; whether it is there for good is up to [`Hierarchy::mounted`]. EBUSY: another has one of its controllers, or its name.
    /// EINVAL: it has none, and no name. EPERM: it would have to be made. ENOSPC: there are too many.
    pub fn find_one(self: &Arc<Self>, wanted: &Wanted, may_make: bool) -> Op<(Arc<Cgroup>, Mounted)> {
        self.sweep();
        let tree = TREE.lock();
        for root in self.known() {
            let hierarchy = &root.hierarchy;
            let named = wanted.name.as_ref().is_some_and(|name| *name == hierarchy.name);
            if wanted.name.is_some() && !named {
                continue;
            }
            if (!wanted.controllers.is_empty() || wanted.none) && wanted.controllers != hierarchy.controllers {
                if named {
                    return fail(Errno::EBUSY);
                }
                continue;
            }
            let mounted = hierarchy.mounted();
            return Ok((root, mounted));
        }
        if wanted.controllers.is_empty() && !wanted.none {
            return fail(Errno::EINVAL);
        }
        if !may_make {
            return fail(Errno::EPERM);
        }
        if self.one.lock().len() >= MOST {
            return fail(Errno::ENOSPC);
        }
        let two = self.two().ok_or(Errno::ENOENT)?;
        if self.taken().intersects(wanted.controllers) || two.subtree_control().intersects(wanted.controllers) {
            return fail(Errno::EBUSY);
        }
        let id = self.last.fetch_add(1, Relaxed) + 1;
        let name = wanted.name.as_deref().unwrap_or_default();
        let hierarchy = Hierarchy::new(id, wanted.controllers, name, All::One(Arc::downgrade(self)));
        let root = Cgroup::new(b"", None, (0, 0), 0, hierarchy.clone());
        root.set_limits(two.limits());
        root.set_pids_max(two.pids().2);
        root.set_clone_children(wanted.clone_children);
        self.one.lock().push(root.clone());
        let mut changed = Vec::new();
        for process in two.subtree().iter().flat_map(|group| group.processes()) {
            root.add(&process, [0, 0], &mut changed);
            process.recharge();
        }
        drop(tree);
        Ok((root, hierarchy.mounted()))
    }

    /// Lets go of what is mounted nowhere and has no groups.
    fn sweep(&self) {
        let gone = |root: &Arc<Cgroup>| root.hierarchy.mounts.load(Relaxed) == 0 && root.children().is_empty();
        let before = self.known();
        if !before.iter().any(gone) {
            return;
        }
        let tree = TREE.lock();
        let (roots, stay) = self.known().into_iter().partition::<Vec<_>, _>(gone);
        *self.one.lock() = stay;
        let mut changed = Vec::new();
        let mut settled = Vec::new();
        for root in &roots {
            for process in root.processes() {
                root.take(&process, &mut changed);
                process.forget(root);
                process.recharge();
                settled.push(process.settle());
            }
        }
        drop(tree);
        settled.into_iter().for_each(|settled| settled.tell());
        tell(changed);
    }
}

impl Places {
    pub fn all(&self) -> impl Iterator<Item = &Arc<Cgroup>> {
        std::iter::once(&self.two).chain(&self.one)
    }

    /// The group in the hierarchy that has a controller.
    pub fn of(&self, controller: Controllers) -> &Arc<Cgroup> {
        self.one.iter().find(|group| group.hierarchy.controllers.intersects(controller)).unwrap_or(&self.two)
    }

    /// What holds those who are there.
    pub fn halts(&self) -> u8 {
        self.all().fold(0, |all, group| all | group.halts.load(SeqCst))
    }

    /// In its hierarchy `group` is the place from now on.
    pub fn put(&mut self, group: Arc<Cgroup>) {
        let id = group.hierarchy.id;
        if id == 0 {
            self.two = group;
        } else if let Some(place) = self.one.iter_mut().find(|place| place.hierarchy.id == id) {
            *place = group;
        } else {
            self.one.push(group);
        }
    }

    pub fn in_hierarchy(&self, hierarchy: &Hierarchy) -> Option<&Arc<Cgroup>> {
        self.all().find(|group| group.hierarchy.id == hierarchy.id)
    }
}

impl ThreadGroup {
    pub(in crate::task) fn places(&self) -> Places {
        self.cgroups.lock().clone()
    }

    /// The group of version 2 that the process is in, or was in when it ended.
    pub fn cgroup(&self) -> Arc<Cgroup> {
        self.cgroups.lock().two.clone()
    }

    /// The group in the hierarchy that has a controller.
    pub fn cgroup_of(&self, controller: Controllers) -> Arc<Cgroup> {
        self.cgroups.lock().of(controller).clone()
    }

    pub fn cgroup_in(&self, hierarchy: &Hierarchy) -> Option<Arc<Cgroup>> {
        self.cgroups.lock().in_hierarchy(hierarchy).cloned()
    }

    /// It is in `group` from now on.
    pub(super) fn set_place(&self, group: &Arc<Cgroup>) {
        let mut places = self.cgroups.lock();
        let old = places.clone(); // let go of without the lock
        places.put(group.clone());
        drop(places);
        drop(old);
    }

    fn forget(&self, root: &Arc<Cgroup>) {
        self.cgroups.lock().one.retain(|place| !Arc::ptr_eq(place, root));
    }

    /// Its tasks count where the pids controller is now.
    pub(super) fn recharge(&self) {
        self.tasks().iter().for_each(|task| task.pid.charge_to(task.places().of(Controllers::PIDS)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_come_and_go() {
        let two = Cgroup::container(Default::default(), Some(7));
        let all = two.hierarchy.all().unwrap();
        let (cpu, pids) = (Controllers::CPU, Controllers::PIDS);
        let with = |controllers| Wanted { controllers, ..Default::default() };
        let named = |name: &[u8], none, controllers| Wanted {
            name: Some(name.into()),
            none,
            controllers,
            ..Default::default()
        };
        let error = |wanted: &Wanted, may_make| all.find_one(wanted, may_make).err();

        assert_eq!(error(&with(pids), false), Some(Errno::EPERM.into()));
        let (root, mounted) = all.find_one(&with(cpu | pids), true).unwrap();
        assert_eq!((root.pids().2, root.controllers()), (7, cpu | pids), "the container's own limit holds here, too");
        assert!(!two.controllers().intersects(cpu | pids));
        assert_eq!(error(&with(cpu), true), Some(Errno::EBUSY.into()));
        let (again, twice) = all.find_one(&with(cpu | pids), false).unwrap();
        assert!(Arc::ptr_eq(&root, &again));
        let child = root.make(b"x", (0, 0)).unwrap();
        assert_eq!(child.controllers(), cpu | pids);
        drop((mounted, twice));
        assert_eq!(all.one().len(), 1, "it has a group");
        root.remove(b"x").unwrap();
        assert!(all.one().is_empty());
        assert!(two.controllers().contains(cpu | pids));

        assert_eq!(error(&named(b"a", false, Controllers::empty()), true), Some(Errno::EINVAL.into()));
        let (root, _mounted) = all.find_one(&named(b"a", true, Controllers::empty()), true).unwrap();
        let (again, _twice) = all.find_one(&named(b"a", false, Controllers::empty()), false).unwrap();
        assert!(Arc::ptr_eq(&root, &again));
        assert_eq!(error(&named(b"a", false, pids), true), Some(Errno::EBUSY.into()));

        two.set_subtree_control(pids, Controllers::empty()).unwrap();
        assert_eq!(error(&with(pids), true), Some(Errno::EBUSY.into()), "version 2 uses it");
    }
}
