//! name_to_handle_at(2), open_by_handle_at(2). Handles are `kernel::vfs`'s.

use crate::names::{find, only, place};
use abi::Errno;
use abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_HANDLE_FID, AT_HANDLE_MNT_ID_UNIQUE, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, OpenFlags,
};
use kernel::cred::Cap;
use kernel::ipc::pipe::open_fifo;
use kernel::task::Resource;
use kernel::vfs::{self, File, HANDLE_LEN, HANDLE_TYPE, Handled, Opened, Path, PathOnly, decode_handle, encode_handle};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct file_handle` without its bytes.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct Head {
    bytes: u32,
    kind: i32,
}

/// MAX_HANDLE_SZ.
const MAX_BYTES: u32 = 128;

pub fn sys_name_to_handle_at(call: &mut Call<'_>, [dir, path, handle, mount_id, flags, _]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | AT_HANDLE_FID | AT_HANDLE_MNT_ID_UNIQUE)?;
    let follow = if flags & AT_SYMLINK_FOLLOW != 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    let at = find(call, dir, path, flags & AT_EMPTY_PATH | follow)?;
    let inode = at.inode()?;
    // What has no handle to open has none to tell either.
    if inode.fs.ops.handled() == Handled::No {
        return fail(Errno::EOPNOTSUPP);
    }
    let head: Head = call.get(handle)?;
    if head.bytes > MAX_BYTES {
        return fail(Errno::EINVAL);
    }
    let fits = head.bytes as usize >= HANDLE_LEN;
    if flags & AT_HANDLE_MNT_ID_UNIQUE != 0 {
        call.put(mount_id, &at.mount.id)?;
    } else {
        call.put(mount_id, &(at.mount.id as i32))?;
    }
    call.put(handle, &Head { bytes: HANDLE_LEN as u32, kind: if fits { HANDLE_TYPE } else { 255 } })?;
    if !fits {
        return fail(Errno::EOVERFLOW);
    }
    let number = inode.fs.handle(&inode, Some(&at.dentry))?;
    call.put(handle.wrapping_add(size_of::<Head>() as u64), &encode_handle(number))?;
    Ok(().into())
}

pub fn sys_open_by_handle_at(call: &mut Call<'_>, [mount, handle, flags, ..]: Args) -> Op<Ret> {
    let within = if mount as i32 == AT_FDCWD {
        call.task.fs().cwd()
    } else {
        place(&call.any_file(mount)?).ok_or(Errno::ESTALE)?
    };
    if !call.task.cred().has(Cap::DacReadSearch) {
        return fail(Errno::EPERM);
    }
    let head: Head = call.get(handle)?;
    if head.bytes == 0 || head.bytes > MAX_BYTES {
        return fail(Errno::EINVAL);
    }
    let bytes = call.get_vec::<u8>(handle.wrapping_add(size_of::<Head>() as u64), head.bytes as usize)?;
    let number = decode_handle(&bytes).filter(|_| head.kind == HANDLE_TYPE).ok_or(Errno::ESTALE)?;
    let (inode, dentry) = within.mount.fs.by_handle(number)?;
    let path = Path::new(within.mount, dentry);
    let flags = OpenFlags::from_bits_retain(flags as u32 & (OpenFlags::KNOWN.bits() | 3));
    let flags = flags.difference(OpenFlags::CREAT | OpenFlags::EXCL) | OpenFlags::LARGEFILE;
    let limit = call.task.group.limit(Resource::Nofile);
    let files = call.files();
    if !files.has_room(limit) {
        return fail(Errno::EMFILE);
    }
    let mut io = call.io();
    let file = if flags.contains(OpenFlags::PATH) {
        File::opened(path, inode, Arc::new(PathOnly), flags.difference(OpenFlags::CLOEXEC))
    } else {
        if flags.contains(OpenFlags::DIRECTORY) && inode.kind != vfs::FileType::Dir {
            return fail(Errno::ENOTDIR);
        }
        match vfs::open_path(&mut io, path, flags)? {
            Opened::File(file) => file,
            Opened::Fifo { path, inode } => {
                let ops = open_fifo(&mut io, &inode, flags)?;
                vfs::opened(path, inode, ops, flags)
            }
        }
    };
    Ok(files.add(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)?.into())
}
