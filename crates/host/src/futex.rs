//! Futexes of our own memory (futex(2)).
//!
//! [`wait`] sleeps; it is for words that no stub maps: a stub could requeue the waiter. Owns no locks.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;

/// Sleeps while the word is `value`, at most for `limit`. May return early.
pub fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let t = limit.map(|d| libc::timespec { tv_sec: d.as_secs() as i64, tv_nsec: i64::from(d.subsec_nanos()) });
    let t = t.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the timespec live through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | PRIVATE, value, t, 0, 0) };
}

/// Wakes up to `n` waiters of this process.
pub fn wake(word: &AtomicU32, n: i32) {
    // SAFETY: the word lives.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | PRIVATE, n, 0, 0, 0) };
}

/// Wakes up to `n` waiters of any process that maps the word's memory.
///
/// # Safety
/// `word` is mapped.
pub unsafe fn wake_shared(word: *const AtomicU32, n: i32) {
    // SAFETY: by the caller.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, n, 0, 0, 0) };
}
