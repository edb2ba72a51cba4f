//! Events of fanotify: what they are about, how they merge, the bytes that read(2) gives. fanotify(7), "Reading fanotify events".

use crate::io::Io;
use crate::op::{Op, fail};
use crate::task::{Pid, Resource, Task};
use crate::vfs::listen::Happened;
use crate::vfs::{Dentry, File, FileType, HANDLE_LEN, HANDLE_TYPE, Inode, Path, encode_handle};
use abi::Errno;
use abi::fanotify::*;
use abi::fs::OpenFlags;
use abi::inotify::IN_ISDIR;
use smallvec::SmallVec;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// A record after an event's head: an inode by its handle, perhaps with a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Id {
    kind: u8,
    fs: u64,
    handle: u64,
    name: Option<Box<[u8]>>,
}

/// info header, fsid, file_handle without its bytes.
const ID_HEAD: usize = 4 + 8 + 8;

impl Id {
    fn len(&self) -> usize {
        let name = self.name.as_ref().map_or(0, |n| n.len() + 1);
        (ID_HEAD + HANDLE_LEN + name).next_multiple_of(4)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len();
        out.extend_from_slice(&[self.kind, 0]);
        out.extend_from_slice(&(self.len() as u16).to_ne_bytes());
        out.extend_from_slice(&self.fs.to_ne_bytes());
        out.extend_from_slice(&(HANDLE_LEN as u32).to_ne_bytes());
        out.extend_from_slice(&HANDLE_TYPE.to_ne_bytes());
        out.extend_from_slice(&encode_handle(self.handle));
        out.extend_from_slice(self.name.as_deref().unwrap_or_default());
        out.resize(end, 0);
    }
}

/// An event.
pub(super) struct Event {
    pub mask: u64,
    pub pid: Option<Arc<Pid>>,
    /// What a descriptor is opened of.
    pub path: Option<Path>,
    ids: SmallVec<[Id; 2]>,
}

/// The event for a group with these flags; None where it cannot tell of it.
pub(super) fn make(
    flags: u32,
    what: &Happened<'_>,
    mask: u64,
    parent: Option<&Arc<Dentry>>,
    pid: Option<Arc<Pid>>,
) -> Option<Event> {
    if flags & (FAN_REPORT_FID | FAN_REPORT_DIR_FID) == 0 {
        let path = what.path.filter(|_| what.name.is_none())?.clone();
        return Some(Event { mask, pid, path: Some(path), ids: SmallVec::new() });
    }
    let of_dir = u64::from(what.mask & IN_ISDIR);
    let mut ids = SmallVec::new();
    let id = |kind: u8, inode: &Arc<Inode>, dentry: Option<&Arc<Dentry>>, name: Option<&[u8]>| {
        let handle = inode.fs.handle(inode, dentry).ok()?;
        Some(Id { kind, fs: inode.fs.dev, handle, name: name.map(Into::into) })
    };
    let dentry = what.path.map(|p| &p.dentry);
    let with_dir = flags & FAN_REPORT_DIR_FID != 0;
    let with_name = flags & FAN_REPORT_NAME != 0;
    let dir_kind = if with_name { FAN_EVENT_INFO_TYPE_DFID_NAME } else { FAN_EVENT_INFO_TYPE_DFID };
    let named = |name| Some(name).filter(|_| with_name);
    match what.name {
        // A name of a folder changed.
        Some(name) if with_dir => ids.extend(id(dir_kind, what.inode, dentry, named(name))),
        Some(_) => ids.extend(id(FAN_EVENT_INFO_TYPE_FID, what.inode, dentry, None)),
        None if with_dir && what.inode.kind == FileType::Dir => {
            ids.extend(id(dir_kind, what.inode, dentry, named(b".")));
        }
        None => {
            if with_dir
                && let Some((parent, dir)) = parent.and_then(|p| Some((p, p.inode()?)))
                && let Some(dentry) = dentry
            {
                let name = dentry.name();
                ids.extend(id(dir_kind, &dir, Some(parent), named(&name)));
            }
            if flags & FAN_REPORT_FID != 0 {
                ids.extend(id(FAN_EVENT_INFO_TYPE_FID, what.inode, dentry, None));
            }
        }
    }
    (!ids.is_empty()).then_some(Event { mask: mask | of_dir, pid, path: None, ids })
}

impl Event {
    pub fn overflow() -> Event {
        Event { mask: FAN_Q_OVERFLOW, pid: None, path: None, ids: SmallVec::new() }
    }

    pub fn len(&self) -> usize {
        size_of::<EventMetadata>() + self.ids.iter().map(Id::len).sum::<usize>()
    }

    /// Takes a later event in, where both are the same process' doing with the same object.
    pub fn merge(&mut self, new: &Event) -> bool {
        let same_pid = match (&self.pid, &new.pid) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let same_path = match (&self.path, &new.path) {
            (Some(a), Some(b)) => a.same(b),
            (None, None) => !self.ids.is_empty(),
            _ => false,
        };
        let same = same_pid && same_path && self.ids == new.ids && (self.mask ^ new.mask) & FAN_ONDIR == 0;
        if same {
            self.mask |= new.mask;
        }
        same
    }

    pub fn encode(&self, fd: i32, pid: i32) -> Vec<u8> {
        let head = EventMetadata {
            event_len: self.len() as u32,
            vers: 3,
            reserved: 0,
            metadata_len: size_of::<EventMetadata>() as u16,
            mask: self.mask,
            fd,
            pid,
        };
        let mut out = head.as_bytes().to_vec();
        self.ids.iter().for_each(|id| id.encode(&mut out));
        out
    }
}

/// A descriptor of the reader's for what an event is about; nothing that is done with it is told.
pub(super) fn open(io: &mut Io<'_>, task: &Task, path: &Path, flags: OpenFlags) -> Op<i32> {
    let inode = path.inode()?;
    let limit = task.group.limit(Resource::Nofile);
    let files = task.files();
    if !files.has_room(limit) {
        return fail(Errno::EMFILE);
    }
    let flags = if inode.kind == FileType::Dir { flags.difference(OpenFlags::RDWR | OpenFlags::WRONLY) } else { flags };
    if flags.writable() && path.mount.read_only() {
        return fail(Errno::EROFS);
    }
    let ops = inode.ops.open(io, &inode, flags)?;
    let file = File::quiet(path.clone(), inode, ops, flags.difference(OpenFlags::CLOEXEC));
    files.add(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)
}
