//! The private memory of an idle sandbox: all processes that descend from `stockade do -- sleep`, from their smaps_rollup.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Bytes of private memory, the command's own process included.
pub fn private(stockade: &Path, root: &Path) -> Result<u64> {
    let mut command = Command::new(stockade);
    command.args(["do", "--rootfs"]).arg(root).args(["--", "/bin/sleep", "5"]).stdin(Stdio::null());
    let mut child = command.spawn().context("cannot start stockade")?;
    std::thread::sleep(Duration::from_secs(2));
    let mut sum = 0;
    let mut count = 0;
    for pid in tree(child.id())? {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("Private_"));
        sum += lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1024;
        count += 1;
    }
    child.wait()?;
    if count < 2 {
        bail!("the sandbox ended early");
    }
    Ok(sum)
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
