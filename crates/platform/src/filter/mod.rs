//! The seccomp filter of guest code: the boundary between a guest and the host.
//!
//! Guest code may jump into the stub with any registers, so what the stub may call is safe with arbitrary arguments. The tables here are the ones printed in
//! docs/platform.md. Neighbours: `zygote` (installs it), `host::seccomp::bpf`. Owns no locks.

mod arena;

use host::seccomp::bpf::{
    ALLOW, ARCH, ARCH_X86_64, IP_HIGH, IP_LOW, KILL, NOTIFY, NR, TRACE, TRAP, above, and, any_bit, arg, at_least,
    equal, errno, load, ret,
};
use libc::sock_filter;

use crate::layout::{CLOCKS, DOORBELL, TEXT, TRAMPOLINES};
use crate::region::Region;

const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;
const CLOCK_GETTIME: u32 = 228;
const SCHED_YIELD: u32 = 24;

/// What the stub's own text may call, and why that is harmless in a guest's hands.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Any,
    /// With a listener: the kernel process answers. Without one it is no call of the stub's.
    Doorbell,
    /// With a listener: the kernel process answers. Without one: a tracer.
    Granted,
    /// Without a listener only: the words that are named here, which argument and what it must be; the others are free.
    Unheard(&'static [(u32, u32)]),
    Mmap,
    Futex,
    /// The n-th argument (low half) is one of these.
    OneOf(u32, &'static [u32]),
}

pub(crate) const STUB: &[(u32, &str, Rule, &str)] = &[
    (DOORBELL as u32, "getpgrp", Rule::Doorbell, "the doorbell"),
    (15, "rt_sigreturn", Rule::Any, "leaves the handler; the host checks the frame"),
    (17, "pread64", Rule::Any, "own descriptors: files that the guest may read"),
    (202, "futex", Rule::Futex, "parking, robust lists; without the PI operations, which take host thread ids"),
    (9, "mmap", Rule::Mmap, "own memory only; no huge or locked pages, no growing mappings, no unknown flags"),
    (11, "munmap", Rule::Any, "own memory only"),
    (10, "mprotect", Rule::Any, "own memory only"),
    (25, "mremap", Rule::Any, "own memory only"),
    (
        28,
        "madvise",
        Rule::OneOf(2, &[0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 20, 22, 23]),
        "advice about own memory; not MERGEABLE, REMOVE, HWPOISON, COLLAPSE, PAGEOUT",
    ),
    (462, "mseal", Rule::Any, "own memory only"),
    (26, "msync", Rule::Any, "own mappings"),
    (27, "mincore", Rule::Any, "own mappings"),
    (324, "membarrier", Rule::OneOf(0, &[0, 8, 16, 32, 64]), "within the process only: no interruption of other cores"),
    (158, "arch_prctl", Rule::OneOf(0, &[0x1001, 0x1002, 0x1003, 0x1004, 0x1022, 0x1023]), "fs, gs, AMX permission"),
    (218, "set_tid_address", Rule::Any, "a word of own memory, cleared at the thread's end"),
    (131, "sigaltstack", Rule::Any, "own signal stack"),
    (3, "close", Rule::Any, "own descriptors: those that were handed over"),
    (436, "close_range", Rule::OneOf(2, &[0]), "likewise"),
    (228, "clock_gettime", Rule::Any, "reads clocks"),
    (24, "sched_yield", Rule::Any, "no argument"),
    (56, "clone", Rule::Granted, "under a grant, with exactly the expected arguments"),
    (60, "exit", Rule::Any, "ends the own thread"),
    (231, "exit_group", Rule::Any, "ends the own process"),
    (44, "sendto", Rule::Unheard(&[(3, 0x4000), (4, 0), (5, 0)]), "the doorbell; no address, no descriptors"),
    (47, "recvmsg", Rule::Unheard(&[(2, 0x4000_0000)]), "takes what was handed over"),
    (53, "socketpair", Rule::Unheard(&[(0, 1), (1, 0x8_0005), (2, 0)]), "AF_UNIX, SOCK_SEQPACKET: its own two ends"),
];

/// Flags of mmap that are let through: SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE, POPULATE, NONBLOCK, STACK, FIXED_NOREPLACE.
const MMAP_FLAGS: u32 = 0x13_c033;

/// Calls of guest code that come by SIGSYS, because their answers need the registers or the stub's hands.
pub(crate) const TRAPPED: &[(u32, &str)] = &[
    (9, "mmap"),
    (11, "munmap"),
    (10, "mprotect"),
    (12, "brk"),
    (28, "madvise"),
    (15, "rt_sigreturn"),
    (56, "clone"),
    (57, "fork"),
    (58, "vfork"),
    (59, "execve"),
    (322, "execveat"),
    (60, "exit"),
    (25, "mremap"),
    (26, "msync"),
    (27, "mincore"),
    (30, "shmat"),
    (67, "shmdt"),
    (130, "rt_sigsuspend"),
    (158, "arch_prctl"),
    (200, "tkill"),
    (218, "set_tid_address"),
    (234, "tgkill"),
    (324, "membarrier"),
    (329, "pkey_mprotect"),
    (462, "mseal"),
];

/// Calls of guest code that fail at once: what guest libraries must not get, and what has no meaning here.
pub(crate) const REFUSED: &[(u32, &str)] = &[(435, "clone3"), (334, "rseq")];

/// Calls by which guest code waits in the host's futexes without a word to the kernel process, and those that go with them. Their timeouts are absolute, so the host restarts them; all words are
/// the guest's own memory.
const FUTEX2: &[(u32, &str)] =
    &[(449, "futex_waitv"), (454, "futex_wake"), (455, "futex_wait"), (456, "futex_requeue")];

/// Whether this call is one of the futex waits.
pub(crate) fn is_wait(nr: u32, args: [u64; 6]) -> bool {
    matches!(nr, 449 | 455) || nr == 202 && matches!(args[1] & 0x7f, 0 | 9)
}

/// Whether this call of guest code waits in a host futex and is told to nobody.
pub(crate) fn waits(nr: u32, args: [u64; 6]) -> bool {
    is_wait(nr, args) && (nr != 202 || args[3] == 0)
}

/// futex(2) of guest code on the loaded number: as `futex`, but waits with a timeout go to the kernel process, which knows how they go on after a signal. 14 instructions.
fn guest_futex(other: u32) -> [sock_filter; 14] {
    [
        load(arg(1)),
        and(0x7f),
        equal(0, 5, 0), // WAIT
        equal(9, 4, 0), // WAIT_BITSET
        above(10, 8, 0),
        equal(6, 7, 0),
        equal(7, 6, 0),
        equal(8, 5, 4),
        load(arg(3)),
        equal(0, 0, 3),
        load(arg(3) + 4),
        equal(0, 0, 1),
        ret(ALLOW),
        ret(other),
    ]
}

/// Calls of guest code that tell it nothing about others and change nothing: made by the host.
fn local(other: u32) -> Vec<sock_filter> {
    let mut clock = vec![load(arg(0))];
    for (i, id) in CLOCKS.into_iter().enumerate() {
        clock.push(equal(id, (CLOCKS.len() - i) as u8, 0));
    }
    clock.extend([ret(other), ret(ALLOW)]);
    let mut code = vec![equal(CLOCK_GETTIME, 0, clock.len() as u8)];
    code.extend(clock);
    code.extend([equal(SCHED_YIELD, 0, 1), ret(ALLOW)]);
    code
}

/// futex operations 0 to 5, 9 and 10 of the stub (and, with `otherwise`, the others) on the loaded number; 8 instructions.
fn futex(otherwise: u32) -> [sock_filter; 8] {
    [
        load(arg(1)),
        and(0x7f),
        above(10, 4, 0),
        equal(6, 3, 0),
        equal(7, 2, 0),
        equal(8, 1, 0),
        ret(ALLOW),
        ret(otherwise),
    ]
}

/// arch_prctl of guest code on the loaded number: it sets its fs base by itself, as it can by an instruction where the processor has that.
fn thread_pointer() -> [sock_filter; 5] {
    const SET_FS: u32 = 0x1002;
    [equal(158, 0, 4), load(arg(0)), equal(SET_FS, 0, 1), ret(ALLOW), ret(TRAP)]
}

/// brk of guest code on the loaded number: a question for the break changes nothing, so it needs no signal.
fn break_query() -> [sock_filter; 7] {
    [equal(12, 0, 6), load(arg(0)), equal(0, 0, 3), load(arg(0) + 4), equal(0, 0, 1), ret(NOTIFY), ret(TRAP)]
}

fn stub_rules(listener: bool) -> Vec<sock_filter> {
    let mut code = vec![load(NR)];
    for &(nr, _, rule, _) in STUB {
        let body: Vec<sock_filter> = match rule {
            Rule::Any => vec![ret(ALLOW)],
            Rule::Doorbell if !listener => continue,
            Rule::Doorbell => vec![ret(NOTIFY)],
            Rule::Granted => vec![ret(if listener { NOTIFY } else { TRACE })],
            Rule::Unheard(_) if listener => continue,
            Rule::Unheard(words) => {
                let mut body = Vec::new();
                for (i, &(n, value)) in words.iter().enumerate() {
                    let out = ((words.len() - i) * 4 - 3) as u8;
                    body.extend([load(arg(n)), equal(value, 0, out + 2), load(arg(n) + 4), equal(0, 0, out)]);
                }
                body.extend([ret(ALLOW), ret(KILL)]);
                body
            }
            Rule::Mmap => vec![load(arg(3)), any_bit(!MMAP_FLAGS, 0, 1), ret(KILL), ret(ALLOW)],
            Rule::Futex => futex(KILL).into(),
            Rule::OneOf(n, values) => {
                let mut body = vec![load(arg(n))];
                for (i, &v) in values.iter().enumerate() {
                    body.push(equal(v, (values.len() - i) as u8, 0));
                }
                body.extend([ret(KILL), ret(ALLOW)]);
                body
            }
        };
        code.push(equal(nr, 0, body.len() as u8));
        code.extend(body);
    }
    code.push(ret(KILL));
    code
}

/// What the filter leaves to whom.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// There is a listener.
    pub listener: bool,
    /// No direct notification.
    pub force_trap: bool,
    /// Guest code reads clocks by itself.
    pub local: bool,
}

/// The whole filter.
pub(crate) fn program(region: &Region, Ways { listener, force_trap, local: with_local }: Ways) -> Vec<sock_filter> {
    let text = region.base + TEXT;
    // Another architecture (int 0x80) traps: the stub's handler makes a SIGSEGV of it, as on a host without 32-bit calls.
    let mut code =
        vec![load(ARCH), equal(ARCH_X86_64, 1, 0), ret(TRAP), load(NR), at_least(X32_BIT, 0, 1), ret(errno(ENOSYS))];
    let stub = stub_rules(listener);
    let n = stub.len() as u8;
    code.extend([
        load(IP_HIGH),
        equal((text >> 32) as u32, 0, n + 3),
        load(IP_LOW),
        at_least(text as u32, 0, n + 1),
        at_least((text + TRAMPOLINES) as u32, n, 0),
    ]);
    code.extend(stub);
    // Guest code.
    let other = if force_trap { TRAP } else { NOTIFY };
    code.extend([load(NR), equal(202, 0, 14)]);
    code.extend(guest_futex(other));
    for &(nr, _) in FUTEX2 {
        code.extend([equal(nr, 0, 1), ret(ALLOW)]);
    }
    if with_local {
        code.extend(local(other));
        code.extend(thread_pointer());
    }
    if !force_trap {
        code.extend(break_query());
    }
    code.extend(arena::rules(&region.arena));
    for &(nr, _) in REFUSED {
        code.extend([equal(nr, 0, 1), ret(errno(ENOSYS))]);
    }
    if !force_trap {
        for (i, &(nr, _)) in TRAPPED.iter().enumerate() {
            code.push(equal(nr, (TRAPPED.len() - i) as u8, 0));
        }
    }
    code.extend([ret(other), ret(TRAP)]);
    code
}

#[cfg(test)]
#[path = "tests.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
