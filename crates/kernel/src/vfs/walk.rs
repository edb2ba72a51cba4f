//! The one way from a name to a place. path_resolution(7), openat2(2), symlink(7).
//!
//! `walk` gives the place of an existing file; `Walker` stops before the last name for those who make, open or remove it
//! (`namei`, `open`). Cached dentries are taken as they are; what is missing is looked up, several names at a time where the
//! file system can. Locks: a folder's `DentryChildren`, shortly; `MountTree` only where something is mounted.

use super::access::{self, EXEC};
use super::{Dentry, FileType, Inode, Link, Path};
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use abi::fs::MAXSYMLINKS;
use bitflags::bitflags;
use smallvec::SmallVec;
use std::sync::Arc;

bitflags! {
    /// How to walk.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WalkFlags: u32 {
        /// The last name's symbolic link is followed.
        const FOLLOW = 1;
        /// The result must be a folder: ENOTDIR.
        const DIRECTORY = 2;
        /// An empty path names the beginning itself, AT_EMPTY_PATH.
        const EMPTY = 4;
        /// RESOLVE_* of openat2(2).
        const NO_XDEV = 0x10;
        const NO_MAGICLINKS = 0x20;
        const NO_SYMLINKS = 0x40;
        const BENEATH = 0x80;
        const IN_ROOT = 0x100;
        const CACHED = 0x200;
    }
}

/// Where a path begins.
#[derive(Clone)]
pub struct Base {
    /// The root folder of the task.
    pub root: Path,
    /// Where relative paths begin: the working folder, or an *at call's folder.
    pub at: Path,
}

impl Base {
    pub fn new(root: Path, at: Path) -> Base {
        Base { root, at }
    }
}

/// Bytes that a name may have.
const NAME_MAX: usize = 255;

/// Names are short: no allocation for most.
pub type Name = SmallVec<[u8; 32]>;

/// A component of a path.
pub struct Component {
    pub name: Name,
    /// No more follow.
    pub last: bool,
    /// Slashes follow: it must be a folder.
    pub slash: bool,
}

impl Component {
    pub fn is_dot(&self) -> bool {
        &*self.name == b"."
    }
    pub fn is_dotdot(&self) -> bool {
        &*self.name == b".."
    }
    /// Neither `.` nor `..`.
    pub fn is_plain(&self) -> bool {
        !self.is_dot() && !self.is_dotdot()
    }
}

/// The place that a path names. ENOENT where there is none.
pub fn walk(io: &mut Io<'_>, base: &Base, path: &[u8], flags: WalkFlags) -> Op<Path> {
    Walker::new(base, path, flags)?.finish(io)
}

enum Text<'p> {
    Given(&'p [u8]),
    Target(Box<[u8]>),
}

/// A part of what is still to be walked: the path itself, above it the targets of symbolic links.
struct Piece<'p> {
    text: Text<'p>,
    at: usize,
    /// `walk_ahead` was asked for this piece already.
    ahead: bool,
}

impl Piece<'_> {
    fn rest(&self) -> &[u8] {
        let text = match &self.text {
            Text::Given(text) => text,
            Text::Target(text) => &**text,
        };
        text.get(self.at..).unwrap_or_default()
    }
}

/// A walk on its way.
pub struct Walker<'p> {
    /// Where the walk stands.
    pub at: Path,
    /// Its inode, once that was looked at.
    here: Option<Arc<Inode>>,
    root: Path,
    flags: WalkFlags,
    pieces: SmallVec<[Piece<'p>; 2]>,
    links: u32,
    /// What this walk itself has just asked for, of names that others change.
    fresh: SmallVec<[Arc<Dentry>; 4]>,
}

impl<'p> Walker<'p> {
    /// ENOENT for an empty path, unless `EMPTY` allows it.
    pub fn new(base: &Base, path: &'p [u8], flags: WalkFlags) -> Op<Walker<'p>> {
        if path.is_empty() && !flags.contains(WalkFlags::EMPTY) {
            return fail(Errno::ENOENT);
        }
        let bounded = flags.intersects(WalkFlags::BENEATH | WalkFlags::IN_ROOT);
        let root = if bounded { base.at.clone() } else { base.root.clone() };
        let absolute = path.first() == Some(&b'/');
        if absolute && flags.contains(WalkFlags::BENEATH) {
            return fail(Errno::EXDEV);
        }
        if absolute && flags.contains(WalkFlags::NO_XDEV) && !Arc::ptr_eq(&base.at.mount, &root.mount) {
            return fail(Errno::EXDEV);
        }
        let at = if absolute { root.clone() } else { base.at.clone() };
        let mut pieces = SmallVec::new();
        pieces.push(Piece { text: Text::Given(path), at: 0, ahead: false });
        Ok(Walker { at, here: None, root, flags, pieces, links: 0, fresh: SmallVec::new() })
    }

    /// Walks to the end.
    pub fn finish(mut self, io: &mut Io<'_>) -> Op<Path> {
        let mut must_be_dir = self.flags.contains(WalkFlags::DIRECTORY);
        while let Some(last) = self.to_last(io)? {
            let follow = self.flags.contains(WalkFlags::FOLLOW) || last.slash;
            must_be_dir |= last.slash;
            if self.step(io, &last, follow)? {
                break;
            }
        }
        if must_be_dir && self.here()?.kind != FileType::Dir {
            return fail(Errno::ENOTDIR);
        }
        Ok(self.at)
    }

    /// Walks to the last name, which it gives; None: no name is left, the walk stands where it leads.
    pub fn to_last(&mut self, io: &mut Io<'_>) -> Op<Option<Component>> {
        while let Some(next) = self.next()? {
            if next.last {
                return Ok(Some(next));
            }
            self.step(io, &next, true)?;
        }
        Ok(None)
    }

    /// Takes the next name off the path.
    fn next(&mut self) -> Op<Option<Component>> {
        while let Some(piece) = self.pieces.last_mut() {
            let rest = piece.rest();
            let Some(begin) = rest.iter().position(|b| *b != b'/') else {
                self.pieces.pop();
                continue;
            };
            let rest = rest.get(begin..).unwrap_or_default();
            let len = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
            let name = Name::from_slice(rest.get(..len).unwrap_or_default());
            piece.at += begin + len;
            let last = self.pieces.iter().all(|p| p.rest().iter().all(|b| *b == b'/'));
            let slash = last && self.pieces.iter().any(|p| !p.rest().is_empty());
            return Ok(Some(Component { name, last, slash }));
        }
        Ok(None)
    }

    /// Goes one name further. False: it was a symbolic link whose target is to be walked now.
    pub fn step(&mut self, io: &mut Io<'_>, to: &Component, follow: bool) -> Op<bool> {
        self.may_search(io)?;
        if to.is_dot() {
            return Ok(true);
        }
        if to.is_dotdot() {
            self.up()?;
            return Ok(true);
        }
        let child = self.child(io, to)?;
        let Some(inode) = child.inode() else { return fail(Errno::ENOENT) };
        self.enter(io, child, &inode, follow)
    }

    fn here(&mut self) -> Op<&Arc<Inode>> {
        if self.here.is_none() {
            self.here = Some(self.at.inode()?);
        }
        Ok(self.here.as_ref().ok_or(Errno::ENOENT)?)
    }

    fn go(&mut self, to: Path) {
        self.at = to;
        self.here = None;
    }

    /// The walk must stand in a folder that may be searched.
    pub fn may_search(&mut self, io: &mut Io<'_>) -> Op<()> {
        let inode = self.here()?;
        if inode.kind != FileType::Dir {
            return fail(Errno::ENOTDIR);
        }
        access::check(io, inode, EXEC)
    }

    /// The dentry of a plain name in the folder where the walk stands; a negative one where there is no such name.
    pub fn child(&mut self, io: &mut Io<'_>, to: &Component) -> Op<Arc<Dentry>> {
        if let Some(cached) = self.at.dentry.child(&to.name) {
            let dir = self.here()?;
            let (volatile, remote) = (dir.ops.volatile(), dir.ops.remote());
            let fresh = || cached.is_mountpoint() || self.fresh.iter().any(|found| Arc::ptr_eq(found, &cached));
            if !volatile && (!remote || fresh()) {
                return Ok(cached);
            }
        }
        if self.flags.contains(WalkFlags::CACHED) {
            return fail(Errno::EAGAIN);
        }
        if !to.last
            && to.name.len() <= NAME_MAX
            && let Some(found) = self.look_ahead(io, &to.name)?
        {
            return Ok(found);
        }
        look_up(io, &self.at.dentry, &to.name)
    }

    /// Asks the file system for all plain names that follow, once a piece. None: it has nothing, look up one by one.
    fn look_ahead(&mut self, io: &mut Io<'_>, first: &[u8]) -> Op<Option<Arc<Dentry>>> {
        let Some(piece) = self.pieces.last_mut().filter(|p| !p.ahead) else { return Ok(None) };
        piece.ahead = true;
        let mut names: SmallVec<[&[u8]; 8]> = SmallVec::new();
        names.push(first);
        for name in piece.rest().split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".") {
            if name == b".." || name.len() > NAME_MAX {
                break;
            }
            names.push(name);
        }
        let inode = self.at.inode()?;
        let Some(dir) = inode.ops.dir().filter(|_| names.len() > 1) else { return Ok(None) };
        let inode_is_remote = inode.ops.remote();
        let edits = self.at.dentry.edits();
        let found = dir.walk_ahead(io, &names)?;
        let mut parent = self.at.dentry.clone();
        let mut first = None;
        let mut edits = edits;
        for (name, inode) in names.iter().zip(found) {
            let Some(child) = parent.adopt_since(name, Some(inode), edits) else { break };
            first.get_or_insert_with(|| child.clone());
            if inode_is_remote {
                self.fresh.push(child.clone());
            }
            edits = child.edits();
            parent = child;
        }
        Ok(first)
    }

    /// Steps onto a child: through what is mounted on it, or to a symbolic link's target (false).
    pub fn enter(&mut self, io: &mut Io<'_>, child: Arc<Dentry>, inode: &Arc<Inode>, follow: bool) -> Op<bool> {
        if inode.kind == FileType::Symlink && follow {
            self.follow(io, inode)?;
            return Ok(false);
        }
        if child.is_mountpoint() {
            let mut to = Path::new(self.at.mount.clone(), child);
            if to.cross() {
                self.crossed()?;
            }
            self.go(to);
        } else {
            self.at.dentry = child;
            self.here = Some(inode.clone());
        }
        Ok(true)
    }

    fn crossed(&self) -> Op<()> {
        if self.flags.contains(WalkFlags::NO_XDEV) { fail(Errno::EXDEV) } else { Ok(()) }
    }

    /// Puts a symbolic link's target before what is left of the path; the walk stands in the link's folder.
    pub fn follow(&mut self, io: &mut Io<'_>, link: &Arc<Inode>) -> Op<()> {
        self.links += 1;
        let refused = self.at.mount.flags() & abi::fs::MS_NOSYMFOLLOW != 0;
        if self.links > MAXSYMLINKS || refused || self.flags.contains(WalkFlags::NO_SYMLINKS) {
            return fail(Errno::ELOOP);
        }
        match link.ops.read_link(io)? {
            Link::Magic(path) => {
                if self.flags.contains(WalkFlags::NO_MAGICLINKS) {
                    return fail(Errno::ELOOP);
                }
                if self.flags.intersects(WalkFlags::BENEATH | WalkFlags::IN_ROOT) {
                    return fail(Errno::EXDEV);
                }
                if !Arc::ptr_eq(&path.mount, &self.at.mount) {
                    self.crossed()?;
                }
                self.go(path);
            }
            Link::Target(target) => {
                if target.is_empty() {
                    return fail(Errno::ENOENT);
                }
                if target.first() == Some(&b'/') {
                    if self.flags.contains(WalkFlags::BENEATH) {
                        return fail(Errno::EXDEV);
                    }
                    if !Arc::ptr_eq(&self.root.mount, &self.at.mount) {
                        self.crossed()?;
                    }
                    self.go(self.root.clone());
                }
                self.pieces.push(Piece { text: Text::Target(target), at: 0, ahead: false });
            }
        }
        Ok(())
    }

    /// `..`: not above the root, and out of mounts.
    fn up(&mut self) -> Op<()> {
        let mut at = self.at.clone();
        loop {
            if at.same(&self.root) {
                return if self.flags.contains(WalkFlags::BENEATH) { fail(Errno::EXDEV) } else { Ok(()) };
            }
            if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
                break;
            }
            match at.mount.at() {
                Some(below) => at = below,
                None => return Ok(()),
            }
            self.crossed()?;
        }
        if let Some(parent) = at.dentry.parent() {
            at.dentry = parent;
        }
        if at.cross() {
            self.crossed()?;
        }
        self.go(at);
        Ok(())
    }
}

/// The dentry of a name in a folder, looked up where it is not cached; a negative one where there is no such name. Mounts are not
/// crossed, permissions not checked.
pub fn look_up(io: &mut Io<'_>, dir: &Arc<Dentry>, name: &[u8]) -> Op<Arc<Dentry>> {
    let inode = dir.inode().ok_or(Errno::ENOENT)?;
    let ops = inode.ops.dir().ok_or(Errno::ENOTDIR)?;
    if name.len() > NAME_MAX {
        return fail(Errno::ENAMETOOLONG);
    }
    if inode.ops.volatile() {
        return look_up_volatile(io, dir, name, ops);
    }
    loop {
        let edits = dir.edits();
        if let Some(cached) = dir.child(name)
            && (!inode.ops.remote() || cached.is_mountpoint())
        {
            return Ok(cached);
        }
        let found = ops.lookup(io, name)?;
        if let Some(child) = dir.adopt_since(name, found, edits) {
            return Ok(child);
        }
    }
}

/// Of a folder whose names change by themselves only those are kept on which something is mounted, or below.
fn look_up_volatile(io: &mut Io<'_>, dir: &Arc<Dentry>, name: &[u8], ops: &dyn super::DirOps) -> Op<Arc<Dentry>> {
    let cached = dir.child(name);
    let keeps = dir.inode().is_some_and(|inode| inode.ops.keeps_names());
    if keeps && let Some(cached) = cached.as_ref().filter(|cached| cached.is_mountpoint()) {
        return Ok(cached.clone());
    }
    let Some(inode) = ops.lookup(io, name)? else {
        if keeps && cached.is_some_and(|cached| cached.inode().is_some()) {
            dir.drop_child(name);
        }
        return Ok(dir.loose_child(name, None));
    };
    if keeps {
        return keep(dir, name, cached, inode);
    }
    if let Some(cached) = cached
        && cached.inode().is_some_and(|old| old.ino == inode.ino && old.kind == inode.kind)
    {
        return Ok(cached);
    }
    Ok(dir.loose_child(name, Some(inode)))
}

/// The dentry of what a lookup found. A folder that is found below itself is none: ELOOP.
fn keep(dir: &Arc<Dentry>, name: &[u8], cached: Option<Arc<Dentry>>, inode: Arc<Inode>) -> Op<Arc<Dentry>> {
    if let Some(cached) = cached
        && cached.inode().is_some_and(|old| Arc::ptr_eq(&old, &inode))
    {
        return Ok(cached);
    }
    if inode.kind == FileType::Dir {
        let mut above = Some(dir.clone());
        while let Some(at) = above {
            if at.inode().is_some_and(|folder| Arc::ptr_eq(&folder, &inode)) {
                return fail(Errno::ELOOP);
            }
            above = at.parent();
        }
    }
    dir.drop_child(name);
    Ok(dir.adopt(name, Some(inode)))
}
