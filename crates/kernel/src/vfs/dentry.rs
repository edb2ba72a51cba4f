//! Dentries: names in folders, cached, negative ones too. path_resolution(7).
//!
//! A dentry's `seq` is bumped by rename, unlink, mount and mode changes, so that a chain of dentries can be trusted by
//! looking at numbers alone. How many are cached: `dcache`. Locks: `DentryChildren` of the folder, then `DentryPlace`.

use super::{Inode, dcache};
use crate::locks::{DentryChildren, DentryPlace};
use lock::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Negative entries are not kept in a folder with so many.
const MANY_NAMES: usize = 4096;

/// A name in a folder, or a root.
pub struct Dentry {
    place: Mutex<Place, DentryPlace>,
    children: RwLock<Children, DentryChildren>,
    seq: AtomicU64,
    /// Bumped with every change of names in this folder, under the lock of `children`: a lookup that began before is stale.
    edits: AtomicU64,
    /// How many mounts lie on it, in any mount namespace.
    pub mounted: AtomicU32,
    /// It was found by its name since `dcache` looked last.
    used: AtomicBool,
    /// It is nowhere but in the cache, and must not be forgotten.
    pinned: AtomicBool,
}

/// The cached names of a folder. Most dentries are no folders, and have no map.
#[derive(Default)]
struct Children(Option<Box<ByName>>);

type ByName = HashMap<Arc<[u8]>, Arc<Dentry>>;

impl Children {
    fn get(&self, name: &[u8]) -> Option<&Arc<Dentry>> {
        self.0.as_ref()?.get(name)
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }

    /// Puts a dentry under its name; the one that was there.
    fn insert(&mut self, name: Arc<[u8]>, dentry: Arc<Dentry>) -> Option<Arc<Dentry>> {
        self.0.get_or_insert_default().insert(name, dentry)
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        self.0.as_mut()?.remove(name)
    }
}

struct Place {
    /// None for a root, and for what has no name any more and never had one (tmpfile, pipes).
    parent: Option<Arc<Dentry>>,
    /// Shared with the folder's map.
    name: Arc<[u8]>,
    /// None: the name is known not to exist.
    inode: Option<Arc<Inode>>,
    /// Unlinked: no more in its parent.
    gone: bool,
}

impl Dentry {
    /// The root of a file system, or an inode without a place.
    pub fn root(inode: Arc<Inode>) -> Arc<Dentry> {
        Self::make(None, &b""[..], Some(inode))
    }

    fn make(parent: Option<Arc<Dentry>>, name: impl Into<Arc<[u8]>>, inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let place = Place { parent, name: name.into(), inode, gone: false };
        Arc::new(Dentry {
            place: Mutex::new(place),
            children: RwLock::default(),
            seq: AtomicU64::new(0),
            edits: AtomicU64::new(0),
            mounted: AtomicU32::new(0),
            used: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
        })
    }

    /// The inode; None for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.place.lock().inode.clone()
    }

    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    pub fn name(&self) -> Arc<[u8]> {
        self.place.lock().name.clone()
    }

    /// Unlinked while somebody still has it.
    pub fn is_gone(&self) -> bool {
        self.place.lock().gone
    }

    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    pub fn bump(&self) {
        self.seq.fetch_add(1, Ordering::Release);
    }

    /// Whether something is mounted on it, in any mount namespace.
    pub fn is_mountpoint(&self) -> bool {
        self.mounted.load(Ordering::Acquire) > 0
    }

    /// The cached child, negative ones too.
    pub fn child(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let child = self.children.read().get(name).cloned()?;
        if !child.used.load(Ordering::Relaxed) {
            child.used.store(true, Ordering::Relaxed);
        }
        Some(child)
    }

    /// What `adopt_since` wants to know: taken before the file system is asked.
    pub fn edits(&self) -> u64 {
        self.edits.load(Ordering::Acquire)
    }

    /// Caches what a lookup of `name` gave, unless names of this folder changed since `edits` was read: None, look again.
    /// An equal entry that is there already wins, so that a place has one dentry.
    pub fn adopt_since(self: &Arc<Self>, name: &[u8], inode: Option<Arc<Inode>>, edits: u64) -> Option<Arc<Dentry>> {
        let mut children = self.children.write();
        if self.edits.load(Ordering::Acquire) != edits {
            return None;
        }
        if inode.is_none() && children.len() >= MANY_NAMES {
            // A guest that asks for names that don't exist cannot fill the kernel's memory with them.
            return Some(Self::make(Some(self.clone()), name, None));
        }
        let adopted = Self::adopt_locked(self, &mut children, name, inode);
        drop(children);
        Some(adopted.settle())
    }

    /// Caches what was made at `name`.
    pub fn adopt(self: &Arc<Self>, name: &[u8], inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let mut children = self.children.write();
        self.edits.fetch_add(1, Ordering::AcqRel);
        let adopted = Self::adopt_locked(self, &mut children, name, inode);
        drop(children);
        adopted.settle()
    }

    fn adopt_locked(self: &Arc<Self>, children: &mut Children, name: &[u8], inode: Option<Arc<Inode>>) -> Adopted {
        if let Some(old) = children.get(name) {
            let same = match (&old.place.lock().inode, &inode) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.ino == b.ino && a.kind == b.kind,
                _ => false,
            };
            if same {
                return Adopted::Old(old.clone());
            }
            old.place.lock().gone = true;
            old.bump();
        }
        let name: Arc<[u8]> = name.into();
        let new = Self::make(Some(self.clone()), name.clone(), inode);
        let replaced = children.insert(name, new.clone());
        Adopted::New { dentry: new, replaced }
    }

    /// A child that is not to be cached.
    pub fn loose_child(self: &Arc<Self>, name: &[u8], inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        Self::make(Some(self.clone()), name, inode)
    }

    /// Puts a loose child, and the loose ones above it, where walks find them: something is mounted on it.
    pub fn anchor(self: &Arc<Self>) {
        let (parent, name) = {
            let place = self.place.lock();
            (place.parent.clone(), place.name.clone())
        };
        if let Some(parent) = parent {
            let mut children = parent.children.write();
            if children.get(&name).is_none() {
                children.insert(name, self.clone());
            }
            drop(children);
            parent.anchor();
        }
    }

    /// An inode that has no name (O_TMPFILE, memfd), seen from the folder that it was made in; what /proc/PID/fd shows for it.
    pub fn nameless(self: &Arc<Self>, shown: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let dentry = Self::make(Some(self.clone()), shown, Some(inode));
        dentry.place.lock().gone = true;
        dentry
    }

    /// The name was removed: the dentry lives on without a name, a negative one takes its place.
    pub fn unlink_child(self: &Arc<Self>, name: &[u8]) {
        let name: Arc<[u8]> = name.into();
        let negative = Self::make(Some(self.clone()), name.clone(), None);
        let mut children = self.children.write();
        self.edits.fetch_add(1, Ordering::AcqRel);
        let keep = children.len() < MANY_NAMES;
        let old = if keep { children.insert(name, negative.clone()) } else { children.remove(&name) };
        if let Some(old) = &old {
            old.place.lock().gone = true;
            old.bump();
        }
        drop(children);
        if let Some(old) = old {
            old.shrink();
        }
        if keep {
            dcache::enter(&negative);
        }
    }

    /// Forgets what is cached of a name, so that the next walk looks it up.
    pub fn forget_child(&self, name: &[u8]) {
        let old = {
            let mut children = self.children.write();
            self.edits.fetch_add(1, Ordering::AcqRel);
            children.remove(name)
        };
        if let Some(old) = old {
            old.bump();
        }
    }

    /// The name is gone, or stands for something else: what is cached of it lives on without a name.
    pub fn drop_child(&self, name: &[u8]) {
        let old = {
            let mut children = self.children.write();
            self.edits.fetch_add(1, Ordering::AcqRel);
            let old = children.remove(name);
            if let Some(old) = &old {
                old.place.lock().gone = true;
            }
            old
        };
        if let Some(old) = old {
            old.bump();
            // Names that are cached below it would keep it, and its file system, for ever.
            old.shrink();
        }
    }

    #[cfg(test)]
    pub(super) fn cached_names(&self) -> Vec<Arc<[u8]>> {
        self.children.read().0.iter().flat_map(|map| map.keys().cloned()).collect()
    }

    /// Keeps it in the cache for ever: no file system knows of it.
    pub fn pin(&self) {
        self.pinned.store(true, Ordering::Relaxed);
    }

    /// Whether it was found by its name since this was asked last.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Leaves its folder, unless it is in use. True: it is in no folder now.
    pub(super) fn leave(self: Arc<Self>) -> bool {
        let (parent, name) = {
            let place = self.place.lock();
            match &place.parent {
                Some(parent) if !place.gone => (parent.clone(), place.name.clone()),
                _ => return true,
            }
        };
        let mut children = parent.children.write();
        // The folder has one, the caller the other; nobody can get one from the folder now.
        let unused = Arc::strong_count(&self) == 2 && !self.pinned.load(Ordering::Relaxed);
        let here = children.get(&name).is_some_and(|child| Arc::ptr_eq(child, &self));
        if !here || !unused || self.inode().is_some_and(|inode| inode.has_own_state()) {
            return false;
        }
        let old = children.remove(&name);
        drop(children);
        drop(old);
        true
    }

    /// Drops the cache below this dentry: its file system is mounted nowhere any more. Dentries and their folders hold each other,
    /// so without this they would stay for ever.
    pub fn shrink(self: &Arc<Self>) {
        let mut work = vec![self.clone()];
        while let Some(dentry) = work.pop() {
            let children = std::mem::take(&mut *dentry.children.write());
            work.extend(children.0.into_iter().flat_map(|map| map.into_values()));
        }
    }

    /// Moves `moved` to `new_parent`/`new_name` in the cache, after the file system did; with `exchange` the two change places.
    pub fn rename(
        old_parent: &Arc<Dentry>,
        old_name: &[u8],
        new_parent: &Arc<Dentry>,
        new_name: &[u8],
        exchange: bool,
    ) {
        let (old_name, new_name): (Arc<[u8]>, Arc<[u8]>) = (old_name.into(), new_name.into());
        let from = old_parent.swap_child(&old_name, None);
        let to = new_parent.swap_child(&new_name, None);
        if let Some(moved) = &from {
            Self::set_place(moved, new_parent, &new_name);
            new_parent.swap_child(&new_name, Some(moved.clone()));
        }
        match to {
            Some(other) if exchange => {
                Self::set_place(&other, old_parent, &old_name);
                old_parent.swap_child(&old_name, Some(other));
            }
            Some(victim) => {
                victim.place.lock().gone = true;
                victim.bump();
                victim.shrink();
            }
            None => {}
        }
        if !exchange {
            let negative = Self::make(Some(old_parent.clone()), old_name.clone(), None);
            old_parent.swap_child(&old_name, Some(negative.clone()));
            dcache::enter(&negative);
        }
    }

    fn swap_child(&self, name: &Arc<[u8]>, to: Option<Arc<Dentry>>) -> Option<Arc<Dentry>> {
        let mut children = self.children.write();
        self.edits.fetch_add(1, Ordering::AcqRel);
        match to {
            Some(to) => children.insert(name.clone(), to),
            None => children.remove(name),
        }
    }

    fn set_place(dentry: &Arc<Dentry>, parent: &Arc<Dentry>, name: &Arc<[u8]>) {
        let old_parent = {
            let mut place = dentry.place.lock();
            place.name = name.clone();
            place.parent.replace(parent.clone())
        };
        dentry.bump();
        drop(old_parent);
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_below(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        other.is_above(self)
    }

    /// Whether `self` is `other` or lies above it.
    pub fn is_above(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = Some(other.clone());
        while let Some(d) = at {
            if Arc::ptr_eq(&d, self) {
                return true;
            }
            at = d.parent();
        }
        false
    }
}

/// What `adopt_locked` did.
enum Adopted {
    /// It was there already.
    Old(Arc<Dentry>),
    New {
        dentry: Arc<Dentry>,
        replaced: Option<Arc<Dentry>>,
    },
}

impl Adopted {
    /// The dentry, once the folder's lock is let go.
    fn settle(self) -> Arc<Dentry> {
        match self {
            Adopted::Old(dentry) => dentry,
            Adopted::New { dentry, replaced } => {
                drop(replaced);
                dcache::enter(&dentry);
                dentry
            }
        }
    }
}

impl Drop for Dentry {
    /// Folders that only their lowest name kept alive: one after the other, however deep a guest has made them.
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut parent) = next.and_then(Arc::into_inner) {
            next = parent.place.get_mut().parent.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_small() {
        assert!(size_of::<Dentry>() <= 96, "{}", size_of::<Dentry>());
    }
}
