//! The host's zero(4), kept open from before this process leaves the host's files: a large read of /dev/zero is quickest where the host clears the memory.
//!
//! Nothing but zeros comes from it, whoever gets the descriptor. Owns no locks.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use rustix::fs::{FileType, Mode, OFlags, fstat, makedev, open};

use crate::HostFd;

static ZERO: OnceLock<Arc<HostFd>> = OnceLock::new();

/// Opens it. Where the host has none at its place, [`device`] says so.
pub fn keep() {
    let opened = open("/dev/zero", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    if let Some(fd) = opened.ok().filter(is_zero) {
        let _ = ZERO.set(HostFd::new(fd));
    }
}

fn is_zero(fd: &OwnedFd) -> bool {
    let kind = |mode| FileType::from_raw_mode(mode) == FileType::CharacterDevice;
    fstat(fd).is_ok_and(|stat| kind(stat.st_mode) && stat.st_rdev == makedev(1, 5))
}

/// The device, open for reading.
pub fn device() -> Option<&'static Arc<HostFd>> {
    ZERO.get()
}
