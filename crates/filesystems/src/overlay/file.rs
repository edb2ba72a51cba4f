//! A lower file that was opened for reading: it reads the copy once there is one, as Linux does; mappings made before stay with the lower file.

use super::node::Node;
use super::ops;
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::io::{Io, Sink, UserMemory};
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{Backing, FileOps, Mappable, Rights};
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

struct LowerFile {
    node: Arc<Node>,
    lower: Arc<dyn FileOps>,
    upper: OnceLock<Arc<dyn FileOps>>,
    flags: OpenFlags,
}

/// Opens a file that is in the lower layer only.
pub(crate) fn open(io: &mut Io<'_>, node: &Arc<Node>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let Some(inode) = node.lower.first() else { return fail(Errno::EIO) };
    let lower = ops(inode).open(io, inode, flags)?;
    Ok(Arc::new(LowerFile { node: node.clone(), lower, upper: OnceLock::new(), flags }))
}

impl LowerFile {
    /// The file that counts now.
    fn now(&self, io: &mut Io<'_>) -> Op<&dyn FileOps> {
        let Some(inode) = self.node.upper.get() else { return Ok(&*self.lower) };
        if self.upper.get().is_none() {
            let file = ops(inode).open(io, inode, self.flags)?;
            let _ = self.upper.set(file);
        }
        self.upper.get().map(|file| &**file).ok_or(Stop::Errno(Errno::EIO))
    }
}

impl FileOps for LowerFile {
    fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        self.now(io)?.read(io, at, to)
    }

    fn seek(&self, io: &mut Io<'_>, offset: i64, whence: u32, from: u64) -> Op<u64> {
        self.now(io)?.seek(io, offset, whence, from)
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        self.now(io)?.ioctl(io, memory, cmd, arg)
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }

    fn sync(&self, io: &mut Io<'_>, data_only: bool) -> Op<()> {
        // The lower file never changes: there is nothing to bring to the disk.
        match self.node.upper.get() {
            Some(_) => self.now(io)?.sync(io, data_only),
            None => Ok(()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for LowerFile {
    fn backing(&self, io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        if rights.write && rights.shared {
            return fail(Errno::EACCES);
        }
        match self.now(io)?.mappable() {
            Some(file) => file.backing(io, range, rights),
            None => fail(Errno::ENODEV),
        }
    }

    fn may_grow(&self) -> bool {
        self.lower.mappable().is_none_or(|file| file.may_grow())
    }
}
