//! Names in folders: mkdir(2), mknod(2), rmdir(2), unlink(2), rename(2), link(2), symlink(2), getdents(2).

use crate::names::{CWD, base, find_named, named, only, path_or_empty};
use abi::Errno;
use abi::fs::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, Dirent64};
use abi::fs::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use kernel::cred::Cap;
use kernel::vfs::{DirSink, FileType, NewKind, namei};
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_mkdir(call: &mut Call<'_>, [path, mode, ..]: Args) -> Op<Ret> {
    make(call, CWD, path, NewKind::Dir, mode as u32 & 0o1777)
}

pub fn sys_mkdirat(call: &mut Call<'_>, [dir, path, mode, ..]: Args) -> Op<Ret> {
    make(call, dir, path, NewKind::Dir, mode as u32 & 0o1777)
}

pub fn sys_mknod(call: &mut Call<'_>, [path, mode, dev, ..]: Args) -> Op<Ret> {
    mknod(call, CWD, path, mode as u32, dev)
}

pub fn sys_mknodat(call: &mut Call<'_>, [dir, path, mode, dev, ..]: Args) -> Op<Ret> {
    mknod(call, dir, path, mode as u32, dev)
}

fn mknod(call: &mut Call<'_>, dir: u64, path: u64, mode: u32, dev: u64) -> Op<Ret> {
    let dev = u64::from(dev as u32);
    let kind = match mode & 0o170000 {
        0 | 0o100000 => NewKind::Regular,
        0o010000 => NewKind::Fifo,
        0o140000 => NewKind::Socket(0),
        0o020000 => NewKind::Char(dev),
        0o060000 => NewKind::Block(dev),
        0o040000 => return fail(Errno::EPERM),
        _ => return fail(Errno::EINVAL),
    };
    make(call, dir, path, kind, mode & 0o7777)
}

fn make(call: &mut Call<'_>, dir: u64, path: u64, kind: NewKind<'_>, perm: u32) -> Op<Ret> {
    let name = named(call, path)?;
    let base = base(call, dir, &name)?;
    namei::create(&mut call.io(), &base, &name, kind, perm)?;
    Ok(0u64.into())
}

pub fn sys_symlink(call: &mut Call<'_>, [target, path, ..]: Args) -> Op<Ret> {
    symlink(call, target, CWD, path)
}

pub fn sys_symlinkat(call: &mut Call<'_>, [target, dir, path, ..]: Args) -> Op<Ret> {
    symlink(call, target, dir, path)
}

fn symlink(call: &mut Call<'_>, target: u64, dir: u64, path: u64) -> Op<Ret> {
    let target = named(call, target)?;
    let name = named(call, path)?;
    let base = base(call, dir, &name)?;
    namei::create(&mut call.io(), &base, &name, NewKind::Symlink(&target), 0o777)?;
    Ok(0u64.into())
}

pub fn sys_unlink(call: &mut Call<'_>, [path, ..]: Args) -> Op<Ret> {
    unlink(call, CWD, path, false)
}

pub fn sys_rmdir(call: &mut Call<'_>, [path, ..]: Args) -> Op<Ret> {
    unlink(call, CWD, path, true)
}

pub fn sys_unlinkat(call: &mut Call<'_>, [dir, path, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, AT_REMOVEDIR)?;
    unlink(call, dir, path, flags as u32 & AT_REMOVEDIR != 0)
}

fn unlink(call: &mut Call<'_>, dir: u64, path: u64, folder: bool) -> Op<Ret> {
    let name = named(call, path)?;
    let base = base(call, dir, &name)?;
    let mut io = call.io();
    if folder { namei::rmdir(&mut io, &base, &name) } else { namei::unlink(&mut io, &base, &name) }?;
    Ok(0u64.into())
}

pub fn sys_link(call: &mut Call<'_>, [old, new, ..]: Args) -> Op<Ret> {
    link(call, CWD, old, CWD, new, 0)
}

pub fn sys_linkat(call: &mut Call<'_>, [old_dir, old, new_dir, new, flags, ..]: Args) -> Op<Ret> {
    link(call, old_dir, old, new_dir, new, flags as u32)
}

fn link(call: &mut Call<'_>, old_dir: u64, old: u64, new_dir: u64, new: u64, flags: u32) -> Op<Ret> {
    only(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)?;
    let follow = if flags & AT_SYMLINK_FOLLOW != 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    let at_flags = follow | flags & AT_EMPTY_PATH;
    let old = path_or_empty(call, old, at_flags)?;
    if old.is_empty() && old_dir as i32 != AT_FDCWD {
        // Who opened it may name it (Linux 6.10), but not who was handed it.
        let (file, cred) = (call.any_file(old_dir)?, call.task.cred());
        if !file.is_opened_by(&cred) && !cred.has(Cap::DacReadSearch) {
            return fail(Errno::ENOENT);
        }
    }
    let from = find_named(call, old_dir, &old, at_flags)?;
    let name = named(call, new)?;
    let base = base(call, new_dir, &name)?;
    namei::link(&mut call.io(), &from, &base, &name)?;
    Ok(0u64.into())
}

pub fn sys_rename(call: &mut Call<'_>, [old, new, ..]: Args) -> Op<Ret> {
    rename(call, CWD, old, CWD, new, 0)
}

pub fn sys_renameat(call: &mut Call<'_>, [old_dir, old, new_dir, new, ..]: Args) -> Op<Ret> {
    rename(call, old_dir, old, new_dir, new, 0)
}

pub fn sys_renameat2(call: &mut Call<'_>, [old_dir, old, new_dir, new, flags, ..]: Args) -> Op<Ret> {
    rename(call, old_dir, old, new_dir, new, flags as u32)
}

fn rename(call: &mut Call<'_>, old_dir: u64, old: u64, new_dir: u64, new: u64, flags: u32) -> Op<Ret> {
    only(flags, RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)?;
    if flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0 {
        return fail(Errno::EINVAL);
    }
    let old_name = named(call, old)?;
    let old_base = base(call, old_dir, &old_name)?;
    let from = namei::parent(&mut call.io(), &old_base, &old_name)?;
    let new_name = named(call, new)?;
    let new_base = base(call, new_dir, &new_name)?;
    let mut io = call.io();
    let to = namei::parent(&mut io, &new_base, &new_name)?;
    namei::rename(&mut io, from, to, flags)?;
    Ok(0u64.into())
}

/// Records for the guest's buffer.
struct Records {
    bytes: Vec<u8>,
    room: usize,
    /// The position after the last record taken.
    next: Option<u64>,
    full: bool,
    old: bool,
}

impl DirSink for Records {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileType, next: u64) -> bool {
        let record = Dirent64 { ino, off: next as i64, typ: kind.dirent_type(), name };
        let took = if self.old {
            record.append_old(&mut self.bytes, self.room)
        } else {
            record.append(&mut self.bytes, self.room)
        };
        if took {
            self.next = Some(next);
        } else {
            self.full = true;
        }
        took
    }
}

pub fn sys_getdents(call: &mut Call<'_>, [fd, to, len, ..]: Args) -> Op<Ret> {
    list(call, fd, to, len, true)
}

pub fn sys_getdents64(call: &mut Call<'_>, [fd, to, len, ..]: Args) -> Op<Ret> {
    list(call, fd, to, len, false)
}

fn list(call: &mut Call<'_>, fd: u64, to: u64, len: u64, old: bool) -> Op<Ret> {
    // One call fills at most so much: the kernel process keeps it for a moment.
    const MOST: usize = 256 << 10;
    let file = call.file(fd)?;
    if !file.inode.as_ref().is_some_and(|i| i.kind == FileType::Dir) {
        return fail(Errno::ENOTDIR);
    }
    if file.path.as_ref().is_some_and(|p| p.dentry.is_gone()) {
        return fail(Errno::ENOENT);
    }
    let mm = call.mm()?;
    let mut io = call.io();
    let position = file.lock_position(&mut io)?;
    let room = (len as u32 as usize).min(MOST);
    let mut records = Records { bytes: Vec::with_capacity(room.min(32 << 10)), room, next: None, full: false, old };
    file.ops.list(&mut io, position.get(), &mut records)?;
    file.accessed(&mut io);
    let Some(next) = records.next else {
        if records.full {
            return fail(Errno::EINVAL);
        }
        file.accessed(&mut io);
        return Ok(0u64.into());
    };
    mm.write_exact(to, &records.bytes)?;
    position.set(next);
    Ok(records.bytes.len().into())
}
