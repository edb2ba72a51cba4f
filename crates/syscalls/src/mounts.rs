//! Where a task stands and what is mounted: chdir(2), getcwd(2), chroot(2), mount(2), umount2(2), pivot_root(2), statfs(2), sync(2).

use crate::mount_fds::own_or_detached;
use crate::names::{CWD, find, only, place};
use abi::Errno;
use abi::fs::{
    AT_SYMLINK_NOFOLLOW, MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MS_BIND, MS_MGC_MSK, MS_MGC_VAL, MS_MOVE, MS_NOATIME,
    MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME,
    MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME, MS_UNBINDABLE, POSIX_FADV_NOREUSE, ST_NOATIME,
    ST_NODEV, ST_NODIRATIME, ST_NOEXEC, ST_NOSUID, ST_NOSYMFOLLOW, ST_RDONLY, ST_RELATIME, ST_VALID,
    SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, StatFs, UMOUNT_NOFOLLOW,
};
use kernel::cred::Cap;
use kernel::vfs::{self, FileType, Mount, Path, Propagation, access};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// What mount(2) may set on a mount.
const MOUNT_FLAGS: u32 = MS_RDONLY
    | MS_NOSUID
    | MS_NODEV
    | MS_NOEXEC
    | MS_NOATIME
    | MS_NODIRATIME
    | MS_RELATIME
    | MS_STRICTATIME
    | MS_NOSYMFOLLOW;

pub fn sys_chdir(call: &mut Call<'_>, [path, ..]: Args) -> Op<Ret> {
    let to = find(call, CWD, path, 0)?;
    enter(call, &to)?;
    call.task.fs().set_cwd(to);
    Ok(0u64.into())
}

pub fn sys_fchdir(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    let file = call.any_file(fd)?;
    let to = place(&file).ok_or(Errno::ENOTDIR)?;
    enter(call, &to)?;
    call.task.fs().set_cwd(to);
    Ok(0u64.into())
}

pub fn sys_chroot(call: &mut Call<'_>, [path, ..]: Args) -> Op<Ret> {
    let to = find(call, CWD, path, 0)?;
    enter(call, &to)?;
    let cred = call.task.cred();
    if !cred.has_in(&cred.user_ns, Cap::SysChroot) {
        return fail(Errno::EPERM);
    }
    call.task.fs().set_root(to);
    Ok(0u64.into())
}

/// A folder that may be searched.
fn enter(call: &mut Call<'_>, to: &Path) -> Op<()> {
    let inode = to.inode()?;
    if inode.kind != FileType::Dir {
        return fail(Errno::ENOTDIR);
    }
    access::check(&mut call.io(), &inode, access::EXEC | access::ASKED)
}

pub fn sys_getcwd(call: &mut Call<'_>, [to, size, ..]: Args) -> Op<Ret> {
    let base = call.task.fs().base();
    let named = base.at.name_from(&base.root);
    if named.deleted {
        return fail(Errno::ENOENT);
    }
    let mut text = if named.unreachable { b"(unreachable)".to_vec() } else { Vec::new() };
    text.extend_from_slice(&named.name);
    text.push(0);
    if text.len() > 4096 {
        return fail(Errno::ENAMETOOLONG);
    }
    if text.len() as u64 > size {
        return fail(Errno::ERANGE);
    }
    call.put(to, text.as_slice())?;
    Ok(text.len().into())
}

/// CAP_SYS_ADMIN over the task's mount namespace.
pub fn may_mount(call: &Call<'_>) -> Op<()> {
    let ns = call.task.namespaces().mount;
    if call.task.cred().has_in(&ns.owner, Cap::SysAdmin) { Ok(()) } else { fail(Errno::EPERM) }
}

/// Only mounts of the task's own namespace change: EINVAL.
fn own(call: &Call<'_>, mount: &Mount) -> Op<()> {
    let ns = mount.tree.read().ns.upgrade();
    if ns.is_some_and(|ns| Arc::ptr_eq(&ns, &call.task.namespaces().mount)) { Ok(()) } else { fail(Errno::EINVAL) }
}

pub fn sys_mount(call: &mut Call<'_>, [source, target, kind, flags, data, _]: Args) -> Op<Ret> {
    let mut flags = flags as u32;
    if flags & MS_MGC_MSK == MS_MGC_VAL {
        flags &= !MS_MGC_MSK;
    }
    let at = find(call, CWD, target, 0)?;
    may_mount(call)?;
    let mount_flags = flags & MOUNT_FLAGS;
    if flags & MS_REMOUNT != 0 {
        let data = data_string(call, data)?;
        // What keeps the times of access stays, unless another way is named.
        let times = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
        let kept = if mount_flags & times == 0 { at.mount.flags() & times } else { 0 };
        own(call, &at.mount)?;
        vfs::remount(&mut call.io(), &at, mount_flags | kept, flags & MS_BIND != 0, &data)?;
        return Ok(0u64.into());
    }
    if flags & MS_BIND != 0 {
        let from = find(call, CWD, source, 0)?;
        own(call, &at.mount)?;
        own_or_detached(call, &from.mount)?;
        vfs::bind(&from, &at, flags & MS_REC != 0)?;
        return Ok(0u64.into());
    }
    if flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE) != 0 {
        let to = match flags & !(MS_REC | MS_SILENT) {
            MS_SHARED => Propagation::Shared,
            MS_PRIVATE => Propagation::Private,
            MS_SLAVE => Propagation::Slave,
            MS_UNBINDABLE => Propagation::Unbindable,
            _ => return fail(Errno::EINVAL),
        };
        vfs::set_propagation(&at, to, flags & MS_REC != 0)?;
        return Ok(0u64.into());
    }
    if flags & MS_MOVE != 0 {
        let from = find(call, CWD, source, 0)?;
        own(call, &at.mount)?;
        own(call, &from.mount)?;
        vfs::move_mount(&from, &at)?;
        return Ok(0u64.into());
    }
    if kind == 0 {
        return fail(Errno::EINVAL);
    }
    let name = call.mm()?.cstr(kind, 4096)?.ok_or(Errno::EINVAL)?;
    let fs = call.task.kernel.fs_type(&name).ok_or(Errno::ENODEV)?;
    if !fs.user_mountable {
        return fail(Errno::EPERM);
    }
    let source = if source == 0 { Box::from(&b"none"[..]) } else { call.path(source)? };
    let mut data = data_string(call, data)?.into_vec();
    if let Some(dot) = name.iter().position(|b| *b == b'.') {
        data.extend_from_slice(if data.is_empty() { b"subtype=" } else { b",subtype=" });
        data.extend_from_slice(name.get(dot + 1..).unwrap_or_default());
    }
    own(call, &at.mount)?;
    let kernel = call.task.kernel.clone();
    vfs::mount_new(&mut call.io(), &kernel, fs, &source, &at, mount_flags, &data)?;
    Ok(0u64.into())
}

/// The options: a string of at most a page.
fn data_string(call: &Call<'_>, data: u64) -> Op<Box<[u8]>> {
    if data == 0 { Ok(Box::default()) } else { Ok(call.mm()?.cstr(data, 4096)?.ok_or(Errno::EINVAL)?) }
}

pub fn sys_umount2(call: &mut Call<'_>, [target, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)?;
    let follow = if flags & UMOUNT_NOFOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let mut at = find(call, CWD, target, follow)?;
    // "." may be a folder that something was mounted on since: the topmost mount goes.
    while let Some(above) = at.mount.mounted_on(&at.dentry) {
        let root = above.root.clone();
        at = vfs::Path::new(above, root);
    }
    may_mount(call)?;
    own(call, &at.mount)?;
    let root = call.task.fs().root();
    vfs::umount(&call.io(), at, &root, flags)?;
    Ok(0u64.into())
}

pub fn sys_pivot_root(call: &mut Call<'_>, [new, old, ..]: Args) -> Op<Ret> {
    may_mount(call)?;
    let new = find(call, CWD, new, 0)?;
    let old = find(call, CWD, old, 0)?;
    for place in [&new, &old] {
        if place.inode()?.kind != FileType::Dir {
            return fail(Errno::ENOTDIR);
        }
    }
    let ns = call.task.namespaces().mount;
    let root = call.task.fs().root();
    vfs::pivot_root(&ns, &root, &new, &old)?;
    // Whoever stood at the old root stands at the new one.
    for (_, group) in call.task.kernel.root_pid_ns.groups() {
        for task in group.tasks() {
            let fs = task.fs();
            if !Arc::ptr_eq(&task.namespaces().mount, &ns) {
                continue;
            }
            if fs.root().same(&root) {
                fs.set_root(new.clone());
            }
            if fs.cwd().same(&root) {
                fs.set_cwd(new.clone());
            }
        }
    }
    Ok(0u64.into())
}

pub fn sys_statfs(call: &mut Call<'_>, [path, to, ..]: Args) -> Op<Ret> {
    let at = find(call, CWD, path, 0)?;
    statfs(call, &at.mount, to)
}

pub fn sys_fstatfs(call: &mut Call<'_>, [fd, to, ..]: Args) -> Op<Ret> {
    let file = call.any_file(fd)?;
    match place(&file) {
        Some(path) => statfs(call, &path.mount, to),
        None => {
            let stat = StatFs {
                f_type: abi::fs::ANON_INODE_FS_MAGIC.into(),
                f_bsize: 4096,
                f_frsize: 4096,
                f_namelen: 255,
                ..StatFs::default()
            };
            call.put(to, &stat)?;
            Ok(0u64.into())
        }
    }
}

fn statfs(call: &mut Call<'_>, mount: &Arc<Mount>, to: u64) -> Op<Ret> {
    let stat = mount.fs.ops.statfs(&mut call.io())?;
    let table = [
        (MS_NOSUID, ST_NOSUID),
        (MS_NODEV, ST_NODEV),
        (MS_NOEXEC, ST_NOEXEC),
        (MS_NOATIME, ST_NOATIME),
        (MS_NODIRATIME, ST_NODIRATIME),
        (MS_RELATIME, ST_RELATIME),
        (MS_NOSYMFOLLOW, ST_NOSYMFOLLOW),
    ];
    let mut flags = ST_VALID | if mount.read_only() { ST_RDONLY } else { 0 };
    for (ms, st) in table {
        if mount.flags() & ms != 0 {
            flags |= st;
        }
    }
    let out = StatFs {
        f_type: stat.magic as i64,
        f_bsize: stat.block_size as i64,
        f_blocks: stat.blocks,
        f_bfree: stat.blocks_free,
        f_bavail: stat.blocks_available,
        f_files: stat.files,
        f_ffree: stat.files_free,
        f_fsid: [mount.fs.dev as i32, (mount.fs.dev >> 32) as i32],
        f_namelen: stat.name_max as i64,
        f_frsize: stat.block_size as i64,
        f_flags: flags as i64,
        f_spare: [0; 4],
    };
    call.put(to, &out)?;
    Ok(0u64.into())
}

/// sync(2) reports no errors.
pub fn sys_sync(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    let mut seen = Vec::new();
    let root = call.task.namespaces().mount.root();
    for mount in root.iter().flat_map(vfs::tree_of) {
        if !seen.contains(&mount.fs.dev) {
            seen.push(mount.fs.dev);
            if let Err(kernel::Stop::Block) = mount.fs.ops.sync(&mut call.io()) {
                return Err(kernel::Stop::Block);
            }
        }
    }
    Ok(0u64.into())
}

pub fn sys_syncfs(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    if let Some(inode) = &file.inode {
        inode.fs.ops.sync(&mut call.io())?;
    }
    Ok(0u64.into())
}

pub fn sys_fsync(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    call.file(fd)?.ops.sync(&mut call.io(), false)?;
    Ok(0u64.into())
}

pub fn sys_fdatasync(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    call.file(fd)?.ops.sync(&mut call.io(), true)?;
    Ok(0u64.into())
}

/// The whole file's data is written: more than was asked.
pub fn sys_sync_file_range(call: &mut Call<'_>, [fd, offset, len, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)?;
    let file = call.file(fd)?;
    if (offset as i64) < 0 || (len as i64) < 0 || (offset as i64).checked_add(len as i64).is_none() {
        return fail(Errno::EINVAL);
    }
    match file.inode.as_ref().map(|i| i.kind) {
        Some(FileType::Regular | FileType::Dir | FileType::Block | FileType::Symlink) => {}
        _ => return fail(Errno::ESPIPE),
    }
    file.ops.sync(&mut call.io(), true)?;
    Ok(0u64.into())
}

/// Advice that changes nothing: the host's page cache reads ahead by itself.
pub fn sys_readahead(call: &mut Call<'_>, [fd, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    if !file.readable() {
        return fail(Errno::EBADF);
    }
    match file.inode.as_ref().map(|i| i.kind) {
        Some(FileType::Regular | FileType::Block) => Ok(0u64.into()),
        _ => fail(Errno::EINVAL),
    }
}

/// Advice that changes nothing.
pub fn sys_fadvise64(call: &mut Call<'_>, [fd, _offset, len, advice, ..]: Args) -> Op<Ret> {
    let file = call.file(fd)?;
    if file.inode.as_ref().is_some_and(|i| i.kind == FileType::Fifo) {
        return fail(Errno::ESPIPE);
    }
    if (len as i64) < 0 || advice as u32 > POSIX_FADV_NOREUSE {
        return fail(Errno::EINVAL);
    }
    Ok(0u64.into())
}
