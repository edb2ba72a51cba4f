//! Dentries: names in folders, cached, negative ones too. path_resolution(7).
//!
//! A dentry's `seq` is bumped by rename, unlink, mount and mode changes, so that a chain of dentries can be trusted by
//! looking at numbers alone. Locks: `DentryChildren` of the folder, then `DentryPlace`.

use super::Inode;
use crate::locks::{DentryChildren, DentryPlace};
use lock::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A name in a folder, or a root.
pub struct Dentry {
    place: Mutex<Place, DentryPlace>,
    children: RwLock<HashMap<Box<[u8]>, Arc<Dentry>>, DentryChildren>,
    seq: AtomicU64,
    /// How many mounts lie on it, in any mount namespace.
    pub mounted: AtomicU32,
}

struct Place {
    /// None for a root, and for what has no name any more and never had one (tmpfile, pipes).
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    /// None: the name is known not to exist.
    inode: Option<Arc<Inode>>,
    /// Unlinked: no more in its parent.
    gone: bool,
}

impl Dentry {
    /// The root of a file system, or an inode without a place.
    pub fn root(inode: Arc<Inode>) -> Arc<Dentry> {
        Self::make(None, b"", Some(inode))
    }

    fn make(parent: Option<Arc<Dentry>>, name: &[u8], inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let place = Place { parent, name: name.into(), inode, gone: false };
        Arc::new(Dentry {
            place: Mutex::new(place),
            children: RwLock::new(HashMap::new()),
            seq: AtomicU64::new(0),
            mounted: AtomicU32::new(0),
        })
    }

    /// The inode; None for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.place.lock().inode.clone()
    }

    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    pub fn name(&self) -> Box<[u8]> {
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

    /// The cached child, negative ones too.
    pub fn child(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        self.children.read().get(name).cloned()
    }

    /// Caches what a lookup of `name` gave. An equal entry that is there already wins, so that a place has one dentry.
    pub fn adopt(self: &Arc<Self>, name: &[u8], inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let mut children = self.children.write();
        if let Some(old) = children.get(name) {
            let same = {
                let place = old.place.lock();
                match (&place.inode, &inode) {
                    (None, None) => true,
                    (Some(a), Some(b)) => {
                        Arc::ptr_eq(a, b)
                            || a.ino == b.ino && a.kind == b.kind && old.mounted.load(Ordering::Relaxed) > 0
                    }
                    _ => false,
                }
            };
            if same {
                return old.clone();
            }
            old.place.lock().gone = true;
            old.bump();
        }
        let new = Self::make(Some(self.clone()), name, inode);
        children.insert(name.into(), new.clone());
        new
    }

    /// A child that is not to be cached.
    pub fn loose_child(self: &Arc<Self>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        Self::make(Some(self.clone()), name, Some(inode))
    }

    /// The name was removed: the dentry lives on without a name, a negative one takes its place.
    pub fn unlink_child(self: &Arc<Self>, name: &[u8]) {
        let mut children = self.children.write();
        if let Some(old) = children.remove(name) {
            old.place.lock().gone = true;
            old.bump();
        }
        let negative = Self::make(Some(self.clone()), name, None);
        children.insert(name.into(), negative);
    }

    /// Forgets what is cached of a name, so that the next walk looks it up.
    pub fn forget_child(&self, name: &[u8]) {
        let old = self.children.write().remove(name);
        if let Some(old) = old {
            old.bump();
        }
    }

    /// The names below, as far as they are cached and exist.
    pub fn cached_children(&self) -> Vec<Arc<Dentry>> {
        self.children.read().values().filter(|d| d.inode().is_some()).cloned().collect()
    }

    /// Drops the cache below this dentry (unmount, memory pressure).
    pub fn shrink(&self) {
        let children = std::mem::take(&mut *self.children.write());
        for child in children.into_values() {
            child.shrink();
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
        let from = old_parent.children.write().remove(old_name);
        let to = new_parent.children.write().remove(new_name);
        if let Some(moved) = &from {
            Self::set_place(moved, new_parent, new_name);
            new_parent.children.write().insert(new_name.into(), moved.clone());
        }
        match to {
            Some(other) if exchange => {
                Self::set_place(&other, old_parent, old_name);
                old_parent.children.write().insert(old_name.into(), other);
            }
            Some(victim) => {
                victim.place.lock().gone = true;
                victim.bump();
            }
            None => {}
        }
        if !exchange {
            let negative = Self::make(Some(old_parent.clone()), old_name, None);
            old_parent.children.write().insert(old_name.into(), negative);
        }
    }

    fn set_place(dentry: &Arc<Dentry>, parent: &Arc<Dentry>, name: &[u8]) {
        let old_parent = {
            let mut place = dentry.place.lock();
            place.name = name.into();
            place.parent.replace(parent.clone())
        };
        dentry.bump();
        drop(old_parent);
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
