//! Files that are executed are not written, and the other way round: ETXTBSY of open(2), truncate(2), execve(2).
//!
//! Both sides count first and look at the other's count then, so that of two at once at least one fails. No locks.

use super::{FileType, Inode, Path};
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A file that is being executed, as long as this lives.
pub struct Executed {
    pub path: Path,
    inode: Arc<Inode>,
}

impl Executed {
    pub fn new(path: Path) -> Op<Arc<Executed>> {
        let inode = path.inode()?;
        inode.executing.fetch_add(1, Ordering::AcqRel);
        let executed = Arc::new(Executed { path, inode });
        may_execute(&executed.inode)?;
        Ok(executed)
    }
}

impl Drop for Executed {
    fn drop(&mut self) {
        self.inode.executing.fetch_sub(1, Ordering::AcqRel);
    }
}

/// ETXTBSY where somebody has the file open for writing.
pub fn may_execute(inode: &Inode) -> Op<()> {
    if inode.writing.load(Ordering::Acquire) > 0 { fail(Errno::ETXTBSY) } else { Ok(()) }
}

/// ETXTBSY where it is the program of a process.
pub fn may_write(inode: &Inode) -> Op<()> {
    let busy = inode.kind == FileType::Regular && inode.executing.load(Ordering::Acquire) > 0;
    if busy { fail(Errno::ETXTBSY) } else { Ok(()) }
}
