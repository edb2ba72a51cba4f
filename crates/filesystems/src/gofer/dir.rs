//! Lookups and changes of names.

use super::direct::Found;
use super::inode::NodeOps;
use super::listing::Known;
use super::node::{Access, Node, Place, one, walk};
use abi::Errno;
use fsproto::{Attr, Bytes, Change, Changed, Create, Gofer, Handle, OpenHow, Opened, WalkEnd};
use host::HostFd;
use kernel::io::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{DirOps, FileType, Inode, NewKind, NewNode};
use std::sync::Arc;

const RENAME_EXCHANGE: u32 = 2;

impl DirOps for NodeOps {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        let dir = &self.0;
        match dir.known_name(name) {
            Known::Absent => return Ok(None),
            // A second name may have changed what the listing says.
            Known::Here(attr) if attr.nlink == 1 || attr.is_dir() => {
                let node = match Node::known(&dir.shared, (attr.dev, attr.ino)) {
                    Some(node) => node,
                    None => Node::found(&dir.shared, Some((dir.clone(), name.into())), attr, None)?,
                };
                return node.inode().map(Some);
            }
            _ => {}
        }
        match dir.find_directly(name) {
            Some(Found::Here(attr, target)) => return dir.found_directly(name, attr, target)?.inode().map(Some),
            Some(Found::Absent) => {
                if dir.missed() {
                    dir.list_ahead()?;
                }
                return Ok(None);
            }
            None => {}
        }
        let mut walked = dir.with_handle(|gofer, from| walk(gofer, from, &[name]))?;
        match (walked.steps.pop(), walked.end) {
            (Some(step), end) => self.step(dir, name, step, end).and_then(|node| node.inode()).map(Some),
            (None, WalkEnd::Failed(code)) if code == Errno::ENOENT.code() => {
                if dir.missed() {
                    dir.list_ahead()?;
                }
                Ok(None)
            }
            (None, WalkEnd::Failed(code)) => fail(Errno::from_raw(code.into())),
            (None, _) => fail(Errno::EIO),
        }
    }

    fn walk_ahead(&self, _io: &mut Io<'_>, names: &[&[u8]]) -> Op<Vec<Arc<Inode>>> {
        if let Some(inodes) = self.walk_directly(names)? {
            return Ok(inodes);
        }
        let changes = self.0.changes();
        let walked = self.0.with_handle(|gofer, from| walk(gofer, from, names))?;
        let mut inodes = Vec::with_capacity(walked.steps.len());
        let mut dir = self.0.clone();
        let last = walked.steps.len().wrapping_sub(1);
        for (at, (step, name)) in walked.steps.into_iter().zip(names).enumerate() {
            let end = if at == last { walked.end.clone() } else { WalkEnd::Complete };
            let node = self.step(&dir, name, step, end)?;
            inodes.push(node.inode()?);
            dir = node;
        }
        if let (WalkEnd::Failed(code), Some(name)) = (walked.end, names.get(inodes.len()))
            && code == Errno::ENOENT.code()
            && dir.kind == FileType::Dir
            && !dir.shared.options.shared
        {
            // The walk asks for this name next. A folder met on the way counts as unchanged only if we never changed it.
            dir.set_absent(name, if inodes.is_empty() { changes } else { 0 });
        }
        Ok(inodes)
    }

    fn create(&self, _io: &mut Io<'_>, name: &[u8], node: &NewNode<'_>) -> Op<Arc<Inode>> {
        let (uid, gid) = (node.uid, node.gid);
        let special = |kind: FileType, rdev| {
            move |dir| Change::Mknod { dir, name: name.into(), mode: kind.mode_bits() | node.perm, rdev, uid, gid }
        };
        let made = match node.kind {
            NewKind::Regular => return self.create_file(name, node),
            NewKind::Dir => {
                self.make(name, |dir| Change::Mkdir { dir, name: name.into(), mode: node.perm, uid, gid })?
            }
            NewKind::Symlink(target) => {
                self.make(name, |dir| Change::Symlink { dir, name: name.into(), target: target.into(), uid, gid })?
            }
            NewKind::Fifo => self.make(name, special(FileType::Fifo, 0))?,
            NewKind::Socket(kind) if kind != 0 && self.0.shared.options.bind => self.bind_socket(name, node, kind)?,
            NewKind::Socket(_) => self.make(name, special(FileType::Socket, 0))?,
            NewKind::Char(rdev) => self.make(name, special(FileType::Char, rdev))?,
            NewKind::Block(rdev) => self.make(name, special(FileType::Block, rdev))?,
        };
        if let NewKind::Symlink(target) = node.kind {
            made.set_target(target.into());
        }
        made.inode()
    }

    fn link(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let target = Node::of(target)?;
        let node = target.handle()?;
        let changed = self.during(|gofer, dir| one(gofer, Change::Link { node, dir, name: name.into() }));
        let attr = changed.as_ref().ok().and_then(|changed| changed.dir);
        self.0.end_change(changed.is_ok().then_some((name, &*target)), None, attr);
        match changed?.attr {
            Some(attr) => target.set_attr_known(attr),
            None => target.make_stale(),
        }
        if target.place().is_none() {
            target.set_place(Some((self.0.clone(), name.into())));
        }
        Ok(())
    }

    fn unlink(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        self.remove(name, target, |dir| Change::Unlink { dir, name: name.into() })
    }

    fn rmdir(&self, _io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        self.remove(name, target, |dir| Change::Rmdir { dir, name: name.into() })
    }

    fn rename(
        &self,
        _io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Op<()> {
        let (moved, to) = (Node::of(moved)?, Node::of(new_dir)?);
        let victim = victim.map(|victim| Node::of(victim)).transpose()?;
        let exchange = flags & RENAME_EXCHANGE != 0;
        if let Some(victim) = victim.as_ref().filter(|_| !exchange) {
            victim.prepare_unlink()?;
        }
        let new_handle = to.handle()?;
        let same = Arc::ptr_eq(&self.0, &to);
        if !same {
            to.begin_change();
        }
        let _moving = self.0.shared.moving([Some(&moved), victim.as_ref()].into_iter().flatten());
        self.0.begin_change();
        let rename = |new_dir| {
            let change = |dir| Change::Rename { dir, name: name.into(), new_dir, new_name: new_name.into(), flags };
            self.0.with_handle(|gofer, dir| one(gofer, change(dir)))
        };
        let changed = match rename(new_handle) {
            Err(Stop::Errno(Errno::EBADF)) => to.fresh_handle(new_handle).and_then(rename),
            answer => answer,
        };
        let back = victim.as_ref().filter(|_| exchange && changed.is_ok()).map(|victim| (name, &**victim));
        let gone = (changed.is_ok() && !exchange).then_some(name);
        let (dir_attr, to_attr) = changed.as_ref().map_or((None, None), |changed| (changed.dir, changed.new_dir));
        self.0.end_change(back, gone, dir_attr);
        let here = changed.is_ok().then_some((new_name, &*moved));
        if !same {
            to.end_change(here, None, to_attr);
        } else if changed.is_ok() {
            self.0.begin_change();
            self.0.end_change(here, None, to_attr);
        }
        changed?;
        // RENAME_WHITEOUT leaves a device node behind under the old name, which nobody has seen yet.
        if flags & !RENAME_EXCHANGE & !1 != 0 {
            self.0.drop_listing();
        }
        moved.set_place(Some((to, new_name.into())));
        moved.make_stale();
        match victim {
            Some(victim) if exchange => {
                victim.set_place(Some((self.0.clone(), name.into())));
                victim.make_stale();
            }
            Some(victim) => victim.unlinked(),
            None => {}
        }
        Ok(())
    }

    fn tmpfile(&self, _io: &mut Io<'_>, node: &NewNode<'_>) -> Op<Arc<Inode>> {
        let create = Create { exclusive: true, anonymous: true, mode: node.perm, uid: node.uid, gid: node.gid };
        let how = OpenHow { read: true, write: true, create: Some(create), ..OpenHow::default() };
        let opened = self.0.with_handle(|gofer, dir| gofer.open(dir, &[], how))?;
        let node = Node::found(&self.0.shared, None, opened.attr, opened.handle)?;
        if let Some(fd) = opened.fd {
            node.add_fd(Access::Both, &fd);
            self.0.shared.keep_open(node.key, &fd);
        }
        node.inode()
    }
}

impl Node {
    /// The node of what `find_directly` found.
    fn found_directly(self: &Arc<Self>, name: &[u8], attr: Attr, target: Option<Bytes>) -> Op<Arc<Node>> {
        let node = Node::found(&self.shared, Some((self.clone(), name.into())), attr, None)?;
        if let Some(target) = target {
            node.set_target(target);
        }
        Ok(node)
    }
}

impl NodeOps {
    /// As `walk_ahead`; `None` where the gofer knows more.
    fn walk_directly(&self, names: &[&[u8]]) -> Op<Option<Vec<Arc<Inode>>>> {
        let mut inodes = Vec::with_capacity(names.len());
        let mut dir = self.0.clone();
        for name in names {
            if dir.kind != FileType::Dir {
                break;
            }
            let changes = dir.changes();
            match dir.find_directly(name) {
                Some(Found::Here(attr, target)) => {
                    dir = dir.found_directly(name, attr, target)?;
                    inodes.push(dir.inode()?);
                }
                Some(Found::Absent) => {
                    // The walk asks for this name next.
                    dir.set_absent(name, changes);
                    break;
                }
                None => return Ok(None),
            }
        }
        Ok(Some(inodes))
    }

    /// A node that a walk came to.
    fn step(&self, dir: &Arc<Node>, name: &[u8], (handle, attr): (Handle, Attr), end: WalkEnd) -> Op<Arc<Node>> {
        let node = Node::found(&self.0.shared, Some((dir.clone(), name.into())), attr, Some(handle))?;
        if let WalkEnd::Symlink(target) = end {
            node.set_target(target);
        }
        Ok(node)
    }

    /// A trip that changes this folder; the caller calls `end_change`.
    fn during<T>(&self, ask: impl Fn(&dyn Gofer, Handle) -> Result<T, Errno>) -> Op<T> {
        self.0.begin_change();
        self.0.with_handle(ask)
    }

    fn make(&self, name: &[u8], change: impl Fn(Handle) -> Change) -> Op<Arc<Node>> {
        let changed = self.during(|gofer, dir| one(gofer, change(dir)));
        let dir_attr = changed.as_ref().ok().and_then(|changed| changed.dir);
        let made = match changed {
            Ok(Changed { handle: Some(handle), attr: Some(attr), .. }) => {
                Node::found(&self.0.shared, Some((self.0.clone(), name.into())), attr, Some(handle))
                    .inspect(|node| self.0.hand_down_acls(node))
            }
            Ok(_) => fail(Errno::EIO),
            Err(stop) => Err(stop),
        };
        self.0.end_change(made.as_ref().ok().map(|node| (name, &**node)), None, dir_attr);
        made
    }

    /// A regular file comes with a descriptor: the open that follows mostly needs no trip.
    fn create_file(&self, name: &[u8], node: &NewNode<'_>) -> Op<Arc<Inode>> {
        let create = Create { exclusive: true, anonymous: false, mode: node.perm, uid: node.uid, gid: node.gid };
        let how = OpenHow { read: true, write: true, create: Some(create), ..OpenHow::default() };
        let made = self.make_open(
            name,
            |gofer, dir| gofer.open(dir, &[name], how),
            |node, fd| {
                node.add_fd(Access::Both, &fd);
                node.shared.keep_open(node.key, &fd);
            },
        );
        made?.inode()
    }

    /// A name for a socket that is the host's from now on.
    fn bind_socket(&self, name: &[u8], node: &NewNode<'_>, kind: u32) -> Op<Arc<Node>> {
        let bind = |gofer: &dyn Gofer, dir| gofer.bind(dir, name, kind, node.perm, node.uid, node.gid);
        self.make_open(name, bind, |node, fd| {
            node.state.lock().more().socket = Some(fd);
        })
    }

    /// What comes with a descriptor, which `keep` takes.
    fn make_open(
        &self,
        name: &[u8],
        ask: impl Fn(&dyn Gofer, Handle) -> Result<Opened, Errno>,
        keep: impl FnOnce(&Node, Arc<HostFd>),
    ) -> Op<Arc<Node>> {
        let opened = self.during(ask);
        let dir_attr = opened.as_ref().ok().and_then(|opened| opened.dir);
        let made = opened.and_then(|opened| {
            let place = Some((self.0.clone(), name.into()));
            let node = Node::found(&self.0.shared, place, opened.attr, opened.handle)?;
            self.0.hand_down_acls(&node);
            if let Some(fd) = opened.fd {
                keep(&node, fd);
            }
            Ok(node)
        });
        self.0.end_change(made.as_ref().ok().map(|node| (name, &**node)), None, dir_attr);
        made
    }

    fn remove(&self, name: &[u8], target: &Arc<Inode>, change: impl Fn(Handle) -> Change) -> Op<()> {
        let target = Node::of(target)?;
        target.prepare_unlink()?;
        let _moving = self.0.shared.moving(std::iter::once(&target));
        let changed = self.during(|gofer, dir| one(gofer, change(dir)));
        let attr = changed.as_ref().ok().and_then(|changed| changed.dir);
        self.0.end_change(None, changed.is_ok().then_some(name), attr);
        changed?;
        target.unlinked();
        Ok(())
    }
}

impl Node {
    /// A file with other names, or one that is open, is found by its handle once this name is gone.
    fn prepare_unlink(&self) -> Op<()> {
        if self.kind != FileType::Dir && (self.last_attr().nlink > 1 || self.any_fd().is_some()) {
            self.handle()?;
        }
        Ok(())
    }

    /// One of its names is gone.
    fn unlinked(self: &Arc<Self>) {
        let old = self.state.lock().lose_name(self.kind == FileType::Dir);
        drop(old);
        if self.last_attr().nlink == 0 {
            self.shared.close_kept(self.key);
            if let Some(direct) = self.shared.direct().filter(|_| self.kind == FileType::Dir) {
                direct.let_go(self.key);
            }
            self.leave_table();
        }
    }

    fn set_place(self: &Arc<Self>, place: Option<Place>) {
        // A gofer that agreed to move a folder below itself lies.
        let place = place.filter(|place| !self.is_above(place));
        let old = std::mem::replace(&mut self.state.lock().place, place);
        drop(old);
    }
}
