//! Files of the controllers: cpu, cpuset, memory, pids. cgroups(7).
//!
//! Limits of the container's own group are the runtime's and are only shown. Below it CPU time, tasks and memory can be limited. There is no cpu.weight: who gets a processor that two want is the host's decision.

use super::{Row, limit, refuse, row, text};
use crate::proc::cpu;
use abi::Errno;
use kernel::task::Task;
use kernel::task::cgroup::{Cgroup, Controllers, EventFile, MAX, USUAL_PERIOD};
use kernel::{Io, Op, fail};
use std::sync::Arc;

pub(super) static ROWS: &[Row] = &[
    row("cpu.max", 0o644, Controllers::CPU, cpu_max, set_cpu_max),
    row("cpuset.cpus", 0o644, Controllers::CPUSET, cpus, set_cpus).nested(),
    row("cpuset.cpus.effective", 0o444, Controllers::CPUSET, effective_cpus, refuse),
    row("cpuset.mems", 0o644, Controllers::CPUSET, mems, set_mems).nested(),
    row("cpuset.mems.effective", 0o444, Controllers::CPUSET, |_, _| text(0), refuse),
    row("memory.current", 0o444, Controllers::MEMORY, |_, g| text(g.memory().total()), refuse),
    row("memory.events", 0o444, Controllers::MEMORY, memory_events, refuse).telling(EventFile::Memory).nested(),
    row("memory.max", 0o644, Controllers::MEMORY, memory_max, set_memory_max),
    row("memory.oom.group", 0o644, Controllers::MEMORY, |_, g| text(u8::from(g.oom_group())), set_oom_group).nested(),
    row("memory.peak", 0o444, Controllers::MEMORY, |_, g| text(g.memory_peak()), refuse).nested(),
    row("memory.stat", 0o444, Controllers::MEMORY, memory_stat, refuse),
    pids_rows::CURRENT,
    pids_rows::EVENTS,
    pids_rows::MAX,
    pids_rows::PEAK,
];

/// The same in both versions.
pub(super) mod pids_rows {
    use super::{EventFile, Row, limit, refuse, row, set_pids_max, text};
    use kernel::task::cgroup::Controllers;

    const PIDS: Controllers = Controllers::PIDS;
    pub const CURRENT: Row = row("pids.current", 0o444, PIDS, |_, g| text(g.pids().0), refuse);
    pub const EVENTS: Row = row("pids.events", 0o444, PIDS, |_, g| text(format_args!("max {}", g.pids().3)), refuse)
        .telling(EventFile::Pids);
    pub const MAX: Row = row("pids.max", 0o644, PIDS, |_, g| text(limit(g.pids().2)), set_pids_max);
    pub const PEAK: Row = row("pids.peak", 0o444, PIDS, |_, g| text(g.pids().1), refuse);
}

/// Quota and period in µs. The container's quota is kept as thousandths of a processor.
fn cpu_max(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let (quota, period) = if group.is_container() {
        let quota = |millis: u64| millis.saturating_mul(USUAL_PERIOD / 1000);
        (group.limits().cpu_millis.map_or(MAX, quota), USUAL_PERIOD)
    } else {
        group.cpu_max()
    };
    text(format_args!("{} {period}", limit(quota)))
}

/// The quota, and the period where it is another from now on.
fn set_cpu_max(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if group.is_container() {
        return fail(Errno::EPERM);
    }
    let mut words = value.split_ascii_whitespace();
    let quota = match words.next() {
        Some("max") => MAX,
        word => number(word)?,
    };
    let period = words.next().map_or(Ok(group.cpu_max().1), |word| number(Some(word)))?;
    group.set_cpu_max(quota, period)
}

pub(super) fn number(word: Option<&str>) -> Op<u64> {
    Ok(word.and_then(|word| word.parse().ok()).ok_or(Errno::EINVAL)?)
}

/// How many processors there are.
pub(super) fn count(io: &Io<'_>) -> Op<usize> {
    Ok(Task::of(io).ok_or(Errno::ESRCH)?.kernel.cpus)
}

pub(super) fn cpus(io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(cpu::list(&group.cpus(count(io)?)))
}

pub(super) fn set_cpus(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let count = count(io)?;
    group.set_cpus(cpu::parse(value, count)?, count)
}

pub(super) fn effective_cpus(io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(cpu::list(&group.effective_cpus(count(io)?)))
}

/// There is one node.
pub(super) fn mems(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(if group.has_mems() { "0" } else { "" })
}

pub(super) fn set_mems(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let nodes = cpu::parse(value, 64)?;
    if nodes.iter().any(|node| *node != 0) {
        return fail(Errno::EINVAL);
    }
    group.set_mems(!nodes.is_empty())
}

/// In whole pages.
fn memory_max(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(limit(group.memory_limit()))
}

fn set_memory_max(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if group.is_container() {
        return fail(Errno::EPERM);
    }
    if value == "max" {
        return group.set_memory_max(MAX);
    }
    group.set_memory_max(bytes(value)?)
}

/// Bytes, or with a letter K, M, G or T.
pub(super) fn bytes(value: &str) -> Op<u64> {
    let digits = value.trim_end_matches(|c: char| "kKmMgGtT".contains(c));
    let shift = match value.strip_prefix(digits) {
        Some("") => 0,
        Some("k" | "K") => 10,
        Some("m" | "M") => 20,
        Some("g" | "G") => 30,
        Some("t" | "T") => 40,
        _ => return fail(Errno::EINVAL),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    Ok(number.checked_mul(1 << shift).ok_or(Errno::EINVAL)?)
}

fn memory_events(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let is = group.memory_events();
    let ends = format!("oom_kill {}\noom_group_kill {}", is.oom_kill, is.oom_group_kill);
    text(format_args!("low 0\nhigh 0\nmax {0}\noom {0}\n{ends}", is.max))
}

fn set_oom_group(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    match value {
        "0" | "1" => group.set_oom_group(value == "1"),
        _ => return fail(Errno::EINVAL),
    }
    Ok(())
}

fn memory_stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let memory = group.memory();
    let file = memory.file + memory.shmem;
    text(format_args!("anon {}\nfile {file}\nshmem {}\nfile_mapped {file}", memory.anon, memory.shmem))
}

fn set_pids_max(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if group.is_container() {
        return fail(Errno::EPERM);
    }
    let max = match value {
        "max" => MAX,
        number => {
            let number: i64 = number.parse().map_err(|_| Errno::EINVAL)?;
            u64::try_from(number).ok().filter(|n| *n <= 1 << 22).ok_or(Errno::EINVAL)?
        }
    };
    group.set_pids_max(max);
    Ok(())
}
