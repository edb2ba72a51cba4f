//! Below another seccomp listener, as below a container manager that intercepts calls: docs/adr/0008.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Place;

/// The manager: see programs/outer.c.
fn outer(place: &Place) -> PathBuf {
    let outer = place.dir.join("outer");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/outer.c");
    let gcc = Command::new("gcc").args(["-O1", "-o"]).arg(&outer).arg(source).status();
    assert!(gcc.expect("gcc is needed (apt-get install gcc libc6-dev)").success());
    outer
}

const WORK: &str = "for i in 1 2 3; do echo $i | cat | cat; done; (sleep 0.1; echo late) & wait";
const DONE: &str = "1\n2\n3\nlate\n";

#[test]
fn containers_run_below_it() {
    let place = Place::real();
    let outer = outer(&place);
    place.config(&["sh", "-c", WORK], |_| ());
    for manager in ["-", "uname", "sysinfo"] {
        let answer = place.shell(&format!("exec {} {manager} $RUN", outer.display()));
        assert_eq!(answer, (0, DONE.to_string(), String::new()), "{manager}");
    }
    // One that goes on when the command has ended, and is entered from outside.
    place.config(&["sleep", "100"], |_| ());
    let started = place.shell(&format!("exec {} - ${{RUN% x}} -d x > log 2>&1", outer.display()));
    assert_eq!(started.0, 0, "{}", std::fs::read_to_string(place.bundle().join("log")).unwrap());
    assert_eq!(place.ok(&["exec", "x", "sh", "-c", WORK]), DONE);
    place.ok(&["pause", "x"]);
    place.ok(&["resume", "x"]);
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn what_is_missing_is_told() {
    let place = Place::real();
    let outer = outer(&place);
    let features = |manager: &[&str]| {
        let mut command = Command::new(&outer);
        command.arg("-").arg(&place.binary).args(manager);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let line = "no seccomp listener above this process: each system call of a guest costs a signal";
    let text = features(&["features", "--host"]);
    assert_eq!(text.lines().filter(|l| l.starts_with(line)).count(), 1, "{text}");
    let text = features(&["--verbose", "do", "--", "true"]);
    assert_eq!(text.lines().filter(|l| l.contains(line)).count(), 1, "{text}");
    place.assert_empty();
}

/// A manager that decides about clone(2) itself would let guests make processes that nobody knows.
#[test]
fn a_manager_that_lets_clone_through_is_refused() {
    let place = Place::real();
    let outer = outer(&place);
    let (status, out, err) = place.shell(&format!("exec {} clone $RUN", outer.display()));
    assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(err.contains("starting the platform") && err.contains("clone(2)"), "{err}");
    place.assert_empty();
}

/// Killing the kernel process, a zygote or a guest process leaves nothing behind.
#[test]
fn nothing_is_left_when_something_is_killed() {
    let place = Place::real();
    place.config(&["sh", "-c", "sleep 100 & sleep 100"], |_| ());
    for victim in 0..5 {
        place.ok(&["--platform", "listener=off", "run", "-d", "x"]);
        let processes = place.processes();
        let kernel = processes.iter().find(|p| p.1.contains("sandbox")).expect("a kernel process").0;
        let children = || std::fs::read_to_string(format!("/proc/{kernel}/task/{kernel}/children")).unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(10);
        while children().split_ascii_whitespace().count() < 4 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let all: Vec<i32> = children().split_ascii_whitespace().map(|w| w.parse().unwrap()).collect();
        let pid = *all.get(victim).unwrap_or(&kernel);
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        place.ok(&["delete", "-f", "x"]);
        place.assert_empty();
    }
}
