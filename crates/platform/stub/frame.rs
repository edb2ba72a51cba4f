//! Signal frames of the guest: built on its stack for a handler, taken back by rt_sigreturn(2).
//!
//! A guest's frame has the host's own layout: return address, ucontext, siginfo, and the FPU state above at a multiple of 64. Neighbours: `handler`, `user`. Owns no locks.

use crate::{Private, get, mailbox, user};

/// Words of a ucontext.
pub mod uc {
    pub const STACK: usize = 2;
    /// r8, the first general register; the others follow in the order of `layout::reg`.
    pub const FIRST: usize = 5;
    pub const R8: usize = 5;
    pub const R9: usize = 6;
    pub const R10: usize = 7;
    pub const R11: usize = 8;
    pub const RDI: usize = 13;
    pub const RSI: usize = 14;
    pub const RBX: usize = 16;
    pub const RDX: usize = 17;
    pub const RAX: usize = 18;
    pub const RCX: usize = 19;
    pub const RSP: usize = 20;
    pub const RIP: usize = 21;
    pub const EFLAGS: usize = 22;
    pub const ERR: usize = 24;
    pub const TRAPNO: usize = 25;
    pub const FPSTATE: usize = 28;
    pub const MASK: usize = 37;
    pub const WORDS: usize = 38;
}

const RED_ZONE: u64 = 128;
const UC_LEN: u64 = (uc::WORDS * 8) as u64;
const INFO_LEN: u64 = 128;
/// Of FXSAVE, which begins every FPU state; its last bytes say how long the whole is.
const FX_LEN: u64 = 512;
const MAGIC: u32 = 0x4650_5853;

/// Bytes of an FPU state of a frame.
///
/// # Safety
/// `fp` points to at least 512 readable bytes.
unsafe fn fp_len(fp: u64) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let software = (fp + 464) as *const u32;
        if *software == MAGIC { *software.add(1) as u64 } else { FX_LEN }
    }
}

/// Builds the frame that the mailbox describes and points the registers at the handler; false when the guest's stack faults.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn build(p: *mut Private, frame: *mut u64) -> bool {
    // SAFETY: by the caller; the guest's side recovers from faults.
    unsafe {
        let f = get!(mailbox(p), frame);
        if f.set_rax != 0 {
            *frame.add(uc::RAX) = f.rax;
            *frame.add(uc::RIP) = (*frame.add(uc::RIP)).wrapping_sub(f.ip_back);
        }
        let fp = *frame.add(uc::FPSTATE);
        let fp_len = if fp != 0 { fp_len(fp) } else { 0 };
        let sp = *frame.add(uc::RSP);
        let alternate = |at: u64| at.wrapping_sub(f.stack[0]).wrapping_sub(1) < f.stack[2];
        // A handler of the alternate stack that is interrupted keeps what is there.
        let top = if f.on_stack != 0 && !alternate(sp) { f.on_stack } else { sp.wrapping_sub(RED_ZONE) };
        let guest_fp = top.wrapping_sub(fp_len) & !63;
        let at = (guest_fp.wrapping_sub(8 + UC_LEN + INFO_LEN) & !15).wrapping_sub(8);
        // It may not overflow, sigaltstack(2).
        if f.on_stack != 0 && !alternate(at) {
            return false;
        }
        let mut context = [0u64; uc::WORDS];
        let mut i = 0;
        while i < uc::WORDS {
            *context.as_mut_ptr().add(i) = *frame.add(i);
            i += 1;
        }
        context[uc::STACK] = f.stack[0];
        context[uc::STACK + 1] = f.stack[1];
        context[uc::STACK + 2] = f.stack[2];
        context[uc::MASK] = f.mask;
        context[uc::FPSTATE] = if fp != 0 { guest_fp } else { 0 };
        let ok = user::copy(at, &raw const f.restorer as u64, 8)
            && user::copy(at + 8, context.as_ptr() as u64, UC_LEN)
            && user::copy(at + 8 + UC_LEN, f.info.as_ptr() as u64, INFO_LEN)
            && (fp == 0 || user::copy(guest_fp, fp, fp_len));
        if !ok {
            return false;
        }
        *frame.add(uc::RSP) = at;
        *frame.add(uc::RIP) = f.handler;
        *frame.add(uc::RDI) = f.sig;
        *frame.add(uc::RSI) = at + 8 + UC_LEN;
        *frame.add(uc::RDX) = at + 8;
        *frame.add(uc::RAX) = 0;
        *frame.add(uc::EFLAGS) &= !0x1_0500; // DF, TF, RF
        true
    }
}

/// rt_sigreturn: general registers and FPU state out of the guest's frame at its stack pointer, into ours, which the host's sigreturn then checks. Returns the mask
/// and the alternate stack for the kernel process; `None` when the frame faults.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn take(frame: *mut u64) -> Option<[u64; 4]> {
    // SAFETY: by the caller; the guest's side recovers from faults, and our FPU area keeps its length.
    unsafe {
        let mut context = [0u64; uc::WORDS];
        if !user::copy(context.as_mut_ptr() as u64, *frame.add(uc::RSP), UC_LEN) {
            return None;
        }
        let fp = *frame.add(uc::FPSTATE);
        if context[uc::FPSTATE] == 0 {
            *frame.add(uc::FPSTATE) = 0;
        } else if fp != 0 {
            let room = fp_len(fp);
            if !user::copy(fp, context[uc::FPSTATE], FX_LEN) {
                return None;
            }
            let len = fp_len(fp);
            if len > room || len < FX_LEN {
                *((fp + 464) as *mut u32) = 0; // not a state of this processor: only what FXSAVE has
            } else if len > FX_LEN && !user::copy(fp + FX_LEN, context[uc::FPSTATE] + FX_LEN, len - FX_LEN) {
                return None;
            }
        }
        let mut i = uc::FIRST;
        while i <= uc::EFLAGS {
            *frame.add(i) = *context.as_ptr().add(i);
            i += 1;
        }
        Some([context[uc::MASK], context[uc::STACK], context[uc::STACK + 1], context[uc::STACK + 2]])
    }
}
