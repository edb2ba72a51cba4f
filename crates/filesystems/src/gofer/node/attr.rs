//! Attributes of a file of the host: those that were seen last, and when to ask for others. Neighbours: the node, whose lock this takes.

use super::Node;
use crate::hostio::is_local;
use fsproto::Attr;
use host::HostFd;
use host::file::Statx;
use kernel::op::Op;
use std::sync::{Arc, Weak};

/// Nanoseconds for which a call may use attributes that its own walk brought along, when others may change them.
const FRESH: u64 = 1_000_000;

/// What has been done through descriptors, which changes attributes, since `State::attr` came.
#[derive(Default)]
pub(super) struct Uses {
    /// Read, where the host counts that as a new time of access.
    pub(super) read: bool,
    pub(super) written: bool,
    /// A guest has, or had, a shared mapping that it may write to. Never taken back.
    pub(super) mapped: bool,
}

impl Uses {
    pub(super) fn any(&self) -> bool {
        self.read || self.written || self.mapped
    }
}

/// A write is under way as long as this lives. Afterwards attributes are to be asked for: not before, for who asks in between must not count as having asked.
pub(crate) struct Writing<'a>(&'a Node);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().uses.written = true;
    }
}

impl Node {
    /// Attributes as they are now. With exclusive access the host is asked only where something was done since they came.
    pub fn attr(self: &Arc<Self>) -> Op<Attr> {
        let others = self.shared.options.shared;
        let known = {
            let mut state = self.state.lock();
            // What the walk of this very call was told counts, once.
            let came = state.more_if_any().and_then(|more| more.fresh.take());
            let fresh = came.is_some_and(|at| kernel::time::monotonic() < at + FRESH);
            let known = !state.stale && (!others || fresh);
            if known && !others && !state.uses.any() {
                return Ok(state.attr.attr(self.key));
            }
            let was_read = std::mem::take(&mut state.uses.read);
            if let Some(fd) = state.fds.iter().find_map(Weak::upgrade).filter(|_| known || others) {
                drop(state);
                return self.refresh(&fd);
            }
            if known && !was_read {
                return Ok(state.attr.attr(self.key));
            }
            known
        };
        match self.ask() {
            // All but a time of access is known.
            Err(_) if known => Ok(self.last_attr()),
            other => other,
        }
    }

    /// Attributes as the host has them, without a descriptor that is open.
    fn ask(self: &Arc<Self>) -> Op<Attr> {
        if let Some(attr) = self.attr_directly() {
            self.set_attr_known(attr);
            return Ok(attr);
        }
        // A handle that has to be asked for brings attributes along.
        let before = self.state.lock().handle;
        let attr = match before {
            Some(_) => self.with_handle(|gofer, handle| gofer.attr(handle))?,
            None => {
                self.handle()?;
                return Ok(self.last_attr());
            }
        };
        self.set_attr_known(attr);
        Ok(attr)
    }

    /// The attributes that were last seen.
    pub fn last_attr(&self) -> Attr {
        self.state.lock().attr.attr(self.key)
    }

    /// Attributes but for owner and group, by an open descriptor: no trip, and it does not sleep.
    pub fn refresh(&self, fd: &HostFd) -> Op<Attr> {
        {
            let mut state = self.state.lock();
            (state.uses.read, state.uses.written) = (false, false);
        }
        let stat = host::file::stat(fd)?;
        Ok(self.seen(&stat))
    }

    /// What the host said of an open descriptor of this file.
    pub fn seen(&self, stat: &Statx) -> Attr {
        let mut state = self.state.lock();
        // The kernel process is in a user namespace of its own, in which the host's ids have no names: the gofer's answers count.
        let (uid, gid) = state.ids();
        let attr = Attr { uid, gid, ..Attr::from_statx(stat, state.attr.magic()) };
        state.see(&attr, &self.shared);
        attr
    }

    /// Where the file ends, as far as that is known without asking. The host may have made it longer.
    pub fn end(&self) -> Option<u64> {
        let state = self.state.lock();
        let known = !self.shared.options.shared && !state.stale && !state.uses.written && is_local(state.attr.magic());
        known.then_some(state.attr.size())
    }

    /// It was read by a descriptor.
    pub fn was_read(&self) {
        if self.shared.readonly {
            return;
        }
        let mut state = self.state.lock();
        if !state.uses.read {
            state.uses.read = state.attr.counts_reads(kernel::time::now().tv_sec);
        }
    }

    /// To be held while it is written to by a descriptor.
    pub fn writing(&self) -> Writing<'_> {
        Writing(self)
    }

    /// A guest maps it.
    pub fn is_mapped(&self, writable: bool) {
        self.state.lock().uses.mapped |= writable;
        self.was_read();
    }

    /// Whether descriptors know more than was last seen, and more than a time of access, for which the host can be asked when anybody wants to know.
    pub fn is_changed(&self) -> bool {
        let state = self.state.lock();
        self.shared.options.shared || state.uses.written || state.uses.mapped
    }

    pub fn set_attr_known(&self, attr: Attr) {
        self.state.lock().set_attr(&attr, &self.shared);
    }

    /// Something changed on the host whose result is not known.
    pub fn make_stale(&self) {
        self.state.lock().stale = true;
    }
}
