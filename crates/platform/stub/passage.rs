//! A call on its way through a trampoline, and what a signal does that meets it there, or in the middle of a site that is half rewritten.
//!
//! The frame that a guest's signal shows is always that of the guest's own call, before it or behind it. Neighbours: `trampoline` (the code, with the labels that are asked for here), `handler` (caller).
//! Owns no locks.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::frame::uc;
use crate::layout::{KICK_SIGNAL, MAX_OUTS, MAX_SITES, Piece, READS, SITES, Site, WINDOW, lea, poll};
use crate::user::address;
use crate::{Private, base, get, mailbox, put};

const SIGTRAP: u64 = 5;
const SIGSYS: u64 = 31;
/// -EFAULT
const FAULTED: u64 = -14i64 as u64;

/// What a thread keeps of a call through a trampoline.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Passage {
    /// Number << 16 | flags, as `lahf` and `seto` give them.
    pub call: u64,
    pub ip: u64,
    pub target: u64,
    /// A kick came at a time when it could not be rung for.
    pub kicked: u64,
    /// The call's value, while the window is copied out.
    pub value: u64,
    /// The call's arguments.
    pub args: [u64; 6],
    /// Number of the last call that was handed to a poller.
    pub number: u64,
    /// `Mailbox::poll` of the one that is; 0: none.
    pub asked: u64,
    /// The processor's counter when the last one that is timed asked.
    pub asked_at: u64,
    /// Calls until one is timed.
    pub untimed: u64,
    /// The guest's stack pointer while the host's vDSO runs on the signal stack; 0 otherwise.
    pub stack: u64,
}

impl Passage {
    pub const NEW: Passage = Passage { call: 0, ip: 0, target: 0, kicked: 0, value: 0, args: [0; 6], number: 0, asked: 0, asked_at: 0, untimed: 0, stack: 0 };
}

/// Where a signal that met a trampoline, or a site that is half rewritten, leads.
pub enum Entry {
    /// Nothing of ours: the frame is the guest's.
    Guest,
    /// Back into the trampoline, which rings at its end.
    Later,
    /// The frame is as the guest's own call would have left it; go on as with any signal.
    Clean,
    /// A call that trapped.
    Call,
    /// As after a kick.
    Kick,
    /// A file that was to be read here gave this instead of what was expected.
    Unread(u64),
}

/// Makes the frame of a signal that came at `ip` the guest's.
///
/// # Safety
/// As `handler::serve`.
pub unsafe fn enter(p: *mut Private, frame: *mut u64, ip: u64, sig: u64) -> Entry {
    let kick = sig == KICK_SIGNAL;
    // SAFETY: by the caller.
    unsafe {
        if kick && ((*p).passage.stack != 0 || is_reading(p, ip)) {
            (*p).passage.kicked = 1;
            return Entry::Later;
        }
        if ip == address!("tr_unread") {
            (*p).passage.kicked = 0;
            let value = (*p).passage.value;
            finish(p, frame, value);
            return Entry::Unread(value);
        }
        if ip < address!("tr_start") || ip > address!("tr_done") {
            return if kick || sig == SIGSYS { Entry::Guest } else { at_site(frame, ip, sig) };
        }
        if ip == address!("tr_own_gs") {
            // rcx is the record and r11 the call: nothing was saved.
            let record = *frame.add(uc::RCX);
            let site = ((base() + SITES) as *const Site).add((record.wrapping_sub(base() + SITES) / 32) as usize & (MAX_SITES - 1)).read_volatile();
            let call = *frame.add(uc::R11);
            *frame.add(uc::RAX) = call >> 16;
            if !kick && (*p).passage.kicked == 0 {
                complete(frame, site.ip, call);
                return Entry::Call;
            }
            (*p).passage.kicked = 0;
            complete(frame, site.ip.wrapping_sub(2), call);
            return Entry::Kick;
        }
        if !kick && ip == address!("tr_called") {
            complete(frame, (*p).passage.ip, (*p).passage.call); // SIGSYS of the call
            return Entry::Clean;
        }
        if ip == address!("tr_kicked") {
            (*p).passage.kicked = 0;
            take_back(p, frame);
            return Entry::Kick;
        }
        if ip == address!("tr_ring") || ip == address!("tr_done") {
            (*p).passage.kicked = 0;
            (*p).passage.asked = 0;
            let value = if ip == address!("tr_done") { (*p).passage.value } else { (*p).passage.call >> 16 };
            finish(p, frame, value);
            return Entry::Kick;
        }
        if !kick {
            return Entry::Guest; // a fault in here: the private page or the mailbox is gone
        }
        if ip < address!("tr_saved") {
            (*p).passage.kicked = 1;
            return Entry::Later;
        }
        if ip >= address!("tr_masked") && ip < address!("tr_mask_end") {
            finish(p, frame, 0);
            (*p).passage.kicked = 0;
            return Entry::Clean;
        }
        if ip >= address!("tr_posting") && ip < address!("tr_call") {
            let word: &AtomicU32 = &(*mailbox(p)).poll;
            let asked = (*p).passage.asked as u32;
            let was = word.compare_exchange(asked, poll::NONE, Ordering::AcqRel, Ordering::Acquire);
            if asked != 0 && was == Err(poll::with(asked, poll::TAKEN)) {
                (*p).passage.kicked = 1; // the poller's answer ends the wait
                return Entry::Later;
            }
            (*p).passage.asked = 0;
        }
        if ip <= address!("tr_call") {
            if ip >= address!("tr_free") {
                arguments(p, frame);
            }
            take_back(p, frame);
        } else if ip < address!("tr_tails") {
            let value = if ip >= address!("tr_answered") && ip < address!("tr_finish") {
                (*p).passage.asked = 0;
                get!(mailbox(p), ret)
            } else if ip < address!("tr_valued") {
                *frame.add(uc::RAX)
            } else {
                (*p).passage.value
            };
            finish(p, frame, value);
        } else {
            let flags = *frame.add(uc::EFLAGS);
            complete(frame, (*p).passage.ip, (*p).passage.call);
            *frame.add(uc::EFLAGS) = flags;
        }
        (*p).passage.kicked = 0;
        Entry::Clean
    }
}

/// Whether a file is about to be read, or was read just now, because the call was answered so or the file was lent: that takes no longer than the host takes for it.
unsafe fn is_reading(p: *mut Private, ip: u64) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let over = ip >= address!("tr_reading") && ip < address!("tr_tails");
        let in_call = ip == address!("tr_pread") || ip == address!("tr_pread_over");
        let in_lent_call = ip == address!("tr_lent_pread") || ip == address!("tr_lent_pread_over");
        let answered = ip > address!("tr_call") && ip < address!("tr_reading");
        over || in_call || in_lent_call || answered && get!(mailbox(p), outs) & READS != 0
    }
}

/// The call has its value: what the window holds for the guest is copied, and the frame is as behind the call.
unsafe fn finish(p: *mut Private, frame: *mut u64, value: u64) {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let mut value = value;
        let count = (get!(mb, outs) as usize).min(MAX_OUTS);
        let mut i = 0;
        while i < count {
            let piece = (&raw const (*mb).out).cast::<Piece>().add(i).read_volatile();
            if !crate::user::copy(piece.addr, mb as u64 + piece.offset as u64, piece.len as u64) {
                value = FAULTED;
            }
            i += 1;
        }
        if count > 0 {
            put!(mb, outs, 0);
        }
        arguments(p, frame);
        complete(frame, (*p).passage.ip, (*p).passage.call);
        *frame.add(uc::RAX) = value;
    }
}

/// The registers of the call's arguments, as the trampoline found them.
unsafe fn arguments(p: *mut Private, frame: *mut u64) {
    // SAFETY: by the caller.
    unsafe {
        let args = (*p).passage.args;
        *frame.add(uc::RDI) = args[0];
        *frame.add(uc::RSI) = args[1];
        *frame.add(uc::RDX) = args[2];
        *frame.add(uc::R10) = args[3];
        *frame.add(uc::R8) = args[4];
        *frame.add(uc::R9) = args[5];
    }
}

/// Where a fault at this instruction goes on, if it is one of a trampoline's that may fault.
pub fn recovery(ip: u64) -> Option<u64> {
    if ip == address!("tr_in_insn") || ip == address!("tr_string_insn") {
        Some(address!("tr_out"))
    } else if ip == address!("tr_probe_insn") {
        Some(address!("tr_ask"))
    } else if ip == address!("tr_mask_in_insn") || ip == address!("tr_mask_out_insn") {
        Some(address!("tr_table"))
    } else if ip >= address!("tr_action_insns") && ip < address!("tr_action_end") {
        Some(address!("tr_table"))
    } else if ip >= address!("tr_clock_insns") && ip < address!("tr_clock_end") {
        Some(address!("tr_clock_failed"))
    } else if ip == address!("tr_piece_insn") {
        Some(address!("tr_piece_fault"))
    } else {
        None
    }
}

/// The frame as it was before the call, at its instruction.
unsafe fn take_back(p: *mut Private, frame: *mut u64) {
    // SAFETY: by the caller.
    unsafe {
        let at = (*p).passage;
        complete(frame, at.ip.wrapping_sub(2), at.call);
        *frame.add(uc::RAX) = at.call >> 16;
    }
}

/// On at `ip`, with the flags that were kept, and the registers that `syscall` changes.
unsafe fn complete(frame: *mut u64, ip: u64, call: u64) {
    // SAFETY: by the caller.
    unsafe {
        let kept = call >> 8 & 0xd5 | (call & 1) << 11;
        let flags = *frame.add(uc::EFLAGS) & !0x8d5 | kept;
        *frame.add(uc::EFLAGS) = flags;
        *frame.add(uc::RIP) = ip;
        *frame.add(uc::RCX) = ip;
        *frame.add(uc::R11) = flags;
    }
}

/// What stands between number and call.
unsafe fn do_lea(frame: *mut u64, site: &Site) {
    if site.back != 14 {
        return;
    }
    // SAFETY: by the caller.
    unsafe {
        let base = match site.base {
            lea::NONE => 0,
            lea::RBX => *frame.add(uc::RBX),
            _ => *frame.add(uc::R9),
        };
        *frame.add(uc::RSI) = base.wrapping_add(site.add);
    }
}

/// A fault in the middle of a rewritten site: what stood there is done.
unsafe fn at_site(frame: *mut u64, ip: u64, sig: u64) -> Entry {
    // SAFETY: the table is looked at only where it is mapped and in use, by its head: a guest may unmap it.
    unsafe {
        // Records are written in any order when two threads rewrite at once, so all are looked at.
        let mut head = 0u64;
        if !crate::user::copy(&raw mut head as u64, base() + SITES, 8) || head == 0 {
            return Entry::Guest;
        }
        let mut i = 1;
        while i < MAX_SITES {
            let site = ((base() + SITES) as *const Site).add(i).read_volatile();
            let start = site.ip.wrapping_sub(site.back as u64);
            // int3 (the ip is behind it) or `06`, at the byte where they can stand.
            let byte = |at: u64| {
                let mut b = 0u8;
                crate::user::copy(&raw mut b as u64, at, 1);
                b
            };
            if site.ip == 0 {
                i += 1;
                continue;
            }
            if ip == start.wrapping_add(1) && sig == SIGTRAP {
                if byte(start) != 0xcc {
                    *frame.add(uc::RIP) = start; // complete meanwhile
                    return Entry::Later;
                }
                if site.is_numbered() {
                    *frame.add(uc::RAX) = site.nr as u64;
                }
                do_lea(frame, &site);
                *frame.add(uc::RIP) = site.ip;
                return Entry::Call;
            }
            if site.is_numbered() && ip == start.wrapping_add(5) && byte(ip) == 0x06 {
                do_lea(frame, &site);
                *frame.add(uc::RIP) = site.ip;
                return Entry::Call;
            }
            if site.back == 2 && ip == site.ip && byte(ip) == 0x06 {
                let tails = address!("tr_tails");
                let than: u64 = if site.target == tails { 4095 } else { 4096 };
                let flags: u64;
                let value = *frame.add(uc::RAX);
                asm!("cmp {0}, {1}", "pushfq", "pop {2}", in(reg) value, in(reg) than.wrapping_neg(), out(reg) flags);
                *frame.add(uc::EFLAGS) = *frame.add(uc::EFLAGS) & !0x8d5 | flags & 0x8d5;
                *frame.add(uc::RIP) = ip.wrapping_add(6);
                return Entry::Later;
            }
            i += 1;
        }
        Entry::Guest
    }
}
