//! The only door to the host kernel.

pub mod fd;
pub mod futex;
pub mod memory;
pub mod process;
pub mod seccomp;

pub use fd::HostFd;
pub mod beneath;
pub mod capabilities;
pub mod epoll;
pub mod file;
pub mod lockdown;
pub mod message;
pub mod namespaces;
pub mod ptrace;
pub mod random;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod stream;
pub mod time;
pub mod tmpfs;
pub mod zero;

/// The host's error number as stockade's own.
pub fn errno(e: rustix::io::Errno) -> abi::Errno {
    abi::Errno::from_raw(e.raw_os_error())
}
/// The safe host calls that need nothing of ours around them; other crates reach them through here, so that there is one door.
pub use rustix;

/// The error number of the call that this thread just made.
pub(crate) fn last_errno() -> abi::Errno {
    abi::Errno::from_raw(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// A raw call's result: negative means that errno(3) says why.
pub(crate) fn check(result: i64) -> Result<i64, abi::Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}
