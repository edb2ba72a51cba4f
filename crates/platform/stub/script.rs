//! Scripts: operations that the kernel process asks for, one after another.
//!
//! Neighbours: `handler` (caller), `user` (guest memory). Owns no locks.

use crate::frame::uc;
use crate::handler::Ring;
use crate::layout::{MAX_CALLS, MAX_FDS, MAY_FAIL, WINDOW, pseudo, then};
use crate::{Private, get, mailbox, sys, user};

const EFAULT: i64 = 14;

/// Performs the mailbox's script. `None`: on with the registers of `frame`.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn perform(p: *mut Private, frame: *mut u64) -> Option<Ring> {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let count = (get!(mb, count) as usize).min(MAX_CALLS);
        let mut last = 0i64;
        let mut failed = false;
        let mut at = 0;
        while at < count {
            let call = (&raw const (*mb).calls).cast::<crate::layout::Call>().add(at).read_volatile();
            last = one(p, &call);
            failed = last < 0 && last > -4096;
            if failed && call.flags & MAY_FAIL == 0 {
                break;
            }
            failed = false;
            at += 1;
        }
        // Files that came with the script go with it.
        let files = if failed || get!(mb, more) == 0 { (get!(mb, nfds) as usize).min(MAX_FDS) } else { 0 };
        let mut i = 0;
        while i < files {
            sys::call(3, [file(p, i), 0, 0, 0, 0, 0]);
            i += 1;
        }
        if failed {
            return Some(Ring::result(last, at as u64));
        }
        match get!(mb, then) {
            then::RETURN => *frame.add(uc::RAX) = get!(mb, ret),
            then::RETURN_LAST => *frame.add(uc::RAX) = last as u64,
            then::START => {
                let (ip, sp) = (get!(mb, arg[0]), get!(mb, arg[1]));
                let mut i = uc::FIRST;
                while i <= uc::EFLAGS {
                    *frame.add(i) = 0;
                    i += 1;
                }
                *frame.add(uc::RIP) = ip;
                *frame.add(uc::RSP) = sp;
                *frame.add(uc::EFLAGS) = 0x202;
                *frame.add(uc::FPSTATE) = 0; // the host's sigreturn makes the FPU state initial
                *frame.add(uc::MASK) = 0;
            }
            then::RESUME => {}
            _ => return Some(Ring::result(last, at as u64)),
        }
        None
    }
}

/// Number of the n-th file handed over.
///
/// # Safety
/// As `perform`; n < MAX_FDS.
unsafe fn file(p: *mut Private, n: usize) -> u64 {
    // SAFETY: by the caller.
    unsafe { (&raw const (*mailbox(p)).fds).cast::<u32>().add(n & (MAX_FDS - 1)).read_volatile() as i32 as i64 as u64 }
}

/// # Safety
/// As `perform`.
unsafe fn one(p: *mut Private, call: &crate::layout::Call) -> i64 {
    let mut a = call.args;
    // SAFETY: by the caller; what the operations do to guest memory is the kernel process' decision.
    unsafe {
        let mut i = 0;
        while i < 6 {
            if call.flags & 1 << i != 0 {
                *a.as_mut_ptr().add(i) = file(p, a[i] as usize);
            }
            i += 1;
        }
        let fault = |ok: bool| if ok { 0 } else { -EFAULT };
        match call.nr {
            pseudo::ZERO => fault(user::zero(a[0], a[1])),
            pseudo::COPY => fault(user::copy(a[0], mailbox(p) as u64 + WINDOW + a[1], a[2])),
            pseudo::SET_FS => {
                sys::set_base((*p).fsgsbase != 0, 0x1002, a[0]);
                0
            }
            pseudo::SET_GS => {
                sys::set_base((*p).fsgsbase != 0, 0x1001, a[0]);
                0
            }
            pseudo::CAS32 => match user::cas(a[0], a[1] as u32, a[2] as u32) {
                None => -EFAULT,
                Some(was) => {
                    if was == a[1] as u32 && a[3] != 0 {
                        sys::call(202, [a[0], 1, a[3], 0, 0, 0]);
                        sys::call(202, [a[0], 129, a[3], 0, 0, 0]);
                    }
                    was as i64
                }
            },
            nr => sys::call(nr as u64, a),
        }
    }
}
