//! `linux.resources` as lines to write into a cgroup's files, of either version (config-linux.md of the OCI runtime specification; cgroups(7)).
//!
//! What a sandbox cannot use up, huge pages of hugetlbfs, the host's network and RDMA, has no limit here. Neighbours: the cgroup, which writes them. Owns no locks.

use anyhow::{Result, bail};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

/// Processes and threads of ours that come on top of the guest's: the guest's own limit is kept by its kernel.
const OVERHEAD_PIDS: i64 = 256;

/// One limit.
pub struct Setting {
    /// Below `linux.resources`.
    pub field: String,
    pub legacy: Entry,
    pub unified: Entry,
}

/// What to write, into the first of these files that there is. No files: the version has nothing of the kind.
#[derive(Default)]
pub struct Entry {
    pub files: Vec<String>,
    pub value: String,
}

impl Entry {
    fn new(files: &[&str], value: impl ToString) -> Entry {
        Entry { files: files.iter().map(|f| f.to_string()).collect(), value: value.to_string() }
    }
}

/// In the order in which they are to be written.
pub fn settings(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut list = List(Vec::new());
    if let Some(memory) = resources.memory() {
        list.memory(memory)?;
    }
    if let Some(limit) = resources.pids().as_ref().map(|p| p.limit()).filter(|n| *n != 0) {
        let word = if limit < 0 { -1 } else { limit.saturating_add(OVERHEAD_PIDS) };
        list.add("pids.limit", Entry::new(&["pids.max"], max(word)), Entry::new(&["pids.max"], max(word)));
    }
    if let Some(cpu) = resources.cpu() {
        list.cpu(cpu);
    }
    if let Some(io) = resources.block_io() {
        list.block_io(io);
    }
    let mut raw: Vec<_> = resources.unified().iter().flatten().collect();
    raw.sort();
    for (file, value) in raw {
        if file.contains('/') || !file.contains('.') {
            bail!("field linux.resources.unified: {file:?} is no file of a cgroup: give names such as memory.high");
        }
        // No file of version 1 has such a name.
        let nowhere = Entry::new(&["(cgroup v2)"], value);
        list.add(format!("unified.{file}"), nowhere, Entry::new(&[file], value));
    }
    Ok(list.0)
}

struct List(Vec<Setting>);

impl List {
    fn add(&mut self, field: impl Into<String>, legacy: Entry, unified: Entry) {
        self.0.push(Setting { field: field.into(), legacy, unified });
    }

    fn memory(&mut self, memory: &LinuxMemory) -> Result<()> {
        let mut add = |field, legacy, unified, value: i64, only: i64| {
            self.add(field, Entry::new(&[legacy], value), Entry::new(&[unified], max(only)));
        };
        if let Some(limit) = memory.limit().filter(|n| *n != 0) {
            add("memory.limit", "memory.limit_in_bytes", "memory.max", limit, limit);
        }
        if let Some(reservation) = memory.reservation().filter(|n| *n != 0) {
            add("memory.reservation", "memory.soft_limit_in_bytes", "memory.low", reservation, reservation);
        }
        if let Some(swap) = memory.swap().filter(|n| *n != 0) {
            let only = match memory.limit() {
                Some(limit) if swap > 0 && limit > swap => bail!(
                    "field linux.resources.memory.swap: {swap} is memory and swap together, so it cannot be below the limit {limit}"
                ),
                Some(limit) if swap > 0 => swap - limit,
                _ => swap,
            };
            add("memory.swap", "memory.memsw.limit_in_bytes", "memory.swap.max", swap, only);
        }
        if let Some(swappiness) = memory.swappiness() {
            self.add("memory.swappiness", Entry::new(&["memory.swappiness"], swappiness), Entry::default());
        }
        if memory.disable_oom_killer() == Some(true) {
            self.add("memory.disableOOMKiller", Entry::new(&["memory.oom_control"], 1), Entry::default());
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &LinuxCpu) {
        if let Some(shares) = cpu.shares().filter(|n| *n != 0) {
            let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142;
            self.add("cpu.shares", Entry::new(&["cpu.shares"], shares), Entry::new(&["cpu.weight"], weight));
        }
        if let Some(idle) = cpu.idle() {
            self.add("cpu.idle", Entry::new(&["cpu.idle"], idle), Entry::new(&["cpu.idle"], idle));
        }
        let period = cpu.period().filter(|n| *n != 0);
        if let Some(period) = period {
            self.add("cpu.period", Entry::new(&["cpu.cfs_period_us"], period), Entry::default());
        }
        if let Some(quota) = cpu.quota().filter(|n| *n != 0) {
            let unified = format!("{} {}", max(quota), period.unwrap_or(100_000));
            self.add("cpu.quota", Entry::new(&["cpu.cfs_quota_us"], quota), Entry::new(&["cpu.max"], unified));
        }
        if let Some(burst) = cpu.burst() {
            self.add("cpu.burst", Entry::new(&["cpu.cfs_burst_us"], burst), Entry::new(&["cpu.max.burst"], burst));
        }
        if let Some(period) = cpu.realtime_period().filter(|n| *n != 0) {
            self.add("cpu.realtimePeriod", Entry::new(&["cpu.rt_period_us"], period), Entry::default());
        }
        if let Some(runtime) = cpu.realtime_runtime().filter(|n| *n != 0) {
            self.add("cpu.realtimeRuntime", Entry::new(&["cpu.rt_runtime_us"], runtime), Entry::default());
        }
        for (field, value, name) in [("cpu.cpus", cpu.cpus(), "cpuset.cpus"), ("cpu.mems", cpu.mems(), "cpuset.mems")] {
            if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
                self.add(field, Entry::new(&[name], value), Entry::new(&[name], value));
            }
        }
    }

    /// The host's devices, by whose files' reads and writes a container is slowed down: gofer and kernel process make them in its cgroup.
    fn block_io(&mut self, io: &LinuxBlockIo) {
        const LEGACY: [&str; 2] = ["blkio.weight", "blkio.bfq.weight"];
        const LEGACY_DEVICE: [&str; 2] = ["blkio.weight_device", "blkio.bfq.weight_device"];
        const UNIFIED: [&str; 2] = ["io.bfq.weight", "io.weight"];
        if let Some(weight) = io.weight().filter(|n| *n != 0) {
            self.add("blockIO.weight", Entry::new(&LEGACY, weight), Entry::new(&UNIFIED, weight));
        }
        for device in io.weight_device().iter().flatten() {
            let Some(weight) = device.weight().filter(|n| *n != 0) else { continue };
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            self.add("blockIO.weightDevice", Entry::new(&LEGACY_DEVICE, &line), Entry::new(&UNIFIED, &line));
        }
        let mut throttle = |field, devices: &Option<Vec<LinuxThrottleDevice>>, legacy, unified| {
            for device in devices.iter().flatten() {
                let (device, rate) = (format!("{}:{}", device.major(), device.minor()), device.rate());
                // 0 means no limit.
                let word = if rate == 0 { "max".to_string() } else { rate.to_string() };
                let unified = Entry::new(&["io.max"], format!("{device} {unified}={word}"));
                self.add(field, Entry::new(&[legacy], format!("{device} {rate}")), unified);
            }
        };
        let (read, write) = (io.throttle_read_bps_device(), io.throttle_write_bps_device());
        throttle("blockIO.throttleReadBpsDevice", read, "blkio.throttle.read_bps_device", "rbps");
        throttle("blockIO.throttleWriteBpsDevice", write, "blkio.throttle.write_bps_device", "wbps");
        let (read, write) = (io.throttle_read_iops_device(), io.throttle_write_iops_device());
        throttle("blockIO.throttleReadIOPSDevice", read, "blkio.throttle.read_iops_device", "riops");
        throttle("blockIO.throttleWriteIOPSDevice", write, "blkio.throttle.write_iops_device", "wiops");
    }
}

/// Version 2's word: below 0 means no limit.
fn max(value: i64) -> String {
    if value < 0 { "max".to_string() } else { value.to_string() }
}
