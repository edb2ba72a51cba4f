//! `cargo xtask test`: checks, unit tests, guest programs natively and in stockade, real programs, conformance suites, container engines, another kernel. The last line is
//! "N passed, N failed, N skipped"; a known failure of expectations.toml counts as skipped.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;
use guest_tests::expectations::Expectations;
use guest_tests::place::{self, Place};
use guest_tests::suite::{self, Sums};
use guest_tests::{programs, scripts};

use crate::{build, check, checkout, packages, root, suites, units};

#[derive(Args)]
pub struct Options {
    /// Only these stages (default: all): check, unit, native, guest, real, suites, engines, kernels.
    #[arg(long, value_delimiter = ',')]
    stage: Vec<String>,
    /// Only guest programs, scripts and binaries of unit tests (CRATE/NAME) whose FAMILY/NAME contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Run real programs natively too (done once by whoever changes them).
    #[arg(long)]
    real_native: bool,
    /// Use this binary instead of building target/stockade.
    #[arg(long)]
    stockade: Option<std::path::PathBuf>,
    /// Flags for `stockade` itself, such as --platform-force-trap: each guest test runs with them.
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    flags: Vec<String>,
    /// Run the guest tests once for every switch of the platform, without directfs, and with a dentry cache of eight names, too.
    #[arg(long)]
    matrix: bool,
}

/// The stages in their order.
const STAGES: [&str; 8] = ["check", "unit", "native", "guest", "real", "suites", "engines", "kernels"];

/// The platform's fallbacks and hooks, files by the gofer alone, and a dentry cache that keeps nearly nothing, each of which must pass all guest
/// tests by itself. The first, which forces a wait and a re-run at every wait point, is part of every run; the others are for `--matrix`.
const MATRIX: &[&[&str]] = &[
    &["--platform", "force-rerun=on"],
    &["--platform", "force-trap=on"],
    &["--platform", "listener=off"],
    &["--platform", "sync-wakeup=off"],
    &["--platform", "killable=off"],
    &["--platform", "park=off"],
    &["--platform", "eager=on"],
    &["--platform", "patching=off"],
    &["--platform", "polling=off"],
    &["--platform", "window=off"],
    &["--platform", "memory=off"],
    &["--platform", "limited=on"],
    &["--directfs=false"],
    &["--dcache", "8"],
];

pub fn test(options: &Options) -> Result<()> {
    let wanted: BTreeSet<&str> = if options.stage.is_empty() {
        STAGES.into_iter().collect()
    } else {
        options.stage.iter().map(String::as_str).collect()
    };
    if let Some(stranger) = wanted.iter().find(|stage| !STAGES.contains(stage)) {
        bail!("no stage `{stranger}`: there are {}", STAGES.join(", "));
    }
    packages::install(packages::TESTS)?;
    let mut sums = Sums::default();
    if wanted.contains("check") {
        sums.add(checks());
    }
    if wanted.contains("unit") {
        sums.add(units::units(&options.filter)?);
    }
    if wanted.iter().any(|stage| ["native", "guest", "real"].contains(stage)) {
        sums.add(guests(options, &wanted)?);
    }
    if wanted.contains("suites") {
        sums.add(suites(options)?);
    }
    if wanted.contains("engines") {
        sums.add(engines(options)?);
    }
    if wanted.contains("kernels") {
        sums.add(kernels(options)?);
    }
    println!("{} passed, {} failed, {} skipped", sums.passed, sums.failed, sums.skipped);
    if sums.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Each check counts as one test.
fn checks() -> Sums {
    let mut sums = Sums::default();
    for (name, check) in check::STEPS {
        match check() {
            Ok(()) => {
                println!("check    {name:32} ok");
                sums.passed += 1;
            }
            Err(error) => {
                println!("check    {name:32} FAILED: {error:#}");
                sums.failed += 1;
            }
        }
    }
    sums
}

fn guests(options: &Options, wanted: &BTreeSet<&str>) -> Result<Sums> {
    let sources = checkout().join("guest-tests/programs");
    let folder = build::target_folder().join("guest-tests");
    let (out, logs) = (folder.join("bin"), folder.join("logs"));
    let expectations = Expectations::load(&checkout().join("guest-tests/expectations.toml"))?;
    let mut sums = Sums::default();

    let launcher = programs::one(&sources, &out, "support/launch")?;
    let (hostile, all): (Vec<_>, Vec<_>) =
        programs::ready(&sources, &out, &options.filter)?.into_iter().partition(programs::Program::is_hostile);
    let native = suite::run(&Place::Native, &launcher, &all, None, &logs)?;
    sums.add(suite::sum_up(&Place::Native, &native, None));
    if !wanted.contains("guest") && !wanted.contains("real") {
        return Ok(sums);
    }

    let binary = match &options.stockade {
        Some(binary) => binary.clone(),
        None => build::build()?,
    };
    let base = Place::Stockade { binary: binary.clone(), flags: options.flags.clone(), do_flags: Vec::new() };
    if wanted.contains("guest") {
        let seen = suite::run(&base, &launcher, &all, Some(&native), &logs)?;
        sums.add(suite::sum_up(&base, &seen, Some(&expectations)));
        let seen = suite::run(&base, &launcher, &hostile, None, &logs)?;
        sums.add(suite::sum_up(&base, &seen, Some(&expectations)));
        for flags in MATRIX.iter().take(if options.matrix { MATRIX.len() } else { 1 }) {
            println!("with {}:", flags.join(" "));
            let flags = options.flags.iter().cloned().chain(flags.iter().map(|flag| (*flag).into())).collect();
            let place = Place::Stockade { binary: binary.clone(), flags, do_flags: Vec::new() };
            let seen = suite::run(&place, &launcher, &all, Some(&native), &logs)?;
            sums.add(suite::sum_up(&place, &seen, Some(&expectations)));
            if options.matrix {
                let seen = suite::run(&place, &launcher, &hostile, None, &logs)?;
                sums.add(suite::sum_up(&place, &seen, Some(&expectations)));
            }
        }
    }
    if wanted.contains("real") {
        let root = root::ready()?;
        let found = scripts::find(&checkout().join("guest-tests/real"), &options.filter)?;
        if options.real_native {
            sums.add(scripts::run_all(&Place::Native, &root, &found, None, &logs)?);
        }
        sums.add(scripts::run_all(&base, &root, &found, Some(&expectations), &logs)?);
    }
    Ok(sums)
}

/// Container engines with stockade as their runtime: guest-tests/engines/NAME.sh, each of which counts its own cases.
fn engines(options: &Options) -> Result<Sums> {
    if let Err(error) = packages::install(packages::ENGINES) {
        println!("engines: {error:#}");
    }
    counting(options, "engines", &ENGINES, &[])
}

/// A machine with another kernel: guest-tests/kernels/NAME.sh.
fn kernels(options: &Options) -> Result<Sums> {
    if let Err(error) = packages::install(packages::KERNELS) {
        println!("kernels: {error:#}");
    }
    counting(options, "kernels", &KERNELS, &[root::cache().join("kernels")])
}

/// Conformance suites of file systems, natively and in stockade: guest-tests/suites/NAME.sh.
fn suites(options: &Options) -> Result<Sums> {
    counting(options, "suites", &SUITES, &[suites::tools()?])
}

/// Scripts that take the binary and other paths, and count their own cases: guest-tests/STAGE/NAME.sh.
fn counting(options: &Options, stage: &str, names: &[&str], more: &[std::path::PathBuf]) -> Result<Sums> {
    let binary = match &options.stockade {
        Some(binary) => std::path::absolute(binary)?,
        None => build::build()?,
    };
    let mut sums = Sums::default();
    for name in names.iter().filter(|name| name.contains(&options.filter)) {
        let script = checkout().join("guest-tests").join(stage).join(name).with_extension("sh");
        let mut command = std::process::Command::new("bash");
        command.arg(script).arg(&binary).args(more);
        let log = build::target_folder().join("guest-tests/logs").join(stage).join(name).with_extension("log");
        let ran = place::run(command, &log, SCRIPT_LIMIT)?;
        let counted = ran.output.lines().rev().find_map(counts).unwrap_or(Sums { passed: 0, failed: 1, skipped: 0 });
        let Sums { passed, failed, skipped } = counted;
        println!("{stage:8} {name:32} {passed} ok, {failed} failed, {skipped} skipped ({} ms)", ran.took.as_millis());
        let told = |line: &&str| ["FAILED", "skipped:", "note:"].iter().any(|word| line.starts_with(word));
        for line in ran.output.lines().filter(told) {
            println!("    {line}");
        }
        if ran.timed_out {
            println!("FAILED: no end in {SCRIPT_LIMIT:?}, killed\n{}{}", ran.output, ran.processes);
        }
        sums.add(counted);
    }
    Ok(sums)
}

/// For one of them: several times what it takes.
const SCRIPT_LIMIT: std::time::Duration = std::time::Duration::from_secs(900);
const SUITES: [&str; 6] = ["pjdfstest", "acl", "fsx", "load", "tar", "random"];
const ENGINES: [&str; 4] = ["containerd", "docker", "podman", "nested"];
const KERNELS: [&str; 1] = ["debian"];

/// "3 passed, 1 failed, 0 skipped".
fn counts(line: &str) -> Option<Sums> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [passed, "passed,", failed, "failed,", skipped, "skipped"] = words[..] else { return None };
    Some(Sums { passed: passed.parse().ok()?, failed: failed.parse().ok()?, skipped: skipped.parse().ok()? })
}
