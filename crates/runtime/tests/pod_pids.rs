//! Containers of a pod in one PID namespace, as config.json asks for it when Kubernetes shares processes among them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::pod::{cannot_join, end, member_with, only_the_first, pod, processes};
use common::{Place, wait_for};
use serde_json::{Value, json};

/// Processes of the whole pod, by their command lines, as the first container sees them.
fn all(place: &Place) -> String {
    place.ok(&[
        "exec",
        "pause",
        "sh",
        "-c",
        "cd /proc; for p in [0-9]*; do busybox tr '\\0' ' ' < $p/cmdline; echo; done",
    ])
}

/// A container in the PID namespace that `path` is.
fn sharing(place: &Place, path: &str, args: &[&str]) {
    member_with(place, args, |c| c["linux"]["namespaces"][0]["path"] = path.into());
}

fn of_the_pod(place: &Place) -> String {
    format!("/proc/{}/ns/pid", processes(place, "stockade sandbox")[0])
}

fn pids(place: &Place, id: &str) -> Vec<Value> {
    let table = place.ok(&["ps", id]);
    table.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap().into()).collect()
}

#[test]
fn a_member_sees_the_pods_processes_and_is_not_the_first() {
    let place = pod();
    let script = "echo $$; kill -0 1 && echo reached; busybox tr '\\0' ' ' < /proc/1/cmdline; exit 9";
    let linked = place.dir.join("pidns");
    std::os::unix::fs::symlink(of_the_pod(&place), &linked).unwrap();
    for path in [of_the_pod(&place), linked.display().to_string()] {
        sharing(&place, &path, &["sh", "-c", script]);
        let answer = place.run(&["run", "one"]);
        assert_eq!((answer.status, answer.err.as_str()), (9, ""), "{path}");
        let lines: Vec<&str> = answer.out.lines().collect();
        assert!(lines[0].parse::<i32>().unwrap() > 1, "{}", answer.out);
        assert_eq!(lines[1..], ["reached", "sleep 1000 "]);
        only_the_first(&place);
    }
    // No PID namespace named at all is the one of whoever runs it: here the pod's.
    member_with(&place, &["sh", "-c", script], |c| _ = c["linux"]["namespaces"].as_array_mut().unwrap().remove(0));
    assert!(place.run(&["run", "one"]).out.contains("\nreached\nsleep 1000"));
    end(&place);
}

#[test]
fn commands_act_on_the_member_alone() {
    let place = pod();
    sharing(&place, &of_the_pod(&place), &["sh", "-c", "sleep 600 & sleep 601"]);
    place.ok(&["create", "one"]);
    assert_eq!(place.status("one"), "created");
    place.ok(&["start", "one"]);
    wait_for(|| pids(&place, "one").len() == 2, || place.ok(&["ps", "one"]));
    assert!(!pids(&place, "one").contains(&json!(1)));
    assert_eq!(pids(&place, "pause"), [json!(1)]);
    assert_eq!(place.run(&["exec", "one", "sh", "-c", "exit 5"]).status, 5);
    place.ok(&["pause", "one"]);
    assert_eq!((place.status("one").as_str(), place.status("pause").as_str()), ("paused", "running"));
    place.ok(&["exec", "pause", "true"]);
    place.ok(&["resume", "one"]);
    place.fails(&["kill", "--pid", "99999", "one", "TERM"], 1, &["no process 99999 in container one"]);
    assert!(all(&place).contains("sleep 600") && all(&place).contains("sleep 601"));
    // Its first program has no protection from signals: it is no init. With it goes what is left of the container.
    place.ok(&["kill", "one", "TERM"]);
    wait_for(|| place.status("one") == "stopped", || "it runs".into());
    wait_for(|| !all(&place).contains("sleep 60"), || all(&place));
    place.ok(&["delete", "one"]);
    assert_eq!(place.status("pause"), "running");
    only_the_first(&place);
    end(&place);
}

/// `kubectl debug --target`: in the namespace of another container, with which it ends.
#[test]
fn a_member_may_share_with_another_one() {
    let place = pod();
    member_with(&place, &["sleep", "700"], |_| ());
    place.ok(&["run", "-d", "one"]);
    wait_for(|| processes(&place, "stockade container one").len() == 1, || format!("{:?}", place.processes()));
    let path = format!("/proc/{}/ns/pid", place.pid("one"));
    sharing(&place, &path, &["sh", "-c", "busybox tr '\\0' ' ' < /proc/1/cmdline; echo; exec sleep 701"]);
    place.ok(&["run", "-d", "two"]);
    assert_eq!(place.ok(&["exec", "two", "busybox", "head", "-c", "5", "/proc/1/cmdline"]), "sleep");
    assert!(place.ok(&["exec", "one", "ls", "/proc"]).lines().filter(|l| l.parse::<i32>().is_ok()).count() >= 3);
    // Its own processes are its own.
    assert_eq!(pids(&place, "one"), [json!(1)]);
    place.ok(&["kill", "one", "KILL"]);
    wait_for(|| place.status("two") == "stopped", || "two runs".into());
    place.ok(&["delete", "one"]);
    place.ok(&["delete", "two"]);
    only_the_first(&place);
    end(&place);
}

#[test]
fn a_namespace_of_nobody_is_refused() {
    let place = pod();
    for path in ["/proc/1/ns/pid".to_string(), "/proc/self/ns/pid".into(), place.dir.join("none").display().to_string()]
    {
        let change = |c: &mut Value| c["linux"]["namespaces"][0]["path"] = path.clone().into();
        cannot_join(&place, "one", change, &["linux.namespaces", "PID namespace", &path]);
    }
    end(&place);
}
