//! Locks that a server keeps: FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW. fcntl(2), flock(2), fuse(4).
//!
//! A lock's owner is a number: the descriptor table's for POSIX locks, the open file description's for its own and for flocks. Those of a table end with
//! FUSE_FLUSH, which names it; flocks with FUSE_RELEASE. No locks of its own.

use super::file::OpenFile;
use super::handle::about;
use super::wire::{In, Out};
use abi::Errno;
use abi::fs::{F_RDLCK, F_UNLCK, F_WRLCK};
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, Restart, Stop};
use kernel::task::Task;
use kernel::vfs::{LockOps, LockOwner, RecordLock};
use kernel::wait::Interrupt;
use std::sync::atomic::Ordering;

fn number(owner: LockOwner) -> u64 {
    match owner {
        LockOwner::Table(id) | LockOwner::File(id) => id,
    }
}

impl OpenFile {
    fn lock_args(&self, io: &Io<'_>, owner: u64, range: (u64, u64), kind: u32, flags: u32) -> Out {
        let conn = &self.handle.node.conn;
        let pid =
            if kind == F_UNLCK { 0 } else { Task::of(io).map_or(0, |task| task.group.pid.number_in(&conn.pid_ns)) };
        let (start, last) = range;
        let last = last.min(i64::MAX as u64);
        Out::default().u64(self.handle.fh).u64(owner).u64(start).u64(last).u32(kind).u32(pid as u32).u32(flags).u32(0)
    }

    fn ask_lock(&self, io: &mut Io<'_>, args: &Out, wait: bool) -> Op<()> {
        let node = &self.handle.node;
        node.usable(io)?;
        let op = if wait { FUSE_SETLKW } else { FUSE_SETLK };
        let ask = about(op, node, &args.0, 0);
        let result = node.conn.ask(io, &ask, || Ok(Out::request().bytes(&args.0)), |_, answer| answer.map(|_| ()));
        // The server gave up because of a signal. Where there is none the call would be run again for ever, with the same answer.
        let interrupted = io.waits().is_some_and(|waits| waits.interrupt != Interrupt::None);
        match result {
            Err(Stop::Errno(Errno::EINTR)) if interrupted => Err(Stop::Restart(Restart::Sys)),
            other => other,
        }
    }
}

impl LockOps for OpenFile {
    fn test(&self, io: &mut Io<'_>, wanted: &RecordLock) -> Op<Option<RecordLock>> {
        let (node, conn) = (&self.handle.node, &self.handle.node.conn);
        node.usable(io)?;
        let kind = if wanted.write { F_WRLCK } else { F_RDLCK };
        let args = self.lock_args(io, number(wanted.owner), (wanted.start, wanted.last), kind, 0);
        let (start, end, kind, pid) = conn.ask_plainly(io, FUSE_GETLK, node.id, args, 24..=24, |_, answer| {
            let reply = answer?;
            let mut from = In(&reply);
            Ok((from.u64()?, from.u64()?, from.u32()?, from.u32()?))
        })?;
        if kind == F_UNLCK {
            return Ok(None);
        }
        if ![F_RDLCK, F_WRLCK].contains(&kind) || start > end || end > i64::MAX as u64 {
            return Err(Errno::EIO.into());
        }
        let last = if end == i64::MAX as u64 { u64::MAX } else { end };
        // As the caller's PID namespace numbers it.
        let ns = Task::of(io).and_then(|task| task.pid.ns());
        let pid = match (conn.pid_ns.find(pid as i32), ns) {
            (Some(pid), Some(ns)) => pid.number_in(&ns),
            _ => 0,
        };
        Ok(Some(RecordLock { start, last, write: kind == F_WRLCK, owner: LockOwner::Table(0), pid }))
    }

    fn set(&self, io: &mut Io<'_>, wanted: &RecordLock, take: bool, wait: bool) -> Op<()> {
        let kind = match (take, wanted.write) {
            (false, _) => F_UNLCK,
            (true, true) => F_WRLCK,
            (true, false) => F_RDLCK,
        };
        let args = self.lock_args(io, number(wanted.owner), (wanted.start, wanted.last), kind, 0);
        self.ask_lock(io, &args, wait)
    }

    fn flock(&self, io: &mut Io<'_>, file: u64, alone: Option<bool>, wait: bool) -> Op<()> {
        let kind = match alone {
            None => F_UNLCK,
            Some(true) => F_WRLCK,
            Some(false) => F_RDLCK,
        };
        self.handle.flocked.store(true, Ordering::Relaxed);
        self.handle.owner.store(file, Ordering::Relaxed);
        let args = self.lock_args(io, file, (0, u64::MAX), kind, FUSE_LK_FLOCK);
        self.ask_lock(io, &args, wait)
    }
}
