//! Notifications: what a server tells without having been asked. fuse(4). No locks of its own.

use super::conn::Conn;
use super::node::Node;
use super::wire::{In, Out};
use abi::Errno;
use abi::fuse::*;
use kernel::Io;
use kernel::op::{Op, fail};
use kernel::vfs::FileType;
use std::sync::{Arc, Weak};

/// Acts on a notification. ENOENT for nodes and names that nothing is known of, EINVAL for what is malformed.
pub(super) fn take(_io: &mut Io<'_>, conn: &Arc<Conn>, code: i32, body: &[u8]) -> Op<()> {
    let mut from = In(body);
    let malformed = |_| Errno::EINVAL;
    match code {
        FUSE_NOTIFY_POLL => {
            let kh = from.u64().map_err(malformed)?;
            whole(&from)?;
            let file = conn.polled.lock().get(&kh).and_then(Weak::upgrade);
            if let Some(file) = file {
                file.wake();
            }
            Ok(())
        }
        FUSE_NOTIFY_INVAL_INODE => {
            let (id, offset) = (from.u64().map_err(malformed)?, from.u64().map_err(malformed)? as i64);
            let len = from.u64().map_err(malformed)? as i64;
            whole(&from)?;
            let node = conn.node(id)?;
            node.expire();
            if offset >= 0 {
                node.drop_pages(offset as u64, u64::try_from(len).ok().filter(|len| *len > 0));
            }
            Ok(())
        }
        FUSE_NOTIFY_INVAL_ENTRY => {
            let parent = from.u64().map_err(malformed)?;
            let (len, flags) = (from.u32().map_err(malformed)?, from.u32().map_err(malformed)?);
            let name = from.name(len as usize)?;
            let parent = conn.node(parent)?;
            let known = parent.named(name).is_some() || parent.known(name).is_some();
            if flags & FUSE_EXPIRE_ONLY != 0 {
                parent.expire_name(name);
            } else {
                parent.forget_name(name);
                parent.expire();
            }
            if known { Ok(()) } else { fail(Errno::ENOENT) }
        }
        FUSE_NOTIFY_STORE => {
            let (id, at) = (from.u64().map_err(malformed)?, from.u64().map_err(malformed)?);
            let (len, _) = (from.u32().map_err(malformed)?, from.u32().map_err(malformed)?);
            if from.0.len() != len as usize || at.checked_add(len.into()).is_none_or(|end| end > i64::MAX as u64) {
                return fail(Errno::EINVAL);
            }
            let node = conn.node(id)?;
            if node.kind != FileType::Regular {
                return fail(Errno::EINVAL);
            }
            node.take_store(at, from.0)
        }
        FUSE_NOTIFY_RETRIEVE => {
            let (unique, id) = (from.u64().map_err(malformed)?, from.u64().map_err(malformed)?);
            let at = from.u64().map_err(malformed)?;
            let (len, _) = (from.u32().map_err(malformed)?, from.u32().map_err(malformed)?);
            whole(&from)?;
            let node = conn.node(id)?;
            let most = conn.settings.get().map_or(4096, |s| s.max_write);
            let data = node.kept(at, len.min(most).into())?;
            let total = (IN_HEADER + 40 + data.len()) as u32;
            let header = Out::default().u32(total).u32(FUSE_NOTIFY_REPLY).u64(unique).u64(id).u64(0).u64(0);
            let body = header.u64(0).u64(at).u32(data.len() as u32).u32(0).u64(0).u64(0);
            conn.tell(body.bytes(&data).0)
        }
        FUSE_NOTIFY_DELETE => {
            let (parent, child) = (from.u64().map_err(malformed)?, from.u64().map_err(malformed)?);
            let (len, _) = (from.u32().map_err(malformed)?, from.u32().map_err(malformed)?);
            let name = from.name(len as usize)?;
            let parent = conn.node(parent)?;
            if parent.named(name) != Some(child) {
                return fail(Errno::ENOENT);
            }
            parent.forget_name(name);
            parent.expire();
            if let Ok(child) = conn.node(child) {
                child.expire();
            }
            Ok(())
        }
        _ => fail(Errno::EINVAL),
    }
}

/// Nothing is left of a message.
fn whole(from: &In<'_>) -> Op<()> {
    if from.0.is_empty() { Ok(()) } else { fail(Errno::EINVAL) }
}

impl Conn {
    /// A node that is in use. ENOENT.
    fn node(&self, id: u64) -> Op<Arc<Node>> {
        self.nodes.lock().get(&id).and_then(Weak::upgrade).ok_or(Errno::ENOENT.into())
    }
}
