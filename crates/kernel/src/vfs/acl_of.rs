//! The access control lists of inodes: found for checks, shown and set as extended attributes, handed down to new files. acl(5), setxattr(2), umask(2).
//!
//! Neighbours: `acl` (what a list says), `access` and `namei`, which ask. The file system keeps them (`XattrOps::acl`). No locks.

use super::tasklock::lock_folders;
use super::{Acl, AclKind, AclPerm, FileType, Inode, NewKind, NewNode, XattrOps, access};
use crate::cred::Cap;
use crate::io::Io;
use crate::op::{Op, Stop, fail};
use abi::Errno;

/// What keeps the lists of an inode. EOPNOTSUPP where there are none.
fn keeper(inode: &Inode) -> Op<&dyn XattrOps> {
    Ok(inode.ops.xattr().filter(|_| inode.kind != FileType::Symlink).ok_or(Errno::EOPNOTSUPP)?)
}

/// The list that counts. EIO where what is kept makes no sense.
pub fn find(io: &mut Io<'_>, inode: &Inode, kind: AclKind) -> Op<Option<Acl>> {
    match keeper(inode).and_then(|ops| ops.acl(io, kind)) {
        Ok(list) => Ok(list.map(|list| Acl::kept(&list)).transpose()?),
        Err(Stop::Errno(Errno::EOPNOTSUPP)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// getxattr(2).
pub fn get(io: &mut Io<'_>, inode: &Inode, kind: AclKind) -> Op<Vec<u8>> {
    let ops = keeper(inode)?;
    // Attributes first: by them a file system that others change finds out that a list has changed.
    inode.attr(io)?;
    match ops.acl(io, kind)? {
        Some(list) => Ok(Acl::kept(&list)?.shown(&io.cred.user_ns)),
        None => fail(Errno::ENODATA),
    }
}

/// setxattr(2); without a value removexattr(2). A list that says no more than permissions do becomes just that.
pub fn set(io: &mut Io<'_>, inode: &Inode, kind: AclKind, value: Option<&[u8]>) -> Op<()> {
    let acl = match value {
        Some(value) => Acl::given(value, &io.cred.user_ns)?,
        None => None,
    };
    let ops = keeper(inode)?;
    // Whether the file system has lists at all.
    ops.acl(io, kind)?;
    if kind == AclKind::Default && inode.kind != FileType::Dir {
        return if acl.is_some() { fail(Errno::EACCES) } else { Ok(()) };
    }
    // What is made in a folder meanwhile begins with the old list or with the new one.
    let _guard = lock_folders(io, inode, None)?;
    let attr = inode.attr(io)?;
    if !access::is_owner(&io.cred, &attr) {
        return fail(Errno::EPERM);
    }
    let Some(acl) = acl else { return ops.set_acl(io, kind, None, None) };
    acl.check()?;
    let list = acl.bytes();
    if kind == AclKind::Default {
        return ops.set_acl(io, kind, Some(&list), None);
    }
    let stays = io.cred.in_group(attr.gid) || access::capable(&io.cred, attr.uid, attr.gid, Cap::Fsetid);
    let perm = AclPerm { bits: acl.perm(), of: if stays { 0o777 } else { 0o2777 } };
    ops.set_acl(io, kind, if acl.is_minimal() { None } else { Some(&list) }, Some(perm))
}

/// Gives a new node what the default list of its folder says. False: there is none, so it is the umask that counts.
pub fn hand_down(io: &mut Io<'_>, dir: &Inode, node: &mut NewNode<'_>) -> Op<bool> {
    let Some(mut acl) = find(io, dir, AclKind::Default)? else { return Ok(false) };
    let default = matches!(node.kind, NewKind::Dir).then(|| acl.bytes().into());
    node.perm = acl.inherit(node.perm);
    let access = (!acl.is_minimal()).then(|| acl.bytes().into());
    node.acls = [access, default];
    Ok(true)
}
