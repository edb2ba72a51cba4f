//! open(2), openat2(2): from a path to an open file description.
//!
//! FIFOs are found here but opened by the caller, who may have to wait for the other end (`Opened::Fifo`). Devices are their
//! file system's, which finds the driver (`device`). Neighbours: `walk`, `access`, `namei::make`.

use super::access::{self, READ, WRITE};
use super::tasklock::lock_folders;
use super::walk::{Component, Walker, look_up};
use super::{Base, Dentry, File, FileOps, FileType, Inode, NewKind, Path, SetAttr, SetTime, WalkFlags, namei, notify};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// How to open.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    pub flags: OpenFlags,
    /// Permission bits of a file that is made; the umask is taken off later.
    pub perm: u32,
    /// RESOLVE_* of openat2(2), as `WalkFlags` has them.
    pub resolve: WalkFlags,
}

impl OpenHow {
    pub fn new(flags: OpenFlags) -> OpenHow {
        OpenHow { flags, perm: 0, resolve: WalkFlags::empty() }
    }
}

/// What was opened.
pub enum Opened {
    File(Arc<File>),
    /// A FIFO that may be opened so: the caller makes the file, when its other end is there.
    Fifo {
        path: Path,
        inode: Arc<Inode>,
    },
}

/// Opens a path.
pub fn open(io: &mut Io<'_>, base: &Base, path: &[u8], how: OpenHow) -> Op<Opened> {
    let flags = how.flags;
    let mut walk_flags = how.resolve;
    walk_flags.set(WalkFlags::FOLLOW, !flags.contains(OpenFlags::NOFOLLOW));
    walk_flags.set(WalkFlags::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
    if flags.contains(OpenFlags::PATH) {
        let path = super::walk(io, base, path, walk_flags)?;
        let inode = path.inode()?;
        let flags = flags.difference(OpenFlags::CLOEXEC);
        return Ok(Opened::File(File::opened(path, inode, Arc::new(PathOnly), flags)));
    }
    if flags.contains(OpenFlags::TMPFILE) {
        walk_flags |= WalkFlags::DIRECTORY;
        let dir = super::walk(io, base, path, walk_flags)?;
        return Ok(Opened::File(temporary(io, dir, how)?));
    }
    if !flags.contains(OpenFlags::CREAT) {
        let path = super::walk(io, base, path, walk_flags)?;
        return open_path(io, path, flags);
    }
    let mut walker = Walker::new(base, path, walk_flags)?;
    loop {
        let Some(last) = walker.to_last(io)? else {
            // The path ends in no name: a folder (`/`), or a magic link that was followed.
            return open_created(io, walker.at, flags, false);
        };
        walker.may_search(io)?;
        if last.slash {
            return fail(Errno::EISDIR);
        }
        if !last.is_plain() {
            walker.step(io, &last, true)?;
            return open_created(io, walker.at, flags, false);
        }
        let (child, made) = find_or_make(io, &mut walker, &last, how)?;
        let inode = child.inode().ok_or(Errno::ENOENT)?;
        if made {
            return open_created(io, Path::new(walker.at.mount.clone(), child), flags, true);
        }
        if flags.contains(OpenFlags::EXCL) {
            return fail(Errno::EEXIST);
        }
        let follow = !flags.contains(OpenFlags::NOFOLLOW);
        if walker.enter(io, child, &inode, follow)? {
            return open_created(io, walker.at, flags, false);
        }
    }
}

/// As `open` for the kernel's own use: a FIFO is ENXIO.
pub fn open_file(io: &mut Io<'_>, base: &Base, path: &[u8], how: OpenHow) -> Op<Arc<File>> {
    match open(io, base, path, how)? {
        Opened::File(file) => Ok(file),
        Opened::Fifo { .. } => fail(Errno::ENXIO),
    }
}

/// The dentry of the last name, and whether it was made now.
fn find_or_make(io: &mut Io<'_>, walker: &mut Walker<'_>, last: &Component, how: OpenHow) -> Op<(Arc<Dentry>, bool)> {
    let child = walker.child(io, last)?;
    if child.inode().is_some() {
        return Ok((child, false));
    }
    let dir = walker.at.inode()?;
    let _guard = lock_folders(io, &dir, None)?;
    let child = look_up(io, &walker.at.dentry, &last.name)?;
    if child.inode().is_some() {
        return Ok((child, false));
    }
    let made = namei::make(io, &walker.at, &dir, &last.name, NewKind::Regular, how.perm, Some(how.flags))?;
    Ok((made, true))
}

/// With O_CREAT: what the walk came to.
fn open_created(io: &mut Io<'_>, path: Path, flags: OpenFlags, made: bool) -> Op<Opened> {
    let inode = path.inode()?;
    if made {
        // Who may make a file may open it, whatever its mode says.
        let flags = flags.difference(OpenFlags::TRUNC);
        let ops = inode.ops.open(io, &inode, flags)?;
        return Ok(Opened::File(opened(path, inode, ops, flags)));
    }
    if flags.contains(OpenFlags::EXCL) {
        return fail(Errno::EEXIST);
    }
    if inode.kind == FileType::Dir {
        return fail(Errno::EISDIR);
    }
    open_path(io, path, flags)
}

/// Opens what is at a place, with all checks: also what O_PATH descriptors and /proc/self/fd lead to.
pub fn open_path(io: &mut Io<'_>, path: Path, flags: OpenFlags) -> Op<Opened> {
    let inode = path.inode()?;
    // The fourth access mode asks for the right to read and to write, and gives neither.
    let mut want = match flags.bits() & 3 {
        0 => READ,
        1 => WRITE,
        _ => READ | WRITE,
    };
    if flags.contains(OpenFlags::TRUNC) {
        want |= WRITE;
    }
    let writes = want & WRITE != 0;
    match inode.kind {
        FileType::Symlink => return fail(Errno::ELOOP),
        FileType::Dir if writes => return fail(Errno::EISDIR),
        FileType::Char | FileType::Block if path.mount.flags() & abi::fs::MS_NODEV != 0 => return fail(Errno::EACCES),
        FileType::Regular if writes && path.mount.read_only() => return fail(Errno::EROFS),
        _ => {}
    }
    access::check(io, &inode, want)?;
    if flags.contains(OpenFlags::NOATIME) {
        let attr = inode.attr(io)?;
        if !access::is_owner(&io.cred, &attr) {
            return fail(Errno::EPERM);
        }
    }
    if inode.kind == FileType::Socket {
        return fail(Errno::ENXIO);
    }
    if writes {
        super::may_write(&inode)?;
    }
    super::lease::break_for(io, &inode, flags.writable(), flags.contains(OpenFlags::NONBLOCK))?;
    if matches!(inode.kind, FileType::Dir | FileType::Char) && flags.contains(OpenFlags::DIRECT) {
        return fail(Errno::EINVAL);
    }
    if inode.kind == FileType::Fifo {
        return Ok(Opened::Fifo { path, inode });
    }
    let empties = flags.contains(OpenFlags::TRUNC) && inode.kind == FileType::Regular;
    if empties && !inode.ops.truncates_at_open() {
        truncate(io, &inode)?;
    }
    let ops = inode.ops.open(io, &inode, flags)?;
    let file = opened(path, inode.clone(), ops, flags);
    if empties {
        notify::inode_event(&inode, file.path.as_ref(), abi::inotify::IN_MODIFY);
    }
    if writes {
        super::may_write(&inode)?;
    }
    Ok(Opened::File(file))
}

fn truncate(io: &mut Io<'_>, inode: &Arc<Inode>) -> Op<()> {
    let attr = inode.attr(io)?;
    let perm = super::access::without_privileges(&io.cred, &attr);
    // What is empty counts as changed all the same.
    let mtime = (attr.size == 0).then_some(SetTime::Now);
    inode.ops.set_attr(io, &SetAttr { size: Some(0), perm, mtime, disarms: true, ..SetAttr::default() })
}

/// The open file description, told to inotify.
pub fn opened(path: Path, inode: Arc<Inode>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<File> {
    let kept = flags.difference(OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC);
    let kept = kept.difference(OpenFlags::CLOEXEC);
    notify::inode_event(&inode, Some(&path), abi::inotify::IN_OPEN);
    File::opened(path, inode, ops, kept)
}

/// O_TMPFILE: a file without a name in `dir`.
fn temporary(io: &mut Io<'_>, dir: Path, how: OpenHow) -> Op<Arc<File>> {
    let inode = dir.inode()?;
    if dir.mount.read_only() {
        return fail(Errno::EROFS);
    }
    access::may_create(io, &inode)?;
    let node = namei::owned(io, &inode, NewKind::Regular, how.perm)?;
    let ops = inode.ops.dir().ok_or(Errno::ENOTDIR)?;
    let new = ops.tmpfile(io, &node)?;
    new.linkable.store(!how.flags.contains(OpenFlags::EXCL), std::sync::atomic::Ordering::Relaxed);
    let flags = how.flags.difference(OpenFlags::TMPFILE.difference(OpenFlags::DIRECTORY) | OpenFlags::DIRECTORY);
    let file = new.ops.open(io, &new, flags)?;
    let path = Path::new(dir.mount, dir.dentry.nameless(format!("#{}", new.ino).as_bytes(), new.clone()));
    Ok(opened(path, new, file, how.flags))
}

/// The file of an O_PATH descriptor: it names a place, nothing more.
pub struct PathOnly;

impl FileOps for PathOnly {
    fn position(&self) -> super::Position {
        super::Position::Stream
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
