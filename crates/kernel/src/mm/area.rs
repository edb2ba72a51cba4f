//! One memory area (Linux: VMA): a range of addresses with one protection and one thing behind it. proc_pid_maps(5).

use crate::vfs::File;
use abi::mm::Prot;
use bitflags::bitflags;
use std::ops::Range;
use std::sync::Arc;

bitflags! {
    /// What an area is besides its protection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AreaFlags: u32 {
        /// MAP_SHARED.
        const SHARED = 1 << 0;
        /// MAP_GROWSDOWN: a stack. It is mapped whole, so it never grows; other maps keep a distance below it.
        const GROWSDOWN = 1 << 1;
        /// mlock(2): counted against RLIMIT_MEMLOCK. The host is not asked to lock.
        const LOCKED = 1 << 2;
        const LOCK_ONFAULT = 1 << 3;
        const NORESERVE = 1 << 4;
        /// madvise(2). The host keeps the first two as well: its fork does the work.
        const DONTFORK = 1 << 5;
        const WIPEONFORK = 1 << 6;
        const DONTDUMP = 1 << 7;
        const HUGEPAGE = 1 << 8;
        const NOHUGEPAGE = 1 << 9;
        const SEQUENTIAL = 1 << 10;
        const RANDOM = 1 << 11;
        /// mseal(2): neither place, size nor protection may change. [vdso] and [vvar] are sealed from the start.
        const SEALED = 1 << 12;
    }
}

/// What is behind an area.
#[derive(Clone)]
pub enum Content {
    /// Private anonymous memory.
    Anonymous,
    /// Anonymous memory that forked children share: the host's own kind of it. Each mmap(2) makes another object.
    SharedAnonymous { object: u64, offset: u64 },
    /// A file from an offset on.
    File(FileContent),
    /// A mapping of the host's that every address space has, such as "[vdso]".
    Special(&'static str),
}

/// A file behind an area.
#[derive(Clone)]
pub struct FileContent {
    /// Keeps the open file description as long as the map.
    pub file: Arc<File>,
    /// Offset of the area's first byte, a multiple of the page size.
    pub offset: u64,
    /// On a host file system of the allow-list, so that reading the mapping from outside cannot block for ever.
    pub local: bool,
}

/// A memory area.
#[derive(Clone)]
pub struct Area {
    /// Page-aligned, not empty.
    pub range: Range<u64>,
    pub prot: Prot,
    /// What mprotect(2) may set: a shared mapping of a file that is open for reading only never becomes writable.
    pub max_prot: Prot,
    pub flags: AreaFlags,
    pub content: Content,
    /// A name by prctl(2) PR_SET_VMA_ANON_NAME.
    pub name: Option<Arc<str>>,
}

/// Bytes below a stack that stay unmapped.
pub const STACK_GUARD: u64 = 256 * 4096;

impl Area {
    /// Bytes; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    /// The lowest address that this area keeps others from: its start, and for stacks the guard below it.
    pub fn floor(&self) -> u64 {
        if self.flags.contains(AreaFlags::GROWSDOWN) {
            self.range.start.saturating_sub(STACK_GUARD)
        } else {
            self.range.start
        }
    }

    /// Whether it counts as data (RLIMIT_DATA): private, writable, no stack.
    pub fn is_data(&self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.shared() && !self.flags.contains(AreaFlags::GROWSDOWN)
    }

    /// The part of the area within `range`, which overlaps it.
    pub fn cut(&self, range: &Range<u64>) -> Area {
        let start = self.range.start.max(range.start);
        let end = self.range.end.min(range.end);
        let mut part = self.clone();
        match &mut part.content {
            Content::File(FileContent { offset, .. }) | Content::SharedAnonymous { offset, .. } => {
                *offset = offset.wrapping_add(start - self.range.start);
            }
            Content::Anonymous | Content::Special(_) => {}
        }
        part.range = start..end;
        part
    }

    /// Whether `next`, which begins where this ends, continues it in every respect.
    pub fn continues(&self, next: &Area) -> bool {
        self.range.end == next.range.start
            && self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.flags == next.flags
            && self.name == next.name
            && match (&self.content, &next.content) {
                (Content::Anonymous, Content::Anonymous) => true,
                (
                    Content::SharedAnonymous { object, offset },
                    Content::SharedAnonymous { object: other, offset: next },
                ) => object == other && offset.checked_add(self.len()) == Some(*next),
                (Content::File(a), Content::File(b)) => {
                    Arc::ptr_eq(&a.file, &b.file)
                        && a.local == b.local
                        && a.offset.checked_add(self.len()) == Some(b.offset)
                }
                _ => false,
            }
    }
}
