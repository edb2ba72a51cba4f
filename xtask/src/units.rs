//! The unit and integration tests of all crates: built by cargo at once, then run binary by binary, each with a time limit, so that a test that hangs, or
//! leaves a process behind, costs its own binary's verdict and not the whole run's ([`guest_tests::place::run`]).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_tests::place::{self, Ran};
use guest_tests::suite::Sums;
use serde_json::Value;

use crate::{build, run};

/// Several times what the slowest binary takes on two busy cores.
const LIMIT: Duration = Duration::from_secs(400);

/// One binary of tests, as cargo names it.
struct Tests {
    name: String,
    /// Cargo runs tests in their crate's folder.
    folder: PathBuf,
    binary: PathBuf,
}

/// All binaries whose CRATE/NAME contains `filter`, and the examples in the documentation.
pub fn units(filter: &str) -> Result<Sums> {
    let logs = build::target_folder().join("guest-tests/logs/unit");
    let mut sums = Sums::default();
    for Tests { name, folder, binary } in binaries()?.into_iter().filter(|tests| tests.name.contains(filter)) {
        let mut command = Command::new(binary);
        command.current_dir(&folder).env("CARGO_MANIFEST_DIR", &folder);
        sums.add(judge(&name, &place::run(command, &log(&logs, &name), LIMIT)?));
    }
    if "documentation".contains(filter) {
        let command = run::cargo(&["test", "--workspace", "--doc", "--no-fail-fast", "--quiet"]);
        sums.add(judge("documentation", &place::run(command, &log(&logs, "documentation"), LIMIT)?));
    }
    Ok(sums)
}

fn log(logs: &Path, name: &str) -> PathBuf {
    logs.join(name).with_extension("log")
}

/// Builds the tests of the workspace.
fn binaries() -> Result<Vec<Tests>> {
    let mut cargo = run::cargo(&["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let out = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !out.status.success() {
        bail!("the tests of the workspace do not build");
    }
    let messages = String::from_utf8_lossy(&out.stdout);
    let mut all: Vec<Tests> = messages.lines().filter_map(|line| tests(&serde_json::from_str(line).ok()?)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// One message of cargo's: nothing unless it tells of a binary of tests.
fn tests(message: &Value) -> Option<Tests> {
    if message["profile"]["test"] != true {
        return None;
    }
    let binary = message["executable"].as_str()?.into();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let name = format!("{}/{}", folder.file_name()?.to_str()?, message["target"]["name"].as_str()?);
    Some(Tests { name, folder, binary })
}

/// Prints a binary's line, and what it said when it failed.
fn judge(name: &str, ran: &Ran) -> Sums {
    let mut sums = count(&ran.output);
    let ending = place::ending(ran);
    if ending.is_some() && sums.failed == 0 {
        sums.failed = 1;
    } else if !ran.output.contains("test result:") {
        sums.passed = 1; // with a harness of its own
    }
    let ending = ending.map(|ending| format!(", {} FAILED: {ending}", sums.failed)).unwrap_or_default();
    println!("unit     {name:32} {} ok{ending} ({} ms)", sums.passed, ran.took.as_millis());
    if sums.failed > 0 {
        println!("{}{}", ran.output, ran.processes);
    }
    sums
}

/// The sums of libtest's own summary lines.
fn count(text: &str) -> Sums {
    let mut sums = Sums::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let number = |word: &str| -> usize {
            let before = line.split(word).next().unwrap_or("");
            before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        sums.add(Sums { passed: number(" passed"), failed: number(" failed"), skipped: number(" ignored") });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up() {
        let sums = count(
            "x\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\ntest result: FAILED. 2 passed; 1 failed; 0 ignored",
        );
        assert_eq!((sums.passed, sums.failed, sums.skipped), (5, 1, 1));
    }

    #[test]
    fn a_binary_of_tests_is_told_from_a_program() {
        let message = |test: bool| serde_json::json!({ "profile": { "test": test }, "executable": "/t/deps/host-1", "manifest_path": "/c/host/Cargo.toml", "target": { "name": "host" } });
        assert_eq!(tests(&message(true)).map(|tests| tests.name), Some("host/host".into()));
        assert!(tests(&message(false)).is_none());
        assert!(tests(&Value::Null).is_none());
    }
}
