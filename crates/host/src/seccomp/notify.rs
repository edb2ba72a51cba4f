//! Listeners for seccomp user notification (seccomp_unotify(2)).
//!
//! None of these calls sleeps for long but [`recv`], which waits for the next notification, and [`add_fd`] with its twin, which wait until the (waiting) target has run for a moment.
//! Neighbours: `bpf`. Owns no locks.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

pub use libc::seccomp_notif as Notification;

const RECV: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;
const ADDFD: libc::c_ulong = 0x4018_2103;
const SET_FLAGS: libc::c_ulong = 0x4008_2104;
const SYNC_WAKE_UP: libc::c_ulong = 1;
/// For [`send`]: the call is made as if there were no listener.
pub const CONTINUE: u32 = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
/// Flags of a filter that makes a listener.
pub const FILTER_FLAGS: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
/// Flags of one that makes none.
pub const PLAIN_FLAGS: u64 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
/// Once received, a notification is interrupted by SIGKILL only (Linux 5.19).
pub const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Whether a filter with a listener can be installed below this process. EBUSY: a filter above has one already.
pub fn listener_is_possible() -> Result<(), Errno> {
    // In a thread of its own: a filter cannot be taken off again.
    let probe = std::thread::spawn(|| {
        let mut code = [crate::seccomp::bpf::ret(crate::seccomp::bpf::ALLOW)];
        let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
        // SAFETY: numbers; of this thread alone, which ends.
        crate::check(i64::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }))?;
        // SAFETY: the program and its instructions live through the call; the filter is this thread's alone and allows everything.
        let fd = crate::check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, FILTER_FLAGS, &raw const program)
        })?;
        // SAFETY: the host has just made this descriptor, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        Ok(())
    });
    probe.join().unwrap_or(Err(Errno::EAGAIN))
}

/// Waits for a notification. ENOENT: its thread died or was interrupted meanwhile; EINTR: a signal came here. Try again after both.
pub fn recv(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: all zeros is a valid value, and what the host asks for.
    let mut n: Notification = unsafe { zeroed() };
    // SAFETY: the host fills in a struct of this size, which the request's number states.
    let r = unsafe { libc::ioctl(listener.as_raw_fd(), RECV, &raw mut n) };
    crate::check(r as i64).map(|_| n)
}

/// Lets the notified call return `value` (which may be minus an errno), or be made with [`CONTINUE`]. ENOENT: its thread is not waiting any more.
pub fn send(listener: BorrowedFd<'_>, id: u64, value: i64, flags: u32) -> Result<(), Errno> {
    let answer = libc::seccomp_notif_resp { id, val: value, error: 0, flags };
    // SAFETY: the host reads a struct of this size.
    let r = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) };
    crate::check(r as i64).map(drop)
}

/// Whether the notified thread still waits for its answer.
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the host reads a number of 64 bits.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const id) == 0 }
}

/// Puts a file into the waiting thread's descriptor table; returns its number there.
pub fn add_fd(listener: BorrowedFd<'_>, id: u64, file: BorrowedFd<'_>) -> Result<u32, Errno> {
    let request = libc::seccomp_notif_addfd { id, flags: 0, srcfd: file.as_raw_fd() as u32, newfd: 0, newfd_flags: 0 };
    // SAFETY: the host reads a struct of this size.
    let r = unsafe { libc::ioctl(listener.as_raw_fd(), ADDFD, &raw const request) };
    crate::check(r as i64).map(|n| n as u32)
}

/// As [`add_fd`], under this number; what was open under it is closed.
pub fn add_fd_as(listener: BorrowedFd<'_>, id: u64, file: BorrowedFd<'_>, number: u32) -> Result<(), Errno> {
    let (flags, srcfd) = (libc::SECCOMP_ADDFD_FLAG_SETFD as u32, file.as_raw_fd() as u32);
    let request = libc::seccomp_notif_addfd { id, flags, srcfd, newfd: number, newfd_flags: 0 };
    // SAFETY: the host reads a struct of this size.
    let r = unsafe { libc::ioctl(listener.as_raw_fd(), ADDFD, &raw const request) };
    crate::check(r as i64).map(drop)
}

/// From now on an answered thread runs at once on the core of the one that answers (Linux 6.6; EINVAL or ENOTTY before).
pub fn set_sync_wakeup(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    let r = unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
    crate::check(r as i64).map(drop)
}
