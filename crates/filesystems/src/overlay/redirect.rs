//! `redirect_dir`: where the lower parts of a renamed folder are, as an attribute of the upper one says. Locks: none.

use super::node::Node;
use super::xattr::REDIRECT;
use super::{Overlay, Stack, folder};
use abi::Errno;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{FileType, Inode};
use std::sync::Arc;

/// Longer paths are not followed.
const PATH_MAX: usize = 4096;

/// The path of a folder's lower parts, from the roots of the layers on.
pub(super) fn lower_path(io: &mut Io<'_>, node: &Arc<Node>) -> Op<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = node.clone();
    while let Some((parent, name)) = at.place() {
        let said = match at.upper.get() {
            Some(upper) => at.overlay.marked(io, upper, REDIRECT)?,
            None => None,
        };
        match said {
            Some(path) if path.first() == Some(&b'/') => {
                names.push(path.get(1..).unwrap_or_default().to_vec());
                break;
            }
            other => names.push(other.unwrap_or_else(|| name.to_vec())),
        }
        at = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.len() > PATH_MAX { fail(Errno::EXDEV) } else { Ok(path) }
}

impl Node {
    /// The lower parts of an upper folder of this one that was renamed. None: it was not, and its name tells.
    pub(super) fn redirected(&self, io: &mut Io<'_>, upper: &Arc<Inode>) -> Op<Option<Stack>> {
        let overlay: &Overlay = &self.overlay;
        if !overlay.ways.follow {
            return Ok(None);
        }
        let Some(path) = overlay.marked(io, upper, REDIRECT)? else { return Ok(None) };
        let (from, names): (&[Arc<Inode>], Vec<&[u8]>) = match path.split_first() {
            Some((b'/', rest)) => (&*overlay.roots, rest.split(|byte| *byte == b'/').collect()),
            _ => (&*self.lower, vec![path.as_slice()]),
        };
        // The layer may come from anywhere: nothing but plain names leads down.
        let plain = |name: &&[u8]| {
            !matches!(*name, b"" | b"." | b"..")
                && name.len() <= 255
                && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        };
        if path.len() > PATH_MAX || !names.iter().all(plain) {
            return fail(Errno::EIO);
        }
        let mut stack: Vec<Arc<Inode>> = Vec::new();
        for layer in from {
            let Some(found) = down(io, overlay, layer, &names)? else { continue };
            if found.kind != FileType::Dir {
                break;
            }
            stack.push(found);
        }
        Ok(Some(stack.into()))
    }
}

/// What a path leads to in one layer, whiteouts left out.
fn down(io: &mut Io<'_>, overlay: &Overlay, root: &Arc<Inode>, names: &[&[u8]]) -> Op<Option<Arc<Inode>>> {
    let mut at = root.clone();
    for name in names {
        if at.kind != FileType::Dir {
            return Ok(None);
        }
        match folder(&at)?.lookup(io, name)? {
            Some(found) if !overlay.is_whiteout(io, &found)? => at = found,
            _ => return Ok(None),
        }
    }
    Ok(Some(at))
}
