//! What a place in memory is, whoever maps it: the keys of shared futexes, futex(2).

use super::Mm;
use super::area::Content;
use crate::vfs::Inode;
use abi::mm::Prot;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place in an object.
#[derive(Clone)]
pub enum Place {
    /// In this address space alone.
    Own { mm: Arc<Mm>, addr: u64 },
    /// In shared anonymous memory.
    Anonymous { object: u64, offset: u64 },
    /// In a file that is mapped shared.
    File { inode: Arc<Inode>, offset: u64 },
}

impl Place {
    fn parts(&self) -> (u8, u64, u64) {
        match self {
            Place::Own { mm, addr } => (0, Arc::as_ptr(mm).addr() as u64, *addr),
            Place::Anonymous { object, offset } => (1, *object, *offset),
            Place::File { inode, offset } => (2, Arc::as_ptr(inode).addr() as u64, *offset),
        }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.parts() == other.parts()
    }
}
impl Eq for Place {}
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// A new object.
pub(super) fn anonymous() -> Content {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Content::SharedAnonymous { object: NEXT.fetch_add(1, Ordering::Relaxed), offset: 0 }
}

impl Mm {
    /// What is at `addr`; None where nothing is that can be read (in the arena, only the access tells).
    pub fn place(self: &Arc<Mm>, addr: u64) -> Option<Place> {
        if self.space().arena().contains(&addr) {
            // What the guest maps there by itself is private.
            if self.area_at(addr).is_none_or(|area| matches!(area.content, Content::Anonymous)) {
                return Some(Place::Own { mm: self.clone(), addr });
            }
            self.refresh();
        }
        let area = self.area_at(addr).filter(|a| a.prot.contains(Prot::READ))?;
        let into = addr - area.range.start;
        Some(match area.content {
            Content::SharedAnonymous { object, offset } => {
                Place::Anonymous { object, offset: offset.wrapping_add(into) }
            }
            Content::File(ref f) if area.shared() && f.file.inode.is_some() => {
                let inode = f.file.inode.clone()?;
                Place::File { inode, offset: f.offset.wrapping_add(into) }
            }
            _ => Place::Own { mm: self.clone(), addr },
        })
    }
}
