//! Guest code's own calls on private anonymous memory in the arena (docs/adr/0006).
//!
//! Whatever is mapped there is the guest's own, and no other process' business: as with the stub's text, arbitrary arguments are safe. Owns no locks.

use host::seccomp::bpf::{ALLOW, TRAP, and, arg, at_least, equal, load, ret};
use libc::sock_filter;

use crate::region::ARENA_UNIT;

/// MAP_PRIVATE | MAP_ANONYMOUS: what guest code may map by itself, in the arena or at the host's choice, which is there.
const PRIVATE_ANONYMOUS: u32 = 0x22;
const FIXED: u32 = 0x10;
/// NORESERVE, POPULATE, NONBLOCK, STACK: flags that are of no account there.
const HARMLESS_FLAGS: u32 = 0x3_c000;
/// MADV_DONTNEED, MADV_FREE: advice that changes no area. Others are for the kernel to know.
const OWN_ADVICE: [u32; 2] = [4, 8];

/// Tests of the loaded number. A range begins in the arena and is shorter than a unit, so what it reaches beyond is the plug behind it.
pub(super) fn rules(arena: &std::ops::Range<u64>) -> Vec<sock_filter> {
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
