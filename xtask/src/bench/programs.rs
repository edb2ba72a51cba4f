//! `cargo xtask bench programs`: the works of guest-tests/programs/bench/programs.sh under runc and under stockade in turn, from the start of the container to its end: wall-clock time, and
//! the processor time of the whole machine, which is therefore to be idle otherwise. docs/performance.md explains the figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::places::{self, Place};
use super::{Options, machine, median};
use crate::{build, checkout};

/// Functions of programs.sh, and what they do.
const WORKS: [(&str, &str); 7] = [
    ("python", "python3 -c pass"),
    ("subprocesses", "python3, 50 subprocesses"),
    ("shell", "bash, 200 x /bin/true"),
    ("pipeline", "seq | sort | uniq | awk | cat"),
    ("queue", "20,000 hand-overs between threads"),
    ("build", "make -j2"),
    ("mixed", "all of these"),
];
const ROUNDS: usize = 5;
/// Sandboxes at once, in which the mixed work runs.
const MANY: usize = 4;

/// Nanoseconds.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    wall: f64,
    /// Of all processors, in steps of 10 ms.
    cpu: f64,
}

#[derive(Serialize)]
struct Report {
    machine: machine::Machine,
    /// By work, then by place: medians.
    works: BTreeMap<String, BTreeMap<String, Cost>>,
}

pub fn bench(options: &Options, stockade: &Path, root: &Path) -> Result<()> {
    let script = checkout().join("guest-tests/programs/bench/programs.sh");
    let inside = "/srv/programs.sh";
    let mut all = places::all(stockade, root, &script);
    all.retain(|place| ["runc", "stockade run"].contains(&place.name));
    let mut report = Report { machine: machine::describe()?, works: BTreeMap::new() };
    println!("{}; medians of {ROUNDS}\n", report.machine);
    println!("{:36} {:>22} {:>22}   x runc: wall   cpu", "milliseconds", "runc: wall    cpu", "stockade: wall    cpu");
    for (name, what) in WORKS {
        let run = |place: &Place| place.run(&bundle(0), &["/bin/bash", inside, name]).map(drop);
        let costs = in_turn(&all, options, what, run)?;
        report.works.extend(costs.map(|by| (what.to_string(), by)));
    }
    let what = format!("the same, {MANY} containers at once");
    let costs = in_turn(&all, options, &what, |place| at_once(place, &["/bin/bash", inside, "mixed"]))?;
    report.works.extend(costs.map(|by| (what, by)));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn bundle(number: usize) -> std::path::PathBuf {
    build::target_folder().join(format!("guest-tests/bundle-{number}"))
}

/// Medians by place; none if the filter leaves the work out.
fn in_turn(
    all: &[Place],
    options: &Options,
    what: &str,
    run: impl Fn(&Place) -> Result<()>,
) -> Result<Option<BTreeMap<String, Cost>>> {
    if !what.contains(&options.filter) {
        return Ok(None);
    }
    let mut times: BTreeMap<String, Vec<Cost>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for place in all {
            let (cpu, wall) = (busy()?, Instant::now());
            run(place).with_context(|| format!("{what} under {}", place.name))?;
            let cost = Cost { wall: wall.elapsed().as_nanos() as f64, cpu: busy()? - cpu };
            times.entry(place.name.into()).or_default().push(cost);
        }
    }
    let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
    let by: BTreeMap<String, Cost> = times
        .into_iter()
        .map(|(place, costs)| (place, Cost { wall: middle(&costs, |c| c.wall), cpu: middle(&costs, |c| c.cpu) }))
        .collect();
    if let (Some(runc), Some(ours)) = (by.get("runc"), by.get("stockade run")) {
        let ms = |t: f64| t / 1e6;
        println!(
            "{what:36} {:15.0} {:6.0} {:15.0} {:6.0} {:16.2} {:5.2}",
            ms(runc.wall),
            ms(runc.cpu),
            ms(ours.wall),
            ms(ours.cpu),
            ours.wall / runc.wall,
            ours.cpu / runc.cpu
        );
    }
    Ok(Some(by))
}

fn at_once(place: &Place, words: &[&str]) -> Result<()> {
    std::thread::scope(|scope| {
        let start = |number| {
            let name = format!("bench-{}-{number}", std::process::id());
            scope.spawn(move || place.run_as(&name, &bundle(number), words).map(drop))
        };
        let threads: Vec<_> = (1..=MANY).map(start).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Processor time of the whole machine that was not idle, ns: user, nice, system, irq and softirq of /proc/stat.
fn busy() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let words: Vec<f64> = text.split_whitespace().skip(1).take(7).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq] = words[..] else {
        return Err(anyhow!("/proc/stat begins with something else than the processors' times"));
    };
    Ok((user + nice + system + irq + softirq) * 1e7)
}
