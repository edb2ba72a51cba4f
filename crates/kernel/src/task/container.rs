//! What all processes of a container share, whatever namespaces they are in. Neighbours: `group` (each has it), `freezer`. Owns no locks.

use super::{Freezer, PidNs, ThreadGroup};
use platform::Nursery;
use std::sync::Arc;

/// A container, as its processes know it.
pub struct Container {
    /// By it tables of other parts find what belongs to the container. Never 0.
    pub number: u64,
    pub freezer: Freezer,
    /// Where its stub processes are born; `None`: where the kernel process is.
    pub nursery: Option<Arc<Nursery>>,
}

impl Container {
    pub fn new(nursery: Option<Arc<Nursery>>) -> Arc<Container> {
        Arc::new(Container { number: crate::unique_id(), freezer: Freezer::default(), nursery })
    }

    /// Its processes that are seen in a PID namespace, with their numbers there.
    pub fn processes(&self, ns: &PidNs) -> Vec<(i32, Arc<ThreadGroup>)> {
        let mut groups = ns.groups();
        groups.retain(|(_, group)| group.container.number == self.number);
        groups
    }
}
