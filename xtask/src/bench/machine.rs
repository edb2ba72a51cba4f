//! What a figure must be read with: processor, cores, memory, kernel.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::run;

#[derive(Default, Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_kib: u64,
    kernel: String,
    load_before: String,
    commit: String,
}

pub fn describe() -> Result<Machine> {
    let line = |path: &str, name: &str| -> String {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name));
        found.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string()).unwrap_or_default()
    };
    Ok(Machine {
        processor: line("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism()?.get(),
        memory_kib: line("/proc/meminfo", "MemTotal").split(' ').next().unwrap_or("0").parse().unwrap_or(0),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into(),
        load_before: std::fs::read_to_string("/proc/loadavg")?.trim().into(),
        commit: run::output(&mut run::command("git", &["rev-parse", "--short", "HEAD"]))
            .unwrap_or_default()
            .trim()
            .into(),
    })
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.memory_kib / 1024 / 1024;
        write!(
            f,
            "{}, {} cores, {gib} GiB, Linux {}; load {}",
            self.processor, self.cores, self.kernel, self.load_before
        )
    }
}
