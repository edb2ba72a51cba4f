//! Epoll instances that watch each other: no loops, and chains of at most five steps, so that asking one is bounded.
//!
//! Locks: `EpollNesting`, held over the check and the step it allows.

use super::{Epoll, Instance};
use crate::locks::EpollNesting;
use crate::op::{Op, fail};
use abi::Errno;
use lock::{Mutex, MutexGuard};
use std::sync::Arc;

static NESTING: Mutex<(), EpollNesting> = Mutex::new(());
/// Steps from one instance to the next in a chain.
const MAX_STEPS: usize = 5;
/// Instances looked at in one check; beyond it the net is refused as too deep.
const MAX_LOOKS: usize = 4096;

/// Lets `outer` watch `inner`, unless that would make a loop or too long a chain: ELOOP. The guard is kept until it does.
pub fn join(outer: &Arc<Instance>, inner: &Arc<Instance>) -> Op<MutexGuard<'static, ()>> {
    let guard = NESTING.lock();
    let mut looks = 0;
    let down = below(inner, outer, 0, &mut looks);
    let up = above(outer, 0, &mut looks);
    match (down, up) {
        (Some(down), Some(up)) if up + 1 + down <= MAX_STEPS => {
            inner.parents.lock().push(Arc::downgrade(outer));
            Ok(guard)
        }
        _ => fail(Errno::ELOOP),
    }
}

/// `outer` watches `inner` no more.
pub fn part(outer: &Arc<Instance>, inner: &Arc<Instance>) {
    let _guard = NESTING.lock();
    let mut parents = inner.parents.lock();
    if let Some(at) = parents.iter().position(|p| std::ptr::eq(p.as_ptr(), Arc::as_ptr(outer))) {
        let gone = parents.swap_remove(at);
        drop(parents);
        drop(gone);
    }
}

/// Steps below `at`; None where `target` is among them or it is too deep.
fn below(at: &Arc<Instance>, target: &Arc<Instance>, depth: usize, looks: &mut usize) -> Option<usize> {
    *looks += 1;
    if Arc::ptr_eq(at, target) || depth > MAX_STEPS || *looks > MAX_LOOKS {
        return None;
    }
    let files: Vec<_> = at.items.lock().values().filter_map(|i| i.file.upgrade()).collect();
    let mut most = 0;
    for file in files {
        if let Some(next) = file.ops_as::<Epoll>() {
            most = most.max(1 + below(&next.0, target, depth + 1, looks)?);
        }
    }
    Some(most)
}

/// Steps above `at`.
fn above(at: &Arc<Instance>, depth: usize, looks: &mut usize) -> Option<usize> {
    *looks += 1;
    if depth > MAX_STEPS || *looks > MAX_LOOKS {
        return None;
    }
    let parents: Vec<_> = at.parents.lock().iter().filter_map(|p| p.upgrade()).collect();
    let mut most = 0;
    for parent in parents {
        most = most.max(1 + above(&parent, depth + 1, looks)?);
    }
    Some(most)
}
