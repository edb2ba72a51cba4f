//! Sockets: unix now, others later. Families register themselves with the kernel (`kernel::socket`).

mod unix;

/// Makes all families known to socket(2).
pub fn register(kernel: &std::sync::Arc<kernel::Kernel>) {
    kernel.register_family(&unix::FAMILY);
}
