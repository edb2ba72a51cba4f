//! fanotify_init(2), fanotify_mark(2): the notification class. Groups are `kernel::ipc::fanotify`'s.

use crate::names::{find, only, place};
use abi::Errno;
use abi::fanotify::*;
use abi::fs::{AT_SYMLINK_NOFOLLOW, OpenFlags};
use kernel::cred::Cap;
use kernel::ipc::fanotify::{Fanotify, Marked};
use kernel::task::Resource;
use kernel::vfs::{File, FileType, Handled, access};
use kernel::{Args, Call, Op, Ret, fail};

/// What the descriptors of events may be opened with, beside the way of access.
const EVENT_FLAGS: OpenFlags = OpenFlags::LARGEFILE
    .union(OpenFlags::APPEND)
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::SYNC)
    .union(OpenFlags::CLOEXEC)
    .union(OpenFlags::NOATIME);

const REPORTS: u32 = FAN_REPORT_TID | FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME;

pub fn sys_fanotify_init(call: &mut Call<'_>, [flags, event_flags, ..]: Args) -> Op<Ret> {
    let (flags, event_flags) = (flags as u32, event_flags as u32);
    let ids = flags & (FAN_REPORT_FID | FAN_REPORT_DIR_FID) != 0;
    let privileged = call.task.cred().has(Cap::SysAdmin);
    let classes = FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT;
    // Nobody has the right to decide what others may open: the permission classes are not there.
    let for_admins = FAN_REPORT_TID | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
    if flags & classes != 0 || !privileged && (flags & for_admins != 0 || !ids) {
        return fail(Errno::EPERM);
    }
    only(flags, FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | REPORTS)?;
    if event_flags & !(EVENT_FLAGS.bits() | 3) != 0 || event_flags & 3 == 3 {
        return fail(Errno::EINVAL);
    }
    if flags & FAN_REPORT_NAME != 0 && flags & FAN_REPORT_DIR_FID == 0 {
        return fail(Errno::EINVAL);
    }
    let limit = call.task.group.limit(Resource::Nofile);
    if !call.files().has_room(limit) {
        return fail(Errno::EMFILE);
    }
    let event_flags = OpenFlags::from_bits_retain(event_flags) | OpenFlags::LARGEFILE;
    let group = Fanotify::new(call.task, flags, event_flags, privileged)?;
    let nonblock = if flags & FAN_NONBLOCK != 0 { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
    let file = File::anonymous(group, OpenFlags::RDWR | nonblock);
    Ok(call.files().add(file, flags & FAN_CLOEXEC != 0, 0, limit)?.into())
}

/// Events with a descriptor, for which an object must have been opened; the others are told by ids only.
const OPENED: u64 = FAN_ACCESS | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_CLOSE_NOWRITE | FAN_OPEN;

pub fn sys_fanotify_mark(call: &mut Call<'_>, [fd, flags, mask, dir, path, _]: Args) -> Op<Ret> {
    let flags = flags as u32;
    let changes = FAN_MARK_ADD | FAN_MARK_REMOVE | FAN_MARK_FLUSH;
    let kinds = FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM;
    let walk = FAN_MARK_DONT_FOLLOW | FAN_MARK_ONLYDIR;
    only(flags, changes | kinds | walk | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY)?;
    if mask >> 32 != 0 || flags & kinds == kinds {
        return fail(Errno::EINVAL);
    }
    match flags & changes {
        FAN_MARK_ADD | FAN_MARK_REMOVE if mask != 0 => {}
        FAN_MARK_FLUSH if flags & !(kinds | FAN_MARK_FLUSH) == 0 => {}
        _ => return fail(Errno::EINVAL),
    }
    if mask & !(FAN_EVENTS | FAN_EVENT_ON_CHILD | FAN_ONDIR) != 0 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    let group = file.ops_as::<Fanotify>().ok_or(Errno::EINVAL)?;
    if !group.is_privileged() && flags & kinds != 0 {
        return fail(Errno::EPERM);
    }
    if mask & FAN_EVENTS & !OPENED != 0 && (!group.reports_ids() || flags & FAN_MARK_MOUNT != 0) {
        return fail(Errno::EINVAL);
    }
    if flags & FAN_MARK_FLUSH != 0 {
        group.flush(flags & kinds);
        return Ok(().into());
    }
    let at = if path == 0 {
        place(&call.any_file(dir)?).ok_or(Errno::EINVAL)?
    } else {
        find(call, dir, path, if flags & FAN_MARK_DONT_FOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 })?
    };
    let inode = at.inode()?;
    if flags & FAN_MARK_ONLYDIR != 0 && inode.kind != FileType::Dir {
        return fail(Errno::ENOTDIR);
    }
    access::check(&mut call.io(), &inode, access::READ)?;
    if group.reports_ids() && inode.fs.ops.handled() == Handled::No {
        return fail(Errno::EOPNOTSUPP);
    }
    let what = match flags & kinds {
        FAN_MARK_MOUNT => Marked::Mount(at.mount),
        FAN_MARK_FILESYSTEM => Marked::FileSystem(inode.fs.clone()),
        _ => Marked::Inode(inode),
    };
    let ignore = flags & FAN_MARK_IGNORED_MASK != 0;
    group.change(&what, mask, flags & FAN_MARK_ADD != 0, ignore, flags & FAN_MARK_IGNORED_SURV_MODIFY != 0)?;
    Ok(().into())
}
