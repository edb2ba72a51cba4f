//! BPF programs that a guest brings along: bpf(2), RFC 9669. One kind is known, which decides about devices for a control group.
//!
//! `check` refuses what is not safe to run, `run` runs it. Programs live as long as something holds them: a descriptor, a control group. Owns the lock of the table of their ids.

mod check;
mod run;

use crate::locks::Leaf;
use crate::op::Op;
use abi::Errno;
use abi::bpf::{BPF_PROG_TYPE_CGROUP_DEVICE, BpfInsn};
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Longest program: a run's time is bounded by it, since programs have no loops.
pub const MOST_INSNS: usize = 4096;
/// Programs of the whole sandbox: their memory is the kernel process'.
const MOST_PROGRAMS: usize = 4096;

static PROGRAMS: Mutex<BTreeMap<u32, Weak<Program>>, Leaf> = Mutex::new(BTreeMap::new());

/// A program that was checked.
pub struct Program {
    pub id: u32,
    /// BPF_PROG_TYPE_*.
    pub kind: u32,
    pub insns: Box<[BpfInsn]>,
    pub name: [u8; abi::bpf::BPF_OBJ_NAME_LEN],
    /// User id of who loaded it.
    pub uid: u32,
    /// By the boot clock, ns.
    pub loaded: u64,
}

/// Why a program is refused, for the log that its loader asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub errno: Errno,
    pub why: String,
}

impl Program {
    /// Checks a program and gives it an id. Of another kind than BPF_PROG_TYPE_CGROUP_DEVICE it may not look at its context, and nothing runs it.
    pub fn load(kind: u32, insns: Vec<BpfInsn>, name: [u8; 16], uid: u32) -> Result<Arc<Program>, Refused> {
        let context = if kind == BPF_PROG_TYPE_CGROUP_DEVICE { 12 } else { 0 };
        check::check(&insns, context)?;
        let mut programs = PROGRAMS.lock();
        if programs.len() >= MOST_PROGRAMS {
            return Err(Refused { errno: Errno::ENOSPC, why: format!("there are {MOST_PROGRAMS} programs already") });
        }
        let id = programs.last_key_value().map_or(1, |last| last.0 + 1);
        let loaded = host::time::boottime();
        let program = Arc::new(Program { id, kind, insns: insns.into(), name, uid, loaded });
        programs.insert(id, Arc::downgrade(&program));
        Ok(program)
    }

    /// ENOENT.
    pub fn by_id(id: u32) -> Op<Arc<Program>> {
        Ok(PROGRAMS.lock().get(&id).and_then(Weak::upgrade).ok_or(Errno::ENOENT)?)
    }

    /// The lowest id above this one.
    pub fn next_id(id: u32) -> Option<u32> {
        PROGRAMS.lock().range(id.checked_add(1)?..).next().map(|(id, _)| *id)
    }

    /// What it returns for a context of three words.
    pub fn run(&self, context: [u32; 3]) -> u32 {
        run::run(&self.insns, context)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        PROGRAMS.lock().remove(&self.id);
    }
}

/// Parts of an opcode.
mod op {
    pub const CLASS: u8 = 0x07;
    pub const LD: u8 = 0x00;
    pub const LDX: u8 = 0x01;
    pub const ALU: u8 = 0x04;
    pub const JMP: u8 = 0x05;
    pub const JMP32: u8 = 0x06;
    pub const ALU64: u8 = 0x07;

    /// Of arithmetic and jumps: the operation, and whether the source is a register.
    pub const CODE: u8 = 0xf0;
    pub const X: u8 = 0x08;
    pub const ADD: u8 = 0x00;
    pub const SUB: u8 = 0x10;
    pub const MUL: u8 = 0x20;
    pub const DIV: u8 = 0x30;
    pub const OR: u8 = 0x40;
    pub const AND: u8 = 0x50;
    pub const LSH: u8 = 0x60;
    pub const RSH: u8 = 0x70;
    pub const NEG: u8 = 0x80;
    pub const MOD: u8 = 0x90;
    pub const XOR: u8 = 0xa0;
    pub const MOV: u8 = 0xb0;
    pub const ARSH: u8 = 0xc0;

    pub const JA: u8 = 0x00;
    pub const JEQ: u8 = 0x10;
    pub const JGT: u8 = 0x20;
    pub const JGE: u8 = 0x30;
    pub const JSET: u8 = 0x40;
    pub const JNE: u8 = 0x50;
    pub const JSGT: u8 = 0x60;
    pub const JSGE: u8 = 0x70;
    pub const EXIT: u8 = 0x90;
    pub const JLT: u8 = 0xa0;
    pub const JLE: u8 = 0xb0;
    pub const JSLT: u8 = 0xc0;
    pub const JSLE: u8 = 0xd0;

    /// A 64-bit constant, in two instructions.
    pub const LD_IMM64: u8 = 0x18;
    /// Loads of 4, 2 and 1 bytes.
    pub const LDX_W: u8 = 0x61;
    pub const LDX_H: u8 = 0x69;
    pub const LDX_B: u8 = 0x71;
}

/// Registers: r0 to r9, and r10, the frame's end, which there is no use for without a stack.
const REGS: usize = 11;

fn dst(insn: &BpfInsn) -> usize {
    usize::from(insn.regs & 15)
}

fn src(insn: &BpfInsn) -> usize {
    usize::from(insn.regs >> 4)
}

#[cfg(test)]
mod tests;
