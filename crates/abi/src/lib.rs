//! Linux' user ABI of x86-64 as Rust types: numbers, structs, flags and `Errno`.
//!
//! Names are Linux' own. Structs that cross the guest's boundary have zerocopy's derives and explicit padding, so that they are
//! read out of a copy of guest bytes and written back without unsafe code and without leaking padding. Constants are u32 where
//! Linux does not force another type. Layouts are tested against `linux-raw-sys` and `libc`. No neighbour below, no locks.
//!
//! | what | where |
//! | --- | --- |
//! | system call numbers and names | [`nr`] |
//! | files, directories, mounts | [`fs`] |
//! | memory maps | [`mm`] |
//! | processes, limits, capabilities, prctl | [`task`] |
//! | clocks and timers | [`time`] |
//! | poll and epoll | [`poll`] |
//! | the FUSE protocol | [`fuse`] |
//! | eventfd, timerfd, signalfd, pidfd | [`fds`] |
//! | bpf(2) | [`bpf`] |
//! | sockets; netlink | [`net`]; [`netlink`] |
//! | terminals; other ioctls | [`tty`]; [`ioctl`] |

pub mod auxv;
pub mod bpf;
mod errno;
pub mod fanotify;
pub mod fds;
pub mod fs;
pub mod fuse;
pub mod futex;
pub mod inotify;
pub mod ioctl;
pub mod mm;
pub mod net;
pub mod netlink;
pub mod nr;
pub mod poll;
pub mod seccomp;
pub mod system;
pub mod task;
pub mod time;
pub mod tty;
pub mod user;

pub use errno::Errno;
