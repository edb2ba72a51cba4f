//! Extended attributes of the layer's file that counts; the overlay's own are hidden.

use super::node::NodeOps;
use super::ops;
use abi::Errno;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::XattrOps;

/// Marks an upper folder through which nothing below shows.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Marks a character device 0:0 of a private upper layer as one: else it is a whiteout.
pub(crate) const DEVICE: &[u8] = b"trusted.overlay.device";

/// Whether an attribute is the overlay's own.
pub(crate) fn is_own(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.")
}

impl XattrOps for NodeOps {
    fn get(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        if is_own(name) {
            return fail(Errno::ENODATA);
        }
        match ops(self.0.real()?).xattr() {
            Some(xattr) => xattr.get(io, name),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn set(&self, io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()> {
        if is_own(name) {
            return fail(Errno::EPERM);
        }
        let upper = self.0.copy_up(io, true)?;
        match ops(&upper).xattr() {
            Some(xattr) => xattr.set(io, name, value, flags),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn remove(&self, io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        // Nothing is copied up for an attribute that is not there.
        self.get(io, name)?;
        let upper = self.0.copy_up(io, true)?;
        match ops(&upper).xattr() {
            Some(xattr) => xattr.remove(io, name),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn list(&self, io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        match ops(self.0.real()?).xattr() {
            Some(xattr) => Ok(xattr.list(io)?.into_iter().filter(|name| !is_own(name)).collect()),
            None => Ok(Vec::new()),
        }
    }
}
