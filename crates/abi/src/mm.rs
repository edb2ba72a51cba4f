//! Memory maps: mmap(2), mprotect(2), mremap(2), madvise(2), msync(2), mlock(2), memfd_create(2).
//!
//! Neighbours: `fs` for F_SEAL_*, `task` for RLIMIT_*.

use bitflags::bitflags;

pub use linux_raw_sys::general::{
    MADV_COLD, MADV_COLLAPSE, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED,
    MADV_DONTNEED_LOCKED, MADV_FREE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE, MADV_HUGEPAGE, MADV_HWPOISON,
    MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MADV_RANDOM, MADV_REMOVE, MADV_SEQUENTIAL, MADV_SOFT_OFFLINE, MADV_UNMERGEABLE, MADV_WILLNEED,
    MADV_WIPEONFORK,
};
pub use linux_raw_sys::general::{
    MAP_32BIT, MAP_ANONYMOUS, MAP_DENYWRITE, MAP_DROPPABLE, MAP_EXECUTABLE, MAP_FIXED, MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN, MAP_HUGE_MASK, MAP_HUGE_SHIFT, MAP_HUGETLB, MAP_LOCKED, MAP_NONBLOCK, MAP_NORESERVE, MAP_POPULATE,
    MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_STACK, MAP_SYNC, MAP_TYPE, MAP_UNINITIALIZED,
};
pub use linux_raw_sys::general::{MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT};
pub use linux_raw_sys::general::{
    MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGE_1GB, MFD_HUGE_1MB, MFD_HUGE_2GB, MFD_HUGE_2MB, MFD_HUGE_8MB,
    MFD_HUGE_16GB, MFD_HUGE_16MB, MFD_HUGE_32MB, MFD_HUGE_64KB, MFD_HUGE_256MB, MFD_HUGE_512KB, MFD_HUGE_512MB,
    MFD_HUGE_MASK, MFD_HUGE_SHIFT, MFD_HUGETLB, MFD_NOEXEC_SEAL,
};
pub use linux_raw_sys::general::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};
pub use linux_raw_sys::general::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};
pub use linux_raw_sys::general::{PKEY_ACCESS_MASK, PKEY_DISABLE_ACCESS, PKEY_DISABLE_WRITE, PKEY_UNRESTRICTED};
pub use linux_raw_sys::general::{PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_NONE, PROT_READ, PROT_SEM, PROT_WRITE};
// membarrier(2); the ABI's names without the private and global distinction in front.
pub const MEMBARRIER_CMD_QUERY: u32 = 0;
pub const MEMBARRIER_CMD_GLOBAL: u32 = 1 << 0;
pub const MEMBARRIER_CMD_GLOBAL_EXPEDITED: u32 = 1 << 1;
pub const MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED: u32 = 1 << 3;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 5;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 6;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ: u32 = 1 << 7;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ: u32 = 1 << 8;

/// Bytes of a page; the host's and the guest's are the same on x86-64.
pub const PAGE_SIZE: u64 = 4096;
/// One more than the highest address of user space with four-level page tables.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

bitflags! {
    /// Protection of a mapping, PROT_* of mmap(2) and mprotect(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Prot: u32 {
        const READ = PROT_READ;
        const WRITE = PROT_WRITE;
        const EXEC = PROT_EXEC;
    }
}

bitflags! {
    /// Flags of mmap(2). The low four bits (MAP_TYPE) are a number: see `MapFlags::shared`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MapFlags: u32 {
        const SHARED = MAP_SHARED;
        const PRIVATE = MAP_PRIVATE;
        const FIXED = MAP_FIXED;
        const ANONYMOUS = MAP_ANONYMOUS;
        const BIT32 = MAP_32BIT;
        const GROWSDOWN = MAP_GROWSDOWN;
        const DENYWRITE = MAP_DENYWRITE;
        const EXECUTABLE = MAP_EXECUTABLE;
        const LOCKED = MAP_LOCKED;
        const NORESERVE = MAP_NORESERVE;
        const POPULATE = MAP_POPULATE;
        const NONBLOCK = MAP_NONBLOCK;
        const STACK = MAP_STACK;
        const HUGETLB = MAP_HUGETLB;
        const SYNC = MAP_SYNC;
        const FIXED_NOREPLACE = MAP_FIXED_NOREPLACE;
    }
}

impl MapFlags {
    /// MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE or MAP_DROPPABLE, or a number that mmap refuses with EINVAL.
    pub const fn kind(self) -> u32 {
        self.bits() & MAP_TYPE
    }
}

/// The start of the page that holds `at`.
pub const fn page_down(at: u64) -> u64 {
    at & !(PAGE_SIZE - 1)
}

/// `at` rounded up to a page; `None` on overflow.
pub const fn page_up(at: u64) -> Option<u64> {
    match at.checked_add(PAGE_SIZE - 1) {
        Some(x) => Some(x & !(PAGE_SIZE - 1)),
        None => None,
    }
}

/// True if `at` is the start of a page.
pub const fn page_aligned(at: u64) -> bool {
    at & (PAGE_SIZE - 1) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        assert_eq!(page_down(4097), 4096);
        assert_eq!(page_up(4097), Some(8192));
        assert_eq!(page_up(u64::MAX), None);
        assert_eq!(MapFlags::from_bits_retain(MAP_SHARED_VALIDATE | MAP_FIXED).kind(), MAP_SHARED_VALIDATE);
    }
}
