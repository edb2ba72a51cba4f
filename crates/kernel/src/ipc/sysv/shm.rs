//! Shared memory segments: shmget(2), shmop(2), shmctl(2).
//!
//! A segment is a memfd; an attachment is a shared mapping of it, so that fork, exit and exec do the counting: a segment has two
//! open files at most (for reading and writing, for reading only), which live as long as some map refers to them.

use super::SysV;
use super::limits;
use super::table::{Object, Perm};
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::vfs::{Backing, File, FileOps, Mappable, Rights};
use abi::Errno;
use abi::fs::OpenFlags;
use host::HostFd;
use lock::Mutex;
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The mode bit of a segment that goes with its last attachment.
pub const SHM_DEST: u32 = 0o1000;
/// Of `Perm::mode`: SHM_LOCK was asked for.
pub const SHM_LOCKED: u32 = 0o2000;

/// A segment.
pub struct Segment {
    /// Bytes as asked for.
    pub size: u64,
    fd: Arc<HostFd>,
    pub state: Mutex<SegmentState, Leaf>,
}

/// What changes of a segment. Times in seconds.
pub struct SegmentState {
    pub perm: Perm,
    pub attached_at: i64,
    pub detached_at: i64,
    pub changed_at: i64,
    pub creator: i32,
    /// The last process that attached or detached it.
    pub last: i32,
    /// Whose maker has ended.
    orphan: bool,
    files: [Weak<File>; 2],
}

impl Object for Segment {
    fn with_perm<T>(&self, f: impl FnOnce(&mut Perm) -> T) -> T {
        f(&mut self.state.lock().perm)
    }
    /// Pages.
    fn size(&self) -> u64 {
        self.size.div_ceil(abi::mm::PAGE_SIZE)
    }
}

impl Segment {
    /// A segment of `size` bytes, made by process `creator`. ENFILE where the host leaves us few descriptors.
    pub fn new(size: u64, perm: Perm, creator: i32, now: i64) -> Op<Segment> {
        if host::fd::are_few() {
            return fail(Errno::ENFILE);
        }
        let fd = HostFd::new(host::memory::memfd("SYSV", false)?);
        let pages = abi::mm::page_up(size).ok_or(Errno::EINVAL)?;
        host::file::set_size(&fd, pages)?;
        let files = [Weak::new(), Weak::new()];
        let state = SegmentState {
            perm,
            attached_at: 0,
            detached_at: 0,
            changed_at: now,
            creator,
            last: 0,
            orphan: false,
            files,
        };
        Ok(Segment { size, fd, state: Mutex::new(state) })
    }

    /// How many maps refer to it: shm_nattch.
    pub fn attachments(&self) -> usize {
        self.state.lock().files.iter().map(Weak::strong_count).sum()
    }

    /// What a new attachment maps.
    pub fn open(self: &Arc<Self>, sysv: &Arc<SysV>, id: i32, read_only: bool) -> Arc<File> {
        let mut state = self.state.lock();
        let known = state.files.get(usize::from(read_only)).and_then(Weak::upgrade);
        if let Some(file) = known {
            return file;
        }
        let ops = Arc::new(Attached { segment: self.clone(), id, sysv: Arc::downgrade(sysv) });
        let flags = if read_only { OpenFlags::empty() } else { OpenFlags::RDWR };
        let file = File::anonymous(ops, flags);
        if let Some(slot) = state.files.get_mut(usize::from(read_only)) {
            *slot = Arc::downgrade(&file);
        }
        file
    }

    /// The host file that is mapped.
    pub fn host_file(&self) -> &Arc<HostFd> {
        &self.fd
    }
}

/// The segment that a mapped file belongs to.
pub fn segment_of(file: &File) -> Option<Arc<Segment>> {
    file.ops.as_any().downcast_ref::<Attached>().map(|a| a.segment.clone())
}

/// The file of attachments.
struct Attached {
    segment: Arc<Segment>,
    id: i32,
    sysv: Weak<SysV>,
}

impl FileOps for Attached {
    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }
    fn label(&self) -> Option<String> {
        let key = self.segment.with_perm(|p| p.key);
        Some(format!("/SYSV{key:08x} (deleted)"))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for Attached {
    fn backing(&self, _io: &mut Io<'_>, range: Range<u64>, _rights: Rights) -> Op<Backing> {
        if range.end > abi::mm::page_up(self.segment.size).unwrap_or(0) {
            return fail(Errno::EINVAL);
        }
        Ok(Backing::Host { fd: self.segment.fd.clone(), offset: range.start, local: true })
    }
}

impl Drop for Attached {
    /// The last map of this kind is gone; a segment that is marked for it goes too.
    fn drop(&mut self) {
        let Some(sysv) = self.sysv.upgrade() else { return };
        let marked = self.segment.with_perm(|p| p.mode & SHM_DEST != 0);
        if (marked || sysv.removes_unused()) && self.segment.attachments() == 0 {
            drop(sysv.shm.remove(self.id));
        }
    }
}

/// The segments that a process has made. Dropped at its end, which they may not outlive: shm_rmid_forced of proc_sys_kernel(5).
#[derive(Default)]
pub struct Made(Mutex<Vec<(Weak<SysV>, i32)>, Leaf>);

impl Made {
    pub fn note(&self, sysv: &Arc<SysV>, id: i32) {
        let mut list = std::mem::take(&mut *self.0.lock());
        list.retain(|(sysv, id)| sysv.upgrade().is_some_and(|sysv| sysv.shm.by_id(*id).is_ok()));
        list.push((Arc::downgrade(sysv), id));
        self.0.lock().append(&mut list);
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (sysv, id) in self.0.get_mut().drain(..) {
            let Some(sysv) = sysv.upgrade() else { continue };
            let Ok(segment) = sysv.shm.by_id(id) else { continue };
            segment.state.lock().orphan = true;
            if sysv.removes_unused() && segment.attachments() == 0 {
                drop(sysv.shm.remove(id));
            }
        }
    }
}

impl SysV {
    fn removes_unused(&self) -> bool {
        limits::of(&self.limits.shm_rmid_forced) != 0
    }

    /// What no process has attached whose maker has ended: shm_rmid_forced was set.
    pub fn remove_orphans(&self) {
        for (id, segment) in self.shm.list() {
            if segment.attachments() == 0 && segment.state.lock().orphan {
                drop(self.shm.remove(id));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};
    use crate::task::IpcNs;

    #[test]
    fn a_marked_segment_goes_with_its_last_attachment() {
        let cred = Cred::root(UserNs::initial());
        let sysv = SysV::of(&IpcNs::new(UserNs::initial()));
        let make = || Segment::new(5000, Perm::new(7, 0o600, &cred), 1, 0);
        let id = sysv.shm.get(7, super::super::IPC_CREAT | 0o600, &cred, |_| Ok(()), make).unwrap();
        let segment = sysv.shm.by_id(id).unwrap();
        let (one, two) = (segment.open(&sysv, id, false), segment.open(&sysv, id, false));
        let read_only = segment.open(&sysv, id, true);
        assert_eq!(segment.attachments(), 3);
        assert!(!read_only.writable() && one.writable());
        assert!(Arc::ptr_eq(&segment_of(&one).unwrap(), &segment));
        segment.with_perm(|p| p.mode |= SHM_DEST);
        sysv.shm.forget_key(id);
        drop((one, read_only));
        assert!(sysv.shm.by_id(id).is_ok());
        drop(two);
        assert!(sysv.shm.by_id(id).is_err());
    }
}
