//! Checks a program before it may run: every instruction is known, jumps go forward, and no register is used before it has a value.
//!
//! Since no jump goes back, one pass sees each instruction after all that lead to it. Narrower than Linux' own check in what it accepts: no loops, no stack, no helpers, no maps. Owns no locks.

use super::{BpfInsn, MOST_INSNS, REGS, Refused, dst, op, src};
use abi::Errno;

/// What a register holds, on all ways that lead to an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Number,
    Context,
}

type Registers = [Holds; REGS];

struct Pass<'a> {
    insns: &'a [BpfInsn],
    /// Bytes of the context that may be read.
    context: i16,
    /// On arrival; `None`: nothing leads there.
    states: Vec<Option<Registers>>,
}

pub fn check(insns: &[BpfInsn], context: i16) -> Result<(), Refused> {
    if insns.is_empty() || insns.len() > MOST_INSNS {
        return Err(refused(Errno::E2BIG, format!("{} instructions; there may be 1 to {MOST_INSNS}", insns.len())));
    }
    let mut pass = Pass { insns, context, states: vec![None; insns.len()] };
    let mut first = [Holds::Nothing; REGS];
    first[1] = Holds::Context;
    pass.arrive(0, 0, &first)?;
    let mut at = 0;
    while at < insns.len() {
        at += pass.instruction(at)?;
    }
    Ok(())
}

fn refused(errno: Errno, why: String) -> Refused {
    Refused { errno, why }
}

fn invalid(at: usize, why: &str) -> Refused {
    refused(Errno::EINVAL, format!("instruction {at}: {why}"))
}

fn forbidden(at: usize, why: &str) -> Refused {
    refused(Errno::EACCES, format!("instruction {at}: {why}"))
}

impl Pass<'_> {
    /// A way leads from one instruction to another.
    fn arrive(&mut self, from: usize, to: usize, with: &Registers) -> Result<(), Refused> {
        let Some(state) = self.states.get_mut(to) else { return Err(invalid(from, "the program ends without exit")) };
        match state {
            Some(known) => {
                for (known, new) in known.iter_mut().zip(with) {
                    if *known != *new {
                        *known = Holds::Nothing;
                    }
                }
            }
            None => *state = Some(*with),
        }
        Ok(())
    }

    /// Checks one; how many instructions it is.
    fn instruction(&mut self, at: usize) -> Result<usize, Refused> {
        let Some(insn) = self.insns.get(at).copied() else { return Ok(1) };
        let (d, s) = (dst(&insn), src(&insn));
        if d >= REGS || s >= REGS {
            return Err(invalid(at, "there is no such register"));
        }
        let long = insn.code == op::LD_IMM64;
        if long {
            let second = self.insns.get(at + 1).copied().unwrap_or_default();
            let plain = BpfInsn { imm: second.imm, ..BpfInsn::default() };
            if at + 1 >= self.insns.len() || second != plain || s != 0 || insn.off != 0 {
                return Err(invalid(at, "not a 64-bit constant (there are no maps)"));
            }
            if self.states.get(at + 1).is_some_and(Option::is_some) {
                return Err(invalid(at, "a jump into its middle"));
            }
        }
        let length = 1 + usize::from(long);
        let Some(mut state) = self.states.get(at).copied().flatten() else { return Ok(length) }; // nothing leads here
        match insn.code & op::CLASS {
            op::LD if long => set(&mut state, at, d, Holds::Number)?,
            op::LDX => load(&insn, &mut state, at, self.context)?,
            op::ALU | op::ALU64 => arithmetic(&insn, &mut state, at)?,
            op::JMP | op::JMP32 => return self.jump(&insn, state, at),
            _ => return Err(invalid(at, "an instruction that is not known, or would use the stack")),
        }
        self.arrive(at, at + length, &state)?;
        Ok(length)
    }

    fn jump(&mut self, insn: &BpfInsn, state: Registers, at: usize) -> Result<usize, Refused> {
        let wide = insn.code & op::CLASS == op::JMP;
        let by_register = insn.code & op::X != 0;
        match insn.code & op::CODE {
            op::EXIT if wide && !by_register => {
                if insn.regs != 0 || insn.off != 0 || insn.imm != 0 {
                    return Err(invalid(at, "exit has no operands"));
                }
                number(&state, at, 0)?;
                return Ok(1);
            }
            op::JA if wide && !by_register => {
                if insn.regs != 0 || insn.imm != 0 {
                    return Err(invalid(at, "a jump has no operands"));
                }
                self.arrive(at, target(insn, at)?, &state)?;
                return Ok(1);
            }
            op::JEQ | op::JGT | op::JGE | op::JSET | op::JNE | op::JSGT | op::JSGE => {}
            op::JLT | op::JLE | op::JSLT | op::JSLE => {}
            _ => return Err(invalid(at, "a jump that is not known (there are no helper functions)")),
        }
        operands(insn, &state, at)?;
        self.arrive(at, target(insn, at)?, &state)?;
        self.arrive(at, at + 1, &state)?;
        Ok(1)
    }
}

fn target(insn: &BpfInsn, at: usize) -> Result<usize, Refused> {
    match usize::try_from(insn.off) {
        Ok(off) => Ok(at + 1 + off),
        Err(_) => Err(invalid(at, "a jump back")),
    }
}

fn get(state: &Registers, register: usize) -> Holds {
    state.get(register).copied().unwrap_or(Holds::Nothing)
}

fn set(state: &mut Registers, at: usize, register: usize, holds: Holds) -> Result<(), Refused> {
    match state.get_mut(register) {
        Some(place) if register < REGS - 1 => *place = holds,
        _ => return Err(forbidden(at, "r10 cannot be written")),
    }
    Ok(())
}

fn number(state: &Registers, at: usize, register: usize) -> Result<(), Refused> {
    match get(state, register) {
        Holds::Number => Ok(()),
        Holds::Context => Err(forbidden(at, &format!("r{register} is a pointer"))),
        Holds::Nothing => Err(forbidden(at, &format!("r{register} has no value"))),
    }
}

/// Destination and source of what has two operands.
fn operands(insn: &BpfInsn, state: &Registers, at: usize) -> Result<(), Refused> {
    number(state, at, dst(insn))?;
    source(insn, state, at)
}

fn source(insn: &BpfInsn, state: &Registers, at: usize) -> Result<(), Refused> {
    if insn.code & op::X == 0 {
        return if src(insn) == 0 { Ok(()) } else { Err(invalid(at, "a constant and a register")) };
    }
    if insn.imm != 0 {
        return Err(invalid(at, "a register and a constant"));
    }
    number(state, at, src(insn))
}

fn load(insn: &BpfInsn, state: &mut Registers, at: usize, context: i16) -> Result<(), Refused> {
    let size = match insn.code {
        op::LDX_W => 4,
        op::LDX_H => 2,
        op::LDX_B => 1,
        _ => return Err(invalid(at, "a load that is not known")),
    };
    if get(state, src(insn)) != Holds::Context {
        return Err(forbidden(at, &format!("r{} is no pointer to the context", src(insn))));
    }
    // Only the first word may be read in parts.
    let whole = insn.off % size == 0 && (size == 4 || insn.off < 4);
    if insn.off < 0 || insn.off > context - size || !whole || insn.imm != 0 {
        return Err(forbidden(at, "not a field of the context"));
    }
    set(state, at, dst(insn), Holds::Number)
}

fn arithmetic(insn: &BpfInsn, state: &mut Registers, at: usize) -> Result<(), Refused> {
    let wide = insn.code & op::CLASS == op::ALU64;
    let by_register = insn.code & op::X != 0;
    let bits = if wide { 64 } else { 32 };
    if insn.off != 0 {
        return Err(invalid(at, "arithmetic has no offset"));
    }
    match insn.code & op::CODE {
        op::MOV if wide && by_register && insn.imm == 0 && get(state, src(insn)) == Holds::Context => {
            return set(state, at, dst(insn), Holds::Context);
        }
        op::MOV => source(insn, state, at)?,
        op::NEG => {
            number(state, at, dst(insn))?;
            if by_register || src(insn) != 0 || insn.imm != 0 {
                return Err(invalid(at, "neg has one operand"));
            }
        }
        op::DIV | op::MOD => {
            operands(insn, state, at)?;
            if !by_register && insn.imm == 0 {
                return Err(invalid(at, "division by zero"));
            }
        }
        op::LSH | op::RSH | op::ARSH => {
            operands(insn, state, at)?;
            if !by_register && !(0..bits).contains(&insn.imm) {
                return Err(invalid(at, "a shift by more than there are bits"));
            }
        }
        op::ADD | op::SUB | op::MUL | op::OR | op::AND | op::XOR => operands(insn, state, at)?,
        _ => return Err(invalid(at, "arithmetic that is not known")),
    }
    set(state, at, dst(insn), Holds::Number)
}
