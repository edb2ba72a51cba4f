//! A limit of memory ends the guest that reaches it, however it does, and nobody else. Needs a memory cgroup, which only root makes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use std::path::Path;

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
        config["linux"] = serde_json::json!({
            "cgroupsPath": place.cgroup(), "resources": { "memory": { "limit": 32 << 20, "swap": 32 << 20 } }
        });
    });
    let answer = place.run(&["run", "x"]);
    if answer.err.contains("cgroups have no") {
        println!("skipped: {}", answer.err);
        return;
    }
    let expected: String = ways.iter().map(|how| format!("{how} 137\n")).collect();
    assert_eq!((answer.status, answer.out), (0, expected + "over\n"), "{}", answer.err);
    place.assert_empty();
}
