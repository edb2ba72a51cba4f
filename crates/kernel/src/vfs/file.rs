//! Open file descriptions, open(2). A descriptor (`fd`) refers to one; several may share it.
//!
//! Locks: a `TaskLock` around the position, held over the operation so that two reads of one description don't get the same bytes.

use super::{FileOps, FileType, Inode, Mount, Path, Position, TaskGuard, TaskLock, notify};
use crate::cred::Cred;
use crate::io::{Io, Sink, Source};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::wait::{Events, Link, Queue, Wake};
use abi::Errno;
use abi::fs::OpenFlags;
use lock::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Who gets SIGIO, fcntl(2) F_SETOWN and F_SETSIG.
#[derive(Clone, Copy, Default, Debug)]
pub struct Owner {
    /// A thread (F_OWNER_TID), process or process group by the kernel's number; 0: nobody.
    pub kind: u32,
    pub id: i32,
    pub signal: u32,
    /// Of who set it: whether it may signal the owner is asked when it is time to.
    pub uid: u32,
    pub euid: u32,
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
    position: AtomicU64,
    position_lock: TaskLock,
    pub owner: Mutex<Owner, Leaf>,
    /// With O_ASYNC: what sends the signals.
    pub asynchronous: Mutex<Option<Link>, Leaf>,
    /// The regular file that it may write, which nobody may execute meanwhile (`busy`).
    writing: Option<Arc<Inode>>,
    /// What is done with it is told to nobody: fanotify's own.
    quiet: bool,
    /// F_NOTIFY of fcntl(2).
    pub dnotify: Mutex<Option<Arc<dyn super::listen::Listener>>, Leaf>,
    /// The credentials of who opened it by a path.
    opener: OnceLock<Arc<Cred>>,
    /// Who is told when it goes: epoll.
    closed: Mutex<Vec<Weak<dyn Wake>>, Leaf>,
}

/// What a file is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Making {
    /// By a path: who writes keeps it from being executed.
    Opened,
    Quiet,
    Plain,
}

impl File {
    /// A file that was opened by a path.
    pub fn opened(path: Path, inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(Some(path), Some(inode), ops, flags, Making::Opened)
    }

    /// As `opened`, but nobody is told of what happens through it.
    pub fn quiet(path: Path, inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(Some(path), Some(inode), ops, flags, Making::Quiet)
    }

    /// A memfd: it may be executed although its maker can write to it.
    pub fn memory(path: Path, inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(Some(path), Some(inode), ops, flags, Making::Plain)
    }

    /// A file without a path or an inode: eventfd, epoll...
    pub fn anonymous(ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(None, None, ops, flags, Making::Plain)
    }

    /// A pipe or socket: no path, but an inode (`anon_inode`).
    pub fn pathless(inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
        Self::make(None, Some(inode), ops, flags, Making::Plain)
    }

    fn make(
        path: Option<Path>,
        inode: Option<Arc<Inode>>,
        ops: Arc<dyn FileOps>,
        flags: OpenFlags,
        how: Making,
    ) -> Arc<File> {
        if let Some(inode) = inode.as_ref().filter(|_| !flags.contains(OpenFlags::PATH)) {
            inode.open_files.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(mount) = written_mount(path.as_ref(), inode.as_ref(), flags) {
            mount.writers.fetch_add(1, Ordering::AcqRel);
            mount.fs.writers.fetch_add(1, Ordering::AcqRel);
        }
        let writing = (how != Making::Plain && written_mount(path.as_ref(), inode.as_ref(), flags).is_some())
            .then(|| inode.clone())
            .flatten();
        if let Some(inode) = &writing {
            inode.writing.fetch_add(1, Ordering::AcqRel);
        }
        Arc::new(File {
            id: crate::unique_id(),
            writing,
            quiet: how == Making::Quiet,
            dnotify: Mutex::new(None),
            path,
            inode,
            ops,
            flags: AtomicU32::new(flags.bits()),
            position: AtomicU64::new(0),
            position_lock: TaskLock::new(),
            owner: Mutex::new(Owner::default()),
            asynchronous: Mutex::new(None),
            opener: OnceLock::new(),
            closed: Mutex::new(Vec::new()),
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
        self.flags().readable()
    }

    pub fn writable(&self) -> bool {
        self.flags().writable()
    }

    /// open(2) made it, for a caller with these credentials.
    pub fn opened_by(&self, cred: &Arc<Cred>) {
        let _ = self.opener.set(cred.clone());
    }

    /// Whether these are the very credentials that it was opened with: those of a caller that has changed none since.
    pub fn is_opened_by(&self, cred: &Arc<Cred>) -> bool {
        self.opener.get().is_some_and(|opener| Arc::ptr_eq(opener, cred))
    }

    /// read(2), or pread(2) with `at`.
    pub fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if !self.readable() {
            return fail(Errno::EBADF);
        }
        let mut io = io.with_nonblock(self.nonblocking());
        let count = match (self.ops.position(), at) {
            (Position::Stream, Some(_)) => return fail(Errno::ESPIPE),
            (Position::Vfs, None) => {
                let position = self.lock_position(&mut io)?;
                let before = *io.done;
                within_a_file(position.get(), to.left())?;
                let result = self.ops.read(&mut io, Some(position.get()), to);
                position.advance(io.done.saturating_sub(before));
                let count = result?;
                position.advance(count as u64);
                count
            }
            (_, at) => {
                within_a_file(at.unwrap_or(0), to.left())?;
                self.ops.read(&mut io, at, to)?
            }
        };
        if count > 0 {
            self.accessed(&mut io);
        } else if self.ops.position() == Position::Vfs {
            self.touched(&mut io);
        }
        Ok(count)
    }

    /// A read(2) that has moved the position to `from` turns out to have read as far as `to` only. Whoever has moved it since has its own.
    pub fn unread(&self, from: u64, to: u64) {
        let _ = self.position.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// write(2), or pwrite(2) with `at`.
    pub fn write(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        self.write_or_append(io, at, from, self.flags().contains(OpenFlags::APPEND))
    }

    /// As `write`: at the file's end with `append`, whatever its flags say.
    pub fn write_or_append(&self, io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source, append: bool) -> Op<usize> {
        if !self.writable() {
            return fail(Errno::EBADF);
        }
        let mut io = io.with_nonblock(self.nonblocking());
        let count = match (self.ops.position(), at) {
            (Position::Stream, Some(_)) => return fail(Errno::ESPIPE),
            (Position::Vfs, None) => {
                let position = self.lock_position(&mut io)?;
                let before = *io.done;
                within_a_file(position.get(), from.left())?;
                let result = self.ops.write(&mut io, Some(if append { u64::MAX } else { position.get() }), from);
                if append {
                    let count = result?;
                    let mut done = 0;
                    let mut nothing = Io::kernel(io.cred.clone(), &mut done);
                    if let Some(inode) = &self.inode {
                        position.set(inode.attr(&mut nothing)?.size);
                    }
                    count
                } else {
                    position.advance(io.done.saturating_sub(before));
                    let count = result?;
                    position.advance(count as u64);
                    count
                }
            }
            (Position::Vfs, Some(_)) if append => self.ops.write(&mut io, Some(u64::MAX), from)?,
            (_, at) => {
                within_a_file(at.unwrap_or(0), from.left())?;
                self.ops.write(&mut io, at, from)?
            }
        };
        if count > 0 {
            self.modified();
        }
        Ok(count)
    }

    /// Data was read: the time of access, and inotify.
    pub fn accessed(&self, io: &mut Io<'_>) {
        self.touched(io);
        if let (Some(inode), Some(path)) = (&self.inode, &self.path) {
            self.happened(inode, Some(path), abi::inotify::IN_ACCESS);
        }
    }

    /// A read at the end, or a mapping: the time of access, where the mount keeps it.
    pub fn touched(&self, io: &mut Io<'_>) {
        let (Some(inode), Some(path)) = (&self.inode, &self.path) else { return };
        let still = abi::fs::MS_NOATIME | abi::fs::MS_RDONLY;
        let no_dir = inode.kind == FileType::Dir && path.mount.flags() & abi::fs::MS_NODIRATIME != 0;
        if path.mount.flags() & still == 0 && !no_dir && !self.flags().contains(OpenFlags::NOATIME) {
            inode.ops.accessed(io, path.mount.flags() & abi::fs::MS_STRICTATIME != 0);
        }
    }

    /// Whether the mount has each read change the time of access, not only the first after a change.
    pub fn counts_each_read(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.mount.flags() & abi::fs::MS_STRICTATIME != 0)
    }

    /// Data was written: told to inotify.
    pub fn modified(&self) {
        if let (Some(inode), Some(path)) = (&self.inode, &self.path) {
            self.happened(inode, Some(path), abi::inotify::IN_MODIFY);
        }
    }

    fn happened(&self, inode: &Arc<Inode>, path: Option<&Path>, event: u32) {
        if !self.quiet {
            notify::inode_event(inode, path, event);
        }
    }

    /// The VFS's position, locked: for lseek, getdents, sendfile.
    pub fn lock_position(&self, io: &mut Io<'_>) -> Op<PositionGuard<'_>> {
        Ok(PositionGuard { file: self, _guard: self.position_lock.lock(io)? })
    }

    /// The position as it is now, for /proc/PID/fdinfo.
    pub fn position_now(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Wakes `watcher` when the last descriptor of the description is gone, if it lives then.
    pub fn when_closed(&self, watcher: Weak<dyn Wake>) {
        let mut closed = self.closed.lock();
        if closed.len() == closed.capacity() {
            closed.retain(|w| w.strong_count() > 0);
        }
        closed.push(watcher);
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

/// EINVAL for what would end beyond the largest offset.
pub fn within_a_file(at: u64, count: usize) -> Op<()> {
    match at.checked_add(count as u64) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => fail(Errno::EINVAL),
    }
}

/// The position of an open file description, held.
pub struct PositionGuard<'a> {
    file: &'a File,
    _guard: TaskGuard<'a>,
}

impl PositionGuard<'_> {
    pub fn get(&self) -> u64 {
        self.file.position.load(Ordering::Relaxed)
    }
    pub fn set(&self, to: u64) {
        self.file.position.store(to, Ordering::Relaxed);
    }
    pub fn advance(&self, by: u64) {
        self.set(self.get().saturating_add(by));
    }
}

/// The mount that a regular file may be written through.
fn written_mount<'a>(path: Option<&'a Path>, inode: Option<&Arc<Inode>>, flags: OpenFlags) -> Option<&'a Arc<Mount>> {
    let writes = !flags.contains(OpenFlags::PATH) && flags.bits() & 3 != 0;
    let regular = inode.is_some_and(|i| i.kind == FileType::Regular);
    path.filter(|_| writes && regular).map(|p| &p.mount)
}

impl Drop for File {
    fn drop(&mut self) {
        for watcher in std::mem::take(self.closed.get_mut()) {
            if let Some(watcher) = watcher.upgrade() {
                watcher.wake(Events::NVAL);
            }
        }
        self.ops.release();
        if let Some(inode) = &self.writing {
            inode.writing.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(mount) = written_mount(self.path.as_ref(), self.inode.as_ref(), self.flags()) {
            mount.writers.fetch_sub(1, Ordering::AcqRel);
            mount.fs.writers.fetch_sub(1, Ordering::AcqRel);
        }
        let Some(inode) = self.inode.as_ref().filter(|_| !self.flags().contains(OpenFlags::PATH)) else { return };
        if let Some(locks) = inode.locks_if_any() {
            locks.release_file(self.id);
        }
        if let Some(leases) = inode.leases_if_any() {
            leases.release_file(self.id);
        }
        let event = if self.writable() { abi::inotify::IN_CLOSE_WRITE } else { abi::inotify::IN_CLOSE_NOWRITE };
        self.happened(inode, self.path.as_ref(), event);
        if inode.open_files.fetch_sub(1, Ordering::AcqRel) == 1 {
            notify::last_close(inode);
        }
    }
}
