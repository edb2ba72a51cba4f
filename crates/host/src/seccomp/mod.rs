//! seccomp(2): programs of the packet filter machine, and listeners for user notification.

pub mod bpf;
pub mod notify;
