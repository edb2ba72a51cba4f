//! Every state of a container and every command, with a pretended kernel behind real processes, namespaces and sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Place, alive, wait_for};

#[test]
fn run_returns_the_status_of_the_program() {
    let place = Place::new();
    assert_eq!(place.run(&["run", "x"]).status, 0);
    place.config(&["exit", "7"], |_| ());
    assert_eq!(place.run(&["run", "x"]).status, 7);
    place.config(&["echo", "hello", "there"], |_| ());
    assert_eq!(place.ok(&["run", "x"]), "hello there\n");
    place.assert_empty();
}

#[test]
fn a_container_goes_through_its_states() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    place.ok(&["create", "--pid-file", "../pid", "x"]);
    assert_eq!(place.status("x"), "created");
    let pid = place.pid("x");
    assert_eq!(std::fs::read_to_string(place.dir.join("pid")).unwrap(), pid.to_string());
    assert!(alive(pid));
    place.ok(&["start", "x"]);
    assert_eq!(place.status("x"), "running");
    place.fails(&["start", "x"], 1, &["cannot start an already running container"]);
    place.fails(&["delete", "x"], 1, &["cannot delete container x that is not stopped: running"]);
    place.fails(&["run", "x"], 1, &["run failed: container with given ID already exists"]);
    assert!(place.ok(&["list"]).contains("running"));
    assert_eq!(place.ok(&["list", "-q"]), "x\n");
    assert!(place.ok(&["ps", "x"]).contains("sleep"));
    // Host processes: the pretended one has no stub, so its number is the kernel process' own.
    assert_eq!(place.ok(&["ps", "-f", "json", "x"]), format!("[{pid}]\n"));
    place.ok(&["pause", "x"]);
    assert_eq!(place.status("x"), "paused");
    place.fails(&["exec", "x", "true"], 255, &["exec failed: cannot exec in a paused container"]);
    place.ok(&["resume", "x"]);
    assert!(place.ok(&["events", "--stats", "x"]).contains("\"type\":\"stats\""));
    place.ok(&["kill", "x", "KILL"]);
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    assert!(!alive(pid));
    place.fails(&["kill", "x"], 1, &["container not running"]);
    place.ok(&["delete", "x"]);
    place.fails(&["state", "x"], 1, &["container does not exist"]);
    place.assert_empty();
}

#[test]
fn exec_runs_and_returns_the_status() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    place.ok(&["run", "-d", "x"]);
    assert_eq!(place.ok(&["exec", "x", "echo", "hi"]), "hi\n");
    assert_eq!(place.run(&["exec", "x", "exit", "9"]).status, 9);
    place.fails(&["exec", "x", "nope"], 255, &["exec failed", "executable file not found in $PATH"]);
    place.fails(&["exec", "x"], 255, &["process args cannot be empty"]);
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn a_detached_exec_has_a_process_that_stands_for_it() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    place.ok(&["run", "-d", "x"]);
    place.ok(&["exec", "-d", "--pid-file", "../pid", "x", "sleep"]);
    let pid: i32 = std::fs::read_to_string(place.dir.join("pid")).unwrap().parse().unwrap();
    assert!(alive(pid));
    let processes = || place.ok(&["ps", "x"]).lines().count() - 1;
    assert_eq!(processes(), 2);
    // A signal to it is one to the program; its end is the program's.
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    wait_for(|| !alive(pid), || "the stand-in lives on".into());
    assert_eq!(processes(), 1);
    // Killed, it takes the program along.
    place.ok(&["exec", "-d", "--pid-file", "../pid", "x", "trap"]);
    let pid = std::fs::read_to_string(place.dir.join("pid")).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    wait_for(|| processes() == 1, || "the program lives on".into());
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn a_signal_to_the_sandbox_is_one_to_the_program() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    place.ok(&["run", "-d", "x"]);
    let pid = place.pid("x");
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    place.ok(&["delete", "x"]);
    place.assert_empty();
}

#[test]
fn foreground_signals_reach_the_program() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    let mut child = place.command(&["run", "x"]).spawn().unwrap();
    wait_for(|| place.run(&["state", "x"]).out.contains("running"), || "not running".into());
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    place.assert_empty();
}

#[test]
fn two_at_once_make_one_container() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    let children: Vec<_> = (0..6)
        .map(|_| place.command(&["run", "-d", "x"]).stderr(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    let won = children.into_iter().map(|mut c| c.wait().unwrap().success()).filter(|ok| *ok).count();
    assert_eq!(won, 1);
    assert_eq!(place.status("x"), "running");
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn nothing_outlives_a_killed_command() {
    let place = Place::new();
    place.config(&["trap"], |_| ());
    let mut child = place.command(&["run", "x"]).spawn().unwrap();
    wait_for(|| place.run(&["state", "x"]).out.contains("running"), || "not running".into());
    let pid = place.pid("x");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| !alive(pid), || "the sandbox lives on".into());
    wait_for(|| !place.states().join("x").exists(), || "the state stays".into());
    place.assert_empty();
}

#[test]
fn a_killed_sandbox_takes_its_gofer_along() {
    let place = Place::new();
    place.config(&["trap"], |_| ());
    place.ok(&["run", "-d", "x"]);
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.states().join("x/state.json")).unwrap()).unwrap();
    let gofer = state["goferPid"].as_i64().unwrap() as i32;
    assert!(alive(gofer));
    assert!(std::process::Command::new("kill").args(["-9", &place.pid("x").to_string()]).status().unwrap().success());
    wait_for(|| !alive(gofer), || "the gofer lives on".into());
    assert_eq!(place.status("x"), "stopped");
    place.ok(&["delete", "x"]);
    place.assert_empty();
}

#[test]
fn a_half_made_container_can_be_deleted() {
    let place = Place::new();
    std::fs::create_dir_all(place.states().join("x")).unwrap();
    place.fails(&["state", "x"], 1, &["half-made", "delete"]);
    place.ok(&["delete", "x"]);
    // What a killed command left is no container that has the name.
    std::fs::create_dir_all(place.states().join("x")).unwrap();
    std::fs::write(place.states().join("x/lock"), "").unwrap();
    assert_eq!(place.run(&["run", "x"]).status, 0);
    let beside = place.states().join("x~4194305");
    std::fs::create_dir_all(&beside).unwrap();
    place.ok(&["list"]);
    assert!(!beside.exists());
    // A damaged state.
    std::fs::create_dir_all(place.states().join("y")).unwrap();
    std::fs::write(place.states().join("y/state.json"), "{").unwrap();
    place.fails(&["state", "y"], 1, &["state.json", "damaged"]);
    place.ok(&["delete", "--force", "y"]);
    place.assert_empty();
}

#[test]
fn hooks_run_in_order_with_the_state() {
    let place = Place::new();
    let log = place.dir.join("hooks");
    let hook = |name: &str| serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("grep -o '\"status\": \"[a-z]*\"' | sed 's/^/{name} /' >> {}", log.display())] }]);
    place.config(&["true"], |c| {
        c["hooks"] = serde_json::json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"), "poststart": hook("poststart"), "poststop": hook("poststop"),
        });
    });
    place.ok(&["run", "x"]);
    let text = std::fs::read_to_string(&log).unwrap();
    let names: Vec<&str> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["prestart", "createRuntime", "poststart", "poststop"], "{text}");
    place.config(&["true"], |c| c["hooks"] = serde_json::json!({ "prestart": [{ "path": "/bin/false" }] }));
    place.fails(&["run", "x"], 1, &["hook prestart[0] /bin/false", "exit status: 1"]);
    place.assert_empty();
}

#[test]
fn the_kernel_process_and_the_gofer_have_given_up_everything() {
    let place = Place::new();
    place.config(&["sleep"], |_| ());
    place.ok(&["run", "-d", "x"]);
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.states().join("x/state.json")).unwrap()).unwrap();
    for (who, caps) in [("pid", "0000000000000000"), ("goferPid", "000000008800001f")] {
        let pid = state[who].as_i64().unwrap();
        // The pretended kernel does not wait for the gofer.
        let locked = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("Seccomp:\t2");
        wait_for(locked, || format!("{who}: no seccomp filter"));
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_string();
        assert_eq!(field("CapEff:"), caps, "{who}");
        assert_eq!(field("CapPrm:"), caps, "{who}");
        assert_eq!(field("CapBnd:"), caps, "{who}");
        assert_eq!(field("CapInh:"), "0000000000000000", "{who}");
        assert_eq!(field("CapAmb:"), "0000000000000000", "{who}");
        assert_eq!(field("NoNewPrivs:"), "1", "{who}");
        assert_eq!(field("Seccomp:"), "2", "{who}");
        assert!(field("NSpid:").ends_with("\t1"), "{who}: {}", field("NSpid:"));
        let mut different = vec!["mnt", "pid", "net", "ipc", "uts"];
        if who == "pid" {
            different.push("user");
        }
        for ns in different {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap();
            assert_ne!(of(&pid.to_string()), of("self"), "{who}: {ns}");
        }
        assert_eq!(std::fs::read_dir(format!("/proc/{pid}/root/")).unwrap().count(), 0, "{who}: root is not empty");
        assert!(std::fs::write(format!("/proc/{pid}/root/x"), "").is_err(), "{who}: root is writable");
    }
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn a_forbidden_host_call_kills_the_sandbox_only() {
    let place = Place::new();
    place.config(&["forbidden"], |_| ());
    let answer = place.run(&["run", "x"]);
    assert_eq!(answer.status, 1, "{}", answer.err);
    let answer = place.run(&["--debug", "run", "x"]);
    assert!(answer.err.contains("host call 0112"), "{}", answer.err);
    place.assert_empty();
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    let place = Place::new();
    place.config(&["echo", "on", "a", "tty"], |c| c["process"]["terminal"] = true.into());
    let path = place.dir.join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let console = path.to_str().unwrap().to_string();
    place.ok(&["create", "--console-socket", &console, "x"]);
    let (stream, _) = listener.accept().unwrap();
    let got = host::message::receive(&stream, true).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&got.bytes).starts_with("/dev/pts/"), "{:?}", got.bytes);
    place.ok(&["start", "x"]);
    let mut master = std::fs::File::from(got.fds.into_iter().next().unwrap());
    let mut text = [0u8; 9];
    std::io::Read::read_exact(&mut master, &mut text).unwrap();
    assert_eq!(&text, b"on a tty\n");
    place.ok(&["delete", "-f", "x"]);
    place.fails(&["create", "x"], 1, &["cannot allocate tty", "console socket"]);
    place.assert_empty();
}
