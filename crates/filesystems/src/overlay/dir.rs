//! Lookups and changes of names.
//!
//! The caller (the VFS) holds the folders' locks over changes, so that a whiteout and what it makes room for change as one.

use super::folder;
use super::node::{Node, NodeOps};
use super::redirect::lower_path;
use super::xattr::{DEVICE, OPAQUE, REDIRECT};
use abi::Errno;
use abi::fs::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{DirOps, FileType, Inode, NewKind, NewNode};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the lower layer has of a name, where that is known already.
type Ahead<'a> = Option<&'a Arc<Inode>>;

impl DirOps for NodeOps {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        match self.0.find_child(io, name, None)? {
            Some(node) => node.inode().map(Some),
            None => Ok(None),
        }
    }

    fn walk_ahead(&self, io: &mut Io<'_>, names: &[&[u8]]) -> Op<Vec<Arc<Inode>>> {
        let mut inodes = Vec::new();
        let mut at = self.0.clone();
        // One trip of the lower layer for all of it; what the upper layer has comes from memory.
        let mut ahead = match &*at.lower {
            [lower] => folder(lower)?.walk_ahead(io, names)?.into_iter(),
            _ => return Ok(inodes),
        };
        for name in names {
            let lower = ahead.next();
            let Some(node) = at.find_child(io, name, lower.as_ref())? else { break };
            inodes.push(node.inode()?);
            // What was walked ahead goes on below the very folder that is merged here, or not at all.
            if !lower.is_some_and(|lower| matches!(&*node.lower, [only] if Arc::ptr_eq(only, &lower))) {
                ahead = Vec::new().into_iter();
            }
            if node.kind != FileType::Dir {
                break;
            }
            at = node;
        }
        Ok(inodes)
    }

    fn create(&self, io: &mut Io<'_>, name: &[u8], node: &NewNode<'_>) -> Op<Arc<Inode>> {
        let like_whiteout = matches!(node.kind, NewKind::Char(0));
        if like_whiteout && !self.0.overlay.ways.private {
            return fail(Errno::EPERM);
        }
        let dir = self.0.copy_up(io, true)?;
        let hides = self.0.below_has(io, name)?;
        let _changing = self.0.hide(name);
        self.0.remove_whiteout(io, &dir, name)?;
        let upper = match folder(&dir)?.create(io, name, node) {
            Ok(upper) => upper,
            Err(stop) => {
                if hides {
                    whiteout(io, &dir, name)?;
                }
                return Err(stop);
            }
        };
        self.0.overlay.forget_upper(&upper);
        if like_whiteout {
            self.0.overlay.mark(io, &upper, DEVICE, b"y")?;
        }
        if hides && matches!(node.kind, NewKind::Dir) {
            self.0.make_opaque(io, &upper)?;
        }
        Node::find(&self.0.overlay, Some(upper), Arc::from([]), Some((self.0.clone(), name.into())))?.inode()
    }

    fn link(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let target = Node::of(target)?;
        let upper = target.copy_up(io, true)?;
        let dir = self.0.copy_up(io, true)?;
        let _changing = self.0.hide(name);
        self.0.remove_whiteout(io, &dir, name)?;
        folder(&dir)?.link(io, name, &upper)?;
        target.links.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unlink(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let target = Node::of(target)?;
        let dir = self.0.copy_up(io, true)?;
        let hides = self.0.below_has(io, name)?;
        let _changing = self.0.hide(name);
        // A second name of a copied-up file is in the lower layer only.
        if let Some(upper) = folder(&dir)?.lookup(io, name)? {
            folder(&dir)?.unlink(io, name, &upper)?;
        }
        if hides {
            whiteout(io, &dir, name)?;
        }
        target.unlinked(io)
    }

    fn rmdir(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()> {
        let target = Node::of(target)?;
        if !target.is_empty(io)? {
            return fail(Errno::ENOTEMPTY);
        }
        let dir = self.0.copy_up(io, true)?;
        let hides = self.0.below_has(io, name)?;
        let _changing = self.0.hide(name);
        if let Some(upper) = target.upper.get() {
            self.0.clear_whiteouts(io, upper)?;
            folder(&dir)?.rmdir(io, name, upper)?;
            target.overlay.forget_upper(upper);
        }
        if hides {
            whiteout(io, &dir, name)?;
        }
        target.set_place(None);
        Ok(())
    }

    fn rename(
        &self,
        io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Op<()> {
        if flags & !(RENAME_EXCHANGE | RENAME_NOREPLACE) != 0 {
            return fail(Errno::EINVAL);
        }
        let (moved, to) = (Node::of(moved)?, Node::of(new_dir)?);
        let victim = victim.map(|victim| Node::of(victim)).transpose()?;
        if flags & RENAME_EXCHANGE != 0 {
            let Some(victim) = victim else { return fail(Errno::ENOENT) };
            return self.exchange(io, name, &moved, &to, new_name, &victim);
        }
        if let Some(victim) = victim.as_ref().filter(|victim| victim.kind == FileType::Dir)
            && !victim.is_empty(io)?
        {
            return fail(Errno::ENOTEMPTY);
        }
        moved.may_move()?;
        let (dir, new_dir) = (self.0.copy_up(io, true)?, to.copy_up(io, true)?);
        let upper = moved.named_up(io, &dir, name)?;
        moved.mark_redirect(io, &upper)?;
        let leaves = self.0.below_has(io, name)?;
        let hides = to.below_has(io, new_name)?;
        let _changing = (self.0.hide(name), to.hide(new_name));
        if let Some(upper) = victim.as_ref().and_then(|victim| victim.upper.get())
            && upper.kind == FileType::Dir
        {
            self.0.clear_whiteouts(io, upper)?;
        }
        let in_the_way = match folder(&new_dir)?.lookup(io, new_name)? {
            Some(inode) if self.0.overlay.is_whiteout(io, &inode)? => {
                folder(&new_dir)?.unlink(io, new_name, &inode)?;
                None
            }
            other => other,
        };
        let renamed = folder(&dir)?.rename(io, name, &upper, &new_dir, new_name, in_the_way.as_ref(), 0);
        if let Err(stop) = renamed {
            if hides && in_the_way.is_none() {
                whiteout(io, &new_dir, new_name)?;
            }
            return Err(stop);
        }
        if leaves {
            whiteout(io, &dir, name)?;
        }
        moved.keep_stack(io, &upper, hides)?;
        moved.set_place(Some((to.clone(), new_name.into())));
        match victim {
            Some(victim) if victim.kind == FileType::Dir => {
                if let Some(upper) = victim.upper.get() {
                    victim.overlay.forget_upper(upper);
                }
                victim.set_place(None);
                Ok(())
            }
            Some(victim) => victim.unlinked(io),
            None => Ok(()),
        }
    }

    fn tmpfile(&self, io: &mut Io<'_>, node: &NewNode<'_>) -> Op<Arc<Inode>> {
        let dir = self.0.copy_up(io, true)?;
        let upper = folder(&dir)?.tmpfile(io, node)?;
        Node::find(&self.0.overlay, Some(upper), Arc::from([]), None)?.inode()
    }
}

impl NodeOps {
    fn exchange(
        &self,
        io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Node>,
        to: &Arc<Node>,
        new_name: &[u8],
        other: &Arc<Node>,
    ) -> Op<()> {
        moved.may_move()?;
        other.may_move()?;
        let (dir, new_dir) = (self.0.copy_up(io, true)?, to.copy_up(io, true)?);
        let upper = moved.named_up(io, &dir, name)?;
        let other_upper = other.named_up(io, &new_dir, new_name)?;
        moved.mark_redirect(io, &upper)?;
        other.mark_redirect(io, &other_upper)?;
        let _changing = (self.0.hide(name), to.hide(new_name));
        let ops = folder(&dir)?;
        ops.rename(io, name, &upper, &new_dir, new_name, Some(&other_upper), RENAME_EXCHANGE)?;
        moved.keep_stack(io, &upper, true)?;
        other.keep_stack(io, &other_upper, true)?;
        moved.set_place(Some((to.clone(), new_name.into())));
        other.set_place(Some((self.0.clone(), name.into())));
        Ok(())
    }
}

impl Node {
    /// The node of a name in this folder. `ahead`: the lower layer's inode of that name, where it is known.
    fn find_child(self: &Arc<Self>, io: &mut Io<'_>, name: &[u8], ahead: Ahead<'_>) -> Op<Option<Arc<Node>>> {
        loop {
            let before = self.hidden(name);
            let found = self.find_in_layers(io, name, ahead, before.1)?;
            // A change of names in between may have shown a lower file for a moment.
            if self.hidden(name) == before {
                return Ok(found);
            }
        }
    }

    fn find_in_layers(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        name: &[u8],
        ahead: Ahead<'_>,
        upper_only: bool,
    ) -> Op<Option<Arc<Node>>> {
        let at = || Some((self.clone(), name.into()));
        let mut upper = None;
        if let Some(dir) = self.upper.get()
            && let Some(found) = folder(dir)?.lookup(io, name)?
        {
            if self.overlay.is_whiteout(io, &found)? {
                return Ok(None);
            }
            if let Some(node) = Node::known(&self.overlay, &found)
                && node.upper.get().is_some_and(|upper| Arc::ptr_eq(upper, &found))
            {
                return Ok(Some(node));
            }
            if found.kind != FileType::Dir {
                return Node::find(&self.overlay, Some(found), Arc::from([]), at()).map(Some);
            }
            if let Some(stack) = self.overlay.stack_of(&found) {
                return Node::find(&self.overlay, Some(found), stack, at()).map(Some);
            }
            if self.is_opaque(io, &found)? {
                return Node::find(&self.overlay, Some(found), Arc::from([]), at()).map(Some);
            }
            if let Some(stack) = self.redirected(io, &found)? {
                self.overlay.set_stack(&found, stack.clone());
                return Node::find(&self.overlay, Some(found), stack, at()).map(Some);
            }
            upper = Some(found);
        }
        let mut stack: Vec<Arc<Inode>> = Vec::new();
        for (layer, dir) in self.lower.iter().enumerate().filter(|_| !upper_only) {
            let found = match ahead {
                Some(inode) if layer == 0 => Some(inode.clone()),
                _ => folder(dir)?.lookup(io, name)?,
            };
            let Some(found) = found else { continue };
            if self.overlay.is_whiteout(io, &found)? {
                break;
            }
            if found.kind != FileType::Dir {
                if stack.is_empty() && upper.is_none() {
                    stack.push(found);
                }
                break;
            }
            let opaque = self.lower.len() > 1 && self.is_opaque(io, &found)?;
            stack.push(found);
            if opaque {
                break;
            }
        }
        if !upper_only && upper.is_none() {
            self.set_below(name, !stack.is_empty());
        }
        match (&upper, stack.first()) {
            (None, None) => return Ok(None),
            (Some(upper), Some(lower)) => {
                self.overlay.origins.lock().insert(upper.ino, lower.ino);
            }
            _ => {}
        }
        Node::find(&self.overlay, upper, stack.into(), at()).map(Some)
    }

    /// Whether the lower layers show a name of this folder, which a whiteout must hide once it is gone.
    fn below_has(&self, io: &mut Io<'_>, name: &[u8]) -> Op<bool> {
        if let Some(known) = self.known_below(name) {
            return Ok(known);
        }
        for dir in self.lower.iter() {
            if let Some(found) = folder(dir)?.lookup(io, name)? {
                return Ok(!self.overlay.is_whiteout(io, &found)?);
            }
        }
        Ok(false)
    }

    /// The upper inode of a node that has this very name in the upper folder `dir`: a second name of a copied-up file comes up by a link.
    fn named_up(self: &Arc<Self>, io: &mut Io<'_>, dir: &Arc<Inode>, name: &[u8]) -> Op<Arc<Inode>> {
        let upper = self.copy_up(io, true)?;
        if folder(dir)?.lookup(io, name)?.is_none() {
            folder(dir)?.link(io, name, &upper)?;
        }
        Ok(upper)
    }

    /// EXDEV for a folder with lower parts, where nothing could tell the next mount of these layers that it was renamed.
    fn may_move(&self) -> Op<()> {
        let stays = self.kind == FileType::Dir && !self.lower.is_empty() && !self.overlay.ways.redirect;
        if stays { fail(Errno::EXDEV) } else { Ok(()) }
    }

    /// Says on a folder that is about to be renamed where its lower parts are.
    fn mark_redirect(self: &Arc<Self>, io: &mut Io<'_>, upper: &Arc<Inode>) -> Op<()> {
        if self.kind != FileType::Dir || self.lower.is_empty() || self.overlay.ways.private {
            return Ok(());
        }
        let path = lower_path(io, self)?;
        if self.overlay.mark(io, upper, REDIRECT, &path)? { Ok(()) } else { fail(Errno::EXDEV) }
    }

    /// A folder was moved in the upper layer: it takes its lower parts along, and merges with nothing at its new name.
    fn keep_stack(&self, io: &mut Io<'_>, upper: &Arc<Inode>, hides: bool) -> Op<()> {
        if self.kind != FileType::Dir {
            return Ok(());
        }
        if self.lower.is_empty() {
            return if hides { self.make_opaque(io, upper) } else { Ok(()) };
        }
        self.overlay.set_stack(upper, self.lower.clone());
        Ok(())
    }

    /// Lets nothing show through a folder of the upper layer.
    fn make_opaque(&self, io: &mut Io<'_>, upper: &Arc<Inode>) -> Op<()> {
        self.overlay.set_stack(upper, Arc::from([]));
        // For the next one who mounts this upper layer; in memory it is not needed.
        self.overlay.mark(io, upper, OPAQUE, b"y").map(|_| ())
    }

    /// One of a file's names is gone.
    fn unlinked(self: &Arc<Self>, io: &mut Io<'_>) -> Op<()> {
        self.links.fetch_sub(1, Ordering::Relaxed);
        self.set_place(None);
        if self.attr(io)?.nlink == 0 {
            let mut linked = self.overlay.linked.lock();
            let at = linked.iter().position(|node| Arc::ptr_eq(node, self));
            let gone = at.map(|at| linked.swap_remove(at));
            drop(linked);
            drop(gone);
            if let Some(upper) = self.upper.get() {
                self.overlay.forget_upper(upper);
            }
        }
        Ok(())
    }
}

/// Hides a lower name.
fn whiteout(io: &mut Io<'_>, dir: &Arc<Inode>, name: &[u8]) -> Op<()> {
    folder(dir)?.create(io, name, &NewNode::plain(NewKind::Char(0), 0, 0, 0)).map(|_| ())
}

impl Node {
    fn is_opaque(&self, io: &mut Io<'_>, dir: &Arc<Inode>) -> Op<bool> {
        Ok(self.overlay.marked(io, dir, OPAQUE)?.as_deref() == Some(b"y"))
    }

    fn remove_whiteout(&self, io: &mut Io<'_>, dir: &Arc<Inode>, name: &[u8]) -> Op<()> {
        match folder(dir)?.lookup(io, name)? {
            Some(inode) if self.overlay.is_whiteout(io, &inode)? => folder(dir)?.unlink(io, name, &inode),
            _ => Ok(()),
        }
    }

    /// Empties an upper folder that shows no names: only whiteouts are left in it.
    fn clear_whiteouts(&self, io: &mut Io<'_>, dir: &Arc<Inode>) -> Op<()> {
        for entry in super::listing::names(io, dir)? {
            self.remove_whiteout(io, dir, &entry.name)?;
        }
        Ok(())
    }
}
