//! /proc/PID/maps, smaps and smaps_rollup. proc_pid_maps(5), proc_pid_smaps(5).
//!
//! The map is the kernel's; what of it is resident is the host's knowledge of the stub process.

use super::Target;
use kernel::mm::{MapsLine, Mm};
use kernel::vfs::Path;
use kernel::{Io, Op};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The map, and the root that names are seen from.
fn areas(io: &Io<'_>, t: &Target) -> Option<(Arc<Mm>, Vec<MapsLine>, Path)> {
    let mm = t.mm()?;
    let root = kernel::task::Task::of(io).map_or_else(|| t.task.fs().root(), |task| task.fs().root());
    let lines = mm.maps();
    Some((mm, lines, root))
}

/// The header line of an area.
fn header(io: &mut Io<'_>, line: &MapsLine, root: &Path, out: &mut Vec<u8>) {
    let mut device = 0;
    let mut ino = 0;
    let mut name = line.label.clone().map(String::into_bytes);
    if let Some(file) = &line.file {
        if let Some(inode) = &file.inode {
            device = inode.fs.dev;
            ino = inode.ino;
        }
        name = match &file.path {
            Some(path) => Some(path.name_from(root).shown()),
            None => file.ops.label().map(String::into_bytes),
        };
    }
    let _ = io;
    let (major, minor) = (abi::fs::major(device), abi::fs::minor(device));
    let start = out.len();
    let text = format!(
        "{:08x}-{:08x} {} {:08x} {major:02x}:{minor:02x} {ino} ",
        line.range.start,
        line.range.end,
        line.permissions(),
        line.offset
    );
    out.extend_from_slice(text.as_bytes());
    if let Some(name) = name {
        while out.len() - start < 73 {
            out.push(b' ');
        }
        for byte in name {
            if byte == b'\n' { out.extend_from_slice(b"\\012") } else { out.push(byte) }
        }
    }
    out.push(b'\n');
}

pub fn maps(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let mut out = Vec::new();
    if let Some((_, lines, root)) = areas(io, t) {
        for line in &lines {
            header(io, line, &root, &mut out);
        }
    }
    Ok(out)
}

/// Amounts in kB in the order in which smaps shows them.
const KEYS: [&str; 20] = [
    "Rss",
    "Pss",
    "Pss_Dirty",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Referenced",
    "Anonymous",
    "KSM",
    "LazyFree",
    "AnonHugePages",
    "ShmemPmdMapped",
    "FilePmdMapped",
    "Shared_Hugetlb",
    "Private_Hugetlb",
    "Swap",
    "SwapPss",
    "Locked",
    "THPeligible",
];

/// Amounts of a mapping.
type Amounts = [u64; KEYS.len()];

/// What the host says of its mappings: their starts, with amounts.
fn host_amounts(mm: &Mm) -> BTreeMap<u64, Amounts> {
    let Some(text) = platform::block_in_place(|| mm.space().smaps()) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    let mut at = None;
    for line in text.lines() {
        let Some((first, rest)) = line.split_once(' ') else { continue };
        if let Some(key) = first.strip_suffix(':') {
            let value = rest.split_ascii_whitespace().next().and_then(|v| v.parse::<u64>().ok());
            let index = KEYS.iter().position(|k| *k == key);
            if let (Some(at), Some(index), Some(value)) = (at, index, value)
                && let Some(slot) = all.entry(at).or_insert([0; KEYS.len()]).get_mut(index)
            {
                *slot = value;
            }
        } else {
            at = first.split_once('-').and_then(|(start, _)| u64::from_str_radix(start, 16).ok());
        }
    }
    all
}

/// What is resident of an area: the host may have cut it into several mappings.
fn amounts(host: &BTreeMap<u64, Amounts>, line: &MapsLine) -> Amounts {
    let mut sum = [0; KEYS.len()];
    for (_, part) in host.range(line.range.clone()) {
        for (to, from) in sum.iter_mut().zip(part) {
            *to += from;
        }
    }
    if let Some(eligible) = sum.last_mut() {
        *eligible = (*eligible).min(1);
    }
    sum
}

fn put(out: &mut Vec<u8>, key: &str, kb: u64) {
    let line = match key {
        "THPeligible" => format!("{key}:    {kb:8}\n"),
        _ => format!("{:15} {kb:8} kB\n", format!("{key}:")),
    };
    out.extend_from_slice(line.as_bytes());
}

pub fn smaps(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let mut out = Vec::new();
    let Some((mm, lines, root)) = areas(io, t) else { return Ok(out) };
    let host = host_amounts(&mm);
    for line in &lines {
        header(io, line, &root, &mut out);
        put(&mut out, "Size", (line.range.end - line.range.start) / 1024);
        put(&mut out, "KernelPageSize", 4);
        put(&mut out, "MMUPageSize", 4);
        for (key, kb) in KEYS.iter().zip(amounts(&host, line)) {
            put(&mut out, key, kb);
        }
        out.extend_from_slice(format!("VmFlags: {}\n", line.vm_flags()).as_bytes());
    }
    Ok(out)
}

pub fn smaps_rollup(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let mut out = Vec::new();
    let Some((mm, lines, _)) = areas(io, t) else { return Ok(out) };
    let host = host_amounts(&mm);
    let (start, end) = (lines.first().map_or(0, |l| l.range.start), lines.last().map_or(0, |l| l.range.end));
    let mut sum = [0; KEYS.len()];
    for line in &lines {
        for (to, from) in sum.iter_mut().zip(amounts(&host, line)) {
            *to += from;
        }
    }
    let head = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    out.extend_from_slice(format!("{head:73}[rollup]\n").as_bytes());
    for (key, kb) in KEYS.iter().zip(sum).filter(|(key, _)| **key != "THPeligible") {
        put(&mut out, key, kb);
    }
    Ok(out)
}
