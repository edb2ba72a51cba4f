//! Limits of an IPC namespace's System V objects: /proc/sys/kernel/{shm*,msg*,sem}. proc_sys_kernel(5). Owns no locks.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects of one kind: what an id has room for, IPCMNI.
pub const OBJECTS: RangeInclusive<u64> = 0..=32_768;
/// Messages lie in the kernel process' memory: Linux' bound is INT_MAX.
pub const MESSAGE_BYTES: RangeInclusive<u64> = 0..=16 << 20;
/// What C's int holds.
pub const COUNT: RangeInclusive<u64> = 0..=i32::MAX as u64;

/// First values: bytes of a segment and pages of all, semaphores of all sets.
pub const SHMMAX: u64 = u64::MAX - (1 << 24);
pub const SEMMNS: u64 = 1_024_000_000;

/// How many objects there may be, and how large all may be together, is their table's.
pub struct Limits {
    /// Bytes of a segment.
    pub shmmax: AtomicU64,
    /// 1: a segment that nobody has attached goes with the process that made it, or with its last attachment.
    pub shm_rmid_forced: AtomicU64,
    /// Bytes of a message.
    pub msgmax: AtomicU64,
    /// Bytes in a new queue.
    pub msgmnb: AtomicU64,
    /// Semaphores of a set; operations of a call.
    pub semmsl: AtomicU64,
    pub semopm: AtomicU64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            shmmax: SHMMAX.into(),
            shm_rmid_forced: 0.into(),
            msgmax: 8192.into(),
            msgmnb: 16_384.into(),
            semmsl: 32_000.into(),
            semopm: 500.into(),
        }
    }
}

/// The value of a limit.
pub fn of(limit: &AtomicU64) -> u64 {
    limit.load(Ordering::Relaxed)
}
