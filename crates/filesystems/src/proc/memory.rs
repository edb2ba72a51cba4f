//! /proc/meminfo: the sandbox' memory, as far as the host tells. proc_meminfo(5).

use kernel::Kernel;
use std::collections::HashMap;

/// Amounts of the host's meminfo in kB.
fn host(kernel: &Kernel) -> HashMap<String, u64> {
    let text = platform::block_in_place(|| kernel.platform.host_proc("meminfo")).unwrap_or_default();
    let amount = |line: &str| {
        let (key, rest) = line.split_once(':')?;
        Some((key.to_owned(), rest.split_ascii_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(amount).collect()
}

/// Pages, by the same counts as meminfo. Nothing is paged to or from a device: there is neither a block device nor swap. vmstat(8).
pub fn vmstat(kernel: &Kernel) -> Vec<u8> {
    let host = host(kernel);
    let total = kernel::memory::total() / 1024;
    let free = kernel.memory_free() / 1024;
    let of_host = |keys: &[&str]| {
        let kb: u64 = keys.iter().filter_map(|key| host.get(*key)).sum();
        kb.min(total.saturating_sub(free))
    };
    let counts = [
        ("nr_free_pages", free),
        ("nr_anon_pages", of_host(&["AnonPages"])),
        ("nr_mapped", of_host(&["Mapped"])),
        ("nr_file_pages", of_host(&["Cached", "Buffers"])),
        ("nr_dirty", of_host(&["Dirty"])),
        ("nr_writeback", of_host(&["Writeback"])),
        ("nr_shmem", of_host(&["Shmem"])),
    ];
    let mut out: String = counts.iter().map(|(key, kb)| format!("{key} {}\n", kb / 4)).collect();
    for key in ["pgpgin", "pgpgout", "pswpin", "pswpout"] {
        out.push_str(&format!("{key} 0\n"));
    }
    out.into()
}

/// Guests use the host's memory, up to a limit: what is free is the less of the two; the caches are the host's.
pub fn meminfo(kernel: &Kernel) -> Vec<u8> {
    let host = host(kernel);
    let total = kernel::memory::total() / 1024;
    let free = kernel.memory_free() / 1024;
    let of_host = |key: &str| host.get(key).copied();
    let available = of_host("MemAvailable").unwrap_or(free).clamp(free, total.max(free));
    let rest = total.saturating_sub(free);
    let mut out = String::new();
    let mut line = |key: &str, kb: u64| out.push_str(&format!("{:15} {kb:8} kB\n", format!("{key}:")));
    line("MemTotal", total);
    line("MemFree", free);
    line("MemAvailable", available);
    for key in ["Buffers", "Cached"] {
        line(key, of_host(key).unwrap_or(0).min(rest));
    }
    line("SwapCached", 0);
    for key in ["Active", "Inactive", "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Mlocked"] {
        if let Some(kb) = of_host(key) {
            line(key, kb.min(rest));
        }
    }
    line("SwapTotal", 0);
    line("SwapFree", 0);
    for key in ["Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable"] {
        if let Some(kb) = of_host(key) {
            line(key, kb.min(rest));
        }
    }
    for key in ["SUnreclaim", "PageTables", "CommitLimit", "Committed_AS", "AnonHugePages"] {
        if let Some(kb) = of_host(key) {
            line(key, kb);
        }
    }
    for key in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        out.push_str(&format!("{:15} {:8}\n", format!("{key}:"), 0));
    }
    out.push_str(&format!("{:15} {:8} kB\n", "Hugepagesize:", 2048));
    out.into()
}
