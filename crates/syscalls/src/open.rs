//! Opening and closing: open(2), openat(2), openat2(2), creat(2), close(2), close_range(2), memfd_create(2).

use crate::names::{CWD, base, extensible, named, only};
use abi::Errno;
use abi::fs::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, OpenFlags, OpenHow as HowStruct};
use abi::mm::{MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL};
use kernel::ipc::pipe::open_fifo;
use kernel::task::Resource;
use kernel::vfs::{self, File, OpenHow, Opened, WalkFlags};
use kernel::{Args, Call, Op, Ret, Stop, fail};
use std::sync::Arc;

pub fn sys_open(call: &mut Call<'_>, [path, flags, mode, ..]: Args) -> Op<Ret> {
    open(call, CWD, path, flags as u32, mode as u32)
}

pub fn sys_creat(call: &mut Call<'_>, [path, mode, ..]: Args) -> Op<Ret> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open(call, CWD, path, flags.bits(), mode as u32)
}

pub fn sys_openat(call: &mut Call<'_>, [dir, path, flags, mode, ..]: Args) -> Op<Ret> {
    open(call, dir, path, flags as u32, mode as u32)
}

/// What open(2) does not know it ignores.
fn open(call: &mut Call<'_>, dir: u64, path: u64, flags: u32, mode: u32) -> Op<Ret> {
    let mut flags = OpenFlags::from_bits_retain(flags & (OpenFlags::KNOWN.bits() | 3));
    if flags.contains(OpenFlags::PATH) {
        flags &= OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    }
    do_open(call, dir, path, flags, mode & 0o7777, WalkFlags::empty())
}

pub fn sys_openat2(call: &mut Call<'_>, [dir, path, how, size, ..]: Args) -> Op<Ret> {
    let raw: HowStruct = extensible(call, how, size, size_of::<HowStruct>())?;
    let known = u64::from(OpenFlags::KNOWN.bits() | 3);
    let flags = OpenFlags::from_bits_retain(raw.flags as u32);
    let makes = flags.intersects(OpenFlags::CREAT) || flags.contains(OpenFlags::TMPFILE);
    if raw.flags & !known != 0 || raw.mode & !0o7777 != 0 || raw.mode != 0 && !makes {
        return fail(Errno::EINVAL);
    }
    let only_path = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    if flags.contains(OpenFlags::PATH) && !only_path.contains(flags) {
        return fail(Errno::EINVAL);
    }
    let resolve = resolve_flags(raw.resolve)?;
    if resolve.contains(WalkFlags::CACHED)
        && (makes || flags.contains(OpenFlags::TRUNC) || resolve.contains(WalkFlags::BENEATH | WalkFlags::IN_ROOT))
    {
        return fail(Errno::EAGAIN);
    }
    do_open(call, dir, path, flags, raw.mode as u32, resolve)
}

fn resolve_flags(bits: u64) -> Op<WalkFlags> {
    let table = [
        (abi::fs::RESOLVE_NO_XDEV, WalkFlags::NO_XDEV),
        (abi::fs::RESOLVE_NO_MAGICLINKS, WalkFlags::NO_MAGICLINKS),
        (abi::fs::RESOLVE_NO_SYMLINKS, WalkFlags::NO_SYMLINKS | WalkFlags::NO_MAGICLINKS),
        (abi::fs::RESOLVE_BENEATH, WalkFlags::BENEATH),
        (abi::fs::RESOLVE_IN_ROOT, WalkFlags::IN_ROOT),
        (abi::fs::RESOLVE_CACHED, WalkFlags::CACHED),
    ];
    let mut left = bits;
    let mut flags = WalkFlags::empty();
    for (bit, flag) in table {
        if bits & u64::from(bit) != 0 {
            flags |= flag;
            left &= !u64::from(bit);
        }
    }
    if left != 0 || flags.contains(WalkFlags::BENEATH | WalkFlags::IN_ROOT) {
        return fail(Errno::EINVAL);
    }
    Ok(flags)
}

fn do_open(call: &mut Call<'_>, dir: u64, path: u64, mut flags: OpenFlags, mode: u32, resolve: WalkFlags) -> Op<Ret> {
    let tmpfile = flags.bits() & abi::fs::__O_TMPFILE != 0;
    let makes = flags.contains(OpenFlags::CREAT);
    let writes = flags.bits() & 3 != 0;
    if tmpfile && (!flags.contains(OpenFlags::TMPFILE) || !writes || makes)
        || makes && flags.contains(OpenFlags::DIRECTORY)
    {
        return fail(Errno::EINVAL);
    }
    let name = named(call, path)?;
    // In a root of its own an absolute path begins at the folder, too.
    let relative = resolve.contains(WalkFlags::IN_ROOT);
    let base = base(call, dir, if relative { b"" } else { &name })?;
    let limit = call.task.group.limit(Resource::Nofile);
    let files = call.files();
    if !files.has_room(limit) {
        return fail(Errno::EMFILE);
    }
    let perm = if makes || tmpfile { mode } else { 0 };
    flags.set(OpenFlags::LARGEFILE, !flags.contains(OpenFlags::PATH));
    let mut io = call.io();
    let file = open_file(&mut io, &base, &name, OpenHow { flags, perm, resolve })?;
    file.opened_by(&io.cred);
    drop(io);
    let fd = files.add(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)?;
    Ok(fd.into())
}

/// Opens a file of any type; a FIFO waits for its other end.
pub fn open_file(io: &mut kernel::Io<'_>, base: &vfs::Base, name: &[u8], how: OpenHow) -> Op<Arc<File>> {
    match vfs::open(io, base, name, how)? {
        Opened::File(file) => Ok(file),
        Opened::Fifo { path, inode } => {
            let ops = open_fifo(io, &inode, how.flags)?;
            Ok(vfs::opened(path, inode, ops, how.flags))
        }
    }
}

pub fn sys_close(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    // Kept from an earlier run, which has waited for what the file's object has to finish.
    let kept = call.io().kept::<Arc<File>>().cloned();
    let file = match kept {
        Some(file) => file,
        None => call.files().remove(fd as i32)?,
    };
    let mut io = call.io();
    // The descriptor is gone whatever this says.
    match file.ops.flush(&mut io) {
        Err(Stop::Block) => {
            io.keep(Box::new(file));
            Err(Stop::Block)
        }
        Err(Stop::Errno(errno)) => fail(errno),
        _ => Ok(0u64.into()),
    }
}

pub fn sys_close_range(call: &mut Call<'_>, [first, last, flags, ..]: Args) -> Op<Ret> {
    let (first, last, flags) = (first as u32, last as u32, flags as u32);
    only(flags, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)?;
    if first > last {
        return fail(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        let copy = Arc::new(call.files().copy());
        call.task.set_files(copy);
    }
    let files = call.files();
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.set_cloexec_range(first, last);
    } else {
        drop(files.remove_where(|fd, _| (first..=last).contains(&(fd as u32))));
    }
    Ok(0u64.into())
}

pub fn sys_memfd_create(call: &mut Call<'_>, [name, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & MFD_HUGETLB != 0 {
        return fail(Errno::ENOSYS);
    }
    only(flags, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC | MFD_NOEXEC_SEAL)?;
    if flags & MFD_EXEC != 0 && flags & MFD_NOEXEC_SEAL != 0 {
        return fail(Errno::EINVAL);
    }
    // 249 bytes: NAME_MAX less "memfd:".
    let name = call.mm()?.cstr(name, 250)?.ok_or(Errno::EINVAL)?;
    let limit = call.task.group.limit(Resource::Nofile);
    let file = vfs::make_memfd(&mut call.io(), &name, flags)?;
    let fd = call.files().add(file, flags & MFD_CLOEXEC != 0, 0, limit)?;
    Ok(fd.into())
}
