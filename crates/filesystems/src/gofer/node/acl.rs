//! Access control lists of a file of the host: asked of the gofer where an answer depends on one, and remembered. acl(5). Neighbours: the node, whose lock
//! this takes; `xattr`, which sets them.
//!
//! Most files have none, and that takes no memory to know. Where others change files a list is good as long as the file's time of change (ctime) is the same.

use super::{Node, State};
use crate::hostio::is_local;
use abi::Errno;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::AclKind;

/// What is known of an access control list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Known {
    /// Ask.
    #[default]
    Nothing,
    Absent,
    /// The host's file system has no lists.
    Unsupported,
    /// It is among `More::acls`.
    Kept,
}

/// Longer ones are asked for each time.
const MAX_KEPT: usize = 4096;
/// Seconds after which a change gives a file another ctime for certain.
const TICK: i64 = 1;

impl Node {
    /// As `XattrOps::acl`.
    pub fn acl(&self, kind: AclKind) -> Op<Option<Vec<u8>>> {
        let changes = {
            let state = self.state.lock();
            match state.acls(kind) {
                Known::Absent => return Ok(None),
                Known::Unsupported => return fail(Errno::EOPNOTSUPP),
                Known::Kept => return Ok(state.kept_acl(kind).map(|list| list.to_vec())),
                Known::Nothing => state.acl_changes,
            }
        };
        let (known, list) = match self.with_handle(|gofer, node| gofer.get_xattr(node, kind.name())) {
            Ok(list) => (Known::Kept, Some(list.0.into_vec())),
            Err(Stop::Errno(Errno::ENODATA)) => (Known::Absent, None),
            Err(Stop::Errno(Errno::EOPNOTSUPP)) => (Known::Unsupported, None),
            Err(stop) => return Err(stop),
        };
        let mut state = self.state.lock();
        let settled = !self.shared.options.shared
            || is_local(state.attr.magic()) && state.attr.ctime().sec < kernel::time::now().tv_sec - TICK;
        if settled && state.acl_changes == changes && list.as_ref().map_or(0, Vec::len) <= MAX_KEPT {
            state.keep_acl(kind, known, list.as_deref());
        }
        drop(state);
        if known == Known::Unsupported { fail(Errno::EOPNOTSUPP) } else { Ok(list) }
    }

    /// A new file in this folder, which is locked: it has no lists if the folder has none to hand down.
    pub fn hand_down_acls(&self, new: &Node) {
        let known = self.state.lock().acls(AclKind::Default);
        if !self.shared.options.shared && matches!(known, Known::Absent | Known::Unsupported) {
            new.state.lock().acls = [known; 2];
        }
    }
}

impl State {
    fn acls(&self, kind: AclKind) -> Known {
        kind.of(self.acls)
    }

    fn kept_acl(&self, kind: AclKind) -> Option<&[u8]> {
        kind.of(self.more.as_deref()?.acls.each_ref()).as_deref()
    }

    fn keep_acl(&mut self, kind: AclKind, known: Known, list: Option<&[u8]>) {
        *kind.of(self.acls.each_mut()) = known;
        if let Some(list) = list {
            *kind.of(self.more().acls.each_mut()) = Some(list.into());
        }
    }

    /// What was known of lists is not so any more.
    pub fn forget_acls(&mut self) {
        self.acls = Default::default();
        self.acl_changes = self.acl_changes.wrapping_add(1);
        if let Some(more) = &mut self.more {
            more.acls = Default::default();
        }
    }

    /// Permissions have changed: a list that there is with them.
    pub fn perm_changed(&mut self) {
        if matches!(self.acls(AclKind::Access), Known::Nothing | Known::Kept) {
            self.forget_acls();
        }
    }
}
