//! Host descriptors that keep their identity.
//!
//! Host calls take `&Arc<HostFd>` or a borrow of it, so that a number is never closed and reused under another thread.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How many there are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// An open host descriptor, closed when the last `Arc` goes.
#[derive(Debug)]
pub struct HostFd(OwnedFd);

impl HostFd {
    pub fn new(fd: OwnedFd) -> Arc<HostFd> {
        Arc::new(HostFd::from(fd))
    }

    /// The number, for messages and for /proc/self/fd; it is valid as long as `self` is borrowed.
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for HostFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for HostFd {
    fn from(fd: OwnedFd) -> HostFd {
        OPEN.fetch_add(1, Ordering::Relaxed);
        HostFd(fd)
    }
}

impl Drop for HostFd {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many descriptors this process may have: RLIMIT_NOFILE as it was at the first call.
pub fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| limit as usize)
    })
}

/// Less than a quarter of them is left, which is for files that have names: what a guest makes without end, each with a descriptor, is refused.
pub fn are_few() -> bool {
    OPEN.load(Ordering::Relaxed) >= limit() / 4 * 3
}
