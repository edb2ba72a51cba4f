//! Descriptor tables, open(2), dup(2), fcntl(2). A descriptor that goes takes the process' POSIX locks on its file with it (`vfs::locks`).
//! Locks: `FdTableState`; files are dropped after it is released.

use crate::lent;
use crate::locks::FdTableState;
use crate::op::{Op, fail};
use crate::vfs::{File, locks};
use abi::Errno;
use lock::Mutex;
use std::sync::Arc;

/// A descriptor: a file and the close-on-exec flag.
#[derive(Clone)]
pub struct Fd {
    pub file: Arc<File>,
    pub cloexec: bool,
}

/// The descriptors of a process, shared by tasks with CLONE_FILES.
pub struct FdTable {
    /// Owner of its POSIX locks.
    pub id: u64,
    slots: Mutex<Vec<Option<Fd>>, FdTableState>,
}

impl Default for FdTable {
    fn default() -> FdTable {
        FdTable { id: crate::unique_id(), slots: Mutex::new(Vec::new()) }
    }
}

impl FdTable {
    /// A copy, as fork(2) makes it.
    pub fn copy(&self) -> FdTable {
        FdTable { id: crate::unique_id(), slots: Mutex::new(self.slots.lock().clone()) }
    }

    /// EBADF where there is none. O_PATH files count.
    pub fn get(&self, fd: i32) -> Op<Arc<File>> {
        Ok(self.entry(fd)?.file)
    }

    pub fn entry(&self, fd: i32) -> Op<Fd> {
        let slots = self.slots.lock();
        usize::try_from(fd).ok().and_then(|at| slots.get(at)?.clone()).ok_or(Errno::EBADF.into())
    }

    /// Does it if the descriptor stands for this file; nobody changes that meanwhile.
    pub fn if_there(&self, fd: i32, file: &Arc<File>, then: impl FnOnce()) {
        let slots = self.slots.lock();
        let slot = usize::try_from(fd).ok().and_then(|at| slots.get(at)?.as_ref());
        if slot.is_some_and(|slot| Arc::ptr_eq(&slot.file, file)) {
            then();
        }
    }

    /// The lowest free number from `from` on; EMFILE when it would reach `limit` (RLIMIT_NOFILE).
    pub fn add(&self, file: Arc<File>, cloexec: bool, from: i32, limit: u64) -> Op<i32> {
        let mut slots = self.slots.lock();
        let at = Self::free_slot(&slots, from as usize);
        if at as u64 >= limit.min(1 << 20) {
            drop(slots);
            return fail(Errno::EMFILE);
        }
        Self::put(&mut slots, at, Fd { file, cloexec });
        Ok(at as i32)
    }

    /// Whether `add` would find a number below `limit` now: asked before a file is made that then had no descriptor.
    pub fn has_room(&self, limit: u64) -> bool {
        let slots = self.slots.lock();
        (slots.len() as u64) < limit || (Self::free_slot(&slots, 0) as u64) < limit.min(1 << 20)
    }

    /// Several at once or none: pipe(2), socketpair(2).
    pub fn add_pair(&self, files: [Arc<File>; 2], cloexec: bool, limit: u64) -> Op<[i32; 2]> {
        let mut slots = self.slots.lock();
        let first = Self::free_slot(&slots, 0);
        let second = Self::free_slot(&slots, first + 1);
        if second as u64 >= limit.min(1 << 20) {
            drop(slots);
            return fail(Errno::EMFILE);
        }
        let [a, b] = files;
        Self::put(&mut slots, first, Fd { file: a, cloexec });
        Self::put(&mut slots, second, Fd { file: b, cloexec });
        Ok([first as i32, second as i32])
    }

    /// dup2(2): puts the file at `fd` and returns what was there.
    pub fn replace(&self, fd: i32, file: Arc<File>, cloexec: bool, limit: u64) -> Op<Option<Arc<File>>> {
        let at = usize::try_from(fd).ok().filter(|at| (*at as u64) < limit.min(1 << 20)).ok_or(Errno::EBADF)?;
        let old = {
            let mut slots = self.slots.lock();
            Self::put(&mut slots, at, Fd { file, cloexec }).map(|old| old.file)
        };
        if let Some(old) = &old {
            closed(old, self.id, fd);
        }
        Ok(old)
    }

    /// Takes a descriptor out; the caller drops the file without locks.
    pub fn remove(&self, fd: i32) -> Op<Arc<File>> {
        let file = {
            let mut slots = self.slots.lock();
            let slot = usize::try_from(fd).ok().and_then(|at| slots.get_mut(at));
            slot.and_then(Option::take).map(|fd| fd.file).ok_or(Errno::EBADF)?
        };
        closed(&file, self.id, fd);
        Ok(file)
    }

    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Op<()> {
        let mut slots = self.slots.lock();
        let slot = usize::try_from(fd).ok().and_then(|at| slots.get_mut(at)?.as_mut());
        slot.map(|fd| fd.cloexec = cloexec).ok_or(Errno::EBADF.into())
    }

    /// Takes out all that `which` says: exec's close-on-exec, close_range(2), exit.
    pub fn remove_where(&self, which: impl Fn(i32, &Fd) -> bool) -> Vec<Arc<File>> {
        let mut out = Vec::new();
        let mut slots = self.slots.lock();
        for (at, slot) in slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|fd| which(at as i32, fd))
                && let Some(fd) = slot.take()
            {
                out.push((at as i32, fd.file));
            }
        }
        drop(slots);
        for (fd, file) in &out {
            closed(file, self.id, *fd);
        }
        out.into_iter().map(|(_, file)| file).collect()
    }

    /// Open descriptors in order, for /proc/PID/fd.
    pub fn list(&self) -> Vec<(i32, Fd)> {
        let slots = self.slots.lock();
        slots.iter().enumerate().filter_map(|(at, fd)| Some((at as i32, fd.clone()?))).collect()
    }

    /// Changes each descriptor's flag, for close_range(2) with CLOSE_RANGE_CLOEXEC.
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        let mut slots = self.slots.lock();
        for (at, slot) in slots.iter_mut().enumerate() {
            if (first as usize..=last as usize).contains(&at)
                && let Some(fd) = slot
            {
                fd.cloexec = true;
            }
        }
    }

    fn free_slot(slots: &[Option<Fd>], from: usize) -> usize {
        (from..slots.len()).find(|at| slots.get(*at).is_some_and(Option::is_none)).unwrap_or(slots.len().max(from))
    }

    fn put(slots: &mut Vec<Option<Fd>>, at: usize, fd: Fd) -> Option<Fd> {
        if at >= slots.len() {
            slots.resize_with(at + 1, || None);
        }
        slots.get_mut(at).and_then(|slot| slot.replace(fd))
    }
}

/// A descriptor of `file` went from a table.
fn closed(file: &Arc<File>, table: u64, fd: i32) {
    lent::descriptor_gone(table, fd);
    locks::closed(file, table);
    file.ops.descriptor_closed(table);
}

impl Drop for FdTable {
    fn drop(&mut self) {
        for (at, slot) in self.slots.get_mut().drain(..).enumerate() {
            if let Some(fd) = slot {
                closed(&fd.file, self.id, at as i32);
            }
        }
        locks::table_gone(self.id);
    }
}
