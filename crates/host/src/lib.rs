//! The only door to the host kernel.

pub mod fd;

pub use fd::HostFd;
pub mod capabilities;
pub mod lockdown;
pub mod message;
pub mod namespaces;
pub mod spawn;

/// The host's error number as stockade's own.
pub fn errno(e: rustix::io::Errno) -> abi::Errno {
    abi::Errno::from_raw(e.raw_os_error())
}
