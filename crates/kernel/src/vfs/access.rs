//! Who may do what with a file: mode bits, groups, access control lists, capabilities, sticky folders. path_resolution(7), acl(5), capabilities(7), inode(7).
//!
//! Every check of the VFS is here; file systems check nothing. Neighbours: `namei` and `open`, which ask; `acl_of` for lists. No locks of its own.

use super::{AclKind, Attr, FileType, Inode, acl_of};
use crate::cred::{Cap, Cred, IdRange};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;

/// What is wanted of a file, with the values of access(2).
pub const EXEC: u32 = 1;
pub const WRITE: u32 = 2;
pub const READ: u32 = 4;
/// The question itself is the call: access(2), chdir(2).
pub const ASKED: u32 = 0x10;

/// Whether `cred` has `cap` over a file of this owner: its user namespace must have names for both ids (user_namespaces(7)).
pub fn capable(cred: &Cred, uid: u32, gid: u32, cap: Cap) -> bool {
    if !cred.effective.has(cap) {
        return false;
    }
    if cred.user_ns.parent.is_none() {
        return true;
    }
    let maps = cred.user_ns.maps();
    let known = |ranges: &[IdRange], id: u32| ranges.iter().any(|r| id.wrapping_sub(r.outside) < r.count);
    known(&maps.uid, uid) && known(&maps.gid, gid)
}

/// Whether the mode bits, or a capability, give `want` (READ, WRITE, EXEC) of what has no access control list. EACCES else.
pub fn may(cred: &Cred, attr: &Attr, want: u32) -> Result<(), Errno> {
    let bits = if cred.fsuid == attr.uid {
        attr.perm >> 6
    } else if cred.in_group(attr.gid) {
        attr.perm >> 3
    } else {
        attr.perm
    };
    if want & !bits & 7 == 0 || overrides(cred, attr, want) { Ok(()) } else { Err(Errno::EACCES) }
}

/// Whether a capability gives `want`, whatever the file says.
fn overrides(cred: &Cred, attr: &Attr, want: u32) -> bool {
    let has = |cap| capable(cred, attr.uid, attr.gid, cap);
    if attr.kind == FileType::Dir {
        want & WRITE == 0 && has(Cap::DacReadSearch) || has(Cap::DacOverride)
    } else {
        want == READ && has(Cap::DacReadSearch) || (want & EXEC == 0 || attr.perm & 0o111 != 0) && has(Cap::DacOverride)
    }
}

/// As `may`, for an inode. Who may everything with folders is not asked for their attributes.
pub fn check(io: &mut Io<'_>, inode: &Inode, want: u32) -> Op<()> {
    if let Some(answer) = inode.ops.permission(io, want) {
        return answer;
    }
    let want = want & (READ | WRITE | EXEC);
    if inode.kind == FileType::Dir && io.cred.user_ns.parent.is_none() && io.cred.effective.has(Cap::DacOverride) {
        return Ok(());
    }
    let attr = inode.attr(io)?;
    check_known(io, inode, &attr, want)
}

/// As `check`, of attributes that were just asked for. An access control list is for those who are not the owner, and gives nothing where the group's bits,
/// which are its mask, are 0; it is asked for only where no capability decides anyway.
pub fn check_known(io: &mut Io<'_>, inode: &Inode, attr: &Attr, want: u32) -> Op<()> {
    let counts = io.cred.fsuid != attr.uid && attr.perm & 0o070 != 0 && want != 0;
    if counts
        && !overrides(&io.cred, attr, want)
        && let Some(acl) = acl_of::find(io, inode, AclKind::Access)?
    {
        return if acl.permits(&io.cred, attr.gid, want) { Ok(()) } else { fail(Errno::EACCES) };
    }
    Ok(may(&io.cred, attr, want)?)
}

/// The permission bits without set-id bits, where a change of contents or owner takes them away: unless the caller has CAP_FSETID.
/// None: nothing changes.
pub fn without_privileges(cred: &Cred, attr: &Attr) -> Option<u32> {
    let perm = without_set_ids(cred, attr);
    (attr.kind == FileType::Regular && perm != attr.perm && !cred.has(Cap::Fsetid)).then_some(perm)
}

/// The permission bits without set-id bits. Set-group-ID without the group's execute bit is mandatory locking's, and stays for the group's members.
pub fn without_set_ids(cred: &Cred, attr: &Attr) -> u32 {
    let perm = attr.perm & !0o4000;
    let stays = perm & 0o010 == 0 && (cred.in_group(attr.gid) || capable(cred, attr.uid, attr.gid, Cap::Fsetid));
    if stays { perm } else { perm & !0o2000 }
}

/// Owner of the file, or CAP_FOWNER over it: what chmod, utimensat and O_NOATIME ask for.
pub fn is_owner(cred: &Cred, attr: &Attr) -> bool {
    cred.fsuid == attr.uid || capable(cred, attr.uid, attr.gid, Cap::Fowner)
}

/// Whether a file may get another name: by its owner, or by who may read and write it and gains no rights by it (/proc/sys/fs/protected_hardlinks).
pub fn may_link(io: &mut Io<'_>, target: &Inode) -> Op<()> {
    let attr = target.attr(io)?;
    if target.ops.decides() || is_owner(&io.cred, &attr) {
        return Ok(());
    }
    let special = attr.perm & 0o4000 != 0 || attr.perm & 0o2010 == 0o2010;
    if attr.kind != FileType::Regular || special || check(io, target, READ | WRITE).is_err() {
        return fail(Errno::EPERM);
    }
    Ok(())
}

/// Whether names may be added to a folder.
pub fn may_create(io: &mut Io<'_>, dir: &Inode) -> Op<()> {
    check(io, dir, WRITE | EXEC)
}

/// Whether a name of `dir` that leads to `victim` may be taken away; `want_dir` for rmdir(2).
pub fn may_delete(io: &mut Io<'_>, dir: &Inode, victim: &Inode, want_dir: bool) -> Op<()> {
    check(io, dir, WRITE | EXEC)?;
    let all = dir.ops.decides() || io.cred.user_ns.parent.is_none() && io.cred.effective.has(Cap::Fowner);
    if !all {
        let dir_attr = dir.attr(io)?;
        if dir_attr.perm & 0o1000 != 0 && io.cred.fsuid != dir_attr.uid {
            let attr = victim.attr(io)?;
            if !is_owner(&io.cred, &attr) {
                return fail(Errno::EPERM);
            }
        }
    }
    match (want_dir, victim.kind == FileType::Dir) {
        (true, false) => fail(Errno::ENOTDIR),
        (false, true) => fail(Errno::EISDIR),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::cred::{CapSet, UserNs};

    fn attr(kind: FileType, perm: u32) -> Attr {
        let t = Default::default();
        Attr {
            ino: 1,
            kind,
            perm,
            nlink: 1,
            uid: 10,
            gid: 20,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: t,
            mtime: t,
            ctime: t,
            btime: None,
        }
    }

    fn cred(uid: u32, gid: u32) -> Cred {
        let mut c = Cred::root(UserNs::initial());
        (c.fsuid, c.fsgid) = (uid, gid);
        c.effective = CapSet::EMPTY;
        c
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let a = attr(FileType::Regular, 0o077);
        assert_eq!(may(&cred(10, 20), &a, READ), Err(Errno::EACCES));
        assert_eq!(may(&cred(11, 20), &a, READ | WRITE | EXEC), Ok(()));
        assert_eq!(may(&cred(11, 21), &attr(FileType::Regular, 0o770), READ), Err(Errno::EACCES));
    }

    #[test]
    fn capabilities_override_but_not_exec_of_what_nobody_may_execute() {
        let root = Cred::root(UserNs::initial());
        assert_eq!(may(&root, &attr(FileType::Regular, 0), READ | WRITE), Ok(()));
        assert_eq!(may(&root, &attr(FileType::Regular, 0), EXEC), Err(Errno::EACCES));
        assert_eq!(may(&root, &attr(FileType::Regular, 0o100), EXEC), Ok(()));
        assert_eq!(may(&root, &attr(FileType::Dir, 0), EXEC), Ok(()));
    }
}
