//! Access to guest memory that may fault: the handler moves a faulting instruction of this file to its recovery.
//!
//! Neighbours: `handler` (recovery), `script` and `frame` (users). Owns no locks.

use core::arch::{asm, global_asm};

global_asm!(
    r#"
.text
// memcpy and memset, which the compiler calls
.globl memcpy, memset, memmove, memcmp
memcpy:
  mov rax, rdi
  mov rcx, rdx
  rep movsb
  ret
memset:
  mov r8, rdi
  mov eax, esi
  mov rcx, rdx
  rep stosb
  mov rax, r8
  ret
// copy_user(to, from, len) -> 0, or 1 after a fault
.globl copy_user, copy_insn, zero_user, zero_insn, copy_fault, cas_user, cas_insn, cas_fault
copy_user:
  cld
  mov rcx, rdx
copy_insn:
  rep movsb
  xor eax, eax
  ret
// zero_user(to, len) -> 0, or 1 after a fault
zero_user:
  cld
  mov rcx, rsi
  xor eax, eax
zero_insn:
  rep stosb
  xor eax, eax
  ret
copy_fault:
  mov eax, 1
  ret
// cas_user(word, old, new) -> the word as it was, or 1 << 32 after a fault
cas_user:
  mov eax, esi
cas_insn:
  lock cmpxchg dword ptr [rdi], edx
  mov eax, eax
  ret
cas_fault:
  mov eax, 1
  shl rax, 32
  ret
"#
);

unsafe extern "C" {
    fn copy_user(to: u64, from: u64, len: u64) -> u64;
    fn zero_user(to: u64, len: u64) -> u64;
    fn cas_user(word: u64, old: u32, new: u32) -> u64;
}

macro_rules! address {
    ($label:literal) => {{
        let at: u64;
        // SAFETY: an address computation.
        unsafe { asm!(concat!("lea {}, [rip + ", $label, "]"), out(reg) at, options(nomem, nostack, pure)) };
        at
    }};
}
pub(crate) use address;

/// Copies between guest memory and ours; false after a fault (part may be copied).
///
/// # Safety
/// The side that is ours is valid.
pub unsafe fn copy(to: u64, from: u64, len: u64) -> bool {
    // SAFETY: by the caller; faults are recovered from.
    unsafe { copy_user(to, from, len) == 0 }
}

/// Clears guest memory; false after a fault.
pub fn zero(to: u64, len: u64) -> bool {
    // SAFETY: a script's or a frame's address in guest memory; faults are recovered from.
    unsafe { zero_user(to, len) == 0 }
}

/// Writes a word of guest memory; false after a fault.
pub fn put32(to: u64, value: u32) -> bool {
    // SAFETY: `value` is ours.
    unsafe { copy(to, &raw const value as u64, 4) }
}

/// The word as it was, `None` after a fault.
pub fn cas(word: u64, old: u32, new: u32) -> Option<u32> {
    // SAFETY: faults are recovered from.
    let r = unsafe { cas_user(word, old, new) };
    if r >> 32 == 0 { Some(r as u32) } else { None }
}

/// Where a fault at this instruction goes on, if it is one of ours that may fault.
pub fn recovery(ip: u64) -> Option<u64> {
    if ip == address!("copy_insn") || ip == address!("zero_insn") {
        Some(address!("copy_fault"))
    } else if ip == address!("cas_insn") {
        Some(address!("cas_fault"))
    } else {
        None
    }
}
