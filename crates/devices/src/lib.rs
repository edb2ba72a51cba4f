//! Devices: memory devices, terminals, donated host files.
//!
//! `register` makes the drivers known to the kernel by their numbers (`kernel::vfs::register_device`); `filesystems` shows the nodes. `console` and
//! `host_file` are what the sandbox gives to the first processes of a container as their standard files.

pub mod console;
pub mod host_file;
mod mem;
pub mod tty;

use kernel::Kernel;
use std::sync::Arc;

/// Makes all drivers known. Once per sandbox, before any container starts.
pub fn register(_kernel: &Arc<Kernel>) {
    mem::register();
    tty::register();
}
