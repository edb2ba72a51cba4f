//! Extended attributes of a server's files. xattr(7), fuse(4). No locks.

use super::inode::NodeOps;
use super::wire::Out;
use abi::Errno;
use abi::fs::{XATTR_LIST_MAX, XATTR_SIZE_MAX};
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::XattrOps;

impl NodeOps {
    /// Asks, unless the server has no attributes: EOPNOTSUPP then.
    fn ask_xattr<T: Clone + Send + 'static>(
        &self,
        io: &mut Io<'_>,
        op: u32,
        args: Out,
        most: usize,
        digest: impl FnOnce(Vec<u8>) -> Result<T, Errno>,
    ) -> Op<T> {
        let node = &self.0;
        node.usable(io)?;
        if node.conn.lacks(op) {
            return fail(Errno::EOPNOTSUPP);
        }
        match node.conn.ask_plainly(io, op, node.id, args, 0..=most, |_, answer| digest(answer?)) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                node.conn.set_lacking(op);
                fail(Errno::EOPNOTSUPP)
            }
            other => other,
        }
    }
}

impl XattrOps for NodeOps {
    fn get(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        let args = Out::default().u32(XATTR_SIZE_MAX).u32(0).name(name);
        self.ask_xattr(io, FUSE_GETXATTR, args, XATTR_SIZE_MAX as usize, Ok)
    }

    fn set(&self, io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()> {
        let mut args = Out::default().u32(value.len() as u32).u32(flags);
        if self.0.conn.has(FUSE_SETXATTR_EXT) {
            args = args.u32(0).u32(0);
        }
        self.ask_xattr(io, FUSE_SETXATTR, args.name(name).bytes(value), 0, |_| Ok(()))?;
        self.0.expire();
        Ok(())
    }

    fn remove(&self, io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        self.ask_xattr(io, FUSE_REMOVEXATTR, Out::default().name(name), 0, |_| Ok(()))?;
        self.0.expire();
        Ok(())
    }

    fn list(&self, io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        let args = Out::default().u32(XATTR_LIST_MAX).u32(0);
        self.ask_xattr(io, FUSE_LISTXATTR, args, XATTR_LIST_MAX as usize, |reply| {
            match reply.split_last() {
                None => Ok(Vec::new()),
                // Each ends with a zero, and none is empty.
                Some((0, names)) if names.split(|b| *b == 0).all(|name| !name.is_empty()) => {
                    Ok(names.split(|b| *b == 0).map(<[u8]>::to_vec).collect())
                }
                Some(_) => Err(Errno::EIO),
            }
        })
    }
}
