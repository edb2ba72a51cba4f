//! Waits in guest futexes that the kernel process orders, because they have timeouts and must be taken up again after a signal that no handler saw: futex(2).
//!
//! The wait is made outside of the handler, where a kick can interrupt it, by an instruction of ours under registers of ours; the guest's lie in the private page
//! meanwhile. It ends in the handler again, with the guest's registers back: by a kick, or by the `ud2` behind the call. Neighbours: `handler`. Owns no locks.

use core::arch::{asm, global_asm};

use crate::frame::uc;
use crate::user::address;
use crate::{Private, get, mailbox};

/// General registers in a signal frame, flags among them.
pub const SAVED: usize = uc::EFLAGS - uc::FIRST + 1;
const FUTEX: u64 = 202;
const EINTR: u64 = 4;

global_asm!(
    r#"
.text
.globl wait_call, wait_over
wait_call:
  syscall
wait_over:
  ud2
"#
);

fn call() -> u64 {
    address!("wait_call")
}

fn over() -> u64 {
    address!("wait_over")
}

/// Leaves the handler for the wait.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn begin(p: *mut Private, frame: *mut u64) {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let saved = (&raw mut (*p).waiting).cast::<u64>();
        let mut i = 0;
        while i < SAVED {
            *saved.add(i) = *frame.add(uc::FIRST + i);
            i += 1;
        }
        let timeout = (&raw const (*mb).arg).cast::<u64>().add(4) as u64;
        *frame.add(uc::RDI) = get!(mb, arg[0]);
        *frame.add(uc::RSI) = get!(mb, arg[1]);
        *frame.add(uc::RDX) = get!(mb, arg[2]);
        *frame.add(uc::R10) = if get!(mb, arg[3]) != 0 { timeout } else { 0 };
        *frame.add(uc::R8) = 0;
        *frame.add(uc::R9) = get!(mb, arg[6]);
        *frame.add(uc::RAX) = FUTEX;
        *frame.add(uc::RIP) = call();
    }
}

/// A signal at `ip`: if that is the wait, it is over. The guest's registers are back; the value is what the host said.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn end(p: *mut Private, frame: *mut u64, ip: u64) -> Option<u64> {
    // SAFETY: by the caller.
    unsafe {
        let value = if ip == over() {
            *frame.add(uc::RAX)
        } else if ip == call() {
            EINTR.wrapping_neg() // not begun, or about to be made again by the host
        } else {
            return None;
        };
        let saved = (&raw const (*p).waiting).cast::<u64>();
        let mut i = 0;
        while i < SAVED {
            *frame.add(uc::FIRST + i) = *saved.add(i);
            i += 1;
        }
        Some(value)
    }
}
