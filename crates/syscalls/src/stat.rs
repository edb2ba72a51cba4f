//! What files are: stat(2), statx(2), readlink(2), access(2), faccessat2(2).

use crate::names::{CWD, find, gid_to, only, path_or_empty, place, uid_to};
use abi::Errno;
use abi::fs::{
    AT_EACCESS, AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW, MS_NOEXEC, STATX__RESERVED,
    STATX_ATTR_MOUNT_ROOT, STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, Stat, Statx,
};
use kernel::cred::{CapSet, Cred};
use kernel::vfs::{Attr, File, FileType, Inode, Link, Path, access};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

pub fn sys_stat(call: &mut Call<'_>, [path, to, ..]: Args) -> Op<Ret> {
    stat_path(call, CWD, path, to, 0)
}

pub fn sys_lstat(call: &mut Call<'_>, [path, to, ..]: Args) -> Op<Ret> {
    stat_path(call, CWD, path, to, AT_SYMLINK_NOFOLLOW)
}

pub fn sys_newfstatat(call: &mut Call<'_>, [dir, path, to, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)?;
    if let Some(file) = itself(call, dir, path, flags)? {
        return fstat(call, &file, to);
    }
    stat_path(call, dir, path, to, flags)
}

pub fn sys_fstat(call: &mut Call<'_>, [fd, to, ..]: Args) -> Op<Ret> {
    let file = call.any_file(fd)?;
    fstat(call, &file, to)
}

fn stat_path(call: &mut Call<'_>, dir: u64, path: u64, to: u64, flags: u32) -> Op<Ret> {
    let path = find(call, dir, path, flags)?;
    let inode = path.inode()?;
    let attr = inode.attr(&mut call.io())?;
    call.put(to, &to_stat(&call.task.cred(), &inode, &attr))?;
    Ok(0u64.into())
}

fn fstat(call: &mut Call<'_>, file: &Arc<File>, to: u64) -> Op<Ret> {
    let stat = match &file.inode {
        Some(inode) => {
            let attr = inode.attr(&mut call.io())?;
            to_stat(&call.task.cred(), inode, &attr)
        }
        None => anonymous(),
    };
    call.put(to, &stat)?;
    Ok(0u64.into())
}

/// The file of a descriptor, where an empty path with AT_EMPTY_PATH means it and it has no place of its own.
fn itself(call: &Call<'_>, dir: u64, path: u64, flags: u32) -> Op<Option<Arc<File>>> {
    if flags & AT_EMPTY_PATH == 0 || dir as i32 == abi::fs::AT_FDCWD || !path_or_empty(call, path, flags)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(call.any_file(dir)?))
}

/// What Linux shows of the one inode that eventfds and their kind share.
fn anonymous() -> Stat {
    Stat { st_ino: 1, st_nlink: 1, st_mode: 0o600, st_blksize: 4096, ..Stat::default() }
}

fn to_stat(cred: &Cred, inode: &Inode, attr: &Attr) -> Stat {
    Stat {
        st_dev: inode.fs.dev,
        st_ino: attr.ino,
        st_nlink: attr.nlink.into(),
        st_mode: attr.mode(),
        st_uid: uid_to(cred, attr.uid),
        st_gid: gid_to(cred, attr.gid),
        st_rdev: attr.rdev,
        st_size: attr.size as i64,
        st_blksize: attr.blksize.into(),
        st_blocks: attr.blocks as i64,
        st_atim: attr.atime,
        st_mtim: attr.mtime,
        st_ctim: attr.ctime,
        ..Stat::default()
    }
}

pub fn sys_statx(call: &mut Call<'_>, [dir, path, flags, mask, to, ..]: Args) -> Op<Ret> {
    let (flags, mask) = (flags as u32, mask as u32);
    only(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)?;
    if mask & STATX__RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return fail(Errno::EINVAL);
    }
    let (inode, path): (Option<Arc<Inode>>, Option<Path>) = match itself(call, dir, path, flags)? {
        Some(file) => (file.inode.clone(), place(&file)),
        None => {
            let path = find(call, dir, path, flags)?;
            (Some(path.inode()?), Some(path))
        }
    };
    let mut out = match inode {
        Some(inode) => {
            let attr = inode.attr(&mut call.io())?;
            let mut out = to_statx(&call.task.cred(), &inode, &attr);
            out.stx_attributes_mask = STATX_ATTR_MOUNT_ROOT.into();
            if let Some(path) = &path
                && Arc::ptr_eq(&path.dentry, &path.mount.root)
            {
                out.stx_attributes |= u64::from(STATX_ATTR_MOUNT_ROOT);
            }
            out
        }
        None => Statx { stx_ino: 1, stx_nlink: 1, stx_mode: 0o600, stx_blksize: 4096, ..Statx::default() },
    };
    out.stx_mask |= STATX_BASIC_STATS;
    if let Some(path) = path {
        out.stx_mnt_id = path.mount.id;
        out.stx_mask |= if mask & STATX_MNT_ID_UNIQUE != 0 { STATX_MNT_ID_UNIQUE } else { STATX_MNT_ID };
    }
    call.put(to, &out)?;
    Ok(0u64.into())
}

fn to_statx(cred: &Cred, inode: &Inode, attr: &Attr) -> Statx {
    let mut out = Statx {
        stx_blksize: attr.blksize,
        stx_nlink: attr.nlink,
        stx_uid: uid_to(cred, attr.uid),
        stx_gid: gid_to(cred, attr.gid),
        stx_mode: attr.mode() as u16,
        stx_ino: attr.ino,
        stx_size: attr.size,
        stx_blocks: attr.blocks,
        stx_atime: attr.atime.into(),
        stx_ctime: attr.ctime.into(),
        stx_mtime: attr.mtime.into(),
        stx_rdev_major: abi::fs::major(attr.rdev),
        stx_rdev_minor: abi::fs::minor(attr.rdev),
        stx_dev_major: abi::fs::major(inode.fs.dev),
        stx_dev_minor: abi::fs::minor(inode.fs.dev),
        ..Statx::default()
    };
    if let Some(btime) = attr.btime {
        out.stx_btime = btime.into();
        out.stx_mask |= STATX_BTIME;
    }
    out
}

pub fn sys_readlink(call: &mut Call<'_>, [path, to, len, ..]: Args) -> Op<Ret> {
    readlink(call, CWD, path, to, len)
}

pub fn sys_readlinkat(call: &mut Call<'_>, [dir, path, to, len, ..]: Args) -> Op<Ret> {
    readlink(call, dir, path, to, len)
}

fn readlink(call: &mut Call<'_>, dir: u64, path: u64, to: u64, len: u64) -> Op<Ret> {
    if len as i32 <= 0 {
        return fail(Errno::EINVAL);
    }
    let name = call.path(path)?;
    let empty = name.is_empty();
    let at = find(call, dir, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let inode = at.inode()?;
    if inode.kind != FileType::Symlink {
        return fail(if empty { Errno::ENOENT } else { Errno::EINVAL });
    }
    let mut io = call.io();
    let text = match inode.ops.link_text(&mut io)? {
        Some(text) => text,
        None => match inode.ops.read_link(&mut io)? {
            Link::Target(target) => target.into_vec(),
            Link::Magic(path) => path.name_from(&call.task.fs().root()).shown(),
        },
    };
    let count = text.len().min(len as i32 as usize);
    call.put(to, text.get(..count).unwrap_or_default())?;
    Ok(count.into())
}

pub fn sys_access(call: &mut Call<'_>, [path, mode, ..]: Args) -> Op<Ret> {
    may_access(call, CWD, path, mode as u32, 0)
}

pub fn sys_faccessat(call: &mut Call<'_>, [dir, path, mode, ..]: Args) -> Op<Ret> {
    may_access(call, dir, path, mode as u32, 0)
}

pub fn sys_faccessat2(call: &mut Call<'_>, [dir, path, mode, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    may_access(call, dir, path, mode as u32, flags)
}

/// The real ids count, and the capabilities that a program of the real user would have; with AT_EACCESS the effective ones.
fn may_access(call: &mut Call<'_>, dir: u64, path: u64, mode: u32, flags: u32) -> Op<Ret> {
    if mode & !7 != 0 {
        return fail(Errno::EINVAL);
    }
    let name = path_or_empty(call, path, flags)?;
    let base = crate::names::base(call, dir, &name)?;
    let mut io = call.io();
    if flags & AT_EACCESS == 0 {
        let mut cred = (*io.cred).clone();
        (cred.fsuid, cred.fsgid) = (cred.uid, cred.gid);
        let root = cred.user_ns.uid_from(0);
        cred.effective = if Some(cred.uid) == root { cred.permitted } else { CapSet::EMPTY };
        io.cred = Arc::new(cred);
    }
    let mut walk_flags = kernel::vfs::WalkFlags::empty();
    walk_flags.set(kernel::vfs::WalkFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    walk_flags.set(kernel::vfs::WalkFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    let path = kernel::vfs::walk(&mut io, &base, &name, walk_flags)?;
    let inode = path.inode()?;
    if mode == 0 {
        return Ok(0u64.into());
    }
    let no_exec = path.mount.flags() & MS_NOEXEC != 0;
    if mode & access::EXEC != 0 && no_exec && inode.kind == FileType::Regular {
        return fail(Errno::EACCES);
    }
    access::check(&mut io, &inode, mode | access::ASKED)?;
    let special = matches!(inode.kind, FileType::Char | FileType::Block | FileType::Fifo | FileType::Socket);
    if mode & access::WRITE != 0 && !special && path.mount.read_only() {
        return fail(Errno::EROFS);
    }
    Ok(0u64.into())
}
