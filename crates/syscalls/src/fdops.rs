//! Descriptors: dup(2), fcntl(2), ioctl(2), flock(2).

use crate::names::only;
use abi::Errno;
use abi::fs::{
    F_ADD_SEALS, F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETLK, F_GETOWN,
    F_GETOWN_EX, F_GETPIPE_SZ, F_GETSIG, F_NOTIFY, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_OWNER_PGRP, F_OWNER_PID,
    F_OWNER_TID, F_RDLCK, F_SETFD, F_SETFL, F_SETLEASE, F_SETLK, F_SETLKW, F_SETOWN, F_SETOWN_EX, F_SETPIPE_SZ,
    F_SETSIG, F_UNLCK, F_WRLCK, FD_CLOEXEC, FOwnerEx, Flock, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, O_CLOEXEC, OpenFlags,
    SEEK_CUR, SEEK_END, SEEK_SET,
};
use abi::ioctl::{FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, FIOQSIZE};
use kernel::ipc::pipe::PipeEnd;
use kernel::task::Resource;
use kernel::vfs::{File, FileType, LockOwner, Owner, Position, RecordLock, access, lease};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

pub fn sys_dup(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    let file = call.any_file(fd)?;
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, false, 0, limit)?.into())
}

pub fn sys_dup2(call: &mut Call<'_>, [old, new, ..]: Args) -> Op<Ret> {
    if old as i32 == new as i32 {
        call.any_file(old)?;
        return Ok(new.into());
    }
    replace(call, old, new, false)
}

pub fn sys_dup3(call: &mut Call<'_>, [old, new, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, O_CLOEXEC)?;
    if old as i32 == new as i32 {
        return fail(Errno::EINVAL);
    }
    replace(call, old, new, flags as u32 & O_CLOEXEC != 0)
}

fn replace(call: &mut Call<'_>, old: u64, new: u64, cloexec: bool) -> Op<Ret> {
    let file = call.any_file(old)?;
    let limit = call.task.group.limit(Resource::Nofile);
    let closed = call.files().replace(new as i32, file, cloexec, limit)?;
    if let Some(closed) = closed {
        // Nobody hears of its errors: dup2(2).
        let mut done = 0;
        let _ = closed.ops.flush(&mut kernel::Io::kernel(call.task.cred(), &mut done));
    }
    Ok(u64::from(new as u32).into())
}

pub fn sys_fcntl(call: &mut Call<'_>, [fd, cmd, arg, ..]: Args) -> Op<Ret> {
    let cmd = cmd as u32;
    let entry = call.files().entry(fd as i32)?;
    let file = entry.file;
    let any = [F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL];
    if file.flags().contains(OpenFlags::PATH) && !any.contains(&cmd) {
        return fail(Errno::EBADF);
    }
    match cmd {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let limit = call.task.group.limit(Resource::Nofile);
            let from = arg as i32;
            if from < 0 || from as u64 >= limit {
                return fail(Errno::EINVAL);
            }
            Ok(call.files().add(file, cmd == F_DUPFD_CLOEXEC, from, limit)?.into())
        }
        F_DUPFD_QUERY => Ok(u32::from(Arc::ptr_eq(&file, &call.any_file(arg)?)).into()),
        F_GETFD => Ok(if entry.cloexec { FD_CLOEXEC } else { 0 }.into()),
        F_SETFD => {
            call.files().set_cloexec(fd as i32, arg as u32 & FD_CLOEXEC != 0)?;
            Ok(0u64.into())
        }
        F_GETFL => Ok(file.flags().bits().into()),
        F_SETFL => set_flags(call, &file, fd as i32, arg as u32),
        F_GETLK | F_OFD_GETLK => get_lock(call, &file, arg, cmd == F_OFD_GETLK),
        F_SETLK => set_lock(call, &file, arg, false, false),
        F_SETLKW => set_lock(call, &file, arg, false, true),
        F_OFD_SETLK => set_lock(call, &file, arg, true, false),
        F_OFD_SETLKW => set_lock(call, &file, arg, true, true),
        F_SETOWN | F_GETOWN | F_SETOWN_EX | F_GETOWN_EX | F_SETSIG | F_GETSIG => owner(call, &file, cmd, arg),
        F_GETPIPE_SZ => match file.ops_as::<PipeEnd>() {
            Some(end) => Ok(end.pipe.size().into()),
            None => fail(Errno::EBADF),
        },
        F_SETPIPE_SZ => match file.ops_as::<PipeEnd>() {
            Some(end) => Ok(end.pipe.set_size(&call.task.cred(), u64::from(arg as u32))?.into()),
            None => fail(Errno::EBADF),
        },
        F_ADD_SEALS => {
            if !file.writable() {
                return fail(Errno::EPERM);
            }
            file.ops.seals(Some(arg as u32))?;
            Ok(0u64.into())
        }
        F_GET_SEALS => Ok(file.ops.seals(None)?.into()),
        F_GETLEASE => {
            let leases = file.inode.as_ref().and_then(|inode| inode.leases_if_any());
            Ok(leases.map_or(F_UNLCK, |leases| leases.get(&file)).into())
        }
        F_SETLEASE => {
            let tell = crate::sigio::lease_teller(call.task, &file, fd as i32);
            lease::set(&mut call.io(), &file, arg as u32, tell)?;
            if arg as u32 != F_UNLCK {
                crate::sigio::own(call.task, &file);
            }
            Ok(0u64.into())
        }
        F_NOTIFY => {
            crate::sigio::notify(call.task, &file, fd as i32, arg as u32)?;
            Ok(0u64.into())
        }
        _ => fail(Errno::EINVAL),
    }
}

fn set_flags(call: &mut Call<'_>, file: &Arc<File>, fd: i32, arg: u32) -> Op<Ret> {
    let mask = OpenFlags::APPEND | OpenFlags::NONBLOCK | OpenFlags::DIRECT | OpenFlags::NOATIME | OpenFlags::ASYNC;
    let new = OpenFlags::from_bits_retain(arg) & mask;
    if new.contains(OpenFlags::NOATIME)
        && !file.flags().contains(OpenFlags::NOATIME)
        && let Some(inode) = &file.inode
    {
        let attr = inode.attr(&mut call.io())?;
        if !access::is_owner(&call.task.cred(), &attr) {
            return fail(Errno::EPERM);
        }
    }
    let kind = file.inode.as_ref().map(|inode| inode.kind);
    if new.contains(OpenFlags::DIRECT) && !matches!(kind, Some(FileType::Regular | FileType::Block | FileType::Fifo)) {
        return fail(Errno::EINVAL);
    }
    let new = if file.ops.signals_readiness() { new } else { new.difference(OpenFlags::ASYNC) };
    set(call, file, fd, new, mask);
    Ok(0u64.into())
}

fn set(call: &Call<'_>, file: &Arc<File>, fd: i32, change: OpenFlags, mask: OpenFlags) {
    let before = file.flags();
    file.set_flags(change, mask);
    let on = file.flags().contains(OpenFlags::ASYNC);
    if on != before.contains(OpenFlags::ASYNC) {
        crate::sigio::changed(call.task, file, fd, on);
    }
}

/// The range that a `struct flock` names.
fn range(call: &mut Call<'_>, file: &Arc<File>, lock: &Flock) -> Op<(u64, u64)> {
    let base = match lock.l_whence as u32 {
        SEEK_SET => 0,
        SEEK_CUR => file.position_now() as i64,
        SEEK_END => {
            let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
            inode.attr(&mut call.io())?.size as i64
        }
        _ => return fail(Errno::EINVAL),
    };
    let start = base.checked_add(lock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (start, last) = match lock.l_len {
        0 => (start, None),
        len if len > 0 => (start, Some(start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?)),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, Some(start.checked_sub(1).ok_or(Errno::EINVAL)?)),
    };
    if start < 0 {
        return fail(Errno::EINVAL);
    }
    Ok((start as u64, last.map_or(u64::MAX, |last| last as u64)))
}

fn wanted(call: &mut Call<'_>, file: &Arc<File>, lock: &Flock, ofd: bool) -> Op<RecordLock> {
    if ofd && lock.l_pid != 0 {
        return fail(Errno::EINVAL);
    }
    let (start, last) = range(call, file, lock)?;
    let (owner, pid) =
        if ofd { (LockOwner::File(file.id), -1) } else { (LockOwner::Table(call.files().id), call.task.group.id()) };
    Ok(RecordLock { start, last, write: lock.l_type as u32 == F_WRLCK, owner, pid })
}

fn get_lock(call: &mut Call<'_>, file: &Arc<File>, arg: u64, ofd: bool) -> Op<Ret> {
    let mut lock: Flock = call.get(arg)?;
    // With F_UNLCK an open file description asks for its own locks.
    let own = ofd && lock.l_type as u32 == F_UNLCK;
    if !own && ![F_RDLCK, F_WRLCK].contains(&(lock.l_type as u32)) {
        return fail(Errno::EINVAL);
    }
    let wanted = wanted(call, file, &lock, ofd)?;
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    let held = match file.ops.lock_ops(false) {
        Some(_) if own => return fail(Errno::EINVAL),
        None if own => inode.locks_if_any().and_then(|locks| locks.own(&wanted)),
        Some(server) => server.test(&mut call.io(), &wanted)?,
        None => inode.locks_if_any().and_then(|locks| locks.test(&wanted)),
    };
    match held {
        None => lock.l_type = F_UNLCK as i16,
        Some(held) => {
            lock.l_type = if held.write { F_WRLCK } else { F_RDLCK } as i16;
            lock.l_whence = SEEK_SET as i16;
            lock.l_start = held.start as i64;
            lock.l_len = if held.last == u64::MAX { 0 } else { (held.last - held.start + 1) as i64 };
            lock.l_pid = held.pid;
        }
    }
    call.put(arg, &lock)?;
    Ok(0u64.into())
}

fn set_lock(call: &mut Call<'_>, file: &Arc<File>, arg: u64, ofd: bool, wait: bool) -> Op<Ret> {
    let lock: Flock = call.get(arg)?;
    let wanted = wanted(call, file, &lock, ofd)?;
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    let kind = lock.l_type as u32;
    let allowed = kind == F_UNLCK || kind == F_RDLCK && file.readable() || kind == F_WRLCK && file.writable();
    if let Some(server) = file.ops.lock_ops(false).filter(|_| allowed) {
        server.set(&mut call.io(), &wanted, kind != F_UNLCK, wait)?;
        return Ok(0u64.into());
    }
    match kind {
        F_UNLCK => {
            if let Some(locks) = inode.locks_if_any() {
                locks.unlock(&wanted);
            }
        }
        F_RDLCK if !file.readable() => return fail(Errno::EBADF),
        F_WRLCK if !file.writable() => return fail(Errno::EBADF),
        F_RDLCK | F_WRLCK => {
            inode.locks().lock(&mut call.io(), &wanted, wait)?;
            // Another thread may have closed the descriptor meanwhile; its close took no lock of this call along.
            let still = call.files().list().iter().any(|(_, fd)| Arc::ptr_eq(&fd.file, file));
            if !ofd && wait && !still {
                inode.locks().unlock(&wanted);
                return fail(Errno::EBADF);
            }
        }
        _ => return fail(Errno::EINVAL),
    }
    Ok(0u64.into())
}

/// Who gets SIGIO. Numbers are those of the caller's PID namespace; kept are those of the root namespace.
fn owner(call: &mut Call<'_>, file: &Arc<File>, cmd: u32, arg: u64) -> Op<Ret> {
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let root = call.task.kernel.root_pid_ns.clone();
    let cred = call.task.cred();
    let set = |kind: u32, number: i32| -> Op<Ret> {
        let id = match number {
            0 => 0,
            n => ns.find(n).ok_or(Errno::ESRCH)?.number_in(&root),
        };
        let mut owner = file.owner.lock();
        (owner.kind, owner.id) = (kind, id);
        (owner.uid, owner.euid) = (cred.uid, cred.euid);
        Ok(0u64.into())
    };
    let now: Owner = *file.owner.lock();
    let number = if now.id == 0 { 0 } else { root.find(now.id).map_or(0, |pid| pid.number_in(&ns)) };
    match cmd {
        F_SETOWN => match arg as i32 {
            i32::MIN => fail(Errno::EINVAL),
            n if n < 0 => set(F_OWNER_PGRP, -n),
            n => set(F_OWNER_PID, n),
        },
        F_GETOWN => Ok(if now.kind == F_OWNER_PGRP { -number } else { number }.into()),
        F_SETOWN_EX => {
            let to: FOwnerEx = call.get(arg)?;
            let kind = to.type_ as u32;
            if ![F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP].contains(&kind) {
                return fail(Errno::EINVAL);
            }
            set(kind, to.pid)
        }
        F_GETOWN_EX => {
            call.put(arg, &FOwnerEx { type_: now.kind as i32, pid: number })?;
            Ok(0u64.into())
        }
        F_SETSIG => {
            if arg > 64 {
                return fail(Errno::EINVAL);
            }
            file.owner.lock().signal = arg as u32;
            Ok(0u64.into())
        }
        _ => Ok(now.signal.into()),
    }
}

pub fn sys_ioctl(call: &mut Call<'_>, [fd, cmd, arg, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    let cmd = cmd as u32;
    match cmd {
        FIOCLEX | FIONCLEX => {
            call.files().set_cloexec(fd as i32, cmd == FIOCLEX)?;
            return Ok(0u64.into());
        }
        FIONBIO | FIOASYNC => {
            let on: i32 = call.get(arg)?;
            let flag = if cmd == FIONBIO { OpenFlags::NONBLOCK } else { OpenFlags::ASYNC };
            if cmd == FIOASYNC && on != 0 && !file.ops.signals_readiness() {
                return fail(Errno::ENOTTY);
            }
            set(call, &file, fd as i32, if on != 0 { flag } else { OpenFlags::empty() }, flag);
            return Ok(0u64.into());
        }
        _ => {}
    }
    let kind = file.inode.as_ref().filter(|_| file.ops.position() == Position::Vfs).map(|i| (i.clone(), i.kind));
    if let Some((inode, kind @ (FileType::Regular | FileType::Dir))) = kind {
        match cmd {
            FIONREAD if kind == FileType::Regular => {
                let size = inode.attr(&mut call.io())?.size;
                let left = size.saturating_sub(file.position_now()).min(i32::MAX as u64) as i32;
                call.put(arg, &left)?;
                return Ok(0u64.into());
            }
            FIOQSIZE => {
                let size = inode.attr(&mut call.io())?.size;
                call.put(arg, &size)?;
                return Ok(0u64.into());
            }
            FIGETBSZ => {
                let size = inode.fs.ops.statfs(&mut call.io())?.block_size as i32;
                call.put(arg, &size)?;
                return Ok(0u64.into());
            }
            _ => {}
        }
    }
    let mm = call.mm()?;
    Ok(file.ops.ioctl(&mut call.io(), &*mm, cmd, arg)?.into())
}

pub fn sys_flock(call: &mut Call<'_>, [fd, op, ..]: Args) -> Op<Ret> {
    let op = op as u32;
    // None: unlocks.
    let alone = match op & !LOCK_NB {
        LOCK_UN => None,
        LOCK_SH => Some(false),
        LOCK_EX => Some(true),
        _ => return fail(Errno::EINVAL),
    };
    let file = call.file(fd)?;
    if alone.is_some() && !file.readable() && !file.writable() {
        return fail(Errno::EBADF);
    }
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    let wait = op & LOCK_NB == 0;
    match (file.ops.lock_ops(true), alone) {
        (Some(server), alone) => server.flock(&mut call.io(), file.id, alone, wait)?,
        (None, Some(alone)) => inode.locks().flock(&mut call.io(), file.id, alone, wait)?,
        (None, None) => {
            if let Some(locks) = inode.locks_if_any() {
                locks.unflock(file.id);
            }
        }
    }
    Ok(0u64.into())
}
