//! The seed (the process that shards' zygotes are forked from) and the zygotes. Both run only this code, never a guest's.
//!
//! The kernel process forks the seed while it has one thread, prepares it in `zygote.rs` (handlers, limits, no descriptors, no rights) and enters it here.
//! The seed carries no filter, so each zygote can install one with a listener of its own. Neighbours: `start`. Owns no locks.

use core::arch::global_asm;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::layout::{REGION_LEN, SHARED, SHARED_LEN, SIGNAL_STACK, SLOTS, STRIDE, WINDOW, bell, order};
use crate::{Private, base, get, mailbox, me, private, ring, start, sys};

/// End of user addresses (4-level paging).
const TASK_END: u64 = 0x7fff_ffff_f000;

global_asm!(
    r#"
.text
.globl seed_entry, on_stack_zygote
seed_entry:
  call seed_main
  ud2
// on_stack_zygote(slot, stack top)
on_stack_zygote:
  mov rsp, rsi
  call zygote_main
  ud2
"#
);

unsafe extern "C" {
    fn on_stack_zygote(slot: u64, top: u64) -> !;
}

/// On slot 0's stack, with slot 0's private page filled in.
#[unsafe(no_mangle)]
unsafe extern "C" fn seed_main() -> ! {
    // SAFETY: only our region and the vDSO are used from here on; the rest of the address space is a copy of the kernel process'.
    unsafe {
        let p = me();
        let mb = mailbox(p);
        let (keep, plug) = (get!(mb, seed.keep), get!(mb, seed.plug));
        let region = [base(), base() + REGION_LEN];
        // [vvar] and [vdso] lie below the region or above it.
        let kept = if keep[0] < region[0] { [keep, region] } else { [region, keep] };
        outside(kept, 0, TASK_END, |from, to| {
            sys::call(11, [from, to - from, 0, 0, 0, 0]);
        });
        outside(kept, plug[0], plug[1], |from, to| {
            // PROT_NONE; PRIVATE, ANONYMOUS, FIXED, NORESERVE.
            sys::call(9, [from, to - from, 0, 0x4032, u64::MAX, 0]);
        });
        let mut seen = 0;
        loop {
            let order = (*mb).seed.order.load(Acquire);
            if order == seen {
                sys::futex_wait((&raw const (*mb).seed.order).cast(), order);
                continue;
            }
            seen = order;
            let slot = get!(mb, seed.slot) as u64 & (SLOTS - 1);
            let pid = sys::call(56, [start::FORK_FLAGS, 0, 0, 0, 0, 0]);
            if pid == 0 {
                on_stack_zygote(slot, private(slot) as u64 + STRIDE - 64);
            }
            core::ptr::write_volatile(&raw mut (*mb).seed.pid, pid as u64);
        }
    }
}

/// Does something with the parts of `from..to` that lie outside two ranges, which are given rising.
fn outside(ranges: [[u64; 2]; 2], from: u64, to: u64, mut f: impl FnMut(u64, u64)) {
    let [first, second] = ranges;
    for (start, end) in [(0, first[0]), (first[1], second[0]), (second[1], u64::MAX)] {
        let (start, end) = (start.max(from), end.min(to));
        if start < end {
            f(start, end);
        }
    }
}

/// A shard's root zygote: installs the filter, gives the listener away, then forks fresh processes and zygotes of containers on demand. Those do the same.
#[unsafe(no_mangle)]
unsafe extern "C" fn zygote_main(slot: u64) -> ! {
    // SAFETY: on the slot's own stack, in a process of its own; the kernel process prepared the slot's mailbox.
    unsafe {
        let p = me();
        *p = Private { cookie: [0; 2], seq: 0, slot, fsgsbase: (*private(0)).fsgsbase, frame: 0, passage: crate::passage::Passage::NEW, waiting: [0; crate::wait::SAVED] };
        let mb = mailbox(p);
        (*p).cookie = get!(mb, seed.cookie);
        let fail = |step: u32, r: i64| -> ! {
            (*mb).seed.failed.store(step << 16 | (-r) as u32 & 0xffff, Release);
            sys::exit_group(72)
        };
        let stack = [p as u64 + SIGNAL_STACK, 0, STRIDE - SIGNAL_STACK];
        let r = sys::call(131, [stack.as_ptr() as u64, 0, 0, 0, 0, 0]);
        if r < 0 {
            fail(1, r);
        }
        sys::call(157, [1, 9, 0, 0, 0, 0]); // PR_SET_PDEATHSIG, SIGKILL
        let program = [get!(mb, seed.filter_len), mb as u64 + WINDOW];
        let fd = sys::call(317, [1, get!(mb, seed.filter_flags), program.as_ptr() as u64, 0, 0, 0]);
        if fd < 0 {
            fail(2, fd);
        }
        (*mb).seed.listener.store(fd as u32 + 1, Release);
        while (*mb).seed.taken.load(Acquire) == 0 {
            sys::futex_wait((&raw const (*mb).seed.taken).cast(), 0);
        }
        sys::call(3, [fd as u64, 0, 0, 0, 0, 0]);
        sys::call(28, [base() + SHARED, SHARED_LEN, 10, 0, 0, 0]); // MADV_DONTFORK
        loop {
            // Work is waited for in a futex: an open notification would hold up a freezer.
            while (*mb).park.load(Acquire) == 0 {
                sys::futex_wait((&raw const (*mb).park).cast(), 0);
            }
            (*mb).park.store(0, Release);
            let (a, b, what) = (get!(mb, arg[0]), get!(mb, arg[1]), get!(mb, arg[2]));
            let r = sys::call(56, [start::FORK_FLAGS, 0, 0, 0, 0, 0]);
            if r == 0 {
                // It has a memory file of its own from here on, at the same place.
                start::hello(p, [a, b]);
                if what == order::ZYGOTE {
                    continue;
                }
                start::take_frame();
            }
            ring(p, bell::RESULT, r as u64, 0);
        }
    }
}
