//! Folders of tmpfs: names with positions that stay, so that a listing goes on where it was whatever changes meanwhile.

use super::node::{Node, NodeOps};
use abi::Errno;
use abi::fs::{RENAME_EXCHANGE, RENAME_WHITEOUT};
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{DirOps, DirSink, FileOps, FileType, Inode, NewKind, NewNode};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The names of a folder.
pub(crate) struct Entries {
    by_name: HashMap<Arc<[u8]>, u64>,
    by_position: BTreeMap<u64, (Arc<[u8]>, Arc<Inode>)>,
    next: u64,
    /// The inode number of `..`.
    pub parent: u64,
    /// rmdir(2) took it: nothing can be made in it.
    pub removed: bool,
}

impl Entries {
    pub fn new(parent: u64) -> Entries {
        // Positions 0 and 1 are `.` and `..`.
        Entries { by_name: HashMap::new(), by_position: BTreeMap::new(), next: 2, parent, removed: false }
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Empties it: a folder that goes, with all that is below.
    pub fn take_all(&mut self) -> Vec<Arc<Inode>> {
        self.by_name.clear();
        std::mem::take(&mut self.by_position).into_values().map(|(_, inode)| inode).collect()
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<Inode>> {
        self.by_position.get(self.by_name.get(name)?).map(|(_, inode)| inode)
    }

    /// Puts a name; what it meant before is returned.
    pub fn put(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        if let Some(position) = self.by_name.get(name)
            && let Some((_, slot)) = self.by_position.get_mut(position)
        {
            return Some(std::mem::replace(slot, inode));
        }
        let name: Arc<[u8]> = name.into();
        let position = self.next;
        self.next += 1;
        self.by_name.insert(name.clone(), position);
        self.by_position.insert(position, (name, inode));
        None
    }

    /// Some names from a position on: position, name, inode number, type.
    pub fn part(&self, from: u64) -> Vec<(u64, Arc<[u8]>, u64, FileType)> {
        let range = self.by_position.range(from..).take(256);
        range.map(|(at, (name, inode))| (*at, name.clone(), inode.ino, inode.kind)).collect()
    }

    pub fn take(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let position = self.by_name.remove(name)?;
        self.by_position.remove(&position).map(|(_, inode)| inode)
    }
}

impl Node {
    fn make(&self, new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let fs = self.fs.upgrade().ok_or(Errno::ENOENT)?;
        self.counts.take_inode()?;
        Ok(Node::inode(&fs, &self.counts, new, self.ino))
    }

    /// One name less; a folder loses its own `.` with it.
    fn drop_link(&self) {
        let mut state = self.state.lock();
        state.nlink = state.nlink.saturating_sub(if self.kind == FileType::Dir { 2 } else { 1 });
        state.ctime = kernel::time::now();
        state.entries.removed = self.kind == FileType::Dir;
    }

    fn count_subdirs(&self, change: i32) {
        let mut state = self.state.lock();
        state.nlink = state.nlink.saturating_add_signed(change);
    }

    /// A folder that lies in another now.
    fn set_parent(&self, parent: u64) {
        let mut state = self.state.lock();
        state.entries.parent = parent;
        state.ctime = kernel::time::now();
    }
}

impl DirOps for NodeOps {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        Ok(self.0.state.lock().entries.get(name).cloned())
    }

    fn create(&self, _io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let inode = self.0.make(new)?;
        let mut state = self.0.state.lock();
        let taken = state.entries.get(name).is_some();
        if taken || state.entries.removed {
            drop(state);
            return fail(if taken { Errno::EEXIST } else { Errno::ENOENT });
        }
        state.entries.put(name, inode.clone());
        if matches!(new.kind, NewKind::Dir) {
            state.nlink += 1;
        }
        state.modified();
        Ok(inode)
    }

    fn link(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let node = Node::of(target)?;
        {
            let mut state = self.0.state.lock();
            if state.entries.get(name).is_some() {
                return fail(Errno::EEXIST);
            }
            state.entries.put(name, target.clone());
            state.modified();
        }
        let mut state = node.state.lock();
        state.nlink = state.nlink.saturating_add(1);
        state.ctime = kernel::time::now();
        Ok(())
    }

    fn unlink(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let node = Node::of(target)?;
        let gone = {
            let mut state = self.0.state.lock();
            let gone = state.entries.take(name).ok_or(Errno::ENOENT)?;
            state.modified();
            gone
        };
        node.drop_link();
        drop(gone);
        Ok(())
    }

    fn rmdir(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let node = Node::of(target)?;
        {
            let mut state = node.state.lock();
            if state.entries.len() > 0 {
                return fail(Errno::ENOTEMPTY);
            }
            state.entries.removed = true;
        }
        let gone = {
            let mut state = self.0.state.lock();
            let gone = state.entries.take(name).ok_or(Errno::ENOENT)?;
            state.nlink = state.nlink.saturating_sub(1);
            state.modified();
            gone
        };
        node.drop_link();
        drop(gone);
        Ok(())
    }

    fn rename(
        &self,
        io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Op<()> {
        let to = Node::of(new_dir)?;
        let node = Node::of(moved)?;
        let other = victim.map(|v| Node::of(v)).transpose()?;
        let exchange = flags & RENAME_EXCHANGE != 0;
        if let Some(other) = other.filter(|o| !exchange && o.kind == FileType::Dir) {
            let mut state = other.state.lock();
            if state.entries.len() > 0 {
                return fail(Errno::ENOTEMPTY);
            }
            state.entries.removed = true;
        }
        let whiteout = if flags & RENAME_WHITEOUT != 0 {
            let new = NewNode::plain(NewKind::Char(0), 0, io.cred.fsuid, io.cred.fsgid);
            Some(self.0.make(&new)?)
        } else {
            None
        };
        // The new name first: nobody finds a moment without the file.
        let replaced = {
            let mut state = to.state.lock();
            let replaced = state.entries.put(new_name, moved.clone());
            state.modified();
            replaced
        };
        let old = {
            let mut state = self.0.state.lock();
            let filler = if exchange { replaced.clone() } else { whiteout };
            let old = match filler {
                Some(filler) => state.entries.put(name, filler),
                None => state.entries.take(name),
            };
            state.modified();
            old
        };
        let is_dir = |n: &Arc<Node>| n.kind == FileType::Dir;
        if is_dir(node) && !Arc::ptr_eq(&self.0, to) {
            self.0.count_subdirs(-1);
            to.count_subdirs(1);
            node.set_parent(to.ino);
        }
        match other {
            Some(other) if exchange => {
                if is_dir(other) && !Arc::ptr_eq(&self.0, to) {
                    to.count_subdirs(-1);
                    self.0.count_subdirs(1);
                    other.set_parent(self.0.ino);
                }
                other.state.lock().ctime = kernel::time::now();
            }
            Some(other) => {
                if is_dir(other) {
                    to.count_subdirs(-1);
                }
                other.drop_link();
            }
            None => {}
        }
        node.state.lock().ctime = kernel::time::now();
        drop((replaced, old));
        Ok(())
    }

    fn tmpfile(&self, _io: &mut Io<'_>, new: &NewNode<'_>) -> Op<Arc<Inode>> {
        let inode = self.0.make(new)?;
        if let Some(ops) = inode.ops_as::<NodeOps>() {
            ops.0.state.lock().nlink = 0;
        }
        Ok(inode)
    }
}

/// Gives a folder's entries to a sink, with `part` (`Entries::part`) called for some at a time: a long listing holds no lock while a sink does
/// what it does.
pub(crate) fn list(
    ino: u64,
    parent: u64,
    from: u64,
    to: &mut dyn DirSink,
    part: impl Fn(u64) -> Vec<(u64, Arc<[u8]>, u64, FileType)>,
) {
    if from == 0 && !to.entry(b".", ino, FileType::Dir, 1) || from <= 1 && !to.entry(b"..", parent, FileType::Dir, 2) {
        return;
    }
    let mut next = from.max(2);
    loop {
        let some = part(next);
        let Some((last, ..)) = some.last() else { return };
        next = last + 1;
        for (at, name, ino, kind) in &some {
            if !to.entry(name, *ino, *kind, at + 1) {
                return;
            }
        }
    }
}

/// An open folder.
pub(super) struct OpenDir {
    pub node: Arc<Node>,
}

impl FileOps for OpenDir {
    fn list(&self, _io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        let parent = self.node.state.lock().entries.parent;
        list(self.node.ino, parent, from, to, |from| self.node.state.lock().entries.part(from));
        Ok(())
    }

    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
