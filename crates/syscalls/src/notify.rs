//! inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2).

use crate::names::{CWD, find, only};
use abi::Errno;
use abi::fs::{AT_SYMLINK_NOFOLLOW, OpenFlags};
use abi::inotify::{
    IN_ALL_EVENTS, IN_CLOEXEC, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE,
    IN_NONBLOCK, IN_ONESHOT, IN_ONLYDIR, IN_Q_OVERFLOW, IN_UNMOUNT,
};
use kernel::task::Resource;
use kernel::vfs::{File, FileType, Inotify, access};
use kernel::{Args, Call, Op, Ret, fail};

/// A mask must have one of these; what it has beyond them is ignored.
const KNOWN: u32 = IN_ALL_EVENTS
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_IGNORED
    | IN_ISDIR
    | IN_MASK_ADD
    | IN_MASK_CREATE
    | IN_ONESHOT
    | IN_ONLYDIR
    | IN_Q_OVERFLOW
    | IN_UNMOUNT;

pub fn sys_inotify_init(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    init(call, 0)
}

pub fn sys_inotify_init1(call: &mut Call<'_>, [flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, IN_CLOEXEC | IN_NONBLOCK)?;
    init(call, flags as u32)
}

fn init(call: &mut Call<'_>, flags: u32) -> Op<Ret> {
    let open = if flags & IN_NONBLOCK != 0 { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
    let file = File::anonymous(Inotify::new(), open);
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, flags & IN_CLOEXEC != 0, 0, limit)?.into())
}

pub fn sys_inotify_add_watch(call: &mut Call<'_>, [fd, path, mask, ..]: Args) -> Op<Ret> {
    let mask = mask as u32;
    let both = IN_MASK_ADD | IN_MASK_CREATE;
    if mask & KNOWN == 0 {
        return fail(Errno::EINVAL);
    }
    let file = call.file(fd)?;
    if mask & both == both {
        return fail(Errno::EINVAL);
    }
    let instance = file.ops_as::<Inotify>().ok_or(Errno::EINVAL)?;
    let at = find(call, CWD, path, if mask & IN_DONT_FOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 })?;
    let inode = at.inode()?;
    if mask & IN_ONLYDIR != 0 && inode.kind != FileType::Dir {
        return fail(Errno::ENOTDIR);
    }
    access::check(&mut call.io(), &inode, access::READ)?;
    Ok(instance.add(&inode, mask)?.into())
}

pub fn sys_inotify_rm_watch(call: &mut Call<'_>, [fd, wd, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    file.ops_as::<Inotify>().ok_or(Errno::EINVAL)?.remove(wd as i32)?;
    Ok(0u64.into())
}
