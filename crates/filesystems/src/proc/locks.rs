//! /proc/locks: record locks and flocks. proc_locks(5).
//!
//! Found by the files that processes have open, since nobody holds a lock without one. Locks: `FileLocks`, one file's at a time.

use super::{caller, opened};
use kernel::vfs::LockOwner;
use kernel::{Io, Kernel, Op};
use std::collections::HashSet;

pub fn locks(io: &mut Io<'_>, kernel: &Kernel) -> Op<Vec<u8>> {
    let ns = caller(io)?.pid.ns().ok_or(abi::Errno::ESRCH)?;
    let files = opened::all(kernel);
    let mut inodes = HashSet::new();
    let mut lines = Vec::new();
    for inode in files.iter().filter_map(|(_, file)| file.inode.as_ref()) {
        let Some(locks) = inode.locks_if_any().filter(|_| inodes.insert(std::sync::Arc::as_ptr(inode) as usize)) else {
            continue;
        };
        let dev = inode.fs.dev;
        let place = format!("{:02x}:{:02x}:{}", abi::fs::major(dev), abi::fs::minor(dev), inode.ino);
        let (records, flocks) = locks.list();
        let access = |write: bool| if write { "WRITE" } else { "READ " };
        for lock in records {
            let kind = if let LockOwner::Table(_) = lock.owner { "POSIX " } else { "OFDLCK" };
            let end = if lock.last == u64::MAX { "EOF".to_owned() } else { lock.last.to_string() };
            lines.push(format!("{kind} ADVISORY  {} {} {place} {} {end}", access(lock.write), lock.pid, lock.start));
        }
        for (id, alone) in flocks {
            // The first process that has the file is as good as the one that asked for the lock.
            let holder = files.iter().find(|(_, file)| file.id == id).map_or(0, |(group, _)| group.pid.number_in(&ns));
            if holder != 0 {
                lines.push(format!("FLOCK  ADVISORY  {} {holder} {place} 0 EOF", access(alone)));
            }
        }
    }
    Ok((1..).zip(lines).map(|(number, line)| format!("{number}: {line}\n")).collect::<String>().into())
}
