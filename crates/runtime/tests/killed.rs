//! SIGKILL at many moments: of the command, the kernel process, the gofer and a stub, while commands are at work. Nothing stays behind that
//! `delete --force` does not remove, and `list` and `state` go on working.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Place, wait_for};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Command,
    Kernel,
    Gofer,
}

/// Moments after the command's start, in microseconds: a create takes some 10 ms here, more elsewhere.
const MOMENTS: [u64; 12] = [0, 500, 1_000, 2_000, 3_000, 5_000, 8_000, 12_000, 17_000, 25_000, 40_000, 80_000];

fn kill(pid: i32) {
    host::signals::kill(pid, 9);
}

/// Runs `command`, kills `victim` after `moment`, waits for the command's end (which must come).
fn strike(place: &Place, args: &[&str], victim: Victim, moment: u64) {
    let mut child = place.command(args).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(moment));
    match victim {
        Victim::Command => child.kill().unwrap(),
        Victim::Kernel | Victim::Gofer => {
            let word = if victim == Victim::Kernel { "stockade sandbox" } else { "stockade gofer" };
            for (pid, line) in place.processes() {
                if line.starts_with(word) {
                    kill(pid);
                }
            }
        }
    }
    let what = || format!("{args:?} hangs after {victim:?} was killed at {moment}");
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < end, "{}", what());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `list` and `state` answer, `delete --force` removes, nothing is left.
fn clean(place: &Place, what: &str) {
    assert_eq!(place.run(&["list"]).status, 0, "{what}");
    let state = place.run(&["state", "x"]);
    assert!(state.status == 0 || state.err.lines().count() == 1, "{what}: {}", state.err);
    let deleted = place.run(&["delete", "--force", "x"]);
    assert_eq!((deleted.status, deleted.err.as_str()), (0, ""), "{what}");
    wait_for(|| place.processes().is_empty(), || format!("{what}: left {:?}", place.processes()));
    assert_eq!(place.cgroups(), Vec::<std::path::PathBuf>::new(), "{what}");
    place.assert_empty();
}

fn place(program: &[&str]) -> Place {
    let place = Place::real();
    let path = place.cgroup();
    place.config(program, |c| {
        if std::path::Path::new("/sys/fs/cgroup").exists() {
            c["linux"]["cgroupsPath"] = path.into();
        }
    });
    place
}

fn all(command: &[&str], before: impl Fn(&Place), program: &[&str]) {
    let place = place(program);
    for victim in [Victim::Command, Victim::Kernel, Victim::Gofer] {
        for moment in MOMENTS {
            before(&place);
            strike(&place, command, victim, moment);
            clean(&place, &format!("{command:?}, {victim:?} after {moment} us"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*place.dir.to_string_lossy()), "{mounts}");
}

#[test]
fn create() {
    all(&["create", "x"], |_| (), &["sleep", "100"]);
}

#[test]
fn start() {
    all(&["start", "x"], |place| _ = place.ok(&["create", "x"]), &["sleep", "100"]);
}

#[test]
fn run() {
    all(&["run", "x"], |_| (), &["sh", "-c", "echo; sleep 0.05 & wait"]);
}

#[test]
fn run_detached() {
    all(&["run", "--detach", "x"], |_| (), &["sleep", "100"]);
}

#[test]
fn exec() {
    all(&["exec", "x", "sh", "-c", "sleep 0.05"], |place| _ = place.ok(&["run", "-d", "x"]), &["sleep", "100"]);
}

#[test]
fn delete() {
    all(&["delete", "--force", "x"], |place| _ = place.ok(&["run", "-d", "x"]), &["sleep", "100"]);
}

#[test]
fn kill_command() {
    all(&["kill", "x", "KILL"], |place| _ = place.ok(&["run", "-d", "x"]), &["sleep", "100"]);
}

/// Without any command's help: what a killed foreground `run` leaves goes by itself.
#[test]
fn a_killed_run_cleans_up_by_itself() {
    let place = place(&["sleep", "100"]);
    for moment in MOMENTS {
        strike(&place, &["run", "x"], Victim::Command, moment);
        let what = |what: &str| format!("{what} is left after {moment} us");
        wait_for(|| place.processes().is_empty(), || what(&format!("{:?}", place.processes())));
        wait_for(|| !place.states().join("x").exists(), || what("the state"));
        assert!(place.cgroups().is_empty(), "{}", what("the cgroup"));
    }
}

/// A stub is a guest's process and nothing more: its death is one of that process.
#[test]
fn a_stub() {
    let place = place(&["sh", "-c", "sleep 100; exit 3"]);
    place.ok(&["run", "-d", "x"]);
    let pids = || serde_json::from_str::<Vec<i32>>(&place.ok(&["ps", "-f", "json", "x"])).unwrap();
    wait_for(|| pids().len() == 2, || format!("{:?}", pids()));
    let before = pids();
    let first_dies = |at: usize| {
        let pid = before[at];
        kill(pid);
        wait_for(|| !common::alive(pid), || "the stub lives".into());
    };
    // The sleep: the shell goes on, and with its end the container's.
    first_dies(1);
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    clean(&place, "a stub");
    let log = place.dir.join("log");
    place.ok(&["--log", log.to_str().unwrap(), "run", "-d", "x"]);
    wait_for(|| pids().len() == 2, || format!("{:?}", pids()));
    kill(pids()[0]);
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("the host ended process 1 (sh) with status 0x9"), "{said}");
    clean(&place, "the first stub");
}
