//! `cargo xtask demo`: builds stockade and shows a sandbox at work on this machine's own root file system.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{build, packages, run};

const PYTHON: &str = r"
import subprocess, threading, os
results = []
def work(n):
    results.append((n, subprocess.run(['echo', f'hello from a child of thread {n}'], capture_output=True, text=True).stdout.strip()))
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
for n, line in sorted(results): print(line)
print('python', os.getpid(), 'on', os.uname().release, 'with', threading.active_count(), 'thread left')
";

pub fn demo() -> Result<()> {
    packages::install(packages::DEMO)?;
    let stockade = build::build()?;
    show(&stockade, &["uname", "-a"])?;
    show(&stockade, &["ps", "aux"])?;
    show(&stockade, &["cat", "/proc/self/status"])?;
    show(&stockade, &["ls", "-l", "/"])?;
    println!("\n$ stockade do -- python3 (threads and subprocesses)");
    run::pass(Command::new(&stockade).args(["do", "--", "/usr/bin/python3", "-c", PYTHON]))?;
    let file = "/tmp/stockade-demo-file";
    show(&stockade, &["sh", "-c", &format!("echo written inside > {file}; cat {file}; ls -l {file}")])?;
    if Path::new(file).exists() {
        bail!("{file} is on the host: the overlay leaks");
    }
    println!("\n{file} is not on the host.");
    Ok(())
}

fn show(stockade: &Path, words: &[&str]) -> Result<()> {
    println!("\n$ stockade do -- {}", words.join(" "));
    run::pass(Command::new(stockade).args(["do", "--"]).args(words))
}
