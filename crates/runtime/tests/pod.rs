//! Pods: further containers in the sandbox of a first one, as Kubernetes' engines ask for them by annotations.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::pod::{cannot_join, end, member, only_the_first, pod, processes};
use common::{Place, wait_for};
use serde_json::json;

fn status(place: &Place, id: &str) -> String {
    let answer = place.run(&["state", id]);
    assert_eq!(answer.status, 0, "{}", answer.err);
    let state: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    state["status"].as_str().unwrap().to_string()
}

#[test]
fn a_member_has_its_own_processes_and_the_pods_names() {
    let place = pod();
    member(&place, &["sh", "-c", "cat /proc/sys/kernel/hostname; echo $$; ls -d /proc/[0-9]*; exit 7"]);
    let answer = place.run(&["run", "one"]);
    assert_eq!((answer.status, answer.err.as_str()), (7, ""));
    assert!(answer.out.starts_with("pod\n1\n/proc/1\n"), "{}", answer.out);
    assert!(!answer.out.contains("1000"), "{}", answer.out);
    only_the_first(&place);
    end(&place);
}

#[test]
fn every_command_finds_a_member() {
    let place = pod();
    member(&place, &["sleep", "500"]);
    assert_eq!(place.run(&["create", "--pid-file", "pid", "one"]).err, "");
    assert_eq!(status(&place, "one"), "created");
    assert_eq!(place.run(&["start", "one"]).err, "");
    let pid: i32 = std::fs::read_to_string(place.bundle().join("pid")).unwrap().parse().unwrap();
    assert_eq!(processes(&place, "stockade container"), [pid]);
    let listed = place.run(&["list", "-q"]).out;
    assert_eq!(listed, "one\npause\n");
    let ps = place.run(&["ps", "one"]).out;
    assert!(ps.contains("sleep 500") && !ps.contains("sleep 1000"), "{ps}");
    assert_eq!(place.run(&["exec", "one", "sh", "-c", "echo in; exit 3"]).status, 3);
    assert_eq!(place.run(&["exec", "pause", "true"]).status, 0);
    assert_eq!(place.run(&["pause", "one"]).err, "");
    assert_eq!((status(&place, "one").as_str(), status(&place, "pause").as_str()), ("paused", "running"));
    assert_eq!(place.run(&["resume", "one"]).err, "");
    let stats = place.run(&["events", "--stats", "one"]).out;
    assert!(stats.contains("\"pids\":{\"current\":1}"), "{stats}");
    assert_eq!(place.run(&["kill", "one", "KILL"]).err, "");
    wait_for(|| status(&place, "one") == "stopped", || "it runs".into());
    assert_eq!(status(&place, "pause"), "running");
    assert_eq!(place.run(&["delete", "one"]).err, "");
    only_the_first(&place);
    end(&place);
}

#[test]
fn members_come_and_go() {
    let place = pod();
    let kernel = processes(&place, "stockade sandbox");
    let kernel = kernel.first().unwrap();
    let open = || std::fs::read_dir(format!("/proc/{kernel}/fd")).unwrap().count();
    let mut counts = Vec::new();
    for _ in 0..8 {
        member(&place, &["true"]);
        assert_eq!(place.run(&["run", "one"]).status, 0);
        only_the_first(&place);
        counts.push(open());
    }
    assert!(counts.last().unwrap() <= &(counts.get(2).unwrap() + 2), "descriptors of the kernel process: {counts:?}");
    end(&place);
}

#[test]
fn a_member_ends_with_what_stands_for_it() {
    let place = pod();
    for started in [false, true] {
        member(&place, &["sleep", "500"]);
        assert_eq!(place.run(&["create", "one"]).err, "");
        if started {
            assert_eq!(place.run(&["start", "one"]).err, "");
        }
        // It may still be on its way to its own command line.
        wait_for(|| processes(&place, "stockade container").len() == 1, || format!("{:?}", place.processes()));
        for pid in processes(&place, "stockade container") {
            host::signals::kill(pid, 9);
        }
        wait_for(|| status(&place, "one") == "stopped", || "it runs".into());
        only_the_first(&place);
        assert_eq!(place.run(&["delete", "one"]).err, "");
        // The name is free again.
        member(&place, &["true"]);
        assert_eq!(place.run(&["run", "one"]).status, 0);
    }
    end(&place);
}

#[test]
fn members_end_with_the_sandbox() {
    let place = pod();
    member(&place, &["sleep", "500"]);
    assert_eq!(place.run(&["run", "-d", "one"]).err, "");
    assert_eq!(place.run(&["delete", "--force", "pause"]).err, "");
    wait_for(|| place.processes().is_empty(), || format!("left: {:?}", place.processes()));
    wait_for(|| status(&place, "one") == "stopped", || "it runs".into());
    assert_eq!(place.run(&["delete", "one"]).err, "");
    place.assert_empty();
}

#[test]
fn what_cannot_join_says_why_and_leaves_nothing() {
    let place = pod();
    let fails =
        |id: &str, change: &dyn Fn(&mut serde_json::Value), words: &str| cannot_join(&place, id, change, &[words]);
    let kind = "io.kubernetes.cri.container-type";
    let id = "io.kubernetes.cri.sandbox-id";
    fails("one", &|c| c["annotations"][id] = json!("nobody"), "nobody");
    fails("one", &|c| c["annotations"] = json!({ kind: "container" }), id);
    fails("one", &|c| c["annotations"][kind] = json!("pod"), kind);
    fails("one", &|c| c["process"]["args"] = json!(["no-such-program"]), "no-such-program");
    fails("one", &|c| c["root"]["path"] = json!("no-such-folder"), "no-such-folder");
    fails("pause", &|_| (), "already exists");
    end(&place);
}
