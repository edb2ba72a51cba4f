//! OCI hooks: programs of the host's that run at points of a container's life, with its state on standard input (runtime-spec, config.md).
//!
//! createContainer hooks run in the host's namespaces like the others: a sandbox has no mount namespace that a hook could change. Owns no locks.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Hook;

/// Runs them one after the other; the first that fails ends it.
pub fn run(point: &str, hooks: &Option<Vec<Hook>>, state: &str) -> Result<()> {
    for (at, hook) in hooks.iter().flatten().enumerate() {
        run_one(hook, state).with_context(|| format!("hook {point}[{at}] {}", hook.path().display()))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str) -> Result<()> {
    use std::os::unix::process::CommandExt;
    if !hook.path().is_absolute() {
        bail!("the path must be absolute");
    }
    let mut command = Command::new(hook.path());
    if let Some((first, rest)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(first).args(rest);
    }
    command.env_clear();
    command.envs(hook.env().iter().flatten().filter_map(|e| e.split_once('=')));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot be run")?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(state.as_bytes()); // a hook need not read it
    }
    let end = hook
        .timeout()
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0)
        .map(|s| Instant::now() + Duration::from_secs(s));
    let status = loop {
        match end {
            None => break child.wait()?,
            Some(end) => match child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() >= end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    bail!("took longer than its timeout");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            },
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = std::io::Read::read_to_string(&mut std::io::Read::take(stderr, 4096), &mut words);
    }
    bail!("{status}{}{}", if words.is_empty() { "" } else { ": " }, words.trim())
}
