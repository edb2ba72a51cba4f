//! Classic BPF as seccomp(2) takes it: which programs are safe to run, and running them. Linux' Documentation/networking/filter.rst.
//!
//! Jumps go forward only, so a program ends after as many steps as it has instructions. Owns no locks.

use abi::Errno;
use abi::seccomp::*;
use zerocopy::IntoBytes;

/// Bytes of what a filter sees.
const DATA: u32 = size_of::<SeccompData>() as u32;

/// A program that was checked.
pub struct Program(Box<[SockFilter]>);

/// What an instruction does to the program's flow.
enum Flow {
    Next,
    /// Skips so many.
    Jump(usize),
    Either(usize, usize),
    Return,
}

impl Program {
    /// EINVAL: empty, too long, an instruction that is none for filters, a jump or an end beyond the last one, or scratch memory that is read and may not have been written.
    pub fn check(insns: Vec<SockFilter>) -> Result<Program, Errno> {
        if insns.is_empty() || insns.len() > BPF_MAXINSNS {
            return Err(Errno::EINVAL);
        }
        // By instruction, once it can be reached: which words have been written on every way to it.
        let mut written: Vec<Option<u16>> = vec![None; insns.len()];
        let reach = |at: usize, words: u16, written: &mut Vec<Option<u16>>| -> Result<(), Errno> {
            let place = written.get_mut(at).ok_or(Errno::EINVAL)?;
            *place = Some(place.map_or(words, |known| known & words));
            Ok(())
        };
        reach(0, 0, &mut written)?;
        for (at, insn) in insns.iter().enumerate() {
            let flow = flow(insn).ok_or(Errno::EINVAL)?;
            // What cannot be reached is checked like the rest, as if all had been written.
            let before = written.get(at).copied().flatten().unwrap_or(u16::MAX);
            let word = 1 << (insn.k & (BPF_MEMWORDS - 1));
            let after = match insn.code {
                BPF_ST | BPF_STX => before | word,
                code if (code == BPF_LD | BPF_MEM || code == BPF_LDX | BPF_MEM) && before & word == 0 => {
                    return Err(Errno::EINVAL);
                }
                _ => before,
            };
            match flow {
                Flow::Next => reach(at + 1, after, &mut written)?,
                Flow::Jump(skip) => reach(at + 1 + skip, after, &mut written)?,
                Flow::Either(yes, no) => {
                    reach(at + 1 + yes, after, &mut written)?;
                    reach(at + 1 + no, after, &mut written)?;
                }
                Flow::Return => {}
            }
        }
        Ok(Program(insns.into()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What it says of a call.
    pub fn run(&self, data: &SeccompData) -> u32 {
        let word = |at: u32| {
            let bytes = data.as_bytes().get(at as usize..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        self.walk(word).unwrap_or(SECCOMP_RET_KILL_PROCESS)
    }

    /// What it says of a call whatever its arguments and its address are; None where it looks at these.
    pub fn answer(&self, nr: u32, arch: u32) -> Option<u32> {
        self.walk(|at| match at {
            0 => Some(nr),
            4 => Some(arch),
            _ => None,
        })
    }

    fn walk(&self, word: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0);
        let mut memory = [0u32; BPF_MEMWORDS as usize];
        loop {
            let SockFilter { code, jt, jf, k } = *self.0.get(at)?;
            at += 1;
            let cell = k as usize % memory.len();
            let operand = if code & BPF_X != 0 { x } else { k };
            match code & 7 {
                BPF_LD if code & 0xe0 == BPF_ABS => a = word(k)?,
                BPF_LD => a = load(code, k, &memory),
                BPF_LDX => x = load(code, k, &memory),
                BPF_ST => *memory.get_mut(cell)? = a,
                BPF_STX => *memory.get_mut(cell)? = x,
                BPF_ALU if code & 0xf0 == BPF_DIV && operand == 0 => return Some(0),
                BPF_ALU => a = calculate(code & 0xf0, a, operand),
                BPF_JMP if code & 0xf0 == BPF_JA => at += k as usize,
                BPF_JMP => at += usize::from(if holds(code & 0xf0, a, operand) { jt } else { jf }),
                BPF_RET => return Some(if code & BPF_A != 0 { a } else { k }),
                _ if code & BPF_TXA != 0 => a = x,
                _ => x = a,
            }
        }
    }
}

fn load(code: u16, k: u32, memory: &[u32]) -> u32 {
    match code & 0xe0 {
        BPF_LEN => DATA,
        BPF_MEM => memory.get(k as usize).copied().unwrap_or(0),
        _ => k,
    }
}

fn calculate(operation: u16, a: u32, b: u32) -> u32 {
    match operation {
        BPF_ADD => a.wrapping_add(b),
        BPF_SUB => a.wrapping_sub(b),
        BPF_MUL => a.wrapping_mul(b),
        BPF_DIV => a.checked_div(b).unwrap_or(0),
        BPF_OR => a | b,
        BPF_AND => a & b,
        BPF_XOR => a ^ b,
        BPF_LSH => a.wrapping_shl(b),
        BPF_RSH => a.wrapping_shr(b),
        _ => a.wrapping_neg(),
    }
}

fn holds(condition: u16, a: u32, b: u32) -> bool {
    match condition {
        BPF_JEQ => a == b,
        BPF_JGT => a > b,
        BPF_JGE => a >= b,
        _ => a & b != 0,
    }
}

/// None: no instruction of a filter.
fn flow(insn: &SockFilter) -> Option<Flow> {
    let SockFilter { code, jt, jf, k } = *insn;
    let (operation, by_x) = (code & 0xf0, code & BPF_X != 0);
    let word = k < BPF_MEMWORDS;
    if code & 0xff00 != 0 {
        return None;
    }
    let known = match code & 7 {
        BPF_LD if code == BPF_LD | BPF_ABS => k % 4 == 0 && k < DATA,
        BPF_LD | BPF_LDX => match code & 0xf8 {
            BPF_IMM | BPF_LEN => true,
            BPF_MEM => word,
            _ => false,
        },
        BPF_ST | BPF_STX => code & 0xf8 == 0 && word,
        BPF_ALU => match operation {
            BPF_ADD | BPF_SUB | BPF_MUL | BPF_OR | BPF_AND | BPF_XOR => true,
            BPF_DIV => by_x || k != 0,
            BPF_LSH | BPF_RSH => by_x || k < 32,
            BPF_NEG => !by_x,
            _ => false,
        },
        BPF_JMP if code == BPF_JMP | BPF_JA => return Some(Flow::Jump(usize::try_from(k).ok()?)),
        BPF_JMP if matches!(operation, BPF_JEQ | BPF_JGT | BPF_JGE | BPF_JSET) => {
            return Some(Flow::Either(jt.into(), jf.into()));
        }
        BPF_RET if code == BPF_RET || code == BPF_RET | BPF_A => return Some(Flow::Return),
        BPF_MISC => code == BPF_MISC | BPF_TAX || code == BPF_MISC | BPF_TXA,
        _ => false,
    };
    known.then_some(Flow::Next)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn insn(code: u16, k: u32) -> SockFilter {
        SockFilter { code, k, ..SockFilter::default() }
    }

    fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
        SockFilter { code: BPF_JMP | code, jt, jf, k }
    }

    fn result(insns: &[SockFilter]) -> u32 {
        let data =
            SeccompData { nr: 7, arch: 9, instruction_pointer: 0x1_0000_0002, args: [3 << 32 | 4, 0, 0, 0, 0, 5] };
        Program::check(insns.to_vec()).unwrap().run(&data)
    }

    #[test]
    fn data_is_read_word_by_word() {
        for (at, word) in [(0, 7), (4, 9), (8, 2), (12, 1), (16, 4), (20, 3), (56, 5), (60, 0)] {
            assert_eq!(result(&[insn(BPF_LD | BPF_ABS, at), insn(BPF_RET | BPF_A, 0)]), word);
        }
        let refused = |at| Program::check(vec![insn(BPF_LD | BPF_ABS, at), insn(BPF_RET, 0)]).is_err();
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
            assert!(Program::check(insns.to_vec()).is_err(), "{insns:?}");
        }
        assert!(Program::check(vec![end; BPF_MAXINSNS + 1]).is_err());
        assert!(Program::check(vec![end; BPF_MAXINSNS]).is_ok());
    }

    proptest::proptest! {
        /// Whatever is accepted ends, with an answer.
        #[test]
        fn accepted_programs_end(words in proptest::collection::vec((0u16..0x100, 0u8..4, 0u8..4, 0u32..70), 1..40)) {
            let mut insns: Vec<_> = words.into_iter().map(|(code, jt, jf, k)| SockFilter { code, jt, jf, k }).collect();
            insns.push(insn(BPF_RET, 0));
            if let Ok(program) = Program::check(insns) {
                let data = SeccompData::default();
                let answer = program.walk(|at| data.as_bytes().get(at as usize..).map(|_| 1));
                proptest::prop_assert!(answer.is_some());
            }
        }
    }
}
