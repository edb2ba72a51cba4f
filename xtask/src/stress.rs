//! `cargo xtask stress`: stress-ng's stressors, one after the other and each with its own checks, in one container, for as long as is asked; how each of them ended, and what it left in the
//! kernel process. It fails when one fails, when the sandbox is lost, and when processes, memory or threads are left behind.
//!
//! The container has a limit of memory and an overlay in memory; its program is a shell that reaps. All output is kept in target/stress. Neighbour: `kernel_process` (samples).

mod kernel_process;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use guest_tests::place::{self, Ran};
use serde_json::json;

use crate::{build, packages, root, run};
use kernel_process::KernelProcess;

#[derive(Args)]
pub struct Options {
    /// How long; a round of all takes some 25 minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// How long each stressor runs.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Only stressors whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Use this binary instead of building target/stockade.
    #[arg(long)]
    stockade: Option<PathBuf>,
}

const CLASSES: [&str; 5] = ["scheduler", "pipe", "vm", "interrupt", "memory"];

/// What is left out: what needs a call that is not supported, which stress-ng takes for a failure; what it does not run unless forced; and what only computes.
#[rustfmt::skip]
const LEFT_OUT: &[&str] = &[
    "aio", "aiol", // io_setup
    "cyclic", // SCHED_DEADLINE
    "remap", // remap_file_pages
    "swap", // swapon
    "vm-segv", // ptrace: without it the stressor stops itself and waits for ever
    "madvise", // it reads smaps of thousands of mappings, again and again (README, "What does not work yet")
    "mlockmany", "netlink-proc", "netlink-task", "oom-pipe", "physpage", "softlockup", "watchdog",
    "bsearch", "heapsort", "hsearch", "judy", "list", "lockbus", "lsearch", "matrix", "matrix-3d", "memcpy", "memrate", "memthrash", "mergesort",
    "misaligned", "prefetch", "qsort", "radixsort", "randlist", "shellsort", "skiplist", "sparsematrix", "str", "stream", "tree", "tsearch", "wcs", "zlib",
];

/// The kernel process' own memory at the end, and host processes beyond the first: what is kept for the next crowd.
const MEMORY_KEPT: u64 = 256 << 10;
const PROCESSES_KEPT: usize = 8;
/// The container's limit.
const MEMORY: u64 = 6 << 30;

/// A container that runs in the foreground of a child of ours, so that its end cannot be missed.
struct Container {
    stockade: PathBuf,
    folder: PathBuf,
    name: String,
    run: Child,
}

impl Container {
    fn start(stockade: &Path, root: &Path, folder: &Path) -> Result<Container> {
        std::fs::create_dir_all(folder.join("bundle")).context("cannot make a folder for the bundle")?;
        let name = format!("stress-{}", std::process::id());
        std::fs::write(folder.join("bundle/config.json"), config(root, &name).to_string())?;
        let out = File::create(folder.join("run.log"))?;
        let mut command = stockade_in(stockade, folder);
        command.args(["--overlay2=root:memory", "run", "--bundle"]).arg(folder.join("bundle")).arg(&name);
        let run = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        let container = Container { stockade: stockade.into(), folder: folder.into(), name, run };
        std::thread::sleep(Duration::from_secs(2));
        Ok(container)
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.run.try_wait()?.map(|status| format!("the sandbox is gone: {status}; see {}", self.folder.display())))
    }

    fn exec(&self, words: &[&str], log: &str, limit: Duration) -> Result<Ran> {
        let mut command = stockade_in(&self.stockade, &self.folder);
        command.args(["exec", &self.name]).args(words);
        place::run(command, &self.folder.join(log).with_extension("log"), limit)
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        run::output(stockade_in(&self.stockade, &self.folder).args(words).arg(&self.name))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = stockade_in(&self.stockade, &self.folder).args(["kill", &self.name, "KILL"]).output();
        let _ = self.run.wait();
    }
}

fn stockade_in(stockade: &Path, folder: &Path) -> Command {
    let mut command = Command::new(stockade);
    command.arg("--root").arg(folder.join("states")).arg("--log").arg(folder.join("stockade.log"));
    command
}

fn config(root: &Path, name: &str) -> serde_json::Value {
    let capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "MKNOD"];
    let more = ["SETGID", "SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_NICE", "SYS_RESOURCE"];
    let all: Vec<String> = capabilities.iter().chain(&more).map(|name| format!("CAP_{name}")).collect();
    let namespaces: Vec<_> = ["pid", "mount", "ipc", "uts"].iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": root },
        "process": {
            "cwd": "/tmp", "args": ["/bin/sh", "-c", "while :; do sleep 1; done"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "user": { "uid": 0, "gid": 0 },
            "capabilities": { "bounding": all, "effective": all, "permitted": all },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" },
            // One stressor fills it.
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["size=64m"] },
        ],
        "linux": { "namespaces": namespaces, "cgroupsPath": format!("/{name}"), "resources": { "memory": { "limit": MEMORY } } },
    })
}

pub fn stress(options: &Options) -> Result<()> {
    packages::install(packages::TESTS)?;
    let stockade = match &options.stockade {
        Some(binary) => std::path::absolute(binary)?,
        None => build::build()?,
    };
    let folder = build::target_folder().join("stress");
    let mut container = Container::start(&stockade, &root::ready()?, &folder)?;
    let state: serde_json::Value = serde_json::from_str(&container.ask(&["state"])?).context("stockade state")?;
    let kernel = KernelProcess::new(state["pid"].as_i64().context("no process id in `stockade state`")?);
    let names = stressors(&container, &options.filter)?;
    let first = kernel.sample().context("no kernel process")?;
    println!("kernel process {}, {} stressors, at first {first}", kernel.pid, names.len());

    let end = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut failed = Vec::new();
    for name in names.iter().cycle().take_while(|_| Instant::now() < end) {
        let stressor = format!("--{name}");
        let seconds = options.seconds.to_string();
        let words = ["stress-ng", &stressor, "1", "--verify", "-t", &seconds];
        let limit = Duration::from_secs(60 + options.seconds * 20);
        let ran = container.exec(&words, name, limit)?;
        std::thread::sleep(Duration::from_secs(2));
        if let Some(how) = container.ended()? {
            println!("{}", run::output(&mut Command::new("dmesg")).unwrap_or_default());
            bail!("{name}: {how}");
        }
        let verdict = verdict(&ran);
        println!("{name:16} {verdict:8} {:5.1} s  {}", ran.took.as_secs_f64(), kernel.sample().context("no sample")?);
        if verdict == "FAILED" {
            println!("{}", ran.output);
            failed.push(name.clone());
        }
    }

    std::thread::sleep(Duration::from_secs(5));
    let last = kernel.sample().context("no kernel process")?;
    println!("at last {last}");
    let own: Vec<String> = container.ask(&["ps"])?.lines().skip(1).map(str::to_owned).collect();
    if own.len() > 2 {
        failed.push(format!("processes are left in the container: {own:#?}"));
    }
    if last.processes > first.processes + PROCESSES_KEPT {
        failed.push(format!("{} processes are left on the host, of {}", last.processes, first.processes));
    }
    if last.memory > first.memory + MEMORY_KEPT {
        failed.push(format!("the kernel process keeps {} KiB of memory", last.memory));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    println!("nothing lost, nothing left");
    Ok(())
}

/// Those of the classes, by name; each once.
fn stressors(container: &Container, filter: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for class in CLASSES {
        let ran = container.exec(&["stress-ng", "--class", &format!("{class}?")], class, Duration::from_secs(60))?;
        let list = ran.output.split_once("stressors:").map(|parts| parts.1.to_owned());
        let list = list.with_context(|| format!("stress-ng does not list the class {class}: {}", ran.output))?;
        names.extend(
            list.split_whitespace().filter(|name| !LEFT_OUT.contains(name) && name.contains(filter)).map(String::from),
        );
    }
    Ok(names)
}

/// Status 3 and 4 mean that the stressor cannot run here, which it says.
fn verdict(ran: &Ran) -> &'static str {
    match ran.status.code() {
        _ if ran.timed_out || ran.output.contains("fail:") => "FAILED",
        Some(0) => "ok",
        Some(3 | 4) => "skipped",
        _ => "FAILED",
    }
}
