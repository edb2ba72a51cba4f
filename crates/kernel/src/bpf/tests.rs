//! Programs as runc and systemd write them, and such as must be refused.

#![allow(clippy::unwrap_used)]

use super::*;

const fn insn(code: u8, regs: u8, off: i16, imm: i32) -> BpfInsn {
    BpfInsn { code, regs, off, imm }
}
const EXIT: BpfInsn = insn(0x95, 0, 0, 0);
const fn mov(register: u8, imm: i32) -> BpfInsn {
    insn(0xb7, register, 0, imm)
}

fn refusal(insns: &[BpfInsn]) -> (Errno, String) {
    let refused = check::check(insns, 12).unwrap_err();
    (refused.errno, refused.why)
}

#[test]
fn a_list_of_devices_lets_those_through() {
    let program = [
        insn(0x61, 0x12, 0, 0),   // r2 = access_type
        insn(0xbc, 0x23, 0, 0),   // w3 = w2
        insn(0x54, 2, 0, 0xffff), // w2 &= 0xffff
        insn(0x74, 3, 0, 16),     // w3 >>= 16
        insn(0x61, 0x14, 4, 0),   // r4 = major
        insn(0x61, 0x15, 8, 0),   // r5 = minor
        insn(0x55, 2, 5, 2),      // no character device: to the end
        insn(0xbc, 0x31, 0, 0),   // w1 = w3
        insn(0x54, 1, 0, 6),      // w1 &= READ | WRITE
        insn(0x5d, 0x31, 2, 0),   // more is asked for: to the end
        insn(0x16, 4, 3, 1),      // major 1 (32 bits): on
        insn(0x05, 0, 0, 0),      // nothing
        mov(0, 0),
        EXIT,
        insn(0xa5, 5, 2, 9), // minor below 9
        mov(0, 0),
        EXIT,
        mov(0, 1),
        EXIT,
    ];
    check::check(&program, 12).unwrap();
    let ask = |access: u32, kind: u32, major, minor| run::run(&program, [access << 16 | kind, major, minor]);
    assert_eq!(ask(2, 2, 1, 3), 1);
    assert_eq!(ask(6, 2, 1, 8), 1);
    assert_eq!(ask(6, 2, 1, 9), 0);
    assert_eq!(ask(7, 2, 1, 3), 0);
    assert_eq!(ask(2, 1, 1, 3), 0);
    assert_eq!(ask(2, 2, 2, 3), 0);
}

#[test]
fn arithmetic_wraps_and_divides_by_zero() {
    let value = |insns: &[BpfInsn]| {
        let program = [insns, &[EXIT]].concat();
        check::check(&program, 12).unwrap();
        run::run(&program, [0x0102_0304, 7, 9])
    };
    assert_eq!(value(&[mov(0, 5), mov(2, 0), insn(0x3f, 0x20, 0, 0)]), 0);
    assert_eq!(value(&[mov(0, 5), mov(2, 0), insn(0x9f, 0x20, 0, 0)]), 5);
    assert_eq!(value(&[mov(0, -8), insn(0xc7, 0, 0, 1)]), -4i32 as u32);
    assert_eq!(value(&[mov(0, -8), insn(0x77, 0, 0, 60)]), 15);
    assert_eq!(value(&[mov(0, 1), mov(2, 33), insn(0x6c, 0x20, 0, 0)]), 2);
    assert_eq!(value(&[insn(0x18, 0, 0, 1), insn(0, 0, 0, 2), insn(0x77, 0, 0, 32)]), 2);
    assert_eq!(value(&[insn(0x71, 0x10, 1, 0)]), 3);
    assert_eq!(value(&[insn(0x69, 0x10, 2, 0)]), 0x0102);
    assert_eq!(value(&[mov(0, 3), insn(0x87, 0, 0, 0)]), -3i32 as u32);
    // Of 32 bits.
    assert_eq!(value(&[mov(0, -8), insn(0xc4, 0, 0, 1)]), -4i32 as u32);
    assert_eq!(value(&[mov(0, -8), insn(0x74, 0, 0, 28)]), 15);
    assert_eq!(value(&[mov(0, -8), insn(0x34, 0, 0, 2)]), 0x7fff_fffc);
    assert_eq!(value(&[mov(0, -8), insn(0x94, 0, 0, 7)]), 3);
    assert_eq!(value(&[mov(0, 3), insn(0x84, 0, 0, 0)]), -3i32 as u32);
    assert_eq!(value(&[mov(0, 5), mov(2, 0), insn(0x3c, 0x20, 0, 0)]), 0);
    // Signed and unsigned, of 32 and 64 bits.
    let taken = |code: u8, a: i32, b: i32| value(&[mov(2, a), mov(0, 0), insn(code, 2, 1, b), mov(0, 1)]) == 0;
    assert!(taken(0x25, -1, 1) && !taken(0x65, -1, 1));
    assert!(taken(0x26, -1, 1) && !taken(0x66, -1, 1));
    assert!(taken(0xc6, -1, 0) && taken(0xa6, 1, -1) && taken(0x46, 6, 2) && !taken(0x46, 4, 2));
}

#[test]
fn what_could_do_harm_is_refused() {
    assert_eq!(refusal(&[]).0, Errno::E2BIG);
    assert_eq!(refusal(&vec![EXIT; MOST_INSNS + 1]).0, Errno::E2BIG);
    for (program, why) in [
        (&[mov(0, 1)][..], "the program ends without exit"),
        (&[EXIT], "r0 has no value"),
        (&[insn(0xbf, 0x10, 0, 0), EXIT], "r0 is a pointer"),
        (&[mov(0, 1), insn(0x05, 0, -2, 0), EXIT], "a jump back"),
        (&[mov(0, 1), insn(0x05, 0, 9, 0), EXIT], "the program ends without exit"),
        (&[insn(0x61, 0x10, 12, 0), EXIT], "not a field of the context"),
        (&[insn(0x61, 0x10, -4, 0), EXIT], "not a field of the context"),
        (&[insn(0x61, 0x10, 2, 0), EXIT], "not a field of the context"),
        (&[insn(0x69, 0x10, 4, 0), EXIT], "not a field of the context"),
        (&[mov(1, 0), insn(0x61, 0x10, 0, 0), EXIT], "no pointer to the context"),
        (&[insn(0x07, 1, 0, 4), mov(0, 0), EXIT], "r1 is a pointer"),
        (&[insn(0x79, 0x10, 0, 0), EXIT], "a load that is not known"),
        (&[insn(0x63, 0x1a, -4, 0), mov(0, 0), EXIT], "the stack"),
        (&[insn(0x85, 0, 0, 1), EXIT], "no helper functions"),
        (&[mov(10, 0), EXIT], "r10 cannot be written"),
        (&[mov(11, 0), EXIT], "no such register"),
        (&[mov(0, 0), insn(0x37, 0, 0, 0), EXIT], "division by zero"),
        (&[mov(0, 0), insn(0x67, 0, 0, 64), EXIT], "a shift"),
        (&[mov(0, 0), insn(0x64, 0, 0, 32), EXIT], "a shift"),
        (&[insn(0x18, 0x10, 0, 3), insn(0, 0, 0, 0), EXIT], "no maps"),
        (&[insn(0x18, 0, 0, 3)], "no maps"),
        (&[mov(0, 0), insn(0x15, 0, 1, 0), insn(0x18, 0, 0, 3), insn(0, 0, 0, 0), EXIT], "a jump into its middle"),
        // On one way only.
        (&[insn(0x61, 0x12, 0, 0), insn(0x15, 2, 1, 0), mov(0, 1), EXIT], "r0 has no value"),
    ] {
        let (_, text) = refusal(program);
        assert!(text.contains(why), "{text:?} for {program:?}");
    }
}

#[test]
fn other_kinds_know_no_context() {
    let look = vec![insn(0x61, 0x10, 0, 0), EXIT];
    assert!(Program::load(15, look.clone(), [0; 16], 0).is_ok());
    assert!(Program::load(8, look, [0; 16], 0).is_err());
    assert!(Program::load(8, vec![mov(0, 0), EXIT], [0; 16], 0).is_ok());
}

#[test]
fn programs_are_known_by_their_ids() {
    let one = Program::load(15, vec![mov(0, 1), EXIT], [0; 16], 0).unwrap();
    let two = Program::load(15, vec![mov(0, 0), EXIT], [0; 16], 0).unwrap();
    assert!(Arc::ptr_eq(&Program::by_id(one.id).unwrap(), &one));
    assert!(Program::next_id(one.id).unwrap() > one.id);
    let id = two.id;
    drop(two);
    assert_eq!(Program::by_id(id).err(), Some(Errno::ENOENT.into()));
}

proptest::proptest! {
    /// Whatever is let through ends, and any other is refused without harm.
    #[test]
    fn random_programs(words in proptest::collection::vec(proptest::prelude::any::<u64>(), 1..20), known in proptest::collection::vec(0usize..16, 1..40)) {
        const CODES: [u8; 16] = [0xb7, 0x61, 0x55, 0x07, 0x57, 0x95, 0x15, 0x71, 0xbf, 0x37, 0x6c, 0xa6, 0x05, 0x18, 0x00, 0xc7];
        let mut insns = Vec::new();
        for (at, code) in known.iter().enumerate() {
            let word = words[at % words.len()].rotate_left(at as u32);
            insns.push(insn(CODES[*code], (word as u8) & 0x33, (word >> 8) as i16 & 7, (word >> 32) as i32));
        }
        insns.push(mov(0, 1));
        insns.push(EXIT);
        if check::check(&insns, 12).is_ok() {
            run::run(&insns, [1, 2, 3]);
        }
    }
}
