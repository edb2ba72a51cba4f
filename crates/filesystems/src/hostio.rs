//! Reading and writing files of the host's disks, which may sleep, from the kernel process.
//!
//! Neighbours: `gofer::file` and `tmpfs::file` use it. Owns no locks.

use abi::Errno;
use host::{HostFd, file};
use kernel::block_in_place;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The host may make writes of at least so many bytes wait for the disk.
const LARGE_WRITE: usize = 64 << 10;

/// Host calls on a local file system that mostly find in memory what they want, where nobody can be asked beforehand whether they will. They are made at
/// once as long as none has taken long; after one that has, the next ones hand over first.
#[derive(Default)]
pub(crate) struct Patience(AtomicU32);

/// Nanoseconds: more than a call takes that has not waited for a disk.
const LONG: u64 = 100_000;
/// Calls that hand over after one that took long: not many, for on a busy machine it was perhaps not the disk.
const CAUTIOUS: u32 = 8;

impl Patience {
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        let left = self.0.load(Ordering::Relaxed);
        let timed = || {
            let begun = kernel::time::monotonic();
            (call(), kernel::time::monotonic().saturating_sub(begun))
        };
        let (result, took) = if left > 0 { block_in_place(timed) } else { timed() };
        if took > LONG {
            self.0.store(CAUTIOUS, Ordering::Relaxed);
        } else if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
        }
        result
    }
}

/// Reads and writes of files of one host file system; `local`: that is on a disk ([`is_local`]).
#[derive(Default)]
pub(crate) struct PageCache {
    /// preadv2(2) cannot read what is cached and nothing else: an overlay of the host, for one.
    asks_nothing: AtomicBool,
    reads: Patience,
    writes: Patience,
}

impl PageCache {
    /// Reads what there is in the page cache, else waits for the disk. Less than was asked for is not the file's end:
    /// what follows may be a hole, or still on the disk. Only 0 is.
    pub fn read(&self, fd: &HostFd, into: &mut [u8], offset: u64, local: bool) -> Result<usize, Errno> {
        if !self.asks_nothing.load(Ordering::Relaxed) {
            match file::read_at_nowait(fd, into, offset) {
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => self.asks_nothing.store(true, Ordering::Relaxed),
                Err(Errno::EAGAIN | Errno::EINTR) => return block_in_place(|| file::read_at(fd, into, offset)),
                answer => return answer,
            }
        }
        let read = || file::read_at(fd, into, offset);
        if local { self.reads.call(read) } else { block_in_place(read) }
    }

    /// Writes at an offset, or at the end: how much.
    pub fn write(&self, fd: &HostFd, from: &[u8], at: Option<u64>, local: bool) -> Result<usize, Errno> {
        let write = || match at {
            Some(offset) => file::write_at(fd, from, offset),
            None => file::append(fd, from),
        };
        match (from.len() >= LARGE_WRITE, local) {
            (false, _) => write(),
            (true, true) => self.writes.call(write),
            (true, false) => block_in_place(write),
        }
    }
}

/// File systems whose pages never wait for a network or for another process, by statfs' magic.
pub(crate) fn is_local(magic: u64) -> bool {
    matches!(
        u32::try_from(magic).unwrap_or(0),
        0xef53 // ext2, ext3, ext4
            | 0x5846_5342 // xfs
            | 0x9123_683e // btrfs
            | 0x0102_1994 // tmpfs
            | 0x8584_58f6 // ramfs
            | 0x794c_7630 // overlayfs: container hosts have their layers on local disks
            | 0xf2f5_2010 // f2fs
            | 0xca45_1a4e // bcachefs
            | 0x2fc1_2fc1 // zfs
            | 0x7371_7368 // squashfs
            | 0xe0f5_e1e2 // erofs
            | 0x9660 // iso9660
            | 0x4d44 // vfat
    )
}
