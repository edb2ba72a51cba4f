//! Host descriptors that keep their identity.
//!
//! Host calls take `&Arc<HostFd>` or a borrow of it, so that a number is never closed and reused under another thread.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// An open host descriptor, closed when the last `Arc` goes.
#[derive(Debug)]
pub struct HostFd(OwnedFd);

impl HostFd {
    pub fn new(fd: OwnedFd) -> Arc<HostFd> {
        Arc::new(HostFd(fd))
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
        HostFd(fd)
    }
}
