//! Extended attributes of the layer's file that counts; the overlay's own are hidden.

use super::node::NodeOps;
use super::{Overlay, Ways, ops};
use abi::Errno;
use kernel::io::Io;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::{AclKind, AclPerm, Inode, XattrOps};

/// The overlay's own attributes by their last names. A private upper layer has a name space of its own, so that guests can put layers of their
/// overlays there.
#[derive(Clone, Copy)]
pub(crate) struct Mark(&'static str);

/// Of a folder, `y`: nothing below shows through; `x`: it may hold whiteouts that are files.
pub(crate) const OPAQUE: Mark = Mark("opaque");
/// Of an empty file: it is a whiteout.
pub(crate) const WHITEOUT: Mark = Mark("whiteout");
/// Of a folder that was renamed: where its lower parts are, from the layers' roots on, or by another name of the same folder.
pub(crate) const REDIRECT: Mark = Mark("redirect");
/// Of a character device 0:0 of a private upper layer: it is one, and no whiteout.
pub(crate) const DEVICE: Mark = Mark("device");

impl Overlay {
    /// What the names of marks begin with.
    fn space(&self) -> &'static str {
        match self.ways {
            Ways { private: true, .. } => "trusted.stockade.",
            Ways { user_marks: true, .. } => "user.overlay.",
            _ => "trusted.overlay.",
        }
    }

    fn name_of(&self, mark: Mark) -> Vec<u8> {
        [self.space(), mark.0].concat().into_bytes()
    }

    /// The value of a mark on a layer's inode.
    pub(crate) fn marked(&self, io: &mut Io<'_>, inode: &Inode, mark: Mark) -> Op<Option<Vec<u8>>> {
        match ops(inode).xattr().map(|xattr| xattr.get(io, &self.name_of(mark))) {
            Some(Ok(value)) => Ok(Some(value)),
            None | Some(Err(Stop::Errno(_))) => Ok(None),
            Some(Err(stop)) => Err(stop),
        }
    }

    /// Sets a mark; false where the layer has no such attributes.
    pub(crate) fn mark(&self, io: &mut Io<'_>, inode: &Inode, mark: Mark, value: &[u8]) -> Op<bool> {
        match ops(inode).xattr().map(|xattr| xattr.set(io, &self.name_of(mark), value, 0)) {
            Some(Ok(())) => Ok(true),
            None | Some(Err(Stop::Errno(Errno::EOPNOTSUPP | Errno::EPERM))) => Ok(false),
            Some(Err(stop)) => Err(stop),
        }
    }

    /// Whether an attribute is the overlay's own.
    pub(crate) fn is_own(&self, name: &[u8]) -> bool {
        name.starts_with(self.space().as_bytes())
    }
}

impl XattrOps for NodeOps {
    fn get(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        if self.0.overlay.is_own(name) {
            return fail(Errno::ENODATA);
        }
        match ops(self.0.real()?).xattr() {
            Some(xattr) => xattr.get(io, name),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn set(&self, io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()> {
        if self.0.overlay.is_own(name) {
            return fail(Errno::EPERM);
        }
        let upper = self.0.copy_up(io, true)?;
        match ops(&upper).xattr() {
            Some(xattr) => xattr.set(io, name, value, flags),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn remove(&self, io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        // Nothing is copied up for an attribute that is not there.
        self.get(io, name)?;
        let upper = self.0.copy_up(io, true)?;
        match ops(&upper).xattr() {
            Some(xattr) => xattr.remove(io, name),
            None => fail(Errno::EOPNOTSUPP),
        }
    }

    fn list(&self, io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        match ops(self.0.real()?).xattr() {
            Some(xattr) => Ok(xattr.list(io)?.into_iter().filter(|name| !self.0.overlay.is_own(name)).collect()),
            None => Ok(Vec::new()),
        }
    }

    fn acl(&self, io: &mut Io<'_>, kind: AclKind) -> Op<Option<Vec<u8>>> {
        match ops(self.0.real()?).xattr().map(|xattr| xattr.acl(io, kind)) {
            // What is set goes to the upper layer, whatever the lower one knows.
            None | Some(Err(Stop::Errno(Errno::EOPNOTSUPP))) => Ok(None),
            Some(answer) => answer,
        }
    }

    fn set_acl(&self, io: &mut Io<'_>, kind: AclKind, list: Option<&[u8]>, perm: Option<AclPerm>) -> Op<()> {
        let upper = self.0.copy_up(io, true)?;
        match ops(&upper).xattr() {
            Some(xattr) => xattr.set_acl(io, kind, list, perm),
            None => fail(Errno::EOPNOTSUPP),
        }
    }
}
