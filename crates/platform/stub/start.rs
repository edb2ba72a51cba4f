//! New processes and threads: clone(2) under a grant of the kernel process.
//!
//! A clone call of the stub is a notification that runs only if the kernel process expects it, with exactly these flags. The child shows the cookie that the parent got for it.
//! Neighbours: `handler` (caller), `seed` (zygotes). Owns no locks.

use core::arch::{asm, global_asm};

use crate::frame::uc;
use crate::handler::{Ring, serve};
use crate::blocks;
use crate::layout::{SIGNAL_STACK, STRIDE, bell};
use crate::user::address;
use crate::{Private, base, get, mailbox, me, private, ring, socket, sys, user};

/// CLONE_PARENT | SIGCHLD: the child is the kernel process' own.
pub const FORK_FLAGS: u64 = 0x8000 | 17;
/// VM FS FILES SIGHAND THREAD SYSVSEM SETTLS CHILD_CLEARTID.
const THREAD_FLAGS: u64 = 0x2d_0f00;

global_asm!(
    r#"
.text
// clone_thread(flags, stack, clear_tid, tls): the child finds its frame through its private page
.globl clone_thread
clone_thread:
  mov r10, rdx
  mov r8, rcx
  xor edx, edx
  xor r9d, r9d
  mov eax, 56
  syscall
  test rax, rax
  jz 1f
  ret
1:
  xor ebp, ebp
  call thread_start
  mov rsp, rax
  jmp restorer
.globl fresh_ud2
fresh_ud2:
  ud2
"#
);

unsafe extern "C" {
    fn clone_thread(flags: u64, stack: u64, clear_tid: u64, tls: u64) -> i64;
}

/// The instruction by which a fresh process gets a frame.
pub fn fresh_instruction() -> u64 {
    address!("fresh_ud2")
}

/// In the child of a fork: becomes known to the kernel process.
///
/// # Safety
/// In a new process, before its mailbox is touched.
pub unsafe fn hello(p: *mut Private, cookie: [u64; 2]) {
    // SAFETY: by the caller.
    unsafe {
        (*p).cookie = cookie;
        (*p).seq = 0;
        // What a sibling was just handed. Without a listener the first descriptor is the doorbell, and whoever made this process has it held until this call is made.
        let first = (*p).by_socket;
        sys::call(436, [first, u32::MAX as u64, 0, 0, 0, 0]);
        let mailboxes = if (*p).by_socket != 0 { socket::hello(p) } else { ring(p, bell::HELLO, 0, 0) };
        blocks::replace(p, mailboxes);
    }
}

/// Forks; parent and child go on in `serve`.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn fork(p: *mut Private, frame: *mut u64) -> Ring {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let o = get!(mb, arg); // cookie, cookie, stack, tls set, tls, clear_tid, set_tid, value, parent_tid, value
        let r = sys::call(56, [FORK_FLAGS, 0, 0, 0, 0, 0]);
        if r != 0 {
            if r > 0 && o[8] != 0 {
                user::put32(o[8], o[9] as u32);
            }
            return Ring::result(r, 0);
        }
        hello(p, [o[0], o[1]]);
        if (*p).by_socket != 0 {
            socket::answer(p);
        }
        if o[2] != 0 {
            *frame.add(uc::RSP) = o[2];
        }
        if o[3] != 0 {
            sys::set_base((*p).fsgsbase != 0, 0x1002, o[4]);
        }
        if o[5] != 0 {
            sys::call(218, [o[5], 0, 0, 0, 0, 0]);
        }
        if o[6] != 0 {
            user::put32(o[6], o[7] as u32);
        }
        *frame.add(uc::RAX) = 0;
        Ring { rung: true, ..Ring::kind(0) } // the answer to HELLO lies in the new mailbox
    }
}

/// Starts a thread: its signal frame is a copy of ours at the same offset of its own stack, and it begins by returning from it.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn spawn(p: *mut Private, frame: *mut u64) -> Ring {
    // SAFETY: by the caller; the slot's private memory is unused.
    unsafe {
        let mb = mailbox(p);
        let o = get!(mb, arg); // cookie, cookie, stack, tls set, tls, clear_tid, slot, set_tid, value, second set_tid
        let slot = o[6] & (crate::layout::SLOTS - 1);
        if let Err(r) = blocks::want(p, slot) {
            return Ring::result(r, 0);
        }
        let c = private(slot);
        *c = Private::new([o[0], o[1]], slot, &*p);
        let (top, child_top) = (p as u64 + STRIDE, c as u64 + STRIDE);
        let to = child_top - (top - frame as u64);
        core::ptr::copy_nonoverlapping(frame as *const u8, to as *mut u8, (top - frame as u64) as usize);
        let child = to as *mut u64;
        *child.add(uc::RAX) = 0;
        if o[2] != 0 {
            *child.add(uc::RSP) = o[2];
        }
        if *child.add(uc::FPSTATE) != 0 {
            *child.add(uc::FPSTATE) = child_top - (top - *frame.add(uc::FPSTATE));
        }
        // rt_sigreturn also installs the child's signal stack.
        *child.add(uc::STACK) = c as u64 + SIGNAL_STACK;
        *child.add(uc::STACK + 1) = 0;
        *child.add(uc::STACK + 2) = STRIDE - SIGNAL_STACK;
        (*c).frame = to;
        let tls = if o[3] != 0 { o[4] } else { sys::bases((*p).fsgsbase != 0).0 };
        for word in [o[7], o[9]] {
            if word != 0 {
                user::put32(word, o[8] as u32);
            }
        }
        Ring::result(clone_thread(THREAD_FLAGS, (to - 512) & !15, o[5], tls), 0)
    }
}

/// First code of a new thread, on its own signal stack. Returns the frame to return from.
#[unsafe(no_mangle)]
unsafe extern "C" fn thread_start() -> u64 {
    // SAFETY: the parent prepared private page and frame.
    unsafe {
        let p = me();
        let frame = (*p).frame;
        let fast = (*p).fsgsbase != 0;
        if fast && sys::bases(fast).1 == 0 {
            sys::set_base(fast, 0x1001, 0); // inherited from the parent: its page, not ours
        }
        ring(p, bell::THREAD, 0, 0);
        serve(p, frame as *mut u64, Ring { rung: true, ..Ring::kind(0) });
        frame
    }
}

/// Takes a frame: the handler rings FRESH with it, and a script makes it a program's start.
pub fn take_frame() -> ! {
    // SAFETY: raises SIGILL at the instruction that the handler knows.
    unsafe { asm!("jmp {}", in(reg) fresh_instruction(), options(noreturn)) }
}
