//! Merged listings: upper names first, then those of each lower folder that nothing above hides.

use super::node::Node;
use super::{Overlay, folder, ops};
use kernel::io::Io;
use kernel::locks::FileState;
use kernel::op::Op;
use kernel::vfs::{DirSink, FileOps, FileType, Inode};
use lock::Mutex;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// A name in a folder.
#[derive(Clone)]
pub(crate) struct Entry {
    pub name: Box<[u8]>,
    pub ino: u64,
    pub kind: FileType,
}

impl Node {
    /// All names of a folder, without "." and "..".
    pub fn entries(&self, io: &mut Io<'_>) -> Op<Vec<Entry>> {
        let Some(upper) = self.upper.get() else {
            // A single lower folder shows as it is, but for its own whiteouts.
            return merge(io, &self.overlay, Vec::new(), HashSet::new(), &self.lower);
        };
        let mut merged = Vec::new();
        let mut hidden = HashSet::new();
        let files = self.overlay.has_file_whiteouts(io, upper)?;
        for mut entry in names(io, upper)? {
            let Some(whiteout) = hides(io, &self.overlay, upper, &entry, files)? else { continue };
            if !self.lower.is_empty() {
                hidden.insert(entry.name.clone());
            }
            if !whiteout {
                entry.ino = self.overlay.upper_number(entry.ino);
                merged.push(entry);
            }
        }
        merge(io, &self.overlay, merged, hidden, &self.lower)
    }

    /// Whether a folder shows no names.
    pub fn is_empty(&self, io: &mut Io<'_>) -> Op<bool> {
        Ok(self.entries(io)?.is_empty())
    }
}

/// Adds the names of lower folders to those above.
fn merge(
    io: &mut Io<'_>,
    overlay: &Overlay,
    mut merged: Vec<Entry>,
    mut hidden: HashSet<Box<[u8]>>,
    lowers: &[Arc<Inode>],
) -> Op<Vec<Entry>> {
    let last = lowers.len().saturating_sub(1);
    for (at, lower) in lowers.iter().enumerate() {
        let files = overlay.has_file_whiteouts(io, lower)?;
        for entry in names(io, lower)? {
            if hidden.contains(&entry.name) {
                continue;
            }
            let Some(whiteout) = hides(io, overlay, lower, &entry, files)? else { continue };
            if at < last {
                hidden.insert(entry.name.clone());
            }
            if !whiteout {
                merged.push(entry);
            }
        }
    }
    Ok(merged)
}

/// Whether an entry of a layer's folder is a whiteout; None: it went meanwhile. `files`: those may be, too.
fn hides(io: &mut Io<'_>, overlay: &Overlay, dir: &Arc<Inode>, entry: &Entry, files: bool) -> Op<Option<bool>> {
    if entry.kind != FileType::Char && !(files && entry.kind == FileType::Regular) {
        return Ok(Some(false));
    }
    match folder(dir)?.lookup(io, &entry.name)? {
        Some(inode) => overlay.is_whiteout(io, &inode).map(Some),
        None => Ok(None),
    }
}

/// The names of a layer's folder.
pub(crate) fn names(io: &mut Io<'_>, dir: &Arc<Inode>) -> Op<Vec<Entry>> {
    struct Take(Vec<Entry>);
    impl DirSink for Take {
        fn entry(&mut self, name: &[u8], ino: u64, kind: FileType, _next: u64) -> bool {
            if name != b"." && name != b".." {
                self.0.push(Entry { name: name.into(), ino, kind });
            }
            true
        }
    }
    let file = ops(dir).open(io, dir, abi::fs::OpenFlags::DIRECTORY)?;
    let mut take = Take(Vec::new());
    file.list(io, 0, &mut take)?;
    Ok(take.0)
}

/// An open folder: a snapshot of its names from when it was first read, or rewound.
pub(crate) fn open(node: &Arc<Node>) -> Arc<dyn FileOps> {
    Arc::new(OpenDir { node: node.clone(), shown: Mutex::new(None) })
}

struct OpenDir {
    node: Arc<Node>,
    shown: Mutex<Option<Shown>, FileState>,
}

#[derive(Clone)]
enum Shown {
    /// Position n + 2 is entry n; 0 and 1 are "." and "..".
    Merged(Arc<[Entry]>),
    /// A folder of one lower layer, which lists itself; positions are its own.
    Lower(Arc<Inode>, Arc<dyn FileOps>),
}

impl OpenDir {
    fn choose(&self, io: &mut Io<'_>) -> Op<Shown> {
        let node = &self.node;
        if let (None, [lower]) = (node.upper.get(), &*node.lower)
            && !node.overlay.has_file_whiteouts(io, lower)?
        {
            let file = ops(lower).open(io, lower, abi::fs::OpenFlags::DIRECTORY)?;
            return Ok(Shown::Lower(lower.clone(), file));
        }
        Ok(Shown::Merged(node.entries(io)?.into()))
    }

    /// Passes a lower folder's own listing on, but for whiteouts.
    fn pass(&self, io: &mut Io<'_>, lower: &Arc<Inode>, file: &dyn FileOps, from: u64, to: &mut dyn DirSink) -> Op<()> {
        let mut from = from;
        let parent = self.node.place().map_or(self.node.ino, |(parent, _)| parent.ino);
        loop {
            let mut through = Through { to, device: None, dots: [self.node.ino, parent] };
            file.list(io, from, &mut through)?;
            let Some((entry, next)) = through.device else { return Ok(()) };
            if hides(io, &self.node.overlay, lower, &entry, false)? == Some(false)
                && !to.entry(&entry.name, entry.ino, entry.kind, next)
            {
                return Ok(());
            }
            from = next;
        }
    }
}

/// Stops at a device, which may be a whiteout: who finds that out looks it up, and a sink may not.
struct Through<'a> {
    to: &'a mut dyn DirSink,
    device: Option<(Entry, u64)>,
    /// The overlay's own numbers of "." and "..".
    dots: [u64; 2],
}

impl DirSink for Through<'_> {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileType, next: u64) -> bool {
        if kind == FileType::Char {
            self.device = Some((Entry { name: name.into(), ino, kind }, next));
            return false;
        }
        let ino = match name {
            b"." => self.dots[0],
            b".." => self.dots[1],
            _ => ino,
        };
        self.to.entry(name, ino, kind, next)
    }
}

impl FileOps for OpenDir {
    fn list(&self, io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        let shown = self.shown.lock().clone().filter(|_| from != 0);
        let shown = match shown {
            Some(shown) => shown,
            None => {
                let shown = self.choose(io)?;
                let old = self.shown.lock().replace(shown.clone());
                drop(old);
                shown
            }
        };
        let entries = match shown {
            Shown::Lower(lower, file) => return self.pass(io, &lower, &*file, from, to),
            Shown::Merged(entries) => entries,
        };
        if from == 0 && !to.entry(b".", self.node.ino, FileType::Dir, 1) {
            return Ok(());
        }
        if from <= 1 {
            let parent = self.node.place().map_or(self.node.ino, |(parent, _)| parent.ino);
            if !to.entry(b"..", parent, FileType::Dir, 2) {
                return Ok(());
            }
        }
        let skip = usize::try_from(from.max(2) - 2).unwrap_or(usize::MAX);
        for (at, entry) in entries.iter().enumerate().skip(skip) {
            if !to.entry(&entry.name, entry.ino, entry.kind, at as u64 + 3) {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self, io: &mut Io<'_>, data_only: bool) -> Op<()> {
        match self.node.upper.get() {
            Some(upper) => ops(upper).open(io, upper, abi::fs::OpenFlags::DIRECTORY)?.sync(io, data_only),
            None => Ok(()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
