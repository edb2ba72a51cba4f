//! Extended attributes: those behind an inode, and those that several inodes share. xattr(7).

use super::image::{Image, number};
use super::inode::Meta;
use super::node::NodeOps;
use abi::Errno;
use kernel::io::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{AclKind, XattrOps};

/// Bytes before the list of shared attributes.
const HEADER: usize = 12;
/// The most that one value may have, Linux' XATTR_SIZE_MAX.
const MAX_VALUE: usize = 64 << 10;

/// Name and value.
type Pair = (Vec<u8>, Vec<u8>);

impl Image {
    /// All attributes of an inode whose names this kernel knows.
    pub fn xattrs(&self, meta: &Meta) -> Op<Vec<Pair>> {
        let (start, len) = meta.xattrs;
        if len == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.bytes(start, len as usize)?;
        let shared = number::<1>(&bytes, 4)? as usize;
        let mut pairs = Vec::new();
        for index in 0..shared {
            let id = number::<4>(&bytes, HEADER + index * 4)?;
            let at = self.xattrs.checked_add(id * 4).ok_or(Errno::EUCLEAN)?;
            let head = self.bytes(at, 4)?;
            let whole = length(&head)?;
            let entry = self.bytes(at, whole)?;
            pairs.extend(pair(&entry)?);
        }
        let mut rest = bytes.get(HEADER + shared * 4..).unwrap_or_default();
        while rest.len() >= 4 {
            let whole = length(rest)?;
            let Some(entry) = rest.get(..whole) else { return fail(Errno::EUCLEAN) };
            pairs.extend(pair(entry)?);
            rest = rest.get(whole.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(pairs)
    }
}

/// Bytes of an entry: its head, its name, its value.
fn length(entry: &[u8]) -> Op<usize> {
    Ok(4 + number::<1>(entry, 0)? as usize + number::<2>(entry, 2)? as usize)
}

/// None: the name is of a kind that is not known.
fn pair(entry: &[u8]) -> Op<Option<Pair>> {
    let (name, kind) = (number::<1>(entry, 0)? as usize, number::<1>(entry, 1)?);
    let prefix: &[u8] = match kind {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        _ => return Ok(None),
    };
    let (Some(rest), Some(value)) = (entry.get(4..4 + name), entry.get(4 + name..)) else {
        return fail(Errno::EUCLEAN);
    };
    let name = [prefix, rest].concat();
    let whole = matches!(kind, 2 | 3);
    if name.len() > 255 || name.contains(&0) || value.len() > MAX_VALUE || whole != rest.is_empty() {
        return fail(Errno::EUCLEAN);
    }
    Ok(Some((name, value.to_vec())))
}

impl XattrOps for NodeOps {
    fn get(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        let pairs = self.shared.image.xattrs(&self.meta)?;
        match pairs.into_iter().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value),
            None => fail(Errno::ENODATA),
        }
    }

    fn set(&self, _io: &mut Io<'_>, _name: &[u8], _value: &[u8], _flags: u32) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn remove(&self, _io: &mut Io<'_>, _name: &[u8]) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn list(&self, _io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        Ok(self.shared.image.xattrs(&self.meta)?.into_iter().map(|(name, _)| name).collect())
    }

    fn acl(&self, io: &mut Io<'_>, kind: AclKind) -> Op<Option<Vec<u8>>> {
        match self.get(io, kind.name()) {
            Err(Stop::Errno(Errno::ENODATA)) => Ok(None),
            other => other.map(Some),
        }
    }
}
