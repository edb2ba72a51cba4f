//! The seed (the process that shards' zygotes are forked from) and the zygotes. Both run only this code, never a guest's.
//!
//! The kernel process forks the seed while it has one thread, prepares it in `zygote.rs` (handlers, limits, no descriptors, no rights) and enters it here.
//! The seed carries no filter, so each zygote can install one with a listener of its own. Neighbours: `start`. Owns no locks.

use core::arch::global_asm;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::layout::{BLOCK_SLOTS, REGION_LEN, SIGNAL_STACK, SLOTS, STRIDE, WINDOW, bell, order};
use crate::{Private, base, blocks, get, mailbox, me, private, ring, socket, start, sys};

/// SECCOMP_FILTER_FLAG_NEW_LISTENER
const NEW_LISTENER: u64 = 1 << 3;
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
        *p = Private::new([0; 2], slot, &*private(0));
        let mb = mailbox(p);
        (*p).cookie = get!(mb, seed.cookie);
        (*p).by_socket = (get!(mb, seed.filter_flags) & NEW_LISTENER == 0) as u64;
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
        let other_end = match (*p).by_socket {
            0 => 0,
            _ => doorbell_socket().unwrap_or_else(|r| fail(3, r)),
        };
        let program = [get!(mb, seed.filter_len), mb as u64 + WINDOW];
        let listener = sys::call(317, [1, get!(mb, seed.filter_flags), program.as_ptr() as u64, 0, 0, 0]);
        if listener < 0 {
            fail(2, listener);
        }
        let fd = if (*p).by_socket != 0 { other_end } else { listener };
        if (*p).by_socket != 0 && !clone_is_held_back() {
            fail(4, -1);
        }
        (*mb).seed.listener.store(fd as u32 + 1, Release);
        while (*mb).seed.taken.load(Acquire) == 0 {
            sys::futex_wait((&raw const (*mb).seed.taken).cast(), 0);
        }
        sys::call(3, [fd as u64, 0, 0, 0, 0, 0]);
        blocks::keep_one(p);
        blocks::keep_from_children(p);
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
            if (*p).by_socket != 0 {
                socket::tell(p, bell::RESULT, r as u64, 0);
            } else {
                ring(p, bell::RESULT, r as u64, 0);
            }
        }
    }
}

/// Makes the doorbell's socket, which all that descend from here keep as descriptor 0, and its other end, whose number is returned: there the host names the senders.
fn doorbell_socket() -> Result<i64, i64> {
    let [_, other] = socket::pair()?;
    let on = 1u32;
    // SAFETY: the host reads the word. SOL_SOCKET, SO_PASSCRED.
    match unsafe { sys::call(54, [other as u64, 1, 16, &raw const on as u64, 4, 0]) } {
        0 => Ok(other as i64),
        r => Err(r),
    }
}

/// Whether the host makes no process and no thread here while nobody traces the caller. Where a filter above ours has its manager decide, it might.
fn clone_is_held_back() -> bool {
    const ENOSYS: i64 = -38;
    // CLONE_THREAD without CLONE_SIGHAND, which is EINVAL once the host looks at it.
    const NO_THREAD: u64 = 0x1_0000;
    // SAFETY: the calls make nothing, or a process that ends at once.
    unsafe {
        let r = sys::call(56, [start::FORK_FLAGS, 0, 0, 0, 0, 0]);
        if r == 0 {
            sys::exit_group(0);
        }
        r == ENOSYS && sys::call(56, [NO_THREAD, 0, 0, 0, 0, 0]) == ENOSYS
    }
}
