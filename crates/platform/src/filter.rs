//! The seccomp filter of guest code: the boundary between a guest and the host.
//!
//! Guest code may jump into the stub with any registers, so what the stub may call is safe with arbitrary arguments. The tables here are the ones printed in
//! docs/platform.md. Neighbours: `zygote` (installs it), `host::seccomp::bpf`. Owns no locks.

use host::seccomp::bpf::{
    ALLOW, ARCH, ARCH_X86_64, IP_HIGH, IP_LOW, KILL, NOTIFY, NR, TRAP, above, and, any_bit, arg, at_least, equal,
    errno, load, ret,
};
use libc::sock_filter;

use crate::layout::{DOORBELL, TEXT, TEXT_LEN};
use crate::region::{ARENA_UNIT, Region};

const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;

/// What the stub's own text may call, and why that is harmless in a guest's hands.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Any,
    Notify,
    Mmap,
    Futex,
    /// The n-th argument (low half) is one of these.
    OneOf(u32, &'static [u32]),
}

pub(crate) const STUB: &[(u32, &str, Rule, &str)] = &[
    (DOORBELL as u32, "getpgrp", Rule::Notify, "the doorbell"),
    (15, "rt_sigreturn", Rule::Any, "leaves the handler; the host checks the frame"),
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
    (56, "clone", Rule::Notify, "under a grant, with exactly the expected arguments"),
    (60, "exit", Rule::Any, "ends the own thread"),
    (231, "exit_group", Rule::Any, "ends the own process"),
];

/// Flags of mmap that are let through: SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE, POPULATE, NONBLOCK, STACK, FIXED_NOREPLACE.
const MMAP_FLAGS: u32 = 0x13_c033;

/// MAP_PRIVATE | MAP_ANONYMOUS: what guest code may map by itself, in the arena or at the host's choice, which is there.
const PRIVATE_ANONYMOUS: u32 = 0x22;
const FIXED: u32 = 0x10;
/// NORESERVE, POPULATE, NONBLOCK, STACK: flags that are of no account there.
const HARMLESS_FLAGS: u32 = 0x3_c000;
/// MADV_DONTNEED, MADV_FREE: advice that changes no area. Others are for the kernel to know.
const OWN_ADVICE: [u32; 2] = [4, 8];

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

/// A test of a call of guest code: where it fails, the rest of the call's tests is left out.
#[derive(Clone, Copy)]
enum Test {
    /// Half of an argument (see `low` and `high`) is this.
    Is(u32, u32),
    IsNot(u32, u32),
    Below(u32, u32),
    AtLeast(u32, u32),
}

const fn low(n: u32) -> u32 {
    arg(n)
}
const fn high(n: u32) -> u32 {
    arg(n) + 4
}

/// ALLOW if all tests hold; else on with what follows. Up to 127 tests.
fn allow_if(tests: &[Test]) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for (i, test) in tests.iter().enumerate() {
        let out = ((tests.len() - i - 1) * 2 + 1) as u8;
        let (word, jump) = match *test {
            Test::Is(word, k) => (word, equal(k, 0, out)),
            Test::IsNot(word, k) => (word, equal(k, out, 0)),
            Test::Below(word, k) => (word, at_least(k, out, 0)),
            Test::AtLeast(word, k) => (word, at_least(k, 0, out)),
        };
        code.extend([load(word), jump]);
    }
    code.push(ret(ALLOW));
    code
}

/// Guest code's own calls on private anonymous memory in the arena (docs/adr/0006). A range begins in the arena and is shorter than a unit, so what it
/// reaches beyond is the plug behind it. Whatever is mapped there is the guest's own, and no other process' business: as with the stub's text, arbitrary arguments are safe.
fn arena_rules(arena: &std::ops::Range<u64>) -> Vec<sock_filter> {
    if arena.is_empty() {
        return Vec::new();
    }
    let inside = |addr: u32, len: u32| {
        let (from, to) = ((arena.start / ARENA_UNIT) as u32, (arena.end / ARENA_UNIT) as u32);
        [Test::AtLeast(high(addr), from), Test::Below(high(addr), to), Test::Is(high(len), 0)]
    };
    let mut code = Vec::new();
    let mut rule = |nr: u32, body: Vec<sock_filter>| {
        code.extend([equal(nr, 0, body.len() as u8 + 1)]);
        code.extend(body);
        code.push(ret(TRAP));
    };
    let at_hosts_choice = allow_if(&[Test::Is(low(0), 0), Test::Is(high(0), 0), Test::Is(high(1), 0)]);
    let fixed = allow_if(&inside(0, 1));
    let mut map = vec![
        load(low(3)),
        and(!HARMLESS_FLAGS),
        equal(PRIVATE_ANONYMOUS | FIXED, at_hosts_choice.len() as u8 + 2, 0),
        equal(PRIVATE_ANONYMOUS, 0, (at_hosts_choice.len() + fixed.len()) as u8 + 1),
    ];
    map.extend(at_hosts_choice);
    map.push(ret(TRAP));
    map.extend(fixed);
    rule(9, map);
    rule(11, allow_if(&inside(0, 1)));
    // PROT_READ, WRITE and EXEC only.
    let mut protect = inside(0, 1).to_vec();
    protect.extend([Test::Below(low(2), 8), Test::Is(high(2), 0)]);
    rule(10, allow_if(&protect));
    let mut advise = Vec::new();
    for advice in OWN_ADVICE {
        let mut tests = vec![Test::Is(low(2), advice)];
        tests.extend(inside(0, 1));
        advise.extend(allow_if(&tests));
    }
    rule(28, advise);
    // Growing, shrinking, and moving to where the host likes.
    let mut remap = inside(0, 1).to_vec();
    remap.extend([Test::IsNot(low(1), 0), Test::Is(high(2), 0), Test::Below(low(3), 2), Test::Is(high(3), 0)]);
    rule(25, allow_if(&remap));
    code
}

fn stub_rules() -> Vec<sock_filter> {
    let mut code = vec![load(NR)];
    for &(nr, _, rule, _) in STUB {
        let body: Vec<sock_filter> = match rule {
            Rule::Any => vec![ret(ALLOW)],
            Rule::Notify => vec![ret(NOTIFY)],
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

/// The whole filter. `force_trap`: no direct notification.
pub(crate) fn program(region: &Region, force_trap: bool) -> Vec<sock_filter> {
    let text = region.base + TEXT;
    // Another architecture (int 0x80) traps: the stub's handler makes a SIGSEGV of it, as on a host without 32-bit calls.
    let mut code =
        vec![load(ARCH), equal(ARCH_X86_64, 1, 0), ret(TRAP), load(NR), at_least(X32_BIT, 0, 1), ret(errno(ENOSYS))];
    let stub = stub_rules();
    let n = stub.len() as u8;
    code.extend([
        load(IP_HIGH),
        equal((text >> 32) as u32, 0, n + 3),
        load(IP_LOW),
        at_least(text as u32, 0, n + 1),
        at_least((text + TEXT_LEN) as u32, n, 0),
    ]);
    code.extend(stub);
    // Guest code.
    let other = if force_trap { TRAP } else { NOTIFY };
    code.extend([load(NR), equal(202, 0, 14)]);
    code.extend(guest_futex(other));
    for &(nr, _) in FUTEX2 {
        code.extend([equal(nr, 0, 1), ret(ALLOW)]);
    }
    code.extend(arena_rules(&region.arena));
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
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use host::seccomp::bpf::run;

    const BASE: u64 = 0x7ff0_0000_0000;

    const ARENA: std::ops::Range<u64> = 0x7eb0_0000_0000..0x7ef0_0000_0000;

    fn region() -> Region {
        Region { base: BASE, vdso: crate::VdsoInfo::default(), user_top: BASE, arena: ARENA, plug: 0..0 }
    }
    fn from(ip: u64, nr: u32, args: [u64; 6]) -> u32 {
        run(&program(&region(), false), ARCH_X86_64, nr, ip, args).unwrap()
    }
    fn guest(nr: u32, args: [u64; 6]) -> u32 {
        from(0x40_1000, nr, args)
    }
    fn stub(nr: u32, args: [u64; 6]) -> u32 {
        from(BASE + TEXT + 0x100, nr, args)
    }

    #[test]
    fn guest_calls_go_where_they_belong() {
        assert_eq!(guest(110, [0; 6]), NOTIFY);
        assert_eq!(guest(9, [0; 6]), TRAP);
        assert_eq!(guest(462, [0; 6]), TRAP);
        assert_eq!(guest(435, [0; 6]), errno(ENOSYS));
        assert_eq!(guest(202, [0, 128, 0, 0, 0, 0]), ALLOW);
        assert_eq!(guest(202, [0, 6, 0, 0, 0, 0]), NOTIFY);
        for operation in 0..128 {
            let allowed = operation <= 10 && ![6, 7, 8].contains(&operation);
            let wait = [0, 9].contains(&operation);
            for flags in [0, 128, 256, 384] {
                let verdict = |timeout| guest(202, [0, operation | flags, 0, timeout, 0, 0]);
                assert_eq!(verdict(0), if allowed { ALLOW } else { NOTIFY }, "{operation}");
                for timeout in [1, 1 << 32, u64::MAX] {
                    assert_eq!(verdict(timeout), if allowed && !wait { ALLOW } else { NOTIFY }, "{operation}");
                }
            }
        }
        for nr in [449, 454, 455, 456] {
            assert_eq!(guest(nr, [u64::MAX; 6]), ALLOW);
            assert_eq!(stub(nr, [u64::MAX; 6]), KILL);
        }
        assert_eq!(guest(0x4000_0000, [0; 6]), errno(ENOSYS));
        assert_eq!(run(&program(&region(), false), 0x4000_0003, 1, 0x1000, [0; 6]), Some(TRAP));
        assert_eq!(run(&program(&region(), true), ARCH_X86_64, 110, 0x1000, [0; 6]), Some(TRAP));
    }

    #[test]
    fn private_anonymous_memory_is_the_guests_own_business_in_the_arena() {
        let (start, end) = (ARENA.start, ARENA.end);
        let no_fd = u64::from(u32::MAX);
        assert_eq!(guest(9, [0, 0x1000, 3, 0x22, no_fd, 0]), ALLOW);
        assert_eq!(guest(9, [0, 0x1000, 3, 0x2_4022, no_fd, 0]), ALLOW);
        assert_eq!(guest(9, [0, ARENA_UNIT, 3, 0x22, no_fd, 0]), TRAP);
        assert_eq!(guest(9, [start, 0x1000, 3, 0x22, no_fd, 0]), TRAP); // a wish
        for flags in [0x21, 0x02, 0x01, 0x40022, 0x2022, 0x122, 0x62, 0x10_0022, 0x23] {
            assert_eq!(guest(9, [0, 0x1000, 3, flags, no_fd, 0]), TRAP, "{flags:x}");
        }
        for (nr, args) in [(9, [3, 0x32]), (11, [0, 0]), (10, [7, 0]), (28, [4, 0]), (28, [8, 0]), (25, [0x2000, 1])] {
            let call = |addr, len| guest(nr, [addr, len, args[0], args[1], no_fd, 0]);
            assert_eq!(call(start, 0x1000), ALLOW, "{nr}");
            assert_eq!(call(end - 0x1000, ARENA_UNIT - 1), ALLOW, "{nr}");
            assert_eq!(call(start - 0x1000, 0x1000), TRAP, "{nr}");
            assert_eq!(call(end, 0x1000), TRAP, "{nr}");
            assert_eq!(call(start, ARENA_UNIT), TRAP, "{nr}");
            assert_eq!(call(start, u64::MAX), TRAP, "{nr}");
            assert_eq!(call(0x40_0000, 0x1000), TRAP, "{nr}");
        }
        assert_eq!(guest(10, [start, 0x1000, 0x0100_0003, 0, 0, 0]), TRAP); // GROWSDOWN
        for advice in (0..200).filter(|a| ![4, 8].contains(a)) {
            assert_eq!(guest(28, [start, 0x1000, advice, 0, 0, 0]), TRAP, "{advice}");
        }
        assert_eq!(guest(25, [start, 0, 0x1000, 1, 0, 0]), TRAP);
        assert_eq!(guest(25, [start, 0x1000, 0x1000, 3, start, 0]), TRAP);
        assert_eq!(guest(25, [start, 0x1000, ARENA_UNIT, 1, 0, 0]), TRAP);
    }

    #[test]
    fn without_an_arena_all_memory_calls_trap() {
        let program = program(&Region { arena: 0..0, ..region() }, false);
        for nr in [9, 10, 11, 25, 28] {
            assert_eq!(run(&program, ARCH_X86_64, nr, 0x40_1000, [0, 0x1000, 3, 0x22, 0, 0]), Some(TRAP));
        }
    }

    #[test]
    fn only_the_text_is_the_stub() {
        for ip in [BASE + TEXT - 1, BASE + TEXT + TEXT_LEN, BASE - (1 << 32) + TEXT, BASE + (1 << 32) + TEXT] {
            assert_eq!(from(ip, 231, [0; 6]), NOTIFY, "{ip:x}");
        }
        assert_eq!(stub(231, [0; 6]), ALLOW);
    }

    #[test]
    fn the_stub_may_do_little() {
        let listed: Vec<u32> = STUB.iter().map(|r| r.0).collect();
        for nr in 0..600 {
            let verdict = stub(nr, [u64::MAX; 6]);
            if !listed.contains(&nr) {
                assert_eq!(verdict, KILL, "{nr}");
            }
        }
        assert_eq!(stub(56, [0x8011, 0, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(stub(9, [0, 0, 3, 0x32, 0, 0]), ALLOW);
        assert_eq!(stub(9, [0, 0, 3, 0x40032, 0, 0]), KILL); // HUGETLB
        assert_eq!(stub(9, [0, 0, 3, 0x2032, 0, 0]), KILL); // LOCKED
        assert_eq!(stub(9, [0, 0, 3, 0x132, 0, 0]), KILL); // GROWSDOWN
        for advice in 0..200 {
            let allowed = [0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 20, 22, 23].contains(&advice);
            assert_eq!(stub(28, [0, 0, advice, 0, 0, 0]), if allowed { ALLOW } else { KILL }, "{advice}");
        }
        for operation in 0..128 {
            let allowed = operation <= 10 && ![6, 7, 8].contains(&operation);
            for flags in [0, 128, 256, 384] {
                let verdict = stub(202, [0, operation | flags, 0, 0, 0, 0]);
                assert_eq!(verdict, if allowed { ALLOW } else { KILL }, "{operation}");
            }
        }
        assert_eq!(stub(158, [0x1012, 0, 0, 0, 0, 0]), KILL);
        assert_eq!(stub(324, [1, 0, 0, 0, 0, 0]), KILL);
    }
}
