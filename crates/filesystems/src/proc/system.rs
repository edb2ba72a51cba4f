//! The files of /proc that are about the machine and the kernel. proc_uptime(5), proc_stat(5), proc_cpuinfo(5), ...
//! Owns no locks.

use super::{caller, kmsg, locks, memory};
use crate::pseudo::{Node, Tree};
use host::process::CpuTimes;
use kernel::task::load;
use kernel::version::{RELEASE, SYSNAME, VERSION};
use kernel::vfs::{FileType, device_majors};
use kernel::{Io, Kernel, Op};
use std::sync::Arc;

pub fn add(tree: &mut Tree, kernel: &Arc<Kernel>) {
    let mut text = |name: &str, make: fn(&mut Io<'_>, &Arc<Kernel>) -> Op<Vec<u8>>| {
        let kernel = kernel.clone();
        tree.add(name, Node::text(move |io: &mut Io<'_>| make(io, &kernel)));
    };
    text("uptime", |_, k| Ok(uptime(k)));
    text("loadavg", loadavg);
    text("meminfo", |_, k| Ok(memory::meminfo(k)));
    text("stat", stat);
    text("cpuinfo", |_, k| Ok(cpuinfo(k)));
    text("version", |_, _| Ok(format!("{SYSNAME} version {RELEASE} (stockade) {VERSION}\n").into()));
    text("cmdline", |_, _| Ok(b"\n".to_vec()));
    text("filesystems", |_, k| Ok(filesystems(k)));
    text("devices", |_, _| Ok(devices()));
    text("vmstat", |_, k| Ok(memory::vmstat(k)));
    text("swaps", |_, _| Ok(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec()));
    text("partitions", |_, _| Ok(b"major minor  #blocks  name\n\n".to_vec()));
    text("diskstats", |_, _| Ok(Vec::new()));
    text("modules", |_, _| Ok(Vec::new()));
    text("misc", |_, _| Ok(Vec::new()));
    text("cgroups", |io, _| crate::cgroup::proc::cgroups(io));
    text("locks", |io, k| locks::locks(io, k));
    tree.add("kmsg", kmsg::node());
    tree.add_folder("driver").add_folder("tty").add_folder("fs").add_folder("bus");
}

/// The guests' clocks are the host's, so the machine is as old as the host's CLOCK_BOOTTIME says.
fn since_boot() -> u64 {
    host::time::boottime()
}

/// CPU time in ns: of guests, and of the kernel itself, which is system time altogether, whether a guest's call was charged for it or not.
fn used(kernel: &Kernel) -> CpuTimes {
    let own = host::rustix::time::clock_gettime(host::rustix::time::ClockId::ProcessCPUTime);
    let own = own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64;
    let (guests, calls) = load::times(kernel);
    CpuTimes { user: guests.user, system: guests.system.saturating_sub(calls) + own }
}

fn idle(used: CpuTimes, kernel: &Kernel) -> u64 {
    (since_boot() * kernel.cpus as u64).saturating_sub(used.total())
}

fn uptime(kernel: &Kernel) -> Vec<u8> {
    let show = |ns: u64| format!("{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100);
    format!("{} {}\n", show(since_boot()), show(idle(used(kernel), kernel))).into()
}

fn loadavg(io: &mut Io<'_>, kernel: &Arc<Kernel>) -> Op<Vec<u8>> {
    let (running, all) = load::tasks(kernel);
    let last = caller(io).ok().and_then(|task| task.pid.ns()).map_or(0, |ns| ns.last());
    let [a, b, c] = load::averages(kernel);
    Ok(format!("{a:.2} {b:.2} {c:.2} {running}/{all} {last}\n").into())
}

/// Context switches that this kernel makes: each task that waited left its processor. Those between guests' threads are the host's.
fn switches(kernel: &Kernel) -> u64 {
    let living = kernel.root_pid_ns.groups().into_iter().flat_map(|(_, group)| group.tasks());
    kernel.ended_waits.load(std::sync::atomic::Ordering::Relaxed) + living.map(|task| task.waits()).sum::<u64>()
}

/// Ticks of user, nice, system, idle, and what there is none of. Which processor ran what is the host's choice: each gets the same share.
fn stat(io: &mut Io<'_>, kernel: &Arc<Kernel>) -> Op<Vec<u8>> {
    let used = used(kernel);
    let idle = idle(used, kernel);
    let line = |parts: u64| {
        let ticks = |ns: u64| ns / parts / 10_000_000;
        format!("{} 0 {} {} 0 0 0 0 0 0\n", ticks(used.user), ticks(used.system), ticks(idle))
    };
    let mut out = format!("cpu  {}", line(1));
    for cpu in 0..kernel.cpus {
        out.push_str(&format!("cpu{cpu} {}", line(kernel.cpus.max(1) as u64)));
    }
    let (running, _) = load::tasks(kernel);
    let boot = kernel::time::realtime().saturating_sub(since_boot()) / 1_000_000_000;
    let last = caller(io).ok().and_then(|task| task.pid.ns()).map_or(0, |ns| ns.last());
    // Interrupts are the host's.
    out.push_str(&format!("intr 0\nctxt {}\n", switches(kernel)));
    out.push_str(&format!(
        "btime {boot}\nprocesses {last}\nprocs_running {running}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
    ));
    Ok(out.into())
}

/// The host's processors, as many as guests see.
fn cpuinfo(kernel: &Kernel) -> Vec<u8> {
    let text = &crate::facts::get().cpuinfo;
    let mut out = String::new();
    for (at, block) in text.split("\n\n").filter(|b| !b.trim().is_empty()).take(kernel.cpus).enumerate() {
        for line in block.lines() {
            match line.split_once(':') {
                Some((key, _)) if key.trim() == "processor" => out.push_str(&format!("processor\t: {at}\n")),
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        out.push('\n');
    }
    out.into()
}

fn filesystems(kernel: &Kernel) -> Vec<u8> {
    let line = |t: &&kernel::vfs::FsType| format!("{}\t{}\n", if t.nodev { "nodev" } else { "" }, t.name);
    kernel.fs_types().iter().map(line).collect::<String>().into()
}

fn devices() -> Vec<u8> {
    let list = |kind| -> String {
        device_majors(kind).into_iter().map(|(major, name)| format!("{major:3} {name}\n")).collect()
    };
    format!("Character devices:\n{}\nBlock devices:\n{}", list(FileType::Char), list(FileType::Block)).into()
}
