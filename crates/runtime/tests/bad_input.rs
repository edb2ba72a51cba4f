//! Bad input: one clear line that names the object and the remedy, the status that runc's users expect, nothing left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use serde_json::json;

#[test]
fn config_json() {
    let place = Place::new();
    let file = place.bundle().join("config.json");
    std::fs::remove_file(&file).unwrap();
    place.fails(&["run", "x"], 1, &["run failed", "config.json not found", "stockade spec"]);
    place.fails(&["create", "-b", "/nonexistent", "x"], 1, &["create failed", "/nonexistent", "No such file"]);
    std::fs::write(&file, "{ \"a\": ").unwrap();
    place.fails(&["run", "x"], 1, &["config.json is not valid JSON", "line 1"]);
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    place.fails(&["run", "x"], 1, &["cannot read", "config.json"]);
    place.config(&["true"], |c| c["process"]["user"]["uid"] = "root".into());
    place.fails(&["run", "x"], 1, &["field process.user.uid", "expected u32"]);
    place.assert_empty();
}

#[test]
fn fields_of_config_json() {
    let place = Place::new();
    type Case = (fn(&mut serde_json::Value), &'static [&'static str]);
    let cases: &[Case] = &[
        (|c| c["ociVersion"] = "9.0".into(), &["ociVersion", "9.0"]),
        (|c| c["root"] = json!(null), &["root", "root.path"]),
        (|c| c["root"]["path"] = "nowhere".into(), &["root.path", "invalid rootfs", "nowhere", "no such file"]),
        (|c| c["root"]["path"] = "config.json".into(), &["root.path", "is no folder"]),
        (|c| c["process"] = json!(null), &["field process is missing"]),
        (|c| c["process"]["args"] = json!([]), &["args must not be empty"]),
        (|c| c["process"]["args"] = json!(null), &["args must not be empty"]),
        (|c| c["process"]["args"] = json!(["nope"]), &["\"nope\"", "executable file not found in $PATH"]),
        (|c| c["process"]["cwd"] = "tmp".into(), &["Cwd must be an absolute path"]),
        (|c| c["process"]["user"]["uid"] = json!(4_000_000_000u32), &["uids and gids must be in range 0-2147483647"]),
        (|c| c["process"]["oomScoreAdj"] = json!(2000), &["oomScoreAdj", "-1000 to 1000"]),
        (
            |c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 2, "hard": 1 }]),
            &["RLIMIT_NOFILE", "above the hard limit"],
        ),
        (
            |c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOPE", "soft": 2, "hard": 1 }]),
            &["process.rlimits[0]"],
        ),
        (|c| c["process"]["terminal"] = true.into(), &["process.terminal", "no terminal"]),
        (|c| c["mounts"] = json!([{ "destination": "x", "type": "tmpfs" }]), &["mounts[0].destination", "absolute"]),
        (
            |c| c["mounts"] = json!([{ "destination": "/x", "type": "bind", "source": "/no/where" }]),
            &["mounts[0].source", "/no/where", "no such file"],
        ),
        (|c| c["linux"]["rootfsPropagation"] = "odd".into(), &["rootfsPropagation", "odd"]),
        (
            |c| c["linux"]["devices"] = json!([{ "path": "/dev/x", "type": "a", "major": 1, "minor": 1 }]),
            &["linux.devices", "/dev/x"],
        ),
        (|c| c["linux"]["cgroupsPath"] = "/a/../b".into(), &["cgroupsPath", ".."]),
        (
            |c| c["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] }),
            &["hooks.startContainer", "not supported"],
        ),
        (
            |c| c["hooks"] = json!({ "prestart": [{ "path": "/no/hook" }] }),
            &["hook prestart[0] /no/hook", "No such file"],
        ),
    ];
    for (change, words) in cases {
        place.config(&["true"], change);
        place.fails(&["run", "x"], 1, words);
        place.assert_empty();
    }
}

#[test]
fn an_unknown_capability_is_no_error() {
    let place = Place::new();
    place.config(&["true"], |c| {
        c["process"]["capabilities"] = json!({ "bounding": ["CAP_KILL", "CAP_FROM_THE_FUTURE"] })
    });
    let answer = place.run(&["run", "x"]);
    assert_eq!(answer.status, 0);
    assert!(answer.err.contains("CAP_FROM_THE_FUTURE"), "{}", answer.err);
}

#[test]
fn names_and_commands() {
    let place = Place::new();
    place.fails(&["run", "a/b"], 1, &["invalid container ID format", "a/b"]);
    place.fails(&["run", ".."], 1, &["invalid container ID format"]);
    for command in ["state", "start", "kill", "delete", "ps", "pause", "resume"] {
        place.fails(&[command, "nope"], 1, &["container does not exist"]);
    }
    place.fails(&["exec", "nope", "true"], 255, &["exec failed: container does not exist"]);
    place.ok(&["delete", "--force", "nope"]);
    place.fails(&["kill", "nope", "SIGWHAT"], 1, &["unknown signal", "SIGWHAT"]);
    assert_eq!(place.run(&["frobnicate"]).status, 3);
    assert_eq!(place.run(&["run"]).status, 1);
    assert_eq!(place.run(&["run", "--nope", "x"]).status, 1);
    assert_eq!(place.run(&["--help"]).status, 0);
    place.fails(&["checkpoint", "x"], 1, &["not supported yet"]);
    place.fails(&["--log", "/no/where/log", "list"], 1, &["/no/where/log"]);
    place.fails(&["--root", "/proc/nope", "run", "x"], 1, &["/proc/nope", "--root"]);
}

#[test]
fn do_names_what_is_wrong() {
    let place = Place::new();
    place.fails(&["do", "nope"], 127, &["nope", "executable file not found"]);
    place.fails(&["do", "--rootfs", "/no/where", "true"], 1, &["/no/where", "--rootfs"]);
    place.fails(&["do", "--rootfs", "/dev/null", "true"], 1, &["/dev/null", "neither a folder nor an erofs image"]);
    place.fails(&["do", "-u", "nobody", "true"], 1, &["unknown user", "nobody"]);
    assert_eq!(place.ok(&["do", "echo", "x"]), "x\n");
    assert_eq!(place.run(&["do", "exit", "3"]).status, 3);
}

#[test]
fn the_log_is_json_for_engines() {
    let place = Place::new();
    place.config(&["nope"], |_| ());
    let log = place.dir.join("log");
    let answer = place.run(&["--log", log.to_str().unwrap(), "--log-format", "json", "run", "x"]);
    assert_eq!(answer.status, 1);
    let line: serde_json::Value = serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("executable file not found in $PATH"));
    assert!(answer.err.contains("run failed"), "{}", answer.err);
}

#[test]
fn a_crash_of_the_kernel_process_is_told() {
    let place = Place::new();
    place.config(&["crash"], |_| ());
    let answer = place.run(&["run", "x"]);
    assert_eq!(answer.status, 1);
    assert!(answer.err.contains("sandbox"), "{}", answer.err);
    place.assert_empty();
}

#[test]
fn a_closed_output_is_no_crash() {
    let place = Place::new();
    let script = format!("exec \"$0\" --root {} list >&-", place.states().display());
    let binary = place.command(&[]).get_program().to_owned();
    let status = std::process::Command::new("sh").arg("-c").arg(script).arg(binary).status().unwrap();
    assert_eq!(status.code(), Some(0));
    if std::path::Path::new("/dev/full").exists() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = place.command(&["list"]);
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
    }
}
