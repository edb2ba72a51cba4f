//! Reading and writing files of the host's disks, which may sleep, from the kernel process.
//!
//! Neighbours: `gofer::file` and `tmpfs::file` use it. Owns no locks.

use abi::Errno;
use host::{HostFd, file};
use kernel::block_in_place;

/// Writes of at least so many bytes hand over first: the host may make them wait for the disk.
const LARGE_WRITE: usize = 64 << 10;

/// Reads what there is in the page cache, else waits for the disk.
pub(crate) fn read_some(fd: &HostFd, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    match file::read_at_nowait(fd, into, offset) {
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::EINTR | Errno::ENOSYS) => {
            block_in_place(|| file::read_at(fd, into, offset))
        }
        answer => answer,
    }
}

/// Writes at an offset, or at the end.
pub(crate) fn write_some(fd: &HostFd, from: &[u8], at: Option<u64>) -> Result<usize, Errno> {
    let write = || match at {
        Some(offset) => file::write_at(fd, from, offset),
        None => file::append(fd, from),
    };
    if from.len() >= LARGE_WRITE { block_in_place(write) } else { write() }
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
