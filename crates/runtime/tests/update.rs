//! Limits of the host's cgroups: in config.json, and by `update`, also of a container that was made without a cgroup. Only root makes cgroups.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::{Place, wait_for};
use serde_json::json;

/// A place whose container's id is one that no other test has: it names the cgroup.
fn place() -> Option<(Place, String)> {
    if !host::rustix::process::geteuid().is_root() || std::fs::read_dir("/sys/fs/cgroup").is_err() {
        println!("skipped: only root of a host with /sys/fs/cgroup makes cgroups");
        return None;
    }
    let place = Place::real();
    let id = place.cgroup().trim_start_matches('/').to_string();
    Some((place, id))
}

/// Folders of the container's cgroup, wherever it lies.
fn folders(id: &str) -> Vec<PathBuf> {
    let find = std::process::Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", id]).output().unwrap();
    String::from_utf8(find.stdout).unwrap().lines().map(PathBuf::from).collect()
}

fn file(id: &str, name: &str) -> Option<String> {
    folders(id).iter().find_map(|folder| std::fs::read_to_string(folder.join(name)).ok())
}

fn members(folder: &Path) -> BTreeSet<i32> {
    std::fs::read_to_string(folder.join("cgroup.procs")).unwrap().lines().map(|l| l.parse().unwrap()).collect()
}

/// The sandbox' processes as the host counts them: kernel process and gofer, and all that descend from them.
fn processes(place: &Place) -> BTreeSet<i32> {
    let mut all: BTreeSet<i32> =
        place.processes().into_iter().filter(|p| !p.1.contains(" run ")).map(|p| p.0).collect();
    loop {
        let before = all.len();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
            if parent.is_some_and(|p| all.contains(&p)) {
                all.extend(entry.file_name().to_string_lossy().parse::<i32>());
            }
        }
        if all.len() == before {
            return all;
        }
    }
}

const FORKS: &str = "sleep 500 & while :; do sleep 0.01 | true; done";

#[test]
fn a_container_without_a_cgroup_gets_one() {
    let Some((place, id)) = place() else { return };
    place.config(&["sh", "-c", FORKS], |_| ());
    for foreground in [false, true] {
        let command: Option<Child> = if foreground {
            Some(place.command(&["run", &id]).stdout(Stdio::null()).spawn().unwrap())
        } else {
            place.ok(&["run", "-d", &id]);
            None
        };
        wait_for(
            || place.states().join(&id).exists() && place.run(&["state", &id]).out.contains("running"),
            || place.ok(&["list"]),
        );
        assert_eq!(folders(&id), Vec::<PathBuf>::new());
        let answer = place.run(&[
            "update",
            "--memory",
            "64M",
            "--memory-swap",
            "-1",
            "--cpu-quota",
            "80000",
            "--pids-limit",
            "50",
            &id,
        ]);
        if answer.err.contains("cgroups have no") {
            println!("skipped: {}", answer.err);
            return;
        }
        assert_eq!((answer.status, answer.err.as_str()), (0, ""));
        let limit = file(&id, "memory.limit_in_bytes").or_else(|| file(&id, "memory.max"));
        assert_eq!(limit.unwrap().trim(), (64 << 20).to_string());
        assert!(place.ok(&["events", "--stats", &id]).contains(&format!("\"limit\":{}", 64 << 20)));
        assert!(place.ok(&["exec", &id, "grep", "MemTotal", "/proc/meminfo"]).contains(" 65536 kB"));
        // All of it is inside, and stays: what ends meanwhile does not count.
        for _ in 0..20 {
            let all = processes(&place);
            for folder in folders(&id) {
                let inside = members(&folder);
                let outside = |pid: &&i32| !inside.contains(pid) && common::alive(**pid);
                let group = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                let left: Vec<_> = all
                    .iter()
                    .filter(outside)
                    .map(|pid| (*pid, group(pid)))
                    .filter(|p| !p.1.is_empty() && !p.1.contains(&id))
                    .collect();
                assert!(left.is_empty(), "{left:?} not in {folder:?}");
            }
        }
        place.ok(&["update", "--memory", "96m", &id]);
        place.ok(&["delete", "--force", &id]);
        if let Some(mut command) = command {
            assert!(!command.wait().unwrap().success());
        }
        assert_eq!(folders(&id), Vec::<PathBuf>::new());
        place.assert_empty();
    }
}

/// In the foreground the command removes what another one has made.
#[test]
fn nothing_is_left_at_the_commands_own_end() {
    let Some((place, id)) = place() else { return };
    place.config(&["sleep", "500"], |_| ());
    let mut command = place.command(&["run", &id]).stdout(Stdio::null()).spawn().unwrap();
    wait_for(
        || place.states().join(&id).exists() && place.run(&["state", &id]).out.contains("running"),
        || place.ok(&["list"]),
    );
    place.ok(&["update", "--cpu-share", "100", &id]);
    assert!(!folders(&id).is_empty());
    place.ok(&["kill", &id, "TERM"]);
    place.ok(&["kill", &id, "KILL"]);
    assert_eq!(command.wait().unwrap().code(), Some(137));
    assert_eq!(folders(&id), Vec::<PathBuf>::new());
    place.assert_empty();
}

#[test]
fn what_cannot_be_set_leaves_all_as_it_was() {
    let Some((place, id)) = place() else { return };
    place.config(&["sleep", "500"], |_| ());
    place.ok(&["run", "-d", &id]);
    let before = std::fs::read_to_string(format!("/proc/{}/cgroup", place.pid(&id))).unwrap();
    let wrong: [(&[&str], &str); 3] = [
        (&["--cpuset-cpus", "9999"], "cpu.cpus"),
        (&["--memory", "4096", "--memory-swap", "1"], "memory.swap"),
        (&["--cpu-period", "1"], "cpu.period"),
    ];
    for (flags, field) in wrong {
        let args: Vec<&str> = ["update"].iter().chain(flags).chain([&id.as_str()]).copied().collect();
        place.fails(&args, 1, &[&format!("linux.resources.{field}")]);
        assert_eq!(folders(&id), Vec::<PathBuf>::new());
    }
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/cgroup", place.pid(&id))).unwrap(), before);
    place.ok(&["exec", &id, "true"]);
    let usage = place.run(&["update", "--memory", "much", &id]);
    assert!(usage.status != 0 && usage.err.contains("such as 67108864 or 64M"), "{}", usage.err);
    place.ok(&["delete", "--force", &id]);
    place.assert_empty();
}

#[test]
fn devices_are_throttled_by_their_numbers() {
    let Some((place, id)) = place() else { return };
    // The device that this file system is on; the host's cgroups know whole disks.
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten();
    let Some(disk) = disks.map(|d| d.path()).find(|d| d.join("device").exists() && !d.join("loop").exists()) else {
        println!("skipped: this machine has no disk");
        return;
    };
    let numbers = std::fs::read_to_string(disk.join("dev")).unwrap().trim().to_string();
    let (major, minor) = numbers.split_once(':').unwrap();
    let device = |rate: u64| json!([{ "major": major.parse::<u64>().unwrap(), "minor": minor.parse::<u64>().unwrap(), "rate": rate }]);
    place.config(&["sleep", "500"], |c| {
        c["linux"]["cgroupsPath"] = place.cgroup().into();
        c["linux"]["resources"]["blockIO"] =
            json!({ "throttleReadBpsDevice": device(1 << 20), "throttleWriteIOPSDevice": device(100) });
    });
    let answer = place.run(&["run", "-d", &id]);
    if answer.err.contains("cgroups have no") {
        println!("skipped: {}", answer.err);
        return;
    }
    assert_eq!(answer.status, 0, "{}", answer.err);
    let read = file(&id, "blkio.throttle.read_bps_device").or_else(|| file(&id, "io.max")).unwrap();
    assert!(read.contains(&format!("{numbers} ")) && read.contains("1048576"), "{read}");
    let writes = file(&id, "blkio.throttle.write_iops_device").or_else(|| file(&id, "io.max")).unwrap();
    assert!(writes.contains("100"), "{writes}");
    place.ok(&["delete", "--force", &id]);
    place.assert_empty();
}

#[test]
fn version_2s_own_files_are_named_where_there_is_none() {
    let Some((place, id)) = place() else { return };
    for (file, value, word) in
        [("../x", "1", "is no file of a cgroup"), ("memory.high", "67108864", "unified.memory.high")]
    {
        place.config(&["true"], |c| {
            c["linux"]["cgroupsPath"] = place.cgroup().into();
            c["linux"]["resources"]["unified"][file] = value.into();
        });
        if word.starts_with("unified") && Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            place.ok(&["run", &id]);
        } else {
            place.fails(&["run", &id], 1, &[word]);
        }
        assert_eq!(folders(&id), Vec::<PathBuf>::new());
        place.assert_empty();
    }
}
