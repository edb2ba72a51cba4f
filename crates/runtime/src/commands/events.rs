//! `events`: what a container uses. Owns no locks.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::cli::Events;
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
