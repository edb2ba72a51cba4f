//! Open file descriptions, open(2). A descriptor (`fd`) refers to one; several may share it.
//!
//! Locks: `FilePos`, held over the operation so that two reads of one description don't get the same bytes.

use super::{FileOps, Inode, Path, Position};
use crate::io::{Io, Sink, Source};
use crate::locks::{FilePos, Leaf};
use crate::op::{Op, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::OpenFlags;
use lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who gets SIGIO, fcntl(2) F_SETOWN and F_SETSIG.
#[derive(Clone, Copy, Default, Debug)]
pub struct Owner {
    /// A thread (F_OWNER_TID), process or process group by the kernel's number; 0: nobody.
    pub kind: u32,
    pub id: i32,
    pub signal: u32,
}

/// An open file description.
pub struct File {
    pub id: u64,
    /// Where it was opened. Pipes, sockets and other anonymous files have none.
    pub path: Option<Path>,
    /// None for anonymous files that are neither pipe nor socket: fstat(2) shows them with mode 0600 and no type.
    pub inode: Option<Arc<Inode>>,
    pub ops: Arc<dyn FileOps>,
    flags: AtomicU32,
    position: Mutex<u64, FilePos>,
    pub owner: Mutex<Owner, Leaf>,
}

impl File {
    /// A file that was opened by a path.
    pub fn opened(path: Path, inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(Some(path), Some(inode), ops, flags)
    }

    /// A file without a path or an inode: eventfd, epoll...
    pub fn anonymous(ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(None, None, ops, flags)
    }

    /// A pipe or socket: no path, but an inode (`anon_inode`).
    pub fn pathless(inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(None, Some(inode), ops, flags)
    }

    fn make(path: Option<Path>, inode: Option<Arc<Inode>>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Arc::new(File {
            id: crate::unique_id(),
            path,
            inode,
            ops,
            flags: AtomicU32::new(flags.bits()),
            position: Mutex::new(0),
            owner: Mutex::new(Owner::default()),
        })
    }

    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// F_SETFL: the flags of `change` that are in `mask`.
    pub fn set_flags(&self, change: OpenFlags, mask: OpenFlags) {
        let new = self.flags().difference(mask) | change & mask;
        self.flags.store(new.bits(), Ordering::Relaxed);
        self.ops.flags_changed(new);
    }

    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    pub fn readable(&self) -> bool {
        let flags = self.flags();
        !flags.contains(OpenFlags::PATH) && flags.bits() & 3 != 1
    }

    pub fn writable(&self) -> bool {
        let flags = self.flags();
        !flags.contains(OpenFlags::PATH) && matches!(flags.bits() & 3, 1 | 2)
    }

    /// read(2), or pread(2) with `at`.
    pub fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if !self.readable() {
            return fail(Errno::EBADF);
        }
        let mut io = io.with_nonblock(self.nonblocking());
        match (self.ops.position(), at) {
            (Position::Stream, Some(_)) => fail(Errno::ESPIPE),
            (Position::Vfs, None) => {
                let mut position = self.position.lock();
                let count = self.ops.read(&mut io, Some(*position), to)?;
                *position += count as u64;
                Ok(count)
            }
            (_, at) => self.ops.read(&mut io, at, to),
        }
    }

    /// write(2), or pwrite(2) with `at`.
    pub fn write(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        if !self.writable() {
            return fail(Errno::EBADF);
        }
        let append = self.flags().contains(OpenFlags::APPEND);
        let mut io = io.with_nonblock(self.nonblocking());
        match (self.ops.position(), at) {
            (Position::Stream, Some(_)) => fail(Errno::ESPIPE),
            (Position::Vfs, None) => {
                let mut position = self.position.lock();
                let count = self.ops.write(&mut io, Some(if append { u64::MAX } else { *position }), from)?;
                if append {
                    let mut done = 0;
                    let mut nothing = Io::kernel(io.cred.clone(), &mut done);
                    if let Some(inode) = &self.inode {
                        *position = inode.attr(&mut nothing)?.size;
                    }
                } else {
                    *position += count as u64;
                }
                Ok(count)
            }
            (Position::Vfs, Some(_)) if append => self.ops.write(&mut io, Some(u64::MAX), from),
            (_, at) => self.ops.write(&mut io, at, from),
        }
    }

    /// The VFS's position, locked: for lseek, getdents, sendfile.
    pub fn position(&self) -> lock::MutexGuard<'_, u64> {
        self.position.lock()
    }

    pub fn ready(&self, want: Events) -> Events {
        self.ops.ready(want)
    }

    pub fn queue(&self) -> Option<&Queue> {
        self.ops.queue()
    }

    /// The object behind the file, where it is one of `T`'s.
    pub fn ops_as<T: 'static>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref::<T>()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.ops.release();
    }
}
