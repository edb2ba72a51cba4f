//! A halted tracee's registers: struct user, NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE. ptrace(2), core(5).
//!
//! Neighbours: `super` (the requests). Owns no locks.

use abi::Errno;
use abi::user::UserRegs;
use kernel::task::ptrace::Halted;
use kernel::{Call, Op, fail};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of FXSAVE's area.
pub const LEGACY: usize = 512;
/// Where that has room for software: there the host's frame says how long the state is, and a tracer finds the state's components.
const SOFTWARE: std::ops::Range<usize> = 464..512;
const COMPONENTS: std::ops::Range<usize> = 472..480;

const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;

/// Length of struct user, and where its debug registers are.
const USER: u64 = 912;
const DEBUG: std::ops::Range<u64> = 848..912;
/// Beyond it an address is none of a program's.
const TOP: u64 = 0x7fff_ffff_f000;

macro_rules! copy {
    ($from:expr, $to:ident) => {{
        let from = $from;
        $to {
            r15: from.r15,
            r14: from.r14,
            r13: from.r13,
            r12: from.r12,
            rbp: from.rbp,
            rbx: from.rbx,
            r11: from.r11,
            r10: from.r10,
            r9: from.r9,
            r8: from.r8,
            rax: from.rax,
            rcx: from.rcx,
            rdx: from.rdx,
            rsi: from.rsi,
            rdi: from.rdi,
            orig_rax: from.orig_rax,
            rip: from.rip,
            cs: from.cs,
            eflags: from.eflags,
            rsp: from.rsp,
            ss: from.ss,
            fs_base: from.fs_base,
            gs_base: from.gs_base,
            ds: from.ds,
            es: from.es,
            fs: from.fs,
            gs: from.gs,
        }
    }};
}

pub fn general(halted: &Halted) -> Result<UserRegs, Errno> {
    Ok(copy!(halted.stop()?.regs, UserRegs))
}

/// Segments stay as they are. EIO: a base that is no address of a program's.
pub fn set_general(halted: &Halted, new: UserRegs) -> Result<(), Errno> {
    use platform::Registers;
    if new.fs_base >= TOP || new.gs_base >= TOP {
        return Err(Errno::EIO);
    }
    let old = halted.stop()?.regs;
    let mut regs = copy!(new, Registers);
    (regs.cs, regs.ss, regs.ds, regs.es, regs.fs, regs.gs) = (old.cs, old.ss, old.ds, old.es, old.fs, old.gs);
    halted.set_regs(regs)
}

/// A word of struct user.
pub fn peek_user(halted: &Halted, at: u64) -> Result<u64, Errno> {
    if !at.is_multiple_of(8) || at >= USER {
        return Err(Errno::EIO);
    }
    let regs = general(halted)?;
    let word = regs.as_bytes().get(at as usize..).and_then(|rest| rest.first_chunk());
    Ok(word.map_or(0, |word| u64::from_le_bytes(*word)))
}

/// Debug registers can only be cleared.
pub fn poke_user(halted: &Halted, at: u64, value: u64) -> Result<(), Errno> {
    if !at.is_multiple_of(8) || at >= USER {
        return Err(Errno::EIO);
    }
    let mut regs = general(halted)?;
    match regs.as_mut_bytes().get_mut(at as usize..).and_then(|rest| rest.first_chunk_mut()) {
        Some(word) => *word = value.to_le_bytes(),
        None if value == 0 && DEBUG.contains(&at) => return Ok(()),
        None => return Err(Errno::EIO),
    }
    set_general(halted, regs)
}

/// The FPU's state as the processor stores it (XSAVE, not compacted).
fn xsave(halted: &Halted) -> Result<Vec<u8>, Errno> {
    let mut state = halted.thread.fpu().ok_or(Errno::EIO)?;
    let components: [u8; 8] = state.get(COMPONENTS).and_then(|c| c.try_into().ok()).unwrap_or_default();
    if let Some(software) = state.get_mut(SOFTWARE) {
        software.fill(0);
        for (to, from) in software.iter_mut().zip(components) {
            *to = from;
        }
    }
    Ok(state)
}

pub fn fxsave(halted: &Halted) -> Result<Vec<u8>, Errno> {
    let mut state = xsave(halted)?;
    state.truncate(LEGACY);
    if let Some(software) = state.get_mut(SOFTWARE) {
        software.fill(0);
    }
    Ok(state)
}

/// The first bytes of the state, without what the host's frame has among them.
pub fn set_fpu(halted: &Halted, new: &[u8]) -> Result<(), Errno> {
    let mut state = halted.thread.fpu().ok_or(Errno::EIO)?;
    for (at, (to, from)) in state.iter_mut().zip(new).enumerate() {
        if !SOFTWARE.contains(&at) {
            *to = *from;
        }
    }
    halted.thread.set_fpu(&state)
}

/// struct iovec. EINVAL: no whole words.
fn buffer(call: &Call<'_>, at: u64) -> Op<[u64; 2]> {
    let buffer: [u64; 2] = call.get(at)?;
    if buffer[1].is_multiple_of(8) { Ok(buffer) } else { fail(Errno::EINVAL) }
}

/// PTRACE_GETREGSET: as much as the buffer takes, whose length is set.
pub fn get_set(call: &Call<'_>, halted: &Halted, kind: u64, at: u64) -> Op<()> {
    let [base, len] = buffer(call, at)?;
    let whole = match kind {
        NT_PRSTATUS => general(halted)?.as_bytes().to_vec(),
        NT_PRFPREG => fxsave(halted)?,
        NT_X86_XSTATE => xsave(halted)?,
        _ => return fail(Errno::EINVAL),
    };
    let part = whole.get(..whole.len().min(len as usize)).unwrap_or_default();
    call.put(base, part)?;
    call.put(at, &[base, part.len() as u64])
}

/// PTRACE_SETREGSET.
pub fn put_set(call: &Call<'_>, halted: &Halted, kind: u64, at: u64) -> Op<()> {
    let [base, len] = buffer(call, at)?;
    let bytes = |most: usize| call.get_vec::<u8>(base, most.min(len as usize));
    match kind {
        NT_PRSTATUS => {
            let mut regs = general(halted)?;
            let new = bytes(size_of::<UserRegs>())?;
            for (to, from) in regs.as_mut_bytes().iter_mut().zip(new) {
                *to = from;
            }
            set_general(halted, UserRegs::read_from_bytes(regs.as_bytes()).map_err(|_| Errno::EIO)?)?;
        }
        NT_PRFPREG => set_fpu(halted, &bytes(LEGACY)?)?,
        NT_X86_XSTATE => set_fpu(halted, &bytes(halted.thread.fpu().ok_or(Errno::EIO)?.len())?)?,
        _ => return fail(Errno::EINVAL),
    }
    Ok(())
}
