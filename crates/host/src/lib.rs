//! The only door to the host kernel.

pub mod fd;

pub use fd::HostFd;
