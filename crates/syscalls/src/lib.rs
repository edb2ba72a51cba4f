//! The system call table and every handler, by family.
//!
//! Handlers are named `sys_NAME` and found in the file of their family; `table` binds them to numbers. How a handler may wait and
//! what it must not do twice: `kernel::call`.

mod attr;
mod caps;
mod clone;
mod copy;
mod dir;
mod epoll;
mod eventfd;
mod exec;
mod exit;
mod fanotify;
mod fdops;
mod fs_config;
mod futex;
mod handles;
mod ids;
mod mem;
mod message;
mod mount_fds;
mod mount_info;
mod mounts;
mod mqueue;
mod msg;
mod names;
mod namespaces;
mod notify;
mod open;
mod pidfd;
mod pipe;
mod poll;
mod process;
mod process_vm;
mod rlimit;
mod robust;
mod rw;
mod sched;
mod sched_policy;
mod sem;
mod setns;
mod shm;
mod sigio;
mod sigmask;
mod signal;
mod signalfd;
mod socket;
mod splice;
mod stat;
pub mod strace;
mod system;
mod sysv;
pub mod table;
mod time;
mod timerfd;
mod timers;
mod xattr;
