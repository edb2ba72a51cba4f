//! Extended attributes of tmpfs, xattr(7): any name space, in the kernel's memory and therefore bounded.

use super::node::Node;
use abi::Errno;
use abi::fs::{XATTR_CREATE, XATTR_REPLACE};
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::XattrOps;
use std::collections::BTreeMap;

/// Bytes of names and values that one file may have.
const MOST: usize = 128 << 10;

#[derive(Default)]
pub(super) struct Xattrs {
    values: BTreeMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
}

impl Xattrs {
    /// Takes the file's capabilities away.
    pub fn disarm(&mut self) {
        let name: &[u8] = b"security.capability";
        if let Some(value) = self.values.remove(name) {
            self.bytes -= name.len() + value.len();
        }
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
            let old = all.values.get(name).map(|v| v.len() + name.len());
            match old {
                Some(_) if flags & XATTR_CREATE != 0 => return fail(Errno::EEXIST),
                None if flags & XATTR_REPLACE != 0 => return fail(Errno::ENODATA),
                _ => {}
            }
            let bytes = all.bytes - old.unwrap_or(0) + name.len() + value.len();
            if bytes > MOST {
                return fail(Errno::ENOSPC);
            }
            all.bytes = bytes;
            all.values.insert(name.into(), value.into());
        }
        self.state.lock().ctime = kernel::time::now();
        Ok(())
    }

    fn remove(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        {
            let mut all = self.xattrs.lock();
            let old = all.values.remove(name).ok_or(Errno::ENODATA)?;
            all.bytes -= name.len() + old.len();
        }
        self.state.lock().ctime = kernel::time::now();
        Ok(())
    }

    fn list(&self, _io: &mut Io<'_>) -> Op<Vec<Vec<u8>>> {
        Ok(self.xattrs.lock().values.keys().map(|name| name.to_vec()).collect())
    }
}
