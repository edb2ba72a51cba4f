//! Objects that processes talk through: pipes and FIFOs, message queues, event counters, readiness, timers as files. pipe(7), epoll(7).
//!
//! Each is a `FileOps`; the system calls that make them are in crate `syscalls`. Sockets are in crate `network`.

pub mod bpf_prog;
pub mod clock;
mod cpu_share;
pub mod epoll;
pub mod eventfd;
pub mod fanotify;
pub mod host_stream;
pub mod mqueue;
pub mod pidfd;
pub mod pipe;
pub mod signalfd;
pub mod sysv;
pub mod timerfd;
pub mod timers;
