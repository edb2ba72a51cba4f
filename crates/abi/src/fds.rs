//! Descriptors made of other things: eventfd(2), timerfd_create(2), signalfd(2), pidfd_open(2), getrandom(2), kcmp(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::general::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
pub use linux_raw_sys::general::{GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM};
pub use linux_raw_sys::general::{TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET};
/// signalfd4(2).
pub const SFD_CLOEXEC: u32 = crate::fs::O_CLOEXEC;
pub const SFD_NONBLOCK: u32 = crate::fs::O_NONBLOCK;
/// pidfd_open(2).
pub const PIDFD_NONBLOCK: u32 = crate::fs::O_NONBLOCK;
pub const PIDFD_THREAD: u32 = crate::fs::O_EXCL;
/// pidfd_send_signal(2): to whom.
pub const PIDFD_SIGNAL_THREAD: u32 = 1;
pub const PIDFD_SIGNAL_THREAD_GROUP: u32 = 2;
pub const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 4;
/// kcmp(2).
pub const KCMP_FILE: u32 = 0;
pub const KCMP_VM: u32 = 1;
pub const KCMP_FILES: u32 = 2;
pub const KCMP_FS: u32 = 3;
pub const KCMP_SIGHAND: u32 = 4;
pub const KCMP_IO: u32 = 5;
pub const KCMP_SYSVSEM: u32 = 6;

/// `struct signalfd_siginfo`, 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalfdSiginfo {
    pub ssi_signo: u32,
    pub ssi_errno: i32,
    pub ssi_code: i32,
    pub ssi_pid: u32,
    pub ssi_uid: u32,
    pub ssi_fd: i32,
    pub ssi_tid: u32,
    pub ssi_band: u32,
    pub ssi_overrun: u32,
    pub ssi_trapno: u32,
    pub ssi_status: i32,
    pub ssi_int: i32,
    pub ssi_ptr: u64,
    pub ssi_utime: u64,
    pub ssi_stime: u64,
    pub ssi_addr: u64,
    pub ssi_addr_lsb: u16,
    pub pad2: u16,
    pub ssi_syscall: i32,
    pub ssi_call_addr: u64,
    pub ssi_arch: u32,
    pub pad: [u8; 28],
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layouts() {
        assert_eq!(size_of::<SignalfdSiginfo>(), 128);
        assert_eq!(offset_of!(SignalfdSiginfo, ssi_call_addr), offset_of!(libc::signalfd_siginfo, ssi_call_addr));
        assert_eq!(offset_of!(SignalfdSiginfo, ssi_ptr), offset_of!(libc::signalfd_siginfo, ssi_ptr));
    }
}
