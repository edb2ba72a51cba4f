//! Extended attributes of tmpfs, xattr(7): any name space, in the kernel's memory and therefore bounded. Access control lists are among them.

use super::node::Node;
use abi::Errno;
use abi::fs::{XATTR_CREATE, XATTR_REPLACE};
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{Acl, AclKind, AclPerm, XattrOps};
use std::collections::BTreeMap;

/// Bytes of names and values that one file may have.
const MOST: usize = 128 << 10;

#[derive(Default)]
pub(super) struct Xattrs {
    values: BTreeMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
}

impl Xattrs {
    /// Those that a new file begins with, as `NewNode::acls`.
    pub fn with_acls(acls: &[Option<Box<[u8]>>; 2]) -> Xattrs {
        let mut new = Xattrs::default();
        for (kind, list) in AclKind::ALL.into_iter().zip(acls) {
            if let Some(list) = list {
                new.bytes += kind.name().len() + list.len();
                new.values.insert(kind.name().into(), list.clone());
            }
        }
        new
    }

    /// Takes the file's capabilities away.
    pub fn disarm(&mut self) {
        self.take(b"security.capability");
    }

    /// Permissions have changed: the access control list with them.
    pub fn set_perm(&mut self, perm: u32) {
        if let Some(list) = self.values.get_mut(AclKind::Access.name())
            && let Ok(mut acl) = Acl::kept(list)
        {
            acl.set_perm(perm);
            *list = acl.bytes().into();
        }
    }

    fn put(&mut self, name: &[u8], value: &[u8]) -> Op<()> {
        let old = self.values.get(name).map_or(0, |old| old.len() + name.len());
        let bytes = self.bytes - old + name.len() + value.len();
        if bytes > MOST {
            return fail(Errno::ENOSPC);
        }
        self.bytes = bytes;
        self.values.insert(name.into(), value.into());
        Ok(())
    }

    /// False: there was none.
    fn take(&mut self, name: &[u8]) -> bool {
        let old = self.values.remove(name);
        self.bytes -= old.as_ref().map_or(0, |old| name.len() + old.len());
        old.is_some()
    }
}

impl XattrOps for Node {
    fn get(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>> {
        let all = self.xattrs.lock();
        Ok(all.values.get(name).map(|v| v.to_vec()).ok_or(Errno::ENODATA)?)
    }

    fn set(&self, _io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()> {
        {
            let mut all = self.xattrs.lock();
            match all.values.contains_key(name) {
                true if flags & XATTR_CREATE != 0 => return fail(Errno::EEXIST),
                false if flags & XATTR_REPLACE != 0 => return fail(Errno::ENODATA),
                _ => all.put(name, value)?,
            }
        }
        self.state.lock().ctime = kernel::time::now();
        Ok(())
    }

    fn remove(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        if !self.xattrs.lock().take(name) {
            return fail(Errno::ENODATA);
        }
        self.state.lock().ctime = kernel::time::now();
        Ok(())
    }

    fn list(&self, _io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        Ok(self.xattrs.lock().values.keys().map(|name| name.to_vec()).collect())
    }

    fn acl(&self, _io: &mut Io<'_>, kind: AclKind) -> Op<Option<Vec<u8>>> {
        Ok(self.xattrs.lock().values.get(kind.name()).map(|list| list.to_vec()))
    }

    fn set_acl(&self, _io: &mut Io<'_>, kind: AclKind, list: Option<&[u8]>, perm: Option<AclPerm>) -> Op<()> {
        let mut state = self.state.lock();
        match list {
            Some(list) => self.xattrs.lock().put(kind.name(), list)?,
            None => {
                self.xattrs.lock().take(kind.name());
            }
        }
        state.perm = perm.map_or(state.perm, |perm| perm.applied(state.perm));
        state.ctime = kernel::time::now();
        Ok(())
    }
}
