//! Open folders: getdents64(2).
//!
//! An open folder shows a snapshot of its names, taken as far as it was read. One that is known whole shares the node's listing; of a large one only what was
//! read last is kept, and who goes back begins anew. Neighbours: `listing`. Lock: `OpenDir::taken`, under which a sink takes its notes.

use super::listing::{List, Listed, MAX_KEPT};
use super::node::Node;
use fsproto::Attr;
use host::HostFd;
use kernel::io::Io;
use kernel::locks::FileState;
use kernel::op::Op;
use kernel::vfs::{DirSink, FileOps, FileType};
use lock::Mutex;
use std::any::Any;
use std::sync::{Arc, OnceLock};

pub(crate) fn open(node: &Arc<Node>) -> Arc<dyn FileOps> {
    Arc::new(OpenDir { node: node.clone(), taken: Mutex::default(), direct: OnceLock::new() })
}

struct OpenDir {
    node: Arc<Node>,
    taken: Mutex<Snapshot, FileState>,
    /// The folder, where this process reads it by itself; opened with the first names that are not known.
    direct: OnceLock<Option<Arc<HostFd>>>,
}

/// Position n + 2 is name n; 0 and 1 are "." and "..".
#[derive(Default)]
struct Snapshot {
    /// All of it.
    whole: Option<Arc<List>>,
    /// Else what was read of it: the names from `first` on.
    first: usize,
    names: Vec<(Box<[u8]>, Listed)>,
    attrs: Vec<(Box<[u8]>, Attr)>,
    begun: bool,
    cursor: u64,
    complete: bool,
    /// The folder's changes when it was begun.
    changes: u64,
}

impl Snapshot {
    fn end(&self) -> usize {
        self.first + self.names.len()
    }

    /// Gives names from `at` on to a sink. False: it is full.
    fn show(&self, at: &mut usize, to: &mut dyn DirSink) -> bool {
        let start = *at;
        let mut give = |name: &[u8], listed: &Listed| {
            let taken = to.entry(name, listed.ino, listed.kind, *at as u64 + 3);
            *at += usize::from(taken);
            taken
        };
        match &self.whole {
            Some(all) => {
                let mut from = all.get_range(start..).into_iter().flat_map(|rest| rest.iter());
                from.all(|(name, listed)| give(name, listed))
            }
            None => {
                let rest = start.checked_sub(self.first).and_then(|skip| self.names.get(skip..)).unwrap_or_default();
                rest.iter().all(|(name, listed)| give(name, listed))
            }
        }
    }
}

impl OpenDir {
    /// Takes more names, of which those before `at` are needed no more. The lock is not held over the trip: of two readers at once one's answer counts.
    fn more(&self, at: usize) -> Op<()> {
        let (all, changes) = self.node.all_names();
        let (cursor, end) = {
            let mut taken = self.taken.lock();
            if !taken.begun {
                taken.begun = true;
                taken.changes = changes;
                taken.complete = all.is_some();
                taken.whole = all;
            }
            if taken.complete {
                return Ok(());
            }
            (taken.cursor, taken.end())
        };
        let direct = self.direct.get_or_init(|| self.node.open_dir_directly());
        let part = self.node.list_part(direct.as_deref(), cursor)?;
        let mut taken = self.taken.lock();
        if (taken.cursor, taken.end()) != (cursor, end) {
            return Ok(());
        }
        if end > MAX_KEPT {
            let old = at.saturating_sub(taken.first).min(taken.names.len());
            taken.names.drain(..old);
            taken.first += old;
            taken.attrs.clear();
        } else {
            taken.attrs.extend(part.attrs);
        }
        taken.cursor = part.cursor;
        taken.complete = part.complete;
        taken.names.extend(part.entries);
        if taken.complete && taken.first == 0 && taken.names.len() <= MAX_KEPT {
            let all: Arc<List> = Arc::new(std::mem::take(&mut taken.names).into_iter().collect());
            let attrs = std::mem::take(&mut taken.attrs).into_iter().collect();
            let changes = taken.changes;
            taken.whole = Some(all.clone());
            // The node's lock comes before the snapshot's.
            drop(taken);
            self.node.keep_listing(&all, attrs, changes);
        }
        Ok(())
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
            {
                let mut taken = self.taken.lock();
                if at < taken.first {
                    *taken = Snapshot::default();
                }
                if !taken.show(&mut at, to) || taken.complete {
                    return Ok(());
                }
            }
            self.more(at)?;
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
