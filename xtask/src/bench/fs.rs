//! `cargo xtask bench --fs`: works on files (guest-tests/programs/bench/fs.sh) natively, under runc and under stockade, in turn, on one root: a host
//! overlay of Debian's with the prepared files of `fs_root`, as engines make it. Medians, ratios, JSON. docs/performance.md explains the figures.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;

use super::fs_root::{self, Root};
use super::{Options, idle, machine, median};
use crate::{build, run};

/// By what a root is entered.
const NATIVE: &str = "native";
const RUNC: &str = "runc";
/// Changes in memory, as `stockade do` has them.
const STOCKADE: &str = "stockade";
/// Changes to the root itself, as engines want them.
const HOST: &str = "stockade, host";
const PLACES: [&str; 4] = [NATIVE, RUNC, STOCKADE, HOST];

/// Names whose dentries and inodes are weighed.
const WEIGHED: u64 = 100_000;

#[derive(Serialize)]
struct Report {
    machine: machine::Machine,
    rounds: usize,
    /// Nanoseconds, by work, then by place: the median.
    works: BTreeMap<String, BTreeMap<String, f64>>,
    /// Bytes of the kernel process for each name of a folder of 100,000 whose attributes were looked at.
    bytes_per_name: Option<f64>,
    /// Places that could not run, with the reason.
    absent: BTreeMap<String, String>,
}

pub fn bench(options: &Options) -> Result<()> {
    let stockade = match &options.stockade {
        Some(binary) => binary.canonicalize().with_context(|| format!("no binary {}", binary.display()))?,
        None => build::build()?,
    };
    let layer = fs_root::prepared()?;
    let mut report = Report {
        machine: machine::describe()?,
        rounds: options.rounds,
        works: BTreeMap::new(),
        bytes_per_name: None,
        absent: BTreeMap::new(),
    };
    let mut all: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for _ in 0..options.rounds {
        for place in PLACES {
            if report.absent.contains_key(place) {
                continue;
            }
            // Each time a fresh upper layer: what an earlier run left is no part of the next one.
            let root = Root::mount(&layer)?;
            let text = match enter(place, &stockade, &root, &options.filter) {
                Ok(text) => text,
                Err(error) => {
                    report.absent.insert(place.into(), format!("{error:#}"));
                    continue;
                }
            };
            for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
                let value = value.parse().with_context(|| format!("{place} printed no figure: {name} {value}"))?;
                if !order.iter().any(|known| known == name) {
                    order.push(name.into());
                }
                all.entry(name.into()).or_default().entry(place.into()).or_default().push(value);
            }
        }
    }
    for (name, by) in all {
        report.works.insert(name, by.into_iter().map(|(place, values)| (place, median(values))).collect());
    }
    if "memory".contains(&options.filter) {
        report.bytes_per_name = Some(weigh(&stockade, &Root::mount(&layer)?)?);
    }
    print(&report, &order);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Runs the works in one place; what they printed.
fn enter(place: &str, stockade: &Path, root: &Root, filter: &str) -> Result<String> {
    let words = ["/bin/bash", "/srv/bench/fs.sh", filter];
    let name = format!("bench-{}", std::process::id());
    let mut command = match place {
        NATIVE => {
            let mut command = Command::new("bwrap");
            command.arg("--bind").arg(&root.merged).args(["/", "--dev", "/dev", "--proc", "/proc"]).args(words);
            command
        }
        STOCKADE => {
            let mut command = Command::new(stockade);
            command.args(["do", "--rootfs"]).arg(&root.merged).arg("--").args(words);
            command
        }
        _ => {
            let runtime = if place == RUNC { Path::new("runc") } else { stockade };
            let bundle = bundle(root, &words)?;
            let mut command = Command::new(runtime);
            command.args(["run", "--bundle"]).arg(bundle).arg(name);
            command
        }
    };
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {place}"))?;
    if !out.status.success() {
        let error = String::from_utf8_lossy(&out.stderr);
        bail!("{}: {}", out.status, error.lines().last().unwrap_or(""));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// runc's own default configuration, on a root that can be written.
fn bundle(root: &Root, words: &[&str]) -> Result<PathBuf> {
    let bundle = root.folder.join("bundle");
    std::fs::create_dir_all(&bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
    let file = bundle.join("config.json");
    run::output(Command::new("runc").arg("spec").current_dir(&bundle))?;
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(words);
    config["root"] = json!({ "path": root.merged, "readonly": false });
    // By default not even root may pass over permissions there.
    for set in ["bounding", "effective", "permitted"] {
        if let Some(caps) = config["process"]["capabilities"][set].as_array_mut() {
            caps.extend(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN"].map(|cap| json!(cap)));
        }
    }
    std::fs::write(&file, serde_json::to_vec(&config)?).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(bundle)
}

/// What a cached name costs: the growth of all the sandbox' private memory over a walk through so many names that looks at each of them.
fn weigh(stockade: &Path, root: &Root) -> Result<f64> {
    let walk = format!("find /srv/bench/{WEIGHED} -size +1 >/dev/null");
    let script = format!("find /srv/bench/small -size +1 >/dev/null; echo ready; read; {walk}; echo done; read");
    let mut command = Command::new(stockade);
    command.args(["--dcache", "1000000", "do", "--rootfs"]).arg(&root.merged).args(["--", "/bin/bash", "-c", &script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start stockade")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let mut private = || -> Result<u64> {
        lines.next().context("the sandbox ended early")??;
        // Threads that end give their stacks back a moment later.
        std::thread::sleep(std::time::Duration::from_millis(300));
        idle::private_memory(child.id())
    };
    let before = private()?;
    writeln!(input)?;
    let after = private()?;
    writeln!(input)?;
    child.wait()?;
    Ok(after.saturating_sub(before) as f64 / WEIGHED as f64)
}

fn print(report: &Report, order: &[String]) {
    println!("{}; median of {} rounds\n", report.machine, report.rounds);
    print!("{:22}", "milliseconds");
    for place in PLACES {
        print!("{place:>15}");
    }
    println!("   stockade: x runc  x native   host: x runc");
    for name in order {
        let Some(by) = report.works.get(name) else { continue };
        let value = |place: &str| by.get(place).copied().unwrap_or(f64::NAN);
        print!("{name:22}");
        for place in PLACES {
            print!("{:15.1}", value(place) / 1e6);
        }
        let (native, runc, memory, host) = (value(NATIVE), value(RUNC), value(STOCKADE), value(HOST));
        println!("{:19.2} {:9.2} {:14.2}", memory / runc, memory / native, host / runc);
    }
    if let Some(bytes) = report.bytes_per_name {
        println!("\nmemory of a cached name with its inodes: {bytes:.0} bytes");
    }
    for (name, reason) in &report.absent {
        println!("not measured: {name}: {reason}");
    }
}
