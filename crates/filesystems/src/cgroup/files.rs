//! Files that every group has: cgroup.* and cpu.stat. cgroups(7), "Cgroups version 2".

use super::{Row, limit, refuse, row, text};
use abi::Errno;
use kernel::task::cgroup::{Cgroup, Controllers, CpuLimits, EventFile, MAX};
use kernel::task::{PidNs, Task};
use kernel::{Io, Op, fail};
use std::sync::Arc;

const EVERY: Controllers = Controllers::empty();

pub(super) static ROWS: &[Row] = &[
    row("cgroup.controllers", 0o444, EVERY, |_, g| names(g.controllers()), refuse),
    row("cgroup.events", 0o444, EVERY, events, refuse).telling(EventFile::Cgroup),
    row("cgroup.freeze", 0o644, EVERY, |_, g| text(u8::from(g.freezes())), freeze),
    row("cgroup.kill", 0o200, EVERY, |_, _| fail(Errno::EINVAL), kill),
    row("cgroup.max.depth", 0o644, EVERY, |_, g| text(limit(g.max_tree().0)), set_max_depth),
    row("cgroup.max.descendants", 0o644, EVERY, |_, g| text(limit(g.max_tree().1)), set_max_descendants),
    row("cgroup.procs", 0o644, EVERY, procs, move_process),
    row("cgroup.stat", 0o444, EVERY, stat, refuse),
    row("cgroup.subtree_control", 0o644, EVERY, |_, g| names(g.subtree_control()), set_subtree_control),
    row("cgroup.threads", 0o644, EVERY, threads, move_thread),
    row("cgroup.type", 0o644, EVERY, |_, g| text(g.kind()), set_type),
    row("cpu.stat", 0o444, EVERY, cpu_stat, refuse),
];

fn names(controllers: Controllers) -> Op<Vec<u8>> {
    if controllers.is_empty() { Ok(Vec::new()) } else { text(controllers.names().join(" ")) }
}

fn events(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let (populated, frozen) = (u8::from(group.populated()), u8::from(group.is_frozen()));
    text(format_args!("populated {populated}\nfrozen {frozen}"))
}

/// A removed group is gone at once.
fn stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(format_args!("nr_descendants {}\nnr_dying_descendants 0", group.subtree().len() - 1))
}

/// What became of a limit is told where there can be one.
fn cpu_stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let times = group.times();
    let us = |ns: u64| ns / 1000;
    let [all, user, system] = [times.total(), times.user, times.system].map(us);
    let used = format!("usage_usec {all}\nuser_usec {user}\nsystem_usec {system}");
    if group.is_container() || !group.controllers().contains(Controllers::CPU) {
        return text(used);
    }
    let CpuLimits { periods, throttled, held } = group.cpu_limits();
    text(format_args!("{used}\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {}", held / 1000))
}

/// EINVAL for what is no number, ERANGE beyond `max`.
fn number(value: &str, max: i64) -> Op<i64> {
    let value: i64 = value.parse().map_err(|_| Errno::EINVAL)?;
    if (0..=max).contains(&value) { Ok(value) } else { fail(Errno::ERANGE) }
}

fn freeze(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    group.set_freeze(number(value, 1)? == 1)
}

fn kill(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if number(value, 1)? != 1 {
        return fail(Errno::ERANGE);
    }
    group.kill(&*caller(io)?)
}

fn bound(value: &str) -> Op<u64> {
    if value == "max" { Ok(MAX) } else { Ok(number(value, i32::MAX.into())?.unsigned_abs()) }
}

fn set_max_depth(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let value = bound(value)?;
    group.set_max_tree(|depth, _| *depth = value);
    Ok(())
}

fn set_max_descendants(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let value = bound(value)?;
    group.set_max_tree(|_, descendants| *descendants = value);
    Ok(())
}

/// `+name` and `-name`, the last of each name counts.
fn set_subtree_control(_io: &mut Io<'_>, group: &Arc<Cgroup>, words: &str) -> Op<()> {
    let (mut enable, mut disable) = (Controllers::empty(), Controllers::empty());
    for word in words.split_ascii_whitespace() {
        let (on, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(name), _) => (true, name),
            (_, Some(name)) => (false, name),
            _ => return fail(Errno::EINVAL),
        };
        let controller =
            Controllers::named(name).filter(|c| Controllers::of_two().contains(*c)).ok_or(Errno::EINVAL)?;
        enable.set(controller, on);
        disable.set(controller, !on);
    }
    group.set_subtree_control(enable, disable)
}

fn caller(io: &Io<'_>) -> Op<Arc<Task>> {
    Task::of(io).ok_or(Errno::ESRCH.into())
}

fn list(mut numbers: Vec<i32>) -> Op<Vec<u8>> {
    numbers.sort_unstable();
    Ok(numbers.iter().map(|n| format!("{n}\n")).collect::<String>().into())
}

/// Numbers of processes with a task in one of the groups, as the reader's PID namespace has them, 0 where it has none.
pub(super) fn list_processes(io: &Io<'_>, groups: &[Arc<Cgroup>]) -> Op<Vec<u8>> {
    let ns = caller(io)?.pid.ns().ok_or(Errno::ESRCH)?;
    let mut numbers: Vec<i32> = groups.iter().flat_map(|g| g.touched()).map(|p| p.pid.number_in(&ns)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    list(numbers)
}

/// A domain has the processes of all its threads, which are not told apart below it.
fn procs(io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    if group.is_threaded() {
        return fail(Errno::EOPNOTSUPP);
    }
    let mut groups = group.subtree();
    groups.retain(|below| Arc::ptr_eq(&below.domain(), group));
    list_processes(io, &groups)
}

pub(super) fn threads(io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let ns = caller(io)?.pid.ns().ok_or(Errno::ESRCH)?;
    list(group.tasks().iter().map(|t| t.pid.number_in(&ns)).collect())
}

/// The task of a number that was written; 0 is the writer itself.
pub(super) fn target(io: &Io<'_>, number: &str) -> Op<Arc<Task>> {
    let task = caller(io)?;
    let number: i32 = number.parse().map_err(|_| Errno::EINVAL)?;
    if number < 0 {
        return fail(Errno::EINVAL);
    }
    if number == 0 {
        return Ok(task);
    }
    let ns: Arc<PidNs> = task.pid.ns().ok_or(Errno::ESRCH)?;
    Ok(ns.task(number).ok_or(Errno::ESRCH)?)
}

fn move_process(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let process = target(io, value)?.group.clone();
    group.may_attach(&io.cred, &process.cgroup())?;
    group.attach(&process)
}

/// Within the domain of its process.
fn move_thread(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let task = target(io, value)?;
    let from = task.cgroup();
    group.may_attach(&io.cred, &from)?;
    if !Arc::ptr_eq(&from.domain(), &group.domain()) {
        return fail(Errno::EOPNOTSUPP);
    }
    group.attach_thread(&task)
}

fn set_type(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if value == "threaded" { group.make_threaded() } else { fail(Errno::EINVAL) }
}
