//! Changes of attributes and sizes: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), umask(2).

use crate::names::{CWD, find, only};
use abi::Errno;
use abi::fs::{
    AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, UTIME_NOW, UTIME_OMIT, Utimbuf,
};
use abi::inotify::{IN_ACCESS, IN_ATTRIB, IN_MODIFY};
use abi::time::{Timespec, Timeval};
use kernel::cred::Cap;
use kernel::task::Resource;
use kernel::vfs::{Attr, File, FileType, Inode, Path, SetAttr, SetTime, access, notify};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// What an attribute call changes: an inode, and where it was found.
struct Subject {
    inode: Arc<Inode>,
    path: Option<Path>,
}

impl Subject {
    fn at(path: Path) -> Op<Subject> {
        Ok(Subject { inode: path.inode()?, path: Some(path) })
    }

    /// Of a descriptor. Anonymous files have no attributes that could be changed.
    fn of(file: &Arc<File>) -> Op<Subject> {
        let inode = file.inode.clone().ok_or(Errno::EPERM)?;
        Ok(Subject { inode, path: file.path.clone() })
    }

    fn writable(&self) -> Op<()> {
        if self.path.as_ref().is_some_and(|p| p.mount.read_only()) { fail(Errno::EROFS) } else { Ok(()) }
    }

    fn apply(&self, call: &mut Call<'_>, change: &SetAttr, event: u32) -> Op<Ret> {
        self.inode.ops.set_attr(&mut call.io(), change)?;
        if let Some(path) = &self.path {
            path.dentry.bump();
        }
        notify::inode_event(&self.inode, self.path.as_ref(), event);
        Ok(0u64.into())
    }
}

pub fn sys_chmod(call: &mut Call<'_>, [path, mode, ..]: Args) -> Op<Ret> {
    let subject = Subject::at(find(call, CWD, path, 0)?)?;
    chmod(call, &subject, mode as u32)
}

pub fn sys_fchmod(call: &mut Call<'_>, [fd, mode, ..]: Args) -> Op<Ret> {
    let subject = Subject::of(&call.file(fd)?)?;
    chmod(call, &subject, mode as u32)
}

pub fn sys_fchmodat(call: &mut Call<'_>, [dir, path, mode, ..]: Args) -> Op<Ret> {
    let subject = Subject::at(find(call, dir, path, 0)?)?;
    chmod(call, &subject, mode as u32)
}

pub fn sys_fchmodat2(call: &mut Call<'_>, [dir, path, mode, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let subject = Subject::at(find(call, dir, path, flags as u32)?)?;
    chmod(call, &subject, mode as u32)
}

fn chmod(call: &mut Call<'_>, subject: &Subject, mode: u32) -> Op<Ret> {
    subject.writable()?;
    if subject.inode.kind == FileType::Symlink {
        return fail(Errno::EOPNOTSUPP);
    }
    let attr = subject.inode.attr(&mut call.io())?;
    let cred = call.task.cred();
    if !subject.inode.ops.decides() && !access::is_owner(&cred, &attr) {
        return fail(Errno::EPERM);
    }
    let mut perm = mode & 0o7777;
    if perm & 0o2000 != 0 && !cred.in_group(attr.gid) && !access::capable(&cred, attr.uid, attr.gid, Cap::Fsetid) {
        perm &= !0o2000;
    }
    subject.apply(call, &SetAttr { perm: Some(perm), ..SetAttr::default() }, IN_ATTRIB)
}

pub fn sys_chown(call: &mut Call<'_>, [path, uid, gid, ..]: Args) -> Op<Ret> {
    let subject = Subject::at(find(call, CWD, path, 0)?)?;
    chown(call, &subject, uid as u32, gid as u32)
}

pub fn sys_lchown(call: &mut Call<'_>, [path, uid, gid, ..]: Args) -> Op<Ret> {
    let subject = Subject::at(find(call, CWD, path, AT_SYMLINK_NOFOLLOW)?)?;
    chown(call, &subject, uid as u32, gid as u32)
}

pub fn sys_fchown(call: &mut Call<'_>, [fd, uid, gid, ..]: Args) -> Op<Ret> {
    let subject = Subject::of(&call.file(fd)?)?;
    chown(call, &subject, uid as u32, gid as u32)
}

pub fn sys_fchownat(call: &mut Call<'_>, [dir, path, uid, gid, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let subject = Subject::at(find(call, dir, path, flags as u32)?)?;
    chown(call, &subject, uid as u32, gid as u32)
}

/// -1 leaves an id as it is.
fn chown(call: &mut Call<'_>, subject: &Subject, uid: u32, gid: u32) -> Op<Ret> {
    subject.writable()?;
    let cred = call.task.cred();
    let uid = match uid {
        u32::MAX => None,
        uid => Some(cred.user_ns.uid_from(uid).ok_or(Errno::EINVAL)?),
    };
    let gid = match gid {
        u32::MAX => None,
        gid => Some(cred.user_ns.gid_from(gid).ok_or(Errno::EINVAL)?),
    };
    let attr = subject.inode.attr(&mut call.io())?;
    let chown = subject.inode.ops.decides() || access::capable(&cred, attr.uid, attr.gid, Cap::Chown);
    if uid.is_some_and(|uid| !chown && (cred.fsuid != attr.uid || uid != attr.uid)) {
        return fail(Errno::EPERM);
    }
    if gid.is_some_and(|gid| !chown && (cred.fsuid != attr.uid || gid != attr.gid && !cred.in_group(gid))) {
        return fail(Errno::EPERM);
    }
    let mut change = SetAttr { uid, gid, ..SetAttr::default() };
    if attr.kind != FileType::Dir {
        let mut perm = access::without_set_ids(&cred, &attr);
        // A mode that changes is checked by the new group, as chmod(2) does.
        let group = gid.unwrap_or(attr.gid);
        if perm != attr.perm && !cred.in_group(group) && !access::capable(&cred, attr.uid, group, Cap::Fsetid) {
            perm &= !0o2000;
        }
        change.perm = (perm != attr.perm).then_some(perm);
        change.disarms = true;
        if change.perm.is_some() && !subject.inode.ops.decides() && !access::is_owner(&cred, &attr) {
            return fail(Errno::EPERM);
        }
    }
    subject.apply(call, &change, IN_ATTRIB)
}

pub fn sys_utime(call: &mut Call<'_>, [path, times, ..]: Args) -> Op<Ret> {
    let times = if times == 0 {
        None
    } else {
        let buf: Utimbuf = call.get(times)?;
        let at = |sec| Timespec { tv_sec: sec, tv_nsec: 0 };
        Some([at(buf.actime), at(buf.modtime)])
    };
    utimens_path(call, CWD, path, times, 0)
}

pub fn sys_utimes(call: &mut Call<'_>, [path, times, ..]: Args) -> Op<Ret> {
    let times = timevals(call, times)?;
    utimens_path(call, CWD, path, times, 0)
}

/// A null path means the descriptor itself.
pub fn sys_futimesat(call: &mut Call<'_>, [dir, path, times, ..]: Args) -> Op<Ret> {
    let times = timevals(call, times)?;
    utimens_path(call, dir, path, times, 0)
}

fn timevals(call: &Call<'_>, at: u64) -> Op<Option<[Timespec; 2]>> {
    if at == 0 {
        return Ok(None);
    }
    let times: [Timeval; 2] = [call.get(at)?, call.get(at.wrapping_add(16))?];
    if times.iter().any(|t| !(0..1_000_000).contains(&t.tv_usec)) {
        return fail(Errno::EINVAL);
    }
    Ok(Some(times.map(|t| Timespec { tv_sec: t.tv_sec, tv_nsec: t.tv_usec * 1000 })))
}

pub fn sys_utimensat(call: &mut Call<'_>, [dir, path, times, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    let times = if times == 0 {
        None
    } else {
        let times: [Timespec; 2] = [call.get(times)?, call.get(times.wrapping_add(16))?];
        if times.iter().all(|t| t.tv_nsec == i64::from(UTIME_OMIT)) {
            return Ok(0u64.into());
        }
        Some(times)
    };
    utimens_path(call, dir, path, times, flags)
}

fn utimens_path(call: &mut Call<'_>, dir: u64, path: u64, times: Option<[Timespec; 2]>, flags: u32) -> Op<Ret> {
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let subject = if path == 0 && dir as i32 != abi::fs::AT_FDCWD {
        only(flags, 0)?;
        Subject::of(&call.file(dir)?)?
    } else {
        Subject::at(find(call, dir, path, flags)?)?
    };
    subject.writable()?;
    let time = |t: Timespec| match t.tv_nsec {
        n if n == i64::from(UTIME_NOW) => Ok(Some(SetTime::Now)),
        n if n == i64::from(UTIME_OMIT) => Ok(None),
        0..1_000_000_000 => Ok(Some(SetTime::At(t))),
        _ => fail(Errno::EINVAL),
    };
    let (atime, mtime) = match times {
        None => (Some(SetTime::Now), Some(SetTime::Now)),
        Some([atime, mtime]) => (time(atime)?, time(mtime)?),
    };
    let cred = call.task.cred();
    let attr = subject.inode.attr(&mut call.io())?;
    if !subject.inode.ops.decides() && !access::is_owner(&cred, &attr) {
        // "Now" for both is what writing would do.
        if !matches!((atime, mtime), (Some(SetTime::Now), Some(SetTime::Now))) {
            return fail(Errno::EPERM);
        }
        access::check_known(&mut call.io(), &subject.inode, &attr, access::WRITE)?;
    }
    // One time alone is changed as if by reading or writing.
    let event = match (&atime, &mtime) {
        (Some(_), None) => IN_ACCESS,
        (None, Some(_)) => IN_MODIFY,
        _ => IN_ATTRIB,
    };
    subject.apply(call, &SetAttr { atime, mtime, ..SetAttr::default() }, event)
}

pub fn sys_truncate(call: &mut Call<'_>, [path, size, ..]: Args) -> Op<Ret> {
    if size > i64::MAX as u64 {
        return fail(Errno::EINVAL);
    }
    let subject = Subject::at(find(call, CWD, path, 0)?)?;
    match subject.inode.kind {
        FileType::Dir => return fail(Errno::EISDIR),
        FileType::Regular => {}
        _ => return fail(Errno::EINVAL),
    }
    access::check(&mut call.io(), &subject.inode, access::WRITE)?;
    subject.writable()?;
    kernel::vfs::may_write(&subject.inode)?;
    kernel::vfs::lease::break_for(&mut call.io(), &subject.inode, true, false)?;
    truncate(call, &subject, size)
}

pub fn sys_ftruncate(call: &mut Call<'_>, [fd, size, ..]: Args) -> Op<Ret> {
    if size > i64::MAX as u64 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    let subject = Subject::of(&file).map_err(|_| Errno::EINVAL)?;
    if !file.writable() || subject.inode.kind != FileType::Regular {
        return fail(Errno::EINVAL);
    }
    truncate(call, &subject, size)
}

fn truncate(call: &mut Call<'_>, subject: &Subject, size: u64) -> Op<Ret> {
    let attr: Attr = subject.inode.attr(&mut call.io())?;
    // A pipe of the host is opened like a file, but is none.
    if attr.kind != FileType::Regular {
        return fail(Errno::EINVAL);
    }
    if size > attr.size && size > call.task.group.limit(Resource::Fsize) {
        call.task.signal_self(kernel::signal::SIGXFSZ);
        return fail(Errno::EFBIG);
    }
    let perm = access::without_privileges(&call.task.cred(), &attr);
    // A file that has this size already counts as changed all the same.
    let mtime = (size == attr.size).then_some(SetTime::Now);
    subject.apply(call, &SetAttr { size: Some(size), perm, mtime, disarms: true, ..SetAttr::default() }, IN_MODIFY)
}

pub fn sys_fallocate(call: &mut Call<'_>, [fd, mode, offset, len, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    let (offset, len) = (offset as i64, len as i64);
    if offset < 0 || len <= 0 {
        return fail(Errno::EINVAL);
    }
    let mode = mode as u32;
    if mode & !0xff != 0 || mode & FALLOC_FL_PUNCH_HOLE != 0 && mode & FALLOC_FL_KEEP_SIZE == 0 {
        return fail(Errno::EOPNOTSUPP);
    }
    if !file.writable() {
        return fail(Errno::EBADF);
    }
    match file.inode.as_ref().map(|i| i.kind) {
        Some(FileType::Fifo) => return fail(Errno::ESPIPE),
        Some(FileType::Dir) => return fail(Errno::EISDIR),
        Some(FileType::Regular) => {}
        _ => return fail(Errno::ENODEV),
    }
    let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
    let inode = file.inode.as_ref().ok_or(Errno::ENODEV)?;
    let limit = call.task.group.limit(Resource::Fsize);
    // Beyond the end also where the size is to stay; a hole makes nothing longer.
    let may_grow = mode & FALLOC_FL_PUNCH_HOLE == 0 && end as u64 > limit;
    if may_grow && end as u64 > inode.attr(&mut call.io())?.size {
        call.task.signal_self(kernel::signal::SIGXFSZ);
        return fail(Errno::EFBIG);
    }
    file.ops.allocate(&mut call.io(), mode, offset as u64..end as u64)?;
    file.modified();
    Ok(0u64.into())
}

pub fn sys_umask(call: &mut Call<'_>, [mask, ..]: Args) -> Op<Ret> {
    Ok(call.task.fs().set_umask(mask as u32).into())
}
