//! The filter against arbitrary arguments.

use super::*;
use crate::region::ARENA_UNIT;
use host::seccomp::bpf::run;

const WAYS: Ways = Ways { listener: true, force_trap: false, local: true };
/// As on a host that allows no listener.
const UNHEARD: Ways = Ways { listener: false, force_trap: true, local: true };

const BASE: u64 = 0x7ff0_0000_0000;

const ARENA: std::ops::Range<u64> = 0x7eb0_0000_0000..0x7ef0_0000_0000;

fn region() -> Region {
    Region { base: BASE, vdso: crate::VdsoInfo::default(), user_top: BASE, arena: ARENA, plug: 0..0 }
}
fn from(ip: u64, nr: u32, args: [u64; 6]) -> u32 {
    run(&program(&region(), WAYS), ARCH_X86_64, nr, ip, args).unwrap()
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
    assert_eq!(guest(12, [0; 6]), NOTIFY);
    assert_eq!(
        run(&program(&region(), Ways { force_trap: true, ..WAYS }), ARCH_X86_64, 12, 0x1000, [0; 6]),
        Some(TRAP)
    );
    for at in [1, 1 << 32, 0x60_0000, u64::MAX] {
        assert_eq!(guest(12, [at, 0, 0, 0, 0, 0]), TRAP, "{at:x}");
    }
    for code in (0x0ff0..0x1100).chain([0, u64::MAX]) {
        let verdict = if code == 0x1002 { ALLOW } else { TRAP };
        assert_eq!(guest(158, [code, u64::MAX, 0, 0, 0, 0]), verdict, "{code:x}");
    }
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
    for clock in 0..16 {
        let expected = if [0, 1, 4, 5, 6, 7].contains(&clock) { ALLOW } else { NOTIFY };
        assert_eq!(guest(228, [clock, 0, 0, 0, 0, 0]), expected, "{clock}");
    }
    assert_eq!(guest(228, [u64::from(u32::MAX), 0, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(guest(24, [0; 6]), ALLOW);
    assert_eq!(run(&program(&region(), Ways { local: false, ..WAYS }), ARCH_X86_64, 228, 0x1000, [0; 6]), Some(NOTIFY));
    assert_eq!(from(BASE + TEXT + TRAMPOLINES, 110, [0; 6]), NOTIFY);
    assert_eq!(from(BASE + TEXT + TRAMPOLINES, 11, [0; 6]), TRAP);
    assert_eq!(from(BASE + TEXT + TRAMPOLINES - 1, 110, [0; 6]), KILL);
    assert_eq!(guest(0x4000_0000, [0; 6]), errno(ENOSYS));
    assert_eq!(run(&program(&region(), WAYS), 0x4000_0003, 1, 0x1000, [0; 6]), Some(TRAP));
    assert_eq!(
        run(&program(&region(), Ways { force_trap: true, ..WAYS }), ARCH_X86_64, 110, 0x1000, [0; 6]),
        Some(TRAP)
    );
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
    let program = program(&Region { arena: 0..0, ..region() }, WAYS);
    for nr in [9, 10, 11, 25, 28] {
        assert_eq!(run(&program, ARCH_X86_64, nr, 0x40_1000, [0, 0x1000, 3, 0x22, 0, 0]), Some(TRAP));
    }
}

#[test]
fn only_the_text_is_the_stub() {
    for ip in [BASE + TEXT - 1, BASE + TEXT + TRAMPOLINES, BASE - (1 << 32) + TEXT, BASE + (1 << 32) + TEXT] {
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

#[test]
fn without_a_listener_nothing_is_notified() {
    let program = program(&region(), UNHEARD);
    let from = |ip: u64, nr: u32, args: [u64; 6]| run(&program, ARCH_X86_64, nr, ip, args).unwrap();
    let stub = |nr: u32, args: [u64; 6]| from(BASE + TEXT + 0x100, nr, args);
    for nr in 0..600 {
        for args in [[0; 6], [u64::MAX; 6], [0x8011, 0, 0, 0, 0, 0]] {
            assert_ne!(from(0x40_1000, nr, args), NOTIFY, "{nr}");
            let verdict = stub(nr, args);
            assert_eq!(verdict == TRACE, nr == 56, "{nr}");
            assert_ne!(verdict, NOTIFY, "{nr}");
        }
    }
    assert_eq!(stub(111, [0; 6]), KILL);
    let unheard = [
        (44, [0, 0x1000, 48, 0x4000, 0, 0], [3, 4, 5].as_slice()),
        (47, [3, 0x1000, 0x4000_0000, 0, 0, 0], &[2]),
        (53, [1, 0x8_0005, 0, 0x1000, 0, 0], &[0, 1, 2]),
    ];
    for (nr, args, fixed) in unheard {
        assert_eq!(stub(nr, args), ALLOW, "{nr}");
        assert_eq!(from(0x40_1000, nr, args), TRAP, "{nr}");
        assert_eq!(from(BASE + TEXT + TRAMPOLINES, nr, args), TRAP, "{nr}");
        assert_eq!(super::tests::stub(nr, args), KILL, "{nr}");
        for n in 0..6 {
            for bit in 0..64 {
                let mut other = args;
                other[n] ^= 1 << bit;
                assert_eq!(stub(nr, other), if fixed.contains(&n) { KILL } else { ALLOW }, "{nr} {n} {bit}");
            }
        }
    }
}
