//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their l and f forms. xattr(7).

use crate::names::{CWD, find, only, place};
use abi::Errno;
use abi::fs::{AT_SYMLINK_NOFOLLOW, XATTR_CREATE, XATTR_LIST_MAX, XATTR_REPLACE, XATTR_SIZE_MAX};
use abi::inotify::IN_ATTRIB;
use kernel::cred::Cap;
use kernel::vfs::{FileType, Inode, Path, XattrOps, access, notify};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// The file that a call is about.
struct Subject {
    inode: Arc<Inode>,
    path: Option<Path>,
}

fn by_path(call: &mut Call<'_>, path: u64, flags: u32) -> Op<Subject> {
    let path = find(call, CWD, path, flags)?;
    Ok(Subject { inode: path.inode()?, path: Some(path) })
}

fn by_fd(call: &mut Call<'_>, fd: u64) -> Op<Subject> {
    let file = call.file(fd)?;
    Ok(Subject { inode: file.inode.clone().ok_or(Errno::EOPNOTSUPP)?, path: place(&file) })
}

impl Subject {
    fn ops(&self) -> Op<&dyn XattrOps> {
        Ok(self.inode.ops.xattr().ok_or(Errno::EOPNOTSUPP)?)
    }

    fn changed(&self) {
        notify::inode_event(&self.inode, self.path.as_ref(), IN_ATTRIB);
    }
}

/// The name: ERANGE where it is empty or beyond 255 bytes.
fn name(call: &Call<'_>, at: u64) -> Op<Box<[u8]>> {
    let name = call.mm()?.cstr(at, 256)?.ok_or(Errno::ERANGE)?;
    if name.is_empty() { fail(Errno::ERANGE) } else { Ok(name) }
}

/// Whether the caller may read or change an attribute of this name, by the rules of its name space.
fn may(call: &mut Call<'_>, subject: &Subject, name: &[u8], write: bool) -> Op<()> {
    let cred = call.task.cred();
    if write && subject.path.as_ref().is_some_and(|p| p.mount.read_only()) {
        return fail(Errno::EROFS);
    }
    let none = if write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"trusted.") {
        return if cred.has(Cap::SysAdmin) { Ok(()) } else { fail(none) };
    }
    if name.starts_with(b"security.") {
        let cap = if name == b"security.capability" { Cap::Setfcap } else { Cap::SysAdmin };
        return if !write || cred.has(cap) { Ok(()) } else { fail(Errno::EPERM) };
    }
    if !name.starts_with(b"user.") {
        return fail(Errno::EOPNOTSUPP);
    }
    if !matches!(subject.inode.kind, FileType::Regular | FileType::Dir) {
        return fail(none);
    }
    let mut io = call.io();
    if write && subject.inode.kind == FileType::Dir {
        let attr = subject.inode.attr(&mut io)?;
        if attr.perm & 0o1000 != 0 && !access::is_owner(&cred, &attr) {
            return fail(Errno::EPERM);
        }
    }
    access::check(&mut io, &subject.inode, if write { access::WRITE } else { access::READ })
}

pub fn sys_setxattr(call: &mut Call<'_>, [path, name, value, size, flags, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, 0)?;
    set(call, &subject, name, value, size, flags as u32)
}

pub fn sys_lsetxattr(call: &mut Call<'_>, [path, name, value, size, flags, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, AT_SYMLINK_NOFOLLOW)?;
    set(call, &subject, name, value, size, flags as u32)
}

pub fn sys_fsetxattr(call: &mut Call<'_>, [fd, name, value, size, flags, ..]: Args) -> Op<Ret> {
    let subject = by_fd(call, fd)?;
    set(call, &subject, name, value, size, flags as u32)
}

fn set(call: &mut Call<'_>, subject: &Subject, at: u64, value: u64, size: u64, flags: u32) -> Op<Ret> {
    only(flags, XATTR_CREATE | XATTR_REPLACE)?;
    let name = name(call, at)?;
    if size > XATTR_SIZE_MAX.into() {
        return fail(Errno::E2BIG);
    }
    let value: Vec<u8> = call.get_vec(value, size as usize)?;
    may(call, subject, &name, true)?;
    subject.ops()?.set(&mut call.io(), &name, &value, flags)?;
    subject.changed();
    Ok(0u64.into())
}

pub fn sys_getxattr(call: &mut Call<'_>, [path, name, value, size, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, 0)?;
    get(call, &subject, name, value, size)
}

pub fn sys_lgetxattr(call: &mut Call<'_>, [path, name, value, size, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, AT_SYMLINK_NOFOLLOW)?;
    get(call, &subject, name, value, size)
}

pub fn sys_fgetxattr(call: &mut Call<'_>, [fd, name, value, size, ..]: Args) -> Op<Ret> {
    let subject = by_fd(call, fd)?;
    get(call, &subject, name, value, size)
}

fn get(call: &mut Call<'_>, subject: &Subject, at: u64, value: u64, size: u64) -> Op<Ret> {
    let name = name(call, at)?;
    may(call, subject, &name, false)?;
    let found = subject.ops()?.get(&mut call.io(), &name)?;
    give(call, &found, value, size)
}

/// Size 0 asks how long it is.
fn give(call: &mut Call<'_>, bytes: &[u8], to: u64, size: u64) -> Op<Ret> {
    if size != 0 {
        if bytes.len() as u64 > size {
            return fail(Errno::ERANGE);
        }
        call.put(to, bytes)?;
    }
    Ok(bytes.len().into())
}

pub fn sys_listxattr(call: &mut Call<'_>, [path, list, size, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, 0)?;
    names(call, &subject, list, size)
}

pub fn sys_llistxattr(call: &mut Call<'_>, [path, list, size, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, AT_SYMLINK_NOFOLLOW)?;
    names(call, &subject, list, size)
}

pub fn sys_flistxattr(call: &mut Call<'_>, [fd, list, size, ..]: Args) -> Op<Ret> {
    let subject = by_fd(call, fd)?;
    names(call, &subject, list, size)
}

fn names(call: &mut Call<'_>, subject: &Subject, list: u64, size: u64) -> Op<Ret> {
    let trusted = call.task.cred().has(Cap::SysAdmin);
    let mut text = Vec::new();
    // A file system without attributes has an empty list.
    if let Some(ops) = subject.inode.ops.xattr() {
        for name in ops.list(&mut call.io())? {
            if trusted || !name.starts_with(b"trusted.") {
                text.extend_from_slice(&name);
                text.push(0);
            }
        }
    }
    if text.len() > XATTR_LIST_MAX as usize {
        return fail(Errno::E2BIG);
    }
    give(call, &text, list, size)
}

pub fn sys_removexattr(call: &mut Call<'_>, [path, name, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, 0)?;
    remove(call, &subject, name)
}

pub fn sys_lremovexattr(call: &mut Call<'_>, [path, name, ..]: Args) -> Op<Ret> {
    let subject = by_path(call, path, AT_SYMLINK_NOFOLLOW)?;
    remove(call, &subject, name)
}

pub fn sys_fremovexattr(call: &mut Call<'_>, [fd, name, ..]: Args) -> Op<Ret> {
    let subject = by_fd(call, fd)?;
    remove(call, &subject, name)
}

fn remove(call: &mut Call<'_>, subject: &Subject, at: u64) -> Op<Ret> {
    let name = name(call, at)?;
    may(call, subject, &name, true)?;
    subject.ops()?.remove(&mut call.io(), &name)?;
    subject.changed();
    Ok(0u64.into())
}
