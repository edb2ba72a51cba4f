//! The only door to the host kernel.

pub mod fd;

pub use fd::HostFd;
pub mod capabilities;
pub mod lockdown;
pub mod message;
pub mod namespaces;
pub mod spawn;
