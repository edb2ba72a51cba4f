//! What the kernel process and the stub agree upon: the stub's region, the mailbox, doorbell kinds and operations. Compiled into both (`no_std`).
//!
//! Everything in a mailbox is hostile to the kernel process, and read once. docs/platform.md describes the protocol. Owns no locks.

#![allow(dead_code)] // each side uses its half

use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// The region starts at a multiple of this, so that its text never crosses a 4 GiB line (the filter compares the halves of the instruction pointer apart).
pub const REGION_ALIGN: u64 = 1 << 32;
pub const REGION_LEN: u64 = 0x8000_0000;
/// Host threads that one stub process can have at once.
pub const SLOTS: u64 = 8192;
/// Bytes of one slot, of its private part and of its shared one.
pub const STRIDE: u64 = 0x1_0000;
/// Length of the memory file with the mailboxes: a mailbox page and its data window for each slot.
pub const SHARED_LEN: u64 = SLOTS * STRIDE;
/// Offset in the region of the stub's text. All that a process with few threads needs lies within its first 2 MiB, so that a fork copies one page of page tables for it.
pub const TEXT: u64 = 0;
pub const TEXT_LEN: u64 = 0x1_0000;
/// Offset in the text of the trampolines, whose calls the filter takes for the guest's own. What lies below has the stub's rights.
pub const TRAMPOLINES: u64 = 0xc000;
/// Offset in the region of the table of rewritten call sites: private, copied by fork. The first word of record 0 are the upper bits of the addresses of private pages.
pub const SITES: u64 = TEXT + TEXT_LEN;
pub const SITES_LEN: u64 = 0x2000;
/// Offset of a word behind it: 1 once another block than the first thread's may be mapped.
pub const MANY_BLOCKS: u64 = SITES + SITES_LEN;
/// And of one that is 1 where blocks that are not in use need no mapping that keeps others away. Such a mapping, however empty, makes the end of each process walk through the page tables beside it.
pub const FREE_REST: u64 = MANY_BLOCKS + 8;
/// And of the address of the host's `__vdso_clock_gettime`, or 0.
pub const CLOCK: u64 = FREE_REST + 8;
/// Clocks that the vDSO reads, whose numbers mean the same to everybody: clock_gettime(2) of them is the guest's own.
pub const CLOCKS: [u32; 6] = [0, 1, 4, 5, 6, 7];
/// Slots come in blocks: first the private parts of [`BLOCK_SLOTS`] (a page of state and the signal stack each, found by masking the stack pointer), then their mailboxes. A block is
/// mapped when a thread wants it.
pub const BLOCKS: u64 = SITES + 0x1_0000;
pub const BLOCK_SLOTS: u64 = 16;
pub const BLOCK_LEN: u64 = 2 * SHARED;
/// From a slot's private page to its mailbox.
pub const SHARED: u64 = BLOCK_SLOTS * STRIDE;
/// Records of the table, its head included.
pub const MAX_SITES: usize = 256;
/// Page of pointers to trampolines, by which rewritten sites jump: low enough for an absolute address of 32 bits whose upper half is an invalid instruction (`06 00`). The guest maps nothing below
/// [`LOW`].
pub const POINTERS: u64 = 0x6_0000;
pub const POINTERS_LEN: u64 = 0x1000;
/// The lowest address that a guest may map.
pub const LOW: u64 = 0x7_0000;
/// Bits that are equal in the addresses of all private pages: `gs` base of a thread that may use trampolines.
pub const PRIVATE_SHIFT: u32 = 31;
/// Offset of the signal stack in a private slot, and of the data window in a shared one.
pub const SIGNAL_STACK: u64 = 0x1000;
pub const WINDOW: u64 = 0x1000;
pub const WINDOW_LEN: u64 = STRIDE - WINDOW;

/// Offset in the region of the block with this slot.
pub const fn block(slot: u64) -> u64 {
    BLOCKS + slot / BLOCK_SLOTS * BLOCK_LEN
}

/// Offset in the region of a slot's private page.
pub const fn private(slot: u64) -> u64 {
    block(slot) + slot % BLOCK_SLOTS * STRIDE
}

const _: () = assert!(block(SLOTS) <= REGION_LEN && REGION_LEN == 1 << PRIVATE_SHIFT);

/// getpgrp: it takes no arguments and sleeps nowhere, and every common seccomp profile allows it.
pub const DOORBELL: u64 = 111;
/// SIGURG: it coalesces, and is ignored by default.
pub const KICK_SIGNAL: u64 = 23;

/// Doorbell kinds (rdi). rsi and rdx hold the cookie, r10 and r8 arguments, r9 the sequence number.
pub mod bell {
    /// First doorbell of a forked process: it has no mailbox yet.
    pub const HELLO: u64 = 2;
    /// First doorbell of a new thread.
    pub const THREAD: u64 = 3;
    /// A fresh process holds a frame.
    pub const FRESH: u64 = 4;
    /// A trapped system call.
    pub const CALL: u64 = 5;
    /// Came in by a kick, or after `op::WAIT`: then r8 is 1 and r10 what the host said.
    pub const KICK: u64 = 6;
    /// A fault signal.
    pub const FAULT: u64 = 7;
    /// An operation ended: r10 its value, r8 the index.
    pub const RESULT: u64 = 8;
}

/// Answers, in `Mailbox::op`.
pub mod op {
    pub const RESUME: u32 = 0;
    /// rax = ret, and on.
    pub const RET: u32 = 1;
    /// rax = ret, and ring KICK again without running guest code.
    pub const RET_KICK: u32 = 2;
    /// Perform `ops[..count]`, then `then`.
    pub const SCRIPT: u32 = 3;
    /// arg: cookie, cookie, stack, tls set, tls, clear_tid, set_tid address, value, parent_tid address, value.
    pub const FORK: u32 = 4;
    /// arg: cookie, cookie, stack, tls set, tls, clear_tid, slot, set_tid address, value, second address.
    pub const SPAWN: u32 = 5;
    pub const SIGNAL: u32 = 6;
    /// Take `regs`, and on.
    pub const REGISTERS: u32 = 7;
    /// Wait in a futex on `park`, then do what `op` says.
    pub const PARK: u32 = 8;
    /// Ring KICK again (to have an open notification).
    pub const RING: u32 = 9;
    /// This host thread ends.
    pub const EXIT: u32 = 10;
    /// Wait in a guest's futex by `arg` (address, operation, value, timeout set, seconds, nanoseconds, bits), then ring KICK with the host's answer.
    pub const WAIT: u32 = 11;
    /// Without a listener: receive the files of the script that follows into `fds`, then ring KICK.
    pub const TAKE: u32 = 12;
}

/// What a zygote forks, in `Mailbox::arg[2]`; before it stands the child's cookie.
pub mod order {
    /// A fresh process for a guest.
    pub const FRESH: u64 = 0;
    /// Another zygote.
    pub const ZYGOTE: u64 = 1;
}

/// What follows a script, in `Mailbox::then`.
pub mod then {
    /// rax = ret.
    pub const RETURN: u32 = 0;
    /// rax = value of the last operation.
    pub const RETURN_LAST: u32 = 1;
    pub const REPORT: u32 = 2;
    /// arg[0] = ip, arg[1] = sp.
    pub const START: u32 = 3;
    pub const RESUME: u32 = 4;
}

/// Operations of a script that are no host call.
pub mod pseudo {
    /// (address, length)
    pub const ZERO: u32 = 1000;
    /// (address, offset in the window, length)
    pub const COPY: u32 = 1001;
    /// (address, old, new, waiters to wake)
    pub const CAS32: u32 = 1002;
    pub const SET_FS: u32 = 1003;
    pub const SET_GS: u32 = 1004;
}

/// `Call::flags`: bit n: argument n is an index into `Mailbox::fds`.
pub const MAY_FAIL: u32 = 1 << 8;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Call {
    pub nr: u32,
    pub flags: u32,
    pub args: [u64; 6],
}

pub const MAX_CALLS: usize = 40;
pub const MAX_FDS: usize = 8;

/// Words of `Mailbox::regs`: those of the signal frame's gregs up to eflags, then fs and gs base.
pub const REGS: usize = 20;
pub mod reg {
    pub const R8: usize = 0;
    pub const R9: usize = 1;
    pub const R10: usize = 2;
    pub const R11: usize = 3;
    pub const R12: usize = 4;
    pub const R13: usize = 5;
    pub const R14: usize = 6;
    pub const R15: usize = 7;
    pub const RDI: usize = 8;
    pub const RSI: usize = 9;
    pub const RBP: usize = 10;
    pub const RBX: usize = 11;
    pub const RDX: usize = 12;
    pub const RAX: usize = 13;
    pub const RCX: usize = 14;
    pub const RSP: usize = 15;
    pub const RIP: usize = 16;
    pub const EFLAGS: usize = 17;
    pub const FS_BASE: usize = 18;
    pub const GS_BASE: usize = 19;
}

/// A guest signal frame to build.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    pub handler: u64,
    pub restorer: u64,
    pub mask: u64,
    pub stack: [u64; 3],
    /// Top of the alternate stack, unless the stack pointer is on it already. 0: below the guest's stack pointer and red zone.
    pub on_stack: u64,
    pub set_rax: u64,
    pub rax: u64,
    pub ip_back: u64,
    pub sig: u64,
    pub info: [u64; 16],
}

/// A call site that was rewritten. `mov $nr,%eax; syscall`, the same with a `lea` into rsi in between, and `syscall; cmp $-4095,%rax` are the shapes.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Site {
    /// Behind the call, as the guest sees it.
    pub ip: u64,
    /// Where the trampoline ends: at `ip`, or in the stub's text where the comparison of the second shape is done.
    pub target: u64,
    /// Number of the call; not of the last shape.
    pub nr: u32,
    /// Bytes from the site's start to `ip`: 7, 14 or 2.
    pub back: u16,
    /// To which register the `lea` adds: one of `lea`.
    pub base: u16,
    /// What it adds.
    pub add: u64,
}

impl Site {
    /// It begins with the call's number.
    pub fn is_numbered(&self) -> bool {
        self.back > 2
    }
}

/// Values of `Site::base`.
pub mod lea {
    /// The sum is known.
    pub const NONE: u16 = 0;
    pub const RBX: u16 = 1;
    pub const R9: u16 = 2;
}

/// How a call is handed to a poller. The stub writes `Mailbox::poll`: from the lowest bit on 3 bits of a state, 13 of a number that is another for each call, and what it has given (`Mailbox::given`). The poller
/// takes it there and writes number and state into `Mailbox::answer`. So each of the two cores waits on a cache line that the other one writes, and that line has all that there is to know.
pub mod poll {
    pub const NONE: u32 = 0;
    /// The stub waits for a poller to take its call.
    pub const ASKED: u32 = 1;
    /// Taken: wait on.
    pub const TAKEN: u32 = 3;
    /// In `answer`: `ret` is the call's value.
    pub const ANSWERED: u32 = 4;
    /// In `answer`: the answer takes long or needs the registers: ring KICK.
    pub const RING: u32 = 5;
    /// From one number to the next, and all of its bits.
    pub const STEP: u32 = 8;
    pub const NUMBER: u32 = 0xfff8;
    pub const GIVEN_SHIFT: u32 = 16;

    /// A word's number, with a state.
    pub const fn with(word: u32, state: u32) -> u32 {
        word & NUMBER | state
    }

    pub const fn state(word: u32) -> u32 {
        word % STEP
    }
}

/// Most pieces that one answer copies out of the window.
pub const MAX_OUTS: usize = 16;
/// A small piece lies there if it is the only one; and the arguments of a read, see [`READS`].
pub const SMALL: usize = offset_of!(Mailbox, out) + size_of::<Piece>();
pub const SMALL_LEN: usize = 2 * size_of::<Piece>();
/// In `Mailbox::outs`, in place of a count: the trampoline makes pread64(2) with four words at `SMALL`; if that says what `ret` is, the call is over, else RESULT is rung with what it says.
pub const READS: u32 = 1 << 31;
/// Descriptors of a stub process from this number on are files that it keeps to read them; those below are of scripts.
pub const KEPT: u32 = 16;
pub const MOST_KEPT: usize = 4;

/// In `Mailbox::given`: what the call may write can be written.
pub const TOUCHED: u32 = 0x8000;

/// A piece that the trampoline copies to guest memory after the answer.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Piece {
    pub addr: u64,
    /// From the start of the mailbox: in the window, or in the room of the other pieces, `SMALL`.
    pub offset: u32,
    pub len: u32,
}

/// One slot's page of shared memory.
#[repr(C)]
pub struct Mailbox {
    // A call, from the stub: a cache line.
    pub nr: u32,
    /// A call that waits for the poller: see [`poll`].
    pub poll: AtomicU32,
    pub args: [u64; 6],
    /// Behind the call's instruction, of trapped calls and of those through a trampoline.
    pub ip: u64,
    // Its answer, from the kernel process: another line, with three pieces.
    /// See [`poll`].
    pub answer: AtomicU32,
    /// So many of `out` are valid, or [`READS`]. The stub clears it once that is done.
    pub outs: u32,
    pub ret: u64,
    pub out: [Piece; MAX_OUTS],
    pub unused: [u64; 6],
    /// Of a call through a trampoline: so many bytes that it reads are at the start of the window; and [`TOUCHED`].
    pub given: u32,
    pub unused2: [u32; 15],
    // What changes seldom.
    /// From the kernel process: a poller looks at `poll`.
    pub polled: AtomicU32,
    /// From the kernel process: 1 while `ids` are right.
    pub local: u32,
    /// What getpid, gettid, getuid, getgid, geteuid and getegid answer.
    pub ids: [u32; 6],
    /// From the kernel process: 1 while the trampoline answers rt_sigprocmask.
    pub lent: AtomicU32,
    pub unused3: u32,
    /// The signal mask, then.
    pub mask: AtomicU64,
    /// From the kernel process: for each file that the stub keeps, the guest's descriptor + 1 by which this thread may read it without asking, pread64(2); 0: none.
    pub lends: [AtomicU32; MOST_KEPT],
    /// Signal, code, address, ip, sp, trap number, error code, in the stub.
    pub fault: [u64; 8],
    pub regs: [u64; REGS],
    // From the kernel process.
    pub op: u32,
    pub then: u32,
    pub count: u32,
    pub nfds: u32,
    pub arg: [u64; 10],
    pub fds: [u32; MAX_FDS],
    /// 1: the answer of a parked thread is there.
    pub park: AtomicU32,
    /// 1: more rounds of this script follow, so its files stay open.
    pub more: u32,
    pub frame: Frame,
    pub calls: [Call; MAX_CALLS],
    /// While the mask is lent: the alternate signal stack, as a signal frame has it.
    pub altstack: [u64; 3],
    /// A bit for each signal whose action nobody has set: the trampoline answers rt_sigaction's question for it.
    pub untouched: u64,
    /// From the stub, with exit(2): the thread's CPU time, ns.
    pub cpu: u64,
    /// Address of the head of the thread's robust list, 0 for none: set_robust_list(2). The stub's word for it, while `local`.
    pub robust: u64,
    /// From the stub, by the processor's counter: how long it has waited for the poller altogether.
    pub waited: u64,
    /// From the stub: so many such reads it has made, and how many bytes that were.
    pub reads: [u64; 2],
    /// From the stub: the ucontext that holds the registers which it shows.
    pub context: u64,
    /// Start of a shard: see `seed`.
    pub seed: Seed,
}

/// How the kernel process asks the seed for a shard's zygote. Only the seed's and the zygotes' memory file uses it; no guest ever maps that one.
#[repr(C)]
pub struct Seed {
    /// In the seed's mailbox: bumped for each order.
    pub order: AtomicU32,
    /// Slot of the zygote to make.
    pub slot: u32,
    /// In the zygote's mailbox: the number, + 1, of the listener or of the end of the doorbell's socket.
    pub listener: AtomicU32,
    /// Step at which it failed << 16 | errno.
    pub failed: AtomicU32,
    /// The kernel process has taken the listener.
    pub taken: AtomicU32,
    pub unused: u32,
    pub pid: u64,
    pub cookie: [u64; 2],
    /// Lowest and first address that the zygote keeps besides the region: [vvar] to the end of [vdso].
    pub keep: [u64; 2],
    /// What it takes out of use besides.
    pub plug: [u64; 2],
    /// Blocks that are mapped for it and the zygotes.
    pub blocks: u64,
    /// Instructions of the filter, which lies in the window, and its flags.
    pub filter_len: u64,
    pub filter_flags: u64,
}

const _: () = assert!(size_of::<Mailbox>() <= WINDOW as usize);
const _: () = assert!(
    offset_of!(Mailbox, answer) == 64 && offset_of!(Mailbox, given) == 6 * 64 && offset_of!(Mailbox, polled) == 7 * 64
);

/// Word offsets in the header at the start of the text.
pub mod header {
    pub const MAGIC: usize = 0;
    pub const SEED: usize = 1;
    pub const HANDLER: usize = 2;
    pub const RESTORER: usize = 3;
    /// First trampolines of the two shapes; the others follow every 16 bytes.
    pub const ENTRIES7: usize = 4;
    pub const ENTRIES8: usize = 5;
    /// Ends of the second shape, for a comparison with -4095 and with -4096.
    pub const TAILS: usize = 6;
    /// Behind the trampolines' call.
    pub const CALLED: usize = 8;
    pub const WORDS: usize = 9;
    pub const MAGIC_VALUE: u64 = 0x6275_7473_6b63_7473;
}
