//! The image as a whole: its super block, and reads that stay within it.

use crate::hostio::{PageCache, is_local};
use abi::Errno;
use host::{HostFd, file};
use kernel::op::{Op, fail};
use std::sync::Arc;

/// EROFS_SUPER_MAGIC_V1.
pub const MAGIC: u32 = 0xe0f5_e1e2;
/// Where the super block is.
const SUPER: u64 = 1024;
const SUPER_SIZE: usize = 128;
/// Of the bits of what a reader must know: files in chunks.
const CHUNKED: u32 = 0x4;
/// Those that come with compression: padded, configured, packed tails, fragments.
const COMPRESSED: u32 = 0x1 | 0x2 | 0x10 | 0x20;
/// Of the bits of what a reader may know: the super block has a checksum.
const CHECKSUM: u32 = 0x1;

/// An image, open for reading.
pub struct Image {
    pub fd: Arc<HostFd>,
    cache: PageCache,
    /// Its pages never wait for a network or for another process.
    pub local: bool,
    block_bits: u32,
    pub blocks: u64,
    pub files: u64,
    pub root: u64,
    /// Where inode 0 would be.
    pub inodes: u64,
    /// Where shared attribute 0 would be.
    pub xattrs: u64,
    /// Seconds and nanoseconds of files that keep no time of their own.
    pub built: (i64, u32),
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("it is no erofs image")]
    Magic,
    #[error("it is compressed, which is not supported: make it without compression (mkfs.erofs without -z)")]
    Compressed,
    #[error(
        "it uses features of erofs that are not supported (0x{0:x}): make it without -E options, --blobdev and the like"
    )]
    Features(u32),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it cannot be read: {0}")]
    Host(Errno),
}

/// A little-endian number of N bytes at an offset of a structure that was read whole.
pub fn number<const N: usize>(from: &[u8], at: usize) -> Op<u64> {
    let Some(bytes) = from.get(at..).and_then(|rest| rest.first_chunk::<N>()) else { return fail(Errno::EUCLEAN) };
    Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

impl Image {
    pub fn open(fd: Arc<HostFd>) -> Result<Image, ImageError> {
        let size = file::stat(&fd).map_err(ImageError::Host)?.stx_size;
        let local = file::statfs(&fd).is_ok_and(|s| is_local(s.f_type as u64));
        let mut head = [0; SUPER_SIZE];
        let cache = PageCache::default();
        let got = cache.read(&fd, &mut head, SUPER, local).map_err(ImageError::Host)?;
        let field = |at: usize, bytes: usize| {
            head.get(at..at + bytes)
                .unwrap_or_default()
                .iter()
                .rev()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if got < SUPER_SIZE || field(0, 4) != u64::from(MAGIC) {
            return Err(ImageError::Magic);
        }
        let needed = field(80, 4) as u32;
        if needed & COMPRESSED != 0 {
            return Err(ImageError::Compressed);
        }
        if needed & !CHUNKED != 0 || field(86, 2) != 0 {
            return Err(ImageError::Features(needed & !CHUNKED));
        }
        let block_bits = field(12, 1) as u32;
        if !(9..=12).contains(&block_bits) || field(90, 1) != 0 {
            return Err(ImageError::Damaged("the size of its blocks is none of 512 to 4096 bytes"));
        }
        let blocks = field(36, 4);
        if blocks == 0 || blocks << block_bits > size {
            return Err(ImageError::Damaged("it is shorter than it says"));
        }
        let image = Image {
            fd,
            cache,
            local,
            block_bits,
            blocks,
            files: field(16, 8),
            root: field(14, 2),
            inodes: field(40, 4) << block_bits,
            xattrs: field(44, 4) << block_bits,
            built: (field(24, 8) as i64, (field(32, 4) as u32).min(999_999_999)),
        };
        if field(8, 4) as u32 & CHECKSUM != 0 && !image.checksum_is(field(4, 4) as u32) {
            return Err(ImageError::Damaged("the checksum of its super block is wrong"));
        }
        Ok(image)
    }

    pub fn block_size(&self) -> u64 {
        1 << self.block_bits
    }

    pub fn block_bits(&self) -> u32 {
        self.block_bits
    }

    /// Bytes of the image.
    pub fn size(&self) -> u64 {
        self.blocks << self.block_bits
    }

    /// EUCLEAN for what does not lie within the image.
    pub fn check(&self, at: u64, len: u64) -> Op<()> {
        match at.checked_add(len) {
            Some(end) if end <= self.size() => Ok(()),
            _ => fail(Errno::EUCLEAN),
        }
    }

    /// Fills `into`, all of it.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Op<()> {
        self.check(at, into.len() as u64)?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.cache.read(&self.fd, rest, at + done as u64, self.local)? {
                // It has become shorter since it was opened.
                0 => return fail(Errno::EIO),
                count => done += count,
            }
        }
        Ok(())
    }

    /// As `read`, into a new buffer.
    pub fn bytes(&self, at: u64, len: usize) -> Op<Vec<u8>> {
        self.check(at, len as u64)?;
        let mut bytes = vec![0; len];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// crc32c from the super block to the end of its block, with the checksum's own place as zeros.
    fn checksum_is(&self, sum: u32) -> bool {
        let block = self.block_size();
        let len = if block > SUPER { block - SUPER } else { block };
        let Ok(mut bytes) = self.bytes(SUPER, len as usize) else { return false };
        if let Some(place) = bytes.get_mut(4..8) {
            place.fill(0);
        }
        let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 })
        });
        crc == sum
    }
}
