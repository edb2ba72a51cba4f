//! What uname(2) and /proc/version say of this kernel.

/// uname's sysname.
pub const SYSNAME: &str = "Linux";
/// uname's release: the Linux that this kernel behaves as.
pub const RELEASE: &str = "6.12.0-stockade";
/// uname's version.
pub const VERSION: &str = "#1 SMP stockade";
/// uname's machine.
#[cfg(target_arch = "x86_64")]
pub const MACHINE: &str = "x86_64";
#[cfg(target_arch = "aarch64")]
pub const MACHINE: &str = "aarch64";
