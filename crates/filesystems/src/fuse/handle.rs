//! What a server opened: a file or folder by the number that it gave. Released when nobody has it any more. No locks.

use super::conn::Conn;
use super::node::Node;
use super::request::{Answer, Ask, Request};
use super::wire::{In, OPEN_OUT, Out};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, Stop};
use kernel::task::Task;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
pub(super) struct Handle {
    /// Keeps the node: it is released before it is forgotten.
    pub node: Arc<Node>,
    pub fh: u64,
    /// O_* that it was opened with.
    pub flags: u32,
    /// FOPEN_* that the server answered.
    pub how: u32,
    dir: bool,
    /// The server was not asked, and need not be told of the end.
    implied: bool,
    /// A flock was taken by it.
    pub flocked: AtomicBool,
    /// What was written later could not be: told once.
    pub failed: AtomicBool,
    /// Whose flock ends with it.
    pub owner: AtomicU64,
}

impl Handle {
    /// FUSE_OPEN or FUSE_OPENDIR.
    pub fn open(io: &mut Io<'_>, node: &Arc<Node>, flags: OpenFlags, dir: bool) -> Op<Arc<Handle>> {
        let conn = &node.conn;
        conn.admits(&io.cred)?;
        let (op, without) =
            if dir { (FUSE_OPENDIR, FUSE_NO_OPENDIR_SUPPORT) } else { (FUSE_OPEN, FUSE_NO_OPEN_SUPPORT) };
        let flags = told_flags(conn, flags);
        let implied = || {
            let how = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
            Arc::new(Handle::new(node, 0, flags, how, dir, true))
        };
        if conn.lacks(op) {
            return Ok(implied());
        }
        let args = Out::default().u32(flags).u32(0);
        let made = conn.ask_plainly(io, op, node.id, args, OPEN_OUT..=OPEN_OUT, |_, answer| {
            let reply = answer?;
            Handle::read(node, &mut In(&reply), flags, dir)
        });
        match made {
            Err(Stop::Errno(Errno::ENOSYS)) if conn.has(without) => {
                conn.set_lacking(op);
                Ok(implied())
            }
            other => other,
        }
    }

    fn new(node: &Arc<Node>, fh: u64, flags: u32, how: u32, dir: bool, implied: bool) -> Handle {
        let (flocked, failed, owner) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        Handle { node: node.clone(), fh, flags, how, dir, implied, flocked, failed, owner }
    }

    /// The handle of an answer. EIO for one that asks for what was not agreed on: it is given back.
    pub fn read(node: &Arc<Node>, from: &mut In<'_>, flags: u32, dir: bool) -> Result<Arc<Handle>, Errno> {
        let (fh, how, _backing) = (from.u64()?, from.u32()?, from.u32()?);
        let handle = Arc::new(Handle::new(node, fh, flags, how, dir, false));
        if how & FOPEN_PASSTHROUGH != 0 { Err(Errno::EIO) } else { Ok(handle) }
    }

    pub fn writable(&self) -> bool {
        matches!(self.flags & 3, 1 | 2)
    }

    /// FUSE_FLUSH of a descriptor that is closed; errors of writes come out here.
    pub fn flush(self: &Arc<Self>, io: &mut Io<'_>) -> Op<()> {
        let conn = &self.node.conn;
        if self.implied || conn.lacks(FUSE_FLUSH) || self.how & FOPEN_NOFLUSH != 0 {
            return Ok(());
        }
        let owner = Task::of(io).map_or(0, |task| task.files().id);
        let args = Out::default().u64(self.fh).u32(0).u32(0).u64(owner);
        if io.waits().is_none() {
            // Nobody hears of it: exit(2), dup2(2). It is not released before the server is done with this.
            let kept = self.clone();
            let then = move |_: &Arc<Conn>, _: Answer| drop(kept);
            let body = Out::request().bytes(&args.0);
            conn.post(FUSE_FLUSH, self.node.id, body, 0..=0, Some(Box::new(then)));
            return Ok(());
        }
        match conn.ask_plainly(io, FUSE_FLUSH, self.node.id, args, 0..=0, done) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                conn.set_lacking(FUSE_FLUSH);
                Ok(())
            }
            other => other,
        }
    }

    /// FUSE_FSYNC or FUSE_FSYNCDIR.
    pub fn sync(&self, io: &mut Io<'_>, data_only: bool) -> Op<()> {
        let conn = &self.node.conn;
        let op = if self.dir { FUSE_FSYNCDIR } else { FUSE_FSYNC };
        if conn.lacks(op) {
            return Ok(());
        }
        let args = Out::default().u64(self.fh).u32(if data_only { FUSE_FSYNC_FDATASYNC } else { 0 }).u32(0);
        match conn.ask_plainly(io, op, self.node.id, args, 0..=0, done) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                conn.set_lacking(op);
                Ok(())
            }
            other => other,
        }
    }
}

/// The flags of open(2) that a server is told.
pub(super) fn told_flags(conn: &Conn, flags: OpenFlags) -> u32 {
    let hidden = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::CLOEXEC;
    let mut told = flags.difference(hidden);
    if !conn.has(FUSE_ATOMIC_O_TRUNC) {
        told = told.difference(OpenFlags::TRUNC);
    }
    told.bits()
}

/// FUSE_CREATE and FUSE_TMPFILE: what the call has opened by them, for the open that comes next.
pub(super) struct Created(pub Arc<Handle>);

impl Created {
    /// The handle that the call has for a node.
    pub fn of(io: &mut Io<'_>, node: &Arc<Node>) -> Option<Arc<Handle>> {
        super::request::held::<Created>(io, |made| Arc::ptr_eq(&made.0.node, node)).map(|made| made.0.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.implied {
            return;
        }
        let flocked = self.flocked.load(Ordering::Relaxed);
        let body = Out::request()
            .u64(self.fh)
            .u32(self.flags)
            .u32(if flocked { FUSE_RELEASE_FLOCK_UNLOCK } else { 0 })
            .u64(self.owner.load(Ordering::Relaxed));
        let op = if self.dir { FUSE_RELEASEDIR } else { FUSE_RELEASE };
        self.node.conn.post(op, self.node.id, body, 0..=0, None);
    }
}

/// The answer to a question that is only whether it was done.
pub(super) fn done(_: &Request, answer: Answer) -> Result<(), Errno> {
    answer.map(|_| ())
}

/// A question about a handle, told from others by `key`.
pub(super) fn about<'a>(op: u32, node: &Node, key: &'a [u8], most: usize) -> Ask<'a> {
    Ask { op, node: node.id, key, reply: 0..=most }
}
