//! What a group of version 2 is: a domain of processes, or one of threads. cgroups(7), "Thread mode"; cgroup.type.
//!
//! Neighbours: `threads`. Locks: `CgroupTree` for changes, then groups' own `Leaf`s, one at a time.

use super::{Cgroup, Controllers, TREE};
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::Arc;

impl Cgroup {
    /// A member of a domain above.
    pub fn is_threaded(&self) -> bool {
        self.state.lock().threaded
    }

    fn has_tasks(&self) -> bool {
        let state = self.state.lock();
        !state.members.is_empty() || !state.threads.is_empty()
    }

    /// The domain that its threads' processes belong to.
    pub fn domain(self: &Arc<Self>) -> Arc<Cgroup> {
        self.ancestry().find(|group| !group.is_threaded()).unwrap_or_else(|| self.clone())
    }

    /// A domain with groups of threads, or one that has members and enables controllers beside them, which the container's own may.
    fn is_thread_root(&self) -> bool {
        !self.is_threaded()
            && (self.children().iter().any(|child| child.is_threaded())
                || !self.is_container() && self.has_tasks() && self.subtree_control().intersects(Controllers::THREADED))
    }

    fn can_be_thread_root(&self) -> bool {
        let domain_below = |child: &Arc<Cgroup>| !child.is_threaded() && child.populated();
        self.is_container()
            || Controllers::THREADED.contains(self.subtree_control()) && !self.children().iter().any(domain_below)
    }

    /// Not one below threads.
    fn is_valid_domain(self: &Arc<Self>) -> bool {
        let holds_threads = |above: Arc<Cgroup>| above.is_threaded() || !above.is_container() && above.is_thread_root();
        !self.is_threaded() && !self.ancestry().skip(1).any(holds_threads)
    }

    /// cgroup.type
    pub fn kind(self: &Arc<Self>) -> &'static str {
        if self.is_threaded() {
            "threaded"
        } else if !self.is_valid_domain() {
            "domain invalid"
        } else if self.is_thread_root() {
            "domain threaded"
        } else {
            "domain"
        }
    }

    /// For good. EOPNOTSUPP: it has members or controllers of domains, or the domain above cannot have threads.
    pub fn make_threaded(self: &Arc<Self>) -> Op<()> {
        let _tree = TREE.lock();
        self.alive()?;
        if self.is_threaded() {
            return Ok(());
        }
        let above = self.parent().ok_or(Errno::EOPNOTSUPP)?.domain();
        let own = self.populated() || !Controllers::THREADED.contains(self.subtree_control());
        if own || !above.is_valid_domain() || !above.can_be_thread_root() {
            return fail(Errno::EOPNOTSUPP);
        }
        self.state.lock().threaded = true;
        Ok(())
    }

    /// Whether tasks may come. EOPNOTSUPP below threads. EBUSY where groups below have controllers for which this one must have no members (cgroups(7), "no internal processes").
    pub(super) fn may_take_tasks(self: &Arc<Self>) -> Op<()> {
        self.alive()?;
        self.may_run_tasks()?;
        if !self.hierarchy.is_two() {
            return Ok(());
        }
        if !self.domain().is_valid_domain() {
            return fail(Errno::EOPNOTSUPP);
        }
        let beside = if self.is_container() {
            Controllers::THREADED.contains(self.subtree_control())
        } else {
            self.is_threaded() || self.can_be_thread_root() || self.subtree_control().is_empty()
        };
        if beside { Ok(()) } else { fail(Errno::EBUSY) }
    }

    /// Whether controllers may be enabled below.
    pub(super) fn may_enable(self: &Arc<Self>, enable: Controllers) -> Op<()> {
        if enable.is_empty() {
            return Ok(());
        }
        if !self.domain().is_valid_domain() {
            return fail(Errno::EOPNOTSUPP);
        }
        let threaded = Controllers::THREADED.contains(enable);
        if !self.is_container() {
            if !threaded && (self.is_threaded() || self.is_thread_root()) {
                return fail(Errno::EOPNOTSUPP);
            }
            if threaded && (self.is_threaded() || self.can_be_thread_root()) {
                return Ok(());
            }
        } else if threaded {
            return Ok(());
        }
        if self.has_tasks() { fail(Errno::EBUSY) } else { Ok(()) }
    }
}
