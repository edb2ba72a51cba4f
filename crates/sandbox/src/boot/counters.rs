//! What `events --stats` and `debug --counters` tell of the sandbox as a whole: by which ways calls came in, and which. Owns no locks.

use crate::machine::Counters;
use kernel::Kernel;
use std::sync::atomic::Ordering::Relaxed;

pub fn read(kernel: &Kernel) -> Counters {
    let platform = kernel.platform.stats().list().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let counted = kernel.calls.iter().map(|count| count.load(Relaxed)).enumerate().filter(|(_, count)| *count > 0);
    let name = |nr: usize| (kernel.table)(nr as u32).map_or_else(|| format!("call {nr}"), |row| row.name.to_string());
    let mut calls: Vec<_> = counted.map(|(nr, count)| (name(nr), count)).collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Counters { platform, calls }
}
