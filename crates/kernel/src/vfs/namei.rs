//! Changes of names: mkdir(2), mknod(2), symlink(2), link(2), unlink(2), rmdir(2), rename(2).
//!
//! Each finds its folder by a walk, checks everything, then changes the file system, the dentries and tells inotify. Folders that
//! change are locked by `tasklock` (the file system may be a remote one). Neighbours: `walk`, `access`, `notify`.

use super::access;
use super::acl_of;
use super::device;
use super::mount_tree::{is_covered, uncover};
use super::tasklock::lock_folders;
use super::walk::{Component, look_up};
use super::{Base, Dentry, FileType, Inode, NewKind, NewNode, Path, WalkFlags, Walker, notify};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use abi::bpf::BPF_DEVCG_ACC_MKNOD;
use abi::fs::{OpenFlags, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use abi::inotify::{IN_ATTRIB, IN_CREATE, IN_DELETE, IN_ISDIR};
use std::sync::Arc;

/// A name in a folder, which may or may not exist.
pub struct Spot {
    pub dir: Path,
    /// None where the path ends in no name: `/`.
    pub last: Option<Component>,
}

/// The folder that a path's last name is in.
pub fn parent(io: &mut Io<'_>, base: &Base, path: &[u8]) -> Op<Spot> {
    let mut walker = Walker::new(base, path, WalkFlags::empty())?;
    let last = walker.to_last(io)?;
    if last.is_some() {
        walker.may_search(io)?;
    }
    Ok(Spot { dir: walker.at, last })
}

/// Makes a node at a name that must not exist, and returns its place. The caller's umask takes off what it does from `perm`.
pub fn create(io: &mut Io<'_>, base: &Base, path: &[u8], kind: NewKind<'_>, perm: u32) -> Op<Path> {
    let spot = parent(io, base, path)?;
    let Some(last) = spot.last.filter(Component::is_plain) else { return fail(Errno::EEXIST) };
    let dir = spot.dir.inode()?;
    let _guard = lock_folders(io, &dir, None)?;
    let old = look_up(io, &spot.dir.dentry, &last.name)?;
    if old.inode().is_some() {
        return fail(Errno::EEXIST);
    }
    if last.slash && kind.file_type() != FileType::Dir {
        return fail(Errno::ENOENT);
    }
    let dentry = make(io, &spot.dir, &dir, &last.name, kind, perm, None)?;
    Ok(Path::new(spot.dir.mount, dentry))
}

/// Makes a node in a locked folder, with all checks but that of the name's being free. `open`: open(2) opens it next, with these flags.
pub(super) fn make(
    io: &mut Io<'_>,
    at: &Path,
    dir: &Arc<Inode>,
    name: &[u8],
    kind: NewKind<'_>,
    perm: u32,
    open: Option<OpenFlags>,
) -> Op<Arc<Dentry>> {
    writable(at)?;
    if at.dentry.is_gone() {
        return fail(Errno::ENOENT);
    }
    access::may_create(io, dir)?;
    // An overlay's whiteout is no device that anybody could use.
    if let NewKind::Char(rdev @ 1..) | NewKind::Block(rdev) = kind {
        if !io.cred.has(crate::cred::Cap::Mknod) {
            return fail(Errno::EPERM);
        }
        device::check_group(io, kind.file_type(), BPF_DEVCG_ACC_MKNOD, rdev)?;
    }
    let ops = dir.ops.dir().ok_or(Errno::ENOTDIR)?;
    let is_dir = matches!(kind, NewKind::Dir);
    let node = owned(io, dir, kind, perm)?;
    let inode = match open {
        Some(flags) => ops.create_open(io, name, &node, flags)?,
        None => ops.create(io, name, &node)?,
    };
    let dentry = at.dentry.adopt(name, Some(inode));
    notify::name_event(at, dir, IN_CREATE | if is_dir { IN_ISDIR } else { 0 }, name);
    Ok(dentry)
}

/// The permissions of a new node without what the folder's default access control list or else the caller's umask takes away, and its owner: the caller's
/// fsuid, and fsgid or a set-group-id folder's group.
pub(super) fn owned<'a>(io: &mut Io<'_>, dir: &Inode, kind: NewKind<'a>, perm: u32) -> Op<NewNode<'a>> {
    let attr = dir.attr(io)?;
    let mut node = NewNode::plain(kind, perm & 0o7777, io.cred.fsuid, io.cred.fsgid);
    if !matches!(node.kind, NewKind::Symlink(_)) && !acl_of::hand_down(io, dir, &mut node)? {
        node.masked = perm & io.umask();
        node.perm &= !node.masked;
    }
    if attr.perm & 0o2000 != 0 {
        node.gid = attr.gid;
        if matches!(node.kind, NewKind::Dir) {
            node.perm |= 0o2000;
        } else if perm & 0o2010 == 0o2010
            && !io.cred.in_group(attr.gid)
            && !access::capable(&io.cred, attr.uid, attr.gid, crate::cred::Cap::Fsetid)
        {
            node.perm &= !0o2000;
        }
    }
    Ok(node)
}

/// EROFS for what may not change, whatever is there.
fn writable(dir: &Path) -> Op<()> {
    if dir.mount.read_only() { fail(Errno::EROFS) } else { Ok(()) }
}

/// unlink(2).
pub fn unlink(io: &mut Io<'_>, base: &Base, path: &[u8]) -> Op<()> {
    let spot = parent(io, base, path)?;
    let Some(last) = spot.last.filter(Component::is_plain) else { return fail(Errno::EISDIR) };
    writable(&spot.dir)?;
    let dir = spot.dir.inode()?;
    let _guard = lock_folders(io, &dir, None)?;
    let victim = look_up(io, &spot.dir.dentry, &last.name)?;
    let inode = victim.inode().ok_or(Errno::ENOENT)?;
    if last.slash {
        return fail(if inode.kind == FileType::Dir { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    remove(io, &spot.dir, &dir, &last.name, &victim, &inode, false)
}

/// rmdir(2).
pub fn rmdir(io: &mut Io<'_>, base: &Base, path: &[u8]) -> Op<()> {
    let spot = parent(io, base, path)?;
    let Some(last) = spot.last else { return fail(Errno::EBUSY) };
    if last.is_dot() {
        return fail(Errno::EINVAL);
    }
    if last.is_dotdot() {
        return fail(Errno::ENOTEMPTY);
    }
    writable(&spot.dir)?;
    let dir = spot.dir.inode()?;
    let _guard = lock_folders(io, &dir, None)?;
    let victim = look_up(io, &spot.dir.dentry, &last.name)?;
    let inode = victim.inode().ok_or(Errno::ENOENT)?;
    remove(io, &spot.dir, &dir, &last.name, &victim, &inode, true)
}

#[allow(clippy::too_many_arguments)]
fn remove(
    io: &mut Io<'_>,
    at: &Path,
    dir: &Arc<Inode>,
    name: &[u8],
    victim: &Arc<Dentry>,
    inode: &Arc<Inode>,
    folder: bool,
) -> Op<()> {
    access::may_delete(io, dir, inode, folder)?;
    if is_covered(&at.mount, victim) {
        return fail(Errno::EBUSY);
    }
    let ops = dir.ops.dir().ok_or(Errno::ENOTDIR)?;
    if folder {
        ops.rmdir(io, name, inode)?;
    } else {
        ops.unlink(io, name, inode)?;
    }
    at.dentry.unlink_child(name);
    uncover(victim);
    if !folder {
        notify::inode_event(inode, None, IN_ATTRIB);
    }
    notify::link_lost(io, inode);
    notify::name_event(at, dir, IN_DELETE | if folder { IN_ISDIR } else { 0 }, name);
    Ok(())
}

/// link(2): another name for what is at `old`.
pub fn link(io: &mut Io<'_>, old: &Path, base: &Base, new: &[u8]) -> Op<()> {
    let target = old.inode()?;
    let spot = parent(io, base, new)?;
    let Some(last) = spot.last.filter(Component::is_plain) else { return fail(Errno::EEXIST) };
    let dir = spot.dir.inode()?;
    let _guard = lock_folders(io, &dir, None)?;
    if look_up(io, &spot.dir.dentry, &last.name)?.inode().is_some() {
        return fail(Errno::EEXIST);
    }
    if last.slash {
        return fail(Errno::ENOENT);
    }
    if !Arc::ptr_eq(&old.mount, &spot.dir.mount) {
        return fail(Errno::EXDEV);
    }
    writable(&spot.dir)?;
    access::may_link(io, &target)?;
    if spot.dir.dentry.is_gone() {
        return fail(Errno::ENOENT);
    }
    access::may_create(io, &dir)?;
    // What lost its last name stays without.
    if !target.linkable.load(std::sync::atomic::Ordering::Relaxed) && target.attr(io)?.nlink == 0 {
        return fail(Errno::ENOENT);
    }
    if target.kind == FileType::Dir {
        return fail(Errno::EPERM);
    }
    let ops = dir.ops.dir().ok_or(Errno::ENOTDIR)?;
    ops.link(io, &last.name, &target)?;
    spot.dir.dentry.adopt(&last.name, Some(target.clone()));
    notify::inode_event(&target, None, abi::inotify::IN_ATTRIB);
    notify::name_event(&spot.dir, &dir, IN_CREATE, &last.name);
    Ok(())
}

/// renameat2(2). `flags` are RENAME_*, in a combination that there is.
pub fn rename(io: &mut Io<'_>, from: Spot, to: Spot, flags: u32) -> Op<()> {
    if !Arc::ptr_eq(&from.dir.mount, &to.dir.mount) {
        return fail(Errno::EXDEV);
    }
    let Some(from_last) = from.last.filter(Component::is_plain) else { return fail(Errno::EBUSY) };
    let taken = if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY };
    let Some(to_last) = to.last.filter(Component::is_plain) else { return fail(taken) };
    writable(&from.dir)?;
    let (from_dir, to_dir) = (from.dir.inode()?, to.dir.inode()?);
    let same_dir = Arc::ptr_eq(&from.dir.dentry, &to.dir.dentry);
    // One move between folders at a time, so that two of them don't make a ring.
    let _fs_guard = if same_dir { None } else { Some(from_dir.fs.rename_lock.lock(io)?) };
    let _guard = lock_folders(io, &from_dir, Some(&to_dir))?;
    let moved = look_up(io, &from.dir.dentry, &from_last.name)?;
    let inode = moved.inode().ok_or(Errno::ENOENT)?;
    let target = look_up(io, &to.dir.dentry, &to_last.name)?;
    let victim = target.inode();
    if victim.is_some() && flags & RENAME_NOREPLACE != 0 {
        return fail(Errno::EEXIST);
    }
    if victim.is_none() && flags & RENAME_EXCHANGE != 0 {
        return fail(Errno::ENOENT);
    }
    let is_dir = inode.kind == FileType::Dir;
    // Slashes after the new name ask for what there will be, or with an exchange for what there is.
    let becomes_dir = match &victim {
        Some(other) if flags & RENAME_EXCHANGE != 0 => other.kind == FileType::Dir,
        _ => is_dir,
    };
    if from_last.slash && !is_dir || to_last.slash && !becomes_dir {
        return fail(Errno::ENOTDIR);
    }
    if moved.is_above(&to.dir.dentry) {
        return fail(Errno::EINVAL);
    }
    if victim.is_some() && target.is_above(&from.dir.dentry) {
        return fail(if flags & RENAME_EXCHANGE != 0 { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    if victim.as_ref().is_some_and(|v| Arc::ptr_eq(v, &inode)) {
        return Ok(());
    }
    if to.dir.dentry.is_gone() {
        return fail(Errno::ENOENT);
    }
    access::may_delete(io, &from_dir, &inode, is_dir)?;
    match &victim {
        None => access::may_create(io, &to_dir)?,
        Some(v) if flags & RENAME_EXCHANGE != 0 => {
            access::may_delete(io, &to_dir, v, v.kind == FileType::Dir)?;
        }
        Some(v) => access::may_delete(io, &to_dir, v, is_dir)?,
    }
    if !same_dir {
        // A folder's `..` changes with its parent.
        for dir in [Some(&inode), victim.as_ref().filter(|_| flags & RENAME_EXCHANGE != 0)].into_iter().flatten() {
            if dir.kind == FileType::Dir {
                access::check(io, dir, access::WRITE)?;
            }
        }
    }
    if is_covered(&from.dir.mount, &moved) || is_covered(&from.dir.mount, &target) {
        return fail(Errno::EBUSY);
    }
    let ops = from_dir.ops.dir().ok_or(Errno::ENOTDIR)?;
    ops.rename(io, &from_last.name, &inode, &to_dir, &to_last.name, victim.as_ref(), flags)?;
    let exchange = flags & RENAME_EXCHANGE != 0;
    Dentry::rename(&from.dir.dentry, &from_last.name, &to.dir.dentry, &to_last.name, exchange);
    if !exchange {
        uncover(&target);
    }
    if flags & RENAME_WHITEOUT != 0 {
        from.dir.dentry.forget_child(&from_last.name);
    }
    let (old, new) = ((&from.dir, &*from_last.name), (&to.dir, &*to_last.name));
    match &victim {
        Some(other) if exchange => {
            notify::moved(old, new, &inode, None);
            notify::moved(new, old, other, None);
        }
        victim => notify::moved(old, new, &inode, victim.as_ref()),
    }
    if let Some(gone) = victim.filter(|_| !exchange) {
        notify::link_lost(io, &gone);
    }
    Ok(())
}
