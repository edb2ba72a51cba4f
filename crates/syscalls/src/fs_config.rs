//! File systems that are configured by descriptors: fsopen(2), fsconfig(2), fspick(2).
//!
//! Neighbours: `vfs::FsConfig` is the state; `mount_fds` mounts what was made.

use crate::mounts::may_mount;
use crate::names::{find, only};
use abi::Errno;
use abi::fs::{
    AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_CREATE_EXCL, FSCONFIG_CMD_RECONFIGURE,
    FSCONFIG_SET_BINARY, FSCONFIG_SET_FD, FSCONFIG_SET_FLAG, FSCONFIG_SET_PATH, FSCONFIG_SET_PATH_EMPTY,
    FSCONFIG_SET_STRING, FSOPEN_CLOEXEC, FSPICK_CLOEXEC, FSPICK_EMPTY_PATH, FSPICK_NO_AUTOMOUNT,
    FSPICK_SYMLINK_NOFOLLOW,
};
use kernel::task::Resource;
use kernel::vfs::{File, FsConfig, new_fs_config};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// Names of types and options, and values: at most this long.
const TEXT_MAX: usize = 256;

pub fn sys_fsopen(call: &mut Call<'_>, [name, flags, ..]: Args) -> Op<Ret> {
    may_mount(call)?;
    only(flags as u32, FSOPEN_CLOEXEC)?;
    let name = call.mm()?.cstr(name, 4096)?.ok_or(Errno::EINVAL)?;
    let fs = call.task.kernel.fs_type(&name).ok_or(Errno::ENODEV)?;
    if !fs.user_mountable {
        return fail(Errno::EPERM);
    }
    install(call, new_fs_config(Some(fs), None)?, flags as u32 & FSOPEN_CLOEXEC != 0)
}

pub fn sys_fspick(call: &mut Call<'_>, [dir, path, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    may_mount(call)?;
    only(flags, FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH)?;
    let mut at_flags = 0;
    if flags & FSPICK_SYMLINK_NOFOLLOW != 0 {
        at_flags |= AT_SYMLINK_NOFOLLOW;
    }
    if flags & FSPICK_EMPTY_PATH != 0 {
        at_flags |= AT_EMPTY_PATH;
    }
    let at = find(call, dir, path, at_flags)?;
    if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
        return fail(Errno::EINVAL);
    }
    install(call, new_fs_config(None, Some(at.mount.fs.clone()))?, flags & FSPICK_CLOEXEC != 0)
}

/// A new descriptor.
pub fn install(call: &Call<'_>, file: Arc<File>, cloexec: bool) -> Op<Ret> {
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, cloexec, 0, limit)?.into())
}

pub fn sys_fsconfig(call: &mut Call<'_>, [fd, command, key, value, aux, _]: Args) -> Op<Ret> {
    let (command, aux) = (command as u32, aux as i32);
    if (fd as i32) < 0 {
        return fail(Errno::EINVAL);
    }
    let fits = match command {
        FSCONFIG_SET_FLAG => key != 0 && value == 0 && aux == 0,
        FSCONFIG_SET_STRING => key != 0 && value != 0 && aux == 0,
        FSCONFIG_SET_BINARY => key != 0 && value != 0 && aux > 0 && aux <= 1 << 20,
        FSCONFIG_SET_PATH | FSCONFIG_SET_PATH_EMPTY => key != 0 && value != 0,
        FSCONFIG_SET_FD => key != 0 && value == 0 && aux >= 0,
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_CREATE_EXCL | FSCONFIG_CMD_RECONFIGURE => key == 0 && value == 0 && aux == 0,
        _ => return fail(Errno::EOPNOTSUPP),
    };
    if !fits {
        return fail(Errno::EINVAL);
    }
    let file = call.any_file(fd)?;
    let config = file.ops_as::<FsConfig>().ok_or(Errno::EINVAL)?;
    let text = |call: &Call<'_>, at: u64| -> Op<Box<[u8]>> { Ok(call.mm()?.cstr(at, TEXT_MAX)?.ok_or(Errno::EINVAL)?) };
    match command {
        FSCONFIG_SET_FLAG | FSCONFIG_SET_STRING => {
            let key = text(call, key)?;
            let value = if command == FSCONFIG_SET_STRING { Some(text(call, value)?) } else { None };
            let fs = call.task.kernel.fs_type(config.type_name().as_bytes()).ok_or(Errno::EINVAL)?;
            config.set(&key, value.as_deref(), fs.option)?;
        }
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_CREATE_EXCL => {
            may_mount(call)?;
            let kernel = call.task.kernel.clone();
            config.create(&mut call.io(), &kernel)?;
        }
        FSCONFIG_CMD_RECONFIGURE => config.reconfigure(&mut call.io())?,
        FSCONFIG_SET_FD if matches!(config.type_name(), "fuse" | "fuseblk") => {
            let key = text(call, key)?;
            let fs = call.task.kernel.fs_type(config.type_name().as_bytes()).ok_or(Errno::EINVAL)?;
            config.set(&key, Some(aux.to_string().as_bytes()), fs.option)?;
        }
        // No other file system has such an option.
        _ => return fail(Errno::EINVAL),
    }
    Ok(0u64.into())
}
