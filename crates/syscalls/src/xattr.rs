//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their l and f forms. xattr(7).

use crate::names::{CWD, find, only};
use abi::Errno;
use abi::fs::{AT_SYMLINK_NOFOLLOW, XATTR_CREATE, XATTR_LIST_MAX, XATTR_REPLACE, XATTR_SIZE_MAX};
use abi::inotify::IN_ATTRIB;
use kernel::cred::Cap;
use kernel::vfs::{AclKind, FileType, Inode, Path, XattrOps, access, acl_of, notify};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// How a call names its file, which is found only once the other arguments are known to be right.
#[derive(Clone, Copy)]
enum Place {
    Path(u64, u32),
    Fd(u64),
}

/// The file that a call is about.
struct Subject {
    inode: Arc<Inode>,
    path: Option<Path>,
}

fn subject(call: &mut Call<'_>, at: Place) -> Op<Subject> {
    match at {
        Place::Path(path, flags) => {
            let path = find(call, CWD, path, flags)?;
            Ok(Subject { inode: path.inode()?, path: Some(path) })
        }
        Place::Fd(fd) => {
            let file = call.file(fd)?;
            Ok(Subject { inode: file.inode.clone().ok_or(Errno::EOPNOTSUPP)?, path: crate::names::place(&file) })
        }
    }
}

impl Subject {
    /// What keeps the attribute of this name. EINVAL where the name ends with its name space.
    fn ops(&self, name: &[u8]) -> Op<&dyn XattrOps> {
        let ops = self.inode.ops.xattr().ok_or(Errno::EOPNOTSUPP)?;
        match SPACES.iter().find_map(|space| name.strip_prefix(*space)) {
            None => fail(Errno::EOPNOTSUPP),
            Some([]) => fail(Errno::EINVAL),
            Some(_) => Ok(ops),
        }
    }

    fn writable(&self) -> Op<()> {
        if self.path.as_ref().is_some_and(|p| p.mount.read_only()) { fail(Errno::EROFS) } else { Ok(()) }
    }

    fn changed(&self) {
        notify::inode_event(&self.inode, self.path.as_ref(), IN_ATTRIB);
    }
}

const SPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const CAPABILITY: &[u8] = b"security.capability";

/// The name: ERANGE where it is empty or beyond 255 bytes.
fn name(call: &Call<'_>, at: u64) -> Op<Box<[u8]>> {
    let name = call.mm()?.cstr(at, 256)?.ok_or(Errno::ERANGE)?;
    if name.is_empty() { fail(Errno::ERANGE) } else { Ok(name) }
}

/// Capabilities of a file: of the second version, or of the third with a user namespace's root.
fn is_capability(value: &[u8]) -> bool {
    const FLAGS: u32 = 0xff_ffff;
    let version = value.first_chunk().map(|magic| u32::from_le_bytes(*magic) & !FLAGS);
    matches!((value.len(), version), (20, Some(0x0200_0000)) | (24, Some(0x0300_0000)))
}

/// Whether the caller may read or change an attribute of this name, by the rules of its name space.
fn may(call: &mut Call<'_>, subject: &Subject, name: &[u8], write: bool) -> Op<()> {
    let cred = call.task.cred();
    if write {
        subject.writable()?;
    }
    let none = if write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"trusted.") {
        return if cred.has(Cap::SysAdmin) { Ok(()) } else { fail(none) };
    }
    if name.starts_with(b"security.") {
        let cap = if name == CAPABILITY { Cap::Setfcap } else { Cap::SysAdmin };
        return if !write || cred.has(cap) { Ok(()) } else { fail(Errno::EPERM) };
    }
    if name.starts_with(b"system.") {
        return Ok(());
    }
    let user = name.starts_with(b"user.");
    if user && !matches!(subject.inode.kind, FileType::Regular | FileType::Dir) {
        return fail(none);
    }
    let mut io = call.io();
    if user && write && subject.inode.kind == FileType::Dir {
        let attr = subject.inode.attr(&mut io)?;
        if attr.perm & 0o1000 != 0 && !access::is_owner(&cred, &attr) {
            return fail(Errno::EPERM);
        }
    }
    access::check(&mut io, &subject.inode, if write { access::WRITE } else { access::READ })
}

pub fn sys_setxattr(call: &mut Call<'_>, [path, name, value, size, flags, ..]: Args) -> Op<Ret> {
    set(call, Place::Path(path, 0), name, value, size, flags as u32)
}

pub fn sys_lsetxattr(call: &mut Call<'_>, [path, name, value, size, flags, ..]: Args) -> Op<Ret> {
    set(call, Place::Path(path, AT_SYMLINK_NOFOLLOW), name, value, size, flags as u32)
}

pub fn sys_fsetxattr(call: &mut Call<'_>, [fd, name, value, size, flags, ..]: Args) -> Op<Ret> {
    set(call, Place::Fd(fd), name, value, size, flags as u32)
}

fn set(call: &mut Call<'_>, place: Place, at: u64, value: u64, size: u64, flags: u32) -> Op<Ret> {
    only(flags, XATTR_CREATE | XATTR_REPLACE)?;
    let name = name(call, at)?;
    if size > XATTR_SIZE_MAX.into() {
        return fail(Errno::E2BIG);
    }
    let value: Vec<u8> = call.get_vec(value, size as usize)?;
    let subject = subject(call, place)?;
    if let Some(kind) = AclKind::named(&name) {
        return set_acl(call, &subject, kind, Some(&value));
    }
    if &*name == CAPABILITY && !is_capability(&value) {
        return fail(Errno::EINVAL);
    }
    may(call, &subject, &name, true)?;
    subject.ops(&name)?.set(&mut call.io(), &name, &value, flags)?;
    subject.changed();
    Ok(0u64.into())
}

/// Sets an access control list, or takes it away.
fn set_acl(call: &mut Call<'_>, subject: &Subject, kind: AclKind, value: Option<&[u8]>) -> Op<Ret> {
    subject.writable()?;
    acl_of::set(&mut call.io(), &subject.inode, kind, value)?;
    if let Some(path) = &subject.path {
        path.dentry.bump();
    }
    subject.changed();
    Ok(0u64.into())
}

pub fn sys_getxattr(call: &mut Call<'_>, [path, name, value, size, ..]: Args) -> Op<Ret> {
    get(call, Place::Path(path, 0), name, value, size)
}

pub fn sys_lgetxattr(call: &mut Call<'_>, [path, name, value, size, ..]: Args) -> Op<Ret> {
    get(call, Place::Path(path, AT_SYMLINK_NOFOLLOW), name, value, size)
}

pub fn sys_fgetxattr(call: &mut Call<'_>, [fd, name, value, size, ..]: Args) -> Op<Ret> {
    get(call, Place::Fd(fd), name, value, size)
}

fn get(call: &mut Call<'_>, place: Place, at: u64, value: u64, size: u64) -> Op<Ret> {
    let name = name(call, at)?;
    let subject = subject(call, place)?;
    let found = match AclKind::named(&name) {
        Some(kind) => acl_of::get(&mut call.io(), &subject.inode, kind)?,
        None => {
            may(call, &subject, &name, false)?;
            subject.ops(&name)?.get(&mut call.io(), &name)?
        }
    };
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
    names(call, Place::Path(path, 0), list, size)
}

pub fn sys_llistxattr(call: &mut Call<'_>, [path, list, size, ..]: Args) -> Op<Ret> {
    names(call, Place::Path(path, AT_SYMLINK_NOFOLLOW), list, size)
}

pub fn sys_flistxattr(call: &mut Call<'_>, [fd, list, size, ..]: Args) -> Op<Ret> {
    names(call, Place::Fd(fd), list, size)
}

fn names(call: &mut Call<'_>, place: Place, list: u64, size: u64) -> Op<Ret> {
    let subject = subject(call, place)?;
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
    remove(call, Place::Path(path, 0), name)
}

pub fn sys_lremovexattr(call: &mut Call<'_>, [path, name, ..]: Args) -> Op<Ret> {
    remove(call, Place::Path(path, AT_SYMLINK_NOFOLLOW), name)
}

pub fn sys_fremovexattr(call: &mut Call<'_>, [fd, name, ..]: Args) -> Op<Ret> {
    remove(call, Place::Fd(fd), name)
}

fn remove(call: &mut Call<'_>, place: Place, at: u64) -> Op<Ret> {
    let name = name(call, at)?;
    let subject = subject(call, place)?;
    if let Some(kind) = AclKind::named(&name) {
        return set_acl(call, &subject, kind, None);
    }
    may(call, &subject, &name, true)?;
    subject.ops(&name)?.remove(&mut call.io(), &name)?;
    subject.changed();
    Ok(0u64.into())
}
