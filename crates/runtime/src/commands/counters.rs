//! `debug --counters`: by which ways system calls came in, and which: why a program is slow. Of the sandbox as a whole, since its start. Owns no locks.

use std::fmt::Write;

use anyhow::Result;
use sandbox::machine::Counters;
use serde_json::{Map, Value, json};

use crate::cli::Format;
use crate::commands::{Context, print};

/// What each of the platform's counters means, for the table; docs/performance.md has what they cost.
const MEANINGS: [(&str, &str); 12] = [
    ("polled", "calls through shared memory, by the poller"),
    ("reads", "of files, by the stub that wants them"),
    ("direct", "calls by notification, from where they stand"),
    ("trapped", "calls by a signal, with all registers"),
    ("kicks", "threads brought in by a signal"),
    ("faults", "faults of guest code"),
    ("parks", "threads that waited long, parked"),
    ("handovers", "listeners handed to another worker before a host call that may sleep"),
    ("forks", "stub processes and threads made by fork and clone"),
    ("spawns", "programs started in a stub process of their own"),
    ("fresh", "stub processes made for them by a zygote"),
    ("violations", "messages of a stub that broke the rules"),
];

pub fn show(context: &Context, id: &str, format: Format) -> Result<u8> {
    let folder = context.root.folder(id)?;
    folder.read_whole()?;
    let counters = folder.connect()?.stats(id)?.counters;
    print(&match format {
        Format::Json => serde_json::to_string_pretty(&as_json(&counters))? + "\n",
        Format::Table => table(&counters),
    })
}

pub fn as_json(counters: &Counters) -> Value {
    let object = |list: &[(String, u64)]| list.iter().map(|(name, n)| (name.clone(), json!(n))).collect::<Map<_, _>>();
    json!({ "platform": object(&counters.platform), "calls": object(&counters.calls) })
}

fn table(counters: &Counters) -> String {
    let all: u64 = counters.calls.iter().map(|(_, n)| n).sum();
    let mut text = format!("{:>12}  WAY\n", "COUNT");
    for (name, count) in &counters.platform {
        let meaning = MEANINGS.iter().find(|(known, _)| known == name).map_or("", |(_, meaning)| meaning);
        let _ = writeln!(text, "{count:>12}  {name:<10} {meaning}");
    }
    let _ = writeln!(text, "\n{:>12}  {:>6}  CALL", "COUNT", "SHARE");
    for (name, count) in &counters.calls {
        let share = *count as f64 * 100.0 / all as f64;
        let _ = writeln!(text, "{count:>12}  {share:5.1}%  {name}");
    }
    text
}
