//! A limit of memory ends the guest that reaches it, however it does, and nobody else. Needs a memory cgroup, which only root makes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use std::path::Path;

fn limits(place: &Place, bytes: u64) -> serde_json::Value {
    serde_json::json!({ "cgroupsPath": place.cgroup(), "resources": { "memory": { "limit": bytes, "swap": bytes } } })
}

/// Runs the container; None where there are no limits here.
fn limited(place: &Place) -> Option<common::Answer> {
    let answer = place.run(&["run", "x"]);
    if answer.err.contains("cgroups have no") {
        println!("skipped: {}", answer.err);
        return None;
    }
    Some(answer)
}

/// The limit is the memory that guests see, and files in memory cannot fill it: their file systems are full before.
#[test]
fn files_in_memory_leave_the_sandbox_room() {
    if !host::rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let place = Place::real();
    let script = "grep MemTotal /proc/meminfo; mkdir -p /tmp/a /tmp/b; mount -t tmpfs -o size=1g x /tmp/a; mount -t tmpfs -o size=1g x /tmp/b; \
        fallocate -l 900m /tmp/a/whole 2>/dev/null; echo $? $(stat -c %s /tmp/a/whole); dd if=/dev/zero of=/tmp/a/x bs=1M count=40 2>/dev/null; echo $?; \
        dd if=/dev/zero of=/tmp/b/y bs=1M count=400 2>/dev/null; echo $?; rm /tmp/a/x /tmp/b/y; \
        dd if=/dev/zero of=/tmp/b/z bs=1M count=40 2>/dev/null; echo $? over";
    place.config(&["sh", "-c", script], |config| {
        config["linux"] = limits(&place, 64 << 20);
        let all = serde_json::json!(["CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] = serde_json::json!({ "bounding": all, "effective": all, "permitted": all });
    });
    let Some(answer) = limited(&place) else { return };
    let expected = "MemTotal:          65536 kB\n1 0\n0\n1\n0 over\n";
    assert_eq!((answer.status, answer.out.as_str()), (0, expected), "{}", answer.err);
    place.assert_empty();
}

/// Reads into memory that nobody has touched, until the limit is reached, in several ways, beside a process that lives on.
#[test]
fn the_limit_ends_one_process() {
    if !host::rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let place = Place::real();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/eater.c");
    let mut gcc = std::process::Command::new("gcc");
    gcc.args(["-static", "-O1", "-o"]).arg(place.dir.join("b/rootfs/bin/eater")).arg(source);
    assert!(gcc.status().expect("cannot start gcc").success());
    let ways = ["touch", "file", "zero", "pipe", "zero", "small", "zero", "file", "zero", "zero"];
    let script = format!("for how in {}; do eater $how; echo $how $?; done; echo over", ways.join(" "));
    place.config(&["sh", "-c", &script], |config| {
        config["linux"] = limits(&place, 32 << 20);
    });
    let Some(answer) = limited(&place) else { return };
    let expected: String = ways.iter().map(|how| format!("{how} 137\n")).collect();
    assert_eq!((answer.status, answer.out), (0, expected + "over\n"), "{}", answer.err);
    place.assert_empty();
}
