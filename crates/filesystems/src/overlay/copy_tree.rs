//! A folder's contents as a copy in another one: `tmpcopyup` of a container's tmpfs.

use super::copy_up::{copy_whole, finish};
use super::listing::names;
use super::{folder, ops};
use kernel::io::Io;
use kernel::op::Op;
use kernel::vfs::{FileType, Inode, Link, NewKind, NewNode};
use std::sync::Arc;

/// Whether a folder has no names.
pub fn is_empty(io: &mut Io<'_>, dir: &Arc<Inode>) -> Op<bool> {
    Ok(names(io, dir)?.is_empty())
}

/// Copies everything below `from` to `to`, with owners, permissions, attributes and times. Hard links become files of their own.
pub fn copy_tree(io: &mut Io<'_>, from: &Arc<Inode>, to: &Arc<Inode>) -> Op<()> {
    let mut folders = vec![(from.clone(), to.clone())];
    while let Some((from, to)) = folders.pop() {
        for entry in names(io, &from)? {
            let Some(original) = folder(&from)?.lookup(io, &entry.name)? else { continue };
            let attr = original.attr(io)?;
            let target;
            let kind = match attr.kind {
                FileType::Regular => NewKind::Regular,
                FileType::Dir => NewKind::Dir,
                FileType::Fifo => NewKind::Fifo,
                FileType::Socket => NewKind::Socket(0),
                FileType::Char => NewKind::Char(attr.rdev),
                FileType::Block => NewKind::Block(attr.rdev),
                FileType::Symlink => match ops(&original).read_link(io)? {
                    Link::Target(text) => {
                        target = text;
                        NewKind::Symlink(&target)
                    }
                    Link::Magic(_) => continue,
                },
            };
            let node = NewNode::plain(kind, attr.perm, attr.uid, attr.gid);
            let copy = folder(&to)?.create(io, &entry.name, &node)?;
            if attr.kind == FileType::Regular {
                copy_whole(io, &original, &copy, &attr, true)?;
            } else {
                finish(io, &original, &copy, &attr)?;
            }
            if attr.kind == FileType::Dir {
                folders.push((original, copy));
            }
        }
    }
    Ok(())
}
