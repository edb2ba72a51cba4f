//! `events` and `update`: what a container uses, and what it may. Owns no locks but the container's file lock.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder};
use sandbox::spec::NewLimits;
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::cli::{Events, Update};
use crate::commands::{Context, print};
use crate::state::{Folder, Life, State};

pub fn run(context: &Context, args: Events) -> Result<u8> {
    let interval = duration(&args.interval)
        .ok_or_else(|| anyhow!("--interval {}: give a time such as 5s, 500ms or 1m", args.interval))?;
    let folder = context.root.folder(&args.id)?;
    let state = folder.read_whole()?;
    loop {
        if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
            if args.stats {
                bail!("container is not running");
            }
            return Ok(0);
        }
        print(&format!("{}\n", sample(&folder, &state)?))?;
        if args.stats {
            return Ok(0);
        }
        std::thread::sleep(interval);
    }
}

/// The guest's own counts, and the host's cgroup for what only it knows.
fn sample(folder: &Folder, state: &State) -> Result<Value> {
    let group = Cgroup::of(&state.cgroups);
    let guest = folder.connect()?.stats(&state.id)?;
    let (usage, max, limit, total) = if group.is_unified() {
        let cpu = group.read("cpu.stat", Some("usage_usec")).map(|us| us * 1000);
        (group.read("memory.current", None), group.read("memory.peak", None), group.read("memory.max", None), cpu)
    } else {
        let read = |file| group.read(file, None);
        (
            read("memory.usage_in_bytes"),
            read("memory.max_usage_in_bytes"),
            read("memory.limit_in_bytes"),
            read("cpuacct.usage"),
        )
    };
    let mut memory = json!({ "usage": usage.unwrap_or(guest.memory_bytes) });
    if let Some(object) = memory.as_object_mut() {
        object.extend(max.map(|n| ("max".to_string(), n.into())));
        object.extend(limit.map(|n| ("limit".to_string(), n.into())));
    }
    Ok(json!({
        "type": "stats",
        "id": state.id,
        "data": {
            "cpu": { "usage": { "total": total.unwrap_or(guest.cpu_total_ns) } },
            "memory": { "usage": memory },
            "pids": { "current": guest.pids },
            "stockade": super::counters::as_json(&guest.counters),
        }
    }))
}

pub fn update(context: &Context, args: Update) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    let _lock = folder.lock()?;
    let state = folder.read_whole()?;
    if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
        bail!("container not running");
    }
    let resources = match &args.resources {
        Some(path) => from_file(path)?,
        None => from_flags(&args)?,
    };
    let cgroup = Cgroup::of(&state.cgroups);
    cgroup.update(&resources)?;
    let mut limits = crate::config::new_limits(&resources);
    if limits.memory.is_some() {
        limits.memory_allowed = Some(cgroup.memory().unwrap_or(u64::MAX));
    }
    if limits != NewLimits::default() {
        folder.connect()?.limit(&args.id, limits)?;
    }
    Ok(0)
}

fn from_file(path: &std::path::Path) -> Result<LinuxResources> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let value: Value = serde_json::from_str(&text).context("the resources are not valid JSON")?;
    serde_path_to_error::deserialize(value).map_err(|e| anyhow!("field {}: {}", e.path(), e.inner()))
}

fn from_flags(args: &Update) -> Result<LinuxResources> {
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(n) = args.memory {
        memory = memory.limit(n);
    }
    if let Some(n) = args.memory_reservation {
        memory = memory.reservation(n);
    }
    if let Some(n) = args.memory_swap {
        memory = memory.swap(n);
    }
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(n) = args.cpu_share {
        cpu = cpu.shares(n);
    }
    if let Some(n) = args.cpu_quota {
        cpu = cpu.quota(n);
    }
    if let Some(n) = args.cpu_period {
        cpu = cpu.period(n);
    }
    if let Some(list) = &args.cpuset_cpus {
        cpu = cpu.cpus(list.clone());
    }
    if let Some(list) = &args.cpuset_mems {
        cpu = cpu.mems(list.clone());
    }
    let mut all = LinuxResourcesBuilder::default().memory(memory.build()?).cpu(cpu.build()?);
    if let Some(n) = args.pids_limit {
        all = all.pids(LinuxPidsBuilder::default().limit(n).build()?);
    }
    Ok(all.build()?)
}

/// Go's notation, as far as it makes sense here.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}
