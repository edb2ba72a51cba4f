//! Packing and unpacking of FUSE messages: fields in the host's byte order, one after the other. fuse(4). Pure; no locks.

use abi::Errno;
use abi::fuse::IN_HEADER;
use abi::time::Timespec;
use kernel::time::Nanos;
use kernel::vfs::{Attr, FileType};

/// A message under construction.
#[derive(Default, Clone)]
pub(super) struct Out(pub Vec<u8>);

impl Out {
    /// Begins with room for a request's header, which is filled in when the request is queued.
    pub fn request() -> Out {
        Out(vec![0; IN_HEADER])
    }
    pub fn u32(mut self, value: u32) -> Out {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub fn u64(mut self, value: u64) -> Out {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    pub fn bytes(mut self, bytes: &[u8]) -> Out {
        self.0.extend_from_slice(bytes);
        self
    }
    /// With a zero behind it.
    pub fn name(self, name: &[u8]) -> Out {
        self.bytes(name).bytes(&[0])
    }
}

/// A message that is being taken apart. What is too short is EIO: a server broke the protocol.
pub(super) struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Errno::EIO)?;
        self.0 = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        self.bytes(N)?.try_into().map_err(|_| Errno::EIO)
    }
    pub fn u16(&mut self) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub fn u32(&mut self) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub fn u64(&mut self) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// A name with a zero behind it, which is all that is left: EINVAL else.
    pub fn name(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        match std::mem::take(&mut self.0).split_last() {
            Some((0, name)) if name.len() == len && good_name(name) => Ok(name),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Whether a server's name may be one in a folder.
pub(super) fn good_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.iter().any(|b| matches!(b, b'/' | 0))
}

/// Attributes as a server tells them; owner and group are as it sees them.
#[derive(Clone, Copy)]
pub(super) struct WireAttr {
    pub attr: Attr,
}

pub(super) const ATTR: usize = 88;
pub(super) const ENTRY: usize = 128;
pub(super) const ATTR_OUT: usize = 104;
pub(super) const OPEN_OUT: usize = 16;

impl WireAttr {
    /// EIO for a type or a size that there is not.
    pub fn read(from: &mut In<'_>) -> Result<WireAttr, Errno> {
        let (ino, size, blocks) = (from.u64()?, from.u64()?, from.u64()?);
        let secs = [from.u64()?, from.u64()?, from.u64()?];
        let nanos = [from.u32()?, from.u32()?, from.u32()?];
        let (mode, nlink, uid, gid, rdev, blksize) =
            (from.u32()?, from.u32()?, from.u32()?, from.u32()?, from.u32()?, from.u32()?);
        let _flags = from.u32()?;
        let kind = FileType::from_mode(mode).ok_or(Errno::EIO)?;
        if size > i64::MAX as u64 {
            return Err(Errno::EIO);
        }
        let [atime, mtime, ctime] =
            std::array::from_fn(|at| Timespec { tv_sec: secs[at] as i64, tv_nsec: nanos[at].min(999_999_999).into() });
        let blksize = if blksize.is_power_of_two() && (512..=1 << 20).contains(&blksize) { blksize } else { 4096 };
        let perm = mode & 0o7777;
        let rdev = rdev.into();
        let attr =
            Attr { ino, kind, perm, nlink, uid, gid, rdev, size, blocks, blksize, atime, mtime, ctime, btime: None };
        Ok(WireAttr { attr })
    }
}

/// When a time to live ends that begins now, on the kernel's own clock.
pub(super) fn until(now: Nanos, sec: u64, nsec: u32) -> Nanos {
    if sec == 0 && nsec == 0 {
        return 0;
    }
    now.saturating_add(sec.saturating_mul(1_000_000_000)).saturating_add(nsec.min(999_999_999).into())
}

/// What a server says of a name.
#[derive(Clone, Copy)]
pub(super) struct EntryOut {
    /// 0: there is no such name.
    pub node: u64,
    pub generation: u64,
    pub entry_until: Nanos,
    pub attr_until: Nanos,
    /// None where there is no such name.
    pub attr: Option<Attr>,
}

impl EntryOut {
    pub fn read(from: &mut In<'_>) -> Result<EntryOut, Errno> {
        let now = kernel::time::monotonic();
        let (node, generation, entry, attr) = (from.u64()?, from.u64()?, from.u64()?, from.u64()?);
        let (entry_nsec, attr_nsec) = (from.u32()?, from.u32()?);
        let mut rest = In(from.bytes(ATTR)?);
        let known = if node == 0 { None } else { Some(WireAttr::read(&mut rest)?.attr) };
        Ok(EntryOut {
            node,
            generation,
            entry_until: until(now, entry, entry_nsec),
            attr_until: until(now, attr, attr_nsec),
            attr: known,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_is_refused() {
        assert_eq!(In(&[1, 2, 3]).u32(), Err(Errno::EIO));
        assert!(EntryOut::read(&mut In(&[1; ENTRY - 1])).is_err());
        assert_eq!(EntryOut::read(&mut In(&[0; ENTRY])).map(|e| e.node), Ok(0));
        // A node without a type.
        assert!(EntryOut::read(&mut In(&Out::default().u64(5).bytes(&[0; ENTRY]).0)).is_err());
    }

    #[test]
    fn names_are_whole_and_good() {
        assert_eq!(In(b"ab\0").name(2), Ok(&b"ab"[..]));
        for (text, len) in [(&b"ab\0"[..], 1), (b"ab", 2), (b"a/\0", 2), (b"\0", 0), (b"", 0), (b"a\0b\0", 3)] {
            assert_eq!(In(text).name(len), Err(Errno::EINVAL), "{text:?}");
        }
    }

    #[test]
    fn times_to_live_saturate() {
        assert_eq!(until(5, 0, 0), 0);
        assert_eq!(until(5, 1, u32::MAX), 5 + 1_000_000_000 + 999_999_999);
        assert_eq!(until(5, u64::MAX, 0), u64::MAX);
    }
}
