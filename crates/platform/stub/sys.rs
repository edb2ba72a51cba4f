//! System calls of the stub, which its filter allows (see `filter` in the kernel process), and registers that need one.
//!
//! Neighbours: everything here. Owns no locks.

use core::arch::asm;

use crate::{base, layout::PRIVATE_SHIFT, me};

/// A host call.
///
/// # Safety
/// As the call.
#[inline(always)]
pub unsafe fn call(nr: u64, a: [u64; 6]) -> i64 {
    let r: i64;
    // SAFETY: by the caller.
    unsafe {
        asm!("syscall", inout("rax") nr as i64 => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            out("rcx") _, out("r11") _, options(nostack))
    };
    r
}

/// CPU time of this thread, ns: CLOCK_THREAD_CPUTIME_ID.
pub fn cpu_time() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: the host writes two words.
    unsafe { call(228, [3, time.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    // SAFETY: a local.
    let [seconds, ns] = unsafe { core::ptr::read_volatile(&raw const time) };
    seconds.wrapping_mul(1_000_000_000).wrapping_add(ns)
}

pub fn exit_group(status: u64) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { call(231, [status, 0, 0, 0, 0, 0]) };
    }
}

/// Sleeps while the word is `value` (a shared futex: the word lies in a memory file).
///
/// # Safety
/// `word` is mapped.
pub unsafe fn futex_wait(word: *const u32, value: u32) {
    // SAFETY: by the caller.
    unsafe { call(202, [word as u64, 0, value as u64, 0, 0, 0]) };
}

/// Sets a segment base; `which` is arch_prctl's code, 0x1002 for fs and 0x1001 for gs. A guest that does not use gs (0) leaves it to the trampolines.
///
/// # Safety
/// The stub itself uses neither segment.
pub unsafe fn set_base(fast: bool, which: u64, value: u64) {
    // SAFETY: by the caller; the instructions exist where `fast` says so.
    unsafe {
        match (fast, which) {
            (true, 0x1002) => asm!("wrfsbase {}", in(reg) value, options(nostack, nomem)),
            (true, _) => {
                let value = if value == 0 { me() as u64 } else { value };
                asm!("wrgsbase {}", in(reg) value, options(nostack, nomem));
            }
            _ => {
                call(158, [which, value, 0, 0, 0, 0]);
            }
        }
    }
}

/// Reads fs and gs base as the guest has them.
pub fn bases(fast: bool) -> (u64, u64) {
    let (mut fs, mut gs) = (0u64, 0u64);
    // SAFETY: reads two registers; the instructions exist where `fast` says so, and the calls write the two locals.
    unsafe {
        if fast {
            asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nostack, nomem));
            return (fs, if is_private(gs) { 0 } else { gs });
        }
        call(158, [0x1003, &raw mut fs as u64, 0, 0, 0, 0]);
        call(158, [0x1004, &raw mut gs as u64, 0, 0, 0, 0]);
        (core::ptr::read_volatile(&raw const fs), core::ptr::read_volatile(&raw const gs))
    }
}

/// Whether an address is in the part of the region where private pages are.
pub fn is_private(at: u64) -> bool {
    at >> PRIVATE_SHIFT == base() >> PRIVATE_SHIFT
}
