//! Tracing of other tasks: ptrace(2).
//!
//! What a request does to a tracee is `kernel::task::ptrace`'s; here are the requests, and how registers look (`registers`).
//! Hardware breakpoints, PTRACE_SYSEMU and single blocks are not there (EIO).

mod registers;

use abi::Errno;
use abi::seccomp::AUDIT_ARCH_X86_64;
use abi::task::*;
use kernel::signal::{SigInfo, UNMASKABLE};
use kernel::task::ptrace::{Attach, Halted, Resume, StopKind};
use kernel::task::{Task, send};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{Immutable, IntoBytes};

/// Of the options that ptrace(2) names, the one that is not there.
const REFUSED: u32 = PTRACE_O_SUSPEND_SECCOMP;
const SIGSET: u64 = 8;

pub fn sys_ptrace(call: &mut Call<'_>, [request, pid, addr, data, ..]: Args) -> Op<Ret> {
    let request = request as u32;
    if request == PTRACE_TRACEME {
        return trace_me(call);
    }
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let tracee = ns.task(pid as i32).ok_or(Errno::ESRCH)?;
    match request {
        PTRACE_ATTACH => call.task.attach(&tracee, Attach::Stop)?,
        PTRACE_SEIZE if addr != 0 => return fail(Errno::EIO),
        PTRACE_SEIZE => call.task.attach(&tracee, Attach::Seize(options(data).map_err(|_| Errno::EIO)?))?,
        PTRACE_INTERRUPT => call.task.interrupt_tracee(&tracee)?,
        PTRACE_KILL => {
            if !call.task.traces(&tracee) {
                return fail(Errno::ESRCH);
            }
            send(&tracee.group, None, SigInfo::kernel(kernel::signal::SIGKILL));
        }
        _ => return halted(call, request, &tracee, addr, data),
    }
    Ok(0.into())
}

/// Requests to a tracee that halts.
fn halted(call: &Call<'_>, request: u32, tracee: &Arc<Task>, addr: u64, data: u64) -> Op<Ret> {
    let halted = call.task.halted(tracee)?;
    match request {
        PTRACE_CONT | PTRACE_SYSCALL | PTRACE_SINGLESTEP | PTRACE_DETACH | PTRACE_LISTEN => {
            return go_on(call, request, halted, data);
        }
        PTRACE_PEEKTEXT | PTRACE_PEEKDATA => {
            let mut word = [0; 8];
            let mm = tracee.mm().ok_or(Errno::ESRCH)?;
            mm.read_exact(addr, &mut word).map_err(|_| Errno::EIO)?;
            call.put(data, &word)?;
        }
        PTRACE_POKETEXT | PTRACE_POKEDATA => {
            let mm = tracee.mm().ok_or(Errno::ESRCH)?;
            mm.write_forced(addr, &data.to_le_bytes()).map_err(|_| Errno::EIO)?;
        }
        PTRACE_PEEKUSR => call.put(data, &registers::peek_user(&halted, addr)?)?,
        PTRACE_POKEUSR => registers::poke_user(&halted, addr, data)?,
        PTRACE_GETREGS => call.put(data, &registers::general(&halted)?)?,
        PTRACE_SETREGS => registers::set_general(&halted, call.get(data)?)?,
        PTRACE_GETFPREGS => call.put(data, registers::fxsave(&halted)?.as_slice())?,
        PTRACE_SETFPREGS => registers::set_fpu(&halted, &call.get_vec(data, registers::LEGACY)?)?,
        PTRACE_GETREGSET => registers::get_set(call, &halted, addr, data)?,
        PTRACE_SETREGSET => registers::put_set(call, &halted, addr, data)?,
        PTRACE_SETOPTIONS | PTRACE_OLDSETOPTIONS => halted.set_options(options(data)?),
        PTRACE_GETEVENTMSG => call.put(data, &halted.message())?,
        PTRACE_GETSIGINFO => call.put(data, halted.info()?.raw())?,
        PTRACE_SETSIGINFO => {
            let raw: [u8; 128] = call.get(data)?;
            let sig = raw.first_chunk().map_or(0, |first| i32::from_le_bytes(*first));
            halted.set_info(SigInfo::from_user(sig, raw))?;
        }
        PTRACE_GETSIGMASK | PTRACE_SETSIGMASK if addr != SIGSET => return fail(Errno::EINVAL),
        PTRACE_GETSIGMASK => {
            let mask = {
                let signals = tracee.signals.lock();
                signals.saved_mask.unwrap_or(signals.mask.get())
            };
            call.put(data, &mask)?;
        }
        PTRACE_SETSIGMASK => {
            let mask = call.get::<u64>(data)? & !UNMASKABLE;
            let mut signals = tracee.signals.lock();
            signals.saved_mask = None;
            signals.mask.set(mask);
        }
        PTRACE_GET_SYSCALL_INFO => return syscall_info(call, &halted, addr, data),
        _ => return fail(Errno::EIO),
    }
    Ok(0.into())
}

fn trace_me(call: &Call<'_>) -> Op<Ret> {
    let group = &call.task.group;
    let parent = {
        let links = group.links.lock();
        links.parent_task.upgrade().or_else(|| links.parent.upgrade().and_then(|parent| parent.any_task()))
    };
    // Without one, it is traced by nobody.
    if let Some(parent) = parent.filter(|parent| !parent.has_ended()) {
        parent.attach(call.task, Attach::Wish)?;
    }
    Ok(0.into())
}

/// PTRACE_O_*. EINVAL: unknown ones.
fn options(data: u64) -> Result<u32, Errno> {
    let options = u32::try_from(data).map_err(|_| Errno::EINVAL)?;
    if options & !PTRACE_O_MASK != 0 || options & REFUSED != 0 { Err(Errno::EINVAL) } else { Ok(options) }
}

/// `data` is a signal. EIO: there is none with that number.
fn go_on(call: &Call<'_>, request: u32, halted: Halted, data: u64) -> Op<Ret> {
    let sig = i32::try_from(data).ok().filter(|sig| (0..=64).contains(sig)).ok_or(Errno::EIO)?;
    let how = match request {
        PTRACE_DETACH => {
            halted.detach(sig, call.task)?;
            return Ok(0.into());
        }
        PTRACE_SYSCALL => Resume::Syscall,
        PTRACE_SINGLESTEP => Resume::Step,
        PTRACE_LISTEN => Resume::Listen,
        _ => Resume::Cont,
    };
    halted.resume(how, sig, call.task)?;
    Ok(0.into())
}

/// struct ptrace_syscall_info; a union follows the head.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct SyscallInfo {
    op: u32,
    arch: u32,
    ip: u64,
    sp: u64,
    words: [u64; 8],
}

/// `size` bytes of the information, whose whole length is the call's value.
fn syscall_info(call: &Call<'_>, halted: &Halted, size: u64, to: u64) -> Op<Ret> {
    let stop = halted.stop()?;
    let regs = stop.regs;
    let of_call =
        [regs.orig_rax, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9, halted.message() & 0xffff_ffff];
    let failed = (-4095..0).contains(&(regs.rax as i64));
    let told = stop.code & 0x80 != 0; // PTRACE_O_TRACESYSGOOD
    let (op, words, len) = match stop.kind {
        StopKind::Entry if told => (PTRACE_SYSCALL_INFO_ENTRY, of_call, 80),
        StopKind::Event(PTRACE_EVENT_SECCOMP) => (PTRACE_SYSCALL_INFO_SECCOMP, of_call, 84),
        StopKind::Exit if told => (PTRACE_SYSCALL_INFO_EXIT, [regs.rax, failed.into(), 0, 0, 0, 0, 0, 0], 33),
        _ => (PTRACE_SYSCALL_INFO_NONE, [0; 8], 24),
    };
    let info = SyscallInfo { op, arch: AUDIT_ARCH_X86_64, ip: regs.rip, sp: regs.rsp, words };
    let part = info.as_bytes().get(..len.min(size as usize)).unwrap_or_default();
    call.put(to, part)?;
    Ok(len.into())
}
