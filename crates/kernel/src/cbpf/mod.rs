//! Classic BPF programs that a guest brings along, for its calls (seccomp(2)) and for what its sockets receive (SO_ATTACH_FILTER): which are safe to run, and running
//! them. Linux' Documentation/networking/filter.rst.
//!
//! Jumps go forward only, so a program ends after as many steps as it has instructions. Owns no locks.

#[cfg(test)]
mod tests;

use abi::Errno;
use abi::seccomp::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use zerocopy::IntoBytes;

/// Bytes of what a filter of calls sees.
const DATA: u32 = size_of::<SeccompData>() as u32;
/// Instructions of the whole sandbox, 8 bytes each: their memory is the kernel process'.
const MOST: usize = 8 << 20;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// A program that was checked.
pub struct Program(Box<[SockFilter]>);

/// What a program looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// `SeccompData`, by words of the processor's order.
    Call,
    /// The bytes of a message, in the network's order.
    Message,
}

/// What an instruction does to the program's flow.
enum Flow {
    Next,
    /// Skips so many.
    Jump(usize),
    Either(usize, usize),
    Return,
}

impl Program {
    /// EINVAL: empty, too long, an instruction that is none for such filters, a jump or an end beyond the last one, or scratch memory that is read and may not have been
    /// written. ENOMEM: there are too many.
    pub fn check(insns: Vec<SockFilter>, sees: Sees) -> Result<Program, Errno> {
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
            let flow = flow(insn, sees).ok_or(Errno::EINVAL)?;
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
        if IN_USE.fetch_add(insns.len(), Relaxed) + insns.len() > MOST {
            IN_USE.fetch_sub(insns.len(), Relaxed);
            return Err(Errno::ENOMEM);
        }
        Ok(Program(insns.into()))
    }

    /// What it says of a call.
    pub fn run(&self, data: &SeccompData) -> u32 {
        let word = |at: u32, _| {
            let bytes = data.as_bytes().get(at as usize..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        self.walk(DATA, word).unwrap_or(SECCOMP_RET_KILL_PROCESS)
    }

    /// What it says of a call whatever its arguments and its address are; None where it looks at these.
    pub fn answer(&self, nr: u32, arch: u32) -> Option<u32> {
        self.walk(DATA, |at, _| match at {
            0 => Some(nr),
            4 => Some(arch),
            _ => None,
        })
    }

    /// How many bytes of a message its receiver gets; None: it gets nothing. So ends a program that looks beyond the message.
    pub fn keeps(&self, message: &[u8]) -> Option<usize> {
        let fetch = |at: u32, bytes: usize| {
            let at = at as usize;
            let part = message.get(at..at.checked_add(bytes)?)?;
            Some(part.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
        };
        match self.walk(message.len() as u32, fetch) {
            None | Some(0) => None,
            Some(most) => Some(message.len().min(most as usize)),
        }
    }

    /// `fetch` gives so many bytes at a place of what the program sees, `len` is the length of that.
    fn walk(&self, len: u32, fetch: impl Fn(u32, usize) -> Option<u32>) -> Option<u32> {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0);
        let mut memory = [0u32; BPF_MEMWORDS as usize];
        loop {
            let SockFilter { code, jt, jf, k } = *self.0.get(at)?;
            at += 1;
            let cell = k as usize % memory.len();
            let operand = if code & BPF_X != 0 { x } else { k };
            match code & 7 {
                class @ (BPF_LD | BPF_LDX) => {
                    let value = match code & MODE {
                        BPF_ABS => fetch(k, bytes(code)?)?,
                        BPF_IND => fetch(x.wrapping_add(k), bytes(code)?)?,
                        BPF_MSH => (fetch(k, 1)? & 0xf) * 4,
                        BPF_LEN => len,
                        BPF_MEM => *memory.get(cell)?,
                        _ => k,
                    };
                    *if class == BPF_LD { &mut a } else { &mut x } = value;
                }
                BPF_ST => *memory.get_mut(cell)? = a,
                BPF_STX => *memory.get_mut(cell)? = x,
                BPF_ALU if matches!(code & 0xf0, BPF_DIV | BPF_MOD) && operand == 0 => return Some(0),
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

impl Drop for Program {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.0.len(), Relaxed);
    }
}

/// Where a load takes its value from.
const MODE: u16 = 0xe0;

/// Bytes that an instruction loads.
fn bytes(code: u16) -> Option<usize> {
    match code & 0x18 {
        BPF_W => Some(4),
        BPF_H => Some(2),
        BPF_B => Some(1),
        _ => None,
    }
}

fn calculate(operation: u16, a: u32, b: u32) -> u32 {
    match operation {
        BPF_ADD => a.wrapping_add(b),
        BPF_SUB => a.wrapping_sub(b),
        BPF_MUL => a.wrapping_mul(b),
        BPF_DIV => a.checked_div(b).unwrap_or(0),
        BPF_MOD => a.checked_rem(b).unwrap_or(0),
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
fn flow(insn: &SockFilter, sees: Sees) -> Option<Flow> {
    let SockFilter { code, jt, jf, k } = *insn;
    let (operation, by_x) = (code & 0xf0, code & BPF_X != 0);
    let word = k < BPF_MEMWORDS;
    if code & 0xff00 != 0 {
        return None;
    }
    let known = match code & 7 {
        BPF_LD if sees == Sees::Call && code == BPF_LD | BPF_ABS => k % 4 == 0 && k < DATA,
        // Of what is behind SKF_AD_OFF, facts about a message beside its bytes, nothing is known here.
        BPF_LD if sees == Sees::Message && code & MODE == BPF_ABS => bytes(code).is_some() && k < SKF_AD_OFF,
        BPF_LD if sees == Sees::Message && code & MODE == BPF_IND => bytes(code).is_some(),
        BPF_LDX if sees == Sees::Message && code == BPF_LDX | BPF_B | BPF_MSH => true,
        BPF_LD | BPF_LDX => match code & 0xf8 {
            BPF_IMM | BPF_LEN => true,
            BPF_MEM => word,
            _ => false,
        },
        BPF_ST | BPF_STX => code & 0xf8 == 0 && word,
        BPF_ALU => match operation {
            BPF_ADD | BPF_SUB | BPF_MUL | BPF_OR | BPF_AND | BPF_XOR => true,
            BPF_DIV => by_x || k != 0,
            BPF_MOD => sees == Sees::Message && (by_x || k != 0),
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
