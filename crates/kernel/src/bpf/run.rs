//! Runs a checked program. RFC 9669.
//!
//! What `check` let through ends, reads only its context, and knows each instruction; anything else would end here with 0. Owns no locks.

use super::{BpfInsn, REGS, dst, op, src};

pub fn run(insns: &[BpfInsn], context: [u32; 3]) -> u32 {
    let mut bytes = [0u8; 12];
    for (to, word) in bytes.chunks_exact_mut(4).zip(context) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let mut regs = [0u64; REGS];
    let mut at = 0usize;
    // Every step goes forward.
    while let Some(insn) = insns.get(at) {
        at += 1;
        let from = regs.get(src(insn)).copied().unwrap_or(0);
        let operand = if insn.code & op::X != 0 { from } else { insn.imm as i64 as u64 };
        let Some(to) = regs.get_mut(dst(insn)) else { return 0 };
        match insn.code & op::CLASS {
            op::LD => {
                let high = insns.get(at).map_or(0, |second| second.imm as u32);
                *to = u64::from(insn.imm as u32) | u64::from(high) << 32;
                at += 1;
            }
            op::LDX => *to = load(&bytes, insn),
            op::ALU64 => *to = wide(insn.code & op::CODE, *to, operand),
            op::ALU => *to = u64::from(narrow(insn.code & op::CODE, *to as u32, operand as u32)),
            op::JMP if insn.code & op::CODE == op::EXIT => return regs[0] as u32,
            op::JMP => {
                let taken = insn.code & op::CODE == op::JA || holds(insn.code & op::CODE, *to as i64, operand as i64);
                at += if taken { usize::try_from(insn.off).unwrap_or(usize::MAX - at) } else { 0 };
            }
            op::JMP32 => {
                // Both signs and both orders of 32 bits are kept by extending the sign.
                let taken = holds(insn.code & op::CODE, i64::from(*to as i32), i64::from(operand as i32));
                at += if taken { usize::try_from(insn.off).unwrap_or(usize::MAX - at) } else { 0 };
            }
            _ => return 0,
        }
    }
    0
}

fn load(context: &[u8; 12], insn: &BpfInsn) -> u64 {
    let len = match insn.code {
        op::LDX_W => 4,
        op::LDX_H => 2,
        _ => 1,
    };
    let start = usize::try_from(insn.off).unwrap_or(usize::MAX);
    let bytes = context.get(start..start.saturating_add(len)).unwrap_or_default();
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn wide(code: u8, a: u64, b: u64) -> u64 {
    match code {
        op::ADD => a.wrapping_add(b),
        op::SUB => a.wrapping_sub(b),
        op::MUL => a.wrapping_mul(b),
        op::DIV => a.checked_div(b).unwrap_or(0),
        op::MOD => a.checked_rem(b).unwrap_or(a),
        op::OR => a | b,
        op::AND => a & b,
        op::XOR => a ^ b,
        op::LSH => a.wrapping_shl(b as u32),
        op::RSH => a.wrapping_shr(b as u32),
        op::ARSH => (a as i64).wrapping_shr(b as u32) as u64,
        op::NEG => a.wrapping_neg(),
        _ => b,
    }
}

/// The lower halves, as `wide` has them but for what depends on the width: the sign, and how far a shift may go.
fn narrow(code: u8, a: u32, b: u32) -> u32 {
    match code {
        op::LSH | op::RSH => wide(code, a.into(), u64::from(b & 31)) as u32,
        op::ARSH => wide(code, i64::from(a as i32) as u64, u64::from(b & 31)) as u32,
        _ => wide(code, a.into(), b.into()) as u32,
    }
}

fn holds(code: u8, a: i64, b: i64) -> bool {
    let (ua, ub) = (a as u64, b as u64);
    match code {
        op::JEQ => a == b,
        op::JNE => a != b,
        op::JSET => a & b != 0,
        op::JGT => ua > ub,
        op::JGE => ua >= ub,
        op::JLT => ua < ub,
        op::JLE => ua <= ub,
        op::JSGT => a > b,
        op::JSGE => a >= b,
        op::JSLT => a < b,
        _ => a <= b,
    }
}
