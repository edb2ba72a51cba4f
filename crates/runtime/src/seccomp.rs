//! `linux.seccomp` of config.json as a program of classic BPF, which the container's kernel runs for each process of the container: runtime-spec config-linux.md, "Seccomp".
//!
//! Rules with conditions on arguments come before those without, each in the order of config.json; the first that holds counts, and none: the default. Names of calls that x86-64 does not have are
//! skipped, as engines send one profile to all machines. Neighbours: `config` (asks), `kernel::seccomp` (checks and runs it). Owns no locks.

use abi::seccomp::*;
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use std::collections::BTreeMap;
use std::mem::offset_of;

const LOAD: u16 = BPF_LD | BPF_ABS;
const EQUAL: u16 = BPF_JMP | BPF_JEQ;
const GREATER: u16 = BPF_JMP | BPF_JGT;
const NOT_LESS: u16 = BPF_JMP | BPF_JGE;
/// Calls of the x32 ABI have this bit in their number; there are none.
const X32: u32 = 0x4000_0000;

/// A call's rules: conditions, all of which must hold, and what happens then.
type Rule = (Vec<LinuxSeccompArg>, u32);

/// Whether a condition's outcome is known, and where it goes on.
#[derive(Clone, Copy)]
enum To {
    Next,
    Holds,
    Fails,
}

pub fn compile(profile: &LinuxSeccomp) -> Result<sandbox::spec::Seccomp> {
    let default = action(profile.default_action(), profile.default_errno_ret()).context("field linux.seccomp")?;
    let mut program = vec![
        load(offset_of!(SeccompData, arch)),
        jump(EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        ret(SECCOMP_RET_KILL_PROCESS),
        load(offset_of!(SeccompData, nr)),
        jump(NOT_LESS, X32, 0, 1),
        ret(SECCOMP_RET_KILL_PROCESS),
    ];
    for (nr, rules) in rules(profile, default)? {
        let mut body = Vec::new();
        for (conditions, action) in &rules {
            append(&mut body, conditions, *action);
        }
        if rules.iter().all(|(conditions, _)| !conditions.is_empty()) {
            body.push(ret(default));
        }
        // A jump of its own, for a body may be longer than a condition can skip.
        program.push(jump(EQUAL, nr, 1, 0));
        program.push(SockFilter { code: BPF_JMP | BPF_JA, k: body.len() as u32, ..SockFilter::default() });
        program.append(&mut body);
    }
    program.push(ret(default));
    if program.len() > BPF_MAXINSNS {
        bail!("field linux.seccomp: its rules make {} instructions, of {BPF_MAXINSNS} at most", program.len());
    }
    let log = profile.flags().iter().flatten().any(|f| *f == LinuxSeccompFilterFlag::SeccompFilterFlagLog);
    let insns = program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
    Ok(sandbox::spec::Seccomp { insns, log })
}

/// By call. Nothing follows a rule without conditions.
fn rules(profile: &LinuxSeccomp, default: u32) -> Result<BTreeMap<u32, Vec<Rule>>> {
    let mut all: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
        let field = || format!("field linux.seccomp.syscalls[{index}]");
        let action = action(syscall.action(), syscall.errno_ret()).with_context(field)?;
        let args = syscall.args().clone().unwrap_or_default();
        if let Some(arg) = args.iter().find(|arg| arg.index() > 5) {
            bail!("{}.args: index {} is beyond the sixth argument, 5", field(), arg.index());
        }
        // Several conditions on one argument are alternatives, as runc has it.
        let alternatives = args.iter().any(|a| args.iter().filter(|b| a.index() == b.index()).count() > 1);
        let conditions: Vec<Vec<LinuxSeccompArg>> =
            if alternatives { args.into_iter().map(|arg| vec![arg]).collect() } else { vec![args] };
        for nr in syscall.names().iter().filter_map(|name| abi::nr::by_name(name)).filter(|_| action != default) {
            let known = all.entry(nr).or_default();
            known.extend(conditions.iter().map(|conditions| (conditions.clone(), action)));
        }
    }
    for rules in all.values_mut() {
        rules.sort_by_key(|(conditions, _)| conditions.is_empty());
        let first = rules.iter().position(|(conditions, _)| conditions.is_empty());
        rules.truncate(first.map_or(rules.len(), |first| first + 1));
    }
    Ok(all)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32> {
    if action == LinuxSeccompAction::ScmpActNotify {
        bail!("SCMP_ACT_NOTIFY: nobody can listen to a container's calls here; use SCMP_ACT_ERRNO");
    }
    if let Some(errno) = errno.filter(|errno| *errno > SECCOMP_RET_DATA) {
        bail!("errnoRet: {errno} is no error number");
    }
    Ok(action.as_u32(errno))
}

fn load(at: usize) -> SockFilter {
    SockFilter { code: LOAD, k: at as u32, ..SockFilter::default() }
}

fn ret(value: u32) -> SockFilter {
    SockFilter { code: BPF_RET, k: value, ..SockFilter::default() }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

/// The conditions, and the return where they hold; else it goes on behind it.
fn append(body: &mut Vec<SockFilter>, conditions: &[LinuxSeccompArg], action: u32) {
    let blocks: Vec<_> = conditions.iter().map(condition).collect();
    let end = blocks.iter().map(Vec::len).sum::<usize>() + 1;
    let mut at = 0;
    for block in blocks {
        let holds = at + block.len();
        for (insn, yes, no) in block {
            at += 1;
            // At most six conditions of five instructions.
            let skip = |to: To| match to {
                To::Next => 0,
                To::Holds => (holds - at) as u8,
                To::Fails => (end - at) as u8,
            };
            body.push(SockFilter { jt: skip(yes), jf: skip(no), ..insn });
        }
    }
    body.push(ret(action));
}

/// A comparison of 64 bits, as one of the upper half and, where that does not decide, one of the lower.
fn condition(arg: &LinuxSeccompArg) -> Vec<(SockFilter, To, To)> {
    use LinuxSeccompOperator::*;
    use To::{Fails, Holds, Next};
    let low = offset_of!(SeccompData, args) + 8 * arg.index();
    let plain = |insn| (insn, Next, Next);
    let test = |code, k, yes, no| (jump(code, k, 0, 0), yes, no);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (upper, lower) = halves(arg.value());
    let (high, low) = (plain(load(low + 4)), plain(load(low)));
    match arg.op() {
        ScmpCmpEq => vec![high, test(EQUAL, upper, Next, Fails), low, test(EQUAL, lower, Next, Fails)],
        ScmpCmpNe => vec![high, test(EQUAL, upper, Next, Holds), low, test(EQUAL, lower, Fails, Next)],
        ScmpCmpMaskedEq => {
            let and = |k| plain(SockFilter { code: BPF_ALU | BPF_AND, k, ..SockFilter::default() });
            let (wanted_upper, wanted_lower) = halves(arg.value_two().unwrap_or(0));
            vec![
                high,
                and(upper),
                test(EQUAL, wanted_upper, Next, Fails),
                low,
                and(lower),
                test(EQUAL, wanted_lower, Next, Fails),
            ]
        }
        op => {
            let (code, positive) = match op {
                ScmpCmpGt => (GREATER, true),
                ScmpCmpLe => (GREATER, false),
                ScmpCmpGe => (NOT_LESS, true),
                _ => (NOT_LESS, false),
            };
            let (above, below) = if positive { (Holds, Fails) } else { (Fails, Holds) };
            vec![
                high,
                test(GREATER, upper, above, Next),
                test(EQUAL, upper, Next, below),
                low,
                test(code, lower, above, below),
            ]
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn filter(profile: Value) -> Vec<(u16, u8, u8, u32)> {
        compile(&serde_json::from_value(profile).unwrap()).unwrap().insns
    }

    /// Runs the instructions that `compile` makes.
    fn run(program: &[(u16, u8, u8, u32)], word: impl Fn(u32) -> u32) -> u32 {
        let (mut a, mut at) = (0, 0);
        loop {
            let (code, jt, jf, k) = program[at];
            at += 1;
            let skip = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                LOAD => a = word(k),
                EQUAL => at += skip(a == k),
                GREATER => at += skip(a > k),
                NOT_LESS => at += skip(a >= k),
                BPF_RET => return k,
                _ if code == BPF_JMP | BPF_JA => at += k as usize,
                _ => {
                    assert_eq!(code, BPF_ALU | BPF_AND);
                    a &= k;
                }
            }
        }
    }

    fn answer(program: &[(u16, u8, u8, u32)], name: &str, args: [u64; 6]) -> u32 {
        run(program, |at| match at {
            0 => abi::nr::by_name(name).unwrap(),
            4 => AUDIT_ARCH_X86_64,
            16.. => (args[(at as usize - 16) / 8] >> (at % 8 * 8)) as u32,
            _ => panic!("{at}"),
        })
    }

    #[test]
    fn a_profile_of_names() {
        let filter = filter(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                { "names": ["read", "write", "arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["mount"], "action": "SCMP_ACT_ERRNO" },
                { "names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS" }
            ]
        }));
        assert_eq!(answer(&filter, "read", [0; 6]), SECCOMP_RET_ALLOW);
        assert_eq!(answer(&filter, "openat", [0; 6]), SECCOMP_RET_ERRNO | 38);
        assert_eq!(answer(&filter, "mount", [0; 6]), SECCOMP_RET_ERRNO | 1);
        assert_eq!(answer(&filter, "ptrace", [0; 6]), SECCOMP_RET_KILL_PROCESS);
        let call = |arch: u32, nr: u32| run(&filter, |at| if at == 4 { arch } else { nr });
        assert_eq!(call(AUDIT_ARCH_X86_64, X32), SECCOMP_RET_KILL_PROCESS);
        assert_eq!(call(0x4000_0003, 0), SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn every_comparison_is_of_64_bits() {
        let values = [0u64, 1, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (2 << 32) + 1, u64::MAX];
        let holds = |arg: u64, op: &str, value: u64| match op {
            "SCMP_CMP_NE" => arg != value,
            "SCMP_CMP_LT" => arg < value,
            "SCMP_CMP_LE" => arg <= value,
            "SCMP_CMP_EQ" => arg == value,
            "SCMP_CMP_GE" => arg >= value,
            _ => arg > value,
        };
        for op in ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"] {
            for value in values {
                let filter = filter(json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                        "args": [{ "index": 5, "value": value, "op": op }] }]
                }));
                for arg in values {
                    let wanted = if holds(arg, op, value) { SECCOMP_RET_ERRNO | 5 } else { SECCOMP_RET_ALLOW };
                    assert_eq!(answer(&filter, "lseek", [0, 0, 0, 0, 0, arg]), wanted, "{arg:#x} {op} {value:#x}");
                }
            }
        }
        let filter = filter(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 0, "value": 2_114_060_288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] }]
        }));
        assert_eq!(answer(&filter, "clone", [0x11, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer(&filter, "clone", [0x1000_0011, 0, 0, 0, 0, 0]), SECCOMP_RET_ERRNO | 1);
    }

    #[test]
    fn conditions_of_several_arguments_hold_together_and_of_one_by_one() {
        let filter = filter(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                    { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }, { "index": 1, "value": 2, "op": "SCMP_CMP_EQ" }] },
                { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                    { "index": 0, "value": 0, "op": "SCMP_CMP_EQ" }, { "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
                { "names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS" }
            ]
        }));
        assert_eq!(answer(&filter, "socket", [1, 2, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer(&filter, "socket", [1, 1, 0, 0, 0, 0]), SECCOMP_RET_KILL_PROCESS);
        assert_eq!(answer(&filter, "personality", [8, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer(&filter, "personality", [9, 0, 0, 0, 0, 0]), SECCOMP_RET_ERRNO | 1);
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let error = |profile: Value| {
            let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
            format!("{:#}", compile(&profile).unwrap_err())
        };
        let of = |rule: Value| error(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
        let notify = of(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" }));
        assert!(notify.contains("linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY"), "{notify}");
        let index = of(json!({ "names": ["read"], "action": "SCMP_ACT_KILL",
            "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] }));
        assert!(index.contains("index 6"), "{index}");
        let errno = error(json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65_536 }));
        assert!(errno.contains("errnoRet: 65536"), "{errno}");
    }
}
