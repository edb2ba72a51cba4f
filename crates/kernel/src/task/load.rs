//! Load averages: proc_loadavg(5), sysinfo(2).
//!
//! They are brought up to date when they are asked for, with the CPU time used since: nothing wakes up for them. Where that was all there is, tasks may have waited for a processor: then those that could run now
//! count. Locks: `Leaf` around the averages.

use super::{GroupState, Stop};
use crate::Kernel;
use crate::locks::Leaf;
use host::process::CpuTimes;
use lock::Mutex;

struct Load {
    at: u64,
    used: u64,
    averages: [f64; 3],
}

static LOAD: Mutex<Load, Leaf> = Mutex::new(Load { at: 0, used: 0, averages: [0.0; 3] });

/// Of the last 1, 5 and 15 minutes.
pub fn averages(kernel: &Kernel) -> [f64; 3] {
    let (running, _) = tasks(kernel);
    let (now, used) = (host::time::boottime(), cpu_time(kernel));
    let begin = oldest(kernel).unwrap_or(now);
    let mut load = LOAD.lock();
    if load.at == 0 {
        load.at = begin;
    }
    load.update(now, used, running as f64, kernel.cpus as f64);
    load.averages
}

/// Tasks that run or could, and all.
pub fn tasks(kernel: &Kernel) -> (usize, usize) {
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

/// CPU time of all guests, ns.
pub fn cpu_time(kernel: &Kernel) -> u64 {
    let groups = kernel.root_pid_ns.groups().into_iter();
    groups.map(|(_, group)| group.cpu_time() + group.children_usage().cpu()).sum()
}

/// How the CPU time of all guests is split, and the part of their system time that the kernel process has used.
pub fn times(kernel: &Kernel) -> (CpuTimes, u64) {
    let groups = kernel.root_pid_ns.groups().into_iter();
    groups.fold(Default::default(), |(times, calls), (_, group)| {
        let own = group.usage().calls + group.children_usage().calls;
        (times + group.times() + group.children_times(), calls + own)
    })
}

/// When the oldest process that is left began.
fn oldest(kernel: &Kernel) -> Option<u64> {
    let leaders = kernel.root_pid_ns.groups().into_iter().filter_map(|(_, group)| group.any_task());
    leaders.map(|task| task.started).min()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_follow_what_is_used() {
        let minute = 60_000_000_000;
        let mut load = Load { at: 0, used: 0, averages: [0.0; 3] };
        load.update(minute, minute, 1.0, 2.0);
        assert!((load.averages[0] - 0.632).abs() < 0.001 && load.averages[2] < 0.1);
        // Both processors were busy: who waits for them counts, too.
        load.update(2 * minute, 3 * minute, 5.0, 2.0);
        assert!(load.averages[0] > 3.0);
        load.update(20 * minute, 3 * minute, 0.0, 2.0);
        assert!(load.averages[0] < 0.01);
    }
}
