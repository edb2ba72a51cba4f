//! tmpfs, overlay, gofer, fuse, proc, sys, dev, devpts, mqueue, cgroup and the rest.

// So deep is the proof that what leads from a control group to inodes and back may be shared between threads.
#![recursion_limit = "256"]

mod cgroup;
mod dev;
mod devpts;
pub mod erofs;
mod facts;
mod fuse;
pub mod gofer;
#[cfg(test)]
mod hostile;
mod hostio;
mod mqueue;
pub mod overlay;
mod proc;
pub mod pseudo;
mod sys;
pub mod tmpfs;

pub use facts::gather as gather_facts;
pub use proc::{set_sysctl, shown_options};

/// Makes this crate's file systems known to the kernel.
pub fn register(kernel: &std::sync::Arc<kernel::Kernel>) {
    tmpfs::register(kernel);
    overlay::register(kernel);
    dev::register(kernel);
    devpts::register(kernel);
    mqueue::register(kernel);
    cgroup::register(kernel);
    proc::register(kernel);
    sys::register(kernel);
    fuse::register(kernel);
}
