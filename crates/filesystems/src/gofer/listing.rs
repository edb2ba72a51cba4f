//! The names of a folder: what getdents64(2) lists, and what lookups know from it without asking.
//!
//! A listing that was taken whole answers later lookups of its folder, those of names that are not there too. Changes of our own keep it right; one that
//! was taken while a change was under way is thrown away.

use super::node::{Node, guest_ino};
use fsproto::Attr;
use host::{HostFd, file};
use kernel::block_in_place;
use kernel::io::Io;
use kernel::locks::FileState;
use kernel::op::Op;
use kernel::vfs::{DirSink, FileOps, FileType};
use lock::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Folders with more names are never kept.
const MAX_KEPT: usize = 10_000;
/// Names that are read at a time.
const PART: usize = 4096;
/// So many names that were not there make it worth to ask for all.
const MISSES: u8 = 3;

/// What is known of a folder's names.
#[derive(Default)]
pub(crate) struct Names {
    /// All of them.
    all: Option<HashMap<Box<[u8]>, Listed>>,
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
struct Part {
    entries: Vec<(Box<[u8]>, Listed)>,
    /// Where the next ones begin.
    cursor: u64,
    complete: bool,
}

/// A name in a listing.
#[derive(Clone)]
pub(crate) struct Listed {
    ino: u64,
    kind: FileType,
    /// Used for one lookup only: later the node may have changed.
    attr: Option<Box<Attr>>,
}

/// What a listing says about a name.
pub(crate) enum Known {
    /// Ask.
    Nothing,
    Absent,
    /// It is there, with these attributes.
    Here(Box<Attr>),
}

impl Node {
    /// What is known of a name without asking.
    pub fn known_name(&self, name: &[u8]) -> Known {
        let mut state = self.state.lock();
        if state.names.absent.as_deref() == Some(name) {
            state.names.absent = None;
            return Known::Absent;
        }
        match &mut state.names.all {
            None => Known::Nothing,
            Some(all) => match all.get_mut(name) {
                None => Known::Absent,
                Some(listed) => listed.attr.take().map_or(Known::Nothing, Known::Here),
            },
        }
    }

    /// A walk from here ended at this name, which is not there. `changes` as `changes()` said before the walk.
    pub fn set_absent(&self, name: &[u8], changes: u64) {
        let mut state = self.state.lock();
        if state.names.changes == changes && state.names.changing == 0 {
            state.names.absent = Some(name.into());
        }
    }

    pub fn changes(&self) -> u64 {
        self.state.lock().names.changes
    }

    /// Counts a name that was not there; true when all names should be asked for.
    pub fn missed(&self) -> bool {
        if self.shared.options.shared {
            return false;
        }
        let mut state = self.state.lock();
        state.names.misses = state.names.misses.saturating_add(1);
        state.names.misses == MISSES
    }

    /// A change of the folder begins.
    pub fn begin_change(&self) {
        let mut state = self.state.lock();
        state.names.changes += 1;
        state.names.changing += 1;
        state.names.absent = None;
    }

    /// It ended; these names came and went, and the folder's own attributes are `attr` now, or are to be asked for.
    pub fn end_change(&self, added: Option<(&[u8], &Node)>, removed: Option<&[u8]>, attr: Option<Attr>) {
        let mut state = self.state.lock();
        state.names.changes += 1;
        state.names.changing = state.names.changing.saturating_sub(1);
        match attr {
            Some(attr) => state.set_attr(attr),
            None => state.set_stale(),
        }
        let Some(all) = &mut state.names.all else { return };
        if let Some(name) = removed {
            all.remove(name);
        }
        if let Some((name, node)) = added {
            all.insert(name.into(), Listed { ino: node.number(), kind: node.kind, attr: None });
        }
    }

    pub fn drop_listing(&self) {
        let old = self.state.lock().names.all.take();
        drop(old);
    }

    /// Asks for all names where one trip will do.
    pub fn list_ahead(self: &Arc<Self>) -> Op<()> {
        let changes = self.changes();
        let part = self.list_part(self.open_dir_directly().as_deref(), 0)?;
        if part.complete {
            self.keep_listing(part.entries.into_iter().collect(), changes);
        }
        Ok(())
    }

    /// The names from `cursor` on, as many as come at once: read by this process, where it has the folder open, or by the gofer.
    fn list_part(self: &Arc<Self>, open: Option<&HostFd>, cursor: u64) -> Op<Part> {
        let Some(dir) = open else {
            let listing = self.with_handle(|gofer, dir| gofer.list(dir, &[], cursor))?;
            let complete = listing.complete || listing.entries.is_empty();
            let entries = listing.entries.into_iter().filter_map(|entry| listed(self, entry)).collect();
            return Ok(Part { entries, cursor: listing.cursor, complete });
        };
        let mut part = Part { cursor, ..Part::default() };
        part.complete = block_in_place(|| {
            file::list_dir(dir, cursor, |found| {
                if part.entries.len() >= PART {
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
                    part.entries.push((found.name.into(), Listed { ino, kind, attr: None }));
                }
                true
            })
        })?;
        Ok(part)
    }

    fn keep_listing(self: &Arc<Self>, all: HashMap<Box<[u8]>, Listed>, changes: u64) {
        if all.len() > MAX_KEPT || self.shared.options.shared {
            return;
        }
        let names = all.len();
        {
            let mut state = self.state.lock();
            if state.names.changes != changes || state.names.changing != 0 {
                return;
            }
            state.names.all = Some(all);
        }
        self.shared.count_listing(self, names);
    }
}

fn listed(dir: &Node, entry: fsproto::Entry) -> Option<(Box<[u8]>, Listed)> {
    let kind = FileType::from_mode(entry.kind).unwrap_or(FileType::Regular);
    let dev = entry.attr.as_ref().map_or(dir.key.0, |attr| attr.dev);
    let ino = guest_ino(&dir.shared, (dev, entry.ino));
    fsproto::is_name(&entry.name).then(|| (entry.name.0, Listed { ino, kind, attr: entry.attr.map(Box::new) }))
}

/// An open folder: a snapshot of its names, taken as far as it was read.
pub(crate) fn open(node: &Arc<Node>) -> Arc<dyn FileOps> {
    Arc::new(OpenDir { node: node.clone(), taken: Mutex::new(Snapshot::default()), direct: OnceLock::new() })
}

struct OpenDir {
    node: Arc<Node>,
    taken: Mutex<Snapshot, FileState>,
    /// The folder, where this process reads it by itself; opened with the first names that are not known.
    direct: OnceLock<Option<Arc<HostFd>>>,
}

#[derive(Default)]
struct Snapshot {
    /// Position n + 2 is entry n; 0 and 1 are "." and "..".
    entries: Vec<(Box<[u8]>, Listed)>,
    cursor: u64,
    complete: bool,
    /// The folder's changes when it was begun.
    changes: u64,
}

impl OpenDir {
    /// Takes more entries. The lock is not held over the trip: of two readers at once one's answer counts.
    fn more(&self) -> Op<()> {
        // The node's lock comes before the snapshot's.
        let (changes, known) = {
            let state = self.node.state.lock();
            let bare = |all: &HashMap<Box<[u8]>, Listed>| all.iter().map(|(n, l)| (n.clone(), l.bare())).collect();
            let fresh = self.taken.lock().cursor == 0;
            (state.names.changes, state.names.all.as_ref().filter(|_| fresh).map(bare))
        };
        let (cursor, begun) = {
            let mut taken = self.taken.lock();
            if taken.complete {
                return Ok(());
            }
            if taken.cursor == 0 {
                taken.changes = changes;
                if let Some(known) = known {
                    taken.entries = known;
                    taken.complete = true;
                    return Ok(());
                }
            }
            (taken.cursor, taken.entries.len())
        };
        let direct = self.direct.get_or_init(|| self.node.open_dir_directly());
        let part = self.node.list_part(direct.as_deref(), cursor)?;
        let mut taken = self.taken.lock();
        if taken.cursor != cursor || taken.entries.len() != begun {
            return Ok(());
        }
        taken.cursor = part.cursor;
        taken.complete = part.complete;
        taken.entries.extend(part.entries);
        if taken.complete && taken.entries.len() <= MAX_KEPT {
            let all = taken.entries.iter_mut().map(|(name, listed)| {
                let whole = listed.clone();
                listed.attr = None;
                (name.clone(), whole)
            });
            let (all, changes) = (all.collect(), taken.changes);
            drop(taken);
            self.node.keep_listing(all, changes);
        }
        Ok(())
    }
}

impl Listed {
    fn bare(&self) -> Listed {
        Listed { ino: self.ino, kind: self.kind, attr: None }
    }
}

impl FileOps for OpenDir {
    fn list(&self, _io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        if from == 0 {
            // rewinddir(3): what came and went since is seen.
            *self.taken.lock() = Snapshot::default();
            if !to.entry(b".", self.node.number(), FileType::Dir, 1) {
                return Ok(());
            }
        }
        if from <= 1 {
            let parent = self.node.place().map_or_else(|| self.node.number(), |(parent, _)| parent.number());
            if !to.entry(b"..", parent, FileType::Dir, 2) {
                return Ok(());
            }
        }
        let mut at = usize::try_from(from.max(2) - 2).unwrap_or(usize::MAX);
        loop {
            // The sink copies to guest memory: not under the lock. A handful at a time.
            let (batch, complete) = {
                let taken = self.taken.lock();
                let batch: Vec<_> =
                    taken.entries.iter().skip(at).take(64).map(|(n, l)| (n.clone(), l.bare())).collect();
                (batch, taken.complete)
            };
            if batch.is_empty() {
                if complete {
                    return Ok(());
                }
                self.more()?;
                continue;
            }
            for (name, listed) in batch {
                at += 1;
                if !to.entry(&name, listed.ino, listed.kind, at as u64 + 2) {
                    return Ok(());
                }
            }
        }
    }

    fn seek(&self, _io: &mut Io<'_>, _offset: i64, _whence: u32, _from: u64) -> Op<u64> {
        // SEEK_SET and SEEK_CUR are the VFS's; a folder has no end to seek from.
        kernel::op::fail(abi::Errno::EINVAL)
    }

    fn sync(&self, _io: &mut Io<'_>, data_only: bool) -> Op<()> {
        let how = if data_only { fsproto::SyncHow::Data } else { fsproto::SyncHow::All };
        self.node.with_handle(|gofer, dir| gofer.sync(dir, how))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
