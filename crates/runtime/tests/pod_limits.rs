//! Limits of one container of a pod: its processes are in its own cgroup on the host, and what holds there holds for them alone. Needs cgroups, which only root makes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::pod::{end, member_with, only_the_first, pod_under, processes};
use common::{Place, alive, wait_for};
use serde_json::{Value, json};

/// A pod whose first container has a cgroup; `None` where there can be none.
fn pod() -> Option<Place> {
    pod_with_flags(&[])
}

fn pod_with_flags(flags: &[&str]) -> Option<Place> {
    if !host::rustix::process::geteuid().is_root() || !Path::new("/sys/fs/cgroup").exists() {
        println!("skipped: only root of a host with /sys/fs/cgroup makes cgroups");
        return None;
    }
    Some(pod_under(flags, |place, c| c["linux"]["cgroupsPath"] = place.cgroup().into()))
}

fn group(place: &Place, id: &str) -> String {
    format!("{}-{id}", place.cgroup())
}

/// Folders of a container's cgroup, one for each hierarchy.
fn folders(place: &Place, id: &str) -> Vec<PathBuf> {
    let name = group(place, id);
    let name = name.trim_start_matches('/');
    let mut found = vec![Path::new("/sys/fs/cgroup").join(name)];
    found.extend(std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path().join(name)));
    found.retain(|path| path.exists());
    found
}

/// Processes in a container's cgroup; they are the same in each hierarchy.
fn inside(place: &Place, id: &str) -> Vec<i32> {
    let read = |folder: &PathBuf| -> Vec<i32> {
        let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    read(folders(place, id).first().unwrap())
}

/// A container of the pod in a cgroup of its own, with these limits.
fn limited(place: &Place, id: &str, args: &[&str], resources: Value) {
    member_with(place, args, |c| {
        c["linux"]["cgroupsPath"] = group(place, id).into();
        c["linux"]["resources"] = resources;
    });
}

fn stubs(place: &Place, id: &str) -> Vec<i32> {
    serde_json::from_str(&place.ok(&["ps", "-f", "json", id])).unwrap()
}

/// Zygotes, and fresh processes that wait: what is in the cgroup, and is none of the container's nor of stockade's others.
fn zygotes(place: &Place, id: &str) -> Vec<i32> {
    let inside = inside(place, id); // first: what is born from here on does not count
    let known: Vec<i32> = stubs(place, id).into_iter().chain(place.processes().into_iter().map(|p| p.0)).collect();
    inside.into_iter().filter(|pid| !known.contains(pid)).collect()
}

fn stats(place: &Place, id: &str) -> Value {
    let all: Value = serde_json::from_str(&place.ok(&["events", "--stats", id])).unwrap();
    all["data"].clone()
}

fn file(place: &Place, id: &str, name: &str) -> Option<String> {
    folders(place, id).iter().find_map(|folder| std::fs::read_to_string(folder.join(name)).ok())
}

fn eater(place: &Place) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/eater.c");
    let mut gcc = std::process::Command::new("gcc");
    gcc.args(["-static", "-O1", "-o"]).arg(place.dir.join("b/rootfs/bin/eater")).arg(source);
    assert!(gcc.status().expect("cannot start gcc").success());
}

/// No cgroup of the container is left once it is deleted.
fn delete(place: &Place, id: &str) {
    place.ok(&["delete", "--force", id]);
    assert_eq!(folders(place, id), Vec::<PathBuf>::new());
}

#[test]
fn all_of_a_members_processes_are_in_its_cgroup() {
    let Some(place) = pod() else { return };
    let oom = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let own: i32 = oom(processes(&place, "stockade sandbox")[0]).trim().parse().unwrap();
    for (id, adjust) in [("one", None), ("two", Some(own + 300)), ("low", Some(own.max(-999)))] {
        limited(&place, id, &["sh", "-c", "sleep 500 & sleep 501 & /bin/true; wait"], json!({}));
        let path = place.bundle().join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config["process"]["oomScoreAdj"] = adjust.into();
        std::fs::write(&path, config.to_string()).unwrap();
        place.ok(&["run", "-d", id]);
    }
    let mut exec = place.command(&["exec", "one", "sleep", "502"]).spawn().unwrap();
    wait_for(|| stubs(&place, "one").len() == 4, || place.ok(&["ps", "one"]));
    wait_for(|| stubs(&place, "two").len() == 3, || place.ok(&["ps", "two"]));
    for (id, adjust) in [("one", 1000), ("two", own + 300), ("low", (own + 100).min(1000))] {
        let (in_it, stubs) = (inside(&place, id), stubs(&place, id));
        assert!(stubs.iter().all(|pid| in_it.contains(pid)), "{id}: {stubs:?} in {in_it:?}");
        let zygotes = zygotes(&place, id);
        assert!(!zygotes.is_empty(), "{id}: {in_it:?}");
        for pid in stubs.iter().chain(&zygotes) {
            assert_eq!(oom(*pid).trim(), adjust.to_string(), "{id}");
            // In every hierarchy that there is.
            assert!(folders(&place, id).iter().all(|f| {
                std::fs::read_to_string(f.join("cgroup.procs")).unwrap().lines().any(|l| l == pid.to_string())
            }));
        }
    }
    assert!(inside(&place, "one").iter().all(|pid| !inside(&place, "two").contains(pid)));
    assert_eq!(stats(&place, "one")["pids"]["current"], 4);
    place.ok(&["kill", "one", "KILL"]);
    assert_eq!(exec.wait().unwrap().code(), Some(137));
    for id in ["one", "two", "low"] {
        delete(&place, id);
    }
    only_the_first(&place);
    place.ok(&["exec", "pause", "true"]);
    end(&place);
}

#[test]
fn a_members_limit_of_memory_ends_its_process_alone() {
    let Some(place) = pod() else { return };
    eater(&place);
    limited(&place, "two", &["sleep", "500"], json!({}));
    place.ok(&["run", "-d", "two"]);
    let ways = ["touch", "zero", "file", "pipe", "small", "zero", "touch"];
    let script = format!("for how in {}; do eater $how; echo $how $?; done; echo over", ways.join(" "));
    limited(&place, "one", &["sh", "-c", &script], json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }));
    let answer = place.run(&["run", "one"]);
    if answer.err.contains("cgroups have no") {
        println!("skipped: {}", answer.err);
        return;
    }
    let expected: String = ways.iter().map(|how| format!("{how} 137\n")).collect();
    assert_eq!((answer.status, answer.out), (0, expected + "over\n"), "{}", answer.err);
    assert_eq!((place.status("two").as_str(), place.status("pause").as_str()), ("running", "running"));
    // Two has no limit; it gets one, by a command of its own, and lives with it.
    assert_eq!(place.run(&["exec", "two", "eater", "touch"]).status, 0);
    // Refused as long as more is in use: what has just ended may not be gone yet.
    let update = || place.run(&["update", "--memory", "33554432", "--memory-swap", "33554432", "two"]);
    wait_for(|| update().status == 0, || update().err);
    for how in ["zero", "file"] {
        assert_eq!(place.run(&["exec", "two", "eater", how]).status, 137, "{how}");
    }
    assert_eq!(stats(&place, "two")["memory"]["usage"]["limit"], 33554432);
    assert_eq!(place.run(&["exec", "pause", "eater", "touch"]).status, 0);
    assert_eq!(place.status("two"), "running");
    delete(&place, "two");
    end(&place);
}

/// Its zygote is made and watched by other means there: docs/adr/0008.
#[test]
fn limits_hold_without_a_listener_too() {
    let Some(place) = pod_with_flags(&["--platform", "listener=off"]) else { return };
    eater(&place);
    let script = "eater touch; echo $?; /bin/true | cat; sleep 500 & sleep 501; true";
    limited(&place, "one", &["sh", "-c", script], json!({ "memory": { "limit": 32 << 20 } }));
    let out = place.dir.join("one");
    let status = place.command(&["run", "-d", "one"]).stdout(std::fs::File::create(&out).unwrap()).status();
    assert!(status.unwrap().success());
    wait_for(|| stubs(&place, "one").len() == 3, || place.ok(&["ps", "one"]));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "137\n");
    let in_it = inside(&place, "one");
    let all: Vec<i32> = stubs(&place, "one").into_iter().chain(zygotes(&place, "one")).collect();
    assert!(all.len() > 3 && all.iter().all(|pid| in_it.contains(pid)), "{all:?} in {in_it:?}");
    assert_eq!(place.run(&["exec", "pause", "eater", "touch"]).status, 0);
    delete(&place, "one");
    only_the_first(&place);
    end(&place);
}

#[test]
fn a_members_cpu_quota_holds_for_it_alone() {
    let Some(place) = pod() else { return };
    limited(
        &place,
        "one",
        &["sh", "-c", "while :; do :; done"],
        json!({ "cpu": { "quota": 20000, "period": 100000 } }),
    );
    let made = place.run(&["run", "-d", "one"]);
    if made.err.contains("cgroups have no") {
        println!("skipped: {}", made.err);
        return;
    }
    let used = |id: &str| stats(&place, id)["cpu"]["usage"]["total"].as_u64().unwrap();
    let share = |id: &str| {
        let (before, begun) = (used(id), Instant::now());
        std::thread::sleep(Duration::from_millis(1500));
        (used(id) - before) as f64 / begun.elapsed().as_nanos() as f64
    };
    let got = share("one");
    assert!(got < 0.3, "{got} of a processor");
    let throttled = || {
        let text = file(&place, "one", "cpu.stat").unwrap();
        text.lines().find_map(|l| l.strip_prefix("nr_throttled ")).unwrap().parse::<u64>().unwrap()
    };
    assert!(throttled() > 3, "{}", throttled());
    // The others are not held by it.
    limited(&place, "two", &["sleep", "500"], json!({}));
    place.ok(&["run", "-d", "two"]);
    let begun = Instant::now();
    place.ok(&["exec", "two", "true"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    place.ok(&["update", "--cpu-quota", "5000", "one"]);
    let got = share("one");
    assert!(got < 0.12, "{got} of a processor");
    place.ok(&["pause", "one"]);
    assert_eq!((place.status("one").as_str(), place.status("two").as_str()), ("paused", "running"));
    place.ok(&["exec", "two", "true"]);
    let got = share("one");
    assert!(got < 0.02, "{got} of a processor while it is paused");
    place.ok(&["resume", "one"]);
    delete(&place, "one");
    delete(&place, "two");
    end(&place);
}

#[test]
fn a_members_limit_of_tasks() {
    let Some(place) = pod() else { return };
    limited(&place, "one", &["sleep", "500"], json!({ "pids": { "limit": 4 } }));
    place.ok(&["run", "-d", "one"]);
    let crowd = "for n in 1 2 3 4 5 6; do sleep 0.3 & done; wait";
    let told = place.run(&["exec", "one", "sh", "-c", crowd]);
    assert!(told.err.contains("can't fork"), "{}", told.err);
    assert_eq!(place.run(&["exec", "pause", "sh", "-c", crowd]).err, "");
    // Room for stockade's own processes, which guests do not see.
    assert_eq!(file(&place, "one", "pids.max").unwrap().trim(), "260");
    place.ok(&["update", "--pids-limit", "20", "one"]);
    assert_eq!(place.run(&["exec", "one", "sh", "-c", crowd]).err, "");
    assert_eq!(file(&place, "one", "pids.max").unwrap().trim(), "276");
    delete(&place, "one");
    end(&place);
}

#[test]
fn a_zygote_that_is_killed_is_made_again() {
    let Some(place) = pod() else { return };
    limited(&place, "one", &["sleep", "500"], json!({}));
    place.ok(&["run", "-d", "one"]);
    wait_for(|| stubs(&place, "one").len() == 1, || place.ok(&["ps", "one"]));
    for _ in 0..5 {
        for pid in zygotes(&place, "one") {
            host::signals::kill(pid, 9);
            wait_for(|| !alive(pid), || format!("{pid} lives"));
        }
        assert_eq!(place.ok(&["exec", "one", "sh", "-c", "/bin/echo in | cat"]), "in\n");
        assert!(stubs(&place, "one").iter().all(|pid| inside(&place, "one").contains(pid)));
    }
    // At any moment: what was about to start may die of it, the container may not.
    let execs: Vec<_> = (0..10)
        .map(|_| {
            let script = "for n in 1 2 3 4 5 6 7 8; do /bin/true; done; exit 7";
            place.command(&["exec", "one", "sh", "-c", script]).spawn().unwrap()
        })
        .collect();
    for _ in 0..10 {
        zygotes(&place, "one").into_iter().for_each(|pid| host::signals::kill(pid, 9));
        std::thread::sleep(Duration::from_millis(20));
    }
    for exec in execs {
        let end = exec.wait_with_output().unwrap();
        // Or what the shell forked was killed before it was born.
        let no_child = end.status.code() == Some(2) && String::from_utf8_lossy(&end.stderr).contains("can't fork");
        assert!(no_child || matches!(end.status.code(), Some(7 | 137)), "{end:?}");
    }
    assert_eq!(place.status("one"), "running");
    assert_eq!(place.ok(&["exec", "one", "echo", "in"]), "in\n");
    delete(&place, "one");
    end(&place);
}

#[test]
fn what_is_killed_leaves_no_process_in_the_cgroup() {
    let Some(place) = pod() else { return };
    // What stands for it, its gofer.
    for word in ["stockade container", "stockade gofer"] {
        let before = processes(&place, word);
        limited(&place, "one", &["sleep", "500"], json!({}));
        place.ok(&["run", "-d", "one"]);
        let new = || -> Vec<i32> { processes(&place, word).into_iter().filter(|pid| !before.contains(pid)).collect() };
        wait_for(|| new().len() == 1, || format!("{:?}", place.processes()));
        new().into_iter().for_each(|pid| host::signals::kill(pid, 9));
        if word == "stockade container" {
            wait_for(|| inside(&place, "one").is_empty(), || format!("{:?}", inside(&place, "one")));
        }
        delete(&place, "one");
        only_the_first(&place);
    }
    limited(&place, "one", &["sleep", "500"], json!({}));
    place.ok(&["run", "-d", "one"]);
    processes(&place, "stockade sandbox").into_iter().for_each(|pid| host::signals::kill(pid, 9));
    wait_for(|| inside(&place, "one").is_empty(), || format!("{:?}", inside(&place, "one")));
    delete(&place, "one");
    end(&place);
}
