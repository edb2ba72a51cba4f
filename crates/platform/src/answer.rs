//! What can be asked of a stub thread: scripts of host calls, forks, signal frames, registers.
//!
//! Plain data; `thread` takes it and `mailbox` writes it down for the stub. Owns no locks.

use crate::unborn::Unborn;

/// Operations that the stub performs one after another; the first that fails (and may not) ends the script with [`crate::Event::Done`].
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub ops: Vec<Op>,
    pub then: Then,
}

/// What follows the last operation of a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// The guest's call returns this value.
    Return(i64),
    /// The guest's call returns the value of the last operation.
    ReturnLast,
    /// The thread waits again: [`crate::Event::Done`].
    Report,
    /// A new program: all registers zero, FPU state initial, nothing else changed.
    Start { ip: u64, sp: u64 },
    /// On with the registers as they are.
    #[default]
    Resume,
}

/// One operation of a script.
#[derive(Clone, Debug)]
pub enum Op {
    /// A host call. The filter allows a stub only: mmap, munmap, mprotect, mremap, madvise, msync, mincore, membarrier, futex without PI, set_tid_address,
    /// arch_prctl, close; see docs/platform.md for the arguments. With `may_fail` an error does not end the script.
    Call {
        nr: u32,
        args: [Arg; 6],
        may_fail: bool,
    },
    /// Clears guest memory.
    Zero {
        addr: u64,
        len: u64,
    },
    /// Writes guest memory, through the data window.
    Copy {
        addr: u64,
        bytes: Vec<u8>,
    },
    SetFs(u64),
    SetGs(u64),
    /// Compares and swaps a 32-bit word of guest memory; when it swapped and `wake` is not 0, up to `wake` waiters of its (private and shared) futex are
    /// woken. The operation's value is the word as it was; it fails with EFAULT.
    Cas32 {
        addr: u64,
        old: u32,
        new: u32,
        wake: i32,
    },
}

/// An argument of a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    Val(u64),
    /// A file handed over by [`crate::Thread::attach`], by what that returned.
    Fd(u32),
}

impl Op {
    /// A host call without files that must not fail.
    pub fn call(nr: u32, args: [u64; 6]) -> Op {
        Op::Call { nr, args: args.map(Arg::Val), may_fail: false }
    }
}

/// A copy of the process, made by the thread that is answered. Addresses of 0 mean "not asked for".
pub struct ForkSpec {
    pub child: Unborn,
    /// The child's stack pointer; 0: the parent's.
    pub stack: u64,
    pub tls: Option<u64>,
    /// Word that the host clears and wakes when the child's thread ends.
    pub clear_tid: u64,
    /// Address in the child and value.
    pub set_tid: Option<(u64, u32)>,
    /// Address in the parent and value.
    pub parent_tid: Option<(u64, u32)>,
}

/// A new thread in the same address space. It starts with the registers of the one that is answered, result 0.
pub struct SpawnSpec {
    pub child: Unborn,
    pub stack: u64,
    pub tls: Option<u64>,
    pub clear_tid: u64,
    /// At most two words (CLONE_PARENT_SETTID, CLONE_CHILD_SETTID) to write before it starts.
    pub set_tid: Vec<(u64, u32)>,
}

/// A wait in a guest's futex, futex(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FutexWait {
    pub addr: u64,
    /// FUTEX_WAIT_BITSET with the flags PRIVATE and CLOCK_REALTIME as they are wanted.
    pub op: u32,
    pub value: u32,
    /// Absolute, in seconds and nanoseconds.
    pub until: Option<(i64, i64)>,
    pub bits: u32,
}

/// A signal frame as sigreturn(2) and the ABI define it.
#[derive(Clone, Debug)]
pub struct SignalFrame {
    pub sig: u32,
    /// siginfo_t as the guest shall see it.
    pub info: [u8; 128],
    pub handler: u64,
    pub restorer: u64,
    /// The mask to restore after the handler: uc_sigmask.
    pub mask: u64,
    /// uc_stack: address, flags, size.
    pub altstack: (u64, u32, u64),
    /// Top of the alternate stack if the handler runs there; else it runs below the guest's stack pointer and red zone.
    pub on_stack: Option<u64>,
    /// Result of the interrupted call.
    pub rax: Option<i64>,
    /// The call is made again after the handler: rax is `nr` and ip goes back by two.
    pub restart: bool,
    pub nr: u32,
    /// The interrupted call's ip is at its instruction, not behind it: see [`crate::Thread::host_wait`].
    pub at_call: bool,
}

/// General registers, in the order of user_regs_struct (ptrace(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}
