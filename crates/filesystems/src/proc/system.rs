//! The files of /proc that are about the machine and the kernel. proc_uptime(5), proc_stat(5), proc_cpuinfo(5), ...
//!
//! Locks: `Leaf` around the load averages.

use super::{caller, locks, memory};
use crate::pseudo::{Node, Tree};
use kernel::cred::Cap;
use kernel::locks::Leaf;
use kernel::task::{GroupState, Stop};
use kernel::version::{RELEASE, SYSNAME, VERSION};
use kernel::vfs::{FileType, device_majors};
use kernel::{Io, Kernel, Op, fail};
use lock::Mutex;
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
    let kernel = kernel.clone();
    tree.add("kmsg", Node { perm: 0o400, ..Node::text(move |io: &mut Io<'_>| kmsg(io, &kernel)) });
    tree.add_folder("driver").add_folder("tty").add_folder("fs").add_folder("bus");
}

/// The guests' clocks are the host's, so the machine is as old as the host's CLOCK_BOOTTIME says.
fn since_boot() -> u64 {
    host::time::boottime()
}

/// CPU time in ns: of guests, and of the kernel itself.
fn used(kernel: &Kernel) -> (u64, u64) {
    let guests = kernel.root_pid_ns.groups().into_iter();
    let guests = guests.map(|(_, g)| g.cpu_time() + g.children_usage().cpu).sum();
    let own = host::rustix::time::clock_gettime(host::rustix::time::ClockId::ProcessCPUTime);
    (guests, own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64)
}

fn idle(kernel: &Kernel) -> u64 {
    let (user, system) = used(kernel);
    (since_boot() * kernel.cpus as u64).saturating_sub(user + system)
}

fn uptime(kernel: &Kernel) -> Vec<u8> {
    let show = |ns: u64| format!("{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100);
    format!("{} {}\n", show(since_boot()), show(idle(kernel))).into()
}

/// Tasks that run or could, all tasks, and those that wait.
fn tasks(kernel: &Kernel) -> (usize, usize) {
    let mut running = 0;
    let mut all = 0;
    for (_, group) in kernel.root_pid_ns.groups() {
        if group.state() != GroupState::Alive {
            continue;
        }
        let stopped = matches!(group.signals.lock().stop, Stop::Stopped(_));
        for task in group.tasks() {
            all += 1;
            running += usize::from(!stopped && !task.is_blocked());
        }
    }
    (running, all)
}

/// Load averages are brought up to date when they are read, with the CPU time used since: nothing wakes up for them. Where that was all
/// there is, tasks may have waited for a processor: then those that could run now count.
struct Load {
    at: u64,
    used: u64,
    averages: [f64; 3],
}

static LOAD: Mutex<Load, Leaf> = Mutex::new(Load { at: 0, used: 0, averages: [0.0; 3] });

impl Load {
    fn update(&mut self, now: u64, used: u64, running: f64, cpus: f64) {
        let passed = now.saturating_sub(self.at).max(1) as f64;
        let busy = used.saturating_sub(self.used) as f64 / passed;
        let load = if busy > 0.9 * cpus { busy.max(running) } else { busy };
        (self.at, self.used) = (now, used);
        for (average, span) in self.averages.iter_mut().zip([60e9, 300e9, 900e9]) {
            let keep = (-passed / span).exp();
            *average = *average * keep + load * (1.0 - keep);
        }
    }
}

/// When the oldest process that is left began.
fn oldest(kernel: &Kernel) -> u64 {
    let leaders = kernel.root_pid_ns.groups().into_iter().filter_map(|(_, group)| group.any_task());
    leaders.map(|task| task.started).min().unwrap_or_else(since_boot)
}

fn loadavg(io: &mut Io<'_>, kernel: &Arc<Kernel>) -> Op<Vec<u8>> {
    let (running, all) = tasks(kernel);
    let (now, used) = (since_boot(), used(kernel).0);
    let begin = oldest(kernel);
    let averages = {
        let mut load = LOAD.lock();
        if load.at == 0 {
            load.at = begin;
        }
        load.update(now, used, running as f64, kernel.cpus as f64);
        load.averages
    };
    let last = caller(io).ok().and_then(|task| task.pid.ns()).map_or(0, |ns| ns.last());
    let [a, b, c] = averages;
    Ok(format!("{a:.2} {b:.2} {c:.2} {running}/{all} {last}\n").into())
}

/// Context switches that this kernel makes: each task that waited left its processor. Those between guests' threads are the host's.
fn switches(kernel: &Kernel) -> u64 {
    let living = kernel.root_pid_ns.groups().into_iter().flat_map(|(_, group)| group.tasks());
    kernel.ended_waits.load(std::sync::atomic::Ordering::Relaxed) + living.map(|task| task.waits()).sum::<u64>()
}

/// Ticks of user, nice, system, idle, and what there is none of. Which processor ran what is the host's choice: each gets the same share.
fn stat(io: &mut Io<'_>, kernel: &Arc<Kernel>) -> Op<Vec<u8>> {
    let (user, system) = used(kernel);
    let idle = idle(kernel);
    let line = |parts: u64| {
        let ticks = |ns: u64| ns / parts / 10_000_000;
        format!("{} 0 {} {} 0 0 0 0 0 0\n", ticks(user), ticks(system), ticks(idle))
    };
    let mut out = format!("cpu  {}", line(1));
    for cpu in 0..kernel.cpus {
        out.push_str(&format!("cpu{cpu} {}", line(kernel.cpus.max(1) as u64)));
    }
    let (running, _) = tasks(kernel);
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

/// The kernel's log is the sandbox' own file on the host: here it is empty.
fn kmsg(io: &mut Io<'_>, _kernel: &Kernel) -> Op<Vec<u8>> {
    if io.cred.has(Cap::Syslog) { Ok(Vec::new()) } else { fail(abi::Errno::EPERM) }
}
