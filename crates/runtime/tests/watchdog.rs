//! `--watchdog`: a call that does not come to its end is reported with its task and its host thread; a wait is not; and an idle sandbox pays nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use std::time::Duration;

#[test]
fn a_stuck_task_is_reported() {
    let place = Place::real();
    place.config(&["sh", "-c", "sleep 2; busybox sync; sleep 1"], |_| ());
    let answer = place.run(&["--watchdog", "1", "--platform", "stall=sync", "run", "x"]);
    assert_eq!(answer.status, 0, "{}", answer.err);
    let lines: Vec<&str> = answer.err.lines().filter(|line| line.contains("watchdog")).collect();
    let [stuck, over] = lines.as_slice() else { panic!("{}", answer.err) };
    for words in [
        "watchdog: task ",
        "(busybox) is stuck in sync(0x",
        " for 1 s; its host thread ",
        "(shard ",
        "S (sleeping)",
        "nanosleep",
    ] {
        assert!(stuck.contains(words), "{stuck} without {words}");
    }
    assert!(over.contains(" goes on after "), "{over}");
    let quiet = place.run(&["--watchdog", "0", "--platform", "stall=sync", "run", "y"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
    place.fails(&["--platform", "stall=nosuchcall", "run", "z"], 1, &["stall=nosuchcall", "no such system call"]);
    place.assert_empty();
}

#[test]
fn an_idle_sandbox_sleeps() {
    let place = Place::real();
    place.config(&["sleep", "100"], |_| ());
    place.ok(&["--watchdog", "1", "run", "-d", "x"]);
    std::thread::sleep(Duration::from_millis(1500)); // the last look, and what the start left to do
    let pids = place.processes().into_iter().map(|(pid, _)| pid);
    let threads = || -> Vec<(String, String)> {
        let folders = pids.clone().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
        let read = |path: &std::path::Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap();
        folders.flatten().flatten().map(|e| (read(&e.path(), "comm"), read(&e.path(), "schedstat"))).collect()
    };
    let before = threads();
    assert!(before.iter().any(|(name, _)| name == "watchdog\n"), "{before:?}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(threads(), before, "a thread ran");
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}
