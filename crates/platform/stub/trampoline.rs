//! Trampolines: where rewritten call sites of the guest jump to. A call is handed to a poller through the mailbox if there is one, else made here, where the filter sees it as the guest's own.
//!
//! Before, what the call reads of guest memory is copied into the data window, and what it may write is touched (`pointers` says which arguments point to it); after, what the kernel process left in the
//! window is copied to where it belongs; or the file that the kernel process names is read. A file that was lent to the thread is read at once.
//!
//! They run on the guest's stack without touching it, and change no register but those that `syscall` changes (rax, rcx, r11). What they need is found by gs, which holds the
//! thread's private page unless the guest took it for itself; then the call traps. No signal frame of a guest ever shows an address in here: a signal either takes the call back to the site, or finds it
//! complete, or is noted and rung for at the end. Neighbours: `passage` (what a signal in here does). Owns no locks.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::layout::{CLOCK, CLOCKS, KEPT, MAX_OUTS, MAX_SITES, MOST_KEPT, Mailbox, PRIVATE_SHIFT, Piece, SHARED, SITES, SMALL, STRIDE, Site, TEXT, TOUCHED, WINDOW, lea, poll};
use crate::passage::Passage;
use crate::{Private, pointers};

const P: usize = offset_of!(Private, passage);
/// Of so many calls that the poller takes one is timed: to read the counter twice takes some 20 of their 500 ns. A prime, since programs repeat calls in a fixed order.
const EACH: u32 = 13;
/// A bit for each of them.
const CLOCK_BITS: u32 = {
    let (mut bits, mut i) = (0, 0);
    while i < CLOCKS.len() {
        bits |= 1 << CLOCKS[i];
        i += 1;
    }
    bits
};
const _: () = assert!(MOST_KEPT == 4, "tr_lent looks at so many");
/// All signals but SIGKILL and SIGSTOP.
pub const MASKABLE: u64 = !(1 << 8 | 1 << 18);

global_asm!(
    r#"
.section .stub.trampolines,"ax"
.globl tr_start, tr_entries7, tr_entries8, tr_saved, tr_posting, tr_call, tr_called, tr_answered, tr_finish, tr_valued, tr_tails, tr_tails_end
.globl tr_own_gs, tr_kicked, tr_ring, tr_done, tr_free, tr_out, tr_ask, tr_in_insn, tr_string_insn, tr_probe_insn, tr_piece_insn, tr_piece_fault
.globl tr_reading, tr_was_read, tr_unread, tr_pread, tr_pread_over, tr_lent_pread, tr_lent_pread_over
.globl tr_clock_insns, tr_clock_end, tr_clock_failed
.globl tr_table, tr_mask_in_insn, tr_mask_out_insn, tr_masked, tr_mask_end, tr_action_insns, tr_action_end
// the registers of the call's arguments, as they came
.macro tr_arguments
  mov rdi, gs:[{P_ARGS}]
  mov rsi, gs:[{P_ARGS} + 8]
  mov rdx, gs:[{P_ARGS} + 16]
  mov r10, gs:[{P_ARGS} + 24]
  mov r8, gs:[{P_ARGS} + 32]
  mov r9, gs:[{P_ARGS} + 40]
.endm
// counts how long the poller was waited for, if it is this call's turn; rax and rdx are free
.macro tr_waited
  cmp dword ptr gs:[{P_UNTIMED}], {EACH}
  jne 9f
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, gs:[{P_ASKED_AT}]
  imul rax, rax, {EACH}
  add gs:[{M_WAITED}], rax
9:
.endm
tr_start:
tr_entries7:
.set k, 0
.rept {SITES_MAX}
  .balign 16
  .byte 0x41, 0xbb // mov r11d, k
  .long k
  jmp tr_common7
.set k, k + 1
.endr
.balign 16
tr_entries8:
.set k, 0
.rept {SITES_MAX}
  .balign 16
  .byte 0x41, 0xbb
  .long k
  jmp tr_common8
.set k, k + 1
.endr
.balign 16
// rcx = record, r11d = number, eax = flags; nothing before changes the flags
tr_common7:
  lea rcx, [rip + stub_header + {TABLE}]
  lea r11, [r11 * 4]
  lea rcx, [rcx + r11 * 8]
  lahf
  seto al
  movzx eax, ax
  mov r11d, [rcx + {S_NR}]
  cmp word ptr [rcx + {S_BACK}], 7
  je 1f
// the `lea` between number and call
  mov rsi, [rcx + {S_ADD}]
  cmp word ptr [rcx + {S_BASE}], {LEA_RBX}
  jb 1f
  je 2f
  add rsi, r9
  jmp 1f
2:
  add rsi, rbx
  jmp 1f
tr_common8:
  lea rcx, [rip + stub_header + {TABLE}]
  lea r11, [r11 * 4]
  lea rcx, [rcx + r11 * 8]
  mov r11d, eax
  lahf
  seto al
  movzx eax, ax
1:
  shl r11, 16
  or r11, rax
  rdgsbase rax
  shr rax, {SHIFT}
  cmp rax, [rip + stub_header + {TABLE}]
  jne tr_own_gs
  mov gs:[{P_CALL}], r11
  mov rax, [rcx + {S_TARGET}]
  mov gs:[{P_TARGET}], rax
  mov rax, [rcx + {S_IP}]
  mov gs:[{P_IP}], rax
// from here on the call can be taken back
tr_saved:
  cmp qword ptr gs:[{P_KICKED}], 0
  jne tr_kicked
  mov gs:[{M_IP}], rax
  shr r11, 16
tr_posting:
  mov gs:[{M_NR}], r11d
  mov gs:[{P_ARGS}], rdi
  mov gs:[{P_ARGS} + 8], rsi
  mov gs:[{P_ARGS} + 16], rdx
  mov gs:[{P_ARGS} + 24], r10
  mov gs:[{P_ARGS} + 32], r8
  mov gs:[{P_ARGS} + 40], r9
// from here on the arguments' registers are free; r11d is the number
tr_free:
  xor ecx, ecx
  mov gs:[{M_GIVEN}], ecx
  cmp r11d, 14
  je tr_mask
  cmp r11d, 13
  je tr_action
  cmp r11d, {PREAD64}
  je tr_lent
tr_table:
  cmp r11d, {POINTED}
  jae tr_ask
  lea rcx, [rip + {POINTERS}]
  mov r8, [rcx + r11 * 8]
  test r8, r8
  jz tr_ask
  cmp r8b, {LOCAL}
  jne 7f
  cmp dword ptr gs:[{M_LOCAL}], 0
  je tr_ask
  shr r8d, 8
  cmp r8d, {IS_ROBUST}
  je tr_robust
  ja tr_clock
  mov eax, gs:[{M_IDS} + r8 * 4]
  xor ecx, ecx
  jmp tr_finish
7:
  rdgsbase r9
  lea rsi, [r9 + {SHARED}]
  mov rdi, rsi
  lodsb
  cmp rsi, rdi
  jb tr_ask // the guest's direction flag is set: copies would run backwards
  movzx eax, r8b
  test eax, eax
  jz tr_out
  mov ecx, r8d
  shr ecx, 8
  movzx edi, cl
  mov rsi, gs:[{P_ARGS} + rdi * 8]
  test rsi, rsi
  jz tr_out
  shr ecx, 8
  lea rdi, [r9 + {SHARED} + {WINDOW}]
  cmp eax, {STRING}
  je tr_string
  cmp eax, {FIXED}
  je 1f
  movzx eax, cl
  shr ecx, 8
  mov rax, gs:[{P_ARGS} + rax * 8]
  cmp rax, {MOST_IN}
  ja tr_out
  imul ecx, eax
1:
  cmp ecx, {MOST_IN}
  ja tr_out
  mov edx, ecx
tr_in_insn:
  rep movsb
  mov gs:[{M_GIVEN}], edx
  jmp tr_out
// clock_gettime of a clock that means the same to everybody: the host's vDSO reads it, on the signal stack
tr_clock:
  cmp edi, 7
  ja tr_ask
  mov eax, {CLOCK_BITS}
  bt eax, edi
  jnc tr_ask
  mov rax, [rip + stub_header + {CLOCK}]
  test rax, rax
  jz tr_ask
  rdgsbase rcx
  mov gs:[{P_STACK}], rsp
  lea rsp, [rcx + {CLOCK_STACK}]
  mov rsi, rsp
  call rax
  mov rcx, [rsp]
  mov rdx, [rsp + 8]
  mov rsp, gs:[{P_STACK}]
  mov qword ptr gs:[{P_STACK}], 0
  mov r11d, {CLOCK_GETTIME}
  mov rsi, gs:[{P_ARGS} + 8]
  test eax, eax
  jnz tr_clock_failed
tr_clock_insns:
  mov [rsi], rcx
  mov [rsi + 8], rdx
tr_clock_end:
  xor eax, eax
  xor ecx, ecx
  jmp tr_finish
// the host says what is wrong; a kick that came meanwhile goes first
tr_clock_failed:
  cmp qword ptr gs:[{P_KICKED}], 0
  je tr_ask
  tr_arguments
  jmp tr_kicked
tr_robust:
  cmp rsi, {HEAD_LEN}
  jne tr_ask
  mov gs:[{M_ROBUST}], rdi
  xor eax, eax
  xor ecx, ecx
  jmp tr_finish
// rt_sigprocmask, while the mask is lent
tr_mask:
  cmp dword ptr gs:[{M_LENT}], 0
  je tr_table
  cmp r10, 8
  jne tr_table
  mov rax, gs:[{M_MASK}]
  mov rcx, rax
  test rsi, rsi
  jz 2f
  cmp edi, 2
  ja tr_table
tr_mask_in_insn:
  mov r8, [rsi]
  and r8, {MASKABLE}
  cmp edi, 1
  jb 1f
  ja 3f
  not r8
  and rcx, r8
  jmp 2f
1:
  or rcx, r8
  jmp 2f
3:
  mov rcx, r8
2:
  test rdx, rdx
  jz 4f
tr_mask_out_insn:
  mov [rdx], rax
4:
  xor eax, eax
  xchg gs:[{M_MASK}], rcx
// from here on the call is over; a signal that was queued meanwhile is looked at
tr_masked:
  cmp dword ptr gs:[{M_LENT}], 0
  jne 5f
  mov qword ptr gs:[{P_KICKED}], 1
5:
  xor ecx, ecx
  jmp tr_finish
tr_mask_end:
// rt_sigaction that asks for an action which nobody has set: all zero
tr_action:
  test rsi, rsi
  jnz tr_table
  test rdx, rdx
  jz tr_table
  cmp r10, 8
  jne tr_table
  lea eax, [rdi - 1]
  cmp eax, 63
  ja tr_table
  mov rcx, gs:[{M_UNTOUCHED}]
  bt rcx, rax
  jnc tr_table
  xor eax, eax
tr_action_insns:
  mov [rdx], rax
  mov [rdx + 8], rax
  mov [rdx + 16], rax
  mov [rdx + 24], rax
tr_action_end:
  xor ecx, ecx
  jmp tr_finish
// pread64 of a file that this process keeps open, by a descriptor that stands for it in this thread: the host reads it
tr_lent:
  cmp dword ptr gs:[{M_LOCAL}], 0
  je tr_table
  lea eax, [rdi + 1]
  test eax, eax
  jz tr_table
  mov ecx, {KEPT}
  .irp at, 0, 4, 8, 12
  cmp gs:[{M_LENDS} + \at], eax
  je 1f
  inc ecx
  .endr
  jmp tr_table
// not into the stub's own memory, of which the kernel process says that it is none
1:
  lea rax, [rdx - 1]
  cmp rax, {MOST_LENT}
  jae tr_table
  mov r8, [rip + stub_header + {TABLE}]
  mov rax, rsi
  shr rax, {SHIFT}
  cmp rax, r8
  je tr_table
  lea rax, [rsi + rdx]
  shr rax, {SHIFT}
  cmp rax, r8
  je tr_table
  mov edi, ecx
  mov eax, {PREAD64}
  jmp tr_lent_pread
tr_was_lent:
  cmp rax, gs:[{P_ARGS} + 16]
  jne 2f
  add gs:[{M_READS} + 8], rax
  inc qword ptr gs:[{M_READS}]
  xor ecx, ecx
  jmp tr_finish
// an error, the end of the file, memory that is not there: the kernel process knows; a kick that came meanwhile goes first
2:
  mov r11d, {PREAD64}
  cmp qword ptr gs:[{P_KICKED}], 0
  je tr_table
  tr_arguments
  jmp tr_kicked
tr_string:
  xor ecx, ecx
tr_string_insn:
  mov al, [rsi + rcx]
  mov [rdi + rcx], al
  inc ecx
  test al, al
  jz 2f
  cmp ecx, {MOST_STRING}
  jb tr_string_insn
  jmp tr_out
2:
  mov gs:[{M_GIVEN}], ecx
tr_out:
  shr r8, 32
  jz tr_ask
  movzx eax, r8b
  mov ecx, r8d
  shr ecx, 8
  movzx edi, cl
  mov rsi, gs:[{P_ARGS} + rdi * 8]
  test rsi, rsi
  jz tr_ask
  shr ecx, 8
  cmp eax, {FIXED}
  je 3f
  movzx eax, cl
  shr ecx, 8
  mov rax, gs:[{P_ARGS} + rax * 8]
  mov edi, {MOST_OUT}
  cmp rax, rdi
  cmova rax, rdi
  imul ecx, eax
  cmp ecx, edi
  cmova ecx, edi
3:
  test ecx, ecx
  jz tr_ask
  mov rdi, rsi
  add rdi, rcx
  jc tr_ask
// whether it can be written, page by page
tr_probe_insn:
  lock or byte ptr [rsi], 0
  or rsi, 4095
  inc rsi
  cmp rsi, rdi
  jb tr_probe_insn
  or dword ptr gs:[{M_GIVEN}], {TOUCHED}
tr_ask:
  cmp dword ptr gs:[{M_POLLED}], 0
  je tr_direct
  // the host's own, and what needs the registers anyhow
  cmp r11d, 202
  je tr_direct
  cmp r11d, 449
  je tr_direct
  lea eax, [r11 - 454]
  cmp eax, 2
  jbe tr_direct
  lea eax, [r11 - 9]
  cmp eax, 2
  jbe tr_direct
  cmp r11d, 28
  je tr_direct
  .irp at, 0, 8, 16, 24, 32, 40
  mov rax, gs:[{P_ARGS} + \at]
  mov gs:[{M_ARGS} + \at], rax
  .endr
  mov edx, gs:[{P_NUMBER}]
  add edx, {STEP}
  and edx, {NUMBER}
  mov gs:[{P_NUMBER}], edx
  mov eax, gs:[{M_GIVEN}]
  shl eax, {GIVEN_SHIFT}
  lea eax, [rax + rdx + {ASKED}]
  mov gs:[{P_ASKED}], eax
  mov gs:[{M_POLL}], eax
  lea esi, [rdx + {RING}]
  lea r8d, [rdx + {ANSWERED}]
  dec dword ptr gs:[{P_UNTIMED}]
  jg 6f
  mov dword ptr gs:[{P_UNTIMED}], {EACH}
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov gs:[{P_ASKED_AT}], rax
6:
  mov edi, {BUDGET}
4:
  mov ecx, gs:[{M_ANSWER}]
  cmp ecx, r8d
  je tr_answered
  cmp ecx, esi
  je 8f
  pause
  dec edi
  jnz 4b
  mov eax, gs:[{P_ASKED}]
  xor ecx, ecx
  lock cmpxchg gs:[{M_POLL}], ecx
  mov edi, {BUDGET}
  jne 4b
  // nobody looks: not to be waited for again before somebody does
  mov gs:[{P_ASKED}], ecx
  mov gs:[{M_POLLED}], ecx
  tr_waited
  jmp tr_direct
8:
  tr_waited
  jmp tr_ring
tr_direct:
  tr_arguments
  mov eax, gs:[{P_CALL}]
  add al, 127
  sahf
  mov eax, r11d
tr_call:
  syscall
tr_called:
  mov ecx, gs:[{M_OUTS}]
  jrcxz 5f
  jmp tr_finish
5:
  jmp qword ptr gs:[{P_TARGET}]
tr_answered:
  mov dword ptr gs:[{P_ASKED}], 0
  tr_waited
  mov rax, gs:[{M_RET}]
  mov ecx, gs:[{M_OUTS}]
// rax is the call's value, ecx the pieces to copy out
tr_finish:
  mov gs:[{P_VALUE}], rax
tr_valued:
  test ecx, ecx
  jz tr_restore
  js tr_reading
  rdgsbase r9
  mov r10d, {MAX_OUTS}
  cmp ecx, r10d
  cmovb r10d, ecx
  xor r8d, r8d
6:
  mov rdi, gs:[{M_OUT} + r8]
  mov esi, gs:[{M_OUT} + {O_OFFSET} + r8]
  mov ecx, gs:[{M_OUT} + {O_LEN} + r8]
  lea rsi, [r9 + rsi + {SHARED}]
tr_piece_insn:
  rep movsb
tr_piece_done:
  add r8d, {O_SIZE}
  dec r10d
  jnz 6b
  mov dword ptr gs:[{M_OUTS}], 0
tr_restore:
  tr_arguments
  cmp qword ptr gs:[{P_KICKED}], 0
  jne tr_done
  mov eax, gs:[{P_CALL}]
  add al, 127
  sahf
  mov rax, gs:[{P_VALUE}]
  jmp qword ptr gs:[{P_TARGET}]
// another thread took the memory away since it was found writable
tr_piece_fault:
  mov qword ptr gs:[{P_VALUE}], -14
  jmp tr_piece_done
// the data are in a file that this process keeps open: it reads them by itself
tr_reading:
  mov rdi, gs:[{M_SMALL}]
  mov rsi, gs:[{M_SMALL} + 8]
  mov rdx, gs:[{M_SMALL} + 16]
  mov r10, gs:[{M_SMALL} + 24]
  mov eax, {PREAD64}
  jmp tr_pread
tr_was_read:
  mov dword ptr gs:[{M_OUTS}], 0
  cmp rax, gs:[{P_VALUE}]
  je tr_restore
  mov gs:[{P_VALUE}], rax
  jmp tr_unread
// ends of the second shape
.balign 32
tr_tails:
  mov rcx, gs:[{P_IP}]
  lea rcx, [rcx + 6]
  cmp rax, -4095
  jmp rcx
.balign 32
  mov rcx, gs:[{P_IP}]
  lea rcx, [rcx + 6]
  cmp rax, -4096
  jmp rcx
tr_tails_end:
tr_own_gs:
  ud2
tr_kicked:
  ud2
tr_ring:
  ud2
tr_unread:
  ud2
tr_done:
  ud2
tr_end:
.text
// where the stub's rights are
tr_pread:
  syscall
tr_pread_over:
  jmp tr_was_read
tr_lent_pread:
  syscall
tr_lent_pread_over:
  jmp tr_was_lent
"#,
    SITES_MAX = const MAX_SITES,
    TABLE = const SITES - TEXT,
    SHIFT = const PRIVATE_SHIFT,
    S_NR = const offset_of!(Site, nr),
    S_BACK = const offset_of!(Site, back),
    S_BASE = const offset_of!(Site, base),
    S_ADD = const offset_of!(Site, add),
    LEA_RBX = const lea::RBX,
    S_IP = const offset_of!(Site, ip),
    S_TARGET = const offset_of!(Site, target),
    P_CALL = const P + offset_of!(Passage, call),
    P_IP = const P + offset_of!(Passage, ip),
    P_TARGET = const P + offset_of!(Passage, target),
    P_KICKED = const P + offset_of!(Passage, kicked),
    M_NR = const SHARED as usize + offset_of!(Mailbox, nr),
    M_ARGS = const SHARED as usize + offset_of!(Mailbox, args),
    M_IP = const SHARED as usize + offset_of!(Mailbox, ip),
    M_RET = const SHARED as usize + offset_of!(Mailbox, ret),
    M_SMALL = const SHARED as usize + SMALL,
    M_GIVEN = const SHARED as usize + offset_of!(Mailbox, given),
    TOUCHED = const TOUCHED,
    NUMBER = const poll::NUMBER,
    GIVEN_SHIFT = const poll::GIVEN_SHIFT,
    M_LOCAL = const SHARED as usize + offset_of!(Mailbox, local),
    M_IDS = const SHARED as usize + offset_of!(Mailbox, ids),
    LOCAL = const pointers::LOCAL,
    IS_ROBUST = const pointers::ROBUST,
    CLOCK = const CLOCK - TEXT,
    CLOCK_BITS = const CLOCK_BITS,
    CLOCK_GETTIME = const 228,
    PREAD64 = const 17,
    KEPT = const KEPT,
    MOST_LENT = const 1 << 24,
    M_LENDS = const SHARED as usize + offset_of!(Mailbox, lends),
    M_READS = const SHARED as usize + offset_of!(Mailbox, reads),
    CLOCK_STACK = const STRIDE - 512,
    P_STACK = const P + offset_of!(Passage, stack),
    HEAD_LEN = const 24,
    M_ROBUST = const SHARED as usize + offset_of!(Mailbox, robust),
    M_LENT = const SHARED as usize + offset_of!(Mailbox, lent),
    M_MASK = const SHARED as usize + offset_of!(Mailbox, mask),
    MASKABLE = const MASKABLE,
    M_UNTOUCHED = const SHARED as usize + offset_of!(Mailbox, untouched),
    M_OUTS = const SHARED as usize + offset_of!(Mailbox, outs),
    M_OUT = const SHARED as usize + offset_of!(Mailbox, out),
    O_OFFSET = const offset_of!(Piece, offset),
    O_LEN = const offset_of!(Piece, len),
    O_SIZE = const size_of::<Piece>(),
    MAX_OUTS = const MAX_OUTS,
    P_VALUE = const P + offset_of!(Passage, value),
    SHARED = const SHARED,
    WINDOW = const WINDOW,
    POINTERS = sym pointers::TABLE,
    POINTED = const pointers::NUMBERS,
    FIXED = const pointers::FIXED,
    STRING = const pointers::STRING,
    MOST_IN = const pointers::MOST_IN,
    MOST_STRING = const pointers::MOST_STRING,
    MOST_OUT = const pointers::MOST_OUT,
    M_POLLED = const SHARED as usize + offset_of!(Mailbox, polled),
    M_POLL = const SHARED as usize + offset_of!(Mailbox, poll),
    M_ANSWER = const SHARED as usize + offset_of!(Mailbox, answer),
    P_ARGS = const P + offset_of!(Passage, args),
    P_NUMBER = const P + offset_of!(Passage, number),
    P_ASKED = const P + offset_of!(Passage, asked),
    P_UNTIMED = const P + offset_of!(Passage, untimed),
    EACH = const EACH,
    STEP = const poll::STEP,
    P_ASKED_AT = const P + offset_of!(Passage, asked_at),
    M_WAITED = const SHARED as usize + offset_of!(Mailbox, waited),
    ASKED = const poll::ASKED,
    ANSWERED = const poll::ANSWERED,
    RING = const poll::RING,
    BUDGET = const 2000,
);
