//! Copying up: a lower file gets a copy in the upper layer, with owner, permissions, times, extended attributes and contents.
//!
//! A file is copied under no name, and named when it is whole, so that nobody finds half of it. Of two tasks that copy at once the one that comes
//! first with the name wins, and the other drops its copy: until then nobody can have written to either.

use super::node::Node;
use super::{as_change, folder, ops};
use abi::Errno;
use abi::fs::{OpenFlags, RENAME_NOREPLACE, SEEK_DATA, SEEK_HOLE};
use kernel::io::{Io, SliceSource, VecSink};
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{AclKind, Attr, FileOps, FileType, Inode, Link, NewKind, NewNode, SetAttr, SetTime, XattrOps};
use std::sync::Arc;

/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

impl Node {
    /// The upper inode, made where there is none, with all folders above. `contents`: false where they are about to be cut off anyway.
    pub fn copy_up(self: &Arc<Self>, io: &mut Io<'_>, contents: bool) -> Op<Arc<Inode>> {
        if let Some(upper) = self.upper.get() {
            return Ok(upper.clone());
        }
        let mut missing = vec![self.clone()];
        let mut at = self.place();
        while let Some((parent, _)) = at {
            if parent.upper.get().is_some() {
                break;
            }
            at = parent.place();
            missing.push(parent);
        }
        for node in missing.iter().rev() {
            node.copy_one(io, contents)?;
        }
        self.upper.get().cloned().ok_or(Stop::Errno(Errno::EIO))
    }

    /// Copies this node; the folder above is up already.
    fn copy_one(self: &Arc<Self>, io: &mut Io<'_>, contents: bool) -> Op<()> {
        let Some(lower) = self.lower.first() else { return fail(Errno::EIO) };
        let Some(top) = self.overlay.upper.clone() else { return fail(Errno::EROFS) };
        let attr = lower.attr(io)?;
        let upper = match self.place() {
            Some((parent, name)) => {
                let Some(dir) = parent.upper.get() else { return fail(Errno::ESTALE) };
                let before = dir.attr(io)?;
                let upper = self.copy_to(io, lower, &attr, dir, Some(&name), contents)?;
                // Nothing changed as far as the guest can see: the folder keeps its times.
                let times = SetAttr {
                    atime: Some(SetTime::At(before.atime)),
                    mtime: Some(SetTime::At(before.mtime)),
                    ..SetAttr::default()
                };
                ops(dir).set_attr(io, &times)?;
                upper
            }
            // Removed, but open still.
            None => self.copy_to(io, lower, &attr, &top, None, contents)?,
        };
        if self.upper.set(upper.clone()).is_ok() {
            kernel::lent::moved();
            self.register(&upper);
            if self.kind != FileType::Dir && attr.nlink > 1 {
                self.overlay.linked.lock().push(self.clone());
            }
        }
        Ok(())
    }

    fn copy_to(
        &self,
        io: &mut Io<'_>,
        lower: &Arc<Inode>,
        attr: &Attr,
        dir: &Arc<Inode>,
        name: Option<&[u8]>,
        contents: bool,
    ) -> Op<Arc<Inode>> {
        let link;
        let kind = match self.kind {
            FileType::Regular => return copy_file(io, lower, attr, dir, name, contents),
            FileType::Dir => NewKind::Dir,
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket(0),
            FileType::Char => NewKind::Char(attr.rdev),
            FileType::Block => NewKind::Block(attr.rdev),
            FileType::Symlink => match ops(lower).read_link(io)? {
                Link::Target(target) => {
                    link = target;
                    NewKind::Symlink(&link)
                }
                Link::Magic(_) => return fail(Errno::EIO),
            },
        };
        let Some(name) = name else { return fail(Errno::ESTALE) };
        let node = NewNode::plain(kind, attr.perm, attr.uid, attr.gid);
        match folder(dir)?.create(io, name, &node) {
            Ok(upper) => {
                finish(io, lower, &upper, attr)?;
                Ok(upper)
            }
            Err(Stop::Errno(Errno::EEXIST)) => existing(io, dir, name, attr.kind),
            Err(stop) => Err(stop),
        }
    }
}

fn copy_file(
    io: &mut Io<'_>,
    lower: &Arc<Inode>,
    attr: &Attr,
    dir: &Arc<Inode>,
    name: Option<&[u8]>,
    contents: bool,
) -> Op<Arc<Inode>> {
    let node = NewNode::plain(NewKind::Regular, attr.perm, attr.uid, attr.gid);
    let ops = folder(dir)?;
    let (upper, temporary) = match ops.tmpfile(io, &node) {
        Ok(upper) => (upper, None),
        Err(Stop::Errno(Errno::EOPNOTSUPP)) => {
            let temporary = format!(".copy-up-{}", kernel::unique_id()).into_bytes();
            (ops.create(io, &temporary, &node)?, Some(temporary))
        }
        Err(stop) => return Err(stop),
    };
    let copied = copy_whole(io, lower, &upper, attr, contents);
    let named = match (copied, name, &temporary) {
        (Err(stop), ..) => Err(stop),
        (Ok(()), None, _) => Ok(()),
        (Ok(()), Some(name), None) => ops.link(io, name, &upper),
        (Ok(()), Some(name), Some(temporary)) => ops.rename(io, temporary, &upper, dir, name, None, RENAME_NOREPLACE),
    };
    // Where a file without a name cannot be made, one that only the upper layer's own users could see stands in; it does not stay.
    if let Some(temporary) = temporary.filter(|_| named.is_err() || name.is_none()) {
        ops.unlink(io, &temporary, &upper)?;
    }
    match (named, name) {
        (Ok(()), _) => Ok(upper),
        (Err(Stop::Errno(Errno::EEXIST)), Some(name)) => existing(io, dir, name, attr.kind),
        (Err(stop), _) => Err(stop),
    }
}

/// Contents, owner, permissions, attributes, times.
pub(super) fn copy_whole(
    io: &mut Io<'_>,
    lower: &Arc<Inode>,
    upper: &Arc<Inode>,
    attr: &Attr,
    contents: bool,
) -> Op<()> {
    if contents && attr.size > 0 {
        let from = ops(lower).open(io, lower, OpenFlags::empty())?;
        let to = ops(upper).open(io, upper, OpenFlags::WRONLY)?;
        copy_contents(io, &*from, &*to, attr.size)?;
        // Holes at the end.
        ops(upper).set_attr(io, &SetAttr { size: Some(attr.size), ..SetAttr::default() })?;
    }
    finish(io, lower, upper, attr)
}

/// Somebody else copied it up at the same time.
fn existing(io: &mut Io<'_>, dir: &Arc<Inode>, name: &[u8], kind: FileType) -> Op<Arc<Inode>> {
    // Of another kind it is a whiteout: the file was removed at the same time.
    folder(dir)?.lookup(io, name)?.filter(|upper| upper.kind == kind).ok_or(Stop::Errno(Errno::ESTALE))
}

/// Gives the upper layer's root, which may be empty, the owner, permissions and contents of the lower one's.
pub(super) fn copy_root(io: &mut Io<'_>, lower: &Arc<Inode>, upper: &Arc<Inode>) -> Op<()> {
    let attr = lower.attr(io)?;
    let owner = SetAttr { uid: Some(attr.uid), gid: Some(attr.gid), ..SetAttr::default() };
    ops(upper).set_attr(io, &owner)?;
    copy_whole(io, lower, upper, &attr, lower.kind == FileType::Regular)
}

/// What a copy takes over beside its contents, times last.
pub(super) fn finish(io: &mut Io<'_>, lower: &Arc<Inode>, upper: &Arc<Inode>, attr: &Attr) -> Op<()> {
    if let (Some(from), Some(to)) = (ops(lower).xattr(), ops(upper).xattr()) {
        let names = match from.list(io) {
            Err(Stop::Errno(Errno::EOPNOTSUPP)) => Vec::new(),
            other => other?,
        };
        let is_acl = |name: &[u8]| AclKind::named(name).is_some();
        for name in names.iter().filter(|name| {
            !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.") && !is_acl(name)
        }) {
            let value = match from.get(io, name) {
                Err(Stop::Errno(Errno::ENODATA | Errno::EOPNOTSUPP)) => continue,
                other => other?,
            };
            match to.set(io, name, &value, 0) {
                // Security labels of the host mean nothing here.
                Err(Stop::Errno(Errno::EOPNOTSUPP)) => {}
                other => other?,
            }
        }
        copy_acls(io, from, &names, to, attr.kind)?;
    }
    ops(upper).set_attr(io, &as_change(attr))
}

/// Access control lists, where the upper layer has any: those of the lower file, and none that the upper folder handed down. `names` are the lower
/// file's attributes.
fn copy_acls(io: &mut Io<'_>, from: &dyn XattrOps, names: &[Vec<u8>], to: &dyn XattrOps, of: FileType) -> Op<()> {
    let possible = |kind: &AclKind| of == FileType::Dir || of != FileType::Symlink && *kind == AclKind::Access;
    for kind in AclKind::ALL.into_iter().filter(possible) {
        let has = names.iter().any(|name| name == kind.name());
        let list = if has { from.acl(io, kind)? } else { None };
        match to.acl(io, kind) {
            Ok(None) if list.is_none() => {}
            Err(Stop::Errno(Errno::EOPNOTSUPP)) => {}
            Err(stop) => return Err(stop),
            Ok(_) => to.set_acl(io, kind, list.as_deref(), None)?,
        }
    }
    Ok(())
}

/// Copies what is no hole.
fn copy_contents(io: &mut Io<'_>, from: &dyn FileOps, to: &dyn FileOps, size: u64) -> Op<()> {
    let mut at = 0;
    while at < size {
        let (start, end) = data_range(io, from, at, size)?;
        at = start;
        while at < end {
            let max = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = VecSink { data: Vec::with_capacity(max), max };
            let read = from.read(io, Some(at), &mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            let mut written = 0;
            while written < chunk.data.len() {
                let rest = chunk.data.get(written..).unwrap_or_default();
                let count = to.write(io, Some(at + written as u64), &mut SliceSource::new(rest))?;
                if count == 0 {
                    return fail(Errno::EIO);
                }
                written += count;
            }
            at += read as u64;
        }
    }
    Ok(())
}

/// The next range of data at or after `at`, which is empty where only holes follow; all that is left where the file cannot say.
fn data_range(io: &mut Io<'_>, file: &dyn FileOps, at: u64, size: u64) -> Op<(u64, u64)> {
    let Ok(offset) = i64::try_from(at) else { return fail(Errno::EFBIG) };
    let start = match file.seek(io, offset, SEEK_DATA, at) {
        Ok(start) if start >= at => start,
        Err(Stop::Errno(Errno::ENXIO)) => return Ok((size, size)),
        Err(Stop::Errno(_)) | Ok(_) => return Ok((at, size)),
        Err(stop) => return Err(stop),
    };
    let end = match i64::try_from(start).map(|offset| file.seek(io, offset, SEEK_HOLE, start)) {
        Ok(Ok(end)) if end > start => end.min(size),
        _ => size,
    };
    Ok((start.min(size), end))
}
