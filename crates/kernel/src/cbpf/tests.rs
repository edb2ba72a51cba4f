//! Which programs are accepted, and what they answer.
#![allow(clippy::unwrap_used)]

use super::*;

fn insn(code: u16, k: u32) -> SockFilter {
    SockFilter { code, k, ..SockFilter::default() }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter { code: BPF_JMP | code, jt, jf, k }
}

fn result(insns: &[SockFilter]) -> u32 {
    let data = SeccompData { nr: 7, arch: 9, instruction_pointer: 0x1_0000_0002, args: [3 << 32 | 4, 0, 0, 0, 0, 5] };
    Program::check(insns.to_vec(), Sees::Call).unwrap().run(&data)
}

#[test]
fn data_is_read_word_by_word() {
    for (at, word) in [(0, 7), (4, 9), (8, 2), (12, 1), (16, 4), (20, 3), (56, 5), (60, 0)] {
        assert_eq!(result(&[insn(BPF_LD | BPF_ABS, at), insn(BPF_RET | BPF_A, 0)]), word);
    }
    let refused = |at| Program::check(vec![insn(BPF_LD | BPF_ABS, at), insn(BPF_RET, 0)], Sees::Call).is_err();
    assert!([1, 2, 64, 68, u32::MAX].into_iter().all(refused));
}

#[test]
fn it_calculates_as_a_processor_of_32_bits() {
    let of = |operation: u16, a: u32, b: u32| {
        let by_k = [insn(BPF_LD, a), insn(BPF_ALU | operation, b), insn(BPF_RET | BPF_A, 0)];
        let by_x = [
            insn(BPF_LD, b),
            insn(BPF_MISC | BPF_TAX, 0),
            insn(BPF_LD, a),
            insn(BPF_ALU | operation | BPF_X, 0),
            insn(BPF_RET | BPF_A, 0),
        ];
        assert_eq!(result(&by_k), result(&by_x));
        result(&by_k)
    };
    assert_eq!((of(BPF_ADD, u32::MAX, 2), of(BPF_SUB, 1, 2), of(BPF_MUL, 1 << 31, 2)), (1, u32::MAX, 0));
    assert_eq!((of(BPF_DIV, 7, 2), of(BPF_OR, 5, 2), of(BPF_AND, 7, 5), of(BPF_XOR, 7, 5)), (3, 7, 5, 2));
    assert_eq!((of(BPF_LSH, 1, 31), of(BPF_RSH, 1 << 31, 31)), (1 << 31, 1));
    assert_eq!(result(&[insn(BPF_LD, 1), insn(BPF_ALU | BPF_NEG, 0), insn(BPF_RET | BPF_A, 0)]), u32::MAX);
    // X is 0: the program ends.
    assert_eq!(result(&[insn(BPF_LD, 1), insn(BPF_ALU | BPF_DIV | BPF_X, 0), insn(BPF_RET, 1)]), 0);
}

#[test]
fn conditions_and_scratch_memory() {
    for (condition, with, holds) in
        [(BPF_JEQ, 7, true), (BPF_JGT, 7, false), (BPF_JGE, 7, true), (BPF_JSET, 8, false), (BPF_JSET, 1, true)]
    {
        let program = [insn(BPF_LD | BPF_ABS, 0), jump(condition, with, 0, 1), insn(BPF_RET, 1), insn(BPF_RET, 2)];
        assert_eq!(result(&program), if holds { 1 } else { 2 });
    }
    let swap = [
        insn(BPF_LD, 1),
        insn(BPF_ST, 15),
        insn(BPF_LDX | BPF_LEN, 0),
        insn(BPF_STX, 0),
        insn(BPF_LDX | BPF_MEM, 15),
        insn(BPF_LD | BPF_MEM, 0),
        insn(BPF_ALU | BPF_ADD | BPF_X, 0),
        insn(BPF_RET | BPF_A, 0),
    ];
    assert_eq!(result(&swap), 65);
}

#[test]
fn what_is_no_filter_is_refused() {
    let end = insn(BPF_RET, 0);
    let bad: &[&[SockFilter]] = &[
        &[],
        &[insn(BPF_LD, 0)],
        &[jump(BPF_JA, 1, 0, 0), end],
        &[jump(BPF_JA, u32::MAX, 0, 0), end],
        &[jump(BPF_JEQ, 0, 0, 1), end],
        &[insn(BPF_ALU | BPF_DIV, 0), end],
        &[insn(BPF_ALU | BPF_LSH, 32), end],
        &[insn(BPF_ALU | 0x90, 1), end], // modulo
        &[insn(BPF_LD | 0x40, 0), end],  // indirect
        &[insn(BPF_LD | 0x28, 0), end],  // half a word
        &[insn(BPF_ST, 16), end],
        &[insn(BPF_LD | BPF_MEM, 0), end],
        &[insn(BPF_RET | BPF_X, 0)],
        &[insn(0x100, 0), end],
        // Written on one way only.
        &[jump(BPF_JEQ, 0, 0, 1), insn(BPF_ST, 3), insn(BPF_LD | BPF_MEM, 3), end],
    ];
    for insns in bad {
        assert!(Program::check(insns.to_vec(), Sees::Call).is_err(), "{insns:?}");
    }
    assert!(Program::check(vec![end; BPF_MAXINSNS + 1], Sees::Call).is_err());
    assert!(Program::check(vec![end; BPF_MAXINSNS], Sees::Call).is_ok());
}

proptest::proptest! {
    /// Whatever is accepted ends, with an answer.
    #[test]
    fn accepted_programs_end(words in proptest::collection::vec((0u16..0x100, 0u8..4, 0u8..4, 0u32..70), 1..40)) {
        let mut insns: Vec<_> = words.into_iter().map(|(code, jt, jf, k)| SockFilter { code, jt, jf, k }).collect();
        insns.push(insn(BPF_RET, 0));
        if let Ok(program) = Program::check(insns, Sees::Call) {
            let data = SeccompData::default();
            let answer = program.walk(DATA, |at, _| data.as_bytes().get(at as usize..).map(|_| 1));
            proptest::prop_assert!(answer.is_some());
        }
    }
}

/// What a filter of messages keeps.
fn kept(insns: &[SockFilter], message: &[u8]) -> Option<usize> {
    Program::check(insns.to_vec(), Sees::Message).unwrap().keeps(message)
}

#[test]
fn messages_are_read_in_the_order_of_the_network() {
    let message = [0, 0, 0, 3, 0, 2, 1, 0x45];
    let loads = |load| kept(&[load, insn(BPF_RET | BPF_A, 0)], &message);
    assert_eq!(loads(insn(BPF_LD | BPF_ABS, 0)), Some(3));
    assert_eq!(loads(insn(BPF_LD | BPF_H | BPF_ABS, 4)), Some(2));
    assert_eq!(loads(insn(BPF_LD | BPF_B | BPF_ABS, 6)), Some(1));
    assert_eq!(loads(insn(BPF_LD | BPF_B | BPF_IND, 3)), Some(3));
    assert_eq!(loads(insn(BPF_LD | BPF_LEN, 0)), Some(8));
    // Beyond the end, or before the beginning.
    for at in [5, 8, u32::MAX / 2, SKF_AD_OFF - 1] {
        assert_eq!(loads(insn(BPF_LD | BPF_ABS, at)), None);
    }
    assert_eq!(loads(insn(BPF_LD | BPF_IND, u32::MAX)), None);
    let header = [insn(BPF_LDX | BPF_B | BPF_MSH, 7), insn(BPF_MISC | BPF_TXA, 0), insn(BPF_RET | BPF_A, 0)];
    assert_eq!(kept(&header, &[&message[..], &[0; 20]].concat()), Some(20));
    let rest = [insn(BPF_LD, 7), insn(BPF_ALU | BPF_MOD, 4), insn(BPF_RET | BPF_A, 0)];
    assert_eq!(kept(&rest, &message), Some(3));
    assert_eq!(kept(&[insn(BPF_RET, 0)], &message), None);
    assert_eq!(kept(&[insn(BPF_RET, u32::MAX)], &message), Some(8));
    for bad in [insn(BPF_LD | BPF_ABS, SKF_AD_OFF), insn(BPF_LD | 0x18 | BPF_ABS, 0), insn(BPF_LDX | BPF_MSH, 0)] {
        assert!(Program::check(vec![bad, insn(BPF_RET, 0)], Sees::Message).is_err(), "{bad:?}");
    }
}
