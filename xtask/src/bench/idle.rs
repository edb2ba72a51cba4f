//! What an idle sandbox costs: private memory and CPU time of all processes that descend from `stockade do -- sleep`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// Of all processes together, the command's own included.
#[derive(Clone, Copy, Serialize)]
pub struct Idle {
    /// Bytes, from their smaps_rollup.
    pub private: u64,
    /// Nanoseconds on a processor within `SECONDS`, from their threads' schedstat.
    pub cpu: u64,
}

/// How long CPU time is watched.
pub const SECONDS: u64 = 10;

pub fn measure(stockade: &Path, root: &Path) -> Result<Idle> {
    let mut command = Command::new(stockade);
    let sleep = (SECONDS + 4).to_string();
    command.args(["do", "--rootfs"]).arg(root).args(["--", "/bin/sleep", &sleep]).stdin(Stdio::null());
    let mut child = command.spawn().context("cannot start stockade")?;
    std::thread::sleep(Duration::from_secs(2));
    let pids = tree(child.id())?;
    let before = cpu(&pids);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let idle = Idle { private: pids.iter().map(|pid| private(*pid)).sum(), cpu: cpu(&pids).saturating_sub(before) };
    child.wait()?;
    if pids.len() < 2 {
        bail!("the sandbox ended early");
    }
    Ok(idle)
}

/// Private memory of a process and all its descendants, in bytes.
pub fn private_memory(top: u32) -> Result<u64> {
    Ok(tree(top)?.into_iter().map(private).sum())
}

fn private(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1024
}

fn cpu(pids: &[u32]) -> u64 {
    let threads = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten().flatten();
    let time = |text: String| text.split_whitespace().next()?.parse::<u64>().ok();
    threads.filter_map(|thread| time(fs::read_to_string(thread.path().join("schedstat")).ok()?)).sum()
}

/// A process and all its descendants.
fn tree(top: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(')').map_or("", |parts| parts.1);
        if let Some(parent) = after.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut found = vec![top];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child));
        at += 1;
    }
    Ok(found)
}
