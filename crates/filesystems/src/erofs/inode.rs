//! On-disk inodes, compact and extended.

use super::image::{Image, number};
use abi::Errno;
use abi::time::Timespec;
use kernel::op::{Op, fail};
use kernel::vfs::FileType;

/// Bytes between two inode numbers.
const SLOT: u64 = 32;

/// How a file's contents lie in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// From this place on, in one piece.
    Plain(u64),
    /// Whole blocks from this place on; what is left, if anything, behind the inode.
    Inline(u64),
    /// In chunks of 2^n bytes, listed behind the inode: with `wide` in entries of 8 bytes, else of 4.
    Chunks { bits: u32, wide: bool },
    /// Compressed.
    Unsupported,
}

/// An inode as it was read and checked.
#[derive(Clone, Debug)]
pub struct Meta {
    pub number: u64,
    pub kind: FileType,
    pub perm: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub rdev: u64,
    pub mtime: Timespec,
    pub layout: Layout,
    /// Where its extended attributes begin, and their bytes.
    pub xattrs: (u64, u64),
}

impl Meta {
    /// Where what lies behind inode and attributes begins.
    pub fn behind(&self) -> u64 {
        self.xattrs.0 + self.xattrs.1
    }
}

impl Image {
    /// Reads the inode of a number. EUCLEAN where there can be none.
    pub fn inode(&self, nid: u64) -> Op<Meta> {
        let Some(at) = nid.checked_mul(SLOT).and_then(|at| at.checked_add(self.inodes)) else {
            return fail(Errno::EUCLEAN);
        };
        let mut raw = [0; 64];
        self.read(at, raw.get_mut(..32).unwrap_or_default())?;
        let format = number::<2>(&raw, 0)?;
        let extended = format & 1 != 0;
        if extended {
            self.read(at, &mut raw)?;
            // It may have changed since.
            if number::<2>(&raw, 0)? != format {
                return fail(Errno::EUCLEAN);
            }
        }
        let head = if extended { 64 } else { 32 };
        let mode = number::<2>(&raw, 4)? as u32;
        let Some(kind) = FileType::from_mode(mode) else { return fail(Errno::EUCLEAN) };
        let count = number::<2>(&raw, 2)?;
        // A header of 12 bytes, then units of 4; the first unit is counted in the header.
        let xattrs = if count == 0 { 0 } else { 12 + (count - 1) * 4 };
        let place = number::<4>(&raw, 16)?;
        let (built, built_nsec) = self.built;
        let (size, nlink, uid, gid, sec, nsec) = if extended {
            (
                number::<8>(&raw, 8)?,
                number::<4>(&raw, 44)?,
                number::<4>(&raw, 24)?,
                number::<4>(&raw, 28)?,
                number::<8>(&raw, 32)? as i64,
                number::<4>(&raw, 40)? as u32,
            )
        } else {
            (
                number::<4>(&raw, 8)?,
                number::<2>(&raw, 6)?,
                number::<2>(&raw, 24)?,
                number::<2>(&raw, 26)?,
                built,
                built_nsec,
            )
        };
        if size > i64::MAX as u64 || format >> 4 != 0 {
            return fail(Errno::EUCLEAN);
        }
        let layout = match format >> 1 & 7 {
            0 => Layout::Plain(place << self.block_bits()),
            2 => Layout::Inline(place << self.block_bits()),
            4 => {
                let chunks = place as u32 & 0xffff;
                if chunks & !0x3f != 0 {
                    return fail(Errno::EUCLEAN);
                }
                Layout::Chunks { bits: self.block_bits() + (chunks & 0x1f), wide: chunks & 0x20 != 0 }
            }
            1 | 3 => Layout::Unsupported,
            _ => return fail(Errno::EUCLEAN),
        };
        let device = matches!(kind, FileType::Char | FileType::Block);
        let rdev = abi::fs::makedev((place >> 8 & 0xfff) as u32, (place & 0xff | place >> 12 & 0xfff00) as u32);
        Ok(Meta {
            number: nid,
            kind,
            perm: mode & 0o7777,
            nlink: nlink as u32,
            uid: uid as u32,
            gid: gid as u32,
            size,
            rdev: if device { rdev } else { 0 },
            mtime: Timespec { tv_sec: sec, tv_nsec: nsec.min(999_999_999).into() },
            layout,
            xattrs: (at + head, xattrs),
        })
    }
}
