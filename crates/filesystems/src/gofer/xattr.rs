//! Extended attributes, xattr(7): asked of the gofer, and remembered where access is exclusive.
//!
//! Programs ask for the same few over and over (`security.capability` at each write and exec), mostly to hear that there are none.

use super::inode::NodeOps;
use abi::Errno;
use fsproto::Change;
use kernel::io::Io;
use kernel::op::{Op, Stop};
use kernel::vfs::{Acl, AclKind, AclPerm, InodeOps, SetAttr, XattrOps};

/// Answers that are remembered of one file.
const MAX_REMEMBERED: usize = 8;

impl XattrOps for NodeOps {
    fn get(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        if let Some(more) = self.0.state.lock().more_if_any()
            && let Some((_, known)) = more.xattrs.iter().find(|(of, _)| **of == *name)
        {
            return known.clone().map_err(Stop::Errno);
        }
        let answer = match self.0.with_handle(|gofer, node| gofer.get_xattr(node, name)) {
            Ok(value) => Ok(value.0.into_vec()),
            Err(Stop::Errno(errno @ (Errno::ENODATA | Errno::EOPNOTSUPP))) => Err(errno),
            Err(stop) => return Err(stop),
        };
        if !self.0.shared.options.shared && answer.as_ref().map_or(0, Vec::len) <= 256 {
            let mut state = self.0.state.lock();
            let xattrs = &mut state.more().xattrs;
            // Two may have asked at once.
            if xattrs.len() < MAX_REMEMBERED && !xattrs.iter().any(|(of, _)| **of == *name) {
                xattrs.push((name.into(), answer.clone()));
            }
        }
        answer.map_err(Stop::Errno)
    }

    fn set(&self, _io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()> {
        self.write(|node| Change::SetXattr { node, name: name.into(), value: value.into(), flags })
    }

    fn remove(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        self.write(|node| Change::RemoveXattr { node, name: name.into() })
    }

    fn acl(&self, _io: &mut Io<'_>, kind: AclKind) -> Op<Option<Vec<u8>>> {
        self.0.acl(kind)
    }

    fn set_acl(&self, io: &mut Io<'_>, kind: AclKind, list: Option<&[u8]>, perm: Option<AclPerm>) -> Op<()> {
        // The host makes permissions of a list that says no more, and keeps the two together.
        let minimal = perm.map(|perm| Acl::minimal(perm.bits).bytes());
        let written = match list.or(minimal.as_deref()) {
            Some(list) => {
                self.write(|node| Change::SetXattr { node, name: kind.name().into(), value: list.into(), flags: 0 })
            }
            None => self.remove(io, kind.name()),
        };
        match written {
            Err(Stop::Errno(Errno::ENODATA)) => {}
            other => other?,
        }
        // Of set-group-ID the host decides by the gofer's rights, not by the caller's.
        let now = self.0.last_attr().mode & 0o7777;
        match perm.map(|perm| perm.applied(now)) {
            Some(perm) if perm != now => self.set_attr(io, &SetAttr { perm: Some(perm), ..SetAttr::default() }),
            _ => Ok(()),
        }
    }

    fn list(&self, _io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        let names = self.0.with_handle(|gofer, node| gofer.list_xattr(node))?;
        Ok(names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

impl NodeOps {
    fn write(&self, change: impl Fn(fsproto::Handle) -> Change) -> Op<()> {
        let changed = self.0.change(change);
        // An access control list changes the permissions as well.
        {
            let mut state = self.0.state.lock();
            state.forget_acls();
            if let Some(more) = state.more_if_any() {
                more.xattrs.clear();
            }
        }
        match changed?.attr {
            Some(attr) => self.0.set_attr_known(attr),
            None => self.0.make_stale(),
        }
        Ok(())
    }
}
