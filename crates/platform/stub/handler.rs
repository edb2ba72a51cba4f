//! The signal handler: every way in but direct notification ends here, and what the kernel process answers is done here.
//!
//! Runs on the slot's signal stack with all signals masked but SIGILL, SIGBUS, SIGFPE and SIGSEGV, by which accesses to guest memory recover.
//! Neighbours: `script`, `start`, `frame` (one kind of answer each). Owns no locks.

use core::sync::atomic::Ordering::SeqCst;

use crate::frame::{self, uc};
use crate::layout::{KICK_SIGNAL, REGION_ALIGN, REGION_LEN, REGS, bell, op, reg};
use crate::passage::{self, Entry};
use crate::trampoline::MASKABLE;
use crate::{Private, base, get, mailbox, me, put, ring, script, socket, start, sys, user, wait};

const SIGILL: u64 = 4;
const SIGTRAP: u64 = 5;
const SIGBUS: u64 = 7;
const SIGSEGV: u64 = 11;
const SIGSYS: u64 = 31;
const SI_KERNEL: u64 = 0x80;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const RT_SIGRETURN: u64 = 15;
const EXIT: u64 = 60;

/// What to ring with next.
pub struct Ring {
    pub kind: u64,
    pub a: u64,
    pub b: u64,
    /// The doorbell was answered already: only look at the mailbox.
    pub rung: bool,
}

impl Ring {
    pub fn kind(kind: u64) -> Ring {
        Ring { kind, a: 0, b: 0, rung: false }
    }
    pub fn result(value: i64, at: u64) -> Ring {
        Ring { kind: bell::RESULT, a: value as u64, b: at, rung: false }
    }
}

/// Entered by the host with a siginfo and a ucontext.
#[unsafe(no_mangle)]
unsafe extern "C" fn on_signal(sig: u64, info: *const u32, frame: *mut u64) {
    // SAFETY: the host made the frame on our signal stack; a guest that jumps here harms itself only.
    unsafe {
        let p = me();
        let mut ip = *frame.add(uc::RIP);
        if (sig == SIGSEGV || sig == SIGBUS)
            && let Some(next) = user::recovery(ip).or_else(|| passage::recovery(ip))
        {
            *frame.add(uc::RIP) = next;
            return;
        }
        if sig == SIGILL || sig == SIGTRAP || sig == SIGSYS || sig == KICK_SIGNAL {
            match passage::enter(p, frame, ip, sig) {
                Entry::Guest => {}
                Entry::Clean => ip = *frame.add(uc::RIP),
                Entry::Later => return,
                Entry::Call => {
                    if let Some(kind) = call(p, frame) {
                        serve(p, frame, Ring::kind(kind));
                    }
                    return;
                }
                Entry::Kick => return serve(p, frame, Ring::kind(bell::KICK)),
                Entry::Unread(value) => return serve(p, frame, Ring::result(value as i64, 0)),
            }
        }
        if (sig == SIGILL || sig == KICK_SIGNAL)
            && let Some(value) = wait::end(p, frame, ip)
        {
            return serve(p, frame, Ring { kind: bell::KICK, a: value, b: 1, rung: false });
        }
        let kind = match sig {
            SIGSYS => match trapped(p, info, frame) {
                Some(kind) => kind,
                None => return,
            },
            SIGILL if ip == start::fresh_instruction() => bell::FRESH,
            KICK_SIGNAL => bell::KICK,
            _ => {
                let in_stub = ip & !(REGION_ALIGN - 1) == base() && ip - base() < REGION_LEN;
                let code = *info.add(2) as i32 as i64 as u64;
                let address = info.add(4).cast::<u64>().read_unaligned();
                fault(p, frame, [sig, code, address], in_stub)
            }
        };
        serve(p, frame, Ring::kind(kind));
    }
}

/// Writes a fault into the mailbox.
///
/// # Safety
/// `p` is our private page and `frame` a signal frame.
unsafe fn fault(p: *mut Private, frame: *mut u64, [sig, code, address]: [u64; 3], in_stub: bool) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let (ip, sp) = (*frame.add(uc::RIP), *frame.add(uc::RSP));
        put!(
            mailbox(p),
            fault,
            [sig, code, address, ip, sp, *frame.add(uc::TRAPNO), *frame.add(uc::ERR), in_stub as u64]
        );
        bell::FAULT
    }
}

/// A trapped call: number and arguments into the mailbox. rt_sigreturn takes the guest's frame first. `None`: it is done.
///
/// # Safety
/// As `on_signal`.
unsafe fn trapped(p: *mut Private, info: *const u32, frame: *mut u64) -> Option<u64> {
    // SAFETY: by the caller.
    unsafe {
        if *info.add(7) != AUDIT_ARCH_X86_64 {
            return Some(fault(p, frame, [SIGSEGV, SI_KERNEL, 0], false)); // int 0x80: as on a host without 32-bit calls
        }
        call(p, frame)
    }
}

/// A call whose registers the frame holds. `None`: it is done.
///
/// # Safety
/// As `on_signal`.
unsafe fn call(p: *mut Private, frame: *mut u64) -> Option<u64> {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let nr = *frame.add(uc::RAX);
        let at = |i: usize| *frame.add(i);
        put!(mb, nr, nr as u32);
        put!(mb, ip, at(uc::RIP));
        let mut args = [at(uc::RDI), at(uc::RSI), at(uc::RDX), at(uc::R10), at(uc::R8), at(uc::R9)];
        if nr == RT_SIGRETURN {
            let sp = at(uc::RSP);
            match frame::take(frame) {
                Some(state) if returned(p, state) => return None,
                Some(state) => args = [state[0], state[1], state[2], state[3], sp, 0],
                None => return Some(fault(p, frame, [SIGSEGV, SI_KERNEL, 0], false)),
            }
        }
        if nr == EXIT {
            put!(mb, cpu, sys::cpu_time());
        }
        put!(mb, args, args);
        Some(bell::CALL)
    }
}

/// rt_sigreturn, its registers taken: sets the mask if that is lent and the alternate stack stays as it is. False: the kernel process does it (again, if it has withdrawn the mask meanwhile).
///
/// # Safety
/// As `on_signal`.
unsafe fn returned(p: *mut Private, [mask, stack @ ..]: [u64; 4]) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        if (*mb).lent.load(SeqCst) == 0 || stack != get!(mb, altstack) {
            return false;
        }
        (*mb).mask.store(mask & MASKABLE, SeqCst);
        (*mb).lent.load(SeqCst) != 0
    }
}

/// Shows the registers to the kernel process.
///
/// # Safety
/// As `on_signal`.
unsafe fn show(p: *mut Private, frame: *mut u64) {
    // SAFETY: by the caller; the mailbox has room for all words.
    unsafe {
        let mb = mailbox(p);
        let mut i = 0;
        while i <= reg::EFLAGS {
            (&raw mut (*mb).regs).cast::<u64>().add(i).write_volatile(*frame.add(uc::FIRST + i));
            i += 1;
        }
        put!(mb, context, frame as u64);
        let (fs, gs) = sys::bases((*p).fsgsbase != 0);
        (&raw mut (*mb).regs).cast::<u64>().add(reg::FS_BASE).write_volatile(fs);
        (&raw mut (*mb).regs).cast::<u64>().add(reg::GS_BASE).write_volatile(gs);
    }
}

/// Rings and does what is answered, until the thread may go on with the registers of `frame`.
///
/// # Safety
/// `p` is this thread's private page, `frame` a ucontext on its signal stack.
pub unsafe fn serve(p: *mut Private, frame: *mut u64, mut next: Ring) {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        loop {
            if !next.rung {
                show(p, frame);
                ring(p, next.kind, next.a, next.b);
            }
            next = match get!(mb, op) {
                op::RESUME => return,
                op::RET => {
                    *frame.add(uc::RAX) = get!(mb, ret);
                    return;
                }
                op::RET_KICK => {
                    *frame.add(uc::RAX) = get!(mb, ret);
                    Ring::kind(bell::KICK)
                }
                op::SCRIPT => match script::perform(p, frame) {
                    Some(ring) => ring,
                    None => return,
                },
                op::FORK => start::fork(p, frame),
                op::SPAWN => start::spawn(p, frame),
                op::SIGNAL => match frame::build(p, frame) {
                    true => return,
                    false => Ring::result(-14, 0),
                },
                op::REGISTERS => {
                    take_registers(p, frame);
                    return;
                }
                op::PARK => {
                    while (*mb).park.load(core::sync::atomic::Ordering::Acquire) == 0 {
                        sys::futex_wait((&raw const (*mb).park).cast(), 0);
                    }
                    (*mb).park.store(0, core::sync::atomic::Ordering::Release);
                    Ring { rung: true, ..Ring::kind(0) }
                }
                op::RING => Ring::kind(bell::KICK),
                op::TAKE => {
                    socket::take_files(p);
                    Ring::kind(bell::KICK)
                }
                op::WAIT => {
                    wait::begin(p, frame);
                    return;
                }
                op::EXIT => loop {
                    sys::call(60, [0; 6]);
                },
                _ => sys::exit_group(70),
            };
        }
    }
}

/// Registers as the kernel process wrote them; the host checks segments and flags at its sigreturn.
///
/// # Safety
/// As `serve`.
unsafe fn take_registers(p: *mut Private, frame: *mut u64) {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        let mut words = [0u64; REGS];
        let mut i = 0;
        while i < REGS {
            *words.as_mut_ptr().add(i) = (&raw const (*mb).regs).cast::<u64>().add(i).read_volatile();
            i += 1;
        }
        i = 0;
        while i <= reg::EFLAGS {
            *frame.add(uc::FIRST + i) = *words.as_ptr().add(i);
            i += 1;
        }
        let fast = (*p).fsgsbase != 0;
        let (fs, gs) = sys::bases(fast);
        if fs != words[reg::FS_BASE] {
            sys::set_base(fast, 0x1002, words[reg::FS_BASE]);
        }
        if gs != words[reg::GS_BASE] {
            sys::set_base(fast, 0x1001, words[reg::GS_BASE]);
        }
    }
}
