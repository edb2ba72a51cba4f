//! The only door to the host kernel.

pub mod fd;

pub use fd::HostFd;
pub mod capabilities;
pub mod epoll;
pub mod file;
pub mod lockdown;
pub mod memory;
pub mod message;
pub mod namespaces;
pub mod random;
pub mod signals;
pub mod spawn;
pub mod stream;
pub mod time;

/// The host's error number as stockade's own.
pub fn errno(e: rustix::io::Errno) -> abi::Errno {
    abi::Errno::from_raw(e.raw_os_error())
}
/// The safe host calls that need nothing of ours around them; other crates reach them through here, so that there is one door.
pub use rustix;
