//! The names of a folder: what getdents64(2) lists, and what lookups know from it without asking.
//!
//! A listing that was taken whole answers later lookups of its folder, those of names that are not there too. Changes of our own keep it right; one that
//! was taken while a change was under way is thrown away. Neighbours: `opendir`, which takes them. Locks: `Node::state`.

use super::node::{Node, guest_ino};
use fsproto::Attr;
use host::{HostFd, file};
use indexmap::IndexMap;
use kernel::block_in_place;
use kernel::op::Op;
use kernel::vfs::FileType;
use std::collections::HashMap;
use std::sync::Arc;

/// Folders with more names are never kept.
pub(crate) const MAX_KEPT: usize = 10_000;
/// Names that are read at a time, and at first: so few take no longer than handing over does.
const PART: usize = 4096;
const FIRST: usize = 128;
/// So many names that were not there make it worth to ask for all.
const MISSES: u8 = 3;

/// All names of a folder, as an open folder lists them.
pub(crate) type List = IndexMap<Box<[u8]>, Listed>;

/// What is known of a folder's names.
#[derive(Default)]
pub(crate) struct Names {
    /// All of them. Folders that are open share it; a change makes another one then.
    all: Option<Arc<List>>,
    /// Attributes that came with them. Used for one lookup only: later the node may have changed.
    attrs: HashMap<Box<[u8]>, Attr>,
    /// The last name that a walk did not find.
    absent: Option<Box<[u8]>>,
    misses: u8,
    /// Grows with every change of our own, at its start and at its end.
    changes: u64,
    /// Changes under way.
    changing: u32,
}

/// Some names of a folder.
#[derive(Default)]
pub(crate) struct Part {
    pub entries: Vec<(Box<[u8]>, Listed)>,
    /// Of some of them.
    pub attrs: Vec<(Box<[u8]>, Attr)>,
    /// Where the next ones begin.
    pub cursor: u64,
    pub complete: bool,
}

/// A name in a listing.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub ino: u64,
    pub kind: FileType,
}

/// What a listing says about a name.
pub(crate) enum Known {
    /// Ask.
    Nothing,
    Absent,
    /// It is there, with these attributes.
    Here(Attr),
}

impl Node {
    /// What is known of a name without asking.
    pub fn known_name(&self, name: &[u8]) -> Known {
        let mut state = self.state.lock();
        let names = state.names();
        if names.absent.as_deref() == Some(name) {
            names.absent = None;
            return Known::Absent;
        }
        match &names.all {
            None => Known::Nothing,
            Some(all) if !all.contains_key(name) => Known::Absent,
            Some(_) => names.attrs.remove(name).map_or(Known::Nothing, Known::Here),
        }
    }

    /// All names, and how often they changed.
    pub fn all_names(&self) -> (Option<Arc<List>>, u64) {
        let mut state = self.state.lock();
        let names = state.names();
        (names.all.clone(), names.changes)
    }

    /// A walk from here ended at this name, which is not there. `changes` as `changes()` said before the walk.
    pub fn set_absent(&self, name: &[u8], changes: u64) {
        let mut state = self.state.lock();
        if state.names().changes == changes && state.names().changing == 0 {
            state.names().absent = Some(name.into());
        }
    }

    pub fn changes(&self) -> u64 {
        self.state.lock().names().changes
    }

    /// Counts a name that was not there; true when all names should be asked for.
    pub fn missed(&self) -> bool {
        if self.shared.options.shared {
            return false;
        }
        let mut state = self.state.lock();
        state.names().misses = state.names().misses.saturating_add(1);
        state.names().misses == MISSES
    }

    /// A change of the folder begins.
    pub fn begin_change(&self) {
        let mut state = self.state.lock();
        state.names().changes += 1;
        state.names().changing += 1;
        state.names().absent = None;
    }

    /// It ended; these names came and went, and the folder's own attributes are `attr` now, or are to be asked for.
    pub fn end_change(&self, added: Option<(&[u8], &Node)>, removed: Option<&[u8]>, attr: Option<Attr>) {
        let mut state = self.state.lock();
        state.names().changes += 1;
        state.names().changing = state.names().changing.saturating_sub(1);
        match attr {
            Some(attr) => state.set_attr(&attr, &self.shared),
            None => state.set_stale(),
        }
        let names = state.names();
        let Some(all) = &mut names.all else { return };
        let all = Arc::make_mut(all);
        if let Some(name) = removed {
            all.swap_remove(name);
            names.attrs.remove(name);
        }
        if let Some((name, node)) = added {
            all.insert(name.into(), Listed { ino: node.number(), kind: node.kind });
            names.attrs.remove(name);
        }
    }

    pub fn drop_listing(&self) {
        let old = {
            let mut state = self.state.lock();
            let names = state.names();
            (names.all.take(), std::mem::take(&mut names.attrs))
        };
        drop(old);
    }

    /// Asks for all names where one trip will do.
    pub fn list_ahead(self: &Arc<Self>) -> Op<()> {
        let changes = self.changes();
        let open = self.open_dir_directly();
        let (mut all, mut attrs, mut cursor) = (List::new(), HashMap::new(), 0);
        // Where no trips are needed the first part is a short one.
        for _ in 0..1 + usize::from(open.is_some()) {
            let part = self.list_part(open.as_deref(), cursor)?;
            all.extend(part.entries);
            attrs.extend(part.attrs);
            if part.complete {
                self.keep_listing(&Arc::new(all), attrs, changes);
                break;
            }
            cursor = part.cursor;
        }
        Ok(())
    }

    /// The names from `cursor` on, as many as come at once: read by this process, where it has the folder open, or by the gofer.
    pub fn list_part(self: &Arc<Self>, open: Option<&HostFd>, cursor: u64) -> Op<Part> {
        let Some(dir) = open else {
            let listing = self.with_handle(|gofer, dir| gofer.list(dir, &[], cursor))?;
            let complete = listing.complete || listing.entries.is_empty();
            let mut part = Part { cursor: listing.cursor, complete, ..Part::default() };
            for entry in listing.entries.into_iter().filter(|entry| fsproto::is_name(&entry.name)) {
                let kind = FileType::from_mode(entry.kind).unwrap_or(FileType::Regular);
                let dev = entry.attr.as_ref().map_or(self.key.0, |attr| attr.dev);
                let ino = guest_ino(&self.shared, (dev, entry.ino));
                part.attrs.extend(entry.attr.map(|attr| (entry.name.0.clone(), attr)));
                part.entries.push((entry.name.0, Listed { ino, kind }));
            }
            return Ok(part);
        };
        let mut part = Part { cursor, ..Part::default() };
        let most = if cursor == 0 { FIRST } else { PART };
        let list = || {
            file::list_dir(dir, cursor, |found| {
                if part.entries.len() >= most {
                    return false;
                }
                part.cursor = found.next;
                if fsproto::is_name(found.name) {
                    let kind = match found.kind {
                        0 => file::stat_child(dir, found.name).map_or(0, |stat| stat.stx_mode.into()),
                        kind => kind,
                    };
                    let kind = FileType::from_mode(kind).unwrap_or(FileType::Regular);
                    let ino = guest_ino(&self.shared, (self.key.0, found.ino));
                    part.entries.push((found.name.into(), Listed { ino, kind }));
                }
                true
            })
        };
        let complete = match self.shared.direct().filter(|_| cursor == 0) {
            Some(direct) => direct.call(list),
            None => block_in_place(list),
        };
        part.complete = complete?;
        Ok(part)
    }

    /// Keeps a whole listing, unless names have changed since it was begun.
    pub fn keep_listing(self: &Arc<Self>, all: &Arc<List>, attrs: HashMap<Box<[u8]>, Attr>, changes: u64) {
        if all.len() > MAX_KEPT || self.shared.options.shared {
            return;
        }
        {
            let mut state = self.state.lock();
            let names = state.names();
            if names.changes != changes || names.changing != 0 {
                return;
            }
            names.all = Some(all.clone());
            names.attrs = attrs;
        }
        self.shared.count_listing(self, all.len());
    }
}
