//! Control groups: which process is in which, and what holds for a group as a whole. cgroups(7), cgroup_namespaces(7).
//!
//! A container has a tree of groups; its own group is the top, which the guest sees as the root of its hierarchy. Neighbours: `pids` (the
//! controller that counts tasks), `usage` (what the members use), `memory` and `bandwidth` (what they may use of memory and CPU time), `cpuset` (where they may run), `device` and `device_list` (what they may open), `halt` (those that stand still), `threads` and `kind` (threads apart from their processes). The files are in crate `filesystems`. Locks: `CgroupTree` for
//! all changes of trees and members, then a group's own `Leaf`.

mod bandwidth;
mod controllers;
mod cpuset;
mod device;
mod device_list;
pub(super) mod halt;
mod hierarchy;
mod kind;
mod members;
mod memory;
mod ns;
mod pids;
mod threads;
mod times;
mod usage;
mod watch;

pub use bandwidth::{CpuLimits, USUAL_PERIOD};
pub use controllers::Controllers;
pub(super) use hierarchy::Places;
pub use hierarchy::{Hierarchies, Hierarchy, Mounted, Wanted};
pub use memory::MemoryEvents;
pub use ns::CgroupNs;
pub use pids::Charge;
pub(super) use threads::Apart;
pub use usage::{MemoryUse, memory_of};

use crate::locks::{CgroupTree, Leaf};
use crate::op::{Op, fail};
use crate::task::times::Told;
use crate::vfs::{Inode, notify};
use crate::wait::{Events, Queue};
use abi::Errno;
use lock::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};

pub(super) static TREE: Mutex<(), CgroupTree> = Mutex::new(());

/// Groups of the whole sandbox, and how many there may be: their memory is the kernel process'.
static GROUPS: AtomicUsize = AtomicUsize::new(0);
const MOST_GROUPS: usize = 1 << 16;

/// No limit: `max`.
pub const MAX: u64 = u64::MAX;

/// What the host holds the container to, shown in the container's own group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
}

/// A group.
pub struct Cgroup {
    pub id: u64,
    pub name: Box<[u8]>,
    pub hierarchy: Arc<Hierarchy>,
    parent: Option<Weak<Cgroup>>,
    state: Mutex<State, Leaf>,
    pids: pids::Count,
    memory: memory::Limit,
    cpu: bandwidth::Bandwidth,
    told: Told,
    /// What holds its tasks, its own reasons and those of groups above.
    halts: AtomicU8,
    /// How often cgroup.kill was written.
    kills: AtomicU64,
    /// Changes with what cgroup.events says.
    generation: AtomicU64,
    /// Woken when one of the event files changed.
    pub changed: Queue,
    /// The files that tell of changes, while somebody uses them, in the order of [`EventFile`].
    watched: Mutex<[Weak<Inode>; 3], Leaf>,
}

/// An event file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFile {
    Cgroup = 0,
    Pids = 1,
    Memory = 2,
}

struct State {
    children: BTreeMap<Box<[u8]>, Arc<Cgroup>>,
    members: HashMap<usize, members::Member>,
    threads: HashMap<usize, threads::Since>,
    /// A group of threads of version 2.
    threaded: bool,
    /// Members, threads, and children with any below them.
    live: usize,
    removed: bool,
    subtree_control: Controllers,
    /// Its own reasons to hold its tasks (`halt`).
    halts: u8,
    /// cgroup.clone_children of version 1.
    clone_children: bool,
    max_depth: u64,
    max_descendants: u64,
    limits: HostLimits,
    devices: device::Devices,
    /// Of version 1.
    device_list: device_list::DeviceList,
    cpuset: cpuset::Cpuset,
    /// CPU time of members that left and of groups that were removed, ns.
    cpu: u64,
    gone: times::Gone,
    /// CPU time when cpuacct.usage was set back last.
    cpu_reset: u64,
    owner: (u32, u32),
    /// Owner, group and permissions of files that were changed; the folder is the empty name.
    attrs: BTreeMap<Box<[u8]>, (u32, u32, u32)>,
}

impl Cgroup {
    fn new(
        name: &[u8],
        parent: Option<&Arc<Cgroup>>,
        owner: (u32, u32),
        halts: u8,
        hierarchy: Arc<Hierarchy>,
    ) -> Arc<Cgroup> {
        let state = State {
            children: BTreeMap::new(),
            members: HashMap::new(),
            threads: HashMap::new(),
            threaded: false,
            live: 0,
            removed: false,
            subtree_control: Controllers::empty(),
            halts: 0,
            clone_children: false,
            max_depth: MAX,
            max_descendants: MAX,
            limits: HostLimits::default(),
            devices: device::Devices::default(),
            device_list: device_list::DeviceList::default(),
            cpuset: cpuset::Cpuset::default(),
            cpu: 0,
            gone: times::Gone::default(),
            cpu_reset: 0,
            owner,
            attrs: BTreeMap::new(),
        };
        GROUPS.fetch_add(1, Relaxed);
        Arc::new(Cgroup {
            id: crate::unique_id(),
            name: name.into(),
            hierarchy,
            parent: parent.map(Arc::downgrade),
            state: Mutex::new(state),
            pids: pids::Count::new(),
            memory: memory::Limit::new(),
            cpu: bandwidth::Bandwidth::new(),
            told: Told::default(),
            halts: AtomicU8::new(halts),
            kills: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            changed: Queue::new(),
            watched: Mutex::default(),
        })
    }

    /// The group of a new container.
    pub fn container(limits: HostLimits, pids: Option<u64>) -> Arc<Cgroup> {
        let hierarchy = Hierarchy::two();
        let group = Self::new(b"", None, (0, 0), 0, hierarchy.clone());
        if let Some(all) = hierarchy.all() {
            all.set_two(&group);
        }
        group.state.lock().limits = limits;
        group.set_pids_max(pids.unwrap_or(MAX));
        group
    }

    pub fn is_container(&self) -> bool {
        self.parent.is_none()
    }

    pub fn parent(&self) -> Option<Arc<Cgroup>> {
        self.parent.as_ref()?.upgrade()
    }

    /// It and those above, outwards.
    pub fn ancestry(self: &Arc<Self>) -> impl Iterator<Item = Arc<Cgroup>> + use<> {
        std::iter::successors(Some(self.clone()), |group| group.parent())
    }

    /// It and those below.
    pub fn subtree(self: &Arc<Self>) -> Vec<Arc<Cgroup>> {
        let mut all = vec![self.clone()];
        let mut at = 0;
        while let Some(group) = all.get(at).cloned() {
            all.extend(group.children());
            at += 1;
        }
        all
    }

    pub fn children(&self) -> Vec<Arc<Cgroup>> {
        self.state.lock().children.values().cloned().collect()
    }

    pub fn child(&self, name: &[u8]) -> Option<Arc<Cgroup>> {
        self.state.lock().children.get(name).cloned()
    }

    /// ENODEV once it is removed.
    pub fn alive(&self) -> Op<()> {
        if self.state.lock().removed { fail(Errno::ENODEV) } else { Ok(()) }
    }

    /// mkdir(2). EAGAIN beyond cgroup.max.depth or cgroup.max.descendants of any group above, ENOSPC beyond what the sandbox keeps.
    pub fn make(self: &Arc<Self>, name: &[u8], owner: (u32, u32)) -> Op<Arc<Cgroup>> {
        let _tree = TREE.lock();
        self.alive().map_err(|_| Errno::ENOENT)?;
        if GROUPS.load(Relaxed) >= MOST_GROUPS {
            return fail(Errno::ENOSPC);
        }
        for (group, depth) in self.ancestry().zip(1..) {
            let (max_depth, max_descendants) = {
                let state = group.state.lock();
                (state.max_depth, state.max_descendants)
            };
            let full = max_descendants != MAX && group.subtree().len() as u64 > max_descendants;
            if depth > max_depth || full {
                return fail(Errno::EAGAIN);
            }
        }
        let child = Self::new(name, Some(self), owner, self.halts.load(SeqCst), self.hierarchy.clone());
        child.inherit_devices(self);
        child.set_clone_children(self.clone_children());
        let mut state = self.state.lock();
        if state.children.contains_key(name) {
            return fail(Errno::EEXIST);
        }
        state.children.insert(name.into(), child.clone());
        Ok(child)
    }

    /// rmdir(2). EBUSY while it has processes or groups.
    pub fn remove(&self, name: &[u8]) -> Op<()> {
        let _tree = TREE.lock();
        let child = self.child(name).ok_or(Errno::ENOENT)?;
        let cpu = child.cpu_time();
        let times = {
            let mut state = child.state.lock();
            if state.live > 0 || !state.children.is_empty() {
                return fail(Errno::EBUSY);
            }
            state.removed = true;
            child.memory.lift();
            child.cpu.lift();
            std::mem::take(&mut state.gone)
        };
        let gone = {
            let mut state = self.state.lock();
            state.cpu += cpu;
            state.gone.add(&times);
            state.children.remove(name)
        };
        drop(gone);
        Ok(())
    }

    /// What the host holds the container to; none for groups below.
    pub fn limits(&self) -> HostLimits {
        self.state.lock().limits
    }

    pub fn set_limits(&self, limits: HostLimits) {
        self.state.lock().limits = limits;
    }

    /// cgroup.clone_children of version 1.
    pub fn clone_children(&self) -> bool {
        self.state.lock().clone_children
    }

    pub fn set_clone_children(&self, on: bool) {
        self.state.lock().clone_children = on;
    }

    /// cgroup.max.depth and cgroup.max.descendants.
    pub fn max_tree(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.max_depth, state.max_descendants)
    }

    pub fn set_max_tree(&self, change: impl FnOnce(&mut u64, &mut u64)) {
        let mut state = self.state.lock();
        let (mut depth, mut descendants) = (state.max_depth, state.max_descendants);
        change(&mut depth, &mut descendants);
        (state.max_depth, state.max_descendants) = (depth, descendants);
    }

    /// Owner, group and permissions of one of its files; of the folder with an empty name. `perm` is what a new one has.
    pub fn attr(&self, file: &[u8], perm: u32) -> (u32, u32, u32) {
        let state = self.state.lock();
        let (uid, gid) = state.owner;
        state.attrs.get(file).copied().unwrap_or((uid, gid, perm))
    }

    pub fn set_attr(&self, file: &[u8], attr: (u32, u32, u32)) {
        self.state.lock().attrs.insert(file.into(), attr);
    }

    /// Whether a process is in it or below.
    pub fn populated(&self) -> bool {
        self.state.lock().live > 0
    }

    /// Its path as seen from the root of a namespace, cgroup_namespaces(7).
    pub fn path_from(self: &Arc<Self>, root: &Arc<Cgroup>) -> Vec<u8> {
        let above: Vec<_> = root.ancestry().collect();
        let mut names = Vec::new();
        let mut ups = 0;
        for group in self.ancestry() {
            if let Some(at) = above.iter().position(|a| Arc::ptr_eq(a, &group)) {
                ups = at;
                break;
            }
            names.push(group);
        }
        let mut path = b"/..".repeat(ups);
        for group in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(&group.name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// The group that is above both.
    pub fn common(self: &Arc<Self>, other: &Arc<Cgroup>) -> Option<Arc<Cgroup>> {
        let above: Vec<_> = other.ancestry().collect();
        self.ancestry().find(|group| above.iter().any(|a| Arc::ptr_eq(a, group)))
    }

    /// A number that changes with an event file.
    pub fn event_generation(&self, file: EventFile) -> u64 {
        match file {
            EventFile::Cgroup => self.generation.load(Relaxed),
            EventFile::Pids => self.pids.refused(),
            EventFile::Memory => self.memory.generation().load(Relaxed),
        }
    }

    /// The inode of an event file, which is told of to inotify.
    pub fn watch(&self, file: EventFile, inode: &Arc<Inode>) {
        if let Some(slot) = self.watched.lock().get_mut(file as usize) {
            *slot = Arc::downgrade(inode);
        }
    }

    /// An event file says something else now. Called without locks.
    fn tell(&self, file: EventFile) {
        match file {
            EventFile::Cgroup => _ = self.generation.fetch_add(1, Relaxed),
            EventFile::Memory => _ = self.memory.generation().fetch_add(1, Relaxed),
            EventFile::Pids => {} // by its count
        }
        self.changed.wake(Events::ERR | Events::PRI);
        let inode = self.watched.lock().get(file as usize).and_then(Weak::upgrade);
        if let Some(inode) = inode {
            notify::inode_event(&inode, None, abi::inotify::IN_MODIFY);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        GROUPS.fetch_sub(1, Relaxed);
        // Not by recursion: a guest makes groups as deep as it likes.
        let mut below: Vec<_> = std::mem::take(&mut self.state.get_mut().children).into_values().collect();
        while let Some(group) = below.pop() {
            if let Some(mut last) = Arc::into_inner(group) {
                below.extend(std::mem::take(&mut last.state.get_mut().children).into_values());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_their_rules() {
        let top = Cgroup::container(HostLimits::default(), Some(5));
        let a = top.make(b"a", (0, 0)).unwrap();
        let b = a.make(b"b", (0, 0)).unwrap();
        assert_eq!(top.make(b"a", (0, 0)).err(), Some(Errno::EEXIST.into()));
        assert_eq!(top.remove(b"a"), fail(Errno::EBUSY));
        assert_eq!(b.path_from(&top), b"/a/b");
        assert_eq!(top.path_from(&top), b"/");
        assert_eq!(top.path_from(&b), b"/../..");
        assert_eq!(b.path_from(&top.make(b"c", (0, 0)).unwrap()), b"/../a/b");
        assert!(Arc::ptr_eq(&a.common(&b).unwrap(), &a));
        assert_eq!(a.set_subtree_control(Controllers::PIDS, Controllers::empty()), fail(Errno::ENOENT));
        top.set_subtree_control(Controllers::PIDS, Controllers::empty()).unwrap();
        assert_eq!(a.controllers(), Controllers::PIDS);
        a.set_subtree_control(Controllers::PIDS, Controllers::empty()).unwrap();
        assert_eq!(top.set_subtree_control(Controllers::empty(), Controllers::PIDS), fail(Errno::EBUSY));
        a.set_max_tree(|depth, _| *depth = 1);
        assert_eq!(b.make(b"d", (0, 0)).err(), Some(Errno::EAGAIN.into()));
        a.set_max_tree(|depth, descendants| (*depth, *descendants) = (MAX, 1));
        assert_eq!(b.make(b"d", (0, 0)).err(), Some(Errno::EAGAIN.into()));
        a.remove(b"b").unwrap();
        assert_eq!(b.alive(), fail(Errno::ENODEV));
        assert_eq!(b.make(b"d", (0, 0)).err(), Some(Errno::ENOENT.into()));
        top.remove(b"a").unwrap();
        assert!(top.child(b"a").is_none());
    }
}
