//! A system call while it is answered: its task, its saved record, its ways to guest memory.
//!
//! Handlers (crate `syscalls`) are plain functions `fn(&mut Call, Args) -> Op<Ret>` that are run again from the top after a
//! wait, with the same record. Rules: all checks first, then one commit, and no wait after it; what may wait twice keeps its
//! progress in the record (`done`, `stage`). Neighbours: `task::drive` runs them, `io` is what file operations get.

use crate::fd::FdTable;
use crate::io::Io;
use crate::mm::Mm;
use crate::op::{Op, fail};
use crate::task::Task;
use crate::time::{Deadline, Nanos};
use crate::vfs::File;
use crate::wait::Waits;
use abi::Errno;
use std::any::Any;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The raw arguments.
pub type Args = [u64; 6];

/// A handler.
pub type Handler = fn(&mut Call<'_>, Args) -> Op<Ret>;

/// What a handler answers.
pub enum Ret {
    /// The call's value.
    Value(u64),
    /// The stub has something to do first (map memory, fork, exec); only for rows of the table that need a frame, and for `StubWork::Read`.
    Stub(Box<StubWork>),
    /// The call goes on as a wait in the host's futex, futex(2). Interrupted by a signal that no handler takes, it is run again with its record.
    HostWait(platform::FutexWait),
    /// rt_sigreturn: the registers are the stub's already, nothing is returned.
    Registers,
    /// The task ends: exit(2).
    ExitThread { status: i32 },
    /// The process ends: exit_group(2).
    ExitGroup { status: i32 },
}

impl From<u64> for Ret {
    fn from(v: u64) -> Ret {
        Ret::Value(v)
    }
}
impl From<usize> for Ret {
    fn from(v: usize) -> Ret {
        Ret::Value(v as u64)
    }
}
impl From<u32> for Ret {
    fn from(v: u32) -> Ret {
        Ret::Value(v.into())
    }
}
impl From<i32> for Ret {
    fn from(v: i32) -> Ret {
        Ret::Value(v as i64 as u64)
    }
}
impl From<()> for Ret {
    fn from(_: ()) -> Ret {
        Ret::Value(0)
    }
}

/// What becomes of the call when the stub reports: gets the result (negative: an errno) and the failing operation's index,
/// undoes or completes, and says how the call goes on.
pub type OnDone = Box<dyn FnOnce(&Arc<Task>, i64, u32) -> Next + Send>;

/// How a call goes on after the stub's work.
pub enum Next {
    /// It returns this (negative: an errno).
    Value(i64),
    /// The handler is run again; its stage says where it stands.
    Again,
    /// As `Again`, at this stage.
    Staged(Box<dyn Any + Send>),
}

/// Work for the stub.
pub enum StubWork {
    /// Operations on the address space. `on_done` runs for failures, and for success where the script ends in `Then::Report`.
    Script { script: platform::Script, on_done: OnDone },
    /// A read of a file, whose value is `read.len`. `on_done` runs if it turns out to be less, or fails.
    Read { read: platform::FileRead, on_done: OnDone },
    /// fork(2) in a process of its own.
    Fork { spec: platform::ForkSpec, on_done: OnDone },
    /// A new thread in this address space.
    Spawn { spec: platform::SpawnSpec, on_done: OnDone },
    /// execve(2) into a fresh address space: this host thread ends, `task` goes on in another stub process.
    Fresh,
}

/// What is kept of a call while it waits.
#[derive(Default)]
pub struct Record {
    pub nr: u32,
    pub args: Args,
    /// Bytes moved by earlier runs.
    pub done: u64,
    /// Absolute, so that a re-run doesn't begin to wait anew.
    pub deadline: Option<Deadline>,
    /// Where a staged call (exec, vfork, connect, FIFO open, ...) stands.
    pub stage: Option<Box<dyn Any + Send>>,
    /// `Ret::HostWait` was answered before: a wait in the host was begun, and interrupted.
    pub waited: bool,
}

/// A call in progress.
pub struct Call<'t> {
    pub task: &'t Arc<Task>,
    pub rec: &'t mut Record,
    pub waits: &'t mut Waits,
}

impl Call<'_> {
    /// The context for file operations.
    pub fn io(&mut self) -> Io<'_> {
        Io::new(self.task.cred(), Some(self.task.clone()), Some(self.waits), &mut self.rec.done)
            .with_stage(&mut self.rec.stage, &mut self.rec.deadline)
    }

    pub fn files(&self) -> Arc<FdTable> {
        self.task.files()
    }

    /// The file of a descriptor argument, O_PATH ones too.
    pub fn any_file(&self, fd: u64) -> Op<Arc<File>> {
        self.task.files().get(fd as i32)
    }

    /// The file of a descriptor argument; EBADF for O_PATH.
    pub fn file(&self, fd: u64) -> Op<Arc<File>> {
        let file = self.any_file(fd)?;
        if file.flags().contains(abi::fs::OpenFlags::PATH) {
            return fail(Errno::EBADF);
        }
        Ok(file)
    }

    /// The task's memory. A task in a call has one.
    pub fn mm(&self) -> Op<Arc<Mm>> {
        self.task.mm().ok_or(Errno::EFAULT.into())
    }

    /// A structure from guest memory, copied once.
    pub fn get<T: FromBytes + IntoBytes>(&self, at: u64) -> Op<T> {
        let mut value = T::new_zeroed();
        self.mm()?.read_exact(at, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Several structures from guest memory. The caller bounds `count`.
    pub fn get_vec<T: FromBytes + IntoBytes>(&self, at: u64, count: usize) -> Op<Vec<T>> {
        let mut values: Vec<T> = Vec::new();
        values.resize_with(count, T::new_zeroed);
        self.mm()?.read_exact(at, values.as_mut_slice().as_mut_bytes())?;
        Ok(values)
    }

    pub fn put<T: IntoBytes + Immutable + ?Sized>(&self, at: u64, value: &T) -> Op<()> {
        self.mm()?.write_exact(at, value.as_bytes())
    }

    /// As `put`, where a null pointer means that nobody wants to know.
    pub fn put_if<T: IntoBytes + Immutable + ?Sized>(&self, at: u64, value: &T) -> Op<()> {
        if at == 0 { Ok(()) } else { self.put(at, value) }
    }

    /// A path name: ENAMETOOLONG beyond PATH_MAX (4,096 bytes with the zero).
    pub fn path(&self, at: u64) -> Op<Box<[u8]>> {
        self.mm()?.cstr(at, 4096)?.ok_or(Errno::ENAMETOOLONG.into())
    }

    /// Sets the record's deadline at the first run.
    pub fn deadline_after(&mut self, after: Nanos) -> Deadline {
        *self.rec.deadline.get_or_insert_with(|| Deadline::after(after))
    }
}
