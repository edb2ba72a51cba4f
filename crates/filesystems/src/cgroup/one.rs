//! The hierarchies of version 1: mounting them, and the files of their groups. cgroups(7), "Cgroups version 1"; Linux' admin-guide/cgroup-v1.
//!
//! Neighbours: `controllers` (files that both versions have). Offered is what is kept: no cpu.shares, no swap, no release agents.

use super::controllers::{cpus, effective_cpus, mems, number, pids_rows, set_cpus, set_mems};
use super::files::{list_processes, target, threads};
use super::{Group, Row, refuse, row, text};
use crate::pseudo::{Kind, Node, PseudoFs};
use abi::Errno;
use abi::fs::CGROUP_SUPER_MAGIC;
use kernel::cred::Cap;
use kernel::task::cgroup::{Cgroup, Controllers, CpuLimits, Hierarchy, MAX, Wanted};
use kernel::task::{Namespaces, Task};
use kernel::vfs::{FsType, Inode, MountArgs};
use kernel::{Io, Op, fail};
use std::sync::Arc;

pub(super) static TYPE: FsType = FsType { name: "cgroup", user_mountable: true, nodev: true, option, mount };

const EVERY: Controllers = Controllers::empty();
const CPU: Controllers = Controllers::CPU;
const CPUACCT: Controllers = Controllers::CPUACCT;
const CPUSET: Controllers = Controllers::CPUSET;
const DEVICES: Controllers = Controllers::DEVICES;
const FREEZER: Controllers = Controllers::FREEZER;
const MEMORY: Controllers = Controllers::MEMORY;

pub(super) static ROWS: &[Row] = &[
    row("cgroup.clone_children", 0o644, EVERY, |_, g| text(u8::from(g.clone_children())), set_clone_children),
    row("cgroup.procs", 0o644, EVERY, |io, g| list_processes(io, std::slice::from_ref(g)), move_process),
    row("tasks", 0o644, EVERY, threads, move_thread),
    row("cpu.cfs_period_us", 0o644, CPU, |_, g| text(g.cpu_max().1), set_cfs_period),
    row("cpu.cfs_quota_us", 0o644, CPU, cfs_quota, set_cfs_quota),
    row("cpu.stat", 0o444, CPU, cpu_stat, refuse),
    row("cpuacct.stat", 0o444, CPUACCT, cpuacct_stat, refuse),
    row("cpuacct.usage", 0o644, CPUACCT, |_, g| text(g.counted_cpu_time()), reset_usage),
    row("cpuset.cpus", 0o644, CPUSET, cpus, set_cpus),
    row("cpuset.effective_cpus", 0o444, CPUSET, effective_cpus, refuse),
    row("cpuset.effective_mems", 0o444, CPUSET, |_, _| text(0), refuse),
    row("cpuset.mems", 0o644, CPUSET, mems, set_mems),
    row("devices.allow", 0o200, DEVICES, |_, _| fail(Errno::EINVAL), |_, g, v| g.change_devices(true, v)),
    row("devices.deny", 0o200, DEVICES, |_, _| fail(Errno::EINVAL), |_, g, v| g.change_devices(false, v)),
    row("devices.list", 0o444, DEVICES, |_, g| Ok(g.device_list().into_bytes()), refuse),
    row("freezer.parent_freezing", 0o444, FREEZER, |_, g| text(u8::from(g.freezer().1)), refuse).nested(),
    row("freezer.self_freezing", 0o444, FREEZER, |_, g| text(u8::from(g.freezer().0)), refuse).nested(),
    row("freezer.state", 0o644, FREEZER, freezer_state, set_freezer_state).nested(),
    row("memory.failcnt", 0o644, MEMORY, |_, g| text(g.memory_failures()), reset_failures),
    row("memory.limit_in_bytes", 0o644, MEMORY, memory_limit, set_memory_limit),
    row("memory.max_usage_in_bytes", 0o644, MEMORY, |_, g| text(g.memory_peak()), reset_peak),
    row("memory.oom_control", 0o644, MEMORY, oom_control, set_oom_control),
    row("memory.stat", 0o444, MEMORY, memory_stat, refuse),
    row("memory.usage_in_bytes", 0o444, MEMORY, |_, g| text(g.memory().total()), refuse),
    row(
        "memory.use_hierarchy",
        0o644,
        MEMORY,
        |_, _| text(1),
        |_, _, v| if v == "1" { Ok(()) } else { fail(Errno::EINVAL) },
    ),
    pids_rows::CURRENT,
    pids_rows::EVENTS,
    pids_rows::MAX,
    pids_rows::PEAK,
];

/// What the options name. EINVAL for contradictions.
fn wanted(options: &[u8]) -> Op<Wanted> {
    let mut wanted = Wanted::default();
    let mut all = false;
    for option in options.split(|b| *b == b',').filter(|o| !o.is_empty()) {
        let option = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        match option {
            "all" => all = true,
            "none" => wanted.none = true,
            "clone_children" => wanted.clone_children = true,
            // About names of files and of attributes, where nothing differs.
            "xattr" | "favordynmods" | "nofavordynmods" => {}
            _ => match (option.strip_prefix("name="), Controllers::named(option)) {
                (Some(name), _) if wanted.name.is_none() && is_name(name) => wanted.name = Some(name.as_bytes().into()),
                (None, Some(controller)) => wanted.controllers |= controller,
                _ => return fail(Errno::EINVAL),
            },
        }
    }
    let some = !wanted.controllers.is_empty();
    if all && (some || wanted.none) || wanted.none && (some || wanted.name.is_none()) {
        return fail(Errno::EINVAL);
    }
    if all || !some && !wanted.none && wanted.name.is_none() {
        wanted.controllers = Controllers::all();
    }
    Ok(wanted)
}

fn is_name(name: &str) -> bool {
    (1..64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// One of several: whether they go together is seen when all are there.
fn option(option: &[u8]) -> Op<()> {
    if option == b"none" { Ok(()) } else { wanted(option).map(|_| ()) }
}

/// As /proc/PID/mountinfo has them, after others.
fn options(hierarchy: &Hierarchy, clone_children: bool) -> String {
    let mut all: Vec<String> = hierarchy.controllers().names().into_iter().map(String::from).collect();
    if clone_children {
        all.push("clone_children".into());
    }
    if !hierarchy.name.is_empty() {
        all.push(format!("name={}", String::from_utf8_lossy(&hierarchy.name)));
    }
    all.iter().map(|option| format!(",{option}")).collect()
}

/// A hierarchy that is there, or a new one, which only the container's own namespace can make.
fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let wanted = wanted(args.data)?;
    let ns = Namespaces::of(io).ok_or(Errno::EINVAL)?.cgroup;
    if !io.cred.has_in(&ns.owner, Cap::SysAdmin) {
        return fail(Errno::EPERM);
    }
    let all = ns.root.hierarchy.all().ok_or(Errno::EINVAL)?;
    let (top, mounted) = all.find_one(&wanted, ns.initial)?;
    Ok(ns.mounted(&top.hierarchy, || {
        let root = ns.root_in(&top);
        let options = options(&top.hierarchy, top.clone_children());
        let kind = Kind { name: "cgroup", magic: CGROUP_SUPER_MAGIC.into(), file_size: 0, options, pts: None };
        let folder = Group { group: root.clone(), _mounted: Some(mounted) };
        PseudoFs::mount(kind, Node::folder(0o755, folder).identified(root.id))
    }))
}

fn set_clone_children(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    group.set_clone_children(number(Some(value))? != 0);
    Ok(())
}

/// Besides the right to write the file: root, or the same user. EACCES.
fn movable(io: &Io<'_>, value: &str) -> Op<Arc<Task>> {
    let task = target(io, value)?;
    let (mine, theirs) = (io.cred.euid, task.cred());
    if mine != 0 && mine != theirs.uid && mine != theirs.suid { fail(Errno::EACCES) } else { Ok(task) }
}

fn move_process(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    group.attach(&movable(io, value)?.group)
}

fn move_thread(io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    group.attach_thread(&movable(io, value)?)
}

fn cfs_quota(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    match group.cpu_max().0 {
        MAX => text(-1),
        quota => text(quota),
    }
}

/// Below 0: none. No more than the groups above have.
fn set_cfs_quota(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    let value: i64 = value.parse().map_err(|_| Errno::EINVAL)?;
    set_cfs(group, u64::try_from(value).unwrap_or(MAX), group.cpu_max().1)
}

fn set_cfs_period(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    set_cfs(group, group.cpu_max().0, number(Some(value))?)
}

fn set_cfs(group: &Arc<Cgroup>, quota: u64, period: u64) -> Op<()> {
    if group.is_container() {
        return fail(Errno::EINVAL);
    }
    let more = |(quota, period): (u64, u64), than: (u64, u64)| {
        u128::from(quota) * u128::from(than.1) > u128::from(than.0) * u128::from(period)
    };
    let of = |group: &Arc<Cgroup>| Some(group.cpu_max()).filter(|max| max.0 != MAX);
    let new = (quota, period);
    if quota != MAX {
        let above = group.ancestry().skip(1).find_map(|group| of(&group));
        let below = group.subtree().into_iter().skip(1).filter_map(|group| of(&group));
        if above.is_some_and(|above| more(new, above)) || below.into_iter().any(|below| more(below, new)) {
            return fail(Errno::EINVAL);
        }
    }
    group.set_cpu_max(quota, period)
}

/// Time in ns.
fn cpu_stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let CpuLimits { periods, throttled, held } = group.cpu_limits();
    text(format_args!("nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {held}"))
}

/// In ticks.
fn cpuacct_stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let times = group.times();
    text(format_args!("user {}\nsystem {}", times.user / 10_000_000, times.system / 10_000_000))
}

fn reset_usage(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if number(Some(value))? != 0 {
        return fail(Errno::EINVAL);
    }
    group.reset_cpu_time();
    Ok(())
}

fn freezer_state(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let (own, above, all) = group.freezer();
    text(match (own || above, all) {
        (false, _) => "THAWED",
        (true, false) => "FREEZING",
        (true, true) => "FROZEN",
    })
}

fn set_freezer_state(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    match value {
        "FROZEN" => group.set_freezer(true),
        "THAWED" => group.set_freezer(false),
        _ => return fail(Errno::EINVAL),
    }
    Ok(())
}

/// The greatest that a limit can be: none.
const NO_LIMIT: u64 = i64::MAX as u64 & !4095;

fn memory_limit(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(group.memory_limit().min(NO_LIMIT))
}

fn set_memory_limit(_io: &mut Io<'_>, group: &Arc<Cgroup>, value: &str) -> Op<()> {
    if group.is_container() {
        return fail(Errno::EINVAL);
    }
    let bytes = if value == "-1" { MAX } else { super::controllers::bytes(value)? };
    group.set_memory_max(if bytes >= NO_LIMIT { MAX } else { bytes })
}

fn reset_failures(_io: &mut Io<'_>, group: &Arc<Cgroup>, _value: &str) -> Op<()> {
    group.reset_memory_failures();
    Ok(())
}

fn reset_peak(_io: &mut Io<'_>, group: &Arc<Cgroup>, _value: &str) -> Op<()> {
    group.reset_memory_peak();
    Ok(())
}

fn oom_control(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    text(format_args!("oom_kill_disable 0\nunder_oom 0\noom_kill {}", group.memory_events().oom_kill))
}

/// Nobody waits at a limit here.
fn set_oom_control(_io: &mut Io<'_>, _group: &Arc<Cgroup>, value: &str) -> Op<()> {
    match number(Some(value))? {
        0 => Ok(()),
        1 => fail(Errno::EOPNOTSUPP),
        _ => fail(Errno::EINVAL),
    }
}

fn memory_stat(_io: &mut Io<'_>, group: &Arc<Cgroup>) -> Op<Vec<u8>> {
    let limit = group.ancestry().map(|group| group.memory_limit()).min().unwrap_or(MAX).min(NO_LIMIT);
    let mut out = String::new();
    for (start, memory) in [("", group.own_memory()), ("total_", group.memory())] {
        let file = memory.file + memory.shmem;
        out.push_str(&format!("{start}cache {file}\n{start}rss {}\n{start}shmem {}\n", memory.anon, memory.shmem));
        out.push_str(&format!("{start}mapped_file {file}\n"));
        if start.is_empty() {
            out.push_str(&format!("hierarchical_memory_limit {limit}\n"));
        }
    }
    Ok(out.into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let ok = |text: &str| wanted(text.as_bytes()).unwrap();
        assert_eq!(ok("cpu,cpuacct").controllers, CPU | CPUACCT);
        assert_eq!(ok("").controllers, Controllers::all());
        assert_eq!(ok("name=foo").controllers, EVERY);
        assert_eq!(ok("none,name=a.b-c_1").name.as_deref(), Some(&b"a.b-c_1"[..]));
        for wrong in ["none", "all,cpu", "none,cpu", "x", "name=", "name=a/b", "name=a,name=b", "none,all"] {
            assert_eq!(wanted(wrong.as_bytes()), fail(Errno::EINVAL), "{wrong}");
        }
    }
}
