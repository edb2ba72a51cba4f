//! Filters of system calls that guests bring along: seccomp(2). They decide about guests among themselves; what the sandbox may do is decided elsewhere (docs/security.md).
//!
//! A task's filters are a chain that its children share: the newest first. `cbpf` checks and runs one of them; `task::seccomp` asks at each call and does what they say. Owns no locks.

use crate::cbpf::{Program, Sees};
use abi::Errno;
use abi::seccomp::{AUDIT_ARCH_X86_64, SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SeccompData, SockFilter};
use std::sync::Arc;

/// Instructions of a chain, and four for each filter of it.
const MOST_OF_A_CHAIN: usize = 32_768;
const EACH: usize = 4;
/// Calls for which it is known that a chain lets them pass whatever their arguments are.
const NUMBERS: usize = 512;

/// The newest filter of a chain.
pub struct Filter {
    program: Program,
    older: Option<Arc<Filter>>,
    /// SECCOMP_FILTER_FLAG_LOG: what it does not allow is told.
    log: bool,
    /// Filters of the chain, and their instructions as they are limited.
    count: usize,
    size: usize,
    passes: [u64; NUMBERS / 64],
}

/// What a chain says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// SECCOMP_RET_*.
    pub action: u32,
    /// The lower 16 bits.
    pub data: u16,
    pub log: bool,
}

impl Filter {
    /// Puts a filter before `older`. EINVAL where the program is not one, ENOMEM where there are too many.
    pub fn new(insns: Vec<SockFilter>, log: bool, older: Option<Arc<Filter>>) -> Result<Arc<Filter>, Errno> {
        let len = insns.len();
        let program = Program::check(insns, Sees::Call)?;
        let (count, size) = older.as_ref().map_or((0, 0), |o| (o.count, o.size + EACH));
        if size + len > MOST_OF_A_CHAIN {
            return Err(Errno::ENOMEM);
        }
        let mut passes = [0; NUMBERS / 64];
        for (nr, word) in (0u32..).step_by(64).zip(&mut passes) {
            for bit in 0..64 {
                let older = older.as_ref().is_none_or(|o| o.passes(nr + bit));
                let known = older && program.answer(nr + bit, AUDIT_ARCH_X86_64) == Some(SECCOMP_RET_ALLOW);
                *word |= u64::from(known) << bit;
            }
        }
        Ok(Arc::new(Filter { program, older, log, count: count + 1, size: size + len, passes }))
    }

    /// Filters of the chain.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether it lets a call pass whatever its arguments are.
    pub fn passes(&self, nr: u32) -> bool {
        self.passes.get(nr as usize / 64).is_some_and(|word| word & 1 << (nr % 64) != 0)
    }

    fn chain(self: &Arc<Filter>) -> impl Iterator<Item = &Arc<Filter>> {
        std::iter::successors(Some(self), |filter| filter.older.as_ref())
    }

    /// Whether the chain begins with all of `other`.
    pub fn continues(self: &Arc<Filter>, other: &Arc<Filter>) -> bool {
        self.chain().any(|filter| Arc::ptr_eq(filter, other))
    }

    /// The strictest answer of the chain; of two equal ones that of the newer filter.
    pub fn decide(self: &Arc<Filter>, data: &SeccompData) -> Verdict {
        let allowed = Verdict { action: SECCOMP_RET_ALLOW, data: 0, log: false };
        if self.passes(data.nr) {
            return allowed;
        }
        // Signed: SECCOMP_RET_KILL_PROCESS is the smallest.
        let strictness = |answer: u32| (answer & SECCOMP_RET_ACTION_FULL) as i32;
        let answers = self.chain().map(|filter| (filter.program.run(data), filter.log));
        let strictest = answers.reduce(|a, b| if strictness(b.0) < strictness(a.0) { b } else { a });
        strictest.map_or(allowed, |(answer, log)| Verdict {
            action: answer & SECCOMP_RET_ACTION_FULL,
            data: answer as u16,
            log,
        })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // One after the other: a chain is as long as a guest likes, and the stack is not.
        let mut next = self.older.take();
        while let Some(filter) = next {
            next = Arc::into_inner(filter).and_then(|mut last| last.older.take());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use abi::seccomp::{
        BPF_ABS, BPF_JEQ, BPF_JMP, BPF_LD, BPF_RET, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
        SECCOMP_RET_KILL_THREAD,
    };

    fn insn(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    /// Answers `special` for call `nr`, and lets all others pass.
    fn only(nr: u32, special: u32) -> Vec<SockFilter> {
        vec![
            insn(BPF_LD | BPF_ABS, 0, 0, 0),
            insn(BPF_JMP | BPF_JEQ, 0, 1, nr),
            insn(BPF_RET, 0, 0, special),
            insn(BPF_RET, 0, 0, SECCOMP_RET_ALLOW),
        ]
    }

    fn data(nr: u32) -> SeccompData {
        SeccompData { nr, arch: AUDIT_ARCH_X86_64, ..SeccompData::default() }
    }

    #[test]
    fn the_strictest_answer_counts_and_of_equal_ones_the_newest() {
        let first = Filter::new(only(1, SECCOMP_RET_ERRNO | 5), false, None).unwrap();
        let second = Filter::new(only(1, SECCOMP_RET_ERRNO | 6), false, Some(first.clone())).unwrap();
        assert_eq!(second.decide(&data(1)), Verdict { action: SECCOMP_RET_ERRNO, data: 6, log: false });
        assert!(second.passes(2) && !second.passes(1));
        let third = Filter::new(only(1, SECCOMP_RET_KILL_THREAD), false, Some(second.clone())).unwrap();
        assert_eq!(third.decide(&data(1)).action, SECCOMP_RET_KILL_THREAD);
        let fourth = Filter::new(only(1, SECCOMP_RET_KILL_PROCESS), true, Some(third.clone())).unwrap();
        assert_eq!(fourth.decide(&data(1)), Verdict { action: SECCOMP_RET_KILL_PROCESS, data: 0, log: true });
        assert!(fourth.continues(&second) && !second.continues(&fourth));
        assert_eq!((fourth.count(), fourth.size), (4, 4 * 4 + 3 * EACH));
    }

    #[test]
    fn a_long_chain_goes_without_a_deep_stack_and_has_an_end() {
        let mut last = None;
        let mut count = 0;
        while let Ok(filter) = Filter::new(only(1, SECCOMP_RET_ERRNO), false, last.clone()) {
            last = Some(filter);
            count += 1;
        }
        assert_eq!(count, 1 + (MOST_OF_A_CHAIN - 4) / (4 + EACH));
        std::thread::Builder::new().stack_size(32 << 10).spawn(move || drop(last)).unwrap().join().unwrap();
    }
}
