//! `cargo xtask bench`: the same programs natively, under runc, crun and bwrap, and under stockade, in turn; ratios, and JSON.
//! `cargo xtask bench programs`: real programs beside runc. `--fs`: works on files. `host`: what this host charges for the mechanisms of a platform.
//! docs/performance.md explains the figures.

mod fs;
mod fs_root;
mod idle;
mod machine;
mod places;
mod programs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{build, checkout, packages, root, run};
use places::Place;

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Write all figures, with the machine's description, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Use this binary instead of building target/stockade.
    #[arg(long)]
    stockade: Option<PathBuf>,
    /// Only calls (or works) whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Works on files instead: find, tar, grep, git, dd, large folders, mapped files, memory for each cached name. Needs root.
    #[arg(long)]
    fs: bool,
    /// Rounds of works on files.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// What this host charges for the mechanisms below a platform.
    Host,
    /// Programs that people run, beside runc: Python, shells, a build, alone and in four sandboxes at once.
    Programs,
}

/// Everything that was measured. Times in nanoseconds, memory in bytes.
#[derive(Default, Serialize)]
struct Report {
    machine: machine::Machine,
    /// Start to end of /bin/true, by place: the median.
    start: BTreeMap<String, f64>,
    /// By operation, then by place.
    calls: BTreeMap<String, BTreeMap<String, f64>>,
    /// In stockade, while `WAITING` threads of another process wait.
    waiting: BTreeMap<String, f64>,
    idle: Option<idle::Idle>,
    /// Places that could not run, with the reason.
    absent: BTreeMap<String, String>,
}

const ROUNDS: usize = 11;
const WAITING: &str = "1000";

pub fn bench(options: &Options) -> Result<()> {
    packages::install(packages::BENCH)?;
    let sources = checkout().join("guest-tests/programs");
    let out = build::target_folder().join("guest-tests/bin");
    if let Some(What::Host) = options.what {
        let program = guest_tests::programs::one(&sources, &out, "bench/hostbench")?;
        return run::pass(&mut std::process::Command::new(program));
    }
    if options.fs {
        return fs::bench(options);
    }
    let stockade = match &options.stockade {
        Some(binary) => binary.clone(),
        None => build::build()?,
    };
    let root = root::ready()?;
    if let Some(What::Programs) = options.what {
        return programs::bench(options, &stockade, &root);
    }
    let program = guest_tests::programs::one(&sources, &out, "bench/callbench")?;
    let bundle = out.with_file_name("bundle");
    let mut report = Report { machine: machine::describe()?, ..Report::default() };
    let mut all = Vec::new();
    for place in places::all(&stockade, &root, &program) {
        match place.run(&bundle, &["/bin/true"]) {
            Ok(_) => all.push(place),
            Err(error) => drop(report.absent.insert(place.name.into(), format!("{error:#}"))),
        }
    }
    start_to_end(&all, &bundle, &mut report)?;
    calls(&all, &bundle, options, &mut report)?;
    report.idle = idle::measure(&stockade, &root).ok();
    print(&report);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// In turn, so that a change of the machine's speed hits all alike.
fn start_to_end(all: &[Place], bundle: &std::path::Path, report: &mut Report) -> Result<()> {
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for place in all {
            let before = Instant::now();
            place.run(bundle, &["/bin/true"])?;
            times.entry(place.name).or_default().push(before.elapsed().as_nanos() as f64);
        }
    }
    report.start = times.into_iter().map(|(name, times)| (name.to_string(), median(times))).collect();
    Ok(())
}

fn calls(all: &[Place], bundle: &std::path::Path, options: &Options, report: &mut Report) -> Result<()> {
    for place in all.iter().filter(|place| place.measures_calls) {
        let text = match place.run(bundle, &[places::PROGRAM, &options.filter]) {
            Ok(text) => text,
            Err(error) => {
                report.absent.insert(format!("{} (calls)", place.name), format!("{error:#}"));
                continue;
            }
        };
        for (name, value) in figures(&text) {
            report.calls.entry(name).or_default().insert(place.name.to_string(), value);
        }
    }
    if let Some(stockade) = all.iter().find(|place| place.name == "stockade do") {
        let text = stockade.run(bundle, &[places::PROGRAM, &options.filter, WAITING]);
        report.waiting = text.map(|text| figures(&text).collect()).unwrap_or_default();
    }
    Ok(())
}

/// Lines of callbench: names and nanoseconds.
fn figures(text: &str) -> impl Iterator<Item = (String, f64)> {
    let pair = |line: &str| line.rsplit_once(' ').and_then(|(name, value)| Some((name.into(), value.parse().ok()?)));
    text.lines().filter_map(pair)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn print(report: &Report) {
    println!("{}\n", report.machine);
    println!("start to end of /bin/true (median of {ROUNDS}):");
    let runc = report.start.get("runc").copied().unwrap_or(f64::NAN);
    for (name, time) in &report.start {
        println!("{name:14} {:8.1} ms {:6.2} x runc", time / 1e6, time / runc);
    }
    println!(
        "\n{:24} {:>12} {:>12} {:>12}   x native  x itself while {WAITING} threads wait",
        "operation (ns)", "native", "runc", "stockade"
    );
    for (name, by) in &report.calls {
        let value = |place: &str| by.get(place).copied().unwrap_or(f64::NAN);
        let (native, stockade) = (value("native"), value("stockade do"));
        let waiting = report.waiting.get(name).copied().unwrap_or(f64::NAN) / stockade;
        println!(
            "{name:24} {native:12.0} {:12.0} {stockade:12.0} {:10.2} {waiting:10.2}",
            value("runc"),
            stockade / native
        );
    }
    if let Some(idle::Idle { private, cpu }) = report.idle {
        let (megabytes, micros) = (private as f64 / 1e6, cpu as f64 / 1e3);
        println!(
            "\nidle sandbox, all processes: {megabytes:.1} MB of private memory, {micros:.0} µs of CPU time in {} s",
            idle::SECONDS
        );
    }
    for (name, reason) in &report.absent {
        println!("not measured: {name}: {reason}");
    }
}
