//! Sockets: unix and netlink, others later. Families register themselves with the kernel (`kernel::socket`).
//!
//! `state` is what a network namespace keeps for them; `device_ioctl` asks about its device and changes it, on a socket of any family.

#![recursion_limit = "256"] // whether what holds a task may go to another thread

mod buffers;
mod device_ioctl;
mod netlink;
mod state;
mod unix;

/// Makes all families known to socket(2).
pub fn register(kernel: &std::sync::Arc<kernel::Kernel>) {
    kernel.register_family(&unix::FAMILY);
    kernel.register_family(&netlink::FAMILY);
}
