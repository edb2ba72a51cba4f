//! Blocks of slots: which of them a process has mapped.
//!
//! A process has the block of its first thread, and those that further threads have wanted. The private parts are copied by a fork; the mailboxes are not, since a child has a memory
//! file of its own. Several threads may map one block at once: each step can be done twice. Neighbours: `start`, `seed` (users). Owns no locks.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::layout::{BLOCK_LEN, BLOCK_SLOTS, BLOCKS, FREE_REST, MANY_BLOCKS, REGION_LEN, SHARED, block};
use crate::{Private, base, private, sys, user};

const MMAP: u64 = 9;
const MPROTECT: u64 = 10;
const MUNMAP: u64 = 11;
const MADVISE: u64 = 28;
const DONTFORK: u64 = 10;
/// SHARED, FIXED.
const SHARED_FIXED: u64 = 0x11;
/// PRIVATE, FIXED, ANONYMOUS, NORESERVE.
const NOTHING: u64 = 0x4032;
/// PRIVATE, ANONYMOUS, NORESERVE, FIXED_NOREPLACE.
const PRIVATE_HERE: u64 = 0x10_4022;
const EEXIST: i64 = -17;

/// 1 once this process may have mapped more than one block.
pub fn many() -> *mut u64 {
    (base() + MANY_BLOCKS) as *mut u64
}

/// Where the block of a thread's slot lies.
///
/// # Safety
/// `p` is a private page.
unsafe fn of(p: *mut Private) -> u64 {
    // SAFETY: by the caller.
    base() + block(unsafe { (*p).slot })
}

/// Gives a new process, which has one thread, the mailboxes of its block, by the number of its memory file; takes it its parent's other blocks.
///
/// # Safety
/// `p` is the thread's private page, and none of its mailboxes are mapped.
pub unsafe fn replace(p: *mut Private, file: i64) {
    // SAFETY: by the caller; a range of our own region.
    unsafe {
        if *many() != 0 {
            keep_one(p);
        }
        (*p).mailboxes = file as u64;
        if file < 0 || map(p, (*p).slot) < 0 {
            sys::exit_group(71);
        }
    }
}

/// Unmaps all blocks but that of this thread.
///
/// # Safety
/// `p` is the private page of this process' only thread.
pub unsafe fn keep_one(p: *mut Private) {
    // SAFETY: by the caller; nobody uses the others.
    unsafe {
        let (start, own, end) = (base() + BLOCKS, of(p), base() + REGION_LEN);
        for (from, to) in [(start, own), (own + BLOCK_LEN, end)] {
            if from >= to {
                continue;
            }
            match *((base() + FREE_REST) as *const u64) {
                0 => sys::call(MMAP, [from, to - from, 0, NOTHING, u64::MAX, 0]),
                _ => sys::call(MUNMAP, [from, to - from, 0, 0, 0, 0]),
            };
        }
        *many() = 0;
    }
}

/// Has children not inherit the mailboxes of this thread's block.
///
/// # Safety
/// `p` is a private page.
pub unsafe fn keep_from_children(p: *mut Private) {
    // SAFETY: by the caller.
    unsafe { sys::call(MADVISE, [of(p) + SHARED, SHARED, DONTFORK, 0, 0, 0]) };
}

/// Maps the block of a slot unless it is mapped. An error is the host's, negative.
///
/// # Safety
/// `p` is this thread's private page.
pub unsafe fn want(p: *mut Private, slot: u64) -> Result<(), i64> {
    // SAFETY: by the caller; a slot that is not mapped has no thread.
    unsafe {
        let mut word = 0u64;
        let mailbox = private(slot) as u64 + SHARED;
        if user::copy(&raw mut word as u64, mailbox, 8) {
            return Ok(());
        }
        // Before the map: a child that has a copy of the map sees this, too, and drops it.
        (*many().cast::<AtomicU64>()).store(1, SeqCst);
        let at = base() + block(slot);
        let r = match sys::call(MMAP, [at, SHARED, 3, PRIVATE_HERE, u64::MAX, 0]) {
            EEXIST => sys::call(MPROTECT, [at, SHARED, 3, 0, 0, 0]),
            r => r,
        };
        let r = if r < 0 { r } else { map(p, slot) };
        if r < 0 { Err(r) } else { Ok(()) }
    }
}

/// Maps the mailboxes of a slot's block.
///
/// # Safety
/// `p` is this thread's private page.
unsafe fn map(p: *mut Private, slot: u64) -> i64 {
    // SAFETY: by the caller; a range of our own region.
    unsafe {
        let at = base() + block(slot) + SHARED;
        let offset = slot / BLOCK_SLOTS * SHARED;
        let r = sys::call(MMAP, [at, SHARED, 3, SHARED_FIXED, (*p).mailboxes, offset]);
        if r < 0 { r } else { sys::call(MADVISE, [at, SHARED, DONTFORK, 0, 0, 0]) }
    }
}
