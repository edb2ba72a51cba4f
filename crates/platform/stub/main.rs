//! The stub: the code that lives in every guest address space and does there what the kernel process asks for.
//!
//! `no_std`, position independent, without data: build.rs links it to a flat file. It is no boundary: guest code may jump anywhere in it, with any registers, and
//! write over it; the seccomp filter and the kernel process assume that. `layout` is shared with the kernel process. Owns no locks.
#![no_std]
#![no_main]

#[path = "../src/layout.rs"]
mod layout;
#[path = "../src/pointers.rs"]
mod pointers;

mod blocks;
mod frame;
mod handler;
mod passage;
mod script;
mod seed;
mod socket;
mod start;
mod sys;
mod trampoline;
mod user;
mod wait;

use core::arch::{asm, global_asm};

// The header (see `layout::header`): offsets from here, so that the piece needs no relocation.
global_asm!(
    r#"
.section .stub.head,"ax"
.globl stub_header
stub_header:
  .quad 0x627574736b637473
  .quad seed_entry - stub_header
  .quad on_signal - stub_header
  .quad restorer - stub_header
  .quad tr_entries7 - stub_header
  .quad tr_entries8 - stub_header
  .quad tr_tails - stub_header
  .quad tr_tails + 32 - stub_header
  .quad tr_called - stub_header
.text
.globl restorer
restorer:
  mov eax, 15
  syscall
  ud2
"#
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        // SAFETY: raises SIGILL; nothing returns here.
        unsafe { asm!("ud2") }
    }
}

/// Start of the region: the text never crosses a 4 GiB line.
pub fn base() -> u64 {
    let at: u64;
    // SAFETY: an address computation.
    unsafe { asm!("lea {}, [rip + stub_header]", out(reg) at, options(nomem, nostack, pure)) };
    at & !(layout::REGION_ALIGN - 1)
}

/// State of one host thread that its siblings' kernel does not share: copied by fork, so that a child has its own at once.
#[repr(C)]
pub struct Private {
    pub cookie: [u64; 2],
    /// Doorbells rung so far.
    pub seq: u64,
    pub slot: u64,
    /// 1: the processor and the host let user code read and write fs and gs base.
    pub fsgsbase: u64,
    /// Where a new thread's signal frame lies.
    pub frame: u64,
    /// 1: there is no listener, and the doorbell is a socket (see `socket`).
    pub by_socket: u64,
    /// Number of the socket by which files come.
    pub files: u64,
    /// Number of the memory file with the mailboxes.
    pub mailboxes: u64,
    /// The call that is in a trampoline.
    pub passage: passage::Passage,
    /// The guest's registers while the thread waits in a futex: see `wait`.
    pub waiting: [u64; wait::SAVED],
}

impl Private {
    /// Of a new thread or zygote; what holds for the whole process is as in `of`.
    pub fn new(cookie: [u64; 2], slot: u64, of: &Private) -> Private {
        Private {
            cookie,
            seq: 0,
            slot,
            fsgsbase: of.fsgsbase,
            frame: 0,
            by_socket: of.by_socket,
            files: of.files,
            mailboxes: of.mailboxes,
            passage: passage::Passage::NEW,
            waiting: [0; wait::SAVED],
        }
    }
}

/// The private page of the slot on whose signal stack this runs.
#[inline(always)]
pub fn me() -> *mut Private {
    let sp: u64;
    // SAFETY: reads the stack pointer.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack)) };
    (sp & !(layout::STRIDE - 1)) as *mut Private
}

/// The private page of a slot.
pub fn private(slot: u64) -> *mut Private {
    (base() + layout::private(slot)) as *mut Private
}

/// The mailbox of the thread with this private page.
///
/// # Safety
/// `p` is a private page.
#[inline(always)]
pub unsafe fn mailbox(p: *mut Private) -> *mut layout::Mailbox {
    // SAFETY: by the caller.
    unsafe { p.byte_add(layout::SHARED as usize).cast() }
}

/// Rings the doorbell and returns what the kernel process sent. Does not return when there is no kernel process any more.
///
/// # Safety
/// `p` is this thread's private page.
pub unsafe fn ring(p: *mut Private, kind: u64, a: u64, b: u64) -> i64 {
    // SAFETY: by the caller; the call touches no memory.
    unsafe {
        if (*p).by_socket != 0 {
            socket::ring(p, kind, a, b);
            return 0;
        }
        (*p).seq += 1;
        let r = sys::call(layout::DOORBELL, [kind, (*p).cookie[0], (*p).cookie[1], a, b, (*p).seq]);
        if r == -38 {
            sys::exit_group(38); // the listener is closed
        }
        r
    }
}

/// Reads a word of the mailbox once.
#[macro_export]
macro_rules! get {
    ($mb:expr, $($field:tt)+) => { core::ptr::read_volatile(&raw const (*$mb).$($field)+) };
}
/// Writes a word of the mailbox once.
#[macro_export]
macro_rules! put {
    ($mb:expr, $field:ident $([$i:expr])*, $value:expr) => { core::ptr::write_volatile(&raw mut (*$mb).$field $([$i])*, $value) };
}
