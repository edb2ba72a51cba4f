//! Runs small C programs on the platform under a kernel of some hundred lines, each in a PID namespace of its own, and compares what they print.
//!
//! `cargo test -p platform --test guests [NAME]` runs those whose name contains NAME; with a path of a static binary, only that. Needs gcc and the right to
//! make namespaces. Neighbour: `kernel` (the mini-kernel).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod kernel;
mod kills;

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--test-threads")).collect();
    if let Some(i) = args.iter().position(|a| a == "run-guest") {
        return inside(&args[i + 1..]);
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/programs");
    let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let only = args.iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_default();
    if only.starts_with('/') {
        std::process::exit(run(Path::new(&only), &args[1..]).0);
    }
    let mut failed = 0;
    let mut sources: Vec<PathBuf> = std::fs::read_dir(&own).unwrap().map(|e| e.unwrap().path()).collect();
    sources.sort();
    for source in sources.iter().filter(|s| s.extension().is_some_and(|e| e == "c")) {
        let name = source.file_stem().unwrap().to_str().unwrap();
        if !name.contains(&only) {
            continue;
        }
        let binary = build.join(name);
        compile(source, &binary);
        for mode in ["", "--trap", "--nosync", "--nokillable", "--nolistener"] {
            let (status, output) = run(&binary, &[mode.to_string()]);
            let ok = status == 0;
            println!("{} {name} {mode}", if ok { "ok    " } else { "FAILED" });
            if !ok || only == name {
                println!("{output}(status {status})");
            }
            failed += usize::from(!ok);
        }
    }
    if "kills".contains(&only) {
        let spin = build.join("spin");
        compile(&own.join("kills/spin.c"), &spin);
        for mode in ["", "--nolistener"] {
            let wrong = kills::all(&spin, mode);
            println!("{} kills {mode}", if wrong.is_empty() { "ok    " } else { "FAILED" });
            wrong.iter().for_each(|w| println!("{w}"));
            failed += usize::from(!wrong.is_empty());
        }
    }
    if failed > 0 {
        println!("{failed} failed");
        std::process::exit(1);
    }
}

fn compile(source: &Path, binary: &Path) {
    let gcc = Command::new("gcc")
        .args(["-O1", "-static", "-no-pie", "-pthread", "-o"])
        .args([binary, source])
        .status()
        .expect("gcc is needed (apt-get install gcc libc6-dev)");
    assert!(gcc.success(), "{} does not compile", source.display());
}

fn run(binary: &Path, options: &[String]) -> (i32, String) {
    let output = Command::new("timeout")
        .args(["-k", "1", "60"])
        .arg(std::env::current_exe().unwrap())
        .arg("run-guest")
        .arg(binary)
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// In a process of its own: makes the namespaces and runs the kernel as PID 1 in there.
fn inside(args: &[String]) {
    // SAFETY: this process has one thread; plain host calls.
    unsafe {
        if libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) < 0 {
            let both = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS;
            assert_eq!(libc::unshare(both), 0, "no namespaces here");
        }
        let pid = libc::fork();
        if pid > 0 {
            let mut status = 0;
            while libc::waitpid(pid, &raw mut status, 0) < 0 {}
            let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
            libc::_exit(code);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let none = c"none".as_ptr();
        libc::mount(none, c"/".as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null());
        libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, std::ptr::null());
    }
    let mut config = platform::Config::default();
    let mut rest = Vec::new();
    for a in args {
        match a.as_str() {
            "" => {}
            "--trap" => config.force_trap = true,
            "--nosync" => config.sync_wakeup = false,
            "--nokillable" => config.killable = false,
            "--nopark" => config.park = false,
            "--trace" => config.trace = true,
            "--nolistener" => config.listener = false,
            "--one" => config.shards = 1,
            _ => rest.push(a.clone()),
        }
    }
    kernel::run(config, &rest);
}
