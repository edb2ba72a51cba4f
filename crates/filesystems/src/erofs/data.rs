//! Where a file's bytes are in the image.

use super::image::{Image, number};
use super::inode::{Layout, Meta};
use abi::Errno;
use kernel::op::{Op, fail};

/// Bytes of a file that lie in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where, within the image; none: a hole.
    pub at: Option<u64>,
    pub len: u64,
}

/// A chunk that is a hole.
const HOLE: u64 = 0xffff_ffff;

impl Image {
    /// What is at `offset` of a file, which is before its end: not empty, and within the image.
    pub fn extent(&self, meta: &Meta, offset: u64) -> Op<Extent> {
        let Some(left) = meta.size.checked_sub(offset).filter(|left| *left > 0) else { return fail(Errno::EINVAL) };
        let found = match meta.layout {
            Layout::Plain(start) => Extent { at: start.checked_add(offset), len: left },
            Layout::Inline(start) => {
                let whole = (meta.size - 1) >> self.block_bits() << self.block_bits();
                if offset < whole {
                    Extent { at: start.checked_add(offset), len: whole - offset }
                } else {
                    let tail = meta.behind();
                    // It lies in one block.
                    if tail % self.block_size() + (meta.size - whole) > self.block_size() {
                        return fail(Errno::EUCLEAN);
                    }
                    Extent { at: tail.checked_add(offset - whole), len: left }
                }
            }
            Layout::Chunks { bits, wide } => {
                let unit = if wide { 8 } else { 4 };
                let (index, within) = (offset >> bits, offset & ((1 << bits) - 1));
                let list = meta.behind().next_multiple_of(unit);
                let Some(entry) = index.checked_mul(unit).and_then(|at| at.checked_add(list)) else {
                    return fail(Errno::EUCLEAN);
                };
                let mut raw = [0; 8];
                self.read(entry, raw.get_mut(..unit as usize).unwrap_or_default())?;
                let block = if wide { number::<4>(&raw, 4)? } else { number::<4>(&raw, 0)? };
                if wide && number::<2>(&raw, 2)? != 0 {
                    // On another device.
                    return fail(Errno::EOPNOTSUPP);
                }
                let at = if block == HOLE { None } else { (block << self.block_bits()).checked_add(within) };
                return self.bounded(Extent { at, len: left.min((1 << bits) - within) }, block == HOLE);
            }
            Layout::Unsupported => return fail(Errno::EOPNOTSUPP),
        };
        self.bounded(found, false)
    }

    fn bounded(&self, extent: Extent, hole: bool) -> Op<Extent> {
        match extent.at {
            Some(at) => self.check(at, extent.len).map(|()| extent),
            None if hole => Ok(extent),
            None => fail(Errno::EUCLEAN),
        }
    }

    /// Fills a prefix of `into` from `offset` of a file; 0 at its end.
    pub fn read_data(&self, meta: &Meta, offset: u64, into: &mut [u8]) -> Op<usize> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            if at >= meta.size {
                break;
            }
            let extent = self.extent(meta, at)?;
            let count = usize::try_from(extent.len).unwrap_or(usize::MAX).min(rest.len());
            let part = rest.get_mut(..count).unwrap_or_default();
            match extent.at {
                Some(place) => self.read(place, part)?,
                None => part.fill(0),
            }
            done += count;
        }
        Ok(done)
    }
}
