//! `stockade pause`: the guest stands still and cannot tell afterwards, no host thread of it is where a freezer would wait, and a paused container can be killed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Place, wait_for};
use std::path::Path;
use std::time::Duration;

fn place(program: &[&str]) -> Place {
    let place = Place::real();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/paused.c");
    let mut gcc = std::process::Command::new("gcc");
    gcc.args(["-static", "-pthread", "-O1", "-o"]).arg(place.dir.join("b/rootfs/bin/paused")).arg(source);
    assert!(gcc.status().expect("cannot start gcc").success());
    place.config(program, |_| ());
    place
}

/// Host threads of the container's processes: their folders in /proc.
fn threads(place: &Place) -> Vec<std::path::PathBuf> {
    let pids: Vec<i32> = serde_json::from_str(&place.ok(&["ps", "-f", "json", "x"])).unwrap();
    let folders = pids.into_iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    folders.flatten().flatten().map(|entry| entry.path()).collect()
}

fn cpu(threads: &[std::path::PathBuf]) -> u64 {
    let time = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    threads.iter().map(time).sum()
}

#[test]
fn a_guest_cannot_tell() {
    let place = place(&["paused"]);
    let out = place.dir.join("out");
    let file = std::fs::File::create(&out).unwrap();
    let begun = place.command(&["run", "-d", "x"]).stdout(file).status().unwrap();
    assert!(begun.success());
    let told = || std::fs::read_to_string(&out).unwrap();
    wait_for(|| told().contains("begun"), told);
    std::thread::sleep(Duration::from_millis(300)); // all its threads wait, or spin
    place.ok(&["pause", "x"]);
    assert_eq!(place.status("x"), "paused");
    let stopped = threads(&place);
    assert_eq!(stopped.len(), 6, "{stopped:?}");
    for thread in &stopped {
        let call = std::fs::read_to_string(thread.join("syscall")).unwrap();
        assert!(call.starts_with("202 "), "{thread:?} is not parked: {call}"); // futex
    }
    let before = cpu(&stopped);
    std::thread::sleep(Duration::from_secs(2)); // all timeouts pass
    assert_eq!(cpu(&stopped), before, "a paused thread ran");
    assert_eq!(told(), "begun\n");
    place.fails(&["exec", "x", "true"], 255, &["cannot exec in a paused container"]);
    place.fails(&["pause", "x"], 1, &["container is already paused"]);
    place.ok(&["resume", "x"]);
    wait_for(|| told().contains("done"), told);
    let mut lines: Vec<String> = told().lines().map(String::from).collect();
    lines.sort();
    assert_eq!(lines, ["begun", "child 0", "done", "epoll_wait ok", "futex ok", "nanosleep ok"]);
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn a_paused_container_is_killed_and_deleted() {
    let place = place(&["paused"]);
    place.ok(&["run", "-d", "x"]);
    place.ok(&["pause", "x"]);
    place.fails(&["delete", "x"], 1, &["cannot delete container x that is not stopped: paused"]);
    place.ok(&["kill", "x", "KILL"]);
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    place.ok(&["delete", "x"]);
    place.ok(&["run", "-d", "x"]);
    place.ok(&["pause", "x"]);
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

/// What is born while the pause begins is paused, too.
#[test]
fn forks_and_execs_are_caught() {
    let place = place(&["sh", "-c", "while :; do /bin/true; /bin/true | /bin/true; done"]);
    place.ok(&["run", "-d", "x"]);
    for _ in 0..20 {
        place.ok(&["pause", "x"]);
        let stopped = threads(&place);
        let before = cpu(&stopped);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!((cpu(&stopped), threads(&place)), (before, stopped));
        place.ok(&["resume", "x"]);
        std::thread::sleep(Duration::from_millis(7));
    }
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}
