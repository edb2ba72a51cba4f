//! Where a guest program runs: natively, in mount, PID, IPC and UTS namespaces of its own so that nothing is left behind, or
//! in stockade. In both the launcher is PID 1 and the program its child. Output goes to a file, not a pipe: a process that is
//! left behind must not hold up the run.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A place to run programs in.
#[derive(Clone, Debug)]
pub enum Place {
    Native,
    /// `stockade FLAGS do DO_FLAGS -- ...`.
    Stockade {
        binary: PathBuf,
        flags: Vec<String>,
        do_flags: Vec<String>,
    },
}

/// What a run left: how it ended, and its output.
pub struct Ran {
    pub status: ExitStatus,
    pub output: String,
    pub timed_out: bool,
    /// What ran on this machine when the time was over, as ps(1) lists it.
    pub processes: String,
    pub took: Duration,
}

impl Place {
    pub fn name(&self) -> &'static str {
        match self {
            Place::Native => "native",
            Place::Stockade { .. } => "stockade",
        }
    }

    /// A command line that runs `words`, whose first is an absolute path, here.
    pub fn command(&self, words: &[&Path]) -> Command {
        let mut command = match self {
            Place::Native => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--"]);
                command
            }
            Place::Stockade { binary, flags, do_flags } => {
                let mut command = Command::new(binary);
                command.args(flags).arg("do").args(do_flags).arg("--");
                command
            }
        };
        command.args(words);
        command
    }
}

/// Runs a command to its end, or kills its process group after `limit`.
pub fn run(mut command: Command, log: &Path, limit: Duration) -> Result<Ran> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let mut timed_out = false;
    let mut processes = String::new();
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit && !timed_out {
            timed_out = true;
            processes = running();
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status().context("cannot run kill")?;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let output = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    Ok(Ran { status, output, timed_out, processes, took: started.elapsed() })
}

/// All processes that are programs, with what they wait for.
fn running() -> String {
    let list = Command::new("ps").args(["--ppid", "2", "-p", "2", "--deselect", "-o", PS, "--forest"]).output();
    list.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_else(|error| format!("ps: {error}"))
}

const PS: &str = "pid,pgid,stat,wchan:20,etimes,args";

/// How a run ended, in words; nothing when it ended with status 0.
pub fn ending(ran: &Ran) -> Option<String> {
    if ran.timed_out {
        return Some(format!("timed out after {:.0?}", ran.took));
    }
    match (ran.status.code(), ran.status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, signal) => Some(format!("killed by signal {}", signal.unwrap_or(0))),
    }
}
